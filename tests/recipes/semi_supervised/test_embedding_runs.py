"""Methods on embeddings instead of spectrograms: training, resuming, heads, predictions and what is refused."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import Stop, assert_same_run, stop_at

from recipes import algorithms
from recipes.commands.export import export
from recipes.data.front_end import make_views
from recipes.data.loader import prepare
from recipes.data.protocol import read_dataset
from recipes.semi_supervised.inference import load_model
from recipes.semi_supervised.run_spec import configure
from recipes.semi_supervised.train import train
from recipes.training import checkpoint
from recipes.training.config import Config
from recipes.training.engine import CHECKPOINT

# levels of eight bands, in dB: tones of three classes are told apart
SOURCE = """
import torch

def encode(waves, rate):
    power = torch.fft.rfft(waves).abs().square()[:, :2000]
    return power.unflatten(1, (8, -1)).sum(-1).add(1e-3).log()
"""


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    path = tmp_path_factory.mktemp("encoder") / "enc.py"
    path.write_text(SOURCE)
    return f"{path}:encode"


@pytest.fixture(scope="module")
def config(toy_config, encoder):
    return dataclasses.replace(toy_config, embedding=encoder, model="mlp", head=("graph",), steps=20, every=10, lr=0.1)


@pytest.fixture(scope="module")
def data(config, tone_folder, tmp_path_factory):
    return prepare(config, read_dataset("folder", tone_folder), tmp_path_factory.mktemp("stores"), quiet=True)


def options(method):
    return configure("small", algorithms.get(method), {}, embedding="x.npz")[1]


def run(config, data, out, method="fixmatch", **arguments):
    mixer = "mixup" if algorithms.get(method).uses_mixer else None
    return train(config, data, method, out=out, options=options(method), mixer=mixer, quiet=True, **arguments)


@pytest.mark.slow
@pytest.mark.parametrize("method", algorithms.available())
def test_every_method_learns_from_embeddings(method, config, data, tmp_path):
    result = run(dataclasses.replace(config, head=()), data, tmp_path / "x", method)
    assert result.error_last < 50


def test_a_run_on_embeddings_goes_on_to_the_same_bits_heads_included(config, data, tmp_path):
    result = run(config, data, tmp_path / "whole", "remixmatch")
    with pytest.raises(Stop):
        run(config, data, tmp_path / "parts", "remixmatch", on_row=stop_at(10))
    run(config, data, tmp_path / "parts", "remixmatch", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    assert result.with_head("graph").error_last < 10


def test_predictions_of_new_sounds_are_those_of_the_run(config, data, encoder, tmp_path):
    run(config, data, tmp_path / "x")
    with pytest.raises(ValueError, match="embedding must be one of this package.*--trust"):
        load_model(tmp_path / "x")
    model = load_model(tmp_path / "x", head="graph", trust=True)
    with open(tmp_path / "x" / "predictions.csv", newline="") as file:
        lines = {line["id"]: line for line in csv.DictReader(file)}
    for item in [x for x in data.dataset.items if x.id in lines][:3]:
        found = model.probabilities(model.read(item.path)[None])[0]
        shares = [float(lines[item.id][f"raw+graph_{c}"]) for c in data.dataset.class_names]
        assert found.tolist() == pytest.approx(shares, abs=1e-4)
    with pytest.raises(ValueError, match="run must be one on spectrograms, got .* on embeddings"):
        export(tmp_path / "x", out=tmp_path / "m.ts", trust=True)
    path = Path(encoder.rpartition(":")[0])
    try:
        path.write_text(SOURCE + "\n# changed\n")
        with pytest.raises(ValueError, match="embedding must be the encoder of the run .*the file was changed"):
            load_model(tmp_path / "x", trust=True)
        with pytest.raises(ValueError, match="embedding_file"):
            run(config, data, tmp_path / "x", resume=True)
    finally:
        path.write_text(SOURCE)


def test_a_setting_of_embeddings_has_their_network_and_no_turns():
    config, chosen = configure("small", algorithms.get("remixmatch"), {}, embedding="x.npz")
    assert (config.model, chosen["weight_turn"]) == ("mlp", 0.0)
    assert configure("small", algorithms.get("remixmatch"), {})[1]["weight_turn"] > 0
    given = configure("small", algorithms.get("supervised"), {}, embedding="x.npz", model="wide_resnet")
    assert given[0].model == "wide_resnet"
    with pytest.raises(ValueError, match="embedding must be used without another front end"):
        configure("study", algorithms.get("supervised"), {}, embedding="x.npz")


def test_a_network_for_spectrograms_is_refused(config, data, tmp_path):
    other = dataclasses.replace(config, model="resnet_small")
    with pytest.raises(ValueError, match="resnet_small can be made with, got inputs=8"):
        run(other, data, tmp_path / "x")


def test_the_default_has_no_embedding():
    assert Config().embedding is None


@pytest.mark.slow
def test_a_bench_on_embeddings_has_lines_for_heads_and_says_what_it_is_not_comparable_with(
    encoder, tone_folder, tmp_path
):
    from recipes.cli import main

    line = ["bench", "folder", str(tone_folder), "--methods", "supervised", "remixmatch", "--embedding", encoder,
            "--rate", "8000", "--fold", "1", "--labelled", "2", "--steps", "4", "--every", "4", "--threads", "1",
            "--device", "cpu", "--head", "refit", "graph", "--out", str(tmp_path / "out")]  # fmt: skip
    assert main(line) == 0
    text = next((tmp_path / "out").glob("*.md")).read_text()
    assert "embedding enc.py:encode, pretrained: not comparable with the founding study" in text
    for name in ("supervised", "supervised (head=refit)", "remixmatch (head=graph)"):
        assert name in text.replace(" + mixup", "")


def test_a_run_on_a_file_of_embeddings_has_rounds(config, data, tmp_path):
    ids = [item.id for item in data.dataset.items]
    np.savez(tmp_path / "x.npz", ids=np.array(ids), x=data.kept.numpy())
    table = dataclasses.replace(config, embedding=str(tmp_path / "x.npz"), rounds=2, steps=4, every=4)
    of_table = prepare(table, data.source, tmp_path / "stores", quiet=True)
    found = run(table, of_table, tmp_path / "table")
    of_encoder = run(dataclasses.replace(table, embedding=config.embedding), data, tmp_path / "encoder")
    assert found.error_last == of_encoder.error_last
    assert found.with_head("graph").error_last == of_encoder.with_head("graph").error_last


def test_the_guesses_of_a_round_do_not_depend_on_a_benchmark_in_a_folder_above(config, data, tmp_path):
    rounds = dataclasses.replace(config, rounds=2, steps=4, every=4)
    targets = []
    for headline in ("raw", "ema"):
        (above := tmp_path / headline).mkdir()
        (above / "bench.json").write_text(f'{{"headline": "{headline}"}}')
        run(rounds, data, above / "x" / "fold")
        targets.append(checkpoint.load(above / "x" / "fold" / CHECKPOINT)[0]["algorithm.targets"])
    assert torch.equal(*targets)


@pytest.mark.parametrize("mixer", ["cutmix", "mixup:domain=power"])
def test_a_mixer_of_spectrograms_is_refused(mixer, config, data, tmp_path):
    with pytest.raises(ValueError, match="mixer must be one for embeddings, which have no time and no bands, got"):
        train(config, data, "fixmatch", out=tmp_path / "x", mixer=mixer, quiet=True)
    assert not (tmp_path / "x").exists()


def test_turns_of_embeddings_are_refused(config, data, tmp_path):
    with pytest.raises(ValueError, match="weight_turn must be 0 with embeddings, got 0.5"):
        train(config, data, "remixmatch", out=tmp_path / "x", options={"turns": "on"}, quiet=True)


@pytest.mark.parametrize("method", ["vat", "deep_co_training"])
def test_a_change_in_db_has_the_same_share_of_a_deviation_whatever_the_embeddings_unit(method, config):
    changes = []
    for unit in (1.0, 1e-3):
        views = make_views(config, 8000)
        views.fit(unit * torch.arange(32.0).view(8, 4), torch.arange(8))
        made = algorithms.get(method)(3, epsilon_db=1.4)
        made.fit(views)
        changes.append(made.epsilon_db / made.unit_db)
    assert changes == pytest.approx([0.1, 0.1])
