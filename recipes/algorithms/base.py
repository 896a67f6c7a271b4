"""What every method shares: the terms of an objective, as equations."""

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from audiomix import check
from audiomix.mixer import Mixer
from audiomix.plan import Plan

if TYPE_CHECKING:
    from ..views import Views

__all__ = ["Algorithm", "Labelled", "Unlabelled"]


class Labelled(NamedTuple):
    """Clips with their classes.

    Parameters
    ----------
    x : Tensor, shape (L, 1, F, N)
    target : Tensor, shape (L,), int64
    """

    x: Tensor
    target: Tensor


class Unlabelled(NamedTuple):
    """Two views of the same clips.

    Parameters
    ----------
    weak, strong : Tensor, shape (U, 1, F, N)
    hidden : Tensor, shape (U,), int64
        The true classes, below 0 where nobody knows: for logs, never for a loss.
    """

    weak: Tensor
    strong: Tensor
    hidden: Tensor


class Algorithm(nn.Module):
    """Base of all methods. Anything worth saving is a buffer or a submodule, so ``state_dict()`` carries it.

    Parameters
    ----------
    num_classes : int
    mixer : Mixer, optional
        Mixes the batches; how is the method's to say. Options of a method are keyword-only arguments of its own.
    """

    # Whether there must be unlabelled clips; a method without gets None for them.
    needs_unlabelled: ClassVar[bool] = True
    # Options a mixer is made with unless the user gives others.
    mixing: ClassVar[dict[str, Any]] = {}

    def __init__(self, num_classes: int, mixer: Mixer | None = None) -> None:
        super().__init__()
        self.num_classes = check.integer("num_classes", num_classes, 1)
        self.mixer = mixer
        self._logs: dict[str, Tensor] = {}

    @property
    def title(self) -> str:
        """Name under which results are reported."""
        return type(self).__name__.lower()

    def losses(
        self,
        model: nn.Module,
        labelled: Labelled,
        unlabelled: Unlabelled | None,
        *,
        progress: float,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Return the terms of the objective: the engine logs each and minimises their sum.

        Parameters
        ----------
        model : nn.Module
            Spectrograms (B, 1, F, N) to logits (B, K), in training mode.
        labelled, unlabelled
        progress : float
            Fraction of the training in [0, 1], for schedules.
        generator : torch.Generator, optional
            For what the method draws itself.
        """
        raise NotImplementedError(f"{type(self).__name__}.losses")

    def fit(self, views: "Views") -> None:
        """Tell the mixer how spectrograms are normalised, as ``(dB - mean) / std``: power is mixed without it."""
        for name in ("mean", "std"):
            if hasattr(self.mixer, name):
                setattr(self.mixer, name, getattr(views, name))

    def after_step(self, model: nn.Module) -> None:
        """Run once the optimiser has moved the model. Teachers are updated here."""

    def logs(self) -> dict[str, Tensor]:
        """Return what else the last step is known by; NaN where there is nothing to say."""
        return self._logs

    def one_hot(self, target: Tensor) -> Tensor:
        """Return class ids (B,) as labels (B, K), float32."""
        return nn.functional.one_hot(target, self.num_classes).float()

    def mix_views(self, x: Tensor, other: Tensor | None, progress: float, generator: Any) -> tuple[Tensor, Plan]:
        """Mix a batch within itself or with `other`; return it and the plan that its labels must follow."""
        assert self.mixer is not None
        mixed = self.mixer(x, other=other, progress=progress, generator=generator)
        return mixed.x, mixed.plans[0]
