"""A loss with its options as a module."""

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from .. import check

__all__ = ["Loss"]


class Loss(nn.Module):
    """A loss function with its options, as a module: for what is given a criterion, such as a trainer.

    Parameters
    ----------
    function : callable
        One of `audiomix.losses`, or one of one's own.
    **options : Any
        Its keyword-only arguments.

    Raises
    ------
    TypeError
        The function is none (``audiomix.losses.decoupled`` is a module), or has no such option.

    Examples
    --------
    >>> import torch
    >>> from audiomix.losses.comp_sum import comp_sum
    >>> criterion = Loss(comp_sum, tau=2.0)
    >>> criterion, criterion(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
    (Loss(comp_sum, tau=2.0), tensor(0.5000))
    """

    def __init__(self, function: Callable[..., Tensor], **options: Any) -> None:
        super().__init__()
        if not callable(function):
            name = getattr(function, "__name__", "").split(".")[-1]
            slip = f"from audiomix.losses.{name} import {name}?" if name else ""
            check.fail("function", "a loss function", type(function).__name__, slip, TypeError)
        known = [p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
        for name in options:
            if name not in known:
                check.fail(name, f"an option of {function.__name__}: {', '.join(known)}", "another name", "", TypeError)
        self.function, self.options = function, options

    def forward(self, *arguments: Any, **more: Any) -> Tensor:
        """Return the loss.

        Parameters
        ----------
        *arguments, **more : Any
            Of the function; an option given here counts for this call.
        """
        return self.function(*arguments, **(self.options | more))

    def __repr__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"Loss({self.function.__name__}{options})"
