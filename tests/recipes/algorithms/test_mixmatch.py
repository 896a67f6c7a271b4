import math

import pytest
import torch
import torch.nn.functional as F
from sounds import seeded
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
    clips,
    labelled,
    losses,
    network,
    next_in,
    noise,
    unlabelled,
)

from recipes import algorithms
from recipes.algorithms._pseudo_labels import sharpen
from recipes.algorithms.mixmatch import MixMatch

KNOWN = labelled([A, B], [0, 1])


def made(mixer=None, **options):
    return MixMatch(CLASSES, mixer, **{"weight": 1.0} | options)


def sharp(row, temperature=0.5):
    powers = torch.tensor(row) ** (1 / temperature)
    return powers / powers.sum()


def test_probabilities_are_averaged_then_sharpened():
    # mean of (.8, .1, .1) and (.2, .6, .2): (.5, .35, .15), squares .25, .1225, .0225 of .395
    guess = made().pseudo_labels(Table(), unlabelled([[A], [B]]).weaks)
    torch.testing.assert_close(guess, torch.tensor([[0.25, 0.1225, 0.0225]]) / 0.395)
    assert not guess.requires_grad


def test_sharpening_keeps_order_and_mass_and_survives_half_precision():
    p = torch.tensor([[1e-30, 3e-30, 1.0]])
    found = sharpen(p, 0.5)
    assert found.isfinite().all()
    assert sharpen(torch.tensor([[3e-4, 6e-4]], dtype=torch.float16), 0.1).tolist()[0] == pytest.approx(
        [1 / 1025, 1024 / 1025], rel=0.05
    )  # 3e-4 ** 10 is 0 in half precision, and in single
    assert sharpen(torch.zeros(1, 4), 0.5).tolist() == [[0.25] * 4]
    q = torch.tensor([[0.2, 0.5, 0.3]])
    torch.testing.assert_close(sharpen(q, 1.0), q)
    torch.testing.assert_close(sharpen(q, 0.5)[0], sharp([0.2, 0.5, 0.3]))


@pytest.mark.parametrize("distance", ["mse", "cross_entropy"])
def test_both_distances_with_labels_view_by_view(distance):
    # Two clips, two views each; were labels repeated clip by clip, the second view of one had the other's guess.
    views = [[A, C], [A, FLAT]]
    model, u = Table(), unlabelled(views)
    found = losses(made(distance=distance, weight=3.0), model, KNOWN, u)
    guess = torch.stack([sharp(A), sharp([(c + 1 / 3) / 2 for c in C])])
    logits, target = torch.cat(u.weaks)[:, 0, :, 0], torch.cat([guess, guess])
    expected = {
        "mse": (logits.softmax(-1) - target).square().mean(),
        "cross_entropy": -(target * logits.log_softmax(-1)).sum(-1).mean(),
    }
    torch.testing.assert_close(found["unlabelled"], 3 * expected[distance])
    torch.testing.assert_close(found["labelled"], F.cross_entropy(KNOWN.x[:, 0, :, 0], KNOWN.target))


def test_one_plan_mixes_all_clips_and_all_labels():
    model, u = Table(), unlabelled([[A, C], [B, FLAT]])
    found = losses(made(Fixed(), distance="cross_entropy"), model, KNOWN, u)
    x = torch.cat([KNOWN.x, *u.weaks])
    guess = torch.stack([sharp([0.5, 0.35, 0.15]), sharp([(c + 1 / 3) / 2 for c in C])])
    y = torch.cat([F.one_hot(KNOWN.target, 3).float(), guess, guess])
    logits, target = next_in(x)[:, 0, :, 0], next_in(y)
    torch.testing.assert_close(model.calls[-1][0], next_in(x))
    surprise = -(target * logits.log_softmax(-1)).sum(-1)
    torch.testing.assert_close(found["labelled"], surprise[:2].mean())
    torch.testing.assert_close(found["unlabelled"], surprise[2:].mean())


def test_labels_follow_the_very_plan_that_was_drawn_for_the_clips():
    mixer, u = algorithms.make_mixer("mixup:per=clip", MixMatch), unlabelled([[A, C], [B, FLAT]])
    method, model = made(mixer), Table()
    found = losses(method, model, KNOWN, u, seed=5)["labelled"]
    guess = method.pseudo_labels(Table(), u.weaks)
    y = torch.cat([F.one_hot(KNOWN.target, 3).float(), guess, guess])
    again = mixer(torch.cat([KNOWN.x, *u.weaks]), y, generator=seeded(5))
    torch.testing.assert_close(model.calls[-1][0], again.x)
    logits = again.x[:2, 0, :, 0]
    torch.testing.assert_close(found, -(again.target[:2] * logits.log_softmax(-1)).sum(-1).mean())


def test_the_original_has_the_larger_share_and_partners_come_from_everywhere():
    # clip i is 1 in band i: what it holds of others can be read off
    method = made(algorithms.make_mixer("mixup", MixMatch))
    seen = set()
    for seed in range(30):
        model = Table()
        spelled = torch.eye(6)[:, None, :, None].expand(-1, 1, -1, 5)[:, :, :, :1].clone()
        known = labelled([A, B], [0, 1])._replace(x=spelled[:2])
        u = unlabelled([[A, B], [A, B]])._replace(weaks=(spelled[2:4], spelled[4:]))
        model.features = lambda x: x[:, 0, :3, 0]
        losses(method, model, known, u, seed=seed)
        shares = model.calls[-1][0][:, 0, :, 0]
        assert (shares.diagonal() >= 0.5).all()
        torch.testing.assert_close(shares.sum(0), torch.ones(6))  # every clip is somebody's partner, once
        assert shares.diagonal().unique().numel() == 1  # one weight a batch
        seen |= {(i, j) for i, j in (shares > 0).nonzero().tolist() if i != j and shares[i, j] > 1e-6}
    assert len(seen) > 24  # of 30 pairs


def test_the_originals_mixer_draws_a_weight_for_every_clip():
    text = algorithms.mixer_for(None, MixMatch, "original")
    mixer = algorithms.make_mixer(text, MixMatch)
    assert (mixer.per, mixer.keep_larger, mixer.alpha(0)) == ("clip", True, 0.75)
    assert algorithms.mixer_for(None, MixMatch, "study") == algorithms.mixer_for(None, MixMatch) == "mixup"


def test_alpha_0_mixes_nothing():
    u = unlabelled([[A, C], [B, FLAT]])
    mixed = losses(made(algorithms.make_mixer("mixup:alpha=0", MixMatch)), Table(), KNOWN, u)
    plain = losses(made(), Table(), KNOWN, u)
    assert {k: v.item() for k, v in mixed.items()} == {k: v.item() for k, v in plain.items()}


def test_decibels_are_mixed_as_they_are_unless_power_is_asked_for():
    u = unlabelled([[A, C], [B, FLAT]])
    found = [
        losses(made(algorithms.make_mixer(text, MixMatch)), Table(), KNOWN, u)["labelled"]
        for text in ("mixup", "mixup:domain=as_is", "mixup:domain=power")
    ]
    assert found[0] == found[1] != found[2]


def test_all_views_are_predicted_in_one_pass_and_all_clips_learnt_in_one():
    model, u = Table(), unlabelled([[A, C], [B, FLAT]])
    losses(made(Fixed()), model, KNOWN, u)
    (guessed, training, with_gradient), (learnt, also_training, learning) = model.calls
    torch.testing.assert_close(guessed, torch.cat(u.weaks))
    assert len(learnt) == 6
    # n: guesses are made in training mode
    assert (training, with_gradient, also_training, learning) == (True, False, True, True)


@pytest.mark.parametrize(("quiet", "batches"), [(False, 2), (True, 1)])
def test_a_batch_norm_takes_in_the_predicting_pass_unless_it_is_quiet(quiet, batches):
    model = network()
    losses(made(quiet_guess=quiet), model, *noise())
    assert batches_seen(model) == batches


def test_a_quiet_pass_predicts_the_same_and_moves_no_statistic():
    model, (_, u) = network(), noise()
    before = buffers(model)
    quiet = made(quiet_guess=True).pseudo_labels(model, u.weaks)
    assert all(torch.equal(before[name], b) for name, b in buffers(model).items())
    torch.testing.assert_close(quiet, made().pseudo_labels(model, u.weaks))
    assert batches_seen(model) == 1


def test_the_gradient_is_that_of_fixed_pseudo_labels():
    # The weak views are inputs too; what was guessed of them is a constant.
    model, u = Table(0.7), unlabelled([[A, C], [B, FLAT]])
    method = made(Fixed())
    sum(losses(method, model, KNOWN, u).values()).backward()
    scale = torch.tensor(0.7, requires_grad=True)
    guess = method.pseudo_labels(Table(0.7), u.weaks).detach()
    x = next_in(torch.cat([KNOWN.x, *u.weaks]))[:, 0, :, 0]
    y = next_in(torch.cat([F.one_hot(KNOWN.target, 3).float(), guess, guess]))
    loss = F.cross_entropy(scale * x[:2], y[:2]) + F.mse_loss((scale * x[2:]).softmax(-1), y[2:])
    loss.backward()
    torch.testing.assert_close(model.scale.grad, scale.grad)


@pytest.mark.parametrize(
    ("preset", "course", "distance"),
    [
        ("original", {0: 0, 1 / 128: 50, 1 / 64: 100, 1: 100}, "mse"),
        ("study", {0: 0, 0.5: 1350 / 16000, 1: 2700 / 16000}, "cross_entropy"),
        ("small", {0: 0, 0.2: 5, 0.4: 10, 1: 10}, "mse"),
    ],
)
def test_presets(preset, course, distance):
    method = MixMatch(CLASSES, **MixMatch.presets[preset])
    assert {t: method.weight(t) for t in course} == pytest.approx(course)
    assert (method.distance, method.weak_views, method.strong_views, method.temperature) == (distance, 2, 0, 0.5)


def test_only_as_many_views_as_asked_for_are_looked_at():
    model = Table()
    losses(made(views=1), model, KNOWN, unlabelled([[A, C], [B, FLAT]]))
    assert [len(x) for x, *_ in model.calls] == [2, 4]


def test_pseudo_labels_are_logged():
    method = made()
    losses(method, Table(), KNOWN, unlabelled([[A, B, C, C]] * 2, hidden=[0, 0, 2, -1]))
    assert method.logs()["guess_accuracy"] == pytest.approx(2 / 3)
    assert method.logs()["count"].tolist() == [1, 1, 2]


def test_a_silent_clip_of_which_nothing_is_known_gives_finite_terms():
    u = unlabelled([[A], [A]])._replace(weaks=(torch.full((1, 1, 3, 5), -math.inf).clamp_min(-1e30),) * 2)
    assert all(v.isfinite() for v in losses(made(), Table(), KNOWN, u).values())
    assert clips([A]).shape == (1, 1, 3, 5)
