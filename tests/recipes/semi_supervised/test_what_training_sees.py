"""Neither hidden labels nor held-out sounds change what is trained, how clips are normalised, or a head."""

import dataclasses

import pytest
import torch

from recipes.data.loader import make_split
from recipes.semi_supervised import refit
from recipes.semi_supervised.train import train
from recipes.training import checkpoint
from recipes.training.engine import CHECKPOINT


@pytest.mark.parametrize("method", ["simmatch", "remixmatch", "dash"])
def test_hidden_labels_and_held_out_sounds_change_nothing_that_is_trained(method, toy_config, toy_data, tmp_path):
    heads, noise = {"head": ("refit", "graph"), "rounds": 2}, {"label_noise": "20%", "labelled": "4"}
    config = dataclasses.replace(toy_config, model_options=("width=4",), steps=2, every=2, **heads, **noise)
    split = make_split(config, toy_data.dataset, toy_data.dataset.folds[0], 0)
    generator = torch.Generator().manual_seed(0)
    labels, kept = torch.randint(0, 3, toy_data.labels.shape, generator=generator), toy_data.kept.clone()
    assert not torch.equal(labels[split.unlabelled], toy_data.labels[split.unlabelled])
    kept[split.test] = 30 * torch.randn(kept[split.test].shape, generator=generator)
    found = []
    for name, data in {"true": toy_data, "other": dataclasses.replace(toy_data, labels=labels, kept=kept)}.items():
        train(config, data, method, out=tmp_path / name, quiet=True)
        trained = checkpoint.load(tmp_path / name / CHECKPOINT)[0] | checkpoint.load(tmp_path / name / refit.FILE)[0]
        found.append((trained, data.views.mean, data.views.std))
    (one, *scale), (other, *other_scale) = found
    assert scale == other_scale
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
