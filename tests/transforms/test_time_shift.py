"""Time shifts, judged from where a click lies, in the sound and in every stream that follows."""

import math

import pytest
import torch
from sounds import noise, seeded

from audiomix import MixUp, OneOf, Pipeline, Plan, ShiftPlan, TimeShift, time_shift
from audiomix.targets.frames import mix_frames


def plan_of(*frames, size, valid=None, mode="roll"):
    offset = torch.tensor(frames, dtype=torch.float64) / size
    ends = torch.tensor([size] * len(frames) if valid is None else valid, dtype=torch.float64) / size
    return ShiftPlan.of(len(frames), offset=offset, valid=ends, mode=mode)


def click(size, *places):
    x = torch.zeros(len(places), 1, size)
    x[torch.arange(len(places)), 0, torch.tensor(places)] = 1
    return x


@pytest.mark.parametrize("mode", ["roll", "fill"])
@pytest.mark.parametrize("grad", [False, True])  # slices, and the indices that a device or a gradient needs
def test_a_click_lies_where_the_plan_says(mode, grad):
    x = click(20, 5, 5, 18, 2, 7).requires_grad_(grad)
    plan = plan_of(4, -4, 6, -9, 0, size=20, valid=[20, 10, 20, 12, 8], mode=mode)
    moved = time_shift(x, plan).detach()[:, 0]
    places = [row.nonzero().flatten().tolist() for row in moved]
    rolled = [[9], [1], [4], [5], [7]]  # modulo the valid part: 24 - 20, and 2 - 9 + 12
    assert places == (rolled if mode == "roll" else [[9], [1], [], [], [7]])


@pytest.mark.parametrize("grad", [False, True])
def test_what_comes_in_is_the_fill_and_padding_stays(grad):
    x = noise(3, 2, 4, 10).requires_grad_(grad)
    moved = time_shift(x, plan_of(3, -2, 30, size=10, valid=[8, 8, 6], mode="fill"), fill=-100.0)
    assert torch.equal(moved[0, ..., :3], torch.full((2, 4, 3), -100.0))
    assert torch.equal(moved[0, ..., 3:8], x[0, ..., :5])
    assert torch.equal(moved[1, ..., :6], x[1, ..., 2:8])
    assert torch.equal(moved[1, ..., 6:8], torch.full((2, 4, 2), -100.0))
    assert (moved[2, ..., :6] == -100).all()
    for i, end in enumerate((8, 8, 6)):
        assert torch.equal(moved[i, ..., end:], x[i, ..., end:])


@pytest.mark.parametrize("shift", [-640, -9, -8, -7, -6, -5, -4, -3, -1, 0, 1, 3, 4, 5, 6, 7, 8, 9, 640])
def test_frame_labels_follow_at_their_own_rate(shift):
    """The sound has four frames to one of the label, as in DESED's baseline.

    There labels are rolled by ``shift // 4``, rounded down: both agree where the shift is a multiple of four. A label
    is here never more than half of its frame away from the sound; there -1 frame of sound moves it by a whole frame.
    """
    plan = plan_of(shift, size=1000)
    labels = torch.zeros(1, 3, 250)
    labels[0, 1, 100:110] = 1
    moved = time_shift(labels, plan)
    steps = next(s for s in range(-250, 250) if torch.equal(labels.roll(s, -1), moved))
    steps += 250 if shift > 500 else 0
    assert abs((steps - shift / 4 + 125) % 250 - 125) <= 0.5
    if shift % 4 == 0:
        assert torch.equal(moved, labels.roll(shift // 4, -1))
    if shift == -1:
        assert torch.equal(moved, labels)
        assert not torch.equal(labels.roll(-1 // 4, -1), labels)


def test_one_plan_shifts_sound_spectrogram_and_labels_alike():
    wave, labels = click(16000, 4000, 4000), torch.zeros(2, 2, 100)
    labels[:, 1, 25] = 1
    shift = TimeShift(0.4, num_classes=2)
    for lengths in (None, torch.tensor([16000, 8000])):
        moved = shift(wave, labels, lengths=lengths, generator=seeded(3))
        place = moved.x[:, 0].argmax(-1)
        assert (place != 4000).all()
        assert ((moved.target[:, 1].argmax(-1) + 0.5 - place / 160).abs() <= 1).all()
        assert torch.equal(mix_frames(labels, moved.plans[0]), moved.target)
        frames = click(400, 100, 100)[:, :, None].expand(2, 1, 8, 400)
        assert ((time_shift(frames, moved.plans[0])[:, 0, 0].argmax(-1) - place / 40).abs() <= 1).all()


def test_labels_stay_where_no_label_has_a_place():
    x = noise(4, 1, 100)
    ids = torch.arange(4)
    assert TimeShift()(x, ids).target is ids
    assert torch.equal(TimeShift(num_classes=4)(x, ids).target, torch.eye(4))
    assert TimeShift().eval()(x, ids).target is ids
    frames = torch.rand(4, 3, 10)
    assert torch.equal(TimeShift().eval()(x, frames).target, frames)


def test_labels_follow_in_a_choice_and_in_a_pipeline():
    wave, labels = click(1000, *[300] * 12), torch.zeros(12, 2, 100)
    labels[:, 1, 30] = 1
    for chain in (OneOf([TimeShift(0.3), None], per="clip"), Pipeline([TimeShift(0.1), TimeShift(0.2)])):
        mixed = chain(wave, labels, generator=seeded())
        place = mixed.x[:, 0].argmax(-1)
        assert (mixed.target.sum(-1)[:, 1] == 1).all()
        assert ((mixed.target[:, 1].argmax(-1) + 0.5 - place / 10).abs() <= 2).all()
        assert len(place.unique()) > 4
    both = OneOf([TimeShift(0.3), MixUp(1.0)], per="clip", num_classes=2)
    mixed = both(wave, labels, generator=seeded(1))
    assert set(mixed.plans[0].choice.tolist()) == {0, 1}
    for i, choice in enumerate(mixed.plans[0].choice.tolist()):
        peak = mixed.target[i, 1].argmax() + 0.5
        assert (abs(float(peak) - float(mixed.x[i, 0].argmax()) / 10) <= 1) or choice == 1
    replayed = both(wave, labels, plan=Plan.from_json(mixed.plans[0].to_json()))
    assert torch.equal(replayed.target, mixed.target)
    assert torch.equal(mix_frames(labels[:, :1], mixed.plans[0]), torch.zeros(12, 1, 100))


def places_of(transform, size, clips=4000, lengths=None, seed=0):
    x = torch.zeros(clips, size)
    x[:, 0] = 1
    moved = transform(x, lengths=lengths, generator=seeded(seed))
    place = moved.x.argmax(-1)
    return torch.where(place > size // 2, place - size, place).double()


def test_distributions():
    uniform = places_of(TimeShift(0.25), 1001)  # a fraction of 1001 samples, to either side
    assert uniform.abs().max() <= 250
    counts = torch.histc(uniform, 10, -250.25, 250.25)
    assert float(((counts - 400) ** 2 / 400).sum()) < 33.7  # chi-square, 9 degrees of freedom, 99.99 %
    normal = places_of(TimeShift(90, unit="frames", distribution="normal"), 2001)
    assert abs(float(normal.mean())) < 4 * 90 / math.sqrt(4000)
    assert abs(float(normal.std()) / 90 - 1) < 4 / math.sqrt(2 * 4000)
    seconds = places_of(TimeShift(0.1, unit="seconds", rate=1000), 1001)
    assert 95 < seconds.abs().max() <= 100
    short = places_of(TimeShift(0.25), 1001, lengths=torch.full((4000,), 101))
    assert torch.where(short > 50, short - 101, short).abs().max() <= 25


def test_schedule_and_rate():
    ramp = TimeShift("linear:0:0.4")
    x = noise(50, 1, 1000)
    assert not ramp(x, progress=0.0).plans[0].mixed.any()
    assert ramp(x, progress=1.0).plans[0].offset.abs().max() > 0.3
    assert TimeShift(0.1, unit="seconds", rate=16000).at_rate(8000).rate == 8000


def test_clips_that_cannot_be_shifted_say_why():
    moved = TimeShift()(noise(4, 1, 50), lengths=torch.tensor([0, 1, 50, 2]), generator=seeded())
    plan = moved.plans[0]
    assert [bool(text) for text in plan.why] == [True, True, False, False]
    assert plan.complete.tolist() == [False, False, True, True]
    assert "too short" in plan.describe(0)["why"]
    fill = TimeShift(1000, unit="frames", mode="fill")(noise(20, 1, 50), generator=seeded())
    assert (fill.x != 0).any(-1).all()  # a sample stays: we make no silence


def test_wrong_arguments():
    with pytest.raises(ValueError, match="rate must be given for unit='seconds'"):
        TimeShift(0.1, unit="seconds")
    with pytest.raises(ValueError, match=r"shift must be .*\[0, 1\]"):
        TimeShift(3)
    with pytest.raises(ValueError, match="fill must be left out unless mode='fill'"):
        TimeShift(fill=-100.0)
    with pytest.raises(ValueError, match="plan must be of mode 'roll'"):
        TimeShift()(noise(2, 1, 50), plan=plan_of(3, 4, size=50, mode="fill"))
    with pytest.raises(ValueError, match="target must be of 2 items"):
        TimeShift()(noise(2, 1, 50), torch.arange(3))
