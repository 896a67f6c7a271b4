"""What a training goes on from: its rows so far and its checkpoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from audiomix import check

from . import checkpoint
from .metrics_log import MetricsRow
from .nan_guard import check_finite

__all__ = ["CHECKPOINT", "State", "Stateful"]

CHECKPOINT = "checkpoint.safetensors"


class Stateful(Protocol):
    """What changes over a training and is no module, such as a curriculum; its state is plain numbers."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state, for JSON."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""


class State:
    """The state of a training: as its checkpoint at `path` has it, where there is one, or as it starts.

    A checkpoint holds `modules` and the optimiser as tensors, which are read in place, `others` as numbers, and
    `origin`,
    by name what it must be of.

    Raises
    ------
    ValueError
        The checkpoint is of something else, of an earlier version, or damaged.
    """

    def __init__(
        self,
        path: Path,
        modules: Mapping[str, nn.Module],
        optimiser: torch.optim.Optimizer,
        others: Mapping[str, Stateful],
        origin: Mapping[str, str],
    ) -> None:
        self.path, self.modules, self.optimiser = path, dict(modules), optimiser
        self.others, self.origin = others, origin
        self.history: list[MetricsRow] = self._read() if path.is_file() else []

    @property
    def step(self) -> int:
        """Steps done."""
        return self.history[-1]["step"] if self.history else 0

    @property
    def time_totals(self) -> dict[str, float]:
        """Wall time and processor time of the rows so far, in seconds."""
        return {name: self.history[-1][name] for name in ("seconds", "cpu_seconds")} if self.history else {}

    def _read(self) -> list[MetricsRow]:
        tensors, numbers = checkpoint.load(self.path)
        if any("cpu_seconds" not in row for row in numbers["history"]):
            check.fail(f"the checkpoint {self.path}", "of this version", "one of an earlier", "another --out?")
        for name, own in self.origin.items():
            if numbers.get(name) != own:
                check.fail(f"the checkpoint {self.path}", f"of {name} {own}", numbers.get(name), "another --out?")
        checkpoint.restore(tensors, self.modules, self.optimiser)
        for name, other in self.others.items():
            other.load_state_dict(numbers[name])
        return numbers["history"]

    def save(self, *, write: bool) -> None:
        """Check all tensors, and write them with the numbers if `write`: in one process alone.

        A tensor that holds NaN or infinity is a FloatingPointError, and the checkpoint before stays.
        """
        tensors = check_finite(checkpoint.gather(self.modules, self.optimiser), self.step)
        if write:
            numbers = {name: other.state_dict() for name, other in self.others.items()}
            checkpoint.store(self.path, tensors, {"history": self.history, **self.origin, **numbers})
