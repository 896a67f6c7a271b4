"""How frequent the classes are taken to be: of the labels, equally, or as given."""

import pytest
import torch

from recipes.algorithms import get
from recipes.training.config import Config, preset
from recipes.training.prior import class_prior, parse_prior

SKEWED = torch.tensor([0, 0, 0, 0, 0, 1, 1, 2])  # 5, 2 and 1 labels


def test_the_labels_prior_counts_one_more_clip_of_every_class():
    torch.testing.assert_close(class_prior("labels", SKEWED, 3), torch.tensor([6.0, 3.0, 2.0]) / 11)
    torch.testing.assert_close(class_prior("labels", SKEWED, 4), torch.tensor([6.0, 3.0, 2.0, 1.0]) / 12)  # none of it
    assert torch.equal(class_prior("labels", torch.arange(10).repeat(3), 10), torch.full((10,), 0.1))  # to the bit


def test_a_uniform_or_given_prior_does_not_look_at_the_labels():
    assert torch.equal(class_prior("uniform", SKEWED, 3), torch.full((3,), 1 / 3))
    assert torch.equal(class_prior(" 0.2, 0.3,0.5 ", SKEWED, 3), torch.tensor([0.2, 0.3, 0.5]))
    rounded = class_prior("0.333,0.333,0.333", SKEWED, 3)
    torch.testing.assert_close(rounded, torch.full((3,), 1 / 3))
    assert rounded.sum() == 1
    torch.testing.assert_close(class_prior("0.33,0.33,0.33", SKEWED, 3), torch.full((3,), 1 / 3))  # whole percent


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("equal", "prior must be labels, uniform or the share of each class, such as 0.2,0.3,0.5, got 'equal'"),
        ("0.2,0.3,", "prior must be labels, uniform or the share"),
        ("0.2,0.3,0.6", "shares that sum to 1, got 0.2,0.3,0.6, which sum to 1.1"),
        ("0.2,0.3,0.47", "shares that sum to 1, got 0.2,0.3,0.47, which sum to 0.97"),
        ("20,30,50", r"which sum to 100: in percent\? 0.2, not 20"),
        ("-0.2,0.7,0.5", "shares above 0, got -0.2 in"),
        ("nan,0.5,0.5", "shares above 0, got nan in"),
        ("0,0.5,0.5", r"shares above 0, got 0 in 0,0.5,0.5: a class that never comes up: a small share"),
    ],
)
def test_a_wrong_prior_is_refused_by_name(text, message):
    with pytest.raises(ValueError, match=message):
        parse_prior(text)
    with pytest.raises(ValueError, match=message):
        preset("small", prior=text)


def test_a_prior_of_another_number_of_classes_is_refused():
    with pytest.raises(ValueError, match=r"a share of each of the 3 classes, got 2: 0.5,0.5"):
        class_prior("0.5,0.5", SKEWED, 3)
    with pytest.raises(ValueError, match=r"a share of each of the 3 classes, got shape \(2,\)"):
        get("supervised")(3).set_prior(torch.tensor([0.5, 0.5]))
    assert Config(prior="0.5,0.5").prior == "0.5,0.5"  # the configuration does not know the classes


def test_a_method_has_a_uniform_prior_until_it_is_told_and_does_not_save_it():
    method = get("supervised")(4)
    assert torch.equal(method.prior, torch.full((4,), 0.25))
    method.set_prior(torch.tensor([0.1, 0.2, 0.3, 0.4]))
    assert torch.equal(method.prior, torch.tensor([0.1, 0.2, 0.3, 0.4]))
    assert "prior" not in method.state_dict()
