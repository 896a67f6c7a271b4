"""The record of the table of mixing, and ``probabilities.npz``: all that the table is made of, in one small file.

Arrays without pickles, in a zip file whose bytes depend on the contents alone (`recipes.benchmark.archive`):

``record``  JSON in UTF-8: settings, commands, what a step of each row costs, what strengths were chosen by, the ids and
            groups of the clips, and of each run its row, strength, labels, fold and seed
``class``   the class of each clip
``clip``    run by run, the clips that the run is measured on, as positions among them
``code``    run by run, the probability of each class (`recipes.benchmark.mixing.codes`)
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from audiomix import __version__, check
from audiomix.audio import io as audio_io

from ...training.run_folder import fail_damaged, write_json
from ..archive import read_arrays, zip_arrays
from .plan import CHOICE_SEED
from .rows import MixingRow
from .train import NETWORK, Cost

__all__ = ["ARCHIVE", "RECORD", "MixingRecord", "RunProbabilities", "merge_records", "read_archive"]

ARCHIVE = "probabilities.npz"
RECORD = "mixing.json"
_WAY = "make it again with bench mixers --resume"
# What must be the same for runs to stand in one table
_SAME = ("dataset", "classes", "fingerprint", "settings", "choice_seed", "network", "versions")


class RunProbabilities(NamedTuple):
    """A run of the table."""

    row: str
    strength: int  # which of the row's
    label: str  # labels kept
    fold: str
    seed: int
    cpu_seconds: float
    clips: np.ndarray  # positions among the record's clips, int64 (N,)
    codes: np.ndarray  # uint8 (N, K)

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What it is a run of: row, labels, fold, seed."""
        return self.row, self.label, self.fold, self.seed


@dataclass
class MixingRecord:
    """What is known of a table of mixing.

    Parameters
    ----------
    content : dict
        Plain values: ``dataset``, ``classes``, ``fingerprint``, ``settings``, ``choice_seed``, ``network``,
        ``versions``, which are the same in all parts of a table; ``rows`` (kind and strengths by name), ``commands``,
        ``costs`` (CPU seconds of a step of a row and of a plain one, by row), ``choices`` (by row, labels and held-out
        fold what the inner trainings come to at each strength: clips, wrong, sum of the negative log-likelihoods).
    ids, groups : list of str
        Name, and recording or speaker, of each clip.
    labels : list of int
        Class of each clip.
    runs : list of RunProbabilities
        The finished runs of the table.
    """

    content: dict[str, Any]
    ids: list[str]
    groups: list[str]
    labels: list[int]
    runs: list[RunProbabilities] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Write ``probabilities.npz``, whole or not at all; clips on which no run is measured are left out."""
        used = np.unique(np.concatenate([np.zeros(0, np.int64), *(run.clips for run in self.runs)]))
        place = np.full(len(self.ids), -1)
        place[used] = np.arange(len(used))
        runs = sorted(self.runs, key=lambda run: (run.label, run.row, run.seed, run.fold))
        record = {
            "content": self.content,
            "clips": [self.ids[i] for i in used],
            "groups": [self.groups[i] for i in used],
            "runs": [[run.row, run.strength, run.label, run.fold, run.seed, round(run.cpu_seconds, 2), len(run.clips)]
                     for run in runs],
        }  # fmt: skip
        text = json.dumps(record, separators=(",", ":"))
        classes = len(self.content["classes"])
        arrays = {
            "record": np.frombuffer(text.encode(), np.uint8),
            "class": np.array(self.labels)[used].astype(np.uint16),
            "clip": np.concatenate([np.zeros(0, np.int64), *(place[run.clips] for run in runs)]).astype(np.uint32),
            "code": np.concatenate([np.zeros((0, classes), np.uint8), *(run.codes for run in runs)]),
        }
        with audio_io.atomic_file(path) as file:
            file.write(zip_arrays(arrays))


def new_content(
    dataset: str, classes: Sequence[str], fingerprint: str, settings: dict[str, Any], rows: Sequence[MixingRow]
) -> dict[str, Any]:
    """Return the content of a record without runs; see `MixingRecord`."""
    return {
        "dataset": dataset,
        "classes": list(classes),
        "fingerprint": fingerprint,
        "settings": settings,
        "choice_seed": CHOICE_SEED,
        "network": NETWORK,
        "versions": {"audiomix": __version__, "torch": torch.__version__.partition("+")[0]},
        "rows": {row.name: {"kind": row.kind, "text": row.text, "strengths": list(row.strengths)} for row in rows},
        "commands": [],
        "costs": {},
        "choices": {},
    }


def read_content(folder: Path) -> dict[str, Any] | None:
    """Return the content of the record in a folder of results; None where there is none."""
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        fail_damaged(path, "the record of a table of mixing", f"text that is none ({error})", _WAY)
    if missing := [name for name in (*_SAME, "rows", "commands", "costs", "choices") if name not in found]:
        fail_damaged(path, "the record of a table of mixing", f"one without {', '.join(missing)}", _WAY)
    return found


def write_content(folder: Path, content: dict[str, Any]) -> None:
    """Write the content of a record into a folder of results."""
    write_json(folder / RECORD, content)


def check_same(one: dict[str, Any], other: dict[str, Any], name: str, slip: str) -> None:
    """Raise ValueError where two records are not of one table: other data, settings, versions or grids.

    `name` is the argument to be named, `slip` what to do.
    """
    for key in _SAME:
        if one[key] != other[key]:
            check.fail(name, f"results with the same {key}: {_short(one[key])}", _short(other[key]), slip)
    for row in one["rows"].keys() & other["rows"].keys():
        if one["rows"][row] != other["rows"][row]:
            check.fail(name, f"results with the same row {row}: {one['rows'][row]}", other["rows"][row], slip)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 200 else text[:199] + "…"


def add_costs(content: dict[str, Any], costs: dict[str, Cost]) -> None:
    """Put what a step of each row costs into the content of a record."""
    content["costs"] |= {name: [round(cost.row, 6), round(cost.plain, 6)] for name, cost in costs.items()}


def read_archive(folder: Path) -> MixingRecord:
    """Return the record in ``probabilities.npz`` of a folder.

    Raises
    ------
    ValueError
        There is no such file, or it is damaged.
    """
    path = folder / ARCHIVE
    arrays = read_arrays(path, _WAY)
    try:
        record = json.loads(arrays["record"].tobytes())
        content, ids, groups = record["content"], record["clips"], record["groups"]
        labels, runs, at = arrays["class"].tolist(), [], 0
        for row, strength, label, fold, seed, seconds, size in record["runs"]:
            some = slice(at, at + size)
            at += size
            clips, codes = arrays["clip"][some].astype(np.int64), arrays["code"][some]
            runs.append(RunProbabilities(row, strength, label, fold, seed, seconds, clips, codes))
        wrong = [name for name in ("clip", "code") if len(arrays[name]) != at]
        wrong += ["class"] * (len(labels) != len(ids)) + ["groups"] * (len(groups) != len(ids))
        if arrays["code"].shape[1:] != (len(content["classes"]),):
            wrong.append("code")
        wrong += sorted({run.row for run in runs} - content["rows"].keys())
        if any(len(run.clips) and int(run.clips.max()) >= len(ids) for run in runs):
            wrong.append("clip")
    except (KeyError, TypeError, ValueError, IndexError) as error:
        fail_damaged(path, "the probabilities of a table of mixing", f"something else ({error!r})", _WAY)
    if wrong:
        fail_damaged(path, "arrays of one row a clip of each run", f"others ({', '.join(wrong)})", _WAY)
    return MixingRecord(content, ids, groups, labels, runs)


def merge_records(records: Sequence[MixingRecord]) -> MixingRecord:
    """Return the runs of several records as those of one table: parts of it that were trained elsewhere.

    What a step costs is compared with plain steps on the same machine, so costs of all parts stand side by side.

    Raises
    ------
    ValueError
        They are of other data, settings, rows or versions, or have a run twice.
    """
    first = records[0]
    content = json.loads(json.dumps(first.content))
    place = {name: i for i, name in enumerate(first.ids)}
    ids, groups, labels, runs = list(first.ids), list(first.groups), list(first.labels), list(first.runs)
    for other in records[1:]:
        check_same(content, other.content, "recompute", "parts of one table have them in common")
        for name in ("rows", "costs", "choices"):
            content[name] = other.content[name] | content[name]
        content["commands"] = [*content["commands"], *other.content["commands"]]
        for name, group, label in zip(other.ids, other.groups, other.labels):
            if name not in place:
                place[name] = len(ids)
                ids.append(name)
                groups.append(group)
                labels.append(label)
        move = np.array([place[name] for name in other.ids], dtype=np.int64)
        runs += [run._replace(clips=move[run.clips]) for run in other.runs]
    keys = [run.key for run in runs]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        check.fail("recompute", "folders of different runs", f"one run twice: {', '.join(map(str, twice))}")
    return MixingRecord(content, ids, groups, labels, runs)
