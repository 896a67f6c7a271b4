"""With validation clips nothing depends on the test clips, unless they are asked for."""

import csv
import dataclasses
import json
import re

import pytest
import torch

from recipes.cli import main
from recipes.data.loader import make_split
from recipes.semi_supervised import evaluate
from recipes.semi_supervised.train import train

SMALL = ["--steps", "4", "--every", "2", "--rate", "8000", "--window", "256", "--hop", "100", "--n-mels", "32",
         "--threads", "1", "--labelled", "2", "--batch-labelled", "4", "--batch-unlabelled", "4", "--fold", "1",
         "--model-options", "width=2", "--validation", "20%"]  # fmt: skip
TIMES = re.compile(r'"(?:cpu_)?seconds": [\d.]+|[\d.]+ s\b')


@pytest.fixture(scope="module")
def config(toy_config):
    return dataclasses.replace(toy_config, validation="20%", model_options=("width=2",))


def other_test_clips(config, data):
    """Return the data with other sounds and labels in the test clips of fold 1."""
    test = make_split(config, data.dataset, "1", 0).test
    kept, labels = data.kept.clone(), data.labels.clone()
    kept[test] = kept[test].flip(0)
    labels[test] = 0
    return dataclasses.replace(data, kept=kept, labels=labels)


def contents(folder):
    """Return what is written below a folder, by name, but for times; of metrics.csv the rows without their times."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        content = path.read_bytes()
        if path.name == "metrics.csv":
            with open(path, newline="") as file:
                rows = list(csv.DictReader(file))
            timed = ("seconds", "cpu_seconds", "waiting", "clips_per_second")
            content = [{k: v for k, v in row.items() if k not in timed} for row in rows]
        elif path.suffix in (".json", ".csv", ".yaml"):
            content = TIMES.sub("", content.decode().replace(str(folder), ""))
        elif path.suffix == ".safetensors":  # the rows with their times are in its head
            content = content[-1000:]
        found[path.relative_to(folder).as_posix()] = content
    return found


@pytest.mark.parametrize("method", ["supervised", "fixmatch"])
def test_a_run_does_not_depend_on_test_clips_that_it_does_not_measure(method, config, toy_data, tmp_path, capsys):
    other = other_test_clips(config, toy_data)
    told, results = {}, {}
    for name, data in {"one": toy_data, "two": other}.items():
        for test in (False, True):
            out = tmp_path / f"{name}-{test}" / "run"
            results[name, test] = train(config, data, method, out=out, fold="1", quiet=True, test=test)
            said = capsys.readouterr()
            told[name, test] = said.out + said.err, contents(out)
    assert told["one", False][0] == told["two", False][0]
    one, two = (told[name, False][1] for name in ("one", "two"))
    assert {name for name in {*one, *two} if one.get(name) != two.get(name)} == set()
    one, two = told["one", True][1], told["two", True][1]
    assert {name for name in one if one[name] != two[name]} == {"metrics.csv", "result.json", "test_predictions.csv"}
    # and the training is the same whatever is measured
    assert results["one", True].error_last == results["one", False].error_last
    assert results["one", False].test == {}


def test_only_the_validation_clips_pass_the_network(config, toy_data, tmp_path, monkeypatch):
    split = make_split(config, toy_data.dataset, "1", 0)
    real, passed = evaluate.predict_logits, []
    monkeypatch.setattr(evaluate, "predict_logits", lambda n, v, kept: passed.append(kept) or real(n, v, kept))
    train(config, toy_data, "supervised", out=tmp_path / "x", fold="1", quiet=True)
    assert passed
    assert all(torch.equal(kept.indices, split.valid) for kept in passed)


def test_errors_and_predictions_are_of_the_part_that_is_named(config, toy_data, tmp_path):
    split = make_split(config, toy_data.dataset, "1", 0)
    result = train(config, toy_data, "supervised", out=tmp_path, fold="1", quiet=True, test=True)
    assert result.measured_on == "validation"
    files = {"predictions.csv": (split.valid, result, ""), "test_predictions.csv": (split.test, result.test, "test_")}
    for name, (indices, found, prefix) in files.items():
        with open(tmp_path / name, newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["id"] for row in rows] == [toy_data.dataset.items[i].id for i in indices.tolist()]
        for network, end in {"raw": "", "ema": "_ema"}.items():
            error = 100 * sum(row[network] != row["class"] for row in rows) / len(rows)
            last = found[f"error_last{end}"] if prefix else getattr(found, f"error_last{end}")
            assert error == pytest.approx(last)
            assert result.history[-1][f"{prefix}error{end}"] == pytest.approx(last)
            assert result.scores[f"{prefix}error_last{end}"] == last
    assert json.loads((tmp_path / "result.json").read_text())["measured_on"] == "validation"


def test_the_test_error_at_the_best_step_is_that_of_the_first_row_with_the_smallest_validation_error(
    config, toy_data, tmp_path, monkeypatch
):
    config = dataclasses.replace(config, steps=4, every=1)
    script = {"error": [9, 5, 4, 4], "error_ema": [9, 3, 7, 7], "test_error": [1, 2, 3, 4],
              "test_error_ema": [5, 6, 7, 8]}  # fmt: skip
    row = iter(range(4))

    def scripted(self):
        at = next(row)
        return {name: float(values[at]) for name, values in script.items()}

    monkeypatch.setattr("recipes.semi_supervised.train.SemiSupervised.evaluate", scripted)
    result = train(config, toy_data, "supervised", out=tmp_path, fold="1", quiet=True, test=True)
    assert (result.error_last, result.error_best, result.error_last_ema, result.error_best_ema) == (4, 4, 7, 3)
    test = {name: value for name, value in result.test.items() if name != "measures"}
    assert test == {"error_last": 4, "error_at_best": 3, "error_last_ema": 8, "error_at_best_ema": 6}


def test_a_run_is_not_gone_on_with_other_clips_to_measure(config, toy_data, tmp_path):
    train(config, toy_data, "supervised", out=tmp_path / "x", fold="1", quiet=True)
    with pytest.raises(ValueError, match=r"measured_on .*'test'.* instead of \['validation'\]: choose another --out"):
        train(config, toy_data, "supervised", out=tmp_path / "x", fold="1", quiet=True, test=True, resume=True)
    assert not (tmp_path / "x" / "test_predictions.csv").exists()


def test_without_validation_the_test_clips_are_the_headline_and_test_says_nothing(toy_config, toy_data, tmp_path):
    one = train(toy_config, toy_data, "supervised", out=tmp_path, fold="1", quiet=True)
    assert (one.measured_on, one.test) == ("test", {})
    assert {"error", "error_ema"} <= set(one.history[-1])
    assert not any(name.startswith("test_") for name in one.scores)
    same = train(toy_config, toy_data, "supervised", out=tmp_path, fold="1", quiet=True, test=True, resume=True)
    assert same == one


def test_the_command_names_and_writes_test_errors_only_where_they_are_asked_for(tone_folder, tmp_path, capsys):
    line = ["run", "supervised", "folder", str(tone_folder), *SMALL]
    for more, words in {"": [], "--test": ["--test"]}.items():
        out = tmp_path / f"x{more}"
        assert main([*line, *words, "--out", str(out)]) == 0
        said = capsys.readouterr()
        texts = [said.out + said.err, (out / "results.md").read_text(), (out / "results.csv").read_text()]
        for text in texts:
            assert ("test error" in text or "test_error" in text) == bool(words), text
        assert "validation error" in texts[0]
        assert "| **validation error, last step** |" in texts[1]
        assert "validation" in texts[2].splitlines()[1]
        assert (out / "fold1-seed0" / "test_predictions.csv").is_file() == bool(words)
    assert main([*line, "--out", str(tmp_path / "x--test"), "--resume"]) == 2
    assert "measured_on" in capsys.readouterr().err
