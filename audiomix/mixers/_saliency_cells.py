"""Masks by the saliency of cells: what AttentiveMix and PuzzleMix share."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from .. import check
from ..audio.saliency import NOT_SALIENT, Saliency, measure_saliency, pool_saliency, read_saliency
from ..cells import edges
from ..clips import Clips
from ..mixer import SPECTROGRAM, WAVE, Needs, Pairing, Rule
from ..schedule import Schedule
from ._mask_plan import CellPlan, MaskMixer, cell_areas, fade_of, plan_mask

__all__ = ["CellMixer", "top_cells"]


def top_cells(scores: Tensor, there: Tensor, count: Tensor) -> Tensor:
    """Return the cells with the highest scores, as many in each clip as are asked for; of equals the first.

    Parameters
    ----------
    scores : Tensor, shape (B, R, N), float64
        Of each cell.
    there : Tensor, shape (B, R, N), bool
        Cells that may be chosen.
    count : Tensor, shape (B,)
        How many; all of those that may be chosen where there are fewer.

    Returns
    -------
    Tensor, shape (B, R, N), bool

    Examples
    --------
    >>> scores = torch.tensor([[[3.0, 1.0, 2.0, 9.0]]])
    >>> top_cells(scores, torch.tensor([[[True, True, True, False]]]), torch.tensor([2]))
    tensor([[[ True, False,  True, False]]])
    """
    flat = torch.where(there, scores, -torch.inf).flatten(1)
    order = flat.argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(flat.shape[1]).expand_as(order))
    return (rank < count[:, None]).view(scores.shape) & there


class CellMixer(MaskMixer):
    """Base of mixers that choose cells of time, or of time and frequency, by what is salient in them.

    Parameters
    ----------
    cells : int or (int, int)
        Cells of time; or cells of frequency and of time, for spectrograms.
    alpha : float or schedule
        The original's share of the cells is drawn from Beta(alpha, alpha).
    saliency : str or callable
        See `audiomix.audio.saliency.read_saliency`.
    fade : float
        Cross-fade at the edges of cells, in seconds, for waveforms. Needs `rate`. At most a cell.
    rate : int, optional
        Sampling rate in Hz, for `fade`.
    num_classes, p, pairing, rule, time_axis
        See `audiomix.Mixer`.
    """

    def __init__(
        self,
        cells: int | tuple[int, int] = 16,
        *,
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
        super().__init__(num_classes=num_classes, p=p, pairing=pairing, rule=rule, time_axis=time_axis)
        both = (1, cells) if isinstance(cells, int) else cells
        if isinstance(both, str) or not hasattr(both, "__len__") or len(both) != 2:
            check.fail("cells", "cells of time, or (cells of frequency, cells of time)", repr(cells), error=TypeError)
        self.cells = cells
        self.alpha = Schedule.of(alpha, "alpha").within("alpha", 0)
        self._rows, self._columns = check.integer("cells", both[0], 1), check.integer("cells", both[1], 2)
        read_saliency("saliency", saliency)
        self.saliency = saliency
        self.fade, self.rate = fade_of(fade, rate, waves=self._rows == 1)

    @property
    def needs(self) -> Needs:
        """Waveforms or spectrograms for cells of time, else spectrograms."""
        return Needs(domain=frozenset({WAVE, SPECTROGRAM} if self._rows == 1 else {SPECTROGRAM}), axes=True)

    def check_input(self, own: Clips, source: Clips) -> None:
        """Refuse waveforms for cells of frequency, and clips with fewer bins or frames than there are cells."""
        super().check_input(own, source)
        x = own.x
        if self._rows > 1 and x.ndim < 3:
            expected = f"spectrograms (B, ..., F, N) for {self._rows} cells of frequency"
            check.fail("x", expected, f"shape {tuple(x.shape)}", f"a waveform? cells={self._columns}")
        bins = x.shape[-2] if self._rows > 1 else 1
        if bins < self._rows or own.size < self._columns:
            expected = f"of at least {self._rows} x {self._columns} bins and frames, as there are cells"
            slip = "a waveform? cells of time alone: cells=16" if self._rows > 1 and bins <= 2 else "fewer cells?"
            check.fail("x", expected, f"shape {tuple(x.shape)}", slip)

    def measure(self, own: Clips, source: Clips, partner: Tensor, *, both: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Return how salient each cell is in the originals and in their partners, and how large it is in both.

        Parameters
        ----------
        own, source, partner
            See `audiomix.mixers._mask_plan.plan_mask`.
        both : bool
            Whether the originals are measured; without it the first of the three is the second.

        Returns
        -------
        own_mean, partner_mean : Tensor, shape (B, R, N), float64
            Mean of the saliency over a cell.
        area : Tensor, shape (B, R, N), float64
            Bins times samples; 0 where one of the two clips is not there.
        """
        bins = own.x.shape[-2] if self._rows > 1 else 1
        rows = edges(self._rows, 1 / self._rows, bins) / bins
        columns = edges(self._columns, 1 / self._columns, own.size) / own.size
        bands, spans = (torch.from_numpy(np.stack([e[:-1], e[1:]], 1)) for e in (rows, columns))
        mine, theirs = measure_saliency(own, source, self.saliency, bands=bands, both=both)
        counts = cell_areas(own, source, partner, self._columns, 1 / self._columns, self._fade_of(own))
        samples = torch.from_numpy(counts.copy())
        area = torch.from_numpy(np.diff(rows) * bins)[:, None] * samples.double().unsqueeze(1)
        ends, there = own.valid.double() / own.size, source.valid.clamp(max=own.size).double() / own.size
        others = pool_saliency(theirs, spans, there)[partner]
        return pool_saliency(mine, spans, ends) if both else others, others, area

    def _fade_of(self, own: Clips) -> float:
        """Return the cross-fade as a fraction of the time axis."""
        return min(self.fade * self.rate / own.size, 1 / self._columns) if self.rate else 0.0

    def plan_cells(
        self, own: Clips, source: Clips, partner: Tensor, pasted: Tensor, mixed: Tensor, silent: Tensor
    ) -> CellPlan:
        """Return the plan that fills cells from the partner.

        Parameters
        ----------
        own, source, partner
            See `audiomix.mixers._mask_plan.plan_mask`.
        pasted : Tensor, shape (B, R, N), bool
            Cells of the partner.
        mixed : Tensor, shape (B,), bool
            Clips that are to be mixed.
        silent : Tensor, shape (B,), bool
            Those of them whose partner has nothing salient where both are valid.
        """
        plan = plan_mask(
            own, source, partner, (~pasted).to(torch.uint8), width=1 / self._columns, height=1 / self._rows,
            fade=self._fade_of(own), mixed=mixed,
        )  # fmt: skip
        if not silent.any():
            return plan
        texts = zip(plan.why or ("",) * len(plan), silent.tolist())
        return replace(plan, why=tuple(NOT_SALIENT if one else text for text, one in texts))
