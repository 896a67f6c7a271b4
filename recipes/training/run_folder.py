"""What a run leaves behind: ``config.json``, ``split.json``, ``metrics.csv``, ``predictions.csv``, ``result.json``.

A run with validation clips measures on those. Only if it is asked to, it measures on the test clips too, and writes
``test_predictions.csv``.

Every file is written whole or not at all. A file that is damaged when it is read back is named, with what to do about
it. Where results go is checked before any work, and a folder can be locked against other commands.
"""

import csv
import io as text_io
import json
import os
import platform
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import torch
from filelock import FileLock, Timeout
from torch import Tensor

import audiomix
from audiomix import check, identity
from audiomix.audio import io
from audiomix.datasets.dataset import UNKNOWN, Dataset

__all__ = [
    "PREDICTIONS",
    "RunResult",
    "Split",
    "begin",
    "check_file",
    "check_folder",
    "csv_text",
    "differences",
    "fail_damaged",
    "holds_run",
    "lock_folder",
    "read_json",
    "read_result",
    "read_run",
    "read_split",
    "write_csv",
    "write_json",
    "write_metrics",
    "write_predictions",
    "write_result",
    "write_text",
]

PREDICTIONS = "predictions.csv"
TRAIN_AGAIN = "remove the run's folder, or train again with another --out"
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class RunResult:
    """The result of one training. Errors are in percent of the clips of the part `measured_on`."""

    method: str  # as reported: with the options that change what it is called
    fold: str  # the fold that was held out
    seed: int  # the seed of labels, first weights, batches and views
    error_last: float  # after the last step; the headline
    error_best: float  # the smallest of all rows: chosen on the clips it is measured on, so optimistic
    error_last_ema: float  # the same two errors of the network's average
    error_best_ema: float
    seconds: float  # wall time of training and evaluations, without decoding and spectrograms
    cpu_seconds: float  # processor time of the same, of all processes
    folder: str  # where the run lies
    history: list[dict[str, Any]] = field(default_factory=list, repr=False)  # the rows of metrics.csv
    measured_on: str = "test"  # ``validation`` in a run with validation clips, else ``test``: the fold that is held out
    # of ``raw`` and ``ema`` after the last step: ``ece``, ``macro_f1``, ``balanced_accuracy`` and ``class_errors`` in
    # percent and ``confusion`` (rows are true classes), in the order of the data set's classes. See
    # `recipes.semi_supervised.evaluate`. With another head (``raw+refit``) besides: ``error`` in percent, ``seconds``
    # and ``cpu_seconds`` of fitting it
    measures: dict[str, Any] = field(default_factory=dict, repr=False)
    # of a run with validation clips that measures on the test clips too, else empty: ``error_last`` and
    # ``error_last_ema``; ``error_at_best`` and ``error_at_best_ema`` in the first row whose validation error is the
    # smallest; and ``measures`` as above
    test: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def scores(self) -> dict[str, float | None]:
        """Percentages by column of results.csv: of the network as trained and, ``_ema``, of its average.

        Columns of the test clips begin with ``test_`` where the run measures on validation clips first.
        """
        found: dict[str, float | None] = {
            "error_last": self.error_last,
            "error_last_ema": self.error_last_ema,
            "error_best": self.error_best,
            "error_best_ema": self.error_best_ema,
        }
        found |= _scores(self.measures)
        errors = {name: value for name, value in self.test.items() if name != "measures"}
        test = errors | _scores(self.test["measures"]) if self.test else {}
        return found | {f"test_{name}": value for name, value in test.items()}

    def _repr_html_(self) -> str:
        from audiomix.report.charts import line_chart  # notebooks alone need pages
        from audiomix.report.notebook import frame
        from audiomix.report.page import Page

        page = Page(f"{self.method}, fold {self.fold}, seed {self.seed}")
        numbers = {**self.scores, "seconds": self.seconds}
        facts = [(name.replace("_", " "), f"{value:.2f}") for name, value in numbers.items() if value is not None]
        page.add("facts", pairs=facts)
        found = {name: [(row["step"], row[name]) for row in self.history if row.get(name) is not None]
                 for name in ("error", "error_ema")}  # fmt: skip
        if any(found.values()):
            page.add("chart", chart=line_chart(f"Error on the {self.measured_on} clips, in percent", found))
        return frame(page)

    @property
    def heads(self) -> list[str]:
        """Kinds of the heads that were fitted after the training."""
        return [name.partition("+")[2] for name in self.measures if name.startswith("raw+")]

    def with_head(self, head: str) -> "RunResult":
        """Return the result of the network with a head that was fitted after the training, as one of its own.

        It has no rows of metrics.csv: its best errors are the last. Its times are the training's and its own.

        Parameters
        ----------
        head : str
            One of `heads`, or ``none`` for the result as it is.
        """
        if head == "none":
            return self
        own = {which: self.measures[f"{which}+{head}"] for which in ("raw", "ema")}
        times = {name: sum(x[name] for x in own.values()) for name in ("seconds", "cpu_seconds")}
        test: dict[str, Any] = {}
        if self.test:
            test["measures"] = {which: self.test["measures"][f"{which}+{head}"] for which in own}
            for which, end in {"raw": "", "ema": "_ema"}.items():
                error = test["measures"][which]["error"]
                test |= {f"error_last{end}": error, f"error_at_best{end}": error}
        return replace(
            self,
            method=f"{self.method} (head={head})",
            error_last=own["raw"]["error"],
            error_best=own["raw"]["error"],
            error_last_ema=own["ema"]["error"],
            error_best_ema=own["ema"]["error"],
            seconds=self.seconds + times["seconds"],
            cpu_seconds=self.cpu_seconds + times["cpu_seconds"],
            history=[],
            measures=own,
            test=test,
        )


def _scores(measures: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the measures that are one number by column; None for runs of earlier versions, which had none."""
    ends = {"raw": "", "ema": "_ema"}
    names = ("macro_f1", "balanced_accuracy", "ece")
    return {f"{name}{end}": measures.get(n, {}).get(name) for name in names for n, end in ends.items()}


def _no_clips() -> Tensor:
    return torch.zeros(0, dtype=torch.int64)


@dataclass(frozen=True, eq=False)
class Split:
    """Which clips of a data set are for what: ascending indices, each Tensor int64."""

    labelled: Tensor  # (L,): clips whose labels the method sees
    unlabelled: Tensor  # (U,): clips that are trained on without labels; labelled ones may be among them
    test: Tensor  # (T,): clips that are held out
    valid: Tensor = field(default_factory=_no_clips)  # (V,): clips for validation; none by default
    # (D,): training clips that are in no part, so that some classes are rarer than others; none by default
    left_out: Tensor = field(default_factory=_no_clips)
    # (L,): the class that each of `labelled` is said to have, where some are wrong on purpose; None for the true ones
    noisy_labels: Tensor | None = None

    @property
    def train(self) -> Tensor:
        """All clips that are trained on, each once: labelled ones may be among those without labels too."""
        return torch.cat([self.labelled[~torch.isin(self.labelled, self.unlabelled)], self.unlabelled])

    @property
    def digest(self) -> str:
        """Hash of the indices, and of the labels where some are wrong."""
        return identity.digest([{name: part.tolist() for name, part in self._known().items()}], size=8)

    def training_labels(self, labels: Tensor) -> Tensor:
        """Return the class of each clip that training may know, int64 (N,): -1 for all that are not labelled.

        Parameters
        ----------
        labels : Tensor, shape (N,), int64
            The true classes of all clips.
        """
        at = self.labelled.to(labels.device)
        given = labels[at] if self.noisy_labels is None else self.noisy_labels.to(labels.device)
        return torch.full_like(labels, UNKNOWN).index_copy(0, at, given)

    def ids(self, dataset: Dataset) -> dict[str, list[str]]:
        """Return the ids of the clips of each part, of the data set that the indices are of, and any noisy labels."""
        named = {name: [dataset.items[i].id for i in part.tolist()] for name, part in self._known().items()}
        if self.noisy_labels is not None:
            named["noisy_labels"] = [dataset.class_names[c] for c in self.noisy_labels.tolist()]
        return named

    def _known(self) -> dict[str, Tensor]:
        """Return the parts by name; of the last two those that there are."""
        rare = ("left_out", "noisy_labels")
        return {k: v for k, v in vars(self).items() if k not in rare or (v is not None and len(v))}


def holds_run(folder: Path, settings: dict[str, Any], *, resume: bool) -> bool:
    """Return whether `folder` holds the run with these settings, which is to go on; nothing is written.

    `settings` are what makes the run the one it is, as `begin` saves them.

    Raises
    ------
    FileExistsError
        The folder holds a run and `resume` is off.
    ValueError
        The run in the folder has other settings; they are named. Its ``config.json`` is damaged.
    """
    if not (folder / "config.json").is_file():
        return False
    if not resume:
        raise FileExistsError(f"{folder} holds a run already: go on with --resume, or choose another --out")
    if changed := differences(folder, settings):
        check.fail("the run to resume", f"the one in {folder}", "; ".join(changed), "choose another --out")
    return True


def differences(folder: Path, settings: dict[str, Any], but: Sequence[str] = ()) -> list[str]:
    """Return in what `settings` differ from those of the run in `folder`, a sentence each; those in `but` may differ.

    A damaged ``config.json`` is a ValueError.
    """
    before = read_json(path := folder / "config.json", "settings")["settings"]
    if not isinstance(before, dict):
        fail_damaged(path, "JSON with settings by name", f"settings {before!r}")
    return identity.differences(before, settings, ignore=but, hints={"data": " (other clips, classes or folds)"})


def begin(
    folder: Path, settings: dict[str, Any], split: Mapping[str, list[str]], facts: dict[str, Any] | None = None
) -> None:
    """Make a run's folder and write ``split.json`` and ``config.json``; to be called after all checks.

    Parameters
    ----------
    folder : Path
        The run's folder.
    settings : dict
        What identifies the run: only a run with the same settings can be resumed.
    split : dict of str to list of str
        Ids of the clips of each part.
    facts : dict, optional
        Facts about the run that may differ when it is resumed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    versions = {"audiomix": audiomix.__version__, "torch": torch.__version__, "python": platform.python_version()}
    write_json(folder / "split.json", dict(split))
    # its presence says that there is a run
    known = {} if facts is None else {"facts": facts}
    write_json(folder / "config.json", {"settings": settings, **known, "versions": versions})


def read_split(folder: Path, dataset: Dataset) -> Split | None:
    """Return the split saved in `folder`, or None: an earlier version may have been stopped before it was written.

    A clip of it that is no longer in `dataset`, and a damaged file, are ValueErrors.
    """
    path = folder / "split.json"
    if not path.is_file():
        return None
    saved = read_json(path, "labelled", "unlabelled", "test")
    known = [part.name for part in fields(Split)]
    if wrong := [k for k, ids in saved.items() if k not in known or not isinstance(ids, list)]:
        fail_damaged(path, f"lists of clips: {', '.join(known)}", f"{wrong[0]} {saved[wrong[0]]!r}")
    names = saved.pop("noisy_labels", None)
    where = {item.id: i for i, item in enumerate(dataset.items)}
    if missing := [i for ids in saved.values() for i in ids if i not in where]:
        check.fail("the data set", f"the one of {path}", f"one without {len(missing)} of its clips, e.g. {missing[0]}")
    parts = {k: torch.tensor([where[i] for i in ids], dtype=torch.int64) for k, ids in saved.items()}
    if names is None:
        return Split(**parts)
    if len(names) != len(parts["labelled"]) or not {*names} <= {*dataset.class_names}:
        fail_damaged(path, "the class of each labelled clip", f"noisy_labels {names!r:.80}")
    return Split(**parts, noisy_labels=torch.tensor([dataset.class_names.index(name) for name in names]))


def write_metrics(folder: Path, history: list[dict[str, Any]]) -> None:
    """Write ``metrics.csv``, an unknown value as an empty cell; the last row, which was evaluated, has all columns."""
    write_csv(folder / "metrics.csv", history, columns=list(history[-1]))


def write_predictions(
    path: Path, dataset: Dataset, indices: Tensor, predicted: dict[str, Tensor], probabilities: dict[str, Tensor]
) -> None:
    """Write a table of predictions: the class of each clip, the class each network predicts, and how surely.

    `predicted` (N,) and `probabilities` (N, K), of the clips at `indices` of the data set, are by the networks' names:
    a column ``NAME`` and the columns ``NAME_CLASS``, to six digits.
    """
    names, rows = dataset.class_names, []
    classes, shares = ({name: x.tolist() for name, x in found.items()} for found in (predicted, probabilities))
    for row, i in enumerate(indices.tolist()):
        item = dataset.items[i]
        cells: dict[str, Any] = {"id": item.id, "class": names[dataset.labels[i]]}
        cells |= {name: names[values[row]] for name, values in classes.items()}
        for name, values in shares.items():
            cells |= {f"{name}_{c}": f"{p:.6g}" for c, p in zip(names, values[row])}
        rows.append(cells)
    write_csv(path, rows)


_ELSEWHERE = ("history", "folder")  # fields of a result that result.json leaves out


def write_result(folder: Path, result: Any) -> None:
    """Write ``result.json``, for `read_result`: a dataclass such as `RunResult`. With it the run is finished."""
    write_json(folder / "result.json", {k: v for k, v in asdict(result).items() if k not in _ELSEWHERE})


def read_run(folder: Path) -> RunResult | None:
    """Return the result of a finished run of a method in `folder`, or None; see `read_result`."""
    return read_result(folder, RunResult)


def read_result(folder: Path, kind: type[_Result]) -> _Result | None:
    """Return the result of a finished run, or None where it is not finished.

    `kind` is the dataclass that was given to `write_result`. A field ``history`` is read from ``metrics.csv``, a field
    ``folder`` is `folder`.

    Raises
    ------
    ValueError
        ``result.json`` or ``metrics.csv`` is damaged, or another version made it.
    """
    if not (path := folder / "result.json").is_file():
        return None
    numbers = read_json(path)
    every = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    known = {name: f for name, f in every.items() if name not in _ELSEWHERE}
    if missing := [
        name for name, f in known.items() if f.default is f.default_factory is MISSING and name not in numbers
    ]:
        slip = f"an earlier version made it, or it is damaged: {TRAIN_AGAIN}"
        check.fail(str(path), "the result of a run", f"one without {', '.join(missing)}", slip)
    if unknown := [name for name in numbers if name not in known]:
        slip = f"another version made it: {TRAIN_AGAIN}"
        check.fail(str(path), "the result of a run of this version", f"one with {', '.join(unknown)}", slip)
    if "folder" in every:
        numbers["folder"] = str(folder)
    if "history" in every:
        numbers["history"] = _read_metrics(folder / "metrics.csv")
    return kind(**numbers)


def _read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the rows as numbers; a cut file, whose last number may look whole, ends in no line break."""
    if not path.is_file():
        fail_damaged(path, "there, beside result.json", "no such file")
    text = path.read_bytes()
    if not text.endswith(b"\n"):
        fail_damaged(path, "whole", "one whose last line is cut")
    try:
        header, *rows = csv.reader(text.decode().splitlines())
        history = [{k: float(v) if v else None for k, v in zip(header, row, strict=True)} for row in rows]
    except (ValueError, csv.Error) as error:
        fail_damaged(path, "rows of numbers, a cell a column", f"something else ({error})")
    if not history:
        fail_damaged(path, "rows of numbers", "none")
    return history


def write_json(path: Path, content: Any) -> None:
    """Write what JSON can hold; the name appears only when the file is whole."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8; the name appears only when the file is whole."""
    with io.atomic_file(path) as file:
        file.write(text.encode())


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Return rows of cells, the first of which is the head, as the text of a CSV file.

    >>> csv_text([["fold", "error"], [1, 12.5]]).splitlines()
    ['fold,error', '1,12.5']
    """
    text = text_io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def write_csv(path: Path, rows: list[dict[str, Any]], columns: Sequence[str] | None = None) -> None:
    """Write rows of cells by column, a missing one empty; the columns are by default those of the first row."""
    columns = list(columns or rows[0])
    write_text(path, csv_text([columns, *([row.get(name, "") for name in columns] for row in rows)]))


def read_json(path: Path, *keys: str, way: str = TRAIN_AGAIN) -> dict[str, Any]:
    """Return the object that a JSON file of a run or a store holds.

    Parameters
    ----------
    path : Path
        The file.
    *keys : str
        What must be in it.
    way : str
        What to do about a damaged file, for the end of the message.

    Raises
    ------
    ValueError
        The file holds no JSON, something else than an object, or one without a key.
    """
    wanted = f"JSON with {', '.join(keys)}" if keys else "a JSON object"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        fail_damaged(path, wanted, f"something else ({error})", way)
    if not isinstance(content, dict):
        fail_damaged(path, wanted, "another", way)
    if missing := [key for key in keys if key not in content]:
        fail_damaged(path, wanted, f"one without {', '.join(missing)}", way)
    return content


def fail_damaged(path: Path, wanted: str, got: str, way: str = TRAIN_AGAIN) -> NoReturn:
    """Raise ValueError: `path` should hold `wanted` and holds `got`; it is damaged, and `way` is what to do about it.

    >>> fail_damaged(Path("x.npy"), "8 clips", "7", "remove it")
    Traceback (most recent call last):
    ValueError: x.npy must be 8 clips, got 7: it is damaged, or was edited by hand: remove it
    """
    check.fail(str(path), wanted, got, f"it is damaged, or was edited by hand: {way}")


def check_file(path: Path, name: str = "out") -> None:
    """Raise ValueError where a file, the value of the option `name`, cannot be written.

    A folder has that name, or what it is to lie in is no folder or may not be written to.
    """
    if path.is_dir():
        check.fail(name, "a file", str(path), "that is a folder")
    check_folder(path.parent, name, shown=path)


def check_folder(path: Path, name: str = "out", *, shown: Path | None = None) -> None:
    """Raise where a folder cannot be made, or written to.

    Parameters
    ----------
    path : Path
        The folder.
    name : str
        The option that names it.
    shown : Path, optional
        The file that is to lie in it, for messages about that.

    Raises
    ------
    ValueError
        A file has that name or that of a folder above, or the nearest folder there is may not be written to.
    """
    nearest = next(p for p in (path, *path.absolute().parents) if p.exists())
    if not nearest.is_dir():
        check.fail(name, "in a folder" if shown else "a folder", str(shown or path), f"{nearest} is a file")
    if not os.access(nearest, os.W_OK | os.X_OK):
        check.fail(name, "in a folder that may be written to", str(shown or path), f"{nearest} may not")
    try:  # an administrator may write everywhere by name, and yet not make a folder in /proc
        tempfile.TemporaryDirectory(dir=nearest).cleanup()
    except OSError as error:
        slip = f"nothing can in {nearest}: {error.strerror}"
        check.fail(name, "a file that can be made" if shown else "a folder that can be made", str(shown or path), slip)


@contextmanager
def lock_folder(out: Path) -> Iterator[None]:
    """Make the folder of results `out` and hold it; if another command holds it, a ValueError says so.

    A folder that was made here and into which nothing came is removed.
    """
    new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / ".lock", timeout=0):
            yield
    except Timeout:
        check.fail("out", "a folder that no other command writes into", str(out), "wait, or choose another --out")
    finally:
        if new and out.is_dir() and [path.name for path in out.iterdir()] == [".lock"]:
            (out / ".lock").unlink()
            out.rmdir()
