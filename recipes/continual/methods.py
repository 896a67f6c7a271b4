r"""The losses of a step, by method: what is mixed, and what is kept of the network before.

``plain``    cross-entropy on the clips of the task and on those of the memory (experience replay)
``dualmix``  EnMix of all clips, AdpMix of the memory with the task [Fan et al., "DualMix: Unleashing the Potential of
             Data Augmentation for Online Class-Incremental Learning", 2023; read as an abstract, its formulas are ours]
``wa``       distillation from the network before, weights of the last layer that are not negative, and rows of new
             classes as long as those of old ones at the end of each task [Zhao et al., "Maintaining Discrimination and
             Fairness in Class Incremental Learning", CVPR 2020]

and ``dualmix+wa``, both. EnMix mixes views of two clips, and so their labels,

.. math:: \tilde x = w A_1(x_i) + (1 - w) A_2(x_j), \quad \tilde y = w y_i + (1 - w) y_j, \quad
          w \sim \mathrm{Beta}(\alpha, \alpha)

AdpMix mixes each clip of the memory with one of the task, and gives the class with fewer clips, which is the old one,
more of the label than of the sound: the rule is MAMix's with f = -0.25 (`audiomix.targets.label_share`).

Distillation with k of n classes old, teacher t and temperature T:

.. math:: L = \left(1 - \frac{k}{n}\right) H(\tilde y, z)
          - \frac{k}{n} \sum_{c \le k} \mathrm{softmax}_c(t / T) \log \mathrm{softmax}_c(z_{\le k} / T)
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from audiomix import MixUp, check

__all__ = ["METHODS", "Inputs", "distillation", "mix_inputs", "read_method"]

# by name, with what each is in one line
METHODS = {
    "plain": "cross-entropy, with a memory of earlier classes that is replayed",
    "dualmix": "EnMix of all clips, AdpMix of memory and task with more label for the rarer class",
    "wa": "Weight Aligning: distillation from the network before, rows of new classes as long as those of old ones",
    "dualmix+wa": "both",
}


class Inputs(NamedTuple):
    """What the network sees in a step, and what it is to say."""

    x: Tensor  # (B, 1, F, N)
    target: Tensor  # (B, K), float


def read_method(name: str) -> tuple[bool, bool]:
    """Return whether a method is DualMix, and whether it is Weight Aligning.

    Raises
    ------
    ValueError
        There is no such method; a near miss is named.
    """
    parts = check.choice("method", name, METHODS).split("+")
    return "dualmix" in parts, "wa" in parts


def mix_inputs(
    new: tuple[Tensor, Tensor],
    old: tuple[Tensor, Tensor] | None,
    counts: Sequence[int],
    *,
    dualmix: bool,
    alpha: float = 1.0,
    generator: torch.Generator | None = None,
) -> Inputs:
    """Return the inputs of a step: clips as they are, or the mixes of DualMix.

    Parameters
    ----------
    new, old : (Tensor, Tensor)
        Views (B, 1, F, N) and class ids (B,) of clips of the task, and of the memory once there is one.
    counts : sequence of int
        Clips of each class that training has, of all classes so far: of an earlier one those of the memory.
    dualmix : bool
        Whether to mix.
    alpha : float
        Shares are drawn from Beta(alpha, alpha).
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.
    """
    x, labels = new if old is None else tuple(torch.cat(pair) for pair in zip(new, old))
    if not dualmix:
        return Inputs(x, F.one_hot(labels, len(counts)).to(x.dtype))
    mixed = MixUp(alpha, num_classes=len(counts), domain="as_is")(x, labels, generator=generator)
    assert mixed.target is not None
    if old is None:
        return Inputs(mixed.x, mixed.target)
    adaptive = MixUp(alpha, num_classes=len(counts), domain="as_is", label_weight="mamix", class_counts=counts)
    both = adaptive(old[0], old[1], other=new[0], other_target=new[1], generator=generator)
    assert both.target is not None
    return Inputs(torch.cat([mixed.x, both.x]), torch.cat([mixed.target, both.target]))


def distillation(logits: Tensor, teacher: Tensor, temperature: float = 2.0) -> Tensor:
    """Return the cross-entropy of old classes with what the network before says of them; mean over the batch.

    Parameters
    ----------
    logits : Tensor, shape (B, n)
        Of all classes so far, the k old ones first.
    teacher : Tensor, shape (B, k)
        Of the network before on the same inputs; no gradient goes through it.
    temperature : float
        Of both.

    Examples
    --------
    >>> distillation(torch.tensor([[0.0, 0.0, 9.0]]), torch.tensor([[5.0, 5.0]]))
    tensor(0.6931)
    """
    said = (teacher.detach() / temperature).softmax(1)
    return -(said * (logits[:, : teacher.shape[1]] / temperature).log_softmax(1)).sum(1).mean()
