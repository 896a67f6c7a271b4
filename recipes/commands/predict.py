"""``audiomix-recipes predict``: label files with a trained network."""

import csv
import io as text_io
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
from cyclopts import Parameter

from audiomix import check
from audiomix.audio import io
from audiomix.datasets.walk import Skipped, is_utf8, list_files, printable, special_file
from audiomix.offline.cache import enough_memory
from audiomix.offline.progress import ErrorLimit
from audiomix.terminal import Exit, Summary

from ..console import progress_bar, say
from ..semi_supervised.inference import TrainedModel, load_model
from ..training.run_folder import check_file

__all__ = ["predict"]

_BATCH = 64
_LEAST = 0.001  # seconds: a shorter rest of a file behind its last whole window is left out


class _Window(NamedTuple):
    path: Path
    start: float = 0.0
    seconds: float | None = None


def predict(
    run: Path,
    *files: Path,
    out: Annotated[Path, Parameter(name=["--out", "-o"])] = Path("predictions.csv"),
    network: str = "headline",
    head: str = "none",
    top: int = 1,
    window: float | None = None,
    strict: Annotated[bool, Parameter(negative=())] = False,
    max_errors: int | None = None,
    trust: Annotated[bool, Parameter(negative=())] = False,
) -> Summary:
    """Label files, or all sounds in folders, with a trained run; write a CSV.

    Columns: path, class, probability (and class_2, probability_2, ... with --top); with --window also start and end in
    seconds.

    Parameters
    ----------
    run : Path
        Folder of one fold and seed that run or bench made, or a published network, as assets/checkpoints/words;
        nothing else is needed.
    files : tuple
        Sounds of any rate and length, or folders of them: resampled, cut or zero-padded as the run's own clips were.
    out : Path
        The CSV.
    network : str
        raw (the network that the method reports), ema (the average of its weights), or headline: the one whose error
        comes first in the results, raw unless the bench was told otherwise. What was taken is printed.
    head : str
        none for the network as it was trained; refit or graph for a head that the run fitted afterwards (run --head).
    top : int
        Classes to tell of each file, the likeliest first.
    window : float
        Label every so many seconds of a file by themselves, at most the length of the run's clips: a row for each.
    strict : bool
        Write nothing if any file cannot be labelled, and end with exit code 3.
    max_errors : int
        Write nothing if more files than this cannot be labelled, and end with exit code 3; by default any number may.
    trust : bool
        Run the Python code that the run's settings name, as in mine.py:Net. Only for a run that you know.
    """
    limit = ErrorLimit(max_errors, strict=strict, then="Nothing was written")
    check_file(out)
    model = load_model(run, network, head=head, trust=trust)
    check.integer("top", top, 1)
    if top > len(model.classes):
        check.fail("top", f"at most {len(model.classes)}, the classes there are", top)
    if window is not None:
        slip = "longer pieces would be cut"
        check.number("window", window, 0.01, model.seconds, slip=slip if window > model.seconds else "")
    paths, errors = _paths(files)
    for path, reason in errors.items():
        limit.add(str(path), reason)
    rows = _rows(model, paths, errors, top, window, limit)
    if not rows:
        check.fail("files", "sounds that can be read", f"{len(errors)} that cannot", _reasons(errors))
    _write(out, rows, top, window)
    taken = f"network {model.which}{' (the headline)' * (network == 'headline')}"
    say(f"{len(rows)} rows in {out}, by {model.title}, {taken}")
    for path, reason in errors.items():
        say(f"not labelled: {path}: {reason}", style="red")
    facts: dict[str, Any] = {"out": out, "network": model.which, "rows": len(rows)}
    facts["files"] = len(paths) - sum(path in errors for path in paths)
    return Summary(Exit.SOME if errors else Exit.DONE, {**facts, "errors": errors})


def _paths(files: Sequence[Path]) -> tuple[list[Path], dict[Path, str]]:
    """Return the sound files, each once, and the paths that are none, with the reason."""
    found: list[Path] = []
    errors: dict[Path, str] = {}
    for path in (path.expanduser() for path in files):
        if not is_utf8(str(path)):
            errors[Path(printable(path))] = "its name is not UTF-8: rename it"
        elif path.is_dir():
            skipped: Skipped = []
            inside = [path / name for name in list_files(path, skipped=skipped, refuse=False)]
            found += inside
            errors.update({path / name: reason for name, reason in skipped})
            if not inside and not skipped:
                errors[path] = "a folder without sounds"
        elif kind := special_file(str(path)):
            errors[path] = f"is {kind}, not a file"
        elif path.exists():
            found.append(path)
        else:
            errors[path] = "there is no such file"
    if not found:
        check.fail("files", "sounds, or folders of them", "none", _reasons(errors))
    return list(dict.fromkeys(found)), errors


def _reasons(errors: dict[Path, str]) -> str:
    """Return the first three reasons."""
    more = f"; and {len(errors) - 3} more" * (len(errors) > 3)
    return "; ".join(f"{path}: {reason}" for path, reason in list(errors.items())[:3]) + more


def _rows(
    model: TrainedModel,
    paths: Sequence[Path],
    errors: dict[Path, str],
    top: int,
    window: float | None,
    limit: ErrorLimit,
) -> list[list[Any]]:
    """Label all windows that can be read; add files that cannot be read to `errors`."""
    rows: list[list[Any]] = []
    with progress_bar() as bar:
        shown = bar.track(paths, len(paths), description="labelling", unit="files")
        read = _read(model, shown, errors, window, limit)
        while some := list(islice(read, _BATCH)):
            windows, clips = zip(*some)
            values, indices = model.probabilities(torch.stack(clips)).topk(top)
            for one, p, at in zip(windows, values.tolist(), indices.tolist()):
                times = [] if window is None else [f"{one.start:.6g}", f"{one.start + (one.seconds or 0):.6g}"]
                classes = [x for value, i in zip(p, at) for x in (model.classes[i], f"{value:.6g}")]
                rows.append([str(one.path), *times, *classes])
    return rows


def _read(
    model: TrainedModel, paths: Iterable[Path], errors: dict[Path, str], window: float | None, limit: ErrorLimit
) -> Iterator[tuple[_Window, torch.Tensor]]:
    for path in paths:
        try:
            for one in _windows(path, window):
                with enough_memory(str(path), " to read it"):
                    clip = model.read(path, start=one.start, seconds=one.seconds)
                yield one, clip
        except (io.AudioError, OSError) as error:
            errors[path] = str(error).removeprefix(f"{path}: ")
            limit.add(str(path), errors[path])


def _windows(path: Path, window: float | None) -> Iterator[_Window]:
    if window is None:
        yield _Window(path)
        return
    total, i = io.info(path).seconds, 0
    while i == 0 or total - i * window > _LEAST:
        yield _Window(path, i * window, min(window, total - i * window))
        i += 1


def _write(out: Path, rows: Sequence[Sequence[Any]], top: int, window: float | None) -> None:
    numbers = ["", *(f"_{i}" for i in range(2, top + 1))]
    head = ["path", *([] if window is None else ["start", "end"])]
    head += [f"{name}{n}" for n in numbers for name in ("class", "probability")]
    text = text_io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *rows])
    out.parent.mkdir(parents=True, exist_ok=True)
    with io.atomic_file(out) as file:
        file.write(text.getvalue().encode())
