import math

import pytest
import torch
from ssl_tables import CLASSES, Table
from tables import LABELLED, SURE, UNSURE, Half, assert_two_processes_are_one, losses, unlabelled

from recipes.algorithms.pseudo_label import PseudoLabel


def made(**options):
    return PseudoLabel(CLASSES, **{"weight": 1.0, "start": 0.0, "end": 0.0} | options)


@pytest.mark.parametrize(
    ("progress", "alpha"), [(0, 0), (0.1, 0), (0.2, 0.6), (0.35, 1.5), (0.6, 3), (0.9, 3), (1, 3)]
)
def test_alpha_rises_from_t1_to_t2(progress, alpha):
    assert PseudoLabel(CLASSES).factor(progress) == pytest.approx(alpha)


def test_where_t1_is_t2_alpha_jumps():
    method = made(start=0.3, end=0.3, weight=2.0)
    assert [method.factor(t) for t in (0, 0.29, 0.3, 1)] == [0, 0, 2, 2]


def test_the_view_that_is_learnt_is_the_view_that_is_predicted_on():
    # the strong view would cost log 3
    term = losses(made(), unlabelled([SURE, UNSURE]))["unlabelled"]
    assert term.item() == pytest.approx(-(math.log(0.96) + math.log(0.5)) / 2, abs=1e-5)
    assert (PseudoLabel.weak_views, PseudoLabel.strong_views) == (1, 0)


def test_the_mean_is_over_all_clips_whatever_the_threshold_leaves_out():
    method = made(threshold=0.9)
    term = losses(method, unlabelled([SURE, UNSURE, UNSURE, UNSURE]))["unlabelled"]
    assert term.item() == pytest.approx(-math.log(0.96) / 4, abs=1e-5)
    assert method.logs()["mask"] == 0.25


def test_the_prediction_is_learnt_and_the_label_has_no_gradient():
    model = Table(0.5)
    losses(made(), unlabelled([SURE, UNSURE]), model=model)["unlabelled"].backward()
    scale = torch.tensor(0.5, requires_grad=True)
    logits = scale * torch.tensor([SURE, UNSURE]).log()
    (-logits.log_softmax(-1)[:, 0].mean()).backward()
    torch.testing.assert_close(model.scale.grad, scale.grad)
    assert scale.grad != 0


def test_pseudo_labels_are_those_of_unmixed_clips():
    # The mixer gives the original three quarters, and the first partner is the first labelled clip, of class 0.
    batch = unlabelled([[0.1, 0.8, 0.1]])
    term = losses(PseudoLabel(CLASSES, Half(), weight=1.0, start=0.0, end=0.0), batch)["unlabelled"]
    logits = 0.75 * torch.tensor([0.1, 0.8, 0.1]).log() + 0.25 * LABELLED.x[0, 0, :, 0]
    expected = -(torch.tensor([0.25, 0.75, 0]) * logits.log_softmax(-1)).sum()
    torch.testing.assert_close(term, expected)


def test_original_learns_every_pseudo_label():
    method = PseudoLabel(CLASSES, **PseudoLabel.presets["original"])
    losses(method, unlabelled([SURE, UNSURE]))
    assert (method.threshold, method.logs()["mask"]) == (0, 1)


def test_two_processes_are_one():
    assert_two_processes_are_one(PseudoLabel, threshold=0.4, start=0.0, end=0.2)
