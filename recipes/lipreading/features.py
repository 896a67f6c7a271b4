r"""What is kept of a clip: its mouth, small and grey, and its sound as log filterbanks on the video's clock.

.. math:: S_n = \bigl[\ln \max(M |\mathrm{FFT}(w \cdot x[r t_n + h k + \cdot])|^2, \epsilon)\bigr]_{k = 0..3}

t_n is the time of picture n on the sound's clock, r = 16 kHz, h = 160 samples: four windows of 25 ms begin in the 40 ms
that a picture of 25 a second is shown, so picture n and sound n are the same moment whatever the clip's rates, its gaps
or the start of its sound. Where a picture has no sound the windows are digital silence.

Both are computed once for each clip and kept in a store (`recipes.data.store`): ``crops.u8``, uint8 of shape
(P, 48, 56) for all P pictures of all clips one after another, ``sounds.f32``, float32 of shape (P, 104), and in its
index ids, pictures of each clip, their times, the clips that could not be read with their reasons, and a hash of both
files. While it is built each clip is a file of its own in a folder beside it: a build that was killed goes on where it
stopped.
"""

import csv
import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor
from torch.nn import functional as F

from audiomix import check
from audiomix.audio import io, video

from ..data.store import ArrayFile, SourceRows, map_arrays, open_index, source_key
from ..training.distributed import threads
from .grid import Utterance

__all__ = [
    "BANDS", "BOX", "RATE", "SIZE", "SOUND", "Box", "Boxes", "FeatureStore", "crop", "filterbanks", "open_features",
    "read_boxes",
]  # fmt: skip

RATE = 16_000
BANDS, STACK, HOP, WINDOW, FFT = 26, 4, 160, 400, 512  # AV-HuBERT's filterbanks: 26 bands, 100 a second, 4 a picture
SOUND = BANDS * STACK
FLOOR = 1e-7  # of the power: about the quantisation noise of 16 bit samples in one band
SIZE = (48, 56)  # height and width of a kept crop: the box at half size, and room to shift the network's view in

_FORMAT = 1  # part of the store's key: a change of features or layout makes old stores invisible
_PARALLEL_FROM = 60  # clips: from here on decoding in processes wins back the seconds in which they import torch
_ARRAYS = (ArrayFile("crops.u8", "|u1", SIZE), ArrayFile("sounds.f32", "<f4", (SOUND,)))


@dataclass(frozen=True)
class Box:
    """Where the mouth is, in pixels of the picture."""

    x: int  # left edge
    y: int  # top edge
    w: int  # width
    h: int  # height

    @classmethod
    def of(cls, text: str) -> "Box":
        """Return the box that ``x,y,w,h`` stands for, in whole pixels.

        Raises
        ------
        ValueError
            The text is not such a box, or the box is smaller than 8 pixels.

        Examples
        --------
        >>> Box.of("100,168,112,96")
        Box(x=100, y=168, w=112, h=96)
        """
        parts = [part.strip() for part in text.split(",")]
        if len(parts) != 4 or not all(part.isdecimal() for part in parts):
            check.fail("box", "x,y,w,h in whole pixels", repr(text), "a CSV of boxes? its name must exist")
        x, y, w, h = map(int, parts)
        if min(w, h) < 8:
            check.fail("box", "8 pixels wide and high at least", f"{w} x {h}", "x,y,w,h, not two corners")
        return cls(x, y, w, h)

    def __str__(self) -> str:
        return f"{self.x},{self.y},{self.w},{self.h}"


Boxes: TypeAlias = "Box | Mapping[str, Box]"

# Lips at x 122..200, y 187..248 over the clips seen (one speaker's, GRID's framing at 360 x 288), chin and jaw around.
BOX = Box(100, 168, 112, 96)


def read_boxes(path: Path) -> dict[str, Box]:
    """Return the box of each clip from a CSV with the columns ``id,x,y,w,h``.

    Raises
    ------
    ValueError
        A column is missing, a clip is named twice, or a row is no box; the line is named.
    """
    boxes: dict[str, Box] = {}
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = [name for name in ("id", "x", "y", "w", "h") if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{path}: no column {missing[0]}: id,x,y,w,h expected in the first line")
        for row in reader:
            if row["id"] in boxes:
                raise ValueError(f"{path}:{reader.line_num}: {row['id']} is named twice")
            try:
                boxes[row["id"]] = Box.of(",".join(row[name] or "" for name in "xywh"))
            except ValueError as error:
                raise ValueError(f"{path}:{reader.line_num}: {error}") from None
    return boxes


def crop(frames: Tensor, box: Box) -> Tensor:
    """Return the box, in pixels, of each grey picture (N, 1, H, W), uint8, resized by area to (N, 48, 56).

    Raises
    ------
    ValueError
        The box leaves the picture.
    """
    height, width = frames.shape[-2:]
    if box.x + box.w > width or box.y + box.h > height:
        check.fail("box", f"inside the {width} x {height} picture", str(box), "x,y,w,h in the video's own pixels")
    part = frames[:, 0, box.y : box.y + box.h, box.x : box.x + box.w].float()
    return F.interpolate(part[:, None], size=SIZE, mode="area")[:, 0].round_().to(torch.uint8)


def filterbanks(samples: Tensor, starts: Tensor) -> Tensor:
    """Return stacked log filterbanks, one row for each picture: float32 (N, 104).

    `samples` (T,) are mono at 16 kHz; `starts` (N,) the first sample of each picture, which may lie outside the sound.
    """
    first = starts[:, None] + HOP * torch.arange(STACK)
    at = first[..., None] + torch.arange(WINDOW)
    inside = (at >= 0) & (at < len(samples))
    cut = samples[at.clamp(0, max(len(samples) - 1, 0))] * inside if len(samples) else torch.zeros(at.shape)
    power = torch.fft.rfft(cut * torch.hann_window(WINDOW), n=FFT).abs().square()
    return (power @ _mel()).clamp(min=FLOOR).log().flatten(1)


@lru_cache(maxsize=1)
def _mel() -> Tensor:
    from audiomix.torchaudio import functional

    return functional.melscale_fbanks(FFT // 2 + 1, 0.0, RATE / 2, BANDS, RATE)


@dataclass(frozen=True, eq=False)
class FeatureStore:
    """Crops and filterbanks of the clips that could be read."""

    path: Path  # the store's folder
    ids: list[str]  # the C clips
    offsets: Tensor  # (C + 1,), int64: pictures before each clip
    # for each clip, when each of its pictures begins and, last, when the last one ends: seconds from the first
    times: list[list[float]]
    crops: Tensor  # (P, 48, 56), uint8: grey levels of all pictures
    sounds: Tensor  # (P, 104), float32: log filterbanks of all pictures
    errors: dict[str, str]  # what could not be read: id and reason
    digest: str  # hash of all crops and filterbanks


def open_features(
    utterances: Sequence[Utterance], folder: Path, boxes: Boxes, *, workers: int | None = None, quiet: bool = False
) -> FeatureStore:
    """Return the features of clips from their store in `folder`, building it if it is not there.

    Parameters
    ----------
    utterances : sequence of Utterance
        The clips.
    folder : Path
        Where stores live.
    boxes : Box or dict of str to Box
        Where the mouth is: in all clips, or in each by its id.
    workers : int, optional
        Processes that decode: by default one for each core from 60 clips on, else none beside this one.
    quiet : bool
        Show no progress.

    Raises
    ------
    audiomix.audio.io.AudioError
        Not one clip could be read: the first reason is named.
    ValueError
        The store is damaged.
    """
    own = {item.id: boxes if isinstance(boxes, Box) else boxes.get(item.id) for item in utterances}
    sources = [(item.id, item.video, [str(own[item.id])]) for item in utterances]
    path = Path(folder) / f"av-{source_key([_FORMAT, RATE, SIZE, SOUND], sources)}"
    parts = path.with_name(f".parts-{path.name}")
    index = open_index(
        path,
        _ARRAYS,
        [(name, (file, own[name], parts / f"{name}.safetensors")) for name, file, _ in sources],
        _compute,
        _index,
        keys=("ids", "pictures", "errors", "digest", "times"),
        title="mouths",
        what="clips",
        workers=workers,
        parallel_from=_PARALLEL_FROM,
        quiet=quiet,
    )
    shutil.rmtree(parts, ignore_errors=True)
    offsets = torch.tensor([0, *index["pictures"]]).cumsum(0)
    crops, sounds = map_arrays(path, _ARRAYS, int(offsets[-1]))
    return FeatureStore(path, index["ids"], offsets, index["times"], crops, sounds, index["errors"], index["digest"])


def _compute(source: tuple[Path, Box | None, Path]) -> SourceRows:
    """Return a clip's features, from its own file if a build that was stopped has written that."""
    file, box, part = source
    error, tensors = "", _load(part)
    if tensors is None:
        tensors = {"crops": torch.zeros(0, *SIZE), "sounds": torch.zeros(0, SOUND), "times": torch.zeros(0)}
        try:
            if box is None:
                raise ValueError(f"{file}: the box file names no box for it")
            with threads(1):  # sums depend on how many threads add them up
                tensors = _features(file, box)
        except (io.AudioError, ValueError) as reason:
            error = str(reason)
        else:
            part.parent.mkdir(parents=True, exist_ok=True)
            with io.atomic_file(part) as out:
                out.write(save(tensors))
    arrays = (tensors["crops"].numpy(), tensors["sounds"].numpy())
    return SourceRows(arrays, {"id": part.stem, "times": tensors["times"].tolist()}, error)


def _load(part: Path) -> dict[str, Tensor] | None:
    try:
        return load_file(part) if part.is_file() else None
    except SafetensorError:
        return None  # a disk that was full, or a machine that stopped: computed again


def _features(source: Path, box: Box) -> dict[str, Tensor]:
    clip = video.read_video(source, gray=True, rate=RATE, channels=1)
    if clip.sound is None:
        raise io.AudioError(f"{source}: no sound: the mixed conditions need it")
    try:
        crops = crop(clip.frames, box)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    starts = ((clip.times - clip.sound_start) * RATE).round().long()
    since = clip.times - clip.times[0]
    times = torch.cat([since, since[-1:] + 1 / clip.rate])
    return {"crops": crops, "sounds": filterbanks(clip.sound.samples[0], starts), "times": times}


def _index(folder: Path, facts: list[dict[str, Any]], errors: dict[str, str]) -> dict[str, Any]:
    """Return the index of the clips that could be read; the hash is of each clip's crops, then its filterbanks."""
    clips = [fact for fact in facts if fact["id"] not in errors]
    pictures = [len(clip["times"]) - 1 for clip in clips]
    crops, sounds = map_arrays(folder, _ARRAYS, sum(pictures))
    digest = hashlib.blake2b(digest_size=16)
    for parts in zip(crops.split(pictures), sounds.split(pictures)):
        for part in parts:
            digest.update(part.numpy().tobytes())
    times = [clip["times"] for clip in clips]
    ids = [clip["id"] for clip in clips]
    return {"ids": ids, "pictures": pictures, "errors": errors, "digest": digest.hexdigest(), "times": times}
