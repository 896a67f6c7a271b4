"""Every method that aligns its predictions, or draws their mean to a distribution, follows the run's prior."""

import dataclasses
from functools import partial

import pytest
import torch
from ssl_tables import CLASSES, Table
from tables import SURE, losses, made, unlabelled

from recipes import algorithms
from recipes.algorithms.freematch import FreeMatch
from recipes.data.loader import make_split
from recipes.data.prior import class_prior
from recipes.semi_supervised import train as semi_supervised
from recipes.semi_supervised.run_spec import configure
from recipes.semi_supervised.train import SemiSupervised, train
from recipes.training.config import PRESETS

PRIOR = torch.tensor([0.2, 0.3, 0.5])
GUESS = [0.7, 0.2, 0.1]
# name and options of a method that aligns to the prior
ALIGNED = [
    ("fixmatch", {"distribution_alignment": True}),
    ("adamatch", {"align_to": "prior"}),
    ("adamatch", {"align_to": "prior", "window_batches": 4}),
    ("softmatch", {"alignment": "prior"}),
    ("remixmatch", {"alignment": "average", "views": 1}),
    ("remixmatch", {"alignment": "history", "views": 1}),
]
IDS = [f"{name}-{'-'.join(map(str, options.values()))}" for name, options in ALIGNED]
OWN = {
    "softmatch": {"alignment": "uniform"},
    "adamatch": {"align_to": "predictions"},
    "remixmatch": {"align_to": "labels"},
}


def aligned_guesses(name, options, prior, guess=GUESS):
    """Return what a method's alignment returns for a batch of equal guesses, once it remembers nothing else."""
    method, found = made(algorithms.get(name), **({"weight_turn": 0.0} if name == "remixmatch" else {}), **options), []
    if prior is not None:
        method.set_prior(prior)
    for memory in ("guessed", "guesses"):
        if hasattr(method.align, memory):
            getattr(method.align, memory)[:] = torch.tensor(guess)
    method.align.register_forward_hook(lambda module, given, returned: found.append(returned))
    losses(method, unlabelled([guess] * 2))
    return found[0]


@pytest.mark.parametrize(("name", "options"), ALIGNED, ids=IDS)
def test_guesses_that_are_all_alike_become_the_prior(name, options):
    # q times prior / q, whatever q is
    for guess in (GUESS, SURE):
        found = aligned_guesses(name, options, PRIOR, guess)
        torch.testing.assert_close(found, PRIOR.expand(2, 3), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("name", "options"), ALIGNED, ids=IDS)
def test_with_skewed_labels_guesses_follow_the_labels_and_with_a_uniform_prior_they_do_not(name, options):
    labels = torch.tensor([0] + [1] * 3 + [2] * 6)
    found = aligned_guesses(name, options, class_prior("labels", labels, CLASSES))
    torch.testing.assert_close(found.mean(0), torch.tensor([2.0, 4, 7]) / 13, rtol=1e-3, atol=1e-4)
    found = aligned_guesses(name, options, class_prior("uniform", labels, CLASSES))
    torch.testing.assert_close(found.mean(0), torch.full((3,), 1 / 3), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", OWN)
def test_a_target_of_the_papers_own_does_not_look_at_the_prior(name):
    more = {"views": 1} if name == "remixmatch" else {}
    found = [aligned_guesses(name, OWN[name] | more, prior) for prior in (None, PRIOR)]
    assert torch.equal(*found)


def note_target(seen, module, arguments, options):
    seen.append((arguments[2], options))


def test_every_method_with_an_alignment_takes_the_prior_at_the_presets_that_are_no_papers():
    for name in algorithms.available():
        for preset in sorted(set(PRESETS) - {"original", "study"}):
            kind = algorithms.get(name)
            method = kind(CLASSES, **configure(preset, kind, {})[1])
            method.labelled_clips = 2
            method.setup(Table(), lambda key: Table(), 16)
            modules = [part for part in method.children() if "Alignment" in type(part).__name__]
            if not modules:
                continue
            method.set_prior(PRIOR)
            seen: list = []
            modules[0].register_forward_pre_hook(partial(note_target, seen), with_kwargs=True)
            batch = unlabelled([GUESS] * 2)
            losses(method, batch._replace(strongs=batch.strongs * method.strong_views))
            assert torch.equal(seen[0][0], method.prior), (preset, name)
            assert seen[0][1] == {"fixed": True}, (preset, name)


def fairness(strong, prior=PRIOR, weak=SURE):
    method = FreeMatch(CLASSES, momentum=1.0, fairness=1.0, fair_to="prior")
    method.confidence.fill_(0.5)
    method.set_prior(prior)
    model = Table()
    return losses(method, unlabelled([weak] * len(strong), strong), model=model)["fairness"], model


def test_freematchs_fairness_is_the_divergence_of_the_mean_strong_prediction_from_the_prior():
    strong = [[0.5, 0.3, 0.2], [0.1, 0.5, 0.4]]  # mean 0.3, 0.4, 0.3
    mean = torch.tensor([0.3, 0.4, 0.3])
    assert fairness(strong)[0].item() == pytest.approx((PRIOR * (PRIOR / mean).log()).sum().item(), rel=1e-4)
    assert fairness([PRIOR.tolist()] * 2)[0].item() == pytest.approx(0, abs=1e-6)
    assert fairness([PRIOR.tolist()] * 2, torch.full((3,), 1 / 3))[0].item() > 0.01


def test_freematchs_fairness_to_the_prior_is_0_without_accepted_pseudo_labels():
    term, model = fairness([[0.5, 0.3, 0.2]], weak=[0.4, 0.3, 0.3])
    assert term == 0
    term.backward()
    assert model.scale.grad.isfinite()


@pytest.mark.parametrize("given", ["labels", "uniform", "0.2,0.3,0.5"])
def test_a_run_takes_its_prior_from_its_own_labels_unless_told(toy_config, toy_data, tmp_path, monkeypatch, given):
    def draw_skewed(*arguments, **options):
        """Give labels to 6, 2 and 1 clips: the data set's classes are equally frequent."""
        split, labels = make_split(*arguments, **options), toy_data.labels
        train = torch.cat([split.labelled, split.unlabelled])
        picked = torch.cat([train[labels[train] == c][:n] for c, n in enumerate((6, 2, 1))])
        rest = train[~torch.isin(train, picked)]
        return dataclasses.replace(split, labelled=picked, unlabelled=rest)

    monkeypatch.setattr(semi_supervised, "make_split", draw_skewed)
    found: list = []
    monkeypatch.setattr(SemiSupervised, "finish", lambda self, history: found.append(self))
    config = dataclasses.replace(toy_config, prior=given, steps=1, every=1)
    with pytest.raises(AssertionError):  # no result is written
        semi_supervised.train(config, toy_data, "fixmatch", out=tmp_path / "run", quiet=True)
    expected = {"labels": [7 / 12, 3 / 12, 2 / 12], "uniform": [1 / 3] * 3, "0.2,0.3,0.5": [0.2, 0.3, 0.5]}
    assert found[0].algorithm.prior.tolist() == pytest.approx(expected[given])


def test_a_run_with_a_prior_of_another_number_of_classes_makes_no_folder(toy_config, toy_data, tmp_path):
    config = dataclasses.replace(toy_config, prior="0.5,0.5")
    with pytest.raises(ValueError, match=r"prior must be a share of each of the 3 classes, got 2: 0.5,0.5"):
        train(config, toy_data, "fixmatch", out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
