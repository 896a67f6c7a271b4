r"""Sounds made shorter as a whole, differentiably: waves by their spectrum, spectrograms by interpolation along time.

A wave of n samples becomes one of m by Fourier's method: of its spectrum the lower frequencies are kept, m / n of them,
and transformed back. What would be aliased is not there, and a gradient flows through. Its pitch moves with its speed,
as on a tape. (`audiomix.audio.stretch.warp` follows curved maps of time and keeps the pitch where it is asked to,
within a factor of four and without gradients.)
"""

from functools import lru_cache

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from . import check

__all__ = ["METHODS", "resize"]

METHODS = ("resample", "interpolate")
# Samples that are mirrored behind both ends at least: the spectrum is that of a circle, whose joint is to be smooth.
_MARGIN = 128
# Lengths of the circle that are tried, so that neither transform is of a length with a large prime factor, which costs
# three times as much.
_TRIALS = 24


def resize(x: Tensor, size: int, method: str = "resample") -> Tensor:
    """Return sounds of another length: all that is in `x`, faster or slower.

    Parameters
    ----------
    x : Tensor, shape (..., T) or (..., F, N), floating point
        Waves or spectrograms, time last; float32 at least.
    size : int
        Samples or frames of the result.
    method : str
        ``resample``: waves, by their spectrum. ``interpolate``: spectrograms, linearly along time, averaged where
        frames get fewer.

    Returns
    -------
    Tensor, shape (..., size)

    Examples
    --------
    >>> tone = torch.cos(2 * torch.pi * 100 * torch.arange(8000) / 8000)
    >>> faster = resize(tone, 4000)  # 200 Hz
    >>> bool((faster - torch.cos(2 * torch.pi * 200 * torch.arange(4000) / 8000)).abs().max() < 0.02)
    True
    """
    check.choice("method", method, METHODS)
    have = x.shape[-1]
    if size == have:
        return x
    if not size or not have:
        return x.new_zeros(*x.shape[:-1], size)
    return _resample(x, size) if method == "resample" else _interpolate(x, size)


def _resample(x: Tensor, size: int) -> Tensor:
    have = x.shape[-1]
    before, after = _circle(have, size)
    half = (before - have + 1) // 2
    circle = torch.cat([x, x[..., have - half :].flip(-1), x[..., : before - have - half].flip(-1)], -1)
    spectrum = torch.fft.rfft(circle)[..., : (min(before, after) + 1) // 2]  # without the one at half the rate
    return torch.fft.irfft(spectrum, after)[..., :size] * (after / before)


@lru_cache(maxsize=4096)
def _circle(have: int, size: int) -> tuple[int, int]:
    """Return how many samples the circle has before and after: in the ratio of both, to half a sample of the result."""
    found: list[tuple[int, int, int]] = []
    before = have + min(have, _MARGIN)
    for _ in range(_TRIALS):
        before = next_fast_len(before)
        if (found and before > 1.25 * have + _MARGIN) or before > 2 * have:
            break
        after = max(size, round(before * size / have))
        found.append((_without_small_factors(after), before, after))
        if found[-1][0] == 1:
            break
        before += 1
    if not found:
        return 2 * have, 2 * size
    _, before, after = min(found)
    return before, after


def _without_small_factors(number: int) -> int:
    """Return what is left of a number without its prime factors up to 13, which transforms know: 1 is fast."""
    for factor in (2, 3, 5, 7, 11, 13):
        while number % factor == 0:
            number //= factor
    return number


def _interpolate(x: Tensor, size: int) -> Tensor:
    bins = x.shape[-2] if x.ndim > 1 else 1
    pictures = x.reshape(-1, 1, bins, x.shape[-1])
    sized = torch.nn.functional.interpolate(pictures, (bins, size), mode="bilinear", antialias=size < x.shape[-1])
    return sized.view(*x.shape[:-1], size)
