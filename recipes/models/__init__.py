"""One network a file. The folder is a registry: a network's name is its file's stem; see `audiomix.registry`.

A network takes log-mel spectrograms (B, 1, F, N) and returns logits (B, K): `head`, a linear layer, of `features`.
Yours can take its place: ``package.module:callable`` or ``path/to/file.py:callable``, called with the number of classes
and the options, returns a module with ``forward``; methods that need `features` and `head` say so.
"""

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

from torch import Tensor, nn

from audiomix import check
from audiomix.registry import Registry, explain_errors

from ._modes import random_state

__all__ = ["available", "build", "get", "is_ours", "options", "parameters"]

_REGISTRY: Registry[Callable[..., nn.Module]] = Registry(
    "model", __name__, "audiomix.models", base=nn.Module, callables=True, positional=1
)
available, get = _REGISTRY.available, _REGISTRY.get


def is_ours(name: str) -> bool:
    """Return whether a network is one of this folder: made from the options alone, it loads nothing.

    Parameters
    ----------
    name : str
        As `get` takes it.

    Examples
    --------
    >>> is_ours("resnet_small"), is_ours("mine.py:Net")
    (True, False)
    """
    return name in _REGISTRY.files()


def options(name: str, pairs: tuple[str, ...]) -> dict[str, Any]:
    """Return the options of a network, if it has them; of one of this folder, also if it can be made with them.

    Parameters
    ----------
    name : str
        As `get` takes it.
    pairs : tuple of str
        The options, each as ``key=value``.

    Raises
    ------
    ValueError
        An option that the network does not have, one that it needs and that is not given, or a value it refuses.

    Examples
    --------
    >>> options("resnet_small", ("width=8", "stem=(3, 3)"))
    {'width': 8, 'stem': (3, 3)}
    """
    kind = get(name)
    with explain_errors("model", "a callable of the number of classes and options", repr(name), name):
        signature = inspect.signature(kind)
    found = _REGISTRY.read_options(pairs, name, kind)
    with _explain(name, found):
        signature.bind(2, **found)
    if pairs and is_ours(name):
        _check_values(name, tuple(pairs))
    return found


@lru_cache(maxsize=64)
def _check_values(name: str, pairs: tuple[str, ...]) -> None:
    """Raise if the network cannot be made; once for all runs of a table, and never for one of the user's: it may load.

    The number of classes is not known yet, and no option depends on it.
    """
    build(name, 2, seed=0, **_REGISTRY.read_options(pairs, name, get(name)))


def _explain(name: str, options: dict[str, Any]) -> AbstractContextManager[None]:
    """Return what tells why a network cannot be made."""
    if not options:
        return explain_errors("model", "a network that can be made from the number of classes", repr(name), name)
    given = " ".join(f"{key}={value}" for key, value in options.items())
    return explain_errors("model_options", f"what {name} can be made with", given, name)


def build(name: str, num_classes: int, *, seed: int, key: str = "network", **options: Any) -> nn.Module:
    """Return a network with initial weights that depend on `seed` and `key` alone.

    ``nn.init`` draws from torch's global generator only: that has the state of a generator of our own meanwhile, and
    its own state again afterwards. What the network returns is float32, inside autocast too: losses and pseudo-labels
    are computed in full precision.

    Parameters
    ----------
    name : str
        As `get` takes it.
    num_classes : int
        Classes, the size of the last axis of what it returns.
    seed : int
        Of the initial weights.
    key : str
        Another key gives other weights with the same seed.
    **options
        As `options` returns them.

    Raises
    ------
    ValueError
        It cannot be made: with what was raised, and the line.
    TypeError
        A callable of yours that returns no module.
    """
    kind = get(name)
    with _explain(name, options), random_state(seed, key):
        network = kind(num_classes, **options)
    check.one_of_types(f"what {name} returns", network, nn.Module, "a torch.nn.Module")
    network.register_forward_hook(_full_precision)
    return network


def _full_precision(_: nn.Module, __: Any, logits: Any) -> Any:
    return logits.float() if isinstance(logits, Tensor) else logits


def parameters(model: nn.Module) -> int:
    """Return the number of trained parameters.

    Parameters
    ----------
    model : nn.Module
        The network.
    """
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
