"""Who may meet whom: tempo folding, metres, keys; and the index that finds partners among many."""

import itertools
import time

import numpy as np
import pytest
from audiomix.beats.tempo_index import BeatIndex

from audiomix.beats import BeatGrid
from audiomix.beats.key import KEYS, compatible, shifted
from audiomix.beats.match import Features, Match, Rule, features, match, may_meet


def grid(bpm, metre=None, key=None, beats=9):
    times = [60 / bpm * i for i in range(beats)]
    return BeatGrid(times, None if metre is None else [i % metre + 1 for i in range(beats)], key=key)


@pytest.mark.parametrize(
    ("own", "partner", "fold", "rate"),
    [(120, 120, 1, 1.0), (120, 126, 1, 120 / 126), (120, 61, 0.5, 60 / 61), (120, 236, 2, 240 / 236),
     (70, 138, 2, 140 / 138), (138, 70, 0.5, 69 / 70), (119, 120, 1, 119 / 120)],
)  # fmt: skip
def test_tempi_fold_to_the_nearest(own, partner, fold, rate):
    found = match(grid(own), grid(partner), Rule())
    assert isinstance(found, Match)
    assert (found.fold, found.rate) == (fold, pytest.approx(rate))


def test_polyrhythms_meet_only_when_asked():
    assert "tempi do not fit: 120.0 and 80.0 bpm" in match(grid(120), grid(80), Rule())
    assert match(grid(120), grid(80), Rule(polyrhythm=True)).fold == pytest.approx(2 / 3)
    assert match(grid(120), grid(180), Rule(polyrhythm=True)).fold == pytest.approx(1.5)
    assert match(grid(120), grid(40), Rule(polyrhythm=True)).fold == pytest.approx(1 / 3)


def test_the_stretch_has_a_limit():
    assert isinstance(match(grid(108), grid(100), Rule(max_stretch=0.08)), Match)
    assert "a rate of 1.090; at most 8 %" in match(grid(109), grid(100), Rule(max_stretch=0.08))
    with pytest.raises(ValueError, match=r"max_stretch must be .* in \[0, 0.14\], got 8: a fraction: 8 % is 0.08"):
        Rule(max_stretch=8)


def test_metres_must_agree_unless_aligned_by_beat():
    waltz, rock, unknown = grid(120, 3), grid(120, 4), grid(120)
    assert match(waltz, rock, Rule()) == "metres differ: 3 and 4 beats in a bar"
    assert match(waltz, rock, Rule(align="beat")).unit == "beat"
    assert match(rock, rock, Rule()).unit == "downbeat"
    assert match(rock, rock, Rule(align="beat")).unit == "beat"
    assert match(rock, unknown, Rule()).unit == "beat"
    assert "bar phase unknown" in match(rock, unknown, Rule(align="downbeat"))


def test_without_a_tempo_nothing_meets():
    for none in (BeatGrid([]), BeatGrid([1.0])):
        assert "no tempo" in match(grid(120), none, Rule())
        assert not may_meet(features([grid(120), none]), features([none, None]), Rule()).any()


@pytest.mark.parametrize("rule", [Rule(keys="compatible"), Rule(keys="shift")])
def test_keys_of_all_pairs(rule):
    for own, partner in itertools.product(KEYS, KEYS):
        found = match(grid(120, key=own), grid(120, key=partner), rule)
        if isinstance(found, str):
            assert rule.keys == "compatible"
            assert not compatible(own, partner)
            assert "keys do not fit" in found
        else:
            assert abs(found.semitones) <= (2 if rule.keys == "shift" else 0)
            assert compatible(own, shifted(partner, found.semitones))
    assert "unknown" in match(grid(120, key="C"), grid(120), rule)


def test_musicldm_buckets_have_hard_edges():
    rule = Rule(bucket_bpm=3)
    assert isinstance(match(grid(120), grid(122), rule), Match)
    assert "buckets of 3 bpm" in match(grid(119), grid(120), rule)  # 1 bpm apart
    assert "buckets" in match(grid(60), grid(120), rule)  # no octaves


def test_musicldm_buckets_are_of_the_published_tempo():
    """Beats but one over the time from the first to the last: a pause of 7 s makes 120 bpm to 69."""
    times = np.concatenate([np.arange(10) * 0.5, 12 + np.arange(10) * 0.5])
    paused, rule = BeatGrid(times), Rule(bucket_bpm=3)
    assert paused.bpm == pytest.approx(120)
    assert round(19 / (times[-1] - times[0]) * 60) == 69
    assert isinstance(match(grid(70), paused, rule), Match)
    assert match(grid(120), paused, rule) == "tempi do not fit: 120.0 and 69.1 bpm (buckets of 3 bpm)"
    found = features([paused, grid(70), grid(120)])
    assert may_meet(found, found, rule).tolist() == [[True, True, False], [True, True, False], [False, False, True]]
    index = BeatIndex(found, rule)
    assert [index.candidates(i).tolist() for i in range(3)] == [[1], [0], []]


def test_a_metre_is_known_without_a_downbeat_inside():
    inside, waltz, rock = BeatGrid([0.1, 0.6, 1.1], [2, 3, 4], 4), grid(120, 3), grid(120, 4)
    assert features([inside, BeatGrid([0.1, 0.6]), BeatGrid([], [], 4)]).metre.tolist() == [4, 0, 0]
    assert match(waltz, inside, Rule()) == "metres differ: 3 and 4 beats in a bar"
    assert match(rock, inside, Rule(align="downbeat")).unit == "downbeat"
    assert not may_meet(features([waltz]), features([inside]), Rule()).any()


def corpus(size, seed=0):
    rng = np.random.default_rng(seed)
    bpm = rng.uniform(55, 215, size)
    bpm[rng.random(size) < 0.02] = np.nan
    return Features(bpm, rng.choice([0, 3, 4], size, p=[0.3, 0.1, 0.6]), rng.integers(-1, 12, size))


RULES = [
    Rule(),
    Rule(align="downbeat"),
    Rule(align="beat", polyrhythm=True, max_stretch=0.14),
    Rule(keys="compatible"),
    Rule(keys="shift", max_stretch=0.03),
    Rule(max_stretch=0),
    Rule(bucket_bpm=3),
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_index_finds_what_comparing_all_pairs_finds(rule):
    found, pools = corpus(300), np.random.default_rng(1).integers(0, 3, 300).tolist()
    index = BeatIndex(found, rule, pools)
    fit = may_meet(found, found, rule) & (np.array(pools)[:, None] == np.array(pools)[None])
    np.fill_diagonal(fit, False)
    for i in range(300):
        assert index.candidates(i).tolist() == np.flatnonzero(fit[i]).tolist()


def test_each_candidate_is_equally_likely():
    index = BeatIndex(corpus(40), Rule(align="beat"))
    i = max(range(40), key=lambda k: len(index.candidates(k)))
    every = sum(map(len, index.windows(i)))
    picked = [index.pick(i, (k + 0.5) / every) for k in range(every)]
    assert sorted(set(picked) - {i}) == index.candidates(i).tolist()
    assert len(set(picked)) == every


def test_a_hundred_thousand_grids_are_indexed_and_searched_without_all_pairs():
    """A bound ten times above what it takes; comparing all pairs is 10^10 comparisons, minutes at best."""
    found = corpus(100_000)
    began = time.process_time()
    index = BeatIndex(found, Rule())
    at = np.random.default_rng(0).random(1000)
    assert sum(index.pick(i, u) is not None for i, u in enumerate(at)) > 900
    assert time.process_time() - began < 5
