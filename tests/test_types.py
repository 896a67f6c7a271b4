"""What type checkers and a compiler see of the public names."""

import json
import re

import pytest
import torch
from laws import CLASSES, batch, frames, wants_second, with_classes

import audiomix
from audiomix import OneOf, mixers

SCRIPT = """
import torch
import audiomix
from audiomix import CutMix, MixUp, Pipeline
x, y = torch.zeros(2, 1, 8), torch.arange(2)
mixer = MixUp(0.4, num_classes=2)
reveal_type(mixer)  # MixUp
reveal_type(mixer(x, y))  # Mixed
reveal_type(mixer(x, y).x)  # Tensor
reveal_type(mixer.replace(alpha=1.0))  # MixUp
reveal_type(Pipeline([mixer]))  # Pipeline
reveal_type(Pipeline([mixer])(x, y))  # Mixed
reveal_type(audiomix.audio.io.read)  # Clip
reveal_type(audiomix.mixers.get("mixup"))  # type[Mixer
mixer(x, target=3)  # error
mixer(x, generator=0)  # error
CutMix("tiem")  # error
MixUp(alhpa=1)  # error
audiomix.audio.io.raed  # error
from audiomix import Mixup  # error
"""
KINDS = [*(mixers.get(name) for name in mixers.available()), OneOf]
MODULES = sorted(
    n for n in audiomix.__all__ if isinstance(c := getattr(audiomix, n), type) and issubclass(c, torch.nn.Module)
)


def seen_by_mypy(installed, folder):
    options = ["--strict", "--config-file=", "--show-error-end", "--cache-dir", str(folder / "cache")]
    text = installed("python", "-m", "mypy", *options, "user.py", cwd=folder, status=1)
    found = re.findall(r"^user\.py:(\d+):\S* (note: Revealed type is|error:) (.*)", text, re.MULTILINE)
    return [(int(line), "error" in kind, message) for line, kind, message in found]


def seen_by_pyright(installed, folder):
    options = {"include": ["user.py"], "typeCheckingMode": "strict", "reportUnusedExpression": False}
    (folder / "pyrightconfig.json").write_text(json.dumps(options))
    python = ["--pythonpath", str(installed.python), "--outputjson"]
    text = installed("python", "-m", "basedpyright", *python, cwd=folder, status=1)
    found = json.loads(text[text.index("{") :])["generalDiagnostics"]
    return [
        (d["range"]["start"]["line"] + 1, d["severity"] == "error", d["message"].split(" is ", 1)[-1]) for d in found
    ]


@pytest.mark.slow
@pytest.mark.parametrize("seen_by", [seen_by_mypy, seen_by_pyright])
def test_a_type_checker_knows_the_public_names(seen_by, installed, tmp_path):
    calls = [f"reveal_type(audiomix.{name}.{call})" for name in MODULES for call in ("__call__", "forward")]
    lines = [*SCRIPT.splitlines(), *calls]
    (tmp_path / "user.py").write_text("\n".join(lines) + "\n")
    found = seen_by(installed, tmp_path)
    wrong = {number for number, is_error, _ in found if is_error}
    assert wrong == {number for number, line in enumerate(lines, 1) if line.endswith("# error")}, found
    types = {number: re.sub(r"[\w.]+\.(?=\w)", "", text) for number, is_error, text in found if not is_error}
    for number, line in enumerate(lines, 1):
        if "  # " in line and number not in wrong:
            assert types[number].rstrip('"]').endswith(line.rpartition("  # ")[2]), types[number]
    called = [types[number] for number, line in enumerate(lines, 1) if line in calls]
    assert called[::2] == called[1::2]
    assert len(called) == 2 * len(MODULES)
    assert not any("Any]" in text or "-> Any" in text for text in called)


@pytest.mark.slow
def test_a_training_step_with_any_mixer_is_compiled_in_two_graphs():
    """The draw is the one declared break; other lengths and other draws do not compile anew."""
    breaks, graphs, counters = {}, {}, torch._dynamo.utils.counters

    def inputs(example, seed):
        x, generator = batch(example, CLASSES, seed=seed), torch.Generator().manual_seed(seed)
        given = {"lengths": torch.randint(frames(example) // 2, frames(example) + 1, (CLASSES,), generator=generator)}
        if wants_second(example):
            given |= {"other": batch(example, CLASSES, seed=9), "other_lengths": given["lengths"]}
        return x, torch.arange(CLASSES), generator, given

    made = [example for kind in KINDS for example in kind.examples() if example.compiles]
    for example in [e for e in made if not e.mixer.needs.notes and e.mixer.needs.length == "kept"]:
        mixer, name = with_classes(example), repr(example.mixer)

        def step(x, y, generator, given, mixer=mixer):
            mixed = mixer(2 * x, y, generator=generator, **given)
            return mixed.x.tanh().sum(-1), mixed.target

        torch._dynamo.reset()
        reasons = torch._dynamo.explain(step)(*inputs(example, 0)).break_reasons
        breaks[name] = [reason.user_stack[-1].name for reason in reasons]
        torch._dynamo.reset()
        counters.clear()
        compiled, graphs[name] = torch.compile(step, backend="eager"), []
        for seed in range(6):
            for got, expected in zip(compiled(*inputs(example, seed)), step(*inputs(example, seed))):
                torch.testing.assert_close(got, expected)
            graphs[name].append(counters["stats"]["unique_graphs"])
    assert {name: found for name, found in breaks.items() if found != ["forward"]} == {}
    # one more where a size of the plan turned out to vary, and one for each member of OneOf
    assert {name: counts for name, counts in graphs.items() if counts[-1] > counts[0] + 1 + ("OneOf" in name)} == {}
    assert len(breaks) > 30
