r"""BYOLMix: a little of a past sound is added to each log spectrogram as background, and the label stays.

.. math:: x' = \log\bigl((1 - a) e^x + a e^z\bigr), \qquad a \sim U(0, 0.4)

The paper calls it "log-mixup-exp": z is drawn from a first-in, first-out memory of past log-mel spectrograms
(`MemoryBank`), and x and z are mixed before they are normalised. The share a is one of power, so that the amplitudes
are :math:`\sqrt{1 - a}` and :math:`\sqrt{a}`.

Source: Niizumi et al., "BYOL for Audio: Self-Supervised Learning for General-Purpose Audio Representation", IJCNN
2021.
Label: kept.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from .. import check, draw
from ..audio.blend import GAIN_LAWS, plan_sum
from ..audio.blend_power import blend_power
from ..audio.features import LOG_SCALES
from ..clips import Clips, overlap
from ..draw import Generator
from ..mixer import SPECTROGRAM, Example, Mixer, Needs, Pairing
from ..plan import GainPlan, Plan
from ..schedule import Schedule

__all__ = ["BYOLMix", "MemoryBank"]


class MemoryBank:
    """The latest clips of past batches, first in, first out: where `BYOLMix` takes its partners from.

    Parameters
    ----------
    size : int
        How many clips are kept; BYOL-A keeps 2048.

    Notes
    -----
    A bank belongs to one process: it is state of the training, not of the mixer, and has a `state_dict`. Clips are
    stored without gradient, in the dtype and on the device of the first.

    Examples
    --------
    >>> bank, mixer = MemoryBank(2), BYOLMix(log="ln")
    >>> for spec in torch.randn(3, 4, 1, 8, 20):  # three batches
    ...     view = mixer(spec, other=bank.sample(len(spec))).x
    ...     bank.push(spec)
    >>> len(bank), bank.sample(4).shape
    (2, torch.Size([4, 1, 8, 20]))
    """

    def __init__(self, size: int = 2048) -> None:
        self.size = check.integer("size", size, 1)
        self._clips: Tensor | None = None
        self._next = self._count = 0

    def __len__(self) -> int:
        return self._count

    def push(self, x: Tensor) -> None:
        """Store the clips of a batch in place of the oldest ones.

        Parameters
        ----------
        x : Tensor, shape (B, ..., F, N)
            Spectrograms as they were before they were mixed.
        """
        x = check.batch("x", check.floating("x", x)).detach()[-self.size :]
        if self._clips is None:
            self._clips = x.new_zeros(self.size, *x.shape[1:])
        if x.shape[1:] != self._clips.shape[1:]:
            expected = f"of shape (B, {', '.join(map(str, self._clips.shape[1:]))}), as those that are stored"
            check.fail("x", expected, tuple(x.shape))
        rows = (self._next + torch.arange(len(x))) % self.size
        self._clips[rows.to(self._clips.device)] = x.to(self._clips)
        self._next = (self._next + len(x)) % self.size
        self._count = min(self.size, self._count + len(x))

    def sample(self, count: int, *, generator: Generator = None) -> Tensor | None:
        """Draw clips with replacement; (count, ..., F, N), or None while the bank is empty.

        Parameters
        ----------
        count : int
            How many.
        generator : torch.Generator, optional
            On the CPU; None means torch's global one.
        """
        if self._clips is None or not self._count:
            return None
        rows = draw.integers(torch.full((check.integer("count", count, 1),), self._count), generator=generator)
        return self._clips[rows.to(self._clips.device)]

    def state_dict(self) -> dict[str, Any]:
        """Return what is stored, and where the next clip comes."""
        clips = None if self._clips is None else self._clips.clone()
        return {"size": self.size, "clips": clips, "next": self._next, "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned of a bank of the same size."""
        if state["size"] != self.size:
            check.fail("state", f"of a bank of {self.size} clips", state["size"])
        self._clips = None if state["clips"] is None else state["clips"].clone()
        self._next, self._count = state["next"], state["count"]


class BYOLMix(Mixer):
    """BYOL-A's log-mixup-exp: a little of another sound as background of each log spectrogram; the label stays.

    Parameters
    ----------
    alpha : float or schedule
        The largest share of power that the partner has; it is drawn from U(0, alpha). Below one half the original
        dominates, which is why its label is kept.
    log : str
        Scale of the log spectrogram: ``db`` (10 log10 of power), ``log10`` or ``ln``.
    mean, std : float
        Normalisation ``(log power - mean) / std`` to undo and redo, where `x` is normalised already.
    num_classes, p, pairing, time_axis
        See `audiomix.Mixer`.

    Notes
    -----
    Partners are those of ``other=``, past spectrograms of a `MemoryBank`, or else of the batch. Behind a shorter
    partner the original goes on at its gain.

    See Also
    --------
    audiomix.MixUp : partners of the same batch, and a label that is mixed.
    audiomix.MemoryBank : where past clips come from.

    Examples
    --------
    >>> spec, label = torch.randn(4, 1, 64, 100), torch.arange(4)
    >>> mixed = BYOLMix(log="ln", num_classes=4)(spec, label, other=torch.randn(9, 1, 64, 100))
    >>> mixed.target.argmax(1).tolist(), mixed.plans[0].share_of
    ([0, 1, 2, 3], 'kept')
    """

    plan_type = GainPlan

    def __init__(
        self,
        alpha: float | str | Schedule = 0.4,
        *,
        log: Literal["db", "log10", "ln"] = "db",
        mean: float = 0.0,
        std: float = 1.0,
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        pairing: Pairing = "any",
        time_axis: int | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, p=p, pairing=pairing, time_axis=time_axis)
        self.alpha = Schedule.of(alpha, "alpha").within("alpha", 0, 0.5)  # above it the partner would dominate
        self.log = check.choice("log", log, LOG_SCALES)
        self.mean = check.number("mean", mean)
        self.std = check.number("std", std, 1e-12, slip="the spread of the log spectrogram, above 0")

    @property
    def needs(self) -> Needs:
        """Log spectrograms; labels are kept, so partners need none."""
        return Needs(domain=frozenset({SPECTROGRAM}), target=False, summed=False)

    @classmethod
    def examples(cls) -> list[Example]:
        """Return decibels and a normalised natural logarithm."""
        mixers = [cls(), cls(0.5, log="ln", mean=-4.0, std=4.5)]
        return [Example(mixer, shape=(1, 12, 100)) for mixer in mixers]

    def at_normalisation(self, mean: float, std: float) -> "BYOLMix":
        """Return this mixer for log spectrograms normalised as ``(dB - mean) / std``."""
        return self.replace(mean=mean, std=std)

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw partners and their shares of power; every weight is 1."""
        partner, mixed = self.pair(own, source, progress=progress, generator=generator)
        share = draw.uniform(0, 1, len(own), generator=generator) * self.alpha(progress)
        a, b = GAIN_LAWS["sqrt"](1 - torch.where(mixed, share, 0.0))
        kept = torch.ones(len(own), dtype=torch.float64)
        return plan_sum(own, source, partner, kept, a, b, share_of="kept")

    def render_into(self, own: Clips, source: Clips, plan: Plan, out: Tensor | None = None) -> Tensor:
        """Apply a plan; see `audiomix.mixers.mixup.mixup_power`, which has the equation for amplitudes."""
        a, b = plan.gains()
        whole = own.lengths is None and source.lengths is None and source.size == own.size
        valid, both = (None, None) if whole else overlap(own, source, plan.partner)
        unit = LOG_SCALES[self.log] / self.std  # a mean changes nothing
        return blend_power(own.x, plan.partner, a, b, unit=unit, other=source.x, valid=valid, both=both, out=out)
