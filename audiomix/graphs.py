"""What depends on whether `torch.compile` or autograd follows a call."""

import functools
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

__all__ = ["by_row", "by_slice", "run_eagerly"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def run_eagerly(function: _Function) -> _Function:
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


def by_row(*inputs: Tensor) -> bool:
    """Whether plain loops over rows do: on a CPU, with no gradient to follow and no graph to trace.

    Parameters
    ----------
    *inputs : Tensor
        What is read.
    """
    if torch.compiler.is_compiling() or not all(x.is_cpu for x in inputs):
        return False
    return not torch.is_grad_enabled() or not any(x.requires_grad for x in inputs)


def by_slice(*inputs: Tensor) -> bool:
    """Whether slices are written by NumPy: where plain loops over rows do, and NumPy has the dtype.

    A slice of a clip costs NumPy half a microsecond, torch three, and a mask of the whole batch ten times a copy
    (``python tests/bench/mixers.py --only 'SpecAugment|TimeShift'`` times what is made of them).

    Parameters
    ----------
    *inputs : Tensor
        What is read.
    """
    return by_row(*inputs) and all(x.dtype != torch.bfloat16 for x in inputs)
