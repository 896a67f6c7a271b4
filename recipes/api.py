"""The recipes from Python: `train` and `bench` call what the command line calls, and read its folder of results.

So a run from Python is the run of the command line with the same arguments, to the bit, with the same files: its
``run.yaml`` makes it again from either.
"""

import csv
import hashlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, get_type_hints

import numpy as np
import soundfile
import torch
from torch import Tensor, nn

from audiomix import check, identity
from audiomix.audio import io
from audiomix.audio.clip import Clip, resample

from . import algorithms
from .benchmark.record import BenchmarkRecord, BenchmarkTable, build_table
from .benchmark.rows import slug
from .commands._config_options import PRESET
from .commands.bench import bench as run_bench
from .commands.run import run
from .semi_supervised.inference import TrainedModel, load_model
from .training.config import Config
from .training.metrics_log import MetricsRow
from .training.run_folder import PREDICTIONS, RunResult, csv_text, read_run, write_text

__all__ = ["Prediction", "TrainedRun", "Waves", "bench", "train"]

# Sounds in memory: N waveforms of any length, the class of each (None where it is not known), and their rate in Hz.
Waves: TypeAlias = tuple[Sequence[Any] | Tensor | np.ndarray, Sequence[Any] | Tensor | np.ndarray, int]
_RUNS = Path("runs")
_MANIFEST = "manifest.csv"
# Arguments of the commands that are none of these functions: how they go on, and what they are given one by one.
_OURS = ("options", "config", "command", "resume", "recompute")


class Prediction(NamedTuple):
    """What a network says of one sound."""

    id: str  # id of the clip, path of the file, or number of the waveform
    label: str | None  # its true class; None where it is not known
    predicted: str  # the likeliest class
    probabilities: dict[str, float]  # probability of each class


@dataclass(frozen=True)
class TrainedRun:
    """A finished run: its errors, its predictions and its network, read from its folder.

    Parameters
    ----------
    folder : Path
        The folder of one fold and seed, as `train` or ``audiomix-recipes run`` made it.
    result : RunResult
        Errors, measures and the rows of ``metrics.csv`` (``result.history``).
    """

    folder: Path
    result: RunResult

    @property
    def error(self) -> float:
        """The headline: error after the last step, in percent of the clips that the run measures on."""
        return self.result.error_last

    @cached_property
    def predictions(self) -> list[Prediction]:
        """What the network says of each clip that the run measures on: the held-out ones, or those for validation."""
        with open(self.folder / PREDICTIONS, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return [
            Prediction(row["id"], row["class"], row["raw"], {c: float(row[f"raw_{c}"]) for c in self.model.classes})
            for row in rows
        ]

    @cached_property
    def model(self) -> TrainedModel:
        """Network and front end on the CPU."""
        return load_model(self.folder, trust=True)  # its code was run to train it

    @property
    def network(self) -> nn.Module:
        """The network, in eval mode: normalised spectrograms (B, 1, F, N) to logits (B, K)."""
        return self.model.network

    def predict(self, sounds: Any, rate: int | None = None) -> list[Prediction]:
        """Return what the network says of sounds, each resampled, cut or zero-padded as the run's own clips were.

        Parameters
        ----------
        sounds : path, sequence of paths, or waveforms
            Files; or waveforms (B, T), (T,) or a list of (T,), mono, full scale 1.
        rate : int, optional
            Of waveforms, in Hz.

        Raises
        ------
        ValueError
            No sounds, or waveforms without a rate.
        audiomix.audio.io.AudioError
            A file cannot be read.
        """
        if isinstance(sounds, (str, Path)):
            sounds = [sounds]
        if isinstance(sounds, (Tensor, np.ndarray)) and sounds.ndim == 1:
            sounds = [sounds]
        if len(sounds) == 0:
            check.fail("sounds", "at least one", "none")
        names, clips = [], []
        for i, sound in enumerate(sounds):
            if isinstance(sound, (str, Path)):
                names.append(str(sound))
                clips.append(self.model.read(Path(sound)))
                continue
            if rate is None:
                check.fail("rate", "that of the waveforms, in Hz", None)
            names.append(str(i))
            clip = resample(Clip(_wave(sound)[None], check.rate("rate", rate)), self.model.rate)
            clips.append(self.model.fit(clip.samples[0]))
        classes = self.model.classes
        shares = self.model.probabilities(torch.stack(clips)).tolist()
        return [
            Prediction(name, None, classes[row.index(max(row))], dict(zip(classes, row)))
            for name, row in zip(names, shares)
        ]


def train(
    method: str,
    dataset: str | Waves,
    root: str | Path | None = None,
    *,
    preset: str = PRESET,
    fold: str | int | None = None,
    seed: int = 0,
    mixer: str | None = None,
    unlabelled: str | Path | None = None,
    out: str | Path | None = None,
    store: str | Path | None = None,
    track: bool = False,
    on_row: Callable[[MetricsRow], None] | None = None,
    quiet: bool = True,
    **options: Any,
) -> TrainedRun:
    """Train a method on one fold with one seed, as ``audiomix-recipes run`` does.

    A finished run with the same arguments is returned as it is, an interrupted one goes on.

    Parameters
    ----------
    method : str
        A method, such as ``"fixmatch"``, or one's own, as ``"mine.py:MyMethod"``.
    dataset : str or (waves, labels, rate)
        A data set, such as ``"folder"``, ``"esc10"`` or ``"demo"``. Or sounds in memory: N mono waveforms, full scale
        1, as a tensor or array (N, T) or a list of (T,); the class of each, a name or a number, None where it is not
        known; and their rate in Hz. Five folds are drawn. They are written to a folder below ``runs``.
    root : path, optional
        Folder of the data set, or its manifest.
    preset : str
        ``small``, ``study``, ``original``, ``strong`` or ``demo``.
    fold : str or int, optional
        The fold that is held out; by default, or with ``"first"``, the data set's first.
    seed : int
        Of labels, first weights, batches and views.
    mixer : str, optional
        ``"mixup"`` or ``"mixup:alpha=0.3"``; ``"none"`` for no mixing; by default the method's own.
    unlabelled : path, optional
        Folder of more clips without labels.
    out : path, optional
        Folder of the results; by default one below ``runs`` whose name depends on the arguments.
    store : path, optional
        Folder of the decoded audio; by default ``stores`` beside `out`.
    track : bool
        Write learning curves for TensorBoard too.
    on_row : callable, optional
        Called with each row of ``metrics.csv``, a dict with ``step``, once it is written.
    quiet : bool
        Print no progress and no table. What should be known of the data is printed always.
    **options
        Options of the method and fields of `recipes.training.config.Config`: ``threshold=0.9, steps=200``; and further
        arguments of ``audiomix-recipes run``.

    Returns
    -------
    TrainedRun
        Its ``error``, ``predictions``, ``network`` and ``predict``.

    Raises
    ------
    ValueError
        An argument that is refused; a near miss is named.

    See Also
    --------
    bench : Several rows, folds and seeds, with intervals.

    Examples
    --------
    >>> from audiomix.recipes import train
    >>> run = train("fixmatch", "demo", preset="demo", threshold=0.9, steps=400)  # doctest: +SKIP
    >>> run.error, run.predict("hello.wav")[0].predicted  # doctest: +SKIP
    (41.6, 'yes')
    """
    if fold in ("all", "") or not isinstance(fold, (str, int, type(None))):
        check.fail("fold", "one fold, or first", fold, "bench trains several")
    dataset, root = _place(dataset, root)
    of_method, config, more = _sort_options(method, options)
    arguments: dict[str, Any] = {
        "method": method,
        "dataset": dataset,
        "root": root,
        "preset": preset,
        "fold": ("first" if fold is None else str(fold),),
        "seed": (seed,),
        "mixer": mixer,
        "unlabelled": None if unlabelled is None else Path(unlabelled),
        "options": of_method,
        "config": config,
        **more,
    }
    folder = Path(out) if out is not None else _RUNS / f"{slug(dataset)}-{preset}-{slug(method)}-{_digest(arguments)}"
    how = {"out": folder, "store": None if store is None else Path(store), "resume": True, "track": track}
    done = run(**arguments, **how, on_row=on_row, quiet=quiet)  # type: ignore[arg-type]
    return read_trained_run(Path(next(r["folder"] for r in done.facts["runs"] if _is(r, seed, fold))))


def _is(facts: Mapping[str, Any], seed: int, fold: str | int | None) -> bool:
    """Return whether a run in a folder is the one that was asked for."""
    return facts["seed"] == seed and (fold in (None, "first") or facts["fold"] == str(fold))


def read_trained_run(folder: str | Path) -> TrainedRun:
    """Return a finished run, from the folder of its fold and seed.

    Parameters
    ----------
    folder : path
        As `train` or the command line made it.

    Raises
    ------
    ValueError
        The folder holds no finished run.
    """
    result = read_run(Path(folder))
    if result is None:
        check.fail("folder", "that of a finished run, with result.json", str(folder))
    return TrainedRun(Path(folder), result)


def bench(
    dataset: str | Waves,
    root: str | Path | None = None,
    *,
    methods: str | Sequence[str] = (),
    preset: str = PRESET,
    labelled: str | int | Sequence[str | int] = ("10%",),
    fold: str | int | Sequence[str | int] = ("all",),
    seed: int | Sequence[int] = (0,),
    mixer: str | None = None,
    baseline: str | None = None,
    headline: str | None = None,
    unlabelled: str | Path | None = None,
    jobs: int = 1,
    out: str | Path | None = None,
    store: str | Path | None = None,
    **options: Any,
) -> BenchmarkTable:
    """Train rows x labels x folds x seeds and return the table, as ``audiomix-recipes bench`` does.

    Finished runs of the same folder are kept. Progress is printed as the command prints it.

    Parameters
    ----------
    dataset, root, preset, mixer, unlabelled, store
        See `train`.
    methods : str or sequence of str
        The rows: ``["supervised", "fixmatch:threshold=0.8|0.9"]``; by default one for each method.
    labelled : str, int or sequence of them
        Labels kept: shares of each class (``"10%"``) or numbers of clips of each class (3); as many tables.
    fold : str, int or sequence of them
        Folds to hold out in turn; by default all.
    seed : int or sequence of int
        Seeds to run each fold with.
    baseline : str, optional
        The row that the others are compared with; by default that of equal compute.
    headline : str, optional
        Network whose error comes first, ``raw`` or ``ema``; by default raw.
    jobs : int
        Runs side by side.
    out : path, optional
        Folder of the results; by default one below ``runs`` whose name depends on the arguments.
    **options
        Fields of `recipes.training.config.Config` for all rows, and further arguments of ``audiomix-recipes bench``.

    Returns
    -------
    BenchmarkTable
        ``table.lines``, one for each row and number of labels: ``title``, ``label``, ``last["raw"].mean`` (error in
        percent), ``gain["raw"]`` (None for the baseline; ``.used`` is the interval: points below the baseline ``mean``,
        and its ends ``low`` and ``high``), ``verdict("raw")``, ``runs``. The folder has it as HTML, Markdown and CSV.

    Raises
    ------
    ValueError
        An argument that is refused; a near miss is named.

    Examples
    --------
    >>> from audiomix.recipes import bench
    >>> table = bench("demo", preset="demo", methods=["supervised", "fixmatch"], labelled=5)  # doctest: +SKIP
    >>> for line in table.lines:  # doctest: +SKIP
    ...     print(line.title, line.last["raw"].mean)
    """
    dataset, root = _place(dataset, root)
    _, config, more = _sort_options(None, options)
    arguments: dict[str, Any] = {
        "dataset": dataset,
        "root": root,
        "methods": _several(methods),
        "preset": preset,
        "labelled": _several(labelled),
        "fold": _several(fold),
        "seed": (seed,) if isinstance(seed, int) else tuple(seed),
        "mixer": mixer,
        "baseline": baseline,
        "headline": headline,
        "unlabelled": None if unlabelled is None else Path(unlabelled),
        "config": config,
        **more,
    }
    folder = Path(out) if out is not None else _RUNS / f"bench-{slug(dataset)}-{preset}-{_digest(arguments)}"
    run_bench(**arguments, jobs=jobs, out=folder, store=None if store is None else Path(store), resume=True)
    return build_table(BenchmarkRecord(folder))


def _several(values: Any) -> tuple[str, ...]:
    return (str(values),) if isinstance(values, (str, int)) else tuple(map(str, values))


def _sort_options(method: str | None, options: Mapping[str, Any]) -> tuple[dict, dict, dict]:
    """Return options of the method, fields of `Config`, and further arguments of the command.

    Raises
    ------
    ValueError
        An option that is none of them; a near miss is named.
    """
    known = [] if method is None else list(algorithms.options(algorithms.get(method)))
    in_config = [f.name for f in fields(Config)]
    function = run if method else run_bench
    command = [name for name in inspect.signature(function).parameters if name not in _OURS]
    several = [*_several_of(Config), *_several_of(function)]
    of_method, config, more = {}, {}, {}
    for name, value in options.items():
        check.choice("the option", name, [*known, *in_config, *command])
        if name in several and name not in known:
            value = _several(value)
        value = tuple(value) if isinstance(value, list) else value
        if name in known:
            of_method[name] = value
        elif name in command:
            more[name] = value
        else:
            config[name] = str(value) if name == "labelled" else value
    return of_method, config, more


def _several_of(kind: Any) -> list[str]:
    """Return the names of fields or arguments that are any number of texts."""
    return [name for name, hint in get_type_hints(kind).items() if hint == tuple[str, ...]]


def _digest(arguments: Mapping[str, Any]) -> str:
    """Return a hash of arguments, whatever the order in which they were given."""
    plain = {k: dict(sorted(v.items())) if isinstance(v, dict) else v for k, v in arguments.items()}
    return identity.digest([{k: str(v) for k, v in sorted(plain.items())}], size=4)


def _place(dataset: str | Waves, root: str | Path | None) -> tuple[str, Path | None]:
    """Return name and root of a data set; sounds in memory are written first."""
    if isinstance(dataset, str):
        return dataset, None if root is None else Path(root)
    if not isinstance(dataset, tuple) or len(dataset) != 3:
        got = f"{len(dataset)} things" if isinstance(dataset, tuple) else type(dataset).__name__
        check.fail("dataset", "a name, or (waves, labels, rate)", got, "the rate of the waves in Hz comes third")
    waves, labels, rate = dataset
    labels = [_label(label) for label in _plain(labels)]
    if not len(waves):
        check.fail("waves", "one at least", "none")
    if len(waves) != len(labels):
        check.fail("labels", f"one for each of the {len(waves)} waves", f"{len(labels)}")
    return "manifest", _write_waves([_wave(wave) for wave in waves], labels, check.rate("rate", rate))


def _label(label: Any) -> str | None:
    """Return the class of a sound as text. Tables have NaN where a cell is empty: that is no class."""
    if isinstance(label, float) and label != label:
        check.fail("labels", "names or numbers of classes, None where it is not known", "NaN", "an empty cell? None")
    return None if label is None else str(label)


def _plain(labels: Any) -> Iterable[Any]:
    return labels.tolist() if isinstance(labels, (Tensor, np.ndarray)) else labels


def _wave(wave: Any) -> Tensor:
    """Return a waveform, float32 (T,)."""
    found = torch.as_tensor(wave)
    if found.ndim == 2 and found.shape[0] == 1:
        found = found[0]
    if found.ndim != 1 or not len(found):
        check.fail("waves", "mono waveforms, each (T,)", f"one of shape {tuple(found.shape)}", "stereo? wave.mean(0)")
    return check.finite("waves", check.floating("waves", found).float())


def _hash(wave: Tensor) -> str:
    return hashlib.blake2b(wave.numpy().tobytes(), digest_size=8).hexdigest()


def _write_waves(waves: Sequence[Tensor], labels: Sequence[str | None], rate: int) -> Path:
    """Write waveforms and their manifest below ``runs``, if they are not there; return the manifest."""
    parts = [rate, list(labels), *(_hash(wave) for wave in waves)]
    folder = _RUNS / f"waves-{identity.digest(parts, size=8)}"
    if (folder / _MANIFEST).is_file():  # written last
        return folder / _MANIFEST
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for i, (wave, label) in enumerate(zip(waves, labels)):
        with io.atomic_file(folder / f"{i:06}.wav") as file:
            soundfile.write(file, wave.numpy(), rate, format="WAV", subtype="FLOAT")
        rows.append([f"{i:06}.wav", label or ""])
    write_text(folder / _MANIFEST, csv_text([["path", "label"], *rows]))
    return folder / _MANIFEST
