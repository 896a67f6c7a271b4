"""Speech Commands: words of one second, by many speakers; 35 words, or those that are chosen.

Warden, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition", arXiv 1804.03209 (version 0.02). One
folder a word; ``validation_list.txt`` and ``testing_list.txt`` say which clips are held out, all others train, and no
speaker is in two of the three. ``_background_noise_`` is left aside: the task with silence and unknown words is
``speech_commands_12``. Results on some of the words do not compare with results on all.
"""

from dataclasses import replace
from pathlib import Path

from .. import check
from .dataset import Dataset
from .item import Item
from .tree import read_tree
from .walk import check_folder, list_files, subfolders

__all__ = ["index", "is_archive", "read", "read_words"]

RATE, SECONDS = 16000, 1.0
_LISTS = {"validation_list.txt": "validation", "testing_list.txt": "test"}


def is_archive(root: Path) -> bool:
    """Say whether a folder has the official lists of Speech Commands."""
    return all((root / name).is_file() for name in _LISTS)


def read(root: Path) -> list[Item]:
    """Read all sounds of an archive but the background noises, for mixing, with official parts, speakers as groups.

    Unlike `index` it takes sounds of any suffix and at any depth below the folder of a word, and clips that the lists
    name and that are not there are none of its business.

    Parameters
    ----------
    root : Path
        The folder with ``validation_list.txt`` and ``testing_list.txt``.
    """
    official = {path: split for name, split in _LISTS.items() for path in _read_list(root, name)}
    return [
        replace(item, split=official.get(item.id, "train"), group=speaker(item.id.rpartition("/")[2]))
        for item in read_tree(root, "class", notes=[])
    ]


def index(root: Path | None = None, *, words: str = "", parts: str = "") -> Dataset:
    """List the clips under `root`.

    Parameters
    ----------
    root : Path
        The folder with ``validation_list.txt`` and ``testing_list.txt``.
    words : str
        The words to tell apart, joined by +; by default all that have a folder.
    parts : str
        Official parts, train, validation or test, joined by +, that are a data set of their own, whose clips have no
        part any more: ``validation+test`` are the speakers that are trained on in no other results. By default all, as
        they are.

    Raises
    ------
    ValueError
        There are no lists, they name clips or words that are not there, or a chosen word has no folder.
    """
    root, items = read_words(root)
    names = tuple(sorted({item.classes[0] for item in items}))
    words_of_lists = {path.split("/")[0] for name in _LISTS for path in _read_list(root, name)}
    if not words and (absent := sorted(words_of_lists - set(names))):
        slip = "was it unpacked to its end? With some of the words alone: speech_commands:words=up+down"
        check.fail(str(root), "a folder a word that its lists name", f"none of {', '.join(absent)}", slip)
    if words:
        chosen = [word.strip() for word in words.split("+")]
        for word in chosen:
            check.choice("words", word, names)
        names = tuple(sorted(set(chosen)))
    items = [item for item in items if item.label in names]
    if not parts:
        return Dataset("speech_commands", tuple(items), names, RATE, SECONDS, root, speech=True)
    for part in (taken := [part.strip() for part in parts.split("+")]):
        check.choice("parts", part, ("train", "validation", "test"))
    own = tuple(replace(item, split=None) for item in items if item.split in taken)
    # another name: what is published, and chosen, of the official parts is not of these
    return Dataset("speech_commands_parts", own, names, RATE, SECONDS, root, official=False, speech=True)


def read_words(root: Path | None) -> tuple[Path, list[Item]]:
    """Return the archive's folder, and its clips: the wav files in the folders of words.

    Parameters
    ----------
    root : Path or None
        The folder with ``validation_list.txt`` and ``testing_list.txt``.

    Raises
    ------
    ValueError
        There are no lists or no clips, or a list names a clip that is not in the folder of its word.
    """
    root = check_folder(root, "Speech Commands (a folder a word, validation_list.txt, testing_list.txt)")
    if missing := [name for name in _LISTS if not (root / name).is_file()]:
        slip = "one folder too high or too low?"
        check.fail("root", "Speech Commands, with validation_list.txt and testing_list.txt", f"no {missing[0]}", slip)
    words = [name for name in subfolders(root) if not name.startswith("_")]
    splits = {
        f"{word}/{name}": "train"
        for word in words
        for name in list_files(root / word, recurse=False)
        if name.endswith(".wav")
    }
    if not splits:
        check.fail("root", "Speech Commands, with a folder a word", f"no wav files in folders of {root}")
    for name, split in _LISTS.items():
        paths = [path for path in _read_list(root, name) if path.split("/")[0] in words]
        if absent := [path for path in paths if path not in splits]:
            got = f"{len(absent)} that are not there, e.g. {absent[0]}"
            check.fail(str(root / name), "a list of clips of the archive", got, "was it unpacked to its end?")
        splits.update(dict.fromkeys(paths, split))
    return root, [
        Item(str(root), path, path.split("/")[0], split=split, group=speaker(Path(path).stem))
        for path, split in splits.items()
    ]


def speaker(name: str) -> str:
    """Return who speaks.

    >>> speaker("0a7c2a8d_nohash_0.wav")
    '0a7c2a8d'
    """
    return name.partition("_nohash_")[0]


def _read_list(root: Path, name: str) -> list[str]:
    return [line.strip() for line in (root / name).read_text(encoding="utf-8").splitlines() if line.strip()]
