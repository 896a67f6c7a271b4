"""Adaptive time masks, judged from which values changed."""

import math

import pytest
import torch
from sounds import noise, seeded

from audiomix.plan import Plan
from audiomix.transforms.time_mask import AdaptiveTimeMask, MaskPlan, time_mask


def runs(hidden):
    """Return the (start, stop) of each run of True."""
    edges = torch.diff(torch.cat([torch.zeros(1), hidden.float(), torch.zeros(1)]))
    return list(zip((edges > 0).nonzero()[:, 0].tolist(), (edges < 0).nonzero()[:, 0].tolist()))


@pytest.mark.parametrize(
    ("shape", "axis"), [((4, 60, 9), 1), ((4, 60, 1, 6, 7), 1), ((4, 60), 1), ((4, 2, 60), -1), ((4, 3, 60, 5), 2)]
)
def test_whole_frames_are_hidden_along_the_stated_axis(shape, axis):
    x = noise(*shape).abs() + 0.1
    kept = x.clone()
    out, _ = AdaptiveTimeMask(25, time_axis=axis)(x, generator=seeded())
    moved = (out == 0).movedim(axis, 1).flatten(2) if x.ndim > 2 else (out == 0)[..., None]
    assert moved.shape[1] == 60
    assert torch.equal(moved.all(-1), moved.any(-1))
    assert 0 < moved.all(-1).sum() < 4 * 31
    assert torch.equal(out[out != 0], x[out != 0])
    assert torch.equal(x, kept)


@pytest.mark.parametrize(("frames", "count"), [(25, 1), (26, 2), (50, 2), (51, 3), (10, 1), (250, 10)])
def test_the_number_of_masks_grows_with_length(frames, count):
    """As Auto-AVSR's ``(T + stride - 0.1) // stride``."""
    assert count == int((frames + 25 - 0.1) // 25)
    _, plan = AdaptiveTimeMask(25, time_axis=1)(noise(3, frames), generator=seeded())
    assert int((plan.span_s[..., 1] > plan.span_s[..., 0]).sum(1).max()) == count
    # judged from the frames: a clip of many masks loses about window / 2 a stride
    if frames == 250:
        lost = torch.stack([AdaptiveTimeMask(25, time_axis=1, window=0.1)(torch.ones(64, 250)).x == 0])
        assert lost.double().mean().item() == pytest.approx(0.05, abs=0.01)


def test_the_count_is_that_of_each_clip_not_of_the_padded_batch():
    lengths = torch.tensor([25, 100, 0, 60])
    _, plan = AdaptiveTimeMask(25, time_axis=1)(noise(4, 100), lengths=lengths, generator=seeded())
    assert (plan.span_s[..., 1] > plan.span_s[..., 0]).sum(1).tolist() == [1, 4, 0, 3]


def test_no_mask_is_longer_than_the_window_and_lengths_are_uniform():
    mask = AdaptiveTimeMask(100, time_axis=1, window=0.4, stride=10)  # one mask in ten seconds
    out, _ = mask(torch.ones(2000, 1000), generator=seeded())
    hidden = out == 0
    found = [runs(row) for row in hidden]
    lengths = torch.tensor([sum(b - a for a, b in each) for each in found]).double()
    assert max(len(each) for each in found) == 1
    assert lengths.max() == 40
    assert lengths.mean().item() == pytest.approx(20, abs=4 * 40 / math.sqrt(12 * 2000))
    # ten equal bins: chi-square with 9 degrees of freedom, 99.99 % below 33.7
    counts = torch.histc(lengths[lengths < 40], 10, 0, 40)
    assert float(((counts - counts.mean()) ** 2 / counts.mean()).sum()) < 33.7
    starts = torch.tensor([each[0][0] for each in found if each]).double()
    assert starts.mean().item() == pytest.approx(490, abs=4 * 1000 / math.sqrt(12 * 2000) + 5)
    assert max(each[0][1] for each in found if each) <= 1000
    assert max(each[0][1] for each in found if each) > 990


def test_masks_stay_within_the_valid_part():
    x, lengths = torch.ones(300, 200), torch.arange(300) % 200 + 1
    out, _ = AdaptiveTimeMask(25, time_axis=1, window=3.0)(x, lengths=lengths, generator=seeded())
    hidden = out == 0
    behind = torch.arange(200) >= lengths[:, None]
    assert not bool((hidden & behind).any())
    assert bool((hidden & ~behind).any())
    # a clip shorter than the window can lose any of its frames, the last one too
    assert bool(hidden[torch.arange(300), lengths - 1].any())


def test_one_plan_masks_sound_and_picture_at_the_same_times():
    picture, sound = torch.ones(6, 75, 1, 4, 5), torch.ones(6, 2, 48000)
    lengths = torch.tensor([75, 50, 25, 60, 75, 10])
    shown, plan = AdaptiveTimeMask(25, time_axis=1)(picture, lengths=lengths, generator=seeded())
    plan = Plan.from_json(plan.to_json())
    heard, same = AdaptiveTimeMask(16000, time_axis=-1)(sound, lengths=lengths * 640, plan=plan)
    assert same is plan
    dark, silent = shown[:, :, 0, 0, 0] == 0, heard[:, 0] == 0
    assert torch.equal(heard[:, 0], heard[:, 1])
    # the share of each video frame that is silent: all of it inside, none outside, part at an edge
    share = silent.view(6, 75, 640).double().mean(-1)
    assert bool((share[dark] >= 0.5 - 1e-3).all())
    assert bool((share[~dark] <= 0.5 + 1e-3).all())
    assert share.sum() == pytest.approx(float((plan.span_s[..., 1] - plan.span_s[..., 0]).sum()) * 25, abs=12)
    assert dark.any(1).sum() >= 5


def test_the_plan_of_eval_and_of_no_length_at_all_goes_through_json():
    x = noise(2, 30, 3)
    same, plan = AdaptiveTimeMask(25, time_axis=1).eval()(x)
    assert same is x
    assert torch.equal(AdaptiveTimeMask(25, time_axis=1)(x, plan=Plan.from_json(plan.to_json())).x, x)
    out, plan = AdaptiveTimeMask(25, time_axis=1)(x, lengths=torch.tensor([0, 0]))
    assert torch.equal(out, x)
    Plan.from_json(plan.to_json())


def test_a_plan_replays_to_the_bit():
    x = noise(5, 90, 4)
    mask = AdaptiveTimeMask(25, time_axis=1, fill="mean")
    first, plan = mask(x, generator=seeded(4))
    assert torch.equal(first, mask(x, plan=Plan.from_json(plan.to_json())).x)
    assert not torch.equal(first, mask(x, generator=seeded(5)).x)
    with pytest.raises(ValueError, match="drawn for 4 clips"):
        mask(x[:4], plan=plan)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_mean_is_each_features_own_over_the_valid_time(dtype):
    x = (noise(2, 40, 3) + torch.tensor([0.0, 10.0, -5.0])).to(dtype)
    x[1, 20:] = math.nan  # padding
    plan = MaskPlan.of(torch.tensor([[[0.2, 0.4]], [[0.6, 1.6]]]).double())
    out = time_mask(x, plan, rate=25, time_axis=1, lengths=torch.tensor([40, 20]), fill="mean")
    assert out.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 0.05
    torch.testing.assert_close(out[0, 5:10].double(), x[0].double().mean(0).expand(5, 3), atol=tolerance, rtol=0)
    torch.testing.assert_close(out[1, 15:20].double(), x[1, :20].double().mean(0).expand(5, 3), atol=tolerance, rtol=0)
    assert torch.equal(out[0, 10:], x[0, 10:])
    assert bool(out[1, 20:].isnan().all())  # the padding is left as it is


def test_gradients_flow_where_nothing_is_hidden():
    x = noise(3, 60).requires_grad_()
    out, _ = AdaptiveTimeMask(25, time_axis=1)(x, generator=seeded())
    out.sum().backward()
    assert torch.equal(x.grad == 0, out == 0)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="time_axis must be an axis of x"):
        AdaptiveTimeMask(25, time_axis=0)(noise(3, 60))
    with pytest.raises(ValueError, match="time_axis must be an axis of x"):
        AdaptiveTimeMask(25, time_axis=2)(noise(3, 60))
    with pytest.raises(ValueError, match="rate must be above 0"):
        AdaptiveTimeMask(0, time_axis=1)
    with pytest.raises(ValueError, match="samples given for frames"):
        AdaptiveTimeMask(25, time_axis=1)(noise(2, 60, 900), lengths=torch.tensor([60, 640]))
    with pytest.raises(ValueError, match="one of zero, mean"):
        AdaptiveTimeMask(25, time_axis=1, fill="noise")


def test_no_mask_is_cut_by_the_end_of_the_clip():
    """A start that is drawn for another length, as in Auto-AVSR's code, would lose a part of the longer masks."""
    mask = AdaptiveTimeMask(100, time_axis=1, window=2.0, stride=10)
    out, _ = mask(torch.ones(3000, 300), lengths=torch.full((3000,), 200), generator=seeded())
    assert (out == 0).sum(1).double().mean().item() == pytest.approx(100, abs=4 * 200 / math.sqrt(12 * 3000))
