"""One network a file. The folder is the registry: a network's name is its file's stem.

A network takes log-mel spectrograms (B, 1, F, N) and returns logits (B, K): `head`, a linear layer, of `features`.
Yours can take its place: ``package.module:callable`` or ``path/to/file.py:callable``, called with the number of classes
and the options, returns a module with ``forward``; methods that need `features` and `head` say so.
"""

import ast
import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from audiomix import check, draw

from ._refusal import refused

__all__ = ["available", "build", "get", "options", "parameters", "parsed"]


def available() -> list[str]:
    """Return the names of all networks, sorted.

    >>> available()
    ['resnet_small', 'wide_resnet']
    """
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def get(name: str) -> Callable[..., nn.Module]:
    """Return the network class of the file `name`, or the callable that ``module:callable`` means.

    Raises
    ------
    ValueError
        There is no such file, module or callable (a near miss is named), or its code fails: with what was raised, and
        the line.
    """
    if ":" in name:
        return _callable(name)
    check.choice("model", name, available())
    module = importlib.import_module(f"{__name__}.{name}")
    classes = [getattr(module, n) for n in module.__all__]
    (found,) = [c for c in classes if isinstance(c, type) and issubclass(c, nn.Module)]
    return found


def _callable(name: str) -> Callable[..., nn.Module]:
    place, _, attribute = name.rpartition(":")
    if place.endswith(".py"):
        path = Path(place).expanduser()
        if not path.is_file():
            check.fail("model", "path/to/file.py:callable", repr(name), f"there is no file {path}")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        with refused("model", "path/to/file.py:callable of a file that can be imported", repr(name), name):
            spec.loader.exec_module(module)
    else:
        with refused("model", "package.module:callable of a module that can be imported", repr(name), name):
            module = importlib.import_module(place)
    check.choice(f"what {place} offers", attribute, [n for n, v in vars(module).items() if callable(v)])
    return getattr(module, attribute)


def options(name: str, pairs: tuple[str, ...]) -> dict[str, Any]:
    """Return options given as ``key=value``, if the network has them; of a file of this folder, also if it takes them.

    >>> options("resnet_small", ("width=8", "stem=(3, 3)"))
    {'width': 8, 'stem': (3, 3)}

    Raises
    ------
    ValueError
        An option that the network does not have, one that it needs and that is not given, or a value it refuses.
    """
    found = dict(parsed(pair) for pair in pairs)
    kind = get(name)
    with refused("model", "a callable of the number of classes and options", repr(name), name):
        signature = inspect.signature(kind)
    if not any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
        for key in found:
            check.choice(f"the option of model {name}", key, list(signature.parameters)[1:])
    with _made_with(name, found):
        signature.bind(2, **found)
    if pairs and ":" not in name:
        _check_values(name, tuple(pairs))
    return found


@lru_cache(maxsize=64)
def _check_values(name: str, pairs: tuple[str, ...]) -> None:
    """Raise if the network cannot be made; once for all runs of a table, and never for one of the user's: it may load.

    The number of classes is not known yet, and no option depends on it.
    """
    build(name, 2, seed=0, **dict(parsed(pair) for pair in pairs))


def _made_with(name: str, options: dict[str, Any]) -> AbstractContextManager[None]:
    """Return what tells why a network cannot be made."""
    if not options:
        return refused("model", "a network that can be made from the number of classes", repr(name), name)
    given = " ".join(f"{key}={value}" for key, value in options.items())
    return refused("model_options", f"what {name} can be made with", given, name)


def parsed(pair: str) -> tuple[str, Any]:
    """Read ``key=value``: the value is what it would be in Python, or else text.

    >>> parsed("width=8"), parsed("name=wide"), parsed("deep=true")
    (('width', 8), ('name', 'wide'), ('deep', True))
    """
    key, equals, text = pair.partition("=")
    if not equals or not key.isidentifier():
        check.fail("model_options", "key=value", repr(pair))
    try:
        return key, ast.literal_eval(text.title() if text.lower() in ("true", "false", "none") else text)
    except (ValueError, SyntaxError):
        return key, text


def build(name: str, num_classes: int, *, seed: int, key: str = "network", **options: Any) -> nn.Module:
    """Return the network `name` with initial weights that depend on `seed` and `key` alone.

    ``nn.init`` draws from torch's global generator only; it is lent the state of one of our own and gets its own back.
    What the network returns is float32, inside autocast too: losses and guesses are computed in full precision.

    Raises
    ------
    ValueError
        It cannot be made: with what was raised, and the line.
    TypeError
        A callable of yours that returns no module.
    """
    kind = get(name)
    with _made_with(name, options), torch.random.fork_rng(devices=[]):
        torch.set_rng_state(draw.generator_for(seed, key).get_state())
        network = kind(num_classes, **options)
    check.one_of_types(f"what {name} returns", network, nn.Module, "a torch.nn.Module")
    network.register_forward_hook(_full_precision)
    return network


def _full_precision(_: nn.Module, __: Any, logits: Any) -> Any:
    return logits.float() if isinstance(logits, Tensor) else logits


def parameters(model: nn.Module) -> int:
    """Return the number of trained parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
