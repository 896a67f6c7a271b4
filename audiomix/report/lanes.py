"""What pages draw of sounds: lanes on one time axis, each with waveform, mel spectrogram, beats, gains and a player."""

import io as streams
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor

from ..audio.io import Clip, resample, to_channels
from ..clips import fit_length
from .figures import envelope
from .html import data_uri
from .mix_scene import log_mel

__all__ = ["ROLES", "Beat", "Curve", "Lane", "encode", "image_uri", "make_lane", "mel_of", "path_of", "ticks"]

# Colours of sources by their order; the style sheet has one for each.
ROLES = ("own", "partner", "third", "fourth", "fifth", "sixth")
# Of a picture: columns of its waveform and of its spectrogram, colours of that, and what of its range is seen in dB.
_COLUMNS, _FRAMES, _SHADES, _RANGE_DB = 300, 480, 24, 70.0
# Rates that an MP3 file may have up to which sounds in pages go: what is above 12 kHz is not needed to tell them apart.
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000)
# Between 0, the largest files, and 1: at most 36 kbit/s for a channel of white noise at 24 kHz.
_COMPRESSION = 0.6
# Of a drawing, whose width is stretched to the page's.
_WIDTH = 1000.0


@dataclass(frozen=True)
class Beat:
    """A line through a waveform; places are those of a picture of 1000 x 100."""

    at: float
    first: bool
    role: str = "own"
    top: int = 0
    bottom: int = 100


@dataclass(frozen=True)
class Curve:
    """A line over a waveform, as the path of an SVG of 1000 x 100."""

    role: str
    path: str


@dataclass(frozen=True)
class Lane:
    """A sound as it is drawn.

    Parameters
    ----------
    name, text : str
        What it is called, and what is said of it.
    role : str
        Its colour: one of `ROLES`, or ``mix``.
    wave : str
        Path of its waveform, in an SVG of 1000 x 100.
    image : str
        Address of its mel spectrogram; empty for none.
    sound : str
        Address of what is played; empty for nothing.
    spans : sequence of (float, float)
        What is marked, in thousandths of the width.
    curves, beats
        What is drawn over the waveform.
    """

    name: str
    role: str
    wave: str
    image: str = ""
    sound: str = ""
    text: str = ""
    spans: Sequence[tuple[float, float]] = ()
    curves: Sequence[Curve] = ()
    beats: Sequence[Beat] = field(default=())


def make_lane(
    name: str, clip: Clip, seconds: float, *, role: str = "own", peak: float = 0.0, spec: Tensor | None = None,
    top: float | None = None, spans: Sequence[tuple[float, float]] = (), **more: Any,
) -> Lane:  # fmt: skip
    """Return a sound as it is drawn on an axis.

    Parameters
    ----------
    name : str
        What it is called.
    clip : Clip
        The sound; it begins where the axis does.
    seconds : float
        Length of the axis.
    role : str
        Its colour.
    peak : float
        Amplitude at the top of the waveform; by default the sound's own.
    spec : Tensor, shape (F, N), optional
        Its mel spectrogram on the whole axis, see `mel_of`; computed by default.
    top : float, optional
        Level of the brightest colour in dB, by default the spectrogram's largest.
    spans : sequence of (float, float)
        What is marked, in seconds.
    **more : Any
        Other fields of a `Lane`.

    Examples
    --------
    >>> lane = make_lane("silence", Clip(torch.zeros(1, 800), 8000), 0.1)
    >>> lane.role, lane.wave[-1], lane.image[:22]
    ('own', 'Z', 'data:image/png;base64,')
    """
    wave = clip.samples.float().mean(0)
    spec = mel_of(clip, seconds) if spec is None else spec
    low, high, step = envelope(wave, max(1, round(_COLUMNS * min(1.0, clip.seconds / seconds))))
    peak = peak or float(wave.abs().max() if len(wave) else 0) or 1.0
    x = ((torch.arange(len(low)) + 0.5) * step / clip.rate / seconds * _WIDTH).numpy()
    upper, lower = (50 - 48 * (edge / peak).clamp(-1, 1).numpy() for edge in (high, low))
    path = path_of(np.concatenate([x, x[::-1]]), np.concatenate([upper, lower[::-1]])) + "Z"
    marked = [(round(a / seconds * _WIDTH, 1), round(b / seconds * _WIDTH, 1)) for a, b in spans]
    return Lane(name, role, path, image_uri(spec, top), spans=marked, **more)


def mel_of(clip: Clip, seconds: float) -> Tensor:
    """Return the mel spectrogram of a sound on an axis of so many seconds, (64, at most 480) in dB.

    Parameters
    ----------
    clip : Clip
        The sound.
    seconds : float
        Length of the axis, silent behind the sound's end.
    """
    size = max(1, round(seconds * clip.rate))
    spec = log_mel(Clip(fit_length(clip.samples, size), clip.rate))
    return torch.nn.functional.adaptive_max_pool1d(spec, min(_FRAMES, spec.shape[1]))


def image_uri(spec: Tensor, top: float | None = None, *, range_db: float = _RANGE_DB) -> str:
    """Return a picture of an array as an address, its first row at the bottom.

    Parameters
    ----------
    spec : Tensor, shape (F, N)
        E.g. levels in dB.
    top : float, optional
        The brightest; by default the largest.
    range_db : float
        What is lower than `top` by that much is black.
    """
    from PIL import Image

    top = float(spec.max()) if top is None else top
    shades = ((spec - top + range_db) / range_db * (_SHADES - 1)).round().clamp(0, _SHADES - 1)
    image = Image.fromarray(shades.flip(0).to(torch.uint8).numpy(), "L")
    image.putpalette(_palette())
    file = streams.BytesIO()
    image.save(file, "PNG", optimize=True)
    return data_uri(file.getvalue(), "image/png")


@lru_cache(maxsize=1)
def _palette() -> bytes:
    from matplotlib import colormaps

    return bytes((255 * colormaps["magma"](np.linspace(0, 1, _SHADES))[:, :3]).round().astype(np.uint8))


def path_of(x: np.ndarray, y: np.ndarray) -> str:
    """Return a line through points as the path of an SVG.

    Parameters
    ----------
    x, y : array, shape (N,)
        The points.

    Examples
    --------
    >>> path_of(np.array([0, 2.5]), np.array([1.04, 3]))
    'M0,1L2.5,3'
    """
    return "M" + "L".join(f"{a:.5g},{b:.3g}" for a, b in zip(np.round(x, 1).tolist(), np.round(y, 1).tolist()))


def encode(clip: Clip, seconds: float = math.inf) -> str:
    """Return a sound as an address that every browser plays: MP3, at most 24 kHz, at most two channels.

    Parameters
    ----------
    clip : Clip
        The sound.
    seconds : float
        What is behind that is left out.
    """
    rate = next((rate for rate in _MP3_RATES if rate >= clip.rate), _MP3_RATES[-1])
    size = clip.samples.shape[-1] if math.isinf(seconds) else min(clip.samples.shape[-1], round(seconds * clip.rate))
    short = Clip(clip.samples[..., :size].float(), clip.rate)
    short = resample(to_channels(short, min(2, len(short.samples))), rate)
    file = streams.BytesIO()
    samples = short.samples.clamp(-1, 1).T.contiguous().numpy()
    soundfile.write(file, samples, rate, format="MP3", subtype="MPEG_LAYER_III", compression_level=_COMPRESSION)
    return data_uri(file.getvalue(), "audio/mpeg")


def ticks(seconds: float, count: int = 6, *, start: float = 0.0) -> list[dict[str, Any]]:
    """Return places on an axis in percent, with their texts: round numbers.

    Parameters
    ----------
    seconds : float
        Length of the axis.
    count : int
        About how many.
    start : float
        Where the axis begins, in seconds.

    Examples
    --------
    >>> [tick["text"] for tick in ticks(5.0)]
    ['0', '1', '2', '3', '4', '5 s']
    """
    if not seconds > 0:
        return [{"at": 0, "text": "0 s"}]
    step = nice_step(seconds / count)
    first, last = math.ceil(start / step - 1e-6), math.floor((start + seconds) / step + 1e-6)
    places = [i * step for i in range(first, last + 1)]
    texts = [f"{place:.6g}" for place in places]
    return [
        {"at": round(100 * (place - start) / seconds, 2), "text": text + (" s" if i + 1 == len(places) else "")}
        for i, (place, text) in enumerate(zip(places, texts))
    ]


def nice_step(least: float) -> float:
    """Return the least of 1, 2, 2.5 and 5 times a power of ten that is no less than a number above 0.

    Parameters
    ----------
    least : float
        What a step must be at least.

    Examples
    --------
    >>> nice_step(0.013), nice_step(3)
    (0.02, 5.0)
    """
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= least * (1 - 1e-9))
