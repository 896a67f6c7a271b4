"""The picture of a beat mix: beats apart before and together after; what the command line draws."""

import shutil

import numpy as np
import pytest
import torch
from sounds import ROOT, noise, seeded

from audiomix import cli
from audiomix.audio.io import Clip
from audiomix.beats.grid import BeatGrid
from audiomix.mixers.beat import BeatMix
from audiomix.report.beat_figure import _OWN, _PARTNER, _titles, beat_picture
from audiomix.report.beat_scene import Beats, apart, scene

RATE = 8000


def steady(bpm, seconds=8.0, start=0.1, seed=0):
    """Return clicks in noise, and where they are; bars of four."""
    times = np.arange(start, seconds - 0.01, 60 / bpm)
    wave = 0.02 * noise(1, round(seconds * RATE), seed=seed)
    for t in times:
        wave[:, round(t * RATE) : round(t * RATE) + 40] += 0.5
    return Clip(wave, RATE), BeatGrid(times.tolist(), [k % 4 + 1 for k in range(len(times))])


def mixed(own, partner, **options):
    options = {"stretch": "varispeed", "min_bars": 2, **options}
    mixer = BeatMix(rate=RATE, **options)
    return mixer(
        own[0].samples[None], other=partner[0].samples[None], beats=[own[1]], other_beats=[partner[1]],
        generator=seeded(1),
    )  # fmt: skip


def picture(path, own, partner, **options):
    """Mix and draw; return plan and pixels (rows, columns, 3)."""
    import matplotlib.image

    plan = mixed(own, partner, **options).plans[0]
    beat_picture(path, plan, own[0], partner[0], own[1], partner[1])
    return plan, matplotlib.image.imread(path)[..., :3]


def columns(pixels, colour):
    """Return for each row of pixels that holds lines of a colour where they are."""
    wanted = np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)])
    mask = (np.abs(pixels - wanted) < 0.15).all(-1)  # thin lines are smoothed
    mask[:45] = False  # the legend
    found = {}
    for y in np.flatnonzero(mask.any(1)):
        x = np.flatnonzero(mask[y])
        found[int(y)] = np.array([part.mean() for part in np.split(x, np.flatnonzero(np.diff(x) > 1) + 1)])
    return found


def bands(pixels):
    """Return (original's, partner's) line positions in each row of the picture that has both, from the top."""
    upper, lower = columns(pixels, _OWN), columns(pixels, _PARTNER)
    ys = sorted(lower)
    tops = [y for y in ys if y - 1 not in lower]
    return [(upper[y - 8], lower[y + 8]) for y in tops]


def test_beats_are_apart_before_and_together_after(tmp_path):
    plan, pixels = picture(tmp_path / "a.png", steady(120), steady(128, start=0.23, seed=1))
    assert plan.aligned.all()
    before, after, mix = bands(pixels)
    assert np.abs(before[0][:, None] - before[1]).min(1).max() > 15
    for own, partner in (after, mix):
        assert len(partner) >= 8
        assert np.abs(partner[:, None] - own).min(1).max() <= 1


@pytest.mark.parametrize(
    ("options", "rows"),
    [({}, 4), ({"keep": "overlap"}, 4), ({"stretch": "none"}, 4), ({"mode": "crossfade", "bars": 2}, 5)],
)
def test_every_kind_of_plan_is_drawn_the_same_every_time(options, rows, tmp_path):
    sounds = steady(120), steady(128, start=0.23, seed=1)
    _, pixels = picture(tmp_path / "a.png", *sounds, **options)
    picture(tmp_path / "b.png", *sounds, **options)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert pixels.shape[:2] == (pytest.approx((0.6 + 1.25 * rows) * 150, abs=1), 1350)
    assert 0.5 < pixels.mean() < 0.99


def test_a_cross_fade_has_the_beats_of_both_together(tmp_path):
    plan, pixels = picture(
        tmp_path / "a.png", steady(120), steady(126, start=0.3, seed=1), mode="crossfade", bars=2, whole=True
    )
    assert plan.fade[0, 1] > 0
    _, after, _ = bands(pixels)
    distance = np.abs(after[0][:, None] - after[1]).min(1)
    assert (distance <= 1).sum() >= 9  # eight beats and the one at the end of the fade


@pytest.mark.parametrize(("policy", "rows"), [("skip", 3), ("plain", 4)])
def test_what_was_not_aligned_says_why(policy, rows, tmp_path):
    sounds = steady(120), steady(90, seed=1)
    plan, pixels = picture(tmp_path / "a.png", *sounds, policy=policy)
    assert not plan.aligned.any()
    assert pixels.shape[0] == pytest.approx((0.6 + 1.25 * rows) * 150, abs=1)
    for own, partner in bands(pixels):
        assert np.abs(partner[:, None] - own).min(1).max() > 15
    grids = sounds[0][1], sounds[1][1]
    shown = scene(plan, 0, (sounds[0][0], sounds[1][0]), grids, seconds=12)
    said = _titles(shown, grids, ("", ""))["played" if policy == "plain" else "mix"]
    assert "tempi do not fit: 120.0 and 90.0 bpm" in said


def test_beats_that_are_unknown_are_no_error(tmp_path):
    (own, _), (partner, grid) = steady(120), steady(128, seed=1)
    plan = BeatMix(rate=RATE)(
        own.samples[None], other=partner.samples[None], beats=[None], other_beats=[grid], generator=seeded()
    ).plans[0]
    path = beat_picture(tmp_path / "a.png", plan, own, partner, None, grid)
    assert path.stat().st_size > 5000


def test_two_plans_give_two_pictures(tmp_path):
    sounds = steady(120), steady(128, start=0.23, seed=1)
    first, second = (picture(tmp_path / "a.png", *sounds, alpha=alpha)[1] for alpha in (5.0, 0.5))
    assert first.shape == second.shape
    assert (first != second).any()


def test_any_clip_of_a_batch_is_shown_and_of_a_long_one_a_part(tmp_path):
    sounds = [steady(120, 30.0), steady(126, 30.0, 0.3, seed=1), steady(118, 30.0, 0.2, seed=2)]
    x = torch.stack([clip.samples for clip, _ in sounds])
    plan = BeatMix(rate=RATE, stretch="varispeed")(x, beats=[g for _, g in sounds], generator=seeded()).plans[0]
    for i, j in enumerate(plan.partner.tolist()):
        (own, mine), (partner, theirs) = sounds[i], sounds[j]
        shown = scene(plan, i, (own, partner), (mine, theirs), seconds=5.0)
        assert shown.window[1] - shown.window[0] == pytest.approx(5.0)
        far = apart(*shown.played_beats)
        assert far is not None
        assert far < 1e-6
        assert apart(*shown.beats) > 0.1
        path = beat_picture(tmp_path / f"{i}.png", plan, own, partner, mine, theirs, index=i)
        assert path.stat().st_size > 5000


def test_what_is_drawn_as_the_mix_is_what_the_mixer_gives():
    own, partner = steady(120), steady(128, start=0.23, seed=1)
    for options in ({}, {"keep": "overlap"}, {"mode": "crossfade", "bars": 2}, {"policy": "plain", "max_stretch": 0.0}):
        result = mixed(own, partner, **options)
        clips, grids = (own[0], partner[0]), (own[1], partner[1])
        shown = scene(result.plans[0], 0, clips, grids, seconds=12)
        start, stop = shown.output_span
        drawn = (shown.played[0] + shown.played[1])[start:stop]
        torch.testing.assert_close(drawn, result.x[0, 0, : len(drawn)], atol=1e-5, rtol=0)


def test_sounds_of_two_rates_are_refused(tmp_path):
    own, partner = steady(120), steady(128, seed=1)
    plan = mixed(own, partner).plans[0]
    with pytest.raises(ValueError, match=r"at 8000 Hz.*16000 Hz.*resample"):
        beat_picture(tmp_path / "a.png", plan, own[0], Clip(partner[0].samples, 16000), own[1], partner[1])


def test_apart_counts_the_beats_of_the_sparser():
    slow, fast = BeatGrid([0.0, 1.0, 2.0]), BeatGrid([0.0, 0.5, 1.02, 1.5, 2.0])
    assert apart(Beats.of(slow), Beats.of(fast)) == pytest.approx(0.02)
    assert apart(Beats.of(fast), Beats.of(slow)) == pytest.approx(0.02)
    assert apart(Beats.of(None), Beats.of(slow)) is None


@pytest.fixture
def loops(tmp_path):
    names = "rock_120", "house_128"
    for name in names:
        for suffix in (".flac", ".beats"):
            shutil.copy(ROOT / "assets" / "loops" / f"{name}{suffix}", tmp_path)
    return [str(tmp_path / f"{name}.flac") for name in names]


def test_mix_draws_the_beats_of_what_it_wrote(loops, tmp_path, capsys):
    out, drawn = tmp_path / "m.wav", tmp_path / "m.png"
    options = ["--mixer", "beat", "--min-bars", "1", "--stretch", "varispeed", "--picture", str(drawn)]
    assert cli.main(["mix", *loops, "-o", str(out), *options]) == 0
    assert '"aligned": true' in capsys.readouterr().out
    first = drawn.read_bytes()
    assert cli.main(["mix", *loops, "-o", str(out), *options]) == 0
    assert drawn.read_bytes() == first
    import matplotlib.image

    _, after, mix = bands(matplotlib.image.imread(drawn)[..., :3])
    for own, partner in (after, mix):
        assert len(own) == 8  # at the very end of the mix the partner has one more
        assert np.abs(own[:, None] - partner).min(1).max() <= 1


def test_mix_draws_waves_and_spectrograms_with_other_mixers(loops, tmp_path, capsys):
    import matplotlib.image

    out, drawn = tmp_path / "m.wav", tmp_path / "m.PNG"
    assert cli.main(["mix", *loops, "-o", str(out), "--picture", str(drawn)]) == 0
    capsys.readouterr()
    assert matplotlib.image.imread(drawn).shape[1] == 1080  # three columns; see test_mix_figure.py


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [("x.jpg", 2, "the suffix of picture must be png, got 'jpg'"), ("x", 2, "must be png"), ("no/x.png", 2, "folder")],
)
def test_a_wrong_picture_is_refused_before_any_work(name, code, message, loops, tmp_path, capsys):
    out = tmp_path / "m.wav"
    assert cli.main(["mix", *loops, "-o", str(out), "--picture", str(tmp_path / name)]) == code
    assert message in capsys.readouterr().err
    assert not out.exists()
