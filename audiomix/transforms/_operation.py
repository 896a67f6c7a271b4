"""What every operation of `RandAugment` shares: one change of a clip, as strong as a magnitude says."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..arguments import Recorded
from ..needs import SPECTROGRAM, WAVE
from ._noise import read_noise

__all__ = ["BOTH", "Group", "Operation"]

BOTH = frozenset({WAVE, SPECTROGRAM})


@dataclass(frozen=True, eq=False)
class Group:
    """The clips of a batch that are changed by one operation, each at its own magnitude.

    Parameters
    ----------
    x : Tensor, shape (R, C, T) or (R, ..., F, N)
        Waveforms, silent behind their valid parts, or log spectrograms; float32 at least.
    level : Tensor, shape (R,), float64
        Magnitudes in [-1, 1], never 0; below 0 only for an operation that is ``symmetric``. On the CPU.
    numbers : Tensor, shape (R, M), float64
        Uniform in [0, 1), as many as the operation asks for: all that it may decide by chance. On the CPU.
    valid : Tensor, shape (R,), int64
        Valid samples or frames. On the CPU.
    domain : str
        ``wave`` or ``spectrogram``.
    rate : int
        Of waveforms, in Hz; 0 for spectrograms.
    decibel : float
        What one decibel adds to a log spectrogram.
    """

    x: Tensor
    level: Tensor
    numbers: Tensor
    valid: Tensor
    domain: str = WAVE
    rate: int = 0
    decibel: float = 1.0

    @property
    def is_wave(self) -> bool:
        """Whether these are waveforms."""
        return self.domain == WAVE

    def column(self, values: Tensor) -> Tensor:
        """Return a number a clip, (R,), shaped and placed to be combined with `x`: (R, 1, ..., 1)."""
        return values.to(self.x.device, self.x.dtype, non_blocking=True).view(-1, *[1] * (self.x.ndim - 1))

    def inside(self) -> Tensor:
        """Return which samples or frames are valid; (R, 1, ..., N), bool."""
        ends = self.valid.to(self.x.device, non_blocking=True).view(-1, *[1] * (self.x.ndim - 1))
        return torch.arange(self.x.shape[-1], device=self.x.device) < ends

    def mean(self) -> Tensor:
        """Return each clip's mean over what is valid; (R, 1, ..., 1)."""
        axes = tuple(range(1, self.x.ndim))
        total = torch.where(self.inside(), self.x, 0).sum(axes, keepdim=True)
        return total / self.column(self.valid * (self.x[0].numel() // self.x.shape[-1])).clamp(min=1)

    def floor(self) -> Tensor:
        """Return what is silence in each clip, without a gradient: 0, or the least value of a spectrogram."""
        if self.is_wave:
            return self.x.new_zeros(len(self.x), *[1] * (self.x.ndim - 1))
        return torch.where(self.inside(), self.x.detach(), torch.inf).amin(tuple(range(1, self.x.ndim)), keepdim=True)

    def rms(self) -> Tensor:
        """Return the level of each waveform over its valid samples and all channels, without a gradient; (R, 1, 1)."""
        norm = torch.linalg.vector_norm(self.x.detach(), dim=(1, 2), keepdim=True)  # padding is silent
        return norm / self.column((self.valid * self.x.shape[1]).clamp(min=1).sqrt())

    def noise(self) -> Tensor:
        """Return white normal noise of mean square 1 in the shape of `x`; from the first two of `numbers`."""
        each = self.x[0].numel()
        return read_noise(self.numbers[:, :2], each, self.x).view_as(self.x)


class Operation(Recorded):
    """Base of the operations that `RandAugment` draws from. A subclass says how it changes a group of clips.

    An operation leaves a clip as it is as its magnitude goes to 0 and changes it the more the larger it is, keeps the
    shape, and decides nothing by chance but by `Group.numbers`. Its constructor's arguments say what a magnitude of 1
    is, and all have defaults. A class of one's own is chosen by its path, ``mine.py:Telephone``, or by an entry point
    of the group ``audiomix.transforms.operations``.

    Attributes
    ----------
    domains : frozenset of str
        What it works on: ``wave``, ``spectrogram``.
    symmetric : bool
        Whether there are two directions, so that the sign of the magnitude is drawn too.
    numbers : int
        How many numbers in [0, 1) it wants for each clip.
    changes : frozenset of str
        What a label may hang on: ``level``, ``pitch``, ``time`` (what is heard when), ``duration``, ``content`` (parts
        are missing). `RandAugment` leaves an operation out that changes what is to be kept.

    Examples
    --------
    >>> class Hum(Operation):
    ...     def apply(self, group):
    ...         time_s = torch.arange(group.x.shape[-1], device=group.x.device) / group.rate
    ...         return group.x + group.column(0.1 * group.level) * torch.sin(2 * torch.pi * 50 * time_s).to(group.x)
    >>> group = Group(torch.zeros(2, 1, 800), torch.tensor([0.1, 1.0]), torch.zeros(2, 0), torch.tensor([800, 800]))
    >>> import dataclasses
    >>> Hum().apply(dataclasses.replace(group, rate=8000)).amax((1, 2))
    tensor([0.0100, 0.1000])
    """

    domains: ClassVar[frozenset[str]] = frozenset({WAVE})
    symmetric: ClassVar[bool] = False
    numbers: ClassVar[int] = 0
    changes: ClassVar[frozenset[str]] = frozenset()

    def __init__(self) -> None:
        pass

    def apply(self, group: Group) -> Tensor:
        """Return the changed clips, in the shape and dtype of ``group.x``. To be overridden.

        Parameters
        ----------
        group : Group
            The clips, and how strongly each is changed. Left unchanged.
        """
        raise NotImplementedError(f"{type(self).__name__}.apply")

    def knots(self, level: Tensor, numbers: Tensor) -> Tensor | None:
        """Return how time is moved, for the labels; (R, K, 2), float64, or None where everything stays in its place.

        Parameters
        ----------
        level : Tensor, shape (R,), float64
            See `Group`.
        numbers : Tensor, shape (R, M), float64
            See `Group`.

        Notes
        -----
        Each knot is a place in the result, and the place in the original that is heard there, as fractions of the
        clip's valid part; the map runs straight between two knots. What lies outside of [0, 1] in the original is
        silence, and two knots at one place are a jump.
        """
        return None
