"""What a type checker and a compiler see of the public names."""

import re
import subprocess
import sys

import pytest
import torch
from sounds import ROOT

from audiomix import MixUp

SCRIPT = """
import torch
import audiomix
from audiomix import CutMix, MixUp, Pipeline
x, y = torch.zeros(2, 1, 8), torch.arange(2)
mixer = MixUp(0.4, num_classes=2)
reveal_type(mixer)
reveal_type(mixer(x, y))
reveal_type(mixer(x, y).x)
reveal_type(mixer.replace(alpha=1.0))
reveal_type(Pipeline([mixer]))
reveal_type(audiomix.audio.io.read)
CutMix("tiem")
MixUp(alhpa=1)
from audiomix import Mixup
"""


@pytest.mark.slow
def test_a_type_checker_knows_the_public_names(tmp_path):
    (tmp_path / "user.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", tmp_path / "cache", "user.py"]
    env = {"MYPYPATH": str(ROOT), "PATH": ""}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("user.py")]
    types = re.findall(r'Revealed type is "([^"]*)"', "\n".join(lines))
    ends = ["mixup.MixUp", "Mixed]", "Tensor", "mixup.MixUp", "pipeline.Pipeline", "-> audiomix.audio.clip.Clip"]
    assert [t.endswith(end) for t, end in zip(types, ends, strict=True)] == [True] * 6, types
    errors = [line for line in lines if " error: " in line]
    assert len(errors) == 3, errors
    assert 'Argument 1 to "CutMix" has incompatible type' in errors[0]
    assert 'Unexpected keyword argument "alhpa" for "MixUp"' in errors[1]
    assert 'has no attribute "Mixup"' in errors[2]


@pytest.mark.slow
def test_a_training_step_with_a_mixer_is_compiled_in_two_graphs():
    """The draw is the one declared break; other lengths and other draws do not compile anew."""
    mixer, net = MixUp(0.4, num_classes=10), torch.nn.Linear(100, 10)

    def step(x, y, generator, lengths):
        mixed = mixer(2 * x, y, generator=generator, lengths=lengths)
        return net(mixed.x).sum(), mixed.target

    def inputs(seed):
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(8, 1, 100), torch.arange(8), generator, torch.randint(1, 100, (8,))

    torch._dynamo.reset()
    explained = torch._dynamo.explain(step)(*inputs(0))
    assert [reason.user_stack[-1].name for reason in explained.break_reasons] == ["forward"], explained.break_reasons
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = torch.compile(step, backend="eager")
    graphs = []
    for seed in range(4):
        x, y, generator, lengths = inputs(seed)
        again = torch.Generator().manual_seed(seed)
        for got, expected in zip(compiled(x, y, generator, lengths), step(x, y, again, lengths)):
            torch.testing.assert_close(got, expected)
        graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert len(set(graphs[1:])) == 1, graphs
