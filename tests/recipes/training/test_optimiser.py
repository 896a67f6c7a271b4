"""The steps of each optimiser, computed by hand, and what its options refuse."""

import pytest
import torch
from torch import nn

from recipes import algorithms
from recipes.semi_supervised.run_spec import configure
from recipes.training import checkpoint
from recipes.training.config import Config
from recipes.training.optimiser import make_optimiser

LR, DECAY, MU = 0.1, 0.5, 0.9
FACTOR = 2.0  # of the loss, so it is every gradient


class Two(nn.Module):
    """A kernel and a scale, both of them one number: 1."""

    def __init__(self):
        super().__init__()
        self.kernel = nn.Parameter(torch.ones(1, 1))
        self.scale = nn.Parameter(torch.ones(1))


def weights_after(steps, **fields):
    model = Two()
    optimiser = make_optimiser(Config(lr=LR, weight_decay=DECAY, **fields), [model])
    for _ in range(steps):
        optimiser.zero_grad()
        (FACTOR * (model.kernel + model.scale)).sum().backward()
        optimiser.step()
    return model.kernel.item(), model.scale.item()


def sgd_by_hand(steps, decay, sgd_momentum, nesterov):
    weight, velocity = 1.0, 0.0
    for _ in range(steps):
        gradient = FACTOR + decay * weight
        velocity = sgd_momentum * velocity + gradient
        weight -= LR * (gradient + sgd_momentum * velocity if nesterov else velocity)
    return weight


@pytest.mark.parametrize(("sgd_momentum", "nesterov"), [(MU, True), (MU, False), (0.0, False)])
@pytest.mark.parametrize("on", ["all", "kernels"])
@pytest.mark.parametrize("steps", [1, 3])
def test_sgd_takes_the_steps_of_its_equation(sgd_momentum, nesterov, on, steps):
    found = weights_after(steps, optimiser="sgd", sgd_momentum=sgd_momentum, nesterov=nesterov, weight_decay_on=on)
    decays = DECAY, DECAY if on == "all" else 0.0
    assert found == pytest.approx([sgd_by_hand(steps, decay, sgd_momentum, nesterov) for decay in decays])


def test_the_first_nesterov_step_in_numbers():
    # g' = 2 + 0.5 = 2.5, v = 2.5, w = 1 - 0.1 (2.5 + 0.9 * 2.5)
    assert weights_after(1, optimiser="sgd")[0] == pytest.approx(0.525)
    assert weights_after(1, optimiser="sgd", weight_decay_on="kernels")[1] == pytest.approx(1 - 0.1 * 1.9 * 2)


@pytest.mark.parametrize("on", ["all", "kernels"])
def test_adamws_first_step_is_the_learning_rate_and_its_decay_a_factor(on):
    kernel, scale = weights_after(1, optimiser="adamw", weight_decay_on=on)
    assert kernel == pytest.approx((1 - LR * DECAY) - LR)
    assert scale == pytest.approx((1 - LR * DECAY if on == "all" else 1) - LR)


def test_what_is_frozen_is_not_trained():
    model = Two()
    model.kernel.requires_grad_(False)
    for on in ("all", "kernels"):
        groups = make_optimiser(Config(optimiser="sgd", weight_decay_on=on), [model]).param_groups
        assert [p for group in groups for p in group["params"]] == [model.scale]


@pytest.mark.parametrize("on", ["all", "kernels"])
def test_momentum_goes_on_from_a_checkpoint(on):
    config = Config(optimiser="sgd", lr=LR, weight_decay=DECAY, weight_decay_on=on)

    def step(model, optimiser):
        optimiser.zero_grad()
        (FACTOR * (model.kernel + 3 * model.scale)).sum().backward()
        optimiser.step()

    whole = Two()
    optimiser = make_optimiser(config, [whole])
    step(whole, optimiser)
    saved = {k: v.clone() for k, v in checkpoint.gather({"model": whole}, optimiser).items()}
    step(whole, optimiser)

    resumed = Two()
    optimiser = make_optimiser(config, [resumed])
    checkpoint.restore(saved, {"model": resumed}, optimiser)
    step(resumed, optimiser)
    assert [p.item() for p in resumed.parameters()] == [p.item() for p in whole.parameters()]


def test_options_that_the_optimiser_does_not_read_are_refused():
    with pytest.raises(ValueError, match=r"sgd_momentum must be used with sgd, got 0.5 with adam"):
        Config(optimiser="adam", sgd_momentum=0.5)
    with pytest.raises(ValueError, match=r"nesterov must be used with sgd, got False with adamw"):
        Config(nesterov=False)
    with pytest.raises(ValueError, match=r"nesterov must be used with a momentum, got sgd_momentum 0"):
        Config(optimiser="sgd", sgd_momentum=0.0)
    with pytest.raises(ValueError, match=r"sgd_momentum"):
        Config(optimiser="sgd", sgd_momentum=1.5)
    with pytest.raises(ValueError, match=r"weight_decay_on must be"):
        Config(weight_decay_on="biases")


def test_another_optimiser_of_the_users_leaves_the_methods_momentum():
    configs = {"small": {"optimiser": "sgd", "sgd_momentum": 0.5}}
    kind = type("Plain", (algorithms.get("supervised"),), {"configs": configs})
    kind.name = classmethod(lambda cls: "supervised")
    assert configure("small", kind, {})[0].sgd_momentum == 0.5
    assert configure("small", kind, {}, lr=1.0)[0].sgd_momentum == 0.5
    assert configure("small", kind, {}, optimiser="adam")[0] == Config(optimiser="adam")
