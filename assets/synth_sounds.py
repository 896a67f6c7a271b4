"""Environmental sounds, from noise, sines and resonances; some begin or end in silence, as recordings do."""

from collections.abc import Callable

import dsp
import numpy as np
from scipy import signal

RATE = 16_000


def rain(rng: np.random.Generator) -> dsp.Audio:
    """Steady hiss with drops that hit something near."""
    length = 4 * RATE
    audio = 0.3 * dsp.band(dsp.coloured_noise(length, 0.6, rng), 600.0, RATE, RATE)
    for _ in range(260):
        seconds = rng.uniform(0.004, 0.03)
        count = round(seconds * RATE)
        drop = dsp.tone(np.full(count, rng.uniform(900.0, 6000.0)), RATE) + 0.5 * rng.standard_normal(count)
        dsp.add(audio, rng.lognormal(-1.2, 0.6) * drop * dsp.decay(count, seconds, RATE), int(rng.integers(length)))
    return dsp.fade(audio, 0.05, RATE)


def sea_waves(rng: np.random.Generator) -> dsp.Audio:
    """Two waves that swell, break and run out."""
    length = 5 * RATE
    time = np.arange(length) / RATE
    audio = 0.1 * dsp.coloured_noise(length, 1.5, rng)
    for start, rise in ((0.2, 1.2), (2.5, 1.0)):
        since = np.maximum(time - start, 0.0)
        swell = np.where(since < rise, (since / rise) ** 2, np.exp(-(since - rise) / 0.7))
        audio += swell * dsp.coloured_noise(length, 1.1, rng)
        audio += 0.8 * swell**2 * dsp.band(dsp.coloured_noise(length, 0.3, rng), 1500.0, RATE, RATE)
    return dsp.fade(audio, 0.1, RATE)


def church_bell(rng: np.random.Generator) -> dsp.Audio:
    """One stroke, half a second in: the hum, prime, tierce, quint and nominal of a bell, and what lies above."""
    length = round(4.3 * RATE)
    audio = np.zeros(length)
    ratios = (0.5, 1.0, 1.19, 1.5, 2.0, 2.51, 2.66, 3.01, 4.17, 5.43)
    for ratio in ratios:
        # two partials a hair apart beat against each other, since no bell is quite round
        for frequency in (440.0 * ratio, 440.0 * ratio + rng.uniform(0.3, 1.5)):
            partial = dsp.tone(np.full(length, frequency), RATE, rng.uniform(0.0, 2.0 * np.pi))
            audio += partial * dsp.decay(length, 6.0 / (0.6 + ratio), RATE) / (1.0 + 0.5 * ratio)
    strike = dsp.band(rng.standard_normal(length), 1000.0, 5000.0, RATE) * dsp.decay(length, 0.06, RATE)
    return np.concatenate([dsp.silence(0.5, RATE), dsp.fade(audio + 2.0 * strike, 0.002, RATE)])


def birds(rng: np.random.Generator) -> dsp.Audio:
    """Phrases of fast chirps, between silence before and after."""
    audio = dsp.silence(3.0, RATE)
    for start in (0.0, 0.9, 1.25, 2.2):
        base, at = rng.uniform(3000.0, 4800.0), start
        for _ in range(int(rng.integers(3, 7))):
            count = round(rng.uniform(0.04, 0.09) * RATE)
            phase = np.linspace(0.0, 1.0, count)
            slide = base + rng.uniform(-1200.0, 1500.0) * phase + 350.0 * np.sin(2.0 * np.pi * 3.0 * phase)
            chirp = dsp.tone(slide, RATE) + 0.15 * dsp.tone(np.minimum(2.0 * slide, 7900.0), RATE)
            dsp.add(audio, rng.uniform(0.4, 1.0) * chirp * np.sin(np.pi * phase) ** 2, round(at * RATE))
            at += count / RATE + rng.uniform(0.02, 0.05)
    return np.concatenate([dsp.silence(0.5, RATE), dsp.fade(audio, 0.005, RATE), dsp.silence(0.5, RATE)])


def dog_bark(rng: np.random.Generator) -> dsp.Audio:
    """Three barks: a rough tone that jumps up and falls, through the resonances of a mouth; then silence."""
    audio = dsp.silence(2.4, RATE)
    for start in (0.05, 0.6, 1.5):
        count = round(rng.uniform(0.2, 0.26) * RATE)
        phase = np.linspace(0.0, 1.0, count)
        rough = 1.0 + dsp.band(rng.standard_normal(count), 0.0, 120.0, RATE)
        pitch = rng.uniform(300.0, 380.0) * (1.0 + 0.7 * np.sin(np.pi * phase**0.6)) * rough
        source = signal.sawtooth(2.0 * np.pi * np.cumsum(pitch) / RATE) + 0.5 * rng.standard_normal(count)
        bark = 0.25 * source
        for low, high in ((500.0, 900.0), (1200.0, 1700.0), (2600.0, 3300.0)):
            bark += dsp.band(source, low, high, RATE)
        shape = np.minimum(phase / 0.06, 1.0) * (1.0 - phase) ** 1.3
        dsp.add(audio, rng.uniform(0.7, 1.0) * shape * bark, round(start * RATE))
    return np.concatenate([audio, dsp.silence(0.6, RATE)])


def siren(rng: np.random.Generator) -> dsp.Audio:
    """A wail that goes up and down every second and a half."""
    time = np.arange(4 * RATE) / RATE
    frequency = 950.0 - 350.0 * np.cos(2.0 * np.pi * time / 1.5)
    audio = 0.01 * dsp.coloured_noise(len(time), 1.0, rng)
    # a horn's odd harmonics, up to the last that stays below half the rate
    for harmonic, level in ((1, 1.0), (3, 0.3), (5, 0.12)):
        audio += level * dsp.tone(harmonic * frequency, RATE)
    return dsp.fade(audio, 0.05, RATE)


def clock(rng: np.random.Generator) -> dsp.Audio:
    """Tick and tock, two a second, over a quiet room."""
    length = 4 * RATE
    audio = 0.002 * dsp.coloured_noise(length, 1.2, rng)
    for index in range(8):
        count = round(0.08 * RATE)
        modes = (1900.0, 3300.0, 5200.0) if index % 2 == 0 else (1500.0, 2800.0, 4500.0)
        tick = dsp.band(rng.standard_normal(count), 2000.0, RATE, RATE) * dsp.decay(count, 0.01, RATE)
        for mode in modes:
            tick += dsp.tone(np.full(count, mode), RATE) * dsp.decay(count, rng.uniform(0.03, 0.06), RATE)
        dsp.add(audio, rng.uniform(0.85, 1.0) * tick, round((0.25 + 0.5 * index) * RATE))
    return audio


def engine(rng: np.random.Generator) -> dsp.Audio:
    """An engine that idles, revs up once and falls back."""
    length = 4 * RATE
    time = np.arange(length) / RATE
    wander = 20.0 * dsp.band(rng.standard_normal(length), 0.0, 8.0, RATE)
    rate = 24.0 + 40.0 * np.exp(-(((time - 2.2) / 0.6) ** 2)) + wander
    cycle = np.cumsum(rate) / RATE
    firing = np.exp(-12.0 * (cycle % 1.0)) * (1.0 + 0.3 * np.cos(np.pi * np.floor(cycle)))
    source = firing - firing.mean() + 0.3 * firing * rng.standard_normal(length)
    audio = dsp.band(source, 30.0, 250.0, RATE)
    for low, high, level in ((250.0, 420.0, 0.8), (700.0, 1100.0, 0.5), (1800.0, 2600.0, 0.3)):
        audio += level * dsp.band(source, low, high, RATE)
    return dsp.fade(np.tanh(2.0 * audio * (0.6 + rate / 64.0)), 0.1, RATE)


SOUNDS: dict[str, tuple[Callable[[np.random.Generator], dsp.Audio], str]] = {
    "rain": (rain, "steady rain with drops hitting a surface nearby"),
    "sea_waves": (sea_waves, "two sea waves swell and break on a beach"),
    "church_bell": (church_bell, "a church bell is struck once and rings out"),
    "birds": (birds, "a small bird chirps in short, fast phrases"),
    "dog_bark": (dog_bark, "a dog barks three times"),
    "siren": (siren, "a siren wails up and down"),
    "clock": (clock, "a clock ticks in a quiet room"),
    "engine": (engine, "an engine idles, revs up once and idles again"),
}
