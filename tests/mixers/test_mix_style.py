"""MixStyle and Freq-MixStyle, judged from the statistics of what comes out."""

import pytest
import torch
from scipy import stats
from sounds import noise, seeded

from audiomix import FreqMixStyle, MixStyle, StylePlan, freq_mix_style, mix_style

# what has statistics of its own, and the axes of (B, C, F, N) that they are over
KINDS = [(MixStyle, mix_style, (2, 3)), (FreqMixStyle, freq_mix_style, (1, 3))]


def maps(size=6, channels=3, bins=8, frames=40, seed=1):
    """Feature maps whose channels, frequencies and clips all have a level and a spread of their own."""
    x = noise(size, channels, bins, frames, seed=seed, dtype=torch.float64)
    spread = noise(size, channels, bins, 1, seed=seed + 1, dtype=torch.float64).abs() + 0.5
    return x * spread + 10 * noise(size, channels, bins, 1, seed=seed + 2, dtype=torch.float64) - 40


def of(x, axes):
    return x.mean(axes), x.std(axes)


def plan_of(partner, ratio):
    partner = torch.tensor(partner)
    ratio = torch.tensor(ratio, dtype=torch.float64)
    return StylePlan(partner, torch.ones(len(ratio), dtype=torch.float64), ratio=ratio)


@pytest.mark.parametrize(("kind", "function", "axes"), KINDS)
@pytest.mark.parametrize("second", [False, True])
def test_the_statistics_are_the_mixed_ones(kind, function, axes, second):
    """Over the right axes, of F != N, with the unbiased variance of the reference code."""
    x = maps()
    other = maps(4, frames=27, seed=7) if second else None
    mixed = kind(1.0, p=1.0)(x, other=other, generator=seeded())
    plan = mixed.plans[0]
    source = x if other is None else other
    mean, spread = of(x, axes)
    their_mean, their_spread = (value[plan.partner] for value in of(source, axes))
    got_mean, got_spread = of(mixed.x, axes)
    s = plan.ratio[:, None]
    torch.testing.assert_close(got_mean, s * mean + (1 - s) * their_mean)
    torch.testing.assert_close(got_spread, s * spread + (1 - s) * their_spread, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(function(x, plan, other=other), mixed.x)
    # what is not of the style stays: each value as far from the mean, in spreads
    view = [slice(None), *[None if a in axes else slice(None) for a in (1, 2, 3)]]
    before = (x - mean[tuple(view)]) / spread[tuple(view)]
    torch.testing.assert_close((mixed.x - got_mean[tuple(view)]) / got_spread[tuple(view)], before, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("kind", "function", "axes"), KINDS)
def test_ends_of_the_share(kind, function, axes):
    x = maps(2)
    whole, none = function(x, plan_of([1, 0], [1.0, 1.0])), function(x, plan_of([1, 0], [0.0, 1.0]))
    assert torch.equal(whole, x)
    assert torch.equal(none[1], x[1])
    torch.testing.assert_close(of(none, axes)[0][0], of(x, axes)[0][1])
    torch.testing.assert_close(of(none, axes)[1][0], of(x, axes)[1][1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("kind", "function", "axes"), KINDS)
def test_a_clip_mixed_with_itself_and_with_an_equal_one_is_itself(kind, function, axes):
    x = maps(3)
    x[1] = x[0]
    got = function(x, plan_of([1, 0, 2], [0.3, 0.3, 0.3]))
    torch.testing.assert_close(got, x)


def test_a_device_is_taken_over_and_the_label_is_kept():
    """What a microphone does is a level of each frequency: with the partner's style two devices agree."""
    sound = noise(1, 1, 16, 50) * 8 - 50
    device = 15 * noise(1, 1, 16, 1, seed=3)
    x = torch.cat([sound, sound + device])
    got = freq_mix_style(x, plan_of([1, 0], [0.0, 1.0]))
    torch.testing.assert_close(got[0], x[1], atol=1e-4, rtol=0)
    # of each channel over all frequencies the curve of the device is no style: it stays
    assert (mix_style(x, plan_of([1, 0], [0.0, 1.0]))[0] - x[1]).abs().max() > 5
    ids = torch.arange(2)
    assert torch.equal(FreqMixStyle(p=1.0)(x, ids).target, ids)
    soft = torch.rand(2, 5, 7, generator=seeded())
    assert torch.equal(FreqMixStyle(p=1.0)(x, soft).target, soft)
    assert torch.equal(FreqMixStyle(p=1.0, num_classes=3)(x, ids).target, torch.eye(3)[:2])


@pytest.mark.parametrize(("kind", "function", "axes"), KINDS)
@pytest.mark.parametrize("grad", [False, True])
def test_statistics_are_of_the_valid_frames(kind, function, axes, grad):
    x, ends = maps(5), [40, 17, 2, 31, 9]
    lengths = torch.tensor(ends)
    loud = x.clone()
    for i, end in enumerate(ends):
        loud[i, ..., end:] = torch.nan
    mixer = kind(1.0, p=1.0)
    mixed = mixer(loud.requires_grad_(grad), lengths=lengths, generator=seeded())
    plan = mixed.plans[0]
    for i, end in enumerate(ends):
        j, s = int(plan.partner[i]), float(plan.ratio[i])
        (mean, spread), (their_mean, their_spread) = (of(x[k : k + 1, ..., : ends[k]], axes) for k in (i, j))
        got = mixed.x[i : i + 1, ..., :end].detach()
        torch.testing.assert_close(of(got, axes)[0], s * mean + (1 - s) * their_mean)
        torch.testing.assert_close(of(got, axes)[1], s * spread + (1 - s) * their_spread, atol=1e-5, rtol=1e-5)
        assert mixed.x[i, ..., end:].isnan().all()  # padding stays as it is
    if grad:
        mixed.x.nan_to_num().square().sum().backward()
        assert loud.grad.isfinite().all()


@pytest.mark.parametrize("frames", [50, 9000])
@pytest.mark.parametrize(("kind", "function", "axes"), KINDS)
def test_a_pass_row_by_row_is_the_pass_over_the_batch(kind, function, axes, frames):
    """Large batches are read row by row, unless a gradient is followed."""
    x = maps(6, 1 if kind is FreqMixStyle else 4, 8, frames).float()
    plan = plan_of([1, 2, 3, 4, 5, 0], [0.2, 1.0, 0.0, 0.7, 0.5, 0.9])
    followed = function(x.clone().requires_grad_(), plan)
    torch.testing.assert_close(function(x, plan), followed.detach(), atol=1e-4, rtol=1e-5)
    out = torch.empty_like(x)
    assert function(x, plan, out=out) is out
    assert torch.equal(out, function(x, plan))


def test_no_gradient_goes_through_the_statistics():
    x = maps(2).requires_grad_()
    got = freq_mix_style(x, plan_of([1, 0], [0.25, 0.25]))
    got.sum().backward()
    _, spread = of(x.detach(), (1, 3))
    factor = (0.25 * spread + 0.75 * spread[[1, 0]]) / spread
    torch.testing.assert_close(x.grad, factor[:, None, :, None].expand_as(x), atol=1e-4, rtol=1e-4)


def test_which_clips_are_mixed_is_drawn_for_each():
    """The reference draws once for the batch: then all clips are mixed or none."""
    plan = FreqMixStyle()(noise(4000, 1, 4, 3), generator=seeded()).plans[0]
    share = plan.mixed.double().mean()
    assert abs(float(share) - 0.4) < 4 * (0.4 * 0.6 / 4000) ** 0.5
    ratio = plan.ratio[plan.mixed].numpy()
    # 1600 draws: the statistic of Kolmogorov and Smirnov is below 0.056 with probability 1 - 1e-4
    assert stats.kstest(ratio, stats.beta(0.4, 0.4).cdf).statistic < 0.056
    assert (plan.weight == 1).all()


def test_clips_without_a_spread_say_why():
    x = noise(4, 1, 8, 10)
    plan = FreqMixStyle(p=1.0)(x, lengths=torch.tensor([10, 1, 0, 10]), generator=seeded(3)).plans[0]
    for i in range(4):
        both = min(([10, 1, 0, 10])[k] for k in (i, int(plan.partner[i])))
        assert bool(plan.mixed[i]) == (both >= 2)
        assert plan.why[i] == ("" if both >= 2 else "fewer than 2 valid frames")
    one = MixStyle(p=1.0)(noise(4, 5, 1), generator=seeded())
    assert torch.equal(one.x, noise(4, 5, 1))
    assert set(one.plans[0].why) == {"fewer than 2 valid frames"}


def test_silence_and_constant_maps_stay_finite():
    x = torch.full((4, 2, 6, 20), -100.0)
    x[2:] = noise(2, 2, 6, 20) * 5 - 40
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        leaf = x.to(dtype).requires_grad_()
        got = FreqMixStyle(1.0, p=1.0)(leaf, generator=seeded()).x
        got.float().square().mean().backward()
        assert got.isfinite().all()
        assert leaf.grad.isfinite().all()


def test_sounds_are_refused():
    with pytest.raises(ValueError, match=r"x must be spectrograms .* a waveform\? take its LogMel first"):
        FreqMixStyle()(noise(4, 1, 1000))
    with pytest.raises(ValueError, match="x must be spectrograms or feature maps"):
        MixStyle()(noise(4, 100))
    with pytest.raises(ValueError, match="pairing must be another one for MixStyle.*its own style"):
        MixStyle(pairing="self")
    with pytest.raises(ValueError, match=r"ratio must be in \[0, 1\]"):
        plan_of([1, 0], [1.5, 0.0])
