"""A supervised row that costs as much as the costliest semi-supervised one, and is mixed as that is.

A semi-supervised method passes several views of many clips through the network in each step, supervised training a few
labelled clips. At equal steps a gain may be a longer training, and where the method mixes, a gain of mixing. So
``supervised:steps=equal+mixup`` is trained for as many steps as cost the same, with the same mixer.

Cost is counted, not measured: the operations of convolutions and matrix products, forwards and backwards, of one step
with the run's own network and batch sizes (`torch.utils.flop_counter`, two operations for a multiplication with its
addition), times its steps, in all rounds of a run. Views, the front end, evaluations and heads that are fitted after
the training are not counted.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from audiomix import check
from audiomix.datasets.dataset import Dataset
from audiomix.draw import generator_for, normal

from .. import algorithms
from ..data.batch import Labelled, Unlabelled
from ..data.front_end import make_views
from ..data.loader import make_split, rate_and_seconds
from ..data.store import clip_size
from ..semi_supervised.run_spec import RunSpec, unlabelled_needed_by
from ..training.config import Config
from ..training.distributed import threads
from .plan import PlannedRun
from .rows import RowSpec

__all__ = [
    "EqualCompute",
    "EqualRows",
    "OperationCounter",
    "Operations",
    "Resolved",
    "count_operations",
    "count_step",
    "find_costliest",
    "has_equal_steps",
    "make_equal_rows",
    "with_steps",
]

_EQUAL = re.compile(r"(?<=[:,])(\s*steps\s*=\s*)equal(?=\s*(?:[,+]|$))")
_CAP = 20  # most steps, in those of the row whose compute it has: thirty labelled clips are learnt by heart long before
_MIXER = "mixup"  # of the row where the costliest semi-supervised row does not mix


@dataclass(frozen=True)
class Operations:
    """What the runs of a row cost."""

    step: int  # operations of a step, of all rounds together
    steps: int  # of the longest of its runs

    @property
    def run(self) -> int:
        """Operations of the longest run."""
        return self.step * self.steps


@dataclass(frozen=True)
class EqualCompute:
    """The costliest semi-supervised row, and so the compute of the supervised one."""

    title: str  # of the costliest row
    mixer: str | None  # its mixer; None where it does not mix
    steps: int  # of the longest run of the costliest row
    run: int  # operations of that

    def text(self, method: str = "supervised") -> str:
        """Return the row that is added to a table: it is resolved by `with_steps`."""
        return f"{method}:steps=equal+{self.mixer or _MIXER}"

    def count_steps(self, step: int) -> int:
        """Return the steps that cost as much where one costs `step` operations; at most 20 times the row's own."""
        return min(max(1, round(self.run / step)), _CAP * self.steps)

    def note(self, row: str, steps: int, step: int) -> str:
        """Return what a table tells of the supervised row: its title, its steps and the operations of one."""
        share = steps * step / self.run
        capped = steps == _CAP * self.steps and share < 0.99
        cap = f", {share:.0%} of it: {_CAP} times as many steps are the most" if capped else ""
        return (
            f"{row} has the compute of {self.title}, the costliest semi-supervised row: {self.run / 1e12:.3g} TFLOP a "
            f"run{cap}. What is gained over it is not gained by a longer training, nor by mixing labelled clips if it "
            "mixes them."
        )


def has_equal_steps(text: str) -> bool:
    """Return whether the text of a row asks for steps of equal compute.

    >>> has_equal_steps("supervised:steps=equal+mixup"), has_equal_steps("supervised:steps=400")
    (True, False)
    """
    return _EQUAL.search(text) is not None


def with_steps(text: str, steps: int) -> str:
    """Return the text of a row with a number in the place of ``equal``.

    >>> with_steps("supervised:steps=equal+mixup", 2830)
    'supervised:steps=2830+mixup'
    """
    return _EQUAL.sub(rf"\g<1>{steps}", text)


def find_costliest(
    rows: Sequence[RowSpec], operations: Mapping[str, Operations], recorded: Mapping[str, Any] | None = None
) -> EqualCompute | None:
    """Return the costliest semi-supervised row, or None where there is none.

    Parameters
    ----------
    rows : sequence of RowSpec
        The rows of the table.
    operations : mapping of str to Operations
        What they cost, by the text of the row; a row of which no run can be done is not there.
    recorded : mapping, optional
        The fields of an earlier `EqualCompute` of the same table: it stays if no row costs more.

    Examples
    --------
    >>> find_costliest([], {}) is None
    True
    """
    best = None if recorded is None else EqualCompute(**recorded)
    for row in rows:
        if row.text not in operations or not algorithms.get(row.method).needs_unlabelled:
            continue
        cost = operations[row.text]
        if best is None or cost.run > best.run:
            best = EqualCompute(row.title, row.mixer, cost.steps, cost.run)
    return best


class Resolved(NamedTuple):
    """What the runs of a row are trained with: nothing is left open."""

    row: RowSpec  # with the options of the method
    config: Config  # the configuration
    inputs: int | None = None  # size of an embedding; None in a run on spectrograms


Resolve = Callable[[RowSpec, Config], Resolved]


class EqualRows(NamedTuple):
    """Rows of equal compute."""

    rows: list[RowSpec]
    operations: dict[str, Operations]  # of the other rows too, by text
    record: dict[str, Any] | None  # for the record of the benchmark: ``text``, ``note`` and ``of``; None without rows


def make_equal_rows(
    texts: Sequence[str] | None,
    rows: Sequence[RowSpec],
    runs: Sequence[PlannedRun],
    dataset: Dataset,
    parse: Callable[[str], RowSpec],
    recorded: Mapping[str, Any] | None = None,
    resolve: Resolve = lambda row, config: Resolved(row, config),
) -> EqualRows:
    """Return the rows whose compute is that of the costliest semi-supervised one.

    Parameters
    ----------
    texts : sequence of str or None
        Rows with ``steps=equal``; None for a supervised one, if any row is semi-supervised.
    rows : sequence of RowSpec
        The other rows.
    runs : sequence of PlannedRun
        The runs of those that can be done.
    dataset : Dataset
        The clips.
    parse : callable
        Returns the row of a text.
    recorded : mapping, optional
        The record of an earlier command on the same table.
    resolve : callable
        Returns what the runs of a row with a configuration are trained with.
    """
    operations = count_operations(runs, dataset, resolve)
    costliest = find_costliest(rows, operations, (recorded or {}).get("of"))
    if costliest is None or (texts is None and not any(algorithms.get(row.method).needs_unlabelled for row in rows)):
        return EqualRows([], operations, None)
    made: list[RowSpec] = []
    notes = []
    if texts is None:
        texts = [costliest.text()]
        if parse(with_steps(texts[0], 1)).config.rounds > 1:  # a second round learns from unlabelled clips
            texts = [costliest.text().replace("steps=equal", "steps=equal,rounds=1")]
    for text in texts:
        row = parse(with_steps(text, 1))
        step = count_step(resolve(row, row.config), dataset, 1)
        steps = costliest.count_steps(step)
        row = parse(with_steps(text, steps))
        made.append(replace(row, title=row.title.replace("(steps=", "(equal compute: steps=")))
        operations[row.text] = Operations(step, steps)
        notes.append(costliest.note(made[-1].title, steps, step))
    record = {"text": made[0].text, "note": " ".join(notes), "of": asdict(costliest)} if made else None
    return EqualRows(made, operations, record)


def count_operations(
    runs: Sequence[PlannedRun],
    dataset: Dataset,
    resolve: Resolve = lambda row, config: Resolved(row, config),
) -> dict[str, Operations]:
    """Return what the runs of each row cost, by the text of the row.

    Parameters
    ----------
    runs : sequence of PlannedRun
        The runs; of those of a row that differ in folds, seeds or labels the longest counts.
    dataset : Dataset
        The clips.
    resolve : callable
        Returns what the runs of a row with a configuration are trained with.

    Examples
    --------
    >>> count_operations([], Dataset("toy", (), ("a", "b"), 8000, 1.0))
    {}
    """
    found: dict[str, Operations] = {}
    for text in dict.fromkeys(run.row.text for run in runs):
        own = [run for run in runs if run.row.text == text]
        row, longest, unlabelled = own[0].row, 0, 1
        needed_by = unlabelled_needed_by(row.method, own[0].config)
        for run in own:
            split = make_split(run.config, dataset, run.fold, run.seed, needed_by=needed_by)
            unlabelled = max(unlabelled, len(split.unlabelled))
            steps = resolve(row, run.config).config.count_steps(len(split.labelled), len(split.unlabelled))
            longest = max(longest, steps)
        found[text] = Operations(count_step(resolve(row, own[0].config), dataset, unlabelled), longest)
    return found


def count_step(resolved: Resolved, dataset: Dataset, unlabelled: int) -> int:
    """Return the operations of one step of a row, in the middle of a training, on noise.

    Of a run with several rounds, which have as many steps each, it is a step of the first and one of each round behind.

    Parameters
    ----------
    resolved : Resolved
        Method, options and mixer, network, batch sizes and front end.
    dataset : Dataset
        Says how many classes there are, and how long a clip is.
    unlabelled : int
        Number of unlabelled clips of the run.

    Raises
    ------
    ValueError
        The method's step does no convolution and no matrix product.
    """
    rounds, first = resolved.config.rounds, resolved._replace(config=replace(resolved.config, rounds=1))
    total = _count_step(first, dataset, unlabelled)
    if rounds > 1:
        total += (rounds - 1) * _count_step(resolved, dataset, unlabelled)
    return total


def _count_step(resolved: Resolved, dataset: Dataset, unlabelled: int) -> int:
    """Return the operations of one step of the last round."""
    row, config, inputs = resolved
    rate, seconds = rate_and_seconds(config, dataset)
    size, classes = clip_size(rate, seconds), len(dataset.class_names)
    views, generator = make_views(config, rate, size), generator_for(0, "compute")
    shape = (inputs,) if inputs is not None else (1, *views.mel(torch.zeros(1, 1, size)).shape[-2:])

    def draw(count: int) -> torch.Tensor:
        return normal(1, count * math.prod(shape), generator=generator).float().view(count, *shape)

    given = (row.method, row.options, row.mixer, "", 0, Path(), True, False, classes, ("test",), inputs)
    spec = RunSpec(replace(config, compile=False), *given)
    with threads(config.threads):
        network, method, _ = spec.make(torch.device("cpu"), views, unlabelled, config.batch_labelled)
        count = config.batch_unlabelled
        hidden, index = torch.full((count,), -1), torch.arange(count) % unlabelled
        weaks, strongs = (tuple(draw(count) for _ in range(n)) for n in (method.weak_views, method.strong_views))
        without_labels = Unlabelled(weaks, strongs, hidden, index) if method.needs_unlabelled else None
        order = torch.arange(config.batch_labelled)
        with_labels = Labelled(draw(config.batch_labelled), order % classes, order)
        with OperationCounter() as counter:
            terms = method.losses(network, with_labels, without_labels, progress=0.5, generator=generator)
            torch.stack([term.float() for term in terms.values()]).sum().backward()
    if not counter.total:
        check.fail("the method", "one whose step has convolutions or matrix products", row.text)
    return counter.total


class OperationCounter(TorchDispatchMode):
    """Counts operations by the formulas of `torch.utils.flop_counter`.

    `torch.utils.flop_counter.FlopCounterMode` itself follows modules by hooks besides, which fail where a method asks
    for the gradient of an input (`torch.autograd.grad`), as adversaries do.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Run an operation, and count it where there is a formula."""
        result = func(*args, **(kwargs or {}))
        if (formula := flop_registry.get(func._overloadpacket)) is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result
