"""The two losses of SMMix, against sums that are written out."""

import pytest
import torch
from network.transformer import Transformer
from sounds import noise, seeded
from torch import nn
from torch.nn import functional as F

from audiomix import MixUp, Plan, SMMix, class_attention, fine_grained_loss, mix_consistency, region_means
from audiomix.targets.attention import token_shares

PLAN = Plan(torch.tensor([1, 2, 0, 3]), torch.tensor([0.7, 0.25, 0.0, 1.0], dtype=torch.float64))
LABEL = torch.tensor([0, 2, 1, 1])


def test_means_are_over_the_tokens_of_each_clip():
    tokens, shares = noise(3, 6, 4), (torch.rand(3, 2, 3, generator=seeded()) < 0.5).float()
    shares[0] = 1
    own, partner = region_means(tokens, shares)
    for i in range(3):
        mine = shares[i].flatten().bool()
        torch.testing.assert_close(own[i], tokens[i, mine].mean(0))
        wanted = tokens[i, ~mine].mean(0) if not mine.all() else torch.zeros(4)
        torch.testing.assert_close(partner[i], wanted)
    half = region_means(tokens, torch.full((3, 6), 0.5))
    torch.testing.assert_close(half[0], tokens.mean(1))
    torch.testing.assert_close(half[1], tokens.mean(1))


def test_both_clips_have_half_of_the_loss_each_where_they_are():
    a, b = noise(4, 3), noise(4, 3, seed=2)
    got = fine_grained_loss(a, b, LABEL, PLAN, num_classes=3)
    each = [F.cross_entropy(a[i], LABEL[i]) for i in (0, 1, 3)]  # clip 2 is its partner's alone
    each += [F.cross_entropy(b[i], LABEL[PLAN.partner[i]]) for i in (0, 1, 2)]  # clip 3 is not mixed
    torch.testing.assert_close(got, sum(each) / 8)
    other = fine_grained_loss(a, b, torch.eye(3)[LABEL], PLAN, other=torch.eye(3)[LABEL])
    torch.testing.assert_close(other, got)


def test_predictions_that_are_mixed_as_the_clips_are_cost_nothing():
    clean = noise(4, 3)
    w = PLAN.weight[:, None].float()
    mixed = w * clean + (1 - w) * clean[PLAN.partner]
    assert float(mix_consistency(mixed + 5, clean, PLAN)) == pytest.approx(0, abs=1e-6)
    other = noise(4, 3, seed=4).requires_grad_()
    leaf = clean.clone().requires_grad_()
    got = mix_consistency(other, leaf, PLAN)
    p, q = mixed.softmax(1), other.softmax(1)
    torch.testing.assert_close(got, (p * (p.log() - q.log())).sum(1).mean())  # KL(mixed || predicted), not the reverse
    got.backward()
    assert leaf.grad is None
    torch.testing.assert_close(other.grad, ((q - p) / 4).detach())


def test_several_sources_and_a_second_batch():
    clean, more = noise(5, 3), noise(4, 3, seed=2)
    plan = MixUp(sources=3)(clean, other=more, generator=seeded()).plans[0]
    sounds = torch.cat([more, clean])
    found = [[p.gain * sounds[4 + i if p.source < 0 else p.source] for p in plan.parts(i)] for i in range(5)]
    mixed = torch.stack([torch.stack(parts).sum(0) for parts in found])
    assert float(mix_consistency(mixed, clean, plan, other_logits=more)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_half_precision_and_finite_gradients(dtype):
    a = (20 * noise(4, 3)).to(dtype).requires_grad_()
    loss = fine_grained_loss(a, a, LABEL, PLAN, num_classes=3) + mix_consistency(a, a, PLAN)
    loss.backward()
    assert loss.dtype == torch.promote_types(dtype, torch.float32)
    assert a.grad.isfinite().all()


def test_a_training_step_of_a_transformer():
    """All of the paper: attention of the clips, windows, and three losses."""
    net, spec = Transformer(), noise(4, 1, 16, 24)
    head = nn.Linear(8, 3)
    with torch.no_grad():
        clean = net.eval()(spec)
        attention = class_attention(net.scores).view(4, *net.grid)
    mixed = SMMix(num_classes=3)(spec, LABEL, attention=attention, generator=seeded())
    tokens = []
    handle = net.train().blocks[1].register_forward_hook(lambda _, args, out: tokens.append(out[0][:, 1:]))
    logits = net(mixed.x)
    handle.remove()
    shares = token_shares(mixed.plans[0], net.grid, (16, 24), patch=(4, 4), stride=(2, 2))
    own, partner = region_means(tokens[0], shares)
    loss = F.cross_entropy(logits, mixed.target)
    loss = loss + fine_grained_loss(head(own), head(partner), LABEL, mixed.plans[0], num_classes=3)
    loss = loss + mix_consistency(logits, clean, mixed.plans[0])
    loss.backward()
    assert all(p.grad.isfinite().all() for p in [*net.parameters(), *head.parameters()] if p.grad is not None)
    assert head.weight.grad.abs().sum() > 0


def test_wrong_arguments():
    a = noise(4, 3)
    with pytest.raises(ValueError, match=r"tokens must be .* got \(3, 7, 4\) and 6 shares: class tokens"):
        region_means(noise(3, 7, 4), torch.ones(3, 2, 3))
    with pytest.raises(ValueError, match="of the same shape"):
        fine_grained_loss(a, a[:, :2], LABEL, PLAN, num_classes=3)
    with pytest.raises(ValueError, match=r"target must be of shape"):
        fine_grained_loss(a, a, torch.ones(4, 5), PLAN)
    several = MixUp(sources=3)(a, generator=seeded()).plans[0]
    with pytest.raises(ValueError, match="plan must be of one partner"):
        fine_grained_loss(a, a, LABEL, several, num_classes=3)
    with pytest.raises(ValueError, match="logits must be of the same shape"):
        mix_consistency(a, a[:, :2], PLAN)
    far = Plan(torch.tensor([9]), torch.tensor([0.5]).double())
    with pytest.raises(ValueError, match=r"partners in 0\.\.0, got 9"):
        mix_consistency(a[:1], a[:1], far)
