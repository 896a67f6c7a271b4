"""A whole data set of mixes in charts: labels, shares, levels, tempi, lengths, who was mixed, and what was refused."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from ...audit.rows import AuditRow
from ...plan import NOT_DRAWN, Plan
from ..charts import Chart, bar_list, histogram

__all__ = ["distributions"]


def distributions(
    rows: Sequence[AuditRow], errors: Iterable[dict[str, Any]] = (), loudness: Sequence[float] = ()
) -> list[Chart]:
    """Return charts of all mixes of a data set; what no mix tells of is left out.

    Parameters
    ----------
    rows : sequence of AuditRow
        All mixes.
    errors : iterable of dict
        What could not be mixed: each with a `reason`.
    loudness : sequence of float
        Of those mixes that are shown, in LUFS.
    """
    charts = [_labels(rows)] if any(row.row.get("label") for row in rows) else []
    plans = [_plan(row) for row in rows]
    weights = [float(plan.weight[0]) for plan in plans if plan is not None]
    numbers = {
        "Weight: the original's share of the label": (weights, ""),
        "SNR of the partner": (_column(rows, "snr_db"), "dB"),
        "Level": (_column(rows, "rms_db"), "dB of full scale (rms)"),
        f"Loudness of the {len(loudness)} mixes below": (list(loudness), "LUFS"),
        "Tempo": (_column(rows, "bpm"), "bpm"),
        "Length": (_column(rows, "seconds"), "s"),
    }
    charts += [
        histogram(title, values, unit) for title, (values, unit) in numbers.items() if any(map(math.isfinite, values))
    ]
    charts += _uses(rows)
    refused = Counter(_kind(str(error.get("reason", ""))) for error in errors)
    refused.update(_kind(why) for why in map(_why, rows, plans) if why and why != NOT_DRAWN)
    if refused:
        charts.append(bar_list("Refused, or mixed otherwise than asked, and why", refused))
    mixers = Counter(str(row.row["mixer"]) for row in rows if row.row.get("mixer"))
    if len(mixers) > 1:
        charts.append(bar_list("Mixers", mixers))
    return charts


def _labels(rows: Sequence[AuditRow]) -> Chart:
    """Return the labels of the originals beside those of the mixes."""
    before: dict[str, float] = defaultdict(float)
    after: dict[str, float] = defaultdict(float)
    for row in rows:
        label = row.row.get("label")
        for name, share in ({label: 1.0} if isinstance(label, str) else label or {}).items():
            after[str(name)] += share
        own = row.sources[0].entry.get("label") if row.sources else None
        if isinstance(own, str):
            before[own] += 1
    names = {name: after.get(name, 0.0) for name in {*after, *before}}
    if not before:
        return bar_list("Labels of the mixes, summed shares", names)
    return bar_list("Labels", {name: before.get(name, 0.0) for name in names}, names,
                    ("of the originals", "of the mixes (summed shares)"))  # fmt: skip


def _uses(rows: Sequence[AuditRow]) -> list[Chart]:
    """Return how often each sound was a partner."""
    used = Counter(source.name for row in rows for source in row.sources[1:])
    if not used:
        return []
    times = Counter(used.values())
    if len(used) <= 12:
        return [bar_list("Who was a partner, and how often", used)]
    return [
        histogram(
            "How often each partner was used", [float(n) for n in used.values()], f"times ({max(times)} at most)"
        ),
        bar_list("Who was a partner most often", used, most=8),
    ]


def _column(rows: Sequence[AuditRow], name: str) -> list[float]:
    values = (row.row.get(name) for row in rows)
    flat = (one for value in values for one in (value if isinstance(value, list) else [value]))
    return [float(value) for value in flat if isinstance(value, (int, float))]


def _why(row: AuditRow, plan: Plan | None) -> str:
    said = row.row.get("why")
    if said:
        return str(said)
    return plan.why[0] if plan is not None and plan.why else ""


def _plan(row: AuditRow) -> Plan | None:
    """Return the plan of a mix; None for none, or one of a mixer that is not known here."""
    text = row.row.get("plan")
    if not isinstance(text, str):
        return None
    try:
        return Plan.from_json(text)
    except ValueError:
        return None


def _kind(reason: str) -> str:
    """Return a reason without the file that it is of and without its numbers."""
    parts = [part.strip() for part in reason.split(":")]
    if len(parts) > 1 and any(mark in parts[0] for mark in ("/", "\\", ".")):
        parts = parts[1:]
    return parts[0].partition(" (")[0]
