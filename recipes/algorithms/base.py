"""The base class of all methods: a method returns the terms of its objective, as equations."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from audiomix import check
from audiomix.mixer import Mixer
from audiomix.plan import Plan
from audiomix.registry import Registry

from ..data.batch import Labelled, Unlabelled
from ..data.views import Views
from ..training.choices import Choice, Facts
from ..training.config import Config
from ..training.mixing.base import ReadClips

__all__ = ["REGISTRY", "Algorithm", "Labelled", "Unlabelled"]


class Algorithm(nn.Module):
    """Base of all methods. Anything worth saving is a buffer or a submodule, so ``state_dict()`` carries it.

    The options of a method are keyword-only arguments of its constructor.

    Parameters
    ----------
    num_classes : int
        K, the number of classes.
    mixer : Mixer, optional
        Mixes the batches; the method decides which of them. Only for methods that declare `uses_mixer`.

    Attributes
    ----------
    uses_mixer : bool
        Whether `losses` mixes batches with `mixer`. Where it does not, a mixer is refused before any work.
    takes_mixing : bool
        Whether its mixer may also be a transform, or a learned mixing of `recipes.training.mixing`.
    needs_unlabelled : bool
        Whether there must be unlabelled clips; a method without gets None for them.
    needs_features : bool
        Whether the network must have `features` and `head`; an option may set it for an instance.
    mixing : dict
        Options that a mixer is made with unless the user gives others.
    default_mixers : dict of str to str
        Mixer of a run that names none, by preset, "" for all other presets: for methods that mix by definition.
    presets, configs : dict of str to dict
        By preset, options beyond the constructor's defaults, and fields of `Config` other than the preset's.
    embedding_options : dict
        Options that differ where a run has embeddings (B, D) instead of spectrograms.
    weak_views, strong_views : int
        Number of views of each unlabelled clip; an option may set them for an instance.
    seed, labelled_clips : int
        The run's seed, for first weights that `setup` draws, and its number of labelled clips. The run sets both before
        `setup`.
    prior : Tensor, shape (K,)
        How frequent the classes are among the unlabelled clips, as far as the run knows; uniform until `set_prior`. A
        method that aligns its predictions takes it for the target. It is not saved: the configuration gives it again.

    Raises
    ------
    ValueError
        A mixer is given to a method that uses none.

    Deviations
    ----------
    - The network is the founding study's wide residual network, for spectrograms, in place of the papers' networks for
      small pictures. Its batch norm has torch's momentum of 0.1; WRN-28-2 of the methods since MixMatch has 0.001.
    - Views are the founding study's views of sound (silence in a part, another speed, a rectangle cut out of the
      spectrogram), in place of crops, flips, RandAugment and CTAugment.
    - The training is about as long as the founding study's: 2,760 to 3,200 steps on ESC-10 (the study: 2,700) in place
      of 2^20 (MixMatch and all since) or hundreds of epochs of CIFAR-10. The course of the learning rate and all ramps
      are the paper's shares of the training.
    - A batch that is larger than its set of clips holds a clip several times, each time in a view of its own: with 30
      labels each is in a batch of 64 one to three times. The papers' sets were as small (40 labels), their batches too.
    - The running average (EMA) starts with the decay (1 + i) / (10 + i) of step i, up to the paper's; the authors' has
      the whole decay from the first step on, which suits trainings of a million steps. Batch norm's running statistics
      are averaged too.

    Notes
    -----
    In a run of several processes each process draws for its own slice of the batch: partners and weights of a mixer,
    ReMixMatch's turns, AdaMatch's interpolation shares, VAT's first changes. Deep Co-Training halves the labelled clips
    of each slice, and CoMatch compares strong views within it. So a method that mixes (MixMatch and ReMixMatch do by
    default), ReMixMatch's turns, VAT, Deep Co-Training and CoMatch give other numbers than in one process, and partners
    are never of another slice. Statistics of pseudo-labels and labels are
    those of the whole batch in all methods.
    """

    uses_mixer: ClassVar[bool] = False
    takes_mixing: ClassVar[bool] = False
    needs_unlabelled: ClassVar[bool] = True
    needs_features: bool = False
    mixing: ClassVar[dict[str, Any]] = {}
    default_mixers: ClassVar[dict[str, str]] = {}
    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    configs: ClassVar[dict[str, dict[str, Any]]] = {}
    embedding_options: ClassVar[dict[str, Any]] = {}
    weak_views: int = 1
    strong_views: int = 1
    seed: int = 0
    labelled_clips: int = 1
    prior: Tensor

    def __init__(self, num_classes: int, mixer: Mixer | None = None) -> None:
        super().__init__()
        self.num_classes = check.integer("num_classes", num_classes, 1)
        self.register_buffer("prior", torch.full((self.num_classes,), 1 / self.num_classes), persistent=False)
        if mixer is not None:
            self.check_mixer(type(mixer).__name__)
        self.mixer = mixer
        self._logs: dict[str, Tensor] = {}
        # Joins the tensors (B, ...) of all processes of a run, without gradient; the engine sets it.
        self.gather: Callable[[Tensor], Tensor] = _identity

    @classmethod
    def check_mixer(cls, mixer: str | None) -> None:
        """Raise if a mixer is named and the method uses none: it would train unmixed and be reported as mixed.

        Raises
        ------
        ValueError
            The class does not declare `uses_mixer`.
        """
        if mixer is not None and not cls.uses_mixer:
            slip = "leave out --mixer; a method that mixes declares uses_mixer = True"
            check.fail("mixer", f"none for {cls.name()}, which mixes nothing", mixer, slip)

    @classmethod
    def name(cls) -> str:
        """Return the name by which the method is chosen."""
        return REGISTRY.name_of(cls)

    @classmethod
    def choose_options(cls, options: dict[str, Any], facts: Facts) -> tuple[dict[str, Any], list[Choice]]:
        """Return the options of a run on data with such facts, and what was chosen among them; by default nothing is.

        Called before a run, once more on what it returned itself: what is chosen stays.
        """
        return dict(options), []

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
        labelled : Labelled
            The labelled clips of the step.
        unlabelled : Unlabelled or None
            Views of the unlabelled clips of the step; None for a method without `needs_unlabelled`.
        progress : float
            Fraction of the training in [0, 1], for schedules.
        generator : torch.Generator, optional
            Source of everything that the method draws itself.

        Returns
        -------
        dict of str to Tensor
            Scalars.
        """
        raise NotImplementedError(f"{type(self).__name__}.losses")

    def setup(self, model: nn.Module, make_network: Callable[[str], nn.Module], unlabelled: int) -> None:
        """Make what is trained or kept besides the network; called once, before the optimiser is made.

        Submodules made here are trained if their parameters require gradients, and everything is saved. A check before
        the run calls it too, on networks that are thrown away.

        Parameters
        ----------
        model : nn.Module
            With `features`, (B, 1, F, N) to (B, D), and `head`, a linear layer on them.
        make_network : callable
            ``make_network("second")`` returns another network of the same kind, with first weights by seed and name
            (with weights from a file, those of its head do).
        unlabelled : int
            Number of unlabelled clips.
        """

    def select_reported(self, model: nn.Module) -> nn.Module:
        """Return the network whose error is the method's: the trained one, `model`, or a teacher."""
        return model

    def select_averaged(self, model: nn.Module) -> nn.Module:
        """Return the network whose running average (EMA) is kept, and its error reported too; by default `model`.

        Called after every step: it must have the same parameters and buffers each time, in the same order.
        """
        return model

    def check_config(self, config: Config) -> None:
        """Raise, before anything is made, where the method cannot do what the run's configuration asks for.

        Raises
        ------
        ValueError
            An option that has no effect in this run, or a batch too small for the method.
        """

    def require_mixer(self, name: str, given: bool) -> None:
        """Raise if `name`, an option that says how a mixer is used, is given where there is none."""
        if given and self.mixer is None:
            check.fail(name, "used with a mixer", "none", "--mixer mixup")

    def fit(self, views: Views) -> None:
        """Take in how the front end normalises: the network's input is ``(dB - views.mean) / views.std``.

        Called once, before `setup`.
        """

    def set_prior(self, prior: Tensor) -> None:
        """Take in the share of each class (`recipes.training.prior.class_prior`); called once, before the first step.

        Parameters
        ----------
        prior : Tensor, shape (K,)
            Above 0, and summing to 1.

        Raises
        ------
        ValueError
            Shares of another number of classes.
        """
        if prior.shape != self.prior.shape:
            check.fail("prior", f"a share of each of the {self.num_classes} classes", f"shape {tuple(prior.shape)}")
        self.prior.copy_(prior)

    def take_clips(self, read: ReadClips, labels: Tensor) -> None:
        """Take in where the labelled clips are read from; called once, before the first step.

        Parameters
        ----------
        read : callable
            Positions (M,) among the labelled clips to the network's input without any change, and their classes.
        labels : Tensor, shape (N,), int64
            Classes of all labelled clips.
        """

    def after_step(self, model: nn.Module) -> None:
        """Run once the optimiser has moved `model`; teachers are updated here."""

    def logs(self) -> dict[str, Tensor]:
        """Return further values of the last step for ``metrics.csv``, NaN where one is unknown.

        A value is a scalar, reported as its mean, or (K,): counts by class, which are summed over processes and have
        the columns ``NAME_CLASS``.
        """
        return self._logs

    def batch_mean(self, values: Tensor) -> Tensor:
        """Return the mean over the batches of all processes of `values` (B, ...), without gradient."""
        return self.gather(values.detach()).mean(0)

    def one_hot(self, target: Tensor) -> Tensor:
        """Return labels (B, K), float32, of classes (B,), int64."""
        return nn.functional.one_hot(target, self.num_classes).float()

    def mix_views(
        self, x: Tensor, other: Tensor | None, progress: float, generator: torch.Generator | None
    ) -> tuple[Tensor, Plan]:
        """Mix a batch; return it and the plan, which its labels must follow.

        Parameters
        ----------
        x : Tensor, shape (B, 1, F, N)
            The originals.
        other : Tensor, shape (B', 1, F, N), or None
            Where the partners come from; None for the batch itself.
        progress, generator
            See `losses`.
        """
        assert self.mixer is not None
        mixed = self.mixer(x, other=other, progress=progress, generator=generator)
        return mixed.x, mixed.plans[0]


REGISTRY: Registry[type[Algorithm]] = Registry(
    "method", __name__.rpartition(".")[0], "audiomix.algorithms", base=Algorithm, positional=2, skip=("base",)
)


def _identity(x: Tensor) -> Tensor:
    return x
