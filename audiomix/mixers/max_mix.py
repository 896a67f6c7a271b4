r"""MaxMix: in each cell of a log spectrogram the louder of two sounds is heard.

.. math:: x' = \max(x, x_p), \qquad y' = \max(y, y_p)

The paper mixes so for pre-training. The maximum is close to the sum of the sounds: at most 3.01 dB below it, where
both are as loud. Both sounds are there, so the label is the union by default. Which share of it is whose (for other
rules) is a definition of ours: that of the cells in which the sound is the louder one.

Source: Alex et al., "SSLAM: Enhancing Self-Supervised Models with Audio Mixtures for Polyphonic Soundscapes", ICLR
2025.
Label: those of both, by the union.
"""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from .. import check, draw
from ..audio.blend import check_out, find_source
from ..clips import Clips, fit_length, overlap
from ..draw import Generator
from ..graphs import by_row
from ..mixer import SPECTROGRAM, Example, Mixer, Needs, Pairing, Rule
from ..plan import ORIGINAL, Part, Plan
from ..schedule import Schedule

__all__ = ["NOWHERE_LOUDER", "MaxMix", "MaxPlan", "max_mix"]

# Why a clip that was to be mixed is left as it is.
NOWHERE_LOUDER = "the partner is nowhere louder"


@dataclass(frozen=True, eq=False)
class MaxPlan(Plan):
    """Whose louder cells come in, and where both are compared.

    Parameters
    ----------
    partner, weight, why, roll, roll_within
        See `audiomix.Plan`: the original's share of all its valid cells.
    ratio : Tensor, shape (B,), float64
        The original's share of the frames in which both are compared.
    covered : Tensor, shape (B,), float64
        How far the partner reaches, as a fraction of the (padded) time axis.
    regions : Tensor, shape (B, R, 2), float64
        Start and stop of regions in which the original stays as it is, fractions of the (padded) time axis.

    Examples
    --------
    >>> from audiomix import MaxMix
    >>> plan = MaxMix(regions=2)(torch.randn(2, 1, 16, 40)).plans[0]
    >>> plan.regions.shape, len(plan.spans(40))
    (torch.Size([2, 2, 2]), 2)
    """

    ratio: Tensor
    covered: Tensor
    regions: Tensor

    _still: ClassVar = {"ratio": 1.0, "covered": 1.0, "regions": [[0.0, 0.0]]}

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_rows("ratio", share=True)
        self._check_rows("covered", share=True)
        self._check_rows("regions", None, 2, share=True)

    def parts(self, index: int) -> list[Part]:
        """Return who is in a mix: a maximum is no sum, so gains say nothing."""
        own, theirs = [Part(ORIGINAL)], Part(int(self.partner[index]), stop=float(self.covered[index]))
        return [*own, theirs] if float(self.weight[index]) < 1 else own

    def edges(self, size: int) -> tuple[Tensor, Tensor]:
        """Return before which of `size` frames both are compared, (B,), and the regions, (B, R, 2); int64."""
        end, regions = ((at * size - 0.5).ceil().long() for at in (self.covered, self.regions))
        return torch.where(self.weight < 1, end, 0), regions

    def spans(self, size: int) -> list[list[tuple[int, int]]]:
        """Return in which runs of `size` frames both are compared: start and stop, for each clip."""
        end, regions = self.edges(size)
        return [_between(pieces, last) for pieces, last in zip(regions.tolist(), end.tolist())]

    def share(self, size: int) -> Tensor:
        """The original's share at each of `size` frames; (B, size), float64."""
        return torch.where(_inside(*self.edges(size), size), self.ratio[:, None], 1.0)


def _between(pieces: list[list[int]], last: int) -> list[tuple[int, int]]:
    """Return the runs of frames before `last` that lie in none of the pieces (start, stop)."""
    at, found = 0, list[tuple[int, int]]()
    for start, stop in [*sorted(pieces), [last, last]]:
        if min(start, last) > at:
            found.append((at, min(start, last)))
        at = max(at, stop)
    return found


def _inside(end: Tensor, regions: Tensor, size: int) -> Tensor:
    """Return which of `size` frames lie before `end` (B,) and in none of the regions (B, R, 2); (B, size), bool."""
    place = torch.arange(size, device=end.device)
    kept = (place >= regions[..., :1]) & (place < regions[..., 1:])
    return (place < end[:, None]) & ~kept.any(1)


def max_mix(x: Tensor, plan: MaxPlan, *, other: Tensor | None = None, out: Tensor | None = None) -> Tensor:
    """Take in each cell the louder of two log spectrograms, in the frames that the plan compares.

    Parameters
    ----------
    x : Tensor, shape (B, ..., F, N), floating point
        Log spectrograms. Left unchanged.
    plan : MaxPlan
        Whose, and where.
    other : Tensor, shape (M, ..., F, N'), optional
        Where partners come from; cut at N.
    out : Tensor, shape of x, optional
        See `audiomix.audio.blend.blend`.

    Examples
    --------
    >>> one = torch.ones(2).double()
    >>> plan = MaxPlan(torch.tensor([1, 0]), one / 2, ratio=one / 2, covered=one, regions=torch.zeros(2, 1, 2).double())
    >>> max_mix(torch.tensor([[[0.0, -9.0]], [[-9.0, -5.0]]]), plan)[:, 0]
    tensor([[ 0., -5.],
            [ 0., -5.]])
    """
    source = find_source(check.floating("x", x), plan, other, whole=True)
    if out is not None:
        check_out(out, x, source)
    size = x.shape[-1]
    end, regions = plan.edges(size)
    if not torch.compiler.is_compiling() and int(end.max()) > source.shape[-1]:
        got = f"{source.shape[-1]} frames"
        check.fail("other", "as long as the plan reaches", got, "was it drawn with these clips?")
    if by_row(x, source):
        return _max_rows(x, plan, source, torch.empty_like(x) if out is None else out)
    partner, there = _upload(plan, end, regions, size, x.device)
    theirs = fit_length(source, size)[partner]
    mixed = torch.where(there.view(len(x), *[1] * (x.ndim - 2), -1), torch.maximum(x, theirs), x)
    return mixed if out is None else out.copy_(mixed)


def _upload(
    plan: MaxPlan, end: Tensor, regions: Tensor, size: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return partners (B,) and the frames in which both are compared (B, size), made on the device of one upload."""
    numbers = torch.cat([plan.partner[:, None], end[:, None], regions.flatten(1)], 1)
    partner, end, regions = numbers.to(device, non_blocking=True).split([1, 1, numbers.shape[1] - 2], 1)
    return partner[:, 0], _inside(end[:, 0], regions.view(len(end), -1, 2), size)


def _max_rows(x: Tensor, plan: MaxPlan, source: Tensor, mixed: Tensor) -> Tensor:
    """Do it clip by clip, in the frames between regions."""
    for row, old, j, spans in zip(mixed, x, plan.partner.tolist(), plan.spans(x.shape[-1])):
        if spans != [(0, x.shape[-1])]:
            row.copy_(old)
        for start, stop in spans:
            torch.maximum(old[..., start:stop], source[j, ..., start:stop], out=row[..., start:stop])
    return mixed


class MaxMix(Mixer):
    """The louder of two sounds in each cell of log spectrograms, with the labels of both.

    Parameters
    ----------
    share : str
        What the weight is. ``louder``: the share of the cells in which the original is at least as loud, which is
        measured when the plan is drawn (on a GPU the host waits for it). ``equal``: one half of each frame that is
        mixed, without a look at the sound.
    regions : int
        In how many regions the original stays as it is: 2 in SSLAM, whose student is to find single sounds as well.
    region : float
        Length of one of them, as a share of the valid part: SSLAM has 240 of 1024 frames.
    num_classes, p, pairing, rule, time_axis
        See `audiomix.Mixer`; by default the label is the ``union`` of both.

    Notes
    -----
    A partner that is nowhere louder is not heard: the clip is left as it is, with weight 1, and the plan says why.
    Regions do not overlap, and are drawn for each clip. Behind a shorter partner the original stays as it is. SSLAM
    compares each clip with its neighbour in the batch, and has one pair of regions for all.

    See Also
    --------
    audiomix.MixUp : ``MixUp(domain="power")`` adds the sounds in log spectrograms.

    Examples
    --------
    >>> spec, label = torch.randn(4, 1, 64, 100), torch.arange(4)
    >>> mixed = MaxMix(num_classes=4)(spec, label, generator=torch.Generator().manual_seed(0))
    >>> bool((mixed.x >= spec).all()), mixed.target.sum(1).tolist()
    (True, [2.0, 2.0, 2.0, 2.0])
    """

    plan_type = MaxPlan

    def __init__(
        self,
        share: Literal["louder", "equal"] = "louder",
        *,
        regions: int = 0,
        region: float = 0.234375,
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        pairing: Pairing = "any",
        rule: Rule = "union",
        time_axis: int | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, p=p, pairing=pairing, rule=rule, time_axis=time_axis)
        self.share = check.choice("share", share, ["louder", "equal"])
        self.regions = check.integer("regions", regions, 0)
        self.region = check.fraction("region", region)
        if self.regions * self.region > 1:
            most = f"at most {math.floor(1 / self.region)} with region={region:g}"
            check.fail("regions", most, regions, "they do not overlap; region= makes them shorter")

    @property
    def needs(self) -> Needs:
        """Log spectrograms; a maximum is no sum."""
        return Needs(domain=frozenset({SPECTROGRAM}), summed=False, axes=self.regions > 0)

    @classmethod
    def examples(cls) -> list[Example]:
        """Return both kinds of weights, with and without regions."""
        mixers = [cls(), cls(rule="linear"), cls("equal", rule="linear"), cls(regions=2), cls("equal", regions=1)]
        return [Example(mixer, shape=(1, 12, 100)) for mixer in mixers]

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw partners and regions, and see who is the louder."""
        partner, mixed = self.pair(own, source, progress=progress, generator=generator)
        size, (valid, both) = own.size, overlap(own, source, partner)
        regions = self._draw_regions(own, generator)
        plan = MaxPlan(
            partner, torch.where(mixed, 0.5, 1.0).double(), ratio=torch.full((len(own),), 0.5, dtype=torch.float64),
            covered=both.double() / size, regions=regions.double() / size,
        )  # fmt: skip
        spans = plan.spans(size)
        frames = torch.tensor([sum(stop - start for start, stop in runs) for runs in spans])
        if self.share == "louder":
            cells = own.x[0, ..., 0].numel()
            lost = _count_louder(own.x, source.x, plan, spans).double() / (cells * frames).clamp(min=1)
        else:
            lost = torch.where(frames > 0, 0.5, 0.0).double()
        weight = 1 - lost * frames / valid.clamp(min=1)
        why: tuple[str, ...] = ()
        if bool((lost[mixed] == 0).any()):
            why = tuple("" if share else NOWHERE_LOUDER for share in lost.tolist())
        return replace(plan, weight=weight, ratio=1 - lost, why=why)

    def _draw_regions(self, own: Clips, generator: Generator) -> Tensor:
        """Draw regions that do not overlap, in whole frames; (B, R, 2), int64, R at least 1."""
        if not self.regions:
            return torch.zeros(len(own), 1, 2, dtype=torch.int64)
        width = (self.region * own.valid).floor().long()[:, None]
        room = own.valid[:, None] - self.regions * width  # where they may start once each is a point
        places = draw.integers((room + 1).expand(-1, self.regions), generator=generator).sort(1).values
        start = places + torch.arange(self.regions) * width
        return torch.stack([start, start + width], -1)

    def render_into(self, own: Clips, source: Clips, plan: Plan, out: Tensor | None = None) -> Tensor:
        """Apply a plan; see `max_mix`. Padding stays as it is."""
        assert isinstance(plan, MaxPlan)  # check_plan saw to it
        return max_mix(own.x, plan, other=source.x, out=out)


def _count_louder(x: Tensor, source: Tensor, plan: MaxPlan, spans: list[list[tuple[int, int]]]) -> Tensor:
    """Return in how many cells of the frames that are compared each partner is the louder; (B,), int64, on the CPU."""
    size = x.shape[-1]
    if by_row(x, source):
        room, counts = torch.empty(x.shape[1:], dtype=torch.bool), []
        for row, j, runs in zip(x, plan.partner.tolist(), spans):
            last = runs[-1][1] if runs else 0
            torch.gt(source[j, ..., :last], row[..., :last], out=room[..., :last])
            for start, stop in _between([[start, stop] for start, stop in runs], size):
                room[..., start:stop] = False
            counts.append(int(np.count_nonzero(room.numpy())))  # a third of what torch's costs
        return torch.tensor(counts)
    partner, there = _upload(plan, *plan.edges(size), size, x.device)
    louder = fit_length(source.detach(), size)[partner] > x.detach()
    louder &= there.view(len(x), *[1] * (x.ndim - 2), -1)
    return louder.flatten(1).sum(1).cpu()
