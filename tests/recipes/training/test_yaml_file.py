"""YAML is read as the command line is: none of YAML's own readings of words and numbers, and nothing is run."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from recipes.training.yaml_file import read_argument, read_yaml, write_yaml


def read(tmp_path, text):
    (tmp_path / "x.yaml").write_text(text, encoding="utf-8")
    return read_yaml(tmp_path / "x.yaml")


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("no", str, "no"),
        ("on", str, "on"),
        ("yes", str, "yes"),
        ("null", str | None, None),
        ("~", float | None, None),
        ("", str | None, None),
        ("'null'", str | None, "null"),
        ("no", bool, False),
        ("off", bool, False),
        ("on", bool, True),
        ("True", bool, True),
        ("1e-3", float, 0.001),
        ("1.e-3", float, 0.001),
        ("010", str, "010"),
        ("010", tuple[str, ...], ("010",)),
        ("12:30", str, "12:30"),
        ("2026-01-01", str, "2026-01-01"),
        ("10%", str, "10%"),
        ("3", str, "3"),
        ("1.0", str, "1.0"),
        ("2.0", int, 2),
        ("[no, off]", tuple[str, ...], ("no", "off")),
        ("[0, 1]", tuple[int, ...], (0, 1)),
        ("[]", tuple[str, ...], ()),
        ("0.2..0.4", tuple[float, float], (0.2, 0.4)),
        ("[0.2, 0.4]", tuple[float, float] | float, (0.2, 0.4)),
        ("a/b", Path | None, Path("a/b")),
        ("linear:0:1:0.4", str | float, "linear:0:1:0.4"),
    ],
)
def test_a_value_is_what_the_word_on_the_command_line_is(text, kind, expected, tmp_path):
    got = read_argument(read(tmp_path, f"key: {text}\n")["key"], kind, "key")
    assert (got, type(got)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("1.5", int, "key must be a whole number"),
        ("[1, 2]", int, "key must be one value, got a list of 2"),
        ("{a: 1}", str, "key must be a value, got a mapping with a"),
        ("null", int, "key must be a value, got none"),
        ("maybe", bool, "key must be true or false"),
        ("[1, 2, 3]", tuple[int, int], "key must be 2 values, got 3"),
    ],
)
def test_a_value_of_another_type_is_refused(text, kind, message, tmp_path):
    with pytest.raises(ValueError, match="must be") as error:
        read_argument(read(tmp_path, f"key: {text}\n")["key"], kind, "key")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: a stands there twice"),
        ("a: [1\n", "YAML"),
        ("- a\n- b\n", "lines of KEY: VALUE"),
        ("", "with nothing"),
        ("? [a, b]\n: 1\n", "a key must be a word"),
        ("a: !!python/object/apply:os.system [echo]\n", "python/object"),
        ("a: !mine x\n", "!mine"),
    ],
)
def test_what_is_no_file_of_arguments_is_refused_with_its_line(text, message, tmp_path):
    with pytest.raises(ValueError, match=r"x\.yaml") as error:
        read(tmp_path, text)
    assert message in str(error.value)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no such file"):
        read_yaml(tmp_path / "none.yaml")


VALUES = {
    str: st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=12),
    float: st.floats(allow_nan=False, allow_infinity=False),
    int: st.integers(),
    bool: st.booleans(),
    tuple[str, ...]: st.lists(st.sampled_from(["no", "1", "on", "a: b", "#x", "null", "~", ""])).map(tuple),
    int | None: st.one_of(st.none(), st.integers()),
}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(data=st.data())
def test_what_is_written_is_read_to_the_same_value(data, tmp_path):
    kind = data.draw(st.sampled_from(list(VALUES)))
    value = data.draw(VALUES[kind])
    write_yaml(tmp_path / "y.yaml", {"key": value, "nested": {"key": value}}, "two\nlines")
    found = read_yaml(tmp_path / "y.yaml")
    for text in (found["key"], found["nested"]["key"]):
        got = read_argument(text, kind, "key")
        assert (got, type(got)) == (value, type(value))
