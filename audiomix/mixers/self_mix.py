r"""SelfMix: a window of each clip is mixed with another one of the same clip, or they change places.

.. math:: \text{sum:} \quad x'[s_1 + t] = w\, x[s_1 + t] + (1 - w)\, x[s_2 + t], \qquad
          \text{swap:} \quad x'[s_1 + t] = x[s_2 + t], \; x'[s_2 + t] = x[s_1 + t], \qquad 0 \le t < W

The paper mixes regions of one picture. No code of it is public: windows in time, their distance, and `swap` are
definitions of ours.

Source: ours, after Shen, "FerKD: Surgical Label Adaptation for Efficient Distillation", ICCV 2023.
Label: kept.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from .. import check, draw
from ..audio.blend import check_out
from ..clips import Clips
from ..draw import Generator
from ..graphs import by_row
from ..mixer import SPECTROGRAM, WAVE, Example, Needs
from ..plan import ORIGINAL, Part, Plan
from ..schedule import Schedule
from ..targets.labels import to_float
from ..transform import Transform, TransformPlan, reasons
from ._sources import schedule_or_pair

__all__ = ["SelfMix", "SelfPlan", "calibrate_windows", "self_mix"]

Mode = Literal["sum", "swap"]
# The largest windows, as shares of a clip: two of them fit at their least distance, half a window or a whole one.
_MOST: dict[str, float] = {"sum": 2 / 3, "swap": 0.5}


@dataclass(frozen=True, eq=False)
class SelfPlan(TransformPlan):
    """Which two windows of each clip meet; the label is kept.

    Parameters
    ----------
    partner, weight, why, roll, roll_within
        See `audiomix.Plan`: each clip is its own partner, with weight 1.
    first : Tensor, shape (B, 2), float64
        Start and stop of the first window, fractions of the (padded) time axis; equal where nothing is mixed.
    second : Tensor, shape (B, 2), float64
        Start and stop of the second one, as long.
    ratio : Tensor, shape (B,), float64
        Of a ``sum`` the share of the first window: also that of its soft label, ``ratio * q1 + (1 - ratio) * q2``,
        where a teacher gives one for each window.
    mode : str
        ``sum`` or ``swap``; see `SelfMix`.

    Examples
    --------
    >>> plan = SelfMix("swap")(torch.randn(2, 1, 100)).plans[0]
    >>> plan.mode, bool(torch.allclose(plan.first.diff(), plan.second.diff()))
    ('swap', True)
    """

    first: Tensor
    second: Tensor
    ratio: Tensor
    mode: Mode = "sum"

    _still: ClassVar = {"first": [0.0, 0.0], "second": [0.0, 0.0], "ratio": 1.0}

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_rows("first", 2, share=True)
        self._check_rows("second", 2, share=True)
        self._check_rows("ratio", share=True)
        check.choice("mode", self.mode, _MOST)

    @property
    def mixed(self) -> Tensor:
        """Whether each clip is changed; (B,), bool."""
        return (self.first[:, 1] > self.first[:, 0]) & (self.ratio < 1)

    def parts(self, index: int) -> list[Part]:
        """Return the pieces of the original, each at its place."""
        if not bool(self.mixed[index]):
            return [Part(ORIGINAL)]
        (a, b), (c, d) = self.first[index].tolist(), self.second[index].tolist()
        if self.mode == "sum":
            w = float(self.ratio[index])
            inside = [Part(ORIGINAL, w, start=a, piece=(a, b)), Part(ORIGINAL, 1 - w, start=a, piece=(c, d))]
            return [Part(ORIGINAL, piece=(0.0, a)), *inside, Part(ORIGINAL, start=b, piece=(b, 1.0))]
        moved = [Part(ORIGINAL, start=a, piece=(c, d)), Part(ORIGINAL, start=c, piece=(a, b))]
        (a, b), (c, d) = sorted([(a, b), (c, d)])
        still = [(0.0, a), (b, c), (d, 1.0)]
        return [*(Part(ORIGINAL, start=piece[0], piece=piece) for piece in still), *moved]

    def move_frames(self, stream: Tensor) -> Tensor:
        """Return another stream (B, ..., N) of the clips, mixed or exchanged at its own rate."""
        return self_mix(stream, self)

    def describe(self, index: int) -> dict[str, Any]:
        """Return both windows and the share of the first, and why there is none."""
        windows = {"first": self.first[index].tolist(), "second": self.second[index].tolist()}
        return super().describe(index) | windows | {"ratio": float(self.ratio[index])}


def self_mix(x: Tensor, plan: SelfPlan, *, out: Tensor | None = None) -> Tensor:
    """Mix the plan's windows of each clip, or let them change places.

    Parameters
    ----------
    x : Tensor, shape (B, ..., N), floating point
        Waveforms, spectrograms, or frame labels, time last. Left unchanged.
    plan : SelfPlan
        Which windows.
    out : Tensor, shape of x, optional
        Written and returned; see `audiomix.audio.blend.blend`.

    Examples
    --------
    >>> first, second = torch.tensor([[0.0, 0.25]]).double(), torch.tensor([[0.5, 0.75]]).double()
    >>> plan = SelfPlan.of(1, first=first, second=second, ratio=torch.tensor([0.5]).double())
    >>> self_mix(torch.tensor([[1.0, 2, 3, 4]]), plan)
    tensor([[2., 2., 3., 4.]])
    >>> self_mix(torch.tensor([[1.0, 2, 3, 4]]), replace(plan, mode="swap", ratio=torch.zeros(1).double()))
    tensor([[3., 2., 1., 4.]])
    """
    check.batch("x", check.floating("x", x), len(plan))
    if out is not None:
        check_out(out, x, x)
    size = x.shape[-1]
    first, stop = (plan.first * size).round().long().unbind(1)
    second = torch.minimum((plan.second[:, 0] * size).round().long(), size - (stop - first))
    if by_row(x):
        return _mix_rows(x, plan, first, stop, second, x.clone() if out is None else out.copy_(x))
    first, stop, second = torch.stack([first, stop, second]).to(x.device, non_blocking=True)[..., None]
    time, shape = torch.arange(size, device=x.device), (len(x), *[1] * (x.ndim - 2), size)
    inside = (time >= first) & (time < stop)
    place = torch.where(inside, time - first + second, time)
    if plan.mode == "swap":
        place = torch.where((time >= second) & (time < second + stop - first), time - second + first, place)
        mixed = x.gather(-1, place.view(shape).expand_as(x))
    else:
        share = plan.ratio.to(x.device, torch.promote_types(x.dtype, torch.float32)).view(-1, *[1] * (x.ndim - 1))
        both = share * x + (1 - share) * x.gather(-1, place.view(shape).expand_as(x))
        mixed = torch.where(inside.view(shape), both.to(x.dtype), x)
    return mixed if out is None else out.copy_(mixed)


def _mix_rows(x: Tensor, plan: SelfPlan, first: Tensor, stop: Tensor, second: Tensor, mixed: Tensor) -> Tensor:
    """Do it clip by clip: the cost of a copy of the batch."""
    wide = torch.promote_types(x.dtype, torch.float32)
    rows = zip(mixed, x.detach(), first.tolist(), stop.tolist(), second.tolist(), plan.ratio.tolist())
    for row, old, start, end, other, share in rows:
        near, far = slice(start, end), slice(other, other + end - start)
        if start == end:
            continue
        if plan.mode == "sum":
            row[..., near] = share * old[..., near].to(wide) + (1 - share) * old[..., far].to(wide)
        else:
            row[..., near], row[..., far] = old[..., far], old[..., near]
    return mixed


def calibrate_windows(
    soft: Tensor, target: Tensor, *, num_classes: int | None = None, least: float = 0.2, smoothing: float = 0.1
) -> Tensor:
    r"""Return a teacher's labels of windows, those that it is unsure of replaced by the clip's own label, smoothed.

    .. math:: q' = \begin{cases} q & \max_k q_k \ge \text{least} \\ (1 - \epsilon) y + \epsilon / K & \text{else}
              \end{cases}

    FerKD's thresholds are not published; these are ours.

    Parameters
    ----------
    soft : Tensor, shape (B, K)
        Probabilities for one window of each clip.
    target : Tensor, shape (B,) or (B, K)
        The clips' own labels.
    num_classes : int, optional
        K, where the labels are class ids.
    least : float
        A window of which no class has this probability is not the teacher's to tell.
    smoothing : float
        :math:`\epsilon`.

    Examples
    --------
    >>> calibrate_windows(torch.tensor([[0.7, 0.3], [0.1, 0.1]]), torch.tensor([1, 1]), num_classes=2)
    tensor([[0.7000, 0.3000],
            [0.0500, 0.9500]])
    """
    check.batch("soft", check.floating("soft", soft), len(target))
    hard = to_float("target", target, num_classes).to(soft)
    if hard.shape != soft.shape:
        check.fail("target", f"labels of shape {tuple(soft.shape)}, as soft is", tuple(hard.shape))
    eps = check.fraction("smoothing", smoothing)
    unsure = soft.amax(1, keepdim=True) < check.fraction("least", least)
    return torch.where(unsure, (1 - eps) * hard + eps / soft.shape[1], soft)


class SelfMix(Transform):
    """SelfMix: a window of each clip is mixed with another one of the same clip, or the two change places.

    Parameters
    ----------
    mode : str
        ``sum``: the first window becomes a weighted sum of both, which are at least half a window apart. ``swap``: two
        windows that do not overlap change places.
    window : (float, float), float or schedule
        Length of a window, as a share of the clip's valid part: the least and the most, between which it is drawn
        uniformly, or a constant. At most 2/3 for ``sum`` and 1/2 for ``swap``.
    alpha : float or schedule
        Of a ``sum`` the first window's share is drawn from Beta(alpha, alpha).
    num_classes, p, time_axis
        See `audiomix.Transform`.

    Notes
    -----
    The label of the clip is kept, since all that is heard is of the clip. Frame labels follow the sound: they are mixed
    by the same share inside of the window, or change places. Labels of a teacher for each window are mixed by
    `SelfPlan.ratio`; see `calibrate_windows`. All pairs of windows at their distance are equally likely. The edges of
    windows have no fades. ``MixUp(pairing="self")`` adds the whole clip, rolled, and ``CutMix(offset="free",
    pairing="self")`` puts a piece of the clip into another place.

    See Also
    --------
    audiomix.CutMix : a piece of another clip.

    Examples
    --------
    >>> wave, label = torch.randn(4, 1, 16000), torch.arange(4)
    >>> mixed = SelfMix(num_classes=4)(wave, label, generator=torch.Generator().manual_seed(0))
    >>> mixed.target.argmax(1).tolist(), (mixed.x != wave).any(2)[:, 0].tolist()
    ([0, 1, 2, 3], [True, True, True, True])
    """

    plan_type = SelfPlan

    def __init__(
        self,
        mode: Mode = "sum",
        *,
        window: float | tuple[float, float] | str | Schedule = (0.1, 0.5),
        alpha: float | str | Schedule = 1.0,
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        time_axis: int | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, p=p, time_axis=time_axis)
        self.mode: Any = check.choice("mode", mode, _MOST)
        self.window = schedule_or_pair("window", window, _MOST[mode], ordered=True)
        self.alpha = Schedule.of(alpha, "alpha").within("alpha", 0)
        if mode == "swap" and alpha != 1.0:
            check.fail("alpha", "left out with mode='swap'", alpha, "nothing is added: mode='sum'?")

    @property
    def needs(self) -> Needs:
        """Waveforms or spectrograms; the pieces sum to the result."""
        return Needs(domain=frozenset({WAVE, SPECTROGRAM}), sources=(1, 1), target=False, axes=True)

    @classmethod
    def examples(cls) -> list[Example]:
        """Return both modes, on waveforms and on spectrograms."""
        waves = [cls(), cls(window=0.6, alpha=0.4), cls("swap"), cls("swap", window=0.5)]
        return [*map(Example, waves), *(Example(cls(mode), shape=(1, 12, 100)) for mode in ("sum", "swap"))]

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw which clips are mixed, the lengths of their windows, shares and places."""
        size, valid = len(own), own.valid
        chosen = self.choose(own, progress=progress, generator=generator)
        if isinstance(self.window, Schedule):
            length = torch.full((size,), self.window(progress), dtype=torch.float64)
        else:
            length = draw.uniform(*self.window, size, generator=generator)
        width = (length * valid).floor().long()
        apart = width if self.mode == "swap" else (width + 1) // 2
        room = valid - width - apart  # places of the first of two whose distance is counted from `apart` on
        able = (width > 0) & (room >= 0)
        count = (room + 1).clamp(min=0).expand(2, size)
        places = draw.integers(count, generator=generator).sort(0).values
        places[1] += apart
        turned = draw.bernoulli(0.5, size, generator=generator)
        first, second = torch.where(turned, places.flip(0), places)
        ratio = draw.beta(self.alpha(progress), size, generator=generator)
        width = torch.where(chosen & able, width, 0)
        share = torch.zeros_like(ratio) if self.mode == "swap" else ratio
        edges = [torch.stack([at, at + width], 1).double() / own.size * (width > 0)[:, None] for at in (first, second)]
        return SelfPlan.of(
            size, first=edges[0], second=edges[1], ratio=torch.where(width > 0, share, 1.0), mode=self.mode,
            why=reasons(chosen, able, "too short for two windows"),
        )  # fmt: skip

    def render_into(self, own: Clips, source: Clips, plan: Plan, out: Tensor | None = None) -> Tensor:
        """Apply a plan; see `self_mix`. Windows lie within the valid part: padding stays as it is."""
        assert isinstance(plan, SelfPlan)  # check_plan saw to it
        return self_mix(own.x, plan, out=out)

    def identity(self, own: Clips) -> SelfPlan:
        """Return the plan of this mode that mixes nothing."""
        return replace(SelfPlan.identity(len(own)), mode=self.mode)

    def check_plan(self, plan: Plan) -> None:
        """Refuse plans of the other mode."""
        super().check_plan(plan)
        if isinstance(plan, SelfPlan) and plan.mode != self.mode and bool(plan.mixed.any()):
            check.fail("plan", f"of mode {self.mode!r}, as the mixer is", repr(plan.mode))
