"""The command ``bench mixers`` on tiny sounds: its files, its choice of strengths, and going on where it stopped."""

import json
import shutil

import numpy as np
import pytest

from recipes.benchmark.mixing import train
from recipes.benchmark.mixing.plan import CHOICE_SEED, SETTINGS, MixingRun
from recipes.benchmark.mixing.record import read_archive
from recipes.benchmark.mixing.rows import GRID, ROWS
from recipes.cli import main
from recipes.data.protocol import read_dataset

TINY = ["--steps", "3", "--rate", "8000", "--window", "256", "--hop", "100", "--n-mels", "32", "--batch-labelled", "4",
        "--device", "cpu", "--model-options", "width=4", "--labelled", "4", "--fold", "1", "2", "--seed", "0",
        "--rows", "plain", "mixup"]  # fmt: skip


@pytest.fixture(scope="module")
def line(tone_folder, tmp_path_factory):
    stores = tmp_path_factory.mktemp("stores")
    return lambda out, *more: ["bench", "mixers", "folder", str(tone_folder), *TINY, "--store", str(stores), "--out",
                               str(out), *more]  # fmt: skip


@pytest.fixture(scope="module")
def made(line, tmp_path_factory):
    out = tmp_path_factory.mktemp("mixers") / "whole"
    assert main(line(out)) == 0
    return out


def test_all_rows_folds_and_strengths_are_trained(made):
    names = {path.relative_to(made / "runs" / "4").as_posix() for path in made.glob("runs/*/*/*.npz")}
    stages = ["table-1-seed0", "table-2-seed0", *(f"choice{i}-1+2-seed{CHOICE_SEED}" for i in (0, 1))]
    assert names == {f"{row}/{stage}.npz" for row in ("plain", "mixup") for stage in stages}
    record = read_archive(made)
    assert {run.key for run in record.runs} == {(row, "4", fold, 0) for row in ("plain", "mixup") for fold in "12"}
    assert sorted(record.content["costs"]) == ["mixup", "plain"]
    assert (made / "results.html").read_text().count("<svg") == 2


def test_the_strength_of_a_fold_is_the_one_that_errs_less_on_the_other_fold(made):
    """Fold 1 is decided on by the clips of fold 2, of the training that saw neither."""
    record = read_archive(made)
    for run in record.runs:
        found = [c[0] for c in record.content["choices"][f"{run.row}/4/{run.fold}"]]
        best = min(range(2), key=lambda i: (found[i][1] / found[i][0], found[i][2] / found[i][0], i))
        assert run.strength == best
        assert [clips for clips, *_ in found] == [12, 12]  # of the other fold


def test_a_stopped_command_goes_on_to_the_same_table(made, line, tmp_path, monkeypatch):
    out, calls, whole = tmp_path / "b", [], train.Trainer.__call__

    def stop_at_the_sixth(self, run):
        calls.append(run)
        if len(calls) == 6:
            raise KeyboardInterrupt
        whole(self, run)

    monkeypatch.setattr(train.Trainer, "__call__", stop_at_the_sixth)
    assert main(line(out)) == 130
    assert not (out / "probabilities.npz").exists()
    assert main(line(out)) == 2  # without --resume
    assert main(line(out, "--steps", "4", "--resume")) == 2  # another table
    assert main(line(out, "--resume")) == 0
    assert len(calls) == 6 + 3  # five of eight were kept
    one, other = read_archive(made), read_archive(out)
    assert one.content["choices"] == other.content["choices"]
    assert [run.key for run in one.runs] == [run.key for run in other.runs]
    for a, b in zip(one.runs, other.runs):
        assert a.strength == b.strength
        assert np.array_equal(a.clips, b.clips)
        assert np.array_equal(a.codes, b.codes)


def test_a_run_at_a_strength_that_is_chosen_no_longer_is_trained_anew(made, line, tmp_path):
    """As where more folds are asked for later: their inner trainings decide for the earlier folds too."""
    out = tmp_path / "later"
    shutil.copytree(made, out)
    run = next(run for run in read_archive(made).runs if run.row == "mixup")
    path = out / "runs" / "4" / "mixup" / f"table-{run.fold}-seed0.npz"
    found = train.read_predicted(path)
    train.write_predicted(path, found._replace(facts=found.facts | {"strength": 1 - run.strength}))
    assert main(line(out, "--resume")) == 0
    again, before = train.read_predicted(path), train.read_predicted(made / path.relative_to(out))
    assert again.facts["strength"] == run.strength
    assert np.array_equal(again.codes, before.codes)


def test_the_table_is_made_again_from_its_probabilities_alone(made, tmp_path, capsys):
    out = tmp_path / "again"
    assert main(["bench", "--recompute", str(made), "--out", str(out), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [(row["row"], row["runs"]) for row in facts["rows"]] == [("plain", 2), ("mixup", 2)]
    for name in ("results.md", "table.csv", "results.html", "probabilities.npz"):
        assert (out / name).read_bytes() == (made / name).read_bytes()
    assert main(["bench", "--recompute", str(made), "--baseline", "mixup"]) == 2
    assert "baseline must be left out" in capsys.readouterr().err


def test_the_plan_says_what_it_costs_and_trains_nothing(line, tmp_path, capsys):
    assert main(line(tmp_path / "c", "--plan")) == 0
    text = capsys.readouterr().out
    assert "4 runs" in text
    assert "2 folds x 1 seeds x 1 numbers of labels (4): 4 runs" in text
    assert "CPU seconds besides measuring" in text
    assert "cut       between_class:" in text
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--rows", "mixpu"], "did you mean 'mixup'"),
        (["--seed", str(CHOICE_SEED)], f"seed must be others than {CHOICE_SEED}"),
        (["--labelled", "0"], "labelled"),
        (["--epochs", "5"], "epochs must be left out: all rows train for as many steps, got 5"),
    ],
)
def test_bad_input_is_refused(line, tmp_path, more, message, capsys):
    assert main(line(tmp_path / "d", *more)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "d").exists()


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_can_be_trained_at_both_strengths(row, trainer):
    for strength in range(GRID):
        assert trainer.time(MixingRun(row, strength, "4", "1", 0), 2) > 0


@pytest.fixture(scope="module")
def trainer(tone_folder, tmp_path_factory):
    given = {"rate": 8000, "window": 256, "hop": 100, "n_mels": 32, "batch_labelled": 6, "device": "cpu",
             "model_options": ("width=4",), **SETTINGS}  # fmt: skip
    folder = tmp_path_factory.mktemp("stores")
    return train.Trainer(read_dataset("folder", tone_folder), folder, given, folder)
