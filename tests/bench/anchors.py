"""Where two pieces should meet: each anchor, on real loops and synthetic drums, with known beats and tracked ones.

``python tests/bench/anchors.py [--pairs N] [--anchors NAME ...]`` prints a table a set. Pieces of 30 s: loops of
shared/data/loops, tiled, brought to a tempo of 108 to 116 bpm that drifts, cut at a random place (bars begin where the
loop does); and the drum patterns of ``trackers.py``. Grids: the known ones with bars and without, and those of the
built-in tracker. *aligned*: of all pairs; *in time*: nine in ten of the partner's known beats lie within 50 ms of a
known beat or half-beat of the original; *downbeat*: share of the partner's downbeats within 50 ms of one of the
original's; *overlap*: median, of the shorter piece; *s/s*: processor seconds to measure and to place, for a second of
sound. The last three are of the pairs that are aligned.

``--choose`` prints the same for weights of the score, on other loops and other patterns: there they were chosen.
``--write FOLDER`` writes three mixes for each anchor, with clicks on the original's known beats, for listening.
``--long`` measures ten minutes against ten minutes, draw and render.
"""

import argparse
import resource
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import trackers
from rhythm import LOOPS
from sounds import DATA, seeded

from audiomix import BeatGrid, BeatMix
from audiomix.audio import io
from audiomix.audio.io import Clip
from audiomix.beats.click import add_clicks
from audiomix.beats.mashability import measure, score
from audiomix.beats.match import MatchRule
from audiomix.beats.placement import ANCHORS, AnchorSampler
from audiomix.beats.track import track_beats

RATE, SECONDS, TEMPI = 24_000, 30.0, (108, 116)
REPORTED = ("loop_amen_full", "loop_garzul", "loop_electric", "loop_mehackit2", "loop_perc1")
CHOSEN = ("loop_compus", "loop_breakbeat", "loop_mika", "loop_mehackit1", "loop_perc2", "loop_weirdo")
# Sixteenths of a bar, as in trackers.PATTERNS: those that weights are chosen on
OTHERS = {
    "disco": {"kick": "x...x...x...x...", "snare": "....x.......x..o", "hat": "x.xxx.xxx.xxx.xx", "swing": 0.0},
    "funk": {"kick": "x..x......x..x..", "snare": "....x..o.o..x...", "hat": "xxxxxxxxxxxxxxxx", "swing": 0.1},
    "half": {"kick": "x.....x...x.....", "snare": "........x.......", "hat": "x.x.x.x.x.x.x.x.", "swing": 0.0},
    "reggae": {"kick": "........x.......", "snare": "........x.......", "hat": "..x...x...x...x.", "swing": 0.25},
}


@dataclass
class Piece:
    """A sound (T,) with its known beats, and a grid of each kind."""

    name: str
    sound: torch.Tensor
    grid: BeatGrid
    grids: dict = field(default_factory=dict)
    features: dict = field(default_factory=dict)
    spent: dict = field(default_factory=dict)

    def prepare(self, kind):
        """Find the grid of a kind, once, and measure the features it needs."""
        if kind not in self.grids:
            known = {"known": self.grid, "known beats": BeatGrid(self.grid.times)}
            found = known[kind] if kind in known else track_beats(self.sound, RATE, tracker="librosa")
            self.grids[kind] = found.smooth().between(0.0, SECONDS)
            began = time.process_time()
            self.features[kind] = measure(self.sound, RATE, self.grids[kind])
            self.spent[kind] = time.process_time() - began


def looped(name, rng):
    """A loop, tiled, at 108 to 116 bpm, its tempo drifting by up to 2 %, from a random place on."""
    clip = io.read(DATA / "loops" / f"{name}.flac", channels=1)
    one = clip.samples[0].double().numpy()
    beat = len(one) / LOOPS[name]
    moment = np.arange(round(SECONDS * RATE)) / RATE
    depth, phase = rng.uniform(-0.02, 0.02), rng.uniform(0, 2 * np.pi)
    drift = depth * SECONDS / (2 * np.pi) * (np.sin(2 * np.pi * moment / SECONDS + phase) - np.sin(phase))
    place = rng.uniform(0, 16) * beat + (moment + drift) * rng.uniform(*TEMPI) / 60 * beat
    tiles = np.tile(one, int(place[-1] / len(one)) + 2)
    number = np.arange(np.ceil(place[0] / beat), np.floor(place[-1] / beat) + 1)
    times = np.interp(number * beat, place, moment)
    sound = torch.from_numpy(np.interp(place, np.arange(len(tiles)), tiles)).float()
    return Piece(name, sound, BeatGrid(times, (number.astype(int) % 4 + 1).tolist()))


def drummed(name, pattern, rng, snr_db=20):
    """A synthetic pattern at 108 to 116 bpm in noise, from a random place in its first four bars on."""
    bpm, start = rng.uniform(*TEMPI), rng.uniform(0, 8)
    seed = int(rng.integers(1 << 30))
    whole, beats, downbeats = trackers.synthetic(pattern, bpm, snr_db, seed, seconds=SECONDS + 8.5)
    first = np.searchsorted(beats, downbeats[0])
    positions = (np.arange(len(beats)) - first) % 4 + 1
    clip = io.resample(Clip(torch.from_numpy(whole), trackers.RATE), RATE)
    sound = clip.samples[0, round(start * RATE) : round((start + SECONDS) * RATE)]
    return Piece(name, sound, BeatGrid(beats, positions.tolist()).between(start, start + SECONDS))


def pieces(seed, loops, patterns, each, snr_db=20):
    """The pieces of a real and of a synthetic set."""
    rng = np.random.default_rng(seed)
    real = [looped(name, rng) for name in loops for _ in range(each)]
    made = [drummed(name, pattern, rng, snr_db) for name, pattern in patterns.items() for _ in range(each)]
    return {"real loops": real, "synthetic": made}


def pairs(found, count, seed=0):
    """Ordered pairs of pieces of different loops or patterns."""
    every = [(a, b) for a in found for b in found if a.name != b.name]
    return [every[k] for k in np.random.default_rng(seed).permutation(len(every))[:count]]


def judge(a, b, placement):
    """Of one mix: in time, share of downbeats on downbeats, overlap."""
    target, source = placement.alignment.target, placement.alignment.source

    def placed(times):
        inside = times[(times >= source[0]) & (times <= source[-1])]
        return np.interp(inside, source, target)

    def near(found, times):
        return np.abs(found[:, None] - times[None]).min(1) <= 0.05

    own, beats, downbeats = a.grid.array, placed(b.grid.array), placed(b.grid.array[b.grid.downbeats])
    halves = np.concatenate([own, own[:-1] + np.diff(own) / 2])
    on_bar = near(downbeats, own[a.grid.downbeats]).mean() if len(downbeats) else np.nan
    return near(beats, halves).mean() >= 0.9, on_bar, (target[-1] - target[0]) / SECONDS


def row(found, kind, anchor, draws=3):
    """What became of pairs with one kind of grid and one anchor."""
    sampler = AnchorSampler(MatchRule(align="downbeat" if anchor == "downbeat" else "auto"), anchor=anchor)
    results, total, spent = [], 0, 0.0
    for seed, (a, b) in enumerate(found):
        for piece in (a, b):
            piece.prepare(kind)
        features = (a.features[kind], b.features[kind]) if anchor == "similar" else None
        spent += draws * (a.spent[kind] + b.spent[kind]) if features else 0.0
        for number in range(draws):
            began = time.process_time()
            placed = sampler.sample(
                a.grids[kind], b.grids[kind], (SECONDS, SECONDS), seeded(seed + 1000 * number), features
            )
            spent += time.process_time() - began
            total += 1
            if not isinstance(placed, str):
                results.append(judge(a, b, placed))
    if not results:
        return ["0 %", "-", "-", "-", "-"]
    in_time, on_bar, overlap = (np.array(column, dtype=float) for column in zip(*results))
    cells = f"{len(results) / total:.0%}", f"{in_time.mean():.0%}", f"{np.nanmean(on_bar):.2f}"
    return [*cells, f"{np.median(overlap):.2f}", f"{spent / total / 2 / SECONDS:.4f}"]


def table(sets, count, names):
    measure(torch.randn(RATE), RATE, BeatGrid([0.0, 0.5, 1.0]))  # what is imported and compiled once does not count
    print("| set | grids | anchor | aligned | in time, 50 ms | downbeat on downbeat | median overlap | s/s |")
    print("|---|---|---|---:|---:|---:|---:|---:|")
    for title, found in sets.items():
        for kind in ("known", "known beats", "built-in"):
            for anchor in names:
                cells = row(pairs(found, count), kind, anchor)
                print("| " + " | ".join([title, kind, anchor, *cells]) + " |", flush=True)


def choose(count):
    """Weights of rhythm, harmony and balance, and the power of the length, on the sets that are not reported."""
    sets = pieces(1, CHOSEN, OTHERS, 4, snr_db=-5)
    print("| rhythm, harmony, balance | power | set | grids | downbeat on downbeat | median overlap |")
    print("|---|---|---|---|---:|---:|")
    for weights in ((1, 0, 0), (0.8, 0.2, 0), (0.6, 0.3, 0.1), (0.4, 0.4, 0.2), (0.2, 0.8, 0)):
        for power in (0.125, 0.25, 0.5, 1.0):
            score._WEIGHTS, score._LENGTH = weights, power
            for title, found in sets.items():
                for kind in ("known beats", "built-in"):
                    cells = row(pairs(found, count), kind, "similar", draws=1)
                    print(f"| {weights} | {power} | {title} | {kind} | {cells[2]} | {cells[3]} |", flush=True)


def write(folder, names=ANCHORS):
    """Write three mixes for each anchor, ANCHOR-1.flac and so on, with clicks on the original's known beats."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    found = pieces(7, REPORTED, {}, 2)["real loops"]
    for anchor in names:
        for number, (a, b) in enumerate(pairs(found, 3), 1):
            kind = "known" if anchor == "downbeat" else "known beats"
            for piece in (a, b):
                piece.prepare(kind)
            mixer = BeatMix(rate=RATE, anchor=anchor)
            given = {"beats": [a.grids[kind]], "other_beats": [b.grids[kind]], "generator": seeded(number)}
            mixed = mixer(a.sound[None, None], other=b.sound[None, None], **given)
            marked = add_clicks(Clip(0.5 * mixed.x[0] / mixed.x.abs().max(), RATE), a.grid, level_db=-12.0)
            io.write(folder / f"{anchor}-{number}.flac", marked)
            score = mixed.plans[0].describe(0)["mashability"]
            print(f"{anchor}-{number}.flac: {b.name} in {a.name}, grids: {kind}, score {score}")


def ten_minutes():
    """Ten minutes against ten minutes at 44.1 kHz: processor seconds and peak memory of draw and render."""
    rate, seconds = 44_100, 600
    tempi = 120, 124
    drums = [trackers.synthetic(trackers.PATTERNS[name], bpm, 20, 0, 20) for name, bpm in zip(("rock", "house"), tempi)]
    sounds = [torch.from_numpy(one[0]).repeat(1, seconds // 20)[None] for one in drums]
    grids = [BeatGrid(np.arange(0.1, seconds, 60 / bpm)) for bpm in tempi]
    for anchor in ("similar", "random"):
        mixer = BeatMix(rate=rate, anchor=anchor)
        began = time.process_time()
        mixed = mixer(sounds[0], other=sounds[1], beats=grids[:1], other_beats=grids[1:], generator=seeded(0))
        spent = time.process_time() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        start, stop = (mixed.plans[0].overlap[0] * seconds).tolist()
        print(f"{anchor}: {spent:.1f} s, at most {peak:.2f} GB so far, overlap {stop - start:.0f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--anchors", nargs="*", default=ANCHORS, choices=ANCHORS)
    parser.add_argument("--choose", action="store_true", help="weights of the score, on other pieces")
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="three mixes for each anchor, with clicks")
    parser.add_argument("--long", action="store_true", help="ten minutes against ten minutes")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.choose:
        choose(options.pairs)
    elif options.write:
        write(options.write, options.anchors)
    elif options.long:
        ten_minutes()
    else:
        table(pieces(0, REPORTED, trackers.PATTERNS, 4), options.pairs, options.anchors)


if __name__ == "__main__":
    main()
