"""What a mixer asks of a device, without one: the device ``meta`` holds shapes and no values, so that looking at any
raises, as it would make the host wait on a GPU; and a mode counts what is copied there and what is made on the host."""

import pytest
import torch
from laws import all_examples, frames, is_spectral, is_stream
from sounds import seeded
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from audiomix import CutMix, MixUp, OneOf, mixers, transforms
from audiomix.clips import Clips

# Samples or frames: masks and indices of this size belong on the device.
LONG = 6000
OF_CELLS = {"MaskMix", "MaxMix", "PatchMix", "SmoothMix"}


class Traffic(TorchDispatchMode):
    """Counts copies from the host to the device, and finds large tensors that are made on the host."""

    def __init__(self):
        super().__init__()
        self.uploads, self.large = [], []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        given = [t.device.type for t in tree_iter((args, kwargs)) if isinstance(t, torch.Tensor)]
        for t in tree_iter(result):
            if isinstance(t, torch.Tensor):
                name = f"{function} {tuple(t.shape)} {t.dtype}"
                if t.device.type == "meta" and given and set(given) == {"cpu"}:
                    self.uploads.append(name)
                elif t.device.type == "meta" and "cpu" in given and not all(s == () for s in shapes(args, "cpu")):
                    self.uploads.append(f"implicit {name}")
                elif t.device.type == "cpu" and t.numel() >= LONG:
                    self.large.append(name)
        return result


def shapes(args, device):
    return [tuple(t.shape) for t in tree_iter(args) if isinstance(t, torch.Tensor) and t.device.type == device]


def looks_at_the_sound(mixer):
    """Levels, beats and captions are measured, read or looked up: those mixers wait for the device, once or oftener."""
    name = type(mixer).__name__
    if name == "StemRemix":
        return (mixer.levels, mixer.peak, mixer.silent) != ("kept", None, "keep")
    if name == "MaxMix":
        return mixer.share != "equal"
    if name in ("AlignMix", "AttentiveMix", "PuzzleMix", "SaliencyMix"):  # the plan is drawn from what stands out
        return True
    measured = ("SNRMix", "BetweenClass", "SpeechNoise", "SpeakerMix", "BeatMix", "CaptionMix", "LatentBeatMix", "Room")
    return name in measured


def examples():
    kinds = [*(room.get(name) for room in (mixers, transforms) for name in room.available())]
    turned = [CutMix("time", time_axis=-2), MixUp(domain="power", time_axis=-2)]
    for parameter in all_examples([*kinds, OneOf]):
        if not looks_at_the_sound(parameter.values[0].mixer):
            yield parameter
    for mixer in turned:
        yield pytest.param(mixer.examples()[-1].__class__(mixer, shape=(1, 100, 12)), id=repr(mixer))


def on_device(example, size):
    shape = list(example.shape)
    shape[-2 if is_stream(example) or example.mixer.input_axis == -2 else -1] = LONG
    return torch.empty(size, *shape, device="meta")


@pytest.mark.parametrize("example", list(examples()))
@pytest.mark.parametrize("ragged", [False, True])
def test_nothing_waits_for_the_device(example, ragged):
    """Neither drawing nor mixing looks at a value on the device, and no mask or index is made on the host."""
    x, labels = on_device(example, 8), torch.empty(8, 5, device="meta")
    given = example.notes(8)
    if example.partners == "second":
        given["other"] = on_device(example, 8)
    if ragged:
        given["lengths"] = torch.tensor([LONG, LONG // 2, 9, LONG, 0, 77, LONG, LONG - 1])
        if is_stream(example):
            given["lengths"] = given["lengths"].clamp(min=2)
            given["other_lengths"] = given["lengths"]
    mixer = example.mixer.replace(num_classes=5)
    with Traffic() as traffic:
        mixed = mixer(x, labels, generator=seeded(), **given)
    assert mixed.x.device.type == mixed.target.device.type == "meta"
    assert mixed.x.shape == x.shape
    assert mixed.plans[0].partner.device.type == "cpu"
    # a plan of streams has a number a frame, of which there are 25 a second; one of cells or regions a number a cell
    if "stream" not in mixer.needs.domain and type(mixer).__name__ not in OF_CELLS:
        assert not traffic.large, traffic.large
    assert frames(example) < LONG
    assert is_spectral(example) or mixed.x.dtype == x.dtype


@pytest.mark.parametrize("mixer", [MixUp(), MixUp(gain_law="sqrt"), CutMix(), MixUp(domain="power"), CutMix("box")])
@pytest.mark.parametrize("labels", [torch.zeros(8, dtype=torch.int64), torch.zeros(8, 5)])
def test_the_sound_costs_one_upload_and_the_labels_another(mixer, labels):
    x = torch.empty(8, 1, 12, LONG, device="meta")
    own = Clips(x)
    plan = mixer.draw(own, own, generator=seeded())
    with Traffic() as traffic:
        mixer.mix(own, own, plan)
    assert len(traffic.uploads) == 1, traffic.uploads
    labels = labels.to("meta")
    with Traffic() as traffic:
        mixer.replace(num_classes=5)(x, labels, plan=plan)
    assert len(traffic.uploads) == 2, traffic.uploads
    assert not traffic.large


def test_the_counter_counts():
    """A test that cannot fail is none: what must be found is found."""
    x = torch.empty(2, LONG, device="meta")
    with Traffic() as traffic:
        mask = torch.arange(LONG) < 5
        x * mask.to("meta")
    assert len(traffic.uploads) == 1
    assert len(traffic.large) >= 2
    with pytest.raises((RuntimeError, NotImplementedError)):
        bool(x.any())
    with Traffic() as traffic:
        x[torch.tensor([1, 0])]
    assert traffic.uploads[0].startswith("implicit")
