"""`audiomix plans`: a mixed corpus is published as its plans. Each mix is made again first, and must come out equal."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ... import check
from ...audio.io import AudioError
from ...terminal import Progress
from ...transforms.room import Room
from ..limits import Settings
from ..parallel import check_pickles, in_order, run_tasks
from ..render import Task
from .compare import find_differences
from .output import Output, read_output, responses_of, settings_from
from .plan_file import PlanRow, parquet, write_plan_file
from .replayer import Piece, Replayer, hash_samples, replay_task

__all__ = ["Published", "write_plans"]

# Mixes that a worker gets at a time, and how far ahead of the oldest others are begun.
_CHUNK, _AHEAD = 4, 256


@dataclass(frozen=True)
class Published:
    """What `write_plans` did.

    Parameters
    ----------
    path : Path
        The file of plans.
    files : int
        Mixes in it.
    plan_bytes, audio_bytes : int
        Sizes of the file of plans, and of the mixes and stems that it stands for.
    errors : tuple of dict
        Mixes that are left out: ``file`` and ``reason``.
    """

    path: Path
    files: int
    plan_bytes: int
    audio_bytes: int
    errors: tuple[dict[str, str], ...] = ()


def write_plans(
    out: str | Path,
    file: str | Path,
    *,
    own: Sequence[str] = (),
    room: str | Path | Room | None = None,
    workers: int = 1,
    progress: bool = True,
) -> Published:
    """Write the plans of an output of `audiomix augment`, with hashes of what its sources decode to.

    Each mix is made again from its plan and compared with its file: one that is not equal to the bit is left out.

    Parameters
    ----------
    out : path
        Folder of the run; its sources must be where they were.
    file : path
        The file to write, ``.parquet``.
    own : sequence of str
        Mixers of the user's own, as ``mine.py:RollMix``.
    room : path or Room, optional
        The impulse responses that the run was given; the file gets their names and hashes, not their samples.
    workers : int
        Processes.
    progress : bool
        Show progress.

    Raises
    ------
    ValueError
        `out` is no output of `audiomix augment`, or its files are compressed with loss; `file` is no ``.parquet``.
    """
    output, file = read_output(out), Path(file)
    if file.suffix.lower() != ".parquet":
        check.fail("the suffix of file", "parquet", repr(file.suffix.lstrip(".")), "plans are a table in Parquet")
    if not file.absolute().parent.is_dir():
        check.fail("file", "in a folder that is there", repr(str(file)), f"mkdir {file.parent}")
    if output.settings.get("format") == "ogg":
        slip = "what is lost: the promise of equal bits; augment --format flac"
        check.fail("out", "of flac or wav files", "ogg, which keeps no samples", slip)
    parquet()
    settings = settings_from(output.settings, own, room=room)
    responses = responses_of(settings)
    _check_relative(output, responses)
    if workers > 1:
        check_pickles("mixer", settings.mixer)
    errors: list[dict[str, str]] = []
    sizes = [0]
    with Progress(shown=progress) as bar:
        rows = _publish(output, settings, workers, errors, sizes)
        rows = bar.track(rows, output.count, description="plans", unit="mixes")
        count = write_plan_file(file, rows, output.settings, output.classes, responses)
    return Published(file, count, file.stat().st_size, sizes[0], tuple(errors))


def _check_relative(output: Output, responses: Mapping[str, str]) -> None:
    """Refuse names of sources that say where the publisher's files are: nobody else would find them there."""
    for name in responses:
        if os.path.isabs(name):
            slip = "what is lost: that others find them; augment --room with the folder that they are in"
            check.fail("room", "impulse responses with relative names", repr(name), slip)
    for row in output.rows():
        for entry in [*row["sources"], *json.loads(row.get("unheard") or "[]")]:
            for name in (entry["id"], entry.get("path") or ""):
                if os.path.isabs(name):
                    slip = "what is lost: that others find them; a manifest with paths relative to it, augmented again"
                    check.fail("out", "a run whose sources have relative names", repr(name), slip)


def _publish(
    output: Output, settings: Settings, workers: int, errors: list[dict[str, str]], sizes: list[int]
) -> Iterator[PlanRow]:
    """Yield what is written of each mix; note what is left out, and how large the files are."""
    tasks = _tasks(output, errors)
    make = partial(_Publisher, settings, output.path)
    results = run_tasks(
        make, (), tasks, workers=workers, chunk=_CHUNK, ahead=_AHEAD, name=lambda task: task.replay.row["file_name"]
    )
    with closing(in_order(results)) as ordered:
        for result in ordered:
            row = result.task.replay.row
            if isinstance(result.error, (AudioError, ValueError)):
                errors.append({"file": row["file_name"], "reason": str(result.error)})
                continue
            samples, sounds, pieces = result.get()
            sizes[0] += sum(os.path.getsize(output.path / name) for name in (row["file_name"], *row["stems"]))
            yield PlanRow(row, samples, sounds, pieces)


def _tasks(output: Output, errors: list[dict[str, str]]) -> Iterator[Task]:
    for number, row in enumerate(output.rows()):
        try:
            yield replay_task(number, row)
        except ValueError as error:
            errors.append({"file": row["file_name"], "reason": str(error)})


class _Publisher:
    """Makes one mix after another again, and compares it with its file."""

    def __init__(self, settings: Settings, out: Path) -> None:
        self.renderer, self.out = Replayer(settings), out

    def __call__(self, task: Task) -> tuple[str, dict[str, str], dict[str, Piece]]:
        """Return the hash of the mix, and by id of its sources their hashes and the pieces that were read."""
        rendered = self.renderer.render(task)
        pieces = self.renderer.pieces_of(task)
        if different := find_differences(self.out, task.replay.row, rendered):
            raise AudioError("; ".join(different))
        sounds = {item.id: self.renderer.hash_source(item) for item in (task.item, *task.partners)}
        return hash_samples(rendered.mix, *rendered.stems), sounds, pieces
