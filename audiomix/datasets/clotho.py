"""Clotho: clips of 15 to 30 s, five captions each (doi:10.5281/zenodo.3490684).

Drossos, Lipping, Virtanen, "Clotho: an Audio Captioning Dataset", ICASSP 2020. ``clotho_captions_SPLIT.csv`` has
``file_name,caption_1..caption_5``. The files are in its folder or below it, or in ``SPLIT/`` or
``clotho_audio_files/SPLIT/`` beside its folder. ``clotho_metadata_SPLIT.csv`` has
``file_name,keywords,sound_id,sound_link,start_end_samples,manufacturer,license``: keywords with semicolons between
them, "Not found" where nothing is known, in Latin-1 since version 2.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import check
from . import tables
from .caption_lists import CaptionLists, NamedFiles, Row, split_in
from .dataset import Dataset
from .esc import attribution

__all__ = ["LISTS", "index"]


def index(root: Path | None = None, *, notes: list[str] | None = None) -> Dataset:
    """List the captioned clips of one list, or of all lists in a folder.

    Parameters
    ----------
    root : Path
        ``clotho_captions_SPLIT.csv``, or a folder with such files.
    notes : list of str, optional
        What a person should know of is appended: clips without a licence, metadata that are not UTF-8.

    Raises
    ------
    ValueError
        No list, or none of the files that it names.
    """
    return LISTS.read(root, notes)


def _rows(table: Path, notes: list[str]) -> Iterator[Row]:
    """Yield the rows with path and split, and where there are metadata with licence, attribution and tags."""
    stem = table.stem
    split = stem.rpartition("captions_")[2] if "captions_" in stem else split_in(stem)
    files = NamedFiles(table, split)
    credit = _credit(table.with_name(table.name.replace("captions", "metadata")), notes)
    without, present = 0, 0
    for where, row in tables.rows(table):
        name = row["file_name"].strip()
        path = files.get(name)
        present += path is not None
        known = credit.get(name, {})
        without += bool(credit) and not known
        # a file that is not there stays in the list, and is named when it cannot be read
        yield where, {"split": split, **known, **row, "file_name": path or name}
    if not present:
        check.fail(str(table), "beside or below its audio files", "a list of which none is there", "another split's?")
    if without:
        notes.append(f"{without} clips of {table.name} have no row in the metadata beside it: no licence is known")


def _credit(table: Path, notes: list[str]) -> dict[str, dict[str, Any]]:
    """Return licence, attribution and tags by the name of the file; nothing where there is no metadata."""
    if "metadata" not in table.name or not table.is_file():
        return {}
    encoding = "utf-8-sig"
    try:
        table.read_text("utf-8")
    except UnicodeDecodeError:
        encoding = "latin-1"
        notes.append(f"{table.name} is not UTF-8: read as Latin-1")
    credit = {}
    for where, row in tables.rows(table, encoding):
        known = {key: value for key, value in row.items() if value.strip() and value.strip().lower() != "not found"}
        who = {"author": known.get("manufacturer"), "title": Path(row.get("file_name", "")).stem}
        credit[row.get("file_name", "").strip()] = {
            "licence": known.get("license"),
            "attribution": attribution({**who, "url": known.get("sound_link")}),
            "tags": list(tables.tags(known.get("keywords"), where)),
        }
    return credit


LISTS = CaptionLists("clotho", frozenset({"file_name", "caption_1"}), frozenset({"path", "label"}), _rows)
