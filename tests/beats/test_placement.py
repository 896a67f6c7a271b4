"""Anchors, compared with going through all pairs of beats; and what keeps two pieces together around them."""

import functools
import itertools
import time
from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare
from sounds import seeded

from audiomix.beats import BeatGrid, placement as module
from audiomix.beats.align import Anchors, Lattice, find_ranges
from audiomix.beats.match import Match, MatchRule, match_or_reason
from audiomix.beats.placement import AnchorSampler, Placement

FOLDS = [1 / 3, 0.5, 2 / 3, 1.0, 1.5, 2.0, 3.0]


def grid(count, beat=0.5, metre=None, first=1, positions=None, start=0.0):
    if metre is not None:
        positions = [(k + first - 1) % metre + 1 for k in range(count)]
    return BeatGrid(start + np.arange(count) * beat, positions, metre)


def bars(*lengths):
    return [k + 1 for length in lengths for k in range(length)]


def pairs(anchors):
    return [anchors[k] for k in range(len(anchors))]


def all_pairs(a, b, fold, beats, *, from_anchor=False, downbeats=False):
    found = []
    for i, j in itertools.product(range(len(a)), range(len(b))):
        before, behind = min(i, j / fold), min(len(a) - 1 - i, (len(b) - 1 - j) / fold)
        if downbeats and (a.positions[i] != 1 or b.positions[j] != 1):
            continue
        if (behind if from_anchor else before + behind) >= beats - 1e-9:
            found.append((i, j))
    return found


@pytest.mark.parametrize("fold", FOLDS)
@pytest.mark.parametrize("from_anchor", [False, True])
def test_anchors_are_those_that_comparing_all_pairs_finds(fold, from_anchor):
    rng = np.random.default_rng(0)
    some = 0
    for _ in range(12):
        a, b = grid(int(rng.integers(2, 30)), metre=4, first=3), grid(int(rng.integers(2, 60)), 0.5 / fold, 4, first=2)
        beats = float(rng.choice([0, 1, 4, 7.5, 8]))
        for unit in ("beat", "downbeat"):
            lattice = Lattice(a, b, Match(fold, 1.0, unit))
            ranges = functools.partial(find_ranges, lattice, beats=beats, from_anchor=from_anchor)
            found = pairs(Anchors(lattice.labels(), ranges))
            want = all_pairs(a, b, fold, beats, from_anchor=from_anchor, downbeats=unit == "downbeat")
            assert sorted(found) == want
            some += len(found)
    assert some > 500


def test_each_anchor_is_equally_likely():
    a, b = grid(12), grid(11, 0.51)
    sampler = AnchorSampler(MatchRule(), min_bars=1.75)
    closed = a.close(6.0), b.close(5.6)  # a loop's end is where its first beat follows; nothing sounds from there on
    assert [len(grid) for grid in closed] == [13, 12]
    want = [(i, j) for i, j in all_pairs(*closed, 1.0, 7) if i < 12 and j < 11]
    assert len(want) > module._TRIES
    found = Counter()
    generator = seeded(0)
    for _ in range(20 * len(want)):
        found[sampler.sample(a, b, (6.0, 5.6), generator).alignment.anchor] += 1
    assert set(found) == {(a.times[i], b.times[j]) for i, j in want}
    assert chisquare(list(found.values())).pvalue > 1e-4


def test_two_hours_are_laid_on_each_other_in_no_time():
    """9 s and 3 GB when all pairs were listed; bounds ten times and more above what it takes."""
    a, b = grid(7200), grid(7000, 0.51)
    began = time.process_time()
    assert isinstance(AnchorSampler(MatchRule()).sample(a, b, (3600.0, 3570.0), seeded(0)), Placement)
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize(("keep", "mode"), [("original", "overlay"), ("anchor", "overlay"), ("original", "crossfade")])
@pytest.mark.parametrize("metre", [None, 4])
def test_the_one_place_where_two_pieces_fit_is_found(metre, keep, mode):
    """Every other beat of the partner is 15 % too long, but for 2 bars: one pair of downbeats in 10,000 works."""
    lengths = [0.5 if 200 <= k < 208 else (0.58 if k % 2 else 0.44) for k in range(400)]
    a = grid(400, metre=metre)
    b = BeatGrid(np.cumsum([0.1, *lengths]), None if metre is None else [k % 4 + 1 for k in range(401)])
    sampler = AnchorSampler(MatchRule(), min_bars=2.0, keep=keep, mode=mode, bars=2)
    found = Counter()
    for seed in range(12):
        placement = sampler.sample(a, b, (201.0, 220.0), seeded(seed))
        assert isinstance(placement, Placement), placement
        i, j = a.times.index(placement.alignment.anchor[0]), b.times.index(placement.alignment.anchor[1])
        assert (j == 200) if keep == "anchor" or mode == "crossfade" else 200 <= j <= 208
        assert metre is None or i % 4 == j % 4 == 0
        found[i] += 1
    assert len(found) > 6
    said = AnchorSampler(MatchRule(), min_bars=2.5, keep=keep, mode=mode, bars=3).sample(
        a, b, (201.0, 220.0), seeded(0)
    )
    bar = "3 bars" if mode == "crossfade" else "2.5 bars"
    assert said.startswith(f"nowhere an overlap of {bar} of 4 beats in which every beat needs a stretch of at most 8 %")


def inside(grid, placement):
    target = placement.alignment.target
    return [i for i, t in enumerate(grid.times) if target[0] - 1e-9 <= t <= target[-1] + 1e-9]


def their_beat(b, placement, time):
    """Which beat of the partner, with its fraction, sounds at a time of the original."""
    source = np.interp(time, placement.alignment.target, placement.alignment.source)
    return round(float(np.interp(source, b.times, np.arange(len(b)))), 6)


@pytest.mark.parametrize("keep", ["original", "anchor"])
def test_an_irregular_bar_ends_the_overlap(keep):
    a, b = grid(48, positions=bars(4, 4, 3, *[4] * 9, 1)), grid(48, 0.51, 4)
    ends = set()
    for seed in range(20):
        placement = AnchorSampler(MatchRule(), keep=keep).sample(a, b, (24.0, 24.5), seeded(seed))
        place = inside(a, placement)
        for i in place:
            beat = their_beat(b, placement, a.times[i])
            if beat == int(beat) and beat < len(b) - 1:
                assert (a.positions[i] == 1) == (b.positions[int(beat)] == 1)
        ends.add((place[0] >= 8, place[-1] <= 10))
        assert place[0] >= 8 or place[-1] <= 10
    assert len(ends) == 2


def test_at_fold_2_downbeats_of_the_original_lie_on_downbeats_and_at_a_half_the_other_way_round():
    slow, fast = grid(40, positions=bars(4, 3, *[4] * 8, 1)), grid(80, 0.26, 4)
    for seed in range(20):
        placement = AnchorSampler(MatchRule()).sample(slow, fast, (20.0, 20.8), seeded(seed))
        assert placement.match.fold == 2
        for i in inside(slow, placement):
            beat = their_beat(fast, placement, slow.times[i])
            if slow.positions[i] == 1 and beat < len(fast) - 1:
                assert fast.positions[round(beat)] == 1
        placement = AnchorSampler(MatchRule(), min_bars=3).sample(fast, slow, (20.8, 20.0), seeded(seed))
        assert placement.match.fold == 0.5
        for i in inside(fast, placement):
            beat = their_beat(slow, placement, fast.times[i])
            if beat == int(beat) and beat < len(slow) - 1 and slow.positions[int(beat)] == 1:
                assert fast.positions[i] == 1
            if fast.positions[i] == 1 and beat < len(slow) - 1:  # on its first or third beat
                assert slow.positions[int(beat)] in (1, 3)
    odd = grid(40, positions=bars(4, 4, 4, 3, *[4] * 6, 1))
    placement = [AnchorSampler(MatchRule()).sample(odd, fast, (20.0, 20.8), seeded(seed)) for seed in range(20)]
    # half a bar off in the fast piece is a downbeat of neither: the overlap does not cross the short bar
    assert all(inside(odd, one)[0] >= 12 or inside(odd, one)[-1] <= 14 for one in placement)


def test_a_crossfade_does_not_run_through_an_irregular_bar():
    a, b = grid(48, positions=bars(*[4] * 5, 3, *[4] * 6, 1)), grid(48, 0.51, 4)
    for seed in range(20):
        placement = AnchorSampler(MatchRule(), mode="crossfade", bars=2).sample(a, b, (24.0, 24.5), seeded(seed))
        i = a.times.index(placement.alignment.anchor[0])
        assert i <= 12 or i >= 23


def test_pieces_without_a_downbeat_inside_are_laid_position_on_position():
    a, b = BeatGrid([0.1, 0.6, 1.1], [2, 3, 4], 4), BeatGrid([0.2, 0.71, 1.22], [2, 3, 4], 4)
    for seed in range(8):
        placement = AnchorSampler(MatchRule(), min_bars=0.25).sample(a, b, (1.5, 1.6), seeded(seed))
        assert placement.match.unit == "downbeat"
        i, j = a.times.index(placement.alignment.anchor[0]), b.times.index(placement.alignment.anchor[1])
        assert a.positions[i] == b.positions[j]
    waltz = BeatGrid([0.2, 0.71], [2, 3], 3)
    assert match_or_reason(a, waltz, MatchRule()) == "metres differ: 4 and 3 beats in a bar"
    assert match_or_reason(a, waltz, MatchRule(align="beat")).unit == "beat"
    # fold 2: the third of four fast beats lies on the second or the fourth of the slow ones
    fast = BeatGrid([0.2, 0.46], [3, 4], 4)
    placement = AnchorSampler(MatchRule(), min_bars=0.1).sample(a, fast, (1.5, 0.7), seeded(0))
    assert placement.match.fold == 2
    assert (placement.alignment.anchor[0], placement.alignment.anchor[1]) in {(0.1, 0.2), (1.1, 0.2)}


@pytest.mark.parametrize("keep", ["original", "overlap", "anchor"])
@pytest.mark.parametrize("metre", [None, 4])
def test_a_partner_that_drifts_overlaps_for_as_long_as_was_asked(keep, metre):
    """All shifts that give enough are drawn, and no others."""
    rng = np.random.default_rng(1)
    a = BeatGrid(
        0.3 + np.cumsum(rng.uniform(0.45, 0.55, 24)), None if metre is None else [k % 4 + 1 for k in range(24)]
    )
    b = grid(20, 0.51, metre, start=0.4)
    seconds = a.times[-1] + 0.2, b.times[-1] + 0.3
    sampler = AnchorSampler(MatchRule(), min_bars=2.5, keep=keep, drifting=True)
    want = set()
    for i, j in itertools.product(range(len(a)), range(len(b))):
        shift = a.times[i] - b.times[j]
        start, stop = (a.times[i] if keep == "anchor" else max(0.0, shift)), min(seconds[0], shift + seconds[1])
        count = sum(start - 1e-9 <= t <= stop + 1e-9 for t in a.times) - 1
        by_bar = metre is None or (i in a.downbeats[:-1] and j in b.downbeats[:-1])
        if count >= 10 and by_bar:
            want.add((a.times[i], b.times[j]))
    found = Counter(sampler.sample(a, b, seconds, seeded(k)).alignment.anchor for k in range(8 * len(want)))
    assert set(found) == want
    assert chisquare(list(found.values())).pvalue > 1e-4
    assert "give an overlap of 12 bars of 4 beats" in AnchorSampler(
        MatchRule(), min_bars=12, keep=keep, drifting=True
    ).sample(a, b, seconds, seeded(0))


def test_from_the_anchor_on_the_overlap_has_its_least_length():
    a, b = grid(24, metre=4), grid(24, 0.51, 4)
    starts = set()
    for seed in range(30):
        placement = AnchorSampler(MatchRule(), keep="anchor", min_bars=3).sample(a, b, (12.0, 12.3), seeded(seed))
        assert placement.alignment.target[0] == placement.alignment.anchor[0]
        assert placement.alignment.source[0] == placement.alignment.anchor[1]
        assert len(inside(a.close(12.0), placement)) - 1 >= 12
        starts.add(placement.alignment.anchor)
    assert len(starts) > 4
    late = grid(24, metre=4, first=4), grid(24, 0.51, 4, first=4)
    assert isinstance(AnchorSampler(MatchRule(), min_bars=5.75).sample(*late, (12.0, 12.3), seeded(0)), Placement)
    assert AnchorSampler(MatchRule(), keep="anchor", min_bars=6).sample(*late, (12.0, 12.3)).startswith("too short")
    # the end of this partner is far too slow: only what lies behind the anchor counts
    b = BeatGrid([*np.arange(18) * 0.51, *(17 * 0.51 + 0.6 * np.arange(1, 7))], [k % 4 + 1 for k in range(24)])
    for seed in range(10):
        placement = AnchorSampler(MatchRule(), keep="anchor", min_bars=3).sample(a, b, (12.0, 13.0), seeded(seed))
        assert placement.alignment.anchor[1] in (b.times[0], b.times[4])
    assert isinstance(AnchorSampler(MatchRule(), keep="anchor", min_bars=5).sample(a, b, (12.0, 13.0), seeded(0)), str)


@pytest.mark.parametrize("keep", ["original", "overlap", "anchor"])
@pytest.mark.parametrize("metre", [None, 4])
def test_a_loop_of_8_beats_is_two_bars_long(keep, metre):
    a, b = grid(8, metre=metre), grid(8, 0.48, metre)
    sampler = AnchorSampler(MatchRule(), keep=keep, min_bars=2.0)
    for seed in range(5):
        placement = sampler.sample(a, b, (4.0, 3.84), seeded(seed))
        assert isinstance(placement, Placement)
        assert (placement.alignment.target[0], placement.alignment.target[-1]) == pytest.approx((0.0, 4.0))
        assert (placement.alignment.source[0], placement.alignment.source[-1]) == pytest.approx((0.0, 3.84))
        assert isinstance(sampler.sample(a, b, (4.02, 3.825), seeded(seed)), Placement)  # beats of a tracker
    assert "give an overlap of 2 bars" in sampler.sample(a, b, (3.9, 3.84), seeded(0))  # the last beat is cut off
    assert "give an overlap of 2 bars" in sampler.sample(grid(7), b, (4.0, 3.84), seeded(0))


def test_who_has_no_beats_is_named():
    a, none, one = grid(20), BeatGrid([]), BeatGrid([1.0])
    said = {
        (None, a): "no beats of the original are known", (a, None): "no beats of the partner are known",
        (none, None): "no tempo: the original has 0 beats", (a, one): "no tempo: the partner has 1 beat",
        (None, None): "no beats of the original are known", (one, none): "no tempo: the original has 1 beat",
    }  # fmt: skip
    for (own, partner), why in said.items():
        assert AnchorSampler(MatchRule()).sample(own, partner, (10.0, 10.0)) == why
    assert AnchorSampler(MatchRule(), min_bars=1).sample(a, grid(3), (10, 10)) == (
        "too short: no beats of the two give an overlap of 1 bar of 4 beats"
    )
