"""Pairing self: two places of one clip. The laws hold every mixer to it; here is what it means."""

import pytest
import torch
from scipy import stats
from sounds import noise, seeded

from audiomix import Collate, CutMix, Indexed, MixUp, OneOf, Pipeline, Plan, SNRMix
from audiomix.parts import mix_of_parts
from audiomix.roll import roll_rows
from audiomix.targets.frames import mix_frames


def ramp(size, length=100):
    """Clips whose samples say which clip and which place they are of."""
    return (torch.arange(size)[:, None] * 1000 + torch.arange(length) + 1.0)[:, None]


def test_a_clip_is_mixed_with_itself_from_another_place():
    x = ramp(64).double()
    mixed = MixUp(1.0, pairing="self")(x, generator=seeded())
    plan = mixed.plans[0]
    assert plan.partner.tolist() == list(range(64))
    for i in range(64):
        first = round(float(plan.roll[i]) * 100)
        assert 25 <= first <= 75
        w = plan.weight[i]
        torch.testing.assert_close(mixed.x[i], w * x[i] + (1 - w) * x[i].roll(-first, -1))
    assert stats.kstest(plan.roll, stats.uniform(0.25, 0.5).cdf).pvalue > 1e-4


def test_places_stay_within_the_valid_part_and_padding_is_not_heard():
    x, lengths = ramp(3), torch.tensor([100, 40, 7])
    x[1, :, 40:] = x[2, :, 7:] = 1e6
    mixed = CutMix(pairing="self")(x, lengths=lengths, generator=seeded(3))
    for i, end in enumerate(lengths.tolist()):
        assert mixed.x[i, 0, :end].max() < 1e5
        assert set(mixed.x[i, 0, :end].tolist()) <= set(x[i, 0, :end].tolist())
    changed = mixed.x[0, 0] != x[0, 0]
    assert 1 - changed.double().mean() == mixed.plans[0].weight[0]


def test_frame_labels_follow_the_sound_and_clip_labels_stay():
    x, lengths = ramp(4, 80), torch.tensor([80, 40, 80, 60])
    frames = torch.zeros(4, 2, 8)
    frames[:, 0, 0] = frames[:, 1, 3] = 1
    mixed = MixUp(pairing="self", num_classes=2)(x, frames, lengths=lengths, generator=seeded())
    plan = mixed.plans[0]
    turned = roll_rows(frames, plan.roll, lengths / 80.0)
    w = plan.weight.float()[:, None, None]
    torch.testing.assert_close(mixed.target, w * frames + (1 - w) * turned)
    torch.testing.assert_close(mix_frames(frames, plan), mixed.target)  # any other stream, from the plan alone
    assert torch.equal(turned[1, :, 4:], torch.zeros(2, 4))
    for rule in ("linear", "union", "dominant"):
        kept = MixUp(pairing="self", num_classes=5, rule=rule)(x, torch.arange(4), generator=seeded()).target
        assert torch.equal(kept, torch.eye(5)[:4])


def test_a_choice_of_mixers_turns_only_the_clips_of_those_that_do():
    x, labels = ramp(12).double(), torch.arange(12)
    mixer = OneOf([MixUp(pairing="self", num_classes=12), CutMix(num_classes=12)], per="clip", num_classes=12)
    mixed = mixer(x, labels, generator=seeded(4))
    plan = Plan.from_json(mixed.plans[0].to_json())
    assert {0, 1} == set(plan.choice.tolist())
    for i, choice in enumerate(plan.choice.tolist()):
        assert plan.sources(i) == ([i] if choice == 0 else [int(plan.partner[i])])
        if choice == 0:
            (part,) = (part for part in plan.parts(i) if part.source == i)
            assert part.roll == float(plan.plans[0].roll[i])
            torch.testing.assert_close(mixed.target[i], torch.eye(12)[i])
            assert set((mixed.x[i, 0] // 1000).long().tolist()) == {i}
    again = mixer(x, labels, plan=plan)
    assert torch.equal(again.x, mixed.x)
    stream = torch.randn(12, 3, 50, generator=seeded())
    turned = plan.roll_stream(stream)
    assert torch.equal(turned[plan.choice == 1], stream[plan.choice == 1])
    assert not torch.equal(turned[plan.choice == 0], stream[plan.choice == 0])
    with pytest.raises(ValueError, match="other must be left out with pairing='self'"):
        mixer(x, labels, other=x, other_target=labels)


@pytest.mark.parametrize(("mixers", "per"), [(1, "batch"), (2, "clip")])
@pytest.mark.parametrize("length", [100, 140_000])
def test_a_choice_rolls_whole_batches_and_long_clips_too(mixers, per, length):
    """Small batches, batches of one mixer and long clips take three ways through `OneOf`."""
    x = noise(4, 1, length)
    mixed = OneOf([MixUp(pairing="self"), CutMix(pairing="self")][:mixers], per=per)(x, generator=seeded())
    plan = mixed.plans[0]
    assert plan.mixed.all()
    for i in range(4):
        torch.testing.assert_close(mixed.x[i], mix_of_parts(plan, i, x[i], x), atol=1e-5, rtol=1e-5)


def test_noise_mixing_pipelines_and_loaders_take_it():
    x = ramp(5, 400) / 5000
    (plan,) = SNRMix((0, 10), pairing="self", label="power", num_classes=5)(x, torch.arange(5)).plans
    assert plan.mixed.all()
    assert plan.roll is not None
    chain = Pipeline([MixUp(pairing="self"), CutMix(pairing="self")], num_classes=5)
    assert torch.equal(chain(x, torch.arange(5)).target, torch.eye(5))
    clips = [(x[i, :, : 100 + 50 * i], i) for i in range(5)]
    collate = Collate(MixUp(pairing="self", num_classes=5), seed=0)
    mixed = collate([Indexed(clips)[i] for i in range(5)])
    torch.testing.assert_close(mixed.plans[0].roll_within, mixed.lengths / 300.0, check_dtype=False)


def test_what_cannot_be_turned_stays_as_it_is():
    x = torch.ones(2, 1, 50)
    mixed = MixUp(pairing="self", gain_law="unit_power")(x, lengths=[1, 50], generator=seeded())
    assert torch.equal(mixed.x[0, :, :1], x[0, :, :1])
    assert mixed.plans[0].weight[0] == 1
    assert mixed.plans[0].why == ("without a partner (pairing, allowed, pairing_weights)", "")
    (plan,) = MixUp(pairing="self")(x, eligible=[False, True], generator=seeded()).plans
    assert plan.mixed.tolist() == [False, True]


def test_rows_turn_alike_however_they_are_computed():
    x = noise(4, 2, 9)
    turn, within = torch.tensor([[0.25, 0.5, 0.75, 0.3], [1, 4 / 9, 0, 7 / 9]], dtype=torch.float64)
    plain = roll_rows(x, turn, within)
    assert torch.equal(plain, roll_rows(x.clone().requires_grad_(), turn, within))
    assert torch.equal(plain[1, :, :4], x[1][:, [2, 3, 0, 1]])
    assert torch.equal(plain[2], x[2])
    assert torch.equal(plain.sort(-1).values, x.sort(-1).values)  # nothing lost, nothing twice
