"""MoCHi, Metrix and SupReMix: what is mixed, and what the loss is at the ends."""

import math

import pytest
import torch
from sounds import noise, seeded
from torch.nn import functional as F

from audiomix import draw
from audiomix.losses.metrix import metrix
from audiomix.losses.mochi import mix_negatives, mochi
from audiomix.losses.supremix import supremix

QUERY, QUEUE = noise(3, 6), noise(40, 6, seed=2)
U, N = F.normalize(QUERY, dim=1), F.normalize(QUEUE, dim=1)


def test_mixed_negatives_lie_between_two_of_the_hardest():
    mixed = mix_negatives(QUERY, QUEUE, hardest=3, mixes=200, query_mixes=100, generator=seeded())
    torch.testing.assert_close(mixed.norm(dim=2), torch.ones(3, 300))
    for i in range(3):
        hard = N[(U[i] @ N.T).topk(3).indices]
        for points, ends in ((mixed[i, :200], [(a, b) for a in range(3) for b in range(a)]),
                             (mixed[i, 200:], None)):  # fmt: skip
            arcs = [(hard[a], hard[b]) for a, b in ends] if ends else [(U[i], n) for n in hard]
            seen = set()
            for point in points:
                on = [k for k, (a, b) in enumerate(arcs) if on_arc(point, a, b)]
                assert on
                seen |= set(on)
            assert seen == set(range(3))
        # more than half is the negative's: never nearer to the query than half way
        assert ((U[i] @ mixed[i, 200:].T)[:, None] >= (U[i] @ hard.T).min() - 1e-5).all()


def on_arc(point, a, b):
    angles = [(x @ y).clamp(-1, 1).arccos() for x, y in ((a, point), (point, b), (a, b))]
    return float((angles[0] + angles[1] - angles[2]).abs()) < 2e-3


def test_no_negative_is_mixed_with_itself():
    """Public codes draw both at random: some mixes are a negative as it is, and count it twice."""
    mixed = mix_negatives(QUERY, QUEUE, hardest=2, mixes=300, query_mixes=0, generator=seeded())
    hard = N[(U[0] @ N.T).topk(2).indices]
    # of two different ones most mixes are far from both ends
    assert float(((mixed[0] @ hard.T).amax(1) < 0.9999).double().mean()) > 0.9


def test_what_is_left_out_is_neither_a_negative_nor_mixed():
    exclude = torch.zeros(3, 40, dtype=torch.bool)
    exclude[0, (U[0] @ N.T).topk(5).indices] = True
    z = torch.cat([(U * U).sum(1, keepdim=True), (U @ N.T).masked_fill(exclude, -torch.inf)], 1) / 0.2
    plain = mochi(QUERY, QUERY, QUEUE, mixes=0, query_mixes=0, exclude=exclude)
    torch.testing.assert_close(plain, (z.logsumexp(1) - z[:, 0]).mean())
    mixed = mix_negatives(QUERY, QUEUE, hardest=4, mixes=64, query_mixes=0, exclude=exclude, generator=seeded())
    hard = N[(U[0] @ N.T).masked_fill(exclude[0], -2).topk(4).indices]
    assert all(any(on_arc(p, hard[a], hard[b]) for a in range(4) for b in range(a)) for p in mixed[0])


def test_only_the_query_has_a_gradient():
    query, queue = QUERY.clone().requires_grad_(), QUEUE.clone().requires_grad_()
    mochi(query, noise(3, 6, seed=3), queue, hardest=8, mixes=4, query_mixes=4).backward()
    assert queue.grad is None
    assert query.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="two negatives or more for each query, got 1"):
        mix_negatives(QUERY, QUEUE[:1])


LABEL = torch.tensor([0, 0, 1, 1, 2])
X = F.normalize(noise(5, 4, dtype=torch.float64), dim=1)


@pytest.mark.parametrize("pairs", ["positive", "anchor"])
def test_metrix_is_the_sum_over_the_anchors_own_negatives(pairs):
    """The reference code numbers negatives within a part of the batch, and takes others."""
    triples = [
        (a, p, n) for a in range(5) for p in range(5) for n in range(5)
        if LABEL[a] == LABEL[p] != LABEL[n] and (a == p) == (pairs == "anchor")
    ]  # fmt: skip
    shares, losses = draw.beta(2.0, len(triples), generator=seeded()).tolist(), []
    for (a, p, n), w in zip(triples, shares):
        d = float((X[a] - w * X[p] - (1 - w) * X[n]).norm())
        losses.append(w * d + (1 - w) * max(0.5 - d, 0))
    got = metrix(5 * X, LABEL, pairs=pairs, generator=seeded())
    assert float(got) == pytest.approx(sum(losses) / sum(x > 0 for x in losses))


def test_metrix_at_the_ends_is_one_term_alone(monkeypatch):
    for end, expected in ((1.0, "positive"), (0.0, "negative")):
        share = torch.tensor([end, end], dtype=torch.float64)
        monkeypatch.setattr(draw, "beta", lambda *_, share=share, **__: share)
        near = 0.5 * X[:3] if expected == "negative" else X[:3]  # anchors 0 and 1, of one class
        distances = [float((X[a] - X[1 - a if expected == "positive" else 2]).norm()) for a in (0, 1)]
        costs = distances if expected == "positive" else [max(0.5 - d, 0) for d in distances]
        got = metrix(near, torch.tensor([0, 0, 1]))
        assert float(got) == pytest.approx(sum(costs) / max(sum(x > 0 for x in costs), 1))


def test_clips_of_one_class_or_each_of_its_own_cost_nothing():
    x = noise(4, 3).requires_grad_()
    for label in (torch.zeros(4).long(), torch.arange(4)):
        loss = metrix(x, label)
        loss.backward()
        assert float(loss) == 0
    assert x.grad.isfinite().all()


def test_supremix_is_the_sum_that_is_written_out(monkeypatch):
    value, tau = torch.tensor([90.0, 92.0, 91.0, 90.0, 140.0]), 0.3
    monkeypatch.setattr(draw, "beta", lambda a, size, partner, **_: torch.full((size,), 0.25, dtype=torch.float64))
    losses = []
    for i in range(5):
        terms, positives = [], []
        for j in range(5):
            if j != i:
                s = float(X[i] @ X[j]) / tau
                terms.append((s, abs(float(value[j] - value[i]))))
                positives += [s] * bool(value[i] == value[j])
            if value[j] != value[i]:
                h = F.normalize(0.25 * X[i] + 0.75 * X[j], dim=0)
                terms.append((float(X[i] @ h) / tau, 0.75 * abs(float(value[j] - value[i]))))
        for j in range(5):
            for k in range(5):
                if value[i] - 5 <= value[j] < value[i] < value[k] <= value[i] + 5:
                    share = (value[k] - value[i]) / (value[k] - value[j])
                    assert float(share * value[j] + (1 - share) * value[k]) == pytest.approx(float(value[i]))
                    s = float(X[i] @ F.normalize(share * X[j] + (1 - share) * X[k], dim=0)) / tau
                    terms.append((s, 0.0))
                    positives.append(s)
        if positives:
            below = math.log(sum(math.exp(s) * (gap + 1) for s, gap in terms))
            losses.append(below - sum(positives) / len(positives))
    assert len(losses) == 3
    assert float(supremix(X, value, window=5, mixes=None)) == pytest.approx(sum(losses) / 3, rel=1e-6)


def test_a_sample_of_the_mixes_has_their_loss_on_average_and_mixes_have_no_gradient():
    x, value = noise(14, 5), torch.arange(14.0)
    whole = float(supremix(x, value, window=6, mixes=None, generator=seeded()))
    some = [float(supremix(x, value, window=6, mixes=6, generator=seeded(s))) for s in range(40)]
    assert sum(some) / 40 == pytest.approx(whole, abs=0.15)
    alone = supremix(x[:2].requires_grad_(), torch.tensor([1.0, 2.0]))
    alone.backward()  # nobody has a positive
    assert float(alone) == 0
    # without mixes clips of one value are the positives, and there are none here
    assert float(supremix(x, value, window=6, mixes=0)) == 0
