"""``audiomix-recipes bench mixers DATASET ROOT``: what each mixer, transform, loss and learned mixing gains."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from audiomix import check
from audiomix.terminal import Exit, Summary, show

from ..benchmark.mixing.page import FILES, for_terminal, write_tables
from ..benchmark.mixing.plan import SETTINGS as OF_ALL_ROWS
from ..benchmark.mixing.record import ARCHIVE, MixingRecord, merge_records, read_archive
from ..benchmark.mixing.rows import choose_rows
from ..benchmark.mixing.run import STEPS, MixingBench
from ..benchmark.mixing.table import MixingTable
from ..benchmark.rows import slug
from ..benchmark.summary import check_folders
from ..console import print_unreadable, say
from ..data.protocol import read_dataset
from ..training.run_folder import check_folder, lock_folder
from ._config_file import given_values
from ._config_options import SEVERAL

__all__ = ["SETTINGS", "bench_mixers", "holds_probabilities", "recompute"]

SETTINGS: dict[str, Any] = {"steps": STEPS, **OF_ALL_ROWS}


def bench_mixers(
    table: Literal["mixers"],
    dataset: str,
    root: Path | None = None,
    *,
    rows: Annotated[tuple[str, ...], SEVERAL, Parameter(show_default=lambda _: "all")] = (),
    labelled: Annotated[tuple[str, ...], SEVERAL] = ("100%", "10%"),
    fold: Annotated[tuple[str, ...], SEVERAL] = ("all",),
    seed: Annotated[tuple[int, ...], SEVERAL] = (0, 1, 2),
    plan: Annotated[bool, Parameter(negative=())] = False,
    jobs: int = 1,
    out: Path | None = None,
    store: Path | None = None,
    resume: Annotated[bool, Parameter(negative=())] = False,
    config: Any = None,
    command: str = "",
) -> Summary:
    """Train plain training and each mixer, transform, loss and learned mixing, and write the table of their gains.

    Each row is trained at the preset small, at one of two strengths that is chosen on inner folds: no clip of the
    held-out fold decides. The table shows error, calibration error and likelihood with their gains over plain training,
    intervals over folds, seeds and recordings, and the time of an epoch.

    Parameters
    ----------
    table : str
        mixers: this table. Without it bench compares semi-supervised methods; bench --help shows how.
    dataset : str
        A data set, such as esc10 or speech_commands; audiomix-recipes list shows all.
    root : Path
        Folder of the data.
    rows : tuple
        Rows to train, by name. Rows of one table may be trained in several folders, or on several machines: one of
        them with plain; bench --recompute A B puts them together.
    labelled : tuple
        Labels kept: shares of each class (10%) or numbers of clips of each class (3); a table each.
    fold : tuple
        Folds to hold out in turn: names, or all.
    seed : tuple
        Seeds to run each fold with.
    plan : bool
        Print the plan and what it costs here, and train nothing.
    jobs : int
        Runs side by side; each has its own --threads.
    out : Path
        Folder of the results; by default runs/mixers-DATASET.
    store : Path
        Folder of the decoded audio; by default stores beside OUT.
    resume : bool
        Go on where an interrupted command stopped; finished runs are kept, also those of rows not named now.
    config : Config
        Fields of the configuration of all rows.
    command : str
        The command line, for the record.
    """
    check.integer("jobs", jobs, 1)
    given = given_values(config)
    chosen = choose_rows(rows)
    found = read_dataset(dataset, root)
    folder = out or Path("runs") / f"mixers-{slug(dataset)}"
    stores = store or folder.parent / "stores"
    check_folders(folder, stores)
    bench = MixingBench(found, chosen, labelled, fold, seed, given, folder, stores, jobs)
    errors = {**dict(found.skipped), **bench.data.errors}
    print_unreadable(errors)
    if plan:
        lines = bench.describe(bench.costs(rounds=1))
        show("\n".join(lines))
        return Summary(Exit.DONE, {"plan": lines})
    with lock_folder(folder):
        content = bench.begin(command, resume=resume)
        for line in bench.describe(bench.known_costs(content)):
            say(line)
        start = time.monotonic()
        begun: dict[str, tuple[int, float]] = {}
        for name, done, count in bench.run(content):
            first = begun.setdefault(name, (done, time.monotonic()))
            left = (count - done) * (time.monotonic() - first[1]) / (done - first[0]) / 60 if done > first[0] else None
            more = "" if left is None or done == count else f", {left:.0f} min left of {name}"
            say(f"{name} {done} of {count}{more}")
        made = bench.write(content)
    show(for_terminal(made))
    say(f"results in {folder}: {FILES}, {ARCHIVE}; {(time.monotonic() - start) / 60:.0f} min")
    return Summary(Exit.DONE, {"out": folder, "rows": _facts([made]), "errors": errors})


def holds_probabilities(folder: Path) -> bool:
    """Return whether a folder holds a table of mixing."""
    return (folder / ARCHIVE).is_file()


def recompute(folders: Sequence[Path], out: Path | None, **others: str | None) -> Summary:
    """Show the tables of some folders, made from their probabilities alone; parts of one data set are put together.

    Parameters
    ----------
    folders : sequence of Path
        Each has ``probabilities.npz``.
    out : Path, optional
        Where the tables are written.
    **others : str or None
        Options of other tables, which must be None.

    Raises
    ------
    ValueError
        An option of other tables is given, a file is missing or damaged, or parts are not of one table.
    """
    for name, value in others.items():
        if value is not None:
            check.fail(name, "left out for a table of mixing, whose rows are compared with plain", value)
    records: dict[str, list[MixingRecord]] = {}
    for folder in folders:
        record = read_archive(folder)
        records.setdefault(record.content["dataset"], []).append(record)
    tables = [MixingTable(merge_records(some)) for some in records.values()]
    for table in tables:
        show(for_terminal(table))
    if out is not None:
        check_folder(out)
        out.mkdir(parents=True, exist_ok=True)
        write_tables(tables, out)
        if len(tables) == 1:
            tables[0].record.write(out / ARCHIVE)
        say(f"written in {out}: {FILES}{f', {ARCHIVE}' * (len(tables) == 1)}")
    return Summary(Exit.DONE, {"folder": list(folders), "out": out, "rows": _facts(tables)})


def _facts(tables: Sequence[MixingTable]) -> list[dict[str, Any]]:
    """Return what is known of each line, for JSON."""
    return [
        {"dataset": table.record.content["dataset"], "row": line.row, "labelled": line.label, "runs": line.runs,
         **line.values, "verdict": line.gains.error.verdict if line.gains and line.gains.error else ""}
        for table in tables
        for line in table.lines
    ]  # fmt: skip
