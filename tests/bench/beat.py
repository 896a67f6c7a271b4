"""Do two real pieces keep time once they are mixed? Measured on the partner's sound in the mix, not on any plan.

``python tests/bench/beat.py [--pairs N] [--trackers]`` takes real loops with known beats (shared/data/loops), tiled to
20 s and resampled so that their tempo drifts by 2 to 4 %. Short 3 kHz bursts are added on the partner's known beats;
in the mix they are found again (band-pass 2.5 to 3.5 kHz, peak of the envelope) and held against the original's known
beats over the whole overlap.

First with the known grids: `BeatMix`; beside it one stretch for the whole overlap, and MusicLDM's rule, which only
shifts. Then, with ``--trackers``, with grids that each tracker finds in the loops without bursts: the share of pairs of
which nine bursts in ten lie within 30 ms of a beat.
"""

import argparse
import itertools
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from rhythm import LOOPS, bursts, loop, misses
from sounds import seeded

from audiomix import BeatGrid, BeatMix
from audiomix.beats.match import MatchRule, match_or_reason
from audiomix.beats.plan import BeatPlan
from audiomix.beats.render import render_tracks
from audiomix.beats.track import track_beats
from audiomix.clips import Clips

SECONDS = 20.0


class Piece:
    """A loop that drifts, with its known beats; and with bursts on them."""

    def __init__(self, name, seed):
        rng = np.random.default_rng(seed)
        depth, phase = rng.uniform(0.02, 0.04) * rng.choice([-1, 1]), rng.uniform(0, 2 * np.pi)
        self.name = name
        self.sound, times, self.rate = loop(name, SECONDS, depth, phase)
        self.times = np.array(times)
        metre = [i % 4 + 1 for i in range(len(times))]
        self.grid = BeatGrid(times, metre)
        self.marked = self.sound + bursts(times, SECONDS, self.rate, level=2 * float(self.sound.abs().max()))


def pairs(count):
    """Ordered pairs of loops whose tempi fit, each with drifts of its own."""
    names = [n for n in LOOPS if n != "loop_drone_g_97"]
    bpm = {name: Piece(name, 0).grid for name in names}
    match = {
        pair: match_or_reason(bpm[pair[0]], bpm[pair[1]], MatchRule()) for pair in itertools.permutations(names, 2)
    }
    fit = [pair for pair, found in match.items() if not isinstance(found, str)]
    order = np.random.default_rng(0).permutation(len(fit))[:count]
    return [(Piece(fit[k][0], 2 * int(k) + 1), Piece(fit[k][1], 2 * int(k) + 2)) for k in order]


def marked_partner(a, b, plan):
    """The partner with its bursts, as it is heard in the mix."""
    return render_tracks(Clips(a.sound[None, None]), Clips(b.marked[None, None]), plan)[1][0, 0]


def missed(a, b, plan, stretch, times):
    """How far the partner's bursts lie from the given beats, over the whole overlap."""
    start, stop = (plan.overlap[0] * SECONDS).tolist()
    inside = times[(times > start + 0.16) & (times < stop - 0.16)]
    partner = marked_partner(a, b, replace(plan, stretch=stretch))
    return np.abs(misses(partner, inside, a.rate, within=0.15))


def draw(mixer, a, b, grids, seed):
    x, other = a.sound[None, None], b.sound[None, None]
    plan = mixer(x, other=other, beats=[grids[0]], other_beats=[grids[1]], generator=seeded(seed)).plans[0]
    assert isinstance(plan, BeatPlan)
    return plan


def one_stretch(plan):
    """The same overlap, with its first and last knot only."""
    return replace(plan, warp=(plan.warp[0][[0, -1]],))


def known(found):
    rows = {"BeatMix": [], "BeatMix, varispeed": [], "one stretch": [], "MusicLDM's rule": []}
    for seed, (a, b) in enumerate(found):
        plan = draw(BeatMix(rate=a.rate, level="recorded"), a, b, (a.grid, b.grid), seed)
        if plan.aligned.all():
            rows["BeatMix"].append(missed(a, b, plan, "pitch", a.times))
            rows["BeatMix, varispeed"].append(missed(a, b, plan, "varispeed", a.times))
            rows["one stretch"].append(missed(a, b, one_stretch(plan), "pitch", a.times))
        # its buckets are left out here, or hardly a pair would meet: what is shown is the drift alone
        drifting = BeatMix.musicldm(a.rate, bucket_bpm=1000.0, keep="original")
        plan = draw(drifting, a, b, (a.grid, b.grid), seed)
        if plan.aligned.all():
            rows["MusicLDM's rule"].append(missed(a, b, plan, "none", a.times))
    print(f"known grids, {len(found)} pairs of real loops, tempo drifting by 2 to 4 %\n")
    print("| | pairs | bursts | median ms | 95 % ms | largest ms |\n|---|---:|---:|---:|---:|---:|")
    for name, errors in rows.items():
        every = 1000 * np.concatenate(errors)
        numbers = f"{np.median(every):.2f} | {np.percentile(every, 95):.2f} | {every.max():.1f}"
        print(f"| {name} | {len(errors)} | {len(every)} | {numbers} |")


def tracked(found, name, options):
    """Share of pairs that keep time with the grids a tracker finds; on the known beats, and on half-beats too."""
    strict, loose, unaligned, seconds = 0, 0, 0, 0.0
    for seed, (a, b) in enumerate(found):
        began = time.process_time()
        grids = [track_beats(p.sound, p.rate, tracker=name, **options) for p in (a, b)]
        seconds += time.process_time() - began
        plan = draw(BeatMix(rate=a.rate, level="recorded"), a, b, grids, seed)
        if not plan.aligned.all():
            unaligned += 1
            continue
        halves = np.sort(np.concatenate([a.times, a.times[:-1] + np.diff(a.times) / 2]))
        strict += np.mean(nearest(a, b, plan, a.times) <= 0.03) >= 0.9
        loose += np.mean(nearest(a, b, plan, halves) <= 0.03) >= 0.9
    cost = seconds / (2 * len(found) * SECONDS)
    label = name + "".join(f", {k}={v}" for k, v in options.items())
    print(f"| {label} | {len(found) - unaligned} | {strict / len(found):.0%} | {loose / len(found):.0%} | {cost:.4f} |")


def nearest(a, b, plan, times):
    """How far each burst of the partner, where the mix has it, lies from the nearest of the given times."""
    knots = (plan.warp[0] * plan.seconds[0]).numpy()
    inside = b.times[(b.times > knots[0, 1] + 0.2) & (b.times < knots[-1, 1] - 0.2)]
    about = np.interp(inside, knots[:, 1], knots[:, 0])  # only where to look: what is found there counts
    partner = marked_partner(a, b, plan)
    placed = about + misses(partner, about, a.rate, within=0.1)
    return np.abs(placed[:, None] - times[None]).min(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--trackers", action="store_true", help="also with tracked grids")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = pairs(arguments.pairs)
    known(found)
    if arguments.trackers:
        print("\ntracked grids: pairs of which nine bursts in ten lie within 30 ms (of all pairs)\n")
        print("| tracker | aligned | of a beat | of a beat or half-beat | CPU seconds per second |")
        print("|---|---:|---:|---:|---:|")
        for name, options in (("madmom", {}), ("madmom", {"network": "beat"}), ("librosa", {}), ("beat_track", {})):
            tracked(found, name, options)


if __name__ == "__main__":
    main()
