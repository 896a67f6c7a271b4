r"""MADAug: a policy learns which operations, how strong, by how much they help on clips held out for it.

.. math:: p = \mathrm{softmax}(W_p h(x) / T), \quad m = \sigma(W_m h(x)), \quad
          \tilde x = \sum_k p_k A_k(x, m_k)

          \theta'(\phi) = \theta - \alpha \nabla_\theta H(y, f_\theta(\tilde x_\phi)), \qquad
          \min_\phi H(y_\mathrm{val}, f_{\theta'(\phi)}(x_\mathrm{val}))

h are the network's features, phi = (W_p, W_m) the policy. That is the search, every few steps with T = 1; the gradient
goes through one unrolled step of the network to the policy alone. An operation's gradient in its magnitude is taken to
be 1 in every cell (straight-through). Training itself draws two operations for each clip in proportion to p, without
replacement, changes their magnitudes at random and applies them one after the other, to a share of the clips that rises
with the training, min(tanh(5 progress) + 0.01, 1).

Source: Hou, Zhang and Zhou, "When to Learn What: Model-Adaptive Data Augmentation Curriculum", ICCV 2023, and its code.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiomix import check, draw
from audiomix.transforms import operations
from audiomix.transforms.operations import Group, Operation

from ...models._modes import random_state
from ._frozen import call_with, features_of, one_hot, soft_cross_entropy
from .base import LearnedMixing, ReadClips

__all__ = ["MADAug", "augmented_share", "follow_gradient", "jitter", "search_loss"]

_LONGEST = 5.0  # norm that the unrolled step's gradient is cut to, as in the code


class MADAug(LearnedMixing):
    """Augment by a policy that is learned from the loss on held-out clips.

    Parameters
    ----------
    every : int
        Steps from one search to the next; 3 for CIFAR, 5 for SVHN in the paper.
    inner_lr : float
        Learning rate of the unrolled step.
    temperature : float
        T of training; a search has 1.
    drawn : int
        Operations of a clip.
    validation : float
        Share of the labelled clips that are held out for the search, at least one of each class of several. With 0 none
        is: the second half of each batch takes their place, and the policy sees a loss that is smaller than on new
        clips.
    operations : tuple of str
        By default all of `audiomix.transforms.operations` that change spectrograms.

    Deviations
    ----------
    - The operations are those for log spectrograms, and are mixed there: the sum of shifted or inverted waveforms would
      cancel.
    - The policy is trained from the first step. The code waits for more epochs than its scripts have, so that there it
      never learns.
    - 5 x progress stands for the paper's epoch / 40 of 200 epochs. The optimiser is the run's.
    """

    needs_features = True
    compiles = False  # torch.compile has no gradient of a gradient
    steps: Tensor

    def __init__(
        self,
        *,
        every: int = 3,
        inner_lr: float = 0.1,
        temperature: float = 3.0,
        drawn: int = 2,
        validation: float = 0.2,
        operations: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__()
        self.every, self.drawn = check.integer("every", every, 1), check.integer("drawn", drawn, 1)
        self.inner_lr = _positive("inner_lr", inner_lr)
        self.temperature = _positive("temperature", temperature)
        self.validation = check.fraction("validation", validation)
        self.operations = _make_operations(operations)
        if drawn > len(self.operations):
            check.fail("drawn", f"at most {len(self.operations)}, the operations", drawn)
        self.unit = 1.0  # what a decibel is in the network's input
        self.held_out = torch.zeros(0, dtype=torch.bool)
        self._read: ReadClips | None = None
        self._logs: dict[str, Tensor] = {}

    def setup(self, model: nn.Module, num_classes: int, clips: int, seed: int) -> None:
        """Make the policy; see `LearnedMixing.setup`."""
        super().setup(model, num_classes, clips, seed)
        head: Any = model.head
        with random_state(seed, "madaug"):
            self.policy = nn.Linear(head.in_features, 2 * len(self.operations))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self._seed = seed

    def fit(self, mean: float, std: float) -> None:
        """Take in the unit of the spectrograms; see `LearnedMixing.fit`."""
        self.unit = 1 / std

    def take_clips(self, read: ReadClips, labels: Tensor) -> None:
        """Draw which clips are held out for the search; see `LearnedMixing.take_clips`."""
        self._read, labels = read, labels.cpu()
        self.held_out = torch.zeros(len(labels), dtype=torch.bool)
        if not self.validation:
            return
        generator = draw.generator_for(self._seed, "madaug", "validation")
        for c in labels.unique().tolist():
            members = (labels == c).nonzero()[:, 0]
            count = min(max(1, round(self.validation * len(members))), len(members) - 1)
            self.held_out[members[draw.permutation(len(members), generator=generator)[:count]]] = True
        if not bool(self.held_out.any()):
            slip = "--mixing madaug:validation=0 searches on clips that are trained on"
            check.fail("labelled", "two clips of a class or more: the search takes one", "one of each", slip)

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
        """Return the terms ``labelled`` and ``search``, which is 0 in steps without one; see `LearnedMixing.losses`."""
        if len(self.held_out):
            free = (~self.held_out)[index.cpu()].to(x.device)
            x, target = x[free], target[free]
        zero = torch.zeros((), device=x.device)
        self._logs = {"search_loss": zero.new_full((), torch.nan), "augmented": zero}
        if len(x) < 2:  # a batch of clips that are held out: nothing is trained, nor are running statistics moved
            still = torch.stack([p.sum() for p in model.parameters() if p.requires_grad]).sum()
            return {"labelled": 0.0 * still, "search": zero}
        search = zero
        if int(self.steps) % self.every == 0:
            search = self._search(model, x, target, generator)
            self._logs["search_loss"] = search.detach()
        logits = model(self._augment(model, x, progress, generator))
        return {"labelled": F.cross_entropy(logits, target), "search": search}

    def _policy(self, model: nn.Module, x: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """Return the weights and the magnitudes of the operations for each clip, each (B, K)."""
        weights, magnitudes = self.policy(features_of(model, x)).float().chunk(2, 1)
        return (weights / temperature).softmax(1), magnitudes.sigmoid()

    def _search(self, model: nn.Module, x: Tensor, target: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return the loss on held-out clips after an unrolled step: its gradient reaches the policy alone."""
        if self.validation:
            x_valid, valid = self._held_out_clips(len(x), generator)
        else:
            half = len(x) // 2
            x, x_valid, target, valid = x[:half], x[half:], target[:half], target[half:]
        weights, magnitudes = self._policy(model, x, 1.0)
        mixed = torch.zeros_like(x)
        for k, operation in enumerate(self.operations):
            signed = _signs(operation, len(x), generator).to(x.device)
            changed = self._change(operation, x, (signed * magnitudes[:, k]).detach(), generator)
            changed = follow_gradient(changed, magnitudes[:, k])
            mixed = mixed + weights[:, k].view(-1, 1, 1, 1).to(x) * changed
        return search_loss(model, mixed, target, x_valid, valid, self.num_classes, self.inner_lr)

    def _held_out_clips(self, most: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        assert self._read is not None
        places = self.held_out.nonzero()[:, 0]
        return self._read(places[draw.permutation(len(places), generator=generator)[:most]])

    @torch.no_grad()
    def _augment(self, model: nn.Module, x: Tensor, progress: float, generator: torch.Generator | None) -> Tensor:
        """Return the clips, some of them augmented by operations that the policy draws."""
        weights, magnitudes = self._policy(model, x, self.temperature)
        u = draw.uniform(0, 1, len(self.operations) * len(x), generator=generator).view(len(x), -1)
        # without replacement, in proportion to the weights: the largest of log p plus Gumbel noise
        order = (weights.cpu().double().log() - (-u.clamp(min=1e-12).log()).log()).argsort(1, descending=True)
        strong = jitter(magnitudes.cpu().double(), generator)
        taken = draw.uniform(0, 1, len(x), generator=generator) < augmented_share(progress)
        out = x.clone()
        for slot in range(self.drawn):
            for k, operation in enumerate(self.operations):
                rows = ((order[:, slot] == k) & taken).nonzero()[:, 0]
                if len(rows):
                    signed = strong[rows, k] * _signs(operation, len(rows), generator)
                    there = rows.to(x.device)
                    out[there] = self._change(operation, out[there], signed, generator)
        self._logs["augmented"] = taken.float().mean()
        return out

    def _change(self, operation: Operation, x: Tensor, level: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return clips changed by an operation, at levels (B,) in [-1, 1]; those at 0 stay."""
        numbers = draw.uniform(0, 1, len(x) * operation.numbers, generator=generator).view(len(x), -1).double()
        valid = torch.full((len(x),), x.shape[-1])
        level = level.cpu().double()
        group = Group(x, torch.where(level == 0, 1e-6, level), numbers, valid, "spectrogram", 0, self.unit)
        return torch.where((level != 0).view(-1, 1, 1, 1).to(x.device), operation.apply(group), x)

    def cost_period(self, batch: int) -> int:
        """Return the steps from one search to the next; see `LearnedMixing.cost_period`."""
        return self.every

    def after_step(self, model: nn.Module) -> None:
        """Count the step; see `LearnedMixing.after_step`."""
        self.steps += 1

    def logs(self) -> dict[str, Tensor]:
        """Return the loss of a search, where there was one, and the share of augmented clips."""
        return self._logs


def search_loss(
    model: nn.Module, x: Tensor, target: Tensor, x_valid: Tensor, valid: Tensor, num_classes: int, lr: float
) -> Tensor:
    """Return the loss on held-out clips after one step of gradient descent on others; the network stays as it is.

    Parameters
    ----------
    model : nn.Module
        The network; no gradient reaches it.
    x, target : Tensor, shapes (B, ...) and (B,)
        Clips of the unrolled step, whose gradient is wanted, and their classes.
    x_valid, valid : Tensor, shapes (V, ...) and (V,)
        Held-out clips and their classes.
    num_classes : int
        K.
    lr : float
        Of the unrolled step. A gradient longer than 5 is scaled to that length.
    """
    start = {name: p.detach().requires_grad_() for name, p in model.named_parameters() if p.requires_grad}
    rest = {name: p.detach() for name, p in model.named_parameters() if not p.requires_grad}
    loss = soft_cross_entropy(call_with(model, start | rest, x), one_hot(target, num_classes)).mean()
    gradients = torch.autograd.grad(loss, list(start.values()), create_graph=True, allow_unused=True)
    length = torch.stack([g.detach().square().sum() for g in gradients if g is not None]).sum().sqrt()
    scale = lr * min(1.0, _LONGEST / max(float(length), 1e-12))
    moved = {name: p if g is None else p - scale * g for (name, p), g in zip(start.items(), gradients)}
    logits = call_with(model, moved | rest, x_valid)
    return soft_cross_entropy(logits, one_hot(valid, num_classes)).mean()


def follow_gradient(changed: Tensor, magnitude: Tensor) -> Tensor:
    """Return changed clips (B, ...) as they are, with a gradient of 1 of every cell in the magnitude (B,).

    Examples
    --------
    >>> magnitude = torch.tensor([0.5], requires_grad=True)
    >>> follow_gradient(torch.ones(1, 1, 2, 3), magnitude).sum().backward()
    >>> magnitude.grad
    tensor([6.])
    """
    column = magnitude.view(-1, *[1] * (changed.ndim - 1)).to(changed)
    return changed.detach() + (column - column.detach())


def augmented_share(progress: float) -> float:
    """Return the share of clips that are augmented at a fraction of the training in [0, 1].

    Examples
    --------
    >>> [round(augmented_share(progress), 4) for progress in (0.0, 0.2, 1.0)]
    [0.01, 0.7716, 1.0]
    """
    return min(math.tanh(5 * progress) + 0.01, 1.0)


def jitter(magnitudes: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return magnitudes in [0, 1], each changed by up to 0.3 to either side.

    Parameters
    ----------
    magnitudes : Tensor
        In [0, 1].
    generator : torch.Generator, optional
        Of the changes.
    """
    change = draw.uniform(-0.3, 0.3, magnitudes.numel(), generator=generator).view(magnitudes.shape)
    return (magnitudes + change.to(magnitudes)).clamp(0, 1)


def _signs(operation: Operation, size: int, generator: torch.Generator | None) -> Tensor:
    """Return -1 or 1 for each clip, 1 for operations without two directions; (B,), float64."""
    if not operation.symmetric:
        return torch.ones(size, dtype=torch.float64)
    return torch.where(draw.bernoulli(0.5, size, generator=generator), 1.0, -1.0).double()


def _positive(name: str, value: float) -> float:
    if not check.number(name, value, 0):
        check.fail(name, "above 0", value)
    return float(value)


def _make_operations(names: tuple[str, ...] | None) -> list[Operation]:
    found = [operations.make(name) for name in (operations.available() if names is None else names)]
    fitting = [one for one in found if "spectrogram" in one.domains]
    if names is not None and len(fitting) < len(found):
        got = [name for name, one in zip(names, found) if one not in fitting]
        check.fail("operations", "those for spectrograms", ", ".join(got))
    return fitting
