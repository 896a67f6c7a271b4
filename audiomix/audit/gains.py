r"""How loud each source is in a mix, window by window: least squares over all sources, with its uncertainty.

.. math:: \hat g_w = (A_w^T A_w)^{-1} A_w^T y_w, \qquad
          \sigma_{w,i}^2 = \hat\sigma_w^2 \left[(A_w^T A_w)^{-1}\right]_{ii}

The columns of A are the placed sources in a window of 20 ms, over all channels. Where nothing but the sources is in a
mix the error is that of its rounding, about 1e-4 of the gain in one window; so the gain of a source is the value that
most windows agree on, and where it differs a source is cut, faded or absent.
"""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Plateau", "Windows", "plateau", "window_gains"]

# Variance of the rounding to 16 bits: no window can be more certain than that.
_ROUNDING = 2.0**-30 / 12
# Windows solved at once: bounds the memory of the copy in double precision.
_BLOCK = 256
# A gain is significant from so many standard deviations on.
_SIGNIFICANT = 5.0
# Windows within 2 % (0.17 dB) of each other agree.
_AGREE = 0.02
# A loud window counts at most so many times the median one: a plateau is long, not loud.
_MOST = 10.0


class Windows(NamedTuple):
    """Per window: gains and their standard deviations (W, S), energy of the mix and of what is left (W,), float64.

    And the products of the sources with each other (W, S, S).
    """

    gains: Tensor
    std: Tensor
    energy: Tensor
    rest: Tensor
    gram: Tensor


class Plateau(NamedTuple):
    """The gain that most windows agree on (signed), its deviation, the share of them that agree, and their number."""

    gain: float
    std: float
    agree: float
    number: int = 0


def window_gains(mix: Tensor, tracks: Tensor, window: int) -> Windows:
    """Fit the sources to the mix in every window of `window` samples.

    Parameters
    ----------
    mix : Tensor, shape (C, T)
        Samples of the mix.
    tracks : Tensor, shape (S, C, T)
        Placed sources. Where one is silent in a window its gain is 0 and its deviation infinite.
    window : int
        Samples of a window.

    Returns
    -------
    Windows
    """
    count = -(-mix.shape[-1] // window)
    pieces = []
    for first in range(0, count, _BLOCK):
        part = slice(first * window, (first + _BLOCK) * window)
        pieces.append(_solve(_cut(tracks[..., part], window), _cut(mix[None, :, part], window)))
    return Windows(*(torch.cat(values) for values in zip(*pieces)))


def _cut(x: Tensor, window: int) -> Tensor:
    """Bring (S, C, T) into windows (W, S, C * window), in double precision, zeros behind the end."""
    count = -(-x.shape[-1] // window)
    x = torch.nn.functional.pad(x, (0, count * window - x.shape[-1])).double()
    return x.unflatten(-1, (count, window)).permute(2, 0, 1, 3).flatten(2)


def _solve(columns: Tensor, mix: Tensor) -> Windows:
    gram = columns @ columns.mT  # (W, S, S)
    product = (columns @ mix.mT)[..., 0]
    energy = mix.square().sum((1, 2))
    scale = gram.diagonal(dim1=1, dim2=2).sqrt()
    dead = scale**2 <= columns.shape[-1] * _ROUNDING / 4
    inverse_scale = torch.where(dead, 0.0, 1 / scale.clamp(min=1e-30))
    unit = gram * inverse_scale[:, :, None] * inverse_scale[:, None, :]
    unit = unit + torch.diag_embed(dead.double() + 1e-10)
    inverse = torch.linalg.inv(unit)
    gains = (inverse @ (product * inverse_scale)[..., None])[..., 0] * inverse_scale
    rest = (energy - (product * gains).sum(1)).clamp(min=0)
    free = max(1, columns.shape[-1] - columns.shape[1])
    variance = (rest / free).clamp(min=_ROUNDING)
    std = (variance[:, None] * inverse.diagonal(dim1=1, dim2=2)).sqrt() * inverse_scale
    # the rounding of a mix of a few steps is no noise: it may swallow a source of less than one step
    quiet = energy <= 4 * columns.shape[-1] * 12 * _ROUNDING
    least = (12 * _ROUNDING * columns.shape[-1]) ** 0.5 * inverse_scale
    std = torch.where(quiet[:, None], torch.maximum(std, least), std)
    return Windows(gains, torch.where(dead, torch.inf, std), energy, rest, gram)


def plateau(gains: Tensor, std: Tensor) -> Plateau:
    """Return the gain that most windows (W,) agree on, weighted by how certain they are.

    A gain of 0 where no window is significantly different from 0.
    """
    on = gains.abs() > _SIGNIFICANT * std
    if not bool(on.any()):
        return Plateau(0.0, _joint_std(std), 0.0)
    g, s = gains[on], std[on]
    weight = s.reciprocal().square()
    weight = torch.minimum(weight, _MOST * weight.median())
    centre, agree = _mode(g, weight)
    # all windows that may have this gain, not only those in which chance made it significant
    core = torch.isfinite(std) & ((gains - centre).abs() <= (3 * std).clamp(min=_AGREE * abs(centre)))
    exact = std[core].reciprocal().square()
    gain = float((gains[core] * exact).sum() / exact.sum())
    core &= on
    return Plateau(gain, float(exact.sum().rsqrt()), agree, int(core.sum()))


def _joint_std(std: Tensor) -> float:
    known = std[torch.isfinite(std)]
    return float(known.reciprocal().square().sum().rsqrt()) if len(known) else float("inf")


def _mode(g: Tensor, weight: Tensor) -> tuple[float, float]:
    """Return the value with most weight within 2 % of it, and that share of the weight."""
    order = g.argsort()
    g, weight = g[order], weight[order]
    total = torch.cat([weight.new_zeros(1), weight.cumsum(0)])
    reach = _AGREE * g.abs()
    inside = total[torch.searchsorted(g, g + reach, right=True)] - total[torch.searchsorted(g, g - reach)]
    best = int(inside.argmax())
    return float(g[best]), float(inside[best] / total[-1])
