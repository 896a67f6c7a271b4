"""Which clips may be mixed: other captions, common classes or none, limits of similarity; for many pairs at once."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb, inf
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import check
from ...captions.text import distinct_captions
from ...datasets.item import Item
from ...pairing import check_files
from .index import names_of, require_labels

__all__ = ["PairRule", "SimilarityLimits", "can_mix_groups", "can_mix_pairs", "pair_rules", "read_embeddings"]

Ints = NDArray[np.integer]
Bools = NDArray[np.bool_]
Floats = NDArray[np.floating]

# Pairs that are looked at together, over the numbers that each needs: tens of MB.
_CHUNK = 2**22


@dataclass(frozen=True)
class SimilarityLimits:
    """How similar clips that are mixed may be.

    Parameters
    ----------
    embeddings : path, optional
        Of the clips, .npy or .npz (see `read_embeddings`); the cosine of two that are mixed lies within the limits.
    tags : bool
        Limit the share of common tags instead: of all that two clips have, those that both have.
    min_similarity, max_similarity : float
        The limits: -1 to 1 for embeddings, 0 to 1 for tags.
    """

    embeddings: str | Path | None = None
    tags: bool = False
    min_similarity: float = -1.0
    max_similarity: float = 1.0


class PairRule:
    """Two items may be mixed where what they have in common lies within limits.

    Parameters
    ----------
    reason : str
        What is said of pairs that may not be mixed: "have the same caption".
    table : sparse array (n, K) of 0 and 1, or array (n, D)
        What each item has of some kind, as `of_sets` makes it; or embeddings of length 1.
    low, high : float
        Limits of the number of common things, of their share where there are `sizes`, or of the cosine.
    sizes : array of int, shape (n,), optional
        How much each item has.
    """

    def __init__(self, reason: str, table: Any, low: float, high: float, sizes: Ints | None = None) -> None:
        self.reason, self.table, self.low, self.high, self.sizes = reason, table, low, high, sizes
        self.dense = isinstance(table, np.ndarray)

    @classmethod
    def of_sets(
        cls, reason: str, sets: Iterable[Iterable[str]], low: float, high: float, *, share: bool = False
    ) -> "PairRule":
        """Return the rule for what each item has (captions, classes, tags); with `share` limits are of Jaccard's index.

        Parameters
        ----------
        reason, low, high
            As for the class.
        sets : iterable of iterables of str
            One an item. What only one item has is not kept: no two have it in common.
        share : bool
            Limit the common part of all that two items have, not its number.
        """
        from scipy import sparse

        own = [set(one) for one in sets]
        often = Counter(name for one in own for name in one)
        index = {name: i for i, name in enumerate(name for name, times in often.items() if times > 1)}
        kept = [sorted(index[name] for name in one if name in index) for one in own]
        ends = np.cumsum([0, *map(len, kept)])
        columns = np.fromiter((i for one in kept for i in one), np.int32, ends[-1])
        ones = np.ones(len(columns), np.int32)
        table = sparse.csr_array((ones, columns, ends), shape=(len(own), max(len(index), 1)))
        return cls(reason, table, low, high, np.array([len(one) for one in own], np.int32) if share else None)

    @property
    def cost(self) -> float:
        """How much longer a pair takes to be looked at than one with few things."""
        return self.table.shape[1] / 64 if self.dense else 0.0

    def pairs(self, a: Ints, b: Ints) -> Bools:
        """Return whether the items a[i] and b[i] may be mixed."""
        x, y = self.table[a], self.table[b]
        common = np.einsum("nd,nd->n", x, y) if self.dense else np.asarray(x.multiply(y).sum(axis=1)).ravel()
        return self._within(common, a, b)

    def with_all(self, members: Ints) -> Callable[[Ints], Bools]:
        """Return a function: whether each of some items may be mixed with each of `members`, shape (some, members)."""
        columns = self.table[members].T if self.dense else self.table[members].T.tocsr()

        def can_mix(some: Ints) -> Bools:
            common = self.table[some] @ columns
            return self._within(common if self.dense else common.toarray(), some[:, None], members)

        return can_mix

    def count_groups(self, members: Ints, count: int) -> int | None:
        """Return how many groups of `count` have no two items with anything in common, where that can be counted.

        It can where only such pairs may be mixed and no item has several things: it is the elementary symmetric
        polynomial of the numbers of items that have the same.
        """
        rows = self.table[members]
        if self.dense or self.sizes is not None or self.high > 0 or (np.diff(rows.indptr) > 1).any():
            return None
        sizes = np.bincount(rows.indices)
        ones = len(members) - int(sizes[sizes > 1].sum())
        ways = [comb(ones, k) for k in range(count + 1)]
        for size in sizes[sizes > 1].tolist():
            ways = [way + (size * ways[k - 1] if k else 0) for k, way in enumerate(ways)]
        return ways[count]

    def _within(self, common: NDArray[np.number], a: Ints, b: Ints) -> Bools:
        if self.sizes is not None:
            common = common / np.maximum(self.sizes[a] + self.sizes[b] - common, 1)
        return (common >= self.low - 1e-6) & (common <= self.high + 1e-6)  # float32 is that far from an exact 1


def pair_rules(
    items: Sequence[Item],
    kind: str = "any",
    captions: bool = True,
    embeddings: Floats | None = None,
    low: float = -1.0,
    high: float = 1.0,
    tags: bool = False,
) -> list[PairRule]:
    """Return all that is asked of two items of a group; the arguments are those of `UniqueGroups`."""
    check_files("kind", kind)
    check.number("min_similarity", low, -1, 1)
    check.number("max_similarity", high, -1, 1)
    if low > high:
        check.fail("min_similarity", f"at most max_similarity, {high:g}", f"{low:g}", "swapped?")
    if embeddings is not None and tags:
        check.fail("tags", "left out where embeddings are given", tags, "one measure of similarity")
    if embeddings is None and not tags and (low, high) != (-1, 1):
        check.fail("min_similarity and max_similarity", "left out without embeddings or tags", f"{low:g}, {high:g}")
    require_labels("kind", items, kind)
    rules, limits = [], f"outside [{low:g}, {high:g}]"
    if captions:
        texts = (distinct_captions(item.captions) for item in items)
        rules.append(PairRule.of_sets("have the same caption", texts, 0, 0))
    if kind == "same_class":
        rules.append(PairRule.of_sets("have no class in common", (item.classes for item in items), 1, inf))
    if kind in ("same_cluster", "same_attribute"):
        reason = f"have no {kind.removeprefix('same_')} in common"
        rules.append(PairRule.of_sets(reason, (names_of(item, kind) for item in items), 1, inf))
    if kind == "different_class":
        rules.append(PairRule.of_sets("have a class in common", (item.classes for item in items), 0, 0))
    if tags:
        sets = ((tag.casefold() for tag in item.tags) for item in items)
        rules.append(PairRule.of_sets(f"have a share of common tags {limits}", sets, low, high, share=True))
    if embeddings is not None:
        norms = np.linalg.norm(embeddings.astype(np.float64), axis=1, keepdims=True)
        unit = (embeddings / np.where(norms > 0, norms, 1)).astype(np.float32)  # zeros stay: similar to nothing
        rules.append(PairRule(f"have a similarity {limits}", unit, low, high))
    return rules


def can_mix_pairs(rules: Sequence[PairRule], a: Ints, b: Ints) -> Bools:
    """Return whether the items a[i] and b[i] may be mixed by all rules; never an item with itself."""
    step = max(int(_CHUNK / (64 * (1 + sum(rule.cost for rule in rules)))), 1)
    if len(a) > step:
        return np.concatenate([can_mix_pairs(rules, a[i : i + step], b[i : i + step]) for i in range(0, len(a), step)])
    ok = a != b
    for rule in rules:
        at = np.flatnonzero(ok)
        ok[at] = rule.pairs(a[at], b[at])
    return ok


def can_mix_groups(rules: Sequence[PairRule], groups: Ints) -> Bools:
    """Return which groups (n, S) are of different items that may all be mixed with each other by all rules."""
    ok = np.ones(len(groups), np.bool_)
    for i, j in combinations(range(groups.shape[1]), 2):
        at = np.flatnonzero(ok)
        ok[at] = can_mix_pairs(rules, groups[at, i], groups[at, j])
    return ok


def read_embeddings(path: str | Path, items: Sequence[Item]) -> NDArray[np.float32]:
    """Read one embedding for each item.

    Parameters
    ----------
    path : path
        ``.npy``, shape (n, D), in the order of the manifest; or ``.npz`` with one such array, or with
        one of shape (D,) under the id of each item.
    items : sequence of Item
        In the order of the rows that are returned.

    Returns
    -------
    numpy.ndarray
        (n, D) float32.

    Raises
    ------
    ValueError
        Not such a file, another number of rows, items that have none, NaN or infinity.
    """
    path = Path(path)
    if not path.is_file():
        check.fail("embeddings", "an .npy or .npz file", repr(str(path)), "there is no such file")
    try:
        loaded = np.load(path, allow_pickle=False)
        found = loaded if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
    except (ValueError, OSError, EOFError) as error:
        check.fail("embeddings", "an .npy or .npz file of numbers", repr(str(path)), str(error))
    table = found if isinstance(found, np.ndarray) else _by_id(found, items, path)
    if table.dtype.kind not in "fiu" or table.ndim != 2 or len(table) != len(items):
        slip = "made for another manifest?" if table.ndim == 2 else ""
        got = f"shape {table.shape}, {table.dtype} in {path}"
        check.fail("embeddings", f"numbers of shape ({len(items)}, D), one row an item", got, slip)
    bad = np.flatnonzero(~np.isfinite(table).all(axis=1))
    if len(bad):
        first = items[bad[0]].id
        check.fail("embeddings", "finite", f"NaN or infinity for {len(bad)} items in {path}, first {first!r}")
    return table.astype(np.float32)


def _by_id(found: dict[str, NDArray[np.generic]], items: Sequence[Item], path: Path) -> NDArray[np.generic]:
    """Return the rows of an archive in the order of the items."""
    missing = [item.id for item in items if item.id not in found]
    if len(missing) == len(items) and len(found) == 1:
        return next(iter(found.values()))
    if missing:
        got = f"{len(missing)} of {len(items)} items without one in {path}, first {missing[0]!r}"
        check.fail("embeddings", "one array an item, under its id", got, "ids are paths relative to the manifest")
    shapes = Counter(found[item.id].shape for item in items)
    if len(shapes) > 1:
        check.fail("embeddings", "of one length", " and ".join(map(str, shapes)) + f" in {path}")
    return np.stack([found[item.id] for item in items])
