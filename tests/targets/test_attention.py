"""TransMix and progressive attention labels, judged from masks that were worked out bin by bin."""

import pytest
import torch
from network.transformer import Transformer
from sounds import noise, seeded
from torch import nn
from torch.nn import functional as F

from audiomix import CutMix, MixUp, Plan, SpanPlan, class_attention, cutmix, mixpro, transmix
from audiomix.mixers._mask_plan import CellPlan, mask_mix
from audiomix.targets.attention import attention_share, token_shares

SIZE, GRID = (8, 20), (2, 5)


def cut_plan(kind="box", size=SIZE, clips=8, seed=1):
    return CutMix(kind)(noise(clips, 1, *size), generator=seeded(seed)).plans[0]


def mask_plan(rows=2, columns=5, clips=6, seed=3):
    mask = (torch.rand(clips, rows, columns, generator=seeded(seed)) < 0.5).to(torch.uint8)
    mask[0] = 1
    partner = torch.tensor([0, *torch.arange(2, clips), 1])
    ones = torch.ones(clips).double()
    return CellPlan(
        partner, mask.double().mean((1, 2)), mask=mask, covered=ones, width=1 / columns, height=1 / rows
    )


def pixels(plan, size=SIZE):
    """The original's share in each bin, from the sound: originals of ones, partners of zeros."""
    ones, zeros = torch.ones(len(plan), 1, *size), torch.zeros(len(plan), 1, *size)
    masks = isinstance(plan, CellPlan)
    return (mask_mix if masks else cutmix)(ones, plan, other=zeros)[:, 0]


@pytest.mark.parametrize("kind", ["time", "freq", "box", "mask"])
def test_the_share_of_a_token_is_the_mean_of_the_mask_over_its_patch(kind):
    """Bin by bin, of F != N, with patches that overlap and such that touch; the papers resize to the nearest."""
    plan = mask_plan() if kind == "mask" else cut_plan(kind)
    there = pixels(plan)
    got = token_shares(plan, GRID, SIZE)
    wanted = there.view(len(plan), 2, 4, 5, 4).mean((2, 4))
    torch.testing.assert_close(got, wanted)
    got = token_shares(plan, (3, 6), SIZE, patch=(4, 5), stride=(2, 3))
    for f in range(3):
        for t in range(6):
            patch = there[:, 2 * f : 2 * f + 4, 3 * t : 3 * t + 5]
            torch.testing.assert_close(got[:, f, t], patch.mean((1, 2)))
    assert (token_shares(plan, GRID, SIZE, patch=(4, 4)) == token_shares(plan, GRID, SIZE)).all()


@pytest.mark.parametrize("kind", ["time", "box", "mask"])
def test_of_patches_that_are_there_in_part_what_is_there_counts(kind):
    """21 frames: the network pads them to six patches of 4, or pools them to a grid; and clips end within patches."""
    size = (8, 21)
    plan = mask_plan() if kind == "mask" else cut_plan(kind, size)
    there, count = pixels(plan, size), len(plan)
    padded = token_shares(plan, (2, 6), size, patch=(4, 4))
    whole = token_shares(plan, (2, 5), size, patch=(4, 4))
    assert torch.equal(padded[..., :5], whole)
    torch.testing.assert_close(padded[..., 5], there.view(count, 2, 4, 21).mean(2)[..., 20])
    pooled = F.adaptive_avg_pool2d(there[:, None], (3, 4))[:, 0]
    torch.testing.assert_close(token_shares(plan, (3, 4), size), pooled)
    # attention to padding, which a network without an attention mask has, is neither clip's
    lengths = torch.full((count,), 10)
    attention = torch.rand(count, 2, 6, generator=seeded())
    got = attention_share(plan, attention, size, patch=(4, 4), lengths=lengths)
    heard = torch.stack([there[..., t : min(t + 4, 10)].view(count, 2, 4, -1).mean((2, 3)) for t in (0, 4, 8)], -1)
    wanted = (heard * attention[..., :3]).sum((1, 2)) / attention[..., :3].sum((1, 2))
    torch.testing.assert_close(got, torch.where(plan.weight == 1, 1.0, wanted.double()).float())
    nothing = attention_share(plan, attention, size, patch=(4, 4), lengths=torch.zeros(count).long())
    torch.testing.assert_close(nothing.double(), plan.weight)


@pytest.mark.parametrize("kind", ["time", "freq", "box", "mask"])
def test_uniform_attention_gives_the_area_and_attention_to_the_partner_half_of_it(kind):
    plan = mask_plan() if kind == "mask" else cut_plan(kind)
    size, labels = len(plan), torch.eye(len(plan))
    even = transmix(labels, plan, torch.ones(size, *GRID), SIZE)
    torch.testing.assert_close(even.diagonal().double(), plan.weight, atol=1e-6, rtol=0)
    # all attention on the partner's tokens: its share is (area + 1) / 2
    shares = token_shares(plan, GRID, SIZE)
    theirs = torch.where(plan.weight < 1, transmix(labels, plan, (shares == 0).float(), SIZE).diagonal().double(), 0.0)
    whole = (shares == 0).flatten(1).any(1) & (plan.weight < 1)
    assert whole.any()
    torch.testing.assert_close(theirs[whole], plan.weight[whole] / 2, atol=1e-6, rtol=0)
    mine = transmix(labels, plan, (shares == 1).float(), SIZE).diagonal().double()
    kept = (shares == 1).flatten(1).any(1)
    torch.testing.assert_close(mine[kept], (1 + plan.weight[kept]) / 2, atol=1e-6, rtol=0)


def test_a_label_worked_out_by_hand():
    """A cut of the second half, tokens of a quarter each, attention 1, 2, 3, 4: 3/10 of it is the original's."""
    span = torch.tensor([[0.5, 1.0], [0.0, 0.0]]).double()
    band = torch.tensor([[0.0, 1.0]] * 2).double()
    plan = SpanPlan(torch.tensor([1, 0]), torch.tensor([0.5, 1.0]).double(), span=span, band=band)
    attention = torch.tensor([[1.0, 2, 3, 4], [1, 2, 3, 4]])
    assert attention_share(plan, attention, (1, 8), grid=(1, 4)).tolist() == [pytest.approx(0.3), 1.0]
    got = transmix(torch.tensor([0, 1]), plan, attention, (1, 8), grid=(1, 4), num_classes=2)
    torch.testing.assert_close(got, torch.tensor([[0.4, 0.6], [0.0, 1.0]]))
    got = transmix(torch.tensor([0, 1]), plan, attention, (1, 8), grid=(1, 4), num_classes=2, ratio=1.0)
    torch.testing.assert_close(got, torch.tensor([[0.3, 0.7], [0.0, 1.0]]))
    # with lengths only what is valid counts: frames 0-5, so tokens 1, 2 and 3
    share = attention_share(plan, torch.tensor([[1.0, 2, 3, 0]] * 2), (1, 8), grid=(1, 4), lengths=torch.tensor([6, 6]))
    assert share.tolist() == [pytest.approx(0.5), 1.0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_shares_are_shares_of_any_attention(dtype):
    plan = cut_plan(clips=40)
    attention = torch.rand(40, *GRID, generator=seeded(), dtype=torch.float64).pow(6).to(dtype).requires_grad_()
    got = transmix(torch.arange(40), plan, attention, SIZE, num_classes=40)
    assert not got.requires_grad
    torch.testing.assert_close(got.sum(1), torch.ones(40))
    assert ((got >= 0) & (got <= 1)).all()
    own = got.diagonal().double()
    assert (own[plan.weight == 1] == 1).all()
    # half of it is the area's
    assert (own >= plan.weight / 2 - 1e-6).all()
    assert (own <= (plan.weight + 1) / 2 + 1e-6).all()


def test_no_attention_at_all_leaves_the_area():
    plan = cut_plan()
    got = transmix(torch.arange(8), plan, torch.zeros(8, *GRID), SIZE, num_classes=8)
    torch.testing.assert_close(got.diagonal().double(), plan.weight, atol=1e-6, rtol=0)


def test_partners_of_a_second_batch_and_rules():
    spec, other = noise(6, 1, *SIZE), noise(3, 1, *SIZE, seed=4)
    plan = CutMix("box")(spec, other=other, generator=seeded()).plans[0]
    theirs = torch.eye(9)[6:]
    attention = torch.rand(6, *GRID, generator=seeded())
    got = transmix(torch.eye(9)[:6], plan, attention, SIZE, other=theirs)
    weight = (attention_share(plan, attention, SIZE) + plan.weight.float()) / 2
    for i, j in enumerate(plan.partner.tolist()):
        assert float(got[i, i]) == pytest.approx(float(weight[i]), abs=1e-6)
        assert float(got[i, 6 + j]) == pytest.approx(1 - float(weight[i]), abs=1e-6)
    union = transmix(torch.eye(9)[:6], plan, attention, SIZE, other=theirs, rule="union")
    assert set(union.unique().tolist()) == {0.0, 1.0}


def test_of_a_sum_all_tokens_have_one_share():
    plan = MixUp(0.4)(noise(6, 1, *SIZE), generator=seeded()).plans[0]
    attention = torch.rand(6, *GRID, generator=seeded())
    torch.testing.assert_close(attention_share(plan, attention, SIZE).double(), plan.weight, atol=1e-6, rtol=0)


def test_attention_to_patches_from_scores():
    scores = torch.rand(3, 2, 7, 7, generator=seeded()).softmax(-1)
    one, two = class_attention(scores), class_attention(scores, 2)
    assert torch.equal(one, scores.mean(1)[:, 0, 1:])
    torch.testing.assert_close(two, (scores.mean(1)[:, 0, 2:] + scores.mean(1)[:, 1, 2:]) / 2)
    torch.testing.assert_close(class_attention(scores, 0), scores.mean((1, 2)))
    assert torch.equal(class_attention(scores[:, 0]), scores[:, 0, 0, 1:])


# MixPro


def test_progressive_labels_go_from_area_to_attention():
    plan, labels = cut_plan(), torch.arange(8)
    attention = torch.rand(8, *GRID, generator=seeded())
    area, share = plan.weight.float(), attention_share(plan, attention, SIZE)
    by_area = area[:, None] * torch.eye(8) + (1 - area[:, None]) * torch.eye(8)[plan.partner]
    # a prediction that is the label by area: cosine 1
    agrees = mixpro(labels, plan, attention, by_area.clamp(min=1e-30).log(), SIZE, num_classes=8, label_smoothing=0.0)
    torch.testing.assert_close(agrees.diagonal(), share, atol=1e-5, rtol=0)
    # one that is of a third class alone: cosine 0
    third = next(k for k in range(8) if (by_area[:, k] == 0).sum() == 6)
    off = (by_area[:, third] == 0).nonzero().flatten()
    against = mixpro(labels, plan, attention, 1e4 * torch.eye(8)[[third] * 8], SIZE, num_classes=8, label_smoothing=0.0)
    torch.testing.assert_close(against.diagonal()[off], area[off], atol=1e-5, rtol=0)
    # and anything in between by the cosine with the smoothed label
    logits = noise(8, 8, seed=6).requires_grad_()
    got = mixpro(labels, plan, attention, logits, SIZE, num_classes=8)
    trust = F.cosine_similarity(0.9 * by_area + 0.1 / 8, logits.softmax(1))
    torch.testing.assert_close(got.diagonal(), (trust * share + (1 - trust) * area).detach(), atol=1e-6, rtol=1e-5)
    assert not got.requires_grad
    torch.testing.assert_close(got.sum(1), torch.ones(8))
    # of an overflow in half precision nothing is learnt, and the label stays one
    logits = logits.detach().half()
    logits[0, 3], logits[1] = torch.inf, torch.nan
    got = mixpro(labels, plan, attention, logits, SIZE, num_classes=8)
    torch.testing.assert_close(got.diagonal()[:2], area[:2])
    assert got.isfinite().all()


def test_a_training_step_of_a_transformer_on_labels_by_its_own_attention():
    net, spec, labels = Transformer(), noise(6, 1, 16, 24), torch.arange(6) % 3
    mixed = CutMix("box", num_classes=3)(spec, labels, generator=seeded())
    logits = net(mixed.x)
    attention = class_attention(net.scores)
    given = {"grid": net.grid, "patch": (4, 4), "stride": (2, 2), "num_classes": 3}
    for target in (
        transmix(labels, mixed.plans[0], attention, (16, 24), **given),
        mixpro(labels, mixed.plans[0], attention, logits, (16, 24), **given),
    ):
        assert not torch.allclose(target, mixed.target)
        torch.testing.assert_close(target.sum(1), torch.ones(6))
        nn.functional.cross_entropy(logits, target).backward(retain_graph=True)
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())


def test_attention_of_another_size_is_refused():
    plan, labels = cut_plan(), torch.arange(8)
    cases = [
        ({"attention": torch.ones(8, 11), "grid": GRID}, r"attention must be of 10 tokens a clip.*class tokens"),
        ({"attention": torch.ones(8, 10)}, r"grid must be given for attention of shape \(B, M\)"),
        ({"attention": torch.ones(8, 2, 3, 3)}, r"class_attention\(\.\.\.\)"),
        ({"attention": torch.ones(4, *GRID)}, "attention must be of 8 items"),
        ({"attention": -torch.ones(8, *GRID)}, "attention must be at least 0.* before their softmax"),
        ({"attention": torch.full((8, *GRID), torch.nan)}, "attention must be at least 0"),
        ({"attention": torch.full((8, *GRID), torch.inf)}, "attention must be at least 0, and finite, got inf"),
        ({"attention": torch.ones(8, 2, 8), "patch": (4, 3)}, r"grid must be \(2, 6\), .*the end is padded"),
        ({"attention": torch.ones(8, 9, 5)}, r"grid must be at most size \(8, 20\)"),
        ({"attention": torch.ones(8, 5, 2), "patch": (4, 4)}, r"grid must be \(2, 5\).* time before frequency"),
        ({"attention": torch.ones(8, *GRID), "patch": (4, 4), "stride": (2, 2)}, r"grid must be \(3, 9\), by patches"),
        ({"attention": torch.ones(8, *GRID), "stride": (2, 2)}, "stride must be left out"),
        ({"attention": torch.ones(8, *GRID), "patch": 4}, "patch must be two whole numbers"),
        ({"attention": torch.ones(8, *GRID), "ratio": 50}, r"did you mean 0\.5"),
    ]
    for given, message in cases:
        with pytest.raises(ValueError, match=message):
            transmix(labels, plan, size=SIZE, num_classes=8, **given)
    several = MixUp(sources=3)(noise(8, 1, *SIZE), generator=seeded()).plans[0]
    with pytest.raises(ValueError, match="plan must be of one partner a clip, got 2"):
        transmix(labels, several, torch.ones(8, *GRID), SIZE, num_classes=8)
    with pytest.raises(ValueError, match=r"target must be of whole clips"):
        transmix(torch.ones(8, 3, 4), plan, torch.ones(8, *GRID), SIZE)
    with pytest.raises(ValueError, match=r"logits must be of shape \(8, 8\)"):
        mixpro(labels, plan, torch.ones(8, *GRID), torch.ones(8, 3), SIZE, num_classes=8)
    with pytest.raises(ValueError, match=r"scores must be attention"):
        class_attention(torch.ones(2, 5, 4))
    assert isinstance(Plan.from_json(plan.to_json()), SpanPlan)


def test_pieces_from_another_place_and_from_clips_of_another_size():
    spec, other = noise(8, 1, *SIZE), noise(3, 1, 8, 52, seed=4)
    for given in ({}, {"other": other}):
        mixed = CutMix("box", offset="free")(spec, generator=seeded(), **given)
        plan = mixed.plans[0]
        kept = (mixed.x == spec)[:, 0].float()
        got = token_shares(plan, GRID, SIZE, other_size=52 if given else None)
        torch.testing.assert_close(got, kept.view(8, 2, 4, 5, 4).mean((2, 4)))
