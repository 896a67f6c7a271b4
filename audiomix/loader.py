"""Mixers in a DataLoader: `Collate` and `Indexed`."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from . import check, draw
from .arguments import Recorded
from .mixer import Mixer
from .pipeline import Pipeline
from .plan import Mixed

__all__ = ["Collate", "Indexed"]


class _Item(NamedTuple):
    id: Any
    value: Any


class Indexed(Recorded, Dataset):
    """A data set whose items carry their index, so that `Collate` knows which clips a batch holds.

    Parameters
    ----------
    dataset : map-style data set
        With ``__getitem__`` and ``__len__``; items ``(wave, label)`` or ``wave``.
    """

    def __init__(self, dataset: Any) -> None:
        for method in ("__getitem__", "__len__"):
            if not hasattr(dataset, method):
                check.fail("dataset", "map-style (__getitem__ and __len__)", type(dataset).__name__, "use key=")
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> _Item:
        return _Item(index, self.dataset[index])


class Collate(Recorded):
    """Collate clips into a batch and mix it, the same whatever the order, the workers, the epochs before or a resume.

    The generator of a batch comes from a keyed hash of (seed, epoch, ids of its clips). A generator object handed to a
    DataLoader would be copied into every worker, and all would draw the same numbers.

    Parameters
    ----------
    mixer : Mixer or Pipeline
        What mixes each batch.
    seed : int
        Another seed gives other partners and weights in every batch.
    key : callable, optional
        ``item -> id``; by default items come from `Indexed`.

    Notes
    -----
    Items are ``(wave, label, ...)`` or ``wave``; waves (T,) or (C, T) of different lengths are padded with zeros, and
    their valid lengths passed on. Call `set_epoch` before each epoch; it reaches persistent workers too.

    Examples
    --------
    >>> from torch.utils.data import DataLoader
    >>> from audiomix import MixUp
    >>> clips = [(torch.randn(1, 1000 + 100 * i), i) for i in range(8)]
    >>> collate = Collate(MixUp(0.4, num_classes=8), seed=0)
    >>> loader = DataLoader(Indexed(clips), batch_size=4, collate_fn=collate)
    >>> for epoch in range(2):
    ...     collate.set_epoch(epoch)
    ...     shapes = [tuple(mixed.x.shape) for mixed in loader]
    >>> shapes
    [(4, 1, 1300), (4, 1, 1700)]
    """

    def __init__(self, mixer: nn.Module, *, seed: int = 0, key: Callable[[Any], Any] | None = None) -> None:
        self.mixer = check.one_of_types("mixer", mixer, (Mixer, Pipeline), "a Mixer or a Pipeline")
        self.seed = check.integer("seed", seed)
        self.key = key
        # shared memory: seen by workers that live on from epoch to epoch
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._progress = torch.full((), math.nan, dtype=torch.float64).share_memory_()

    def set_epoch(self, epoch: int, progress: float | None = None) -> None:
        """Say which epoch begins and, for schedules, how far the training is; before the loop over the loader.

        Parameters
        ----------
        epoch : int
            Number of the epoch, from 0 on; batches of different epochs are mixed differently.
        progress : float, optional
            Fraction of the training in [0, 1]. Needed where an option of the mixer is a schedule that changes.
        """
        self._epoch.fill_(check.integer("epoch", epoch, 0))
        self._progress.fill_(math.nan if progress is None else check.fraction("progress", progress))

    def __call__(self, items: Sequence[Any]) -> Mixed:
        """Return the mixed batch.

        Parameters
        ----------
        items : sequence
            What the data set returned for each clip of the batch.
        """
        if self.key is None:
            for item in items:
                if not isinstance(item, _Item):
                    slip = "wrap the data set in audiomix.Indexed, or give key="
                    check.fail("items", "to carry their ids", type(item).__name__, slip, TypeError)
        for item in items:
            if isinstance(item if self.key is not None else item.value, dict):
                check.fail("items", "(wave, label) or wave", "dict", "give a data set that returns tuples", TypeError)
        ids = [item.id if self.key is None else self.key(item) for item in items]
        values = [item.value if self.key is None else item for item in items]
        waves, targets = zip(*[(*v, None)[:2] if isinstance(v, (tuple, list)) else (v, None) for v in values])
        x, lengths = _pad([torch.as_tensor(w) for w in waves])
        generator = draw.generator_for(self.seed, int(self._epoch), *ids)
        progress = None if self._progress.isnan() else float(self._progress)
        return self.mixer(x, _stack(targets), lengths=lengths, generator=generator, progress=progress)


def _pad(waves: list[Tensor]) -> tuple[Tensor, Tensor]:
    waves = [w[None] if w.ndim == 1 else w for w in waves]
    kinds = {tuple(w.shape[:-1]) for w in waves}
    if len(kinds) > 1:
        check.fail("waves", "of one number of channels", sorted(kinds), "mix them down to mono first")
    ends = [w.shape[-1] for w in waves]
    longest = max(ends)
    x = torch.stack([torch.nn.functional.pad(w, (0, longest - w.shape[-1])) for w in waves])
    return x, torch.tensor(ends)


def _stack(targets: Sequence[Any]) -> Tensor | None:
    if all(t is None for t in targets):
        return None
    if any(t is None for t in targets):
        check.fail("items", "either all labelled or none", f"{sum(t is None for t in targets)} without a label")
    if isinstance(targets[0], str):
        check.tensor("targets", targets)
    tensors = [torch.as_tensor(t) for t in targets]
    if len({t.shape for t in tensors}) > 1:
        slip = "frame labels of clips of different lengths? pad them first"
        check.fail("targets", "of one shape", sorted({tuple(t.shape) for t in tensors}), slip)
    stacked = torch.stack(tensors)
    if stacked.is_floating_point() and stacked.ndim == 1:
        return stacked[:, None]  # one regression value a clip
    return stacked
