"""``audiomix replay``: one mix of a set is made again from its plan, and compared with its file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..offline.replay.compare import replay_mix
from ..terminal import Exit, Summary, say

__all__ = ["replay"]


def replay(
    mixes: Path,
    name: str,
    *,
    sources: Sequence[Path] = (),
    mixer: Sequence[str] = (),
    room: Path | None = None,
    file: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
) -> Summary:
    """Make one mix of an output of audiomix augment again from its plan; say whether it is equal to the bit.

    Exit codes: 0 equal, 1 not, or it cannot be made again, 2 a wrong argument. Sources that have changed since, and
    other versions of what the samples depend on, are named.

    Parameters
    ----------
    mixes
        Folder that audiomix augment or audiomix render wrote.
    name
        The mix: its file_name in metadata.jsonl, relative to the folder, with or without suffix.
    sources
        Folder that the sources are relative to; may be given several times. By default the one that the row names.
    mixer
        Mixer of your own that made the mixes, as mine.py:RollMix; may be given several times.
    room
        Impulse responses of mixes that were made with --room: what it was given.
    file
        A file to write the mix to.
    """
    found = replay_mix(mixes, name, sources=sources, own=mixer, room=room, to=file)
    if found.equal:
        print(f"{found.file}: made again from its plan, {found.samples} samples, all bits equal")
    elif found.reason:
        print(f"{found.file}: cannot be made again: {found.reason}")
    for one in found.different:
        print(f"different: {one}")
    for word, names in (("changed", found.changed), ("missing", found.missing)):
        for one in names:
            print(f"{word} source: {one}")
    for one in found.versions:
        say(f"note: another version is installed: {one}")
    facts = {
        "mixes": mixes, "file": found.file, "equal": found.equal, "samples": found.samples,
        "different": found.different,
        "changed": found.changed, "missing": found.missing, "versions": found.versions, "reason": found.reason,
    }  # fmt: skip
    return Summary(Exit.DONE if found.equal else Exit.SOME, facts)
