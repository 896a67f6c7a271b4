r"""The loss of stream mixing: the task on both streams, and agreement between them.

.. math:: L = w_m H(y, p_m) + w_v H(y, p_v) + w_c \tfrac{1}{2}
          \left[\mathrm{KL}(p_v \| p_m) + \mathrm{KL}(p_m \| p_v)\right]

p_m and p_v are predictions on the mixed stream and on the picture alone. Fang et al., "STEMM: Self-learning with
Speech-text Manifold Mixup for Speech Translation", ACL 2022, for speech and text (all weights 1, label smoothing 0.1).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import check
from ..arguments import Recorded, copy_type
from ..schedule import Schedule

__all__ = ["StreamLoss", "StreamTerms", "stream_loss", "symmetric_kl"]

Task = Callable[[Tensor, Any, Tensor | None], Tensor]


class StreamTerms(NamedTuple):
    """The terms of a `StreamLoss`, each with its weight; scalars."""

    mixed: Tensor
    picture: Tensor
    consistency: Tensor

    @property
    def total(self) -> Tensor:
        """Their sum: what is minimised."""
        return self.mixed + self.picture + self.consistency


def symmetric_kl(a: Tensor, b: Tensor, lengths: Tensor | None = None) -> Tensor:
    r"""Return half of KL both ways between two predictions, averaged over all valid frames.

    .. math:: \tfrac{1}{2}\left[\mathrm{KL}(p \| q) + \mathrm{KL}(q \| p)\right]
              = \tfrac{1}{2} \sum_k (p_k - q_k)(\log p_k - \log q_k)

    Parameters
    ----------
    a, b : Tensor, shape (B, K) or (B, N, K), floating point
        Logits. A class that is ruled out by -inf in both counts for nothing.
    lengths : Tensor, shape (B,), optional
        Valid frames of (B, N, K); what lies behind counts for nothing, and gets no gradient.

    Returns
    -------
    Tensor, scalar
        In float32 at least; 0 where no frame is valid.

    Raises
    ------
    ValueError, TypeError
        Logits of different shape, of one class, or `lengths` that do not fit.

    Examples
    --------
    >>> p, q = torch.tensor([[0.75, 0.25]]), torch.tensor([[0.25, 0.75]])
    >>> symmetric_kl(p.log(), q.log())  # 0.5 log 3
    tensor(0.5493)
    """
    weight = _frames(a, b, lengths)
    p, q = _log_softmax(a, weight), _log_softmax(b, weight)
    ruled_out = (p == -torch.inf) & (q == -torch.inf)
    gap = p.masked_fill(ruled_out, 0) - q.masked_fill(ruled_out, 0)
    return _mean(0.5 * ((p.exp() - q.exp()) * gap).sum(-1), weight)


class StreamLoss(Recorded, nn.Module):
    """Task loss on the mixed stream and on the picture, and their consistency.

    Source: ours, after Cheng et al., "MixSpeech: Cross-Modality Self-Learning with Audio-Visual Stream Mixup for Visual
    Speech Translation and Recognition", ICCV 2023.

    Parameters
    ----------
    mixed, picture : float or schedule
        Weights of the task loss on the two streams.
    consistency : float or schedule
        Weight of `symmetric_kl`.
    label_smoothing : float
        Share of each label that is spread over all classes, for the cross-entropy (0.1 in STEMM).
    detach : str, optional
        The side that the consistency leaves alone: with ``mixed`` the mixed stream teaches the picture, with
        ``picture`` the reverse. None: gradients go to both, as in STEMM.
    task : callable, optional
        ``task(logits, target, lengths) -> scalar`` instead of the cross-entropy, e.g. CTC; `target` and `lengths` are
        handed on as they are.

    Raises
    ------
    ValueError, TypeError
        A wrong option.

    Examples
    --------
    >>> loss = StreamLoss(consistency="linear:0:1")
    >>> logits = torch.tensor([[0.0, 0.0]])
    >>> terms = loss(logits, logits, torch.tensor([1]), progress=0.5)
    >>> terms
    StreamTerms(mixed=tensor(0.6931), picture=tensor(0.6931), consistency=tensor(0.))
    >>> terms.total
    tensor(1.3863)

    With CTC, tokens and their lengths as the target:

    >>> def ctc(logits, target, lengths):
    ...     tokens, sizes = target
    ...     return torch.nn.functional.ctc_loss(logits.log_softmax(-1).transpose(0, 1), tokens, lengths, sizes)
    >>> a, b = torch.zeros(2, 6, 5), torch.zeros(2, 6, 5)
    >>> target = torch.tensor([[1, 2], [3, 4]]), torch.tensor([2, 2])
    >>> StreamLoss(task=ctc)(a, b, target, lengths=torch.tensor([6, 5])).consistency
    tensor(0.)
    """

    def __init__(
        self,
        *,
        mixed: float | str | Schedule = 1.0,
        picture: float | str | Schedule = 1.0,
        consistency: float | str | Schedule = 1.0,
        label_smoothing: float = 0.0,
        detach: Literal["mixed", "picture"] | None = None,
        task: Task | None = None,
    ) -> None:
        super().__init__()
        self.mixed = Schedule.of(mixed, "mixed").within("mixed", 0)
        self.picture = Schedule.of(picture, "picture").within("picture", 0)
        self.consistency = Schedule.of(consistency, "consistency").within("consistency", 0)
        self.label_smoothing = check.fraction("label_smoothing", label_smoothing)
        self.detach = None if detach is None else check.choice("detach", detach, ["mixed", "picture"])
        if task is not None and not callable(task):
            check.fail("task", "a function of logits, target and lengths", type(task).__name__, error=TypeError)
        if task is not None and label_smoothing:
            slip = "smoothing is of the cross-entropy: do it in the task"
            check.fail("label_smoothing", "0 with a task of your own", f"{label_smoothing:g}", slip)
        self.task = task

    def forward(
        self, mixed: Tensor, picture: Tensor, target: Any, *, lengths: Tensor | None = None, progress: float = 0.0
    ) -> StreamTerms:
        """Return the terms, each with its weight.

        Parameters
        ----------
        mixed, picture : Tensor, shape (B, K) or (B, N, K), floating point
            Logits on the mixed stream and on the picture alone.
        target : Tensor
            Class ids (B,) or (B, N), or labels of the shape of the logits; anything that `task` takes.
        lengths : Tensor, shape (B,), optional
            Valid frames of (B, N, K).
        progress : float
            Fraction of the training in [0, 1], for schedules.

        Returns
        -------
        StreamTerms
            ``mixed``, ``picture`` and ``consistency``, means over all valid frames; ``total`` is their sum. A term of
            weight 0 is not computed.

        Raises
        ------
        ValueError, TypeError
            Shapes that do not fit, or class ids out of range.
        """
        weight = _frames(mixed, picture, lengths)
        if self.task is None:
            target = _labels(target, mixed, weight)
        zero = mixed.new_zeros((), dtype=_wide(mixed))
        w_mixed, w_picture, w_both = (s(progress) for s in (self.mixed, self.picture, self.consistency))
        a = mixed.detach() if self.detach == "mixed" else mixed
        b = picture.detach() if self.detach == "picture" else picture
        return StreamTerms(
            w_mixed * self._task(mixed, target, lengths, weight) if w_mixed else zero,
            w_picture * self._task(picture, target, lengths, weight) if w_picture else zero,
            w_both * symmetric_kl(a, b, lengths) if w_both else zero,
        )

    if TYPE_CHECKING:

        @copy_type(forward)
        def __call__(self) -> Any:
            """See `forward`."""

    def _task(self, logits: Tensor, target: Any, lengths: Tensor | None, weight: Tensor | None) -> Tensor:
        if self.task is not None:
            return self.task(logits, target, lengths)
        return _cross_entropy(logits, target, weight, self.label_smoothing)


def stream_loss(
    mixed: Tensor,
    picture: Tensor,
    target: Any,
    *,
    lengths: Tensor | None = None,
    progress: float = 0.0,
    **options: Any,
) -> StreamTerms:
    """Return the terms of a `StreamLoss` made of `options`; arguments as for its call.

    Weights of the streams are options of `StreamLoss`, not of this function, whose `mixed` and `picture` are logits.

    Examples
    --------
    >>> stream_loss(torch.zeros(1, 4), torch.zeros(1, 4), torch.tensor([3]), label_smoothing=0.1).mixed
    tensor(1.3863)
    """
    return StreamLoss(**options)(mixed, picture, target, lengths=lengths, progress=progress)


def _wide(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _frames(a: Tensor, b: Tensor, lengths: Tensor | None) -> Tensor | None:
    """Check two sets of logits; return which frames are valid, bool (B, N), or None."""
    for name, logits in (("mixed", a), ("picture", b)):
        check.batch(name, check.floating(name, logits))
        if logits.ndim > 3:
            check.fail(name, "logits (B, K) or (B, N, K)", f"shape {tuple(logits.shape)}")
    if a.shape != b.shape:
        check.fail("picture", f"of shape {tuple(a.shape)}, as the mixed stream's logits are", tuple(b.shape))
    if a.shape[-1] == 1:
        check.fail("mixed", "logits of at least 2 classes", "1", "one logit says nothing under softmax: give two")
    if lengths is None:
        return None
    if a.ndim != 3:
        check.fail("lengths", "left out for logits (B, K)", "given", "frames are pooled already")
    valid = check.lengths("lengths", lengths, a.transpose(1, 2))
    return (torch.arange(a.shape[1]) < valid[:, None]).to(a.device)


def _labels(target: Any, logits: Tensor, weight: Tensor | None) -> Tensor:
    """Check class ids or labels for the cross-entropy; ids behind the valid frames become 0."""
    target = check.tensor("target", target)
    if target.is_floating_point():
        if target.shape != logits.shape:
            slip = "frame labels (B, K, N)? transpose(1, 2)" if target.ndim == logits.ndim == 3 else ""
            check.fail("target", f"labels of shape {tuple(logits.shape)}, as the logits", tuple(target.shape), slip)
        return target
    if target.shape != logits.shape[:-1]:
        slip = "one label for all frames? pool the logits first" if logits.ndim == 3 and target.ndim == 1 else ""
        check.fail("target", f"class ids of shape {tuple(logits.shape[:-1])}", tuple(target.shape), slip)
    ids = target.long() if weight is None else target.long().masked_fill(~weight, 0)
    if ids.device.type == "cpu" and not 0 <= int(ids.min()) <= int(ids.max()) < logits.shape[-1]:
        slip = "padding? pass lengths=" if weight is None else ""
        check.fail("target", f"class ids in 0..{logits.shape[-1] - 1}", f"{int(ids.min())}..{int(ids.max())}", slip)
    return ids


def _log_softmax(logits: Tensor, weight: Tensor | None) -> Tensor:
    """Return log-probabilities, in float32 at least; uniform behind the valid frames, whatever stands there."""
    if weight is not None:
        logits = logits.masked_fill(~weight[..., None], 0)
    return F.log_softmax(logits, -1, dtype=_wide(logits))


def _cross_entropy(logits: Tensor, target: Tensor, weight: Tensor | None, smoothing: float) -> Tensor:
    log_p = _log_softmax(logits, weight)
    if target.is_floating_point():
        share = (1 - smoothing) * target.to(log_p.dtype) + smoothing / log_p.shape[-1]
        surprise = -(share * log_p).masked_fill(share == 0, 0).sum(-1)  # a class ruled out by -inf and not asked for
    else:
        surprise = -log_p.gather(-1, target[..., None])[..., 0]
        if smoothing:
            surprise = (1 - smoothing) * surprise - smoothing * log_p.mean(-1)
    return _mean(surprise, weight)


def _mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """Return the mean over the valid frames of all clips; 0 where there are none."""
    if weight is None:
        return values.mean()
    return values.masked_fill(~weight, 0).sum() / weight.sum().clamp(min=1)
