"""The label's share where it is not the sound's, and clips without a class."""

import pytest
import torch
from scipy import stats
from sounds import noise, seeded

from audiomix import Clips, MixUp
from audiomix.targets.label_share import drop_no_calls, find_no_calls, mamix_share, remix_share

TRAIN = [900, 100, 200]  # clips of three classes


@pytest.mark.parametrize(
    ("own", "partner", "w", "expected"),
    [(900, 100, 0.4, 0.0), (100, 900, 0.6, 1.0), (900, 100, 0.6, 0.6), (100, 900, 0.4, 0.4), (200, 100, 0.4, 0.4)],
)
def test_remix_of_the_authors_cases(own, partner, w, expected):
    got = remix_share(torch.tensor([w]).double(), torch.tensor([own]), torch.tensor([partner]))
    assert got.tolist() == [pytest.approx(expected)]


def test_mamix_is_continuous_and_gives_the_rare_class_more():
    w = torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0]).double()
    many, few = torch.full((5,), 900), torch.full((5,), 100)
    got = mamix_share(w, many, few)
    assert got.tolist()[::4] == [1, 0]
    assert got[2].item() == pytest.approx(0.394, abs=5e-4)  # f = +.25 would give .606
    torch.testing.assert_close(got + mamix_share(1 - w, few, many), torch.ones(5).double())
    middle = 900**-0.25 / (900**-0.25 + 100**-0.25)
    at = mamix_share(torch.tensor([1 - middle - 1e-9, 1 - middle + 1e-9]).double(), many[:2], few[:2])
    assert at.tolist() == [pytest.approx(0.5, abs=1e-7)] * 2
    torch.testing.assert_close(mamix_share(w, few, few), w)  # of equal classes nothing changes


def test_the_sound_keeps_its_share_and_the_plan_says_the_labels():
    """`Plan.weight` is what the label gets; the gains are the sound's."""
    wave, ids = torch.eye(3)[:, :, None], torch.tensor([0, 1, 0])
    for name, function in (("remix", remix_share), ("mamix", mamix_share)):
        mixer = MixUp(label_weight=name, class_counts=TRAIN, num_classes=3)
        changed = 0
        for seed in range(20):
            x, target, (plan,), _ = mixer(wave, ids, generator=seeded(seed))
            assert plan.share_of is None  # the label cannot be told from the sound
            for i, j in enumerate(plan.partner.tolist()):
                w = x[i, i, 0].double()
                counts = [torch.tensor([TRAIN[ids[k]]]) for k in (i, j)]
                expected = function(w[None], *counts)[0]
                assert plan.weight[i].item() == pytest.approx(expected.item(), abs=1e-6)
                changed += abs(w - expected).item() > 1e-3
                share = expected if ids[i] != ids[j] else 1.0
                assert target[i, ids[i]].item() == pytest.approx(float(share), abs=1e-6)
        assert changed > 5


def test_one_hot_labels_say_the_class_as_ids_do():
    mixer, wave, ids = MixUp(label_weight="mamix", class_counts=TRAIN, num_classes=3), noise(3, 1, 9), torch.arange(3)
    plans = [mixer(wave, target, generator=seeded()).plans[0].to_json() for target in (ids, torch.eye(3)[ids])]
    assert plans[0] == plans[1] != MixUp()(wave, generator=seeded()).plans[0].to_json()


def test_counts_may_come_from_a_tensor_and_partners_from_a_second_batch():
    mixer = MixUp(weight=0.4, label_weight="remix:k=2,tau=0.5", class_counts=torch.tensor(TRAIN), num_classes=3)
    wave, other = noise(4, 1, 50), noise(2, 1, 50, seed=2)
    _, target, _, _ = mixer(wave, torch.tensor([0, 1, 2, 0]), other=other, other_target=torch.tensor([1, 1]))
    assert target[0].tolist() == [0, 1, 0]  # 900 to 100
    assert target[2].tolist() == [0, 1, 0]  # 200 to 100, k = 2
    assert target[1].tolist() == [0, 1, 0]


def test_a_constant_and_a_draw_of_its_own():
    wave = noise(3000, 1, 2)
    half = MixUp(label_weight=0.5)(wave, generator=seeded()).plans[0]
    assert (half.weight == 0.5).all()
    assert len(half.gain_db[:, 0].unique()) > 2000
    own = MixUp(0.4, label_weight="beta:a=2,b=1")(wave, generator=seeded()).plans[0]
    assert stats.kstest(own.weight.numpy(), stats.beta(2, 1).cdf).pvalue > 1e-4
    assert abs(stats.spearmanr(own.weight.numpy(), own.gains()[0].numpy()).statistic) < 0.08
    one = MixUp(label_weight="beta", per="batch")(wave[:9], generator=seeded()).plans[0]
    assert len(one.weight.unique()) == 1
    ramp = MixUp(label_weight="linear:1:0")
    assert (ramp(wave[:5], progress=0.25, generator=seeded()).plans[0].weight == 0.75).all()
    with pytest.raises(TypeError, match="progress must be given, since label_weight is the schedule"):
        ramp(wave[:5])


def test_where_no_partner_sounds_the_label_is_the_originals():
    for mixer in (MixUp(label_weight=0.3, p=0.5), MixUp(0, label_weight=0.3), MixUp(weight=1, label_weight="beta")):
        plan = mixer(noise(40, 1, 9), generator=seeded()).plans[0]
        alone = plan.gains()[1] == 0
        assert alone.any()
        assert (plan.weight[alone] == 1).all()
    several = MixUp(sources=(1, 3), label_weight=0.25, p=0.5)(noise(40, 1, 9), generator=seeded()).plans[0]
    alone = (several.partners < 0).all(1)
    assert (several.weight == torch.where(alone, 1.0, 0.25)).all()
    torch.testing.assert_close(several.shares.sum(1), torch.ones(40).double())
    gains = several.amplitudes()[~alone, 1:]  # the rest in proportion to the sound
    torch.testing.assert_close(several.shares[~alone, 1:], 0.75 * gains / gains.sum(1, keepdim=True))


def test_lengths_count_for_the_label_too():
    wave, lengths = noise(2, 1, 100), torch.tensor([100, 50])
    frames = torch.eye(2)[:, :, None].repeat(1, 1, 10)
    mixed = MixUp(label_weight=0.5)(wave, frames, lengths=lengths, generator=seeded())
    assert mixed.plans[0].weight.tolist() == [pytest.approx(2 / 3), pytest.approx(0.5)]
    assert mixed.target[0, 0].tolist() == [0.5] * 5 + [1.0] * 5


def test_constant_uniform_and_asymmetric_weights():
    wave = noise(3000, 1, 2)
    assert (MixUp(weight=0.75)(wave, generator=seeded()).plans[0].weight == 0.75).all()
    between = MixUp(weight=(0.2, 0.6))(wave, generator=seeded()).plans[0].weight
    assert stats.kstest(between.numpy(), stats.uniform(0.2, 0.4).cdf).pvalue > 1e-4
    assert (MixUp(weight="linear:1:0.5")(wave[:4], progress=1.0).plans[0].weight == 0.5).all()
    for alpha in ((2, 1), (1, 0.2), (0.3, 5)):
        weights = MixUp(alpha)(wave, generator=seeded(1)).plans[0].weight
        assert stats.kstest(weights.numpy(), stats.beta(*alpha).cdf).pvalue > 1e-4
    assert (MixUp((1, 0))(wave[:4]).plans[0].weight == 1).all()
    assert torch.equal(MixUp((1, 0))(wave[:4]).x, wave[:4])
    assert (MixUp((0, 1))(wave[:4]).plans[0].weight == 0).all()


def test_balanced_mixup_is_an_asymmetric_draw_and_a_balanced_second_batch():
    """Galdran et al. 2021: x = (1 - w) x_I + w x_C, w from Beta(a, 1), one for the batch; E[w] = a / (1 + a)."""
    wave, ids, balanced = noise(8, 1, 20), torch.zeros(8).long(), noise(4, 1, 20, seed=2)
    mixer = MixUp(alpha=(1, 0.2), per="batch", num_classes=4)
    means = []
    for seed in range(400):
        mixed = mixer(wave, ids, other=balanced, other_target=torch.arange(4), generator=seeded(seed))
        w = float(mixed.plans[0].weight[0])
        means.append(1 - w)
        assert (mixed.plans[0].weight == w).all()
    assert sum(means) / 400 == pytest.approx(0.2 / 1.2, abs=0.04)
    rows = mixed.plans[0].partner
    torch.testing.assert_close(mixed.x, w * wave + (1 - w) * balanced[rows])
    torch.testing.assert_close(mixed.target, w * torch.eye(4)[ids] + (1 - w) * torch.eye(4)[rows])


def test_a_call_mixed_with_no_calls_keeps_its_label_whole():
    wave = torch.eye(6)[:, :, None].repeat(1, 1, 4)
    hot = torch.eye(6)
    hot[[1, 4]] = 0  # without a call
    quiet = (hot == 0).all(1)
    for options in ({}, {"sources": (2, 4)}, {"sources": 3, "weight": 0.5}, {"label_weight": "beta"}):
        for seed in range(10):
            x, target, (plan,), _ = MixUp(no_call="zero", **options)(wave, hot, generator=seeded(seed))
            for i in range(6):
                sounds = [i, *plan.sources(i)]
                calls = [k for k in sounds if not quiet[k]]
                assert target[i].sum().item() == pytest.approx(1.0 if calls else 0.0)
                assert set(target[i].nonzero().flatten().tolist()) <= set(calls)
                assert all(x[i, k, 0] > 0 for k in sounds)  # no-calls are heard all the same
                if len(calls) == 1:
                    assert target[i, calls[0]] == 1


@pytest.mark.parametrize("shorter", [False, True])
def test_no_calls_of_a_class_in_frames_and_in_ragged_clips(shorter):
    wave, ids = noise(4, 1, 100), torch.tensor([0, 3, 3, 1])
    given = {"lengths": torch.tensor([100, 40, 60, 30])} if shorter else {}
    options = [{}, {"domain": "as_is"}, {"sources": (2, 3)}, {"sources": (2, 3), "domain": "as_is"}]
    for mixer in (MixUp(no_call=3, num_classes=4, **more) for more in options):
        x = wave if mixer.domain == "wave" else wave[:, :, None].expand(4, 1, 5, 100)
        for seed in range(8):
            for target in (ids, torch.eye(4)[ids]):
                mixed = mixer(x, target, generator=seeded(seed), **given)
                for i in range(4):
                    calls = {int(ids[k]) for k in (i, *mixed.plans[0].sources(i))} - {3} or {3}
                    assert set(mixed.target[i].nonzero().flatten().tolist()) == calls
                    assert mixed.target[i].sum().item() == pytest.approx(1)
                    if len(calls) == 1:  # two clips without a class are labelled as such
                        assert mixed.target[i].max() == 1
    frames = torch.eye(4)[ids][:, :, None].repeat(1, 1, 20)
    frames[1:3] = 0
    mixed = MixUp(no_call="zero")(wave, frames, generator=seeded(2))
    for i, j in enumerate(mixed.plans[0].partner.tolist()):
        assert (mixed.target[i].sum(0) == (1.0 if {i, j} & {0, 3} else 0.0)).all()


def test_a_clip_is_replaced_by_one_without_a_call_in_two_lines():
    wave, hot, background = noise(400, 1, 10), torch.eye(5).repeat(80, 1), noise(3, 1, 10, seed=2)
    replace = MixUp(weight=0, p=0.25)
    mixed = replace(wave, hot, other=background, other_target=torch.zeros(3, 5), generator=seeded())
    changed = (mixed.x != wave).flatten(1).any(1)
    assert 60 < int(changed.sum()) < 140  # four standard deviations of 400 coins of 1/4
    assert torch.equal(mixed.x[changed], background[mixed.plans[0].partner[changed]])
    assert (mixed.target[changed] == 0).all()
    assert torch.equal(mixed.target[~changed], hot[~changed])


def test_no_calls_are_found_and_dropped():
    frames = torch.zeros(3, 2, 4)
    frames[1, 0, 2] = 1
    assert find_no_calls("target", frames, "zero").tolist() == [True, False, True]
    both = torch.tensor([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    assert find_no_calls("target", both, 1).tolist() == [True, False, False]
    shares = torch.tensor([[0.2, 0.5, 0.3], [0.0, 1.0, 0.0]]).double()
    calls = torch.tensor([[True, False, True], [True, False, False]])
    torch.testing.assert_close(drop_no_calls(shares, calls), torch.tensor([[0.4, 0, 0.6], [0, 1, 0]]).double())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"weight": 1.5}, ValueError, r"weight must be a number in \[0, 1\], got 1.5"),
        ({"weight": (0.2, 1.5)}, ValueError, r"weight must be a number in \[0, 1\], got 1.5"),
        ({"weight": (0.6, 0.2)}, ValueError, r"weight must be \(lowest, highest\), .* the other way round"),
        ({"weight": (0.1, 0.2, 0.3)}, ValueError, "weight must be a number, a schedule, or two"),
        ({"weight": "linear:0:2"}, ValueError, "weight must be"),
        ({"weight": 0.5, "alpha": 1.0}, ValueError, "weight must be left out where alpha is given"),
        ({"alpha": (1, -1)}, ValueError, "alpha must be"),
        ({"alpha": (1, 2, 3)}, ValueError, "alpha must be a number, a schedule, or two"),
        ({"label_weight": "remx"}, ValueError, "label_weight must be one of .* did you mean 'remix'"),
        ({"label_weight": "remixx:k=3"}, ValueError, "label_weight must be one of .* did you mean 'remix'"),
        ({"label_weight": 2}, ValueError, "label_weight must be"),
        ({"label_weight": "beta:a=0"}, ValueError, "a of label_weight beta must be"),
        ({"label_weight": "beta:c=1"}, ValueError, "the option of beta must be one of a, b"),
        ({"label_weight": "remix"}, ValueError, r"class_counts must be given for label_weight='remix'.*bincount"),
        ({"label_weight": "mamix", "class_counts": [1, 2], "num_classes": 3}, ValueError, "class_counts must be 3 num"),
        ({"label_weight": "mamix", "class_counts": [[1, 2]]}, ValueError, "class_counts must be K numbers"),
        ({"label_weight": "mamix", "class_counts": [1, -2]}, ValueError, "class_counts must be finite and at least 0"),
        ({"label_weight": "mamix", "class_counts": [0, 0]}, ValueError, "not all 0"),
        ({"class_counts": [1, 2]}, ValueError, "class_counts must be left out unless"),
        ({"no_call": -1}, ValueError, "no_call must be an integer of at least 0"),
        ({"no_call": "none"}, TypeError, "no_call must be an integer"),
        ({"no_call": 3, "num_classes": 3}, ValueError, r"no_call must be a class id in 0\.\.2, .* got 3"),
    ],
)
def test_wrong_options_are_named(options, error, message):
    with pytest.raises(error, match=message):
        MixUp(**options)


def test_labels_that_cannot_be_read_are_named_before_any_draw():
    wave, state = noise(3, 1, 9), torch.get_rng_state()
    remix = MixUp(label_weight="remix", class_counts=TRAIN, num_classes=3)
    for target in (torch.eye(3) * 0.5 + 0.1, torch.ones(3, 3), torch.zeros(3, 3), torch.eye(3)[:, :, None]):
        with pytest.raises(TypeError, match=r"target must be class ids \(B,\), or one-hot, with label_weight='remix'"):
            remix(wave, target)
    with pytest.raises(ValueError, match="target must be given with label_weight='remix'"):
        remix(wave)
    with pytest.raises(ValueError, match=r"labels \(B, K\) for no_call='zero'.*no_call=ID"):
        MixUp(no_call="zero", num_classes=3)(wave, torch.arange(3))
    with pytest.raises(ValueError, match=r"no_call must be a class id in 0\.\.2"):
        MixUp(no_call=7)(wave, torch.eye(3))
    with pytest.raises(ValueError, match="target must be given with no_call"):
        MixUp(no_call="zero")(wave)
    assert torch.equal(torch.get_rng_state(), state)
    never = MixUp(label_weight="remix", class_counts=[5, 0, 5], num_classes=3)
    with pytest.raises(ValueError, match=r"class_counts\[1\] must be above 0, since there is a clip of that class"):
        never(wave, torch.arange(3))
    few, clips = MixUp(label_weight="remix", class_counts=[5, 5]), Clips(wave, target=torch.arange(3))
    with pytest.raises(ValueError, match="class_counts must be of at least 3 classes"):
        few.draw(clips, clips)
