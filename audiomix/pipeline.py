"""Mixers among other modules, and mixers in a DataLoader: `Pipeline`, `Collate`, `Indexed`."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from . import check, draw
from .draw import Generator
from .mixer import CONTEXT, Mixer
from .plan import Mixed, Plan
from .targets import labels

__all__ = ["Collate", "Indexed", "Pipeline"]


class Pipeline(nn.Module):
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
        progress: float = 0.0,
        plans: Sequence[Plan] | None = None,
        **context: Any,
    ) -> Mixed:
        """Run the chain; arguments as for `audiomix.Mixer`, with `plans` (one per mixer) to replay."""
        check.batch("x", check.floating("x", x))
        check.number("progress", progress, 0, 1, slip="a fraction of the training, not a step or an epoch")
        draw.checked(generator)
        for name in context:
            if name not in CONTEXT:
                slip = "did you mean plans=?" if name == "plan" else f"per-item context is {', '.join(CONTEXT)}"
                raise TypeError(f"a pipeline takes no argument {name!r}: {slip}")
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
                    **context,
                )
                x, target, lengths = mixed.x, mixed.target, mixed.lengths
                drawn.extend(mixed.plans)
            else:
                x, lengths = _through(module, number, x, lengths, replay=plans is not None)
                if other is not None:
                    other, other_lengths = _through(module, number, other, other_lengths, replay=plans is not None)
        return Mixed(x, target, tuple(drawn), lengths)

    def _float(self, name: str, target: Tensor | None) -> Tensor | None:
        return target if target is None or target.ndim == 3 else labels.to_float(name, target, self.num_classes)


def _check_beats(modules: Sequence[nn.Module]) -> None:
    """Refuse a mixer on the beat behind one that cuts: the grids it would get are of the sounds as they were."""
    cut = ""
    for number, module in enumerate(modules):
        if not isinstance(module, Mixer):
            continue
        if cut and module.needs_beats:
            what = f"module {number} ({type(module).__name__})"
            slip = "the beats it is given are those of the sounds before; keep='original', or mix it first"
            check.fail(what, "a mixer without beats, or behind mixers that keep lengths and beats", cut, slip)
        if module.changes_length:
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


class _Item(NamedTuple):
    id: Any
    value: Any


class Indexed(Dataset):
    """A data set whose items carry their index, so that `Collate` knows which clips a batch holds.

    Parameters
    ----------
    dataset : map-style data set
        With ``__getitem__`` and ``__len__``; items ``(wave, label)`` or ``wave``.
    """

    def __init__(self, dataset: Any) -> None:
        for method in ("__getitem__", "__len__"):
            if not hasattr(dataset, method):
                check.fail("dataset", "map-style (__getitem__ and __len__)", type(dataset).__name__, "use key=")
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> _Item:
        return _Item(index, self.dataset[index])


class Collate:
    """Collate clips into a batch and mix it, the same whatever the order, the workers, the epochs before or a resume.

    The generator of a batch comes from a keyed hash of (seed, epoch, ids of its clips). A generator object handed to a
    DataLoader would be copied into every worker, and all would draw the same numbers.

    Parameters
    ----------
    mixer : Mixer or Pipeline
    seed : int
    key : callable, optional
        ``item -> id``; by default items come from `Indexed`.

    Notes
    -----
    Items are ``(wave, label, ...)`` or ``wave``; waves (T,) or (C, T) of different lengths are padded with zeros, and
    their valid lengths passed on. Call `set_epoch` before each epoch; it reaches persistent workers too.

    Examples
    --------
    >>> from torch.utils.data import DataLoader
    >>> from audiomix import MixUp
    >>> clips = [(torch.randn(1, 1000 + 100 * i), i) for i in range(8)]
    >>> collate = Collate(MixUp(0.4, num_classes=8), seed=0)
    >>> loader = DataLoader(Indexed(clips), batch_size=4, collate_fn=collate)
    >>> for epoch in range(2):
    ...     collate.set_epoch(epoch)
    ...     shapes = [tuple(mixed.x.shape) for mixed in loader]
    >>> shapes
    [(4, 1, 1300), (4, 1, 1700)]
    """

    def __init__(self, mixer: nn.Module, *, seed: int = 0, key: Callable[[Any], Any] | None = None) -> None:
        self.mixer = check.one_of_types("mixer", mixer, (Mixer, Pipeline), "a Mixer or a Pipeline")
        self.seed = check.integer("seed", seed)
        self.key = key
        # shared memory: seen by workers that live on from epoch to epoch
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._progress = torch.zeros((), dtype=torch.float64).share_memory_()

    def set_epoch(self, epoch: int, progress: float = 0.0) -> None:
        """Say which epoch begins and, for schedules, how far the training is; before the loop over the loader."""
        self._epoch.fill_(check.integer("epoch", epoch, 0))
        self._progress.fill_(check.fraction("progress", progress))

    def __call__(self, items: Sequence[Any]) -> Mixed:
        """Return the mixed batch."""
        if self.key is None:
            for item in items:
                if not isinstance(item, _Item):
                    slip = "wrap the data set in audiomix.Indexed, or give key="
                    check.fail("items", "to carry their ids", type(item).__name__, slip, TypeError)
        for item in items:
            if isinstance(item if self.key is not None else item.value, dict):
                check.fail("items", "(wave, label) or wave", "dict", "give a data set that returns tuples", TypeError)
        ids = [item.id if self.key is None else self.key(item) for item in items]
        values = [item.value if self.key is None else item for item in items]
        waves, targets = zip(*[(*v, None)[:2] if isinstance(v, (tuple, list)) else (v, None) for v in values])
        x, lengths = _padded([torch.as_tensor(w) for w in waves])
        generator = draw.generator_for(self.seed, int(self._epoch), *ids)
        return self.mixer(x, _stacked(targets), lengths=lengths, generator=generator, progress=float(self._progress))


def _padded(waves: list[Tensor]) -> tuple[Tensor, Tensor]:
    waves = [w[None] if w.ndim == 1 else w for w in waves]
    kinds = {tuple(w.shape[:-1]) for w in waves}
    if len(kinds) > 1:
        check.fail("waves", "of one number of channels", sorted(kinds), "mix them down to mono first")
    ends = [w.shape[-1] for w in waves]
    longest = max(ends)
    x = torch.stack([torch.nn.functional.pad(w, (0, longest - w.shape[-1])) for w in waves])
    return x, torch.tensor(ends)


def _stacked(targets: Sequence[Any]) -> Tensor | None:
    if all(t is None for t in targets):
        return None
    if any(t is None for t in targets):
        check.fail("items", "either all labelled or none", f"{sum(t is None for t in targets)} without a label")
    tensors = [torch.as_tensor(t) for t in targets]
    if len({t.shape for t in tensors}) > 1:
        slip = "frame labels of clips of different lengths? pad them first"
        check.fail("targets", "of one shape", sorted({tuple(t.shape) for t in tensors}), slip)
    stacked = torch.stack(tensors)
    if stacked.is_floating_point() and stacked.ndim == 1:
        return stacked[:, None]  # one regression value a clip
    return stacked
