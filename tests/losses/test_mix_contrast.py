"""The contrastive loss of mixes, against sums that are written out."""

import pytest
import torch
from sounds import noise, seeded
from torch.nn import functional as F

from audiomix import MixUp, Plan
from audiomix.losses.mix_contrast import mix_contrast


def plan_of(partner, weight):
    return Plan(torch.tensor(partner), torch.tensor(weight, dtype=torch.float64))


def by_hand(mixed, clean, plan, tau, skip=lambda i, j: False):
    total = 0.0
    for i, (p, w) in enumerate(zip(plan.partner.tolist(), plan.weight.tolist())):
        cosine = [float(F.cosine_similarity(mixed[i], row, dim=0)) / tau for row in clean]
        inside = {i, p} if w < 1 else {i}
        norm = torch.tensor([c for j, c in enumerate(cosine) if j in inside or not skip(i, j)]).logsumexp(0)
        total -= w * (cosine[i] - norm) + (1 - w) * (cosine[p] - norm)
    return float(total) / len(mixed)


PLAN = plan_of([1, 2, 0, 3, 4], [0.7, 0.2, 1.0, 0.5, 1.0])


def test_it_is_the_sum_over_both_clips():
    mixed, clean = noise(5, 7, dtype=torch.float64), noise(5, 7, seed=2, dtype=torch.float64)
    got = mix_contrast(mixed, clean, PLAN)
    assert float(got) == pytest.approx(by_hand(mixed, clean, PLAN, 0.06), rel=1e-5)
    # features have no length
    torch.testing.assert_close(mix_contrast(3 * mixed, 0.1 * clean, PLAN), got)


def test_clips_of_the_same_class_are_no_negatives():
    mixed, clean, labels = noise(5, 7), noise(5, 7, seed=2), torch.tensor([0, 1, 0, 1, 2])
    weight, partner = PLAN.weight.tolist(), PLAN.partner.tolist()

    def skip(i, j):
        return labels[j] == labels[i] or (weight[i] < 1 and labels[j] == labels[partner[i]])

    got = mix_contrast(mixed, clean, PLAN, labels=labels, temperature=0.5)
    assert float(got) == pytest.approx(by_hand(mixed, clean, PLAN, 0.5, skip), rel=1e-5)
    alone = mix_contrast(mixed, clean, PLAN, labels=torch.zeros(5).long(), temperature=0.5)
    assert alone.isfinite()


def test_a_clip_that_is_its_own_partner_loses_no_mass():
    """Code that writes 1 - w into the target in place of adding it loses w of the mass (M3CoL's mixco_nce)."""
    mixed, clean = noise(3, 4), noise(3, 4, seed=2)
    itself, unmixed = plan_of([0, 1, 2], [0.3, 0.6, 1.0]), plan_of([0, 1, 2], [1.0, 1.0, 1.0])
    torch.testing.assert_close(mix_contrast(mixed, clean, itself), mix_contrast(mixed, clean, unmixed))


def test_unmixed_it_is_the_usual_loss_and_it_falls_as_mixes_approach_their_clips():
    clean = F.normalize(noise(6, 8), dim=1)
    plain = F.cross_entropy(clean @ clean.T / 0.06, torch.arange(6))
    torch.testing.assert_close(mix_contrast(clean, clean, Plan.identity(6)), plain)
    plan = MixUp(1.0)(clean, generator=seeded()).plans[0]
    w = plan.weight[:, None].float()
    near = mix_contrast(w * clean + (1 - w) * clean[plan.partner], clean, plan)
    assert near < mix_contrast(clean.roll(2, 0), clean, plan)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_gradients_are_finite(dtype):
    mixed = noise(5, 7).to(dtype)
    mixed[0] = 0
    mixed.requires_grad_()
    clean = noise(5, 7, seed=2).to(dtype).requires_grad_()
    loss = mix_contrast(mixed, clean, PLAN, labels=torch.tensor([0, 0, 0, 1, 1]))
    loss.backward()
    assert loss.dtype == torch.float32
    assert mixed.grad.isfinite().all()
    assert clean.grad.isfinite().all()
    assert clean.grad.abs().sum() > 0


def test_of_several_sources_each_has_its_share():
    clean = noise(6, 8)
    plan = MixUp(sources=3)(clean, generator=seeded()).plans[0]
    target = torch.zeros(6, 6)
    for i in range(6):
        target[i, i] = plan.weight[i]
        for part in plan.parts(i)[1:]:
            target[i, part.source] += part.gain
    logits = F.normalize(clean, dim=1) @ F.normalize(clean, dim=1).T / 0.06
    torch.testing.assert_close(mix_contrast(clean, clean, plan), F.cross_entropy(logits, target), atol=1e-4, rtol=1e-5)


def test_wrong_arguments():
    mixed = noise(5, 7)
    with pytest.raises(ValueError, match=r"same shape \(B, D\), got \(5, 7\) and \(5, 6\)"):
        mix_contrast(mixed, noise(5, 6), PLAN)
    with pytest.raises(ValueError, match="mixed must be of 5 items"):
        mix_contrast(mixed[:3], mixed[:3], PLAN)
    with pytest.raises(ValueError, match="temperature must be"):
        mix_contrast(mixed, mixed, PLAN, temperature=0)
    with pytest.raises(ValueError, match="plan must be of partners in the batch.*other="):
        mix_contrast(mixed, mixed, plan_of([9, 0, 1, 2, 3], [0.5] * 5))
    with pytest.raises(ValueError, match=r"labels must be class ids \(B,\)"):
        mix_contrast(mixed, mixed, PLAN, labels=torch.eye(5))
