"""What is kept of clips: in memory or on disk, the same values in bounded memory."""

import dataclasses
import subprocess
import sys
import textwrap

import pytest
import torch

from audiomix.draw import generator_for
from recipes.data import rows
from recipes.data.loader import Batches, make_split, prepare
from recipes.data.protocol import read_dataset
from recipes.data.rows import Selected
from recipes.semi_supervised.train import train


@pytest.fixture
def on_disk(toy_config, tone_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "IN_MEMORY", 10_000)
    return prepare(toy_config, read_dataset("folder", tone_folder), tmp_path / "stores", quiet=True)


def test_spectrograms_on_disk_are_those_in_memory(toy_data, on_disk):
    assert isinstance(toy_data.kept, torch.Tensor)
    assert isinstance(on_disk.kept, rows.FileRows)
    assert on_disk.kept.shape == toy_data.kept.shape
    assert on_disk.kept.dtype == toy_data.kept.dtype
    assert torch.equal(on_disk.kept[:], toy_data.kept)
    index = torch.tensor([7, 3, 3, 59, 0])
    assert torch.equal(on_disk.kept[index], toy_data.kept[index])
    parts = [list(Selected(data.kept, index).split(2)) for data in (toy_data, on_disk)]
    assert all(torch.equal(a, b) for a, b in zip(*parts, strict=True))


def test_a_run_is_the_same_to_the_bit(toy_config, toy_data, on_disk, tmp_path):
    results = [train(toy_config, data, "fixmatch", out=tmp_path / name, quiet=True)
               for name, data in {"memory": toy_data, "disk": on_disk}.items()]  # fmt: skip
    texts = [(tmp_path / name / "predictions.csv").read_bytes() for name in ("memory", "disk")]
    assert texts[0] == texts[1]
    assert results[0].error_last == results[1].error_last
    assert (toy_data.views.mean, toy_data.views.std) == (on_disk.views.mean, on_disk.views.std)


def test_batches_are_the_same(toy_config, toy_data, on_disk):
    found = []
    for data in (toy_data, on_disk):
        split = make_split(toy_config, data.dataset, "1", 0)
        data.views.fit(data.kept, split.train)
        found.append(Batches(toy_config, data, split, 0, views=(1, 1))(3, generator_for(0, "x")))
    assert torch.equal(found[0][0].x, found[1][0].x)
    assert torch.equal(found[0][1].strong, found[1][1].strong)


def test_mean_and_deviation_are_those_of_all_values_at_once(toy_data, monkeypatch):
    monkeypatch.setattr("recipes.data.views._CHUNK", 7)  # several, the last one smaller
    train_on = torch.arange(3, 60)
    toy_data.views.fit(toy_data.kept, train_on)
    values = toy_data.kept[train_on].double()
    assert toy_data.views.mean == pytest.approx(values.mean().item(), rel=1e-12)
    assert toy_data.views.std == pytest.approx(values.std().item(), rel=1e-12)


def test_the_file_is_written_once_and_one_of_another_front_end_beside_it(on_disk, toy_config, tmp_path):
    folders = sorted((tmp_path / "stores").glob("*-mel-*"))
    before = {path: path.stat().st_mtime_ns for folder in folders for path in folder.iterdir()}
    assert len(folders) == 1
    prepare(toy_config, on_disk.source, on_disk.stores, quiet=True)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    prepare(dataclasses.replace(toy_config, hop="10ms"), on_disk.source, on_disk.stores, quiet=True)
    assert len(list((tmp_path / "stores").glob("*-mel-*"))) == 2


def test_a_cut_file_is_named(on_disk, toy_config, tmp_path):
    (file,) = (tmp_path / "stores").glob("*-mel-*/spectrograms.f4")
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(OSError, match="was cut while it was read: row 59 is not there"):
        on_disk.kept[torch.tensor([59])]
    with pytest.raises(ValueError, match="it is damaged, or was edited by hand: remove the folder"):
        prepare(toy_config, on_disk.source, on_disk.stores, quiet=True)


PEAK = """
    import resource, sys
    import numpy as np, soundfile, torch
    from pathlib import Path
    from recipes.data import rows
    from recipes.data.loader import make_split, prepare
    from recipes.data.protocol import read_dataset
    from recipes.semi_supervised.evaluate import predict_logits
    from recipes.data.rows import Selected
    from recipes.training.config import Config

    torch.set_num_threads(1)
    root, count = Path(sys.argv[1]), int(sys.argv[2])
    rows.IN_MEMORY = 8 * 2**20
    x = np.random.default_rng(0).integers(-9000, 9000, (4, 32000)).astype("int16")
    for i in range(count):
        (root / "clips" / f"class{i % 2}").mkdir(parents=True, exist_ok=True)
        own = np.roll(x[i % 4], 7 * i)
        own[0] = i  # no two files alike
        soundfile.write(root / "clips" / f"class{i % 2}" / f"{i}.wav", own, 16000)
    config = Config(device="cpu", threads=1, hop="5ms")
    data = prepare(config, read_dataset("folder", root / "clips"), root / "stores", quiet=True)
    data.views.fit(data.kept, make_split(config, data.dataset, "1", 0).train)

    class Mean(torch.nn.Module):
        def forward(self, x):
            return x.mean((2, 3)).expand(-1, 2)

    predict_logits(Mean(), data.views, Selected(data.kept, torch.arange(count)))
    size = int(np.prod(data.kept.shape)) * 4
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, size, type(data.kept).__name__)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_data(tmp_path):
    found = []
    for count in (300, 1900):
        (folder := tmp_path / str(count)).mkdir()
        command = [sys.executable, "-c", textwrap.dedent(PEAK), str(folder), str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peak, size, kind = done.stdout.split()
        found.append((int(peak), int(size)))
        assert kind == "FileRows"
    (small, of_small), (large, of_large) = found
    assert of_large - of_small > 160e6  # bytes of spectrograms that the second has more
    assert large - small < 60e6, found  # the allocator keeps some
