"""A manifest: one row a clip, with its class and, where known, its part, fold and recording.

A CSV, TSV or JSONL file, or a folder with a ``metadata.jsonl``; columns and names as `audiomix augment` reads them
(`audiomix.datasets.columns`): `path`, `label`, `split`, `fold`, `group`. Rows with split ``test`` are held out; without
such rows the folds are, as they stand, and a row with split ``train`` needs none: it always trains. Rows without a
label, or with split ``unlabelled``, are unlabelled clips: they train, and are never tested on.
"""

from dataclasses import replace
from pathlib import Path

from .. import check
from .dataset import Dataset, usual_form
from .item import SPLITS, Item
from .source import read_source

__all__ = ["index"]

_SPLITS = SPLITS | {"unlabelled": "unlabelled", "unlabeled": "unlabelled"}


def index(root: Path | None = None) -> Dataset:
    """List the clips of the manifest `root`.

    Parameters
    ----------
    root : Path
        The manifest, or a folder with one.

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
    # what `augment` notes here (captions that were merged, say) does not concern training
    rows = [_with_split(row) for row in read_source(root, need_labels=False)[0]]
    names = tuple(sorted({name for row in rows if row.split != "unlabelled" for name in row.classes}))
    items = [_with_class(row) for row in rows]
    without = [i for i in items if i.fold is None and i.split is None and i.label is not None]
    if without and any(item.fold is not None for item in items):
        slip = "split train, to always train"
        check.fail(f"the fold of {without[0].id}", "given, as other rows' are", "none", slip)
    rate, seconds = usual_form([item.path for item in items], Path(root), "paths are relative to the manifest")
    return Dataset("manifest", tuple(items), names, rate, seconds, Path(root), official=False)


def _with_split(row: Item) -> Item:
    split = (row.split or "").lower()
    return replace(row, split=_SPLITS[check.choice(f"the split of {row.id}", split, _SPLITS)] if split else None)


def _with_class(row: Item) -> Item:
    """Return a row with its one class as the label; without class and fold if it is an unlabelled clip."""
    if len(row.classes) > 1:
        check.fail(f"the label of {row.id}", "one class", ", ".join(row.classes), "recipes tell single classes apart")
    label = row.classes[0] if row.classes and row.split != "unlabelled" else None
    return replace(row, label=label, fold=row.fold if label is not None else None)
