"""SMMix, judged from windows that are searched by brute force."""

import pytest
import torch
from sounds import noise, seeded

from audiomix import SMMix
from audiomix.mixers.sm_mix import NO_ATTENTION, NO_WINDOW

BINS, FRAMES, ROWS, COLUMNS = 12, 60, 3, 20  # tokens of 4 bins and 3 frames


def spec(clips=20, frames=FRAMES, seed=1):
    return noise(clips, 1, BINS, frames, seed=seed)


def maps(clips=20, columns=COLUMNS, seed=5):
    return torch.rand(clips, ROWS, columns, generator=seeded(seed))


def windows(plan, i):
    """First token and number of tokens in time of the window, where it comes from, and its rows."""
    start, stop = (plan.span[i] * COLUMNS).round().long().tolist()
    first = int((plan.source_span[i, 0] * COLUMNS).round())
    low, high = (plan.band[i] * ROWS).round().long().tolist()
    return start, stop - start, first, low, high - low


@pytest.mark.parametrize("kind", ["time", "box"])
def test_windows_have_the_least_and_the_most_attention_and_are_copied(kind):
    x, attention = spec(), maps()
    mixed = SMMix(kind)(x, attention=attention, generator=seeded())
    plan = mixed.plans[0]
    for i, j in enumerate(plan.partner.tolist()):
        start, width, first, low, height = windows(plan, i)
        assert height == ROWS if kind == "time" else 1 <= height <= 2
        sums = {
            (f, t): attention[i, f : f + height, t : t + width].double().sum()
            for f in range(ROWS - height + 1)
            for t in range(COLUMNS - width + 1)
        }
        assert sums[low, start] <= min(sums.values()) + 1e-9
        theirs = [attention[j, low : low + height, t : t + width].double().sum() for t in range(COLUMNS - width + 1)]
        assert theirs[first] >= max(theirs) - 1e-9
        wanted = x[i].clone()
        bins, frames = slice(4 * low, 4 * (low + height)), slice(3 * start, 3 * (start + width))
        wanted[:, bins, frames] = x[j, :, bins, 3 * first : 3 * (first + width)]
        assert torch.equal(mixed.x[i], wanted)
        # exactly i_F i_T tokens are replaced
        assert float(plan.weight[i]) == pytest.approx(1 - width * height / (ROWS * COLUMNS))


def test_sides_are_uniform_from_a_quarter_to_three_quarters():
    plan = SMMix()(spec(4000), attention=maps(4000), generator=seeded()).plans[0]
    widths = ((plan.span[:, 1] - plan.span[:, 0]) * COLUMNS).round().long()
    counts = torch.bincount(widths, minlength=16)
    assert counts[:5].sum() == 0
    assert counts.sum() == counts[5:16].sum() == 4000
    assert float(((counts[5:16] - 4000 / 11) ** 2 / (4000 / 11)).sum()) < 35.6  # 10 degrees of freedom, 99.99 %


def test_maps_that_do_not_divide_the_spectrogram_give_whole_frames():
    x = spec()
    for columns in (7, 13, 59, 60):
        mixed = SMMix(num_classes=20)(x, torch.arange(20), attention=maps(columns=columns), generator=seeded())
        plan = mixed.plans[0]
        changed = (mixed.x != x).all(2)[:, 0]
        torch.testing.assert_close(1 - changed.double().mean(1), plan.weight)
        torch.testing.assert_close(mixed.target.diagonal().double(), plan.weight, atol=1e-6, rtol=0)


def test_of_lengths_windows_lie_in_the_valid_tokens_of_both():
    x, lengths = spec(40), torch.randint(0, FRAMES + 1, (40,), generator=seeded())
    attention = maps(40)
    attention[..., -1] = 100.0  # of padding, in almost all clips
    mixed = SMMix()(x, lengths=lengths, attention=attention, generator=seeded())
    plan = mixed.plans[0]
    assert plan.mixed.sum() > 25
    for i, j in enumerate(plan.partner.tolist()):
        cut = (mixed.x[i, 0] != x[i, 0]).all(0)
        assert not cut[int(lengths[i]) :].any()
        assert int((plan.source_span[i, 1] * FRAMES).round()) <= int(lengths[j]) or not plan.mixed[i]
        kept = 1 - int(cut.sum()) / max(int(lengths[i]), 1)
        assert float(plan.weight[i]) == pytest.approx(kept)
        short = min(int(lengths[i]), int(lengths[j])) < 3  # less than a token
        assert plan.why[i] == (NO_WINDOW if short else "")
        assert bool(plan.mixed[i]) != short


def test_partners_of_a_second_batch_of_another_size():
    x, other = spec(), spec(5, 90, seed=3)
    theirs = maps(5, 30, seed=6)
    mixed = SMMix()(x, other=other, attention=maps(), other_attention=theirs, generator=seeded())
    plan = mixed.plans[0]
    for i, j in enumerate(plan.partner.tolist()):
        start, stop = (plan.span[i] * FRAMES).round().long().tolist()
        first, last = (plan.source_span[i] * 90).round().long().tolist()
        assert last - first == stop - start
        assert torch.equal(mixed.x[i, ..., start:stop], other[j, ..., first:last])
        along = theirs[j].sum(0).double()
        sums = [along[t : t + (stop - start) // 3].sum() for t in range(30 - (stop - start) // 3 + 1)]
        assert sums[first // 3] >= max(sums) - 1e-9


def test_frame_labels_follow_the_windows():
    x = spec(6)
    frames = torch.arange(6 * COLUMNS, dtype=torch.float32).view(6, 1, COLUMNS) / 1000
    mixed = SMMix()(x, frames, attention=maps(6), generator=seeded())
    plan = mixed.plans[0]
    for i, j in enumerate(plan.partner.tolist()):
        start, width, first, _, _ = windows(plan, i)
        wanted = frames[i].clone()
        wanted[:, start : start + width] = frames[j, :, first : first + width]
        torch.testing.assert_close(mixed.target[i], wanted)


def test_a_clip_without_attention_says_so():
    attention = maps(6)
    attention[2] = 0
    plan = SMMix()(spec(6), attention=attention, generator=seeded()).plans[0]
    for i, j in enumerate(plan.partner.tolist()):
        assert plan.why[i] == (NO_ATTENTION if 2 in (i, j) else "")
        assert bool(plan.mixed[i]) != (2 in (i, j))
    padded = torch.zeros(6, COLUMNS)
    padded[:, 10:] = 1  # behind the valid part alone
    plan = SMMix()(spec(6), lengths=torch.full((6,), 30), attention=padded, generator=seeded()).plans[0]
    assert set(plan.why) == {NO_ATTENTION}
    even = SMMix()(spec(6), attention=torch.ones(6, ROWS, COLUMNS), generator=seeded()).plans[0]
    assert even.mixed.all()
    assert not SMMix()(spec(6), attention=torch.zeros(6, COLUMNS), generator=seeded()).plans[0].mixed.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_copies_bits(dtype):
    x, attention = spec().to(dtype), maps().to(dtype)
    mixed = SMMix()(x, attention=attention, generator=seeded())
    assert mixed.x.dtype == dtype
    assert torch.equal(mixed.x, SMMix()(x.double(), plan=mixed.plans[0], attention=attention).x.to(dtype))


def test_wrong_arguments():
    x = spec(4)
    cases = [
        ({}, "attention must be given, got None: .* class_attention"),
        ({"attention": torch.ones(3, ROWS, COLUMNS)}, r"attention must be a map .* of 4 clips, got shape \(3, 3, 20\)"),
        ({"attention": torch.ones(4, 2, 61, 61)}, "scores of heads"),
        ({"attention": torch.ones(4, 61)}, "of at most 12 x 60 tokens"),
        ({"attention": torch.ones(4, 20, 3)}, "time before frequency"),
        ({"attention": -torch.ones(4, COLUMNS)}, "attention must be at least 0.*softmax"),
        ({"attention": torch.full((4, COLUMNS), torch.nan)}, "attention must be at least 0"),
        ({"attention": torch.ones(4, COLUMNS), "other": x}, "other_attention must be given"),
        (
            {"attention": torch.ones(4, COLUMNS), "other": x, "other_attention": torch.ones(4, 2, COLUMNS)},
            "other_attention must be of 1 tokens in frequency",
        ),
    ]
    for given, message in cases:
        with pytest.raises(ValueError, match=message):
            SMMix()(x, **given)
    with pytest.raises(ValueError, match="several tokens in frequency for kind='box'"):
        SMMix("box")(x, attention=torch.ones(4, COLUMNS))
    with pytest.raises(ValueError, match="a waveform"):
        SMMix()(noise(4, 1, 100), attention=torch.ones(4, COLUMNS))
    with pytest.raises(ValueError, match="side must be the least, above 0, and then the largest"):
        SMMix(side=(0.75, 0.25))
    with pytest.raises(ValueError, match="side must be two numbers"):
        SMMix(side=0.5)
    plan = SMMix("box")(x, attention=maps(4)).plans[0]
    with pytest.raises(ValueError, match="plan must be of kind 'time'"):
        SMMix()(x, attention=maps(4), plan=plan)
