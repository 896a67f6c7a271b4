"""A sound in memory, and what every reader and writer of files needs: rate, channels, whole files."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from .. import check
from ..clips import fit_length

__all__ = [
    "AudioError", "Clip", "Info", "atomic_file", "cache_folder", "check_header_rate", "fit_channels", "resample",
    "to_channels",
]  # fmt: skip


# Power that is left in the mean of channels, of what independent ones would leave: below it they cancel (-20 dB).
_CANCELLED = 0.01


class AudioError(Exception):
    """A file that cannot be read or written as audio; the message names it and says why."""


@dataclass(frozen=True, eq=False)
class Clip:
    """A sound: `samples`, float32 of shape (C, T), full scale 1, at `rate` Hz; `notes` say what is odd about it."""

    samples: Tensor
    rate: int
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self.samples.shape[-1] / self.rate


@dataclass(frozen=True)
class Info:
    """What a file's header says: `rate` (Hz), `channels`, `frames` (samples per channel)."""

    rate: int
    channels: int
    frames: int

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self.frames / self.rate


def check_header_rate(path: str | Path, rate: int) -> None:
    """Raise AudioError where the sampling rate in a file's header cannot be true."""
    if not 1000 <= rate <= 1_000_000:
        raise AudioError(f"{path}: a sampling rate of {rate} Hz: is the header damaged?")


def resample(clip: Clip, rate: int) -> Clip:
    """Return `clip` at another rate (soxr "HQ"); the length is rounded to the nearest sample.

    Parameters
    ----------
    clip : Clip
        The sound.
    rate : int
        Wanted, in Hz.
    """
    rate = check.rate("rate", rate)
    if rate == clip.rate:
        return clip
    import soxr

    out = soxr.resample(clip.samples.T.numpy(), clip.rate, rate, quality="HQ")
    samples = torch.from_numpy(np.ascontiguousarray(out.T, dtype=np.float32))
    return Clip(fit_length(samples, max(1, round(clip.samples.shape[-1] * rate / clip.rate))), rate, clip.notes)


def to_channels(clip: Clip, channels: int) -> Clip:
    """Return `clip` with `channels` channels, as `fit_channels` does; a note says where channels cancel.

    Parameters
    ----------
    clip : Clip
        The sound.
    channels : int
        How many are wanted.
    """
    if channels == 1 and len(clip.samples) > 1 and (kept := _loudest_channel(clip.samples)) is not None:
        note = f"its channels cancel: channel {kept + 1} was taken in place of their mean"
        return Clip(clip.samples[kept : kept + 1], clip.rate, (*clip.notes, note))
    return Clip(fit_channels(clip.samples, channels), clip.rate, clip.notes)


def fit_channels(samples: Tensor, channels: int) -> Tensor:
    """Return (C, T) samples with `channels` channels: the mean for one, a mono sound repeated for more.

    Where the channels cancel (opposite phase: a wire that was swapped, a side signal) their mean would be silence under
    a label that says otherwise; there the loudest channel stands in for it.

    Parameters
    ----------
    samples : Tensor, shape (C, T)
        Samples of one clip.
    channels : int
        How many are wanted.

    Raises
    ------
    ValueError
        Between two different numbers of channels above one: there is no right answer.
    """
    have, channels = samples.shape[0], check.integer("channels", channels, 1)
    if have == channels:
        return samples
    if channels == 1:
        kept = _loudest_channel(samples)
        return samples.mean(0, keepdim=True) if kept is None else samples[kept : kept + 1]
    if have == 1:
        return samples.repeat(channels, 1)
    return check.fail("channels", f"1 or {have}, as the sound has", channels, "mix down to mono first")


def _loudest_channel(samples: Tensor) -> int | None:
    """Return the loudest channel where the channels cancel each other in their mean, else None.

    That is where the mean has less than a hundredth of the power that independent channels would leave in it. Constant
    offsets do not count.
    """
    power = samples.var(-1, correction=0)
    if float(samples.mean(0).var(correction=0)) >= _CANCELLED * float(power.sum()) / len(samples) ** 2:
        return None
    return int(power.argmax())


def cache_folder(kind: str) -> Path:
    """Return ``$AUDIOMIX_CACHE/KIND``, else ``$XDG_CACHE_HOME/audiomix/KIND``, else ``~/.cache/audiomix/KIND``.

    Parameters
    ----------
    kind : str
        What is kept there; the folder's name.
    """
    own = os.environ.get("AUDIOMIX_CACHE")
    if own:
        return Path(own) / kind
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "audiomix" / kind


@contextmanager
def atomic_file(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path` that takes its name only when the block ends without an error.

    A run that is killed, or a disk that is full, leaves nothing half-written under a final name. Temporary names
    start with ``.tmp-``.
    """
    path = Path(path)
    part = path.with_name(f".tmp-{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with open(part, "w+b") as file:
            yield file
            file.flush()
        os.replace(part, path)
    except BaseException:
        with suppress(FileNotFoundError):
            part.unlink()
        raise
