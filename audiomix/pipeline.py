"""Mixers among other modules: `Pipeline`."""

import inspect
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from . import check, draw
from .arguments import Recorded, copy_type
from .axes import turn
from .clips import Sampler, sample_other, take_notes
from .draw import Generator
from .mixed import Mixed, Plans
from .mixer import Mixer
from .plan import Plan
from .targets import labels

__all__ = ["Pipeline"]


class Pipeline(Recorded, nn.Module):
    """Hand a batch through any tensor-to-tensor modules, mixers and transforms.

    Parameters
    ----------
    modules : sequence of nn.Module
        torchaudio's transforms, networks, mixers and transforms (`audiomix.Transform`), in order. Behind a mixer that
        moves beats (`BeatMix` with a cross-fade, or not keeping the original's length) none may ask for beats.
    num_classes : int, optional
        With it the target that comes back is always float (B, K).

    Notes
    -----
    Valid lengths are carried as fractions of the time axis across modules that change the rate or make frames: of the
    last axis, or, next to mixers and transforms with ``time_axis=-2``, of the one before. A module
    whose `forward` takes ``lengths`` (``T.Speed``) is given them, and may return its own beside the tensor. One plan
    per mixer or transform is collected; `plans=` replays them. Transforms change `x` alone, not `other`. A module that
    draws random numbers of its own (``T.TimeMasking``) is allowed; replay then refuses, since it could not repeat them.
    In ``eval()`` torchaudio's augmentations (``TimeMasking``, ``FrequencyMasking``, ``SpecAugment``,
    ``SpeedPerturbation``) are left out: on their own, or inside of another module, they go on in validation and spoil
    it. A chain with masks of torchaudio is made with a warning that says so and names `audiomix.SpecAugment`. Another
    module that draws random numbers in ``eval()`` is run, with a warning.

    See Also
    --------
    audiomix.OneOf : one of several.

    Examples
    --------
    >>> from audiomix import CutMix, MixUp
    >>> from audiomix.torchaudio import transforms as T
    >>> chain = Pipeline([T.Resample(44100, 16000), MixUp(0.4), T.MelSpectrogram(16000, n_mels=40), CutMix("time")],
    ...                  num_classes=10)
    >>> mixed = chain(torch.randn(4, 1, 44100), torch.arange(4))
    >>> mixed.x.shape, mixed.target.shape, len(mixed.plans)
    (torch.Size([4, 1, 40, 81]), torch.Size([4, 10]), 2)
    """

    def __init__(self, modules: Sequence[nn.Module], *, num_classes: int | None = None) -> None:
        super().__init__()
        for module in modules:
            check.one_of_types("modules", module, nn.Module, "nn.Modules (a function? wrap it in a Module)")
        _check_beats(modules)
        _warn_of_masks(modules)
        self.stages = nn.ModuleList(modules)
        self.num_classes = None if num_classes is None else check.integer("num_classes", num_classes, 1)

    @property
    def mixers(self) -> list[Mixer]:
        """The mixers and transforms of the chain, in order."""
        return [m for m in self.stages if isinstance(m, Mixer)]

    @property
    def rates(self) -> frozenset[int]:
        """The sampling rates, in Hz, that the mixers in front of all other modules are for."""
        found: frozenset[int] = frozenset()
        for stage in self.stages:
            if not isinstance(stage, Mixer):
                break
            found |= stage.rates
        return found

    def forward(
        self,
        x: Tensor,
        target: Tensor | None = None,
        *,
        lengths: Tensor | None = None,
        other: Tensor | Sampler | None = None,
        other_target: Tensor | None = None,
        other_lengths: Tensor | None = None,
        eligible: Tensor | None = None,
        generator: Generator = None,
        progress: float | None = None,
        plans: Sequence[Plan] | Plans | None = None,
        **notes: Any,
    ) -> Mixed:
        """Run the chain.

        Parameters
        ----------
        x, target, lengths, other, other_target, other_lengths, eligible, generator, progress
            As for `audiomix.Mixer.forward`: of the chain's input. `other` goes through the same modules as `x`.
        plans : sequence of Plan, optional
            Replay these, one for each mixer.
        **notes : Any
            As for `audiomix.Mixer.forward`; every mixer gets them.
        """
        check.batch("x", check.floating("x", x))
        if progress is not None:
            check.number("progress", progress, 0, 1, slip="a fraction of the training, not a step or an epoch")
        draw.check_generator(generator)
        sides: dict[str, Any] = {"other": other, "other_target": other_target, "other_lengths": other_lengths}
        sides |= sample_other(x, sides, self, generator, plans)
        second: Tensor | None = sides["other"]
        other_lengths = sides["other_lengths"]
        take_notes(notes, "a pipeline", "plans")
        if plans is not None and len(plans) != len(self.mixers):
            check.fail("plans", f"{len(self.mixers)} plans, one per mixer", f"{len(plans)}")
        axis = self._axis(0, -1)
        lengths = None if lengths is None else check.lengths("lengths", lengths, _time_last(x, axis))
        if second is not None and other_lengths is not None:
            other_lengths = check.lengths("other_lengths", other_lengths, _time_last(second, axis))
        if self.num_classes is not None:
            target = target if target is None else labels.to_float("target", target, self.num_classes)
            if other_target is not None:
                other_target = labels.to_float("other_target", other_target, self.num_classes)
        drawn: list[Plan] = []
        for number, module in enumerate(self.stages):
            if isinstance(module, Mixer):
                mixed = module(
                    x,
                    target,
                    lengths=lengths,
                    other=second,
                    other_target=other_target,
                    other_lengths=other_lengths,
                    eligible=eligible,
                    generator=generator,
                    progress=progress,
                    plan=None if plans is None else plans[len(drawn)],
                    **notes,
                )
                x, target, lengths = mixed.x, mixed.target, mixed.lengths
                drawn.extend(mixed.plans)
            elif self.training or not _augments(module):
                axes = (axis, self._axis(number + 1, axis))
                x, lengths = self._through(number, x, lengths, axes, replay=plans is not None)
                if second is not None:
                    second, other_lengths = self._through(
                        number, second, other_lengths, axes, replay=plans is not None
                    )
            axis = self._axis(number + 1, axis)
        return Mixed(x, target, Plans(drawn), lengths)

    if TYPE_CHECKING:

        @copy_type(forward)
        def __call__(self) -> Any:
            """See `forward`."""

    def _axis(self, number: int, axis: int) -> int:
        """Return which axis is time before a stage: a mixer says so, elsewhere it is the one before."""
        stage = self.stages[number] if number < len(self.stages) else None
        return stage.input_axis if isinstance(stage, Mixer) else axis

    def _through(
        self, number: int, x: Tensor, lengths: Tensor | None, axes: tuple[int, int], *, replay: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Run one module; carry the valid lengths as fractions of the time axis, or take those that it returns."""
        module = self.stages[number]
        name = f"module {number} ({type(module).__name__})"
        before = _random_state(x) if replay or not self.training else []
        y = module(x, lengths=lengths) if lengths is not None and _takes_lengths(module) else module(x)
        if any(not torch.equal(a, b) for a, b in zip(before, _random_state(x))):
            if replay:
                raise ValueError(
                    f"plans cannot be replayed: {name} drew random numbers of its own, which no plan holds; "
                    "leave it out, or apply it behind the pipeline"
                )
            text = f"{name} draws random numbers in eval() too, so that validation is not repeatable"
            warnings.warn(f"{text}: leave it out there, or let its forward look at self.training", stacklevel=3)
        returned = None
        if isinstance(y, tuple) and len(y) == 2 and _are_lengths(y[1], len(x)):
            y, returned = y
        if not isinstance(y, Tensor) or len(y) != len(x):
            got = f"{tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
            check.fail(name, f"tensor to tensor, or to (tensor, lengths), {len(x)} items", got)
        if returned is not None:
            after = _time_last(y, axes[1])
            return y, check.lengths(f"the lengths of {name}", returned.clamp(max=after.shape[-1]), after)
        if lengths is None or (y.ndim <= 2 < x.ndim):  # an encoder left no time axis behind
            return y, None
        # rounded up, as Resample does and as frames that reach into the padding are; the epsilon undoes float division
        have, size = (_time_last(one, axis).shape[-1] for one, axis in zip((x, y), axes))
        return y, torch.ceil(lengths.double() * size / have - 1e-9).long().clamp(max=size)


def _time_last(x: Tensor, axis: int) -> Tensor:
    return turn(x) if axis == -2 else x


def _are_lengths(value: Any, size: int) -> bool:
    return value is None or (isinstance(value, Tensor) and value.shape == (size,) and not value.is_floating_point())


def _check_beats(modules: Sequence[nn.Module]) -> None:
    """Refuse a mixer on the beat behind one that cuts: the grids it would get are of the sounds as they were."""
    cut = ""
    for number, module in enumerate(modules):
        if not isinstance(module, Mixer):
            continue
        if cut and "beats" in module.needs.notes:
            what = f"module {number} ({type(module).__name__})"
            slip = "the beats it is given are those of the sounds before; keep='original', or mix it first"
            check.fail(what, "a mixer without beats, or behind mixers that keep lengths and beats", cut, slip)
        if module.needs.length == "free":
            cut = f"one behind module {number} ({type(module).__name__}), which changes them"


# What torchaudio applies in eval() too.
_MASKS = ("TimeMasking", "FrequencyMasking", "SpecAugment")
_AUGMENTATIONS = (*_MASKS, "SpeedPerturbation")


def _augments(module: nn.Module, names: Sequence[str] = _AUGMENTATIONS) -> bool:
    """Return whether a module is an augmentation of torchaudio, which is not imported for that."""
    kinds = type(module).__mro__
    return any(kind.__name__ in names and kind.__module__.startswith("torchaudio.") for kind in kinds)


def _warn_of_masks(modules: Sequence[nn.Module]) -> None:
    """Say what torchaudio's masks do in validation, and what does not."""
    for number, module in enumerate(modules):
        found = next((part for part in module.modules() if _augments(part, _MASKS)), None)
        if found is None:
            continue
        name = f"module {number} ({type(module).__name__})"
        if found is module:
            text = f"{name} goes on in eval() wherever it is called on its own, and no plan holds what it draws (this "
            text += "pipeline leaves it out in eval(), and refuses to replay it)"
        else:
            text = f"{name} holds a {type(found).__name__}, which goes on in eval() and so spoils validation"
        more = "audiomix.SpecAugment rests in eval(), is drawn as a plan, and stays within valid frames"
        warnings.warn(f"{text}: {more}", stacklevel=3)


def _takes_lengths(module: nn.Module) -> bool:
    try:
        return "lengths" in inspect.signature(module.forward).parameters
    except ValueError:  # a scripted module has no signature
        return False


def _random_state(x: Tensor) -> list[Tensor]:
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(x.device)] if x.is_cuda else states
