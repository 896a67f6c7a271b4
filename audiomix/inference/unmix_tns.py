r"""UnMix-TNS: batch normalisation whose statistics follow a stream of clips that come class by class.

A batch of one class has statistics of its own, which spoil those of all. Here a layer keeps K components, and each clip
is normalised by all of them, each moved toward the clip the more the nearer it is:

.. math:: p_k = \mathrm{softmax}_k(\cos(m, \mu_k) / 0.07), \qquad
          \bar\mu_k = (1 - p_k) \mu_k + p_k m, \quad \bar v_k = (1 - p_k) v_k + p_k v

.. math:: y = \gamma \frac{x - \bar\mu}{\sqrt{\bar v + \epsilon}} + \beta, \qquad
          \bar\mu = \tfrac{1}{K} \textstyle\sum_k \bar\mu_k, \quad
          \bar v = \tfrac{1}{K} \textstyle\sum_k (\bar v_k + \bar\mu_k^2) - \bar\mu^2

m and v are mean and variance of the clip. At the start :math:`\mu_k = \mu + \sqrt{\alpha K / (K - 1)} \, \sigma n_k`
and :math:`v_k = (1 - \alpha) \sigma^2` with normal n, so that the mixture has the variance of the trained layer. After
each call the components move by :math:`M \, \mathrm{mean}_b \, p_{b,k} (m_b - \mu_k)`, M = 1 - (1 - momentum)^(B / 64).
"""

import math

import torch
from torch import Tensor, nn

from .. import check, draw
from ..clips import behind
from ..draw import Generator

__all__ = ["UnMixTNS", "replace_batch_norm"]

_BatchNorm = nn.modules.batchnorm._BatchNorm


class UnMixTNS(nn.Module):
    """A trained batch normalisation for test-time streams.

    Source: Tomar et al., "Un-Mixing Test-Time Normalization Statistics: Combatting Label Temporal Correlation", ICLR
    2024. Its one-dimensional layer changes nothing; waveforms, spectrograms and `lengths` are ours.

    Parameters
    ----------
    layer : torch.nn.BatchNorm1d or BatchNorm2d
        As it was trained, with running statistics.
    components : int
        K, 1 or more. One component is instance normalisation.
    spread : float
        alpha, in [0, 1): how much of the variance lies between the components.
    momentum : float, optional
        In [0, 1], by default the layer's, 0.1 where it averages over all batches (None); 0 keeps the components where
        they are.
    temperature : float
        Divides the cosines, above 0.
    generator : torch.Generator, optional
        Of the first components; on the CPU, None means torch's global one.

    Notes
    -----
    It follows the stream in training and evaluation alike: the components are buffers, and each call changes them.
    Save ``state_dict()`` before the stream to start again.

    Examples
    --------
    >>> layer = torch.nn.BatchNorm2d(8).eval()
    >>> stream = UnMixTNS(layer)
    >>> stream(torch.randn(4, 8, 64, 100)).shape
    torch.Size([4, 8, 64, 100])
    """

    means: Tensor
    variances: Tensor

    def __init__(
        self,
        layer: nn.Module,
        components: int = 16,
        *,
        spread: float = 0.5,
        momentum: float | None = None,
        temperature: float = 0.07,
        generator: Generator = None,
    ) -> None:
        super().__init__()
        if not isinstance(layer, _BatchNorm) or layer.running_mean is None or layer.running_var is None:
            slip = "track_running_stats=True?" if isinstance(layer, _BatchNorm) else ""
            check.fail("layer", "a batch normalisation with running statistics", layer, slip)
        count = check.integer("components", components, 1)
        if check.fraction("spread", spread) == 1:
            check.fail("spread", "in [0, 1)", spread)
        if momentum is None:
            momentum = 0.1 if layer.momentum is None else layer.momentum
        self.momentum = check.fraction("momentum", momentum)
        self.temperature = check.number("temperature", temperature, 1e-6)
        self.eps, self.weight, self.bias = layer.eps, layer.weight, layer.bias
        mean, variance = layer.running_mean.detach(), layer.running_var.detach()
        between = spread * count / (count - 1) if count > 1 else 0.0
        offset = draw.normal(1.0, count * len(mean), generator=generator).view(count, -1).to(mean)
        self.register_buffer("means", mean + (between * variance).sqrt() * offset)
        self.register_buffer("variances", ((1 - spread) * variance).expand(count, -1).clone())

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the clips normalised, and let the components follow them.

        Parameters
        ----------
        x : Tensor, shape (B, C, T) or (B, C, F, T)
            Features, time last. A batch (B, C) is refused: a clip of one number a channel has no variance of its own.
        lengths : Tensor, shape (B,), optional
            Valid frames of each clip: statistics are of those. A clip without one moves nothing.

        Raises
        ------
        ValueError, TypeError
            Other channels than the layer has, or `lengths` that do not fit.
        """
        check.batch("x", check.floating("x", x), ndim=3)
        if x.shape[1] != self.means.shape[1]:
            check.fail("x", f"of {self.means.shape[1]} channels, (B, C, ..., T)", f"shape {tuple(x.shape)}")
        own_mean, own_variance = self._statistics(x, lengths)
        with torch.no_grad():
            cosine = nn.functional.cosine_similarity(own_mean[:, None], self.means.to(own_mean), dim=2)
            share = (cosine / self.temperature).softmax(1)[..., None]  # (B, K, 1)
        # copies: what is below must not see the change at the end
        means, variances = self.means.to(own_mean, copy=True), self.variances.to(own_mean, copy=True)
        mixed_mean = (1 - share) * means + share * own_mean[:, None]
        mixed_variance = (1 - share) * variances + share * own_variance[:, None]
        mean = mixed_mean.mean(1)
        variance = (mixed_variance + mixed_mean.square()).mean(1) - mean.square()
        shape = (len(x), -1, *[1] * (x.ndim - 2))
        scale = (variance.clamp(min=0) + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * self.weight
        shift = -mean * scale + (0 if self.bias is None else self.bias)
        there = torch.ones(len(x)) if lengths is None else check.lengths("lengths", lengths, x) > 0
        self._follow(share * there.to(share)[:, None, None], own_mean.detach(), own_variance.detach())
        return (x * scale.view(shape) + shift.view(shape)).to(x.dtype)

    def _statistics(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return mean and biased variance of the valid part of each clip, (B, C) each."""
        # the square of a value above 255 has no place in float16
        wide = x.to(torch.promote_types(torch.promote_types(x.dtype, self.means.dtype), torch.float32))
        axes = tuple(range(2, x.ndim))
        if lengths is None:
            return wide.mean(axes), wide.var(axes, correction=0)
        valid = check.lengths("lengths", lengths, x)
        outside = behind(x, valid)
        count = (valid.to(wide) * math.prod(x.shape[2:-1])).clamp(min=1)[:, None]
        mean = wide.masked_fill(outside, 0).sum(axes) / count
        centred = (wide - mean.view(*mean.shape, *[1] * len(axes))).masked_fill(outside, 0)
        return mean, centred.square().sum(axes) / count

    @torch.no_grad()
    def _follow(self, share: Tensor, mean: Tensor, variance: Tensor) -> None:
        """Move the components toward the clips, in place."""
        rate = 1 - (1 - self.momentum) ** (len(mean) / 64)
        self.means += (rate * (share * (mean[:, None] - self.means)).mean(0)).to(self.means)
        self.variances += (rate * (share * (variance[:, None] - self.variances)).mean(0)).to(self.variances)

    def extra_repr(self) -> str:
        """Return channels and components."""
        return f"{self.means.shape[1]}, components={len(self.means)}"


def replace_batch_norm(
    network: nn.Module, components: int = 16, *, spread: float = 0.5, momentum: float | None = None,
    generator: Generator = None,
) -> int:  # fmt: skip
    """Replace all batch normalisations inside a network, in place, and return how many there were.

    Source: Tomar et al., "Un-Mixing Test-Time Normalization Statistics: Combatting Label Temporal Correlation", ICLR
    2024.

    Parameters
    ----------
    network : torch.nn.Module
        A trained network; a layer that is in it twice is one still. Its batch normalisations have a time axis: layers
        on pooled features (B, C) have one number a clip, and will refuse it.
    components, spread, momentum, generator
        See `UnMixTNS`.

    Raises
    ------
    ValueError
        There is none to replace.

    Examples
    --------
    >>> network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4))
    >>> replace_batch_norm(network), type(network[1]).__name__
    (1, 'UnMixTNS')
    """
    check.one_of_types("network", network, nn.Module, "a torch.nn.Module")
    made: dict[nn.Module, UnMixTNS] = {}
    for parent in list(network.modules()):
        for name, child in list(parent._modules.items()):  # named_children leaves out the second place of a layer
            if isinstance(child, _BatchNorm):
                if child not in made:
                    made[child] = UnMixTNS(child, components, spread=spread, momentum=momentum, generator=generator)
                setattr(parent, name, made[child])
    if not made:
        slip = "wrap it: torch.nn.Sequential(layer)" if isinstance(network, _BatchNorm) else ""
        check.fail("network", "a network with batch normalisation inside", type(network).__name__, slip)
    return len(made)
