"""What functions that change spectrograms share: the check of their arguments, and what of a clip stays as it is."""

import torch
from torch import Tensor

from .. import check
from ..audio.blend import check_out
from ..clips import behind
from ..graphs import by_row
from ..plan import Plan
from ._decibels import FACTORS, LOGS

__all__ = ["check_call", "keep_rest"]


def check_call(x: Tensor, plan: Plan, scale: str, out: Tensor | None) -> None:
    """Raise where `x` is no spectrogram of a clip for each of the plan, or `out` cannot be written.

    Parameters
    ----------
    x : Tensor, shape (B, ..., F, N)
        Spectrograms.
    plan : Plan
        Of B clips.
    scale : str
        What `x` holds: one of the names of `LOGS` and `FACTORS`.
    out : Tensor, shape of x, optional
        Where the result goes.
    """
    check.choice("scale", scale, (*LOGS, *FACTORS))
    check.batch("x", check.floating("x", x), len(plan), ndim=3)
    if out is not None:
        check_out(out, x, x)


def keep_rest(changed: Tensor, x: Tensor, ends: Tensor) -> Tensor:
    """Return changed clips that are as they were behind their ends; `changed` is written where that is cheaper.

    Parameters
    ----------
    changed, x : Tensor, shape (B, ..., N)
        The clips now, and as they were.
    ends : Tensor, shape (B,), int64
        How many frames of each were to be changed: those that are valid, none of a clip that stays as it is.
    """
    if not by_row(x):
        if torch.compiler.is_compiling() or bool((ends < x.shape[-1]).any()):  # a graph cannot ask
            return torch.where(behind(x, ends), x, changed)
        return changed
    for row, clip, end in zip(changed.unbind(), x.unbind(), ends.tolist()):
        if end < x.shape[-1]:
            row.narrow(-1, end, x.shape[-1] - end).copy_(clip.narrow(-1, end, x.shape[-1] - end))
    return changed
