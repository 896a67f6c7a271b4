"""The command ``export``: the file says of sounds what the run says, and tells what it is."""

import dataclasses
import json

import pytest
import torch

from audiomix.draw import generator_for
from recipes.cli import main
from recipes.commands.export import METADATA, WaveClassifier, run_export
from recipes.data.loader import prepare
from recipes.data.protocol import read_dataset
from recipes.semi_supervised.inference import load_model
from recipes.semi_supervised.train import train

CASES = {"supervised": {}, "deep_co_training": {"report": "mean"}}


@pytest.fixture(scope="module")
def runs(toy_config, toy_data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    for method, options in CASES.items():
        train(toy_config, toy_data, method, out=out / method, options=options, quiet=True)
    return out


@pytest.fixture(scope="module")
def clips(runs, tone_folder):
    """Return 12 real clips, int16, of all classes."""
    trained = load_model(runs / "supervised")
    return torch.stack([trained.read(path) for path in sorted(tone_folder.glob("*/1*.wav"))[::3]])


def told(path):
    if path.suffix == ".onnx":
        import onnx

        return json.loads({p.key: p.value for p in onnx.load(str(path)).metadata_props}["audiomix"])
    extra = {METADATA: ""}
    load = torch.jit.load if path.suffix == ".ts" else torch.export.load
    load(str(path), **{"_extra_files" if path.suffix == ".ts" else "extra_files": extra})
    return json.loads(extra[METADATA])


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".ts", ".pt2", ".onnx"])
@pytest.mark.parametrize("method", CASES)
def test_the_file_says_what_the_run_says_and_what_it_is(suffix, method, runs, clips, tmp_path, capsys):
    if suffix == ".onnx":
        for name in ("onnx", "onnxscript", "onnxruntime"):
            pytest.importorskip(name)
    path, trained = tmp_path / f"m{suffix}", load_model(runs / method)
    assert main(["export", str(runs / method), "-o", str(path)]) == 0
    assert "largest difference of probabilities on noise and silence: " in " ".join(capsys.readouterr().err.split())
    own = trained.probabilities(clips)
    for some in (clips, clips[:1]):  # any batch
        said = run_export(path, some.float() / 32768)
        assert said.dtype == torch.float32
        assert float((said.double() - own[: len(some)]).abs().max()) < 1e-5
    assert told(path) == {"classes": ["high", "low", "middle"], "rate": 8000, "samples": trained.size,
                          "method": trained.title, "network": "raw"}  # fmt: skip


def test_the_average_is_exported_when_it_is_asked_for(runs, clips, tmp_path):
    path = tmp_path / "m.ts"
    assert main(["export", str(runs / "supervised"), "-o", str(path), "--network", "ema"]) == 0
    raw, ema = (load_model(runs / "supervised", which).probabilities(clips) for which in ("raw", "ema"))
    said = run_export(path, clips.float() / 32768).double()
    assert float((said - ema).abs().max()) < 1e-5
    assert float((said - raw).abs().max()) > 1e-3
    assert told(path)["network"] == "ema"


@pytest.mark.parametrize(
    "sizes", [{"window": 256, "hop": 100}, {"window": 257, "hop": 96}, {"window": "32.1ms", "hop": "12ms"}]
)
def test_the_front_end_by_matrices_is_the_one_by_fast_transform(sizes, toy_config, tone_folder, tmp_path):
    config = dataclasses.replace(toy_config, front="waveform", labelled_view="weak", weak_view="weak",
                                 strong_view="strong", floor_db=-100.0, steps=2, every=2, **sizes)  # fmt: skip
    data = prepare(config, read_dataset("folder", tone_folder), tmp_path / "stores", quiet=True)
    train(config, data, "supervised", out=tmp_path / "r", quiet=True)
    trained = load_model(tmp_path / "r")
    heard = []
    listener = WaveClassifier(trained).eval()
    listener.network = torch.nn.Module()
    listener.network.forward = lambda spec: heard.append(spec) or torch.zeros(len(spec), 3)
    wave = torch.randn(2, trained.size, generator=generator_for(0, "test")) * torch.tensor([[0.3], [1e-4]])
    listener(wave)
    expected = trained.views.mel(wave.unsqueeze(1))
    assert heard[0].shape == expected.shape
    assert float((heard[0] - expected).abs().max()) < 0.01  # dB


def test_a_format_or_a_run_that_is_not_there_is_told(runs, tmp_path, capsys, monkeypatch):
    assert main(["export", str(runs / "supervised"), "-o", str(tmp_path / "m.onx")]) == 2
    assert "did you mean '.onnx'" in " ".join(capsys.readouterr().err.split())
    assert main(["export", str(tmp_path), "-o", str(tmp_path / "m.ts")]) == 2
    assert "must be a run's folder" in " ".join(capsys.readouterr().err.split())
    monkeypatch.setattr("recipes.commands.export.find_spec", lambda name: None)
    assert main(["export", str(runs / "supervised"), "-o", str(tmp_path / "m.onnx")]) == 2
    assert "pip install onnx onnxscript for ONNX" in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())


def test_a_file_that_says_something_else_is_not_left_behind(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("recipes.commands.export.run_export", lambda path, wave: torch.full((len(wave), 3), 1 / 3))
    assert main(["export", str(runs / "supervised"), "-o", str(tmp_path / "m.ts")]) == 2
    assert "probabilities within 0.001 of the run's" in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())
