"""A picture of a beat mix: both waveforms with their beats, before and after they are laid on each other."""

import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from .. import check
from ..audio.io import Clip
from ..beats.grid import BeatGrid
from ..beats.plan import BeatPlan
from .beat_scene import Beats, Scene, apart, scene
from .figures import COLOURS, INK, envelope, new_figure, save

__all__ = ["beat_picture"]

_OWN, _PARTNER = COLOURS[0], COLOURS[1]
# Waveforms are pale, so that the lines of the beats stand out.
_PALE_OWN, _PALE_PARTNER, _PALE_MIX = "#a3c4dc", "#ecb3ba", "#b7c0ca"
_THIN, _THICK = 0.9, 2.4
# Letters of a title on one line.
_LETTERS = 138
# Beside what is shown, a share of it: so that a beat at its very start is not cut.
_MARGIN = 0.006


class _Row(NamedTuple):
    """A waveform (T,) that starts at `start` seconds, and what is drawn over it; `window` is what is shown of it."""

    title: str
    wave: Tensor
    colour: str
    window: tuple[float, float]
    own: Beats
    partner: Beats | None = None
    peak: float = 0.0  # 0: the waveform's own
    start: float = 0.0
    span: tuple[float, float] | None = None


def beat_picture(
    path: str | Path,
    plan: BeatPlan,
    own: Clip,
    partner: Clip,
    own_grid: BeatGrid | None,
    partner_grid: BeatGrid | None,
    *,
    index: int = 0,
    names: tuple[str, str] | None = None,
    seconds: float = 12.0,
) -> Path:
    """Draw original, partner and mix with their beats, before and after they are laid on each other, into a PNG file.

    Beats of the original are lines through the upper half of a waveform, those of the partner through its lower half:
    where they meet, the two keep time. In the mix the partner's beats are where the plan's map puts them. Sounds as
    recorded are drawn to their own peak; all that is heard in the mix to one scale.

    Parameters
    ----------
    path : path
        The file to write.
    plan : BeatPlan
        What `audiomix.BeatMix` drew for the clips.
    own, partner : Clip
        The sounds that were mixed, of one rate; not padded.
    own_grid, partner_grid : BeatGrid or None
        Their beats.
    index : int
        Which clip of the plan this is.
    names : (str, str), optional
        What the two are called.
    seconds : float
        Of longer sounds as much is shown: from where the partner enters, or around a cross-fade.

    Raises
    ------
    ValueError
        Sounds of two rates.
    """
    if own.rate != partner.rate:
        check.fail(
            "partner", f"at {own.rate} Hz, as the original is", f"{partner.rate} Hz", "audiomix.audio.io.resample?"
        )
    own_grid, partner_grid = (None if grid is None else grid.smooth() for grid in (own_grid, partner_grid))
    grids = own_grid, partner_grid  # as the mixer takes them
    shown = scene(plan, index, (own, partner), grids, seconds=seconds)
    rows = _rows(shown, _titles(shown, grids, names or ("", "")))
    figure, axes = new_figure(9.0, 0.6 + 1.25 * len(rows), rows=len(rows))
    for i, (row, each) in enumerate(zip(rows, axes)):
        _draw(each, row, shown.rate)
        each.tick_params(labelbottom=i + 1 == len(rows) or rows[i + 1].window != row.window)
    (start, stop), total = shown.window, shown.played[0].shape[-1] / shown.rate
    some = f" ({start:.1f} to {stop:.1f} of {total:.1f} are shown)" if stop - start < total - 1e-6 else ""
    axes[-1].set_xlabel(f"seconds{some}")
    _legend(figure)
    return save(figure, path)


def _rows(shown: Scene, titles: dict[str, str]) -> list[_Row]:
    plan, window, there = shown.plan, shown.window, shown.partner_window
    (own, partner), (mine, theirs) = shown.beats, shown.played_beats
    start, stop = shown.output_span
    mixed = (shown.played[0] + shown.played[1])[start:stop]
    span = tuple((plan.overlap[0] * plan.seconds[0, 0]).tolist()) if shown.has_partner else None
    common: dict[str, Any] = {"window": window, "peak": max(_peak(w) for w in (*shown.played, mixed))}
    rows = [
        _Row(titles["own"], shown.recorded[0], _PALE_OWN, window, own),
        _Row(titles["partner"], shown.recorded[1], _PALE_PARTNER, there, own.shift(there[0] - window[0]), partner),
    ]
    if plan.fade[0, 1] > 0:
        rows.append(_Row(titles["own played"], shown.played[0], _PALE_OWN, own=mine, **common))
    if shown.has_partner:
        played = shown.played[1]
        rows.append(_Row(titles["played"], played, _PALE_PARTNER, own=mine, partner=theirs, span=span, **common))
    begin, end = start / shown.rate, stop / shown.rate
    mine, theirs = mine.within(begin, end), theirs.within(begin, end)
    mix = _Row(titles["mix"], mixed, _PALE_MIX, own=mine, partner=theirs, start=begin, span=span, **common)
    return [*rows, mix]


def _titles(shown: Scene, grids: tuple[BeatGrid | None, BeatGrid | None], names: tuple[str, str]) -> dict[str, str]:
    """Return what stands above each row."""
    plan, (own, partner) = shown.plan, shown.beats
    me, other = (f"{role} ({name})" if name else role for role, name in zip(("original", "partner"), names))
    later = shown.partner_window[0] - shown.window[0]
    before = _apart(own.within(*shown.window), partner.shift(-later).within(*shown.window), plan, grids)
    mine, theirs = (beats.within(*shown.window) for beats in shown.played_beats)
    after = _apart(mine, theirs, plan, grids)
    titles = {
        "own": f"{me}: {_tempo(grids[0])}, as recorded",
        "partner": f"{other}: {_tempo(grids[1])}, as recorded{before}",
        "own played": f"{me} in the mix: its tempo glides to the partner's while it fades out",
        "mix": f"the mix, {_tempo(grids[0])}: {_shares(plan, me, other)}",
    }
    if not plan.aligned[0]:
        titles["played"] = f"{other} in the mix: from its start, not laid on the beat{after}. Why: {plan.why[0]}"
        if not shown.has_partner:
            titles["mix"] = f"the mix: {me} alone. Why: {plan.why[0]}"
        return titles
    unit = f"{plan.unit[0]} on {plan.unit[0]}"
    titles["played"] = f"{other} in the mix: {unit}, {_describe_speed(plan, grids[1])}{after}"
    if plan.fade[0, 1] > 0:
        titles["mix"] = f"the mix, from {_tempo(grids[0])} to {_tempo(grids[1])}: {_shares(plan, me, other)}"
    return titles


def _shares(plan: BeatPlan, me: str, other: str) -> str:
    percent = round(100 * float(plan.weight[0]))
    return f"{percent} % {me}, {100 - percent} % {other}"


def _tempo(grid: BeatGrid | None) -> str:
    if grid is None:
        return "beats unknown"
    return "tempo unknown" if grid.bpm is None else f"{grid.bpm:.1f} bpm"


def _describe_speed(plan: BeatPlan, grid: BeatGrid | None) -> str:
    """Say how the partner is played."""
    if plan.stretch == "none":
        return "shifted, not stretched"
    if plan.fade[0, 1] > 0:
        return "its tempo glides from the original's to its own"
    rate = float(plan.rates[0])
    tempo = "" if grid is None or grid.bpm is None else f", so at {rate * grid.bpm:.1f} bpm"
    pitch = f", {int(plan.semitones[0]):+d} semitones" if plan.semitones[0] else ""
    return f"played at {rate:.3g} of its speed{tempo}{pitch}"


def _apart(own: Beats, partner: Beats, plan: BeatPlan, grids: tuple[BeatGrid | None, BeatGrid | None]) -> str:
    """Say how far beats of the two are apart; nothing of three against two, where most have none to meet."""
    bpm = [None if grid is None else grid.bpm for grid in grids]
    far = apart(own, partner)
    if far is None or bpm[0] is None or bpm[1] is None:
        return ""
    fold = float(plan.rates[0]) * bpm[1] / bpm[0] if plan.aligned[0] else 1.0
    if abs(np.log2(fold) - round(np.log2(fold))) > 0.2:
        return ""
    return f"; beats {'less than 1' if far < 0.001 else f'up to {1000 * far:.0f}'} ms apart"


def _peak(wave: Tensor) -> float:
    return float(wave.abs().max()) if len(wave) else 0.0


def _draw(axes: Any, row: _Row, rate: int) -> None:
    start, stop = row.window
    first = max(0, round((start - row.start) * rate))
    low, high, step = envelope(row.wave[first : max(first, round((stop - row.start) * rate))], 1200)
    peak = 1.05 * (row.peak or _peak(row.wave)) or 1.0
    times = row.start + (first + (np.arange(len(low)) + 0.5) * step) / rate
    axes.fill_between(times, low.numpy() / peak, high.numpy() / peak, color=row.colour, linewidth=0)
    if row.span is not None:
        axes.axvspan(*row.span, color=_PARTNER, alpha=0.07, linewidth=0, zorder=0)
    single = row.partner is None
    for beats, colour, bottom, top in ((row.own, _OWN, -1 if single else 0, 1), (row.partner, _PARTNER, -1, 0)):
        if beats is not None:
            beats = beats.within(start, stop)
            axes.vlines(beats.times, bottom, top, colors=colour, linewidths=np.where(beats.first, _THICK, _THIN))
    margin = _MARGIN * (stop - start)
    axes.set_xlim(start - margin, stop + margin)
    axes.set_ylim(-1, 1)
    axes.set_yticks([])
    title = textwrap.shorten(row.title, 2 * _LETTERS, placeholder=" ...")
    axes.set_title(textwrap.fill(title, _LETTERS), loc="left", fontsize=7.8, color=INK)


def _legend(figure: Any) -> None:
    from matplotlib.lines import Line2D

    lines = [
        (_OWN, _THIN, "beats of the original (upper half)"),
        (_PARTNER, _THIN, "beats of the partner (lower half)"),
        (INK, _THICK, "thick: first of a bar"),
    ]
    handles = [Line2D([], [], color=colour, linewidth=width, label=text) for colour, width, text in lines]
    figure.legend(handles=handles, loc="outside upper left", ncols=3, frameon=False, fontsize=8, labelcolor=INK)
