"""Random fields: their moments over many draws, and what they do to a spectrogram and its labels."""

import math

import numpy as np
import pytest
import torch
from sounds import noise, seeded

from audiomix import Pipeline, Plan, RandomField, random_field
from audiomix.audio import io
from audiomix.audio.features import LogMel, to_log
from audiomix.targets.frames import mix_frames
from audiomix.transforms.random_field import FieldPlan

CLIPS = 2000


def fields(clips=CLIPS, bins=16, size=64, seed=0, channels=1, **options):
    """The fields themselves: with sigma 1 on silence of 0 dB, judged from the sound."""
    transform = RandomField(sigma=1.0, **options)
    return transform(torch.zeros(clips, channels, bins, size), generator=seeded(seed)).x[:, 0]


def test_mean_0_and_variance_1_at_every_point():
    """At the edges too: there is no wrap and nothing beyond an edge is missing. Not scaled clip by clip."""
    g = fields()
    most = 4.5 / math.sqrt(CLIPS)  # of 1024 points
    assert g.mean(0).abs().max() < most
    assert (g.square().mean(0) - 1).abs().max() < most * math.sqrt(2)
    kurtosis = float((g**4).mean() / g.square().mean() ** 2)
    assert abs(kurtosis - 3) < 0.2  # normal
    each = g.square().mean((1, 2))  # a field that was scaled by its own deviation has exactly 1
    assert each.std() > 0.05


@pytest.mark.parametrize(("time_sd", "size"), [(1 / 16, 64), (1 / 16, 431), (0.3, 50), (0.01, 1000)])
def test_the_variance_is_1_at_each_point_by_itself(time_sd, size):
    """To the rounding: weights that are scaled by their mean over the axis would be off by 1e-4, within any noise."""
    plan = RandomField(time_sd=time_sd)(torch.zeros(2, 1, 8, size)).plans[0]
    frames = (torch.arange(size).double() + 0.5) / size
    _, weights = plan.factors(8, frames, torch.zeros((), dtype=torch.float64))
    torch.testing.assert_close(weights.square().sum(0), torch.ones(size).double(), atol=1e-12, rtol=0)


@pytest.mark.parametrize(("time_sd", "freq_sd"), [(1 / 16, 1 / 8), (1 / 8, 1 / 4)])
def test_the_correlation_falls_as_said(time_sd, freq_sd):
    """exp(-d^2 / 4 s^2): .779 at a distance of s, .368 at two of them; and none between one edge and the other."""
    g = fields(bins=16, size=64, time_sd=time_sd, freq_sd=freq_sd)
    for axis, step in ((-1, round(time_sd * 64)), (-2, round(freq_sd * 16))):
        for many, wanted in ((1, 0.779), (2, 0.368), (3, 0.105)):
            lag = step * many
            a, b = (g.narrow(axis, start, g.shape[axis] - lag) for start in (0, lag))
            # the clips are independent, and in each a handful of places
            assert float((a * b).mean()) == pytest.approx(wanted, abs=0.03)
        first, last = g.select(axis, 0), g.select(axis, -1)
        assert abs(float((first * last).mean())) < 0.05 + math.exp(-1 / (4 * max(time_sd, freq_sd) ** 2))
    slope = g.diff(dim=-1).std() * 64
    assert float(slope) == pytest.approx(1 / (math.sqrt(2) * time_sd), rel=0.05)


def test_clips_have_fields_of_their_own_and_channels_share_one():
    x = torch.zeros(64, 3, 16, 64)
    g = RandomField(sigma=1.0)(x, generator=seeded()).x
    assert torch.equal(g[:, 0], g[:, 2])
    flat = g[:, 0].flatten(1)
    correlation = (flat @ flat.T) / flat.shape[1] - torch.diag(flat.square().mean(1))
    assert abs(float(correlation.mean())) < 0.03
    assert len(torch.unique(g[:, 0, 5, 5])) == 64


@pytest.mark.parametrize("kind", ["gain", "contrast", "time_warp", "freq_warp"])
def test_sigma_is_an_honest_knob(kind):
    x = noise(6, 1, 12, 90) * 8 - 50
    found = []
    for sigma in (0.0, 0.01, 0.1, 0.4, 1.0):
        changed = RandomField(kind, sigma=sigma)(x, generator=seeded(2))
        found.append(float((changed.x - x).square().mean().sqrt() / 8))
        assert changed.plans[0].mixed.any() == (sigma > 0)
    assert found[0] == 0
    assert found[1] < 0.05
    assert sorted(set(found)) == found


def test_known_answers():
    """The gain is the field in decibels, the contrast scales about the mean, by the field's exponential."""
    x = noise(4, 1, 12, 90) * 8 - 50
    plan = RandomField(sigma=2.0)(x, generator=seeded()).plans[0]
    g = plan.field(12, (torch.arange(90).double() + 0.5) / 90, x)[:, None]
    torch.testing.assert_close(random_field(x, plan), x + 2 * g, atol=1e-4, rtol=1e-5)
    two = x.expand(4, 2, 12, 90).contiguous()
    torch.testing.assert_close(random_field(two, plan), two + 2 * g, atol=1e-4, rtol=1e-5)
    power = 10 ** (x / 10)
    for scale, form in (("power", power), ("amplitude", power.sqrt()), ("ln", to_log(power, "ln"))):
        wanted = 10 ** ((x + 2 * g) / 10)
        wanted = {"power": wanted, "amplitude": wanted.sqrt(), "ln": wanted.log()}[scale]
        torch.testing.assert_close(random_field(form, plan, scale=scale), wanted, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(random_field(x / 4, plan, std=4.0), (x + 2 * g) / 4, atol=1e-4, rtol=1e-5)
    contrast = FieldPlan.of(4, sigma=plan.sigma / 4, place=plan.place, valid=plan.valid, kind="contrast")
    mean = x.mean((1, 2, 3), keepdim=True)
    wanted = mean + (x - mean) * (0.5 * g).exp()
    torch.testing.assert_close(random_field(x, contrast), wanted, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("lengths", [None, [200, 77, 1, 150]])
def test_a_warp_never_turns_back(lengths):
    """A ramp, warped, still rises: at the steepest warp, in clips of any length; and the warp is as wide as said."""
    ramp = torch.arange(200.0).expand(4, 1, 8, 200)
    lengths = None if lengths is None else torch.tensor(lengths)
    widths = []
    for seed in range(100):
        warped = RandomField("time_warp", sigma=1.0)(ramp, lengths=lengths, generator=seeded(seed))
        for i, end in enumerate([200] * 4 if lengths is None else lengths.tolist()):
            one = warped.x[i, 0, 0, :end]
            assert (one.diff() >= -1e-4).all()
            assert one.min() >= 0
            assert one.max() <= end - 1
            assert torch.equal(warped.x[i, ..., end:], ramp[i, ..., end:])
        widths.append(warped.x[0, 0, 0, 50:150] - torch.arange(50.0, 150.0))
    assert float(torch.cat(widths).std()) == pytest.approx(math.sqrt(2) / 4 * 200 / 16, rel=0.15)
    bins = torch.arange(40.0)[:, None].expand(16, 1, 40, 60)
    warped = RandomField("freq_warp", sigma=1.0)(bins, generator=seeded()).x[:, 0]
    assert (warped.diff(dim=1) >= -1e-4).all()
    assert float((warped - bins[:, 0])[:, 10:30].std()) == pytest.approx(math.sqrt(2) / 4 * 40 / 8, rel=0.3)
    assert warped.diff(dim=2).abs().max() > 0.05  # not the same in all frames


@pytest.mark.parametrize("kind", ["time_warp", "freq_warp"])
def test_where_a_warp_would_turn_back_it_stands_still(kind):
    """At three times the steepest warp, which no option gives and a plan may hold, one place in ten would."""
    time, bins = torch.arange(200.0).expand(8, 1, 30, 200), torch.arange(30.0)[:, None].expand(8, 1, 30, 200)
    ramp, axis = (time, -1) if kind == "time_warp" else (bins, -2)
    numbers = torch.rand(8, 2, generator=seeded(), dtype=torch.float64)
    ones = torch.ones(8, dtype=torch.float64)
    steps = random_field(ramp, FieldPlan.of(8, sigma=3 * ones, place=numbers, valid=ones, kind=kind)).diff(dim=axis)
    assert steps.min() >= -1e-4
    assert float((steps < 1e-4).float().mean()) > 0.05


@pytest.mark.parametrize("size", [25, 100, 400])
def test_frame_labels_follow_the_warp(size):
    x, labels = torch.full((32, 1, 8, 200), -80.0), torch.zeros(32, 1, size)
    x[..., 80:120], labels[..., size * 2 // 5 : size * 3 // 5] = -10.0, 1
    warped = RandomField("time_warp", sigma=1.0, time_sd=0.1)(x, labels, generator=seeded())
    loud = torch.nn.functional.interpolate(warped.x[:, 0, :1], size=size, mode="linear")[:, 0] > -45
    wrong = (loud != (warped.target[:, 0] > 0.5)).sum(1)
    assert wrong.max() <= (2 if size < 400 else 6)
    unmoved = (loud != (labels[:, 0] > 0.5)).sum(1)
    assert unmoved.max() > wrong.max()
    assert torch.equal(mix_frames(labels, warped.plans[0]), warped.target)
    for kind in ("gain", "contrast", "freq_warp"):
        assert RandomField(kind)(x, labels).target is labels
    part = RandomField("time_warp", p=0.5)(x, labels, generator=seeded(1))
    still = ~part.plans[0].mixed
    assert torch.equal(part.target[still], labels[still])


def test_a_plan_makes_the_same_field_at_another_size():
    """Two numbers a clip: a spectrogram of twice as many frames and bins has the same field, read more finely."""
    plan = RandomField(sigma=1.0)(torch.zeros(5, 1, 16, 64), generator=seeded()).plans[0]
    plan = Plan.from_json(plan.to_json())
    coarse, fine = random_field(torch.zeros(5, 1, 16, 64), plan), random_field(torch.zeros(5, 1, 48, 192), plan)
    torch.testing.assert_close(fine[..., 1::3, 1::3], coarse, atol=1e-4, rtol=1e-4)
    assert len(plan.to_json()) < 800


@pytest.mark.parametrize("kind", ["gain", "contrast", "time_warp", "freq_warp"])
@pytest.mark.parametrize("channels", [1, 2])
def test_large_batches_are_changed_in_blocks(monkeypatch, kind, channels):
    """Some clips at a time, or all at once where a gradient is needed: the same, with lengths and with `out` too."""
    x = noise(7, channels, 12, 90) * 8 - 50
    lengths = torch.tensor([90, 40, 0, 90, 1, 89, 90])
    transform = RandomField(kind, p=0.7)
    monkeypatch.setattr("audiomix.transforms.random_field._BLOCK", 2 * x[0].numel() * 4)
    mixed = transform(x, lengths=lengths, generator=seeded(3), out=torch.empty_like(x))
    assert 0 < mixed.plans[0].mixed.sum() < 6
    free = x.clone().requires_grad_()
    again = transform(free, lengths=lengths, plan=mixed.plans[0])
    torch.testing.assert_close(again.x.detach(), mixed.x, atol=2e-5, rtol=1e-6)
    again.x.square().sum().backward()
    assert free.grad.isfinite().all()
    for i, end in enumerate(torch.where(mixed.plans[0].mixed, lengths, 0).tolist()):
        assert torch.equal(mixed.x[i, ..., end:], x[i, ..., end:])
        assert torch.equal(again.x[i, ..., end:], x[i, ..., end:])
    half = transform(x.half(), lengths=lengths, plan=mixed.plans[0]).x
    torch.testing.assert_close(half.float(), mixed.x, atol=0.1, rtol=2e-3)


def test_bins_are_read_on_lines_between_them(monkeypatch):
    """The warp of frequencies against its definition, written out in NumPy: field, order, lines from bin to bin."""
    x = noise(3, 1, 24, 200)
    plan = RandomField("freq_warp", sigma=1.0)(x, generator=seeded()).plans[0]
    got = random_field(x, plan)[:, 0].numpy()
    g = plan.field(24, (torch.arange(200).double() + 0.5) / 200, x.double()).numpy()
    place = np.clip(np.arange(24)[:, None] + math.sqrt(2) / 4 * (24 / 8) * g, 0, 23)
    place = np.maximum.accumulate(place, 1)
    wanted = np.stack([
        np.stack([np.interp(place[i, :, n], np.arange(24), x[i, 0, :, n].numpy()) for n in range(200)], 1)
        for i in range(3)
    ])  # fmt: skip
    # the field is made at 64 places over time, with lines between
    assert np.sqrt(((got - wanted) ** 2).mean()) < 0.02
    monkeypatch.setattr("audiomix.transforms.random_field._WHOLE", 1)  # as of a spectrogram of 16 million bins
    assert torch.equal(random_field(x, plan)[:, 0], torch.from_numpy(got))
    assert torch.equal(random_field(x[..., :1, :], plan), x[..., :1, :])


def test_the_mean_of_contrast_is_that_of_the_valid_part():
    x = torch.full((2, 1, 8, 50), 7.0)
    x[..., 20:] = 1e6
    changed = RandomField("contrast")(x, lengths=torch.tensor([20, 0]), generator=seeded())
    torch.testing.assert_close(changed.x, x)
    assert changed.plans[0].why == ("", "no valid frames")


def test_on_real_sound(esc10):
    """On log-mel of real sound: levels move by 3 dB, and what was loudest is near where it was."""
    clip = io.read(sorted((esc10 / "audio").glob("*.ogg"))[5])
    spec = LogMel(clip.rate)(clip.samples[None, :1])
    spec = spec.expand(64, *spec.shape[1:])
    gained = RandomField()(spec, generator=seeded()).x
    assert float((gained - spec).std()) == pytest.approx(3, rel=0.1)
    chain = Pipeline([RandomField("time_warp"), RandomField("freq_warp"), RandomField("contrast")])
    changed = chain(spec, generator=seeded()).x
    assert changed.isfinite().all()
    assert 1 < float((changed - spec).square().mean().sqrt()) < float(spec.std()) * 1.5


def test_wrong_arguments():
    with pytest.raises(ValueError, match="x must be spectrograms .* a waveform"):
        RandomField()(noise(4, 1, 1000))
    with pytest.raises(ValueError, match="kind must be one of"):
        RandomField("warp")
    with pytest.raises(ValueError, match="sigma"):
        RandomField("time_warp", sigma=3.0)
    with pytest.raises(ValueError, match=r"time_sd must be .* a fraction of the time axis"):
        RandomField(time_sd=12)
    with pytest.raises(ValueError, match="scale must be db, log10 or ln for kind='contrast'"):
        RandomField("contrast", scale="power")
    with pytest.raises(ValueError, match="std must be left out"):
        RandomField(scale="power", std=2.0)
    x = torch.zeros(2, 1, 8, 50)
    with pytest.raises(ValueError, match="plan must be of kind 'gain'"):
        RandomField()(x, plan=RandomField("time_warp")(x).plans[0])
    assert RandomField().at_normalisation(-30.0, 12.0).std == 12.0
    assert RandomField(scale="power").at_normalisation(-30.0, 12.0).std == 1.0
