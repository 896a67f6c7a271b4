"""What one training is of: names and numbers alone, so that every process can make network and method for itself."""

import hashlib
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import nn

from audiomix import check

from .. import algorithms, models
from ..algorithms.base import Algorithm
from ..data.loader import Data
from ..data.views import Views
from ..models._refusal import refused
from ..models._weights import freeze, load_weights
from .config import Config

__all__ = ["Job", "compiled", "file_digests"]

_OWN = "network"  # key of the first weights of the run's own network


@dataclass(frozen=True)
class Job:
    """One method on one fold with one seed; see `recipes.training.semi_supervised.train`."""

    config: Config
    method: str
    options: dict
    mixer: str | None
    fold: str
    seed: int
    out: Path
    quiet: bool
    track: bool
    num_classes: int

    @property
    def title(self) -> str:
        """Name under which results are reported."""
        return self.algorithm().title + (f" + {self.mixer}" if self.mixer else "")

    def algorithm(self) -> Algorithm:
        """Return the method, as it starts."""
        kind = algorithms.get(self.method)
        mixer = algorithms.make_mixer(self.mixer, kind) if self.mixer else None
        return kind(self.num_classes, mixer, **self.options)

    def network(self, key: str = _OWN) -> nn.Module:
        """Return a network of the run's kind, with first weights that depend on seed and `key`, or from the file.

        The run's own network has all weights of the file; another `key` means one that a method keeps besides, whose
        head has first weights of its own: with those of the file the networks would be one network several times.

        Raises
        ------
        ValueError
            The network cannot be made, the weights are of another, or it is to differ and has no head.
        """
        name, given = self.config.model, self.config.model_options
        network = models.build(name, self.num_classes, seed=self.seed, key=key, **models.options(name, given))
        if self.config.weights is not None:
            load_weights(network, Path(self.config.weights).expanduser(), head=key == _OWN)
        if self.config.freeze:
            freeze(network)
        return network

    def made(self, device: torch.device, views: Views, unlabelled: int) -> tuple[nn.Module, Algorithm, list[nn.Module]]:
        """Return network and method on `device`, and all networks that there are."""
        network, algorithm = self.network(), self.algorithm()
        _place(network, device)
        networks = self._set_up(network, algorithm, views, unlabelled)
        _place(algorithm, device)
        return network, algorithm, networks

    def _set_up(self, network: nn.Module, algorithm: Algorithm, views: Views, unlabelled: int) -> list[nn.Module]:
        """Prepare the method, and return all networks that there are."""
        networks = [network]

        def spare(key: str) -> nn.Module:
            networks.append(self.network(key))
            return networks[-1]

        algorithm.fit(views)
        algorithm.setup(network, spare, unlabelled)
        return networks

    def check(self, data: Data) -> None:
        """Raise if configuration or network do not fit the method or the data.

        Raises
        ------
        ValueError
            What the method refuses of the configuration; a network that cannot be made, fails on the spectrograms or
            returns logits of another shape; no `features` or `head` where the method needs them; weights of another
            network; or several networks that start with the same weights.
        """
        algorithm = self.algorithm()
        algorithm.check_config(self.config)
        network = self.network()
        lacks = [name for name in ("features", "head") if not hasattr(network, name)]
        if algorithm.needs_features and lacks:
            expected = f"one with {' and '.join(lacks)}, which {self.method} needs"
            check.fail("model", expected, self.config.model, "features: (B, 1, F, N) to (B, D); head: a linear layer")
        _check_logits(self.config.model, network, data.views.plain(data.kept[:2]).cpu(), self.num_classes)
        self._check_differ(self._set_up(network, algorithm, data.views, unlabelled=1))

    def _check_differ(self, networks: list[nn.Module]) -> None:
        for one, other in combinations([network.state_dict() for network in networks], 2):
            if all(torch.equal(one[name], other[name]) for name in one):
                name, given = ("weights", self.config.weights) if self.config.weights else ("model", self.config.model)
                slip = "is its head made of constants, or loaded? draw its first weights"
                check.fail(name, f"such that the networks of {self.method} differ", f"{given}: all are equal", slip)


def file_digests(config: Config) -> dict[str, str]:
    """Return the hash of the file of first weights and of the network's own file, where there are."""
    source = config.model.rpartition(":")[0]
    named = {"weights_file": config.weights, "model_file": source if source.endswith(".py") else None}
    paths = {name: Path(path).expanduser() for name, path in named.items() if path is not None}
    return {n: hashlib.blake2b(p.read_bytes(), digest_size=8).hexdigest() for n, p in paths.items() if p.is_file()}


def _place(module: nn.Module, device: torch.device) -> None:
    module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


@torch.no_grad()
def _check_logits(model: str, network: nn.Module, spec: torch.Tensor, num_classes: int) -> None:
    expected = f"a network that takes spectrograms {tuple(spec.shape)}: clips, 1, mel bands, frames"
    with refused("model", expected, repr(model), model):
        logits = network.eval()(spec)
    if not isinstance(logits, torch.Tensor) or tuple(logits.shape) != (len(spec), num_classes):
        got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        check.fail("what the model returns", f"logits of shape {(len(spec), num_classes)}", got)


def compiled(networks: list[nn.Module]) -> None:
    """Compile the networks in place: their features where they have such, for methods that use them alone."""
    for network in networks:
        features: Any = getattr(network, "features", None)
        if callable(features):
            network.features = torch.compile(features)  # type: ignore[assignment]
        else:
            network.compile()
