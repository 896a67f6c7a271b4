"""RandAugment and TrivialAugment: what is drawn, how labels follow, and operations of one's own."""

import math

import pytest
import torch
from sounds import noise, seeded
from torch.utils.data import DataLoader

from audiomix import Collate, Indexed, OneOf, Pipeline, Plan, RandAugment, TrivialAugment
from audiomix.targets.frames import mix_frames
from audiomix.transforms import operations
from audiomix.transforms.rand_augment import OperationsPlan

RATE = 16000


def plan_of(augment, *steps, valid=1.0, numbers=0.4):
    """One clip that goes through these (operation, magnitude) in order."""
    names = augment.operations
    choice = torch.tensor([[names.index(name) for name, _ in steps]])
    level = torch.tensor([[level for _, level in steps]], dtype=torch.float64)
    drawn = torch.full((1, len(steps), 2), numbers, dtype=torch.float64)
    knots = augment._knots(choice, level, drawn)
    ends = torch.tensor([valid], dtype=torch.float64)
    return OperationsPlan.of(
        1, choice=choice, level=level, numbers=drawn, knots=knots, valid=ends, names=tuple(names)
    )


def chi_square(counts):
    expected = counts.sum() / len(counts)
    return float(((counts - expected) ** 2 / expected).sum())


def test_every_operation_is_as_likely_as_another_and_as_none():
    augment = RandAugment(RATE, number=3)
    plan = augment(torch.zeros(4000, 1, 8), generator=seeded()).plans[0]
    count = len(augment.operations) + 1
    for slot in plan.choice.unbind(1):
        counts = torch.bincount(slot + 1, minlength=count).double()
        assert len(counts) == count
        assert chi_square(counts) < count - 1 + 4 * math.sqrt(2 * (count - 1)) + 8  # 99.99 %
    pairs = torch.bincount((plan.choice[:, 0] + 1) * count + plan.choice[:, 1] + 1, minlength=count**2).double()
    assert chi_square(pairs) < count**2 + 4 * math.sqrt(2 * count**2)  # drawn one by one, the same one twice too
    signed = torch.tensor([*(operations.get(name).symmetric for name in augment.operations), False])
    two_ways = signed[plan.choice]
    assert (plan.level[~two_ways] >= 0).all()
    down = float((plan.level[two_ways] < 0).double().mean())
    assert abs(down - 0.5) < 4 * 0.5 / math.sqrt(int(two_ways.sum()))
    assert set(plan.level.abs().unique().tolist()) == {0.0, 0.3}


def test_trivial_augment_draws_one_of_31_magnitudes_for_each_clip():
    trivial = TrivialAugment(RATE, operations=["gain"])
    plan = trivial(torch.zeros(8000, 1, 8), generator=seeded()).plans[0]
    assert plan.choice.shape == (8000, 1)
    drawn = plan.level[plan.choice >= 0].abs() * 30
    assert torch.equal(drawn.round(), drawn.round(decimals=9))
    assert chi_square(torch.bincount(drawn.round().long(), minlength=31).double()) < 30 + 4 * math.sqrt(60) + 4
    half = trivial.replace(magnitude="linear:0:1")(torch.zeros(500, 1, 8), progress=0.5, generator=seeded()).plans[0]
    assert float(half.level.abs().max()) == 0.5
    with pytest.raises(TypeError, match="number"):
        TrivialAugment(RATE, number=2)


def test_the_magnitude_is_an_honest_knob():
    """From 0, where nothing changes to the bit, the distance from the original rises."""
    for augment, x in (
        (RandAugment(RATE), noise(16, 1, 4000) * 0.1),
        (RandAugment(domain="spectrogram"), noise(16, 1, 20, 80) * 5 - 50),
    ):
        found = []
        for magnitude in (0.0, 0.05, 0.3, 1.0):
            changed = augment.replace(magnitude=magnitude)(x, generator=seeded(4)).x
            found.append(float((changed - x).square().mean()))
        assert found[0] == 0
        assert sorted(set(found)) == found
    assert torch.equal(RandAugment(RATE, magnitude="linear:0:1")(noise(2, 1, 400), progress=0.0).x, noise(2, 1, 400))


def burst(start, stop, size=RATE, value=0.3):
    x = torch.zeros(1, 1, size)
    time_s = torch.arange(size) / RATE
    x[..., int(start * size) : int(stop * size)] = value * torch.sin(2 * math.pi * 800 * time_s)[
        int(start * size) : int(stop * size)
    ]
    return x


MOVES = [
    (("shift", 0.6),), (("shift", -0.9),), (("speed", 1.0),), (("speed", -0.8),), (("stretch", 0.7),),
    (("stretch", -1.0),), (("shift", 0.5), ("speed", 0.8)), (("speed", -0.5), ("shift", 0.9)),
    (("stretch", 1.0), ("gain", 0.5)), (("speed", 0.4), ("stretch", -0.9)),
]  # fmt: skip


@pytest.mark.parametrize("steps", MOVES, ids=str)
@pytest.mark.parametrize("valid", [1.0, 0.6])
def test_frame_labels_follow_the_sound(steps, valid):
    """The envelope of a burst, measured, is where its label is: after one operation and after two."""
    augment = RandAugment(RATE, num_classes=2)
    x, labels = burst(0.2, 0.35), torch.zeros(1, 2, 100)
    labels[0, 1, 20:35] = 1
    lengths = torch.tensor([int(RATE * valid)])
    moved = augment(x, labels, lengths=lengths, plan=plan_of(augment, *steps, valid=valid))
    envelope = moved.x[0, 0].abs().view(100, 160).amax(1) > 0.12
    wrong = (envelope != (moved.target[0, 1] > 0.5)).sum()
    # each of both edges by a frame, and by the smear of a phase vocoder
    assert wrong <= (5 if any(name == "stretch" for name, _ in steps) else 2), (envelope, moved.target[0, 1])
    assert int(moved.target[0, 1].sum()) > 5
    assert torch.equal(mix_frames(labels, moved.plans[0]), moved.target)
    assert not moved.x[..., int(RATE * valid) :].any()


@pytest.mark.parametrize(
    "steps", [(("shift", 0.7),), (("speed", 1.0),), (("speed", -1.0),), (("time_warp", 1.0),), (("time_warp", -1.0),),
              (("time_warp", 0.8), ("shift", -0.5))], ids=str,
)  # fmt: skip
def test_frame_labels_follow_the_spectrogram(steps):
    augment = RandAugment(domain="spectrogram")
    x, labels = torch.full((1, 1, 8, 200), -80.0), torch.zeros(1, 1, 50)
    x[..., 80:120], labels[..., 20:30] = -10.0, 1
    moved = augment(x, labels, plan=plan_of(augment, *steps))
    loud = (moved.x[0, 0, 0] > -45).view(50, 4).float().mean(1) > 0.5
    assert (loud != (moved.target[0, 0] > 0.5)).sum() <= 2
    assert moved.target.sum() > 3


def test_labels_stay_where_time_stays():
    augment = RandAugment(RATE, keep=["time"], magnitude=1.0)
    labels = torch.rand(8, 3, 20, generator=seeded())
    assert augment(noise(8, 1, 2000), labels, generator=seeded()).target is labels
    ids = torch.arange(8)
    assert augment(noise(8, 1, 2000), ids, generator=seeded()).target is ids


def test_what_rings_on_in_the_padding_does_not_come_back():
    """Reverb rings on behind the clip's end, and a clip that is played faster would bring that into its valid part."""
    augment = RandAugment(RATE)
    x = burst(0.4, 0.5)
    plan = plan_of(augment, ("reverb", 1.0), ("speed", 1.0), valid=0.5)
    changed = augment(x, lengths=torch.tensor([RATE // 2]), plan=plan).x
    end = math.ceil(0.5 * RATE / 2**0.5) + 20
    assert changed[..., : int(0.35 * RATE)].abs().max() > 0.1
    assert not changed[..., end:].any()


def test_operations_run_in_the_order_in_which_they_were_drawn():
    augment = RandAugment(RATE)
    x = noise(1, 1, 4000) * 0.1
    first, second = ("quantise", 1.0), ("gain", 0.5)
    ab, ba = (augment(x, plan=plan_of(augment, *s)).x for s in ((first, second), (second, first)))
    torch.testing.assert_close(ab, ba)  # the steps follow the peak
    first = ("distort", 1.0)
    second = ("low_pass", 0.8)
    ab, ba = (augment(x, plan=plan_of(augment, *s)).x for s in ((first, second), (second, first)))
    assert (ab - ba).abs().max() > 1e-3
    one = augment(x, plan=plan_of(augment, first))
    torch.testing.assert_close(augment(one.x, plan=plan_of(augment, second)).x, ab)


def test_the_plan_says_what_was_done_and_rows_of_it_stand_alone():
    augment = RandAugment(RATE, magnitude=0.7)
    size = len(augment.operations)  # as many clips as names: these are not taken for rows
    x = noise(size, 2, 3000) * 0.2
    mixed = augment(x, generator=seeded(2))
    plan = Plan.from_json(mixed.plans[0].to_json())
    for i in range(size):
        told = plan.describe(i)["operations"]
        assert len(told) <= 2
        assert bool(plan.mixed[i]) == bool(told)
        assert all(one["name"] in augment.operations and abs(one["level"]) == 0.7 for one in told)
        alone = augment(x[i : i + 1], plan=plan.rows(torch.tensor([i]))).x
        torch.testing.assert_close(alone, mixed.x[i : i + 1], atol=1e-5, rtol=1e-4)
        if not told:
            assert torch.equal(mixed.x[i], x[i])


def test_in_a_choice_in_a_chain_and_in_a_loader():
    clips = [(noise(1, 2000, seed=i), i % 3) for i in range(8)]
    x = torch.stack([clip for clip, _ in clips])
    chain = Pipeline([TrivialAugment(RATE), RandAugment(RATE, number=1)])
    choice = OneOf([RandAugment(RATE), None], per="clip", num_classes=3)
    for mixer in (chain, choice):
        first, again = mixer(x, generator=seeded()), mixer(x, generator=seeded())
        assert torch.equal(first.x, again.x)
        assert not torch.equal(first.x, x)
        batches = [
            next(iter(DataLoader(Indexed(clips), batch_size=8, collate_fn=Collate(mixer, seed=0), num_workers=workers)))
            for workers in (0, 1)
        ]
        assert torch.equal(batches[0].x, batches[1].x)  # in another process the same
        assert not torch.equal(batches[0].x, x)
    with pytest.raises(ValueError, match="same kind of input"):
        OneOf([RandAugment(RATE), RandAugment(domain="spectrogram")])


def test_an_operation_of_ones_own(tmp_path):
    """By its path: drawn, described, replayed; its options are read as those of all that has a name."""
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "from audiomix import Operation\n\n\n"
        "class Invert(Operation):\n"
        '    """Fade from the sound to its inverse."""\n\n'
        "    def __init__(self, share: float = 2.0) -> None:\n"
        "        self.share = share\n\n"
        "    def apply(self, group):\n"
        "        return group.x * group.column(1 - self.share * group.level)\n"
    )
    text = f"{tmp_path}/mine.py:Invert:share=1.0"
    augment = RandAugment(RATE, number=1, magnitude=0.5, operations=["gain:db=12", text])
    x = noise(40, 1, 50)
    changed = augment(x, generator=seeded())
    ratio = (changed.x / x).mean((1, 2)).round(decimals=4)
    assert sorted(set(ratio.tolist())) == pytest.approx([0.5, 10**-0.3, 1.0, 10**0.3], abs=1e-3)
    inverted = (ratio == 0.5).nonzero()[:, 0].tolist()
    assert all(changed.plans[0].describe(i)["operations"] == [{"name": text, "level": 0.5}] for i in inverted)
    plan = Plan.from_json(changed.plans[0].to_json())
    assert torch.equal(augment(x, plan=plan).x, changed.x)
    with pytest.raises(ValueError, match="plan must be drawn from the operations"):
        RandAugment(RATE)(x, plan=plan)
    with pytest.raises(ValueError, match="unknown|no option|share"):
        RandAugment(RATE, operations=[f"{tmp_path}/mine.py:Invert:shaer=1.0"])


def test_what_is_kept_is_not_changed():
    every = RandAugment(RATE).operations
    kept = RandAugment(RATE, keep=["pitch", "time"]).operations
    assert set(every) - set(kept) == {"pitch", "speed", "stretch", "shift"}
    assert "time_mask" not in RandAugment(domain="spectrogram", keep=["content"]).operations
    assert {"gain", "tilt", "freq_mask", "time_warp"} <= set(RandAugment(domain="spectrogram").operations)
    with pytest.raises(ValueError, match="operations must be without those that change what keep"):
        RandAugment(RATE, operations=["gain", "pitch"], keep=["pitch"])


def test_scales_of_spectrograms():
    """6 dB are 6 dB on every scale, and normalised ones too."""
    db = noise(6, 1, 10, 30) * 5 - 50
    augment = RandAugment(domain="spectrogram", operations=["gain", "tilt", "noise", "contrast"], magnitude=1.0)
    wanted = augment(db, generator=seeded()).x
    for scale, factor in (("log10", 0.1), ("ln", math.log(10) / 10)):
        got = augment.replace(scale=scale)(db * factor, generator=seeded()).x
        torch.testing.assert_close(got / factor, wanted, atol=1e-3, rtol=1e-4)
    got = augment.at_normalisation(-40.0, 12.0)((db + 40) / 12, generator=seeded()).x
    torch.testing.assert_close(got * 12 - 40, wanted, atol=1e-3, rtol=1e-4)


def test_batches_without_an_axis_of_channels():
    x, lengths = noise(8, 1, 900) * 0.2, torch.tensor([900, 700, 1, 900, 0, 30, 900, 899])
    augment = RandAugment(RATE, magnitude=1.0)
    flat, whole = (augment(clips, lengths=lengths, generator=seeded()) for clips in (x[:, 0], x))
    assert torch.equal(flat.x, whole.x[:, 0])
    spec = noise(8, 1, 10, 900) - 50
    augment = RandAugment(domain="spectrogram", magnitude=1.0)
    flat, whole = (augment(clips, lengths=lengths, generator=seeded()) for clips in (spec[:, 0], spec))
    torch.testing.assert_close(flat.x, whole.x[:, 0])
    assert torch.equal(flat.x[1, :, 700:], spec[1, 0, :, 700:])  # 0 would be loud


def test_clips_without_a_valid_sample_say_why():
    plan = RandAugment(RATE)(noise(4, 1, 50), lengths=torch.tensor([0, 1, 50, 2]), generator=seeded()).plans[0]
    assert plan.why[0] == "no valid samples"
    assert plan.complete.tolist() == [False, True, True, True]


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"rate must be given for domain='wave', got None: of the clips, in Hz"):
        RandAugment()
    with pytest.raises(ValueError, match="rate must be left out for domain='spectrogram'"):
        RandAugment(RATE, domain="spectrogram")
    with pytest.raises(ValueError, match="operations must be for domain='wave', got tilt"):
        RandAugment(RATE, operations=["tilt"])
    with pytest.raises(ValueError, match=r"operation must be one of .*, got 'gian'"):
        RandAugment(RATE, operations=["gian"])
    with pytest.raises(TypeError, match=r"operations must be a sequence of texts, got 'gain': \['gain'\]\?"):
        RandAugment(RATE, operations="gain")
    with pytest.raises(ValueError, match="magnitude"):
        RandAugment(RATE, magnitude=9)  # of 30, as in the paper
    with pytest.raises(ValueError, match="keep must be one of level"):
        RandAugment(RATE, keep=["colour"])
    with pytest.raises(ValueError, match="x must be spectrograms .* a waveform"):
        RandAugment(domain="spectrogram")(noise(4, 1, 1000))
    with pytest.raises(ValueError, match="x must be waveforms"):
        RandAugment(RATE)(noise(4, 1, 8, 100))
    with pytest.raises(ValueError, match="scale must be left out"):
        RandAugment(RATE, scale="ln")
