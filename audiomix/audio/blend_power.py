r"""Sums of log spectrograms as the powers they stand for.

.. math:: y_i = \log(a_i^2 e^{x_i} + b_i^2 e^{x'_{p(i)}}) = m + \log(1 + e^{-|d|})

with d the difference of the two at their gains and m the larger one. The exponential and the logarithm cost about twice
the memory traffic of the whole sum, so they are taken once each, of pieces that stay in a cache.
"""

import math

import torch
from torch import Tensor

from ..clips import behind, fit_length, silence_padding
from ..graphs import by_row
from .blend import check_out, upload
from .level import SILENCE_DB

__all__ = ["add_powers", "blend_power"]

# The least gain of an original that stands alone: the logarithm of silence is no number that a network can read.
_LEAST_ALONE = 10 ** (SILENCE_DB / 20)

# Bytes of a piece: three of them stay in a cache of 2 MB.
_PIECE = 512 << 10
# Logarithm of a power that adds nothing to any other.
_SILENCE = -1e30


def blend_power(
    x: Tensor,
    partner: Tensor,
    a: Tensor,
    b: Tensor,
    *,
    unit: float,
    other: Tensor | None = None,
    valid: Tensor | None = None,
    both: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Add to each log spectrogram its partner's power.

    Parameters
    ----------
    x : Tensor, shape (B, ..., F, N)
        The originals. Left unchanged.
    partner : Tensor, shape (B,), int64
        Rows of `other`.
    a, b : Tensor, shape (B,), float64
        Amplitudes of the original and of the partner. Where b is 0 the original keeps its bits.
    unit : float
        How much `x` grows where the power grows e-fold: 10 / ln 10 for decibels.
    other : Tensor, shape (M, ..., F, N'), optional
        Where partners are taken from; `x` itself by default. Cut at N.
    valid, both : Tensor, shape (B,), int64, optional
        Valid frames of each original, and how many of them its partner covers: behind these the original stands alone,
        at its gain (-120 dB at least), and behind the valid ones as it is. All are valid and covered by default.
    out : Tensor, shape of x, optional
        Written and returned; see `audiomix.audio.blend.blend`.

    Examples
    --------
    >>> x, half = torch.zeros(2, 3, 4), torch.tensor([0.5, 1.0]).double()
    >>> blend_power(x, torch.tensor([1, 0]), half, 1 - half, unit=10 / math.log(10))[:, 0, 0]
    tensor([-3.0103,  0.0000])
    """
    source = x if other is None else other
    if out is not None:
        check_out(out, x, source)
    if valid is None and x.ndim > 2 and not x.is_contiguous() and x.mT.is_contiguous() and source.shape == x.shape:
        turned = None if out is None else out.mT  # in the order of the memory
        return blend_power(x.mT, partner, a, b, unit=unit, other=source.mT, out=turned).mT
    near, far = (2 * unit * gain.log() for gain in (a, b))  # -inf for a gain of 0
    near = torch.where(b == 0, 0.0, near)
    if by_row(x, source):
        mixed = torch.empty_like(x) if out is None else out
        if valid is None or both is None:
            _write(mixed, x, source, partner, near, far, unit)
        else:
            _write_valid(mixed, x, source, partner, near, far, unit, valid, both)
        return mixed
    wide, shape = torch.promote_types(x.dtype, torch.float32), (-1, *[1] * (x.ndim - 1))
    partner, near, far = upload([partner, near, far], x.device)
    alone = x + near.to(wide).view(shape)
    theirs = fit_length(source, x.shape[-1]).index_select(0, partner) + far.to(wide).view(shape)
    if valid is not None and both is not None:  # padding may hold anything, and no gradient goes there
        alone = alone.masked_fill(behind(x, valid), 0)
        theirs = theirs.masked_fill(behind(x, both), -math.inf)
    mixed = torch.where(theirs == -math.inf, alone, add_powers(alone / unit, theirs / unit) * unit)
    if valid is not None and both is not None:
        least = silence_padding(x, valid) + near.clamp(min=2 * unit * math.log(_LEAST_ALONE)).to(wide).view(shape)
        mixed = torch.where(behind(x, valid), x, torch.where(behind(x, both), least, mixed))
    mixed = mixed.to(x.dtype)
    return mixed if out is None else out.copy_(mixed)


def add_powers(a: Tensor, b: Tensor) -> Tensor:
    """Return log(e^a + e^b), with finite derivatives where both are silence without a floor (-inf).

    Parameters
    ----------
    a, b : Tensor
        Natural logarithms, of one shape.
    """
    total = torch.logaddexp(a.clamp(min=_SILENCE), b.clamp(min=_SILENCE))
    return torch.where(b == -math.inf, a, total)


def _write(
    out: Tensor, x: Tensor, source: Tensor, partner: Tensor, near: Tensor, far: Tensor, unit: float
) -> None:
    """Write the sums of whole clips: several small ones at a time, or pieces of large ones."""
    row = x.numel() // len(x) * x.element_size()
    if row > _PIECE:
        flat = x.is_contiguous() and source.is_contiguous() and out.is_contiguous()
        most = _PIECE // x.element_size()
        for into, own, j, p, q in zip(out, x, partner.tolist(), near.tolist(), far.tolist()):
            theirs = source[j, ..., : x.shape[-1]]
            pieces = zip(*(t.view(-1).split(most) for t in (into, own, theirs))) if flat else [(into, own, theirs)]
            for target, mine, other in pieces:
                _add(target, mine, other.to(torch.promote_types(x.dtype, torch.float32)) + q, p, unit)
        return
    step, shape = max(1, _PIECE // row), (-1, *[1] * (x.ndim - 1))
    wide = torch.promote_types(x.dtype, torch.float32)
    near, far = near.to(wide).view(shape), far.to(wide).view(shape)
    source = source[..., : x.shape[-1]]
    for at in range(0, len(x), step):
        rows = slice(at, at + step)
        _add(out[rows], x[rows], source.index_select(0, partner[rows]).to(wide).add_(far[rows]), near[rows], unit)


def _write_valid(
    out: Tensor, x: Tensor, source: Tensor, partner: Tensor, near: Tensor, far: Tensor, unit: float, valid: Tensor,
    both: Tensor,
) -> None:  # fmt: skip
    """Write the sums of what is valid, clip by clip; behind it the original stays."""
    wide, floor = torch.promote_types(x.dtype, torch.float32), 2 * unit * math.log(_LEAST_ALONE)
    for i, (j, end, common, p, q) in enumerate(zip(*(t.tolist() for t in (partner, valid, both, near, far)))):
        if common:
            _add(out[i, ..., :common], x[i, ..., :common], source[j, ..., :common].to(wide) + q, p, unit)
        out[i, ..., common:end] = x[i, ..., common:end] + max(p, floor)
        out[i, ..., end:] = x[i, ..., end:]


def _add(out: Tensor, x: Tensor, theirs: Tensor, near: Tensor | float, unit: float) -> None:
    """Write the sum of `x`, raised by `near`, and of `theirs`, which may be written into."""
    own = torch.add(x, near, out=out) if out.dtype == theirs.dtype else x.to(theirs.dtype) + near
    apart = own - theirs
    torch.maximum(own, theirs, out=own)
    # two of -inf (silence without a floor) are -inf: what is not a number there counts as 0
    rise = apart.abs_().mul_(-1 / (unit * math.log(2))).exp2_().nan_to_num_(nan=0.0).log1p_()
    own.add_(rise, alpha=unit)
    if own is not out:
        out.copy_(own)
