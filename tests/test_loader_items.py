"""Odd batches through `Collate`: items that differ, lack a label, are of other rates; what is refused, what not."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from sounds import noise
from torch import nn

from audiomix import Collate, LogMel, MixUp, NoiseFolder, OneOf, Pipeline, SNRMix, SpeechNoise
from audiomix.datasets.demo import assets


def items(*sizes, **entries):
    return [{"id": i, "wave": noise(1, n, seed=i), "label": i % 4, **entries} for i, n in enumerate(sizes)]


def hugging_face(*sizes, rate=16000):
    sounds = [{"array": noise(n, seed=i).numpy(), "sampling_rate": rate} for i, n in enumerate(sizes)]
    return [{"id": i, "audio": sound, "label": i % 4} for i, sound in enumerate(sounds)]


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("entry", ["label", "attention_mask", "speaker", "text"])
def test_an_item_with_other_entries_is_named_wherever_it_stands(entry, first):
    batch = items(50, 60, attention_mask=[1] * 50, speaker=7, text="a")
    del batch[0 if first else 1][entry]
    with pytest.raises(ValueError, match=f"item 1 must be like item 0, with entries .*'wave'.*{entry}"):
        Collate(MixUp(num_classes=4))(batch)


def test_items_of_another_kind_are_named():
    with pytest.raises(ValueError, match="item 1 must be like item 0, with entries 'id', 'wave', 'label', got 0, 1"):
        Collate(MixUp(num_classes=4))([*items(50), (noise(1, 50), 1)])
    with pytest.raises(ValueError, match=r"item \d of other must be like item \d of other, with entries"):
        Collate(SNRMix(label="keep"), other=[{"wave": noise(9)}, {"wave": noise(9), "x": 1}])(items(50, 60))


def test_a_clip_of_no_samples_among_others_stays_silent():
    mixed = Collate(SNRMix(label="keep"), add=["plans"])(items(50, 0, 60))
    assert mixed.lengths.tolist() == [50, 0, 60]
    assert mixed["wave"].shape == (3, 1, 60)
    assert mixed["wave"][1].abs().max() == 0
    assert mixed.plans[0].why[1] == "silent signal"
    frames = [{"id": i, "wave": noise(n, 8, seed=i)} for i, n in enumerate((0, 5))]
    assert Collate(MixUp(), time_axis=-2)(frames).lengths.tolist() == [0, 5]
    with pytest.raises(ValueError, match=r"entry 'wave' of item 0 .* must be of one sample or frame at least in some"):
        Collate(MixUp())(items(0, 0))


def test_gradients_pass_through_padding():
    waves = [noise(1, n, seed=n).requires_grad_() for n in (50, 60)]
    mixed = Collate(MixUp(0.4))([{"id": i, "wave": wave} for i, wave in enumerate(waves)])
    mixed["wave"].square().sum().backward()
    assert all(bool(wave.grad.isfinite().all() and wave.grad.any()) for wave in waves)


def test_a_label_under_a_name_that_is_not_known_is_asked_for():
    species = [{"id": i, "wave": noise(1, 50, seed=i), "species": i} for i in range(3)]
    for mixer in (MixUp(num_classes=4), Pipeline([MixUp(num_classes=4)]), Pipeline([MixUp()], num_classes=4)):
        with pytest.raises(ValueError, match=r"with a label, since the mixer has num_classes.*one of 'species'; lab"):
            Collate(mixer)(species)
    assert Collate(MixUp(num_classes=4), label="species")(species)["species"].shape == (3, 4)
    assert Collate(MixUp(num_classes=4), label=False)(species)["species"].tolist() == [0, 1, 2]
    assert Collate(MixUp())(species)["species"].tolist() == [0, 1, 2]
    bare = [{"utterance": i, "wave": noise(1, 50, seed=i)} for i in range(3)]
    assert Collate(MixUp(num_classes=4), key="utterance")(bare)["wave"].shape == (3, 1, 50)


def test_ids_of_none_are_refused():
    batch = [{**item, "id": None} for item in items(50, 60)]
    with pytest.raises(ValueError, match="items must be with an id each, got 'id': None: wrap"):
        Collate(MixUp(num_classes=4))(batch)
    assert Collate(MixUp(num_classes=4), key=lambda item: item["label"])(batch)["id"] == [None, None]


def test_an_id_is_the_same_in_whatever_format_rows_are_read():
    batch, collate = items(50, 60, 70), Collate(MixUp(num_classes=4))
    expected = collate(batch)
    for kind in (torch.tensor, np.int64, str):
        again = collate([{**item, "id": kind(item["id"])} for item in batch])
        assert torch.equal(again["wave"], expected["wave"])
        assert torch.equal(
            collate.generator([kind(i) for i in range(3)]).get_state(), collate.generator([0, 1, 2]).get_state()
        )


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ([1] * 5, r"mask of item 0 \(id 0\) must be of 50 ones and zeros, as many as entry 'wave' has .*, got 5"),
        ([1] * 50 + [0], r"must be of 50 ones and zeros, .* got 51"),
        (None, r"mask of item 0 \(id 0\) must be ones, then zeros, got None: mask=False"),
    ],
)
def test_a_mask_is_as_long_as_its_sound(mask, message):
    batch = items(50, 50, attention_mask=mask)
    with pytest.raises(ValueError, match=message):
        Collate(MixUp(num_classes=4))(batch)
    assert Collate(MixUp(num_classes=4), mask=False)(batch)["attention_mask"] == [mask, mask]


def test_entries_that_only_sound_like_lengths_are_left_alone():
    seconds = items(50, 50, lengths=1.5)
    with pytest.raises(TypeError, match=r"'lengths' of item 0 .* must be an integer .*got 1.5: lengths=False"):
        Collate(MixUp(num_classes=4))(seconds)
    mixed = Collate(MixUp(num_classes=4), lengths=False)(seconds)
    assert mixed["lengths"].tolist() == [1.5, 1.5]
    assert mixed.lengths.tolist() == [50, 50]
    pairs = [(noise(1, 50), 0), (noise(1, 60), 1)]
    mixed = Collate(MixUp(num_classes=4), lengths=False, mask=False, key=lambda item: item[1])(pairs)
    assert mixed.x.shape == (2, 1, 60)
    x, _, lengths = Collate(MixUp(num_classes=4), lengths=2, key=lambda item: item[1])(pairs)
    assert (x.shape, lengths.tolist()) == ((2, 1, 60), [50, 60])


class Row(NamedTuple):
    wave: Any
    label: int
    id: int


@dataclass
class Record:
    wave: Any
    label: int
    id: int


@pytest.mark.parametrize("kind", [Row, Record])
def test_fields_that_are_added_or_left_out_make_a_dict(kind):
    batch = [kind(noise(1, 50 + i, seed=i), i, i) for i in range(3)]
    assert isinstance(Collate(MixUp(num_classes=4))(batch), kind)
    added = Collate(MixUp(num_classes=4), add=["lengths"], mask="mask")(batch)
    assert list(added) == ["wave", "label", "id", "mask", "lengths"]
    assert added["lengths"].tolist() == [50, 51, 52] == added["mask"].sum(1).tolist()
    some = Collate(MixUp(num_classes=4), entries=["wave", "label"])(batch)
    assert list(some) == ["wave", "label"]  # and no id of the first item, as if it were that of the batch
    assert len(some.plans) == 1


def test_rates_are_compared_where_they_are_known():
    for mixer in (
        SpeechNoise(rate=8000),
        OneOf([MixUp(), SNRMix(label="keep", rate=8000)]),
        Pipeline([MixUp(), SNRMix(label="keep", rate=8000), LogMel(8000)]),
    ):
        with pytest.raises(ValueError, match=r"of 8000 Hz, as the mixer is, got 16000 Hz: cast_column\('audio', Audio"):
            Collate(mixer)(hugging_face(50, 60))
    down = Pipeline([nn.AvgPool1d(2), SNRMix(label="keep", rate=8000)])
    assert Collate(down)(hugging_face(50, 60))["audio"]["array"].shape == (2, 30)
    folder = NoiseFolder(assets() / "sounds", seconds=0.1, rate=8000)
    with pytest.raises(ValueError, match=r"other must be of 16000 Hz, as the batch is, got 8000 Hz: resample one"):
        Collate(SNRMix(label="keep"), other=folder)(hugging_face(50, 60))
    assert len(Collate(SNRMix(label="keep"), other=folder)(hugging_face(50, 60, rate=8000)).plans) == 1


def test_a_second_stream_has_the_form_and_the_rate_of_the_first():
    collate = Collate(SNRMix((0, 0), label="keep"), other="noise")
    sounds = hugging_face(50, 60)
    alike = [{**row, "noise": {**row["audio"], "path": f"{row['id']}.wav"}} for row in sounds]
    batch = collate(alike)
    assert batch["noise"]["array"].shape == batch["audio"]["array"].shape == (2, 60)
    assert batch["noise"]["path"] == ["0.wav", "1.wav"]
    assert batch["noise"]["sampling_rate"] == 16000
    other = [{**row, "noise": low["audio"]} for row, low in zip(sounds, hugging_face(50, 60, rate=8000))]
    with pytest.raises(ValueError, match="the second stream must be of 16000 Hz, as the batch is, got 8000 Hz"):
        collate(other)
    for wave, second in (((50,), (40,)), ((1, 50), (40,)), ((50,), (1, 40))):
        batch = collate([{"id": i, "wave": noise(*wave, seed=i), "noise": noise(*second, seed=i)} for i in range(2)])
        assert batch["wave"].shape == (2, *wave)
        assert batch["noise"].shape == (2, *second)
    low = [{"audio": row["audio"]} for row in hugging_face(50, 60, rate=8000)]
    with pytest.raises(ValueError, match="other must be of 16000 Hz, as the mixer is, got 8000 Hz"):
        Collate(SNRMix(label="keep", rate=16000), other=low)(items(50, 60))


def test_noise_needs_no_label_under_the_name_that_the_batch_has():
    own = [{"id": i, "wave": noise(1, 50, seed=i), "species": i} for i in range(3)]
    other = [{"wave": noise(1, 50, seed=9 + i)} for i in range(3)]
    mixed = Collate(SNRMix((0, 0), label="keep"), other=other, label="species")(own)
    assert mixed["species"].tolist() == [0, 1, 2]
    assert all(not torch.equal(mixed["wave"][i], own[i]["wave"]) for i in range(3))
    with pytest.raises(ValueError, match="other_target must be given, as target is"):
        Collate(MixUp(num_classes=4), other=other, label="species")(own)


def test_a_path_is_no_data_set(tmp_path):
    with pytest.raises(ValueError, match=r"got 'noises/': items have .*; a folder of noise\? NoiseFolder\(path"):
        Collate(MixUp(), other="noises/")(items(50, 60))
    with pytest.raises(ValueError, match=r"got PosixPath: a folder of noise\? NoiseFolder\(path"):
        Collate(MixUp(), other=tmp_path)


def test_what_is_lost_with_a_copy_of_the_keys_says_so():
    batch = Collate(MixUp(num_classes=4), add=["plans", "lengths"])(items(50, 60))
    copied = type(batch)({**batch})  # as Hugging Face's Trainer and Lightning at bf16-true do
    for name in ("plans", "lengths"):
        with pytest.raises(AttributeError, match=rf"no attribute '{name}': a copy of the keys alone\? Collate\(add="):
            getattr(copied, name)
    assert copied["plans"] == batch.plans == batch.to("meta").plans
    assert copied.to(torch.float64)["wave"].dtype == torch.float64
    with pytest.raises(AttributeError, match="MixedDict has no attribute 'plan'$"):
        _ = batch.plan


def test_lists_of_class_ids_and_swapped_axes_are_recognised():
    with pytest.raises(ValueError, match="targets must be of one shape, .*: lists of class ids"):
        Collate(MixUp(num_classes=4))([{**item, "label": [1] * (1 + item["id"])} for item in items(50, 60)])
    frames = [{"id": i, "wave": noise(n, 40, seed=i)} for i, n in enumerate((90, 100))]
    with pytest.raises(ValueError, match=r"of one number of channels \(or bins\), .*: time_axis=-2\?"):
        Collate(MixUp())(frames)
    with pytest.raises(ValueError, match=r"of one number of channels \(or bins\), .*: time_axis=-1\?"):
        Collate(MixUp(), time_axis=-2)([{**item, "wave": item["wave"].T} for item in frames])
