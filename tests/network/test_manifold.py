"""Manifold mixup, judged from what a network gives and from its hooks."""

import pytest
import torch
from laws import same_plan
from sounds import noise, seeded
from torch import nn

from audiomix import CutMix, MixUp, SpecAugment, manifold_mixup


class Net(nn.Module):
    """A network without biases whose middle is linear, with what is asked of it recorded."""

    def __init__(self, linear=True):
        super().__init__()
        self.first = nn.Linear(6, 5, bias=False)
        self.second = nn.Linear(5, 4, bias=False)
        self.act = nn.Identity() if linear else nn.Tanh()
        self.spare = nn.Linear(2, 2)
        self.double()

    def forward(self, x):
        return self.second(self.act(self.first(x)))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(6, 5, batch_first=True)
        self.late = nn.GRU(6, 5)

    def forward(self, x):
        return self.rnn(x)[0].mean(1) + self.late(x.transpose(0, 1))[0].mean(0)


def call(net, x, layer, **given):
    """Call a network within a block."""
    with manifold_mixup(net, layer, **given) as hidden:
        net(x)
    return hidden


def hooks_of(module):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules())


X = noise(8, 6, dtype=torch.float64)
LABEL = torch.arange(8) % 4


@pytest.mark.parametrize("layer", ["input", "first", "act", "second"])
def test_of_a_linear_network_the_output_is_the_mix_of_outputs(layer):
    net = Net()
    with manifold_mixup(net, layer, MixUp(2.0, num_classes=4), target=LABEL, generator=seeded()) as hidden:
        got = net(X)
    w, j = hidden.plan.weight[:, None], hidden.plan.partner
    assert (j != torch.arange(8)).all()
    torch.testing.assert_close(got, w * net(X) + (1 - w) * net(X)[j])
    eye = torch.eye(4)[LABEL]
    torch.testing.assert_close(hidden.target, (w * eye + (1 - w) * eye[j]).float())
    assert hooks_of(net) == 0


@pytest.mark.parametrize("layer", ["first", "act"])
def test_of_any_network_what_follows_sees_the_mixed_states(layer):
    net = Net(linear=False)
    with manifold_mixup(net, layer, generator=seeded()) as hidden:
        got = net(X)
    w, j = hidden.plan.weight[:, None], hidden.plan.partner
    h = net.first(X) if layer == "first" else net.first(X).tanh()
    h = w * h + (1 - w) * h[j]
    torch.testing.assert_close(got, net.second(h if layer == "act" else h.tanh()))
    assert hidden.target is None


def test_the_input_mixed_is_plain_mixup():
    net, mixer = Net(), MixUp(num_classes=4)
    plain = mixer(X, LABEL, generator=seeded(4))
    with manifold_mixup(net, mixer=mixer, target=LABEL, generator=seeded(4)) as hidden:
        got = net(x=X)  # by name as well
    torch.testing.assert_close(got, net(plain.x))
    assert same_plan(hidden.plan, plain.plans[0])
    assert torch.equal(hidden.target, plain.target)


def test_one_layer_is_drawn_in_each_step_each_as_likely():
    net, draws, counts = Net(), seeded(), {"input": 0, "first": 0, "act": 0}
    for _ in range(900):
        counts[call(net, X, list(counts), generator=draws).layer] += 1
    chi2 = sum((n - 300) ** 2 / 300 for n in counts.values())
    assert chi2 < 18.4  # 2 degrees of freedom, 99.99 %
    first, again = ([call(net, X, list(counts), generator=seeded(s)).layer for s in range(20)] for _ in range(2))
    assert first == again


def test_the_generator_alone_decides_and_a_plan_is_replayed():
    net, found = Net(), []
    for seed in (0, 1, 2):
        torch.manual_seed(seed)
        with manifold_mixup(net, ["first", "act"], generator=seeded(5)) as hidden:
            found.append((net(X), hidden.layer, hidden.plan.to_json()))
    for out, layer, plan in found[1:]:
        assert torch.equal(out, found[0][0])
        assert (layer, plan) == found[0][1:]
    with manifold_mixup(net, found[0][1], plan=hidden.plan):
        assert torch.equal(net(X), found[0][0])


def test_gradients_reach_both_sides_and_all_layers():
    net, x = Net(linear=False), X.clone().requires_grad_()
    with manifold_mixup(net, "act", MixUp(2.0, num_classes=4), target=LABEL, generator=seeded()) as hidden:
        logits = net(x)
    nn.functional.cross_entropy(logits, hidden.target.double()).backward()
    assert (x.grad.abs().sum(1) > 0).all()
    assert x.grad.isfinite().all()
    assert net.first.weight.grad.abs().sum() > 0
    only = torch.zeros(8, dtype=torch.float64)
    only[0] = 1
    leaf = X.clone().requires_grad_()
    with manifold_mixup(net, "first", plan=hidden.plan):
        (net(leaf).sum(1) * only).sum().backward()
    j = int(hidden.plan.partner[0])
    assert leaf.grad.abs().sum(1).nonzero().flatten().tolist() == sorted([0, j])


def test_in_eval_nothing_is_mixed():
    net = Net().eval()
    for layer in ("input", "act"):
        with manifold_mixup(net, layer, MixUp(num_classes=4), target=LABEL, generator=seeded()) as hidden:
            got = net(X)
        assert torch.equal(got, net(X))
        assert torch.equal(hidden.target, torch.eye(4)[LABEL])
        assert type(hidden.plan) is type(MixUp()(X).plans[0])
        assert not hidden.plan.mixed.any()


def test_hooks_are_gone_after_an_exception_and_others_stay():
    net = Net()
    mine = net.act.register_forward_hook(lambda *_: None)
    with pytest.raises(KeyError, match="outside"), manifold_mixup(net, "act"):
        raise KeyError("outside")
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        call(net, X[:, :3], "act")
    assert hooks_of(net) == 1
    mine.remove()


def test_blocks_nest():
    net = Net()
    first, second = ({"layer": name, "generator": seeded(i)} for i, name in enumerate(("first", "act")))
    with manifold_mixup(net, **first) as outer, manifold_mixup(net, **second) as inner:
        got = net(X)
    h = net.first(X)
    for plan in (outer.plan, inner.plan):
        w = plan.weight[:, None]
        h = w * h + (1 - w) * h[plan.partner]
    torch.testing.assert_close(got, net.second(h))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    net = nn.Sequential(nn.Linear(6, 5, dtype=dtype), nn.ReLU())
    with manifold_mixup(net, "0", generator=seeded()) as hidden:
        got = net(X.to(dtype))
    w, h = hidden.plan.weight[:, None], net[0](X.to(dtype)).double()
    wanted = (w * h + (1 - w) * h[hidden.plan.partner]).relu()
    assert got.dtype == dtype
    assert (got.double() - wanted).abs().max() <= torch.finfo(dtype).eps * h.abs().max()


# What is refused


def test_a_layer_that_is_called_twice_or_never_is_refused():
    shared = nn.Linear(6, 6)
    net = nn.Sequential(shared, nn.ReLU(), shared).double()
    with pytest.raises(RuntimeError, match=r"layer must be called once .* a second call of '0'"):
        call(net, X, "0")
    net = Net()
    with pytest.raises(RuntimeError, match=r"layer must be called by the module .*no call of 'spare'"):
        call(net, X, "spare")
    with manifold_mixup(net, "act") as hidden:
        with pytest.raises(RuntimeError, match="called within the block before its plan is read"):
            _ = hidden.plan
        net(X)
        with pytest.raises(RuntimeError, match="one plan belongs to one batch"):
            net(X)
    assert hooks_of(net) == 0


@pytest.mark.parametrize("layer", ["input", "act"])
def test_a_block_in_which_the_module_is_not_called_is_refused(layer):
    """Nothing would be mixed, and nothing would tell: no target, the wrong module, or `forward` without its hooks."""
    net, other = Net(), Net()
    for step in (lambda: None, lambda: other(X), lambda: net.forward(X)):
        if layer == "act" and step() is not None:
            continue  # the layer's own hook tells
        with (
            pytest.raises(RuntimeError, match=r"module must be called within the block, got no call.*forward\(\)"),
            manifold_mixup(net, layer),
        ):
            step()
    with pytest.raises(KeyError), manifold_mixup(net, layer):
        raise KeyError("what ended the block is told")
    assert hooks_of(net) == 0


def test_a_layer_that_puts_time_first_is_refused():
    with pytest.raises(ValueError, match=r"first axis is the batch of 4 clips.*batch_first=True"):
        call(Recurrent(), noise(4, 7, 6), "late", output=0)


def test_of_a_tuple_one_entry_is_mixed_or_the_layer_refused():
    net, x = Recurrent(), noise(4, 7, 6)
    with pytest.raises(ValueError, match=r"returns a Tensor.*tuple of 'rnn'.*output=0, output=1"):
        call(net, x, "rnn")
    for key in (2, "x"):
        with pytest.raises(ValueError, match=r"output must be the place of a Tensor"):
            call(net, x, "rnn", output=key)
    with manifold_mixup(net, "rnn", output=0, generator=seeded()) as hidden:
        got = net(x)
    w, h = hidden.plan.weight[:, None, None].float(), net.rnn(x)[0]
    rest = net.late(x.transpose(0, 1))[0].mean(0)
    torch.testing.assert_close(got, (w * h + (1 - w) * h[hidden.plan.partner]).mean(1) + rest)


class Named(nn.Module):
    def forward(self, x):
        return {"hidden": x * 2, "rest": x}


def test_of_a_mapping_one_entry_is_mixed():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Named()

        def forward(self, x):
            found = self.inner(x)
            return found["hidden"], found["rest"]

    net = Outer()
    with manifold_mixup(net, "inner", output="hidden", generator=seeded()) as hidden:
        mixed, rest = net(X)
    w = hidden.plan.weight[:, None]
    torch.testing.assert_close(mixed, 2 * (w * X + (1 - w) * X[hidden.plan.partner]))
    assert torch.equal(rest, X)
    with pytest.raises(ValueError, match=r"dict of 'inner': .*output='hidden', output='rest'"):
        call(net, X, "inner")


def test_wrong_arguments():
    net = Net()
    cases = [
        ({"layer": "frist"}, ValueError, "layer must be one of .* did you mean 'first'"),
        ({"layer": ["act", "act"]}, ValueError, "names of different layers"),
        ({"layer": []}, ValueError, "names of different layers"),
        ({"mixer": nn.ReLU()}, TypeError, "mixer must be a Mixer"),
        ({"layer": "act", "generator": 3}, TypeError, r"did you mean torch\.Generator\(\)\.manual_seed\(3\)"),
        ({"mask": torch.ones(8)}, ValueError, r"mask must be of shape \(B, N\)"),
        ({"mask": torch.full((8, 3), -1e9)}, ValueError, r"mask must be bool.* mask == 0"),
        ({"mask": torch.ones(8, 3), "mixer": CutMix()}, ValueError, "mask must be left out for CutMix, which cuts"),
        ({"mask": torch.ones(8, 3), "lengths": torch.ones(8).long()}, ValueError, "lengths must be left out"),
        ({"mixer": SpecAugment("mask", freq_width=2, time_axis=-2)}, ValueError, "time_axis"),
    ]
    for given, error, message in cases:
        with pytest.raises(error, match=message), manifold_mixup(net, **given):
            pass
    parallel = nn.DataParallel(net)
    with pytest.raises(TypeError, match="module must be a network of one process"), manifold_mixup(parallel):
        pass
    clash = nn.ModuleDict({"input": nn.ReLU()})
    with pytest.raises(ValueError, match="rename the layer"), manifold_mixup(clash):
        pass
    with pytest.raises(TypeError, match="with a Tensor, the batch"), manifold_mixup(net, "act"):
        net(3)
    with pytest.raises(ValueError, match="pass num_classes=K"), manifold_mixup(net, "act", target=LABEL):
        net(X)
    with pytest.raises(TypeError, match="progress must be given"), manifold_mixup(net, mixer=MixUp("linear:0:1")):
        net(X)
    with pytest.raises(ValueError, match=r"mask must be of 8 clips, as the batch is, got shape \(5, 3\)"):
        call(net, X, "input", mask=torch.ones(5, 3))
    with pytest.raises(ValueError, match=r"lengths must be within \[0, 6\]"):
        call(net, X, "input", lengths=torch.full((8,), 7))
    assert hooks_of(net) == 0
