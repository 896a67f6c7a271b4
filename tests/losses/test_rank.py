"""RankMixup's two losses, against what is written out."""

import math

import pytest
import torch
from sounds import noise

from audiomix import Plan
from audiomix.losses.rank import ranked_gain, ranking


def plan_of(partner, weight):
    return Plan(torch.tensor(partner), torch.tensor(weight, dtype=torch.float64))


LABEL = torch.tensor([0, 1, 1, 2])
PLAN = plan_of([1, 2, 0, 3], [0.7, 0.4, 0.5, 1.0])  # the second is of one class, the last is not mixed


def test_each_pair_has_its_own_term():
    """The reference code's (B,) mask times (B, 1) numbers is a product of two means."""
    mixed, clean = 3 * noise(4, 3), 3 * noise(4, 3, seed=2)
    gaps = [float(torch.relu(mixed[i].max() - clean[i].max() + 1.5)) for i in (0, 2)]
    assert float(ranking(mixed, clean, LABEL, PLAN, margin=1.5)) == pytest.approx(sum(gaps) / 4, rel=1e-6)
    assert min(gaps) != max(gaps)
    assert float(ranking(mixed - 50, clean, LABEL, PLAN, margin=1.5)) == 0


def logits_of(confidence):
    """Return logits of three classes whose largest probability is the one given."""
    p = torch.tensor(confidence, dtype=torch.float64)
    return torch.stack([p, (1 - p) / 2, (1 - p) / 2], 1).log()


def test_it_is_0_where_confidences_are_the_labels_and_only_there():
    plans = [PLAN, plan_of([3, 3, 3, 0], [0.9, 0.6, 0.5, 0.8])]
    ideal = [[0.7, 1.0, 0.5, 1.0], [0.9, 0.6, 0.5, 0.8]]
    sure = logits_of([1.0] * 4)
    mixed = [logits_of(row) for row in ideal]
    assert float(ranked_gain(mixed, sure, LABEL, plans)) == pytest.approx(0, abs=1e-7)
    assert float(ranked_gain([mixed[0], logits_of([0.6] * 4)], sure, LABEL, plans)) > 0.01
    # above and below count alike
    one = float(ranked_gain([logits_of([0.9, 1.0, 0.5, 1.0])], sure, LABEL, [PLAN]))
    gain, best = 1 + 0.9 / math.log2(3), 1 + 0.7 / math.log2(3)
    assert one == pytest.approx((1 - best / gain) / 4, rel=1e-5)


def test_the_order_of_the_mixes_makes_no_difference():
    plans = [plan_of([1, 2, 3, 0], [w] * 4) for w in (0.5, 0.9, 0.7)]
    mixed, clean = [noise(4, 3, seed=s) for s in range(3)], noise(4, 3, seed=9)
    label = torch.arange(4) % 3
    first = ranked_gain(mixed, clean, label, plans)
    torch.testing.assert_close(ranked_gain(mixed[::-1], clean, label, plans[::-1]), first)
    with pytest.raises(ValueError, match="mixed_logits must be logits of one or more mixes"):
        ranked_gain([], clean, label, [])
