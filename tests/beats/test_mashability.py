"""Mashability and anchors, judged from sounds: where a piece comes from is found, and nothing but music counts."""

import itertools
from functools import cache

import numpy as np
import pytest
import torch
from rhythm import SONG_RATE as RATE, bursts, song
from sounds import seeded

from audiomix import BeatGrid, BeatMix
from audiomix.audio.stretch import warp
from audiomix.beats.mashability import BeatFeatures, mashability, measure
from audiomix.beats.mashability.score import Likeness, weigh_change, weigh_length
from audiomix.beats.match import MatchRule
from audiomix.beats.placement import AnchorSampler

BEAT, LONG = 0.5, 24
ALL = range(-5, 7)


def steady(sound, bpm=120):
    return BeatGrid(np.arange(0, len(sound) / RATE - 0.1, 60 / bpm))


@cache
def features(semitones=0, seed=0, first=0, count=LONG):
    size = round(BEAT * RATE)
    sound = song(semitones, seed)[first * size : (first + count) * size]
    return measure(sound, RATE, steady(sound))


@pytest.mark.parametrize(
    ("s", "k", "count"), [(3, 5, 12), (11, 2, 12), (10, -2, 10), (4, 6, 10), (0, 0, 8), (12, -5, 12), (7, 1, 4)]
)
def test_a_piece_cut_from_a_candidate_and_transposed_is_found(s, k, count):
    """Offsets are not mirrored (3 of 15 for 11), nor are transpositions (2 for -2 or 10)."""
    found = mashability(features(k, first=s, count=count), features(), semitones=ALL)
    assert (found.beats, found.semitones, found.length) == ((0, s), k, count)
    found = mashability(features(), features(k, first=s, count=count), semitones=ALL)
    back = 6 if k == 6 else -k  # a tritone up is one down
    assert (found.beats, found.semitones, found.length) == ((s, 0), back, count)


def test_a_recording_that_is_shifted_in_pitch_is_found():
    whole, first, count = song(), 5, 12
    size = round(BEAT * RATE)
    for k in (-3, 4):
        part = whole[first * size : (first + count) * size]
        moved = warp(part[None], RATE, [0, len(part) / RATE], [0, len(part) / RATE], semitones=k)[0]
        found = mashability(measure(moved, RATE, steady(moved)), features(), semitones=ALL)
        assert (found.beats, found.semitones) == ((0, first), k)


def test_what_lies_outside_of_the_overlap_does_not_count():
    """A loud rest of the candidate, or a short cut, lowers no term where the two are the same."""
    loud = features()
    rest = slice(12, None)
    loud = BeatFeatures(loud.onsets.copy(), loud.chroma.copy(), loud.energy.copy())
    loud.onsets[rest] *= 30
    loud.chroma[rest] *= 30
    part = features(count=8)
    for candidate in (features(), loud, features(count=12)):
        both = Likeness(part, candidate)
        at = int(np.flatnonzero(both.shifts == 0)[0])
        assert both.rhythm()[at] > 0.97
        assert both.harmony()[0, at] > 0.97


@pytest.mark.parametrize(("per", "per_partner"), [(1, 1), (2, 1), (1, 2), (3, 2), (1, 3)])
def test_terms_are_the_correlations_of_what_overlaps(per, per_partner):
    rng = np.random.default_rng(0)
    a, b = (BeatFeatures(rng.random((n, 12, 2)), rng.standard_normal((n, 12)), rng.random((n, 3))) for n in (5, 9))
    both = Likeness(a, b, per, per_partner)
    slots = next(n for n in (4, 2, 1) if 12 // per % n == 0 and 12 // per_partner % n == 0)
    q = per_partner
    mine = [a.onsets[k // per, (k % per) * 12 // per :][:: 12 // per // slots][:slots].ravel() for k in range(5 * per)]
    other = [b.onsets[k // q, (k % q) * 12 // q :][:: 12 // q // slots][:slots].ravel() for k in range(9 * q)]
    for number, shift in enumerate(both.shifts):
        own = [k for k in range(5 * per) if 0 <= k - shift < 9 * per_partner]
        assert len(own) == both.lengths[number] > 0
        x, y = np.array([mine[k] for k in own]), np.array([other[k - shift] for k in own])
        x, y = x - x.mean(0), y - y.mean(0)
        lengths = np.linalg.norm(x) * np.linalg.norm(y)
        want = (x * y).sum() / lengths if lengths > 1e-9 else 0.0
        assert both.rhythm()[number] == pytest.approx(want, abs=1e-4)
        for semitones in (0, 3, -2):
            x = np.array([a.chroma[k // per] for k in own])
            y = np.array([np.roll(b.chroma[(k - shift) // per_partner], semitones) for k in own])
            want = (x * y).sum() / np.linalg.norm(x) / np.linalg.norm(y)
            assert both.harmony([semitones])[0, number] == pytest.approx(want, abs=1e-4)


def test_windows_are_scored_as_pieces_of_their_own():
    both, length = Likeness(features(), features(2, seed=1)), 8
    own, theirs = np.array([0, 5, 16]), np.array([3, 12])
    for semitones in (0, -2, 5):
        found = both.window_scores(own, theirs, length, semitones)
        for (k, i), (n, j) in itertools.product(enumerate(own), enumerate(theirs)):
            cut = [
                BeatFeatures(x.onsets[at : at + length], x.chroma[at : at + length], x.energy[at : at + length])
                for x, at in ((features(), i), (features(2, seed=1), j))
            ]
            pair = Likeness(*cut)
            want = pair.scores([semitones])[0, int(np.flatnonzero(pair.shifts == 0)[0])]
            assert found[k, n] == pytest.approx(want, abs=1e-4)


def test_half_and_double_tempo_are_compared_beat_on_two_beats():
    slow = BeatGrid(steady(song()).times[::2])
    halves, whole = measure(song(), RATE, slow), features()
    for a, b, fold in ((whole, halves, 0.5), (halves, whole, 2.0)):
        found = mashability(a, b, fold=fold, semitones=ALL)
        assert found.beats == (0, 0)
        assert found.semitones == 0
        assert found.length == len(a)


CHANGES = {
    "-60 dB": lambda x: x * 1e-3,
    "inverted": lambda x: -x,
    "an offset": lambda x: x + 0.3,
    "stereo": lambda x: torch.stack([x, 0.5 * x]),
    "channels that cancel": lambda x: torch.stack([x, -x]),
    "double precision": lambda x: x.double(),
    "with a gradient": lambda x: x.clone().requires_grad_(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_only_the_music_counts(change):
    found, want = measure(CHANGES[change](song()), RATE, steady(song())), features()
    for one, other in zip((found.onsets, found.chroma, found.energy), (want.onsets, want.chroma, want.energy)):
        assert np.abs(one - other).max() < 0.02 * np.abs(other).max()


def test_silence_and_too_little_have_no_likeness_and_no_nan():
    nothing = measure(torch.zeros(LONG * 6000), RATE, steady(song()))
    assert all(np.isfinite(part).all() for part in (nothing.onsets, nothing.chroma, nothing.energy))
    for a, b in itertools.permutations([nothing, features()]):
        both = Likeness(a, b)
        assert not both.rhythm().any()
        assert not both.harmony().any()
        assert 0 <= mashability(a, b).score <= 1
    for grid in (None, BeatGrid([]), BeatGrid([0.5])):
        assert mashability(measure(song(), RATE, grid), features()) is None
    assert mashability(features(count=4), features(), beats=5) is None


def test_a_change_of_tempo_or_pitch_costs_its_ratio_and_length_counts():
    same = mashability(features(), features())
    other = mashability(features(), features(), rate=1.08)
    assert other.score == pytest.approx(same.score / 1.08)
    assert weigh_change(0.9, -3) == pytest.approx(0.9 * 2 ** (-3 / 12))
    assert weigh_length(4, 4) == 1 > weigh_length(3, 4) > weigh_length(1, 4) > 0


_MEASURED = {}


def placed(anchor, a, b, seed=0, known=None, **options):
    """A placement of two sounds at 120 bpm."""
    grids = [steady(x) for x in (a, b)] if known is None else known
    seconds = len(a) / RATE, len(b) / RATE
    for x, grid in zip((a, b), grids):  # the sound stands there too, so that no other gets its id
        if id(x) not in _MEASURED:
            _MEASURED[id(x)] = x, measure(x, RATE, grid)
    measured = _MEASURED[id(a)][1], _MEASURED[id(b)][1]
    rule = MatchRule(align="downbeat" if anchor == "downbeat" else "auto")
    found = AnchorSampler(rule, anchor=anchor, **options).sample(*grids, seconds, seeded(seed), measured)
    assert not isinstance(found, str), found
    return found


def meeting(found):
    """By how many beats the partner's start lies behind the original's."""
    return round((found.alignment.target[0] - found.alignment.source[0]) / BEAT)


def test_similar_lays_a_piece_where_it_comes_from_and_longest_where_most_overlaps():
    size = round(BEAT * RATE)
    for first in (2, 9):
        part = torch.cat([song(0, 0)[first * size :], song(0, 3)[: first * size]])
        for seed in range(3):
            assert meeting(placed("similar", song(), part, seed)) == first
            assert meeting(placed("longest", song(), part, seed)) == 0
    assert len({meeting(placed("random", song(), part, seed)) for seed in range(8)}) > 3


def test_of_places_that_are_equal_one_is_drawn():
    short = song(0, 3)[: 10 * round(BEAT * RATE)]
    found = [meeting(placed("longest", song(), short, seed)) for seed in range(20)]
    assert found == [meeting(placed("longest", song(), short, seed)) for seed in range(20)]
    assert len(set(found)) > 5
    assert all(0 <= beat <= LONG - 10 for beat in found)


@pytest.mark.parametrize("anchor", ["random", "similar", "longest", "downbeat"])
def test_cross_fades_leave_the_end_and_enter_the_start(anchor):
    def bars(x, first):
        return BeatGrid(steady(x).times, [(k + first) % 4 + 1 for k in range(LONG)])

    known = [bars(song(), 0), bars(song(), 2)]
    for seed in range(4):
        found = placed(anchor, song(), song(0, 1), seed, known, mode="crossfade", bars=2).alignment
        assert found.fade[0] >= len(song()) / RATE / 2 - 1e-6
        assert found.anchor[1] <= len(song()) / RATE / 2 + 1e-6
        if anchor == "longest":
            assert found.fade[1] == pytest.approx(12.0)
            assert found.anchor[1] == pytest.approx(1.0)  # the partner's first downbeat


@pytest.mark.parametrize(("bars", "bpm"), [(4, 119.4), (1, 120.6)])
def test_before_a_slow_cross_fade_the_original_is_left_alone(bars, bpm):
    """Its first beat is hardly stretched: within the tolerance of a map it could be joined to what lies before it."""
    a, b = song(beats=56)[None, None], song(0, 5, bpm=bpm, beats=56)[None, None]
    grids = {"beats": [steady(a[0, 0])], "other_beats": [steady(b[0, 0], bpm)], "generator": seeded(0)}
    out = BeatMix(rate=RATE, mode="crossfade", bars=bars, level="recorded", anchor="longest")(a, other=b, **grids)
    early = round(float(out.plans[0].fade[0, 0] * 28 - 0.1) * RATE)
    assert early > 8 * RATE
    assert torch.equal(out.x[..., :early], a[..., :early])


def test_a_cross_fade_is_placed_where_the_two_are_alike():
    """The partner begins with what the original has at beats 12 to 20."""
    size = round(BEAT * RATE)
    partner = torch.cat([song(0, 0)[12 * size : 20 * size], song(0, 1)[: 16 * size]])
    found = placed("similar", song(), partner, mode="crossfade", bars=2)
    assert found.alignment.anchor == (6.0, 0.0)
    assert found.score > placed("longest", song(), partner, mode="crossfade", bars=2).score


def marked(sound, hz, bpm=120):
    """A sound (1, 1, T) with bursts on its beats."""
    return (sound + bursts(steady(sound, bpm).times[1:], len(sound) / RATE, RATE, hz, 0.2))[None, None]


def drawn(mixer, a, b, seed=0, **more):
    grids = {"beats": [steady(a[0, 0])], "other_beats": [steady(b[0, 0])]}
    return mixer(a, other=b, **grids, generator=seeded(seed), **more)


def test_the_partner_is_heard_where_it_is_most_alike():
    """From the mix itself: what the partner adds is what the original has there."""
    size = round(BEAT * RATE)
    a, b = song()[None, None], torch.cat([song()[6 * size :], song(0, 5)[: 6 * size]])[None, None]
    out = drawn(BeatMix(rate=RATE, level="recorded"), a, b)
    plan = out.plans[0]
    assert plan.describe(0)["mashability"] == pytest.approx(float(plan.score[0]), abs=1e-6)
    added = (out.x - float(plan.gains()[0][0]) * a)[0, 0, 7 * size : 22 * size]
    own = a[0, 0, 7 * size : 22 * size]
    assert float(added @ own / added.norm() / own.norm()) > 0.95


def test_padding_and_level_change_no_plan_and_a_mixer_keeps_nothing():
    mixer, a, b = BeatMix(rate=RATE, level="recorded"), song()[None, None], song(0, 5)[None, None]
    want = drawn(mixer, a, b).plans[0]
    drawn(mixer, b, a, 1)
    noise = torch.randn(1, 1, 9000, generator=seeded(0))
    lengths = {name: torch.tensor([a.shape[-1]]) for name in ("lengths", "other_lengths")}
    grids = {"beats": [steady(a[0, 0])], "other_beats": [steady(b[0, 0])], "generator": seeded(0)}
    padded = mixer(torch.cat([a, noise], -1), other=torch.cat([b, 9 * noise], -1), **grids, **lengths).plans[0]
    long = padded.seconds[0] / want.seconds[0]
    assert torch.allclose(padded.warp[0] * long, want.warp[0], atol=1e-9)
    assert torch.allclose(padded.score, want.score)
    for other in (drawn(mixer, a, b), drawn(mixer, a, b * 1e-3), drawn(mixer, -a, b.repeat(1, 1, 1))):
        assert torch.equal(other.plans[0].warp[0], want.warp[0])
    silent = drawn(mixer, a * 0, b)
    assert bool(silent.plans[0].aligned)
    assert bool(torch.isfinite(silent.x).all())
    assert bool(torch.isfinite(silent.plans[0].score).all())


def test_of_a_batch_the_partner_with_the_best_score_is_taken():
    """One of six partners goes on as the original does."""
    size = round(BEAT * RATE)
    other = torch.stack([song(0, seed) for seed in range(10, 15)])
    other = torch.cat([other, torch.cat([song()[4 * size :], song(0, 5)[: 4 * size]])[None]])[:, None]
    grids = {"beats": [steady(song())], "other_beats": [steady(song())] * 6}
    for anchor in ("similar", "longest"):
        mixer = BeatMix(rate=RATE, level="recorded", anchor=anchor, partners_by="score")
        plans = [mixer(song()[None, None], other=other, **grids, generator=seeded(k)).plans[0] for k in range(3)]
        assert anchor == "longest" or [int(plan.partner) for plan in plans] == [5] * 3
        assert all(0 < float(plan.score) <= 1 for plan in plans)
    mixer = BeatMix(rate=RATE, level="recorded")
    assert len({int(mixer(song()[None, None], other=other, **grids, generator=seeded(k)).plans[0].partner)
                for k in range(6)}) > 1  # fmt: skip


def test_downbeats_are_asked_for():
    a, b = song()[None, None], song(0, 5)[None, None]
    plan = drawn(BeatMix(rate=RATE, anchor="downbeat"), a, b).plans[0]
    assert "bar phase unknown" in plan.why[0]
    with pytest.raises(ValueError, match="align must be auto or downbeat"):
        BeatMix(rate=RATE, anchor="downbeat", align="beat")
    with pytest.raises(ValueError, match="anchor must be"):
        BeatMix(rate=RATE, anchor="nearest")
    with pytest.raises(TypeError, match="features must be"):
        AnchorSampler(MatchRule(), anchor="similar").sample(steady(song()), steady(song()), (12.0, 12.0))
