"""Objects that remember how they were made: their repr is the constructor's call, and they can be made again."""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from torch import Tensor, nn

__all__ = ["Recorded", "copy_type"]

_Self = TypeVar("_Self", bound="Recorded")
_Function = TypeVar("_Function", bound=Callable[..., Any])


def copy_type(forward: _Function) -> Callable[[Any], _Function]:
    """Give the ``__call__`` of a module the type of its `forward`; ``nn.Module`` types every call as Any.

    For type checkers alone: stands under ``if TYPE_CHECKING``, since calls must go through ``nn.Module``.
    """
    return lambda _: forward


class Recorded:
    """Base of objects that keep the arguments of their constructor.

    Examples
    --------
    >>> class Point(Recorded):
    ...     def __init__(self, x, *, unit="m"):
    ...         self.x = x
    >>> Point(3, unit="km"), Point(3).replace(x=4)
    (Point(x=3, unit='km'), Point(x=4))
    """

    if not TYPE_CHECKING:  # type checkers take the arguments from __init__

        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            """Return a new object that remembers its arguments."""
            self = super().__new__(cls)
            self.__dict__["_given"] = (args, kwargs)
            return self

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments that were given, by name; those left at their defaults are not among them."""
        args, kwargs = self.__dict__["_given"]
        bound = inspect.signature(type(self)).bind(*args, **kwargs).arguments
        kinds = {p.name: p.kind for p in inspect.signature(type(self)).parameters.values()}
        given: dict[str, Any] = {}
        for name, value in bound.items():
            given |= value if kinds[name] is inspect.Parameter.VAR_KEYWORD else {name: value}
        return given

    def replace(self: _Self, **changes: Any) -> _Self:
        """Return a new object made from the same arguments but for `changes`.

        Raises
        ------
        TypeError, ValueError
            As the constructor does.
        """
        return type(self)(**{**self.arguments, **changes})

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={_show(value)}" for name, value in self.arguments.items())
        return f"{type(self).__name__}({shown})"


def _show(value: Any) -> str:
    """Return a value as one would write it; the repr of functions, classes and parameters is no Python."""
    if isinstance(value, nn.Parameter):
        return f"Parameter({_show(value.detach())})"
    if isinstance(value, Tensor):
        return " ".join(repr(value).split())
    return value.__qualname__ if inspect.isroutine(value) or isinstance(value, type) else repr(value)
