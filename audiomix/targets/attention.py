r"""Labels of a mix by what a transformer attends to: TransMix, and the progressive attention labels of MixPro.

.. math:: w_\mathrm{attention} = \frac{\sum_k m_k a_k}{\sum_k a_k}, \qquad
          w = (1 - r) w_\mathrm{area} + r w_\mathrm{attention}, \qquad y' = w y + (1 - w) y_p

a is the attention that a network gave to each token of the **mixed** input, m the original's share of each token, and
the area's share is the plan's weight. r is 1/2 in TransMix. In MixPro it is how far the prediction agrees with the
label by area:

.. math:: r = \cos\left(y'_\mathrm{area}, \mathrm{softmax}(z)\right)

The label rule is that of the mixer, with other shares. No gradient goes through attention or prediction. A token's
share is the mean of the mask over its patch [ours; the papers resize the mask to the nearest], so that overlapping
patches count what they see.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypedDict

import torch
from torch import Tensor
from torch.nn import functional as F

from .. import check
from ..parts import place
from ..plan import ORIGINAL, Part, Plan
from .labels import apply_rule, to_float

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["attention_share", "class_attention", "mixpro", "token_shares", "transmix"]

Pair = tuple[int, int]


class Tokens(TypedDict, total=False):
    """Where the tokens of a network lie on what was mixed: the arguments of `token_shares` behind its first three."""

    patch: Pair | None
    stride: Pair | None
    lengths: Tensor | None
    other_size: int | None


class TokenGrid(Tokens, total=False):
    """Those, and the grid of the tokens."""

    grid: Pair | None


def class_attention(scores: Tensor, class_tokens: int = 1) -> Tensor:
    """Return how much each patch is attended to; (B, M), of M patches.

    Parameters
    ----------
    scores : Tensor, shape (B, H, Q, Q) or (B, Q, Q), floating point
        Attention after its softmax, of H heads: rows are queries, columns what they attend to.
    class_tokens : int
        How many tokens in front are no patches: 1, or 2 with a distillation token (AST, DeiT). Their rows are averaged,
        over all heads. At 0 the mean over all queries is taken [ours], for networks that average their tokens.

    Examples
    --------
    >>> class_attention(torch.tensor([[[0.2, 0.5, 0.3], [1, 0, 0], [1, 0, 0]]]))
    tensor([[0.5000, 0.3000]])
    """
    scores = check.floating("scores", scores).detach()
    if scores.ndim not in (3, 4) or scores.shape[-1] != scores.shape[-2]:
        slip = "already one number a token? it need not be reduced"
        check.fail("scores", "attention (B, H, Q, Q) or (B, Q, Q)", f"shape {tuple(scores.shape)}", slip)
    first = check.integer("class_tokens", class_tokens, 0)
    if first >= scores.shape[-1]:
        check.fail("class_tokens", f"fewer than the {scores.shape[-1]} tokens", first)
    rows = scores if scores.ndim == 3 else scores.mean(1)
    rows = rows[:, :first] if first else rows
    return rows.mean(1)[:, first:]


def token_shares(
    plan: Plan,
    grid: Pair,
    size: Pair,
    *,
    patch: Pair | None = None,
    stride: Pair | None = None,
    lengths: Tensor | None = None,
    other_size: int | None = None,
) -> Tensor:
    """Return the original's share of each token; (B, F', T'), float32, on the CPU.

    Parameters
    ----------
    plan : Plan
        Of what the network saw.
    grid : (int, int)
        F' and T': how many tokens there are in frequency and in time; (1, T') for tokens over all frequencies.
    size : (int, int)
        F and N: bins and frames of the spectrogram that was mixed; (1, T) for waveforms.
    patch, stride : (int, int), optional
        Bins and frames of a patch, and between two; without a stride patches touch. The grid is that of whole patches,
        or of all that begin within the axis, where a network pads its end: then a token's share is the mean over the
        part of its patch that is there. Without a patch the tokens share the axes as those of adaptive pooling do.
    lengths : Tensor, shape (B,), optional
        Valid frames: only these count. The share of a token without any is 1.
    other_size : int, optional
        Frames of the second batch where partners come from one of another size.

    Raises
    ------
    ValueError
        Patches of this size do not give this grid.

    Examples
    --------
    >>> from audiomix import CutMix
    >>> spec = torch.randn(4, 1, 8, 20)
    >>> plan = CutMix()(spec, generator=torch.Generator().manual_seed(0)).plans[0]
    >>> shares = token_shares(plan, (2, 5), (8, 20))
    >>> shares.shape, bool(torch.allclose(shares.mean((1, 2)).double(), plan.weight))
    (torch.Size([4, 2, 5]), True)
    """
    grid, size = _pair("grid", grid), _pair("size", size)
    rows, columns = _means(grid, size, patch, stride)
    ends = torch.full((len(plan),), size[1])
    if lengths is not None:
        ends = check.to_tensor("lengths", lengths, "whole numbers of frames")
    valid = (torch.arange(size[1]) < ends[:, None]).float()
    axes = (size[1], size[1] if other_size is None else check.integer("other_size", other_size, 1))
    sums = torch.zeros(2 * len(plan), *grid)  # of the original and of the partner, one after the other
    parts = [(2 * i + (part.source != ORIGINAL), part) for i in range(len(plan)) for part in plan.parts(i)]
    for index, part in parts:
        if not _is_box(part):
            sums[index] += _over_tokens(part, size, axes[index % 2], rows, columns, valid[index // 2])
    boxes = [(index, part) for index, part in parts if _is_box(part)]
    if boxes:
        _add_boxes(sums, boxes, size, axes, rows, columns, valid)
    own, theirs = sums.view(len(plan), 2, *grid).unbind(1)
    return torch.where(own + theirs > 0, own / (own + theirs).clamp(min=1e-12), 1.0)


def _is_box(part: Part) -> bool:
    """Whether a part has one gain between two moments and two frequencies: all boxes of a batch are taken at once."""
    plain = part.warp is None and part.crossfade is None and part.cells is None and not part.loop
    return plain and not part.fade_in and not part.fade_out


def _add_boxes(
    sums: Tensor, boxes: Sequence[tuple[int, Part]], size: Pair, axes: Pair, rows: Tensor, columns: Tensor,
    valid: Tensor,
) -> None:  # fmt: skip
    """Add to sums (2 B, F', T') the mean gains of parts that are boxes, over the valid frames of each token."""
    index = torch.tensor([index for index, _ in boxes])
    edges = []
    for which, part in boxes:
        axis = size[1] if part.fitted else axes[which % 2]
        start, (first, last) = round(part.start * size[1]), (round(edge * axis) for edge in part.piece)
        stop = size[1] if math.isinf(part.stop) else min(round(part.stop * size[1]), size[1])
        edges.append((start, min(start + last - first, stop), *(round(edge * size[0]) for edge in part.band)))
    start, end, low, high = torch.tensor(edges).T[..., None]
    time, bins = torch.arange(size[1]), torch.arange(size[0])
    over_time = ((time >= start) & (time < end)) * valid[index // 2]
    over_bins = ((bins >= low) & (bins < high)).float()
    gains = torch.tensor([part.gain for _, part in boxes])
    found = (over_bins @ rows.T * gains[:, None])[:, :, None] * (over_time @ columns.T)[:, None]
    sums.index_add_(0, index, found)


def _over_tokens(part: Part, size: Pair, axis: int, rows: Tensor, columns: Tensor, valid: Tensor) -> Tensor:
    """Return the mean gain of a part over each token's valid frames, times their share of it; (F', T')."""
    if part.cells is not None and len(part.cells.gains) > 1:
        return rows @ (place(part, torch.ones(size[0], axis), size[1]) * valid) @ columns.T
    over_time = place(replace(part, band=(0.0, 1.0)), torch.ones(1, axis), size[1])[0] * valid
    low, high = (round(edge * size[0]) for edge in part.band)
    return rows[:, low:high].sum(1)[:, None] * (columns @ over_time)


def _pair(name: str, value: object) -> Pair:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        check.fail(name, "two whole numbers, of frequency and of time", repr(value))
    first, second = (check.integer(name, n, 1) for n in value)
    return first, second


def _means(grid: Pair, size: Pair, patch: Pair | None, stride: Pair | None) -> list[Tensor]:
    """Return what takes the mean over each patch, along each axis: weights (F', F) and (T', N) of bins and frames."""
    if patch is None:
        if stride is not None:
            check.fail("stride", "left out without patch=", stride)
        if grid[0] > size[0] or grid[1] > size[1]:
            check.fail("grid", f"at most size {size}", grid, "(frequency, time)?")
        steps = [torch.arange(count + 1) * n for count, n in zip(grid, size)]  # shares of the axis, as whole numbers
        first = [step[:-1] // count for step, count in zip(steps, grid)]
        stop = [-(-step[1:] // count) for step, count in zip(steps, grid)]
    else:
        step = _pair("patch", patch) if stride is None else _pair("stride", stride)
        patch = _pair("patch", patch)
        whole = tuple((n - p) // s + 1 for n, p, s in zip(size, patch, step))
        begun = tuple(max(-(-(n - p) // s) + 1, 1) for n, p, s in zip(size, patch, step))
        if not all(count in pair for count, pair in zip(grid, zip(whole, begun))):
            slip = "time before frequency?" if whole == grid[::-1] else "is size that of the spectrogram?"
            more = "" if begun == whole else f", {begun} where the end is padded"
            check.fail("grid", f"{whole}, by patches {patch} at stride {step}{more}", grid, slip)
        first = [torch.arange(count) * s for count, s in zip(grid, step)]
        stop = [begin + p for begin, p in zip(first, patch)]
    inside = [
        (torch.arange(n) >= begin[:, None]) & (torch.arange(n) < end[:, None])
        for n, begin, end in zip(size, first, stop)
    ]
    return [one / one.sum(1, keepdim=True) for one in inside]


def attention_share(
    plan: Plan,
    attention: Tensor,
    size: Pair,
    *,
    grid: Pair | None = None,
    **tokens: "Unpack[Tokens]",
) -> Tensor:
    """Return the original's share of the attention; (B,), float32 at least, on the device of `attention`.

    Where nothing is attended to it is the plan's weight.

    Parameters
    ----------
    plan : Plan
        Of what the network saw; of one partner a clip.
    attention : Tensor, shape (B, M) or (B, F', T'), floating point
        How much each token is attended to, at least 0: see `class_attention`. Frequency before time.
    size, grid, **tokens
        See `token_shares`; the grid is needed for (B, M). Attention to tokens that begin behind a clip's end does not
        count.

    Raises
    ------
    ValueError
        `attention` is of another size than the grid of tokens, or negative.
    """
    attention = check.batch("attention", check.floating("attention", attention), len(plan)).detach()
    if attention.ndim > 3:
        got = f"shape {tuple(attention.shape)}"
        check.fail("attention", "of shape (B, M) or (B, F', T')", got, "class_attention(...)")
    if attention.ndim == 2 and grid is None:
        check.fail("grid", "given for attention of shape (B, M)", None, "(F', T') with F' T' = M")
    grid = _pair("grid", tuple(attention.shape[1:]) if grid is None else grid)
    if attention[0].numel() != grid[0] * grid[1]:
        got = f"{attention[0].numel()} ({tuple(attention.shape)})"
        slip = "class tokens among them? class_attention(scores, class_tokens=...)"
        check.fail("attention", f"of {grid[0] * grid[1]} tokens a clip, as grid {grid} has", got, slip)
    if attention.is_cpu and not bool(((attention >= 0) & (attention < torch.inf)).all()):  # else the host waits
        got = f"{float(attention.min()):g} to {float(attention.max()):g}"
        check.fail("attention", "at least 0, and finite", got, "scores before their softmax?")
    if plan.label_shares()[0].shape[1] != 1:
        check.fail("plan", "of one partner a clip", f"{plan.label_shares()[0].shape[1]}")
    shares = token_shares(plan, grid, size, **tokens).flatten(1)
    weights = attention.flatten(1).to(torch.promote_types(attention.dtype, torch.float32))
    if tokens.get("lengths") is not None:
        weights = weights * _begun(grid, size, tokens).to(weights)
    area, shares = plan.weight.to(weights), shares.to(weights)
    total = weights.sum(1)
    some = (total > 0) & (total < torch.inf)
    found = torch.where(some, (shares * weights).sum(1) / total.clamp(min=torch.finfo(total.dtype).tiny), area)
    return torch.where(area == 1, 1.0, found).clamp(0, 1)


def _begun(grid: Pair, size: Pair, tokens: Tokens) -> Tensor:
    """Return which tokens begin before their clip ends; (B, F' T'), bool."""
    columns = _means(grid, _pair("size", size), tokens.get("patch"), tokens.get("stride"))[1]
    ends = check.to_tensor("lengths", tokens.get("lengths"), "whole numbers of frames")
    return (columns > 0).long().argmax(1).lt(ends[:, None]).repeat(1, grid[0])


def transmix(
    target: Tensor,
    plan: Plan,
    attention: Tensor,
    size: Pair,
    *,
    ratio: float = 0.5,
    rule: str = "linear",
    num_classes: int | None = None,
    other: Tensor | None = None,
    **tokens: "Unpack[TokenGrid]",
) -> Tensor:
    """Mix clip labels by area and by attention (TransMix).

    Source: Chen et al., "TransMix: Attend to Mix for Vision Transformers", CVPR 2022.
    Label: mixed half by area, half by attention.

    Parameters
    ----------
    target : Tensor, shape (B,) int64, (B, K) or (B, R)
        The targets before they were mixed.
    plan : Plan
        What a mixer drew: of a cut or a mask. Of a sum all tokens have one share, and nothing changes.
    attention : Tensor, shape (B, M) or (B, F', T')
        Of the mixed input; see `attention_share`.
    size : (int, int)
        Bins and frames of the spectrogram that was mixed; (1, T) for waveforms.
    ratio : float
        How much the attention counts.
    rule, num_classes, other
        See `audiomix.targets.labels.mix_labels`.
    **tokens
        ``grid=``, ``patch=``, ``stride=``, ``lengths=``, ``other_size=``: see `token_shares`.

    Returns
    -------
    Tensor, shape (B, K) or (B, R), on the device of `target`.

    See Also
    --------
    audiomix.mixpro : trusts the attention as far as the prediction is right.

    Examples
    --------
    >>> from audiomix import CutMix
    >>> spec, label = torch.randn(4, 1, 8, 20), torch.arange(4)
    >>> mixed = CutMix()(spec, generator=torch.Generator().manual_seed(0))
    >>> attention = torch.rand(4, 2, 5)  # of a network that saw mixed.x
    >>> transmix(label, mixed.plans[0], attention, (8, 20), num_classes=4).sum(1)
    tensor([1., 1., 1., 1.])
    """
    check.fraction("ratio", ratio)
    found = attention_share(plan, attention, size, **tokens)
    weight = (1 - ratio) * plan.weight.to(found) + ratio * found
    return _mix(target, plan, weight, rule, num_classes, other)


def mixpro(
    target: Tensor,
    plan: Plan,
    attention: Tensor,
    logits: Tensor,
    size: Pair,
    *,
    label_smoothing: float = 0.1,
    rule: str = "linear",
    num_classes: int | None = None,
    other: Tensor | None = None,
    **tokens: "Unpack[TokenGrid]",
) -> Tensor:
    """Mix clip labels by attention as far as the prediction agrees with the label by area (MixPro).

    Source: Zhao et al., "MixPro: Data Augmentation with MaskMix and Progressive Attention Labeling for Vision
    Transformer", ICLR 2023.
    Label: mixed by area, and by attention as far as the prediction agrees.

    Parameters
    ----------
    target, plan, attention, size, rule, num_classes, other, **tokens
        See `transmix`.
    logits : Tensor, shape (B, K), floating point
        Of the network on the mixed input. A clip whose logits are not finite (mixed precision may overflow) keeps the
        label by area.
    label_smoothing : float
        Share of the label by area that is spread over all classes before it is compared with the prediction.

    Returns
    -------
    Tensor, shape (B, K), on the device of `target`.

    Raises
    ------
    ValueError
        The logits are of another number of classes than the target.

    See Also
    --------
    audiomix.transmix : half of the label by attention.

    Examples
    --------
    >>> from audiomix import CutMix
    >>> mixed = CutMix()(torch.randn(4, 1, 8, 20), generator=torch.Generator().manual_seed(0))
    >>> attention, logits = torch.rand(4, 2, 5), torch.randn(4, 3)
    >>> mixpro(torch.tensor([0, 1, 2, 0]), mixed.plans[0], attention, logits, (8, 20), num_classes=3).shape
    torch.Size([4, 3])
    """
    check.fraction("label_smoothing", label_smoothing)
    found = attention_share(plan, attention, size, **tokens)
    area = plan.weight.to(found)
    by_area = _mix(target, plan, area, rule, num_classes, other).to(found)
    logits = check.batch("logits", check.floating("logits", logits), len(plan)).detach().to(found)
    if logits.shape != by_area.shape:
        check.fail("logits", f"of shape {tuple(by_area.shape)}, as the target is", f"shape {tuple(logits.shape)}")
    smooth = (1 - label_smoothing) * by_area + label_smoothing / by_area.shape[1]
    trust = F.cosine_similarity(smooth, logits.softmax(1), dim=1).clamp(0, 1).nan_to_num(0.0)
    return _mix(target, plan, torch.lerp(area, found, trust), rule, num_classes, other)


def _mix(
    target: Tensor, plan: Plan, weight: Tensor, rule: str, num_classes: int | None, other: Tensor | None
) -> Tensor:
    """Return the labels by these shares of the original, (B,)."""
    own = to_float("target", target, num_classes)
    if own.ndim != 2:
        check.fail("target", "of whole clips, (B,) or (B, K)", f"shape {tuple(target.shape)}")
    source = own if other is None else to_float("other_target", other, num_classes)
    check.batch("target", own, len(plan))
    if own.shape[1:] != source.shape[1:]:
        check.fail("other_target", f"of shape (M, {own.shape[1]}), as target is", tuple(source.shape))
    partner = plan.partner.to(own.device, non_blocking=True)
    weight = weight.to(own.device)[:, None].double()
    return apply_rule([own, source[partner]], [weight, 1 - weight], rule)
