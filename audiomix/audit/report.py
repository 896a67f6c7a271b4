"""Show what an audit found: a table of the checks, how their numbers are distributed, the worst items, a picture."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..terminal import console, show
from .checks import CHECKS
from .claims import UNREAD
from .run import AuditItem, AuditReport

__all__ = ["histogram", "picture", "print_report", "quantile"]

_BINS = 24
# Checks whose numbers are dB of the mix; the others are errors.
_LEVELS = ("residual", "parts")
_BLOCKS = " ▁▂▃▄▅▆▇█"
# Sentences of one item that are shown; all are in the JSON.
_MOST = 4


def quantile(numbers: Sequence[float], share: float) -> float:
    """Return the number below which `share` of the numbers lie (the nearest one; they need not be sorted)."""
    ordered = sorted(numbers)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1 if share else 0)]


def histogram(name: str, numbers: Sequence[float]) -> str:
    """Return a line: how often each size of a number occurs; of errors by powers of ten, of residuals by dB.

    >>> histogram("gain", [0.001, 0.001, 0.1])
    '1e-06          █     ▄         100 dB'
    """
    counts, low, high = _counts(name, numbers)
    bars = "".join(_BLOCKS[-(-8 * count // max(1, *counts))] for count in counts)
    unit = CHECKS[name][0]
    return f"{low:g} {bars} {high:g}" + (f" {unit}" if unit else "")


def _counts(name: str, numbers: Sequence[float]) -> tuple[list[int], float, float]:
    """Return counts in equal bins of dB, or of the logarithm of an error, and the ends of the axis."""
    low, high = (-100.0, 0.0) if name in _LEVELS else (-6.0, 2.0)
    counts = [0] * _BINS
    for number in numbers:
        value = number if name in _LEVELS else math.log10(max(abs(number), 10**low))
        counts[min(_BINS - 1, max(0, int((value - low) / (high - low) * _BINS)))] += 1
    return counts, *((low, high) if name in _LEVELS else (10**low, 10**high))


def print_report(report: AuditReport, worst: int) -> None:
    """Print the table, the distributions and the worst items."""
    show(_table(report))
    out = console()
    for name in CHECKS:
        if report.numbers(name) and name not in ("found", "caption"):
            out.print(f"{name:9}{histogram(name, report.numbers(name))}", soft_wrap=True)
    unread = sum(bool(item.reason) for item in report.items)
    noted = sum(bool(item.notes) for item in report.items)
    out.print(f"{len(report.items)} mixes: {len(report.wrong)} wrong, {unread} of them unreadable; {noted} with notes")
    notes = Counter(note for item in report.items for note in set(item.notes)).most_common()
    notes.sort(key=lambda pair: not pair[0].startswith(UNREAD))
    for note, number in notes[:_MOST]:
        out.print(f"{number} of them: {note}", soft_wrap=True)
    if len(notes) > _MOST:
        out.print(f"and {len(notes) - _MOST} other notes: --json shows those of each mix", soft_wrap=True)
    for item in report.wrong[:worst]:
        out.print(item.file, style="bold", soft_wrap=True)
        for sentence in _sentences(item):
            out.print(f"  {sentence}", soft_wrap=True)


def _table(report: AuditReport) -> Any:
    from rich.table import Table

    table = Table()
    for name in ("check", "n", "median", "95 %", "max", "limit", "failures"):
        table.add_column(name, justify="left" if name == "check" else "right")
    for name, (unit, _) in CHECKS.items():
        numbers = report.numbers(name)
        if numbers:
            values = [f"{quantile(numbers, share):.4g}" for share in (0.5, 0.95, 1.0)]
            limit = "" if name in ("found", "caption") else f"{report.limits.of(name, False):g} {unit}".strip()
            table.add_row(name, str(len(numbers)), *values, limit, str(report.count_failures(name)))
    return table


def _sentences(item: AuditItem) -> list[str]:
    if item.reason:
        return [item.reason]
    lines = [f"{name}: {sentence}" for name, sentence in item.failures[:_MOST]]
    return lines + ([f"and {len(item.failures) - _MOST} more"] if len(item.failures) > _MOST else [])


def picture(path: Path, report: AuditReport) -> None:
    """Draw the distribution of every check that has numbers into a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [name for name in CHECKS if name not in ("found", "caption") and report.numbers(name)]
    figure = Figure(figsize=(6, 1.2 + 1.4 * max(1, len(names))), layout="constrained")
    FigureCanvasAgg(figure)
    for place, name in enumerate(names, 1):
        axes = figure.add_subplot(len(names), 1, place)
        counts, low, high = _counts(name, report.numbers(name))
        ends = (low, high) if name in _LEVELS else (math.log10(low), math.log10(high))
        width = (ends[1] - ends[0]) / _BINS
        axes.bar([ends[0] + width * k for k in range(_BINS)], counts, width, align="edge", color="#1b6ca8")
        limit = report.limits.of(name, False)
        axes.axvline(limit if name in _LEVELS else math.log10(max(limit, low)), color="#d1495b", linestyle="--")
        unit = CHECKS[name][0]
        axes.set_xlabel(f"{name} ({unit})" if name in _LEVELS else f"log10 of {name} ({unit or 'share'})", fontsize=8)
        axes.set_ylabel("n", fontsize=8)
    figure.savefig(path, dpi=120)
