"""Speech Commands as a task of 12 classes: ten words, any other word, and silence.

Warden, "Speech Commands", arXiv 1804.03209, section 7. The ten words are yes, no, up, down, left, right, on, off, stop
and go. In each of the three parts (train, validation, test) there are as many clips of class ``_unknown_``, drawn from
all other words, and of ``_silence_``, as the ten words have on average. Silence is cut from the recordings of
``_background_noise_``, one second each: for training from their first 80 %, for validation from the next 10 %, for test
from the last, so that no part hears another's; cuts within a part may overlap, and those of one recording are a group,
as clips of one speaker are. All draws are fixed. Results do not compare with those on 35 words, nor to the digit with
those on the published test archive of 12 classes, whose silence and unknown clips are others.
"""

from dataclasses import replace
from pathlib import Path

from .. import check, draw
from ..audio import io
from .dataset import Dataset
from .item import Item
from .speech_commands import RATE, SECONDS, read_words
from .tree import NOISE
from .walk import list_files

__all__ = ["index"]

WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
UNKNOWN_WORD, SILENCE = "_unknown_", "_silence_"
NAMES = tuple(sorted((*WORDS, UNKNOWN_WORD, SILENCE)))
# where in a noise recording the cuts of each part lie
_SHARES = {"train": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}


def index(root: Path | None = None) -> Dataset:
    """List the clips under `root`; see `speech_commands` for the archive.

    Parameters
    ----------
    root : Path
        The folder with ``validation_list.txt`` and ``testing_list.txt``.

    Raises
    ------
    ValueError
        One of the ten words, all other words or the noise recordings are not there.
    """
    root, clips = read_words(root)
    present = {clip.label for clip in clips}
    if missing := [word for word in WORDS if word not in present]:
        check.fail("root", f"Speech Commands with the words {', '.join(WORDS)}", f"no {', '.join(missing)}")
    if present == set(WORDS):
        check.fail("root", "Speech Commands with other words than the ten, for the class of unknown words", "none")
    items: list[Item] = []
    for part in _SHARES:
        known = [clip for clip in clips if clip.split == part and clip.label in WORDS]
        others = [clip for clip in clips if clip.split == part and clip.label not in WORDS]
        count = round(len(known) / len(WORDS))
        order = draw.permutation(len(others), generator=draw.generator_for(0, "unknown words", part)).tolist()
        items += known
        items += [replace(others[i], label=UNKNOWN_WORD) for i in order[:count]]
        items += _silence(root, part, count)
    return Dataset("speech_commands_12", tuple(items), NAMES, RATE, SECONDS, root, speech=True)


def _silence(root: Path, part: str, count: int) -> list[Item]:
    """Return cuts from the noise recordings, as many from each."""
    found = list_files(root / NOISE, recurse=False) if (root / NOISE).is_dir() else ()
    names = [name for name in found if name.endswith(".wav")]
    if not names:
        check.fail("root", "Speech Commands with recordings in _background_noise_", str(root), "they are the silence")
    low, high = _SHARES[part]
    seconds = [io.info(root / NOISE / name).seconds for name in names]
    places = draw.uniform(0, 1, count, generator=draw.generator_for(0, "silence", part)).tolist()
    items = []
    for i, place in enumerate(places):
        name, length = names[i % len(names)], seconds[i % len(names)]
        room = (high - low) * length - SECONDS
        if room < 0:
            least = SECONDS / (high - low)
            expected = f"at least {least:g} s long, for cuts of the {part} part"
            check.fail(str(root / NOISE / name), expected, f"{length:g} s")
        items.append(
            Item(
                str(root),
                f"{NOISE}/{name}@{part}{i:05d}",
                SILENCE,
                split=part,
                group=f"{Path(name).stem}@{part}",
                file=f"{NOISE}/{name}",
                start=round(low * length + place * room, 4),
                seconds=SECONDS,
            )
        )
    return items
