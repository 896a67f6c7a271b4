"""A semi-supervised method as the engine trains it: one method on one fold with one seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from audiomix import check, registry
from audiomix.datasets.dataset import Dataset
from audiomix.draw import generator_for
from audiomix.measures.calibration import expected_calibration_error

from .. import algorithms
from ..data.loader import Batches, Data, check_folds, make_split, prepare, rate_and_seconds
from ..data.rows import Selected
from ..training import engine, run_folder
from ..training.choices import Choice, choose, count_passes
from ..training.config import Config, check_seed
from ..training.distributed import autocast, device_name, fabric_for, gather_batch, launch, threads
from ..training.ema import EMA
from ..training.metrics_log import MetricsRow, RowLog, check_tensorboard
from ..training.mixing.base import ReadClips
from ..training.optimiser import make_optimiser
from ..training.prior import class_prior
from ..training.run_folder import RunResult, Split
from . import evaluate, refit
from .rounds import earlier_folder, guess_again
from .run_file import run_arguments, write_run_file
from .run_spec import RunSpec, compile_networks, file_digests, unlabelled_needed_by
from .student import Student

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["SemiSupervised", "learning_rate", "resolve", "settings", "train"]


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
    test: bool = False,
    on_row: Callable[[MetricsRow], None] | None = None,
    log: str | None = None,
) -> RunResult:
    """Train one method on one fold with one seed.

    Parameters
    ----------
    config : Config
        The run's configuration; what it leaves open is chosen by the facts of `data`.
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
    test : bool
        In a run with validation clips, measure on the test clips too: nothing else is known of them there. A run
        without validation clips measures on the test clips alone, whatever this says.
    on_row : callable, optional
        Called with each row of metrics.csv, once its checkpoint is written; of several processes in the first, so it
        must be one that can be sent there.
    log : str, optional
        A function of one's own that is called with each row too, ``mine.py:function`` or ``package.module:function``;
        see `recipes.training.metrics_log.RowLog`.

    Raises
    ------
    FloatingPointError
        A term of the loss, a weight or a statistic is NaN or infinite; the checkpoint before stays, and the batch of
        the step is written.
    ValueError
        An argument that is refused: the run's folder is not made, or left as it is.
    """
    out = Path(out)
    seed, (fold, *_) = check_seed(seed), check_folds(data.dataset, [fold] if fold else [])
    config, options, choices = resolve(config, data, method, options)
    identity = settings(config, data, method, fold=fold, seed=seed, options=options, mixer=mixer, test=test)
    given = (config, method, options, mixer, fold, seed, out, quiet, track)
    inputs = None if config.embedding is None else data.kept.shape[1]
    spec = RunSpec(*given, len(data.dataset.class_names), tuple(identity["measured_on"]), inputs)
    spec.check(data)
    if track:
        check_tensorboard()
    if log is not None:
        if on_row is not None:
            check.fail("log", "given alone", f"{log} and on_row", "call it from on_row")
        arguments = run_arguments(spec, data.source) | {"folder": str(out)}
        on_row = RowLog(registry.load(log, "log"), log, arguments)
    split = None
    if run_folder.holds_run(out, identity, resume=resume):
        if (done := run_folder.read_run(out)) is not None:
            return done
        split = run_folder.read_split(out, data.dataset)
    if split is None:
        split = make_split(config, data.dataset, fold, seed, needed_by=unlabelled_needed_by(method, config))
        _fit(config, data, split)
        facts = {"title": spec.title} | _facts(config, data, split, choices)
        run_folder.begin(out, identity, split.ids(data.dataset), facts)
        write_run_file(spec, data.source)
    if config.rounds > 1:
        before, folder = replace(config, rounds=config.rounds - 1), earlier_folder(out, config.rounds)
        how: dict[str, Any] = {"options": options, "mixer": mixer, "quiet": quiet, "track": track, "test": test}
        train(before, data, method, out=folder, fold=fold, seed=seed, resume=True, on_row=on_row, **how)
    fabric = fabric_for(config)
    if config.devices == 1:
        _train(fabric, spec, data, split, on_row)
    else:
        launch(fabric, _train_in_process, spec, data.source, data.stores, split, on_row)
    result = run_folder.read_run(out)
    assert result is not None
    return result


def resolve(
    config: Config, data: Data, method: str, options: dict[str, Any] | None = None
) -> tuple[Config, dict[str, Any], list[Choice]]:
    """Return configuration and options without what is open in them, and what was chosen; see `train`."""
    config, choices = choose(config, data.facts)
    given, more = algorithms.get(method).choose_options(options or {}, data.facts)
    return config, given, [*choices, *more]


def settings(
    config: Config,
    data: Data,
    method: str,
    *,
    fold: str | None = None,
    seed: int | None = None,
    options: dict[str, Any] | None = None,
    mixer: str | None = None,
    test: bool = False,
) -> dict[str, Any]:
    """Return what identifies a run, for JSON: only a run with the same settings is resumed or reported.

    See `train` for the arguments.
    """
    config, options, _ = resolve(config, data, method, options)
    what: dict[str, Any] = {"method": method, "options": options, "mixer": mixer, "fold": fold, "seed": seed}
    what |= {"dataset": data.dataset.name, "data": data.fingerprint, "config": config.to_dict()}
    if data.dataset.outlier_classes:
        what["outlier_classes"] = list(data.dataset.outlier_classes)
    # errors are in every row of metrics.csv, or in none
    what["measured_on"] = ["test"] if config.validation is None else ["validation", *["test"] * test]
    return what | file_digests(config, method, mixer)


def _facts(config: Config, data: Data, split: Split, choices: Sequence[Choice]) -> dict[str, Any]:
    """Return what is worth knowing of a run but may differ when it is resumed."""
    dataset, views = data.dataset, data.views
    facts: dict[str, Any] = {"classes": dataset.class_names, "unreadable": data.errors, "device": device_name(config)}
    facts["rate"], facts["seconds"] = rate_and_seconds(config, dataset)
    facts |= {"mean": views.mean, "std": views.std}  # what `predict` needs of the front end
    facts["inputs"] = None if config.embedding is None else data.kept.shape[1]
    facts |= {"data": asdict(data.facts), "choices": [asdict(choice) for choice in choices]}
    passes = count_passes(config, len(split.labelled), len(split.unlabelled))
    facts["passes"] = {k: round(x, 3) for k, x in zip(("labelled", "unlabelled"), passes) if math.isfinite(x)}
    shares = [round(share, 4) for share in _prior(config, data, split).tolist()]
    facts["prior"] = dict(zip(dataset.class_names, shares))
    return facts | {"root": None if dataset.root is None else str(dataset.root.absolute())}


def _prior(config: Config, data: Data, split: Split) -> Tensor:
    """Return the share (K,) of each class that methods align to."""
    known = split.training_labels(data.labels)[split.labelled.to(data.labels.device)]
    return class_prior(config.prior, known, len(data.dataset.class_names))


def _train_in_process(fabric: Fabric, spec: RunSpec, source: Dataset, stores: Path, split: Split, on_row: Any) -> None:
    """Read the data again, on the device of this process, and train."""
    data = prepare(spec.config, source, stores, quiet=True, device=fabric.device)
    _train(fabric, spec, data, split, on_row if fabric.is_global_zero else None)


def _train(
    fabric: Fabric, spec: RunSpec, data: Data, split: Split, on_row: Callable[[MetricsRow], None] | None
) -> None:
    _fit(spec.config, data, split)
    with threads(spec.config.threads):
        recipe = SemiSupervised(fabric, spec, data, split)
        engine.run(fabric, recipe, spec.out, quiet=spec.quiet, track=spec.track, on_row=on_row)


def _fit(config: Config, data: Data, split: Split) -> None:
    with threads(config.threads):  # sums depend on how many threads add them up
        data.views.fit(data.kept, split.train)


class SemiSupervised(engine.Recipe):
    """A network that a method trains on labelled and unlabelled clips, and its running average.

    The views of `data` are fitted; `split` says which clips are for what.
    """

    def __init__(self, fabric: Fabric, spec: RunSpec, data: Data, split: Split) -> None:
        config = spec.config
        assert config.every is not None  # `resolve` has chosen it
        self.fabric, self.spec, self.data, self.split = fabric, spec, data, split
        self.seed, self.every, self.log_every = spec.seed, config.every, config.every
        self.steps = config.count_steps(len(split.labelled), len(split.unlabelled))
        self.class_names = data.dataset.class_names
        self.network, self.algorithm, networks = spec.make(
            fabric.device, data.views, len(split.unlabelled), len(split.labelled)
        )
        self.algorithm.gather = partial(gather_batch, fabric)
        prior = _prior(config, data, split)
        if isinstance(self.algorithm, Student):
            before = earlier_folder(spec.out, config.rounds)
            self.algorithm.targets.copy_(guess_again(before, config.heads[0], data, split, prior))
        self.algorithm.set_prior(prior)
        self.algorithm.take_clips(*_reader(data, split))
        self.ema = EMA(self.algorithm.select_averaged(self.network), config.ema)
        self.trained = [self.network, self.algorithm]
        self.optimiser = make_optimiser(config, self.trained)
        self.modules = {"model": self.network, "ema": self.ema, "algorithm": self.algorithm}
        self.others, self.origin = {}, {"method": spec.method, "split": split.digest}
        method = self.algorithm
        views = (method.weak_views, method.strong_views) if method.needs_unlabelled else (0, 0)
        part = (fabric.global_rank, fabric.world_size)
        self.batches = Batches(config, data, split, spec.seed, views=views, part=part)
        self.clips = self.batches.size
        if config.compile:
            compile_networks(networks)

    def batch(self, step: int, generator: torch.Generator) -> Any:
        """Return labelled and unlabelled clips."""
        return self.batches(step, generator)

    def losses(self, batch: Any, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the method's terms."""
        labelled, unlabelled = batch
        progress = step / self.steps
        return self.algorithm.losses(self.network, labelled, unlabelled, progress=progress, generator=generator)

    def learning_rate(self, step: int) -> float:
        """Return the configured learning rate."""
        return learning_rate(self.spec.config, step / self.steps)

    def after_step(self) -> None:
        """Update the method's teachers, then the average."""
        self.algorithm.after_step(self.network)
        self.ema.update(self.algorithm.select_averaged(self.network))

    def logs(self) -> dict[str, Tensor]:
        """Return the method's logs."""
        return self.algorithm.logs()

    @property
    def parts(self) -> dict[str, Tensor]:
        """Indices of the clips that are measured on, by what is put in front of the names of their errors.

        The headline's have nothing in front; no other clips are measured on.
        """
        measured: Sequence[str] = self.spec.measured_on
        clips = {"test": self.split.test, "validation": self.split.valid}
        return {f"{part}_" if i else "": clips[part] for i, part in enumerate(measured)}

    def evaluate(self) -> dict[str, float]:
        """Return the errors in percent: on the validation clips, or on the test clips where there are none.

        Those of a run that measures on both are ``error`` on the validation clips and ``test_error``.
        """
        found: dict[str, float] = {}
        for name, indices in self.parts.items():
            labels = self.data.labels[indices.to(self.data.labels.device)]
            raw, ema = (evaluate.error_rate(x.argmax(-1), labels) for x in self._logits(indices))
            found |= {f"{name}error": raw, f"{name}error_ema": ema}
        return found

    def should_stop(self, history: Sequence[MetricsRow]) -> bool:
        """Return whether the errors on the validation clips have not fallen for `patience` rows."""
        patience = self.spec.config.patience
        if patience is None or len(history) <= patience:
            return False
        best = [min(row["error"], row["error_ema"]) for row in history]  # `Config`: patience needs validation clips
        return min(best[-patience:]) >= min(best[:-patience])

    def whole_batch(self, step: int) -> tuple[dict[str, Tensor], dict[str, list[str]]]:
        """Return the clips' views and classes; they are made again, being functions of the seed and the step."""
        own, items = self.batches, self.data.dataset.items
        whole = Batches(own.config, own.data, own.split, own.seed, views=own.views)
        labelled_at, unlabelled_at = whole.indices(step)
        labelled, unlabelled = whole(step, generator_for(own.seed, "step", step))
        tensors = {"labelled.x": labelled.x, "labelled.target": labelled.target}
        ids = {"labelled": [items[i].id for i in self.split.labelled[labelled_at].tolist()]}
        if unlabelled is not None and unlabelled_at is not None:
            for kind in ("weaks", "strongs"):
                tensors |= {f"unlabelled.{kind}.{i}": x for i, x in enumerate(getattr(unlabelled, kind))}
            ids["unlabelled"] = [items[i].id for i in self.split.unlabelled[unlabelled_at].tolist()]
        return tensors, ids

    def finish(self, history: Sequence[MetricsRow]) -> None:
        """Write ``predictions.csv``, ``test_predictions.csv`` where both parts are measured on, and ``result.json``.

        Other heads are fitted first.
        """
        heads = self._fit_heads()
        measures = {name: self._measure(name, indices, heads) for name, indices in self.parts.items()}
        result = _result(self.spec, list(history), measures)
        if isinstance(self.algorithm, Student):  # the cost of a run is that of all its rounds
            before = run_folder.read_run(earlier_folder(self.spec.out, self.spec.config.rounds))
            assert before is not None
            before, both = before.with_head(self.spec.config.heads[0]), ("seconds", "cpu_seconds")
            result = replace(result, **{name: getattr(result, name) + getattr(before, name) for name in both})
        run_folder.write_result(self.spec.out, result)

    def _measure(self, name: str, indices: Tensor, heads: dict[str, refit.FittedHeads]) -> dict[str, Any]:
        """Write the predictions on some clips, and return the measures by network; see `parts` for `name`."""
        scores = self._scores(indices, heads)
        labels = self.data.labels[indices.to(self.data.labels.device)]
        predicted = {network: x.argmax(-1) for network, x in scores.items()}
        shares = {network: x.double().softmax(-1) for network, x in scores.items()}
        path = self.spec.out / f"{name}{run_folder.PREDICTIONS}"
        run_folder.write_predictions(path, self.data.dataset, indices, predicted, shares)
        found = {
            network: {"ece": expected_calibration_error(shares[network], labels)}
            | evaluate.summarise_predictions(predicted[network], labels, self.spec.num_classes)
            for network in scores
        }
        for network, one in heads.items():  # the errors of the networks as trained are in metrics.csv
            error = evaluate.error_rate(predicted[network], labels)
            found[network] |= {"error": error, "seconds": one.seconds, "cpu_seconds": one.cpu_seconds}
        return found

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The network that is reported, and its average."""
        return {"raw": self.algorithm.select_reported(self.network), "ema": self.ema}

    def _logits(self, indices: Tensor) -> list[Tensor]:
        """Return the logits (N, K) of the network that is reported and of its average, for the clips at `indices`."""
        return list(self._scores(indices, {}).values())

    def _scores(self, indices: Tensor, heads: dict[str, refit.FittedHeads]) -> dict[str, Tensor]:
        """Return the logits (N, K) for the clips at `indices`: of the networks, and of them with other heads."""
        kept, networks = Selected(self.data.kept, indices), self.networks
        with autocast(self.fabric), torch.no_grad():
            found = {name: evaluate.predict_logits(x, self.data.views, kept) for name, x in networks.items()}
            for name, one in heads.items():
                with refit.with_heads(networks[name.partition("+")[0]], one.heads) as network:
                    found[name] = evaluate.predict_logits(network, self.data.views, kept)
        return found

    def _fit_heads(self) -> dict[str, refit.FittedHeads]:
        """Return the heads that the configuration asks for, by name, and save them; see `refit.fit_heads`."""
        kinds, split = self.spec.config.heads, self.split
        found: dict[str, refit.FittedHeads] = {}
        if not kinds:
            return found
        labels = split.training_labels(self.data.labels.cpu())[split.train]
        for which, network in self.networks.items():
            with autocast(self.fabric):
                given = (self.data.views, self.data.kept, split.train, labels, self.algorithm.prior)
                fitted = refit.fit_heads(kinds, network, *given)
            found |= {refit.network_name(which, kind): heads for kind, heads in fitted.items()}
        refit.save_heads(self.spec.out / refit.FILE, found)
        return found


def _reader(data: Data, split: Split) -> tuple[ReadClips, Tensor]:
    """Return what reads labelled clips without any change by their positions, and the classes of all of them."""
    labels = split.training_labels(data.labels)

    def read(positions: Tensor) -> tuple[Tensor, Tensor]:
        index = split.labelled[positions.to(split.labelled.device)].to(data.kept.device)
        return data.views.plain(data.kept[index]), labels[index]

    return read, labels[split.labelled.to(labels.device)]


def learning_rate(config: Config, progress: float) -> float:
    """Return the learning rate of `config` at `progress` in [0, 1] of the training: a linear warm-up, then the decay.

    >>> learning_rate(Config(lr=1.0, warmup=0.5, decay="constant"), 0.25)
    0.5
    """
    if progress < config.warmup:
        return config.lr * progress / config.warmup
    epochs = config.epochs or 1
    epoch = math.floor(progress * epochs + 1e-6) / epochs  # the same step by step, until the next epoch begins
    factor = {
        "cos7pi16": math.cos(7 * math.pi * progress / 16),  # as FixMatch does
        "cos_to_quarter": math.cos(math.acos(0.25) * progress),  # as AdaMatch does
        "cosine_6_7": (1 + math.cos(6 * math.pi * progress / 7)) / 2,  # as Mean Teacher does: 180 of 210 epochs
        "cosine": (1 + math.cos(math.pi * progress)) / 2,
        "cosine_epochs": (1 + math.cos(math.pi * epoch)) / 2,
        "constant": 1.0,
    }
    return config.lr * factor[config.decay]


def _result(spec: RunSpec, history: list[MetricsRow], measures: dict[str, Any]) -> RunResult:
    """Return the result; `measures` are by the part's name in front of its errors, as in `SemiSupervised.parts`."""
    raw, ema = ([row[name] for row in history] for name in ("error", "error_ema"))
    test: dict[str, Any] = {}
    if "test_" in measures:
        for end, valid in {"": raw, "_ema": ema}.items():
            errors = [row[f"test_error{end}"] for row in history]
            test |= {f"error_last{end}": errors[-1], f"error_at_best{end}": errors[valid.index(min(valid))]}
        test["measures"] = measures["test_"]
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
        measured_on=spec.measured_on[0],
        measures=measures[""],
        test=test,
    )
