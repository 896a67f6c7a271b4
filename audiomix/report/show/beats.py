"""A song and its beats as they are shown: piece by piece, alone and with clicks, and its tempo over time."""

from dataclasses import replace

import numpy as np
import torch

from ...audio import level
from ...audio.io import Clip
from ...beats.click import add_clicks
from ...beats.grid import BeatGrid
from ..charts import Chart, line_chart
from ..lanes import Beat, encode, make_lane, mel_of, ticks
from .mixes import ShownMix

__all__ = ["draw_song", "facts_of", "tempo_chart"]


def draw_song(name: str, clip: Clip | None, grid: BeatGrid | None, *, items: int, seconds: float) -> list[ShownMix]:
    """Return a song in pieces: each with its beats, and with clicks on them.

    Parameters
    ----------
    name : str
        What it is called.
    clip : Clip, optional
        Its sound; without it there are clicks alone.
    grid : BeatGrid, optional
        Its beats.
    items : int
        At most so many pieces are shown, evenly spread.
    seconds : float
        Length of a piece.
    """
    sound = clip or Clip(torch.zeros(1, round(((grid.times[-1] if grid and len(grid) else 0.0) + 1) * 8000)), 8000)
    clicks = None if grid is None else add_clicks(sound, grid)
    count = max(1, int(np.ceil(sound.seconds / seconds - 0.05)))
    shown = sorted({round(i) for i in np.linspace(0, count - 1, min(items, count))})
    found = []
    for number, place in enumerate(shown):
        start = place * seconds
        stop = sound.seconds if place + 1 == count else start + seconds
        piece = ShownMix(number, f"{name}, {start:.0f} to {stop:.0f} s" if count > 1 else name, "")
        piece.seconds, piece.ticks = stop - start, ticks(stop - start, start=start)
        beats = [] if grid is None else _lines(grid, start, stop)
        cut = slice(round(start * sound.rate), round(stop * sound.rate))
        for title, whole in (("the sound", clip), ("with clicks", clicks)):
            if whole is None:
                continue
            part = Clip(whole.samples[..., cut].float(), whole.rate)
            lufs = level.lufs(part.samples, part.rate)
            lane = make_lane(
                title, part, piece.seconds, role="own" if whole is clip else "mix", spec=mel_of(part, piece.seconds),
                sound=encode(part), beats=[replace(beat, role="partner") for beat in beats],
                text=f"{lufs:.1f} LUFS".replace("-", "−") if np.isfinite(lufs) else "below all loudness",
            )  # fmt: skip
            piece.lanes.append(lane)
        inside = None if grid is None else grid.between(start, stop)
        piece.bpm = inside.bpm if inside is not None and len(inside) > 1 else None
        if inside is not None:
            piece.facts = [("beats", str(len(inside))), *([("tempo", f"{piece.bpm:.1f} bpm")] if piece.bpm else [])]
        found.append(piece)
    return found


def _lines(grid: BeatGrid, start: float, stop: float) -> list[Beat]:
    first = {*grid.downbeats.tolist()}
    return [
        Beat(round(1000 * (time - start) / (stop - start), 1), i in first)
        for i, time in enumerate(grid.times) if start <= time <= stop
    ]  # fmt: skip


def tempo_chart(grid: BeatGrid) -> Chart | None:
    """Return the tempo from beat to beat over time; None for less than three beats.

    Parameters
    ----------
    grid : BeatGrid
        The beats.
    """
    if len(grid) < 3:
        return None
    times = grid.array
    tempo = 60 / np.diff(times)
    points = list(zip(((times[1:] + times[:-1]) / 2).tolist(), tempo.tolist()))
    low, high = float(tempo.min()), float(tempo.max())
    margin = max(2.0, 0.1 * (high - low))
    return line_chart("Tempo from beat to beat, in bpm", {"tempo": points}, x="s", low=low - margin, high=high + margin)


def facts_of(grid: BeatGrid, origin: str) -> list[tuple[str, str]]:
    """Return what is known of a song's beats.

    Parameters
    ----------
    grid : BeatGrid
        The beats.
    origin : str
        Where they are from: a file, or who found them.
    """
    found = {
        "beats": str(len(grid)), "tempo": None if grid.bpm is None else f"{grid.bpm:.2f} bpm",
        "bars": f"{grid.metre} beats" if grid.phase_known else "not known", "key": grid.key, "from": origin,
        "notes": "; ".join(grid.notes) or None,
    }  # fmt: skip
    return [(name, value) for name, value in found.items() if value]
