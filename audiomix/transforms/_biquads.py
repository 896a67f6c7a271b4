"""torchaudio's biquads as impulse responses, so that each clip of a batch is filtered by one of its own.

torchaudio filters a batch by one filter, and without its compiled extension sample by sample in Python. A biquad of a
unit impulse is computed once for each setting; clips are convolved with it by `torchaudio.functional.fftconvolve`.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from ..torchaudio import functional as F

__all__ = ["NYQUIST", "apply_biquads"]

# Filters are the same for any rate, with frequencies as fractions of half of it.
NYQUIST = 1.0
# Samples of a response: the slowest pole here is that of a high-pass at 1/240, 8e-5 of its height after so many.
_TAPS = 1024
# torchaudio cuts what it filters at -1 and 1: a response may be larger.
_SMALL = 1e-3


@lru_cache(maxsize=512)
def _response(name: str, *settings: float) -> Tensor:
    impulse = torch.zeros(_TAPS, dtype=torch.float64)
    impulse[0] = _SMALL
    biquad: Any = getattr(F, name)
    return biquad(impulse, 2 * NYQUIST, *settings) / _SMALL


def apply_biquads(x: Tensor, name: str, settings: Sequence[tuple[float, ...]]) -> Tensor:
    """Return waveforms, each filtered by a biquad of its own.

    Parameters
    ----------
    x : Tensor, shape (R, C, T)
        Waveforms.
    name : str
        Of the filter in torchaudio.functional: ``lowpass_biquad``.
    settings : sequence of tuple of float
        For each clip the filter's arguments behind the rate, which is 2: frequencies are fractions of half the rate.

    Examples
    --------
    >>> x = torch.ones(1, 1, 4000)
    >>> apply_biquads(x, "lowpass_biquad", [(0.1,)])[0, 0, -1].round(decimals=4)
    tensor(1.)
    """
    size = x.shape[-1]
    # zeros behind the responses, so that the transforms have a fast length
    taps = next_fast_len(size + _TAPS - 1, real=True) - size + 1
    responses = torch.stack([_response(name, *one) for one in settings])
    there = torch.nn.functional.pad(responses.to(x.dtype).to(x.device), (0, taps - _TAPS))
    return F.fftconvolve(x, there[:, None].expand(-1, x.shape[1], -1))[..., :size]
