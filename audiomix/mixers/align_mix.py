r"""AlignMix: the frames of one clip are put where the frames of the other are like them, then both are interpolated.

.. math:: x' = w x + (1 - w)\, x_p R^T \quad \text{or} \quad x' = w x R + (1 - w)\, x_p, \qquad
          R = n P, \quad P = \arg\min_{P \in U} \langle P, M \rangle - \epsilon H(P)

U holds the matrices with equal marginals, H is the entropy, M the squared distances between features of cells of time.
The transport is found by Sinkhorn's iterations.

That spectrograms are aligned along time alone, in cells of several frames, is our definition, and so are the features:
the mean of each cell, minus the clip's mean, scaled to unit length, so that neither level nor colour decides.

Source: Venkataramanan et al., "AlignMixup: Improving Representations By Interpolating Aligned Features", CVPR 2022;
Cuturi, "Sinkhorn Distances: Lightspeed Computation of Optimal Transport", NeurIPS 2013.
Label: mixed by the drawn weight.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from .. import check, draw
from ..audio.blend import check_out, find_source
from ..clips import Clips, fit_length
from ..draw import Generator
from ..graphs import by_row
from ..mixer import SPECTROGRAM, Example, Mixer, Needs, Pairing, Rule
from ..plan import Plan
from ..schedule import Schedule

__all__ = ["AlignMix", "AlignPlan", "alignmix", "sinkhorn"]

_EMPTY = "nothing to align: the clip or its partner has no valid frame"
# Two cells are no more alike than this part of their clip's largest feature says
_NOISE = 1e-5


@dataclass(frozen=True, eq=False)
class AlignPlan(Plan):
    """A plan that moves the frames of one of the two clips into the time of the other.

    Parameters
    ----------
    partner, weight, why, roll, roll_within
        See `audiomix.Plan`.
    transport : Tensor, shape (B, n, n), float64
        How much of the moved clip's cell l (third axis) is in the mix's cell k (second axis); rows sum to 1. Cells are
        equal parts of the valid time of each clip.
    moves_partner : Tensor, shape (B,), bool
        Whether the partner is moved into the original's time; else the original into its partner's.
    ends : Tensor, shape (B, 2), float64, optional
        Valid parts of the original and of its partner, as fractions of the (padded) time axis; all of both where it is
        None.

    Examples
    --------
    >>> from audiomix import AlignMix
    >>> plan = AlignMix()(torch.randn(2, 1, 8, 32)).plans[0]
    >>> plan.transport.shape, bool(torch.allclose(plan.transport.sum(2), torch.ones(2, 16).double()))
    (torch.Size([2, 16, 16]), True)
    """

    transport: Tensor
    moves_partner: Tensor
    ends: Tensor | None = None

    _still: ClassVar = {"transport": [[1.0]], "moves_partner": True}

    def __post_init__(self) -> None:
        super().__post_init__()
        cells = self.transport.shape[-1]
        self._check_rows("transport", cells, cells)
        self._check_rows("moves_partner", dtype=torch.bool)
        if self.ends is not None:
            self._check_rows("ends", 2, share=True)

    def describe(self, index: int) -> dict[str, Any]:
        """Return whose time a mix has, beside what every plan says."""
        of = "original" if bool(self.moves_partner[index]) else "partner"
        return {**super().describe(index), "time_of": of if bool(self.mixed[index]) else "original"}

    def move_frames(self, stream: Tensor) -> Tensor:
        """Return a stream of the originals, (B, ..., N), moved where their frames are moved."""
        own = None if self.ends is None else self.ends[:, 0]
        return _choose(self.mixed & ~self.moves_partner, transport_frames(stream, self.transport, own, own), stream)

    def place_frames(self, stream: Tensor, size: int) -> Tensor:
        """Return a stream of the partners, (B, ..., N'), as it lies in mixes of `size` frames."""
        stream = fit_length(stream, size)
        if self.ends is None:
            return _choose(self.mixed & self.moves_partner, transport_frames(stream, self.transport), stream)
        own, theirs = self.ends.unbind(1)
        kept = torch.eye(self.transport.shape[-1], dtype=torch.float64).expand_as(self.transport)
        matrix = torch.where(self.moves_partner[:, None, None], self.transport, kept)
        return transport_frames(stream, matrix, theirs, own)


def sinkhorn(cost: Tensor, *, epsilon: float = 0.1, iterations: int = 100, tolerance: float = 1e-3) -> Tensor:
    """Return the transport of least cost between equal masses, smoothed by its entropy.

    Iterations are on logarithms, so that no cost is too large. The rows are exact; the columns up to `tolerance`, or up
    to where the last iteration left them.

    Parameters
    ----------
    cost : Tensor, shape (B, n, m)
        What it costs to carry each row's mass to each column. Finite.
    epsilon : float
        Weight of the entropy, in the unit of the cost: the smaller, the nearer to a permutation.
    iterations : int
        At most.
    tolerance : float
        Largest error of a column's sum, as a share of it, at which the iterations end.

    Returns
    -------
    Tensor, shape (B, n, m)
        Rows sum to 1 / n, columns to 1 / m.

    Examples
    --------
    >>> sinkhorn(torch.tensor([[[0.0, 9.0], [9.0, 0.0]]])).round(decimals=3)
    tensor([[[0.5000, 0.0000],
             [0.0000, 0.5000]]])
    """
    kernel = -cost / epsilon
    right = torch.zeros_like(cost[..., :1, :])
    left = torch.zeros_like(cost[..., :1])
    for _ in range(iterations):
        left = -(kernel + right).logsumexp(-1, keepdim=True)
        sums = (kernel + left + right).logsumexp(-2, keepdim=True)  # 0 where all columns get the same
        right = right - sums
        if float((sums - sums.mean(-1, keepdim=True)).abs().max()) < tolerance:
            break
    left = -(kernel + right).logsumexp(-1, keepdim=True)
    return (kernel + left + right).exp() / cost.shape[-2]


def transport_frames(
    stream: Tensor, transport: Tensor, ends_of: Tensor | None = None, ends_in: Tensor | None = None
) -> Tensor:
    """Return a stream of frames whose cells of time are carried to other cells.

    A cell keeps the order of its frames. Where the two clips are valid for different lengths, or their frames are no
    multiple of the cells, the nearest frame is read.

    Parameters
    ----------
    stream : Tensor, shape (B, ..., N)
        Spectrograms, feature maps, frame labels; the last axis is time.
    transport : Tensor, shape (B, n, n), float64
        Share of cell l (third axis) in the new cell k; rows sum to 1.
    ends_of, ends_in : Tensor, shape (B,), float64, optional
        Valid parts, as fractions of the axis, that are divided into cells: of the stream, and of what comes out. All of
        it where they are None. What lies behind is not to be read.

    Examples
    --------
    >>> swap = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]).double()
    >>> transport_frames(torch.tensor([[1.0, 2.0, 3.0, 4.0]]), swap)
    tensor([[3., 4., 1., 2.]])
    """
    size, cells = stream.shape[-1], transport.shape[-1]
    steps = -(-size // cells)  # of a cell
    wide = stream.reshape(len(stream), -1, size)
    blocks = _read(wide, _steps(cells * steps, size, ends_of)).unflatten(-1, (cells, steps))
    matrix = transport.to(stream.device, torch.promote_types(stream.dtype, torch.float32)).unsqueeze(1)
    moved = (matrix @ blocks.to(matrix.dtype)).flatten(-2)
    return _read(moved, _steps_at(cells * steps, size, ends_in)).to(stream.dtype).view(stream.shape)


def _steps(steps: int, size: int, ends: Tensor | None) -> Tensor:
    """Return which frame each of the equal steps of the valid part reads; (steps,), or (B, steps) with ends."""
    centre = (torch.arange(steps, dtype=torch.float64) + 0.5) / steps
    valid = size if ends is None else (ends * size)[:, None]
    return (centre * valid).floor().long().clamp(0, size - 1)


def _steps_at(steps: int, size: int, ends: Tensor | None) -> Tensor:
    """Return in which step the centre of each frame lies; (N,), or (B, N) with ends."""
    centre = torch.arange(size, dtype=torch.float64) + 0.5
    valid = torch.tensor(float(size)) if ends is None else (ends * size).clamp(min=1e-9)[:, None]
    return (centre / valid * steps).floor().long().clamp(0, steps - 1)


def _read(wide: Tensor, index: Tensor) -> Tensor:
    """Return frames of (B, M, N) by their numbers, the same for all clips or for each."""
    if index.ndim == 1 and len(index) == wide.shape[-1]:
        return wide  # steps are frames
    if index.ndim == 1 and wide.is_cpu and not torch.compiler.is_compiling():
        # a few frames are read twice or left out: between them all are in order
        breaks = [0, *((index.diff() != 1).nonzero().flatten() + 1).tolist(), len(index)]
        starts = index.tolist()
        return torch.cat([wide[..., starts[a] : starts[a] + b - a] for a, b in pairwise(breaks)], -1)
    # on a CPU a sixth of what index_select along the last axis costs
    index = index.to(wide.device).view(-1, 1, index.shape[-1])
    return wide.gather(-1, index.expand(*wide.shape[:2], -1))


def _choose(rows: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """Return the rows (B,) of one tensor, the others of another."""
    return torch.where(rows.to(yes.device).view(-1, *[1] * (yes.ndim - 1)), yes, no)


def alignmix(x: Tensor, plan: AlignPlan, *, other: Tensor | None = None, out: Tensor | None = None) -> Tensor:
    """Interpolate each clip with its partner, one of them moved along time as the plan says.

    Parameters
    ----------
    x : Tensor, shape (B, ..., F, N)
        Spectrograms or feature maps. Left unchanged.
    plan : AlignPlan
        Partners, weights and transports for B clips.
    other : Tensor, shape (M, ..., F, N), optional
        Where partners come from.
    out : Tensor, shape of x, optional
        Written and returned.

    Examples
    --------
    >>> x = torch.tensor([[[1.0, 5.0]], [[5.0, 1.0]]])  # the second is the first, in another order
    >>> swap = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]).double().expand(2, 2, 2)
    >>> half = torch.tensor([0.5, 0.5]).double()
    >>> moves = torch.tensor([True, True])
    >>> alignmix(x, AlignPlan(torch.tensor([1, 0]), half, transport=swap, moves_partner=moves))
    tensor([[[1., 5.]],
    <BLANKLINE>
            [[5., 1.]]])
    """
    source = find_source(check.floating("x", x), plan, other, ndim=3)
    if out is not None:
        check_out(out, x, source)
    if plan.ends is None and by_row(x, source):
        return _align_rows(x, plan, source, torch.empty_like(x) if out is None else out)
    chosen = source[plan.partner.to(x.device)]
    # one of the two is moved, in each clip: the same product serves both
    if plan.ends is None:
        moves = plan.moves_partner
        moved = transport_frames(_choose(moves, chosen, x), plan.transport)
        own, theirs = _choose(moves, x, moved), _choose(moves, moved, chosen)
    else:
        own, theirs = plan.move_frames(x), plan.place_frames(chosen, x.shape[-1])
    weight = plan.weight.to(x.device, torch.promote_types(x.dtype, torch.float32)).view(-1, *[1] * (x.ndim - 1))
    mixed = torch.lerp(theirs.to(weight.dtype), own.to(weight.dtype), weight)
    mixed = _choose(plan.mixed, mixed.to(x.dtype), x)
    return mixed if out is None else out.copy_(mixed)


def _align_rows(x: Tensor, plan: AlignPlan, source: Tensor, mixed: Tensor) -> Tensor:
    """Do it clip by clip, each while it is in the cache; with `AlignPlan.ends` both of a pair would be read anew."""
    wide = torch.promote_types(x.dtype, torch.float32)
    numbers = plan.partner.tolist(), plan.weight.tolist(), plan.moves_partner.tolist(), plan.mixed.tolist()
    for i, (j, weight, moves_partner, drawn) in enumerate(zip(*numbers)):
        if not drawn:
            mixed[i] = x[i]
            continue
        moving = (source[j] if moves_partner else x[i])[None]
        moved = transport_frames(moving.to(wide), plan.transport[i : i + 1])[0]
        own, theirs = (x[i].to(wide), moved) if moves_partner else (moved, source[j].to(wide))
        mixed[i] = torch.lerp(theirs, own, weight)
    return mixed


class AlignMix(Mixer):
    """AlignMix of spectrograms and feature maps: frames are aligned along time, then interpolated.

    Parameters
    ----------
    alpha : float or schedule
        The original's share is drawn from Beta(alpha, alpha); 1 is uniform, 0 mixes nothing.
    cells : int
        Into how many cells of time each clip is divided; whole cells are moved. The paper has 16 positions, of features
        of pictures.
    epsilon : float
        How soft the alignment is; distances between features lie within 0 and 4.
    time_of : str
        Whose time a mix has: the ``original``'s, its ``partner``'s, or ``either``, by a coin, as in the paper.
    num_classes, p, pairing, rule, time_axis
        See `audiomix.Mixer`.

    Notes
    -----
    Labels are mixed linearly by the drawn share, as in the paper. Each clip is divided by its own valid part, so a
    partner of another length covers the whole original: the weight is what was drawn. Frame labels move with their
    frames. The transport is part of the plan: it is computed from `x` without a gradient, on the CPU, which on another
    device waits for **one** copy of the cells' means a call. The cost is that of the features, Sinkhorn's iterations
    and a product with n x n matrices.

    Examples
    --------
    >>> spec, label = torch.randn(4, 1, 64, 100), torch.arange(4)
    >>> mixed = AlignMix(num_classes=4)(spec, label, generator=torch.Generator().manual_seed(1))
    >>> mixed.x.shape, mixed.plans[0].transport.shape
    (torch.Size([4, 1, 64, 100]), torch.Size([4, 16, 16]))
    """

    plan_type = AlignPlan

    def __init__(
        self,
        alpha: float | str | Schedule = 1.0,
        *,
        cells: int = 16,
        epsilon: float = 0.1,
        time_of: Literal["either", "original", "partner"] = "either",
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        pairing: Pairing = "any",
        rule: Rule = "linear",
        time_axis: int | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, p=p, pairing=pairing, rule=rule, time_axis=time_axis)
        self.alpha = Schedule.of(alpha, "alpha").within("alpha", 0)
        self.cells = check.integer("cells", cells, 1)
        self.epsilon = check.number("epsilon", epsilon, 1e-3, slip="a weight of the entropy: 0.1 in the paper")
        self.time_of = check.choice("time_of", time_of, ["either", "original", "partner"])

    @property
    def needs(self) -> Needs:
        """Spectrograms; a mix is no sum of pieces."""
        return Needs(domain=frozenset({SPECTROGRAM}), summed=False, axes=True)

    @classmethod
    def examples(cls) -> list[Example]:
        """Return whose time a mix has, and cells that divide the frames and that do not."""
        shape = (1, 12, 100)
        return [
            Example(cls(cells=10), shape=shape),
            Example(cls(time_of="original"), shape=shape),
            Example(cls(time_of="partner", cells=7), shape=shape),
        ]

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw partners, shares and whose time the mixes have; find the transports."""
        partner, mixed = self.pair(own, source, progress=progress, generator=generator)
        share = draw.beta(self.alpha(progress), len(own), generator=generator)
        coin = draw.bernoulli(0.5, len(own), generator=generator)
        moves_partner = coin if self.time_of == "either" else torch.full_like(coin, self.time_of == "original")
        ends, theirs = own.valid.double() / own.size, source.valid.clamp(max=own.size).double() / own.size
        both = torch.stack([ends, theirs[partner]], 1)
        whole = own.lengths is None and source.lengths is None and source.size >= own.size
        there = (both > 0).all(1)
        mine, others = self._features(own, source)
        transport = _find_transports(mine, others[partner], moves_partner, self.epsilon)
        still = torch.eye(self.cells, dtype=torch.float64)
        mixed = mixed & there
        why = tuple(_EMPTY if not one else "" for one in there.tolist())
        return AlignPlan(
            partner, torch.where(mixed, share, 1.0),
            transport=torch.where(mixed[:, None, None], transport, still), moves_partner=moves_partner,
            ends=None if whole else both, why=why if any(why) else (),
        )  # fmt: skip

    def _features(self, own: Clips, source: Clips) -> tuple[Tensor, Tensor]:
        """Return a unit vector for each cell of time, of the originals and of where partners come from; (B, n, D)."""
        fitted = source if source is own or source.size == own.size else None
        x = source.x if fitted is not None else fit_length(source.x, own.size)
        lengths = source.lengths if fitted is not None else source.valid.clamp(max=own.size)
        sides = [(x, lengths)] if source is own else [(own.x, own.lengths), (x, lengths)]
        means = torch.cat([_cell_means(side, ends, self.cells) for side, ends in sides])
        found = _unit_vectors(means.cpu().transpose(1, 2).contiguous())
        return found[: len(own)], found[-len(source) :]

    def render(self, own: Clips, source: Clips, plan: Plan) -> Tensor:
        """Apply a plan; see `alignmix`."""
        assert isinstance(plan, AlignPlan)
        return alignmix(own.x, plan, other=source.x)

    def check_input(self, own: Clips, source: Clips) -> None:
        """Refuse what has no axis of frequency."""
        super().check_input(own, source)
        if own.x.ndim < 3:
            got = f"shape {tuple(own.x.shape)}"
            check.fail("x", "spectrograms (B, ..., F, N)", got, "a waveform? align after the spectrogram")


def _cell_means(x: Tensor, lengths: Tensor | None, cells: int) -> Tensor:
    """Return the mean over each cell of time, (B, D, n); of clips without a valid frame zeros."""
    size = x.shape[-1]
    steps = cells * -(-size // cells)
    wide, valid = x.detach().reshape(len(x), -1, size), None if lengths is None else lengths.double() / size
    blocks = _read(wide, _steps(steps, size, valid)).unflatten(-1, (cells, -1))
    means = _mean(blocks)
    return means if lengths is None else _choose(lengths > 0, means, torch.zeros_like(means))


def _mean(blocks: Tensor) -> Tensor:
    """Return the mean over the last axis in float64: sums of float32 that no layout of the memory changes."""
    if blocks.is_cpu and blocks.dtype != torch.bfloat16:  # a fifth of what torch's costs
        return torch.from_numpy(blocks.numpy().mean(-1, dtype=np.float64))
    return blocks.mean(-1, dtype=torch.float64)


def _unit_vectors(features: Tensor) -> Tensor:
    """Return features (B, n, D) minus their mean over the cells, of unit length; 0 where they are all the same."""
    centred = features - features.mean(1, keepdim=True)
    length = centred.norm(dim=-1, keepdim=True)
    least = _NOISE * features.norm(dim=-1).amax(1)[:, None, None].clamp(min=1e-30)
    return torch.where(length > least, centred / torch.where(length > least, length, 1.0), 0.0)


def _find_transports(own: Tensor, partner: Tensor, moves_partner: Tensor, epsilon: float) -> Tensor:
    """Return the shares of the moved clips' cells in those of the others, (B, n, n), rows summing to 1."""
    moves = moves_partner[:, None, None]
    fixed, moved = torch.where(moves, own, partner), torch.where(moves, partner, own)
    return sinkhorn(torch.cdist(fixed, moved).square(), epsilon=epsilon) * own.shape[1]
