"""A run of a recipe as it is shown: the numbers that it ended with, and what it measured from step to step."""

import csv
import json
import math
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

from ..charts import Chart, line_chart
from ..page import Page

__all__ = ["add_runs", "find_runs"]

# Columns of metrics.csv that are drawn together, by how they begin.
_GROUPS = {
    "error": "Error on clips that nothing is trained on, in percent", "loss": "Terms of the loss",
    "mask": "Share of pseudo-labels that are believed", "guess": "Pseudo-labels that are right",
    "believed": "Of those believed, right", "lr": "Learning rate", "count_": "Pseudo-labels of each class",
}  # fmt: skip


def find_runs(folder: Path) -> list[Path]:
    """Return the folders of runs that are finished enough to have measured something: `folder` itself, or those in it.

    Parameters
    ----------
    folder : Path
        What ``audiomix-recipes`` wrote.
    """
    if (folder / "metrics.csv").is_file():
        return [folder]
    return sorted(path.parent for path in folder.glob("*/metrics.csv"))


def add_runs(page: Page, folders: list[Path]) -> None:
    """Add a table of the last numbers of runs, and a chart for each group of what they measured: mean and range.

    Parameters
    ----------
    page : Page
        Receives them.
    folders : list of Path
        See `find_runs`.
    """
    histories = {folder.name: _history(folder / "metrics.csv") for folder in folders}
    results = {folder.name: _result(folder / "result.json") for folder in folders}
    names = list(dict.fromkeys(name for result in results.values() for name in result))
    if names:
        rows = [[run, *(_text(result.get(name)) for name in names)] for run, result in results.items()]
        page.table(["run", *(name.replace("_", " ") for name in names)], rows)
    unfinished = [run for run, result in results.items() if not result]
    if unfinished:
        page.text(f"Not finished: {', '.join(unfinished)}. The command that made them goes on with --resume.")
    for start, title in _GROUPS.items():
        chart = _chart(title, start, list(histories.values()))
        if chart is not None:
            page.add("chart", chart=chart)
    if len(folders) > 1:
        page.text(f"Lines are means over {len(folders)} runs, bands their least and largest.", muted=True)


def _chart(title: str, start: str, histories: list[list[dict[str, float]]]) -> Chart | None:
    columns = list(dict.fromkeys(name for rows in histories for row in rows for name in row if name.startswith(start)))
    series: dict[str, list[tuple[float, float]]] = {}
    bands: dict[str, list[tuple[float, float, float]]] = {}
    for column in columns:
        at: dict[float, list[float]] = defaultdict(list)
        for rows in histories:
            for row in rows:
                if column in row and "step" in row:
                    at[row["step"]].append(row[column])
        if at:
            series[column] = [(step, statistics.fmean(values)) for step, values in sorted(at.items())]
            bands[column] = [(step, min(values), max(values)) for step, values in sorted(at.items()) if len(values) > 1]
    return line_chart(title, series, bands=bands) if series else None


def _history(path: Path) -> list[dict[str, float]]:
    with open(path, newline="", encoding="utf-8") as file:
        return [{name: value for name, value in map(_cell, row.items()) if value is not None}
                for row in csv.DictReader(file)]  # fmt: skip


def _cell(pair: tuple[Any, Any]) -> tuple[str, float | None]:
    try:
        value = float(pair[1])
    except (TypeError, ValueError):
        return str(pair[0]), None
    return str(pair[0]), value if math.isfinite(value) else None


def _result(path: Path) -> dict[str, Any]:
    """Return the plain numbers and texts of a result; empty for a run that is not finished."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: value for name, value in found.items() if isinstance(value, (int, float, str)) and value != ""}


def _text(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
