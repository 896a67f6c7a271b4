"""AVMix: sound, picture and labels of two clips under one plan, judged from samples and pixels."""

import math
from fractions import Fraction

import pytest
import torch
from mixers.two_streams import MODES, spelled
from scipy import stats
from sounds import noise, seeded

from audiomix import Plan
from audiomix.mixers.av import AVMix, AVPlan
from audiomix.targets.correspondence import correspondence
from audiomix.targets.pictures import mix_pictures


def gains(mixed, own, partner):
    """Amplitudes of two streams in a mix, found from the streams alone."""
    sources = torch.stack([own.flatten(), partner.flatten()], 1).double()
    return torch.linalg.lstsq(sources, mixed.flatten().double()[:, None]).solution[:, 0].tolist()


def edges(changed):
    """First and behind the last of what changed, as fractions; it is one piece."""
    where = changed.nonzero().flatten()
    assert len(where) == where[-1] - where[0] + 1
    return float(where[0]) / len(changed), float(where[-1] + 1) / len(changed)


@pytest.mark.parametrize("law", ["amplitude", "unit_power", "sqrt"])
def test_sound_picture_and_label_have_one_share(law):
    wave, frames = noise(6, 2, 3000), noise(6, 4, 3, 9, 7, seed=2)
    mixed = AVMix(gains=law, num_classes=6)(wave, torch.arange(6), generator=seeded())
    pictures = mix_pictures(frames, mixed.plans[0])
    shares = []
    for i in range(6):
        w = float(mixed.target[i, i])
        j = int(mixed.target[i].masked_fill(torch.arange(6) == i, 0).argmax())
        shares.append(w)
        assert gains(pictures[i], frames[i], frames[j]) == pytest.approx([w, 1 - w], abs=1e-5)
        norm = {"amplitude": 1, "unit_power": math.hypot(w, 1 - w)}.get(law)
        expected = [math.sqrt(w), math.sqrt(1 - w)] if norm is None else [w / norm, (1 - w) / norm]
        assert gains(mixed.x[i], wave[i], wave[j]) == pytest.approx(expected, abs=1e-5)
    assert len(set(shares)) == 6
    torch.testing.assert_close(mixed.plans[0].weight.float(), torch.tensor(shares))


def test_shares_follow_beta_10_10_unless_told():
    wave = noise(3000, 1, 2)
    assert stats.kstest(AVMix()(wave, generator=seeded()).plans[0].weight.numpy(), stats.beta(10, 10).cdf).pvalue > 1e-4
    assert stats.kstest(AVMix(2)(wave, generator=seeded()).plans[0].weight.numpy(), stats.beta(2, 2).cdf).pvalue > 1e-4
    assert len(AVMix(per="batch")(wave[:50], generator=seeded()).plans[0].weight.unique()) == 1
    assert torch.equal(AVMix(0)(wave, generator=seeded()).x, wave)


@pytest.mark.parametrize("fps", [25, Fraction(30000, 1001), 30])
@pytest.mark.parametrize("longer", [0.0, 0.7, -0.6])
def test_a_cut_takes_the_same_seconds_of_sound_and_picture(fps, longer):
    """The picture lasts as long as the sound, longer or shorter: it is the seconds that agree."""
    rate, seconds = 1000, 4.0
    frames_in_all = round((seconds + longer) * fps)
    wave, frames = spelled(5, 1, int(rate * seconds)), spelled(5, frames_in_all, 1, 2, 3)
    seen = 0
    for seed in range(12):
        mixed = AVMix(1.0, mode="time", rate=rate, num_classes=5)(wave, torch.arange(5), generator=seeded(seed))
        pictures = mix_pictures(frames, mixed.plans[0], rate=fps)
        for i in range(5):
            changed = mixed.x[i, 0] != i + 1
            assert float(mixed.target[i, i]) == pytest.approx(1 - float(changed.double().mean()), abs=1e-6)
            if not changed.any():
                continue
            start, stop = (seconds * edge for edge in edges(changed))
            shown = pictures[i, :, 0, 0, 0]
            assert set(mixed.x[i, 0][changed].tolist()) | {i + 1.0} >= set(shown.tolist())
            if not (shown != i + 1).any():
                assert stop - start < 1 / fps or start > seconds + longer - 1 / fps
                continue
            low, high = (edge * frames_in_all / float(fps) for edge in edges(shown != i + 1))
            assert abs(low - start) <= 0.5 / fps + 1e-6
            if stop < seconds - 1e-9 and stop < seconds + longer:  # to the sound's end is to the end
                assert abs(high - stop) <= 0.5 / fps + 1e-6
            else:
                assert high == pytest.approx(frames_in_all / float(fps))
            seen += 1
    assert seen > 30


def test_what_lasts_to_the_end_of_the_sound_lasts_to_the_end_of_the_picture():
    wave, frames = noise(2, 1, 1000), spelled(2, 40, 1, 2, 3)  # a second of sound, 1.6 of picture
    plan = AVMix(rate=1000)(wave, generator=seeded()).plans[0]
    shown = mix_pictures(frames, plan, rate=25)[0, :, 0, 0, 0]
    torch.testing.assert_close(shown, (2 - plan.weight[0]).expand(40))
    padded = AVMix(rate=1000)(wave, lengths=torch.tensor([600, 1000]), generator=seeded()).plans[0]
    told = mix_pictures(frames, padded, rate=25, lengths=torch.tensor([18, 40]))[0, :, 0, 0, 0]
    assert (told != 1).tolist() == [True] * 18 + [False] * 22  # 0.6 s of sound, 0.72 s of picture
    guessed = mix_pictures(frames, padded, rate=25)[0, :, 0, 0, 0]
    assert (guessed != 1).tolist() == [True] * 15 + [False] * 25
    short = mix_pictures(frames, padded, rate=25)[1, :, 0, 0, 0]  # its partner's sound ends at 0.6 s
    assert (short != 2).tolist() == [True] * 15 + [False] * 25


def test_a_cut_touches_the_end_as_often_as_the_start():
    x = AVMix(1.0, mode="time")(spelled(2000, 1, 5), generator=seeded()).x[:, 0]
    own = torch.arange(2000) + 1
    start, stop = (int((x[:, edge] != own).sum()) for edge in (0, -1))
    assert start > 500
    assert abs(start - stop) < 4 * math.sqrt(2 * 2000 * 0.25)


@pytest.mark.parametrize(("name", "options"), MODES.items(), ids=MODES)
def test_frame_labels_follow_the_streams_and_clip_labels_are_their_mean(name, options):
    """One-hot sounds and pictures: the mean of what is heard and seen is the label, frame by frame."""
    size, pixels = 1200, (12, 20)
    wave = torch.eye(4).unsqueeze(-1).repeat(1, 1, size).double()
    frames = torch.eye(4).view(4, 1, 4, 1, 1).expand(4, 60, 4, *pixels).double()
    mixer = AVMix(**options)
    if mixer.gains != "amplitude":
        return
    for seed in range(4):
        mixed = mixer(wave, torch.eye(4).double(), generator=seeded(seed))
        plan = mixed.plans[0]
        heard = mixed.x
        seen = mix_pictures(frames, plan).mean((3, 4)).transpose(1, 2)
        both = (heard.mean(-1) + seen.mean(-1)) / 2
        slack = 0.04 if "pixels" not in options and mixer.mode == "box" else 0.02 if mixer.mode == "time" else 1e-6
        torch.testing.assert_close(mixed.target, both, atol=slack, rtol=0)
        labels = mixer.mix_target(torch.eye(4).double()[:, :, None].expand(4, 4, 60), plan)
        frame_by_frame = (heard.unflatten(-1, (60, 20)).mean(-1) + seen) / 2
        inner = (labels - frame_by_frame).abs().amax(1) > slack + 1e-6
        assert (inner.sum(1) <= (2 if mixer.mode == "time" else 0)).all()  # frames across an edge of a cut
        for stream, share in (("sound", heard), ("picture", seen)):
            alone = AVMix(**options, label=stream)
            got = alone(wave, torch.eye(4).double(), generator=seeded(seed))
            assert torch.equal(got.x, mixed.x)
            torch.testing.assert_close(got.target, share.mean(-1), atol=2 * slack, rtol=0)


def test_boxes_have_the_area_of_the_sounds_share():
    height, width = 60, 90
    wave, frames = noise(8, 1, 2000), spelled(8, 1, 1, height, width)
    for seed, pixels in enumerate((None, (height, width)) * 3):
        mixed = AVMix(1.0, mode="box", pixels=pixels, num_classes=8)(wave, torch.arange(8), generator=seeded(seed))
        plan = mixed.plans[0]
        pictures = mix_pictures(frames, plan)[:, 0, 0]
        for i, j in enumerate(plan.partner.tolist()):
            changed = pictures[i] != i + 1
            assert set(pictures[i][changed].tolist()) <= {j + 1.0}
            area = float(changed.double().mean())
            tall, wide = (float(changed.any(d).double().sum()) for d in (1, 0))
            assert area == pytest.approx(tall * wide / (height * width))  # a rectangle
            slack = 1e-9 if pixels else (tall + wide + 1) / (height * width)
            assert area == pytest.approx(1 - float(plan.weight[i]), abs=slack)
            assert abs(tall / height - wide / width) <= 1.01 / height + 1.01 / width
            share = gains(mixed.x[i], wave[i], wave[j])
            assert share == pytest.approx([1 - area, area], abs=slack + 1e-5)
            assert float(mixed.target[i, i]) == pytest.approx(share[0], abs=1e-5)


@pytest.mark.parametrize("pixels", [None, (16, 24)])
@pytest.mark.parametrize("alpha", [1.0, 10.0])
def test_the_mean_area_is_as_drawn_and_boxes_lie_anywhere_within(alpha, pixels):
    """Boxes that are centred and clipped, as in the reference code, are smaller than drawn."""
    count, frames = 4000, spelled(2, 1, 1, 16, 24)
    other = torch.zeros(1, 1, 1, 16, 24).double()
    mixer = AVMix(alpha, mode="box", pixels=pixels)
    plan = mixer(noise(count, 1, 4), other=noise(1, 1, 4), generator=seeded()).plans[0]
    covered = mix_pictures(frames[:1].expand(count, -1, -1, -1, -1), plan, other=other)[:, 0, 0] == 0
    area = covered.double().mean((1, 2))
    assert abs(area.mean() - 0.5) < 4 * area.std() / math.sqrt(count)
    torch.testing.assert_close(area.mean(), 1 - plan.weight.mean(), atol=0.004, rtol=0)
    map_ = covered.double().mean(0)
    torch.testing.assert_close(map_, map_.flip(0), atol=0.06, rtol=0)
    torch.testing.assert_close(map_, map_.flip(1), atol=0.06, rtol=0)


def test_a_swap_puts_the_partners_sound_under_the_originals_picture():
    wave, frames, labels = noise(5, 1, 300), noise(5, 4, 3, 5, 6), torch.arange(5)
    for label, share in (("both", 0.5), ("sound", 0.0), ("picture", 1.0)):
        mixed = AVMix(mode="swap", label=label, num_classes=5)(wave, labels, generator=seeded())
        partner = mixed.plans[0].partner
        assert (partner != labels).all()
        assert torch.equal(mixed.x, wave[partner])
        assert torch.equal(mix_pictures(frames, mixed.plans[0]), frames)
        assert mixed.target[labels, labels].tolist() == [share] * 5
        assert mixed.target[labels, partner].tolist() == [1 - share] * 5
        kept = AVMix(mode="swap", sound="keep", label=label, num_classes=5)(wave, labels, generator=seeded())
        assert torch.equal(kept.x, wave)
        assert torch.equal(mix_pictures(frames, kept.plans[0]), frames[kept.plans[0].partner])
        own = {"both": 0.5, "sound": 1.0, "picture": 0.0}[label]
        assert kept.target[labels, labels].tolist() == [own] * 5
    union = AVMix(mode="swap", rule="union", num_classes=5)(wave, labels, generator=seeded())
    assert union.target.sum(1).tolist() == [2.0] * 5


@pytest.mark.parametrize("name", ["linear", "time", "box", "swap", "picture only"])
def test_a_shorter_partner_counts_for_as_long_as_it_is_there(name):
    size, ends = 1000, torch.tensor([1000, 250, 600])
    # sounds and pictures whose padding would be noticed
    wave = torch.eye(3).unsqueeze(-1).repeat(1, 1, size).double()
    frames = torch.eye(3).view(3, 1, 3, 1, 1).repeat(1, 100, 1, 12, 20).double()
    frame_ends = ends // 10
    for i in range(3):
        wave[i, :, ends[i] :], frames[i, frame_ends[i] :] = 0, 1e6
    options = {**MODES[name], **({"pixels": (12, 20)} if MODES[name].get("mode") == "box" else {})}
    for seed in range(5):
        mixed = AVMix(**options)(wave, torch.eye(3).double(), lengths=ends, generator=seeded(seed))
        plan = mixed.plans[0]
        for lengths in (frame_ends, None):
            seen = mix_pictures(frames, plan, lengths=lengths)
            for i in range(3):
                end = int(frame_ends[i])
                assert seen[i, :end].max() <= 1  # no padding
                assert (seen[i, end:] == 1e6).all()
        for i, j in enumerate(plan.partner.tolist()):
            both = min(int(ends[i]), int(ends[j]))
            assert float(plan.present[i]) <= both / int(ends[i]) + 1e-12
            heard = mixed.x[i, :, : ends[i]].clone()
            heard[:, both:] = torch.eye(3)[i][:, None]  # behind the partner only the original is left
            share = (heard.mean(-1) + seen[i, : frame_ends[i]].mean((0, 2, 3))) / 2
            torch.testing.assert_close(mixed.target[i], share, atol=0.03 if "time" in name else 1e-6, rtol=0)
        assert (wave[0] >= 0).all()
    assert torch.equal(mixed.lengths, ends)


def test_a_partner_without_a_sample_is_not_mixed_in():
    wave, other = noise(3, 1, 100), noise(1, 1, 100)
    for options in MODES.values():
        mixed = AVMix(**options)(wave, other=other, other_lengths=torch.tensor([0]), generator=seeded())
        assert torch.equal(mixed.x, wave)
        assert mixed.plans[0].weight.tolist() == [1.0] * 3
        assert correspondence(mixed.plans[0]).tolist() == [1.0] * 3


@pytest.mark.parametrize(("name", "options"), MODES.items(), ids=MODES)
def test_every_mode_keeps_the_laws(name, options):
    wave = noise(6, 2, 500)
    lengths = torch.tensor([500, 3, 0, 250, 499, 77])
    mixer = AVMix(**options, num_classes=6)
    for given in ({}, {"lengths": lengths}):
        mixed = mixer(wave, torch.arange(6), generator=seeded(2), **given)
        plan = Plan.from_json(mixed.plans[0].to_json())
        assert isinstance(plan, AVPlan)
        again = mixer(wave, torch.arange(6), plan=plan, **given)
        assert torch.equal(mixed.x, again.x)
        assert torch.equal(mixed.target, again.target)
        assert plan.to_json() == mixed.plans[0].to_json()
        assert torch.equal(correspondence(plan), correspondence(mixed.plans[0]))
        frames = noise(6, 20, 3, 5, 6)
        assert torch.equal(mix_pictures(frames, plan, rate=25), mix_pictures(frames, mixed.plans[0], rate=25))
        torch.testing.assert_close(mixed.target.sum(1), torch.ones(6))
        out = torch.full_like(wave, torch.nan)
        assert mixer(wave, plan=plan, out=out, **given).x is out
        torch.testing.assert_close(out, mixed.x)
        if given:  # padding is neither mixed in nor written over by anything but silence
            behind = (torch.arange(500) >= lengths[:, None])[:, None].expand_as(wave)
            loud = mixer(wave.masked_fill(behind, 1e6), plan=plan, **given).x
            assert torch.equal(loud[~behind], mixed.x[~behind])
            assert ((loud[behind] == 0) | (loud[behind] == 1e6)).all()
    half = mixer(wave.half(), generator=seeded())
    exact = mixer(wave.half().double(), plan=half.plans[0]).x
    assert half.x.dtype == torch.float16
    assert ((half.x.double() - exact).abs() <= torch.finfo(torch.float16).eps * exact.abs() + 1e-6).all()
    assert torch.equal(mixer.eval()(wave).x, wave)
    tracked = wave.clone().requires_grad_()
    mixer.train()(tracked, generator=seeded()).x.sum().backward()
    assert tracked.grad.sum() > 0


def test_a_frame_is_the_partners_if_its_middle_is_within_the_cut():
    """Start included, stop excluded: middles of five frames at 0.1, 0.3, 0.5, 0.7, 0.9, a cut from 0.3 to 0.7."""
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    extent = torch.tensor([[0.3, 0.7]], dtype=torch.float64)
    plan = AVPlan.of(
        torch.tensor([1]), 0.6 * one, one, one, extent=extent, valid=one, sound=zero, picture=zero, mode="time"
    )
    assert plan.share(5).tolist() == [[1, 0, 0, 1, 1]]
    assert float(plan.present) == pytest.approx(0.4)
