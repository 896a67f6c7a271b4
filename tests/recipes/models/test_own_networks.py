"""Networks of one's own: what they must be, weights from files, frozen trunks, precision, compilation."""

import dataclasses

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from recipes import algorithms, models
from recipes.algorithms.supervised import Supervised
from recipes.cli import main
from recipes.data.front_end import make_views
from recipes.models._weights import freeze, load_weights
from recipes.semi_supervised.evaluate import predict_logits
from recipes.semi_supervised.run_spec import RunSpec
from recipes.semi_supervised.train import train
from recipes.training import checkpoint, engine
from recipes.training.config import Config

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

class Renamed(Mine):  # its last layer has two names
    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.fc = self.head

class Constant(Mine):
    def __init__(self, num_classes):
        super().__init__(num_classes)
        for p in self.parameters():
            nn.init.constant_(p, 0.5)

class Small(Mine):
    def forward(self, spec):
        return self.head(spec.mean((2, 3)))

def failing(num_classes, *, width=3):
    return Mine(num_classes, width=width // 0)

def nested(num_classes):
    return failing(num_classes)

def needy(num_classes, *, width):
    return Mine(num_classes, width=width)

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
def test_a_network_that_is_none_is_refused_before_there_is_a_folder(
    name, message, mine, toy_config, toy_data, tmp_path
):
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "import torch\nimport no_such_thing\n",
            r"ModuleNotFoundError: No module named 'no_such_thing' \({}, line 2\)",
        ),
        ("def net(n):\n    return (\n", r"SyntaxError: '\(' was never closed \({}, line 2\)"),
        ("x = 1\n\nraise RuntimeError('two\\nlines')\n", r"RuntimeError: two lines \({}, line 3\)"),
        ("assert 0\n", r"AssertionError \({}, line 1\)"),
    ],
)
@pytest.mark.parametrize("form", ["file", "module"])
def test_code_that_cannot_be_imported_is_reported_with_its_line(text, message, form, tmp_path, monkeypatch):
    (path := tmp_path / "broken_one.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    name = {"file": path, "module": path.stem}[form]
    kind = {"file": "path/to/file.py", "module": "package.module"}[form]
    told = f"^model must be {kind}:callable of a .* got '{name}:net': {message.format(path)}$"
    with pytest.raises(ValueError, match=told) as caught:
        Config(model=f"{name}:net")
    assert type(caught.value.__cause__).__name__ in message


@pytest.mark.parametrize("command", [["run", "supervised", "demo"], ["bench", "demo", "--methods", "supervised"]])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "{}:net"], "SyntaxError: '(' was never closed"),
        (["--model-options", "width=0"], "got width=0: width must be an integer of at least 1, got 0"),
        (["--model-options", "width=abc"], "option width of model resnet_small must be a whole number, got 'abc'"),
    ],
)
def test_a_command_with_a_broken_network_decodes_nothing(command, options, message, tmp_path, capsys):
    (path := tmp_path / "broken.py").write_text("def net(n):\n    return (\n")
    given = [option.format(path) for option in options]
    assert main([*command, *given, "--out", str(tmp_path / "x" / "y")]) == 2
    told = " ".join("".join(capsys.readouterr()).split())
    assert message in told
    assert "Traceback" not in told
    assert [p.name for p in tmp_path.iterdir() if p.name != "__pycache__"] == ["broken.py"]


def test_a_request_to_stop_is_no_broken_network(tmp_path):
    for error in (KeyboardInterrupt, SystemExit):
        (tmp_path / "stops.py").write_text(f"raise {error.__name__}")
        with pytest.raises(error):
            models.get(f"{tmp_path / 'stops.py'}:net")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("Small", (), r"takes spectrograms \(2, 1, 32, 41\).*RuntimeError: mat1 and mat2 .* {head(spec.mean}"),
        ("failing", (), "^model must be a network .*:failing': ZeroDivisionError: .* {// 0}"),
        ("nested", (), "^model must be a network .*:nested': ZeroDivisionError: .* {// 0}"),
        ("failing", ("width=3",), "^model_options must be .*:failing .* got width=3: ZeroDivisionError: .* {// 0}"),
        ("Mine", ("width=wide",), "^model_options must be .*:Mine .* got width=wide: TypeError: .* {self.trunk =}"),
        ("needy", (), "^model must be a network .*:needy': TypeError: missing a required argument: 'width'$"),
    ],
)
def test_a_network_that_fails_is_reported_with_its_line(name, options, message, mine, toy_config, toy_data, tmp_path):
    path = mine.rpartition(":")[0]
    message, _, code = message.partition(" {")
    if code:
        line = next(i for i, text in enumerate(MINE.splitlines(), 1) if code[:-1] in text)
        message += rf" \({path}, line {line}\)$"

    def tried():
        config = dataclasses.replace(toy_config, model=f"{path}:{name}", model_options=options)
        train(config, toy_data, "supervised", out=tmp_path / "x", quiet=True)

    with pytest.raises(ValueError, match=message) as caught:
        tried()
    assert caught.value.__cause__ is not None
    assert not (tmp_path / "x").exists()


def test_a_bundled_network_that_fails_is_reported_too(toy_config, toy_data, tmp_path, monkeypatch):
    def wrong(self, spec):
        return torch.ones(2, 3) @ torch.ones(4, 5)

    monkeypatch.setattr(models.get("resnet_small"), "forward", wrong)
    with pytest.raises(ValueError, match="model must be .* got 'resnet_small': RuntimeError: mat1 and mat2"):
        train(toy_config, toy_data, "supervised", out=tmp_path / "x", quiet=True)
    assert not (tmp_path / "x").exists()


def spec_of(config, out, method="supervised", **options):
    return RunSpec(config, method, options, None, "1", 0, out, True, False, 3)


@pytest.mark.parametrize(
    ("method", "options", "keys"),
    [
        ("deep_co_training", {}, ["second"]),
        ("supervised", {"networks": 3}, ["network2", "network3"]),
        ("remixmatch", {"networks": 2}, ["network2"]),
    ],
)
@pytest.mark.parametrize("name", ["resnet_small", "Mine", "Renamed"])
def test_networks_with_the_weights_of_one_file_differ_by_their_heads(
    name, method, options, keys, mine, toy_config, toy_data, tmp_path
):
    model = name if name == "resnet_small" else mine.replace("Mine", name)
    if name != "resnet_small" and method == "remixmatch":
        options = options | {"weight_turn": 0.0}  # it has no features
    torch.save(given := models.build(model, 3, seed=7).state_dict(), tmp_path / "w.pt")
    spec = spec_of(
        dataclasses.replace(toy_config, model=model, weights=str(tmp_path / "w.pt")), tmp_path, method, **options
    )
    spec.check(toy_data)
    network, _, networks = spec.make(torch.device("cpu"), toy_data.views, 4, 2)
    assert networks[0] is network
    assert len(networks) == 1 + len(keys)
    for key, value in network.state_dict().items():
        assert torch.equal(value, given[key]), key
    for name, other in zip(keys, networks[1:]):
        first = models.build(model, 3, seed=0, key=name).state_dict()
        for key, value in other.state_dict().items():
            own = key.startswith(("head.", "fc."))
            assert torch.equal(value, (first if own else given)[key]), key
        assert not torch.equal(other.head.weight, network.head.weight)


def test_networks_that_would_be_one_network_twice_are_refused(mine, toy_config, toy_data, tmp_path):
    def tried(name, method, weights=True, **options):
        model = mine.replace("Mine", name)
        torch.save(models.build(model, 3, seed=7).state_dict(), tmp_path / "w.pt")
        config = dataclasses.replace(toy_config, model=model, weights=str(tmp_path / "w.pt") if weights else None)
        train(config, toy_data, method, out=tmp_path / "x", options=options, quiet=True)

    for method, options in {"deep_co_training": {}, "supervised": {"networks": 2}}.items():
        with pytest.raises(ValueError, match="weights must be left out where .* networks that differ .*w.pt: call the"):
            tried("flat", method, **options)
        for weights in (True, False):
            name = "weights" if weights else "model"
            with pytest.raises(ValueError, match=f"{name} must be such that the networks of {method} differ"):
                tried("Constant", method, weights, **options)
    assert not (tmp_path / "x").exists()
    tried("flat", "supervised")
    assert (tmp_path / "x").exists()


def test_what_a_method_refuses_of_a_configuration_leaves_no_folder(toy_config, toy_data, tmp_path, monkeypatch):
    seen = []

    def refuses(self, config):
        seen.append((type(self), config))
        raise ValueError("not so")

    monkeypatch.setattr(Supervised, "check_config", refuses)
    with pytest.raises(ValueError, match="not so"):
        train(toy_config, toy_data, "supervised", out=tmp_path / "x", quiet=True)
    assert seen == [(Supervised, toy_config)]
    config = dataclasses.replace(toy_config, batch_labelled=1)
    with pytest.raises(ValueError, match="batch_labelled must be at least 2, a labelled clip for each network"):
        train(config, toy_data, "deep_co_training", out=tmp_path / "x", quiet=True)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("method", algorithms.available())
def test_a_check_draws_and_keeps_nothing(method, toy_config, toy_data, tmp_path):
    before = (torch.get_rng_state(), toy_data.views.mean, toy_data.views.std)
    spec_of(toy_config, tmp_path / "x", method).check(toy_data)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (toy_data.views.mean, toy_data.views.std)
    assert not (tmp_path / "x").exists()


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
    predict_logits(network, toy_data.views, toy_data.kept[:3])
    assert (network.training, network.stem.training, network.blocks.training) == (True, False, True)


def test_logits_are_full_precision_inside_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        assert models.build("resnet_small", 3, seed=0, width=2)(torch.randn(2, 1, 16, 17)).dtype == torch.float32


def test_clips_are_evaluated_on_the_spectrograms_that_were_trained_on(toy_config):
    config = dataclasses.replace(toy_config, front="waveform", labelled_view="weak", strong_view="strong")
    views, clips = make_views(config, 8000), (torch.randn(3, 4000) * 3000).to(torch.int16)
    seen = []
    network = nn.Flatten()
    network.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.autocast("cpu", torch.bfloat16):
        predict_logits(network, views, clips)
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


@pytest.mark.slow
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
