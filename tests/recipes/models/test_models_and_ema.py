import re

import pytest
import torch
from torch import nn

from recipes import models
from recipes.training.ema import EMA

# the other one takes embeddings: tests/recipes/models/test_mlp.py
SPECTROGRAM_NETWORKS = [name for name in models.available() if name != "mlp"]


@pytest.mark.parametrize(
    ("name", "classes", "count"),
    [("resnet_small", 10, 303_962), ("wide_resnet", 10, 1_471_978), ("wide_resnet", 35, 1_475_203)],
)
def test_networks_have_the_published_number_of_parameters(name, classes, count):
    assert models.parameters(models.build(name, classes, seed=0)) == count


@pytest.mark.parametrize("name", SPECTROGRAM_NETWORKS)
def test_a_network_gives_logits_for_any_size_and_trains(name):
    network = models.build(name, 7, seed=0)
    for shape in ((2, 1, 32, 41), (3, 1, 64, 216)):
        logits = network(torch.randn(shape))
        assert logits.shape == (shape[0], 7)
    logits.sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())


@pytest.mark.parametrize("name", SPECTROGRAM_NETWORKS)
def test_the_first_weights_depend_on_the_seed_alone(name):
    state = torch.get_rng_state()
    first, again, other = (models.build(name, 10, seed=s).state_dict() for s in (0, 0, 1))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["stem.0.weight"], other["stem.0.weight"])


def test_a_short_sound_in_a_long_silence_counts_with_the_largest_value_over_time():
    maps = torch.zeros(1, 2, 4, 50)
    maps[0, 0, :, 7], maps[0, 1] = 1.0, 1.0  # one frame in all four bands; everywhere
    for pool, expected in (("mean_max", [1.02, 2.0]), ("mean", [0.02, 1.0])):
        network = models.build("resnet_small", 3, seed=0, width=2, pool=pool)
        network.stem = network.blocks = nn.Identity()
        assert network.features(maps)[0].tolist() == pytest.approx(expected)
    with pytest.raises(ValueError, match="pool must be one of mean_max, mean, got 'max'"):
        models.build("resnet_small", 3, seed=0, pool="max")


@pytest.mark.parametrize(
    ("name", "option", "message"),
    [
        ("resnet_small", {"width": 0}, "width must be an integer of at least 1, got 0"),
        ("resnet_small", {"width": 2.5}, "width must be an integer of at least 1, got 2.5"),
        ("resnet_small", {"width": 16000}, r"width must be a number in \[1, 1024\], got 16000"),
        ("resnet_small", {"stem": 3}, r"stem must be two whole numbers, along frequency and time, got 3: \(3, 3\)\?"),
        ("resnet_small", {"stem": (3, 5, 1)}, r"stem must be two whole numbers.* got \(3, 5, 1\)"),
        ("resnet_small", {"stem": (3, 0)}, "stem must be an integer of at least 1, got 0"),
        ("resnet_small", {"stride": (0, 4)}, "stride must be an integer of at least 1, got 0"),
        ("resnet_small", {"stride": "ab"}, "stride must be two whole numbers.* got 'ab'"),
        ("wide_resnet", {"widen": 0}, "widen must be an integer of at least 1, got 0"),
        ("wide_resnet", {"widen": "two"}, "widen must be an integer of at least 1, got 'two'"),
        ("wide_resnet", {"depth": 0}, "depth must be an integer of at least 1, got 0"),
        ("wide_resnet", {"depth": 65}, r"depth must be a number in \[1, 64\], got 65"),
    ],
)
def test_an_option_out_of_range_is_reported_by_its_name(name, option, message):
    ((key, value),) = option.items()
    with pytest.raises(ValueError, match=rf"^model_options must be .* {name} .* got {key}=.*: {message}"):
        models.build(name, 3, seed=0, **option)
    unread = rf"^the option {key} of model {name} must be .*, got {re.escape(repr(str(value)))}$"
    with pytest.raises(ValueError, match=f"{message}|{unread}"):
        models.options(name, (f"{key}={value}",))


@pytest.mark.parametrize(
    ("name", "option", "shape"),
    [
        ("resnet_small", {"stem": (1, 1), "stride": (1, 1), "width": 1}, (2, 1, 1, 1)),
        ("resnet_small", {"stem": [4, 2], "stride": (512, 3), "width": 3}, (2, 1, 5, 9)),
        ("resnet_small", {"stem": (511, 512), "width": 1}, (2, 1, 7, 11)),
        ("wide_resnet", {"widen": 1, "depth": 1}, (2, 1, 3, 2)),
    ],
)
def test_options_at_the_ends_of_their_ranges_are_taken(name, option, shape):
    network = models.build(name, 4, seed=0, **models.options(name, tuple(f"{k}={v}" for k, v in option.items())))
    assert network.eval()(torch.randn(shape)).shape == (2, 4)


def test_convolutions_start_with_hes_deviation():
    weight = models.build("wide_resnet", 10, seed=0).stages[2][1].conv1.weight
    assert weight.std().item() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.02)


def moved(network, value):
    with torch.no_grad():
        for p in network.parameters():
            p.fill_(value)
        network[1].running_mean.fill_(value)
        network[1].num_batches_tracked.fill_(int(value))


@pytest.fixture
def network():
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    moved(network, 0)
    return network


def test_the_average_starts_quickly_and_ends_at_its_decay(network):
    ema, expected = EMA(network, 0.5), 0.0
    for i in range(20):
        moved(network, float(i))
        ema.update(network)
        decay = min(0.5, (1 + i) / (10 + i))
        expected = decay * expected + (1 - decay) * i
    for value in (*ema.average.parameters(), ema.average[1].running_mean):
        torch.testing.assert_close(value, torch.full_like(value, expected))
    assert min(0.5, (1 + 19) / (10 + 19)) == 0.5


def test_batches_seen_are_copied_not_averaged(network):
    ema = EMA(network, 0.9)
    moved(network, 7)
    ema.update(network)
    assert ema.average[1].num_batches_tracked == 7


def test_the_average_is_a_copy_that_is_never_trained_and_evaluates(network):
    ema = EMA(network, 0.9)
    moved(network, 3)
    assert not any(p.any() for p in ema.average.parameters())
    assert not any(p.requires_grad for p in ema.parameters())
    assert not ema.average.training


def test_averaging_changes_nothing_in_the_model(network):
    # a well-known port decays weights, biases and running statistics while it averages
    moved(network, 3.0)
    ema, before = EMA(network, 0.9), {name: x.clone() for name, x in network.state_dict().items()}
    for _ in range(2):
        ema.update(network)
    assert all(torch.equal(x, before[name]) for name, x in network.state_dict().items())
    assert all(p.requires_grad for p in network.parameters())
    assert network.training


def test_an_average_goes_on_from_its_state(network):
    first = EMA(network, 0.9)
    moved(network, 1.0)
    first.update(network)
    second = EMA(network, 0.9)
    second.load_state_dict(first.state_dict())
    for ema in (first, second):
        moved(network, 2.0)
        ema.update(network)
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values()))
    assert second.updates == 2
