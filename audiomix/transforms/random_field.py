r"""Random field: the gain, the place in time or frequency, or the contrast varies smoothly over a spectrogram.

.. math:: g(f, t) = \frac{\sum_k w_k(f, t)\, n_k}{\sqrt{\sum_k w_k(f, t)^2}}, \qquad
          w_k(f, t) = \exp\left(-\frac{(f - f_k)^2}{2 s_f^2} - \frac{(t - t_k)^2}{2 s_t^2}\right)

with white normal n on a grid (f_k, t_k): a Gaussian random field of mean 0 and variance 1 at every point, whose values
at a distance d in time have the correlation exp(-d^2 / 4 s_t^2). Each parameter of a transform is such a field.

Which parameters of a sound vary, the fields' covariance and all sizes are ours: the abstract of the paper alone was
read.

Source: Mansfield, Afkanpour, Morningstar and Singhal, "Random Field Augmentations for Self-Supervised Representation
Learning", NeurIPS Workshop on Symmetry and Geometry in Neural Representations 2023.
Label: kept; frame labels follow a warp of time.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from .. import check, draw
from ..clips import Clips, behind
from ..draw import Generator
from ..graphs import by_row
from ..mixer import SPECTROGRAM, Example, Needs
from ..plan import Plan
from ..schedule import Schedule
from ..transform import Transform, TransformPlan, check_spectrogram, reasons
from ._decibels import FACTORS, LOGS, decibel
from ._noise import read_noise
from ._spectral import check_call, keep_rest
from ._time_map import between, centres, read_lines

__all__ = ["FieldPlan", "RandomField", "random_field"]

Kind = Literal["gain", "contrast", "time_warp", "freq_warp"]
# Standard deviations by default: decibels, logarithm of a factor, share of the steepest warp.
_SIGMA = {"gain": 3.0, "contrast": 0.25, "time_warp": 0.5, "freq_warp": 0.5}
# A kernel ends at 4 standard deviations (3e-4 of its height), and the grid of the noise has one point in each of them:
# the variance is 1 all the same, and the correlation that of finer grids to 2 exp(-pi^2) = 1e-4.
_REACH = 4
# The slope of a field has the standard deviation 1 / (sqrt(2) s): a warp of this many s has one of a quarter.
_STEEPEST = math.sqrt(2) / 4
# A field that moves bins is made at so many places over time in a standard deviation, with lines between them: there
# its own standard deviation is up to 0.4 % smaller.
_PLACES = 4
# Of large batches so many bytes are changed at a time, so that what is made for them stays in the cache.
_BLOCK = 512 << 10
# Below this float32 has all whole numbers.
_WHOLE = 1 << 24

_Change = Callable[[Tensor, slice, Tensor | None], Tensor]


@dataclass(frozen=True, eq=False)
class FieldPlan(TransformPlan):
    """The field of each clip, for spectrograms and frame labels of any size.

    Parameters
    ----------
    partner, weight, why, roll, roll_within
        See `audiomix.Plan`.
    sigma : Tensor, shape (B,), float64
        Standard deviation of what the field means; see `RandomField`. 0 where a clip is left as it is.
    place : Tensor, shape (B, 2), float64
        In [0, 1): where the noise of each field begins in the sequence that all are read from.
    valid : Tensor, shape (B,), float64
        How much of the (padded) time axis each clip fills.
    kind : str
        ``gain``, ``contrast``, ``time_warp`` or ``freq_warp``.
    time_sd, freq_sd : float
        Standard deviations of the kernel, as fractions of the (padded) time axis and of the frequency axis.

    Examples
    --------
    >>> from audiomix import RandomField
    >>> plan = RandomField("gain")(torch.randn(2, 1, 16, 30)).plans[0]
    >>> plan.kind, plan.sigma.shape
    ('gain', torch.Size([2]))
    """

    sigma: Tensor
    place: Tensor
    valid: Tensor
    kind: Kind = "gain"
    time_sd: float = 0.0625
    freq_sd: float = 0.125

    _still: ClassVar = {"sigma": 0.0, "place": [0.0, 0.0], "valid": 1.0}

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_rows("sigma")
        self._check_rows("place", 2, share=True)
        self._check_rows("valid", share=True)
        check.choice("kind", self.kind, _SIGMA)
        for name in ("time_sd", "freq_sd"):
            check.number(name, getattr(self, name), 1e-3, 1)
        if bool((self.sigma < 0).any()):
            check.fail("sigma", "at least 0", f"{float(self.sigma.min()):g}")

    @property
    def mixed(self) -> Tensor:
        """Whether each clip is changed; (B,), bool."""
        return self.sigma != 0

    def factors(self, bins: int, frames: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return two tables whose product is each clip's field, of mean 0 and variance 1: (B, bins, K) and (K, N).

        Parameters
        ----------
        bins : int
            Of the frequency axis; 1 for ``time_warp``.
        frames : Tensor, shape (N,), float64
            Places on the (padded) time axis, as fractions.
        like : Tensor
            Says device and dtype.
        """
        place = (torch.arange(bins, dtype=torch.float64, device=like.device) + 0.5) / bins
        rows, columns = _weights(place, self.freq_sd).to(like.dtype), _weights(frames, self.time_sd).to(like.dtype)
        noise = read_noise(self.place, rows.shape[1] * columns.shape[1], like)
        return rows @ noise.view(len(self), rows.shape[1], -1), columns.T.contiguous()

    def field(self, bins: int, frames: Tensor, like: Tensor) -> Tensor:
        """Return each clip's field, of mean 0 and variance 1; (B, bins, N).

        Parameters
        ----------
        bins, frames, like
            See `factors`.
        """
        left, right = self.factors(bins, frames, like)
        return (left.flatten(0, 1) @ right).view(len(self), bins, -1)  # one product of matrices: half the time of B

    def warp(self, size: int, device: torch.device) -> Tensor:
        """Return where in the original each of `size` frames was, in frames, never falling; (B, size), float64.

        Parameters
        ----------
        size : int
            Frames of the stream.
        device : torch.device
            Where to make it.
        """
        ends = (self.valid * size)[:, None].to(device, non_blocking=True)
        frames = centres(size, torch.tensor([size]), device)[0]
        like = torch.empty((), dtype=torch.float64, device=device)
        step = self.sigma[:, None].to(device, non_blocking=True) * (_STEEPEST * self.time_sd * size)
        moved = torch.arange(size, device=device) + step * self.field(1, frames, like)[:, 0]
        return moved.clamp(min=0).minimum((ends - 1).clamp(min=0)).cummax(1).values

    def move_frames(self, stream: Tensor) -> Tensor:
        """Return another stream (B, ..., N) of the clips, read where their sounds are; padding stays."""
        if self.kind != "time_warp" or not bool(self.mixed.any()):
            return stream
        size = stream.shape[-1]
        index = self.warp(size, stream.device).round().long().clamp(max=size - 1)
        time = torch.arange(size, device=stream.device)
        outside = time >= torch.ceil(self.valid * size - 1e-9)[:, None].to(stream.device)
        still = outside | (self.sigma == 0)[:, None].to(stream.device)
        index = torch.where(still, time, index).view(len(stream), *[1] * (stream.ndim - 2), size)
        return stream.gather(-1, index.expand_as(stream))

    def describe(self, index: int) -> dict[str, Any]:
        """Return the kind of field and its standard deviation, and why there is none."""
        return super().describe(index) | {"field": self.kind, "sigma": float(self.sigma[index])}


def _weights(place: Tensor, sd: float) -> Tensor:
    """Return the weights of the noise at places of an axis, of unit energy; (N, K), float64."""
    count = math.ceil(1 / sd) + 2 * _REACH + 1
    grid = (torch.arange(count, device=place.device, dtype=torch.float64) - _REACH) * sd
    distance = (place[:, None] - grid) / sd
    weight = torch.exp(-0.5 * distance.square()) * (distance.abs() <= _REACH)
    return weight / torch.linalg.vector_norm(weight, dim=1, keepdim=True)


def random_field(
    x: Tensor,
    plan: FieldPlan,
    *,
    scale: str = "db",
    std: float = 1.0,
    lengths: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Change each spectrogram by its field; padding stays as it is.

    Parameters
    ----------
    x : Tensor, shape (B, ..., F, N)
        Spectrograms. Left unchanged.
    plan : FieldPlan
        The fields.
    scale, std, lengths, out
        See `audiomix.filter_augment`.

    Examples
    --------
    >>> sigma, place = torch.tensor([3.0, 0.0]).double(), torch.tensor([[0.2, 0.4]] * 2).double()
    >>> plan = FieldPlan.of(2, sigma=sigma, place=place, valid=torch.ones(2).double())
    >>> gained = random_field(torch.zeros(2, 1, 64, 400), plan)  # decibels
    >>> gained[:, 0, 0, ::160].round(decimals=1)
    tensor([[4.9000, 2.1000, 3.2000],
            [0.0000, 0.0000, 0.0000]])
    """
    check_call(x, plan, scale, out)
    change, wide = _change_by(x, plan, scale, std, lengths), torch.promote_types(x.dtype, torch.float32)
    if by_row(x):
        changed = torch.empty_like(x) if out is None else out
        step = max(1, _BLOCK // max(x[:1].numel() * x.element_size(), 1))
        for rows in (slice(first, first + step) for first in range(0, len(x), step)):
            into = changed[rows]
            found = change(x[rows].to(wide), rows, into if x.dtype == wide else None)
            if found.data_ptr() != into.data_ptr():
                into.copy_(found)
    else:
        changed = change(x.to(wide), slice(None), None).to(x.dtype)
        changed = changed if out is None else out.copy_(changed)
    ends = x.shape[-1] if lengths is None else lengths.cpu()
    return keep_rest(changed, x, torch.where(plan.mixed, ends, 0))


def _change_by(x: Tensor, plan: FieldPlan, scale: str, std: float, lengths: Tensor | None) -> _Change:
    """Return what changes some clips: given these, float32 at least, which they are, and where the result may go."""
    wide, size = torch.promote_types(x.dtype, torch.float32), x.shape[-1]
    like = x.new_empty((), dtype=wide)
    if plan.kind == "time_warp":
        ends = torch.full((len(x),), size) if lengths is None else lengths
        lines = between(plan.warp(size, x.device), ends, wide)
        return lambda x, rows, out: read_lines(x, *(table[rows] for table in lines))
    if plan.kind == "freq_warp":
        places = min(math.ceil(_PLACES / plan.time_sd), size)
        left, right = _scaled(plan, _STEEPEST * plan.freq_sd * x.shape[-2], x, places, like)
        return lambda x, rows, out: _warp_bins(x, left[rows], right)
    factor = 1.0 if plan.kind == "contrast" else FACTORS[scale] if scale in FACTORS else decibel(scale, std)
    left, right = _scaled(plan, factor, x, size, like)
    if plan.kind == "contrast":
        mean = _mean(x, lengths, wide)
        return lambda x, rows, out: torch.lerp(mean[rows], x, _field(x, left[rows], right).exp_(), out=out)
    if scale in FACTORS:
        return lambda x, rows, out: torch.mul(x, _field(x, left[rows], right).exp_(), out=out)
    return lambda x, rows, out: _add_field(x, left[rows], right, out)


def _scaled(plan: FieldPlan, factor: float, x: Tensor, places: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the tables of `FieldPlan.factors` of the fields times sigma and a factor, at places over time."""
    frames = centres(places, torch.tensor([places]), x.device)[0]
    left, right = plan.factors(x.shape[-2], frames, like)
    return left * (plan.sigma * factor).to(x.device, like.dtype, non_blocking=True)[:, None, None], right


def _field(x: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Return fields to be combined with `x`; (B, 1, ..., F, N)."""
    return (left.flatten(0, 1) @ right).view(len(x), *[1] * (x.ndim - 3), *x.shape[-2:])


def _add_field(x: Tensor, left: Tensor, right: Tensor, out: Tensor | None) -> Tensor:
    """Return `x` and the fields: where there is one channel in one pass over `x`."""
    if x[0].numel() != x.shape[-2] * x.shape[-1]:
        return torch.add(x, _field(x, left, right), out=out)
    rows = out.view(-1, x.shape[-1]) if out is not None and out.is_contiguous() else None
    return torch.addmm(x.reshape(-1, x.shape[-1]), left.flatten(0, 1), right, out=rows).view(x.shape)


def _mean(x: Tensor, ends: Tensor | None, wide: torch.dtype) -> Tensor:
    """Return each clip's mean over its valid frames; (B, 1, ..., 1)."""
    axes = tuple(range(1, x.ndim))
    if ends is None:
        return x.mean(axes, keepdim=True, dtype=wide)
    total = torch.where(behind(x, ends), 0, x).sum(axes, keepdim=True, dtype=wide)
    count = (ends * (x[0].numel() // x.shape[-1])).clamp(min=1)
    return total / count.to(x.device, wide, non_blocking=True).view(total.shape)


def _warp_bins(x: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Return spectrograms whose bins are read from other places, in each frame in their order."""
    bins, size = x.shape[-2:]
    moved = torch.arange(bins, device=x.device) + (left.flatten(0, 1) @ right).view(*left.shape[:2], -1).mT
    # bins last: a third of the time; and lines between places that never fall do not either
    place = moved.clamp_(0, bins - 1).contiguous().cummax(-1).values.mT
    place = torch.nn.functional.interpolate(place, size, mode="linear")
    first = torch.floor(place).clamp_(max=max(bins - 2, 0))
    shape = (len(x), *[1] * (x.ndim - 3), bins * size)
    weight = place.sub_(first).view(shape).expand(*x.shape[:-2], -1)
    exact = first.dtype if bins * size < _WHOLE else torch.float64
    time = torch.arange(size, device=x.device, dtype=exact)
    index = torch.add(time, first.to(exact), alpha=size).long().view(shape).expand_as(weight)
    flat = x.flatten(-2)
    above = flat if bins == 1 else flat[..., size:]  # the same places, a bin higher
    return torch.lerp(flat.gather(-1, index), above.gather(-1, index), weight).view(x.shape)


class RandomField(Transform):
    """Let the gain, the place in time or frequency, or the contrast of each spectrogram vary smoothly at random.

    Parameters
    ----------
    kind : str
        ``gain``: decibels are added. ``contrast``: distances from the clip's mean are multiplied by the exponential
        of the field (logarithmic spectrograms). ``time_warp``: frames are read from places before or behind them, by
        one field over time; frame labels follow. ``freq_warp``: so are bins, by a field over time and frequency.
    sigma : float or schedule, optional
        Standard deviation of the field. ``gain``: decibels, 3 by default. ``contrast``: logarithm of the factor, 0.25.
        Warps: a share of the steepest warp, at most 1 (0.5 by default): at 1 four standard deviations of its slope
        reach 1, where order would be lost. What falls back there, one point in 16000, is held where it is.
    time_sd : float
        Standard deviation of the kernel in time, as a fraction of the (padded) time axis.
    freq_sd : float
        Standard deviation of the kernel in frequency, as a fraction of the frequency axis.
    scale : str
        What `x` holds: ``db`` (10 log10 of power), ``log10`` or ``ln`` (of power); ``power`` or ``amplitude``.
    std : float
        What normalised logarithms were divided by: ``(dB - mean) / std``.
    num_classes, p, time_axis
        See `audiomix.Transform`.

    Notes
    -----
    The label is kept. The paper warns that strong fields destroy what is to be recognised: begin small. The plan holds
    two numbers a clip, from which the field is made again at any size. Several kinds: a `Pipeline` of them.

    A field is a product of matrices; factors are its exponential, and a warp reads each bin at two places. These are
    the cost: ``python tests/bench/mixers.py --only RandomField`` times them beside the transform.

    Examples
    --------
    >>> spec, labels = torch.randn(4, 1, 64, 200) - 50, torch.zeros(4, 10, 50)
    >>> warped = RandomField("time_warp", sigma=1.0)(spec, labels)
    >>> warped.x.shape, warped.target.shape
    (torch.Size([4, 1, 64, 200]), torch.Size([4, 10, 50]))
    """

    plan_type = FieldPlan

    def __init__(
        self,
        kind: Kind = "gain",
        *,
        sigma: float | str | Schedule | None = None,
        time_sd: float = 0.0625,
        freq_sd: float = 0.125,
        scale: Literal["db", "log10", "ln", "power", "amplitude"] = "db",
        std: float = 1.0,
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        time_axis: int | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, p=p, time_axis=time_axis)
        self.kind: Any = check.choice("kind", kind, _SIGMA)
        most = [1.0] if kind.endswith("warp") else []
        self.sigma = Schedule.of(_SIGMA[kind] if sigma is None else sigma, "sigma").within("sigma", 0, *most)
        self.time_sd = check.number("time_sd", time_sd, 1e-3, 1, slip="a fraction of the time axis")
        self.freq_sd = check.number("freq_sd", freq_sd, 1e-3, 1, slip="a fraction of the frequency axis")
        self.scale = check.choice("scale", scale, [*LOGS, *FACTORS])
        self.std = check.number("std", std, 1e-12, slip="the spread of the log spectrogram, above 0")
        if std != 1 and scale in FACTORS:
            check.fail("std", "left out for power and amplitude", f"{std:g}")
        if kind == "contrast" and scale in FACTORS:
            check.fail("scale", "db, log10 or ln for kind='contrast'", repr(scale), "take the logarithm first")

    @property
    def needs(self) -> Needs:
        """Spectrograms."""
        return replace(super().needs, domain=frozenset({SPECTROGRAM}), axes=True)

    @classmethod
    def examples(cls) -> list[Example]:
        """Return every kind, and gains on every scale."""
        made = [cls(), cls("contrast"), cls("time_warp"), cls("freq_warp", sigma=1.0), cls(scale="ln", std=4.5)]
        made += [cls(scale="power", time_sd=0.2, freq_sd=0.5), cls(scale="amplitude")]
        return [Example(one, shape=(1, 12, 100)) for one in made]

    def at_normalisation(self, mean: float, std: float) -> "RandomField":
        """Return this transform for log spectrograms normalised as ``(dB - mean) / std``."""
        return self if self.scale in FACTORS else self.replace(std=std)

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw which clips are changed, and their fields."""
        size = len(own)
        chosen, able = self.choose(own, progress=progress, generator=generator), own.valid > 0
        place = draw.uniform(0, 1, 2 * size, generator=generator).view(size, 2)
        return FieldPlan.of(
            size,
            sigma=self.sigma(progress) * (chosen & able).double(),
            place=place,
            valid=own.valid.double() / own.size,
            kind=self.kind,
            time_sd=self.time_sd,
            freq_sd=self.freq_sd,
            why=reasons(chosen, able, "no valid frames"),
        )

    def render_into(self, own: Clips, source: Clips, plan: Plan, out: Tensor | None = None) -> Tensor:
        """Apply a plan; see `random_field`."""
        assert isinstance(plan, FieldPlan)
        return random_field(own.x, plan, scale=self.scale, std=self.std, lengths=own.lengths, out=out)

    def check_input(self, own: Clips, source: Clips) -> None:
        """Refuse waveforms."""
        check_spectrogram(own.x)

    def identity(self, own: Clips) -> FieldPlan:
        """Return the plan of this kind that changes nothing."""
        return replace(FieldPlan.identity(len(own)), kind=self.kind)

    def check_plan(self, plan: Plan) -> None:
        """Refuse plans of another kind."""
        super().check_plan(plan)
        if isinstance(plan, FieldPlan) and plan.kind != self.kind and bool(plan.mixed.any()):
            check.fail("plan", f"of kind {self.kind!r}, as the transform is", repr(plan.kind))
