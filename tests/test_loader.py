"""Batches of any items through `Collate`, and what comes back."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from sounds import noise
from torch.utils.data import DataLoader, Dataset, Subset

from audiomix import (
    Collate,
    CutMix,
    Indexed,
    MixedDict,
    MixUp,
    Pipeline,
    SNRMix,
    SpeechNoise,
    StreamMix,
)
from audiomix.torchaudio import transforms as T

CLIPS = [(noise(1, 900 + 20 * i, seed=i), i % 4) for i in range(12)]


def batches(workers, epoch=0, order=range(12), seed=0, persistent=False):
    collate = Collate(MixUp(0.4, num_classes=4), seed=seed)
    loader = DataLoader(
        Subset(Indexed(CLIPS), list(order)),
        batch_size=4,
        collate_fn=collate,
        num_workers=workers,
        persistent_workers=persistent,
    )
    if persistent:
        collate.set_epoch(0)
        list(loader)
    collate.set_epoch(epoch)
    return list(loader)


def equal(a, b):
    return all(torch.equal(p.x, q.x) and torch.equal(p.target, q.target) for p, q in zip(a, b, strict=True))


def test_collate_is_the_same_with_any_number_of_workers():
    assert equal(batches(0), batches(2))
    first = batches(0)[0]
    assert first.x.shape == (4, 1, 960)
    assert first.lengths.tolist() == [900, 920, 940, 960]


def test_collate_differs_between_epochs_seeds_and_batches_even_with_workers_that_live_on():
    assert not equal(batches(0), batches(0, epoch=1))
    assert not equal(batches(0), batches(0, seed=1))
    assert equal(batches(0, epoch=1), batches(2, epoch=1, persistent=True))
    weights = [b.plans[0].gain_db for b in batches(2)]
    assert not torch.equal(weights[0], weights[1])  # a generator copied into workers would repeat itself


def test_a_batch_does_not_depend_on_what_came_before():
    late = batches(0, order=range(8, 12))[0]
    assert torch.equal(late.x, batches(0)[2].x)


def ragged(count=4, classes=4):
    return [(noise(1, 500 + 50 * i, seed=i), i % classes) for i in range(count)]


def collated(collate, values):
    return collate([Indexed(values)[i] for i in range(len(values))])


def test_what_comes_back_is_the_mix_of_the_padded_batch():
    clips = ragged()
    collate = Collate(MixUp(0.4, num_classes=4), seed=3)
    got = collated(collate, clips)
    x, lengths = torch.zeros(4, 1, 650), torch.tensor([500, 550, 600, 650])
    for row, (wave, _) in zip(x, clips):
        row[:, : wave.shape[-1]] = wave
    generator = collate.generator([0, 1, 2, 3])
    expected = MixUp(0.4, num_classes=4)(x, torch.arange(4), lengths=lengths, generator=generator)
    assert torch.equal(got.x, expected.x)
    assert torch.equal(got.target, expected.target)
    assert torch.equal(got.lengths, lengths)


def test_clips_of_one_length_have_full_lengths_and_the_mix_of_a_call_without():
    clips = [(noise(1, 300, seed=i), i) for i in range(4)]
    collate = Collate(MixUp(0.4, num_classes=4))
    got = collated(collate, clips)
    expected = MixUp(0.4, num_classes=4)(
        torch.stack([wave for wave, _ in clips]), torch.arange(4), generator=collate.generator(range(4))
    )
    assert torch.equal(got.x, expected.x)
    assert got.lengths.tolist() == [300] * 4


class Clip(NamedTuple):
    waveform: Any
    label: Any
    speaker: Any = None
    text: Any = ""


@dataclass
class Row:
    audio: Any
    target: Any
    name: str


def rows(count=4, size=None, **more):
    return [
        {
            "id": f"clip{i}",
            "input_values": noise(size or 400 + 40 * i, seed=i).numpy(),
            "attention_mask": np.ones(size or 400 + 40 * i, np.int64),
            "labels": i,
            "path": f"{i}.wav",
            "vector": np.full(3, i),
            "tokens": list(range(i)),
            **{name: values[i] for name, values in more.items()},
        }
        for i in range(count)
    ]


def test_rows_of_hugging_face():
    collate = Collate(MixUp(0.4, num_classes=4), seed=1)
    batch = collate(rows())
    assert isinstance(batch, MixedDict)
    assert list(batch) == list(rows()[0])
    assert batch["input_values"].shape == (4, 520)
    assert batch["labels"].shape == (4, 4)
    assert batch["attention_mask"].dtype == torch.int64
    assert batch["attention_mask"].sum(1).tolist() == [400, 440, 480, 520] == batch.lengths.tolist()
    assert (batch["input_values"][0, 400:] == 0).all()
    assert batch["path"] == [f"{i}.wav" for i in range(4)]
    assert batch["id"] == [f"clip{i}" for i in range(4)]
    assert torch.equal(batch["vector"], torch.arange(4)[:, None].expand(4, 3))
    assert batch["tokens"] == [[], [0], [0, 1], [0, 1, 2]]
    # the same as a mix of the tensors
    plain = Collate(MixUp(0.4, num_classes=4), seed=1, key=lambda item: f"clip{item[1]}")
    expected = plain([(row["input_values"], row["labels"]) for row in rows()])
    assert torch.equal(batch["input_values"], expected.x[:, 0])
    assert torch.equal(batch["labels"], expected.target)
    assert batch.plans[0].to_json() == expected.plans[0].to_json()


def test_a_mask_of_rows_that_are_padded_already_says_what_is_valid():
    padded = rows(3, size=500)
    for row, end in zip(padded, (500, 300, 200)):
        row["attention_mask"] = [1] * end + [0] * (500 - end)
        row["input_values"][end:] = 1e6  # whatever a feature extractor leaves there
    mixed = Collate(MixUp(num_classes=4))(padded)
    assert mixed.lengths.tolist() == [500, 300, 200]
    assert mixed["input_values"].abs().max() < 100
    padded[1]["attention_mask"] = [0] * 200 + [1] * 300
    with pytest.raises(ValueError, match=r"mask of item 1 \(id 'clip1'\) must be ones, then zeros"):
        Collate(MixUp(num_classes=4))(padded)
    given = [{"wave": noise(300), "length": end, "id": i} for i, end in enumerate((300, 100))]
    assert Collate(MixUp())(given).lengths.tolist() == [300, 300]  # seconds, tokens? it must be named
    mixed = Collate(MixUp(), lengths="length")(given)
    assert mixed["length"].tolist() == [300, 100]
    assert (mixed["wave"][1, 100:] == 0).all()


def test_entries_that_are_named_are_added_and_others_left_out():
    bare = [{"input_values": row["input_values"], "labels": row["labels"], "id": row["id"]} for row in rows()]
    collate = Collate(
        MixUp(num_classes=4), mask="attention_mask", entries=["input_values", "labels", "attention_mask"], add=["plans"]
    )
    batch = collate(bare)
    assert set(batch) == {"input_values", "labels", "attention_mask", "plans"}
    assert batch["plans"] == batch.plans
    with pytest.raises(ValueError, match="entries must be one of .*, got 'label': did you mean 'labels'"):
        Collate(MixUp(num_classes=4), entries=["label"])(bare)


def test_tuples_named_tuples_and_dataclasses_come_back_in_their_form():
    mixer = MixUp(0.4, num_classes=4)
    waves = [noise(1, 300 + i, seed=i) for i in range(4)]
    expected = collated(Collate(mixer), [(wave, i) for i, wave in enumerate(waves)])
    # torchaudio's: (wave, rate, label, speaker, number)
    names = ["cat", "dog", "no", "yes"]
    speech = [(wave, 16000, names[i], f"s{i}", i) for i, wave in enumerate(waves)]
    x, rate, label, speaker, number, lengths = collated(
        Collate(mixer, wave=0, label=2, class_names=names, add=["lengths"]), speech
    )
    assert torch.equal(x, expected.x)
    assert torch.equal(label, expected.target)
    assert torch.equal(lengths, expected.lengths)
    assert rate.tolist() == [16000] * 4
    assert speaker == ["s0", "s1", "s2", "s3"]
    assert number.tolist() == [0, 1, 2, 3]
    named = collated(Collate(mixer), [Clip(wave, i, i, "x") for i, wave in enumerate(waves)])
    assert type(named) is Clip
    assert torch.equal(named.waveform, expected.x)
    assert torch.equal(named.label, expected.target)
    assert named.text == ["x"] * 4
    made = collated(Collate(mixer), [Row(wave, i, "n") for i, wave in enumerate(waves)])
    assert type(made) is Row
    assert torch.equal(made.audio, expected.x)
    assert torch.equal(made.target, expected.target)
    assert made.name == ["n"] * 4
    bare = collated(Collate(MixUp(0.4)), waves)
    assert torch.equal(bare.x, expected.x)
    assert bare.target is None


def test_audio_columns_of_hugging_face():
    sounds = [{"path": f"{i}.wav", "array": noise(300 + i, seed=i).numpy(), "sampling_rate": 16000} for i in range(3)]
    batch = Collate(SNRMix(label="keep"))([{"audio": s, "label": i, "id": i} for i, s in enumerate(sounds)])
    assert batch["audio"]["array"].shape == (3, 302)
    assert batch["audio"]["sampling_rate"] == 16000
    assert batch["audio"]["path"] == ["0.wav", "1.wav", "2.wav"]
    assert batch.to("meta")["audio"]["array"].device.type == "meta"
    assert batch["label"].tolist() == [0, 1, 2]  # the noise has none: they are as they were
    sounds[2]["sampling_rate"] = 8000
    with pytest.raises(ValueError, match=r"of one sampling rate, got 16000 in item 0 .* and 8000 in item 2"):
        Collate(SNRMix(label="keep"))([{"audio": s, "label": i, "id": i} for i, s in enumerate(sounds)])


def test_decoders_of_torchcodec():
    class Samples(NamedTuple):
        data: torch.Tensor

    class Metadata(NamedTuple):
        sample_rate: int

    class Decoder:
        metadata = Metadata(8000)

        def __init__(self, seed):
            self.seed = seed

        def get_all_samples(self):
            return Samples(noise(2, 200, seed=self.seed))

    batch = Collate(MixUp())([{"audio": Decoder(i), "id": i} for i in range(3)])
    assert batch["audio"]["array"].shape == (3, 2, 200)
    assert batch["audio"]["sampling_rate"] == 8000


def test_labels_of_every_kind():
    waves = [noise(1, 100 + 50 * i, seed=i) for i in range(3)]
    frames = collated(Collate(MixUp()), [(w, torch.ones(2, 10 + 5 * i)) for i, w in enumerate(waves)])
    assert frames.target.shape == (3, 2, 20)
    assert (collated(Collate(MixUp(p=0.0)), [(w, torch.ones(2, 10 + 5 * i)) for i, w in enumerate(waves)]).target[
        0, :, 10:
    ] == 0).all()
    value = collated(Collate(MixUp()), [(w, 0.5 * i) for i, w in enumerate(waves)])
    assert value.target.shape == (3, 1)
    dicts = Collate(MixUp())([{"wave": w, "target": 0.5, "id": i} for i, w in enumerate(waves)])
    assert torch.equal(dicts["target"], torch.full((3,), 0.5))
    vectors = collated(Collate(MixUp()), [(w, [0.0, 1.0]) for w in waves])
    assert torch.equal(vectors.target, torch.tensor([[0.0, 1.0]] * 3))
    # transcripts are not mixed, and no label is: they come back as they are
    spoken = Collate(SpeechNoise(babble=1))([{"wave": w, "labels": [1] * i, "id": i} for i, w in enumerate(waves)])
    assert spoken["labels"] == [[], [1], [1, 1]]
    assert collated(Collate(SpeechNoise(babble=1)), [(w, "a text") for w in waves]).target == ["a text"] * 3
    none = Collate(MixUp(), label=False, key=1)([(w, i) for i, w in enumerate(waves)])
    assert none[1].tolist() == [0, 1, 2]


def test_spectrograms_with_time_first_or_last():
    last = collated(Collate(MixUp(num_classes=3)), [(noise(40, 20 + i, seed=i), i) for i in range(3)])
    assert last.x.shape == (3, 40, 22)
    assert last.lengths.tolist() == [20, 21, 22]
    turned = collated(
        Collate(CutMix("time", num_classes=3, time_axis=-2)), [(noise(20 + i, 40, seed=i), i) for i in range(3)]
    )
    assert turned.x.shape == (3, 22, 40)
    assert turned.lengths.tolist() == [20, 21, 22]
    padding = turned.x[torch.arange(22) >= turned.lengths[:, None]]
    assert padding.shape == (3, 40)
    assert (padding == 0).all()
    chain = Pipeline([MixUp(), T.MelSpectrogram(8000, n_fft=64, hop_length=32, n_mels=8)])
    mels = Collate(chain)([{"id": i, "input_values": noise(320), "attention_mask": np.ones(320)} for i in range(3)])
    assert mels["input_values"].shape == (3, 8, 11)
    assert mels["attention_mask"].shape == (3, 11)
    assert mels["attention_mask"].dtype == torch.float64
    first = Collate(StreamMix(0.5), other="sound")
    items = [{"wave": noise(20 + i, 8, seed=i), "sound": noise(20 + i, 8, seed=9 + i), "id": i} for i in range(3)]
    batch = first(items)
    assert batch["wave"].shape == (3, 22, 8) == batch["sound"].shape
    assert batch.lengths.tolist() == [20, 21, 22]


def test_eval_changes_nothing_and_asks_for_no_partners():
    clips = ragged()
    still = collated(Collate(MixUp(num_classes=4).eval(), other=clips), clips)
    assert torch.equal(still.target, torch.eye(4))
    assert all(torch.equal(x[:, : w.shape[-1]], w) for x, (w, _) in zip(still.x, clips))
    assert not still.plans[0].mixed.any()


@pytest.mark.parametrize(
    ("wave", "message"),
    [
        (torch.zeros(1, 9, dtype=torch.int16), r"item 1 \(id 1\) must be floating point, got torch.int16: 16 bit"),
        (b"RIFF", r"item 1 \(id 1\) must be samples: .*, got bytes b'RIFF': the data set must decode it"),
        (None, r"item 1 \(id 1\) must be samples: a tensor, an array or a list of numbers, got NoneType"),
        ("a.wav", r"item 1 \(id 1\) must be samples: .*, got str 'a.wav'"),
        (torch.zeros(1, 9).double(), r"item 1 \(id 1\) must be torch.float32, as that of item 0"),
    ],
)
def test_items_that_are_no_sounds_are_named(wave, message):
    with pytest.raises(TypeError, match=message):
        collated(Collate(MixUp(num_classes=2)), [(torch.zeros(1, 9), 0), (wave, 1)])


def test_collate_names_what_is_missing():
    with pytest.raises(TypeError, match="wrap the data set in audiomix.Indexed"):
        Collate(MixUp())([(torch.zeros(5), 0)])
    keyed = Collate(MixUp(num_classes=2), key=lambda item: item[0].sum().item())
    assert keyed([(torch.randn(5), 0), (torch.randn(7), 1)]).x.shape == (2, 1, 7)
    with pytest.raises(TypeError, match="targets must be a torch.Tensor, got text such as 'dog': class names"):
        keyed([(torch.zeros(5), "dog"), (torch.zeros(5), "cat")])
    with pytest.raises(ValueError, match="of one number of channels .*item 0.* in item 1"):
        keyed([(torch.zeros(1, 5), 0), (torch.zeros(2, 5), 0)])
    with pytest.raises(ValueError, match=r"either all labelled or none, got 1 of 2 without a label, the first item 1"):
        keyed([(torch.zeros(5), 0), (torch.zeros(5), None)])
    named = Collate(MixUp(num_classes=2), class_names=["cat", "dog"])
    with pytest.raises(ValueError, match="label of item 1 .* must be one of cat, dog, got 'dgo': did you mean 'dog'"):
        collated(named, [(torch.ones(5), "dog"), (torch.ones(5), "dgo")])
    with pytest.raises(ValueError, match="items must be with a sound .*wave='...'; items have 'x', 'id'"):
        Collate(MixUp())([{"x": torch.zeros(5), "id": 0}])
    with pytest.raises(ValueError, match=r"item 1 must be like item 0, with entries 'wave', 'id', got 'id': fill in"):
        Collate(MixUp())([{"wave": torch.zeros(5), "id": 0}, {"id": 1}])
    with pytest.raises(ValueError, match="label must be an entry of the items, got 'labels'"):
        Collate(MixUp(), label="labels")([{"wave": torch.zeros(5), "id": 0}])
    with pytest.raises(ValueError, match="items must be at least one item"):
        Collate(MixUp())([])
    with pytest.raises(ValueError, match="notes must be one of .*'beat': did you mean 'beats'"):
        Collate(MixUp(), notes={"beat": "b"})
    with pytest.raises(ValueError, match=r"len\(other\) must be an integer of at least 1, got 0: an empty data set"):
        Collate(MixUp(), other=[])


def test_a_batch_of_one_is_unchanged():
    one = collated(Collate(MixUp(num_classes=2)), [(noise(1, 50), 1)])
    assert torch.equal(one.x[0], noise(1, 50))
    assert one.target.tolist() == [[0.0, 1.0]]


class Noted(Dataset):
    """A second data set whose labels, captions and beats say which item they are of."""

    def __init__(self, size, first=0):
        self.size, self.first, self.read = size, first, []

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        self.read.append(index)
        number = self.first + index
        return {"wave": torch.full((200 + index,), 1.0 + number), "label": number, "caption": f"Sound {number}."}


def test_partners_from_a_second_data_set_bring_their_labels():
    own = [{"wave": torch.zeros(250), "label": 0, "id": i} for i in range(6)]
    other = Noted(9, first=1)
    collate = Collate(MixUp(0.4, num_classes=10), other=other, seed=2)
    batch = collate(own)
    assert len(set(other.read)) == 6 == len(other.read)  # none twice
    plan = batch.plans[0]
    for i, j in enumerate(plan.partner.tolist()):
        number, size = 1 + other.read[j], 200 + other.read[j]
        share = float(plan.gains()[1][i])
        expected = torch.zeros(250)
        expected[:size] = share * (1.0 + number)
        torch.testing.assert_close(batch["wave"][i], expected)
        assert batch["labels" if "labels" in batch else "label"][i].nonzero().flatten().tolist() in ([0, number], [0])


class Watched(MixUp):
    """A mixer that keeps what it was given."""

    def draw(self, own, source, **options):
        self.own, self.source = own, source
        return super().draw(own, source, **options)


def test_notes_of_both_data_sets_are_those_of_their_items():
    mixer, other = Watched(num_classes=10), Noted(9, first=1)
    own = [{"wave": torch.zeros(250), "label": 0, "id": i, "text": f"own {i}"} for i in range(4)]
    with pytest.raises(ValueError, match=r"notes\['captions'\] must be an entry of the items, got 'text': items"):
        Collate(mixer, other=other, notes={"captions": "text"})(own)
    captioned = [{"caption" if key == "text" else key: value for key, value in item.items()} for item in own]
    Collate(mixer, other=other, notes={"captions": "caption"})(captioned)
    assert mixer.own.notes.captions == [f"own {i}" for i in range(4)]
    numbers = [1 + index for index in other.read[-4:]]
    assert mixer.source.x[:, 0, 0].tolist() == [1.0 + number for number in numbers]
    assert mixer.source.target.tolist() == numbers
    assert mixer.source.notes.captions == [f"Sound {number}." for number in numbers]
    assert mixer.source.lengths.tolist() == [199 + number for number in numbers]


def test_the_second_data_set_is_drawn_from_evenly_or_by_weights():
    collate = Collate(SNRMix(label="keep"), other=Noted(8))
    counts = torch.zeros(8)
    for epoch in range(400):
        collate.set_epoch(epoch)
        collate([{"wave": noise(50), "label": 0, "id": i} for i in range(3)])
    counts = torch.bincount(torch.tensor(collate.other.read), minlength=8).double()
    expected = 400 * 3 / 8
    # chi-square with 7 degrees of freedom: 24.3 is its 99.9 % point; three different ones a batch vary less
    assert ((counts - expected) ** 2 / expected).sum() < 24.3
    weighted = Collate(SNRMix(label="keep"), other=Noted(4), other_weights=[0, 1, 3, 0])
    for epoch in range(400):
        weighted.set_epoch(epoch)
        weighted([{"wave": noise(50), "label": 0, "id": 0}])
    counts = torch.bincount(torch.tensor(weighted.other.read), minlength=4)
    assert counts[0] == counts[3] == 0
    assert abs(int(counts[2]) - 300) < 4 * (400 * 0.75 * 0.25) ** 0.5
    few = Collate(SNRMix(label="keep"), other=Noted(4), other_weights=[0, 1, 3, 0])
    few([{"wave": noise(50), "label": 0, "id": i} for i in range(5)])
    assert sorted(few.other.read) == [1, 2]
    with pytest.raises(ValueError, match="other_weights must be 4 numbers of at least 0"):
        Collate(MixUp(), other=Noted(4), other_weights=[1, -1, 0, 0])


@pytest.mark.parametrize("form", ["indexed", "rows"])
def test_no_clip_meets_itself_in_a_second_data_set_that_is_its_own(form):
    clips = [(noise(1, 500, seed=i), i % 4) for i in range(6)]
    rows = [{"id": i, "wave": x, "label": y} for i, (x, y) in enumerate(clips)]
    dataset = Indexed(clips) if form == "indexed" else rows
    sounds = torch.stack([x for x, _ in clips])
    for seed in range(10):
        collate = Collate(MixUp(weight=0.5, num_classes=4), other=dataset, seed=seed)
        batch = collate([dataset[i] for i in range(6)])
        x = batch.x if form == "indexed" else batch["wave"]
        partner = 2 * x - sounds
        assert ((partner[:, None] - sounds).abs().amax((-1, -2)).argmin(1) != torch.arange(6)).all()
        assert (batch.plans[0].weight == 0.5).all()
