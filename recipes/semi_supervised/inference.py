"""A trained network with its front end, read from a run's folder alone, and its predictions on sounds."""

from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from audiomix import check
from audiomix.audio import io
from audiomix.registry import refuse_paths

from .. import models
from ..data.encoders import Encoder, encoder_digest, open_encoder
from ..data.front_end import make_views
from ..data.store import clip_size
from ..data.views import Views
from ..models._weights import load_weights
from ..training import checkpoint
from ..training.config import HEADS, Config
from ..training.ema import EMA
from ..training.engine import CHECKPOINT
from ..training.run_folder import read_json
from . import refit
from .evaluate import predict_logits
from .run_spec import RunSpec

__all__ = ["PUBLISHED", "WEIGHTS", "TrainedModel", "find_headline", "load_headline", "load_model"]

PUBLISHED, WEIGHTS = "model.json", "model.safetensors"  # files of a published network
_PUBLISHED_FACTS = ("title", "network", "classes", "rate", "samples", "mean", "std", "config")
_RECORD = "bench.json"  # of a benchmark, three folders above its runs: recipes.benchmark.record.RECORD

_SETTINGS = ("config", "method", "options", "mixer", "fold", "seed")
_FACTS = ("classes", "rate", "seconds", "mean", "std", "title")


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A run's network with its front end."""

    folder: Path  # the run's folder
    title: str  # the method, as reported
    which: str  # the network: raw or ema; with another head raw+refit, say
    classes: tuple[str, ...]  # names of the classes
    rate: int  # sample rate of the clips in Hz
    size: int  # length of a clip in samples
    network: nn.Module  # spectrograms (B, 1, F, N) to logits (B, K), in eval mode on the CPU
    views: Views  # the front end
    config: Config  # the run's configuration, for one CPU
    encoder: Encoder | None = None  # makes the embeddings that the network takes; None for one on spectrograms

    @property
    def seconds(self) -> float:
        """Length of a clip in seconds."""
        return self.size / self.rate

    def read(self, path: Path, *, start: float = 0.0, seconds: float | None = None) -> Tensor:
        """Return a file, or the piece from `start` of a length in seconds, as the store has clips.

        It is int16 (size,): mono, resampled, cut or padded. What cannot be read is an `audiomix.audio.io.AudioError`.
        """
        return self.fit(io.read(path, rate=self.rate, channels=1, start=start, seconds=seconds).samples[0])

    def fit(self, wave: Tensor) -> Tensor:
        """Return a waveform (T,) at the run's rate as the store has clips: int16 (size,), cut or padded."""
        return io.fit_length(io.quantise(wave[: self.size]).to(torch.int16), self.size)

    def probabilities(self, samples: Tensor) -> Tensor:
        """Return the probability of each class, float64 (B, K), for mono clips (B, size) at the run's rate.

        They are int16 or floating point.
        """
        check.batch("samples", samples, ndim=2)
        if self.encoder is not None:
            waves = samples if samples.is_floating_point() else samples.float() / 32768
            return predict_logits(self.network, self.views, self.encoder(waves.float(), self.rate)).double().softmax(-1)
        kept = samples if self.config.front == "waveform" else self.views.mel(samples.unsqueeze(1))
        if samples.is_floating_point() and self.config.front == "waveform":
            kept = io.quantise(samples).to(torch.int16)
        return predict_logits(self.network, self.views, kept).double().softmax(-1)


def load_model(folder: Path, which: str = "headline", *, head: str = "none", trust: bool = False) -> TrainedModel:
    """Return the network of a run, as it was saved last, or a published one.

    Parameters
    ----------
    folder : Path
        A folder that `run` or `bench` made for one fold and seed, or one that ``export --format checkpoint`` wrote,
        which holds one network.
    which : str
        ``raw`` is the network that the method reports (its teacher, say), ``ema`` the average of the trained one;
        ``headline`` the one of `find_headline`.
    head : str
        ``none`` for the network as it was trained; ``refit`` or ``graph`` for a head that the run fitted afterwards.
    trust : bool
        Run the code of a method, network or mixer that the run names by a path, as in ``mine.py:Net``.

    Raises
    ------
    ValueError
        The folder is no run, or holds several; it has no checkpoint yet; the checkpoint is of another run; it names
        code by a path, and is not trusted; a published network is asked for as another than it is.
    """
    folder = Path(folder)
    check.choice("network", which, ["headline", "raw", "ema"])
    check.choice("head", head, ["none", *HEADS])
    published = (folder / PUBLISHED).is_file()
    with nullcontext() if trust else refuse_paths(str(folder / (PUBLISHED if published else "config.json"))):
        if published:
            return _load_checkpoint(folder, which, head)
        which = find_headline(folder) if which == "headline" else which
        model = _load(folder, which)
    if head == "none":
        return model
    name = refit.network_name(which, head)
    refit.load_heads(model.folder / refit.FILE, name, model.network)
    return replace(model, which=name)


def load_headline(folder: Path, head: str) -> nn.Module:
    """Return the network that a run's method reports, with a head that the run fitted, in eval mode on the CPU.

    Unlike `load_model` it makes no front end: a run on a file of embeddings, which encodes no new clips, has one too.

    Parameters
    ----------
    folder : Path
        The run's folder.
    head : str
        ``refit`` or ``graph``.
    """
    settings, facts = _read(folder)
    network = _restore(folder, settings, facts, "raw")[-1]
    refit.load_heads(folder / refit.FILE, refit.network_name("raw", head), network)
    return network


def find_headline(folder: Path) -> str:
    """Return the network whose error comes first in a run's results: ``raw`` or ``ema``.

    A run of a benchmark has that of its table (``bench --headline``); others have ``raw``.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    """
    record = folder.absolute().parents[2] / _RECORD if len(folder.absolute().parents) > 2 else folder / _RECORD
    return (read_json(record).get("headline") or "raw") if record.is_file() else "raw"


def _load_checkpoint(folder: Path, which: str, head: str) -> TrainedModel:
    """Return the one network that a folder of ``export --format checkpoint`` holds."""
    facts = read_json(folder / PUBLISHED, *_PUBLISHED_FACTS, way="write it anew with export")
    name = facts["network"]
    own, _, own_head = name.partition("+")
    if which not in ("headline", own) or head not in ("none", own_head):
        check.fail("network", f"{name}, the one that {folder} holds", refit.network_name(which, head), "leave it out")
    config = _config(facts["config"], folder, PUBLISHED)
    views = make_views(config, facts["rate"], facts["samples"])
    views.mean, views.std = facts["mean"], facts["std"]  # type: ignore[misc]
    options = models.options(config.model, config.model_options)
    network = models.build(config.model, len(facts["classes"]), seed=0, **options)
    load_weights(network, folder / WEIGHTS)
    classes = tuple(facts["classes"])
    return TrainedModel(
        folder, facts["title"], name, classes, facts["rate"], facts["samples"], network.eval(), views, config
    )


def _load(folder: Path, which: str) -> TrainedModel:
    settings, facts = _read(folder)
    encoder = _open_encoder(_config(settings["config"], folder), settings, folder)
    config, views, network = _restore(folder, settings, facts, which)
    rate, size = facts["rate"], clip_size(facts["rate"], facts["seconds"])
    classes = tuple(facts["classes"])
    return TrainedModel(folder, facts["title"], which, classes, rate, size, network, views, config, encoder)


def _restore(
    folder: Path, settings: dict[str, Any], facts: dict[str, Any], which: str
) -> tuple[Config, Views, nn.Module]:
    """Return configuration, front end and a trained network of a run with these settings and facts."""
    config = _config(settings["config"], folder)
    views = make_views(config, facts["rate"], clip_size(facts["rate"], facts["seconds"]))
    views.mean, views.std = facts["mean"], facts["std"]  # type: ignore[misc]  # of an instance, as `fit` sets them
    split = read_json(folder / "split.json", "labelled", "unlabelled")
    given = {name: settings[name] for name in ("method", "options", "mixer", "fold", "seed")}
    classes, inputs = len(facts["classes"]), facts.get("inputs")
    spec = RunSpec(config, **given, out=folder, quiet=True, track=False, num_classes=classes, inputs=inputs)
    return config, views, _network(spec, views, len(split["unlabelled"]), len(split["labelled"]), which).eval()


def _open_encoder(config: Config, settings: dict[str, Any], folder: Path) -> Encoder | None:
    """Return the encoder of a run with an embedding, if it is the one that the run had."""
    if config.embedding is None:
        return None
    encoder = open_encoder(config.embedding)
    if (now := encoder_digest(config.embedding)) != settings.get("embedding_file"):
        expected = f"the encoder of the run {folder}, {settings.get('embedding_file')}"
        check.fail("embedding", expected, f"{config.embedding}, {now}", "the file was changed")
    return encoder


def _network(spec: RunSpec, views: Views, unlabelled: int, labelled: int, which: str) -> nn.Module:
    tensors, numbers = checkpoint.load(path := spec.out / CHECKPOINT)
    if numbers.get("method") != spec.method:
        check.fail(f"the checkpoint {path}", f"of {spec.method}", f"one of {numbers.get('method')}")
    network, algorithm, _ = spec.make(torch.device("cpu"), views, unlabelled, labelled)
    ema = EMA(algorithm.select_averaged(network), spec.config.ema)
    parts: dict[str, nn.Module] = {"model": network, "algorithm": algorithm, "ema": ema}
    none = torch.optim.SGD([torch.zeros(1, requires_grad=True)])
    checkpoint.restore({k: v for k, v in tensors.items() if not k.startswith("optimiser.")}, parts, none)
    return ema if which == "ema" else algorithm.select_reported(network)


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return settings and facts of a run, or say what the folder is instead."""
    if not folder.is_dir():
        slip = "that is a file" if folder.exists() else "there is no such folder"
        check.fail("run", "a run's folder", str(folder), slip)
    if not (folder / "config.json").is_file():
        below = sorted(path.parent for path in folder.glob("**/config.json"))
        slip = f"runs are below it: {below[0]}?" if below else "run and bench make a folder for each fold and seed"
        check.fail("run", "a run's folder, with config.json", str(folder), slip)
    saved = read_json(folder / "config.json", "settings")
    if unset := [name for name in _SETTINGS if name not in saved["settings"]]:
        check.fail(str(folder / "config.json"), "a run's, with its settings", f"one without {unset[0]}")
    kinds: dict[str, Any] = {"method": str, "options": dict, "mixer": (str, type(None)), "config": dict}
    for name, kind in kinds.items():
        if not isinstance(saved["settings"][name], kind):
            got = f"{name} {saved['settings'][name]!r}"
            check.fail(str(folder / "config.json"), "a run's, with its settings", got, "edited by hand?")
    missing = [name for name in _FACTS if name not in saved.get("facts", {})]
    if missing:
        slip = "an earlier version made it: train again"
        check.fail(str(folder / "config.json"), "a run's that tells its front end", f"one without {missing[0]}", slip)
    for name in ("split.json", CHECKPOINT):
        if not (folder / name).is_file():
            check.fail("run", f"a run's folder, with {name}", str(folder), "stopped before its first checkpoint?")
    return saved["settings"], saved["facts"]


def _config(saved: dict[str, Any], folder: Path, file: str = "config.json") -> Config:
    if unknown := [name for name in saved if name not in {f.name for f in fields(Config)}]:
        check.fail(str(folder / file), "of this version", f"one with {unknown[0]}", "another audiomix made it")
    config = Config(**(saved | {name: tuple(saved[name]) for name in ("model_options", "head") if name in saved}))
    # the checkpoint has all weights: the file of first weights is not needed
    return replace(config, weights=None, compile=False, device="cpu", devices=1)
