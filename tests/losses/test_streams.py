"""The loss of stream mixing, against distributions whose divergence is known by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from sounds import noise

from audiomix.losses.streams import StreamLoss, stream_loss, symmetric_kl


def test_symmetric_kl_of_known_distributions():
    p, q = torch.tensor([[0.5, 0.25, 0.25]]), torch.tensor([[0.25, 0.5, 0.25]])
    # KL both ways is 0.5 ln 2 - 0.25 ln 2 each
    assert symmetric_kl(p.log(), q.log() + 7).item() == pytest.approx(0.25 * math.log(2), rel=1e-6)
    p, q = torch.tensor([0.9, 0.1], dtype=torch.float64), torch.tensor([0.5, 0.5], dtype=torch.float64)
    forward = 0.9 * math.log(1.8) + 0.1 * math.log(0.2)
    back = -0.5 * math.log(1.8) - 0.5 * math.log(0.2)
    assert forward != pytest.approx(back, rel=0.1)
    assert symmetric_kl(p.log()[None], q.log()[None]).item() == pytest.approx((forward + back) / 2, rel=1e-12)


def test_symmetric_kl_is_zero_for_equal_logits_and_symmetric():
    a, b = noise(4, 7, 5), noise(4, 7, 5, seed=2)
    assert symmetric_kl(a, a).item() == 0
    assert symmetric_kl(a, b).item() == pytest.approx(symmetric_kl(b, a).item(), rel=1e-6)
    one, two = a.log_softmax(-1), b.log_softmax(-1)
    both = F.kl_div(one, two, reduction="sum", log_target=True) + F.kl_div(two, one, reduction="sum", log_target=True)
    assert symmetric_kl(a, b).item() == pytest.approx(both.item() / 2 / 28, rel=1e-5)


def test_extreme_logits_stay_finite():
    a, b = torch.tensor([[1e4, -1e4, 0]]).requires_grad_(), torch.tensor([[-1e4, 1e4, 0]]).requires_grad_()
    value = symmetric_kl(a, b)
    assert value.item() == pytest.approx(2e4)
    value.backward()
    assert a.grad.isfinite().all()
    inf = -torch.inf
    a, b = torch.tensor([[inf, 0.0, 1.0]]).requires_grad_(), torch.tensor([[inf, 1.0, 0.0]]).requires_grad_()
    value = symmetric_kl(a, b)
    assert value.item() == pytest.approx(symmetric_kl(a[:, 1:], b[:, 1:]).item())
    terms = stream_loss(a, b, torch.tensor([[0.0, 0.5, 0.5]]))
    (value + terms.total).backward()
    assert a.grad.isfinite().all()
    assert b.grad.isfinite().all()


def test_padding_counts_for_nothing_and_gets_no_gradient():
    a, b = noise(2, 6, 4), noise(2, 6, 4, seed=2)
    lengths, target = torch.tensor([6, 2]), torch.tensor([[0, 1, 2, 3, 0, 1], [2, 3, -100, -100, -100, -100]])
    a[1, 2:], b[1, 2:] = torch.nan, 1e6
    a.requires_grad_()
    terms = stream_loss(a, b, target, lengths=lengths, label_smoothing=0.1)
    flat = [torch.cat([x[0], x[1, :2]]) for x in (a, b)]
    ids = torch.cat([target[0], target[1, :2]])
    assert terms.mixed.item() == pytest.approx(F.cross_entropy(flat[0], ids, label_smoothing=0.1).item(), rel=1e-5)
    assert terms.picture.item() == pytest.approx(F.cross_entropy(flat[1], ids, label_smoothing=0.1).item(), rel=1e-5)
    assert terms.consistency.item() == pytest.approx(symmetric_kl(*flat).item(), rel=1e-5)
    assert terms.total.item() == pytest.approx(sum(t.item() for t in terms), rel=1e-6)
    terms.total.backward()
    assert (a.grad[1, 2:] == 0).all()
    assert (a.grad[0] != 0).all()
    nothing = stream_loss(a, b, target, lengths=torch.tensor([0, 0]))
    assert [t.item() for t in nothing] == [0, 0, 0]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_class_ids_and_labels_are_one(smoothing):
    for shape in ((5, 4), (2, 3, 4)):
        a, b = noise(*shape), noise(*shape, seed=2)
        ids = torch.arange(a[..., 0].numel()).view(shape[:-1]) % 4
        one_hot = F.one_hot(ids, 4).float()
        expected = F.cross_entropy(a.flatten(0, -2), ids.flatten(), label_smoothing=smoothing).item()
        for target in (ids, one_hot, ids.int()):
            got = stream_loss(a, b, target, label_smoothing=smoothing)
            assert got.mixed.item() == pytest.approx(expected, rel=1e-5)


def test_weights_and_schedules():
    a, b, y = noise(4, 3), noise(4, 3, seed=2), torch.tensor([0, 1, 2, 0])
    plain = StreamLoss()(a, b, y)
    scaled = StreamLoss(mixed=2, picture="linear:0:1", consistency="linear:0:4")(a, b, y, progress=0.25)
    torch.testing.assert_close(torch.stack(scaled), torch.stack(plain) * torch.tensor([2, 0.25, 1.0]))
    assert torch.equal(StreamLoss(consistency=0)(a, b, y).consistency, torch.tensor(0.0))


@pytest.mark.parametrize("detach", [None, "mixed", "picture"])
def test_gradients_go_to_both_unless_one_teaches(detach):
    a, b = noise(3, 4).requires_grad_(), noise(3, 4, seed=2).requires_grad_()
    StreamLoss(mixed=0, picture=0, detach=detach)(a, b, torch.tensor([0, 1, 2])).total.backward()
    for name, logits in (("mixed", a), ("picture", b)):
        moved = logits.grad is not None and bool((logits.grad != 0).any())
        assert moved == (detach != name)
    a.grad = b.grad = None
    StreamLoss(consistency=0, detach=detach)(a, b, torch.tensor([0, 1, 2])).total.backward()
    assert (a.grad != 0).any()
    assert (b.grad != 0).any()


def test_the_gradient_makes_them_agree():
    a, b = noise(3, 4).requires_grad_(), noise(3, 4, seed=2).requires_grad_()
    before = symmetric_kl(a, b)
    before.backward()
    assert symmetric_kl(a - 0.1 * a.grad, b).item() < before.item()
    assert symmetric_kl(a, b - 0.1 * b.grad).item() < before.item()


def test_a_task_of_its_own():
    def ctc(logits, target, lengths):
        tokens, sizes = target
        return F.ctc_loss(logits.log_softmax(-1).transpose(0, 1), tokens, lengths, sizes)

    a, b = noise(2, 9, 5).requires_grad_(), noise(2, 9, 5, seed=2)
    target, lengths = (torch.tensor([[1, 2], [3, 4]]), torch.tensor([2, 1])), torch.tensor([9, 6])
    terms = StreamLoss(task=ctc, mixed=0.5)(a, b, target, lengths=lengths)
    assert terms.mixed.item() == pytest.approx(0.5 * ctc(a, target, lengths).item())
    assert terms.picture.item() == pytest.approx(ctc(b, target, lengths).item())
    assert terms.consistency.item() == pytest.approx(symmetric_kl(a, b, lengths).item())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype):
    a, b, y = noise(6, 50).to(dtype), noise(6, 50, seed=2).to(dtype), torch.arange(6)
    terms = stream_loss(a, b, y)
    assert all(t.dtype == torch.float32 for t in terms)
    torch.testing.assert_close(torch.stack(terms), torch.stack(stream_loss(a.float(), b.float(), y)))
    assert stream_loss(a, b, y, consistency=0).consistency.dtype == torch.float32


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: stream_loss(noise(2, 3), noise(2, 4), torch.zeros(2).long()), ValueError, r"picture must be of shape"),
        (lambda: stream_loss(noise(2, 1), noise(2, 1), torch.zeros(2).long()), ValueError, "at least 2 classes"),
        (lambda: stream_loss(noise(2, 3), noise(2, 3), torch.tensor([0, 3])), ValueError, r"target must be class ids"),
        (lambda: stream_loss(noise(2, 5, 3), noise(2, 5, 3), torch.zeros(2).long()), ValueError, "pool the logits"),
        (lambda: stream_loss(noise(2, 5, 3), noise(2, 5, 3), torch.zeros(2, 3, 5)), ValueError, "transpose"),
        (
            lambda: stream_loss(noise(2, 5, 3), noise(2, 5, 3), torch.full((2, 5), -100)),
            ValueError,
            r"padding\? pass lengths=",
        ),
        (lambda: symmetric_kl(noise(2, 3), noise(2, 3), torch.tensor([1, 1])), ValueError, "lengths must be left out"),
        (lambda: symmetric_kl(torch.zeros(2, 3).long(), noise(2, 3)), TypeError, "mixed must be floating point"),
        (lambda: StreamLoss(detach="video"), ValueError, "detach must be one of"),
        (lambda: StreamLoss(label_smoothing=10), ValueError, "label_smoothing must be .* did you mean 0.1"),
        (lambda: StreamLoss(consistency=-1), ValueError, "consistency must be"),
        (lambda: StreamLoss(task=F.ctc_loss, label_smoothing=0.1), ValueError, "0 with a task of your own"),
        (lambda: StreamLoss(task="ctc"), TypeError, "task must be a function"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_class_that_is_ruled_out_and_not_asked_for_costs_nothing():
    """0 * -inf is NaN: soft labels with a 0 where the logit is -inf, in value and in gradient."""
    logits = torch.tensor([[0.0, 1.0, -torch.inf]]).requires_grad_()
    terms = stream_loss(logits, logits, torch.tensor([[0.25, 0.75, 0.0]]))
    expected = math.log(1 + math.e) - 0.75
    assert terms.mixed.item() == pytest.approx(expected, rel=1e-5)
    terms.total.backward()
    assert logits.grad.isfinite().all()
    asked = stream_loss(logits, logits, torch.tensor([[0.0, 0.5, 0.5]]))
    assert asked.mixed.item() == math.inf
