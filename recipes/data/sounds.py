"""How long the sounds of decoded clips last: what the front end is chosen by."""

import statistics

import torch
from torch import Tensor

from audiomix.datasets.dataset import Dataset

from ..training.choices import Facts
from .store import Store

__all__ = ["find_facts", "measure_sounds"]

_FRAME = 0.01  # seconds
# Below the loudest frame. Words in noise stand 30 dB above it and less: with 40 dB all of such a clip would be sound
_DEPTH_DB = 20
_SAMPLE = 512  # clips that are measured: the median of so many is within 2 % of the clips' ranks
_CHUNK = 32  # clips read at once


def measure_sounds(samples: Tensor, rate: int) -> Tensor:
    """Return how long the sound of each clip lasts, in seconds (B,): 0 for a silent clip.

    It lasts from the first to the last frame of 10 ms whose level is within 20 dB of the loudest, pauses included: a
    word lasts as long as it is spoken, a dog's barks as long as it goes on. The level is the standard deviation of a
    frame: neither an offset, nor the polarity, nor the clip's level changes it.

    Parameters
    ----------
    samples : Tensor, shape (B, T), int16 or floating point
        Clips.
    rate : int
        In Hz.

    Examples
    --------
    A second of noise that is silent but for its middle:

    >>> wave = torch.randn(1, 8000, generator=torch.Generator().manual_seed(0)) / 10
    >>> wave[:, :2000] = wave[:, 4000:] = 0
    >>> measure_sounds(wave, 8000)
    tensor([0.2500])
    """
    size = max(2, round(_FRAME * rate))
    whole = samples.shape[1] // size * size
    if not whole:  # a clip that is shorter than a frame
        return torch.full((len(samples),), samples.shape[1] / rate)
    level = samples[:, :whole].float().view(len(samples), -1, size).std(-1, unbiased=False)  # (B, frames)
    loudest = level.amax(1, keepdim=True)
    active = (level > 0) & (level >= loudest * 10 ** (-_DEPTH_DB / 20))
    place = torch.arange(level.shape[1])
    first, last = place.where(active, level.shape[1]).amin(1), place.where(active, -1).amax(1)
    return (last - first + 1).clamp(min=0) * size / rate


def find_facts(store: Store, source: Dataset) -> Facts:
    """Return the facts of a data set, from its decoded clips.

    Parameters
    ----------
    store : Store
        The clips that could be read.
    source : Dataset
        The data set: its rate and what it says of itself.
    """
    dataset, count = store.dataset, len(store.dataset)
    rows = torch.arange(count)[:: max(1, -(-count // _SAMPLE))]
    sounds = torch.cat([measure_sounds(store.read(part), store.rate) for part in rows.split(_CHUNK)])
    train = [len(dataset.holdout(fold)[0]) for fold in dataset.folds]
    return Facts(
        rate=source.rate,
        seconds=store.size / store.rate,
        sound=round(float(sounds.median()), 3),
        clips=int(statistics.median(train)) if train else count,
        classes=len(dataset.class_names),
        speech=source.speech,
    )
