"""What comes back from a mixer: `Mixed`, and the `Plans` in it."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, overload

from torch import Tensor

from . import check, display
from .plan import Plan

__all__ = ["Mixed", "Plans"]


class Plans:
    """The plans of a batch in their order, read as a tuple is: by index, in a loop, by its length.

    It is no tuple, since whatever moves or converts batches looks into tuples and dataclasses: Lightning's
    ``bf16-true`` would round the numbers of a plan, and fails at one, which is frozen. To all of them this is one thing
    that has a `to`, and it comes out as it went in.

    Parameters
    ----------
    plans : iterable of Plan
        What was drawn.

    Examples
    --------
    >>> plans = Plans([Plan.identity(2), Plan.identity(2)])
    >>> len(plans), plans[0].weight, [len(plan) for plan in plans]
    (2, tensor([1., 1.], dtype=torch.float64), [2, 2])
    """

    __slots__ = ("_plans",)
    _plans: tuple[Plan, ...]

    def __init__(self, plans: Iterable[Plan] = ()) -> None:
        found = tuple(plans)
        for plan in found:
            check.one_of_types("plans", plan, Plan, "plans")
        object.__setattr__(self, "_plans", found)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"plans are not changed: no {name} can be set")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._plans,)

    def __len__(self) -> int:
        return len(self._plans)

    def __iter__(self) -> Iterator[Plan]:
        return iter(self._plans)

    @overload
    def __getitem__(self, index: int) -> Plan: ...
    @overload
    def __getitem__(self, index: slice) -> "Plans": ...
    def __getitem__(self, index: int | slice) -> "Plan | Plans":
        return Plans(self._plans[index]) if isinstance(index, slice) else self._plans[index]

    def __add__(self, other: Iterable[Plan]) -> "Plans":
        return Plans((*self, *other))

    def __eq__(self, other: object) -> bool:
        return self._plans == (other._plans if isinstance(other, Plans) else other)

    def __hash__(self) -> int:
        return hash(self._plans)

    def __repr__(self) -> str:
        return f"Plans({list(self._plans)!r})"

    def _repr_html_(self) -> str:
        return display.html(self)

    def to(self, *args: Any, **kwargs: Any) -> "Plans":
        """Return the plans themselves: they stay on the CPU, in their own dtypes, whatever the batch does."""
        return self


class Mixed(NamedTuple):
    """What a mixer returns.

    Parameters
    ----------
    x : Tensor, shape (B, ..., T)
        The mixed batch.
    target : Tensor, optional
        The mixed target; None where none was given.
    plans : Plans
        What was drawn: one for a mixer, one for each mixer of a `audiomix.Pipeline`.
    lengths : Tensor, shape (B,), int64, optional
        Valid samples or frames of `x`; None where none were given.

    See Also
    --------
    audiomix.MixedDict : what `Collate` returns of rows that are dicts.

    Examples
    --------
    >>> import torch
    >>> from audiomix import MixUp
    >>> mixed = MixUp(num_classes=2)(torch.randn(2, 1, 100), torch.tensor([0, 1]))
    >>> x, target, plans, lengths = mixed
    >>> x.shape, target.shape, len(plans), lengths
    (torch.Size([2, 1, 100]), torch.Size([2, 2]), 1, None)
    """

    x: Tensor
    target: Tensor | None
    plans: Plans
    lengths: Tensor | None

    def _repr_html_(self) -> str:
        return display.html(self)
