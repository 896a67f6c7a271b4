"""A manifest: one row a clip, with its class and, where known, its part, fold and recording.

A CSV, TSV or JSONL file, or a folder with a ``metadata.jsonl``; columns and names as `audiomix augment` reads them
(`audiomix.datasets.manifest`): `path`, `label`, `split`, `fold`, `group`. Rows with split ``test`` are held out;
without such rows the folds are, as they stand, and a row with split ``train`` needs none: it always trains. Without
folds five are made, stratified and seeded by the names, that keep groups together. Rows without a label, or with split
``unlabelled``, are unlabelled clips: they train, and are never tested on.
"""

from pathlib import Path

from audiomix import check
from audiomix.datasets.manifest import Item as Row
from audiomix.datasets.manifest import read_source

from . import UNKNOWN, Dataset, Item
from ._folds import folded, usual

__all__ = ["index"]

_SPLITS = {
    "train": "train", "training": "train", "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "unlabelled": "unlabelled", "unlabeled": "unlabelled",
}  # fmt: skip


def index(root: Path | None = None) -> Dataset:
    """List the clips of the manifest `root`.

    Raises
    ------
    ValueError
        No such manifest, a row without a path, a clip of several classes, a part by another name, rows with and
        without a fold, or not one file that can be read.
    """
    if root is None:
        check.fail("root", "a manifest (.csv, .tsv, .jsonl) or a folder with one", None)
    if not Path(root).exists():
        check.fail("root", "a manifest (.csv, .tsv, .jsonl) or a folder with one", str(root), "there is no such file")
    rows, _ = read_source(root, need_labels=False)
    names = tuple(sorted({name for row in rows if _part(row) != "unlabelled" for name in row.classes}))
    items = [_item(row, names) for row in rows]
    without = [i for i in items if i.fold is None and i.split is None and i.label != UNKNOWN]
    if without and any(item.fold is not None for item in items):
        slip = "split train, to always train"
        check.fail(f"the fold of {without[0].id}", "given, as other rows' are", "none", slip)
    rate, seconds = usual([item.path for item in items], Path(root), "paths are relative to the manifest")
    return Dataset("manifest", folded(items), names, rate, seconds, Path(root))


def _part(row: Row) -> str | None:
    part = (row.split or "").lower()
    return _SPLITS[check.choice(f"the split of {row.id}", part, _SPLITS)] if part else None


def _item(row: Row, names: tuple[str, ...]) -> Item:
    if len(row.classes) > 1:
        check.fail(f"the label of {row.id}", "one class", ", ".join(row.classes), "recipes tell single classes apart")
    split = _part(row)
    label = names.index(row.classes[0]) if row.classes and split != "unlabelled" else UNKNOWN
    fold = row.fold if label != UNKNOWN else None
    return Item(Path(row.path), label, row.id, fold, row.group, split)
