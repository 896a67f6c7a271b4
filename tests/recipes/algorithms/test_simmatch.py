import numpy as np
import pytest
import torch
from ssl_tables import CLASSES, Table, clips
from tables import LABELLED, SURE, UNSURE, Embedder, assert_two_processes_are_one, losses, unlabelled
from torch import nn

from recipes.algorithms.base import Labelled
from recipes.algorithms.simmatch import LabelledBank, SimMatch

ROWS = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
KNOWN = Labelled(clips(ROWS.tolist()), torch.tensor([0, 1, 2, 0]), torch.tensor([2, 0, 5, 3]))
WEAK, STRONG = [[0.8, 0.1, 0.1], [0.3, 0.4, 0.3]], [[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]]


class Heads(Table):
    """A table whose features are its logits, and whose embeddings are its features, made unit vectors."""

    def __init__(self):
        super().__init__()
        self.head = nn.Identity()
        self.head.in_features = CLASSES


def made(**options):
    defaults = {"threshold": 0.0, "distribution_alignment": False, "momentum": 0.9, "dimensions": CLASSES}
    options = defaults | options
    method = SimMatch(CLASSES, **options)
    method.labelled_clips = 6
    method.setup(Table(), None, 4)
    method.projection = nn.Identity()
    return method


def softmax(z):
    e = np.exp(z - np.max(z))
    return e / e.sum()


def unit(z):
    return z / np.linalg.norm(z)


def z_of(row):
    return unit(np.log(row))


def bank(*entries):
    """Return a bank of six clips that holds (index, row of class probabilities, class)."""
    found = LabelledBank(6, CLASSES, 0.7)
    for index, row, target in entries:
        found.embeddings[index] = torch.tensor(z_of(row))
        found.classes[index] = target
    return found


def terms_of(method, weak=WEAK, strong=STRONG, known=KNOWN):
    return losses(method, unlabelled(weak, strong), known, model=Heads())


def worked_out(weak, strong, *, temperature=0.1, alpha=0.9, threshold=0.0):
    """Return both unlabelled terms, clip by clip, with the bank's rows the four labelled clips."""
    classes, rows = KNOWN.target.tolist(), [z_of(row) for row in ROWS]
    unlabelled_term = similarity = 0.0
    for w, s in zip(weak, strong):
        near = softmax(np.array([z_of(w) @ row for row in rows]) / temperature)
        unfolded = np.array([q * w[c] for q, c in zip(near, classes)])
        unfolded /= unfolded.sum()
        aggregated = np.zeros(CLASSES)
        for q, c in zip(near, classes):
            aggregated[c] += q
        target = alpha * np.array(w) + (1 - alpha) * aggregated
        if target.max() >= threshold:
            unlabelled_term -= (target * np.log(s)).sum()
        similarity -= (unfolded * np.log(softmax(np.array([z_of(s) @ row for row in rows]) / temperature))).sum()
    return unlabelled_term / len(weak), similarity / len(weak)


@pytest.mark.parametrize("options", [{}, {"temperature": 0.5}, {"smoothing": 0.4}, {"smoothing": 1.0}])
def test_both_terms_are_those_of_the_equations(options):
    found = terms_of(made(**options))
    names = {"temperature": "temperature", "smoothing": "alpha"}
    wanted = worked_out(WEAK, STRONG, **{names[name]: value for name, value in options.items()})
    assert (found["unlabelled"].item(), found["similarity"].item()) == pytest.approx(wanted, rel=1e-4)
    assert list(found) == ["labelled", "unlabelled", "similarity"]


def test_the_similarities_are_learnt_of_all_clips_and_pseudo_labels_of_the_accepted():
    found = terms_of(made(threshold=0.6))
    wanted = worked_out(WEAK, STRONG, threshold=0.6)
    assert (found["unlabelled"].item(), found["similarity"].item()) == pytest.approx(wanted, rel=1e-4)
    assert 0 < wanted[0] < worked_out(WEAK, STRONG)[0]


def test_the_threshold_is_on_the_smoothed_pseudo_label():
    # The prediction is 0.96 sure of class 0, and the nearest labelled clips are of class 0 and 1.
    method = made(threshold=0.93, smoothing=0.5)
    terms_of(method, [SURE], [UNSURE])
    assert method.logs()["mask"] == 1
    method = made(threshold=0.93, smoothing=0.5)
    known = Labelled(clips([SURE]), torch.tensor([1]), torch.tensor([0]))
    terms_of(method, [SURE], [UNSURE], known)
    assert method.logs()["mask"] == 0


def test_a_batch_writes_the_rows_of_its_own_clips():
    method = made()
    terms_of(method)
    assert method.bank.classes.tolist() == [1, -1, 0, 0, -1, 2]
    for row, index in zip(ROWS, KNOWN.index.tolist()):
        np.testing.assert_allclose(method.bank.embeddings[index].numpy(), z_of(row), rtol=1e-5)
    assert not method.bank.embeddings[[1, 4]].any()


def test_a_row_moves_and_is_normalised_by_its_own_length():
    # USB normalises a (E, B) slice along its second axis: each dimension by the clips of the batch.
    own = bank((0, ROWS[0], 0), (3, ROWS[3], 0))
    new = np.array([z_of(ROWS[1]), z_of(ROWS[2])])
    own.update(torch.tensor(new), torch.tensor([0, 0]), torch.tensor([3, 0]))
    for index, z, old in ((3, new[0], ROWS[3]), (0, new[1], ROWS[0])):
        np.testing.assert_allclose(own.embeddings[index].numpy(), unit(0.7 * z_of(old) + 0.3 * z), rtol=1e-5)
    lengths = own.embeddings[[0, 3]].norm(dim=-1)
    torch.testing.assert_close(lengths, torch.ones(2))


def test_of_a_clip_that_comes_up_twice_the_last_embedding_counts():
    own = bank()
    new = torch.tensor(np.array([z_of(row) for row in ROWS[:3]]))
    own.update(new, torch.tensor([2, 1, 2]), torch.tensor([4, 1, 4]))
    torch.testing.assert_close(own.embeddings[4], new[2].float())
    assert own.classes.tolist() == [-1, 1, -1, -1, 2, -1]


def test_clips_that_have_not_come_up_are_no_rows():
    z, classes = bank((1, ROWS[1], 1), (4, ROWS[2], 2)).clips()
    assert (len(z), classes.tolist()) == (2, [1, 2])


def test_the_bank_remembers_clips_of_other_batches():
    method = made()
    terms_of(method)
    later = Labelled(clips([[0.3, 0.3, 0.4]]), torch.tensor([2]), torch.tensor([1]))
    terms_of(method, known=later)
    assert method.bank.classes.tolist() == [1, 2, 0, 0, -1, 2]


def test_the_gradient_goes_through_the_strong_views_alone():
    method, model = made(), Heads()
    x = torch.tensor(2.0, requires_grad=True)
    batch = unlabelled(WEAK, STRONG)
    weak, strong, known = (part.clone().requires_grad_() for part in (batch.weak, batch.strong, KNOWN.x))
    found = losses(method, batch._replace(weaks=(weak,), strongs=(strong,)), KNOWN._replace(x=known), model=model)
    gradients = torch.autograd.grad(found["similarity"] * x, (strong, known, weak), allow_unused=True)
    assert gradients[0].any()
    assert all(g is None or not g.any() for g in gradients[1:])


def test_where_likely_classes_have_no_similar_clip_there_is_no_nan():
    # The like clip is of a class whose probability is 0 in float32, and the clip of the likely class is as unlike as
    # can be: its similarity is 0 in float32 too.
    def of(*logits):
        return torch.tensor(logits)[:, None, :, None].expand(-1, 1, -1, 5)

    known = Labelled(of([0.0, -200, -200], [0.0, 200, 200]), torch.tensor([1, 0]), torch.tensor([0, 1]))
    batch = unlabelled([SURE], [SURE])._replace(weaks=(of([0.0, -200, -200]),))
    found = losses(made(temperature=0.01), batch, known, model=Heads())
    assert all(term.isfinite() for term in found.values())


def test_alignment_is_to_equal_frequencies():
    method = made(distribution_alignment=True, momentum=0.5, smoothing=1.0)
    found = terms_of(method)
    mean = 0.5 / 3 + 0.5 * np.array(WEAK).mean(0)
    wanted = 0.0
    for w, s in zip(WEAK, STRONG):
        p = np.array(w) * (1 / 3 + 1e-6) / (mean + 1e-6)
        wanted -= (p / p.sum() * np.log(s)).sum() / 2
    assert found["unlabelled"].item() == pytest.approx(wanted, rel=1e-4)


def test_the_projection_follows_the_seed_and_is_trained():
    def first(seed):
        method = SimMatch(CLASSES)
        method.seed = seed
        method.setup(Embedder(8, 12), None, 4)
        return method.projection[0].weight

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))
    assert first(1).requires_grad
    assert first(1).shape == (5, 5)


def test_two_processes_are_one():
    found = assert_two_processes_are_one(SimMatch, network=Embedder, threshold=0.45, temperature=0.5)
    assert 0 < found[2]["mask"] < 1
    assert (found[3]["bank.classes"] >= 0).sum() == 4


def test_original_is_the_papers():
    method = SimMatch(CLASSES, **SimMatch.presets["original"])
    found = (method.threshold, method.smoothing, method.temperature, method.dimensions, method.bank_momentum)
    assert found == (0.95, 0.9, 0.1, 128, 0.7)
    assert LABELLED.index.tolist() == [0, 1]
