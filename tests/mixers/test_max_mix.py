"""MaxMix: the louder of two in each cell, and the labels of both."""

import pytest
import torch
from sounds import noise, seeded

from audiomix import MaxMix, Plan
from audiomix.mixers.max_mix import max_mix


def test_each_cell_is_the_louder_one_and_the_weight_is_the_share_of_cells_kept():
    spec, label = noise(20, 2, 24, 37) - 50, torch.arange(20)
    for rule in ("union", "linear"):
        x, target, (plan,), _ = MaxMix(num_classes=20, rule=rule)(spec, label, generator=seeded())
        assert torch.equal(x, torch.maximum(spec, spec[plan.partner]))
        kept = (spec >= spec[plan.partner]).double().mean((1, 2, 3))
        torch.testing.assert_close(plan.weight, kept)
        both = torch.eye(20)[label] + torch.eye(20)[plan.partner]
        linear = torch.eye(20) * plan.weight[:, None] + torch.eye(20)[plan.partner] * (1 - plan.weight)[:, None]
        torch.testing.assert_close(target, both if rule == "union" else linear.float())


def test_the_maximum_is_at_most_3_db_below_the_sum_of_powers():
    spec = noise(6, 1, 24, 37) * 20
    x, _, (plan,), _ = MaxMix()(spec, generator=seeded())
    total = 10 * torch.log10(10 ** (spec / 10) + 10 ** (spec[plan.partner] / 10))
    assert ((total - x) >= -1e-4).all()
    assert ((total - x) <= 3.0104).all()


def test_a_partner_that_is_nowhere_louder_is_not_there():
    spec = torch.stack([torch.full((1, 8, 20), level) for level in (0.0, -20.0, -40.0)])
    mixed = MaxMix(num_classes=3)(spec, torch.arange(3), generator=seeded())
    plan = mixed.plans[0]
    loud = plan.partner < torch.arange(3)  # these partners are the louder ones, everywhere
    assert torch.equal(plan.weight, (~loud).double())
    assert [why == "the partner is nowhere louder" for why in plan.why] == (~loud).tolist()
    assert all(plan.sources(i) == ([int(plan.partner[i])] if loud[i] else []) for i in range(3))
    assert torch.equal(mixed.target.sum(1), torch.ones(3))
    assert torch.equal(mixed.target.argmax(1), torch.where(loud, plan.partner, torch.arange(3)))


def test_regions_stay_as_they_are_do_not_overlap_and_lie_anywhere():
    spec, label = noise(400, 1, 8, 64), torch.zeros(400, 2, 64)
    label[::2, 0], label[1::2, 1] = 1, 1
    mixed = MaxMix(regions=2)(spec, label, generator=seeded())
    plan = mixed.plans[0]
    edges = (plan.regions * 64).round().long()
    assert (edges.diff() == 15).all()  # 240 of 1024
    assert (edges[:, 1, 0] >= edges[:, 0, 1]).all()
    assert edges.min() >= 0
    assert edges.max() <= 64
    assert len(edges[:, 0, 0].unique()) > 25  # one pair of regions for the whole batch is a fault of the reference code
    for i in range(400):
        free = torch.ones(64, dtype=torch.bool)
        for start, stop in edges[i].tolist():
            free[start:stop] = False
        j = int(plan.partner[i])
        expected = torch.where(free, torch.maximum(spec[i], spec[j]), spec[i])
        assert torch.equal(mixed.x[i], expected)
        lost = (spec[j] > spec[i])[..., free].double().mean() * 34 / 64
        assert plan.weight[i].item() == pytest.approx(1 - lost.item(), abs=1e-9)
        assert torch.equal(mixed.target[i][:, ~free], label[i][:, ~free])  # and so do the frame labels
        torch.testing.assert_close(mixed.target[i][:, free], torch.maximum(label[i], label[j])[:, free])


def test_only_what_is_valid_of_both_counts():
    spec, other = noise(30, 1, 8, 40), noise(3, 1, 8, 70, seed=2) + 100
    lengths, theirs = torch.tensor([40, 25, 3] * 10), torch.tensor([70, 10, 0])
    for share in ("louder", "equal"):
        mixed = MaxMix(share)(spec, other=other, lengths=lengths, other_lengths=theirs, generator=seeded())
        plan = Plan.from_json(mixed.plans[0].to_json())
        for i, j in enumerate(plan.partner.tolist()):
            end = min(int(lengths[i]), int(theirs[j]))
            assert torch.equal(mixed.x[i][..., :end], other[j][..., :end])
            assert torch.equal(mixed.x[i][..., end:], spec[i][..., end:])
            lost = end / int(lengths[i]) * (1.0 if share == "louder" else 0.5)
            assert plan.weight[i].item() == pytest.approx(1 - lost)


def test_by_row_and_by_mask_agree_and_gradients_go_to_the_louder():
    spec = noise(10, 2, 8, 33)
    for mixer in (MaxMix(), MaxMix(regions=2, rule="linear")):
        mixed = mixer(spec, generator=seeded())
        leaf = spec.clone().requires_grad_()
        followed = mixer(leaf, generator=seeded())
        assert followed.plans[0].to_json() == mixed.plans[0].to_json()
        assert torch.equal(followed.x.detach(), mixed.x)
        followed.x.sum().backward()
        assert leaf.grad.sum() == 10 * 2 * 8 * 33  # each cell of a mix comes from one sound
        assert torch.equal(max_mix(spec, mixed.plans[0]), mixed.x)
    silent = torch.full((3, 1, 8, 20), -torch.inf).requires_grad_()
    quiet = MaxMix("equal")(silent, generator=seeded())
    quiet.x.clamp(min=-9).sum().backward()
    assert silent.grad.isfinite().all()


def test_wrong_options_are_named():
    with pytest.raises(ValueError, match=r"regions must be at most 1 with region=0.6, got 2"):
        MaxMix(regions=2, region=0.6)
    with pytest.raises(ValueError, match="share must be one of louder, equal"):
        MaxMix("half")
