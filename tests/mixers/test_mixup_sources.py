"""Mixup of several sources, judged from the sound: clip i is heard in channel i alone."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from scipy import stats
from sounds import noise, seeded

from audiomix import MixUp, OneOf, Plan, SourcesPlan
from audiomix.plan import NO_PARTNER, NOT_DRAWN
from audiomix.targets.correspondence import mix_captions
from audiomix.targets.embeddings import mix_embeddings
from audiomix.targets.labels import mix_labels
from audiomix.targets.pictures import mix_pictures


def channels(size, length=1):
    """Clips (B, B, T): clip i is 1 in channel i, so that a mix spells its gains."""
    return torch.eye(size)[:, :, None].repeat(1, 1, length)


def drawn(mixer, size=6, seed=0, **given):
    return mixer(channels(size), generator=seeded(seed), **given).plans[0]


def test_two_sources_are_todays_mixer_to_the_bit():
    wave = noise(7, 1, 100)
    for options in ({}, {"gain_law": "unit_power", "p": 0.5}, {"per": "batch", "keep_larger": True}):
        old, new = MixUp(**options), MixUp(sources=2, weight=None, label_weight="same", **options)
        a, b = (mixer(wave, torch.eye(7), generator=seeded(3)) for mixer in (old, new))
        assert a.plans[0].to_json() == b.plans[0].to_json()
        assert torch.equal(a.x, b.x)
        assert torch.equal(a.target, b.target)
    assert drawn(MixUp(sources=(2, 2))).to_json() == drawn(MixUp()).to_json()


CLASSES = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2])


@pytest.mark.parametrize("pairing", ["any", "same_class", "different_class"])
@pytest.mark.parametrize("second", [False, True])
def test_no_clip_is_twice_in_a_mix_and_every_partner_keeps_to_the_rule(pairing, second):
    """Perch draws with replacement, so a clip meets itself; BirdSet adds one partner num_mixes times."""
    mixer = MixUp(sources=4, pairing=pairing, num_classes=3)
    for seed in range(20):
        given = {"other": channels(12), "other_target": CLASSES} if second else {}
        plan = mixer(channels(12), CLASSES, generator=seeded(seed), **given).plans[0]
        for i in range(12):
            partners = plan.sources(i)
            assert len(set(partners)) == len(partners) == 3
            assert second or i not in partners
            agree = [bool(CLASSES[j] == CLASSES[i]) for j in partners]
            assert pairing == "any" or agree == [pairing == "same_class"] * 3


def test_masks_and_weights_of_the_caller_hold_for_every_partner():
    allowed = torch.rand(8, 8, generator=seeded(3)) < 0.6
    weights = torch.tensor([1.0, 0, 1, 1, 0, 1, 1, 1])
    for pairing in ("any", "weighted"):
        mixer = MixUp(sources=4, pairing=pairing, num_classes=8)
        for seed in range(10):
            given = {"allowed": allowed, "pairing_weights": weights, "generator": seeded(seed)}
            plan = mixer(channels(8), torch.arange(8), **given).plans[0]
            for i in range(8):
                there = [j for j in range(8) if allowed[i, j] and weights[j] and j != i]
                assert set(plan.sources(i)) <= set(there)
                assert len(plan.sources(i)) == min(3, len(there))
    with pytest.raises(ValueError, match="sources must be 2 with pairing='self'"):
        MixUp(sources=3, pairing="self")


def test_every_set_of_partners_is_equally_likely_and_every_clip_is_used_equally_often():
    sets = {tuple(pair): k for k, pair in enumerate(itertools.combinations(range(5), 2))}
    for given in ({}, {"other": channels(5)}):
        counts = torch.zeros(5, len(sets))
        for seed in range(300):
            plan = drawn(MixUp(sources=3), 5, seed, **given)
            used = plan.partners.flatten().bincount(minlength=5)
            assert (used == 2).all()
            for i in range(5):
                counts[i, sets[tuple(sorted(plan.sources(i)))]] += 1
        for i in range(5):
            there = counts[i] if given else counts[i][[i not in pair for pair in sets]]
            assert int(there.sum()) == 300
            assert stats.chisquare(there.numpy()).pvalue > 1e-4


def test_a_second_batch_of_fewer_clips_serves_all_equally():
    plan = drawn(MixUp(sources=3), 9, other=channels(9)[:3])
    assert (plan.partners.flatten().bincount(minlength=3) == 6).all()


def test_the_number_of_sources_is_uniform():
    plan = drawn(MixUp(sources=(2, 4)), 900)
    number = 1 + (plan.partners >= 0).sum(1)
    counts = number.bincount(minlength=5)[2:]
    assert int(counts.sum()) == 900
    assert stats.chisquare(counts.numpy()).pvalue > 1e-4
    alone = drawn(MixUp(sources=(1, 3)), 900)  # Perch's law: 1 + BetaBinomial(max - 1; 1, 1)
    assert stats.chisquare((alone.partners >= 0).sum(1).bincount().numpy()).pvalue > 1e-4
    assert torch.equal(alone.mixed, (alone.partners >= 0).any(1))
    assert len(set((drawn(MixUp(sources=(2, 9), per="batch"), 12).partners >= 0).sum(1).tolist())) == 1


@pytest.mark.parametrize("concentration", [0.2, 1.0, 5.0])
def test_shares_follow_the_dirichlet_distribution_whoever_has_them(concentration):
    shares = drawn(MixUp(sources=3, concentration=concentration), 2000).shares
    torch.testing.assert_close(shares.sum(1), torch.ones(2000).double())
    for k in range(3):  # marginals of a symmetric Dirichlet
        expected = stats.beta(concentration, 2 * concentration).cdf
        assert stats.kstest(shares[:, k].numpy(), expected).pvalue > 1e-4
    two = drawn(MixUp(sources=(2, 3), concentration=concentration), 2000)
    two = two.weight[(two.partners >= 0).sum(1) == 1]
    assert stats.kstest(two.numpy(), stats.beta(concentration, concentration).cdf).pvalue > 1e-4


def test_large_concentrations_give_equal_parts_and_small_ones_stay_finite():
    equal = drawn(MixUp(sources=4, concentration=1e9), 50).shares
    torch.testing.assert_close(equal, torch.full((50, 4), 0.25).double(), atol=1e-3, rtol=0)
    pure = drawn(MixUp(sources=4, concentration=1e-3), 50).shares
    assert pure.isfinite().all()
    torch.testing.assert_close(pure.sum(1), torch.ones(50).double())
    assert (pure.max(1).values > 0.99).double().mean() > 0.8


@pytest.mark.parametrize("law", ["amplitude", "unit_power", "sqrt"])
def test_gains_are_the_law_of_the_shares_and_equal_sounds_keep_their_power(law):
    x, _, (plan,), _ = MixUp(sources=(2, 4), gain_law=law)(channels(6), generator=seeded())
    w = plan.shares
    expected = {"amplitude": w, "unit_power": w / w.square().sum(1, keepdim=True).sqrt(), "sqrt": w.sqrt()}[law]
    for i in range(6):
        heard = torch.zeros(6).double()
        heard[[i, *plan.sources(i)]] = expected[i, : 1 + len(plan.sources(i))]
        torch.testing.assert_close(x[i, :, 0].double(), heard, atol=1e-6, rtol=1e-6)
    power = MixUp(sources=4, gain_law=law)(noise(6, 1, 50_000), generator=seeded()).x.square().mean((1, 2))
    if law == "amplitude":
        assert (power < 0.9).all()
    else:  # Perch 2: the expected gain is unchanged
        torch.testing.assert_close(power, torch.ones(6), atol=0.03, rtol=0)


def test_too_few_partners_mix_as_many_as_there_are_and_the_plan_says_why():
    _, target, (plan,), _ = MixUp(sources=5, num_classes=3)(channels(3), torch.arange(3), generator=seeded())
    assert [len(plan.sources(i)) for i in range(3)] == [2, 2, 2]
    assert plan.why == ("3 of 5 sources: there is no further partner",) * 3
    assert not plan.complete.any()
    torch.testing.assert_close(target.sum(1), torch.ones(3))
    one = MixUp(sources=(2, 4))(channels(1), generator=seeded())
    assert torch.equal(one.x, channels(1))
    assert one.plans[0].why == (NO_PARTNER,)
    ids = torch.tensor([0, 0, 0, 1, 1])
    mixed = MixUp(sources=3, pairing="same_class", num_classes=2)(channels(5), ids, generator=seeded())
    assert [len(mixed.plans[0].sources(i)) for i in range(5)] == [2, 2, 2, 1, 1]
    assert [bool(text) for text in mixed.plans[0].why] == [False] * 3 + [True] * 2
    assert torch.equal(mixed.target, torch.eye(2)[ids])


def test_clips_that_take_no_part_are_nobodys_partner_and_are_not_drawn():
    eligible = torch.tensor([True, False, True, True, True, True])
    for seed in range(10):
        plan = drawn(MixUp(sources=3, p=0.6), seed=seed, eligible=eligible)
        assert not (plan.partners == 1).any()
        assert not plan.mixed[1]
        assert plan.why == tuple("" if mixed else NOT_DRAWN for mixed in plan.mixed.tolist())


@pytest.mark.parametrize("domain", ["wave", "as_is"])
def test_lengths_each_frame_of_the_label_is_what_is_heard(domain):
    lengths = torch.tensor([100, 20, 70, 50, 100, 10, 90, 30])
    frames = channels(8, 100) * (torch.arange(100) < lengths[:, None, None])
    inside = (torch.arange(100) < lengths[:, None, None]).expand(8, 8, 100)
    spec = frames[:, None]
    mixed = MixUp(sources=(2, 4), domain=domain)(spec, frames, lengths=lengths, generator=seeded(2))
    heard = mixed.x[:, 0] / mixed.x[:, 0].sum(1, keepdim=True)
    torch.testing.assert_close(mixed.target[inside], heard[inside], atol=1e-5, rtol=0)
    assert (mixed.x[:, 0][~inside] == 0).all()
    # over the clip: the share of the summed sound, or of the time
    clip = MixUp(sources=(2, 4), domain=domain, num_classes=8)(spec, torch.arange(8), plan=mixed.plans[0])
    sound = mixed.x[:, 0] if domain == "wave" else heard.nan_to_num()
    share = sound.sum(2) / sound.sum((1, 2))[:, None]
    torch.testing.assert_close(clip.target, share, atol=1e-5, rtol=0)


def test_a_longer_second_batch_is_cut_and_a_shorter_one_ends():
    for size in (50, 150):
        x, _, (plan,), _ = MixUp(sources=3)(
            channels(4, 100) * 0, other=channels(4, size), generator=seeded(1), eligible=torch.arange(4) != 3
        )
        for i in range(3):
            for j, gain in zip(plan.sources(i), plan.amplitudes()[i, 1:].tolist()):
                torch.testing.assert_close(x[i, j, : min(size, 100)], torch.full((min(size, 100),), gain))
                assert (x[i, j, min(size, 100) :] == 0).all()


def test_power_domain_is_the_log_of_the_summed_powers():
    power = torch.rand(4, 3, 20, generator=seeded()) + 0.01
    x = (10 * power.log10() + 30) / 5
    mixer = MixUp(sources=3, domain="power", mean=-30, std=5)
    lengths = torch.tensor([20, 12, 20, 7])
    got, _, (plan,), _ = mixer(x[:, None], lengths=lengths, generator=seeded())
    squared = plan.amplitudes().square().float()
    for i in range(4):
        total = squared[i, 0] * power[i]
        for k, j in enumerate(plan.sources(i)):
            total = total + squared[i, 1 + k] * power[j] * (torch.arange(20) < lengths[j])
        end = int(lengths[i])
        torch.testing.assert_close(got[i, 0, :, :end], ((10 * total.log10() + 30) / 5)[:, :end], atol=1e-5, rtol=1e-5)
        assert torch.equal(got[i, 0, :, end:], x[i, :, end:])


@pytest.mark.parametrize("sources", [2, 3])
def test_silence_is_finite_as_a_logarithm_and_so_are_gradients(sources):
    """An original of gain 0 behind its partners' ends was log 0; of several sources its gradient was no number."""
    x = noise(4, 1, 6, 10).requires_grad_()
    lengths = torch.tensor([10, 7, 4, 10])
    mixer = MixUp(sources=sources, weight=0, domain="power")
    mixed = mixer(x, lengths=lengths, generator=seeded())
    (plan,) = mixed.plans
    mixed.x.sum().backward()
    assert mixed.x.isfinite().all()
    assert x.grad.isfinite().all()
    with torch.no_grad():
        torch.testing.assert_close(mixer(x.detach(), lengths=lengths, plan=plan).x, mixed.x)
        alone = 0
        for i in range(4):
            end = max(int(lengths[j]) for j in plan.sources(i))
            behind = slice(end, int(lengths[i]))
            torch.testing.assert_close(mixed.x[i, ..., behind], x[i, ..., behind] - 120)
            alone += max(0, int(lengths[i]) - end)
        assert alone
        j = int(plan.partner[1])
        if sources == 2:  # beside its partner nothing of it is left
            torch.testing.assert_close(mixed.x[1, ..., :4], x[j, ..., :4])


def test_one_draw_for_the_batch_and_the_larger_share_for_the_original():
    shares = drawn(MixUp(sources=3, per="batch"), 8).shares
    assert (shares == shares[0]).all()
    shares = drawn(MixUp(sources=(2, 4), keep_larger=True), 40).shares
    assert (shares[:, :1] >= shares).all()
    torch.testing.assert_close(shares.sum(1), torch.ones(40).double())
    constant = drawn(MixUp(sources=(2, 4), weight=0.7), 40).shares
    torch.testing.assert_close(constant[:, 0], torch.full((40,), 0.7).double())
    torch.testing.assert_close(constant.sum(1), torch.ones(40).double())
    shared = drawn(MixUp(sources=3, pairing="any", per="batch", weight=(0.2, 0.4)), 8)
    assert 0.2 <= float(shared.weight[0]) <= 0.4
    assert len(shared.weight.unique()) == 1


def test_the_union_does_not_depend_on_the_order_of_the_sources():
    plan = drawn(MixUp(sources=4))
    order = torch.tensor([2, 0, 1])
    turned = SourcesPlan.of(plan.partners[:, order], plan.shares[:, [0, 3, 1, 2]], plan.amplitudes()[:, [0, 3, 1, 2]])
    y = (torch.rand(6, 9, generator=seeded()) < 0.3).float()
    for rule in ("linear", "union", "probability", "power", "sharp"):
        torch.testing.assert_close(mix_labels(y, plan, rule=rule), mix_labels(y, turned, rule=rule))


@pytest.mark.parametrize("shape", [(9, 1, 700), (9, 3, 11, 40), (9, 16)])
def test_every_way_of_the_sum_gives_the_same(shape):
    """A table of rows, row by row, into `out`, with a gradient, in other memory layouts and from a second batch."""
    x, other = noise(*shape), noise(4, *shape[1:], seed=2)
    mixer = MixUp(sources=(2, 4))
    for given in ({}, {"other": other}):
        mixed = mixer(x, generator=seeded(), **given)
        plan, rest = mixed.plans[0], {**given, "plan": mixed.plans[0]}
        source = given.get("other", x)
        expected = torch.zeros(shape).double()
        for i in range(9):
            for part in plan.parts(i):
                expected[i] += part.gain * (x[i] if part.source < 0 else source[part.source])
        ways = [mixed.x, mixer(x, out=torch.empty(shape), **rest).x, mixer(x.clone().requires_grad_(), **rest).x]
        ways += [mixer(x.transpose(0, 1).contiguous().transpose(0, 1), **rest).x]
        ways += [mixer(x, lengths=torch.full((9,), shape[-1]), **rest).x]
        for way in ways:
            torch.testing.assert_close(way.double(), expected, atol=1e-5, rtol=1e-5)


def test_large_batches_are_written_to_out_in_blocks():
    for size in (100_000, 300_000):  # blocks of two rows, and of one
        x = noise(5, 1, size)
        mixed = MixUp(sources=(1, 3))(x, generator=seeded())
        out = torch.full_like(x, torch.nan)
        torch.testing.assert_close(MixUp(sources=3)(x, plan=mixed.plans[0], out=out).x, mixed.x)


def test_what_is_not_finite_stays_where_it_is():
    """Row 0 stands for no partner, and must not be read for it."""
    x = noise(5, 1, 60)
    x[0] = torch.nan
    for given in ({}, {"other": x}, {"lengths": torch.full((5,), 60)}):
        for seed in range(5):
            mixed = MixUp(sources=(1, 3))(x, generator=seeded(seed), **given)
            for i in range(1, 5):
                assert bool(mixed.x[i].isnan().any()) == (0 in mixed.plans[0].sources(i))


def test_a_plan_of_two_is_replayed_by_a_mixer_of_several_and_the_other_way_round():
    x = noise(4, 1, 50)
    two, several = MixUp(), MixUp(sources=3)
    assert torch.equal(several(x, plan=two(x, generator=seeded()).plans[0]).x, two(x, generator=seeded()).x)
    torch.testing.assert_close(
        two(x, plan=several(x, generator=seeded()).plans[0]).x, several(x, generator=seeded()).x
    )
    with pytest.raises(ValueError, match=r"plan\.partner must be in 0\.\.2"):
        several(x[:3], plan=SourcesPlan.of(torch.tensor([[1], [5], [0]]), *[torch.full((3, 2), 0.5).double()] * 2))


def test_labels_of_a_choice_follow_each_clips_own_plan():
    mixer = OneOf([MixUp(sources=4), MixUp(), None], per="clip", num_classes=12)
    mixed = mixer(channels(12), torch.arange(12), generator=seeded(1))
    assert len(mixed.plans[0].choice.unique()) == 3
    torch.testing.assert_close(mix_labels(torch.arange(12), mixed.plans[0], num_classes=12), mixed.target)
    torch.testing.assert_close(mixed.target, mixed.x[:, :, 0])


def test_embeddings_and_captions_follow_all_sources_and_pictures_refuse():
    mixed = MixUp(sources=3, concentration=1e6)(channels(4), torch.eye(4), generator=seeded())
    (plan,) = mixed.plans
    torch.testing.assert_close(mix_embeddings(torch.eye(4), plan), mixed.target)
    with pytest.raises(ValueError, match="how must be 'linear' for more than two sources"):
        mix_embeddings(torch.eye(4), plan, how="sphere")
    texts = [f"Sound {i}." for i in range(4)]
    for i, caption in enumerate(mix_captions(texts, plan)):
        assert [int(word) for word in caption.replace(".", "").split() if word.isdigit()] == [i, *plan.sources(i)]
    uneven = torch.tensor([[0.55, 0.05, 0.4]]).double()
    quiet = SourcesPlan.of(torch.tensor([[1, 2]]), uneven, uneven)
    assert mix_captions(texts[:1], quiet, other=texts) == ["Sound 0 and sound 2."]
    third = SourcesPlan.of(torch.tensor([[1, 2, -1]]), *(torch.tensor([[0.5, 0.3, 0.2, 0.0]]).double(),) * 2)
    assert mix_captions(texts[:1], third, other=texts, least=0) == ["Sound 0 and sound 1 and sound 2."]
    with pytest.raises(ValueError, match="other must be texts of at least 3 partners"):
        mix_captions(texts[:1], quiet, other=texts[:2])
    with pytest.raises(ValueError, match="plan must be of two sources, for pictures"):
        mix_pictures(torch.zeros(4, 2, 3, 4, 5), plan)


def test_the_plan_of_several_sources_is_checked():
    half = torch.full((1, 3), 1 / 3).double()
    with pytest.raises(ValueError, match="shares must be 0 where partners is -1"):
        SourcesPlan.of(torch.tensor([[0, -1]]), half, half)
    with pytest.raises(ValueError, match=r"shares must be float64 of shape \(1, 3\)"):
        SourcesPlan.of(torch.tensor([[0, 1]]), half[:, :2], half)
    with pytest.raises(ValueError, match=r"shares must be rows of sum 1, got 0\.666667\.\.0\.666667"):
        SourcesPlan.of(torch.tensor([[0, -1]]), torch.tensor([[1 / 3, 1 / 3, 0]]).double(), half)
    with pytest.raises(ValueError, match="weight must be the first column of shares"):
        replace(SourcesPlan.of(torch.tensor([[0, 1]]), half, half), weight=torch.ones(1).double())
    plan = drawn(MixUp(sources=3), lengths=torch.ones(6).long())
    assert Plan.from_json(plan.to_json()).to_json() == plan.to_json()
    still = SourcesPlan.identity(3)
    assert still.partners.tolist() == [[-1]] * 3
    assert not still.mixed.any()
    assert still.sources(0) == []


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sources": (1, 0)}, ValueError, r"sources must be \(fewest, most\), got \(1, 0\): the other way round"),
        ({"sources": 0}, ValueError, "sources must be an integer of at least 1"),
        ({"sources": 1}, ValueError, "sources must be 2 or more at most: the original is one"),
        ({"sources": (2, 3, 4)}, TypeError, r"sources must be a whole number, or \(fewest, most\)"),
        ({"sources": (2.0, 3)}, TypeError, "sources must be an integer"),
        ({"sources": 3, "concentration": 0}, ValueError, "concentration must be"),
        ({"sources": 3, "concentration": -1}, ValueError, "concentration must be"),
        ({"concentration": 2}, ValueError, "concentration must be left out with sources=2, .* of just two sources"),
        ({"sources": 3, "alpha": 1.0}, ValueError, "alpha must be left out with sources=3, .* else it is conc"),
        ({"sources": 3, "label_weight": "remix", "class_counts": [1, 2]}, ValueError, "sources must be 2 with"),
        ({"sources": 3, "domain": "as_is", "gain_law": "sqrt"}, ValueError, "gain_law must be 'amplitude'"),
    ],
)
def test_wrong_options_are_named(options, error, message):
    with pytest.raises(error, match=message):
        MixUp(**options)


def test_a_schedule_of_the_concentration_asks_for_progress():
    mixer = MixUp(sources=3, concentration="linear:100000:1")
    with pytest.raises(TypeError, match="progress must be given, since concentration is the schedule"):
        mixer(channels(4))
    shares = mixer(channels(4), progress=0.0).plans[0].shares
    assert (shares - 1 / 3).abs().max() < 0.02
    assert math.isclose(float(shares.sum()), 4)
