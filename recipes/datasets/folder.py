"""Any folder of audio: one folder a class.

``ROOT/CLASS/*.wav`` (or any other audio suffix, at any depth below the class): five folds are made, stratified and
seeded by the names. With ``ROOT/train/CLASS`` and ``ROOT/test/CLASS`` the test folder is held out, and a validation
folder (``validation``, ``valid`` or ``val``) is left alone; with train and validation only, validation is held out.
Clips of unknown class may stand in ``ROOT/unlabelled``: they train, and are never tested on.
"""

from collections.abc import Iterator
from pathlib import Path

from audiomix import check

from ..console import console
from . import UNKNOWN, Dataset, Item, audio_under, existing
from ._folds import folded, usual

__all__ = ["index"]

_SPLITS = {"train": "train", "test": "test", "validation": "validation", "valid": "validation", "val": "validation"}
_UNLABELLED = ("unlabelled", "unlabeled")


def index(root: Path | None = None) -> Dataset:
    """List the audio files under `root`, a class a folder.

    Raises
    ------
    ValueError
        There are no audio files, no class folders, a train folder without another, or the reverse, or classes that
        the train folder lacks.
    """
    root = existing(root, "audio, one folder a class")
    found = [(split, name, path) for split, name, path in _walk(root)]
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
    rate, seconds = usual([item.path for item in items])
    return Dataset("folder", folded(items), names, rate, seconds, root)


def _walk(root: Path) -> Iterator[tuple[str | None, str | None, Path]]:
    """Yield (split, class name or None, file)."""
    tops = [d for d in sorted(root.iterdir()) if d.is_dir() and not d.name.startswith(".")]
    split_tops = _is_split(root, [d.name for d in tops if d.name.lower() not in _UNLABELLED])
    for top in tops:
        if top.name.lower() in _UNLABELLED:
            yield from (("unlabelled", None, path) for path in audio_under(top))
        elif split_tops and top.name.lower() in _SPLITS:
            for folder in (d for d in sorted(top.iterdir()) if d.is_dir()):
                yield from ((_SPLITS[top.name.lower()], folder.name, path) for path in audio_under(folder))
        elif not split_tops:
            yield from ((None, top.name, path) for path in audio_under(top))


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
