"""The rows of ``metrics.csv``: means and counts of the steps between two rows, times and speed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from audiomix import check
from audiomix.registry import explain_errors

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Clock", "Logger", "MetricsLog", "MetricsRow", "RowLog", "TensorBoardLog", "check_tensorboard"]

MetricsRow = dict[str, Any]  # a value by column
# What a user's function is called with: step, values by name, and the arguments of the run; see `RowLog`.
Logger = Callable[[int, MetricsRow, dict[str, Any]], object]


@dataclass(frozen=True)
class RowLog:
    """Hands each row of ``metrics.csv`` to a function of the user's own, for `on_row`; it can be sent to a process.

    Parameters
    ----------
    function : callable
        Called with the step, the known values of the row by column, and `arguments`.
    name : str
        What chose it, for messages.
    arguments : dict
        Arguments of the run, as in its ``run.yaml``, and its ``folder``.

    Examples
    --------
    >>> RowLog(lambda step, row, config: print(step, row, config["method"]), "mine", {"method": "fixmatch"})(
    ...     {"step": 50, "error": 12.5, "error_valid": None})
    50 {'error': 12.5} fixmatch
    """

    function: Logger
    name: str
    arguments: dict[str, Any]

    def __call__(self, row: MetricsRow) -> None:
        """Call the function with a row, which has a ``step``.

        Raises
        ------
        ValueError
            The function raised: with its error, and the line. The checkpoint of the row is written.
        """
        known = {name: value for name, value in row.items() if value is not None and name != "step"}
        with explain_errors("log", "a function of (step, row, config) that raises nothing", self.name, self.name):
            self.function(int(row["step"]), known, self.arguments)


class MetricsLog:
    """Logged values of the steps since the last row, of all processes; `class_names` name the columns of counts."""

    def __init__(self, fabric: Fabric, class_names: Sequence[str]) -> None:
        self.fabric, self.class_names = fabric, class_names
        self._steps: list[dict[str, Tensor]] = []
        self._checked = 0

    def add(self, losses: dict[str, Tensor], logs: dict[str, Tensor]) -> None:
        """Add the values of one step: the terms of the loss, means over processes already, and logs of this process.

        Terms are scalars, logs scalars or (K,).
        """
        self._steps.append({f"loss_{name}": term for name, term in losses.items()} | logs)

    def find_not_finite(self) -> tuple[int, dict[str, float]] | None:
        """Return the first step since the last check whose losses hold NaN or infinity, or None.

        It is the number of steps added after that step, and its losses by name.
        """
        names = [name for name in self._steps[0] if name.startswith("loss_")]
        new = self._steps[self._checked :]
        values = torch.stack([torch.stack([step[name].double() for name in names]) for step in new])  # (S, terms)
        self._checked = len(self._steps)
        wrong = (~torch.isfinite(values)).any(1)
        if not bool(wrong.any()):
            return None
        first = int(wrong.nonzero()[0])
        return len(new) - 1 - first, dict(zip(names, values[first].tolist()))

    def row(self) -> dict[str, float | None]:
        """Return the mean of each value over steps and processes, None where it was NaN in all, and start anew.

        A value (K,) is a count by class: it is summed over processes and has a column for each class.
        """
        steps, self._steps, self._checked = self._steps, [], 0
        found: dict[str, float | None] = {}
        for name in steps[0]:
            values = torch.stack([step[name].detach().double() for step in steps])  # (S,) or (S, K)
            if self.fabric.world_size > 1:
                values = self.fabric.all_gather(values)  # type: ignore[assignment]
                values = values.sum(0) if values.ndim == 3 else values.flatten(0, 1)
            names = [name] if values.ndim == 1 else [f"{name}_{c}" for c in self.class_names]
            means = values.nanmean(0).flatten().tolist()
            found |= {column: mean if math.isfinite(mean) else None for column, mean in zip(names, means)}
        return found


class Clock:
    """Measures the time of a run, the share of it that was spent waiting for views, and the clips a second.

    On a GPU the GPU's own time is measured, with events in its queue; it is waited for once a row, at its end. `clips`
    are
    all clips of a step; `spent` is the last result of `seconds` before the run was interrupted, empty in a new run.
    """

    def __init__(self, fabric: Fabric, clips: int, spent: dict[str, float]) -> None:
        self.fabric, self.cuda, self.clips, self.spent = fabric, fabric.device.type == "cuda", clips, spent
        self._start, self._cpu_start = time.monotonic(), time.process_time()
        self.restart()

    def restart(self) -> None:
        """Begin a row."""
        self._waits: list[tuple[Any, Any]] = []
        self._began = self._mark()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time of the block, of one step, as waiting for data."""
        began = self._mark()
        yield
        self._waits.append((began, self._mark()))

    def speed(self) -> dict[str, float]:
        """Return the share of the time since `restart` that was waiting, and the clips trained on per second."""
        end = self._mark()
        if self.cuda:
            torch.cuda.synchronize()
        seconds = max(self._between(self._began, end), 1e-9)
        waited = sum(self._between(a, b) for a, b in self._waits)
        clips = self.clips * len(self._waits) / seconds
        return {"waiting": round(waited / seconds, 4), "clips_per_second": round(clips, 2)}

    def seconds(self) -> dict[str, float]:
        """Return wall time and processor time of the whole run in seconds, of all processes, with evaluations."""
        now = {"seconds": time.monotonic() - self._start, "cpu_seconds": time.process_time() - self._cpu_start}
        if self.fabric.world_size > 1:
            own = torch.tensor(now["cpu_seconds"], dtype=torch.float64, device=self.fabric.device)
            now["cpu_seconds"] = float(self.fabric.all_reduce(own, reduce_op="sum"))  # type: ignore[arg-type]
        return {name: round(self.spent.get(name, 0.0) + value, 3) for name, value in now.items()}

    def _mark(self) -> Any:
        if not self.cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _between(self, a: Any, b: Any) -> float:
        return a.elapsed_time(b) / 1000 if self.cuda else b - a


def check_tensorboard() -> None:
    """Raise unless TensorBoard is installed."""
    if find_spec("tensorboard") is None:
        check.fail("track", "off", "on", "TensorBoard is not installed: pip install 'audiomix[track]'")


class TensorBoardLog:
    """Rows of ``metrics.csv`` for TensorBoard, in `folder`; None writes nothing.

    The `rows` of an interrupted run are written again and hide the earlier ones: the last may be missing there.
    """

    def __init__(self, folder: Path | None, rows: list[MetricsRow]) -> None:
        self.writer: Any = None
        if folder is not None:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(folder), purge_step=0)
        for row in rows:
            self.add(row)

    def add(self, row: MetricsRow) -> None:
        """Write the known values of a row, which has a ``step``."""
        if self.writer is None:
            return
        for name, value in row.items():
            if value is not None and name != "step":
                self.writer.add_scalar(name.replace("_", "/", 1), value, row["step"])
        self.writer.flush()

    def close(self) -> None:
        """Finish the file."""
        if self.writer is not None:
            self.writer.close()
