"""Pictures under a plan, judged from their pixels: whose frame stands where, at which share."""

import math
from fractions import Fraction

import pytest
import torch
from sounds import noise, seeded

from audiomix import CutMix, MixUp, Plan
from audiomix.mixers.av import AVMix, AVPlan
from audiomix.targets.pictures import mix_pictures, partner_frames

NTSC = Fraction(30000, 1001)


def plain(weight, partner=None):
    partner = [1, 0] if partner is None else partner
    return Plan(torch.tensor(partner), torch.tensor(weight, dtype=torch.float64))


def colours(values, frames=4, dtype=torch.uint8, size=(5, 7)):
    """Clips (B, N, 3, H, W) of one constant colour each."""
    return torch.tensor(values).to(dtype).view(-1, 1, 1, 1, 1).expand(-1, frames, 3, *size)


def painted(count, batch=1, size=(3, 4), first=0):
    """Frame n of every clip is painted n + first + 1: 0 stands for nothing."""
    return (torch.arange(count) + first + 1.0).view(1, -1, 1, 1, 1).expand(batch, -1, 2, *size).double()


def swapped(size=1, seconds=None):
    """The partner's picture throughout: what stands in a frame is the partner's frame as it is."""
    zero, one = torch.zeros(size).double(), torch.ones(size).double()
    return AVPlan.of(
        torch.zeros(size, dtype=torch.int64), zero, zero, one, sound=zero, picture=zero, valid=one,
        extent=torch.stack([zero, one], 1), seconds=seconds, mode="swap",
    )  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_the_picture_is_of_the_clip_that_the_sound_is_of(elsewhere, dtype):
    """The reference code looked the partner's frame up in the original's file: the picture was not mixed at all."""
    wave, frames = noise(4, 1, 400), colours([10, 60, 120, 250], dtype=dtype)
    other, others = (noise(3, 1, 400, seed=2), colours([30, 180, 90], dtype=dtype)) if elsewhere else (wave, frames)
    mixed = AVMix()(wave, other=other if elsewhere else None, generator=seeded())
    pictures = mix_pictures(frames, mixed.plans[0], other=others if elsewhere else None)
    for i in range(4):
        each = []
        for j in range(len(other)):  # whose sound explains the mix without rest
            sources = torch.stack([wave[i, 0], other[j, 0]], 1).double()
            found = torch.linalg.lstsq(sources, mixed.x[i, 0].double()[:, None])
            each.append((float((sources @ found.solution)[:, 0].sub(mixed.x[i, 0]).norm()), j, found.solution[0, 0]))
        rest, j, share = min((e for e in each if elsewhere or e[1] != i), key=lambda e: e[0])
        assert rest < 1e-4
        expected = share * frames[i, 0, 0, 0, 0] + (1 - share) * others[j, 0, 0, 0, 0]
        assert (pictures[i].double() - expected).abs().max() <= (0.5001 if dtype == torch.uint8 else 1e-3)


def test_whole_numbers_are_rounded_to_the_nearest_and_nothing_is_written_to():
    frames = torch.randint(256, (2, 3, 3, 16, 11), dtype=torch.uint8, generator=seeded())
    frames[:, 0] = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)
    before = frames.clone()
    for w in (0.5, 0.1, 1 / 3, 0.999):
        got = mix_pictures(frames, plain([w, w])).double()
        exact = w * frames.double() + (1 - w) * frames.flip(0).double()
        assert (got - exact).abs().max() <= 0.5 + 1e-4
        assert abs((got - exact)[:, 1:].mean()) < 0.05  # cutting off would lose a half
    assert torch.equal(frames, before)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_shares_of_one_and_zero_keep_the_bits(dtype):
    frames = (noise(3, 4, 3, 5, 6).abs() * 60).to(dtype)
    got = mix_pictures(frames, plain([1.0, 0.0, 0.3], [2, 0, 0]))
    assert got.dtype == dtype
    assert torch.equal(got[0], frames[0])
    assert torch.equal(got[1], frames[0])
    exact = 0.3 * frames[2].double() + 0.7 * frames[0].double()
    if dtype == torch.uint8:
        step = torch.tensor(0.5001)
    elif dtype in (torch.float16, torch.bfloat16):  # rounded once, at the end
        step = 0.505 * torch.finfo(dtype).eps * 2 ** exact.log2().floor()
    else:
        step = 2 * torch.finfo(dtype).eps * frames.double().max()
    assert ((got[2].double() - exact).abs() <= step).all()


def test_eval_a_batch_of_one_and_a_clip_that_meets_itself_are_unchanged():
    frames = noise(3, 4, 3, 5, 6)
    for plan in (AVMix().eval()(noise(3, 1, 50)).plans[0], Plan.identity(3), plain([0.3, 0.7, 0.2], [0, 1, 2])):
        got = mix_pictures(frames, plan)
        assert torch.equal(got, frames)
        assert got.data_ptr() != frames.data_ptr()
    assert torch.equal(mix_pictures(frames, Plan.identity(3), other=frames[:1] + 1), frames)
    for mode in ("linear", "time", "box", "swap"):
        plan = AVMix(mode=mode)(noise(1, 1, 50), generator=seeded()).plans[0]
        assert torch.equal(mix_pictures(frames[:1], plan), frames[:1])


RATES = [25, NTSC, 30, Fraction(24000, 1001), 24, 50, 60, 12.5, 29.97, 30000 / 1001, 15]


@pytest.mark.parametrize("rate", RATES, ids=str)
@pytest.mark.parametrize("other_rate", RATES, ids=str)
def test_ten_minutes_do_not_drift(rate, other_rate):
    """Frame n is shown from n / r to (n + 1) / r; the partner's that is shown at its middle is wanted."""
    r, s = Fraction(rate).limit_denominator(10**6), Fraction(other_rate).limit_denominator(10**6)
    size, other_size = math.floor(600 * r), math.floor(600 * s)
    index = partner_frames(size, other_size, rate=rate, other_rate=other_rate).tolist()
    for n in {*range(0, size, 997), *range(5), *range(size - 5, size)}:
        middle, j = (n + Fraction(1, 2)) / r, index[n]
        assert j == -1 if middle >= other_size / s else j / s <= middle < (j + 1) / s
    if rate == other_rate:
        assert index == list(range(size))
    assert sorted(index[:-2]) == index[:-2]


def test_equal_spacing_told_by_times_is_that_told_by_rates():
    size, other_size = 15000, 17982
    by_rate = partner_frames(size, other_size, rate=25, other_rate=NTSC)
    times = torch.arange(size).double() / 25
    other_times = torch.arange(other_size).double() * 1001 / 30000
    by_time = partner_frames(size, other_size, times=times, other_times=other_times, rate=25, other_rate=NTSC)
    mixed = partner_frames(size, other_size, times=times, rate=25, other_rate=NTSC)
    assert torch.equal(by_time, by_rate)
    assert torch.equal(mixed, by_rate)
    # every middle falls on the edge of two frames: floating point would take now the one, now the other
    halves = partner_frames(
        15000, 30000, times=times, other_times=torch.arange(30000).double() / 50, rate=25, other_rate=50
    )
    assert torch.equal(halves, 2 * torch.arange(15000) + 1)


@pytest.mark.parametrize(("rate", "other_rate"), [(25, NTSC), (NTSC, 25), (30, 25), (25, 30), (25, 50), (50, 25)])
def test_the_mark_that_is_painted_is_that_of_the_same_moment(rate, other_rate):
    """The partner's frames are painted with their number: the moment it stands for is at most a frame off."""
    size, other_size = 100, int(100 * Fraction(other_rate) / Fraction(rate)) + 1
    got = mix_pictures(painted(size), swapped(), other=painted(other_size, 1), rate=rate, other_rate=other_rate)
    shown = got[0, :, 0, 0, 0] - 1
    now = (torch.arange(size).double() + 0.5) / float(rate)
    shown_at = (shown + 0.5) / float(other_rate)
    assert (shown_at - now).abs().max() <= 0.5 / float(other_rate) + 1e-9
    if (rate, other_rate) != (25, 50):  # there all middles fall on edges
        assert shown_at.sub(now).mean().abs() < 0.2 / float(other_rate)  # nor is it late or early on the whole


def test_between_two_frames_the_mark_moves_evenly():
    got = mix_pictures(
        painted(50), swapped(), other=painted(70), rate=25, other_rate=NTSC, between="linear"
    )[0, :, 1, 2, 3]  # fmt: skip
    now = (torch.arange(50).double() + 0.5) / 25
    exact = (now * float(NTSC) - 0.5).clamp(min=0) + 1
    torch.testing.assert_close(got, exact)
    same = torch.randint(256, (2, 9, 3, 4, 5), dtype=torch.uint8, generator=seeded())
    assert torch.equal(mix_pictures(same, plain([0.0, 1.0]), rate=25, between="linear")[0], same[1])


def test_frames_of_any_spacing_are_met_by_their_times():
    own = torch.tensor([0.0, 0.1, 0.5, 0.6])  # shown until 0.1, 0.5, 0.6, 0.7: middles 0.05, 0.3, 0.55, 0.65
    other = torch.tensor([0.04, 0.3, 0.56, 0.58])  # the last until 0.6
    assert partner_frames(4, 4, times=own, other_times=other).tolist() == [0, 1, 1, -1]
    late = torch.tensor([0.2, 0.4])
    assert partner_frames(4, 2, times=own, other_times=late).tolist() == [-1, 0, 1, -1]
    frames, others = painted(4, 2, first=100), torch.stack([painted(4)[0], painted(4, first=10)[0]])
    times, other_times = own.expand(2, 4), torch.stack([other, own])
    plan = Plan(torch.tensor([0, 1]), torch.zeros(2).double())
    got = mix_pictures(frames, plan, other=others, times=times, other_times=other_times)[:, :, 0, 0, 0]
    assert got.tolist() == [[1, 2, 2, 104], [11, 12, 13, 14]]
    # padding has no times to speak of
    broken = times.clone()
    broken[1, 2:] = float("nan")
    ended = mix_pictures(
        frames, plan, other=others, times=broken, other_times=other_times, lengths=torch.tensor([4, 2])
    )[:, :, 0, 0, 0]
    assert ended.tolist() == [[1, 2, 2, 104], [11, 12, 103, 104]]


def test_behind_the_partners_end_and_in_padding_the_original_stands_alone():
    frames, others = painted(10, 2, first=100), painted(9, 2)
    plan = Plan(torch.tensor([0, 1]), torch.zeros(2).double())
    given = {"lengths": torch.tensor([10, 4]), "other_lengths": torch.tensor([3, 9])}
    got = mix_pictures(frames, plan, other=others, **given)[:, :, 0, 0, 0]
    assert got[0].tolist() == [1, 2, 3, *range(104, 111)]
    assert got[1].tolist() == [1, 2, 3, 4, *range(105, 111)]
    got = mix_pictures(frames, plan, other=others, **given, rate=10, other_rate=5)[:, :, 0, 0, 0]
    assert got[0].tolist() == [1, 1, 2, 2, 3, 3, *range(107, 111)]
    for rates in ({}, {"rate": 25, "other_rate": NTSC}, {"rate": 25, "between": "linear"}):
        none = mix_pictures(frames, plan, other=others, lengths=torch.tensor([0, 10]), **rates)
        assert torch.equal(none[0], frames[0])
        empty = mix_pictures(frames, plan, other=others, other_lengths=torch.tensor([0, 9]), **rates)
        assert torch.equal(empty[0], frames[0])


def test_frames_of_another_size_are_refused_or_resized():
    frames, others = colours([100], size=(6, 10)), colours([200], size=(12, 7))
    plan = plain([0.25], [0])
    with pytest.raises(ValueError, match=r"other must be pictures of 6 x 10 pixels.*got 12 x 7: size='resize'"):
        mix_pictures(frames, plan, other=others)
    assert (mix_pictures(frames, plan, other=others, size="resize") == 175).all()
    ramp = torch.linspace(0, 1, 40)[:, None].expand(40, 30)[None, None, None].double()
    got = mix_pictures(torch.zeros(1, 1, 1, 10, 20).double(), plain([0.0], [0]), other=ramp, size="resize")
    assert got.shape == (1, 1, 1, 10, 20)
    assert (got[0, 0, 0].diff(dim=0) > 0).all()
    assert (got[0, 0, 0].diff(dim=1).abs() < 1e-9).all()
    lines = torch.zeros(1, 1, 1, 40, 40)
    lines[..., ::4, :] = 100  # a quarter of the rows; without a filter they fall between the samples
    got = mix_pictures(torch.zeros(1, 1, 1, 10, 10), plain([0.0], [0]), other=lines, size="resize")
    torch.testing.assert_close(got[..., 1:-1, :], torch.full((1, 1, 1, 8, 10), 25.0), atol=8, rtol=0)


def test_gradients_flow_to_both():
    frames, other = noise(2, 3, 1, 4, 5).double().requires_grad_(), noise(2, 4, 1, 4, 5).double().requires_grad_()
    plan = AVMix(mode="box", alpha=1.0)(noise(2, 1, 60), other=noise(2, 1, 60), generator=seeded(1)).plans[0]
    for one in (plan, plain([0.3, 0.6])):
        mixed = mix_pictures(frames, one, other=other, rate=25, other_rate=30)
        own, theirs = torch.autograd.grad(mixed.sum(), (frames, other))
        assert own.abs().sum() > 0
        assert theirs.abs().sum() > 0
        torch.testing.assert_close(own.sum() + theirs.sum(), torch.tensor(120.0).double())  # every pixel has a share
    with pytest.raises(ValueError, match="out must be None where a gradient is needed"):
        mix_pictures(frames, plan, other=other, out=torch.empty(2, 3, 1, 4, 5).double())


def test_out_is_written_and_is_memory_of_its_own():
    frames = torch.randint(256, (2, 3, 3, 4, 5), dtype=torch.uint8, generator=seeded())
    out = torch.zeros_like(frames)
    assert mix_pictures(frames, plain([0.2, 0.4]), out=out) is out
    assert torch.equal(out, mix_pictures(frames, plain([0.2, 0.4])))
    with pytest.raises(ValueError, match="out must be memory of its own"):
        mix_pictures(frames, plain([0.2, 0.4]), out=frames)


def test_long_clips_are_mixed_in_pieces_as_a_whole(monkeypatch):
    frames = noise(2, 23, 3, 4, 5)
    whole = mix_pictures(frames, plain([0.2, 0.4]), rate=25)
    monkeypatch.setattr("audiomix.targets.pictures._BLOCK", 200)
    assert torch.equal(mix_pictures(frames, plain([0.2, 0.4]), rate=25), whole)


def test_plans_of_other_mixers_mix_pictures_too():
    wave, frames = noise(4, 1, 1000), colours([0, 1, 2, 3], frames=20, dtype=torch.float64)
    plan = MixUp(gain_law="sqrt")(wave, generator=seeded()).plans[0]
    got = mix_pictures(frames, plan)
    torch.testing.assert_close(got[:, 0, 0, 0, 0], plan.weight * torch.arange(4) + (1 - plan.weight) * plan.partner)
    mixed = CutMix()(wave, generator=seeded())
    got = mix_pictures(frames, mixed.plans[0])[:, :, 0, 0, 0]
    for i in range(4):
        cut = (got[i] != i).double().mean()
        assert abs(float(cut) - float((mixed.x[i] != wave[i]).double().mean())) <= 1 / 20


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"frames": torch.zeros(4, 3, 5, 6)}, ValueError, r"frames must be frames \(B, N, C, H, W\).*frames\[None\]"),
        ({"frames": torch.zeros(2, 4, 3, 5, 6).long()}, TypeError, "frames must be uint8 or floating point"),
        ({"frames": torch.zeros(3, 4, 3, 5, 6)}, ValueError, "frames must be of 2 items"),
        ({"plan": 3}, TypeError, r"plan must be a Plan \(Mixed.plans\[0\]\), got int"),
        ({"rate": 0}, ValueError, r"rate must be frames per second in \[0.01, 1000\], got 0"),
        ({"rate": 16000}, ValueError, r"the sampling rate of the sound\?"),
        ({"other_rate": 25}, ValueError, "other must be given with other_rate"),
        ({"other": torch.zeros(2, 4, 3, 5, 6), "other_rate": 25}, ValueError, "rate must be given with other_rate"),
        ({"other": torch.zeros(2, 4, 3, 5, 6).double()}, ValueError, r"other must be torch.float32 on cpu"),
        ({"other": torch.zeros(2, 4, 1, 5, 6)}, ValueError, "other must be of 3 colour channels"),
        ({"other": torch.zeros(1, 4, 3, 5, 6)}, ValueError, r"plan.partner must be in 0..0, got 1: was it drawn"),
        ({"times": torch.arange(3)}, ValueError, r"times must be of shape \(4,\) or \(2, 4\)"),
        ({"times": torch.tensor([0, 2, 1, 3])}, ValueError, "times must be seconds that grow from frame to frame"),
        ({"times": torch.tensor([0, 1, 2, math.nan])}, ValueError, "times must be finite"),
        ({"lengths": torch.tensor([5, 1])}, ValueError, r"lengths must be within \[0, 4\]"),
        ({"between": "nearest"}, ValueError, "between must be one of hold, linear"),
        ({"size": "scale"}, ValueError, "size must be one of same, resize"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, message):
    call = {"frames": torch.zeros(2, 4, 3, 5, 6), "plan": plain([0.5, 0.5]), **arguments}
    with pytest.raises(error, match=message):
        mix_pictures(call.pop("frames"), call.pop("plan"), **call)
