"""Partners of many rows at once are those of one row after the other, and torch's numbers are torch's."""

import random

import numpy as np
import pytest
import torch

from audiomix import draw
from audiomix.beats.grid import BeatGrid
from audiomix.beats.match import MatchRule
from audiomix.datasets.item import Item
from audiomix.datasets.item_table import ItemTable
from audiomix.offline.partners.block import first_distinct
from audiomix.offline.partners.generators import first_words, seeds_for, shuffle, to_uniform
from audiomix.offline.partners.index import PartnerIndex
from audiomix.offline.providers.beats import BeatPartners

# Drawn by the version that drew one by one.
KNOWN = {
    "any": [[79, 67, 11, 59], [67, 26, 29, 43]],
    "different_class": [[79, 67, 11, 59], [26, 29, 65, 86]],
    "same_class": [[78, 66, 9, 57], [67, 25, 28, 43]],
}
ROWS = [("a/1.wav", 0), ("ü", 12), ("", 3), ("1:2", 0)]


@pytest.mark.parametrize("seed", [0, -5, 2**40])
def test_words_are_those_of_torchs_generators(seed):
    words = first_words(seeds_for(seed, "partner", ROWS), 624)
    for i, row in enumerate(ROWS):
        generator = draw.generator_for(seed, "partner", *row)
        single = [torch.rand(1, dtype=torch.float64, generator=generator).item() for _ in range(40)]
        more = torch.rand(272, dtype=torch.float64, generator=generator).tolist()
        assert to_uniform(words)[:, i].tolist() == single + more
        for size in (1, 2, 33, 300):
            order = torch.randperm(size, generator=draw.generator_for(seed, "partner", *row)).tolist()
            assert shuffle(words[:, i].tolist(), range(size), size) == order
            assert shuffle(words[:, i].tolist(), range(size), 3) == order[:3]
    assert np.array_equal(first_words(seeds_for(seed, "partner", ROWS), 24), words[:24])
    with pytest.raises(ValueError, match="1 to 624 expected, got 625"):
        first_words(np.zeros(1, np.uint32), 625)


def test_first_distinct_numbers_of_a_row():
    other = np.array([[5, 5, 7, 1, 7, 9], [1, 1, 1, 1, 2, 2]])
    good = np.array([[True, True, True, False, True, True], [True] * 6])
    chosen, enough = first_distinct(other, good, 3)
    assert chosen.tolist() == [[5, 7, 9]]
    assert enough.tolist() == [True, False]


def corpus(size, *, roles, several, seed=0):
    """Clips with uneven classes, in splits and folds, in no order."""
    chance, items = random.Random(seed), []
    for i in range(size):
        role = chance.choice([None, "original", "noise", "both"]) if roles else None
        label = f"c{min(int(chance.expovariate(0.4)), 19)}"
        if several and chance.random() < 0.3:
            label = {label: 1.0, f"c{chance.randrange(20)}": 1.0}
        label = None if role == "noise" and i % 2 else label
        split = chance.choice([None, "a", "b"]) if roles else chance.choice("ab")
        cluster, attributes = chance.choice([None, "1", "2", "3"]), chance.choice([None, ("x",), ("y",)])
        name = f"{chance.randrange(10**6)}-{i}.wav"
        items.append(Item("", name, label, split=split, role=role, cluster=cluster, attributes=attributes))
    return items


@pytest.mark.parametrize("kind", ["any", "different_class", "same_class", "same_cluster", "same_attribute"])
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("roles", [False, True])
@pytest.mark.parametrize("size", [40, 300])  # pools that are counted out, and larger ones
def test_partners_at_once_are_those_one_by_one(kind, several, roles, size):
    if kind == "same_class" and roles:
        pytest.skip("noises without a class have none in common")
    items = corpus(size, roles=roles, several=several)
    index = PartnerIndex(items, kind)
    rows = [(i, copy) for i, item in enumerate(items) if item.role != "noise" for copy in (0, 11)][:60]
    for count in (8, 64):
        one_by_one = [index.partners(i, copy=copy, seed=3, count=count) for i, copy in rows]
        assert [*index.draw_partners(rows, seed=3, count=count)] == one_by_one
        assert [*PartnerIndex(ItemTable(items), kind).draw_partners(rows, seed=3, count=count)] == one_by_one
    assert any(one_by_one)


@pytest.mark.parametrize("kind", ["any", "different_class", "same_class"])
@pytest.mark.parametrize("roles", [False, True])
def test_partners_by_tempo_at_once_are_those_one_by_one(kind, roles):
    if kind == "same_class" and roles:
        pytest.skip("noises without a class have none in common")
    items, chance = corpus(400, roles=roles, several=True), random.Random(0)
    grids = {
        item.id: BeatGrid([0.0, 60 / bpm, 120 / bpm], key=chance.choice(["A minor", "C major", None]))
        for item in items
        if (bpm := chance.choice([chance.uniform(60, 200), 0]))
    }
    for rule in (MatchRule(), MatchRule(polyrhythm=True, keys="compatible"), MatchRule(bucket_bpm=5)):
        index = BeatPartners(items, kind, (), grids, rule)
        rows = [(i, copy) for i, item in enumerate(items) if item.role != "noise" for copy in (0, 3)][:30]
        one_by_one = [index.partners(i, copy=copy, seed=3) for i, copy in rows]
        assert [*index.draw_partners(rows, seed=3)] == one_by_one


def test_known_partners_of_a_seed():
    """Plans of runs that are under way must not change: partners are as they ever were."""
    items = [Item("", f"{i:03d}", "abc"[i % 3]) for i in range(90)]
    for kind, partners in KNOWN.items():
        assert [*PartnerIndex(items, kind).draw_partners([(0, 0), (7, 2)], seed=1, count=4)] == partners
