"""Every mode of every mixer and transform is held to the laws of `laws.py`, a new file in their folders as well."""

import numpy as np
import pytest
import torch
from laws import LAWS, all_examples, batch, call, frames, is_stream, with_classes
from sounds import seeded

from audiomix import BeatGrid, MixUp, OneOf, mixers, transforms

KINDS = [*(room.get(name) for room in (mixers, transforms) for name in room.available()), OneOf]
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
    ({"target": torch.ones(4, 8, 5).long()}, TypeError, r"target must be floating point .* target\.float\(\)\?"),
    ({"target": torch.ones(4, 3)}, ValueError, r"target must be of shape \(B, 8\), as num_classes says, got \(4, 3\)"),
    ({"target": torch.ones(4, 3, 20)}, ValueError, r"of shape \(B, 8, N\), as num_classes says, got \(4, 3, 20\)$"),
    ({"target": torch.ones(4, 20, 8)}, ValueError, r"frames before classes\? target\.transpose\(1, 2\)"),
    ({"target": torch.ones(4, 8, 2, 2)}, ValueError, r"target must be class ids .*, got .*\(4, 8, 2, 2\)"),
    ({"target": torch.ones(4, 8) * 1.5}, ValueError, r"shares of classes in \[0, 1\], got 1\.5\.\.1\.5: logits\?"),
    ({"target": -torch.ones(4, 8, 20)}, ValueError, r"target must be shares of classes in \[0, 1\]"),
    ({"target": torch.full((4, 8), torch.nan)}, ValueError, r"target must be shares of classes in \[0, 1\]"),
    ({"target": torch.full((4, 8), 5)}, ValueError, r"in \[0, 1\], got 5\.\.5: class ids\? one number a clip"),
    ({"target": torch.tensor([0, 1, 2, -1])}, ValueError, r"target must be class ids in 0\.\.7, got -1\.\.2"),
    ({"target": torch.empty(0).long()}, ValueError, r"target must be not empty"),
    ({"target": ["dog", "cat", "dog", "cat"]}, TypeError, r"target must be .* got text such as .dog.: class names"),
    ({"target": np.array(["dog", "cat", "dog", "cat"])}, TypeError, r"got text such as 'dog': class names\? ids ="),
    ({"target": [0, 1, 2, 3]}, TypeError, r"target must be .* did you mean torch\.tensor\(target\)\?"),
    ({"target": np.arange(4)}, TypeError, r"target must be .* did you mean torch\.as_tensor\(target\)\?"),
    ({"x": [[[0.5] * 9]] * 4}, TypeError, r"x must be .* did you mean torch\.tensor\(x\)\?"),
    ({"x": [torch.zeros(1, 9)] * 4}, TypeError, r"x must be .* did you mean torch\.stack\(x\)\?"),
    ({"x": np.zeros((4, 1, 9), np.float32)}, TypeError, r"x must be .* did you mean torch\.as_tensor\(x\)\?"),
    ({"x": torch.zeros(4, 1, 9).short()}, TypeError, r"x must be floating point, .* 16 bit samples\?"),
    ({"other": np.zeros((4, 1, 9)), "target": None}, TypeError, r"other must be .* torch\.as_tensor\(other\)\?"),
    ({"lengths": ["a"] * 4}, TypeError, r"lengths must be whole numbers"),
    ({"lengths": [None] * 4}, TypeError, r"lengths must be whole numbers"),
    ({"eligible": ["a"] * 4}, TypeError, r"eligible must be bool"),
    ({"out": torch.zeros(4, 1, 99)}, ValueError, r"out must be like x"),
    ({"other_target": torch.arange(4), "other": None}, ValueError, r"other must be given with other_target"),
    ({"length": torch.ones(4)}, TypeError, r"no argument 'length': did you mean lengths=\?"),
    ({"eligible": torch.ones(4)}, ValueError, r"eligible must be bool"),
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_wrong_arguments_are_named_before_any_work(example):
    mixer = with_classes(example)
    for arguments, error, message in WRONG:
        given = {"target": torch.arange(4), **arguments}
        if example.partners != "either" and given.keys() & {"other_target", "other", "x", "out"}:
            continue
        x = given.pop("x", batch(example, 4))
        state = torch.get_rng_state()
        with pytest.raises(error, match=message):
            call(example, x, given.pop("target"), mixer=mixer, **{"generator": None, **given})
        assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_usual_form_of_an_argument_gives_the_same_mix(example):
    x, notes = batch(example, 4), example.notes(4)
    lengths = torch.tensor([frames(example)] * 4)
    mixer, plain = with_classes(example), call(example, x, torch.arange(4), mixer=with_classes(example))
    forms = [
        {"x": torch.cat([x, x], -1)[..., : x.shape[-1]]},  # not contiguous
        {"x": x.clone().requires_grad_()},
        {"target": torch.eye(8)[:4]},
        {"target": torch.eye(8, dtype=torch.bool)[:4]},
        {"target": torch.arange(4).int()},
        {"eligible": [True] * 4},
        {"eligible": np.ones(4, bool)},
    ]
    if not is_stream(example) and example.mixer.needs.length == "kept":
        forms += [{"lengths": lengths.tolist()}, {"lengths": lengths.numpy()}, {"lengths": lengths.int()}]
    if notes.get("beats"):  # a padded table of seconds: positions in the bar are lost
        times = [[] if one is None else list(BeatGrid.of(one).times) for one in notes["beats"]]
        plain = call(example, x, torch.arange(4), mixer=mixer, beats=times)
        for value in (torch.nan, 0.0, -1.0):
            table = torch.full((4, 20), value, dtype=torch.float64)
            for row, one in zip(table, times):
                row[: len(one)] = torch.tensor(one, dtype=torch.float64)
            forms += [{"beats": table}, {"beats": table.numpy()}]
        forms = [{"beats": times, **form} for form in forms]
    for form in forms:
        got = call(example, form.pop("x", x), form.pop("target", torch.arange(4)), mixer=mixer, **form)
        torch.testing.assert_close(got.x.detach(), plain.x, atol=2e-5, rtol=1e-5)
        torch.testing.assert_close(got.target, plain.target)


def test_class_ids_need_num_classes():
    with pytest.raises(ValueError, match="pass num_classes=K"):
        MixUp()(torch.zeros(4, 1, 100), torch.arange(4))
