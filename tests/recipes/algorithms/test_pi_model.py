import numpy as np
import pytest
import torch
import torch.nn.functional as F
from ssl_tables import CLASSES, A, B, C, Table, batches_seen, labelled, losses, network, noise, read, ready, unlabelled

from recipes.algorithms.pi_model import PiModel

KNOWN = labelled([A, B], [0, 1])


def made(**options):
    return ready(PiModel(CLASSES, **{"weight": 1.0} | options), Table())


def squares(first, second, scale):
    """Return the mean square difference of class probabilities, clip by clip."""
    p, other = (np.array(rows) ** scale for rows in (first, second))
    total = 0.0
    for a, b in zip(p / p.sum(1, keepdims=True), other / other.sum(1, keepdims=True)):
        total += sum((x - y) ** 2 for x, y in zip(a, b))
    return total / (len(p) * CLASSES)


@pytest.mark.parametrize(("view", "seen"), [("weak", [B, A, C]), ("strong", [C, C, A])])
def test_the_consistency_is_the_mean_square_over_unlabelled_clips_and_classes(view, seen):
    batch = unlabelled([[A, B, C], [B, A, C]], [[C, C, A]])
    method = made(second_view=view, weight=10.0)
    found = losses(method, Table(0.5), KNOWN, batch)
    assert found["consistency"].item() == pytest.approx(10 * squares([A, B, C], seen, 0.5), rel=1e-5)
    torch.testing.assert_close(found["labelled"], F.cross_entropy(0.5 * read(KNOWN.x), KNOWN.target))
    assert (method.weak_views, method.strong_views) == {"weak": (2, 0), "strong": (1, 1)}[view]


@pytest.mark.parametrize("both", [True, False])
def test_the_gradient_goes_through_both_predictions_or_the_second(both):
    model = Table(0.5)
    losses(made(both_learn=both), model, KNOWN, unlabelled([[A, B], [B, C]]))["consistency"].backward()
    rows, steps = ([A, B], [B, C]), 1e-4
    first, second = (
        (squares_at(*rows, *(0.5 + steps * np.array(way))) - squares_at(*rows, *(0.5 - steps * np.array(way))))
        / (2 * steps)
        for way in ((1, 0), (0, 1))
    )
    assert model.scale.grad.item() == pytest.approx(second + both * first, rel=1e-3)
    assert abs(first) > 0.01


def squares_at(first, second, scale, other):
    p, q = np.array(first) ** scale, np.array(second) ** other
    p, q = p / p.sum(1, keepdims=True), q / q.sum(1, keepdims=True)
    return ((p - q) ** 2).mean()


def test_equal_views_agree_and_different_ones_do_not():
    same = losses(made(), Table(), KNOWN, unlabelled([[A, B], [A, B]]))["consistency"]
    other = losses(made(), Table(), KNOWN, unlabelled([[A, B], [B, A]]))["consistency"]
    assert same == 0
    assert other > 0.1


def test_batch_norm_takes_in_one_batch_a_step():
    model = network()
    losses(ready(PiModel(CLASSES), model), model, *noise())
    assert batches_seen(model) == 1


def test_the_first_view_is_logged():
    method = made()
    losses(method, Table(), KNOWN, unlabelled([[A, A, B, C], [C, C, C, C]], hidden=[0, 1, 1, -1]))
    assert method.logs()["guess_accuracy"] == pytest.approx(2 / 3)
    assert method.logs()["count"].tolist() == [2, 1, 1]


def test_original_is_the_papers():
    method = PiModel(CLASSES, **PiModel.presets["original"])
    assert (method.weight(1), method.weight(0.26) < 100, method.both_learn, method.second_view) == (
        100, True, True, "weak",
    )  # fmt: skip
    assert method.weight(80 / 300) == pytest.approx(100, rel=0.01)
