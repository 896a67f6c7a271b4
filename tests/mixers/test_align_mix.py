import pytest
import torch
from sounds import noise, seeded

from audiomix import AlignMix, AlignPlan, Plan, alignmix, sinkhorn
from audiomix.mixers.align_mix import transport_frames
from audiomix.targets.frames import mix_frames

CELLS, WIDTH = 8, 5


def shuffled(seed=0, *, cells=CELLS, width=WIDTH):
    """A spectrogram, and the same with its cells of time in another order."""
    first = noise(1, 1, 12, cells * width, seed=seed) * 10 - 50
    first = first + 20 * noise(1, 1, 12, cells, seed=seed + 50).repeat_interleave(width, -1)  # cells of their own
    order = torch.randperm(cells, generator=seeded(seed + 1))
    second = first.unflatten(-1, (cells, width))[..., order, :].flatten(-2)
    return torch.cat([first, second]), order


@pytest.mark.parametrize("shape", [(5, 16, 16), (3, 7, 20), (2, 1, 1), (4, 20, 3)])
def test_sinkhorn_has_equal_marginals(shape):
    cost = noise(*shape, seed=2).double().square() * 2
    found = sinkhorn(cost, tolerance=1e-9, iterations=5000)
    _, n, m = shape
    torch.testing.assert_close(found.sum(2), torch.full(shape[:2], 1 / n).double())
    torch.testing.assert_close(found.sum(1), torch.full((shape[0], m), 1 / m).double(), atol=1e-9, rtol=1e-7)
    early = sinkhorn(cost)
    torch.testing.assert_close(early.sum(2), torch.full(shape[:2], 1 / n).double())  # rows are exact at any time
    assert (early.sum(1) * m - 1).abs().max() < 0.02


def test_sinkhorn_of_alike_places_is_uniform_and_of_a_small_epsilon_a_permutation():
    torch.testing.assert_close(sinkhorn(torch.full((1, 4, 4), 3.0)), torch.full((1, 4, 4), 1 / 16))
    points, order = torch.arange(6.0)[:, None], torch.tensor([3, 0, 5, 1, 4, 2])
    cost = torch.cdist(points, points[order]).square()[None]
    torch.testing.assert_close(sinkhorn(cost, epsilon=0.01)[0] * 6, torch.eye(6)[order].T, atol=1e-6, rtol=0)


def test_no_cost_is_too_large():
    """exp(-cost / epsilon) of features that are not scaled is 0 everywhere: rows would be 0 / 0."""
    found = sinkhorn(noise(2, 9, 9).double().square() * 1e4)
    assert found.isfinite().all()
    torch.testing.assert_close(found.sum(2), torch.full((2, 9), 1 / 9).double())


@pytest.mark.parametrize("seed", range(4))
def test_a_shuffled_copy_is_put_in_order_again(seed):
    x, order = shuffled(seed)
    mixed = AlignMix(cells=CELLS, time_of="original", epsilon=0.02)(x, generator=seeded(seed))
    torch.testing.assert_close(mixed.x, x, atol=1e-2, rtol=0)  # each clip, whatever the weight
    back = mixed.plans[0].transport[0]
    torch.testing.assert_close(back.argmax(0), order)
    theirs = AlignMix(cells=CELLS, time_of="partner", epsilon=0.02)(x, generator=seeded(seed))
    mixed_rows = theirs.plans[0].mixed
    torch.testing.assert_close(theirs.x[mixed_rows], x.flip(0)[mixed_rows], atol=1e-2, rtol=0)


def test_whose_time_it_is_is_a_fair_coin():
    x = noise(400, 1, 4, 16)
    plan = AlignMix(cells=4)(x, generator=seeded()).plans[0]
    assert abs(int(plan.moves_partner.sum()) - 200) < 4 * (400 / 4) ** 0.5
    assert {plan.describe(i)["time_of"] for i in range(400)} == {"original", "partner"}


def test_the_equation():
    x, _ = shuffled(3)
    plan = AlignMix(cells=CELLS)(x, generator=seeded(4)).plans[0]
    for moves in (True, False):
        moved = torch.full((2,), moves)
        plan = AlignPlan(plan.partner, plan.weight, transport=plan.transport, moves_partner=moved)
        got = alignmix(x.double(), plan)
        for i, j in enumerate(plan.partner.tolist()):
            w, matrix = plan.weight[i], torch.kron(plan.transport[i], torch.eye(WIDTH).double())
            own, theirs = x[i].double(), x[j].double()
            expected = w * own + (1 - w) * theirs @ matrix.T if moves else w * own @ matrix.T + (1 - w) * theirs
            torch.testing.assert_close(got[i], expected)


@pytest.mark.parametrize("cells", [1, 2, 7, 16, 40])
def test_cells_that_stay_leave_every_frame_in_its_place(cells):
    for size in (1, 2, 5, 16, 17, 31, 100, 431):
        x = torch.arange(size, dtype=torch.float64).expand(3, 2, size)
        still = torch.eye(cells, dtype=torch.float64).expand(3, cells, cells)
        torch.testing.assert_close(transport_frames(x, still), x)
        for end in {1, size // 2 or 1, size}:
            ends = torch.full((3,), end / size, dtype=torch.float64)
            torch.testing.assert_close(transport_frames(x, still, ends, ends)[..., :end], x[..., :end])


def test_level_offset_and_colour_do_not_decide():
    x, _ = shuffled(5)
    mixer = AlignMix(cells=CELLS)
    plain = mixer(x, generator=seeded()).plans[0].transport
    colour = torch.linspace(-20, 20, 12)[:, None]
    for changed in (x - 60, x * 0.05, x + colour, x.expand(-1, 2, -1, -1)):
        other = mixer(changed, generator=seeded()).plans[0].transport
        torch.testing.assert_close(other, plain, atol=1e-3, rtol=0)


def test_frame_labels_go_where_their_frames_go():
    x, _ = shuffled(9)
    marks = torch.zeros(2, 2, CELLS * WIDTH)
    loudest = x.mean(2)[:, 0].unflatten(-1, (CELLS, WIDTH)).mean(-1).argmax(-1)
    assert loudest[0] != loudest[1]
    for i, cell in enumerate(loudest.tolist()):
        marks[i, i, cell * WIDTH : (cell + 1) * WIDTH] = 1
    for whose in ("original", "partner"):
        mixed = AlignMix(cells=CELLS, time_of=whose, epsilon=0.02)(x, marks, generator=seeded(2))
        plan = mixed.plans[0]
        for i, j in enumerate(plan.partner.tolist()):
            at = int(loudest[i if whose == "original" else j]) * WIDTH + 2
            w = float(plan.weight[i])
            assert mixed.target[i, [i, j], at].tolist() == pytest.approx([w, 1 - w], abs=1e-2)
        torch.testing.assert_close(mix_frames(marks, Plan.from_json(plan.to_json())), mixed.target)
        wide = mix_frames(marks.repeat_interleave(3, -1), plan)  # at another frame rate
        torch.testing.assert_close(wide[..., 1::3], mixed.target)


def test_a_partner_of_another_length_covers_the_whole_original():
    """Each is divided by its own valid part: the weight is what was drawn."""
    x, _ = shuffled(7)
    short, lengths = torch.full((2, 1, 12, 40), torch.nan), torch.tensor([40, 20])
    short[0], short[1, ..., :20] = x[0], x[0, ..., ::2]  # twice as fast
    for whose in ("original", "partner"):
        mixer = AlignMix(cells=4, time_of=whose, num_classes=2)
        mixed = mixer(short, torch.tensor([0, 1]), lengths=lengths, generator=seeded(1))
        plan, plain = mixed.plans[0], mixer(x, generator=seeded(1)).plans[0]
        torch.testing.assert_close(plan.weight, plain.weight)
        assert (mixed.target.diagonal().double() - plan.weight).abs().max() < 1e-6
        assert mixed.x[0].isfinite().all()
        assert mixed.x[1, ..., :20].isfinite().all()
        assert mixed.lengths.tolist() == [40, 20]
        assert (mixed.x[0] != short[0]).any(1)[0, 21::2].all()  # behind the partner's last frame, too


def test_a_second_batch_may_be_longer_or_shorter():
    x, other = noise(4, 1, 12, 40), noise(3, 1, 12, 30)
    for whose in ("original", "partner"):
        mixer = AlignMix(cells=5, time_of=whose)
        mixed = mixer(x, other=other, generator=seeded())
        assert (mixed.x != x).any(2).all()
        longer = mixer(x, other=torch.cat([other, other], -1), generator=seeded())
        assert longer.plans[0].ends is None
        cut = mixer(x, other=torch.cat([other, other], -1)[..., :40], generator=seeded())
        assert torch.equal(longer.x, cut.x)


def test_nothing_valid_is_nothing_to_align_and_the_plan_says_why():
    x, lengths = noise(4, 1, 12, 40), torch.tensor([40, 0, 30, 20])
    x[1] = torch.nan
    mixed = AlignMix(cells=5)(x, lengths=lengths, generator=seeded())
    plan = mixed.plans[0]
    lacking = (lengths == 0) | (lengths[plan.partner] == 0)
    assert [bool(text) for text in plan.why] == lacking.tolist()
    assert (plan.weight[lacking] == 1).all()
    assert "no valid frame" in plan.why[1]
    assert mixed.x[[0, 2, 3]].isnan().sum() == 0


def test_sounds_that_do_not_change_are_finite_and_stay():
    """All features are equal, and zero: every alignment is as good."""
    x = noise(4, 1, 12, 1).expand(4, 1, 12, 40) * 10 - 50
    for clips in (x, torch.zeros(4, 1, 12, 40), torch.full((4, 1, 12, 40), -100.0)):
        leaf = clips.clone().requires_grad_()
        mixed = AlignMix(cells=5)(leaf, generator=seeded())
        plan = mixed.plans[0]
        torch.testing.assert_close(plan.transport, torch.full((4, 5, 5), 0.2).double())
        w = plan.weight.float().view(4, 1, 1, 1)
        torch.testing.assert_close(mixed.x, w * clips + (1 - w) * clips[plan.partner])
        mixed.x.sum().backward()
        assert leaf.grad.isfinite().all()


def test_gradients_reach_both_clips_and_not_the_transport():
    x = noise(2, 1, 6, 20).requires_grad_()
    mixed = AlignMix(cells=4)(x, generator=seeded(3))
    w = mixed.plans[0].weight
    (gradient,) = torch.autograd.grad(mixed.x[0].sum(), x)
    # linear in both: the sums of the gradients are the shares; by the transport's rows for the one that stands still
    assert gradient[0].sum().item() == pytest.approx(w[0].item() * 120, rel=0.02)
    assert gradient[1].sum().item() == pytest.approx((1 - w[0].item()) * 120, rel=0.02)


def test_feature_maps_of_a_network_are_taken_and_f_is_not_n():
    maps = noise(3, 16, 4, 25)
    mixed = AlignMix(cells=5)(maps, generator=seeded())
    assert mixed.x.shape == maps.shape
    turned = AlignMix(cells=5, time_axis=-2)(maps.mT, generator=seeded())
    torch.testing.assert_close(turned.x, mixed.x.mT)


def test_half_precision_is_mixed_in_float32():
    x, _ = shuffled(8)
    for dtype in (torch.float16, torch.bfloat16):
        half = x.to(dtype)
        mixed = AlignMix(cells=CELLS)(half, generator=seeded())
        exact = AlignMix(cells=CELLS)(half.float(), generator=seeded())
        torch.testing.assert_close(mixed.plans[0].transport, exact.plans[0].transport)
        torch.testing.assert_close(mixed.x, exact.x.to(dtype))


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"x must be spectrograms .* a waveform\? align after the spectrogram"):
        AlignMix()(noise(4, 1000))
    with pytest.raises(ValueError, match="time_of must be one of either, original, partner"):
        AlignMix(time_of="own")
    with pytest.raises(ValueError, match="cells must be an integer of at least 1"):
        AlignMix(cells=0)
    with pytest.raises(ValueError, match=r"epsilon must be a number in \[0\.001"):
        AlignMix(epsilon=0)
    one = torch.tensor([0.5]).double()
    with pytest.raises(ValueError, match=r"transport must be float64 of shape \(1, 3, 3\)"):
        AlignPlan(torch.tensor([0]), one, transport=torch.zeros(1, 2, 3).double(), moves_partner=torch.tensor([True]))
