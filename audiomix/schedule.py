r"""Schedules: pure functions of training progress, accepted wherever a number is (``alpha``, ``p``, ``ratio``).

=================================  ==========================================================================
string form                        value at progress t in [0, 1]
=================================  ==========================================================================
``0.4`` or ``constant:0.4``        0.4
``linear:a:b[:end]``               a + (b - a) u
``cosine:a:b[:end]``               a + (b - a) (1 - cos(pi u)) / 2
``exp_ramp:a:b[:end]``             a (b / a)^u; a and b above 0; slow at first
``exp_approach:a:b[:end]``         a + (b - a) (1 - exp(-5 u)) / (1 - exp(-5)); fast at first, half of the way at
                                   u = 0.14: the share 1 - k^i of scheduled sampling (Bengio et al. 2015), made to
                                   arrive. For shares, as a and b may be 0
``sigmoid_ramp:a:b[:end]``         a + (b - a) exp(-5 (1 - u)^2) (Laine and Aila 2017): at t = 0 it is
                                   0.0067 of the way, not 0
``steps:a:b@0.3:c@0.6``            a, from t = 0.3 on b, from 0.6 on c
``stop_after:0.75[:a]``            a (1 by default) while t < 0.75, then 0
``tanh_rise:a:b:s``                a + b tanh(t / s), b at most: the share of clips of MADAug (Hou et al. 2023), with
                                   a = 0.01, b = 1 and s 40 epochs
``alternate:a:b:n[:i:j]``          the training in n equal spans: i of them (1 by default) have a, then j have b, and so
                                   on; with n epochs or steps and progress = epoch / n every other one
=================================  ==========================================================================

u = min(t / end, 1): the ramp is over at `end` (1 by default), a fraction of the training, and stays there.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from . import check

__all__ = ["Schedule"]


def _exponential(a: float, b: float, u: float) -> float:
    return a * (b / a) ** u


_RAMPS: dict[str, Callable[[float, float, float], float]] = {
    "linear": lambda a, b, u: a + (b - a) * u,
    "cosine": lambda a, b, u: a + (b - a) * (1 - math.cos(math.pi * u)) / 2,
    "exp_ramp": _exponential,
    "exp_approach": lambda a, b, u: a + (b - a) * (math.expm1(-5 * u) / math.expm1(-5)),
    "sigmoid_ramp": lambda a, b, u: a + (b - a) * math.exp(-5 * (1 - u) ** 2),
}
_FORMS = "constant:a, linear:a:b[:end], cosine:a:b[:end], exp_ramp:a:b[:end], exp_approach:a:b[:end], "
_FORMS += "sigmoid_ramp:a:b[:end], steps:a:b@t:..., stop_after:t[:a], tanh_rise:a:b:s, alternate:a:b:n[:i:j]"
# How near the end of a span, in spans, counts as the next: 29 / 100 * 100 is 28.999999999999996. Far above the rounding
# of a billion steps, far below a step.
_NEXT_SPAN = 1e-6


@dataclass(frozen=True)
class Schedule:
    """A pure function progress -> value with a string form.

    Parameters
    ----------
    kind : str
        One of constant, linear, cosine, exp_ramp, exp_approach, sigmoid_ramp, steps, stop_after, tanh_rise, alternate.
    numbers : tuple of float
        The numbers of the string form, in its order; for ``steps`` value, (value, time), ... flattened.

    Examples
    --------
    >>> ramp = Schedule.of("linear:0:1:0.5")
    >>> [ramp(t) for t in (0, 0.25, 0.5, 1)]
    [0.0, 0.5, 1.0, 1.0]
    >>> str(ramp)
    'linear:0:1:0.5'
    >>> Schedule.of(0.4)(0.9)
    0.4
    """

    kind: str
    numbers: tuple[float, ...]

    @classmethod
    def of(cls, value: Any, name: str = "schedule") -> "Schedule":
        """Return the schedule that a number, a string or a Schedule stands for.

        Parameters
        ----------
        value : number, str or Schedule
            One of the forms above.
        name : str
            Of the argument, for messages.

        Raises
        ------
        ValueError
            The string is none of the forms above, or its numbers do not fit.
        """
        if isinstance(value, Schedule):
            return value
        if isinstance(value, str):
            return _parse(value, name)
        return cls("constant", (check.number(name, value, slip=f"or a schedule: {_FORMS}"),))

    @cached_property
    def is_constant(self) -> bool:
        """Whether it has one value throughout."""
        return len(set(self.values)) == 1 and self.kind != "stop_after"

    def __call__(self, progress: float | None = None) -> float:
        """Return the value at `progress`, a fraction of the training in [0, 1]; a constant needs none."""
        if progress is None:
            if not self.is_constant:
                check.fail("progress", f"given for the schedule {str(self)!r}", None, error=TypeError)
            return self.numbers[0]
        t = check.number("progress", progress, 0, 1, slip="a fraction of the training, not a step or an epoch")
        if self.kind == "constant":
            return self.numbers[0]
        if self.kind == "stop_after":
            return self.numbers[1] if t < self.numbers[0] else 0.0
        if self.kind == "steps":
            return self._step(t)
        if self.kind == "alternate":
            return self._alternate(t)
        a, b, end = self.numbers
        if self.kind == "tanh_rise":
            return min(a + b * math.tanh(t / end), b)
        return _RAMPS[self.kind](a, b, t / end) if t < end else b  # 0.2 + (0.9 - 0.2) is not 0.9 in float64

    def _step(self, t: float) -> float:
        value = self.numbers[0]
        for later, start in zip(self.numbers[1::2], self.numbers[2::2]):
            value = later if t >= start else value
        return value

    def _alternate(self, t: float) -> float:
        a, b, spans, first, second = self.numbers
        number = min(math.floor(t * spans + _NEXT_SPAN), spans - 1)  # the last span holds t = 1
        return a if number % (first + second) < first else b

    @property
    def values(self) -> tuple[float, ...]:
        """The values between which the schedule stays, for range checks."""
        if self.kind == "stop_after":
            return (0.0, self.numbers[1])
        if self.kind == "steps":
            return self.numbers[:1] + self.numbers[1::2]
        return self.numbers[:2]

    def within(self, name: str, low: float, high: float = math.inf) -> "Schedule":
        """Return itself if all its values lie in [low, high], else raise ValueError."""
        for value in self.values:
            check.number(name, value, low, high)
        return self

    def __str__(self) -> str:
        n = self.numbers
        if self.kind == "constant":
            return _short(n[0])
        if self.kind == "steps":
            return f"steps:{_short(n[0])}" + "".join(f":{_short(v)}@{_short(t)}" for v, t in zip(n[1::2], n[2::2]))
        return ":".join([self.kind, *(_short(v) for v in n)])


def _short(value: float) -> str:
    """Return the shortest decimal that reads back as the same number."""
    return repr(value).removesuffix(".0")


@lru_cache(maxsize=256)
def _parse(text: str, name: str) -> Schedule:
    kind, _, rest = text.partition(":")
    parts = rest.split(":") if rest else []
    try:
        if not parts:
            return _check("constant", (float(kind),), text, name)
        if kind == "steps":
            numbers = [float(parts[0])] + [float(v) for part in parts[1:] for v in part.split("@")]
        else:
            numbers = [float(part) for part in parts]
    except ValueError:
        check.fail(name, f"a number or a schedule ({_FORMS})", repr(text))
    return _check(kind, tuple(numbers), text, name)


def _check(kind: str, n: tuple[float, ...], text: str, name: str) -> Schedule:
    if not all(math.isfinite(v) for v in n):
        check.fail(name, "a schedule of finite numbers", repr(text))
    if kind == "constant" and len(n) == 1:
        return Schedule(kind, n)
    if kind in _RAMPS and len(n) in (2, 3):
        end = n[2] if len(n) == 3 else 1.0
        if not 0 < end <= 1:
            check.fail(f"the end of {name}", "a fraction of the training in (0, 1]", f"{end:g} in {text!r}")
        if kind == "exp_ramp" and min(n[:2]) <= 0:
            check.fail(f"{name} ({kind})", "between values above 0", repr(text))
        return Schedule(kind, (n[0], n[1], end))
    if kind == "steps" and len(n) % 2 == 1 and list(n[2::2]) == sorted(n[2::2]):
        for t in n[2::2]:
            check.number(f"a time of {name}", t, 0, 1, slip="a fraction of the training, not a step or an epoch")
        return Schedule(kind, n)
    if kind == "stop_after" and len(n) in (1, 2):
        check.fraction(f"the stop of {name}", n[0])
        return Schedule(kind, (n[0], n[1] if len(n) == 2 else 1.0))
    if kind == "tanh_rise" and len(n) == 3:
        if n[0] > n[1] or n[2] <= 0:
            check.fail(f"{name} ({kind})", "a:b:s with a at most b and s above 0", repr(text), "it only rises")
        return Schedule(kind, n)
    if kind == "alternate" and len(n) in (3, 5):
        if any(v < 1 or not v.is_integer() for v in n[2:]):
            check.fail(f"the spans of {name}", "whole numbers of at least 1", repr(text))
        return Schedule(kind, (*n[:3], *(n[3:] or (1.0, 1.0))))
    return check.fail(name, f"a number or a schedule ({_FORMS})", repr(text))
