r"""Distillation on mixes: the student has the teacher's outputs on the same mixes, both at a standard deviation of 1.

.. math:: L = \gamma H(\tilde y, z_s / \sigma_s)
          + \alpha \, \mathrm{KL}(\mathrm{softmax}(z_t / \sigma_t) \,\|\, \mathrm{softmax}(z_s / \sigma_s))

sigma is the standard deviation of a clip's own logits over the classes: no temperature is to be found, and how large
the logits of the two networks are makes no difference.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from .. import check
from ._inputs import check_logits, check_targets, label_mean

__all__ = ["mix_kd", "standardise_logits"]


def standardise_logits(logits: Tensor) -> Tensor:
    """Return logits divided by their standard deviation over the classes, clip by clip; equal logits become 0.

    Parameters
    ----------
    logits : Tensor, shape (B, K), floating point
        Of a network.

    Returns
    -------
    Tensor, shape (B, K)
        In float32 at least, with mean 0 over the classes, which changes no softmax.

    Examples
    --------
    >>> standardise_logits(torch.tensor([[10.0, 20.0, 30.0]]))
    tensor([[-1.,  0.,  1.]])
    """
    z = check_logits("logits", logits)
    z = z - z.mean(1, keepdim=True)
    square = z.square().sum(1, keepdim=True) / (z.shape[1] - 1)
    varied = square > torch.finfo(z.dtype).tiny
    return torch.where(varied, z / torch.where(varied, square, 1.0).sqrt(), 0.0)


def mix_kd(
    student_logits: Tensor, teacher_logits: Tensor, target: Tensor, *, gamma: float = 0.1, alpha: float = 0.9
) -> Tensor:
    """Return the loss of a student on mixes that its teacher has seen too; mean over the batch.

    Source: Choi et al., "Understanding the Role of Mixup in Knowledge Distillation: An Empirical Study", WACV 2023.
    There a tenth of the clips is mixed: ``MixUp(1.0, p=0.1)``.

    Parameters
    ----------
    student_logits, teacher_logits : Tensor, shape (B, K), floating point
        On the same mixes; no gradient goes through the teacher's.
    target : Tensor, shape (B, K), or (B,) class ids
        What the mixer returned.
    gamma, alpha : float
        Weights of the labels and of the teacher.

    Returns
    -------
    Tensor, scalar
        In float32 at least.

    Raises
    ------
    ValueError, TypeError
        Logits or targets of different shape, or another wrong argument.

    Examples
    --------
    >>> logits, target = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([2])
    >>> mix_kd(logits, 7 * logits, target, gamma=0.0)
    tensor(0.)
    """
    student, teacher = check_logits("student_logits", student_logits), check_logits("teacher_logits", teacher_logits)
    if teacher.shape != student.shape:
        check.fail("teacher_logits", f"of shape {tuple(student.shape)}, as the student's", tuple(teacher.shape))
    labels = check_targets(target, student)
    check.number("gamma", gamma, 0)
    check.number("alpha", alpha, 0)
    ours = standardise_logits(student).log_softmax(1)
    theirs = standardise_logits(teacher.detach()).log_softmax(1).to(ours)
    on_labels = label_mean(labels, -ours).mean()
    return gamma * on_labels + alpha * F.kl_div(ours, theirs, reduction="batchmean", log_target=True)
