"""The base class of learned mixing: a training of its own, with what it learns besides the network."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from audiomix import check

__all__ = ["LearnedMixing", "ReadClips"]

# Positions (M,) among the labelled clips to the network's input (M, 1, F, N) without any change, and classes (M,)
ReadClips = Callable[[Tensor], tuple[Tensor, Tensor]]


class LearnedMixing(nn.Module):
    """Base of all learned mixing. Options are keyword-only arguments of the constructor.

    Anything that a training goes on from is a buffer or a submodule, so a checkpoint holds it. What requires gradients
    is trained by the run's optimiser, which minimises the sum of all terms. A term that must not reach some weights is
    computed with copies of them.

    Attributes
    ----------
    domains : frozenset of str
        What it works on: ``spectrogram``, ``embedding``.
    needs_features : bool
        Whether the network must have `features` and `head`.
    compiles : bool
        Whether the network may be compiled.
    num_classes : int
        K; `setup` sets it.
    """

    domains: ClassVar[frozenset[str]] = frozenset({"spectrogram"})
    needs_features: ClassVar[bool] = False
    compiles: ClassVar[bool] = True
    num_classes: int

    def setup(self, model: nn.Module, num_classes: int, clips: int, seed: int) -> None:
        """Make what is learned or kept besides the network; called once, before the optimiser is made.

        Parameters
        ----------
        model : nn.Module
            Spectrograms (B, 1, F, N) to logits (B, K), with its first weights.
        num_classes : int
            K.
        clips : int
            Number of labelled clips.
        seed : int
            The run's, for first weights.
        """
        self.num_classes = check.integer("num_classes", num_classes, 2)

    def fit(self, mean: float, std: float) -> None:
        """Take in how the front end normalises: the network's input is ``(dB - mean) / std``; called before `setup`."""

    def take_clips(self, read: ReadClips, labels: Tensor) -> None:
        """Take in where the labelled clips are read from; called once, before the first step.

        Parameters
        ----------
        read : callable
            Returns clips without any change.
        labels : Tensor, shape (N,), int64
            Classes of all labelled clips.
        """

    def losses(
        self,
        model: nn.Module,
        x: Tensor,
        target: Tensor,
        index: Tensor,
        *,
        progress: float,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Return the terms of the objective; the engine logs each and minimises their sum.

        Parameters
        ----------
        model : nn.Module
            Spectrograms (B, 1, F, N) to logits (B, K), in training mode.
        x : Tensor, shape (B, 1, F, N)
            Augmented views of labelled clips.
        target : Tensor, shape (B,), int64
            Their classes.
        index : Tensor, shape (B,), int64
            Their positions among all labelled clips.
        progress : float
            Fraction of the training in [0, 1].
        generator : torch.Generator, optional
            Source of everything that is drawn.
        """
        raise NotImplementedError(f"{type(self).__name__}.losses")

    def cost_period(self, batch: int) -> int:
        """Return after how many steps of `batch` labelled clips the cost of a step comes again, its first steps' too.

        By default 1: all steps cost the same. So an epoch's time can be told from a few steps.
        """
        return 1

    def after_step(self, model: nn.Module) -> None:
        """Run once the optimiser has moved `model`: averages, multipliers and choices are updated here."""

    def logs(self) -> dict[str, Tensor]:
        """Return further values of the last step for ``metrics.csv``, scalars."""
        return {}
