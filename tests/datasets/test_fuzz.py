"""Manifests that were damaged at random are read rightly or refused: no other error, no row with another's values."""

import csv
import gzip
import io
import itertools
import json
import random
import string

import pytest
from made import write

from audiomix import datasets
from audiomix.datasets.item import SPLITS
from audiomix.datasets.source import read_source

COUNT = 1000
TOKENS = [
    *(b'"', b"'", b"\n", b"\r", b"\r\n", b",", b";", b"\t", b"|", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\\"),
    *(b"/", b"[", b"]", b"{", b"}", b":", b" ", b"nan", b"None", b"1e999", b"-", b"\xc3", b"../", b"\x1f\x8b"),
    *(b"\\ud800", b"sep=;\n"),
]  # fmt: skip


def words(draw, count):
    return ["".join(draw.choices(string.ascii_lowercase, k=8)) for _ in range(count)]


def texts(rows):
    """Return the rows in every form, as (suffix, text)."""
    for suffix, separator in ((".csv", ","), (".tsv", "\t"), (".csv", ";")):
        for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL):
            file = io.StringIO()
            writer = csv.DictWriter(file, list(rows[0]), delimiter=separator, quoting=quoting, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
            yield suffix, file.getvalue()
    yield ".jsonl", "".join(json.dumps(row) + "\n" for row in rows)
    yield ".json", json.dumps(rows, indent=1)
    sources = [{"type": "file", "channels": [0]}]
    cuts = [
        {"id": row["label"], "start": 0, "duration": 1, "supervisions": [{"custom": {"label": row["label"]}}],
         "recording": {"sources": [sources[0] | {"source": row["path"]}]}, "type": "MonoCut"}
        for row in rows
    ]  # fmt: skip
    yield ".jsonl", "".join(json.dumps(cut) + "\n" for cut in cuts)
    yield ".rttm", "".join(f"SPEAKER {row['path'][:-4]} 1 0 1 x x {row['label']}\n" for row in rows)


def damage(draw, data, times):
    """Change a few bytes: flipped, cut out, put in, or the end cut off."""
    for _ in range(times):
        at = draw.randrange(len(data) + 1)
        kind = draw.randrange(5)
        if kind == 0 and at < len(data):
            data = data[:at] + bytes([data[at] ^ (1 << draw.randrange(8))]) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + data[at + draw.randint(1, 3) :]
        elif kind == 2:
            data = data[:at]
        else:
            data = data[:at] + draw.choice(TOKENS) + data[at:]
    return data


def read_or_refuse(table, need_labels=False):
    """Return the items, or the message."""
    try:
        return read_source(table, need_labels=need_labels)[0], ""
    except UnicodeError:
        raise
    except (ValueError, TypeError) as error:
        return [], str(error)


def test_damaged_manifests_are_read_rightly_or_refused(tmp_path):
    draw = random.Random(14)
    read = refused = 0
    paths = [f"{name}.wav" for name in words(draw, 8)]
    for path in paths:
        (tmp_path / path).touch()
    for number in range(COUNT):
        label_of = dict(zip(paths, words(draw, 8)))
        rows = [{"path": path, "label": label, "fold": draw.randint(1, 3)} for path, label in label_of.items()]
        suffix, text = draw.choice(list(texts(rows)))
        encoding = draw.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16"])
        data = text.encode(encoding)
        if draw.random() < 0.1:
            suffix, data = suffix + ".gz", gzip.compress(data)
        table = tmp_path / f"{number}{suffix}"
        table.write_bytes(damage(draw, data, 1 if encoding == "utf-16" else draw.randint(1, 3)))
        items, error = read_or_refuse(table)
        assert " must be " in error or items
        read += not error
        refused += bool(error)
        for item in items:
            wrong = set(item.classes) & set(label_of.values()) - {label_of.get(item.file or item.id)}
            assert not wrong or (item.file or item.id) not in label_of, (table, item)
    assert read > COUNT // 10
    assert refused > COUNT // 10


@pytest.mark.parametrize(
    "suffix", [".csv", ".tsv", ".jsonl", ".json", ".txt", ".lab", ".rttm", ".ctm", ".stm", ".csv.gz"]
)
def test_noise_is_refused(tmp_path, suffix):
    draw = random.Random(suffix)
    for size in (0, 1, 2, 3, 10, 1000):
        table = tmp_path / f"{size}{suffix}"
        table.write_bytes(draw.randbytes(size))
        with pytest.raises(ValueError, match=" must be "):
            read_source(table)


NAMES = [
    *(
        "dog",
        "cat",
        "rain",
        "train",
        "Test",
        "validation",
        "dev",
        "fold1",
        "fold2",
        "Fold_3",
        "part1",
        "part2",
        "audio",
    ),
    *("data", "unlabelled", "_background_noise_", "session_a", "1", "2", "train-clean", "eval"),
]


def test_both_readings_of_random_trees_are_one(tmp_path):
    """Where training reads a tree, mixing reads the same; where mixing refuses one, so does training."""
    draw = random.Random(15)
    sound = write(tmp_path / "x.wav", seconds=0.01).read_bytes()
    both = refused = 0
    for number in range(150):
        root = tmp_path / str(number)
        levels = [draw.sample(NAMES, draw.randint(1, 3)) for _ in range(draw.randint(1, 3))]
        for parts in itertools.product(*levels):
            folder = root.joinpath(*parts[: draw.choice([len(parts)] * 9 + [1])])
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "x.wav").write_bytes(sound)
        found, wrong = read_or_refuse(root, need_labels=True)
        try:
            data = datasets.get("folder")(root).items
        except ValueError:
            refused += 1
            continue
        assert not wrong, (root, wrong)
        both += 1
        facts = sorted((i.id, i.label, i.fold, SPLITS[i.split.lower()] if i.split else None) for i in found)
        assert facts == [(i.id, i.label, i.fold, i.split) for i in data if i.label is not None], root
        assert all(i.split == "unlabelled" for i in data if i.label is None)
    assert both > 25
    assert refused > 25
