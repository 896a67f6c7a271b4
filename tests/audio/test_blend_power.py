"""Sums of log spectrograms against the definition in float64, in every path: rows, pieces, ragged, with gradients."""

import math

import pytest
import torch
from sounds import noise, seeded

from audiomix import MixUp
from audiomix.audio.blend_power import blend_power

UNIT = 10 / math.log(10)


def definition(x, partner, a, b, unit, other=None):
    """log(a^2 e^x + b^2 e^x'), in float64."""
    other = x if other is None else other
    shape = (-1, *[1] * (x.ndim - 1))
    near, far = (2 * g.log().view(shape) for g in (a, b))
    return torch.logaddexp(x.double() / unit + near, other.double()[partner] / unit + far) * unit


@pytest.mark.parametrize("shape", [(5, 1, 12, 7), (3, 2, 300, 500), (6, 700)])
@pytest.mark.parametrize("unit", [UNIT, 1.0, UNIT / 4.5])
@pytest.mark.parametrize("graded", [False, True])
def test_it_is_the_logarithm_of_the_sum_of_powers(shape, unit, graded):
    x = noise(*shape) * 20 - 40
    a = torch.rand(len(x), dtype=torch.float64, generator=seeded())
    partner = torch.arange(len(x)).roll(1)
    got = blend_power(x.clone().requires_grad_(graded), partner, a, 1 - a, unit=unit)
    expected = definition(x, partner, a, 1 - a, unit)
    # a few roundings of numbers of up to 120
    assert (got - expected).abs().max() < 5e-5
    if x.ndim < 3:
        return
    view = x.transpose(-1, -2)  # not contiguous
    torch.testing.assert_close(blend_power(view, partner, a, 1 - a, unit=unit), got.detach().transpose(-1, -2))


@pytest.mark.parametrize("graded", [False, True])
def test_gains_of_zero_and_silence_without_a_floor(graded):
    x = noise(4, 6, 5) * 10
    x[0, 0], x[1, 0], x[2, 1] = -math.inf, -math.inf, -math.inf
    a, b = torch.tensor([0.5, 1.0, 0.0, 0.3]).double(), torch.tensor([0.5, 0.0, 1.0, 0.7]).double()
    partner = torch.tensor([1, 2, 3, 0])
    y = blend_power(x.clone().requires_grad_(graded), partner, a, b, unit=UNIT).detach()
    assert (y[0, 0] == -math.inf).all()  # both are silent
    assert torch.equal(y[1], x[1])  # alone: its bits
    torch.testing.assert_close(y[2], x[3])  # the partner alone
    torch.testing.assert_close(y[3, 0], x[0, 0].maximum(x[3, 0] + 20 * math.log10(0.3)))  # beside silence
    assert not y.isnan().any()


def test_gradients_of_silence_without_a_floor_are_finite():
    """The derivative of logaddexp at two of -inf is not a number; silence is silence whatever changes."""
    x = noise(3, 6, 5)
    x[0, 0], x[1, 0], x[2, 1] = -math.inf, -math.inf, -math.inf
    x.requires_grad_()
    a, b = torch.tensor([0.5, 1.0, 0.0]).double(), torch.tensor([0.5, 0.0, 1.0]).double()
    y = blend_power(x, torch.tensor([1, 2, 0]), a, b, unit=UNIT)
    (gradient,) = torch.autograd.grad(y[y.isfinite()].sum(), x)
    assert gradient.isfinite().all()
    assert gradient.sum().item() == pytest.approx(int(y.isfinite().sum()), rel=1e-4)  # a shift of all


def test_what_is_not_a_number_stays_visible():
    x = noise(2, 6, 5)
    x[0, 2, 2] = math.nan
    half = torch.full((2,), 0.5).double()
    y = blend_power(x, torch.tensor([1, 0]), half, half, unit=UNIT)
    assert y.isnan().sum() == 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_computed_in_float32_at_least(dtype):
    x = (noise(4, 30, 50) * 20 - 40).to(dtype)
    a, partner = torch.tensor([0.1, 0.5, 0.9, 1.0]).double(), torch.arange(4).roll(1)
    expected = definition(x, partner, a, 1 - a, UNIT)
    for graded in (False, True):
        y = blend_power(x.clone().requires_grad_(graded), partner, a, 1 - a, unit=UNIT)
        assert y.dtype == dtype
        torch.testing.assert_close(y.detach(), expected.to(dtype), atol=1e-5, rtol=torch.finfo(dtype).eps)


@pytest.mark.parametrize("domain", ["as_is", "power"])
def test_lengths_and_out_and_gradients_agree(domain):
    x, other = noise(4, 1, 6, 50), noise(3, 1, 6, 80, seed=4)
    lengths, other_lengths = torch.tensor([50, 0, 20, 33]), torch.tensor([10, 80, 40])
    given = {"lengths": lengths, "other": other, "other_lengths": other_lengths}
    mixer = MixUp(domain=domain)
    plain = mixer(x, **given, generator=seeded())
    plan, out = plain.plans[0], torch.full_like(x, torch.nan)
    assert mixer(x, **given, plan=plan, out=out).x is out
    torch.testing.assert_close(out, plain.x)
    torch.testing.assert_close(mixer(x.clone().requires_grad_(), **given, plan=plan).x.detach(), plain.x)
    for i, end in enumerate(lengths.tolist()):
        assert torch.equal(plain.x[i, ..., end:], x[i, ..., end:])
