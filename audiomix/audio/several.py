r"""The sum of several sources, each clip with its own: what mixers of more than two sources end in.

.. math:: y_i = a_{i0} x_i + \sum_k a_{ik} x'_{p(i, k)}

The floor is S + 2 passes over the batch for S partners: every source is read once, every mix is written once.
"""

import torch
from torch import Tensor

from ..clips import Clips, fit_length, overlap, silence_padding
from ..graphs import by_row
from ..plan_sources import SourcesPlan
from .blend import check_out

__all__ = ["several_gains", "sum_sources"]

_HALF = (torch.float16, torch.bfloat16)
# Bytes of the sums that are written to `out` together: they stay in the cache between.
_BLOCK = 1 << 19
# Numbers of a piece of a row, at most
_PIECE = 1 << 15


def several_gains(law: str, shares: Tensor) -> Tensor:
    """Return amplitudes of the sources for their shares w: the gain laws of two sources, for any number.

    Parameters
    ----------
    law : str
        ``amplitude`` (w), ``unit_power`` (w / sqrt(sum w^2): uncorrelated sounds of equal power keep it) or ``sqrt``
        (sqrt w).
    shares : Tensor, shape (B, K), float64
        Rows of sum 1.
    """
    if law == "sqrt":
        return shares.sqrt()
    return shares if law == "amplitude" else shares / shares.square().sum(1, keepdim=True).sqrt()


def sum_sources(own: Clips, source: Clips, plan: SourcesPlan, out: Tensor | None = None) -> Tensor:
    """Add to each clip its partners at the plan's gains; the mix is as long as the original.

    Longer partners are cut; behind shorter ones the others go on at their gains. Padding is never mixed in.

    Parameters
    ----------
    own, source : Clips
        The originals, and where partners come from.
    plan : SourcesPlan
        Partners and gains.
    out : Tensor, optional
        See `audiomix.audio.blend.blend`.

    Raises
    ------
    ValueError
        `out` is given where a gradient is needed, shares memory with an input, or does not fit.
    """
    x, gains = own.x, plan.amplitudes()
    if out is not None:
        check_out(out, x, source.x)
    whole = own.lengths is None and source.lengths is None and source.size == own.size
    if not by_row(x, source.x):
        mixed = _expression(own, source, plan, gains, whole)
        return mixed if out is None else out.copy_(mixed)
    flat = whole and x.is_contiguous() and source.x.is_contiguous() and x.dtype not in _HALF
    flat = flat and (out is None or out.is_contiguous())
    return (_bags if flat else _rows)(own, source, plan, gains, out)


def _expression(own: Clips, source: Clips, plan: SourcesPlan, gains: Tensor, whole: bool) -> Tensor:
    """Mix where a gradient is followed, a graph traced, or the device is no CPU."""
    x, others = own.x, source.x
    wide = torch.promote_types(x.dtype, torch.float32)
    if not whole:
        x = silence_padding(x, own.lengths)
        others = x if source is own else fit_length(silence_padding(others, source.lengths), own.size)
    rows = plan.partners.clamp(min=0).to(x.device)
    factors = gains.to(x.device, wide).view(*gains.shape, *[1] * (x.ndim - 1))
    mixed = factors[:, 0] * x
    for k in range(rows.shape[1]):
        heard = factors[:, 1 + k]
        mixed = mixed + torch.where(heard > 0, heard * others[rows[:, k]], 0.0)
    mixed = mixed.to(x.dtype)
    return mixed if whole else silence_padding(mixed, own.lengths)


def _bags(own: Clips, source: Clips, plan: SourcesPlan, gains: Tensor, out: Tensor | None) -> Tensor:
    """Mix whole clips: torch sums rows of a table by weights, in one pass over each source."""
    x, first = own.x, 0 if source is own else 1
    pieces = _pieces(x[0].numel())  # a long row is cut, so that its sum stays in the cache
    table = source.x.view(len(source) * pieces, -1)
    rows = torch.cat([torch.arange(len(x))[:, None], plan.partners], 1)[:, first:]
    factors = gains[:, first:]
    if pieces > 1:
        rows = (rows[:, None] * pieces + torch.arange(pieces)[:, None]).flatten(0, 1)
        factors = factors.repeat_interleave(pieces, 0)
    used = factors > 0
    ends = used.sum(1).cumsum(0)
    ids, weights = rows[used], factors[used].to(x.dtype)
    step = len(rows) if out is None else max(1, _BLOCK // (table.shape[1] * table.element_size()))
    originals, target = x.view(len(rows), -1), None if out is None else out.view(len(rows), -1)
    for start in range(0, len(rows), step):
        stop = min(start + step, len(rows))
        begin, end = int(ends[start - 1]) if start else 0, int(ends[stop - 1])
        offsets = torch.cat([ends.new_zeros(1), ends[start : stop - 1] - begin])
        block = _sum_rows(ids[begin:end], table, offsets, weights[begin:end])
        if first:
            alone = gains[:, 0].repeat_interleave(pieces)[start:stop, None]
            block.addcmul_(originals[start:stop], alone.to(x.dtype))
        if target is None:
            return block.view(x.shape)
        target[start:stop] = block
    assert out is not None
    return out


def _pieces(size: int) -> int:
    """Return into how many equal pieces a row is cut: of at most `_PIECE` numbers, if it can be; else 1."""
    least = -(-size // _PIECE)
    return next((k for k in range(least, 4 * least + 1) if size % k == 0), 1)


def _sum_rows(ids: Tensor, table: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(ids, table, offsets, mode="sum", per_sample_weights=weights)


def _rows(own: Clips, source: Clips, plan: SourcesPlan, gains: Tensor, out: Tensor | None) -> Tensor:
    """Mix what is valid, row by row, in float32 at least; silence behind each clip."""
    x = own.x
    mixed = torch.empty_like(x) if out is None else out
    wide = torch.promote_types(x.dtype, torch.float32)
    reach = [overlap(own, source, rows)[1].tolist() for rows in plan.partners.clamp(min=0).unbind(1)]
    for i, (partners, factors, end) in enumerate(zip(plan.partners.tolist(), gains.tolist(), own.valid.tolist())):
        total = (x[i, ..., :end].to(wide)).mul(factors[0])
        for k, (j, gain) in enumerate(zip(partners, factors[1:])):
            if gain > 0:
                total[..., : reach[k][i]].add_(source.x[j, ..., : reach[k][i]], alpha=gain)
        mixed[i, ..., :end] = total
        mixed[i, ..., end:] = 0
    return mixed
