r"""PuzzleMix in its light form: each cell is the clip's or its partner's, so that most of the saliency is kept.

.. math:: x' = M x + (1 - M) x_p, \qquad M = \arg\max_M \sum_c M_c\, s(c) + (1 - M_c)\, s_p(c)
          \quad \text{with} \quad \sum_c M_c = \mathrm{round}(w K)

The paper adds a smoothness term that is minimised by graph cuts, and moves the cells by a transport. The light form,
which is our definition, has neither: what is left is solved exactly by the order of s - s_p. So is the saliency of
sounds: the paper takes the gradient of the loss, which a `saliency` of your own may do.

Source: ours, after Kim, Choo and Song, "Puzzle Mix: Exploiting Saliency and Local Statistics for Optimal Mixup", ICML
2020.
Label: mixed by the share of the valid area that is kept.
"""

import torch
from torch import Tensor

from .. import draw
from ..clips import Clips
from ..draw import Generator
from ..mixer import Example
from ..plan import Plan
from ._saliency_cells import CellMixer, top_cells

__all__ = ["PuzzleMix"]


class PuzzleMix(CellMixer):
    """PuzzleMix, without transport, of waveforms and spectrograms: a mask that keeps most of the saliency of both.

    Parameters
    ----------
    cells : int or (int, int)
        Cells of time, over all frequencies; or cells of frequency and of time, for spectrograms.
    alpha : float or schedule
        The original's share of the cells is drawn from Beta(alpha, alpha); 1 is uniform.
    saliency : str or callable
        ``energy``, ``spectral_flux``, a path ``mine.py:function``, or a function from a batch to a map (B, n) or
        (B, f, n) of numbers of at least 0; see `audiomix.audio.saliency`.
    fade : float
        Cross-fade at the edges of cells, in seconds, for waveforms: 0.005 avoids clicks. Needs `rate`. At most a cell.
    rate : int, optional
        Sampling rate in Hz, for `fade`.
    num_classes, p, pairing, rule, time_axis
        See `audiomix.Mixer`.

    Notes
    -----
    The saliency of each clip is counted as a share of all that it has in the cells in which both clips are valid, so
    that the louder clip does not win everywhere. The weight is the share of the valid area that is kept: within one
    cell of what was drawn. A partner that is silent, or alike everywhere, has nothing to keep: the clip is left as it
    is, and the plan says why. A silent original keeps the cells in which its partner is least salient.

    The mask is part of the plan: `x` is measured without a gradient, and on another device the call waits for **one**
    copy of the maps. The cost is that of a mask and of the saliency: a pass over the batch for ``energy``, a Fourier
    transform for ``spectral_flux`` of waveforms.

    See Also
    --------
    audiomix.AttentiveMix : the partner's cells alone decide.

    Examples
    --------
    >>> wave = torch.zeros(2, 1, 8)
    >>> wave[0, :, :4], wave[1, :, 4:] = torch.tensor([1.0, -1, 1, -1]), torch.tensor([2.0, -2, 2, -2])
    >>> mixed = PuzzleMix(2, alpha=1e6)(wave)  # half of the cells of each
    >>> mixed.x[0, 0], mixed.plans[0].weight[0].item()
    (tensor([ 1., -1.,  1., -1.,  2., -2.,  2., -2.]), 0.5)
    """

    @classmethod
    def examples(cls) -> list[Example]:
        """Return cells of time on waveforms and spectrograms, and cells of both axes."""
        shape = (1, 12, 100)
        return [
            Example(cls()),
            Example(cls(fade=0.01, rate=1000)),
            Example(cls(7, saliency="spectral_flux")),
            Example(cls(), shape=shape),
            Example(cls((5, 7)), shape=shape),
            Example(cls((4, 10), saliency="spectral_flux"), shape=shape),
        ]

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw partners and shares; find the mask that keeps most of the saliency."""
        partner, mixed = self.pair(own, source, progress=progress, generator=generator)
        share = draw.beta(self.alpha(progress), len(own), generator=generator)
        mine, theirs, area = self.measure(own, source, partner, both=True)
        there, theirs = area > 0, _shares(theirs * area)
        salient = (theirs > 0).flatten(1).any(1)
        count = ((1 - share) * there.flatten(1).sum(1)).round().long()
        pasted = top_cells(theirs - _shares(mine * area), there, torch.where(mixed & salient, count, 0))
        silent = mixed & ~salient & there.flatten(1).any(1)
        return self.plan_cells(own, source, partner, pasted, mixed, silent)


def _shares(saliency: Tensor) -> Tensor:
    """Return cells (B, R, N) as shares of all that each clip has; those of silent clips stay 0."""
    total = saliency.sum((1, 2), keepdim=True)
    return torch.where(total > 0, saliency / torch.where(total > 0, total, 1.0), 0.0)
