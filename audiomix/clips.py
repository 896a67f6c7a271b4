"""One side of a mix: `Clips`, the originals or where partners come from, checked once and the same for every mixer."""

import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from . import check
from .draw import Generator

__all__ = [
    "A_FOLDER",
    "MOST_CHANNELS",
    "NO_NOTES",
    "OF_THE_ORIGINAL",
    "Clips",
    "Notes",
    "Sampler",
    "behind",
    "check_allowed",
    "check_clips",
    "check_weights",
    "fit_length",
    "overlap",
    "prepare_clips",
    "sample_other",
    "silence_padding",
    "take_notes",
]


@dataclass(frozen=True, eq=False)
class Notes:
    """What is known of each clip besides its sound and its label. All are optional; each has one entry a clip.

    Parameters
    ----------
    beats : sequence of BeatGrid, list of seconds, or None; or Tensor, shape (B, N)
        The beats of each clip, for mixers that keep time. In a tensor rows are padded at their end with NaN, with zeros
        or with negative numbers.
    captions : sequence of str or of lists of str
        What can be said of each clip.
    distractor_captions : sequence of lists of str
        For each clip captions of other clips of its data set, for false captions (hard negatives).
    ids : sequence of hashable
        Names of clips, of utterances or of speakers.
    sources : sequence of int
        How many sounds each mix is to have, the original included.
    ratio : float or sequence of float
        The original's share, where the caller decides it (a curriculum).
    allowed : Tensor, shape (B, B) or (B, M), bool
        Which clips, of the batch or of the second one, each original may have as its partner. By whatever rule partners
        are chosen; only by ``self`` nothing is chosen.
    pairing_weights : Tensor, shape (B,) or (M,)
        How often each clip, of the batch or of the second one, is used as a partner: at least 0, in any unit. The
        rule's own probabilities are multiplied by them.
    clusters : Tensor, shape (B,), or sequence
        Of what cluster each clip is: a number or a name. None, a negative number or an empty text: of none.
    attributes : sequence, or Tensor, shape (B,) or (B, A)
        What each clip is besides its class: one value a clip, a list of several, or a table with a positive number
        where a clip has an attribute. None, a negative number or an empty text: nothing is known.
    confidence : Tensor, shape (B,), or sequence of float or None
        How sure the model is of each clip, in any unit, larger where it is surer; None or NaN where that is not known.
    bpm : Tensor, shape (B,), or sequence of float or None
        The tempo of each clip in beats a minute; None, NaN or 0 where it has none.
    embeddings : Tensor, shape (B, D), or sequence of vectors
        Where each clip lies in the space of some model.
    attention : Tensor, shape (B, F', T') or (B, T')
        How much a network attends to each token of each clip, at least 0: F' tokens in frequency and T' in time.

    Examples
    --------
    >>> notes = Notes(captions=["A dog barks.", "Rain falls."], bpm=torch.tensor([120.0, 60.0]))
    >>> notes.captions[1]
    'Rain falls.'
    """

    beats: Sequence[Any] | None = None
    captions: Sequence[Any] | None = None
    distractor_captions: Sequence[Any] | None = None
    ids: Sequence[Any] | Tensor | None = None
    sources: Sequence[int] | None = None
    ratio: Any = None
    allowed: Tensor | None = None
    pairing_weights: Tensor | None = None
    clusters: Sequence[Any] | Tensor | None = None
    attributes: Sequence[Any] | Tensor | None = None
    confidence: Sequence[Any] | Tensor | None = None
    bpm: Sequence[Any] | Tensor | None = None
    embeddings: Sequence[Any] | Tensor | None = None
    attention: Tensor | None = None

    def rows(self, index: Tensor) -> "Notes":
        """Return the notes of some of the clips, (R,) int64."""

        def take(value: Any) -> Any:
            """Return the rows of one field; one number stands for all clips."""
            if value is None or not hasattr(value, "__len__"):
                return value
            return value[index] if isinstance(value, Tensor) and value.ndim else [value[i] for i in index.tolist()]

        return self if self is NO_NOTES else Notes(**{name: take(value) for name, value in vars(self).items()})


NO_NOTES = Notes()


@dataclass(frozen=True, eq=False)
class Clips:
    """A batch of clips: the originals of a mix, or where its partners come from.

    Parameters
    ----------
    x : Tensor, shape (B, ..., T)
        Waveforms (B, C, T) or (B, T), spectrograms (B, ..., F, N), embeddings (B, D).
    lengths : Tensor, shape (B,), int64, optional
        Valid samples or frames of the time axis; all are valid where it is None.
    target : Tensor, optional
        Class ids (B,), labels (B, K), values (B, R) or frame labels (B, K, N).
    notes : Notes
        What else is known of each clip: beats, captions, ids.
    eligible : Tensor, shape (B,), bool, optional
        Clips that take part; all do where it is None.
    time_axis : int
        Which axis of `x` is time: the last one, but for streams (B, N, D).

    Examples
    --------
    >>> own = Clips(torch.zeros(2, 1, 100), lengths=torch.tensor([100, 60]))
    >>> len(own), own.size, own.valid
    (2, 100, tensor([100,  60]))
    """

    x: Tensor
    lengths: Tensor | None = None
    target: Tensor | None = None
    notes: Notes = NO_NOTES
    eligible: Tensor | None = None
    time_axis: int = -1

    def __len__(self) -> int:
        return self.x.shape[0]

    @property
    def size(self) -> int:
        """Samples or frames of the (padded) time axis."""
        return self.x.shape[self.time_axis]

    @property
    def valid(self) -> Tensor:
        """Valid samples or frames of each clip; (B,), int64."""
        return torch.full((len(self),), self.size) if self.lengths is None else self.lengths

    def rows(self, index: Tensor | slice) -> "Clips":
        """Return some of the clips, (R,) int64 on the CPU; a slice of one clip copies nothing."""
        where = torch.arange(index.start, index.stop) if isinstance(index, slice) else index
        x = self.x[index] if isinstance(index, slice) else self.x.index_select(0, index.to(self.x.device))
        lengths, target, eligible = (
            None if value is None else value[where.to(value.device)]
            for value in (self.lengths, self.target, self.eligible)
        )
        return Clips(x, lengths, target, self.notes.rows(where), eligible, self.time_axis)

    def clip(self, index: int) -> Tensor:
        """Return the valid part of one clip, (..., T')."""
        return self.x[index] if self.lengths is None else self.x[index][..., : int(self.lengths[index])]


def fit_length(samples: Tensor, length: int) -> Tensor:
    """Return (..., T) samples cut or zero-padded at the end to `length`.

    Parameters
    ----------
    samples : Tensor, shape (..., T)
        Samples or frames, time last.
    length : int
        How many to return.
    """
    have = samples.shape[-1]
    return samples[..., :length] if have >= length else torch.nn.functional.pad(samples, (0, length - have))


def behind(x: Tensor, lengths: Tensor) -> Tensor:
    """Return where `x` (B, ..., T) is padding; bool, (B, 1, ..., T), on its device.

    Parameters
    ----------
    x : Tensor, shape (B, ..., T)
        A batch, time last.
    lengths : Tensor, shape (B,)
        Valid samples or frames of each clip.
    """
    found = torch.arange(x.shape[-1], device=x.device) >= lengths.to(x.device)[:, None]
    return found.view(len(x), *[1] * (x.ndim - 2), x.shape[-1])


def silence_padding(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Return `x` (B, ..., T) with zeros behind the valid part of each clip, so that padding is never mixed in.

    Parameters
    ----------
    x : Tensor, shape (B, ..., T)
        A batch, time last.
    lengths : Tensor, shape (B,), optional
        Valid samples or frames of each clip; all are where it is None.
    """
    return x if lengths is None else x.masked_fill(behind(x, lengths), 0)


def prepare_clips(clips: Clips, size: int | None = None) -> Clips:
    """Return clips as `Mixer.render` gets them: silent behind their valid parts, float32 at least, fitted to `size`."""
    x = silence_padding(clips.x, clips.lengths) if clips.x.ndim <= 3 else clips.x
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    if size is None or x.shape[-1] == size:
        return replace(clips, x=x)
    return replace(clips, x=fit_length(x, size), lengths=clips.valid.clamp(max=size))


def overlap(own: Clips, source: Clips, partner: Tensor) -> tuple[Tensor, Tensor]:
    """Return how many valid samples each original has, and how many of them its partner covers; (B,), int64.

    Parameters
    ----------
    own, source : Clips
        The originals, and where partners come from.
    partner : Tensor, shape (B,), int64
        Rows of `source`.
    """
    return own.valid, torch.minimum(own.valid, source.valid[partner])


_ARGUMENTS = ("lengths", "other", "other_target", "other_lengths", "eligible", "generator", "progress", "out")
_NOTES = tuple(field.name for field in fields(Notes))
_NOTHING = (NO_NOTES, NO_NOTES)
# Notes that belong to the original alone: there is no other_ratio.
OF_THE_ORIGINAL = ("distractor_captions", "sources", "ratio", "allowed", "pairing_weights")


def take_notes(given: dict[str, Any], what: str = "a mixer", plan: str = "plan") -> tuple[Notes, Notes]:
    """Return the notes of the originals and of the partners from keyword arguments, or raise TypeError.

    Parameters
    ----------
    given : dict
        ``beats=``, ``other_beats=``, ``captions=`` and so on: the fields of `Notes`, with ``other_`` in front for the
        second batch.
    what : str
        Who takes the arguments, for the message.
    plan : str
        The name of the argument that replays plans, for the message.
    """
    if not given:
        return _NOTHING
    known = (*_NOTES, *(f"other_{name}" for name in _NOTES if name not in OF_THE_ORIGINAL))
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, (*_ARGUMENTS, plan, *known), n=1)
            slip = f"did you mean {near[0]}=?" if near else f"per-item context is {', '.join(known)}"
            raise TypeError(f"{what} takes no argument {name!r}: {slip}")
    for name in given.keys() & {"beats", "other_beats"}:
        given = given | {name: _beat_rows(name, given[name])}
    own = {name: given[name] for name in _NOTES if name in given}
    other = {name: given[f"other_{name}"] for name in _NOTES if f"other_{name}" in given}
    return Notes(**own), Notes(**other)


def _beat_rows(name: str, beats: Any) -> Any:
    """Return a padded tensor or array of beat times (B, N) as a list of rows; anything else as it is."""
    if not isinstance(beats, Tensor) and not hasattr(beats, "__array__"):
        return beats
    table = torch.as_tensor(beats).detach().cpu().double()
    if table.ndim != 2:
        slip = "one clip? beats[None]" if table.ndim == 1 else ""
        check.fail(name, "of shape (B, N): seconds, one row a clip", f"shape {tuple(table.shape)}", slip)
    rows = table.tolist()
    for row in rows:
        while row and not row[-1] > 0:  # NaN is not
            row.pop()
    return rows


def check_clips(
    x: Tensor,
    target: Tensor | None,
    *,
    lengths: Tensor | None = None,
    other: Tensor | None = None,
    other_target: Tensor | None = None,
    other_lengths: Tensor | None = None,
    eligible: Tensor | None = None,
    notes: tuple[Notes, Notes] = _NOTHING,
) -> tuple[Clips, Clips]:
    """Return the originals and where partners come from; one object twice where that is the batch itself.

    Raises
    ------
    TypeError, ValueError
        A wrong argument, by name.
    """
    check.batch("x", check.floating("x", x))
    if lengths is not None:
        lengths = check.lengths("lengths", lengths, x)
    if other is not None:
        check.batch("other", check.floating("other", other))
        if other.shape[1:-1] != x.shape[1:-1] or other.ndim != x.ndim:
            check.fail("other", f"like x up to the last axis {tuple(x.shape[:-1])}", tuple(other.shape))
        if other.dtype != x.dtype or other.device != x.device:
            check.fail("other", f"{x.dtype} on {x.device}, as x is", f"{other.dtype} on {other.device}")
        if other_lengths is not None:
            other_lengths = check.lengths("other_lengths", other_lengths, other)
    elif other_target is not None or other_lengths is not None:
        check.fail("other", "given with other_target or other_lengths", None)
    if eligible is not None:
        eligible = check.to_tensor("eligible", eligible, f"bool of shape ({len(x)},)")
        if eligible.dtype != torch.bool or tuple(eligible.shape) != (len(x),):
            check.fail("eligible", f"bool of shape ({len(x)},)", f"{eligible.dtype}, {tuple(eligible.shape)}")
    for name, value in (("target", target), ("other_target", other_target)):
        if value is not None:
            check.tensor(name, value)
    mine, candidates = notes[0], (x if other is None else other).shape[0]
    if mine.allowed is not None:
        mine = replace(mine, allowed=check_allowed("allowed", mine.allowed, len(x), candidates))
    if mine.pairing_weights is not None:
        mine = replace(mine, pairing_weights=check_weights("pairing_weights", mine.pairing_weights, candidates))
    own = Clips(x, lengths, target, mine, eligible)
    return own, own if other is None else Clips(other, other_lengths, other_target, notes[1])


def check_allowed(name: str, allowed: Any, size: int, candidates: int) -> Tensor:
    """Return who may meet whom as bool (size, candidates) on the CPU, or raise.

    Parameters
    ----------
    name : str
        The argument, for the message.
    allowed : Tensor or array
        Rows are the originals, columns the clips that partners are chosen among.
    size, candidates : int
        How many there are of each.
    """
    shape = (size, candidates)
    mask = check.to_tensor(name, allowed, f"bool of shape {shape}").detach().cpu()
    if mask.dtype != torch.bool or tuple(mask.shape) != shape:
        slip = f"{name}.bool()?" if tuple(mask.shape) == shape else "one row for each original"
        check.fail(name, f"bool of shape {shape}", f"{mask.dtype} of shape {tuple(mask.shape)}", slip)
    return mask


def check_weights(name: str, weights: Any, candidates: int) -> Tensor:
    """Return how often each clip is used as a partner as float64 (candidates,) on the CPU, at most 1, or raise.

    Parameters
    ----------
    name : str
        The argument, for the message.
    weights : Tensor or array
        One number for each clip that partners are chosen among, at least 0, in any unit.
    candidates : int
        How many there are.
    """
    row = check.to_tensor(name, weights, f"numbers of shape ({candidates},)").detach().cpu()
    if row.is_complex() or tuple(row.shape) != (candidates,):
        slip = "one number for each clip that may be a partner"
        check.fail(name, f"numbers of shape ({candidates},)", f"{row.dtype} of shape {tuple(row.shape)}", slip)
    row = row.to(torch.float64)
    if not bool((row.isfinite() & (row >= 0)).all()):
        wrong = row[~(row.isfinite() & (row >= 0))][0]
        check.fail(name, "finite and at least 0", f"{wrong.item():g}", "logits? softmax first")
    return row / row.max().clamp(min=torch.finfo(torch.float64).tiny)  # the sum of large ones stays finite


# What is said where a path is given as the second batch
A_FOLDER = "a folder of noise? NoiseFolder(path, seconds=..., rate=...)"
# Sounds of more channels are probably spectrograms
MOST_CHANNELS = 16


class Sampler(Protocol):
    """What may be given as ``other=`` in place of a tensor: it draws as many sounds as the batch has clips."""

    def sample(self, size: int, *, generator: Generator = None) -> tuple[Tensor, Tensor | None]:
        """Return `size` sounds (size, C, T), and their valid lengths, None where all are full."""
        ...


def sample_other(
    x: Tensor, sides: dict[str, Any], caller: Any, generator: Generator, plan: Any
) -> dict[str, Any]:
    """Return ``other`` and ``other_lengths`` as drawn by a `Sampler`; nothing where ``other`` is none.

    Parameters
    ----------
    x : Tensor, shape (B, T) or (B, C, T)
        The originals.
    sides : dict
        The arguments ``other``, ``other_target`` and ``other_lengths`` of a call.
    caller : Mixer or Pipeline
        In ``eval()`` there is no second batch, and its `rates`, if any, must be that of the
        sounds.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one. As many sounds as `x` has clips are drawn with it.
    plan : Plan or sequence of Plan, optional
        What the call is to replay: it belongs to sounds that were drawn before.

    Raises
    ------
    ValueError
        `other` has another rate or number of channels, or `x` is a spectrogram; labels or lengths are given for what is
        not drawn yet; a plan.
    """
    source = sides["other"]
    if source is None or isinstance(source, Tensor):
        return {}
    if isinstance(source, (str, os.PathLike)):
        check.fail("other", "a Tensor, or what draws one", repr(source), A_FOLDER, TypeError)
    if not hasattr(source, "sample"):
        return {}
    if plan is not None:
        slip = "pieces that were drawn before: other, other_lengths = folder.read(pieces)"
        check.fail("other", "a Tensor where a plan is replayed", type(source).__name__, slip)
    for name in ("other_target", "other_lengths"):
        if sides[name] is not None:
            check.fail(name, "None where other draws its own sounds", "given")
    check.batch("x", check.floating("x", x))
    theirs = getattr(source, "rate", None)
    for rate in () if theirs is None else sorted(caller.rates):
        if rate != theirs:
            check.fail("other", f"at {rate} Hz, as the mixer is", f"{theirs} Hz", f"NoiseFolder(..., rate={rate})")
    if not caller.training:
        return {"other": None, "other_lengths": None}
    sounds, lengths = source.sample(len(x), generator=generator)
    channels = 1 if x.ndim == 2 else x.shape[1]
    if sounds.shape[1] < channels > MOST_CHANNELS:
        slip = f"a spectrogram? mix before it. {channels} microphones? NoiseFolder(..., channels={channels})"
        check.fail("other", f"of {channels} channels, as x is", f"{sounds.shape[1]}", slip)
    if x.ndim > 3 or sounds.shape[1] not in (1, channels):
        got = f"x of shape {tuple(x.shape)} and other of {sounds.shape[1]} channels"
        check.fail("other", "of 1 channel, or of as many as x (B, C, T) has", got, "channels=1?")
    sounds = sounds[:, 0] if x.ndim == 2 else sounds.expand(-1, channels, -1)
    return {"other": sounds.to(x), "other_lengths": lengths}
