"""Hugging Face's Trainer with a collator that mixes."""

import math
import warnings

import pytest
import torch
from frameworks import example, need

from audiomix import Collate, MixUp


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What the example of the page has made."""
    need("transformers", "accelerate")
    found = {"__name__": "example"}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.chdir(tmp_path_factory.mktemp("trainer"))
        exec(compile(example("Hugging Face's Trainer"), "training-frameworks.md", "exec"), found)
    return found


def test_the_example_of_the_page(names):
    assert names["result"].global_step == 4
    assert math.isfinite(names["result"].training_loss)
    assert int(names["collate"]._epoch) == 1


def test_the_model_gets_mixed_rows_and_masks(names):
    seen = []

    class Watched(names["Classifier"]):
        def forward(self, input_values, attention_mask, labels=None):
            seen.append((input_values, attention_mask, labels))
            return super().forward(input_values, attention_mask, labels)

    rows, arguments = names["rows"][:4], names["arguments"]
    collate = Collate(MixUp(num_classes=3), seed=5, mask="attention_mask", entries=names["entries"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names["Trainer"](Watched(), arguments, data_collator=collate, train_dataset=rows).train()
    assert len(seen) == 2  # epochs of one batch
    for sound, mask, labels in seen:
        assert sound.shape == mask.shape == (4, 650)
        assert sorted(mask.sum(1).tolist()) == [500, 550, 600, 650]
        torch.testing.assert_close(labels.sum(1), torch.ones(4))
        assert ((labels > 0).sum(1) == 2).any()
        assert (sound[mask == 0] == 0).all()
