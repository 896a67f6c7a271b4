"""A data set whose items are mixed when they are read: the items, plans and samples that `audiomix augment` writes."""

import warnings
from array import array
from collections.abc import Sequence
from functools import cached_property
from inspect import signature
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ... import check, draw
from ...arguments import Recorded
from ...audio.io import AudioError
from ...identity import digest
from ...items import collate_rest, stack_waves
from ...mixer import Mixer
from ..cache import enough_memory
from ..parallel import ThreadLimit
from ..render import NoPartner, Rendered, Renderer
from ..run import PARTNERS, augment, plan_run
from ..stems import FULL
from .iterable import IterableMixedDataset
from .order import MixedSampler

__all__ = ["MixedDataset"]

# What a run is asked for that holds for mixes that are not written too, with the defaults of `augment`
_OWN = ("copies", "seed", "workers", "progress")
_OPTIONS = {
    name: signature(augment).parameters[name].default
    for name, one in signature(plan_run).parameters.items()
    if one.kind is one.KEYWORD_ONLY and name not in _OWN
}


class MixedDataset(Recorded, Dataset[Any]):
    """Mix each file of a data set with a partner when it is read; a map-style data set.

    Item n of epoch 0 is the n-th file, in the order of sources and copies, that ``audiomix augment SOURCE OUT`` would
    write with the same options: the same partner, plan, label and samples. Nothing is written.

    Parameters
    ----------
    source : path
        A folder of class folders, an archive, a manifest, an audiofolder: what `augment` reads.
    mixer : Mixer
        How two sounds are mixed. One that was made for a rate is given each file's.
    copies : int
        Mixes of each file, each with a partner and a plan of its own.
    seed : int
        What all draws depend on, with the names of the files.
    split : str, optional
        Only the mixes of files of this split, such as ``train``; by default those of all files. Classes, partners and
        plans are the same.
    folds : sequence of str, optional
        Only the mixes of files of these folds.
    on_error : str
        What becomes of a file that cannot be read or mixed. ``raise``: the error names it. ``skip``: a warning names
        it once, its item is None, and `collate` and `iterable` leave it out, as `augment` does.
    workers : int
        Processes that find the beats of files that have none, for mixers that need beats. Not those of a DataLoader.
    progress : bool
        Show how far this is.
    **options
        All others of `audiomix.offline.run.augment`: ``rate=``, ``channels=``, ``length=``, ``partners=``, ``room=``,
        ``stems=``, ``layout=``, ``columns=`` and so on.

    Attributes
    ----------
    class_names : tuple of str
        The classes, in the order of the label's places.
    notes : tuple of str
        What a person should know of the source, in sentences.
    errors : tuple of dict
        What is left out of it before anything is mixed: ``file``, ``copies``, ``reason``.

    Raises
    ------
    TypeError, ValueError
        As `augment`: a wrong argument, an empty source, labels that are missing. A language model in ``words=``: it
        rewrites captions of mixes that are there.

    Notes
    -----
    An item is a dict. ``wave`` is (C, T), float32: the 16 bit samples of the file divided by 32768, so it equals what
    is decoded from FLAC or PCM wav. ``id`` is the file's name without its suffix, ``rate`` in Hz; ``label`` (K,),
    float32, shares by class, where there are classes; ``caption`` for mixers of captions; ``plan`` its plan as JSON;
    with ``stems=True`` ``stems`` (S, C, T). `row` returns all that the manifest would say of it.

    Each epoch has other mixes: those that ``augment`` writes with ``seed=dataset.epoch_seed(epoch)``, which for epoch 0
    is `seed`. `set_epoch` reaches persistent workers too. Each process keeps 64 MB of decoded sounds.

    See Also
    --------
    audiomix.Collate : mixes the clips of a batch with each other, drawn anew for each batch.

    Examples
    --------
    >>> from torch.utils.data import DataLoader
    >>> from audiomix import MixUp
    >>> from audiomix.datasets.demo import assets
    >>> dataset = MixedDataset(assets() / "sounds", MixUp(), length=1.0, rate=16000, across=["split", "fold"])
    >>> dataset[0]["wave"].shape, bool(dataset[0]["label"].sum() == 1)
    (torch.Size([1, 16000]), True)
    >>> loader = DataLoader(dataset, batch_size=4, sampler=dataset.sampler(shuffle=True), collate_fn=dataset.collate)
    >>> next(iter(loader))["wave"].shape
    torch.Size([4, 1, 16000])
    """

    def __init__(
        self,
        source: str | Path,
        mixer: Mixer,
        *,
        copies: int = 1,
        seed: int = 0,
        split: str | None = None,
        folds: Sequence[str] | None = None,
        on_error: Literal["raise", "skip"] = "raise",
        workers: int = 1,
        progress: bool = False,
        **options: Any,
    ) -> None:
        for name in options:
            check.choice("options", name, _OPTIONS)
        self.on_error = check.choice("on_error", on_error, ["raise", "skip"])
        given = _OPTIONS | options
        if given["words"] is not None and given["words"].language_model() is not None:
            check.fail("words", "without a language model", "join=", "it rewrites captions of mixes that are there")
        planned = plan_run(source, mixer, copies=copies, seed=seed, workers=workers, progress=progress, **given)
        self._run = self._first = planned.run
        self._across = given["across"]
        self._numbers = _choose(planned.run, split, folds)
        self.notes = (*planned.notes, *planned.said)
        self.errors = tuple(planned.without)
        self.seed = planned.run.settings.seed
        # shared, so that workers that are there already read the new one too
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._renderer: Renderer | None = None
        self._threads = ThreadLimit(1)
        self._named: set[str] = set()

    def __len__(self) -> int:
        return len(self._numbers)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a worker gets: all but the sounds that are kept decoded."""
        return {**self.__dict__, "_renderer": None, "_threads": ThreadLimit(1)}

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of the label's places."""
        return self._first.settings.classes

    @property
    def epoch(self) -> int:
        """Which epoch items are drawn for, from 0 on."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch begins; before the iterator of the loader is made, since workers begin to read then.

        Parameters
        ----------
        epoch : int
            From 0 on.
        """
        self._epoch.fill_(check.integer("epoch", epoch, 0))

    def epoch_seed(self, epoch: int) -> int:
        """Return the seed with which `augment` writes the items of an epoch.

        Parameters
        ----------
        epoch : int
            From 0 on. That of epoch 0 is the seed of the data set; others are hashed from both.
        """
        if not check.integer("epoch", epoch, 0):
            return self.seed
        return draw.generator_for(self.seed, "epoch", epoch).initial_seed() >> 10  # 53 bits: exact in any JSON

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch, and which run this is. Positions within an epoch are those of a sampler or an `iterable`.

        With torchdata's ``StatefulDataLoader`` this is the state of the data set.
        """
        return {"run": self.identity, "epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the epoch of a state.

        Parameters
        ----------
        state : dict
            What `state_dict` returned.

        Raises
        ------
        ValueError
            It is that of another run: other files, options or versions.
        """
        if state["run"] != self.identity:
            slip = "the same files, options, seed and versions?"
            check.fail("state", f"of this run ({self.identity})", f"that of another one ({state['run']})", slip)
        self.set_epoch(state["epoch"])

    @cached_property
    def identity(self) -> str:
        """A hash of all that the items depend on, as `augment` tells one run from another by."""
        return digest([self._first.describe(self._across), digest(self._numbers)], size=8)

    def render(self, index: int) -> Rendered:
        """Return an item as it would be written: whole numbers of 16 bits, stems, rate, and the manifest's row.

        Parameters
        ----------
        index : int
            Below the length of the data set.

        Raises
        ------
        AudioError
            The original, or every partner, cannot be read.
        ValueError
            The mixer refuses this pair.
        """
        number = self._numbers[index]  # an IndexError ends a loop over the items
        with self._threads.apply():  # as many as the workers of `augment` have: sums depend on it
            renderer, count = self._prepare(), PARTNERS
            while True:
                (task,) = self._run.tasks([number], count)
                try:
                    with enough_memory(task.item.path, " to mix it"):
                        return renderer.render(task)
                except NoPartner as error:
                    if error.tried < count:
                        raise
                    count *= 8

    def row(self, index: int) -> dict[str, Any]:
        """Return what the manifest would say of an item: sources, licences, plan, levels, versions; see `render`."""
        return self.render(index).row

    def __getitem__(self, index: int) -> Any:
        try:
            found = self.render(index)
        except (AudioError, ValueError) as error:
            if self.on_error == "raise":
                raise
            self._warn(str(error))
            return None
        row, settings = found.row, self._run.settings
        item = {"id": row["file_name"].rpartition(".")[0], "wave": found.mix.float() / FULL, "rate": found.rate}
        if settings.classes:
            item["label"] = None if row["label"] is None else self._label(row["label"])
        if "captions" in settings.mixer.needs.notes:
            item["caption"] = row["caption"]
        if settings.stems:
            item["stems"] = torch.stack(found.stems).float() / FULL
        return item | {"plan": row["plan"]}

    @staticmethod
    def collate(items: Sequence[Any]) -> dict[str, Any]:
        """Return a batch: waves padded with zeros to the longest, and their lengths; the ``collate_fn`` of a loader.

        Parameters
        ----------
        items : sequence of dict
            What the data set returned; those that are None are left out.

        Returns
        -------
        dict
            ``wave`` (B, C, T); ``lengths`` (B,), int64, valid samples; ``label`` (B, K); all others as torch collates
            them, or a list. Empty where all items are None.
        """
        items = [item for item in items if item is not None]
        if not items:
            return {}
        ids = [item["id"] for item in items]
        waves = [item["wave"] for item in items]
        rest = [name for name in items[0] if name not in ("id", "wave")]
        lengths = torch.tensor([wave.shape[-1] for wave in waves])
        batch: dict[str, Any] = {"id": ids, "wave": stack_waves("wave", waves, ids)[0], "lengths": lengths}
        return batch | {name: collate_rest([item[name] for item in items]) for name in rest}

    def sampler(self, **options: Any) -> MixedSampler:
        """Return the order of an epoch for a DataLoader: shuffled, for one of several processes, from a position on.

        Parameters
        ----------
        **options
            See `MixedSampler`: ``shuffle=``, ``rank=``, ``world_size=``, ``remainder=``.
        """
        return MixedSampler(self, **options)

    def iterable(self, **options: Any) -> IterableMixedDataset:
        """Return the same items as an iterable data set, whose state holds the position in the epoch.

        Parameters
        ----------
        **options
            See `IterableMixedDataset`: ``batch_size=``, ``shuffle=``, ``rank=``, ``world_size=``, ``remainder=``.
        """
        return IterableMixedDataset(self, **options)

    def _prepare(self) -> Renderer:
        """Return a renderer of this epoch, with the sounds that the last one has kept."""
        seed = self.epoch_seed(self.epoch)
        if self._run.settings.seed != seed:
            self._run = self._first.at_seed(seed)
        if self._renderer is None or self._renderer.settings is not self._run.settings:
            before, self._renderer = self._renderer, Renderer(self._run.settings)
            self._renderer.sources = self._renderer.sources if before is None else before.sources
        return self._renderer

    def _label(self, shares: dict[str, float]) -> Tensor:
        return torch.tensor([shares.get(name, 0.0) for name in self.class_names])

    def _warn(self, reason: str) -> None:
        if reason not in self._named:
            self._named.add(reason)
            warnings.warn(f"left out: {reason}", stacklevel=3)


def _choose(run: Any, split: str | None, folds: Sequence[str] | None) -> Sequence[int]:
    """Return the numbers of the mixes whose originals are in a split and in some folds."""
    if split is None and folds is None:
        return range(run.total)
    if isinstance(folds, str):
        check.fail("folds", "a sequence of folds", repr(folds), f"[{folds!r}]")
    originals = [run.item(number) for number in range(0, run.total, run.copies)]
    for name, given in (("split", None if split is None else [split]), ("folds", folds)):
        known = {getattr(item, name.removesuffix("s")) for item in originals} - {None}
        for one in given or ():
            if not known:
                check.fail(name, f"None for a source without {name.removesuffix('s')}s", repr(one))
            check.choice(name, one, sorted(known))
    kept = [split in (None, item.split) and (folds is None or item.fold in folds) for item in originals]
    numbers = (i * run.copies + copy for i, one in enumerate(kept) if one for copy in range(run.copies))
    if not len(found := array("q", numbers)):
        check.fail("folds", f"some of files in the split {split!r}", repr(folds))
    return found
