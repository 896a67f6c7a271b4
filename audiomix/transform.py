"""What every transform shares: an operation on single clips that keeps the label, drawn as a plan.

A transform is a mixer of one source. It is called, replayed, chosen among others (`OneOf`) and put into a `Pipeline`
or a `Collate` as a mixer is, and in ``eval()`` it is the identity. Its plan has every clip as its own partner with
weight 1, and says in `mixed` which clips are changed.
"""

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from . import check
from .clips import Clips
from .mixer import Mixer, Needs
from .plan import ORIGINAL, Part, Plan
from .schedule import Schedule

__all__ = ["Transform", "TransformPlan", "check_spectrogram", "reasons", "whole_numbers"]

_PlanType = TypeVar("_PlanType", bound="TransformPlan")


@dataclass(frozen=True, eq=False)
class TransformPlan(Plan):
    """How each clip is changed; labels are kept.

    Parameters
    ----------
    partner, weight, why, roll, roll_within
        See `audiomix.Plan`: each clip is its own partner, with weight 1.

    Examples
    --------
    >>> plan = TransformPlan.identity(2)
    >>> plan.partner, plan.weight
    (tensor([0, 1]), tensor([1., 1.], dtype=torch.float64))
    """

    @classmethod
    def of(cls: type[_PlanType], size: int, **fields: Any) -> _PlanType:
        """Return a plan for `size` clips.

        Parameters
        ----------
        size : int
            Clips in the batch.
        **fields
            The fields of the plan's own class, and `why`.
        """
        return cls(torch.arange(size), torch.ones(size, dtype=torch.float64), **fields)

    @property
    def mixed(self) -> Tensor:
        """Whether each clip is changed; (B,), bool. To be overridden."""
        raise NotImplementedError(f"{type(self).__name__}.mixed")

    def parts(self, index: int) -> list[Part]:
        """Return the original: transforms that move or scale it say how."""
        return [Part(ORIGINAL)]


class Transform(Mixer):
    """Base of all transforms. Subclasses say how to draw a plan and how to apply one, as mixers do.

    `draw` returns a subclass of `TransformPlan`, named in `plan_type`; `render` gets the clips twice. A second batch
    (``other=``) is taken, since mixers are given one, and is not looked at.

    Parameters
    ----------
    num_classes : int, optional
        With it the target that comes back is always float (B, K); without it a target comes back as it is.
    p : float or schedule
        Share of the clips that are changed. ``"stop_after:0.75"`` changes all clips for the first three quarters of
        the training and none afterwards.
    time_axis : int, optional
        Which axis of `x` is time; see `audiomix.Mixer`.

    See Also
    --------
    audiomix.Mixer : mixes clips with each other.

    Examples
    --------
    >>> class QuieterPlan(TransformPlan):
    ...     mixed = property(lambda self: torch.ones(len(self), dtype=torch.bool))  # which clips are changed
    >>> class Quieter(Transform):
    ...     def draw(self, own, source, *, progress=None, generator=None):
    ...         return QuieterPlan.identity(len(own))
    ...
    ...     def render(self, own, source, plan):
    ...         return own.x / 2
    >>> Quieter()(torch.ones(1, 1, 3)).x
    tensor([[[0.5000, 0.5000, 0.5000]]])
    """

    def __init__(
        self, *, num_classes: int | None = None, p: float | str | Schedule = 1.0, time_axis: int | None = None
    ) -> None:
        super().__init__(num_classes=num_classes, p=p, time_axis=time_axis)

    @property
    def needs(self) -> Needs:
        """One source, whose label is kept."""
        return Needs(sources=(1, 1), target=False, summed=False)

    @property
    def keeps_target(self) -> bool:
        """Whether the target comes back as it is: where `num_classes` does not ask for float (B, K)."""
        return self.num_classes is None

    def render_into(self, own: Clips, source: Clips, plan: Plan, out: Tensor | None = None) -> Tensor:
        """Prepare the clips, `render`, and bring the result to the dtype of ``own.x`` and into `out`."""
        return super().render_into(own, own, plan, out)

    def mix_target(self, target: Tensor, plan: Plan, *, other: Tensor | None = None) -> Tensor:
        """Return the target as it is; frame labels (B, K, N) move with the sounds."""
        return plan.move_frames(self.keep_target(target)) if target.ndim == 3 else self.keep_target(target)

    def _check(self, own: Clips, source: Clips, plan: Plan | None, out: Tensor | None) -> None:
        """Check all that depends on the transform; what it does not read is not looked at."""
        super()._check(own, own if self.needs.sources == (1, 1) else source, plan, out)


def whole_numbers(places: Any, count: Any) -> Any:
    """Return one of 0..count-1, as floats, for places that are uniform in [0, 1).

    Parameters
    ----------
    places : array
        What was drawn.
    count : int or array
        How many numbers there are; a product that rounds up to it is the last of them.
    """
    return np.minimum(np.floor(places * count), count - 1)


def reasons(chosen: Tensor, able: Tensor, reason: str) -> tuple[str, ...]:
    """Return `Plan.why`: a reason for the clips that were chosen and cannot be changed.

    Parameters
    ----------
    chosen : Tensor, shape (B,), bool
        Clips that were to be changed.
    able : Tensor, shape (B,), bool
        Clips that can be.
    reason : str
        Why the others cannot.
    """
    if bool((chosen & able).all()):
        return ()
    return tuple(reason if one else "" for one in (chosen & ~able).tolist())


def check_spectrogram(x: Tensor) -> None:
    """Raise where `x` is not a spectrogram (B, ..., F, N); with fewer than four bins it is a waveform.

    Parameters
    ----------
    x : Tensor
        The batch.
    """
    if x.ndim < 3 or x.shape[-2] < 4:
        check.fail("x", "spectrograms (B, ..., F, N)", f"shape {tuple(x.shape)}", "a waveform? take its LogMel first")
