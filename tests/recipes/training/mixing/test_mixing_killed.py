"""Every learned mixing goes on to the same bytes after kills that nothing can catch, at random steps."""

import dataclasses
import multiprocessing
import random
import signal
import sys

import pytest
from runs import assert_same_run, train_and_die, train_on

from recipes.training import checkpoint, engine, mixing

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")]

STEPS, EVERY = 9, 2  # checkpoints behind steps 2, 4, 6, 8 and 9
# Where a step is when its process dies: before its losses; its weights are moved, and it is not noted yet; the weights
# are written, and the checkpoint has not its name yet.
MOMENTS = ("losses", "after_step", "rename")

# What a training imports, most of it late: seconds for each process that would do so itself.
IMPORTED = ["recipes.semi_supervised.train", "recipes.algorithms.supervised", "lightning_fabric", "torchmetrics"]


@pytest.mark.parametrize("name", mixing.available())
def test_killed_at_random_steps(name, toy_config, tone_folder, tmp_path):
    config = dataclasses.replace(toy_config, model_options=("width=2",), steps=STEPS, every=EVERY, labelled="4")
    where = config, tone_folder, tmp_path / "stores"
    train_on(*where, name, tmp_path / "whole")
    out, draw, done = tmp_path / "parts", random.Random(name), 0
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(IMPORTED)
    for moment in draw.sample(MOMENTS, 2):
        count = 1 if moment == "rename" else draw.randint(3, 5)
        process = processes.Process(target=train_and_die, args=(moment, count, name, *where, out))
        process.start()
        process.join(300)
        assert process.exitcode == -signal.SIGKILL
        done += 0 if moment == "rename" else (count - 1) // EVERY * EVERY
        assert saved_steps(out) == done < STEPS
    assert done
    train_on(*where, name, out)
    assert_same_run(tmp_path / "whole", out)


def saved_steps(out):
    """Return how many steps the checkpoint in a folder has; 0 where there is none."""
    path = out / engine.CHECKPOINT
    return checkpoint.load(path)[1]["history"][-1]["step"] if path.exists() else 0
