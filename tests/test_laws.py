"""Every mode of every mixer is held to the laws of `laws.py`. A new file in audiomix/mixers is held to them as well."""

import pytest
import torch
from laws import LAWS, all_examples, batch, call, with_classes
from sounds import seeded

from audiomix import MixUp, OneOf, mixers

KINDS = [*(mixers.get(name) for name in mixers.available()), OneOf]
EXAMPLES = list(all_examples(KINDS))


@pytest.mark.parametrize("example", EXAMPLES)
def test_laws(example):
    for law in LAWS:
        law(example)


def test_partners_are_uniform():
    x, counts = torch.zeros(5, 1, 64), torch.zeros(5, 5)
    mixer = MixUp()
    for seed in range(600):
        counts[torch.arange(5), mixer(x, generator=seeded(seed)).plans[0].partner] += 1
    assert (counts.diagonal() == 0).all()
    off = counts[~torch.eye(5, dtype=torch.bool)].view(5, 4)
    chi2 = ((off - 150) ** 2 / 150).sum(1)  # 3 degrees of freedom a row; 99.99 % below 21.1
    assert (chi2 < 21.1).all(), chi2


WRONG = [
    ({"x": torch.arange(8).view(8, 1)}, TypeError, r"x must be floating point, got torch\.int64"),
    ({"x": torch.zeros(100)}, ValueError, r"x must be a batch .* got shape \(100,\): a single clip"),
    ({"x": torch.zeros(0, 1, 100)}, ValueError, r"x must be not empty"),
    ({"target": torch.arange(3)}, ValueError, r"target must be of 4 items"),
    ({"target": torch.tensor([0, 1, 2, 99])}, ValueError, r"target must be class ids in 0\.\.7, got 0\.\.99"),
    ({"lengths": torch.tensor([0.5, 1, 1, 1])}, TypeError, r"lengths must be whole numbers .* relative lengths\?"),
    ({"lengths": torch.tensor([1, 2, 3, 10**6])}, ValueError, r"lengths must be within \[0, "),
    ({"progress": 17}, ValueError, r"progress must be .* not a step or an epoch"),
    ({"generator": 3}, TypeError, r"did you mean torch\.Generator\(\)\.manual_seed\(3\)"),
    ({"target": torch.arange(4)[:, None]}, ValueError, r"of shape \(B, 8\).*class ids\? target\[:, 0\]"),
    ({"target": torch.ones(4, 8, 5).long()}, TypeError, r"target must be floating point"),
    ({"out": torch.zeros(4, 1, 99)}, ValueError, r"out must be like x"),
    ({"other_target": torch.arange(4), "other": None}, ValueError, r"other must be given with other_target"),
    ({"length": torch.ones(4)}, TypeError, r"no argument 'length': did you mean lengths=\?"),
    ({"eligible": torch.ones(4)}, ValueError, r"eligible must be bool"),
]


@pytest.mark.parametrize("example", [kind.examples()[0] for kind in KINDS], ids=lambda e: type(e.mixer).__name__)
def test_wrong_arguments_are_named_before_any_work(example):
    mixer = with_classes(example)
    for arguments, error, message in WRONG:
        given = {"target": torch.arange(4), **arguments}
        if example.partners != "either" and ("other_target" in given or "x" in given or "out" in given):
            continue
        x = given.pop("x", batch(example, 4))
        state = torch.get_rng_state()
        with pytest.raises(error, match=message):
            call(example, x, given.pop("target"), mixer=mixer, **{"generator": None, **given})
        assert torch.equal(torch.get_rng_state(), state)


def test_class_ids_need_num_classes():
    with pytest.raises(ValueError, match="pass num_classes=K"):
        MixUp()(torch.zeros(4, 1, 100), torch.arange(4))
