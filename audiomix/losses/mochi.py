r"""MoCHi: hard negatives that are mixes of the hardest ones in the queue, and of these with the query itself.

.. math:: h = \frac{\alpha n_i + (1 - \alpha) n_j}{\|\cdot\|}, \; \alpha \sim U(0, 1), \qquad
          h' = \frac{\beta q + (1 - \beta) n_j}{\|\cdot\|}, \; \beta \sim U(0, 0.5)

of the N negatives n that are nearest to the query q. No gradient goes through mixes; they are more negatives below the
fraction of the contrastive loss. Two different negatives are mixed; public codes let a negative meet itself.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from .. import check, draw
from ..draw import Generator
from ._inputs import dots, unit_features

__all__ = ["mix_negatives", "mochi"]


def mix_negatives(
    query: Tensor, queue: Tensor, *, hardest: int = 1024, mixes: int = 512, query_mixes: int = 256,
    exclude: Tensor | None = None, generator: Generator = None,
) -> Tensor:  # fmt: skip
    """Return mixed hard negatives of each query, of length 1 and without a gradient.

    Parameters
    ----------
    query : Tensor, shape (B, D), floating point
        Embeddings, of any length.
    queue : Tensor, shape (M, D), floating point
        Negatives, such as earlier keys.
    hardest : int
        N: how many of the nearest are mixed; all where there are fewer.
    mixes, query_mixes : int
        How many mixes of two negatives, and of a negative with the query, each query gets.
    exclude : Tensor, shape (B, M), bool, optional
        What in the queue is no negative of a query: other views of the same clip.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.

    Returns
    -------
    Tensor, shape (B, mixes + query_mixes, D)

    Raises
    ------
    ValueError
        A query has fewer than two negatives, or another wrong argument.

    Examples
    --------
    >>> query, queue = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.6, 0.8], [0.6, -0.8], [-1.0, 0.0]])
    >>> mixed = mix_negatives(query, queue, hardest=2, mixes=3, query_mixes=1)
    >>> mixed.shape, bool((mixed.norm(dim=2) - 1).abs().max() < 1e-6), bool((mixed[0] @ query[0] >= 0.599).all())
    (torch.Size([1, 4, 2]), True, True)
    """
    with torch.no_grad():
        q = unit_features("query", query)
        n = _check_queue(queue, q)
        sizes = {"hardest": hardest, "mixes": mixes, "query_mixes": query_mixes}
        first, some, own = (check.integer(name, size, 2 * (name == "hardest")) for name, size in sizes.items())
        cosine = dots(q, n)
        if exclude is not None:
            cosine = cosine.masked_fill(_check_exclude(exclude, cosine), -torch.inf)
        first = min(first, len(n))
        near, index = cosine.topk(first)
        count = near.isfinite().sum(1).cpu()
        if int(count.min()) < 2:
            check.fail("queue", "of two negatives or more for each query", int(count.min()))
        size = len(q) * (some + own)
        left = draw.integers(count.repeat_interleave(some + own), generator=generator).view(len(q), -1)
        # another one than the first: of those that are left
        step = draw.integers(count.repeat_interleave(some) - 1, generator=generator).view(len(q), -1)
        right = (left[:, :some] + 1 + step) % count[:, None]
        share = draw.uniform(0, 1, size, generator=generator).view(len(q), -1, 1).to(q)
        rows = index.gather(1, torch.cat([left, right], 1).to(index.device))
        a, b = n[rows[:, : some + own]], n[rows[:, some + own :]]
        share[:, some:] /= 2  # of the query
        pairs = share[:, :some] * a[:, :some] + (1 - share[:, :some]) * b
        with_query = share[:, some:] * q[:, None] + (1 - share[:, some:]) * a[:, some:]
        return F.normalize(torch.cat([pairs, with_query], 1), dim=2)


def mochi(
    query: Tensor,
    positive: Tensor,
    queue: Tensor,
    *,
    temperature: float = 0.2,
    hardest: int = 1024,
    mixes: int = 512,
    query_mixes: int = 256,
    exclude: Tensor | None = None,
    generator: Generator = None,
) -> Tensor:
    """Return the contrastive loss of queries with a queue of negatives and mixes of these; mean over the batch.

    Source: Kalantidis et al., "Hard Negative Mixing for Contrastive Learning", NeurIPS 2020.

    Parameters
    ----------
    query, positive : Tensor, shape (B, D), floating point
        Embeddings of two views, of any length.
    queue : Tensor, shape (M, D), floating point
        Negatives, such as earlier keys; no gradient goes through them.
    temperature : float
        Divides the cosines, above 0.
    hardest, mixes, query_mixes, exclude, generator
        See `mix_negatives`. In public codes mixes begin after some epochs: until then ``mixes=0, query_mixes=0``.

    Returns
    -------
    Tensor, scalar
        In float32 at least.

    Raises
    ------
    ValueError, TypeError
        Embeddings that do not fit, or another wrong argument.

    Examples
    --------
    >>> query, queue = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.6, 0.8], [0.6, -0.8], [-1.0, 0.0]])
    >>> plain = mochi(query, query, queue, mixes=0, query_mixes=0)
    >>> bool(mochi(query, query, queue, hardest=2, mixes=8, query_mixes=8) > plain)
    True
    """
    q = unit_features("query", query)
    k = unit_features("positive", positive, q).to(q)
    tau = check.number("temperature", temperature, 1e-6)
    n = _check_queue(queue, q).detach()
    logits = dots(q, n)
    if exclude is not None:
        logits = logits.masked_fill(_check_exclude(exclude, logits), -torch.inf)
    own = (q * k).sum(1, keepdim=True)
    found = [own, logits]
    if mixes or query_mixes:
        mixed = mix_negatives(
            q, n, hardest=hardest, mixes=mixes, query_mixes=query_mixes, exclude=exclude, generator=generator
        )
        found.append(dots(q[:, None], mixed)[:, 0])
    everything = torch.cat(found, 1) / tau
    return (everything.logsumexp(1) - everything[:, 0]).mean()


def _check_queue(queue: Tensor, query: Tensor) -> Tensor:
    n = unit_features("queue", queue).to(query)
    if n.shape[1] != query.shape[1]:
        check.fail("queue", f"embeddings (M, {query.shape[1]}), as the query is", tuple(n.shape))
    return n


def _check_exclude(exclude: Tensor, cosine: Tensor) -> Tensor:
    exclude = check.tensor("exclude", exclude)
    if exclude.dtype != torch.bool or exclude.shape != cosine.shape:
        check.fail("exclude", f"bool of shape {tuple(cosine.shape)}", f"{exclude.dtype} {tuple(exclude.shape)}")
    return exclude.to(cosine.device)
