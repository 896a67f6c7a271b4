"""Lightning trains on a `MixedDataset` of Speech Commands: each epoch has its own mixes, and a resumed run goes on."""

import warnings

import pytest
import torch
from frameworks import need
from sounds import DATA
from torch import nn
from torch.utils.data import DataLoader

from audiomix import LogMel, MixedDataset, MixUp
from audiomix.datasets.demo import assets

SPEECH = DATA / "speech_commands"


@pytest.fixture(scope="module")
def pl():
    need("lightning")
    import lightning.pytorch

    return lightning.pytorch


def words(limit, tmp_path, *, only=()):
    """A manifest of Speech Commands' first clips of some words; of the bundled words where it is not there."""
    from audiomix.datasets.source import read_source

    source = SPEECH if SPEECH.is_dir() else assets() / "words"
    items, _ = read_source(source)
    lines, counts = ["path,label,split"], {}
    for item in items:
        if item.label == "_background_noise_" or (only and item.label not in only):
            continue
        counts[item.label, item.split] = counts.get((item.label, item.split), 0) + 1
        if counts[item.label, item.split] <= limit:
            lines.append(f"{item.path},{item.label},{item.split}")
    table = tmp_path / "words.csv"
    table.write_text("\n".join(lines) + "\n")
    return table


def classifier(pl, loader, classes, seen):
    class Classifier(pl.LightningModule):
        """Three layers on a log-mel spectrogram."""

        def __init__(self):
            super().__init__()
            self.features = LogMel(16000, n_fft=512, hop=512, n_mels=40)
            layers, width = [nn.BatchNorm2d(1)], 1
            for channels in (16, 32, 32):
                layers += [nn.Conv2d(width, channels, 3, 2), nn.BatchNorm2d(channels), nn.ReLU()]
                width = channels
            self.net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))

        def forward(self, wave):
            return self.net(self.features(wave))

        def training_step(self, batch, index):
            seen.append((self.current_epoch, batch["id"], batch["plan"]))
            return nn.functional.cross_entropy(self(batch["wave"]), batch["label"])

        def train_dataloader(self):
            loader.sampler.set_epoch(self.current_epoch)  # workers of a resumed run begin here
            return loader

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 0.01)

    return Classifier()


def trainer(pl, **given):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return pl.Trainer(accelerator="cpu", enable_model_summary=False, use_distributed_sampler=False, **quiet, **given)


@pytest.mark.parametrize("workers", [0, 2])
def test_lightning_sets_the_epoch_and_a_resumed_run_goes_on(pl, tmp_path, workers):
    table = words(2, tmp_path)

    def run(epochs, **resume):
        dataset = MixedDataset(table, MixUp(0.4), split="train", length=1.0, seed=2)
        loader = DataLoader(
            dataset, batch_size=4, sampler=dataset.sampler(shuffle=True), collate_fn=dataset.collate,
            num_workers=workers, persistent_workers=workers > 0,
        )  # fmt: skip
        seen = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ended = trainer(pl, max_epochs=epochs)
            ended.fit(classifier(pl, loader, len(dataset.class_names), seen), **resume)
        return ended, dataset, seen

    _, dataset, whole = run(3)
    by_id = {}
    for epoch in range(3):
        dataset.set_epoch(epoch)
        by_id |= {(epoch, item["id"]): item["plan"] for item in dataset}
    got = {(epoch, name): plan for epoch, names, plans in whole for name, plan in zip(names, plans)}
    assert got == by_id
    assert len(set(got.values())) > 2 * len(dataset)  # each epoch has mixes of its own
    ended, _, first = run(1)
    ended.save_checkpoint(tmp_path / "last.ckpt")
    _, _, rest = run(3, ckpt_path=tmp_path / "last.ckpt")
    assert first + rest == whole


@pytest.mark.slow
def test_a_network_learns_words_from_mixes(pl, tmp_path):
    """Measured on clips of other speakers that nobody mixed: chance is a half."""
    table = words(60, tmp_path, only=("go", "left"))
    dataset = MixedDataset(table, MixUp(0.4), split="train", length=1.0)
    loader = DataLoader(dataset, batch_size=8, sampler=dataset.sampler(shuffle=True), collate_fn=dataset.collate)
    torch.manual_seed(0)
    seen = []
    module = classifier(pl, loader, len(dataset.class_names), seen)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer(pl, max_epochs=10).fit(module)
    assert len({(epoch, name) for epoch, names, _ in seen for name in names}) == 10 * len(dataset)
    plain = MixedDataset(table, MixUp(p=0.0), split="test", length=1.0)  # p = 0: the clips as they are
    module.eval()
    right = []
    for batch in DataLoader(plain, batch_size=32, collate_fn=plain.collate):
        with torch.no_grad():
            right += (module(batch["wave"]).argmax(1) == batch["label"].argmax(1)).tolist()
    assert len(right) >= 40
    assert sum(right) / len(right) > 0.7
