"""Resampling and stretching by ratios of small numbers, each for all clips of a group that have the same."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..clips import fit_length
from ..torchaudio import functional as F

__all__ = ["STEPS", "by_ratio", "stretch", "to_steps"]

# A ratio is a whole number of 120ths: torchaudio's kernel for p/q has q (p + ...) taps, and grows without such a bound.
STEPS = 120
# Window of the phase vocoder in seconds, rounded up to a power of 2 of samples.
_WINDOW_S = 0.05
_HOPS = 4  # hops in a window


def to_steps(ratio: Tensor) -> Tensor:
    """Return ratios in 120ths; (R,), int64.

    Parameters
    ----------
    ratio : Tensor, shape (R,), float64
        Above 0.
    """
    return (ratio * STEPS).round().long()


def by_ratio(x: Tensor, steps: Tensor, change: Callable[[Tensor, int], Tensor]) -> Tensor:
    """Return `change` of the clips, called once for all that have the same ratio; clips of ratio 1 stay as they are.

    Parameters
    ----------
    x : Tensor, shape (R, C, T)
        Waveforms.
    steps : Tensor, shape (R,), int64
        The ratio of each in 120ths.
    change : callable
        From clips and their ratio to clips, of any length: they are cut or padded with silence to that of `x`.
    """
    changed = x.clone()
    for ratio in steps.unique().tolist():
        if ratio == STEPS:
            continue
        rows = (steps == ratio).nonzero()[:, 0].to(x.device, non_blocking=True)
        changed = changed.index_copy_(0, rows, fit_length(change(x.index_select(0, rows), ratio), x.shape[-1]))
    return changed


def stretch(x: Tensor, factor: float, rate: int) -> Tensor:
    """Return waveforms `factor` times as fast at the same pitch, by torchaudio's phase vocoder; (..., T / factor).

    Parameters
    ----------
    x : Tensor, shape (R, C, T)
        Waveforms.
    factor : float
        Above 0.
    rate : int
        In Hz.

    Notes
    -----
    Frames are added here: `torch.istft` looks at the sum of its windows, which makes the host wait for a device.
    """
    n_fft = max(16, 1 << (round(_WINDOW_S * rate) - 1).bit_length())
    hop, size = n_fft // _HOPS, round(x.shape[-1] / factor)
    window = torch.hann_window(n_fft, dtype=x.dtype, device=x.device)
    flat = x.reshape(-1, x.shape[-1])
    spec = torch.stft(flat, n_fft, hop, window=window, pad_mode="constant", return_complex=True)
    advance = torch.linspace(0, torch.pi * hop, n_fft // 2 + 1, dtype=x.dtype, device=x.device)[:, None]
    frames = torch.fft.irfft(F.phase_vocoder(spec, factor, advance).mT, n=n_fft) * window
    summed = _overlap_add(frames.view(*frames.shape[:-1], _HOPS, hop))
    scale = _overlap_add(window.square().view(1, 1, _HOPS, hop).expand(1, frames.shape[1], -1, -1))
    sound = (summed / scale.clamp(min=1e-3))[:, n_fft // 2 :]
    return fit_length(sound, size).view(*x.shape[:-1], size)


def _overlap_add(frames: Tensor) -> Tensor:
    """Return the sum of frames (R, M, hops, hop), each a hop behind the one before it; (R, T)."""
    rows, count, hops, hop = frames.shape
    total = frames.new_zeros(rows, count + hops - 1, hop)
    for k in range(hops):
        total[:, k : k + count] += frames[:, :, k]
    return total.view(rows, -1)
