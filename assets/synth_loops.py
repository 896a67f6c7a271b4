"""Drum loops on an exact grid: each beat is a whole number of samples, and the end runs on into the beginning."""

from dataclasses import dataclass

import dsp
import numpy as np

RATE = 24_000
BEATS_PER_BAR = 4
STEPS_PER_BEAT = 4


@dataclass(frozen=True)
class Loop:
    """A pattern of sixteenths for each drum (x loud, o soft, anything else a rest), a bar or several long."""

    name: str
    bpm: int
    bars: int
    label: str
    caption: str
    pattern: dict[str, str]

    @property
    def beat(self) -> int:
        """The samples in a beat."""
        samples, rest = divmod(60 * RATE, self.bpm)
        if rest:
            raise ValueError(f"a beat at {self.bpm} bpm is no whole number of samples at {RATE} Hz")
        return samples


LOOPS = (
    Loop(
        "hiphop_90",
        90,
        2,
        "hip hop",
        "a slow hip hop drum loop at 90 beats per minute",
        {
            "kick": "x......x..x..... x..x...x..x.....",
            "snare": "....x.......x... ....x.......x..o",
            "hat": "x.o.x.o.x.o.x.o. x.o.x.o.x.o.x.oo",
        },
    ),
    Loop(
        "rock_120",
        120,
        2,
        "rock",
        "a straight rock drum beat at 120 beats per minute",
        {
            "kick": "x.......x.x..... x.......x.x.....",
            "snare": "....x.......x... ....x.......x.oo",
            "hat": "x.o.x.o.x.o.x.o. x.o.x.o.x.o.x.o.",
        },
    ),
    Loop(
        "house_128",
        128,
        4,
        "house",
        "a house drum loop with a kick on every beat at 128 beats per minute",
        {
            "kick": "x...x...x...x...",
            "snare": "....x.......x...",
            "open_hat": "..x...x...x...x.",
            "hat": "o..o...o...o...o",
        },
    ),
    Loop(
        "breakbeat_150",
        150,
        4,
        "breakbeat",
        "a fast breakbeat drum loop at 150 beats per minute",
        {"kick": "x.x.......xx....", "snare": "....x..o.o..x...", "hat": "x.x.x.x.x.x.x.x."},
    ),
)


def kick(rng: np.random.Generator) -> dsp.Audio:
    """A sine that falls from 180 to 48 Hz, with the click of the beater."""
    count = round(0.35 * RATE)
    time = np.arange(count) / RATE
    body = dsp.tone(48.0 + 132.0 * np.exp(-time / 0.025), RATE) * dsp.decay(count, 0.35, RATE)
    return body + 0.3 * rng.standard_normal(count) * dsp.decay(count, 0.008, RATE)


def snare(rng: np.random.Generator) -> dsp.Audio:
    """A short tone of the shell and a longer rattle."""
    count = round(0.22 * RATE)
    shell = dsp.tone(np.full(count, 195.0), RATE) * dsp.decay(count, 0.12, RATE)
    rattle = dsp.band(rng.standard_normal(count), 800.0, 9000.0, RATE) * dsp.decay(count, 0.22, RATE)
    return 0.5 * shell + 0.45 * rattle


def hat(rng: np.random.Generator, seconds: float = 0.07) -> dsp.Audio:
    """High noise, cut short."""
    count = round(seconds * RATE)
    return 0.35 * dsp.band(rng.standard_normal(count), 6000.0, RATE, RATE) * dsp.decay(count, seconds, RATE)


def open_hat(rng: np.random.Generator) -> dsp.Audio:
    """The same, left to ring."""
    return hat(rng, 0.25)


DRUMS = {"kick": kick, "snare": snare, "hat": hat, "open_hat": open_hat}
STRENGTH = {"x": 1.0, "o": 0.5}


def render(loop: Loop, rng: np.random.Generator) -> dsp.Audio:
    """Play a loop; what rings past the end is heard at the start, as when it repeats."""
    steps = loop.bars * BEATS_PER_BAR * STEPS_PER_BEAT
    audio = np.zeros(loop.bars * BEATS_PER_BAR * loop.beat)
    for drum, pattern in loop.pattern.items():
        pattern = pattern.replace(" ", "")
        for index in range(steps):
            strength = STRENGTH.get(pattern[index % len(pattern)])
            if strength is not None:
                stroke = DRUMS[drum](rng) * strength * rng.uniform(0.9, 1.0)
                where = (index * loop.beat // STEPS_PER_BEAT + np.arange(len(stroke))) % len(audio)
                audio[where] += stroke
    return audio


def beats(loop: Loop) -> list[tuple[float, int]]:
    """Return the time in seconds and the position in the bar, from 1, of each beat."""
    return [(index * loop.beat / RATE, 1 + index % BEATS_PER_BAR) for index in range(loop.bars * BEATS_PER_BAR)]
