"""How frequent the classes are: the distribution that methods align their predictions to."""

import torch
from torch import Tensor

from audiomix import check

__all__ = ["class_prior", "parse_prior"]

_EXPECTED = "labels, uniform or the share of each class, such as 0.2,0.3,0.5"
_ROUNDING = 0.005  # of a share in whole percent: the sum of some may miss 1 by that times their number,
_MISS = 0.05  # but by no more than this


def parse_prior(text: str) -> tuple[float, ...] | None:
    """Return the shares of the classes that a text gives, summing to 1, or None for ``labels`` and ``uniform``.

    Raises
    ------
    ValueError
        The text is neither; a share is 0, negative or no number, or their sum is not 1.

    Examples
    --------
    >>> parse_prior("0.2,0.3,0.5"), parse_prior("labels")
    ((0.2, 0.3, 0.5), None)
    """
    text = check.one_of_types("prior", text, str, "a text").strip()
    if text in ("labels", "uniform"):
        return None
    try:
        shares = [float(part) for part in text.split(",")]
    except ValueError:
        check.fail("prior", _EXPECTED, repr(text))
    for share in shares:
        if not share > 0:
            slip = "a class that never comes up: a small share, such as 0.001" if share == 0 else ""
            check.fail("prior", "shares above 0", f"{share:g} in {text}", slip)
    total, miss = sum(shares), min(_MISS, _ROUNDING * len(shares)) + 1e-9
    if not abs(total - 1) <= miss:
        slip = "in percent? 0.2, not 20" if abs(total - 100) <= 100 * miss else ""
        check.fail("prior", "shares that sum to 1", f"{text}, which sum to {total:g}", slip)
    return tuple(share / total for share in shares) if total != 1 else tuple(shares)


def class_prior(text: str, labels: Tensor, num_classes: int) -> Tensor:
    r"""Return the share of each class (K,), float32, that a run expects among its unlabelled clips.

    ``uniform``: 1 / K each. ``labels``: from the n_k labelled clips of class k,

    .. math:: p_k = (n_k + 1) / (\sum_j n_j + K)

    which is above 0 for a class without labels (Laplace's rule of succession). Where so many clips of each class are
    labelled whatever their number (`--labelled 3`), this says nothing about the unlabelled clips: it is uniform then.

    Parameters
    ----------
    text : str
        ``labels``, ``uniform`` or the shares, see `parse_prior`.
    labels : Tensor, shape (L,), int64
        Classes of the labelled clips.
    num_classes : int
        K, the number of classes.

    Raises
    ------
    ValueError
        Shares of another number of classes.

    Examples
    --------
    >>> class_prior("labels", torch.tensor([0, 0, 0, 1]), 2)
    tensor([0.6667, 0.3333])
    """
    shares = parse_prior(text)
    if shares is None:
        counts = torch.bincount(labels.cpu(), minlength=num_classes) if text.strip() == "labels" else 0
        counts = torch.zeros(num_classes, dtype=torch.float64) + counts + 1
        return (counts / counts.sum()).float()
    if len(shares) != num_classes:
        check.fail("prior", f"a share of each of the {num_classes} classes", f"{len(shares)}: {text}")
    return torch.tensor(shares)
