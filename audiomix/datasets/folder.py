"""Any folder of audio: one folder a class, or whatever `audiomix augment` reads in it.

``ROOT/CLASS/*.wav`` (or any other audio suffix, at any depth below the class). With ``ROOT/train/CLASS`` and
``ROOT/test/CLASS`` the test folder is held out, and a validation folder is left alone; with train and validation only,
validation is held out; folders of folds are held out in turn. Clips of unknown class may stand in ``ROOT/unlabelled``:
they train, and are never tested on. See `.tree` for what is recognised; where folders may be classes or splits,
``folder:layout=split/class`` says which they are.
"""

from pathlib import Path

from .. import check
from ..audio.io import AUDIO_SUFFIXES
from .dataset import Dataset
from .manifest import read_labelled
from .source import recognise
from .tree import NOISE, UNLABELLED, recognise_tree
from .walk import check_folder, is_audio, list_files, pyav_reads, subfolders

__all__ = ["index"]

# A folder with nothing but such files is no class: notes, tables, or an earlier run's results.
_PAPERS = (
    *(".txt", ".md", ".pdf", ".html", ".csv", ".tsv", ".json", ".jsonl", ".yaml", ".yml", ".toml", ".xml"),
    *(".png", ".jpg", ".jpeg", ".svg", ".npy", ".npz", ".safetensors", ".pt", ".onnx", ".py", ".log"),
)


def index(root: Path | None = None, *, layout: str = "", notes: list[str] | None = None) -> Dataset:
    """List the audio files under `root`, a class a folder, for training.

    Parameters
    ----------
    root : Path
        The folder of the class folders, or of the parts.
    layout : str
        What each level of folders is, from the top, joined by /: class, split, fold, group, or _ for nothing. By
        default the folders' names tell.
    notes : list of str, optional
        How the folders are read, and what is ignored, is appended.

    Raises
    ------
    ValueError
        There are no audio files, no class folders, folders that may be classes or splits, a class folder without clips,
        or classes that the train folder lacks.
    """
    root = check_folder(root, "audio, one folder a class")
    notes = [] if notes is None else notes
    if layout or recognise(root).name == "classes":
        _check_filled(root, layout)
    return read_labelled("folder", root, notes, layout=layout)


def _check_filled(root: Path, layout: str) -> None:
    """Raise where a class folder is empty or holds what may be sound of another kind: a class would be missing."""
    tree = recognise_tree(list(list_files(root)), layout).layout
    depth = tree.index("class") + 1 if "class" in tree else 0
    empty: list[str] = []
    others: list[str] = []
    for folder in _folders_at(root, depth):
        names = list(list_files(root / folder, audio_only=False))
        papers = bool(names) and all(Path(name).suffix.lower() in _PAPERS for name in names)
        if not any(map(is_audio, names)) and not papers:
            empty.append(f"{folder} ({_suffixes(names) or 'empty'})")
            others += names
    if empty and depth:
        got = f"{root} with folders that have none: {', '.join(empty)}"
        slip = f"a class without clips? {' '.join(AUDIO_SUFFIXES)} are read; what is no class belongs elsewhere"
        check.fail("root", "a folder with clips in each class folder", got, pyav_reads(others) or slip)


def _folders_at(root: Path, depth: int) -> list[str]:
    """Return the folders of this depth, or of less where there are none below, and those of unlabelled clips."""
    found = [""] if depth else []
    for _ in range(depth):
        below = [(one, subfolders(root / one)) for one in found]
        found = [f"{one}/{name}".lstrip("/") for one, names in below for name in names or [""]]
    found = [one.rstrip("/") for one in found if not {part.lower() for part in one.split("/")} & {*UNLABELLED, NOISE}]
    return sorted({*found, *(name for name in subfolders(root) if name.lower() in UNLABELLED)} - {""})


def _suffixes(names: list[str]) -> str:
    return " ".join(sorted({Path(name).suffix.lower() or Path(name).name for name in names}))
