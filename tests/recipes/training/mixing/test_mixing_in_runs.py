"""Runs of supervised training with every learned mixing, transforms and losses: chosen by name, stopped, gone on."""

import dataclasses
import itertools
import re

import pytest
import torch
from readme import PAGES
from runs import Stop, assert_same_run, rows, stop_at
from sounds import seeded
from ssl_tables import CLASSES, A, B, C, Fixed, Table, labelled, losses, next_in, ready

from audiomix import SpecAugment, losses as package_losses
from audiomix.plan import Plan
from recipes import algorithms
from recipes.algorithms.base import Labelled
from recipes.algorithms.fixmatch import FixMatch
from recipes.algorithms.mixmatch import MixMatch
from recipes.algorithms.supervised import Supervised
from recipes.benchmark.rows import parse_row
from recipes.cli import main
from recipes.semi_supervised.inference import load_model
from recipes.semi_supervised.train import train
from recipes.training import checkpoint, engine, mixing
from recipes.training.mixing._criteria import LOSSES, loss_options, read_loss

KNOWN = labelled([A, B, C], [1, 0, 2])
WEIGHTS = {  # what of each a checkpoint must hold
    "adamixup": "policy.11.weight",
    "adversarial_automix": "teacher.head.weight",
    "data_efficient": "chosen",
    "invariance_constrained": "gamma",
    "madaug": "policy.weight",
}


@pytest.mark.parametrize("name", mixing.available())
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(name, toy_config, toy_data, tmp_path):
    config = dataclasses.replace(toy_config, model_options=("width=2",), steps=5, labelled="4")
    how = {"mixer": name, "quiet": True}
    train(config, toy_data, "supervised", out=tmp_path / "whole", **how)
    with pytest.raises(Stop):
        train(config, toy_data, "supervised", out=tmp_path / "parts", on_row=stop_at(3), **how)
    train(config, toy_data, "supervised", out=tmp_path / "parts", resume=True, **how)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    tensors, _ = checkpoint.load(tmp_path / "whole" / engine.CHECKPOINT)
    assert f"algorithm.learned.{WEIGHTS[name]}" in tensors
    assert load_model(tmp_path / "whole", trust=True).classes == ("high", "low", "middle")


def test_what_was_learned_is_in_the_checkpoint(toy_config, toy_data, tmp_path):
    config = dataclasses.replace(toy_config, model_options=("width=2",), steps=3)
    found = {}
    for name in ("invariance_constrained:epsilon=0", "data_efficient:share=0.5", "madaug:validation=0"):
        train(config, toy_data, "supervised", out=tmp_path / name[:6], mixer=name, quiet=True)
        found |= checkpoint.load(tmp_path / name[:6] / engine.CHECKPOINT)[0]
    assert float(found["algorithm.learned.gamma"]) > 0
    assert int(found["algorithm.learned.chosen"].sum()) == 3
    assert int(found["algorithm.learned.steps"]) == 3
    assert float(rows(tmp_path / "invari")[-1]["gamma"]) > 0


def test_the_guides_class_of_ones_own_trains(toy_config, toy_data, tmp_path, monkeypatch):
    (text,) = re.findall(r"Put this into `halves.py`:\n\n```python\n(.*?)^```", PAGES["learned-mixing.md"], re.M | re.S)
    (tmp_path / "halves.py").write_text(text.replace("audiomix.recipes", "recipes"))
    monkeypatch.chdir(tmp_path)
    config = dataclasses.replace(toy_config, model_options=("width=2",), steps=3)
    train(config, toy_data, "supervised", out=tmp_path / "run", mixer="halves.py:Halves", quiet=True)
    tensors, _ = checkpoint.load(tmp_path / "run" / engine.CHECKPOINT)
    assert float(tensors["algorithm.learned.ratio"]) != 0


def test_mixing_is_another_name_of_mixer_and_loss_an_option(tone_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line = ["run", "supervised", "folder", str(tone_folder), "--fold", "1", "--steps", "2", "--every", "2", "--rate",
            "8000", "--window", "256", "--hop", "100", "--n-mels", "32", "--labelled", "2", "--batch-labelled", "4",
            "--threads", "1", "--model-options", "width=2", "--quiet", "--store", str(tmp_path / "stores")]  # fmt: skip
    more = ["--mixing", "mixup:alpha=0.3", "--loss", "decoupled:eta=0.2"]
    assert main([*line, *more, "--out", str(tmp_path / "a")]) == 0
    saved = (tmp_path / "a" / "run.yaml").read_text()
    assert "mixer: mixup:alpha=0.3" in saved
    assert "loss: decoupled:eta=0.2" in saved
    assert main([*line, "--loss", "ranking", "--out", str(tmp_path / "b")]) != 0
    assert "mixer must be a mixer with the loss ranking" in " ".join(capsys.readouterr().err.split())


def test_rows_of_bench_take_them_too():
    row = parse_row("supervised:loss=decoupled(eta=0.2,weighting=none),steps=9+spec_augment:p=0.5", "small")
    assert (row.mixer, row.options, row.config.steps) == (
        "spec_augment:p=0.5", {"loss": "decoupled(eta=0.2,weighting=none)"}, 9,
    )  # fmt: skip
    assert parse_row("supervised+adamixup:intrusion=0.5", "small").mixer == "adamixup:intrusion=0.5"
    with pytest.raises(ValueError, match="the option of learned mixing adamixup must be one of"):
        parse_row("supervised+adamixup:alpha=0.5", "small")
    with pytest.raises(ValueError, match="did you mean 'madaug'"):
        parse_row("supervised+madaugg", "small")


def test_a_transform_changes_single_clips_and_keeps_labels():
    mixer = algorithms.make_mixer("spec_augment:freq_masks=1,time_masks=0,freq_width=2", Supervised)
    assert isinstance(mixer, SpecAugment)
    known = Labelled(torch.randn(24, 1, 8, 5, generator=seeded(0)), torch.arange(24) % 8, torch.arange(24))
    model = Table()
    found = losses(Supervised(8, mixer), model, known, None)["labelled"]
    seen = model.calls[0][0]
    assert bool(((seen == known.x) | (seen == 0)).all())
    assert not torch.equal(seen, known.x)
    torch.testing.assert_close(found, torch.nn.functional.cross_entropy(seen[:, 0, :, 0], known.target))


def test_transforms_and_learned_mixing_are_refused_by_methods_that_mix_their_own_way():
    for kind, name in itertools.product((MixMatch, FixMatch), ("spec_augment", "adamixup")):
        with pytest.raises(ValueError, match="mixer must be one of"):
            algorithms.make_mixer(name, kind)


def test_a_mixer_that_reads_more_than_the_sound_is_refused():
    with pytest.raises(ValueError, match="mixer must be one that reads the sound alone, not attention, got sm_mix"):
        algorithms.make_mixer("sm_mix", Supervised)


@pytest.mark.parametrize("name", algorithms.spectral_transforms())
def test_every_transform_of_the_list_changes_spectrograms(name):
    transform = algorithms.make_mixer(name, Supervised).at_normalisation(-30.0, 15.0)
    x = torch.randn(8, 1, 32, 41, generator=torch.Generator().manual_seed(0))
    changed = transform(x, progress=0.5, generator=torch.Generator().manual_seed(1)).x
    assert changed.shape == x.shape
    assert not torch.equal(changed, x)


def plan_of(size):
    return Plan(torch.arange(size).roll(-1), torch.full((size,), 0.75, dtype=torch.float64))


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_that_of_the_package_on_what_the_network_says(name):
    model = Table(0.7)
    method = ready(Supervised(CLASSES, Fixed(), loss=name), model)
    if name in ("mix_contrast", "mi_mix", "m3col", "metrix"):
        with torch.no_grad():  # its head is on the way
            model.head.weight.copy_(torch.eye(CLASSES))
            model.head.bias.zero_()
    found = losses(method, model, KNOWN, None)
    x, y, plan = KNOWN.x, torch.nn.functional.one_hot(KNOWN.target, CLASSES).float(), plan_of(3)
    mixed, clean = 0.7 * next_in(x)[:, 0, :, 0], 0.7 * x[:, 0, :, 0]
    mixed_y = next_in(y)
    entropy = -(mixed_y * mixed.log_softmax(1)).sum(1).mean()
    of_clean = -(y * clean.log_softmax(1)).sum(1).mean()
    own = package_losses
    known = {
        "cross_entropy": (entropy, None),
        "mixed_binary_cross_entropy": (own.mixed_target.mixed_binary_cross_entropy(mixed, mixed_y), None),
        "comp_sum": (own.comp_sum.comp_sum(mixed, mixed_y), None),
        "anyloss": (own.anyloss.anyloss(mixed, mixed_y), None),
        "limited_confidence": (own.limited_confidence.limited_confidence(mixed, mixed_y), None),
        "decoupled": (own.decoupled.decoupled(mixed, y, plan), None),
        "ranking": (of_clean, 0.1 * own.rank.ranking(mixed, clean, y, plan)),
        "ranked_gain": (of_clean, 0.1 * own.rank.ranked_gain([mixed], clean, y, [plan])),
        "mix_consistency": (entropy, 0.1 * own.mix_consistency.mix_consistency(mixed, clean, plan)),
        "mix_contrast": (entropy, 0.1 * own.mix_contrast.mix_contrast(mixed, clean, plan)),
        "mi_mix": (entropy, 0.1 * own.mi_mix.mi_mix(mixed, clean, plan)),
        "m3col": (entropy, 0.1 * own.m3col.m3col(mixed, clean, plan)),
        "metrix": (entropy, None),  # it draws
    }
    labelled_term, more = known[name]
    torch.testing.assert_close(found["labelled"].detach(), labelled_term.detach(), check_dtype=False)
    if more is not None:
        torch.testing.assert_close(found["mixing"].detach(), more.detach(), check_dtype=False)
    assert set(found) == ({"labelled"} if LOSSES[name].weight is None else {"labelled", "mixing"})
    sum(found.values()).backward()
    assert model.scale.grad is not None


def test_options_and_weight_of_a_loss_are_read():
    assert read_loss("ranking(margin=1.0,weight=0.5)").options == {"margin": 1.0}
    assert read_loss("ranking:weight=0.5").weight == 0.5
    assert [option.name for option in loss_options("comp_sum")] == ["tau"]
    half, whole = (
        losses(Supervised(CLASSES, Fixed(), loss=f"mix_consistency:weight={w}"), Table(0.7), KNOWN, None)["mixing"]
        for w in (0.5, 1.0)
    )
    torch.testing.assert_close(2 * half, whole)
    with pytest.raises(ValueError, match="did you mean 'decoupled'"):
        read_loss("decopled")
    with pytest.raises(ValueError, match="the option of the loss comp_sum must be one of tau"):
        read_loss("comp_sum:eta=1")
    with pytest.raises(ValueError, match="weight must be"):
        read_loss("ranking:weight=-1")


def test_what_does_not_go_together_is_refused(toy_config):
    with pytest.raises(ValueError, match="mixer must be a mixer with the loss decoupled"):
        Supervised(CLASSES, SpecAugment(), loss="decoupled").check_config(toy_config)
    Supervised(CLASSES, Fixed(), loss="decoupled").check_config(toy_config)
    with pytest.raises(ValueError, match="mixer must be a transform or none with the loss metrix, got a mixer"):
        Supervised(CLASSES, Fixed(), loss="metrix").check_config(toy_config)
    Supervised(CLASSES, SpecAugment(), loss="metrix").check_config(toy_config)
    learned = algorithms.make_mixer("invariance_constrained", Supervised)
    with pytest.raises(ValueError, match="networks must be 1 with a learned mixing"):
        Supervised(CLASSES, learned, networks=2)
    madaug = Supervised(CLASSES, algorithms.make_mixer("madaug", Supervised))
    with pytest.raises(ValueError, match="compile must be left out with MADAug"):
        madaug.check_config(dataclasses.replace(toy_config, compile=True))
    with pytest.raises(ValueError, match="loss must be left out with a learned mixing"):
        Supervised(CLASSES, learned, loss="comp_sum")


def test_list_names_all(capsys):
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    assert "run supervised --mixing" in shown
    for name in (*mixing.available(), *algorithms.spectral_transforms(), *LOSSES):
        assert f"\n  {name}" in shown, name
    assert main(["list", "madaug", "decoupled"]) == 0
    shown = capsys.readouterr().out
    assert "inner_lr: " in shown
    assert "eta: " in shown


@pytest.mark.parametrize("name", mixing.available())
def test_each_names_its_paper_and_what_is_unlike_it(name):
    kind = mixing.get(name)
    assert mixing.source_of(kind)
    assert "Deviations" in kind.__doc__
    assert len(mixing.title_of(kind)) < 120
