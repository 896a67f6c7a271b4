"""MADAug: the unrolled step against one worked out by hand, straight-through gradients, and the course of the share."""

import math

import pytest
import torch
import torch.nn.functional as F
from sounds import seeded

from recipes import models
from recipes.training.mixing.madaug import MADAug, augmented_share, follow_gradient, jitter, search_loss

CLASSES, SIZE = 3, 8


class Linear(torch.nn.Module):
    """Logits (0, w x) of numbers x (B, 1): two classes, one weight."""

    def __init__(self, weight):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(weight))

    def forward(self, x):
        z = self.weight * x[:, 0]
        return torch.stack([torch.zeros_like(z), z], 1)


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def test_the_search_is_the_unrolled_step_worked_out_by_hand():
    # one clip u of class 1, one held-out clip v of class 1: with s = sigmoid, H(1, z) = log(1 + e^-z)
    w, u, v, lr = 0.3, 0.8, -1.1, 0.5
    x = torch.tensor([[u]], requires_grad=True)
    one = torch.tensor([1])
    loss = search_loss(Linear(w), x, one, torch.tensor([[v]]), one, 2, lr)
    g = -sigmoid(-w * u) * u  # dH/dw
    moved = w - lr * g
    assert float(loss.detach()) == pytest.approx(math.log1p(math.exp(-moved * v)), rel=1e-5)
    # dL/du = dL/dw' dw'/du, with dw'/du = lr d/du [s(-w u) u] = lr (s(-w u) - w u s(-w u) s(w u))
    outer = -sigmoid(-moved * v) * v
    inner = lr * (sigmoid(-w * u) - w * u * sigmoid(-w * u) * sigmoid(w * u))
    (found,) = torch.autograd.grad(loss, x)
    assert float(found) == pytest.approx(outer * inner, rel=1e-4)


def test_no_gradient_of_the_search_reaches_the_network():
    network, x = Linear(0.3), torch.tensor([[0.8]], requires_grad=True)
    loss = search_loss(network, x, torch.tensor([1]), torch.tensor([[1.0]]), torch.tensor([0]), 2, 0.1)
    loss.backward()
    assert network.weight.grad is None
    assert x.grad is not None


def test_a_long_gradient_is_scaled_to_length_five():
    x = torch.tensor([[100.0]], requires_grad=True)
    loss = search_loss(Linear(0.0), x, torch.tensor([1]), torch.tensor([[1.0]]), torch.tensor([1]), 2, 0.1)
    # the gradient is -50: the step is 0.1 x 5
    assert float(loss.detach()) == pytest.approx(math.log1p(math.exp(-0.5)), rel=1e-5)


def test_the_gradient_of_a_magnitude_is_one_in_every_cell():
    magnitude = torch.tensor([0.2, 0.9], requires_grad=True)
    changed = torch.randn(2, 1, 3, 5, generator=seeded(0))
    out = follow_gradient(changed, magnitude)
    torch.testing.assert_close(out.detach(), changed)
    weights = torch.randn(2, 1, 3, 5, generator=seeded(1))
    (out * weights).sum().backward()
    torch.testing.assert_close(magnitude.grad, weights.sum((1, 2, 3)))


def test_the_share_of_augmented_clips_rises_with_the_training():
    assert augmented_share(0.0) == pytest.approx(0.01)
    assert augmented_share(40 / 200) == pytest.approx(0.7716, abs=1e-4)
    shares = [augmented_share(i / 100) for i in range(101)]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_jitter_stays_in_zero_and_one_and_within_three_tenths():
    magnitudes = torch.rand(1000, 4, generator=seeded(0), dtype=torch.float64)
    found = jitter(magnitudes, seeded(1))
    assert bool(((found >= 0) & (found <= 1)).all())
    assert float((found - magnitudes).abs().max()) <= 0.3
    assert bool((found > magnitudes).any())
    assert bool((found < magnitudes).any())


CLIPS, LABELS = torch.randn(SIZE, 1, 32, 41, generator=seeded(1)), torch.arange(SIZE) % 2


def made(**options):
    network = models.build("resnet_small", CLASSES, seed=0, width=2)
    mixing = MADAug(**options)
    mixing.fit(-30.0, 15.0)
    mixing.setup(network, CLASSES, SIZE, 0)
    mixing.take_clips(lambda places: (CLIPS[places], LABELS[places]), LABELS)
    return network, mixing


def terms(network, mixing, progress=0.5, seed=0):
    return mixing.losses(network, CLIPS, LABELS, torch.arange(SIZE), progress=progress, generator=seeded(seed))


def test_the_search_reaches_the_policy_alone_and_training_the_network_alone():
    network, mixing = made()
    found = terms(network, mixing)
    policy = torch.autograd.grad(found["search"], list(mixing.policy.parameters()), retain_graph=True)
    assert all(bool(g.abs().max() > 0) for g in policy)
    weights = list(network.parameters())
    assert set(torch.autograd.grad(found["search"], weights, retain_graph=True, allow_unused=True)) == {None}
    reached = torch.autograd.grad(
        found["labelled"], list(mixing.policy.parameters()), allow_unused=True, retain_graph=True
    )
    assert set(reached) == {None}
    assert all(g is not None for g in torch.autograd.grad(found["labelled"], weights))


def test_the_search_leaves_weights_and_running_statistics_as_they_are():
    network, mixing = made()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    mixing._search(network, CLIPS[:4], LABELS[:4], seeded(0)).backward()
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert network.training


def test_the_policy_is_searched_from_the_first_step_and_every_few():
    network, mixing = made(every=3)
    searched = []
    for step in range(7):
        searched.append(float(terms(network, mixing, seed=step)["search"].detach()) > 0)
        mixing.after_step(network)
    assert searched == [True, False, False, True, False, False, True]


def test_held_out_clips_are_of_every_class_and_never_trained_on():
    network, mixing = made(validation=0.25)
    assert torch.bincount(LABELS[mixing.held_out]).tolist() == [1, 1]
    seen = []
    network.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    terms(network, mixing, progress=-0.002)  # no clip is augmented
    trained = seen[-1]
    assert torch.equal(trained, CLIPS[~mixing.held_out])


def test_the_search_is_measured_on_held_out_clips_alone():
    network, mixing = made(validation=0.25)
    seen = []
    network.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    free = (~mixing.held_out).nonzero()[:, 0]
    mixing._search(network, CLIPS[free], LABELS[free], seeded(0))
    measured = seen[-1]
    assert len(measured) == int(mixing.held_out.sum())
    assert all(any(torch.equal(x, clip) for clip in CLIPS[mixing.held_out]) for x in measured)


def test_a_batch_of_held_out_clips_alone_trains_nothing_and_moves_no_statistics():
    network, mixing = made(validation=0.25)
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    rows = mixing.held_out.nonzero()[:, 0]
    found = mixing.losses(network, CLIPS[rows], LABELS[rows], rows, progress=0.5, generator=seeded(0))
    sum(found.values()).backward()
    assert all(bool((p.grad == 0).all()) for p in network.parameters())
    assert all(torch.equal(buffer, before[name]) for name, buffer in network.named_buffers())


def test_a_search_without_held_out_clips_splits_the_batch():
    network, mixing = made(validation=0)
    seen = []
    network.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    mixing._search(network, CLIPS[:7], LABELS[:7], seeded(0))
    # an odd batch: three clips are unrolled, four measured
    assert [len(x) for x in seen] == [3, 3, 4]
    assert torch.equal(seen[-1], CLIPS[3:7])
    assert not torch.equal(seen[1], CLIPS[:3])


def test_weights_of_operations_sum_to_one_and_each_clip_goes_through_two_different_ones():
    network, mixing = made(drawn=2, validation=0)
    weights, magnitudes = mixing._policy(network, CLIPS, 1.0)
    torch.testing.assert_close(weights.sum(1), torch.ones(SIZE))
    assert bool(((magnitudes > 0) & (magnitudes < 1)).all())
    calls = []
    apply = mixing._change
    mixing._change = lambda op, x, level, g: (calls.append((type(op).__name__, len(x))), apply(op, x, level, g))[1]
    mixing._augment(network, CLIPS, 1.0, seeded(0))
    assert sum(size for _, size in calls) == 2 * SIZE
    half = next(i for i in range(len(calls)) if sum(s for _, s in calls[: i + 1]) == SIZE) + 1
    first = [name for name, _ in calls[:half]]
    assert len(set(first)) == len(first)


def test_operations_are_drawn_in_proportion_to_the_weights():
    network, mixing = made(drawn=1, validation=0, operations=("gain", "tilt", "contrast"), temperature=1.0)
    shares = torch.tensor([0.6, 0.3, 0.1])
    torch.nn.init.zeros_(mixing.policy.weight)
    with torch.no_grad():
        mixing.policy.bias.copy_(torch.cat([shares.log(), torch.zeros(3)]))
    counts = dict.fromkeys(("Gain", "Tilt", "Contrast"), 0)
    mixing._change = lambda op, x, level, g: (
        counts.__setitem__(type(op).__name__, counts[type(op).__name__] + len(x)),
        x,
    )[1]
    for seed in range(100):
        mixing._augment(network, CLIPS, 1.0, seeded(seed))
    found = torch.tensor([*counts.values()]) / sum(counts.values())
    torch.testing.assert_close(found, shares, atol=0.07, rtol=0)


def test_wrong_options_are_named():
    with pytest.raises(ValueError, match="operations must be those for spectrograms, got"):
        MADAug(operations=("gain", "reverb"))
    with pytest.raises(ValueError, match="inner_lr must be above 0"):
        MADAug(inner_lr=0)
    with pytest.raises(ValueError, match="drawn must be at most 1"):
        MADAug(operations=("gain",))
    mixing = MADAug()
    mixing._seed = 0
    with pytest.raises(ValueError, match="labelled must be two clips of a class or more"):
        mixing.take_clips(None, torch.arange(3))


def test_a_network_with_trained_parts_alone_is_unrolled():
    network, mixing = made(validation=0)
    for p in network.stem.parameters():
        p.requires_grad_(False)
    found = terms(network, mixing)
    assert bool(torch.isfinite(found["search"]))
    assert F.cross_entropy(network(CLIPS), LABELS).requires_grad
