"""Networks of one's own: what they must be, weights from files, frozen trunks, precision, compilation."""

import dataclasses

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from recipes import checkpoint, engine, models
from recipes.algorithms.supervised import Supervised
from recipes.engine import train
from recipes.evaluate import logits
from recipes.models._weights import freeze, load_weights
from recipes.views import make_views

MINE = """
import torch
from torch import nn

class Mine(nn.Module):
    def __init__(self, num_classes, *, width=4, bias=True):
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(1, width, 3, 2), nn.BatchNorm2d(width), nn.ReLU())
        self.head = nn.Linear(width, num_classes, bias=bias)

    def forward(self, spec):
        return self.head(self.trunk(spec).mean((2, 3)))

def flat(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(32 * 41, num_classes))

def wrong(num_classes):
    return nn.Flatten()

def nothing(num_classes):
    return None
"""


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return f"{path}:Mine"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine.py:Mine", "there is no file mine.py"),
        ("{}:Mina", "did you mean 'Mine'"),
        ("no.such.package:net", "No module named 'no'"),
        ("{}:wrong", r"what the model returns must be logits of shape \(2, 3\), got \(2, 1312\)"),
    ],
)
def test_a_network_that_is_none_is_told_before_the_folder_is_made(name, message, mine, toy_config, toy_data, tmp_path):
    name = name.format(mine.rpartition(":")[0])
    with pytest.raises(ValueError, match=message):
        train(dataclasses.replace(toy_config, model=name), toy_data, "supervised", out=tmp_path / "x", quiet=True)
    assert not (tmp_path / "x").exists()
    with pytest.raises(TypeError, match="nothing returns must be a torch.nn.Module, got NoneType"):
        models.build(mine.replace("Mine", "nothing"), 3, seed=0)
    with pytest.raises(
        ValueError, match="the option of model resnet_small must be one of width.* did you mean 'width'"
    ):
        dataclasses.replace(toy_config, model_options=("widht=3",))


def test_a_network_of_ones_own_trains(mine, toy_config, toy_data, tmp_path):
    config = dataclasses.replace(toy_config, model=mine, model_options=("width=6", "bias=false"))
    train(config, toy_data, "fixmatch", out=tmp_path / "x", quiet=True)
    tensors, _ = checkpoint.load(tmp_path / "x" / engine.CHECKPOINT)
    assert tensors["model.trunk.0.weight"].shape == (6, 1, 3, 3)
    assert "model.head.bias" not in tensors


def test_a_method_that_needs_features_says_so(mine, toy_config, toy_data, tmp_path, monkeypatch):
    monkeypatch.setattr(Supervised, "needs_features", True)
    config = dataclasses.replace(toy_config, model=mine)
    with pytest.raises(ValueError, match="model must be one with features, which supervised needs, got .*mine.py:Mine"):
        train(config, toy_data, "supervised", out=tmp_path / "x", quiet=True)


@pytest.mark.parametrize("suffix", ["safetensors", "pt", "run"])
def test_weights_come_from_a_file_and_a_head_for_other_classes_stays(suffix, tmp_path, toy_config, toy_data):
    source = models.build("resnet_small", 5, seed=7, width=4)
    path = tmp_path / f"weights.{suffix}"
    if suffix == "safetensors":
        save_file(source.state_dict(), path)
    elif suffix == "pt":
        torch.save({"state_dict": source.state_dict(), "epoch": 3}, path)
    else:
        config = dataclasses.replace(toy_config, model_options=("width=4",))
        train(config, toy_data, "supervised", out=tmp_path / "run", quiet=True)
        path = tmp_path / "run" / engine.CHECKPOINT
        source.load_state_dict(
            {k.removeprefix("model."): v for k, v in checkpoint.load(path)[0].items()
             if k.startswith("model.") and "head" not in k}, strict=False)  # fmt: skip
    network = models.build("resnet_small", 4, seed=0, width=4)
    head = network.head.weight.detach().clone()
    load_weights(network, path)
    assert torch.equal(network.stem[0].weight, source.stem[0].weight)
    assert torch.equal(network.blocks[2].norm1.running_var, source.blocks[2].norm1.running_var)
    assert torch.equal(network.head.weight, head)


def test_weights_of_another_network_are_refused(tmp_path, toy_config, toy_data):
    save_file(models.build("resnet_small", 3, seed=0, width=4).state_dict(), tmp_path / "w.safetensors")
    config = dataclasses.replace(toy_config, weights=str(tmp_path / "w.safetensors"))
    for change, message in (
        ({}, "it has in another shape blocks.0.conv1.weight and"),
        ({"model": "wide_resnet"}, "it lacks stages.0.0.conv1.weight and"),
        ({"weights": str(tmp_path / "none")}, "there is no such file"),
    ):
        with pytest.raises(ValueError, match=message):
            train(dataclasses.replace(config, **change), toy_data, "supervised", out=tmp_path / "x", quiet=True)
    assert not (tmp_path / "x").exists()


def test_code_in_a_file_of_weights_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "written"), "w"))

    torch.save({"head.weight": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(ValueError, match="weights must be a safetensors file or a torch state dict of tensors alone"):
        load_weights(nn.Linear(2, 2), tmp_path / "evil.pt")
    assert not (tmp_path / "written").exists()


def test_a_frozen_trunk_stays_as_it_is_whatever_the_method_calls(mine, toy_config, toy_data, tmp_path):
    config = dataclasses.replace(toy_config, model=mine, freeze=True)
    train(config, toy_data, "fixmatch", out=tmp_path / "x", quiet=True)
    tensors, _ = checkpoint.load(tmp_path / "x" / engine.CHECKPOINT)
    start = models.build(mine, 3, seed=0).state_dict()
    for name, value in start.items():
        assert torch.equal(value, tensors[f"model.{name}"]) == (not name.startswith("head")), name
    network = models.build(mine, 3, seed=0)
    freeze(network)
    network.train()(torch.randn(4, 1, 8, 9))
    assert torch.equal(network.trunk[1].running_mean, start["trunk.1.running_mean"])
    assert network.head.training
    with pytest.raises(ValueError, match="freeze must be off for a network without a head"):
        freeze(models.build(mine.replace("Mine", "flat"), 3, seed=0))


def test_evaluation_leaves_every_module_in_its_mode(toy_data):
    network = models.build("resnet_small", 3, seed=0, width=2).train()
    network.stem.eval()
    logits(network, toy_data.views, toy_data.kept[:3])
    assert (network.training, network.stem.training, network.blocks.training) == (True, False, True)


def test_logits_are_full_precision_inside_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        assert models.build("resnet_small", 3, seed=0, width=2)(torch.randn(2, 1, 16, 17)).dtype == torch.float32


def test_clips_are_judged_by_the_spectrograms_that_were_trained_on(toy_config):
    config = dataclasses.replace(toy_config, front="waveform", labelled_view="weak", strong_view="strong")
    views, clips = make_views(config, 8000), (torch.randn(3, 4000) * 3000).to(torch.int16)
    seen = []
    network = nn.Flatten()
    network.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.autocast("cpu", torch.bfloat16):
        logits(network, views, clips)
    assert torch.equal(seen[0], views.plain(clips))


def test_a_weight_is_cast_for_each_use_of_it(toy_config, toy_data, tmp_path, monkeypatch):
    # older torch keeps what was cast without gradient, where labels are guessed, for the uses that train
    whole, kept = Supervised.losses, []

    def spy(self, *arguments, **options):
        kept.append(torch.is_autocast_cache_enabled())
        return whole(self, *arguments, **options)

    monkeypatch.setattr(Supervised, "losses", spy)
    for precision in ("bf16-mixed", "32-true"):
        config = dataclasses.replace(toy_config, precision=precision)
        train(config, toy_data, "supervised", out=tmp_path / precision, quiet=True)
    assert kept == [False] * 12
    assert torch.is_autocast_cache_enabled()


def test_networks_can_be_compiled(toy_config, toy_data, tmp_path, monkeypatch):
    calls, compile_ = [], torch.compile  # traced, but left to run as it is: generating code takes a minute
    monkeypatch.setattr(torch, "compile", lambda f: calls.append(f) or compile_(f, backend="eager"))
    config = dataclasses.replace(toy_config, model_options=("width=2",), compile=True, steps=2, every=1)
    plain = dataclasses.replace(config, compile=False)
    fast, slow = (train(c, toy_data, "fixmatch", out=tmp_path / str(c.compile), quiet=True) for c in (config, plain))
    for a, b in zip(fast.history, slow.history):
        assert a["loss_labelled"] == pytest.approx(b["loss_labelled"], rel=1e-3)
    assert len(calls) == 1
    saved = checkpoint.load(tmp_path / "True" / engine.CHECKPOINT)[0]
    assert saved.keys() == checkpoint.load(tmp_path / "False" / engine.CHECKPOINT)[0].keys()
