"""TrivialAugment for sound: each clip goes through one operation, at a magnitude that is drawn for it.

It is `RandAugment` with one operation and a uniform magnitude. The operations are ours:
`audiomix.transforms.operations`.

Source: Müller and Hutter, "TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation", ICCV 2021.
Label: kept; frame labels follow what moves time.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from .. import draw
from ..draw import Generator
from ..schedule import Schedule
from .rand_augment import RandAugment

__all__ = ["TrivialAugment"]

# Magnitudes of the paper: 0 to 30. Few of them, so that clips of one batch share what is computed for each.
_BINS = 31


class TrivialAugment(RandAugment):
    """Change each clip by one operation, drawn with equal chances, at a magnitude that is drawn too.

    Parameters
    ----------
    rate : int, optional
        Sampling rate of waveforms in Hz; left out for spectrograms.
    magnitude : float or schedule
        The largest magnitude: each clip's is one of 0, 1/30, ..., 1 times this, all with the same probability.
    operations, keep, domain, scale, std
        See `audiomix.RandAugment`.
    num_classes, p, time_axis
        See `audiomix.Transform`.

    Notes
    -----
    There is nothing to tune: a magnitude of 1 is what `audiomix.transforms.operations` say. A clip that draws nothing,
    or the magnitude 0, stays as it is. The plan is that of `audiomix.RandAugment` with one operation a clip.

    See Also
    --------
    audiomix.RandAugment : several operations at one magnitude.

    Examples
    --------
    >>> spec = torch.randn(4, 1, 64, 200) - 50
    >>> augmented = TrivialAugment(domain="spectrogram")(spec, generator=torch.Generator().manual_seed(0))
    >>> augmented.x.shape, augmented.plans[0].level.shape
    (torch.Size([4, 1, 64, 200]), torch.Size([4, 1]))
    """

    def __init__(
        self,
        rate: int | None = None,
        *,
        magnitude: float | str | Schedule = 1.0,
        operations: Sequence[str] | None = None,
        keep: Sequence[str] = (),
        domain: Literal["wave", "spectrogram"] = "wave",
        scale: Literal["db", "log10", "ln"] = "db",
        std: float = 1.0,
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        time_axis: int | None = None,
    ) -> None:
        super().__init__(
            rate, number=1, magnitude=magnitude, operations=operations, keep=keep, domain=domain, scale=scale, std=std,
            num_classes=num_classes, p=p, time_axis=time_axis,
        )  # fmt: skip

    def draw_levels(self, size: int, *, progress: float | None = None, generator: Generator = None) -> Tensor:
        """Draw one of 31 magnitudes for each clip; (size, 1), float64.

        Parameters
        ----------
        size : int
            Clips.
        progress, generator
            As `draw` gets them.
        """
        bins = draw.integers(torch.full((size, 1), _BINS), generator=generator)
        return bins.double() * (self.magnitude(progress) / (_BINS - 1))
