import copy

import pytest
import torch
from sounds import noise, seeded
from torch import nn

from audiomix import FreqMixStyle, MixLayer, MixStyle, MixUp

X = noise(6, 1, 12, 30)


def test_a_layer_gives_what_its_mixer_does_and_nothing_in_eval():
    first = nn.Conv2d(1, 4, 3)
    net = nn.Sequential(first, MixLayer(MixStyle(1.0, p=1.0), generator=seeded()), nn.ReLU())
    wanted = MixStyle(1.0, p=1.0)(first(X), generator=seeded()).x.relu()
    assert torch.equal(net(X), wanted)
    assert not torch.equal(net(X), wanted)  # another draw
    assert torch.equal(net.eval()(X), first(X).relu())
    state = torch.get_rng_state()
    net(X)
    assert torch.equal(torch.get_rng_state(), state)
    assert set(net.state_dict()) == {"0.weight", "0.bias"}


def test_a_copy_draws_the_same_and_on_its_own():
    layer = MixLayer(FreqMixStyle(1.0, p=1.0), generator=seeded())
    twin = copy.deepcopy(layer)
    assert torch.equal(layer(X), twin(X))
    layer(X)
    assert torch.equal(twin(X), copy.deepcopy(twin) and layer.mixer(X, generator=_after(1)).x)
    assert repr(MixLayer(MixStyle())) == "MixLayer(mixer=MixStyle())"


def _after(calls):
    """A generator in the state in which so many calls of the layer leave it."""
    generator = seeded()
    for _ in range(calls):
        FreqMixStyle(1.0, p=1.0)(X, generator=generator)
    return generator


def test_gradients_and_lengths():
    x = X.clone().requires_grad_()
    lengths = torch.tensor([30, 11, 2, 30, 7, 1])
    got = MixLayer(FreqMixStyle(1.0, p=1.0), generator=seeded())(x, lengths)
    assert torch.equal(got[1, ..., 11:], x[1, ..., 11:])
    got.square().sum().backward()
    assert x.grad.isfinite().all()


def test_mixers_that_mix_labels_or_have_a_schedule_are_refused():
    with pytest.raises(ValueError, match="keeps the label, got MixUp.*manifold_mixup"):
        MixLayer(MixUp())
    with pytest.raises(ValueError, match="without a schedule, got p='linear:0:1:1'"):
        MixLayer(MixStyle(p="linear:0:1"))
    with pytest.raises(TypeError, match="mixer must be a Mixer"):
        MixLayer(nn.ReLU())
    with pytest.raises(TypeError, match="generator must be"):
        MixLayer(MixStyle(), generator=1)
