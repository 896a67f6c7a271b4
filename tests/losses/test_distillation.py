"""Distillation: what is invariant, and which view is chosen."""

import pytest
import torch
from sounds import noise
from torch.nn import functional as F

from audiomix.losses.hard import hard_views, select_view
from audiomix.losses.mix_kd import mix_kd, standardise_logits


def test_the_size_of_logits_makes_no_difference():
    student, teacher, target = noise(4, 6), noise(4, 6, seed=2), noise(4, 6, seed=3).softmax(1)
    loss = mix_kd(student, teacher, target)
    torch.testing.assert_close(mix_kd(9 * student + 4, 0.1 * teacher - 3, target), loss)
    s, t = ((x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True) for x in (student, teacher))
    expected = 0.1 * F.cross_entropy(s, target) + 0.9 * F.kl_div(
        s.log_softmax(1), t.softmax(1), reduction="batchmean"
    )
    torch.testing.assert_close(loss, expected)


def test_equal_logits_have_a_finite_gradient():
    z = torch.zeros(2, 5, requires_grad=True)
    mix_kd(z, noise(2, 5), torch.tensor([1, 2])).backward()
    assert z.grad.isfinite().all()
    assert (standardise_logits(torch.full((1, 4), 7.0)) == 0).all()


def test_no_gradient_goes_through_a_teacher():
    student, teacher = noise(3, 2, 4).requires_grad_(), noise(3, 2, 4, seed=2).requires_grad_()
    hard_views(student, teacher, confidence=0).backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0


def test_the_view_on_which_they_differ_most_is_taken_where_the_teacher_is_sure():
    student, teacher = noise(4, 50, 3), 2 * noise(4, 50, 3, seed=2)
    found = select_view(student, teacher, confidence=0.6)
    kl = F.kl_div(student.log_softmax(2), teacher.softmax(2), reduction="none").sum(2)
    sure = teacher.softmax(2).amax(2) >= 0.6
    for i in range(50):
        views = [v for v in range(4) if sure[v, i]]
        assert found[i] == (max(views, key=lambda v, i=i: kl[v, i]) if views else 0)
    assert len(set(found.tolist())) == 4


def test_one_view_or_no_sure_one_is_plain_distillation():
    student, teacher = noise(3, 5, 4), noise(3, 5, 4, seed=2)
    plain = F.kl_div(student[0].log_softmax(1), teacher[0].softmax(1), reduction="batchmean")
    torch.testing.assert_close(hard_views(student[:1], teacher[:1]), plain)
    unsure = 1e-3 * teacher
    plain = F.kl_div(student[0].log_softmax(1), unsure[0].softmax(1), reduction="batchmean")
    torch.testing.assert_close(hard_views(student, unsure, confidence=0.9), plain)


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match="teacher_logits must be of shape"):
        mix_kd(noise(3, 4), noise(3, 5), torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match="student_logits must be a batch of at least 3 axes"):
        hard_views(noise(3, 4), noise(3, 4))
