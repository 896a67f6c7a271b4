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

import torch

import audiomix
from audiomix import check
from audiomix.datasets.dataset import natural
from audiomix.draw import generator_for
from audiomix.registry import is_path

from .. import algorithms
from ..data.loader import Data
from ..data.protocol import describe_protocol
from ..training.config import parse_amount
from ..training.run_folder import RunResult, csv_text, read_run, write_json, write_text
from .bootstrap import Interval, paired_bootstrap
from .published import PublishedError, find_published
from .rows import RowSpec, slug
from .summary import Summary, summarise

__all__ = ["NETWORKS", "RECORD", "BenchmarkRecord", "BenchmarkTable", "TableLine", "build_table"]

RECORD = "bench.json"
CLIPS = "clips.csv"
NETWORKS = {"raw": "", "ema": "_ema"}  # with the suffix of their fields of `RunResult`


class BenchmarkRecord:
    """The record of a benchmark in its folder `out`: its rows, numbers of labels and commands, and the runs below.

    A record that cannot be read is a ValueError.
    """

    def __init__(self, out: Path) -> None:
        self.out = Path(out)
        path = self.out / RECORD
        try:
            self.content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        except json.JSONDecodeError as error:
            check.fail(str(path), "the record of a benchmark", f"text that is none ({error})")
        self._errors: dict[str, dict[str, tuple[bool, bool]]] = {}
        self._intervals: dict[tuple, Interval | None] = {}
        self._finished: dict[Path, RunResult] = {}

    def add_command(
        self,
        rows: Sequence[RowSpec],
        labels: Sequence[str],
        preset: str,
        stores: Mapping[tuple[int, float], Data],
        command: str,
        baseline: str | None = None,
        headline: str | None = None,
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

        Raises
        ------
        ValueError
            The earlier commands were on other data, or with other numbers of clips a class or other labels.
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
        named = {row.folder: {"text": row.text, "title": row.title, "method": row.method, "mixer": row.mixer,
                              "preset": preset, "changed": row.changed} for row in rows}  # fmt: skip
        self.content = {
            "dataset": data.dataset.name,
            "classes": list(data.dataset.class_names),
            "clips": len(data.dataset),
            "protocol": protocol,
            "fingerprints": before | prints,
            "rows": self.content.get("rows", {}) | named,
            "labels": self.content.get("labels", {}) | {slug(label): label for label in labels},
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

    def runs(self, label: str, row: str) -> list[RunResult]:
        """Return the finished runs of a row at a number of labels; both are names of folders."""
        found = []
        for folder in (self.out / label / row).glob("fold*-seed*"):
            if folder not in self._finished and (done := read_run(folder)) is not None:
                self._finished[folder] = done
            if folder in self._finished:
                found.append(self._finished[folder])
        return sorted(found, key=lambda run: (run.seed, natural(run.fold)))

    def gain(self, base: Sequence[RunResult], other: Sequence[RunResult], network: str) -> Interval | None:
        """Return by how many points the error of `other` is lower than that of `base`, on the folds and seeds of both.

        `network` is ``raw`` or ``ema``. The bootstrap draws recordings, always with the same seed. None if no fold and
        seed is common, or all clips are of one recording.
        """
        bases = {(run.fold, run.seed): run for run in base}
        pairs = [(bases[run.fold, run.seed], run) for run in other if (run.fold, run.seed) in bases]
        key = (network, *((a.folder, b.folder) for a, b in pairs))
        if key not in self._intervals:
            self._intervals[key] = self._interval(pairs, list(NETWORKS).index(network))
        return self._intervals[key]

    def _interval(self, pairs: Sequence[tuple[RunResult, RunResult]], network: int) -> Interval | None:
        a, b, names = [], [], []
        for base, other in pairs:
            own, theirs = self._errors_of(base), self._errors_of(other)
            if own.keys() != theirs.keys():
                check.fail(f"the held-out clips of {other.folder}", f"those of {base.folder}", "others")
            for name in own:
                a.append(own[name][network])
                b.append(theirs[name][network])
                names.append(self._groups[name])
        if len(set(names)) < 2:
            return None
        return paired_bootstrap(torch.tensor(a), torch.tensor(b), names, generator=generator_for(0, "bootstrap"))

    @cached_property
    def _groups(self) -> dict[str, str]:
        """Recording or speaker by clip."""
        with open(self.out / CLIPS, newline="", encoding="utf-8") as file:
            return {row["id"]: row["group"] for row in csv.DictReader(file)}

    def _errors_of(self, run: RunResult) -> dict[str, tuple[bool, bool]]:
        """Return by held-out clip whether the network and its average are wrong."""
        if run.folder not in self._errors:
            with open(Path(run.folder) / "predictions.csv", newline="", encoding="utf-8") as file:
                rows = csv.reader(file)
                head = next(rows)
                at = [head.index(name) for name in ("id", "class", *NETWORKS)]
                picked = ([row[i] for i in at] for row in rows)
                self._errors[run.folder] = {name: (raw != true, ema != true) for name, true, raw, ema in picked}
        return self._errors[run.folder]


@dataclass(frozen=True)
class TableLine:
    """A row at one number of labels, in percent and points."""

    text: str  # the row as the user wrote it
    title: str  # the row as tables show it
    method: str  # name of its method
    label: str  # labels kept
    runs: list[RunResult] = field(repr=False)  # its finished runs
    last: dict[str, Summary]  # error after the last step, by network
    best: dict[str, Summary]  # smallest error of all rows of ``metrics.csv``, by network
    ece: dict[str, float | None]  # expected calibration error, by network; None where it is unknown
    seconds: float  # mean wall time of a run
    cpu_seconds: float  # mean processor time of a run
    gain: dict[str, Interval | None]  # over the baseline, by network; None for itself or without runs to pair
    paired: int  # number of runs whose fold and seed the baseline has too: the gain is of those
    baseline: bool  # whether it is the baseline
    published: PublishedError | None  # the published error to compare with

    def verdict(self, network: str) -> str:
        """Return whether the interval of a network shows a gain: ``gain``, ``worse``, ``no gain shown`` or
        ``baseline``.
        """
        gain = self.gain[network]
        if self.baseline or gain is None:
            return "baseline" if self.baseline else ""
        return "gain" if gain.low > 0 else "worse" if gain.high < 0 else "no gain shown"


@dataclass(frozen=True)
class BenchmarkTable:
    """The table of a benchmark."""

    record: BenchmarkRecord  # what it is of
    lines: list[TableLine]  # row by row at each number of labels
    baseline: str  # title of the row that the others are compared with; empty without
    headline: str  # network whose error comes first: ``raw`` or ``ema``


def build_table(record: BenchmarkRecord, baseline: str | None = None, headline: str | None = None) -> BenchmarkTable:
    """Return a table with a line for each row and number of labels that has a finished run.

    Parameters
    ----------
    record : BenchmarkRecord
        The benchmark.
    baseline : str, optional
        Text of the row to compare with; by default the recorded one, else the first supervised one.
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
    baseline = baseline or content.get("baseline")
    first = [folder for folder, row in rows.items() if row["method"] == "supervised"]
    base = next((f for f, row in rows.items() if row["text"] == baseline), first[0] if first else "")
    lines = []
    for label in record.labels:
        bases = record.runs(label, base) if base else []
        lines += [_line(record, label, f, runs, bases, f == base) for f in rows if (runs := record.runs(label, f))]
    headline = check.choice("headline", headline or content.get("headline") or "raw", NETWORKS)
    return BenchmarkTable(record, lines, rows[base]["title"] if base else "", headline)


def _line(
    record: BenchmarkRecord, label: str, folder: str, runs: list[RunResult], bases: list[RunResult], is_base: bool
) -> TableLine:
    content = record.content
    row, labelled = content["rows"][folder], content["labels"][label]
    foreign = is_path(row["method"])  # somebody's code, which a report does not run; nothing is published of it
    plain = row["mixer"] is None or (not foreign and _mixes(row["method"], row["preset"]))
    calibration = {n: [run.measures[n]["ece"] for run in runs if n in run.measures] for n in NETWORKS}
    return TableLine(
        text=row["text"],
        title=row["title"],
        method=row["method"],
        label=labelled,
        runs=runs,
        last={n: summarise(runs, f"error_last{end}") for n, end in NETWORKS.items()},
        best={n: summarise(runs, f"error_best{end}") for n, end in NETWORKS.items()},
        ece={n: statistics.fmean(found) if found else None for n, found in calibration.items()},
        seconds=statistics.fmean(run.seconds for run in runs),
        cpu_seconds=statistics.fmean(run.cpu_seconds for run in runs),
        gain={n: None if is_base else record.gain(bases, runs, n) for n in NETWORKS},
        paired=len({(run.fold, run.seed) for run in runs} & {(run.fold, run.seed) for run in bases}),
        baseline=is_base,
        published=None
        if row.get("changed") or foreign
        else find_published(content["dataset"], len(content["classes"]), row["method"], labelled, plain=plain),
    )


def _mixes(method: str, preset: str) -> bool:
    """Return whether a method mixes by default."""
    return algorithms.mixer_for(None, algorithms.get(method), preset) is not None


def _order(label: str) -> tuple[bool, float]:
    """Sort numbers of clips before shares, each from few to many."""
    wanted = parse_amount(label)
    return ("fraction" in wanted, next(iter(wanted.values())))
