"""Synthetic songs with known beats: with and without drums, straight and swung, in steady and in free time.

Each seed is one song: tempo, metre, patterns, sounds, drift, noise and room are drawn from it. Half of them have drums;
of the others many have no more than a melody over slow chords, where a tracker has a right to fail.
"""

import numpy as np
from scipy.signal import butter, fftconvolve, sosfilt
from trackers import RATE, add, note, pink, stroke

_SCALE = (0, 2, 4, 5, 7, 9, 11)
_ROOTS = (0, 5, 7, 9, 2, 4)


def beat_times(rng, seconds):
    """Beat times of a song and what they are made of: steady, drifting, or rubato (a random walk of the tempo)."""
    beat = 60 / rng.uniform(62, 185)
    kind = rng.choice(["steady", "drift", "rubato"], p=[0.55, 0.25, 0.2])
    depth, phase = rng.uniform(0.01, 0.05), rng.uniform(0, 2 * np.pi)
    times, walk = [rng.uniform(-beat, 0.0)], 0.0
    while times[-1] < seconds + beat:
        walk = 0.85 * walk + rng.normal(0, 0.05 if kind == "rubato" else 0.003)
        drift = depth * np.sin(2 * np.pi * times[-1] / 12 + phase) if kind == "drift" else 0.0
        times.append(times[-1] + beat * (1 + drift) * np.exp(walk if kind != "drift" else 0.0))
    return np.array(times), kind


def _at(times, beats):
    """When a number of beats since the first one has passed; beats may be fractions."""
    return float(np.interp(beats, np.arange(len(times)), times))


def _pattern(rng, metre, kind):
    """Strokes of one drum in a bar, as (sixteenth, strength)."""
    steps = 4 * metre
    if kind == "kick":
        chosen = [0, *rng.choice(np.arange(2, steps), rng.integers(0, 4), replace=False)]
    elif kind == "snare":
        chosen = [4 * b for b in range(1, metre, 2)] if rng.random() < 0.75 else list(rng.integers(1, steps, 2))
        chosen += list(rng.integers(0, steps, rng.integers(0, 3)))
    else:
        step = int(rng.choice([1, 2, 2, 4]))
        chosen = [s for s in range(int(rng.choice([0, step // 2])), steps, step) if rng.random() < 0.92]
    return [(int(s), 1.0 if s % 4 == 0 else float(rng.uniform(0.3, 0.9))) for s in sorted(set(map(int, chosen)))]


def _drums(sound, times, rng, metre, swing, jitter, level):
    names = [d for d, p in (("kick", 0.85), ("snare", 0.8), ("hat", 0.85)) if rng.random() < p] or ["kick"]
    gap = rng.uniform(0, 0.25) if rng.random() < 0.3 else 0.0  # bars that are left out
    for name in names:
        pattern = _pattern(rng, metre, name)
        loud = level * rng.uniform(0.4, 1.0)
        for bar in range(0, len(times), metre):
            if rng.random() < gap:
                continue
            for step, strength in pattern:
                late = swing if step % 2 else 0.0
                when = _at(times, bar + (step + late) / 4) + rng.normal(0, jitter)
                add(sound, loud * strength * rng.uniform(0.8, 1.0) * stroke(name, rng), when)


def _chords(sound, times, rng, metre, root):
    """Slow chords, held for a bar or half of one; attacks from that of a guitar to that of strings."""
    attack, every = float(rng.choice([0.005, 0.03, 0.1, 0.3])), int(rng.choice([metre, metre, max(1, metre // 2)]))
    comping = rng.random() < 0.4
    for bar in range(0, len(times) - every, every):
        degree = int(rng.choice(_ROOTS))
        start, stop = times[bar], times[bar + every]
        spans = [(start, stop)]
        if comping:
            count = min(2 * every, int(rng.integers(1, 4)))
            offsets = sorted(rng.choice(np.arange(0, every, 0.5), count, replace=False))
            spans = [(_at(times, bar + o), _at(times, bar + o) + 0.6 * (stop - start) / every) for o in offsets]
        for begin, end in spans:
            for interval in (0, 4 if degree in (0, 5, 7) else 3, 7):
                hertz = root * 2 * 2 ** ((degree + interval) / 12)
                at = begin + rng.normal(0, 0.008)
                add(sound, 0.08 * note(hertz, max(0.1, end - begin), int(rng.integers(2, 7)), attack), at)


def _bass(sound, times, rng, metre, root, swing):
    count = int(rng.integers(1, 2 * metre))
    steps = sorted(map(int, rng.choice(np.arange(0, 4 * metre, 2), count, replace=False)))
    for bar in range(0, len(times) - metre, metre):
        degree = int(rng.choice(_ROOTS))
        for step in steps:
            at = _at(times, bar + (step + (swing if step % 2 else 0)) / 4) + rng.normal(0, 0.006)
            add(sound, 0.3 * note(root / 2 * 2 ** (degree / 12), 0.25, 6, 0.008), at)


def _melody(sound, times, rng, root, free):
    """Notes of random lengths, mostly on half-beats; `free`: sung, with glides and vibrato, near no grid at all."""
    at, attack = 0.0, float(rng.choice([0.005, 0.02, 0.06]))
    while at < len(times) - 3:
        length = float(rng.choice([0.25, 0.5, 0.5, 1.0, 1.5, 2.0, 3.0], p=[0.1, 0.25, 0.2, 0.25, 0.08, 0.09, 0.03]))
        begin, end = _at(times, at), _at(times, at + length)
        begin += rng.normal(0, 0.06 if free else 0.01)
        if rng.random() < 0.85:
            hertz = root * 4 * 2 ** (int(rng.choice(_SCALE)) / 12)
            seconds = max(0.08, 0.9 * (end - begin))
            axis = np.arange(round(seconds * RATE)) / RATE
            bend = 0.02 * np.sin(2 * np.pi * 5.5 * axis) if free else 0.0
            phase = 2 * np.pi * np.cumsum(hertz * (1 + bend) * np.ones(len(axis))) / RATE
            tone = sum(np.sin(k * phase) / k for k in range(1, 6))
            shape = np.minimum(1, axis / (0.08 if free else attack)) * np.exp(-axis / rng.uniform(0.2, 1.5))
            add(sound, 0.15 * rng.uniform(0.5, 1) * tone * shape, begin)
        at += length


def song(seed, seconds=None):
    """Return one song: samples (1, T) at `RATE`, beat times, and the parts that it has, in words."""
    rng = np.random.default_rng([seed, 17])
    seconds = float(rng.uniform(6, 12)) if seconds is None else seconds
    times, tempo = beat_times(rng, seconds)
    metre, swing = int(rng.choice([4, 4, 4, 3, 5])), float(rng.choice([0.0, 0.0, rng.uniform(0.15, 0.4)]))
    root, jitter = 110 * 2 ** (rng.uniform(-6, 6) / 12), float(rng.uniform(0.002, 0.012))
    sound = np.zeros(round(seconds * RATE))
    drums = float(rng.choice([0.0, rng.uniform(0.05, 0.3), rng.uniform(0.3, 1.0)], p=[0.35, 0.25, 0.4]))
    parts = [tempo]
    if drums:
        _drums(sound, times, rng, metre, swing, jitter, drums)
        parts.append("drums" if drums > 0.3 else "soft drums")
    if rng.random() < 0.75:
        _chords(sound, times, rng, metre, root)
        parts.append("chords")
    if rng.random() < 0.55:
        _bass(sound, times, rng, metre, root, swing)
        parts.append("bass")
    if rng.random() < 0.6 or len(parts) == 1:
        free = bool(rng.random() < 0.5)
        _melody(sound, times, rng, root, free)
        parts.append("voice" if free else "melody")
    return _record(sound, rng), times[(times >= 0) & (times < seconds)], parts


def _record(sound, rng):
    """What a room, a microphone and a recorder add."""
    if rng.random() < 0.5:
        tail = np.exp(-np.arange(round(0.8 * RATE)) / RATE / rng.uniform(0.05, 0.35))
        wet = fftconvolve(sound, tail * rng.standard_normal(len(tail)))[: len(sound)]
        sound = sound + rng.uniform(0.05, 0.6) * wet * np.sqrt(np.mean(sound**2) / max(np.mean(wet**2), 1e-20))
    if rng.random() < 0.3:
        sound = sosfilt(butter(2, rng.uniform(1500, 6000), fs=RATE, output="sos"), sound)
    if rng.random() < 0.3:
        sound = np.tanh(4 * sound / max(np.abs(sound).max(), 1e-9))
    noise = pink(len(sound), rng)
    snr = rng.choice([60.0, rng.uniform(0, 40)])
    sound = sound + noise * np.sqrt(np.mean(sound**2) / np.mean(noise**2)) * 10 ** (-snr / 20)
    return (0.9 * sound / np.abs(sound).max()).astype(np.float32)[None]
