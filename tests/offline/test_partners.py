"""Partners at scale: within borders, uniform, and a function of ids alone."""

import random
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from audiomix import draw
from audiomix.datasets.item import Item
from audiomix.offline.partners import index as indexes
from audiomix.offline.partners.index import PartnerIndex

COPIES = 4000


def many(count=600):
    return [
        Item("", f"{i:04d}", "abcde"[i % 5], split=["train", "test"][i % 3 == 0], fold=str(i % 4), group=str(i % 2))
        for i in range(count)
    ]


def drawn(index, i, copies=COPIES, seed=0):
    return Counter(index.partners(i, copy=c, seed=seed, count=1)[0] for c in range(copies))


def test_partners_stay_within_split_and_fold_and_are_never_the_item_itself():
    items = many()
    index = PartnerIndex(items)
    for i, item in enumerate(items):
        partners = index.partners(i, copy=0, seed=1)
        assert len(set(partners)) == 8
        for p in partners:
            assert p != i
            assert (items[p].split, items[p].fold) == (item.split, item.fold)


@pytest.mark.parametrize(("across", "kept"), [(["fold"], "split"), (["split"], "fold"), (["split", "fold"], None)])
def test_borders_are_crossed_only_by_name(across, kept):
    items = many()
    index = PartnerIndex(items, across=across)
    met = [items[p] for p in drawn(index, 7, 300)]
    for border in ("split", "fold"):
        assert (len({getattr(other, border) for other in met}) == 1) == (border == kept)
    if kept:
        assert {getattr(other, kept) for other in met} == {getattr(items[7], kept)}


@pytest.mark.parametrize("size", [20, 60])  # counted out, and drawn
@pytest.mark.parametrize("kind", ["any", "different_class", "same_class"])
def test_each_candidate_is_equally_likely(kind, size):
    items = [Item("", f"{i:03d}", "aab"[i % 3]) for i in range(size)]
    index = PartnerIndex(items, kind)
    allowed = [i for i in range(size) if i != 5]
    if kind != "any":
        allowed = [i for i in allowed if (items[i].label == items[5].label) == (kind == "same_class")]
    found = drawn(index, 5)
    assert set(found) <= set(allowed)
    assert stats.chisquare([found[i] for i in allowed]).pvalue > 1e-4


@pytest.mark.parametrize("kind", ["different_class", "same_class"])
def test_several_labels_do_not_make_a_partner_likelier(kind):
    sets = [{"a": 1.0}, {"a": 1.0, "b": 1.0}, {"b": 1.0, "c": 1.0}, {"c": 1.0}]
    items = [Item("", f"{i:03d}", sets[i % 4]) for i in range(80)]
    index = PartnerIndex(items, kind)
    shares = {True: {0, 1, 2}, False: {3}}[kind == "same_class"]  # item 1 has a and b
    allowed = [i for i in range(80) if i % 4 in shares and i != 1]
    found = drawn(index, 1)
    assert set(found) == set(allowed)
    assert stats.chisquare([found[i] for i in allowed]).pvalue > 1e-4


def test_a_partner_depends_on_ids_and_not_on_order():
    items = many()
    shuffled = random.Random(3).sample(items, len(items))
    for kind in ("any", "different_class", "same_class"):
        one, two = PartnerIndex(items, kind), PartnerIndex(shuffled, kind)
        a = {items[i].id: [items[p].id for p in one.partners(i, copy=2, seed=5)] for i in range(100)}
        b = {shuffled[i].id: [shuffled[p].id for p in two.partners(i, copy=2, seed=5)] for i in range(len(items))}
        assert all(b[name] == partners for name, partners in a.items())


def test_seed_and_copy_change_the_partner():
    index = PartnerIndex(many())
    assert len(drawn(index, 3, 50)) > 10
    assert len({index.partners(3, copy=0, seed=s)[0] for s in range(50)}) > 10


def test_no_candidate_is_no_partner():
    items = [Item("", "a", "x", fold="1"), Item("", "b", "y", fold="2"), Item("", "c", "y", fold="2")]
    assert PartnerIndex(items).partners(0, copy=0, seed=0) == []
    assert PartnerIndex(items, "different_class").partners(1, copy=0, seed=0) == []
    assert PartnerIndex(items, "same_class").partners(1, copy=0, seed=0) == [2]


@pytest.mark.parametrize("kind", ["any", "different_class", "same_class"])
def test_a_draw_looks_at_few_items_of_a_large_set(kind, monkeypatch):
    # one class with nearly all items and one with three: the hard case for drawing again and again
    index = PartnerIndex([Item("", f"{i:06d}", "rare" if i < 3 else "usual") for i in range(40_000)], kind)
    looks = [0]

    def counted(high, **more):
        looks[0] += 1
        return integers(high, **more)

    def listed(self, pool, own):
        found = candidates(self, pool, own)
        looks[0] += len(found)
        return found

    integers, candidates = draw.integers, PartnerIndex._candidates
    monkeypatch.setattr(draw, "integers", counted)
    monkeypatch.setattr(PartnerIndex, "_candidates", listed)
    for i in range(50):
        index.partners(i, copy=0, seed=0)
    assert 50 <= looks[0] < 50 * 120


def test_wrong_kinds_and_borders_are_named():
    with pytest.raises(ValueError, match="across must be one of split, fold, got 'folds': did you mean 'fold'"):
        PartnerIndex(many(10), across=["folds"])
    with pytest.raises(ValueError, match="which classes are they"):
        PartnerIndex([Item("", "a"), Item("", "b")], "same_class")


def test_splits_and_folds_are_numbered_alike_however_many_there_are(monkeypatch):
    chance = random.Random(0)
    codes = [np.array([chance.randrange(-1, 3) for _ in range(50)], np.int8) for _ in range(2)]
    columns = [(codes[0], ["a", "b", "c"]), (None, []), (codes[1], ["x", "y", "z"])]
    few = indexes._number_keys(columns, 50)
    monkeypatch.setattr(indexes, "_COUNTED", 0)
    many = indexes._number_keys(columns, 50)
    pairs = [*zip(codes[0].tolist(), codes[1].tolist())]
    assert few[0].tolist() == many[0].tolist() == sorted({(a + 1) * 4 + b + 1 for a, b in pairs})
    assert few[2].tolist() == many[2].tolist()
    for _, first, which in (few, many):
        assert [pairs[first[number]] for number in which] == pairs
    assert indexes._number_keys([(None, []), (None, [])], 3)[2].tolist() == [0, 0, 0]
