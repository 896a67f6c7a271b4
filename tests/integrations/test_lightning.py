"""Lightning trains on batches of a `Collate` at every precision."""

import warnings

import pytest
import torch
from frameworks import example, need
from torch import nn
from torch.utils.data import DataLoader

from audiomix import Collate, Indexed, Mixed, MixUp, Plans

PRECISIONS = {
    "32-true": torch.float32,
    "16-mixed": torch.float32,
    "bf16-mixed": torch.float32,
    "bf16-true": torch.bfloat16,
    "16-true": torch.float16,
    "64-true": torch.float64,
}


@pytest.fixture(scope="module")
def pl():
    need("lightning")
    import lightning.pytorch

    return lightning.pytorch


def trainer(pl, **given):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return pl.Trainer(accelerator="cpu", enable_model_summary=False, **{**quiet, **given})


def module(pl, seen):
    class Net(pl.LightningModule):
        """Notes what comes in."""

        def __init__(self):
            super().__init__()
            self.net = nn.Linear(60, 3)

        def training_step(self, mixed, index):
            seen.append(mixed)
            return nn.functional.cross_entropy(self.net(mixed.x[:, 0]).float(), mixed.target.float())

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    return Net()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_gets_the_batch_and_leaves_the_plans(pl, precision):
    clips = [(torch.randn(1, 60, generator=torch.Generator().manual_seed(i)), i % 3) for i in range(4)]
    collate = Collate(MixUp(num_classes=3), seed=0)
    loader = DataLoader(Indexed(clips), batch_size=2, collate_fn=collate)
    expected, seen = list(loader), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer(pl, max_epochs=1, precision=precision).fit(module(pl, seen), loader)
    assert len(seen) == 2
    for got, wanted in zip(seen, expected):
        assert isinstance(got, Mixed)
        assert isinstance(got.plans, Plans)
        assert got.x.dtype == got.target.dtype == PRECISIONS[precision]
        assert got.plans[0].weight.dtype == torch.float64
        assert got.plans[0].to_json() == wanted.plans[0].to_json()
        torch.testing.assert_close(got.x.float(), wanted.x, atol=0.02, rtol=0.01)


def test_the_example_of_the_page(pl, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "example"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(example("Lightning"), "training-frameworks.md", "exec"), names)
    assert names["trainer"].global_step == 4
    assert next(names["trainer"].model.parameters()).dtype == torch.bfloat16
    assert float(names["collate"]._epoch) == 1
