r"""What is kept of a clip: its mouth, small and grey, and its sound as log filterbanks on the video's clock.

.. math:: S_n = \bigl[\ln \max(M |\mathrm{FFT}(w \cdot x[r t_n + h k + \cdot])|^2, \epsilon)\bigr]_{k = 0..3}

t_n is the time of picture n on the sound's clock, r = 16 kHz, h = 160 samples: four windows of 25 ms begin in the 40 ms
that a picture of 25 a second is shown, so picture n and sound n are the same moment whatever the clip's rates, its gaps
or the start of its sound. Where a picture has no sound the windows are digital silence.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from audiomix import check

__all__ = ["BANDS", "BOX", "RATE", "SIZE", "SOUND", "Box", "Boxes", "box_of", "crop", "filterbanks", "read_boxes"]

RATE = 16_000
BANDS, STACK, HOP, WINDOW, FFT = 26, 4, 160, 400, 512  # AV-HuBERT's filterbanks: 26 bands, 100 a second, 4 a picture
SOUND = BANDS * STACK
FLOOR = 1e-7  # of the power: about the quantisation noise of 16 bit samples in one band
SIZE = (48, 56)  # height and width of a kept crop: the box at half size, and room to shift the network's view in


@dataclass(frozen=True)
class Box:
    """Where the mouth is, in pixels of the picture: left, top, width, height."""

    x: int
    y: int
    w: int
    h: int

    @classmethod
    def of(cls, text: str) -> "Box":
        """Return the box that ``x,y,w,h`` stands for.

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
        A column is missing, a clip is named twice, or a box is none; the line is named.
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
    """Return the box of each picture, grey and resized to `SIZE` by area: uint8 (N, 1, H, W) to uint8 (N, 48, 56).

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
    """Return stacked log filterbanks, float32 (N, 104), one row for each picture.

    Parameters
    ----------
    samples : Tensor, shape (T,), float32
        Mono, at 16 kHz.
    starts : Tensor, shape (N,), int64
        First sample of each picture; it may lie outside the sound.
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


def box_of(boxes: Boxes, name: str) -> Box | None:
    """Return the box of a clip: the one for all, or its own; None where it has none."""
    return boxes if isinstance(boxes, Box) else boxes.get(name)
