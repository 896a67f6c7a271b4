"""The bundled words, and tables of their form."""

import json

import pytest

from audiomix import datasets
from audiomix.datasets.demo import assets


def test_the_bundled_words_come_in_folds_that_share_no_voice():
    data = datasets.get("demo")()
    assert len(data.class_names) == 10
    assert data.root == assets() / "words"
    for fold in data.folds:
        train, test = data.holdout(fold)
        assert not {data.groups[i] for i in train} & {data.groups[i] for i in test}


def test_another_table_of_that_form_is_read(tmp_path):
    rows = [
        {"file_name": "no/x.flac", "label": "no", "fold": 2, "group": "ann", "split": "test"},
        {"file_name": "go/x.flac", "label": "go", "fold": 1, "group": "bob", "split": "train"},
    ]
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = datasets.get("demo")(tmp_path)
    assert data.class_names == ("go", "no")
    assert [(item.id, item.label, item.fold, item.group) for item in data.items] == [
        ("go/x.flac", "go", "1", "bob"),
        ("no/x.flac", "no", "2", "ann"),
    ]
    assert data.holdout("test") == ([0], [1])


GOOD = '{"file_name": "x.flac", "label": "x", "fold": 1}'


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (f'{GOOD}\n\n{{"file_name": "y\n', ValueError, r"metadata.jsonl, line 3 must be one JSON object a line"),
        (f"{GOOD}\n7\n", TypeError, r"line 2 must be a JSON object, got int"),
        (
            '{"file_name": "x.flac"}',
            ValueError,
            r"line 1 must be a row with file_name and label, got one without label",
        ),
        (
            '{"file_name": "x.flac", "label": 7}',
            ValueError,
            r"line 1 must be a row whose file_name and label are text, got label 7",
        ),
        (
            '{"file_name": "x.flac", "label": "x"}',
            ValueError,
            r"metadata.jsonl must be rows with a fold, .* got neither",
        ),
    ],
)
def test_a_broken_table_is_refused_with_file_and_line(tmp_path, text, error, message):
    (tmp_path / "metadata.jsonl").write_text(text)
    with pytest.raises(error, match=message):
        datasets.get("demo")(tmp_path)
