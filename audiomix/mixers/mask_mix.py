r"""MaskMix: a drawn share of the cells of each spectrogram is kept; cells are several patches of a model large.

.. math:: x' = M x + (1 - M) x_p, \qquad \lceil \lambda N \rceil \text{ of } N \text{ cells are 1}, \qquad
          w = \mathrm{mean}(M), \qquad \lambda \sim \mathrm{Beta}(\alpha, \alpha)

Cells begin where patches do, so that every patch of the model comes from one of the two clips. The paper's share is
that of the cells; here it is that of the area, which differs where the end of a clip cuts cells.

Source: Zhao et al., "MixPro: Data Augmentation with MaskMix and Progressive Attention Labeling for Vision
Transformer", ICLR 2023.
Label: mixed by the share of the valid area that is kept.
"""

import math

import numpy as np
import torch

from .. import draw
from ..clips import Clips
from ..draw import Generator
from ..mixer import SPECTROGRAM, Example, Needs, Pairing, Rule
from ..plan import Plan
from ..schedule import Schedule
from ..transform import check_spectrogram
from ._mask_plan import MaskMixer, cell_areas, check_patch, draw_cells, patch_grid, plan_mask

__all__ = ["MaskMix"]


class MaskMix(MaskMixer):
    """Keep a drawn share of the cells of each spectrogram and fill the others from its partner.

    Parameters
    ----------
    patch : (int, int)
        Bins and frames of a patch of the model.
    scale : int or (int, int)
        Patches along each side of a cell, or in frequency and in time.
    alpha : float or schedule
        The share kept is drawn from Beta(alpha, alpha); 1 is uniform, 0 masks nothing.
    num_classes, p, pairing, rule, time_axis
        See `audiomix.Mixer`.

    Notes
    -----
    The number of cells kept is rounded up, as in the paper, so that at least one is: of N cells the mean share kept is
    ``1 / 2 + 1 / (2 N)``. The weight is the share of the valid area that is kept. With `lengths` cells are drawn among
    those that both clips have some of.

    The weight follows the area. The second part of MixPro, which moves labels by the model's attention, works on this
    mixer's plan.

    See Also
    --------
    audiomix.PatchMix : a fixed share, of single patches.

    Examples
    --------
    >>> spec, label = torch.randn(4, 1, 64, 100), torch.arange(4)
    >>> mixed = MaskMix(scale=2, num_classes=4)(spec, label, generator=torch.Generator().manual_seed(1))
    >>> kept = (mixed.x == spec).double().mean((1, 2, 3))
    >>> bool(torch.allclose(kept, mixed.plans[0].weight))
    True
    """

    def __init__(
        self,
        patch: tuple[int, int] = (16, 16),
        scale: int | tuple[int, int] = 2,
        *,
        alpha: float | str | Schedule = 1.0,
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        pairing: Pairing = "any",
        rule: Rule = "linear",
        time_axis: int | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, p=p, pairing=pairing, rule=rule, time_axis=time_axis)
        self.patch = check_patch("patch", patch, "time_freq")
        self.scale = check_patch("scale", scale, "time_freq")
        self.alpha = Schedule.of(alpha, "alpha").within("alpha", 0)

    @property
    def needs(self) -> Needs:
        """Spectrograms."""
        return Needs(domain=frozenset({SPECTROGRAM}), axes=True)

    @classmethod
    def examples(cls) -> list[Example]:
        """Return cells of one patch and of several, larger in one direction too."""
        mixers = [cls((4, 16)), cls((2, 5), (3, 2)), cls((4, 4), 1)]
        return [Example(mixer, shape=(1, 12, 100)) for mixer in mixers]

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw partners, shares and which cells are kept; the weight is the share really kept."""
        partner, mixed = self.pair(own, source, progress=progress, generator=generator)
        share = draw.beta(self.alpha(progress), len(own), generator=generator).numpy()
        assert isinstance(self.patch, tuple)
        assert isinstance(self.scale, tuple)
        high, wide = (math.prod(pair) for pair in zip(self.patch, self.scale))
        rows, columns, height, width = patch_grid(own, (high, wide))
        areas = cell_areas(own, source, partner, columns, width)
        usable = np.broadcast_to((areas > 0)[:, None], (len(own), rows, columns))
        kept = draw_cells(usable, np.ceil(share * usable.sum((1, 2))), generator=generator)
        mask = torch.from_numpy(kept.astype(np.uint8))
        return plan_mask(own, source, partner, mask, width=width, height=height, mixed=mixed)

    def check_input(self, own: Clips, source: Clips) -> None:
        """Refuse waveforms."""
        super().check_input(own, source)
        check_spectrogram(own.x)
