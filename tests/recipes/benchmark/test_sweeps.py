"""Sweeps: one text is a row for each value between bars."""

import pytest

from recipes.benchmark.rows import expand_sweeps, parse_rows


def test_each_value_is_a_row_that_the_table_names():
    rows = parse_rows(["supervised", "fixmatch:threshold=0.8|0.9|0.95"], "small")
    assert [row.options.get("threshold") for row in rows] == [None, 0.8, 0.9, 0.95]
    assert [row.title for row in rows[1:]] == [f"fixmatch (threshold={t})" for t in ("0.8", "0.9", "0.95")]
    assert len({row.folder for row in rows}) == 4


def test_several_swept_options_are_their_product_in_order():
    assert expand_sweeps("fixmatch:threshold=0.8|0.9,steps=5|6+mixup:alpha=0.3") == [
        "fixmatch:threshold=0.8,steps=5+mixup:alpha=0.3",
        "fixmatch:threshold=0.8,steps=6+mixup:alpha=0.3",
        "fixmatch:threshold=0.9,steps=5+mixup:alpha=0.3",
        "fixmatch:threshold=0.9,steps=6+mixup:alpha=0.3",
    ]


def test_options_of_mixers_and_networks_are_swept_too():
    assert [row.mixer for row in parse_rows(["supervised+mixup:alpha=0.2|0.4"], "small")] == [
        "mixup:alpha=0.2",
        "mixup:alpha=0.4",
    ]
    rows = parse_rows(["supervised:model_options=width=8|width=16,steps=7"], "small")
    assert [(row.config.model_options, row.config.steps) for row in rows] == [(("width=8",), 7), (("width=16",), 7)]


def test_a_value_named_twice_is_one_row():
    assert len(parse_rows(["fixmatch:threshold=0.8|0.8", "fixmatch:threshold=0.8"], "small")) == 1


@pytest.mark.parametrize("text", ["supervised", "fixmatch:threshold=0.9,weight=1e+3", "mine.py:M:kernel=(3, 5)+mixup"])
def test_a_row_without_bars_is_itself(text):
    assert expand_sweeps(text) == [text]


def test_a_bar_that_belongs_to_a_value_is_escaped():
    assert expand_sweeps(r"mine.py:M:pattern=a\|b,x=1|2") == ["mine.py:M:pattern=a|b,x=1", "mine.py:M:pattern=a|b,x=2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fixmatch:threshold=0.8||0.9", "a value on each side of |"),
        ("fixmatch:threshold=0.8|", "a value on each side of |"),
        ("fixmatch|adamatch", "separated by spaces"),
        ("fixmatch:threshold=0.8|many", "threshold"),
    ],
)
def test_what_is_no_sweep_is_refused(text, message):
    with pytest.raises(ValueError, match="must be") as error:
        parse_rows([text], "small")
    assert message in str(error.value)
