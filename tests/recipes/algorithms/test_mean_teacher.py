import math

import pytest
import torch
import torch.nn.functional as F
from ssl_tables import (
    CLASSES,
    FLAT,
    A,
    B,
    C,
    Fixed,
    Table,
    batches_seen,
    buffers,
    labelled,
    losses,
    network,
    next_in,
    noise,
    probabilities,
    read,
    ready,
    unlabelled,
)

from recipes.algorithms.mean_teacher import MeanTeacher

KNOWN = labelled([A, B], [0, 1])


def made(model, mixer=None, **options):
    return ready(MeanTeacher(CLASSES, mixer, **{"weight": 1.0} | options), model)


def test_the_consistency_is_the_mean_square_over_labelled_and_unlabelled_clips():
    model = Table(0.5)
    method = made(model, student="same", weight=10.0)
    method.teacher.scale.fill_(2.0)
    u = unlabelled([[A, B, C]])
    found = losses(method, model, KNOWN, u)
    z = torch.cat([KNOWN.x, u.weak])
    expected = (probabilities(z, 0.5) - probabilities(z, 2.0)).square().mean()  # over 5 clips and 3 classes
    torch.testing.assert_close(found["consistency"], 10 * expected)
    torch.testing.assert_close(found["labelled"], F.cross_entropy(0.5 * read(KNOWN.x), KNOWN.target))
    assert list(found) == ["labelled", "consistency"]


def test_divided_by_all_clips_the_labelled_term_is_their_share_of_the_batch():
    u = unlabelled([[A, B, C]])
    found = [losses(made(Table(), student="same", divide_by=by), Table(), KNOWN, u) for by in ("labelled", "all")]
    total = -(math.log(0.8) + math.log(0.6))  # of A as class 0 and B as class 1
    assert [terms["labelled"].item() for terms in found] == pytest.approx([total / 2, total / 5])
    assert found[0]["consistency"] == found[1]["consistency"]


def test_the_students_answers_carry_the_gradient_and_the_teachers_none():
    # USB compared the teacher with itself: plain supervised training.
    model = Table(0.5)
    method = made(model, student="same")
    method.teacher.scale.fill_(2.0)
    u = unlabelled([[A, B, C]])
    losses(method, model, KNOWN, u)["consistency"].backward()
    z, scale = torch.cat([KNOWN.x, u.weak]), torch.tensor(0.5, requires_grad=True)
    (probabilities(z, scale) - probabilities(z, 2.0)).square().mean().backward()
    torch.testing.assert_close(model.scale.grad, scale.grad)
    assert scale.grad != 0
    assert all(not p.requires_grad for p in method.teacher.parameters())


@pytest.mark.parametrize(("student", "seen"), [("weak", 1), ("same", 0), ("strong", 2)])
def test_which_views_student_and_teacher_see(student, seen):
    model, views = Table(), [[A, B], [B, C], [C, C]]
    method = made(model, student=student)
    losses(method, model, KNOWN, unlabelled(views[:2], views[2:]))
    u = unlabelled(views).weaks
    torch.testing.assert_close(model.calls[-1][0][2:], u[seen])
    torch.testing.assert_close(method.teacher.calls[-1][0][2:], u[0])
    assert (method.weak_views, method.strong_views) == {"weak": (2, 0), "same": (1, 0), "strong": (1, 1)}[student]


def test_the_first_update_copies_the_student_and_alpha_grows_to_its_largest():
    model = Table(5.0)
    slow, fast = made(model, teacher_decay=0.999), made(model, teacher_decay=0.5)
    found = []
    for scale in (1.0, 2.0, 3.0):
        model.scale.data.fill_(scale)
        slow.after_step(model)
        fast.after_step(model)
        found += [slow.teacher.scale.item(), fast.teacher.scale.item()]
    # alpha = 0, 1/2, 2/3 and 0, 1/2, 1/2
    assert found == pytest.approx([1.0, 1.0, 1.5, 1.5, 2.0, 2.25])


def test_alpha_stops_at_its_largest():
    model = Table(0.0)
    method = made(model, teacher_decay=0.999)
    method.updates.fill_(5000)
    model.scale.data.fill_(1.0)
    method.after_step(model)
    assert method.teacher.scale.item() == pytest.approx(0.001)


def test_the_teacher_moves_after_the_optimiser_not_in_the_loss():
    model = Table()
    method = made(model)
    model.scale.data.fill_(3.0)
    losses(method, model, KNOWN, unlabelled([[A], [B]]))
    assert method.teacher.scale == 1.0
    method.after_step(model)
    assert method.teacher.scale == 3.0
    model.scale.data.fill_(4.0)
    assert method.teacher.scale == 3.0  # a copy, not the student's own tensor


def test_averaged_statistics_follow_the_student_and_counts_are_copied():
    model = network()
    method = made(model, buffers="average")
    batch, before = noise(), None
    for step in range(2):
        losses(method, model, *batch)
        before = buffers(method.teacher)
        method.after_step(model)
        alpha, student = min(1 - 1 / (step + 1), 0.999), buffers(model)
        for name, found in buffers(method.teacher).items():
            if name.endswith("num_batches_tracked"):
                assert found.dtype == torch.int64
                assert found == student[name] == step + 1
            else:
                torch.testing.assert_close(found, alpha * before[name] + (1 - alpha) * student[name])


def test_a_teacher_with_averaged_statistics_runs_in_eval_mode():
    model = Table()
    method = made(model, buffers="average")
    method.train()  # whatever was done to it
    losses(method, model, KNOWN, unlabelled([[A], [B]]))
    assert method.teacher.calls[-1][1:] == (False, False)


def test_a_teacher_with_statistics_of_its_own_runs_in_training_mode_and_keeps_them():
    model = network()
    method = made(model, buffers="own")
    method.select_reported(model).eval()  # as an evaluation may leave it
    batch = noise()
    start = buffers(method.teacher)
    losses(method, model, *batch)
    assert batches_seen(method.teacher) == 1
    moved = buffers(method.teacher)
    assert not torch.equal(moved["stem.1.running_mean"], start["stem.1.running_mean"])
    method.after_step(model)
    assert all(torch.equal(moved[name], b) for name, b in buffers(method.teacher).items())


def test_the_students_batch_norm_takes_in_one_batch_a_step():
    model = network()
    losses(made(model), model, *noise())
    assert batches_seen(model) == 1


def test_the_ramp_starts_at_exp_minus_5_of_its_end_and_stays_there():
    model = Table(0.5)
    method = made(model, student="same", weight="sigmoid_ramp:0:2:0.25")
    method.teacher.scale.fill_(2.0)
    at = {t: losses(method, model, KNOWN, unlabelled([[A, B]]), progress=t)["consistency"].item() for t in (0, 0.25, 1)}
    assert at[0] == pytest.approx(at[1] * math.exp(-5))
    assert at[0.25] == pytest.approx(at[1])


def test_a_mixer_mixes_what_the_teacher_sees_and_nothing_else():
    model = Table()
    method, u = made(model, Fixed(), student="same"), unlabelled([[C, A, FLAT]])
    found = losses(method, model, KNOWN, u)
    torch.testing.assert_close(model.calls[-1][0], torch.cat([KNOWN.x, u.weak]))
    seen = torch.cat([next_in(KNOWN.x), next_in(u.weak)])  # labelled and unlabelled clips among themselves
    torch.testing.assert_close(method.teacher.calls[-1][0], seen)
    torch.testing.assert_close(found["labelled"], F.cross_entropy(read(KNOWN.x), KNOWN.target))
    difference = probabilities(torch.cat([KNOWN.x, u.weak])) - probabilities(seen)
    torch.testing.assert_close(found["consistency"], difference.square().mean())


def test_interpolation_learns_the_mix_of_the_teachers_predictions():
    model = Table()
    method, u = made(model, Fixed(), student="same", interpolate=True), unlabelled([[A, C, FLAT]])
    method.teacher.scale.fill_(2.0)
    found = losses(method, model, KNOWN, u)
    z = torch.cat([KNOWN.x, u.weak])
    torch.testing.assert_close(method.teacher.calls[-1][0], z)
    difference = probabilities(next_in(z)) - next_in(probabilities(z, 2.0))
    torch.testing.assert_close(found["consistency"], difference.square().mean())
    torch.testing.assert_close(found["labelled"], F.cross_entropy(read(KNOWN.x), KNOWN.target))


def test_the_teacher_is_reported_and_its_pseudo_labels_are_logged():
    model = Table()
    method = made(model)
    assert method.select_reported(model) is method.teacher
    losses(method, model, KNOWN, unlabelled([[A, A, B, C], [A, A, B, C]], hidden=[0, 1, 1, -1]))
    assert method.logs()["guess_accuracy"] == pytest.approx(2 / 3)
    assert method.logs()["count"].tolist() == [2, 1, 1]


@pytest.mark.parametrize("preset", [*MeanTeacher.presets])
def test_presets(preset):
    method = MeanTeacher(CLASSES, **MeanTeacher.presets[preset])
    expected = {"original": (100, "weak", "own"), "study": (1, "same", "own")}
    found = (method.weight(1), method.student, method.buffers_mode)
    assert found == expected.get(preset, (10, "strong", "average"))
