r"""Mixup: every clip becomes a sum of itself and a partner, and so does its label.

.. math:: x'_i = a(w_i) x_i + b(w_i) x_{p(i)}, \quad y'_i = w_i y_i + (1 - w_i) y_{p(i)}, \quad
          w_i \sim \mathrm{Beta}(\alpha, \alpha)

Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018 (a = w, b = 1 - w).
"""

from typing import Literal

import torch
from torch import Tensor

from .. import check, draw
from ..audio.blend import GAIN_LAWS, blend, sum_sounds
from ..audio.blend_power import blend_power
from ..audio.features import LOG_SCALES
from ..clips import Clips, overlap
from ..draw import Generator
from ..mixer import EMBEDDING, SPECTROGRAM, WAVE, Example, Mixer, Needs, Pairing, Rule, plan_sum
from ..plan import GainPlan, Plan
from ..schedule import Schedule

__all__ = ["MixUp", "mixup", "mixup_power"]


def mixup(x: Tensor, plan: Plan, *, other: Tensor | None = None, out: Tensor | None = None) -> Tensor:
    """Blend each clip with its partner by the gains of the plan.

    Parameters
    ----------
    x : Tensor, shape (B, ...)
        Waveforms, spectrograms or embeddings. Left unchanged.
    plan : Plan
        Partners, and weights or gains, for B clips.
    other : Tensor, shape (M, ...), optional
        Where partners come from.
    out : Tensor, optional
        See `audiomix.audio.blend.blend`.

    Returns
    -------
    Tensor, shape (B, ...)
        ``a * x + b * x[partner]``; a = weight and b = 1 - weight unless the plan carries gains of its own.

    Examples
    --------
    >>> x = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    >>> mixup(x, Plan(torch.tensor([1, 0]), torch.tensor([0.75, 0.5], dtype=torch.float64)))
    tensor([[0.7500, 0.7500],
            [0.5000, 0.5000]])
    """
    a, b = plan.gains()
    return blend(x, plan.partner, a, b, other=other, out=out)


def mixup_power(
    x: Tensor,
    plan: Plan,
    *,
    other: Tensor | None = None,
    log: str = "db",
    mean: float = 0.0,
    std: float = 1.0,
    out: Tensor | None = None,
) -> Tensor:
    r"""Blend log spectrograms as the powers they stand for: what mixing the waveforms does when phases are ignored.

    .. math:: x' = \log(a^2 e^x + b^2 e^{x_p})

    The square is essential: gains act on amplitudes, spectrograms hold powers.

    Parameters
    ----------
    x : Tensor, shape (B, ..., F, N)
        Log power spectrograms, normalised as ``(log power - mean) / std``.
    plan : Plan
        Partners, and weights or gains, for B clips.
    other : Tensor, shape (M, ..., F, N), optional
        Where partners come from.
    log : str
        ``db`` (10 log10), ``log10`` or ``ln``.
    mean, std : float
        The normalisation to undo and redo.
    out : Tensor, optional
        See `audiomix.audio.blend.blend`.

    Examples
    --------
    >>> x = torch.zeros(2, 3, 4)  # 0 dB everywhere
    >>> mixup_power(x, Plan(torch.tensor([1, 0]), torch.tensor([0.5, 1.0], dtype=torch.float64)))[:, 0, 0]
    tensor([-3.0103,  0.0000])
    """
    a, b = plan.gains()
    unit = LOG_SCALES[check.choice("log", log, LOG_SCALES)] / std  # a mean changes nothing
    return blend_power(x, plan.partner, a, b, unit=unit, other=other, out=out)


class MixUp(Mixer):
    """Mixup on waveforms, log spectrograms and embeddings.

    Parameters
    ----------
    alpha : float or schedule
        Concentration of Beta(alpha, alpha): near 0 most clips stay almost pure, at 1 every weight is equally likely,
        0 mixes nothing. 0.4 is usual for audio.
    gain_law : str
        Amplitudes of original and partner at label share w: ``amplitude`` (w, 1 - w), the usual mixup, 3 dB quieter
        at w = 0.5 for uncorrelated sounds; ``unit_power`` (w, 1 - w) / sqrt(w^2 + (1 - w)^2); ``sqrt`` (sqrt w,
        sqrt(1 - w)). The label share is w in all three.
    domain : str
        ``wave``: samples or embeddings. ``as_is``: log spectrograms mixed as they are (what papers do). ``power``:
        log spectrograms mixed as powers.
    log : str
        Scale of the log spectrogram for ``power``: ``db`` (10 log10 of power), ``log10`` or ``ln``.
    mean, std : float
        Normalisation of the log spectrogram for ``power``.
    per : str
        ``clip``: one weight a clip; ``batch``: one for all.
    keep_larger : bool
        Give the larger share to the original: w = max(w, 1 - w).
    num_classes, p, pairing, rule
        See `audiomix.Mixer`.

    Notes
    -----
    With `lengths` the mix is as long as the original: a longer partner is cut, behind a shorter one the original goes
    on (at its gain; unmixed in ``as_is``). The weight is the original's share of what is valid.

    Examples
    --------
    >>> wave, label = torch.randn(8, 1, 16000), torch.arange(8)
    >>> mixed = MixUp(alpha=0.4, num_classes=10)(wave, label, generator=torch.Generator().manual_seed(0))
    >>> mixed.x.shape, mixed.target.shape, mixed.target.sum(1)
    (torch.Size([8, 1, 16000]), torch.Size([8, 10]), tensor([1., 1., 1., 1., 1., 1., 1., 1.]))
    """

    plan_type = GainPlan

    def __init__(
        self,
        alpha: float | str | Schedule = 0.4,
        *,
        gain_law: Literal["amplitude", "unit_power", "sqrt"] = "amplitude",
        domain: Literal["wave", "as_is", "power"] = "wave",
        log: Literal["db", "log10", "ln"] = "db",
        mean: float = 0.0,
        std: float = 1.0,
        per: Literal["clip", "batch"] = "clip",
        keep_larger: bool = False,
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        pairing: Pairing = "any",
        rule: Rule = "linear",
    ) -> None:
        super().__init__(num_classes=num_classes, p=p, pairing=pairing, rule=rule)
        self.alpha = Schedule.of(alpha, "alpha").within("alpha", 0)
        self.gain_law = check.choice("gain_law", gain_law, GAIN_LAWS)
        self.domain = check.choice("domain", domain, ["wave", "as_is", "power"])
        self.log = check.choice("log", log, LOG_SCALES)
        self.mean = check.number("mean", mean)
        self.std = check.number("std", std, 1e-12, slip="the spread of the log spectrogram, above 0")
        if domain == "as_is" and gain_law != "amplitude":
            slip = "gains act on amplitudes, not on decibels: domain='power'?"
            check.fail("gain_law", "'amplitude' for domain='as_is'", repr(gain_law), slip)
        if domain != "power" and (log, mean, std) != ("db", 0.0, 1.0):
            check.fail("log, mean and std", "left out unless domain='power'", f"{log!r}, {mean:g}, {std:g}")
        self.per = check.choice("per", per, ["clip", "batch"])
        self.keep_larger = keep_larger

    @property
    def needs(self) -> Needs:
        """Anything that may be added sample by sample, or log spectrograms, by `domain`."""
        domain = {WAVE, EMBEDDING, SPECTROGRAM} if self.domain == "wave" else {SPECTROGRAM}
        return Needs(domain=frozenset(domain), summed=self.domain != "power")

    @classmethod
    def examples(cls) -> list[Example]:
        """Return every gain law on waveforms and every domain of spectrograms."""
        waves = [cls(), cls(gain_law="unit_power"), cls(gain_law="sqrt", per="batch", keep_larger=True)]
        spectrograms = [cls(domain="as_is"), cls(domain="power"), cls(domain="power", log="ln", mean=-4.0, std=4.5)]
        bins = (1, 12, 100)
        return [*map(Example, waves), *(Example(mixer, shape=bins) for mixer in spectrograms)]

    def at_normalisation(self, mean: float, std: float) -> "MixUp":
        """Return this mixer for log spectrograms normalised as ``(dB - mean) / std``: ``power`` has to undo that."""
        return self.replace(mean=mean, std=std) if self.domain == "power" else self

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw partners and weights; the weight is recomputed over the valid area where there are lengths."""
        partner, mixed = self.pair(own, source, progress=progress, generator=generator)
        size = 1 if self.per == "batch" else len(own)
        ratio = draw.beta(self.alpha(progress), size, generator=generator)
        ratio = ratio.expand(len(own)) if size == 1 else ratio
        if self.keep_larger:
            ratio = torch.maximum(ratio, 1 - ratio)
        ratio = torch.where(mixed, ratio, 1.0)
        a, b = GAIN_LAWS[self.gain_law](ratio)
        share_of = "power" if self.gain_law == "sqrt" else "amplitude"
        behind = self.domain == "as_is"
        return plan_sum(own, source, partner, ratio, a, b, share_of=share_of, unmixed_behind=behind)

    def render_into(self, own: Clips, source: Clips, plan: Plan, out: Tensor | None = None) -> Tensor:
        """Apply a plan; see `mixup` and `mixup_power`."""
        if self.domain != "power":
            return sum_sounds(own, source, plan, out, unmixed_behind=self.domain == "as_is")
        a, b = plan.gains()
        whole = own.lengths is None and source.lengths is None and source.size == own.size
        valid, both = (None, None) if whole else overlap(own, source, plan.partner)
        unit = LOG_SCALES[self.log] / self.std
        return blend_power(own.x, plan.partner, a, b, unit=unit, other=source.x, valid=valid, both=both, out=out)
