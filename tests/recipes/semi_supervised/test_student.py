"""Rounds: what the student learns, from what, at whose cost, and that a kill in either round changes nothing."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from runs import Stop, assert_same_run
from torch import nn

from recipes import algorithms
from recipes.algorithms.base import Labelled, Unlabelled
from recipes.cli import main
from recipes.data.loader import make_split
from recipes.semi_supervised.inference import load_model
from recipes.semi_supervised.rounds import guess_again
from recipes.semi_supervised.student import Student
from recipes.semi_supervised.train import train
from recipes.training import checkpoint
from recipes.training.config import Config
from recipes.training.engine import CHECKPOINT
from recipes.training.prior import class_prior
from recipes.training.run_folder import read_run


@pytest.fixture(scope="module")
def config(toy_config):
    return dataclasses.replace(toy_config, model_options=("width=4",), head=("graph",), steps=4, every=2, rounds=2)


def run(config, data, out, **arguments):
    return train(config, data, "fixmatch", out=out, quiet=True, mixer="mixup", **arguments)


@pytest.fixture(scope="module")
def whole(config, toy_data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "whole"
    run(config, toy_data, out)
    return out


def batch():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 4, generator=generator)
    labelled = Labelled(x[:2], torch.tensor([0, 2]), torch.arange(2))
    return labelled, Unlabelled((x[2:],), (x[2:] + 1,), torch.tensor([1, 1, -1]), torch.tensor([3, 0, 1]))


def student(mixer=None):
    made = algorithms.make_mixer(mixer, algorithms.get("supervised")) if mixer else None
    found = Student(3, made)
    found.setup(nn.Linear(4, 3), lambda key: nn.Linear(4, 3), 6)
    found.targets.copy_(torch.rand(6, 3, generator=torch.Generator().manual_seed(1)).softmax(-1))
    return found


def test_the_loss_is_that_of_labels_and_of_the_guesses_at_the_clips_places():
    labelled, unlabelled = batch()
    model, algorithm = nn.Linear(4, 3), student()
    terms = algorithm.losses(model, labelled, unlabelled, progress=0.0)
    rows = [F.cross_entropy(model(labelled.x[i]), labelled.target[i]) for i in range(2)]
    others = [F.cross_entropy(model(unlabelled.strong[i]), algorithm.targets[j]) for i, j in enumerate([3, 0, 1])]
    torch.testing.assert_close(terms["labelled"], sum(rows) / 5)
    torch.testing.assert_close(terms["unlabelled"], sum(others) / 5)
    assert not algorithm.targets.requires_grad


def test_mixed_clips_have_mixed_guesses():
    labelled, unlabelled = batch()
    algorithm, seen = student("mixup"), []

    class Model(nn.Linear):
        def forward(self, x):
            seen.append(x)
            return super().forward(x)

    model = Model(4, 3)
    terms = algorithm.losses(model, labelled, unlabelled, progress=0.0, generator=torch.Generator().manual_seed(5))
    whole = torch.cat([labelled.x, unlabelled.strong])
    mixed, plan = algorithm.mix_views(whole, None, 0.0, torch.Generator().manual_seed(5))
    torch.testing.assert_close(seen[0], mixed)
    y = torch.cat([algorithm.one_hot(labelled.target), algorithm.targets[unlabelled.index]])
    expected = F.cross_entropy(nn.Linear.forward(model, mixed), algorithm.mixer.mix_target(y, plan))
    torch.testing.assert_close(terms["labelled"] + terms["unlabelled"], expected)


def test_the_second_round_learns_what_the_head_of_the_first_says(config, whole, toy_data):
    split = make_split(config, toy_data.dataset, toy_data.dataset.folds[0], 0)
    toy_data.views.fit(toy_data.kept, split.train)
    targets = checkpoint.load(whole / CHECKPOINT)[0]["algorithm.targets"]
    assert targets.shape == (len(split.unlabelled), 3)
    prior = class_prior("labels", toy_data.labels[split.labelled], 3)
    expected = guess_again(whole / "round1", "graph", toy_data, split, prior)
    torch.testing.assert_close(targets, expected, rtol=1e-4, atol=1e-5)
    first = load_model(whole / "round1", head="graph")
    item = toy_data.dataset.items[int(split.unlabelled[0])]
    own = first.probabilities(first.read(item.path)[None])[0]
    assert (own * targets[0].double()).sum() > 0
    torch.testing.assert_close(targets.sum(-1), torch.ones(len(targets)))


def test_the_first_round_is_a_run_of_its_own(config, whole, toy_data, tmp_path):
    run(dataclasses.replace(config, rounds=1), toy_data, tmp_path / "x")
    assert_same_run(tmp_path / "x", whole / "round1")
    one, two = read_run(whole / "round1"), read_run(whole)
    assert two.method == "fixmatch + mixup (2 rounds)"
    assert two.cpu_seconds == pytest.approx(two.history[-1]["cpu_seconds"] + one.with_head("graph").cpu_seconds)
    assert two.heads == ["graph"]
    tensors = [checkpoint.load(folder / CHECKPOINT)[0] for folder in (whole, whole / "round1")]
    assert not torch.equal(*(x["model.stem.0.weight"] for x in tensors))


@pytest.mark.parametrize("stop", [1, 3], ids=["first", "second"])
def test_a_run_stopped_in_either_round_goes_on_to_the_same_bits(stop, config, whole, toy_data, tmp_path):
    rows = []

    def on_row(row):
        rows.append(row)
        if len(rows) == stop:
            raise Stop

    with pytest.raises(Stop):
        run(config, toy_data, tmp_path / "x", on_row=on_row)
    assert (tmp_path / "x" / "round1" / "result.json").exists() == (stop == 3)
    run(config, toy_data, tmp_path / "x", resume=True)
    assert_same_run(whole, tmp_path / "x")


def test_a_run_of_two_rounds_predicts(whole):
    for head in ("none", "graph"):
        model = load_model(whole, "ema", head=head)
        noise = torch.rand(2, model.size, generator=torch.Generator().manual_seed(0)) - 0.5
        torch.testing.assert_close(model.probabilities(noise).sum(-1), torch.ones(2).double())


def test_rounds_without_a_head_are_refused():
    with pytest.raises(ValueError, match="rounds must be 1 without another head.*--head graph"):
        Config(rounds=2)


def test_what_the_first_round_refuses_is_refused_before_anything_is_written(config, toy_data, tmp_path):
    small = dataclasses.replace(config, batch_labelled=1)
    with pytest.raises(ValueError, match="batch_labelled must be at least 2"):
        train(small, toy_data, "deep_co_training", out=tmp_path / "x", quiet=True)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("words", [["run", "supervised"], ["bench", "--methods", "supervised"]])
def test_rounds_without_unlabelled_clips_are_refused_before_any_decoding(words, tone_folder, tmp_path, capsys):
    method, *rest = words[1:]
    line = [words[0], *([method] if words[0] == "run" else []), "folder", str(tone_folder)]
    line += [] if words[0] == "run" else [method, *rest]
    line += ["--labelled", "100%", "--rounds", "2", "--head", "graph", "--out", str(tmp_path / "x")]
    assert main(line) == 2
    assert "less than all clips: --rounds learns from unlabelled ones" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "x").exists()
