"""Which pieces are compatible: tempo folding, metres, keys; and the index that finds partners among many."""

import itertools
import time

import numpy as np
import pytest

from audiomix.beats import BeatGrid
from audiomix.beats.key import KEYS, are_compatible, transpose
from audiomix.beats.match import BeatIndex, Match, MatchFeatures, MatchRule, compatible, match_or_reason


def grid(bpm, metre=None, key=None, beats=9):
    times = [60 / bpm * i for i in range(beats)]
    return BeatGrid(times, None if metre is None else [i % metre + 1 for i in range(beats)], key=key)


@pytest.mark.parametrize(
    ("own", "partner", "fold", "rate"),
    [(120, 120, 1, 1.0), (120, 126, 1, 120 / 126), (120, 61, 0.5, 60 / 61), (120, 236, 2, 240 / 236),
     (70, 138, 2, 140 / 138), (138, 70, 0.5, 69 / 70), (119, 120, 1, 119 / 120)],
)  # fmt: skip
def test_tempi_fold_to_the_nearest(own, partner, fold, rate):
    found = match_or_reason(grid(own), grid(partner), MatchRule())
    assert isinstance(found, Match)
    assert (found.fold, found.rate) == (fold, pytest.approx(rate))


def test_polyrhythms_match_only_when_asked():
    assert "tempi do not fit: 120.0 and 80.0 bpm" in match_or_reason(grid(120), grid(80), MatchRule())
    assert match_or_reason(grid(120), grid(80), MatchRule(polyrhythm=True)).fold == pytest.approx(2 / 3)
    assert match_or_reason(grid(120), grid(180), MatchRule(polyrhythm=True)).fold == pytest.approx(1.5)
    assert match_or_reason(grid(120), grid(40), MatchRule(polyrhythm=True)).fold == pytest.approx(1 / 3)


def test_the_stretch_has_a_limit():
    assert isinstance(match_or_reason(grid(108), grid(100), MatchRule(max_stretch=0.08)), Match)
    assert "a rate of 1.090; at most 8 %" in match_or_reason(grid(109), grid(100), MatchRule(max_stretch=0.08))
    with pytest.raises(ValueError, match=r"max_stretch must be .* in \[0, 0.14\], got 8: a fraction: 8 % is 0.08"):
        MatchRule(max_stretch=8)


def test_metres_must_agree_unless_aligned_by_beat():
    waltz, rock, unknown = grid(120, 3), grid(120, 4), grid(120)
    assert match_or_reason(waltz, rock, MatchRule()) == "metres differ: 3 and 4 beats in a bar"
    assert match_or_reason(waltz, rock, MatchRule(align="beat")).unit == "beat"
    assert match_or_reason(rock, rock, MatchRule()).unit == "downbeat"
    assert match_or_reason(rock, rock, MatchRule(align="beat")).unit == "beat"
    assert match_or_reason(rock, unknown, MatchRule()).unit == "beat"
    assert "bar phase unknown" in match_or_reason(rock, unknown, MatchRule(align="downbeat"))


def test_without_a_tempo_nothing_matches():
    for none in (BeatGrid([]), BeatGrid([1.0])):
        assert "no tempo" in match_or_reason(grid(120), none, MatchRule())
        assert not compatible(MatchFeatures.of([grid(120), none]), MatchFeatures.of([none, None]), MatchRule()).any()


@pytest.mark.parametrize("rule", [MatchRule(keys="compatible"), MatchRule(keys="shift")])
def test_keys_of_all_pairs(rule):
    for own, partner in itertools.product(KEYS[::5], KEYS):
        found = match_or_reason(grid(120, key=own), grid(120, key=partner), rule)
        if isinstance(found, str):
            assert rule.keys == "compatible"
            assert not are_compatible(own, partner)
            assert "keys do not fit" in found
        else:
            assert abs(found.semitones) <= (2 if rule.keys == "shift" else 0)
            assert are_compatible(own, transpose(partner, found.semitones))
    assert "unknown" in match_or_reason(grid(120, key="C"), grid(120), rule)


def test_musicldm_buckets_have_hard_edges():
    rule = MatchRule(bucket_bpm=3)
    assert isinstance(match_or_reason(grid(120), grid(122), rule), Match)
    assert "buckets of 3 bpm" in match_or_reason(grid(119), grid(120), rule)  # 1 bpm apart
    assert "buckets" in match_or_reason(grid(60), grid(120), rule)  # no octaves


def test_musicldm_buckets_are_of_the_published_tempo():
    """Beats but one over the time from the first to the last: a pause of 7 s makes 120 bpm to 69."""
    times = np.concatenate([np.arange(10) * 0.5, 12 + np.arange(10) * 0.5])
    paused, rule = BeatGrid(times), MatchRule(bucket_bpm=3)
    assert paused.bpm == pytest.approx(120)
    assert round(19 / (times[-1] - times[0]) * 60) == 69
    assert isinstance(match_or_reason(grid(70), paused, rule), Match)
    assert match_or_reason(grid(120), paused, rule) == "tempi do not fit: 120.0 and 69.1 bpm (buckets of 3 bpm)"
    found = MatchFeatures.of([paused, grid(70), grid(120)])
    assert compatible(found, found, rule).tolist() == [[True, True, False], [True, True, False], [False, False, True]]
    index = BeatIndex(found, rule)
    assert [index.candidates(i).tolist() for i in range(3)] == [[1], [0], []]


def test_a_metre_is_known_without_a_downbeat_inside():
    inside, waltz, rock = BeatGrid([0.1, 0.6, 1.1], [2, 3, 4], 4), grid(120, 3), grid(120, 4)
    assert MatchFeatures.of([inside, BeatGrid([0.1, 0.6]), BeatGrid([], [], 4)]).metre.tolist() == [4, 0, 0]
    assert match_or_reason(waltz, inside, MatchRule()) == "metres differ: 3 and 4 beats in a bar"
    assert match_or_reason(rock, inside, MatchRule(align="downbeat")).unit == "downbeat"
    assert not compatible(MatchFeatures.of([waltz]), MatchFeatures.of([inside]), MatchRule()).any()


def corpus(size, seed=0):
    rng = np.random.default_rng(seed)
    bpm = rng.uniform(55, 215, size)
    bpm[rng.random(size) < 0.02] = np.nan
    return MatchFeatures(bpm, rng.choice([0, 3, 4], size, p=[0.3, 0.1, 0.6]), rng.integers(-1, 12, size))


RULES = [
    MatchRule(),
    MatchRule(align="downbeat"),
    MatchRule(align="beat", polyrhythm=True, max_stretch=0.14),
    MatchRule(keys="compatible"),
    MatchRule(keys="shift", max_stretch=0.03),
    MatchRule(max_stretch=0),
    MatchRule(bucket_bpm=3),
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_index_finds_what_comparing_all_pairs_finds(rule):
    found, pools = corpus(300), np.random.default_rng(1).integers(0, 3, 300).tolist()
    index = BeatIndex(found, rule, pools)
    fit = compatible(found, found, rule) & (np.array(pools)[:, None] == np.array(pools)[None])
    np.fill_diagonal(fit, False)
    for i in range(300):
        assert index.candidates(i).tolist() == np.flatnonzero(fit[i]).tolist()


def test_a_hundred_thousand_grids_are_indexed_and_searched_without_all_pairs():
    """A bound ten times above what it takes; comparing all pairs is 10^10 comparisons, minutes at best."""
    found = corpus(100_000)
    began = time.process_time()
    index = BeatIndex(found, MatchRule())
    assert sum(len(index.windows(i)) > 0 for i in range(1000)) > 900
    assert time.process_time() - began < 5
