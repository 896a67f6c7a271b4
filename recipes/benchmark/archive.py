"""``predictions.npz``: all that the tables of a benchmark are made of, in one small file.

Arrays without pickles, in a zip file whose bytes depend on the contents alone:

``record``   JSON in UTF-8: the record of the benchmark (``bench.json``), the ids and groups of the clips that some run
             measures on, and of each run what its predictions do not tell: times, calibration errors, errors at other
             steps, statistics of the pseudo-labels
``class``    the class of each of these clips
``clip``     run by run, the clips that the run measures on, as positions among them
``raw``      the class that the network predicts for each, and ``ema`` that of its average
``test_*``   the same three of the test clips, where runs measure on validation clips first
"""

import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from audiomix import check
from audiomix.audio import io as audio_io

from ..semi_supervised.evaluate import error_rate, summarise_predictions
from ..training.run_folder import RunResult, fail_damaged
from .gains import NETWORKS, RunPredictions
from .pseudo_label_stats import COLUMNS

__all__ = [
    "ARCHIVE", "WAY", "ArchivedRun", "ArchivedRuns", "merge_archives", "read_archive", "read_arrays", "write_archive",
    "zip_arrays",
]  # fmt: skip

ARCHIVE = "predictions.npz"
# of result.json and of the last row of metrics.csv: what the predictions do not tell, and tables show
_FIELDS = ("method", "fold", "seed", "measured_on", "error_best", "error_best_ema", "seconds", "cpu_seconds")
WAY = "make it again from the run folders with bench --resume"
_PARTS = ("", "test_")  # in front of the arrays' names


class ArchivedRun(NamedTuple):
    """A run with its place in the benchmark; with each head that was fitted after the training it is another."""

    label: str  # folder of the number of labels
    row: str  # folder of the row
    head: str  # the head that was fitted after the training, ``none`` for the network as trained
    device: str  # what it ran on
    result: RunResult
    predictions: RunPredictions  # on the clips that its errors are of
    test: RunPredictions | None = None  # on the test clips, of a run that measures on validation clips first


class ArchivedRuns(NamedTuple):
    """What `read_archive` returns."""

    content: dict[str, Any]  # the record of the benchmark
    clips: list[str]  # name of each clip
    groups: list[str]  # recording or speaker of each clip
    runs: list[ArchivedRun]


def write_archive(path: Path, content: Mapping[str, Any], ids: Sequence[str], groups: Sequence[str],
                  runs: Sequence[ArchivedRun]) -> None:  # fmt: skip
    """Write the file, whole or not at all.

    Parameters
    ----------
    path : Path
        The file.
    content : mapping
        The record of the benchmark.
    ids, groups : sequence of str
        Name, and recording or speaker, of each clip of the data set: the runs' predictions hold their positions.
    runs : sequence of ArchivedRun
        The finished runs.
    """
    parts = {"": [run.predictions for run in runs], "test_": [run.test for run in runs if run.test is not None]}
    measured = [p for found in parts.values() for p in found]
    used = np.unique(np.concatenate([p.clips for p in measured])) if measured else np.zeros(0, np.int64)
    place = np.full(len(ids), -1)
    place[used] = np.arange(len(used))
    true = np.zeros(len(used), np.int64)
    for p in measured:
        true[place[p.clips]] = p.true
    label = _smallest(len(content["classes"]))
    arrays = {"class": true.astype(label)}
    for name, found in parts.items():
        if found or not name:
            for network in NETWORKS:
                arrays[name + network] = _join([getattr(p, network) for p in found]).astype(label)
            arrays[f"{name}clip"] = _join([place[p.clips] for p in found]).astype(_smallest(len(used)))
    record = {
        "content": dict(content),
        "clips": [ids[i] for i in used.tolist()],
        "groups": [groups[i] for i in used.tolist()],
        "runs": [_describe(run) for run in runs],
    }
    text = json.dumps(record, separators=(",", ":"))
    arrays["record"] = np.frombuffer(text.encode(), np.uint8)
    with audio_io.atomic_file(path) as file:
        file.write(zip_arrays(arrays))


def _smallest(count: int) -> type[np.unsignedinteger]:
    """Return the smallest type that holds the numbers below `count`."""
    return next(kind for kind in (np.uint8, np.uint16, np.uint32) if count <= np.iinfo(kind).max + 1)


def _join(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.int64), *arrays])


def zip_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return the arrays as the bytes of an npz file, a function of the arrays; numpy's own would hold the time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        for name in sorted(arrays):
            array = io.BytesIO()
            np.lib.format.write_array(array, arrays[name], allow_pickle=False)
            file.writestr(zipfile.ZipInfo(f"{name}.npy"), array.getvalue(), zipfile.ZIP_DEFLATED, 9)
    return buffer.getvalue()


def _describe(run: ArchivedRun) -> dict[str, Any]:
    """Return what is known of a run beyond its predictions, for JSON."""
    result, last = run.result, run.result.history[-1] if run.result.history else {}
    kept = {name: value for name, value in last.items() if name in COLUMNS or name.startswith("count_")}
    found: dict[str, Any] = {"label": run.label, "row": run.row, "head": run.head, "device": run.device}
    found["size"] = len(run.predictions.clips)
    found |= {name: getattr(result, name) for name in _FIELDS}
    found |= {"guesses": kept, "ece": _calibration(result.measures)}
    if run.test is not None:
        test = {name: value for name, value in result.test.items() if name.startswith("error_at_best")}
        test["ece"] = _calibration(result.test["measures"])
        found |= {"test": test, "test_size": len(run.test.clips)}
    return found


def _calibration(measures: Mapping[str, Any]) -> dict[str, float | None]:
    return {network: measures.get(network, {}).get("ece") for network in NETWORKS}


def read_archive(path: Path) -> ArchivedRuns:
    """Return what was written by `write_archive`; errors are measured anew, from the predictions.

    Raises
    ------
    ValueError
        The file is damaged, or no such file.
    """
    arrays = read_arrays(path)
    try:
        record = json.loads(arrays["record"].tobytes())
        content, runs, groups = record["content"], record["runs"], record["groups"]
        classes, clips = len(content["classes"]), len(record["clips"])
        found = []
        at = dict.fromkeys(_PARTS, 0)
        for run in runs:
            parts: dict[str, RunPredictions] = {}
            for name in _PARTS:
                if f"{name}size" in run:
                    some = slice(at[name], at[name] + run[f"{name}size"])
                    at[name] = some.stop
                    own = {key: arrays[name + key][some].astype(np.int64) for key in ("clip", *NETWORKS)}
                    parts[name] = RunPredictions(own["clip"], arrays["class"].astype(np.int64)[own["clip"]],
                                                 own["raw"], own["ema"])  # fmt: skip
            result = _result(path.parent, run, parts, classes)
            place = (run["label"], run["row"], run["head"], run["device"])
            found.append(ArchivedRun(*place, result, parts[""], parts.get("test_")))
    except (KeyError, TypeError, IndexError, AttributeError, ValueError, ZeroDivisionError, RuntimeError) as error:
        fail_damaged(path, "the predictions of a benchmark", f"something else ({error!r})", WAY)
    expected = {n + key: at[n] for n in _PARTS for key in ("clip", *NETWORKS) if n + key in arrays} | {"class": clips}
    wrong = [name for name, size in expected.items() if arrays[name].shape != (size,)]
    if wrong := [*wrong, *["groups"] * (len(groups) != clips)]:
        fail_damaged(path, "arrays of one number a clip of each run", f"others ({', '.join(wrong)})", WAY)
    if any(int(arrays[n + key].max(initial=0)) >= classes for n in _PARTS for key in NETWORKS if n + key in arrays):
        fail_damaged(path, f"predictions of {classes} classes", "others", WAY)
    for kind, names in {"rows": {run.row for run in found}, "labels": {run.label for run in found}}.items():
        if unknown := sorted(names - content.get(kind, {}).keys()):
            fail_damaged(path, f"runs of the {kind} that it lists", f"runs of {', '.join(unknown)}", WAY)
    return ArchivedRuns(content, record["clips"], groups, found)


def merge_archives(archives: Sequence[ArchivedRuns]) -> ArchivedRuns:
    """Return the runs of several files as those of one benchmark, such as of seeds that other machines trained.

    Parameters
    ----------
    archives : sequence of ArchivedRuns
        One or more, of one data set, protocol and version.

    Raises
    ------
    ValueError
        They are of other data, rows or versions, or have a run twice.
    """
    first = archives[0]
    content, groups, runs = dict(first.content), dict(zip(first.clips, first.groups)), list(first.runs)
    for other in archives[1:]:
        for name in ("dataset", "classes", "clips", "protocol", "fingerprints", "measured_on", "equal", "versions"):
            if other.content.get(name) != content.get(name):
                got = f"{content.get(name)} and {other.content.get(name)}"
                check.fail("recompute", f"folders of one benchmark, with the same {name}", got)
        for name in ("rows", "labels"):
            both = content[name].keys() & other.content[name].keys()
            if changed := [key for key in both if content[name][key] != other.content[name][key]]:
                check.fail("recompute", f"folders of one benchmark, with the same {name}", f"others ({changed[0]})")
            content[name] = content[name] | other.content[name]
        for name in ("commands", "unfinished", "failed"):
            content[name] = [*content[name], *other.content[name]]
        groups |= dict(zip(other.clips, other.groups))
        runs += _at_places(other, {clip: place for place, clip in enumerate(groups)})
    names = [(run.label, run.row, run.head, run.result.fold, run.result.seed) for run in runs]
    if twice := next((name for name in names if names.count(name) > 1), None):
        check.fail("recompute", "folders of different runs", f"one run twice: {', '.join(map(str, twice))}")
    return ArchivedRuns(content, list(groups), list(groups.values()), runs)


def _at_places(archive: ArchivedRuns, places: Mapping[str, int]) -> list[ArchivedRun]:
    """Return the runs of a file with the clips at other places."""
    move = np.array([places[clip] for clip in archive.clips], dtype=np.int64)

    def move_clips(found: RunPredictions) -> RunPredictions:
        return found._replace(clips=move[found.clips])

    return [
        run._replace(predictions=move_clips(run.predictions), test=run.test and move_clips(run.test))
        for run in archive.runs
    ]


def read_arrays(path: Path, way: str = WAY) -> dict[str, np.ndarray]:
    """Return the arrays of an npz file by name; `way` is what to do where there is none, or a damaged one.

    Raises
    ------
    ValueError
        The file is damaged, or no such file.
    """
    if not path.is_file():
        check.fail(str(path), "there, with the predictions of a benchmark", "no such file", way)
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, KeyError, AttributeError, RuntimeError, zipfile.BadZipFile,
            zlib.error) as error:  # fmt: skip
        fail_damaged(path, "arrays in a zip file", f"something else ({error})", way)


def _result(folder: Path, run: dict[str, Any], parts: dict[str, RunPredictions], classes: int) -> RunResult:
    """Return the result of a run: errors and measures of the last step from the predictions, the rest as recorded."""
    errors, measures = _measure(parts[""], run["ece"], classes)
    test: dict[str, Any] = {}
    if "test_" in parts:
        last, measured = _measure(parts["test_"], run["test"]["ece"], classes)
        for end in NETWORKS.values():  # in the order of `recipes.semi_supervised.train`
            name = f"error_at_best{end}"
            test |= {f"error_last{end}": last[f"error_last{end}"], name: run["test"][name]}
        test["measures"] = measured
    place = folder / run["label"] / run["row"] / f"fold{run['fold']}-seed{run['seed']}"
    known = {name: run[name] for name in _FIELDS}
    history = [run["guesses"]] if run["guesses"] else []
    return RunResult(**known, **errors, folder=str(place), history=history, measures=measures, test=test)


def _measure(predictions: RunPredictions, ece: Mapping[str, float], classes: int) -> tuple[dict, dict]:
    """Return the errors by field of `RunResult`, and the measures by network."""
    true, errors, measures = torch.from_numpy(predictions.true), {}, {}
    for network, end in NETWORKS.items():
        predicted = torch.from_numpy(getattr(predictions, network))
        errors[f"error_last{end}"] = error_rate(predicted, true)
        measures[network] = {"ece": ece.get(network)} | summarise_predictions(predicted, true, classes)
    return errors, measures
