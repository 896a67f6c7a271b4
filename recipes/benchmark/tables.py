"""The tables of a benchmark: ``results.csv`` (runs), ``table.csv`` (lines), ``results.md``, ``results.html``."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from audiomix.report.page import Page

from ..training.run_folder import csv_text, read_json, write_text
from .pseudo_label_stats import pseudo_label_stats
from .published import CAVEATS, NOT_COMPARABLE, list_published_errors
from .record import NETWORKS, BenchmarkTable, TableLine

__all__ = ["amount_text", "for_terminal", "make_page", "write_tables"]

_NAMES = {"raw": "as trained", "ema": "EMA"}


def write_tables(table: BenchmarkTable, *, unfinished: Sequence[str] = (), failed: Iterable[str] = ()) -> None:
    """Write the four files, each whole or not at all; see `make_page` for the arguments."""
    page = make_page(table, unfinished=unfinished, failed=list(failed))
    for name, content in {
        "results.csv": _runs_csv(table),
        "table.csv": _lines_csv(table),
        "results.md": page.markdown(),
        "results.html": page.html(),
    }.items():
        write_text(table.record.out / name, content)


def amount_text(label: str) -> str:
    """Return a number of labels, a share (10%) or a number of clips (3) of each class, in words.

    >>> amount_text("10%"), amount_text("3"), amount_text("100%")
    ('10 % of the labels', '3 labels a class', 'all labels')
    """
    if label.endswith("%"):
        return "all labels" if float(label[:-1]) == 100 else f"{label[:-1]} % of the labels"
    return f"{label} label{'s' * (label != '1')} a class"


def make_page(table: BenchmarkTable, *, unfinished: Sequence[str] = (), failed: Sequence[str] = ()) -> Page:
    """Return the page of a benchmark.

    `unfinished` are names of runs; `failed` are names of runs that could not be done, with the reasons.
    """
    page, content = Page(f"Benchmark on {_title(table)}"), table.record.content
    for label in dict.fromkeys(line.label for line in table.lines):
        lines = [line for line in table.lines if line.label == label]
        errors = [line.last[table.headline].mean for line in lines]
        best = [(i, column) for i, error in enumerate(errors) if error == min(errors) for column in (0, 1)]
        page.heading(amount_text(label))
        page.table(_head(table), [_cells(line, table) for line in lines], best=best)
    if not table.lines:
        page.text("No run is finished.")
    for text in _notes(table):
        page.text(text)
    _add_pseudo_labels(page, table)
    if not content.get("protocol"):  # what others published is of even classes and right labels
        _add_published(page, content["dataset"], len(content["classes"]))
    for title, names in {"Unfinished runs": unfinished, "Runs that could not be done": failed}.items():
        if names:
            page.heading(f"{title}: {len(names)}")
            page.code("\n".join(names))
    page.heading("How it was made")
    page.code(_origin(table))
    return page


def _title(table: BenchmarkTable) -> str:
    """Return the data set, and in what its clips and labels are unusual."""
    content = table.record.content
    return "; ".join([content["dataset"], *content.get("protocol", [])])


def _head(table: BenchmarkTable) -> list[str]:
    other = next(n for n in NETWORKS if n != table.headline)
    gain = [f"gain over {table.baseline}", "95 %", ""] if table.baseline else []
    head = ["method", f"error, {_NAMES[table.headline]}", "sd folds", "sd seeds", f"error, {_NAMES[other]}"]
    return [*head, "best step (optimistic)", "ECE", *gain, "published", "s a run", "runs"]


def _cells(line: TableLine, table: BenchmarkTable) -> list[str]:
    network = table.headline
    other, last, gain = next(n for n in NETWORKS if n != network), line.last[network], line.gain[network]
    numbers = [last.mean, last.over_folds, last.over_seeds, line.last[other].mean, line.best[network].mean]
    cells = [line.title, *map(_number, [*numbers, line.ece[network]])]
    if table.baseline:
        shown = ["", ""] if gain is None else [f"{gain.mean:+.2f}", f"{gain.low:+.2f} to {gain.high:+.2f}"]
        cells += [*shown, line.verdict(network)]
    cells.append("" if line.published is None else f"{line.published.error:.2f}")
    return [*cells, f"{line.seconds:.1f}", _count(line, table)]


def _count(line: TableLine, table: BenchmarkTable) -> str:
    """Return the number of runs, and where the gain is of some of them alone, of how many."""
    count = len(line.runs)
    return str(count) if not table.baseline or line.paired == count else f"{count} ({line.paired} paired)"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _notes(table: BenchmarkTable) -> list[str]:
    notes = [
        "Errors in percent of the held-out clips, mean over runs. The headline is the error after the last step of the "
        f"network {_NAMES[table.headline]}. The best step is chosen on the clips that it is measured on. sd folds: "
        "standard deviation of the folds' means over seeds; sd seeds: of the seeds' means over folds. ECE: expected "
        "calibration error in percent, 15 bins."
    ]
    if table.baseline:
        notes.append(
            f"Gain over {table.baseline}: difference in points on the same held-out clips of the folds and seeds that "
            "both have; 95 % interval of 10,000 paired bootstrap draws of whole recordings or speakers, not of "
            'seeds: what other seeds would come to is told by sd seeds. "No gain shown": the interval includes 0.'
        )
    runs = {(line.text, line.label): {(run.fold, run.seed) for run in line.runs} for line in table.lines}
    if any(runs[a] != runs[b] for a in runs for b in runs if a[1] == b[1]):
        notes.append(
            "Rows have different runs: their means are not of the same folds and seeds, and only gains are of pairs."
        )
    return notes


def _add_pseudo_labels(page: Page, table: BenchmarkTable) -> None:
    several, every = len({line.label for line in table.lines}) > 1, [pseudo_label_stats(x.runs) for x in table.lines]
    open_set = any(stats.outliers is not None for stats in every)
    rows = []
    for line, stats in zip(table.lines, every):
        if stats.correct is not None:
            shares = ["" if share is None else f"{share:.1f}" for share in (stats if open_set else stats[:-1])]
            rows.append([*[line.label] * several, line.title, *shares])
    if rows:
        page.heading("Guesses")
        head = ["method", "right", "believed", "believed and right", "uneven", *["believed of outliers"] * open_set]
        page.table([*["labels"] * several, *head], rows)
        page.text(
            "Guesses on the unlabelled clips in the last row of metrics.csv, in percent: right of all, believed of "
            "all, right of those believed, and how many would have to be of another class for all classes to be "
            "guessed equally often (of the believed ones where not all are believed)."
            + " Outliers: unlabelled clips of classes that the task does not have; every guess on them is wrong."
            * open_set
        )


def _add_published(page: Page, dataset: str, classes: int) -> None:
    if errors := list_published_errors(dataset, classes):
        page.heading("Published")
        rows = [[p.method + " + mixup" * p.mixer, p.labelled, f"{p.error:.2f}"] for p in errors]
        page.table(["method", "labelled", "error"], rows)
        for text in CAVEATS:
            page.text(text)
    elif dataset in NOT_COMPARABLE:
        page.heading("Published")
        page.text(NOT_COMPARABLE[dataset])


def _origin(table: BenchmarkTable) -> str:
    content = table.record.content
    runs = [run for line in table.lines for run in line.runs]
    facts = [read_json(Path(run.folder) / "config.json", "facts")["facts"] for run in runs]
    lines = [*content["commands"], ""]
    lines += [f"preset      {', '.join(dict.fromkeys(row['preset'] for row in content['rows'].values()))}"]
    lines += [f"data        {content['dataset']}: {content['clips']} clips, {len(content['classes'])} classes"]
    lines += [f"            fingerprint {value} ({name})" for name, value in content["fingerprints"].items()]
    lines += [f"protocol    {line}" for line in content.get("protocol", [])]
    lines += [f"device      {', '.join(dict.fromkeys(f['device'] for f in facts)) or '-'}"]
    lines += [f"versions    {', '.join(f'{name} {value}' for name, value in content['versions'].items())}"]
    lines += [f"runs        {len(runs)} finished"]
    return "\n".join(lines)


# of table.csv: the fields of `PseudoLabelStats`
_PSEUDO_LABEL_COLUMNS = (
    "guesses_right", "guesses_believed", "guesses_believed_right", "guesses_uneven", "guesses_outliers",
)  # fmt: skip
_RUN_ERRORS = tuple(f"error_{at}{end}" for at in ("last", "best", "at_best_valid") for end in NETWORKS.values())


def _runs_csv(table: BenchmarkTable) -> str:
    head = ["row", "text", "method", "labelled", "fold", "seed", *_RUN_ERRORS, "ece", "ece_ema"]
    rows: list[list[Any]] = [[*head, "seconds", "cpu_seconds", "folder"]]
    for line in table.lines:
        for run in line.runs:
            ece = [run.measures.get(network, {}).get("ece") for network in NETWORKS]
            folder = Path(run.folder).relative_to(table.record.out).as_posix()
            errors = [getattr(run, name) for name in _RUN_ERRORS]
            cells = [line.title, line.text, line.method, line.label, run.fold, run.seed, *errors]
            rows.append([*cells, *ece, run.seconds, run.cpu_seconds, folder])
    return csv_text(rows)


def _lines_csv(table: BenchmarkTable) -> str:
    head = ["row", "text", "method", "labelled", "runs"]
    for network in NETWORKS:
        names = ("error", "sd_folds", "sd_seeds", "best", "ece", "gain", "gain_low", "gain_high", "verdict")
        head += [f"{network}_{name}" for name in names]
    rows: list[list[Any]] = [[*head, "published", "seconds", "cpu_seconds", "paired", *_PSEUDO_LABEL_COLUMNS]]
    for line in table.lines:
        cells: list[Any] = [line.title, line.text, line.method, line.label, len(line.runs)]
        for n in NETWORKS:
            last, gain = line.last[n], line.gain[n] or (None, None, None)
            cells += [last.mean, last.over_folds, last.over_seeds, line.best[n].mean, line.ece[n], *gain]
            cells.append(line.verdict(n))
        published = None if line.published is None else line.published.error
        rows.append([*cells, published, line.seconds, line.cpu_seconds, line.paired, *pseudo_label_stats(line.runs)])
    return csv_text(rows)


def for_terminal(table: BenchmarkTable) -> Table:
    """Return the part of the table that fits into a terminal."""
    headline = table.headline
    shown = Table(title=f"{_title(table)}: error after the last step, {_NAMES[headline]}, in percent")
    names = ["labels", "method", "error", "± folds, seeds", "gain (95 %)", "runs"]
    for i, name in enumerate(names if table.baseline else [n for n in names if not n.startswith("gain")]):
        shown.add_column(name, justify="left" if i < 2 else "right", no_wrap=i > 2)
    for line in table.lines:
        last, gain, verdict = line.last[headline], line.gain[headline], line.verdict(headline)
        spread = f"{_number(last.over_folds)}, {_number(last.over_seeds)}"
        cells = [line.label, line.title, _number(last.mean), spread]
        if table.baseline:
            bounds = "" if gain is None else f"{gain.mean:+.1f} ({gain.low:+.1f} to {gain.high:+.1f})"
            cells.append(f"{bounds or verdict}{' ?' * (verdict == 'no gain shown')}")
        shown.add_row(*cells, _count(line, table), style="bold" if verdict == "gain" else "")
    doubtful = any(line.verdict(headline) == "no gain shown" for line in table.lines)
    shown.caption = "?: no gain shown, the interval includes 0" if doubtful else None
    return shown
