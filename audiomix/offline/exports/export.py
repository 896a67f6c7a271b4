"""`audiomix export`: what every form has in common."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from ... import check
from ..replay.output import Output, read_output

__all__ = ["FORMS", "Export", "Exported", "export_output", "link_audio"]

# Each is a file of this folder with a function `write(job)`, which returns notes.
FORMS = ("hf", "webdataset", "lhotse", "jams", "parquet", "nemo")


@dataclass(frozen=True)
class Export:
    """What a form is written from, and to.

    Parameters
    ----------
    output : Output
        What `audiomix augment` wrote.
    folder : Path
        Where files are written; it is given its final name when all is there.
    final : Path
        Its final name, for paths that are written down.
    own : tuple of str
        Mixers of the user's own, as ``mine.py:RollMix``.
    sources : tuple of str
        Folders that the sources are relative to; none takes those that the rows name.
    classes : tuple of str
        Names of all classes.
    shard_bytes : int
        About how large a shard gets.
    """

    output: Output
    folder: Path
    final: Path
    own: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    shard_bytes: int = 256 << 20

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the row of each mix."""
        yield from self.output.rows()


@dataclass(frozen=True)
class Exported:
    """What `export_output` did: the folder, the number of mixes, and what a person should know of."""

    path: Path
    files: int
    notes: tuple[str, ...] = field(default=())


def export_output(
    out: str | Path,
    form: str,
    to: str | Path | None = None,
    *,
    own: Sequence[str] = (),
    sources: Sequence[str | Path] = (),
    lossy: bool = False,
    shard_bytes: int = 256 << 20,
) -> Exported:
    """Write an output of `audiomix augment` in the form of another library.

    Parameters
    ----------
    out : path
        Folder of the run.
    form : str
        One of `FORMS`.
    to : path, optional
        Folder to write, new or empty; by default ``OUT-FORM`` beside `out`. Files of sound are hard links to those of
        `out` where the file system has them, else copies.
    own : sequence of str
        Mixers of the user's own, as ``mine.py:RollMix``; their plans are read.
    sources : sequence of path
        Folders that the sources are relative to; by default the one that each row names. Only lhotse's mixed cuts need
        them.
    lossy : bool
        Write a form that cannot hold all too.
    shard_bytes : int
        About how large a shard of webdataset or hf gets.

    Raises
    ------
    ValueError
        `out` is no output of `audiomix augment`, `to` holds something, or the form cannot hold what the rows say: the
        message says what is lost. Before any work.
    """
    output = read_output(out)
    form = check.choice("to", form, FORMS)
    final = Path(f"{output.path.resolve()}-{form}") if to is None else Path(to)
    if final.exists() and (not final.is_dir() or any(final.iterdir())):
        check.fail("out", "a new or empty folder", repr(str(final)), "there is something in it")
    if final.resolve().is_relative_to(output.path.resolve()):
        check.fail("out", f"a folder outside of {str(output.path)!r}", repr(str(final)), "it would be part of the set")
    check.integer("shard_bytes", shard_bytes, 1)
    module = import_module(f".{form}", __package__)
    find_losses: Callable[[Output], Mapping[str, str]] | None = getattr(module, "find_losses", None)
    notes = []
    for what, instead in (find_losses(output) if find_losses else {}).items():
        if not lossy:
            check.fail("to", f"a form that holds {what}", repr(form), f"{instead}: --lossy does that")
        notes.append(f"{what}: {instead}")
    final.absolute().parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.absolute().parent))
    try:
        os.chmod(folder, 0o777 & ~_umask())
        roots = tuple(os.path.abspath(root) for root in sources)
        job = Export(output, folder, final.absolute(), tuple(own), roots, output.classes, shard_bytes)
        notes += module.write(job)
        if final.exists():
            final.rmdir()
        os.replace(folder, final)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Exported(final, output.count, tuple(notes))


def link_audio(job: Export, row: Mapping[str, Any]) -> None:
    """Put a mix and its stems into the folder under their own names: as hard links, or copies where there are none.

    Parameters
    ----------
    job : Export
        What is written.
    row : mapping
        Of the manifest.
    """
    for name in (row["file_name"], *row["stems"]):
        place = job.folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(job.output.path / name, place)
        except OSError:  # another disk, or a file system without links
            shutil.copyfile(job.output.path / name, place)


def _umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now
