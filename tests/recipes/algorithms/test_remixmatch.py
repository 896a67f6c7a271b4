import math
from dataclasses import replace

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
    clips,
    cross_entropy,
    labelled,
    losses,
    network,
    next_in,
    noise,
    read,
    ready,
    unlabelled,
)

from recipes import algorithms
from recipes.algorithms._alignment import WindowAlignment
from recipes.algorithms._pseudo_labels import PredictionMemory
from recipes.algorithms.remixmatch import TURNS, ReMixMatch, turn
from recipes.training.choices import Facts

KNOWN = labelled([A, B], [0, 1])
FIRST = torch.tensor([0])  # of the unlabelled clips
PLAIN = {"alignment": "none", "ramp": 1.0, "temperature": 1.0, "weight_turn": 0.0}


def made(model, mixer=None, **options):
    return ready(ReMixMatch(CLASSES, mixer, **PLAIN | options), model)


def test_googles_history_starts_uniform_and_is_taken_in_after_use():
    align, q = WindowAlignment(CLASSES, size=4), torch.tensor([[0.6, 0.3, 0.1]])
    guesses, labels = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.5, 0.5, 0.0])
    torch.testing.assert_close(align(q, guesses, labels), q)  # uniform on both sides: nothing to do yet
    p = (3 * torch.full((3,), 1 / 3) + labels) / 4
    g = (3 * torch.full((3,), 1 / 3) + guesses) / 4
    expected = q[0] * (1e-6 + p) / (1e-6 + g)
    torch.testing.assert_close(align(q, guesses, labels)[0], expected / expected.sum())


def test_the_history_forgets_the_oldest_batch():
    align, q = WindowAlignment(2, size=2), torch.tensor([[0.5, 0.5]])
    for mean in ([0.9, 0.1], [0.5, 0.5], [0.3, 0.7]):
        align(q, torch.tensor(mean), torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(align.guesses.mean(0), torch.tensor([0.4, 0.6]))  # of the last two
    assert WindowAlignment(3).guesses.shape == (128, 3)


def test_a_class_that_is_never_predicted_stays_finite():
    align, q = WindowAlignment(2, size=1), torch.tensor([[0.5, 0.5]])
    align(q, torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0]))
    found = align(q, torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.5]]))  # (1 + e) / (1 + e) and e / e


def test_pseudo_labels_are_probabilities_aligned_then_renormalised_then_sharpened():
    # not logits
    model = Table()
    method = made(model, alignment="history", align_to="labels", temperature=0.5)
    method.align.guesses[:] = torch.tensor([0.5, 0.25, 0.25])
    q = torch.tensor(A) / (torch.tensor([0.5, 0.25, 0.25]) + 1e-6) * (1 / 3 + 1e-6)
    q = (q / q.sum()).square()
    found = method.pseudo_labels([model], clips([A]), torch.eye(3)[:1], FIRST)
    torch.testing.assert_close(found[0], q / q.sum())
    torch.testing.assert_close(method.align.guesses[0], torch.tensor(A))  # what was believed, before alignment
    torch.testing.assert_close(method.align.labels[0], torch.tensor([1.0, 0, 0]))


def test_average_alignment_is_a_running_mean_that_the_batch_is_part_of():
    model = Table()
    method = made(model, alignment="average")
    g = 0.95 / 3 + 0.05 * torch.tensor(A)
    expected = torch.tensor(A) * (1 / 3) / g
    found = method.pseudo_labels([model], clips([A]), torch.eye(3)[:1], FIRST)
    torch.testing.assert_close(found[0], expected / expected.sum(), rtol=1e-4, atol=1e-6)
    assert method.align.expected.tolist() == pytest.approx([1 / 3] * 3)


def test_a_memory_is_the_weighted_mean_of_all_pseudo_labels_of_a_clip():
    memory, seen = PredictionMemory(4, 3, 0.6), {clip: [] for clip in range(4)}
    for step in range(6):
        index = torch.randperm(4, generator=seeded(step))[:2]
        guess = torch.rand(2, 3, generator=seeded(step)).softmax(-1)
        found = memory(guess, index, lambda x: x)
        for row, clip in enumerate(index.tolist()):
            seen[clip].append(guess[row])
            weights = 0.6 ** torch.arange(len(seen[clip])).flip(0)
            expected = (weights[:, None] * torch.stack(seen[clip])).sum(0) / weights.sum()
            torch.testing.assert_close(found[row], expected)
    assert memory.times.tolist() == [len(seen[clip]) for clip in range(4)]
    assert max(memory.times) > 2


def test_a_memory_notes_the_pseudo_labels_of_all_processes_and_the_second_of_a_clip_that_comes_twice():
    memory, guess = PredictionMemory(4, 3, 0.5), torch.tensor([A, B])
    others = {torch.int64: torch.tensor([1, 2]), torch.float32: torch.tensor([C, C])}
    found = memory(guess, torch.tensor([0, 1]), lambda x: torch.cat([x, others[x.dtype]]))
    torch.testing.assert_close(found, guess)  # the first guesses: nothing to average
    assert memory.times.tolist() == [1, 1, 1, 0]
    torch.testing.assert_close(memory.total, torch.tensor([A, C, C, [0.0] * 3]) / 2)


def test_pseudo_labels_are_averaged_after_alignment_and_before_sharpening():
    model = Table()
    method = made(model, alignment="average", memory=0.5, temperature=0.5)
    aligned = []
    for row in (A, C):
        g = method.align.guessed * 0.95 + 0.05 * torch.tensor(row)
        q = torch.tensor(row) / g
        aligned.append(q / q.sum())
        found = method.pseudo_labels([model], clips([row]), torch.eye(3)[:1], torch.tensor([2]))
    mean = (aligned[0] + 2 * aligned[1]) / 3
    torch.testing.assert_close(found[0], mean**2 / (mean**2).sum(), rtol=1e-4, atol=1e-6)
    again = made(model, alignment="average", memory=0.5, temperature=0.5)
    again.load_state_dict(method.state_dict())  # a checkpoint has them
    assert torch.equal(again.remembered.total, method.remembered.total)
    assert method.remembered.times.tolist() == [0, 0, 2, 0]


def test_the_clips_of_a_batch_are_remembered_as_what_they_are():
    model = Table()
    method = made(model, memory=0.5)
    u = unlabelled([[A, C]], [[B, B]])
    losses(method, model, KNOWN, u._replace(index=torch.tensor([3, 1])))
    torch.testing.assert_close(method.remembered.total, torch.tensor([[0.0] * 3, C, [0.0] * 3, A]) / 2)
    found = losses(method, model, KNOWN, u._replace(index=torch.tensor([1, 3])))
    guess = torch.stack([(torch.tensor(C) + 2 * torch.tensor(A)) / 3, (torch.tensor(A) + 2 * torch.tensor(C)) / 3])
    logits = read(torch.cat([u.strong, u.weak]))
    torch.testing.assert_close(found["unlabelled"], 1.5 * cross_entropy(logits, guess.repeat(2, 1)))


def test_several_networks_predict_together_and_each_learns_on_its_own_views():
    model, second = Table(0.7), Table(2.0)
    method = ready(
        ReMixMatch(CLASSES, **PLAIN, networks=2, views=2, weight=3.0, weight_strong=0.5), model, lambda _: second
    )
    assert method.strong_views == 4
    u = unlabelled([[A, C]], [[FLAT, B], [C, A], [B, B], [A, FLAT]])
    found = losses(method, model, KNOWN, u)
    guess = ((0.7 * read(u.weak)).softmax(-1) + (2 * read(u.weak)).softmax(-1)) / 2
    expected = {"labelled": 0.0, "unlabelled": 0.0, "strong": 0.0}
    for scale, views in {0.7: u.strongs[:2], 2.0: u.strongs[2:]}.items():
        expected["labelled"] += F.cross_entropy(scale * read(KNOWN.x), KNOWN.target)
        expected["unlabelled"] += 3 * cross_entropy(scale * read(torch.cat([*views, u.weak])), guess.repeat(3, 1))
        expected["strong"] += 0.5 * cross_entropy(scale * read(views[0]), guess)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
    mean = ((0.7 * read(KNOWN.x)).softmax(-1) + (2 * read(KNOWN.x)).softmax(-1)) / 2
    for both in (method.select_reported(model), method.select_averaged(model)):
        torch.testing.assert_close(both(KNOWN.x).softmax(-1), mean)
    assert made(model).select_reported(model) is model


def test_several_networks_mix_and_turn_by_draws_of_their_own():
    model, second, seen = Table(), Table(), []
    mixer = algorithms.make_mixer("mixup", ReMixMatch)
    method = ready(
        ReMixMatch(CLASSES, mixer, **PLAIN | {"weight_turn": 1.0}, networks=2, views=1), model, lambda _: second
    )
    u = unlabelled([[A] * 20], [[C] * 20] * 2)
    for table in (model, second):
        table.features = lambda x: seen.append(x) or x[:, 0, :, 0]
    found = losses(method, model, KNOWN, u)
    assert found["turn"].item() == pytest.approx(2 * math.log(4))  # both layers start at zero
    mixed, turns = [x for x, *_ in (model.calls[-1], second.calls[-1])], [x for x in seen if len(x) == 20]
    assert not torch.equal(*mixed)
    assert not torch.equal(*turns[-2:])
    method.turn_heads[1].bias.data[0] = 5.0  # the second network's own
    assert losses(method, model, KNOWN, u)["turn"].item() > 2 * math.log(4) + 0.1


@pytest.mark.parametrize("alignment", ["history", "average"])
@pytest.mark.parametrize("align_to", ["labels", "prior"])
def test_the_means_are_those_of_all_processes(alignment, align_to):
    model = Table()
    method = made(model, alignment=alignment, align_to=align_to)
    method.gather = lambda x: torch.cat([x, x.roll(1, -1)])  # another process has the other classes
    method.pseudo_labels([model], clips([A]), torch.eye(3)[:1], FIRST)
    guessed, label = (torch.stack([r, r.roll(1)]).mean(0) for r in (torch.tensor(A), torch.eye(3)[0]))
    label = label if align_to == "labels" else torch.full((3,), 1 / 3)
    if alignment == "history":
        torch.testing.assert_close(method.align.guesses[0], guessed)
        torch.testing.assert_close(method.align.labels[0], label)
    else:
        torch.testing.assert_close(method.align.guessed, 0.95 / 3 + 0.05 * guessed)
        torch.testing.assert_close(method.align.expected, 0.95 / 3 + 0.05 * label)


def test_the_pseudo_label_comes_from_the_one_weak_view_and_is_learnt_on_all_views():
    model = Table()
    u = unlabelled([[A, C], [B, B]], [[FLAT, B], [C, A]])  # a second weak view is not looked at
    found = losses(made(model, weight=2.0, weight_strong=3.0), model, KNOWN, u)
    guess = torch.tensor([A, C])
    torch.testing.assert_close(model.calls[0][0], u.weak)
    assert model.calls[0][1:] == (True, False)  # n: in training mode, without gradient
    logits = read(torch.cat([*u.strongs, u.weak]))  # tile order: a view, then the next
    torch.testing.assert_close(found["unlabelled"], 2 * cross_entropy(logits, guess.repeat(3, 1)))
    torch.testing.assert_close(found["strong"], 3 * cross_entropy(read(u.strong), guess))
    torch.testing.assert_close(found["labelled"], F.cross_entropy(read(KNOWN.x), KNOWN.target))


def test_the_first_strong_view_is_learnt_unmixed_and_the_rest_mixed_by_one_plan():
    model = Table()
    u = unlabelled([[A, C]], [[FLAT, B], [C, A]])
    found = losses(made(model, Fixed(), weight=1.0, weight_strong=1.0), model, KNOWN, u)
    guess = torch.tensor([A, C])
    x = next_in(torch.cat([KNOWN.x, *u.strongs, u.weak]))
    y = next_in(torch.cat([F.one_hot(KNOWN.target, 3).float(), guess.repeat(3, 1)]))
    torch.testing.assert_close(model.calls[1][0], torch.cat([x, u.strong]))
    torch.testing.assert_close(found["labelled"], cross_entropy(read(x[:2]), y[:2]))
    torch.testing.assert_close(found["unlabelled"], cross_entropy(read(x[2:]), y[2:]))
    torch.testing.assert_close(found["strong"], cross_entropy(read(u.strong), guess))


def test_one_ramp_for_two_terms_and_none_for_the_turns():
    model = Table()
    method = made(model, ramp="linear:0:1:0.5", weight_turn=0.5)
    at = {t: losses(method, model, KNOWN, unlabelled([[A]], [[B], [C]]), progress=t) for t in (0.0, 0.25, 1.0)}
    for name, factors in {"unlabelled": (0, 0.5, 1), "strong": (0, 0.5, 1), "turn": (1, 1, 1)}.items():
        whole = at[1.0][name].item()
        assert whole > 0
        assert [v[name].item() for v in at.values()] == pytest.approx([f * whole for f in factors]), name


def test_the_four_turns():
    x = torch.arange(6.0).view(1, 1, 2, 3).repeat(4, 1, 1, 1)
    before = x.clone()
    found = turn(x, torch.arange(4)).squeeze(1).tolist()
    same, time = [[0, 1, 2], [3, 4, 5]], [[2, 1, 0], [5, 4, 3]]
    assert found == [same, time, same[::-1], time[::-1]]
    assert torch.equal(x, before)


def test_turns_are_drawn_for_every_clip_all_equally_often():
    model, x, seen = Table(), torch.arange(6.0).view(1, 1, 2, 3).repeat(400, 1, 1, 1), []
    method = made(model, weight_turn=1.0)
    model.features = lambda x: seen.append(x) or x[:, 0, :, 0].repeat(1, 2)[:, :3]
    method.turn_loss(0, model, x, seeded())
    options = turn(x[:4], torch.arange(4))
    which = torch.stack([(seen[0] == option).all(-1).all(-1).all(-1) for option in options])
    assert which.sum(0).tolist() == [1] * 400
    count = which.sum(1)
    assert ((count - 100).abs() < 4 * math.sqrt(400 * 3 / 16)).all()
    assert len(TURNS) == 4


def test_the_turn_term_is_learnt_on_the_first_strong_view():
    model = Table()
    method = made(model, weight_turn=0.5)
    u = unlabelled([[A]], [[B], [C]])
    assert losses(method, model, KNOWN, u)["turn"].item() == pytest.approx(0.5 * math.log(4))  # it starts at zero
    method.turn_heads[0].weight.data.copy_(torch.eye(4, 3))
    found = losses(method, model, KNOWN, u, seed=3)["turn"]
    possible = {
        i: F.cross_entropy(F.pad(read(turn(u.strong, torch.tensor([i]))), (0, 1)), torch.tensor([i])).item() / 2
        for i in range(4)
    }
    assert any(found.item() == pytest.approx(value) for value in possible.values())
    found.backward()
    assert model.scale.grad != 0
    assert method.turn_heads[0].weight.grad.any()


@pytest.mark.parametrize(
    ("options", "batches"),
    [({}, 2), ({"quiet_guess": True}, 1), ({"weight_turn": 0.5}, 3), ({"weight_turn": 0.5, "quiet_guess": True}, 2)],
)
def test_how_often_batch_norm_is_updated(options, batches):
    model = network()
    losses(made(model, **options), model, *noise())
    assert batches_seen(model) == batches


def test_the_small_preset_is_what_the_calibration_measured_and_the_turns():
    # written out once more; three steps, so that the running mean counts.
    model = Table(0.7)
    mixer = algorithms.make_mixer("mixup", ReMixMatch)
    method = ready(ReMixMatch(CLASSES, mixer, **ReMixMatch.presets["small"]), model)
    assert (method.weak_views, method.strong_views) == (1, 1)
    pu = torch.full((3,), 1 / 3)
    for step, t in enumerate((0.0, 0.1, 0.5)):
        u = unlabelled([[A, C, B]], [[FLAT, B, A]])
        found = losses(method, model, KNOWN, u, progress=t, seed=step)
        q = (0.7 * read(u.weak)).softmax(-1)
        pu = 0.95 * pu + 0.05 * q.mean(0)
        q = q * (1 / 3) / pu
        q = (q / q.sum(-1, keepdim=True)) ** 2
        q = q / q.sum(-1, keepdim=True)
        x = torch.cat([KNOWN.x, u.strong, u.weak])
        y = torch.cat([F.one_hot(KNOWN.target, 3).float(), q, q])
        mixed = mixer(x, progress=t, generator=seeded(step))
        weight = mixed.plans[0].weight.float()[:, None]
        assert weight.min() >= 0.5
        assert weight.unique().numel() == 1
        y, logits = weight * y + (1 - weight) * y[mixed.plans[0].partner], 0.7 * read(mixed.x)
        ramp = math.exp(-5 * (1 - min(t / 0.4, 1)) ** 2)
        torch.testing.assert_close(found["labelled"], cross_entropy(logits[:2], y[:2]))
        torch.testing.assert_close(found["unlabelled"], ramp * cross_entropy(logits[2:], y[2:]), rtol=1e-4, atol=1e-5)
        assert set(found) == {"labelled", "unlabelled", "turn"}


@pytest.mark.parametrize(("preset", "ramp", "views", "quiet"), [("original", 0.5, 8, True), ("study", 1.0, 2, False)])
def test_presets(preset, ramp, views, quiet):
    method = ReMixMatch(CLASSES, **ReMixMatch.presets[preset])
    assert method.ramp(1 / 128) == ramp
    assert (method.weight, method.weight_strong, method.weight_turn) == (1.5, 0.5, 0.5)
    assert (method.strong_views, method.quiet_guess) == (views, quiet)
    assert isinstance(method.align, WindowAlignment)
    assert method.align_to == {"original": "prior", "study": "labels"}[preset]
    assert algorithms.mixer_for(None, ReMixMatch, preset) == {"original": "mixup:per=clip", "study": "mixup"}[preset]


def test_a_network_whose_features_cannot_be_read_is_refused_only_where_turns_are_learnt():
    headless = torch.nn.Linear(3, 3)
    made(headless)
    with pytest.raises(TypeError, match=r"model\.head must be a linear layer"):
        made(headless, weight_turn=0.5)


NOISES = Facts(rate=44100, seconds=5.0, sound=4.8, clips=320, classes=10)
WORDS = Facts(rate=16000, seconds=1.0, sound=0.4, clips=2489, classes=5)


@pytest.mark.parametrize(
    ("facts", "turns"),
    [(NOISES, "on"), (WORDS, "off"), (replace(NOISES, sound=1.5), "off")]
    + [(replace(facts, speech=True), "off") for facts in (NOISES, WORDS)]
    + [(replace(facts, speech=False), "on") for facts in (NOISES, WORDS)],
)
def test_turns_are_off_where_a_turned_clip_may_be_of_another_class(facts, turns):
    chosen, choices = ReMixMatch.choose_options({"turns": "auto", "weight_turn": 1.0}, facts)
    assert chosen == {"turns": turns, "weight_turn": 1.0}
    assert [(choice.name, choice.value) for choice in choices] == [("turns", turns)]
    assert ReMixMatch.choose_options(chosen, WORDS) == (chosen, [])  # what is chosen stays
    for given in ({"turns": "on"}, {"turns": "off"}, {}, {"turns": "auto", "weight_turn": 0.0}):
        assert ReMixMatch.choose_options(given, facts) == (given, [])


def test_turns_that_are_off_have_no_term_and_need_no_features():
    off, on = ReMixMatch(3, turns="off"), ReMixMatch(3, turns="on")
    assert (off.needs_features, on.needs_features) == (False, True)
    assert off.weight_turn == 0
    assert {ReMixMatch.presets[name].get("turns", "on") for name in ("study", "original")} == {"on"}
    assert {ReMixMatch.presets[name]["turns"] for name in ("small", "strong", "demo")} == {"auto"}
