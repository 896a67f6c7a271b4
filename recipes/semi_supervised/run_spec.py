"""The specification of one training: names and numbers alone, so that every process makes network and method itself."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import nn

from audiomix import check
from audiomix.mixer import Mixer
from audiomix.needs import EMBEDDING as EMBEDDINGS
from audiomix.registry import explain_errors, file_of

from .. import algorithms, models
from ..algorithms.base import Algorithm
from ..data.encoders import encoder_digest
from ..data.loader import Data
from ..data.views import Views
from ..models._weights import freeze, load_weights
from ..training.config import EMBEDDING, PRESETS, Config, preset
from ..training.mixing import LearnedMixing
from ..training.prior import class_prior
from .refit import check_heads
from .student import Student

__all__ = ["RunSpec", "compile_networks", "configure", "file_digests", "unlabelled_needed_by"]

_OWN = "network"  # key of the first weights of the run's own network


@dataclass(frozen=True)
class RunSpec:
    """One method on one fold with one seed; see `recipes.semi_supervised.train.train`."""

    config: Config  # the configuration
    method: str  # name of the method
    options: dict  # options of the method
    mixer: str | None  # the mixer as the user named it, such as ``mixup:alpha=0.75``; None for no mixing
    fold: str  # the fold that is held out
    seed: int  # seed of labels, first weights, batches and views
    out: Path  # the run's folder
    quiet: bool  # show no progress
    track: bool  # write the rows of ``metrics.csv`` for TensorBoard too
    num_classes: int  # number of classes
    # parts of the split that errors are measured on, the headline's first: test, validation, or validation and test
    measured_on: tuple[str, ...] = ("test",)
    inputs: int | None = None  # size of an embedding; None in a run on spectrograms

    @property
    def title(self) -> str:
        """Name under which results are reported."""
        title = algorithms.get(self.method)(self.num_classes, **self.options).title
        rounds = f" ({self.config.rounds} rounds)" if self.config.rounds > 1 else ""
        return title + (f" + {self.mixer}" if self.mixer else "") + rounds

    def make_algorithm(self, views: Views | None = None) -> Algorithm:
        """Return the method in its first state; behind the first round, what learns the guesses of the one before.

        Where it is to be trained, its mixer is made for the normalisation of `views`, the front end.

        Raises
        ------
        ValueError
            An option or a mixer that the method refuses.
        """
        kind = algorithms.get(self.method)
        kind.check_mixer(self.mixer)
        mixer = algorithms.make_mixer(self.mixer, kind) if self.mixer else None
        learned = isinstance(mixer, LearnedMixing)
        domains = mixer.domains if isinstance(mixer, LearnedMixing) else mixer.needs.domain if mixer else frozenset()
        if mixer is not None and self.config.embedding is not None and EMBEDDINGS not in domains:
            check.fail("mixer", "one for embeddings, which have no time and no bands", self.mixer, "--mixer mixup")
        if learned and self.config.rounds > 1:
            check.fail("rounds", f"1 with {self.mixer}, which learns its mixing", self.config.rounds)
        if isinstance(mixer, Mixer) and views is not None:
            mixer = mixer.at_normalisation(views.mean, views.std)
        made: Any = mixer  # methods that take no learned mixing were refused one
        algorithm = kind(self.num_classes, made, **self.options)
        if self.config.rounds > 1:
            algorithm = Student(self.num_classes, made)
        if views is not None:
            algorithm.fit(views)
        return algorithm

    def make_network(self, key: str = _OWN) -> nn.Module:
        """Return a network of the run's kind with its first weights, from seed and `key` or from a file.

        The run's own network has all weights of the file. Other networks of a method have a `key` and a head with first
        weights of their own: with the head of the file several networks would be equal.

        Raises
        ------
        ValueError
            The network cannot be made, the weights are of another network, or the network needs a head and has none.
        """
        name, given = self.config.model, self.config.model_options
        options = models.options(name, given)
        if self.inputs is not None:
            options.setdefault("inputs", self.inputs)
        network = models.build(name, self.num_classes, seed=self.seed, key=key, **options)
        if self.config.weights is not None:
            load_weights(network, Path(self.config.weights).expanduser(), head=key == _OWN)
        if self.config.freeze:
            freeze(network)
        return network

    def make(
        self, device: torch.device, views: Views, unlabelled: int, labelled: int
    ) -> tuple[nn.Module, Algorithm, list[nn.Module]]:
        """Return network, method and all networks on `device`, for fitted views and numbers of clips of both kinds."""
        network, algorithm = self.make_network(), self.make_algorithm(views)
        _place(network, device)
        networks = self._set_up(network, algorithm, unlabelled, labelled)
        _place(algorithm, device)
        return network, algorithm, networks

    def _set_up(self, network: nn.Module, algorithm: Algorithm, unlabelled: int, labelled: int) -> list[nn.Module]:
        """Set the method up, and return all networks that there are."""
        networks = [network]
        algorithm.seed, algorithm.labelled_clips = self.seed, labelled

        def make_network(key: str) -> nn.Module:
            networks.append(self.make_network(key))
            return networks[-1]

        algorithm.setup(network, make_network, unlabelled)
        return networks

    def check(self, data: Data) -> None:
        """Raise if configuration or network do not fit the method or the data, which is prepared.

        Raises
        ------
        ValueError
            What the method refuses of the configuration or as a mixer; a network that cannot be made, fails on the
            spectrograms or returns logits of another shape; no `features` or `head` where the method needs them;
            weights of another network; or several networks that start with the same weights.
        """
        if self.config.rounds > 1:  # the method trains in the first round alone
            replace(self, config=replace(self.config, rounds=1)).check(data)
        algorithm = self.make_algorithm(data.views)
        algorithm.check_config(self.config)
        class_prior(self.config.prior, data.labels[:0], self.num_classes)  # shares of another number are refused
        network = self.make_network()
        missing = [name for name in ("features", "head") if not hasattr(network, name)]
        if algorithm.needs_features and missing:
            expected = f"one with {' and '.join(missing)}, which {self.method} needs"
            check.fail("model", expected, self.config.model, "features: (B, 1, F, N) to (B, D); head: a linear layer")
        _check_logits(self.config.model, network, data.views.plain(data.kept[:2]).cpu(), self.num_classes)
        networks = self._set_up(network, algorithm, unlabelled=1, labelled=1)
        self._check_different(networks)
        if self.config.heads:
            check_heads(self.config.model, networks)

    def _check_different(self, networks: list[nn.Module]) -> None:
        for one, other in combinations([network.state_dict() for network in networks], 2):
            if all(torch.equal(one[name], other[name]) for name in one):
                name, given = ("weights", self.config.weights) if self.config.weights else ("model", self.config.model)
                slip = "is its head made of constants, or loaded? draw its first weights"
                check.fail(name, f"such that the networks of {self.method} differ", f"{given}: all are equal", slip)


def configure(
    name: str,
    kind: type[Algorithm],
    given: dict[str, Any],
    *,
    of_data: Mapping[str, Mapping[str, Any]] | None = None,
    **overrides: Any,
) -> tuple[Config, dict[str, Any]]:
    """Return configuration and options of a method at a preset.

    The preset's values are replaced by the method's, those by the data set's, and those by the user's.

    Parameters
    ----------
    name : str
        A key of `recipes.training.config.PRESETS`.
    kind : subclass of Algorithm
        The method, with its own settings in `configs` and options in `presets`.
    given : dict
        Options of the method that the user gave.
    of_data : dict, optional
        Settings of the data set; see `recipes.training.dataset_settings.settings_for`.
    **overrides
        Fields of `Config` that the user gave.

    Raises
    ------
    ValueError
        No such preset, no such field, or a value that the field cannot have.
    """
    check.choice("preset", name, PRESETS)
    method, known = kind.name(), {f.name for f in fields(Config)}
    data = {**(of_data or {}).get(name, {}), **(of_data or {}).get(f"{name}:{method}", {})}
    changes: dict[str, Any] = {}
    embeds = overrides.get("embedding") is not None
    for values in (kind.configs.get(name, {}), {k: v for k, v in data.items() if k in known}, overrides):
        if any(values.get(key) is not None for key in ("steps", "epochs")):  # one length replaces the other
            changes = {key: value for key, value in changes.items() if key not in ("steps", "epochs")}
        if values.get("optimiser", "sgd") != "sgd":  # momentum goes with the optimiser that has one
            changes = {key: value for key, value in changes.items() if key not in ("sgd_momentum", "nesterov")}
        changes |= values
    if embeds:
        changes = EMBEDDING | changes
    options = kind.presets.get(name, {}) | {k: v for k, v in data.items() if k not in known}
    if embeds:
        options |= kind.embedding_options
    return preset(name, **changes), {**options, **given}


def unlabelled_needed_by(method: str, config: Config) -> str:
    """Return what of a run learns from unlabelled clips, as an error names it: the method, later rounds, or nothing.

    >>> unlabelled_needed_by("fixmatch", Config()), unlabelled_needed_by("supervised", Config())
    ('fixmatch', '')
    """
    if algorithms.get(method).needs_unlabelled:
        return method
    return "--rounds" if config.rounds > 1 else ""


def file_digests(config: Config, method: str, mixer: str | None) -> dict[str, str]:
    """Return the hashes of the file of first weights and of the user's own files that the arguments name."""
    paths = {"weights_file": None if config.weights is None else Path(config.weights).expanduser()}
    embedding = {} if config.embedding is None else {"embedding_file": encoder_digest(config.embedding)}
    paths |= {"model_file": file_of(config.model), "method_file": file_of(method), "mixer_file": file_of(mixer or "")}
    return embedding | {
        name: hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()
        for name, path in paths.items()
        if path is not None and path.is_file()
    }


def compile_networks(networks: list[nn.Module]) -> None:
    """Compile networks in place: their `features` where they have such, for methods that use them alone."""
    for network in networks:
        features: Any = getattr(network, "features", None)
        if callable(features):
            network.features = torch.compile(features)  # type: ignore[assignment]
        else:
            network.compile()


def _place(module: nn.Module, device: torch.device) -> None:
    # oneDNN writes past a buffer, or computes wrong gradients, where such a convolution has its channels last: its
    # issue 6035. It fills blocks of 8 or 16 channels, by the processor.
    unsafe = device.type == "cpu" and any(
        isinstance(part, nn.Conv2d) and set(part.kernel_size) == {1} and set(part.stride) != {1} and _width(part) < 16
        for part in module.modules()
    )
    layout = torch.contiguous_format if unsafe else torch.channels_last
    module.to(device, memory_format=layout)  # type: ignore[call-overload]


def _width(convolution: nn.Conv2d) -> int:
    return convolution.in_channels // convolution.groups


@torch.no_grad()
def _check_logits(model: str, network: nn.Module, spec: torch.Tensor, num_classes: int) -> None:
    shape = tuple(spec.shape)
    what = f"spectrograms {shape}: clips, 1, mel bands, frames" if spec.ndim == 4 else f"embeddings {shape}"
    expected = f"a network that takes {what}"
    with explain_errors("model", expected, repr(model), model):
        logits = network.eval()(spec)
    if not isinstance(logits, torch.Tensor) or tuple(logits.shape) != (len(spec), num_classes):
        got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        check.fail("what the model returns", f"logits of shape {(len(spec), num_classes)}", got)
