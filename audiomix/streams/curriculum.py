r"""Curricula: how much of the picture is in the mix, from a schedule or from how the model does.

A curriculum gives the **share of the picture** in [0, 1], `StreamMix`'s ``ratio=``: 1 is pure video, what the model
sees at test time. Schedules are pure functions of progress. What depends on the model is an object of the trainer:

.. math:: u = \frac{1}{n \log K} \sum_{t} H(p_t), \qquad \bar u \leftarrow \text{smoothed } u, \qquad
    r = l + (h - l) (1 - \bar u)

How sure the model is on pure video is how much of the picture it gets. MixSpeech (Cheng et al., ICCV 2023) adjusts
its mixing ratio by a curriculum; its code is not public and we have its abstract only, so the definitions here are our
own. The nearest open code is STEMM's (Fang et al., ACL 2022), the option ``rule="stemm"``.
"""

import math
from typing import Any, Literal

from torch import Tensor

from .. import check
from ..options import read_options
from ..schedule import Schedule
from .curriculum_base import Adaptive, Curriculum
from .statistics import Given, entropy_sum

__all__ = [
    "Curriculum",
    "PlateauCurriculum",
    "ScheduleCurriculum",
    "UncertaintyCurriculum",
    "entropy_sum",
    "make_curriculum",
]


class ScheduleCurriculum(Curriculum):
    """A schedule of progress as a curriculum.

    Source: ours.

    Parameters
    ----------
    schedule : str, number or Schedule
        Within [0, 1]; see `audiomix.schedule`.

    Examples
    --------
    >>> ScheduleCurriculum("linear:0:1").ratio_at(0.25)
    0.25
    """

    def __init__(self, schedule: float | str | Schedule) -> None:
        self.schedule = Schedule.of(schedule, "curriculum").within("curriculum", 0, 1)

    def ratio_at(self, progress: float) -> float:
        """Return the schedule's value."""
        return self.schedule(progress)


class UncertaintyCurriculum(Adaptive):
    r"""The share of the picture follows how sure the model is on pure video.

    Source: ours, after Cheng et al., "MixSpeech: Cross-Modality Self-Learning with Audio-Visual Stream Mixup for Visual
    Speech Translation and Recognition", ICCV 2023.

    Parameters
    ----------
    low, high : float
        The share at full uncertainty (an entropy of log K) and at none.
    rule : str
        ``sure``: ``low + (high - low) (1 - u)``, u the smoothed normalised entropy. ``stemm``: STEMM's
        ``sigmoid(u - 0.5)`` within [low, high], the picture in the place of its speech. That one **rises** with the
        uncertainty and stays within 0.378 and 0.622.
    smoothing : float
        Decay of the moving average in [0, 1), corrected for its start; 0 takes each value as it is.
    monotone : bool
        Never fall back below a share that was reached after the warm-up.
    warmup : int
        The first so many updates give `start`; they enter the average.
    start : float, optional
        `low` by default.
    end : float, optional
        The share from `end_at` on, whatever the model does. None: there is none.
    end_at : float
        A fraction of the training.

    Notes
    -----
    The mean is over all valid frames of all processes (STEMM's is over each clip's, and each clip has its own share).
    STEMM switches its rule off after 100,000 updates (``sigmoid(-0.5)`` = 0.378 from then on): ``end=0.378`` with
    `end_at` says so.

    See Also
    --------
    audiomix.PlateauCurriculum : follows the plateaus of a loss.

    Examples
    --------
    >>> import torch
    >>> curriculum = UncertaintyCurriculum(low=0.1, smoothing=0.0)
    >>> round(curriculum(torch.zeros(2, 5, 10)), 6), curriculum(torch.eye(10)[None] * 1000)
    (0.1, 1.0)
    """

    needs = "logits"

    def __init__(
        self,
        low: float = 0.0,
        high: float = 1.0,
        *,
        rule: Literal["sure", "stemm"] = "sure",
        smoothing: float = 0.99,
        monotone: bool = False,
        warmup: int = 0,
        start: float | None = None,
        end: float | None = None,
        end_at: float = 1.0,
    ) -> None:
        super().__init__(low, high, smoothing, warmup, start, end, end_at)
        self.rule = check.choice("rule", rule, ("sure", "stemm"))
        self.monotone = check.one_of_types("monotone", monotone, bool, "True or False")
        self._highest = 0.0

    def __call__(self, scores: Tensor, *, lengths: Tensor | None = None, given: Given = "logits") -> float:
        """Take in the model's scores on pure video; return the new ratio. See `entropy_sum`."""
        total, count = entropy_sum(scores, lengths=lengths, given=given, name="scores")
        return self._take(total, count)

    def observe(
        self, *, logits: Tensor | None = None, lengths: Tensor | None = None, loss: Any = None, count: int = 1
    ) -> None:
        """Take in the logits on pure video."""
        if logits is None:
            check.fail("logits", "given: the model's on pure video", None)
        self(logits, lengths=lengths)

    def update(self, value: float | Tensor, count: int = 1) -> float:
        """Take in a mean normalised entropy in [0, 1] over `count` items or frames; return the new ratio."""
        number = float(value.detach()) if isinstance(value, Tensor) else float(value)
        if math.isfinite(number):
            check.number("value", number, -1e-6, 1 + 1e-6, slip="divide the entropy by log K")
        return super().update(number, count)

    @property
    def ratio(self) -> float:
        """The share of the picture as it stands."""
        if self._updates <= self.warmup:
            return self.start
        return max(self._follow(), self._highest) if self.monotone else self._follow()

    def state_dict(self) -> dict[str, float | int]:
        """Return the counts, the moving average and the highest share as plain numbers."""
        return {**super().state_dict(), "highest": self._highest}

    def _follow(self) -> float:
        u = min(max(self._average / self._weight, 0.0), 1.0)
        if self.rule == "stemm":
            return min(max(1 / (1 + math.exp(0.5 - u)), self.low), self.high)
        return self.low + (self.high - self.low) * (1 - u)

    def _react(self) -> None:
        if self._updates > self.warmup:
            self._highest = max(self._highest, self._follow())


class PlateauCurriculum(Adaptive):
    """The share of the picture steps **up** when the loss no longer falls.

    The smoothed loss has improved if it fell by more than `threshold` below its best since the last step. After
    `patience` updates in a row without, the share rises by `step`, and average and best start anew: a harder mix has
    another loss.

    Source: ours.

    Parameters
    ----------
    step : float
        Above 0.
    threshold : float
        In units of the loss.
    patience : int
        Updates.
    low, high : float
        Where the share begins and where it stays.
    smoothing : float
        Decay of the moving average in [0, 1), corrected for its start.
    warmup : int
        Updates before any is counted; the share is `start`.
    start, end, end_at
        As for `UncertaintyCurriculum`; it steps on from `start`.

    See Also
    --------
    audiomix.UncertaintyCurriculum : follows the model's entropy.

    Examples
    --------
    >>> curriculum = PlateauCurriculum(step=0.25, patience=2, smoothing=0.0)
    >>> [curriculum.update(loss) for loss in (3.0, 2.0, 2.0, 2.0, 2.5, 2.5, 2.5)]
    [0.0, 0.0, 0.0, 0.25, 0.25, 0.25, 0.5]
    """

    needs = "loss"

    def __init__(
        self,
        step: float = 0.1,
        *,
        threshold: float = 0.01,
        patience: int = 100,
        low: float = 0.0,
        high: float = 1.0,
        smoothing: float = 0.9,
        warmup: int = 0,
        start: float | None = None,
        end: float | None = None,
        end_at: float = 1.0,
    ) -> None:
        super().__init__(low, high, smoothing, warmup, start, end, end_at)
        self.step = check.fraction("step", step)
        if step == 0:
            check.fail("step", "above 0", "0")
        self.threshold = check.number("threshold", threshold, 0)
        self.patience = check.integer("patience", patience, 1)
        if not self.low <= self.start <= self.high:
            check.fail("start", f"in [{self.low:g}, {self.high:g}]", f"{self.start:g}")
        self._steps, self._waited, self._has_best, self._best = 0, 0, 0, 0.0

    def observe(
        self, *, logits: Tensor | None = None, lengths: Tensor | None = None, loss: Any = None, count: int = 1
    ) -> None:
        """Take in the loss."""
        if loss is None:
            check.fail("loss", "given: the mean of this batch", None)
        self.update(loss, count)

    @property
    def ratio(self) -> float:
        """The share of the picture as it stands."""
        return min(self.start + self._steps * self.step, self.high)

    def state_dict(self) -> dict[str, float | int]:
        """Return the counts, the moving average, the best of it and the steps taken as plain numbers."""
        names = ("steps", "waited", "has_best", "best")
        return {**super().state_dict(), **{name: getattr(self, f"_{name}") for name in names}}

    def _react(self) -> None:
        if self._updates <= self.warmup or self.ratio >= self.high:
            return
        smoothed = self._average / self._weight
        if not self._has_best or smoothed < self._best - self.threshold:
            self._best, self._has_best, self._waited = smoothed, 1, 0
            return
        self._waited += 1
        if self._waited >= self.patience:
            self._steps += 1
            self._waited, self._has_best, self._average, self._weight = 0, 0, 0.0, 0.0


_KINDS: dict[str, type[Adaptive]] = {"uncertainty": UncertaintyCurriculum, "plateau": PlateauCurriculum}


def make_curriculum(text: "Curriculum | float | str | Schedule") -> Curriculum:
    """Return the curriculum that a string stands for.

    Parameters
    ----------
    text : str, number, Schedule or Curriculum
        ``linear:0:1`` or any other schedule; ``uncertainty:low=0.1,high=1`` or ``plateau:step=0.1``, with the
        arguments of their constructors.

    Raises
    ------
    ValueError
        The string is none of these; an argument is unknown or does not fit.

    Examples
    --------
    >>> make_curriculum("linear:0:1").ratio_at(0.5), make_curriculum("plateau:step=0.1,start=0.2").ratio_at(0.5)
    (0.5, 0.2)
    """
    if isinstance(text, Curriculum):
        return text
    kind, _, rest = text.partition(":") if isinstance(text, str) else ("", "", "")
    if kind not in _KINDS:
        return ScheduleCurriculum(text)
    return _KINDS[kind](**read_options(rest, _KINDS[kind], kind))
