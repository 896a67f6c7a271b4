r"""Cross-entropies of mixed labels, in float32 at least.

.. math:: H(\tilde y, z) = -\sum_k \tilde y_k \log \mathrm{softmax}(z)_k
          = w H(y, z) + (1 - w) H(y_p, z)

The binary one is linear in the target too. Streams (B, K, N) of frames count the valid frames of all clips alike.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from .. import check
from ..targets.labels import to_float
from ._inputs import label_mean, wide

__all__ = ["mixed_binary_cross_entropy", "mixed_cross_entropy"]


def mixed_cross_entropy(
    logits: Tensor, target: Tensor, *, lengths: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """Return the cross-entropy of mixed labels of one class a clip; mean over clips or valid frames.

    Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018.

    Parameters
    ----------
    logits : Tensor, shape (B, K) or (B, K, N), floating point
        Of the network.
    target : Tensor, shape of the logits, or (B,) class ids
        What a mixer returns: shares of the classes.
    lengths : Tensor, shape (B,), optional
        Valid frames of (B, K, N); what lies behind counts for nothing.
    label_smoothing : float
        Share of the target that all classes have alike, in [0, 1].

    Returns
    -------
    Tensor, scalar
        In float32 at least; 0 where no frame is valid.

    Raises
    ------
    ValueError, TypeError
        A target that does not fit the logits, or another wrong argument.

    See Also
    --------
    mixed_binary_cross_entropy : for clips of several classes, or of none.

    Examples
    --------
    >>> mixed_cross_entropy(torch.zeros(1, 4), torch.tensor([[0.75, 0.25, 0.0, 0.0]]))  # log 4
    tensor(1.3863)
    """
    z, labels, weights = _prepare(logits, target, lengths)
    smoothing = check.fraction("label_smoothing", label_smoothing)
    labels = (1 - smoothing) * labels + smoothing / z.shape[1]
    return _mean(label_mean(labels, -z.log_softmax(1)), weights)


def mixed_binary_cross_entropy(
    logits: Tensor, target: Tensor, *, lengths: Tensor | None = None, pos_weight: Tensor | None = None
) -> Tensor:
    """Return the binary cross-entropy of mixed labels of any number of classes a clip; mean over classes too.

    Source: Kong et al., "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern Recognition", TASLP
    2020.

    Parameters
    ----------
    logits : Tensor, shape (B, K) or (B, K, N), floating point
        Of the network.
    target : Tensor, shape of the logits
        What a mixer returns, in [0, 1].
    lengths : Tensor, shape (B,), optional
        Valid frames of (B, K, N); what lies behind counts for nothing.
    pos_weight : Tensor, shape (K,), optional
        Weight of what is there against what is not, by class.

    Returns
    -------
    Tensor, scalar
        In float32 at least; 0 where no frame is valid.

    Raises
    ------
    ValueError, TypeError
        A target that does not fit the logits, or another wrong argument.

    Examples
    --------
    >>> mixed_binary_cross_entropy(torch.zeros(1, 4), torch.tensor([[1.0, 0.5, 0.0, 0.0]]))  # log 2
    tensor(0.6931)
    """
    z, labels, weights = _prepare(logits, target, lengths)
    if pos_weight is not None:
        pos_weight = check.tensor("pos_weight", pos_weight).to(z)
        if pos_weight.shape != z.shape[1:2]:
            check.fail("pos_weight", f"of shape ({z.shape[1]},)", tuple(pos_weight.shape))
        pos_weight = pos_weight.view(-1, *[1] * (z.ndim - 2))
    each = F.binary_cross_entropy_with_logits(z, labels, reduction="none", pos_weight=pos_weight).mean(1)
    return _mean(each, weights)


def _prepare(logits: Tensor, target: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return logits and labels in float32 at least, and which frames are valid, (B, N)."""
    check.batch("logits", check.floating("logits", logits))
    if logits.ndim not in (2, 3):
        check.fail("logits", "of shape (B, K) or (B, K, N)", tuple(logits.shape))
    z = logits.to(wide(logits))
    labels = to_float("target", target, logits.shape[1]).to(z)
    if labels.shape != z.shape:
        slip = "frames are the last axis: logits.transpose(1, 2)" if z.ndim == 3 else ""
        check.fail("target", f"of shape {tuple(z.shape)}, as the logits are", tuple(labels.shape), slip)
    if lengths is None:
        return z, labels, None
    if z.ndim == 2:
        check.fail("lengths", "given with logits (B, K, N)", "beside logits (B, K), which have no frames")
    valid = check.lengths("lengths", lengths, z).to(z.device)
    inside = torch.arange(z.shape[2], device=z.device) < valid[:, None]
    # a number that is not finite behind the end would spoil the gradient though it has no weight
    return z.masked_fill(~inside[:, None], 0), labels.masked_fill(~inside[:, None], 0), inside.to(z)


def _mean(each: Tensor, weights: Tensor | None) -> Tensor:
    return each.mean() if weights is None else (each * weights).sum() / weights.sum().clamp(min=1)
