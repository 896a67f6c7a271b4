"""The table of mixing as it is trained: what it will cost, the choice of the strengths, the runs, and its files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audiomix import check
from audiomix.datasets.dataset import Dataset

from ...data.loader import Data, check_folds
from ...data.shared import decode_stores
from ...training.choices import choose
from ...training.config import check_seed, parse_amount, preset
from .page import write_tables
from .plan import (
    CHOICE_SEED,
    SETTINGS,
    Choices,
    Holdout,
    Measured,
    MixingRun,
    choose_strengths,
    inner_runs,
    list_holdouts,
    table_runs,
)
from .record import (
    ARCHIVE,
    MixingRecord,
    RunProbabilities,
    add_costs,
    check_same,
    new_content,
    read_archive,
    read_content,
    write_content,
)
from .rows import CUT, GRID, MixingRow
from .table import MixingTable
from .train import Cost, Trainer, measure_choice, read_predicted, time_rows

__all__ = ["STEPS", "MixingBench", "settings_for"]

STEPS = 200  # of a run, where none are given: half of what small takes on ESC-10
_CORES = 2  # of the machine that the plan is made for


def settings_for(data: Data, given: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of `Config` of all rows: those that the user gave, else those of the table.

    The hop is twice what the preset small takes for the data: half as many frames halve what a step costs.
    """
    settings = {"steps": STEPS, **SETTINGS, **given}
    if "hop" not in settings:
        hop = choose(preset("small", **settings), data.facts)[0].hop
        settings["hop"] = f"{2 * float(str(hop).removesuffix('ms')):g}ms"
    return settings


@dataclass
class MixingBench:
    """The table of one data set.

    Parameters
    ----------
    dataset : Dataset
        The clips.
    rows : sequence of MixingRow
        Its rows.
    labels, folds : sequence of str
        Labels kept; folds that are held out.
    seeds : sequence of int
        Seeds to run each fold with.
    given : dict
        Fields of `Config` of all rows.
    out, stores : Path
        Folder of the results, and of the decoded audio.
    jobs : int
        Runs side by side.

    Raises
    ------
    ValueError
        A fold, a seed or a number of labels that there cannot be.
    """

    dataset: Dataset
    rows: Sequence[MixingRow]
    labels: Sequence[str]
    folds: Sequence[str]
    seeds: Sequence[int]
    given: dict[str, Any]
    out: Path
    stores: Path
    jobs: int = 1
    settings: dict[str, Any] = field(init=False)
    holdouts: list[Holdout] = field(init=False)
    inner: list[MixingRun] = field(init=False)
    data: Data = field(init=False)

    def __post_init__(self) -> None:
        self.folds = check_folds(self.dataset, () if tuple(self.folds) == ("all",) else self.folds)
        self.labels, self.seeds = list(dict.fromkeys(self.labels)), list(dict.fromkeys(map(check_seed, self.seeds)))
        for name, values in {"rows": self.rows, "labelled": self.labels, "seed": self.seeds}.items():
            if not values:
                check.fail(name, "at least one", "none")
        for label in self.labels:
            parse_amount(label)
        if CHOICE_SEED in self.seeds:
            check.fail("seed", f"others than {CHOICE_SEED}, with which strengths are chosen", CHOICE_SEED)
        (self.data,) = decode_stores(self.dataset, [preset("small", **SETTINGS | self.given)], self.stores).values()
        self.settings = settings_for(self.data, self.given)
        self.holdouts = list_holdouts(self.data.dataset, self.folds)
        self.inner = inner_runs(self.rows, self.labels, self.holdouts)

    @property
    def table_count(self) -> int:
        """Number of runs of the table."""
        return len(self.rows) * len(self.labels) * len(self.folds) * len(self.seeds)

    def trainer(self) -> Trainer:
        """Return what trains in this process."""
        return Trainer(self.dataset, self.stores, self.settings, self.out)

    def costs(self, *, rounds: int = 2) -> dict[str, Cost]:
        """Return what a step of each row costs here and now; see `time_rows`."""
        return time_rows(self.trainer(), self.rows, self.labels[0], self.folds[0], rounds=rounds)

    def known_costs(self, content: dict[str, Any]) -> dict[str, Cost]:
        """Return what a step of each row costs: measured where the record does not have it, and kept there."""
        if any(row.name not in content["costs"] for row in self.rows):
            add_costs(content, self.costs())
            write_content(self.out, content)
        return {row.name: Cost(*content["costs"][row.name]) for row in self.rows}

    def describe(self, costs: dict[str, Cost]) -> list[str]:
        """Return the plan in lines: runs, steps, what they cost by `costs`, and what was cut."""
        steps, per_run = self.settings["steps"], self.settings["steps"] * sum(cost.row for cost in costs.values())
        choice, table = (per_run * count / len(self.rows) for count in (len(self.inner), self.table_count))
        whole = choice + table
        plain = sum(cost.plain for cost in costs.values()) / len(costs)
        ratio = sum(cost.ratio for cost in costs.values()) / len(costs)
        shown = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        return [
            f"rows      {len(self.rows)}: {', '.join(row.name for row in self.rows)}",
            f"strengths {GRID} a row, chosen with seed {CHOICE_SEED} by inner trainings without "
            f"{', '.join(h.name for h in self.holdouts)}: {len(self.inner)} runs",
            f"table     {len(self.folds)} folds x {len(self.seeds)} seeds x {len(self.labels)} numbers of labels "
            f"({', '.join(self.labels)}): {self.table_count} runs",
            f"a run     {steps} steps; {shown}",
            f"a step    of plain training {plain:.4f} CPU seconds here, of a row {ratio:.2f} times that on average",
            f"in all    {whole:,.0f} CPU seconds besides measuring: choice {choice:,.0f}, table {table:,.0f}",
            f"          on {_CORES} cores with --jobs {_CORES} {whole / _CORES / 3600:.1f} h",
            *(f"cut       {name}: {why}" for name, why in CUT.items()),
        ]

    def begin(self, command: str, *, resume: bool) -> dict[str, Any]:
        """Return the record of the folder, with this command; a new one if there is none.

        Raises
        ------
        FileExistsError
            The folder holds results and `resume` is false.
        ValueError
            They are of other data, settings, versions or grids.
        """
        data = self.data
        content = new_content(
            data.dataset.name, data.dataset.class_names, data.fingerprint, _plain(self.settings), self.rows
        )
        before = read_content(self.out)
        if before is not None:
            if not resume:
                raise FileExistsError(f"{self.out} holds results already: go on with --resume, or choose another --out")
            check_same(before, content, "the results to resume", "choose another --out")
            for name in ("rows", "costs", "choices"):
                content[name] = {**before[name], **content[name]}
            content["commands"] = before["commands"]
        content["commands"] = list(dict.fromkeys([*content["commands"], command]))
        write_content(self.out, content)
        return content

    def run(self, content: dict[str, Any]) -> Iterator[tuple[str, int, int]]:
        """Train what is not finished, and write the tables behind every seed and at the end.

        Yields
        ------
        (str, int, int)
            What is trained (``choice`` or ``table``), how many runs of it are done, and of how many.
        """
        yield from self._train("choice", self.inner)
        choices = self._choose(content)
        runs = table_runs(self.rows, self.labels, self.folds, self.seeds, choices)
        done = 0
        for seed in self.seeds:
            own = [run for run in runs if run.seed == seed]
            for name, count, _ in self._train("table", own):
                yield name, done + count, len(runs)
            done += len(own)
            self.write(content)

    def _train(self, name: str, runs: Sequence[MixingRun]) -> Iterator[tuple[str, int, int]]:
        left = [run for run in runs if read_predicted(self.out / run.file) is None]
        done = len(runs) - len(left)
        yield name, done, len(runs)
        for i, _ in enumerate(Trainer.train_all(self.dataset, self.stores, self.settings, self.out, left, self.jobs)):
            yield name, done + i + 1, len(runs)

    def _choose(self, content: dict[str, Any]) -> Choices:
        """Return the chosen strengths, and keep in the record what they were chosen by."""
        measured: dict[tuple[str, str, str, int], list[Measured]] = {}
        for run in self.inner:
            predicted = read_predicted(self.out / run.file)
            assert predicted is not None
            for fold, found in measure_choice(run, predicted, self.data.dataset).items():
                measured.setdefault((run.row.name, run.label, fold, run.strength), []).append(found)
        kept = {key: found for key, found in measured.items() if key[2] in self.folds}
        for (row, label, fold, strength), several in kept.items():
            own = content["choices"].setdefault(f"{row}/{label}/{fold}", [None] * GRID)
            own[strength] = [[one.clips, one.wrong, round(one.nll, 4)] for one in several]
        write_content(self.out, content)
        return choose_strengths(kept)

    def write(self, content: dict[str, Any]) -> MixingTable:
        """Write ``probabilities.npz`` and, made of it, the tables of what is finished."""
        self.record(content).write(self.out / ARCHIVE)
        table = MixingTable(read_archive(self.out))
        write_tables([table], self.out)
        return table

    def record(self, content: dict[str, Any]) -> MixingRecord:
        """Return the record with the finished runs of the folder."""
        runs = []
        for path in sorted(self.out.glob("runs/*/*/table-*.npz")):
            found = read_predicted(path)
            assert found is not None
            facts = found.facts
            place = (facts["row"], facts["strength"], facts["label"], facts["fold"], facts["seed"])
            runs.append(RunProbabilities(*place, facts["cpu_seconds"], found.clips, found.codes))
        data = self.data.dataset
        return MixingRecord(content, [item.id for item in data.items], data.groups, data.labels, runs)


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings as JSON gives them back."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}
