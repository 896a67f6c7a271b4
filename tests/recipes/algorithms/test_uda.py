import math

import numpy as np
import pytest
import torch
from ssl_tables import CLASSES, Table
from tables import LABELLED, SURE, UNSURE, Half, assert_two_processes_are_one, losses, unlabelled

from recipes.algorithms.base import Unlabelled
from recipes.algorithms.uda import UDA


def softmax(z):
    e = np.exp(np.asarray(z) - np.max(z))
    return e / e.sum()


def views(weak, strong):
    """Return views whose first frame holds these logits."""
    pair = [torch.tensor(rows)[:, None, :, None].expand(-1, 1, -1, 5).clone() for rows in (weak, strong)]
    return Unlabelled((pair[0],), (pair[1],), torch.zeros(len(weak), dtype=torch.int64), torch.arange(len(weak)))


WEAK = [[5.0, 3.0, 1.0], [2.0, 2.5, 2.0], [-4.0, 1.0, -2.0]]
STRONG = [[1.0, 0.0, 2.0], [3.0, 0.0, 0.0], [0.5, 1.0, 0.0]]


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_divides_the_logits_and_the_target_is_soft(temperature):
    # USB hands probabilities to the hook that sharpens, which returns them as they are: T has no effect there.
    term = losses(UDA(CLASSES, temperature=temperature, threshold=0.8), views(WEAK, STRONG))["unlabelled"]
    expected = 0.0
    for weak, strong in zip(WEAK, STRONG):
        if softmax(weak).max() >= 0.8:
            target = softmax(np.array(weak) / temperature)
            expected -= (target * np.log(softmax(strong))).sum()
    assert term.item() == pytest.approx(expected / 3, rel=1e-5)


def test_temperatures_differ():
    found = [losses(UDA(CLASSES, temperature=t), views(WEAK, STRONG))["unlabelled"].item() for t in (0.4, 1.0)]
    assert abs(found[0] - found[1]) > 0.03


def test_confidence_is_taken_before_sharpening():
    q = [0.75, 0.15, 0.1]  # sharpened with 0.4: above 0.97
    method = UDA(CLASSES, threshold=0.8)
    assert losses(method, unlabelled([q, q]))["unlabelled"] == 0
    losses(method, unlabelled([SURE, q]))
    assert method.logs()["mask"] == 0.5


def test_the_mean_is_over_the_whole_batch():
    one = losses(UDA(CLASSES), unlabelled([SURE]))["unlabelled"]
    four = losses(UDA(CLASSES), unlabelled([SURE, UNSURE, UNSURE, UNSURE]))["unlabelled"]
    assert one.item() == pytest.approx(math.log(3), abs=1e-4)
    assert four.item() == pytest.approx(one.item() / 4, abs=1e-5)


@pytest.mark.parametrize(
    ("annealing", "at"),
    [
        ("log", [0, 1 - math.exp(-2.5), 1 - math.exp(-5)]),
        ("linear", [0, 0.5, 1]),
        ("exp", [math.exp(-5), math.exp(-2.5), 1]),
    ],
)
def test_the_signal_threshold_rises_from_1_over_k_to_1(annealing, at):
    method = UDA(CLASSES, annealing=annealing)
    assert [method.signal_threshold(t) for t in (0, 0.5, 1)] == pytest.approx([a * 2 / 3 + 1 / 3 for a in at])
    losses(method, unlabelled([SURE]), progress=0.5)
    assert method.logs()["signal"].item() == pytest.approx(at[1] * 2 / 3 + 1 / 3)


def test_annealing_leaves_out_labelled_clips_that_are_likely_enough():
    # Labels are believed with 0.8 and 0.6; the threshold is 2/3 half way. The mean is over those that are kept.
    half_way = losses(UDA(CLASSES, annealing="linear"), unlabelled([SURE]), progress=0.5)["labelled"]
    assert half_way.item() == pytest.approx(-math.log(0.6), abs=1e-5)
    none = losses(UDA(CLASSES, annealing="linear"), unlabelled([SURE]), progress=0.0)["labelled"]
    assert none == 0  # and not 0 / 0
    all_of_them = losses(UDA(CLASSES, annealing="linear"), unlabelled([SURE]), progress=1.0)["labelled"]
    assert all_of_them.item() == pytest.approx(-(math.log(0.8) + math.log(0.6)) / 2, abs=1e-5)
    plain = losses(UDA(CLASSES), unlabelled([SURE]), progress=0.0)["labelled"]
    torch.testing.assert_close(plain, all_of_them)


def test_what_annealing_keeps_has_the_gradient_of_a_mean():
    model = Table(0.5)
    losses(UDA(CLASSES, annealing="linear"), unlabelled([SURE]), model=model, progress=0.3)["labelled"].backward()
    # sqrt(p) normalised: 0.8 becomes 0.586, 0.6 becomes 0.464; the threshold is 0.533
    scale = torch.tensor(0.5, requires_grad=True)
    (-(scale * LABELLED.x[1:, 0, :, 0]).log_softmax(-1)[0, 1]).backward()
    torch.testing.assert_close(model.scale.grad, scale.grad)


def test_a_mixer_mixes_the_sharpened_target():
    method = UDA(CLASSES, Half(), temperature=0.5, threshold=0.0)
    q = np.array([0.2, 0.7, 0.1])
    term = losses(method, unlabelled([q.tolist()], [[0.5, 0.25, 0.25]]))["unlabelled"]
    target = 0.75 * q**2 / (q**2).sum() + 0.25 * np.array([1, 0, 0])
    logits = 0.75 * np.log([0.5, 0.25, 0.25]) + 0.25 * LABELLED.x[0, 0, :, 0].double().numpy()
    assert term.item() == pytest.approx(-(target * np.log(softmax(logits))).sum(), rel=1e-4)


def test_two_processes_are_one():
    assert 0 < assert_two_processes_are_one(UDA, threshold=0.4)[2]["mask"] < 1


def test_presets():
    original = UDA(CLASSES, **UDA.presets.get("original", {}))
    assert (original.threshold, original.temperature, original.annealing) == (0.8, 0.4, "none")
    assert UDA(CLASSES, **UDA.presets["study"]).temperature == 0.5
