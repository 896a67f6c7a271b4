"""What madmom 0.16.1 (2018) needs to run beside Python 3.10+, numpy 2 and setuptools 81+.

`import_all` sets, where they are absent, and leaves: ``collections.MutableSequence``, ``numpy.float``, ``numpy.int``,
``numpy.bool``, ``numpy.in1d`` (madmom looks them up each time it runs). A stand-in for ``pkg_resources`` is there
during the import only, because other packages ask whether the real one exists.
"""

import collections
import collections.abc
import importlib
import sys
import types
import warnings
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from typing import Any

import numpy as np

__all__ = ["import_all", "map_pairs"]

_NAMES = {"float": float, "int": int, "bool": bool, "in1d": np.isin}


def import_all(*modules: str) -> list[Any]:
    """Import madmom's modules and return them.

    Raises
    ------
    Exception
        Of any kind: ImportError, AttributeError (numpy), ValueError (compiled against another numpy). Nothing half
        imported is left behind.
    """
    _set_names()
    stand_in = _stand_in_for_pkg_resources()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations of 2018's code
            return [importlib.import_module(name) for name in modules]
    except Exception:
        for name in [n for n in sys.modules if n.partition(".")[0] == "madmom"]:
            del sys.modules[name]
        raise
    finally:
        if stand_in is not None and sys.modules.get("pkg_resources") is stand_in:
            del sys.modules["pkg_resources"]


def map_pairs(function: Callable[[Any], tuple[Any, Any]], arguments: Iterable[Any]) -> Iterator[np.ndarray]:
    """Map like ``map``, but give each pair as an array of two objects; madmom puts pairs of unlike lengths in one."""
    for argument in arguments:
        pair = np.empty(2, dtype=object)
        pair[0], pair[1] = function(argument)
        yield pair


def _set_names() -> None:
    if not hasattr(collections, "MutableSequence"):
        collections.MutableSequence = collections.abc.MutableSequence  # type: ignore[attr-defined]
    for name, value in _NAMES.items():
        if name not in vars(np):  # hasattr would warn: numpy answers for names it has taken out
            setattr(np, name, value)


def _stand_in_for_pkg_resources() -> types.ModuleType | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module("pkg_resources")
        return None
    except ImportError:
        module = types.ModuleType("pkg_resources")
        module.get_distribution = lambda name: types.SimpleNamespace(  # type: ignore[attr-defined]
            version=metadata.version(name)
        )
        sys.modules["pkg_resources"] = module
        return module
