"""Frame-level outputs of warped clips, put back in their places."""

import pytest
import torch
from sounds import noise, seeded

from audiomix import MixUp, OneOf, Pipeline, RandAugment, RandomField, SelfMix, TimeShift
from audiomix.audio import io
from audiomix.audio.stretch import warp
from audiomix.inference import average_frames, undo_flip, undo_plan, undo_roll, undo_shift, undo_stretch
from audiomix.inference.undo import Frames
from audiomix.transforms.time_shift import ShiftPlan

Y = torch.arange(1.0, 61.0).view(2, 3, 10)
FRAME = 441  # samples of 10 ms


def activity(wave, frame=FRAME):
    """Return the level of each frame of (T,) in dB, as (1, 1, N): what a detector of sound would follow."""
    power = wave[: len(wave) // frame * frame].view(-1, frame).square().mean(1)
    return (10 * (power + 1e-7).log10())[None, None]


@pytest.fixture
def clip(esc10):
    """A dog that barks several times, 44.1 kHz."""
    return io.read(esc10 / "audio" / "1-100032-A-0.ogg").samples[0]


def lag_of_frames(found, wanted, frame):
    """Return by how many frames the best match of `found` around a frame lies beside that frame."""
    width = 15
    piece = wanted[frame - width : frame + width + 1]
    errors = [(found[frame - width + k : frame + width + 1 + k] - piece).square().mean() for k in range(-6, 7)]
    return int(torch.stack(errors).argmin()) - 6


def onsets(curve, valid):
    """Return the loudest rises, away from the ends and from what is not valid."""
    rise = curve[2:] - curve[:-2]
    order = rise.argsort(descending=True).tolist()
    return [n for n in order[:12] if 25 <= n < len(curve) - 25 and bool(valid[n - 21 : n + 22].all())]


@pytest.mark.parametrize("shift", [0.0, 0.3, -0.2, 0.04, 1.0, -1.0])
@pytest.mark.parametrize("wrap", [False, True])
def test_a_shift_of_whole_frames_comes_back_exactly(shift, wrap):
    by = round(shift * 10)
    shifted = Y.roll(by, -1)
    if not wrap:
        shifted[..., : max(0, by)] = -7
        shifted[..., 10 + min(0, by) :] = -7
    found = undo_shift(shifted, shift, wrap=wrap)
    expected = torch.ones(10, dtype=torch.bool)
    if not wrap:
        expected[10 - max(0, by) :] = False
        expected[: max(0, -by)] = False
    assert torch.equal(found.valid, expected.expand(2, 1, 10))
    assert torch.equal(found.output, torch.where(found.valid, Y, 0))


def test_frames_of_a_centred_stft_are_a_hop_apart_and_one_more():
    """41 frames are 40 hops: half of the clip is 20 frames, and a flip turns frame n into frame 40 - n."""

    def levels(wave):
        return torch.stft(wave, 400, 160, window=torch.hann_window(400), return_complex=True).abs().sum(1)

    wave = noise(1, 40 * 160)
    said, shifted = levels(wave), levels(torch.nn.functional.pad(wave, (20 * 160, -20 * 160)))
    assert said.shape == (1, 41)
    found = undo_shift(shifted, 0.5 * 40 / 41)
    inside = slice(2, 18)  # away from both ends of what is heard
    assert bool(found.valid[:, inside].all())
    torch.testing.assert_close(found.output[:, inside], said[:, inside], rtol=1e-4, atol=1e-3)
    late = undo_shift(shifted, 0.5).output
    torch.testing.assert_close(late[:, inside], said[:, 3:19], rtol=1e-4, atol=1e-3)
    back = undo_flip(levels(wave.flip(-1))).output  # the centres are a sample beside those of the frames
    torch.testing.assert_close(back, said, rtol=5e-3, atol=1e-2)
    assert float((back[:, 1:] / said[:, :-1] - 1).abs().median()) > 0.02


def test_time_is_counted_as_in_streams():
    """Each frame is asked at its centre: what it reads is as often too early as too late."""
    times = (torch.arange(40.0) + 0.5)[None]  # of each frame of the result
    for speed in (0.8, 1.25, 2.0):
        found = undo_stretch(times, speed, size=30)
        error = (found.output - times[:, :30] / speed)[found.valid]
        assert float(error.abs().max()) <= 0.5 + 1e-4
        assert abs(float(error.mean())) < 0.15


def test_each_clip_has_its_own_shift_and_its_own_end():
    lengths = torch.tensor([10, 6])
    shifted = Y.clone()
    shifted[0] = Y[0].roll(2, -1)
    shifted[1, :, :6] = Y[1, :, :6].roll(-1, -1)
    found = undo_shift(shifted, torch.tensor([0.2, -0.1]), wrap=True, lengths=lengths)
    assert found.valid[:, 0].sum(1).tolist() == [10, 6]
    assert torch.equal(found.output, torch.where(found.valid, Y, 0))


def test_flips_come_back_exactly_within_the_clip():
    lengths = torch.tensor([10, 6])
    flipped = Y.clone()
    flipped[0] = Y[0].flip(-1)
    flipped[1, :, :6] = Y[1, :, :6].flip(-1)
    found = undo_flip(flipped, lengths=lengths)
    assert found.valid[:, 0].sum(1).tolist() == [10, 6]
    assert torch.equal(found.output, torch.where(found.valid, Y, 0))
    assert torch.equal(undo_flip(Y.flip(-2), "frequency").output, Y)


@pytest.mark.parametrize("bins", [0, 1, 2, -1, -2])
def test_a_roll_of_bins_comes_back_and_what_left_is_not_valid(bins):
    assert torch.equal(undo_roll(Y.roll(bins, -2), bins).output, Y)
    found = undo_roll(Y.roll(bins, -2), bins, wrap=False)
    kept = [0 <= row + bins < 3 for row in range(3)]
    assert found.valid[0, :, 0].tolist() == kept
    assert torch.equal(found.output, torch.where(found.valid, Y, 0))


@pytest.mark.parametrize("speed", [0.5, 0.8, 1.0, 1.3, 2.0])
def test_a_stretch_reads_the_frame_that_holds_the_centre(speed):
    stretched = torch.arange(40.0)[None, None]  # says at which frame of the stretched clip it stands
    found = undo_stretch(stretched, speed)
    for n in range(40):
        place = (n + 0.5) / speed
        assert bool(found.valid[0, 0, n]) == (place < 40)
        if place < 40:
            assert found.output[0, 0, n] == int(place)
    longer = undo_stretch(torch.arange(round(40 / speed) + 1.0)[None, None], speed, size=40)
    assert bool(longer.valid.all())


def test_a_stretch_knows_where_clips_end_and_where_they_were_cut():
    found = undo_stretch(Y, 0.5, lengths=torch.tensor([10, 4]), output_lengths=torch.tensor([6, 10]))
    assert found.valid[:, 0].sum(1).tolist() == [3, 4]  # frames 0 to 2 of 10 are heard in six at half the speed


def test_warps_are_undone_one_after_the_other_with_what_is_known():
    shifted = torch.zeros_like(Y)
    shifted[..., 3:] = Y[..., :-3]
    both = shifted.flip(-1)
    first = undo_flip(both)
    found = undo_shift(first.output, 0.3, valid=first.valid)
    assert found.valid[0, 0].tolist() == [True] * 7 + [False] * 3
    assert torch.equal(found.output, torch.where(found.valid, Y, 0))
    # the frames that are not known move along
    again = undo_shift(found.output, -0.2, valid=found.valid)
    assert again.valid[0, 0].tolist() == [False] * 2 + [True] * 7 + [False]
    rolled = undo_roll(Y.roll(1, -2), 1, valid=found.valid)
    assert torch.equal(rolled.valid, found.valid.expand(2, 3, 10))


@pytest.mark.parametrize("mode", ["roll", "fill"])
def test_real_sound_that_was_shifted_comes_back(clip, mode):
    plan = (shifted := TimeShift(0.4, mode=mode)(clip.expand(6, 1, -1), generator=seeded())).plans[0]
    wanted = activity(clip)[0, 0]
    for i in range(6):
        found = undo_plan(activity(shifted.x[i, 0]), plan.rows(torch.tensor([i])))
        places = onsets(wanted, found.valid[0, 0])
        assert len(places) >= 4
        assert all(abs(lag_of_frames(found.output[0, 0], wanted, n)) <= 1 for n in places)
        by_hand = undo_shift(activity(shifted.x[i, 0]), float(plan.offset[i]), wrap=mode == "roll")
        assert (by_hand.valid == found.valid).float().mean() > 0.995
        assert all(abs(lag_of_frames(by_hand.output[0, 0], wanted, n)) <= 1 for n in places)


@pytest.mark.parametrize("speed", [0.8, 1.25])
def test_real_sound_that_was_stretched_comes_back_within_a_frame(clip, speed):
    seconds = len(clip) / 44100
    stretched = warp(clip[None], 44100, [0.0, seconds], [0.0, seconds / speed])[0]
    wanted = activity(clip)[0, 0]
    found = undo_stretch(activity(stretched), speed, size=len(wanted))
    places = onsets(wanted, found.valid[0, 0])
    assert len(places) >= 4
    assert all(abs(lag_of_frames(found.output[0, 0], wanted, n)) <= 1 for n in places)
    # without the undo they do not
    still = torch.nn.functional.pad(activity(stretched)[0, 0], (0, len(wanted)))[: len(wanted)]
    assert any(abs(lag_of_frames(still, wanted, n)) > 1 for n in places)


def test_real_sound_that_was_flipped_comes_back(clip):
    whole = clip[: len(clip) // FRAME * FRAME]
    torch.testing.assert_close(undo_flip(activity(whole.flip(0))).output, activity(whole))


@pytest.mark.parametrize(
    "transform",
    [
        TimeShift(0.4),
        TimeShift(0.4, mode="fill"),
        RandomField("time_warp"),
        RandAugment(number=3, operations=["time_warp", "gain", "shift"], domain="spectrogram"),
        OneOf([TimeShift(0.3), RandomField("time_warp")]),
    ],
    ids=lambda t: repr(t)[:40],
)
def test_frame_labels_that_moved_with_the_sound_come_back(transform):
    """Whatever plan moves frames: a frame that says where it was comes back within one frame of there."""
    clips, size = 16, 120
    plan = transform(noise(clips, 1, 12, 480), generator=seeded(3)).plans[0]
    said = torch.arange(1.0, size + 1).expand(clips, 1, size)
    found = undo_plan(plan.move_frames(said), plan)
    error = (found.output - said).abs()[found.valid.expand(clips, 1, size)]
    assert bool((plan.move_frames(said) != said).any())
    assert float(error.max()) <= 1.0
    assert float(found.valid.float().mean()) > 0.5


@pytest.mark.parametrize("size", [1, 2, 13, 40])
def test_a_shift_by_any_part_of_a_frame_is_undone_by_as_many_frames_as_it_moved(size):
    """Steps without one at the centre of a frame are half a step off: a shift by 0.47 frames was undone by one."""
    offset = torch.arange(-200, 201, dtype=torch.float64) / 100 / size
    offset = offset[offset.abs() <= 1]
    plan = ShiftPlan.of(len(offset), offset=offset, valid=torch.ones_like(offset))
    said = torch.arange(1.0, size + 1).expand(len(offset), 1, size)
    assert torch.equal(undo_plan(plan.move_frames(said), plan).output, said)
    assert torch.equal(undo_shift(plan.move_frames(said), offset, wrap=True).output, said)


def test_a_plan_that_keeps_time_keeps_frames_and_one_that_mixes_them_is_refused():
    plan = MixUp()(noise(2, 1, 80)).plans[0]
    found = undo_plan(Y, plan)
    assert torch.equal(found.output, Y)
    assert found.valid.all()
    mixed = SelfMix()(noise(2, 1, 800), generator=seeded(5)).plans[0]
    with pytest.raises(ValueError, match=r"plan must be one that moves frames .* SelfPlan mixes frames"):
        undo_plan(Y, mixed)


def test_plans_of_a_pipeline_are_undone_from_the_last_on():
    mixed = Pipeline([TimeShift(0.3), TimeShift(0.2)])(noise(2, 1, 100), torch.tensor([0, 1]), generator=seeded(2))
    moved = Y
    for plan in mixed.plans:
        moved = plan.move_frames(moved)
    for plan in reversed(mixed.plans):
        moved = undo_plan(moved, plan).output
    assert torch.equal(moved, Y)


def test_the_loss_of_valid_frames_has_a_gradient_there_alone():
    output = Y.clone().requires_grad_()
    found = undo_shift(output, 0.4)
    loss = ((found.output - 1).square() * found.valid).sum() / found.valid.expand_as(Y).sum()
    loss.backward()
    assert bool((output.grad[..., :4] == 0).all())
    assert bool((output.grad[..., 4:] != 0).any(-1).all())


def test_the_average_counts_the_views_that_are_valid():
    views = [Frames(Y, torch.ones(2, 1, 10, dtype=torch.bool)), undo_shift(Y.roll(5, -1) + 2, 0.5)]
    found = average_frames(views)
    assert torch.equal(found.output[..., :5], Y[..., :5] + 1)
    assert torch.equal(found.output[..., 5:], Y[..., 5:])
    nothing = average_frames([undo_shift(Y, 1.0)])
    assert not nothing.valid.any()
    assert bool((nothing.output == 0).all())


def test_half_precision_is_kept_and_values_that_are_not_known_do_not_count():
    shifted = Y.half().roll(3, -1)
    shifted[..., :3] = torch.inf
    found = undo_shift(torch.where(torch.arange(10) < 3, torch.nan, shifted), 0.3)
    assert found.output.dtype == torch.float16
    assert found.output.isfinite().all()


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"shift must be a number in \[-1, 1\], got 3"):
        undo_shift(Y, 3.0)
    with pytest.raises(ValueError, match="shift must be a number, or one for each of 2 clips"):
        undo_shift(Y, torch.zeros(3))
    with pytest.raises(ValueError, match="speed must be a number in"):
        undo_stretch(Y, 0.0)
    with pytest.raises(ValueError, match="did you mean"):
        undo_flip(Y, "frequenzy")
    with pytest.raises(ValueError, match=r"output must be of shape \(B, ..., F, N\)"):
        undo_roll(Y[:, 0], 1)
    with pytest.raises(ValueError, match="bins must be fewer than the 3 bins"):
        undo_roll(Y, 3)
    with pytest.raises(ValueError, match="valid must be bool"):
        undo_shift(Y, 0.1, valid=torch.ones(2, 1, 10))
    with pytest.raises(ValueError, match="valid must be bool"):
        undo_roll(Y, 1, valid=torch.ones(2, 1, 10))
    with pytest.raises(ValueError, match="valid must be bool"):
        undo_flip(Y, "frequency", valid=torch.ones(2, 1, 9, dtype=torch.bool))
    with pytest.raises(ValueError, match="views must be one or more, got none"):
        average_frames([])
    with pytest.raises(TypeError, match="output must be"):
        undo_shift(torch.ones(2, 10, dtype=torch.long), 0.1)
