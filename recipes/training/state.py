"""The tensors that training goes on from: network, average, method and optimiser, and the rows so far."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from audiomix import check

from ..data.loader import Data
from . import checkpoint
from .config import Config
from .distributed import gather_batch
from .ema import EMA
from .metrics_log import MetricsRow
from .nan_guard import check_finite
from .run_folder import Split
from .run_spec import RunSpec, compile_networks

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["CHECKPOINT", "State"]

CHECKPOINT = "checkpoint.safetensors"


class State:
    """What a checkpoint holds, as its file has it or as a run starts.

    Parameters
    ----------
    fabric, spec, data, split

    Raises
    ------
    ValueError
        The checkpoint is of another method or another split.
    """

    def __init__(self, fabric: Fabric, spec: RunSpec, data: Data, split: Split) -> None:
        self.path = spec.out / CHECKPOINT
        self.network, self.algorithm, networks = spec.make(fabric.device, data.views, len(split.unlabelled))
        self.algorithm.gather = partial(gather_batch, fabric)
        self.ema = EMA(self.algorithm.averaged(self.network), spec.config.ema)
        self.optimiser = _optimiser(spec.config, self.network, self.algorithm)
        self.parts = {"model": self.network, "ema": self.ema, "algorithm": self.algorithm}
        self.origin = {"method": spec.method, "split": split.digest}
        self.history: list[MetricsRow] = self._read() if self.path.is_file() else []
        if spec.config.compile:
            compile_networks(networks)

    @property
    def views(self) -> tuple[int, int]:
        """Weak and strong views of each unlabelled clip."""
        method = self.algorithm
        return (method.weak_views, method.strong_views) if method.needs_unlabelled else (0, 0)

    @property
    def step(self) -> int:
        """Steps done."""
        return self.history[-1]["step"] if self.history else 0

    @property
    def spent(self) -> dict[str, float]:
        """Wall time and processor time of the rows so far."""
        return {name: self.history[-1][name] for name in ("seconds", "cpu_seconds")} if self.history else {}

    def _read(self) -> list[MetricsRow]:
        tensors, numbers = checkpoint.load(self.path)
        for name, own in self.origin.items():
            if numbers.get(name) != own:
                check.fail(f"the checkpoint {self.path}", f"of {name} {own}", numbers.get(name), "another --out?")
        if any("cpu_seconds" not in row for row in numbers["history"]):
            check.fail(f"the checkpoint {self.path}", "of this version", "one of an earlier", "another --out?")
        checkpoint.restore(tensors, self.parts, self.optimiser)
        return numbers["history"]

    def save(self, row: MetricsRow, *, write: bool) -> None:
        """Add a row, and write everything if this process is the one that writes.

        Raises
        ------
        FloatingPointError
            A tensor holds NaN or infinity: the checkpoint before stays.
        """
        tensors = check_finite(checkpoint.gather(self.parts, self.optimiser), row["step"])
        self.history.append(row)
        if write:
            checkpoint.store(self.path, tensors, {"history": self.history, **self.origin})


def _optimiser(config: Config, *trained: nn.Module) -> torch.optim.Optimizer:
    kind: Any = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimiser]
    parameters = [p for module in trained for p in module.parameters() if p.requires_grad]
    return kind(parameters, lr=config.lr, weight_decay=config.weight_decay, fused=True)
