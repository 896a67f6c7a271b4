"""Any folder of audio: one folder a class.

``ROOT/CLASS/*.wav`` (or any other audio suffix, at any depth below the class). With ``ROOT/train/CLASS`` and
``ROOT/test/CLASS`` the test folder is held out, and a validation folder (``validation``, ``valid`` or ``val``) is left
alone; with train and validation only, validation is held out. Clips of unknown class may stand in ``ROOT/unlabelled``:
they train, and are never tested on.

`read_classes` reads such a folder for mixing, `index` for training. They differ in which folders are parts rather than
classes, in what they refuse, and in how they walk (`walk.OFFLINE` and `walk.TRAINING`); issue 14 makes one of them.
"""

from collections.abc import Iterator
from pathlib import Path
from sys import intern

from .. import check
from ..audio.io import AUDIO_SUFFIXES
from .dataset import Dataset, usual_form
from .item import SPLITS, Item
from .walk import OFFLINE, TRAINING, check_folder, is_audio, list_files, subfolders

__all__ = ["index", "read_classes"]

# The names that `index` takes for parts; `read_classes` takes all of `SPLITS`.
_TRAINING_SPLITS = ("train", "test", "validation", "valid", "val")
_UNLABELLED = ("unlabelled", "unlabeled")

# A folder with nothing but such files is no class: notes, tables, or an earlier run's results.
_PAPERS = (
    *(".txt", ".md", ".pdf", ".html", ".csv", ".tsv", ".json", ".jsonl", ".yaml", ".yml", ".toml", ".xml"),
    *(".png", ".jpg", ".jpeg", ".svg", ".npy", ".npz", ".safetensors", ".pt", ".onnx", ".py", ".log"),
)


def read_classes(root: Path) -> list[Item]:
    """Read ``CLASS/**/*.wav``, or ``SPLIT/CLASS/**/*.wav`` where all folders are named like splits, for mixing.

    Parameters
    ----------
    root : Path
        The folder of the class folders, or of the splits.

    Returns
    -------
    list of Item
        Sorted; ids are paths relative to `root`. A file outside the class folders has no label. A split is called what
        its folder is called.
    """
    tops = subfolders(root)
    depth = 1 if tops and all(name.lower() in SPLITS for name in tops) else 0
    items = []
    for path in list_files(root, OFFLINE):
        parts = path.split("/")
        label = intern(parts[depth]) if len(parts) > depth + 1 else None
        items.append(Item(str(root), path, label, split=intern(parts[0]) if depth and len(parts) > 1 else None))
    return items


def index(root: Path | None = None, *, notes: list[str] | None = None) -> Dataset:
    """List the audio files under `root`, a class a folder, for training.

    Parameters
    ----------
    root : Path
        The folder of the class folders, or of the parts.
    notes : list of str, optional
        What is ignored is appended.

    Raises
    ------
    ValueError
        There are no audio files, no class folders, a class folder without clips, a train folder without another, or
        the reverse, or classes that the train folder lacks.
    """
    root = check_folder(root, "audio, one folder a class")
    notes = [] if notes is None else notes
    folders = list(_class_folders(root, notes))
    _check_filled(root, [folder for *_, folder in folders], notes)
    items = [
        Item(str(root), f"{folder}/{name}", label, split=split)
        for split, label, folder in folders
        for name in list_files(root / folder, TRAINING)
    ]
    strays = list(list_files(root, TRAINING, recurse=False))
    if not items:
        slip = "files lie in the top folder, without a class" if strays else "is it empty?"
        check.fail("root", "a folder with audio files in one folder a class", str(root), slip)
    names = tuple(sorted({name for item in items for name in item.classes}))
    if not names:
        check.fail("root", "a folder with at least one folder a class", f"{root}, with unlabelled clips alone")
    trained = {item.label for item in items if item.split in (None, "train")}
    if untrained := [name for name in names if name not in trained]:
        others = " and ".join(sorted({f"root/{item.split}" for item in items if item.label in untrained}))
        check.fail(others, "a folder with the classes of root/train", f"also {', '.join(untrained)}")
    if strays:
        text = f"{root}: ignored: {len(strays)} files in no class folder, such as {strays[0]}; unlabelled clips "
        notes.append(text + "belong in a folder unlabelled")
    rate, seconds = usual_form([item.path for item in items], root)
    return Dataset("folder", tuple(items), names, rate, seconds, root, official=False)


def _class_folders(root: Path, notes: list[str]) -> Iterator[tuple[str | None, str | None, str]]:
    """Yield split, class name or None, and path relative to `root` of each folder with clips."""
    tops = _within(root)
    split_tops = _are_parts(root, [name for name in tops if name.lower() not in _UNLABELLED], notes)
    for top in tops:
        if top.lower() in _UNLABELLED:
            yield "unlabelled", None, top
        elif split_tops and top.lower() in _TRAINING_SPLITS:
            if not (classes := _within(root / top)):
                check.fail(str(root / top), "a folder with one folder a class", "none")
            yield from ((SPLITS[top.lower()], name, f"{top}/{name}") for name in classes)
        elif not split_tops:
            yield None, top, top


def _within(folder: Path) -> list[str]:
    return [name for name in subfolders(folder) if not name.startswith("__MACOSX")]


def _are_parts(root: Path, names: list[str], notes: list[str]) -> bool:
    """Say whether folders of these names are parts of a data set rather than classes; note which are ignored."""
    parts = [name for name in names if name.lower() in _TRAINING_SPLITS]
    kinds = {SPLITS[name.lower()] for name in parts}
    others = [name for name in names if name not in parts]
    if parts and not others and ("train" not in kinds or len(kinds) == 1):
        slip = "one folder too high? classes stand below train and test"
        check.fail("root", "a folder with train beside test or validation", f"{root} with {', '.join(parts)}", slip)
    if "train" not in kinds or len(kinds) == 1:
        return False
    if others:
        notes.append(f"{root}: taken apart into {', '.join(parts)}; ignored: {', '.join(others)}")
    return True


def _check_filled(root: Path, folders: list[str], notes: list[str]) -> None:
    """Raise where a folder is empty or holds what may be sound of another kind; note the files that are not read."""
    empty: list[str] = []
    left: list[str] = []
    for folder in folders:
        names = list(list_files(root / folder, TRAINING, audio_only=False))
        others = [name for name in names if not is_audio(name)]
        papers = bool(others) and all(Path(name).suffix.lower() in _PAPERS for name in others)
        if len(others) == len(names) and not papers:
            empty.append(f"{folder} ({_suffixes(others) or 'empty'})")
        else:
            left += [f"{folder}/{name}" for name in others]
    if empty:
        got = f"{root} with folders that have none: {', '.join(empty)}"
        slip = f"a class without clips? {' '.join(AUDIO_SUFFIXES)} are read; what is no class belongs elsewhere"
        check.fail("root", "a folder with clips in each class folder", got, slip)
    if left:
        notes.append(f"{root}: ignored: {len(left)} files that are not read ({_suffixes(left)}), such as {left[0]}")


def _suffixes(names: list[str]) -> str:
    return " ".join(sorted({Path(name).suffix.lower() or Path(name).name for name in names}))
