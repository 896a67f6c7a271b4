"""The only randomness of the package: every number is drawn here, from a `torch.Generator` on the CPU.

``generator=None`` means torch's global generator, which `torch.manual_seed` sets and DataLoader seeds per worker.
Nothing here seeds a global generator. Parameters are drawn in float64 and cast by whoever applies them: the Beta
distribution under- and overflows in half precision.
"""

import hashlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import check

__all__ = [
    "Generator",
    "bernoulli",
    "beta",
    "categorical",
    "check_generator",
    "derangement",
    "dirichlet",
    "distinct",
    "generator_for",
    "integers",
    "log_gamma",
    "normal",
    "permutation",
    "uniform",
]

Generator = torch.Generator | None


def generator_for(seed: int, *ids: Any) -> torch.Generator:
    """Return a generator that depends on `seed` and `ids` alone: not on order, workers, epochs or what came before.

    A keyed BLAKE2b hash of the ids, as strings, gives 63 bits of seed.

    Parameters
    ----------
    seed : int
        The run's seed: the hash's key.
    *ids : Any
        What the numbers are for, e.g. ``(epoch, file_name, copy)``.

    Examples
    --------
    >>> a, b = generator_for(0, "dog.wav", 1), generator_for(0, "dog.wav", 1)
    >>> bool((uniform(0, 1, 5, generator=a) == uniform(0, 1, 5, generator=b)).all())
    True
    """
    # The length in front of each id keeps ("ab", "c") and ("a", "bc") apart.
    text = "".join(f"{len(str(i))}:{i}" for i in ids).encode()
    key = int(seed).to_bytes(16, "little", signed=True)
    digest = hashlib.blake2b(text, key=key, digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def permutation(size: int, *, generator: Generator = None) -> Tensor:
    """Draw a uniform permutation of 0..size-1; int64, shape (size,).

    Parameters
    ----------
    size : int
        How many.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.
    """
    return torch.randperm(size, generator=generator)


def derangement(size: int, *, generator: Generator = None) -> Tensor:
    """Draw a permutation without fixed points; int64, shape (size,). For size 1 it is [0]: there is no other.

    A uniform one-cycle permutation (what Sattolo's algorithm gives): every other clip is the partner with the same
    probability 1 / (size - 1), in one pass and without rejection.

    Parameters
    ----------
    size : int
        How many.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.
    """
    order = permutation(size, generator=generator).numpy()
    partner = np.empty_like(order)
    partner[order[:-1]], partner[order[-1:]] = order[1:], order[:1]
    return torch.from_numpy(partner)


def uniform(low: float, high: float, size: int, *, generator: Generator = None) -> Tensor:
    """Draw from U(low, high); float64, shape (size,).

    Parameters
    ----------
    low, high : float
        The limits.
    size : int
        How many.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.
    """
    drawn = torch.rand(size, dtype=torch.float64, generator=generator)
    return drawn if (low, high) == (0, 1) else low + (high - low) * drawn


def normal(std: float, size: int, *, generator: Generator = None) -> Tensor:
    """Draw from a normal distribution of mean 0; float64, shape (size,).

    Parameters
    ----------
    std : float
        Standard deviation.
    size : int
        How many.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.
    """
    return std * torch.randn(size, dtype=torch.float64, generator=generator)


def integers(high: Tensor, *, generator: Generator = None) -> Tensor:
    """Draw one whole number from 0..high[i]-1 for each i; int64, same shape. Where high is 0 the result is 0.

    Parameters
    ----------
    high : Tensor, int64
        How many numbers there are to draw from, for each i.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.
    """
    u = torch.rand(high.shape, dtype=torch.float64, generator=generator)
    return torch.minimum((u * high).long(), (high - 1).clamp(min=0))


def bernoulli(p: float, size: int, *, generator: Generator = None) -> Tensor:
    """Draw True with probability p; bool, shape (size,). Exact at p = 0 and p = 1, where no number is drawn.

    Parameters
    ----------
    p : float
        Probability of True, in [0, 1].
    size : int
        How many.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.
    """
    if p in (0, 1):
        return torch.full((size,), p == 1)
    return torch.rand(size, dtype=torch.float64, generator=generator) < p


def beta(alpha: float, size: int, *, partner: float | None = None, generator: Generator = None) -> Tensor:
    """Draw from Beta(alpha, alpha), or from Beta(alpha, partner); float64, shape (size,).

    ``alpha = 0`` alone gives ones: nothing is mixed. Of two parameters one that is 0 has no share.

    Parameters
    ----------
    alpha : float
        Concentration, at least 0: large values lie near one half.
    size : int
        How many.
    partner : float, optional
        The second parameter, where it is another one: the mean is ``alpha / (alpha + partner)``.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.
    """
    if partner is not None and partner != alpha:
        if 0 in (alpha, partner):
            return torch.full((size,), float(alpha > 0), dtype=torch.float64)
        own, theirs = (log_gamma(shape, size, generator=generator) for shape in (alpha, partner))
        return torch.sigmoid(own.sub_(theirs))
    if alpha == 0:
        return torch.ones(size, dtype=torch.float64)
    if alpha == 1:
        return torch.rand(size, dtype=torch.float64, generator=generator)
    if alpha >= _NO_UNDERFLOW:  # what torch.distributions.Dirichlet draws with; that class takes no generator
        both = torch._sample_dirichlet(torch.full((size, 2), alpha, dtype=torch.float64), generator)
        return torch.from_numpy(both.numpy()[:, 0].copy())
    first, second = log_gamma(alpha, 2, size, generator=generator)
    return first.sub_(second).sigmoid_()


# From this shape on one number in 1e31 from Gamma(shape, 1) is 0 in float64.
_NO_UNDERFLOW = 0.1


def dirichlet(
    concentration: float, there: Tensor, *, same: bool = False, generator: Generator = None
) -> Tensor:
    """Draw shares from symmetric Dirichlet distributions; float64, the shape of `there`.

    Parameters
    ----------
    concentration : float
        Above 0: large values give equal parts, 1 any parts alike, small ones most to one.
    there : Tensor, shape (size, K), bool
        Who has a share: they sum to 1 in each row. The others have 0.
    same : bool
        One draw for all rows, of which each takes those who are there, in proportion.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.
    """
    size, count = there.shape
    drawn = log_gamma(concentration, 1 if same else size, count, generator=generator).expand(size, count)
    shares = drawn.masked_fill(~there, -torch.inf).softmax(1)
    return torch.where(there, shares, 0.0)  # where nobody is there the softmax is undefined


def log_gamma(shape: float, *size: int, generator: Generator = None) -> Tensor:
    """Draw logarithms of numbers from Gamma(shape, 1); float64, of shape `size`.

    The softmax of K of them is a draw from a Dirichlet distribution, the sigmoid of a difference one from a Beta. Of a
    small shape the numbers themselves underflow: half of those from Gamma(0.001, 1) are below 1e-301.

    Parameters
    ----------
    shape : float
        Shape parameter, above 0.
    *size : int
        How many, along each axis.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.

    Notes
    -----
    X = Y U^(1/shape) with Y from Gamma(shape + 1, 1) and U uniform (Marsaglia and Tsang, "A simple method for
    generating gamma variables", 2000, section 6); -log U is exponential.
    """
    drawn = torch._standard_gamma(torch.full(size, shape + 1, dtype=torch.float64), generator).log_()
    return drawn.sub_(torch.empty_like(drawn).exponential_(shape, generator=generator))


def categorical(probabilities: Tensor, size: int, *, generator: Generator = None) -> Tensor:
    """Draw indices with the given probabilities (they are normalised); int64, shape (size,).

    Parameters
    ----------
    probabilities : Tensor, shape (K,)
        Of each index, at least 0, in any unit; not all 0.
    size : int
        How many.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.
    """
    edges = probabilities.to(torch.float64).cumsum(0)
    u = torch.rand(size, dtype=torch.float64, generator=generator) * edges[-1]
    return torch.searchsorted(edges, u, right=True).clamp(max=int(probabilities.nonzero().max()))


def distinct(high: int, count: int, *, weights: Tensor | None = None, generator: Generator = None) -> Tensor:
    """Draw `count` different numbers from 0..high-1, in the order in which they are drawn; int64, shape (count,).

    With weights each number is drawn among those that are left with probabilities in proportion to them, by an
    exponential race (Efraimidis and Spirakis, 2006): the smallest of the times ``-log(u) / weight`` come first.

    Parameters
    ----------
    high : int
        How many numbers there are to draw from.
    count : int
        How many are drawn: at most `high`, and at most as many as have a weight above 0.
    weights : Tensor, shape (high,), float64, optional
        At least 0; all alike where it is None.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.
    """
    if weights is not None:
        times = -torch.log1p(-torch.rand(high, dtype=torch.float64, generator=generator)) / weights
        return times.nan_to_num(nan=torch.inf).topk(count, largest=False).indices
    if 2 * count > high:
        return permutation(high, generator=generator)[:count]
    found: dict[int, None] = {}  # in order, and with few repetitions: no number for each of a large set
    while len(found) < count:
        found |= dict.fromkeys(integers(torch.full((count,), high), generator=generator).tolist())
    return torch.tensor(list(found)[:count])


def check_generator(value: Any) -> Generator:
    """Return `value` if it is None or a CPU generator."""
    if value is None:
        return None
    if isinstance(value, int):
        slip = f"did you mean torch.Generator().manual_seed({value})?"
        check.fail("generator", "a torch.Generator or None", value, slip, TypeError)
    check.one_of_types("generator", value, torch.Generator, "a torch.Generator or None")
    if value.device.type != "cpu":
        check.fail("generator", "a CPU generator (plans are drawn on the CPU)", f"one on {value.device}")
    return value
