"""What all figures have in common: colours, axes, the envelope of a waveform, and files."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

__all__ = ["COLOURS", "INK", "envelope", "new_figure", "save"]

INK, _MUTED, _GRID = "#1c2430", "#5d6b7a", "#d9dfe6"
COLOURS = ("#1b6ca8", "#d1495b", "#2e8b57", "#b8860b", "#6a4c93", "#5d6b7a")


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
