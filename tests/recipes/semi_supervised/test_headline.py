"""The network that predict and export take, and published networks."""

import dataclasses
import json

import pytest
import torch
from sounds import ROOT

from audiomix.datasets.demo import assets
from recipes import algorithms
from recipes.benchmark.record import RECORD
from recipes.cli import main
from recipes.commands._config_file import read_config_file
from recipes.commands.run import run as run_command
from recipes.semi_supervised import inference
from recipes.semi_supervised.inference import PUBLISHED, WEIGHTS, find_headline, load_model
from recipes.semi_supervised.published import _copy_run_file
from recipes.semi_supervised.train import train
from recipes.training.yaml_file import read_yaml, write_yaml

CHECKPOINTS = sorted(path for path in (ROOT / "assets" / "checkpoints").glob("*") if path.is_dir())


@pytest.fixture(scope="module")
def run(toy_config, toy_data, tmp_path_factory):
    """A run where a bench would put it."""
    out = tmp_path_factory.mktemp("bench") / "2" / "supervised" / "fold1-seed0"
    train(toy_config, toy_data, "supervised", out=out, quiet=True)
    return out


@pytest.fixture(scope="module")
def published(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("published") / "tones"
    assert main(["export", str(run), "-o", str(out), "--format", "checkpoint", "--licence", "CC0, by nobody"]) == 0
    return out


@pytest.mark.slow
@pytest.mark.parametrize(("headline", "expected"), [("ema", "ema"), ("raw", "raw"), (None, "raw")])
def test_the_network_of_the_headline_is_taken_and_named(headline, expected, run, tone_folder, tmp_path, capsys):
    assert inference._RECORD == RECORD
    record = run.parents[2] / RECORD
    record.write_text(json.dumps({"headline": headline}))
    try:
        assert find_headline(run) == expected
        model = load_model(run)
        assert model.which == expected
        assert not torch.equal(*(next(iter(load_model(run, w).network.parameters())) for w in ("raw", "ema")))
        clips = torch.randn(2, model.size) * 0.1
        assert torch.equal(model.probabilities(clips), load_model(run, expected).probabilities(clips))
        assert main(["predict", str(run), str(tone_folder / "low"), "-o", str(tmp_path / "x.csv")]) == 0
        assert f"network {expected} (the headline)" in " ".join(capsys.readouterr().err.split())
        assert main(["export", str(run), "-o", str(tmp_path / "x.ts"), "--network", "ema"]) == 0
        told = " ".join(capsys.readouterr().err.split())
        assert "network ema," in told
        assert "headline" not in told
    finally:
        record.unlink()


@pytest.mark.slow
def test_a_published_network_says_what_the_run_says(run, published, tone_folder, tmp_path):
    files = {"README.md", "model.json", "model.safetensors", "run.yaml"}
    assert {path.name for path in published.iterdir()} == files
    own, theirs = load_model(run), load_model(published)
    assert (own.classes, own.rate, own.size, own.which) == (theirs.classes, theirs.rate, theirs.size, theirs.which)
    clips = torch.randn(5, own.size, generator=torch.Generator().manual_seed(0)) * 0.1
    assert torch.allclose(own.probabilities(clips), theirs.probabilities(clips), atol=0.02)
    assert not torch.equal(own.probabilities(clips), theirs.probabilities(clips))  # 16 bits
    assert main(["predict", str(published), str(tone_folder), "-o", str(tmp_path / "x.csv")]) == 0
    card = (published / "README.md").read_text()
    assert "CC0, by nobody" in card
    assert str(tone_folder) not in "".join(path.read_text(errors="ignore") for path in published.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--network", "ema"], "network must be raw, the one that"),
        (["--head", "refit"], "network must be raw, the one that"),
    ],
)
def test_a_published_network_is_no_other(words, message, published, tone_folder, tmp_path, capsys):
    assert main(["predict", str(published), str(tone_folder), "-o", str(tmp_path / "x.csv"), *words]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_what_cannot_be_published_is_refused(run, published, toy_config, toy_data, tmp_path, capsys):
    several = tmp_path / "several"
    train(toy_config, toy_data, "supervised", out=several, options={"networks": 2}, quiet=True)
    for words, message in [
        ([str(several), "-o", str(tmp_path / "x")], "several that predict together"),
        ([str(run), "-o", str(published)], "holds something already"),
        ([str(run), "-o", str(tmp_path / "x.onnx")], "a folder, as --format checkpoint writes one"),
    ]:
        assert main(["export", *words, "--format", "checkpoint"]) == 2
        assert message in " ".join(capsys.readouterr().err.split())
    assert main(["export", str(run), "-o", str(tmp_path / "x.ts"), "--format", "pt2"]) == 2
    assert "as --format says" in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == [several]


@pytest.mark.slow
def test_weights_that_16_bits_do_not_hold_keep_32(run, published):
    from recipes.semi_supervised.published import _half

    assert _half(torch.tensor([1.0, 1e6])).dtype == torch.float32
    assert _half(torch.tensor([1.0, 2.0])).dtype == torch.float16
    assert _half(torch.tensor([7])).dtype == torch.int64


@pytest.mark.slow
def test_a_published_network_runs_no_code_of_others(published, tmp_path):
    facts = json.loads((published / PUBLISHED).read_text())
    facts["config"]["model"] = "mine.py:Net"
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / PUBLISHED).write_text(json.dumps(facts))
    (folder / WEIGHTS).write_bytes((published / WEIGHTS).read_bytes())
    with pytest.raises(ValueError, match="if you trust its code"):
        load_model(folder)


@pytest.mark.parametrize("folder", CHECKPOINTS, ids=lambda path: path.name)
def test_the_checkpoints_that_come_with_the_package_are_small_and_predict(folder):
    assert (folder / WEIGHTS).stat().st_size < 2e6
    model = load_model(folder)
    shares = model.probabilities(torch.zeros(1, model.size, dtype=torch.int16))
    assert shares.sum().item() == pytest.approx(1)
    card = (folder / "README.md").read_text()
    assert "licence of the data" in card
    assert "not known" not in card
    assert "--format checkpoint" in card


@pytest.mark.slow
def test_the_card_of_a_network_with_a_head_has_the_error_of_that_head(toy_config, toy_data, tmp_path):
    config = dataclasses.replace(toy_config, head=("refit",))
    result = train(config, toy_data, "supervised", out=tmp_path / "run", quiet=True)
    words = ["--format", "checkpoint", "--head", "refit"]
    assert main(["export", str(tmp_path / "run"), "-o", str(tmp_path / "out"), *words]) == 0
    error = result.measures["raw+refit"]["error"]
    assert f"clips | {error:.1f} % |" in (tmp_path / "out" / "README.md").read_text()
    assert " --head refit\n" in (tmp_path / "out" / "README.md").read_text()
    clips = torch.randn(5, load_model(tmp_path / "out").size, generator=torch.Generator().manual_seed(0)) * 0.1
    of_head, of_run = load_model(tmp_path / "out", head="refit"), load_model(tmp_path / "run", head="refit")
    assert torch.allclose(of_head.probabilities(clips), of_run.probabilities(clips), atol=0.02)
    with pytest.raises(ValueError, match="leave it out"):
        load_model(tmp_path / "out", head="graph")


def test_paths_of_this_machine_are_not_published(tmp_path):
    """Nor what a long one with spaces goes on with; the command says what takes their place."""
    place = "/home/me/" + "my own sounds " * 12
    config = {"labelled": "3", "weights": place, "freeze": False}
    for name in ("run", "out"):
        (tmp_path / name).mkdir()
    arguments = {"command": "run", "root": place, "unlabelled": place, "fold": ["1"], "config": config}
    write_yaml(tmp_path / "run" / "run.yaml", arguments, place)
    options = _copy_run_file(tmp_path / "run", tmp_path / "out")
    assert options == " --root DATA --unlabelled MORE_SOUNDS --weights FIRST_WEIGHTS"
    assert read_yaml(tmp_path / "out" / "run.yaml") == {
        "command": "run", "fold": ["1"], "config": {"labelled": "3", "freeze": "false"},
    }  # fmt: skip
    text = (tmp_path / "out" / "run.yaml").read_text()
    assert "own" not in text
    assert options in text


@pytest.mark.parametrize("folder", CHECKPOINTS, ids=lambda path: path.name)
def test_the_command_that_made_a_checkpoint_is_one_today(folder):
    file = read_config_file(["run", "--config", str(folder / "run.yaml")], "run", run_command)
    method = file.arguments["method"]
    options = file.read_options(algorithms.options(algorithms.get(method)), method)
    assert options
    assert file.config["steps"] == 400


def test_the_bundled_checkpoint_knows_the_bundled_words():
    """Of voices that it was not trained on."""
    model = load_model(ROOT / "assets" / "checkpoints" / "words")
    rows = [json.loads(line) for line in (assets() / "words" / "metadata.jsonl").read_text().splitlines()]
    held = [row for row in rows if row.get("split") == "test"]
    clips = torch.stack([model.read(assets() / "words" / row["file_name"]) for row in held])
    predicted = [model.classes[i] for i in model.probabilities(clips).argmax(-1).tolist()]
    error = 100 * sum(p != row["label"] for p, row in zip(predicted, held)) / len(held)
    card = (ROOT / "assets" / "checkpoints" / "words" / "README.md").read_text()
    assert f"| error on the held-out clips | {error:.1f} % |" in card
