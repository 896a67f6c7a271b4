"""A run stops at the first loss or weight that is NaN or infinite, and keeps the batch that led to it."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from . import checkpoint

__all__ = ["check_finite", "stop_on_nan"]

_ADVICE = "lower lr, or look at the data"


def stop_on_nan(
    losses: Mapping[str, float], step: int, tensors: dict[str, Tensor], ids: Mapping[str, Any], folder: Path
) -> NoReturn:
    """Write the batch of a step whose loss is not finite as ``nan-stepN.safetensors``, and raise.

    Parameters
    ----------
    losses, step
        The terms of the loss by name, at least one not finite, and the number of steps before it.
    tensors, ids
        The whole batch, of all processes, and the clips in it; ids and losses are in the file's header.
    folder : Path
        The run's folder.

    Raises
    ------
    FloatingPointError
        Always: with the name of the loss, the step and the file.
    """
    name, value = next((n, v) for n, v in losses.items() if not math.isfinite(v))
    path = folder / f"nan-step{step + 1}.safetensors"
    terms = {term: value if math.isfinite(value) else str(value) for term, value in losses.items()}
    checkpoint.store(path, tensors, {"step": step + 1, "ids": ids, "losses": terms})
    raise FloatingPointError(f"{name} is {value} at step {step + 1}: {_ADVICE}, its batch is in {path}")


def check_finite(tensors: dict[str, Tensor], step: int) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint after `step` steps, by name, if all their values are finite.

    The first that holds NaN or infinity is named in a FloatingPointError.
    """
    bad = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        raise FloatingPointError(f"{bad[0]}{more} not finite after step {step}: {_ADVICE}")
    return tensors
