"""SmoothMix: a Gaussian window, no clicks, and the label the right way round."""

import numpy as np
import pytest
import torch
from sounds import noise, seeded

from audiomix import SmoothMix, draw_window


@pytest.mark.parametrize(("kind", "shape"), [("time", (1, 1000)), ("time", (1, 24, 37)), ("time_freq", (1, 24, 137))])
@pytest.mark.parametrize("ragged", [False, True])
def test_the_originals_share_on_ones_and_zeros_is_its_weight(kind, shape, ragged):
    """A reimplementation gives the original the mean of the window: up to 0.59 off."""
    ones = torch.ones(40, *shape, dtype=torch.float64)
    lengths = torch.randint(1, shape[-1] + 1, (40,), generator=seeded())
    given = {"lengths": lengths, "other_lengths": lengths.flip(0)} if ragged else {}
    mixed = SmoothMix(kind)(ones, other=0 * ones, generator=seeded(), **given)
    for i, end in enumerate(lengths.tolist() if ragged else [shape[-1]] * 40):
        share = mixed.x[i, ..., :end].mean().item()
        assert share == pytest.approx(mixed.plans[0].weight[i].item(), abs=1e-6)


def test_the_window_is_gaussian():
    ones = torch.ones(30, 1, 2000, dtype=torch.float64)
    window = 1 - SmoothMix()(ones, other=0 * ones, generator=seeded()).x[:, 0].numpy()
    place = (np.arange(2000) + 0.5) / 2000
    for row in window:
        inside = row > 0.05
        a, b, c = np.polyfit(place[inside], np.log(row[inside]), 2)  # the logarithm is a parabola
        sigma, centre = (-0.5 / a) ** 0.5, -b / (2 * a)
        assert 0.24 < sigma < 0.51
        assert -0.01 < centre < 1.01
        assert c - b**2 / (4 * a) == pytest.approx(0, abs=0.003)  # its top is 1
        wanted = np.exp(-0.5 * ((place - centre) / sigma) ** 2)
        np.testing.assert_allclose(row[8:-8], wanted[8:-8], atol=0.001)
        np.testing.assert_allclose(row, wanted, atol=0.607 / 0.25 / 256 * 1.1)  # half of a cell at each end is level


def test_widths_and_centres_are_uniform_and_each_axis_has_its_own():
    ones = torch.ones(500, 1, 24, 137, dtype=torch.float64)
    window = 1 - SmoothMix("time_freq")(ones, other=0 * ones, generator=seeded()).x[:, 0]
    time, freq = window.amax(1).argmax(1) / 137, window.amax(2).argmax(1) / 24
    for where in (time, freq):
        assert where.mean().item() == pytest.approx(0.5, abs=4 * (1 / 12 / 500) ** 0.5 + 0.03)
        assert where.std().item() == pytest.approx((1 / 12) ** 0.5, rel=0.1)
    assert abs(torch.corrcoef(torch.stack([time, freq]))[0, 1]) < 4 / 500**0.5


def test_waves_have_no_clicks():
    """Neighbouring samples differ by no more than the window's steepest slope over a cell."""
    wave = torch.ones(50, 1, 16000)
    mixed = SmoothMix()(wave, other=-wave, generator=seeded())
    assert mixed.x.diff().abs().max() < 2 * 0.607 / 0.25 / 16000 * 1.05
    short = SmoothMix()(wave, other=-wave, other_lengths=torch.full((50,), 8000), generator=seeded())
    assert short.x.diff().abs().max() < 2 / (16000 / 128) * 1.01  # fades out over a cell before the partner ends
    assert (short.x[..., 8000:] == 1).all()


def test_windows_are_separable():
    one = draw_window(np.array([0.3]), np.array([0.25]), 10, 0.1)
    assert one.max() <= 1
    assert one.argmax() in (2, 3)


def test_options_that_make_no_sense_are_named():
    with pytest.raises(ValueError, match=r"sigma must be the least width first, got \(0\.5, 0\.25\): did you mean"):
        SmoothMix(sigma=(0.5, 0.25))
    with pytest.raises(ValueError, match=r"sigma must be the least and the largest width, got 0\.3"):
        SmoothMix(sigma=0.3)
    with pytest.raises(ValueError, match="x must be spectrograms"):
        SmoothMix("time_freq")(noise(4, 1, 1000))
