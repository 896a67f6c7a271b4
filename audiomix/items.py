"""Items of a data set: which of their entries is the sound, the label, ..., and how a list of them becomes tensors.

An item may be a sound alone, a tuple, a named tuple, a mapping (a row of Hugging Face's ``datasets``) or a dataclass.
"""

import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from . import check
from .clips import A_FOLDER, MOST_CHANNELS

__all__ = [
    "COLLATED_NOTES",
    "Entries",
    "Entry",
    "Layout",
    "Names",
    "check_entries",
    "collate_rest",
    "column",
    "mask_lengths",
    "rebuild",
    "row_of",
    "sampling_rate",
    "stack_labels",
    "stack_waves",
]

Entry = Hashable  # a key of a mapping, a field of a named tuple or dataclass, a position of a tuple

# Names that entries have in the wild, the likeliest first
_WAVES = ("input_values", "input_features", "wave", "waveform", "audio")
_LABELS = ("labels", "label", "targets", "target")
_LENGTHS = ("lengths",)  # "length" is of seconds or of tokens in most data sets
_MASKS = ("attention_mask",)
_IDS = ("id",)
_NOTES = {
    "beats": ("beats",),
    "captions": ("captions", "caption"),
    "distractor_captions": ("distractor_captions",),
    "ids": ("speaker_id", "speaker"),
}
# Those that only a pairing rule wants, and that are looked for where one does
_PAIRING_NOTES = {
    "clusters": ("cluster", "clusters"),
    "attributes": ("attribute", "attributes"),
    "confidence": ("confidence",),
    "bpm": ("bpm", "tempo"),
    "embeddings": ("embedding", "embeddings"),
}
# Notes that come back as torch collates them: numbers and names, not texts or beats
COLLATED_NOTES = ("ids", *_PAIRING_NOTES)
_SAMPLES = "array"  # of a sound in Hugging Face's `datasets`: {"array": samples, "sampling_rate": Hz, "path": name}
_RATE = "sampling_rate"


@dataclass(frozen=True)
class Entries:
    """Which entry of an item is what, as the user names it; None where the usual names and positions tell.

    Parameters
    ----------
    wave, label, lengths, mask, sound : hashable, optional
        Keys, fields or positions; False where there is none. `sound` is a second stream of the same clip.
    notes : mapping
        From a field of `audiomix.Notes` to an entry.
    wanted : frozenset of str
        Fields of `audiomix.Notes` that a pairing rule looks at: they are looked for under their usual names.
    """

    wave: Entry | None = None
    label: Entry | None = None
    lengths: Entry | None = None
    mask: Entry | None = None
    sound: Entry | None = None
    notes: Mapping[str, Entry] = field(default_factory=dict)
    wanted: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Layout:
    """Which entry of the items at hand is what; None for what they do not have. See `Entries`.

    Parameters
    ----------
    wave : hashable
        The sound.
    label, lengths, mask, sound, id : hashable, optional
        The other entries.
    notes : mapping
        From a field of `audiomix.Notes` to an entry.
    size : int
        How many entries there are.
    """

    wave: Entry
    label: Entry | None = None
    lengths: Entry | None = None
    mask: Entry | None = None
    sound: Entry | None = None
    id: Entry | None = None
    notes: Mapping[str, Entry] = field(default_factory=dict)
    size: int = 1

    @property
    def is_plain(self) -> bool:
        """Whether the items are ``(wave, label)`` or ``wave``."""
        return self.wave == 0 and self.label in (None, 1) and self.size == 1 + (self.label is not None)

    @classmethod
    def of(
        cls, row: Mapping[Entry, Any], entries: Entries, what: str = "items", *, need_label: bool = True
    ) -> "Layout":
        """Return the layout of items like this one.

        Parameters
        ----------
        row : mapping
            An item, as `row_of` returns it.
        entries : Entries
            What the user names.
        what : str
            Where the items come from, for messages.
        need_label : bool
            Whether a label that is named must be there; if not, a mixer that needs it says so.

        Raises
        ------
        ValueError
            An entry that is named is not there, or none can be the sound.
        """
        keys = list(row)
        placed = all(isinstance(key, int) for key in keys)  # a tuple

        def find(name: str, given: Entry | None, usual: Sequence[Entry], position: int | None = None) -> Entry | None:
            """Return the entry that is named, else the first usual one that is there."""
            if given is False:
                return None
            if given is not None:
                by_place = isinstance(given, int) and given not in row and 0 <= given < len(keys)
                key = keys[given] if by_place and not placed else given  # type: ignore[call-overload]
                if key not in row and name == "label" and not need_label:
                    return None
                if key not in row:
                    slip = f"{what} have {', '.join(map(repr, keys))}"
                    slip = f"{slip}; {A_FOLDER}" if name == "other" else slip
                    check.fail(name, "an entry of the items", repr(given), slip)
                return key
            if placed:
                return position if position is not None and position in row else None
            return next((key for key in usual if key in row), None)

        named = {entries.label, entries.lengths, entries.mask, entries.sound, *entries.notes.values()}
        wave = find("wave", entries.wave, _WAVES, 0)
        if wave is None:
            slip = f"name it: wave='...'; {what} have {', '.join(map(repr, keys))}"
            check.fail("items", f"with a sound ({', '.join(_WAVES)})", "none of these", slip)
        second = 1 if not {1} & (named | {wave}) else None
        looked_for = _NOTES | {n: usual for n, usual in _PAIRING_NOTES.items() if n in entries.wanted}
        notes = {n: find(f"notes[{n!r}]", entries.notes.get(n), usual) for n, usual in looked_for.items()}
        notes |= {n: find(f"notes[{n!r}]", key, ()) for n, key in entries.notes.items() if n not in looked_for}
        return cls(
            wave=wave,
            label=find("label", entries.label, _LABELS, second),
            lengths=find("lengths", _if_there(entries.lengths, row), _LENGTHS),
            mask=find("mask", _if_there(entries.mask, row), _MASKS),
            sound=find("other", entries.sound, ()),
            id=find("id", None, _IDS),
            notes={name: key for name, key in notes.items() if key is not None},
            size=len(keys),
        )


class Names(Sequence[str]):
    """How the items of a batch are called in messages; made when one is asked for.

    Parameters
    ----------
    ids : sequence
        Of the items.
    form : str
        With places for the number in the batch and the id.
    """

    def __init__(self, ids: Sequence[Any], form: str = "item {} (id {!r})") -> None:
        self.ids, self.form = ids, form

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: Any) -> Any:
        return self.form.format(index, self.ids[index])


def row_of(item: Any) -> Mapping[Entry, Any]:
    """Return the entries of an item by key, field or position; a sound alone is entry 0.

    Parameters
    ----------
    item : Any
        What a data set returned.
    """
    if type(item) is tuple:
        return dict(enumerate(item))
    if isinstance(item, Mapping):
        return item if _SAMPLES not in item else {0: item}
    if isinstance(item, tuple) and hasattr(item, "_fields"):
        return dict(zip(item._fields, item))
    if isinstance(item, tuple) or (isinstance(item, list) and item and not _is_number(item[0])):
        return dict(enumerate(item))
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        return {f.name: getattr(item, f.name) for f in dataclasses.fields(item)}
    return {0: item}


def check_entries(rows: Sequence[Mapping[Entry, Any]], where: Sequence[str]) -> None:
    """Refuse items that have other entries than the first: what is read of a batch must not depend on its order.

    Parameters
    ----------
    rows : sequence of mapping
        Items, as `row_of` returns them.
    where : sequence of str
        Which item each one is, for messages.

    Raises
    ------
    ValueError
        An item that lacks an entry, or has one more.
    """
    first = rows[0].keys()
    for i, row in enumerate(rows):
        if row.keys() == first:
            continue
        have, others = (", ".join(map(repr, one)) for one in (row, rows[0]))
        slip = "fill in what is missing, or leave it out"
        check.fail(where[i], f"like {where[0]}, with entries {others}", have, slip)


def column(rows: Sequence[Mapping[Entry, Any]], key: Entry, where: Sequence[str]) -> list[Any]:
    """Return one entry of every item.

    Parameters
    ----------
    rows : sequence of mapping
        Items, as `row_of` returns them.
    key : hashable
        Which entry.
    where : sequence of str
        Which item each one is, for messages.

    Raises
    ------
    ValueError
        An item without it.
    """
    try:
        return [row[key] for row in rows]
    except KeyError:
        i = next(i for i, row in enumerate(rows) if key not in row)
        return check.fail(where[i], f"with an entry {key!r}, as others have", ", ".join(map(repr, rows[i])))


def rebuild(item: Any, columns: dict[Entry, Any]) -> Any:
    """Return the columns of a batch in the form of its items: a dict, a tuple, a named tuple, a dataclass.

    Named tuples and dataclasses have the fields that they have: a batch with others is a dict.

    Parameters
    ----------
    item : Any
        One of the items.
    columns : dict
        By entry, as `row_of` names them.
    """
    named = (isinstance(item, tuple) and hasattr(item, "_fields")) or dataclasses.is_dataclass(item)
    if isinstance(item, Mapping) or (named and row_of(item).keys() != columns.keys()):
        return columns
    if isinstance(item, tuple) and hasattr(item, "_fields"):
        return type(item)(**columns)  # type: ignore[arg-type]
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        return dataclasses.replace(item, **columns)  # type: ignore[arg-type]
    return tuple(columns.values())


def stack_waves(
    name: str,
    values: Sequence[Any],
    where: Sequence[str],
    time_axis: int = -1,
    ends: Sequence[int] | None = None,
    masks: Sequence[int] | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Return sounds as one batch, padded with zeros at the end, and their lengths; no lengths where all are full.

    Parameters
    ----------
    name : str
        The entry, for messages.
    values : sequence
        Tensors, arrays, lists of numbers, or what Hugging Face's ``datasets`` returns of an audio column.
    where : sequence of str
        Which item each one is of, for messages.
    time_axis : int
        Which axis is time, counted from the end.
    ends : sequence of int, optional
        How many samples or frames of each are valid; all are where it is None.
    masks : sequence of int, optional
        How long the masks are that say so: as long as the sounds.

    Returns
    -------
    x : Tensor, shape (B, ...)
        Of the items' shape, but for the time axis.
    lengths : Tensor, shape (B,), int64, or None

    Raises
    ------
    TypeError, ValueError
        An item that is no sound, or is unlike the others; it is named.
    """
    waves = [_to_wave(name, value, where, i) for i, value in enumerate(values)]
    first = waves[0]
    if first.ndim < -time_axis:
        slip = "a single number? it must be samples" if not first.ndim else "time_axis=-1?"
        check.fail(f"{name} of {where[0]}", f"of at least {-time_axis} axes", f"shape {tuple(first.shape)}", slip)
    shapes, dtypes = {wave.shape for wave in waves}, {wave.dtype for wave in waves}
    if len(shapes) > 1 or len(dtypes) > 1:
        _check_alike(name, waves, where, time_axis)
    longest = max(shape[time_axis] for shape in shapes)
    if not longest:
        check.fail(f"{name} of {where[0]}", "of one sample or frame at least in some item", "none in all of them")
    x = torch.stack(waves) if len(shapes) == 1 else _pad(waves, time_axis, longest)
    if ends is None and len(shapes) == 1:
        return x, None
    sizes = [wave.shape[time_axis] for wave in waves]
    for i, (of, size) in enumerate(zip(masks or (), sizes)):
        if of != size:
            check.fail(f"mask of {where[i]}", f"of {size} ones and zeros, as many as {name} has samples or frames", of)
    for i, (end, size) in enumerate(zip(ends or (), sizes)):
        if not 0 <= end <= size:
            check.fail(f"the length of {where[i]}", f"within 0..{size}, the samples or frames of its {name}", end)
    valid = sizes if ends is None else list(ends)
    return x, None if all(end == longest for end in valid) else torch.tensor(valid)


def stack_labels(values: Sequence[Any], where: Sequence[str], class_names: Sequence[str] | None = None) -> Tensor:
    """Return labels as one tensor: ids (B,), labels (B, K), values (B, 1), or frame labels (B, K, N) padded with zeros.

    Parameters
    ----------
    values : sequence
        One a clip: an id, a number, a vector, a table of classes and frames, or a name of `class_names`.
    where : sequence of str
        Which item each one is of, for messages.
    class_names : sequence of str, optional
        The place of a name is its id.

    Raises
    ------
    TypeError, ValueError
        Some have none, unknown names, shapes that do not fit.
    """
    if all(type(value) is int for value in values):
        return torch.tensor(values)
    missing = [at for value, at in zip(values, where) if value is None]
    if missing:
        got = f"{len(missing)} of {len(values)} without a label, the first {missing[0]}"
        check.fail("items", "either all labelled or none", got)
    if class_names is not None:
        number = {name: i for i, name in enumerate(class_names)}
        for value, at in zip(values, where):
            if isinstance(value, str):
                check.choice(f"label of {at}", value, number)
        values = [number[value] if isinstance(value, str) else value for value in values]
    if isinstance(values[0], str):
        check.tensor("targets", list(values))
    tensors = [check.to_tensor(f"label of {at}", v, "numbers") for v, at in zip(values, where)]
    shapes = {tuple(t.shape) for t in tensors}
    if len(shapes) > 1 and len({t.shape[:-1] for t in tensors}) == 1 and tensors[0].ndim == 2:
        stacked = _pad(tensors, -1, max(t.shape[-1] for t in tensors))
    elif len(shapes) > 1:
        slip = "frame labels are tables (K, N): classes, then frames"
        if all(t.ndim == 1 for t in tensors):
            slip = "lists of class ids? K zeros and ones each say the same"
        check.fail("targets", "of one shape", sorted(shapes), slip)
    else:
        stacked = torch.stack(tensors)
    # one regression value a clip
    return stacked[:, None] if stacked.is_floating_point() and stacked.ndim == 1 else stacked


def collate_rest(values: Sequence[Any]) -> Any:
    """Return entries that are not mixed as torch's default collate does; as a list where that cannot, and of lists.

    Parameters
    ----------
    values : sequence
        One a clip.
    """
    if isinstance(values[0], (list, tuple)):  # default_collate would transpose them, and fail where they are ragged
        return list(values)
    try:
        return default_collate(list(values))
    except (TypeError, RuntimeError, KeyError, ValueError):
        return list(values)


def sampling_rate(values: Sequence[Any], where: Sequence[str]) -> int | None:
    """Return the rate of sounds that state one, in Hz; None where they state none.

    Parameters
    ----------
    values : sequence
        Sounds, as the items have them.
    where : sequence of str
        Which item each one is of, for messages.

    Raises
    ------
    ValueError
        They differ.
    """
    rates = [_rate(value) for value in values]
    if all(rate is None for rate in rates):
        return None
    for rate, at in zip(rates, where):
        if rate != rates[0]:
            got = f"{rates[0]} in {where[0]} and {rate} in {at}"
            check.fail("items", "of one sampling rate", got, "cast_column('audio', Audio(sampling_rate=16000))?")
    return rates[0]


def mask_lengths(masks: Sequence[Any], where: Sequence[str]) -> tuple[list[int], list[int]]:
    """Return how many ones each mask begins with, and how many ones and zeros it has.

    Parameters
    ----------
    masks : sequence
        Ones and zeros, one for each sample or frame.
    where : sequence of str
        Which item each one is of, for messages.

    Raises
    ------
    ValueError
        A mask that is None, or has ones behind zeros: padding on the left.
    """
    ends, sizes = [], []
    for mask, at in zip(masks, where):
        if mask is None:
            check.fail(f"mask of {at}", "ones, then zeros", None, "mask=False takes none")
        on = np.asarray(mask).astype(bool).ravel()
        ends.append(int(on.sum()))
        sizes.append(on.size)
        if not on[: ends[-1]].all():
            check.fail(f"mask of {at}", "ones, then zeros", "ones behind zeros", "padding_side='right'")
    return ends, sizes


def _pad(tensors: Sequence[Tensor], axis: int, size: int) -> Tensor:
    """Return tensors that differ in one axis as a batch of one allocation, zeros behind each."""
    first = tensors[0]
    shape = list(first.shape)
    shape[axis] = size
    x = first.new_empty(len(tensors), *shape)
    for i, one in enumerate(tensors):
        row, have = x[i], one.shape[axis]  # rows of unbind() could not be written where a gradient is followed
        row.narrow(axis, 0, have).copy_(one)
        row.narrow(axis, have, size - have).zero_()
    return x


def _check_alike(name: str, waves: Sequence[Tensor], where: Sequence[str], time_axis: int) -> None:
    """Raise where sounds differ in more than their length; the first that does is named."""
    first = waves[0]
    for wave, at in zip(waves, where):
        if wave.dtype != first.dtype:
            check.fail(f"{name} of {at}", f"{first.dtype}, as that of {where[0]} is", wave.dtype, error=TypeError)
        if wave.ndim != first.ndim or _other_axes(wave, time_axis) != _other_axes(first, time_axis):
            got = f"shapes {tuple(first.shape)} in {where[0]} and {tuple(wave.shape)} in {at}"
            few = min(one.shape[-2] if one.ndim > 1 else 1 for one in (first, wave)) <= MOST_CHANNELS
            slip = "mix them down to mono first" if few else f"time_axis={-3 - time_axis}?"
            check.fail(name, "of one number of channels (or bins)", got, slip)


def _other_axes(x: Tensor, axis: int) -> list[int]:
    sizes = list(x.shape)
    del sizes[axis]
    return sizes


def _if_there(entry: Entry | None, row: Mapping[Entry, Any]) -> Entry | None:
    """Return an entry that the row has, or False: what is named and not there is added to the batch."""
    return entry if entry is False or entry in row else None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _rate(value: Any) -> int | None:
    if isinstance(value, Tensor):
        return None
    if isinstance(value, Mapping):
        return value.get(_RATE)
    if hasattr(value, "get_all_samples"):
        return value.metadata.sample_rate
    return None


def _to_wave(name: str, value: Any, where: Sequence[str], number: int) -> Tensor:
    """Return the samples or frames of one clip as a tensor, without a copy where that can be."""
    if isinstance(value, Tensor) and value.is_floating_point():
        return value
    if isinstance(value, Mapping) and _SAMPLES in value:
        value = value[_SAMPLES]
    elif hasattr(value, "get_all_samples"):  # a decoder of torchcodec
        value = value.get_all_samples().data
    elif isinstance(value, (list, tuple)):
        value = _numbers(value)
    if isinstance(value, np.ndarray) and value.dtype != object:
        value = torch.from_numpy(value if value.flags.writeable else value.copy())
    if not isinstance(value, Tensor):
        got = type(value).__name__ if not isinstance(value, (str, bytes)) else f"{type(value).__name__} {value[:40]!r}"
        slip = "the data set must decode it: audiomix.audio.io.read(path).samples" if value is not None else ""
        expected = "samples: a tensor, an array or a list of numbers"
        check.fail(f"{name} of {where[number]}", expected, got, slip, TypeError)
    if not value.is_floating_point():
        slip = "16 bit samples? wave.float() / 32768" if value.dtype == torch.int16 else "which entry is it? wave=..."
        check.fail(f"{name} of {where[number]}", "floating point", value.dtype, slip, TypeError)
    return value


def _numbers(value: Sequence[Any]) -> Any:
    """Return a list as an array; numbers of Python have no width of their own and become float32, as in torch."""
    try:
        found = np.asarray(value)
    except ValueError:  # ragged
        return value
    return found.astype(np.float32) if found.dtype == np.float64 else found
