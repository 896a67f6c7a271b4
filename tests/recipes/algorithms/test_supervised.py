import torch
import torch.nn.functional as F
from ssl_tables import CLASSES, A, B, C, Fixed, Table, labelled, losses, next_in, ready

from recipes import algorithms
from recipes.algorithms.supervised import Supervised

KNOWN = labelled([A, B, C], [1, 0, 2])


def test_labels_follow_their_mixed_clips():
    model = Table(0.7)
    found = losses(Supervised(CLASSES, Fixed()), model, KNOWN, None)
    ((seen, training, with_gradient),) = model.calls
    torch.testing.assert_close(seen, next_in(KNOWN.x))
    y = next_in(F.one_hot(KNOWN.target, CLASSES).float())
    expected = -(y * (0.7 * seen[:, 0, :, 0]).log_softmax(-1)).sum(-1).mean()
    torch.testing.assert_close(found["labelled"], expected)
    assert list(found) == ["labelled"]
    assert training
    assert with_gradient


def test_the_partner_may_have_the_larger_share_and_a_batch_has_one_weight():
    # clip i is 1 in band i: what it holds of itself can be read off
    mixer, own = algorithms.make_mixer("mixup", Supervised), []
    known = KNOWN._replace(x=torch.eye(3)[:, None, :, None].clone())
    for seed in range(40):
        model = Table()
        losses(Supervised(CLASSES, mixer), model, known, None, seed=seed)
        shares = model.calls[0][0][:, 0, :, 0].diagonal()
        assert shares.unique().numel() == 1
        own.append(shares[0].item())
    assert 8 < sum(share < 0.5 for share in own) < 32  # 20 expected, four deviations of 3.2; with the maximum none


def test_several_networks_learn_side_by_side_and_their_mean_is_reported():
    model, second = Table(0.7), Table(2.0)
    method = ready(Supervised(CLASSES, networks=2), model, lambda key: second)
    found = losses(method, model, KNOWN, None)["labelled"]
    logits = KNOWN.x[:, 0, :, 0]
    expected = F.cross_entropy(0.7 * logits, KNOWN.target) + F.cross_entropy(2 * logits, KNOWN.target)
    torch.testing.assert_close(found, expected)
    found.backward()
    assert model.scale.grad != 0
    assert second.scale.grad != 0
    mean = ((0.7 * logits).softmax(-1) + (2 * logits).softmax(-1)) / 2
    for network in (method.select_reported(model), method.select_averaged(model)):
        torch.testing.assert_close(network(KNOWN.x).softmax(-1), mean)
    alone = ready(Supervised(CLASSES), model)
    assert alone.select_reported(model) is alone.select_averaged(model) is model


def test_several_networks_have_first_weights_and_mixing_of_their_own():
    keys, model = [], Table()
    mixer = algorithms.make_mixer("mixup", Supervised)
    tables = [model, Table(), Table()]
    method = ready(Supervised(CLASSES, mixer, networks=3), model, lambda key: keys.append(key) or tables[len(keys)])
    losses(method, model, KNOWN, None)
    assert len(set(keys)) == 2
    first, second, third = (table.calls[0][0] for table in tables)
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)
