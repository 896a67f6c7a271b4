import pytest
import torch
from sounds import noise, seeded

from audiomix.audio import blend as blend_module
from audiomix.audio.blend import blend


def expected(x, partner, a, b, other=None):
    shape = [-1] + [1] * (x.ndim - 1)
    source = x if other is None else other
    return (a.view(shape) * x.double() + b.view(shape) * source[partner].double()).to(x.dtype)


@pytest.mark.parametrize("rowwise", [False, True])
@pytest.mark.parametrize("convex", [True, False])
def test_both_ways_give_the_sum(monkeypatch, rowwise, convex):
    monkeypatch.setattr(blend_module, "_large", lambda x: rowwise)
    x, partner = noise(6, 2, 500), torch.tensor([1, 2, 3, 4, 5, 0])
    a = torch.tensor([0.1, 0.5, 0.9, 1.0, 0.0, 0.25], dtype=torch.float64)
    b = 1 - a if convex else torch.tensor([2.0, 0.0, 0.3, 0.1, 1.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(blend(x, partner, a, b), expected(x, partner, a, b), atol=1e-6, rtol=1e-6)
    out = torch.full_like(x, torch.nan)
    assert blend(x, partner, a, b, out=out) is out
    torch.testing.assert_close(out, expected(x, partner, a, b), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("rowwise", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_weights_of_zero_and_one_are_bit_exact(monkeypatch, rowwise, dtype):
    monkeypatch.setattr(blend_module, "_large", lambda x: rowwise)
    x, ends = noise(2, 1, 1000, dtype=dtype), torch.tensor([1.0, 0.0], dtype=torch.float64)
    y = blend(x, torch.tensor([1, 0]), ends, 1 - ends)
    assert torch.equal(y[0], x[0])
    assert torch.equal(y[1], x[0])


def test_rows_that_are_not_contiguous():
    x = noise(500, 4).T[:, None]  # (4, 1, 500), strided
    a = torch.full((4,), 0.3).double()
    partner = torch.tensor([3, 2, 1, 0])
    torch.testing.assert_close(blend(x, partner, a, 1 - a), expected(x.contiguous(), partner, a, 1 - a))


def test_factors_per_sample_and_per_bin():
    x, partner = noise(3, 5, 7), torch.tensor([1, 2, 0])
    a = torch.rand(3, 1, 7, generator=seeded()).double()
    torch.testing.assert_close(blend(x, partner, a, 1 - a), (a * x + (1 - a) * x[partner]).float())
    a = torch.rand(3, 5, 1, generator=seeded()).double()
    torch.testing.assert_close(blend(x, partner, a, 1 - a), (a * x + (1 - a) * x[partner]).float())


def test_both_gains_zero_is_silence():
    zero = torch.zeros(2).double()
    assert not blend(noise(2, 10), torch.tensor([1, 0]), zero, zero).any()


def test_out_must_fit():
    x, half = noise(2, 10), torch.full((2,), 0.5)
    with pytest.raises(ValueError, match="out must be like x"):
        blend(x, torch.tensor([1, 0]), half, half, out=torch.empty(2, 11))
    with pytest.raises(ValueError, match="out must be memory of its own"):
        blend(x, torch.tensor([1, 0]), half, half, out=x[:, :])


def test_a_gradient_goes_through_gains():
    x, partner = noise(3, 1, 50), torch.tensor([1, 2, 0])
    a = torch.tensor([0.5, 0.2, 0.9], dtype=torch.float64, requires_grad=True)
    blend(x, partner, a, 1 - a.detach()).sum().backward()
    torch.testing.assert_close(a.grad, x.sum((1, 2)).double(), atol=1e-4, rtol=1e-4)
