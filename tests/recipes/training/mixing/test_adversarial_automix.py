"""Adversarial AutoMix: masks, labels, the teacher, and which weights each term reaches and in which direction."""

import pytest
import torch
from sounds import seeded

from recipes import models
from recipes.training.mixing.adversarial_automix import AdversarialAutoMix, MaskGenerator, find_map_layer

CLASSES, SIZE = 3, 6


@pytest.fixture
def batch():
    return torch.randn(SIZE, 1, 32, 41, generator=seeded(1)), torch.arange(SIZE) % CLASSES, torch.arange(SIZE)


def build(seed=0):
    return models.build("resnet_small", CLASSES, seed=seed, width=2)


def made(network, **options):
    mixing = AdversarialAutoMix(**options)
    mixing.setup(network, CLASSES, SIZE, 0)
    return mixing


def gradients(loss, module):
    parameters = [p for p in module.parameters() if p.requires_grad]
    found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return [g for g in found if g is not None]


@pytest.mark.parametrize("sources", [2, 3, 4])
def test_masks_sum_to_one_in_every_cell(sources):
    maps = torch.randn(SIZE, 8, 3, 5, generator=seeded(0))
    rows = torch.stack([torch.arange(SIZE).roll(n) for n in range(sources)])
    masks = MaskGenerator(8)(maps, rows, (12, 20))
    assert masks.shape == (SIZE, sources, 12, 20)
    assert bool((masks >= 0).all())
    torch.testing.assert_close(masks.sum(1), torch.ones(SIZE, 12, 20))


def test_each_clip_attends_to_the_others_alone():
    # one cell, so that attention is 1 and the sum over the others is that of their values
    generator = MaskGenerator(1)
    with torch.no_grad():
        generator.value.weight.fill_(1.0)
        generator.value.bias.fill_(0.0)
    maps = torch.tensor([1.0, 2.0, 5.0]).view(3, 1, 1, 1)
    rows = torch.tensor([[0], [1], [2]])
    masks = generator(maps, rows, (2, 2))[0, :, 0, 0]
    torch.testing.assert_close(masks, torch.tensor([2.0 + 5.0, 1.0 + 5.0, 1.0 + 2.0]).softmax(0))


def test_attention_is_that_of_each_cell_to_all_cells_of_another_clip():
    generator = MaskGenerator(4)
    maps = torch.randn(SIZE, 4, 2, 3, generator=seeded(0))
    rows = torch.stack([torch.arange(SIZE), torch.arange(SIZE).roll(1)])
    masks = generator(maps, rows, (2, 3)).detach()  # of the maps' size: nothing is interpolated
    q, k, v = (part(maps).detach().flatten(2).double() for part in (generator.query, generator.key, generator.value))
    for i in range(SIZE):
        logits = []
        for n, m in ((0, 1), (1, 0)):
            a, b = int(rows[n, i]), int(rows[m, i])
            cells = []
            for cell in range(6):
                scores = torch.stack([(q[a, :, cell] * k[b, :, other]).sum() / 2**0.5 for other in range(6)])
                weights = scores.exp() / scores.exp().sum()
                cells.append((weights * v[b, 0]).sum())
            logits.append(torch.stack(cells))
        expected = torch.stack(logits).softmax(0).view(2, 2, 3)
        torch.testing.assert_close(masks[i].double(), expected, atol=1e-5, rtol=1e-4)


def test_each_term_reaches_the_weights_that_it_is_for(batch):
    network = build()
    mixing = made(network, margin=0.0)  # masks, whatever the ratios
    for step in range(2):
        mixing.updates.fill_(step)
        found = mixing.losses(network, *batch, progress=0.5, generator=seeded(0))
        for name in ("labelled", "clean", "plain"):
            assert gradients(found[name], network), name
            assert gradients(found[name], mixing.generator) == [], name
        assert gradients(found["generator"], network) == []
        assert any(bool(g.abs().max() > 0) for g in gradients(found["generator"], mixing.generator))
        assert not any(p.requires_grad for p in mixing.teacher.parameters())


def test_even_steps_raise_the_cross_entropy_and_lower_the_cosine_odd_ones_lower_the_cross_entropy(batch):
    found = {}
    for name, step, beta in (("cosine", 0, 0.0), ("entropy", 0, 1.0), ("odd", 1, 0.3), ("even", 0, 0.3)):
        network = build()  # a step of training moves its running statistics
        mixing = made(network, beta=beta)
        mixing.updates.fill_(step)
        loss = mixing.losses(network, *batch, progress=0.0, generator=seeded(0))["generator"]
        found[name] = (float(loss), torch.cat([g.flatten() for g in gradients(loss, mixing.generator)]))
    assert found["odd"][0] > 0
    assert found["entropy"][0] == pytest.approx(-found["odd"][0])
    torch.testing.assert_close(found["entropy"][1], -found["odd"][1])
    assert -1 <= found["cosine"][0] <= 1
    assert found["even"][0] == pytest.approx(0.7 * found["cosine"][0] - 0.3 * found["odd"][0], abs=1e-5)
    torch.testing.assert_close(found["even"][1], 0.7 * found["cosine"][1] - 0.3 * found["odd"][1], atol=1e-5, rtol=1e-3)


def test_the_label_says_what_was_mixed(batch):
    x, target, _ = batch
    mixing = made(build())
    y = torch.nn.functional.one_hot(target, CLASSES).float()
    rows = torch.stack([torch.arange(SIZE), torch.arange(SIZE).roll(1), torch.arange(SIZE).roll(2)])
    masks = torch.rand(SIZE, 3, 32, 41, generator=seeded(2)).softmax(1)
    shares = torch.tensor([0.6, 0.3, 0.1])
    mixed, label = mixing._mix(x, y, rows, masks, shares)
    for i in range(SIZE):
        sound = sum(masks[i, n] * x[rows[n, i], 0] for n in range(3))
        torch.testing.assert_close(mixed[i, 0], sound)
        torch.testing.assert_close(label[i], sum(masks[i, n].mean() * y[rows[n, i]] for n in range(3)))
    mixing.label = "drawn"
    _, label = mixing._mix(x, y, rows, masks, shares)
    torch.testing.assert_close(label[0], sum(shares[n] * y[rows[n, 0]] for n in range(3)))


def test_where_a_ratio_is_small_the_classifier_gets_plain_mixes(batch):
    for margin in (0.0, 1.0):
        network, calls = build(), []
        mixing = made(network, margin=margin)
        network.register_forward_hook(lambda _, given, __, calls=calls: calls.append(given[0]))
        mixing.losses(network, *batch, progress=0.0, generator=seeded(0))
        mixed, clean, plain = calls[0].chunk(3)
        assert torch.equal(clean, batch[0])
        assert torch.allclose(mixed, plain) is (margin == 1.0)


def test_the_teacher_is_a_running_average(batch):
    network = build()
    mixing = made(network, decay=0.5, last_decay=0.9)
    before = [t.clone() for t in mixing.teacher.parameters()]
    with torch.no_grad():
        for p in network.parameters():
            p.add_(1.0)
    # the first steps have the decay (1 + i) / (10 + i)
    mixing.after_step(network)
    for old, new in zip(before, mixing.teacher.parameters()):
        torch.testing.assert_close(new, old + 0.9)
    assert int(mixing.updates) == 1
    # later ones a cosine from 0.5 to 0.9: half of the way in the middle
    mixing.updates.fill_(1000)
    mixing._progress = 0.5
    mixing.after_step(network)
    for old, new in zip(before, mixing.teacher.parameters()):
        torch.testing.assert_close(new, old + 1 - 0.1 * 0.7)


def test_the_teacher_stays_in_eval_mode():
    mixing = made(build())
    mixing.train()
    assert mixing.training
    assert not mixing.teacher.training


def test_two_sources_are_the_clip_and_another(batch):
    mixing = made(build(), sources=2)
    rows, shares = mixing._draw(SIZE, batch[0], seeded(0))
    assert rows[0].tolist() == list(range(SIZE))
    assert sorted(rows[1].tolist()) == list(range(SIZE))
    assert float(shares.sum()) == pytest.approx(1)
    rows, shares = made(build())._draw(SIZE, batch[0], seeded(0))
    assert all(sorted(row) == list(range(SIZE)) for row in rows.tolist())
    assert float(shares.sum()) == pytest.approx(1)


def test_the_map_is_the_last_one_of_the_size_before_the_last():
    network = models.build("resnet_small", CLASSES, seed=0, width=2).eval()
    name, channels = find_map_layer(network)
    assert name.startswith("blocks.1")
    assert channels == 8  # four times the width
    assert find_map_layer(network, "stem") == ("stem", 2)
    with pytest.raises(ValueError, match="layer must be a module whose output is"):
        find_map_layer(network, "head")
