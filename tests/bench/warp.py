"""What `audiomix.audio.stretch.warp` does to sound, time and attacks, and how fast: ``python tests/bench/warp.py``.

Tones and real loops go through maps whose beats jitter by 2 %. Beside the library's own way stand plain cross-fades
without alignment (``--plain``), one stretch for the whole clip, and python-stretch alone. Loops are those of the folder
``$AUDIOMIX_DATA/loops``; without it those tables are left out. Speed is the median over runs taken in turn, on one
thread; machines are shared and noisy, so compare within a run.
"""

import argparse
import os
import statistics
import time
from contextlib import nullcontext
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from scipy.fft import next_fast_len
from scipy.signal import butter, hilbert, sosfiltfilt

from audiomix.audio import stretch
from audiomix.audio.io import read
from audiomix.audio.stretch import engine, warp

RATE = 44100
DATA = Path(os.environ.get("AUDIOMIX_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
LOOPS = ["loop_amen_full", "loop_garzul", "loop_compus", "loop_mehackit1", "loop_electric", "loop_drone_g_97"]


def grid(seconds, beat=0.5, *, jitter=0.02, drift=0.0, seed=0, normal=False):
    """Beat times: a steady source, and a target whose intervals jitter and drift (from -drift to +drift)."""
    draw = np.random.default_rng(seed)
    count = int(seconds / beat + 1e-9)
    errors = draw.normal(size=count) if normal else draw.uniform(-1, 1, count)
    steps = beat * (1 + jitter * errors + drift * np.linspace(-1, 1, count))
    return np.arange(count + 1) * beat, np.r_[0, np.cumsum(steps)]


def tone(frequency, seconds, rate=RATE):
    return 0.5 * torch.sin(2 * torch.pi * frequency * torch.arange(int(seconds * rate)).double() / rate).float()[None]


def inner(y, rate, seconds=0.2):
    cut = int(seconds * rate)
    return y[0].double().numpy()[cut:-cut]


def ripple(y, frequency, rate=RATE):
    """Largest deviation in dB of the level in windows of about 15 ms (whole periods) from its median, off the ends."""
    width = round(max(1, round(0.015 * frequency)) / frequency * rate)
    energy = np.cumsum(inner(y, rate) ** 2)
    level = 10 * np.log10(energy[width:] - energy[:-width] + 1e-20)
    return np.abs(level - np.median(level)).max()


def purity(y, frequency, rate=RATE):
    """Energy away from the tone (5 % and 30 Hz) in dB of the whole, and the pitch's error in cents."""
    part = inner(y, rate)
    size = next_fast_len(len(part))
    power = np.abs(np.fft.rfft(part * np.blackman(len(part)), size)) ** 2
    bins = np.fft.rfftfreq(size, 1 / rate)
    near = np.abs(bins - frequency) <= max(30, 0.05 * frequency)
    pitch = (power[near] * bins[near]).sum() / power[near].sum()
    return 10 * np.log10(power[~near].sum() / power.sum() + 1e-20), 1200 * np.log2(pitch / frequency)


def partials(y, frequencies, rate=RATE):
    """Ripple of each partial of a chord, behind a band-pass of 16 Hz."""
    bands = [butter(2, [f - 8, f + 8], "bandpass", fs=rate, output="sos") for f in frequencies]
    parts = [sosfiltfilt(band, y[0].double().numpy()).copy() for band in bands]
    return [ripple(torch.from_numpy(part)[None], f, rate) for part, f in zip(parts, frequencies)]


def loop(name, seconds=20.0):
    """One of the loops, mono, tiled to a length; and its rate."""
    clip = read(DATA / "loops" / f"{name}.flac", channels=1)
    size = int(seconds * clip.rate)
    return clip.samples.repeat(1, -(-size // clip.samples.shape[-1]))[:, :size], clip.rate


def bursts(times, size, rate):
    """Bursts of 3 kHz, 5 ms long, centred on times in seconds; (1, size), peak 1."""
    x = np.zeros(size)
    for t in times:
        at = np.arange(max(0, round((t - 0.0025) * rate)), min(size, round((t + 0.0025) * rate)))
        x[at] += np.cos(6000 * np.pi * (at / rate - t)) * np.cos(200 * np.pi * (at / rate - t)) ** 2
    return torch.from_numpy(x).float()[None]


def timing(y, times, rate, reach=0.08):
    """Errors in ms of bursts looked for within `reach` of `times`: peaks of the envelope from 2.5 to 3.5 kHz."""
    band = butter(4, [2500, 3500], "bandpass", fs=rate, output="sos")
    envelope = np.abs(hilbert(sosfiltfilt(band, y[0].double().numpy()), next_fast_len(y.shape[-1])))
    starts = [max(0, int((t - reach) * rate)) for t in times]
    peaks = [s + np.argmax(envelope[s : s + int(2 * reach * rate)]) for s in starts]
    return 1000 * (np.array(peaks) / rate - times)


def burst_errors(x, rate, source, target, *, offset=0.0, one_stretch=False):
    """Errors in ms of bursts laid on a loop at the beats (plus `offset` seconds), after a warp from beats to beats."""
    times = source[1:-1] + offset
    loud = 0.5 * float(x.abs().max()) + 0.3
    ends = (source[[0, -1]], target[[0, -1]]) if one_stretch else (source, target)
    y = warp(x + loud * bursts(times, x.shape[-1], rate), rate, *ends)
    return timing(y, np.interp(times, source, target), rate)


def attack(y, rate, beats):
    """Energy 10 ms after over energy 30 ms before each beat, median, in dB."""
    wave = y[0].double().numpy()
    after = [(wave[round(t * rate) :][: int(0.01 * rate)] ** 2).mean() for t in beats]
    before = [(wave[: round(t * rate)][-int(0.03 * rate) :] ** 2).mean() for t in beats]
    return 10 * np.median(np.log10((np.array(after) + 1e-12) / (np.array(before) + 1e-12)))


MAPS = {
    "uniform 2 %": {},
    "normal 2 %": {"normal": True, "seed": 1},
    "0.47 s beat": {"beat": 0.47, "seed": 2},
    "smooth drift 4 %": {"jitter": 0, "drift": 0.04},
}


def show_sound(seconds):
    print("\nTones: ripple dB / energy elsewhere dB / cents (reach: 1 dB, 3 dB at 110 Hz; -40 dB; 5 cents)")
    for frequency in (110, 220, 1000):
        cells = []
        for options in MAPS.values():
            source, target = grid(seconds, **options)
            y = warp(tone(frequency, seconds), RATE, source, target)
            cells.append("{:5.2f} / {:4.0f} / {:+.1f}".format(ripple(y, frequency), *purity(y, frequency)))
        print(f"  {frequency:5d} Hz   " + "     ".join(cells))
    voice = [130 * k for k in range(1, 20)]
    chord = [110, 138.6, 164.8, 220, 277.2, 329.6, 440, 660, 880, 1320]
    for name, parts in (("voice-like, 130 Hz", voice), ("chord", chord)):
        x = sum(tone(f, seconds) / (i + 1) ** 0.5 for i, f in enumerate(parts)) / 3
        found = partials(warp(x, RATE, *grid(seconds, seed=5)), parts)
        print(f"  {name}: ripple of its partials, median {np.median(found):.2f} dB, worst {max(found):.2f} dB")


def show_noise(seconds):
    """Level of white noise in the 10 ms at joints against elsewhere: what the fade law is for."""
    levels = []
    for seed in range(8):
        x = 0.1 * torch.randn(1, int(seconds * RATE), generator=torch.Generator().manual_seed(seed))
        source, target = grid(seconds, seed=seed)
        y = warp(x, RATE, source, target)[0].double()
        at = [round((t - 0.02) * RATE) for t in target[1:-1]]
        levels.append(np.mean([float(y[a - 220 : a + 220].square().mean()) for a in at]) / float(y.square().mean()))
    print(f"  white noise: level at joints {10 * np.log10(np.mean(levels)):+.2f} dB")


def show_timing():
    print("\nBursts on loops: median / 95th percentile / largest |error| in ms (reach: 2 / 4)")
    for name, options in {**MAPS, "jitter and drift": {"drift": 0.02, "seed": 3}}.items():
        rows = {"at beats": {}, "off beats": {"offset": 0.21}, "one stretch": {"one_stretch": True}}
        cells = []
        for label, way in rows.items():
            errors = [burst_errors(*loop(n), *grid(20, **options), **way) for n in LOOPS]
            found = np.abs(np.concatenate(errors))
            worst = max(np.percentile(np.abs(e), 95) for e in errors)
            shown = f"{np.median(found):5.2f} / {np.percentile(found, 95):5.2f} / {found.max():5.2f}"
            cells.append(f"{label} {shown} (worst loop's 95th {worst:.2f})")
        print(f"  {name:18s}" + "   ".join(cells))


def show_attack():
    x, rate = loop("loop_amen_full")
    source, target = grid(20, 60 / 140)
    print(f"\nAttack, loop_amen_full: {attack(x, rate, source[1:-1]):.1f} dB before,", end=" ")
    print(f"{attack(warp(x, rate, source, target), rate, target[1:-1]):.1f} dB after jitter;", end=" ")
    for speed in (0.9, 1.06, 1.25):
        y = warp(x, rate, source, source / speed)
        print(f"{attack(y, rate, source[1:-1] / speed):.1f} dB at {speed}", end="  ")
    print()


def show_margins():
    print("\nLevel in dB of noise in the first and the last four 10 ms of one call of the engine, against its middle")
    for rate in (8000, 16000, 44100, 48000, 96000, 192000):
        width, cells = rate // 100, []
        for factor in (0.96, 1.04):
            power = 0
            for seed in range(12):
                x = np.random.default_rng(seed).standard_normal((1, rate // 2))
                y = stretch._run(x, rate, factor, 0.0)[0]
                ends = np.r_[y[: 10 * width], y[-10 * width :]].reshape(20, width)
                power = power + (ends**2).mean(1)
            level = 10 * np.log10(power / power[5:15].mean())
            cells.append(f"at {factor}: " + " ".join(f"{v:+.1f}" for v in [*level[:4], *level[-4:]]))
        print(f"  {rate:7d} Hz  " + "   ".join(cells))


def show_speed(seconds, runs):
    print(f"\nTimes real time, {seconds:g} s at {RATE} Hz, every beat a piece (reach: 50 mono, 30 stereo)")
    source, target = grid(seconds)
    for channels in (1, 2):
        x = 0.1 * torch.randn(channels, int(seconds * RATE), generator=torch.Generator().manual_seed(0))
        ways = {
            "warp": lambda x=x: warp(x, RATE, source, target),
            "warp, one piece": lambda x=x: warp(x, RATE, source, source / 1.02),
            "varispeed": lambda x=x: warp(x, RATE, source, target, method="varispeed"),
            "engine alone": lambda x=x: stretch._run(x.numpy(), RATE, 1.02, 0.0),
        }
        found = {name: [] for name in ways}
        for _ in range(runs + 1):
            for name, way in ways.items():
                start = time.perf_counter()
                way()
                found[name].append(seconds / (time.perf_counter() - start))
        print(f"  {channels} ch: " + ", ".join(f"{n} {statistics.median(v[1:]):.0f}" for n, v in found.items()))


def show_varispeed(seconds):
    print("\nVarispeed, beats jittering by 2 %: error in dB of the tone; what is left of a tone that would be aliased")
    source, target = grid(seconds)
    cells = []
    for share in (0.005, 0.1, 0.25, 0.35, 0.4):
        y = inner(warp(tone(share * RATE, seconds), RATE, source, target, method="varispeed"), RATE)
        at = np.interp((np.arange(len(y)) + int(0.2 * RATE)) / RATE, target, source)
        wanted = 0.5 * np.sin(2 * np.pi * share * RATE * at)
        cells.append(f"{share:g}: {10 * np.log10(((y - wanted) ** 2).mean() / (wanted**2).mean()):.0f}")
    y = inner(warp(tone(0.47 * RATE, seconds), RATE, [0, seconds], [0, seconds / 1.1], method="varispeed"), RATE)
    print(f"  of the rate {', '.join(cells)}; aliased 0.47 at 1.1: {20 * np.log10(y.std() / 0.3536):.0f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="length of tones and of the clip that is timed")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--plain", action="store_true", help="join without alignment, to see what it does")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{engine()}, torch {torch.__version__}; maps: {', '.join(MAPS)}")
    untouched = mock.patch.object(stretch, "_align_phases", lambda before, after, sound, rate: sound)
    with untouched if arguments.plain else nullcontext():
        show_sound(arguments.seconds)
        show_noise(arguments.seconds)
        if (DATA / "loops").exists():
            show_timing()
            show_attack()
    show_margins()
    show_varispeed(arguments.seconds)
    show_speed(arguments.seconds, arguments.runs)


if __name__ == "__main__":
    main()
