r"""The style of a feature map: mean and spread along time, of each clip; their mixing, and its plan.

.. math:: x' = \tilde\sigma \frac{x - \mu}{\sigma} + \tilde\mu, \quad
          \tilde\mu = s \mu + (1 - s) \mu_p, \quad \tilde\sigma = s \sigma + (1 - s) \sigma_p

No gradient goes through the statistics, as in the papers. `audiomix.mixers.mix_style` and
`audiomix.mixers.freq_mix_style` say over what they are taken.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from .. import check
from ..audio.blend import check_out, upload
from ..clips import Clips, behind
from ..graphs import by_row
from ..plan import ORIGINAL, Part, Plan

__all__ = ["Per", "StylePlan", "restyle"]

# What has statistics of its own: each channel (axis 1), or each frequency (the axis before time).
Per = Literal["channel", "frequency"]
# From this size on (bytes of the batch) a pass row by row wins, since a row stays in the cache.
_LARGE_BATCH = 1 << 20
# Fewest frames that have a spread.
FEWEST = 2


@dataclass(frozen=True, eq=False)
class StylePlan(Plan):
    """Whose style each clip gets, and how much of it; labels are kept.

    Parameters
    ----------
    partner, weight, why, roll, roll_within
        See `audiomix.Plan`; the weight is 1.
    ratio : Tensor, shape (B,), float64
        The original's share s of the mean and of the spread; 1 where a clip keeps its style.

    Examples
    --------
    >>> from audiomix import MixStyle
    >>> plan = MixStyle(p=1.0)(torch.randn(2, 4, 16, 30)).plans[0]
    >>> plan.weight, plan.ratio.shape
    (tensor([1., 1.], dtype=torch.float64), torch.Size([2]))
    """

    ratio: Tensor

    _still: ClassVar = {"ratio": 1.0}

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_rows("ratio", share=True)

    @property
    def mixed(self) -> Tensor:
        """Whether each clip has something of its partner's style; (B,), bool."""
        return self.ratio < 1

    def partner_rows(self) -> Tensor:
        """Return the rows of the partners' batch whose style is used; (R,), int64."""
        return self.partner[self.mixed]

    def parts(self, index: int) -> list[Part]:
        """Return the original, and the partner whose style it has; they do not sum to the mix."""
        mixed = float(self.ratio[index]) < 1
        return [Part(ORIGINAL), *([Part(int(self.partner[index]))] if mixed else [])]

    def describe(self, index: int) -> dict[str, Any]:
        """Return the original's share of its style, and why it is all."""
        return super().describe(index) | {"ratio": float(self.ratio[index])}


def restyle(
    own: Clips, source: Clips, plan: StylePlan, *, per: Per, eps: float = 1e-6, out: Tensor | None = None
) -> Tensor:
    """Give each clip the mixed mean and spread of itself and its partner; padding stays as it is.

    Parameters
    ----------
    own, source : Clips
        Feature maps (B, C, ..., N) or spectrograms (B, ..., F, N), and where partners come from.
    plan : StylePlan
        Partners and shares.
    per : str
        ``channel``: statistics over all axes behind axis 1. ``frequency``: over all but the axis before time.
    eps : float
        Added to the variance.
    out : Tensor, shape of ``own.x``, optional
        Written and returned.
    """
    x = own.x
    if out is not None:
        check_out(out, x, source.x)
    axes = _axes(x, per)
    chosen = torch.where(plan.mixed, plan.partner, 0)  # where nothing is mixed the index means nothing
    rows, ratio, mixed = upload([chosen, plan.ratio, plan.mixed.double()], x.device)
    mean, spread = _statistics(own, axes, eps)
    if source is own:
        their_mean, their_spread = mean[rows], spread[rows]
    else:  # of a large second batch only those that are partners
        their_mean, their_spread = _statistics(source.rows(chosen), axes, eps)
    column = [len(x), *[1] * (x.ndim - 1)]
    ratio, mixed = ratio.to(mean).view(column), mixed.view(column) > 0
    scale = torch.where(mixed, torch.lerp(their_spread, spread, ratio) / spread, 1.0)
    centre = torch.where(mixed, mean, 0.0)
    level = torch.where(mixed, torch.lerp(their_mean, mean, ratio), 0.0)
    if by_row(x, source.x) and (own.lengths is not None or _is_large(x)):
        return _write_rows(own, centre, scale, level, out)
    changed = torch.addcmul(level, x.to(mean.dtype) - centre, scale).to(x.dtype)
    if own.lengths is not None:
        changed = torch.where(behind(x, own.lengths), x, changed)
    return changed if out is None else out.copy_(changed)


def _axes(x: Tensor, per: Per) -> tuple[int, ...]:
    """Return the axes that statistics are taken over, counted from the end: the same for one clip as for a batch."""
    check.batch("x", check.floating("x", x), ndim=3)
    kept = 1 - x.ndim if per == "channel" else -2
    return tuple(axis for axis in range(1 - x.ndim, 0) if axis != kept)


def _is_large(x: Tensor) -> bool:
    return x.numel() * x.element_size() >= _LARGE_BATCH


def _statistics(clips: Clips, axes: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor]:
    """Return mean and spread of the valid frames, each with axes of one entry for those that it is taken over.

    In two passes, the second over differences from the mean: `torch.var_mean` costs seven times as much on a CPU, and
    squares of decibels around -50 lose four of the seven digits of float32.
    """
    x = clips.x.detach()
    wide = torch.promote_types(x.dtype, torch.float32)
    if by_row(x) and (clips.lengths is not None or _is_large(x)):
        room = torch.empty(x.shape[1:], dtype=wide)  # fresh memory for each row costs five times the arithmetic
        found = [_of_row(room[..., : row.shape[-1]].copy_(row), axes, eps) for row in _valid_rows(clips, x)]
        return torch.stack([mean for mean, _ in found]), torch.stack([spread for _, spread in found])
    if clips.lengths is None:
        return _of_row(x.to(wide, copy=True), axes, eps)
    x = x.to(wide)
    hidden = behind(x, clips.lengths)
    x = x.masked_fill(hidden, 0)
    in_a_frame = math.prod([x.shape[axis] for axis in axes[:-1]])
    valid = clips.lengths.to(x.device).view(len(x), *[1] * (x.ndim - 1)) * in_a_frame
    mean = x.sum(axes, keepdim=True) / valid.clamp(min=1)
    power = (x - mean).masked_fill(hidden, 0).square().sum(axes, keepdim=True)
    return mean, (power / (valid - 1).clamp(min=1) + eps).sqrt()


def _of_row(x: Tensor, axes: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor]:
    """Return mean and spread over `axes`, of a batch or of one clip; `x` is written."""
    mean = x.mean(axes, keepdim=True)
    power = torch.linalg.vector_norm(x.sub_(mean), dim=axes, keepdim=True).square()
    return mean, (power / max(math.prod([x.shape[axis] for axis in axes]) - 1, 1) + eps).sqrt()


def _valid_rows(clips: Clips, x: Tensor) -> Iterator[Tensor]:
    """Yield the valid part of each clip; one frame of a clip without any."""
    ends = [x.shape[-1]] * len(x) if clips.lengths is None else clips.lengths.tolist()
    for row, end in zip(x.unbind(), ends):
        yield row[..., : max(end, 1)]


def _write_rows(own: Clips, centre: Tensor, scale: Tensor, level: Tensor, out: Tensor | None) -> Tensor:
    """Write the clips one by one: each is read from memory once."""
    x = own.x.detach()
    written = torch.empty_like(x) if out is None else out
    ends = [x.shape[-1]] * len(x) if own.lengths is None else own.lengths.tolist()
    room = torch.empty(x.shape[1:], dtype=centre.dtype)
    for row, clip, end, *numbers in zip(written.unbind(), x.unbind(), ends, centre, scale, level):
        mean, factor, shift = numbers
        changed = torch.sub(clip[..., :end], mean, out=room[..., :end]).mul_(factor).add_(shift)
        row[..., :end] = changed
        row[..., end:] = clip[..., end:]
    return written
