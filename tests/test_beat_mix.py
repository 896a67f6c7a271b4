"""Beat-synchronous mixing, judged from the sound: bursts on the partner's beats are found again in the mix."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from rhythm import LOOPS, bursts, drifting, loop, misses, quiet, steady
from sounds import DATA, noise, seeded

from audiomix import Batch, BeatGrid, BeatMix, OneOf, Pipeline, Plan, level
from audiomix.beats.key import compatible, shifted
from audiomix.beats.tracks import tracks

RATE = 16000
LONG = 12.0


def piece(bpm, seconds=LONG, metre=None, key=None, hz=3000.0, start=0.0, times=None):
    """A sound (1, T) of quiet noise with a burst on every beat, and its grid."""
    times = steady(bpm, seconds, start) if times is None else times
    sound = bursts(times, seconds, RATE, hz) + quiet(seconds, RATE, 0.003)
    positions = None if metre is None else [i % metre + 1 for i in range(len(times))]
    return sound[None], BeatGrid(times, positions, key=key)


def mixed_pair(mixer, a, b, seed=0):
    """Mix b into a; the mix, its plan, and the partner's stem."""
    x, own, other, theirs = a[0][None], a[1], b[0][None], b[1]
    out = mixer(x, other=other, beats=[own], other_beats=[theirs], generator=seeded(seed))
    plan = out.plans[0]
    stem = mixer.mix(torch.zeros_like(x), plan, other=other)
    return out, plan, stem[0, 0]


def drawn(mixer, pieces, seed=0):
    """The plan alone, for what needs no sound."""
    x, grids = torch.stack([p[0] for p in pieces]), [p[1] for p in pieces]
    return mixer.draw(Batch(x, context={"beats": grids}), generator=seeded(seed))


def within(plan, times, seconds=LONG, margin=0.06):
    start, stop = (plan.overlap[0] * seconds).tolist()
    return [t for t in times if start + margin < t < stop - margin]


@pytest.mark.parametrize("stretch", ["pitch", "varispeed"])
@pytest.mark.parametrize(
    ("own", "partner", "per_beat"),
    [(120, 126, 1), (120, 113, 1), (120, 62, 0.5), (120, 234, 2), (75, 146, 2), (160, 82, 0.5)],
)
def test_every_beat_of_the_partner_lies_on_one_of_the_original(own, partner, per_beat, stretch):
    a, b = piece(own, hz=1000), piece(partner, hz=3000)
    for seed in range(3):
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
    _, plan, stem = mixed_pair(BeatMix(rate=RATE), a, b)
    missed = misses(stem, within(plan, a[1].times), RATE)
    assert np.median(np.abs(missed)) < 0.002
    assert np.percentile(np.abs(missed), 95) < 0.004
    warp = plan.warp[0][[0, -1]]
    straight = Plan.from_json(plan.to_json())
    object.__setattr__(straight, "warp", (warp,))
    flat = BeatMix(rate=RATE).mix(torch.zeros(1, 1, b[0].shape[-1]), straight, other=b[0][None])
    assert np.median(np.abs(misses(flat[0, 0], within(plan, a[1].times), RATE, within=0.1))) > 0.008


@pytest.mark.skipif(not (DATA / "loops").exists(), reason=f"no loops at {DATA} (set AUDIOMIX_DATA)")
@pytest.mark.parametrize(
    ("own", "partner"),
    [("loop_amen_full", "loop_compus"), ("loop_breakbeat", "loop_garzul"), ("loop_mika", "loop_garzul")],
)
def test_real_loops_coincide_and_musicldm_drifts(own, partner):
    seconds = 20.0
    a, a_beats, rate = loop(own, seconds, depth=0.02, phase=1.0)
    b, b_beats, _ = loop(partner, seconds, depth=-0.03)
    b = b + bursts(b_beats, seconds, rate, level=1.0)
    given = {"beats": [BeatGrid(a_beats)], "other_beats": [BeatGrid(b_beats)]}
    mixer = BeatMix(rate=rate)
    plan = mixer(a[None, None], other=b[None, None], **given, generator=seeded()).plans[0]
    assert plan.aligned.all()
    partners = tracks(a[None, None], plan, rate, other=b[None, None])[1]
    missed = misses(partners[0, 0], within(plan, a_beats, seconds), rate)
    assert len(missed) > 8
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
    for seed in range(5):
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
        plan = drawn(BeatMix(rate=RATE), [a, b], seed)
        assert plan.aligned.all()
        knots = (plan.warp[0] * plan.seconds[0]).numpy()
        rates = np.diff(knots[:, 1]) / np.diff(knots[:, 0])
        assert np.abs(rates - 1).max() <= 0.08 + 1e-6
        start, stop = (plan.overlap[0] * 13).tolist()
        assert stop <= 8.5 + 1e-6 or start >= 8.5 - 1e-6


@pytest.mark.parametrize("bars", [1, 3, 5])
def test_the_overlap_has_its_least_length(bars):
    a, b = piece(120, metre=4), piece(118, metre=4)
    for seed in range(10):
        plan = drawn(BeatMix(rate=RATE, min_bars=bars), [a, b], seed)
        assert plan.aligned.all()
        assert float(plan.overlap[0, 1] - plan.overlap[0, 0]) * LONG >= bars * 2.0 - 1e-6
    shifts = {round(float(drawn(BeatMix(rate=RATE), [a, b], seed).shift[0]), 4) for seed in range(12)}
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
    assert compatible(own, shifted(partner, round(steps)))
    far = mixed_pair(BeatMix(rate=RATE, keys="compatible"), a, b)[1]
    assert bool(far.aligned) == compatible(own, partner)


def test_labels_frames_and_weights_follow_the_sound():
    a, b = piece(120), piece(124)
    mixer = BeatMix(rate=RATE, num_classes=2)
    x = torch.stack([a[0], b[0]])
    out = mixer(x, torch.tensor([0, 1]), beats=[a[1], b[1]], generator=seeded(3))
    plan = out.plans[0]
    assert plan.aligned.all()
    torch.testing.assert_close(out.target[0], torch.tensor([plan.weight[0], 1 - plan.weight[0]]).float())
    # frame labels that are 1 on the beats: after the warp the partner's lie on the original's
    size = 1200
    frames = torch.zeros(2, 2, size)
    for i, times in enumerate((a[1].times, b[1].times)):
        for time in times:
            frames[i, i, min(size - 1, int(time / LONG * size))] = 1
    mixed = mixer.mix_target(frames, plan)
    own = frames[0, 0].nonzero().flatten()
    theirs = mixed[0, 1].nonzero().flatten()
    inside = own[(own / size > plan.overlap[0, 0] + 0.02) & (own / size < plan.overlap[0, 1] - 0.02)]
    assert len(inside) > 8
    for frame in inside.tolist():
        assert (theirs - frame).abs().min() <= 1  # 10 ms frames
    silent = (torch.arange(size) / size) >= plan.overlap[0, 1]
    assert (mixed[0, 1][silent] == 0).all()
    ratio = plan.ratio[0]
    assert mixed[0, 0][own[own / size < plan.overlap[0, 1]]].max() <= 1
    torch.testing.assert_close(mixed[0, 0, inside], torch.full((len(inside),), float(ratio)))


def test_padding_of_the_partner_is_never_heard():
    a, b = piece(120), piece(124)
    long = torch.cat([b[0], torch.full((1, 4 * RATE), 0.9)], 1)[None]
    x = torch.cat([a[0], torch.full((1, 4 * RATE), 0.9)], 1)[None]
    given = {"lengths": torch.tensor([a[0].shape[-1]]), "other_lengths": torch.tensor([b[0].shape[-1]])}
    given |= {"beats": [a[1]], "other_beats": [b[1]]}
    mixer = BeatMix(rate=RATE)
    for seed in range(3):
        out = mixer(x, other=long, generator=seeded(seed), **given)
        clean = mixer(x, other=long.masked_fill(long == 0.9, 0), plan=out.plans[0], **given)
        assert torch.equal(out.x, clean.x)
        assert (out.x[..., a[0].shape[-1] :] == 0).all()


def test_a_cut_mix_begins_on_a_beat_and_has_its_length():
    a, b = piece(120, metre=4, hz=1000), piece(124, metre=4)
    for keep in ("overlap", "anchor"):
        mixer = BeatMix(rate=RATE, keep=keep, num_classes=2)
        x = torch.stack([a[0], b[0]])
        out = mixer(x, torch.tensor([0, 1]), beats=[a[1], b[1]], generator=seeded(1))
        plan = out.plans[0]
        end = int(out.lengths[0])
        assert (out.x[0, :, end:] == 0).all()
        assert abs(float(plan.weight[0]) - float(plan.ratio[0])) < 1e-9  # both sound throughout
        if keep == "anchor":  # both bursts at the start, and on every beat
            at = [0.5 * k for k in range(1, int(end / RATE / 0.5))]
            assert np.abs(misses(out.x[0, 0], at, RATE, hz=1000)).max() < 0.004
            assert np.abs(misses(out.x[0, 0], at, RATE, hz=3000)).max() < 0.004


@pytest.mark.parametrize("whole", [False, True])
def test_a_crossfade_glides_from_one_into_the_other(whole):
    a, b = piece(120, metre=4, hz=1000), piece(126, metre=4, hz=3000)
    mixer = BeatMix(rate=RATE, mode="crossfade", bars=2, whole=whole)
    x = torch.stack([a[0], b[0]])
    grids = [a[1], b[1]]
    out = mixer(x, beats=grids, generator=seeded(0))
    plan = out.plans[0]
    assert plan.aligned.all()
    start, stop = (plan.fade[0] * LONG).tolist()
    end = int(out.lengths[0]) / RATE
    assert whole or out.x.shape == x.shape
    # the beats of the mix, as its grid has them, are heard: before the fade from one, behind it from the other
    grid = BeatGrid(mixer.manifest(plan, 0, {"beats": grids})["beats"])
    sound = out.x[0, 0]
    before, behind = [t for t in grid.times if t < start + 0.1], [t for t in grid.times if stop - 0.1 < t < end - 0.1]
    through = [t for t in grid.times if start + 0.3 < t < stop - 0.3]
    assert np.abs(misses(sound, before, RATE, hz=1000)).max(initial=0) < 0.004
    assert len(through) >= 5
    for hz in (1000, 3000):
        assert np.median(np.abs(misses(sound, through, RATE, hz=hz))) < 0.003
    if len(behind) > 1:
        assert np.abs(misses(sound, behind, RATE, hz=3000)).max() < 0.004
    tempo = 60 / np.diff([t for t in grid.times if start - 0.01 <= t <= stop + 0.01])
    assert (np.diff(tempo) > 0).all()  # 120 to 126 without a step back
    assert tempo[0] > 120
    assert tempo[-1] < 126
    early = round((start - 0.1) * RATE)
    assert torch.equal(sound[:early], x[0, 0, :early])  # it is left alone before the fade


def test_the_mixed_clip_has_its_own_grid():
    a, b = piece(120, metre=4, key="A minor"), piece(124, metre=4, key="C major")
    mixer = BeatMix(rate=RATE)
    out = mixer(torch.stack([a[0], b[0]]), beats=[a[1], b[1]], generator=seeded(0))
    row = mixer.manifest(out.plans[0], 1, {"beats": [a[1], b[1]]})
    assert row["bpm"] == pytest.approx(124, abs=0.01)
    assert row["beats"] == pytest.approx(list(b[1].times), abs=1e-6)
    assert (row["metre"], row["key"], row["aligned"], row["aligned_on"]) == (4, "C major", True, "downbeat")
    assert row["partner_rate"] == pytest.approx(124 / 120, abs=1e-4)


def test_never_itself_and_only_those_that_fit():
    tempi = [120, 122, 90, 91, 180, 60, 140, 118]
    pieces = [piece(bpm) for bpm in tempi]
    for seed in range(5):
        plan = drawn(BeatMix(rate=RATE, level="recorded"), pieces, seed)
        assert not plan.aligned[6]  # nobody near 140
        for i in plan.aligned.nonzero().flatten().tolist():
            j = int(plan.partner[i])
            assert i != j
            assert min(abs(q * tempi[i] / tempi[j] - 1) for q in (0.5, 1, 2)) <= 0.08


def test_stems_sum_to_the_mix_and_replay_to_the_bit():
    a, b = piece(120), piece(124)
    mixer = BeatMix(rate=RATE)
    x, grids = torch.stack([a[0], b[0]]), [a[1], b[1]]
    out = mixer(x, beats=grids, generator=seeded())
    plan = Plan.from_json(out.plans[0].to_json())
    assert torch.equal(mixer(x, beats=grids, plan=plan).x, out.x)
    own, partners = tracks(x, plan, RATE)
    gains = plan.gains()
    total = own * gains[0].float()[:, None, None] + partners * gains[1].float()[:, None, None]
    torch.testing.assert_close(total, out.x, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("rate", [8000, 44100, 192000])
def test_rates_and_stereo(rate):
    seconds = 6.0
    times = steady(120, seconds)
    sound = bursts(times, seconds, rate, hz=min(3000, rate / 4)) + quiet(seconds, rate, 0.003)
    x = torch.stack([sound, sound * 0.5])[None].repeat(2, 1, 1)
    grids = [BeatGrid(times), BeatGrid([t * 1.04 for t in times if t * 1.04 < seconds])]
    out = BeatMix(rate=rate, min_bars=1)(x, beats=grids, generator=seeded())
    assert out.plans[0].aligned.all()
    assert out.x.isfinite().all()
    assert out.x.shape == x.shape


def test_half_precision_and_gradients():
    a, b = piece(120), piece(124)
    x, grids = torch.stack([a[0], b[0]]), [a[1], b[1]]
    mixer = BeatMix(rate=RATE, stretch="varispeed")
    plan = mixer(x, beats=grids, generator=seeded()).plans[0]
    exact = mixer(x, beats=grids, plan=plan).x
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        got = mixer(x.to(dtype), beats=grids, plan=plan).x
        assert got.dtype == dtype
        assert (got.float() - exact).abs().max() < 0.02
    leaf = x.clone().requires_grad_()
    mixer(leaf, beats=grids, plan=plan).x.sum().backward()
    torch.testing.assert_close(leaf.grad[0, 0, 100], plan.gains()[0][0].float())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ({}, TypeError, r"beats must be given: BeatMix\(\.\.\.\)\(x, beats=grids\), got None"),
        ({"beats": [[0.5, 1.0]]}, ValueError, r"beats must be a list of 2 grids .* got 1 items"),
        ({"beats": [[0, 8000, 16000], None]}, ValueError, r"in seconds.*did you pass samples\?"),
        ({"beats": [[1.0, 0.5], None]}, ValueError, r"ascending"),
        ({"beats": [[0.5, 1.0, 1.5, 30.0], None]}, ValueError, r"beats\[0\] must be in seconds within the 12.00 s"),
        ({"beats": ["a.beats", None]}, TypeError, r"beats\[0\] must be a BeatGrid .* BeatGrid.read\(path\)\?"),
        ({"beats": [None, None], "other": torch.zeros(1, 1, 100)}, TypeError, r"other_beats must be given"),
        ({"beats": [None] * 2, "other": torch.zeros(1, 2, 100), "other_beats": [None]}, ValueError, r"like x"),
        ({"beat": [None, None]}, TypeError, r"no argument 'beat'"),
    ],
)
def test_wrong_grids_are_named(call, error, message):
    with pytest.raises(error, match=message):
        BeatMix(rate=RATE)(torch.zeros(2, 1, round(LONG * RATE)), **call)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"rate must be given, got None: BeatMix\(rate=16000\)"),
        ({"rate": 44.1}, r"did you mean 44100\?"),
        ({"rate": RATE, "max_stretch": 8}, r"a fraction: 8 % is 0.08"),
        ({"rate": RATE, "keys": "shift", "stretch": "none"}, r"keys must be any or compatible"),
        ({"rate": RATE, "mode": "crossfade", "keep": "overlap"}, r"for a cross-fade"),
        ({"rate": RATE, "whole": True}, r"whole must be left out unless mode='crossfade'"),
        ({"rate": RATE, "policy": "ignore"}, r"policy must be one of skip, plain"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        BeatMix(**options)


def test_it_works_among_others_and_in_a_pipeline():
    from audiomix import MixUp

    a, b = piece(120), piece(124)
    x, grids = torch.stack([a[0], b[0]]), [a[1], b[1]]
    chain = Pipeline([BeatMix(rate=RATE), MixUp(1.0)], num_classes=2)
    out = chain(x, torch.tensor([0, 1]), beats=grids, generator=seeded())
    assert out.plans[0].aligned.all()
    assert torch.equal(chain(x, torch.tensor([0, 1]), beats=grids, plans=out.plans).x, out.x)
    either = OneOf([BeatMix(rate=RATE), MixUp(1.0)])
    kinds = set()
    for seed in range(6):
        plan = either(x, beats=grids, generator=seeded(seed)).plans[0]
        kinds.add(either.manifest(plan, 0, {"beats": grids}).get("aligned"))
    assert kinds == {True, None}
    with pytest.raises(ValueError, match="mixers that keep the length"):
        OneOf([BeatMix(rate=RATE, keep="overlap")])
    copy.deepcopy(chain)


def test_every_loop_has_its_known_tempo():
    """The table in the data's README, which the benchmark rests on."""
    if not (DATA / "loops").exists():
        pytest.skip(f"no loops at {DATA}")
    known = {"loop_amen_full": 140, "loop_compus": 148, "loop_breakbeat": 126, "loop_garzul": 120, "loop_weirdo": 97}
    for name, bpm in known.items():
        assert name in LOOPS
        assert BeatGrid(loop(name)[1]).bpm == pytest.approx(bpm, rel=0.001)


def rounded(bpm, seconds, start):
    """A sound with its bursts on the beats, and the grid of a tracker with steps of 10 ms."""
    times = steady(bpm, seconds, start)
    sound, _ = piece(bpm, seconds, times=times)
    return sound, BeatGrid([round(t, 2) for t in times], [i % 4 + 1 for i in range(len(times))], step=0.01)


@pytest.mark.parametrize("whole", [False, True])
def test_no_beat_of_a_crossfade_is_lost_with_tracked_grids(whole):
    """The beat at the end of the fade: raw times lie up to 5 ms behind the smoothed ones that the fade was laid on."""
    a, b = rounded(121.7, 16.0, 0.13), rounded(126.3, 16.0, 0.21)
    mixer = BeatMix(rate=RATE, mode="crossfade", bars=2, whole=whole, level="recorded")
    given = {"beats": [a[1]], "other_beats": [b[1]]}
    for seed in range(40):
        plan = mixer.draw(Batch(a[0][None], other=b[0][None], context=given), generator=seeded(seed))
        row = mixer.manifest(plan, 0, given)
        steps = np.diff(row["beats"])
        assert 60 / 127 < steps.min() <= steps.max() < 60 / 121
        places = row["positions"]
        assert all(q == p % 4 + 1 for p, q in itertools.pairwise(places))


def test_the_beats_of_a_manifest_are_those_the_partner_was_warped_to():
    a, b = rounded(121.7, 12.0, 0.13), rounded(126.3, 12.0, 0.21)
    mixer, given = BeatMix(rate=RATE, level="recorded"), {"beats": [a[1]], "other_beats": [b[1]]}
    plan = mixer.draw(Batch(a[0][None], other=b[0][None], context=given), generator=seeded(0))
    beats = np.array(mixer.manifest(plan, 0, given)["beats"])
    knots = (plan.warp[0] * plan.seconds[0]).numpy()
    inside = beats[(beats > knots[0, 0] + 0.1) & (beats < knots[-1, 0] - 0.1)]
    assert len(inside) > 8
    assert np.abs(knots[:, 0][:, None] - inside).min(0).max() < 2e-6  # rounded to microseconds
    # the warp follows the smoothed beats: along the steps of 10 ms its rate would jitter by 1 % and more
    rates = np.diff(knots[1:-1, 1]) / np.diff(knots[1:-1, 0])
    assert np.abs(rates / rates.mean() - 1).max() < 0.004
    listed = {"beats": [list(a[1].times)], "other_beats": [list(b[1].times)]}  # lists are grids too
    assert len(mixer.manifest(plan, 0, listed)["beats"]) == len(beats)


@pytest.mark.parametrize("whole", [False, True])
def test_a_crossfade_does_not_depend_on_padding(whole):
    a, b = piece(120, metre=4, hz=1000), piece(126, metre=4)
    x, grids = torch.stack([a[0], b[0]]), [a[1], b[1]]
    mixer = BeatMix(rate=RATE, mode="crossfade", bars=2, whole=whole, num_classes=2, stretch="varispeed")
    classes, size = torch.tensor([0, 1]), x.shape[-1]
    for seed in range(2):
        plain = mixer(x, classes, beats=grids, generator=seeded(seed))
        padded = mixer(
            torch.nn.functional.pad(x, (0, 5 * RATE), value=0.5), classes, lengths=torch.tensor([size, size]),
            beats=grids, generator=seeded(seed),
        )  # fmt: skip
        assert plain.lengths.tolist() == padded.lengths.tolist()
        assert whole or max(plain.lengths.tolist()) <= size
        torch.testing.assert_close(plain.target, padded.target)
        for one, two, end in zip(plain.x, padded.x, plain.lengths.tolist()):
            torch.testing.assert_close(one[:, :end], two[:, :end], atol=1e-5, rtol=1e-4)
            assert (two[:, end:] == 0).all()


@pytest.mark.parametrize("keep", ["original", "overlap", "anchor"])
@pytest.mark.parametrize("stretch", ["pitch", "none"])
def test_the_least_overlap_holds_for_all_that_may_be_kept(stretch, keep):
    a, b = piece(120, metre=4), piece(121, metre=4)
    mixer = BeatMix(rate=RATE, stretch=stretch, keep=keep, min_bars=4, level="recorded")
    for seed in range(20):
        plan = drawn(mixer, [a, b], seed)
        assert plan.aligned.all()
        for i, grid in enumerate((a[1], b[1])):
            start, stop = (plan.overlap[i] * LONG).tolist()
            assert sum(start - 1e-6 <= t <= stop + 1e-6 for t in grid.times) - 1 >= 16
    plan = drawn(BeatMix(rate=RATE, stretch=stretch, keep=keep, min_bars=6.5, level="recorded"), [a, b])
    assert not plan.aligned.any()
    assert plan.why[0] == "too short: no downbeats of the two give an overlap of 6.5 bars of 4 beats"


def test_levels_are_those_of_the_overlap():
    """The partner is 30 dB louder where it is not heard."""
    a = piece(120, metre=4)
    times = [*steady(122, 6.0), *(6.0 + np.arange(1, 10) * 0.64)]  # too slow from there on
    b = piece(122, metre=4, times=times)
    b[0][..., round(6.1 * RATE) :] *= 30
    mixer = BeatMix(rate=RATE, gain_law="amplitude", stretch="varispeed")
    for seed in range(4):
        _, plan, stem = mixed_pair(mixer, a, b, seed)
        assert plan.aligned.all()
        span = slice(*(plan.overlap[0] * LONG * RATE).round().long().tolist())
        w = float(plan.ratio[0])
        heard = level.lufs(stem[span], RATE) - level.lufs(a[0][0, span], RATE)
        assert abs(heard - 20 * math.log10(1 - w)) < 1.5


def test_the_weight_is_the_originals_share_of_the_sum_and_frames_know_the_overlap():
    a, b = piece(120), piece(124)
    x, grids = torch.stack([a[0], b[0]]), [a[1], b[1]]
    plan = BeatMix(rate=RATE, min_bars=1).draw(Batch(x, context={"beats": grids}), generator=seeded(5))
    both = plan.overlap[:, 1] - plan.overlap[:, 0]
    assert (both < 0.9).all()
    torch.testing.assert_close(plan.weight, plan.ratio / (plan.ratio + (1 - plan.ratio) * both))
    share = plan.share(12000)
    place = (torch.arange(12000) + 0.5) / 12000
    inside = (place >= plan.overlap[:, :1]) & (place < plan.overlap[:, 1:])
    assert torch.equal(share, torch.where(inside, plan.ratio[:, None], 1.0))
    torch.testing.assert_close(share.mean(1), 1 - (1 - plan.ratio) * both, atol=1e-3, rtol=0)


def test_musicldm_never_draws_the_last_downbeat():
    """Annotations with 2 bars and a downbeat behind them: i, j in {0, 1}, as numpy's randint has it."""
    a, b = piece(120, seconds=4.5, metre=4), piece(121, seconds=4.5, metre=4)
    assert len(a[1].downbeats) == 3
    anchors = set()
    for seed in range(60):
        plan = drawn(BeatMix.musicldm(RATE), [a, b], seed)
        assert plan.aligned.all()
        first = plan.warp[0][0] * plan.seconds[0]
        anchors.add((round(float(first[0]), 2), round(float(first[1]), 2)))
    assert anchors == {(s, t) for s in (0.0, 2.0) for t in (0.0, 1.98)}
    short = piece(120, seconds=2.0, metre=4)
    assert "too short: no downbeats" in mixed_pair(BeatMix.musicldm(RATE), short, b)[1].why[0]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_samples_that_are_no_numbers_are_named(value):
    a, b = piece(120), piece(124)
    x, grids = torch.stack([a[0], b[0]]), [a[1], b[1]]
    wrong = x.clone()
    wrong[1, 0, 5000] = value
    for policy in ("skip", "plain"):
        mixer = BeatMix(rate=RATE, policy=policy)
        with pytest.raises(ValueError, match=r"x must be finite, got 1 NaN or infinite values, .* \(1, 0, 5000\)"):
            mixer(wrong, beats=grids)
        with pytest.raises(ValueError, match=r"other must be finite, got 1 NaN"):
            mixer(x, other=wrong, beats=grids, other_beats=grids)
    padded = torch.nn.functional.pad(x, (0, 1000), value=value)  # never heard
    out = BeatMix(rate=RATE)(padded, lengths=torch.tensor([x.shape[-1]] * 2), beats=grids, generator=seeded())
    assert out.plans[0].aligned.all()
    assert out.x.isfinite().all()


def test_why_names_the_side_that_has_no_beats():
    a = piece(120)
    empty, one = (a[0], BeatGrid([])), (a[0], BeatGrid([1.0]))
    for own, partner, why in (
        ((a[0], None), a, "no beats of the original are known"),
        (a, (a[0], None), "no beats of the partner are known"),
        (empty, (a[0], None), "no tempo: the original has 0 beats"),
        (one, empty, "no tempo: the original has 1 beat"),
        (a, empty, "no tempo: the partner has 0 beats"),
    ):
        assert mixed_pair(BeatMix(rate=RATE), own, partner)[1].why == (why,)
