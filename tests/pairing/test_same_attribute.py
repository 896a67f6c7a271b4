"""Partners with a common attribute, all of them or the nearest by embeddings (ICON)."""

import pytest
import torch
from pairs import DRAWS, assert_drawn_as, drawn
from sounds import noise, seeded

from audiomix import MixUp, Notes, pairing

SEVERAL = [["hum", "far"], ["far"], ["hum"], ["click", "hum"], [], ["click"], None]
TABLE = torch.tensor(
    [[1, 1, 0], [0, 1, 0], [1, 0, 0], [1, 0, 1], [0, 0, 0], [0, 0, 1], [0, 0, 0]], dtype=torch.float32
)
COMMON = (TABLE @ TABLE.T > 0).fill_diagonal_(False)


@pytest.mark.parametrize("attributes", [SEVERAL, TABLE, TABLE.bool().numpy(), list(TABLE), list(TABLE.numpy())])
def test_lists_of_names_and_tables_say_the_same(attributes):
    counts = drawn("same_attribute", 7, draws=3500, notes=Notes(attributes=attributes))
    assert_drawn_as(counts, COMMON.double())


def test_of_one_attribute_a_clip_each_is_used_once():
    names = ["a", "b", "a", "b", "a", "c", "b", "b"]
    counts = torch.zeros(8, 8)
    for seed in range(300):
        partner, found = pairing.pair(8, "same_attribute", notes=Notes(attributes=names), generator=seeded(seed))
        assert sorted(partner.tolist()) == list(range(8))
        assert found.tolist() == [True] * 5 + [False, True, True]
        counts[torch.arange(8)[found], partner[found]] += 1
    expected = torch.tensor([[a == b != "c" for b in names] for a in names]).double().fill_diagonal_(0)
    assert_drawn_as(counts, expected)


def test_the_nearest_with_the_attribute_are_chosen_and_no_nearer_one_without():
    angle = torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 3.0]).double()
    where = torch.stack([angle.cos(), angle.sin()], 1) * torch.tensor([1.0, 9, 1, 0.1, 1, 1, 1])[:, None]
    attributes = ["a", "b", "a", "a", "a", "a", "b"]  # clip 1 is nearest to clip 0, and has another one
    notes = Notes(attributes=attributes, embeddings=where.float())
    counts = drawn("same_attribute:nearest=3", 7, draws=5000, notes=notes)
    assert_drawn_as(counts[:1], torch.tensor([[0, 0, 1, 1, 1, 0, 0]]).double())
    assert counts[1].argmax() == 6  # the only one it may have, however far
    assert counts[1, 6] == counts[1].sum() > 0
    allowed = torch.ones(7, 7, dtype=torch.bool)
    allowed[0, 2] = False
    counts = drawn("same_attribute:nearest=3", 7, draws=5000, notes=notes, allowed=allowed)
    assert_drawn_as(counts[:1], torch.tensor([[0, 0, 0, 1, 1, 1, 0]]).double())


def test_the_published_mixture_of_icon():
    """Three quarters of the clip, and the loss of both attributes by their shares, element by element."""
    attribute, where = torch.tensor([0, 0, 1, 1]), noise(4, 6, seed=4)
    wave, labels = noise(4, 1, 80), torch.eye(2)[attribute]
    mixer = MixUp(weight=0.75, pairing="same_attribute:nearest=4")
    x, target, (plan,), _ = mixer(wave, labels, attributes=attribute, embeddings=where, generator=seeded())
    assert plan.partner.tolist() == [1, 0, 3, 2]
    torch.testing.assert_close(x, 0.75 * wave + 0.25 * wave[[1, 0, 3, 2]])
    torch.testing.assert_close(target, labels)
    score = noise(4, 2, seed=5)
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    both = 0.75 * bce(score, labels, reduction="none") + 0.25 * bce(score, labels[plan.partner], reduction="none")
    torch.testing.assert_close(bce(score, target, reduction="none"), both)


def test_over_a_second_batch():
    own, other = [["a", "b"], "c"], ["b", "a", "d", ["c", "a"]]
    expected = torch.tensor([[1, 1, 0, 1], [0, 0, 0, 1]]).double()
    notes = {"notes": Notes(attributes=own * (DRAWS // 2)), "other_notes": Notes(attributes=other)}
    counts = drawn("same_attribute", DRAWS, other_size=4, **notes).view(-1, 2, 4).sum(0)
    assert_drawn_as(counts, expected)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({}, ValueError, "attributes must be given for pairing 'same_attribute', got None"),
        ({"attributes": ["a"] * 3}, ValueError, "attributes must be one entry for each of 4 clips, got 3 entries"),
        ({"attributes": [{"a": 1}] * 4}, TypeError, r"attributes\[0\] must be one attribute, or a list of them"),
        ({"attributes": torch.full((4, 2), torch.nan)}, ValueError, "attributes must be finite"),
        ({"attributes": ["a"] * 4, "kind": ":nearest=2"}, ValueError, "embeddings must be given for pairing"),
        ({"attributes": ["a"] * 4, "kind": ":nearest=-1"}, ValueError, "nearest must be an integer of at least 0"),
    ],
)
def test_wrong_attributes_are_refused_before_anything_is_drawn(given, error, message):
    generator = seeded()
    mixer = MixUp(pairing="same_attribute" + given.pop("kind", ""))
    with pytest.raises(error, match=message):
        mixer(noise(4, 1, 20), generator=generator, **given)
    assert torch.equal(generator.get_state(), seeded().get_state())


def test_tables_of_two_widths_are_refused():
    tables = {"attributes": torch.ones(2, 3), "other_attributes": torch.ones(3, 4)}
    with pytest.raises(ValueError, match="other_attributes must be like attributes, of width 3, got 4"):
        MixUp(pairing="same_attribute")(noise(2, 1, 20), other=noise(3, 1, 20), **tables)
