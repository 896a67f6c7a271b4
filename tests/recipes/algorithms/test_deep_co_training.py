import math

import pytest
import torch
import torch.nn.functional as F
from ssl_tables import (
    CLASSES,
    FLAT,
    A,
    B,
    C,
    Fixed,
    Table,
    batches_seen,
    buffers,
    cross_entropy,
    labelled,
    losses,
    network,
    next_in,
    noise,
    probabilities,
    read,
    ready,
    unlabelled,
)

from recipes.algorithms.deep_co_training import DeepCoTraining, entropy
from recipes.training.config import Config

KNOWN = labelled([A, B, C, FLAT], [1, 1, 2, 0])


def made(model, mixer=None, *, second=2.0, **options):
    options = {"weight_agree": 1.0, "weight_differ": 1.0} | options
    return ready(DeepCoTraining(CLASSES, mixer, **options), model, lambda key: Table(second))


def test_agreement_is_the_entropy_of_the_mean_less_the_mean_entropy_a_clip():
    model = Table()
    p, q = torch.tensor(A), torch.tensor(A) ** 2 / (torch.tensor(A) ** 2).sum()  # scale 2 squares and renormalises
    m = (p + q) / 2
    expected = -(m * m.log()).sum() + ((p * p.log()).sum() + (q * q.log()).sum()) / 2
    for count in (1, 3):  # the mean over unlabelled clips, in both parts
        found = losses(made(model), model, KNOWN, unlabelled([[A] * count]))["agree"]
        torch.testing.assert_close(found, expected)
    assert losses(made(model, second=1.0), model, KNOWN, unlabelled([[A]]))["agree"].item() == pytest.approx(
        0, abs=1e-6
    )


def test_entropy_of_certainty_is_0_and_has_a_gradient():
    p = torch.tensor([[1.0, 0.0], [0.5, 0.5]], requires_grad=True)
    found = entropy(p)
    assert found.tolist() == pytest.approx([0, math.log(2)])
    found.sum().backward()
    assert p.grad.isfinite().all()


def test_each_network_learns_its_own_half_of_the_labelled_clips():
    model, u = Table(), unlabelled([[A, B]])
    method = made(model)
    found = losses(method, model, KNOWN, u)["labelled"]
    x = read(KNOWN.x)
    expected = F.cross_entropy(x[:2], KNOWN.target[:2]) + F.cross_entropy(2 * x[2:], KNOWN.target[2:])
    torch.testing.assert_close(found, expected)
    _, clean, _ = model.calls
    torch.testing.assert_close(clean[0], torch.cat([KNOWN.x[:2], u.weak]))


def test_the_second_network_has_first_weights_of_its_own():
    model, asked = network(), []
    method = ready(DeepCoTraining(CLASSES), model, lambda key: asked.append(key) or network(key))
    assert asked == ["second"]
    assert not torch.equal(method.second.head.weight, model.head.weight)
    assert all(p.requires_grad for p in method.second.parameters())


def test_adversaries_move_each_value_by_epsilon_to_where_the_network_errs_more():
    # d H / d logit_k = p_k - y_k: down at the label (or the guess), up elsewhere; frames that are not read stay.
    model = Table()
    method = made(model, epsilon_db=0.5)
    u = unlabelled([[C]])
    z, label = torch.cat([KNOWN.x[:1], u.weak]), F.one_hot(KNOWN.target[:1], 3).float()  # A, labelled 1; C guessed 2
    moved = method.adversary(model, z, label) - z
    expected = torch.zeros(2, 1, 3, 5)
    expected[0, 0, :, 0] = torch.tensor([0.5, -0.5, 0.5])
    expected[1, 0, :, 0] = torch.tensor([0.5, 0.5, -0.5])
    torch.testing.assert_close(moved, expected)


def test_epsilon_is_in_db_whatever_the_normalisation():
    class Views:
        unit_db = 20.0

    model = Table()
    method = made(model, epsilon_db=0.5)
    method.fit(Views())
    moved = method.adversary(model, KNOWN.x[:1], F.one_hot(KNOWN.target[:1], 3).float()) - KNOWN.x[:1]
    assert moved[0, 0, :, 0].tolist() == pytest.approx([0.025, -0.025, 0.025], abs=1e-6)


def test_adversaries_are_made_in_eval_mode_without_a_trace():
    model, (known, u) = network(), noise()
    model.blocks[1].eval()  # frozen: stays so
    method = ready(DeepCoTraining(CLASSES), model, network)
    modes, before = [m.training for m in model.modules()], buffers(model)
    found = method.adversary(model, torch.cat([known.x, u.weak]), F.one_hot(known.target, 3).float())
    assert not found.requires_grad
    assert all(torch.equal(before[name], b) for name, b in buffers(model).items())
    assert [m.training for m in model.modules()] == modes
    assert all(p.grad is None for p in model.parameters())
    table = Table()
    losses(made(table), table, KNOWN, unlabelled([[A, B]]))
    assert [training for _, training, _ in table.calls] == [False, True, True]


def test_each_network_sees_what_fools_the_other():
    model, u = Table(), unlabelled([[A, B]])
    method = made(model)
    first, second = (torch.cat([KNOWN.x[half], u.weak]) for half in (slice(2), slice(2, None)))
    fools_first, fools_second = first + 0.1 * first.flip(2), second - 0.2 * second.flip(2)
    method.adversary = lambda f, z, y: fools_first if f is model else fools_second
    found = losses(method, model, KNOWN, u)["differ"]
    torch.testing.assert_close(model.calls[-1][0], fools_second)
    torch.testing.assert_close(method.second.calls[-1][0], fools_first)
    # H(p1(z), p2(what fools 1)) + H(p2(z'), p1(what fools 2)), each over labelled and unlabelled clips
    expected = cross_entropy(2 * read(fools_first), probabilities(first))
    expected = expected + cross_entropy(read(fools_second), probabilities(second, 2.0))
    torch.testing.assert_close(found, expected)


def test_no_gradient_flows_into_adversaries():
    model, u = Table(0.7), unlabelled([[A, B]])
    method = made(model, epsilon_db=5.0)
    losses(method, model, KNOWN, u)["differ"].backward()
    z = [torch.cat([KNOWN.x[half], u.weak]) for half in (slice(2), slice(2, None))]
    fools = [x.detach() for x in (model.calls[-1][0], method.second.calls[-1][0])]
    one, two = (torch.tensor(s, requires_grad=True) for s in (0.7, 2.0))
    loss = cross_entropy(two * read(fools[1]), (one * read(z[0])).softmax(-1))
    loss = loss + cross_entropy(one * read(fools[0]), (two * read(z[1])).softmax(-1))
    loss.backward()
    torch.testing.assert_close(model.scale.grad, one.grad)
    torch.testing.assert_close(method.second.scale.grad, two.grad)


def test_each_networks_batch_norm_takes_in_clips_and_adversaries():
    model = network()
    method = ready(DeepCoTraining(CLASSES), model, network)
    losses(method, model, *noise())
    assert (batches_seen(model), batches_seen(method.second)) == (2, 2)


def test_weights_are_schedules():
    model = Table()
    method = made(model, weight_agree="sigmoid_ramp:0:2:0.5", weight_differ="linear:0:1:0.5")
    start, end = (losses(method, model, KNOWN, unlabelled([[A]]), progress=t) for t in (0.0, 0.5))
    assert start["agree"].item() == pytest.approx(end["agree"].item() * math.exp(-5), rel=1e-4)
    assert start["differ"] == 0 < end["differ"]


def test_a_mixer_mixes_the_unlabelled_clips_before_anything_is_predicted():
    model, u = Table(), unlabelled([[A, C, FLAT]])
    method = made(model, Fixed())
    found = losses(method, model, KNOWN, u)
    mixed = next_in(u.weak)
    torch.testing.assert_close(model.calls[0][0], torch.cat([KNOWN.x[:2], mixed]))  # what the adversary starts from
    torch.testing.assert_close(model.calls[1][0], torch.cat([KNOWN.x[:2], mixed]))
    torch.testing.assert_close(method.second.calls[1][0], torch.cat([KNOWN.x[2:], mixed]))
    x = read(KNOWN.x)
    expected = F.cross_entropy(x[:2], KNOWN.target[:2]) + F.cross_entropy(2 * x[2:], KNOWN.target[2:])
    torch.testing.assert_close(found["labelled"], expected)


def test_labelled_clips_are_mixed_with_their_labels_if_asked_for():
    model = Table()
    found = losses(made(model, Fixed(), mix_labelled=True), model, KNOWN, unlabelled([[A, C]]))["labelled"]
    y = F.one_hot(KNOWN.target, 3).float()
    halves = [(next_in(KNOWN.x[h])[:, 0, :, 0], next_in(y[h])) for h in (slice(2), slice(2, None))]
    torch.testing.assert_close(found, cross_entropy(*halves[0]) + cross_entropy(2 * halves[1][0], halves[1][1]))


def test_an_odd_batch_is_shared_and_a_single_clip_refused():
    model = Table()
    losses(made(model), model, labelled([A, B, C], [0, 1, 2]), unlabelled([[A]]))
    assert [len(x) for x, *_ in model.calls] == [2, 2, 3]
    with pytest.raises(ValueError, match="batch_labelled must be at least 2, a labelled clip for each network, got 1"):
        losses(made(model), model, labelled([A], [0]), unlabelled([[A]]))
    for config in (Config(batch_labelled=1), Config(batch_labelled=2, devices=2)):
        with pytest.raises(ValueError, match="batch_labelled must be at least 2"):
            made(model).check_config(config)
    made(model).check_config(Config(batch_labelled=2))


def test_the_first_network_is_reported_or_the_mean_of_both():
    model = Table()
    assert made(model).select_reported(model) is model
    assert made(model).select_averaged(model) is model
    x, method = KNOWN.x, made(model, report="mean")
    for both in (method.select_reported(model), method.select_averaged(model)):
        torch.testing.assert_close(both(x).softmax(-1), (probabilities(x) + probabilities(x, 2.0)) / 2)


def test_pseudo_labels_of_the_first_network_are_logged():
    model = Table()
    method = made(model)
    losses(method, model, KNOWN, unlabelled([[A, B, C]], hidden=[0, 2, -1]))
    assert method.logs()["guess_accuracy"] == 0.5
    assert method.logs()["count"].tolist() == [1, 1, 1]


def test_presets():
    ends = {}
    for name, options in DeepCoTraining.presets.items():
        method = DeepCoTraining(CLASSES, **options)
        ends[name] = (method.weight_agree(1), method.weight_differ(1), method.epsilon_db)
    ours = dict.fromkeys(("small", "strong", "demo"), (1, 0.5, 0.5))
    assert ends == {"original": (10, 0.5, 2.0), "study": (1, 0.5, 0.02), **ours}
    assert DeepCoTraining.configs["study"]["batch_labelled"] == 12  # 6 for each network
