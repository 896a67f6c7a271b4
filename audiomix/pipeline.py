"""Mixers among other modules: `Pipeline`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from . import check, draw
from .arguments import Recorded, called_as
from .clips import take_notes
from .draw import Generator
from .mixer import Mixer
from .plan import Mixed, Plan
from .targets import labels

__all__ = ["Pipeline"]


class Pipeline(Recorded, nn.Module):
    """Hand a batch through any tensor-to-tensor modules and any mixers.

    Parameters
    ----------
    modules : sequence of nn.Module
        torchaudio transforms, networks, mixers, in order. Behind a mixer that moves beats (`BeatMix` with a cross-fade,
        or not keeping the original's length) none may ask for beats.
    num_classes : int, optional
        With it the target that comes back is always float (B, K).

    Notes
    -----
    Valid lengths are carried as fractions of the last axis across modules that change the rate or make frames. One
    plan per mixer is collected; `plans=` replays them. A module that draws random numbers of its own
    (``T.TimeMasking``) is allowed; replay then refuses, since it could not repeat them.

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
        self.stages = nn.ModuleList(modules)
        self.num_classes = None if num_classes is None else check.integer("num_classes", num_classes, 1)

    @property
    def mixers(self) -> list[Mixer]:
        """The mixers of the chain, in order."""
        return [m for m in self.stages if isinstance(m, Mixer)]

    def forward(
        self,
        x: Tensor,
        target: Tensor | None = None,
        *,
        lengths: Tensor | None = None,
        other: Tensor | None = None,
        other_target: Tensor | None = None,
        other_lengths: Tensor | None = None,
        eligible: Tensor | None = None,
        generator: Generator = None,
        progress: float | None = None,
        plans: Sequence[Plan] | None = None,
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
        draw.checked(generator)
        take_notes(notes, "a pipeline", "plans")
        if plans is not None and len(plans) != len(self.mixers):
            check.fail("plans", f"{len(self.mixers)} plans, one per mixer", f"{len(plans)}")
        lengths = None if lengths is None else check.lengths("lengths", lengths, x)
        if other is not None and other_lengths is not None:
            other_lengths = check.lengths("other_lengths", other_lengths, other)
        if self.num_classes is not None:
            target, other_target = (self._float(n, t) for n, t in (("target", target), ("other_target", other_target)))
        drawn: list[Plan] = []
        for number, module in enumerate(self.stages):
            if isinstance(module, Mixer):
                mixed = module(
                    x,
                    target,
                    lengths=lengths,
                    other=other,
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
            else:
                x, lengths = _through(module, number, x, lengths, replay=plans is not None)
                if other is not None:
                    other, other_lengths = _through(module, number, other, other_lengths, replay=plans is not None)
        return Mixed(x, target, tuple(drawn), lengths)

    if TYPE_CHECKING:

        @called_as(forward)
        def __call__(self) -> Any:
            """See `forward`."""

    def _float(self, name: str, target: Tensor | None) -> Tensor | None:
        return target if target is None or target.ndim == 3 else labels.to_float(name, target, self.num_classes)


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


def _through(
    module: nn.Module, number: int, x: Tensor, lengths: Tensor | None, *, replay: bool
) -> tuple[Tensor, Tensor | None]:
    """Run one module; carry the valid lengths as fractions of the last axis."""
    before = _random_state(x) if replay else []
    y = module(x)
    if replay and any(not torch.equal(a, b) for a, b in zip(before, _random_state(x))):
        raise ValueError(
            f"plans cannot be replayed: module {number} ({type(module).__name__}) drew random numbers of its own, "
            "which no plan holds; leave it out, or apply it behind the pipeline"
        )
    if not isinstance(y, Tensor) or len(y) != len(x):
        got = f"{tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
        check.fail(f"module {number} ({type(module).__name__})", f"tensor to tensor, {len(x)} items", got)
    if lengths is None or (y.ndim <= 2 < x.ndim):  # an encoder left no time axis behind
        return y, None
    # rounded up, as Resample does and as frames that reach into the padding are; the epsilon undoes float division
    frames = torch.ceil(lengths.double() * y.shape[-1] / x.shape[-1] - 1e-9).long().clamp(max=y.shape[-1])
    return y, frames


def _random_state(x: Tensor) -> list[Tensor]:
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(x.device)] if x.is_cuda else states
