"""Partners of nearly the same tempo; what BeatMix asks of tempi."""

import numpy as np
import pytest
import torch
from pairs import DRAWS, assert_drawn_as, drawn
from sounds import noise, seeded

from audiomix import BeatGrid, BeatMix, MixUp, Notes, pairing
from audiomix.beats.match import MatchFeatures, MatchRule, compatible

BPM = [120.0, 124.0, 61.0, 90.0, 0.0, 241.0, None, 93.0]


def expected(own, theirs, tolerance, octaves=True):
    """Written out: some fold of the original's tempo is within the tolerance of the partner's."""
    folds = (0.5, 1, 2) if octaves else (1,)

    def fits(a, b):
        return bool(a and b) and any(abs(fold * a / b - 1) <= tolerance / 100 + 1e-9 for fold in folds)

    return torch.tensor([[fits(a, b) for b in theirs] for a in own]).double()


@pytest.mark.parametrize(("tolerance", "octaves"), [(4, True), (4, False), (0.5, True), (14, True), (1.7, True)])
def test_partners_are_those_within_the_tolerance(tolerance, octaves):
    counts = drawn(f"same_tempo:tolerance={tolerance},octaves={octaves}", 8, draws=5000, notes=Notes(bpm=BPM))
    assert_drawn_as(counts, expected(BPM, BPM, tolerance, octaves).fill_diagonal_(0))


def test_clips_without_a_tempo_are_not_mixed_with_one_another():
    """MusicLDM's groups put all clips whose tempo is 0, those without beats, into one."""
    wave = noise(4, 1, 50)
    for bpm in ([0, 0, 0, 0], [None] * 4, torch.zeros(4), torch.full((4,), torch.nan), np.zeros(4)):
        mixed = MixUp(pairing="same_tempo")(wave, bpm=bpm, generator=seeded())
        assert torch.equal(mixed.x, wave)
        assert all(mixed.plans[0].why)


def test_neighbours_meet_across_the_borders_of_buckets_and_half_tempo_is_alike():
    """Buckets of 3 bpm part 119.5 (119) from 120.5 (120), join 117 and 119 whatever is asked, and know no octaves."""
    bpm = [119.5, 120.5, 60.0, 117.0, 119.0]
    partner, found = pairing.pair(2, "same_tempo:tolerance=1", notes=Notes(bpm=bpm[:2]), generator=seeded())
    assert (partner.tolist(), found.tolist()) == ([1, 0], [True, True])
    partner, found = pairing.pair(2, "same_tempo:tolerance=1", notes=Notes(bpm=bpm[3:]), generator=seeded())
    assert not found.any()
    notes = Notes(bpm=bpm[1:3])
    for octaves in (True, False):
        kind = f"same_tempo:tolerance=1,octaves={octaves}"
        assert pairing.pair(2, kind, notes=notes, generator=seeded())[1].tolist() == [octaves] * 2


def test_tempi_are_read_from_beats_where_there_is_no_bpm():
    grids = [BeatGrid(np.arange(9) * 60 / bpm) if bpm else None for bpm in (120, 90, 121, 0, 89)]
    times = [None if grid is None else list(grid.times) for grid in grids]
    for beats in (grids, times):
        plan = MixUp(pairing="same_tempo")(noise(5, 1, 50), beats=beats, generator=seeded()).plans[0]
        assert plan.partner.tolist() == [2, 4, 0, 3, 1]
    # what is said of a clip comes before what its beats tell; None says nothing
    said = [None, None, 90, 120, None]
    plan = MixUp(pairing="same_tempo")(noise(5, 1, 50), beats=grids, bpm=said, generator=seeded()).plans[0]
    assert plan.partner[0] == 3
    assert plan.partner[2] in (1, 4)


def test_over_a_second_batch_with_masks():
    own, theirs = [120.0, 90.0], [60.0, 119.0, 91.0, 0.0]
    allowed = torch.ones(2, 4, dtype=torch.bool)
    allowed[0, 0] = False
    given = {"other_size": 4, "notes": Notes(bpm=own * (DRAWS // 2)), "other_notes": Notes(bpm=theirs)}
    counts = drawn("same_tempo", DRAWS, allowed=allowed.repeat(DRAWS // 2, 1), **given).view(-1, 2, 4).sum(0)
    assert_drawn_as(counts, expected(own, theirs, 4) * allowed)


def test_it_is_what_beat_mix_asks_of_tempi_and_may_be_asked_for_besides():
    tempi = torch.linspace(50, 250, 60).double().numpy()
    features = MatchFeatures(tempi, np.zeros(60, np.int64), np.full(60, -1))
    table = compatible(features, features, MatchRule(0.08, align="beat"))
    np.fill_diagonal(table, False)
    wanted = expected(tempi, tempi, 8).fill_diagonal_(0)
    assert np.array_equal(table, wanted.bool().numpy())
    grids = [BeatGrid(np.arange(0, 3 - 60 / bpm, 60 / bpm)) for bpm in (120, 126, 121, 122)]
    beat = BeatMix(rate=4000, min_bars=0.5, level="recorded", pairing="same_tempo:tolerance=2")
    for seed in range(4):
        plan = beat(noise(4, 1, 12000), beats=grids, generator=seeded(seed)).plans[0]
        assert plan.aligned.tolist() == [True, False, True, True]
        assert 1 not in plan.partner[[0, 2, 3]]


def test_rules_without_octaves_match_at_the_tempo_alone():
    assert MatchRule(octaves=False).folds == (1.0,)
    assert MatchRule(octaves=False, polyrhythm=True).folds == (1 / 3, 2 / 3, 1.0, 1.5, 3.0)


@pytest.mark.parametrize(
    ("kind", "given", "error", "message"),
    [
        ("", {}, ValueError, "bpm must be given for pairing 'same_tempo', got None: bpm=, one number .* beats="),
        ("", {"bpm": [120]}, ValueError, "bpm must be one entry for each of 4 clips, got 1"),
        ("", {"bpm": ["fast"] * 4}, TypeError, r"bpm\[0\] must be a number, or None where it is not known, got 'fast'"),
        ("", {"beats": [[0.0, 0.5]]}, ValueError, "beats must be one entry for each of 4 clips"),
        ("", {"beats": [[0.5, 0.0]] * 4}, ValueError, "times must be ascending"),
        (":tolerance=20", {"bpm": [1] * 4}, ValueError, r"tolerance must be a number in \[0, 14\], got 20: in per"),
        (":tolerance=-1", {"bpm": [1] * 4}, ValueError, "tolerance must be a number in"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_drawn(kind, given, error, message):
    generator = seeded()
    with pytest.raises(error, match=message):
        MixUp(pairing=f"same_tempo{kind}")(noise(4, 1, 20), generator=generator, **given)
    assert torch.equal(generator.get_state(), seeded().get_state())
