"""Contrastive losses of pairs and of mixes, against sums that are written out."""

import math

import pytest
import torch
from sounds import noise
from torch.nn import functional as F

from audiomix import Plan
from audiomix.losses.info_nce import info_nce, negative_weights
from audiomix.losses.m2_mix import m2_mix
from audiomix.losses.m3col import m3col, soft_clip
from audiomix.losses.mi_mix import mi_mix

A, B = noise(5, 7, dtype=torch.float64), noise(5, 7, seed=2, dtype=torch.float64)
U, V = F.normalize(A, dim=1), F.normalize(B, dim=1)
PLAN = Plan(torch.tensor([1, 1, 0, 3, 2]), torch.tensor([0.7, 0.2, 1.0, 0.5, 0.6], dtype=torch.float64))
EYE = torch.arange(5)


def test_of_pairs_it_is_the_cross_entropy_of_the_cosines():
    z = U @ V.T / 0.2
    torch.testing.assert_close(info_nce(A, 3 * B, temperature=0.2), F.cross_entropy(z, EYE))
    both = (F.cross_entropy(z, EYE) + F.cross_entropy(z.T, EYE)) / 2
    torch.testing.assert_close(info_nce(A, B, temperature=0.2, symmetric=True), both)


def test_only_the_nearest_negatives_and_no_clip_of_the_class_count():
    z, total = U @ V.T / 0.2, 0.0
    for i in range(5):
        near = sorted((float(z[i, j]) for j in range(5) if j != i), reverse=True)[:2]
        total += math.log(sum(map(math.exp, [float(z[i, i]), *near]))) - float(z[i, i])
    assert float(info_nce(A, B, temperature=0.2, hardest=0.5)) == pytest.approx(total / 5)
    labels = torch.tensor([0, 0, 1, 2, 1])
    keep = (labels[:, None] != labels) | torch.eye(5, dtype=torch.bool)
    expected = F.cross_entropy(z.masked_fill(~keep, -torch.inf), EYE)
    torch.testing.assert_close(info_nce(A, B, temperature=0.2, labels=labels), expected)
    assert float(info_nce(A, B, labels=torch.zeros(5))) == 0


def test_the_gradient_goes_to_negatives_by_their_weights():
    cosine = (U @ V.T).requires_grad_()
    F.cross_entropy(cosine / 0.1, EYE, reduction="sum").backward()
    off = cosine.grad.masked_fill(torch.eye(5, dtype=torch.bool), 0)
    torch.testing.assert_close(off / off.sum(1, keepdim=True), negative_weights(cosine.detach(), 0.1))
    # the smaller the temperature, the more of it the nearest has
    assert negative_weights(cosine.detach(), 1e-3).amax(1).min() > 0.99


def test_m3col_is_the_sum_both_ways_with_all_of_the_mass():
    """M3CoL's mixco_nce writes 1 - w in the place of what is there: a clip that is its own partner loses w."""
    z, target = U @ V.T / 0.1, torch.zeros(5, 5, dtype=torch.float64)
    for i, (p, w) in enumerate(zip(PLAN.partner.tolist(), PLAN.weight.tolist())):
        target[i, i] += w
        target[i, p] += 1 - w
    torch.testing.assert_close(target.sum(1), torch.ones(5, dtype=torch.float64))
    expected = -(target * z.log_softmax(1) + target.T * z.T.log_softmax(1)).sum() / 10
    torch.testing.assert_close(m3col(A, B, PLAN), expected)
    torch.testing.assert_close(m3col(A, B, Plan.identity(5)), info_nce(A, B, symmetric=True))


def test_soft_targets_have_no_gradient_and_become_pairs():
    b = B.clone().requires_grad_()
    (soft_clip(A, b) - soft_clip(A, b.detach().clone().requires_grad_())).backward()
    found = soft_clip(A, B, temperature=0.1, target_temperature=1e-3)
    torch.testing.assert_close(found, info_nce(A, B, symmetric=True))


@pytest.mark.parametrize("share", [0.3, torch.tensor([0.0, 1.0, 0.5, 0.2, 0.9])])
def test_m2_mix_replaces_negatives_by_points_of_the_arc(share):
    s = torch.as_tensor(share, dtype=torch.float64).expand(5)
    angle = (U * V).sum(1).arccos()
    arc = ((s * angle).sin()[:, None] * U + ((1 - s) * angle).sin()[:, None] * V) / angle.sin()[:, None]
    total = 0.0
    for x in (U, V):
        z = x @ arc.T / 0.5
        z[EYE, EYE] = (U * V).sum(1) / 0.2
        total = total + F.cross_entropy(z, EYE)
    torch.testing.assert_close(m2_mix(A, B, share, temperature=0.2, mix_temperature=0.5), total, rtol=1e-6, atol=0)


def test_parallel_and_opposite_pairs_are_finite():
    """The reference code's arc between parallel vectors is 0 / 0."""
    a = noise(4, 3).requires_grad_()
    m2_mix(a, torch.cat([a[:2], -a[2:]]), 0.5, temperature=0.1).backward()
    assert a.grad.isfinite().all()


def test_mi_mix_weighs_negatives_by_how_near_they_are():
    s = (U @ V.T / 0.5).exp()
    total = 0.0
    for i, (p, w) in enumerate(zip(PLAN.partner.tolist(), PLAN.weight.tolist())):
        rest = [float(s[i, j]) for j in range(5) if j != i]
        below = sum(r * r for r in rest) / (sum(rest) / 4) + float(s[i, i])
        total -= w * math.log(float(s[i, i]) / below) + (1 - w) * math.log(float(s[i, p]) / below)
    assert float(mi_mix(A, B, PLAN, temperature=0.5)) == pytest.approx(total / 5)
    # of equal negatives it is the plain loss
    even = torch.eye(5, dtype=torch.float64)
    torch.testing.assert_close(mi_mix(even, even, Plan.identity(5)), info_nce(even, even, temperature=0.05))
    with pytest.raises(ValueError, match="two clips or more"):
        mi_mix(A[:1], B[:1], Plan.identity(1))
