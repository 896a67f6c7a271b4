"""Other heads for a trained network: fitted on its features of all training clips, and kept beside its own head.

The network stays as it is. A head is a linear layer like its own (`recipes.semi_supervised.heads`), so a network with
another head is an ordinary network: `with_heads` puts heads in for as long as something is predicted, `load_heads` for
good. Several networks that predict together have a head each.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from audiomix import check

from ..algorithms._ensemble import Ensemble
from ..algorithms._pseudo_labels import sharpen
from ..data.rows import Rows
from ..data.views import Views
from ..models._modes import eval_mode
from ..training import checkpoint
from ..training.ema import EMA
from .heads import LinearHead, align_to_prior, fit_graph_head, fit_refit_head, fold

__all__ = ["FILE", "FittedHeads", "check_heads", "fit_heads", "load_heads", "network_name", "save_heads", "with_heads"]

FILE = "heads.safetensors"
_BATCH = 64
# Chosen on ESC-10's training folds 1 to 4, seed 11, a fifth of whose recordings were held out, on the features of
# ReMixMatch (small, 3 labels a class, EMA): its own head errs by 20.9 %, the head refit by 20.9 with neither, 20.1 with
# the temperature, 19.0 with both; left-out guesses choose too weak a ridge, because the network made them of the same
# features. The head graph errs by 19.3 with alpha 0.9, 18.6 with 0.8, 19.7 with 0.95, 24.0 with 0.99; one with true
# labels by 15.9. With some 60 clips a run, two points say nothing.
_TEMPERATURE, _STRENGTH = 0.5, 1.0


class FittedHeads(NamedTuple):
    """The heads of one kind for one network, or for several that predict together."""

    heads: list[LinearHead]  # one for each network
    targets: Tensor  # (N, K), float64: what the last one was fitted on, by training clip
    seconds: float  # wall time
    cpu_seconds: float  # processor time of this process


def network_name(which: str, head: str) -> str:
    """Return the name of a network with another head in predictions and results.

    >>> network_name("ema", "graph"), network_name("raw", "none")
    ('ema+graph', 'raw')
    """
    return which if head == "none" else f"{which}+{head}"


def check_heads(model: str, networks: Sequence[nn.Module]) -> None:
    """Raise if a network, which the option `model` names, cannot have another head.

    Raises
    ------
    ValueError
        It has no `features`, or its `head` is not a linear layer with a bias.
    """
    for network in networks:
        layer = getattr(network, "head", None)
        if not callable(getattr(network, "features", None)) or not isinstance(layer, nn.Linear) or layer.bias is None:
            expected = "one with features and head, a linear layer with a bias, which --head replaces"
            check.fail("model", expected, model, "features: (B, 1, F, N) to (B, D)")


def members(network: nn.Module) -> list[Any]:
    """Return the networks that predict together in `network`: itself, those of an ensemble, or of an average."""
    if isinstance(network, EMA):
        return members(network.average)
    return list(network.networks) if isinstance(network, Ensemble) else [network]


@torch.no_grad()
def predict_features(network: nn.Module, views: Views, kept: Rows, indices: Tensor) -> tuple[list[Tensor], Tensor]:
    """Return features of unchanged clips and the class probabilities that all heads together give.

    Features are float32 (N, D), one tensor for each of `members`, the probabilities float64 (N, K), both on the CPU; in
    eval mode.

    Parameters
    ----------
    network : nn.Module
        See `members`.
    views : Views
        The front end.
    kept : Rows, shape (M, ...)
        What it keeps of all clips.
    indices : Tensor, shape (N,), int64
        The clips among them, N.
    """
    parts, found, shares = members(network), [], []
    with eval_mode(network):
        for at in indices.to(kept.device).split(_BATCH):
            with torch.autocast(kept.device.type, enabled=False):  # in full precision, as in training
                spec = views.plain(kept[at])
            features = [part.features(spec) for part in parts]
            logits = torch.stack([part.head(x).double() for part, x in zip(parts, features)])
            shares.append(logits.softmax(-1).mean(0).cpu())
            found.append([x.float().cpu() for x in features])
    return [torch.cat(each) for each in zip(*found)], torch.cat(shares)


def fit_heads(
    kinds: Sequence[str],
    network: nn.Module,
    views: Views,
    kept: Rows,
    train: Tensor,
    labels: Tensor,
    prior: Tensor | None = None,
) -> dict[str, FittedHeads]:
    """Fit heads for a network on the training clips: by kind. No other clip and no hidden label is looked at.

    The guesses of unlabelled clips are what the network with its own head predicts, aligned to the prior and sharpened.

    Parameters
    ----------
    kinds : sequence of str
        Of `recipes.training.config.HEADS`.
    network, views, kept
        See `predict_features`.
    train : Tensor, shape (N,), int64
        The training clips.
    labels : Tensor, shape (N,), int64
        Their classes, -1 for those without a label.
    prior : Tensor, shape (K,), optional
        The share of each class among the unlabelled clips; that among the labels by default.
    """
    if not kinds:
        return {}
    start, start_cpu = time.perf_counter(), time.process_time()
    features, guesses = predict_features(network, views, kept, train)
    labelled = labels.cpu() >= 0
    one_hot = nn.functional.one_hot(labels.cpu().clamp_min(0), guesses.shape[-1]).double()
    prior = one_hot[labelled].mean(0) if prior is None else prior.cpu().double()
    if not bool(labelled.all()):
        guesses[~labelled] = sharpen(align_to_prior(guesses[~labelled], prior), _TEMPERATURE)
    targets = torch.where(labelled[:, None], one_hot, guesses)
    shared, shared_cpu = time.perf_counter() - start, time.process_time() - start_cpu
    found = {}
    for kind in kinds:
        start, start_cpu = time.perf_counter(), time.process_time()
        if kind == "graph":
            fitted = [fit_graph_head(x, targets, labelled, prior=prior) for x in features]
        else:
            fitted = [(fit_refit_head(x, targets, labelled, strength=_STRENGTH), targets) for x in features]
        seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
        found[kind] = FittedHeads([head for head, _ in fitted], fitted[-1][1], seconds + shared, cpu + shared_cpu)
    return found


@contextmanager
def with_heads(network: nn.Module, heads: Sequence[LinearHead]) -> Iterator[nn.Module]:
    """Put heads into the network within the block; afterwards it has its own again.

    Parameters
    ----------
    network : nn.Module
        See `members`.
    heads : sequence of LinearHead
        One for each of the members.
    """
    layers = [part.head for part in members(network)]
    own = [{name: value.clone() for name, value in layer.state_dict().items()} for layer in layers]
    try:
        for head, layer in zip(heads, layers, strict=True):
            fold(head, layer)
        yield network
    finally:
        for layer, state in zip(layers, own):
            layer.load_state_dict(state)


def save_heads(path: Path, fitted: dict[str, FittedHeads]) -> None:
    """Write heads by the names of their networks (`network_name`), with how each was chosen."""
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    for name, one in fitted.items():
        for i, head in enumerate(one.heads):
            tensors |= {f"{name}.{i}.weight": head.weight.float(), f"{name}.{i}.bias": head.bias.float()}
            numbers[f"{name}.{i}"] = {"strength": head.strength, "loo_error": head.loo_error, "scale": head.scale}
    checkpoint.store(path, tensors, numbers)


def load_heads(path: Path, name: str, network: nn.Module) -> None:
    """Put the saved heads of a name into the network, in place.

    Raises
    ------
    ValueError
        There is no such file, it holds no such heads, or those of another network.
    """
    which, _, kind = name.partition("+")
    if not path.is_file():
        check.fail("head", "none for a run without other heads", kind, f"train with --head {kind}")
    tensors, _ = checkpoint.load(path)
    if f"{name}.0.weight" not in tensors:
        known = sorted({key.split("+")[1].split(".")[0] for key in tensors if key.startswith(f"{which}+")})
        check.fail("head", f"one of {', '.join(['none', *known])}, which the run has", kind)
    for i, part in enumerate(members(network)):
        try:
            part.head.load_state_dict({key: tensors[f"{name}.{i}.{key}"] for key in ("weight", "bias")})
        except (KeyError, RuntimeError) as error:
            check.fail(str(path), "heads of this network", "others", " ".join(str(error).split()))
