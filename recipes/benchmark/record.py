"""The record in a benchmark's folder, and its table: a line for each row and number of labels."""

import csv
import json
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import audiomix
from audiomix import check
from audiomix.datasets.dataset import natural
from audiomix.registry import is_path

from .. import algorithms
from ..data.loader import Data
from ..data.protocol import describe_protocol
from ..training.config import parse_amount
from ..training.run_folder import (
    PREDICTIONS,
    RunResult,
    csv_text,
    fail_damaged,
    read_json,
    read_run,
    write_json,
    write_text,
)
from .archive import ARCHIVE, WAY, ArchivedRun, ArchivedRuns, merge_archives, read_archive, write_archive
from .gains import NETWORKS, Gain, RunPredictions, adjust_gains, compare_runs
from .published import PublishedError, find_published_error
from .rows import RowSpec, slug
from .summary import Summary, summarise

__all__ = ["NETWORKS", "RECORD", "ArchivedRecord", "BenchmarkRecord", "BenchmarkTable", "TableLine", "build_table"]

RECORD = "bench.json"
CLIPS = "clips.csv"


class BenchmarkRecord:
    """The record of a benchmark in its folder `out`: its rows, numbers of labels and commands, and the runs below.

    Parameters
    ----------
    out : Path
        The folder.
    content : dict, optional
        What the record holds; by default it is read from the folder, and is empty where there is none.

    Raises
    ------
    ValueError
        The record cannot be read.
    """

    def __init__(self, out: Path, content: dict[str, Any] | None = None) -> None:
        self.out = Path(out)
        self.content: dict[str, Any] = _read_record(self.out / RECORD) if content is None else content
        self._finished: dict[Path, list[ArchivedRun]] = {}
        self._gains: dict[tuple, Gain | None] = {}
        self.unfinished: list[str] = []  # names of runs, for the tables
        self.failed: list[str] = []  # names of runs that could not be done, with the reasons

    def add_command(
        self,
        rows: Sequence[RowSpec],
        labels: Sequence[str],
        preset: str,
        stores: Mapping[tuple[int, float], Data],
        command: str,
        baseline: str | None = None,
        headline: str | None = None,
        *,
        test: bool = False,
        compute: Mapping[str, float] | None = None,
        equal: Mapping[str, Any] | None = None,
    ) -> None:
        """Add a command to the record and write it.

        Parameters
        ----------
        rows, labels, preset
            Its rows, numbers of labels and preset.
        stores : dict of (int, float) to Data
            The decoded data, by rate in Hz and length in seconds.
        command : str
            The command line.
        baseline, headline : str, optional
            Text of the row to compare with, and ``raw`` or ``ema``; by default those of an earlier command.
        test : bool
            Whether runs with validation clips measure on the test clips too.
        compute : mapping of str to float, optional
            Operations of a run of each row, by the row's text; see `recipes.benchmark.equal_compute`.
        equal : mapping, optional
            The row of equal compute, by default that of an earlier command: its ``text``, and ``as``, the title of the
            row whose compute it has.

        Raises
        ------
        ValueError
            The earlier commands were on other data, measured on other clips, or with other numbers of clips a class or
            other labels.
        """
        data = next(iter(stores.values()))
        prints = {f"{rate} Hz, {seconds:g} s": d.fingerprint for (rate, seconds), d in stores.items()}
        before = self.content.get("fingerprints", {})
        if other := [name for name in prints if before.get(name, prints[name]) != prints[name]]:
            got = f"other clips, classes or folds than before ({other[0]})"
            check.fail("the data", f"those of the runs in {self.out}", got, "choose another --out")
        protocol = describe_protocol(rows[0].config, data.dataset)
        if self.content and self.content.get("protocol", []) != protocol:
            got = "; ".join(protocol) or "even classes and right labels"
            check.fail("the protocol", f"that of the runs in {self.out}", got, "choose another --out")
        validation = rows[0].config.validation
        measured = [f"validation ({validation})", *["test"] * test] if validation else ["test"]
        if (earlier := self.content.get("measured_on", measured)) != measured:
            got, slip = " and ".join(measured), "choose another --out"
            check.fail("the clips to measure on", f"{' and '.join(earlier)}, as in {self.out}", got, slip)
        known = {folder: row.get("compute") for folder, row in self.content.get("rows", {}).items()}
        known |= {row.folder: compute[row.text] for row in rows if compute and row.text in compute}
        named = {row.folder: {"text": row.text, "title": row.title, "method": row.method, "mixer": row.mixer,
                              "preset": preset, "changed": row.changed, "compute": known.get(row.folder)}
                 for row in rows}  # fmt: skip
        self.content = {
            "dataset": data.dataset.name,
            "classes": list(data.dataset.class_names),
            "clips": len(data.dataset),
            "protocol": protocol,
            "fingerprints": before | prints,
            "rows": self.content.get("rows", {}) | named,
            "labels": self.content.get("labels", {}) | {slug(label): label for label in labels},
            "measured_on": measured,
            "equal": dict(equal) if equal else self.content.get("equal"),
            "baseline": baseline or self.content.get("baseline"),
            "headline": headline or self.content.get("headline"),
            "commands": [*self.content.get("commands", []), command],
            "versions": {"audiomix": audiomix.__version__, "python": platform.python_version()}
            | {name: version(name) for name in ("torch", "torchaudio", "numpy", "lightning-fabric")},
        }
        self.out.mkdir(parents=True, exist_ok=True)
        groups = [[item.id, group] for item, group in zip(data.dataset.items, data.dataset.groups)]
        write_text(self.out / CLIPS, csv_text([["id", "group"], *groups]))
        write_json(self.out / RECORD, self.content)

    @property
    def labels(self) -> dict[str, str]:
        """Number of labels by folder, from few to many."""
        return dict(sorted(self.content["labels"].items(), key=lambda pair: _order(pair[1])))

    def archived_runs(self, label: str, row: str) -> list[ArchivedRun]:
        """Return the finished runs of a row at a number of labels, with predictions; both are names of folders.

        A run is there with each of its heads.
        """
        found: list[ArchivedRun] = []
        for folder in (self.out / label / row).glob("fold*-seed*"):
            if folder not in self._finished and (done := read_run(folder)) is not None:
                self._finished[folder] = self._read_run(label, row, folder, done)
            found += self._finished.get(folder, [])
        return sorted(found, key=lambda run: (run.result.seed, natural(run.result.fold)))

    def _read_run(self, label: str, row: str, folder: Path, done: RunResult) -> list[ArchivedRun]:
        device, found = read_json(folder / "config.json", "facts")["facts"].get("device", "-"), []
        for head in ("none", *done.heads):
            test = self._read_predictions(folder / f"test_{PREDICTIONS}", head) if done.test else None
            own = self._read_predictions(folder / PREDICTIONS, head)
            found.append(ArchivedRun(label, row, head, device, done.with_head(head), own, test))
        return found

    def runs(self, label: str, row: str) -> dict[str, list[RunResult]]:
        """Return the results of the finished runs of a row at a number of labels, by head.

        Both are names of folders. Heads that a part of the runs has alone are left out.
        """
        found: dict[str, list[RunResult]] = {}
        for run in self.archived_runs(label, row):
            found.setdefault(run.head, []).append(run.result)
        return {head: runs for head, runs in found.items() if len(runs) == len(found["none"])}

    def devices(self) -> list[str]:
        """Return what the finished runs ran on, without repetitions."""
        return list(dict.fromkeys(run.device for run in self._all_runs()))

    def write_archive(self) -> None:
        """Write ``predictions.npz``, from which `ArchivedRecord` makes the same tables."""
        content = self.content | {"unfinished": self.unfinished, "failed": self.failed}
        write_archive(self.out / ARCHIVE, content, list(self._groups), self.groups, self._all_runs())

    def _all_runs(self) -> list[ArchivedRun]:
        return [run for label in self.labels for row in self.content["rows"] for run in self.archived_runs(label, row)]

    def gain(self, base: Sequence[RunResult], other: Sequence[RunResult], network: str) -> Gain | None:
        """Return the gain of the runs `other` over `base`; see `recipes.benchmark.gains.compare_runs`."""
        key = (network, *(tuple((run.folder, run.method) for run in runs) for runs in (base, other)))
        if key not in self._gains:
            predictions = {(run.result.folder, run.result.method): run.predictions for run in self._all_runs()}
            self._gains[key] = compare_runs(base, other, predictions, self.groups, network)
        return self._gains[key]

    @cached_property
    def _groups(self) -> dict[str, str]:
        """Recording or speaker by clip."""
        with open(self.out / CLIPS, newline="", encoding="utf-8") as file:
            return {row["id"]: row["group"] for row in csv.DictReader(file)}

    @property
    def groups(self) -> list[str]:
        """Recording or speaker of each clip, in the order of ``clips.csv``."""
        return list(self._groups.values())

    @cached_property
    def _places(self) -> dict[str, int]:
        """Position of each clip in ``clips.csv``."""
        return {name: i for i, name in enumerate(self._groups)}

    def _read_predictions(self, path: Path, head: str) -> RunPredictions:
        number = {name: i for i, name in enumerate(self.content["classes"])}
        try:
            with open(path, newline="", encoding="utf-8") as file:
                rows = csv.reader(file)
                columns = next(rows)
                networks = [name if head == "none" else f"{name}+{head}" for name in NETWORKS]
                at = [columns.index(name) for name in ("id", "class", *networks)]
                picked = [[row[i] for i in at] for row in rows]
            cells = [[self._places[name], *map(number.__getitem__, classes)] for name, *classes in picked]
        except (OSError, ValueError, KeyError, IndexError, StopIteration, csv.Error) as error:
            fail_damaged(path, "predictions on clips of the benchmark", f"something else ({error!r})")
        numbers = np.array(cells, dtype=np.int64).reshape(-1, 2 + len(NETWORKS)).T
        return RunPredictions(*(np.ascontiguousarray(column) for column in numbers))


def _read_record(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:  # no JSON, or no UTF-8
        check.fail(str(path), "the record of a benchmark", f"text that is none ({error})")


class ArchivedRecord(BenchmarkRecord):
    """The record of a benchmark as its ``predictions.npz`` has it: neither run folders nor data are read.

    Parameters
    ----------
    *folders : Path
        Folder of the file, or of several that have a part of the runs each.

    Raises
    ------
    ValueError
        There is no such file, it is damaged, or they are not of one benchmark.
    """

    def __init__(self, *folders: Path) -> None:
        super().__init__(folders[0], {})
        archives = [self._read(folder / ARCHIVE) for folder in folders]
        self.content, self._ids, self._archived_groups, self._runs = merge_archives(archives)
        self.unfinished, self.failed = self.content["unfinished"], self.content["failed"]

    @staticmethod
    def _read(path: Path) -> ArchivedRuns:
        found = read_archive(path)
        needed = ("dataset", "clips", "fingerprints", "rows", "labels", "commands", "versions", "unfinished", "failed")
        if missing := [name for name in needed if name not in found.content]:
            fail_damaged(path, "the record of a benchmark", f"one without {', '.join(missing)}", WAY)
        return found

    def copy_archive(self, out: Path) -> None:
        """Write the runs into a file in a folder."""
        write_archive(out / ARCHIVE, self.content, self._ids, self.groups, self._all_runs())

    def archived_runs(self, label: str, row: str) -> list[ArchivedRun]:
        """Return the runs of a row at a number of labels; see `BenchmarkRecord.archived_runs`."""
        found = [run for run in self._runs if (run.label, run.row) == (label, row)]
        return sorted(found, key=lambda run: (run.result.seed, natural(run.result.fold)))

    @property
    def groups(self) -> list[str]:
        """Recording or speaker of each clip that is measured on."""
        return self._archived_groups


@dataclass(frozen=True)
class TableLine:
    """A row at one number of labels, in percent and points."""

    text: str  # the row as the user wrote it
    title: str  # the row as tables show it
    method: str  # name of its method
    head: str  # the head that was fitted after the training, ``none`` for the network as trained
    label: str  # labels kept
    folder: str  # its folder, in that of the benchmark
    runs: list[RunResult] = field(repr=False)  # its finished runs
    last: dict[str, Summary]  # error after the last step, by network
    best: dict[str, Summary]  # smallest error of all rows of ``metrics.csv``, by network
    scores: dict[str, float | None]  # means of all `RunResult.scores`, by name; None where a run does not have it
    seconds: float  # mean wall time of a run
    cpu_seconds: float  # mean processor time of a run
    compute: float | None  # operations of a run, see `recipes.benchmark.equal_compute`; None where it is unknown
    gain: dict[str, Gain | None]  # over the baseline, by network; None for itself or without runs to pair
    paired: int  # number of runs whose fold and seed the baseline has too: the gain is of those
    baseline: bool  # whether it is the baseline
    published: PublishedError | None  # the published error to compare with

    def verdict(self, network: str) -> str:
        """Return the verdict on the gain of a network: see `Gain.verdict`; ``baseline`` for that."""
        gain = self.gain[network]
        return "baseline" if self.baseline else "" if gain is None else gain.verdict


@dataclass(frozen=True)
class BenchmarkTable:
    """The table of a benchmark."""

    record: BenchmarkRecord  # what it is of
    lines: list[TableLine]  # row by row at each number of labels
    baseline: str  # title of the row that the others are compared with; empty without
    headline: str  # network whose error comes first: ``raw`` or ``ema``

    @property
    def measured_on(self) -> str:
        """What errors are of: ``test`` or ``validation`` clips."""
        return self.lines[0].runs[0].measured_on if self.lines else "test"

    @property
    def tested(self) -> bool:
        """Whether there are errors on test clips besides those on validation clips."""
        return any(run.test for line in self.lines for run in line.runs)


def build_table(record: BenchmarkRecord, baseline: str | None = None, headline: str | None = None) -> BenchmarkTable:
    """Return a table with a line for each row and number of labels that has a finished run.

    Parameters
    ----------
    record : BenchmarkRecord
        The benchmark.
    baseline : str, optional
        Text of the row to compare with; by default the one that a command named, else the row of equal compute, else
        the first supervised one.
    headline : str, optional
        ``raw`` or ``ema``; by default the recorded one, else raw.

    Raises
    ------
    ValueError
        No such row.
    """
    content = record.content
    rows = content["rows"]
    if baseline is not None:
        check.choice("baseline", baseline, [row["text"] for row in rows.values()])
    baseline = baseline or content.get("baseline") or (content.get("equal") or {}).get("text")
    first = [folder for folder, row in rows.items() if row["method"] == "supervised"]
    base = next((f for f, row in rows.items() if row["text"] == baseline), first[0] if first else "")
    lines = []
    for label in record.labels:
        runs = {(f, head): found for f in rows for head, found in record.runs(label, f).items()}
        own = runs.get((base, "none"), [])
        gains: dict[tuple[str, str], dict[str, Gain | None]] = {key: {} for key in runs}
        for network in NETWORKS:
            others = {key: None if found is own else record.gain(own, found, network) for key, found in runs.items()}
            for key, gain in adjust_gains(others).items():
                gains[key][network] = gain
        bases = {(run.fold, run.seed) for run in own}
        lines += [_line(content, label, *key, found, gains[key], bases, found is own) for key, found in runs.items()]
    headline = check.choice("headline", headline or content.get("headline") or "raw", NETWORKS)
    return BenchmarkTable(record, lines, rows[base]["title"] if base else "", headline)


def _line(
    content: Mapping[str, Any],
    label: str,
    folder: str,
    head: str,
    runs: list[RunResult],
    gain: dict[str, Gain | None],
    bases: set[tuple[str, int]],
    is_base: bool,
) -> TableLine:
    row, labelled = content["rows"][folder], content["labels"][label]
    foreign = is_path(row["method"])  # somebody's code, which a report does not run; nothing is published of it
    plain = row["mixer"] is None or (not foreign and _mixes(row["method"], row["preset"]))
    scores: dict[str, float | None] = {}
    for name in dict.fromkeys(name for run in runs for name in run.scores):
        values = [value for run in runs if (value := run.scores.get(name)) is not None]
        scores[name] = statistics.fmean(values) if len(values) == len(runs) else None
    return TableLine(
        text=row["text"],
        title=row["title"] if head == "none" else f"{row['title']} (head={head})",
        method=row["method"],
        head=head,
        label=labelled,
        folder=f"{label}/{folder}",
        runs=runs,
        last={n: summarise(runs, f"error_last{end}") for n, end in NETWORKS.items()},
        best={n: summarise(runs, f"error_best{end}") for n, end in NETWORKS.items()},
        scores=scores,
        seconds=statistics.fmean(run.seconds for run in runs),
        cpu_seconds=statistics.fmean(run.cpu_seconds for run in runs),
        compute=row.get("compute"),
        gain=gain,
        paired=sum((run.fold, run.seed) in bases for run in runs),
        baseline=is_base,
        published=None
        if row.get("changed") or foreign or head != "none" or runs[0].measured_on != "test"
        else find_published_error(content["dataset"], len(content["classes"]), row["method"], labelled, plain=plain),
    )


def _mixes(method: str, preset: str) -> bool:
    """Return whether a method mixes by default."""
    return algorithms.mixer_for(None, algorithms.get(method), preset) is not None


def _order(label: str) -> tuple[bool, float]:
    """Sort numbers of clips before shares, each from few to many."""
    wanted = parse_amount(label)
    return ("fraction" in wanted, next(iter(wanted.values())))
