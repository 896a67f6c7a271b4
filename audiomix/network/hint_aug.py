r"""Hint-Aug: patches that a tuned transformer overfits on are moved a little towards the class it takes them for.

.. math:: g_k = \frac{a^t_k}{\|a^t\|} - \frac{a^s_k}{\|a^s\|}, \qquad
          x' = x - \epsilon \, M \odot \operatorname{sign} \nabla_x H(q_y, f(x))

A pretrained transformer t attends to the patches of a clip by a^t, the one that is being tuned on few clips by a^s.
Where the two differ by much the patches that s neglects most are in the mask M, else those that it attends to most. q_y
says which other classes the pretrained network takes class y for. A second cross-entropy, of x' with the true label,
is added to that of x: for AST, AudioMAE, BEATs and other audio transformers.

The paper was read as its code. Unlike it: what is compared is normalised over the patches of a clip, and each clip is
compared by itself. The code normalises over the queries, so that no difference can be above the inverse root of their
number, 0.07 for 197 tokens, and its threshold of 0.7 is never reached. And its step goes up the cross-entropy, away
from the soft label; here it goes towards the class that is confused, as the paper's text has it [ours].
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .. import check
from ..targets.attention import class_attention
from ..targets.labels import to_float

__all__ = ["HintAug", "Overfitting", "class_confusion", "find_overfitting", "infuse_patches"]

Pair = tuple[int, int]


class Overfitting(NamedTuple):
    """What `find_overfitting` returns."""

    patches: Tensor  # (B, P), int64: which patches, the first the most important
    gap: Tensor  # (B,): the largest difference of attention, in [0, 1]
    found: Tensor  # (B,), bool: where it is above the threshold


def find_overfitting(
    teacher: Tensor, student: Tensor, count: int = 2, *, threshold: float = 0.1, class_tokens: int = 1
) -> Overfitting:
    """Return the patches that a tuned transformer neglects, where its attention has moved; else those it attends to.

    Source: Yu et al., "Hint-Aug: Drawing Hints from Foundation Vision Transformers towards Boosted Few-Shot
    Parameter-Efficient Tuning", CVPR 2023; normalised and compared as ours, see `audiomix.network.hint_aug`.

    Parameters
    ----------
    teacher, student : Tensor, shape (B, H, Q, Q) or (B, Q, Q), floating point
        Attention of one block behind its softmax, of H heads; rows are queries. Of the pretrained network, and of the
        same network while it is tuned.
    count : int
        Patches P of each clip.
    threshold : float
        A clip whose largest difference is above it is overfitted on. The vectors that are compared have length 1.
    class_tokens : int
        Tokens in front that are no patches.

    Raises
    ------
    ValueError, TypeError
        Attention of different shape, or fewer patches than are asked for.

    Examples
    --------
    >>> teacher, student = torch.tensor([[0.2, 0.6, 0.1, 0.1]]), torch.tensor([[0.1, 0.1, 0.1, 0.7]])
    >>> found = find_overfitting(teacher.expand(1, 4, 4), student.expand(1, 4, 4), 1)
    >>> found.patches.tolist(), found.found.tolist()
    ([[0]], [True])
    """
    if check.tensor("student", student).shape != check.tensor("teacher", teacher).shape:
        check.fail("student", f"of shape {tuple(teacher.shape)}, as the teacher's attention", tuple(student.shape))
    first = check.integer("class_tokens", class_tokens, 0)
    # the mean over all heads and all queries, class tokens among them
    theirs, ours = (class_attention(scores, 0)[:, first:].float() for scores in (teacher, student))
    size = ours.shape[1]
    if not 0 < check.integer("count", count, 1) <= size:
        check.fail("count", f"at most the {size} patches", count)
    gap = _unit(theirs) - _unit(ours)
    largest = gap.abs().amax(1)
    found = largest > check.number("threshold", threshold, 0)
    order = torch.where(found[:, None], gap, ours).argsort(dim=1, descending=True, stable=True)
    return Overfitting(order[:, :count], largest, found)


def class_confusion(logits: Tensor, labels: Tensor) -> Tensor:
    """Return which other classes a network takes the clips of each class for; (K, K), rows sum to 1, 0 on the diagonal.

    Source: Yu et al., "Hint-Aug: Drawing Hints from Foundation Vision Transformers towards Boosted Few-Shot
    Parameter-Efficient Tuning", CVPR 2023.

    Parameters
    ----------
    logits : Tensor, shape (N, K), floating point
        Of the pretrained network, with a head for the task, on the training clips.
    labels : Tensor, shape (N,), int64
        True classes. The row of a class without clips is equal for all others.

    Raises
    ------
    ValueError, TypeError
        Sizes that do not fit.

    Examples
    --------
    >>> class_confusion(torch.tensor([[9.0, 1.0, 1.0], [1.0986, 4.0, 0.0]]), torch.tensor([0, 1]))
    tensor([[0.0000, 0.5000, 0.5000],
            [0.7500, 0.0000, 0.2500],
            [0.5000, 0.5000, 0.0000]])
    """
    if check.floating("logits", logits).ndim != 2 or logits.shape[1] < 2:
        check.fail("logits", "of shape (N, K), two classes or more", tuple(logits.shape))
    classes = logits.shape[1]
    one_hot = to_float("labels", check.batch("labels", labels, len(logits), ndim=1), classes).to(logits.device).float()
    said = logits.detach().float().softmax(1).masked_fill(one_hot > 0, 0)
    rows = one_hot.T @ said
    total = rows.sum(1, keepdim=True)
    others = (1 - torch.eye(classes, device=rows.device)) / (classes - 1)
    return torch.where(total > 0, rows / total.clamp(min=torch.finfo(rows.dtype).tiny), others)


def infuse_patches(
    network: Callable[[Tensor], Tensor],
    x: Tensor,
    toward: Tensor,
    patches: Tensor,
    *,
    patch: Pair,
    stride: Pair | None = None,
    limit: float = 0.1,
    steps: int = 1,
    lengths: Tensor | None = None,
) -> Tensor:
    """Return spectrograms whose patches are moved so that a network sees a little more of other classes in them.

    Source: Yu et al., "Hint-Aug: Drawing Hints from Foundation Vision Transformers towards Boosted Few-Shot
    Parameter-Efficient Tuning", CVPR 2023; the direction as ours, see `audiomix.network.hint_aug`.

    Parameters
    ----------
    network : callable
        Spectrograms to logits (B, K). A module is in ``eval()`` meanwhile, so that no running statistics move; its
        parameters get no gradient.
    x : Tensor, shape (B, ..., F, N), floating point
        Log spectrograms. Left unchanged. A gradient that reaches the result goes on to them; what is added is constant.
    toward : Tensor, shape (B,) class ids, or (B, K)
        What is to be seen: ``class_confusion(...)[label]``.
    patches : Tensor, shape (B, P), int64
        Which, counted as a convolution that embeds them does: frequency by frequency.
    patch, stride : (int, int)
        Bins and frames of a patch, and from one to the next; without a stride patches touch. AST: 16 and 10.
    limit : float
        Largest change, in the unit of `x`.
    steps : int
        Steps of the gradient's sign, of ``limit / steps`` each.
    lengths : Tensor, shape (B,), optional
        Valid frames: padding is not changed.

    Raises
    ------
    ValueError, TypeError
        Patches that are not there, or another wrong argument.

    Examples
    --------
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(32, 3))
    >>> x = torch.zeros(1, 1, 4, 8)
    >>> moved = infuse_patches(network, x, torch.tensor([2]), torch.tensor([[1]]), patch=(4, 2), limit=0.5)
    >>> moved[0, 0, 0].abs().tolist()
    [0.0, 0.0, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0]
    """
    check.number("limit", limit, 0)
    check.integer("steps", steps, 1)
    mask = _mask(x, patches, patch, patch if stride is None else stride)
    if lengths is not None:
        ends = check.lengths("lengths", lengths, x).to(x.device)
        mask = mask & (torch.arange(x.shape[-1], device=x.device) < ends.view(-1, *[1] * (x.ndim - 1)))
    change = torch.zeros_like(x, memory_format=torch.contiguous_format).requires_grad_(False)
    base = x.detach()
    modes = [(m, m.training) for m in network.modules()] if isinstance(network, nn.Module) else []
    try:
        for module, _ in modes:
            module.training = False
        for _ in range(steps):
            with torch.enable_grad():
                delta = change.detach().requires_grad_()
                logits = network(base + delta)
                check.batch("the network's output", logits, len(x))
                if logits.ndim != 2:
                    check.fail("the network's output", "logits (B, K)", tuple(logits.shape))
                wanted = to_float("toward", toward, logits.shape[1]).to(logits.device, torch.float32)
                if wanted.shape != logits.shape:
                    check.fail("toward", f"(B,) class ids or {tuple(logits.shape)}", tuple(toward.shape))
                # a sum: the clips do not know of each other
                loss = -(wanted * logits.float().log_softmax(1)).sum()
                (gradient,) = torch.autograd.grad(loss, delta)
            change = change - torch.where(mask, gradient.sign() * (limit / steps), 0)
    finally:
        for module, mode in modes:
            module.training = mode
    return x + change.to(x.dtype)


class HintAug(nn.Module):
    """Move the patches that a tuned transformer overfits on towards the classes that they are confused with.

    Source: Yu et al., "Hint-Aug: Drawing Hints from Foundation Vision Transformers towards Boosted Few-Shot
    Parameter-Efficient Tuning", CVPR 2023; what is unlike its code: `audiomix.network.hint_aug`.
    Label: kept.

    Parameters
    ----------
    patch, stride : (int, int)
        See `infuse_patches`.
    count : int
        Patches of each clip.
    limit, steps
        See `infuse_patches`.
    threshold, class_tokens
        See `find_overfitting`.

    Notes
    -----
    In ``eval()`` it returns what it gets. It is called with the network that is tuned: nothing is held between calls.

    Examples
    --------
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))  # in place of a transformer
    >>> x, label = torch.randn(2, 1, 8, 8), torch.tensor([0, 2])
    >>> teacher, student = torch.rand(2, 2, 5, 5), torch.rand(2, 2, 5, 5)  # attention of one of its blocks
    >>> confusion = class_confusion(network(x), label)  # once, of the pretrained network on all training clips
    >>> moved = HintAug((4, 4))(network, x, label, teacher=teacher, student=student, confusion=confusion)
    >>> loss = sum(nn.functional.cross_entropy(network(both), label) for both in (x, moved))
    >>> moved.shape
    torch.Size([2, 1, 8, 8])
    """

    def __init__(
        self,
        patch: Pair,
        stride: Pair | None = None,
        *,
        count: int = 2,
        limit: float = 0.1,
        steps: int = 1,
        threshold: float = 0.1,
        class_tokens: int = 1,
    ) -> None:
        super().__init__()
        self.patch = _pair("patch", patch)
        self.stride = None if stride is None else _pair("stride", stride)
        self.count, self.steps = check.integer("count", count, 1), check.integer("steps", steps, 1)
        self.limit, self.threshold = check.number("limit", limit, 0), check.number("threshold", threshold, 0)
        self.class_tokens = check.integer("class_tokens", class_tokens, 0)

    def forward(
        self,
        network: Callable[[Tensor], Tensor],
        x: Tensor,
        label: Tensor,
        *,
        teacher: Tensor,
        student: Tensor,
        confusion: Tensor,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """Return the spectrograms with their patches moved.

        Parameters
        ----------
        network, x, lengths
            See `infuse_patches`.
        label : Tensor, shape (B,), int64
            True classes.
        teacher, student : Tensor
            Attention to the patches of `x`; see `find_overfitting`.
        confusion : Tensor, shape (K, K)
            See `class_confusion`.

        Returns
        -------
        Tensor, shape of x

        Raises
        ------
        ValueError, TypeError
            Labels that are no classes of `confusion`, or what `find_overfitting` and `infuse_patches` refuse.
        """
        if not self.training:
            return x
        found = find_overfitting(
            teacher, student, self.count, threshold=self.threshold, class_tokens=self.class_tokens
        )
        if check.batch("label", label, len(x), ndim=1).ndim != 1 or label.is_floating_point():
            check.fail("label", "class ids (B,)", f"{label.dtype} of shape {tuple(label.shape)}", "mixed? not yet")
        if check.floating("confusion", confusion).ndim != 2 or confusion.shape[0] != confusion.shape[1]:
            check.fail("confusion", "of shape (K, K), a row for each class", tuple(confusion.shape))
        if len(label) and not 0 <= int(label.min()) <= int(label.max()) < len(confusion):
            got = f"{int(label.min())}..{int(label.max())}"
            check.fail("label", f"in 0..{len(confusion) - 1}, the classes of confusion", got, "clips without a label?")
        toward = confusion.to(x.device)[label.to(x.device)]
        how = {"limit": self.limit, "steps": self.steps, "lengths": lengths}
        return infuse_patches(network, x, toward, found.patches, patch=self.patch, stride=self.stride, **how)  # type: ignore[arg-type]

    def extra_repr(self) -> str:
        """Return the options."""
        return f"patch={self.patch}, stride={self.stride}, count={self.count}, limit={self.limit}, steps={self.steps}"


def _unit(attention: Tensor) -> Tensor:
    size = torch.linalg.vector_norm(attention, dim=1, keepdim=True)
    return attention / size.clamp(min=torch.finfo(attention.dtype).tiny)


def _pair(name: str, value: Pair) -> Pair:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        check.fail(name, "two whole numbers, of bins and of frames", repr(value))
    return check.integer(name, value[0], 1), check.integer(name, value[1], 1)


def _mask(x: Tensor, patches: Tensor, patch: Pair, stride: Pair) -> Tensor:
    """Return which bins and frames lie in the patches; bool, (B, 1, ..., F, N)."""
    if check.floating("x", x).ndim < 3:
        check.fail("x", "spectrograms (B, ..., F, N)", f"shape {tuple(x.shape)}", "a waveform? take its LogMel first")
    (high, wide), (up, on) = _pair("patch", patch), _pair("stride", stride)
    bins, frames = x.shape[-2:]
    if high > bins or wide > frames:
        check.fail("patch", f"within the {bins} bins and {frames} frames of x", patch)
    rows, columns = (bins - high) // up + 1, (frames - wide) // on + 1
    if check.batch("patches", patches, len(x)).ndim != 2 or patches.is_floating_point():
        check.fail("patches", "int64 of shape (B, P)", f"{patches.dtype} of shape {tuple(patches.shape)}")
    if patches.numel() and not 0 <= int(patches.min()) <= int(patches.max()) < rows * columns:
        got = f"{int(patches.min())}..{int(patches.max())}"
        slip = "class tokens among them? other patch or stride?"
        check.fail("patches", f"in 0..{rows * columns - 1}, of a grid of {rows} by {columns}", got, slip)
    patches = patches.to(x.device)
    low, start = patches // columns * up, patches % columns * on  # (B, P)
    bin_, frame = torch.arange(bins, device=x.device), torch.arange(frames, device=x.device)
    in_rows = (bin_ >= low[..., None]) & (bin_ < low[..., None] + high)  # (B, P, F)
    in_columns = (frame >= start[..., None]) & (frame < start[..., None] + wide)
    mask = (in_rows[..., :, None] & in_columns[..., None, :]).any(1)
    return mask.view(len(x), *[1] * (x.ndim - 3), bins, frames)
