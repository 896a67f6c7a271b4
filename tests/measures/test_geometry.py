"""Features on the sphere, and what is known of them."""

import math

import pytest
import torch
from sounds import noise
from torch.nn import functional as F

from audiomix import Plan
from audiomix.measures.geometry import alignment, tolerance, uniformity, utilisation
from audiomix.measures.intrusion import intrusion_rate
from audiomix.measures.neural_collapse import mixed_features, neural_collapse
from audiomix.plan_sources import SourcesPlan


def test_vectors_that_are_spread_over_a_circle_have_the_closed_value():
    # E exp(-2 |x - y|^2) = exp(-4) E exp(4 cos t) = exp(-4) I_0(4)
    expected = -4 + math.log(float(torch.special.i0(torch.tensor(4.0))))
    angle = torch.arange(3000) * 2 * math.pi / 3000
    assert uniformity(torch.stack([angle.cos(), angle.sin()], 1)) == pytest.approx(expected, abs=2e-3)


def test_sums_over_pairs_are_those_of_two_loops():
    x, labels = noise(9, 4), torch.tensor([0, 1, 0, 2, 1, 0, 3, 1, 1])
    u = F.normalize(x, dim=1)
    pairs = [(i, j) for i in range(9) for j in range(9) if i != j]
    spread = torch.tensor([math.exp(-2 * float((u[i] - u[j]).square().sum())) for i, j in pairs]).mean()
    assert uniformity(x) == pytest.approx(math.log(float(spread)), abs=1e-5)
    same = [float(u[i] @ u[j]) for i, j in pairs if labels[i] == labels[j]]
    assert tolerance(x, labels) == pytest.approx(sum(same) / len(same), abs=1e-6)
    near = [min(float((q - r).square().sum()) for r in u) for q in F.normalize(noise(3, 4, seed=5), dim=1)]
    assert utilisation(noise(3, 4, seed=5), x) == pytest.approx(sum(near) / 3, abs=1e-5)
    assert alignment(x, 7 * x) == pytest.approx(0, abs=1e-9)
    with pytest.raises(ValueError, match="two clips or more of one class"):
        tolerance(x[:4], torch.arange(4))


def simplex(classes, size):
    """Return the vertices of a simplex in a space of `size`, turned."""
    turn = torch.linalg.qr(noise(size, size, dtype=torch.float64)).Q
    vertices = torch.eye(classes, dtype=torch.float64) - 1 / classes
    return F.pad(vertices, (0, size - classes)) @ turn


def test_a_simplex_is_collapsed_wherever_it_lies_and_however_large_it_is():
    vertices, labels = simplex(5, 12), torch.arange(5).repeat(4)
    found = neural_collapse(3 * vertices[labels] + noise(12), labels, 0.1 * vertices)
    assert found == pytest.approx((0,) * 5, abs=1e-6)
    # the classifier turned away from the means
    turned = neural_collapse(vertices[labels], labels, vertices.roll(1, 0))
    assert turned.nc2 == pytest.approx(0, abs=1e-6)
    assert turned.nc3 > 1
    assert turned.nc4 == 1


def test_variation_within_classes_is_counted_against_that_between_them():
    vertices, labels = simplex(4, 6), torch.arange(4).repeat(500)
    spread = noise(2000, 6, seed=3, dtype=torch.float64)
    found = [neural_collapse(vertices[labels] + s * spread, labels, vertices).nc1 for s in (0.01, 0.02)]
    assert found[1] == pytest.approx(4 * found[0], rel=0.05)
    # tr(S_W S_B^+) / K: of variance s^2 in each of the K - 1 directions in which the means have variance 1 / K
    assert found[0] == pytest.approx(0.01**2 * 3 * 4 / 4, rel=0.1)


def test_classes_without_clips_are_refused():
    with pytest.raises(ValueError, match="labels must be of all classes, got none of class 1"):
        neural_collapse(noise(3, 4), torch.tensor([0, 2, 2]), noise(3, 4))


def test_the_feature_of_a_mix_lies_where_its_shares_are():
    weight = noise(3, 8)
    share = torch.tensor([0.8, 0.3, 0.5, 1.0], dtype=torch.float64)
    plan, label = Plan(torch.tensor([1, 2, 3, 0]), share), torch.tensor([0, 1, 2, 2])
    own = share.float()[:, None]
    features = own * weight[label] + (1 - own) * weight[label[plan.partner]]
    found = mixed_features(features, label, plan, weight)
    assert found.same_class.tolist() == [False, False, True, False]
    expected = torch.stack([share, 1 - share], 1)
    torch.testing.assert_close(found.plane[~found.same_class], expected[~found.same_class], atol=1e-5, rtol=0)
    assert found.plane[2].isnan().all()
    assert found.cosine[2] == pytest.approx(1)
    logits = features @ weight.T
    assert found.logit_gap[0] == pytest.approx(float((logits[0, 0] - logits[0, 1]).abs()), rel=1e-5)


def test_a_mix_intrudes_where_another_class_is_nearer_than_its_own():
    clean, labels = torch.tensor([[-1.0, 0], [1, 0], [0, 1], [0, 0.1]]), torch.tensor([0, 1, 2, 2])
    plan = Plan(torch.tensor([1, 0, 3, 2]), torch.tensor([0.5, 0.5, 0.5, 1.0], dtype=torch.float64))
    mixed = torch.tensor([[0.0, 0], [0.9, 0], [0, 0.5], [-1, 0]])
    # the first lies on the clip of class 2, the last is not mixed
    assert intrusion_rate(mixed, clean, labels, plan) == pytest.approx(100 / 3)
    assert intrusion_rate(mixed, clean, torch.tensor([0, 1, 2, 0]), plan) == 0
    assert math.isnan(intrusion_rate(mixed, clean, labels, Plan.identity(4)))


def test_vectors_of_zeros_have_no_direction_and_a_distance_all_the_same():
    x = torch.tensor([[0.0, 0.0], [3.0, 0.0]])
    assert uniformity(x) == pytest.approx(-2)  # of the distance 1
    assert utilisation(x[:1], x) == 0
    assert uniformity(torch.zeros(3, 2)) == pytest.approx(0)


def test_a_network_that_tells_no_class_apart_is_not_collapsed():
    vertices, labels = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]]), torch.tensor([0, 0, 1, 1])
    assert neural_collapse(vertices, labels, torch.eye(2)).nc1 == math.inf
    assert math.isnan(neural_collapse(torch.full((4, 2), 0.1), labels, torch.eye(2)).nc1)
    with pytest.raises(ValueError, match="bias must be of shape"):
        neural_collapse(vertices, labels, torch.eye(2), bias=torch.zeros(1))
    with pytest.raises(ValueError, match="features must be finite"):
        neural_collapse(vertices * torch.nan, labels, torch.eye(2))


def test_rows_of_a_classifier_in_line_have_no_plane():
    plan = Plan(torch.tensor([1, 0]), torch.tensor([0.5, 0.6], dtype=torch.float64))
    for weight in (torch.zeros(2, 3), torch.ones(2, 3) * torch.tensor([[1.0], [-2.0]])):
        found = mixed_features(noise(2, 3), torch.tensor([0, 1]), plan, weight)
        assert found.plane.isnan().all()
        assert found.logit_gap.isfinite().all()
    shares = torch.tensor([[0.5, 0.25, 0.25]] * 3, dtype=torch.float64)
    three = SourcesPlan.of(torch.tensor([[1, 2], [2, 0], [0, 1]]), shares, shares)
    with pytest.raises(ValueError, match="plan must be of one partner a clip, got 2"):
        mixed_features(noise(3, 3), torch.arange(3), three, noise(3, 3))


def test_features_that_are_no_numbers_intrude_nowhere_in_silence():
    plan = Plan(torch.tensor([1, 0]), torch.tensor([0.5, 0.6], dtype=torch.float64))
    with pytest.raises(ValueError, match="mixed must be finite"):
        intrusion_rate(torch.full((2, 3), torch.nan), noise(2, 3), torch.tensor([0, 1]), plan)
    with pytest.raises(ValueError, match="labels must be one a clip"):
        tolerance(noise(2, 3), torch.zeros(2, 2, dtype=torch.int64))
