"""The table of mixing as page, Markdown, CSV and for the terminal: which rows gain, by how much, at what cost."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from audiomix.report.charts import Chart, forest, scatter
from audiomix.report.page import Page

from ...training.run_folder import csv_text, write_text
from ..gains import Gain
from ..intervals import Interval
from ..tables import amount_text
from .rows import BASE, CUT
from .table import MEASURES, MixingLine, MixingTable

__all__ = ["FILES", "for_terminal", "make_page", "write_tables"]

FILES = "results.html, results.md, table.csv"
_TITLES = {"error": "error", "ece": "ECE", "nll": "NLL"}


def write_tables(tables: Sequence[MixingTable], out: Path) -> None:
    """Write page, Markdown and CSV of one or more data sets into the folder `out`, each whole or not at all."""
    page = make_page(tables)
    write_text(out / "table.csv", _csv(tables))
    write_text(out / "results.md", page.markdown())
    write_text(out / "results.html", page.html())


def make_page(tables: Sequence[MixingTable]) -> Page:
    """Return the page of one or more data sets."""
    page = Page(f"Mixing on {' and '.join(table.record.content['dataset'] for table in tables)}")
    for table in tables:
        name = table.record.content["dataset"]
        for label in table.label_names:
            lines = [line for line in table.lines if line.label == label]
            page.heading(f"{name}, {amount_text(label)}")
            page.text(_summary(lines))
            for chart in (_gain_chart(lines), _cost_chart(lines)):
                if chart is not None:
                    page.add("chart", chart=chart)
            errors = [line.values["error"] for line in lines]
            best = [(i, column) for i, error in enumerate(errors) if error == min(errors) for column in (0, 1)]
            page.table(_head(), [_cells(line) for line in lines], best=best)
        if not table.record.runs:
            page.text("No run is finished.")
    for text in (*_NOTES, *_notes_of_rows(tables)):
        page.text(text)
    page.heading("What has no row")
    page.table(["what", "why"], [[name, why] for name, why in CUT.items()])
    page.heading("How it was made")
    page.code("\n\n".join(map(_origin, tables)))
    return page


def _summary(lines: Sequence[MixingLine]) -> str:
    """Return in words which rows gain, which are worse, and of how many nothing is shown."""
    if not any(line.gains for line in lines):
        return f"Nothing can be compared: {BASE} training is not finished."
    parts = []
    for measure in MEASURES:
        found: dict[str, list[str]] = {}
        for line in lines:
            gain = _gain(line, measure)
            if gain is not None:
                found.setdefault(gain.verdict, []).append(line.row)
        said = [f"{title} {', '.join(found[verdict])}" for verdict, title in (("gain", "better:"), ("worse", "worse:"))
                if verdict in found]  # fmt: skip
        said.append(f"no difference shown: {len(found.get('no gain shown', []))} rows")
        parts.append(f"{_TITLES[measure]}: {'; '.join(said)}.")
    return " ".join(parts)


def _gain(line: MixingLine, measure: str) -> Gain | None:
    return None if line.gains is None else getattr(line.gains, measure)


def _used(line: MixingLine, measure: str) -> Interval | None:
    gain = _gain(line, measure)
    return None if gain is None else gain.used


def _gain_chart(lines: Sequence[MixingLine]) -> Chart | None:
    """Return the gains in error with their intervals, the largest first."""
    rows = [(line.row, *used[:3]) for line in lines if (used := _used(line, "error")) is not None]
    rows.sort(key=lambda row: -row[1])
    title = f"Points by which a row errs less than {BASE} training, with 95 % intervals"
    return forest(title, rows, x="points; right of 0 is better") if rows else None


def _cost_chart(lines: Sequence[MixingLine]) -> Chart | None:
    """Return the gain in error of each row against what its epochs cost."""
    points = [
        (line.row, line.cost, *used[:3])
        for line in lines
        if line.cost is not None and (used := _used(line, "error")) is not None
    ]
    title = f"Points by which a row errs less than {BASE} training, against the time of its epochs"
    return scatter(title, points, x=f"seconds an epoch, {BASE} training = 1") if points else None


def _head() -> list[str]:
    found = ["row", "error", "sd seeds"]
    for measure in MEASURES:
        found += [*[_TITLES[measure]] * (measure != "error"), f"gain in {_TITLES[measure]}", "95 %", "p (Holm)", ""]
    return [*found, "time an epoch", "strength (folds)", "runs"]


def _cells(line: MixingLine) -> list[str]:
    cells = [line.row, f"{line.values['error']:.2f}", "-" if line.over_seeds is None else f"{line.over_seeds:.2f}"]
    for measure in MEASURES:
        digits = 3 if measure == "nll" else 2
        cells += [f"{line.values[measure]:.{digits}f}"] * (measure != "error")
        gain = _gain(line, measure)
        if gain is None or gain.used is None or gain.p is None:
            cells += ["", "", "", ""]
        else:
            mean, low, high, _ = gain.used
            cells += [f"{mean:+.{digits}f}", f"{low:+.{digits}f} to {high:+.{digits}f}", f"{gain.p:.2g}", gain.verdict]
    strengths = ", ".join(f"{value} ({count})" for value, count in line.strengths.items())
    return [*cells, "-" if line.cost is None else f"{line.cost:.2f}", strengths, str(line.runs)]


_NOTES = (
    "Error in percent of the held-out clips after the last step, of the averaged weights; all runs count alike. ECE: "
    "expected calibration error in percent, 15 bins of equal width, of the predictions of all runs of a row together. "
    "NLL: mean negative log-likelihood in nats. sd seeds: standard deviation of the seeds' mean errors. Time an epoch: "
    f"CPU seconds of a step relative to a step of {BASE} training in the same process: an epoch has as many steps. "
    "It is measured once a row, at its strong setting, with the first number of labels that the command names and with "
    "its first fold: the same value stands at every number of labels.",
    f"Gain: how much smaller the measure is than that of {BASE} training on the same clips, folds and seeds. The "
    "interval is the crossed bootstrap over recordings or speakers, folds and seeds (10,000 draws); with fewer than 10 "
    "pairs of runs the wider one of that and Student's paired t over runs. Where that is the t interval, a gain in ECE "
    "is the mean of the differences of single runs, each with an ECE of its own few clips: it differs from the "
    "difference of the ECE column, whose values are of all runs together. p is corrected for all rows of a number of "
    'labels (Holm), each measure by itself. "No gain shown": p is 0.05 or more.',
    "The strength of a row is one of two. It is chosen on inner folds with a seed of its own, for each held-out fold "
    f"by trainings that see no clip of it; the grid is as large for {BASE} training (its weight decay).",
    "Probabilities are stored in one byte each, and all numbers are made of the stored ones.",
)

# by row: what distinguishes its trainings from those of all others
_NOTES_OF_ROWS = {
    "madaug": "madaug holds a fifth of the labelled clips of each class out for its search, one at least, and trains "
    "on the others: with three labelled clips a class (10 % of ESC-10) on two.",
}


def _notes_of_rows(tables: Sequence[MixingTable]) -> list[str]:
    shown = {name for table in tables for name in table.record.content["rows"]}
    return [note for name, note in _NOTES_OF_ROWS.items() if name in shown]


def _origin(table: MixingTable) -> str:
    content, runs, clips = table.record.content, table.record.runs, len(table.record.ids)
    settings = ", ".join(f"{name} {value}" for name, value in content["settings"].items())
    seconds = sum(run.cpu_seconds for run in runs)
    lines = [*content["commands"], ""]
    lines += [f"preset      small; of all rows: {settings}"]
    lines += [f"data        {content['dataset']}: {len(content['classes'])} classes, {clips} clips measured on"]
    lines += [f"            fingerprint {content['fingerprint']}"]
    lines += [f"versions    {', '.join(f'{name} {value}' for name, value in content['versions'].items())}"]
    lines += [f"runs        {len(runs)} finished, {seconds:.0f} CPU seconds"]
    lines += [f"strengths   chosen with seed {content['choice_seed']}"]
    lines += [f"{name:27} {row['text']}  {' | '.join(row['strengths'])}" for name, row in content["rows"].items()]
    return "\n".join(lines)


def _csv(tables: Sequence[MixingTable]) -> str:
    head: list[Any] = ["dataset", "row", "kind", "labelled", "runs", "sd_seeds", "cost", "strengths"]
    of_gain = ("gain", "low", "high", "interval", "p", "holm_p", "verdict")
    for measure in MEASURES:
        head += [measure, *(f"{measure}_{name}" for name in of_gain)]
    rows = [head]
    for table in tables:
        for line in table.lines:
            strengths = " ".join(f"{value}:{count}" for value, count in line.strengths.items())
            cells: list[Any] = [table.record.content["dataset"], line.row, line.kind, line.label, line.runs]
            cells += [line.over_seeds, line.cost, strengths]
            for measure in MEASURES:
                gain, used = _gain(line, measure), _used(line, measure)
                cells.append(line.values[measure])
                if gain is None or used is None:
                    cells += [None] * len(of_gain)
                else:
                    cells += [used.mean, used.low, used.high, gain.name, used.p, gain.p, gain.verdict]
            rows.append([_rounded(cell) for cell in cells])
    return csv_text(rows)


def _rounded(cell: Any) -> Any:
    return float(f"{cell:.6g}") if isinstance(cell, float) and math.isfinite(cell) else cell


def for_terminal(table: MixingTable) -> Table:
    """Return the part of the table that fits into a terminal."""
    shown = Table(title=f"{table.record.content['dataset']}: error in percent, and what is gained over {BASE} training")
    for i, heading in enumerate(("labels", "row", "error", "gain (95 %)", "ECE", "NLL", "time", "runs")):
        shown.add_column(heading, justify="left" if i < 2 else "right", no_wrap=i > 0)
    doubtful = False
    for line in table.lines:
        gain, used = _gain(line, "error"), _used(line, "error")
        doubt = gain is not None and gain.verdict == "no gain shown"
        doubtful = doubtful or doubt
        bounds = "" if used is None else f"{used.mean:+.1f} ({used.low:+.1f} to {used.high:+.1f}){' ?' * doubt}"
        cost = "-" if line.cost is None else f"{line.cost:.2f}"
        numbers = [f"{line.values['ece']:.1f}", f"{line.values['nll']:.3f}", cost, str(line.runs)]
        style = "bold" if gain is not None and gain.verdict == "gain" else ""
        shown.add_row(line.label, line.row, f"{line.values['error']:.2f}", bounds, *numbers, style=style)
    shown.caption = "?: no gain shown (p >= 0.05, corrected for all rows)" if doubtful else None
    return shown
