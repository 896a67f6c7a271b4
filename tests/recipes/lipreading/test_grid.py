"""Alignments, the grammar, the folder's layout, and the split."""

import pytest

from recipes.lipreading.grid import SLOTS, hold_out, index, read_align

GOOD = "0 100 sil\n100 6000 bin\n6000 9000 blue\n9000 9500 sp\n9500 11000 at\n11000 15000 f\n15000 21000 two\n"
GOOD += "21000 25000 now\n25000 74500 sil\n"


def test_real_alignments_say_what_their_file_names_say(grid):
    utterances, errors = index(grid)
    assert (len(utterances), errors) == (13, {})
    for item in utterances:
        words = [known[place] for known, place in zip(SLOTS.values(), item.words)]
        digit = {"zero": "z"}.get(words[4]) or str(SLOTS["digit"].index(words[4]))
        # GRID's name of a sentence: first letters, the letter itself, the digit as a numeral
        assert "".join([w[0] for w in words[:3]] + [words[3], digit, words[5][0]]) == item.id


def test_words_and_seconds_of_an_alignment(tmp_path):
    path = tmp_path / "a.align"
    path.write_text(GOOD)
    words, spans = read_align(path)
    assert words == (0, 0, 0, 5, 2, 1)
    assert spans[0] == (100 / 25000, 0.24)
    assert spans[5] == (0.84, 1.0)


def test_the_grammar_is_grids():
    assert [len(words) for words in SLOTS.values()] == [4, 4, 4, 25, 10, 4]
    assert "w" not in SLOTS["letter"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: "", "is empty"),
        (lambda text: "\n\n", "is empty"),
        (lambda text: text.replace("two", "eleven"), "digit 'eleven' is not one of zero"),
        (lambda text: text.replace("11000 15000 f", "11000 15000 w"), "letter 'w'"),
        (lambda text: text.replace("21000 25000 now\n", ""), "5 words instead of 6"),
        (lambda text: text.replace("100 6000 bin", "100 6000"), ":2: START END WORD"),
        (lambda text: text.replace("100 6000 bin", "0.1 6000 bin"), ":2: START END WORD"),
        (lambda text: text.replace("100 6000 bin", "6000 6000 bin"), "not after its start"),
        (lambda text: text.replace("6000 9000 blue", "5000 9000 blue"), "before 'bin' ends at 6000"),
        (lambda text: "\udcff", "not a text file"),
    ],
)
def test_an_alignment_that_breaks_the_rules_is_reported(tmp_path, change, reason):
    path = tmp_path / "a.align"
    path.write_bytes(change(GOOD).encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match="a.align") as told:
        read_align(path)
    assert reason in str(told.value)


def test_bad_clips_are_listed_and_the_rest_is_used(tmp_path):
    (tmp_path / "video").mkdir()
    (tmp_path / "align").mkdir()
    for name in ("good", "empty", "alone", "other"):
        (tmp_path / "video" / f"{name}.mpg").touch()
    for name, text in {"good": GOOD, "empty": "", "other": GOOD.replace("at", "near"), "unseen": GOOD}.items():
        (tmp_path / "align" / f"{name}.align").write_text(text)
    utterances, errors = index(tmp_path)
    assert [item.id for item in utterances] == ["good"]
    assert list(errors) == ["alone", "empty", "other", "unseen"]
    assert "no alignment" in errors["alone"]
    assert "no video unseen.mpg" in errors["unseen"]
    assert "preposition 'near'" in errors["other"]


def test_a_folder_of_another_layout_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="video/"):
        index(tmp_path)
    (tmp_path / "video").mkdir()
    with pytest.raises(FileNotFoundError, match="align/"):
        index(tmp_path)
    (tmp_path / "align").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no video/\*\.mpg"):
        index(tmp_path)
    (tmp_path / "video" / "a.mpg").touch()
    with pytest.raises(ValueError, match="none of 1 clips"):
        index(tmp_path)


def test_the_split_is_by_utterance_and_a_function_of_ids_share_and_seed():
    ids = [f"u{i}" for i in range(1000)]
    train, held = hold_out(ids, 0.15, 3)
    assert len(held) == 150
    assert set(train) | set(held) == set(ids)
    assert not set(train) & set(held)
    assert hold_out(ids[::-1], 0.15, 3) == (train, held)
    assert hold_out(ids, 0.15, 4)[1] != held


@pytest.mark.parametrize(("count", "share", "held"), [(2, 0.01, 1), (2, 0.99, 1), (13, 0.15, 2)])
def test_neither_side_of_the_split_is_empty(count, share, held):
    train, out = hold_out([str(i) for i in range(count)], share, 0)
    assert (len(train), len(out)) == (count - held, held)


def test_one_clip_cannot_be_split():
    with pytest.raises(ValueError, match="two at least"):
        hold_out(["a"], 0.15, 0)
    with pytest.raises(ValueError, match="holdout"):
        hold_out(["a", "b"], 0.0, 0)
