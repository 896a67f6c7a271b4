"""``audiomix verify``: whether the files of a mixed set are what its tables say."""

from ..offline.parallel import usable_workers
from ..offline.replay.verify import verify_output
from ..terminal import Exit, Summary, say

__all__ = ["verify"]


def verify(mixes: str, *, workers: int = 1) -> Summary:
    """Check an output of audiomix augment: checksums, durations, levels, labels, stems; each fault is listed.

    Exit codes: 0 all is right, 1 something is wrong, 2 a wrong argument. It looks at the output alone; audiomix replay
    makes a mix again from its sources, and audiomix audit recovers gains and places from the sound.

    Parameters
    ----------
    mixes
        Folder that audiomix augment or audiomix render wrote, or its URL.
    workers
        Processes; at most as many as there are cores. The result does not depend on it.
    """
    workers, notes = usable_workers(workers)
    for note in notes:
        say(f"note: {note}")
    found = verify_output(mixes, workers=workers)
    for fault in found.faults:
        print(f"{fault.file}: {fault.what}: {fault.reason}")
    what = f"{found.wrong} wrong" if found.wrong else "all right"
    print(f"{found.files} mixes, {found.seconds / 3600:.2f} h of sound: {what}")
    faults = [{"file": one.file, "what": one.what, "reason": one.reason} for one in found.faults]
    facts = {"mixes": mixes, "files": found.files, "seconds": found.seconds, "wrong": found.wrong, "faults": faults}
    return Summary(Exit.SOME if found.faults else Exit.DONE, facts)
