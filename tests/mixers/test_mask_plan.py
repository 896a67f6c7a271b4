"""Masks over cells: one plan for samples, frames and labels, and the weight is the share of the mask."""

import pytest
import torch
from sounds import noise, seeded

from audiomix import Clips, Plan
from audiomix.mixers._mask_plan import MOST_CELLS, CellPlan, cell_areas, mask_mix, plan_mask
from audiomix.parts import mix_of_parts
from audiomix.targets.frames import mix_frames

WAVE, SPEC = (2, 1003), (1, 24, 37)
LENGTHS = torch.tensor([1.0, 0.8, 0.3, 0.03, 0.0, 1.0])
PARTNER = torch.tensor([1, 2, 3, 0, 5, 4])


def draw_mask(rows, *, hard, count=11):
    mask = torch.rand(6, rows, count, generator=seeded(), dtype=torch.float64)
    return (mask > 0.5).to(torch.uint8) if hard else mask


def make_plan(own, source, rows=1, *, hard=True, fade=0.0):
    height = 0.21 if rows > 1 else 1.0
    return plan_mask(own, source, PARTNER, draw_mask(rows, hard=hard), width=0.1, height=height, fade=fade)


CASES = [
    (shape, rows, hard, fade)
    for shape, rows in ((WAVE, 1), ((1003,), 1), (SPEC, 1), (SPEC, 5))
    for hard in (True, False)
    for fade in (0.0, 0.03, 0.1)
]


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize(("shape", "rows", "hard", "fade"), CASES)
def test_the_weight_is_the_mean_of_what_is_kept(shape, rows, hard, fade, ragged):
    """Ones over zeros: what is left of the ones is the mask itself."""
    ones, size = torch.ones(6, *shape, dtype=torch.float64), shape[-1]
    lengths = (LENGTHS * size).long() if ragged else None
    own = Clips(ones, lengths)
    plan = Plan.from_json(make_plan(own, own, rows, hard=hard, fade=fade).to_json())
    kept = mask_mix(ones, plan, other=torch.zeros_like(ones))
    for i in range(6):
        end = size if lengths is None else int(lengths[i])
        mean = kept[i, ..., :end].mean().item() if end else 1.0
        assert plan.weight[i].item() == pytest.approx(mean, abs=1e-12 if hard and not fade else 1e-7)
        assert (kept[i, ..., end:] == 1).all()  # padding is the original's own
        if lengths is not None and PARTNER[i] != i:
            there = int(lengths[PARTNER[i]])
            assert (kept[i, ..., there:] == 1).all()  # and so is what lies behind the partner's end
        if rows == 1 and end:
            assert plan.share(size)[i, :end].mean().item() == pytest.approx(plan.weight[i].item(), abs=1e-9)
    assert plan.share_of == ("area" if hard and rows == 1 else None)


@pytest.mark.parametrize(("shape", "rows", "hard", "fade"), CASES)
def test_rows_and_the_whole_batch_give_the_same(shape, rows, hard, fade):
    x, other = noise(6, *shape), noise(6, *shape, seed=2)
    own, source = Clips(x), Clips(other, (LENGTHS * shape[-1]).long())
    plan = make_plan(own, source, rows, hard=hard, fade=fade)
    by_row = mask_mix(x, plan, other=other)
    whole = mask_mix(x.clone().requires_grad_(), plan, other=other)
    torch.testing.assert_close(by_row, whole.detach(), atol=1e-6, rtol=0)
    out = torch.full_like(x, torch.nan)
    assert mask_mix(x, plan, other=other, out=out) is out
    assert torch.equal(out, by_row)
    for i in range(6):
        torch.testing.assert_close(mix_of_parts(plan, i, x[i], other), by_row[i], atol=1e-5, rtol=0)


@pytest.mark.parametrize("rows", [1, 5])
def test_a_hard_mask_copies_bits(rows):
    spec = noise(6, *SPEC)
    spec[0, 0, :3] = -torch.inf  # silence in decibels
    own = Clips(spec)
    for soft in (False, True):
        plan = make_plan(own, own, rows, hard=not soft)
        mixed = mask_mix(spec, plan)
        for i, j in enumerate(PARTNER.tolist()):
            own_bits = mixed[i] == spec[i]
            if not soft:
                assert (own_bits | (mixed[i] == spec[j])).all()
    alone = CellPlan.identity(6)
    assert torch.equal(mask_mix(spec, alone), spec)
    assert torch.equal(mask_mix(spec.requires_grad_(), alone), spec)


def test_one_plan_masks_samples_frames_and_labels_alike():
    wave = torch.zeros(6, 1, 2000) + torch.arange(6.0).view(6, 1, 1)
    own = Clips(wave)
    plan = plan_mask(own, own, PARTNER, draw_mask(1, hard=True, count=20), width=0.05)
    mixed = mask_mix(wave, plan)
    labels = mix_frames(torch.eye(6)[:, :, None].repeat(1, 1, 100), plan)
    for i in range(6):
        heard = mixed[i, 0, 10::20].long()  # the centre of each frame
        assert torch.equal(labels[i].argmax(0), heard)
        assert torch.equal(labels[i].sum(0), torch.ones(100))
    frames = mask_mix(wave[..., :40], plan)
    assert torch.equal(frames[:, 0], mixed[:, 0, 25::50])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_the_exact_mix_rounded(dtype):
    x = noise(6, *WAVE).to(dtype)
    own = Clips(x)
    plan = make_plan(own, own, hard=False, fade=0.1)
    exact = mask_mix(x.double(), plan)
    torch.testing.assert_close(mask_mix(x, plan), exact.to(dtype), atol=0.004, rtol=torch.finfo(dtype).eps)


def test_the_fade_into_the_original_ends_before_the_partner_does():
    """No click where a partner is shorter: its last cell is left to the original."""
    ones, lengths = torch.ones(2, 1, 1000), torch.tensor([1000, 550])
    own = Clips(ones, lengths)
    mask = torch.zeros(2, 1, 10, dtype=torch.float64)
    plan = plan_mask(own, own, torch.tensor([1, 0]), mask, width=0.1, fade=0.1)
    areas = cell_areas(own, own, torch.tensor([1, 0]), 10, 0.1, 0.1)
    assert areas[0, 5:].tolist() == [0] * 5
    kept = mask_mix(ones, plan, other=-ones)
    assert kept[0, 0].diff().abs().max() < 2 / 100 * 1.01
    assert (kept[0, 0, 550:] == 1).all()
    assert (kept[1, 0, :550] == -1).all()  # its own end comes first: nothing to fade into


def test_a_plan_is_data_of_bounded_size():
    plan = CellPlan.identity(2)
    zeros = torch.zeros(2, 128, 128, dtype=torch.uint8)
    largest = CellPlan(plan.partner, plan.weight, mask=zeros, covered=plan.covered, width=1 / 128, height=1 / 128)
    assert len(largest.rows(torch.tensor([0])).to_json()) < 3 * MOST_CELLS + 1000
    with pytest.raises(ValueError, match="mask must be of 1 to 16384 cells a clip, got .*larger cells"):
        CellPlan(plan.partner, plan.weight, mask=torch.zeros(2, 1, 16385).double(), covered=plan.covered)
    with pytest.raises(ValueError, match=r"mask must be in \[0, 1\], got 0\.\.2"):
        CellPlan(plan.partner, plan.weight, mask=zeros + 2 * torch.eye(128).byte(), covered=plan.covered)
    with pytest.raises(ValueError, match="mask must be float64 of shape"):
        CellPlan(plan.partner, plan.weight, mask=zeros.float(), covered=plan.covered)
    with pytest.raises(ValueError, match=r"fade must be a number in \[0, 0\.5\], got 0\.6"):
        CellPlan(plan.partner, plan.weight, mask=zeros, covered=plan.covered, width=0.5, fade=0.6)
