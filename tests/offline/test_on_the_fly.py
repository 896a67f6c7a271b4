"""Mixes made while a network trains are those that `audiomix augment` writes: samples, plans, labels, captions."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import warnings
from collections import Counter

import numpy as np
import pytest
import soundfile
import torch
from made import mix, rows_of, stems_and_mix, write
from rhythm import bursts, quiet, steady
from sounds import ROOT
from torch.utils.data import DataLoader

from audiomix import (
    BeatGrid,
    BeatMix,
    CaptionMix,
    Collate,
    CutMix,
    MixedDataset,
    MixUp,
    OneOf,
    Plan,
    SNRMix,
    SpeakerMix,
)
from audiomix.audio import io
from audiomix.audio.io import AudioError, Clip
from audiomix.datasets.demo import assets
from audiomix.offline.on_the_fly.order import shard_order, shard_size
from audiomix.offline.providers.captions import CaptionOptions

WORDS = ("yes", "no", "stop")


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Eleven spoken words of three classes by four voices; beside them noises of all lengths, and music with beats."""
    root = tmp_path_factory.mktemp("sets")
    rows = []
    for i, word in enumerate(WORDS):
        files = sorted((assets() / "words" / word).glob("*.flac"))[i : i + 4]
        for k, path in enumerate(files[: 3 if i == 2 else 4]):
            shutil.copy(path, root / f"{word}{k}.flac")
            rows.append({"file_name": f"{word}{k}.flac", "label": word, "group": f"voice{k}"})
    (root / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    noises = root.parent / f"{root.name}-noise"
    for i, seconds in enumerate((0.3, 1.0, 2.0, 1.5)):
        write(noises / f"{i}.wav", seed=i, seconds=seconds, rate=16000)
    for name, bpm in (("a/1", 120), ("a/2", 124), ("b/3", 117), ("b/4", 121)):
        times = steady(bpm, 6.0, start=0.1)
        path = music(root) / f"{name}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        io.write(path, Clip((bursts(times, 6.0, 8000, 20 * bpm) + quiet(6.0, 8000, 0.002))[None], 8000))
        BeatGrid(times, [i % 4 + 1 for i in range(len(times))]).write(path.with_suffix(".beats"))
    return root, noises


def music(root):
    return root.parent / f"{root.name}-music"


def sounds(root):
    return assets() / "sounds"


def words(root):
    return root


# Source, mixer, options; `noise` stands for the folder of noises
CASES = {
    "mixup": (words, MixUp(1.0), {"copies": 2}),
    "cutmix, stems, wav": (words, CutMix(), {"copies": 2, "stems": True, "format": "wav", "channels": 2}),
    "one of two, resampled": (words, OneOf([MixUp(), SNRMix()]), {"rate": 8000, "length": 0.7}),
    "several noises": (
        words, SNRMix((0, 10), sources=(2, 4), level="active", label="keep"), {"partners": "noise", "copies": 2},
    ),
    "captions": (
        sounds, CaptionMix(rate=8000, sources=(2, 3), max_seconds=4.0),
        {"across": ["fold", "split"], "rate": 8000, "copies": 2},
    ),
    "beats": (music, BeatMix(rate=8000), {"rate": 8000, "copies": 2}),
    "conversations": (words, SpeakerMix(2, (1, 2), rate=16000), {"stems": True}),
}  # fmt: skip


def options_of(name, sets):
    source, mixer, options = CASES[name]
    options = {key: sets[1] if value == "noise" else value for key, value in options.items()}
    return source(sets[0]), mixer, options


def same_as_files(dataset, rows):
    """Hold items against the files and the manifest of a run."""
    assert len(dataset) == len(rows) > 0
    found = {}
    for row in rows:
        split = row["root"].name if row["split"] else ""
        found[f"{split}/{row['file_name']}".strip("/").rpartition(".")[0]] = row
    for item, one in ((dataset[i], dataset.row(i)) for i in range(len(dataset))):
        row = found.pop(item["id"])
        written, rate = soundfile.read(row["path"], dtype="int16", always_2d=True)
        assert rate == item["rate"]
        assert item["wave"].dtype == torch.float32
        assert np.array_equal(item["wave"].numpy(), written.T.astype(np.float32) / 32768)
        assert item["plan"] == row["plan"] == one["plan"]
        assert [(s["id"], s["offset_s"]) for s in one["sources"]] == [(s["id"], s["offset_s"]) for s in row["sources"]]
        if dataset.class_names:
            vector = [row["label"].get(name, 0.0) for name in dataset.class_names]
            assert item["label"].tolist() == torch.tensor(vector).tolist()
            assert float(item["label"].sum()) == pytest.approx(1, abs=1e-5)
        if "caption" in item:
            assert item["caption"] == row["caption"]
        if "stems" in item:
            stems = np.stack([stem.reshape(len(written), -1).T for stem in stems_and_mix(row)[0]])
            assert np.array_equal(item["stems"].numpy() * 32768, stems)
    assert not found


@pytest.mark.parametrize("name", [*CASES])
def test_items_are_the_files_that_augment_writes(sets, tmp_path, name):
    source, mixer, options = options_of(name, sets)
    report = mix(source, tmp_path / "out", mixer, seed=3, **options)
    assert report.exit_code == 0
    dataset = MixedDataset(source, mixer, seed=3, **options)
    same_as_files(dataset, rows_of(report.path))
    if name == "captions":
        assert len({item["caption"] for item in dataset}) > 8
    changed = [Plan.from_json(dataset[i]["plan"]).mixed[0].item() for i in range(len(dataset))]
    assert sum(changed) > len(changed) / 2


@pytest.mark.parametrize("name", ["mixup", "captions"])
def test_other_epochs_are_those_of_other_seeds(sets, tmp_path, name):
    source, mixer, options = options_of(name, sets)
    dataset = MixedDataset(source, mixer, seed=3, **options)
    first = [item["plan"] for item in dataset]
    dataset.set_epoch(2)
    assert dataset.epoch_seed(2) not in (3, dataset.epoch_seed(1))
    assert dataset.epoch_seed(0) == 3
    report = mix(source, tmp_path / "out", mixer, seed=dataset.epoch_seed(2), **options)
    same_as_files(dataset, rows_of(report.path))
    assert len({*first} & {item["plan"] for item in dataset}) < len(first) / 2
    dataset.set_epoch(0)
    assert [item["plan"] for item in dataset] == first
    with pytest.raises(ValueError, match="epoch must be"):
        dataset.set_epoch(-1)


def test_neither_threads_nor_global_generators_matter(sets):
    dataset = MixedDataset(sets[0], MixUp())
    torch.manual_seed(1)
    before = torch.get_rng_state()
    items = list(dataset)
    assert torch.equal(torch.get_rng_state(), before)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert all(torch.equal(item["wave"], dataset[i]["wave"]) for i, item in enumerate(items))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


def flat(parts):
    return [one for part in parts for one in part]


def ids(loader):
    return [batch["id"] for batch in loader]


def same_batches(one, other):
    assert len(one) == len(other) > 0
    for a, b in zip(one, other):
        assert a["id"] == b["id"]
        assert a["plan"] == b["plan"]
        for name in ("wave", "label", "lengths"):
            assert torch.equal(a[name], b[name])


@pytest.mark.parametrize("persistent", [False, True])
def test_batches_are_the_same_with_workers_and_over_epochs(sets, persistent):
    dataset = MixedDataset(sets[0], MixUp(), seed=1, rate=8000)
    items = dataset.iterable(batch_size=3, shuffle=True)
    sampler = dataset.sampler(shuffle=True)
    plain = {"batch_size": 3, "collate_fn": dataset.collate}

    def epochs(loader, order, count=2):
        found = []
        for epoch in range(count):
            order.set_epoch(epoch)
            found.append(list(loader))
        return found

    expected = epochs(DataLoader(dataset, sampler=sampler, **plain), sampler)
    assert ids(expected[0]) != ids(expected[1])
    assert sorted(flat(ids(expected[1]))) == sorted(item["id"] for item in dataset)
    several = plain | {"num_workers": 2, "persistent_workers": persistent}
    ragged = expected[0][0]
    assert all((wave[:, end:] == 0).all() for wave, end in zip(ragged["wave"], ragged["lengths"].tolist()))
    for got in (
        epochs(DataLoader(dataset, sampler=sampler, **several), sampler),
        epochs(DataLoader(items, **plain), items),
        epochs(DataLoader(items, **several), items),
    ):
        for one, other in zip(got, expected):
            same_batches(one, other)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_goes_on_from_any_position_with_any_number_of_workers(sets, workers):
    dataset = MixedDataset(sets[0], MixUp(), rate=8000)
    items = dataset.iterable(batch_size=2, shuffle=True)
    items.set_epoch(1)
    whole = ids(DataLoader(items, batch_size=2, collate_fn=dataset.collate))
    loader = DataLoader(items, batch_size=2, collate_fn=dataset.collate, num_workers=workers)
    sampler = dataset.sampler(shuffle=True)
    for batches in (0, 1, 4, 6):
        items.set_epoch(1, position=2 * batches)
        assert ids(loader) == whole[batches:]
        assert len(items) == 11 - min(11, 2 * batches)
        sampler.set_epoch(1, position=2 * batches)
        assert len(sampler) == len(items)
        assert ids(DataLoader(dataset, 2, sampler=sampler, collate_fn=dataset.collate)) == whole[batches:]


def test_a_state_of_one_process_is_taken_anywhere(sets):
    dataset = MixedDataset(sets[0], MixUp(), rate=8000)
    items = dataset.iterable(batch_size=2, shuffle=True)
    items.set_epoch(3)
    whole = [item["id"] for item in items]
    for stop in (0, 1, 5, 10):
        items.set_epoch(3)
        left = iter(items)
        assert [next(left)["id"] for _ in range(stop)] == whole[:stop]
        state = json.loads(json.dumps(items.state_dict()))
        other = MixedDataset(sets[0], MixUp(), rate=8000).iterable(batch_size=2, shuffle=True)
        other.load_state_dict(state)
        assert other.state_dict() == state
        assert other.dataset.epoch == 3
        assert [item["id"] for item in other] == whole[stop:]
        assert [item["id"] for item in other] == whole  # the next iteration is a whole one
        other.load_state_dict(state)
        several = DataLoader(other, batch_size=2, collate_fn=dataset.collate, num_workers=2)
        assert flat(ids(several)) == whole[stop:]
    with pytest.raises(ValueError, match="state must be of this run"):
        MixedDataset(sets[0], MixUp(), rate=8000, seed=1).iterable().load_state_dict(state)
    with pytest.raises(ValueError, match="state must be of this run"):
        MixedDataset(sets[0], MixUp(2.0), rate=8000).load_state_dict(dataset.state_dict())


class Told:
    """What torch tells a worker of itself."""

    def __init__(self, worker, workers):
        self.id, self.num_workers = worker, workers


def test_states_of_workers_are_theirs(sets, monkeypatch):
    """Each worker goes on where it was, also where others are further, or done: as StatefulDataLoader saves them."""
    dataset = MixedDataset(sets[0], MixUp(), rate=8000)
    told = "audiomix.offline.on_the_fly.iterable.get_worker_info"
    whole, states, rest = [], [], []
    for worker, done in enumerate((3, 4, 2)):
        monkeypatch.setattr(told, lambda worker=worker: Told(worker, 3))
        items = pickle.loads(pickle.dumps(dataset.iterable(batch_size=2)))
        left = iter(items)
        whole += [next(left)["id"] for _ in range(done)]
        states.append(items.state_dict())
        rest.append([item["id"] for item in left])
        assert items.state_dict()["position"] == 11
    assert [len(part) for part in rest] == [1, 0, 1]
    assert sorted(whole + flat(rest)) == sorted(item["id"] for item in dataset)
    for worker, state in enumerate(states):
        monkeypatch.setattr(told, lambda worker=worker: Told(worker, 3))
        items = dataset.iterable(batch_size=2)
        items.load_state_dict(state)
        assert [item["id"] for item in items] == rest[worker]


@pytest.mark.parametrize("style", ["map", "iterable"])
@pytest.mark.parametrize("workers", [0, 2])
def test_torchdata_resumes_it(sets, workers, style):
    loaders = pytest.importorskip("torchdata.stateful_dataloader")

    def make():
        dataset = MixedDataset(sets[0], MixUp(), rate=8000)
        order = dataset.iterable(batch_size=2, shuffle=True) if style == "iterable" else dataset.sampler(shuffle=True)
        given = {"dataset": order} if style == "iterable" else {"dataset": dataset, "sampler": order}
        loader = loaders.StatefulDataLoader(**given, batch_size=2, collate_fn=dataset.collate, num_workers=workers)
        return order, loader

    order, loader = make()
    epochs = []
    for epoch in (4, 5):
        order.set_epoch(epoch)
        epochs.append(ids(loader))
    for stop in (1, 3, 5):
        order, loader = make()
        order.set_epoch(4)
        left = iter(loader)
        assert [next(left)["id"] for _ in range(stop)] == epochs[0][:stop]
        state = loader.state_dict()
        order, loader = make()
        order.set_epoch(4)
        loader.load_state_dict(state)
        assert ids(loader) == epochs[0][stop:]
        order.set_epoch(5)
        assert ids(loader) == epochs[1]


@pytest.mark.parametrize("remainder", ["keep", "drop", "repeat"])
@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 13])
def test_processes_share_an_epoch(remainder, world_size):
    for size in (11, 12, 1):
        parts = [
            shard_order(size, 0, 5, shuffle=True, rank=r, world_size=world_size, remainder=remainder).tolist()
            for r in range(world_size)
        ]
        assert [len(part) for part in parts] == [
            shard_size(size, rank=r, world_size=world_size, remainder=remainder) for r in range(world_size)
        ]
        counts = Counter(flat(parts))
        if remainder == "keep":
            assert counts == dict.fromkeys(range(size), 1)
            assert max(map(len, parts)) - min(map(len, parts)) <= 1
            continue
        assert len(set(map(len, parts))) == 1
        if remainder == "drop":
            assert size - len(counts) == size % world_size
            assert set(counts.values()) <= {1}
        else:
            assert set(counts) == set(range(size))
            assert counts.total() - size == -size % world_size


def test_each_process_reads_its_items_with_workers(sets):
    dataset = MixedDataset(sets[0], MixUp(), rate=8000)
    parts = []
    for rank in range(2):
        items = dataset.iterable(batch_size=2, shuffle=True, rank=rank, world_size=2)
        sampler = dataset.sampler(shuffle=True, rank=rank, world_size=2)
        items.set_epoch(1)
        loader = DataLoader(items, batch_size=2, collate_fn=dataset.collate, num_workers=2)
        parts.append(flat(ids(loader)))
        assert [dataset[i]["id"] for i in sampler] == parts[-1]
    assert [len(part) for part in parts] == [6, 5]
    assert sorted(flat(parts)) == sorted(item["id"] for item in dataset)
    for wrong in ({"rank": 2, "world_size": 2}, {"rank": 0}, {"remainder": "pad"}):
        with pytest.raises(ValueError, match=r"rank|remainder"):
            dataset.iterable(**wrong)


SCRIPT = """
import os, sys
import torch.distributed as dist
from torch.utils.data import DataLoader
from audiomix import MixedDataset, MixUp

if __name__ == "__main__":
    dataset = MixedDataset(sys.argv[1], MixUp(), rate=8000)
    items = dataset.iterable(batch_size=2, shuffle=True)  # made before the processes know of each other
    dist.init_process_group("gloo")
    loader = DataLoader(items, 2, collate_fn=dataset.collate, num_workers=2, multiprocessing_context=sys.argv[2])
    for epoch in range(int(sys.argv[3])):
        items.set_epoch(epoch)
        for batch in loader:
            print(f"\\n{epoch} {dist.get_rank()} {' '.join(batch['id'])}\\n", end="", flush=True)
    dist.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.parametrize(("start", "epochs"), [("fork", 2), ("spawn", 1)])
def test_processes_of_torch_distributed_read_each_item_once(sets, tmp_path, start, epochs):
    (tmp_path / "train.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "train.py"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command += [str(sets[0]), start, str(epochs)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if line]
    dataset = MixedDataset(sets[0], MixUp(), rate=8000)
    for epoch in map(str, range(epochs)):
        assert {line[1] for line in lines if line[0] == epoch} == {"0", "1"}
        got = flat(line[2:] for line in lines if line[0] == epoch)
        assert sorted(got) == sorted(item["id"] for item in dataset)


def test_bad_files_are_named_or_left_out_as_augment_does(sets, tmp_path):
    root = tmp_path / "words"
    shutil.copytree(sets[0], root)
    (root / "no1.flac").write_bytes(b"fLaC no sound")
    dataset = MixedDataset(root, MixUp(), rate=8000)
    names = [dataset._first.item(i).id for i in range(len(dataset))]
    bad = names.index("no1.flac")
    with pytest.raises(AudioError, match=r"no1\.flac"):
        dataset[bad]
    report = mix(root, tmp_path / "out", rate=8000)
    assert [error["file"] for error in report.errors] == ["no1.flac"]
    written = {row["file_name"].removesuffix(".flac") for row in rows_of(report.path)}
    left = MixedDataset(root, MixUp(), rate=8000, on_error="skip")
    with pytest.warns(UserWarning, match=r"left out: .*no1\.flac"):
        batches = list(DataLoader(left, batch_size=4, collate_fn=left.collate))
    assert {name for batch in batches for name in batch["id"]} == written
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is named once
        assert {item["id"] for item in left.iterable()} == written
    assert left.collate([None, None]) == {}
    with pytest.raises(IndexError):
        dataset[len(dataset)]
    assert dataset[-1]["id"] == dataset[len(dataset) - 1]["id"]


def test_where_the_first_partners_cannot_be_read_others_are_drawn(sets, tmp_path):
    noises = tmp_path / "noise"
    noises.mkdir()
    for i in range(40):
        (noises / f"bad{i}.wav").write_bytes(b"RIFFxxxx")
    write(noises / "good.wav", seed=5)
    options = {"partners": noises, "rate": 8000}
    report = mix(sets[0], tmp_path / "out", SNRMix(), **options)
    dataset = MixedDataset(sets[0], SNRMix(), **options)
    same_as_files(dataset, rows_of(report.path))
    assert {dataset.row(i)["sources"][1]["id"] for i in range(len(dataset))} == {"good.wav"}


def test_what_cannot_be_is_refused_before_any_work(sets):
    for options, message in (
        ({"copy": 2}, "options must be one of .*got 'copy'"),
        ({"dry_run": True}, "options must be one of"),
        ({"copies": 0}, "copies must be"),
        ({"on_error": "ignore"}, "on_error must be"),
        ({"rate": -1}, "rate must be"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            MixedDataset(sets[0], MixUp(), **options)
    with pytest.raises(ValueError, match="constant"):
        MixedDataset(sets[0], MixUp(p="linear:1:0"))
    with pytest.raises(ValueError, match="words must be without a language model"):
        MixedDataset(sets[0], CaptionMix(rate=16000), words=CaptionOptions(join="http://127.0.0.1:1/v1"))


def test_some_splits_and_folds_are_the_same_items_of_the_whole(sets):
    whole = list(MixedDataset(assets() / "sounds", MixUp(), across=["fold"], copies=2, rate=8000, length=0.5))
    rows = [json.loads(line) for line in (assets() / "sounds" / "metadata.jsonl").read_text().splitlines()]
    split = {row["file_name"].removesuffix(".flac"): (row["split"], str(row["fold"])) for row in rows}
    names = {}
    for item in whole:
        name = item["id"].rpartition("/")[2]
        names[item["id"]] = next(one for start, one in split.items() if name.startswith(start))
    splits, folds = (sorted({one[k] for one in names.values()}) for k in (0, 1))
    for given, keep in (
        ({"split": splits[0]}, lambda s, f: s == splits[0]),
        ({"folds": folds[:2]}, lambda s, f: f in folds[:2]),
    ):
        part = MixedDataset(
            assets() / "sounds", MixUp(), across=["fold"], copies=2, rate=8000, length=0.5, **given
        )  # fmt: skip
        expected = [item for item in whole if keep(*names[item["id"]])]
        assert expected
        assert [item["plan"] for item in part] == [item["plan"] for item in expected]
        assert [item["id"] for item in part] == [item["id"] for item in expected]
    options = {"across": ["fold", "split"], "rate": 8000}
    for given, message in (
        ({"split": "trian"}, "split must be one of .*did you mean 'train'"),
        ({"folds": "1"}, "folds must be a sequence"),
        ({"folds": ["9"]}, "folds must be one of"),
    ):
        with pytest.raises(ValueError, match=message):
            MixedDataset(assets() / "sounds", MixUp(), **options, **given)
    with pytest.raises(ValueError, match="split must be None for a source without splits"):
        MixedDataset(sets[0], MixUp(), split="train")


def test_a_batch_may_be_mixed_again(sets):
    dataset = MixedDataset(sets[0], SNRMix((5, 5), label="keep"), partners=sets[1], rate=8000, length=1.0)
    batch = Collate(MixUp(num_classes=3), entries=["id", "wave", "label"])([dataset[i] for i in (0, 4, 8, 9)])
    assert batch["wave"].shape == (4, 1, 8000)
    assert batch["label"].sum(1).tolist() == pytest.approx([1] * 4)
    assert (batch["label"] > 0).sum() > 4
