r"""Freq-MixStyle: each frequency of a spectrogram gets a mean and a spread between two clips'; the label is kept.

.. math:: x'_f = \left(s \sigma_f + (1 - s) \sigma_{p,f}\right) \frac{x_f - \mu_f}{\sigma_f}
                 + s \mu_f + (1 - s) \mu_{p,f}, \quad s \sim \mathrm{Beta}(\alpha, \alpha)

with statistics of each frequency over channels and time: what a microphone or a room adds to a log spectrogram is a
level of each frequency. The first paper has alpha and p 0.4. Which clips are mixed is drawn for each one [ours], not
for the batch.

Source: Schmid et al., "CP-JKU Submission to DCASE22: Distilling Knowledge for Low-Complexity Convolutional Neural
Networks From a Patchout Audio Transformer", DCASE Challenge 2022; Kim et al., "Domain Generalization with Relaxed
Instance Frequency-wise Normalization for Multi-device Acoustic Scene Classification", Interspeech 2022.
Label: kept.
"""

from dataclasses import replace
from typing import ClassVar

from torch import Tensor

from ..mixer import Example, Needs, Pairing
from ..schedule import Schedule
from ._style import Per, StylePlan, restyle
from .mix_style import MixStyle, sides_of_style

__all__ = ["FreqMixStyle", "freq_mix_style"]


def freq_mix_style(
    x: Tensor, plan: StylePlan, *, other: Tensor | None = None, eps: float = 1e-6, out: Tensor | None = None
) -> Tensor:
    """Mix the style of each clip with its partner's, frequency by frequency.

    Parameters
    ----------
    x : Tensor, shape (B, ..., F, N)
        Spectrograms or feature maps. Left unchanged.
    plan : StylePlan
        Partners, and shares of the style.
    other : Tensor, shape (M, ..., F, N'), optional
        Where partners come from.
    eps : float
        Added to the variance.
    out : Tensor, shape of x, optional
        Written and returned.

    Examples
    --------
    >>> import torch
    >>> plan = StylePlan(torch.tensor([1, 0]), torch.ones(2).double(), ratio=torch.tensor([0.5, 1.0]).double())
    >>> x = torch.tensor([[[0.0, 2.0], [5.0, 5.0]], [[10.0, 16.0], [5.0, 5.0]]])
    >>> freq_mix_style(x, plan)[0].round(decimals=3)
    tensor([[5., 9.],
            [5., 5.]])
    """
    return restyle(*sides_of_style(x, plan, other), plan, per="frequency", eps=eps, out=out)


class FreqMixStyle(MixStyle):
    """Mix mean and spread of each frequency with those of another clip, against a shift of devices; the label is kept.

    Parameters
    ----------
    alpha : float or schedule
        The original's share of the style is drawn from Beta(alpha, alpha).
    eps : float
        Added to the variance, in the square of what `x` holds.
    num_classes, p, pairing, time_axis
        See `audiomix.Mixer`.

    Notes
    -----
    The axis before time holds frequencies: of (B, C, F, N) the statistics are over C and N. For the rest see
    `MixStyle`.

    See Also
    --------
    audiomix.MixStyle : statistics of each channel.

    Examples
    --------
    >>> import torch
    >>> spec = torch.randn(4, 1, 64, 100) * 10 - 50
    >>> mixed = FreqMixStyle(p=1.0)(spec, torch.arange(4), generator=torch.Generator().manual_seed(0))
    >>> plan = mixed.plans[0]
    >>> wanted = torch.lerp(spec[plan.partner].mean((1, 3)), spec.mean((1, 3)), plan.ratio.float()[:, None])
    >>> bool(torch.allclose(mixed.x.mean((1, 3)), wanted, atol=1e-4)), mixed.target
    (True, tensor([0, 1, 2, 3]))
    """

    per: ClassVar[Per] = "frequency"

    def __init__(
        self,
        alpha: float | str | Schedule = 0.4,
        *,
        eps: float = 1e-6,
        num_classes: int | None = None,
        p: float | str | Schedule = 0.4,
        pairing: Pairing = "any",
        time_axis: int | None = None,
    ) -> None:
        super().__init__(alpha, eps=eps, num_classes=num_classes, p=p, pairing=pairing, time_axis=time_axis)

    @property
    def needs(self) -> Needs:
        """Spectrograms and feature maps; which axis is time must be right."""
        return replace(super().needs, axes=True)

    @classmethod
    def examples(cls) -> list[Example]:
        """Return it on log spectrograms of one channel and of several."""
        return [Example(cls(p=1.0), shape=(1, 12, 100)), Example(cls(1.0, p=1.0), shape=(2, 12, 100))]
