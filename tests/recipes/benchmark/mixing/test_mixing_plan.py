"""Strengths are chosen on inner folds: no clip of the tested fold decides; what has no row has a reason."""

import itertools
import re
from dataclasses import replace

import pytest

from audiomix.catalogue import kinds
from audiomix.datasets.dataset import Dataset
from audiomix.datasets.item import Item
from recipes.benchmark.mixing.plan import (
    CHOICE_SEED,
    Measured,
    choose_strengths,
    inner_runs,
    list_holdouts,
    split_of,
    table_runs,
)
from recipes.benchmark.mixing.rows import BASE, CUT, GRID, ROWS, MixingRow, choose_rows
from recipes.benchmark.mixing.train import seconds_per_step
from recipes.benchmark.rows import parse_row
from recipes.commands._listing import list_sections
from recipes.training import mixing
from recipes.training.config import Config
from recipes.training.mixing._criteria import DEFAULT


def data(folds="12345", *, split=None):
    items = [
        Item("", f"{fold}{label}{i}.wav", label, fold=fold, split=split and split[fold])
        for fold, label, i in itertools.product(folds, "ab", range(10))
    ]
    return Dataset("toy", tuple(items), ("a", "b"), 8000, 1.0)


@pytest.mark.parametrize("folds", ["12345", "123", "1234567"])
def test_every_fold_is_decided_for_by_trainings_that_never_saw_it(folds):
    found = data(folds)
    decided = set()
    for run in inner_runs(choose_rows([BASE]), ["50%"], list_holdouts(found, folds)):
        split = split_of(run, Config(labelled="50%"), found)
        trained = {found.items[i].fold for i in split.train.tolist()}
        for i in split.test.tolist():
            fold = run.holdout.decides(found.items[i].fold)
            assert found.items[i].fold != fold  # what it is measured on
            assert fold not in trained  # what it is trained on
            assert found.items[i].fold not in trained
            decided.add(fold)
    assert decided == set(folds)


def test_few_folds_are_asked_for_and_the_others_train():
    assert [holdout.name for holdout in list_holdouts(data(), "3")] == ["3+1"]
    assert [holdout.name for holdout in list_holdouts(data(), "12")] == ["1+2"]


def test_labels_of_the_tested_fold_change_nothing_of_what_decides_for_it():
    """The inner splits that decide for fold 1 are the same, whatever its clips are called."""
    one = data()
    items = [replace(i, label="ba"["ab".index(i.label)]) if i.fold == "1" else i for i in one.items]
    other = replace(one, items=tuple(items))
    runs = inner_runs(choose_rows([BASE]), ["50%"], list_holdouts(one, "12345"))
    mine = [run for run in runs if "1" in (run.holdout.decides(fold) for fold in run.holdout.folds)]
    assert mine
    for run in mine:
        splits = [split_of(run, Config(labelled="50%"), found) for found in (one, other)]
        assert splits[0].labelled.tolist() == splits[1].labelled.tolist()
        kept = [[i for i in split.test.tolist() if run.holdout.decides(one.items[i].fold) == "1"] for split in splits]
        assert kept[0] == kept[1]
        assert all(one.labels[i] == other.labels[i] for i in kept[0])


def test_an_official_validation_part_decides_where_there_are_too_few_folds():
    split = {"1": "train", "2": "validation", "3": "test"}
    items = [replace(item, fold=None, split=split[item.fold]) for item in data("123").items]
    found = replace(data("123"), items=tuple(items))
    (holdout,) = list_holdouts(found, found.folds)
    (run, _) = inner_runs(choose_rows([BASE]), ["50%"], [holdout])
    made = split_of(run, Config(labelled="50%"), found)
    assert {found.items[i].split for i in made.test.tolist()} == {"validation"}
    assert {found.items[i].split for i in made.train.tolist()} == {"train"}
    assert run.holdout.decides("") == "test"


def test_the_strength_with_the_smaller_error_is_chosen_then_likelihood_then_the_weaker():
    def chosen(*found):
        return choose_strengths({("mixup", "10%", "1", i): parts for i, parts in enumerate(found)})["mixup", "10%", "1"]

    assert chosen([Measured(80, 10, 9.0)], [Measured(80, 9, 99.0)]) == 1
    assert chosen([Measured(80, 10, 9.0)], [Measured(80, 10, 8.0)]) == 1
    assert chosen([Measured(80, 10, 9.0)], [Measured(80, 10, 9.0)]) == 0
    assert chosen([Measured(80, 10, 9.0), Measured(80, 0, 9.0)], [Measured(80, 6, 1.0)]) == 0  # 5 of 80 and 6 of 80


def test_the_grid_is_as_large_for_all_rows_and_its_seed_is_not_the_tables():
    runs = inner_runs(ROWS, ["100%", "10%"], list_holdouts(data(), "12345"))
    assert {len([run for run in runs if run.row is row]) for row in ROWS} == {2 * GRID * 3}
    assert {run.seed for run in runs} == {CHOICE_SEED}
    assert len({run.file for run in runs}) == len(runs)
    choices = {(row.name, "10%", fold): 1 for row in ROWS for fold in "12"}
    made = table_runs(ROWS, ["10%"], "12", [0, 1], choices)
    assert len(made) == len(ROWS) * 4
    assert [run.seed for run in made] == sorted(run.seed for run in made)  # seed by seed
    assert not {run.file for run in made} & {run.file for run in runs}
    with pytest.raises(ValueError, match=f"seed must be others than {CHOICE_SEED}"):
        table_runs(ROWS, ["10%"], "12", [0, CHOICE_SEED], choices)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_can_be_made_at_both_strengths(row):
    made = [parse_row(row.at(i), "small") for i in range(GRID)]
    assert made[0] != made[1]
    assert {one.method for one in made} == {"supervised"}


def test_the_time_of_an_epoch_has_what_comes_again_in_it_as_often_as_it_does():
    searched = [4.0, 1.0, 1.0, 4.0, 1.0, 1.0, 4.0, 1.0]  # every third step
    assert seconds_per_step(searched, 3) == pytest.approx(2.0)
    chosen = [31.0, *[1.0] * 7]  # once in 100 steps
    assert seconds_per_step(chosen, 100) == pytest.approx(1.3)
    assert seconds_per_step(chosen, 1) == pytest.approx(38 / 8)
    assert mixing.get("madaug")(every=5).cost_period(15) == 5
    assert mixing.get("adversarial_automix")().cost_period(15) == 2


def test_a_row_without_a_grid_or_of_no_kind_is_refused():
    with pytest.raises(ValueError, match="strengths"):
        MixingRow("x", "mixer", "supervised+mixup:alpha={}", ("0.1",))
    with pytest.raises(ValueError, match="kind"):
        MixingRow("x", "mixers", "supervised+mixup:alpha={}", ("0.1", "0.2"))
    with pytest.raises(ValueError, match="did you mean"):
        choose_rows(["mixpu"])


@pytest.fixture(scope="module")
def listed():
    """The names that `audiomix list` and `audiomix-recipes list` print, by command and kind."""
    own = {("audiomix", kind.key): [entry.name for entry in kind.entries] for kind in kinds()}
    return own | {("recipes", s.key): [entry.name for entry in s.entries] for s in list_sections()}


def names_without_place(listed, rows, cut):
    """Return what a row could be made of and has neither a row nor a reason."""
    asked = [("audiomix", key) for key in ("mixers", "transforms", "policies", "losses")]
    asked += [("recipes", key) for key in ("mixers", "transforms", "learned_mixing", "losses")]
    used = {name for row in rows for name in re.findall(r"(?:\+|loss=)([A-Za-z]\w*)", row.text)}
    assert [name for name in cut if name in used] == []
    known = dict.fromkeys(name for key in asked for name in listed[key])
    assert all(listed[key] for key in asked)
    return [name for name in known if name not in used and name not in cut and name != DEFAULT]


def test_all_that_is_listed_has_a_row_or_a_reason(listed):
    assert names_without_place(listed, ROWS, CUT) == []
    for name in ("OneOf", "mixoe", "speaker_mix"):
        assert names_without_place(listed, ROWS, {key: why for key, why in CUT.items() if key != name}) == [name]
    assert names_without_place(listed, [row for row in ROWS if row.name != "madaug"], CUT) == ["madaug"]


def test_a_reason_is_of_something_that_exists_and_is_shown_in_a_line(listed):
    known = {name for names in listed.values() for name in names}
    assert [name for name in CUT if name not in known] == []
    assert [name for name, why in CUT.items() if not 10 < len(why) < 110 or why.endswith(".")] == []
