"""Training over tasks: what is seen when, resuming, aligned rows, and the result."""

import csv
import json
import math
from dataclasses import replace

import pytest
import soundfile
import torch

from audiomix.measures.forgetting import average_accuracy, forgetting
from recipes import cli
from recipes.continual import train as module
from recipes.continual.methods import METHODS
from recipes.continual.settings import ContinualSettings
from recipes.continual.study import run_all
from recipes.continual.train import Continual, make_tasks, train
from recipes.data.loader import prepare
from recipes.data.protocol import read_dataset
from recipes.training.choices import choose
from recipes.training.distributed import fabric_for

SETTINGS = ContinualSettings(tasks=3, memory=2, batch=4, replay=3, steps=4, view="weak")
RATE = 8000
FREQUENCIES = (200, 400, 700, 1100, 1700, 2500, 3300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Seven classes of 10 tones: 3, 2 and 2 to a task, more of the first class."""
    root = tmp_path_factory.mktemp("seven")
    generator = torch.Generator().manual_seed(0)
    for k, frequency in enumerate(FREQUENCIES):
        (root / f"class{k}").mkdir()
        for i in range(10 + 3 * (k == 0)):
            phase, level = torch.rand(2, generator=generator)
            wave = (0.2 + 0.3 * level) * torch.sin(2 * math.pi * (frequency / RATE * torch.arange(4000) + phase))
            wave += 0.02 * torch.randn(4000, generator=generator)
            soundfile.write(root / f"class{k}" / f"{i}.wav", wave.numpy(), RATE)
    return root


@pytest.fixture(scope="module")
def data(folder, toy_config, tmp_path_factory):
    return prepare(toy_config, read_dataset("folder", folder), tmp_path_factory.mktemp("stores"), quiet=True)


@pytest.fixture
def recipe(data, toy_config, tmp_path):
    """Return a function that makes a recipe, with nothing trained."""

    def make(method="plain", seed=0, **changes):
        settings = replace(SETTINGS, **changes)
        config, fold = choose(toy_config, data.facts)[0], data.dataset.folds[0]
        tasks = make_tasks(settings, data.dataset, fold, seed)
        data.views.fit(data.kept, tasks.train[0])
        fabric = fabric_for(config)
        return Continual(fabric, config, settings, data, tasks, method, fold=fold, seed=seed, out=tmp_path)

    return make


def test_classes_are_divided_and_nothing_is_in_two_tasks(data):
    dataset, fold = data.dataset, data.dataset.folds[1]
    tasks = make_tasks(SETTINGS, dataset, fold, 3)
    assert tasks.sizes == (3, 2, 2)
    assert sorted(tasks.order.tolist()) == list(range(7))
    train, test = (sorted(part) for part in dataset.holdout(fold))
    assert torch.cat(tasks.train).sort().values.tolist() == train
    assert torch.cat(tasks.test).sort().values.tolist() == test
    labels = torch.tensor(dataset.labels)
    for t, part in enumerate(tasks.order.split([3, 2, 2])):
        for clips in (tasks.train[t], tasks.test[t], tasks.memory[t]):
            assert set(labels[clips].tolist()) == set(part.tolist())
        assert labels[tasks.memory[t]].bincount(minlength=7)[part].tolist() == [2] * len(part)
        assert set(tasks.memory[t].tolist()) <= set(tasks.train[t].tolist())
    assert make_tasks(SETTINGS, dataset, fold, 4).order.tolist() != tasks.order.tolist()


def test_a_task_that_cannot_be_tested_is_refused_before_anything_is_trained(data):
    """Its accuracy would be NaN, and the training end with an error after its last step."""
    dataset, fold = data.dataset, data.dataset.folds[0]
    test, last = dataset.holdout(fold)[1], set(make_tasks(SETTINGS, dataset, fold, 0).test[2].tolist())
    less = dataset.only([i for i in range(len(dataset.items)) if i not in last])
    assert last < set(test)
    with pytest.raises(ValueError, match=rf"the held-out clips of fold {fold} must be some of every task, got none of"):
        make_tasks(SETTINGS, less, fold, 0)


def test_a_step_sees_its_task_and_the_memory_and_no_other_clip(recipe):
    """The whole earlier tasks would be no continual learning, and the held-out fold no test."""
    made, seen = recipe(steps=10), [set() for _ in range(3)]
    for step in range(made.steps):
        new, old = made._clips(step)
        task = step // 10
        assert set(new.tolist()) <= set(made.tasks.train[task].tolist())
        if task == 0:
            assert old is None
        else:
            assert set(old.tolist()) <= set(made.tasks.old(task).tolist())
            assert len(old) == 3
        seen[task] |= set(new.tolist())
    assert [len(s) for s in seen] == [len(t) for t in made.tasks.train]
    assert len(made.tasks.old(2)) == 2 * 5


def test_mean_and_deviation_of_the_inputs_are_of_the_first_task(data, toy_config, tmp_path, monkeypatch):
    """Those of all training clips tell of tasks that are still to come."""
    given = []

    def stop(*_, **__):
        raise InterruptedError

    monkeypatch.setattr(data.views, "fit", lambda kept, train: given.append(train))
    monkeypatch.setattr(module, "Continual", stop)
    with pytest.raises(InterruptedError):
        train(toy_config, SETTINGS, data, "plain", out=tmp_path, quiet=True)
    first = make_tasks(SETTINGS, data.dataset, data.dataset.folds[0], 0).train[0]
    assert [clips.tolist() for clips in given] == [first.tolist()]


def test_methods_see_the_same_clips_in_the_same_views(recipe):
    plain, other = recipe("plain"), recipe("dualmix+wa")
    assert all(torch.equal(plain._clips(s)[0], other._clips(s)[0]) for s in range(plain.steps))
    inputs = [made.batch(5, torch.Generator().manual_seed(0)).x for made in (plain, recipe("wa"))]
    assert torch.equal(*inputs)


def test_classes_to_come_are_in_no_loss_and_no_prediction(recipe):
    made = recipe()
    inputs = made.batch(0, torch.Generator().manual_seed(0))
    made.losses(inputs, 0, torch.Generator())["loss"].backward()
    assert bool((made.head.weight.grad[3:] == 0).all())
    assert bool((made.head.weight.grad[:3] != 0).any())
    with torch.no_grad():
        made.head.weight[3:] *= 1000
    assert int(made._predict(made.tasks.test[0], 0).max()) < 3
    assert made.head.bias.tolist() == [0] * 7


def test_the_rarer_classes_are_those_of_the_memory(recipe, monkeypatch):
    """The counts by which AdpMix moves the label, in the order in which classes come."""
    made, given = recipe("dualmix"), []
    monkeypatch.setattr(module, "mix_inputs", lambda new, old, counts, **_: given.append(counts))
    labels = torch.tensor(made.data.dataset.labels)
    for step in (0, 4, 8):
        made.batch(step, torch.Generator())
    for task, counts in enumerate(given):
        own = made.tasks.order.split([3, 2, 2])[task]
        first = sum(made.tasks.sizes[:task])
        assert counts[:first] == [2] * first
        assert counts[first:] == [int((labels[made.tasks.train[task]] == c).sum()) for c in own]


def test_rows_are_aligned_at_the_end_of_a_task_and_the_teacher_is_the_network_then(recipe):
    made = recipe("wa")
    made.head.weight.data.abs_()
    sizes = lambda a, b: float(made.head.weight[a:b].detach().norm(dim=1).mean())  # noqa: E731
    with torch.no_grad():
        made.head.weight[3:5] *= 4
    before = made.head.weight.detach().clone()
    for done in (4, 7):  # the end of the first task, where there is nothing to align, and the middle of the second
        made._done = done
        made.after_step()
        assert torch.equal(made.head.weight, before)
    assert torch.equal(made.teacher.head.weight, before)
    made._done = 8
    made.after_step()
    assert sizes(3, 5) == pytest.approx(sizes(0, 3), rel=1e-6)
    assert made.evaluate()["factor"] == pytest.approx(float(made.head.weight[3, 0] / before[3, 0]), rel=1e-5)
    assert torch.equal(made.head.weight[:3], before[:3])
    assert torch.equal(made.head.weight[5:], before[5:])
    assert torch.equal(made.teacher.head.weight, made.head.weight)


@pytest.mark.parametrize(("method", "positive", "least"), [("wa", True, 0), ("wa", False, -1), ("plain", True, -1)])
def test_weight_aligning_keeps_the_weights_of_the_last_layer_positive(recipe, method, positive, least):
    """After every step, not at a task's end alone: features are not negative, so that a longer row has larger logits.

    With weights of both signs a class that is pushed down has longer rows too, and alignment favours new classes.
    """
    made = recipe(method, positive=positive)
    with torch.no_grad():
        made.head.weight[0, :2] = torch.tensor([-1.0, 0.5])
    made._done = 1
    made.after_step()
    assert float(made.head.weight.min()) == least
    assert float(made.head.weight[0, 1]) == 0.5


def test_the_features_that_positive_weights_are_for_are_not_negative(recipe, data):
    made = recipe("wa")
    kept = made.data.views(data.kept[:8], "none", generator=torch.Generator())
    assert float(made.network.features(kept).min()) >= 0


def test_each_task_starts_with_a_new_optimiser(recipe):
    made = recipe()
    made.losses(made.batch(0, torch.Generator()), 0, torch.Generator())["loss"].backward()
    made.optimiser.step()
    for done, kept in ((3, True), (4, False)):
        made._done = done
        made.after_step()
        assert bool(made.optimiser.state) == kept
    assert [made.learning_rate(step) for step in (0, 4)] == [2e-3, 2e-3]
    assert made.learning_rate(3) < 1e-3


def test_distillation_counts_by_the_share_of_old_classes_and_leaves_the_teacher_alone(recipe):
    made = recipe("wa")
    inputs = made.batch(4, torch.Generator().manual_seed(0))
    state = {name: value.clone() for name, value in made.teacher.state_dict().items()}
    found = made.losses(inputs, 4, torch.Generator())
    plain = recipe("plain").losses(inputs, 4, torch.Generator())["loss"]
    assert float(found["loss"]) == pytest.approx(float(plain) * (1 - 3 / 5), rel=1e-5)
    assert float(found["distillation"]) > 0
    assert all(torch.equal(value, state[name]) for name, value in made.teacher.state_dict().items())
    assert float(made.losses(inputs._replace(target=inputs.target[:, :3]), 0, torch.Generator())["distillation"]) == 0


@pytest.fixture(scope="module")
def finished(data, toy_config, tmp_path_factory):
    """One training of both methods, with a step of nothing left out."""
    out = tmp_path_factory.mktemp("run")
    return out, train(toy_config, SETTINGS, data, "dualmix+wa", out=out, quiet=True)


def test_the_result_is_that_of_the_predictions_and_the_rows(finished, data):
    out, result = finished
    accuracy = torch.tensor([[math.nan if a is None else a for a in row] for row in result.accuracy])
    assert bool((accuracy.isnan() == torch.ones(3, 3).triu(1).bool()).all())
    assert result.average_accuracy == pytest.approx(average_accuracy(accuracy))
    assert result.forgetting == pytest.approx(forgetting(accuracy))
    with (out / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    for task in range(3):
        own = [row["class"] == row["predicted"] for row in rows if row["task"] == str(task + 1)]
        assert 100 * sum(own) / len(own) == pytest.approx(result.accuracy[2][task])
    right = [row["class"] == row["predicted"] for row in rows]
    assert 100 * sum(right) / len(right) == pytest.approx(result.seen_accuracy[2])
    assert sorted(row["id"] for row in rows) == sorted(
        data.dataset.items[i].id for i in data.dataset.holdout(result.fold)[1]
    )
    assert [len(part) for part in result.classes] == [3, 2, 2]
    split = json.loads((out / "split.json").read_text())
    assert set(split["memory 1"]) <= set(split["train 1"])


def test_a_training_that_was_stopped_goes_on_to_the_same_result(finished, data, toy_config, tmp_path):
    class Stopped(Exception):
        pass

    def stop(row):
        if row["step"] == 8:
            raise Stopped

    with pytest.raises(Stopped):
        train(toy_config, SETTINGS, data, "dualmix+wa", out=tmp_path, quiet=True, on_row=stop)
    again = train(toy_config, SETTINGS, data, "dualmix+wa", out=tmp_path, quiet=True, resume=True)
    times = {"seconds": 0.0, "cpu_seconds": 0.0}
    assert replace(again, **times) == replace(finished[1], **times)
    assert (tmp_path / "predictions.csv").read_text() == (finished[0] / "predictions.csv").read_text()
    with pytest.raises(FileExistsError, match="--resume"):
        train(toy_config, SETTINGS, data, "dualmix+wa", out=tmp_path, quiet=True)
    with pytest.raises(ValueError, match="memory"):
        train(toy_config, replace(SETTINGS, memory=3), data, "dualmix+wa", out=tmp_path, quiet=True, resume=True)


@pytest.mark.slow
def test_the_network_learns_its_tasks_and_the_memory_keeps_them(data, toy_config, tmp_path):
    """Without a memory the first task is gone after the last; with one it is not."""
    settings = replace(SETTINGS, steps=40, batch=8, replay=8)
    kept = train(toy_config, settings, data, "plain", out=tmp_path / "kept", quiet=True)
    gone = train(toy_config, replace(settings, memory=0), data, "plain", out=tmp_path / "gone", quiet=True)
    assert min(kept.accuracy[t][t] for t in range(3)) > 60
    assert gone.accuracy[2][0] < 20
    assert kept.average_accuracy > gone.average_accuracy + 20
    assert kept.forgetting < gone.forgetting


def test_what_is_refused(data, toy_config, tmp_path):
    def run(method="plain", **changes):
        train(toy_config, replace(SETTINGS, **changes), data, method, out=tmp_path / "x", quiet=True)

    with pytest.raises(ValueError, match="tasks must be at most 3: two of the 7 classes a task or more, got 4"):
        run(tasks=4)
    with pytest.raises(ValueError, match="memory must be at most 8, the clips of class"):
        run(memory=9)
    with pytest.raises(ValueError, match="memory must be at least 1 with dualmix"):
        run("dualmix", memory=0)
    with pytest.raises(ValueError, match="did you mean"):
        run("dualmux")
    assert not (tmp_path / "x").exists()
    with pytest.raises(ValueError, match="view must be one of"):
        ContinualSettings(view="strange")


def test_a_table_of_several_is_written_and_resumed(data, toy_config, tmp_path):
    settings = replace(SETTINGS, steps=1)
    given = {"methods": ["plain", "wa"], "folds": [], "seeds": [0], "out": tmp_path / "all", "quiet": True}
    given["folds"] = data.dataset.folds[:2]
    results = run_all(toy_config, settings, data, **given, command="the command")
    with (given["out"] / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["method"], row["fold"]) for row in rows] == [(r.method, r.fold) for r in results]
    assert [float(row["forgetting"]) for row in rows] == pytest.approx([r.forgetting for r in results])
    page = (given["out"] / "results.md").read_text()
    assert "the command" in page
    gains = [b.average_accuracy - a.average_accuracy for a, b in (results[:2], results[2:])]
    assert f"{sum(gains) / 2:+.1f}" in page
    with pytest.raises(FileExistsError, match="--resume"):
        run_all(toy_config, settings, data, **given)
    assert run_all(toy_config, settings, data, **given, resume=True) == results


def test_a_table_that_goes_on_with_another_method_keeps_its_rows(data, toy_config, tmp_path):
    """The same files, but for the times and the commands, as if all had been asked for at once."""
    settings = replace(SETTINGS, steps=1, tasks=2)
    out, fold = tmp_path / "out", data.dataset.folds[1:2]

    def run(*methods, folds=fold, seeds=(0,), out=out, resume=True, settings=settings):
        given = {"methods": methods, "folds": folds, "seeds": seeds, "out": out, "resume": resume, "quiet": True}
        found = run_all(toy_config, settings, data, **given, command=f"train {methods[0]}")
        return [(r.method, r.fold, r.seed, r.accuracy) for r in found]

    def rows():
        with (out / "results.csv").open() as file:
            return [{k: v for k, v in row.items() if "seconds" not in k} for row in csv.DictReader(file)]

    run("wa", resume=False)
    (first,) = rows()
    assert len(run("plain")) == 2
    assert [row["method"] for row in rows()] == ["plain", "wa"]
    assert rows()[1] == first
    run("plain", folds=data.dataset.folds[:1], seeds=(1,))
    text = (out / "results.md").read_text()
    assert text.rstrip().endswith("    train wa\n    train plain")  # each command once
    assert text.count("| wa") == 1
    found = run("plain")
    assert [(row["method"], row["fold"], row["seed"]) for row in rows()] == [tuple(map(str, r[:3])) for r in found]
    assert [r[:3] for r in found] == [("plain", fold[0], 0), ("wa", fold[0], 0), ("plain", data.dataset.folds[0], 1)]
    assert found[:2] == run("plain", "wa", out=tmp_path / "at once", resume=False)
    before = (out / "results.csv").read_bytes()
    with pytest.raises(ValueError, match=r"plain-fold.*memory.*choose another --out"):
        run("dualmix", settings=replace(settings, memory=1))
    assert (out / "results.csv").read_bytes() == before
    assert not list(out.glob("dualmix*"))


def test_the_command_runs_and_its_methods_are_listed(folder, tmp_path, capsys):
    words = ["continual", "folder", str(folder), "--steps", "1", "--tasks", "2", "--memory", "1", "--batch", "2"]
    words += ["--method", "plain", "dualmix", "--out", str(tmp_path / "out"), "--threads", "1", "--device", "cpu"]
    assert cli.main(words) == 0
    assert (tmp_path / "out" / "results.csv").is_file()
    capsys.readouterr()
    assert cli.main(["continual", "folder", str(folder), "--method", "dualmx"]) == 2
    assert "did you mean 'dualmix'" in capsys.readouterr().err
    assert cli.main(["list"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in METHODS)


def test_evaluation_leaves_the_network_in_training(recipe):
    made = recipe()
    made.network.train()
    made._done = 4
    made.evaluate()
    assert made.network.training
