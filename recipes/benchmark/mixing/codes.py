r"""Probabilities in one byte each: enough for error, calibration and likelihood, small enough to be committed.

.. math:: q = \mathrm{round}\big(64 \sqrt{-\ln p}\big)

clipped to 255, the probability 1.3e-7. Near p = 1 a step is 0.0002, at p = 0.37 it is 3 % of p. What is read back is
divided by its sum. The class with the largest probability stays that one.
"""

import numpy as np
import torch
from torch import Tensor

from audiomix import check

__all__ = ["decode", "encode"]

_SCALE, _LAST = 64.0, 255


def encode(probabilities: Tensor) -> np.ndarray:
    """Return probabilities (N, K) as bytes, uint8 of the same shape.

    Parameters
    ----------
    probabilities : Tensor, shape (N, K)
        Each row sums to 1.

    Examples
    --------
    >>> encode(torch.tensor([[0.5, 0.5], [0.9, 0.1]])).tolist()
    [[53, 54], [21, 97]]
    """
    p = check.finite("probabilities", probabilities.double())
    if p.ndim != 2 or bool(((p.sum(1) - 1).abs() > 1e-3).any()):
        check.fail("probabilities", "rows (N, K) that add up to 1", f"shape {tuple(p.shape)}", "logits?")
    code = (_SCALE * (-p.clamp(min=1e-12).log()).clamp(min=0).sqrt()).round().clamp(max=_LAST).long()
    top = p.argmax(1, keepdim=True)
    own = code.gather(1, top).clamp(max=_LAST - 1)
    others = torch.maximum(code, own + 1)  # no other class is as likely
    return others.scatter(1, top, own).numpy().astype(np.uint8)


def decode(codes: np.ndarray) -> Tensor:
    """Return the logarithms of the probabilities, float64 (N, K), of what `encode` returned.

    Examples
    --------
    >>> decode(encode(torch.tensor([[0.9, 0.1]]))).exp().round(decimals=2)
    tensor([[0.9000, 0.1000]], dtype=torch.float64)
    """
    return (-(torch.from_numpy(codes.astype(np.float64)) / _SCALE).square()).log_softmax(1)
