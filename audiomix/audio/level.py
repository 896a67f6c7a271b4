"""Levels: rms, peak, decibels, A-weighting, loudness, the gain for an SNR, one limiter for all stems.

dB are relative to full scale 1. Silence has no level: functions that divide by one return a stated value instead of
NaN or infinity.
"""

import math
import warnings

import torch
from torch import Tensor

from .. import check

__all__ = [
    "SILENCE_DB",
    "a_weighted_level",
    "a_weighting",
    "active",
    "db",
    "from_db",
    "level",
    "limiter_gain",
    "lufs",
    "peak",
    "rms",
    "snr_gain",
    "valid",
]

# Below this a clip counts as silent: the last bit of 24 bit audio is at -138 dB.
SILENCE_DB = -120.0


def db(ratio: Tensor) -> Tensor:
    """Return 20 log10(ratio), no lower than -400 dB, so that zero stays finite.

    Parameters
    ----------
    ratio : Tensor
        Ratios of amplitudes, at least 0.
    """
    return 20 * torch.log10(ratio.clamp(min=1e-20))


def from_db(value: Tensor | float) -> Tensor:
    """Return 10^(value / 20), float64.

    Parameters
    ----------
    value : Tensor or float
        Levels in dB.
    """
    return torch.pow(10.0, torch.as_tensor(value, dtype=torch.float64) / 20)


def valid(lengths: Tensor | None, size: int) -> Tensor | None:
    """Return a bool mask (B, size) that is True on valid samples; None where there are no lengths.

    Parameters
    ----------
    lengths : Tensor, shape (B,), optional
        Valid samples of each clip.
    size : int
        Samples of the padded time axis.
    """
    return None if lengths is None else torch.arange(size) < lengths[:, None]


def rms(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Root mean square of each clip over channels and (masked) time.

    Parameters
    ----------
    x : Tensor, shape (B, ..., T)
        Samples of B clips.
    mask : Tensor, shape (B, T), bool, optional
        The samples that count.

    Returns
    -------
    Tensor, shape (B,), float64, on the CPU. 0 where nothing counts.
    """
    if mask is None:  # vector_norm reads x once and makes no temporary
        norm = torch.linalg.vector_norm(x.flatten(1), dim=1, dtype=torch.promote_types(x.dtype, torch.float32))
        return norm.double().cpu() / math.sqrt(x[0].numel())
    mask = mask.to(x.device)
    channels = x[0, ..., 0].numel()
    energy = (x.flatten(1, -2) if x.ndim > 2 else x[:, None]).double().square().sum(1)  # (B, T)
    total = (energy * mask).sum(-1)
    return (total / (mask.sum(-1) * channels).clamp(min=1)).sqrt().cpu()


def peak(x: Tensor) -> Tensor:
    """Largest absolute sample of each clip; shape (B,), float64, on the CPU.

    Parameters
    ----------
    x : Tensor, shape (B, ..., T)
        Samples of B clips.
    """
    return x.flatten(1).abs().amax(1).double().cpu()


def active(x: Tensor, lengths: Tensor | None = None, *, window: int = 512, threshold_db: float = 30.0) -> Tensor:
    """Return a bool mask (B, T), True where a clip sounds.

    A frame of `window` samples is active if its power is within `threshold_db` of the clip's loudest frame (and above
    silence). On some ESC-10 clips the level over the active part lies more than 10 dB above that over the whole clip.

    Parameters
    ----------
    x : Tensor, shape (B, ..., T)
        Samples of B clips.
    lengths : Tensor, shape (B,), optional
        Valid samples; what lies behind is not active.
    window : int
        Frame length in samples.
    threshold_db : float
        Depth below the loudest frame, in dB.
    """
    size = x.shape[-1]
    window = min(check.integer("window", window, 1), size)
    power = (x.flatten(1, -2) if x.ndim > 2 else x[:, None]).double().square().mean(1).cpu()  # (B, T)
    mask = valid(lengths, size)
    if mask is not None:
        power = power * mask
    frames = torch.nn.functional.avg_pool1d(power[:, None], window, ceil_mode=True)[:, 0]  # (B, N)
    loudest = frames.amax(-1, keepdim=True)
    floor = (loudest * 10 ** (-threshold_db / 10)).clamp(min=10 ** (SILENCE_DB / 10))
    on = (frames >= floor).repeat_interleave(window, -1)[:, :size]
    return on if mask is None else on & mask


def level(x: Tensor, kind: str, lengths: Tensor | None = None, *, rate: int | None = None) -> Tensor:
    """Amplitude level of each clip in the stated measure; 0 for silence. Shape (B,), float64, on the CPU.

    ``rms`` over the whole (valid) clip, ``active`` rms over its active part, or ``lufs`` (BS.1770, needs `rate`), as
    the amplitude 10^(LUFS / 20): ratios of it are differences in LU.

    Parameters
    ----------
    x : Tensor, shape (B, ..., T)
        Samples of B clips.
    kind : str
        ``rms``, ``active`` or ``lufs``.
    lengths : Tensor, shape (B,), optional
        Valid samples of each clip; all are where it is None.
    rate : int, optional
        In Hz; needed for ``lufs``.
    """
    if kind == "rms":
        out = rms(x, valid(lengths, x.shape[-1]))
    elif kind == "active":
        out = rms(x, active(x, lengths))
    else:
        check.choice("level", kind, ["rms", "active", "lufs"])
        rate = check.rate("rate", rate if rate is not None else check.fail("rate", "given for level='lufs'", None))
        ends = [x.shape[-1]] * len(x) if lengths is None else lengths.tolist()
        out = torch.tensor([lufs(clip[..., :end], rate) for clip, end in zip(x, ends)], dtype=torch.float64)
        out = from_db(out)
    return torch.where(out > 10 ** (SILENCE_DB / 20), out, 0.0)


def lufs(samples: Tensor, rate: int) -> float:
    """Integrated loudness of one clip (C, T) or (T,) in LUFS (BS.1770-4, pyloudnorm); -inf for silence.

    The gating block is 0.4 s, or the clip's own length where that is shorter: pyloudnorm refuses such clips, and
    padding them with zeros would read about 3 dB low.

    Parameters
    ----------
    samples : Tensor, shape (C, T) or (T,)
        Samples of one clip.
    rate : int
        In Hz.
    """
    import pyloudnorm

    samples = samples.detach().cpu().double()
    data = samples.T.numpy() if samples.ndim == 2 else samples.numpy()
    if len(data) == 0 or not data.any():
        return -math.inf
    block = min(0.4, len(data) / rate)
    with warnings.catch_warnings():  # log10(0) of a silent block is handled by the gate
        warnings.simplefilter("ignore", RuntimeWarning)
        value = pyloudnorm.Meter(rate, block_size=block).integrated_loudness(data)
    return float(value) if math.isfinite(value) else -math.inf


def a_weighting(frequency: Tensor) -> Tensor:
    """A-weighting (IEC 61672) in dB at frequencies in Hz, no lower than -80 dB.

    Parameters
    ----------
    frequency : Tensor
        In Hz.

    Examples
    --------
    >>> a_weighting(torch.tensor([1000.0, 100.0])).round(decimals=1)
    tensor([ 0.0000, -19.1000])
    """
    f2 = frequency.square().clamp(min=1.0)
    lift = 2 * math.log10(12194.0) + 2 * f2.log10() - (f2 + 12194.0**2).log10() - (f2 + 20.6**2).log10()
    lift = lift - 0.5 * (f2 + 107.7**2).log10() - 0.5 * (f2 + 737.9**2).log10()
    return (2.0 + 20 * lift).clamp(min=-80.0)


def a_weighted_level(x: Tensor, rate: int, lengths: Tensor | None = None) -> Tensor:
    """Largest A-weighted level over short windows of each clip, in dB; -inf for silence. Shape (B,), float64, CPU.

    ``G = max over frames of 10 log10 sum |rfft(hann x)|^2 10^(A / 10)`` (Tokozume et al. 2018), with half-overlapping
    windows of the power of two nearest to 0.1 s: 2048 at 16 kHz and 4096 at 44.1 kHz as published, 1024 at 8 kHz. A
    clip shorter than one window is padded with zeros to one. The absolute value has no meaning, differences have.

    Parameters
    ----------
    x : Tensor, shape (B, ..., T)
        Samples of B clips.
    rate : int
        In Hz.
    lengths : Tensor, shape (B,), optional
        Valid samples of each clip; all are where it is None.
    """
    size = 2 ** round(math.log2(0.1 * check.rate("rate", rate)))
    mask = valid(lengths, x.shape[-1])
    wave = (x.flatten(1, -2) if x.ndim > 2 else x[:, None]).float()
    if mask is not None:
        wave = torch.where(mask.to(x.device)[:, None], wave, 0.0)
    wave = torch.nn.functional.pad(wave, (0, max(0, size - wave.shape[-1])))
    weight = from_db(a_weighting(torch.linspace(0, rate / 2, size // 2 + 1))).square().float().to(x.device)
    window = torch.hann_window(size, device=x.device)
    levels = [_loudest_frame(clip, size, window, weight) for clip in wave]  # clip by clip: a batch of spectra is large
    return 10 * torch.log10(torch.stack(levels).double()).cpu()


def _loudest_frame(clip: Tensor, size: int, window: Tensor, weight: Tensor) -> Tensor:
    spectrum = torch.stft(clip, size, size // 2, window=window, center=False, return_complex=True)  # (C, F, N)
    return (spectrum.abs().square() * weight[:, None]).sum(1).mean(0).amax()


def snr_gain(signal: Tensor, noise: Tensor, snr_db: Tensor) -> Tensor:
    """Gain for `noise` that puts `signal` `snr_db` above it: ``signal / noise / 10^(snr_db / 20)``.

    `signal` and `noise` are amplitudes in the same measure, shape (B,). Where either is silent no gain can reach the
    SNR: the gain is 1 and the noise stays as it is.
    """
    both = (signal > 0) & (noise > 0)
    return torch.where(both, signal / torch.where(both, noise, 1.0) / from_db(snr_db), 1.0)


def limiter_gain(*sounds: Tensor, ceiling: float = 1.0) -> float:
    """Return the one gain (at most 1) that brings all of `sounds` to at most `ceiling`; apply it to every stem."""
    loudest = max(float(s.abs().max()) if s.numel() else 0.0 for s in sounds)
    return min(1.0, ceiling / loudest) if loudest > 0 else 1.0
