"""Each operation of RandAugment: nothing at magnitude 0, and the more the larger it is, measured from the sound."""

import math

import pytest
import torch
from sounds import noise, seeded

from audiomix import RandAugment
from audiomix.audio import io
from audiomix.torchaudio import functional as F
from audiomix.transforms import operations
from audiomix.transforms.operations import Group

RATE = 16000
ALL = [(name, domain) for name in operations.available() for domain in sorted(operations.get(name).domains)]
LEVELS = (0.1, 0.3, 0.6, 1.0)


def numbers_of(member, rows, value=0.37):
    """The same for all rows: what is decided by chance stays, the magnitude alone changes."""
    return torch.full((rows, member.numbers), value, dtype=torch.float64)


def apply(name, x, levels, *, domain="wave", numbers=None, valid=None, rate=RATE):
    """One clip at each magnitude, or as many clips as magnitudes."""
    member = operations.make(name)
    rows = len(levels)
    x = x.expand(rows, *x.shape[1:]).clone()
    valid = torch.full((rows,), x.shape[-1]) if valid is None else valid
    numbers = numbers_of(member, rows) if numbers is None else numbers
    level = torch.tensor(levels, dtype=torch.float64)
    return member.apply(Group(x, level, numbers, valid, domain, rate if domain == "wave" else 0))


def sample(domain, rows=1, seed=1):
    """Noise, or a log spectrogram that is not the same anywhere."""
    if domain == "wave":
        return noise(rows, 1, RATE, seed=seed) * 0.1
    return noise(rows, 1, 40, 100, seed=seed) * 8 - 50 + torch.linspace(-10, 10, 40)[:, None]


def tone(hz, seconds=1.0, stop=None):
    time_s = torch.arange(int(seconds * RATE)) / RATE
    x = 0.3 * torch.sin(2 * math.pi * hz * time_s)
    if stop is not None:
        x = x * (time_s < stop)
    return x[None, None]


def pitch_of(x):
    """The frequency of the strongest line in Hz, between the bins of the transform."""
    spectrum = torch.fft.rfft(x * torch.hann_window(x.shape[-1], dtype=x.dtype)).abs().flatten(0, -2).sum(0)
    k = int(spectrum.argmax())
    a, b, c = spectrum[k - 1 : k + 2].double()
    return (k + float(0.5 * (a - c) / (a - 2 * b + c))) * RATE / x.shape[-1]


def centroid(x):
    power = torch.fft.rfft(x.double()).abs().square().flatten(0, -2).sum(0)
    return float((power * torch.arange(len(power))).sum() / power.sum())


def level_db(x):
    return float(10 * x.double().square().mean().log10())


def end_of(x):
    """The last second at which half of the peak is reached: a phase vocoder smears an end over its window."""
    loud = (x.abs() > x.abs().max() * 0.5).flatten(0, -2).any(0)
    return float(loud.nonzero().max() + 1) / RATE


def third_harmonic(x):
    spectrum = torch.fft.rfft(x).abs().flatten()
    return float(spectrum[1500] / spectrum[500])


def above(x):
    """The share of the power above 2 kHz."""
    power = torch.fft.rfft(x.double()).abs().square().flatten(0, -2).sum(0)
    return float(power[len(power) // 4 :].sum() / power.sum())


# what is measured of the result, on which sound; rising with the magnitude, or falling
MEASURES = {
    ("gain", "wave"): (level_db, None, 1),
    ("pitch", "wave"): (pitch_of, tone(500), 1),
    ("speed", "wave"): (pitch_of, tone(500), 1),
    ("stretch", "wave"): (end_of, tone(500, stop=0.5), -1),
    ("low_pass", "wave"): (centroid, None, -1),
    ("high_pass", "wave"): (centroid, None, 1),
    ("equalise", "wave"): (lambda y: float(torch.fft.rfft(y).abs()[..., 480:520].mean()), None, 1),
    ("distort", "wave"): (third_harmonic, tone(500), 1),
    ("resample", "wave"): (above, None, -1),
    ("reverb", "wave"): (lambda y: level_db(y[..., 12000:] + 1e-9), tone(500, stop=0.5), 1),
    ("time_mask", "wave"): (lambda y: float((y == 0).sum()), None, 1),
    ("gain", "spectrogram"): (lambda y: float(y.mean()), None, 1),
    ("tilt", "spectrogram"): (lambda y: float((y[..., 39, :] - y[..., 0, :]).mean()), None, 1),
    ("contrast", "spectrogram"): (lambda y: float(y.std()), None, 1),
}
DIFFERENCES = {("noise", "wave"), ("quantise", "wave"), ("noise", "spectrogram")}
AREAS = {("time_mask", "spectrogram"), ("freq_mask", "spectrogram"), ("cutout", "spectrogram")}


@pytest.mark.parametrize(("name", "domain"), ALL)
def test_every_operation_is_nothing_at_magnitude_zero(name, domain):
    x = sample(domain, 3)
    rate = {"rate": RATE} if domain == "wave" else {"domain": domain}
    still = RandAugment(**rate, magnitude=0.0, operations=[name])(x, generator=seeded())
    assert torch.equal(still.x, x)
    assert not still.plans[0].mixed.any()
    x = tone(20) if (name, domain) == ("shift", "wave") else x[:1]  # a shift of one sample is all of white noise
    least = apply(name, x, [1e-4, -1e-4][: 1 + operations.get(name).symmetric], domain=domain)
    error = (least - x).square().mean().sqrt() / x.std()
    assert error < 0.04, error  # and it goes there without a jump


@pytest.mark.parametrize(("name", "domain"), ALL)
def test_every_operation_changes_more_with_the_magnitude(name, domain):
    x = sample(domain)
    key = (name, domain)
    if key in MEASURES:
        measure, sound, direction = MEASURES[key]
        x = x if sound is None else sound
        before = [measure(x)]
        found = before + [measure(one[None]) for one in apply(name, x, LEVELS, domain=domain)]
        steps = torch.tensor(found).diff() * direction
        assert (steps > 0).all(), found
        if operations.get(name).symmetric:
            down = before + [measure(one[None]) for one in apply(name, x, [-m for m in LEVELS], domain=domain)]
            assert (torch.tensor(down).diff() * direction < 0).all(), down
    elif key in DIFFERENCES:
        found = [level_db(one - x[0]) for one in apply(name, x, LEVELS, domain=domain)]
        assert sorted(set(found)) == found
    elif key in AREAS:
        found = [float((one != x[0]).sum()) for one in apply(name, x, LEVELS, domain=domain)]
        assert sorted(set(found)) == found
    else:  # moves time or frequency: measured from where a peak lies
        assert key in {(n, d) for n in ("shift", "speed", "time_warp", "freq_warp") for d in ("wave", "spectrogram")}
        levels = (0.1, 0.3, 0.6, 0.9)  # half a clip later is half a clip earlier
        places = [place_of(name, domain, level) for level in (*(-m for m in reversed(levels)), 0, *levels)]
        direction = -1 if name == "speed" else 1
        assert (torch.tensor(places).diff() * direction > 0).all(), places


def place_of(name, domain, level):
    """Where a peak in the middle of a clip lies after an operation, in samples, frames or bins."""
    if domain == "wave":
        x = torch.zeros(1, 1, RATE)
        x[..., 8000] = 1
    else:
        grid = torch.arange(100.0) if name != "freq_warp" else torch.arange(40.0)
        bump = 40 * torch.exp(-(((grid - (50 if name == "shift" else 30)) / 2) ** 2)) - 80
        x = (bump.expand(1, 1, 40, 100) if len(grid) == 100 else bump[:, None].expand(1, 1, 40, 100)).clone()
    y = apply(name, x, [level], domain=domain)[0, 0] if level else x[0, 0]
    if domain == "wave":
        return float(y.abs().argmax())
    profile = (y + 80).clamp(min=0).square().sum(0 if name != "freq_warp" else 1).double()
    return float((profile * torch.arange(len(profile))).sum() / profile.sum())


def test_magnitudes_are_what_the_docstrings_say():
    x = sample("wave")
    for level in (0.5, -1.0):
        assert level_db(apply("gain", x, [level])) - level_db(x) == pytest.approx(18 * level, abs=1e-3)
    for level, snr in ((0.1, 25.0), (1.0, 5.0)):
        assert level_db(x) - level_db(apply("noise", x, [level]) - x) == pytest.approx(snr, abs=0.3)
    for level in (1.0, -0.5):
        wanted = 500 * 2 ** (4 * level / 12)
        assert pitch_of(apply("pitch", tone(500), [level])) == pytest.approx(wanted, rel=1 / 120)
        assert pitch_of(apply("stretch", tone(500), [level])[..., :8000]) == pytest.approx(500, rel=2e-3)
        factor = 2 ** (0.5 * level)
        assert pitch_of(apply("speed", tone(500), [level])[..., :8000]) == pytest.approx(500 * factor, rel=1 / 120)
        for name in ("speed", "stretch"):
            assert end_of(apply(name, tone(500, stop=0.5), [level])) == pytest.approx(0.5 / factor, abs=0.03)
        assert end_of(apply("pitch", tone(500, stop=0.5), [level])) == pytest.approx(0.5, abs=0.03)
    for level in (0.5, 1.0):  # a rounding error is uniform: 6.02 dB a bit
        loud = torch.rand(1, 1, RATE, generator=seeded()) * 2 - 1
        snr = level_db(loud) - level_db(apply("quantise", loud, [level]) - loud)
        assert snr == pytest.approx(6.02 * (16 - 10 * level), abs=0.3)
    box = (apply("cutout", sample("spectrogram"), [1.0], domain="spectrogram") != sample("spectrogram")).float().mean()
    assert float(box) == pytest.approx(0.2, abs=0.02)
    assert float((apply("time_mask", x, [1.0]) == 0).float().mean()) == pytest.approx(0.3, abs=1e-3)


def test_filters_are_torchaudios_at_each_clips_own_setting():
    """As torchaudio filters each clip alone; there a response above 1 is cut at full scale, here it is not."""
    x = noise(3, 2, 3000) * 0.01
    got = apply("low_pass", x, [0.2, 0.6, 1.0])
    for row, clip, level in zip(got, x, (0.2, 0.6, 1.0)):
        wanted = F.lowpass_biquad(clip.double(), 2, 2.0 ** (-4 * level))
        torch.testing.assert_close(row, wanted.float(), atol=2e-6, rtol=1e-4)
    impulse = torch.zeros(1, 1, 2000)
    impulse[..., 100] = 1
    raised = apply("equalise", impulse, [1.0], numbers=torch.tensor([[0.99]]).double())
    gain = 20 * torch.fft.rfft(raised).abs().log10()
    assert float(gain.max()) == pytest.approx(12, abs=0.1)  # with torchaudio's clamp: 8 dB
    assert float(20 * torch.fft.rfft(F.equalizer_biquad(impulse, 2, 2**-0.5, 12.0, 1.0)).abs().log10().max()) < 11.9


def test_filters_stand_where_the_docstrings_say():
    """Half of the power passes at the cutoff; all of the gain is at the centre of the band."""
    impulse = torch.zeros(1, 1, 8192)
    impulse[..., 0] = 1e-3  # 4096 bins up to half the rate

    def gain_db(name, level, place, **given):
        response = torch.fft.rfft(apply(name, impulse, [level], **given)).abs()
        return float(20 * response[..., round(place * 4096)].log10())

    for level in (0.4, 1.0):
        assert gain_db("high_pass", level, 0.125 * level) + 60 == pytest.approx(-3.01, abs=0.05)
        assert gain_db("low_pass", level, 2 ** (-4 * level)) + 60 == pytest.approx(-3.01, abs=0.05)
        for number, octave in ((0.0, -6.0), (0.5, -3.0), (0.999, -0.5)):
            band = {"numbers": torch.tensor([[number]]).double()}
            assert gain_db("equalise", -level, 2**octave, **band) + 60 == pytest.approx(-12 * level, abs=0.05)
    x = sample("wave")
    for level in (0.4, 1.0):
        edge = round(8000 * (1 - 0.75 * level))
        before, after = (torch.fft.rfft(one).abs()[0, 0] for one in (x, apply("resample", x, [level])))
        assert after[round(1.25 * edge) :].max() < 0.03 * before.max()
        kept = [one[: round(0.7 * edge)].square().sum() for one in (before, after)]
        torch.testing.assert_close(kept[1], kept[0], atol=0, rtol=0.03)


def test_magnitudes_of_waveforms_sample_by_sample():
    x = sample("wave")
    peak = x.abs().max()
    for level in (0.3, 1.0):
        wanted = peak * torch.tanh(5 * level * x / peak) / math.tanh(5 * level)
        torch.testing.assert_close(apply("distort", x, [level]), wanted)
        assert torch.equal(apply("shift", x, [level]), x.roll(round(0.5 * level * RATE), -1))
        assert torch.equal(apply("shift", x, [-level]), x.roll(-round(0.5 * level * RATE), -1))
        impulse = torch.zeros(1, 1, RATE)
        impulse[..., 0] = 1
        wet = 0.6 * level
        tail = (apply("reverb", impulse, [level]) - math.sqrt(1 - wet**2) * impulse)[0, 0]
        assert float(tail.square().sum()) == pytest.approx(wet**2, rel=1e-3)
        assert float(tail[8000:].abs().max()) < 1e-6  # 0.5 s, in which it has fallen by 60 dB
        early, late = (tail[first : first + 1600].square().mean() for first in (0, 4800))
        assert float(10 * (early / late).log10()) == pytest.approx(60 * 0.3 / 0.5, abs=2)


def test_magnitudes_of_spectrograms_bin_by_bin():
    x = sample("spectrogram")
    for level in (0.5, -1.0):
        changed = {name: apply(name, x, [level], domain="spectrogram") for name in ("gain", "tilt", "contrast")}
        torch.testing.assert_close(changed["gain"], x + 18 * level)
        torch.testing.assert_close(changed["tilt"], x + 9 * level * torch.linspace(-1, 1, 40)[:, None])
        torch.testing.assert_close(changed["contrast"], x.mean() + (x - x.mean()) * 2**level)
        assert place_of("freq_warp", "spectrogram", level) == pytest.approx(place_of_warped_bin(level), abs=0.5)
        ramp = torch.arange(100.0).expand(1, 1, 40, 100)
        warped = apply("time_warp", ramp, [level], domain="spectrogram", numbers=torch.tensor([[0.5]]).double())
        # what was in the middle is a tenth of the clip later at magnitude 1
        assert float(warped[0, 0, 0, round(50 + 10 * level)]) == pytest.approx(50, abs=1)
        assert warped[0, 0, 0, 0] < 1
        assert warped[0, 0, 0, -1] > 98
    for level in (0.5, 1.0):
        added = apply("noise", x, [level], domain="spectrogram") - x
        assert float(added.std()) == pytest.approx(3 * level, rel=0.05)
        hidden = (apply("freq_mask", x, [level], domain="spectrogram") != x)[0, 0]
        assert hidden.all(1).sum() == hidden.any(1).sum() == round(0.3 * level * 40)


def place_of_warped_bin(level):
    """Where the bump of `place_of`, at bin 30 of 40, goes: 3/4 of the axis moves by a fifth, the rest makes room."""
    knee = 0.75 * (1 + 0.2 * level)
    at = 30 / 39
    return 39 * (knee + (1 - knee) * (at - 0.75) / 0.25 if at > 0.75 else at * (1 + 0.2 * level))


@pytest.mark.parametrize(
    ("name", "domain", "share"),
    [("time_mask", "wave", 0.3), ("time_mask", "spectrogram", 0.3), ("cutout", "spectrogram", 0.2)],
)
def test_what_is_hidden_is_a_share_of_the_valid_part_and_lies_there(name, domain, share):
    x, count = sample(domain, 20), 20
    numbers = torch.rand(count, operations.get(name).numbers, generator=seeded(), dtype=torch.float64)
    numbers[0], numbers[1] = 0, 1 - 1e-9
    for level in (0.5, 1.0):
        valid = torch.full((count,), x.shape[-1] // 4)
        x[..., int(valid[0]) :] = 0 if domain == "wave" else -90
        group = Group(x, torch.full((count,), level).double(), numbers, valid, domain)
        changed = operations.make(name).apply(group)
        hidden = (changed != x).any(1)
        assert not hidden[..., int(valid[0]) :].any()
        found = hidden[..., : int(valid[0])].double().flatten(1).mean(1)
        assert found.tolist() == pytest.approx([share * level] * count, abs=0.06 if name == "cutout" else 0.03)


def test_what_is_kept_is_kept():
    x = sample("wave")
    driven = apply("distort", x, LEVELS)
    torch.testing.assert_close(driven.abs().amax((1, 2)), x.abs().amax().expand(4))
    for one in apply("reverb", x, LEVELS):
        assert level_db(one) == pytest.approx(level_db(x), abs=1.0)
    torch.testing.assert_close(apply("shift", x, LEVELS).sort().values, x.sort().values.expand(4, 1, -1))
    spec = sample("spectrogram")
    for name in ("tilt", "contrast"):
        torch.testing.assert_close(apply(name, spec, [0.7, -0.7], domain="spectrogram").mean(), spec.mean())
    masked = apply("freq_mask", spec, [1.0], domain="spectrogram")
    hidden = masked != spec
    torch.testing.assert_close(masked[hidden], spec.mean().expand(int(hidden.sum())))


def test_two_of_torchaudios_functions_are_no_operations():
    """They change a sound at any setting, so that a magnitude of 0 would not be nothing."""
    x = sample("wave")
    assert (F.contrast(x, 0.0) - x).abs().max() > 0.05
    assert not {"contrast", "overdrive"} & {n for n, d in ALL if d == "wave"}


@pytest.mark.parametrize(("name", "domain"), ALL)
@pytest.mark.parametrize("size", [1, 2, 7, 333])
def test_any_length_any_channels_and_silence(name, domain, size):
    shape = (2, 3, size) if domain == "wave" else (2, 3, 5, size)
    level = [0.8, -0.8 if operations.get(name).symmetric else 0.3]
    for x in (noise(*shape) * 0.3, torch.zeros(shape), noise(*shape, dtype=torch.float64) * 1e-4):
        leaf = x.clone().requires_grad_()
        y = apply(name, leaf, level, domain=domain, valid=torch.tensor([size, max(1, size // 2)]))
        assert y.shape == x.shape
        assert y.dtype == x.dtype
        assert y.isfinite().all()
        y.square().sum().backward()
        assert leaf.grad.isfinite().all()
        if domain == "wave" and not x.any():
            assert not y.any()


@pytest.mark.parametrize(("name", "domain"), ALL)
def test_a_clip_does_not_depend_on_the_others(name, domain):
    x, member = sample(domain, 4), operations.make(name)
    levels = [0.9, 0.2, -0.5, 0.2] if member.symmetric else [0.9, 0.2, 0.5, 0.2]
    numbers = torch.rand(4, member.numbers, generator=seeded(), dtype=torch.float64)
    together = apply(name, x, levels, domain=domain, numbers=numbers)
    for i in range(4):
        alone = apply(name, x[i : i + 1], levels[i : i + 1], domain=domain, numbers=numbers[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-5 * float(x.abs().max()), rtol=1e-4)
    if member.numbers:
        again = apply(name, x, levels, domain=domain, numbers=(numbers + 0.3) % 1)
        assert not torch.allclose(again, together)


def test_noise_is_white_and_differs_from_clip_to_clip():
    x = torch.ones(4, 1, 1 << 16)
    numbers = torch.rand(4, 2, generator=seeded(), dtype=torch.float64)
    added = (apply("noise", x, [1.0] * 4, numbers=numbers) - x)[:, 0]
    added = added / added.square().mean(1, keepdim=True).sqrt()
    power = torch.fft.rfft(added).abs().square()[:, 1:-1].reshape(4, 31, -1) / added.shape[1]
    assert (power.mean(-1) - 1).abs().max() < 5 / math.sqrt(power.shape[-1])  # 31 bands, each of mean 1
    correlation = added @ added.T / added.shape[1] - torch.eye(4)
    assert correlation.abs().max() < 0.1
    for lag in (1, 160, 4091, 4093, 8186, 16743, 40000):  # the periods of what it is made of are not heard
        assert float((added[:, lag:] * added[:, :-lag]).mean().abs()) < 0.06, lag
    assert abs(float((added**4).mean()) - 3) < 0.2  # normal


CENTROIDS = {"low_pass": -1, "resample": -1, "high_pass": 1}
# Not pitch: a phase vocoder smears what is short by more than the step from one magnitude to the next
REAL = ("gain", "noise", "low_pass", "high_pass", "resample", "quantise", "reverb", "time_mask", "distort")


@pytest.mark.parametrize("name", REAL)
def test_on_real_sound(esc10, name):
    files = sorted((esc10 / "audio").glob("*.ogg"))[3::70][:6]
    clips = [io.read(file) for file in files]
    for clip in clips:
        x = clip.samples[None, :1, : 2 * clip.rate]
        if not x.any():
            continue
        y = apply(name, x, LEVELS, rate=clip.rate)
        assert y.isfinite().all()
        if name in CENTROIDS:
            found = [centroid(x), *(centroid(one[None]) for one in y)]
            assert sorted(found, reverse=CENTROIDS[name] < 0) == pytest.approx(found, rel=5e-3)
            continue
        changed = [level_db(one - x[0]) for one in y]
        assert changed == sorted(changed)
        if name == "noise":
            snr = [level_db(x) - one for one in changed]
            assert snr == pytest.approx([5 - 20 * math.log10(m) for m in LEVELS], abs=0.3)
