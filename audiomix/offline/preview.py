"""What a run would do and how large it gets, from a few mixes that are made and thrown away."""

import json
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ..audio import io
from ..audio.io import AudioError
from ..datasets.item import Item
from .parallel import Outcome, serial
from .render import Settings, Task

__all__ = ["preview"]

_HEADERS = 1000
_SHOWN = 5


def preview(tasks: Iterable[Task], items: list[Item], total: int, settings: Settings, out: Path) -> str:
    """Return the text of a dry run.

    Parameters
    ----------
    tasks : iterable of Task
        A sample of the run, rendered into a temporary folder that is removed.
    items : list of Item
    total : int
        Files of the run.
    settings : Settings
    out : Path
        Where the run would write; nothing is written there.
    """
    tasks = list(tasks)
    with tempfile.TemporaryDirectory() as folder:
        made = list(serial(tasks, settings, Path(folder)))
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    good = [outcome for outcome in made if not outcome.reason]
    lines = [f"{total} mixes of {len(items)} files ({len(settings.classes)} classes) would be written to {out}"]
    if good:
        sampled = sum(outcome.seconds for outcome in good)
        seconds = _seconds(items, total, settings, sampled / len(good))
        needed = size / sampled * seconds
        lines.append(f"about {seconds / 3600:.2f} hours of audio, {_bytes(needed)} of {settings.format}")
        lines.append(f"({_bytes(_free(out))} are free there; the size is estimated from {len(good)} mixes)")
        lines += [_shown(outcome) for outcome in good[:_SHOWN]]
    bad = [(task, outcome) for task, outcome in zip(tasks, made) if outcome.reason]
    if bad:
        lines.append(f"{len(bad)} of {len(made)} mixes that were tried failed:")
        lines += [f"  {task.item.id}: {outcome.reason}" for task, outcome in bad[:_SHOWN]]
    return "\n".join(lines)


def _seconds(items: list[Item], total: int, settings: Settings, sampled: float) -> float:
    """Return how long all results sound: exact for a fixed length, from headers for the original's, else sampled."""
    if isinstance(settings.length, float):
        return settings.length * total
    if settings.length != "original":
        return sampled * total
    found = []
    for item in items[:: max(1, len(items) // _HEADERS)]:
        try:
            found.append(io.info(item.path).seconds)
        except AudioError:
            continue  # the run itself lists it; here it only has no length
    return sum(found) / max(1, len(found)) * total


def _shown(outcome: Outcome) -> str:
    row = json.loads(outcome.row)
    parts = " + ".join(source["id"] for source in row["sources"])
    label = ", ".join(f"{name} {share:.2f}" for name, share in (row["label"] or {}).items())
    return f"  {parts} -> {row['file_name']}" + (f"  ({label})" if label else "")


def _free(out: Path) -> int:
    return shutil.disk_usage(next(p for p in [out.absolute(), *out.absolute().parents] if p.exists())).free


def _bytes(size: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
