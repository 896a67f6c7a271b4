"""``audiomix export``: a mixed set in the form of another library."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..offline.exports.export import export_output
from ..terminal import Exit, Summary, say

__all__ = ["export"]


def export(
    mixes: Path,
    *,
    to: str,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    sources: Sequence[Path] = (),
    mixer: Sequence[str] = (),
    lossy: Annotated[bool, Parameter(negative="")] = False,
    shard_mb: int = 256,
) -> Summary:
    """Write an output of audiomix augment in the form of another library, which augment reads too.

    hf: Parquet shards with the sounds inside, for the Hugging Face Hub. webdataset: tar shards. lhotse: recordings,
    supervisions, cuts, and mixed cuts of the sources. jams: a .jams file beside each sound. parquet: an audiofolder
    whose table is Parquet. nemo: a manifest of JSON lines.

    Parameters
    ----------
    mixes
        Folder that audiomix augment or audiomix render wrote.
    to
        hf, webdataset, lhotse, jams, parquet or nemo.
    out
        Folder to write, new or empty; by default MIXES-FORM beside the set. Sounds are hard links where the file system
        has them, else copies.
    sources
        Folder that the sources are relative to; may be given several times. By default the one that each row names.
        Only the mixed cuts of lhotse need them.
    mixer
        Mixer of your own that made the mixes, as mine.py:RollMix; may be given several times.
    lossy
        Write a form that cannot hold all that the rows say; what is lost is said.
    shard_mb
        About how large a shard of webdataset or hf gets, in megabytes (2^20 bytes).
    """
    done = export_output(mixes, to, out, own=mixer, sources=sources, lossy=lossy, shard_bytes=shard_mb << 20)
    print(f"{done.files} mixes as {to} in {done.path}")
    for note in done.notes:
        say(f"note: {note}")
    return Summary(Exit.DONE, {"out": done.path, "to": to, "files": done.files, "notes": done.notes})
