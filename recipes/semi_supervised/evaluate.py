"""Predictions of a network on clips, and measures of them: error, calibration, confusion. Errors are in percent."""

import statistics
from typing import Any

import torch
from torch import Tensor, nn

from audiomix import check

from ..data.rows import Selected
from ..data.views import Views
from ..models._modes import eval_mode

__all__ = [
    "balanced_accuracy",
    "class_errors",
    "confusion_matrix",
    "error_rate",
    "macro_f1",
    "predict_logits",
    "summarise_predictions",
]

_BATCH = 64


@torch.no_grad()
def predict_logits(model: nn.Module, views: Views, kept: Tensor | Selected) -> Tensor:
    """Return the logits of each clip, float32 (N, K), from its unchanged spectrogram, in eval mode.

    `kept`, shape (N, ...), is what the front end keeps of the clips, which may lie on disk. Afterwards each module is
    in the mode it had.
    """

    def spectrograms(batch: Tensor) -> Tensor:
        with torch.autocast(batch.device.type, enabled=False):  # in full precision, as in training
            return views.plain(batch)

    with eval_mode(model):
        return torch.cat([model(spectrograms(batch)).float() for batch in kept.split(_BATCH)])


def error_rate(predicted: Tensor, labels: Tensor) -> float:
    """Return the share of wrong predictions, in percent, from predicted and true classes, each int64 (N,).

    A quotient of whole numbers; torchmetrics' accuracy has float32 digits.

    Examples
    --------
    >>> error_rate(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 2]))
    33.333333333333336
    """
    check.batch("predicted", predicted, len(labels), ndim=1)
    return 100 * int((predicted != labels).sum()) / len(labels)


def confusion_matrix(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return how many clips of each class (row) were predicted as each class (column); int64, (classes, classes).

    >>> confusion_matrix(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), 2)
    tensor([[1, 1],
            [0, 1]])
    """
    from torchmetrics.functional.classification import multiclass_confusion_matrix  # slow to import

    check.batch("predicted", predicted, len(labels), ndim=1)
    return multiclass_confusion_matrix(predicted, labels, classes)


def class_errors(matrix: Tensor) -> list[float | None]:
    """Return the error of each class in percent from the confusion matrix (K, K); None for a class without clips.

    >>> class_errors(torch.tensor([[1, 1], [0, 0]]))
    [50.0, None]
    """
    right, total = matrix.diagonal().tolist(), matrix.sum(1).tolist()
    return [100 * (n - r) / n if n else None for r, n in zip(right, total)]


def balanced_accuracy(matrix: Tensor) -> float:
    """Return the mean over classes of the share of their clips that is right, in percent, from a confusion matrix.

    A class without clips has no such share and is left out. torchmetrics' macro recall counts one that is predicted
    somewhere as 0, and computes in float32.

    Parameters
    ----------
    matrix : Tensor, shape (K, K), int64
        See `confusion_matrix`; with a clip at least.

    Examples
    --------
    >>> balanced_accuracy(torch.tensor([[3, 1, 0], [0, 1, 1], [0, 0, 0]]))
    62.5
    """
    return 100 - statistics.fmean(error for error in class_errors(matrix) if error is not None)


def macro_f1(matrix: Tensor) -> float:
    r"""Return the mean over classes of F1, in percent, from a confusion matrix.

    .. math:: F_1 = \frac{2 \, TP}{2 \, TP + FP + FN}

    A class without clips is left out, also where it is predicted: those errors count in the classes of the clips.
    torchmetrics' macro F1 counts it as 0, and computes in float32; where every class has clips they are equal.

    Parameters
    ----------
    matrix : Tensor, shape (K, K), int64
        See `confusion_matrix`; with a clip at least.

    Examples
    --------
    F1 of 6 / 7 and 1 / 2; nothing is of the third class:

    >>> round(macro_f1(torch.tensor([[3, 1, 0], [0, 1, 1], [0, 0, 0]])), 2)
    67.86
    """
    right, true, predicted = (x.tolist() for x in (matrix.diagonal(), matrix.sum(1), matrix.sum(0)))
    return 100 * statistics.fmean(2 * r / (n + m) for r, n, m in zip(right, true, predicted) if n)


def summarise_predictions(predicted: Tensor, labels: Tensor, classes: int) -> dict[str, Any]:
    """Return what is measured of predicted and true classes, each int64 (N,), but for the error, for JSON.

    ``macro_f1`` and ``balanced_accuracy`` in percent, ``class_errors`` in percent, and ``confusion``: rows are true
    classes.
    """
    matrix = confusion_matrix(predicted, labels, classes)
    found: dict[str, Any] = {"macro_f1": macro_f1(matrix), "balanced_accuracy": balanced_accuracy(matrix)}
    return found | {"class_errors": class_errors(matrix), "confusion": matrix.tolist()}
