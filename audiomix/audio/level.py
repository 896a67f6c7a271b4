"""Levels: rms, peak, decibels, A-weighting, loudness, the gain for an SNR, one limiter for all stems.

dB are relative to full scale 1. Silence has no level: functions that divide by one return a stated value instead of
NaN or infinity.
"""

import math

import torch
from torch import Tensor

from .. import check
from .loudness import block_energies, gate

__all__ = [
    "SILENCE_DB",
    "a_weighted_level",
    "a_weighting",
    "active",
    "amplitude",
    "correct_gain",
    "db",
    "from_db",
    "level",
    "limiter_gain",
    "lufs",
    "measure",
    "peak",
    "rms",
    "snr_gain",
    "valid",
]

# Bytes of the clips whose spectra are held at once; these take four times as many
_SPECTRA = 1 << 20
# Each brings the loudness of a clip nearer to what is wanted, until no block passes a gate that did not before
_CORRECTIONS = 8
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
    """Return a bool mask (B, size) that is True on valid samples, on the device of `lengths`; None without lengths.

    Parameters
    ----------
    lengths : Tensor, shape (B,), optional
        Valid samples of each clip.
    size : int
        Samples of the padded time axis.
    """
    return None if lengths is None else torch.arange(size, device=lengths.device) < lengths[:, None]


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
    x = x.detach()
    channels = math.prod(x.shape[1:-1])
    if mask is not None:
        mask = mask.to(x.device)
        x = x.masked_fill(~mask.view(len(x), *[1] * (x.ndim - 2), x.shape[-1]), 0)
    # vector_norm reads x once and makes no temporary
    norm = torch.linalg.vector_norm(x.flatten(1), dim=1, dtype=torch.promote_types(x.dtype, torch.float32))
    norm = norm.double().cpu()
    if mask is None:
        return norm / math.sqrt(max(channels * x.shape[-1], 1))
    return norm / (mask.sum(-1).cpu() * channels).clamp(min=1).double().sqrt()


def peak(x: Tensor) -> Tensor:
    """Largest absolute sample of each clip; shape (B,), float64, on the CPU.

    Parameters
    ----------
    x : Tensor, shape (B, ..., T)
        Samples of B clips.
    """
    low, high = x.detach().flatten(1).aminmax(dim=1)
    return torch.maximum(-low, high).double().cpu()


def active(x: Tensor, lengths: Tensor | None = None, *, window: int = 512, threshold_db: float = 30.0) -> Tensor:
    """Return a bool mask (B, T), True where a clip sounds, on the device of `x`.

    A frame of `window` samples is active if its power is within `threshold_db` of the clip's loudest frame (and above
    silence); the last frame of a clip ends with the clip. On some ESC-10 clips the level over the active part lies more
    than 10 dB above that over the whole clip.

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
    on = _active_frames(*_frames(x, lengths, window), threshold_db).repeat_interleave(window, -1)[:, :size]
    mask = valid(None if lengths is None else lengths.to(x.device), size)
    return on if mask is None else on & mask


def _frames(x: Tensor, lengths: Tensor | None, window: int) -> tuple[Tensor, Tensor]:
    """Return the energy of each frame of `window` valid samples, and how many numbers it is a sum of; two (B, N).

    On the device of `x`, which is read once: the frames that a clip's end cuts are read a second time.
    """
    x = (x.flatten(1, -2) if x.ndim > 2 else x[:, None]).detach()
    size, whole = x.shape[-1], x.shape[-1] // window
    dtype = torch.promote_types(x.dtype, torch.float32)
    frames = x[..., : whole * window].unflatten(-1, (whole, window))
    energy = torch.linalg.vector_norm(frames, dim=-1, dtype=dtype).square().sum(1)
    energy = torch.nn.functional.pad(energy, (0, -(-size // window) - whole))
    full = torch.full((len(x),), size, device=x.device)
    ends = full if lengths is None else lengths.to(x.device)
    number = torch.arange(energy.shape[1], device=x.device)
    count = (ends[:, None] - number * window).clamp(0, window)
    energy = torch.where(count == window, energy, 0)
    if lengths is not None or size % window:
        last = ends // window
        at = (last * window)[:, None] + torch.arange(window, device=x.device)
        rest = x.gather(-1, at.clamp(max=size - 1)[:, None].expand(-1, x.shape[1], -1))
        rest = rest.to(dtype).masked_fill((at >= ends[:, None])[:, None], 0).square().sum((1, 2))
        energy = torch.where(number == last[:, None], rest[:, None], energy)
    return energy, count * x.shape[1]


def _active_frames(energy: Tensor, count: Tensor, threshold_db: float = 30.0) -> Tensor:
    """Return which frames are within `threshold_db` of the clip's loudest; bool, (B, N)."""
    power = energy / count.clamp(min=1)
    floor = (power.amax(-1, keepdim=True) * 10 ** (-threshold_db / 10)).clamp(min=10 ** (SILENCE_DB / 10))
    return (power >= floor) & (count > 0)


def level(
    x: Tensor, kind: str, lengths: Tensor | None = None, *, rate: int | None = None, window: int = 512
) -> Tensor:
    """Amplitude level of each clip in the stated measure; 0 for silence. Shape (B,), float64, on the CPU.

    ``rms`` over the whole (valid) clip, ``active`` rms over its active part, or ``lufs`` (BS.1770, needs `rate`), as
    the amplitude 10^(LUFS / 20): ratios of it are differences in LU. Levels are numbers: no gradient goes through.

    Parameters
    ----------
    x : Tensor, shape (B, ..., T)
        Samples of B clips.
    kind : str
        ``rms``, ``active`` or ``lufs``.
    lengths : Tensor, shape (B,), optional
        Valid samples of each clip; all are where it is None. What lies behind is not looked at.
    rate : int, optional
        In Hz; needed for ``lufs``.
    window : int
        Frame length of ``active`` in samples; see `active`.
    """
    return amplitude(measure(x, kind, lengths, rate=rate, window=window), kind)


def measure(
    x: Tensor, kind: str, lengths: Tensor | None = None, *, rate: int | None = None, window: int = 512
) -> Tensor:
    """Return what `amplitude` needs of each clip to know its level at any gain; (B, N), float64, on the CPU.

    The level itself, N = 1; for ``lufs`` the energies of the gating blocks: at another gain only the gates move, and
    nothing is filtered again.

    Parameters
    ----------
    x, kind, lengths, rate, window
        See `level`.
    """
    check.choice("level", kind, ["rms", "active", "lufs"])
    if kind == "lufs":
        rate = rate if rate is not None else check.fail("rate", "given for level='lufs'", None)
        return block_energies(x, rate, lengths)
    if kind == "rms" and lengths is None:
        return rms(x)[:, None]
    energy, count = _frames(x, lengths, min(check.integer("window", window, 1), x.shape[-1]))
    if kind == "active":
        on = _active_frames(energy, count)
        energy, count = torch.where(on, energy, 0), torch.where(on, count, 0)
    total = torch.stack([energy.sum(-1, dtype=torch.float64), count.sum(-1).double()]).cpu()
    return (total[0] / total[1].clamp(min=1)).sqrt()[:, None]


def amplitude(measured: Tensor, kind: str, gain: Tensor | None = None) -> Tensor:
    """Return the level, as an amplitude, of clips that were measured; 0 for silence. Shape (B,), float64.

    Parameters
    ----------
    measured : Tensor, shape (B, N), float64
        From `measure`.
    kind : str
        ``rms``, ``active`` or ``lufs``, as they were measured.
    gain : Tensor, shape (B,), float64, optional
        Scale the clips first.
    """
    if kind == "lufs":
        found = from_db(gate(measured, gain))
    else:
        found = measured[:, 0] if gain is None else measured[:, 0] * gain
    return torch.where(found > 10 ** (SILENCE_DB / 20), found, 0.0)


def lufs(samples: Tensor, rate: int) -> float:
    """Integrated loudness of one clip (C, T) or (T,) in LUFS (BS.1770-4), as pyloudnorm's; -inf for silence.

    The gating block is 0.4 s, or the clip's own length where that is shorter; see `audiomix.audio.loudness`.

    Parameters
    ----------
    samples : Tensor, shape (C, T) or (T,)
        Samples of one clip.
    rate : int
        In Hz.
    """
    return float(gate(block_energies(samples[None], rate)))


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
    wave = (x.flatten(1, -2) if x.ndim > 2 else x[:, None]).detach()
    ends = torch.full((len(x),), x.shape[-1]) if lengths is None else lengths.cpu()
    whole = (ends - size).clamp(min=0) // (size // 2) + 1  # frames within each clip, as if it were alone
    weight = from_db(a_weighting(torch.linspace(0, rate / 2, size // 2 + 1))).square().float()
    weight = weight.repeat_interleave(2).to(x.device)  # of the real and of the imaginary part
    window = torch.hann_window(size, device=x.device)
    rows = max(1, _SPECTRA // (4 * wave.shape[1] * max(size, x.shape[-1])))
    found = []
    for first in range(0, len(wave), rows):  # a batch of spectra is large
        block, stop = wave[first : first + rows].float(), ends[first : first + rows]
        if lengths is not None:
            behind = torch.arange(block.shape[-1], device=x.device) >= stop.to(x.device)[:, None]
            block = block.masked_fill(behind[:, None], 0)
        if block.shape[-1] < size:
            block = torch.nn.functional.pad(block, (0, size - block.shape[-1]))
        spectra = torch.view_as_real(torch.fft.rfft(block.unfold(-1, size, size // 2) * window))
        power = (spectra.square_().flatten(-2) @ weight).mean(1)  # without abs: it takes a root of what is squared
        inside = torch.arange(power.shape[1], device=x.device) < whole[first : first + rows].to(x.device)[:, None]
        found.append(torch.where(inside, power, 0).amax(1))
    return 10 * torch.log10(torch.cat(found).double().cpu())


def snr_gain(signal: Tensor, noise: Tensor, snr_db: Tensor) -> Tensor:
    """Gain for `noise` that puts `signal` `snr_db` above it: ``signal / noise / 10^(snr_db / 20)``.

    `signal` and `noise` are amplitudes in the same measure, shape (B,). Where either is silent no gain can reach the
    SNR: the gain is 1 and the noise stays as it is.
    """
    both = (signal > 0) & (noise > 0)
    return torch.where(both, signal / torch.where(both, noise, 1.0) / from_db(snr_db), 1.0)


def correct_gain(gain: Tensor, wanted: Tensor, measured: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """Return the gains that bring clips to a level, and the levels that these have; both (B,), float64.

    Loudness is gated at -70 LUFS, so it does not scale with the sound: soft parts fall out of a clip as it is turned
    down. It jumps where they do, so that some levels have no gain: the nearest is returned, and below -70 LUFS none is
    left (level 0).

    Parameters
    ----------
    gain : Tensor, shape (B,), float64
        First estimate.
    wanted : Tensor, shape (B,), float64
        Levels, as amplitudes.
    measured : Tensor, shape (B, N), float64
        From `measure`.
    kind : str
        ``rms``, ``active`` or ``lufs``, as they were measured.
    """
    if kind != "lufs":
        return gain, measured[:, 0] * gain
    best, found = gain, amplitude(measured, kind, gain)
    got = found
    for _ in range(_CORRECTIONS):
        gain = torch.where((got > 0) & (wanted > 0), gain * wanted / torch.where(got > 0, got, 1.0), gain)
        got = amplitude(measured, kind, gain)
        nearer = (db(got) - db(wanted)).abs() < (db(found) - db(wanted)).abs()
        best, found = torch.where(nearer, gain, best), torch.where(nearer, got, found)
    return best, found


def limiter_gain(*sounds: Tensor, ceiling: float = 1.0) -> float:
    """Return the one gain (at most 1) that brings all of `sounds` to at most `ceiling`; apply it to every stem."""
    loudest = max(float(s.abs().max()) if s.numel() else 0.0 for s in sounds)
    return min(1.0, ceiling / loudest) if loudest > 0 else 1.0
