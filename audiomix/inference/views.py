r"""Averages over augmented views, of those clips alone that the network is unsure of.

.. math:: p = \frac{1}{V + 1} \left( p(x) + \sum_v p(x_v) \right) \text{ where }
          -\sum_k p_k(x) \log p_k(x) > h, \quad \text{else } p(x)

The paper averages logits; the mean of logits is not that of probabilities: of (4, 0) and (-1, 0) the first gives 0.82,
the second 0.63. h comes from validation clips, never from what is reported: `entropy_threshold`.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from .. import check

__all__ = ["Prediction", "entropy_threshold", "predict_with_views"]

Average = Literal["probabilities", "logits"]


class Prediction(NamedTuple):
    """What `predict_with_views` returns."""

    probabilities: Tensor  # (B, K)
    averaged: Tensor  # (B,), bool: which clips the views were asked for


def entropy(logits: Tensor) -> Tensor:
    """Return the entropy of predictions in nats, (B,); 0 log 0 is 0."""
    log_p = logits.log_softmax(1)
    p = log_p.exp()
    return -torch.where(p == 0, 0.0, p * log_p).sum(1)


def entropy_threshold(logits: Tensor, share: float = 0.5) -> float:
    """Return the entropy that a share of the clips is above, in nats.

    Source: O'Brien et al., "Improving Black-box Robustness with In-Context Rewriting", 2024 (entropy-gated test-time
    augmentation); there chosen on test labels, here without labels.

    Parameters
    ----------
    logits : Tensor, shape (N, K), floating point
        Of the network on validation clips.
    share : float
        Of the clips for which views are to be asked for, in [0, 1].

    Raises
    ------
    ValueError, TypeError
        Logits of another shape, or not finite.

    Examples
    --------
    >>> logits = torch.tensor([[9.0, 0.0], [2.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    >>> found = entropy_threshold(logits, 0.5)
    >>> bool(entropy(logits)[1] <= found < entropy(logits)[2])
    True
    """
    check.batch("logits", check.finite("logits", check.floating("logits", logits)))
    if logits.ndim != 2:
        check.fail("logits", "of shape (N, K)", tuple(logits.shape))
    found = entropy(logits.double()).sort(descending=True).values
    count = round(check.fraction("share", share) * len(found))
    return float(found[count]) if count < len(found) else -1.0


def predict_with_views(
    network: Callable[[Tensor], Tensor],
    x: Tensor,
    views: Sequence[Callable[[Tensor], Tensor]],
    *,
    threshold: float,
    average: Average = "probabilities",
) -> Prediction:
    """Return the predictions of a network, averaged over views of the clips that it is unsure of.

    Source: O'Brien et al., "Improving Black-box Robustness with In-Context Rewriting", 2024 (entropy-gated test-time
    augmentation), with views of sound.

    Parameters
    ----------
    network : callable
        Clips (B, ...) to logits (B, K), in evaluation.
    x : Tensor, shape (B, ...)
        Clips.
    views : sequence of callable
        Each changes clips and keeps their label, such as a gain of some decibels, a shift, a little noise.
    threshold : float
        Entropy in nats above which views are asked for; infinity for none, below 0 for all.
    average : str
        Of ``probabilities``, or of ``logits`` as in the paper.

    Raises
    ------
    ValueError
        No view, one that gives more or fewer clips, or another wrong argument.

    Examples
    --------
    >>> network = lambda x: torch.stack([x.mean(1), torch.zeros(len(x))], 1)
    >>> clips = torch.tensor([[9.0, 9.0], [0.5, 0.5]])
    >>> found = predict_with_views(network, clips, [lambda x: -x], threshold=0.5)
    >>> found.averaged.tolist(), found.probabilities[1].tolist()
    ([False, True], [0.5, 0.5])
    """
    if not views:
        check.fail("views", "one view or more", "none")
    check.choice("average", average, ["probabilities", "logits"])
    if threshold != threshold:
        check.fail("threshold", "an entropy in nats", threshold)
    with torch.no_grad():
        logits = network(x)
        check.batch("the network's output", logits, len(x))
        if logits.ndim != 2:
            check.fail("the network's output", "logits (B, K)", tuple(logits.shape), "of frames? pool them first")
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        probabilities, unsure = logits.softmax(1), entropy(logits) > threshold
        if bool(unsure.any()):
            some = x[unsure.to(x.device)]
            outputs = [logits[unsure], *(network(view(some)).to(logits) for view in views)]
            for output in outputs:
                if output.shape != outputs[0].shape:
                    expected = f"to give {tuple(outputs[0].shape)} logits, as the clips do"
                    check.fail("views", expected, tuple(output.shape), "a view that drops clips?")
            found = torch.stack(outputs)
            mean = found.softmax(2).mean(0) if average == "probabilities" else found.mean(0).softmax(1)
            probabilities = probabilities.index_put((unsure.nonzero()[:, 0],), mean)
    return Prediction(probabilities, unsure)
