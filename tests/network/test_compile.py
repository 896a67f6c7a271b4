"""What holds with `torch.compile`, with processes of `torch.distributed`, and with checkpoints."""

import subprocess
import sys

import pytest
import torch
from sounds import noise, seeded
from torch import nn
from torch.utils.checkpoint import checkpoint

from audiomix import FreqMixStyle, MixLayer, MixUp, manifold_mixup
from audiomix.draw import generator_for

X = noise(6, 8)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))


@pytest.fixture(autouse=True)
def _fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def mixed_by(net, x, layer, **given):
    with manifold_mixup(net, layer, generator=seeded(), **given) as hidden:
        out = net(x)
    return out, hidden


def test_hooks_that_a_compiled_network_does_not_see_are_noticed():
    net = network()
    compiled = torch.compile(net, backend="eager")
    compiled(X)
    with pytest.raises(RuntimeError, match="no call of '1': a compiled module does not see hooks"):
        mixed_by(compiled, X, "1")
    wanted, _ = mixed_by(net, X, "input")
    got, _ = mixed_by(compiled, X, "input")  # in front of the graph
    torch.testing.assert_close(got, wanted)


def test_compiled_within_the_block_layers_are_mixed():
    net = network()
    wanted, plain = mixed_by(net, X, "1", target=torch.eye(6))
    with manifold_mixup(net, "1", target=torch.eye(6), generator=seeded()) as hidden:
        got = torch.compile(net, backend="eager")(X)
    torch.testing.assert_close(got, wanted)
    assert torch.equal(hidden.target, plain.target)


def test_a_graph_that_looks_at_hooks_is_made_anew(monkeypatch):
    monkeypatch.setattr(torch._dynamo.config, "skip_nnmodule_hook_guards", False)
    net = network()
    compiled = torch.compile(net, backend="eager")
    clean = compiled(X)
    for layer in ("0", "1"):
        wanted, _ = mixed_by(net, X, layer)
        got, _ = mixed_by(compiled, X, layer)
        torch.testing.assert_close(got, wanted)
        torch.testing.assert_close(compiled(X), clean)


def test_a_layer_of_style_is_compiled_with_its_network():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), MixLayer(FreqMixStyle(1.0, p=1.0), generator=seeded()))
    x = noise(4, 1, 12, 20)
    wanted = net(x)
    net[1].generator.manual_seed(0)
    torch.testing.assert_close(torch.compile(net, backend="eager")(x), wanted)
    torch.testing.assert_close(torch.compile(net.eval(), backend="eager", fullgraph=True)(x), net[0](x))


class Checkpointed(nn.Module):
    def __init__(self, inner, reentrant):
        super().__init__()
        self.inner, self.reentrant = inner, reentrant

    def forward(self, x):
        return checkpoint(self.inner, x, use_reentrant=self.reentrant)


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoints(reentrant):
    """Outside of one a layer has the gradients it has without; within it would be run again without its hook."""
    first, inner = network()[0], network()
    found = []
    for rest in (Checkpointed(inner, reentrant), inner):
        out, _ = mixed_by(nn.Sequential(first, rest), X, "0")
        first.zero_grad()
        out.square().sum().backward()
        found.append(first.weight.grad.clone())
    torch.testing.assert_close(*found)
    net = nn.Sequential(first, Checkpointed(inner, reentrant))
    if reentrant:
        with pytest.raises(RuntimeError, match=r"layer must be outside of torch\.utils\.checkpoint, got '1\.inner\.0'"):
            mixed_by(net, X, "1.inner.0")
    else:
        out, _ = mixed_by(net, X, "1.inner.0")
        with pytest.raises(RuntimeError, match="different number of tensors"):
            out.square().sum().backward()
    with torch.no_grad():  # a frozen network is no checkpoint
        mixed_by(nn.Sequential(first, inner), X, "1.0")


SCRIPT = """
import torch, torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from audiomix import MixUp, manifold_mixup
from audiomix.draw import generator_for

dist.init_process_group("gloo")
rank = dist.get_rank()
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))
parallel = DistributedDataParallel(net)
x, label = torch.randn(2, 3, 6, 8)[rank], torch.arange(6) % 3
for step in range(3):
    draws = generator_for(0, step, rank)
    mixer = MixUp(2.0, num_classes=3)
    with manifold_mixup(parallel, ["input", "0", "1"], mixer, target=label, generator=draws) as hidden:
        loss = nn.functional.cross_entropy(parallel(x[step]), hidden.target)
    net.zero_grad()
    loss.backward()
    grads = torch.cat([p.grad.flatten() for p in net.parameters()])
    with open(f"rank{rank}.txt", "a") as file:  # lines of two processes on one stdout can run into each other
        print(f"rank {rank} step {step} {hidden.layer} {hidden.plan.to_json()} {grads.sum():.6f}", file=file)
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_draw_their_own_layers_and_plans_and_share_gradients(tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "train.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = [(tmp_path / f"rank{rank}.txt").read_text().splitlines() for rank in (0, 1)]
    rows = [line.split(" ", 4) for line in lines[0] + lines[1]]
    assert len(rows) == 6
    for (_, rank, _, step, mine), (_, other, _, _, theirs) in zip(rows[:3], rows[3:]):
        assert (rank, other) == ("0", "1")
        drawn, gradient = mine.rsplit(" ", 1)
        assert drawn.split(" ", 1)[1] != theirs.rsplit(" ", 1)[0].split(" ", 1)[1]
        assert gradient == theirs.rsplit(" ", 1)[1]  # the mean over both
        # what a rank draws it draws without the other
        torch.manual_seed(0)
        net, draws = network(), generator_for(0, int(step), 0)
        with manifold_mixup(net, ["input", "0", "1"], MixUp(2.0), generator=draws) as hidden:
            net(noise(6, 8))
        assert drawn == f"{hidden.layer} {hidden.plan.to_json()}"
