import pytest
import torch
from sounds import noise, seeded

from audiomix import CutMix, MixUp, Plan, SNRMix
from audiomix.plan_sources import SourcesPlan
from audiomix.targets.frames import mix_frames
from audiomix.targets.labels import mix_labels

PLAN = Plan(torch.tensor([1, 0, 2]), torch.tensor([0.75, 0.25, 1.0]).double())


def test_soft_cross_entropy_is_the_mix_of_the_two():
    """CE(z, w y + (1 - w) y') = w CE(z, y) + (1 - w) CE(z, y')."""
    logits, labels = noise(3, 5), torch.tensor([4, 0, 2])
    ce = torch.nn.functional.cross_entropy
    soft = ce(logits, mix_labels(labels, PLAN, num_classes=5), reduction="none")
    own, other = ce(logits, labels, reduction="none"), ce(logits, labels[PLAN.partner], reduction="none")
    torch.testing.assert_close(soft, (PLAN.weight * own + (1 - PLAN.weight) * other).float())


def test_rules_on_multi_hot():
    y = torch.tensor([[1.0, 1, 0], [0, 1, 1], [1, 0, 0]])
    assert mix_labels(y, PLAN).tolist() == [[0.75, 1, 0.25], [0.75, 1, 0.25], [1, 0, 0]]
    assert mix_labels(y, PLAN, rule="union").tolist() == [[1, 1, 1], [1, 1, 1], [1, 0, 0]]
    assert mix_labels(y, PLAN, rule="dominant").tolist() == [[1, 1, 0], [1, 1, 0], [1, 0, 0]]


def test_union_of_an_unmixed_clip_is_its_own():
    plan = Plan(torch.tensor([1, 0]), torch.tensor([1.0, 0.0]).double())
    assert mix_labels(torch.eye(2), plan, rule="union").tolist() == [[1, 0], [1, 0]]


def test_regression_values_are_interpolated():
    assert mix_labels(torch.tensor([[120.0], [80.0], [100.0]]), PLAN)[:, 0].tolist() == [110, 110, 100]


def test_whole_number_multi_hot_is_taken():
    assert mix_labels(torch.tensor([[1, 0], [0, 1], [1, 1]]), PLAN).tolist() == [[0.75, 0.25], [0.75, 0.25], [1, 1]]


def test_frame_labels_follow_a_global_mix():
    y = torch.rand(3, 4, 10, generator=seeded())
    w = PLAN.weight[:, None, None].float()
    torch.testing.assert_close(mix_frames(y, PLAN), w * y + (1 - w) * y[PLAN.partner])


def test_frame_labels_come_back_from_every_mixer():
    wave, frames = noise(4, 1, 1000), torch.eye(4)[:, :, None].repeat(1, 1, 25)
    for mixer in (MixUp(), CutMix(), SNRMix(), MixUp().eval()):
        got = mixer(wave, frames, generator=seeded()).target
        assert got.shape == (4, 4, 25)
        torch.testing.assert_close(got.sum(1), torch.ones(4, 25))


@pytest.mark.parametrize("domain", ["wave", "as_is"])
def test_frame_labels_agree_with_the_sound_where_a_partner_is_shorter(domain, spelled):
    """Clip i sounds in channel i alone: the frames of the mix spell their own label."""
    spec, lengths = spelled[:, None], torch.tensor([100, 20, 70, 50, 100, 10, 90, 30])
    frames = spelled * (torch.arange(100) < lengths[:, None, None])
    mixed = MixUp(domain=domain)(spec, frames, lengths=lengths, generator=seeded())
    inside = (torch.arange(100) < lengths[:, None, None]).expand(8, 8, 100)
    heard = mixed.x[:, 0] / mixed.x[:, 0].sum(1, keepdim=True)
    torch.testing.assert_close(mixed.target[inside], heard[inside], atol=1e-6, rtol=0)
    weight = mixed.plans[0].weight
    assert (weight >= mixed.plans[0].gains()[0] - 1e-9).all()


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        (torch.tensor([0, 1, 2]), {}, "pass num_classes=K"),
        (torch.tensor([0, 1, 3]), {"num_classes": 3}, r"class ids in 0\.\.2, got 0\.\.3"),
        (torch.tensor([0.0, 1, 2]), {}, r"target must be of shape \(B, K\).*class ids\? target\.long\(\)"),
        (torch.eye(3), {"num_classes": 4}, r"of shape \(B, 4\), as num_classes says"),
        (torch.eye(4), {}, "of 3 items"),
        (torch.eye(3), {"rule": "lineer"}, "did you mean 'linear'"),
        (torch.eye(3), {"other": torch.ones(3, 5)}, "other_target must be of shape"),
    ],
)
def test_wrong_targets_are_named(target, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        mix_labels(target, PLAN, **options)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_class_ids_of_several_sources_in_every_default_dtype(dtype):
    partners = torch.tensor([[1, 2], [-1, -1], [0, -1]])
    shares = torch.tensor([[0.5, 0.25, 0.25], [1, 0, 0], [0.125, 0.875, 0]], dtype=torch.float64)
    plan = SourcesPlan.of(partners, shares, shares)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        mixed = mix_labels(torch.tensor([2, 0, 2]), plan, num_classes=3)
    finally:
        torch.set_default_dtype(before)
    assert mixed.dtype == dtype
    assert mixed.tolist() == [[0.25, 0, 0.75], [1, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize("ids", [[0, 3], [-1, 0]])
def test_class_ids_out_of_range_are_refused(ids):
    plan = Plan(torch.tensor([1, 0]), torch.tensor([0.75, 0.5], dtype=torch.float64))
    with pytest.raises(ValueError, match=r"target must be class ids in 0\.\.2"):
        mix_labels(torch.tensor(ids), plan, num_classes=3)
    with pytest.raises(ValueError, match=r"other_target must be class ids in 0\.\.2"):
        mix_labels(torch.tensor([0, 1]), plan, num_classes=3, other=torch.tensor(ids))
