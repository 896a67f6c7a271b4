import pytest
import torch

from audiomix.audio import io
from recipes.data.loader import make_split
from recipes.data.protocol import read_dataset
from recipes.data.split import draw_grouped_folds, draw_labelled_split, draw_stratified_folds
from recipes.training.config import parse_amount

LABELS = torch.tensor([0] * 32 + [1] * 24 + [2] * 8 + [-1] * 5)


def test_a_split_is_disjoint_and_covers_every_clip():
    labelled, unlabelled = draw_labelled_split(LABELS, fraction=0.25, seed=0)
    assert sorted([*labelled.tolist(), *unlabelled.tolist()]) == list(range(len(LABELS)))


@pytest.mark.parametrize(
    ("arguments", "counts"),
    [
        ({"fraction": 0.25}, [8, 6, 2]),
        ({"fraction": 0.1}, [3, 2, 1]),
        ({"fraction": 0.01}, [1, 1, 1]),
        ({"fraction": 1.0}, [32, 24, 8]),
        ({"per_class": 5}, [5, 5, 5]),
    ],
)
def test_every_class_gets_its_rounded_share_but_at_least_one_clip(arguments, counts):
    labelled, _ = draw_labelled_split(LABELS, **arguments, seed=3)
    assert LABELS[labelled].bincount().tolist() == counts


def test_clips_of_unknown_class_stay_unlabelled():
    labelled, unlabelled = draw_labelled_split(LABELS, fraction=1.0, seed=0)
    assert (LABELS[labelled] >= 0).all()
    assert LABELS[unlabelled].tolist() == [-1] * 5


def test_the_seed_alone_decides():
    first, again, other = (draw_labelled_split(LABELS, fraction=0.25, seed=s)[0] for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    state = torch.get_rng_state()
    draw_labelled_split(LABELS, fraction=0.25, seed=0)
    assert torch.equal(state, torch.get_rng_state())


def test_every_clip_of_a_class_is_drawn_equally_often():
    drawn = torch.zeros(20)
    for seed in range(1000):
        drawn[draw_labelled_split(torch.zeros(20, dtype=torch.int64), per_class=5, seed=seed)[0]] += 1
    # 250 expected, standard deviation sqrt(1000 * 0.25 * 0.75) = 13.7
    assert (drawn - 250).abs().max() < 4 * 13.7


def test_clips_of_one_group_are_labelled_together():
    groups = [f"recording {i // 4}" for i in range(len(LABELS))]
    labelled, unlabelled = draw_labelled_split(LABELS, fraction=0.25, seed=0, groups=groups)
    assert not {groups[i] for i in labelled} & {groups[i] for i in unlabelled}
    assert (LABELS[labelled].bincount() >= torch.tensor([8, 6, 2])).all()


def test_a_group_that_spans_classes_is_never_torn_apart():
    """Speakers say every word: drawn class by class, each would be on both sides."""
    groups = [f"speaker {i % 12}" for i in range(len(LABELS))]
    for seed in range(5):
        labelled, unlabelled = draw_labelled_split(LABELS, per_class=2, seed=seed, groups=groups)
        known = [groups[i] for i in unlabelled if LABELS[i] >= 0]
        assert not {groups[i] for i in labelled} & set(known)
        assert (LABELS[labelled].bincount(minlength=3) >= 2).all()
        assert len(labelled) < 40


def test_draws_for_other_folds_are_other_draws():
    """Training sets of different folds are ordered alike: with the seed alone the same clips came up in each."""
    labels = torch.arange(10).repeat_interleave(32)
    drawn = [set(draw_labelled_split(labels, fraction=0.1, seed=0, key=(fold,))[0].tolist()) for fold in "12345"]
    shared = [len(a & b) for i, a in enumerate(drawn) for b in drawn[:i]]
    assert max(shared) <= 10  # 3 of 30 expected


def test_folds_are_stratified_even_and_seeded():
    labels = torch.tensor([0] * 23 + [1] * 11)
    folds = draw_stratified_folds(labels, 5, seed=0)
    for c in (0, 1):
        counts = folds[labels == c].bincount(minlength=5)
        assert counts.max() - counts.min() <= 1
    assert torch.equal(folds, draw_stratified_folds(labels, 5, seed=0))
    assert not torch.equal(folds, draw_stratified_folds(labels, 5, seed=1))


def test_amounts_are_read():
    assert parse_amount("10%") == {"fraction": 0.1}
    assert parse_amount("3") == {"per_class": 3}


@pytest.mark.parametrize("text", ["many", "0", "-3", "0%", "150%", "nan%", "1.5"])
def test_an_amount_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match=rf"labelled must be a share of each class .* got '{text}'"):
        parse_amount(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "fraction, per_class must be one of the two"),
        ({"fraction": 0.1, "per_class": 1}, "fraction, per_class must be one of the two"),
        ({"fraction": 10}, r"did you mean 0\.1"),
        ({"fraction": 0.0}, "fraction must be above 0"),
        ({"per_class": 9}, "at most 8, the clips of class 2, got 9"),
    ],
)
def test_a_wrong_amount_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        draw_labelled_split(LABELS, **arguments, seed=0)


def test_labels_are_split_without_decoding_a_file(tone_folder, toy_config, monkeypatch):
    # the study's code decoded every clip to learn its label
    monkeypatch.setattr(io, "read", lambda *_, **__: pytest.fail("a file was decoded"))
    dataset = read_dataset("folder", tone_folder)
    split = make_split(toy_config, dataset, dataset.folds[0], 0)
    assert min(len(part) for part in (split.labelled, split.unlabelled, split.test)) > 0


def test_grouped_folds_are_balanced_where_the_groups_allow_it():
    labels = torch.arange(60) % 3
    groups = [f"{i % 3}-{i // 6}" for i in range(60)]  # ten recordings of two clips in each class
    folds = draw_grouped_folds(labels, groups, 5, seed=1)
    for name in set(groups):
        assert len({int(folds[i]) for i, g in enumerate(groups) if g == name}) == 1
    for c in range(3):
        assert folds[labels == c].bincount(minlength=5).tolist() == [4] * 5
