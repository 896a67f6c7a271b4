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
    "distinct",
    "generator_for",
    "integers",
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
    order = permutation(size, generator=generator)
    partner = torch.empty_like(order)
    partner[order] = order.roll(-1)
    return partner


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
    return low + (high - low) * torch.rand(size, dtype=torch.float64, generator=generator)


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
    """Draw True with probability p; bool, shape (size,). Exact at p = 0 and p = 1.

    Parameters
    ----------
    p : float
        Probability of True, in [0, 1].
    size : int
        How many.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.
    """
    return torch.rand(size, dtype=torch.float64, generator=generator) < p


def beta(alpha: float, size: int, *, generator: Generator = None) -> Tensor:
    """Draw from Beta(alpha, alpha); float64, shape (size,). ``alpha = 0`` gives ones: nothing is mixed.

    Parameters
    ----------
    alpha : float
        Concentration, at least 0: large values lie near one half.
    size : int
        How many.
    generator : torch.Generator, optional
        On the CPU; None means torch's global one.
    """
    if alpha == 0:
        return torch.ones(size, dtype=torch.float64)
    # torch.distributions.Beta takes no generator, so NumPy's is seeded from ours.
    return torch.from_numpy(_numpy(generator).beta(alpha, alpha, size))


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


def _numpy(generator: Generator) -> np.random.Generator:
    seed = torch.randint(2**63 - 1, (), generator=generator)
    return np.random.default_rng(int(seed))
