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
from audiomix.offline.partners import score
from audiomix.offline.partners.block import first_distinct
from audiomix.offline.partners.generators import first_words, seeds_for, shuffle, to_uniform
from audiomix.offline.partners.groups import GroupPartners
from audiomix.offline.partners.index import PartnerIndex
from audiomix.offline.partners.score import Ranked, ScorePartners
from audiomix.offline.partners.similarity import SimilarityLimits
from audiomix.offline.partners.weighted import WeightedPartners
from audiomix.offline.providers.beats import BeatPartners, TempoPartners

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


@pytest.mark.parametrize("held", [list, ItemTable])
def test_partners_of_one_tempo_at_once_are_those_one_by_one(monkeypatch, held):
    chance = random.Random(1)
    tempi = [str(chance.choice([chance.uniform(60, 200), 0, 100, 250 + i])) for i in range(300)]
    items = held(Item("", f"{i * 7 % 300}.wav", split="ab"[i % 2], bpm=tempo) for i, tempo in enumerate(tempi))
    rows = [(i, copy) for i in range(300) for copy in (0, 3)][:400]
    for kind in ("same_tempo", "same_tempo:tolerance=1"):
        index = TempoPartners(items, kind, ())
        for count in (3, 8, 64):
            one_by_one = [index.partners(i, copy=copy, seed=3, count=count) for i, copy in rows]
            assert [*index.draw_partners(rows, seed=3, count=count)] == one_by_one
            sizes = {len(one) for one in one_by_one}
            assert sizes >= {0, 1}
            assert max(sizes) >= min(count, 8)
        with monkeypatch.context() as patch:
            patch.setattr(BeatPartners, "_draw_fitting", None)  # none needs to be drawn alone
            assert len([*index.draw_partners(rows, seed=3, count=3)]) == len(rows)


@pytest.mark.parametrize("kind", ["any", "different_class", "same_class"])
@pytest.mark.parametrize("noises", [5, 60])  # fewer than are wanted, and many
def test_weighted_partners_at_once_are_those_one_by_one(monkeypatch, kind, noises):
    chance = random.Random(2)
    items = [Item("", f"o{i}", chance.choice("xyz"), split=chance.choice("ab"), role="original") for i in range(40)]
    items += [Item("", f"n{i}", chance.choice("xyz"), role=chance.choice(["noise", "both"])) for i in range(noises)]
    weights = [chance.choice([0, 1e-4, 1, 5.5]) for _ in items]
    index = WeightedPartners(items, kind, weights=weights)
    rows = [(i, copy) for i, item in enumerate(items) if item.role != "noise" for copy in (0, 2)]
    for count in (1, 8, 40):
        one_by_one = [index.partners(i, copy=copy, seed=3, count=count) for i, copy in rows]
        assert [*index.draw_partners(rows, seed=3, count=count)] == one_by_one
    assert any(one_by_one)
    only = WeightedPartners([*items[:40], Item("", "n", "x", role="noise")], "any", weights=[0] * 40 + [1])
    monkeypatch.setattr(WeightedPartners, "partners", None)  # none needs to be drawn alone
    assert [*only.draw_partners([(i, 0) for i in range(40)], seed=0)] == [[40]] * 40


@pytest.mark.parametrize("noises", [0, 20])
@pytest.mark.parametrize("most", [2, 4])
def test_groups_at_once_are_those_one_by_one(noises, most):
    items = [Item("", f"{i:03d}", "abc"[i % 3], caption=f"words {i % 40}", split="ab"[i // 50]) for i in range(100)]
    items += [Item("", f"n{i}", role="noise") for i in range(noises)]
    index = GroupPartners(
        items, "any", (), sources=(2, most), copies=2, seed=5, limits=SimilarityLimits(), captions=not noises
    )
    rows = [(i, copy) for i in range(100) for copy in (0, 1)]
    one_by_one = [index.partners(i, copy=copy, seed=5) for i, copy in rows]
    sizes = [index.group(i, copy=copy, seed=5) for i, copy in rows]
    found = []
    for (i, copy), partners in zip(rows, index.draw_partners(rows, seed=5)):
        found.append((partners, index.group(i, copy=copy, seed=5)))
    assert found == [*zip(one_by_one, sizes)]
    assert {*sizes} == {*range(1, most)}


def test_partners_by_score_at_once_are_those_one_by_one(monkeypatch):
    chance, items = random.Random(3), [Item("", f"{i}.wav", split="ab"[i % 2]) for i in range(120)]
    grids = {item.id: BeatGrid([0.0, 60 / chance.uniform(90, 130), 2.0]) for item in items[:110]}
    ranked = []

    def reversed_rank(own, others, *_):
        ranked.append(own)
        return [Ranked(name, 0.0, None, 1.0) for name in sorted(others, reverse=True)]

    monkeypatch.setattr(score, "rank", reversed_rank)
    index = ScorePartners(items, "any", (), grids, MatchRule(), {})
    rows = [(i, copy) for i in range(120) for copy in (0, 1, 2)]
    one_by_one = [index.partners(i, copy=copy, seed=3) for i, copy in rows]
    ranked.clear()
    assert [*index.draw_partners(rows, seed=3)] == one_by_one
    assert ranked == [item.id for item in items]  # once an item
    assert one_by_one[0][1:] == one_by_one[1][:7]


def test_known_partners_of_a_seed():
    """Plans of runs that are under way must not change: partners are as they ever were."""
    items = [Item("", f"{i:03d}", "abc"[i % 3]) for i in range(90)]
    for kind, partners in KNOWN.items():
        assert [*PartnerIndex(items, kind).draw_partners([(0, 0), (7, 2)], seed=1, count=4)] == partners
