"""The training loop, on one page, and what it trains: a `Recipe`.

Nothing about a step depends on the steps before it but what is in the checkpoint: the clips of step i, their views and
the learning rate are functions of the seed and of i, so a run that was killed goes on to the same bits. In a run of
several processes each takes its slice of every batch, see `recipes.training.distributed`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from audiomix.draw import generator_for

from ..console import progress_bar
from . import run_folder
from .distributed import autocast, average, list_shared_tensors
from .metrics_log import Clock, MetricsLog, MetricsRow, TensorBoardLog
from .nan_guard import stop_on_nan
from .state import CHECKPOINT, State, Stateful

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["CHECKPOINT", "Recipe", "run"]

_CHECK_EVERY = 50  # steps between checks of the losses on a GPU, where a check waits for it


class Recipe:
    """What the engine trains: the networks, batches, losses and measures of one training.

    A recipe sets the attributes without a value here, and overrides the methods that raise `NotImplementedError`.

    Attributes
    ----------
    seed : int
        Decides what is drawn in each step.
    steps : int
        Steps of the optimiser.
    every : int
        Steps from one evaluation, with its checkpoint, to the next.
    log_every : int
        Steps that a row of metrics.csv is the mean of; a row ends with each evaluation too.
    clips : int
        Clips of a step, of all processes: for the speed in clips a second.
    optimiser : torch.optim.Optimizer
        Moves what is trained.
    trained : sequence of nn.Module
        Their gradients and running statistics are averaged over processes.
    modules : dict of str to nn.Module
        What a checkpoint holds, by name.
    others : dict of str to Stateful
        What else a checkpoint holds, by name: a curriculum.
    origin : dict of str to str
        What a checkpoint must be of, by name.
    class_names : sequence of str
        Columns of the logs that have a number for each class.
    clip_norm : float or None
        Largest norm of the gradient: a longer one is scaled down to it.
    """

    seed: int
    steps: int
    every: int
    log_every: int
    clips: int
    optimiser: torch.optim.Optimizer
    trained: Sequence[nn.Module]
    modules: Mapping[str, nn.Module]
    others: Mapping[str, Stateful]
    origin: Mapping[str, str]
    class_names: Sequence[str] = ()
    clip_norm: float | None = None

    def batch(self, step: int, generator: torch.Generator) -> Any:
        """Return what the step behind `step` others looks at: this process's slice of it.

        `generator` draws the views, those of the whole batch in each process.
        """
        raise NotImplementedError(f"{type(self).__name__}.batch")

    def losses(self, batch: Any, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the terms of the objective, scalars: each is logged, and their sum is minimised.

        `batch` is what `batch()` returned; `generator`, one of this process, is for what else is drawn.
        """
        raise NotImplementedError(f"{type(self).__name__}.losses")

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step; `step` counts those before it."""
        raise NotImplementedError(f"{type(self).__name__}.learning_rate")

    def after_step(self) -> None:
        """Run once the optimiser has moved the networks: averages and teachers are updated here."""

    def logs(self) -> dict[str, Tensor]:
        """Return what else the last step is known by, NaN where there is nothing to say.

        A value is a number, whose mean is logged, or one for each class (K,): counts, which are summed over processes.
        """
        return {}

    def evaluate(self) -> dict[str, float]:
        """Return the errors of the networks as they are, by column of metrics.csv."""
        raise NotImplementedError(f"{type(self).__name__}.evaluate")

    def should_stop(self, history: Sequence[MetricsRow]) -> bool:
        """Return whether the training ends before its last step; asked after each evaluation, with all rows so far."""
        return False

    def whole_batch(self, step: int) -> tuple[dict[str, Tensor], dict[str, list[str]]]:
        """Return a step's batch, of all processes, and the ids of its clips; saved where a loss is NaN."""
        raise NotImplementedError(f"{type(self).__name__}.whole_batch")

    def finish(self, history: Sequence[MetricsRow]) -> None:
        """Write predictions and result, in the first process alone; `history` has all rows."""
        raise NotImplementedError(f"{type(self).__name__}.finish")


def run(
    fabric: Fabric,
    recipe: Recipe,
    out: Path,
    *,
    quiet: bool = False,
    track: bool = False,
    on_row: Callable[[MetricsRow], None] | None = None,
) -> None:
    """Train a recipe; where `out` holds a checkpoint, go on from there.

    Parameters
    ----------
    fabric : Fabric
        Lightning Fabric, which places tensors on the device and holds precision and processes.
    recipe : Recipe
        What is trained.
    out : Path
        The run's folder.
    quiet : bool
        Show no progress.
    track : bool
        Write the rows for TensorBoard too.
    on_row : callable, optional
        Called with each row that ends with an evaluation, once its checkpoint is written.

    Raises
    ------
    FloatingPointError
        A term of the loss, a weight or a statistic is NaN or infinite; the checkpoint before stays.
    """
    rank, world = fabric.global_rank, fabric.world_size
    first, optimiser = rank == 0, recipe.optimiser
    state = State(out / CHECKPOINT, recipe.modules, optimiser, recipe.others, recipe.origin)
    clock, record = Clock(fabric, recipe.clips, state.time_totals), MetricsLog(fabric, recipe.class_names)
    tracker = TensorBoardLog(out / "tensorboard" if track and first else None, state.history)
    with progress_bar(quiet=quiet or not first) as bar:
        todo = range(state.step, recipe.steps)
        for step in bar.track(todo, recipe.steps, description=str(out), completed=state.step):
            if step % recipe.every == 0 and recipe.should_stop(state.history):
                break
            generator = generator_for(recipe.seed, "step", step)
            with clock.waiting():
                batch = recipe.batch(step, generator)
            if world > 1:  # what the losses draw is for a slice
                generator = generator_for(recipe.seed, "step", step, rank, world)
            for group in optimiser.param_groups:
                group["lr"] = recipe.learning_rate(step)

            with autocast(fabric):
                losses = recipe.losses(batch, step, generator)
            optimiser.zero_grad(set_to_none=True)
            fabric.backward(torch.stack([term.float() for term in losses.values()]).sum())
            terms = {name: term.detach().clone() for name, term in losses.items()}
            average(fabric, [*list_shared_tensors(recipe.trained), *terms.values()])
            if recipe.clip_norm is not None:
                nn.utils.clip_grad_norm_([p for m in recipe.trained for p in m.parameters()], recipe.clip_norm)
            optimiser.step()
            recipe.after_step()

            record.add(terms, recipe.logs())
            evaluates = step + 1 == recipe.steps or (step + 1) % recipe.every == 0
            row_ends = evaluates or (step + 1) % recipe.log_every == 0
            checks = row_ends or fabric.device.type == "cpu" or (step + 1) % _CHECK_EVERY == 0
            if checks and (bad := record.find_not_finite()):
                stop_on_nan(bad[1], step - bad[0], *recipe.whole_batch(step - bad[0]), out)
            if row_ends:
                speed = clock.speed()
                row: MetricsRow = {"step": step + 1, "lr": optimiser.param_groups[0]["lr"], **record.row()}
                row |= (recipe.evaluate() if evaluates else {}) | speed | clock.seconds()
                state.history.append(row)
                tracker.add(row)
                if evaluates:
                    state.save(write=first)
                    if first:
                        run_folder.write_metrics(out, state.history)
                    if on_row is not None:
                        on_row(row)
                clock.restart()
    tracker.close()
    if first:
        run_folder.write_metrics(out, state.history)  # a kill may have come between the last checkpoint and its row
        recipe.finish(state.history)
