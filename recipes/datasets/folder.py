"""Any folder of audio: one folder a class.

``ROOT/CLASS/*.wav`` (or any other audio suffix, at any depth below the class): five folds are made, stratified and
seeded by the names. With ``ROOT/train/CLASS`` and ``ROOT/test/CLASS`` the test folder is held out, and a validation
folder (``validation``, ``valid`` or ``val``) is left alone; with train and validation only, validation is held out.
Clips of unknown class may stand in ``ROOT/unlabelled``: they train, and are never tested on.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from audiomix import check
from audiomix.audio import io

from ..console import console
from . import UNKNOWN, Dataset, Item, audio_under, existing
from ._folds import folded, usual

__all__ = ["index"]

_SPLITS = {"train": "train", "test": "test", "validation": "validation", "valid": "validation", "val": "validation"}
_UNLABELLED = ("unlabelled", "unlabeled")

# A folder with nothing but such files is no class: notes, tables, or an earlier run's results.
_PAPERS = (
    *(".txt", ".md", ".pdf", ".html", ".csv", ".tsv", ".json", ".jsonl", ".yaml", ".yml", ".toml", ".xml"),
    *(".png", ".jpg", ".jpeg", ".svg", ".npy", ".npz", ".safetensors", ".pt", ".onnx", ".py", ".log"),
)


def index(root: Path | None = None) -> Dataset:
    """List the audio files under `root`, a class a folder.

    Raises
    ------
    ValueError
        There are no audio files, no class folders, a class folder without clips, a train folder without another, or
        the reverse, or classes that the train folder lacks.
    """
    root = existing(root, "audio, one folder a class")
    folders = list(_folders(root))
    _check_filled(root, [folder for *_, folder in folders])
    found = [(split, name, path) for split, name, folder in folders for path in audio_under(folder)]
    if not found:
        slip = (
            "files lie in the top folder, without a class" if any(audio_under(root, recurse=False)) else "is it empty?"
        )
        check.fail("root", "a folder with audio files in one folder a class", str(root), slip)
    names = tuple(sorted({name for _, name, _ in found if name is not None}))
    if not names:
        check.fail("root", "a folder with at least one folder a class", f"{root}, with unlabelled clips alone")
    trained = {name for split, name, _ in found if split in (None, "train")}
    if untrained := [name for name in names if name not in trained]:
        others = " and ".join(sorted({f"root/{split}" for split, name, _ in found if name in untrained}))
        check.fail(others, "a folder with the classes of root/train", f"also {', '.join(untrained)}")
    items = [
        Item(path, UNKNOWN if name is None else names.index(name), path.relative_to(root).as_posix(), split=split)
        for split, name, path in found
    ]
    if strays := list(audio_under(root, recurse=False)):
        text = f"{root}: ignored: {len(strays)} files in no class folder, such as {strays[0].name}; unlabelled clips "
        text += "belong in a folder unlabelled"
        console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)
    rate, seconds = usual([item.path for item in items], root)
    return Dataset("folder", folded(items), names, rate, seconds, root)


def _folders(root: Path) -> Iterator[tuple[str | None, str | None, Path]]:
    """Yield (split, class name or None, folder)."""
    tops = _within(root)
    split_tops = _is_split(root, [d.name for d in tops if d.name.lower() not in _UNLABELLED])
    for top in tops:
        if top.name.lower() in _UNLABELLED:
            yield "unlabelled", None, top
        elif split_tops and top.name.lower() in _SPLITS:
            if not (classes := _within(top)):
                check.fail(str(top), "a folder with one folder a class", "none")
            yield from ((_SPLITS[top.name.lower()], folder.name, folder) for folder in classes)
        elif not split_tops:
            yield None, top.name, top


def _within(folder: Path) -> list[Path]:
    return [d for d in sorted(folder.iterdir()) if d.is_dir() and not d.name.startswith((".", "__MACOSX"))]


def _check_filled(root: Path, folders: list[Path]) -> None:
    """Raise where a folder is empty or holds what may be sound of another kind; tell of files that are not read."""
    empty: list[str] = []
    left: list[Path] = []
    for folder in folders:
        others = [path for path in _files(folder) if path.suffix.lower() not in io.AUDIO_SUFFIXES]
        papers = bool(others) and all(path.suffix.lower() in _PAPERS for path in others)
        if next(audio_under(folder), None) is None and not papers:
            kinds = " ".join(sorted({path.suffix.lower() or path.name for path in others})) or "empty"
            empty.append(f"{folder.relative_to(root).as_posix()} ({kinds})")
        else:
            left += others
    if empty:
        got = f"{root} with folders that have none: {', '.join(empty)}"
        slip = f"a class without clips? {' '.join(io.AUDIO_SUFFIXES)} are read; what is no class belongs elsewhere"
        check.fail("root", "a folder with clips in each class folder", got, slip)
    if left:
        kinds = " ".join(sorted({path.suffix.lower() or path.name for path in left}))
        name = left[0].relative_to(root).as_posix()
        text = f"{root}: ignored: {len(left)} files that are not read ({kinds}), such as {name}"
        console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files in `folder`, sorted, hidden ones left out."""
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(d for d in folders if not d.startswith("."))
        yield from (Path(here, name) for name in sorted(files) if not name.startswith("."))


def _is_split(root: Path, names: list[str]) -> bool:
    """Return whether folders of these names are parts of a data set rather than classes; say which are ignored."""
    parts = [name for name in names if name.lower() in _SPLITS]
    kinds = {_SPLITS[name.lower()] for name in parts}
    others = [name for name in names if name not in parts]
    if parts and not others and ("train" not in kinds or len(kinds) == 1):
        slip = "one folder too high? classes stand below train and test"
        check.fail("root", "a folder with train beside test or validation", f"{root} with {', '.join(parts)}", slip)
    if "train" not in kinds or len(kinds) == 1:
        return False
    if others:
        text = f"{root}: taken apart into {', '.join(parts)}; ignored: {', '.join(others)}"
        console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)
    return True
