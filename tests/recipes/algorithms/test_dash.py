import math

import pytest
import torch
from ssl_tables import CLASSES, A, B, labelled
from tables import LABELLED, SURE, UNIFORM, UNSURE, assert_two_processes_are_one, losses, unlabelled

from recipes.algorithms.dash import Dash

LOSS = -(math.log(0.8) + math.log(0.6)) / 2  # of LABELLED
MIDDLE = [[1 / 2, 1 / 4, 1 / 4]]


def made(rho, **options):
    """Return a method whose labelled clips had a loss of `rho`."""
    method = Dash(CLASSES, **{"start": 0.1, "period": 0.1, "gamma": 2.0, "scale": 1.0} | options)
    method.labelled_mean.fill_(rho)
    return method


def test_the_loss_of_labelled_clips_is_followed_from_log_k_while_the_network_warms_up():
    method = Dash(CLASSES, start=0.5)
    losses(method, unlabelled([SURE]), progress=0.0)
    assert method.labelled_mean.item() == pytest.approx(0.9 * math.log(3) + 0.1 * LOSS)
    before = method.labelled_mean.clone()
    losses(method, unlabelled([SURE]), labelled([B], [0]), progress=0.4)
    assert method.labelled_mean.item() == pytest.approx(0.9 * before.item() - 0.1 * math.log(0.2))


def test_unlabelled_clips_and_later_batches_leave_it_alone():
    # USB takes the loss of the evaluated clips, the authors' code that of the unlabelled ones.
    first, second = Dash(CLASSES, start=0.5), Dash(CLASSES, start=0.5)
    losses(first, unlabelled([SURE]), progress=0.1)
    losses(second, unlabelled([UNSURE, UNIFORM]), progress=0.1)
    assert first.labelled_mean == second.labelled_mean
    before = first.labelled_mean.clone()
    losses(first, unlabelled([SURE]), labelled([A], [2]), progress=0.5)
    assert first.labelled_mean == before


def test_nothing_unlabelled_is_learnt_while_the_network_warms_up():
    method = made(9.0)
    assert losses(method, unlabelled([SURE]), progress=0.09)["unlabelled"] == 0
    assert losses(method, unlabelled([SURE]), progress=0.1)["unlabelled"] > 0


@pytest.mark.parametrize(
    ("progress", "rho"),
    [(0.1, 0.8), (0.19, 0.8), (0.2, 0.4), (0.3, 0.2), (0.39, 0.2), (0.45, 0.1), (0.5, 0.05), (0.6, 0.05), (1.0, 0.05)],
)
def test_the_threshold_is_divided_by_gamma_every_period_down_to_its_least(progress, rho):
    method = made(0.8)
    losses(method, unlabelled([SURE]), progress=progress)
    assert method.logs()["rho"].item() == pytest.approx(rho)
    assert method.logs()["threshold"].item() == pytest.approx(math.exp(-rho))


def test_c_scales_the_threshold():
    assert made(0.8, scale=1.5).falling_threshold(0.2).item() == pytest.approx(0.6)


def test_a_clip_counts_whose_own_loss_is_at_most_the_threshold():
    # losses 0.69 (confidence 0.5) and 0.041 (0.96)
    for rho, mask in ((0.7, 1.0), (0.68, 0.5), (0.06, 0.5)):
        method = made(rho, period=1.0, least_loss=0.0)
        losses(method, unlabelled([SURE, UNSURE]), progress=0.2)
        assert method.logs()["mask"] == mask, rho


def test_targets_are_soft_while_the_threshold_falls_and_hard_at_its_least():
    q = [0.6, 0.3, 0.1]
    soft = losses(made(0.8, least_loss=0.75), unlabelled([q], MIDDLE), progress=0.1)["unlabelled"]
    squares = [p**2 / 0.46 for p in q]  # sharpened with 1/2
    assert soft.item() == pytest.approx(squares[0] * math.log(2) + (squares[1] + squares[2]) * math.log(4), abs=1e-5)
    hard = losses(made(0.8, least_loss=0.75), unlabelled([q], MIDDLE), progress=0.2)["unlabelled"]
    assert hard.item() == pytest.approx(math.log(2), abs=1e-5)


def test_the_mean_is_over_the_whole_batch_and_not_over_the_accepted():
    one = losses(made(0.06), unlabelled([SURE]), progress=0.1)["unlabelled"]
    four = losses(made(0.06), unlabelled([SURE, UNSURE, UNSURE, UNSURE]), progress=0.1)["unlabelled"]
    assert one.item() == pytest.approx(math.log(3), abs=1e-3)
    torch.testing.assert_close(four, one / 4)


def test_a_network_that_is_sure_and_wrong_makes_no_nan():
    known = labelled([[1.0, 1e-38, 1e-38]], [1])
    method = Dash(CLASSES, start=0.5)
    terms = losses(method, unlabelled([[1.0, 1e-38, 1e-38]]), known, progress=0.0)
    assert method.labelled_mean.isfinite()
    assert all(term.isfinite() for term in terms.values())


def test_two_processes_are_one():
    # at progress 0.5 of `losses`: while it warms up, and after
    assert_two_processes_are_one(Dash, start=0.6)
    assert 0 < assert_two_processes_are_one(Dash, start=0.0, least_loss=0.9)[2]["mask"] < 1


def test_original_is_the_papers():
    method = Dash(CLASSES, **Dash.presets["original"])
    assert (method.scale, method.gamma, method.least_loss) == (1.0001, 1.27, 0.05)
    assert (round(1024 * method.start), round(1024 * method.period)) == (10, 9)
    assert LABELLED.target.tolist() == [0, 1]
