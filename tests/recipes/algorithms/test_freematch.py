import math

import pytest
import torch
from ssl_tables import CLASSES, Table, clips
from tables import SURE, UNSURE, assert_two_processes_are_one, losses, unlabelled

from recipes.algorithms.freematch import FreeMatch

FREQUENT, HISTOGRAM = [0.5, 0.25, 0.25], [0.6, 0.3, 0.1]


def fixed(confidence=0.8, guessed=FREQUENT, histogram=HISTOGRAM, **options):
    """Return a method whose running means stay where they are."""
    method = FreeMatch(CLASSES, momentum=1.0, **options)
    method.confidence.fill_(confidence)
    method.guessed.copy_(torch.tensor(guessed))
    method.histogram.copy_(torch.tensor(histogram))
    return method


def test_confidence_classes_and_histogram_are_followed_from_1_over_k():
    method = FreeMatch(CLASSES, momentum=0.9)
    losses(method, unlabelled([SURE, UNSURE, [0.1, 0.7, 0.2]]))
    assert method.confidence.item() == pytest.approx(0.3 + 0.1 * (0.96 + 0.5 + 0.7) / 3)
    mean = (torch.tensor(SURE) + torch.tensor(UNSURE) + torch.tensor([0.1, 0.7, 0.2])) / 3
    torch.testing.assert_close(method.guessed, 0.3 + 0.1 * mean)
    torch.testing.assert_close(method.histogram, 0.3 + 0.1 * torch.tensor([2 / 3, 1 / 3, 0]))
    # used at once: the highest threshold is the mean confidence
    expected = method.confidence * method.guessed / method.guessed[0]
    torch.testing.assert_close(method.logs()["threshold_high"], method.confidence)
    torch.testing.assert_close(method.logs()["threshold_low"], expected[2])


def test_a_class_that_is_predicted_half_as_often_needs_half_the_confidence():
    method = fixed()  # thresholds 0.8, 0.4, 0.4
    weak = [[0.7, 0.2, 0.1], [0.9, 0.05, 0.05], [0.3, 0.45, 0.25], [0.3, 0.31, 0.39]]
    strong = [[1 / 2, 1 / 4, 1 / 4]] * 4
    terms = losses(method, unlabelled(weak, strong))
    assert method.logs()["threshold_high"].item() == pytest.approx(0.8)
    assert method.logs()["threshold_low"].item() == pytest.approx(0.4)
    assert torch.equal(method.logs()["count"], torch.tensor([1.0, 1, 0]).double())
    assert terms["unlabelled"].item() == pytest.approx((math.log(2) + math.log(4)) / 4, abs=1e-5)


def fairness(strong, believed):
    """Return L_f as equations 9 to 11 say, with the authors' 1e-12 where it plays no part."""
    strong = [row for row, on in zip(strong, believed) if on]
    mean = [sum(row[k] for row in strong) for k in range(CLASSES)]
    counts = [sum(max(range(CLASSES), key=row.__getitem__) == k for row in strong) for k in range(CLASSES)]
    ratio = [m / c if c else 0.0 for m, c in zip(mean, counts)]
    target = [p / h for p, h in zip(FREQUENT, HISTOGRAM)]
    terms = [t / sum(target) * math.log(r / sum(ratio)) for t, r in zip(target, ratio) if r]
    return sum(terms)


def test_fairness_compares_mean_predictions_on_accepted_strong_views_with_the_running_ones():
    weak = [SURE, [0.2, 0.7, 0.1], [0.4, 0.3, 0.3], [0.1, 0.2, 0.7]]  # the third is not believed: 0.4 < 0.8
    strong = [[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.05, 0.05, 0.9], [0.3, 0.6, 0.1]]
    expected = fairness(strong, [1, 1, 0, 1])
    assert expected < 0  # minus a cross-entropy, as the paper minimises it
    for factor in (1.0, 0.01, -0.5):
        terms = losses(fixed(fairness=factor), unlabelled(weak, strong))
        assert terms["fairness"].item() == pytest.approx(factor * expected, rel=1e-4)
    half = losses(fixed(fairness=1.0, weight="linear:0:1"), unlabelled(weak, strong))
    assert half["fairness"].item() == pytest.approx(expected / 2, rel=1e-4)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_published_sign_drives_the_distributions_apart_and_the_other_together(sign):
    weak, strong = [SURE, SURE, [0.1, 0.8, 0.1]], [[0.5, 0.3, 0.2], [0.6, 0.3, 0.1], [0.25, 0.45, 0.3]]
    method = fixed(fairness=float(sign), guessed=[0.4, 0.3, 0.3], histogram=[0.3, 0.6, 0.1])
    target = torch.tensor([0.4 / 0.3, 0.3 / 0.6])

    def apart(x):
        p = x[:, 0, :, 0].softmax(-1)
        ratio = p.mean(0)[:2] / torch.tensor([2 / 3, 1 / 3])
        return (target / torch.tensor([4 / 3, 0.5, 3]).sum() * -(ratio / ratio.sum()).log()).sum()

    x = clips(strong).requires_grad_()
    batch = unlabelled(weak)._replace(strongs=(x,))
    (step,) = torch.autograd.grad(losses(method, batch)["fairness"], x)
    assert sign * (apart(x - 0.1 * step) - apart(x)) > 0


def test_fairness_has_a_gradient_through_the_mean_but_not_through_histogram_and_running_means():
    weak, strong = [SURE] * 3, [[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.2, 0.2, 0.6]]
    model = Table()
    batch = unlabelled([*weak, UNSURE], [*strong, [0.1, 0.1, 0.8]])  # the last is not believed
    losses(fixed(fairness=1.0), batch, model=model)["fairness"].backward()

    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    mean = (scale * torch.tensor(strong).double().log()).softmax(-1).mean(0)  # the histogram is uniform
    target = torch.tensor(FREQUENT).double() / torch.tensor(HISTOGRAM)
    (target / target.sum() * (mean / mean.sum()).log()).sum().backward()
    assert model.scale.grad.item() == pytest.approx(scale.grad.item(), rel=1e-4)


def test_no_accepted_pseudo_label_makes_no_nan():
    model = Table()
    terms = losses(fixed(confidence=1.0), unlabelled([UNSURE, UNSURE]), model=model)
    assert terms["unlabelled"] == 0
    assert terms["fairness"] == 0
    sum(terms.values()).backward()
    assert model.scale.grad.isfinite()


def test_a_class_never_predicted_for_long_makes_no_nan():
    method = FreeMatch(CLASSES, momentum=0.1, fairness=1.0)
    for _ in range(60):
        terms = losses(method, unlabelled([SURE, SURE], [[0.5, 0.3, 0.2], [0.2, 0.6, 0.2]]))
    assert method.histogram[1] < 1e-30
    assert all(term.isfinite() for term in terms.values())


def test_two_processes_are_one():
    # the fairness term is no mean over clips: only with the means of all processes inside is it the same
    _, terms, logs, _ = assert_two_processes_are_one(FreeMatch, momentum=0.5, fairness=1.0)
    assert 0 < logs["mask"] < 1
    assert terms["fairness"] != 0
