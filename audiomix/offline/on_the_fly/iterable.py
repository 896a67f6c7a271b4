"""The mixes of a data set one after another, split over processes and workers, from any position of an epoch on."""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch.utils.data import IterableDataset, get_worker_info

from ... import check
from ...arguments import Recorded
from .order import REMAINDERS, EpochDataset, Shard, shard_order, shard_size

__all__ = ["IterableMixedDataset"]


class IterableMixedDataset(Recorded, IterableDataset[Any]):
    """The items of an `audiomix.MixedDataset` in the order of an epoch; it can go on from any position.

    Parameters
    ----------
    dataset : MixedDataset
        Whose items they are. Its epoch is set with this one's.
    batch_size : int
        That of the DataLoader. Workers then take whole batches in turn, so that the batches, and their order, are the
        same for any number of workers. With 1 the items of a batch depend on the number of workers; that each comes
        once does not.
    shuffle : bool
        Another order in each epoch; else as the items are numbered.
    rank, world_size, remainder
        See `MixedSampler`.

    Notes
    -----
    A state is ``{"run", "epoch", "start", "position"}``: the first `position` items of this process in this epoch are
    done, and workers took batches in turn from `start` on. In a loader with workers each worker has its own copy, of
    which the main process learns nothing: count the batches there, ``set_epoch(epoch, position=batches * batch_size)``.
    torchdata's ``StatefulDataLoader`` collects and gives back the states of the workers itself. Positions count items
    that ``on_error="skip"`` leaves out too: where there are some, a batch is filled from the next one of its worker,
    and who counts batches goes on that many items too early.

    Examples
    --------
    >>> from torch.utils.data import DataLoader
    >>> from audiomix import MixedDataset, MixUp
    >>> from audiomix.datasets.demo import assets
    >>> dataset = MixedDataset(assets() / "sounds", MixUp(), length=0.5, across=["split", "fold"])
    >>> items = dataset.iterable(batch_size=2, shuffle=True)
    >>> batches = [batch["id"] for batch in DataLoader(items, batch_size=2, collate_fn=dataset.collate)]
    >>> items.set_epoch(0, position=2 * 3)  # three batches were used
    >>> rest = [batch["id"] for batch in DataLoader(items, batch_size=2, collate_fn=dataset.collate)]
    >>> rest == batches[3:]
    True
    """

    def __init__(
        self,
        dataset: EpochDataset,
        *,
        batch_size: int = 1,
        shuffle: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
        remainder: Literal["keep", "drop", "repeat"] = "keep",
    ) -> None:
        self.dataset, self.shuffle, self.shard = dataset, shuffle, Shard(rank, world_size)
        self.batch_size = check.integer("batch_size", batch_size, 1)
        self.remainder = check.choice("remainder", remainder, REMAINDERS)
        # where iterations begin: shared, so that workers that are there already read it too
        self._place = torch.zeros((), dtype=torch.int64).share_memory_()
        self._pending: tuple[int, int] | None = None  # of a state, until the next iteration begins
        self._now: tuple[int, int] | None = None  # of the iteration at hand

    def set_epoch(self, epoch: int, position: int = 0) -> None:
        """Say which epoch begins, and where; before the iterator of the loader is made.

        Parameters
        ----------
        epoch : int
            From 0 on.
        position : int
            How many items of this process were used of it before (batches times their size): iterations begin there
            until the next call.
        """
        self.dataset.set_epoch(epoch)
        self._place.fill_(check.integer("position", position, 0))
        self._pending = self._now = None

    def state_dict(self) -> dict[str, Any]:
        """Return the run, the epoch and the position in it; see the notes."""
        start, position = self._now or self._pending or (int(self._place),) * 2
        return self.dataset.state_dict() | {"start": start, "position": position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Begin the next iteration where a state was taken.

        Before workers are started: persistent ones that are there already learn of `set_epoch` alone.

        Parameters
        ----------
        state : dict
            What `state_dict` returned, in this process or in the worker of this number of as many.

        Raises
        ------
        ValueError
            It is that of another run.
        """
        self.dataset.load_state_dict(state)
        self._pending, self._now = (state["start"], state["position"]), None

    def __len__(self) -> int:
        rank, world_size = self.shard.get()
        size = shard_size(len(self.dataset), rank=rank, world_size=world_size, remainder=self.remainder)
        return max(0, size - (self._pending or (0, int(self._place)))[1])

    def __iter__(self) -> Iterator[Any]:
        start, done = self._pending or (int(self._place),) * 2
        self._pending, self._now = None, (start, done)
        return self._items(start, done)

    def _items(self, start: int, done: int) -> Iterator[Any]:
        """Yield the items from a place on that are this worker's; workers take blocks of a batch in turn."""
        rank, world_size = self.shard.get()
        order = shard_order(
            len(self.dataset), self.dataset.seed, self.dataset.epoch, shuffle=self.shuffle, rank=rank,
            world_size=world_size, remainder=self.remainder,
        )  # fmt: skip
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        for place in range(done, len(order)):
            if (place - start) // self.batch_size % workers != worker:
                continue
            item = self.dataset[int(order[place])]
            # one process alone may go on as any number of workers
            self._now = (place + 1 if info is None else start, place + 1)
            if item is not None:
                yield item
        # a worker that has done its part waits for the others; an epoch that is done is begun anew
        self._now = None if info is None else (start, len(order))
