"""A run stops at the first number that is none, and keeps what led to it."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor

from audiomix.draw import generator_for

from ..data.loader import Batches
from . import checkpoint

__all__ = ["check_finite", "refuse"]

_ADVICE = "lower lr, or look at the data"


def refuse(losses: dict[str, float], step: int, batches: Batches, folder: Path) -> NoReturn:
    """Write the whole batch of `step` and raise; it is made again, being a function of the seed and the step.

    ``nan-stepN.safetensors`` holds the clips' views and classes, and in its header their ids and the losses.

    Raises
    ------
    FloatingPointError
        Always: with the name of the loss, the step and the file.
    """
    name, value = next((n, v) for n, v in losses.items() if not math.isfinite(v))
    whole = Batches(batches.config, batches.data, batches.split, batches.seed, views=batches.views)
    at, where = whole.indices(step)
    labelled, unlabelled = whole(step, generator_for(batches.seed, "step", step))
    tensors = {"labelled.x": labelled.x, "labelled.target": labelled.target}
    ids = {"labelled": _ids(whole, at)}
    if unlabelled is not None and where is not None:
        for kind in ("weaks", "strongs"):
            tensors |= {f"unlabelled.{kind}.{i}": x for i, x in enumerate(getattr(unlabelled, kind))}
        ids["unlabelled"] = _ids(whole, whole.split.unlabelled[where])
    path = folder / f"nan-step{step + 1}.safetensors"
    told = {term: value if math.isfinite(value) else str(value) for term, value in losses.items()}
    checkpoint.store(path, tensors, {"step": step + 1, "ids": ids, "losses": told})
    raise FloatingPointError(f"{name} is {value} at step {step + 1}: {_ADVICE}, its batch is in {path}")


def _ids(batches: Batches, indices: Tensor) -> Sequence[str]:
    return [batches.data.dataset.items[i].id for i in indices.tolist()]


def check_finite(tensors: dict[str, Tensor], step: int) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint, or raise with the name of one that holds NaN or infinity."""
    bad = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        raise FloatingPointError(f"{bad[0]}{more} not finite after step {step}: {_ADVICE}")
    return tensors
