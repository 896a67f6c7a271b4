"""What data sets without an official protocol get: folds, and the usual rate and length of their files."""

from dataclasses import replace
from pathlib import Path

import torch

from audiomix import check
from audiomix.audio import io

from ..data.split import grouped_folds, stratified_folds
from . import UNKNOWN, Item

__all__ = ["folded", "usual"]

FOLDS = 5
_PROBED = 200  # headers read to find the usual rate and length


def folded(items: list[Item]) -> tuple[Item, ...]:
    """Give items of known class a fold, unless there are folds or parts to be held out; groups stay together."""
    if any(item.fold is not None or item.split in ("test", "validation") for item in items):
        return tuple(items)
    items = sorted(items, key=lambda item: item.id)
    known = [i for i, item in enumerate(items) if item.label != UNKNOWN]
    labels = torch.tensor([items[i].label for i in known])
    if any(items[i].group is not None for i in known):
        groups = [items[i].group or items[i].id for i in known]
        folds = grouped_folds(labels, groups, FOLDS, seed=0)
    else:
        folds = stratified_folds(labels, FOLDS, seed=0)
    fold_of = dict(zip(known, folds.tolist()))
    return tuple(replace(item, fold=str(fold_of[i] + 1)) if i in fold_of else item for i, item in enumerate(items))


def usual(paths: list[Path], source: Path, slip: str = "") -> tuple[int, float]:
    """Return the commonest rate and the median length, from the headers of evenly spaced files of `source`.

    Raises
    ------
    ValueError
        None of them can be opened: the first is named with the reason, and `slip` is told.
    """
    rates: list[int] = []
    lengths: list[float] = []
    reasons: list[str] = []
    probed = paths[:: max(1, len(paths) // _PROBED)]
    for path in probed:
        try:
            head = io.info(path)
        except io.AudioError as error:
            reasons.append(str(error))  # listed again when the store is built
            continue
        if head.frames:
            rates.append(head.rate)
            lengths.append(head.seconds)
        else:
            reasons.append(f"{path}: no samples")
    if not rates:
        looked = f" ({len(probed)} were tried)" if len(probed) < len(paths) else ""
        got = f"{len(paths)} files of which none can be read{looked}, the first: {reasons[0]}"
        check.fail(str(source), "of audio files that can be read", got, slip)
    return max(sorted(set(rates)), key=rates.count), sorted(lengths)[len(lengths) // 2]
