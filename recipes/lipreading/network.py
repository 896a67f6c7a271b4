"""A small network that reads words from a mouth, from a sound, or from a mix of the two.

Two encoders make streams of the same kind, (B, N, 128) with one vector a picture: what can be mixed. The classifier
behind them is shared, and is not told which of the streams it is given.

The encoder of pictures costs about 3 million multiplications a picture: a 3-D convolution over five pictures, then 2-D
ones. Batch norm stays inside it, where there are only pictures; the classifier has layer norm, so that the statistics
of mixed streams have no influence on video alone.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiomix import check

from ..models._modes import random_state
from .features import SOUND
from .grid import SLOTS

__all__ = ["PARTS", "VIEW", "Lipreader", "build"]

WIDTH = 128
PARTS = 3  # a word is read as its beginning, middle and end
VIEW = (40, 48)  # height and width of what the network looks at: a piece of a kept crop


class Lipreader(nn.Module):
    """Encoders of pictures and of sounds, and one classifier for each slot of the sentence.

    A slot has so many words, `classes`; the streams have `width` features, with dropout before each classifier too.
    """

    def __init__(self, classes: Sequence[int], width: int = WIDTH, dropout: float = 0.2) -> None:
        super().__init__()
        self.stem = nn.Conv3d(4, 32, (5, 3, 3), stride=(1, 2, 2), padding=(2, 1, 1), bias=False)
        self.stem_norm = nn.BatchNorm3d(32)
        self.stages = nn.Sequential(_convolution(32, 64, 2), _Residual(64), _convolution(64, 96, 2))
        self.picture_projection = nn.Sequential(nn.Flatten(), nn.Linear(96 * 3 * 3, width), nn.LayerNorm(width))
        self.sound_encoder = nn.Sequential(
            nn.Linear(SOUND, width), nn.LayerNorm(width), nn.GELU(), _Temporal(width), nn.LayerNorm(width)
        )
        self.drop = nn.Dropout(dropout)
        self.temporal = nn.Sequential(_Temporal(width), _Temporal(width))
        self.recurrent = nn.GRU(width, width // 2, batch_first=True, bidirectional=True)
        self.norm = nn.LayerNorm(2 * width)
        self.words = nn.ModuleList(nn.Linear(PARTS * 2 * width, count) for count in classes)

    def encode_pictures(self, pictures: Tensor) -> Tensor:
        """Return the stream (B, N, width) of grey pictures (B, N, 40, 48), each clip's with mean 0 and variance 1."""
        if pictures.ndim != 4 or tuple(pictures.shape[-2:]) != VIEW:
            check.fail("pictures", f"(B, N, {VIEW[0]}, {VIEW[1]})", f"shape {tuple(pictures.shape)}")
        # four pixels as four channels: a quarter of the positions at which the expensive first layer is computed
        x = F.pixel_unshuffle(pictures.unsqueeze(2), 2).transpose(1, 2)
        x = self.stem(x.contiguous(memory_format=torch.channels_last_3d))
        x = F.relu(self.stem_norm(x), inplace=True)
        flat = x.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        return self.picture_projection(self.stages(flat)).unflatten(0, pictures.shape[:2])

    def encode_sounds(self, sounds: Tensor) -> Tensor:
        """Return the stream (B, N, width) of filterbanks (B, N, 104), each clip's with mean 0 and variance 1 in
        every band.
        """
        return self.sound_encoder(sounds)

    def classify(self, stream: Tensor, parts: Tensor) -> list[Tensor]:
        """Return each slot's logits (B, classes).

        Parameters
        ----------
        stream : Tensor, shape (B, N, width)
            Of pictures, of sounds, or mixed.
        parts : Tensor, shape (B, slots, 3, N)
            For the beginning, middle and end of each word, the share of each picture: rows that sum to 1.
        """
        x = self.temporal(self.drop(stream))
        x = self.norm(torch.cat([x, self.recurrent(x)[0]], -1))
        pooled = torch.einsum("bspn,bnd->sbpd", parts, x).flatten(2)
        return [word(self.drop(pooled[slot])) for slot, word in enumerate(self.words)]


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = _convolution(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class _Temporal(nn.Module):
    """``x + conv(gelu(norm(x)))`` over five pictures."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.over_time = nn.Conv1d(width, width, 5, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.over_time(F.gelu(self.norm(x)).transpose(1, 2)).transpose(1, 2)


def _convolution(channels: int, out: int, stride: int) -> nn.Sequential:
    layer = nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(out), nn.ReLU(inplace=True))


def build(*, seed: int) -> Lipreader:
    """Return the network for GRID's sentences, with first weights that depend on `seed` alone."""
    with random_state(seed, "network"):
        return Lipreader([len(words) for words in SLOTS.values()])
