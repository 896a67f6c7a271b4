"""A folder in GRID's layout: ``video/ID.mpg`` and ``align/ID.align``, one sentence of six words a clip.

The sentences follow one grammar, a word from each of six lists, so a word's slot is known from its place. Alignments
are in units of 1/25000 s from the start of the clip: 1000 a video frame at 25 pictures a second.

Cooke, Barker, Cunningham and Shao, "An audio-visual corpus for speech perception and automatic speech recognition",
JASA 2006.
"""

import string
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from audiomix import check
from audiomix.draw import generator_for, permutation

__all__ = ["SLOTS", "UNITS", "Utterance", "hold_out", "index", "read_align"]

UNITS = 25_000  # an alignment's units in a second
SLOTS: dict[str, tuple[str, ...]] = {
    "command": ("bin", "lay", "place", "set"),
    "colour": ("blue", "green", "red", "white"),
    "preposition": ("at", "by", "in", "with"),
    "letter": tuple(c for c in string.ascii_lowercase if c != "w"),  # w is the only one of several syllables
    "digit": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    "adverb": ("again", "now", "please", "soon"),
}
_SILENCE = ("sil", "sp")


@dataclass(frozen=True)
class Utterance:
    """One clip and the words spoken in it."""

    id: str  # the files' name without its ending
    video: Path  # the file of pictures and sound
    words: tuple[int, ...]  # for each slot, the word's place in `SLOTS`
    spans: tuple[tuple[float, float], ...]  # for each slot, start and end in seconds from the start of the clip


def read_align(path: Path) -> tuple[tuple[int, ...], tuple[tuple[float, float], ...]]:
    """Return the six words of an alignment, as places in `SLOTS`, and their spans in seconds.

    Parameters
    ----------
    path : Path
        Lines ``START END WORD``, in units of 1/25000 s.

    Raises
    ------
    ValueError
        The file is empty, not an alignment, or its words break the grammar.
    OSError
        It cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a text file") from None
    rows = [_row(path, n, line.split()) for n, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise ValueError(f"{path}: the alignment is empty")
    for (_, end, word), (start, _, later) in pairwise(rows):
        if start < end:
            raise ValueError(f"{path}: {later!r} begins at {start}, before {word!r} ends at {end}")
    words = [row for row in rows if row[2] not in _SILENCE]
    if len(words) != len(SLOTS):
        text = " ".join(word for *_, word in words) or "none"
        raise ValueError(f"{path}: {len(words)} words instead of {len(SLOTS)}: {text}")
    for (slot, known), (*_, word) in zip(SLOTS.items(), words):
        if word not in known:
            raise ValueError(f"{path}: {slot} {word!r} is not one of {' '.join(known)}")
    places = tuple(known.index(word) for known, (*_, word) in zip(SLOTS.values(), words))
    return places, tuple((start / UNITS, end / UNITS) for start, end, _ in words)


def _row(path: Path, number: int, fields: list[str]) -> tuple[int, int, str]:
    if len(fields) != 3 or not (fields[0].isdecimal() and fields[1].isdecimal()):
        raise ValueError(f"{path}:{number}: START END WORD expected, in units of 1/{UNITS} s, got {' '.join(fields)!r}")
    start, end = int(fields[0]), int(fields[1])
    if end <= start:
        raise ValueError(f"{path}:{number}: {fields[2]!r} ends at {end}, not after its start at {start}")
    return start, end, fields[2].lower()


def index(root: Path) -> tuple[list[Utterance], dict[str, str]]:
    """Return the utterances of a folder, by name, and those that cannot be used with their reasons.

    Raises
    ------
    FileNotFoundError
        There is no ``video`` or ``align`` folder, or no ``video/*.mpg``.
    ValueError
        Not one clip can be used.
    """
    root = Path(root)
    for part in ("video", "align"):
        if not (root / part).is_dir():
            raise FileNotFoundError(f"{root} has no folder {part}/: GRID's layout is video/*.mpg and align/*.align")
    videos = {path.stem: path for path in sorted((root / "video").glob("*.mpg"))}
    if not videos:
        raise FileNotFoundError(f"no video/*.mpg in {root}")
    found: list[Utterance] = []
    # an alignment without its video is a clip that is missing, not one that was never there
    errors = {p.stem: f"no video {p.stem}.mpg" for p in (root / "align").glob("*.align") if p.stem not in videos}
    for name, video in videos.items():
        align = root / "align" / f"{name}.align"
        try:
            found.append(Utterance(name, video, *read_align(align)))
        except FileNotFoundError:
            errors[name] = f"no alignment {align}"
        except (ValueError, OSError) as error:
            errors[name] = str(error)
    if not found:
        raise ValueError(f"none of {len(videos)} clips in {root} can be used, the first: {next(iter(errors.values()))}")
    return found, dict(sorted(errors.items()))


def hold_out(ids: list[str], share: float, seed: int) -> tuple[list[str], list[str]]:
    """Return the ids to train on and those held out: whole utterances, at least one of each.

    The held-out ones are a function of the set of ids, of their `share`, a fraction inside (0, 1), and of the seed.

    Raises
    ------
    ValueError
        There are fewer than two, or `share` is not inside (0, 1).

    Examples
    --------
    >>> hold_out(["a", "b", "c", "d"], 0.25, seed=0)[1]
    ['b']
    """
    if not 0 < check.fraction("holdout", share) < 1:
        check.fail("holdout", "a fraction inside (0, 1)", share)
    if len(ids) < 2:
        check.fail("the clips", "two at least: one is held out", f"{len(ids)} that can be used")
    ordered = sorted(ids)
    order = permutation(len(ids), generator=generator_for(seed, "hold out")).tolist()
    count = min(max(1, round(share * len(ids))), len(ids) - 1)
    held = sorted(ordered[i] for i in order[:count])
    return sorted(set(ids).difference(held)), held
