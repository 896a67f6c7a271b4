import math

import pytest
import torch
from ssl_tables import CLASSES
from tables import SURE, UNSURE, assert_two_processes_are_one, losses, made, together, unlabelled

from recipes.algorithms.flexmatch import FlexMatch

SECOND = [0.02, 0.96, 0.02]


def learnt(counts, clips=16, **options):
    """Return a method for which so many clips of each class have been guessed."""
    method = made(FlexMatch, clips=clips, threshold=0.9, **options)
    known = torch.repeat_interleave(torch.arange(CLASSES), torch.tensor(counts))
    method.status[: len(known)] = known
    return method


@pytest.mark.parametrize(
    ("counts", "warmup", "beta"),
    [
        ([4, 2, 0], True, [0.4, 0.2, 0]),  # 10 of 16 clips have no class: more than any class
        ([4, 2, 0], False, [1, 0.5, 0]),
        ([8, 4, 1], True, [1, 0.5, 0.125]),  # 3 have none: the most frequent class sets the pace
        ([0, 0, 0], True, [0, 0, 0]),
        ([0, 0, 0], False, [0, 0, 0]),
        ([0, 0, 16], True, [0, 0, 1]),
    ],
)
def test_thresholds_follow_how_many_clips_each_class_has(counts, warmup, beta):
    expected = [0.9 * b / (2 - b) for b in beta]
    assert learnt(counts, threshold_warmup=warmup).thresholds().tolist() == pytest.approx(expected)


def test_each_pseudo_label_is_held_to_the_threshold_of_its_class():
    method = learnt([8, 4, 0])  # beta 1, 1/2, 0; thresholds 0.9, 0.3, 0
    terms = losses(method, unlabelled([UNSURE, SURE, [0.3, 0.4, 0.3], [0.3, 0.3, 0.4]], [[1 / 2, 1 / 4, 1 / 4]] * 4))
    assert method.logs()["threshold_high"].item() == pytest.approx(0.9)
    assert method.logs()["threshold_low"] == 0
    assert torch.equal(method.logs()["count"], torch.tensor([1.0, 1, 1]).double())
    assert terms["unlabelled"].item() == pytest.approx((math.log(2) + 2 * math.log(4)) / 4, abs=1e-5)


def test_at_first_all_are_accepted_and_only_confident_predictions_are_counted():
    method = made(FlexMatch, clips=6, threshold=0.9)
    losses(method, unlabelled([SURE, UNSURE, SECOND], index=[4, 0, 2]))
    assert method.logs()["mask"] == 1  # judged before this batch is noted
    assert method.status.tolist() == [-1, -1, 1, -1, 0, -1]


def test_a_clip_keeps_its_class_while_unsure_and_changes_it_when_sure_of_another():
    method = made(FlexMatch, clips=3, threshold=0.9)
    for weak, expected in [(SURE, 0), (UNSURE, 0), (SECOND, 1)]:
        losses(method, unlabelled([weak], index=[1]))
        assert method.status.tolist() == [-1, expected, -1]


def test_of_a_clip_that_comes_twice_the_last_confident_prediction_counts():
    method = made(FlexMatch, clips=3, threshold=0.9)
    losses(method, unlabelled([SURE, SECOND, SECOND, SURE, UNSURE, UNSURE], index=[0, 0, 1, 1, 1, 2]))
    assert method.status.tolist() == [1, 0, -1]


def test_thresholds_rise_from_batch_to_batch():
    method, seen = made(FlexMatch, clips=4, threshold=0.9), []
    for index in range(4):
        losses(method, unlabelled([SURE], index=[index]))
        seen.append(method.logs()["threshold_high"].item())
    # 0, 1, 2 and 3 of 4 clips: beta 0, 1 / 3, 1 and 1
    assert seen == pytest.approx([0, 0.9 / 5, 0.9, 0.9])


def test_two_processes_are_one():
    assert 0 < assert_two_processes_are_one(FlexMatch, threshold_warmup=False, threshold=0.5)[2]["mask"] < 1


def test_a_clip_in_two_processes_has_the_class_of_the_last():
    def task(weak):
        def run(gather):
            method = made(FlexMatch, clips=2, threshold=0.9)
            method.gather = gather
            losses(method, unlabelled([weak], index=[1]))
            return method.status.tolist()

        return run

    assert together([task(SURE), task(SECOND)]) == [[-1, 1], [-1, 1]]


def test_the_state_of_another_split_is_refused():
    with pytest.raises(RuntimeError, match="size mismatch for status"):
        made(FlexMatch, clips=4).load_state_dict(made(FlexMatch, clips=5).state_dict())
