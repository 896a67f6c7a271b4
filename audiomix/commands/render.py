"""``audiomix render``: the mixes of a file of plans, made from the sources."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..offline.parallel import usable_workers
from ..offline.replay.render_plans import render_plans
from ..terminal import Exit, Summary, say

__all__ = ["render"]

_SHOWN = 10


def render(
    plans: Path,
    *,
    sources: Sequence[Path],
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    mixer: Sequence[str] = (),
    room: Path | None = None,
    workers: int = 1,
    other_versions: Annotated[bool, Parameter(negative="")] = False,
) -> Summary:
    """Make the mixes of a file that audiomix plans wrote, the same bits as where they were made first.

    A source that is missing, or decodes to other samples, is named, and the rest is made. Exit codes: 0 all mixes are
    there, 1 some are not, 2 a wrong argument, other versions or a file of another version, 3 stopped.

    Parameters
    ----------
    plans
        The file.
    sources
        Folder that the names of the sources are relative to; may be given several times. A source may have another
        lossless suffix there: what it decodes to counts.
    out
        Folder to write: new, empty, or of the same plans; then it goes on where it stopped.
    mixer
        Mixer of your own that made the mixes, as mine.py:RollMix; may be given several times.
    room
        Impulse responses of mixes that were made with --room: what it was given.
    workers
        Processes; at most as many as there are cores. The bytes do not depend on it.
    other_versions
        Try it with other versions than the file names; mixes that come out otherwise are listed and not written.
    """
    workers, notes = usable_workers(workers)
    done = render_plans(plans, out, sources, own=mixer, room=room, workers=workers, other_versions=other_versions)
    print(f"{done.files} mixes, {done.seconds / 3600:.2f} h of sound, in {done.path}")
    for note in (*notes, *done.notes):
        say(f"note: {note}")
    for name, count in sorted(done.missing.items())[:_SHOWN]:
        print(f"missing source: {name}, of {count} mixes")
    others = [error for error in done.errors if not error["reason"].startswith("missing source")]
    for error in others[:_SHOWN]:
        print(f"not done: {error['file']}: {error['reason']}")
    if done.errors:
        print(f"{len(done.errors)} could not be done, all in {done.path / 'errors.jsonl'}")
    facts = {
        "out": done.path, "files": done.files, "seconds": done.seconds, "missing": done.missing, "notes": done.notes,
        "errors": done.errors,
    }  # fmt: skip
    return Summary(Exit.SOME if done.errors else Exit.DONE, facts)
