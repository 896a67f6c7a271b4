"""GridMix: holes lie at equal distances, on both axes of any spectrogram, and the weight is what is kept."""

import pytest
import torch
from sounds import noise, seeded

from audiomix import Clips, GridMix


def runs(on):
    """Starts and lengths of what is True in a row."""
    edges = torch.nn.functional.pad(on.int(), (1, 1)).diff().nonzero().flatten()
    return edges[::2], edges[1::2] - edges[::2]


@pytest.mark.parametrize("ragged", [False, True])
def test_a_comb_has_equal_segments_at_equal_distances(ragged):
    wave, lengths = noise(60, 2, 2000), torch.randint(100, 2001, (60,), generator=seeded())
    mixed = GridMix()(wave, generator=seeded(), **({"lengths": lengths} if ragged else {}))
    (plan,) = mixed.plans
    for i, j in enumerate(plan.partner.tolist()):
        end = int(lengths[i]) if ragged else 2000
        both = min(end, int(lengths[j])) if ragged else 2000
        cut = (mixed.x[i] != wave[i]).all(0)
        assert torch.equal(mixed.x[i][:, cut], wave[j][:, cut])
        starts, widths = runs(cut)
        assert 2 <= len(starts) <= 6
        assert len(widths.unique()) == 1
        assert len(starts.diff().unique()) == 1
        assert starts.diff()[0] > widths[0]  # there is a gap
        assert starts[-1] + widths[0] <= both
        assert 1 - cut[:end].double().mean().item() == pytest.approx(plan.weight[i].item(), abs=1e-9)


@pytest.mark.parametrize(("bins", "frames"), [(64, 200), (200, 64), (24, 37)])
def test_a_grid_is_the_product_of_two_combs(bins, frames):
    spec = noise(200, 1, bins, frames)
    mixed = GridMix("time_freq", time_axis=-1)(spec, generator=seeded())
    (plan,) = mixed.plans
    for i, j in enumerate(plan.partner.tolist()):
        cut = mixed.x[i, 0] != spec[i, 0]
        assert torch.equal(mixed.x[i, 0][cut], spec[j, 0][cut])
        assert torch.equal(cut, cut.any(1)[:, None] & cut.any(0))
        assert 1 - cut.double().mean().item() == pytest.approx(plan.weight[i].item(), abs=1e-9)
        for line in (cut.any(0), cut.any(1)):
            starts, widths = runs(line)
            assert len(starts.diff().unique()) <= 1
            assert len(widths.unique()) == 1


@pytest.mark.parametrize(("bins", "frames"), [(64, 200), (200, 64)])
def test_every_quarter_of_both_axes_is_reached_alike(bins, frames):
    """With the axes of the part swapped the quarters of time have .14, .09, .00 and .02 at 64 x 200."""
    spec = noise(1500, 1, bins, frames)
    theirs = (GridMix("time_freq", time_axis=-1)(spec, generator=seeded()).x != spec).double()
    for axis in (1, 2):
        quarters = torch.stack([part.mean() for part in theirs[:, 0].chunk(4, axis)])
        # the part is centred in the mean: the quarters at the ends have less, alike on both sides
        assert quarters.min() > 0.5 * quarters.max()
        assert (quarters - quarters.flip(0)).abs().max() < 0.1 * quarters.max()


def test_the_mean_weight_is_that_of_the_part():
    """Half of a part of three quarters is cut in the mean: 1 - 0.75 / 2."""
    weight = GridMix()(noise(4000, 1, 4000), generator=seeded()).plans[0].weight
    assert weight.mean().item() == pytest.approx(0.625, abs=4 * weight.std().item() / 4000**0.5 + 0.003)
    area = GridMix("time_freq")(noise(3000, 1, 200, 210), generator=seeded()).plans[0].weight
    assert area.mean().item() == pytest.approx(0.625, abs=4 * area.std().item() / 3000**0.5 + 0.01)
    whole = GridMix(alpha=1e6, part=(1.0, 1.0))(noise(50, 1, 4000), generator=seeded()).plans[0].weight
    assert (whole - 0.5).abs().max() < 0.01


def test_fades_do_not_click_and_keep_the_weight():
    wave = torch.ones(8, 1, 16000)
    mixed = GridMix(fade=0.005, rate=16000)(wave, other=-wave, generator=seeded())
    (plan,) = mixed.plans
    long = plan.spans.diff(dim=2)[..., 0].where(plan.spans[..., 1] > 0, 1.0).amin(1) * 16000 > 160
    assert long.sum() >= 4
    assert mixed.x[long].diff().abs().max() < 2 * torch.pi / 2 / 80 * 1.01  # the steepest step of 80 samples
    kept = (mixed.x[:, 0].double() + 1) / 2
    torch.testing.assert_close(kept.mean(1), plan.weight, atol=1e-6, rtol=0)
    own, source = Clips(wave.clone().requires_grad_()), Clips(-wave)
    masked = GridMix(fade=0.005, rate=16000).mix(own, source, plan)
    torch.testing.assert_close(masked.detach(), mixed.x, atol=1e-6, rtol=0)


def test_short_clips_have_fewer_holes_or_a_reason():
    mixer = GridMix()
    for size in (2, 3, 5, 8):
        wave = noise(30, 1, size)
        mixed = mixer(wave, generator=seeded())
        cut = (mixed.x != wave)[:, 0]
        assert cut.any(1).all()
        assert not cut.all(1).any()
    plan = mixer(noise(4, 1, 1), generator=seeded()).plans[0]
    assert plan.weight.tolist() == [1.0] * 4
    assert set(plan.why) == {"no cell of the mask lies where both clips are"}
    assert not GridMix(alpha=0)(noise(4, 1, 100), generator=seeded()).plans[0].mixed.any()


def test_options_that_make_no_sense_are_named():
    with pytest.raises(ValueError, match=r"holes must be the least and the largest, got \(6, 2\): holes=\(2, 6\)"):
        GridMix(holes=(6, 2))
    with pytest.raises(ValueError, match=r"part must be a number in \[0\.05, 1\], got 2"):
        GridMix(part=(0.5, 2))
    with pytest.raises(ValueError, match="fade must be 0 unless rate= is given and kind='time'"):
        GridMix("time_freq", fade=0.01, rate=16000)
    with pytest.raises(ValueError, match="x must be spectrograms"):
        GridMix("time_freq")(noise(4, 1, 1000))
