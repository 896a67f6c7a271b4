"""Losses of classes: comp-sum, limited confidence, AnyLoss, MixOE, mixed targets; at their known values."""

import math

import pytest
import torch
from sounds import noise, seeded
from torch.nn import functional as F

from audiomix import Plan
from audiomix.losses.anyloss import anyloss
from audiomix.losses.comp_sum import comp_sum
from audiomix.losses.limited_confidence import limited_confidence, log_one_minus
from audiomix.losses.mixed_target import mixed_binary_cross_entropy, mixed_cross_entropy
from audiomix.losses.mixoe import mixoe, outlier_target
from audiomix.targets.labels import mix_labels

Z = 2 * noise(6, 5, dtype=torch.float64)
LABEL = torch.tensor([0, 4, 2, 2, 1, 3])
P = Z.softmax(1)[torch.arange(6), LABEL]
PLAN = Plan(torch.tensor([1, 2, 3, 4, 5, 0]), torch.tensor([0.7, 0.2, 1.0, 0.5, 0.9, 0.4], dtype=torch.float64))
SOFT = mix_labels(LABEL, PLAN, num_classes=5)


@pytest.mark.parametrize(
    ("tau", "closed"),
    [(0, 1 / P - 1), (1, -P.log()), (1.5, 2 * (1 - P.sqrt())), (2, 1 - P), (1 + 1e-9, -P.log())],
)
def test_comp_sum_has_the_closed_forms(tau, closed):
    torch.testing.assert_close(comp_sum(Z, LABEL, tau=tau), closed.mean(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("loss", [lambda z, y: comp_sum(z, y, tau=1.5), lambda z, y: limited_confidence(z, y, draws=3)])
def test_a_mixed_label_has_the_mean_over_its_classes(loss):
    own = torch.stack([loss(z[None], y[None]) for z, y in zip(Z, LABEL)])
    other = torch.stack([loss(z[None], y[None]) for z, y in zip(Z, LABEL[PLAN.partner])])
    expected = (PLAN.weight * own + (1 - PLAN.weight) * other).mean()
    torch.testing.assert_close(loss(Z, SOFT), expected, rtol=1e-6, atol=0)


def test_limited_confidence_is_the_chance_of_a_hit_among_draws():
    torch.testing.assert_close(limited_confidence(Z, LABEL, draws=1), F.cross_entropy(Z, LABEL))
    torch.testing.assert_close(limited_confidence(Z, LABEL, draws=4), -(1 - (1 - P) ** 4).log().mean())


@pytest.mark.parametrize(("p", "factor"), [(0.1, 0.848), (0.5, 0.267), (0.9, 0.0036)])
def test_its_gradient_falls_as_the_class_gets_likely(p, factor):
    z = torch.tensor([[math.log(p), math.log(1 - p)]], requires_grad=True)
    ours, theirs = (torch.autograd.grad(limited_confidence(z, torch.tensor([0]), draws=d), z)[0][0, 0] for d in (4, 1))
    assert float(ours / theirs) == pytest.approx(factor, abs=6e-4)


def test_what_is_nearly_sure_and_what_is_nearly_never_have_their_digits():
    z = torch.tensor([[40.0, 0.0, 0.0]])
    assert float(log_one_minus(z)[0, 0]) == pytest.approx(math.log(2) - 40, rel=1e-6)
    never = limited_confidence(-z, torch.tensor([0]), draws=4)
    assert float(never) == pytest.approx(40 + math.log(2) - math.log(4), rel=1e-5)


def counts(right, there):
    tp, tn = (right & there).sum(), (~right & ~there).sum()
    return tp, (right & ~there).sum(), (~right & there).sum(), tn


@pytest.mark.parametrize("measure", ["f", "balanced_accuracy", "geometric"])
def test_anyloss_is_the_measure_of_the_decisions_as_sharpness_grows(measure):
    z, there = 4 * noise(40, 3, dtype=torch.float64), noise(40, 3, seed=2) > 0.8
    expected = []
    for k in range(3):
        tp, fp, fn, tn = (float(c) for c in counts(z[:, k] > 0, there[:, k]))
        recall, other = tp / (tp + fn), tn / (tn + fp)
        expected.append({"f": 5 * tp / (5 * tp + 4 * fn + fp), "balanced_accuracy": (recall + other) / 2,
                         "geometric": recall * other}[measure])  # fmt: skip
    got = anyloss(z, there, measure=measure, beta=2, sharpness=1e4)
    assert float(got) == pytest.approx(1 - sum(expected) / 3, abs=2e-3)


def test_classes_that_nobody_has_do_not_count():
    z = noise(4, 2)
    there = torch.tensor([[1.0, 0], [0, 0], [1, 0], [0, 0]])
    torch.testing.assert_close(anyloss(z, there), anyloss(z[:, [0, 0]], there[:, [0, 0]]))
    none = anyloss(z.requires_grad_(), torch.zeros(4, 2))
    none.backward()
    assert float(none) == 0
    assert float(z.grad.abs().sum()) == 0


def test_an_unknown_sound_is_every_class_alike():
    target = outlier_target(LABEL, PLAN, 5)
    torch.testing.assert_close(target.sum(1), torch.ones(6))
    own = target[torch.arange(6), LABEL].double()
    torch.testing.assert_close(own, PLAN.weight + (1 - PLAN.weight) / 5)
    torch.testing.assert_close(mixoe(Z, LABEL, PLAN), F.cross_entropy(Z, target.double()))
    none = outlier_target(F.one_hot(LABEL, 5), PLAN, 5, classes="any")
    torch.testing.assert_close(none.sum(1).double(), PLAN.weight)
    # labels of the unknown sounds are never asked for
    torch.testing.assert_close(mixoe(Z, LABEL, Plan(PLAN.partner + 100, PLAN.weight)), mixoe(Z, LABEL, PLAN))


def test_a_mixed_target_has_the_mixed_loss():
    own, other = (F.cross_entropy(Z, y, reduction="none") for y in (LABEL, LABEL[PLAN.partner]))
    expected = (PLAN.weight * own + (1 - PLAN.weight) * other).mean()
    torch.testing.assert_close(mixed_cross_entropy(Z, SOFT), expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(mixed_cross_entropy(Z, LABEL), own.mean())


@pytest.mark.parametrize("loss", [mixed_cross_entropy, mixed_binary_cross_entropy])
def test_padding_counts_for_nothing(loss):
    z, y, lengths = noise(3, 4, 9), torch.rand(3, 4, 9, generator=seeded()), torch.tensor([9, 4, 1])
    valid = [(z[i, :, : lengths[i]].T, y[i, :, : lengths[i]].T) for i in range(3)]
    expected = loss(torch.cat([v[0] for v in valid]), torch.cat([v[1] for v in valid]))
    spoilt = z.clone()
    spoilt[1, :, 4:], spoilt[2, :, 1:] = float("nan"), float("inf")
    spoilt.requires_grad_()
    got = loss(spoilt, y, lengths=lengths)
    torch.testing.assert_close(got, expected)
    got.backward()
    assert spoilt.grad.isfinite().all()


def test_frames_that_are_not_last_are_noticed():
    with pytest.raises(ValueError, match=r"target must be of shape \(B, 4, N\).*frames before classes"):
        mixed_cross_entropy(noise(3, 4, 9), torch.zeros(3, 9, 4))
