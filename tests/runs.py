"""Runs of recipes in tests: what their folders hold without what the machine's load decides, and a stop on the way."""

import csv
import os
import signal

import torch

from recipes.data.loader import prepare
from recipes.data.protocol import read_dataset
from recipes.semi_supervised.train import train
from recipes.training import checkpoint, engine, mixing

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


def train_on(config, folder, stores, name, out):
    """Train with learned mixing on a folder, or go on where that was stopped."""
    data = prepare(config, read_dataset("folder", folder), stores, quiet=True)
    return train(config, data, "supervised", out=out, mixer=name, quiet=True, resume=True)


def die_at(moment, count, name):
    """Kill this process where it comes to a moment for the `count`-th time: ``losses``, ``after_step`` or ``rename``.

    The first two are of the learned mixing, the last one is that of a checkpoint that is written.
    """
    left = count

    def deadly(real, counts):
        def wrapped(*args, **more):
            nonlocal left
            left -= counts(args)
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **more)

        return wrapped

    if moment == "rename":
        os.replace = deadly(os.replace, lambda args: str(args[1]).endswith(engine.CHECKPOINT))
    else:
        kind = mixing.get(name)
        setattr(kind, moment, deadly(getattr(kind, moment), lambda args: 1))


def train_and_die(moment, count, name, *where):
    """Go on with a training until this process kills itself; see `die_at`."""
    torch.set_num_threads(1)
    die_at(moment, count, name)
    config, folder, stores, out = where
    train_on(config, folder, stores, name, out)
