"""Functions that `torch.compile` leaves as they are."""

import functools
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import torch

__all__ = ["not_compiled"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def not_compiled(function: _Function) -> _Function:
    """Return a function that torch.compile runs as it is: one declared break of the graph.

    As `torch.compiler.disable`, which would import the compiler (seconds) for everyone, those who never compile too.
    """
    disabled: list[Callable[..., Any]] = []

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        """Call the function, outside of the graph where there is one."""
        if "torch._dynamo" not in sys.modules:
            return function(*args, **kwargs)
        if not disabled:
            disabled.append(torch.compiler.disable(function))
        return disabled[0](*args, **kwargs)

    run._torchdynamo_disable = True  # type: ignore[attr-defined]
    return run  # type: ignore[return-value]
