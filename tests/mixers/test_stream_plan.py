"""Ratios as they are drawn, plans that replay, and the targets beside the mix."""

import math

import pytest
import torch
from mixers.frames import MODES, frames_of, least_squares, streams
from scipy import stats
from sounds import seeded

from audiomix import Plan
from audiomix.mixers.stream import StreamMix, StreamPlan


def test_the_schedule_rises_and_the_call_stands_above_it():
    v, a = streams()
    mixer = StreamMix("linear:0:1")
    for progress in (0.0, 0.25, 1.0):
        assert mixer(v, other=a, progress=progress).plans[0].weight.tolist() == pytest.approx([progress] * 6)
    assert mixer(v, other=a, progress=1.0, ratio=0.2).plans[0].weight.tolist() == pytest.approx([0.2] * 6)
    assert torch.equal(mixer(v, other=a, progress=1.0, ratio=0.0).x, a)
    each = torch.linspace(0, 1, 6)
    mixed = mixer(v, other=a, ratio=each).x
    for i, w in enumerate(each.tolist()):
        assert least_squares(mixed[i], v[i], a[i])[0].item() == pytest.approx(w, abs=1e-6)
    assert mixer(v, other=a, ratio=torch.tensor(0.5)).plans[0].weight.tolist() == [0.5] * 6


@pytest.mark.parametrize("w", [0.5, 0.9, 1.0])
def test_the_spread_is_uniform_about_the_ratio(w):
    v, a = streams(2000, 3, 2)
    mixer = StreamMix(w, spread=0.3)
    x = mixer(v, other=a, generator=seeded()).x
    found = ((x - a) * (v - a)).sum((1, 2)) / (v - a).square().sum((1, 2))
    half = min(0.3, 1 - w)
    if half:
        assert stats.kstest(found.numpy(), stats.uniform(w - half, 2 * half).cdf).pvalue > 1e-4
    else:
        assert torch.equal(x, v)
    one = StreamMix(w, spread=0.3, per="batch")
    draws = [one(v[:9], other=a[:9], generator=seeded(s)).plans[0].weight for s in range(40)]
    assert all(len(d.unique()) == 1 for d in draws)
    assert len(torch.stack(draws)[:, 0].unique()) == (40 if half else 1)


def test_a_share_p_of_the_utterances_is_mixed():
    v, a = streams(2000, 4, 2)
    changed = (StreamMix(0.5, p=0.5)(v, other=a, generator=seeded()).x != v).any((1, 2))
    assert abs(int(changed.sum()) - 1000) < 4 * math.sqrt(500)
    eligible = torch.tensor([True, False] * 1000)
    assert torch.equal((StreamMix(0.5)(v, other=a, eligible=eligible).x != v).any((1, 2)), eligible)


def test_ratios_come_as_any_list_of_numbers():
    v, a = streams(3)
    for given in ([0.1, 0.2, 0.3], torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.1, 0.2, 0.3]).numpy()):
        weight = StreamMix()(v, other=a, ratio=given).plans[0].weight
        torch.testing.assert_close(weight, torch.tensor([0.1, 0.2, 0.3]).double(), atol=1e-7, rtol=0)
    for given in (0.4, torch.tensor(0.4)):
        assert StreamMix()(v, other=a, ratio=given).plans[0].weight.tolist() == pytest.approx([0.4] * 3, abs=1e-7)


@pytest.mark.parametrize("mode", MODES)
def test_a_plan_replays_to_the_bit_through_json(mode):
    v, a = streams(5, 47)
    lengths = torch.tensor([47, 46, 3, 20, 0])
    given = {"other": a, "lengths": lengths, "other_lengths": lengths}
    mixed = StreamMix(0.37, mode=mode, spread=0.2, span=0.2)(v, generator=seeded(), **given)
    plan = Plan.from_json(mixed.plans[0].to_json())
    assert isinstance(plan, StreamPlan)
    assert plan.to_json() == mixed.plans[0].to_json()
    assert torch.equal(StreamMix(mode=mode)(v, plan=plan, **given).x, mixed.x)
    other = StreamMix(0.37, mode=mode, spread=0.2, span=0.2)(v, generator=seeded(1), **given)
    assert not torch.equal(other.x, mixed.x)
    torch.testing.assert_close(plan.share(47)[0].mean(), plan.weight[0])


def test_one_plan_fits_frames_of_any_rate():
    v, a = streams(3, 50)
    mixed = StreamMix(0.6, mode="span", span=0.2)(v, other=a, generator=seeded())
    taken = frames_of(mixed.x, v, a)
    plan = mixed.plans[0]
    assert torch.equal(plan.share(200) == 0, taken.repeat_interleave(4, 1))
    assert torch.equal(plan.share(50) == 0, taken)


def test_the_generator_alone_decides():
    v, a = streams()
    mixer = StreamMix(0.5, mode="replace", spread=0.1)
    torch.manual_seed(5)
    first = mixer(v, other=a, generator=seeded())
    before = torch.get_rng_state()
    assert torch.equal(mixer(v, other=a, generator=seeded()).x, first.x)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("normalise", [None, "rms"])
def test_eval_is_the_picture(normalise):
    v, a = streams()
    mixer = StreamMix(0.3, num_classes=9, normalise=normalise).eval()
    for given in ({}, {"other": a}):
        x, target, (plan,), _ = mixer(v, torch.arange(6), **given)
        assert torch.equal(x, v)
        assert x.data_ptr() != v.data_ptr()
        assert torch.equal(target, torch.eye(6, 9))
        assert (plan.weight == 1).all()
    out = torch.empty_like(v)
    assert mixer(v, out=out).x is out
    assert torch.equal(out, v)
    assert torch.equal(mixer.train()(v, other=a, plan=plan).x, v)


@pytest.mark.parametrize("mode", MODES)
def test_the_target_is_the_utterances(mode):
    v, a = streams()
    mixer = StreamMix(0.3, mode=mode, num_classes=9)
    for target in (torch.arange(6), torch.rand(6, 9)):
        expected = torch.eye(6, 9) if target.ndim == 1 else target
        assert torch.equal(mixer(v, target, other=a).target, expected)
    frame_labels = torch.rand(6, 4, 50)
    assert torch.equal(StreamMix(0.3, mode=mode)(v, frame_labels, other=a).target, frame_labels)
    assert StreamMix(0.3)(v, other=a).target is None


@pytest.mark.parametrize(
    "target", [torch.tensor([3, 7]), torch.tensor([[3, 7, 9], [1, 2, 0]]), ["bin blue", "lay red"]]
)
def test_without_classes_the_target_is_handed_through_whatever_it_is(target):
    picture, sound = torch.randn(2, 6, 4), torch.randn(2, 6, 4)
    assert StreamMix(0.5)(picture, target, other=sound).target is target
    assert StreamMix(0.5).eval()(picture, target).target is target
