"""The runs of the table of mixing: inner ones that choose each row's strength, and those of the table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from audiomix import check
from audiomix.datasets.dataset import Dataset

from ...data.loader import make_split
from ...data.split import draw_labelled_split
from ...training.config import Config, parse_amount
from ...training.run_folder import Split
from ..rows import slug
from .rows import GRID, MixingRow

__all__ = [
    "CHOICE_SEED", "SETTINGS", "Choices", "Holdout", "Measured", "MixingRun", "choose_strengths", "inner_runs",
    "list_holdouts", "split_of", "table_runs",
]  # fmt: skip

# Seed of the runs that choose strengths; the table has none of it.
CHOICE_SEED = 11
# Configuration of all rows beside the preset's. Their view is weak (a roll in time, a gain): with the preset's own,
# which has SpecAugment's masks and a zoom, there would be no plain row.
SETTINGS: dict[str, Any] = {"labelled_view": "weak", "threads": 1}
_SHARE = "20%"  # of the training clips, for choosing where there is neither a third fold nor an official part

Choices = dict[tuple[str, str, str], int]  # strength by row, labels and held-out fold


@dataclass(frozen=True)
class Holdout:
    """What an inner training never sees, and for which folds of the table it decides.

    Parameters
    ----------
    folds : tuple of str
        Folds whose clips are not trained on.
    validation : str or None
        Part of the remaining clips that is measured on, as in `Config`; None where the folds are measured on.
    """

    folds: tuple[str, ...]
    validation: str | None = None

    @property
    def name(self) -> str:
        """Name of the inner training: its folds."""
        return "+".join(self.folds)

    def decides(self, fold: str) -> str:
        """Return the fold of the table that clips of `fold` decide for: never the one they are in.

        Clips of a validation part decide for the one fold that is held out.
        """
        return self.folds[0] if self.validation else next(other for other in self.folds if other != fold)


def list_holdouts(dataset: Dataset, folds: Sequence[str]) -> list[Holdout]:
    """Return the inner trainings that choose strengths for `folds`: none sees a clip of the fold that it decides for.

    A training without two folds decides for both: measured on the clips of the one it decides for the other. So with
    five folds three trainings do. Where the data set has fewer than three folds, its official validation part decides,
    or a fifth of the training clips.

    Examples
    --------
    >>> from audiomix.datasets.item import Item
    >>> clips = tuple(Item("", f"{i}.wav", "ab"[i % 2], fold=str(i // 2)) for i in range(10))
    >>> [holdout.name for holdout in list_holdouts(Dataset("d", clips, ("a", "b"), 8000, 1.0), "01234")]
    ['0+1', '2+3', '4+0']
    """
    every = list(dataset.folds)
    if len(every) < 3:
        marked = any(item.split == "validation" for item in dataset.items)
        return [Holdout((fold,), "official" if marked and fold != "validation" else _SHARE) for fold in folds]
    pairs, left = [], [fold for fold in every if fold in folds]
    while left:
        first, second = (left + [fold for fold in every if fold != left[0]])[:2]
        pairs.append(Holdout((first, second)))
        left = left[2:]
    return pairs


@dataclass(frozen=True)
class MixingRun:
    """One training of the table, or an inner one where it has a `holdout`."""

    row: MixingRow
    strength: int  # which of the row's
    label: str  # labels kept
    fold: str  # what is held out: a fold, or the name of the inner holdout
    seed: int  # of labels, first weights, batches and views
    holdout: Holdout | None = None

    @property
    def name(self) -> str:
        """Name in messages."""
        strength = self.row.strengths[self.strength]
        what = "" if self.holdout is None else "choice, "
        return f"{self.row.name} ({strength}), {what}{self.label}, fold {self.fold}, seed {self.seed}"

    @property
    def file(self) -> Path:
        """Where its predictions lie within the folder of the table."""
        stage = "table" if self.holdout is None else f"choice{self.strength}"
        return Path("runs") / slug(self.label) / self.row.name / f"{stage}-{slug(self.fold)}-seed{self.seed}.npz"


def inner_runs(
    rows: Sequence[MixingRow], labels: Sequence[str], holdouts: Sequence[Holdout]
) -> list[MixingRun]:
    """Return the trainings that choose the strengths: every row at every strength, alike for all."""
    return [
        MixingRun(row, strength, label, holdout.name, CHOICE_SEED, holdout)
        for label in labels
        for row in rows
        for strength in range(GRID)
        for holdout in holdouts
    ]


def table_runs(
    rows: Sequence[MixingRow], labels: Sequence[str], folds: Sequence[str], seeds: Sequence[int], choices: Choices
) -> list[MixingRun]:
    """Return the trainings of the table, seed by seed, so that a table of all rows is there early.

    Raises
    ------
    ValueError
        The seed that the strengths are chosen with is among `seeds`.
    """
    if CHOICE_SEED in seeds:
        check.fail("seed", f"others than {CHOICE_SEED}, with which strengths are chosen", CHOICE_SEED)
    return [
        MixingRun(row, choices[row.name, label, fold], label, fold, seed)
        for seed in seeds
        for label in labels
        for row in rows
        for fold in folds
    ]


def split_of(run: MixingRun, config: Config, dataset: Dataset) -> Split:
    """Return which clips a run trains on (`train`), with labels or without, and which it is measured on (`test`).

    Parameters
    ----------
    run : MixingRun
        A run of the table, or an inner one.
    config : Config
        Of the run.
    dataset : Dataset
        The clips.
    """
    if run.holdout is None:
        return make_split(config, dataset, run.fold, run.seed)
    folds, part = run.holdout.folds, run.holdout.validation
    if part is not None:
        split = make_split(replace(config, validation=part), dataset, folds[0], run.seed)
        return Split(split.labelled, split.unlabelled, split.valid)
    held = [{*dataset.holdout(fold)[1]} for fold in folds]
    train = torch.tensor([i for i in dataset.holdout(folds[0])[0] if i not in held[1]])
    test = torch.tensor(sorted(i for clips in held for i in clips if dataset.labels[i] >= 0))
    labels = torch.tensor(dataset.labels)[train]
    wanted: dict[str, Any] = parse_amount(config.labelled)
    labelled, rest = draw_labelled_split(labels, **wanted, seed=run.seed, key=("inner", *folds))
    return Split(train[labelled], train[rest], test)


class Measured(NamedTuple):
    """What an inner training comes to on some clips."""

    clips: int
    wrong: int
    nll: float  # sum over the clips, in nats


def choose_strengths(measured: Mapping[tuple[str, str, str, int], Sequence[Measured]]) -> Choices:
    """Return the strength of each row, number of labels and held-out fold: that of the smallest error on inner folds.

    Of equal errors the smaller negative log-likelihood decides, then the weaker strength.

    Parameters
    ----------
    measured : mapping
        What the inner trainings come to, by row, labels, fold of the table that it decides for, and strength.

    Examples
    --------
    >>> found = {("mixup", "10%", "1", i): [Measured(80, wrong, 9.0)] for i, wrong in enumerate((20, 16))}
    >>> choose_strengths(found)
    {('mixup', '10%', '1'): 1}
    """
    ranks: dict[tuple[str, str, str], list[tuple[float, float, int]]] = {}
    for (row, label, fold, strength), parts in measured.items():
        clips, wrong, nll = (sum(values) for values in zip(*parts))
        ranks.setdefault((row, label, fold), []).append((wrong / clips, nll / clips, strength))
    return {key: min(found)[2] for key, found in ranks.items()}
