r"""Rooms: each clip is convolved with the impulse response of a room, its direct sound where it was.

.. math:: y[t] = g \sum_k h[k] \, x[t + d - k], \qquad d = \arg\max_k |h_0[k]|

`audiomix.audio.reverb.reverberate` is the pure function.

Source: Ko et al., "A Study on Data Augmentation of Reverberant Speech for Robust Speech Recognition", ICASSP 2017; the
place of the direct sound is ours.
Label: kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from .. import check, draw
from ..audio.reverb import Normalise, Responses, check_channels, check_normalise, restore_power
from ..clips import Clips, behind
from ..draw import Generator
from ..graphs import run_eagerly
from ..mixer import WAVE, Example, Mixer, Needs
from ..plan import Plan
from ..schedule import Schedule
from ..transform import Transform, TransformPlan, reasons
from ._responses import Given, read_responses

__all__ = ["Room", "RoomPlan"]

# What arrives so soon after the direct sound adds to it for the ear, and is what dereverberation aims at.
_EARLY_S = 0.05


@dataclass(frozen=True, eq=False)
class RoomPlan(TransformPlan):
    """Which room each clip is in.

    Parameters
    ----------
    partner, weight, why, roll, roll_within
        See `audiomix.Plan`.
    room : Tensor, shape (B,), int64
        Index of the impulse response; -1 for a clip that stays as it is.
    tail : Tensor, shape (B,), float64, optional
        How much longer each clip becomes, as a fraction of the (padded) time axis; None where tails are cut.
    names : tuple of str, optional
        What the responses are called, one a clip; empty texts for clips that stay.
    digest : str
        Of all responses that were drawn from; a `Room` with others refuses the plan. Empty for any.

    Examples
    --------
    >>> plan = Room(torch.rand(5, 40), rate=8000)(torch.randn(2, 1, 100)).plans[0]
    >>> plan.room.shape, bool(((plan.room >= 0) & (plan.room < 5)).all())
    (torch.Size([2]), True)
    """

    room: Tensor
    tail: Tensor | None = None
    names: tuple[str, ...] = ()
    digest: str = ""

    _still: ClassVar = {"room": -1}

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_rows("room", dtype=torch.int64)
        if self.tail is not None:
            self._check_rows("tail")
            if bool((self.tail < 0).any()):
                check.fail("tail", "at least 0", f"{float(self.tail.min()):g}")
        if self.names and len(self.names) != len(self):
            check.fail("names", f"{len(self)} names, one a clip", len(self.names))

    @property
    def mixed(self) -> Tensor:
        """Whether each clip is in a room; (B,), bool."""
        return self.room >= 0

    def tail_samples(self, size: int) -> Tensor:
        """Return by how many samples each clip becomes longer, on a time axis of `size`; (B,), int64."""
        if self.tail is None:
            return torch.zeros(len(self), dtype=torch.int64)
        return (self.tail * size).round().long()

    def mixed_lengths(self, lengths: Tensor | None, size: int) -> Tensor | None:
        """Return the valid lengths, each with its tail."""
        if self.tail is None:
            return lengths
        return (torch.full((len(self),), size) if lengths is None else lengths) + self.tail_samples(size)

    def describe(self, index: int) -> dict[str, Any]:
        """Return the room's name, or its number where it has none; None for a clip that stays as it is."""
        number = int(self.room[index])
        name = self.names[index] if self.names else number
        return super().describe(index) | {"room": name if number >= 0 else None}


class Room(Transform):
    """Bring waveforms (B, C, T) into rooms: each is convolved with an impulse response, drawn clip by clip.

    Parameters
    ----------
    responses : Tensor, path, Dataset or sequence
        The impulse responses: a tensor (L,), (H, L) or (H, C, L) at `response_rate`; a folder of sound files, however
        they lie in it, a manifest, or one file (all that `audiomix.datasets.source` reads); a list of tensors (L,) or
        (C, L), or of files; a `audiomix.datasets.dataset.Dataset` or its items. Files are read once, here. Responses
        have one channel, for clips of any number of channels, or as many as the clips.
    rate : int, optional
        Sampling rate of the clips in Hz: responses of another rate are resampled. Needed for files and for seconds.
    response_rate : int, optional
        Rate of responses that are given as tensors; `rate` by default.
    normalise : str or None
        The level of what comes out. ``power``: each clip keeps its mean power over its valid samples, as it does with
        Kaldi's and lhotse's ``normalize_output``. ``energy``: responses have an energy of 1 (the mean of their
        channels). ``direct``: their direct sound has a size of 1, so that the room adds to it. None: as they are.
    early_only : bool or float
        Only what arrives within 50 ms (or so many seconds) behind the direct path is heard, at the gain of the whole
        response: the target for dereverberation.
    tail : bool or float
        Whether a clip goes on until its reverberation has ended, or for so many seconds at most. By default it is cut
        at the clip's end. With tails clips become longer: `Mixed.lengths` says by how much.
    weights : sequence of float, optional
        How often each response is drawn; alike by default. In the order of `names`.
    channel : int, optional
        Take this channel of responses that have several. By default all: channel c of a clip meets channel c.
    num_classes, p, time_axis
        See `audiomix.Transform`; with ``time_axis=-2`` clips are (B, T, C).

    Attributes
    ----------
    names : tuple of str
        What the responses are called: paths in the folder, ids of items.
    hashes : tuple of str
        Of what each decodes to, at its own rate: BLAKE2b of shape, rate and float32 samples, 32 hexadecimal digits.
    bank : audiomix.audio.reverb.Responses
        The responses at `rate`, scaled as `normalise` says.

    Raises
    ------
    TypeError, ValueError
        There is no response, or some cannot be used: each is named.

    Notes
    -----
    The direct sound stays where it is: the path d = argmax |h| of the first channel is taken out, alike in all
    channels, so that frame labels fit and the delays between microphones stay. (lhotse 1.33 takes the argmax without
    the absolute value, so that a response whose direct sound is negative moves the clip.) A level that is measured
    behind the room is that of reverberant speech: in ``Pipeline([Room(...), SNRMix(...)])`` the SNR is exact there.
    The responses move with the module to its device. They are no buffer: they are left out of its ``state_dict``, are
    not sent between processes, and stay float32 where a module is cast to half precision. FFTs run in float32 at least.
    ``early_only`` with ``power`` costs two convolutions, since the level is that of the whole response.

    Examples
    --------
    >>> responses = torch.randn(20, 4000) * torch.exp(-torch.arange(4000) / 800) / 10  # 0.35 s until -60 dB at 16 kHz
    >>> responses[:, 0] = 1  # the direct sound
    >>> room = Room(responses, rate=16000)
    >>> speech = torch.randn(4, 1, 16000)
    >>> reverberant = room(speech)
    >>> target = room.replace(early_only=True)(speech, plan=reverberant.plans[0])
    >>> reverberant.x.shape == target.x.shape
    True
    """

    plan_type = RoomPlan

    def __init__(
        self,
        responses: Given,
        *,
        rate: int | None = None,
        response_rate: int | None = None,
        normalise: Normalise = "power",
        early_only: bool | float = False,
        tail: bool | float = False,
        weights: Sequence[float] | Tensor | None = None,
        channel: int | None = None,
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        time_axis: int | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, p=p, time_axis=time_axis)
        self.rate = None if rate is None else check.rate("rate", rate)
        self.response_rate = self.rate if response_rate is None else check.rate("response_rate", response_rate)
        if self.response_rate is not None and self.rate is None:
            check.fail("rate", "given with response_rate", None, "the rate of the clips, in Hz")
        self.normalise = check_normalise(normalise)
        self.early_only = self._seconds("early_only", early_only)
        self.tail = self._seconds("tail", tail)
        self.channel = None if channel is None else check.integer("channel", channel, 0)
        read = read_responses(responses, self.rate, self.response_rate, self.channel)
        found, self.names, self.hashes, self.digest = read
        bank = Responses.of(found, normalise)
        # no buffer: DistributedDataParallel would send it to every process at each step
        self.bank = bank
        self.weights = None if weights is None else _check_weights(weights, len(bank))

    def _seconds(self, name: str, value: bool | float) -> bool | float:
        if isinstance(value, bool):
            seconds = _EARLY_S if name == "early_only" and value else 0.0
        else:
            seconds = value = check.number(name, value, 0, slip="in seconds")
        if seconds and self.rate is None:
            check.fail("rate", f"given for {name} in seconds", None, "the rate of the clips, in Hz")
        return value

    @property
    def needs(self) -> Needs:
        """Waveforms; with tails mixes may be longer than their originals."""
        length: Any = "kept" if self.tail is False else "free"
        return Needs(domain=frozenset({WAVE}), sources=(1, 1), target=False, summed=False, length=length)

    @classmethod
    def examples(cls) -> list[Example]:
        """Return every level, the early part alone, tails, two channels, and responses of another rate."""
        click = torch.zeros(3, 60)
        click[0, 5], click[0, 40], click[1, 0], click[1, 59], click[2, 20] = -1.0, 0.5, 0.8, -0.4, 0.3
        two = torch.stack([click, click.roll(3, -1)], 1)
        rooms = [
            cls(click),
            cls(click, rate=1000, response_rate=2000, normalise="energy", early_only=0.01, weights=[1, 2, 0]),
            cls(click, rate=1000, normalise="direct", tail=True),
            cls([click[0], click[1, :1]], rate=1000, normalise=None, tail=0.02),
        ]
        found = [Example(room, compiles=False) for room in rooms]
        return [*found, Example(cls(two, early_only=0.02, rate=1000), shape=(2, 1000), compiles=False)]

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw which clips are in a room, and in which."""
        drawn, size = self.choose(own, progress=progress, generator=generator), len(own)
        able = torch.ones(size, dtype=torch.bool) if own.lengths is None else own.lengths > 0
        chosen, why = drawn & able, reasons(drawn, able, "no valid samples")
        if self.weights is None:
            room = draw.integers(torch.full((size,), len(self.names)), generator=generator)
        else:
            room = draw.categorical(self.weights, size, generator=generator)
        tail = None
        if self.tail is not False:
            tail = self.bank.tails()[room]
            if self.tail is not True:
                tail = tail.clamp(max=round(self.tail * (self.rate or 0)))
            tail = torch.where(chosen, tail, 0).double() / own.size
        names = tuple(self.names[i] if on else "" for i, on in zip(room.tolist(), chosen.tolist()))
        room = torch.where(chosen, room, -1)
        return RoomPlan.of(size, room=room, tail=tail, names=names, digest=self.digest, why=why)

    def render_into(self, own: Clips, source: Clips, plan: Plan, out: Tensor | None = None) -> Tensor:
        """Prepare the clips and `render`; longer clips fit into no `out`."""
        if out is not None and self.needs.length == "free":
            check.fail("out", "None where clips become longer", "a tensor", "tail=False keeps their length")
        return super().render_into(own, source, plan, out)

    @run_eagerly
    def render(self, own: Clips, source: Clips, plan: Plan) -> Tensor:
        """Convolve each clip with its response."""
        assert isinstance(plan, RoomPlan)
        x = own.x if own.x.ndim == 3 else own.x[:, None]
        bank, size = self.bank, own.size + int(plan.tail_samples(own.size).max())
        heard = bank if self.early_only is False else bank.early(self._early_samples)
        y = heard.apply(x, plan.room, size=size)
        if self.normalise == "power":
            whole = None if self.early_only is False else bank.apply(x, plan.room)
            y = restore_power(y, x, own.lengths, plan.room, of=whole)
        ends = plan.mixed_lengths(own.lengths, own.size)
        y = y if ends is None else y.masked_fill(behind(y, ends), 0)
        return y if own.x.ndim == 3 else y[:, 0]

    @property
    def _early_samples(self) -> int:
        return round((_EARLY_S if self.early_only is True else self.early_only) * (self.rate or 0))

    def check_input(self, own: Clips, source: Clips) -> None:
        """Refuse clips of another number of channels, and frame labels where clips become longer."""
        super().check_input(own, source)
        check_channels(own.x if own.x.ndim == 3 else own.x[:, None], len(self.bank.samples))
        if self.tail is not False and own.target is not None and own.target.ndim == 3:
            slip = "frame labels end with the clip: tail=False"
            check.fail("target", "of whole clips where tail is given", f"frame labels {tuple(own.target.shape)}", slip)

    def check_plan(self, plan: Plan) -> None:
        """Refuse plans that were drawn from other responses, or with tails where there are none."""
        super().check_plan(plan)
        if not isinstance(plan, RoomPlan) or not bool(plan.mixed.any()):
            return
        if plan.digest not in ("", self.digest):
            got = f"one from others (digest {plan.digest}, here {self.digest})"
            check.fail("plan", "drawn from the same impulse responses", got, "the same files, in the same order?")
        if int(plan.room.max()) >= len(self.names):
            check.fail("plan.room", f"below {len(self.names)}, the number of responses", int(plan.room.max()))
        if (plan.tail is None) != (self.tail is False):
            got = "one without" if plan.tail is None else "one with tails"
            check.fail("plan", f"drawn with tail={self.tail}", got, "make both rooms with the same tail=")

    def options(self) -> dict[str, Any]:
        """Return all options; in place of the responses their digest, which says whether they are the same."""
        return super().options() | {"responses": self.digest}

    def at_rate(self, rate: int) -> "Mixer":
        """Return this room for clips of `rate` Hz; responses that were given as tensors keep their rate."""
        if self.rate in (None, rate):
            return self
        return self.replace(rate=rate, response_rate=self.response_rate)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Room":
        """Move the responses to the module's device; half precision would lose their tails."""
        super()._apply(fn, recurse)
        device = fn(self.bank.samples.new_empty(0)).device
        self.bank = replace(self.bank, samples=self.bank.samples.to(device))
        return self


def _check_weights(weights: Sequence[float] | Tensor, count: int) -> Tensor:
    found = check.to_tensor("weights", weights, f"{count} numbers, one a response").double()
    if tuple(found.shape) != (count,):
        check.fail("weights", f"of shape ({count},), one a response", f"{tuple(found.shape)}")
    if not bool((torch.isfinite(found) & (found >= 0)).all()) or not float(found.sum()) > 0:
        check.fail("weights", "at least 0 and not all 0", f"{found.min().item():g}..{found.max().item():g}")
    return found
