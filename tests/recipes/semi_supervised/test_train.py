import dataclasses
import json
import math
import shutil

import pytest
import torch
from runs import Stop, assert_same_run, rows, stop_at

from recipes.algorithms.supervised import Supervised
from recipes.data import loader as data
from recipes.data.loader import make_split, prepare, step_indices
from recipes.data.protocol import read_dataset
from recipes.semi_supervised import train as semi_supervised
from recipes.semi_supervised.evaluate import error_rate, predict_logits
from recipes.semi_supervised.train import learning_rate, train
from recipes.training import checkpoint, engine
from recipes.training.config import PRESETS, Config, preset

ADAMATCH = {"relative_threshold": True, "distribution_alignment": True}


def run(toy_config, toy_data, out, method="fixmatch", **arguments):
    arguments = {"options": ADAMATCH if method == "fixmatch" else {}, "quiet": True} | arguments
    return train(toy_config, toy_data, method, out=out, **arguments)


def test_two_runs_with_one_seed_are_equal_to_the_bit(toy_config, toy_data, tmp_path):
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        run(toy_config, toy_data, tmp_path / name, mixer="mixup", seed=seed)
    assert_same_run(tmp_path / "one", tmp_path / "two")
    assert rows(tmp_path / "one") != rows(tmp_path / "other")


def test_a_run_stopped_between_last_step_and_result_is_finished(toy_config, toy_data, tmp_path):
    whole = run(toy_config, toy_data, tmp_path / "whole")
    with pytest.raises(Stop):
        run(toy_config, toy_data, tmp_path / "parts", on_row=stop_at(6))
    result = run(toy_config, toy_data, tmp_path / "parts", resume=True)
    assert result.error_last == whole.error_last
    assert (tmp_path / "parts" / "predictions.csv").exists()


def test_a_finished_run_is_returned_and_never_repeated_or_overwritten(toy_config, toy_data, tmp_path, monkeypatch):
    first = run(toy_config, toy_data, tmp_path / "x")
    monkeypatch.setattr(engine, "run", lambda *a, **k: pytest.fail("trained again"))
    assert run(toy_config, toy_data, tmp_path / "x", resume=True) == first
    with pytest.raises(FileExistsError, match="go on with --resume, or choose another --out"):
        run(toy_config, toy_data, tmp_path / "x")
    changed = dataclasses.replace(toy_config, lr=0.5)
    with pytest.raises(ValueError, match=r"config\.lr 0\.5 instead of 0\.002"):
        run(changed, toy_data, tmp_path / "x", resume=True)


def test_a_resumed_run_keeps_its_saved_split(toy_config, toy_data, tmp_path, monkeypatch):
    with pytest.raises(Stop):
        run(toy_config, toy_data, tmp_path / "x", on_row=stop_at(3))
    saved = (tmp_path / "x" / "split.json").read_bytes()
    monkeypatch.setattr(semi_supervised, "make_split", lambda *a: pytest.fail("drawn again"))
    run(toy_config, toy_data, tmp_path / "x", resume=True)
    assert (tmp_path / "x" / "split.json").read_bytes() == saved
    split = json.loads(saved)
    assert {k: len(v) for k, v in split.items()} == {"labelled": 6, "unlabelled": 42, "test": 12, "valid": 0}


def test_metrics_hold_exactly_the_terms_that_are_minimised(toy_config, toy_data, tmp_path, monkeypatch):
    seen = []

    def losses(self, model, labelled, unlabelled=None, **_):
        term = model(labelled.x).square().mean()
        seen.append((term.item(), (2 * term).item()))
        return {"labelled": term, "second": 2 * term}

    monkeypatch.setattr(Supervised, "losses", losses)
    result = run(toy_config, toy_data, tmp_path, "supervised")
    for i, row in enumerate(result.history):
        expected = torch.tensor(seen[3 * i : 3 * i + 3], dtype=torch.float64).mean(0)
        assert [row["loss_labelled"], row["loss_second"]] == pytest.approx(expected.tolist(), rel=1e-6)


def test_a_loss_that_is_not_a_number_stops_with_its_name_and_step(toy_config, toy_data, tmp_path, monkeypatch):
    whole, calls = Supervised.losses, []

    def losses(self, *arguments, **options):
        calls.append(1)
        factor = math.nan if len(calls) == 5 else 1.0
        return {k: v * factor for k, v in whole(self, *arguments, **options).items()}

    monkeypatch.setattr(Supervised, "losses", losses)
    with pytest.raises(FloatingPointError, match="loss_labelled is nan at step 5"):
        run(toy_config, toy_data, tmp_path, "supervised")
    tensors, numbers = checkpoint.load(tmp_path / engine.CHECKPOINT)
    assert [row["step"] for row in numbers["history"]] == [3]
    assert all(t.isfinite().all() for t in tensors.values())


def test_the_average_is_updated_after_the_step(toy_config, toy_data, tmp_path):
    # The first update has decay 1/10: nine tenths of the way from the first weights to those after the first step.
    from recipes import models

    config = dataclasses.replace(toy_config, steps=1, every=1, warmup=0.0)
    run(config, toy_data, tmp_path)
    tensors, _ = checkpoint.load(tmp_path / engine.CHECKPOINT)
    start = models.build("resnet_small", 3, seed=0).state_dict()["stem.0.weight"]
    now = tensors["model.stem.0.weight"]
    assert not torch.equal(now, start)
    torch.testing.assert_close(tensors["ema.average.stem.0.weight"], start + 0.9 * (now - start))


@pytest.mark.parametrize(
    ("method", "options", "second"),
    [("deep_co_training", {"report": "mean"}, "second"), ("supervised", {"networks": 2}, "others.0")],
)
def test_of_several_networks_that_are_reported_all_are_averaged(
    method, options, second, toy_config, toy_data, tmp_path
):
    from recipes import models

    config = dataclasses.replace(toy_config, steps=1, every=1, warmup=0.0)
    run(config, toy_data, tmp_path, method, options=options)
    tensors, _ = checkpoint.load(tmp_path / engine.CHECKPOINT)
    keys = ("network", {"second": "second", "others.0": "network2"}[second])
    for i, (name, key) in enumerate(zip(("model", f"algorithm.{second}"), keys)):
        start = models.build("resnet_small", 3, seed=0, key=key).state_dict()["stem.0.weight"]
        now = tensors[f"{name}.stem.0.weight"]
        average = tensors[f"ema.average.networks.{i}.stem.0.weight"]
        assert not torch.equal(now, start)
        torch.testing.assert_close(average, start + 0.9 * (now - start))


@pytest.mark.slow
def test_training_learns_the_tones(toy_config, toy_data, tmp_path):
    config = dataclasses.replace(toy_config, steps=60, every=60, lr=5e-3)
    for method in ("supervised", "fixmatch"):
        result = run(config, toy_data, tmp_path / method, method)
        assert result.error_last <= 34  # of 12 clips; chance is 67 %
        assert result.error_best <= result.error_last


@pytest.mark.slow
def test_the_global_generator_and_the_threads_are_left_alone(toy_config, toy_data, tmp_path):
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    run(dataclasses.replace(toy_config, threads=2), toy_data, tmp_path)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.get_num_threads() == threads


def test_bfloat16_trains_too(toy_config, toy_data, tmp_path):
    result = run(dataclasses.replace(toy_config, precision="bf16-mixed"), toy_data, tmp_path)
    assert all(math.isfinite(row["loss_unlabelled"]) for row in result.history)


def test_the_order_of_a_round_is_drawn_once(monkeypatch):
    drawn, permutation = [], data.permutation
    monkeypatch.setattr(data, "permutation", lambda n, **k: drawn.append(n) or permutation(n, **k))
    for step in range(10):
        step_indices(torch.arange(1009), 100, step, 0, "drawn once")
    assert drawn == [1009]


@pytest.mark.parametrize(("count", "size"), [(30, 15), (30, 32), (7, 3), (3, 10)])
def test_every_clip_is_used_once_in_a_round_whatever_the_batch(count, size):
    indices = torch.arange(100, 100 + count)
    seen = torch.cat([step_indices(indices, size, step, 0, "labelled") for step in range(3 * count)])
    assert len(seen) == 3 * count * size
    for r in range(3 * size):
        assert torch.equal(seen[r * count : (r + 1) * count].sort().values, indices)
    assert not torch.equal(seen[:count], seen[count : 2 * count])


def test_30_labels_in_batches_of_15_use_both_halves():
    both = torch.cat([step_indices(torch.arange(30), 15, step, 0, "labelled") for step in (8, 9)])
    assert torch.equal(both.sort().values, torch.arange(30))


def test_the_split_follows_fold_and_seed(toy_config, toy_data):
    a, b, c = (make_split(toy_config, toy_data.dataset, f, s) for f, s in (("1", 0), ("2", 0), ("1", 1)))
    assert not torch.equal(a.test, b.test)
    assert torch.equal(a.test, c.test)
    assert not torch.equal(a.labelled, c.labelled)
    everything = torch.cat([a.labelled, a.unlabelled, a.test]).sort().values
    assert torch.equal(everything, torch.arange(60))


def test_learning_rates():
    config = Config(lr=1.0, warmup=0.1)
    assert learning_rate(config, 0.0) == 0
    assert learning_rate(config, 0.05) == pytest.approx(0.5)
    assert learning_rate(config, 0.5) == pytest.approx(math.cos(7 * math.pi / 32))
    assert learning_rate(dataclasses.replace(config, decay="cosine"), 0.5) == pytest.approx(0.5)
    assert learning_rate(dataclasses.replace(config, warmup=0.0), 0.0) == 1


def test_evaluation_counts_the_last_incomplete_batch(toy_data, monkeypatch):
    monkeypatch.setattr("recipes.semi_supervised.evaluate._BATCH", 7)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(32 * 41, 3)).train()
    predicted = predict_logits(model, toy_data.views, toy_data.kept).argmax(-1)
    assert len(predicted) == 60
    assert model.training
    assert torch.equal(predicted, model(toy_data.views.plain(toy_data.kept)).argmax(-1))
    assert error_rate(torch.tensor([0, 1, 1, 0]), torch.tensor([0, 1, 2, 0])) == 25


def test_all_labels_leave_nothing_to_learn_from_for_fixmatch(toy_config, toy_data, tmp_path):
    with pytest.raises(ValueError, match="fixmatch learns from unlabelled ones, got 100%"):
        run(dataclasses.replace(toy_config, labelled="100%"), toy_data, tmp_path)


@pytest.mark.slow
def test_the_studys_preset_trains(toy_data, tmp_path):
    config = preset("study", rate=8000, window=256, hop=100, n_mels=32, steps=2, every=1, batch_labelled=4,
                    batch_unlabelled=4, threads=1, device="cpu")  # fmt: skip
    data = prepare(config, toy_data.dataset, tmp_path / "stores", quiet=True)
    result = train(config, data, "fixmatch", out=tmp_path / "run", quiet=True, mixer="mixup")
    assert result.method == "fixmatch + mixup"
    assert [row["step"] for row in result.history] == [1, 2]


def test_presets_are_complete_and_wrong_values_refused():
    assert set(PRESETS) == {"demo", "original", "small", "strong", "study"}
    with pytest.raises(ValueError, match="did you mean 'small'"):
        preset("smal")
    with pytest.raises(ValueError, match=r"decay must be one of cos7pi16, cos_to_quarter, cosine, .*, got 'linear'"):
        preset("small", decay="linear")
    with pytest.raises(ValueError, match=r"rate must be .* did you mean 16000"):
        preset("small", rate=16)


def test_a_file_that_is_no_checkpoint_is_named(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"\0" * 20)
    with pytest.raises(ValueError, match=r"x\.safetensors: not a checkpoint of a recipe"):
        checkpoint.load(tmp_path / "x.safetensors")


@pytest.mark.slow
def test_the_normalisation_does_not_depend_on_the_threads_set_outside(toy_config, toy_data, tmp_path, monkeypatch):
    """Sums over a whole training set are shared out between threads, and differ in their last digits."""
    before, fit, seen = torch.get_num_threads(), toy_data.views.fit, []
    monkeypatch.setattr(toy_data.views, "fit", lambda *a: seen.append(torch.get_num_threads()) or fit(*a))
    try:
        for outside in (1, 2):
            torch.set_num_threads(outside)
            run(toy_config, toy_data, tmp_path / str(outside))
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {toy_config.threads}
    one, two = (checkpoint.load(tmp_path / n / engine.CHECKPOINT)[0] for n in "12")
    assert all(torch.equal(one[k], two[k]) for k in one)


def test_other_data_cannot_resume_a_run_even_a_finished_one(toy_config, toy_data, tone_folder, tmp_path, write_wav):
    run(toy_config, toy_data, tmp_path / "x")
    shutil.copytree(tone_folder, tmp_path / "moved")
    moved = prepare(toy_config, read_dataset("folder", tmp_path / "moved"), tmp_path / "stores", quiet=True)
    assert run(toy_config, moved, tmp_path / "x", resume=True).fold == "1"
    write_wav(tmp_path / "moved" / "low" / "7.wav", rate=8000, frequency=301)  # the same names, sizes and labels
    other = prepare(toy_config, read_dataset("folder", tmp_path / "moved"), tmp_path / "stores", quiet=True)
    with pytest.raises(ValueError, match=r"the run to resume must be .*data .* \(other clips, classes or folds\)"):
        run(toy_config, other, tmp_path / "x", resume=True)


def test_the_record_says_where_the_data_was_and_what_it_ran_on(toy_config, toy_data, tone_folder, tmp_path):
    run(toy_config, toy_data, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["facts"]["root"] == str(tone_folder)
    assert config["facts"]["device"] == "cpu"
    assert config["versions"]["torch"] == torch.__version__
    assert config["settings"]["data"] == toy_data.fingerprint


@pytest.mark.parametrize("poisoned", ["model.head.weight", "ema.average.head.weight"])
def test_weights_that_are_not_numbers_are_not_saved(toy_config, toy_data, tmp_path, monkeypatch, poisoned):
    """A loss is computed before its step: what the last step of a row breaks shows in no loss."""
    gather, calls = checkpoint.gather, []

    def broken(parts, optimiser):
        calls.append(1)
        if len(calls) == 2:
            part, _, name = poisoned.partition(".")
            parts[part].get_parameter(name).data[0, 0] = math.nan
        return gather(parts, optimiser)

    monkeypatch.setattr(checkpoint, "gather", broken)
    with pytest.raises(FloatingPointError, match=rf"{poisoned} not finite after step 6: lower lr"):
        run(toy_config, toy_data, tmp_path, "supervised")
    tensors, numbers = checkpoint.load(tmp_path / engine.CHECKPOINT)
    assert [row["step"] for row in numbers["history"]] == [3]
    assert all(t.isfinite().all() for t in tensors.values())
    assert not (tmp_path / "result.json").exists()


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({"labelled": "50"}, {}, "labelled must be at most 16, the clips of class high that train, got 50"),
        ({"labelled": "100%"}, {}, "fixmatch learns from unlabelled ones"),
        ({}, {"fold": "9"}, "fold must be one of"),
        ({}, {"seed": 10**41}, "seed must be a whole number of at most 63 bits"),
        ({}, {"options": {"threshold": 95}}, "did you mean 0.95"),
    ],
)
def test_a_refused_argument_leaves_no_folder(toy_config, toy_data, tmp_path, changes, arguments, message):
    with pytest.raises(ValueError, match=message):
        run(dataclasses.replace(toy_config, **changes), toy_data, tmp_path / "x", **arguments)
    assert not (tmp_path / "x").exists()
    run(toy_config, toy_data, tmp_path / "x")


def test_a_network_that_is_not_there_is_refused_with_the_configuration():
    with pytest.raises(ValueError, match="model must be one of mlp, resnet_small, wide_resnet, got 'resnet': "):
        Config(model="resnet")
