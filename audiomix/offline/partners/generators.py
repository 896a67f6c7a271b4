"""The first numbers of many generators at once: what `audiomix.draw` gets from torch's, one by one, here for a block.

A generator of torch on the CPU is the Mersenne Twister MT19937 (Matsumoto and Nishimura, 1998), seeded by the low 32
bits of its seed. To make one for each row of a data set costs far more than the few numbers that the row needs
(``python tests/bench/planning.py --draws 20000`` prints both ways beside each other). Here the states of a
block of generators are columns of one array, so that each step is taken for all of them.
"""

import hashlib
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["blocks", "first_words", "seeds_for", "shuffle", "to_uniform"]

# Words of a state, and the distance of those that are joined.
_SIZE, _APART = 624, 397
_UPPER, _LOWER, _TWIST = np.uint32(0x80000000), np.uint32(0x7FFFFFFF), np.uint32(0x9908B0DF)


def seeds_for(seed: int, name: str, rows: Iterable[tuple[Any, Any]]) -> NDArray[np.uint32]:
    """Return the low 32 bits of the seeds of ``draw.generator_for(seed, name, *row)``, of each row.

    Parameters
    ----------
    seed : int
        The run's seed.
    name : str
        What the numbers are for.
    rows : iterable of (id, copy)
        What else they depend on.

    Returns
    -------
    array, shape (N,), uint32
    """
    start = hashlib.blake2b(f"{len(name)}:{name}".encode(), digest_size=8,
                            key=int(seed).to_bytes(16, "little", signed=True))  # fmt: skip
    found = []
    for one, other in rows:
        hashed = start.copy()
        first, second = str(one), str(other)
        hashed.update(f"{len(first)}:{first}{len(second)}:{second}".encode())
        found.append(hashed.digest())
    return (np.frombuffer(b"".join(found), "<u8") >> np.uint64(1)).astype(np.uint32)


def first_words(seeds: NDArray[np.uint32], count: int) -> NDArray[np.uint32]:
    """Return the first words of generators.

    Parameters
    ----------
    seeds : array, shape (N,), uint32
        Low 32 bits of their seeds.
    count : int
        Words of each, at most 624.

    Returns
    -------
    array, shape (count, N), uint32
    """
    if not 0 < count <= _SIZE:
        raise ValueError(f"count: 1 to {_SIZE} expected, got {count}")
    # of the state only those words are kept that the first `count` results are made of
    kept = np.empty((min(_SIZE, count + 1), len(seeds)), np.uint32)
    apart = np.empty((min(count, _SIZE - _APART), len(seeds)), np.uint32)
    word, shifted = seeds.astype(np.uint32), np.empty(len(seeds), np.uint32)
    for number in range(min(_SIZE, _APART + count)):
        if number:
            np.right_shift(word, np.uint32(30), out=shifted)
            np.bitwise_xor(word, shifted, out=word)
            word *= np.uint32(1812433253)
            word += np.uint32(number)
        if number < len(kept):
            kept[number] = word
        if 0 <= number - _APART < len(apart):
            apart[number - _APART] = word
    # a result needs words k, k + 1 and k + 397; from 227 on the last of these is itself a result
    new = np.empty((count, len(seeds)), np.uint32)
    for number in range(count):
        after = kept[number + 1] if number + 1 < _SIZE else new[0]
        far = apart[number] if number < len(apart) else new[number - (_SIZE - _APART)]
        np.bitwise_xor(far, _mix(kept[number], after), out=new[number])
    return _temper(new)


def to_uniform(words: NDArray[np.uint32]) -> NDArray[np.float64]:
    """Return what `torch.rand` makes of pairs of words, float64 in [0, 1).

    Parameters
    ----------
    words : array, shape (2 K, N), uint32
        Of N generators, one after the other.

    Returns
    -------
    array, shape (K, N), float64
    """
    # 53 bits: the low 21 of the first word, then all of the second
    high = words[0::2] & np.uint32((1 << 21) - 1)
    return high * 2.0**-21 + words[1::2] * 2.0**-53


def shuffle(words: Sequence[int], values: Sequence[int] | NDArray[np.integer], count: int) -> list[int]:
    """Return the first `count` of `values` in the order of `torch.randperm`, given the generator's next words.

    Parameters
    ----------
    words : sequence of int
        At least ``min(count, len(values) - 1)``.
    values : sequence of int
        What is put in order.
    count : int
        How many are wanted.
    """
    moved: dict[int, int] = {}  # of the places, those that no longer hold their own number
    found, size = [], len(values)
    for place in range(min(count, size)):
        other = place + (words[place] % (size - place) if place < size - 1 else 0)
        found.append(values[moved.get(other, other)])
        moved[other] = moved.get(place, place)
    return found


def blocks(rows: Iterable[Any], size: int) -> Iterable[list[Any]]:
    """Yield the rows as lists of up to `size`."""
    left = iter(rows)
    while block := list(islice(left, size)):
        yield block


def _mix(one: NDArray[np.uint32], after: NDArray[np.uint32]) -> NDArray[np.uint32]:
    joined = (one & _UPPER) | (after & _LOWER)
    return (joined >> np.uint32(1)) ^ ((joined & np.uint32(1)) * _TWIST)


def _temper(words: NDArray[np.uint32]) -> NDArray[np.uint32]:
    words ^= words >> np.uint32(11)
    words ^= (words << np.uint32(7)) & np.uint32(0x9D2C5680)
    words ^= (words << np.uint32(15)) & np.uint32(0xEFC60000)
    words ^= words >> np.uint32(18)
    return words
