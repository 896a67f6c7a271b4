"""RandAugment for sound: each clip goes through a few operations, drawn with equal chances, at one magnitude.

Which operations there are for sound, and what their magnitudes mean, is ours: `audiomix.transforms.operations`.

Source: Cubuk, Zoph, Shlens and Le, "RandAugment: Practical Automated Data Augmentation with a Reduced Search Space",
NeurIPS 2020.
Label: kept; frame labels follow what moves time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from .. import check, draw
from ..clips import Clips, prepare_clips
from ..draw import Generator
from ..graphs import run_eagerly
from ..mixer import SPECTROGRAM, WAVE, Example, Needs
from ..plan import Plan
from ..schedule import Schedule
from ..transform import Transform, TransformPlan, check_spectrogram, reasons
from . import operations as registry
from ._decibels import LOGS, decibel
from ._operation import Group, Operation
from ._spectral import keep_rest
from ._time_map import STILL, move_frames, pad_knots

__all__ = ["OperationsPlan", "RandAugment"]

# What a label may hang on; see `Operation.changes`
_ASPECTS = ("level", "pitch", "time", "duration", "content")


@dataclass(frozen=True, eq=False)
class OperationsPlan(TransformPlan):
    """Which operations each clip goes through, one after the other, and how strongly each changes it.

    Parameters
    ----------
    partner, weight, why, roll, roll_within
        See `audiomix.Plan`.
    choice : Tensor, shape (B, S), int64
        Index into `names` of each operation; -1 for none.
    level : Tensor, shape (B, S), float64
        Magnitudes in [-1, 1]; 0 where a clip is left as it is.
    numbers : Tensor, shape (B, S, M), float64
        In [0, 1): all that operations decide by chance.
    knots : Tensor, shape (B, S, K, 2), float64
        How each moves time; see `audiomix.transforms.operations.Operation.knots`.
    valid : Tensor, shape (B,), float64
        How much of the (padded) time axis each clip fills.
    names : tuple of str
        The operations that were drawn from, each with its options. Empty where nothing was.

    Examples
    --------
    >>> plan = RandAugment(16000, number=2)(torch.randn(3, 1, 4000)).plans[0]
    >>> plan.choice.shape, len(plan.describe(0)) > 0
    (torch.Size([3, 2]), True)
    """

    choice: Tensor
    level: Tensor
    numbers: Tensor
    knots: Tensor
    valid: Tensor
    names: tuple[str, ...] = field(default=(), metadata={"rows": False})

    _still: ClassVar = {
        "choice": [-1], "level": [0.0], "numbers": [[0.0]], "knots": [STILL], "valid": 1.0,
    }  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_rows("choice", None, dtype=torch.int64)
        slots = self.choice.shape[1]
        self._check_rows("level", slots)
        self._check_rows("numbers", slots, None, share=True)
        self._check_rows("knots", slots, None, 2)
        self._check_rows("valid", share=True)
        if bool((self.level.abs() > 1).any()):
            check.fail("level", "in [-1, 1]", f"{float(self.level.abs().max()):g}")
        if self.choice.numel() and not -1 <= int(self.choice.min()) <= int(self.choice.max()) < max(1, len(self.names)):
            got = f"{int(self.choice.min())}..{int(self.choice.max())}"
            check.fail("choice", f"in -1..{len(self.names) - 1}, the index of a name", got)

    @property
    def changes(self) -> Tensor:
        """Whether each operation changes its clip; (B, S), bool."""
        return (self.choice >= 0) & (self.level != 0)

    @property
    def mixed(self) -> Tensor:
        """Whether each clip goes through any operation; (B,), bool."""
        return self.changes.any(1)

    def move_frames(self, stream: Tensor) -> Tensor:
        """Return another stream (B, ..., N) of the clips, moved in time as their sounds are."""
        still = torch.tensor(STILL, dtype=torch.float64)
        if bool((pad_knots(still[None], self.knots.shape[2]) == self.knots).all()):
            return stream
        return move_frames(stream, self.knots, self.valid)

    def describe(self, index: int) -> dict[str, Any]:
        """Return the operations with their magnitudes, in order, and why there is none."""
        rows = zip(self.choice[index].tolist(), self.level[index].tolist())
        found = [{"name": self.names[which], "level": level} for which, level in rows if which >= 0 and level]
        return super().describe(index) | {"operations": found}


class RandAugment(Transform):
    """Change each clip by a few operations, drawn with equal chances, all as strong as one magnitude says.

    Parameters
    ----------
    rate : int, optional
        Sampling rate of waveforms in Hz; left out for spectrograms.
    number : int
        Operations for each clip (N of the paper), drawn one by one: some may be drawn twice.
    magnitude : float or schedule
        From 0, nothing changes, to 1, each operation as its options say (M of the paper, over 30).
    operations : sequence of str, optional
        What to draw from: names, with options or without, ``gain:db=6``, or paths, ``mine.py:Telephone``. By default
        all of `audiomix.transforms.operations` for this domain.
    keep : sequence of str
        What labels hang on, so that no operation may change it: ``level``, ``pitch``, ``time`` (what is heard when),
        ``duration``, ``content`` (nothing is hidden).
    domain : str
        What `x` holds: ``wave`` or ``spectrogram`` (logarithmic).
    scale : str
        Of spectrograms: ``db`` (10 log10 of power), ``log10`` or ``ln`` (of power).
    std : float
        What normalised spectrograms were divided by: ``(dB - mean) / std``.
    num_classes, p, time_axis
        See `audiomix.Transform`.

    Notes
    -----
    One more draw is to do nothing, as likely as each of the operations. Where an operation has two directions
    (louder and quieter) its sign is a fair coin. Operations run in the order in which they are drawn, on all clips of
    the batch that drew the same one at once. Every one is the identity at magnitude 0: so there is none that inverts
    polarity, which has no magnitude. torchaudio's functions do the work: its biquads, resampling, phase vocoder and
    convolution; ``audiomix.torchaudio.functional.contrast`` and ``mu_law_encoding`` are no operations, since they
    change a sound at any setting.

    Frame labels (B, K, N) follow what moves time; where nothing is heard they are 0. Padding stays silent. Levels are
    not restored, and nothing is cut at full scale.

    See Also
    --------
    audiomix.TrivialAugment : one operation, its magnitude drawn for each clip.

    Examples
    --------
    >>> augment = RandAugment(16000, magnitude=0.5, keep=["pitch"])
    >>> augmented = augment(torch.randn(4, 1, 16000), generator=torch.Generator().manual_seed(0))
    >>> augmented.x.shape, len(augmented.plans[0].describe(0)["operations"]) <= 2
    (torch.Size([4, 1, 16000]), True)
    """

    plan_type = OperationsPlan

    def __init__(
        self,
        rate: int | None = None,
        *,
        number: int = 2,
        magnitude: float | str | Schedule = 0.3,
        operations: Sequence[str] | None = None,
        keep: Sequence[str] = (),
        domain: Literal["wave", "spectrogram"] = "wave",
        scale: Literal["db", "log10", "ln"] = "db",
        std: float = 1.0,
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        time_axis: int | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, p=p, time_axis=time_axis)
        self.domain: Any = check.choice("domain", domain, [WAVE, SPECTROGRAM])
        self.rate = None if rate is None else check.rate("rate", rate)
        if (self.rate is None) == (domain == WAVE):
            slip = "of the clips, in Hz" if rate is None else "domain='wave'?"
            check.fail("rate", f"{'given' if domain == WAVE else 'left out'} for domain={domain!r}", rate, slip)
        self.number = check.integer("number", number, 1)
        self.magnitude = Schedule.of(magnitude, "magnitude").within("magnitude", 0, 1)
        self.scale = check.choice("scale", scale, LOGS)
        self.std = check.number("std", std, 1e-12, slip="the spread of the log spectrogram, above 0")
        if (scale, std) != ("db", 1.0) and domain == WAVE:
            check.fail("scale", "left out, as std, for domain='wave'", f"{scale!r}, std={std:g}")
        self.keep = [check.choice("keep", aspect, _ASPECTS) for aspect in _texts("keep", keep)]
        self.operations, self._members = self._choose_operations(operations)

    def _choose_operations(self, names: Sequence[str] | None) -> tuple[list[str], list[Operation]]:
        """Return the operations that fit the domain and change nothing that is kept; those asked for must."""
        found: dict[str, Operation] = {}
        for name in registry.available() if names is None else _texts("operations", names):
            member = registry.make(name)
            changed = sorted(member.changes & set(self.keep))
            if names is not None and self.domain not in member.domains:
                check.fail("operations", f"for domain={self.domain!r}", f"{name}, for {', '.join(member.domains)}")
            if names is not None and changed:
                check.fail("operations", f"without those that change what keep={self.keep} names", f"{name}: {changed}")
            if self.domain in member.domains and not changed:
                found[name] = member
        if not found:
            check.fail("operations", "at least one", "none")
        return list(found), list(found.values())

    @property
    def needs(self) -> Needs:
        """Waveforms, or spectrograms."""
        return replace(super().needs, domain=frozenset({self.domain}), axes=True)

    @classmethod
    def examples(cls) -> list[Example]:
        """Return all operations on waveforms and on spectrograms, on every scale, and a choice of them."""
        made = [cls(1000, **_more(cls, 3, 0.6)), cls(1000, keep=["pitch", "time"], operations=["gain:db=6", "noise"])]
        spectral = [cls(domain="spectrogram", **_more(cls, 3, 0.6)), cls(domain="spectrogram", scale="ln", std=4.5)]
        # sounds are stretched and rounded: not exact in half precision
        waves = [Example(one, compiles=False, exact=one.keep != []) for one in made]
        return [*waves, *(Example(one, shape=(1, 12, 100), compiles=False) for one in spectral)]

    def at_normalisation(self, mean: float, std: float) -> "RandAugment":
        """Return this transform for log spectrograms normalised as ``(dB - mean) / std``."""
        return self if self.domain == WAVE else self.replace(std=std)

    def draw_levels(self, size: int, *, progress: float | None = None, generator: Generator = None) -> Tensor:
        """Draw magnitudes in [0, 1] for `size` clips; (size, number), float64. Here all are the same.

        Parameters
        ----------
        size : int
            Clips.
        progress, generator
            As `draw` gets them.
        """
        return torch.full((size, self.number), self.magnitude(progress), dtype=torch.float64)

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw the operations of each clip, their directions, and the numbers that they decide by."""
        size, slots, members = len(own), self.number, self._members
        chosen = self.choose(own, progress=progress, generator=generator)
        able = own.valid > 0
        # the last of them is to do nothing
        choice = draw.integers(torch.full((size, slots), len(members) + 1), generator=generator)
        level = self.draw_levels(size, progress=progress, generator=generator)
        most = max(1, *(member.numbers for member in members))
        coins, *rest = draw.uniform(0, 1, size * slots * (most + 1), generator=generator).view(most + 1, size, slots)
        numbers = torch.stack(rest, -1)
        choice = torch.where((chosen & able)[:, None] & (choice < len(members)), choice, -1)
        signed = torch.tensor([*(member.symmetric for member in members), False])[choice]
        level = torch.where(signed & (coins < 0.5), -level, level) * (choice >= 0)
        return OperationsPlan.of(
            size,
            choice=choice,
            level=level,
            numbers=numbers,
            knots=self._knots(choice, level, numbers),
            valid=own.valid.double() / own.size,
            names=tuple(self.operations),
            why=reasons(chosen, able, "no valid samples"),
        )

    def _knots(self, choice: Tensor, level: Tensor, numbers: Tensor) -> Tensor:
        """Return how each operation moves time; (B, S, K, 2)."""
        found: list[tuple[Tensor, Tensor]] = []
        for k, member in enumerate(self._members):
            rows = (choice == k) & (level != 0)
            moved = member.knots(level[rows], numbers[rows][:, : member.numbers])
            if moved is not None and len(moved):
                found.append((rows, moved))
        count = max((moved.shape[1] for _, moved in found), default=len(STILL))
        still = pad_knots(torch.tensor([STILL], dtype=torch.float64), count)[0]
        knots = still.repeat(*choice.shape, 1, 1)
        for rows, moved in found:
            knots[rows] = pad_knots(moved, count)
        return knots

    def render_into(self, own: Clips, source: Clips, plan: Plan, out: Tensor | None = None) -> Tensor:
        """Prepare the clips, `render`, and bring the result to the dtype of ``own.x`` and into `out`."""
        exact = own.x.to(torch.promote_types(own.x.dtype, torch.float32))
        clips = prepare_clips(own) if self.domain == WAVE else replace(own, x=exact)
        changed = self.render(clips, clips, plan).to(own.x.dtype)
        if self.domain == SPECTROGRAM and own.lengths is not None:
            changed = keep_rest(changed, own.x, own.lengths)
        return changed if out is None else out.copy_(changed)

    @run_eagerly
    def render(self, own: Clips, source: Clips, plan: Plan) -> Tensor:
        """Run the operations one after the other, each on all clips that drew it."""
        assert isinstance(plan, OperationsPlan)
        x = own.x.unsqueeze(1) if own.x.ndim == 2 else own.x
        changed, valid, changes = x.clone(), own.valid, plan.changes
        for slot in range(plan.choice.shape[1]):
            for k, member in enumerate(self._members):
                rows = ((plan.choice[:, slot] == k) & changes[:, slot]).nonzero()[:, 0]
                if not len(rows):
                    continue
                there = rows.to(x.device, non_blocking=True)
                group = Group(
                    changed.index_select(0, there),
                    plan.level[rows, slot],
                    plan.numbers[rows, slot, : member.numbers],
                    valid[rows],
                    self.domain,
                    self.rate or 0,
                    decibel(self.scale, self.std),
                )
                result = member.apply(group)
                if self.domain == WAVE and own.lengths is not None:  # the next one would bring back what rings on there
                    result = torch.where(group.inside(), result, 0)
                changed = changed.index_copy_(0, there, result)
        return changed.squeeze(1) if own.x.ndim == 2 else changed

    def check_input(self, own: Clips, source: Clips) -> None:
        """Refuse spectrograms where waveforms are expected, and waveforms where spectrograms are."""
        super().check_input(own, source)
        if self.domain == SPECTROGRAM:
            check_spectrogram(own.x)

    def check_plan(self, plan: Plan) -> None:
        """Refuse plans that were drawn from other operations."""
        super().check_plan(plan)
        if isinstance(plan, OperationsPlan) and bool(plan.mixed.any()) and list(plan.names) != self.operations:
            check.fail("plan", f"drawn from the operations {self.operations}", list(plan.names))


def _texts(name: str, value: Any) -> list[str]:
    """Return a sequence of texts; one text is a slip."""
    if isinstance(value, str) or not all(isinstance(one, str) for one in value):
        slip = f"[{value!r}]?" if isinstance(value, str) else ""
        check.fail(name, "a sequence of texts", repr(value), slip, TypeError)
    return list(value)


def _more(cls: type, number: int, magnitude: float) -> dict[str, Any]:
    """Return options of an example: a subclass may have no `number`."""
    options = {"number": number, "magnitude": magnitude}
    return options if cls is RandAugment else {}
