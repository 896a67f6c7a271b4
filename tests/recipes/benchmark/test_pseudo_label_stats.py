"""What a table tells of guesses, counted by hand."""

import math

import pytest

from recipes.benchmark.pseudo_label_stats import pseudo_label_stats
from recipes.training.run_folder import RunResult


def run(*rows):
    return RunResult("m", "1", 0, 30.0, 30.0, 30.0, 30.0, 1.0, 1.0, "runs", list(rows))


def test_the_last_row_of_every_run_counts_alike():
    first = {"guess_accuracy": 0.1, "mask": 0.1, "believed_accuracy": 0.1, "count_a": 9.0, "count_b": 1.0}
    one = {"guess_accuracy": 0.5, "mask": 0.2, "believed_accuracy": 0.9, "count_a": 6.0, "count_b": 2.0, "count_c": 1.0}
    two = {"guess_accuracy": 0.7, "mask": 0.4, "believed_accuracy": 0.8, "count_a": 0.1, "count_b": 0.1, "count_c": 0.1}
    found = pseudo_label_stats([run(first, one), run(two)])
    # of nine guesses three of a would have to be others for three of each; of the second run none
    assert found == (pytest.approx(60), pytest.approx(30), pytest.approx(85), pytest.approx(100 / 6), None)


def test_what_is_unknown_or_never_predicted_is_left_out():
    unknown = {"guess_accuracy": math.nan, "mask": 0.0, "believed_accuracy": math.nan, "count_a": 0.0, "count_b": 0.0}
    assert pseudo_label_stats([run(unknown)]) == (None, 0.0, None, None, None)
    half = unknown | {"guess_accuracy": 0.5}
    assert pseudo_label_stats([run(unknown), run(half)]).correct == 50
    assert pseudo_label_stats([run({"loss_labelled": 1.0})]) == (None, None, None, None, None)
    assert pseudo_label_stats([run()]) == (None, None, None, None, None)


def test_guesses_on_clips_of_other_classes_are_told_where_there_are_any():
    rows = [run({"outlier_mask": 0.25}), run({"outlier_mask": 0.75}), run({"outlier_mask": None})]
    assert pseudo_label_stats(rows).outliers == 50
