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

from ..data.store import clip_size
from ..data.views import Views, make_views
from ..training import checkpoint
from ..training.config import HEADS, Config
from ..training.ema import EMA
from ..training.engine import CHECKPOINT
from ..training.run_folder import read_json
from . import refit
from .evaluate import predict_logits
from .run_spec import RunSpec

__all__ = ["TrainedModel", "load_model"]

_SETTINGS = ("config", "method", "options", "mixer", "fold", "seed")
_FACTS = ("classes", "rate", "seconds", "mean", "std", "title")


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A run's network with its front end."""

    folder: Path  # the run's folder
    title: str  # the method, as reported
    which: str  # the weights: raw or ema; with another head raw+refit, say
    classes: tuple[str, ...]  # names of the classes
    rate: int  # sample rate of the clips in Hz
    size: int  # length of a clip in samples
    network: nn.Module  # spectrograms (B, 1, F, N) to logits (B, K), in eval mode on the CPU
    views: Views  # the front end
    config: Config  # the run's configuration, for one CPU

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
        kept = samples if self.config.front == "waveform" else self.views.mel(samples.unsqueeze(1))
        if samples.is_floating_point() and self.config.front == "waveform":
            kept = io.quantise(samples).to(torch.int16)
        return predict_logits(self.network, self.views, kept).double().softmax(-1)


def load_model(folder: Path, which: str = "raw", *, head: str = "none", trust: bool = False) -> TrainedModel:
    """Return the network of a run, as it was saved last.

    Parameters
    ----------
    folder : Path
        A folder that `run` or `bench` made for one fold and seed.
    which : str
        ``raw`` is the network that the method reports (its teacher, say), ``ema`` the average of the trained one.
    head : str
        ``none`` for the network as it was trained; ``refit`` or ``graph`` for a head that the run fitted afterwards.
    trust : bool
        Run the code of a method, network or mixer that the run names by a path, as in ``mine.py:Net``.

    Raises
    ------
    ValueError
        The folder is no run, or holds several; it has no checkpoint yet; the checkpoint is of another run; it names
        code by a path, and is not trusted.
    """
    check.choice("network", which, ["raw", "ema"])
    check.choice("head", head, ["none", *HEADS])
    with nullcontext() if trust else refuse_paths(str(Path(folder) / "config.json")):
        model = _load(Path(folder), which)
    if head == "none":
        return model
    name = refit.network_name(which, head)
    refit.load_heads(model.folder / refit.FILE, name, model.network)
    return replace(model, which=name)


def _load(folder: Path, which: str) -> TrainedModel:
    settings, facts = _read(folder)
    config = _config(settings["config"], folder)
    rate, size = facts["rate"], clip_size(facts["rate"], facts["seconds"])
    views = make_views(config, rate, size)
    views.mean, views.std = facts["mean"], facts["std"]  # type: ignore[misc]  # of an instance, as `fit` sets them
    split = read_json(folder / "split.json", "labelled", "unlabelled")
    given = {name: settings[name] for name in ("method", "options", "mixer", "fold", "seed")}
    spec = RunSpec(config, **given, out=folder, quiet=True, track=False, num_classes=len(facts["classes"]))
    network = _network(spec, views, len(split["unlabelled"]), len(split["labelled"]), which).eval()
    return TrainedModel(folder, facts["title"], which, tuple(facts["classes"]), rate, size, network, views, config)


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


def _config(saved: dict[str, Any], folder: Path) -> Config:
    if unknown := [name for name in saved if name not in {f.name for f in fields(Config)}]:
        check.fail(str(folder / "config.json"), "of this version", f"one with {unknown[0]}", "another audiomix made it")
    config = Config(**(saved | {name: tuple(saved[name]) for name in ("model_options", "head") if name in saved}))
    # the checkpoint has all weights: the file of first weights is not needed
    return replace(config, weights=None, compile=False, device="cpu", devices=1)
