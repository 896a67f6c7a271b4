import sys

import numpy as np
import pytest
import torch
from bench import warp as bench
from sounds import DATA, noise

from audiomix.audio import stretch
from audiomix.audio.stretch import engine, warp

RATE = 44100
native = pytest.mark.skipif("librosa" in engine(), reason="no python-stretch here: librosa's quality is another")
loops = pytest.mark.skipif(not (DATA / "loops").exists(), reason=f"no loops at {DATA} (set AUDIOMIX_DATA)")
MAPS = {"uniform": {}, "normal": {"normal": True, "seed": 1}, "drift": {"jitter": 0, "drift": 0.04}}


@pytest.fixture(autouse=True)
def _one_thread():
    """On busy machines threads wait for each other longer than these short transforms take."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def calls(monkeypatch):
    """Count the pieces that are stretched from here on."""
    made, run = [], stretch._run
    monkeypatch.setattr(stretch, "_run", lambda *a: made.append(a[2]) or run(*a))
    return made


@native
@pytest.mark.parametrize("options", MAPS.values(), ids=MAPS)
@pytest.mark.parametrize(("frequency", "limit"), [(110, 3), (220, 1), (1000, 1)])
def test_a_tone_stays_a_tone_through_jittering_beats(frequency, limit, options):
    y = warp(bench.tone(frequency, 10), RATE, *bench.grid(10, **options))
    elsewhere, cents = bench.purity(y, frequency)
    assert bench.ripple(y, frequency) <= limit
    assert elsewhere <= -40
    assert abs(cents) <= 5


@native
def test_every_partial_of_a_voice_passes_the_joints():
    parts = [130 * k for k in range(1, 13)]
    x = sum(bench.tone(f, 8) / (4 * k) for k, f in enumerate(parts, 1))
    assert max(bench.partials(warp(x, RATE, *bench.grid(8, seed=5)), parts)) <= 1


@native
def test_noise_keeps_its_level_at_joints():
    source, target = bench.grid(10, 0.25)
    y = warp(0.1 * noise(4, 10 * RATE), RATE, source, target).double().square().mean(0)
    at = [round((t - 0.02) * RATE) for t in target[1:-1]]
    joints = torch.stack([y[a - 220 : a + 220].mean() for a in at]).mean()
    assert 10 * torch.log10(joints / y.mean()) == pytest.approx(0, abs=0.5)


@native
@loops
@pytest.mark.parametrize("options", MAPS.values(), ids=MAPS)
@pytest.mark.parametrize("name", ["loop_amen_full", "loop_garzul", "loop_electric"])
@pytest.mark.parametrize("offset", [0.0, 0.21], ids=["beats", "between"])
def test_bursts_on_music_are_where_the_map_says(name, options, offset):
    errors = np.abs(bench.burst_errors(*bench.loop(name), *bench.grid(20, **options), offset=offset))
    assert np.median(errors) <= 2
    assert np.percentile(errors, 95) <= 4


@native
@loops
def test_one_stretch_for_all_would_fail():
    errors = bench.burst_errors(*bench.loop("loop_amen_full"), *bench.grid(20, jitter=0, drift=0.04), one_stretch=True)
    assert np.percentile(np.abs(errors), 95) > 40


@native
@loops
def test_attacks_stay_sharp():
    x, rate = bench.loop("loop_amen_full")
    source, target = bench.grid(20, 60 / 140)
    before = bench.attack(x, rate, source[1:-1])
    assert bench.attack(warp(x, rate, source, target), rate, target[1:-1]) >= before - 1


@pytest.mark.parametrize("rate", [8000, 16000, 48000, 96000])
def test_bursts_alone_at_other_rates(rate):
    source, target = bench.grid(4, drift=0.02)
    y = warp(bench.bursts(source[1:-1], 4 * rate, rate) + 0.01 * noise(1, 4 * rate), rate, source, target)
    assert np.abs(bench.timing(y, target[1:-1], rate)).max() <= 2


def test_a_steady_grid_is_one_piece_and_equals_one_stretch(monkeypatch):
    made = calls(monkeypatch)
    x, beats = 0.1 * noise(2, 4 * RATE), np.linspace(0, 4, 9)
    wobble = beats + np.array([0, 4, -4, 3, -4, 4, 2, -3, 0]) * 1e-4
    y = warp(x, RATE, beats, wobble * 1.05)
    assert len(made) == 1
    assert torch.allclose(y, torch.from_numpy(stretch._run(x.numpy(), RATE, 1 / 1.05, 0.0)), atol=1e-5)


def test_no_knot_moves_by_more_than_a_millisecond():
    source, target = bench.grid(60, jitter=0.002, drift=0.03)
    corners = stretch._corners(source, target)
    moved = np.abs(np.interp(source, source[corners], target[corners]) - target)
    assert moved.max() <= 0.001 + 1e-9
    assert 2 < len(corners) < len(source) / 2


def test_a_piece_is_left_out_wherever_that_is_possible():
    source = np.arange(9.0)
    bent = np.where(source < 4, source, 4 + 1.1 * (source - 4))
    assert stretch._corners(source, bent).tolist() == [0, 4, 8]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_the_identity_returns_the_samples(dtype):
    x = (0.1 * noise(2, RATE)).to(dtype)
    given = x.clone()
    y = warp(x, RATE, [0, 0.3, 1], [0, 0.3, 1])
    assert y.dtype == dtype
    assert torch.equal(y, x.float().to(dtype))
    assert torch.equal(x, given)
    part = warp(x, RATE, [0.2, 0.9], [5.0, 5.7])
    assert torch.equal(part, x[:, 8820 : 8820 + part.shape[-1]])


def test_a_piece_at_its_own_speed_is_a_copy_up_to_its_joint():
    x = 0.1 * noise(1, 6 * RATE)
    y = warp(x, RATE, [0, 2, 4, 6], [0, 2, 4.2, 6.2])
    assert torch.equal(y[:, : int(1.9 * RATE)], x[:, : int(1.9 * RATE)])
    tail = y[:, int(4.3 * RATE) : int(6.1 * RATE)]
    lags = [lag for lag in range(-90, 91) if torch.equal(tail, x[:, int(4.1 * RATE) + lag :][:, : tail.shape[-1]])]
    assert len(lags) == 1


@native
def test_semitones_move_the_pitch_and_not_the_time():
    source, target = bench.grid(8, drift=0.02)
    shifted = 440 * 2 ** (2 / 12)
    elsewhere, cents = bench.purity(warp(bench.tone(440, 8), RATE, source, target, semitones=2), shifted)
    assert abs(cents) <= 5
    assert elsewhere <= -40
    clicks = bench.bursts(source[1:-1], 8 * RATE, RATE)
    low = warp(clicks, RATE, source, target, semitones=-1)
    assert np.abs(bench.timing(low, target[1:-1], RATE)).max() <= 4


def test_semitones_alone_are_not_the_identity():
    x = bench.tone(440, 2)
    assert not torch.allclose(warp(x, RATE, [0, 2], [0, 2], semitones=2), x, atol=0.1)


@pytest.mark.parametrize("method", ["stretch", "varispeed"])
def test_equal_channels_stay_equal(method):
    x = (bench.tone(220, 4) + 0.01 * noise(1, 4 * RATE)).repeat(2, 1)
    y = warp(x, RATE, *bench.grid(4), method=method)
    assert (y[0] - y[1]).abs().max() <= 1e-3  # python-stretch rounds channels apart, on tones to -70 dB


def test_channels_keep_their_phase():
    x = torch.cat([bench.tone(220, 6), -0.3 * bench.tone(220, 6), 0.1 * noise(1, 6 * RATE)])
    y = warp(x, RATE, *bench.grid(6))[:, 4410:-4410].double()
    assert torch.corrcoef(y[:2])[0, 1] <= -0.999


@pytest.mark.parametrize("method", ["stretch", "varispeed"])
def test_silence_and_tiny_clips(method):
    source, target = bench.grid(3)
    assert not warp(torch.zeros(1, 3 * RATE), RATE, source, target, method=method).any()
    short = warp(noise(1, RATE // 5), RATE, [0, 0.1, 0.2], [0, 0.1, 0.21], method=method)
    assert short.shape == (1, 9261)
    assert short.isfinite().all()
    assert 0.7 < short.std() < 1.3
    half_silent = torch.cat([torch.zeros(1, 2 * RATE), noise(1, RATE)], -1)
    assert warp(half_silent, RATE, source, target, method=method).isfinite().all()


@pytest.mark.parametrize("method", ["stretch", "varispeed"])
def test_knots_a_hair_outside_meet_silence(method):
    x = bench.tone(500, 2)
    y = warp(x, RATE, [-0.05, 1, 2.05], [0, 1, 2], method=method)
    assert y.shape == (1, 2 * RATE)
    assert y[:, : int(0.03 * RATE)].abs().max() < 1e-3 * 0.5
    assert y[:, RATE : RATE + 4410].std() == pytest.approx(0.35, rel=0.1)


@pytest.mark.parametrize("size", [44098, 44101, None])
def test_the_size_is_as_asked(size):
    assert warp(noise(1, RATE), RATE, [0, 0.5, 1], [0, 0.52, 1], size=size).shape == (1, size or RATE)


def test_the_same_twice_even_at_a_third_of_the_speed():
    x = 0.1 * noise(1, RATE)
    first, second = (warp(x, RATE, [0, 0.5, 1], [0, 1.5, 3.2]) for _ in range(2))
    assert torch.equal(first, second)
    assert first.square().mean() / x.square().mean() == pytest.approx(1, rel=0.5)


@pytest.mark.parametrize("share", [0.005, 0.1, 0.35])
def test_varispeed_is_exact_along_the_map(share):
    source, target = bench.grid(4)
    y = bench.inner(warp(bench.tone(share * RATE, 4), RATE, source, target, method="varispeed"), RATE)
    at = np.interp((np.arange(len(y)) + int(0.2 * RATE)) / RATE, target, source)
    error = y - 0.5 * np.sin(2 * np.pi * share * RATE * at)
    assert 20 * np.log10(error.std() / 0.3536) <= -60


def test_varispeed_does_not_alias():
    y = warp(bench.tone(0.47 * RATE, 2), RATE, [0, 2], [0, 2 / 1.1], method="varispeed")
    assert 20 * np.log10(bench.inner(y, RATE).std() / 0.3536) <= -60


@native
def test_nothing_heavy_is_imported_before_it_is_needed():
    import subprocess

    code = "import sys, audiomix.audio.stretch; print([m for m in ('python_stretch', 'librosa') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_librosa_stands_in_and_says_so(monkeypatch):
    monkeypatch.setattr(stretch, "_native", lambda: False)
    assert engine().startswith("librosa ")
    source, target = bench.grid(4, drift=0.02)
    x = bench.tone(440, 4) + bench.bursts(source[1:-1], 4 * RATE, RATE)
    y = warp(x, RATE, source, target, semitones=1)
    assert y.shape == (1, round(target[-1] * RATE))
    assert abs(bench.purity(y, 440 * 2 ** (1 / 12))[1]) <= 5
    assert np.median(np.abs(bench.timing(y, target[1:-1], RATE))) <= 20  # its attacks are smeared


@pytest.mark.parametrize(
    ("source", "target", "options", "message"),
    [
        ([0, 22050], [0, 1], {}, "source must be in seconds.*did you pass samples"),
        ([0, 1], [0, 44100], {}, "speed.*did you pass samples"),
        ([0, 1.5], [0, 1.5], {}, "source must be in seconds within the 1.00 s"),
        ([-0.5, 1], [0, 1], {}, "source must be in seconds"),
        ([0, 0.5, 0.4], [0, 0.5, 1], {}, "source must be strictly ascending, got 0.5 before 0.4 at 1"),
        ([0, 0.5, 1], [0, 0.5, 0.5], {}, "target must be strictly ascending"),
        ([0, float("nan")], [0, 1], {}, "source must be finite"),
        ([0.0], [0.0], {}, "source must be at least two"),
        ([0, 0.5, 1], [0, 1], {}, "target must be 3 times"),
        ([0, 0.5, 1], [0, 0.1, 1], {}, r"within \[0.25, 4\], got 5 between knots 0 and 1"),
        ([0, 1], [0, 5], {}, r"within \[0.25, 4\]"),
        ([0, 1], [0, 1], {"method": "varispeed", "semitones": 1}, "semitones must be 0"),
        ([0, 1], [0, 1], {"method": "strech"}, "did you mean 'stretch'"),
        ([0, 1], [0, 1], {"semitones": 30}, "semitones must be"),
        ([0, 1], [0, 1], {"size": 44000}, "size must be within 2 samples of 44100"),
    ],
)
def test_wrong_arguments_say_what_is_wrong(source, target, options, message):
    with pytest.raises(ValueError, match=message):
        warp(noise(1, RATE), RATE, source, target, **options)


def test_wrong_samples_say_what_is_wrong():
    with pytest.raises(ValueError, match=r"of shape \(C, T\)"):
        warp(noise(RATE), RATE, [0, 1], [0, 1])
    with pytest.raises(TypeError, match="floating"):
        warp(torch.zeros(1, RATE, dtype=torch.int16), RATE, [0, 1], [0, 1])
    with pytest.raises(ValueError, match="did you mean 44100"):
        warp(noise(1, RATE), 44.1, [0, 1], [0, 1])
