"""Partners from the other half by confidence (SFTMix)."""

import pytest
import torch
from pairs import assert_drawn_as, drawn
from scipy import stats
from sounds import noise, seeded

from audiomix import MixUp, Notes, pairing

SURE = torch.tensor([0.3, -2.0, 0.9, -0.1, 5.0, -7.0, 0.2])
UPPER = torch.tensor([1, 0, 1, 0, 1, 0, 1], dtype=torch.bool)  # the middle of seven, 0.2, is in the upper half


@pytest.mark.parametrize("size", [2, 3, 8, 9, 64])
def test_halves_differ_by_one_clip_at_most_and_partners_are_of_the_other(size):
    for seed in range(30):
        sure = torch.randint(0, 4, (size,), generator=seeded(seed)).float()  # many equal ones
        partner, found = pairing.pair(size, "confidence", notes=Notes(confidence=sure), generator=seeded(seed))
        assert found.all()
        index = torch.arange(size)
        # a pair of halves explains all partners: those at least as sure as every partner of theirs, and the others
        upper = torch.zeros(size, dtype=torch.bool)
        order = sure.argsort(descending=True, stable=True)
        edge = sure[order[(size + 1) // 2 - 1]]
        upper[sure > edge] = True
        lower = sure < edge
        assert not (upper & upper[partner]).any()
        assert not (lower & lower[partner]).any()
        used = torch.bincount(partner, minlength=size).sort().values.tolist()
        assert used == ([1] * size if size % 2 == 0 else [0, *[1] * (size - 2), 2])  # of the larger half one is left
        assert (partner != index).all()


def test_each_of_the_other_half_as_often():
    expected = (UPPER[:, None] != UPPER).double()
    counts = drawn("confidence", 7, draws=5000, notes=Notes(confidence=SURE))
    assert_drawn_as(counts, expected)
    twice = counts[:, ~UPPER].sum(0)  # 4 clips of the upper half have 3 partners: one is used twice, each as often
    assert stats.chisquare(twice.numpy()).pvalue > 1e-5


def test_the_order_of_the_clips_makes_no_difference():
    order = torch.tensor([4, 0, 6, 2, 5, 1, 3])
    expected = (UPPER[order][:, None] != UPPER[order]).double()
    assert_drawn_as(drawn("confidence", 7, draws=5000, notes=Notes(confidence=SURE[order])), expected)
    # of equal confidences chance decides, not the place in the batch: every pair of 4 comes as often
    counts = drawn("confidence", 4, draws=5000, notes=Notes(confidence=torch.ones(4)))
    assert_drawn_as(counts, 1 - torch.eye(4).double())


def test_the_median_of_the_data_set_may_be_given_and_a_half_may_be_empty():
    upper = SURE >= 0.5
    counts = drawn("confidence:threshold=0.5", 7, draws=5000, notes=Notes(confidence=SURE))
    assert_drawn_as(counts, (upper[:, None] != upper).double())
    wave = noise(7, 1, 30)
    mixed = MixUp(pairing="confidence:threshold=9")(wave, confidence=SURE, generator=seeded())
    assert torch.equal(mixed.x, wave)
    assert all(mixed.plans[0].why)


def test_clips_that_were_never_seen_have_no_partner_and_are_none():
    sure = [1.0, None, 2.0, float("nan"), 3.0, 4.0]
    for given in ({}, {"weights": torch.ones(6)}):
        counts = drawn("confidence", 6, draws=5000, notes=Notes(confidence=sure), **given)
        known, upper = torch.tensor([1, 0, 1, 0, 1, 1]), torch.tensor([0, 0, 0, 0, 1, 1])
        assert_drawn_as(counts, ((upper[:, None] != upper) & (known[:, None] * known > 0)).double())


def test_the_rest_is_halved_where_some_take_no_part_and_masks_and_weights_count():
    eligible = torch.tensor([1, 1, 1, 1, 0, 0, 0], dtype=torch.bool)
    counts = drawn("confidence", 7, draws=5000, notes=Notes(confidence=SURE), eligible=eligible)
    upper = torch.tensor([1, 0, 1, 0, 0, 0, 0], dtype=torch.bool)
    assert_drawn_as(counts, ((upper[:, None] != upper) & eligible & eligible[:, None]).double())
    weights = torch.tensor([1.0, 2, 3, 1, 5, 1, 0])
    counts = drawn("confidence", 7, draws=5000, notes=Notes(confidence=SURE), weights=weights)
    assert_drawn_as(counts, (UPPER[:, None] != UPPER) * weights.double())


def test_over_a_second_batch_both_are_halved_together():
    own, other = [0.0, 1.0], [2.0, 3.0, 4.0, 5.0]  # the median of all six lies between 2 and 3
    expected = torch.tensor([[0, 1, 1, 1], [0, 1, 1, 1]]).double()
    given = {"other_size": 4, "notes": Notes(confidence=own), "other_notes": Notes(confidence=other)}
    counts = torch.zeros(2, 4, dtype=torch.int64)
    for seed in range(600):
        partner, found = pairing.pair(2, "confidence", generator=seeded(seed), **given)
        assert found.all()
        counts[torch.arange(2), partner] += 1
    assert_drawn_as(counts, expected)


@pytest.mark.parametrize(
    ("kind", "confidence", "error", "message"),
    [
        ("", None, ValueError, "confidence must be given for pairing 'confidence', got None: minus the loss"),
        ("", [1.0, 2.0], ValueError, "confidence must be one entry for each of 4 clips, got 2"),
        ("", ["high", 1, 2, 3], TypeError, r"confidence\[0\] must be a number, or None"),
        (":threshold=half", [1.0] * 4, ValueError, "option threshold of pairing confidence must be a number"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_drawn(kind, confidence, error, message):
    generator = seeded()
    with pytest.raises(error, match=message):
        pairing.pair(4, f"confidence{kind}", notes=Notes(confidence=confidence), generator=generator)
    assert torch.equal(generator.get_state(), seeded().get_state())
