"""How well and how fast each tracker finds beats: real loops with known beats, and synthetic ones in noise.

``python tests/bench/trackers.py [--quick] [--trackers NAME ...]``. Prints a Markdown table a set. F20 and F70 are
mir_eval's F-measure within 20 and 70 ms, its 5 s trim left off; *F20 less lag* is F20 once the median lag of the
tracker over the set is taken out. *F70 from* and *to*: 95 % interval of F70, by drawing the recordings anew 1000 times
(bootstrap); the crops of one loop are one recording. CMLt and AMLt: beats in a correct run at the annotated level, and
at an allowed one (half, double, off-beat). s/s: processor seconds per second of sound in one thread, after a first call
that loads the models or compiles. Steady drums flatter everything: compare rows, do not read them as accuracy on music.
"""

import argparse
import os
import time
import warnings
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np  # noqa: E402 - it reads the variables when it is imported

DATA = Path(os.environ.get("AUDIOMIX_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
RATE = 44_100
# Beats in each real loop: shared/data/README.md.
LOOPS = {
    "amen_full": 16,
    "compus": 16,
    "breakbeat": 4,
    "garzul": 16,
    "mika": 16,
    "electric": 4,
    "mehackit1": 4,
    "mehackit2": 4,
    "perc1": 4,
    "perc2": 4,
    "weirdo": 8,
    "drone_g_97": 8,
}
# Sixteenths of a bar of four: x loud, o soft. `swing`: how late every second sixteenth is, in sixteenths.
PATTERNS = {
    "rock": {"kick": "x.......x.x.....", "snare": "....x.......x...", "hat": "x.x.x.x.x.x.x.x.", "swing": 0.0},
    "house": {"kick": "x...x...x...x...", "snare": "....x.......x...", "hat": "..x...x...x...x.", "swing": 0.0},
    "breakbeat": {"kick": "x.x.......xx....", "snare": "....x..o.o..x..o", "hat": "x.x.x.x.x.x.x.x.", "swing": 0.0},
    "hiphop": {"kick": "x..o...x..x.....", "snare": "....x.......x...", "hat": "xoxoxoxoxoxoxoxo", "swing": 0.33},
}


def decaying(seconds, tau):
    time_axis = np.arange(round(seconds * RATE)) / RATE
    return time_axis, np.exp(-time_axis / tau)


def highpassed(noise, times=1):
    for _ in range(times):
        noise = np.diff(noise, prepend=0.0)
    return noise / np.abs(noise).max()


def stroke(drum, rng):
    """One stroke of a drum, each a little different."""
    if drum == "kick":
        axis, fall = decaying(0.25, 0.07)
        pitch = 50 + 110 * np.exp(-axis / 0.03)
        return fall * np.sin(2 * np.pi * np.cumsum(pitch) / RATE)
    if drum == "snare":
        axis, fall = decaying(0.18, 0.05)
        return fall * (0.4 * np.sin(2 * np.pi * 190 * axis) + 0.5 * highpassed(rng.standard_normal(len(axis))))
    axis, fall = decaying(0.06, 0.015)
    return 0.25 * fall * highpassed(rng.standard_normal(len(axis)), 2)


def note(hertz, seconds, partials, attack):
    """A harmonic tone with a fade at both ends."""
    axis = np.arange(round(seconds * RATE)) / RATE
    tone = sum(np.sin(2 * np.pi * hertz * k * axis) / k for k in range(1, partials + 1))
    return tone * np.minimum(1, np.minimum(axis, axis[::-1]) / attack)


def add(sound, what, at):
    first = round(at * RATE)
    if 0 <= first < len(sound):
        what = what[: len(sound) - first]
        sound[first : first + len(what)] += what


def pink(count, rng):
    spectrum = np.fft.rfft(rng.standard_normal(count))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[0] = 0
    return np.fft.irfft(spectrum, count)


def synthetic(pattern, bpm, snr_db, seed, seconds=10.0, jitter=0.003):
    """A drum loop with bass and pad in pink noise: (samples, beat times, downbeat times)."""
    rng = np.random.default_rng(seed)
    beat = 60 / bpm
    start = rng.uniform(0.05, beat)
    sound = np.zeros(round(seconds * RATE))
    roots = rng.choice([41.2, 43.7, 49.0, 55.0, 61.7], 4)
    for bar in range(-1, int(seconds / beat / 4) + 2):
        origin = start + bar * 4 * beat
        for drum in ("kick", "snare", "hat"):
            for index, sign in enumerate(pattern[drum]):
                if sign in "xo":
                    late = pattern["swing"] if index % 2 else 0.0
                    at = origin + (index + late) * beat / 4 + rng.normal(0, jitter)
                    loud = (1.0 if sign == "x" else 0.45) * rng.uniform(0.85, 1.0)
                    add(sound, loud * stroke(drum, rng), at)
        root = roots[bar % 4]
        for index in (0, 6, 8, 14):  # the bass does not only play on beats
            add(sound, 0.25 * note(root, beat * 0.45, 6, 0.01), origin + index * beat / 4 + rng.normal(0, jitter))
        for interval in (4, 5, 6):
            add(sound, 0.04 * note(root * interval, beat * 3.9, 4, 0.08), origin)
    noise = pink(len(sound), rng)
    sound += noise * np.sqrt(np.mean(sound**2) / np.mean(noise**2)) * 10 ** (-snr_db / 20)
    every = np.arange(start - 4 * beat * np.floor(start / beat / 4 + 1), seconds, beat)
    kept = every >= 0
    return (sound / np.abs(sound).max() * 0.9).astype(np.float32)[None], every[kept], every[::4][every[::4] >= 0]


def synthetic_set(snr_db, quick):
    tempos = range(80, 181, 50) if quick else range(70, 181, 10)
    for number, (name, pattern) in enumerate(PATTERNS.items()):
        for bpm in tempos:
            yield f"{name} {bpm}", *synthetic(pattern, bpm, snr_db, seed=1000 * number + bpm + (7 if snr_db else 0))


def real_set(quick, seconds=10.0, tiled=30.0):
    """Random crops of each loop played over and over; bars are not annotated, so downbeats are None."""
    from audiomix.audio import io

    rng = np.random.default_rng(5)
    for name, beats in LOOPS.items():
        clip = io.resample(io.read(DATA / "loops" / f"loop_{name}.flac"), RATE)
        one = clip.samples.numpy()
        beat = one.shape[-1] / beats / RATE
        whole = np.tile(one, (1, int(np.ceil(tiled / (beat * beats)))))
        every = np.arange(0, whole.shape[-1] / RATE, beat)
        for start in rng.uniform(0, tiled - seconds, 1 if quick else 4):
            first = round(start * RATE)
            inside = every - first / RATE
            piece = whole[:, first : first + round(seconds * RATE)]
            yield f"{name} +{start:.1f}", piece, inside[(inside >= 0) & (inside < seconds)], None


def measures(beats, found):
    import mir_eval

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mir_eval warns of every empty list
        levels = mir_eval.beat.continuity(beats, found)
        return {
            "F20": mir_eval.beat.f_measure(beats, found, 0.02),
            "F70": mir_eval.beat.f_measure(beats, found, 0.07),
            "CMLt": levels[1],
            "AMLt": levels[3],
        }


def lag_of(pairs):
    """The median distance of the found beats that lie within 70 ms of an annotated one; NaN without any."""
    near = []
    for beats, found in pairs:
        for one in found:
            away = one - beats[np.argmin(np.abs(beats - one))]
            if abs(away) <= 0.07:
                near.append(away)
    return float(np.median(near)) if near else float("nan")


def interval(recordings, values):
    """The 95 % interval of a mean over recordings, by drawing them anew."""
    rng, names = np.random.default_rng(0), sorted(set(recordings))
    of_name = [np.array([v for r, v in zip(recordings, values) if r == name]) for name in names]
    drawn = (rng.integers(len(names), size=len(names)) for _ in range(1000))
    return np.percentile([np.concatenate([of_name[k] for k in some]).mean() for some in drawn], [2.5, 97.5])


def evaluate(tracker, clips):
    """One row of the table."""
    import mir_eval
    import torch

    tracker.track(torch.from_numpy(clips[0][1]), RATE)  # load the models, compile
    pairs, downs, spent, length = [], [], 0.0, 0.0
    for _, sound, beats, downbeats in clips:
        began = time.process_time()
        grid = tracker.track(torch.from_numpy(sound), RATE)
        spent += time.process_time() - began
        length += sound.shape[-1] / RATE
        pairs.append((beats, grid.array))
        if downbeats is not None and grid.phase_known:
            downs.append(mir_eval.beat.f_measure(downbeats, grid.array[grid.downbeats], 0.07))
    rows = [measures(beats, found) for beats, found in pairs]
    row = {name: float(np.mean([r[name] for r in rows])) for name in rows[0]}
    lag = lag_of(pairs)
    row["F20 less lag"] = float(np.mean([measures(b, np.maximum(f - lag, 0))["F20"] for b, f in pairs]))
    row["F70 from"], row["F70 to"] = interval([name.partition(" +")[0] for name, *_ in clips], [r["F70"] for r in rows])
    return {**row, "downbeat F": float(np.mean(downs)) if downs else None, "lag ms": 1000 * lag, "s/s": spent / length}


COLUMNS = {"F20": 3, "F20 less lag": 3, "F70": 3, "F70 from": 3, "F70 to": 3}
COLUMNS |= {"CMLt": 3, "AMLt": 3, "downbeat F": 3, "lag ms": 1, "s/s": 4}


def table(title, rows):
    print(f"\n{title}\n")
    print("| tracker | " + " | ".join(COLUMNS) + " |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    for name, row in rows.items():
        cells = ["-" if row[c] is None else f"{row[c]:.{digits}f}" for c, digits in COLUMNS.items()]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def chosen(names):
    """The trackers to run, with a line for each that cannot run here."""
    from audiomix.beats import trackers

    known = {
        "madmom (downbeat)": ("madmom", {"network": "downbeat"}),
        "madmom (beat)": ("madmom", {"network": "beat"}),
        "librosa": ("librosa", {}),
        "beat_track": ("beat_track", {}),
        "beat_this": ("beat_this", {}),
    }
    made = {}
    for label, (name, options) in known.items():
        if names and name not in names:
            continue
        cls = trackers.get(name)
        if cls.missing() or not cls(**options).finds(None):
            print(f"left out: {label}: {cls.missing() or 'its weights are not here'}")
        else:
            made[label] = cls(**options)
    return made


def main():
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a quarter of the clips")
    parser.add_argument("--trackers", nargs="*", default=(), help="only these: madmom, librosa, beat_track, beat_this")
    options = parser.parse_args()
    torch.set_num_threads(1)
    made = chosen(options.trackers)
    sets = {f"synthetic, noise at {snr} dB": list(synthetic_set(snr, options.quick)) for snr in (20, 0)}
    if (DATA / "loops").exists():
        sets = {"real loops": list(real_set(options.quick)), **sets}
    else:
        print(f"left out: real loops: no {DATA / 'loops'} (set AUDIOMIX_DATA)")
    for title, clips in sets.items():
        table(f"{title}: {len(clips)} clips of 10 s", {name: evaluate(t, clips) for name, t in made.items()})


if __name__ == "__main__":
    main()
