"""Can the confidence be trusted? Its model is fitted here, and measured on clips of other sources.

``python tests/bench/confidence.py [--fit] [--picture PATH] [--cache FOLDER]``. The clips are those of
`rhythm_clips.py`. Half of their sources are for the fit, the others for the check; what is printed is of the check
alone.

With ``--fit`` first the constants of `audiomix.beats.confidence`: a logistic regression (L2, each number divided by its
deviation) of whether a clip's beats are right, clips that are no music counted half, all trackers together. madmom runs
on a part of the clips. beat_this is not among them, for its weights cannot be had here.

Then for each tracker: how often its beats are right; the area under the curve (AUC) of the confidence; predicted and
true shares; which share of each class of ESC-10 is refused; and pairs of clips, one laid on the other by the tracked
beats: a pair is in time if nine in ten of the partner's known beats lie within 50 ms of a known beat or half-beat of
the original.
"""

import argparse
import pickle
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))

from rhythm_clips import NEVER, Found, clips, share_near
from scipy.optimize import minimize

from audiomix.beats import confidence
from audiomix.beats.confidence import EVIDENCE, MIN_CONFIDENCE, collect_evidence
from audiomix.beats.match import MatchRule
from audiomix.beats.placement import AnchorSampler
from audiomix.beats.silence import drop_silent
from audiomix.beats.track import Tracking

TRACKERS = {"librosa": False, "beat_track": False, "madmom:network=beat": True, "madmom": True}  # slow or not
MUSIC = ("loop", "song with drums", "song without drums")


def measure(folder):
    """Track all clips and measure the evidence; kept in a folder, by clip and tracker, until someone removes it."""
    path, began = folder / "found.pkl", time.time()
    known = pickle.loads(path.read_bytes()) if path.exists() else {}
    if "complete" in known:
        return known["complete"]
    trackers, rows = {name: Tracking(name, cache=False) for name in TRACKERS}, []
    for number, clip in enumerate(clips()):
        for name, tracking in trackers.items():
            if TRACKERS[name] and not clip.few:
                continue
            if (clip.name, name) not in known:
                grid = drop_silent(tracking.tracker_for().track(clip.samples, clip.rate), clip.samples, clip.rate)
                evidence = collect_evidence(grid, clip.samples, clip.rate)
                known[clip.name, name] = Found(name, replace(clip, samples=None), grid, evidence)
            rows.append(known[clip.name, name])
        if number % 20 == 0:
            print(f"{number} clips, {time.time() - began:.0f} s", file=sys.stderr, flush=True)
            path.write_bytes(pickle.dumps(known))
    path.write_bytes(pickle.dumps({"complete": rows}))
    return rows


def sureness(row):
    """The confidence, by the constants as they are."""
    if row.evidence is None:
        return 0.0
    return 1 / (1 + np.exp(-(confidence._BIAS + float(row.evidence @ confidence._WEIGHTS))))


def fit(rows):
    """Print the constants and use them."""
    rows = [row for row in rows if not row.clip.held and row.evidence is not None]
    x, y = np.stack([row.evidence for row in rows]), np.array([row.right for row in rows], dtype=float)
    weight = np.array([1.0 if row.clip.kind in MUSIC else 0.5 for row in rows])
    mean, deviation = x.mean(0), x.std(0)
    z = (x - mean) / deviation

    def loss(parameters):
        score = parameters[0] + z @ parameters[1:]
        return float(weight @ (np.logaddexp(0, score) - y * score)) + 0.5 * float(parameters[1:] @ parameters[1:])

    found = minimize(loss, np.zeros(1 + len(EVIDENCE))).x
    weights = np.round(found[1:] / deviation, 2)
    bias = round(float(found[0] - weights @ mean), 2)
    sources = len({row.clip.source for row in rows})
    print(f"fitted on {len(rows)} clips and trackers of {sources} sources, {int(y.sum())} of them right\n")
    print(f"_WEIGHTS = {tuple(weights.tolist())}\n_BIAS = {bias}\n")
    confidence._WEIGHTS, confidence._BIAS = tuple(weights.tolist()), bias


def area(good, bad):
    """The probability that one of `good` is larger than one of `bad`: the AUC."""
    if not len(good) or not len(bad):
        return float("nan")
    good, bad = np.asarray(good)[:, None], np.asarray(bad)[None]
    return float(np.mean((good > bad) + 0.5 * (good == bad)))


def table(rows, least):
    print(f"clips of the check; refused: with a confidence below {least:g}\n")
    kinds = (*NEVER, "speech", "recorded noise")
    heads = "clips of music | right | right, if kept | kept, of right | AUC | of music alone | refused: "
    print(f"| tracker | {heads}" + " | ".join(kinds) + " |\n|---" + "|---:" * (6 + len(kinds)) + "|")
    for name in TRACKERS:
        own = [row for row in rows if row.tracker == name]
        music = [row for row in own if row.clip.kind in MUSIC]
        kept = [row for row in music if sureness(row) >= least]
        good = [sureness(row) for row in own if row.right]
        areas = [area(good, [sureness(r) for r in some if not r.right]) for some in (own, music)]
        cells = [f"{np.mean([r.right for r in music]):.2f}", f"{np.mean([r.right for r in kept]):.2f}"]
        cells += [f"{sum(r.right for r in kept) / max(1, len(good)):.2f}", *(f"{a:.2f}" for a in areas)]
        for kind in kinds:
            some = [sureness(row) < least for row in own if row.clip.kind == kind]
            cells.append(f"{sum(some)} of {len(some)}")
        print(f"| {name} | {len(music)} | " + " | ".join(cells) + " |")


def calibration(rows):
    print("\npredicted and true: clips of the check by their confidence\n")
    edges = (0, 0.2, 0.4, 0.6, 0.8, 1.0001)
    print("| tracker | " + " | ".join(f"{a:g} to {min(b, 1):g}" for a, b in pairwise(edges)) + " |")
    print("|---" + "|---:" * (len(edges) - 1) + "|")
    for name in TRACKERS:
        cells = []
        for low, high in pairwise(edges):
            some = [r for r in rows if r.tracker == name and low <= sureness(r) < high]
            both = [f"{np.mean([f(r) for r in some]):.2f}" for f in (lambda r: sureness(r), lambda r: r.right) if some]
            cells.append(f"{both[0]}, {both[1]} ({len(some)})" if some else "-")
        print(f"| {name} | " + " | ".join(cells) + " |")


def pairs(rows, count, kinds=MUSIC):
    """Pairs of music: (the lower confidence, whether the pair is in time)."""
    rows = [row for row in rows if row.clip.kind in kinds]
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    sampler = AnchorSampler(MatchRule(min_confidence=0.0), min_bars=1.0)
    smooth = [row.grid.smooth() for row in rows]
    found = []
    for _ in range(40 * count):
        i, j = rng.integers(len(rows), size=2)
        a, b = rows[i], rows[j]
        if a.clip.source == b.clip.source:
            continue
        placement = sampler.sample(smooth[i], smooth[j], (a.clip.seconds, b.clip.seconds), generator)
        if isinstance(placement, str):
            continue
        target, source = placement.alignment.target, placement.alignment.source
        beats = b.clip.beats[(b.clip.beats >= source[0]) & (b.clip.beats <= source[-1])]
        if len(beats) > 2:
            in_time = share_near(np.interp(beats, source, target), a.clip.beats, 0.05) >= 0.9
            found.append((min(sureness(a), sureness(b)), in_time))
        if len(found) == count:
            break
    return np.array(found, dtype=float).reshape(-1, 2)


def pair_table(rows, least, count):
    """Print the pairs; return the curve of each tracker."""
    print(f"\npairs of music of the check, mixed by tracked beats; kept: both confidences at least {least:g}\n")
    print("| tracker | pairs | in time | kept | in time, if kept | the same, of loops alone | AUC |")
    print("|---" + "|---:" * 6 + "|")
    curves = {}
    for name in TRACKERS:
        own = [row for row in rows if row.tracker == name]
        found, loops = pairs(own, count), pairs(own, count, ("loop",))
        kept = found[:, 0] >= least
        auc = area(found[found[:, 1] > 0, 0], found[found[:, 1] == 0, 0])
        shares = [f"{np.mean(found[:, 1]):.2f}", f"{np.mean(kept):.2f}", f"{mean(found[kept, 1]):.2f}"]
        shares += [f"{mean(loops[loops[:, 0] >= least, 1]):.2f}", f"{auc:.2f}"]
        print(f"| {name} | {len(found)} | " + " | ".join(shares) + " |")
        curves[name] = found[np.argsort(-found[:, 0])]
    return curves


def mean(values):
    return float(np.mean(values)) if len(values) else float("nan")


def curve_table(curves):
    print("\nshare of pairs in time, if the surest are kept\n")
    shares = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
    print("| tracker | " + " | ".join(f"{share:.0%}" for share in shares) + " |\n|---" + "|---:" * len(shares) + "|")
    for name, found in curves.items():
        cells = [f"{mean(found[: max(1, round(share * len(found))), 1]):.2f}" for share in shares]
        print(f"| {name} | " + " | ".join(cells) + " |")


def draw(curves, path):
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5.2, 3.2), layout="constrained")
    for name, found in curves.items():
        kept = np.arange(1, len(found) + 1)
        first = max(1, len(found) // 40)
        axes.plot((kept / len(found))[first:], (np.cumsum(found[:, 1]) / kept)[first:], label=name)
    axes.set(xlabel="share of pairs kept, the surest first", ylabel="share of them in time")
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=80)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fit", action="store_true", help="fit the constants anew, print and use them")
    parser.add_argument("--inner", action="store_true", help="measure on the clips of the fit, to choose a threshold")
    parser.add_argument("--least", type=float, default=MIN_CONFIDENCE)
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("/tmp/audiomix_confidence"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.cache.mkdir(parents=True, exist_ok=True)
    rows = measure(options.cache)
    if options.fit:
        fit(rows)
    check = [row for row in rows if row.clip.held != options.inner]
    table(check, options.least)
    calibration(check)
    curves = pair_table(check, options.least, options.pairs)
    curve_table(curves)
    if options.picture:
        draw(curves, options.picture)


if __name__ == "__main__":
    main()
