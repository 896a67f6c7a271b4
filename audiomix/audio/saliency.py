r"""Saliency of sounds: a map of how much each place in time, or in time and frequency, stands out.

.. math:: e_k = \frac{1}{|S_k|} \sum_{t \in S_k} (x_t - \bar x)^2, \qquad
          f_k = \sum_b \max(0, |X_{k,b}| - |X_{k-1,b}|)

``energy`` (e) is the short-time power, ``spectral_flux`` (f) how much louder the bins become from one frame to the next
(Bello et al., "A tutorial on onset detection in music signals", IEEE TSAP 2005). That mixers of pictures can be guided
by these is our definition: their authors use gradients of a network or features of a teacher, which any function may
bring in.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from .. import check
from ..clips import MOST_CHANNELS, Clips, behind, fit_length, silence_padding
from ..registry import is_path, load
from .level import SILENCE_DB

__all__ = [
    "MEASURES",
    "NOT_SALIENT",
    "Saliency",
    "cell_overlap",
    "energy",
    "measure_saliency",
    "pool_saliency",
    "read_saliency",
    "spectral_flux",
]

Saliency = str | Callable[[Tensor], Tensor]

# Why a clip is left as it is in whose partner no place stands out.
NOT_SALIENT = "nothing is salient: the partner is silent, alike everywhere, or too short"
# Cells of the maps of waveforms: of 10 s each is 40 ms, a usual frame of short-time energy
_CELLS = 256
_WINDOW = 1024  # samples, the usual window of spectral flux at 16 to 48 kHz
_SHORTEST = 16  # samples; of fewer there is no spectrum that changes
_CHUNK = 1 << 20  # bytes of clips that are measured at once on a CPU, so that what is in between stays in its cache
_SILENCE = 10 ** (SILENCE_DB / 20)  # amplitude


@torch.no_grad()
def energy(x: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Return the short-time power of waveforms, or how far each bin of log spectrograms is above the clip's lowest one.

    A constant in a waveform is no energy. Of spectrograms the height is in their own unit, decibels for example, so
    that neither level nor normalisation matters.

    Parameters
    ----------
    x : Tensor, shape (B, T), (B, C, T) or (B, ..., F, N)
        Waveforms of at most 16 channels, or log spectrograms.
    lengths : Tensor, shape (B,), int64, optional
        Valid samples or frames.

    Returns
    -------
    Tensor, shape (B, n) or (B, F, N), float32 or float64
        At least 0; 0 for silence (below -120 dB) and behind the valid part. Waveforms have a cell for each sample, or
        256 to 511 where there are more.

    Examples
    --------
    >>> energy(torch.tensor([[[0.0, 0, 2, -2, 0, 0]]]))
    tensor([[0., 0., 4., 4., 0., 0.]])
    >>> energy(torch.tensor([[[[-80.0, -80, -30]]]]))
    tensor([[[ 0.,  0., 50.]]])
    """
    if _is_spectral(x):
        rows = _bins(x)
        valid = rows if lengths is None else rows.masked_fill(behind(rows, lengths), torch.inf)
        height = rows - valid.amin((1, 2), keepdim=True)
        return height if lengths is None else _zero_behind(height, lengths)
    wave = x.unsqueeze(1) if x.ndim == 2 else x
    width = max(1, wave.shape[-1] // _CELLS)
    pieces = _in_pieces(wave, lengths)
    memory = torch.empty_like(pieces[0][0], dtype=_wide(wave))  # written again and again: fresh pages cost more
    return torch.cat([_cell_power(_centre(part, ends, memory), ends, width) for part, ends in pieces])


@torch.no_grad()
def spectral_flux(x: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Return how much louder the bins become from frame to frame: large at onsets, 0 where a sound stays or fades.

    Parameters
    ----------
    x : Tensor, shape (B, T), (B, C, T) or (B, ..., F, N)
        Waveforms of at most 16 channels, or log spectrograms.
    lengths : Tensor, shape (B,), int64, optional
        Valid samples or frames.

    Returns
    -------
    Tensor, shape (B, n) or (B, F, N), float32 or float64
        At least 0; 0 in the first frame, for silence and behind the valid part. Waveforms are transformed in Hann
        windows of 1024 samples, or of a sixteenth of the (padded) clip where that is less; what is valid for no more
        than a window has no flux. Spectrograms have a value for each bin, in their own unit.

    Examples
    --------
    >>> spectral_flux(torch.tensor([[[[-80.0, -30, -30, -80, -70]]]]))
    tensor([[[ 0., 50.,  0.,  0., 10.]]])
    """
    if _is_spectral(x):
        rows = _bins(x)
        rise = torch.nn.functional.pad(rows.diff(dim=-1).clamp(min=0), (1, 0))
        return rise if lengths is None else _zero_behind(rise, lengths)
    wave = x.unsqueeze(1) if x.ndim == 2 else x
    size = wave.shape[-1]
    if size < _SHORTEST:
        return wave.new_zeros(len(wave), size, dtype=_wide(wave))
    window = min(_WINDOW, max(4, size // 16))
    width = min(max(size // _CELLS, window // 4), window)  # no sample is between two frames
    pieces = _in_pieces(wave, lengths)
    return torch.cat([_rises(_centre(part, ends), ends, window, width) for part, ends in pieces])


MEASURES: dict[str, Callable[..., Tensor]] = {"energy": energy, "spectral_flux": spectral_flux}


def read_saliency(name: str, value: Any) -> Callable[..., Tensor]:
    """Return the function that a saliency names, or raise.

    Parameters
    ----------
    name : str
        The argument, for the message.
    value : str or callable
        ``energy``, ``spectral_flux``, a path ``mine.py:function``, or a function.
    """
    if isinstance(value, str):
        return load(value, name) if is_path(value) else MEASURES[check.choice(name, value, MEASURES)]
    if not callable(value):
        expected = f"one of {', '.join(MEASURES)}, or a function from a batch to a map (B, n) or (B, f, n)"
        check.fail(name, expected, type(value).__name__, error=TypeError)
    return value  # type: ignore[no-any-return]


def measure_saliency(
    own: Clips,
    source: Clips,
    saliency: Saliency,
    *,
    bands: Tensor | None = None,
    both: bool = True,
    fitted: bool = True,
) -> tuple[Tensor, Tensor]:
    """Return the maps of the originals and of where their partners come from; (B, f, n) and (M, f, n).

    They are numbers of a plan: on the CPU, without a gradient, 0 behind the ends of the clips. From another device they
    come in **one** copy, which waits for it.

    Parameters
    ----------
    own, source : Clips
        The originals, and where partners come from; measured once where they are the same object.
    saliency : str or callable
        See `read_saliency`. A function gets the batch as it is but for its padding, which is silent, and returns a map
        (B, n) or (B, f, n) of numbers of at least 0, whose cells are equal shares of the axes. It is called without
        gradients: one that follows a gradient to `x` does so under ``torch.enable_grad()``.
    bands : Tensor, shape (R, 2), float64, optional
        Bands of the frequency axis, as fractions, over which the mean is taken: f is then R. Every bin of the map is
        kept where it is None.
    both : bool
        Whether the originals are measured; without it their map is that of `source`.
    fitted : bool
        Whether a second batch is first cut or padded to the length of the originals.

    Raises
    ------
    TypeError, ValueError
        A function returns no such map, or `x` is not finite.
    """
    measure = read_saliency("saliency", saliency)
    theirs = _fit(source, own.size) if fitted and source.size != own.size else source
    sides = [theirs] if source is own or not both else [own, theirs]
    with torch.no_grad():
        maps = [_measure(clips, measure, bands) for clips in sides]
        flat = (torch.cat([one.reshape(-1) for one in maps]) if len(maps) > 1 else maps[0].reshape(-1)).cpu()
    parts = flat.split([one.numel() for one in maps])
    found = [
        _finish(part.view(one.shape), clips, measure, bands) for part, one, clips in zip(parts, maps, sides)
    ]
    return found[0], found[-1]


def cell_overlap(edges: Tensor, cells: int) -> Tensor:
    """Return how much of each of `cells` equal cells of an axis lies between edges; (..., cells), float64, in [0, 1].

    Parameters
    ----------
    edges : Tensor, shape (..., 2), float64
        From where to where, as fractions of the axis.
    cells : int
        Cells of a map along this axis.

    Examples
    --------
    >>> cell_overlap(torch.tensor([0.25, 0.875]).double(), 4)
    tensor([0.0000, 1.0000, 1.0000, 0.5000], dtype=torch.float64)
    """
    first = torch.arange(cells, dtype=torch.float64) / cells
    both = torch.minimum(edges[..., 1:], first + 1 / cells) - torch.maximum(edges[..., :1], first)
    return (both * cells).clamp(0, 1)


def pool_saliency(saliency: Tensor, spans: Tensor, valid: Tensor) -> Tensor:
    """Return the mean of maps over each of some spans of time, over what is valid of it; 0 where nothing is.

    Parameters
    ----------
    saliency : Tensor, shape (B, R, n)
        As `measure_saliency` returns it.
    spans : Tensor, shape (N, 2), float64
        From where to where each reaches, as fractions of the time axis.
    valid : Tensor, shape (B,), float64
        The valid parts, as fractions of the time axis.

    Returns
    -------
    Tensor, shape (B, R, N), float64

    Examples
    --------
    >>> found, halves = torch.tensor([[[1.0, 3.0, 5.0, 0.0]]]).double(), torch.tensor([[0, 0.5], [0.5, 1]]).double()
    >>> pool_saliency(found, halves, torch.tensor([0.75]).double())
    tensor([[[2., 5.]]], dtype=torch.float64)
    """
    weights = cell_overlap(spans, saliency.shape[2])
    inside = (_centres(saliency.shape[2]) < valid[:, None]).double().unsqueeze(1)
    area = inside @ weights.T
    return torch.where(area > 0, (saliency * inside) @ weights.T / area.clamp(min=1e-12), 0.0)


def _is_spectral(x: Tensor) -> bool:
    """Whether a batch holds spectrograms; of three axes those of more channels than sounds have."""
    return x.ndim > 3 or (x.ndim == 3 and x.shape[1] > MOST_CHANNELS)


def _wide(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _bins(x: Tensor) -> Tensor:
    """Return spectrograms as (B, F, N), the mean of their channels, in float32 at least."""
    rows = x.to(_wide(x))
    if x.ndim == 3:
        return rows
    channels = rows.flatten(1, -3)
    return channels[:, 0] if channels.shape[1] == 1 else channels.mean(1)


def _zero_behind(rows: Tensor, lengths: Tensor) -> Tensor:
    return rows.masked_fill(behind(rows, lengths), 0)


def _in_pieces(x: Tensor, lengths: Tensor | None) -> list[tuple[Tensor, Tensor | None]]:
    """Return clips, with their ends, in pieces that fit a CPU's cache; all at once elsewhere."""
    rows = max(1, _CHUNK // (4 * x[0].numel())) if x.is_cpu else len(x)
    pieces = x.split(rows)
    return list(zip(pieces, [None] * len(pieces) if lengths is None else lengths.split(rows)))


def _centre(wave: Tensor, lengths: Tensor | None, memory: Tensor | None = None) -> Tensor:
    """Return clips (B, C, T) minus their means, silent behind their ends; in `memory` of at least as many clips."""
    wave = wave.to(_wide(wave))
    if lengths is None:
        return torch.sub(wave, wave.mean((1, 2), keepdim=True), out=None if memory is None else memory[: len(wave)])
    silent = silence_padding(wave, lengths)
    count = (lengths.to(wave.device) * wave.shape[1]).clamp(min=1).view(-1, 1, 1)
    return silence_padding(silent - silent.sum((1, 2), keepdim=True) / count, lengths)


def _cell_power(wave: Tensor, lengths: Tensor | None, width: int) -> Tensor:
    """Return the mean power of cells of `width` samples, (B, n); the last one has what is left over as well."""
    size = wave.shape[-1]
    count = size // width
    parts = [wave[..., (count - 1) * width :].unsqueeze(-2)]
    if count > 1:
        parts.insert(0, wave[..., : (count - 1) * width].unflatten(-1, (count - 1, width)))
    squares = torch.cat([torch.linalg.vector_norm(part, dim=(1, 3)).square() for part in parts], 1)
    edges = torch.arange(count + 1, device=wave.device) * width
    edges[-1] = size
    if lengths is not None:
        edges = torch.minimum(edges, lengths.to(wave.device)[:, None])
    samples = (edges.diff(dim=-1) * wave.shape[1]).clamp(min=1)
    power = squares / samples
    return torch.where(power > _SILENCE**2, power, 0)


def _rises(wave: Tensor, lengths: Tensor | None, window: int, width: int) -> Tensor:
    """Return the flux of frames of `window` samples around the centres of cells of `width` samples, (B, n).

    At the ends of a clip the frame is the first or the last that lies within it: neither a mirror image nor a cut,
    which is loud in all bins, is part of the sound.
    """
    size = wave.shape[-1]
    count = size // width
    first = torch.arange(count, device=wave.device) * width
    ends = first.new_full((1,), size) if lengths is None else lengths.to(wave.device)
    starts = (first + (width - window) // 2).minimum(ends[:, None] - window).clamp(min=0)
    index = starts[:, None, :, None].expand(len(wave), wave.shape[1], -1, window)
    frames = wave.unfold(-1, window, 1).gather(2, index)
    hann = torch.hann_window(window, dtype=wave.dtype, device=wave.device)
    loud = torch.fft.rfft(frames * hann).abs() * (2 / hann.sum())
    rise = torch.nn.functional.pad(loud.diff(dim=-2).clamp(min=0).sum(-1).mean(1), (1, 0))
    rise = torch.where(first < ends[:, None], rise, 0)
    return torch.where(rise.amax(1, keepdim=True) > _SILENCE, rise, 0)


def _fit(clips: Clips, size: int) -> Clips:
    return replace(clips, x=fit_length(clips.x, size), lengths=clips.valid.clamp(max=size))


def _measure(clips: Clips, measure: Callable[..., Tensor], bands: Tensor | None) -> Tensor:
    """Return what a function finds in the clips, as (B, f, n); ours with the mean over bands."""
    x, lengths = clips.x.detach(), clips.lengths
    if measure in MEASURES.values():
        pieces = _in_pieces(x, lengths) if _is_spectral(x) else [(x, lengths)]
        return torch.cat([_over_bands(measure(part, ends), bands) for part, ends in pieces])
    found = check.tensor("what saliency returns", measure(x if lengths is None else _quiet_padding(x, lengths)))
    if found.ndim not in (2, 3) or len(found) != len(x) or 0 in found.shape:
        expected = f"a map of shape ({len(x)}, n) or ({len(x)}, f, n)"
        check.fail("what saliency returns", expected, f"shape {tuple(found.shape)}", "channels? found.mean(1)")
    found = found.unsqueeze(1) if found.ndim == 2 else found
    return found.to(_wide(found))


def _over_bands(found: Tensor, bands: Tensor | None) -> Tensor:
    """Return a map (B, n) or (B, f, n) as (B, f, n), with the mean over each band where there are any."""
    found = found.unsqueeze(1) if found.ndim == 2 else found
    if bands is None:
        return found
    weights = cell_overlap(bands, found.shape[1])
    return (weights / weights.sum(1, keepdim=True)).to(found) @ found


def _finish(found: Tensor, clips: Clips, measure: Callable[..., Tensor], bands: Tensor | None) -> Tensor:
    """Return a map that is on the CPU now: checked, and 0 in cells whose centre lies behind the end of their clip."""
    ours = measure in MEASURES.values()
    name = "x" if ours else "what saliency returns"
    slip = "the logarithm of 0? clamp the power before" if ours else ""
    low, high = (float(edge) for edge in found.aminmax())
    if not math.isfinite(high - low):
        check.fail(name, "finite", "NaN or infinite values", slip)
    if low < 0:
        check.fail(name, "at least 0", f"{low:g}", "signed? found.abs()")
    if clips.lengths is not None:
        ends = clips.lengths.double() / clips.size
        found = found.masked_fill((_centres(found.shape[-1]) >= ends[:, None]).unsqueeze(1), 0)
    return found if ours else _over_bands(found, bands)


def _quiet_padding(x: Tensor, lengths: Tensor) -> Tensor:
    """Return clips with silence behind their ends: zeros, or in spectrograms the clip's lowest bin."""
    if not _is_spectral(x):
        return silence_padding(x, lengths)
    hidden = behind(x, lengths)
    low = x.masked_fill(hidden, torch.inf).flatten(1).amin(1)
    low = torch.where(low.isfinite(), low, 0).view(-1, *[1] * (x.ndim - 1))
    return torch.where(hidden, low, x)


def _centres(cells: int) -> Tensor:
    return (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
