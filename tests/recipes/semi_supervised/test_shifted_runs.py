"""Runs with wrong labels, uneven classes and clips of other classes: what methods see, what is measured and saved."""

import csv
import json
from dataclasses import replace

import pytest
import torch

from audiomix.datasets.dataset import OUTLIER
from recipes.algorithms.supervised import Supervised
from recipes.data.loader import prepare
from recipes.data.protocol import read_dataset, take_out_classes
from recipes.semi_supervised.train import train

NAMES = ("high", "low", "middle")


def test_a_method_is_given_noisy_labels_and_measured_with_true_ones(toy_config, toy_data, tmp_path, monkeypatch):
    seen = []

    def losses(self, model, labelled, unlabelled=None, **_):
        seen.append(labelled.target)
        return {"labelled": model(labelled.x).square().mean()}

    monkeypatch.setattr(Supervised, "losses", losses)
    config = replace(toy_config, labelled="6", label_noise="50%", batch_labelled=18, steps=3)
    result = train(config, toy_data, "supervised", out=tmp_path, quiet=True)
    split = json.loads((tmp_path / "split.json").read_text())
    true = [name.partition("/")[0] for name in split["labelled"]]
    assert sum(a != b for a, b in zip(true, split["noisy_labels"])) == 9
    for target in seen:  # a batch is a pass over the labelled clips
        assert sorted(NAMES[c] for c in target.tolist()) == sorted(split["noisy_labels"])
    with open(tmp_path / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(row["class"] == row["id"].partition("/")[0] for row in rows)
    wrong = sum(row["raw"] != row["class"] for row in rows)
    assert result.error_last == pytest.approx(100 * wrong / len(rows))
    assert json.loads((tmp_path / "config.json").read_text())["settings"]["config"]["label_noise"] == "50%"


def test_a_run_goes_on_only_with_the_same_classes_and_labels(toy_config, toy_data, tmp_path):
    train(toy_config, toy_data, "supervised", out=tmp_path, quiet=True)
    for change in ({"imbalance": 2.0}, {"label_noise": "20%"}):
        with pytest.raises(ValueError, match=f"config.{next(iter(change))}"):
            train(replace(toy_config, **change), toy_data, "supervised", out=tmp_path, quiet=True, resume=True)


def test_guesses_on_outliers_are_counted_and_their_clips_are_not_tested_on(
    toy_config, toy_data, tone_folder, tmp_path
):
    data = prepare(
        toy_config, take_out_classes(read_dataset("folder", tone_folder), ["low"]), tmp_path / "stores", quiet=True
    )
    assert data.fingerprint != toy_data.fingerprint
    options = {"threshold": 0.0}
    result = train(toy_config, data, "fixmatch", out=tmp_path / "open", quiet=True, options=options)
    assert [row["outlier_mask"] for row in result.history] == [1.0, 1.0]  # all are believed
    saved = json.loads((tmp_path / "open" / "config.json").read_text())
    assert saved["settings"]["outlier_classes"] == ["low"]
    assert saved["facts"]["classes"] == ["high", "middle"]
    split = json.loads((tmp_path / "open" / "split.json").read_text())
    assert {name.partition("/")[0] for name in split["test"]} == {"high", "middle"}
    assert sum(name.startswith("low/") for name in split["unlabelled"]) == 16
    closed = train(toy_config, toy_data, "fixmatch", out=tmp_path / "closed", quiet=True, options=options)
    assert closed.history[-1]["outlier_mask"] is None
    with pytest.raises(ValueError, match="outlier_classes None instead of"):
        train(toy_config, toy_data, "fixmatch", out=tmp_path / "open", quiet=True, options=options, resume=True)
    assert int((data.labels == OUTLIER).sum()) == 20


def test_no_loss_reads_the_class_of_an_outlier(toy_config, toy_data, tmp_path):
    """The training is the same to the bit whatever the classes of unlabelled clips are said to be."""
    open_set, results = take_out_classes(toy_data.dataset, ["low"]), []
    labels = torch.tensor(open_set.labels)
    for i, hidden in enumerate((OUTLIER, 1)):
        data = replace(toy_data, dataset=open_set, labels=torch.where(labels < 0, hidden, labels))
        row = train(toy_config, data, "freematch", out=tmp_path / str(i), quiet=True).history[-1]
        results.append([row["loss_labelled"], row["loss_unlabelled"], row["error"]])
    assert results[0] == results[1]
