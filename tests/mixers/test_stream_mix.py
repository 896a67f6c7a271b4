"""Stream mixing, judged from the frames that come back, never from the plan that made them."""

import math

import pytest
import torch
from mixers.frames import MODES, frames_of, least_squares, runs, streams
from scipy import stats
from sounds import noise, seeded

from audiomix import StreamMix


@pytest.mark.parametrize("w", [0.0, 0.3, 0.75, 1.0])
def test_linear_holds_both_streams_at_the_weight(w):
    v, a = streams()
    mixed = StreamMix(w)(v, other=a)
    for i in range(6):
        found = least_squares(mixed.x[i], v[i], a[i])
        torch.testing.assert_close(found, torch.tensor([w, 1 - w]).double(), atol=1e-6, rtol=0)
        assert mixed.plans[0].weight[i].item() == pytest.approx(w, abs=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_zero_and_one_are_the_streams_to_the_bit(mode):
    v, a = streams()
    assert torch.equal(StreamMix(1, mode=mode)(v, other=a).x, v)
    assert torch.equal(StreamMix(0, mode=mode)(v, other=a).x, a)
    assert torch.equal(StreamMix(0.5, mode=mode)(v, other=v).x, v), "identical streams"


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_even_the_sign_of_a_zero_is_kept(mode, grad):
    zeros, ones = torch.full((2, 5, 3), -0.0), torch.ones(2, 5, 3)
    for w, x, sound in ((1, zeros, ones), (0, ones, zeros)):
        mixed = StreamMix(w, mode=mode)(x.clone().requires_grad_(grad), other=sound).x.detach()
        assert torch.equal(mixed.view(torch.int32), zeros.view(torch.int32))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_turned_strided_and_followed_batches_are_mixed_alike(mode, dtype):
    """With a gradient other code mixes than without."""
    v, a = (s.to(dtype) for s in streams(3, 60, 8, 59))
    lengths = {"lengths": torch.tensor([60, 0, 31]), "other_lengths": torch.tensor([59, 0, 31])}
    for sound, given in ((a, lengths), (a, {}), (torch.cat([a, a[:, :1]], 1), {})):
        mixer = StreamMix(0.3, mode=mode)
        x, _, (plan,), _ = mixer(v, other=sound, generator=seeded(3), **given)
        again = [mixer(v.clone().requires_grad_(), other=sound, plan=plan, **given).x.detach()]
        turned = v.transpose(1, 2).contiguous().transpose(1, 2)
        again.append(mixer(turned, other=sound, plan=plan, **given).x)
        strided = torch.empty(3, 8, 60, dtype=dtype).transpose(1, 2)
        again.append(mixer(v, other=sound, plan=plan, out=strided, **given).x)
        assert all(torch.equal(x, other) for other in again)


@pytest.mark.parametrize("w", [0.1, 0.5, 0.83])
def test_replace_takes_exactly_the_share_of_frames(w):
    v, a = streams(40, 61)
    lengths = 61 - torch.arange(40)
    mixed = StreamMix(w, mode="replace")(v, other=a, lengths=lengths, other_lengths=lengths, generator=seeded())
    taken = frames_of(mixed.x, v, a)
    for i, n in enumerate(lengths.tolist()):
        assert not taken[i, n:].any()
        assert int(taken[i].sum()) == round((1 - w) * n)
        assert mixed.plans[0].weight[i].item() == pytest.approx(1 - int(taken[i].sum()) / n, abs=1e-12)


def test_replaced_frames_are_uniform_and_independent_of_each_other():
    v, a = streams(2000, 20, 2)
    for exact, spread in ((True, 0.0), (False, math.sqrt(20 * 0.3 * 0.7))):
        mixed = StreamMix(0.7, mode="replace", exact=exact)(v, other=a, generator=seeded())
        taken = frames_of(mixed.x, v, a).double()
        # 2000 draws of probability 0.3 at each place; four standard deviations and a half for twenty places
        assert (taken.mean(0) - 0.3).abs().max() < 4.5 * math.sqrt(0.21 / 2000)
        assert taken.sum(1).std().item() == pytest.approx(spread, rel=0.1)
        torch.testing.assert_close(mixed.plans[0].weight, 1 - taken.mean(1))
        assert len(taken.unique(dim=0)) > 1000


@pytest.mark.parametrize(("w", "seconds"), [(0.5, 0.4), (0.22, 0.2), (0.9, 1.0)])
def test_spans_are_pieces_of_their_length_until_the_share_is_met(w, seconds):
    v, a = streams(60, 97)
    lengths = 97 - torch.arange(60) // 2
    mixer = StreamMix(w, mode="span", span=seconds, rate=25)
    mixed = mixer(v, other=a, lengths=lengths, other_lengths=lengths, generator=seeded())
    taken, piece = frames_of(mixed.x, v, a), round(seconds * 25)
    short = set()
    for i, n in enumerate(lengths.tolist()):
        count = round((1 - w) * n)
        assert int(taken[i].sum()) == count
        assert not taken[i, n:].any()
        found = runs(taken[i])
        assert len(found) <= math.ceil(count / piece)
        # pieces may touch, and one is shorter: every other run is whole pieces
        odd = [r % piece for r in found if r % piece]
        assert odd in ([], [count % piece])
        if odd:
            short.add(found.index(next(r for r in found if r % piece)))
        assert mixed.plans[0].weight[i].item() == pytest.approx(1 - count / n, abs=1e-12)
    if w == 0.5:
        assert len(short) > 1, "the short piece is not always at the same place"


def test_spans_lie_anywhere():
    """One piece of 10 frames among 40: 31 starts, equally likely."""
    v, a = streams(3000, 40, 2)
    mixed = StreamMix(0.75, mode="span", span=0.4)(v, other=a, generator=seeded())
    starts = frames_of(mixed.x, v, a).double().argmax(1)
    counts = torch.bincount(starts, minlength=31)
    assert len(counts) == 31
    assert stats.chisquare(counts.numpy()).pvalue > 1e-4


@pytest.mark.parametrize("mode", MODES)
def test_padding_is_never_mixed_in(mode):
    v, a = streams(4, 60)
    lengths, sounding = torch.tensor([60, 31, 1, 0]), torch.tensor([60, 30, 2, 0])
    quiet = StreamMix(0.4, mode=mode)(v, other=a, lengths=lengths, other_lengths=sounding, generator=seeded())
    loud_v, loud_a = v.clone(), a.clone()
    for i in range(4):
        loud_v[i, lengths[i] :] = torch.nan
        loud_a[i, sounding[i] :] = torch.inf
    got = StreamMix(0.4, mode=mode)(loud_v, other=loud_a, lengths=lengths, other_lengths=sounding, generator=seeded())
    for i in range(4):
        assert torch.equal(got.x[i, : lengths[i]], quiet.x[i, : lengths[i]])
        assert got.x[i, lengths[i] :].isnan().all()
        assert torch.equal(quiet.x[i, lengths[i] :], v[i, lengths[i] :])
    assert torch.equal(got.lengths, lengths)
    assert got.plans[0].weight[3] == 1


def test_behind_a_shorter_sound_the_picture_is_alone_and_the_weight_knows():
    v, a = streams(3, 100, sound_frames=98)
    mixed = StreamMix(0.4)(v, other=a)
    assert torch.equal(mixed.x[:, 98:], v[:, 98:])
    torch.testing.assert_close(mixed.x[:, :98], 0.4 * v[:, :98] + 0.6 * a)
    assert mixed.plans[0].weight[0].item() == pytest.approx((0.4 * 98 + 2) / 100)
    all_sound = StreamMix(0, mode="replace")(v, other=a)
    assert torch.equal(all_sound.x[:, :98], a)
    assert all_sound.plans[0].weight[0].item() == pytest.approx(0.02)
    longer = noise(3, 102, 7, seed=3)
    assert torch.equal(StreamMix(0)(v, other=longer).x, longer[:, :100])


def test_rates_are_aligned_by_time():
    """A sinusoid of the same second is in both streams at 25 and 100 frames/s: mixing them leaves it."""
    t, u = ((torch.arange(n, dtype=torch.float64) + 0.5) / rate for n, rate in ((100, 25), (400, 100)))
    v, a = (torch.sin(2 * math.pi * x)[None, :, None].expand(2, -1, 3).clone() for x in (t, u))
    mixed = StreamMix(0.5, other_rate=100)(v, other=a)
    assert (mixed.x - v).abs().max() < (2 * math.pi / 100) ** 2 / 8
    shifted = StreamMix(0.5, other_rate=100)(v, other=a.roll(2, 1))  # 20 ms: half a frame is seen
    assert (shifted.x - v).abs().max() > 0.05
    slow = StreamMix(0.5, rate=100, other_rate=25)(a, other=v)
    assert (slow.x - a)[:, 2:-2].abs().max() < 0.5 * (2 * math.pi / 25) ** 2 / 8 * 1.01


def test_stacked_frames_are_mixed_at_their_time():
    v, a = torch.zeros(1, 50, 12), torch.zeros(1, 200, 3)
    a[0, 4 * 17 + 2, 1] = 1
    mixed = StreamMix(0.25, other_rate=100, align="stack")(v, other=a)
    assert mixed.x.nonzero().tolist() == [[0, 17, 2 * 3 + 1]]
    assert mixed.x[0, 17, 7].item() == 0.75
    # 198 frames: half of the last stack is missing, its centre is not within
    cut = StreamMix(0, other_rate=100, align="stack")(v + 5, other=a[:, :198])
    assert (cut.x[0, 49] == 5).all()
    assert cut.plans[0].weight[0].item() == pytest.approx(1 / 50)
    assert (StreamMix(0, other_rate=100, align="stack")(v + 5, other=a[:, :199]).x[0, 49] == 0).all()
