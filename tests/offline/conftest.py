"""Small data sets with splits, folds and classes."""

import json

import pytest
from made import write


@pytest.fixture
def classes(tmp_path):
    """Three class folders with six files each."""
    root = tmp_path / "source"
    for i in range(18):
        write(root / "abc"[i % 3] / f"{i:02d}.wav", seed=i)
    return root


@pytest.fixture
def folds(tmp_path):
    """A manifest with splits, folds, groups, licences and captions: 48 files."""
    root = tmp_path / "folds"
    with open(write(root / "x.wav").with_name("list.jsonl"), "w") as table:
        for i in range(48):
            write(root / "wavs" / f"{i}.wav", seed=100 + i, seconds=0.2)
            row = {"path": f"wavs/{i}.wav", "label": "abcd"[i % 4]}
            row |= {"split": ["train", "test"][i % 2], "fold": i // 2 % 3}
            row |= {"group": f"g{i // 4}", "licence": ["CC0", "CC-BY"][i % 2], "attribution": f"author {i}"}
            table.write(json.dumps(row | {"caption": f"sound number {i}"}) + "\n")
    return root / "list.jsonl"
