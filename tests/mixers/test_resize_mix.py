"""ResizeMix: all of the partner, in a piece of the original whose share is the label's."""

import pytest
import torch
from sounds import noise, seeded

from audiomix import Plan, ResizeMix
from audiomix.parts import mix_of_parts
from audiomix.resize import resize


def pieces(plan, size):
    return (plan.span * size).round().long().tolist()


@pytest.mark.parametrize("shape", [(1, 64, 200), (1, 200, 64), (2, 12, 37)])
def test_the_whole_partner_is_in_the_piece_and_the_weight_is_what_is_kept(shape):
    """OpenMixup's code takes the axes of the box for each other: of 64 x 200 it raises nine times out of ten."""
    ramp = torch.linspace(100, 200, shape[-1]).expand(8, *shape).contiguous()
    clean = torch.where(torch.arange(8).view(8, 1, 1, 1) < 4, noise(8, *shape), ramp)  # noise below 100, ramps above
    ramps = (torch.arange(8) >= 4).expand(8, 8).clone()
    mixed = ResizeMix("spectrogram", time_axis=-1)(clean, allowed=ramps, generator=seeded())
    plan = mixed.plans[0]
    for i, (start, stop) in enumerate(pieces(plan, shape[-1])[:4]):
        there = mixed.x[i] >= 99
        assert there[..., start:stop].all()
        assert int(there.sum()) == (stop - start) * shape[0] * shape[1]
        assert plan.weight[i].item() == pytest.approx(1 - (stop - start) / shape[-1], abs=1e-12)
        inside = mixed.x[i][..., start:stop]
        assert (inside.diff() > 0).all()  # still a ramp, and all of it: a bound of one frame at each end
        step = 100 / (stop - start)
        assert (inside[..., 0] < 100 + step).all()
        assert (inside[..., -1] > 200 - step).all()
        assert torch.equal(mixed.x[i][..., :start], clean[i][..., :start])
        assert torch.equal(mixed.x[i][..., stop:], clean[i][..., stop:])


def test_shares_are_uniform_in_the_scope_and_beta_is_drawn_again_outside():
    clean = noise(3000, 1, 1000)
    share = 1 - ResizeMix()(clean[:, :, :200], generator=seeded()).plans[0].weight
    # a mean of n uniform numbers over 0.7 has the standard error 0.7 / sqrt(12 n); rounding moves one by 1/400 at most
    assert share.mean().item() == pytest.approx(0.45, abs=4 * 0.7 / (12 * 3000) ** 0.5)
    assert 0.1 - 1 / 400 <= share.min() < 0.11
    assert 0.79 < share.max() <= 0.8 + 1 / 400
    share = 1 - ResizeMix(alpha=8.0, scope=(0.4, 0.6))(clean, generator=seeded()).plans[0].weight
    assert ((share >= 0.4) & (share <= 0.6)).all()
    assert share.std() < 0.2 / 12**0.5  # narrower than a uniform draw
    assert len((ResizeMix(scope=0.25)(clean[:50], generator=seeded()).plans[0].weight == 0.75).unique()) == 1


def test_a_tone_moves_up_keeps_its_level_and_does_not_alias():
    time = torch.arange(16000) / 16000
    tones = torch.stack([torch.zeros(16000), (2 * torch.pi * 1000 * time).sin(), (2 * torch.pi * 6000 * time).sin()])
    wave = tones[:, None]
    high = (torch.arange(3) == 1).expand(3, 3).clone()  # the partner of the first and of the last
    mixed = ResizeMix(scope=0.5)(wave, allowed=high, generator=seeded())
    ((start, stop), *_) = pieces(mixed.plans[0], 16000)
    assert stop - start == 8000
    short = resize(tones, 8000)
    torch.testing.assert_close(mixed.x[0, 0, start:stop], short[1])
    expected = (2 * torch.pi * 2000 * time[:8000]).sin()
    middle = slice(500, -500)
    assert (short[1, middle] - expected[middle]).abs().max() < 3e-3  # -50 dB
    assert short[2, middle].abs().max() < 3e-3  # 12 kHz is above half the rate: nothing of it is left
    assert 20 * torch.log10(short[2].square().mean().sqrt()) < -40


SIZES = [(1000, 100), (997, 331), (16000, 12800), (1, 1), (3, 2), (2, 1), (70, 69), (50, 120)]


@pytest.mark.parametrize(("have", "size"), SIZES)
def test_a_constant_stays_constant(have, size):
    for method in ("resample", "interpolate"):
        for dtype in (torch.float32, torch.float64):
            flat = resize(torch.full((2, have), 3.0, dtype=dtype), size, method)
            assert flat.shape == (2, size)
            assert flat.dtype == dtype
            torch.testing.assert_close(flat, torch.full((2, size), 3.0, dtype=dtype))


def test_places_of_a_resampled_wave_are_those_of_its_parts():
    """A click at each tenth of the partner is at each tenth of the piece, to a sample."""
    clicks = torch.zeros(1, 1, 12000)
    clicks[..., 600::1200] = 1
    wave = torch.zeros(1, 1, 9001)
    mixed = ResizeMix()(wave, other=clicks, generator=seeded(3))
    ((start, stop),) = pieces(mixed.plans[0], 9001)
    width = (stop - start) / 10
    for k in range(10):
        at = start + width * (k + 0.5)
        near = slice(round(start + width * k), round(start + width * (k + 1)))
        assert abs(near.start + int(mixed.x[0, 0, near].argmax()) - at) <= 1.5


def test_parts_lengths_other_and_frame_labels_agree():
    wave, long = noise(30, 1, 400), noise(4, 1, 1000, seed=3)
    lengths, theirs = torch.tensor([400, 300, 50] * 10), torch.tensor([1000, 700, 20, 0])
    labels, others = torch.zeros(30, 2, 40), torch.zeros(4, 2, 100)
    labels[:, 0], others[:, 1] = 1, 1
    given = {"other": long, "other_target": others, "lengths": lengths, "other_lengths": theirs}
    mixed = ResizeMix(num_classes=2)(wave, labels, generator=seeded(), **given)
    plan = Plan.from_json(mixed.plans[0].to_json())
    short = plan.partner == 3
    assert bool(short.any())
    assert not plan.mixed[short].any()
    assert all(("too short" in why) == bool(none) for why, none in zip(plan.why, short))
    assert ((1 - plan.weight) * lengths <= theirs[plan.partner] + 1e-6).all()  # never made longer
    for i, end in enumerate(lengths.tolist()):
        expected = mix_of_parts(plan, i, wave[i], long)
        torch.testing.assert_close(mixed.x[i], expected)  # padding, too, stays as it is
        (start, stop) = (plan.span[i] * 40).tolist()
        own = mixed.target[i, 0, : end // 10]
        assert abs(float((own == 0).sum()) - min(stop - start, end / 10)) <= 1
        assert plan.weight[i].item() == pytest.approx(1 - (plan.span[i, 1] - plan.span[i, 0]) * 400 / end)


def test_a_gradient_reaches_the_original_and_the_partner():
    wave = noise(3, 1, 300).requires_grad_()
    other = noise(3, 1, 500, seed=2).requires_grad_()
    bins = wave.view(3, 1, 6, 50), other.view(3, 1, 5, 100)[:, :, [0, 1, 2, 3, 4, 4]]
    for mixer, x, y in ((ResizeMix(), wave, other), (ResizeMix("spectrogram"), *bins)):
        mixed = mixer(x, other=y, generator=seeded())
        with torch.no_grad():
            plain = mixer(x.detach(), other=y.detach(), plan=mixed.plans[0]).x
        torch.testing.assert_close(mixed.x.detach(), plain)
        mixed.x.square().sum().backward(retain_graph=True)
        assert wave.grad.isfinite().all()
        assert other.grad.isfinite().all()
        assert (other.grad.abs().sum((1, 2)) > 0).all()
        wave.grad, other.grad = None, None


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"scope must be \(lowest, highest\), got \(0.8, 0.1\)"):
        ResizeMix(scope=(0.8, 0.1))
    with pytest.raises(ValueError, match=r"scope must be \(least, most\) where alpha is given"):
        ResizeMix(scope=0.5, alpha=1.0)
    with pytest.raises(ValueError, match=r"waveforms .* mix before the spectrogram"):
        ResizeMix()(noise(4, 1, 8, 20))
    plan = ResizeMix("spectrogram")(noise(4, 1, 8, 20), generator=seeded()).plans[0]
    with pytest.raises(ValueError, match="plan must be of domain 'wave', as the mixer is, got 'spectrogram'"):
        ResizeMix()(noise(4, 1, 20), plan=plan)
    with pytest.raises(ValueError, match="method must be one of resample, interpolate"):
        resize(noise(2, 20), 10, "nearest")
