"""Impulse responses from tensors, files, folders and data sets: read once, checked, brought to one rate."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import check
from ..audio import io
from ..audio.clip import Clip, resample
from ..datasets.dataset import Dataset
from ..datasets.item import Item
from ..datasets.source import read_source
from ..datasets.walk import is_audio

__all__ = ["Given", "read_responses"]

Given = Tensor | str | Path | Dataset | Sequence[Tensor | str | Path | Item]
# Zeros on both sides of a response that is resampled, in samples of the new rate: the filter rings that long.
_RINGING = 64
# Of responses that cannot be used so many are named.
_NAMED = 3


@dataclass(frozen=True, eq=False)
class _Source:
    """One response before it is read: its name, and a tensor, or where it lies in a file."""

    name: str
    samples: Tensor | None = None
    path: str = ""
    start: float = 0.0
    seconds: float | None = None


def read_responses(
    given: Given, rate: int | None, response_rate: int | None, channel: int | None
) -> tuple[list[Tensor], tuple[str, ...], tuple[str, ...], str]:
    """Return the responses (C, L), float32 at `rate`; their names; their hashes; and a digest of all.

    Hashes and digest are of the decoded sounds before they are resampled, so that one plan serves at any rate.

    Raises
    ------
    ValueError
        There are none, or some cannot be used: silent or not finite, of another number of channels, files that cannot
        be read. Each kind is told with the first names.
    """
    found, names, hashes, bad, digest = [], [], [], [], hashlib.blake2b(digest_size=8)
    for source in _sources(given):
        try:
            clip = _read(source, rate, response_rate)
            content = f"{tuple(clip.samples.shape)} {clip.rate};".encode() + clip.samples.numpy().tobytes()
            digest.update(content)
            samples = _choose_channel(source.name, clip.samples, channel)
            _check_sounds(source.name, samples)
        except (io.AudioError, ValueError) as error:
            bad.append(str(error))
            continue
        found.append(samples if rate is None or clip.rate == rate else _resample(samples, clip.rate, rate))
        names.append(source.name)
        hashes.append(hashlib.blake2b(content, digest_size=16).hexdigest())
    if not bad:
        counts = [len(samples) for samples in found]
        usual = max(sorted(set(counts)), key=counts.count)
        bad = [f"{name}: {have} channels, others have {usual}" for name, have in zip(names, counts) if have != usual]
        bad = [f"{text}; channel=0 takes the first of each" for text in bad]
    if bad:
        more = f"; and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        check.fail("responses", "impulse responses that can be used", "; ".join(bad[:_NAMED]) + more)
    return found, tuple(names), tuple(hashes), digest.hexdigest()


def _sources(given: Given) -> Iterator[_Source]:
    """Yield what was given one by one."""
    if isinstance(given, Tensor):
        check.floating("responses", given)
        if given.ndim not in (1, 2, 3) or 0 in given.shape:
            check.fail("responses", "of shape (L,), (H, L) or (H, C, L)", f"{tuple(given.shape)}")
        rows = given.view(1, 1, -1) if given.ndim == 1 else given[:, None] if given.ndim == 2 else given
        given = list(rows)
    elif isinstance(given, (str, Path)):
        path = Path(given).expanduser()
        given = [path] if path.is_file() and is_audio(path.name) else read_source(path, no_labels=True, skipped=[])[0]
    elif isinstance(given, Dataset):
        given = given.items
    elif not isinstance(given, Sequence):
        expected = "a tensor, a folder, a data set, or a list of tensors or of files"
        slip = "torch.as_tensor(responses)?" if hasattr(given, "__array__") else ""
        check.fail("responses", expected, type(given).__name__, slip, TypeError)
    if not len(given):
        check.fail("responses", "one impulse response at least", "none")
    for number, one in enumerate(given):
        if isinstance(one, (str, Path)):
            yield _Source(str(one), path=str(one))
        elif isinstance(one, Item):
            yield _Source(one.id, path=one.path, start=one.start or 0.0, seconds=one.seconds)
        else:
            yield _Source(f"response {number}", _check_samples(f"responses[{number}]", one))


def _check_samples(name: str, value: Any) -> Tensor:
    samples = check.floating(name, value)
    if samples.ndim not in (1, 2) or not samples.numel():
        check.fail(name, "of shape (L,) or (C, L)", f"{tuple(samples.shape)}")
    return samples.detach().cpu().float().reshape(-1, samples.shape[-1])


def _read(source: _Source, rate: int | None, response_rate: int | None) -> Clip:
    """Return one response at its own rate, or raise with its name."""
    if source.samples is None:
        if rate is None:
            slip = "the rate of the clips, in Hz"
            raise TypeError(f"rate must be given where impulse responses are files, got None: {slip}")
        clip = io.read(source.path, start=source.start, seconds=source.seconds)
    else:
        clip = Clip(source.samples, response_rate or rate or 0)
    if not bool(torch.isfinite(clip.samples).all()):
        raise ValueError(f"{source.name}: NaN or infinite values")
    return clip


def _check_sounds(name: str, samples: Tensor) -> None:
    """Raise where one of the channels that are used is silent."""
    silent = (samples == 0).all(-1)
    if bool(silent.any()):
        which = "silent" if bool(silent.all()) else f"channel {int(silent.nonzero()[0])} is silent"
        raise ValueError(f"{name}: {which}")


def _choose_channel(name: str, samples: Tensor, channel: int | None) -> Tensor:
    if channel is None or len(samples) == 1:
        return samples
    if channel >= len(samples):
        raise ValueError(f"{name}: has {len(samples)} channels, no channel {channel}")
    return samples[channel : channel + 1]


def _resample(samples: Tensor, old: int, new: int) -> Tensor:
    """Return a response at another rate that filters as before: of fewer samples each is larger.

    The zeros in front are a whole number of samples at both rates, so that a click stays on a sample.
    """
    common = math.gcd(old, new)
    times = -(-_RINGING // (new // common))
    ends = times * (old // common)
    padded = torch.nn.functional.pad(samples, (ends, ends))
    return resample(Clip(padded, old), new).samples * (old / new)
