"""Which axis is time: the last one, or with ``time_axis=-2`` the one before, as AST, lhotse and ESPnet have it."""

import warnings
from typing import Any

from torch import Tensor

from . import check

__all__ = ["check_time_axis", "turn", "warn_of_axes"]

# Numbers of bins that front ends are built with.
_BINS = (23, 24, 26, 40, 60, 64, 80, 96, 120, 128, 229, 256)


def check_time_axis(value: Any) -> int | None:
    """Return `value` if it says where time is in batches of any number of axes: None, -1 or -2; else raise."""
    if value is None:
        return None
    if check.integer("time_axis", value) not in (-1, -2):
        check.fail("time_axis", "-1 or -2, counted from the end", value, "(B, ..., N, F)? time_axis=-2")
    return int(value)


def turn(x: Any) -> Any:
    """Return a view of a batch (B, ..., N, F) with its last two axes exchanged; anything else as it is."""
    return x.transpose(-1, -2) if isinstance(x, Tensor) and x.ndim > 2 else x


def warn_of_axes(shape: tuple[int, ...], what: str) -> None:
    """Warn where a batch looks as if its time were on the axis before the last.

    That is where the last axis has a usual number of bins, and the one before has more entries, in a number that is
    neither usual for mel bins nor, as 513, for those of a Fourier transform.

    Parameters
    ----------
    shape : tuple of int
        Of the batch, (B, ..., F, N).
    what : str
        Who asks, for the message.
    """
    if len(shape) < 3 or shape[-1] not in _BINS or shape[-2] <= shape[-1]:
        return
    frames = shape[-2]
    if frames in _BINS or (frames - 1).bit_count() == 1:
        return
    text = f"x of shape {shape} looks like {frames} frames of {shape[-1]} bins, and {what} takes the last axis for time"
    warnings.warn(f"{text}: pass time_axis=-2, or time_axis=-1 if it is", stacklevel=2)
