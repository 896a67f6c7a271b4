"""Notes of the items in a DataLoader, and the same bits with any number of workers."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sounds import noise
from torch import nn
from torch.utils.data import DataLoader, Dataset

from audiomix import (
    BeatGrid,
    BeatMix,
    CaptionMix,
    Collate,
    Indexed,
    MixedDict,
    MixUp,
    NoiseFolder,
    Pipeline,
    SNRMix,
    SpeechNoise,
    StreamMix,
)
from audiomix.audio import io
from audiomix.datasets.demo import assets


class Loops(Dataset):
    """Real loops with their beats, as users have them: lists of seconds, grids, or none."""

    NAMES = ("house_128", "rock_120")

    def __init__(self, form="grid", copies=2):
        self.form, self.copies = form, copies

    def __len__(self):
        return len(self.NAMES) * self.copies

    def __getitem__(self, index):
        path = assets() / "loops" / f"{self.NAMES[index % len(self.NAMES)]}.flac"
        clip = io.read(path, rate=8000, channels=1, seconds=4.0)
        grid = BeatGrid.read(path.with_suffix(".beats")).between(0.0, clip.seconds)
        beats = {"grid": grid, "list": list(grid.times), "array": np.array(grid.times)}.get(self.form)
        return {"id": index, "wave": clip.samples, "label": index % 4, "beats": beats}


def run(collate, dataset, workers, epochs=1, **options):
    """All batches of some epochs."""
    found = []
    loader = DataLoader(dataset, batch_size=4, collate_fn=collate, num_workers=workers, **options)
    for epoch in range(epochs):
        collate.set_epoch(epoch)
        found += list(loader)
    return found


def same(a, b):
    assert len(a) == len(b) > 0
    for one, two in zip(a, b):
        x, y = (batch["wave"] if isinstance(batch, dict) else batch.x for batch in (one, two))
        assert torch.equal(x, y)
        assert [p.to_json() for p in one.plans] == [p.to_json() for p in two.plans]


def test_beats_of_the_items_reach_the_mixer_in_a_loader_with_workers():
    made = [
        run(Collate(BeatMix(rate=8000, num_classes=4)), Loops(form, copies=4), 0) for form in ("grid", "list", "array")
    ]
    assert any(batch.plans[0].mixed.any() for batch in made[0])
    same(run(Collate(BeatMix(rate=8000, num_classes=4)), Loops(copies=4), 2), made[0])
    # lists know no downbeats; arrays are the same lists
    same(made[1], made[2])
    assert made[0][0]["beats"] == [Loops()[i]["beats"] for i in range(4)]
    bare = [{key: value for key, value in Loops()[i].items() if key != "beats"} for i in (0, 1)]
    with pytest.raises(TypeError, match="beats must be given"):
        Collate(BeatMix(rate=8000, num_classes=4))(bare)


def test_beats_of_a_second_data_set_are_those_of_its_items():
    own, other = Loops(), Loops(copies=6)
    batch = Collate(BeatMix(rate=8000, num_classes=4), other=other, seed=4)([own[i] for i in range(4)])
    assert batch.plans[0].mixed.any()
    tuples = [tuple(own[i][key] for key in ("wave", "label", "beats")) for i in range(4)]
    collate = Collate(BeatMix(rate=8000, num_classes=4), notes={"beats": 2}, key=lambda item: str(item[1]))
    x, _, beats = collate(tuples)
    assert x.shape[0] == 4 == len(beats)


class Captioned(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        names = ("birds", "clock", "engine", "rain", "sea_waves", "siren", "dog_bark", "church_bell")
        clip = io.read(assets() / "sounds" / f"{names[index]}.flac", rate=8000, channels=1, seconds=2.0)
        return {"id": names[index], "audio": clip.samples, "caption": f"A {names[index].replace('_', ' ')} is heard."}


def test_captions_come_back_as_those_of_the_mixes():
    batches = run(Collate(CaptionMix(rate=8000)), Captioned(), 0)
    for batch in batches:
        plan = batch.plans[0]
        assert plan.mixed.any()
        for i, text in enumerate(batch["caption"]):
            if plan.mixed[i]:
                assert text == (plan.caption[i] or None)
    plain = Collate(CaptionMix(rate=8000).eval())([Captioned()[i] for i in range(4)])
    assert plain["caption"] == [Captioned()[i]["caption"] for i in range(4)]
    same_texts = run(Collate(CaptionMix(rate=8000)), Captioned(), 2)
    for one, two in zip(batches, same_texts, strict=True):
        assert torch.equal(one["audio"], two["audio"])
        assert one["caption"] == two["caption"]


class Speech(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        return {"id": index, "wave": noise(1, 3000 + 100 * index, seed=index) * 0.1, "speaker": f"s{index % 3}"}


class Streams(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        size = 20 + index
        return {"id": index, "wave": noise(size, 6, seed=index), "sound": noise(size, 6, seed=index + 50)}


def mixing(kind):
    folder, snr = NoiseFolder(assets() / "sounds", seconds=0.2, rate=8000), SNRMix(label="keep")
    return {
        "snr": lambda: (Collate(SNRMix(label="keep"), other=folder), Speech()),
        "speech": lambda: (Collate(SpeechNoise(rate=8000), other=folder), Speech()),
        "babble": lambda: (Collate(SpeechNoise(babble=2, rate=8000)), Speech()),
        "second": lambda: (Collate(SNRMix(label="keep"), other=Speech()), Speech()),
        "stream": lambda: (Collate(StreamMix(0.5, mode="replace"), other="sound"), Streams()),
        "pipeline": lambda: (Collate(Pipeline([snr, nn.Identity(), snr]), other=folder), Speech()),
    }[kind]()


@pytest.mark.parametrize("kind", ["snr", "speech", "babble", "second", "stream", "pipeline"])
def test_workers_and_epochs_change_no_bit(kind):
    collate, dataset = mixing(kind)
    alone = run(collate, dataset, 0, epochs=2)
    assert alone[0].plans[0].mixed.any()
    assert not torch.equal(alone[0]["wave"], alone[2]["wave"])
    collate, dataset = mixing(kind)
    same(run(collate, dataset, 2, epochs=2, persistent_workers=True), alone)


@pytest.mark.slow
def test_spawned_workers_change_no_bit():
    collate, dataset = mixing("snr")
    alone = run(collate, dataset, 0, epochs=2)
    same(run(collate, dataset, 1, epochs=2, persistent_workers=True, multiprocessing_context="spawn"), alone)


def test_speakers_of_the_items_keep_babble_from_being_ones_own_voice():
    items = [{**Speech()[i], "speaker": "a" if i < 3 else "b"} for i in range(4)]
    plan = Collate(SpeechNoise(babble=1, rate=8000))(items).plans[0]
    assert plan.voices[:, 0].tolist()[:3] == [3, 3, 3]
    assert plan.voices[3, 0] in (0, 1, 2)
    given = [{k: v for k, v in item.items() if k != "speaker"} | {"who": item["speaker"]} for item in items]
    named = Collate(SpeechNoise(babble=1, rate=8000), notes={"ids": "who"})(given)
    assert named.plans[0].voices[:, 0].tolist()[:3] == [3, 3, 3]


def test_batches_and_collates_survive_pickling_and_copies_keep_the_plans():
    collate, dataset = mixing("snr")
    batch = collate([dataset[i] for i in range(3)])
    again = pickle.loads(pickle.dumps(batch))
    assert type(again) is MixedDict
    assert again.plans[0].to_json() == batch.plans[0].to_json()
    assert torch.equal(again.lengths, batch.lengths)
    assert copy.copy(batch).plans is batch.plans  # as pin_memory makes it anew
    assert type(batch)({**batch}) == {**batch}  # as Hugging Face's Trainer does
    moved = batch.to("meta")
    assert moved["wave"].device.type == "meta"
    assert moved.plans == batch.plans
    same([pickle.loads(pickle.dumps(collate))([dataset[i] for i in range(3)])], [batch])


def test_indexed_reads_many_rows_at_once_where_the_data_set_can():
    class Many(Captioned):
        asked = 0

        def __getitems__(self, indices):
            Many.asked += 1
            return [self[i] for i in indices]

    batches = list(DataLoader(Indexed(Many()), batch_size=4, collate_fn=Collate(MixUp())))
    assert Many.asked == 2
    assert batches[0]["audio"].shape[0] == 4


def test_data_sets_of_hugging_face():
    datasets = pytest.importorskip("datasets")
    columns = {
        "id": [f"clip{i}" for i in range(8)],
        "input_values": [noise(40 + 10 * i, seed=i).tolist() for i in range(8)],
        "label": [i % 4 for i in range(8)],
        "text": ["a text"] * 8,
    }
    made = datasets.Dataset.from_dict(columns)
    lists = list(DataLoader(made, batch_size=4, collate_fn=Collate(MixUp(num_classes=4), other=made)))
    arrays = list(
        DataLoader(made.with_format("torch"), batch_size=4, collate_fn=Collate(MixUp(num_classes=4), other=made))
    )
    for one, two in zip(lists, arrays, strict=True):
        assert list(one) == ["id", "input_values", "label", "text"]
        torch.testing.assert_close(one["input_values"], two["input_values"])
        assert torch.equal(one["label"], two["label"])
        assert one["text"] == ["a text"] * 4
    by_place = list(DataLoader(Indexed(made), batch_size=4, collate_fn=Collate(MixUp(num_classes=4))))
    assert [batch.lengths.tolist() for batch in by_place] == [[40, 50, 60, 70], [80, 90, 100, 110]]
