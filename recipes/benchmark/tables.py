"""The tables of a benchmark: ``results.csv`` (runs), ``table.csv`` (lines), ``results.md``, ``results.html``.

Markdown and page have the same parts: a part is a heading, a paragraph, a table or a text to be kept as it is.
"""

import csv
import io as text_io
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from rich.markup import escape as escaped
from rich.table import Table

from audiomix.audio import io

from ..training.run_folder import read_json
from .measures import Interval
from .pseudo_label_stats import Guesses, guesses
from .published import CAVEATS, NOT_COMPARABLE, published
from .record import NETWORKS, Line, Shown

__all__ = ["Part", "amount_text", "for_terminal", "html", "markdown", "parts", "write"]

_NAMES = {"raw": "as trained", "ema": "EMA"}


class Part(NamedTuple):
    """A part of a document: ``h2``, ``p``, ``pre``, ``table`` (rows, the first its head) or ``img`` (source, text)."""

    kind: str
    content: Any
    marked: frozenset[int] = frozenset()  # rows of the table in bold


def write(shown: Shown, *, unfinished: Sequence[str] = (), failed: Iterable[str] = ()) -> None:
    """Write the four files, each whole or not at all."""
    out, written = shown.book.out, parts(shown, unfinished=unfinished, failed=list(failed))
    title = f"Benchmark on {shown.book.record['dataset']}"
    for name, content in {
        "results.csv": _runs(shown),
        "table.csv": _lines(shown),
        "results.md": markdown(title, written),
        "results.html": html(title, written),
    }.items():
        with io.atomic_file(out / name) as file:
            file.write(content.encode())


def amount_text(label: str) -> str:
    """Say a number of labels.

    >>> amount_text("10%"), amount_text("3"), amount_text("100%")
    ('10 % of the labels', '3 labels a class', 'all labels')
    """
    if label.endswith("%"):
        return "all labels" if float(label[:-1]) == 100 else f"{label[:-1]} % of the labels"
    return f"{label} label{'s' * (label != '1')} a class"


def parts(shown: Shown, *, unfinished: Sequence[str] = (), failed: Sequence[str] = ()) -> list[Part]:
    """Return the document's parts."""
    found: list[Part] = []
    for label in dict.fromkeys(line.label for line in shown.lines):
        lines = [line for line in shown.lines if line.label == label]
        best = min(line.last[shown.headline].mean for line in lines)
        bold = frozenset(i for i, line in enumerate(lines, 1) if line.last[shown.headline].mean == best)
        rows = [_head(shown), *(_cells(line, shown) for line in lines)]
        found += [Part("h2", amount_text(label)), Part("table", rows, bold)]
    if not shown.lines:
        found.append(Part("p", "No run is finished."))
    found += [Part("p", text) for text in _notes(shown)]
    found += _guessed(shown) + _others(shown)
    for title, names in {"Unfinished runs": unfinished, "Runs that could not be done": failed}.items():
        if names:
            found += [Part("h2", f"{title}: {len(names)}"), Part("pre", "\n".join(names))]
    return [*found, Part("h2", "How it was made"), Part("pre", _origin(shown))]


def _head(shown: Shown) -> list[str]:
    other = next(n for n in NETWORKS if n != shown.headline)
    over = [f"gain over {shown.baseline}", "95 %", ""] if shown.baseline else []
    head = ["method", f"error, {_NAMES[shown.headline]}", "sd folds", "sd seeds", f"error, {_NAMES[other]}"]
    return [*head, "best step (optimistic)", "ECE", *over, "published", "s a run", "runs"]


def _cells(line: Line, shown: Shown) -> list[str]:
    network = shown.headline
    other, last, gain = next(n for n in NETWORKS if n != network), line.last[network], line.gain[network]
    numbers = [last.mean, last.over_folds, last.over_seeds, line.last[other].mean, line.best[network].mean]
    over = ["" if gain is None else f"{gain.mean:+.2f}", _bounds(gain), line.verdict(network)] if shown.baseline else []
    beside = "" if line.published is None else f"{line.published.error:.2f}"
    cells = [line.title, *map(_number, [*numbers, line.ece[network]]), *over, beside]
    return [*cells, f"{line.seconds:.1f}", _count(line, shown)]


def _count(line: Line, shown: Shown) -> str:
    """Return the number of runs, and where the gain is not of all of them, of how many."""
    count = len(line.runs)
    return str(count) if not shown.baseline or line.paired == count else f"{count} ({line.paired} paired)"


def _bounds(gain: Interval | None) -> str:
    return "" if gain is None else f"{gain.low:+.2f} to {gain.high:+.2f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _notes(shown: Shown) -> list[str]:
    notes = [
        "Errors in percent of the held-out clips, mean over runs. The headline is the error after the last step of the "
        f"network {_NAMES[shown.headline]}. The best step is chosen on the clips that it is measured on. sd folds: "
        "standard deviation of the folds' means over seeds; sd seeds: of the seeds' means over folds. ECE: expected "
        "calibration error in percent, 15 bins.",
    ]
    if shown.baseline:
        notes.append(
            f"Gain over {shown.baseline}: difference in points on the same held-out clips of the folds and seeds that "
            "both have; 95 % interval of 10,000 paired bootstrap draws of whole recordings or speakers, not of "
            'seeds: what other seeds would come to is told by sd seeds. "No gain shown": the interval includes 0.'
        )
    told = "Rows have different runs: their means are not of the same folds and seeds, and only gains are of pairs."
    return notes + [told] * any(_unequal(shown.lines, line) for line in shown.lines)


def _unequal(lines: Sequence[Line], line: Line) -> bool:
    """Return whether a row at the same number of labels has runs of other folds or seeds."""
    runs = {(run.fold, run.seed) for run in line.runs}
    return any({(run.fold, run.seed) for run in o.runs} != runs for o in lines if o.label == line.label)


def _guessed(shown: Shown) -> list[Part]:
    told = [(line, guesses(line.runs)) for line in shown.lines]
    several = len({line.label for line in shown.lines}) > 1
    rows = [
        [*[line.label] * several, line.title, *("" if share is None else f"{share:.1f}" for share in found)]
        for line, found in told
        if found.right is not None
    ]
    head = [*["labels"] * several, "method", "right", "believed", "believed and right", "uneven"]
    text = (
        "Guesses on the unlabelled clips in the last row of metrics.csv, in percent: right of all, believed of all, "
        "right of those believed, and how many would have to be of another class for all classes to be guessed equally "
        "often (of the believed ones where not all are believed)."
    )
    return [Part("h2", "Guesses"), Part("table", [head, *rows]), Part("p", text)] if rows else []


def _others(shown: Shown) -> list[Part]:
    record = shown.book.record
    dataset, classes = record["dataset"], len(record["classes"])
    numbers = published(dataset, classes)
    told = [] if numbers or dataset not in NOT_COMPARABLE else [Part("p", NOT_COMPARABLE[dataset])]
    if numbers:
        rows = [[p.method + " + mixup" * p.mixer, p.labelled, f"{p.error:.2f}"] for p in numbers]
        told = [Part("table", [["method", "labelled", "error"], *rows]), *(Part("p", text) for text in CAVEATS)]
    return [Part("h2", "Published"), *told] if told else []


def _origin(shown: Shown) -> str:
    record = shown.book.record
    runs = [run for line in shown.lines for run in line.runs]
    facts = [read_json(Path(run.folder) / "config.json", "facts")["facts"] for run in runs]
    lines = [*record["commands"], ""]
    lines += [f"preset      {', '.join(dict.fromkeys(row['preset'] for row in record['rows'].values()))}"]
    lines += [f"data        {record['dataset']}: {record['clips']} clips, {len(record['classes'])} classes"]
    lines += [f"            fingerprint {value} ({name})" for name, value in record["fingerprints"].items()]
    lines += [f"device      {', '.join(dict.fromkeys(f['device'] for f in facts)) or '-'}"]
    lines += [f"versions    {', '.join(f'{name} {value}' for name, value in record['versions'].items())}"]
    lines += [f"runs        {len(runs)} finished"]
    return "\n".join(lines)


_GUESSES = tuple(f"guesses_{name}" for name in Guesses._fields)
_RUN = tuple(f"error_{at}{end}" for at in ("last", "best", "at_best_valid") for end in NETWORKS.values())


def _runs(shown: Shown) -> str:
    head = ["row", "text", "method", "labelled", "fold", "seed", *_RUN, "ece", "ece_ema", "seconds", "cpu_seconds"]
    rows: list[list[Any]] = [[*head, "folder"]]
    for line in shown.lines:
        for run in line.runs:
            ece = [run.measures.get(network, {}).get("ece") for network in NETWORKS]
            folder = Path(run.folder).relative_to(shown.book.out).as_posix()
            errors = [getattr(run, name) for name in _RUN]
            cells = [line.title, line.text, line.method, line.label, run.fold, run.seed, *errors]
            rows.append([*cells, *ece, run.seconds, run.cpu_seconds, folder])
    return _csv(rows)


def _lines(shown: Shown) -> str:
    head = ["row", "text", "method", "labelled", "runs"]
    for network in NETWORKS:
        names = ("error", "sd_folds", "sd_seeds", "best", "ece", "gain", "gain_low", "gain_high", "verdict")
        head += [f"{network}_{name}" for name in names]
    rows: list[list[Any]] = [[*head, "published", "seconds", "cpu_seconds", "paired", *_GUESSES]]
    for line in shown.lines:
        cells: list[Any] = [line.title, line.text, line.method, line.label, len(line.runs)]
        for n in NETWORKS:
            last, gain = line.last[n], line.gain[n] or (None, None, None)
            cells += [last.mean, last.over_folds, last.over_seeds, line.best[n].mean, line.ece[n], *gain]
            cells.append(line.verdict(n))
        beside = None if line.published is None else line.published.error
        rows.append([*cells, beside, line.seconds, line.cpu_seconds, line.paired, *guesses(line.runs)])
    return _csv(rows)


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    text = text_io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def for_terminal(shown: Shown) -> Table:
    """Return the table for the terminal: what fits there."""
    headline = shown.headline
    table = Table(title=f"{shown.book.record['dataset']}: error after the last step, {_NAMES[headline]}, in percent")
    names = ["labels", "method", "error", "± folds, seeds", "gain (95 %)", "runs"]
    for i, name in enumerate(names if shown.baseline else [n for n in names if not n.startswith("gain")]):
        table.add_column(name, justify="left" if i < 2 else "right", no_wrap=i > 2)
    for line in shown.lines:
        last, gain, verdict = line.last[headline], line.gain[headline], line.verdict(headline)
        gained = "" if gain is None else f"{gain.mean:+.1f} ({gain.low:+.1f} to {gain.high:+.1f})"
        cells = [
            line.label,
            escaped(line.title),
            _number(last.mean),
            f"{_number(last.over_folds)}, {_number(last.over_seeds)}",
        ]
        cells += [f"{gained or verdict}{' ?' * (verdict == 'no gain shown')}"] * bool(shown.baseline)
        table.add_row(*cells, _count(line, shown), style="bold" if verdict == "gain" else "")
    doubtful = any(line.verdict(headline) == "no gain shown" for line in shown.lines)
    table.caption = "?: no gain shown, the interval includes 0" if doubtful else None
    return table


def markdown(title: str, written: Sequence[Part]) -> str:
    """Return the parts as Markdown."""
    blocks = [f"# {title}"]
    for kind, content, marked in written:
        if kind == "table":
            cells = [[cell.replace("|", "\\|") for cell in row] for row in content]
            rule = ["---"] + ["---:"] * (len(cells[0]) - 1)
            # of a row that is marked, name and number
            bold = [[f"**{c}**" if i in marked and j < 2 else c for j, c in enumerate(r)] for i, r in enumerate(cells)]
            blocks.append("\n".join("| " + " | ".join(row) + " |" for row in [bold[0], rule, *bold[1:]]))
        elif kind == "pre":
            blocks.append("\n".join(f"    {line}".rstrip() for line in content.splitlines()))
        elif kind != "img":
            blocks.append({"h2": "## "}.get(kind, "") + content)
    return "\n\n".join(blocks) + "\n"


_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:88rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums;margin:1rem 0;display:block;overflow-x:auto}"
    "td,th{font-size:14px;padding:.25rem .5rem;border-bottom:1px solid #ddd;text-align:right;vertical-align:bottom}"
    "td{white-space:nowrap}td:first-child,th:first-child{text-align:left}thead th{border-bottom:2px solid #888}"
    "tr.best td{font-weight:600;background:#eef6ee}pre{background:#f5f5f5;padding:.8rem;overflow-x:auto;"
    "white-space:pre-wrap;overflow-wrap:anywhere}"
    "img{max-width:100%;height:auto;display:block;margin:1rem 0}p{max-width:60rem}"
)


def html(title: str, written: Sequence[Part]) -> str:
    """Return the parts as one page that needs no other file and no network."""
    blocks = []
    for kind, content, marked in written:
        if kind == "table":
            head = "".join(f"<th>{escape(cell)}</th>" for cell in content[0])
            rows = (
                f"<tr{' class=best' if i in marked else ''}>{''.join(f'<td>{escape(c)}</td>' for c in row)}</tr>"
                for i, row in enumerate(content[1:], 1)
            )
            blocks.append(f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>")
        elif kind == "img":
            blocks.append(f'<img src="{content[0]}" alt="{escape(content[1], quote=True)}">')
        else:
            blocks.append(f"<{kind}>{escape(content)}</{kind}>")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>\n"
        + "\n".join(blocks)
        + "\n</body></html>\n"
    )
