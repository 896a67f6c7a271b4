"""SpecAugment, judged from which bins changed."""

import pytest
import torch
from sounds import noise, seeded

from audiomix import Mixed, OneOf, Plan, SpecAugment, StripePlan, spec_augment

WIDE = {"time_width": 20, "time_limit": 1.0, "freq_width": 6}


def spectrogram(clips=6, bins=16, frames=90, seed=1):
    return noise(clips, 1, bins, frames, seed=seed) - 50


def stripes_of(hidden):
    """Return which frames and which bins of one clip (F, N) are hidden altogether."""
    return hidden.all(0), hidden.all(1)


def widths(row):
    edges = torch.diff(torch.cat([torch.zeros(1), row.float(), torch.zeros(1)]))
    return ((edges < 0).nonzero() - (edges > 0).nonzero()).flatten().tolist()


@pytest.mark.parametrize("grad", [False, True])
def test_stripes_are_whole_rows_and_columns_of_the_valid_part(grad):
    """SpeechBrain draws places over the padded length: short clips then lose padding and nothing else."""
    x = spectrogram(200).requires_grad_(grad)
    lengths = torch.arange(200) % 90 + 1
    masked = SpecAugment(fill=7.0, **WIDE)(x, lengths=lengths, generator=seeded())
    hidden = (masked.x == 7).detach()[:, 0]
    covered = 0
    for i, end in enumerate(lengths.tolist()):
        frames, bins = stripes_of(hidden[i, :, :end])
        assert torch.equal(hidden[i, :, :end], frames | bins[:, None]), "stripes alone"
        assert torch.equal(masked.x[i, ..., end:], x[i, ..., end:])
        assert sum(widths(frames)) <= 2 * min(20, end) or bins.all()
        covered += int(frames.any())
    assert torch.equal(masked.x[~(masked.x == 7)], x[~(masked.x == 7)])
    assert covered > 150  # of 200: a stripe in short clips as in long ones


def test_widths_and_starts_are_uniform_and_drawn_for_each_clip():
    one = SpecAugment(time_masks=1, time_width=9, time_limit=1.0, freq_masks=0, fill=7.0)
    hidden = (one(spectrogram(5000, 4, 50), generator=seeded()).x == 7)[:, 0, 0]
    width, start = hidden.sum(1), hidden.int().argmax(1)
    counts = torch.bincount(width, minlength=10)
    assert len(counts) == 10  # 0..9, both ends
    assert float(((counts - 500.0) ** 2 / 500).sum()) < 33.7  # 9 degrees of freedom, 99.99 %
    starts = torch.bincount(start[width == 5], minlength=46).double()
    assert len(starts) == 46
    assert (starts > 0).all()  # both ends: about 11 each
    expected = starts.sum() / 46
    assert float(((starts - expected) ** 2 / expected).sum()) < 90.0  # 45 degrees of freedom, 99.99 % below 88


def test_widths_and_numbers_follow_the_length():
    """As in the paper of 2020: floor(.04 T) masks, at most 20, of up to floor(.04 T) frames."""
    adaptive = SpecAugment(time_masks=0.04, time_width=0.04, time_limit=1.0, freq_masks=0)
    lengths = torch.tensor([1000, 100, 24, 25, 200])
    plan = adaptive(spectrogram(5, 4, 1000), lengths=lengths, generator=seeded(2)).plans[0]
    spans, _, _ = plan.edges(4, 1000)
    wide = spans[..., 1] - spans[..., 0]
    assert wide.shape == (5, 20)  # 40 would be more than 20
    for row, length, number in zip(wide, lengths.tolist(), (20, 4, 0, 1, 8)):
        assert int(row.max()) <= int(0.04 * length)
        assert (row[number:] == 0).all()
    limited = SpecAugment(time_width=64, time_limit=0.2, freq_masks=0)(spectrogram(50, 4, 1000), generator=seeded())
    short = SpecAugment(time_width=64, time_limit=0.2, freq_masks=0)(
        spectrogram(50, 4, 1000), lengths=torch.full((50,), 40), generator=seeded()
    )
    for mixed, most in ((limited, 64), (short, 8)):
        spans, _, _ = mixed.plans[0].edges(4, 1000)
        assert int((spans[..., 1] - spans[..., 0]).max()) == most


@pytest.mark.parametrize("grad", [False, True])
def test_mean_is_the_clips_own_over_its_valid_part(grad):
    """torchaudio fills with the mean of the whole batch, padding included."""
    x = spectrogram(4) + 10 * torch.arange(4.0)[:, None, None, None]
    lengths = torch.tensor([90, 45, 10, 90])
    loud = x.clone()
    for i, end in enumerate(lengths.tolist()):
        loud[i, ..., end:] = 1e6
    masked = SpecAugment(fill="mean", **WIDE)(loud.requires_grad_(grad), lengths=lengths, generator=seeded(1))
    for i, end in enumerate(lengths.tolist()):
        changed = (masked.x != loud)[i, ..., :end]
        assert changed.any()
        torch.testing.assert_close(
            masked.x[i, ..., :end][changed], x[i, ..., :end].mean().expand(int(changed.sum())), atol=1e-4, rtol=0
        )


@pytest.mark.parametrize("kind", ["mix", "cut"])
@pytest.mark.parametrize("grad", [False, True])
def test_the_partner_stands_in_the_stripes(kind, grad):
    x = spectrogram(8).requires_grad_(grad)
    labels = torch.arange(8)
    mixed = SpecAugment(kind, num_classes=8, **WIDE)(x, labels, generator=seeded())
    plan = mixed.plans[0]
    assert torch.equal(mixed.target, torch.eye(8)), "the label is kept"
    for i in range(8):
        partner = int(plan.partner[i])
        assert partner != i
        assert plan.sources(i) == [partner]
        changed = (mixed.x[i] != x[i])[0]
        expected = x[partner] if kind == "cut" else (x[i] + x[partner]) / 2
        torch.testing.assert_close(mixed.x[i, 0][changed], expected[0][changed])
        frames, bins = stripes_of(changed)
        assert torch.equal(changed, frames | bins[:, None])
        assert 0 < changed.float().mean() < 1


def test_where_stripes_cross_a_partner_is_mixed_once():
    half = torch.tensor([[[0.0, 0.5]]] * 2).double()
    plan = StripePlan(
        torch.tensor([1, 0]), torch.ones(2).double(), spans=half, bands=half, valid=torch.ones(2).double(), kind="mix"
    )
    x = torch.stack([torch.zeros(4, 8), torch.ones(4, 8)])
    for given in (x, x.clone().requires_grad_()):
        mixed = spec_augment(given, plan).detach()
        assert mixed[0].unique().tolist() == [0.0, 0.5]
        assert (mixed[0, :2] == 0.5).all()
        assert (mixed[0, :, :4] == 0.5).all()


@pytest.mark.parametrize("kind", ["mix", "cut"])
def test_a_partner_is_heard_where_both_are_valid(kind):
    x = spectrogram(40)
    lengths = torch.arange(40) % 80 + 5
    for i, end in enumerate(lengths.tolist()):
        x[i, ..., end:] = 1e6
    mixed = SpecAugment(kind, **WIDE)(x, lengths=lengths, generator=seeded())
    for i, end in enumerate(lengths.tolist()):
        assert (mixed.x[i, ..., :end] < 1e5).all()
        both = min(end, int(lengths[mixed.plans[0].partner[i]]))
        assert torch.equal(mixed.x[i, ..., both:], x[i, ..., both:])
    second = spectrogram(3, frames=30, seed=5)
    mixed = SpecAugment(kind, **WIDE)(spectrogram(6), other=second, generator=seeded())
    assert torch.equal(mixed.x[..., 30:], spectrogram(6)[..., 30:])
    assert not torch.equal(mixed.x, spectrogram(6))


def test_a_choice_of_kinds_and_pairings():
    x, labels = spectrogram(12), torch.arange(12) % 2
    one = OneOf([SpecAugment(fill=7.0, **WIDE), SpecAugment("cut", pairing="same_class", **WIDE)], per="clip")
    mixed = one.replace(num_classes=2)(x, labels, generator=seeded())
    plan = mixed.plans[0]
    assert torch.equal(mixed.target, torch.eye(2)[labels])
    for i, choice in enumerate(plan.choice.tolist()):
        assert bool((mixed.x[i] == 7).any()) == (choice == 0)
        assert all(labels[j] == labels[i] for j in plan.sources(i))


def test_bad_input():
    plan = SpecAugment(**WIDE)(spectrogram(3), lengths=torch.tensor([0, 90, 1]), generator=seeded()).plans[0]
    assert plan.why == ("no valid frames", "", "")
    assert not plan.mixed[0]
    alone = SpecAugment("mix", **WIDE)(spectrogram(1), generator=seeded())
    assert torch.equal(alone.x, spectrogram(1))
    assert "without a partner" in alone.plans[0].why[0]
    with pytest.raises(ValueError, match="freq_width must be at most the 16 bins of x, got 27"):
        SpecAugment(freq_width=27)(spectrogram())
    with pytest.raises(ValueError, match="x must be spectrograms .* a waveform"):
        SpecAugment()(noise(4, 1, 1000))
    with pytest.raises(ValueError, match="time_width must be a whole number, or a share below 1"):
        SpecAugment(time_width=2.5)
    with pytest.raises(ValueError, match="fill must be left out unless kind='mask'"):
        SpecAugment("cut", fill="mean")
    with pytest.raises(ValueError, match="plan must be of kind 'cut'"):
        SpecAugment("cut", **WIDE)(spectrogram(3), plan=plan)
    cut = SpecAugment("cut", **WIDE)
    drawn = cut(spectrogram(6), other=spectrogram(9, seed=3), generator=seeded()).plans[0]
    with pytest.raises(ValueError, match=r"plan.partner must be in 0\.\.2"):
        cut(spectrogram(6), other=spectrogram(3), plan=drawn)
    choice = OneOf([cut, SpecAugment(**WIDE)], per="clip")
    drawn = choice(spectrogram(6), other=spectrogram(9, seed=3), generator=seeded()).plans[0]
    with pytest.raises(ValueError, match=r"plan.partner must be in 0\.\.2"):  # before, an IndexError of NumPy
        choice(spectrogram(6), other=spectrogram(3), plan=drawn)
    spans, valid = torch.tensor([[[0.5, 1.0]]]).double(), torch.tensor([0.75]).double()
    with pytest.raises(ValueError, match=r"spans must be within valid, got \[1.0\] of \[0.75\]"):
        StripePlan.of(1, spans=spans, bands=torch.zeros(1, 1, 2).double(), valid=valid)
    none = SpecAugment(time_masks=0, freq_masks=0)(spectrogram(2))
    assert isinstance(none, Mixed)
    assert torch.equal(none.x, spectrogram(2))
    assert Plan.from_json(none.plans[0].to_json()).spans.shape == (2, 1, 2)
    silent = torch.zeros(2, 1, 16, 90, requires_grad=True)
    SpecAugment(fill="mean", **WIDE)(silent).x.sum().backward()
    assert silent.grad.isfinite().all()
