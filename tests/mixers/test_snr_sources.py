"""SNRMix of several noises, judged from the sound: what is in a mix beyond the clip, and how loud it is."""

import math
from dataclasses import replace

import pytest
import torch
from sounds import noise, seeded

from audiomix import OneOf, Plan, SNRMix
from audiomix.audio import level
from audiomix.parts import stems

SIZE = 16000


def tones(*cycles):
    """Tones of whole numbers of periods, (N, 1, T): of any two the sum has the energy of both."""
    time = torch.arange(SIZE, dtype=torch.float64) / SIZE
    return torch.stack([torch.sin(2 * math.pi * k * time) for k in cycles])[:, None].float()


def ratio_db(signal, rest, measure="rms", lengths=None):
    a, b = (level.level(s, measure, lengths, rate=SIZE) for s in (signal, rest))
    return 20 * torch.log10(a / b)


@pytest.mark.parametrize(("reference", "total"), [("clean", 6.9897), ("running", 6.7778)])
@pytest.mark.parametrize("way", ["batch", "second"])
def test_two_noises_at_10_db_to_the_clip_or_to_the_mix_so_far(reference, total, way):
    """10 log10(1 / 0.2), and 10 log10(1 / (0.1 + 0.11))."""
    x = tones(100, 200, 300, 400) * torch.tensor([1.0, 0.1, 0.3, 0.02])[:, None, None]
    given = {} if way == "batch" else {"other": tones(50, 70, 90) * 0.5}
    mixer = SNRMix(10, sources=3, reference=reference, label="keep")
    mixed = mixer(x, generator=seeded(), **given)
    plan = mixed.plans[0]
    torch.testing.assert_close(ratio_db(x, mixed.x - x), torch.full((4,), total).double(), atol=2e-3, rtol=0)
    torch.testing.assert_close(plan.total_db, torch.full((4,), total).double(), atol=2e-3, rtol=0)
    for i in range(4):
        said = plan.describe(i)
        assert said["snr_db"] == [10.0, 10.0]
        assert said["snr_reference"] == reference
        assert said["snr_total_db"] == pytest.approx(total, abs=2e-3)


@pytest.mark.parametrize("measure", ["rms", "active", "lufs"])
@pytest.mark.parametrize("reference", ["clean", "running"])
@pytest.mark.parametrize("size", [9000, 16000, 40000])
def test_each_noise_has_its_snr_in_the_measure(measure, reference, size):
    x, lengths = noise(5, 1, SIZE) * torch.tensor([1.0, 0.1, 0.3, 0.05, 0.5])[:, None, None], torch.tensor([16000] * 5)
    lengths[1], lengths[2] = 9000, 5000
    other = noise(4, 1, size, seed=5) * torch.linspace(0.1, 1, size)
    mixer = SNRMix((-5, 15), sources=(2, 4), level=measure, reference=reference, rate=SIZE)
    mixed = mixer(x, lengths=lengths, other=other, generator=seeded(3))
    plan = mixed.plans[0]
    assert {len(plan.sources(i)) for i in range(5)} > {1}
    for i, end in enumerate(lengths.tolist()):
        clip = torch.where(torch.arange(SIZE) < end, x[i], 0)
        (_, own), *noises = stems(plan, i, clip, other).items()
        clean, running = own[None, :, :end], own[None, :, :end]
        for k, (_, sound) in enumerate(noises):
            sound = sound[None, :, :end]
            got = ratio_db(clean if reference == "clean" else running, sound, measure)
            assert got.item() == pytest.approx(float(plan.snr_db[i, k]), abs=0.1)
            running = running + sound
        assert ratio_db(clean, running - clean, measure).item() == pytest.approx(float(plan.total_db[i]), abs=0.1)
        torch.testing.assert_close(mixed.x[i, :, :end], running[0], atol=1e-4, rtol=1e-4)


def test_no_noise_twice_in_a_mix_and_no_clip_with_itself():
    """BirdSet draws one partner and gives it to all noises of a mix: the same bird twice."""
    x = tones(*range(100, 700, 100))  # who is in a mix is read from its spectrum
    mixer = SNRMix(0, sources=(3, 4), label="keep")
    for given in ({}, {"other": tones(1000, 1100, 1200, 1300)}):
        for seed in range(20):
            mixed = mixer(x, generator=seeded(seed), **given)
            plan = mixed.plans[0]
            heard = torch.fft.rfft((mixed.x - x)[:, 0]).abs() > 100
            for i in range(6):
                rows = plan.sources(i)
                first, step = (100, 100) if not given else (1000, 100)
                assert heard[i].nonzero().flatten().tolist() == sorted(first + step * j for j in rows)
                assert len(set(rows)) == len(rows) in (2, 3)
                assert given or i not in rows


def test_the_number_of_sources_is_uniform():
    x, counts = noise(30, 1, 200), torch.zeros(3)
    for seed in range(40):
        plan = SNRMix(10, sources=(2, 4))(x, generator=seeded(seed)).plans[0]
        counts += torch.bincount(torch.tensor([len(plan.sources(i)) for i in range(30)]) - 1, minlength=3)
    chi2 = ((counts - 400) ** 2 / 400).sum()
    assert chi2 < 18.4, counts  # 2 degrees of freedom: 99.99 %


def test_partners_are_uniform_and_so_are_the_snrs():
    x, pairs, snrs = noise(5, 1, 200), torch.zeros(5, 5), []
    for seed in range(300):
        plan = SNRMix((5, 15), sources=3)(x, generator=seeded(seed)).plans[0]
        for i in range(5):
            pairs[i, plan.partners[i]] += 1
        snrs.append(plan.snr_db)
    assert (pairs.diagonal() == 0).all()
    off = pairs[~torch.eye(5, dtype=torch.bool)].view(5, 4)
    assert (((off - 150) ** 2 / 150).sum(1) < 21.1).all()  # 3 degrees of freedom a row: 99.99 %
    both = torch.cat(snrs)
    bins = torch.stack([torch.histc(both[:, k], 10, 5, 15) for k in range(2)])
    assert (((bins - 150) ** 2 / 150).sum(1) < 33.7).all()  # 9 degrees of freedom: 99.99 %


def test_one_noise_is_the_mixer_of_one_noise():
    x, other = noise(6, 1, 1000), noise(3, 1, 3000, seed=4)
    for given in ({}, {"other": other, "other_target": torch.arange(3)}):
        plain = SNRMix(num_classes=6)(x, torch.arange(6), generator=seeded(), **given)
        for sources in (2, (2, 2)):
            again = SNRMix(sources=sources, num_classes=6)(x, torch.arange(6), generator=seeded(), **given)
            assert torch.equal(again.x, plain.x)
            assert torch.equal(again.target, plain.target)
            assert again.plans[0].to_json() == plain.plans[0].to_json()


def test_labels_of_several_noises():
    x, y = tones(100, 200, 300, 400), torch.arange(4)
    power = SNRMix(10, sources=3, num_classes=4)(x, y, generator=seeded())
    torch.testing.assert_close(power.target.diagonal(), torch.full((4,), 1 / 1.2), atol=1e-4, rtol=0)
    assert sorted(power.target[0].tolist())[1:3] == pytest.approx([0.1 / 1.2] * 2, abs=1e-4)
    torch.testing.assert_close(power.target.sum(1), torch.ones(4))
    union = SNRMix(10, sources=3, num_classes=4, label="union")(x, y, generator=seeded())
    assert union.target.sum(1).tolist() == [3, 3, 3, 3]
    kept = SNRMix(10, sources=3, num_classes=4, label="keep")(x, y, generator=seeded())
    assert torch.equal(kept.target, torch.eye(4))
    assert kept.plans[0].mixed.all()


def test_clips_that_are_skipped_get_no_noise_at_all():
    """NeMo adds the noise without its gain to the clips that its probability leaves out."""
    x = noise(60, 1, 300)
    mixed = SNRMix(10, sources=(2, 3), p=0.5)(x, generator=seeded())
    plan = mixed.plans[0]
    out = ~plan.mixed
    assert 15 < out.sum() < 45
    assert torch.equal(mixed.x[out], x[out])
    assert (plan.total_db[out] == math.inf).all()
    assert (plan.partners[out] == -1).all()
    assert bool(((mixed.x != x).flatten(1).any(1) == plan.mixed).all())


def test_silent_noise_is_drawn_again_or_the_plan_says_why():
    x, other = noise(20, 1, 1000), noise(4, 1, 1000, seed=3)
    other[:2] = 0
    mixed = SNRMix(10, sources=3, label="keep")(x, other=other, generator=seeded())
    plan = mixed.plans[0]
    assert plan.why == ()
    assert all(set(plan.sources(i)) == {2, 3} for i in range(20))
    other[2] = 0
    mixed = SNRMix(10, sources=3, label="keep")(x, other=other, generator=seeded())
    plan = mixed.plans[0]
    assert set(plan.why) == {"silent noise"}
    assert all(plan.sources(i) == [3] for i in range(20))
    assert not plan.complete.any()
    torch.testing.assert_close(ratio_db(x, mixed.x - x), torch.full((20,), 10.0).double(), atol=0.01, rtol=0)
    x[3] = 0
    mixed = SNRMix(10, sources=3)(x, generator=seeded())
    assert mixed.plans[0].why[3] == "silent signal"
    assert torch.equal(mixed.x[3], x[3])
    assert [why for i, why in enumerate(mixed.plans[0].why) if i != 3].count("silent noise") == 2


def test_a_batch_with_too_few_clips_takes_all_there_are():
    mixed = SNRMix(10, sources=(4, 4))(noise(3, 1, 500), generator=seeded())
    plan = mixed.plans[0]
    assert all(len(plan.sources(i)) == 2 for i in range(3))
    assert set(plan.why) == {"3 of 4 sources: there is no further partner"}
    alone = noise(1, 1, 500)
    mixed = SNRMix(10, sources=(2, 4))(alone, generator=seeded())
    assert torch.equal(mixed.x, alone)
    assert mixed.plans[0].why[0]


def test_noise_below_the_gate_is_not_claimed():
    """-80 LUFS is no loudness: nothing is added, and the plan does not say that it was."""
    x = noise(3, 1, SIZE) * 0.003
    for sources in (2, 3):
        mixed = SNRMix(40, level="lufs", rate=SIZE, sources=sources)(x, generator=seeded())
        assert set(mixed.plans[0].why) == {"noise below the gate of -70 LUFS"}
        assert torch.equal(mixed.x, x)
        assert mixed.plans[0].describe(0)["snr_db"] is None


@pytest.mark.parametrize("measure", ["rms", "active"])
def test_noise_far_below_the_clip_is_still_added(measure):
    """Noise of -130 dB has its SNR: silent is what has no level before its gain."""
    x = (noise(3, 1, 2000) * 1e-3).double()
    for sources in (2, 3):
        mixed = SNRMix(70, level=measure, sources=sources)(x, generator=seeded())
        plan = mixed.plans[0]
        assert plan.why == ()
        assert (plan.snr_db == 70).all()
        got = 20 * torch.log10(x.norm(dim=-1) / (mixed.x - x).norm(dim=-1))
        assert ((got - (70 if sources == 2 else 67)).abs() < 0.5).all()


def test_noises_that_cancel_have_no_total():
    x, one = tones(100), tones(200)
    mixed = SNRMix(10, sources=3, label="keep")(x, other=torch.cat([one, -one]), generator=seeded())
    assert torch.allclose(mixed.x, x, atol=1e-6)
    assert mixed.plans[0].describe(0)["snr_total_db"] is None
    assert mixed.plans[0].describe(0)["snr_db"] == [10.0, 10.0]


def test_the_snr_follows_a_schedule():
    x, seen = noise(40, 1, 500), []
    fixed, wide = SNRMix("linear:20:0"), SNRMix(("linear:20:-10", 20), sources=(2, 3))
    for progress in (0.0, 0.5, 1.0):
        assert (fixed(x, progress=progress, generator=seeded()).plans[0].snr_db == 20 - 20 * progress).all()
        found = wide(x, progress=progress, generator=seeded()).plans[0].snr_db
        found = found[found.isfinite()]
        assert found.max() <= 20
        seen.append(float(found.min()))
    assert seen[0] == 20
    assert 5 <= seen[1] < 7
    assert -10 <= seen[2] < -8
    with pytest.raises(TypeError, match="progress must be given, since snr_db is the schedule"):
        fixed(x)
    with pytest.raises(ValueError, match=r"snr_db must be \(low, high\) in dB, got \(10.2, 10\) at progress 0.51"):
        SNRMix(("linear:0:20", 10))
    assert SNRMix(("linear:0:10", 20)).options()["snr_db"] == ("linear:0:10:1", 20.0)


def test_plans_are_replayed_from_json_and_wrong_ones_are_named():
    x, other = noise(4, 1, 1000), noise(3, 1, 3000, seed=2)
    mixer = SNRMix(sources=(2, 3), reference="running", label="keep")
    first = mixer(x, other=other, generator=seeded())
    plan = Plan.from_json(first.plans[0].to_json())
    assert plan.reference == "running"
    assert torch.equal(mixer(x, other=other, plan=plan).x, first.x)
    with pytest.raises(ValueError, match="plan must be a SNRPlan, got a SNRSourcesPlan"):
        SNRMix(label="keep")(x, other=other, plan=plan)
    with pytest.raises(ValueError, match="sources must be 2 or more at most"):
        SNRMix(sources=1)
    with pytest.raises(ValueError, match="reference must be one of clean, running"):
        SNRMix(reference="mix")


def test_a_plan_is_not_replayed_with_noises_that_are_not_there():
    """With label='keep' no noise has a share of the label: its row was not looked at before it was read."""
    wave, noises = noise(3, 1, 400), noise(20, 1, 400, seed=1)
    several = SNRMix(sources=3, label="keep")
    for mixer in (SNRMix(label="keep"), several, OneOf([several, SNRMix(label="keep")], per="clip")):
        (plan,) = mixer(wave, other=noises, generator=seeded(3)).plans
        assert plan.partner_rows().max() > 3
        with pytest.raises(ValueError, match=r"plan.partner must be in 0\.\.3, got"):
            mixer(wave, other=noises[:4], plan=plan)


def test_the_first_partner_is_the_first_that_there_is():
    wave, noises = noise(1, 1, 400), noise(3, 1, 400, seed=1)
    noises[0] = 0
    mixer, found = SNRMix(sources=3, label="keep", pairing="same_class", num_classes=1), 0
    one = torch.zeros(1, dtype=torch.int64)
    for seed in range(10):
        given = {"other": noises, "other_target": torch.zeros(3, dtype=torch.int64)}
        (plan,) = mixer(wave, one, generator=seeded(seed), **given).plans
        assert plan.partner.tolist() == plan.sources(0)[:1]
        found += int(plan.partners[0, 0]) < 0
    assert found  # the silent one was drawn first


def test_places_that_are_none_are_refused():
    """Noise was read from them: of too few places the rows without one were never written."""
    x = noise(4, 1, 100)
    for mixer, rest in ((SNRMix(), ()), (SNRMix(sources=3), (2,))):
        (plan,) = mixer(x, generator=seeded()).plans
        for wrong in (-0.5, 2.0, torch.nan):
            with pytest.raises(ValueError, match=r"offset must be in \[0, 1\]"):
                replace(plan, offset=torch.full((4, *rest), wrong).double())
        with pytest.raises(ValueError, match="offset must be float64 of shape"):
            replace(plan, offset=torch.zeros(1, *rest).double())
        with pytest.raises(ValueError, match="snr_db must be float64 of shape"):
            replace(plan, snr_db=torch.zeros(1, *rest).double())
