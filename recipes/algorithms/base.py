"""What every method shares: the terms of an objective, as equations."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from audiomix import check
from audiomix.mixer import Mixer
from audiomix.plan import Plan
from audiomix.registry import Registry

if TYPE_CHECKING:
    from ..data.views import Views
    from ..training.config import Config

__all__ = ["REGISTRY", "Algorithm", "Labelled", "Unlabelled"]


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
    """Views of the same clips: as many of each kind as the method asks for (`weak_views`, `strong_views`).

    Parameters
    ----------
    weaks, strongs : tuple of Tensor, each of shape (U, 1, F, N)
    hidden : Tensor, shape (U,), int64
        The true classes, below 0 where nobody knows: for logs, never for a loss.
    index : Tensor, shape (U,), int64
        Which of the unlabelled clips they are, for what a method keeps of single clips.
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


class Algorithm(nn.Module):
    """Base of all methods. Anything worth saving is a buffer or a submodule, so ``state_dict()`` carries it.

    Parameters
    ----------
    num_classes : int
    mixer : Mixer, optional
        Mixes the batches; how is the method's to say. Options of a method are keyword-only arguments of its own.

    Notes
    -----
    Of several processes each draws for its own slice of the batch what is drawn here and not with the views: partners
    and weights of a mixer, ReMixMatch's turns, AdaMatch's shares. Deep Co-Training halves the labelled clips of each
    slice. So a method that mixes (MixMatch and ReMixMatch do unless told not to), ReMixMatch's turns and Deep
    Co-Training come to other numbers than in one process, and partners are never of another slice. Statistics of
    guesses and labels are those of the whole batch in all methods.
    """

    # Whether there must be unlabelled clips; a method without gets None for them.
    needs_unlabelled: ClassVar[bool] = True
    # Whether the network must have `features` and `head`; an option may set it for an instance.
    needs_features: bool = False
    # Options a mixer is made with unless the user gives others.
    mixing: ClassVar[dict[str, Any]] = {}
    # Mixer by preset of a run that names none, "" for all other presets: for methods that mixing is a part of.
    default_mixers: ClassVar[dict[str, str]] = {}
    # Options by preset, beyond the constructor's defaults: original, study, small, strong, demo.
    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    # Fields of `Config` by preset, where the method wants others than the preset has.
    configs: ClassVar[dict[str, dict[str, Any]]] = {}
    # Views of each unlabelled clip; an option may set them for an instance.
    weak_views: int = 1
    strong_views: int = 1

    def __init__(self, num_classes: int, mixer: Mixer | None = None) -> None:
        super().__init__()
        self.num_classes = check.integer("num_classes", num_classes, 1)
        self.mixer = mixer
        self._logs: dict[str, Tensor] = {}
        # Joins the tensors (B, ...) of all processes of a run, without gradient; the engine sets it.
        self.gather: Callable[[Tensor], Tensor] = _alone

    @classmethod
    def name(cls) -> str:
        """Return the name by which the method is chosen."""
        return REGISTRY.name_of(cls)

    @property
    def title(self) -> str:
        """Name under which results are reported."""
        return self.name()

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

    def setup(self, model: nn.Module, spare: Callable[[str], nn.Module], unlabelled: int) -> None:
        """Make what is trained or kept besides the network; called once, before the optimiser is made.

        A check before the run calls it on networks that it throws away.

        Submodules made here are trained if their parameters want gradients, and everything is saved.

        Parameters
        ----------
        model : nn.Module
            With `features`, (B, 1, F, N) to (B, D), and `head`, a linear layer on them.
        spare : callable
            ``spare("second")``: another network of the same kind, whose first weights depend on seed and name (with
            `weights` from a file, those of its head).
        unlabelled : int
            How many unlabelled clips there are.
        """

    def reported(self, model: nn.Module) -> nn.Module:
        """Return the network whose error is the method's: the one that is trained, or a teacher."""
        return model

    def check_config(self, config: "Config") -> None:
        """Raise, before anything is made, where the method cannot do what the run is to do.

        Raises
        ------
        ValueError
            An option that has no effect in this run, or a batch too small for the method.
        """

    def needs_mixer(self, name: str, given: bool) -> None:
        """Raise if the option `name`, which says how a mixer is used, is given where there is none."""
        if given and self.mixer is None:
            check.fail(name, "used with a mixer", "none", "--mixer mixup")

    def averaged(self, model: nn.Module) -> nn.Module:
        """Return the network whose running average (EMA) is kept, and its error reported too.

        Called after every step: of the same parameters and buffers, in the same order.
        """
        return model

    def fit(self, views: "Views") -> None:
        """Tell the mixer how spectrograms are normalised, as ``(dB - mean) / std``: power is mixed without it."""
        for name in ("mean", "std"):
            if hasattr(self.mixer, name):
                setattr(self.mixer, name, getattr(views, name))

    def after_step(self, model: nn.Module) -> None:
        """Run once the optimiser has moved the model. Teachers are updated here."""

    def logs(self) -> dict[str, Tensor]:
        """Return what else the last step is known by, NaN where there is nothing to say.

        A value is a number, reported as its mean, or one for each class (K,): counts, which are summed over processes
        and have the columns ``NAME_CLASS``.
        """
        return self._logs

    def batch_mean(self, values: Tensor) -> Tensor:
        """Return the mean over the whole batch, of all processes, of values (B, ...), without gradient."""
        return self.gather(values.detach()).mean(0)

    def one_hot(self, target: Tensor) -> Tensor:
        """Return class ids (B,) as labels (B, K), float32."""
        return nn.functional.one_hot(target, self.num_classes).float()

    def mix_views(self, x: Tensor, other: Tensor | None, progress: float, generator: Any) -> tuple[Tensor, Plan]:
        """Mix a batch within itself or with `other`; return it and the plan that its labels must follow."""
        assert self.mixer is not None
        mixed = self.mixer(x, other=other, progress=progress, generator=generator)
        return mixed.x, mixed.plans[0]


REGISTRY: Registry[type[Algorithm]] = Registry(
    "method", __name__.rpartition(".")[0], "audiomix.algorithms", base=Algorithm, positional=2, skip=("base",)
)


def _alone(x: Tensor) -> Tensor:
    return x
