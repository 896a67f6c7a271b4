"""Heads in closed form: leave-one-out, label spreading and folding against direct computation, and known answers."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from recipes.semi_supervised import heads
from recipes.semi_supervised.heads import (
    align_to_prior,
    build_graph,
    certainty,
    fit_graph_head,
    fit_refit_head,
    fit_ridge,
    fold,
    spread_labels,
)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def one_hot(labels, classes):
    return nn.functional.one_hot(torch.as_tensor(labels), classes).double()


def clusters(per_class=40, seed=0):
    """Return features (3 * per_class, 5) of three clusters, and their classes."""
    centres = 4 * torch.eye(3, 5)
    labels = torch.arange(3).repeat_interleave(per_class)
    return centres[labels] + draw(len(labels), 5, seed=seed), labels


def moons(n=100):
    """Return two interleaved half circles on a patch of a sphere, so that cosines order distances; and classes."""
    angle = torch.linspace(0, math.pi, n)
    upper = torch.stack([angle.cos(), angle.sin()], -1)
    lower = torch.stack([1 - angle.cos(), 0.5 - angle.sin()], -1)
    flat = torch.cat([upper, lower]) + 0.05 * draw(2 * n, 2)
    return torch.cat([flat, 3 * torch.ones(2 * n, 1)], -1), torch.arange(2).repeat_interleave(n)


def direct_ridge(x, y, w, penalty, deviation):
    """Return scores of a weighted ridge regression with an intercept, solved as one dense system."""
    design = torch.cat([x.double() / deviation, torch.ones(len(x), 1, dtype=torch.float64)], -1)
    size = design.shape[1]
    ridge = penalty * torch.eye(size, dtype=torch.float64)
    ridge[-1, -1] = 0
    solved = torch.linalg.solve(design.T @ (w[:, None] * design) + ridge, design.T @ (w[:, None] * y))
    return lambda new: torch.cat([new.double() / deviation, torch.ones(len(new), 1).double()], -1) @ solved


def weighted_case():
    x, labels = clusters(per_class=7)
    x = x * torch.tensor([1.0, 10.0, 0.1, 3.0, 1.0]) + 5
    return x, one_hot(labels, 3), torch.rand(21, generator=torch.Generator().manual_seed(1)).double() + 0.1


@pytest.mark.parametrize("strength", [1e-3, 0.5])
def test_ridge_and_its_leave_one_out_error_are_those_of_direct_solutions(strength):
    x, y, w = weighted_case()
    head = fit_ridge(x, y, w, strength=strength)
    mean = (w @ x.double()) / w.sum()
    deviation = ((w @ (x.double() - mean).square()) / w.sum()).sqrt()
    penalty = strength * float(w.sum())  # the trace of D standardised features is D times the weights
    torch.testing.assert_close(head(x) / head.scale, direct_ridge(x, y, w, penalty, deviation)(x))
    left = []
    for i in range(len(x)):
        rest = torch.arange(len(x)) != i
        left.append(direct_ridge(x[rest], y[rest], w[rest], penalty, deviation)(x[i : i + 1])[0])
    expected = float(w @ (torch.stack(left) - y).square().sum(-1) / w.sum())
    assert head.loo_error == pytest.approx(expected, rel=1e-9)


def test_the_strength_is_the_one_with_the_least_leave_one_out_error_on_the_measured_clips():
    x, y, w = weighted_case()
    measured = torch.arange(len(x)) % 2 == 0
    chosen = fit_ridge(x, y, w, measured=measured)
    errors = {s: fit_ridge(x, y, w, strength=s, measured=measured).loo_error for s in heads.STRENGTHS}
    assert chosen.strength == min(errors, key=errors.get)
    assert chosen.loo_error == pytest.approx(errors[chosen.strength])
    assert chosen.loo_error != pytest.approx(fit_ridge(x, y, w, strength=chosen.strength).loo_error)


def test_noise_is_fitted_with_a_stronger_penalty_than_a_rule():
    x, labels = clusters()
    shuffled = labels[torch.randperm(120, generator=torch.Generator().manual_seed(3))]
    rule, noise = one_hot(labels, 3), one_hot(shuffled, 3)
    assert fit_ridge(x, noise).strength > 10 * fit_ridge(x, rule).strength


def test_a_weight_of_two_is_the_clip_twice_and_a_weight_of_zero_no_clip():
    x, y, _ = weighted_case()
    w = torch.arange(len(x)).double() % 3
    repeated = torch.repeat_interleave(torch.arange(len(x)), w.long())
    weighted, repeat = fit_ridge(x, y, w, strength=0.1), fit_ridge(x[repeated], y[repeated], strength=0.1)
    torch.testing.assert_close(weighted.weight / weighted.scale, repeat.weight / repeat.scale)
    torch.testing.assert_close(weighted.bias / weighted.scale, repeat.bias / repeat.scale)


def test_units_of_the_features_change_nothing():
    x, y, w = weighted_case()
    other = x.double() * torch.tensor([1e3, 1e-3, 7.0, 1.0, 0.5]) - 100
    torch.testing.assert_close(fit_ridge(other, y, w)(other), fit_ridge(x, y, w)(x), rtol=1e-4, atol=1e-4)


def test_a_constant_feature_has_no_weight_and_all_constant_ones_give_the_mean():
    x, y, _ = weighted_case()
    x[:, 1] = 0.3
    head = fit_ridge(x, y)
    assert head.weight[:, 1].abs().max() < 1e-12 < head.weight.abs().max()
    flat = fit_ridge(torch.full_like(x, 0.3), y)
    torch.testing.assert_close(flat(x) / flat.scale, y.mean(0).expand(21, 3))


def test_scores_become_confident_where_the_rule_is_clear_and_stay_unsure_in_noise():
    x, labels = clusters()
    clear = fit_ridge(x, one_hot(labels, 3))
    noise = fit_ridge(x, one_hot(labels[torch.randperm(120, generator=torch.Generator().manual_seed(3))], 3))
    assert clear(x).softmax(-1).max(-1).values.mean() > 0.9
    assert noise(x).softmax(-1).max(-1).values.mean() < 0.5


def test_the_factor_of_the_scores_has_the_least_cross_entropy_of_the_left_out_scores():
    x, y, w = weighted_case()
    head = fit_ridge(x, y, w, strength=1.0)
    mean = (w @ x.double()) / w.sum()
    deviation = ((w @ (x.double() - mean).square()) / w.sum()).sqrt()
    left = torch.stack([
        direct_ridge(x[k], y[k], w[k], float(w.sum()), deviation)(x[i : i + 1])[0]
        for i in range(len(x)) for k in [torch.arange(len(x)) != i]
    ])  # fmt: skip

    def loss(scale):
        return float(-(w * (y * (scale * left).log_softmax(-1)).sum(-1)).sum())

    assert loss(head.scale) < min(loss(0.98 * head.scale), loss(1.02 * head.scale))


def test_blocks_change_no_result(monkeypatch):
    x, labels = clusters()
    y, labelled = one_hot(labels, 3), torch.arange(120) % 40 == 0
    whole, graph = fit_ridge(x, y), build_graph(x)
    spread = fit_graph_head(x, y, labelled)[1]
    monkeypatch.setattr(heads, "_BLOCK", 7 * 120)
    torch.testing.assert_close(fit_ridge(x, y)(x), whole(x))
    assert abs(build_graph(x) - graph).max() < 1e-6
    torch.testing.assert_close(fit_graph_head(x, y, labelled)[1], spread, rtol=1e-5, atol=1e-6)


def dense_graph(x, k, power):
    """Return the graph as a dense matrix, edge by edge."""
    x = nn.functional.normalize(x.double(), dim=-1)
    cosines = (x @ x.T).numpy()
    np.fill_diagonal(cosines, -2)
    one_way = np.zeros_like(cosines)
    for i, row in enumerate(cosines):
        for j in np.argsort(-row)[:k]:
            one_way[i, j] = max(row[j], 0) ** power
    both = one_way + one_way.T
    degree = both.sum(1)
    return both, both / np.sqrt(np.outer(degree, degree))


def test_the_graph_is_that_of_the_definition_and_symmetric():
    x, _ = clusters(per_class=10)
    graph = build_graph(x, 4, power=2.0)
    np.testing.assert_allclose(graph.toarray(), dense_graph(x, 4, 2.0)[1], atol=1e-6)
    assert abs(graph - graph.T).max() < 1e-12
    assert not graph.diagonal().any()
    assert np.linalg.eigvalsh(graph.toarray()).max() == pytest.approx(1)


def test_the_order_of_the_clips_changes_nothing():
    x, labels = clusters()
    order = torch.randperm(120, generator=torch.Generator().manual_seed(5))
    labelled = torch.arange(120) % 40 == 0
    y = one_hot(labels, 3)
    spread, turned = fit_graph_head(x, y, labelled)[1], fit_graph_head(x[order], y[order], labelled[order])[1]
    torch.testing.assert_close(turned, spread[order], rtol=1e-5, atol=1e-7)


def test_labels_spread_to_the_solution_of_the_equation():
    x, labels = clusters(per_class=10)
    graph = build_graph(x, 4)
    y = one_hot(labels, 3) * (torch.arange(30) % 10 == 0)[:, None]
    expected = np.linalg.solve(np.eye(30) - 0.9 * graph.toarray(), 0.1 * y.numpy())
    np.testing.assert_allclose(spread_labels(graph, y, alpha=0.9).numpy(), expected, atol=1e-8)


def test_labels_spread_as_in_scikit_learn():
    semi_supervised = pytest.importorskip("sklearn.semi_supervised")
    x, labels = clusters(per_class=10)
    labelled = torch.arange(30) % 10 == 0
    affinities = dense_graph(x, 4, 3.0)[0]
    theirs = semi_supervised.LabelSpreading(kernel=lambda *_: affinities, alpha=0.9, max_iter=10_000, tol=1e-12)
    theirs.fit(x.numpy(), torch.where(labelled, labels, -1).numpy())
    ours = spread_labels(build_graph(x, 4), one_hot(labels, 3) * labelled[:, None], alpha=0.9)
    shares = (ours / ours.sum(-1, keepdim=True)).numpy()
    np.testing.assert_allclose(shares, theirs.label_distributions_, atol=1e-4)


def test_one_label_a_moon_is_enough_for_the_graph_and_not_for_a_line():
    x, labels = moons()
    labelled = torch.zeros(200, dtype=torch.bool)
    labelled[[50, 150]] = True
    y = one_hot(labels, 2)
    spread = spread_labels(build_graph(x), y * labelled[:, None])
    assert (spread.argmax(-1) == labels).float().mean() > 0.97
    line = fit_ridge(x, y, labelled.double())(x)
    assert (line.argmax(-1) == labels).float().mean() < 0.9


def test_one_label_a_cluster_is_enough_for_new_clips_too():
    x, labels = clusters()
    new, truth = clusters(seed=7)
    head, spread = fit_graph_head(x, one_hot(labels, 3), torch.arange(120) % 40 == 0)
    assert (spread.argmax(-1) == labels).float().mean() > 0.97
    assert (head(new).argmax(-1) == truth).float().mean() > 0.97


def test_unlabelled_targets_do_not_reach_the_graph_head_unless_they_have_a_weight():
    x, labels = clusters()
    labelled = torch.arange(120) % 40 == 0
    y = one_hot(labels, 3)
    wrong = torch.where(labelled[:, None], y, y.roll(1, -1))
    alone, other = fit_graph_head(x, y, labelled)[1], fit_graph_head(x, wrong, labelled)[1]
    torch.testing.assert_close(other, alone)
    believed = fit_graph_head(x, wrong, labelled, guess_weight=1.0)[1]
    assert (believed.argmax(-1) == labels).float().mean() < 0.1


def test_a_clip_that_no_label_reaches_has_the_prior_and_no_weight():
    far = torch.cat([torch.eye(2, 4), torch.eye(2, 4) + 0.01, -torch.ones(2, 4) + 0.1 * draw(2, 4)])
    y = one_hot([0, 1, 0, 1, 0, 0], 2)
    labelled = torch.tensor([True, True, False, False, False, False])
    standard = (far - far.mean(0)) / far.std(0, correction=0)
    assert not (spread_labels(build_graph(standard, 1), y * labelled[:, None])[4:] > 0).any()
    head, spread = fit_graph_head(far, y, labelled, neighbours=1)
    torch.testing.assert_close(spread[4:], torch.full((2, 2), 0.5).double())
    torch.testing.assert_close(fit_ridge(far[:4], spread[:4])(far), head(far))


def test_the_refit_head_takes_labels_and_guesses_and_weighs_labels():
    x, labels = clusters()
    labelled = torch.arange(120) % 4 == 0
    y = one_hot(labels, 3)
    wrong = torch.where(labelled[:, None], y, y.roll(1, -1))
    assert (fit_refit_head(x, y, labelled)(x).argmax(-1) == labels).float().mean() > 0.97
    assert (fit_refit_head(x, wrong, labelled)(x).argmax(-1) == labels).float().mean() < 0.1
    heavy = fit_refit_head(x, wrong, labelled, weight_labelled=100.0)
    assert (heavy(x).argmax(-1) == labels).float().mean() > 0.97


def test_alignment_keeps_equal_predictions_apart_and_moves_the_mean_to_the_prior():
    p = draw(500, 4, seed=2).softmax(-1) ** 0.5
    p = p / p.sum(-1, keepdim=True)
    prior = torch.tensor([0.4, 0.3, 0.2, 0.1])
    aligned = align_to_prior(p, prior)
    torch.testing.assert_close(aligned.sum(-1), torch.ones(500))
    assert (aligned.mean(0) - prior).abs().max() < 0.3 * (p.mean(0) - prior).abs().max()
    torch.testing.assert_close(align_to_prior(p, p.mean(0)), p)


def test_certainty_is_one_for_one_class_and_zero_for_all():
    torch.testing.assert_close(certainty(torch.tensor([[0.0, 1.0, 0.0], [1 / 3] * 3])), torch.tensor([1.0, 0.0]))


def test_a_head_in_a_layer_gives_its_logits():
    x, y, w = weighted_case()
    head, layer = fit_ridge(x, y, w), nn.Linear(5, 3)
    fold(head, layer)
    torch.testing.assert_close(layer(x), head(x).float())
    with pytest.raises(ValueError, match="layer must be one with a bias"):
        fold(head, nn.Linear(5, 3, bias=False))
    with pytest.raises(ValueError, match=r"layer must be of shape \(3, 5\), got \(2, 5\)"):
        fold(head, nn.Linear(5, 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": torch.full((21, 5), math.nan)}, "features must be finite"),
        ({"targets": torch.ones(20, 3)}, "targets must be of 21 items"),
        ({"weights": -torch.ones(21)}, "weights must be at least 0"),
        ({"weights": torch.zeros(21)}, "weights must be at least 0, and some above"),
        ({"measured": torch.zeros(21, dtype=torch.bool)}, "measured must be clips"),
    ],
    ids=["nan", "fewer", "negative", "zero", "none"],
)
def test_what_cannot_be_fitted_is_refused(change, message):
    x, y, w = weighted_case()
    with pytest.raises(ValueError, match=message):
        fit_ridge(**({"features": x, "targets": y, "weights": w} | change))


def test_spreading_refuses_logits_and_a_share_of_one():
    graph = build_graph(draw(6, 3))
    with pytest.raises(ValueError, match=r"targets must be at least 0.*softmax"):
        spread_labels(graph, -torch.ones(6, 2))
    with pytest.raises(ValueError, match="alpha must be between 0 and 1"):
        spread_labels(graph, torch.ones(6, 2), alpha=1.0)


def test_a_clip_that_no_label_reaches_has_no_weight_with_uneven_classes_either():
    far = torch.cat([torch.eye(2, 4), torch.eye(2, 4) + 0.01, -torch.ones(2, 4) + 0.1 * draw(2, 4)])
    y, labelled = one_hot([0, 1, 0, 1, 0, 0], 2), torch.tensor([True, True, False, False, False, False])
    prior = torch.tensor([0.9, 0.1]).double()
    head, spread = fit_graph_head(far, y, labelled, neighbours=1, prior=prior)
    expected = fit_ridge(far[:4], spread[:4], certainty(spread[:4]))
    torch.testing.assert_close(expected(far), head(far))


def test_neighbours_are_found_in_full_precision_within_autocast():
    x = 1 + 0.01 * draw(60, 8)  # cosines of 0.999 and more, which bfloat16 cannot tell apart
    with torch.autocast("cpu", torch.bfloat16):
        found = build_graph(x, 4)
    assert abs(found - build_graph(x, 4)).max() < 1e-6
