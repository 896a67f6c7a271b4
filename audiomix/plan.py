"""What is drawn: `Plan`.

A plan says who is mixed with whom and how. It is drawn once and applied to every stream (samples, frames, labels,
captions), so that they cannot disagree; it is data, so that it can be stored and replayed to the bit. Whoever wants to
know what was mixed asks the plan, never the mixer: `Plan.parts` lists the sounds that sum to a mix, `Plan.why` says
what was not done, `Plan.describe` gives plain values for a manifest.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor

from . import check, display
from .part import ORIGINAL, Part
from .plan_json import KINDS, from_json, to_json
from .roll import roll_rows

__all__ = [
    "AS_DRAWN",
    "NOT_DRAWN",
    "NO_PARTNER",
    "NO_SAMPLE",
    "ORIGINAL",
    "WHOLE",
    "GainPlan",
    "Part",
    "Plan",
    "with_rest",
]

# Why a clip is left as it is where nothing is wrong: it does not take part, or the share that was drawn is all of it.
NOT_DRAWN = "not drawn (p, eligible)"
WHOLE = "the original alone: what was drawn, in whole samples or cells, leaves its partner nothing"
# Why a clip that was to be mixed is left as it is: there is nothing that a share could be of.
NO_SAMPLE = "the clip or its partner has no valid sample"
# Texts of `Plan.why` that say no more than that all was done as it was drawn.
AS_DRAWN = frozenset({"", NOT_DRAWN, WHOLE})
# Why a clip that was to be mixed was left as it is: nobody was there whom it may meet.
NO_PARTNER = "without a partner (pairing, allowed, pairing_weights)"

_PlanType = TypeVar("_PlanType", bound="Plan")


def with_rest(share: Tensor) -> Tensor:
    """Return shares (B, ...) of the original and what they leave to its partner; (B, 2, ...), float64."""
    own = share.numpy()
    both = np.empty((len(own), 2, *own.shape[1:]))  # NumPy's calls on the few numbers of a plan cost a third of torch's
    both[:, 0], both[:, 1] = own, 1 - own
    return torch.from_numpy(both)


def _tell_roll(parts: Callable[[Any, int], list[Part]]) -> Callable[[Any, int], list[Part]]:
    """Return the method `parts` of a plan that says of each partner how it is rolled: mixers need not know of it."""

    @functools.wraps(parts)
    def tell(self: "Plan", index: int) -> list[Part]:
        """Return the parts of one mix."""
        found = parts(self, index)
        if self.roll is None:
            return found
        roll = float(self.roll[index])
        return [part if part.source == ORIGINAL or part.roll else replace(part, roll=roll) for part in found]

    return tell


@dataclass(frozen=True, eq=False)
class Plan:
    """Who is mixed with whom, and the original's share of the target.

    Parameters
    ----------
    partner : Tensor, shape (B,), int64
        Index of each clip's partner in the batch, or in the second batch `other` where one was given. ``partner[i] ==
        i`` in the batch itself means that clip i is left unchanged, unless there is a `roll`.
    weight : Tensor, shape (B,), float64
        **The original's share of the target**, in [0, 1]; the partner's share is ``1 - weight``. It is what was really
        mixed, after rounding, clipping and padding. Of clips of different lengths it is the share of what is heard, and
        so larger than the share that was drawn: see `GainPlan.ratio`.
    why : tuple of str
        For each clip why it is left as it is, or why it is mixed otherwise than asked for; an empty text for one that
        is mixed as asked for. Empty altogether where all clips are, and in a plan that was made by hand.
    roll : Tensor, shape (B,), float64, optional
        Where partners are the clips themselves, read from another place: from this fraction of the valid part on, its
        beginning following its end.
    roll_within : Tensor, shape (B,), float64, optional
        The valid parts that `roll` is a fraction of, as fractions of the (padded) time axis; all of it where it is
        None.

    Notes
    -----
    Tensors stay on the CPU; `to` returns the plan itself, so that functions that move whole batches to a device accept
    one. Mixers that need more subclass it; spans and offsets are fractions of the clip, so that one plan cuts samples,
    spectrogram frames, video frames and frame labels alike.

    See Also
    --------
    audiomix.GainPlan : of sums at gains.
    audiomix.SourcesPlan : of several partners.
    audiomix.SpanPlan : of pieces.
    audiomix.PlacedPlan : of sounds placed in time.

    Examples
    --------
    >>> plan = Plan(torch.tensor([1, 0]), torch.tensor([0.75, 0.5], dtype=torch.float64))
    >>> plan.to_json()
    '{"plan": "Plan", "partner": {"int64": [1, 0]}, "weight": {"float64": [0.75, 0.5]}}'
    >>> Plan.from_json(plan.to_json()).weight
    tensor([0.7500, 0.5000], dtype=torch.float64)
    """

    partner: Tensor
    weight: Tensor
    why: tuple[str, ...] = field(default=(), kw_only=True)
    roll: Tensor | None = field(default=None, kw_only=True)
    roll_within: Tensor | None = field(default=None, kw_only=True)

    # What a field without a default holds for a clip that is left as it is
    _still: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        KINDS[cls.__name__] = cls
        if "parts" in vars(cls):
            cls.parts = _tell_roll(cls.parts)  # type: ignore

    def __post_init__(self) -> None:
        partner, weight = check.tensor("partner", self.partner), check.tensor("weight", self.weight)
        if partner.dtype != torch.int64 or partner.ndim != 1:
            got = f"{partner.dtype} of shape {tuple(partner.shape)}"
            check.fail("partner", "int64 of shape (B,)", got, "", TypeError)
        if weight.dtype != torch.float64:
            check.fail("weight", "float64", weight.dtype, "weight.double()?", TypeError)
        if weight.shape != partner.shape:
            check.fail("weight", f"of shape {tuple(partner.shape)}, as partner is", f"{tuple(weight.shape)}")
        if partner.requires_grad or weight.requires_grad:
            check.fail("weight", "a number that was drawn", "one with a gradient", "draw under torch.no_grad()")
        self.__dict__["_lightest"] = self._check_range("weight", weight)
        if self.why and len(self.why) != len(self):
            check.fail("why", f"of {len(self)} texts, as partner is", len(self.why))
        for name in ("roll", "roll_within"):
            if getattr(self, name) is not None:
                self._check_rows(name, share=True)

    def _check_rows(
        self, name: str, *behind: int | None, dtype: torch.dtype = torch.float64, share: bool = False
    ) -> None:
        """Raise where a field is no tensor (B, *behind), None for any size, of this dtype; a `share` is in [0, 1]."""
        value = check.tensor(name, getattr(self, name))
        size, have = self.partner.shape[0], tuple(value.shape)
        fits = have == (size, *behind)
        if not fits and None in behind and len(have) == 1 + len(behind):
            fits = all(want in (None, got) for want, got in zip((size, *behind), have))
        if not fits or value.dtype != dtype:
            expected = str((size, *behind)).replace("None", "M")
            got = f"{value.dtype} of shape {have}"
            check.fail(name, f"{str(dtype).removeprefix('torch.')} of shape {expected}", got)
        if share:
            self._check_range(name, value)

    @staticmethod
    def _check_range(name: str, value: Tensor) -> float:
        """Raise where a share is outside of [0, 1]; return the least."""
        if not value.numel():
            return 1.0
        edges = value.aminmax()
        low, high = edges.min.item(), edges.max.item()
        if not (low >= 0 and high <= 1):  # NaN is not
            check.fail(name, "in [0, 1]", f"{low:g}..{high:g}")
        return low

    def __len__(self) -> int:
        return self.partner.shape[0]

    @classmethod
    def identity(cls: type[_PlanType], size: int) -> _PlanType:
        """Return the plan that leaves `size` clips as they are: each its own partner, weight 1.

        Parameters
        ----------
        size : int
            Clips in the batch.
        """
        rows = {name: torch.tensor(value) for name, value in cls._still.items()}
        rows = {name: row.double() if row.is_floating_point() else row for name, row in rows.items()}
        more: dict[str, Any] = {name: row.expand(size, *row.shape).clone() for name, row in rows.items()}
        why = (NOT_DRAWN,) * size
        return cls(torch.arange(size), torch.ones(size, dtype=torch.float64), why=why, **more)

    def rows(self: _PlanType, index: Tensor) -> _PlanType:
        """Return the plan of some of the clips; partners stay the rows of the batch that they were.

        Tensors and tuples with one entry a clip are taken apart; a field that only looks like one says
        ``metadata={"rows": False}``.

        Parameters
        ----------
        index : Tensor, shape (R,), int64
            Which clips.
        """
        size, wanted = len(self), index.tolist()

        def take(value: Any) -> Any:
            """Return the rows of one field."""
            if isinstance(value, Tensor):
                return value[index] if value.ndim and value.shape[0] == size else value
            if isinstance(value, Plan):
                return value.rows(index)
            if isinstance(value, tuple) and any(isinstance(one, Plan) for one in value):
                return tuple(one and one.rows(index) for one in value)
            return tuple(value[i] for i in wanted) if isinstance(value, tuple) and len(value) == size else value

        found = {f.name: getattr(self, f.name) for f in fields(self) if f.metadata.get("rows", True)}
        return replace(self, **{name: take(value) for name, value in found.items()})

    @property
    def mixed(self) -> Tensor:
        """Whether anything but the original is in each mix, or what comes out differs from it; (B,), bool."""
        return self.weight < 1

    @cached_property
    def _lightest(self) -> float:
        return self._check_range("weight", self.weight)

    @property
    def keeps_labels(self) -> bool:
        """Whether every target stays the original's."""
        return self._lightest == 1

    @property
    def changes_any(self) -> bool:
        """Whether any clip is `mixed`."""
        return not self.keeps_labels or bool(self.mixed.any())

    @property
    def complete(self) -> Tensor:
        """Whether each clip was mixed as asked for; where not, another partner may do; (B,), bool."""
        if not self.why:
            return torch.ones(len(self), dtype=torch.bool)
        return torch.tensor([why in AS_DRAWN or why == NO_PARTNER for why in self.why])

    @_tell_roll
    def parts(self, index: int) -> list[Part]:
        """Return the parts that sum to one mix, the original's first.

        Parameters
        ----------
        index : int
            Which mix of the batch.
        """
        a, b = (float(gain[index]) for gain in self.gains())
        return [Part(ORIGINAL, a), *([Part(int(self.partner[index]), b)] if b else [])]

    def roll_stream(self, stream: Tensor) -> Tensor:
        """Return what a stream of the clips adds as their partner: itself, or rolled in a circle.

        Parameters
        ----------
        stream : Tensor, shape (B, ..., N)
            Sounds, frame labels or any other stream, at its own rate; the last axis is time.
        """
        return stream if self.roll is None else roll_rows(stream, self.roll, self.roll_within)

    # What the weight is a share of, where that can be told from the sound; see `GainPlan`. ``area``: of the time.
    share_of = None  # type: str | None

    def sources(self, index: int) -> list[int]:
        """Return which rows of the partners' batch are in one mix, in sound, picture or label; in order, each once.

        Parameters
        ----------
        index : int
            Which mix of the batch.
        """
        found = [part.source for part in self.parts(index) if part.source != ORIGINAL and part.gain > 0]
        if float(self.weight[index]) < 1:
            found.append(int(self.partner[index]))
        return list(dict.fromkeys(found))

    def window(self, index: int) -> tuple[float, float]:
        """Return what of the original's time axis comes out, as fractions; all of it by default.

        Parameters
        ----------
        index : int
            Which mix of the batch.
        """
        return 0.0, 1.0

    def mixed_lengths(self, lengths: Tensor | None, size: int) -> Tensor | None:
        """Return the valid lengths of the mixes, for originals with these lengths on an axis of `size`.

        Parameters
        ----------
        lengths : Tensor, shape (B,), int64, optional
            Valid samples or frames of the originals.
        size : int
            Samples or frames of their padded time axis.
        """
        return lengths

    def describe(self, index: int) -> dict[str, Any]:
        """Return what a manifest says of one mix beyond the plan itself, as plain values.

        Parameters
        ----------
        index : int
            Which mix of the batch.
        """
        return {"why": self.why[index] or None} if self.why else {}

    def move_frames(self, stream: Tensor) -> Tensor:
        """Return another stream of the originals, moved along time as their sounds are; itself where they stay.

        Parameters
        ----------
        stream : Tensor, shape (B, ..., N)
            Frame labels, or any other stream whose last axis is time, at its own rate.
        """
        return stream

    def place_frames(self, stream: Tensor, size: int) -> Tensor:
        """Return a stream (B, ..., N') of the partners, one a mix, as it lies in mixes of `size` frames."""
        return stream

    def picture_share(self, at: Tensor, *, timed_ends: bool = False) -> Tensor:
        """Return the original's share of pictures shown at places `at` of the time axis; (B, N), float64.

        Parameters
        ----------
        at : Tensor, shape (B, N), float64
            Fractions of the time axis.
        timed_ends : bool
            Whether pictures behind the end of the original's sound are pictures; else they count as padding.
        """
        return self.share(at.shape[1]).expand(len(self), at.shape[1])

    def picture_box(self, index: int) -> Tensor | None:
        """Return top, left, bottom and right edge (fractions) of what the partner covers; None for all of it.

        Parameters
        ----------
        index : int
            Which mix of the batch.
        """
        return None

    @property
    def axis_seconds(self) -> float | None:
        """How long the sound's time axis is, where the plan is to be followed in seconds; else None."""
        return None

    def stream_weight(self, stream: str) -> Tensor:
        """Return the original's share of the ``sound`` or of the ``picture`` over the whole clip; (B,), float64.

        Parameters
        ----------
        stream : str
            ``sound`` or ``picture``.
        """
        return self.weight

    @property
    def agreement(self) -> Tensor:
        """How far sound and picture come from the same clips, 0 to 1; (B,), float64. See `correspondence`."""
        return torch.ones(len(self), dtype=torch.float64)

    def order(self, index: int) -> str:
        """Return who is heard first where one follows the other: ``own``, ``partner``, or an empty text.

        Parameters
        ----------
        index : int
            Which mix of the batch.
        """
        return ""

    def gains(self) -> tuple[Tensor, Tensor]:
        """Amplitude of the original and of the partner in the sound; two tensors (B,), float64."""
        return self.weight, 1 - self.weight

    def share(self, size: int) -> Tensor:
        """The original's share at each of `size` frames of any other stream; (B, size) or (B, 1), float64.

        Parameters
        ----------
        size : int
            Frames of that stream.
        """
        return self.weight[:, None]

    def label_shares(self, size: int | None = None) -> tuple[Tensor, Tensor]:
        """Return whose labels are in each target, and how much of each: all that labels are mixed by.

        Parameters
        ----------
        size : int, optional
            Frames of a stream of labels; without it the shares are those of the whole clip.

        Returns
        -------
        partners : Tensor, shape (B, S), int64
            Rows of the partners' batch; -1 where a mix has fewer partners than S.
        shares : Tensor, shape (B, S + 1), float64; with `size` (B, S + 1, size) or (B, S + 1, 1)
            Of the original, then of each partner; 0 where there is none.

        Examples
        --------
        >>> plan = Plan(torch.tensor([1, 0]), torch.tensor([0.75, 0.5], dtype=torch.float64))
        >>> [rows.tolist() for rows in plan.label_shares()]
        [[[1], [0]], [[0.75, 0.25], [0.5, 0.5]]]
        """
        own = self.weight if size is None else self.share(size)
        return self.partner.unsqueeze(1), with_rest(own)

    def partner_rows(self) -> Tensor:
        """Return the rows of the partners' batch that any mix needs, in sound or label; (R,), int64."""
        partners, shares = self.label_shares()
        return partners[shares[:, 1:] > 0]

    def to(self, *args: Any, **kwargs: Any) -> "Plan":
        """Return the plan itself: plans stay on the CPU, whatever the batch does."""
        return self

    def _repr_html_(self) -> str:
        return display.html(self)

    def to_json(self) -> str:
        """Return the plan as one line of strict JSON; `from_json` gives back the same bits."""
        return to_json(self)

    @staticmethod
    def from_json(text: str) -> "Plan":
        """Return the plan that `to_json` wrote.

        Parameters
        ----------
        text : str
            One line of JSON.

        Raises
        ------
        ValueError
            The text is not JSON, or names a kind of plan that no imported mixer has.
        """
        found = from_json(text)
        assert isinstance(found, Plan)
        return found


KINDS["Plan"] = Plan


@dataclass(frozen=True, eq=False)
class GainPlan(Plan):
    """A plan whose sounds are scaled: the gains belong to the sound only, other streams are mixed by `weight`.

    Parameters
    ----------
    partner, weight, why, roll, roll_within
        See `audiomix.Plan`.
    gain_db : Tensor, shape (B, 2), float64
        Gain in dB of the original and of the partner; ``-inf`` for a sound that is left out.
    ratio : Tensor, shape (B,), float64, optional
        Where partners are shorter: the original's share r while its partner sounds, as it was drawn. Of T samples of
        the original with T' of its partner, `weight` is the share of the summed sound, ``r T / (r T + (1 - r) T')``: at
        r = 0.5 a partner half as long has a third of the label. With `unmixed_behind` it is the mean of `share` over
        the clip, ``(r T' + T - T') / T``.
    covered : Tensor, shape (B,), float64, optional
        How far the partner reaches, as a fraction of the (padded) time axis.
    unmixed_behind : bool, optional
        Behind a shorter partner the original has gain 1, not its gain in the mix.
    share_of : str, optional
        What the weight is the original's share of, where that can be told from the sound: the sum of the
        ``amplitude``s or of the ``power``s of the gains, of the ``a_weighted`` levels, of the ``energy`` of both; or
        ``kept`` for a label that stays.

    See Also
    --------
    audiomix.SourcesPlan : of several partners.

    Examples
    --------
    >>> from audiomix import MixUp
    >>> plan = MixUp(weight=0.75)(torch.randn(2, 1, 100)).plans[0]
    >>> plan.weight, plan.share_of
    (tensor([0.7500, 0.7500], dtype=torch.float64), 'amplitude')
    """

    gain_db: Tensor
    ratio: Tensor | None = None
    covered: Tensor | None = None
    unmixed_behind: bool | None = None
    share_of: str | None = None

    _still: ClassVar = {"gain_db": [0.0, -math.inf]}

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_rows("gain_db", 2)

    @property
    def mixed(self) -> Tensor:
        """Whether the partner sounds in each mix, the original is scaled, or the label is shared; (B,), bool."""
        weight, gain_db = self.weight.numpy(), self.gain_db.detach().numpy()  # NumPy: a third of torch's cost
        return torch.from_numpy((weight < 1) | (gain_db[:, 1] > -math.inf) | (gain_db[:, 0] != 0))

    def parts(self, index: int) -> list[Part]:
        """Return the parts that sum to one mix: the original, and its partner up to where it reaches."""
        a, b = (float(gain[index]) for gain in self.gains())
        end = math.inf if self.covered is None else float(self.covered[index])
        own = [Part(ORIGINAL, a)]
        if self.unmixed_behind and end < 1:
            own = [Part(ORIGINAL, a, piece=(0.0, end)), Part(ORIGINAL, start=end, piece=(end, 1.0))]
        return [*own, *([Part(int(self.partner[index]), b, stop=end)] if b else [])]

    def partner_rows(self) -> Tensor:
        """Return the rows of the partners' batch that are in any sound or label; (R,), int64."""
        return torch.cat([super().partner_rows(), self.partner[self.gain_db[:, 1] > -math.inf]])

    def gains(self) -> tuple[Tensor, Tensor]:
        """Amplitude of the original and of the partner; two tensors (B,), float64."""
        # never the amplitudes that `of` was given: those that a stored plan gives back differ in the last bit
        a, b = torch.pow(10.0, self.gain_db / 20).unbind(1)
        return a, b

    def share(self, size: int) -> Tensor:
        """The original's share at each frame: `ratio` while both sound, then 1; (B, size) or (B, 1), float64."""
        if self.ratio is None or self.covered is None:
            return self.weight[:, None]
        centre = (torch.arange(size, dtype=torch.float64) + 0.5) / size
        return torch.where(centre < self.covered[:, None], self.ratio[:, None], 1.0)

    @classmethod
    def of(cls: type[_PlanType], partner: Tensor, weight: Tensor, a: Tensor, b: Tensor, **more: Any) -> _PlanType:
        """Return the plan with linear amplitudes in place of gains in dB.

        Parameters
        ----------
        partner, weight : Tensor, shape (B,)
            See `Plan`.
        a, b : Tensor, shape (B,)
            Amplitudes of the original and of the partner.
        **more
            Further fields.
        """
        gain_db = torch.stack([a, b], 1).double().log10_().mul_(20)
        return cls(partner, weight, gain_db=gain_db, **more)  # type: ignore[call-arg]
