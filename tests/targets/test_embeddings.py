"""Embeddings follow the plan: exact at the ends, on the circle between, finite whatever the vectors."""

import math

import pytest
import torch

from audiomix.plan import Plan
from audiomix.targets.embeddings import HOW, mix_embeddings


def plan(*weights, partner=None):
    size = len(weights)
    partner = torch.arange(size).roll(1) if partner is None else torch.tensor(partner)
    return Plan(partner, torch.tensor(weights, dtype=torch.float64))


def directions(*degrees, norm=1.0):
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return norm * torch.stack([angles.cos(), angles.sin()], 1)


def test_linear_is_the_weighted_sum_and_weight_is_the_originals_share():
    x = torch.tensor([[1.0, 0.0, 2.0], [0.0, 4.0, 0.0]])
    mixed = mix_embeddings(x, plan(0.75, 0.5))
    assert torch.equal(mixed, torch.tensor([[0.75, 1.0, 1.5], [0.5, 2.0, 1.0]]))


@pytest.mark.parametrize("weight", [0.9, 0.5, 0.1])
@pytest.mark.parametrize("angle", [1e-4, 10.0, 90.0, 170.0, 179.99])
def test_sphere_turns_by_the_share_and_interpolates_norms(weight, angle):
    x = torch.cat([directions(30.0, norm=2.0), directions(30.0 + angle, norm=6.0)])
    mixed = mix_embeddings(x, plan(weight, 1.0), how="sphere")[0]
    assert mixed.norm().item() == pytest.approx(2 * weight + 6 * (1 - weight), rel=1e-12)
    got = math.degrees(math.atan2(mixed[1], mixed[0])) % 360
    assert got == pytest.approx(30 + angle * (1 - weight), abs=1e-6)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_ends_are_exact_and_dtype_is_kept(how, dtype):
    x = torch.randn(3, 7, generator=torch.Generator().manual_seed(0)).to(dtype)
    before = x.clone()
    mixed = mix_embeddings(x, plan(1.0, 0.0, 0.5), how=how)
    assert mixed.dtype == dtype
    assert torch.equal(mixed[0], x[0])
    assert torch.equal(mixed[1], x[0])
    assert not torch.equal(mixed[2], x[2])
    assert torch.equal(x, before)


@pytest.mark.parametrize("how", HOW)
def test_nan_of_the_other_side_does_not_reach_an_end(how):
    x = torch.tensor([[1.0, 2.0], [math.nan, math.inf]])
    assert torch.equal(mix_embeddings(x, plan(1.0, 0.0), how=how), x[[0, 0]])


def test_opposite_vectors_turn_half_way_round_through_a_stated_axis():
    x = torch.tensor([[0.0, 3.0, 0.0], [0.0, -3.0, 0.0]])
    mixed = mix_embeddings(x, plan(0.5, 0.75), how="sphere")
    assert torch.allclose(mixed[0], torch.tensor([3.0, 0.0, 0.0]), atol=1e-6)
    root = 3 / math.sqrt(2)
    assert torch.allclose(mixed[1], torch.tensor([root, -root, 0.0]), atol=1e-6)


def test_zero_vectors_take_the_others_direction():
    x = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]])
    mixed = mix_embeddings(x, plan(0.5, 0.5, 0.5, partner=[1, 0, 0]), how="sphere")
    assert torch.allclose(mixed, torch.tensor([[1.5, 2.0], [1.5, 2.0], [0.0, 0.0]]))


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_squares_neither_under_nor_overflow(size):
    x = size * torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    mixed = mix_embeddings(x, plan(0.5, 0.5), how="sphere")
    assert torch.allclose(mixed / size, torch.full((2, 2), math.sqrt(0.5)))


CASES = {
    "usual": [[1.0, 0.2, -3.0], [0.5, 1.0, 0.0]],
    "equal": [[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]],
    "opposite": [[1.0, 2.0, 3.0], [-1.0, -2.0, -3.0]],
    "zero": [[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]],
    "zeros": [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_gradients_flow_and_are_finite(how, name, weight):
    x = torch.tensor(CASES[name], requires_grad=True)
    mixed = mix_embeddings(x, plan(weight, weight), how=how)
    assert mixed.isfinite().all()
    (mixed * torch.tensor([1.0, 2.0, 4.0])).sum().backward()
    assert x.grad.isfinite().all()
    if name == "usual":
        assert (x.grad != 0).any(1).all()


def test_sphere_has_the_right_gradient():
    x = torch.tensor(CASES["usual"], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda e: mix_embeddings(e, plan(0.3, 0.6), how="sphere"), x)


def test_partners_come_from_the_second_batch():
    x, other = torch.zeros(2, 3), torch.arange(9.0).view(3, 3)
    mixed = mix_embeddings(x, plan(0.5, 0.0, partner=[2, 1]), other=other)
    assert torch.equal(mixed, torch.stack([other[2] / 2, other[1]]))


def test_one_dimension_is_linear():
    assert mix_embeddings(torch.tensor([[2.0], [-4.0]]), plan(0.5, 0.5), how="sphere").tolist() == [[-1.0], [-1.0]]


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"how": "spherical"}, ValueError, "how must be one of linear, sphere"),
        ({"embedding": torch.zeros(2, 3, dtype=torch.int64)}, TypeError, "embedding must be floating point"),
        ({"embedding": torch.zeros(2, 3, 4)}, ValueError, "embedding must be of shape"),
        ({"embedding": torch.zeros(3, 3)}, ValueError, "embedding must be of 2 items"),
        ({"other": torch.zeros(2, 4)}, ValueError, "other_embedding must be of shape .M, 3."),
        ({"other": torch.zeros(2, 3).double()}, TypeError, "other_embedding must be torch.float32"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, match):
    embedding = arguments.pop("embedding", torch.zeros(2, 3))
    with pytest.raises(error, match=match):
        mix_embeddings(embedding, plan(0.5, 0.5), **arguments)
