"""What a run would do and how large it gets, from a few mixes that are made and removed."""

import json
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.filesize import decimal

from ..audio import io
from ..audio.io import AudioError
from ..datasets.item import Item
from .limits import Settings
from .remote.store import url_of
from .render import Task
from .write import write_mixes

__all__ = ["HEADERS", "preview"]

# Files whose headers are read, at most, to know how long a data set sounds.
HEADERS = 1000
# Mixes, and failures, that are listed.
_SHOWN = 5


def preview(
    tasks: Iterable[Task], items: Sequence[Item], total: int, settings: Settings, out: Path, *, files: int
) -> str:
    """Return the text of a dry run.

    Parameters
    ----------
    tasks : iterable of Task
        A sample of the run, rendered into a temporary folder that is removed.
    items : sequence of Item
        Sounds of the data set, evenly chosen: about `HEADERS`.
    total : int
        Files of the run.
    settings : Settings
        What the files of the run have in common.
    out : Path
        Where the run would write; nothing is written there.
    files : int
        Sounds of the data set, all of them.

    Raises
    ------
    RunStopped
        The disk of temporary files is full.
    """
    tasks = list(tasks)
    with tempfile.TemporaryDirectory() as folder:
        outcomes = list(write_mixes(tasks, settings, Path(folder), len(tasks)))
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    made = [outcome for outcome in outcomes if not outcome.reason]
    failed = [(task, outcome) for task, outcome in zip(tasks, outcomes) if outcome.reason]
    lines = [
        f"{total} mixes of {files} files ({len(settings.classes)} classes) would be written to {url_of(out) or out}"
    ]
    if made:
        sampled = sum(outcome.seconds for outcome in made)
        seconds = _total_seconds(items, total, settings, sampled / len(made))
        total_size = decimal(int(size / sampled * seconds), precision=2)
        lines.append(f"about {seconds / 3600:.2f} hours of audio, {total_size} of {settings.format}")
        free = ""
        if not url_of(out):
            place = next(p for p in [out.absolute(), *out.absolute().parents] if p.exists())
            free = f"{decimal(shutil.disk_usage(place).free, precision=2)} are free there; "
        lines.append(f"({free}the size is estimated from {len(made)} mixes)")
    for outcome in made[:_SHOWN]:
        row = json.loads(outcome.row)
        parts = " + ".join(source["id"] for source in row["sources"])
        label = ", ".join(f"{name} {share:.2f}" for name, share in (row["label"] or {}).items())
        lines.append(f"  {parts} -> {row['file_name']}" + (f"  ({label})" if label else ""))
    if failed:
        lines.append(f"{len(failed)} of {len(outcomes)} mixes that were tried failed:")
        lines += [f"  {task.item.id}: {outcome.reason}" for task, outcome in failed[:_SHOWN]]
    return "\n".join(lines)


def _total_seconds(items: Sequence[Item], total: int, settings: Settings, sampled: float) -> float:
    """Return how long all results sound: exact for a fixed length, from headers for the original's, else sampled."""
    if isinstance(settings.length, float):
        return settings.length * total
    if settings.length != "original":
        return sampled * total
    found = []
    for item in items:
        try:
            found.append(item.seconds or io.info(item.path).seconds)
        except AudioError:
            continue  # the run itself lists it; here it only has no length
    return sum(found) / max(1, len(found)) * total
