"""Speech Commands as a task of 12 classes: ten words, any other word, and silence.

Warden, "Speech Commands", arXiv 1804.03209, section 7. The ten words are yes, no, up, down, left, right, on, off, stop
and go. In each of the three parts (train, validation, test) there are as many clips of class ``_unknown_``, drawn from
all other words, and of ``_silence_``, as the ten words have on average. Silence is cut from the recordings of
``_background_noise_``, one second each: for training from their first 80 %, for validation from the next 10 %, for test
from the last, so that no part hears another's; cuts within a part may overlap, and those of one recording are a group,
as clips of one speaker are. All draws are fixed. Results do not compare with those on 35 words, nor to the digit with
those on the published test archive of 12 classes, whose silence and unknown clips are others.
"""

from pathlib import Path

from audiomix import check, draw
from audiomix.audio import io

from . import Dataset, Item
from .speech_commands import CONFIGS, RATE, SECONDS, read_words, speaker

__all__ = ["index"]

WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
UNKNOWN_WORD, SILENCE = "_unknown_", "_silence_"
NAMES = tuple(sorted((*WORDS, UNKNOWN_WORD, SILENCE)))
# where in a noise recording the cuts of each part lie
_SHARES = {"train": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}


def index(root: Path | None = None) -> Dataset:
    """List the clips under `root`; see `speech_commands` for the archive.

    Raises
    ------
    ValueError
        One of the ten words, all other words or the noise recordings are not there.
    """
    root, found = read_words(root)
    present = {word for word, _ in found}
    if missing := [word for word in WORDS if word not in present]:
        check.fail("root", f"Speech Commands with the words {', '.join(WORDS)}", f"no {', '.join(missing)}")
    if present == set(WORDS):
        check.fail("root", "Speech Commands with other words than the ten, for the class of unknown words", "none")
    items = []
    for part in _SHARES:
        of_part = [clip for clip, p in found.items() if p == part]
        known = [(word, path) for word, path in of_part if word in WORDS]
        others = [path for word, path in of_part if word not in WORDS]
        count = round(len(known) / len(WORDS))
        order = draw.permutation(len(others), generator=draw.generator_for(0, "unknown words", part)).tolist()
        known += [(UNKNOWN_WORD, others[i]) for i in sorted(order[:count])]
        items += [_item(word, path, part) for word, path in known]
        items += _silence(root, part, count)
    return Dataset("speech_commands_12", tuple(items), NAMES, RATE, SECONDS, root, CONFIGS)


def _item(word: str, path: Path, part: str) -> Item:
    return Item(path, NAMES.index(word), f"{path.parent.name}/{path.name}", None, speaker(path), part)


def _silence(root: Path, part: str, count: int) -> list[Item]:
    """Return cuts from the noise recordings, as many from each."""
    paths = sorted((root / "_background_noise_").glob("*.wav"))
    if not paths:
        check.fail("root", "Speech Commands with recordings in _background_noise_", str(root), "they are the silence")
    low, high = _SHARES[part]
    seconds = [io.info(path).seconds for path in paths]
    places = draw.uniform(0, 1, count, generator=draw.generator_for(0, "silence", part)).tolist()
    items = []
    for i, place in enumerate(places):
        path, length = paths[i % len(paths)], seconds[i % len(paths)]
        room = (high - low) * length - SECONDS
        if room < 0:
            least = SECONDS / (high - low)
            check.fail(str(path), f"at least {least:g} s long, for cuts of the {part} part", f"{length:g} s")
        start = round(low * length + place * room, 4)
        name = f"_background_noise_/{path.name}@{part}{i:05d}"
        group = f"{path.stem}@{part}"
        items.append(Item(path, NAMES.index(SILENCE), name, None, group, part, start, SECONDS))
    return items
