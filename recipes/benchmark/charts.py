"""Charts of the page of ``report``: gains, learning curves, calibration, and a confusion matrix that can be heard."""

import csv
import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from audiomix.audio import io
from audiomix.audio.io import AudioError
from audiomix.measures.calibration import reliability
from audiomix.report.charts import Chart, forest, line_chart
from audiomix.report.lanes import encode

from ..training.run_folder import fail_damaged, read_json
from .figures import RunGroup
from .gains import NETWORKS
from .record import BenchmarkTable

__all__ = ["calibration", "confusion", "gain_forest", "learning_curves"]

# Bins of the confidence, and clips that a bin needs so that its accuracy means something.
_BINS, _FEW = 10, 5
# Clips that are played of a cell, cells that are, and seconds of a clip: the page stays below 4 MB.
_CLIPS, _CELLS, _SECONDS = 3, 30, 5.0


def gain_forest(table: BenchmarkTable, label: str) -> Chart | None:
    """Return by how many points each row errs less than the baseline, with its 95 % interval; None without gains.

    Parameters
    ----------
    table : BenchmarkTable
        Of a benchmark.
    label : str
        Number of labels.
    """
    rows = []
    for line in table.lines:
        gain = line.gain[table.headline]
        if line.label == label and gain is not None and gain.used is not None:
            rows.append((line.title, gain.used.mean, gain.used.low, gain.used.high))
    title = f"Points by which a row errs less than {table.baseline}, with 95 % intervals"
    return forest(title, rows, x="points; right of 0 is better") if rows else None


def learning_curves(groups: Sequence[RunGroup], network: str) -> Chart | None:
    """Return the mean error of each row against the step, and the range of its runs as a band.

    Parameters
    ----------
    groups : sequence of RunGroup
        The rows.
    network : str
        ``raw`` or ``ema``.
    """
    series, bands = {}, {}
    for group in groups:
        steps, values = group.curve(f"error{NETWORKS[network]}")
        if steps:
            series[group.title] = [(step, statistics.fmean(some)) for step, some in zip(steps, values)]
            bands[group.title] = [(step, min(some), max(some)) for step, some in zip(steps, values) if len(some) > 1]
    on = groups[0].runs[0].measured_on if groups else "test"
    return line_chart(f"Error on the {on} clips, in percent", series, bands=bands) if series else None


class _Prediction(NamedTuple):
    """A line of predictions.csv: a clip, its class, the class that was predicted, and the classes' probabilities."""

    clip: str
    true: str
    predicted: str
    shares: list[float]
    root: Path

    @property
    def confidence(self) -> float:
        """The largest probability."""
        return max(self.shares)


def _predictions(group: RunGroup, network: str) -> list[_Prediction]:
    """Return the predictions of all runs of a row; none of runs of earlier versions, which have no such table."""
    found = []
    for run in group.runs:
        path = Path(run.folder) / "predictions.csv"
        if not path.is_file():
            continue
        root = Path(str(read_json(path.with_name("config.json")).get("facts", {}).get("root", "")))
        with open(path, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                try:
                    shares = [float(row[f"{network}_{name}"]) for name in group.classes]
                    found.append(_Prediction(row["id"], row["class"], row[network], shares, root))
                except (KeyError, TypeError, ValueError) as error:
                    fail_damaged(path, f"a table with id, class and {network}", f"a row without {error}")
    return found


def calibration(groups: Sequence[RunGroup], network: str) -> Chart | None:
    """Return how many predictions are right against how sure the network is of them; on the diagonal it is calibrated.

    Ten bins of equal width of the largest probability; a bin of fewer than five predictions is left out.

    Parameters
    ----------
    groups : sequence of RunGroup
        The rows.
    network : str
        ``raw`` or ``ema``.
    """
    series = {}
    for group in groups:
        found = [one for one in _predictions(group, network) if one.true in group.classes]
        if not found:
            continue
        labels = torch.tensor([group.classes.index(one.true) for one in found])
        bins = reliability(torch.tensor([one.shares for one in found], dtype=torch.float64), labels, bins=_BINS)
        kept = bins.clips >= _FEW
        points = list(zip((100 * bins.confidence[kept]).tolist(), (100 * bins.accuracy[kept]).tolist()))
        if points:
            series[group.title] = points
    title = "Predictions that are right, in percent, against how sure the network is of them"
    return line_chart(title, series, x="mean confidence, in percent", high=100.0, diagonal=True) if series else None


def confusion(group: RunGroup, network: str, key: str) -> dict[str, Any] | None:
    """Return the confusion matrix of a row, whose cells hold the clips that were misheard most surely.

    Parameters
    ----------
    group : RunGroup
        The row.
    network : str
        ``raw`` or ``ema``.
    key : str
        Begins the names of its cells; unique on a page.

    Returns
    -------
    dict or None
        Arguments of the macro ``confusion`` of the page's templates; None where no run has predictions.
    """
    cells: dict[tuple[str, str], list[_Prediction]] = defaultdict(list)
    for one in _predictions(group, network):
        cells[one.true, one.predicted].append(one)
    if not cells:
        return None
    wrong = sorted((pair for pair in cells if pair[0] != pair[1]), key=lambda pair: (-len(cells[pair]), pair))
    clips = {pair: _heard(cells[pair]) for pair in wrong[:_CELLS]}
    rows, panels = [], []
    for i, true in enumerate(group.classes):
        total = sum(len(cells[true, other]) for other in group.classes if (true, other) in cells)
        row = []
        for j, other in enumerate(group.classes):
            count = len(cells.get((true, other), ()))
            share = count / total if total else 0.0
            name = f"{key}-{i}-{j}" if clips.get((true, other)) else ""
            row.append({"text": f"{100 * share:.0f}" if count else "", "share": round(share, 3), "panel": name,
                        "title": f"{true} taken for {other}: {count} of {total}"})  # fmt: skip
            if name:
                panels.append({"name": name, "title": f"{true} taken for {other}", "clips": clips[true, other]})
        rows.append({"name": true, "cells": row})
    return {"title": group.title, "classes": list(group.classes), "rows": rows, "panels": panels}


def _heard(predictions: Sequence[_Prediction]) -> list[dict[str, str]]:
    """Return some of the clips of a cell, the surest first; those whose files are no longer there are left out."""
    found: dict[str, dict[str, str]] = {}
    for one in sorted(predictions, key=lambda one: (-one.confidence, one.clip)):
        path = one.root / one.clip
        if len(found) == _CLIPS or one.clip in found or not path.is_file():
            continue
        try:
            sound = encode(io.read(path, seconds=_SECONDS))
        except AudioError:
            continue  # the matrix counts it all the same
        found[one.clip] = {"text": f"{one.clip}, {100 * one.confidence:.0f} % sure", "sound": sound}
    return list(found.values())
