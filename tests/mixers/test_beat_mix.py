"""Beat-synchronous mixing, judged from the sound: bursts on the partner's beats are found again in the mix."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from rhythm import LONG, RATE, bursts, drawn, drifting, loop, misses, mixed_pair, piece, steady, within
from sounds import DATA, noise, seeded

from audiomix import BeatGrid, BeatMix
from audiomix.audio import level
from audiomix.beats.key import are_compatible, transpose
from audiomix.beats.match import BeatQuery, MatchRule
from audiomix.beats.render import render_tracks
from audiomix.clips import Clips


@pytest.mark.parametrize(
    ("own", "partner", "per_beat", "stretch"),
    [
        (120, 126, 1, "varispeed"), (120, 113, 1, "pitch"), (120, 62, 0.5, "pitch"), (120, 234, 2, "varispeed"),
        (75, 146, 2, "pitch"), (160, 82, 0.5, "varispeed"),
    ],
)  # fmt: skip
def test_every_beat_of_the_partner_lies_on_one_of_the_original(own, partner, per_beat, stretch):
    a, b = piece(own, hz=1000), piece(partner, hz=3000)
    for seed in range(2):
        _, plan, stem = mixed_pair(BeatMix(rate=RATE, stretch=stretch), a, b, seed)
        assert plan.aligned.all()
        times = np.array(within(plan, a[1].times))
        if per_beat == 2:  # two of the partner on one of the original
            times = np.sort(np.concatenate([times, times[:-1] + np.diff(times) / 2]))
        missed = misses(stem, times, RATE)
        if per_beat == 0.5:  # one on every second: the others find nothing near
            missed = min(missed[::2], missed[1::2], key=lambda m: np.median(np.abs(m)))
        assert len(missed) >= 4
        assert np.abs(missed).max() < 0.004


def test_drift_is_followed_and_one_stretch_does_not_follow_it():
    a = piece(120, hz=1000, times=drifting(120, LONG, 0.03))
    b = piece(118, times=drifting(118, LONG, 0.03, phase=2.5))
    _, plan, stem = mixed_pair(BeatMix(rate=RATE), a, b, seed=1)  # an overlap over which the drift turns
    missed = misses(stem, within(plan, a[1].times), RATE)
    assert np.median(np.abs(missed)) < 0.002
    assert np.percentile(np.abs(missed), 95) < 0.004
    straight = replace(plan, warp=(plan.warp[0][[0, -1]],))
    flat = render_tracks(Clips(a[0][None]), Clips(b[0][None]), straight)[1]
    assert np.median(np.abs(misses(flat[0, 0], within(plan, a[1].times), RATE, within=0.1))) > 0.008


@pytest.mark.skipif(not (DATA / "loops").exists(), reason=f"no loops at {DATA} (set AUDIOMIX_DATA)")
@pytest.mark.parametrize(
    ("own", "partner"),
    [("loop_amen_full", "loop_compus"), ("loop_breakbeat", "loop_garzul"), ("loop_mika", "loop_garzul")],
)
def test_real_loops_coincide_and_musicldm_drifts(own, partner):
    seconds = 12.0
    a, a_beats, rate = loop(own, seconds, depth=0.02, phase=1.0)
    b, b_beats, _ = loop(partner, seconds, depth=-0.03)
    b = b + bursts(b_beats, seconds, rate, level=1.0)
    given = {"beats": [BeatGrid(a_beats)], "other_beats": [BeatGrid(b_beats)]}
    mixer = BeatMix(rate=rate)
    plan = mixer(a[None, None], other=b[None, None], **given, generator=seeded()).plans[0]
    assert plan.aligned.all()
    partners = render_tracks(Clips(a[None, None]), Clips(b[None, None]), plan)[1]
    missed = misses(partners[0, 0], within(plan, a_beats, seconds), rate)
    assert len(missed) >= 8
    assert np.median(np.abs(missed)) <= 0.002
    assert np.percentile(np.abs(missed), 95) <= 0.004


def test_musicldm_meets_within_buckets_and_drifts():
    a, b = piece(120.4, metre=4, hz=1000), piece(122.4, metre=4)
    mixer = BeatMix.musicldm(RATE)
    found = (mixed_pair(mixer, a, b, seed) for seed in range(9))
    out, plan, stem = next(m for m in found if m[0].lengths[0] > 8 * RATE)
    assert plan.aligned.all()
    times = 60 / 120.4 * np.arange(1, int(out.lengths[0] / RATE / 0.5))
    missed = misses(stem, times, RATE, within=0.2)
    drift = 60 / 122.4 - 60 / 120.4  # seconds a beat: the partner runs away
    np.testing.assert_allclose(missed, drift * np.arange(1, len(missed) + 1), atol=0.002)
    assert np.abs(missed).max() > 0.1
    other = piece(119.4, metre=4)
    assert "buckets of 3 bpm" in mixed_pair(mixer, a, other)[1].why[0]
    weights = torch.cat([drawn(mixer, [a, b], seed).weight for seed in range(100)])
    assert abs(weights.mean() - 0.5) < 4 * math.sqrt(1 / 44 / 200)
    assert abs(weights.var() - 1 / 44) < 0.012
    assert all((plan.aligned & (plan.kept[:, 0] == plan.overlap[:, 0])).all() for plan in [drawn(mixer, [a, b])])


def test_downbeats_lie_on_downbeats():
    """The partner's downbeats are louder; in the mix they are where the original's are."""
    a_times, b_times = steady(120, LONG), steady(124, LONG)
    a = piece(120, metre=4, hz=1000)
    loud = bursts(b_times[2::4], LONG, RATE, level=0.6)[None]
    b = (piece(124)[0] * 0.2 + loud, BeatGrid(b_times, [(i - 2) % 4 + 1 for i in range(len(b_times))]))
    for seed in range(3):
        _, plan, stem = mixed_pair(BeatMix(rate=RATE), a, b, seed)
        assert plan.unit == ("downbeat",)
        times = within(plan, a_times)
        energy = [float(stem[round((t - 0.03) * RATE) : round((t + 0.03) * RATE)].square().sum()) for t in times]
        first = round(times[0] / 0.5)
        bar = [np.mean([e for k, e in enumerate(energy) if (first + k) % 4 == p]) for p in range(4)]
        assert bar[0] > 10 * max(bar[1:])


def test_what_cannot_be_aligned_follows_the_policy_and_says_why():
    a = piece(120, metre=4)
    cases = {
        "no beats of the partner": (noise(1, 16000) * 0.1, None),
        "no tempo": (noise(1, 16000) * 0.1, BeatGrid([0.5])),
        "no tempo: ": (noise(1, 16000) * 0.1, BeatGrid([])),
        "tempi do not fit": piece(90),
        "metres differ": piece(120, metre=3),
        "too short": piece(120, seconds=2.0),
    }
    for reason, b in cases.items():
        for policy in ("skip", "plain"):
            out, plan, stem = mixed_pair(BeatMix(rate=RATE, policy=policy), a, b)
            assert not plan.aligned.any()
            assert reason in plan.why[0]
            assert out.x.isfinite().all()
            if policy == "skip":
                assert torch.equal(out.x, a[0][None])
                assert plan.weight.item() == 1
            else:
                assert plan.weight.item() < 1
                assert stem.abs().sum() > 0


def test_a_rubato_beyond_the_limit_ends_the_overlap():
    jump = [*steady(120, 9.0), *(8.5 + np.arange(1, 8) * 0.6)]  # 100 bpm from there: 17 % slower
    a, b = piece(120, seconds=13.0, hz=1000, times=jump), piece(120, seconds=13.0)
    for seed in range(5):
        plan = drawn(BeatMix(rate=RATE, level="recorded"), [a, b], seed)
        assert plan.aligned.all()
        knots = (plan.warp[0] * plan.seconds[0]).numpy()
        rates = np.diff(knots[:, 1]) / np.diff(knots[:, 0])
        assert np.abs(rates - 1).max() <= 0.08 + 1e-6
        start, stop = (plan.overlap[0] * 13).tolist()
        assert stop <= 8.5 + 1e-6 or start >= 8.5 - 1e-6


def test_the_overlap_has_its_least_length():
    a, b = piece(120, metre=4), piece(118, metre=4)
    for bars in (1, 3, 5):
        for seed in range(8):
            plan = drawn(BeatMix(rate=RATE, min_bars=bars, level="recorded"), [a, b], seed)
            assert plan.aligned.all()
            assert float(plan.overlap[0, 1] - plan.overlap[0, 0]) * LONG >= bars * 2.0 - 1e-6
    mixer = BeatMix(rate=RATE, level="recorded", anchor="random")
    shifts = {round(float(drawn(mixer, [a, b], seed).shift[0]), 4) for seed in range(12)}
    assert len(shifts) > 3  # drawn at random


def test_levels_are_matched_in_lufs_and_gain_laws_hold():
    a, b = piece(120), piece(124)
    b = (b[0] * 0.05, b[1])
    for law in ("unit_power", "amplitude", "sqrt"):
        mixer = BeatMix(rate=RATE, gain_law=law)
        out, plan, stem = mixed_pair(mixer, a, b)
        span = slice(*(plan.overlap[0] * LONG * RATE).round().long().tolist())
        heard = level.lufs(stem[span], RATE) - level.lufs(a[0][0, span], RATE)
        w = float(plan.weight) if plan.ratio is None else float(plan.ratio)
        own, theirs = {"unit_power": (w, 1 - w), "amplitude": (w, 1 - w), "sqrt": (w**0.5, (1 - w) ** 0.5)}[law]
        scale = math.hypot(w, 1 - w) if law == "unit_power" else 1.0
        assert abs(heard - 20 * math.log10(theirs / scale)) < 1.0  # warping moves loudness by tenths of a LU
        torch.testing.assert_close(out.x[0, 0] - stem, a[0][0] * (own / scale), atol=1e-5, rtol=1e-4)
    recorded = mixed_pair(BeatMix(rate=RATE, level="recorded", gain_law="amplitude"), a, b)
    assert recorded[2].abs().max() < 0.05 * 0.5 * 1.2


def test_what_it_needs_follows_from_its_options():
    plain = BeatMix(rate=RATE).needs
    assert (plain.length, plain.partner, plain.caption) == ("kept", "whole", "original")
    assert plain.notes == {"beats": BeatQuery()}
    asked = BeatMix(rate=RATE, keep="overlap", caption="joined", tracker="madmom", keys="shift", max_stretch=0.02).needs
    assert (asked.length, asked.caption) == ("free", "joined")
    assert asked.notes == {"beats": BeatQuery("madmom", True, MatchRule(0.02, keys="shift"))}


def test_silence_has_no_level_and_no_nan():
    a, b = piece(120), piece(124)
    for one, two in ((a, (torch.zeros_like(b[0]), b[1])), ((torch.zeros_like(a[0]), a[1]), b)):
        out, plan, _ = mixed_pair(BeatMix(rate=RATE), one, two)
        assert out.x.isfinite().all()
        assert plan.gain_db.isfinite().all()


def test_the_pitch_is_kept_or_moves_with_the_rate():
    tone = lambda seconds: torch.sin(2 * math.pi * 440 * torch.arange(round(seconds * RATE)) / RATE)[None] * 0.3  # noqa: E731
    a, b = (tone(LONG) * 0, BeatGrid(steady(120, LONG))), (tone(LONG), BeatGrid(steady(125, LONG)))
    for stretch, expected in (("pitch", 440.0), ("varispeed", 440 * 120 / 125), ("none", 440.0)):
        _, plan, stem = mixed_pair(BeatMix(rate=RATE, stretch=stretch), a, b)
        span = (plan.overlap[0] * LONG * RATE).long().tolist()
        part = stem[span[0] + RATE : span[0] + 5 * RATE].double()
        spectrum = torch.fft.rfft(part * torch.hann_window(len(part), dtype=torch.float64), 16 * len(part)).abs()
        found = float(spectrum.argmax()) * RATE / (16 * len(part))
        assert abs(1200 * math.log2(found / expected)) < 5


@pytest.mark.parametrize(("own", "partner"), [("C major", "B major"), ("A minor", "F# minor"), ("C major", "A minor")])
def test_keys_are_shifted_into_a_compatible_one(own, partner):
    tone = torch.sin(2 * math.pi * 440 * torch.arange(round(LONG * RATE)) / RATE)[None] * 0.3
    a = (tone * 0, BeatGrid(steady(120, LONG), key=own))
    b = (tone, BeatGrid(steady(122, LONG), key=partner))
    _, plan, stem = mixed_pair(BeatMix(rate=RATE, keys="shift"), a, b)
    span = (plan.overlap[0] * LONG * RATE).long().tolist()
    part = stem[span[0] + RATE : span[0] + 4 * RATE].double()
    spectrum = torch.fft.rfft(part * torch.hann_window(len(part), dtype=torch.float64), 16 * len(part)).abs()
    steps = 12 * math.log2(float(spectrum.argmax()) * RATE / (16 * len(part)) / 440)
    assert abs(steps - round(steps)) < 0.05
    assert abs(round(steps)) <= 2
    assert are_compatible(own, transpose(partner, round(steps)))
    far = mixed_pair(BeatMix(rate=RATE, keys="compatible"), a, b)[1]
    assert bool(far.aligned) == are_compatible(own, partner)
