"""Which items may meet: other captions, common classes or none, and limits of similarity, for many pairs at once."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ... import check
from ...datasets.item import Item
from ...pairing import PAIRINGS

__all__ = ["Rules", "Sets", "read_embeddings", "wording"]

Ints = NDArray[np.integer]
Bools = NDArray[np.bool_]
Floats = NDArray[np.floating]

# Pairs that are looked at together, over the numbers that each needs: tens of MB.
_CHUNK = 2**22


def wording(text: str) -> str:
    """Return what a caption says: without case and punctuation.

    >>> wording("A dog barks, twice.") == wording("a dog  barks twice")
    True
    """
    return re.sub(r"[\W_]+", " ", text.casefold()).strip()


class Sets:
    """What each item has of some kind (captions, classes, tags), as a sparse table.

    Parameters
    ----------
    sets : iterable of iterables of str
        One an item. What only one item has is not kept: no two have it in common.
    """

    def __init__(self, sets: Iterable[Iterable[str]]) -> None:
        from scipy import sparse

        own = [set(one) for one in sets]
        self.sizes = np.array([len(one) for one in own], np.int32)
        often = Counter(name for one in own for name in one)
        index = {name: i for i, name in enumerate(name for name, times in often.items() if times > 1)}
        kept = [sorted(index[name] for name in one if name in index) for one in own]
        ends = np.cumsum([0, *map(len, kept)])
        columns = np.fromiter((i for one in kept for i in one), np.int32, ends[-1])
        ones = np.ones(len(columns), np.int32)
        self.table = sparse.csr_array((ones, columns, ends), shape=(len(own), max(len(index), 1)))

    def common(self, a: Ints, b: Ints) -> Ints:
        """Return how much the items a[i] and b[i] have in common."""
        if not self.table.nnz:
            return np.zeros(len(a), np.int64)
        return np.asarray(self.table[a].multiply(self.table[b]).sum(axis=1)).ravel()

    def common_of_all(self, members: Ints) -> Callable[[Ints], Ints]:
        """Return a function: what each of some items has in common with each of `members`, shape (some, members)."""
        columns = self.table[members].T.tocsr()
        return lambda some: (self.table[some] @ columns).toarray()

    def jaccard(self, a: Ints, b: Ints, common: Ints) -> NDArray[np.float64]:
        """Return the share of all that two items have that both have; 0 where neither has any."""
        return common / np.maximum(self.sizes[a] + self.sizes[b] - common, 1)

    def counts(self, members: Ints) -> list[int] | None:
        """Return the sizes of the parts that `members` fall into; None where one is in several parts."""
        rows = self.table[members]
        if len(members) and np.diff(rows.indptr).max() > 1:
            return None
        sizes = np.bincount(rows.indices)
        alone = len(members) - int(sizes.sum())
        return [int(size) for size in sizes if size] + [1] * alone

    def signature(self, item: int) -> bytes:
        """Return what is the same for items that have the same."""
        start, end = self.table.indptr[item : item + 2]
        return self.table.indices[start:end].tobytes() + self.sizes[item].tobytes()


class Rules:
    """Say of pairs of items whether they may meet; see `UniquePairs` for the arguments."""

    def __init__(
        self,
        items: Sequence[Item],
        kind: str = "any",
        captions: bool = True,
        embeddings: Floats | None = None,
        low: float = -1.0,
        high: float = 1.0,
        tags: bool = False,
    ) -> None:
        check.choice("kind", kind, PAIRINGS)
        _check_limits(embeddings, low, high, tags)
        if kind != "any" and any(not item.classes for item in items):
            check.fail("kind", "'any' where there are no labels", repr(kind), "which classes are they?")
        self.laws: dict[str, _Law] = {}
        self.captions = self.classes = None
        self.cost = 1.0
        if captions:
            self.captions = Sets(filter(None, map(wording, item.captions)) for item in items)
            self.laws["have the same caption"] = _SetLaw(self.captions, 0, 0)
        if kind != "any":
            self.classes = Sets(item.classes for item in items)
            same = kind == "same_class"
            said = "have no class in common" if same else "have a class in common"
            self.laws[said] = _SetLaw(self.classes, int(same), np.inf if same else 0)
        if tags:
            shared = Sets((tag.casefold() for tag in item.tags) for item in items)
            self.laws[f"have a share of common tags outside [{low:g}, {high:g}]"] = _TagLaw(shared, low, high)
        if embeddings is not None:
            law = _CosineLaw(_unit(embeddings, len(items)), low, high)
            self.laws[f"have a similarity outside [{low:g}, {high:g}]"] = law
            self.cost = 1 + law.unit.shape[1] / 64

    def allowed(self, a: Ints, b: Ints) -> Bools:
        """Return whether the items a[i] and b[i] may meet; never an item itself."""
        step = max(int(_CHUNK / (self.cost * 64)), 1)
        if len(a) > step:
            parts = [self.allowed(a[i : i + step], b[i : i + step]) for i in range(0, len(a), step)]
            return np.concatenate(parts)
        ok = a != b
        for law in self.laws.values():
            at = np.flatnonzero(ok)
            ok[at] = law.pairs(a[at], b[at])
        return ok

    def why(self, item: int, others: Ints) -> dict[str, int]:
        """Return how many of `others` may not meet an item, by the first law that is against it."""
        left = others[others != item]
        against = {}
        for said, law in self.laws.items():
            ok = law.pairs(np.full(len(left), item), left)
            against[said] = int((~ok).sum())
            left = left[ok]
        return {said: number for said, number in against.items() if number}

    def of_all(self, members: Ints) -> Callable[[Ints], Bools]:
        """Return a function: which of `members` each of some items may meet; itself is one where its like may."""
        rows = [law.of_all(members) for law in self.laws.values()]

        def allowed(some: Ints) -> Bools:
            ok = np.ones((len(some), len(members)), np.bool_)
            for row in rows:
                ok &= row(some)
            return ok

        return allowed

    def signature(self, item: int) -> bytes | None:
        """Return what is the same for items that may meet the same others, themselves aside; None: no two are alike."""
        parts = [law.signature(item) for law in self.laws.values()]
        return None if None in parts else b"|".join(part for part in parts if part is not None)


class _Law:
    """What may meet: for pairs of items, and for some items with each of many."""

    def pairs(self, a: Ints, b: Ints) -> Bools:
        raise NotImplementedError

    def of_all(self, members: Ints) -> Callable[[Ints], Bools]:
        raise NotImplementedError

    def signature(self, item: int) -> bytes | None:
        return None


class _SetLaw(_Law):
    """The number of things in common is within limits."""

    def __init__(self, sets: Sets, low: float, high: float) -> None:
        self.sets, self.low, self.high = sets, low, high

    def pairs(self, a: Ints, b: Ints) -> Bools:
        return _within(self.sets.common(a, b), self.low, self.high)

    def of_all(self, members: Ints) -> Callable[[Ints], Bools]:
        common = self.sets.common_of_all(members)
        return lambda some: _within(common(some), self.low, self.high)

    def signature(self, item: int) -> bytes | None:
        return self.sets.signature(item)


class _TagLaw(_SetLaw):
    """The share of common tags is within limits."""

    def pairs(self, a: Ints, b: Ints) -> Bools:
        return _within(self.sets.jaccard(a, b, self.sets.common(a, b)), self.low, self.high)

    def of_all(self, members: Ints) -> Callable[[Ints], Bools]:
        common = self.sets.common_of_all(members)
        return lambda some: _within(self.sets.jaccard(some[:, None], members, common(some)), self.low, self.high)


class _CosineLaw(_Law):
    """The cosine of two embeddings is within limits."""

    def __init__(self, unit: Floats, low: float, high: float) -> None:
        self.unit, self.low, self.high = unit, low, high

    def pairs(self, a: Ints, b: Ints) -> Bools:
        return _within(np.einsum("nd,nd->n", self.unit[a], self.unit[b]), self.low, self.high)

    def of_all(self, members: Ints) -> Callable[[Ints], Bools]:
        columns = self.unit[members].T
        return lambda some: _within(self.unit[some] @ columns, self.low, self.high)


def _within(values: NDArray[np.number], low: float, high: float) -> Bools:
    return (values >= low - 1e-6) & (values <= high + 1e-6)  # float32 is that far from an exact 1


def _check_limits(embeddings: Floats | None, low: float, high: float, tags: bool) -> None:
    check.number("min_similarity", low, -1, 1)
    check.number("max_similarity", high, -1, 1)
    if low > high:
        check.fail("min_similarity", f"at most max_similarity, {high:g}", f"{low:g}", "swapped?")
    if embeddings is not None and tags:
        check.fail("tags", "left out where embeddings are given", tags, "one measure of similarity")
    if embeddings is None and not tags and (low, high) != (-1, 1):
        check.fail("min_similarity and max_similarity", "left out without embeddings or tags", f"{low:g}, {high:g}")


def _unit(embeddings: Floats, count: int) -> NDArray[np.float32]:
    """Return embeddings of length 1, or 0 where they are 0: similar to nothing."""
    if embeddings.ndim != 2 or len(embeddings) != count:
        check.fail("embeddings", f"of shape ({count}, D), one an item", f"shape {embeddings.shape}")
    if not np.isfinite(embeddings).all():
        rows = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
        check.fail("embeddings", "finite", f"NaN or infinity in {len(rows)} rows, the first {rows[0]}")
    norms = np.linalg.norm(embeddings.astype(np.float64), axis=1, keepdims=True)
    return (embeddings / np.where(norms > 0, norms, 1)).astype(np.float32)


def read_embeddings(path: str | Path, items: Sequence[Item]) -> NDArray[np.float32]:
    """Read one embedding for each item.

    Parameters
    ----------
    path : path
        ``.npy``, shape (n, D), in the order of the manifest; or ``.npz`` with one such array, or with
        one of shape (D,) under the id of each item.
    items : sequence of Item

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
