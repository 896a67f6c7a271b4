"""Patch-Mix behind the patch embedding, judged from the patches."""

import pytest
import torch
from laws import LAWS
from network.transformer import Transformer
from scipy import stats
from sounds import noise, seeded
from torch import nn

from audiomix import HiddenPatchMix, manifold_mixup


@pytest.mark.parametrize("example", HiddenPatchMix.examples(), ids=lambda e: repr(e.mixer))
def test_laws(example):
    for law in LAWS:
        law(example)


def replaced(mixed, own, source, plan):
    """Which patches (B, N) of the mixes differ from the original's; all of those are the partner's, bit for bit."""
    differ = (mixed != own).any(1)
    for i, j in enumerate(plan.partner.tolist()):
        assert torch.equal(mixed[i][:, differ[i]], source[j][:, differ[i]])
    return differ


@pytest.mark.parametrize("shape", [(5, 30), (5, 6, 11)])
def test_so_many_patches_are_the_partners_and_the_label_is_exact(shape):
    x = noise(40, *shape)
    mixed = HiddenPatchMix(num_classes=40)(x, torch.arange(40), generator=seeded())
    plan, count = mixed.plans[0], x[0, 0].numel()
    share = replaced(mixed.x, x, x, plan).flatten(1).double().mean(1)
    torch.testing.assert_close(1 - share, plan.weight)
    torch.testing.assert_close(mixed.target.diagonal().double(), plan.weight, atol=1e-6, rtol=0)
    assert ((plan.weight * count - (plan.weight * count).round()).abs() < 1e-9).all()


def test_shares_are_uniform_and_rounded_for_the_original():
    """n = floor(N (1 - w)): the mean share kept is 1/2 + 1/(2N), by hand."""
    weight = HiddenPatchMix()(noise(4000, 1, 20), generator=seeded()).plans[0].weight
    assert float(weight.mean()) == pytest.approx(0.5 + 1 / 40, abs=4 * (1 / 12 / 4000) ** 0.5)
    counts = torch.bincount((weight * 20).round().long(), minlength=21)
    assert counts[0] == 0
    assert stats.chisquare(counts[1:]).pvalue > 1e-4


def test_a_share_that_is_given_gives_its_number_of_patches():
    # shares of one half, up to 1e-4: 4 or 5 of 10 patches are replaced
    plan = HiddenPatchMix(alpha=1e9)(noise(6, 2, 10), generator=seeded()).plans[0]
    assert set((plan.weight * 10).round().tolist()) <= {5.0, 6.0}


@pytest.mark.parametrize("kind", ["patch", "column"])
def test_each_clip_has_its_own_patches_or_the_batch_one_set(kind):
    x = noise(30, 3, 4, 25)
    for per in ("clip", "batch"):
        mixed = HiddenPatchMix(kind, per=per)(x, generator=seeded(2))
        sets = torch.unique(replaced(mixed.x, x, x, mixed.plans[0]).flatten(1), dim=0)
        assert len(sets) == 1 if per == "batch" else len(sets) > 20


def test_columns_are_whole_in_maps_and_in_rows():
    x = noise(12, 3, 4, 25)
    for states, mixer in ((x, HiddenPatchMix("column")), (x.flatten(2), HiddenPatchMix("column", grid=(4, 25)))):
        mixed = mixer(states, generator=seeded())
        differ = replaced(mixed.x, states, states, mixed.plans[0]).view(12, 4, 25)
        assert (differ.all(1) == differ.any(1)).all()
        torch.testing.assert_close(1 - differ.double().mean((1, 2)), mixed.plans[0].weight)
        assert 0 < differ.double().mean() < 1


def test_of_lengths_only_patches_that_both_have_are_replaced():
    x, lengths = noise(20, 3, 30), torch.randint(1, 31, (20,), generator=seeded())
    mixed = HiddenPatchMix()(x, lengths=lengths, generator=seeded())
    plan = mixed.plans[0]
    differ = replaced(mixed.x, x, x, plan)
    for i, j in enumerate(plan.partner.tolist()):
        assert not differ[i, min(int(lengths[i]), int(lengths[j])) :].any()
        assert 1 - int(differ[i].sum()) / int(lengths[i]) == pytest.approx(float(plan.weight[i]))


def test_behind_the_embedding_of_a_transformer_positions_stay():
    """What the blocks see is each patch at its own position, of one of the two clips."""
    net, spec, seen = Transformer(), noise(6, 1, 16, 24), []
    net.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    net(spec)
    mixer = HiddenPatchMix(num_classes=3)
    with manifold_mixup(net, "patches", mixer, target=torch.arange(6) % 3, generator=seeded()) as hidden:
        logits = net(spec)
    plain, mixed = ((tokens[:, 1:] - net.positions[:, 1:]).transpose(1, 2) for tokens in seen)
    plan = hidden.plan
    mine, theirs = (torch.isclose(mixed, other, atol=1e-6).all(1) for other in (plain, plain[plan.partner]))
    assert (mine | theirs).all()
    torch.testing.assert_close(mine.double().mean(1), plan.weight)
    nn.functional.cross_entropy(logits, hidden.target).backward()
    assert net.patches.weight.grad.isfinite().all()


def test_wrong_arguments():
    x = noise(4, 3, 12)
    for mixer, states, message in [
        (HiddenPatchMix("column"), x, "grid must be given for kind='column'"),
        (HiddenPatchMix(grid=(3, 5)), x, r"grid must be of as many patches as x .* class tokens"),
        (HiddenPatchMix(), x[:, 0], r"x must be hidden states of patches .* time_axis=1"),
        (HiddenPatchMix(), torch.zeros(2, 1, 20000), "x must be of at most 16384 patches"),
    ]:
        with pytest.raises(ValueError, match=message):
            mixer(states)
    with pytest.raises(ValueError, match="lengths must be left out for columns"):
        HiddenPatchMix("column", grid=(3, 4))(x, lengths=torch.tensor([12, 3, 4, 5]))
    with pytest.raises(ValueError, match="grid must be two whole numbers"):
        HiddenPatchMix(grid=3)
    with pytest.raises(ValueError, match="kind must be one of patch, column"):
        HiddenPatchMix("columns")
