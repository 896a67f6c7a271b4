"""``audiomix plans``: a mixed set as its plans and the hashes of its sources, in one small file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..offline.parallel import usable_workers
from ..offline.replay.publish import write_plans
from ..terminal import Exit, Summary, say

__all__ = ["plans"]


def plans(
    mixes: Path,
    *,
    file: Annotated[Path, Parameter(name=["--out", "-o"])],
    mixer: Sequence[str] = (),
    room: Path | None = None,
    workers: int = 1,
) -> Summary:
    """Write the plans of an output of audiomix augment, with hashes of its decoded sources, not its audio.

    audiomix render makes the same bits of it wherever the sources are. Each mix is made again first and compared with
    its file; one that is not equal is listed and left out. Both sizes are printed. Exit codes: 0 all mixes are in the
    file, 1 some are not, 2 a wrong argument.

    Parameters
    ----------
    mixes
        Folder that audiomix augment wrote, as flac or wav; its sources must be where they were.
    file
        The file to write, .parquet.
    mixer
        Mixer of your own that made the mixes, as mine.py:RollMix; may be given several times.
    room
        Impulse responses of mixes that were made with --room: what it was given.
    workers
        Processes; at most as many as there are cores. The file does not depend on it.
    """
    workers, notes = usable_workers(workers)
    for note in notes:
        say(f"note: {note}")
    done = write_plans(mixes, file, own=mixer, room=room, workers=workers)
    per_mix = done.plan_bytes / max(1, done.files)
    share = f", 1/{done.audio_bytes / done.plan_bytes:.0f} of them" if done.audio_bytes else ""
    print(f"{done.files} mixes of {done.audio_bytes} bytes of audio; {file}: {done.plan_bytes} bytes{share} "
          f"({per_mix:.0f} a mix)")  # fmt: skip
    for error in done.errors[:5]:
        print(f"not in the file: {error['file']}: {error['reason']}")
    if len(done.errors) > 5:
        print(f"{len(done.errors)} mixes are not in the file")
    facts = {
        "file": file, "files": done.files, "plan_bytes": done.plan_bytes, "audio_bytes": done.audio_bytes,
        "errors": done.errors,
    }  # fmt: skip
    return Summary(Exit.SOME if done.errors else Exit.DONE, facts)
