"""The loss of Decoupled Mixup, against sums that are written out."""

import pytest
import torch
from sounds import noise
from torch.nn import functional as F

from audiomix import MixUp, Plan
from audiomix.losses.decoupled import decoupled
from audiomix.targets.labels import mix_labels


def plan_of(partner, weight):
    return Plan(torch.tensor(partner), torch.tensor(weight, dtype=torch.float64))


LABEL = torch.tensor([3, 0, 2, 0, 1])
PLAN = plan_of([1, 2, 0, 1, 4], [0.7, 0.2, 0.5, 0.6, 0.9])  # the fourth is of one class, the last meets itself


def by_hand(z, label, plan, eta):
    total = 0.0
    for row, a, p, w in zip(z, label.tolist(), plan.partner.tolist(), plan.weight.tolist()):
        b, log_p = int(label[p]), row.log_softmax(0)
        total -= w * log_p[a] + (1 - w) * log_p[b]
        if a != b:
            for c, other, share in ((a, b, w), (b, a, 1 - w)):
                norm = sum(row[k].exp() for k in range(len(row)) if k != other).log()
                total += eta * share * (norm - row[c])
    return float(total) / len(z)


@pytest.mark.parametrize("eta", [0.0, 0.1, 2.0])
def test_it_is_the_sum_over_both_classes(eta):
    z = 2 * noise(5, 4, dtype=torch.float64)
    assert float(decoupled(z, LABEL, PLAN, eta=eta)) == pytest.approx(by_hand(z, LABEL, PLAN, eta), rel=1e-6)


def test_the_numbers_of_the_classes_make_no_difference():
    """OpenMixup's soft_mix_cross_entropy exchanges the weights where the first clip has the larger class."""
    z, order = noise(5, 4), torch.tensor([2, 0, 3, 1])
    place = order.argsort()
    torch.testing.assert_close(decoupled(z[:, order], place[LABEL], PLAN), decoupled(z, LABEL, PLAN))


def test_without_eta_or_of_one_class_it_is_the_cross_entropy():
    z = noise(5, 4)
    mixed = mix_labels(LABEL, PLAN, num_classes=4)
    torch.testing.assert_close(decoupled(z, LABEL, PLAN, eta=0), F.cross_entropy(z, mixed))
    alike = torch.full((5,), 2)
    torch.testing.assert_close(decoupled(z, alike, PLAN, eta=5), F.cross_entropy(z, alike))


def test_the_term_of_a_class_has_no_gradient_in_its_competitor():
    z = noise(1, 4).requires_grad_()
    pair = (torch.tensor([3]), plan_of([0], [0.999999]))
    gradients = [
        torch.autograd.grad(decoupled(z, *pair, eta=eta, other=torch.tensor([1])), z)[0] for eta in (0.0, 1.0)
    ]
    added = gradients[1] - gradients[0]
    assert added[0, 1].abs() < 1e-5
    assert added[0, 3] < -0.1


def test_every_clip_of_a_mix_of_three_is_told_from_the_two_others():
    plan = MixUp(sources=3, num_classes=4)(noise(6, 1, 20), torch.arange(6) % 4).plans[0]
    partners, shares = plan.label_shares()
    z, label = noise(6, 4, dtype=torch.float64), torch.arange(6) % 4
    total = 0.0
    for i in range(6):
        classes = [int(label[r]) for r in (i, *partners[i].tolist())]
        for s, c in enumerate(classes):
            rest = {k for t, k in enumerate(classes) if t != s and shares[i, t] > 0} - {c}
            norm = torch.stack([z[i, k] for k in range(4) if k not in rest]).logsumexp(0)
            total += float(shares[i, s]) * float(norm - z[i, c]) if rest else 0.0
    got = decoupled(z, label, plan, eta=1.0) - decoupled(z, label, plan, eta=0.0)
    assert float(got) == pytest.approx(total / 6, rel=1e-6)


def test_labels_that_both_clips_have_stay_below_the_fraction():
    target = torch.tensor([[1.0, 1, 0, 0], [0, 1, 1, 0]])
    z = noise(2, 4, dtype=torch.float64)
    plan = plan_of([1, 0], [0.6, 1.0])
    got = decoupled(z, target, plan, eta=1.0) - decoupled(z, target, plan, eta=0.0)
    own = 2 * z[0, [0, 1, 3]].logsumexp(0) - z[0, 0] - z[0, 1]  # without class 2
    other = 2 * z[0, [1, 2, 3]].logsumexp(0) - z[0, 1] - z[0, 2]  # without class 0
    assert float(got) == pytest.approx(float(0.6 * own + 0.4 * other) / 2, rel=1e-6)


def term(z, keep, drop):
    """The negative log-probability of one class without another."""
    norm = sum(z[k].exp() for k in range(len(z)) if k != drop).log()
    return float(norm - z[keep])


@pytest.mark.parametrize(
    ("mode", "threshold", "kept"),
    [
        ("less", 0.5, [1, 0, 1]),  # by row: 0 the original's term, 1 the partner's; of equal shares less is the partner
        ("more", 0.5, [0, 1, 0]),
        ("less", 0.8, [0, 0, 0]),
        ("more", 0.8, [1, 1, 1]),
        ("less", 0.1, [1, 1, 1]),
    ],
)
def test_less_and_more_keep_one_term_of_each_mix(mode, threshold, kept):
    """The reference chooses once for the batch: with the first row's choice the second would be wrong."""
    label, plan = torch.tensor([3, 0, 2]), plan_of([1, 2, 0], [0.7, 0.2, 0.5])
    z = 2 * noise(3, 4, dtype=torch.float64)
    options = {"mode": mode, "threshold": threshold}
    got = decoupled(z, label, plan, eta=1.0, **options) - decoupled(z, label, plan, eta=0.0, **options)
    shares, total = [0.7, 0.2, 0.5], 0.0
    for i, (a, b) in enumerate([(3, 0), (0, 2), (2, 3)]):
        total += shares[i] * term(z[i], a, b) if kept[i] == 0 else (1 - shares[i]) * term(z[i], b, a)
    assert float(got) == pytest.approx(total / 3, rel=1e-6)


def test_less_and_more_add_up_to_both_for_pairs():
    z = noise(5, 4, dtype=torch.float64)
    plain = decoupled(z, LABEL, PLAN, eta=0)
    both, less, more = (decoupled(z, LABEL, PLAN, mode=mode) - plain for mode in ("both", "less", "more"))
    torch.testing.assert_close(less + more, both)
    assert less > 0 < more


def test_of_three_clips_it_is_the_smallest_or_the_largest_share():
    plan = MixUp(sources=3, num_classes=4)(noise(6, 1, 20), torch.arange(6) % 4).plans[0]
    partners, shares = plan.label_shares()
    z, label = noise(6, 4, dtype=torch.float64), torch.arange(6) % 4
    for mode, find in (("less", torch.Tensor.argmin), ("more", torch.Tensor.argmax)):
        total = 0.0
        for i in range(6):
            classes = [int(label[r]) for r in (i, *partners[i].tolist())]
            s = int(find(shares[i]))
            rest = {k for t, k in enumerate(classes) if t != s} - {classes[s]}
            norm = torch.stack([z[i, k] for k in range(4) if k not in rest]).logsumexp(0)
            total += float(shares[i, s]) * float(norm - z[i, classes[s]]) if rest else 0.0
        got = decoupled(z, label, plan, eta=1.0, mode=mode) - decoupled(z, label, plan, eta=0.0)
        assert float(got) == pytest.approx(total / 6, rel=1e-6)
    with pytest.raises(ValueError, match=r"threshold must be 0.5 for mixes of 3 clips"):
        decoupled(z, label, plan, mode="less", threshold=0.3)


def test_a_mode_or_threshold_that_is_wrong_is_named():
    with pytest.raises(ValueError, match=r"mode must be one of both, less, more, got 'lesser': did you mean 'less'"):
        decoupled(noise(5, 4), LABEL, PLAN, mode="lesser")
    with pytest.raises(ValueError, match="threshold must be above 0 and below 1"):
        decoupled(noise(5, 4), LABEL, PLAN, mode="less", threshold=1.0)
