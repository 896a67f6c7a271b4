r"""Patch-Mix: some patches of each clip are its partner's, behind the patch embedding of an audio transformer.

.. math:: h'_k = m_k h_k + (1 - m_k) h_{p,k}, \quad n = \lfloor N (1 - w_0) \rfloor, \quad w = 1 - n / N, \quad
          w_0 \sim \mathrm{Beta}(\beta, \beta)

n of N patches are the partner's. Since positions are added behind the embedding, each patch keeps the position that it
stands at. In the paper all clips of a batch have the same patches (``per="batch"``); here each has its own by default
[ours]. Their contrastive loss is `audiomix.losses.mix_contrast`.
"""

from typing import Literal

import torch

from .. import check, draw
from ..clips import Clips
from ..draw import Generator
from ..mixer import SPECTROGRAM, Example, Needs, Pairing, Rule
from ..mixers._mask_plan import MOST_CELLS, MaskMixer, cell_areas, plan_mask
from ..plan import Plan
from ..schedule import Schedule

__all__ = ["HiddenPatchMix"]


class HiddenPatchMix(MaskMixer):
    """Replace random patches of each clip by its partner's, for `audiomix.network.manifold_mixup`.

    Source: Bae et al., "Patch-Mix Contrastive Learning with Audio Spectrogram Transformer on Respiratory Sound
    Classification", Interspeech 2023.
    Label: mixed by the share of the patches that are kept.

    Parameters
    ----------
    kind : str
        ``patch``: patches anywhere; ``column``: all patches of a moment in time, so that spectra stay whole.
    alpha : float or schedule
        The share kept is drawn from Beta(alpha, alpha); 0 replaces nothing.
    grid : (int, int), optional
        How many patches there are in frequency and in time, for ``column`` where patches stand in one row, frequency
        by frequency, (B, D, F' T'). Of maps (B, D, F', T') it is known.
    per : str
        ``clip``: each has its own share and places; ``batch``: one for all.
    num_classes, p, pairing, rule, time_axis
        See `audiomix.Mixer`.

    Notes
    -----
    Patches stand on the last axis, or on the last two: with tokens (B, N, D) pass ``time_axis=1`` to `manifold_mixup`.
    Name the layer that embeds patches, in front of class tokens and positions. With `lengths` only patches that are
    valid in both clips are replaced, and the weight is the share of valid patches that is kept.

    The label rule: the weight is the exact share of patches that are the original's.

    See Also
    --------
    audiomix.PatchMix : patches of the input.
    audiomix.mix_contrast : the loss of its paper.

    Examples
    --------
    >>> from torch import nn
    >>> from audiomix import manifold_mixup
    >>> embed = nn.Conv2d(1, 8, 4, 4)
    >>> network = nn.Sequential(embed, nn.Flatten(2), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    >>> mixer = HiddenPatchMix(num_classes=3)
    >>> with manifold_mixup(network, "0", mixer, target=torch.tensor([0, 1, 2, 0])) as hidden:
    ...     features = network(torch.randn(4, 1, 16, 24))
    >>> bool(torch.allclose(hidden.plan.weight * 24, (hidden.plan.weight * 24).round()))
    True
    """

    def __init__(
        self,
        kind: Literal["patch", "column"] = "patch",
        *,
        alpha: float | str | Schedule = 1.0,
        grid: tuple[int, int] | None = None,
        per: Literal["clip", "batch"] = "clip",
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        pairing: Pairing = "any",
        rule: Rule = "linear",
        time_axis: int | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, p=p, pairing=pairing, rule=rule, time_axis=time_axis)
        self.kind = check.choice("kind", kind, ["patch", "column"])
        self.alpha = Schedule.of(alpha, "alpha").within("alpha", 0)
        self.per = check.choice("per", per, ["clip", "batch"])
        if grid is not None:
            if not isinstance(grid, (tuple, list)) or len(grid) != 2:
                check.fail("grid", "two whole numbers, of patches in frequency and in time", repr(grid))
            grid = (check.integer("grid", grid[0], 1), check.integer("grid", grid[1], 1))
        self.grid = grid

    @property
    def needs(self) -> Needs:
        """Maps of hidden states."""
        return Needs(domain=frozenset({SPECTROGRAM}), axes=True)

    @classmethod
    def examples(cls) -> list[Example]:
        """Return both kinds, on patches in one row and on maps."""
        rows = [Example(cls(), shape=(5, 60)), Example(cls(per="batch"), shape=(5, 60))]
        return [*rows, *(Example(cls(kind), shape=(3, 6, 40)) for kind in ("patch", "column"))]

    def check_input(self, own: Clips, source: Clips) -> None:
        """Refuse what has no patches, or not as many as the grid."""
        shape = tuple(own.x.shape)
        if len(shape) not in (3, 4):
            expected = "hidden states of patches (B, D, N) or (B, D, F', T')"
            check.fail("x", expected, f"shape {shape}", "tokens (B, N, D)? time_axis=1")
        have = shape[2:] if len(shape) == 4 else self.grid
        if self.kind == "column" and have is None:
            check.fail("grid", "given for kind='column' where patches stand in one row", f"x of shape {shape}")
        if self.grid is not None and self.grid[0] * self.grid[1] != own.x[0, 0].numel():
            slip = "class tokens among them? name the layer in front of them"
            check.fail("grid", f"of as many patches as x of shape {shape} has", self.grid, slip)
        if self.kind == "column" and len(shape) == 3 and (own.lengths is not None or source.lengths is not None):
            check.fail("lengths", "left out for columns of patches in one row", "given", "maps (B, D, F', T')?")
        if own.x[0, 0].numel() > MOST_CELLS:
            check.fail("x", f"of at most {MOST_CELLS} patches", own.x[0, 0].numel(), "the layer that embeds patches?")

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw partners, shares and patches; the weight is the share of patches really kept."""
        size, in_row = len(own), own.x.ndim == 3
        partner, mixed = self.pair(own, source, progress=progress, generator=generator)
        drawn = 1 if self.per == "batch" else size
        share = draw.beta(self.alpha(progress), drawn, generator=generator).expand(size)
        columns = own.size
        rows = 1 if in_row or self.kind == "column" else own.x.shape[-2]
        if self.kind == "column" and in_row:
            assert self.grid is not None  # `check_input` asks for it
            columns = self.grid[1]
        places = draw.uniform(0, 1, drawn * rows * columns, generator=generator).view(drawn, rows, columns)
        there = torch.ones(size, rows, columns, dtype=torch.bool)
        if columns == own.size:
            there &= torch.from_numpy(cell_areas(own, source, partner, columns, 1 / columns) > 0)[:, None]
        there &= mixed[:, None, None]
        rank = torch.where(there, places, torch.inf).flatten(1).argsort(1).argsort(1)
        # the product of a count and a share that is no binary fraction may fall short of a whole number
        count = torch.floor(there.flatten(1).sum(1) * (1 - share) + 1e-9)
        mask = (rank >= count[:, None]).to(torch.uint8).view(size, rows, columns)
        if columns < own.size:
            mask = mask.repeat(1, 1, own.size // columns)
        return plan_mask(own, source, partner, mask, width=1 / own.size, height=1 / rows)
