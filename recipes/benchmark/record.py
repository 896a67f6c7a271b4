"""What a benchmark's folder holds, and what it comes to: a line for each row and number of labels."""

import csv
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from audiomix import check
from audiomix.audio import io
from audiomix.datasets.dataset import natural
from audiomix.draw import generator_for

from .. import algorithms
from ..training import run_folder as runfolder
from ..training.run_folder import RunResult
from ..training.summary import Summary
from ..training.summary import summarise as spread
from .measures import Interval, paired_bootstrap
from .published import Published, beside

if TYPE_CHECKING:
    from ..data.loader import Data
    from .rows import Row

__all__ = ["NETWORKS", "RECORD", "Book", "Line", "Shown", "summarise", "write_errors"]

RECORD = "bench.json"
CLIPS = "clips.csv"
NETWORKS = {"raw": "", "ema": "_ema"}  # and how the fields of `RunResult` that are theirs end


class Book:
    """The record of a benchmark: its rows, numbers of labels and commands, and the runs below.

    Parameters
    ----------
    out : Path
        The benchmark's folder.

    Raises
    ------
    ValueError
        A record that cannot be read.
    """

    def __init__(self, out: Path) -> None:
        self.out = Path(out)
        path = self.out / RECORD
        try:
            self.record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        except json.JSONDecodeError as error:
            check.fail(str(path), "the record of a benchmark", f"text that is none ({error})")
        self._wrong: dict[str, dict[str, tuple[bool, bool]]] = {}
        self._intervals: dict[tuple, Interval | None] = {}
        self._finished: dict[Path, RunResult] = {}

    def note(
        self,
        rows: Sequence["Row"],
        labels: Sequence[str],
        preset: str,
        stores: Mapping[tuple[int, float], "Data"],
        command: str,
        baseline: str | None = None,
        headline: str | None = None,
    ) -> "Book":
        """Write down what this command asks for, besides what earlier ones did.

        Of `baseline` and `headline` what the last one named stays.

        Raises
        ------
        ValueError
            The earlier ones were on other data.
        """
        from .rows import slug

        data = next(iter(stores.values()))
        prints = {f"{rate} Hz, {seconds:g} s": d.fingerprint for (rate, seconds), d in stores.items()}
        before = self.record.get("fingerprints", {})
        if other := [name for name in prints if before.get(name, prints[name]) != prints[name]]:
            got = f"other clips, classes or folds than before ({other[0]})"
            check.fail("the data", f"those of the runs in {self.out}", got, "choose another --out")
        named = {row.folder: {"text": row.text, "title": row.title, "method": row.method, "mixer": row.mixer,
                              "preset": preset, "changed": row.changed} for row in rows}  # fmt: skip
        self.record = {
            "dataset": data.dataset.name,
            "classes": list(data.dataset.class_names),
            "clips": len(data.dataset),
            "fingerprints": before | prints,
            "rows": self.record.get("rows", {}) | named,
            "labels": self.record.get("labels", {}) | {slug(label): label for label in labels},
            "baseline": baseline or self.record.get("baseline"),
            "headline": headline or self.record.get("headline"),
            "commands": [*self.record.get("commands", []), command],
            "versions": _versions(),
        }
        self.out.mkdir(parents=True, exist_ok=True)
        groups = [[item.id, group] for item, group in zip(data.dataset.items, data.dataset.groups)]
        _write(self.out / CLIPS, _csv([["id", "group"], *groups]))
        _write(self.out / RECORD, json.dumps(self.record, indent=1) + "\n")
        return self

    @property
    def labels(self) -> dict[str, str]:
        """Folder and number of labels, from few to many."""
        return dict(sorted(self.record["labels"].items(), key=lambda pair: _order(pair[1])))

    def runs(self, label: str, row: str) -> list[RunResult]:
        """Return the finished runs in the folder `row` of the folder `label`."""
        found = []
        for folder in (self.out / label / row).glob("fold*-seed*"):
            if folder not in self._finished and (done := runfolder.finished(folder)) is not None:
                self._finished[folder] = done
            if folder in self._finished:
                found.append(self._finished[folder])
        return sorted(found, key=lambda run: (run.seed, natural(run.fold)))

    def gain(self, base: Sequence[RunResult], other: Sequence[RunResult], network: str) -> Interval | None:
        """Return by how many points `other` errs less than `base`, on the clips of the folds and seeds of both.

        The bootstrap draws recordings; its own seed is always the same. None if there is no such fold and seed, or all
        clips are of one recording.
        """
        bases = {(run.fold, run.seed): run for run in base}
        pairs = [(bases[run.fold, run.seed], run) for run in other if (run.fold, run.seed) in bases]
        key = (network, *((a.folder, b.folder) for a, b in pairs))
        if key not in self._intervals:
            self._intervals[key] = self._interval(pairs, list(NETWORKS).index(network))
        return self._intervals[key]

    def _interval(self, pairs: Sequence[tuple[RunResult, RunResult]], network: int) -> Interval | None:
        a, b, names = [], [], []
        groups = self._groups()
        for base, other in pairs:
            own, theirs = self.wrong(base), self.wrong(other)
            if own.keys() != theirs.keys():
                check.fail(f"the held-out clips of {other.folder}", f"those of {base.folder}", "others")
            for name in own:
                a.append(own[name][network])
                b.append(theirs[name][network])
                names.append(groups[name])
        if len(set(names)) < 2:
            return None
        return paired_bootstrap(torch.tensor(a), torch.tensor(b), names, generator=generator_for(0, "bootstrap"))

    def _groups(self) -> dict[str, str]:
        if not hasattr(self, "_group"):
            with open(self.out / CLIPS, newline="", encoding="utf-8") as file:
                self._group = {row["id"]: row["group"] for row in csv.DictReader(file)}
        return self._group

    def wrong(self, run: RunResult) -> dict[str, tuple[bool, bool]]:
        """Return by held-out clip whether the network and its average err."""
        if run.folder not in self._wrong:
            with open(Path(run.folder) / "predictions.csv", newline="", encoding="utf-8") as file:
                rows = csv.reader(file)
                head = next(rows)
                at = [head.index(name) for name in ("id", "class", *NETWORKS)]
                picked = ([row[i] for i in at] for row in rows)
                self._wrong[run.folder] = {name: (raw != true, ema != true) for name, true, raw, ema in picked}
        return self._wrong[run.folder]


@dataclass(frozen=True)
class Line:
    """A row at one number of labels, in percent and points.

    Parameters
    ----------
    text, title, method, label : str
    runs : list of RunResult
    last, best : dict of str to Summary
        By network.
    ece : dict of str to float or None
    seconds, cpu_seconds : float
        Means of a run.
    gain : dict of str to Interval or None
        Over the baseline, by network; None for the baseline itself or where there are no runs to pair.
    paired : int
        Runs whose fold and seed the baseline has too: those that the gain is of.
    baseline : bool
    published : Published or None
    """

    text: str
    title: str
    method: str
    label: str
    runs: list[RunResult] = field(repr=False)
    last: dict[str, Summary]
    best: dict[str, Summary]
    ece: dict[str, float | None]
    seconds: float
    cpu_seconds: float
    gain: dict[str, Interval | None]
    paired: int
    baseline: bool
    published: Published | None

    def verdict(self, network: str) -> str:
        """Return what the interval says of the gain."""
        gain = self.gain[network]
        if self.baseline or gain is None:
            return "baseline" if self.baseline else ""
        return "gain" if gain.low > 0 else "worse" if gain.high < 0 else "no gain shown"


@dataclass(frozen=True)
class Shown:
    """A table: the lines, and what they rest on."""

    book: Book
    lines: list[Line]
    baseline: str
    headline: str


def summarise(book: Book, baseline: str | None = None, headline: str | None = None) -> Shown:
    """Return a line for each row and number of labels that has a finished run.

    Parameters
    ----------
    book : Book
    baseline : str, optional
        Text of the row to compare with; by default the one that `bench` was told, else the first supervised one.
    headline : str, optional
        ``raw`` or ``ema``; by default what `bench` was told, else raw.

    Raises
    ------
    ValueError
        No such row.
    """
    rows = book.record["rows"]
    if baseline is not None:
        check.choice("baseline", baseline, [row["text"] for row in rows.values()])
    baseline = baseline or book.record.get("baseline")
    first = [folder for folder, row in rows.items() if row["method"] == "supervised"]
    base = next((f for f, row in rows.items() if row["text"] == baseline), first[0] if first else "")
    lines = []
    for label in book.labels:
        bases = book.runs(label, base) if base else []
        lines += [_line(book, label, f, runs, bases, f == base) for f in rows if (runs := book.runs(label, f))]
    headline = check.choice("headline", headline or book.record.get("headline") or "raw", NETWORKS)
    return Shown(book, lines, rows[base]["title"] if base else "", headline)


def _line(book: Book, label: str, folder: str, runs: list[RunResult], bases: list[RunResult], is_base: bool) -> Line:
    row, labelled, record = book.record["rows"][folder], book.record["labels"][label], book.record
    own = algorithms.mixer_for(None, algorithms.get(row["method"]), row["preset"])
    plain = row["mixer"] is None or own is not None
    calibration = {n: [run.measures[n]["ece"] for run in runs if n in run.measures] for n in NETWORKS}
    return Line(
        text=row["text"],
        title=row["title"],
        method=row["method"],
        label=labelled,
        runs=runs,
        last={n: spread(runs, f"error_last{end}") for n, end in NETWORKS.items()},
        best={n: spread(runs, f"error_best{end}") for n, end in NETWORKS.items()},
        ece={n: statistics.fmean(found) if found else None for n, found in calibration.items()},
        seconds=statistics.fmean(run.seconds for run in runs),
        cpu_seconds=statistics.fmean(run.cpu_seconds for run in runs),
        gain={n: None if is_base else book.gain(bases, runs, n) for n in NETWORKS},
        paired=len({(run.fold, run.seed) for run in runs} & {(run.fold, run.seed) for run in bases}),
        baseline=is_base,
        published=None
        if row.get("changed")
        else beside(record["dataset"], len(record["classes"]), row["method"], labelled, plain=plain),
    )


def _order(label: str) -> tuple[bool, float]:
    """Sort numbers of clips before shares, each from few to many."""
    from ..data.split import amount

    wanted = amount(label)
    return ("fraction" in wanted, next(iter(wanted.values())))


def write_errors(out: Path, errors: dict[str, str]) -> Path:
    """Write which files could not be read, and why."""
    _write(out / "errors.json", json.dumps(errors, indent=1) + "\n")
    return out / "errors.json"


def _versions() -> dict[str, str]:
    import platform
    from importlib.metadata import version

    import audiomix

    found = {name: version(name) for name in ("torch", "torchaudio", "numpy", "lightning-fabric")}
    return {"audiomix": audiomix.__version__, "python": platform.python_version(), **found}


def _csv(rows: Iterable[Sequence[Any]]) -> str:
    import io as text_io

    text = text_io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _write(path: Path, content: str) -> None:
    with io.atomic_file(path) as file:
        file.write(content.encode())
