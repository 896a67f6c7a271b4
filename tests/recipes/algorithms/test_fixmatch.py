import math

import pytest
import torch
import torch.nn.functional as F
from ssl_tables import CLASSES, Table, clips, network
from tables import LABELLED, SURE, UNSURE, Half, assert_two_processes_are_one, losses, noise, unlabelled

from recipes.algorithms._alignment import RunningAlignment
from recipes.algorithms.fixmatch import FixMatch
from recipes.semi_supervised.run_spec import configure


@pytest.mark.parametrize(("mixer", "relative", "passes"), [(None, False, 2), (None, True, 2), ("half", True, 3)])
def test_batch_norm_moves_with_every_pass_that_the_documentation_names(mixer, relative, passes):

    labelled, batch = noise(6, 6, 16, 24)
    model = network()
    losses(FixMatch(CLASSES, mixer and Half(), relative_threshold=relative), batch, labelled, model=model)
    counts = [m.num_batches_tracked.item() for m in model.modules() if hasattr(m, "num_batches_tracked")]
    assert set(counts) == {passes}


def test_the_strong_view_learns_the_class_of_the_weak_view():
    term = losses(FixMatch(CLASSES), unlabelled([SURE, SURE], [[0.5, 0.25, 0.25], [0.125, 0.5, 0.375]]))["unlabelled"]
    assert term.item() == pytest.approx((math.log(2) + math.log(8)) / 2, abs=1e-5)


def test_an_unsure_model_learns_nothing_from_unlabelled_clips():
    method = FixMatch(CLASSES, threshold=0.95)
    assert losses(method, unlabelled([UNSURE, UNSURE]))["unlabelled"] == 0
    assert method.logs()["mask"] == 0
    assert method.logs()["believed_accuracy"].isnan()


def test_the_mean_is_over_the_whole_batch_not_over_the_accepted():
    one = losses(FixMatch(CLASSES), unlabelled([SURE]))["unlabelled"]
    among_four = losses(FixMatch(CLASSES), unlabelled([SURE, UNSURE, UNSURE, UNSURE]))["unlabelled"]
    assert one.item() == pytest.approx(math.log(3), abs=1e-5)
    assert among_four.item() == pytest.approx(one.item() / 4, abs=1e-5)


def test_a_confidence_at_the_threshold_is_accepted():
    confidence = clips([UNSURE])[:, 0, :, 0].softmax(-1).max().item()
    assert losses(FixMatch(CLASSES, threshold=confidence), unlabelled([UNSURE]))["unlabelled"] > 0
    above = math.nextafter(confidence, 1) + 1e-6
    assert losses(FixMatch(CLASSES, threshold=above), unlabelled([UNSURE]))["unlabelled"] == 0


def test_the_weight_may_follow_a_schedule():
    full = losses(FixMatch(CLASSES), unlabelled([SURE]))["unlabelled"]
    half = losses(FixMatch(CLASSES, weight="linear:0:1"), unlabelled([SURE]))["unlabelled"]
    torch.testing.assert_close(half, full / 2)


def test_a_relative_threshold_is_a_share_of_the_confidence_on_labelled_clips():
    # mean confidence on the labelled clips: (0.8 + 0.6) / 2 = 0.7; a threshold of 0.8 becomes 0.56
    batch = unlabelled([[0.57, 0.23, 0.2], [0.55, 0.25, 0.2]])
    plain, relative = FixMatch(CLASSES, threshold=0.8), FixMatch(CLASSES, threshold=0.8, relative_threshold=True)
    losses(plain, batch)
    losses(relative, batch)
    assert plain.logs()["mask"] == 0
    assert relative.logs()["mask"] == 0.5
    assert plain.logs()["threshold"].item() == pytest.approx(0.8)
    assert relative.logs()["threshold"].item() == pytest.approx(0.56)


def test_aligning_equal_distributions_changes_nothing():
    align = RunningAlignment(CLASSES, 0.95)
    guess = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.7, 0.2], [0.2, 0.1, 0.7]])  # uniform on average, as the labels are
    torch.testing.assert_close(align(guess, guess.mean(0), torch.full((3,), 1 / 3)), guess)


def test_alignment_divides_by_what_is_predicted_too_often():
    align = RunningAlignment(CLASSES, 0.95)
    align.expected.copy_(torch.tensor([0.5, 0.25, 0.25]))
    align.guessed.copy_(torch.tensor([0.25, 0.5, 0.25]))
    guess = torch.tensor([[0.3, 0.4, 0.3]])
    expected = 0.95 * torch.tensor([0.5, 0.25, 0.25]) + 0.05 * torch.tensor([1.0, 0, 0])
    guessed = 0.95 * torch.tensor([0.25, 0.5, 0.25]) + 0.05 * guess[0]
    raw = guess[0] * expected / guessed
    aligned = align(guess, guess[0], torch.tensor([1.0, 0, 0]))
    torch.testing.assert_close(aligned[0], raw / raw.sum())
    assert aligned.argmax() == 0
    torch.testing.assert_close(align.expected, expected)
    torch.testing.assert_close(align.guessed, guessed)


def test_alignment_to_a_fixed_target_takes_it_at_once_and_survives_a_class_that_is_never_predicted():
    # without a small number on both sides the last class would be 0 / 0
    align = RunningAlignment(CLASSES, 0.0)
    guess = torch.tensor([[0.6, 0.4, 0.0], [0.8, 0.2, 0.0]])
    align.expected.copy_(torch.tensor([1.0, 0.0, 0.0]))
    aligned = align(guess, guess.mean(0), torch.full((3,), 1 / 3), fixed=True)
    raw = guess[:, :2] / torch.tensor([0.7, 0.3])
    torch.testing.assert_close(aligned[:, :2], raw / raw.sum(-1, keepdim=True), atol=1e-5, rtol=1e-5)
    assert torch.equal(aligned[:, 2], torch.zeros(2))
    torch.testing.assert_close(align.expected, torch.full((3,), 1 / 3))


def test_alignment_is_to_the_prior():
    method = FixMatch(CLASSES, distribution_alignment=True)
    method.set_prior(torch.tensor([0.5, 0.3, 0.2]))
    losses(method, unlabelled([UNSURE, SURE]))
    torch.testing.assert_close(method.align.expected, torch.tensor([0.5, 0.3, 0.2]))
    mean = (torch.tensor(UNSURE) + torch.tensor(SURE)) / 2
    torch.testing.assert_close(method.align.guessed, 0.95 / 3 + 0.05 * mean)


def test_alignment_decides_what_is_learnt():
    batch = unlabelled([[0.1, 0.46, 0.44]], [[0.2, 0.2, 0.6]])
    plain = FixMatch(CLASSES, threshold=0.0)
    aligned = FixMatch(CLASSES, threshold=0.0, distribution_alignment=True)
    aligned.align.guessed.copy_(torch.tensor([0.2, 0.6, 0.2]))
    assert losses(plain, batch)["unlabelled"].item() == pytest.approx(-math.log(0.2), abs=1e-5)
    assert losses(aligned, batch)["unlabelled"].item() == pytest.approx(-math.log(0.6), abs=1e-5)


def test_logs_count_how_many_pseudo_labels_are_accepted_and_correct():
    method = FixMatch(CLASSES)
    losses(method, unlabelled([SURE, SURE, UNSURE, UNSURE], hidden=[0, 1, 0, -1]))
    logs = dict(method.logs())
    assert torch.equal(logs.pop("count"), torch.tensor([2.0, 0, 0]).double())
    assert logs.pop("outlier_mask").isnan()  # no clip is of a class that the task does not have
    assert {k: v.item() for k, v in logs.items()} == pytest.approx(
        {"mask": 0.5, "guess_accuracy": 2 / 3, "believed_accuracy": 0.5, "threshold": 0.8}
    )


def test_the_name_says_what_was_switched_on():
    titles = [
        FixMatch(3, relative_threshold=r, distribution_alignment=d).title for r in (False, True) for d in (False, True)
    ]
    assert titles == [
        "fixmatch",
        "fixmatch + distribution alignment",
        "fixmatch + relative threshold",
        "fixmatch (AdaMatch-like)",
    ]


def test_a_mixer_mixes_labelled_with_strong_and_strong_with_labelled_clips():
    batch = unlabelled([SURE, SURE, UNSURE], [[0.5, 0.25, 0.25], [0.2, 0.2, 0.6], [0.2, 0.6, 0.2]])
    for mixed_labels in (True, False):
        method = FixMatch(CLASSES, Half(), mix_labels=mixed_labels)
        found = losses(method, batch)
        x = 0.75 * LABELLED.x + 0.25 * batch.strong[:2]
        strong = 0.75 * batch.strong + 0.25 * LABELLED.x[[0, 1, 0]]
        own, pseudo = F.one_hot(LABELLED.target, 3).float(), F.one_hot(torch.tensor([0, 0, 0]), 3).float()
        w = 0.75 if mixed_labels else 1.0
        y, y_pseudo = w * own + (1 - w) * pseudo[:2], w * pseudo + (1 - w) * own[[0, 1, 0]]
        expected = F.cross_entropy(x[:, 0, :, 0], y)
        surprise = F.cross_entropy(strong[:, 0, :, 0], y_pseudo, reduction="none")
        torch.testing.assert_close(found["labelled"], expected)
        torch.testing.assert_close(found["unlabelled"], (surprise * torch.tensor([1, 1, 0])).mean())


def test_a_relative_threshold_follows_the_labelled_clips_as_they_are_not_mixed():
    # unmixed, 0.8 * (0.8 + 0.6) / 2 = 0.56; mixed with unsure strong views, the threshold would fall below 0.5
    method = FixMatch(CLASSES, Half(), threshold=0.8, relative_threshold=True)
    losses(method, unlabelled([[0.57, 0.23, 0.2], [0.55, 0.25, 0.2]]))
    assert method.logs()["threshold"].item() == pytest.approx(0.56)
    assert method.logs()["mask"] == 0.5


def test_bfloat16_logits_are_compared_in_float32():
    # bfloat16 has no number between 0.9961 and 1, nor 0.95; as logits these classes are ln 8 apart and exact
    weak = clips([[8 / 10, 1 / 10, 1 / 10]])
    batch = unlabelled([SURE])._replace(weaks=(weak,))

    class Coarse(Table):
        def forward(self, x):
            return super().forward(x).bfloat16()

    method = FixMatch(CLASSES, threshold=0.7)
    found = losses(method, batch, model=Coarse())
    on_labelled, on_strong = (Coarse()(x).float() for x in (LABELLED.x, batch.strong))
    torch.testing.assert_close(found["labelled"], F.cross_entropy(on_labelled, LABELLED.target))
    torch.testing.assert_close(found["unlabelled"], F.cross_entropy(on_strong, torch.tensor([0])))
    confidence = Coarse()(weak).float().softmax(-1).max().item()
    for threshold, mask in [(confidence, 1), (confidence + 1e-5, 0)]:
        method = FixMatch(CLASSES, threshold=threshold)
        losses(method, batch, model=Coarse())
        assert method.logs()["mask"] == mask


@pytest.mark.parametrize("switch", [False, True])
def test_two_processes_are_one(switch):
    options = {"relative_threshold": switch, "distribution_alignment": switch, "threshold": 1.0 if switch else 0.6}
    mask = assert_two_processes_are_one(FixMatch, **options)[2]["mask"]
    assert 0 < mask < 1


def test_presets_differ_in_threshold_and_share_of_unlabelled_clips():
    (original, paper), (study, options) = (configure(name, FixMatch, {}) for name in ("original", "study"))
    assert FixMatch(CLASSES, **paper).threshold == 0.95
    assert FixMatch(CLASSES, **options).threshold == 0.8
    assert original.batch_unlabelled == 7 * original.batch_labelled
    assert study.batch_unlabelled == study.batch_labelled
    assert study.labelled_view == original.labelled_view == "weak"
