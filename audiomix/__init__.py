"""audiomix: mixing for audio and speech. A plan is drawn once and applied to every stream.

Names are imported when they are first used, so that ``import audiomix`` costs next to nothing beyond ``import torch``.
The list of public names is ``__init__.pyi``, which type checkers read too.
"""

import ast
import importlib
from pathlib import Path
from typing import Any


def _read_stub() -> tuple[dict[str, str], set[str]]:
    """Return the module of each public name, and the names of public modules."""
    homes: dict[str, str] = {}
    modules: set[str] = set()
    for node in ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module is None:
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            homes |= {alias.name: str(node.module) for alias in node.names}
    return homes, modules


_HOMES, _MODULES = _read_stub()

__version__ = "0.1.0"
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, *sorted(_MODULES), "__version__"]
