"""The order of an epoch, and which part of it each process of a training gets."""

from collections.abc import Iterator
from typing import Any, Literal, Protocol

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import Sampler

from ... import check, draw
from ...arguments import Recorded

__all__ = ["REMAINDERS", "EpochDataset", "MixedSampler", "Shard", "shard_order", "shard_size"]

REMAINDERS = ("keep", "drop", "repeat")


class EpochDataset(Protocol):
    """A map-style data set whose items are others in each epoch, as those of an `audiomix.MixedDataset` are."""

    seed: int

    @property
    def epoch(self) -> int:
        """Which epoch items are drawn for."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch begins."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the run and the epoch."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the epoch of a state."""
        ...


class Shard:
    """Which process of how many this is.

    Parameters
    ----------
    rank, world_size : int, optional
        By default those of `torch.distributed`, as soon as it is initialised; until then there is one process.

    Raises
    ------
    ValueError
        A rank without a world size, or one that is not below it.
    """

    def __init__(self, rank: int | None, world_size: int | None) -> None:
        if (rank is None) != (world_size is None):
            lacking = "rank" if rank is None else "world_size"
            check.fail(lacking, "given, as the other of rank and world_size is", None)
        self.world_size = None if world_size is None else check.integer("world_size", world_size, 1)
        self.rank = None if rank is None else check.integer("rank", rank, 0)
        if self.rank is not None and self.world_size is not None and self.rank >= self.world_size:
            check.fail("rank", f"below world_size ({world_size})", rank, "ranks count from 0 on")

    def __getstate__(self) -> dict[str, Any]:
        """Return what a worker gets: it belongs to the process that starts it, and knows of no others."""
        rank, world_size = self.get()
        return {"rank": rank, "world_size": world_size}

    def get(self) -> tuple[int, int]:
        """Return the rank and the number of processes."""
        if self.rank is not None and self.world_size is not None:
            return self.rank, self.world_size
        if dist.is_available() and dist.is_initialized():
            return dist.get_rank(), dist.get_world_size()
        return 0, 1


def shard_order(
    size: int, seed: int, epoch: int, *, shuffle: bool, rank: int, world_size: int, remainder: str
) -> Tensor:
    """Return the items of one process in one epoch, in their order; int64, shape (N,).

    Parameters
    ----------
    size : int
        How many items all processes have together.
    seed, epoch : int
        What the order depends on, where it is shuffled.
    shuffle : bool
        In an order of this epoch's own; else as they are numbered.
    rank, world_size : int
        Which process of how many.
    remainder : str
        What becomes of the ``size % world_size`` items that do not go round: see `MixedSampler`.

    Examples
    --------
    >>> [shard_order(5, 0, 0, shuffle=False, rank=r, world_size=2, remainder="keep").tolist() for r in range(2)]
    [[0, 2, 4], [1, 3]]
    >>> [shard_order(5, 0, 0, shuffle=False, rank=r, world_size=2, remainder="repeat").tolist() for r in range(2)]
    [[0, 2, 4], [1, 3, 0]]
    """
    generator = draw.generator_for(seed, "order", epoch)
    order = draw.permutation(size, generator=generator) if shuffle else torch.arange(size)
    if remainder == "drop":
        order = order[: size - size % world_size]
    elif remainder == "repeat":
        missing = -size % world_size
        order = torch.cat([order, order.repeat(-(-missing // max(1, size)))[:missing]])
    return order[rank::world_size]


def shard_size(size: int, *, rank: int, world_size: int, remainder: str) -> int:
    """Return how many items `shard_order` returns.

    >>> [shard_size(5, rank=r, world_size=3, remainder=how) for how in REMAINDERS for r in range(3)]
    [2, 2, 1, 1, 1, 1, 2, 2, 2]
    """
    if remainder == "keep":
        return len(range(rank, size, world_size))
    return size // world_size if remainder == "drop" else -(-size // world_size)


class MixedSampler(Recorded, Sampler[int]):
    """The order in which a process reads an `audiomix.MixedDataset`; it can begin anywhere in an epoch.

    Parameters
    ----------
    dataset : MixedDataset
        Its epoch is set with the sampler's.
    shuffle : bool
        Another order in each epoch; else as the items are numbered.
    rank, world_size : int, optional
        Which process of how many; by default those of `torch.distributed`. Process r gets each `world_size`-th item
        of the epoch's order, from the r-th on.
    remainder : str
        What becomes of items that do not go round. ``keep``: the first processes have one more than the others, so
        that no item is lost and none comes twice. ``drop``: they are left out, in another place of the order each
        epoch. ``repeat``: the first items of the order come again, so that all processes have as many. With gradients
        that are averaged over processes at each step take one of the last two.

    Notes
    -----
    Lightning calls `set_epoch` itself, and so does Accelerate. Give ``use_distributed_sampler=False`` to Lightning's
    Trainer: the sampler knows of the processes already.

    Examples
    --------
    >>> from audiomix import MixedDataset, MixUp
    >>> from audiomix.datasets.demo import assets
    >>> dataset = MixedDataset(assets() / "sounds", MixUp(), across=["split", "fold"])
    >>> sampler = MixedSampler(dataset, shuffle=True)
    >>> sampler.set_epoch(1)
    >>> order = list(sampler)
    >>> sampler.set_epoch(1, position=5)  # five items of this epoch were used before
    >>> list(sampler) == order[5:]
    True
    """

    def __init__(
        self,
        dataset: EpochDataset,
        *,
        shuffle: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
        remainder: Literal["keep", "drop", "repeat"] = "keep",
    ) -> None:
        self.dataset, self.shuffle, self.shard = dataset, shuffle, Shard(rank, world_size)
        self.remainder = check.choice("remainder", remainder, REMAINDERS)
        self.position = 0

    def set_epoch(self, epoch: int, position: int = 0) -> None:
        """Say which epoch begins, here and in the data set; before the iterator of the loader is made.

        Parameters
        ----------
        epoch : int
            From 0 on.
        position : int
            How many items of this process were used of it before: iterations begin there until the next call.
        """
        self.dataset.set_epoch(epoch)
        self.position = check.integer("position", position, 0)

    def __len__(self) -> int:
        rank, world_size = self.shard.get()
        size = shard_size(len(self.dataset), rank=rank, world_size=world_size, remainder=self.remainder)
        return max(0, size - self.position)

    def __iter__(self) -> Iterator[int]:
        rank, world_size = self.shard.get()
        order = shard_order(
            len(self.dataset), self.dataset.seed, self.dataset.epoch, shuffle=self.shuffle, rank=rank,
            world_size=world_size, remainder=self.remainder,
        )  # fmt: skip
        return iter(order[self.position :].tolist())
