"""What frameworks do to a batch before a model sees it: tensors are moved and converted, plans never."""

import copy
import pickle

import pytest
import torch
from lightning_utilities.core.apply_func import apply_to_collection
from sounds import noise, seeded
from torch.utils._pytree import tree_map
from torch.utils.data import DataLoader, default_convert
from torch.utils.data._utils.pin_memory import pin_memory

from audiomix import Collate, CutMix, Indexed, Mixed, MixUp, OneOf, Pipeline, Plan, Plans
from audiomix.loader import MixedDict


def half(tensor):
    return tensor.to(torch.bfloat16) if tensor.is_floating_point() else tensor


def batch():
    chain = Pipeline([MixUp(pairing="self"), OneOf([CutMix(), MixUp()], per="clip")], num_classes=4)
    lengths = torch.tensor([90, 60, 90, 30])
    return chain(noise(4, 1, 90), torch.arange(4), lengths=lengths, generator=seeded())


def lightning_fabric_moves(mixed):
    from lightning_fabric.utilities.apply_func import move_data_to_device

    return move_data_to_device(mixed, torch.device("cpu"))


def accelerate_sends(mixed):
    operations = pytest.importorskip("accelerate.utils.operations")
    return operations.send_to_device(mixed, torch.device("cpu"), non_blocking=True)


def accelerate_joins(mixed):
    operations = pytest.importorskip("accelerate.utils.operations")
    return operations.concatenate([mixed])


def accelerate_cuts(mixed):
    operations = pytest.importorskip("accelerate.utils.operations")
    return operations.slice_tensors(mixed, slice(0, 4))


WAYS = [
    lambda mixed: apply_to_collection(mixed, torch.Tensor, half),
    lambda mixed: tree_map(lambda leaf: half(leaf) if isinstance(leaf, torch.Tensor) else leaf, mixed),
    lambda mixed: tree_map(lambda leaf: leaf.to("cpu"), mixed),
    lambda mixed: pin_memory(mixed, "cpu") if torch.cuda.is_available() else mixed,
    default_convert,
    lightning_fabric_moves,
    accelerate_sends,
    accelerate_joins,
    accelerate_cuts,
    copy.deepcopy,
    lambda mixed: pickle.loads(pickle.dumps(mixed)),
]


@pytest.mark.parametrize("way", WAYS)
def test_tensors_of_a_batch_are_converted_and_plans_are_not(way):
    mixed = batch()
    before = [plan.to_json() for plan in mixed.plans]
    changed = way(mixed)
    assert isinstance(changed, Mixed)
    assert isinstance(changed.plans, Plans)
    assert [plan.to_json() for plan in changed.plans] == before
    assert all(plan.weight.dtype == torch.float64 for plan in changed.plans)
    torch.testing.assert_close(changed.x.float(), mixed.x, atol=0.02, rtol=0.01)
    assert torch.equal(changed.lengths, mixed.lengths)


def test_half_precision_reaches_sound_and_labels():
    changed = apply_to_collection(batch(), torch.Tensor, half)
    assert changed.x.dtype == changed.target.dtype == torch.bfloat16
    assert changed.lengths.dtype == torch.int64


def test_plans_within_other_containers_survive():
    mixed = batch()
    for container in ([mixed.x, mixed.plans], {"x": mixed.x, "plans": mixed.plans}, (mixed.x, (mixed.plans,))):
        flat = str(apply_to_collection(container, torch.Tensor, half))
        assert "bfloat16" in flat
        assert "dtype=torch.float64" in flat


def test_a_batch_of_rows_keeps_its_plans_where_it_is_moved():
    rows = [{"id": i, "input_values": noise(50 + i, seed=i), "labels": i} for i in range(3)]
    given = Collate(MixUp(num_classes=3), seed=0)(rows)
    assert isinstance(given, MixedDict)
    for moved in (given.to(torch.float64), lightning_fabric_moves(given), accelerate_sends(given)):
        assert moved.plans == given.plans
        assert torch.equal(moved["input_values"].float(), given["input_values"])
        assert torch.equal(moved.lengths, given.lengths)
    assert given.to(torch.float64)["input_values"].dtype == torch.float64
    assert "plans" in Collate(MixUp(num_classes=3), seed=0, add=["plans"])(rows)


def test_plans_are_read_as_a_tuple_is():
    mixed = batch()
    first, second = mixed.plans
    plans = mixed.plans
    assert (len(plans), plans[0], plans[-1]) == (2, first, second)
    assert plans[:1] == Plans([first]) == (first,)
    assert plans + plans[1:] == Plans([first, second, second])
    assert first in plans
    assert hash(plans) == hash(Plans([first, second]))
    assert not isinstance(plans, (tuple, list))
    with pytest.raises(AttributeError, match="plans are not changed"):
        plans.other = 1
    with pytest.raises(TypeError, match="plans must be plans, got int"):
        Plans([3])
    chain = Pipeline([MixUp(pairing="self"), OneOf([CutMix(), MixUp()], per="clip")])
    assert all(isinstance(plan, Plan) for plan in chain(noise(4, 1, 90), plans=plans).plans)


def test_pinning_loaders_give_the_same_batches():
    clips = [(noise(1, 40, seed=i), i % 2) for i in range(6)]
    loaders = [
        DataLoader(Indexed(clips), batch_size=3, collate_fn=Collate(MixUp(num_classes=2), seed=0), pin_memory=pin)
        for pin in (False, torch.cuda.is_available())
    ]
    for a, b in zip(*loaders):
        assert torch.equal(a.x, b.x)
        assert [plan.to_json() for plan in a.plans] == [plan.to_json() for plan in b.plans]
