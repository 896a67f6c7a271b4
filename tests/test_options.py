"""Options: listed from signature and docstring, read from ``key=value,...`` by their types."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from audiomix import MixUp, Schedule, mixers
from audiomix.beats import trackers
from audiomix.options import describe_type, options_of, read_options, read_value, read_values

VALUES = [
    ("true", bool, True), ("Yes", bool, True), ("1", bool, True), ("no", bool, False), ("0", bool, False),
    ("7", int, 7), ("-3", int, -3), ("2.0", int, 2), ("0x10", int, 16), ("007", int, 7),
    ("9007199254740993.0", int, 9007199254740993),
    ("1e-3", float, 0.001), ("7", float, 7.0), ("7", str, "7"), ("none", str, "none"),
    ("a b", Path, Path("a b")),
    ("none", int | None, None), ("None", float | None, None), ("3", int | None, 3),
    ("none", Literal["none", "labels"] | None, "none"),
    ("0.5", float | str, 0.5), ("linear:0:1", float | str, "linear:0:1"),
    ("beat", Literal["downbeat", "beat"], "beat"), ("2", Literal[1, 2], 2),
    ("-5..5", tuple[float, float], (-5.0, 5.0)), ("-5 5", tuple[float, float], (-5.0, 5.0)),
    ("(3, 5)", tuple[int, int], (3, 5)), ("0.5..1.5", tuple[float, float], (0.5, 1.5)),
    ("3 4", Sequence[int], (3, 4)), ("3", tuple[int, ...], (3,)), ("[1, 2]", list[int], [1, 2]),
    ("width=4 stem=(1..2)", tuple[str, ...], ("width=4", "stem=(1..2")),
    ("3", Annotated[int, "of clips"], 3),
    ("(3, 3)", Any, (3, 3)), ("false", Any, False), ("none", Any, None), ("wide", Any, "wide"), ("1.5", Any, 1.5),
]  # fmt: skip


@pytest.mark.parametrize(("text", "kind", "value"), VALUES, ids=str)
def test_a_text_is_read_as_its_type_says(text, kind, value):
    found = read_value(text, kind, "x")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("often", bool, "x must be true or false, got 'often'"),
        ("1.5", int, "x must be a whole number, got '1.5'"),
        ("inf", int, "x must be a whole number"),
        ("much", float, "x must be a number, got 'much'"),
        ("much", int | None, "x must be a whole number, got 'much'"),
        ("none", int, "x must be a whole number, got 'none'"),
        ("much", int | float, "x must be a whole number or a number, got 'much'"),
        ("baet", Literal["downbeat", "beat"], "did you mean 'beat'"),
        ("1", tuple[int, int], r"x must be 2 values with \.\. or a space between them, got '1'"),
        ("1..high", tuple[int, int], "x must be a whole number, got 'high'"),
    ],
)
def test_a_text_of_another_type_is_refused(text, kind, message):
    with pytest.raises(ValueError, match=message):
        read_value(text, kind, "x")


class Toy:
    """A toy.

    Parameters
    ----------
    size : int
        How large.
    words : str
        Joined by +.
    way : str
        Where to: ``up`` or ``down``.
    fast, loud : bool
        Two flags.
    """

    def __init__(
        self, size: int, *, words: str = "", way: Literal["up", "down"] = "up", fast: bool = False, loud=True, rest=0.5
    ) -> None: ...


def anything(first, **options: Any): ...


def test_pairs_are_read_against_the_signature():
    text = "size=3, words=a+b ,way=down,fast,loud=no,rest=(1, 2)"
    found = {"size": 3, "words": "a+b", "way": "down", "fast": True, "loud": False, "rest": (1, 2)}
    assert read_options(text, Toy, "toy") == found
    assert read_options(["size=3", "rest=[1, 2]"], Toy, "toy") == {"size": 3, "rest": [1, 2]}
    assert read_options("", Toy, "toy") == read_options((), Toy, "toy") == {}
    assert read_values("a-b=1", {"a_b": int}, "x") == {"a_b": 1}
    assert read_options("other=3,more", anything, "x", skip=("first",)) == {"other": 3, "more": True}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sise=3", "the option of toy must be one of size, words, .* got 'sise': did you mean 'size'"),
        ("size", "the options of toy must be key=value, with the key size, words, .* got size"),
        ("fats", "got fats: did you mean 'fast'"),
        ("down", r"got down: way=down\?"),
        ("words=up,left", r"got left: several values are joined by \+, as in words=up\+left"),
        ("size=big", "the option size of toy must be a whole number, got 'big'"),
        ("=3", "the option of toy must be one of size"),
    ],
)
def test_wrong_pairs_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        read_options(text, Toy, "toy")


def test_what_takes_no_options_says_so():
    with pytest.raises(ValueError, match="the options of esc10 must be none, got words=a"):
        read_options("words=a", lambda root: None, "esc10", skip=("root",))
    with pytest.raises(ValueError, match="the options of x must be key=value, got 'not a name=3'"):
        read_options("not a name=3", anything, "x", skip=("first",))


def test_options_are_listed_with_types_defaults_and_sentences():
    found = {o.name: o for o in options_of(Toy)}
    assert list(found) == ["size", "words", "way", "fast", "loud", "rest"]
    assert [o.is_required for o in found.values()] == [True, *[False] * 5]
    assert [o.kind for o in found.values()] == [int, str, Literal["up", "down"], bool, bool, Any]
    assert found["way"].help == "Where to: up or down."
    assert found["fast"].help == found["loud"].help == "Two flags."
    assert [o.name for o in options_of(Toy, skip=("size", "way"))] == ["words", "fast", "loud", "rest"]
    alpha = options_of(MixUp)[0]
    assert Schedule not in getattr(alpha.kind, "__args__", ())
    assert describe_type(alpha.kind) == "float float | float | str"
    assert [describe_type(kind) for kind in (tuple[int, int], tuple[int, ...], int | None, Any)] == [
        "int int", "int ...", "int | none", "value",
    ]  # fmt: skip


def test_hints_that_only_a_type_checker_imports_are_done_without():
    def made(num_classes: "Missing", width: "Missing" = 3, deep: bool = False): ...  # noqa: F821

    assert [o.kind for o in options_of(made)] == [Any, Any, bool]


def test_every_option_of_every_mixer_and_tracker_has_a_sentence():
    for registry in (mixers, trackers):
        for name in registry.available():
            for option in options_of(registry.get(name)):
                assert option.help, f"{name}.{option.name}"
