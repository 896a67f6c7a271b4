"""What a manifest, or a table of foreign mixes, claims of a mix, brought into numbers that can be held against it."""

import json
import math
from dataclasses import dataclass, field
from typing import Any

import torch

from ..datasets import tables
from ..mixers.cutmix import SpanPlan
from ..mixers.snr_mix import SNRPlan
from ..plan import GainPlan, Plan
from ..targets.correspondence import AVPlan
from .rows import AuditRow

__all__ = ["Claim", "Claims", "claims_of"]


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

    def misplaced(self, place: float, period: int = 0) -> float:
        """Return how far a place lies from the claimed one, in samples; of a repeated source any copy will do."""
        error, period = abs(place - (self.offset or 0.0)), period or self.period
        return min(error % period, -error % period) if period else error


@dataclass
class Claims:
    """What is claimed of a mix.

    Parameters
    ----------
    sources : list of Claim
    measure : str
        Of the SNR: ``rms``, ``active``, ``lufs``; empty for one that is not recovered.
    same_span : bool
        Both levels are taken over the original's samples.
    label : dict, optional
        Shares by class.
    mixer : str
    options : dict
    warped : bool
        A partner was warped onto beats: not linear.
    notes : list of str
        What cannot be judged, and why.
    """

    sources: list[Claim]
    measure: str = "rms"
    same_span: bool = False
    label: dict[str, float] | None = None
    mixer: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    warped: bool = False
    notes: list[str] = field(default_factory=list)


def claims_of(row: AuditRow, rate: int, size: int, sizes: list[int], measure: str) -> Claims:
    """Return what the row of a mix claims.

    Parameters
    ----------
    row : AuditRow
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
    claims = Claims([Claim() for _ in row.sources], mixer=str(raw.get("mixer", "")), options=options)
    claims.label = raw.get("label") if isinstance(raw.get("label"), dict) else None
    claims.warped = raw.get("aligned") is True
    try:
        plan = Plan.from_json(raw["plan"])
    except ValueError as error:
        claims.notes.append(f"the plan is not read: {error}")
        return claims
    limiter = float(raw.get("limiter_gain_db") or 0.0)
    if raw.get("events"):
        _from_events(claims, plan, raw["events"], row, rate, sizes)
    else:
        _from_plan(claims, plan, row, rate, sizes)
    cut = _cut(plan)
    if cut is not None and len(claims.sources) == 2:
        start, stop = (int(edge) for edge in (cut * size).round())
        claims.sources[0].spans, claims.sources[1].spans = [(0, start), (stop, size)], [(start, stop)]
    for claim in claims.sources:
        claim.gain_db = None if claim.gain_db is None else claim.gain_db + limiter
    return claims


def _cut(plan: Plan) -> torch.Tensor | None:
    """Return from where to where the partner stands alone, as fractions of the mix, or None for a sum."""
    if isinstance(plan, SpanPlan):
        return plan.span[0]
    return plan.extent[0] if isinstance(plan, AVPlan) and plan.mode == "time" and plan.sound[0] < 1 else None


def _from_plan(claims: Claims, plan: Plan, row: AuditRow, rate: int, sizes: list[int]) -> None:
    """Fill in gains, places and SNR of an original and one partner."""
    if isinstance(plan, SpanPlan):
        gains = [0.0, 0.0]
    elif isinstance(plan, GainPlan):
        gains = plan.gain_db[0].tolist()
    else:
        gains = [20 * math.log10(max(1e-20, float(share[0]))) for share in plan.gains()]
    for claim, gain, source in zip(claims.sources, gains, row.sources):
        claim.gain_db = gain
        claim.offset = -float(source.said.get("offset_s") or 0.0) * rate
    if isinstance(plan, SNRPlan) and len(claims.sources) > 1:
        claims.measure, claims.same_span = str(claims.options.get("level", "rms")), True
        claims.sources[1].snr_db = float(plan.snr_db[0])
        if bool(plan.offset[0]):  # the piece begins within a shorter, repeated noise
            claims.sources[1].offset, claims.sources[1].period = -float((plan.offset[0] * sizes[1]).round()), sizes[1]


def _from_events(
    claims: Claims, plan: Any, events: list[dict[str, Any]], row: AuditRow, rate: int, sizes: list[int]
) -> None:
    """Fill in what the events of a scene say; they come in the order of the sources."""
    level = str(claims.options.get("level", "active"))
    claims.measure = level if level in ("rms", "active") else ""
    places = _places(plan, events, row, rate, sizes)
    for k, (claim, event) in enumerate(zip(claims.sources, events)):
        claim.gain_db, claim.named = _maybe(event.get("gain_db")), event.get("named")
        claim.onset_s, claim.offset_s = _maybe(event.get("onset")), _maybe(event.get("offset"))
        claim.offset = places[k] if k < len(places) else None
        if k and claims.measure:
            claim.snr_db = _maybe(event.get("snr_db"))


def _maybe(value: Any) -> float | None:
    return None if value is None or not math.isfinite(_number(value)) else _number(value)


def _places(plan: Any, events: list[dict[str, Any]], row: AuditRow, rate: int, sizes: list[int]) -> list[float | None]:
    """Return where the first sample of each file of a scene lies; None where the length of its axis is not known."""
    if not all(isinstance(getattr(plan, name, None), torch.Tensor) for name in ("at", "piece", "seconds")):
        return []
    span = float(plan.seconds[0]) * rate
    starts = [float(source.said.get("offset_s") or 0.0) * rate for source in row.sources]
    places: list[float | None] = []
    # partners share one axis, as long as the longest of them
    longest = max((size for size, start in zip(sizes[1:], starts[1:]) if not start), default=0)
    for k, (event, start) in enumerate(zip(events, starts)):
        number = int(event.get("source", k))
        at, begin = float(plan.at[0, number]) * span, float(plan.piece[0, number, 0])
        axis = span if number == 0 else longest
        known = begin == 0 or number == 0 or not any(starts[1:])
        places.append(round(at) - round(begin * axis) - start if known else None)
    return places
