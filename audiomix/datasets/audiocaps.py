"""AudioCaps: clips of ten seconds from YouTube with captions; some of AudioSet's.

Kim et al., "AudioCaps: Generating Captions for Audios in The Wild", NAACL 2019. ``SPLIT.csv`` has
``audiocap_id,youtube_id,start_time,caption``; a clip of val and test has five rows. Its files are found in or below the
list's folder, or in ``SPLIT/`` beside it, under any of the names that those who fetch them give: ``ID_START``,
``ID_START_END`` in seconds (30, 30.0 or 30.000) or milliseconds, ``ID``, each with or without a ``Y`` in front, or the
number of the caption. Videos vanish from the web: clips without a file are left out, and noted.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from .. import check
from . import tables
from .caption_lists import CaptionLists, NamedFiles, Row, split_in
from .dataset import Dataset

__all__ = ["LISTS", "index"]

_SECONDS = 10
# of start and end in seconds as numbers; starts are whole but for a few
_NAMES = (
    *("{y}_{s:.0f}", "{y}_{s:.0f}_{e:.0f}", "{y}_{s:.3f}_{e:.3f}", "{y}_{s:.1f}_{e:.1f}"),
    *("{y}_{ms:.0f}_{me:.0f}", "{y}_{s:.3f}", "{y}_{s:.1f}"),
)


def index(root: Path | None = None, *, notes: list[str] | None = None) -> Dataset:
    """List the captioned clips of one list, or of all lists in a folder.

    Parameters
    ----------
    root : Path
        ``train.csv``, ``val.csv`` or ``test.csv``, or a folder with such files.
    notes : list of str, optional
        Which clips have no file is appended.

    Raises
    ------
    ValueError
        No list, or none of the files that it names.
    """
    return LISTS.read(root, notes)


def _rows(table: Path, notes: list[str]) -> Iterator[Row]:
    """Yield the rows with path and split, the video as the group, and its address as the attribution."""
    split = split_in(table.stem)
    files = NamedFiles(table, split)
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
        got = f"a list of {len(clips)} clips of which none is there, first {_describe(missing[:1])}"
        check.fail(str(table), expected, got, "named otherwise? ID_START.wav, ID.wav and YID.wav are found")
    if missing:
        left = f"{len(missing)} of {len(clips)} clips of {table.name} have no audio file and are left out"
        notes.append(f"{left}, e.g. {_describe(missing[:3])}")


def _names(video: str, start: str) -> Iterator[str]:
    """Yield the names, without suffix, that a clip may have, the surest first."""
    videos = (video, f"Y{video}")
    try:
        first = float(start)
        numbers = {"s": first, "e": first + _SECONDS, "ms": 1000 * first, "me": 1000 * (first + _SECONDS)}
        yield from (form.format(y=y, **numbers) for form in _NAMES for y in videos)
    except ValueError:  # not a number: it may be part of the name all the same
        yield from (f"{y}_{start}" for y in videos)
    yield from videos


def _describe(clips: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{video!r} at {start} s" for video, start in clips)


LISTS = CaptionLists(
    "audiocaps", frozenset({"youtube_id", "start_time", "caption"}), frozenset({"path", "file_name"}), _rows
)
