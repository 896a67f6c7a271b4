"""GeodesicMix: on the arc between two embeddings, at the angle that the weight says, finite everywhere."""

import math

import pytest
import torch
from sounds import noise, seeded

from audiomix import GeodesicMix, Plan, geodesic
from audiomix.mixers.geodesic_mix import geodesic_mix


def unit(*shape, seed=1, dtype=torch.float64):
    return torch.nn.functional.normalize(noise(*shape, seed=seed, dtype=dtype), dim=-1)


def angle(a, b):
    return 2 * torch.atan2((a - b).norm(dim=-1), (a + b).norm(dim=-1))


@pytest.mark.parametrize("width", [2, 3, 512])
def test_length_one_and_the_angle_is_in_proportion_to_the_weight(width):
    a, b = unit(200, width), unit(200, width, seed=2)
    weight = torch.linspace(0, 1, 200, dtype=torch.float64)
    mixed = geodesic(a, b, weight[:, None])
    torch.testing.assert_close(mixed.norm(dim=1), torch.ones(200).double(), atol=1e-12, rtol=0)
    theta = angle(a, b)
    torch.testing.assert_close(angle(a, mixed), (1 - weight) * theta, atol=1e-7, rtol=0)
    torch.testing.assert_close(angle(b, mixed), weight * theta, atol=1e-7, rtol=0)
    torch.testing.assert_close(mixed[0], b[0])
    torch.testing.assert_close(mixed[-1], a[-1])
    first, second = (torch.sin(share * theta) / theta.sin() for share in (weight, 1 - weight))
    torch.testing.assert_close(mixed, first[:, None] * a + second[:, None] * b, atol=1e-8, rtol=0)


SPECIAL = {
    "parallel": lambda a: a.clone(),
    "opposite": lambda a: -a,
    "longer": lambda a: 3 * a,
    "nearly parallel": lambda a: a + 1e-6 * unit(*a.shape, seed=5, dtype=a.dtype),
    "nearly opposite": lambda a: 1e-6 * unit(*a.shape, seed=5, dtype=a.dtype) - a,
    "zeros": torch.zeros_like,
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", SPECIAL)
def test_parallel_opposite_and_silent_vectors_are_finite_and_so_are_gradients(kind, dtype):
    """The formula of the paper is 0 / 0 here."""
    a = unit(30, 8, dtype=dtype)
    a[0] = torch.eye(8)[0]
    b = SPECIAL[kind](a)
    weight = torch.linspace(0, 1, 30)[:, None]
    a, b = a.requires_grad_(), b.requires_grad_()
    for norm in ("unit", "kept"):
        mixed = geodesic(a, b, weight, norm=norm)
        assert mixed.isfinite().all()
        mixed.pow(3).sum().backward()
        assert a.grad.isfinite().all()
        assert b.grad.isfinite().all()
    mixed = geodesic(a, b, weight).detach()
    torch.testing.assert_close(mixed.norm(dim=1), torch.ones(30, dtype=dtype))
    if "opposite" in kind:  # half a circle, evenly
        torch.testing.assert_close(angle(a.detach(), mixed), (1 - weight[:, 0]).to(dtype) * math.pi, atol=2e-3, rtol=0)
    elif kind != "zeros":
        torch.testing.assert_close(mixed, a.detach(), atol=2e-6, rtol=0)
    none = torch.zeros(3, 8, dtype=dtype).requires_grad_()
    nothing = geodesic(none, none, weight[:3])
    nothing.sum().backward()
    assert torch.equal(nothing, torch.zeros_like(nothing))
    assert none.grad.isfinite().all()


def test_gradients_are_those_of_the_equation():
    a, b = unit(4, 5).requires_grad_(), (2 * unit(4, 5, seed=2)).requires_grad_()
    weight = torch.tensor([0.2, 0.5, 0.7, 1.0]).double()[:, None]
    for norm in ("unit", "kept"):
        assert torch.autograd.gradcheck(lambda x, y, norm=norm: geodesic(x, y, weight, norm=norm), (a, b))


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e30])
def test_lengths_are_kept_or_one_at_any_level(scale):
    x = unit(9, 16, dtype=torch.float32) * torch.linspace(1, 4, 9)[:, None] * scale
    mixed = GeodesicMix()(x, generator=seeded())
    plan = mixed.plans[0]
    length = x.double().norm(dim=1)
    wanted = plan.weight * length + (1 - plan.weight) * length[plan.partner]
    torch.testing.assert_close(mixed.x.double().norm(dim=1), wanted, rtol=1e-5, atol=0)
    one = GeodesicMix(norm="unit")(x, plan=plan).x
    torch.testing.assert_close(one.norm(dim=1), torch.ones(9))
    torch.testing.assert_close(one, (mixed.x.double() / mixed.x.double().norm(dim=1)[:, None]).float())


def test_the_label_is_shared_by_the_weight_and_one_share_may_be_for_all():
    x = unit(1000, 8, dtype=torch.float32)
    mixed = GeodesicMix(0.5, num_classes=1000)(x, torch.arange(1000), generator=seeded())
    plan = mixed.plans[0]
    torch.testing.assert_close(mixed.target.diagonal().double(), plan.weight, atol=1e-6, rtol=0)
    # Beta(1/2, 1/2) has variance 1/8; four standard errors of a mean
    assert plan.weight.mean().item() == pytest.approx(0.5, abs=4 * (1 / 8 / 1000) ** 0.5)
    assert len(GeodesicMix(per="batch")(x).plans[0].weight.unique()) == 1
    fixed = Plan(torch.tensor([1, 0]), torch.tensor([0.5, 1.0]).double())
    assert torch.equal(geodesic_mix(x[:2], fixed)[1], x[1])  # to the bit


def test_half_precision_and_a_second_batch():
    x, other = unit(6, 64, dtype=torch.float32).half(), unit(3, 64, seed=4, dtype=torch.float32).half()
    mixed = GeodesicMix()(x, other=other, generator=seeded())
    assert mixed.x.dtype == torch.float16
    exact = GeodesicMix()(x.double(), other=other.double(), plan=mixed.plans[0]).x
    assert (mixed.x.double() - exact).abs().max() < 2e-3


def test_other_inputs_are_refused():
    with pytest.raises(ValueError, match=r"waveforms|embeddings \(B, D\)"):
        GeodesicMix()(noise(4, 1, 100))
    with pytest.raises(ValueError, match="pairing must be another one for GeodesicMix"):
        GeodesicMix(pairing="self")
    with pytest.raises(ValueError, match="norm must be one of kept, unit"):
        GeodesicMix(norm="l2")
