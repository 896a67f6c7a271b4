"""Captions by a language model: answers are checked and kept; what fails or is not true stays a template's."""

import pytest

from audiomix.captions.templates import CaptionQuery, Templates
from audiomix.offline.providers import rewrite
from audiomix.offline.providers.captions import rewrite_rows
from audiomix.offline.providers.rewrite import CaptionRewriter, Rewrite, RewriteRequest, prompt_of, refusal

ENGLISH = Templates.english()
GOOD = "A dog is barking before the rain falls."
FIRST = RewriteRequest(["then", 0, 1], ["A dog barks.", "Rain falls."], "A dog barks, then rain falls.")


def request(number):
    captions = [f"A dog{number} barks.", f"Rain{number} falls."]
    return RewriteRequest(["then", 0, 1], captions, f"A dog{number} barks, then rain{number} falls.")


def written(requests, model, **options):
    return CaptionRewriter(model, templates=ENGLISH, **options)(requests)


def good(text):
    """Return a good answer to the prompt of `request(n)` or `FIRST`."""
    number = text.split("1. A dog", 1)[1].split(" ", 1)[0]
    return f"A dog{number} is barking before the rain{number} falls."


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"prompt": 1}', b"\xff", None])
def test_damaged_entries_are_asked_for_anew(tmp_path, damage):
    def model(prompts):
        return [GOOD] * len(prompts)

    written([FIRST], model, cache=tmp_path)
    (entry,) = tmp_path.rglob("*.json")
    if damage is None:  # the entry of another prompt
        damage = entry.read_bytes().replace(b"A dog barks", b"A cat meows")
    entry.write_bytes(damage)
    assert written([FIRST], model, cache=tmp_path)[0].by == "model"
    assert written([FIRST], model, cache=tmp_path)[0].by == "cache"
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == [entry]


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path):
    (tmp_path / "kept").write_text("a file")
    with pytest.warns(RuntimeWarning, match="answers cannot be kept") as said:
        found = written([request(n) for n in range(3)], lambda p: [good(t) for t in p], cache=tmp_path / "kept")
    assert [one.by for one in found] == ["model"] * 3
    assert len(said) == 1


def test_any_callable_may_fail_in_any_way():
    def raising(prompts):
        raise KeyError("no such model")

    for model, reason in (
        (raising, "no answer: 'no such model'"),
        (lambda prompts: None, "no answer: 'NoneType' object is not iterable"),
        (lambda prompts: [], "no answer: the model's answer must be 1 texts, one for each prompt, got 0"),
        (lambda prompts: [None], "no answer"),
        (lambda prompts: [ValueError("odd")], "no answer: odd"),
        (lambda prompts: [3], "no answer"),
        (lambda prompts: [""], "answer refused: does not mention 'A dog barks.'"),
    ):
        assert written([FIRST], model) == [Rewrite(FIRST.template, "template", reason)]


def test_a_callable_that_keeps_raising_is_given_up():
    calls = []

    def raising(prompts):
        calls.append(len(prompts))
        raise RuntimeError("no memory")

    with pytest.warns(RuntimeWarning, match="no memory; the model failed 3 times in a row"):
        found = written([request(n) for n in range(1000)], raising)
    assert calls == [rewrite._BATCH] * 3
    assert {one.by for one in found} == {"template"}


def test_one_caption_is_not_sent():
    requests = [RewriteRequest(0, ["Rain."], "Rain."), RewriteRequest(["while", 0, 1], ["Rain.", "rain"], "Rain.")]
    found = written(requests, lambda prompts: pytest.fail("asked"))
    assert found == [Rewrite("Rain.", "template", "no two captions to join")] * 2
    with pytest.raises(ValueError, match="a leaf of tree"):
        written([RewriteRequest(["then", 0, 1], ["Rain."], "Rain.")], lambda prompts: prompts)


def test_the_prompt_says_what_is_wanted():
    three = RewriteRequest(
        ["while", ["then", 2, 0], 1], ["A dog.", "Rain.", "A  bell."], "A bell then a dog, while rain."
    )
    text = prompt_of(three, 15)
    for part in ("1. A dog.\n2. Rain.\n3. A bell.\n", "1 is heard after 3.\n", "1 is heard together with 2.\n",
                 "2 is heard together with 3.", "at most 15 words", three.template):  # fmt: skip
        assert part in text


ANSWERS = [
    (GOOD, ""),
    ("Rain falls after a dog barks", ""),
    ("A barking dog, followed by falling rain in the background.", ""),
    ("A dog barks,\nthen rain falls.", "more than one line"),
    ("A dog barks, then \x07 rain falls.", "characters that cannot be printed"),
    ('A dog "barks", then rain falls.', 'has ", which no caption has'),
    ("Joined: a dog barks, then rain falls.", "has :, which no caption has"),
    ("Sure, a dog barks, then rain falls.", "begins with 'Sure, a'"),
    ("Here is a dog barks, then rain falls.", "begins with 'Here is'"),
    ("A dog barks and barks and barks and barks, then rain falls.", "12 words, more than 10"),
    ("A dog barks.", "does not mention 'Rain falls.'"),
    ("Rain falls, then a dog barks.", "says 'after' on 'A dog barks.' and 'Rain falls.', which is before"),
    ("A dog barks while rain falls.", "says 'together' on 'A dog barks.' and 'Rain falls.', which is before"),
    ("A dog barks. Rain falls.", "says nothing on 'A dog barks.' and 'Rain falls.', which is before"),
    ("A dog barks before rain falls with thunder.", "a sound of its own? thunder"),
    ("A dog barks before rain falls without wind", "a sound of its own? without, wind"),
    ("A dog barks before rain falls on a roof", "a sound of its own? roof"),
]


def test_answers_are_checked():
    for text, reason in ANSWERS:
        assert refusal(text, FIRST, templates=ENGLISH, max_words=10) == reason
        found = written([FIRST], lambda prompts, text=text: [text], max_words=10)[0]
        assert found == (
            Rewrite(FIRST.template, "template", f"answer refused: {reason}") if reason else Rewrite(text, "model")
        )


def test_answers_are_bounded_by_the_template_whatever_the_options():
    for text in (
        " ".join(["A dog barks, then rain falls"] * 3),
        "A dog barks and barks" + "-and-barks" * 9 + " before rain falls",
        "A dog barks, then" + " " * 80 + "rain falls",
        "A dog barks, then rain falls" + "!" * 80,
    ):
        assert "times those of the template" in refusal(text, FIRST, templates=ENGLISH, max_words=10**6), text


def test_quotation_marks_around_an_answer_are_taken_off():
    for left, right in ('""', "“”"):
        found = written([FIRST], lambda prompts, s=(left, right): [GOOD.join(s)])
        assert found == [Rewrite(GOOD, "model")]


def test_a_source_that_is_not_named_may_not_be_brought_back():
    hidden = RewriteRequest(
        ["then", 0, 2], ["A dog barks.", "Thunder rolls.", "Rain falls."], "A dog barks, then rain falls."
    )
    text = "A dog barks, then rain falls with thunder."
    assert refusal(text, hidden, templates=ENGLISH) == "a sound of its own? thunder"
    assert "Thunder" not in prompt_of(hidden)


def test_three_sources_in_free_words():
    three = RewriteRequest(["while", 0, ["then", 1, 2]], ["Rain falls", "A dog barks", "A car passes"], "x")
    for text in (
        "While rain is falling, a dog barks and then a car passes.",
        "A dog barks before a car passes, as rain falls",
    ):
        assert refusal(text, three, templates=ENGLISH) == ""
    text = "Rain falls, then a dog barks, then a car passes"
    assert refusal(text, three, templates=ENGLISH).startswith("says 'before' on 'Rain falls' and 'A dog barks'")


def test_rows_of_a_manifest_are_rewritten_and_a_model_is_given_up_for_the_whole_run(monkeypatch, tmp_path):
    monkeypatch.setenv("AUDIOMIX_CACHE", str(tmp_path))
    monkeypatch.setattr("audiomix.offline.providers.captions._ROWS", 2)
    events = [{"named": True, "caption": text} for text in FIRST.captions]
    row = {"caption": FIRST.template, "caption_by": "template", "tree": '["then", 0, 1]', "events": events}
    alone = {"caption": "Rain.", "caption_by": None, "tree": "0", "events": events[:1]}
    rows = list(
        rewrite_rows([dict(row), dict(alone), dict(row)], lambda prompts: [GOOD] * len(prompts), CaptionQuery())
    )
    assert [(one["caption"], one["caption_by"]) for one in rows] == [(GOOD, "model"), ("Rain.", None), (GOOD, "cache")]
    assert list(rewrite_rows([row], None, CaptionQuery())) == [row]
    calls = []

    def raising(prompts):
        calls.append(prompts)
        raise RuntimeError("no memory")

    with pytest.warns(RuntimeWarning, match="given up"):
        rows = list(rewrite_rows([dict(row) for _ in range(20)], raising, CaptionQuery()))
    assert len(calls) == 3
    assert all(one["caption"] == FIRST.template and "no memory" in one["caption_why"] for one in rows)
