"""Partners of another class by the nearness of their embeddings."""

import pytest
import torch
from pairs import DRAWS, assert_drawn_as, drawn, without_own
from scipy import stats
from sounds import noise, seeded

from audiomix import MixUp, Notes, pairing

WHERE = noise(8, 5, seed=2)
CLASSES = torch.tensor([0, 0, 1, 1, 2, 2, 2, 0])


def kernel(own, theirs, temperature):
    """The formula, from cosines that another library function computes."""
    cosine = torch.nn.functional.cosine_similarity(own[:, None].double(), theirs[None].double(), dim=-1)
    return (cosine / temperature).softmax(1)


@pytest.mark.parametrize("temperature", [0.2, 1.0, 50.0])
@pytest.mark.parametrize("classes", ["different", "any"])
def test_partners_are_drawn_by_the_kernel(temperature, classes):
    expected = kernel(WHERE, WHERE, temperature).fill_diagonal_(0)
    if classes == "different":
        expected = expected * (CLASSES[:, None] != CLASSES)
    expected[expected < expected.amax(1, keepdim=True) * 5e-3] = 0  # too rare for a chi-square
    notes = Notes(embeddings=WHERE * torch.linspace(0.1, 90, 8)[:, None])  # lengths do not count
    counts = drawn(f"hard:temperature={temperature},classes={classes}", 8, CLASSES, draws=8000, notes=notes)
    assert_drawn_as(torch.where(expected > 0, counts, 0), expected)
    if classes == "different":
        assert counts[CLASSES[:, None] == CLASSES].sum() == 0


def test_no_temperature_is_too_small():
    nearest = kernel(WHERE, WHERE, 1.0).masked_fill(CLASSES[:, None] == CLASSES, 0).argmax(1)
    for temperature in ("1e-6", "1e-160", "1e-299"):
        given = {"target": CLASSES, "notes": Notes(embeddings=WHERE), "generator": seeded()}
        partner, found = pairing.pair(8, f"hard:temperature={temperature}", **given)
        assert found.all()
        assert torch.equal(partner, nearest)


def test_nearness_falls_and_directions_without_a_length_are_like_all_others():
    angle = torch.linspace(0, 3, 9)
    where = torch.stack([angle.cos(), angle.sin()], 1)
    counts = drawn("hard:temperature=0.5,classes=any", 9, draws=9000, notes=Notes(embeddings=where))[0].double()
    assert stats.spearmanr(counts[1:], -angle[1:]).statistic > 0.95
    silent = torch.cat([torch.zeros(1, 2), where[:4]])
    counts = drawn("hard:classes=any", 5, draws=5000, notes=Notes(embeddings=silent))
    assert_drawn_as(counts[:1], without_own(torch.ones(5).double())[:1])


def test_over_a_second_batch_with_masks_and_weights():
    own, other = WHERE[:2], noise(4, 5, seed=9)
    weights, allowed = torch.tensor([1.0, 2, 1, 4]), torch.ones(2, 4, dtype=torch.bool)
    allowed[1, 0] = False
    expected = kernel(own, other, 0.7) * weights * allowed * torch.tensor([[0, 1, 1, 1], [1, 0, 1, 1]])
    given = {
        "other_size": 4, "other_target": torch.tensor([0, 1, 2, 2]), "weights": weights,
        "allowed": allowed.repeat(DRAWS // 2, 1), "notes": Notes(embeddings=own.repeat(DRAWS // 2, 1)),
        "other_notes": Notes(embeddings=other),
    }  # fmt: skip
    counts = drawn("hard:temperature=0.7", DRAWS, torch.tensor([0, 1]).repeat(DRAWS // 2), **given)
    assert_drawn_as(counts.view(-1, 2, 4).sum(0), expected)


def test_one_class_has_no_hard_partner_and_equal_vectors_are_alike():
    wave = noise(4, 1, 60)
    mixed = MixUp(pairing="hard", num_classes=2)(wave, torch.zeros(4).long(), embeddings=WHERE[:4], generator=seeded())
    assert torch.equal(mixed.x, wave)
    assert all(mixed.plans[0].why)
    counts = drawn("hard:classes=any", 4, draws=5000, notes=Notes(embeddings=torch.ones(4, 3)))
    assert_drawn_as(counts, without_own(torch.ones(4).double()))


def test_embeddings_are_themselves_mixed_by_their_own_nearness_and_gradients_flow():
    x = WHERE.clone().requires_grad_()
    mixed = MixUp(pairing="hard", num_classes=3)(x, CLASSES, embeddings=x, generator=seeded())
    mixed.x.square().sum().backward()
    assert x.grad.isfinite().all()
    assert (CLASSES[mixed.plans[0].partner] != CLASSES).all()
    half = MixUp(pairing="hard")(WHERE.half(), embeddings=WHERE.half(), target=torch.eye(3)[CLASSES])
    assert half.x.dtype == torch.float16


@pytest.mark.parametrize(
    ("kind", "embeddings", "target", "error", "message"),
    [
        ("", None, CLASSES, ValueError, "embeddings must be given for pairing 'hard', got None: embeddings=model"),
        ("", WHERE, None, ValueError, "target must be given for pairing 'hard'"),
        ("", WHERE[:3], CLASSES, ValueError, "embeddings must be one entry for each of 8 clips, got 3"),
        ("", WHERE[:, 0], CLASSES, ValueError, r"embeddings must be numbers of shape \(B, D\).*values\[:, None\]"),
        ("", WHERE * torch.nan, CLASSES, ValueError, "embeddings must be finite"),
        ("", [WHERE[0], *[WHERE[0, :2]] * 7], CLASSES, ValueError, r"rows of shapes \[\(2,\), \(5,\)\]"),
        (":temperature=0", WHERE, CLASSES, ValueError, "temperature must be a number in .* a difference of cosines"),
        (":classes=same", WHERE, CLASSES, ValueError, "classes of pairing hard must be one of different, any"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_drawn(kind, embeddings, target, error, message):
    generator = seeded()
    with pytest.raises(error, match=message):
        pairing.pair(8, f"hard{kind}", target=target, notes=Notes(embeddings=embeddings), generator=generator)
    assert torch.equal(generator.get_state(), seeded().get_state())


def test_spaces_of_two_sizes_are_refused():
    where = {"embeddings": torch.ones(2, 3), "other_embeddings": torch.ones(3, 4)}
    with pytest.raises(ValueError, match="other_embeddings must be of 3 dimensions, as embeddings are, got 4"):
        MixUp(pairing="hard:classes=any")(noise(2, 1, 20), other=noise(3, 1, 20), **where)
