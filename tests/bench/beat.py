"""Do two real pieces keep time once they are mixed? Measured on the partner's sound in the mix, not on any plan.

``python tests/bench/beat.py`` has four parts, each by an option; the first is the default:

``--known``
    Real loops with known beats (shared/data/loops), tiled to 20 s and resampled so that their tempo drifts by 2 to 4 %,
    mixed by their known grids: how far the beats lie from each other with `BeatMix`, with one stretch for the whole
    overlap, and by MusicLDM's rule, which only shifts.
``--table [--trackers NAME ...] [--anchors NAME ...] [--pairs N]``
    The same loops and synthetic drums, mixed by the grids that each tracker finds, with each anchor; and what people
    script: ``librosa.beat.beat_track`` on both, one stretch by the quotient of the tempi, first beats together.
``--listen FILE.html``
    Three mixes for each anchor with clicks on the original's known beats, as one page.
``--long``
    Ten minutes against ten minutes: processor time and memory.

Short 3 kHz bursts are added on the partner's known beats; in the mix they are found again (band-pass 2.5 to 3.5 kHz,
peak of the envelope) and held against the original's known beats. A pair is *in time* if nine in ten of the partner's
beats lie within 50 ms of a beat or half-beat of the original. *downbeat*: the share of the partner's downbeats that lie
within 50 ms of one of the original, of aligned pairs; bars are counted from where a loop begins. *ms*: the median
distance to a beat or half-beat. Intervals: 95 %, by drawing the recordings anew 1000 times (bootstrap).
"""

import argparse
import inspect
import itertools
import resource
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

import trackers as drums
from rhythm import LOOPS, bursts, loop, misses
from sounds import seeded

from audiomix import BeatGrid, BeatMix
from audiomix.audio.io import Clip, resample
from audiomix.beats import trackers
from audiomix.beats.click import add_clicks
from audiomix.beats.match import MatchRule, match_or_reason
from audiomix.beats.plan import BeatPlan
from audiomix.beats.render import render_tracks
from audiomix.beats.track import Tracking
from audiomix.clips import Clips, Notes
from audiomix.report.page import Page

SECONDS = 20.0
NEAR = 0.05  # seconds
SCRIPT = "what people script"
FINDERS = ("librosa", "beat_track", "madmom:network=beat", "madmom", "beat_this")
# The options that this version of the mixer has
_PARAMETERS = inspect.signature(BeatMix).parameters
ANCHORS = ("random", "similar", "longest", "downbeat") if "anchor" in _PARAMETERS else ("default",)


class Piece:
    """A sound (T,) with its known beats in bars of four, `first` beats before a bar; and with bursts on them."""

    def __init__(self, name, sound, times, rate, first=0):
        self.name, self.sound, self.times, self.rate = name, sound, np.array(times), rate
        self.grid = BeatGrid(list(times), [(i - first) % 4 + 1 for i in range(len(times))])
        self.marked = sound + bursts(times, len(sound) / rate, rate, level=2 * float(sound.abs().max()))
        self.found = {}

    @classmethod
    def of_loop(cls, name, seed):
        """A loop that drifts."""
        rng = np.random.default_rng(seed)
        depth, phase = rng.uniform(0.02, 0.04) * rng.choice([-1, 1]), rng.uniform(0, 2 * np.pi)
        return cls(name, *loop(name, SECONDS, depth, phase))

    @classmethod
    def of_drums(cls, name, bpm, seed):
        """A pattern of drums with bass and pad, in noise at 20 dB."""
        sound, times, downbeats = drums.synthetic(drums.PATTERNS[name], bpm, 20, seed, SECONDS)
        sound = resample(Clip(torch.from_numpy(sound), drums.RATE), 24_000)
        return cls(f"{name} {bpm}", sound.samples[0], times, sound.rate, int(np.argmin(np.abs(times - downbeats[0]))))

    def beats(self, tracker):
        """The grid that a tracker finds, found once, and the processor time that took."""
        if tracker == "known":
            return self.grid, 0.0
        if tracker not in self.found:
            tracking = Tracking(tracker, cache=False)
            tracking.samples(self.sound[: 2 * self.rate], self.rate)  # load the models, compile
            began = time.process_time()
            self.found[tracker] = tracking.samples(self.sound, self.rate), time.process_time() - began
        return self.found[tracker]


def fitting(pieces):
    """Ordered pairs whose known tempi fit."""
    found = itertools.permutations(pieces, 2)
    return [(a, b) for a, b in found if not isinstance(match_or_reason(a.grid, b.grid, MatchRule()), str)]


def pairs(count):
    """Ordered pairs of loops whose tempi fit, each with drifts of its own."""
    names = [n for n in LOOPS if n != "loop_drone_g_97"]
    pieces = {name: Piece.of_loop(name, 0) for name in names}
    fit = [(a.name, b.name) for a, b in fitting(pieces.values())]
    order = np.random.default_rng(0).permutation(len(fit))[:count]
    return [(Piece.of_loop(fit[k][0], 2 * int(k) + 1), Piece.of_loop(fit[k][1], 2 * int(k) + 2)) for k in order]


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


class Outcome(NamedTuple):
    """What became of a pair; NaN where it is not aligned, or has no downbeats in the mix."""

    names: tuple[str, str]
    near: float = np.nan  # share of the partner's beats
    distance: float = np.nan  # seconds, median
    downbeat: float = np.nan  # share of the partner's downbeats


def outcome(a, b, partner, about):
    """Hold the partner's bursts against the original's beats; `about`: where to look for each, NaN where it is not."""
    there = np.flatnonzero(np.isfinite(about) & (about > 0.2) & (about < len(partner) / a.rate - 0.2))
    placed = about[there] + misses(partner, about[there], a.rate, within=0.1)
    beats = np.append(a.times, 2 * a.times[-1] - a.times[-2])
    halves = np.sort(np.concatenate([beats, beats[:-1] + np.diff(beats) / 2]))
    distance = np.abs(placed[:, None] - halves).min(1)
    down = np.isin(there, b.grid.downbeats)
    bars = np.abs(placed[down, None] - a.times[a.grid.downbeats]).min(1) <= NEAR
    share = float(bars.mean()) if len(bars) else np.nan
    return Outcome((a.name, b.name), float(np.mean(distance <= NEAR)), float(np.median(distance)), share)


def mix(a, b, tracker, anchor, seed, **options):
    """The plan of a pair, by the grids that a tracker finds."""
    if anchor != "default":
        options["anchor"] = anchor
    grids = a.beats(tracker)[0], b.beats(tracker)[0]
    return draw(BeatMix(rate=a.rate, level="recorded", **options), a, b, grids, seed)


def mixed(a, b, tracker, anchor, seed):
    plan = mix(a, b, tracker, anchor, seed)
    if not plan.aligned.all():
        return Outcome((a.name, b.name))
    knots = (plan.warp[0] * plan.seconds[0]).numpy()
    inside = (b.times > knots[0, 1] + 0.2) & (b.times < knots[-1, 1] - 0.2)
    about = np.where(inside, np.interp(b.times, knots[:, 1], knots[:, 0]), np.nan)  # only where to look
    return outcome(a, b, marked_partner(a, b, plan), about)


def scripted(a, b):
    """One tempo each by `beat_track`, one stretch by their quotient, the first beats on each other."""
    import librosa

    found = [librosa.beat.beat_track(y=p.sound.numpy(), sr=p.rate, units="time") for p in (a, b)]
    if any(len(times) == 0 for _, times in found):
        return Outcome((a.name, b.name))
    rate = float(np.squeeze(found[0][0]) / np.squeeze(found[1][0]))
    late = found[0][1][0] - found[1][1][0] / rate
    stretched = librosa.effects.time_stretch(b.marked.numpy(), rate=rate)
    partner = np.zeros(len(a.sound), dtype=np.float32)
    first = round(late * a.rate)
    piece = stretched[max(0, -first) :][: len(partner) - max(0, first)]
    partner[max(0, first) :][: len(piece)] = piece
    return outcome(a, b, partner, b.times / rate + late)


def interval(outcomes, measure):
    """The 95 % interval of a measure of outcomes, by drawing the recordings anew."""
    rng = np.random.default_rng(0)
    names = sorted({name for one in outcomes for name in one.names})
    found = []
    for _ in range(1000):
        counts = Counter(names[k] for k in rng.integers(len(names), size=len(names)))
        weights = np.array([counts[one.names[0]] * counts[one.names[1]] for one in outcomes])
        found.append(measure(outcomes, weights) if weights.sum() else np.nan)
    return np.nanpercentile(found, [2.5, 97.5]) if np.isfinite(found).any() else (np.nan, np.nan)


def share_in_time(outcomes, weights):
    return np.average([one.near >= 0.9 for one in outcomes], weights=weights)


def share_of_downbeats(outcomes, weights):
    known = np.array([np.isfinite(one.downbeat) for one in outcomes])
    values = np.array([one.downbeat for one in outcomes])[known]
    return np.average(values, weights=weights[known]) if weights[known].sum() else np.nan


def row(name, anchor, outcomes, cost=None):
    """One row of the table."""
    ones = np.ones(len(outcomes))
    aligned = np.mean([np.isfinite(one.near) for one in outcomes])
    cells = [name, anchor, f"{aligned:.0%}"]
    for measure, style in ((share_in_time, ".0%"), (share_of_downbeats, ".2f")):
        low, high = interval(outcomes, measure)
        value = measure(outcomes, ones)
        cells.append("-" if np.isnan(value) else f"{value:{style}} [{low:{style}}, {high:{style}}]")
    cells.append(f"{1000 * np.nanmedian([one.distance for one in outcomes]):.1f}" if aligned else "-")
    cells.append("" if cost is None else f"{cost:.4f}")
    print("| " + " | ".join(cells) + " |", flush=True)


def usable(names):
    """The trackers that can run here, with a line for each that cannot."""
    found = []
    for name in names:
        cls = trackers.read(name).member
        if cls.missing() or not cls().finds(None):
            print(f"left out: {name}: {cls.missing() or 'its weights are not here'}")
        else:
            found.append(name)
    return found


def recordings():
    """The pieces of each set."""
    loops = [Piece.of_loop(name, seed) for seed, name in enumerate(LOOPS) if name != "loop_drone_g_97"]
    tempi = itertools.product(drums.PATTERNS, (84, 96, 112, 128))
    return {
        "real loops, tempo drifting by 2 to 4 %": loops,
        "synthetic drums": [Piece.of_drums(name, bpm, 5000 + seed) for seed, (name, bpm) in enumerate(tempi)],
    }


def table(count, finders, anchors):
    finders = usable(finders)
    for title, pieces in recordings().items():
        found = fitting(pieces)
        found = [found[k] for k in np.random.default_rng(0).permutation(len(found))[:count]]
        print(f"\n{title}: {len(found)} pairs of {len(pieces)} recordings of {SECONDS:g} s\n")
        print("| grids | anchor | aligned | in time, 50 ms | downbeat on downbeat | ms | s per s |")
        print("|---|---|---:|---:|---:|---:|---:|")
        for tracker in ("known", *finders):
            for anchor in anchors:
                outcomes = [mixed(a, b, tracker, anchor, seed) for seed, (a, b) in enumerate(found)]
                used = {piece.name: piece.beats(tracker)[1] for pair in found for piece in pair}
                row(tracker, anchor, outcomes, sum(used.values()) / (SECONDS * len(used)) if used else None)
        row(SCRIPT, "", [scripted(a, b) for a, b in found])


def listen(path, count=3):
    """Write a page with mixes for each anchor: clicks on the original's known beats, higher on downbeats."""
    page = Page("Where two pieces meet: mixes on the beat")
    page.text("Grids by the built-in tracker; with anchor='downbeat' the known ones, for it finds no downbeats.")
    page.text("Clicks mark the known beats of the original, an octave higher on downbeats.")
    chosen = [pair for pair in pairs(12) if mix(*pair, "librosa", ANCHORS[0], 0).aligned.all()][:count]
    for anchor in ANCHORS:
        page.heading(f"anchor={anchor!r}" if anchor != "default" else "BeatMix")
        entries = []
        for seed, (a, b) in enumerate(chosen):
            plan = mix(a, b, "librosa" if anchor != "downbeat" else "known", anchor, seed)
            if not plan.aligned.all():
                page.text(f"{b.name} into {a.name}: not aligned: {plan.why[0]}", muted=True)
                continue
            originals, partners = render_tracks(Clips(a.sound[None, None]), Clips(b.sound[None, None]), plan)
            gains = plan.gains()
            sound = gains[0][0] * originals[0] + gains[1][0] * partners[0]
            clip = add_clicks(Clip(sound.float() / sound.abs().max(), a.rate), a.grid)
            spans = [tuple((plan.overlap[0] * SECONDS).tolist())]
            entries.append((f"{anchor}-{seed}", f"{b.name} into {a.name}", clip, spans))
        page.sounds(entries)
    print(page.write(path))


def long(minutes=10):
    """Ten minutes against ten minutes: tracking, placing, rendering."""
    a, b = (Piece.of_loop(name, seed) for seed, name in enumerate(("loop_amen_full", "loop_compus")))
    times, seconds = round(60 * minutes / SECONDS), 60 * minutes
    sounds = [piece.sound.repeat(times)[None, None] for piece in (a, b)]
    mixer, tracking = BeatMix(rate=a.rate), Tracking("librosa", cache=False)
    tracking.samples(a.sound, a.rate)  # compile
    marks = [("before", time.process_time(), peak())]

    def mark(name):
        marks.append((name, time.process_time(), peak()))

    grids = [tracking.samples(sound[0], a.rate) for sound in sounds]
    mark("tracking both")
    own, source = (Clips(sound, notes=Notes(beats=[grid])) for sound, grid in zip(sounds, grids))
    plan = mixer.draw(own, source, generator=seeded(0))
    mark("drawing")
    mixer.render(own, source, plan)
    mark("rendering")
    start, stop = (plan.overlap[0] * seconds).tolist()
    print(f"{minutes} minutes against {minutes} at {a.rate} Hz, mixed from {start:.0f} to {stop:.0f} s {plan.why[0]}\n")
    print("| | processor s | memory at most, GB |\n|---|---:|---:|")
    for (_, began, _), (name, ended, most) in itertools.pairwise(marks):
        print(f"| {name} | {ended - began:.1f} | {most:.2f} |")
    print(f"| all | {marks[-1][1] - marks[0][1]:.1f} | {marks[-1][2]:.2f} ({marks[0][2]:.2f} before) |")


def peak():
    """The most memory that this process has had, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--known", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--trackers", nargs="*", default=FINDERS, help="for --table; default: all that run here")
    parser.add_argument("--anchors", nargs="*", default=ANCHORS, choices=ANCHORS, help="for --table")
    parser.add_argument("--listen", type=Path, metavar="FILE.html")
    parser.add_argument("--long", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.known or not (given.table or given.listen or given.long):
        known(pairs(given.pairs))
    if given.table:
        table(given.pairs, given.trackers, given.anchors)
    if given.listen:
        listen(given.listen)
    if given.long:
        long()


if __name__ == "__main__":
    main()
