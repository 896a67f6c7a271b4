"""The clips of one training step, as a method gets them."""

from typing import NamedTuple

from torch import Tensor

__all__ = ["Labelled", "Unlabelled"]


class Labelled(NamedTuple):
    """Clips with their classes.

    Parameters
    ----------
    x : Tensor, shape (L, 1, F, N)
        Spectrograms: F mel bands, N frames.
    target : Tensor, shape (L,), int64
        Class of each clip.
    index : Tensor, shape (L,), int64
        Position of each clip among all labelled clips of the run, for methods that keep a state of each clip.
    """

    x: Tensor
    target: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody needs here


class Unlabelled(NamedTuple):
    """Views of the same clips: as many of each kind as the method asks for (`weak_views`, `strong_views`).

    Parameters
    ----------
    weaks : tuple of Tensor, each of shape (U, 1, F, N)
        Weakly augmented spectrograms.
    strongs : tuple of Tensor, each of shape (U, 1, F, N)
        Strongly augmented spectrograms.
    hidden : Tensor, shape (U,), int64
        True classes; `audiomix.datasets.dataset.UNKNOWN` or `OUTLIER`, below 0, where they are none of the K. For logs,
        never for a loss.
    index : Tensor, shape (U,), int64
        Position of each clip among all unlabelled clips of the run, for methods that keep a state of each clip.
    """

    weaks: tuple[Tensor, ...]
    strongs: tuple[Tensor, ...]
    hidden: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody needs here

    @property
    def weak(self) -> Tensor:
        """The first weak view."""
        return self.weaks[0]

    @property
    def strong(self) -> Tensor:
        """The first strong view."""
        return self.strongs[0]
