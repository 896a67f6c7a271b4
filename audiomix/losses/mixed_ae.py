r"""MixedAE: a masked autoencoder whose masked patches are filled with patches of other clips.

The patches of a group of r clips are exchanged, at each place by a permutation of its own: each of the r mixes has a
patch of one of the clips at each place, and no patch is lost. The encoder is told by an embedding which clip of its
group a patch is of; the decoder gives back each clip whole, and what it did not see is compared:

.. math:: L = \frac{\sum_{i, m} [s_{i,m} \ne i] \, \|\hat x_{i,m} - x_{i,m}\|^2 / D}{\sum_{i, m} [s_{i,m} \ne i]}

Tokens of one clip attract each other. The paper's code could not be read: what stands here follows its abstract and a
public reimplementation without that one's faults (errors over what is seen, square grids only).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .. import check, draw
from ..draw import Generator
from ._inputs import dots, unit, wide

__all__ = ["MixedPatches", "mix_patches", "mixed_ae", "source_contrast"]


class MixedPatches(NamedTuple):
    """What `mix_patches` returns."""

    patches: Tensor  # (B, M, D): of each mix
    source: Tensor  # (B, M), int64: the row of the batch that each patch is of

    @property
    def own(self) -> Tensor:
        """Which patches are the row's own; (B, M), bool."""
        return self.source == torch.arange(len(self.source), device=self.source.device)[:, None]


def mix_patches(patches: Tensor, *, group: int = 2, generator: Generator = None) -> MixedPatches:
    """Exchange patches among the clips of each group, place by place.

    Parameters
    ----------
    patches : Tensor, shape (B, M, D), floating point
        Patches of spectrograms, or their embeddings. Left unchanged.
    group : int
        r, 1 or more: so many clips of the batch, one behind the other, exchange theirs. B is a multiple of it.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.

    Raises
    ------
    ValueError
        B is no multiple of `group`, or another wrong argument.

    Examples
    --------
    >>> clips = torch.arange(4.0).view(4, 1, 1).expand(4, 6, 1)
    >>> mixed = mix_patches(clips, group=2)
    >>> sorted(mixed.patches[:2].flatten().tolist()) == [0.0] * 6 + [1.0] * 6
    True
    """
    check.batch("patches", check.floating("patches", patches), ndim=3)
    if patches.ndim != 3:
        check.fail("patches", "of shape (B, M, D)", tuple(patches.shape))
    check.integer("group", group, 1)
    size, places = patches.shape[:2]
    if size % group:
        check.fail("patches", f"of a multiple of {group} clips, which exchange theirs", size)
    count = size // group * places
    order = draw.uniform(0, 1, count * group, generator=generator).view(-1, group, places).argsort(1)
    first = torch.arange(0, size, group).repeat_interleave(group)[:, None]
    source = (order.reshape(size, places) + first).to(patches.device)
    return MixedPatches(patches[source, torch.arange(places, device=patches.device)], source)


def mixed_ae(decoded: Tensor, patches: Tensor, mixed: MixedPatches) -> Tensor:
    """Return the mean squared error of the patches of each clip that its own mix does not show.

    Source: Chen et al., "Mixed Autoencoder for Self-supervised Visual Representation Learning", CVPR 2023 (abstract).

    Parameters
    ----------
    decoded : Tensor, shape (B, M, D), floating point
        What the decoder makes of each clip.
    patches : Tensor, shape (B, M, D), floating point
        The clips themselves.
    mixed : MixedPatches
        What the encoder saw.

    Returns
    -------
    Tensor, scalar
        In float32 at least; 0 where all is seen, as with groups of one clip.

    Raises
    ------
    ValueError, TypeError
        Sizes that do not fit.

    Examples
    --------
    >>> clips = torch.randn(4, 6, 8)
    >>> mixed_ae(clips, clips, mix_patches(clips))
    tensor(0.)
    """
    check.floating("decoded", decoded)
    if decoded.shape != check.floating("patches", patches).shape or decoded.shape[:2] != mixed.source.shape:
        got = f"{tuple(decoded.shape)}, {tuple(patches.shape)} and {tuple(mixed.source.shape)}"
        check.fail("decoded, patches and mixed.source", "of shape (B, M, D), (B, M, D) and (B, M)", got)
    dtype = wide(decoded, patches)
    hidden = (~mixed.own).to(decoded.device, dtype)
    error = (decoded.to(dtype) - patches.detach().to(dtype)).square().mean(2)
    return (hidden * error).sum() / hidden.sum().clamp(min=1)


def source_contrast(tokens: Tensor, mixed: MixedPatches, *, temperature: float = 0.25) -> Tensor:
    """Return the contrastive loss of the tokens of each mix: those of one clip are positives of each other.

    Source: Chen et al., "Mixed Autoencoder for Self-supervised Visual Representation Learning", CVPR 2023 (abstract).

    Parameters
    ----------
    tokens : Tensor, shape (B, M, D), floating point
        What the encoder makes of the patches of the mixes, of any length.
    mixed : MixedPatches
        What the encoder saw.
    temperature : float
        Divides the cosines, above 0.

    Returns
    -------
    Tensor, scalar
        In float32 at least; mean over the tokens that have a positive.

    Raises
    ------
    ValueError, TypeError
        Sizes that do not fit, or another wrong argument.

    Examples
    --------
    >>> clips = torch.randn(4, 6, 8)
    >>> mixed = mix_patches(clips)
    >>> alike = torch.nn.functional.one_hot(mixed.source).float()
    >>> bool(source_contrast(alike, mixed, temperature=1.0) > source_contrast(alike, mixed, temperature=0.1))
    True
    """
    check.floating("tokens", tokens)
    if tokens.ndim != 3 or tokens.shape[:2] != mixed.source.shape:
        check.fail("tokens", f"of shape (B, M, D) with (B, M) = {tuple(mixed.source.shape)}", tuple(tokens.shape))
    t = unit(tokens)
    itself = torch.eye(t.shape[1], dtype=torch.bool, device=t.device)
    cosine = dots(t, t) / check.number("temperature", temperature, 1e-6)
    log_share = cosine - cosine.masked_fill(itself, -torch.inf).logsumexp(2, keepdim=True)
    source = mixed.source.to(t.device)
    positive = (source[:, :, None] == source[:, None, :]) & ~itself
    count = positive.sum(2)
    each = -torch.where(positive, log_share, 0.0).sum(2) / count.clamp(min=1)
    return each.sum() / (count > 0).sum().clamp(min=1)
