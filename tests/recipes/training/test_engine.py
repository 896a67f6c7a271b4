"""The engine trains whatever is a recipe: here a line through points, with a factor that follows its loss."""

import csv

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from recipes.training import checkpoint, engine

CPU = Fabric(accelerator="cpu", devices=1)


class Factor:
    """Halves with every step: what is no module is saved too."""

    value = 1.0

    def state_dict(self):
        return {"value": self.value}

    def load_state_dict(self, state):
        self.value = state["value"]


class Line(engine.Recipe):
    seed, steps, every, log_every, clips = 0, 6, 3, 1, 4

    def __init__(self):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.network = nn.Linear(1, 1)
        self.factor, self.trained, self.modules = Factor(), [self.network], {"line": self.network}
        self.others, self.origin = {"factor": self.factor}, {"kind": "line"}
        self.optimiser = torch.optim.SGD(self.network.parameters(), lr=0.1, momentum=0.9)
        self.finished_with, self.norms = None, []

    def batch(self, step, generator):
        x = torch.rand(self.clips, 1, generator=generator)
        return x, 3 * x - 1

    def losses(self, batch, step, generator):
        x, y = batch
        return {"square": self.factor.value * (self.network(x) - y).square().mean()}

    def learning_rate(self, step):
        return 0.1 / (step + 1)

    def after_step(self):
        self.factor.value /= 2
        self.norms.append(float(torch.cat([p.grad.flatten() for p in self.network.parameters()]).norm()))

    def logs(self):
        return {"factor": torch.tensor(self.factor.value)}

    def evaluate(self):
        return {"error": self.network.bias.item()}

    def whole_batch(self, step):
        return {"x": torch.ones(self.clips, 1)}, {"clips": [f"point{i}" for i in range(self.clips)]}

    def finish(self, history):
        self.finished_with = len(history)


def train(out, recipe=None, **options):
    out.mkdir(exist_ok=True)
    engine.run(CPU, recipe or Line(), out, quiet=True, **options)
    with open(out / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def known(rows):
    return [{k: row[k] for k in ("step", "lr", "loss_square", "factor", "error")} for row in rows]


def test_rows_are_of_each_step_and_errors_of_each_evaluation(tmp_path):
    recipe, seen = Line(), []
    rows = train(tmp_path, recipe, on_row=lambda row: seen.append(row["step"]))
    assert [row["step"] for row in rows] == [*"123456"]
    assert [bool(row["error"]) for row in rows] == [False, False, True] * 2
    assert [float(row["lr"]) for row in rows] == [0.1 / i for i in range(1, 7)]
    assert seen == [3, 6]
    assert recipe.finished_with == 6
    recipe.log_every = 4
    (tmp_path / engine.CHECKPOINT).unlink()
    assert [row["step"] for row in train(tmp_path, recipe)] == [*"346"]


@pytest.mark.parametrize("step", [3, 6])
def test_it_goes_on_to_the_same_bits_and_what_is_no_module_too(tmp_path, step):
    def stop(row):
        if row["step"] == step:
            raise KeyboardInterrupt

    whole = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "part", on_row=stop)
    assert known(train(tmp_path / "part")) == known(whole)
    one, two = (checkpoint.load(tmp_path / name / engine.CHECKPOINT) for name in ("whole", "part"))
    assert all(torch.equal(one[0][name], two[0][name]) for name in one[0])
    assert one[1]["factor"] == two[1]["factor"] == {"value": 1 / 64}
    other = Line()
    other.origin = {"kind": "curve"}
    with pytest.raises(ValueError, match=r"the checkpoint .* must be of kind curve, got line"):
        train(tmp_path / "whole", other)


def test_a_gradient_is_clipped_before_the_step(tmp_path):
    free, bound = Line(), Line()
    bound.clip_norm = 0.01
    train(tmp_path / "free", free)
    train(tmp_path / "bound", bound)
    assert free.norms[0] > 0.02
    assert bound.norms[0] == pytest.approx(0.01, rel=1e-4)


def test_a_recipe_may_stop_early(tmp_path):
    recipe = Line()
    recipe.should_stop = lambda history: len(history) >= 2  # asked where there is an evaluation
    assert [row["step"] for row in train(tmp_path, recipe)] == [*"123"]
    assert recipe.finished_with == 3


def test_a_loss_that_is_not_finite_keeps_its_batch(tmp_path):
    recipe = Line()
    recipe.learning_rate = lambda step: float("inf") if step == 3 else 0.1
    with pytest.raises(FloatingPointError, match=r"loss_square is nan at step 5.*nan-step5\.safetensors"):
        train(tmp_path, recipe)
    tensors, about = checkpoint.load(tmp_path / "nan-step5.safetensors")
    assert tensors["x"].shape == (4, 1)
    assert about["ids"] == {"clips": ["point0", "point1", "point2", "point3"]}
    assert checkpoint.load(tmp_path / engine.CHECKPOINT)[1]["history"][-1]["step"] == 3
