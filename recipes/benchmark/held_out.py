"""Data sets that no setting was chosen on, and the rule that the methods' defaults are held to there.

**No method of a table may be significantly worse than supervised training of as many steps on a held-out set, at its
default settings.** Where one is, a default changes, and it is chosen on other data: neither the set changes, nor is
anything tuned on it. So `audiomix-recipes verify` takes no setting of a method, and prints differences alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from audiomix.report.page import Page

from .. import algorithms
from .record import BenchmarkRecord, BenchmarkTable, TableLine, build_table

__all__ = [
    "RULE", "SEEDS", "SETS", "Comparison", "HeldOutSet", "broken_by", "compare", "dataset_of", "make_page",
    "terminal_table",
]  # fmt: skip

SEEDS = (100, 101, 102)  # no experiment of this project used them
RULE = "No method may be significantly worse than supervised training of as many steps, at its default settings."
_COLUMNS = ("equal steps", "equal compute")
_HEAD = ["set", "method", *(cell for column in _COLUMNS for cell in (f"gain at {column}", ""))]


@dataclass(frozen=True)
class HeldOutSet:
    """A data set that no setting was chosen on."""

    name: str  # name of the option that gives its folder, and of its folder among the results
    dataset: str  # as `bench` takes it
    labelled: str  # labels kept
    what: str  # what it is, for a person


SETS = (
    HeldOutSet("esc10", "esc10", "3", "ESC-10's own folds under the seeds 100 to 102"),
    HeldOutSet("digits", "manifest", "10%", "ten spoken digits, made by assets/make_speech.py --set held-out"),
    HeldOutSet(
        "speech_commands",
        "speech_commands:parts=validation+test",
        "10",
        "words by the speakers of Speech Commands' official validation and test parts alone",
    ),
    HeldOutSet("folder", "folder", "10%", "a folder of one's own, with a folder a class, or a manifest"),
)


@dataclass(frozen=True)
class Comparison:
    """A method beside supervised training on a held-out set; a difference in points is above 0 where it is better."""

    data: str  # name of the set
    method: str  # title of the row
    differences: dict[str, tuple[float, float, float] | None]  # mean, low and high end, by `_COLUMNS`; None if unknown
    verdicts: dict[str, str]  # by the same: gain, no gain shown, worse, or empty if unknown

    @property
    def worse(self) -> bool:
        """Whether it breaks the rule."""
        return self.verdicts["equal steps"] == "worse"


def compare(name: str, record: BenchmarkRecord) -> list[Comparison]:
    """Return the comparison of each semi-supervised row of a benchmark on the held-out set `name`."""
    texts = [row["text"] for row in record.content["rows"].values() if row["method"] == "supervised"]
    equal = (record.content.get("equal") or {}).get("text")
    tables = {"equal steps": build_table(record, baseline=next(text for text in texts if text != equal))}
    if equal is not None:
        tables["equal compute"] = build_table(record, baseline=equal)
    lines = [line for line in tables["equal steps"].lines if algorithms.get(line.method).needs_unlabelled]
    return [_compare(name, line, tables) for line in lines]


def _compare(name: str, line: TableLine, tables: dict[str, BenchmarkTable]) -> Comparison:
    differences: dict[str, tuple[float, float, float] | None] = dict.fromkeys(_COLUMNS)
    verdicts = dict.fromkeys(_COLUMNS, "")
    for column, table in tables.items():
        same = next(x for x in table.lines if (x.text, x.head, x.label) == (line.text, line.head, line.label))
        gain = same.gain[table.headline]
        interval = None if gain is None else gain.used
        if interval is not None:
            differences[column] = (interval.mean, interval.low, interval.high)
            verdicts[column] = same.verdict(table.headline)
    return Comparison(name, line.title, differences, verdicts)


def broken_by(found: Sequence[Comparison]) -> list[str]:
    """Return a line for each method that breaks the rule on a set."""
    return [f"{one.method} on {one.data}: {_shown(one, 'equal steps')}" for one in found if one.worse]


def make_page(found: Sequence[Comparison], commands: Sequence[str]) -> Page:
    """Return the page: differences and verdicts by set and method, and the commands that made them."""
    page = Page("Held-out data sets")
    page.text(RULE)
    broken = broken_by(found)
    page.text(f"Broken by {'; '.join(broken)}." if broken else "It holds.")
    page.table(_HEAD, list(_rows(found)))
    page.text(
        "Points of error by which a method is better than supervised training, with the 95 % interval: of as many "
        "steps, and of the compute and the mixing of the costliest method. No setting was chosen on these sets, and "
        "none is to be chosen by these numbers: where the rule is broken, a default is chosen anew on other data."
    )
    page.heading("How it was made")
    page.code("\n".join(commands))
    return page


def terminal_table(found: Sequence[Comparison]) -> Table:
    """Return the table for the terminal."""
    table = Table(*_HEAD, title="held-out data sets", caption=RULE, caption_justify="left")
    for one, row in zip(found, _rows(found)):
        table.add_row(*row, style="red" if one.worse else "")
    return table


def _rows(found: Sequence[Comparison]) -> Iterator[list[str]]:
    """Yield the cells of each line of the table."""
    for one in found:
        yield [one.data, one.method, *(x for column in _COLUMNS for x in (_shown(one, column), one.verdicts[column]))]


def _shown(one: Comparison, column: str) -> str:
    values = one.differences[column]
    return "" if values is None else f"{values[0]:+.2f} ({values[1]:+.2f} to {values[2]:+.2f})"


def dataset_of(chosen: HeldOutSet, root: Path) -> str:
    """Return the data set as `bench` takes it: a folder of one's own may be a manifest."""
    is_manifest = root.is_file() or (root / "metadata.jsonl").is_file()
    return "manifest" if chosen.name == "folder" and is_manifest else chosen.dataset
