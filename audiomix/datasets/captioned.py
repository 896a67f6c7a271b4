"""Lists of captioned clips as their makers publish them: Clotho and AudioCaps.

Each row is handed on with what a manifest has: the path of its audio file, its split, licence and attribution.

Clotho (doi:10.5281/zenodo.3490684): ``clotho_captions_SPLIT.csv`` has ``file_name,caption_1..caption_5``. The files are
in its folder or below it, or in ``SPLIT/`` or ``clotho_audio_files/SPLIT/`` beside its folder.
``clotho_metadata_SPLIT.csv`` has ``file_name,keywords,sound_id,sound_link,start_end_samples,manufacturer,license``:
keywords with semicolons between them, "Not found" where nothing is known, in Latin-1 since version 2.

AudioCaps (Kim et al. 2019): ``SPLIT.csv`` has ``audiocap_id,youtube_id,start_time,caption``; a clip of val and test has
five rows. Its files are found in or below the list's folder, or in ``SPLIT/`` beside it, under any of the names that
those who fetch them give: ``ID_START``, ``ID_START_END`` in seconds or milliseconds, ``ID``, each with or without a
``Y`` in front, or the number of the caption. Videos vanish from the web: clips without a file are left out, and noted.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .. import check
from . import tables
from .folders import SPLITS, attribution, audio_files

__all__ = ["lists", "rows"]

_Row = tuple[str, dict[str, Any]]
_CLOTHO = {"file_name", "caption_1"}
_AUDIOCAPS = {"youtube_id", "start_time", "caption"}
# AudioSet's clips, of which AudioCaps' are some, are ten seconds long.
_SECONDS = 10
_NAMES = ("{y}_{s}", "{y}_{s}_{e}", "{y}_{s}.000_{e}.000", "{y}_{s}000_{e}000", "{y}")


def rows(table: Path, notes: list[str]) -> Iterator[_Row]:
    """Yield the rows of a table with where they stand; those of Clotho and AudioCaps with `path` and more.

    Parameters
    ----------
    table : Path
    notes : list of str
        What a person should know of is appended.

    Raises
    ------
    ValueError
        Not one of the files is there; what `tables.rows` raises.
    """
    kind = _kind(table)
    return kind(table, notes) if kind else tables.rows(table)


def lists(folder: Path) -> list[Path]:
    """Return the lists of Clotho or AudioCaps in a folder, or in one of its folders, sorted."""
    found = sorted(folder.glob("*.csv")) or sorted(folder.glob("*/*.csv"))
    return [path for path in found if path.name[0] != "." and path.is_file() and _kind(path)]


def _kind(table: Path) -> Any:
    """Return who reads a table: a function, or None for a table that says where its files are."""
    names = set(tables.header(table))
    if names >= _CLOTHO and not names & {"path", "label"}:
        return _clotho
    return _audiocaps if names >= _AUDIOCAPS and not names & {"path", "file_name"} else None


class _Files:
    """Audio files by name with and without suffix; of several, the one in a folder named like the split."""

    def __init__(self, table: Path, split: str | None) -> None:
        self.table, self.folder = table, table.parent
        self._whole: dict[str, str] = {}
        self._stems: dict[str, str] = {}
        for path in sorted(
            self._found(split or ""), key=lambda p: ("/" + (split or "\0")) not in "/" + p.rpartition("/")[0]
        ):
            name = path.rpartition("/")[2]
            self._whole.setdefault(name, path)
            self._stems.setdefault(name.rpartition(".")[0], path)
        if not self._whole:
            expected = f"beside or below its audio files, or with a folder {split!r} beside it"
            check.fail(str(table), expected, "no audio files", "move the list to them")

    def get(self, *names: str) -> str | None:
        """Return the path, relative to the table, of the first name that there is, with its own or any suffix."""
        found = (index.get(name) for index in (self._whole, self._stems) for name in names)
        return next((path for path in found if path), None)

    def _found(self, split: str) -> Iterator[str]:
        below = list(audio_files(str(self.folder)))
        if below or not split:
            yield from below
            return
        above = self.folder.parent
        for folder in [above / split, *sorted(above.glob(f"*audio*/{split}"))]:
            if folder.is_dir():
                prefix = Path("..") / folder.relative_to(above)
                yield from (f"{prefix.as_posix()}/{path}" for path in audio_files(str(folder)))


def _clotho(table: Path, notes: list[str]) -> Iterator[_Row]:
    stem = table.stem
    split = stem.rpartition("captions_")[2] if "captions_" in stem else _split(stem)
    files = _Files(table, split)
    credit = _credit(table.with_name(table.name.replace("captions", "metadata")), notes)
    without, found = 0, 0
    for where, row in tables.rows(table):
        name = row["file_name"].strip()
        path = files.get(name)
        found += path is not None
        known = credit.get(name, {})
        without += bool(credit) and not known
        # a file that is not there stays in the list, and is named when it cannot be read
        yield where, {"split": split, **known, **row, "file_name": path or name}
    if not found:
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
    found = {}
    for where, row in tables.rows(table, encoding):
        known = {key: value for key, value in row.items() if value.strip() and value.strip().lower() != "not found"}
        who = {"author": known.get("manufacturer"), "title": Path(row.get("file_name", "")).stem}
        found[row.get("file_name", "").strip()] = {
            "licence": known.get("license"),
            "attribution": attribution({**who, "url": known.get("sound_link")}),
            "tags": list(tables.tags(known.get("keywords"), where)),
        }
    return found


def _audiocaps(table: Path, notes: list[str]) -> Iterator[_Row]:
    split = _split(table.stem)
    files = _Files(table, split)
    clips: dict[tuple[str, str], str | None] = {}
    owners: dict[str, tuple[str, str]] = {}
    for where, row in tables.rows(table):
        clip = row["youtube_id"].strip(), row["start_time"].strip()
        if clip not in clips:
            path = files.get(*_names(*clip), row.get("audiocap_id", "").strip())
            # a file named by the video alone is one clip's: another start is another sound
            clips[clip] = path if path is None or owners.setdefault(path, clip) == clip else None
        if clips[clip] is not None:
            url = f"https://www.youtube.com/watch?v={clip[0]}"
            yield where, {"split": split, "group": clip[0], "attribution": url, **row, "file_name": clips[clip]}
    missing = [clip for clip, path in clips.items() if path is None]
    if clips and len(missing) == len(clips):
        expected = "beside or below its audio files"
        got = f"a list of {len(clips)} clips of which none is there, first {_named(missing[:1])}"
        check.fail(str(table), expected, got, "named otherwise? ID_START.wav, ID.wav and YID.wav are found")
    if missing:
        left = f"{len(missing)} of {len(clips)} clips of {table.name} have no audio file and are left out"
        notes.append(f"{left}, e.g. {_named(missing[:3])}")


def _names(video: str, start: str) -> Iterator[str]:
    """Yield the names, without suffix, that a clip may have, the surest first."""
    try:
        first = str(int(float(start)))
        end = str(int(first) + _SECONDS)
    except (ValueError, OverflowError):  # not a number: it may be part of the name all the same
        first, end = start, ""
    for form in _NAMES:
        yield from (form.format(y=y, s=first, e=end) for y in (video, f"Y{video}"))


def _named(clips: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{video!r} at {start} s" for video, start in clips)


def _split(stem: str) -> str | None:
    """Return the split in the name of a list, as ``audiocaps_train`` or ``val`` have one."""
    return next((part for part in re.split(r"[^a-z]+", stem.lower()) if part in SPLITS), None)
