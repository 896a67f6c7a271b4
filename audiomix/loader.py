"""Mixers in a DataLoader: `Collate` and `Indexed`."""

import copy
import math
import os
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from . import check, draw
from .arguments import Recorded
from .clips import A_FOLDER, OF_THE_ORIGINAL, Notes
from .items import (
    COLLATED_NOTES,
    Entries,
    Layout,
    Names,
    check_entries,
    collate_rest,
    column,
    mask_lengths,
    rebuild,
    row_of,
    sampling_rate,
    stack_labels,
    stack_waves,
)
from .mixed import Mixed, Plans
from .mixer import Mixer
from .pairing import notes_of
from .pipeline import Pipeline
from .plan import Plan
from .targets.correspondence import mix_captions

__all__ = ["Collate", "Indexed", "MixedDict"]

_ADDED = ("lengths", "plans")


class _Item(NamedTuple):
    id: Any
    value: Any


class Indexed(Recorded, Dataset):
    """A data set whose items carry their index, so that `Collate` knows which clips a batch holds.

    Parameters
    ----------
    dataset : map-style data set
        With ``__getitem__`` and ``__len__``; items of any kind that `Collate` takes.

    Examples
    --------
    >>> clips = Indexed([(torch.zeros(1, 10), 0), (torch.ones(1, 10), 1)])
    >>> len(clips), clips[1][0]
    (2, 1)
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = _check_map_style("dataset", dataset, "use key=")

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> _Item:
        return _Item(index, self.dataset[index])

    def __getitems__(self, indices: Sequence[int]) -> list[_Item]:
        """Return several items at once, as Hugging Face's ``datasets`` read them faster."""
        return [_Item(index, item) for index, item in zip(indices, _read(self.dataset, indices))]


@dataclass
class _Side:
    """Items as a mixer takes them: sounds (B, C, T), and what was done to their axes."""

    x: Tensor
    lengths: Tensor | None
    rate: int | None  # in Hz, where the items state it
    one_axis: bool  # waves (T,), here (B, 1, T)
    target: Tensor | None = None
    notes: dict[str, list[Any]] = field(default_factory=dict)
    scalar: bool = False  # one regression value a clip, here (B, 1)


class MixedDict(dict[Any, Any]):
    """A batch of dict items, under the keys of the items; what a model is not called with stands beside them.

    Parameters
    ----------
    columns : mapping
        The batch by key.
    plans : iterable of Plan, optional
        What was drawn.
    lengths : Tensor, shape (B,), int64, optional
        Valid samples or frames of the mixed sounds; None where there is no time axis.

    Raises
    ------
    AttributeError
        When ``plans`` or ``lengths`` is asked for and the dict was made from the keys of a batch alone, as Hugging
        Face's Trainer and Lightning at ``bf16-true`` make it anew: ``Collate(add=["plans", "lengths"])`` puts both
        among the keys.

    Examples
    --------
    >>> from audiomix import MixUp
    >>> rows = [{"id": name, "wave": torch.randn(1, 100), "label": i} for i, name in enumerate("ab")]
    >>> batch = Collate(MixUp(num_classes=2))(rows)
    >>> sorted(batch), len(batch.plans)
    (['id', 'label', 'wave'], 1)
    """

    plans: Plans
    lengths: Tensor | None

    def __init__(
        self, columns: Mapping[Any, Any] = {}, *, plans: Iterable[Plan] | None = None, lengths: Tensor | None = None
    ) -> None:
        super().__init__(columns)
        if plans is not None:
            self.plans, self.lengths = Plans(plans), lengths

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Say what a copy that was made from the keys alone lacks."""
            slip = "a copy of the keys alone? Collate(add=['plans', 'lengths']) puts both among them"
            more = f": {slip}" if name in _ADDED else ""
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}{more}")

    def to(self, *args: Any, **kwargs: Any) -> "MixedDict":
        """Return the batch with its tensors, and all else that has a ``to``, moved or converted; plans stay.

        Parameters
        ----------
        *args, **kwargs : Any
            See ``torch.Tensor.to``.
        """
        moved = copy.copy(self)
        moved.update({key: _move(value, *args, **kwargs) for key, value in self.items()})
        return moved


class Collate(Recorded):
    """Collate clips into a batch and mix it, alike for any number of workers and after a resume.

    The generator of a batch comes from a keyed hash of (seed, epoch, ids of its clips). A generator object handed to a
    DataLoader would be copied into every worker, and all would draw the same numbers.

    Parameters
    ----------
    mixer : Mixer or Pipeline
        What mixes each batch; in ``eval()`` batches are collated alike and nothing is mixed.
    seed : int
        Another seed gives other partners and weights in every batch.
    key : callable or hashable, optional
        ``item -> id``, or the entry with the id. By default items come from `Indexed`, or have an entry ``id``.
    wave, label : hashable, optional
        Which entry of an item is what: the key of a dict, the field of a named tuple or dataclass, the position in a
        tuple. By default the first two of a tuple; else ``input_values``, ``input_features``, ``wave``, ``waveform`` or
        ``audio``, and ``labels``, ``label``, ``targets`` or ``target``. ``label=False``: there is none.
    lengths, mask : hashable, optional
        Entries with the valid samples or frames of a sound that is padded already: their number, or ones and then
        zeros. By default ``lengths`` and ``attention_mask``, where the items have them; False: there is none. Both are
        those of the mixes in the batch that comes back; an entry that is named here is added where the items lack it.
    notes : mapping
        From a field of `audiomix.Notes` to the entry that holds it: ``{"beats": "grid", "ids": "speaker"}``. By default
        entries ``beats``, ``captions`` or ``caption``, ``distractor_captions``, and ``speaker_id`` or ``speaker`` for
        ``ids``; where the mixer's `pairing` looks at them also ``cluster``, ``attribute``, ``confidence``, ``bpm`` or
        ``tempo``, and ``embedding``.
    class_names : sequence of str, optional
        Where labels are names: the place of a name is its id.
    other : map-style data set, sampler or hashable, optional
        Where partners come from, if not from the batch. A data set of items like those of the batch: as many as there
        are clips are drawn for each batch, none twice. An item with the id of a clip is not its partner, so that
        ``Indexed(dataset)``, or rows with an ``id``, may be the data set itself. What has a method ``sample``: an
        `audiomix.NoiseFolder`. An entry of the items: the second stream of the same clip, as `audiomix.StreamMix` takes
        it.
    other_weights : sequence of float, optional
        How likely each item of the data set `other` is drawn.
    entries : sequence, optional
        The entries that come back; all by default. Hugging Face's Trainer hands every key to the model.
    add : sequence of str
        What is put beside them: ``lengths``, ``plans``. New keys of a dict, the last entries of a tuple. With these, or
        without some of their fields, named tuples and dataclasses become dicts.
    time_axis : int, optional
        Which axis of a sound is time, counted from the end; None: as the mixer has it (-2 for streams (N, D)).

    Returns
    -------
    batch
        Of items ``(wave, label)`` or ``wave`` a `audiomix.Mixed`, its `x` (B, C, T) even where a wave has shape (T,).
        Of all others a batch in the form of the items: a `MixedDict` with their keys, which has ``plans`` and
        ``lengths`` as attributes; the named tuple or dataclass; a tuple. Sounds, labels, lengths, masks and the
        captions of mixers that write any are those of the mixes. All other entries are of the originals, collated as by
        torch, or a list: texts, lists, notes, what is ragged. Sounds keep the axes of the items.

    Notes
    -----
    Items are alike. Waves (T,) or (C, T), spectrograms (F, N) (with ``time_axis=-2`` (N, F)): tensors, arrays, lists of
    numbers, Hugging Face's ``{"array": ..., "sampling_rate": ...}`` and decoders of torchcodec. Those of different
    lengths are padded with zeros, and their valid lengths passed on; frame labels (K, N) likewise. Floating point only:
    16 bit samples are refused. Labels that the mixer does not mix (without ``num_classes``) come back as they are.

    Rates are compared where they are known: of Hugging Face's sounds, of mixers that have one, of a
    `audiomix.NoiseFolder`. Other data sets cannot say theirs: `other` must have that of the batch.
    Call `set_epoch` before the iterator of each epoch is made, since workers begin to read then; it reaches persistent
    workers too.

    See Also
    --------
    audiomix.Indexed : gives each item the index that names it.

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

    Rows as Hugging Face's ``datasets`` and feature extractors have them:

    >>> sizes = [(0, 3), (1, 4)]
    >>> rows = [{"id": i, "input_values": [0.5] * n, "attention_mask": [1] * n, "labels": i} for i, n in sizes]
    >>> batch = collate(rows)
    >>> list(batch), batch["input_values"].shape, batch["labels"].shape, batch["attention_mask"].sum(1).tolist()
    (['id', 'input_values', 'attention_mask', 'labels'], torch.Size([2, 4]), torch.Size([2, 8]), [3, 4])
    """

    def __init__(
        self,
        mixer: nn.Module,
        *,
        seed: int = 0,
        key: Callable[[Any], Any] | Hashable = None,
        wave: Hashable = None,
        label: Hashable = None,
        lengths: Hashable = None,
        mask: Hashable = None,
        notes: Mapping[str, Hashable] | None = None,
        class_names: Sequence[str] | None = None,
        other: Any = None,
        other_weights: Sequence[float] | None = None,
        entries: Sequence[Hashable] | None = None,
        add: Sequence[str] = (),
        time_axis: int | None = None,
    ) -> None:
        self.mixer = check.one_of_types("mixer", mixer, (Mixer, Pipeline), "a Mixer or a Pipeline")
        self.seed = check.integer("seed", seed)
        self.key = key
        for name in notes or {}:
            check.choice("notes", name, Notes.__dataclass_fields__)
        self.class_names = None if class_names is None else list(class_names)
        sound = other if isinstance(other, (str, int)) else None
        self.named = Entries(wave, label, lengths, mask, sound, dict(notes or {}), frozenset(_find_notes(self.mixer)))
        self.other = other if sound is None else None
        if self.other is not None and not _draws(self.other):
            slip = "a data set, a NoiseFolder, or the name of an entry of the items"
            _check_map_style("other", self.other, slip if not isinstance(self.other, os.PathLike) else A_FOLDER)
            check.integer("len(other)", len(self.other), 1, slip="an empty data set has no partners")
        self.other_weights = None if other_weights is None else _check_weights(other_weights, self.other)
        self.entries = None if entries is None else list(entries)
        self.add = [check.choice("add", name, _ADDED) for name in add]
        self.time_axis = _time_axis(self.mixer) if time_axis is None else check.integer("time_axis", time_axis)
        if self.time_axis not in (-1, -2):
            check.fail("time_axis", "-1 or -2, counted from the end", self.time_axis)
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

    def generator(self, ids: Sequence[Any]) -> torch.Generator:
        """Return the generator of a batch of these clips in this epoch, as it is before anything is drawn.

        With it the batch is drawn again elsewhere: ``folder.draw(len(ids), generator=collate.generator(ids))``.

        Parameters
        ----------
        ids : sequence
            Of the clips, in the order of the batch.
        """
        return draw.generator_for(self.seed, int(self._epoch), *map(_number, ids))

    def __call__(self, items: Sequence[Any]) -> Any:
        """Return the mixed batch, in the form of the items.

        Parameters
        ----------
        items : sequence
            What the data set returned for each clip of the batch.

        Raises
        ------
        TypeError, ValueError
            An item that has no id, no sound, or is unlike the others: it is named.
        """
        if not len(items):
            check.fail("items", "at least one item", "none")
        values = [item.value if isinstance(item, _Item) else item for item in items]
        rows = [row_of(value) for value in values]
        check_entries(rows, Names(range(len(rows)), "item {}"))
        layout = Layout.of(rows[0], self.named)
        self._check_label(rows[0], layout)
        ids = [self._id(item, row, layout) for item, row in zip(items, rows)]
        where = Names(ids)
        generator = self.generator(ids)
        own = self._side(rows, layout, where)
        self._check_rates(own, layout)
        stream = None if layout.sound is None else self._sounds(rows, layout.sound, where)
        second = self._second(stream, ids, generator, own)
        progress = None if self._progress.isnan() else float(self._progress)
        mixed = self.mixer(
            own.x, own.target, lengths=own.lengths, generator=generator, progress=progress, **(own.notes | second)
        )
        if mixed.lengths is None and not mixed.x.ndim <= 2 < own.x.ndim:  # all are full; an encoder leaves no time
            size = mixed.x.shape[_axis_out(self.mixer, self.time_axis)]
            mixed = mixed._replace(lengths=torch.full((len(items),), size))
        if mixed.target is None and layout.label is not None:
            mixed = mixed._replace(target=collate_rest(column(rows, layout.label, where)))
        if layout.is_plain and not (self.add or self.entries or self._further_entries):
            return mixed
        return self._fill(values[0], self._columns(rows, layout, where, mixed, own, stream, second), mixed)

    def _id(self, item: Any, row: Mapping[Any, Any], layout: Layout) -> Any:
        """Return the id of an item, or raise."""
        if callable(self.key):
            return self.key(item)
        if self.key is not None:
            return column([row], self.key, ["items"])[0]
        if isinstance(item, _Item):
            return item.id
        slip = "wrap the data set in audiomix.Indexed, or give key="
        if layout.id is None:
            check.fail("items", "with an id each", type(item).__name__, slip, TypeError)
        if row[layout.id] is None:  # as that of all others may be: all batches would be mixed alike
            check.fail("items", "with an id each", f"{layout.id!r}: None", slip)
        return row[layout.id]

    @property
    def _further_entries(self) -> list[Any]:
        """The entries with lengths or a mask that are to be in the batch, whether the items have them or not."""
        return _entries(self.named.lengths, self.named.mask)

    def _check_label(self, row: Mapping[Any, Any], layout: Layout) -> None:
        """Refuse items with an entry that may be the label, under a name that is not known, where labels are mixed."""
        known = {layout.wave, layout.lengths, layout.mask, layout.sound, layout.id, *layout.notes.values()}
        known |= set() if callable(self.key) else {self.key}
        unknown = [repr(key) for key in row if key not in known]
        if self.named.label is None and layout.label is None and unknown and _counts_classes(self.mixer):
            got = f"none in {', '.join(map(repr, row))}"
            slip = f"name it: label=..., one of {', '.join(unknown)}; label=False where there is none"
            check.fail("items", "with a label, since the mixer has num_classes", got, slip)

    def _check_rates(self, side: _Side, layout: Layout, what: str = "items") -> None:
        """Refuse sounds of another rate than the mixer is made for."""
        for rate in () if side.rate is None else sorted(self.mixer.rates):
            if rate != side.rate:
                slip = f"cast_column({layout.wave!r}, Audio(sampling_rate={rate})), or a mixer of rate={side.rate}"
                check.fail(what, f"of {rate} Hz, as the mixer is", f"{side.rate} Hz", slip)

    def _sounds(
        self, rows: Sequence[Mapping[Any, Any]], key: Any, where: Sequence[str], *counts: Sequence[int] | None
    ) -> _Side:
        """Return the sounds under one entry; `counts`: valid samples, and the sizes of the masks that say so."""
        waves = column(rows, key, where)
        x, lengths = stack_waves(f"entry {key!r}", waves, where, self.time_axis, *counts)
        one_axis = self.time_axis == -1 and x.ndim == 2
        return _Side(x[:, None] if one_axis else x, lengths, sampling_rate(waves, where), one_axis)

    def _side(self, rows: Sequence[Mapping[Any, Any]], layout: Layout, where: Sequence[str]) -> _Side:
        """Return the sounds, labels and notes of items of either data set."""
        ends = masks = None
        if layout.mask is not None:
            ends, masks = mask_lengths(column(rows, layout.mask, where), where)
        elif layout.lengths is not None:
            given, slip = column(rows, layout.lengths, where), "lengths=False, if it says something else"
            ends = [check.integer(f"{layout.lengths!r} of {at}", n, 0, slip=slip) for n, at in zip(given, where)]
        side = self._sounds(rows, layout.wave, where, ends, masks)
        target, scalar = None, False
        if layout.label is not None and _takes_labels(self.mixer):
            given = column(rows, layout.label, where)
            target = stack_labels(given, where, self.class_names)
            scalar = target.ndim == 2 and not torch.as_tensor(given[0]).ndim
        wanted = {*_find_notes(self.mixer), *self.named.notes, "ids"}
        notes = {name: column(rows, key, where) for name, key in layout.notes.items() if name in wanted}
        return replace(side, target=target, notes=notes, scalar=scalar)

    def _second(self, stream: _Side | None, ids: Sequence[Any], generator: Any, own: _Side) -> dict[str, Any]:
        """Return the arguments of the second batch: another stream, drawn items of a data set, or what draws itself."""
        if stream is not None:
            _check_like("the second stream", stream.rate, own)
            return {"other": stream.x, "other_lengths": stream.lengths}
        if self.other is None or not self.mixer.training:
            return {}
        if _draws(self.other):
            _check_like("other", getattr(self.other, "rate", None), own)
            return {"other": self.other}
        weights = self.other_weights
        most = len(self.other) if weights is None else int((weights > 0).sum())
        chosen = draw.distinct(len(self.other), min(len(ids), most), weights=weights, generator=generator).tolist()
        drawn = _read(self.other, chosen)
        others = [row_of(item.value if isinstance(item, _Item) else item) for item in drawn]
        names = Names(chosen, "item {1} of other")
        check_entries(others, names)
        entries = Layout.of(others[0], replace(self.named, sound=None), "items of other", need_label=False)
        side = self._side(others, entries, names)
        self._check_rates(side, entries, "other")
        _check_like("other", side.rate, own)
        notes = {f"other_{name}": value for name, value in side.notes.items() if name not in OF_THE_ORIGINAL}
        if "pairing_weights" in side.notes:  # of those that partners are chosen among
            notes["pairing_weights"] = side.notes["pairing_weights"]
        theirs = [item.id if isinstance(item, _Item) else row.get(entries.id) for item, row in zip(drawn, others)]
        rows, columns = ([str(_number(name)) for name in found] for found in (ids, theirs))
        differs = torch.tensor([[row != column for column in columns] for row in rows])
        found: dict[str, Any] = {"other": side.x.to(own.x.dtype), "other_lengths": side.lengths, **notes}
        found["other_target"] = side.target
        found["allowed"] = None if differs.all() else differs  # the data set itself: no clip is its own partner
        return {name: value for name, value in found.items() if value is not None}

    def _columns(
        self,
        rows: Sequence[Mapping[Any, Any]],
        layout: Layout,
        where: Sequence[str],
        mixed: Mixed,
        own: _Side,
        stream: _Side | None,
        second: dict[str, Any],
    ) -> dict[Any, Any]:
        """Return the batch by entry: what is mixed as it is in the mixes, all else collated."""
        target = mixed.target
        if own.scalar and isinstance(target, Tensor) and target.shape[1:] == (1,):
            target = target[:, 0]
        found = {layout.label: target, layout.wave: _sound_like(mixed.x, own, column(rows, layout.wave, where))}
        if stream is not None:
            found[layout.sound] = _sound_like(stream.x, stream, column(rows, layout.sound, where))
        for name, key in layout.notes.items():
            if key not in found:  # a label may be a note too: the tempo
                values = column(rows, key, where)
                found[key] = collate_rest(values) if name in COLLATED_NOTES else values
        if "captions" in layout.notes:
            captions = layout.notes["captions"]
            found[captions] = self._captions(found[captions], second.get("other_captions"), mixed)
        found |= dict.fromkeys(_entries(self.named.lengths, layout.lengths), mixed.lengths)
        for key in _entries(self.named.mask, layout.mask):
            like = rows[0].get(key)
            dtype = torch.int64 if like is None else torch.as_tensor(like).dtype
            found[key] = _mask(mixed, _axis_out(self.mixer, self.time_axis)).to(dtype)
        batch = {key: found[key] if key in found else collate_rest(column(rows, key, where)) for key in rows[0]}
        return batch | {key: found[key] for key in self._further_entries}

    def _captions(self, own: list[Any], other: list[Any] | None, mixed: Mixed) -> list[Any]:
        """Return the captions of the mixes, where a mixer writes or joins any; those of the originals else."""
        for mixer, plan in zip(_members(self.mixer), mixed.plans):
            if mixer.needs.caption == "joined" and bool(plan.mixed.any()):
                first, second = ([_first(text) for text in texts] for texts in (own, own if other is None else other))
                own = mix_captions(first, plan, other=second)
            elif mixer.needs.caption == "written":
                changed = plan.mixed.tolist()
                own = [plan.describe(i).get("caption", text) if changed[i] else text for i, text in enumerate(own)]
        return own

    def _fill(self, item: Any, columns: dict[Any, Any], mixed: Mixed) -> Any:
        """Return the batch in the form of its items, with what is added."""
        if self.entries is not None:
            for name in self.entries:
                check.choice("entries", name, columns)
            columns = {key: columns[key] for key in columns if key in self.entries}
        added = {name: getattr(mixed, name) for name in self.add}
        batch = rebuild(item, columns | added)
        return MixedDict(batch, plans=mixed.plans, lengths=mixed.lengths) if isinstance(batch, dict) else batch


def _entries(*keys: Any) -> list[Any]:
    """Return those that are entries: neither left out nor said not to be there."""
    return [key for key in keys if key is not None and key is not False]


def _move(value: Any, *args: Any, **kwargs: Any) -> Any:
    """Return a value moved by its ``to``; the samples in Hugging Face's form of a sound too."""
    if isinstance(value, dict):
        return {key: _move(one, *args, **kwargs) for key, one in value.items()}
    return value.to(*args, **kwargs) if hasattr(value, "to") else value


def _check_map_style(name: str, dataset: Any, slip: str) -> Any:
    for method in ("__getitem__", "__len__"):
        if not hasattr(dataset, method):
            check.fail(name, "map-style (__getitem__ and __len__)", type(dataset).__name__, slip)
    return dataset


def _check_weights(weights: Sequence[float], dataset: Any) -> Tensor:
    if dataset is None or _draws(dataset):
        check.fail("other_weights", "None without a data set as other", "given")
    found = check.to_tensor("other_weights", weights, "numbers").double()
    if found.shape != (len(dataset),) or not bool((found >= 0).all()) or not 0 < float(found.sum()) < math.inf:
        expected = f"{len(dataset)} numbers of at least 0, one an item of other, not all 0"
        check.fail("other_weights", expected, f"shape {tuple(found.shape)}, sum {float(found.sum()):g}")
    return found


def _draws(other: Any) -> bool:
    """Return whether something draws its own sounds; see `audiomix.clips.Sampler`."""
    return hasattr(other, "sample")


def _read(dataset: Any, indices: Sequence[int]) -> Sequence[Any]:
    """Return items of a data set, at once where it can."""
    many = getattr(dataset, "__getitems__", None)
    return many(list(indices)) if many is not None else [dataset[index] for index in indices]


def _members(mixer: Mixer | Pipeline) -> list[Mixer]:
    return [mixer] if isinstance(mixer, Mixer) else mixer.mixers


def _time_axis(mixer: Mixer | Pipeline) -> int:
    first = mixer if isinstance(mixer, Mixer) else next(iter(mixer.stages), None)
    return first.input_axis if isinstance(first, Mixer) else -1


def _axis_out(mixer: Mixer | Pipeline, time_axis: int) -> int:
    """Return which axis is time behind a mixer: as before it; behind a pipeline as its last mixer has it."""
    members = _members(mixer)
    return members[-1].input_axis if isinstance(mixer, Pipeline) and members else time_axis


def _number(value: Any) -> Any:
    """Return a number in a tensor as itself: rows are the same in whatever format they are read."""
    return value.item() if isinstance(value, Tensor) and not value.ndim else value


def _counts_classes(mixer: Mixer | Pipeline) -> bool:
    return any(module.num_classes is not None for module in (mixer, *_members(mixer)))


def _takes_labels(mixer: Mixer | Pipeline) -> bool:
    """Return whether a mixer mixes labels, encodes them, or chooses partners by them."""
    return _counts_classes(mixer) or any(m.needs.target or m.pairings != {"any"} for m in _members(mixer))


def _find_notes(mixer: Mixer | Pipeline) -> set[str]:
    members = _members(mixer)
    names = {name for member in members for name in member.needs.notes}
    names |= {name for member in members for rule in member.pairings for name in notes_of(rule)}
    return names | ({"distractor_captions"} if "captions" in names else set())


def _first(text: Any) -> Any:
    return text if text is None or isinstance(text, str) else next(iter(text), None)


def _mask(mixed: Mixed, time_axis: int) -> Tensor:
    """Return ones where a mix is, zeros behind it; (B, T)."""
    lengths = check.tensor("lengths", mixed.lengths)
    return torch.arange(mixed.x.shape[time_axis]) < lengths[:, None]


def _check_like(name: str, rate: int | None, own: _Side) -> None:
    if None not in (own.rate, rate) and own.rate != rate:
        check.fail(name, f"of {own.rate} Hz, as the batch is", f"{rate} Hz", "resample one of the two")


def _sound_like(x: Tensor, side: _Side, waves: Sequence[Any]) -> Any:
    """Return the sounds as the items have theirs: a tensor, or samples and their rate."""
    if side.one_axis and x.ndim > 2 and x.shape[1] == 1:
        x = x[:, 0]
    if side.rate is None:
        return x
    first = waves[0]
    names = {"path": [wave.get("path") for wave in waves]} if isinstance(first, Mapping) and "path" in first else {}
    return {**names, "array": x, "sampling_rate": side.rate}
