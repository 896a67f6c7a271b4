"""FilterAugment, judged from the gain of each bin."""

import math

import pytest
import torch
from sounds import noise, seeded

from audiomix import FilterAugment, FilterPlan, filter_augment
from audiomix.audio.features import to_log


def plan_of(edges, level_db, kind):
    return FilterPlan.of(1, edges=torch.tensor([edges]).double(), level_db=torch.tensor([level_db]).double(), kind=kind)


def test_known_curves():
    """Worked out by hand from the reference code's rule: each band of a line begins and ends on a bin."""
    step = plan_of([0.0, 0.3, 0.5, 1.0], [6.0, -6.0, 1.0, 0.0], "step").curve(10)
    assert step[0].tolist() == [6, 6, 6, -6, -6, 1, 1, 1, 1, 1]
    linear = plan_of([0.0, 0.3, 0.5, 1.0], [0.0, 4.0, -2.0, 2.0], "linear").curve(10)
    expected = [0, 2, 4, 4, -2, -2, -1, 0, 1, 2]
    torch.testing.assert_close(linear[0], torch.tensor(expected, dtype=torch.float64))
    fewer = plan_of([0.0, 0.5, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 0.0, 0.0], "step").curve(4)
    assert fewer[0].tolist() == [1, 1, 2, 2]
    narrow = plan_of([0.0, 0.25, 1.0], [5.0, 1.0, 3.0], "linear").curve(4)  # a band of one bin
    assert narrow[0].tolist() == [5, 1, 2, 3]


@pytest.mark.parametrize("lengths", [None, [20, 9]])
@pytest.mark.parametrize("grad", [False, True])
def test_six_decibels_are_the_same_on_every_scale(lengths, grad):
    power = noise(2, 1, 8, 20, seed=3).square() + 0.1
    edges, level = torch.tensor([[0.0, 0.5, 1.0]] * 2).double(), torch.tensor([[6.0, -3.0, 0.0]] * 2).double()
    plan = FilterPlan.of(2, edges=edges, level_db=level, kind="step")
    factor = torch.tensor([10**0.6] * 4 + [10**-0.3] * 4)[:, None]
    lengths = None if lengths is None else torch.tensor(lengths)
    expected = power * factor
    if lengths is not None:
        expected[1, ..., 9:] = power[1, ..., 9:]
    forms = {
        "power": (power, expected),
        "amplitude": (power.sqrt(), expected.sqrt()),
        **{log: (to_log(power, log), to_log(expected, log)) for log in ("db", "log10", "ln")},
    }
    for scale, (x, wanted) in forms.items():
        got = filter_augment(x.clone().requires_grad_(grad), plan, scale=scale, lengths=lengths)
        torch.testing.assert_close(got.detach(), wanted)
    # by hand: + dB on dB, + dB ln 10 / 10 on the natural logarithm of power, x 10^(dB / 20) on amplitudes
    ones = torch.ones(2, 1, 8, 20)
    assert filter_augment(ones, plan)[0, 0, 0, 0] == 7
    assert float(filter_augment(ones, plan, scale="ln")[0, 0, 0, 0]) == pytest.approx(1 + 6 * math.log(10) / 10)
    assert float(filter_augment(ones, plan, scale="amplitude")[0, 0, 0, 0]) == pytest.approx(1.99526, abs=1e-5)
    assert float(filter_augment(ones, plan, scale="power")[0, 0, 0, 0]) == pytest.approx(3.98107, abs=1e-5)
    normalised = filter_augment((to_log(power) + 4.0) / 4.5, plan, std=4.5, lengths=lengths)
    torch.testing.assert_close(normalised, (to_log(expected) + 4.0) / 4.5)


def curves(transform, bins=64, clips=3000, seed=0):
    filtered = transform(torch.zeros(clips, 1, bins, 2), generator=seeded(seed))
    return filtered.x[:, 0, :, 0], filtered.plans[0]


@pytest.mark.parametrize("kind", ["linear", "step"])
def test_bands_are_drawn_for_each_clip(kind):
    """The reference code has one layout for all clips of a batch."""
    (least, most), narrowest = ((3, 5), 6) if kind == "linear" else ((2, 4), 4)
    gain, plan = curves(FilterAugment(kind))
    edges = (plan.edges * 64).round().long()
    numbers = ((edges[:, 1:] - edges[:, :-1]) > 0).sum(1)
    counts = torch.bincount(numbers, minlength=most + 1)
    assert counts[:least].sum() == 0
    expected = 3000 / (most - least + 1)
    assert float(((counts[least:] - expected) ** 2 / expected).sum()) < 18.4  # 2 degrees of freedom, 99.99 %
    assert len(torch.unique(edges, dim=0)) > 1000
    assert all((torch.diff(row.unique()) >= narrowest).all() for row in edges)
    assert gain.abs().max() <= 6
    assert gain.max() > 5.9
    assert gain.min() < -5.9
    assert abs(float(gain.mean())) < 0.15
    if kind == "step":  # judged from the sound
        steps = (gain.diff(dim=1) != 0).sum(1) + 1
        assert torch.equal(steps, numbers)
        # an edge between two bands lies uniformly in 4..60
        lower = edges[numbers == 2, 1].double()
        counts = torch.histc(lower, 19, 3.5, 60.5)
        assert float(((counts - len(lower) / 19) ** 2 / (len(lower) / 19)).sum()) < 51  # 18 degrees, 99.99 %
    else:
        assert (gain.diff(dim=1).abs() <= 12 / 5 + 1e-6).all()  # a line of at least six bins


def test_few_bins():
    """The reference code shrinks bands bin by bin, and draws from an empty range where one bin is missing (17)."""
    for bins, bands in ((18, (3, 3)), (17, (3, 3)), (5, (5, 5)), (4, (7, 9)), (12, (2, 5))):
        for kind in ("linear", "step"):
            gain, plan = curves(FilterAugment(kind, bands=bands, min_width=6), bins, 100)
            edges = (plan.edges * bins).round()
            assert ((edges.diff(dim=1) >= 1).sum(1) <= bins).all()
            assert ((edges.diff(dim=1) >= 1).sum(1) >= min(bands[0], bins)).all()
            assert gain.abs().max() <= 6
            assert plan.mixed.all()
            assert plan.why == ()
    exact = (curves(FilterAugment(bands=(3, 3)), 18, 50)[1].edges * 18).round()
    assert torch.equal(exact, torch.tensor([0.0, 6, 12, 18]).double().expand(50, 4))


def test_what_cannot_be_filtered_says_why():
    one = FilterAugment(bands=(1, 1))(torch.zeros(3, 1, 16, 5), generator=seeded())
    assert torch.equal(one.x, torch.zeros(3, 1, 16, 5))
    assert one.plans[0].why == ("fewer than two bands",) * 3
    short = FilterAugment()(torch.zeros(2, 1, 64, 5), lengths=torch.tensor([0, 5]), generator=seeded())
    assert short.plans[0].mixed.tolist() == [False, True]
    assert short.plans[0].complete.tolist() == [False, True]


def test_wrong_arguments():
    with pytest.raises(ValueError, match="x must be spectrograms .* a waveform"):
        FilterAugment()(noise(4, 1, 1000))
    with pytest.raises(ValueError, match="bands must be the lowest and then the highest"):
        FilterAugment(bands=(5, 3))
    with pytest.raises(ValueError, match="db must be two numbers"):
        FilterAugment(db=6)
    with pytest.raises(ValueError, match="std must be left out"):
        FilterAugment(scale="power", std=2.0)
    with pytest.raises(ValueError, match="scale must be one of ln, log10, db, amplitude, power, got 'dB'"):
        FilterAugment(scale="dB")
    with pytest.raises(ValueError, match="plan must be of kind 'linear'"):
        FilterAugment()(torch.zeros(2, 1, 64, 5), plan=FilterAugment("step")(torch.zeros(2, 1, 64, 5)).plans[0])
    with pytest.raises(ValueError, match="edges must be rising from 0 to 1"):
        plan_of([0.0, 0.6, 0.5, 1.0], [0.0] * 4, "step")
    assert FilterAugment().at_normalisation(-30.0, 12.0).std == 12.0
