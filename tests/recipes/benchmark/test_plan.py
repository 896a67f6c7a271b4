"""Runs of a table side by side: what fails has a reason, what dies is replaced (see tests/offline/test_parallel.py)."""

import os
import signal
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from recipes.benchmark.plan import Trainer


class Task(NamedTuple):
    name: str


class Odd(Trainer):
    """What becomes of a training is its name."""

    def __call__(self, task):
        if task.name == "wrong":
            raise ValueError("no such fold")
        if task.name == "unforeseen":
            raise KeyError("mixer")
        if task.name == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        return f"{self.shared.dataset} {task.name}"


REASONS = {"wrong": "no such fold", "unforeseen": "KeyError('mixer')"}
KILLED = "its process ended (signal SIGKILL: too little memory?): fewer --jobs?"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_each_training_has_its_result_or_its_reason():
    names = ["first", "wrong", "unforeseen", "second", "third"]
    wanted = {name: REASONS.get(name, f"dataset {name}") for name in names}
    for jobs, more in ((1, {}), (2, {"killed": KILLED})):
        tasks = [Task(name) for name in [*more, *names]]
        found = {task.name: outcome for task, outcome in Odd.train_all("dataset", Path("stores"), tasks, jobs)}
        assert found == {**wanted, **more}
