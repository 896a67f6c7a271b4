"""``predictions.npz``: the tables of a benchmark, made again from one small file."""

import csv
import io
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sounds import ROOT

from recipes.benchmark.archive import ARCHIVE, ArchivedRun, read_archive, write_archive
from recipes.benchmark.gains import RunPredictions
from recipes.cli import main
from recipes.training.run_folder import RunResult

SMALL = ["--steps", "4", "--every", "2", "--rate", "8000", "--window", "256", "--hop", "100", "--n-mels", "32",
         "--threads", "1", "--batch-labelled", "4", "--batch-unlabelled", "4", "--device", "cpu",
         "--model-options", "width=2", "--labelled", "1", "100%", "--fold", "1", "2"]  # fmt: skip
TABLES = ("results.csv", "table.csv", "results.md", "results.html")


@pytest.fixture(scope="module", params=["test", "validation", "validation and test"])
def benched(request, tone_folder, tmp_path_factory):
    """Return a benchmark with runs that could not be done (fixmatch with all labels)."""
    out = tmp_path_factory.mktemp("bench") / "b"
    more = {
        "test": ["--head", "refit"],
        "validation": ["--validation", "20%"],
        "validation and test": ["--validation", "20%", "--test", "--head", "graph"],
    }
    line = ["bench", "folder", str(tone_folder), "--methods", "supervised", "fixmatch", *SMALL, "--out", str(out)]
    assert main([*line, *more[request.param]]) == 1
    return out


def same_tables(one, two):
    for name in TABLES:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


def test_the_tables_are_made_again_from_the_file_alone(benched, tmp_path, capsys):
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(benched / ARCHIVE, alone)
    assert main(["bench", "--recompute", str(alone), "--out", str(tmp_path / "again")]) == 0
    assert "fixmatch" in capsys.readouterr().out
    same_tables(benched, tmp_path / "again")
    assert [path.name for path in alone.iterdir()] == [ARCHIVE]
    # a record beside it is not read
    (alone / "bench.json").write_text("{")
    assert main(["bench", "--recompute", str(alone)]) == 0
    (alone / "bench.json").unlink()
    capsys.readouterr()
    # without --out it is shown alone, with another baseline and headline if they are given
    assert main(["bench", "--recompute", str(alone), "--baseline", "fixmatch", "--headline", "ema"]) == 0
    said = capsys.readouterr().out
    assert "EMA" in said
    assert [path.name for path in alone.iterdir()] == [ARCHIVE]


def test_the_runs_are_counted_once_whatever_their_heads(benched):
    trained = len(list(benched.glob("*/*/fold*/result.json")))
    assert f"runs        {trained} finished" in (benched / "results.md").read_text()


def test_each_head_has_a_line_of_its_own_beside_its_row(benched):
    with open(benched / "table.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    heads = {line["head"] for line in lines}
    assert heads in ({"none"}, {"none", "refit"}, {"none", "graph"})
    for line in lines:
        assert (f"(head={line['head']})" in line["row"]) == (line["head"] != "none")
        is_baseline = line["text"].startswith("supervised:") and line["head"] == "none"
        assert (line["raw_verdict"] == "baseline") == is_baseline
        for network, end in {"raw": "", "ema": "_ema"}.items():
            column = network if line["head"] == "none" else f"{network}+{line['head']}"
            folder = benched / line["labelled"] / line["text"].replace(":", "_")
            errors = []
            for path in folder.glob("*/predictions.csv"):
                with open(path, newline="") as file:
                    rows = list(csv.DictReader(file))
                errors.append(100 * sum(row[column] != row["class"] for row in rows) / len(rows))
            assert float(line[f"{network}_error"]) == pytest.approx(sum(errors) / len(errors)), end


def test_errors_come_from_the_predictions(benched, tmp_path):
    """A prediction that is changed moves the error: nothing but other steps, times and calibration is taken over."""
    arrays = dict(np.load(benched / ARCHIVE))
    classes = arrays["class"][arrays["clip"]]
    arrays["raw"] = classes
    np.savez(tmp_path / ARCHIVE, **arrays)
    assert {run.result.error_last for run in read_archive(tmp_path / ARCHIVE).runs} == {0}
    assert {run.result.measures["raw"]["macro_f1"] for run in read_archive(tmp_path / ARCHIVE).runs} == {100}
    before = [run.result.error_last_ema for run in read_archive(benched / ARCHIVE).runs]
    assert [run.result.error_last_ema for run in read_archive(tmp_path / ARCHIVE).runs] == before
    assert any(before)


def test_the_file_has_no_pickle_and_the_same_bytes_every_time(benched, tmp_path):
    found = read_archive(benched / ARCHIVE)
    ids = json.loads(np.load(benched / ARCHIVE)["record"].tobytes())["clips"]
    write_archive(tmp_path / "a.npz", found.content, ids, found.groups, found.runs)
    assert (tmp_path / "a.npz").read_bytes() == (benched / ARCHIVE).read_bytes()
    with np.load(benched / ARCHIVE, allow_pickle=False) as file:
        assert {file[name].dtype.kind for name in file.files} == {"u"}


def test_test_clips_are_in_it_only_where_they_are_measured(benched):
    content = read_archive(benched / ARCHIVE).content
    measured = content["measured_on"]
    with np.load(benched / ARCHIVE) as file:
        assert any(name.startswith("test_") for name in file.files) == (len(measured) == 2)
        clips = json.loads(file["record"].tobytes())["clips"]
    tested, validated = set(), set()
    for path in benched.glob("*/*/*/split.json"):
        split = json.loads(path.read_text())
        tested |= set(split["test"])
        validated |= set(split["valid"])
    assert set(clips) == {1: tested if measured == ["test"] else validated, 2: tested | validated}[len(measured)]


def test_nothing_of_the_test_clips_is_written_without_test(benched, capsys):
    """The words and the names of the clips; see tests/recipes/semi_supervised/test_validation.py for the numbers."""
    measured = read_archive(benched / ARCHIVE).content["measured_on"]
    texts = {name: (benched / name).read_text() for name in TABLES}
    for name, text in texts.items():
        assert ("test error" in text or "test_error" in text) == (len(measured) == 2), name
        assert ("validation" in text) == (measured != ["test"]), name
    for path in benched.glob("*/*/*"):
        assert (path / "test_predictions.csv").is_file() == (len(measured) == 2)
        assert ("test_error" in (path / "metrics.csv").read_text()) == (len(measured) == 2)


def test_a_table_of_esc10s_size_is_small(tmp_path):
    """180 runs of 80 clips that err by a quarter: far below 200 kB."""
    generator = np.random.default_rng(0)
    true = np.repeat(np.arange(10), 40)
    ids = [f"{i // 80 + 1}-{generator.integers(10**6)}-A-{true[i]}.wav" for i in range(400)]
    runs = []
    for row in range(12):
        for fold in range(5):
            for seed in range(3):
                clips = np.arange(fold, 400, 5)
                predicted = [np.where(generator.random(80) < 0.25, generator.integers(0, 10, 80), true[clips])
                             for _ in range(2)]  # fmt: skip
                times = generator.random(2)
                last = {f"count_class{i}": float(generator.random()) for i in range(10)}
                measures = {n: {"ece": float(generator.random())} for n in ("raw", "ema")}
                result = RunResult(f"row{row}", str(fold), seed, 0.0, 20.0, 0.0, 20.0, *times.tolist(), "", [last],
                                   measures=measures)  # fmt: skip
                predictions = RunPredictions(clips, true[clips], *predicted)
                runs.append(ArchivedRun("10%", f"row{row}", "none", "cpu", result, predictions))
    content = {"classes": [f"class{i}" for i in range(10)], "labels": {"10%": "10%"}}
    content["rows"] = {f"row{row}": {} for row in range(12)}
    write_archive(tmp_path / ARCHIVE, content, ids, ids, runs)
    assert (tmp_path / ARCHIVE).stat().st_size < 100_000
    found = read_archive(tmp_path / ARCHIVE)
    assert len(found.runs) == 180
    assert all(np.array_equal(a.predictions.raw, b.predictions.raw) for a, b in zip(found.runs, runs))


def rewrite(path, **changes):
    with np.load(path) as file:
        arrays = dict(file) | changes
    np.savez_compressed(path, **{name: value for name, value in arrays.items() if value is not None})


def cut(path, end):
    path.write_bytes(path.read_bytes()[:end])


def flip(path):
    """Change a byte of the first array, which the zip file's checksum tells."""
    content = bytearray(path.read_bytes())
    content[zipfile.ZipFile(io.BytesIO(bytes(content))).infolist()[1].header_offset + 50] ^= 255
    path.write_bytes(bytes(content))


def method_of_compression(path):
    """Name a method of compression that there is not, where the zip file lists its arrays."""
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 10] = 77
    path.write_bytes(bytes(content))


def without(path, name):
    """Take a part out of the record of the benchmark."""
    record = json.loads(np.load(path)["record"].tobytes())
    del record["content"][name]
    rewrite(path, record=np.frombuffer(json.dumps(record).encode(), np.uint8))


def emptied(path, name):
    """Leave nothing of a part of the record of the benchmark."""
    record = json.loads(np.load(path)["record"].tobytes())
    record["content"][name] = {}
    rewrite(path, record=np.frombuffer(json.dumps(record).encode(), np.uint8))


DAMAGES = {
    "compression": method_of_compression,
    "no-rows": lambda path: without(path, "rows"),
    "no-such-row": lambda path: emptied(path, "rows"),
    "no-such-labels": lambda path: emptied(path, "labels"),
    "no-data-set": lambda path: without(path, "dataset"),
    "gone": lambda path: path.unlink(),
    "empty": lambda path: cut(path, 0),
    "cut": lambda path: cut(path, -100),
    "text": lambda path: path.write_text("id,class,raw,ema\n"),
    "flipped": flip,
    "no-predictions": lambda path: rewrite(path, raw=None),
    "fewer-predictions": lambda path: rewrite(path, ema=np.load(path)["ema"][:-1]),
    "no-such-class": lambda path: rewrite(path, raw=np.load(path)["raw"] + np.uint8(9)),
    "no-such-clip": lambda path: rewrite(path, clip=np.load(path)["clip"] + np.uint8(200)),
    "no-json": lambda path: rewrite(path, record=np.frombuffer(b"{", np.uint8)),
    "other-json": lambda path: rewrite(path, record=np.frombuffer(b"[1]", np.uint8)),
    "pickle": lambda path: rewrite(path, raw=np.array([{}], dtype=object)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named_with_what_to_do(damage, tone_folder, tmp_path, capsys):
    true = np.arange(6) % 3
    measures = {n: {"ece": 1.0} for n in ("raw", "ema")}
    run = RunResult("supervised", "1", 0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, "", measures=measures)
    archived = ArchivedRun("1", "supervised", "none", "cpu", run, RunPredictions(np.arange(6), true, true, true))
    content = {"classes": ["a", "b", "c"], "labels": {"1": "1"}, "rows": {"supervised": {}}}
    content |= {"dataset": "toy", "clips": 6, "fingerprints": {}, "commands": [], "versions": {}}
    content |= {"unfinished": [], "failed": []}
    write_archive(tmp_path / ARCHIVE, content, list("abcdef"), list("abcdef"), [archived])
    assert len(read_archive(tmp_path / ARCHIVE).runs) == 1
    DAMAGES[damage](tmp_path / ARCHIVE)
    assert main(["bench", "--recompute", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"{tmp_path / ARCHIVE} must be" in said
    assert "bench --resume" in said
    assert not (tmp_path / "out").exists()


def split(benched, out, keep, **changes):
    """Write a part of the runs, as one machine of two would have trained it; return its folder."""
    found = read_archive(benched / ARCHIVE)
    runs = [run for run in found.runs if keep(run)]
    used = sorted({i for run in runs for i in run.predictions.clips.tolist()}, reverse=True)  # in another order
    place = np.zeros(len(found.clips), np.int64)
    place[used] = np.arange(len(used))

    def moved(predictions):
        return predictions and predictions._replace(clips=place[predictions.clips])

    if any(run.test for run in runs):  # of which the clips are others: in the order that they have
        used, place = range(len(found.clips)), np.arange(len(found.clips))
    runs = [run._replace(predictions=moved(run.predictions), test=moved(run.test)) for run in runs]
    names = [[texts[i] for i in used] for texts in (found.clips, found.groups)]
    out.mkdir()
    write_archive(out / ARCHIVE, found.content | changes, *names, runs)
    return str(out)


def test_runs_of_two_machines_make_the_table_of_one(benched, tmp_path, capsys):
    first = split(benched, tmp_path / "a", lambda run: run.result.fold == "1")
    rest = {"commands": [], "unfinished": [], "failed": []}
    second = split(benched, tmp_path / "b", lambda run: run.result.fold == "2", **rest)
    assert main(["bench", "--recompute", first, second, "--out", str(tmp_path / "both")]) == 0
    same_tables(benched, tmp_path / "both")
    # and one file, that makes the same again
    assert main(["bench", "--recompute", str(tmp_path / "both"), "--out", str(tmp_path / "again")]) == 0
    same_tables(benched, tmp_path / "again")
    capsys.readouterr()
    assert main(["bench", "--recompute", first, str(benched)]) == 2
    assert "recompute must be folders of different runs, got one run twice" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("name", ["fingerprints", "protocol", "classes", "versions", "rows"])
def test_runs_of_two_benchmarks_are_not_put_together(name, benched, tmp_path, capsys):
    first = split(benched, tmp_path / "a", lambda run: run.result.fold == "1")
    content = read_archive(benched / ARCHIVE).content
    other = ["others"] * len(content["classes"])
    if name == "rows":
        other = {row: facts | {"compute": 1} for row, facts in content["rows"].items()}
    second = split(benched, tmp_path / "b", lambda run: run.result.fold == "2", **{name: other})
    assert main(["bench", "--recompute", first, second]) == 2
    assert f"folders of one benchmark, with the same {name}" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["esc10"], "recompute must be given without data and rows, which its file holds, got beside esc10"),
        (["--methods", "fixmatch"], "got beside fixmatch"),
        (["--steps", "3"], "got beside steps"),
        (["--seed", "5"], "got beside seed"),
        (["--labelled", "3"], "got beside labelled"),
        (["--no-equal-compute"], "got beside equal_compute"),
    ],
)
def test_recompute_takes_no_data_and_no_rows(words, message, tmp_path, capsys):
    assert main(["bench", *words, "--recompute", str(tmp_path)]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_without_data_set_and_file_there_is_nothing_to_do(capsys):
    assert main(["bench"]) == 2
    assert "dataset must be a data set" in " ".join(capsys.readouterr().err.split())


COMMITTED = sorted(path.parent.name for path in Path(ROOT, "assets/results").glob(f"*/{ARCHIVE}"))


@pytest.mark.parametrize("name", COMMITTED)
def test_a_committed_table_is_that_of_its_predictions(name, tmp_path):
    folder = Path(ROOT, "assets/results", name)
    assert main(["bench", "--recompute", str(folder), "--out", str(tmp_path)]) == 0
    same_tables(folder, tmp_path)
    assert (folder / ARCHIVE).stat().st_size < 200_000
