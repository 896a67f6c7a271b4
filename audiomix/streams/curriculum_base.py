"""What every curriculum shares: the calls a trainer makes, and for those that follow the model a moving average."""

import math
import warnings
from typing import Any

from torch import Tensor

from .. import check
from ..arguments import Recorded
from .statistics import sum_over_ranks

__all__ = ["Adaptive", "Curriculum"]


class Curriculum(Recorded):
    """What a trainer asks for the ratio and tells how the model does; the same two calls for every curriculum.

    Per step ``ratio = curriculum.ratio_at(progress)``, and after it ``curriculum.observe(logits=..., loss=...)``, of
    which each takes what it needs. `make_curriculum` makes one from a string.
    """

    needs: str | None = None

    def ratio_at(self, progress: float) -> float:
        """Return the share of the picture at `progress`, a fraction of the training in [0, 1]."""
        raise NotImplementedError(f"{type(self).__name__}.ratio_at")

    def observe(
        self, *, logits: Tensor | None = None, lengths: Tensor | None = None, loss: Any = None, count: int = 1
    ) -> None:
        """Take note of how the model does; what a curriculum has no use for is ignored.

        Parameters
        ----------
        logits : Tensor, shape (B, K) or (B, N, K), optional
            The model's, on **pure video**.
        lengths : Tensor, shape (B,), optional
            Valid frames of `logits`.
        loss : float or Tensor of one number, optional
            The mean loss of this process' batch.
        count : int
            How many clips `loss` is the mean of; it matters where processes have unequal batches.
        """

    def state_dict(self) -> dict[str, float | int]:
        """Return what changes over the training, as plain numbers: JSON and torch.save keep them to the bit."""
        return {}

    def load_state_dict(self, state: dict[str, float | int]) -> None:
        """Go on from a `state_dict`.

        Raises
        ------
        ValueError
            An entry is missing, unknown or not finite; nothing is loaded then.
        """
        own = self.state_dict()
        if set(state) != set(own):
            check.fail("state", f"a dict with {', '.join(own) or 'no entries'}", ", ".join(map(str, state)) or "none")
        checked = {key: type(own[key])(check.number(f"state[{key!r}]", value)) for key, value in state.items()}
        for key, value in checked.items():
            setattr(self, f"_{key}", value)


class Adaptive(Curriculum):
    """What follows a smoothed number: bounds, warm-up, end value, gathering over processes, the count of what is bad.

    A value that is NaN or infinite never enters the state: it is left out, counted in `skipped`, and warned of at the
    1st, 10th, 100th ... time. All processes of a distributed run add up (sum, count), so each must call as often as
    the others (``update(0.0, 0)`` where one has no data), and all get the same ratio to the bit.
    """

    def __init__(
        self,
        low: float,
        high: float,
        smoothing: float,
        warmup: int,
        start: float | None,
        end: float | None,
        end_at: float,
    ) -> None:
        self.low, self.high = check.fraction("low", low), check.fraction("high", high)
        if low > high:
            check.fail("low", f"at most high ({high:g})", f"{low:g}", "the other way round?")
        self.smoothing = check.fraction("smoothing", smoothing)
        if smoothing == 1:
            check.fail("smoothing", "below 1", "1", "nothing observed would ever count")
        self.warmup = check.integer("warmup", warmup, 0)
        self.start = self.low if start is None else check.fraction("start", start)
        self.end = None if end is None else check.fraction("end", end)
        self.end_at = check.fraction("end_at", end_at)
        self._updates, self._skipped, self._average, self._weight = 0, 0, 0.0, 0.0

    @property
    def ratio(self) -> float:
        """The share of the picture as it stands, the end value aside."""
        raise NotImplementedError(f"{type(self).__name__}.ratio")

    @property
    def skipped(self) -> int:
        """How many observations were NaN or infinite and left out, over all processes."""
        return self._skipped

    @property
    def smoothed(self) -> float | None:
        """The bias-corrected moving average; None before the first value."""
        return self._average / self._weight if self._weight else None

    def ratio_at(self, progress: float) -> float:
        """Return `ratio`, or the end value from `end_at` on."""
        t = check.number("progress", progress, 0, 1, slip="a fraction of the training, not a step or an epoch")
        return self.end if self.end is not None and t >= self.end_at else self.ratio

    def update(self, value: float | Tensor, count: int = 1) -> float:
        """Take in one process' mean over `count` items or frames; return the new ratio.

        Parameters
        ----------
        value : float or Tensor of one number
            NaN or infinite: left out and counted.
        count : int
            How much it weighs against the other processes'; 0 where this one saw nothing.
        """
        value = float(value.detach()) if isinstance(value, Tensor) else float(value)
        return self._take(value * check.integer("count", count, 0) if count else 0.0, count)

    def state_dict(self) -> dict[str, float | int]:
        """Return the counts and the moving average as plain numbers."""
        names = ("updates", "skipped", "average", "weight")
        return {name: getattr(self, f"_{name}") for name in names}

    def _take(self, total: float, count: int) -> float:
        bad = not math.isfinite(total)
        total, counted, skipped = sum_over_ranks(0.0 if bad else total, 0 if bad else count, int(bad))
        if skipped:
            self._note(skipped)
        if counted and math.isfinite(total):
            self._updates += 1
            self._average = self.smoothing * self._average + (1 - self.smoothing) * (total / counted)
            self._weight = self.smoothing * self._weight + (1 - self.smoothing)
            self._react()
        return self.ratio

    def _react(self) -> None:
        """Move on, after the average did. To be overridden."""
        raise NotImplementedError(f"{type(self).__name__}._react")

    def _note(self, skipped: int) -> None:
        before, self._skipped = self._skipped, self._skipped + skipped
        if len(str(self._skipped)) > len(str(before)) or before == 0:
            warnings.warn(f"{type(self).__name__}: {self._skipped} NaN or infinite observations left out", stacklevel=5)
