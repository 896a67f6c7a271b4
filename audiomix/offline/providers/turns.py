"""Who speaks when in the conversations of a run, as an RTTM file beside each manifest; see `audiomix.targets.rttm`."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from ...audio import io
from ...targets.rttm import Turn, format_rttm
from ..output_names import split_folder

__all__ = ["NAME", "field_of", "write_turns"]

NAME = "turns.rttm"


def write_turns(out: Path, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a manifest as they are, and write the turns of those that have any.

    Each folder with a manifest gets a file ``turns.rttm``, whole or not at all. A recording is named by its file
    without the suffix, relative to that folder.

    Parameters
    ----------
    out : Path
        Folder of the run.
    rows : iterable of dict
        With names relative to `out`.
    """
    with ExitStack() as stack:
        files: dict[str, IO[bytes]] = {}
        for row in rows:
            if row.get("turns") is not None:
                folder = split_folder(row["split"]) if row["split"] else ""
                if folder not in files:
                    (out / folder).mkdir(parents=True, exist_ok=True)
                    files[folder] = stack.enter_context(io.atomic_file(out / folder / NAME))
                files[folder].write(_format(row, f"{folder}/" if folder else "").encode())
            yield row


def _format(row: dict[str, Any], prefix: str) -> str:
    name = field_of(row["file_name"].removeprefix(prefix).rpartition(".")[0])
    return format_rttm(
        Turn(field_of(one["speaker"]), one["onset"], one["offset"] - one["onset"], name) for one in row["turns"]
    )


def field_of(name: str) -> str:
    """Return a name as a field of RTTM, which has no spaces: they, and %, are written as in an address.

    >>> field_of("call 1/ann"), field_of("100%"), field_of("<NA>")
    ('call%201/ann', '100%25', '%3CNA>')
    """
    text = "".join(quote(one) if one == "%" or one.isspace() else one for one in name)
    return f"%{ord(text[0]):02X}{text[1:]}" if text == "<NA>" or text.startswith(";;") else text
