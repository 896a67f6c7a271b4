"""What a manifest, or a table of foreign mixes, claims of a mix, brought into numbers that can be compared with it."""

import json
import math
from dataclasses import dataclass, field, replace
from typing import Any

from ..datasets import tables
from ..plan import ORIGINAL, Part, Plan
from ..registry import is_path
from ..resize import METHODS
from .rows import AuditRow

__all__ = ["UNREAD", "Claim", "Claims", "claims_of", "loop_length"]

# What the note on a plan of an unknown kind begins with.
UNREAD = "the plan is not read"
# What `Part.stretch` does to a source, in words.
_WARPS = {
    "pitch": "stretched in time at its own pitch",
    "varispeed": "played at another speed",
    "resample": "resampled to another length",
    "interpolate": "interpolated to another length",
}


@dataclass
class Claim:
    """What is claimed of one source; None where nothing is.

    Parameters
    ----------
    gain_db : float
        With the limiter's; -inf for a source that is left out.
    offset : float
        Where its first sample lies, in samples of the mix.
    onset_s, offset_s : float
        Its active part in the mix.
    snr_db : float
        How far it lies below the first source.
    named : bool
        Whether the caption names it.
    spans : list of (int, int)
        Where it sounds, in samples of the mix; everywhere by default.
    period : int
        It is repeated after so many samples; 0: it is not.
    """

    gain_db: float | None = None
    offset: float | None = None
    onset_s: float | None = None
    offset_s: float | None = None
    snr_db: float | None = None
    named: bool | None = None
    spans: list[tuple[int, int]] | None = None
    period: int = 0

    def distance_to(self, place: float, period: int = 0) -> float:
        """Return how far a place lies from the claimed one, in samples; of a repeated source any copy will do."""
        error, period = abs(place - (self.offset or 0.0)), period or self.period
        return min(error % period, -error % period) if period else error


@dataclass
class Claims:
    """What is claimed of a mix.

    Parameters
    ----------
    sources : list of Claim
        What is claimed of each source, the original first.
    measure : str
        Of the SNR: ``rms``, ``active``, ``lufs``; empty for one that is not recovered.
    same_span : bool
        Both levels are taken over the original's samples.
    label : dict, optional
        Shares by class.
    share_of : str, optional
        What the label's share is a share of, and so how it follows from the sound; see `audiomix.plan.GainPlan`.
    options : dict
        The mixer's options, as the manifest has them.
    ours : bool
        Whether `audiomix augment` wrote the manifest.
    warped : str
        How a source was warped in time, in words: the mix is then no sum of the sources as they are. Empty: none was.
    unread : bool
        There is a plan, and it is of a mixer that is not known here: nothing is known of what it claims.
    exact : bool
        The plan tells of each part where it lies, whatever the lengths of sounds that are not in the mix.
    plan : Plan, optional
        That the manifest has.
    limiter_db : float
        Gain of the limiter, of all sources.
    notes : list of str
        What cannot be judged, and why.
    """

    sources: list[Claim]
    measure: str = "rms"
    same_span: bool = False
    label: dict[str, float] | None = None
    share_of: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    ours: bool = False
    warped: str = ""
    unread: bool = False
    exact: bool = False
    plan: Plan | None = None
    limiter_db: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def places(self) -> list[int] | None:
        """Where each source lies as is claimed, in samples of the mix; None where that is not said of all of them."""
        found = [one.offset for one in self.sources if one.offset is not None and math.isfinite(one.offset)]
        return [round(one) for one in found] if len(found) == len(self.sources) and not self.warped else None


def claims_of(row: AuditRow, rate: int, size: int, sizes: list[int], measure: str) -> Claims:
    """Return what the row of a mix claims.

    Parameters
    ----------
    row : AuditRow
        The mix and its sources, as the table has them.
    rate : int
        Of the mix, in Hz.
    size : int
        Samples of the mix.
    sizes : list of int
        Samples of each source, at that rate.
    measure : str
        Of an SNR in a foreign table.
    """
    if isinstance(row.row.get("plan"), str):
        return _ours(row, rate, size, sizes)
    claims = Claims([Claim() for _ in row.sources], measure)
    numbers = {name: _numbers(row.row.get(name)) for name in ("gain_db", "offset_s", "snr_db")}
    for i, claim in enumerate(claims.sources):
        for name, values in numbers.items():
            if name == "snr_db":
                values = [math.nan, *values]  # of the first over each of the others
            if i < len(values) and not math.isnan(values[i]):
                setattr(claim, *(("offset", values[i] * rate) if name == "offset_s" else (name, values[i])))
    return claims


def _numbers(value: Any) -> list[float]:
    """Return the numbers of a cell: one, a list, or separated by semicolons; NaN for what is none."""
    if value is None:
        return []
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return [float(value)]
    values = value if isinstance(value, list) else (tables.cell(value) or "").strip("[]").replace(";", ",").split(",")
    return [_number(one) for one in values]


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _ours(row: AuditRow, rate: int, size: int, sizes: list[int]) -> Claims:
    raw = row.row
    options = json.loads(raw["options"]) if isinstance(raw.get("options"), str) else {}
    claims = Claims([Claim() for _ in row.sources], options=options, ours=True)
    claims.label = raw.get("label") if isinstance(raw.get("label"), dict) else None
    try:
        plan = claims.plan = Plan.from_json(raw["plan"])
    except ValueError as error:
        claims.unread = True
        claims.warped = "the partner is aligned with the original's beats" if raw.get("aligned") is True else ""
        mixer = raw.get("mixer")
        slip = f"; --mixer FOLDER/{mixer} (or mixer=) does" if isinstance(mixer, str) and is_path(mixer) else ""
        claims.notes.append(f"{UNREAD}: {error}{slip}")
        return claims
    if raw.get("summed") is False:
        claims.plan = None
        if raw.get("room") or options.get("room"):
            claims.warped = "sources are heard in rooms"
        else:
            claims.notes.append("this mixer makes no sum of its sources: what its plan says of parts is not judged")
        return claims
    if _mixes_labels_linearly(options):
        claims.share_of = plan.share_of
    _read_parts(claims, plan, row, rate, size, sizes)
    claims.warped += ", onto the original's beats" if claims.warped and raw.get("aligned") is True else ""
    described = plan.describe(0) | {name: raw[name] for name in ("snr_db", "snr_measure") if name in raw}
    if raw.get("events"):
        _read_events(claims, raw["events"], described.get("snr_measure"))
    elif len(claims.sources) > 1 and described.get("snr_measure"):
        claims.measure, claims.same_span = str(described["snr_measure"]), True
        values = described.get("snr_db")
        if described.get("snr_reference") != "running":  # those are to a mix that is nowhere to be measured
            for claim, value in zip(claims.sources[1:], values if isinstance(values, list) else [values]):
                claim.snr_db = _maybe(value)
    claims.limiter_db = float(raw.get("limiter_gain_db") or 0.0)
    for claim in claims.sources:
        claim.gain_db = None if claim.gain_db is None else claim.gain_db + claims.limiter_db
    return claims


def _mixes_labels_linearly(options: dict[str, Any]) -> bool:
    """Return whether a mixer with these options mixes labels by their shares, and so do all mixers within it."""
    values = [one for value in options.values() for one in (value if isinstance(value, list) else [value])]
    inner = [one["options"] for one in values if isinstance(one, dict) and "options" in one]
    return options.get("rule", "linear") == "linear" and all(map(_mixes_labels_linearly, inner))


def _read_parts(claims: Claims, plan: Plan, row: AuditRow, rate: int, size: int, sizes: list[int]) -> None:
    """Fill in gain, place and spans of each source from the plan's parts.

    The manifest lists the original and then the plan's sources, in order.
    """
    parts, order = plan.parts(0), [ORIGINAL, *plan.sources(0)]
    claims.exact = all(map(_is_exact, parts))
    axis = size if plan.axis_seconds is None else plan.axis_seconds * rate  # the original's; a mix may be longer
    starts = [float(source.entry.get("offset_s") or 0.0) * rate for source in row.sources]
    # several partners share one axis, as long as the longest of them
    longest = max((n for n, start in zip(sizes[1:], starts[1:]) if not start), default=0)
    for k, (claim, number) in enumerate(zip(claims.sources, order)):
        own = [part for part in parts if part.source == number and part.gain > 0]
        if not own:
            claim.gain_db = -math.inf
            continue
        claims.warped = claims.warped or next(filter(None, map(_describe_warp, own)), "")
        first = own[0]
        claim.gain_db = None if any(map(_is_soft, own)) else max(_largest_db(part) for part in own)
        if first.loop:
            valid = loop_length(sizes[k], starts[k], axis)
            begin = round(first.piece[0] * valid)
            claim.offset, claim.period = (-starts[k] - begin, valid) if begin else (-starts[k], 0)
            claims.exact = claims.exact and (starts[k] > 0 or sizes[k] <= axis or not begin)
        elif len(row.sources) <= 2:
            inside = axis if number == ORIGINAL or first.fitted else float(longest)
            claim.offset = round(first.start * axis) - round(first.piece[0] * inside) - starts[k]
        else:
            known = first.piece[0] == 0 or number == ORIGINAL or not any(starts[1:])
            inside = axis if number == ORIGINAL else float(longest)
            claim.offset = round(first.start * axis) - round(first.piece[0] * inside) - starts[k] if known else None
        whole = len(own) == 1 and first.start == 0 and math.isinf(first.stop) and first.piece[1] >= 1
        whole = whole and first.cells is None
        inside = axis if number == ORIGINAL or first.fitted else float(longest)
        claim.spans = None if whole else [span for part in own for span in _spans(part, axis, inside, size)]


def _is_exact(part: Part) -> bool:
    """Return whether a part is the same sound wherever it is made, whatever other sounds there are."""
    if part.warp is not None:
        return part.stretch in METHODS
    return part.source == ORIGINAL or part.fitted or part.loop or part.piece == (0.0, 1.0)


def _describe_warp(part: Part) -> str:
    """Return how a part is warped, in words; an empty text where it is heard as it is, only elsewhere."""
    if part.warp is None or not len(part.warp) or part.stretch == "none":
        return ""
    who = "the original" if part.source == ORIGINAL else "the partner"
    pitch = f" and shifted by {part.semitones:+d} semitones" if part.semitones else ""
    return f"{who} is {_WARPS[part.stretch]}{pitch}"


def _is_soft(part: Part) -> bool:
    """Return whether a part has no gain of its own: it rises and falls under a soft mask."""
    return part.cells is not None and bool(((part.cells.gains > 0) & (part.cells.gains < 1)).any())


def _largest_db(part: Part) -> float:
    """Return the largest gain of a part in dB."""
    return part.gain_db if part.cells is None else replace(part, gain=part.gain * part.cells.largest).gain_db


def loop_length(size: int, start: float, axis: float) -> int:
    """Return how many samples of a source are repeated: a piece of it was cut to the original's axis."""
    return min(size - round(start), round(axis)) if start else size


def _spans(part: Part, axis: float, inside: float, size: int) -> list[tuple[int, int]]:
    """Return from which to which samples of the mix a part sounds; `inside` is the axis of its piece."""
    if part.cells is not None:  # over all of the original's axis: masked parts are fitted to it
        return [(start, min(size, stop)) for start, stop in part.cells.spans(round(axis)) if start < size]
    length = (part.piece[1] - part.piece[0]) * inside if not part.loop else math.inf
    stop = min(part.stop * axis, part.start * axis + length)
    return [(round(part.start * axis), size if math.isinf(stop) else min(size, round(stop)))]


def _read_events(claims: Claims, events: list[dict[str, Any]], measure: str | None) -> None:
    """Fill in what the events of a scene say; they come in the order of the sources."""
    claims.measure = measure or ""
    for k, (claim, event) in enumerate(zip(claims.sources, events)):
        claim.gain_db, claim.named = _maybe(event.get("gain_db")), event.get("named")
        claim.onset_s, claim.offset_s = _maybe(event.get("onset")), _maybe(event.get("offset"))
        if k and claims.measure:
            claim.snr_db = _maybe(event.get("snr_db"))


def _maybe(value: Any) -> float | None:
    return None if value is None or not math.isfinite(_number(value)) else _number(value)
