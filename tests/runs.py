"""Runs of recipes in tests: what their folders hold without what the machine's load decides, and a stop on the way."""

import csv

import torch

from recipes.training import checkpoint, engine

_TIMES = ("seconds", "cpu_seconds", "waiting", "clips_per_second")


def rows(folder):
    """Return metrics.csv as a row of texts a step, without times."""
    with open(folder / "metrics.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k not in _TIMES} for row in csv.DictReader(file)]


def assert_same_run(one, two):
    """Assert that the rows, the checkpoints and the predictions in two folders are equal to the bit."""
    assert rows(one) == rows(two)
    a, b = (checkpoint.load(folder / engine.CHECKPOINT)[0] for folder in (one, two))
    assert a.keys() == b.keys()
    assert [k for k in a if not torch.equal(a[k], b[k])] == []
    assert (one / "predictions.csv").read_bytes() == (two / "predictions.csv").read_bytes()


class Stop(Exception):
    """Ends a run from within."""


def stop_at(step):
    """Return a function for `on_row` that stops the run behind the row of this step."""

    def on_row(row):
        if row["step"] == step:
            raise Stop

    return on_row
