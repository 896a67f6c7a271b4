"""Presets with what a method wants, validation, tracking: what a run can be told, and what it leaves."""

import csv
import dataclasses
import json
import math
from pathlib import Path

import pydantic  # noqa: F401 - where it is imported cyclopts checks options with it, and defaults too
import pytest
import torch

from audiomix.datasets.dataset import Dataset
from recipes import algorithms
from recipes.algorithms.supervised import Supervised
from recipes.benchmark.rows import parse_row
from recipes.cli import main
from recipes.data.loader import make_split, prepare
from recipes.data.protocol import read_dataset
from recipes.semi_supervised.run_spec import configure
from recipes.semi_supervised.train import learning_rate, train
from recipes.training import checkpoint
from recipes.training.config import PRESETS, Config, preset


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


# presets


class Wanting(Supervised):
    presets = {"original": {"a": 1, "b": 2}}  # noqa: RUF012
    configs = {"original": {"batch_labelled": 60, "steps": 7}}  # noqa: RUF012


def test_a_run_is_preset_then_method_then_user():
    config, options = configure("original", Wanting, {"b": 3})
    assert options == {"a": 1, "b": 3}
    assert (config.batch_labelled, config.steps, config.epochs) == (60, 7, None)
    config, _ = configure("original", Wanting, {}, batch_labelled=4, epochs=2)
    assert (config.batch_labelled, config.steps, config.epochs) == (4, None, 2)
    assert configure("small", Wanting, {}) == (PRESETS["small"], {})


def test_original_is_the_study_but_for_the_methods_options():
    assert PRESETS["original"] == PRESETS["study"]


def test_the_study_trains_300_epochs_whatever_the_data():
    study = preset("study")
    assert study.count_steps(30, 290) == 2700  # ESC-10: 9 whole batches of 30
    assert dataclasses.replace(study, batch_labelled=128, batch_unlabelled=128).count_steps(780, 7000) == 300 * 54
    assert study.count_steps(90, 0) == 900  # all labels: passes over those
    assert study.count_steps(3, 20) == 300
    short = preset("study", steps=50)
    assert (short.count_steps(30, 290), short.decay) == (50, "cosine")
    with pytest.raises(ValueError, match="steps must be given where the budget is none, got nothing"):
        dataclasses.replace(study, epochs=None)
    with pytest.raises(ValueError, match="steps, epochs must be one of the two, got 7 and 300"):
        dataclasses.replace(study, steps=7)


def test_the_studys_learning_rate_falls_from_epoch_to_epoch():
    study = preset("study")
    rates = [learning_rate(study, step / 2700) for step in range(2700)]
    for epoch in range(300):
        (rate,) = set(rates[9 * epoch : 9 * epoch + 9])
        assert rate == pytest.approx(1e-3 * (1 + math.cos(math.pi * epoch / 300)) / 2)
    assert len(set(rates)) == 300


@pytest.mark.parametrize(
    ("given", "expected"),
    [([], {}), (["--threshold", "0.8"], {"threshold": 0.8}), (["--no-mix-labels"], {"mix_labels": False})],
)
def test_an_option_that_is_given_is_kept_though_it_be_the_constructors_own(
    given, expected, tone_folder, tmp_path, monkeypatch
):
    from recipes.algorithms.fixmatch import FixMatch

    monkeypatch.setattr(FixMatch, "presets", {"small": {"threshold": 0.5, "mix_labels": True}})
    seen = {}
    monkeypatch.setattr("recipes.commands.run.run_all", lambda *a, **k: seen.update(k) or [])
    monkeypatch.setattr("recipes.commands.run.by_head", lambda results: [])
    line = ["run", "fixmatch", "folder", str(tone_folder), "--out", str(tmp_path / "x"), *given]
    assert main([*line, "--window", "256", "--labelled", "2"]) == 0
    assert seen["options"] == {"threshold": 0.5, "mix_labels": True} | expected


def test_help_shows_a_methods_options_as_the_preset_has_them(monkeypatch, capsys):
    from recipes.algorithms.fixmatch import FixMatch

    monkeypatch.setattr(FixMatch, "presets", {"study": {"threshold": 0.815}})
    assert main(["run", "fixmatch", "--preset", "study", "--help"]) == 0
    assert "0.815" in capsys.readouterr().out
    assert main(["run", "fixmatch", "--help"]) == 0
    assert "0.815" not in capsys.readouterr().out


# bad input, before anything is trained


def test_a_share_that_is_no_clip_of_a_class_is_refused(toy_config, tone_folder):
    few = read_dataset("folder", tone_folder)
    low = [i for i, item in enumerate(few.items) if item.label != "low"]
    some = [i for i, item in enumerate(few.items) if item.label == "low" and item.fold == "2"][:3]
    few = few.only([*low, *some])
    config = dataclasses.replace(toy_config, labelled="10%")
    with pytest.raises(
        ValueError, match="at least one clip of each class, got 10% of 3 clips of class low: a number of"
    ):
        make_split(config, few, "1", 0)


def test_clips_of_no_class_are_not_tested_on_and_not_trained_on(toy_config, tone_folder):
    whole = read_dataset("folder", tone_folder)
    items = [dataclasses.replace(item, label=None) if item.id.endswith("/7.wav") else item for item in whole.items]
    dataset = Dataset("x", tuple(items), whole.class_names, 8000, 0.5)
    for fold in dataset.folds:
        split = make_split(toy_config, dataset, fold, 0)
        held = {i for i, item in enumerate(dataset.items) if item.fold == fold}
        assert all(dataset.labels[i] >= 0 for i in split.test.tolist())
        assert not held & set(split.unlabelled.tolist())


# what a run leaves behind


def test_a_loss_that_is_no_number_leaves_its_batch(toy_config, toy_data, tmp_path, monkeypatch):
    whole, seen = Supervised.losses, []

    def losses(self, model, labelled, *arguments, **options):
        seen.append(labelled)
        factor = math.inf if len(seen) == 5 else 1.0
        return {k: v * factor for k, v in whole(self, model, labelled, *arguments, **options).items()}

    monkeypatch.setattr(Supervised, "losses", losses)
    with pytest.raises(FloatingPointError, match=r"loss_labelled is inf at step 5: .*/nan-step5\.safetensors"):
        train(toy_config, toy_data, "supervised", out=tmp_path, quiet=True)
    assert len(seen) == 5
    tensors, numbers = checkpoint.load(tmp_path / "nan-step5.safetensors")
    assert torch.equal(tensors["labelled.x"], seen[4].x)
    assert torch.equal(tensors["labelled.target"], seen[4].target)
    names = [toy_data.dataset.class_names[i] for i in seen[4].target.tolist()]
    assert [i.split("/")[0] for i in numbers["ids"]["labelled"]] == names
    assert numbers["losses"] == {"loss_labelled": "inf"}


def test_counts_by_class_have_a_column_each(toy_config, toy_data, tmp_path, monkeypatch):
    monkeypatch.setattr(Supervised, "logs", lambda self: {"count": torch.tensor([1.0, 0.0, 5.0])})
    result = train(toy_config, toy_data, "supervised", out=tmp_path, quiet=True)
    assert [result.history[-1][f"count_{c}"] for c in ("high", "low", "middle")] == [1, 0, 5]


def test_predictions_have_probabilities_and_the_result_what_they_come_to(toy_config, toy_data, tmp_path):
    result = train(toy_config, toy_data, "fixmatch", out=tmp_path, quiet=True)
    rows, names = table(tmp_path / "predictions.csv"), toy_data.dataset.class_names
    assert len(rows) == 12
    for kind in ("raw", "ema"):
        wrong, matrix = 0, torch.zeros(3, 3, dtype=torch.int64)
        for row in rows:
            p = [float(row[f"{kind}_{name}"]) for name in names]
            assert sum(p) == pytest.approx(1, abs=1e-5)
            assert names[max(range(3), key=p.__getitem__)] == row[kind]
            wrong += row[kind] != row["class"]
            matrix[names.index(row["class"]), names.index(row[kind])] += 1
        error = result.error_last if kind == "raw" else result.error_last_ema
        assert error == pytest.approx(100 * wrong / 12)
        assert result.measures[kind]["confusion"] == matrix.tolist()
        assert 0 <= result.measures[kind]["ece"] <= 100
    assert json.loads((tmp_path / "result.json").read_text())["measures"] == result.measures


@pytest.mark.slow
def test_waiting_for_views_is_measured(toy_config, toy_data, tmp_path, monkeypatch):
    import time

    view = type(toy_data.views).__call__
    monkeypatch.setattr(type(toy_data.views), "__call__", lambda *a, **k: time.sleep(0.2) or view(*a, **k))
    slow = train(toy_config, toy_data, "fixmatch", out=tmp_path / "slow", quiet=True).history[-1]
    monkeypatch.undo()
    quick = train(toy_config, toy_data, "fixmatch", out=tmp_path / "quick", quiet=True).history[-1]
    assert slow["waiting"] > quick["waiting"]
    assert slow["clips_per_second"] < 12 / 0.6
    assert 0 <= quick["waiting"] <= 1


def test_rows_go_to_tensorboard(toy_config, toy_data, tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = train(toy_config, toy_data, "supervised", out=tmp_path / "x", quiet=True, track=True)
    events = EventAccumulator(str(tmp_path / "x" / "tensorboard"))
    events.Reload()
    told = [(e.step, e.value) for e in events.Scalars("loss/labelled")]
    assert told == [(row["step"], pytest.approx(row["loss_labelled"])) for row in result.history]
    monkeypatch.setattr("recipes.training.metrics_log.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"TensorBoard is not installed: pip install 'audiomix\[track\]'"):
        train(toy_config, toy_data, "supervised", out=tmp_path / "y", quiet=True, track=True)
    assert not (tmp_path / "y").exists()


@pytest.mark.parametrize("written", [True, False])
def test_a_kill_between_checkpoint_and_row_loses_no_row_in_tensorboard(
    written, toy_config, toy_data, tmp_path, monkeypatch
):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    class Killed(BaseException):
        pass

    def killed(folder, history):
        if history[-1]["step"] == 3:
            raise Killed

    out, arguments = tmp_path / "x", {"quiet": True, "track": True}
    first = {"on_row": lambda row: killed(out, [row])} if written else {}  # then the row must not come twice
    with monkeypatch.context() as patch:
        if not written:
            patch.setattr("recipes.training.run_folder.write_metrics", killed)
        with pytest.raises(Killed):
            train(toy_config, toy_data, "supervised", out=out, **first, **arguments)
    result = train(toy_config, toy_data, "supervised", out=out, resume=True, **arguments)
    events = EventAccumulator(str(out / "tensorboard"))
    events.Reload()
    told = [(e.step, e.value) for e in events.Scalars("loss/labelled")]
    assert told == [(row["step"], pytest.approx(row["loss_labelled"])) for row in result.history]
    assert len(told) == 2


# validation


@pytest.fixture
def grouped(tone_folder):
    """Return the tones as two recordings a class in each of five folds."""
    whole = read_dataset("folder", tone_folder)
    items = [dataclasses.replace(item, group=f"{item.label}-{item.fold}-{i % 2}") for i, item in enumerate(whole.items)]
    return Dataset("x", tuple(items), whole.class_names, 8000, 0.5)


@pytest.mark.parametrize("labelled", ["2", "100%"])
def test_labelled_clips_are_among_the_unlabelled_ones_only_if_asked_for(toy_config, grouped, labelled):
    config = dataclasses.replace(toy_config, labelled=labelled, reuse_labelled=True)
    split, plain = (
        make_split(config, grouped, "1", 0),
        make_split(dataclasses.replace(config, reuse_labelled=False), grouped, "1", 0),
    )
    assert torch.equal(split.labelled, plain.labelled)
    assert torch.equal(split.unlabelled, plain.train.sort().values)
    assert torch.equal(split.train.sort().values, plain.train.sort().values)
    assert not torch.isin(split.test, split.unlabelled).any()


def test_all_labels_leave_no_clip_to_a_semi_supervised_method(toy_config, grouped):
    config = dataclasses.replace(toy_config, labelled="100%")
    with pytest.raises(ValueError, match=r"labelled must be less than all clips.*--reuse-labelled"):
        make_split(config, grouped, "1", 0, needed_by="fixmatch")
    assert len(
        make_split(dataclasses.replace(config, reuse_labelled=True), grouped, "1", 0, needed_by="fixmatch").unlabelled
    )


def test_validation_clips_are_whole_recordings_of_the_training_folds(toy_config, grouped):
    config = dataclasses.replace(toy_config, validation="20%")
    split = make_split(config, grouped, "1", 0)
    held = {grouped.groups[i] for i in split.valid.tolist()}
    trained = torch.cat([split.labelled, split.unlabelled]).tolist()
    assert len(split.valid) >= 3 * 3  # a fifth of 16 clips a class
    assert {grouped.labels[i] for i in split.valid.tolist()} == {0, 1, 2}
    assert not held & {grouped.groups[i] for i in trained}
    assert not set(split.valid.tolist()) & {*trained, *split.test.tolist()}
    assert torch.equal(split.test, make_split(toy_config, grouped, "1", 0).test)
    assert len(split.labelled) == 6


def test_official_validation_clips_are_used_when_asked_for(toy_config, tone_folder):
    whole = read_dataset("folder", tone_folder)
    split = {"0": "test", "1": "validation"}
    items = [dataclasses.replace(i, split=split.get(Path(i.path).stem, "train"), fold=None) for i in whole.items]
    dataset = Dataset("x", tuple(items), whole.class_names, 8000, 0.5)
    found = make_split(dataclasses.replace(toy_config, validation="official"), dataset, "test", 0)
    assert {Path(dataset.items[i].path).stem for i in found.valid.tolist()} == {"1"}
    with pytest.raises(ValueError, match="validation must be a share where no clips are marked for it, got official"):
        make_split(dataclasses.replace(toy_config, validation="official"), whole, "1", 0)


def test_official_validation_clips_of_the_fold_that_is_held_out_are_not_looked_at(toy_config, tone_folder):
    whole = read_dataset("folder", tone_folder)
    items = [dataclasses.replace(i, split="validation" if Path(i.path).stem in "01" else "train") for i in whole.items]
    dataset = Dataset("x", tuple(items), whole.class_names, 8000, 0.5)
    for fold in dataset.folds:
        found = make_split(dataclasses.replace(toy_config, validation="official"), dataset, fold, 0)
        assert fold not in {dataset.items[i].fold for i in found.valid.tolist()}
        assert {dataset.items[i].split for i in found.valid.tolist()} == {"validation"}


@pytest.mark.parametrize("wrong", ["0", "100%", "20", "much"])
def test_a_share_for_validation_is_above_0_and_below_1(wrong):
    with pytest.raises(ValueError, match="validation must be a share of the training clips"):
        Config(validation=wrong)
    with pytest.raises(ValueError, match="patience must be used with validation clips, got 3: --validation 20%"):
        Config(patience=3)


def test_the_best_step_is_chosen_on_validation_clips_alone(toy_config, toy_data, tmp_path, monkeypatch):
    config = dataclasses.replace(toy_config, validation="20%", steps=8, every=1)
    script = {"error": [9, 5, 4, 4, 6, 6, 6, 6], "error_ema": [9, 8, 7, 6, 3, 7, 7, 7]}
    row = iter(range(8))
    monkeypatch.setattr("recipes.semi_supervised.train.SemiSupervised.evaluate", lambda self: _at(script, next(row)))
    result = train(config, toy_data, "supervised", out=tmp_path / "x", quiet=True)
    assert (result.error_last, result.error_best, result.error_best_ema) == (6, 4, 3)

    row = iter(range(8))
    patient = dataclasses.replace(config, patience=3)
    result = train(patient, toy_data, "supervised", out=tmp_path / "y", quiet=True)
    assert [r["step"] for r in result.history] == [*range(1, 9)]  # 3 at row 5, and three rows after it
    row = iter(range(8))
    hasty = train(dataclasses.replace(config, patience=2), toy_data, "supervised", out=tmp_path / "z", quiet=True)
    assert len(hasty.history) == 7
    assert hasty.error_last == 6
    flat = {name: [5] * 8 for name in script}  # as small as before is not smaller
    row = iter(range(8))
    monkeypatch.setattr("recipes.semi_supervised.train.SemiSupervised.evaluate", lambda self: _at(flat, next(row)))
    assert len(train(patient, toy_data, "supervised", out=tmp_path / "flat", quiet=True).history) == 4


def _at(script, row):
    return {name: float(values[row]) for name, values in script.items()}


def test_validation_errors_are_the_headline_and_the_test_clips_are_as_before(toy_config, toy_data, tmp_path):
    config = dataclasses.replace(toy_config, validation="0.2")
    result = train(config, toy_data, "fixmatch", out=tmp_path, quiet=True)
    split = json.loads((tmp_path / "split.json").read_text())
    assert len(split["test"]) == 12
    assert result.history[-1]["error"] == result.error_last
    wrong = result.error_last / 100 * len(split["valid"])
    assert wrong == pytest.approx(round(wrong))


def test_unlabelled_clips_from_elsewhere_are_trained_on(tone_folder, write_wav, tmp_path):
    for i in range(3):
        write_wav(tmp_path / "more" / f"{i}.wav", rate=8000, frequency=500 + i)
    out = tmp_path / "x"
    line = ["run", "fixmatch", "folder", str(tone_folder), "--unlabelled", str(tmp_path / "more"), "--fold", "1",
            "--steps", "2", "--every", "2", "--rate", "8000", "--window", "256", "--hop", "100", "--n-mels", "32",
            "--threads", "1", "--labelled", "2", "--batch-labelled", "4", "--batch-unlabelled", "4",
            "--model-options", "width=2"]  # fmt: skip
    assert main([*line, "--out", str(out)]) == 0
    split = json.loads((out / "fold1-seed0" / "split.json").read_text())
    assert {k: len(v) for k, v in split.items()} == {"labelled": 6, "unlabelled": 45, "test": 12, "valid": 0}


def test_a_process_reads_the_data_again_on_its_device(toy_config, toy_data):
    again = prepare(toy_config, toy_data.source, toy_data.stores, quiet=True, device=torch.device("cpu"))
    assert again.fingerprint == toy_data.fingerprint
    assert torch.equal(again.kept, toy_data.kept)


def test_every_method_has_options_that_its_presets_know():
    for name in algorithms.available():
        kind = algorithms.get(name)
        for preset_name in PRESETS:
            config, options = configure(preset_name, kind, {})
            assert isinstance(config, Config)
            kind(3, None, **options)


def test_a_mixer_is_refused_before_any_work_where_the_method_uses_none(
    tone_folder, toy_config, toy_data, tmp_path, monkeypatch, capsys
):
    supervised = algorithms.get("supervised")
    monkeypatch.setattr(supervised, "uses_mixer", False)
    monkeypatch.setattr("recipes.data.loader.open_store", lambda *a, **k: pytest.fail("decoded"))
    monkeypatch.setattr("recipes.data.shared.open_store", lambda *a, **k: pytest.fail("decoded"))
    expected = "mixer must be none for supervised, which mixes nothing, got mixup:alpha=0.3"
    out = tmp_path / "r"
    for line in (
        ["run", "supervised", "folder", str(tone_folder), "--mixer", "mixup:alpha=0.3"],
        ["bench", "folder", str(tone_folder), "--methods", "supervised+mixup:alpha=0.3"],
        ["bench", "folder", str(tone_folder), "--methods", "supervised", "--mixer", "mixup:alpha=0.3"],
    ):
        assert main([*line, "--out", str(out)]) == 2
        assert expected in " ".join(capsys.readouterr().err.split())
    with pytest.raises(ValueError, match=expected):
        train(toy_config, toy_data, "supervised", out=out, mixer="mixup:alpha=0.3")
    assert not out.exists()
    assert parse_row("supervised+none", "small").mixer is None
