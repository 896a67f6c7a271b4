"""Rooms, judged from the sound: where a click lies, how it decays, at which level noise lies under it."""

import copy

import pytest
import soundfile
import torch
from sounds import noise, seeded
from torch.utils.data import DataLoader

from audiomix import Collate, Indexed, OneOf, Pipeline, Plan, Room, RoomPlan, SNRMix, TimeShift
from audiomix.audio import level
from audiomix.clips import Clips
from audiomix.datasets.dataset import Dataset
from audiomix.datasets.item import Item

RATE = 8000


def response(seconds=0.3, rate=RATE, seed=1, at=0, channels=1):
    """Noise that decays by 60 dB in `seconds`, behind a direct sound."""
    taps = round(seconds * rate)
    found = noise(channels, taps, seed=seed) * torch.exp(-6.908 * torch.arange(taps) / taps) * 0.1
    return torch.cat([torch.zeros(channels, at), torch.ones(channels, 1), found], -1)


def write(path, samples, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples.T.numpy(), rate, subtype="FLOAT")
    return path


@pytest.fixture
def folder(tmp_path):
    """Three responses in two folders: of 8, 16 and 44.1 kHz."""
    root = tmp_path / "rirs"
    write(root / "small" / "a.wav", response(0.1, seed=1, at=40))
    write(root / "large" / "b.wav", -response(0.3, 16000, seed=2, at=7), 16000)
    write(root / "large" / "c.wav", response(0.2, 44100, seed=3, at=900), 44100)
    (root / "readme.txt").write_text("rooms")
    return root


def decay_seconds(samples, rate=RATE):
    """Return the time until -60 dB, from the slope of Schroeder's backward integral between -5 and -25 dB."""
    energy = samples.double().square().flip(-1).cumsum(-1).flip(-1)
    curve = 10 * torch.log10(energy / energy[0])
    first, last = (int((curve < edge).nonzero()[0]) for edge in (-5, -25))
    return 3 * (last - first) / rate


def clicks(*places, size=4000):
    found = torch.zeros(len(places), 1, size)
    for row, at in zip(found, places):
        row[..., at] = 1.0
    return found


def test_a_folder_is_read_in_order_at_the_rate_of_the_clips(folder):
    room = Room(folder, rate=RATE, normalise="direct")
    assert room.names == ("large/b.wav", "large/c.wav", "small/a.wav")
    for i, seconds in enumerate((0.3, 0.2, 0.1)):
        plan = RoomPlan.of(1, room=torch.tensor([i]))
        heard = room(clicks(500), plan=plan).x[0, 0]
        assert int(heard.abs().argmax()) == 500
        assert float(heard[500]) == pytest.approx(-1 if i == 0 else 1, abs=1e-4)
        assert decay_seconds(heard[501:]) == pytest.approx(seconds, rel=0.1)
        assert room(clicks(500), plan=plan).plans[0].describe(0)["room"] == i
    drawn = room(clicks(*[9] * 40), generator=seeded()).plans[0]
    assert set(drawn.names) == set(room.names)
    assert drawn.describe(0)["room"] == drawn.names[0] == room.names[int(drawn.room[0])]


def test_files_items_data_sets_and_tensors_mean_the_same(folder):
    x, names = clicks(10, 20, 30), ("large/b.wav", "large/c.wav", "small/a.wav")
    items = [Item(str(folder), name) for name in names]
    whole = Room(str(folder), rate=RATE)(x, generator=seeded())
    for given in (
        [folder / name for name in names],
        items,
        Dataset("rirs", tuple(items), (), RATE, 1.0),
    ):
        room = Room(given, rate=RATE)
        assert torch.equal(room(x, generator=seeded()).x, whole.x)
        room(x, plan=whole.plans[0])  # the digest is that of the sounds, not of their names
    (folder / "list.csv").write_text("path\n" + "\n".join(names))
    assert Room(folder / "list.csv", rate=RATE).names == names
    (folder / "list.csv").unlink()
    one = response()
    alone = Room(one[0], rate=RATE)(x)
    for given in (one, one[None], [one], [one[0]]):
        assert torch.equal(Room(given, rate=RATE)(x).x, alone.x)
    write(folder / "one.wav", one)
    torch.testing.assert_close(Room(folder / "one.wav", rate=RATE)(x).x, alone.x)
    piece = Item(str(folder), "small/a.wav", start=0.0, seconds=45 / RATE)
    torch.testing.assert_close(Room([piece], rate=RATE).bank.stop, torch.tensor([45]))


def test_a_resampled_response_filters_as_before():
    """Of a response at a higher rate there are more samples, each of which must be smaller."""
    time = torch.arange(4000) / RATE
    tone = torch.sin(2 * torch.pi * 500 * time)[None, None]
    for old in (24000, 44100, 8000, 16000):
        low_pass = torch.zeros(1, old // 100)
        low_pass[0, : old // 1000] = 1000 / old  # the mean of a millisecond
        room = Room(low_pass, rate=RATE, response_rate=old, normalise=None)
        got = room(tone).x[0, 0, 500:3500]
        gain = float(level.rms(got[None]) / level.rms(tone[0, :, 500:3500]))
        assert gain == pytest.approx(2 / torch.pi, rel=0.02)  # sin(pi f T) / (pi f T) for f T = 1/2
    delta = torch.zeros(1, 100)
    delta[0, 30] = 1.0
    same = Room(delta, rate=RATE, response_rate=24000, normalise=None)(tone).x
    torch.testing.assert_close(same[..., 200:3800], tone[..., 200:3800], atol=0.01, rtol=0)


def test_at_another_rate_a_response_keeps_its_own():
    room = Room(response(0.1), rate=RATE)
    again = room.at_rate(16000)
    assert (again.rate, again.response_rate, again.digest) == (16000, RATE, room.digest)
    plan = room(clicks(50)).plans[0]
    heard = again(clicks(100, size=8000), plan=plan).x[0, 0]
    assert decay_seconds(heard[101:], 16000) == pytest.approx(0.1, rel=0.15)
    assert Room(response()).at_rate(16000).rate is None


BAD = [
    (lambda root: root / "empty", r"a folder or manifest with audio files, got '.*empty': no audio files were found"),
    (lambda root: root / "texts", r"with audio files, got .*texts': no audio files were found"),
    (lambda root: root / "nowhere", r"got '.*nowhere': there is no such path"),
    (lambda root: root / "bad", r"got .*noise\.wav.*; quiet\.wav: silent; side\.wav: channel 1 is silent$"),
    (lambda root: root / "many", r"s0\.wav: silent; s1\.wav: silent; s2\.wav: silent; and 2 more"),
    (lambda root: root / "mixed", r"two\.wav: 2 channels, others have 1; channel=0 takes the first of each"),
    (lambda root: [], r"responses must be one impulse response at least, got none"),
    (lambda root: torch.zeros(3, 50), r"response 0: silent; response 1: silent; response 2: silent"),
    (lambda root: [response(), torch.full((9,), torch.nan)], r"got response 1: NaN or infinite values$"),
    (lambda root: torch.full((2, 9), torch.inf), r"response 0: NaN or infinite values"),
    (lambda root: torch.ones(2, 2, 2, 2), r"of shape \(L,\), \(H, L\) or \(H, C, L\), got \(2, 2, 2, 2\)"),
    (lambda root: [torch.ones(2, 2, 2)], r"responses\[0\] must be of shape \(L,\) or \(C, L\)"),
]


@pytest.mark.parametrize(("given", "message"), BAD)
def test_what_is_no_response_is_refused_by_name(tmp_path, given, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("nothing")
    write(tmp_path / "bad" / "good.wav", response())
    write(tmp_path / "bad" / "quiet.wav", torch.zeros(1, 50))
    write(tmp_path / "bad" / "side.wav", torch.stack([torch.ones(9), torch.zeros(9)]))
    (tmp_path / "bad" / "noise.wav").write_bytes(b"no sound at all")
    for i in range(5):
        write(tmp_path / "many" / f"s{i}.wav", torch.zeros(1, 50))
    for i, channels in enumerate((1, 1, 2)):
        write(tmp_path / "mixed" / f"{('one', 'single', 'two')[i]}.wav", response(channels=channels))
    with pytest.raises(ValueError, match=message):
        Room(given(tmp_path), rate=RATE)


WRONG = [
    ({"responses": "rirs"}, TypeError, r"rate must be given where impulse responses are files"),
    ({"early_only": True}, ValueError, r"rate must be given for early_only in seconds"),
    ({"tail": 0.5}, ValueError, r"rate must be given for tail in seconds"),
    ({"response_rate": 16000}, ValueError, r"rate must be given with response_rate"),
    ({"weights": [1.0]}, ValueError, r"weights must be of shape \(2,\), one a response"),
    ({"weights": [0.0, 0.0]}, ValueError, r"weights must be at least 0 and not all 0"),
    ({"weights": [1.0, -1.0]}, ValueError, r"weights must be at least 0 and not all 0"),
    ({"weights": [1.0, torch.nan]}, ValueError, r"weights must be at least 0 and not all 0"),
    ({"normalise": "rms"}, ValueError, r"normalise must be one of power, energy, direct, None"),
    ({"normalise": "None"}, ValueError, r"normalise must be one of .*, None, got 'None': without quotes"),
    ({"responses": torch.ones(9).numpy()}, TypeError, r"got ndarray: torch\.as_tensor\(responses\)\?"),
    ({"rate": 16}, ValueError, r"rate must be .* did you mean 16000\?"),
    ({"early_only": -0.1, "rate": 8000}, ValueError, r"early_only must be a number"),
    ({"channel": -1}, ValueError, r"channel must be an integer of at least 0"),
    ({"channel": 4}, ValueError, r"response 0: has 2 channels, no channel 4"),
    ({"responses": 3}, TypeError, r"responses must be a tensor, a folder, a data set, or a list .*, got int"),
    ({"responses": [3]}, TypeError, r"responses\[0\] must be a torch\.Tensor, got int"),
    ({"responses": torch.ones(2, 9).int()}, TypeError, r"responses must be floating point"),
]


@pytest.mark.parametrize(("options", "error", "message"), WRONG)
def test_wrong_options_are_named(options, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "rirs" / "a.wav", response())
    two = torch.stack([response(channels=2), response(seed=4, channels=2)])
    with pytest.raises(error, match=message):
        Room(**{"responses": two, **options})


def test_one_channel_of_several_is_taken(tmp_path):
    two = torch.cat([response(seed=1), response(seed=2)])
    write(tmp_path / "a" / "two.wav", two)
    write(tmp_path / "a" / "one.wav", two[:1])
    room = Room(tmp_path / "a", rate=RATE, channel=0)
    found = [room(clicks(9), plan=RoomPlan.of(1, room=torch.tensor([i]))).x for i in range(2)]
    torch.testing.assert_close(*found)
    x = clicks(9).expand(-1, 2, -1)
    both = Room(two[None], rate=RATE, normalise=None)(x).x
    for c in range(2):
        one = Room([two], rate=RATE, normalise=None, channel=c)(clicks(9)).x
        torch.testing.assert_close(both[:, c], one[:, 0], atol=1e-6, rtol=1e-5)
    with pytest.raises(ValueError, match=r"x must be of 2 channels, .* got 1: .*x\.expand\(-1, 2, -1\)"):
        Room(two[None])(clicks(9))


def chi_square(counts, expected):
    return float(((counts - expected) ** 2 / expected).sum())


def test_a_silent_channel_that_is_not_taken_does_no_harm(tmp_path):
    left = torch.cat([response(), torch.zeros_like(response())])
    path = write(tmp_path / "left.wav", left)
    click = clicks(100)
    for given in ([left], [path]):
        heard = Room(given, rate=RATE, channel=0)(click).x
        torch.testing.assert_close(heard, Room(response(), rate=RATE)(click).x)
        with pytest.raises(ValueError, match="channel 1 is silent"):
            Room(given, rate=RATE)


@pytest.mark.parametrize("normalise", ["power", "energy", "direct"])
def test_responses_of_any_level_sound_alike(normalise):
    click, tone = clicks(100), response(at=30)
    expected = Room(tone, normalise=normalise)(click).x
    for size in (1e-37, 1e37):
        torch.testing.assert_close(Room(tone * size, normalise=normalise)(click).x, expected, atol=1e-5, rtol=1e-4)
    least = torch.full((3, 10), 1e-42)  # where 1 / h is out of the range of float32
    assert bool(Room(least, normalise=normalise)(click).x.isfinite().all())


def test_plans_that_cannot_be_are_refused():
    plan = {"room": torch.zeros(3, dtype=torch.int64)}
    with pytest.raises(ValueError, match="names must be 3 names, one a clip, got 1"):
        RoomPlan.of(3, **plan, names=("a",))
    with pytest.raises(ValueError, match="tail must be at least 0, got -0.5"):
        RoomPlan.of(3, **plan, tail=torch.tensor([-0.5, 0.0, 0.0]).double())


def test_a_clip_of_no_samples_stays_one():
    room, clip = Room(response(), tail=True), clicks(50, 60, 70)
    mixed = room(clip, lengths=torch.tensor([4000, 0, 100]))
    assert mixed.plans[0].why == ("", "no valid samples", "")
    assert mixed.plans[0].room.tolist() == [0, -1, 0]
    assert mixed.lengths.tolist() == [4000 + 2400, 0, 100 + 2400]
    assert mixed.x[1].abs().max() == 0


def test_responses_are_drawn_alike_or_by_their_weights():
    bank = torch.stack([response(0.01, seed=i)[0] for i in range(4)])
    draws = Room(bank)(torch.zeros(4000, 1, 2), generator=seeded()).plans[0].room
    assert chi_square(torch.bincount(draws, minlength=4), torch.full((4,), 1000.0)) < 21.1  # 3 degrees: 99.99 %
    weights = torch.tensor([3.0, 0.0, 2.0, 5.0])
    draws = Room(bank, weights=weights)(torch.zeros(4000, 1, 2), generator=seeded()).plans[0].room
    counts = torch.bincount(draws, minlength=4)
    assert counts[1] == 0
    assert chi_square(counts[weights > 0], 4000 * weights[weights > 0] / 10) < 18.4  # 2 degrees: 99.99 %


def test_one_plan_gives_the_reverberant_clip_and_its_early_part():
    room = Room([response(0.3, seed=i, at=at) for i, at in enumerate((0, 600, 30))], rate=RATE, p=0.7)
    x = noise(12, 1, 6000) * 0.1
    mixed = room(x, generator=seeded())
    plan = Plan.from_json(mixed.plans[0].to_json())
    early = room.replace(early_only=True)(x, plan=plan).x
    late = mixed.x - early
    chosen = plan.mixed
    assert 0 < int(chosen.sum()) < 12
    assert torch.equal(early[~chosen], x[~chosen])
    assert torch.equal(mixed.x[~chosen], x[~chosen])
    one = clicks(1000)
    for i in range(3):
        plan = RoomPlan.of(1, room=torch.tensor([i]))
        whole, early = (room.replace(early_only=e)(one, plan=plan).x[0, 0] for e in (False, True))
        late = whole - early
        torch.testing.assert_close(early[:1401], whole[:1401], atol=1e-6, rtol=1e-4)  # 50 ms and the direct sound
        assert float(early[1401:].abs().max()) < 1e-6
        assert float(late[1401:].abs().max()) > 1e-3
    short = room.replace(early_only=0.01)(one, plan=plan).x[0, 0]
    assert float(short[1081:].abs().max()) < 1e-6 < float(short[1080].abs())


def test_a_plan_of_other_responses_is_refused(folder):
    room, x = Room(folder, rate=RATE), clicks(5, 6)
    plan = room(x).plans[0]
    for same in (Room(folder, rate=16000, early_only=True), Room(folder, rate=RATE, normalise=None, weights=[1, 0, 0])):
        assert same.digest == room.digest
        same(x, plan=plan)
    other = Room([folder / name for name in room.names[:2]], rate=RATE)
    with pytest.raises(ValueError, match=r"plan must be drawn from the same impulse responses, got one from others"):
        other(x, plan=plan)
    with pytest.raises(ValueError, match=r"plan.room must be below 2, the number of responses, got 2"):
        other(x, plan=RoomPlan.of(2, room=torch.tensor([0, 2])))
    with pytest.raises(ValueError, match=r"plan must be drawn with tail=True, got one without"):
        room.replace(tail=True)(x, plan=plan)
    with pytest.raises(ValueError, match=r"plan must be drawn with tail=False, got one with tails"):
        room(x, plan=room.replace(tail=True)(x).plans[0])
    nothing = RoomPlan.identity(2)
    assert torch.equal(room.replace(tail=True)(x, plan=nothing).x, x)
    with pytest.raises(ValueError, match=r"room must be int64 of shape \(2,\)"):
        RoomPlan.of(2, room=torch.tensor([0]))


def test_tails_lengthen_each_clip_by_its_own():
    bank = [response(0.1, at=50), response(0.3, seed=2), response(0.02, seed=3)]
    room = Room(bank, rate=RATE, tail=True, normalise=None)
    plan = Plan.from_json(room(clicks(0, 0, 0, 0), generator=seeded()).plans[0].to_json())
    tail = torch.tensor([0.2, 0.6, 0.04, 0.0]).double()
    plan = RoomPlan.of(4, room=torch.tensor([0, 1, 2, -1]), tail=tail, digest=plan.digest)
    x = noise(4, 1, 4000)
    mixed = room(x, plan=plan)
    assert mixed.lengths.tolist() == [4800, 6400, 4160, 4000]
    assert mixed.x.shape == (4, 1, 6400)
    for i, end in enumerate(mixed.lengths.tolist()):
        assert (mixed.x[i, :, end:] == 0).all()
    cut = Room(bank, rate=RATE, normalise=None)(x, plan=RoomPlan.of(4, room=plan.room))
    assert cut.lengths is None
    torch.testing.assert_close(mixed.x[..., :4000], cut.x, atol=1e-5, rtol=1e-4)
    assert torch.equal(mixed.x[3, :, :4000], x[3])
    drawn = room(x, generator=seeded())
    assert set((drawn.lengths - 4000).tolist()) <= {800, 2400, 160}
    assert drawn.x.shape[-1] == int(drawn.lengths.max())
    half = room.replace(tail=0.05)(x, generator=seeded())
    assert set((half.lengths - 4000).tolist()) <= {400, 160}
    lengths = torch.tensor([4000, 100, 0, 50])
    ragged = room(x, lengths=lengths, plan=plan)
    assert (ragged.lengths - lengths).tolist() == [800, 2400, 160, 0]
    for i, end in enumerate(ragged.lengths.tolist()):
        assert (ragged.x[i, :, end:] == 0).all()
    assert float(ragged.x[1, :, 100:2000].abs().max()) > 0
    assert (ragged.x[2] == 0).all()
    with pytest.raises(ValueError, match=r"target must be of whole clips where tail is given, got frame labels"):
        room(x, torch.zeros(4, 3, 20))
    with pytest.raises(ValueError, match=r"out must be None where clips become longer"):
        room(x, out=torch.empty_like(x))


def test_the_early_part_of_a_plan_with_tails_has_its_shape():
    room = Room([response(0.2, at=9)], rate=RATE, tail=True)
    x = noise(2, 1, 3000)
    mixed = room(x)
    early = room.replace(early_only=True)(x, plan=mixed.plans[0])
    assert early.x.shape == mixed.x.shape
    assert torch.equal(early.lengths, mixed.lengths)


def test_the_power_of_each_clip_is_kept():
    x, lengths = noise(3, 1, 6000) * torch.tensor([1e-3, 0.1, 1.0])[:, None, None], torch.tensor([6000, 2000, 4000])
    for given in ({}, {"lengths": lengths}):
        mixed = Room(response(at=300), rate=RATE)(x, **given)
        ends = given.get("lengths", torch.tensor([6000] * 3)).tolist()
        for i, end in enumerate(ends):
            assert float(level.rms(mixed.x[i : i + 1, :, :end])) == pytest.approx(
                float(level.rms(x[i : i + 1, :, :end])), rel=1e-5
            )
        assert torch.equal(mixed.x[1, :, ends[1] :], torch.zeros(1, 6000 - ends[1]))


@pytest.mark.parametrize("measure", ["rms", "active"])
def test_the_snr_is_exact_on_reverberant_speech(measure):
    """Before the room (as in a chain that adds noise first) it would be off by what the room adds and cuts."""
    speech, hum = noise(4, 1, RATE), noise(2, 1, RATE, seed=8)
    speech[..., 3000:] *= 0.01
    room = Room(response(0.5, at=20), rate=RATE, normalise="direct")
    chain = Pipeline([room, SNRMix((10, 10), label="keep", level=measure)])
    noisy = chain(speech, other=hum, generator=seeded())
    wet = room(speech, plan=noisy.plans[0]).x
    got = 20 * torch.log10(level.level(wet, measure) / level.rms(noisy.x - wet, level.active(wet)))
    if measure == "rms":
        got = 20 * torch.log10(level.rms(wet) / level.rms(noisy.x - wet))
        torch.testing.assert_close(got, torch.full((4,), 10.0).double(), atol=0.01, rtol=0)
        dry = 20 * torch.log10(level.rms(speech) / level.rms(noisy.x - wet))
        assert (dry < 9.5).all()
    torch.testing.assert_close(noisy.plans[1].snr_db, torch.full((4,), 10.0).double())
    again = chain(speech, other=hum, plans=noisy.plans)
    assert torch.equal(again.x, noisy.x)


def test_noise_may_have_a_room_of_its_own():
    speech, hum = noise(4, 1, RATE), noise(4, 1, RATE, seed=8)
    room = Room(torch.stack([response(0.3, seed=i)[0] for i in range(5)]), rate=RATE)
    near, far = room(speech, generator=seeded(1)), room(hum, generator=seeded(2))
    noisy = SNRMix((5, 5), label="keep")(near.x, other=far.x)
    got = 20 * torch.log10(level.rms(near.x) / level.rms(noisy.x - near.x))
    torch.testing.assert_close(got, torch.full((4,), 5.0).double(), atol=0.01, rtol=0)


def test_frame_labels_stay_and_fit():
    """An event's onset is where its frame begins, whatever the delay of the response."""
    x, frames = torch.zeros(6, 1, RATE), torch.zeros(6, 2, 50)
    for i in range(6):
        x[i, :, 1600 * (i % 4) + 800 :][:, :800] = noise(1, 800, seed=i)
        frames[i, 1, 10 * (i % 4) + 5 :][:5] = 1
    room = Room([response(0.2, seed=i, at=at) for i, at in enumerate((0, 333, 1500))], rate=RATE)
    mixed = room(x, frames, generator=seeded())
    assert mixed.plans[0].mixed.all()
    assert torch.equal(mixed.target, frames)
    power = mixed.x.square().view(6, 50, 160).mean(-1)
    onset = (power > 0.1 * power.amax(-1, keepdim=True)).int().argmax(-1)
    assert torch.equal(onset, mixed.target[:, 1].argmax(-1))


def test_reverberation_lasts_as_long_as_the_room_says():
    for seconds in (0.1, 0.25, 0.4):
        room = Room(response(seconds, at=12), rate=RATE, tail=True)
        heard = room(clicks(3999)).x[0, 0]
        assert decay_seconds(heard[4000:]) == pytest.approx(seconds, rel=0.1)


def test_half_precision_moves_no_response_and_state_dicts_hold_none():
    room, x = Room(response(at=5), rate=RATE), noise(2, 1, 2000)
    plain = room(x).x
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        cast = copy.deepcopy(room).to(dtype)
        assert cast.bank.samples.dtype == torch.float32
        got = cast(x.to(dtype)).x
        assert got.dtype == dtype
        torch.testing.assert_close(got.float(), plain, atol=0.05, rtol=0.02)
    assert not room.state_dict()
    assert not list(room.buffers())
    assert copy.deepcopy(room).to("meta").bank.samples.device.type == "meta"


def test_clips_on_another_device_than_the_responses_stay_there():
    room, plan = Room([response(0.2), response(0.01)], rate=RATE), RoomPlan.of(3, room=torch.tensor([0, 1, -1]))
    own = Clips(torch.empty(3, 1, 2000, device="meta"), torch.tensor([2000, 30, 0]))
    assert room.mix(own, own, plan).device.type == "meta"


def test_rooms_go_into_choices_and_loaders():
    x, bank = noise(8, 1, 2000), torch.stack([response(0.05, seed=i)[0] for i in range(3)])
    choice = OneOf([Room(bank, rate=RATE), TimeShift(0.2)], per="clip", num_classes=8)
    mixed = choice(x, torch.arange(8), generator=seeded())
    assert mixed.plans[0].mixed.any()
    again = choice(x, torch.arange(8), plan=Plan.from_json(mixed.plans[0].to_json()))
    torch.testing.assert_close(again.x, mixed.x)
    data = Indexed([(x[i], i % 2) for i in range(8)])
    collate = Collate(Room(bank, rate=RATE, num_classes=2), seed=3)
    one, two = (next(iter(DataLoader(data, 8, collate_fn=collate, num_workers=n))) for n in (0, 1))
    assert torch.equal(one.x, two.x)
    assert one.target.shape == (8, 2)


@pytest.mark.slow
def test_compiled_steps_run():
    room, x = Room(torch.stack([response(0.05, seed=i)[0] for i in range(3)]), rate=RATE), noise(4, 1, 900)

    def step(x, generator):
        return room(2 * x, generator=generator).x.abs().sum(-1)

    torch._dynamo.reset()
    compiled = torch.compile(step, backend="eager")
    for seed in range(3):
        torch.testing.assert_close(compiled(x, seeded(seed)), step(x, seeded(seed)))


def test_its_options_are_what_was_given(folder):
    given = Room(str(folder), rate=RATE, early_only=True).options()
    assert (given["early_only"], given["weights"]) == (True, None)
    other = Room(torch.stack([response(0.05, channels=2)] * 2), rate=RATE)
    assert given["responses"] == Room(str(folder), rate=RATE).options()["responses"] != other.options()["responses"]


def test_channels_may_be_last():
    x, room = noise(3, 2, 900), Room(torch.stack([response(0.05, channels=2)] * 2), rate=RATE)
    turned = room.replace(time_axis=-2)(x.transpose(1, 2), lengths=torch.tensor([900, 50, 3]))
    plain = room(x, lengths=torch.tensor([900, 50, 3]), plan=turned.plans[0])
    assert torch.equal(turned.x, plain.x.transpose(1, 2))


def test_a_room_prints_as_one_line_of_python():
    assert repr(Room(torch.tensor([[1.0, 0.5]]), p=0.5)) == "Room(responses=tensor([[1.0000, 0.5000]]), p=0.5)"
    assert "\n" not in repr(Room(noise(9, 200)))
