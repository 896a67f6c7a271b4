r"""Adversarial AutoMix: a generator of masks makes mixes that are hard for the classifier's running average.

.. math:: M_n = \mathrm{softmax}_n \sum_{m \ne n} \mathrm{softmax}(q_n k_m^\top / \sqrt{d}) \, v_m, \quad
          \tilde x = \sum_n M_n x_n

          L_f = H(\tilde y, f(\tilde x)) + \tfrac{1}{2} H(y, f(x)) + \tfrac{1}{2} H(\bar y, f(\textstyle\sum_n w_n x_n))

          L_g = H(\tilde y, t(\tilde x)) \text{ (odd steps)}, \quad
          -\beta H(\tilde y, t(\tilde x)) + (1 - \beta) \textstyle\sum_n w_n \cos(t(\tilde x), t(x_n)) \text{ (even)}

q, k and v are 1x1 convolutions of a feature map of the teacher t, the running average of the classifier f. f is trained
by the first loss alone, with masks of its own permutations and no gradient through them; the generator by the second
alone, through t, which no gradient moves. Masks sum to 1 in every cell.

Source: Qin et al., "Adversarial AutoMixup", ICLR 2024, and its code.
"""

import copy
import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiomix import check, draw

from ...models._modes import random_state
from ..ema import move_towards, tensors
from ._frozen import one_hot, soft_cross_entropy
from .base import LearnedMixing

__all__ = ["AdversarialAutoMix", "MaskGenerator", "find_map_layer"]

_PROBE = (2, 1, 64, 64)  # shape of the input by which the layer is chosen


class AdversarialAutoMix(LearnedMixing):
    """Mix two or three clips by masks that are learned against the classifier.

    Parameters
    ----------
    sources : int
        Clips of a mix, 2 or more.
    beta : float
        Share of the cross-entropy in the generator's loss of even steps; 0.3 for CIFAR, 0.1 for ImageNet in the paper.
    label : str
        ``area``: each clip counts by the mean of its mask. ``drawn``: by the drawn ratio, as in the paper's code, where
        the masks do not depend on it.
    margin : float
        Where a drawn ratio is below it, the classifier's masks are the constant ratios.
    decay, last_decay : float
        Of the teacher, at the start and at the end of the training; a cosine between them.
    clean, plain : float
        Weights of the clips' own loss, and of their mix without masks.
    layer : str
        Name of the network's module whose output is the feature map; by default the last of the size before the last.

    Deviations
    ----------
    - ``label="area"`` is ours: a label says what was mixed. No gradient goes through it.
    - The paper looks at the first ratio alone for `margin`; with three clips the others may be as small.
    - The teacher's decay starts as that of the run's average (EMA) does.
    - The optimiser of both networks is the run's.
    """

    updates: Tensor

    def __init__(
        self,
        *,
        sources: int = 3,
        beta: float = 0.3,
        label: Literal["area", "drawn"] = "area",
        margin: float = 0.03,
        decay: float = 0.999,
        last_decay: float = 0.999999,
        clean: float = 0.5,
        plain: float = 0.5,
        layer: str = "",
    ) -> None:
        super().__init__()
        self.sources, self.beta = check.integer("sources", sources, 2), check.fraction("beta", beta)
        self.label, self.margin = check.choice("label", label, ["area", "drawn"]), check.fraction("margin", margin)
        self.decay, self.last_decay = check.fraction("decay", decay), check.fraction("last_decay", last_decay)
        self.clean, self.plain = check.number("clean", clean, 0), check.number("plain", plain, 0)
        self.layer = layer
        self._progress = 0.0

    def setup(self, model: nn.Module, num_classes: int, clips: int, seed: int) -> None:
        """Copy the teacher and make the generator; see `LearnedMixing.setup`."""
        super().setup(model, num_classes, clips, seed)
        self.teacher = copy.deepcopy(model).eval().requires_grad_(False)
        self.layer, channels = find_map_layer(self.teacher, self.layer)
        with random_state(seed, "adversarial_automix"):
            self.generator = MaskGenerator(channels)
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def train(self, mode: bool = True) -> "AdversarialAutoMix":
        """Set the mode of the generator; the teacher stays in eval mode."""
        super().train(mode)
        if "teacher" in self._modules:
            self.teacher.eval()
        return self

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
        """Return the terms ``labelled``, ``clean``, ``plain`` and ``generator``; see `LearnedMixing.losses`."""
        if len(x) < 2:
            check.fail("batch_labelled", "2 or more, which are mixed", len(x))
        self._progress = progress
        y = one_hot(target, self.num_classes)
        maps = self._maps(x)
        rows, shares = self._draw(len(x), x, generator)
        with torch.no_grad():
            masks = self.generator(maps, rows, x.shape[-2:])
            if float(shares.min()) < self.margin:
                masks = shares.view(1, -1, 1, 1).expand_as(masks)
        mixed, mixed_y = self._mix(x, y, rows, masks, shares)
        plain, plain_y = self._mix(x, y, rows, shares.view(1, -1, 1, 1).expand_as(masks), shares)
        of_mixed, of_clean, of_plain = model(torch.cat([mixed, x, plain])).chunk(3)
        return {
            "labelled": soft_cross_entropy(of_mixed, mixed_y).mean(),
            "clean": self.clean * soft_cross_entropy(of_clean, y).mean(),
            "plain": self.plain * soft_cross_entropy(of_plain, plain_y).mean(),
            "generator": self._generator_loss(x, y, maps, generator),
        }

    def _generator_loss(self, x: Tensor, y: Tensor, maps: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return the loss of a step of the generator, whose gradient goes through the teacher, to the masks alone."""
        rows, shares = self._draw(len(x), x, generator)
        masks = self.generator(maps, rows, x.shape[-2:])
        mixed, mixed_y = self._mix(x, y, rows, masks, shares)
        logits = self.teacher(mixed)
        entropy = soft_cross_entropy(logits, mixed_y).mean()
        if int(self.updates) % 2:
            return entropy
        with torch.no_grad():
            own = self.teacher(x)
        weights = shares if self.label == "drawn" else masks.detach().mean((2, 3))
        alike = F.cosine_similarity(logits[:, None], own[rows.T], dim=-1)  # (B, N)
        return (1 - self.beta) * (weights * alike).sum(1).mean() - self.beta * entropy

    def _draw(self, size: int, x: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Return which clips are mixed, (N, B), and the ratios of the batch, (N,)."""
        rows = [draw.permutation(size, generator=generator) for _ in range(self.sources)]
        if self.sources == 2:
            rows[0] = torch.arange(size)
            shares = draw.uniform(0, 1, 1, generator=generator)
            shares = torch.cat([shares, 1 - shares])
        else:
            shares = draw.uniform(0, 1, self.sources, generator=generator)
            shares = shares / shares.sum()
        return torch.stack(rows).to(x.device), shares.to(x)

    def _mix(self, x: Tensor, y: Tensor, rows: Tensor, masks: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
        """Return mixes and their labels, by masks (B, N, F, T)."""
        mixed = (masks.unsqueeze(2) * x[rows.T]).sum(1)
        weights = masks.detach().mean((2, 3)) if self.label == "area" else shares.expand(len(x), -1)
        return mixed, (weights.float()[..., None] * y[rows.T]).sum(1)

    @torch.no_grad()
    def _maps(self, x: Tensor) -> Tensor:
        """Return the teacher's feature map of each clip, (B, C, f, t)."""
        seen: list[Tensor] = []
        layer = self.teacher.get_submodule(self.layer)
        handle = layer.register_forward_hook(lambda _, __, out: seen.append(out))
        try:
            self.teacher(x)
        finally:
            handle.remove()
        return seen[0]

    def cost_period(self, batch: int) -> int:
        """Return 2: the generator's loss of odd steps has one term less; see `LearnedMixing.cost_period`."""
        return 2

    def after_step(self, model: nn.Module) -> None:
        """Move the teacher towards the classifier; see `LearnedMixing.after_step`."""
        i = int(self.updates)
        decay = self.last_decay - (self.last_decay - self.decay) * (1 + math.cos(math.pi * self._progress)) / 2
        move_towards(tensors(self.teacher), tensors(model), min(decay, (1 + i) / (10 + i)))
        self.updates += 1


class MaskGenerator(nn.Module):
    """The masks of a mix, from feature maps of its clips: each attends to all others.

    Parameters
    ----------
    channels : int
        C, those of the maps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // 2)
        self.query, self.key = nn.Conv2d(channels, inner, 1), nn.Conv2d(channels, inner, 1)
        self.value = nn.Conv2d(channels, 1, 1)

    def forward(self, maps: Tensor, rows: Tensor, size: tuple[int, ...]) -> Tensor:
        """Return masks (B, N, F, T) that sum to 1 over the N clips.

        Parameters
        ----------
        maps : Tensor, shape (B, C, f, t)
            Of the batch.
        rows : Tensor, shape (N, B), int64
            Which clips each mix is of.
        size : tuple of int
            F and T.
        """
        query, key, value = (part(maps).flatten(2).transpose(1, 2) for part in (self.query, self.key, self.value))
        found = []
        for n in range(len(rows)):
            total: Tensor | float = 0.0
            for m in range(len(rows)):
                if m != n:
                    scores = query[rows[n]] @ key[rows[m]].transpose(1, 2) / math.sqrt(query.shape[-1])
                    total = total + scores.softmax(-1) @ value[rows[m]]
            assert isinstance(total, Tensor)
            found.append(total[..., 0].unflatten(1, maps.shape[2:]))
        logits = F.interpolate(torch.stack(found, 1), size=list(size), mode="bilinear", align_corners=False)
        return logits.softmax(1)


@torch.no_grad()
def find_map_layer(model: nn.Module, name: str = "") -> tuple[str, int]:
    """Return the name of the module whose output is the feature map, and its channels.

    Parameters
    ----------
    model : nn.Module
        In eval mode.
    name : str
        Of the module; by default the last one whose output (B, C, f, t) is larger in f x t than the last such output.

    Raises
    ------
    ValueError
        No such module, or none with such an output.
    """
    seen: list[tuple[str, torch.Size]] = []

    def watch(path: str) -> Any:
        """Return a hook that notes the shape of the output of the module at `path`."""

        def keep(_: nn.Module, __: Any, out: Any) -> None:
            if isinstance(out, Tensor) and out.ndim == 4:
                seen.append((path, out.shape))

        return keep

    handles = [module.register_forward_hook(watch(path)) for path, module in model.named_modules() if path]
    try:
        model(torch.zeros(_PROBE, device=next(model.parameters()).device))
    finally:
        for handle in handles:
            handle.remove()
    shapes = dict(seen)
    if name:
        if name not in shapes:
            check.fail("layer", "a module whose output is (B, C, f, t)", name, f"one of {', '.join(shapes)}")
        return name, shapes[name][1]
    if not seen:
        check.fail("model", "one with feature maps (B, C, f, t), of which masks are made", type(model).__name__)
    last = seen[-1][1][2:].numel()
    larger = [(path, shape) for path, shape in seen if shape[2:].numel() > last]
    path, shape = larger[-1] if larger else seen[-1]
    return path, shape[1]
