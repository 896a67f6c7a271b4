"""The repr of every public object is its constructor's call."""

import math

import pytest
import torch
from laws import batch, call
from sounds import noise

import audiomix as am
from audiomix import MixUp, OneOf, cells, mixers, transforms
from audiomix.datasets.demo import assets


def identify(item):
    return item


def ctc(logits, target, lengths):
    return logits.mean()


def tensor(data, size=None, **options):
    """Read the repr of a tensor, also of one without elements, which torch itself cannot."""
    return torch.tensor(data, **options) if size is None else torch.zeros(size, **options)


_MIXES = am.MixedDataset(str(assets() / "sounds"), MixUp(), length=1.0, rate=8000, across=["split", "fold"])
MADE = [
    _MIXES,
    am.IterableMixedDataset(_MIXES, batch_size=4),
    am.MixedSampler(_MIXES, shuffle=True),
    am.CorpusSampler([30, 10], [0.75, 0.25]),
    am.Aioli(3, probe=0.5),
    am.AdaptiveTimeMask(25, time_axis=1, window=0.2),
    am.BeatGrid([0.0, 0.5, 1.0], [1, 2, 1], key="A minor"),
    am.Clips(torch.zeros(2, 3), torch.tensor([3, 1]), notes=am.Notes(captions=["a", "b"])),
    am.Collate(MixUp("linear:0:1"), seed=3, key=identify),
    am.Collate(am.Pipeline([MixUp(0.4, num_classes=3), am.CutMix("time")])),
    am.Example(MixUp(), shape=(1, 10)),
    am.Indexed([1, 2, 3]),
    am.HiddenPatchMix(kind="column"),
    am.LogMel(16000, n_mels=40),
    am.MixLayer(am.MixStyle()),
    am.MixedDict({"labels": [1, 2]}),
    am.ModalityDropout("linear:0:0.5", sound_fill=torch.nn.Parameter(torch.zeros(2)), picture_fill=torch.ones(2)),
    am.Needs(notes={"beats": 1}),
    am.NoiseFolder(str(assets() / "sounds"), seconds=1.0, rate=8000, weights={"rain.flac": 2.0}),
    am.Notes(ids=[1, 2]),
    am.Part(0, warp=torch.zeros(2, 2, dtype=torch.float64)),
    am.Piece("rain.flac", 0.5),
    am.Plan(torch.tensor([1, 0]), torch.tensor([0.5, 1.0]).double(), why=("", "silent")),
    am.Pipeline([OneOf([MixUp(), None], [1, 2])], num_classes=2),
    am.Plans([am.Plan.identity(2)]),
    am.PlateauCurriculum(0.2, patience=3),
    am.Schedule.of("steps:1:2@0.5"),
    am.Turn("ann", 0.0, 2.0),
    am.TurnHistograms(([0.2, 0.5], [3, 1]), ([0.3], [6])),
    am.StreamLoss(consistency="linear:0:1", task=ctc),
    am.UncertaintyCurriculum(rule="stemm"),
]


@pytest.fixture
def whole_tensors():
    """Tensors print all of their values: a plan of cells has thousands."""
    torch.set_printoptions(threshold=10**6)
    yield
    torch.set_printoptions(profile="default")


def test_the_repr_of_every_public_object_is_its_constructors_call(whole_tensors):
    public = {name: getattr(am, name) for name in am.__all__}
    classes = {value for value in public.values() if isinstance(value, type)}
    made = list(MADE)
    for kind in [*(room.get(name) for room in (mixers, transforms) for name in room.available()), OneOf]:
        for example in kind.examples():
            mixed = call(example, batch(example, 3))
            made += [example.mixer, *mixed.plans, mixed.plans, mixed._replace(x=noise(3, 2))]
            made += mixed.plans[0].parts(0)
    bases = {am.Mixer, am.Transform, am.TransformPlan, am.Operation, am.PlacedPlan}
    bases |= {am.HiddenMix, am.MemoryBank}  # which hold what a call says nothing of: hooks, and clips
    assert {type(value) for value in made} >= classes - bases, classes - {type(value) for value in made}
    from audiomix.mixers import latent_beat

    names = {**vars(torch.nn), **vars(latent_beat), **vars(cells), **globals(), **public, "inf": math.inf}
    names["nan"] = math.nan
    names |= {type(value).__name__: type(value) for value in made}
    for value in made:
        again = eval(repr(value), names)
        assert repr(again) == repr(value) or again == value  # a set has no order
