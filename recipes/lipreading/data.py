"""Batches of one speaker: windows of pictures and filterbanks, and where in them the words are.

**The word boundaries are given**, to training and to evaluation, from the alignments: the network learns which word is
spoken between them, and the word's slot is known. Of a clip one window of pictures around its six words is used; where
the clip is shorter its first or last picture is repeated. In training the window is as long as the batch's longest
sentence needs, so that one slow sentence does not make every step expensive; in evaluation it is as long for all clips,
so that what is read from a clip does not depend on the others of its batch.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from audiomix.draw import Generator, bernoulli, integers, uniform
from audiomix.transforms.time_mask import AdaptiveTimeMask

from .features import SIZE, FeatureStore
from .grid import Utterance
from .network import PARTS, VIEW

__all__ = ["Speaker", "WordBatch", "assemble", "load", "part_shares"]

MARGIN = 4  # pictures before the first and behind the last word, at least: lips move before the sound begins
_MASK = AdaptiveTimeMask(25, time_axis=1, window=0.2, stride=1.0, fill="mean")  # a word lasts 0.25 s
LATE = 0.1  # seconds by which an alignment may end behind its video: GRID's clips are 74 to 75 pictures long


@dataclass(frozen=True, eq=False)
class WordBatch:
    """What one step looks at."""

    pictures: Tensor  # (B, N, 40, 48), float32: each clip's with mean 0 and variance 1
    sounds: Tensor  # (B, N, 104), float32: each clip's with mean 0 and variance 1 in every band
    parts: Tensor  # (B, 6, 3, N), float32: shares of the pictures in the beginning, middle and end of each word
    words: Tensor  # (B, 6), int64: places of the words in `SLOTS`

    def slice_of(self, rank: int, world: int) -> "WordBatch":
        """Return the slice `rank` of `world` equal ones."""
        return WordBatch(*(x.chunk(world)[rank] for x in (self.pictures, self.sounds, self.parts, self.words)))


@dataclass(frozen=True, eq=False)
class Speaker:
    """The clips that can be used, in order of their ids."""

    store: FeatureStore  # crops and filterbanks
    ids: list[str]  # the C clips
    first: Tensor  # (C,), int64: where each clip begins in the store
    pictures: Tensor  # (C,), int64: how many pictures each clip has
    words: Tensor  # (C, 6), int64: places of the words in `SLOTS`
    spans: Tensor  # (C, 6, 2), float64: starts and ends of the words, in pictures from the clip's first
    window: int  # pictures that the longest sentence needs
    errors: dict[str, str]  # clips that cannot be used, with their reasons

    @property
    def fingerprint(self) -> str:
        """Hash of all that training reads: two speakers with the same one give the same numbers."""
        digest = hashlib.blake2b(self.store.digest.encode(), digest_size=16)
        digest.update(json.dumps([self.ids, self.words.tolist(), self.spans.tolist(), self.window]).encode())
        return digest.hexdigest()


def assemble(utterances: Sequence[Utterance], store: FeatureStore, errors: dict[str, str]) -> Speaker:
    """Join words and features of clips; those whose words end behind their video are added to `errors`.

    `errors` has the clips that cannot be used for other reasons, by id.

    Raises
    ------
    ValueError
        Not one clip is left.
    """
    row = {name: i for i, name in enumerate(store.ids)}
    errors, kept, spans = {**errors, **store.errors}, [], []
    for item in utterances:
        if item.id not in row:
            continue
        times = store.times[row[item.id]]
        if item.spans[-1][1] > times[-1] + LATE or item.spans[-1][0] >= times[-1]:
            ends = f"its words end at {item.spans[-1][1]:.2f} s, the video at {times[-1]:.2f} s"
            errors[item.id] = f"{item.video}: {ends}"
            continue
        kept.append(item)
        # by the pictures' own times: a clip may skip some
        spans.append(np.interp(np.array(item.spans), times, np.arange(len(times))))
    if not kept:
        raise ValueError(f"no clip is left, the first of {len(errors)}: {next(iter(errors.values()))}")
    rows = torch.tensor([row[item.id] for item in kept])
    places = torch.from_numpy(np.stack(spans))
    return Speaker(
        store=store,
        ids=[item.id for item in kept],
        first=store.offsets[rows],
        pictures=store.offsets[rows + 1] - store.offsets[rows],
        words=torch.tensor([item.words for item in kept]),
        spans=places,
        window=_window(places),
        errors=dict(sorted(errors.items())),
    )


def _window(spans: Tensor) -> int:
    """Return how many pictures the longest of these sentences needs."""
    return math.ceil(float((spans[:, -1, 1] - spans[:, 0, 0]).max())) + 2 * MARGIN


def load(speaker: Speaker, clips: Tensor, *, generator: Generator = None, augment: bool = False) -> WordBatch:
    """Return the batch of the clips at these indices (B,), int64, into ``speaker.ids``.

    With `augment`, `generator` draws for each clip: the view is shifted by up to 4 of its pixels in each direction (8
    of the video's), mirrored half of the time and changed in contrast; up to 0.2 s of each second of pictures is
    masked (the clip's mean picture is shown); the window is moved by up to two pictures, and the ends of the words by
    up to half a picture.
    """
    spans = speaker.spans[clips]
    window = _window(spans) if augment else speaker.window
    starts = (spans[:, 0, 0] + spans[:, -1, 1]) / 2 - window / 2
    if augment:
        starts = starts + uniform(-2, 2, len(clips), generator=generator)
        spans = spans + uniform(-0.5, 0.5, spans.numel(), generator=generator).view_as(spans)
    starts = starts.round().long()
    at = starts[:, None] + torch.arange(window)
    at = torch.minimum(at.clamp(min=0), speaker.pictures[clips, None] - 1) + speaker.first[clips, None]
    crops = speaker.store.crops[at]
    pictures = _view(crops, generator, augment)
    sounds = speaker.store.sounds[at]
    return WordBatch(
        pictures=pictures,
        sounds=(sounds - sounds.mean(1, keepdim=True)) / (sounds.std(1, keepdim=True, correction=0) + 1e-3),
        parts=part_shares(spans - starts[:, None, None], window),
        words=speaker.words[clips],
    )


def _view(crops: Tensor, generator: Generator, augment: bool) -> Tensor:
    """Cut the view out of uint8 crops (B, N, 48, 56), and bring each clip to mean 0 and variance 1."""
    room = torch.tensor([[SIZE[0] - VIEW[0], SIZE[1] - VIEW[1]]]).expand(len(crops), 2)
    corners = integers(room + 1, generator=generator) if augment else room // 2
    (height, width), corner = VIEW, corners.tolist()
    view = torch.stack([c[:, y : y + height, x : x + width] for c, (y, x) in zip(crops, corner)]).float()
    std, mean = torch.std_mean(view, (1, 2, 3), keepdim=True, correction=0)
    view = (view - mean) / (std + 1)  # in grey levels: a black clip stays black
    if not augment:
        return view
    view = _MASK(view, generator=generator).x
    mirrored = bernoulli(0.5, len(view), generator=generator)
    view[mirrored] = view[mirrored].flip(-1)
    view *= (1 + uniform(-0.2, 0.2, len(view), generator=generator)).float()[:, None, None, None]
    return view


def part_shares(spans: Tensor, window: int) -> Tensor:
    """Return each picture's share in the beginning, middle and end of spans, float32 (..., 3, window).

    Picture n covers [n, n + 1); a share is the overlap, and each part's sum to 1. A part outside the window takes the
    nearest pictures.

    Parameters
    ----------
    spans : Tensor, shape (..., 2)
        Starts and ends, in pictures.
    window : int
        Pictures.

    Examples
    --------
    >>> part_shares(torch.tensor([0.0, 3.0]), 4)
    tensor([[1., 0., 0., 0.],
            [0., 1., 0., 0.],
            [0., 0., 1., 0.]])
    """
    steps = torch.arange(PARTS + 1, dtype=spans.dtype) / PARTS
    edges = spans[..., :1] + (spans[..., 1:] - spans[..., :1]).clamp(min=0.5) * steps
    # of a part that is shorter, the half picture around its middle: shares stay finite
    centre, half = (edges[..., 1:] + edges[..., :-1]) / 2, ((edges[..., 1:] - edges[..., :-1]) / 2).clamp(min=0.25)
    centre = centre.clamp(0.25, window - 0.25)
    low, high = (centre - half)[..., None], (centre + half)[..., None]
    picture = torch.arange(window, dtype=spans.dtype)
    overlap = (torch.minimum(high, picture + 1) - torch.maximum(low, picture)).clamp(min=0)
    return (overlap / overlap.sum(-1, keepdim=True)).float()
