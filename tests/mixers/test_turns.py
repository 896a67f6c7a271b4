"""How turns follow each other: pauses and overlaps are those that were drawn, nobody overlaps themselves."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from sounds import seeded

from audiomix import SpeakerMix, Turn, TurnHistograms, read_rttm, write_rttm
from audiomix.mixers._turns import NUMBERS, TurnLaw, place_turns

RATE = 1000
CALLS = TurnHistograms(([0.1, 0.4], [3, 1]), ([0.2, 0.3], [1, 2]), ([0.05, 0.5, 2.0], [2, 1, 1]))


def numbers(count, seed=0):
    return torch.rand(count, NUMBERS, generator=seeded(seed), dtype=torch.float64).tolist()


def talk(lengths, law, seed=0, **options):
    return place_turns(lengths, RATE, law, numbers(sum(map(len, lengths)), seed), **options)


@pytest.mark.parametrize("law", [TurnLaw(), TurnLaw(markov=True, boost=3), TurnLaw(CALLS)])
def test_every_utterance_is_said_once_and_nobody_overlaps_themselves(law):
    lengths = [[700, 300, 900], [50], [1200, 400], [2000, 10]]
    for seed in range(60):
        placed = talk(lengths, law, seed)
        assert sorted((one.speaker, one.utterance) for one in placed) == [
            (k, u) for k, own in enumerate(lengths) for u in range(len(own))
        ]
        assert placed[0].start == 0
        assert all(a.start <= b.start for a, b in itertools.pairwise(placed))
        for k in range(4):
            own = [one for one in placed if one.speaker == k]
            assert [one.utterance for one in own] == sorted(one.utterance for one in own)
            assert all(a.stop <= b.start for a, b in itertools.pairwise(own))
        assert all(one.stop - one.start == lengths[one.speaker][one.utterance] for one in placed)


@pytest.mark.parametrize("most", [1, 2, 3])
def test_no_more_speak_at_once_than_may(most):
    lengths = [[900, 900], [800, 2500], [700, 600], [3000]]
    found = 0
    for seed in range(80):
        placed = talk(lengths, TurnLaw(boost=20), seed, at_once=most)
        moments = [one.start for one in placed]
        loudest = max(len({one.speaker for one in placed if one.start <= t < one.stop}) for t in moments)
        assert loudest <= most
        found = max(found, loudest)
    assert found == most


def test_pauses_and_overlaps_of_fastmss_have_its_laws():
    """Interruptions Exp(.44) of the turn before, clipped to [.03, .97]: the mean is .393, and 11 % are at the cap."""
    placed = talk([[1000] * 6000, [1000] * 6000], TurnLaw(), 1)[:8000]
    by_kind = {kind: [one.gap for one in placed if one.kind == kind] for kind in {one.kind for one in placed[1:]}}
    counts = [len(by_kind[kind]) for kind in ("hold", "switch", "interruption", "backchannel")]
    chi2 = stats.chisquare(counts, np.array([0.15, 0.21, 0.44, 0.20]) * sum(counts))
    assert chi2.pvalue > 1e-4
    assert stats.kstest(by_kind["hold"], stats.expon(scale=0.57).cdf).pvalue > 1e-4
    assert stats.kstest(by_kind["switch"], stats.expon(scale=0.40).cdf).pvalue > 1e-4
    cut = -np.array(by_kind["interruption"])  # of turns of one second
    assert cut.mean() == pytest.approx(0.393, abs=4 * cut.std() / len(cut) ** 0.5)
    assert (cut > 0.9699).mean() == pytest.approx(math.exp(-0.97 / 0.44), abs=4 * (0.11 * 0.89 / len(cut)) ** 0.5)
    assert cut.min() >= 0.03


def test_transitions_by_markov_have_the_stationary_law_of_fastmss():
    placed = talk([[1000] * 9000, [1000] * 9000], TurnLaw(markov=True), 2)[1:9000]
    kinds = [one.kind for one in placed]
    shares = [kinds.count(kind) / len(kinds) for kind in ("hold", "switch", "interruption", "backchannel")]
    for got, known in zip(shares, (0.172, 0.307, 0.309, 0.211)):
        assert got == pytest.approx(known, abs=0.02)  # of 9,000 dependent draws: four deviations
    behind = [b for a, b in itertools.pairwise(kinds) if a == "backchannel"]
    assert behind.count("backchannel") / len(behind) == pytest.approx(0.09, abs=0.03)


def test_boost_multiplies_the_chances_of_overlaps():
    assert TurnLaw(boost=2).weights(None) == pytest.approx([0.15 / 1.64, 0.21 / 1.64, 0.88 / 1.64, 0.40 / 1.64])
    assert TurnLaw(boost=0).weights(None)[2:] == [0, 0]
    for before in range(4):
        assert sum(TurnLaw(markov=True, boost=1.7).weights(before)) == pytest.approx(1)


def test_an_impossible_transition_is_left_out():
    """Two speakers of one utterance: nobody goes on; one speaker alone only goes on."""
    assert {one.kind for seed in range(40) for one in talk([[500], [500]], TurnLaw(), seed)[1:]} == {
        "switch", "interruption", "backchannel",
    }  # fmt: skip
    assert [one.kind for one in talk([[500, 400, 300]], TurnLaw())] == ["", "hold", "hold"]
    assert [one.kind for one in talk([[500, 400]], TurnLaw(boost=1000))] == ["", "hold"]


def test_overlap_and_silence_are_the_sums_of_what_was_drawn():
    """Long turns, so that every overlap fits: the shares in 1,000 conversations are those of the draws, to a point."""
    drawn, got = np.zeros(2), np.zeros(2)
    total = 0
    for seed in range(1000):
        placed = talk([[5000] * 4, [5000] * 4], TurnLaw(CALLS), seed)
        gaps = [one.gap * RATE for one in placed[1:]]
        drawn += sum(g for g in gaps if g > 0), -sum(g for g in gaps if g < 0)
        end = max(one.stop for one in placed)
        count = np.zeros(end, dtype=int)
        for one in placed:
            count[one.start : one.stop] += 1
        got += (count == 0).sum(), (count == 2).sum()
        assert count.max() <= 2
        total += end
    assert np.abs(got - drawn).max() / total < 0.001


def test_histograms_are_drawn_as_they_are():
    placed = talk([[5000] * 3000, [5000] * 3000], TurnLaw(CALLS), 3)
    kinds = {kind: [abs(one.gap) for one in placed if one.kind == kind] for kind in ("hold", "switch", "interruption")}
    # a shuffle of the turns of two speakers: every other one is of the same speaker
    assert len(kinds["hold"]) == pytest.approx(3000, abs=4 * (6000 * 0.25) ** 0.5)
    others = len(kinds["switch"]) + len(kinds["interruption"])
    assert len(kinds["interruption"]) / others == pytest.approx(4 / 7, abs=4 * (0.25 / others) ** 0.5)
    for name, (lengths, counts) in zip(kinds, (CALLS.same_pause, CALLS.other_pause, CALLS.overlap)):
        found = [kinds[name].count(length) for length in lengths]
        assert sum(found) == len(kinds[name])
        assert stats.chisquare(found, np.array(counts) / sum(counts) * sum(found)).pvalue > 1e-4


def test_an_overlap_counts_from_the_latest_end():
    """A short turn within a long one does not end it: by Landini et al. the next one overlaps the long one."""
    calls = TurnHistograms(([1.0], [1]), ([], []), ([1.0, 0.5], [1, 1]))
    for seed in range(30):
        placed = talk([[4000], [200], [300], [250]], TurnLaw(calls), seed)
        first = next(n for n, one in enumerate(placed) if one.speaker == 0)
        end = placed[first].stop
        for before, one in itertools.pairwise(placed[first:]):
            assert one.start == max(end + round(one.gap * RATE), before.start)


def test_histograms_of_a_simulation_are_those_that_it_was_made_with():
    placed = talk([[5000] * 2000, [5000] * 2000], TurnLaw(CALLS), 4)
    turns = [Turn(str(one.speaker), one.start / RATE, (one.stop - one.start) / RATE, "call") for one in placed]
    found = TurnHistograms.of(turns)
    for name in ("same_pause", "other_pause", "overlap"):
        assert getattr(found, name)[0] == getattr(CALLS, name)[0]
    assert found.overlap_share == pytest.approx(
        sum(one.kind == "interruption" for one in placed) / sum(one.kind not in ("", "hold") for one in placed)
    )
    long = [Turn("a", 0.0, 1.0), Turn("b", 9.0, 1.0), Turn("b", 10.5, 1.0), Turn("a", 12.0, 1.0)]
    assert TurnHistograms.of(long).other_pause == ((0.5,), (1.0,))  # 8 seconds are no pause


@pytest.mark.parametrize(
    ("turns", "same", "other", "overlap"),
    [
        ([("a", 0, 2), ("b", 2.5, 1), ("a", 4, 1)], (0.5, 0.5), (0.5, 0.5), ()),  # nobody speaks twice in a row
        ([("a", 0, 2), ("b", 2.5, 1), ("b", 3.75, 1)], (0.25,), (0.5,), ()),
        ([("a", 0, 2), ("a", 2.5, 1)], (0.5,), (0.5,), ()),  # one alone
        ([("a", 0, 2), ("a", 2.5, 1), ("b", 3, 1)], (0.5,), (), (0.5,)),
        ([("a", 0, 2), ("b", 1, 2), ("a", 3.25, 1)], (0.25,), (0.25,), (1,)),
        ([("a", 0, 2), ("b", 1, 2)], (0,), (), (1,)),  # all overlap
        ([("a", 0, 0), ("b", 0, 0), ("b", 1, 1)], (1,), (0,), ()),  # turns of no length
    ],
)
def test_a_kind_of_pause_that_never_comes_is_as_long_as_the_other(turns, same, other, overlap):
    found = TurnHistograms.of([Turn(*turn) for turn in turns])
    each = [
        sorted(np.repeat(lengths, np.array(counts, int)).tolist())
        for lengths, counts in (found.same_pause, found.other_pause, found.overlap)
    ]
    assert each == [list(same), list(other), list(overlap)]


@pytest.mark.parametrize(
    "turns",
    [[], [("a", 0, 2)], [("a", 0, 1), ("b", 9, 1)], [("a", 0, 2), ("a", 1, 2)], [("a", 0, 1), ("b", 1, 1, "other")]],
)
def test_recordings_that_tell_nothing_are_refused_unless_pauses_are_given(turns):
    turns = [Turn(*turn) for turn in turns]
    with pytest.raises(ValueError, match=rf"turns must be several .* got {len(turns)} turns, no two .*same_pause="):
        TurnHistograms.of(turns)
    for name in ("same_pause", "other_pause"):
        found = TurnHistograms.of(turns, **{name: ([0.5], [1])})
        assert found.same_pause == found.other_pause == ((0.5,), (1.0,))
    turns += [Turn("a", 12.0, 1.0), Turn("a", 13.25, 1.0)]
    assert TurnHistograms.of(turns, same_pause=([3], [1])).same_pause == ((3.0,), (1.0,))


def test_what_a_mixer_wrote_is_a_law_of_the_next(tmp_path):
    """A round trip: conversations, their RTTM, its histograms, conversations; none has a turn behind its own."""
    speech = torch.randn(8, 1, 800, generator=seeded(1))
    for mixer in (SpeakerMix(2, rate=RATE), SpeakerMix((2, 3), boost=5, turn="whole", rate=RATE)):
        plan = mixer(speech, generator=seeded(2)).plans[0]
        write_rttm(tmp_path / "all.rttm", [turn for i in range(8) for turn in plan.turns(i, file=f"mix{i}")])
        calls = TurnHistograms.of(read_rttm(tmp_path / "all.rttm"))
        again = SpeakerMix(2, law=calls, turn="whole", rate=RATE)(speech, generator=seeded(3)).plans[0]
        gaps = [b.onset - a.offset for a, b in (again.turns(i) for i in range(8))]
        known = [*calls.other_pause[0], *(-length for length in calls.overlap[0])]
        # no overlap is longer than the turn before it
        assert all(min(abs(gap - max(one, -0.8)) for one in known) < 1.1 / RATE for gap in gaps)


def test_wrong_histograms_are_named():
    with pytest.raises(ValueError, match="same_pause must be of a length at least, got none"):
        TurnHistograms(([], []), ([1], [1]))
    with pytest.raises(ValueError, match="other_pause must be of a length at least, where overlap has none"):
        TurnHistograms(([1], [1]), ([1], [0]))
    with pytest.raises(ValueError, match=r"as many lengths in seconds as counts.*edges of bins\?"):
        TurnHistograms(([0, 1, 2], [3, 4]), ([1], [1]))
    with pytest.raises(ValueError, match=r"overlap must be a number in|overlap must be"):
        TurnHistograms(([1], [1]), ([1], [1]), ([-0.5], [1]))
    with pytest.raises(TypeError, match=r"overlap must be \(seconds, counts\)"):
        TurnHistograms(([1], [1]), ([1], [1]), "0.5")
