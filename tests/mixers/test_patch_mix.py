"""PatchMix and MaskMix: patches are whole, their number is what was asked for, and the weight is the area."""

import math

import pytest
import torch
from sounds import noise, seeded

from audiomix import MaskMix, PatchMix


def owners(mixed, spec, plan, index, high, wide):
    """For each patch of one mix whether it is the original's, after a check that all of it is."""
    kept = mixed[index, 0] == spec[index, 0]
    theirs = mixed[index, 0] == spec[int(plan.partner[index]), 0]
    found = []
    for own_rows, their_rows in zip(kept.split(high, 0), theirs.split(high, 0)):
        for own, their in zip(own_rows.split(wide, 1), their_rows.split(wide, 1)):
            assert own.all() or their.all()  # one source
            found.append(bool(own.all()))
    return found


@pytest.mark.parametrize(("share", "shape"), [(0.3, (64, 96)), (0.5, (32, 208)), (0.0, (32, 48)), (1.0, (32, 48))])
def test_exactly_the_patches_asked_for_are_the_partners(share, shape):
    spec = noise(20, 1, *shape)
    mixed = PatchMix("time_freq", partner_share=share)(spec, generator=seeded())
    (plan,) = mixed.plans
    number = shape[0] * shape[1] // 256
    for i in range(20):
        found = owners(mixed.x, spec, plan, i, 16, 16)
        assert found.count(False) == round(share * number)
        assert plan.weight[i].item() == pytest.approx(1 - round(share * number) / number, abs=1e-12)


def test_patches_that_the_end_cuts_count_by_their_area():
    spec = noise(50, 1, 40, 100)
    mixed = PatchMix("time_freq", patch=(16, 16))(spec, generator=seeded())
    (plan,) = mixed.plans
    kept = (mixed.x == spec).double().mean((1, 2, 3))
    torch.testing.assert_close(kept, plan.weight, atol=1e-9, rtol=0)
    for i in range(50):
        assert owners(mixed.x, spec, plan, i, 16, 16).count(False) == round(0.3 * 3 * 7)
    assert len(plan.weight.unique()) > 3


def test_every_patch_is_drawn_alike():
    plan = PatchMix("time_freq", patch=(8, 10))(noise(4000, 1, 24, 50), generator=seeded()).plans[0]
    counts = (plan.mask == 0).double().sum(0)
    expected = round(0.3 * 15) / 15
    deviation = (expected * (1 - expected) * 4000) ** 0.5
    assert (counts - 4000 * expected).abs().max() < 4.5 * deviation


@pytest.mark.parametrize("mixer", [PatchMix("time_freq", patch=(8, 10)), MaskMix((4, 5))], ids=repr)
def test_with_lengths_patches_lie_where_both_clips_are(mixer):
    spec, lengths = noise(40, 1, 24, 93), torch.randint(0, 94, (40,), generator=seeded())
    mixed = mixer(spec, lengths=lengths, generator=seeded())
    (plan,) = mixed.plans
    for i, j in enumerate(plan.partner.tolist()):
        end, both = int(lengths[i]), min(int(lengths[i]), int(lengths[j]))
        cut = mixed.x[i, 0] != spec[i, 0]
        assert not cut[:, both:].any()
        kept = 1 - cut[:, :end].double().mean().item() if end else 1.0
        assert kept == pytest.approx(plan.weight[i].item(), abs=1e-9)
        count = 3 * math.ceil(both / 10)
        if isinstance(mixer, PatchMix):
            assert (plan.mask[i] == 0).sum() == round(0.3 * count)
        assert bool(plan.why and plan.why[i]) == (plan.weight[i] == 1)


def test_patches_of_time_on_waves():
    wave = noise(30, 2, 16000)
    mixed = PatchMix(patch=800)(wave, generator=seeded())
    for i in range(30):
        cut = (mixed.x[i] != wave[i]).view(2, 20, 800)
        assert (cut.all(2) | ~cut.any(2)).all()
        assert cut[0].all(1).sum() == 6
    assert (mixed.plans[0].weight == 0.7).all()
    faded = PatchMix(patch=800, fade=0.01, rate=16000)(torch.ones(8, 1, 16000), other=-torch.ones(8, 1, 16000))
    assert faded.x.diff().abs().max() < 2 / 160 * 1.01


@pytest.mark.parametrize(("shape", "scale"), [((64, 96), 2), ((64, 100), (1, 3)), ((50, 90), 2)])
def test_each_patch_of_the_model_comes_from_one_source(shape, scale):
    spec = noise(30, 1, *shape)
    mixed = MaskMix((8, 10), scale)(spec, generator=seeded())
    for i in range(30):
        owners(mixed.x, spec, mixed.plans[0], i, 8, 10)
    torch.testing.assert_close(
        (mixed.x == spec).double().mean((1, 2, 3)), mixed.plans[0].weight, atol=1e-9, rtol=0
    )


def test_the_share_of_a_mask_is_that_of_the_paper():
    """ceil(share N) of N cells are kept: at least one, and in the mean 1 / 2 + 1 / (2 N)."""
    plan = MaskMix((16, 16))(noise(4000, 1, 64, 96), generator=seeded()).plans[0]
    cells = plan.mask.shape[1] * plan.mask.shape[2]
    assert cells == 6
    kept = plan.mask.sum((1, 2))
    assert kept.min() == 1
    assert plan.weight.mean().item() == pytest.approx(0.5 + 1 / 12, abs=4 * (1 / 12 / 4000) ** 0.5)
    torch.testing.assert_close(plan.weight, kept.double() / cells, atol=1e-12, rtol=0)


def test_clips_smaller_than_a_patch_are_one():
    spec = noise(20, 1, 8, 10)
    mixed = MaskMix()(spec, generator=seeded())
    assert (mixed.plans[0].weight == 1).all()  # one cell, and at least one is kept
    assert all(mixed.plans[0].why)
    whole = PatchMix("time_freq", partner_share=0.6)(spec, generator=seeded())
    assert (whole.plans[0].weight == 0).all()
    assert torch.equal(whole.x, spec[whole.plans[0].partner])


def test_options_that_make_no_sense_are_named():
    with pytest.raises(ValueError, match=r"patch must be so large that a clip has at most 16384, got \(1, 1\), which"):
        PatchMix("time_freq", patch=(1, 1))(noise(2, 1, 128, 1000))
    with pytest.raises(ValueError, match=r"patch must be bins and frames, got \(16, 16, 16\): patch=\(16, 16\)"):
        PatchMix("time_freq", patch=(16, 16, 16))
    with pytest.raises(TypeError, match="patch must be an integer of at least 1, got .* samples or frames"):
        PatchMix(patch=(16, 16))
    with pytest.raises(ValueError, match="partner_share must"):
        PatchMix("time_freq", partner_share=30)
    with pytest.raises(ValueError, match="x must be spectrograms"):
        MaskMix()(noise(4, 1, 1000))
