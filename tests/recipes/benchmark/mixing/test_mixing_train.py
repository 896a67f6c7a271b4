"""A run of the table of mixing is that of `run supervised`: the probabilities of its average, on the same clips."""

import csv

import numpy as np
import pytest
import torch

from recipes.benchmark.mixing.codes import encode
from recipes.benchmark.mixing.plan import MixingRun
from recipes.benchmark.mixing.rows import choose_rows
from recipes.benchmark.mixing.train import Trainer, _configure, read_predicted
from recipes.semi_supervised.train import train

GIVEN = {"steps": 10, "rate": 8000, "window": 256, "hop": 100, "n_mels": 32, "batch_labelled": 6, "device": "cpu",
         "model_options": ("width=4",), "labelled_view": "weak", "threads": 1}  # fmt: skip


@pytest.mark.parametrize("name", ["plain", "data_efficient"])
def test_a_run_is_that_of_the_method_and_leaves_the_probabilities_of_its_average(name, toy_data, tmp_path):
    (row,) = choose_rows([name])
    run = MixingRun(row, 1, "4", toy_data.dataset.folds[0], 0)
    trainer = Trainer(toy_data.source, toy_data.stores, GIVEN, tmp_path)
    trainer(run)
    found = read_predicted(tmp_path / run.file)
    data = trainer.data(run)
    config, options, mixer = _configure(run, GIVEN, data)
    train(config, data, "supervised", out=tmp_path / "run", fold=run.fold, options=options, mixer=mixer, quiet=True)
    with (tmp_path / "run" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [line["id"] for line in rows] == [toy_data.dataset.items[i].id for i in found.clips]
    unlike = {}
    for network in ("ema", "raw"):
        shares = [[float(line[f"{network}_{c}"]) for c in toy_data.dataset.class_names] for line in rows]
        unlike[network] = np.mean(encode(torch.tensor(shares, dtype=torch.float64)) != found.codes)
    assert unlike["ema"] < 0.03  # the table has six digits
    assert unlike["raw"] > 0.5


def test_a_rare_choice_is_no_part_of_a_usual_step(toy_data, tmp_path, monkeypatch):
    (row,) = choose_rows(["data_efficient"])
    run = MixingRun(row, 1, "4", toy_data.dataset.folds[0], 0)
    seen = []
    monkeypatch.setattr(
        "recipes.benchmark.mixing.train.seconds_per_step", lambda spent, period: seen.append((spent, period)) or 1.0
    )
    assert Trainer(toy_data.source, toy_data.stores, GIVEN, tmp_path).time(run, 4) == 1.0
    ((spent, period),) = seen
    assert len(spent) == 4
    assert period == 5 * 2  # five passes over twelve clips in batches of six
