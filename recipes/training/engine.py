"""The training loop, on one page.

Nothing about a step depends on the steps before it but the tensors in the checkpoint: the clips of step i, their views
and the learning rate are functions of the seed and of i, so a run that was killed goes on to the same bits. In a run of
several processes each takes its slice of every batch, see `recipes.training.distributed`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from audiomix.datasets.dataset import Dataset
from audiomix.draw import generator_for

from .. import algorithms
from ..console import progress_bar
from ..data.loader import Batches, Data, check_folds, make_split, prepare
from . import run_folder as runfolder
from .config import Config, check_seed
from .distributed import autocast, average, device_name, fabric_for, launch, shared_tensors, threads
from .metrics_log import Clock, MetricsLog, MetricsRow, TensorBoardLog, check_tensorboard
from .nan_guard import refuse
from .run_folder import RunResult, Split
from .run_spec import RunSpec, file_digests
from .state import CHECKPOINT, State
from .stopping import Evaluator

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["CHECKPOINT", "learning_rate", "settings", "train"]

_LOOKED = 50  # steps from look to look at the losses on a GPU, where a look waits for it


def train(
    config: Config,
    data: Data,
    method: str,
    *,
    out: Path,
    fold: str | None = None,
    seed: int = 0,
    options: dict[str, Any] | None = None,
    mixer: str | None = None,
    resume: bool = False,
    quiet: bool = False,
    track: bool = False,
    on_row: Callable[[MetricsRow], None] | None = None,
) -> RunResult:
    """Train one method on one fold with one seed.

    Parameters
    ----------
    config : Config
    data : Data
        See `recipes.data.loader.prepare`.
    method : str
        A file of recipes/algorithms, or one's own as ``mine.py:MyMethod``.
    out : Path
        The run's folder.
    fold : str, optional
        What is held out; the data set's first fold by default.
    seed : int
        Decides which clips are labelled, the first weights, the batches and the views.
    options : dict, optional
        Options of the method.
    mixer : str, optional
        ``mixup`` or ``mixup:alpha=0.75``; a file of audiomix/mixers, or one's own as ``mine.py:RollMix``.
    resume : bool
        Go on with the run in `out`, if there is one; a finished one is returned as it is.
    quiet : bool
        Show no progress.
    track : bool
        Write the rows of metrics.csv for TensorBoard too, in ``tensorboard``.
    on_row : callable, optional
        Called with each row of metrics.csv, once its checkpoint is written; of several processes in the first, so it
        must be one that can be sent there.

    Raises
    ------
    FloatingPointError
        A term of the loss, a weight or a statistic is NaN or infinite; the checkpoint before stays, and the batch of
        the step is written.
    ValueError
        An argument that is refused: the run's folder is not made, or left as it is.
    """
    kind, out = algorithms.get(method), Path(out)
    seed, (fold, *_) = check_seed(seed), check_folds(data.dataset, [fold] if fold else [])
    identity = settings(config, data, method, fold=fold, seed=seed, options=options, mixer=mixer)
    spec = RunSpec(config, method, options or {}, mixer, fold, seed, out, quiet, track, len(data.dataset.class_names))
    spec.check(data)
    if track:
        check_tensorboard()
    split = None
    if runfolder.started(out, identity, resume=resume):
        if (done := runfolder.finished(out)) is not None:
            return done
        split = runfolder.saved_split(out, data.dataset)
    if split is None:
        split = make_split(config, data.dataset, fold, seed, needed_by=method if kind.needs_unlabelled else "")
        _fit(config, data, split)
        runfolder.begin(out, identity, {"title": spec.title} | _facts(config, data), data.dataset, split)
    fabric = fabric_for(config)
    if config.devices == 1:
        _prepared(fabric, spec, data, split, on_row)
    else:
        launch(fabric, _in_process, spec, data.source, data.stores, split, on_row)
    result = runfolder.finished(out)
    assert result is not None
    return result


def settings(
    config: Config,
    data: Data,
    method: str,
    *,
    fold: str | None = None,
    seed: int | None = None,
    options: dict[str, Any] | None = None,
    mixer: str | None = None,
) -> dict[str, Any]:
    """Return what makes a run the one it is, for JSON: only a run with the same settings goes on, or is reported."""
    what = {"method": method, "options": options or {}, "mixer": mixer, "fold": fold, "seed": seed}
    what |= {"dataset": data.dataset.name, "data": data.fingerprint, "config": config.to_dict()}
    return what | file_digests(config, method, mixer)


def _facts(config: Config, data: Data) -> dict[str, Any]:
    """Return what is worth knowing of a run but may differ when it is resumed."""
    root = data.dataset.root
    facts: dict[str, Any] = {
        "classes": data.dataset.class_names,
        "unreadable": data.errors,
        "device": device_name(config),
    }
    facts |= {"rate": config.rate or data.dataset.rate, "seconds": config.seconds or data.dataset.seconds}
    facts |= {"mean": data.views.mean, "std": data.views.std}  # what `predict` needs of the front end
    return facts | {"root": None if root is None else str(root.absolute())}


def _in_process(fabric: Fabric, spec: RunSpec, source: Dataset, stores: Path, split: Split, on_row: Any) -> None:
    """Read the data again, on the device of this process, and train."""
    data = prepare(spec.config, source, stores, quiet=True, device=fabric.device)
    _prepared(fabric, spec, data, split, on_row if fabric.is_global_zero else None)


def _prepared(
    fabric: Fabric, spec: RunSpec, data: Data, split: Split, on_row: Callable[[MetricsRow], None] | None
) -> None:
    _fit(spec.config, data, split)
    with threads(spec.config.threads):
        _loop(fabric, spec, data, split, on_row)


def _fit(config: Config, data: Data, split: Split) -> None:
    with threads(config.threads):  # sums depend on how many threads add them up
        data.views.fit(data.kept, split.train)


def _loop(fabric: Fabric, spec: RunSpec, data: Data, split: Split, on_row: Callable[[MetricsRow], None] | None) -> None:
    config, seed, part = spec.config, spec.seed, (fabric.global_rank, fabric.world_size)
    state = State(fabric, spec, data, split)
    network, algorithm, optimiser, history = state.network, state.algorithm, state.optimiser, state.history
    batches = Batches(config, data, split, seed, views=state.views, part=part)
    evaluator = Evaluator(fabric, spec, data, split, state)
    steps, start, first = config.count_steps(len(split.labelled), len(split.unlabelled)), state.step, part[0] == 0
    clock, log = Clock(fabric, batches.size, state.spent), MetricsLog(fabric, data.dataset.class_names)
    board = TensorBoardLog(spec.out / "tensorboard" if spec.track and first else None, history)
    with progress_bar(quiet=spec.quiet or not first) as bar:
        for step in bar.track(range(start, steps), steps, description=str(spec.out), completed=start):
            if evaluator.should_stop():
                break
            progress, generator = step / steps, generator_for(seed, "step", step)
            with clock.waiting():
                labelled, unlabelled = batches(step, generator)
            if part[1] > 1:  # what a method draws is for its own slice
                generator = generator_for(seed, "step", step, *part)
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(config, progress)

            with autocast(fabric):  # the networks that a method keeps besides this one too
                losses = algorithm.losses(network, labelled, unlabelled, progress=progress, generator=generator)
            optimiser.zero_grad(set_to_none=True)
            fabric.backward(torch.stack([term.float() for term in losses.values()]).sum())
            terms = {name: term.detach().clone() for name, term in losses.items()}
            average(fabric, [*shared_tensors([network, algorithm]), *terms.values()])
            optimiser.step()
            algorithm.after_step(network)
            state.ema.update(algorithm.averaged(network))

            log.add(terms, algorithm.logs())
            row_ends = step + 1 == steps or (step + 1) % config.every == 0
            looks = row_ends or fabric.device.type == "cpu" or (step + 1) % _LOOKED == 0
            if looks and (bad := log.find_not_finite()):
                refuse(bad[1], step - bad[0], batches, spec.out)
            if row_ends:
                speed = clock.speed()
                now: MetricsRow = {"step": step + 1, "lr": optimiser.param_groups[0]["lr"]}
                now |= log.row() | evaluator.evaluate() | speed
                state.save(now | clock.seconds(), write=first)
                if first:
                    runfolder.write_metrics(spec.out, history)
                    board.add(history[-1])
                if on_row is not None:
                    on_row(history[-1])
                clock.restart()
    board.close()
    if first:
        evaluator.write_results()


def learning_rate(config: Config, progress: float) -> float:
    """Return the learning rate at `progress`, a fraction of the training: a linear warm-up, then the decay.

    >>> learning_rate(Config(lr=1.0, warmup=0.5, decay="constant"), 0.25)
    0.5
    """
    if progress < config.warmup:
        return config.lr * progress / config.warmup
    epochs = config.epochs or 1
    epoch = math.floor(progress * epochs + 1e-6) / epochs  # the same step by step, until the next epoch begins
    factor = {
        "cos7pi16": math.cos(7 * math.pi * progress / 16),  # as FixMatch does
        "cosine": (1 + math.cos(math.pi * progress)) / 2,
        "cosine_epochs": (1 + math.cos(math.pi * epoch)) / 2,
        "constant": 1.0,
    }
    return config.lr * factor[config.decay]
