"""A manifest: one row a clip, with its class and, where known, its part, fold and recording.

A CSV, TSV, JSONL or Parquet file, or a folder with a ``metadata.jsonl``; columns and names as `audiomix augment` reads
them (`audiomix.datasets.columns`): `path`, `label`, `split`, `fold`, `group`. Rows with split ``test`` are held out;
without such rows the folds are, as they stand, and a row with split ``train`` needs none: it always trains. Rows
without a label, or with split ``unlabelled``, are unlabelled clips: they train, and are never tested on.
"""

import os
from dataclasses import replace
from pathlib import Path

from .. import check
from .columns import COLUMNS
from .dataset import Dataset, usual_form
from .item import SPLITS, Item
from .source import read_source
from .walk import Skipped

__all__ = ["index", "read_labelled"]

_UNLABELLED = "unlabelled"
_SPLITS = SPLITS | {"unlabelled": _UNLABELLED, "unlabeled": _UNLABELLED}


def index(root: Path | None = None, *, audio_root: str = "", notes: list[str] | None = None) -> Dataset:
    """List the clips of the manifest `root`.

    Parameters
    ----------
    root : Path
        The manifest, or a folder with one.
    audio_root : str
        Another folder that the paths in the manifest may be relative to.
    notes : list of str, optional
        What a person should know of is appended: files found by another spelling, or not there.

    Raises
    ------
    ValueError
        No such manifest, a row without a path, a clip of several classes, a part by another name, rows with and
        without a fold, or not one file that can be read.
    """
    expected = "a manifest (.csv, .tsv, .jsonl) or a folder with one"
    if root is None:
        check.fail("root", expected, None)
    root = Path(root).expanduser()
    if not os.path.exists(root):
        check.fail("root", expected, str(root), "there is no such file")
    return read_labelled("manifest", root, [] if notes is None else notes, audio_root=audio_root)


def read_labelled(name: str, root: Path, notes: list[str], *, layout: str = "", audio_root: str = "") -> Dataset:
    """Read a source, whatever its layout, as a task: its clips, told apart by their classes.

    Parameters
    ----------
    name : str
        What the data set is called.
    root : Path
        The source.
    notes : list of str
        What a person should know of is appended.
    layout, audio_root : str
        As in `read_source`.

    Raises
    ------
    ValueError
        As `index`; in folders, classes that are not trained on.
    """
    skipped: Skipped = []
    rows, _ = read_source(
        root, need_labels=False, layout=layout, audio_root=audio_root or None, notes=notes, skipped=skipped
    )
    items = [_with_class(_with_split(row)) for row in _drop_without_split(rows, root, notes)]
    names = tuple(sorted({name for item in items for name in item.classes}))
    if not names:
        flat = root.is_dir() and any("/" not in row.id for row in rows)
        slip = "files lie in the top folder, without a class" if flat else ""
        slip = slip if root.is_dir() else f"a class stands in a column {' | '.join(COLUMNS['label'])}"
        check.fail("root", "one with clips of known class", f"{root}, with unlabelled clips alone", slip)
    without = [i for i in items if i.fold is None and i.split is None and i.label is not None]
    if without and any(item.fold is not None for item in items):
        slip = "split train, to always train"
        check.fail(f"the fold of {without[0].id}{without[0].where}", "given, as other rows' are", "none", slip)
    if name == "folder":
        _check_trained(items, names)
    slip = "" if root.is_dir() else "paths are relative to the manifest"
    rate, seconds = usual_form([item.path for item in items], root, slip)
    return Dataset(name, tuple(items), names, rate, seconds, root, official=False, skipped=tuple(skipped))


def _drop_without_split(rows: list[Item], root: Path, notes: list[str]) -> list[Item]:
    """Leave out what only folders tell of, and they tell neither class nor part: nobody has said that it may train."""

    def is_assigned(row: Item) -> bool:
        part = (row.split or "").lower()
        return row.line is not None or part in _SPLITS or (row.label is not None and not part)

    left = [row.id for row in rows if not is_assigned(row)]
    if left:
        text = f"{root}: ignored: {len(left)} files in no class folder, such as {left[0]}; unlabelled clips "
        notes.append(text + "belong in a folder unlabelled")
    return [row for row in rows if is_assigned(row)]


def _check_trained(items: list[Item], names: tuple[str, ...]) -> None:
    """Raise where a class is only tested on."""
    trained = {item.label for item in items if item.split in (None, "train")}
    if untrained := [name for name in names if name not in trained]:
        others = " and ".join(sorted({f"root/{item.split}" for item in items if item.label in untrained}))
        check.fail(others, "a folder with the classes of root/train", f"also {', '.join(untrained)}")


def _with_split(row: Item) -> Item:
    part = (row.split or "").lower()
    if not part:
        return replace(row, split=None)
    return replace(row, split=_SPLITS[check.choice(f"the split of {row.id}{row.where}", part, _SPLITS)])


def _with_class(row: Item) -> Item:
    """Return a row with its one class as the label; without class and fold if it is an unlabelled clip."""
    if len(row.classes) > 1:
        got, slip = ", ".join(row.classes), "recipes tell single classes apart"
        check.fail(f"the label of {row.id}{row.where}", "one class", got, slip)
    label = row.classes[0] if row.classes and row.split != _UNLABELLED else None
    return replace(row, label=label, fold=row.fold if label is not None else None)
