"""The tables of a benchmark: ``results.csv`` (runs), ``table.csv`` (lines), ``results.md``, ``results.html``.

All of them are made of what ``predictions.npz`` holds too.
"""

from pathlib import Path
from typing import Any

from rich.table import Table

from audiomix.report.page import Page

from ..training.run_folder import csv_text, write_text
from .gains import NETWORKS
from .intervals import FEW_RUNS, Interval
from .pseudo_label_stats import pseudo_label_stats
from .published import CAVEATS, NOT_COMPARABLE, list_published_errors
from .record import BenchmarkTable, TableLine
from .summary import SCORES, error_name

__all__ = ["amount_text", "for_terminal", "make_page", "write_tables"]

_NAMES = {"raw": "as trained", "ema": "EMA"}


def write_tables(table: BenchmarkTable, out: Path) -> None:
    """Write the four files into the folder `out`, each whole or not at all."""
    page = make_page(table)
    for name, content in {
        "results.csv": _runs_csv(table),
        "table.csv": _lines_csv(table),
        "results.md": page.markdown(),
        "results.html": page.html(),
    }.items():
        write_text(out / name, content)


def amount_text(label: str) -> str:
    """Return a number of labels, a share (10%) or a number of clips (3) of each class, in words.

    >>> amount_text("10%"), amount_text("3"), amount_text("100%")
    ('10 % of the labels', '3 labels a class', 'all labels')
    """
    if label.endswith("%"):
        return "all labels" if float(label[:-1]) == 100 else f"{label[:-1]} % of the labels"
    return f"{label} label{'s' * (label != '1')} a class"


def make_page(table: BenchmarkTable) -> Page:
    """Return the page of a benchmark."""
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
        _add_published_errors(page, content["dataset"], len(content["classes"]))
    record = table.record
    for title, names in {"Unfinished runs": record.unfinished, "Runs that could not be done": record.failed}.items():
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
    name = error_name(table.measured_on)
    head = ["method", f"{name}, {_NAMES[table.headline]}", "sd folds", "sd seeds", f"{name}, {_NAMES[other]}"]
    if table.tested:
        head += [f"test error, {_NAMES[network]}" for network in (table.headline, other)]
    head += ["best step (optimistic)", "macro F1", "balanced accuracy", "ECE"]
    if table.baseline:
        head += [f"gain over {table.baseline}", "95 %, crossed bootstrap", "95 %, t", "p (Holm)", ""]
    return [*head, "published", "TFLOP a run", "CPU s a run", "runs"]


def _cells(line: TableLine, table: BenchmarkTable) -> list[str]:
    network = table.headline
    other, last, gain = next(n for n in NETWORKS if n != network), line.last[network], line.gain[network]
    end = NETWORKS[network]
    numbers = [last.mean, last.over_folds, last.over_seeds, line.last[other].mean]
    if table.tested:
        numbers += [line.scores.get(f"test_error_last{NETWORKS[n]}") for n in (network, other)]
    numbers.append(line.best[network].mean)
    numbers += [line.scores[f"{name}{end}"] for name in ("macro_f1", "balanced_accuracy", "ece")]
    cells = [line.title, *map(_number, numbers)]
    if table.baseline and gain is not None and gain.used is not None and gain.p is not None:
        cells += [f"{gain.used.mean:+.2f}", _bounds(gain.bootstrap), _bounds(gain.t), f"{gain.p:.2g}", gain.verdict]
    elif table.baseline:
        cells += ["", "", "", "", line.verdict(network)]
    cells.append("" if line.published is None else f"{line.published.error:.2f}")
    cells.append("" if line.compute is None else f"{line.compute / 1e12:.3g}")
    return [*cells, f"{line.cpu_seconds:.1f}", _count(line, table)]


def _bounds(interval: Interval | None) -> str:
    return "-" if interval is None else f"{interval.low:+.2f} to {interval.high:+.2f}"


def _count(line: TableLine, table: BenchmarkTable) -> str:
    """Return the number of runs, and where the gain is of some of them alone, of how many."""
    count = len(line.runs)
    return str(count) if not table.baseline or line.paired == count else f"{count} ({line.paired} paired)"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _notes(table: BenchmarkTable) -> list[str]:
    if not table.lines:
        return []
    on = "validation" if table.measured_on == "validation" else "test"
    notes = [
        f"Errors, macro F1, balanced accuracy and ECE in percent of the {on} clips, mean over runs. The headline is "
        f"the error after the last step of the network {_NAMES[table.headline]}. The best step is chosen on the clips "
        "that it is measured on. sd folds: standard deviation of the folds' means over seeds; sd seeds: of the seeds' "
        "means over folds. Macro F1 and balanced accuracy (mean recall) are means over the classes that have clips. "
        "ECE: expected calibration error, 15 bins. TFLOP: operations of the training of a run, multiplications and "
        "additions of convolutions and matrix products, counted over a step of the method; CPU s: measured."
    ]
    if on == "validation":
        rest = "Errors of the test clips are named so." if table.tested else "Nothing was measured on the test clips."
        notes.append(f"The validation clips are a part of the training folds that is not trained on. {rest}")
    if equal := table.record.content.get("equal"):
        notes.append(equal["note"])
    if table.baseline:
        notes += _gain_notes(table)
        if absent := [amount_text(label) for label in dict.fromkeys(line.label for line in table.lines)
                      if not any(line.baseline for line in table.lines if line.label == label)]:  # fmt: skip
            notes.append(f"No run of {table.baseline} is finished at {', '.join(absent)}: no gain is known there.")
    runs = {(line.text, line.label): {(run.fold, run.seed) for run in line.runs} for line in table.lines}
    if any(runs[a] != runs[b] for a in runs for b in runs if a[1] == b[1]):
        notes.append(
            "Rows have different runs: their means are not of the same folds and seeds, and only gains are of pairs."
        )
    return notes


def _gain_notes(table: BenchmarkTable) -> list[str]:
    """Return what the gains, their intervals and the verdicts are."""
    return [
        f"Gain over {table.baseline}: difference of the errors in points, on the same clips of the folds and seeds "
        "that both have, mean over runs. 95 %, crossed bootstrap: percentiles of 10,000 draws of folds and of seeds, "
        "each drawn by itself and their weights multiplied, so that runs of one seed or fold are not taken for "
        "independent; recordings or speakers are drawn with their fold, and by themselves where there are fewer than "
        "five folds or where they are in several. What there is one of is not drawn. Simulated, such an interval holds "
        "the truth in 94 to 99 % of the cases with five folds and three seeds, and in about 91 % with two seeds that "
        "differ much. 95 %, t: Student's paired t over the differences of the runs.",
        f"The verdict is by the crossed bootstrap where there are {FEW_RUNS} paired runs or more, and by the wider of "
        "the two intervals where there are fewer; a single run has the bootstrap over its recordings alone, which says "
        "nothing of other seeds. p (Holm): the p value of that interval, corrected for all rows of the table by Holm's "
        'step-down; "gain" and "worse" are p below 0.05. So an interval of one row may leave out 0 where '
        'nothing is shown for the table: "no gain shown".',
    ]


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


def _add_published_errors(page: Page, dataset: str, classes: int) -> None:
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
    runs = [run for line in table.lines if line.head == "none" for run in line.runs]
    lines = [*content["commands"], ""]
    lines += [f"preset      {', '.join(dict.fromkeys(row['preset'] for row in content['rows'].values()))}"]
    lines += [f"data        {content['dataset']}: {content['clips']} clips, {len(content['classes'])} classes"]
    lines += [f"            fingerprint {value} ({name})" for name, value in content["fingerprints"].items()]
    lines += [f"protocol    {line}" for line in content.get("protocol", [])]
    lines += [f"measured on {' and '.join(content.get('measured_on', ['test']))} clips"]
    lines += [f"device      {', '.join(table.record.devices()) or '-'}"]
    lines += [f"versions    {', '.join(f'{name} {value}' for name, value in content['versions'].items())}"]
    lines += [f"runs        {len(runs)} finished"]
    return "\n".join(lines)


# of table.csv: the fields of `PseudoLabelStats`
_PSEUDO_LABEL_COLUMNS = (
    "guesses_right", "guesses_believed", "guesses_believed_right", "guesses_uneven", "guesses_outliers",
)  # fmt: skip


def _runs_csv(table: BenchmarkTable) -> str:
    runs = [run for line in table.lines for run in line.runs]
    scores = [name for name in (*SCORES, "ece", "ece_ema") if any(name in run.scores for run in runs)]
    head = ["row", "text", "method", "head", "labelled", "fold", "seed", "measured_on", *scores]
    rows: list[list[Any]] = [[*head, "seconds", "cpu_seconds", "folder"]]
    for line in table.lines:
        for run in line.runs:
            cells = [line.title, line.text, line.method, line.head, line.label, run.fold, run.seed, run.measured_on]
            folder = f"{line.folder}/fold{run.fold}-seed{run.seed}"
            rows.append([*cells, *map(run.scores.get, scores), run.seconds, run.cpu_seconds, folder])
    return csv_text(rows)


# of table.csv, for each network
_GAIN_COLUMNS = ("gain", "bootstrap_low", "bootstrap_high", "bootstrap_p", "t_low", "t_high", "t_p", "used", "holm_p")


def _lines_csv(table: BenchmarkTable) -> str:
    head = ["row", "text", "method", "head", "labelled", "measured_on", "runs"]
    scores = ["macro_f1", "balanced_accuracy", "ece"]
    scores += ["test_error_last", "test_macro_f1", "test_balanced_accuracy"] * table.tested
    for network in NETWORKS:
        names = ("error", "sd_folds", "sd_seeds", "best", *scores, *_GAIN_COLUMNS, "verdict")
        head += [f"{network}_{name}" for name in names]
    more = ("published", "compute", "seconds", "cpu_seconds", "paired")
    rows: list[list[Any]] = [[*head, *more, *_PSEUDO_LABEL_COLUMNS]]
    for line in table.lines:
        cells: list[Any] = [line.title, line.text, line.method, line.head, line.label]
        cells += [line.runs[0].measured_on, len(line.runs)]
        for n, end in NETWORKS.items():
            last = line.last[n]
            cells += [last.mean, last.over_folds, last.over_seeds, line.best[n].mean]
            cells += [*(line.scores.get(f"{name}{end}") for name in scores), *_gain_cells(line, n), line.verdict(n)]
        published = None if line.published is None else line.published.error
        cells += [published, line.compute, line.seconds, line.cpu_seconds, line.paired]
        rows.append([*cells, *pseudo_label_stats(line.runs)])
    return csv_text(rows)


def _gain_cells(line: TableLine, network: str) -> list[Any]:
    gain = line.gain[network]
    if gain is None or gain.used is None:
        return [None] * len(_GAIN_COLUMNS)
    bounds = [tuple(found)[1:] if found else (None, None, None) for found in (gain.bootstrap, gain.t)]
    return [gain.used.mean, *bounds[0], *bounds[1], gain.name, gain.p]


def for_terminal(table: BenchmarkTable) -> Table:
    """Return the part of the table that fits into a terminal."""
    headline, name = table.headline, error_name(table.measured_on)
    shown = Table(title=f"{_title(table)}: {name} after the last step, {_NAMES[headline]}, in percent")
    names = ["labels", "method", name, *["test error"] * table.tested, "± folds, seeds", "gain (95 %)", "runs"]
    for i, heading in enumerate(names if table.baseline else [n for n in names if not n.startswith("gain")]):
        shown.add_column(heading, justify="left" if i < 2 else "right", no_wrap=i > 2)
    for line in table.lines:
        last, gain, verdict = line.last[headline], line.gain[headline], line.verdict(headline)
        spread = f"{_number(last.over_folds)}, {_number(last.over_seeds)}"
        tested = [_number(line.scores.get(f"test_error_last{NETWORKS[headline]}"))] * table.tested
        cells = [line.label, line.title, _number(last.mean), *tested, spread]
        if table.baseline:
            used = None if gain is None else gain.used
            bounds = "" if used is None else f"{used.mean:+.1f} ({used.low:+.1f} to {used.high:+.1f})"
            cells.append(f"{bounds or verdict}{' ?' * (verdict == 'no gain shown')}")
        shown.add_row(*cells, _count(line, table), style="bold" if verdict == "gain" else "")
    doubtful = any(line.verdict(headline) == "no gain shown" for line in table.lines)
    shown.caption = "?: no gain shown (p >= 0.05, corrected for all rows)" if doubtful else None
    return shown
