"""Small signal tools the three makers of sounds share."""

import hashlib

import numpy as np
from numpy.typing import NDArray
from scipy import signal

Audio = NDArray[np.float64]
FLOOR = 1e-12


def item_rng(name: str) -> np.random.Generator:
    """Return the random generator of the item of this name."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big"))


def rms(audio: Audio) -> float:
    """Return the root of the mean square."""
    return float(np.sqrt(np.mean(audio**2) + FLOOR))


def gain(decibels: float) -> float:
    """Return the factor that a level difference stands for."""
    return 10.0 ** (decibels / 20.0)


def to_peak(audio: Audio, decibels: float) -> Audio:
    """Scale so that the largest magnitude is this many dB relative to full scale."""
    return audio * (gain(decibels) / max(float(np.abs(audio).max()), FLOOR))


def to_int16(audio: Audio) -> NDArray[np.int16]:
    """Round to 16 bits; raise where a sample does not fit."""
    if not np.abs(audio).max() <= 1.0:
        raise ValueError("the sound exceeds full scale or is not finite")
    return np.round(audio * 32767.0).astype(np.int16)


def coloured_noise(length: int, exponent: float, rng: np.random.Generator) -> Audio:
    """Draw noise of unit RMS whose power falls as frequency ** -exponent (0 is white, 1 pink, 2 brown)."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    index = np.arange(len(spectrum), dtype=float)
    # flat below the first few bins: a steeper start would be inaudible rumble that takes all the level
    noise = np.fft.irfft(spectrum * np.maximum(index, length / 400.0) ** (-exponent / 2.0), length)
    return noise / rms(noise)


def band(audio: Audio, low: float, high: float, rate: int, order: int = 2) -> Audio:
    """Keep low..high Hz; a low of 0 keeps everything down to 0 Hz, a high above rate / 2 everything up."""
    if low <= 0.0:
        sos = signal.butter(order, high, "lowpass", fs=rate, output="sos")
    elif high >= rate / 2:
        sos = signal.butter(order, low, "highpass", fs=rate, output="sos")
    else:
        sos = signal.butter(order, [low, high], "bandpass", fs=rate, output="sos")
    return signal.sosfilt(sos, audio)


def decay(length: int, seconds: float, rate: int) -> Audio:
    """Return an exponential that falls by 60 dB in this many seconds."""
    return 10.0 ** (-3.0 * np.arange(length) / (seconds * rate))


def tone(frequency: Audio, rate: int, phase: float = 0.0) -> Audio:
    """Return a sine that follows a frequency given for each sample."""
    return np.sin(2.0 * np.pi * np.cumsum(frequency) / rate + phase)


def add(track: Audio, piece: Audio, start: int) -> None:
    """Add a piece to a track in place, cut where the track ends."""
    piece = piece[: max(0, len(track) - start)]
    track[start : start + len(piece)] += piece


def fade(audio: Audio, seconds: float, rate: int) -> Audio:
    """Fade in and out by half a cosine."""
    length = min(round(seconds * rate), len(audio) // 2)
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(length) + 0.5) / length)
    result = audio.copy()
    result[:length] *= ramp
    result[len(result) - length :] *= ramp[::-1]
    return result


def silence(seconds: float, rate: int) -> Audio:
    """Return digital silence."""
    return np.zeros(round(seconds * rate))
