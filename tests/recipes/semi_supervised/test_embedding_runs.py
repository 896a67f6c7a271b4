"""Methods on embeddings instead of spectrograms: training, resuming, heads, predictions and what is refused."""

import csv
import dataclasses
from pathlib import Path

import pytest
from runs import Stop, assert_same_run, stop_at

from recipes import algorithms
from recipes.commands.export import export
from recipes.data.loader import prepare
from recipes.data.protocol import read_dataset
from recipes.semi_supervised.inference import load_model
from recipes.semi_supervised.run_spec import configure
from recipes.semi_supervised.train import train
from recipes.training.config import Config

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
