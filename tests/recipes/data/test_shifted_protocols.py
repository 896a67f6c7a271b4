"""Uneven classes, wrong labels and clips of other classes: known counts, what they leave alone, what is refused."""

from dataclasses import replace

import pytest
import torch

from audiomix.datasets.dataset import OUTLIER, UNKNOWN, Dataset
from audiomix.datasets.item import Item
from recipes.data.loader import make_split
from recipes.data.protocol import describe_protocol, take_out_classes
from recipes.data.split import draw_noisy_labels, long_tail, thin_classes
from recipes.training.config import Config
from recipes.training.run_folder import begin, read_split

NAMES = tuple(f"c{k}" for k in range(5))
LABELS = torch.arange(5).repeat_interleave(40)


def clips(per_fold=20, folds=("1", "2", "3"), groups=None):
    """Return five classes with so many clips in each fold, and one clip of unknown class."""
    items = [
        Item("", f"{fold}/{name}/{i:02}", name, fold=fold, group=groups and groups(fold, name, i))
        for fold in folds
        for name in NAMES
        for i in range(per_fold)
    ]
    return Dataset("toy", (*items, Item("", "x/unknown")), NAMES, 8000, 1.0)


def counts(data, part):
    labels = torch.tensor(data.labels)[part]
    return labels[labels >= 0].bincount(minlength=len(data.class_names)).tolist()


def test_shares_fall_geometrically_from_one_to_one_over_the_ratio():
    shares = long_tail(5, 81, seed=3)
    assert sorted(shares.tolist(), reverse=True) == pytest.approx([1, 1 / 3, 1 / 9, 1 / 27, 1 / 81])
    assert long_tail(5, 1, seed=3).tolist() == [1] * 5
    backwards = long_tail(5, 1 / 81, seed=3)
    assert torch.equal(backwards.argsort(), shares.argsort().flip(0))
    assert backwards.max() == 1
    assert backwards.min() == pytest.approx(1 / 81)


def test_every_class_is_the_rarest_under_some_seed():
    assert {int(long_tail(5, 10, seed=seed).argmin()) for seed in range(60)} == set(range(5))


def test_a_class_keeps_its_rounded_share_and_no_clip_is_preferred():
    shares = torch.tensor([1, 0.5, 0.26, 0.1, 0.001], dtype=torch.float64)
    stays = thin_classes(torch.cat([LABELS, torch.full((3,), -2)]), shares, seed=0)
    assert LABELS[stays[:-3]].bincount(minlength=5).tolist() == [40, 20, 10, 4, 0]
    assert stays[-3:].all()
    assert LABELS[thin_classes(LABELS, shares, seed=0, least=1)].bincount().tolist() == [40, 20, 10, 4, 1]
    total = sum(thin_classes(LABELS, shares, seed=seed)[40:80].double() for seed in range(400))
    assert (total - 200).abs().max() < 4 * 10  # standard deviation sqrt(400 / 4) = 10


def test_training_clips_become_uneven_and_nothing_else_does():
    data, config = clips(), Config(labelled="50%", imbalance=16)
    plain = make_split(replace(config, imbalance=1.0), data, "1", 4)
    split = make_split(config, data, "1", 4)
    shares = long_tail(5, 16, seed=4)
    for part in ("labelled", "unlabelled"):
        assert counts(data, getattr(split, part)) == [round(20 * s) for s in shares.tolist()]
        assert set(getattr(split, part).tolist()) <= set(getattr(plain, part).tolist())
    assert torch.equal(split.test, plain.test)
    assert counts(data, split.test) == [20] * 5
    every = torch.cat([split.labelled, split.unlabelled, split.left_out])
    assert sorted(every.tolist()) == sorted(torch.cat([plain.labelled, plain.unlabelled]).tolist())
    unknown = data.labels.index(UNKNOWN)
    assert unknown in split.unlabelled.tolist()
    assert not len(plain.left_out)


def test_the_most_frequent_class_is_the_same_in_all_folds_of_a_seed():
    data, config = clips(), Config(labelled="50%", imbalance=10)
    most = {max(range(5), key=counts(data, make_split(config, data, f, 2).labelled).__getitem__) for f in "123"}
    assert len(most) == 1


@pytest.mark.parametrize("ratio", [1, 4, 0.1])
def test_unlabelled_clips_may_have_another_ratio(ratio):
    data = clips()
    split = make_split(Config(labelled="50%", imbalance=10, imbalance_unlabelled=ratio), data, "1", 0)
    for part, own in (("labelled", 10), ("unlabelled", ratio)):
        assert counts(data, getattr(split, part)) == [round(20 * s) for s in long_tail(5, own, seed=0).tolist()]


def test_clips_that_are_left_out_are_not_trained_on_where_labelled_ones_are_used_again():
    split = make_split(Config(labelled="50%", imbalance=16, reuse_labelled=True), clips(), "1", 0)
    assert set(split.labelled.tolist()) <= set(split.unlabelled.tolist())
    assert not set(split.left_out.tolist()) & set(split.train.tolist())


def test_a_class_left_without_a_label_is_refused():
    message = r"one label of the rarest class, got 0\.1 of 4 labels of class c\d.*--labelled 5\?"
    with pytest.raises(ValueError, match=message):
        make_split(Config(labelled="4", imbalance=10), clips(), "1", 0)
    assert min(counts(clips(), make_split(Config(labelled="5", imbalance=10), clips(), "1", 0).labelled)) == 1


def test_recordings_stay_on_one_side_where_classes_are_uneven():
    data = clips(groups=lambda fold, name, i: f"{fold}-{name}-{i // 4}")
    split = make_split(Config(labelled="50%", imbalance=5, grouped=True), data, "1", 0)
    sides = [{data.groups[i] for i in part.tolist()} for part in (split.labelled, split.unlabelled, split.test)]
    assert not sides[0] & sides[1]
    assert not (sides[0] | sides[1]) & sides[2]


def test_exactly_the_share_of_labels_is_wrong_and_every_other_class_is_as_likely():
    noisy = draw_noisy_labels(LABELS, 0.3, 5, seed=0)
    assert LABELS[noisy.ne(LABELS)].bincount().tolist() == [12] * 5
    table = torch.zeros(5, 5)
    for seed in range(200):
        noisy = draw_noisy_labels(LABELS, 0.5, 5, seed=seed)
        table.index_put_((LABELS, noisy), torch.ones(200), accumulate=True)
    assert table.diagonal().tolist() == [200 * 20] * 5
    others = table[~torch.eye(5, dtype=torch.bool)]
    assert (others - 1000).abs().max() < 5 * 28  # 200 * 20 draws of one in four: standard deviation 27.4


def test_few_labels_lose_a_right_one_in_turn_by_class():
    labels = torch.arange(10).repeat_interleave(3)
    wrong = [draw_noisy_labels(labels, 0.2, 10, seed=seed) != labels for seed in range(50)]
    for w in wrong:
        assert sorted(int(w[labels == c].sum()) for c in range(10)) == [0] * 4 + [1] * 6
    assert all(any(bool(w[labels == c].any()) for w in wrong) for c in range(10))


@pytest.mark.parametrize(
    ("share", "message"),
    [(0.01, "enough for one wrong label, got 0.01 of 10 labels"), (0.2, "got 1 wrong ones of 1 of class")],
)
def test_noise_that_cannot_be_is_refused(share, message):
    with pytest.raises(ValueError, match=message):
        draw_noisy_labels(torch.arange(10), share, 10, seed=0)


def test_the_method_alone_sees_noisy_labels_and_only_of_labelled_clips():
    data = clips()
    labels = torch.tensor(data.labels)
    split = make_split(Config(labelled="5", label_noise="20%"), data, "1", 0)
    plain = make_split(Config(labelled="5"), data, "1", 0)
    assert torch.equal(split.labelled, plain.labelled)
    given = split.training_labels(labels)
    assert int((given[split.labelled] != labels[split.labelled]).sum()) == 5
    others = torch.ones(len(labels), dtype=torch.bool)
    others[split.labelled] = False
    assert given[others].unique().tolist() == [UNKNOWN]
    assert torch.equal(plain.training_labels(labels)[split.labelled], labels[split.labelled])


def test_uneven_and_noisy_splits_are_saved_and_read_again(tmp_path):
    data = clips()
    labels = torch.tensor(data.labels)
    for i, config in enumerate([Config(labelled="50%", imbalance=10, label_noise="20%"), Config(labelled="5")]):
        split = make_split(config, data, "2", 1)
        begin(folder := tmp_path / str(i), {}, split.ids(data))
        again = read_split(folder, data)
        assert again.digest == split.digest
        assert torch.equal(again.training_labels(labels), split.training_labels(labels))
    assert '"noisy_labels"' in (tmp_path / "0/split.json").read_text()
    assert "noisy_labels" not in (tmp_path / "1/split.json").read_text()
    path = tmp_path / "0/split.json"
    path.write_text(path.read_text().replace('"c3"', '"c9"'))
    with pytest.raises(ValueError, match="the class of each labelled clip, got noisy_labels"):
        read_split(tmp_path / "0", data)


def test_the_seed_and_the_fold_decide():
    data, config = clips(), Config(labelled="50%", imbalance=10, label_noise="20%")
    digests = [make_split(config, data, fold, seed).digest for fold, seed in (("1", 0), ("1", 0), ("1", 1), ("2", 0))]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_outliers_train_without_labels_in_the_training_folds_alone():
    data = clips(groups=lambda fold, name, i: f"{fold}-{name}-{i // 4}")
    more = take_out_classes(data, ["c1", "c3"])
    assert more.class_names == ("c0", "c2", "c4")
    split = make_split(Config(labelled="3"), more, "1", 0)
    labels = torch.tensor(more.labels)
    assert counts(more, split.labelled) == [3, 3, 3]
    assert counts(more, split.test) == [20, 20, 20]
    assert len(split.test) == 60
    assert counts(more, split.unlabelled) == [37, 37, 37]
    outliers = split.unlabelled[labels[split.unlabelled] == OUTLIER]
    assert len(outliers) == 80
    assert {more.items[i].fold for i in outliers.tolist()} == {"2", "3"}
    assert more.groups == data.groups
    assert more.folds == data.folds


def test_outliers_are_never_validated_on_and_stay_where_classes_are_uneven():
    speakers = clips(groups=lambda fold, name, i: f"{fold}-speaker{i // 4}")  # who say words of all classes
    more = take_out_classes(speakers, ["c1"])
    split = make_split(Config(labelled="5", validation="20%", imbalance=10), more, "1", 0)
    labels = torch.tensor(more.labels)
    assert len(split.valid)
    assert (labels[split.valid] >= 0).all()
    assert not {more.groups[i] for i in split.valid.tolist()} & {more.groups[i] for i in split.train.tolist()}
    held = len(make_split(Config(labelled="5", validation="20%"), more, "1", 0).unlabelled)
    assert len(split.unlabelled) < held
    assert not (labels[split.left_out] == OUTLIER).any()


def test_a_number_draws_the_same_classes_each_time():
    drawn = [take_out_classes(clips(), ["2"]).outlier_classes for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) == 2


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["c1", "dog"], "outlier_classes must be one of c0, c1, .*got 'dog'"),
        (["4"], "two fewer than there are, got 4 of 5"),
        (["0"], "got 0 of 5"),
        (["c0", "c1", "c2", "c3"], "got 4 of 5"),
    ],
)
def test_classes_that_cannot_be_taken_out_are_refused(names, message):
    with pytest.raises(ValueError, match=message):
        take_out_classes(clips(), names)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"imbalance": 0.5}, "imbalance must be"),
        ({"imbalance_unlabelled": 0}, "imbalance_unlabelled must be"),
        ({"label_noise": "20"}, r"label_noise must be a share .* got '20'.*20%\?"),
        ({"label_noise": "0%"}, "label_noise must be a share"),
    ],
)
def test_wrong_amounts_are_refused_when_they_are_given(arguments, message):
    with pytest.raises(ValueError, match=message):
        Config(**arguments)


def test_what_is_unusual_is_told_in_words():
    data = clips()
    assert describe_protocol(Config(), data) == []
    assert describe_protocol(Config(imbalance=10, imbalance_unlabelled=1), data) == [
        "labelled classes 10 to 1, unlabelled ones 1 to 1"
    ]
    assert describe_protocol(Config(imbalance=10, imbalance_unlabelled=0.1), data) == [
        "labelled classes 10 to 1, unlabelled ones 1 to 10 (reversed)"
    ]
    assert describe_protocol(Config(), take_out_classes(data, ["c2", "c0"])) == [
        "unlabelled clips of other classes too: c0, c2"
    ]
