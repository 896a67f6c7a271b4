"""Rules for labels, of any number of sources."""

import pytest
import torch
from sounds import seeded

from audiomix import Plan, SourcesPlan
from audiomix.targets.frames import mix_frames
from audiomix.targets.labels import RULES, mix_labels

# three mixes: of three sources, of two, and of one
PARTNERS = torch.tensor([[1, 2], [0, -1], [-1, -1]])
SHARES = torch.tensor([[0.5, 0.3, 0.2], [0.4, 0.6, 0.0], [1.0, 0.0, 0.0]]).double()
PLAN = SourcesPlan.of(PARTNERS, SHARES, SHARES)
SOFT = torch.tensor([[0.3, 1.0, 0.0, 0.0], [0.5, 0.0, 1.0, 0.0], [0.2, 0.0, 0.0, 0.6]])


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("linear", [[0.34, 0.5, 0.3, 0.12], [0.38, 0.6, 0.4, 0.0]]),
        ("union", [[0.5, 1.0, 1.0, 0.6], [0.5, 1.0, 1.0, 0.0]]),
        ("probability", [[1 - 0.7 * 0.5 * 0.8, 1.0, 1.0, 0.6], [0.65, 1.0, 1.0, 0.0]]),
        ("dominant", [[0.3, 1.0, 0.0, 0.0], [0.3, 1.0, 0.0, 0.0]]),
        ("power:threshold=1,exponent=1", [[0.34, 0.5, 0.3, 0.12], [0.38, 0.6, 0.4, 0.0]]),
        ("power:threshold=0.4,exponent=2", [[0.3 + 0.5625 * 0.5 + 0.05, 1, 0.5625, 0.15], [0.8, 1.0, 1.0, 0.0]]),
        ("power", [[0.5**0.5 * 0.3 + 0.3**0.5 * 0.5 + 0.2**0.5 * 0.2, 0.5**0.5, 0.3**0.5, 0.2**0.5 * 0.6], None]),
        ("sharp", [[0.5**0.3 * 0.3 + 0.3**0.3 * 0.5 + 0.2**0.3 * 0.2, 0.5**0.3, 0.3**0.3, 0.2**0.3 * 0.6], None]),
        ("sharp:temperature=1", [[0.34, 0.5, 0.3, 0.12], [0.38, 0.6, 0.4, 0.0]]),
    ],
)
def test_known_answers(rule, expected):
    got = mix_labels(SOFT, PLAN, rule=rule)
    for row, values in enumerate(expected):
        if values is not None:
            torch.testing.assert_close(got[row], torch.tensor(values), atol=1e-6, rtol=0)
    assert torch.equal(got[2], SOFT[2])  # a clip alone keeps its own, to the bit


def test_rules_of_three_agree_with_the_formula_in_any_order_of_two():
    """A source of no share is as if it were not there."""
    y = torch.rand(3, 5, generator=seeded())
    two = Plan(torch.tensor([1, 0, 2]), torch.tensor([0.5, 0.4, 1.0], dtype=torch.float64))
    padded = SourcesPlan.of(
        torch.tensor([[1, -1], [0, -1], [-1, -1]]),
        torch.tensor([[0.5, 0.5, 0.0], [0.4, 0.6, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64),
        torch.ones(3, 3).double(),
    )
    for rule in RULES:
        assert torch.equal(mix_labels(y, two, rule=rule), mix_labels(y, padded, rule=rule))


def test_of_equal_shares_the_first_is_dominant():
    third = torch.full((1, 3), 1 / 3).double()
    plan = SourcesPlan.of(torch.tensor([[1, 2]]), third, third)
    assert mix_labels(torch.eye(3)[:1], plan, rule="dominant", other=torch.eye(3)).tolist() == [[1, 0, 0]]


@pytest.mark.parametrize("rule", ["power", "sharp", "probability"])
def test_a_class_of_all_sources_stays_a_share_of_at_most_one(rule):
    assert mix_labels(torch.ones(3, 2), PLAN, rule=rule).tolist() == [[1, 1]] * 3


def test_the_probability_of_hard_labels_is_their_union():
    y = (torch.rand(3, 20, generator=seeded()) < 0.4).float()
    assert torch.equal(mix_labels(y, PLAN, rule="probability"), mix_labels(y, PLAN, rule="union"))


def test_only_linear_and_dominant_keep_the_mass():
    mass = {rule: mix_labels(torch.eye(3), PLAN, rule=rule).sum(1) for rule in RULES}
    for rule in ("linear", "dominant"):
        torch.testing.assert_close(mass[rule], torch.ones(3))
    for rule in ("union", "probability", "power", "sharp"):
        assert mass[rule][0] > 1.2
        assert mass[rule][2] == 1


@pytest.mark.parametrize("rule", RULES)
def test_class_ids_multi_hot_and_frames_agree(rule):
    ids = torch.tensor([3, 0, 3])
    hot = torch.nn.functional.one_hot(ids, 5).float()
    expected = mix_labels(hot, PLAN, rule=rule)
    torch.testing.assert_close(mix_labels(ids, PLAN, rule=rule, num_classes=5), expected, atol=1e-7, rtol=0)
    assert torch.equal(mix_labels(hot.bool(), PLAN, rule=rule), expected)
    frames = mix_frames(hot[:, :, None].repeat(1, 1, 7), PLAN, rule=rule)
    assert torch.equal(frames, expected[:, :, None].repeat(1, 1, 7))


def test_class_ids_of_a_second_batch_and_one_class_in_all_sources():
    plan = SourcesPlan.of(torch.tensor([[0, 1]]), torch.tensor([[0.2, 0.3, 0.5]]).double(), torch.ones(1, 3).double())
    got = mix_labels(torch.tensor([1]), plan, num_classes=3, other=torch.tensor([1, 2]))
    torch.testing.assert_close(got, torch.tensor([[0.0, 0.5, 0.5]]))
    soft = mix_labels(torch.tensor([1]), plan, num_classes=3, other=torch.eye(3)[1:])
    torch.testing.assert_close(soft, got)
    assert mix_labels(torch.tensor([1]), plan, num_classes=3, other=torch.tensor([1, 1])).tolist() == [[0, 1, 0]]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("sharpp", "rule must be one of .* did you mean 'sharp'"),
        ("sharp:temperature=0", "temperature of rule sharp must be"),
        ("power:threshold=2", "threshold of rule power must be"),
        ("power:thr=1", "the option of rule power must be one of threshold, exponent"),
        ("union:k=1", "the options of rule union must be none"),
    ],
)
def test_wrong_rules_are_named(rule, message):
    with pytest.raises(ValueError, match=message):
        mix_labels(SOFT, PLAN, rule=rule)
