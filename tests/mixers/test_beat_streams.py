"""What else follows a beat mix: labels, frames, cuts, cross-fades, manifests, stems; and what it refuses."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from rhythm import LONG, LOOPS, RATE, bursts, clips, drawn, loop, misses, mixed_pair, piece, quiet, steady
from sounds import DATA, seeded

from audiomix import BeatGrid, BeatMix, MixUp, OneOf, Plan
from audiomix.audio import level
from audiomix.parts import mix_of_parts


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
    grid = BeatGrid(plan.describe(0)["beats"])
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
    row = out.plans[0].describe(1)
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
    for i in range(2):
        torch.testing.assert_close(mix_of_parts(plan, i, x[i], x), out.x[i], atol=1e-6, rtol=1e-5)


def test_plans_of_earlier_versions_replay_to_the_bit():
    x, grids = torch.stack([piece(120)[0], piece(124)[0]]), [piece(120)[1], piece(124)[1]]
    mixer = BeatMix(rate=RATE, stretch="varispeed", keep="overlap", level="recorded")
    out = mixer(x, beats=grids, generator=seeded())
    text = out.plans[0].to_json().replace("audiomix.beats.plan", "audiomix.beats.overlay")
    old = text.replace(', "stretch": "varispeed", "free_length": true', "")
    assert len(old) < len(text)
    assert torch.equal(mixer(x, beats=grids, plan=Plan.from_json(old)).x, out.x)


@pytest.mark.parametrize("rate", [44100, 192000])
def test_rates_and_stereo(rate):
    seconds = 4.0
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
    from audiomix import Pipeline

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
        kinds.add(plan.describe(0).get("aligned"))
    assert kinds == {True, None}
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
    for seed in range(25):
        row = mixer.draw(clips(a), clips(b), generator=seeded(seed)).describe(0)
        steps = np.diff(row["beats"])
        assert 60 / 127 < steps.min() <= steps.max() < 60 / 121
        places = row["positions"]
        assert all(q == p % 4 + 1 for p, q in itertools.pairwise(places))


def test_the_beats_of_a_manifest_are_those_the_partner_was_warped_to():
    a, b = rounded(121.7, 12.0, 0.13), rounded(126.3, 12.0, 0.21)
    mixer = BeatMix(rate=RATE, level="recorded")
    plan = mixer.draw(clips(a), clips(b), generator=seeded(0))
    beats = np.array(plan.describe(0)["beats"])
    knots = (plan.warp[0] * plan.seconds[0]).numpy()
    inside = beats[(beats > knots[0, 0] + 0.1) & (beats < knots[-1, 0] - 0.1)]
    assert len(inside) > 8
    assert np.abs(knots[:, 0][:, None] - inside).min(0).max() < 2e-6  # rounded to microseconds
    # the warp follows the smoothed beats: along the steps of 10 ms its rate would jitter by 1 % and more
    rates = np.diff(knots[1:-1, 1]) / np.diff(knots[1:-1, 0])
    assert np.abs(rates / rates.mean() - 1).max() < 0.004
    listed = clips((a[0], list(a[1].times))), clips((b[0], list(b[1].times)))  # lists are grids too
    assert len(mixer.draw(*listed, generator=seeded(0)).describe(0)["beats"]) == len(beats)
    read = Plan.from_json(plan.to_json()).describe(0)  # grids are not stored
    assert (read["beats"], read["trackers"], read["aligned"]) == ([], [None, None], True)


@pytest.mark.parametrize("whole", [False, True])
def test_a_crossfade_does_not_depend_on_padding(whole):
    a, b = piece(120, metre=4, hz=1000), piece(126, metre=4)
    x, grids = torch.stack([a[0], b[0]]), [a[1], b[1]]
    mixer = BeatMix(rate=RATE, mode="crossfade", bars=2, whole=whole, num_classes=2, stretch="varispeed")
    classes, size = torch.tensor([0, 1]), x.shape[-1]
    plain = mixer(x, classes, beats=grids, generator=seeded())
    padded = mixer(
        torch.nn.functional.pad(x, (0, 5 * RATE), value=0.5), classes, lengths=torch.tensor([size, size]),
        beats=grids, generator=seeded(),
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
    for seed in range(10):
        plan = drawn(mixer, [a, b], seed)
        assert plan.aligned.all()
        for i, grid in enumerate((a[1], b[1])):
            start, stop = (plan.overlap[i] * LONG).tolist()
            assert sum(start - 1e-6 <= t <= stop + 1e-6 for t in grid.close(LONG).times) - 1 >= 16
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
    plan = drawn(BeatMix(rate=RATE, min_bars=1, anchor="random"), [piece(120), piece(124)], 5)
    both = plan.overlap[:, 1] - plan.overlap[:, 0]
    assert (both < 0.98).all()
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
    for seed in range(40):
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
