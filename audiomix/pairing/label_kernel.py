r"""Partners with a near label, for regression: C-Mixup.

.. math:: P(j \mid i) \propto \exp\left(-\frac{\lVert y_i - y_j \rVert^2}{2 h^2}\right), \quad j \ne i

In the paper (section 3.2) a clip may meet itself: of labels that lie h apart two in five do,
1 / (1 + 2 sum over k of exp(-k^2 / 2)), and the more, the smaller h is.

Source: Yao et al., "C-Mixup: Improving Generalization in Regression", NeurIPS 2022.
"""

import torch
from torch import Tensor

from .. import check
from ..draw import Generator
from ._pool import Pool

__all__ = ["pair"]


def pair(pool: Pool, generator: Generator, *, bandwidth: float = 1.0) -> tuple[Tensor, Tensor]:
    """Draw partners with near labels.

    Parameters
    ----------
    pool : Pool
        The clips; their targets are values (B, R), or labels (B, K), each of its own unit: standardise what is not.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.
    bandwidth : float
        The distance h of labels, above 0, at which a partner is exp(-1/2) as likely as one with the same label. As it
        goes to 0 the nearest one is chosen, as it grows all become equally likely.

    Returns
    -------
    partner, found : Tensor, shape (size,)
        See `audiomix.pairing.pair`.
    """
    check.number("bandwidth", bandwidth, 1e-300, slip="a distance of labels, above 0")
    own, theirs = (_values(target) for target in pool.targets("label_kernel"))
    if own.shape[1] != theirs.shape[1]:
        check.fail("other_target", f"of shape (M, {own.shape[1]}), as target is", tuple(theirs.shape))

    def weigh(rows: slice, may: Tensor) -> Tensor:
        """Return the kernel, 1 for the nearest that is permitted: far from all others it would be 0 everywhere."""
        distance = torch.cdist(own[rows], theirs, compute_mode="donot_use_mm_for_euclid_dist")
        nearest = distance.masked_fill(~may, torch.inf).amin(1, keepdim=True)
        # d^2 - d'^2 as a product: squares over a small bandwidth would be infinite, for the nearest too
        further = (distance - nearest) / bandwidth * ((distance + nearest) / bandwidth)
        return torch.where(may & (distance > nearest), (further / -2).exp(), may.double())

    return pool.choose(weigh, generator)


def _values(target: Tensor) -> Tensor:
    """Return labels as float64, or raise where they are no values that have a distance."""
    if target.ndim != 2 or not (target.is_floating_point() or target.dtype == torch.bool):
        slip = "class ids have no distance; one value a clip? target[:, None].float()"
        got = f"{target.dtype} of shape {tuple(target.shape)}"
        check.fail("target", "values (B, R), floating point, for pairing 'label_kernel'", got, slip)
    values = target.to(torch.float64)
    if not bool(values.isfinite().all()):
        check.fail("target", "finite for pairing 'label_kernel'", "NaN or infinity", "clips without a label? eligible=")
    return values
