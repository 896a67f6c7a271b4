"""Items, data sets, and the registry that finds readers by name."""

import importlib

import pytest

from audiomix import datasets
from audiomix.datasets.dataset import UNKNOWN, Dataset
from audiomix.datasets.item import Item


def test_the_first_caption_is_the_caption():
    assert Item("", "x", caption="a").captions == ("a",)
    assert Item("", "x", captions=("b", "c")).caption == "b"
    assert (Item("", "x").caption, Item("", "x").captions) == (None, ())


def test_a_file_may_lie_elsewhere_than_its_id_says():
    assert Item("r", "a/x.wav").path == "r/a/x.wav"
    assert Item("r", "x@1", file="a/x.wav", start=0.5, seconds=1.0).path == "r/a/x.wav"


def test_items_are_sorted_so_that_the_order_of_a_listing_does_not_matter():
    items = [Item("", n, "k") for n in "cab"]
    names = [Dataset("x", tuple(some), ("k",), 8000, 1.0).items for some in (items, items[::-1])]
    assert names[0] == names[1]
    assert [item.id for item in names[0]] == ["a", "b", "c"]


def test_labels_are_places_in_the_class_names_and_clips_without_a_class_have_none():
    items = (Item("", "1", "b", group="g"), Item("", "2"), Item("", "3", "a"))
    data = Dataset("x", items, ("a", "b"), 8000, 1.0)
    assert data.labels == [1, UNKNOWN, 0]
    assert data.groups == ["g", "2", "3"]
    assert data.only([2, 0]).labels == [1, 0]


def test_validation_clips_are_neither_trained_nor_tested_on():
    items = [Item("", s, "k", split=s) for s in ("train", "validation", "test")]
    data = Dataset("x", tuple(items), ("k",), 8000, 1.0)
    train, test = data.holdout("test")
    assert [data.items[i].id for i in train] == ["train"]
    assert [data.items[i].id for i in test] == ["test"]


def test_fold_10_comes_after_fold_9():
    items = [Item("", str(f), "k", fold=str(f)) for f in range(1, 11)]
    assert Dataset("x", tuple(items), ("k",), 8000, 1.0).folds[-2:] == ("9", "10")


def test_every_file_that_is_no_tool_is_a_data_set():
    for name in datasets.available():
        index = importlib.import_module(f"audiomix.datasets.{name}").index
        assert index.__doc__, name
    for name in datasets._TOOLS:
        assert not hasattr(importlib.import_module(f"audiomix.datasets.{name}"), "index"), name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("esc1", "dataset must be one of .* did you mean 'esc10'"),
        ("esc10:x=1", "the options of dataset esc10 must be none, got x=1"),
        ("speech_commands:word=up", "of dataset speech_commands must be one of words.* did you mean 'words'"),
        (
            "speech_commands:words=up,down",
            r"key=value, with the key words, parts, got down: several values are joined by \+, as in .*words=up\+down",
        ),
    ],
)
def test_a_near_miss_is_named(text, message):
    with pytest.raises(ValueError, match=message):
        datasets.get(text)
