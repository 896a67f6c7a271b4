"""The plans of `audiomix.SNRMix`: with one noise (`SNRPlan`), and with several (`SNRSourcesPlan`)."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..plan import NOT_DRAWN, ORIGINAL, GainPlan, Part
from ..plan_sources import SourcesPlan

__all__ = ["SNRPlan", "SNRSourcesPlan"]


@dataclass(frozen=True, eq=False, kw_only=True)
class SNRPlan(GainPlan):
    """Adds to the gains where the noise is read from.

    Parameters
    ----------
    partner, weight, why, roll, roll_within
        See `audiomix.Plan`.
    gain_db, ratio, covered, unmixed_behind, share_of
        See `audiomix.GainPlan`.
    offset : Tensor, shape (B,), float64
        Start of the piece of the noise, as a fraction of its valid length; noise that ends is repeated.
    snr_db : Tensor, shape (B,), float64
        The SNR drawn; infinite for a clip that is not mixed.
    measure : str, optional
        What the SNR is of: ``rms``, ``active`` or ``lufs``; see `SNRMix`. None in plans of the first edition.

    Examples
    --------
    >>> from audiomix import SNRMix
    >>> plan = SNRMix((5, 5))(torch.randn(2, 1, 100)).plans[0]
    >>> plan.snr_db, plan.measure
    (tensor([5., 5.], dtype=torch.float64), 'rms')
    """

    offset: Tensor
    snr_db: Tensor
    measure: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_rows("offset", share=True)
        self._check_rows("snr_db")

    @classmethod
    def identity(cls, size: int) -> "SNRPlan":
        """Return the plan that adds no noise to `size` clips."""
        one, zero = torch.ones(size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
        none = torch.full_like(one, torch.inf)
        return cls.of(torch.arange(size), one, one, zero, offset=zero, snr_db=none, why=(NOT_DRAWN,) * size)

    def parts(self, index: int) -> list[Part]:
        """Return the original, and the noise from its offset on, repeated where it ends."""
        a, b = (float(gain[index]) for gain in self.gains())
        noise = Part(int(self.partner[index]), b, piece=(float(self.offset[index]), 1.0), loop=True)
        return [Part(ORIGINAL, a), *([noise] if b else [])]

    def describe(self, index: int) -> dict[str, Any]:
        """Return the SNR, None where no noise was added, its measure, and why none was added."""
        snr_db = float(self.snr_db[index])
        found = {"snr_db": snr_db if math.isfinite(snr_db) else None, "snr_measure": self.measure}
        return found | {"why": None} | super().describe(index)


@dataclass(frozen=True, eq=False, kw_only=True)
class SNRSourcesPlan(SourcesPlan):
    """Several noises: where each is read from, and at which SNR it is added. S is the largest number of noises.

    Parameters
    ----------
    partner, weight, why, roll, roll_within
        See `audiomix.Plan`.
    partners, shares, gain_db, ratios, covered, unmixed_behind, share_of
        See `audiomix.SourcesPlan`.
    offset : Tensor, shape (B, S), float64
        Start of the piece of each noise, as a fraction of its valid length; noise that ends is repeated.
    snr_db : Tensor, shape (B, S), float64
        The SNR of each noise, to what `reference` says; infinite where there is none.
    total_db : Tensor, shape (B,), float64
        The SNR of the clip to the sum of its noises, measured on that sum; infinite for a clip that is not mixed,
        and where the noises cancel.
    measure : str
        What the SNRs are of: ``rms``, ``active`` or ``lufs``.
    reference : str
        What they are to: the ``clean`` clip, or the ``running`` mix.
    """

    offset: Tensor
    snr_db: Tensor
    total_db: Tensor
    measure: str = "rms"
    reference: str = "clean"

    _still: ClassVar = SourcesPlan._still | {"offset": [0.0], "snr_db": [math.inf], "total_db": math.inf}

    def __post_init__(self) -> None:
        super().__post_init__()
        most = self.partners.shape[1]
        self._check_rows("offset", most, share=True)
        self._check_rows("snr_db", most)
        self._check_rows("total_db")

    def parts(self, index: int) -> list[Part]:
        """Return the original, and each noise from its offset on, repeated where it ends."""
        gain, *gains = self.amplitudes()[index].tolist()
        noises = zip(self.partners[index].tolist(), gains, self.offset[index].tolist())
        return [
            Part(ORIGINAL, gain),
            *(Part(row, gain, piece=(start, 1.0), loop=True) for row, gain, start in noises if gain > 0),
        ]

    def describe(self, index: int) -> dict[str, Any]:
        """Return the SNR of each noise and of all, their measure and what they are to, and why any is missing."""
        found = [value for value in self.snr_db[index].tolist() if math.isfinite(value)]
        total = float(self.total_db[index])
        return {
            "snr_db": found or None,
            "snr_total_db": total if math.isfinite(total) else None,
            "snr_measure": self.measure,
            "snr_reference": self.reference,
            "why": None,
        } | super().describe(index)
