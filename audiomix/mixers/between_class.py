r"""Between-class learning: mixup whose label ratio is heard, because the gains follow the levels of the two sounds.

.. math:: t = \frac{1}{1 + 10^{(G_1 - G_2) / 20} \, (1 - r) / r}, \quad
          x' = \frac{t x_1 + (1 - t) x_2}{\sqrt{t^2 + (1 - t)^2}}, \quad y' = r y_1 + (1 - r) y_2, \quad r \sim U(0, 1)

G is the largest A-weighted level of a sound over short windows.

Source: Tokozume, Ushiku and Harada, "Learning from Between-Class Examples for Deep Sound Recognition", ICLR 2018.
Label: mixed by the drawn ratio.
"""

from dataclasses import replace

import torch
from torch import Tensor

from .. import check, draw
from ..audio import level
from ..audio.blend import sum_sounds
from ..clips import Clips
from ..draw import Generator
from ..mixer import WAVE, Example, Mixer, Needs, Pairing, Rule, plan_sum
from ..plan import GainPlan, Plan
from ..schedule import Schedule

__all__ = ["BetweenClass", "between_class_gains"]


def between_class_gains(ratio: Tensor, level_db: Tensor, partner_db: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gains at which two sounds are heard in the ratio r : 1 - r, at unit power for uncorrelated sounds.

    Parameters
    ----------
    ratio : Tensor, shape (B,), float64
        The original's share r of the label.
    level_db, partner_db : Tensor, shape (B,), float64
        A-weighted levels G in dB; where one is silent (``-inf``) the two count as equally loud.

    Examples
    --------
    >>> half, loud = torch.tensor([0.5]).double(), torch.tensor([12.0]).double()
    >>> a, b = between_class_gains(half, loud, torch.zeros(1).double())
    >>> level.db(a).item(), level.db(b).item()  # r = 0.5 and 12 dB: the louder one goes down by 12.3 dB
    (-12.265..., -0.265...)
    """
    difference = level_db - partner_db
    factor = level.from_db(torch.where(torch.isfinite(difference), difference, 0.0))
    t = ratio / (ratio + factor * (1 - ratio))  # the same as above, without the division by r = 0
    power = (t**2 + (1 - t) ** 2).sqrt()
    return t / power, (1 - t) / power


class BetweenClass(Mixer):
    """Between-class mixing of waveforms (B, C, T): the label ratio is drawn, the gains follow from A-weighted levels.

    Parameters
    ----------
    rate : int
        Sampling rate in Hz; windows are the power of two nearest to 0.1 s.
    keep_larger : bool
        Give the larger share to the original.
    num_classes, p, pairing, rule
        See `audiomix.Mixer`; partners are of a different class unless said otherwise.

    Notes
    -----
    The power is one only for uncorrelated sounds of equal power. A clip shorter than a window is padded to one. Of a
    partner longer than the original the level is that of what is heard: its part up to the original's end.

    See Also
    --------
    audiomix.MixUp : gains that are the weights.

    Examples
    --------
    >>> wave = torch.randn(4, 1, 16000) * torch.tensor([0.01, 1, 0.1, 0.5])[:, None, None]
    >>> mixed = BetweenClass(16000, num_classes=4)(wave, torch.arange(4))
    >>> mixed.target.sum(1)
    tensor([1., 1., 1., 1.])
    """

    plan_type = GainPlan

    def __init__(
        self,
        rate: int,
        *,
        keep_larger: bool = False,
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        pairing: Pairing = "different_class",
        rule: Rule = "linear",
    ) -> None:
        super().__init__(num_classes=num_classes, p=p, pairing=pairing, rule=rule)
        self.rate = check.rate("rate", rate)
        self.keep_larger = keep_larger

    @property
    def needs(self) -> Needs:
        """Waveforms."""
        return Needs(domain=frozenset({WAVE}))

    @classmethod
    def examples(cls) -> list[Example]:
        """Return both ways to draw the ratio."""
        return [Example(cls(16000, pairing="any")), Example(cls(16000, pairing="any", keep_larger=True))]

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw partners and label ratios; measure levels."""
        partner, mixed = self.pair(own, source, progress=progress, generator=generator)
        ratio = draw.uniform(0, 1, len(own), generator=generator)
        if self.keep_larger:
            ratio = torch.maximum(ratio, 1 - ratio)
        own_db, their_db = self._measure(own, source, partner)
        sounds = own_db.isfinite(), their_db.isfinite()
        ratio = torch.where(mixed & sounds[0] & sounds[1], ratio, 1.0)
        a, b = between_class_gains(ratio, own_db, their_db)
        plan = plan_sum(own, source, partner, ratio, a, b, share_of="a_weighted")
        why = tuple(_why(*row) for row in zip(*(side.tolist() for side in sounds)))
        return replace(plan, why=why) if any(why) else plan

    def _measure(self, own: Clips, source: Clips, partner: Tensor) -> tuple[Tensor, Tensor]:
        """Return the levels of the originals and of their partners, as far as these are heard; two tensors (B,)."""
        own_db = level.a_weighted_level(own.x, self.rate, own.lengths)
        each = own_db if source is own else level.a_weighted_level(source.x, self.rate, source.lengths)
        their_db, valid = each[partner], own.valid
        cut = (source.valid[partner] > valid).nonzero().flatten()
        if len(cut):  # what lies behind the original's end is not in the mix
            pieces = source.x[partner[cut].to(source.x.device)][..., : int(valid[cut].max())]
            their_db[cut] = level.a_weighted_level(pieces, self.rate, valid[cut])
        return own_db, their_db

    def render_into(self, own: Clips, source: Clips, plan: Plan, out: Tensor | None = None) -> Tensor:
        """Add the sounds at the plan's gains."""
        return sum_sounds(own, source, plan, out)


def _why(own: bool, partner: bool) -> str:
    """Return why a clip is not mixed: silence has no level that a gain could follow."""
    return "" if own and partner else f"silent {'partner' if own else 'original'}"
