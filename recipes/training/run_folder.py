"""What a run leaves behind: ``config.json``, ``split.json``, ``metrics.csv``, ``predictions.csv``, ``result.json``."""

import csv
import hashlib
import io as text_io
import json
import platform
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import audiomix
from audiomix import check
from audiomix.audio import io
from audiomix.datasets.dataset import Dataset

from .json_file import TRAIN_AGAIN, damaged, read_json

__all__ = [
    "RunResult",
    "Split",
    "begin",
    "differences",
    "finished",
    "saved_split",
    "started",
    "write_csv",
    "write_json",
    "write_metrics",
    "write_predictions",
    "write_result",
]


@dataclass(frozen=True)
class RunResult:
    """What one training came to. Errors are in percent of the held-out clips.

    Parameters
    ----------
    method : str
        As reported: with the options that change what it is called.
    fold : str
    seed : int
    error_last, error_last_ema : float
        After the last step, of the model and of its average. The headline.
    error_best, error_best_ema : float
        The smallest of all rows: chosen on the clips it is measured on, so optimistic.
    seconds : float
        Wall time of the training with its evaluations, without decoding and spectrograms.
    cpu_seconds : float
        Processor time of the same, of all its processes.
    folder : str
    history : list of dict
        The rows of metrics.csv.
    error_at_best_valid, error_at_best_valid_ema : float or None
        In the first row with the smallest error on the validation clips: chosen without the held-out clips. None in
        runs without validation clips.
    measures : dict
        Of ``raw`` and ``ema`` after the last step: ``ece`` in percent, ``class_errors`` in percent and ``confusion``
        (rows are true classes), in the order of the data set's classes. See `recipes.benchmark.measures`.
    """

    method: str
    fold: str
    seed: int
    error_last: float
    error_best: float
    error_last_ema: float
    error_best_ema: float
    seconds: float
    cpu_seconds: float
    folder: str
    history: list[dict[str, Any]] = field(default_factory=list, repr=False)
    error_at_best_valid: float | None = None
    error_at_best_valid_ema: float | None = None
    measures: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, eq=False)
class Split:
    """Indices into a data set: clips with labels, without, held out, and for validation; each int64, ascending."""

    labelled: Tensor
    unlabelled: Tensor
    test: Tensor
    valid: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))

    @property
    def train(self) -> Tensor:
        """All clips that are trained on, each once: labelled ones may be among those without labels too."""
        return torch.cat([self.labelled[~torch.isin(self.labelled, self.unlabelled)], self.unlabelled])

    @property
    def digest(self) -> str:
        """Hash of the indices."""
        text = json.dumps({name: part.tolist() for name, part in vars(self).items()})
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def started(folder: Path, settings: dict[str, Any], *, resume: bool) -> bool:
    """Return whether `folder` holds a run, which is to be resumed; nothing is written.

    Raises
    ------
    FileExistsError
        The folder holds a run and `resume` is off.
    ValueError
        The run to be resumed has other settings; they are named. Its ``config.json`` is damaged.
    """
    if not (folder / "config.json").is_file():
        return False
    if not resume:
        raise FileExistsError(f"{folder} holds a run already: go on with --resume, or choose another --out")
    if changed := differences(folder, settings):
        check.fail("the run to resume", f"the one in {folder}", "; ".join(changed), "choose another --out")
    return True


def differences(folder: Path, settings: dict[str, Any], but: Sequence[str] = ()) -> list[str]:
    """Return in what `settings` differ from those of the run in `folder`; those named in `but` may."""
    before = read_json(path := folder / "config.json", "settings")["settings"]
    if not isinstance(before, dict):
        damaged(path, "JSON with settings by name", f"settings {before!r}")
    now = json.loads(json.dumps(settings))
    for name in but:
        before.pop(name, None)
        now.pop(name, None)
    return _differences(before, now)


_HINTS = {"data": " (other clips, classes or folds)"}


def _differences(before: dict[str, Any], now: dict[str, Any], name: str = "") -> list[str]:
    found: list[str] = []
    for key in sorted({*before, *now}):
        a, b = before.get(key), now.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += _differences(a, b, f"{name}{key}.")
        elif a != b:
            found.append(f"{name}{key} {b!r} instead of {a!r}" + _HINTS.get(key, ""))
    return found


def begin(folder: Path, settings: dict[str, Any], facts: dict[str, Any], dataset: Dataset, split: Split) -> None:
    """Make the run's folder and write ``config.json`` and ``split.json``, once nothing can be refused any more."""
    folder.mkdir(parents=True, exist_ok=True)
    versions = {"audiomix": audiomix.__version__, "torch": torch.__version__, "python": platform.python_version()}
    write_json(folder / "config.json", {"settings": settings, "facts": facts, "versions": versions})
    ids = {k: [dataset.items[i].id for i in v.tolist()] for k, v in vars(split).items()}
    write_json(folder / "split.json", ids)


def saved_split(folder: Path, dataset: Dataset) -> Split | None:
    """Return the split saved in `folder`, or None: a run may be stopped before it is written.

    Raises
    ------
    ValueError
        A clip of the saved split is no longer in the data set, or the file is damaged.
    """
    path = folder / "split.json"
    if not path.is_file():
        return None
    where = {item.id: i for i, item in enumerate(dataset.items)}
    saved = read_json(path, "labelled", "unlabelled", "test")
    known = [part.name for part in fields(Split)]
    if wrong := [k for k, ids in saved.items() if k not in known or not isinstance(ids, list)]:
        damaged(path, f"lists of clips: {', '.join(known)}", f"{wrong[0]} {saved[wrong[0]]!r}")
    missing = [i for ids in saved.values() for i in ids if i not in where]
    if missing:
        check.fail("the data set", f"the one of {path}", f"one without {len(missing)} of its clips, e.g. {missing[0]}")
    return Split(**{k: torch.tensor([where[i] for i in ids], dtype=torch.int64) for k, ids in saved.items()})


def write_metrics(folder: Path, history: list[dict[str, Any]]) -> None:
    """Write ``metrics.csv``, whole; a value that is not known is an empty cell."""
    write_csv(folder / "metrics.csv", history)


def write_predictions(
    folder: Path, dataset: Dataset, indices: Tensor, predicted: dict[str, Tensor], probabilities: dict[str, Tensor]
) -> None:
    """Write ``predictions.csv``: what each held-out clip is, what each network took it for, and how surely.

    Parameters
    ----------
    folder, dataset, indices
    predicted : dict of str to Tensor (N,)
        Class by the network's name, a column each.
    probabilities : dict of str to Tensor (N, K)
        Columns ``NAME_CLASS``, to six digits.
    """
    names, rows = dataset.class_names, []
    taken, sure = ({name: x.tolist() for name, x in found.items()} for found in (predicted, probabilities))
    for row, i in enumerate(indices.tolist()):
        found: dict[str, Any] = {"id": dataset.items[i].id, "class": names[dataset.labels[i]]}
        found |= {name: names[values[row]] for name, values in taken.items()}
        for name, values in sure.items():
            found |= {f"{name}_{c}": f"{p:.6g}" for c, p in zip(names, values[row])}
        rows.append(found)
    write_csv(folder / "predictions.csv", rows)


def write_result(folder: Path, result: RunResult) -> None:
    """Write ``result.json``: its presence says that the run is finished."""
    write_json(folder / "result.json", {k: v for k, v in asdict(result).items() if k not in _ELSEWHERE})


def finished(folder: Path) -> RunResult | None:
    """Return the result of a finished run, or None.

    Raises
    ------
    ValueError
        ``result.json`` or ``metrics.csv`` is damaged, or another version made it.
    """
    if not (path := folder / "result.json").is_file():
        return None
    numbers = read_json(path)
    known = {f.name: f for f in fields(RunResult) if f.name not in _ELSEWHERE}
    if missing := [
        name for name, f in known.items() if f.default is f.default_factory is MISSING and name not in numbers
    ]:
        slip = f"an earlier version made it, or it is damaged: {TRAIN_AGAIN}"
        check.fail(str(path), "the result of a run", f"one without {', '.join(missing)}", slip)
    if unknown := [name for name in numbers if name not in known]:
        slip = f"another version made it: {TRAIN_AGAIN}"
        check.fail(str(path), "the result of a run of this version", f"one with {', '.join(unknown)}", slip)
    return RunResult(**numbers, folder=str(folder), history=_read_metrics(folder / "metrics.csv"))


_ELSEWHERE = ("history", "folder")  # fields of `RunResult` that result.json leaves out


def _read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the rows as numbers; a cut file, whose last number may look whole, ends in no line break."""
    if not path.is_file():
        damaged(path, "there, beside result.json", "no such file")
    text = path.read_bytes()
    if not text.endswith(b"\n"):
        damaged(path, "whole", "one whose last line is cut")
    try:
        header, *rows = csv.reader(text.decode().splitlines())
        history = [{k: float(v) if v else None for k, v in zip(header, row, strict=True)} for row in rows]
    except (ValueError, csv.Error) as error:
        damaged(path, "rows of numbers, a cell a column", f"something else ({error})")
    if not history:
        damaged(path, "rows of numbers", "none")
    return history


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file; its name appears only when it is whole."""
    with io.atomic_file(path) as file:
        file.write((json.dumps(content, indent=1) + "\n").encode())


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows that have the same keys; the name appears only when the file is whole."""
    text = text_io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with io.atomic_file(path) as file:
        file.write(text.getvalue().encode())
