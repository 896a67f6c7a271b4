"""One training over all tasks: one method, one held-out fold, one seed.

The network has a row for each class of the data set from the start, and says nothing of classes that are still to come:
their logits are left out of every loss and every prediction. Its last layer has no bias, as Weight Aligning assumes.
Which task a held-out clip is of, nobody tells the network.

Clips, views and mixes of a step are functions of the seed and of the step's number, so a training that was killed goes
on to the same bits from the end of the last finished task. **Equal steps, not equal work**: dualmix trains on the mixes
of the memory besides, and wa asks the network before in each step.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from audiomix import check
from audiomix.datasets.dataset import Dataset
from audiomix.draw import generator_for, permutation
from audiomix.losses.mixed_target import mixed_cross_entropy
from audiomix.measures.forgetting import average_accuracy, forgetting
from audiomix.network import align_weights

from .. import models
from ..data.loader import Data, check_folds, step_indices
from ..data.rows import Selected
from ..models._modes import eval_mode, random_state
from ..semi_supervised.evaluate import predict_logits
from ..training import engine, run_folder
from ..training.choices import choose
from ..training.config import Config, check_seed
from ..training.distributed import fabric_for, threads
from ..training.metrics_log import MetricsRow
from .methods import Inputs, distillation, mix_inputs, read_method
from .settings import ContinualSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Continual", "ContinualResult", "Tasks", "make_tasks", "run_identity", "train"]


@dataclass(frozen=True)
class ContinualResult:
    """The result of one training, in percent of held-out clips; all classes so far may be answered."""

    method: str
    fold: str  # the fold that was held out
    seed: int  # the seed of the order of the classes, memory, first weights, batches, views and mixes
    classes: list[list[str]]  # of each task
    accuracy: list[list[float | None]]  # row t: on the clips of each task after task t; None of those to come
    average_accuracy: float  # the mean over the tasks after the last
    forgetting: float  # the mean loss of the earlier tasks since their best
    seen_accuracy: list[float]  # after each task: on the clips of all classes so far
    seconds: float  # wall time of training and evaluations
    cpu_seconds: float  # processor time of the same


@dataclass(frozen=True, eq=False)
class Tasks:
    """What there is to learn, and what is kept of it."""

    order: Tensor  # (K,): class ids in the order in which they come
    sizes: tuple[int, ...]  # classes of each task
    train: list[Tensor]  # of each task: indices of its training clips
    test: list[Tensor]  # of each task: indices of its held-out clips
    memory: list[Tensor]  # of each task: indices of those of its training clips that are kept

    def seen(self, task: int) -> int:
        """Return how many classes have come with a task and before it."""
        return sum(self.sizes[: task + 1])

    def old(self, task: int) -> Tensor:
        """Return the indices of the clips that are kept of earlier tasks."""
        return torch.cat([torch.zeros(0, dtype=torch.int64), *self.memory[:task]])


def make_tasks(settings: ContinualSettings, dataset: Dataset, fold: str, seed: int) -> Tasks:
    """Divide the classes among tasks, and draw what is kept of each.

    Parameters
    ----------
    settings : ContinualSettings
        Its `tasks` and `memory` are read.
    dataset : Dataset
        The clips.
    fold : str
        The fold that is held out.
    seed : int
        Of the order of the classes, and of the memory.

    Raises
    ------
    ValueError
        Fewer than two classes a task, fewer clips of a class than are to be kept, or a task without a held-out clip.
    """
    count = len(dataset.class_names)
    if settings.tasks > count // 2:
        check.fail("tasks", f"at most {count // 2}: two of the {count} classes a task or more", settings.tasks)
    labels = torch.tensor(dataset.labels)
    train, test = (torch.tensor(part, dtype=torch.int64) for part in dataset.holdout(fold))
    order = permutation(count, generator=generator_for(seed, "classes"))
    parts = order.tensor_split(settings.tasks)
    kept = []
    for part in parts:
        rows = []
        for c in part.tolist():
            clips = train[labels[train] == c]
            if settings.memory > len(clips):
                name = dataset.class_names[c]
                check.fail("memory", f"at most {len(clips)}, the clips of class {name} that train", settings.memory)
            drawn = permutation(len(clips), generator=generator_for(seed, "memory", fold, c))
            rows.append(clips[drawn[: settings.memory]])
        kept.append(torch.cat(rows).sort().values)
    own = [[clips[torch.isin(labels[clips], part)] for part in parts] for clips in (train, test)]
    for part, clips in zip(parts, own[1]):
        if not len(clips):
            names = ", ".join(dataset.class_names[c] for c in part.tolist())
            slip = "fewer tasks, another fold or another seed?"
            check.fail(f"the held-out clips of fold {fold}", "some of every task", f"none of {names}", slip)
    return Tasks(order, tuple(map(len, parts)), own[0], own[1], kept)


def train(
    config: Config,
    settings: ContinualSettings,
    data: Data,
    method: str,
    *,
    out: Path,
    fold: str | None = None,
    seed: int = 0,
    resume: bool = False,
    quiet: bool = False,
    on_row: Callable[[MetricsRow], None] | None = None,
) -> ContinualResult:
    """Train one method on all tasks, with one fold held out.

    Parameters
    ----------
    config : Config
        Its front end, network, device and threads are read; open fields are chosen by the facts of `data`.
    settings : ContinualSettings
        What all methods share.
    data : Data
        See `recipes.data.loader.prepare`.
    method : str
        One of `recipes.continual.methods.METHODS`.
    out : Path
        The run's folder.
    fold : str, optional
        What is held out; by default the data set's first fold.
    seed : int
        Of the order of the classes, the memory, the first weights, batches, views and mixes.
    resume, quiet, on_row
        See `recipes.semi_supervised.train.train`.

    Raises
    ------
    FloatingPointError
        The loss is NaN or infinite; the checkpoint before stays.
    FileExistsError, ValueError
        An argument that is refused, or `out` holds a training that is not to be resumed, or is another one.
    """
    dualmix, _ = read_method(method)
    if dualmix and not settings.memory:
        check.fail("memory", f"at least 1 with {method}, which mixes it with the task", 0)
    seed, (fold, *_) = check_seed(seed), check_folds(data.dataset, [fold] if fold else [])
    config = choose(config, data.facts)[0]
    check.choice("view", settings.view, data.views.names)
    tasks = make_tasks(settings, data.dataset, fold, seed)
    identity = run_identity(config, settings, data, method=method, fold=fold, seed=seed)
    if run_folder.holds_run(out, identity, resume=resume):
        if (done := run_folder.read_result(out, ContinualResult)) is not None:
            return done
    else:
        ids = {f"{name} {t + 1}": [data.dataset.items[i].id for i in clips.tolist()]
               for name, parts in (("train", tasks.train), ("memory", tasks.memory), ("test", tasks.test))
               for t, clips in enumerate(parts)}  # fmt: skip
        run_folder.begin(out, identity, ids)
    with threads(config.threads):  # sums depend on how many threads add them up
        data.views.fit(data.kept, tasks.train[0])  # of later tasks nothing is known when the training begins
        recipe = Continual(fabric_for(config), config, settings, data, tasks, method, fold=fold, seed=seed, out=out)
        engine.run(recipe.fabric, recipe, out, quiet=quiet, on_row=on_row)
    result = run_folder.read_result(out, ContinualResult)
    assert result is not None
    return result


# fields of a configuration that a training over tasks reads
_READ = ("rate", "seconds", "front", "window", "hop", "n_mels", "floor_db", "roll", "time_strength", "model",
         "model_options", "precision", "threads")  # fmt: skip


def run_identity(
    config: Config, settings: ContinualSettings, data: Data, *, method: str, fold: str, seed: int
) -> dict[str, Any]:
    """Return what makes a training the one it is, as its ``config.json`` holds it; see `train`.

    Open fields of `config` are chosen by the facts of `data` first.
    """
    read = {name: value for name, value in choose(config, data.facts)[0].to_dict().items() if name in _READ}
    return {**asdict(settings), **read, "method": method, "fold": fold, "seed": seed, "data": data.fingerprint}


class Continual(engine.Recipe):
    """A network that learns task after task; see `train`."""

    def __init__(
        self,
        fabric: Fabric,
        config: Config,
        settings: ContinualSettings,
        data: Data,
        tasks: Tasks,
        method: str,
        *,
        fold: str,
        seed: int,
        out: Path,
    ) -> None:
        self.fabric, self.settings, self.data, self.tasks = fabric, settings, data, tasks
        self.method, self.fold, self.seed, self.out = method, fold, seed, out
        self.dualmix, self.aligns = read_method(method)
        self.steps, self.every = settings.steps * settings.tasks, settings.steps
        self.log_every, self.clips = settings.steps, settings.batch + settings.replay
        options = models.options(config.model, config.model_options)
        self.network = models.build(config.model, len(tasks.order), seed=seed, **options).to(fabric.device)
        self.head = self._last_layer(config.model)
        if self.head.bias is not None:
            nn.init.zeros_(self.head.bias)
            self.head.bias.requires_grad_(False)
        self.teacher = copy.deepcopy(self.network).eval().requires_grad_(False)  # as it was before this task
        trained = [p for p in self.network.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(trained, lr=settings.lr, weight_decay=settings.weight_decay)
        self.trained = [self.network]
        self.modules = {"network": self.network} | ({"teacher": self.teacher} if self.aligns else {})
        self.others, self.origin = {}, {"method": method}
        # class ids by the order in which they come, as the network has them
        self.place = torch.empty_like(tasks.order)
        self.place[tasks.order] = torch.arange(len(tasks.order))
        self.labels = torch.where(data.labels >= 0, self.place.to(data.labels.device)[data.labels.clamp(min=0)], -1)
        self._done = 0  # steps
        self._factor = 1.0  # of the rows of the last task, see `align_weights`
        self._accuracy: list[list[float | None]] = []

    def _last_layer(self, name: str) -> nn.Linear:
        head = getattr(self.network, "head", None)
        if not isinstance(head, nn.Linear):
            got = type(head).__name__ if head is not None else "none"
            check.fail("model", "a network whose last layer is a linear one, named head", f"{name}: {got}")
        return head

    def batch(self, step: int, generator: torch.Generator) -> Inputs:
        """Return the clips of the step, or their mixes."""
        task, settings = step // self.settings.steps, self.settings
        new, old = self._clips(step)
        counts = torch.ones(self.tasks.seen(task), dtype=torch.int64) * settings.memory
        known = self.labels[self.tasks.train[task].to(self.labels.device)].cpu()
        first = self.tasks.seen(task) - self.tasks.sizes[task]
        counts[first:] = known.bincount(minlength=len(counts))[first:]
        given: dict[str, Any] = {"dualmix": self.dualmix, "alpha": settings.alpha, "generator": generator}
        both = [None if clips is None else self._views(clips, generator) for clips in (new, old)]
        assert both[0] is not None
        return mix_inputs(both[0], both[1], counts.tolist(), **given)

    def losses(self, batch: Inputs, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the cross-entropy and, with wa, the distillation, which is 0 in the first task."""
        self._done = step + 1
        task = step // self.settings.steps
        seen = self.tasks.seen(task)
        network = self.network.train()
        with random_state(self.seed, "dropout", step):
            logits = network(batch.x)[:, :seen]
        loss = mixed_cross_entropy(logits, batch.target)
        if not self.aligns:
            return {"loss": loss}
        if task == 0:
            return {"loss": loss, "distillation": torch.zeros_like(loss)}
        old = self.tasks.seen(task - 1)
        with torch.no_grad(), eval_mode(self.teacher):
            before = self.teacher(batch.x)[:, :old]
        share = old / seen
        return {
            "loss": (1 - share) * loss,
            "distillation": share * distillation(logits, before, self.settings.temperature),
        }

    def learning_rate(self, step: int) -> float:
        """Return the learning rate: in each task a cosine to 0."""
        done = step % self.settings.steps / self.settings.steps
        return self.settings.lr * (1 + math.cos(math.pi * done)) / 2

    def after_step(self) -> None:
        """Keep weights positive; at the end of a task align rows, keep the network, and start the optimiser anew."""
        if self.aligns and self.settings.positive:
            with torch.no_grad():
                self.head.weight.clamp_(min=0)
        task, left = divmod(self._done, self.settings.steps)
        if left:
            return
        if self.aligns:
            if task > 1:
                old, new = self.tasks.seen(task - 2), self.tasks.sizes[task - 1]
                weight, self._factor = align_weights(self.head.weight, old, new)
                with torch.no_grad():
                    self.head.weight.copy_(weight)
            self.teacher.load_state_dict(self.network.state_dict())
        self.optimiser.state.clear()

    def evaluate(self) -> dict[str, float]:
        """Return the accuracy on the held-out clips of each task so far, and the error on all of them, in percent."""
        task = self._done // self.settings.steps - 1
        right = [self._predict(self.tasks.test[k], task) == self._true(self.tasks.test[k]) for k in range(task + 1)]
        row: dict[str, Any] = {"error": 100 * float((~torch.cat(right)).double().mean())}
        for k in range(self.settings.tasks):  # every row has the same columns
            row[f"accuracy_{k + 1}"] = 100 * float(right[k].double().mean()) if k <= task else None
        if self.aligns:
            row["factor"] = self._factor  # above 1: rows of new classes were shorter, and alignment favours them
        return row

    def whole_batch(self, step: int) -> tuple[dict[str, Tensor], dict[str, list[str]]]:
        """Return inputs and targets of the step; they are made again, from the seed and the step."""
        inputs = self.batch(step, generator_for(self.seed, "step", step))
        names = {name: clips for name, clips in zip(("task", "memory"), self._clips(step)) if clips is not None}
        items = self.data.dataset.items
        return inputs._asdict(), {name: [items[i].id for i in clips.tolist()] for name, clips in names.items()}

    def finish(self, history: Sequence[MetricsRow]) -> None:
        """Write ``predictions.csv``, of the network after the last task, and ``result.json``."""
        names, last = self.data.dataset.class_names, self.settings.tasks - 1
        rows = []
        for task, clips in enumerate(self.tasks.test):
            for i, true, guess in zip(clips.tolist(), self._true(clips).tolist(), self._predict(clips, last).tolist()):
                cells = {"class": names[self.tasks.order[true]], "predicted": names[self.tasks.order[guess]]}
                rows.append({"id": self.data.dataset.items[i].id, "task": task + 1, **cells})
        run_folder.write_csv(self.out / "predictions.csv", rows)
        accuracy: list[list[float | None]] = [
            [row[f"accuracy_{k + 1}"] for k in range(self.settings.tasks)] for row in history
        ]
        matrix = torch.tensor([[math.nan if a is None else a for a in row] for row in accuracy], dtype=torch.float64)
        parts = self.tasks.order.split(list(self.tasks.sizes))
        result = ContinualResult(
            method=self.method,
            fold=self.fold,
            seed=self.seed,
            classes=[[names[c] for c in part.tolist()] for part in parts],
            accuracy=accuracy,
            average_accuracy=average_accuracy(matrix),
            forgetting=forgetting(matrix),
            seen_accuracy=[100 - row["error"] for row in history],
            seconds=round(history[-1]["seconds"], 1),
            cpu_seconds=round(history[-1]["cpu_seconds"], 1),
        )
        run_folder.write_result(self.out, result)

    def _clips(self, step: int) -> tuple[Tensor, Tensor | None]:
        """Return the clips of a step, of its task and of the memory: all of each once, then in another order."""
        task, place = divmod(step, self.settings.steps)
        new = step_indices(self.tasks.train[task], self.settings.batch, place, self.seed, f"task {task}")
        old = self.tasks.old(task)
        if not len(old):
            return new, None
        return new, step_indices(old, self.settings.replay, place, self.seed, f"memory {task}")

    def _views(self, clips: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        clips = clips.to(self.data.kept.device)
        x = self.data.views(self.data.kept[clips], self.settings.view, generator=generator)
        return x, self.labels[clips.to(self.labels.device)]

    def _true(self, clips: Tensor) -> Tensor:
        return self.labels[clips.to(self.labels.device)].cpu()

    @torch.no_grad()
    def _predict(self, clips: Tensor, task: int) -> Tensor:
        """Return the class of each clip among those so far, as the network numbers them."""
        logits = predict_logits(self.network, self.data.views, Selected(self.data.kept, clips))
        return logits[:, : self.tasks.seen(task)].argmax(1).cpu()
