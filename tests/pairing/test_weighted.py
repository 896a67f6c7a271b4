"""Partners by weight, exactly as often as the formula says, whatever else is asked of them."""

import pytest
import torch
from pairs import DRAWS, LEAST, assert_drawn_as, drawn, without_own
from scipy import stats
from sounds import noise, seeded

from audiomix import Collate, CutMix, Indexed, MixUp, OneOf, Pipeline, SNRMix
from audiomix.datasets.item import Item
from audiomix.offline.partners.index import PartnerIndex
from audiomix.pairing.weighted import class_balance
from audiomix.plan import NOT_DRAWN


def test_rare_classes_are_partners_as_often_as_common_ones():
    classes = torch.tensor([0] * 6 + [1] * 2 + [2])
    weights = without_own(torch.tensor([1 / 6] * 6 + [1 / 2] * 2 + [1.0]).double())
    counts = drawn("weighted", 9, classes)
    assert_drawn_as(counts, weights)
    single = counts[8]  # alone in its class it meets the two others equally often, whatever their sizes
    assert stats.binomtest(int(single[:6].sum()), int(single.sum()), 0.5).pvalue > LEAST


def test_known_weights_of_balance():
    many = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0]])
    expected = torch.tensor([(1 / 3 + 1) / 2, 1 / 3, 1 / 3, 1 / 2, 1 / 2]).double()
    torch.testing.assert_close(class_balance(many), expected)  # the mean over its classes; none is a class too
    torch.testing.assert_close(class_balance(many[:, :, None].repeat(1, 1, 4).float()), expected)
    soft = many.float() * 0.1
    torch.testing.assert_close(class_balance(soft), expected)
    eligible = torch.tensor([1, 1, 0, 1, 1], dtype=torch.bool)
    torch.testing.assert_close(class_balance(many[:, 0], eligible)[:3], torch.tensor([0.5, 0.5, 0.0]).double())


def test_weights_of_the_second_batch_count_those_of_the_batch_itself_do_not():
    weights = torch.tensor([1.0, 0.0, 3.0, 6.0])
    counts = drawn("weighted", DRAWS, weights=weights, other_size=4).sum(0, keepdim=True)
    assert_drawn_as(counts, weights.double()[None])
    classes, other = torch.arange(DRAWS) % 2, torch.tensor([5, 5, 5, 7])
    counts = drawn("weighted", DRAWS, classes, other_size=4, other_target=other).sum(0, keepdim=True)
    assert_drawn_as(counts, torch.tensor([[1 / 3, 1 / 3, 1 / 3, 1.0]]).double())


@pytest.mark.parametrize("kind", ["any", "weighted", "same_class", "different_class"])
def test_weights_multiply_what_a_rule_allows_and_the_own_one_is_ignored(kind):
    classes = torch.tensor([0, 0, 0, 1, 1])
    weights = torch.tensor([1.0, 2.0, 4.0, 1.0, 3.0]).double()
    alike = classes[:, None] == classes
    may = {"same_class": alike, "different_class": ~alike}.get(kind, torch.ones(5, 5, dtype=torch.bool))
    allowed = torch.ones(5, 5, dtype=torch.bool)
    allowed[0, 1] = allowed[4, 0] = False
    expected = without_own(weights) * may * allowed
    assert_drawn_as(drawn(kind, 5, classes, weights=weights, allowed=allowed), expected)
    again = weights.clone()
    again[0] = 1e9  # nothing changes for clip 0 itself
    assert_drawn_as(drawn(kind, 5, classes, draws=4000, weights=again, allowed=allowed)[:1], expected[:1])


def test_clips_that_may_meet_nobody_stay_as_they_are_and_the_plan_says_why():
    wave, labels = noise(4, 1, 100), torch.arange(4)
    mixer = MixUp(pairing="weighted", num_classes=4)
    mixed = mixer(wave, labels, pairing_weights=torch.zeros(4), generator=seeded())
    assert torch.equal(mixed.x, wave)
    assert torch.equal(mixed.target, torch.eye(4))
    assert all(why.startswith("without a partner (pairing") for why in mixed.plans[0].why)
    assert mixed.plans[0].complete.all()
    # the only clip with a weight is its own only candidate
    alone = mixer(wave, labels, pairing_weights=torch.tensor([0.0, 1.0, 0, 0]), generator=seeded()).plans[0]
    assert alone.partner.tolist() == [1, 1, 1, 1]
    assert [bool(why) for why in alone.why] == [False, True, False, False]
    for other in (MixUp(), CutMix(), SNRMix(), OneOf([MixUp()])):
        (plan,) = other(wave[:1], generator=seeded()).plans
        assert plan.why[0].startswith("without a partner"), other
    assert set(MixUp(p=0)(wave).plans[0].why) == {NOT_DRAWN}
    assert MixUp()(wave).plans[0].why == ()
    (plan,) = MixUp()(wave, eligible=[True, False, False, False]).plans
    assert plan.why[0].startswith("without a partner")
    assert plan.why[1:] == (NOT_DRAWN,) * 3


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"pairing_weights": torch.tensor([1.0, -1, 0, 0])}, ValueError, "must be finite and at least 0, got -1"),
        ({"pairing_weights": torch.tensor([1.0, torch.nan, 0, 0])}, ValueError, "pairing_weights must be .* got nan"),
        ({"pairing_weights": torch.full((4,), torch.inf)}, ValueError, "pairing_weights must be finite .* got inf"),
        ({"pairing_weights": torch.ones(3)}, ValueError, r"pairing_weights must be numbers of shape \(4,\)"),
        ({"pairing_weights": "rare"}, TypeError, r"pairing_weights must be numbers of shape \(4,\)"),
        ({"allowed": torch.ones(4, 4)}, ValueError, r"allowed must be bool of shape \(4, 4\).*allowed.bool\(\)\?"),
        ({"allowed": torch.ones(4, dtype=torch.bool)}, ValueError, r"allowed must be bool of shape \(4, 4\).*one row"),
        ({"other_allowed": torch.ones(4, 4)}, TypeError, "no argument 'other_allowed': did you mean allowed=?"),
        ({"weights": torch.ones(4)}, TypeError, "no argument 'weights': did you mean pairing_weights="),
        ({}, ValueError, "target must be given for pairing 'weighted', got None: or weights of your own"),
    ],
)
def test_wrong_weights_are_refused_before_anything_is_drawn(given, error, message):
    generator = seeded()
    with pytest.raises(error, match=message):
        MixUp(pairing="weighted")(noise(4, 1, 50), generator=generator, **given)
    assert torch.equal(generator.get_state(), seeded().get_state())


def test_masks_and_weights_reach_every_mixer_of_a_pipeline_and_numpy_will_do():
    wave = noise(3, 1, 200)
    allowed = torch.tensor([[0, 1, 0], [0, 0, 1], [1, 0, 0]], dtype=torch.bool)
    chain = Pipeline([MixUp(), OneOf([CutMix(), SNRMix()], per="clip")])
    for plan in chain(wave, allowed=allowed.numpy(), pairing_weights=[1, 1, 1]).plans:
        assert all(plan.sources(i) in ([], [(i + 1) % 3]) for i in range(3))


def test_noise_that_is_drawn_again_is_allowed_noise():
    noises = torch.stack([torch.zeros(1, 80), torch.zeros(1, 80), torch.ones(1, 80), torch.ones(1, 80)])
    allowed = torch.tensor([[True, True, False, False]]).repeat(6, 1)
    plan = SNRMix()(noise(6, 1, 80), other=noises, allowed=allowed, generator=seeded()).plans[0]
    assert set(plan.partner.tolist()) <= {0, 1}
    assert not plan.mixed.any()


def test_a_loader_draws_by_class_weights():
    clips = [(noise(1, 60, seed=i), min(i, 1) * 1) for i in range(6)]
    collate = Collate(MixUp(pairing="weighted", num_classes=2), seed=1)
    items = [Indexed(clips)[i] for i in (0, 1, 2, 3, 4, 5)]
    counts = torch.zeros(6)
    for epoch in range(400):
        collate.set_epoch(epoch)
        counts += torch.bincount(collate(items).plans[0].partner[1:], minlength=6)
    # the single clip of class 0 is as often the partner as the 4 others of class 1 are together: 1 against 4 / 5
    assert stats.binomtest(int(counts[0]), int(counts.sum()), 1 / 1.8).pvalue > LEAST


def test_items_may_carry_their_weights_those_of_a_second_data_set_too():
    def rows(size, chosen, name=""):
        keys = range(size)
        return [
            {"id": f"{name}{i}", "wave": noise(1, 50, seed=i), "label": i % 2, "w": float(i == chosen)} for i in keys
        ]

    collate = Collate(MixUp(num_classes=2), seed=0, notes={"pairing_weights": "w"})
    assert collate(rows(5, 3)).plans[0].partner.tolist() == [3] * 5
    second = Collate(MixUp(num_classes=2), seed=0, notes={"pairing_weights": "w"}, other=rows(1, 0, "other"))
    plan = second(rows(5, 3)).plans[0]
    assert plan.partner.tolist() == [0] * 5
    assert plan.mixed.all()


def test_files_are_not_paired_by_rules_of_batches():
    items = [Item("", "a", "x"), Item("", "b", "x")]
    for kind in ("weighted", "label_kernel:bandwidth=2", "self"):
        with pytest.raises(ValueError, match="pairing must be one of any, .* for files, got .*: that one pairs"):
            PartnerIndex(items, kind)
    with pytest.raises(ValueError, match="pairing must be one of .* got 'same_clas': did you mean 'same_class'"):
        PartnerIndex(items, "same_clas")
