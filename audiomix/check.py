"""Argument checks: every message names the argument, what was expected, what came, and the likely slip."""

import difflib
import math
from collections.abc import Iterable
from typing import Any, NoReturn

import torch
from torch import Tensor

__all__ = [
    "batch",
    "choice",
    "fail",
    "finite",
    "floating",
    "fraction",
    "integer",
    "lengths",
    "number",
    "one_of_types",
    "rate",
    "tensor",
    "to_tensor",
]


# Options that are all named in a message also where one of them was probably meant.
_FEW = 12


def fail(name: str, expected: str, got: Any, slip: str = "", error: type[Exception] = ValueError) -> NoReturn:
    """Raise the one form every message of this package has: name, expected, got, likely slip.

    Parameters
    ----------
    name : str
        The argument, as its caller knows it.
    expected : str
        What it must be.
    got : Any
        What came.
    slip : str
        What was probably meant; left out where it is empty.
    error : type
        The exception: ValueError or TypeError.
    """
    raise error(f"{name} must be {expected}, got {got}" + (f": {slip}" if slip else ""))


def number(name: str, value: Any, low: float = -math.inf, high: float = math.inf, *, slip: str = "") -> float:
    """Return `value` as a finite float within [low, high]."""
    bounds = f"a number in [{low:g}, {high:g}]" if math.isfinite(low) or math.isfinite(high) else "a finite number"
    if isinstance(value, bool) or (not isinstance(value, (int, float)) and not hasattr(value, "__float__")):
        fail(name, bounds, repr(value), slip, TypeError)
    value = float(value)
    if not (math.isfinite(value) and low <= value <= high):
        fail(name, bounds, f"{value:g}", slip)
    return value


def integer(name: str, value: Any, low: int | None = None, *, slip: str = "") -> int:
    """Return `value` as an int of at least `low`."""
    expected = "an integer" + (f" of at least {low}" if low is not None else "")
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        fail(name, expected, repr(value), slip, TypeError)
    value = int(value.__index__())
    if low is not None and value < low:
        fail(name, expected, value, slip)
    return value


def fraction(name: str, value: Any) -> float:
    """Return `value` as a float in [0, 1]; a percentage is the usual slip."""
    slip = f"did you mean {value / 100:g}?" if isinstance(value, (int, float)) and 1 < value <= 100 else ""
    return number(name, value, 0, 1, slip=slip)


def rate(name: str, value: Any) -> int:
    """Return a sampling rate in Hz as an int; kHz is the usual slip."""
    slip = f"did you mean {value * 1000:g}?" if isinstance(value, (int, float)) and 4 <= value <= 400 else ""
    if isinstance(value, float) and not value.is_integer():
        fail(name, "a sampling rate in Hz (a whole number)", f"{value:g}", slip)
    value = int(value) if isinstance(value, float) else value
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        fail(name, "a sampling rate in Hz (a whole number)", repr(value), error=TypeError)
    if not 1000 <= int(value) <= 1_000_000:
        fail(name, "a sampling rate in Hz between 1000 and 1000000", value, slip)
    return int(value)


def choice(name: str, value: Any, options: Iterable[str]) -> str:
    """Return `value` if it is one of `options`; a near miss is named, and of many options only that."""
    options = list(options)
    if value not in options:
        near = difflib.get_close_matches(str(value), options, n=1)
        named = f"one of {len(options)}" if near and len(options) > _FEW else f"one of {', '.join(options)}"
        fail(name, named, repr(value), f"did you mean {near[0]!r}?" if near else "")
    return str(value)


def one_of_types(name: str, value: Any, kinds: type | tuple[type, ...], expected: str) -> Any:
    """Return `value` if it is an instance of `kinds`."""
    if not isinstance(value, kinds):
        fail(name, expected, type(value).__name__, error=TypeError)
    return value


def tensor(name: str, value: Any) -> Tensor:
    """Return `value` if it is a tensor; a numpy array, a list and class names are the usual slips."""
    if not isinstance(value, Tensor):
        first: Any = value
        while isinstance(first, (list, tuple)) or (hasattr(first, "ndim") and first.ndim):
            first = first[0] if len(first) else None
        got, slip = type(value).__name__, ""
        if isinstance(first, (str, bytes)):
            got = f"text such as {str(first)!r}"
            slip = "class names? ids = {c: i for i, c in enumerate(classes)}; torch.tensor([ids[c] for c in names])"
        elif isinstance(first, Tensor):
            slip = f"did you mean torch.stack({name})?"
        elif hasattr(value, "__array__"):
            slip = f"did you mean torch.as_tensor({name})?"
        elif isinstance(value, (list, tuple)):
            slip = f"did you mean torch.tensor({name})?"
        fail(name, "a torch.Tensor", got, slip, TypeError)
    return value


def to_tensor(name: str, value: Any, expected: str) -> Tensor:
    """Return a tensor, an array or a list of numbers as a tensor on the CPU."""
    try:
        return torch.as_tensor(value).cpu()
    except (TypeError, ValueError, RuntimeError):
        return fail(name, expected, repr(value)[:80], error=TypeError)


def floating(name: str, value: Any) -> Tensor:
    """Return `value` if it is a floating point tensor; integer samples or class ids are the usual slip."""
    value = tensor(name, value)
    if not value.is_floating_point():
        slip = {
            torch.int16: f"16 bit samples? {name}.float() / 32768",
            torch.int64: "class ids belong in target",
        }.get(value.dtype, "")
        fail(name, "floating point", value.dtype, slip, TypeError)
    return value


def batch(name: str, value: Any, size: int | None = None, ndim: int = 2) -> Tensor:
    """Return `value` if it is a batch: at least `ndim` axes, `size` items, no empty axis."""
    value = tensor(name, value)
    if value.ndim < ndim:
        slip = f"a single clip? {name}.unsqueeze(0)" if value.ndim == ndim - 1 else ""
        fail(name, f"a batch of at least {ndim} axes (B, ..., T)", f"shape {tuple(value.shape)}", slip)
    if size is not None and value.shape[0] != size:
        fail(name, f"of {size} items, as the batch is", f"{len(value)} items (shape {tuple(value.shape)})")
    if 0 in value.shape:
        fail(name, "not empty", f"shape {tuple(value.shape)}")
    return value


def lengths(name: str, value: Any, x: Tensor) -> Tensor:
    """Return valid lengths as an int64 CPU tensor (B,), each in [0, T] of `x`."""
    expected = f"whole numbers of samples or frames, shape ({len(x)},)"
    value = to_tensor(name, value, expected)
    if value.is_floating_point():
        slip = "relative lengths? multiply by the number of samples" if bool((value <= 1).all()) else ""
        fail(name, expected, value.dtype, slip, TypeError)
    if tuple(value.shape) != (len(x),):
        fail(name, f"of shape ({len(x)},), one per clip", f"shape {tuple(value.shape)}")
    value = value.to(torch.int64)
    most = int(value.max())
    if int(value.min()) < 0 or most > x.shape[-1]:
        slip = "samples given for frames?" if most > x.shape[-1] else ""
        fail(name, f"within [0, {x.shape[-1]}], the last axis of x", f"{int(value.min())}..{most}", slip)
    return value


def finite(name: str, value: Tensor) -> Tensor:
    """Return `value` if it holds neither NaN nor infinity; says where the first one is."""
    bad = ~torch.isfinite(value)
    if bool(bad.any()):
        at = tuple(int(i) for i in bad.nonzero()[0])
        fail(name, "finite", f"{int(bad.sum())} NaN or infinite values, the first at {at}")
    return value
