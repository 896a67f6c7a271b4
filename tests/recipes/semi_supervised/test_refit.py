"""Heads fitted after a training: what they are fitted on, that the network stays as it is, and what a run writes."""

import csv
import dataclasses
from pathlib import Path

import pytest
import torch
from runs import Stop, assert_same_run, rows, stop_at
from torch import nn

from recipes import models
from recipes.algorithms._ensemble import Ensemble
from recipes.data.loader import make_split
from recipes.semi_supervised import refit
from recipes.semi_supervised.evaluate import predict_logits
from recipes.semi_supervised.inference import load_model
from recipes.semi_supervised.refit import check_heads, fit_heads, predict_features, with_heads
from recipes.semi_supervised.train import train
from recipes.training import checkpoint
from recipes.training.config import HEADS, Config
from recipes.training.ema import EMA
from recipes.training.run_folder import read_run


@pytest.fixture(scope="module")
def config(toy_config):
    return dataclasses.replace(toy_config, model_options=("width=4",), head=HEADS, steps=4, every=2)


@pytest.fixture(scope="module")
def split(config, toy_data):
    found = make_split(config, toy_data.dataset, toy_data.dataset.folds[0], 0)
    toy_data.views.fit(toy_data.kept, found.train)
    return found


@pytest.fixture(scope="module")
def finished(config, toy_data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "x"
    return train(config, toy_data, "fixmatch", out=out, quiet=True)


def finished_path(result):
    return Path(result.folder)


def network(key="network"):
    return models.build("resnet_small", 3, seed=0, key=key, width=4)


def known(data, split):
    """Return the labels of the training clips as a run knows them: -1 without one."""
    return torch.where(torch.isin(split.train, split.labelled), data.labels[split.train], -1)


@pytest.mark.parametrize("of", [lambda a, b: a, lambda a, b: EMA(a, 0.9), Ensemble], ids=["one", "average", "several"])
def test_features_and_probabilities_are_those_of_the_network(of, toy_data, split):
    whole = of(network(), network("other")).train()
    features, shares = predict_features(whole, toy_data.views, toy_data.kept, split.test)
    expected = predict_logits(whole, toy_data.views, toy_data.kept[split.test]).softmax(-1).double()
    torch.testing.assert_close(shares, expected, rtol=1e-4, atol=1e-6)
    assert [tuple(x.shape) for x in features] == [(len(split.test), 32)] * len(refit.members(whole))
    assert whole.training


def test_a_network_has_its_own_head_again_afterwards(toy_data, split):
    whole = EMA(Ensemble(network(), network("other")), 0.9)
    before = {name: value.clone() for name, value in whole.state_dict().items()}
    labels = known(toy_data, split)
    fitted = fit_heads(HEADS, whole, toy_data.views, toy_data.kept, split.train, labels)
    kept = toy_data.kept[split.test]
    own = predict_logits(whole, toy_data.views, kept)
    with with_heads(whole, fitted["refit"].heads) as other:
        features, _ = predict_features(whole, toy_data.views, toy_data.kept, split.test)
        shares = torch.stack([head(x).softmax(-1) for head, x in zip(fitted["refit"].heads, features)]).mean(0)
        found = predict_logits(other, toy_data.views, kept).softmax(-1)
        torch.testing.assert_close(found, shares.float(), rtol=1e-4, atol=1e-5)
        assert not torch.allclose(found, own.softmax(-1), atol=1e-3)
    assert [name for name, value in whole.state_dict().items() if not torch.equal(value, before[name])] == []


@pytest.mark.parametrize("kind", HEADS)
def test_held_out_clips_and_hidden_labels_do_not_reach_a_head(kind, toy_data, split):
    labels = known(toy_data, split)
    assert int((labels >= 0).sum()) == len(split.labelled) == 6
    one = fit_heads([kind], network(), toy_data.views, toy_data.kept, split.train, labels)[kind].heads[0]
    changed = toy_data.kept.clone()
    changed[split.test] = 17.0
    other = fit_heads([kind], network(), toy_data.views, changed, split.train, labels)[kind].heads[0]
    assert torch.equal(one.weight, other.weight)
    assert torch.equal(one.bias, other.bias)
    changed[split.train[-1]] = 17.0
    third = fit_heads([kind], network(), toy_data.views, changed, split.train, labels)[kind].heads[0]
    assert not torch.equal(one.weight, third.weight)


def test_the_guesses_have_the_classes_of_the_labels_and_labels_stay(toy_data, split):
    labels = known(toy_data, split)
    targets = fit_heads(["refit"], network(), toy_data.views, toy_data.kept, split.train, labels)["refit"].targets
    assert torch.equal(targets[labels >= 0].argmax(-1), labels[labels >= 0])
    assert set(targets[labels >= 0].flatten().tolist()) == {0.0, 1.0}
    _, guesses = predict_features(network(), toy_data.views, toy_data.kept, split.train)
    off = [(x[labels < 0].mean(0) - 1 / 3).abs().max() for x in (targets, guesses)]
    assert off[0] < 0.2 * off[1]


def test_a_run_reports_every_head_besides_the_network(finished, toy_data):
    names = [f"{which}{head}" for which in ("raw", "ema") for head in ("", "+refit", "+graph")]
    assert sorted(finished.measures) == sorted(names)
    with open(f"{finished.folder}/predictions.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    for name in names:
        errors = 100 * sum(line[name] != line["class"] for line in lines) / len(lines)
        shares = [float(lines[0][f"{name}_{c}"]) for c in toy_data.dataset.class_names]
        assert sum(shares) == pytest.approx(1, abs=1e-4)
        if "+" in name:
            assert finished.measures[name]["error"] == pytest.approx(errors)
            assert finished.measures[name]["seconds"] > 0
    assert finished.heads == ["refit", "graph"]
    graph = finished.with_head("graph")
    assert (graph.method, graph.error_last) == ("fixmatch (head=graph)", finished.measures["raw+graph"]["error"])
    assert graph.error_last_ema == finished.measures["ema+graph"]["error"]
    assert graph.cpu_seconds > finished.cpu_seconds
    assert sorted(graph.measures) == ["ema", "raw"]
    assert read_run(finished_path(finished)) == finished


def test_the_trained_network_is_what_it_is_without_a_head(config, finished, toy_data, tmp_path):
    alone = train(dataclasses.replace(config, head=("none",)), toy_data, "fixmatch", out=tmp_path / "x", quiet=True)
    assert rows(tmp_path / "x") == rows(finished_path(finished))
    paths = (tmp_path / "x", finished_path(finished))
    one, two = (checkpoint.load(path / "checkpoint.safetensors")[0] for path in paths)
    assert all(torch.equal(one[name], two[name]) for name in two)
    assert alone.heads == []
    assert not (tmp_path / "x" / refit.FILE).exists()


def test_a_run_stopped_before_its_heads_goes_on_to_the_same(config, finished, toy_data, tmp_path):
    with pytest.raises(Stop):
        train(config, toy_data, "fixmatch", out=tmp_path / "x", quiet=True, on_row=stop_at(4))
    train(config, toy_data, "fixmatch", out=tmp_path / "x", quiet=True, resume=True)
    assert_same_run(finished_path(finished), tmp_path / "x")
    assert (tmp_path / "x" / refit.FILE).read_bytes() == (finished_path(finished) / refit.FILE).read_bytes()


@pytest.mark.parametrize("which", ["raw", "ema"])
@pytest.mark.parametrize("head", HEADS)
def test_a_saved_run_predicts_with_the_head_as_it_was_measured(which, head, finished, toy_data):
    model = load_model(finished_path(finished), which, head=head)
    assert model.which == f"{which}+{head}"
    with open(f"{finished.folder}/predictions.csv", newline="") as file:
        lines = {line["id"]: line for line in csv.DictReader(file)}
    for item in [x for x in toy_data.dataset.items if x.id in lines][:4]:
        found = model.probabilities(model.read(item.path)[None])[0]
        expected = [float(lines[item.id][f"{which}+{head}_{c}"]) for c in toy_data.dataset.class_names]
        assert found.tolist() == pytest.approx(expected, abs=2e-4)


def test_a_head_that_a_run_does_not_have_is_refused(config, toy_data, tmp_path):
    train(dataclasses.replace(config, head=("refit",)), toy_data, "supervised", out=tmp_path / "x", quiet=True)
    with pytest.raises(ValueError, match="head must be one of none, refit, which the run has, got graph"):
        load_model(tmp_path / "x", head="graph")
    train(dataclasses.replace(config, head=()), toy_data, "supervised", out=tmp_path / "y", quiet=True)
    with pytest.raises(ValueError, match="head must be none for a run without other heads.*train with --head graph"):
        load_model(tmp_path / "y", head="graph")


class NoBias(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 3, bias=False)

    def features(self, x):
        return x


@pytest.mark.parametrize("bad", [nn.Linear(4, 3), NoBias()], ids=["no head", "no bias"])
def test_a_network_whose_head_cannot_be_replaced_is_refused(bad):
    with pytest.raises(ValueError, match="model must be one with features and head, a linear layer with a bias"):
        check_heads("mine", [bad])


def test_an_unknown_head_is_refused():
    with pytest.raises(ValueError, match="head must be one of"):
        Config(head=("ridge",))


@pytest.mark.parametrize(("method", "options"), [
    ("mean_teacher", {}), ("deep_co_training", {"report": "mean"}), ("remixmatch", {"networks": 2}),
], ids=["teacher", "co-training", "two networks"])  # fmt: skip
def test_methods_with_several_networks_have_a_head_each(method, options, config, toy_data, tmp_path):
    result = train(config, toy_data, method, out=tmp_path / "x", options=options, quiet=True)
    model = load_model(tmp_path / "x", "ema", head="graph")
    count = 1 if method == "mean_teacher" else 2
    tensors, _ = checkpoint.load(tmp_path / "x" / refit.FILE)
    assert sum(name.startswith("ema+graph.") for name in tensors) == 2 * count
    weights = [part.head.weight for part in refit.members(model.network)]
    assert torch.equal(weights[-1], tensors[f"ema+graph.{count - 1}.weight"])
    assert result.heads == list(HEADS)
