"""Spoken words: espeak-ng voices in a small noisy room, one second each."""

import functools
import io
import re
import shutil
import subprocess
from dataclasses import dataclass

import dsp
import numpy as np
import soundfile
from scipy import signal

RATE = 16_000
LENGTH = RATE
WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
VOICES = (
    "en-us",
    "en-gb",
    "en-gb-scotland",
    "en-029",
    "en-gb-x-rp",
    "en-us-nyc",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
)
# One row holds timbres of a kind and one column is a fold: no timbre is in two folds, and all folds are alike.
VARIANTS = (
    ("f1", "f2", "f3", "f4"),
    ("m1", "m2", "m3", "m4"),
    ("m5", "m6", "m7", "m8"),
    ("Annie", "f5", "linda", "aunty"),
    ("klatt", "klatt2", "klatt3", "klatt4"),
    ("Alex", "Gene", "croak", "edward"),
)
SNR_DB = (12.0, 32.0)
PEAK_DB = (-32.0, -16.0)


@dataclass(frozen=True)
class Speaker:
    """An espeak-ng voice (an accent) and variant (a timbre)."""

    voice: str
    variant: str
    fold: int

    @property
    def name(self) -> str:
        """The two names in one, fit for a file."""
        return f"{self.voice}_{self.variant}"


def _speakers() -> tuple[Speaker, ...]:
    """Give every variant two of the eight accents, in turn, so that every fold hears all of them."""
    return tuple(
        Speaker(VOICES[(2 * row + fold + 4 * second + row // 2) % len(VOICES)], variant, fold + 1)
        for row, variants in enumerate(VARIANTS)
        for fold, variant in enumerate(variants)
        for second in (0, 1)
    )


SPEAKERS = _speakers()


@functools.cache
def espeak_version() -> str:
    """Return the release of espeak-ng; raise FileNotFoundError where there is none."""
    if shutil.which("espeak-ng") is None:
        raise FileNotFoundError("espeak-ng is not installed; on Debian or Ubuntu: apt-get install espeak-ng")
    text = subprocess.run(["espeak-ng", "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\d+(\.\d+)+", text)
    return found.group() if found else "of unknown release"


def speak(word: str, speaker: Speaker, pitch: int, speed: int) -> dsp.Audio:
    """Have espeak-ng say a word; return it at RATE, without the silence around it."""
    command = ["espeak-ng", "-v", f"{speaker.voice}+{speaker.variant}", "-p", str(pitch), "-s", str(speed)]
    done = subprocess.run([*command, "--stdout", word], capture_output=True, check=True)
    return speech_of(*soundfile.read(io.BytesIO(done.stdout), dtype="float64"))


def speech_of(audio: dsp.Audio, rate: int) -> dsp.Audio:
    """Return a sound at RATE, without the silence around it: what is 40 dB below its peak."""
    common = np.gcd(RATE, rate)
    audio = signal.resample_poly(audio, RATE // common, rate // common)
    heard = np.flatnonzero(np.abs(audio) > 0.01 * np.abs(audio).max())
    return audio[heard[0] : heard[-1] + 1]


def room(audio: dsp.Audio, rng: np.random.Generator) -> dsp.Audio:
    """Add a room's echo and a microphone's colour."""
    seconds = rng.uniform(0.1, 0.3)
    length = round(seconds * RATE)
    echo = rng.standard_normal(length) * dsp.decay(length, seconds, RATE)
    echo *= dsp.gain(rng.uniform(-24.0, -10.0)) / np.sqrt(np.sum(echo**2))
    echo[0] += 1.0
    audio = signal.fftconvolve(audio, echo)
    audio = dsp.band(audio, rng.uniform(50.0, 200.0), rng.uniform(5000.0, 7500.0), RATE, order=1)
    return audio


def background(rng: np.random.Generator) -> dsp.Audio:
    """Draw one second of room noise of unit RMS: hiss to rumble, sometimes with mains hum."""
    noise = dsp.coloured_noise(LENGTH, rng.uniform(0.3, 1.8), rng)
    if rng.random() < 0.3:
        time = np.arange(LENGTH) / RATE
        mains = rng.choice([50.0, 60.0])
        for harmonic in range(1, 6):
            phase = rng.uniform(0.0, 2.0 * np.pi)
            noise += rng.uniform(0.0, 0.6) * np.sin(2.0 * np.pi * mains * harmonic * time + phase)
    return noise / dsp.rms(noise)


def clip(word: str, speaker: Speaker, rng: np.random.Generator) -> tuple[dsp.Audio, dict[str, int | float]]:
    """Return one second with the word somewhere in it, and the settings drawn for it."""
    pitch, speed = int(rng.integers(30, 71)), int(rng.integers(130, 191))
    spoken = speak(word, speaker, pitch, speed)
    if len(spoken) > LENGTH:
        raise ValueError(f"{speaker.name} takes more than a second to say {word!r} at {speed} words a minute")
    audio, snr = place(spoken, rng, SNR_DB)
    return audio, {"pitch": pitch, "speed": speed, "snr_db": snr}


def place(spoken: dsp.Audio, rng: np.random.Generator, snr_db: tuple[float, float]) -> tuple[dsp.Audio, float]:
    """Return one second with a word somewhere in it, in a noisy room, and the drawn distance of the noise in dB."""
    start = int(rng.integers(0, LENGTH - len(spoken) + 1))
    snr = round(float(rng.uniform(*snr_db)), 1)
    audio = np.zeros(LENGTH)
    dsp.add(audio, room(spoken, rng), start)
    level = dsp.rms(audio[start : start + len(spoken)])
    audio = audio + background(rng) * (level * dsp.gain(-snr))
    return dsp.to_peak(audio, rng.uniform(*PEAK_DB)), snr
