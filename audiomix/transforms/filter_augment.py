r"""FilterAugment: each clip's spectrum is weighted as by a microphone, a room or a distance of its own.

.. math:: x'[f, t] = x[f, t] + g(f) \quad \text{(decibels)}

g is constant in each of n bands of random width (``step``), or runs straight from edge to edge (``linear``).

Bands are drawn for each clip [ours]; the reference code has one layout for the whole batch.

Source: Nam, Kim and Park, "FilterAugment: An Acoustic Environmental Data Augmentation Method", ICASSP 2022.
Label: kept.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from .. import check, draw
from ..clips import Clips
from ..draw import Generator
from ..mixer import SPECTROGRAM, Example, Needs
from ..plan import Plan
from ..schedule import Schedule
from ..transform import Transform, TransformPlan, check_spectrogram, reasons, whole_numbers
from ._decibels import FACTORS, LOGS, decibel
from ._spectral import check_call, keep_rest

__all__ = ["FilterAugment", "FilterPlan", "filter_augment"]

Kind = Literal["linear", "step"]
# Defaults of the reference code: fewest and most bands, and bins of the narrowest
_BANDS = {"linear": (3, 5), "step": (2, 4)}
_WIDTH = {"linear": 6, "step": 4}


@dataclass(frozen=True, eq=False)
class FilterPlan(TransformPlan):
    """The filter of each clip.

    Parameters
    ----------
    partner, weight, why, roll, roll_within
        See `audiomix.Plan`.
    edges : Tensor, shape (B, K + 1), float64
        Edges of the bands as fractions of the frequency axis, rising from 0 to 1; 1 again where a clip has fewer bands.
    level_db : Tensor, shape (B, K + 1), float64
        ``linear``: gain at each edge in dB. ``step``: gain of the band above each edge.
    kind : str
        ``linear`` or ``step``.

    Examples
    --------
    >>> from audiomix import FilterAugment
    >>> plan = FilterAugment("step")(torch.randn(2, 1, 32, 30)).plans[0]
    >>> plan.kind, plan.edges[:, 0]
    ('step', tensor([0., 0.], dtype=torch.float64))
    """

    edges: Tensor
    level_db: Tensor
    kind: Kind = "linear"

    _still: ClassVar = {"edges": [0.0, 1.0], "level_db": [0.0, 0.0]}

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_rows("edges", None, share=True)
        self._check_rows("level_db", self.edges.shape[1])
        check.choice("kind", self.kind, ("linear", "step"))
        if bool((self.edges.diff(dim=1) < 0).any() | (self.edges[:, 0] != 0).any() | (self.edges[:, -1] != 1).any()):
            check.fail("edges", "rising from 0 to 1", self.edges.tolist())

    @property
    def mixed(self) -> Tensor:
        """Whether each clip is filtered; (B,), bool."""
        return (self.level_db != 0).any(1)

    def curve(self, bins: int) -> Tensor:
        """Return the gain of each of `bins` frequency bins in dB; (B, bins), float64.

        Parameters
        ----------
        bins : int
            Of the frequency axis.
        """
        edges = (self.edges * bins).round()
        place = torch.arange(bins, dtype=torch.float64).expand(len(self), bins).contiguous()
        band = torch.searchsorted(edges, place, right=True) - 1
        low = self.level_db.gather(1, band)
        if self.kind == "step":
            return low
        first, stop = edges.gather(1, band), edges.gather(1, band + 1)
        # both edges of a band lie on bins, as in the reference code; a band of one bin has its lower edge's gain
        way = (place - first) / (stop - 1 - first).clamp(min=1)
        return torch.lerp(low, self.level_db.gather(1, band + 1), way)

    def describe(self, index: int) -> dict[str, Any]:
        """Return the edges and their gains, and why there is no filter."""
        filtered = {"edges": self.edges[index].tolist(), "level_db": self.level_db[index].tolist()}
        return super().describe(index) | filtered


def filter_augment(
    x: Tensor,
    plan: FilterPlan,
    *,
    scale: str = "db",
    std: float = 1.0,
    lengths: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Weight the spectrum of each clip; padding stays as it is.

    Parameters
    ----------
    x : Tensor, shape (B, ..., F, N)
        Spectrograms. Left unchanged.
    plan : FilterPlan
        The filters.
    scale : str
        What `x` holds; see `FilterAugment`.
    std : float
        Logarithms are divided by this.
    lengths : Tensor, shape (B,), optional
        Valid frames.
    out : Tensor, shape of x, optional
        Written and returned; see `audiomix.audio.blend.blend`.

    Examples
    --------
    >>> edges = torch.tensor([[0.0, 0.5, 1.0]]).double()
    >>> plan = FilterPlan.of(1, edges=edges, level_db=torch.tensor([[6.0, -6.0, 0.0]]).double(), kind="step")
    >>> filter_augment(torch.zeros(1, 4, 2), plan)[0, :, 0]
    tensor([ 6.,  6., -6., -6.])
    """
    check_call(x, plan, scale, out)
    curve = plan.curve(x.shape[-2])
    gain = (curve * FACTORS[scale]).exp() if scale in FACTORS else curve * decibel(scale, std)
    gain = gain.to(x).view(len(x), *[1] * (x.ndim - 3), x.shape[-2], 1)
    apply: Any = torch.mul if scale in FACTORS else torch.add
    filtered = apply(x, gain) if out is None else apply(x, gain, out=out)
    if lengths is None:
        return filtered
    filtered = keep_rest(filtered, x, lengths)
    return filtered if out is None or filtered is out else out.copy_(filtered)


class FilterAugment(Transform):
    """Raise and lower random frequency bands of each spectrogram by a few decibels.

    Parameters
    ----------
    kind : str
        ``linear``: the gain in dB runs straight from edge to edge of the bands. ``step``: each band has its own.
    bands : (int, int), optional
        Fewest and most bands, each number as likely as the other. By default (3, 5), and (2, 4) for ``step``.
    min_width : int, optional
        Bins of the narrowest band; by default 6, and 4 for ``step``. A spectrogram with fewer bins than its bands
        need has narrower ones.
    db : (float, float)
        Lowest and highest gain in dB.
    scale : str
        What `x` holds: ``db`` (10 log10 of power), ``log10`` or ``ln`` (of power); ``power`` or ``amplitude``.
    std : float
        What normalised logarithms were divided by: ``(dB - mean) / std``.
    num_classes, p, time_axis
        See `audiomix.Transform`.

    Notes
    -----
    The reference code works on amplitudes, before the logarithm: its 6 dB are a factor of 2, 6 dB here on every scale.
    A clip with fewer than two bands is left as it is, with a reason in the plan. Both types in one training:
    ``OneOf([FilterAugment("linear"), FilterAugment("step")], per="clip")``.

    Examples
    --------
    >>> spec = torch.full((4, 1, 64, 100), -50.0)
    >>> filtered = FilterAugment("step", db=(-3, 3))(spec, generator=torch.Generator().manual_seed(0))
    >>> bool(((filtered.x + 50).abs() <= 3).all()), 2 <= len(filtered.x[0, 0, :, 0].unique()) <= 4
    (True, True)
    """

    plan_type = FilterPlan

    def __init__(
        self,
        kind: Kind = "linear",
        *,
        bands: tuple[int, int] | None = None,
        min_width: int | None = None,
        db: tuple[float, float] = (-6.0, 6.0),
        scale: Literal["db", "log10", "ln", "power", "amplitude"] = "db",
        std: float = 1.0,
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        time_axis: int | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, p=p, time_axis=time_axis)
        self.kind: Any = check.choice("kind", kind, ["linear", "step"])
        self.bands = _pair("bands", _BANDS[kind] if bands is None else bands, lambda n: check.integer("bands", n, 1))
        self.min_width = check.integer("min_width", _WIDTH[kind] if min_width is None else min_width, 1)
        self.db = _pair("db", db, lambda gain: check.number("db", gain))
        self.scale = check.choice("scale", scale, [*LOGS, *FACTORS])
        self.std = check.number("std", std, 1e-12, slip="the spread of the log spectrogram, above 0")
        if std != 1 and scale in FACTORS:
            check.fail("std", "left out for power and amplitude", f"{std:g}")

    @property
    def needs(self) -> Needs:
        """Spectrograms."""
        return replace(super().needs, domain=frozenset({SPECTROGRAM}), axes=True)

    @classmethod
    def examples(cls) -> list[Example]:
        """Return both kinds, on every scale."""
        made = [cls(bands=(3, 4), min_width=2), cls("step"), cls(scale="ln", std=4.5), cls("step", scale="amplitude")]
        return [Example(t, shape=(1, 12, 100)) for t in [*made, cls(scale="power")]]

    def at_normalisation(self, mean: float, std: float) -> "FilterAugment":
        """Return this transform for log spectrograms normalised as ``(dB - mean) / std``."""
        return self if self.scale in FACTORS else self.replace(std=std)

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw which clips are filtered, how many bands each has, their edges and gains."""
        size, bins, (least, most) = len(own), own.x.shape[-2], self.bands
        chosen = self.choose(own, progress=progress, generator=generator)
        # a few numbers a clip: NumPy's calls cost a third of torch's
        places = draw.uniform(0, 1, size * 2 * (most + 1), generator=generator).numpy().reshape(size, -1)
        count = np.minimum(least + whole_numbers(places[:, :1], most - least + 1), bins)
        if own.lengths is not None:
            count = np.where(own.lengths.numpy()[:, None] > 0, count, 0)
        narrowest = np.minimum(bins // np.maximum(count, 1), self.min_width)
        # bins beyond the narrowest bands are shared out by the order statistics of uniform numbers
        cuts, band = whole_numbers(places[:, 1 : most + 1], bins - count * narrowest + 1), np.arange(most)
        inner = band < count - 1
        cuts = np.sort(np.where(inner, cuts, bins), 1)
        edges = np.concatenate([np.zeros((size, 1)), np.where(inner, cuts + narrowest * (band + 1), bins) / bins], 1)
        level = self.db[0] + (self.db[1] - self.db[0]) * places[:, most + 1 :]
        used = np.arange(most + 1) <= count - (self.kind == "step")
        level = np.where(chosen.numpy()[:, None] & (count > 1) & used, level, 0.0)
        why = reasons(chosen, torch.from_numpy(count[:, 0] > 1), "fewer than two bands")
        bounds, level_db = torch.from_numpy(edges), torch.from_numpy(level)
        return FilterPlan.of(size, edges=bounds, level_db=level_db, kind=self.kind, why=why)

    def render_into(self, own: Clips, source: Clips, plan: Plan, out: Tensor | None = None) -> Tensor:
        """Apply a plan; see `filter_augment`."""
        assert isinstance(plan, FilterPlan)
        return filter_augment(own.x, plan, scale=self.scale, std=self.std, lengths=own.lengths, out=out)

    def check_input(self, own: Clips, source: Clips) -> None:
        """Refuse waveforms."""
        check_spectrogram(own.x)

    def identity(self, own: Clips) -> FilterPlan:
        """Return the plan of this kind that filters nothing."""
        return replace(FilterPlan.identity(len(own)), kind=self.kind)

    def check_plan(self, plan: Plan) -> None:
        """Refuse plans of the other kind."""
        super().check_plan(plan)
        if isinstance(plan, FilterPlan) and plan.kind != self.kind:
            check.fail("plan", f"of kind {self.kind!r}, as the transform is", repr(plan.kind))


def _pair(name: str, value: Any, check_one: Callable[[Any], Any]) -> tuple[Any, Any]:
    """Return the lower and the upper limit of a range, each checked."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        check.fail(name, "two numbers, (lowest, highest)", repr(value))
    low, high = map(check_one, value)
    if not low <= high:
        check.fail(name, "the lowest and then the highest", repr(value))
    return low, high
