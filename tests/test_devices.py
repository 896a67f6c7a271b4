"""What a mixer asks of a device, without one: the device ``meta`` holds shapes and no values, so that looking at any
raises, as it would make the host wait on a GPU; and a mode counts what is copied there and what is made on the host."""

import dataclasses

import pytest
import torch
from laws import all_examples, batch, call, frames, is_spectral, is_stream, same_plan, wants_second
from sounds import seeded
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from audiomix import CutMix, MixUp, OneOf, Plan, mixers, transforms
from audiomix.clips import Clips

# Samples or frames: masks and indices of this size belong on the device.
LONG = 6000


class Traffic(TorchDispatchMode):
    """Counts copies from the host to the device, and finds the largest tensor that is made on the host."""

    def __init__(self):
        super().__init__()
        self.uploads, self.large, self.largest = [], 0, ""

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
                elif t.device.type == "cpu" and t.numel() > self.large:
                    self.large, self.largest = t.numel(), name
        return result


def shapes(args, device):
    return [tuple(t.shape) for t in tree_iter(args) if isinstance(t, torch.Tensor) and t.device.type == device]


def looks_at_the_sound(example):
    """Whether what is drawn hangs on the sound: such a mixer has to wait for the device, once or oftener."""
    x = batch(example, 6)
    loud, quiet = torch.arange(6) % 2 == 0, torch.arange(6) % 3 == 0
    other = x.flip(-1).clone()
    other[loud] = other[loud] * 3 if not is_spectral(example) else other[loud] + 9
    other[quiet] = 0
    given = {"other": other.flip(0)} if wants_second(example) else {}
    return not same_plan(call(example, x).plans[0], call(example, other, **given).plans[0])


def fields_of(plan):
    """The tensors of a plan, those of the plans in it too."""
    for field in dataclasses.fields(plan):
        value = getattr(plan, field.name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, Plan):
                yield from fields_of(one)
            elif isinstance(one, torch.Tensor):
                yield one


def examples():
    kinds = [*(room.get(name) for room in (mixers, transforms) for name in room.available())]
    turned = [CutMix("time", time_axis=-2), MixUp(domain="power", time_axis=-2)]
    yield from all_examples([*kinds, OneOf])
    for mixer in turned:
        yield pytest.param(mixer.examples()[-1].__class__(mixer, shape=(1, 100, 12)), id=repr(mixer))


def on_device(example, size):
    shape = list(example.shape)
    shape[-2 if is_stream(example) or example.mixer.input_axis == -2 else -1] = LONG
    return torch.empty(size, *shape, device="meta")


@pytest.mark.parametrize("example", list(examples()))
@pytest.mark.parametrize("ragged", [False, True])
def test_nothing_waits_for_the_device(example, ragged):
    """Neither drawing nor mixing looks at a value on the device, and no mask or index is made on the host.

    The host makes the numbers of the plan: one a clip, a cell, a region, a frame of a slow stream. The rule: no tensor
    there is larger than twice the largest field of the plan. A mask or an index of the batch's own size would be, since
    a plan is JSON and holds no such thing. Where what is drawn hangs on the sound, the sound has to come to the host;
    and what follows beats is warped there.
    """
    if looks_at_the_sound(example) or "beats" in example.mixer.needs.notes:
        return
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
    assert mixed.x.shape == x.shape or example.mixer.needs.length == "free"
    assert mixed.plans[0].partner.device.type == "cpu"
    largest = max(field.numel() for field in fields_of(mixed.plans[0]))
    assert largest < max(LONG, x.numel())
    slow = 8 * (LONG + 2) if is_stream(example) else LONG  # 25 frames a second
    assert traffic.large <= max(slow, 2 * largest), traffic.largest
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
    assert traffic.large < LONG, traffic.largest


def test_the_counter_counts():
    """A test that cannot fail is none: what must be found is found."""
    x = torch.empty(2, LONG, device="meta")
    with Traffic() as traffic:
        mask = torch.arange(LONG) < 5
        x * mask.to("meta")
    assert len(traffic.uploads) == 1
    assert traffic.large == LONG
    with pytest.raises((RuntimeError, NotImplementedError)):
        bool(x.any())
    with Traffic() as traffic:
        x[torch.tensor([1, 0])]
    assert traffic.uploads[0].startswith("implicit")
