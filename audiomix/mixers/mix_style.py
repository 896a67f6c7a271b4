r"""MixStyle: each clip's feature map gets a mean and a spread between its own and its partner's; the label is kept.

.. math:: x' = \left(s \sigma + (1 - s) \sigma_p\right) \frac{x - \mu}{\sigma} + s \mu + (1 - s) \mu_p,
          \quad s \sim \mathrm{Beta}(\alpha, \alpha)

with statistics of each channel over frequency and time. The paper has alpha 0.1 and half of the batches. Which clips
are mixed is drawn for each one [ours], not for the batch.

Source: Zhou et al., "Domain Generalization with MixStyle", ICLR 2021.
Label: kept.
"""

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from .. import check, draw
from ..audio.blend import find_source
from ..clips import Clips, fit_length
from ..draw import Generator
from ..mixer import SPECTROGRAM, Example, Mixer, Needs, Pairing
from ..pairing import SELF
from ..plan import Plan
from ..schedule import Schedule
from ..transform import reasons
from ._style import FEWEST, Per, StylePlan, restyle

__all__ = ["MixStyle", "StylePlan", "mix_style", "sides_of_style"]


def mix_style(
    x: Tensor, plan: StylePlan, *, other: Tensor | None = None, eps: float = 1e-6, out: Tensor | None = None
) -> Tensor:
    """Mix the style of each clip with its partner's, channel by channel.

    Parameters
    ----------
    x : Tensor, shape (B, C, ..., N)
        Feature maps. Left unchanged.
    plan : StylePlan
        Partners, and shares of the style.
    other : Tensor, shape (M, C, ..., N'), optional
        Where partners come from.
    eps : float
        Added to the variance.
    out : Tensor, shape of x, optional
        Written and returned.

    Examples
    --------
    >>> plan = StylePlan(torch.tensor([1, 0]), torch.ones(2).double(), ratio=torch.tensor([0.0, 1.0]).double())
    >>> x = torch.tensor([[[0.0, 1.0, 2.0]], [[10.0, 14.0, 18.0]]])
    >>> mix_style(x, plan).round(decimals=3)  # the first clip takes over all of the second's style
    tensor([[[10., 14., 18.]],
            [[10., 14., 18.]]])
    """
    return restyle(*sides_of_style(x, plan, other), plan, per="channel", eps=eps, out=out)


def sides_of_style(x: Tensor, plan: StylePlan, other: Tensor | None) -> tuple[Clips, Clips]:
    """Return both sides of a mix that is called as a function."""
    source = find_source(x, plan, None if other is None else fit_length(other, x.shape[-1]), ndim=3)
    own = Clips(x)
    return own, own if source is x else Clips(source if other is None else other)


class MixStyle(Mixer):
    """Mix mean and spread of each channel of a feature map with those of another clip; the label is kept.

    Parameters
    ----------
    alpha : float or schedule
        The original's share of the style is drawn from Beta(alpha, alpha): 0.1 mostly leaves a style or takes the
        partner's over.
    eps : float
        Added to the variance, in the square of what `x` holds.
    num_classes, p, pairing, time_axis
        See `audiomix.Mixer`. Domains as in the paper: `pairing="different_class"` with the domain as the target of the
        call.

    Notes
    -----
    Axis 1 holds the channels: of maps (B, C, F, N) the statistics are over F and N, of (B, C, N) over N. On log
    spectrograms use `FreqMixStyle`, whose statistics are of each frequency. With `lengths` they are over the valid
    frames, and padding stays as it is. A clip that has, or whose partner has, fewer than two valid frames is left as it
    is, with a reason in the plan.

    In a network it stands as a layer: ``audiomix.network.MixLayer(MixStyle())``, between the first blocks.

    The label rule: the original's label is kept whole, whatever the style.

    See Also
    --------
    audiomix.FreqMixStyle : statistics of each frequency.
    audiomix.MixLayer : makes it a layer of a network.

    Examples
    --------
    >>> maps = torch.randn(4, 16, 20, 50)
    >>> mixed = MixStyle(p=1.0)(maps, generator=torch.Generator().manual_seed(0))
    >>> plan = mixed.plans[0]
    >>> wanted = torch.lerp(maps[plan.partner].mean((2, 3)), maps.mean((2, 3)), plan.ratio.float()[:, None])
    >>> bool(torch.allclose(mixed.x.mean((2, 3)), wanted, atol=1e-5))
    True
    """

    plan_type = StylePlan
    takes_self = False
    per: ClassVar[Per] = "channel"

    def __init__(
        self,
        alpha: float | str | Schedule = 0.1,
        *,
        eps: float = 1e-6,
        num_classes: int | None = None,
        p: float | str | Schedule = 0.5,
        pairing: Pairing = "any",
        time_axis: int | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, p=p, pairing=pairing, time_axis=time_axis)
        self.alpha = Schedule.of(alpha, "alpha").within("alpha", 0)
        self.eps = check.number("eps", eps, 1e-12, slip="added to the variance, so that constant maps have a spread")

    @property
    def needs(self) -> Needs:
        """Spectrograms and feature maps; a partner whose label is not mixed in."""
        return Needs(domain=frozenset({SPECTROGRAM}), partner="whole", target=False, summed=False)

    @property
    def keeps_target(self) -> bool:
        """Whether the target comes back as it is: where `num_classes` does not ask for float (B, K)."""
        return self.num_classes is None

    @classmethod
    def examples(cls) -> list[Example]:
        """Return it on feature maps of several channels, and with a share that is uniform."""
        return [Example(cls(p=1.0), shape=(3, 12, 100)), Example(cls(1.0, p=1.0), shape=(12, 100))]

    def check_pairing(self, pairing: str) -> str:
        """Return a rule by which this mixer can choose partners, or raise."""
        if pairing == SELF:
            slip = "a clip has its own style wherever it is read from"
            check.fail("pairing", f"another one for {type(self).__name__}", repr(pairing), slip)
        return super().check_pairing(pairing)

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw partners and shares of the style."""
        partner, mixed = self.pair(own, source, progress=progress, generator=generator)
        ratio = draw.beta(self.alpha(progress), len(own), generator=generator)
        frames = torch.minimum(own.valid, source.valid[partner])
        able = frames >= FEWEST
        why = reasons(mixed, able, f"fewer than {FEWEST} valid frames")
        ratio = torch.where(mixed & able, ratio, 1.0)
        return replace(StylePlan.identity(len(own)), partner=partner, ratio=ratio, why=why)

    def render_into(self, own: Clips, source: Clips, plan: Plan, out: Tensor | None = None) -> Tensor:
        """Apply a plan; see `mix_style`. Padding stays as it is."""
        assert isinstance(plan, StylePlan)
        return restyle(own, source, plan, per=self.per, eps=self.eps, out=out)

    def mix_target(self, target: Tensor, plan: Plan, *, other: Tensor | None = None) -> Tensor:
        """Return the original's target."""
        return self.keep_target(target)

    def check_input(self, own: Clips, source: Clips) -> None:
        """Refuse embeddings and single-channel waveforms."""
        super().check_input(own, source)
        x = own.x
        if x.ndim < 3 or (x.ndim == 3 and x.shape[1] == 1):
            slip = "a waveform? take its LogMel first" if x.ndim == 3 else "embeddings have no spread along time"
            check.fail("x", "spectrograms or feature maps (B, ..., F, N) or (B, C, N)", f"shape {tuple(x.shape)}", slip)
