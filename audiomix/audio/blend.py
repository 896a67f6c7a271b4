r"""The one kernel that linear mixers end in.

.. math:: y_i = a_i x_i + b_i x'_{p(i)}

Mixing is bound by memory traffic: the floor is three passes over the batch (read both, write one). On a CPU the
temporaries of ``a * x + b * x[partner]`` cost more than the arithmetic, and fresh pages more than both, so `out` is
offered and each row is written once. ``python tests/bench/blend.py`` measures it.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from .. import check
from ..clips import Clips, behind, fit_length, overlap, silence_padding
from ..graphs import by_row
from ..plan import GainPlan, Plan

__all__ = [
    "GAIN_LAWS",
    "LARGE_ROW",
    "area_share",
    "blend",
    "check_out",
    "find_source",
    "plan_sum",
    "sum_sounds",
    "upload",
]

# Amplitudes of original and partner at label share w
GAIN_LAWS: dict[str, Callable[[Tensor], tuple[Tensor, Tensor]]] = {
    "amplitude": lambda w: (w, torch.sub(1, w)),
    "unit_power": lambda w: (w / (w**2 + (1 - w) ** 2).sqrt(), (1 - w) / (w**2 + (1 - w) ** 2).sqrt()),
    "sqrt": lambda w: (w.sqrt(), (1 - w).sqrt()),
}
# From these sizes on, of a row or of the batch, a pass row by row wins (each is gathered, scaled and written while in
# cache); below, the calls per row cost more than an index_select of the whole batch. Found with tests/bench/blend.py.
LARGE_ROW, _LARGE_BATCH = 512 << 10, 16 << 20
_HALF = (torch.float16, torch.bfloat16)
# Gains come back from decibels: equal to one up to the rounding of float64 is one.
_ONE = 1e-9


def blend(
    x: Tensor,
    partner: Tensor,
    a: Tensor,
    b: Tensor,
    *,
    other: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Add to each clip its partner: ``a * x + b * other[partner]``.

    Parameters
    ----------
    x : Tensor, shape (B, ...)
        The originals. Left unchanged.
    partner : Tensor, shape (B,), int64
        Rows of `other`.
    a, b : Tensor, shape (B,) or broadcastable to x
        Factors of the original and of the partner, per clip, per sample or per bin; cast to the dtype of `x`.
    other : Tensor, shape (M, ...), optional
        Where partners are taken from; `x` itself by default.
    out : Tensor, shape of x, optional
        Written and returned. It must not share memory with `x` or `other`, which are read again as partners.

    Returns
    -------
    Tensor, shape of x, in its dtype and on its device.

    Raises
    ------
    ValueError
        `out` is given where a gradient is needed, shares memory with an input, or does not fit.

    Examples
    --------
    >>> x = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    >>> blend(x, torch.tensor([1, 0]), torch.tensor([0.75, 0.5]), torch.tensor([0.25, 0.5]))
    tensor([[0.7500, 0.7500],
            [0.5000, 0.5000]])
    """
    source = x if other is None else other
    if out is not None:
        check_out(out, x, source)
    if a.ndim == b.ndim == 1 and x.ndim > 2 and not x.is_contiguous() and x.mT.is_contiguous():
        # frames before bins, turned: what is added clip by clip is added in the order of the memory
        return blend(x.mT, partner, a, b, other=source.mT, out=None if out is None else out.mT).mT
    if a.ndim == b.ndim == 1 and by_row(x, source) and not (a.requires_grad or b.requires_grad):
        return _rows(x, source, partner, a.double(), b.double(), out if out is not None else torch.empty_like(x))
    partner, a, b = _move_numbers(x, partner, a, b)
    return _expression(x, source, partner, a, b, out if not torch.compiler.is_compiling() else None)


def upload(numbers: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Bring numbers that were drawn, each (B,), to a device in one copy; the first, rows of partners, as int64.

    Parameters
    ----------
    numbers : sequence of Tensor, shape (B,)
        Whole numbers or float64, on the CPU.
    device : torch.device
        Where to.
    """
    if device.type == "cpu":
        return [numbers[0].long(), *numbers[1:]]
    first, *rest = torch.stack([number.double() for number in numbers]).to(device, non_blocking=True).unbind()
    return [first.long(), *rest]


def _move_numbers(x: Tensor, partner: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Bring the drawn numbers to the device of x: in one upload where they are per clip."""
    if a.ndim == 1 and b.ndim == 1 and partner.device.type == "cpu":
        shape = [len(x)] + [1] * (x.ndim - 1)
        partner, a, b = upload([partner, a, b], x.device)
        return partner, a.to(x.dtype).view(shape), b.to(x.dtype).view(shape)
    return partner.to(x.device), a.to(x), b.to(x)


def _expression(x: Tensor, source: Tensor, partner: Tensor, a: Tensor, b: Tensor, out: Tensor | None) -> Tensor:
    if out is None:
        return a * x + b * source[partner]
    torch.index_select(source, 0, partner, out=out)
    return out.mul_(b).addcmul_(x, a.expand_as(x))


def _rows(x: Tensor, source: Tensor, partner: Tensor, a: Tensor, b: Tensor, out: Tensor) -> Tensor:
    if x.dtype in _HALF or _large(x):
        for row, original, j, p, q in zip(out.unbind(), x.unbind(), partner.tolist(), a.tolist(), b.tolist()):
            _row(row, original, source[j], p, q)
        return out
    torch.index_select(source, 0, partner, out=out)
    if all(abs(p + q - 1) < _ONE for p, q in zip(a.tolist(), b.tolist())):
        return out.lerp_(x, _column(a, x))
    return out.mul_(_column(b, x)).addcmul_(x, _column(a, x))


def _column(gains: Tensor, x: Tensor) -> Tensor:
    """Return one gain a row in the dtype of `x`, float32 or float64, to be broadcast; by NumPy, a third of the cost."""
    dtype = np.float32 if x.dtype == torch.float32 else np.float64
    return torch.from_numpy(gains.numpy().astype(dtype).reshape(-1, *[1] * (x.ndim - 1)))


def _large(x: Tensor) -> bool:
    size = x.numel() * x.element_size()
    return x.is_contiguous() and (size >= _LARGE_BATCH or size >= LARGE_ROW * len(x))


def _row(out: Tensor, own: Tensor, partner: Tensor, a: float, b: float) -> None:
    """Write ``a own + b partner``; a weight of 0 or 1 leaves the bits of the sound it picks."""
    if own.dtype in _HALF:  # half precision has 8 or 11 bits: a gain of -60 dB beside one of 0 dB would be lost
        out.copy_((own.float() * a).add_(partner.float(), alpha=b))
    elif abs(a + b - 1) < _ONE:
        torch.lerp(partner, own, a, out=out)
    else:
        torch.mul(partner, b, out=out).add_(own, alpha=a)


def find_source(x: Tensor, plan: Plan, other: Tensor | None, ndim: int = 2, *, whole: bool = False) -> Tensor:
    """Return where the partners of a plan come from: `other`, or `x`, rolled where the plan says so.

    Raises
    ------
    TypeError, ValueError
        `x` or `other` does not fit the plan.

    Parameters
    ----------
    x : Tensor, shape (B, ...)
        The originals.
    plan : Plan
        For B clips.
    other : Tensor, shape (M, ...), optional
        Of the shape of `x` behind the first axis.
    ndim : int
        How many axes `x` has at least.
    whole : bool
        Whether `other` may be of another length along time.
    """
    check.batch("x", x, len(plan), ndim=ndim)
    source = plan.roll_stream(x) if other is None else check.tensor("other", other)
    if whole and source.ndim == x.ndim and source.shape[1:-1] != x.shape[1:-1]:
        shape = ", ".join(map(str, ("M", *x.shape[1:-1], "T")))
        check.fail("other", f"of shape ({shape}), as x is up to time", tuple(source.shape))
    if source.shape[1:] != x.shape[1:] and not (whole and source.ndim == x.ndim):
        check.fail("other", f"of shape (M, {', '.join(map(str, x.shape[1:]))}), as x is", tuple(source.shape))
    # within a graph no number can be looked at
    if not torch.compiler.is_compiling() and (most := int(plan.label_shares()[0].max())) >= len(source):
        check.fail("plan.partner", f"in 0..{len(source) - 1}", most, "was it drawn with other=?")
    return source


def check_out(out: Tensor, x: Tensor, source: Tensor) -> None:
    """Refuse an `out` that a gradient would have to pass, that does not fit, or that is an input's memory."""
    if torch.is_grad_enabled() and (x.requires_grad or source.requires_grad):
        check.fail("out", "None where a gradient is needed", "a tensor", "autograd cannot follow a write into out")
    if out.shape != x.shape or out.dtype != x.dtype or out.device != x.device:
        got = f"{tuple(out.shape)}, {out.dtype}, {out.device}"
        check.fail("out", f"like x ({tuple(x.shape)}, {x.dtype}, {x.device})", got)
    if any(size > 1 and not step for size, step in zip(out.shape, out.stride())):
        check.fail("out", "memory of its own", "an expanded tensor, whose clips share theirs")
    if _overlap(out, x) or _overlap(out, source):
        check.fail("out", "memory of its own", "the memory of an input", "inputs are read again as partners")


def _overlap(a: Tensor, b: Tensor) -> bool:
    return _range(a)[0] < _range(b)[1] and _range(b)[0] < _range(a)[1]


def _range(x: Tensor) -> tuple[int, int]:
    """Return the addresses from the first to behind the last element."""
    if x.is_contiguous():
        return x.data_ptr(), x.data_ptr() + x.numel() * x.element_size()
    last = sum((n - 1) * stride for n, stride in zip(x.shape, x.stride()))
    return x.data_ptr(), x.data_ptr() + (last + 1) * x.element_size()


def area_share(ratio: Tensor, own: Tensor, both: Tensor) -> Tensor:
    """Return the original's share of a sum over the valid area: it has `own` samples, its partner covers `both`.

    ``ratio`` where the partner covers the whole clip; 1 where there is nothing to share.
    """
    total = ratio * own + (1 - ratio) * both
    return torch.where(total > 0, ratio * own / total.clamp(min=1e-12), 1.0).clamp(0, 1)


def sum_sounds(
    own: Clips, source: Clips, plan: Plan, out: Tensor | None = None, *, unmixed_behind: bool = False
) -> Tensor:
    """Add to each waveform its partner at the plan's gains; the mix is as long as the original.

    A longer partner is cut; behind a shorter one the original goes on at its gain. Padding is never mixed in.

    Parameters
    ----------
    own, source : Clips
        The originals, and where partners come from.
    plan : Plan
        Partners and gains.
    out : Tensor, optional
        See `blend`.
    unmixed_behind : bool
        Behind its partner, and behind its own end, the original stays as it is: of spectrograms in decibels.
    """
    a, b = plan.gains()
    x = own.x
    if own.lengths is None and source.lengths is None and source.size == own.size:
        return blend(x, plan.partner, a, b, other=source.x, out=out)
    if by_row(x, source.x):
        return _blend_valid(own, source, plan, out, unmixed_behind)
    if out is not None:
        check_out(out, x, source.x)
    if unmixed_behind:
        mixed = blend(x, plan.partner, a, b, other=fit_length(source.x, own.size))
        mixed = torch.where(behind(x, overlap(own, source, plan.partner)[1]), x, mixed)
        return mixed if out is None else out.copy_(mixed)
    silent = silence_padding(x, own.lengths)
    partners = silent if source is own else fit_length(silence_padding(source.x, source.lengths), own.size)
    mixed = silence_padding(blend(silent, plan.partner, a, b, other=partners), own.lengths)
    return mixed if out is None else out.copy_(mixed)


def _blend_valid(own: Clips, source: Clips, plan: Plan, out: Tensor | None, unmixed_behind: bool) -> Tensor:
    """Mix what is valid, row by row; silence behind each clip, or the original as it is."""
    x = own.x
    if out is not None:
        check_out(out, x, source.x)
    mixed = torch.empty_like(x) if out is None else out
    valid, both = overlap(own, source, plan.partner)
    rows = zip(plan.partner.tolist(), valid.tolist(), both.tolist(), *(g.tolist() for g in plan.gains()))
    for i, (j, end, common, a, b) in enumerate(rows):
        _row(mixed[i, ..., :common], x[i, ..., :common], source.x[j, ..., :common], a, b)
        if unmixed_behind:
            mixed[i, ..., common:] = x[i, ..., common:]
            continue
        torch.mul(x[i, ..., common:end], a, out=mixed[i, ..., common:end])
        mixed[i, ..., end:] = 0
    return mixed


def plan_sum(
    own: Clips,
    source: Clips,
    partner: Tensor,
    ratio: Tensor,
    a: Tensor,
    b: Tensor,
    *,
    share_of: str | None,
    unmixed_behind: bool = False,
) -> GainPlan:
    """Return the plan of a sum: its weight is the original's share of the valid area.

    Parameters
    ----------
    own, source : Clips
        The originals, and where partners come from.
    partner : Tensor, shape (B,), int64
        Rows of `source`.
    ratio : Tensor, shape (B,), float64
        The original's share while both sound.
    a, b : Tensor, shape (B,), float64
        Amplitudes of the two.
    share_of : str, optional
        What the ratio is a share of; see `audiomix.plan.GainPlan`.
    unmixed_behind : bool
        Behind a shorter partner the original is unmixed (else it goes on at its gain).
    """
    if own.lengths is None and source is own:
        return GainPlan.of(partner, ratio, a, b, share_of=share_of)
    valid, both = overlap(own, source, partner)
    if 0 in both.tolist():  # nothing of the partner is there: the original is left as it is, not scaled
        ratio, a, b = (torch.where(both > 0, value, kept) for value, kept in ((ratio, 1.0), (a, 1.0), (b, 0.0)))
    weight = area_share(ratio, valid.double(), both.double())
    if unmixed_behind:
        weight = torch.where(valid > 0, (ratio * both + valid - both) / valid.clamp(min=1), 1.0)
    covered = both.double() / own.size
    if bool((both == valid).all()):
        return GainPlan.of(partner, weight, a, b, share_of=share_of)
    more = {"unmixed_behind": True} if unmixed_behind else {}
    return GainPlan.of(partner, weight, a, b, ratio=ratio, covered=covered, share_of=share_of, **more)
