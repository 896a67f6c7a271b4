"""Policies that are a choice and a schedule: early stop, alternation, phases, switch, several mixes of a batch."""

import math

import pytest
import torch
from scipy import stats
from sounds import noise, seeded

from audiomix import CutMix, MixUp, OneOf, Pipeline, Plan, Schedule, SNRMix, mix_repeat


def choices(mixer, epochs, size=3):
    """The index of the mixer that the first clip goes through in each epoch; -1 for none."""
    wave = noise(size, 1, 40)
    plans = [mixer(wave, generator=seeded(e), progress=e / epochs).plans[0] for e in range(epochs)]
    return [int(plan.choice[0]) for plan in plans]


@pytest.mark.parametrize(
    "mixer",
    [
        MixUp(p="stop_after:0.75", num_classes=6),
        CutMix(p="stop_after:0.75", num_classes=6),
        SNRMix(p="stop_after:0.75", num_classes=6),
        OneOf([MixUp(), CutMix()], per="clip", p="stop_after:0.75", num_classes=6),
        OneOf([MixUp(), CutMix()], ["stop_after:0.75"] * 2, num_classes=6),
        MixUp(p="steps:1:0@0.75", num_classes=6),
    ],
)
def test_after_an_early_stop_clips_and_labels_come_back_to_the_bit(mixer):
    wave, label = noise(6, 1, 120), torch.arange(6)
    before = mixer(wave, label, generator=seeded(), progress=math.nextafter(0.75, 0))
    assert before.plans[0].mixed.all()
    assert not torch.equal(before.x, wave)
    for progress in (0.75, 0.9, 1.0):
        after = mixer(wave, label, generator=seeded(), progress=progress)
        assert torch.equal(after.x, wave)
        assert torch.equal(after.target, torch.eye(6))
        assert not after.plans[0].mixed.any()
    with pytest.raises(TypeError, match="progress must be given, since"):
        mixer(wave, label)


def test_the_progressive_share_of_clips_is_mixed():
    mixer, wave = MixUp(p="tanh_rise:0.01:1:0.2"), noise(400, 1, 4)
    for progress in (0, 0.1, 0.2, 0.6, 1):
        share = min(0.01 + math.tanh(progress / 0.2), 1)
        plans = [mixer(wave, generator=seeded(s), progress=progress).plans[0] for s in range(10)]
        count = sum(int(plan.mixed.sum()) for plan in plans)
        assert abs(count - 4000 * share) <= 4 * math.sqrt(4000 * share * (1 - share)) + 1e-9


def test_every_other_epoch_is_mixed():
    mixer, wave = MixUp(p="alternate:1:0:30"), noise(4, 1, 40)
    for epoch in range(30):
        mixed = mixer(wave, generator=seeded(), progress=epoch / 30)
        assert torch.equal(mixed.x, wave) == (epoch % 2 == 1)


def test_two_mixers_take_turns_and_phases_follow_each_other():
    in_turn = OneOf([MixUp(), CutMix()], ["alternate:1:0:12", "alternate:0:1:12"])
    assert choices(in_turn, 12) == [0, 1] * 6
    by_steps = OneOf([MixUp(), CutMix()], ["alternate:1:0:12:2:1", "alternate:0:1:12:2:1"])  # n_a = 2, n_b = 1
    assert choices(by_steps, 12) == [0, 0, 1] * 4
    phases = OneOf([MixUp(), CutMix(), None], ["steps:1:0@0.33", "steps:0:1@0.33:0@0.66", "steps:0:1@0.66"])
    assert choices(phases, 100) == [0] * 33 + [1] * 33 + [2] * 34


def test_a_choice_that_shifts_over_the_training_has_the_frequencies_of_its_schedules():
    mixer, wave = OneOf([MixUp(), CutMix(), None], ["linear:1:0", "linear:0:1", 0.25], per="clip"), noise(50, 1, 8)
    for progress in (0, 0.3, 1):
        counts = torch.zeros(3)
        for seed in range(40):
            choice = mixer(wave, generator=seeded(seed), progress=progress).plans[0].choice
            counts += torch.bincount(choice, minlength=3)
        expected = torch.tensor([1 - progress, progress, 0.25]) / 1.25 * 2000
        assert (counts[expected == 0] == 0).all()
        some = expected > 0
        assert stats.chisquare(counts[some].numpy(), expected[some].numpy()).pvalue > 1e-4


def test_the_switch_of_timm_is_a_choice_for_the_batch():
    """prob=1, switch_prob=0.5, mixup_alpha=0.8, cutmix_alpha=1: one of the two for the whole batch, either as often."""
    mixer, wave, counts = OneOf([MixUp(0.8), CutMix(alpha=1.0)], [0.5, 0.5], num_classes=4), noise(4, 1, 60), [0, 0]
    for seed in range(400):
        mixed = mixer(wave, torch.arange(4), generator=seeded(seed))
        plan = mixed.plans[0]
        (k,) = set(plan.choice.tolist())
        counts[k] += 1
        if k:  # every sample is one of the two
            assert ((mixed.x == wave) | (mixed.x == wave[plan.partner])).all()
    assert stats.binomtest(counts[0], 400, 0.5).pvalue > 1e-4
    some = OneOf([MixUp(0.8), CutMix(alpha=1.0)], [0.8, 0.2], p=0.25)
    plans = [some(noise(40, 1, 8), generator=seeded(s)).plans[0] for s in range(100)]
    mixed = sum(int(plan.mixed.sum()) for plan in plans)
    assert abs(mixed - 1000) < 4 * math.sqrt(4000 * 0.25 * 0.75)


def test_while_all_probabilities_are_zero_nothing_is_mixed():
    mixer, wave = OneOf([MixUp(), CutMix()], ["steps:0:1@0.5", "steps:0:1@0.8"], per="clip"), noise(4, 1, 50)
    first = mixer(wave, generator=seeded(), progress=0.2)
    assert torch.equal(first.x, wave)
    assert first.plans[0].choice.tolist() == [-1] * 4
    assert set(mixer(wave, generator=seeded(), progress=0.6).plans[0].choice.tolist()) == {0}
    for never in (["linear:0:0", 0], ["0", 0.0]):
        with pytest.raises(ValueError, match="probabilities must be of a sum above 0"):
            OneOf([MixUp(), CutMix()], never)
    with pytest.raises(ValueError, match="probabilities must be a number in"):
        OneOf([MixUp(), CutMix()], ["linear:-1:1", 1])
    with pytest.raises(ValueError, match="probabilities must be a number or a schedule"):
        OneOf([MixUp(), CutMix()], ["often", 1])


def test_a_schedule_of_a_choice_needs_progress_and_is_named():
    mixer = OneOf([MixUp(), CutMix()], [Schedule.of("linear:1:0"), "0.5"])
    with pytest.raises(TypeError, match=r"since probabilities\[0\] is the schedule 'linear:1:0:1'"):
        mixer(noise(2, 1, 20))
    assert mixer.probabilities[1] == 0.5
    assert mixer.eval()(noise(2, 1, 20)).plans[0].choice.tolist() == [-1, -1]


def test_policies_have_no_state_so_a_resumed_training_goes_on_alike():
    def made():
        return OneOf([MixUp("linear:0.2:1"), CutMix(), None], ["alternate:1:0:10", "alternate:0:1:10", 0.2], per="clip",
                     p="tanh_rise:0.1:1:0.3", num_classes=5)  # fmt: skip

    wave, label, mixer = noise(5, 1, 60), torch.arange(5), made()
    assert mixer.state_dict() == {}
    drawn = [mixer(wave, label, generator=seeded(e), progress=e / 10) for e in range(10)]
    resumed = made()
    resumed.load_state_dict(mixer.state_dict())
    for epoch in (9, 3, 6):
        again = resumed(wave, label, generator=seeded(epoch), progress=epoch / 10)
        assert again.plans[0].to_json() == drawn[epoch].plans[0].to_json()
        assert torch.equal(again.x, drawn[epoch].x)
    assert mixer.replace(per="batch").probabilities == mixer.probabilities


# ---- several mixes of one batch


@pytest.mark.parametrize("times", [1, 2, 3, 7])
def test_no_mixer_is_used_twice_before_each_was_used_once(times):
    mixer, wave = OneOf([MixUp(), CutMix(), None], [0.7, 0.2, 0.1], num_classes=4), noise(4, 1, 50)
    for seed in range(30):
        mixes = mix_repeat(mixer, wave, torch.arange(4), times=times, generator=seeded(seed))
        found = [int(mixed.plans[0].choice[0]) for mixed in mixes]
        assert len(found) == times
        for first in range(0, times, 3):
            assert len(set(found[first : first + 3])) == len(found[first : first + 3])


def test_the_first_of_several_mixes_has_the_frequencies_asked_for_and_the_next_those_of_the_rest():
    mixer, wave = OneOf([MixUp(), CutMix(), None], [0.5, 0.3, 0.2]), noise(2, 1, 8)
    counts = torch.zeros(3, 3)
    for seed in range(500):
        one, two = mix_repeat(mixer, wave, times=2, generator=seeded(seed))
        counts[int(one.plans[0].choice[0]), int(two.plans[0].choice[0])] += 1
    chances = torch.tensor([0.5, 0.3, 0.2])
    expected = chances[:, None] * chances / (1 - chances[:, None])
    off = ~torch.eye(3, dtype=torch.bool)
    assert (counts[~off] == 0).all()
    assert stats.chisquare(counts[off].numpy(), (expected[off] * 500).numpy()).pvalue > 1e-4


def test_mixes_are_drawn_one_after_the_other_and_each_replays():
    wave, label, mixer = noise(6, 1, 90), torch.arange(6), MixUp(num_classes=6)
    generator = seeded(4)
    by_hand = [mixer(wave, label, generator=generator) for _ in range(3)]
    mixes = mix_repeat(mixer, wave, label, times=3, generator=seeded(4))
    for one, other in zip(mixes, by_hand):
        assert torch.equal(one.x, other.x)
        assert torch.equal(one.target, other.target)
    assert not torch.equal(mixes[0].x, mixes[1].x)
    both = OneOf([MixUp(), CutMix()], num_classes=6)
    for mixed in mix_repeat(both, wave, label, times=2, generator=seeded()):
        plan = Plan.from_json(mixed.plans[0].to_json())
        assert torch.equal(both(wave, label, plan=plan).x, mixed.x)


def test_pipelines_choices_of_clips_lengths_notes_and_schedules_go_through():
    wave, lengths = noise(4, 1, 80), torch.tensor([80, 60, 40, 9])
    chain = Pipeline([MixUp(), OneOf([CutMix(), None], per="clip")], num_classes=4)
    mixes = mix_repeat(chain, wave, torch.arange(4), times=2, lengths=lengths, generator=seeded())
    assert [len(mixed.plans) for mixed in mixes] == [2, 2]
    assert all(torch.equal(mixed.lengths, lengths) for mixed in mixes)
    paired = mix_repeat(MixUp(pairing="same_cluster"), wave, times=2, clusters=[0, 0, 1, 1], generator=seeded())
    assert all(mixed.plans[0].partner.tolist() == [1, 0, 3, 2] for mixed in paired)
    turns = OneOf([MixUp(), CutMix()], ["alternate:1:0:2", "alternate:0:1:2"])
    mixes = mix_repeat(turns, wave, times=2, progress=0.5, generator=seeded())
    assert [int(mixed.plans[0].choice[0]) for mixed in mixes] == [1, 1]  # there is no other at that time
    turns.eval()
    assert all(torch.equal(mixed.x, wave) for mixed in mix_repeat(turns, wave, times=2, progress=0.5))
    held = OneOf([MixUp().eval(), CutMix()], num_classes=4)
    held.mixers[0].training = False
    mix_repeat(held, wave, torch.arange(4), times=3, generator=seeded())
    assert not held.mixers[0].training  # the modes of the members are left alone


def test_the_mean_of_the_losses_is_the_loss_of_the_mean_target_where_nothing_is_mixed():
    wave, label = noise(3, 1, 30), torch.arange(3)
    mixes = mix_repeat(MixUp(p=0, num_classes=3), wave, label, times=4)
    losses = [torch.nn.functional.cross_entropy(mixed.x[:, 0, :3], mixed.target) for mixed in mixes]
    torch.testing.assert_close(sum(losses) / 4, torch.nn.functional.cross_entropy(wave[:, 0, :3], label))


def test_what_makes_no_sense_for_several_mixes_is_refused():
    wave, mixer = noise(2, 1, 30), MixUp()
    for given in ({"out": torch.empty_like(wave)}, {"plan": Plan.identity(2)}):
        with pytest.raises(ValueError, match="must be left out where a batch is mixed several times"):
            mix_repeat(mixer, wave, times=2, **given)
    with pytest.raises(ValueError, match="times must be an integer of at least 1, got 0"):
        mix_repeat(mixer, wave, times=0)
