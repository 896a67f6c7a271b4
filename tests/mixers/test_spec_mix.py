"""SpecMix: bands of both axes, the share of the mask, and the reference's traps."""

import pytest
import torch
from sounds import noise, seeded

from audiomix import Plan, SpecMix
from audiomix.mixers._band_plan import BandPlan


def coverage(width):
    """The expected share that up to two bands cover: none, one or two with a third each.

    Two starts uniform over 1 - w overlap in the mean by the integral of (w - d) 2 (1 - w - d) / (1 - w)^2 over d < w.
    """
    room = 1 - width
    overlap = 2 / room**2 * (width * room * width - (width + room) * width**2 / 2 + width**3 / 3)
    return (0 + width + 2 * width - overlap) / 3


@pytest.mark.parametrize(("width", "mean"), [(0.3, 0.543), (0.1, None)])
def test_the_mean_weight_follows_from_the_bands(width, mean):
    weight = SpecMix(width=width)(noise(6000, 1, 60, 200), generator=seeded()).plans[0].weight
    expected = (1 - coverage(width)) ** 2  # both kinds are drawn alike and apart
    assert mean is None or expected == pytest.approx(mean, abs=0.002)
    assert weight.mean().item() == pytest.approx(expected, abs=4 * weight.std().item() / 6000**0.5 + 0.003)
    unmixed = (weight == 1).double().mean().item()
    assert unmixed == pytest.approx(1 / 9, abs=4 * (8 / 81 / 6000) ** 0.5)  # no band of either kind
    assert weight.min().item() >= (1 - 2 * width) ** 2 - 0.01


@pytest.mark.parametrize("bins_and_frames", [(24, 37), (128, 61)])
def test_the_weight_is_the_share_kept(bins_and_frames):
    bins, frames = bins_and_frames
    spec, lengths = noise(40, 1, bins, frames), torch.randint(1, frames + 1, (40,), generator=seeded())
    for given in ({}, {"lengths": lengths}):
        mixed = SpecMix(width=0.2)(spec, generator=seeded(), **given)
        (plan,) = mixed.plans
        for i, j in enumerate(plan.partner.tolist()):
            end = int(lengths[i]) if given else frames
            both = min(end, int(lengths[j])) if given else frames
            cut = mixed.x[i, 0] != spec[i, 0]
            assert torch.equal(mixed.x[i, 0][cut], spec[j, 0][cut])
            assert not cut[:, both:].any()
            assert 1 - cut[:, :end].double().mean().item() == pytest.approx(plan.weight[i].item(), abs=1e-9)
            columns, rows = cut[:, :both].all(0), cut[:, :both].all(1)
            assert torch.equal(cut[:, :both], columns | rows[:, None])  # whole bands, and nothing else


def test_late_frames_are_reached_and_widths_follow_their_own_axis():
    """In the authors' code all bands take widths and starts from the bins: of 461 frames only 0 to 127 are pasted."""
    spec = noise(400, 1, 20, 461)
    plan = SpecMix(width=0.3, freq_bands=0)(spec, generator=seeded()).plans[0]
    last = (plan.spans[..., 1] * 461).round().amax(1)
    assert last.max() == 461
    assert (last > 128).sum() > 200
    one = SpecMix(1, 1, width=0.3)(spec, generator=seeded()).plans[0]
    widths = ((one.spans[..., 1] - one.spans[..., 0]) * 461).round().unique().tolist()
    heights = ((one.bands[..., 1] - one.bands[..., 0]) * 20).round().unique().tolist()
    assert widths == [0, round(0.3 * 461)]
    assert heights == [0, 6]


def test_numbers_of_bands_are_drawn_anew_for_each_clip():
    """Default arguments that are drawn at import give every call the same numbers."""
    plan = SpecMix()(noise(900, 1, 20, 50), generator=seeded()).plans[0]
    count = (plan.bands[..., 1] > plan.bands[..., 0]).sum(1)
    share = torch.bincount(count, minlength=3) / 900
    # two bands are one where one lies on the other, which is rare
    assert (share - 1 / 3).abs().max() < 4 * (2 / 9 / 900) ** 0.5 + 0.03
    assert len(plan.spans[:, 0].unique(dim=0)) > 20


def test_frame_labels_follow_the_bands_of_time():
    spec = torch.zeros(3, 1, 10, 40) + torch.arange(3.0).view(3, 1, 1, 1)
    frames = torch.eye(3)[:, :, None].repeat(1, 1, 40)
    mixed = SpecMix(width=0.3)(spec, frames, generator=seeded(3))
    for i in range(3):
        kept = (mixed.x[i, 0] == i).double().mean(0)
        torch.testing.assert_close(mixed.target[i, i].double(), kept, atol=1e-6, rtol=0)


def test_few_bins_have_whole_bands_or_none():
    spec = noise(60, 1, 4, 9)
    plan = SpecMix(width=0.1)(spec, generator=seeded()).plans[0]
    assert (plan.bands[..., 1] == plan.bands[..., 0]).all()  # a tenth of four bins is none
    alone = plan.weight == 1
    assert alone.any()
    assert all(bool(why) == bool(one) for why, one in zip(plan.why, alone))


def test_options_and_plans_that_make_no_sense_are_named():
    with pytest.raises(ValueError, match="freq_bands must be above 0 where time_bands is 0"):
        SpecMix(0, 0)
    with pytest.raises(ValueError, match=r"width must be a number in \[0, 1\], got 30: did you mean 0\.3"):
        SpecMix(width=30)
    with pytest.raises(ValueError, match="x must be spectrograms .* LogMel"):
        SpecMix()(noise(4, 1, 1000))
    plan = Plan.identity(1)
    spans = torch.tensor([[[0.2, 0.6], [0.5, 0.7]]], dtype=torch.float64)
    with pytest.raises(ValueError, match="spans must be in order and apart from each other"):
        BandPlan(plan.partner, plan.weight, spans=spans, bands=spans[:, :1], covered=plan.weight)
