r"""HARD: a student learns from the view of a clip on which it differs most from its teacher, who is still sure.

.. math:: v^* = \arg\max_{v : \max_k t_k(v) \ge c} \mathrm{KL}(t(v) \,\|\, s(v)), \qquad
          L = \mathrm{KL}(t(v^*) \,\|\, s(v^*))

The clip itself is taken where the teacher is sure of none of its views. Of the paper only the abstract could be read:
that rule is ours.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from .. import check
from ._inputs import wide

__all__ = ["hard_views", "select_view"]


def select_view(student_logits: Tensor, teacher_logits: Tensor, *, confidence: float = 0.5) -> Tensor:
    """Return the number of the view of each clip that it is to be learnt from; (B,), int64.

    Parameters
    ----------
    student_logits, teacher_logits : Tensor, shape (V, B, K), floating point
        On the clips themselves, view 0, and on V - 1 augmented views of each.
    confidence : float
        The least that the teacher's most likely class of a view must have, in [0, 1].

    Examples
    --------
    >>> teacher = torch.tensor([[[4.0, 0.0]], [[4.0, 0.0]], [[0.1, 0.0]]])  # not sure of the last
    >>> select_view(torch.tensor([[[4.0, 0.0]], [[0.0, 4.0]], [[0.0, 9.0]]]), teacher, confidence=0.6)
    tensor([1])
    """
    student, teacher = _check(student_logits, teacher_logits)
    sure = teacher.softmax(2).amax(2) >= check.fraction("confidence", confidence)
    distance = _divergence(student.detach(), teacher)
    return torch.where(sure.any(0), distance.masked_fill(~sure, -torch.inf).argmax(0), 0)


def hard_views(student_logits: Tensor, teacher_logits: Tensor, *, confidence: float = 0.5) -> Tensor:
    """Return the distillation loss on the view of each clip that `select_view` takes; mean over the batch.

    Source: Nix, Burg and Sinz, "HARD: Hard Augmentations for Robust Distillation", 2023 (abstract; the rule is ours).

    Parameters
    ----------
    student_logits, teacher_logits : Tensor, shape (V, B, K), floating point
        On the clips themselves, view 0, and on V - 1 augmented views of each; no gradient goes through the teacher's.
    confidence : float
        The least that the teacher's most likely class of a view must have, in [0, 1].

    Returns
    -------
    Tensor, scalar
        In float32 at least.

    Raises
    ------
    ValueError, TypeError
        Logits of different shape, or another wrong argument.

    Examples
    --------
    >>> logits = torch.tensor([[[2.0, 0.0]], [[0.0, 1.0]]])
    >>> hard_views(logits, logits)
    tensor(0.)
    """
    student, teacher = _check(student_logits, teacher_logits)
    view = select_view(student, teacher, confidence=confidence)
    clip = torch.arange(len(view), device=view.device)
    return _divergence(student[None, view, clip], teacher[None, view, clip]).mean()


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """Return KL(teacher || student) of each view and clip, (V, B)."""
    return F.kl_div(student.log_softmax(2), teacher.log_softmax(2), reduction="none", log_target=True).sum(2)


def _check(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    check.batch("student_logits", check.floating("student_logits", student), ndim=3)
    if student.ndim != 3 or check.floating("teacher_logits", teacher).shape != student.shape:
        got = f"{tuple(student.shape)} and {tuple(teacher.shape)}"
        check.fail("student_logits and teacher_logits", "of the same shape (V, B, K)", got)
    dtype = wide(student, teacher)
    return student.to(dtype), teacher.detach().to(dtype)
