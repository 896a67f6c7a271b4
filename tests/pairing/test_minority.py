"""Partners of the same class with another attribute, as often as one over their number (MAA)."""

import pytest
import torch
from pairs import DRAWS, LEAST, assert_drawn_as, drawn
from scipy import stats
from sounds import noise, seeded

from audiomix import MixUp, Notes, pairing

CLASSES = torch.tensor([0] * 8 + [1] * 3 + [2])
ROOMS = ["hall"] * 4 + ["street"] * 3 + ["car"] + ["hall"] * 3 + ["street"]
NOTES = Notes(attributes=ROOMS)


def test_attributes_come_as_often_as_one_over_their_number():
    """Of the class 0 there are 4, 3 and 1 of the attributes: street 1/3 and car 1 for a clip of the hall."""
    counts = drawn("minority", 12, CLASSES, draws=12000, notes=NOTES)
    expected = torch.zeros(12, 12).double()
    number = {"hall": 4, "street": 3, "car": 1}
    for i in range(8):
        for j in range(8):
            expected[i, j] = 0 if ROOMS[i] == ROOMS[j] else 1 / number[ROOMS[j]] ** 2  # 1/n the room, 1/n the clip
    expected[8:11, 8:11] = 1 - torch.eye(3)  # one attribute in the class: any clip of it
    assert_drawn_as(counts, expected)
    hall = counts[:4].sum(0)
    street, car = int(hall[4:7].sum()), int(hall[7])
    assert stats.binomtest(car, car + street, 3 / 4).pvalue > LEAST
    assert counts[11].sum() == 0  # the only clip of its class


def test_other_classes_are_never_chosen_and_labels_of_any_form_give_the_same():
    forms = [CLASSES, torch.eye(3)[CLASSES], torch.eye(3)[CLASSES][..., None].repeat(1, 1, 5)]
    drawn = [pairing.pair(12, "minority", target=target, notes=NOTES, generator=seeded(3)) for target in forms]
    for partner, found in drawn:
        assert torch.equal(partner, drawn[0][0])
        assert torch.equal(CLASSES[partner][found], CLASSES[found])
        assert found.tolist() == [True] * 11 + [False]


def test_a_partner_with_another_attribute_that_nobody_may_have_leaves_the_rest_of_the_class():
    """A search that draws until an attribute comes up would never end here."""
    classes, allowed = torch.zeros(4, dtype=torch.int64), torch.ones(4, 4, dtype=torch.bool)
    allowed[:, 3] = False
    notes = Notes(attributes=["a", "a", "a", "b"])
    partner, found = pairing.pair(4, "minority", target=classes, notes=notes, allowed=allowed, generator=seeded())
    assert found.all()
    assert (partner[:3] < 3).all()


def test_over_a_second_batch_with_weights_and_unknown_attributes():
    own, other = torch.tensor([0, 1]), torch.tensor([0, 0, 0, 1, 0])
    notes = {
        "notes": Notes(attributes=["a", None] * (DRAWS // 2)),
        "other_notes": Notes(attributes=["a", "b", "b", "c", None]),
    }
    weights = torch.tensor([1.0, 1, 3, 1, 1])
    given = {"other_size": 5, "other_target": other, "weights": weights, **notes}
    counts = drawn("minority", DRAWS, own.repeat(DRAWS // 2), **given).view(-1, 2, 5).sum(0)
    assert_drawn_as(counts, torch.tensor([[0, 1 / 4, 3 / 4, 0, 0], [0, 0, 0, 1, 0]]).double())


def test_clips_that_take_no_part_are_not_counted():
    classes = torch.zeros(5, dtype=torch.int64)
    eligible = torch.tensor([1, 1, 0, 1, 1], dtype=torch.bool)
    notes = Notes(attributes=["a", "b", "b", "c", "c"])
    counts = drawn("minority", 5, classes, draws=5000, notes=notes, eligible=eligible)
    assert_drawn_as(counts[:1], torch.tensor([[0, 1, 0, 1 / 4, 1 / 4]]).double())


def test_the_label_is_mixed_and_the_class_kept():
    wave, label = noise(12, 1, 60), CLASSES
    x, target, (plan,), _ = MixUp(pairing="minority", num_classes=3)(
        wave, label, attributes=ROOMS, generator=seeded()
    )
    torch.testing.assert_close(target, torch.eye(3)[CLASSES])
    assert not torch.equal(x[:11], wave[:11])
    assert torch.equal(x[11], wave[11])
    assert plan.why[11]


@pytest.mark.parametrize(
    ("target", "attributes", "message"),
    [
        (None, ["a"] * 4, "target must be given for pairing 'minority'"),
        (torch.arange(4), None, "attributes must be given for pairing 'minority'"),
        (torch.arange(4), [["a", "b"], "a", "b", "c"], "attributes must be one a clip for pairing 'minority'"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_drawn(target, attributes, message):
    generator = seeded()
    with pytest.raises(ValueError, match=message):
        pairing.pair(4, "minority", target=target, notes=Notes(attributes=attributes), generator=generator)
    assert torch.equal(generator.get_state(), seeded().get_state())
