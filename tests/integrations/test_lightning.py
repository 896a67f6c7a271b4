"""Lightning trains on batches of a `Collate` at every precision."""

import time
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


@pytest.mark.parametrize("workers", [0, 2])
def test_the_module_of_the_page_says_the_epoch_before_workers_read(pl, workers, tmp_path):
    names = {"__name__": "example"}
    exec(compile(example("Lightning").split("\nclips = ")[0], "training-frameworks.md", "exec"), names)
    clips = [(torch.randn(1, 60, generator=torch.Generator().manual_seed(i)), i % 3) for i in range(8)]
    seen = []

    class Late(pl.Callback):
        """Gives workers the time to begin."""

        def on_train_epoch_start(self, trainer, module):
            time.sleep(0.5)

        def on_train_batch_start(self, trainer, module, mixed, index):
            seen.append(mixed.plans[0].to_json())

    def run(epochs, workers=0, **resume):
        # a schedule: workers that do not know the progress raise
        collate = Collate(MixUp(num_classes=3, p="linear:1:0.5"), seed=0)
        several = {"num_workers": workers, "persistent_workers": workers > 0}
        loader = DataLoader(Indexed(clips), batch_size=2, collate_fn=collate, **several)
        seen.clear()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ended = trainer(pl, max_epochs=epochs, callbacks=[Late()])
            ended.fit(names["Classifier"](loader, epochs=4), **resume)
        return ended, list(seen)

    _, expected = run(3)
    assert len(set(expected)) == 12
    ended, first = run(1, workers)
    ended.save_checkpoint(tmp_path / "last.ckpt")
    _, others = run(3, workers, ckpt_path=tmp_path / "last.ckpt")
    assert first + others == expected


def test_rows_at_true_half_precision_keep_what_is_among_their_keys(pl):
    rows = [{"id": i, "wave": torch.randn(1, 60), "label": i % 3} for i in range(4)]
    loader = DataLoader(rows, batch_size=2, collate_fn=Collate(MixUp(num_classes=3), add=["plans", "lengths"]))
    seen = []

    class Net(module(pl, seen).__class__):
        def training_step(self, batch, index):
            seen.append(batch)
            return self.net(batch["wave"][:, 0]).float().sum()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer(pl, max_epochs=1, precision="bf16-true").fit(Net(), loader)
    for batch in seen:
        assert batch["wave"].dtype == torch.bfloat16
        assert batch["plans"][0].weight.dtype == torch.float64
        assert batch["lengths"].tolist() == [60, 60]
        with pytest.raises(AttributeError, match=r"a copy of the keys alone\? Collate\(add="):
            _ = batch.plans


def test_the_example_of_the_page(pl, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "example"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(example("Lightning"), "training-frameworks.md", "exec"), names)
    assert names["trainer"].global_step == 4
    assert next(names["trainer"].model.parameters()).dtype == torch.bfloat16
    assert float(names["collate"]._epoch) == 1
