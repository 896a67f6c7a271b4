"""Pictures of sounds and of training: waveform and spectrogram, learning curves."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..audio.io import Clip

__all__ = ["curves", "sound_picture", "spectrogram_db"]

_RANGE_DB = 80.0
INK, _MUTED, _GRID = "#1c2430", "#5d6b7a", "#d9dfe6"
COLOURS = ("#1b6ca8", "#d1495b", "#2e8b57", "#b8860b", "#6a4c93", "#5d6b7a")


def spectrogram_db(clip: Clip, *, window: float = 0.032) -> Tensor:
    """Return the power spectrogram of the channels' mean in dB relative to its peak; shape (F, N), at least -80 dB.

    Parameters
    ----------
    clip : Clip
        The sound.
    window : float
        Length of the Hann window in seconds; frames overlap by three quarters.
    """
    size = 2 ** max(4, round(math.log2(window * clip.rate)))
    wave = clip.samples.float().mean(0)
    wave = torch.nn.functional.pad(wave, (0, max(0, size - len(wave))))
    spectrum = torch.stft(wave, size, size // 4, window=torch.hann_window(size), return_complex=True)
    power = spectrum.abs().square()
    loudest = power.max().clamp(min=1e-12)
    return (10 * torch.log10((power / loudest).clamp(min=10 ** (-_RANGE_DB / 10)))).clamp(min=-_RANGE_DB)


def sound_picture(
    path: str | Path, clip: Clip, *, spans: Sequence[tuple[float, float]] = (), full_scale: float = 1.0
) -> Path:
    """Draw waveform and spectrogram of a clip into a PNG file.

    Parameters
    ----------
    path : path
        The file to write.
    clip : Clip
        The sound.
    spans : sequence of (float, float)
        Pieces to mark, in seconds: what a mixer took from the partner.
    full_scale : float
        Amplitude at the top of the waveform; the same for sounds that are to be compared.
    """
    figure, (top, bottom) = new_figure(4.4, 2.6, rows=2, heights=(1, 2))
    seconds = clip.seconds
    low, high, _ = envelope(clip.samples.float().mean(0), 600)
    times = torch.linspace(0, seconds, len(low))
    top.fill_between(times.numpy(), low.numpy(), high.numpy(), color=COLOURS[0], linewidth=0)
    top.set_ylim(-full_scale, full_scale)
    top.set_yticks([-full_scale, 0, full_scale], [f"{-full_scale:.2g}", "0", f"{full_scale:.2g}"])
    top.tick_params(labelbottom=False)
    image = spectrogram_db(clip)
    extent = (0, seconds, 0, clip.rate / 2000)
    bottom.imshow(image.numpy(), origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=-_RANGE_DB, vmax=0)
    bottom.set_ylabel("kHz")
    bottom.set_xlabel("s")
    for axes in (top, bottom):
        axes.set_xlim(0, seconds)
        for start, stop in spans:
            axes.axvspan(start, stop, color=COLOURS[1], alpha=0.25, linewidth=0)
    return save(figure, path)


def curves(
    path: str | Path,
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    x: str = "step",
    y: str = "error on the test clips (%)",
) -> Path:
    """Draw named curves, each a sequence of (x, y), into a PNG file."""
    figure, axes = new_figure(6.4, 3.2)
    for (name, points), colour in zip(series.items(), COLOURS * 3):
        if points:
            xs, ys = zip(*points)
            axes.plot(xs, ys, color=colour, linewidth=1.8, label=name)
            axes.annotate(f"{ys[-1]:.1f}", (xs[-1], ys[-1]), color=colour, fontsize=8, xytext=(4, 0),
                          textcoords="offset points", va="center")  # fmt: skip
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_ylim(bottom=0)
    axes.margins(x=0.06)
    axes.grid(color=_GRID, linewidth=0.6)
    axes.legend(frameon=False, fontsize=8)
    return save(figure, path)


def new_figure(
    width: float, height: float, rows: int = 1, heights: Sequence[float] | None = None, *, columns: int = 1
) -> Any:
    """Return a figure of so many inches and its axes, in rows one below the other, in the package's colours."""
    # Figure without pyplot: no global state, no window system
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, gridspec_kw={"height_ratios": heights} if heights else None)
    for each in [axes] if rows * columns == 1 else axes.flat:
        each.tick_params(labelsize=7, colors=_MUTED)
        each.xaxis.label.set(fontsize=8, color=INK)
        each.yaxis.label.set(fontsize=8, color=INK)
        for spine in each.spines.values():
            spine.set_color(_GRID)
    return figure, axes


def save(figure: Any, path: str | Path, *, dpi: int = 150) -> Path:
    """Write a figure into a PNG file of so many dots an inch."""
    # no time stamp and no version in the file: the same sound gives the same bytes
    figure.savefig(path, dpi=dpi, metadata={"Software": None})
    return Path(path)


def envelope(wave: Tensor, columns: int) -> tuple[Tensor, Tensor, int]:
    """Return the lowest and highest sample of each of at most `columns` pieces, and the samples in a piece."""
    step = max(1, math.ceil(len(wave) / columns))
    padded = torch.nn.functional.pad(wave, (0, -len(wave) % step)).view(-1, step)
    return padded.amin(1), padded.amax(1), step
