"""Music whose beats are known, and finding them again in a sound: by band-pass and peak search, not by any plan."""

import importlib
from functools import cache

import numpy as np
import torch
from scipy.signal import butter, hilbert, sosfiltfilt
from sounds import DATA, seeded

from audiomix import BeatGrid
from audiomix.audio import io
from audiomix.clips import Clips, Notes

# Of the pieces that are made: Hz, seconds
RATE, LONG = 8000, 12.0

# Of `song`
SONG_RATE = 12_000

# Loops with a whole number of beats over the file's length (shared/data/README.md)
LOOPS = {
    "loop_amen_full": 16, "loop_compus": 16, "loop_breakbeat": 4, "loop_garzul": 16, "loop_mika": 16,
    "loop_electric": 4, "loop_mehackit1": 4, "loop_mehackit2": 4, "loop_perc1": 4, "loop_perc2": 4,
    "loop_weirdo": 8, "loop_drone_g_97": 8,
}  # fmt: skip


def steady(bpm, seconds, start=0.0):
    """Beat times of a steady piece."""
    return [float(t) for t in np.arange(start, seconds - 1e-9, 60 / bpm)]


def drifting(bpm, seconds, depth=0.03, phase=0.0):
    """Beat times of a piece whose tempo drifts by `depth` to both sides."""
    t = np.arange(0, seconds, 0.001)
    beat = np.concatenate([[0], np.cumsum(bpm / 60 * (1 + depth * np.sin(2 * np.pi * t / seconds + phase)) * 0.001)])
    return [float(v) for v in np.interp(np.arange(int(beat[-1]) + 1), beat, np.arange(len(beat)) * 0.001)]


def bursts(times, seconds, rate, hz=3000.0, level=0.5):
    """A sound (T,) with short bursts on the given times."""
    x = np.zeros(round(seconds * rate))
    size = round(0.005 * rate)
    burst = level * np.hanning(size) * np.sin(2 * np.pi * hz * np.arange(size) / rate)
    for time in times:
        start = round(time * rate) - size // 2
        if start >= 0 and start + size <= len(x):
            x[start : start + size] += burst
    return torch.from_numpy(x).float()


def misses(x, times, rate, hz=3000.0, within=0.06):
    """How far from each expected time (s) the loudest moment of the band around `hz` is; none near the ends."""
    band = butter(4, [hz * 5 / 6, hz * 7 / 6], "bandpass", fs=rate, output="sos")
    envelope = np.abs(hilbert(sosfiltfilt(band, np.asarray(x, dtype=np.float64))))
    found = []
    for time in times:
        first, last = round((time - within) * rate), round((time + within) * rate)
        if first >= 0 and last < len(envelope):
            found.append((first + int(np.argmax(envelope[first:last]))) / rate - time)
    return np.array(found)


def loop(name, seconds=20.0, depth=0.0, phase=0.0):
    """A real loop, mono, tiled and resampled so that its tempo drifts by `depth`: samples (T,), beat times, rate."""
    clip = io.read(DATA / "loops" / f"{name}.flac", channels=1)
    one = clip.samples[0].double().numpy()
    time = np.arange(round(seconds * clip.rate)) / clip.rate
    # where in the tiled loop each moment comes from: its derivative is 1 + depth * cos
    swing = np.sin(2 * np.pi * time / seconds + phase) - np.sin(phase)
    place = time + depth * seconds / (2 * np.pi) * swing
    tiles = np.tile(one, int(np.ceil(place[-1] * clip.rate / len(one))) + 1)
    x = np.interp(place * clip.rate, np.arange(len(tiles)), tiles)
    beats = np.arange(0, place[-1], len(one) / clip.rate / LOOPS[name])
    return torch.from_numpy(x).float(), np.interp(beats, place, time).tolist(), clip.rate


def quiet(seconds, rate, level=0.01, seed=0):
    """Quiet noise (T,)."""
    return torch.randn(round(seconds * rate), generator=seeded(seed)) * level


def piece(bpm, seconds=LONG, metre=None, key=None, hz=3000.0, start=0.0, times=None):
    """A sound (1, T) of quiet noise with a burst on every beat, and its grid."""
    times = steady(bpm, seconds, start) if times is None else times
    sound = bursts(times, seconds, RATE, hz) + quiet(seconds, RATE, 0.003)
    positions = None if metre is None else [i % metre + 1 for i in range(len(times))]
    return sound[None], BeatGrid(times, positions, key=key)


def mixed_pair(mixer, a, b, seed=0):
    """Mix b into a; the mix, its plan, and the partner's stem."""
    x, other, beats = a[0][None], b[0][None], {"beats": [a[1]], "other_beats": [b[1]]}
    out = mixer(x, other=other, **beats, generator=seeded(seed))
    plan = out.plans[0]
    stem = mixer(torch.zeros_like(x), other=other, **beats, plan=plan).x
    return out, plan, stem[0, 0]


def clips(*pieces):
    """Pieces of one length as one side of a mix."""
    return Clips(torch.stack([p[0] for p in pieces]), notes=Notes(beats=[p[1] for p in pieces]))


def drawn(mixer, pieces, seed=0):
    """The plan alone, for what needs no sound."""
    own = clips(*pieces)
    return mixer.draw(own, own, generator=seeded(seed))


def within(plan, times, seconds=LONG, margin=0.06):
    """The times that lie inside of the overlap."""
    start, stop = (plan.overlap[0] * seconds).tolist()
    return [t for t in times if start + margin < t < stop - margin]


@cache
def song(semitones=0, seed=0, bpm=120, beats=24):
    """A piece (T,): a drawn chord and drawn strokes on each beat, nowhere the same, transposed as it is made."""
    rng, beat = np.random.default_rng(seed), 60 / bpm
    size, moment = round(beat * SONG_RATE), np.arange(round(beat * SONG_RATE)) / SONG_RATE
    sound = np.zeros(beats * size)
    for k in range(beats):
        chord = 57 + rng.choice(12, 3, replace=False) + semitones
        tone = sum(np.sin(2 * np.pi * 440 * 2 ** ((note - 69) / 12) * moment + rng.uniform(0, 6)) for note in chord)
        sound[k * size : (k + 1) * size] = 0.1 * tone * np.exp(-2 * moment)
        for at in np.flatnonzero(rng.random(4) < 0.5):
            start = k * size + at * size // 4
            stroke = rng.standard_normal(400) * np.exp(-np.arange(400) / 80)
            sound[start : start + 400] += 0.4 * stroke[: len(sound) - start]
    return torch.from_numpy(sound).float()


def random_beat_this(folder):
    """The weights of a small Beat This! that nobody trained, in a file; it believes in beats a little more than not."""
    importlib.import_module("audiomix.torchaudio")  # before beat_this imports it
    torch.manual_seed(0)
    sizes = {"transformer_dim": 64, "n_layers": 1, "stem_dim": 32}
    network = importlib.import_module("beat_this.model.beat_tracker").BeatThis(**sizes)
    with torch.no_grad():
        network.task_heads.beat_downbeat_lin.bias.fill_(0.5)
    state = {f"model.{name}": value for name, value in network.state_dict().items()}
    torch.save({"hyper_parameters": sizes, "state_dict": state}, folder / "random.ckpt")
    return folder / "random.ckpt"
