"""Errors of a run's networks on the clips that are held out and on those for validation, and what they come to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..data.loader import Data
from . import evaluate
from . import run_folder as runfolder
from .distributed import autocast
from .metrics_log import MetricsRow
from .run_folder import RunResult, Split
from .run_spec import RunSpec
from .state import State

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Evaluator"]


class Evaluator:
    """Evaluates the network that is trained (raw) and its average (EMA): every clip, no batch dropped.

    Parameters
    ----------
    fabric, spec, data, split, state
    """

    def __init__(self, fabric: Fabric, spec: RunSpec, data: Data, split: Split, state: State) -> None:
        self.fabric, self.spec, self.data, self.split, self.state = fabric, spec, data, split, state

    def evaluate(self) -> dict[str, float]:
        """Return the errors in percent, on the held-out clips and, where there are any, on those for validation."""
        found: dict[str, float] = {}
        for name, indices in {"": self.split.test, "_valid": self.split.valid}.items():
            if len(indices):
                raw, ema = (evaluate.error_rate(said.argmax(-1), labels) for said, labels in self._said(indices))
                found |= {f"error{name}": raw, f"error{name}_ema": ema}
        return found

    def should_stop(self) -> bool:
        """Return whether the errors on the validation clips have not fallen for `patience` rows."""
        patience, rows = self.spec.config.patience, self.state.history
        if patience is None or len(rows) <= patience:
            return False
        best = [min(row["error_valid"], row["error_valid_ema"]) for row in rows]
        return min(best[-patience:]) >= min(best[:-patience])

    def write_results(self) -> None:
        """Write ``predictions.csv`` and ``result.json``."""
        spec, test = self.spec, self.split.test
        runfolder.write_metrics(spec.out, self.state.history)  # a kill may have come between checkpoint and last row
        said = dict(zip(("raw", "ema"), (said for said, _ in self._said(test))))
        labels = self.data.labels[test.to(self.data.labels.device)]
        predicted = {name: x.argmax(-1) for name, x in said.items()}
        probabilities = {name: x.double().softmax(-1) for name, x in said.items()}
        runfolder.write_predictions(spec.out, self.data.dataset, test, predicted, probabilities)
        found = {name: evaluate.summarise_predictions(probabilities[name], predicted[name], labels) for name in said}
        runfolder.write_result(spec.out, _result(spec, self.state.history, found))

    def _said(self, indices: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return what the network and its average say of the clips, with the clips' labels."""
        at = indices.to(self.data.kept.device)
        kept, labels = self.data.kept[at], self.data.labels[at]
        networks: list[Any] = [self.state.algorithm.reported(self.state.network), self.state.ema]
        with autocast(self.fabric), torch.no_grad():
            return [(evaluate.predict_logits(network, self.data.views, kept), labels) for network in networks]


def _result(spec: RunSpec, history: list[MetricsRow], found: dict[str, Any]) -> RunResult:
    raw, ema = ([row[name] for row in history] for name in ("error", "error_ema"))
    at_valid: list[float | None] = [None, None]
    if "error_valid" in history[0]:
        names = ("error_valid", "error_valid_ema")
        at_valid = [e[_first_least([row[n] for row in history])] for e, n in zip((raw, ema), names)]
    return RunResult(
        method=spec.title,
        fold=spec.fold,
        seed=spec.seed,
        error_last=raw[-1],
        error_best=min(raw),
        error_last_ema=ema[-1],
        error_best_ema=min(ema),
        seconds=history[-1]["seconds"],
        cpu_seconds=history[-1]["cpu_seconds"],
        folder=str(spec.out),
        history=history,
        error_at_best_valid=at_valid[0],
        error_at_best_valid_ema=at_valid[1],
        measures=found,
    )


def _first_least(values: list[float]) -> int:
    return values.index(min(values))
