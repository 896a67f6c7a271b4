"""No group of sources twice, every rule kept, every partner equally likely, and what cannot be is said."""

import random
import time
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from audiomix.datasets.item import Item
from audiomix.offline.partners import unique
from audiomix.offline.partners.groups import GroupPartners
from audiomix.offline.partners.similarity import SimilarityLimits, read_embeddings
from audiomix.offline.partners.unique import UniqueGroups


def many(count, **more):
    return [Item("", f"{i:05d}", caption=f"sound number {i}", **more) for i in range(count)]


def groups(pairs, count):
    """All groups of a run, each as (lead, partners)."""
    made = [(i, pairs.partners(i, copy)) for i in range(count) for copy in range(pairs.copies)]
    return [(lead, partners) for lead, partners in made if partners]


def sets(pairs, count):
    found = [frozenset((lead, *partners)) for lead, partners in groups(pairs, count)]
    assert len(set(found)) == len(found), "a group came twice"
    assert all(len(one) == pairs.sources for one in found), "an item met itself"
    return found


@pytest.mark.parametrize("size", [3, 5, 7, 31, 101])
def test_all_pairs_there_are_can_be_asked_for(size):
    pairs = UniqueGroups(many(size), copies=(size - 1) // 2, seed=size)
    assert set(sets(pairs, size)) == {frozenset(pair) for pair in combinations(range(size), 2)}
    assert (pairs.short, pairs.notes) == ({}, ())
    assert pairs.pools[0].asked == pairs.pools[0].possible == size * (size - 1) // 2


@pytest.mark.parametrize("size", [2, 4, 8, 40])
def test_all_pairs_are_given_where_more_are_asked_for(size):
    pairs = UniqueGroups(many(size), copies=size // 2)
    assert len(sets(pairs, size)) == len(pairs) == size * (size - 1) // 2
    asked, possible = size * size // 2, size * (size - 1) // 2
    assert f"{asked} different groups are asked for in all ({size} clips), {possible} possible" in pairs.notes[0]
    assert len(pairs.short) == size // 2


@pytest.mark.parametrize(("sources", "size", "copies"), [(3, 9, 9), (3, 20, 30), (4, 8, 8), (5, 9, 13), (5, 60, 20)])
def test_larger_groups_never_repeat_either(sources, size, copies):
    pairs = UniqueGroups(many(size), sources=sources, copies=copies)
    assert len(sets(pairs, size)) == size * copies
    assert not pairs.short


def test_a_matching_finds_what_is_left_between_uneven_classes():
    # of 3 and 9: 27 pairs across, and 24 asked for. Whoever draws without looking ahead takes too many from the nine
    items = [Item("", f"{i:02d}", "a" if i < 3 else "b", caption=str(i)) for i in range(12)]
    for seed in range(20):
        pairs = UniqueGroups(items, copies=2, kind="different_class", seed=seed)
        found = sets(pairs, 12)
        assert len(found) == 24
        assert all(len({items[i].label for i in one}) == 2 for one in found)


@pytest.mark.parametrize("sources", [2, 3])
@pytest.mark.parametrize("kind", ["any", "same_class", "different_class"])
@pytest.mark.parametrize("multi", [False, True])
def test_captions_and_classes_keep_their_rules(sources, kind, multi):
    labels = [{"a": 1.0, "b": 1.0}, {"b": 1.0}, {"c": 1.0}, {"d": 1.0, "e": 1.0}] if multi else list("abcd")
    captions = [("A dog barks.", "Barks!"), ("a DOG barks",), ("Rain",), (), ("I walk",), ("rain...", "walks")]
    items = [Item("", f"{i:03d}", labels[i % 4], captions=captions[i % 6]) for i in range(120)]
    pairs = UniqueGroups(items, sources=sources, copies=3, kind=kind)
    found = sets(pairs, 120)
    assert len(found) == 360
    for one in found:
        for a, b in combinations(one, 2):
            words = [{c.lower().strip(" .!") for c in items[i].captions} for i in (a, b)]
            assert not words[0] & words[1]
            common = bool(set(items[a].classes) & set(items[b].classes))
            assert {"any": True, "same_class": common, "different_class": not common}[kind]
    if kind == "any":
        alike = UniqueGroups(items, sources=sources, copies=3, captions=False)
        assert any({i % 6 for i in one} >= {0, 1} for one in sets(alike, 120))


def test_borders_are_crossed_only_by_name():
    items = [Item("", f"{i:03d}", split=["train", "test"][i % 3 == 0], fold=str(i % 4)) for i in range(120)]
    for across in ((), ("split",), ("fold",), ("split", "fold")):
        found = sets(UniqueGroups(items, sources=3, copies=2, across=across), 120)
        for border in ("split", "fold"):
            mixed = any(len({getattr(items[i], border) for i in one}) > 1 for one in found)
            assert mixed == (border in across)
    with pytest.raises(ValueError, match="across must be one of split, fold, got 'folds'"):
        UniqueGroups(items, across=["folds"])


@pytest.mark.parametrize(
    ("sources", "extra"), [(2, {}), (3, {}), (2, {"embeddings": np.eye(9), "max_similarity": 0.5})]
)
def test_each_partner_is_equally_likely(sources, extra):
    met = Counter(
        p for seed in range(800) for p in UniqueGroups(many(9), sources=sources, seed=seed, **extra).partners(4, 0)
    )
    assert set(met) == set(range(9)) - {4}
    assert stats.chisquare(list(met.values())).pvalue > 1e-4


def test_a_partner_of_a_pair_drawn_anew_is_equally_likely_too():
    items = [Item("", f"{i:02d}", caption="the same" if i < 12 else str(i)) for i in range(24)]
    met = Counter(UniqueGroups(items, seed=seed).partners(0, 0)[0] for seed in range(800))
    assert set(met) == set(range(12, 24))
    assert stats.chisquare(list(met.values())).pvalue > 1e-4


@pytest.mark.parametrize("sources", [2, 3])
def test_groups_depend_on_seed_and_ids_and_not_on_order(sources):
    items = [Item("", f"{i:03d}", "ab"[i % 2], split=str(i % 2), caption=str(i // 2)) for i in range(60)]
    moved = random.Random(3).sample(items, 60)
    options = {"sources": sources, "copies": 4, "kind": "any"}
    one, two, other = (
        UniqueGroups(items, **options),
        UniqueGroups(moved, **options),
        UniqueGroups(items, seed=1, **options),
    )

    def named(pairs, listed):
        return {listed[i].id: [[listed[p].id for p in pairs.partners(i, c)] for c in range(4)] for i in range(60)}

    assert named(one, items) == named(two, moved)
    assert named(one, items) != named(other, items)


def test_similarity_of_embeddings_stays_within_its_limits():
    table = np.random.default_rng(0).normal(size=(200, 8))
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    for sources, low, high in ((2, -1, 0.1), (2, 0.3, 0.6), (3, 0.2, 1)):
        pairs = UniqueGroups(
            many(200), sources=sources, copies=2, embeddings=table, min_similarity=low, max_similarity=high
        )
        found = sets(pairs, 200)
        assert len(found) > 380
        cosines = [unit[a] @ unit[b] for one in found for a, b in combinations(one, 2)]
        assert low - 1e-5 <= min(cosines) <= max(cosines) <= high + 1e-5


def test_the_share_of_common_tags_stays_within_its_limits():
    rng = random.Random(0)
    items = [Item("", f"{i:03d}", tags=tuple(rng.sample("ABCDEFGHIJ", 3 + i % 3))) for i in range(150)]
    items += [Item("", f"{i:03d}", tags=()) for i in range(150, 153)]
    for low, high in ((0, 0.2), (0.4, 1)):
        pairs = UniqueGroups(items, copies=2, tags=True, min_similarity=low, max_similarity=high)
        shares = []
        for a, b in sets(pairs, 153):
            one, two = set(items[a].tags), set(items[b].tags)
            shares.append(len(one & two) / max(len(one | two), 1))
        assert len(shares) >= 300
        assert low <= min(shares) <= max(shares) <= high
        assert ({150, 151, 152} <= set(pairs.short)) == (low > 0)


def test_few_that_are_similar_are_found_among_many():
    # 400 nests of five: without a list of each clip's candidates hardly one in 400 draws fits
    table = np.repeat(np.random.default_rng(1).normal(size=(400, 32)), 5, axis=0)
    pairs = UniqueGroups(many(2000), copies=2, embeddings=table, min_similarity=0.9)
    found = sets(pairs, 2000)
    assert all(a // 5 == b // 5 for a, b in found)
    assert len(found) > 0.9 * 4000  # all ten pairs of each nest are asked for


def test_what_cannot_be_is_said_and_the_rest_is_done():
    items = [*many(5, split="train"), Item("", "x", caption="alone", split="test")]
    pairs = UniqueGroups(items, copies=2)
    assert pairs.short == {5: 0}
    assert pairs.reason(5) == "0 of 2 groups: split 'test' has 1 clips for groups of 2"
    assert pairs.partners(5, 0) == pairs.partners(5, 1) == ()
    assert len(pairs) == 10
    assert "2 different groups are asked for in split 'test' (1 clips), 0 possible" in pairs.notes[0]
    same = UniqueGroups([Item("", str(i), caption=["Rain.", "rain", "RAIN!"][i]) for i in range(3)])
    assert same.reason(0) == "0 of 1 groups: of 2 other clips in all, 2 have the same caption"
    assert (same.pools[0].possible, len(same)) == (0, 0)
    alone = UniqueGroups([Item("", "a", caption="a")])
    assert (len(alone), list(alone.short)) == (0, [0])
    long = UniqueGroups([Item("", str(i), caption=f"{i} " + "word " * 10_000) for i in range(3)])
    assert len(long) == 3


def test_what_is_possible_is_counted_out():
    items = [Item("", str(i), "aaabbc"[i], caption="xxyyzz"[i]) for i in range(6)]
    for kind in ("any", "same_class", "different_class"):
        for sources in (2, 3):
            pools = UniqueGroups(items, sources=sources, kind=kind, captions=False).pools
            split = [{items[i].label for i in one} for one in combinations(range(6), sources)]
            wanted = {"any": len(split), "same_class": sum(len(s) == 1 for s in split)}
            wanted["different_class"] = sum(len(s) == sources for s in split)
            assert sum(pool.possible for pool in pools) == wanted[kind]
    assert UniqueGroups(items).pools[0].possible == 12


WRONG = [
    ({"sources": 13}, "sources must be 2 to 12, got 13"),
    ({"sources": 1}, "sources must be an integer of at least 2"),
    ({"copies": 0}, "copies must be"),
    ({"kind": "same"}, "kind must be one of"),
    ({"kind": "same_class"}, "which classes are they"),
    ({"embeddings": np.ones((9, 2)), "tags": True}, "tags must be left out where embeddings are given"),
    ({"max_similarity": 0.5}, "left out without embeddings or tags"),
    ({"tags": True, "min_similarity": 0.5, "max_similarity": 0.1}, "min_similarity must be at most max_similarity"),
    ({"tags": True, "max_similarity": 50}, r"max_similarity must be a number in \[-1, 1\]"),
]


def test_wrong_arguments_are_named():
    for options, message in WRONG:
        with pytest.raises(ValueError, match=message):
            UniqueGroups(many(9), **options)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"sources": 3}, {"kind": "different_class"}])
def test_a_hundred_thousand_clips_ten_times(options):
    items = [Item("", f"{i:06d}", f"class {i % 50}", caption=f"caption {i % 30_000}") for i in range(100_000)]
    start = time.process_time()
    pairs = UniqueGroups(items, copies=10, **options)
    assert time.process_time() - start < 20  # one to two seconds on one core of a laptop
    assert (len(pairs), pairs.short) == (1_000_000, {})
    table = np.sort(
        np.column_stack([np.repeat(np.arange(100_000), 10), pairs._partners.reshape(1_000_000, -1)]), axis=1
    )
    assert pairs._partners.nbytes == 4_000_000 * (pairs.sources - 1)
    order = np.lexsort(table.T)
    assert (np.diff(table[order], axis=0) != 0).any(axis=1).all()
    assert (np.diff(table, axis=1) > 0).all()


def test_embeddings_are_read_by_order_and_by_name(tmp_path):
    items = many(4)
    table = np.arange(12, dtype=np.float64).reshape(4, 3)
    np.save(tmp_path / "a.npy", table)
    np.savez(tmp_path / "b.npz", **{item.id: row for item, row in zip(reversed(items), table[::-1])}, more=table[0])
    np.savez(tmp_path / "c.npz", table)
    for name in ("a.npy", "b.npz", "c.npz"):
        found = read_embeddings(tmp_path / name, items)
        assert found.dtype == np.float32
        assert (found == table).all()


WRONG_FILES = [
    (lambda p: None, "there is no such file"),
    (lambda p: p.write_bytes(b"not numpy"), "an .npy or .npz file of numbers"),
    (lambda p: np.save(p.open("wb"), np.ones((3, 2))), r"shape \(4, D\).*got shape \(3, 2\).*another manifest"),
    (lambda p: np.save(p.open("wb"), np.ones(4)), r"got shape \(4,\)"),
    (lambda p: np.save(p.open("wb"), np.array(list("abcd"))[:, None]), r"numbers of shape \(4, D\).*<U1"),
    (lambda p: np.save(p.open("wb"), np.diag([1, 1, np.nan, 1])), "NaN or infinity for 1 items .* first '00002'"),
    (lambda p: np.savez(p.open("wb"), **{"00000": [1.0], "00001": [1.0]}), "2 of 4 items without one.* '00002'"),
    (
        lambda p: np.savez(p.open("wb"), **{f"0000{i}": np.ones(2 + i % 2) for i in range(4)}),
        r"of one length, got \(2,\) and \(3,\)",
    ),
]


def test_embeddings_that_do_not_fit_are_named(tmp_path):
    for save, message in WRONG_FILES:
        save(tmp_path / "e.npy")
        with pytest.raises(ValueError, match=message):
            read_embeddings(tmp_path / "e.npy", many(4))


def test_a_search_for_groups_that_nobody_can_count_out_ends(monkeypatch):
    """Twelve clips of two classes each, all of other classes, out of twenty: there are none, and nothing tells so."""
    monkeypatch.setattr(unique, "_SEARCH", 1e7)
    pairs = list(combinations(range(20), 2))[::3]
    items = [Item("", str(i), {f"c{a}": 0.5, f"c{b}": 0.5}) for i, (a, b) in enumerate(pairs)]
    groups = UniqueGroups(items, sources=12, kind="different_class", captions=False)
    assert len(groups) == 0
    assert "the search for groups in all was stopped: it took too long" in groups.notes


def test_groups_of_a_run_with_spare_ones_never_repeat():
    options = {"copies": 3, "seed": 0, "limits": SimilarityLimits(), "captions": True}
    index = GroupPartners(many(40), "any", (), sources=(2, 2), **options)
    found = [frozenset((i, j)) for i in range(40) for c in range(3) for j in index.partners(i, copy=c, seed=0)]
    assert len(found) > 120
    assert len(set(found)) == len(found)
    index = GroupPartners(many(40), "any", (), sources=(2, 4), **options)
    sizes = Counter(index.group(i, copy=c, seed=0) for i in range(40) for c in range(3))
    assert set(sizes) == {1, 2, 3}
    assert all(len(index.partners(i, copy=0, seed=0)) >= index.group(i, copy=0, seed=0) for i in range(40))
    assert index.notes == ()


def test_limits_reach_the_groups(tmp_path):
    np.save(tmp_path / "e.npy", np.repeat(np.eye(8), 5, axis=0))
    limits = SimilarityLimits(tmp_path / "e.npy", max_similarity=0.5)
    index = GroupPartners(many(40), "any", (), sources=(2, 2), copies=2, seed=0, limits=limits, captions=False)
    assert all(i // 5 != j // 5 for i in range(40) for c in (0, 1) for j in index.partners(i, copy=c, seed=0))
