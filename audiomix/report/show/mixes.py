"""Mixes as they are shown: what was mixed and what came out on one time axis, with players and the plan."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ...audio import io, level
from ...audio.io import AudioError, Clip
from ...audit.claims import Claims, claims_of
from ...audit.confirm import render_claims
from ...audit.rows import AuditRow
from ...audit.run import read_sounds
from ...beats.grid import BeatGrid
from ...part import ORIGINAL
from ...plan import Plan
from ..lanes import ROLES, Beat, Lane, encode, make_lane, mel_of, ticks
from .plan_bars import Axis, bars_of, curves_of

__all__ = ["ShownMix", "draw_mix"]

# Of a long mix so much is drawn before a partner enters, in seconds.
_BEFORE = 1.0
_UNKNOWN = "?"


@dataclass
class ShownMix:
    """A mix as ``templates/sounds.html`` draws it.

    Parameters
    ----------
    number : int
        Its place on the page.
    title, mixer, caption, why
        Texts.
    labels : list of str
        Classes with a share in its label.
    shares : list
        Those shares, with colours.
    bpm : float, optional
        Its tempo.
    seconds : float
        Length of the time axis.
    lanes, ticks, bars, activity, facts
        What is drawn.
    mask : dict, optional
        A picture of a mask, with its text.
    loudness : float
        In LUFS; NaN where it is silent or could not be read.
    """

    number: int
    title: str
    mixer: str
    caption: str = ""
    why: str = ""
    labels: list[str] = field(default_factory=list)
    shares: list[dict[str, Any]] = field(default_factory=list)
    bpm: float | None = None
    seconds: float = 0.0
    lanes: list[Lane] = field(default_factory=list)
    ticks: list[dict[str, Any]] = field(default_factory=list)
    bars: list[dict[str, Any]] = field(default_factory=list)
    activity: list[dict[str, Any]] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)
    mask: dict[str, str] | None = None
    loudness: float = math.nan


def draw_mix(row: AuditRow, number: int, seconds: float) -> ShownMix:
    """Read a mix and its sources, and lay out what is drawn of them.

    What of the sources is heard in the mix is recovered from the plan: each at its gain, in its place. Where there is
    no plan that can be read, sources are drawn as they are. A mix that cannot be read is shown without sound, with the
    reason.

    Parameters
    ----------
    row : AuditRow
        The mix and its sources.
    number : int
        Its place on the page.
    seconds : float
        At most so much is drawn and played: from the beginning, or from where a partner enters.
    """
    raw = row.row
    shown = ShownMix(number, row.name, str(raw.get("mixer") or _UNKNOWN), row.caption or "", str(raw.get("why") or ""))
    _add_label(shown, row)
    shown.bpm = _number(raw.get("bpm"))
    try:
        claims, mix, tracks, sounds = _read(row)
    except (AudioError, ValueError) as error:
        return _draw_alone(shown, row, seconds, str(error))
    size = mix.samples.shape[-1]
    plan = claims.plan
    numbers = [ORIGINAL, *plan.sources(0)] if plan is not None else list(range(-1, len(row.sources) - 1))
    names = {number: source.name for number, source in zip(numbers, row.sources)}
    axis = _axis(claims, mix, sounds, seconds)
    shown.seconds, shown.ticks = axis.seconds, ticks(axis.seconds, start=axis.start)
    _add_lanes(shown, row, claims, mix, sounds if tracks is None else tracks, axis, names)
    if plan is not None:
        shown.bars = bars_of(plan, 0, axis, names)
    _add_activity(shown, row, axis)
    if tracks is None:
        shown.facts.append(("sources", "as recorded: what is heard of them is not known"))
    shown.facts += _facts(raw, plan, size / mix.rate)
    return shown


def _read(row: AuditRow) -> tuple[Claims, Clip, list[Tensor] | None, list[Tensor]]:
    """Return what is claimed of a mix, the mix, what each source adds to it (None: unknown), and the sources."""
    row, mix, sounds = read_sounds(row)
    claims = claims_of(row, mix.rate, mix.samples.shape[-1], [sound.shape[-1] for sound in sounds], "rms")
    tracks = render_claims(row, claims, sounds, mix.samples.shape[-1], mix.rate)
    starts = [round(float(source.entry.get("offset_s") or 0.0) * mix.rate) for source in row.sources]
    pieces = [sound[:, start:] for sound, start in zip(sounds, starts)]
    return claims, mix, None if tracks is None else list(tracks), pieces


def _axis(claims: Claims, mix: Clip, pieces: Sequence[Tensor], most: float) -> Axis:
    """Return the time axis of a mix, and what of it is drawn."""
    total, plan = mix.seconds, claims.plan
    own, partner, first = total, total, 0.0
    starts = [claim.offset / mix.rate for claim in claims.sources[1:] if claim.offset is not None]
    if plan is not None:
        edges = plan.window(0)
        if plan.axis_seconds is not None:
            own = plan.axis_seconds
        elif edges != (0.0, 1.0):
            own = pieces[0].shape[-1] / mix.rate
        partner = max((piece.shape[-1] / mix.rate for piece in pieces[1:]), default=own)
        first = edges[0] * own
        starts = [part.start * own - first for part in plan.parts(0) if part.source != ORIGINAL and part.gain]
    begin = min(max(0.0, min(starts, default=0.0) - _BEFORE), total - most) if total > most else 0.0
    return Axis(own, partner, first, begin, max(min(total, begin + most), begin + 1e-3))


def _add_lanes(
    shown: ShownMix, row: AuditRow, claims: Claims, mix: Clip, tracks: Sequence[Tensor], axis: Axis,
    names: dict[int, str],
) -> None:  # fmt: skip
    """Add a lane for each source and one for the mix, to one scale."""
    cut = slice(round(axis.start * mix.rate), round(axis.stop * mix.rate))
    clips = [Clip(track[..., cut].float(), mix.rate) for track in (*tracks, mix.samples)]
    peak = max((float(clip.samples.abs().amax()) for clip in clips if clip.samples.numel()), default=0.0)
    specs = [mel_of(clip, axis.seconds) for clip in clips]
    top = max(float(spec.max()) for spec in specs)
    beats = _beats(row, claims, axis)
    gains = claims.plan is not None and claims.plan.parts(0)
    for k, (clip, spec) in enumerate(zip(clips[:-1], specs)):
        role, source = ROLES[k % len(ROLES)], row.sources[k]
        label = source.entry.get("label")
        known = [str(label)] if label and str(label) != Path(source.name).stem else []
        text = " · ".join([*known, _loudness(clip), *(["silent here"] if not bool(clip.samples.any()) else [])])
        lane = make_lane(
            source.name, clip, axis.seconds, role=role, peak=peak, spec=spec, top=top, text=text, sound=encode(clip),
            beats=[replace(beat, top=0, bottom=100) for beat in beats if beat.role == role],
        )  # fmt: skip
        shown.lanes.append(lane)
    curves = curves_of(claims.plan, 0, axis, names) if claims.plan is not None and gains else []
    text = " · ".join([_loudness(mix), *([f"{axis.start:.1f} to {axis.stop:.1f} of {mix.seconds:.1f} s"]
                                         if axis.seconds < mix.seconds - 0.05 else [])])  # fmt: skip
    shown.lanes.append(
        make_lane("the mix", clips[-1], axis.seconds, role="mix", peak=peak, spec=specs[-1], top=top, text=text,
                  sound=encode(clips[-1]), curves=curves, beats=beats)
    )  # fmt: skip
    shown.loudness = level.lufs(mix.samples, mix.rate)


def _draw_alone(shown: ShownMix, row: AuditRow, seconds: float, reason: str) -> ShownMix:
    """Return a mix whose sources cannot be read, or that cannot be read itself, with the reason."""
    shown.facts.append(("not shown", reason))
    shown.seconds = seconds
    try:
        mix = io.read(row.path, seconds=seconds)
    except AudioError:
        return shown
    shown.seconds = max(mix.seconds, 1e-3)
    shown.ticks = ticks(shown.seconds)
    lane = make_lane("the mix", mix, shown.seconds, role="mix", text=_loudness(mix), sound=encode(mix))
    shown.lanes.append(lane)
    shown.loudness = level.lufs(mix.samples, mix.rate)
    shown.facts += _facts(row.row, None, mix.seconds)
    return shown


def _loudness(clip: Clip) -> str:
    value = level.lufs(clip.samples, clip.rate)
    return f"{value:.1f} LUFS".replace("-", "−") if math.isfinite(value) else "below all loudness"


def _add_label(shown: ShownMix, row: AuditRow) -> None:
    """Add the shares of the label, coloured as the source that brings each class."""
    label = row.row.get("label")
    label = {label: 1.0} if isinstance(label, str) else label if isinstance(label, dict) else {}
    held = {str(name): float(share) for name, share in label.items() if isinstance(share, (int, float)) and share > 0}
    of: dict[str, str] = {}
    for source, role in zip(row.sources, ROLES * (1 + len(row.sources) // len(ROLES))):
        of.setdefault(str(source.entry.get("label")), role)
    shown.labels = sorted(held)
    for i, (name, share) in enumerate(sorted(held.items(), key=lambda pair: -pair[1])):
        role = of.get(name, ROLES[i % len(ROLES)])
        shown.shares.append({"name": name, "percent": f"{100 * share:.3g}", "grow": round(share, 4), "role": role})


def _beats(row: AuditRow, claims: Claims, axis: Axis) -> list[Beat]:
    """Return the beats of the mix, in its upper half, and where those of its partners come to lie, in its lower."""
    found = []
    times, positions = row.row.get("beats"), row.row.get("positions")
    if isinstance(times, list):
        bars = [position == 1 for position in positions] if isinstance(positions, list) else [False] * len(times)
        found = _lines(np.array(times, dtype=np.float64), np.array(bars, dtype=bool), axis, "own", (0, 50))
    order = [ORIGINAL, *(claims.plan.sources(0) if claims.plan is not None else [])]
    for part in claims.plan.parts(0) if claims.plan is not None else []:
        if part.warp is None or part.source == ORIGINAL or not len(part.warp) or not part.seconds[0]:
            continue  # not laid on beats
        place = order.index(part.source)
        knots, sources = axis.knots(part).T.numpy()
        grid = _annotation(row.sources[place].path) if place < len(row.sources) else None
        at, first = knots, np.zeros(len(knots), dtype=np.bool_)  # knots are beats, where nothing else is known
        if grid is not None:
            start = float(row.sources[place].entry.get("offset_s") or 0.0)
            known = grid.array - start
            inside = (known >= sources[0] - 1e-6) & (known <= sources[-1] + 1e-6)
            at = np.interp(known[inside], sources, knots)
            first = np.isin(np.flatnonzero(inside), grid.downbeats)
        found += _lines(at - axis.first, first, axis, ROLES[place % len(ROLES)], (50, 100))
    return found


def _annotation(path: str | None) -> BeatGrid | None:
    """Return the beats that lie beside a sound; None where there are none, or none that can be read."""
    beside = None if path is None else Path(path).with_suffix(".beats")
    if beside is None or not beside.is_file():
        return None
    try:
        return BeatGrid.read(beside)
    except ValueError:
        return None  # knots of the plan are drawn instead


def _lines(times: np.ndarray, first: np.ndarray, axis: Axis, role: str, edges: tuple[int, int]) -> list[Beat]:
    kept = (times >= axis.start) & (times <= axis.stop)
    return [
        Beat(round(1000 * float(time - axis.start) / axis.seconds, 1), bool(thick), role, *edges)
        for time, thick in zip(times[kept], first[kept])
    ]


def _add_activity(shown: ShownMix, row: AuditRow, axis: Axis) -> None:
    """Add when what is heard, under captions; of mixes without events, of each captioned source its parts."""
    events = row.row.get("events")
    for event in events if isinstance(events, list) else []:
        start, stop = (_number(event.get(name)) for name in ("onset", "offset"))
        if start is None or stop is None:
            continue
        left, right = axis.percent(start), axis.percent(stop)
        named = "" if event.get("named", True) else " (the caption is silent on it)"
        text = f"{event.get('caption') or event.get('source')}: {start:.2f} to {stop:.2f} s{named}"
        role = ROLES[int(event.get("source") or 0) % len(ROLES)]
        shown.activity.append({"role": role, "left": round(left, 2), "width": round(right - left, 2), "text": text,
                               "shape": "0,0 100,0 100,10 0,10"})  # fmt: skip


def _facts(raw: dict[str, Any], plan: Plan | None, seconds: float) -> list[tuple[str, str]]:
    """Return what is said of a mix in numbers."""

    def shown(name: str, unit: str, digits: str = ".1f") -> str | None:
        value = _number(raw.get(name))
        return None if value is None else f"{value:{digits}}{unit}".replace("-", "−")

    weight = None if plan is None else float(plan.weight[0])
    notes = raw.get("notes")
    found = {
        "mixer": raw.get("mixer"),
        "weight": None if weight is None else f"{weight:.3f}",
        "SNR": shown("snr_db", " dB"),
        "peak": shown("peak_db", " dB"),
        "limiter": shown("limiter_gain_db", " dB") if raw.get("limiter_gain_db") else None,
        "tempo": shown("bpm", " bpm"),
        "key": raw.get("key"),
        "length": f"{seconds:.2f} s",
        "rate": shown("rate", " Hz", ".0f"),
        **{name: raw.get(name) for name in ("split", "fold", "licence")},
        "notes": "; ".join(map(str, notes)) if isinstance(notes, list) and notes else None,
    }
    return [(name, str(value)) for name, value in found.items() if value is not None]


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None
