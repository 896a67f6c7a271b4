"""Losses of sequences and of patches: SFTMix, two transcripts, MixedAE, and correctness-aware calibration."""

import pytest
import torch
from sounds import noise, seeded
from torch import nn
from torch.nn import functional as F

from audiomix import MixUp, Plan
from audiomix.losses.correctness import ViewTemperature, correctness
from audiomix.losses.mixed_ae import mix_patches, mixed_ae, source_contrast
from audiomix.losses.sft_mix import sft_mix
from audiomix.losses.transcripts import transcript_loss

HEAD = noise(5, 4)
HIDDEN, TOKENS = noise(4, 6, 5, seed=2), torch.randint(4, (4, 6), generator=seeded())
PLAN = Plan(torch.tensor([1, 0, 3, 2]), torch.tensor([0.7, 0.4, 1.0, 0.5], dtype=torch.float64))


def head(hidden):
    return hidden @ HEAD


def test_hidden_states_are_mixed_up_to_the_end_of_the_shorter_one():
    lengths, tokens = torch.tensor([6, 3, 5, 2]), TOKENS.clone()
    tokens[0, 1] = -100
    losses = []
    for i, p, w in ((0, 1, 0.7), (1, 0, 0.4), (3, 2, 0.5)):
        for n in range(int(min(lengths[i], lengths[p]))):
            if -100 not in (tokens[i, n], tokens[p, n]):
                log_p = head(w * HIDDEN[i, n] + (1 - w) * HIDDEN[p, n]).log_softmax(0)
                losses.append(-w * log_p[tokens[i, n]] - (1 - w) * log_p[tokens[p, n]])
    spoilt = HIDDEN.clone()
    spoilt[1, 3:], spoilt[3, 2:] = float("nan"), float("inf")
    spoilt.requires_grad_()
    got = sft_mix(spoilt, tokens, PLAN, head, lengths=lengths)
    assert float(got) == pytest.approx(float(torch.stack(losses).mean()), rel=1e-5)
    got.backward()
    assert spoilt.grad.isfinite().all()


def test_one_more_call_of_the_head_and_none_where_nothing_is_mixed():
    calls = []

    def counted(hidden):
        calls.append(len(hidden))
        return head(hidden)

    sft_mix(HIDDEN, TOKENS, PLAN, counted)
    assert calls == [18]
    assert float(sft_mix(HIDDEN, TOKENS, Plan.identity(4), counted)) == 0
    assert len(calls) == 1


def test_both_transcripts_count_by_their_shares():
    table = noise(4, 4).square()  # the loss of mix i with transcript j
    got = transcript_loss(lambda rows: table[torch.arange(4), rows], PLAN)
    expected = sum(w * table[i, i] + (1 - w) * table[i, p]
                   for i, (p, w) in enumerate(zip(PLAN.partner.tolist(), PLAN.weight.tolist()))) / 4  # fmt: skip
    torch.testing.assert_close(got, expected)
    # three sources
    plan = MixUp(sources=3, num_classes=4)(noise(4, 1, 9), torch.arange(4)).plans[0]
    partners, shares = plan.label_shares()
    rows = torch.cat([torch.arange(4)[:, None], partners.clamp(min=0)], 1)
    expected = (shares * table.double().gather(1, rows)).sum() / 4
    torch.testing.assert_close(transcript_loss(lambda r: table[torch.arange(4), r], plan).double(), expected)


def test_a_transcript_without_a_share_may_be_too_long_for_the_mix():
    infinite = torch.tensor([[1.0, 0, 0, 0], [0, 2, 0, 0], [0, 0, 3, torch.inf], [0, 0, 0, 4]])
    plan = Plan(PLAN.partner, torch.ones(4, dtype=torch.float64).index_fill(0, torch.tensor([1]), 0.5))
    got = transcript_loss(lambda rows: infinite[torch.arange(4), rows], plan)
    assert float(got) == pytest.approx((1 + 1 + 3 + 4) / 4)
    with pytest.raises(ValueError, match=r'shape \(4,\), got \(\): reduction="none"'):
        transcript_loss(lambda rows: infinite[0, 0], PLAN)


def test_patches_are_exchanged_and_none_is_lost():
    clips = torch.arange(6.0).view(6, 1, 1) * 100 + torch.arange(9.0).view(1, 9, 1)
    mixed = mix_patches(clips, group=3, generator=seeded())
    for group in (slice(0, 3), slice(3, 6)):
        assert sorted(mixed.patches[group].flatten().tolist()) == sorted(clips[group].flatten().tolist())
        # each stays at its place, and there all clips of the group are
        assert (mixed.patches[group] % 100 == clips[group] % 100).all()
        assert [set(column) for column in mixed.source[group].T.tolist()] == [set(range(6)[group])] * 9
    assert torch.equal(mixed.patches[..., 0] // 100, mixed.source.float())
    share = mix_patches(noise(200, 50, 1), generator=seeded()).own.double().mean()
    assert float(share) == pytest.approx(0.5, abs=0.02)
    with pytest.raises(ValueError, match="a multiple of 4 clips"):
        mix_patches(clips, group=4)


def test_only_what_is_not_seen_is_compared():
    """The public copy takes the error over all patches, and of what it shows to the encoder too."""
    clips, mixed = noise(4, 9, 3), mix_patches(noise(4, 9, 3), generator=seeded())
    decoded = clips.clone()
    decoded[mixed.own] += 100
    assert float(mixed_ae(decoded, clips, mixed)) == 0
    decoded = clips + 2 * (~mixed.own)[..., None]
    assert float(mixed_ae(decoded, clips, mixed)) == pytest.approx(4, rel=1e-5)
    assert float(mixed_ae(decoded, clips, mix_patches(clips, group=1))) == 0


def test_tokens_of_one_clip_attract_each_other():
    mixed = mix_patches(noise(4, 6, 3), generator=seeded())
    tokens, total = noise(4, 6, 5, seed=4), []
    u = F.normalize(tokens, dim=2)
    for i in range(4):
        for m in range(6):
            rest = [n for n in range(6) if n != m]
            norm = torch.stack([u[i, m] @ u[i, n] / 0.25 for n in rest]).logsumexp(0)
            same = [u[i, m] @ u[i, n] / 0.25 - norm for n in rest if mixed.source[i, n] == mixed.source[i, m]]
            total += [-sum(same) / len(same)] if same else []
    torch.testing.assert_close(source_contrast(tokens, mixed), torch.stack(total).mean())


def test_right_and_wrong_predictions_count_alike():
    # 3 right with confidence c, 1 wrong with d: 3/4 * (1/4) (1 - c)^2 + 1/4 * (3/4) d^2
    z, label = torch.tensor([[2.0, 0], [2, 0], [2, 0], [1, 0]]), torch.tensor([0, 0, 0, 1])
    c, d = (float(torch.sigmoid(torch.tensor(x))) for x in (2.0, 1.0))
    assert float(correctness(z, label)) == pytest.approx(3 / 16 * ((1 - c) ** 2 + d**2), rel=1e-5)
    assert float(correctness(z, torch.zeros(4).long())) == 0


def test_a_temperature_from_views_is_learnt_and_changes_no_class():
    generator = seeded()
    logits = 4 * torch.randn(400, 5, generator=generator)
    steady = torch.rand(400, generator=generator) < 0.5  # the network is right where views agree
    views = torch.where(steady[:, None], logits, 4 * torch.randn(3, 400, 5, generator=generator))
    label = torch.where(steady, logits.argmax(1), logits.argmin(1))
    torch.manual_seed(0)
    network = ViewTemperature(views=3, top=4)
    assert (network(logits, views) == 1).all()
    optimiser, losses = torch.optim.Adam(network.parameters(), 0.02), []
    for _ in range(60):
        temperature = network(logits, views)
        losses.append(correctness(logits, label, temperature))
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
    assert losses[-1] < 0.7 * losses[0]
    temperature = network(logits, views).detach()
    assert temperature[steady].mean() < temperature[~steady].mean()
    assert ((temperature >= 0.1) & (temperature <= 10)).all()
    assert repr(network).startswith("ViewTemperature(")
    assert isinstance(network, nn.Module)
