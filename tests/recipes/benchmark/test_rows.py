"""What a row of a benchmark means."""

import dataclasses

import pytest

from recipes import algorithms
from recipes.benchmark.rows import read_row, read_rows, slug
from recipes.training.config import Config


def test_a_row_without_options_is_the_method_as_the_preset_has_it():
    row = read_row("mixmatch", "small")
    assert (row.method, row.title, row.mixer) == ("mixmatch", "mixmatch + mixup", "mixup")
    assert row.options["weight"] == "linear:0:10:0.4"  # the method's own at this preset
    assert row.config.weak_view == "mid"
    assert read_row("mixmatch", "original").mixer == "mixup:per=clip"


def test_keys_are_the_methods_options_and_else_the_configurations():
    row = read_row("fixmatch:threshold=0.9,steps=7,model_options=width=4,grouped", "small")
    assert row.options["threshold"] == 0.9
    assert (row.config.steps, row.config.model_options, row.config.grouped) == (7, ("width=4",), True)


@pytest.mark.parametrize("name", algorithms.available())
def test_no_option_of_a_method_has_the_name_of_one_of_the_configuration(name):
    fields = {field.name for field in dataclasses.fields(Config)}
    assert not fields & set(algorithms.options(algorithms.get(name)))


def test_the_mixer_follows_a_plus_and_numbers_may_hold_one():
    row = read_row("fixmatch:lr=1e+0+mixup:alpha=0.3,keep_larger=true", "small")
    assert (row.config.lr, row.mixer) == (1.0, "mixup:alpha=0.3,keep_larger=true")
    assert read_row("fixmatch", "small", mixer="mixup").mixer == "mixup"
    assert read_row("fixmatch+none", "small", mixer="mixup").mixer is None
    assert read_row("mixmatch+none", "small").title == "mixmatch without mixing"


def test_what_a_row_says_comes_before_what_all_rows_have():
    overrides = {"steps": 100, "lr": 0.5}
    assert read_row("supervised", "small", overrides=overrides).config.steps == 100
    row = read_row("supervised:steps=7", "small", overrides=overrides)
    assert (row.config.steps, row.config.lr) == (7, 0.5)
    assert read_row("supervised:lr=0.1", "small", overrides=overrides).config.lr == 0.1
    longer = read_row("supervised:epochs=3", "small", overrides=overrides).config
    assert (longer.steps, longer.epochs) == (None, 3)


def test_all_methods_are_the_default_and_those_without_unlabelled_clips_come_first():
    from recipes import algorithms

    rows = read_rows([], "small")
    assert rows[0].method == "supervised"
    assert sorted(row.method for row in rows) == algorithms.available()
    assert len({row.folder for row in rows}) == len(rows)
    assert len({row.title for row in read_rows(["supervised", "supervised:steps=7", "supervised+mixup"], "small")}) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fixmach", "did you mean 'fixmatch'"),
        ("fixmatch:treshold=0.9", "did you mean 'threshold'"),
        ("supervised:steps=1.5", "steps of the row supervised must be a whole number, got '1.5'"),
        ("fixmatch:threshold=high", "threshold of the row fixmatch must be a number, got 'high'"),
        ("fixmatch:threshold=95", "did you mean 0.95"),
        ("supervised:stepz=3", "did you mean 'steps'"),
        ("fixmatch:labelled=3", "all rows have it: --labelled"),
        ("fixmatch+mixop", "did you mean 'mixup'"),
        ("fixmatch+mixup:alfa=1", "did you mean 'alpha'"),
        ("supervised:steps=0", "steps must be an integer of at least 1"),
    ],
)
def test_a_wrong_row_is_named(text, message):
    with pytest.raises(ValueError, match="must be") as caught:
        read_row(text, "small")
    assert message in str(caught.value)


def test_folders_are_names_on_any_system_and_never_shared():
    assert slug("a:b=1/2+c:d=0.5") == "a_b=1_2+c_d=0.5"
    with pytest.raises(ValueError, match="the same folder"):  # on a disk that does not tell a from A
        read_rows(["supervised:grouped=true", "supervised:grouped=True"], "small")


def test_none_is_a_word_where_it_is_a_choice_and_nothing_where_nothing_may_be():
    assert read_row("remixmatch:alignment=none", "small").options["alignment"] == "none"
    assert read_row("supervised:validation=none", "small", overrides={"validation": "20%"}).config.validation is None
    with pytest.raises(ValueError, match="a whole number"):
        read_row("remixmatch:views=none", "small")
