"""SelfMix: two windows of one clip, and nothing of any other; the label stays."""

import pytest
import torch
from scipy import stats
from sounds import noise, seeded

from audiomix import SelfMix, calibrate_windows
from audiomix.parts import mix_of_parts


def windows(plan, size):
    both = torch.stack([plan.first, plan.second], 1) * size
    return both.round().long()


@pytest.mark.parametrize("mode", ["sum", "swap"])
@pytest.mark.parametrize("shape", [(1, 500), (2, 12, 37)])
def test_both_windows_are_of_the_clip_and_the_hard_label_stays(mode, shape):
    clean, label = noise(60, *shape), torch.arange(60)
    mixed = SelfMix(mode, num_classes=60)(clean, label, generator=seeded())
    plan = mixed.plans[0]
    assert torch.equal(mixed.target, torch.eye(60))
    assert plan.mixed.all()
    for i, ((a, b), (c, d)) in enumerate(windows(plan, shape[-1]).tolist()):
        assert b - a == d - c > 0
        w, expected = float(plan.ratio[i]), clean[i].clone()
        if mode == "sum":
            assert abs(a - c) >= (b - a) / 2
            expected[..., a:b] = w * clean[i][..., a:b] + (1 - w) * clean[i][..., c:d]
            torch.testing.assert_close(mixed.x[i], expected)
        else:
            assert abs(a - c) >= b - a
            expected[..., a:b], expected[..., c:d] = clean[i][..., c:d], clean[i][..., a:b]
            assert torch.equal(mixed.x[i], expected)
            assert torch.equal(mixed.x[i].flatten().sort().values, clean[i].flatten().sort().values)  # nothing is lost
        torch.testing.assert_close(mix_of_parts(plan, i, clean[i], clean), mixed.x[i])


def test_no_window_reaches_into_the_padding_and_short_clips_say_why():
    clean, lengths = noise(200, 1, 100), torch.arange(200) % 101
    for mode in ("sum", "swap"):
        plan = SelfMix(mode)(clean, lengths=lengths, generator=seeded()).plans[0]
        assert (windows(plan, 100).amax((1, 2)) <= lengths).all()
        assert not plan.mixed[lengths < 2].any()
        assert plan.mixed[lengths > 25].all()
        assert all((why == "too short for two windows") == (not mixed) for why, mixed in zip(plan.why, plan.mixed))


def test_all_pairs_of_places_are_equally_likely():
    """Of 12 frames, windows of 3, at least 2 apart: places 0..9, 72 ordered pairs of which none is missed."""
    plan = SelfMix(window=0.25)(torch.zeros(72 * 100, 1, 12), generator=seeded()).plans[0]
    pairs = windows(plan, 12)[:, :, 0]
    assert (pairs.diff().abs() >= 2).all()
    counts = torch.zeros(10, 10)
    counts.index_put_((pairs[:, 0], pairs[:, 1]), torch.ones(len(pairs)), accumulate=True)
    there = (torch.arange(10)[:, None] - torch.arange(10)).abs() >= 2
    assert int(there.sum()) == 72
    assert counts[there].min() > 0
    low = torch.arange(10)[:, None] < torch.arange(10)
    # one of two is the first by a fair coin; four standard deviations
    assert abs(float(counts[low].sum()) - 3600) < 4 * (7200 / 4) ** 0.5


def test_shares_and_lengths_are_those_asked_for():
    plan = SelfMix(window=(0.2, 0.4))(torch.zeros(3000, 1, 1000), generator=seeded()).plans[0]
    assert stats.kstest(plan.ratio.numpy(), "uniform").pvalue > 1e-4
    width = plan.first.diff()[:, 0]
    assert stats.kstest(width.numpy(), stats.uniform(0.2 - 1e-3, 0.2 + 1e-3).cdf).statistic < 0.04
    assert (SelfMix(alpha=0)(noise(4, 1, 100)).plans[0].ratio == 1).all()
    assert not SelfMix(alpha=0)(noise(4, 1, 100)).plans[0].mixed.any()


@pytest.mark.parametrize("mode", ["sum", "swap"])
def test_frame_labels_follow_the_sound(mode):
    frames = noise(8, 3, 50).abs().clamp(max=1)
    wave = frames.repeat_interleave(20, -1)  # each frame sounds for 20 samples
    mixed = SelfMix(mode)(wave, frames, generator=seeded())
    same = (mixed.x.view(8, 3, 50, 20)[..., 10] - mixed.target).abs().amax(1) < 1e-6
    edges = 4  # frames that an edge lies in, or that are half a frame off
    assert ((~same).sum(1) <= mixed.plans[0].first.diff()[:, 0] * 50 * (1 if mode == "sum" else 2) + edges).all()
    exact = SelfMix(mode, window=0.2)(frames.repeat_interleave(1, -1), frames, generator=seeded())
    assert torch.equal(exact.x, exact.target)


def test_a_teacher_that_is_unsure_is_not_asked():
    soft = torch.tensor([[0.1, 0.15, 0.05], [0.2, 0.1, 0.0]])
    got = calibrate_windows(soft, torch.tensor([2, 2]), num_classes=3)
    torch.testing.assert_close(got, torch.tensor([[0.1 / 3, 0.1 / 3, 0.9 + 0.1 / 3], [0.2, 0.1, 0.0]]))
    with pytest.raises(ValueError, match=r"target must be labels of shape \(2, 3\), as soft is, got \(2, 4\)"):
        calibrate_windows(soft, torch.eye(4)[:2])


def test_by_row_and_by_index_agree():
    wave = noise(20, 2, 301)
    for mode in ("sum", "swap"):
        mixer = SelfMix(mode)
        mixed = mixer(wave, generator=seeded())
        leaf = wave.clone().requires_grad_()
        followed = mixer(leaf, plan=mixed.plans[0]).x
        torch.testing.assert_close(followed.detach(), mixed.x)
        followed.sum().backward()
        assert torch.allclose(leaf.grad.sum((1, 2)), torch.full((20,), 602.0))  # shares of what is heard


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"window must be a number in \[0, 0.5\], got 0.6"):
        SelfMix("swap", window=(0.2, 0.6))
    with pytest.raises(ValueError, match="alpha must be left out with mode='swap'"):
        SelfMix("swap", alpha=0.3)
    plan = SelfMix("swap")(noise(4, 1, 50), generator=seeded()).plans[0]
    with pytest.raises(ValueError, match="plan must be of mode 'sum', as the mixer is, got 'swap'"):
        SelfMix()(noise(4, 1, 50), plan=plan)
