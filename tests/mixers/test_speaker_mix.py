"""SpeakerMix: conversations of single speakers; what the plan says of them is what is heard."""

import pytest
import torch
from laws import LAWS, batch
from sounds import noise, seeded
from torch.utils.data import DataLoader

from audiomix import (
    Clips,
    Collate,
    Example,
    OneOf,
    Pipeline,
    Plan,
    Room,
    SpeakerMix,
    SpeakerPlan,
    SpeechNoise,
    TurnHistograms,
    frame_activity,
    read_rttm,
    write_rttm,
)
from audiomix.audio import level
from audiomix.parts import stems

RATE = 1000
IDS = ["ann", "ann", "bob", "bob", "eve", "eve", "eve", "kim"]


def utterances(size=8, channels=1, total=1000, seed=1):
    """Speech of different lengths with silence around it, 0.1 s before and 0.15 s behind."""
    x = noise(size, channels, total, seed=seed) * 0.3 + 0.5
    lengths = torch.linspace(total * 0.5, total, size).round().long()
    x[..., :100] = 0
    for row, end in zip(x, lengths.tolist()):
        row[..., end - 150 :] = 0
    return x, lengths


@pytest.mark.parametrize("law", ["fastmss", "markov", TurnHistograms(([0.1], [1]), ([0.2], [1]), ([0.3], [2]))])
def test_every_utterance_is_in_the_mix_at_its_place(law):
    x, lengths = utterances()
    mixed = SpeakerMix((2, 3), (1, 2), law=law, gain_db=(-6, 0), rate=RATE)(
        x, lengths=lengths, ids=IDS, generator=seeded()
    )
    plan = mixed.plans[0]
    assert plan.mixed.all()
    for i in range(8):
        total = torch.zeros(1, mixed.x.shape[-1])
        rows = [i, *plan.partners[i][plan.partners[i] >= 0].tolist()]
        assert len(set(rows)) == len(rows)
        for k, row in enumerate(rows):
            start, gain = round(float(plan.at[i, k]) * 1000), 10 ** (float(plan.gain_db[i, k]) / 20)
            assert start >= 0
            total[:, start : start + lengths[row]] += gain * x[row, :, : lengths[row]]
            assert IDS[row] == plan.names[i][int(plan.speaker[i, k])]
        torch.testing.assert_close(mixed.x[i], total)
        assert int(mixed.lengths[i]) == max(
            round(float(plan.at[i, k]) * 1000) + int(lengths[row]) for k, row in enumerate(rows)
        )
        gains = {(int(s), float(g)) for s, g in zip(plan.speaker[i], plan.gain_db[i]) if s >= 0}
        assert len(gains) == len(plan.names[i])  # one gain a speaker


def test_the_plans_activity_is_what_is_measured_in_the_sound():
    x, lengths = utterances()
    mixed = SpeakerMix((2, 3), (1, 2), rate=RATE)(x, lengths=lengths, ids=IDS, generator=seeded(2))
    plan = mixed.plans[0]
    activity = plan.activity(0.01)
    assert activity.shape == (8, 3, -(-mixed.x.shape[-1] // 10))
    silent = x.masked_fill(torch.arange(1000) >= lengths[:, None, None], 0)
    for i in range(8):
        by_speaker = torch.zeros(3, mixed.x.shape[-1])
        for k, stem in enumerate(stems(plan, i, silent[i], silent).values()):
            end = stem.shape[-1]
            by_speaker[int(plan.speaker[i, k]), :end] += stem[0]
        heard = by_speaker != 0
        heard = torch.nn.functional.pad(heard, (0, activity.shape[-1] * 10 - heard.shape[-1])).view(3, -1, 10)
        # frames of 10 samples: what is measured begins and ends on frames of each utterance, a frame off at most
        inside, outside = heard.all(-1), ~heard.any(-1)
        wrong = (inside & (activity[i] == 0)) | (outside & (activity[i] == 1))
        turns = len(plan.turns(i))
        assert int(wrong.sum()) <= 2 * turns
        assert abs(float(heard.float().mean(-1).sum()) - float(activity[i].sum())) <= turns
        assert float(activity[i].sum()) > 60


def test_a_turn_is_the_active_part_and_the_whole_is_heard():
    x, lengths = utterances()
    given = {"lengths": lengths, "generator": seeded()}
    active = SpeakerMix(2, 1, rate=RATE)(x, **given).plans[0]
    for i in range(8):
        for k, row in enumerate([i, int(active.partner[i])]):
            onset, offset = (active.active[i, k] * 1000).round().tolist()
            begin = onset - round(float(active.at[i, k]) * 1000)
            assert begin == 100
            assert offset - onset == pytest.approx(int(lengths[row]) - 250, abs=10)
    whole = SpeakerMix(2, 1, turn="whole", rate=RATE)(x, lengths=lengths, generator=seeded()).plans[0]
    for i in range(8):
        for k, row in enumerate([i, int(whole.partner[i])]):
            assert (whole.active[i, k] - whole.at[i, k]).mul(1000).round().tolist() == [0, int(lengths[row])]


def test_rttm_says_what_the_activity_says(tmp_path):
    x, lengths = utterances()
    plan = SpeakerMix((2, 3), (1, 3), rate=RATE)(x, lengths=lengths, ids=IDS, generator=seeded(3)).plans[0]
    write_rttm(tmp_path / "all.rttm", [turn for i in range(8) for turn in plan.turns(i, f"mix{i}")])
    turns = read_rttm(tmp_path / "all.rttm")
    assert turns == [turn for i in range(8) for turn in plan.turns(i, f"mix{i}")]
    calls = [[turn for turn in turns if turn.file == f"mix{i}"] for i in range(8)]
    frames = plan.activity(0.01).shape[-1]
    assert torch.equal(frame_activity(calls, frames=frames, speakers=3), plan.activity(0.01))
    for i in range(8):
        assert list(dict.fromkeys(turn.speaker for turn in plan.turns(i))) == list(plan.names[i])
        by_name = {}
        for turn in plan.turns(i):
            assert turn.onset >= by_name.get(turn.speaker, 0) - 1e-6  # nobody overlaps themselves
            by_name[turn.speaker] = turn.offset


def test_speakers_and_turns_are_as_many_as_asked_for():
    x = noise(12, 1, 300)
    ids = [i // 3 for i in range(12)]
    for seed in range(5):
        mixer = SpeakerMix((2, 3), (2, 3), turn="whole", rate=RATE)
        plan = mixer(x, ids=ids, generator=seeded(seed)).plans[0]
        assert plan.complete.all()
        for i in range(12):
            said = [int(s) for s in plan.speaker[i] if s >= 0]
            assert 2 <= len(set(said)) <= 3
            assert all(2 <= said.count(k) <= 3 for k in set(said))
    numbers = [len(names) for seed in range(20) for names in mixer(x, ids=ids, generator=seeded(seed)).plans[0].names]
    assert abs(numbers.count(2) - 120) < 4 * 60**0.5  # 240 fair coins


def test_too_few_are_told_of():
    x = noise(4, 1, 300)
    plan = SpeakerMix((3, 4), (1, 2), rate=RATE)(x, ids=["a", "a", "b", "b"], generator=seeded()).plans[0]
    assert plan.why[0] == "2 of 3 speakers: there is no further one"
    assert not plan.complete.any()
    plan = SpeakerMix(2, 2, rate=RATE)(x, ids=["a", "a", "b", "c"], generator=seeded()).plans[0]
    assert "1 of 2 utterances of a speaker" in plan.why[0]
    lone = SpeakerMix(2, 1, rate=RATE)(x, ids=["a"] * 4, generator=seeded())
    assert not lone.plans[0].mixed.any()
    assert all(why.startswith("without a partner") for why in lone.plans[0].why)
    assert torch.equal(lone.x, x)


def test_silent_clips_take_no_part():
    x = noise(5, 1, 300)
    x[1] = 0
    for turn in ("active", "whole"):
        mixed = SpeakerMix((2, 4), 1, turn=turn, rate=RATE)(x, generator=seeded())
        plan = mixed.plans[0]
        assert not (plan.partners == 1).any()
        assert plan.why[1] == "silent original"
        assert not plan.mixed[1]
        assert plan.turns(1) == []
        assert mixed.x.isfinite().all()


def test_labels_are_shared_by_the_time_that_is_spoken():
    x, lengths = utterances()
    mixer = SpeakerMix(2, 1, num_classes=8, rate=RATE)
    mixed = mixer(x, torch.arange(8), lengths=lengths, generator=seeded())
    plan = mixed.plans[0]
    for i, j in enumerate(plan.partner.tolist()):
        spoken = (plan.active[i, :2, 1] - plan.active[i, :2, 0]) * 1000
        assert float(mixed.target[i, i]) == pytest.approx(float(spoken[0] / spoken.sum()), abs=1e-6)
        assert float(mixed.target[i, j]) == pytest.approx(float(spoken[1] / spoken.sum()), abs=1e-6)
    union = mixer.replace(rule="union")(x, torch.arange(8), lengths=lengths, generator=seeded()).target
    assert (union.sum(1) == 2).all()


def test_frame_labels_are_placed_with_their_utterances():
    x = noise(4, 1, 1000)
    frames = torch.zeros(4, 4, 100)
    frames[torch.arange(4), torch.arange(4), 20:60] = 1
    mixed = SpeakerMix(2, 1, turn="whole", rate=RATE)(x, frames, generator=seeded())
    plan = mixed.plans[0]
    for i, j in enumerate(plan.partner.tolist()):
        for k, row in enumerate((i, j)):
            start = float(plan.at[i, k]) * 100
            place = mixed.target[i, row].nonzero().flatten()
            assert len(place) == 40
            assert float(place[0]) == pytest.approx(start + 20, abs=1)


def test_the_law_and_the_boost_are_heard():
    x = noise(16, 1, 1000)
    overlap = {}
    for boost in (0, 1, 50):
        mixer = SpeakerMix((3, 3), 1, boost=boost, turn="whole", rate=RATE)
        activity = torch.cat([mixer(x, generator=seeded(s)).plans[0].activity().sum(1) for s in range(3)], 1)
        overlap[boost] = float((activity > 1).sum() / (activity > 0).sum())
    assert overlap[0] == 0
    assert 0 < overlap[1] < overlap[50]
    once = SpeakerMix((3, 3), 1, boost=50, at_once=1, turn="whole", rate=RATE)(x, generator=seeded())
    assert once.plans[0].activity().sum(1).max() == 1


def room(**options):
    return Room(clicks(), rate=RATE, normalise=None, **options)


def clicks():
    """A direct sound at sample 5, and an echo."""
    found = torch.zeros(3, 60)
    for row, (echo, gain) in zip(found, ((20, 0.5), (40, -0.4), (59, 0.3))):
        row[5], row[echo] = 1.0, gain
    return found


def pairs_of_clips(clips):
    return {"ids": [i // 2 for i in range(clips)]}


def test_each_speaker_has_a_room_of_their_own():
    x, lengths = utterances()
    mixer = SpeakerMix(2, 2, room=room(tail=True), rate=RATE)
    mixed = mixer(x, lengths=lengths, ids=IDS, generator=seeded())
    plan = mixed.plans[0]
    dry = SpeakerMix(2, 2, rate=RATE)(x, lengths=lengths, ids=IDS, generator=seeded()).plans[0]
    assert torch.equal(plan.at, dry.at)  # the direct sound stays where it was
    assert plan.turns(0) == dry.turns(0)
    rooms = torch.stack([one.room for one in plan.rooms], 1)
    assert len(rooms.unique()) == 3
    for i in range(8):
        total = torch.zeros(mixed.x.shape[-1] + 200)
        for k in plan.source_numbers(i):
            row = i if k == 0 else int(plan.partners[i, k - 1])
            clip = x[row, 0, : lengths[row]]
            response = clicks()[int(rooms[i, k])]
            wet = torch.nn.functional.conv1d(clip[None, None], response.flip(0)[None, None], padding=len(response) - 1)
            direct, start = 5, round(float(plan.at[i, k]) * 1000)
            total[start : start + wet.shape[-1] - direct] += wet[0, 0, direct:]
        end = int(mixed.lengths[i])
        torch.testing.assert_close(mixed.x[i, 0, :end], total[:end], atol=1e-5, rtol=1e-4)
        assert not total[end:].abs().max() > 1e-6  # the tail ends with the mix
        for speaker in range(2):
            assert len(rooms[i][plan.speaker[i] == speaker].unique()) == 1
    assert not mixer.needs.summed


@pytest.mark.parametrize("options", [{}, {"tail": True}, {"p": 0.5, "early_only": 0.02}])
def test_the_laws_hold_with_rooms(options):
    mixer = SpeakerMix(2, (1, 2), room=room(**options), rate=RATE)
    for law in LAWS:
        law(Example(mixer, pairs_of_clips, writes_out=False, compiles=False, exact=False))


def test_rooms_go_with_the_rate_and_with_plans():
    mixer = SpeakerMix(2, 1, room=room(), rate=RATE)
    assert mixer.at_rate(2000).room.rate == 2000
    assert mixer.at_rate(RATE) is mixer
    x = noise(4, 1, 500)
    plan = mixer(x, generator=seeded()).plans[0]
    assert torch.equal(mixer(x, plan=Plan.from_json(plan.to_json())).x, mixer(x, generator=seeded()).x)
    with pytest.raises(ValueError, match="plan must be drawn with room=None, got one with rooms"):
        SpeakerMix(2, 1, rate=RATE)(x, plan=plan)
    with pytest.raises(ValueError, match="drawn from the same impulse responses"):
        mixer.replace(room=Room(torch.ones(1, 3), rate=RATE))(x, plan=plan)
    with pytest.raises(ValueError, match="room must be at 16000 Hz, as the mixer is, got 1000 Hz"):
        SpeakerMix(room=room(), rate=16000)
    with pytest.raises(TypeError, match=r"room must be a Room.*responses\? Room\(responses"):
        SpeakerMix(room=torch.ones(1, 3))


def test_noise_is_added_behind_it_at_its_snr():
    x, lengths = utterances()
    chain = Pipeline([SpeakerMix(2, 1, rate=RATE), SpeechNoise(10.0, noise=noise(1, 1, 400, seed=9), rate=RATE)])
    mixed = chain(x, lengths=lengths, generator=seeded())
    clean = SpeakerMix(2, 1, rate=RATE)(x, plan=mixed.plans[0], lengths=lengths)
    assert torch.equal(mixed.lengths, clean.lengths)
    added = mixed.x - clean.x
    window = round(0.032 * RATE)
    speech, hiss = (level.level(one, "active", clean.lengths, window=window) for one in (clean.x, added))
    torch.testing.assert_close(level.db(speech / hiss), torch.full((8,), 10.0).double(), atol=0.1, rtol=0)
    assert isinstance(mixed.plans[0], SpeakerPlan)


def test_a_second_batch_names_its_speakers():
    x, other = noise(3, 1, 300), noise(6, 1, 500, seed=2)
    mixer = SpeakerMix((2, 3), (1, 2), rate=RATE)
    mixed = mixer(x, other=other, ids=["a", "b", "c"], other_ids=["a", "a", "d", "d", "e", "f"], generator=seeded())
    plan = mixed.plans[0]
    for i, name in enumerate("abc"):
        assert name in plan.names[i]
        rows = plan.partners[i][plan.partners[i] >= 0].tolist()
        assert all("aaddef"[j] in plan.names[i] for j in rows)
    with pytest.raises(ValueError, match="other_ids must be given, as those of the other batch are"):
        mixer(x, other=other, ids=["a", "b", "c"])
    plain = mixer(x, other=other, generator=seeded()).plans[0]  # without names all are different people
    assert all(len(plain.turns(i)) == len(set(plain.names[i])) for i in range(3))
    assert plain.names[0][0] == "speaker0"


def test_rows_stereo_mono_and_a_choice():
    x = noise(6, 2, 300)
    mixer = SpeakerMix(2, 1, gain_db=(-3, 3), rate=RATE)
    mixed = mixer(x, generator=seeded())
    flat = mixer(x[:, 0], plan=mixed.plans[0])
    assert torch.equal(flat.x, mixed.x[:, 0])
    own = Clips(x)
    some = mixer.take_rows(own, own, mixed.plans[0], torch.tensor([2, 4]))
    alone = mixer.render_into(*some)
    assert torch.equal(alone, mixed.x[[2, 4], :, : alone.shape[-1]])
    chosen = OneOf([mixer, mixer.replace(speakers=3)], per="clip")(x, generator=seeded())
    assert chosen.x.shape[-1] > 300


def test_eval_says_who_speaks_in_each_clip():
    x, lengths = utterances()
    plan = SpeakerMix((2, 3), rate=RATE).eval()(x, lengths=lengths, ids=IDS).plans[0]
    activity = plan.activity(0.01)
    assert activity.shape[:2] == (8, 3)
    assert torch.equal(activity[:, 0].sum(1), ((plan.active[:, 0, 1] - plan.active[:, 0, 0]) * 100).round().float())
    assert plan.names == tuple((name,) for name in IDS)


def test_it_describes_its_turns():
    plan = SpeakerMix(2, 1, rate=RATE)(noise(3, 1, 300), ids=["a", "b", "c"], generator=seeded()).plans[0]
    found = plan.describe(0)
    assert [turn["speaker"] for turn in found["turns"]] == [turn.speaker for turn in plan.turns(0)]
    assert found["why"] is None


def test_gradients_and_half_precision():
    x = noise(6, 1, 300).requires_grad_()
    mixed = SpeakerMix(2, 1, room=room(), rate=RATE)(x, generator=seeded())
    mixed.x.square().sum().backward()
    assert x.grad.isfinite().all()
    assert (x.grad != 0).any(-1).all()
    half = SpeakerMix(2, 1, rate=RATE)(x.detach().half(), generator=seeded())
    assert half.x.dtype == torch.float16


def test_wrong_options_are_named():
    with pytest.raises(ValueError, match=r"speakers must be \(fewest, most\).*the other way round"):
        SpeakerMix((3, 2))
    with pytest.raises(TypeError, match=r"turns must be a whole number, or \(fewest, most\)"):
        SpeakerMix(2, "1-2")
    with pytest.raises(ValueError, match="p=0 mixes nothing"):
        SpeakerMix(1, 1)
    with pytest.raises(ValueError, match="law must be one of fastmss, markov.*did you mean 'fastmss'"):
        SpeakerMix(law="fastms")
    with pytest.raises(ValueError, match="boost must be left out with histograms"):
        SpeakerMix(law=TurnHistograms(([1], [1]), ([1], [1])), boost=2)
    with pytest.raises(ValueError, match="ids must be given with turns of 2 and more"):
        SpeakerMix(2, 2, rate=RATE)(noise(4, 1, 300))
    with pytest.raises(ValueError, match="ids must be of 4 items"):
        SpeakerMix(2, 1, rate=RATE)(noise(4, 1, 300), ids=["a"])
    with pytest.raises(ValueError, match="out must be .* samples long, as the longest mix is"):
        SpeakerMix(2, 1, rate=RATE)(noise(4, 1, 300), out=torch.zeros(4, 1, 300), generator=seeded())
    with pytest.raises(ValueError, match=r"waveforms \(B, T\) or \(B, C, T\) for SpeakerMix"):
        SpeakerMix(2, 1, rate=RATE)(noise(4, 1, 12, 30))


def test_a_batch_of_many_speakers_is_drawn_in_order():
    """Who is chosen depends on the generator alone, and all clips are chosen equally often."""
    x, counts = batch(Example(SpeakerMix(rate=RATE)), 10), torch.zeros(10)
    for seed in range(120):
        partners = SpeakerMix(2, 1, turn="whole", rate=RATE)(x, generator=seeded(seed)).plans[0].partner
        counts += torch.bincount(partners, minlength=10)
    assert counts.sum() == 1200
    assert (counts - 120).abs().max() < 45


class Speech(torch.utils.data.Dataset):
    """Rows as Hugging Face's sets of speech have them."""

    def __init__(self):
        self.x, self.lengths = utterances()

    def __len__(self):
        return 8

    def __getitem__(self, index):
        sound = self.x[index, 0, : self.lengths[index]]
        return {"id": f"utt{index}", "audio": sound, "speaker": IDS[index]}


def test_a_loader_names_the_speakers_whatever_its_workers():
    batches = []
    for workers in (0, 2):
        collate = Collate(SpeakerMix(2, (1, 2), rate=RATE), seed=3)
        loader = DataLoader(Speech(), batch_size=4, collate_fn=collate, num_workers=workers)
        batches.append([(batch["audio"], batch.plans[0].to_json()) for batch in loader])
    for (x, plan), (again, same) in zip(*batches):
        assert torch.equal(x, again)
        assert plan == same
        assert all(len(turns) > 1 for turns in map(Plan.from_json(plan).turns, range(4)))
        assert all(set(names) <= set(IDS) for names in Plan.from_json(plan).names)
