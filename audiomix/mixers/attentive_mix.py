r"""AttentiveMix: the most salient cells of each clip's partner are put into the clip.

.. math:: x' = M x + (1 - M) x_p, \qquad M_c = 0 \text{ for the } k \text{ cells } c \text{ with the largest } s_p(c)

In the paper k = 6 of 7 x 7 cells by the features of a teacher. A share of the cells that is drawn (k = round((1 - w)
K)) is OpenMixup's variant. Saliency from the sound itself, and cells of time alone, are our definition; a teacher's
map is a `saliency` of your own.

Source: Walawalkar et al., "Attentive CutMix: An Enhanced Data Augmentation Approach for Deep Learning Based Image
Classification", ICASSP 2020.
Label: mixed by the share of the valid area that is kept.
"""

import torch

from .. import check, draw
from ..audio.saliency import Saliency
from ..clips import Clips
from ..draw import Generator
from ..mixer import Example, Pairing, Rule
from ..plan import Plan
from ..schedule import Schedule
from ._saliency_cells import CellMixer, top_cells

__all__ = ["AttentiveMix"]


class AttentiveMix(CellMixer):
    """AttentiveMix of waveforms and spectrograms: the partner's k most salient cells at the place where they are.

    Parameters
    ----------
    cells : int or (int, int)
        Cells of time, over all frequencies; or cells of frequency and of time, for spectrograms.
    k : int, optional
        How many of them are the partner's, in every mix; the paper has 6 of 49. Without it a share is drawn.
    alpha : float or schedule
        The original's share of the cells is drawn from Beta(alpha, alpha), where `k` is None.
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
    The weight is the share of the valid area that is kept; where the cells are not all equal, or a clip ends within
    one, it is counted in bins and samples. Cells are chosen where both clips are valid, by the mean of the saliency
    over them. A partner that is silent, or alike everywhere, has no such cells: the clip is left as it is, and the
    plan says why.

    The mask is part of the plan: `x` is measured without a gradient, and on another device the call waits for **one**
    copy of the maps. The cost is that of a mask and of the saliency: a pass over the batch for ``energy``, a Fourier
    transform for ``spectral_flux`` of waveforms.

    See Also
    --------
    audiomix.SaliencyMix : one piece.
    audiomix.PuzzleMix : cells of both clips are weighed.

    Examples
    --------
    >>> wave = torch.zeros(2, 1, 16)
    >>> wave[0, :, 4:8], wave[1, :, 12:] = torch.tensor([1.0, -1, 1, -1]), torch.tensor([2.0, -2, 2, -2])
    >>> AttentiveMix(4, k=1)(wave).x[0, 0]
    tensor([ 0.,  0.,  0.,  0.,  1., -1.,  1., -1.,  0.,  0.,  0.,  0.,  2., -2.,  2., -2.])
    """

    def __init__(
        self,
        cells: int | tuple[int, int] = 16,
        *,
        k: int | None = None,
        alpha: float | str | Schedule = 1.0,
        saliency: Saliency = "energy",
        fade: float = 0.0,
        rate: int | None = None,
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        pairing: Pairing = "any",
        rule: Rule = "linear",
        time_axis: int | None = None,
    ) -> None:
        super().__init__(
            cells, alpha=alpha, saliency=saliency, fade=fade, rate=rate, num_classes=num_classes, p=p,
            pairing=pairing, rule=rule, time_axis=time_axis,
        )  # fmt: skip
        self.k = None if k is None else check.integer("k", k, 1)
        if self.k is not None and self.k >= self._rows * self._columns:
            expected = f"less than the {self._rows * self._columns} cells"
            check.fail("k", expected, k, "nothing of the original would be left")

    @classmethod
    def examples(cls) -> list[Example]:
        """Return a fixed and a drawn number of cells, on waveforms and on spectrograms."""
        shape = (1, 12, 100)
        return [
            Example(cls()),
            Example(cls(fade=0.01, rate=1000)),
            Example(cls(k=3, saliency="spectral_flux")),
            Example(cls(k=3), shape=shape),
            Example(cls((5, 7)), shape=shape),
            Example(cls((7, 7), k=6, saliency="spectral_flux"), shape=shape),
        ]

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw partners and how many cells are theirs; choose the cells."""
        partner, mixed = self.pair(own, source, progress=progress, generator=generator)
        _, theirs, area = self.measure(own, source, partner, both=False)
        there = area > 0
        salient = ((theirs > 0) & there).flatten(1).any(1)
        if self.k is not None:
            count = torch.full((len(own),), self.k)
        else:
            share = draw.beta(self.alpha(progress), len(own), generator=generator)
            count = ((1 - share) * there.flatten(1).sum(1)).round().long()
        pasted = top_cells(theirs, there, torch.where(mixed & salient, count, 0))
        silent = mixed & ~salient & there.flatten(1).any(1)
        return self.plan_cells(own, source, partner, pasted, mixed, silent)
