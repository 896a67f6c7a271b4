"""What has no share, is not looked at or lies behind the end spoils neither a loss nor its gradient."""

import pytest
import torch
from sounds import noise, seeded

from audiomix import Plan
from audiomix.losses.anyloss import anyloss
from audiomix.losses.comp_sum import comp_sum
from audiomix.losses.correctness import correctness
from audiomix.losses.fine_grained import fine_grained_loss
from audiomix.losses.hard import hard_views
from audiomix.losses.info_nce import info_nce
from audiomix.losses.mix_consistency import mix_consistency
from audiomix.losses.mochi import mochi
from audiomix.losses.rank import ranked_gain, ranking
from audiomix.losses.sft_mix import sft_mix
from audiomix.losses.supremix import supremix
from audiomix.losses.transcripts import transcript_loss
from audiomix.plan_sources import SourcesPlan

WHOLE = Plan(torch.tensor([1, 0]), torch.ones(2, dtype=torch.float64))  # partners without a share


def check_gradient(loss, x):
    loss.backward()
    assert loss.isfinite()
    assert x.grad.isfinite().all()
    return x.grad


def test_logits_of_a_partner_without_a_share():
    own, theirs = noise(2, 3).requires_grad_(), torch.full((2, 3), torch.nan, requires_grad=True)
    loss = fine_grained_loss(own, theirs, torch.tensor([0, 1]), WHOLE)
    check_gradient(loss, own)
    assert (theirs.grad == 0).all()
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(own, torch.tensor([0, 1])) / 2)
    z = noise(2, 3)
    for other in (torch.full((2, 3), torch.nan), torch.full((2, 3), -torch.inf)):
        assert mix_consistency(z, z, WHOLE, other_logits=other).abs() < 1e-6


def test_views_that_are_not_learnt_from():
    student = noise(3, 2, 4)
    student[2] = torch.nan
    teacher = torch.zeros(3, 2, 4)
    teacher[1, :, 0] = 9.0  # sure of the second view alone
    gradient = check_gradient(hard_views(student.requires_grad_(), teacher), student)
    assert (gradient[[0, 2]] == 0).all()
    assert (gradient[1] != 0).all()


def test_hidden_states_behind_the_ends_where_no_position_counts():
    hidden = torch.full((2, 3, 4), torch.nan)
    hidden[:, 0] = 1.0
    hidden.requires_grad_()
    target, plan = torch.zeros(2, 3, dtype=torch.int64), Plan(WHOLE.partner, 0.5 * WHOLE.weight)
    for some in (WHOLE, plan):  # not mixed, and no valid position
        sizes = torch.tensor([1, 1]) if some is WHOLE else torch.tensor([1, 0])
        loss = sft_mix(hidden, target, some, lambda h: h[:, :2], lengths=sizes)
        assert loss == 0
        assert (torch.autograd.grad(loss, hidden)[0] == 0).all()


@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0, 1.5, 2.0])
def test_classes_that_would_cost_more_than_a_number_can_be(tau):
    z = torch.tensor([[200.0, 0.0, 1.0]], requires_grad=True)
    assert comp_sum(z, torch.tensor([0]), tau=tau) == 0
    check_gradient(comp_sum(z, torch.tensor([0]), tau=tau), z)


def test_transcripts_that_do_not_fit_have_no_gradient_where_ctc_bears_it():
    z = noise(4, 2, 6).requires_grad_()  # four frames
    words, sizes = torch.tensor([[1, 2, 3, 1, 1, 1], [4, 5, 0, 0, 0, 0]]), torch.tensor([6, 2])

    def ctc(rows):
        frames = torch.tensor([4, 4])
        return torch.nn.functional.ctc_loss(z.log_softmax(2), words[rows], frames, sizes[rows], reduction="none",
                                            zero_infinity=True)  # fmt: skip

    check_gradient(transcript_loss(ctc, Plan(WHOLE.partner, torch.tensor([0.0, 1.0], dtype=torch.float64))), z)


def test_shares_of_printed_plans_make_no_mix_of_one_class():
    thirds = torch.tensor([[0.3333, 0.3333, 0.3333]] * 3, dtype=torch.float64)
    plan = SourcesPlan.of(torch.tensor([[1, 2], [2, 0], [0, 1]]), thirds, thirds)
    z, one = noise(3, 4), torch.ones(3, dtype=torch.int64)
    assert ranking(z, z, one, plan) == 0
    pair = Plan(torch.tensor([1, 2, 0]), torch.full((3,), 0.3, dtype=torch.float64))
    clean, other = noise(3, 4, seed=1), noise(3, 4, seed=2)
    a = ranked_gain([z, other], clean, one, [plan, pair])  # both of confidence 1: in which order makes no difference
    torch.testing.assert_close(a, ranked_gain([other, z], clean, one, [pair, plan]))


@pytest.mark.parametrize(("others", "percent"), [(25, 60), (50, 30), (10, 30), (70, 10), (3, 1)])
def test_a_share_of_the_negatives_is_counted_without_rounding(others, percent):
    count = max(1, -(-others * percent // 100))
    a = torch.zeros(others + 1, others + 2)
    a[:, 0] = 1.0  # all alike, so that the loss is log(1 + negatives)
    loss = info_nce(a, a, hardest=percent / 100)
    torch.testing.assert_close(loss, torch.log(torch.tensor(1.0 + count)))


def test_f_without_recall_and_without_decisions():
    assert anyloss(torch.full((2, 2), -20.0), torch.eye(2), beta=0.0, sharpness=300.0) == 1


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="label must be in 0..3, got 0..9"):
        correctness(noise(3, 4), torch.tensor([0, 9, 1]))
    with pytest.raises(ValueError, match="queue must be embeddings .M, 3."):
        mochi(noise(2, 3), noise(2, 3), noise(5, 4), mixes=0, query_mixes=0)
    with pytest.raises(ValueError, match="alpha must be two numbers"):
        supremix(noise(4, 3), torch.arange(4.0), alpha=(1.0, 2.0, 3.0), generator=seeded())
    with pytest.raises(ValueError, match="num_classes must be 3"):
        fine_grained_loss(noise(2, 3), noise(2, 3), torch.tensor([0, 1]), WHOLE, num_classes=4)
