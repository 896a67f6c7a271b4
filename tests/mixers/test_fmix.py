"""FMix: the share of the mask is the share that was given, and masks are what the equation says."""

import math

import pytest
import torch
from scipy import stats
from sounds import noise, seeded

from audiomix import Clips, FMix, cut_field, draw_field


@pytest.mark.parametrize("cells", [(1, 256), (12, 31)])
def test_the_share_of_the_mask_is_the_share_that_was_given(cells):
    """A reference draws another share for the mask than the one it is given (up to 0.70 off)."""
    share = torch.linspace(0, 1, 101, dtype=torch.float64)
    field = draw_field(101, cells, generator=seeded())
    mask = cut_field(field, share)
    assert mask.dtype == torch.uint8
    assert set(mask.unique().tolist()) == {0, 1}
    assert ((mask.double().mean((1, 2)) - share).abs() <= 1 / math.prod(cells)).all()
    assert mask[0].sum() == 0
    assert mask[-1].all()
    for one, values in zip(mask[1:-1], field[1:-1]):  # by rank: what is kept lies above all that is not
        assert values[one == 1].min() > values[one == 0].max()


def test_masks_over_time_may_have_many_pieces():
    """With noise along the wrong axis, as in the authors' code, every mask is one segment of the circle."""
    half = torch.full((200,), 0.5, dtype=torch.float64)
    count = {}
    for decay in (1.0, 1.5, 2.0, 3.0):
        mask = cut_field(draw_field(200, (1, 1000), decay=decay, generator=seeded()), half)[:, 0].int()
        count[decay] = (mask != mask.roll(1, 1)).sum(1).double().mean().item()
    # measured on 1000 cells: 35.5, 3.2 and 2.08 transitions of the circle for 1, 2 and 3
    assert count[1.0] == pytest.approx(35.5, rel=0.1)
    assert count[2.0] == pytest.approx(3.2, rel=0.1)
    assert count[3.0] == pytest.approx(2.08, rel=0.03)
    assert 5 < count[1.5] < 15


def test_shapes_in_two_dimensions_have_energy_at_all_frequencies():
    """With the wrong axis the spectrum has two columns: the rest is exactly 0."""
    field = draw_field(50, (32, 64), decay=3.0, generator=seeded())
    spectrum = torch.fft.rfft2(field).abs().square().mean(0)
    assert (spectrum > 0).all()
    frequency = torch.hypot(torch.fft.fftfreq(32)[:, None], torch.fft.rfftfreq(64)).clamp(min=1 / 64).double()
    inner = (slice(1, 16), slice(1, 32))  # power falls with twice the decay: least squares in the logarithms
    slope = stats.linregress(frequency[inner].log().flatten(), spectrum[inner].log().flatten()).slope
    assert slope == pytest.approx(-6, abs=0.1)


def test_aspect_makes_shapes_longer_in_time():
    def steps(aspect):
        field = draw_field(100, (32, 32), aspect=aspect, generator=seeded())
        mask = cut_field(field, torch.full((100,), 0.5, dtype=torch.float64)).int()
        return (mask.diff(dim=2) != 0).sum() / (mask.diff(dim=1) != 0).sum()

    assert steps(1.0) == pytest.approx(1, abs=0.1)
    assert steps(3.0) < 0.5
    assert steps(1 / 3) > 2


@pytest.mark.parametrize(("mixer", "shape"), [(FMix(), (4000, 1, 1000)), (FMix("time_freq"), (2000, 1, 24, 37))])
def test_the_mean_weight_is_what_was_drawn(mixer, shape):
    """Beta(1, 1) is uniform, and the rounding to cells has no bias."""
    weight = mixer(noise(*shape), generator=seeded()).plans[0].weight
    assert weight.mean().item() == pytest.approx(0.5, abs=4 * (1 / 12 / shape[0]) ** 0.5)
    # the cells' rounding is at most one cell; the statistic of n uniform numbers is below 1.95 / sqrt(n) in 99.9 %
    assert stats.kstest(weight.numpy(), "uniform").statistic < 1.95 / shape[0] ** 0.5 + 1 / 256


def test_rounding_to_few_cells_has_no_bias():
    share = torch.full((20000,), 0.3, dtype=torch.float64)
    field, places = draw_field(20000, (1, 4), generator=seeded()), torch.rand(20000, generator=seeded(1)).double()
    kept = cut_field(field, share, None, places).double().mean((1, 2))
    assert set(kept.tolist()) == {0.25, 0.5}
    assert kept.mean().item() == pytest.approx(0.3, abs=4 * 0.1 / 20000**0.5)


@pytest.mark.parametrize("kind", ["time", "time_freq"])
def test_the_weight_is_the_share_kept_where_clips_have_lengths(kind):
    spec, other = noise(40, 1, 24, 93), noise(30, 1, 24, 80, seed=2)
    lengths, others = torch.randint(1, 94, (40,), generator=seeded()), torch.randint(0, 81, (30,), generator=seeded(1))
    for given in ({}, {"lengths": lengths}, {"lengths": lengths, "other": other, "other_lengths": others}):
        mixed = FMix(kind)(spec, generator=seeded(), **given)
        (plan,), source = mixed.plans, given.get("other", spec)
        for i, j in enumerate(plan.partner.tolist()):
            end = int(lengths[i]) if "lengths" in given else 93
            theirs = int(others[j]) if "other" in given else int(lengths[j]) if "lengths" in given else 93
            cut = mixed.x[i, 0] != spec[i, 0]
            assert not cut[:, min(end, theirs) :].any()
            cut_there = cut[:, : source.shape[-1]]
            assert torch.equal(mixed.x[i, 0, :, : source.shape[-1]][cut_there], source[j, 0, :, :93][cut_there])
            assert 1 - cut[:, :end].double().mean().item() == pytest.approx(plan.weight[i].item(), abs=1e-9)


def test_the_share_that_was_drawn_is_kept_of_what_is_valid():
    """Of a clip of half the axis a share of 0.5 is half of that half, to a cell."""
    wave, lengths = noise(300, 1, 1024), torch.full((300,), 512)
    plan = FMix(alpha=1e6, cells=64)(wave, lengths=lengths, generator=seeded()).plans[0]
    assert ((plan.weight - 0.5).abs() <= 1 / 32 + 0.01).all()
    assert plan.weight.mean().item() == pytest.approx(0.5, abs=0.002)


def test_a_soft_mask_is_a_ramp_with_the_same_mean():
    spec = torch.ones(60, 1, 16, 20, dtype=torch.float64)
    mixer = FMix("time_freq", soft=0.2)
    kept = mixer(spec, other=0 * spec, generator=seeded())
    plan, hard = kept.plans[0], FMix("time_freq")(spec, other=0 * spec, generator=seeded()).plans[0]
    assert ((plan.weight - hard.weight).abs() <= 1 / 320 + 1e-4).all()  # the same shares, drawn alike
    torch.testing.assert_close(kept.x.mean((1, 2, 3)), plan.weight, atol=1e-6, rtol=0)
    for i in range(60):
        between = ((kept.x[i] > 1e-3) & (kept.x[i] < 1 - 1e-3)).double().mean().item()
        least = min(0.2, hard.weight[i].item(), 1 - hard.weight[i].item())
        assert between == pytest.approx(2 * least, abs=4 / 320)


def test_fades_do_not_click():
    wave, other = torch.ones(8, 1, 16000), -torch.ones(8, 1, 16000)
    mixer = FMix(fade=0.005, rate=16000, cells=100)
    mixed = mixer(wave, other=other, generator=seeded())
    assert mixed.x.diff().abs().max() < 2 / 80 * 1.001  # a straight line over 80 samples
    kept = (mixed.x[:, 0].double() + 1) / 2
    torch.testing.assert_close(kept.mean(1), mixed.plans[0].weight, atol=1e-6, rtol=0)
    assert (kept.diff(dim=1) != 0).any(1).all()


def test_what_is_too_short_to_mask_has_a_reason():
    wave, lengths = noise(3, 1, 1000), torch.tensor([1000, 0, 1000])
    plan = FMix()(wave, lengths=lengths, generator=seeded()).plans[0]
    for i, j in enumerate(plan.partner.tolist()):
        if 0 in (int(lengths[i]), int(lengths[j])):
            assert plan.weight[i] == 1
            assert plan.why[i] == "no cell of the mask lies where both clips are"
    tiny = FMix()(noise(6, 1, 2), generator=seeded())  # as many cells as there are samples
    assert set(tiny.plans[0].weight.tolist()) <= {0.0, 0.5, 1.0}


def test_one_plan_masks_a_wave_and_its_frame_labels():
    """User story: events on a time axis keep their labels where they are heard."""
    wave = torch.zeros(4, 1, 16000) + torch.arange(4.0).view(4, 1, 1)
    frames = torch.eye(4)[:, :, None].repeat(1, 1, 250)
    mixed = FMix(cells=50)(wave, frames, generator=seeded())
    heard = mixed.x[:, 0, 32::64].long()
    assert torch.equal(mixed.target.argmax(1), heard)
    assert (heard != torch.arange(4)[:, None]).any()


def test_options_that_make_no_sense_are_named():
    with pytest.raises(ValueError, match="kind must be one of time, time_freq, got 'freq'"):
        FMix("freq")
    with pytest.raises(ValueError, match="cells must be those of kind='time', got .*one number for kind='time'"):
        FMix(cells=(32, 64))
    with pytest.raises(ValueError, match="cells must be at most 16384 in all, got 1 x 20000"):
        FMix(cells=20000)
    with pytest.raises(ValueError, match="fade must be 0 unless rate= is given"):
        FMix(fade=0.005)
    with pytest.raises(ValueError, match="x must be spectrograms .* a waveform"):
        FMix("time_freq")(noise(4, 1, 1000))


def test_draws_are_independent_of_other_clips_cut_positions():
    """One mask for the batch is what references draw: each clip has its own."""
    mask = FMix()(noise(50, 1, 1000), generator=seeded()).plans[0].mask
    assert len({tuple(row.flatten().tolist()) for row in mask}) == 50


def test_clips_of_a_plan_can_be_taken_apart():
    wave = noise(5, 1, 900)
    own = Clips(wave)
    plan = FMix().draw(own, own, generator=seeded())
    some = plan.rows(torch.tensor([3, 1]))
    assert torch.equal(some.mask, plan.mask[[3, 1]])
    assert some.width == plan.width
