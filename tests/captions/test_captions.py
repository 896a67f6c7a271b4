"""What a caption states is what the scene is; words, punctuation and case are right; negatives are false."""

import dataclasses
import itertools
import json
import random
import re

import pytest
import torch

from audiomix.captions.compose import caption_from_label, choose_caption, join_captions, write_caption
from audiomix.captions.negatives import write_negative, write_negatives
from audiomix.captions.parse import parse_caption
from audiomix.captions.templates import CaptionQuery, Templates, one_sentence
from audiomix.captions.text import distinct_captions, uncapitalise
from audiomix.captions.tree import relations, simplify

ENGLISH = Templates.english()
PLAIN = Templates(
    then=("{a} followed by {b}",),
    together=("{a} while {b}",),
    lowercase=True,
    lowerable=("A", "The", "Rain", "People"),
    neutral=ENGLISH.neutral,
)
PLAIN_ENGLISH = dataclasses.replace(ENGLISH, together=PLAIN.together, clauses=PLAIN.together)
CAPTIONS = ["A dog barks.", "Rain falls.", "I sing.", "DJ set.", "People talk."]
# Captions that have connecting words and punctuation of their own
NASTY = ["A cat meows!", "Waltz, loud", "The wind blows while birds sing", "bells; many", "A car before a truck?",
         "news at 5 p.m.", "A man speaks and laughs, then coughs", "a man speaks", "犬が吠える。"]  # fmt: skip


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def trees(numbers):
    """Yield every scene of sources in this order."""
    if len(numbers) == 1:
        yield numbers[0]
    for cut in range(1, len(numbers)):
        for left, right in itertools.product(trees(numbers[:cut]), trees(numbers[cut:])):
            yield ["then", left, right]
            yield ["while", left, right]


def paths(tree, path=()):
    if isinstance(tree, int):
        return {tree: path}
    return paths(tree[1], (*path, (tree[0], 0))) | paths(tree[2], (*path, (tree[0], 1)))


def expected(tree):
    """Return relations by where two paths part."""
    where, out = paths(tree), {}
    for i, j in itertools.combinations(sorted(where), 2):
        (kind, side), _ = next((a, b) for a, b in zip(where[i], where[j]) if a != b)
        out[i, j] = "together" if kind == "while" else "before" if side == 0 else "after"
    return out


SENTENCES = [
    (0, "A dog barks."),
    (["then", 0, 1], "A dog barks followed by rain falls."),
    (["while", 1, 0], "Rain falls while a dog barks."),
    (["then", ["while", 0, 1], 2], "A dog barks while rain falls, followed by I sing."),
    (["while", 0, ["then", 1, 2]], "A dog barks, while rain falls followed by I sing."),
    (["while", ["then", 0, 1], ["then", 2, 3]],
     "A dog barks followed by rain falls, while I sing followed by DJ set."),
    (["then", 0, ["then", 1, 2]], "A dog barks, followed by rain falls, followed by I sing."),
    (["while", 4, ["then", ["while", ["then", 0, 1], 2], 3]],
     "People talk – while a dog barks followed by rain falls, while I sing; followed by DJ set."),
]  # fmt: skip


def test_wording_of_scenes():
    for tree, text in SENTENCES:
        assert write_caption(tree, CAPTIONS, templates=PLAIN) == text


@pytest.mark.parametrize("sources", [2, 3, 4, 5])
def test_every_scene_is_read_back_from_its_words(sources):
    for seed, tree in enumerate(trees(list(range(sources)))):
        assert relations(tree) == expected(tree)
        text = write_caption(tree, CAPTIONS, templates=ENGLISH, generator=seeded(seed))
        parsed = parse_caption(text, CAPTIONS, ENGLISH)
        assert parsed.mentioned == tuple(i < sources for i in range(5)), text
        assert parsed.relations == expected(tree), text


def test_captions_with_connecting_words_of_their_own_are_read_back():
    chance = random.Random(0)
    for seed in range(400):
        captions = chance.sample(NASTY + CAPTIONS, chance.randint(2, 5))
        numbers = chance.sample(range(len(captions)), len(captions))
        tree = chance.choice(list(trees(numbers)))
        text = write_caption(tree, captions, templates=ENGLISH, generator=seeded(seed))
        assert text is not None, (tree, captions)
        assert parse_caption(text, captions, ENGLISH).relations == expected(tree), text


def test_different_scenes_have_different_sentences():
    scenes = {}
    for tree in trees([0, 1, 2, 3]):
        key = tuple(sorted(expected(tree).items()))
        text = write_caption(tree, CAPTIONS, templates=PLAIN)
        assert scenes.setdefault(text, key) == key


def test_a_sentence_that_can_be_read_in_two_ways_is_not_written():
    # "x then y" is a caption and what the first two sources make: no reader could tell
    assert write_caption(["then", ["then", 0, 1], 2], ["x", "y", "x followed by y"], templates=PLAIN) is None


def test_phrases_are_drawn_deterministic_and_all_of_them():
    given = (["then", 0, 1], CAPTIONS)
    texts = [write_caption(*given, templates=ENGLISH, generator=seeded(s)) for s in range(100)]
    assert texts == [write_caption(*given, templates=ENGLISH, generator=seeded(s)) for s in range(100)]
    assert set(texts) == {
        "A dog barks followed by rain falls.",
        "A dog barks, then rain falls.",
        "A dog barks before rain falls.",
        "Rain falls after a dog barks.",
        "Rain falls preceded by a dog barks.",
    }


PUNCTUATION = [
    (["A dog barks.", "The rain falls"], "A dog barks while the rain falls."),
    (["A dog barks", "The rain falls."], "A dog barks while the rain falls"),
    (["a dog barks", "I sing."], "A dog barks while I sing"),
    (["a dog barks.", "rain"], "a dog barks while rain."),
    (["A dog barks!", "Is it rain?"], "A dog barks while Is it rain."),
    (["A dog barks.  ", " TV noise ,"], "A dog barks while TV noise."),
    (["News at 5 p.m.", "A DJ set."], "News at 5 p.m. while a DJ set."),
    (["A DJ set.", "News at 5 p.m."], "A DJ set while News at 5 p.m."),
    (["A A/C hums", "A/C off"], "A A/C hums while A/C off"),
    (["iPhone rings", "The dog"], "iPhone rings while the dog"),
    (["Vienna waltz…", "Rain\n falls"], "Vienna waltz while rain falls."),
    (["犬が吠える。", "雨が降る。"], "犬が吠える while 雨が降る。"),
]


def test_punctuation_and_case():
    for captions, text in PUNCTUATION:
        assert write_caption(["while", 0, 1], captions, templates=PLAIN) == text


SEVERAL = [
    ("A dog barks. Then it whines.", "rain", "A dog barks and then it whines, while rain."),
    ("rain", "A dog barks. A man talks. Birds sing", "Rain, while a dog barks, a man talks and birds sing"),
    ("A bus stops! Paris wakes up? I sing", "rain", "A bus stops, Paris wakes up and I sing, while rain"),
    (
        "News at 5 p.m. while Dr. Who talks. Then rain",
        "wind",
        "News at 5 p.m. while Dr. Who talks and then rain, while wind",
    ),
    ("it is 3.5 m long. it creaks", "wind", "it is 3.5 m long and it creaks while wind"),
    ('He says "Go!" and runs', "wind", 'He says "Go!" and runs while wind'),
    ("Rain falls... and it gets louder.", "wind", "Rain falls... and it gets louder while wind."),
    ("A man talks (loudly!) or sings", "wind", "A man talks (loudly!) or sings while wind"),
    ("A dog barks. And a man speaks", "wind", "A dog barks and a man speaks while wind"),
    ("A dog barks. But it stops", "wind", "A dog barks, but it stops, while wind"),
]


def test_a_caption_of_several_sentences_becomes_one():
    for first, second, text in SEVERAL:
        tree, captions = ["while", 0, 1], [first, second]
        assert write_caption(tree, captions, templates=PLAIN_ENGLISH) == text
        assert parse_caption(text, captions, PLAIN_ENGLISH).relations == {(0, 1): "together"}
    japanese = Templates(then=("{a}、その後{b}",), together=("{a}と同時に{b}",), separators=("", "、", "；", "――"))
    assert one_sentence("犬が吠える。雨が降る。", japanese) == "犬が吠える；雨が降る。"


def test_and_states_nothing_so_no_negative_is_made_by_it():
    for seed, tree in itertools.product(range(12), trees([0, 1, 2])):
        for kind in ("order", "connector"):
            false = write_negative(tree, CAPTIONS, kind=kind, templates=ENGLISH, generator=seeded(seed))
            if false is None:
                continue
            stated = parse_caption(false, CAPTIONS[:3], ENGLISH).relations
            assert any(stated[pair] not in (None, true) for pair, true in expected(tree).items()), false


def test_full_stop_is_the_lowest_sources_wherever_it_is_named():
    assert write_caption(["then", 1, 0], ["A dog.", "rain"], templates=PLAIN) == "Rain followed by a dog."
    assert write_caption(["then", 1, 0], ["A dog", "rain."], templates=PLAIN) == "Rain followed by a dog"


def test_names_and_acronyms_keep_their_capital():
    words = ("I sing", "I'm here", "DJ set", "TV", "Vienna waltz", "A/C", "Rose sings", "Robin", "Bells ring", "")
    kept = {text for text in words if uncapitalise(text, ENGLISH.lowerable) == text}
    assert kept == set(words) - {"Bells ring"}
    assert uncapitalise("It's raining", ENGLISH.lowerable) == "it's raining"
    # by the rule of English: names, "I", acronyms, and words before another capital keep it, all other words lose it
    keep = """I I'm DJ TV A/C iPhone McDonald's X-ray NASA Paris London's Russian Monday Christmas Mary 4x4 Big_Ben
    New_York"""
    lose = """A Waves Rustling Motor Wind Leaves Pigeons Vehicles, Goats Popping Propeller Food Roadway Dishes Winds
    White Gunshots Electronic Television Sucking Typewriter Turkeys Steamship-like Dog’s Bell's Semi-truck Waves_roll"""
    for words, changed in ((keep, False), (lose, True)):
        for word in (w.replace("_", " ") for w in words.split()):
            text = write_caption(["while", 0, 1], ["a dog barks", f"{word} at night"], templates=PLAIN_ENGLISH)
            small = word[0].lower() + word[1:] if changed else word
            assert text.removesuffix(" at night").endswith(f" while {small}"), text
    assert join_captions("A rock beat.", "I sing.") == "A rock beat and I sing."
    assert join_captions(None, "a"), join_captions("Rain.", "rain") == ("a", "Rain.")


def test_what_cannot_be_heard_is_not_named():
    tree = ["while", ["then", 0, 1], 2]
    assert write_caption(tree, CAPTIONS, templates=PLAIN, named=[1, 0, 1, 1, 1]) == "A dog barks while I sing."
    assert write_caption(tree, ["", "Rain falls.", None], templates=PLAIN, named=[0, 1, 0]) == "Rain falls."
    assert write_caption(tree, CAPTIONS, templates=PLAIN, named=[0] * 5) is None


def test_equal_captions_are_named_once_where_that_is_true():
    captions = ["Rain falls.", "rain falls", "A dog.", "RAIN, falls!"]
    assert write_caption(["then", 0, 1], captions, templates=PLAIN) == "Rain falls."
    assert write_caption(["then", ["while", 0, 1], 2], captions, templates=PLAIN) == "Rain falls followed by a dog."
    assert simplify(["then", 0, ["while", 1, 3]], captions) == 0
    # rain, then a dog, then rain: "rain, then a dog" would leave out that it comes after, too
    assert write_caption(["then", ["then", 0, 2], 1], captions, templates=PLAIN) is None


def test_a_maximal_length_takes_the_shortest_phrases_then_gives_up():
    for seed in range(20):
        text = write_caption(["then", 0, 1], CAPTIONS, templates=ENGLISH, max_words=6, generator=seeded(seed))
        assert len(text.split()) == 6
        assert write_caption(["then", 0, 1], CAPTIONS, templates=ENGLISH, max_words=5, generator=seeded(seed)) is None
    longest = " ".join(f"word{i}" for i in range(10_000))
    assert write_caption(["while", 0, 1], [longest, "a dog"], templates=ENGLISH, max_words=30) is None
    assert len(write_caption(["while", 0, 1], [longest, "a dog"], templates=PLAIN).split()) == 10_003


TEXTS_OF_PEOPLE = [
    ("A dog barks and then rain falls", "before"),
    ("After a dog barks, rain falls.", "before"),
    ("Before a dog barks, rain falls.", "after"),
    ("While a dog barks, rain falls.", "together"),
    ("First a dog barks, then rain falls.", "before"),
    ("Rain falls after a dog has barked", "before"),
    ("A dog is barking. Then the rain is falling.", "before"),
    ("Rain falling, preceded by a barking dog", "before"),
    ("A dog barks with rain falling in the background.", "together"),
    ("A dog barks and rain falls", None),  # "and" makes no claim
    ("A dog barks and rain falls at the same time", "together"),
    ("A dog barks and simultaneously rain falls", "together"),
    ("A dog barks and rain falls afterwards", None),
    ("A dog barks. Rain falls.", None),
    ("A dog barks before and while rain falls", None),
    ("The dog barking rain falling", None),
]


def test_texts_of_people_are_read():
    for text, relation in TEXTS_OF_PEOPLE:
        parsed = parse_caption(text, ["A dog barks.", "Rain falls."], ENGLISH)
        assert parsed.mentioned == (True, True)
        assert parsed.relations == {(0, 1): relation}


def test_readings_of_a_sentence_without_punctuation_are_held_against_each_other():
    parsed = parse_caption("a dog barks followed by rain falls while I sing", CAPTIONS, ENGLISH)
    assert parsed.relations == {(0, 1): "before", (1, 2): "together", (0, 2): None}


def test_mentions_need_the_words_that_tell_captions_apart():
    captions = ["A man speaks", "A woman speaks", "Rain", "Rain on a roof"]
    assert parse_caption("A man is speaking as rain falls", captions, ENGLISH).mentioned == (True, False, True, False)
    assert parse_caption("Rain on a roof while a woman speaks", captions, ENGLISH).mentioned == (
        False,
        True,
        False,
        True,
    )
    parsed = parse_caption("A woman speaks after a man speaks", captions, ENGLISH)
    assert parsed.relations == {(0, 1): "before"}


def test_order_negative_swaps_a_sequence_only():
    given = {"templates": PLAIN, "generator": seeded()}
    assert write_negative(["then", 0, 1], CAPTIONS, kind="order", **given) == "Rain falls followed by a dog barks."
    assert write_negative(["while", 0, 1], CAPTIONS, kind="order", **given) is None
    alike = ["A dog barks.", "The dog is barking."]
    assert write_negative(["then", 0, 1], alike, kind="order", **given) is None


def test_connector_negative():
    given = {"templates": PLAIN, "kind": "connector", "generator": seeded()}
    assert write_negative(["then", 0, 1], CAPTIONS, **given) == "A dog barks while rain falls."
    assert write_negative(["while", 0, 1], CAPTIONS, **given) == "A dog barks followed by rain falls."
    assert write_negative(0, CAPTIONS, **given) is None
    assert write_negative(["then", 0, 1], CAPTIONS, named=[1, 0, 1, 1, 1], **given) is None


@pytest.mark.parametrize("kind", ["order", "connector"])
@pytest.mark.parametrize("sources", [2, 3, 4])
def test_negatives_state_something_false_of_the_same_sources(kind, sources):
    for seed, tree in enumerate(trees(list(range(sources)))):
        text = write_negative(tree, CAPTIONS, kind=kind, templates=ENGLISH, generator=seeded(seed))
        if text is None:
            assert kind == "order"
            assert "then" not in json.dumps(tree)
            continue
        parsed = parse_caption(text, CAPTIONS[:sources], ENGLISH)
        assert all(parsed.mentioned)
        assert any(parsed.relations[pair] not in (None, name) for pair, name in expected(tree).items()), (tree, text)


def test_source_negative_has_a_sound_that_is_not_there():
    given = {"kind": "source", "templates": PLAIN}
    texts = {
        write_negative(["then", 0, 1], CAPTIONS, replacement="A bell.", generator=seeded(s), **given) for s in range(20)
    }
    assert texts == {"A bell followed by rain falls.", "A dog barks followed by a bell."}
    for same in ("A dog barks loudly", "dog", "the barking dog", "people are talking"):  # also what is not named
        assert write_negative(["then", 0, 1], CAPTIONS, replacement=same, **given) is None, same
    with pytest.raises(ValueError, match="replacement must be a caption"):
        write_negative(["then", 0, 1], CAPTIONS, **given)
    with pytest.raises(ValueError, match="kind must be one of order.*did you mean 'order'"):
        write_negative(["then", 0, 1], CAPTIONS, kind="orders", templates=PLAIN)


def test_all_kinds_of_negatives_depend_on_the_caption_alone():
    given = {"caption": "x", "named": [1, 1], "distractors": ["a dog", "A bell."], "templates": ENGLISH}
    found = write_negatives(["then", 0, 1], CAPTIONS[:2], **given)
    assert [kind for kind, _ in found] == ["order", "connector", "source"]
    assert "bell" in found[2][1].lower()  # the first distractor is in the scene
    assert found == write_negatives(["then", 0, 1], CAPTIONS[:2], **given)
    assert write_negatives(["then", 0, 1], CAPTIONS[:2], **given | {"named": [1, 0]}) == ()
    assert [kind for kind, _ in write_negatives(["while", 0, 1], CAPTIONS[:2], **given)] == ["connector", "source"]


def test_captions_are_chosen_among_those_with_words():
    captions = ["", "A dog.", None, "...", "Barking."]
    drawn = {choose_caption(captions, seeded(s)) for s in range(40)}
    assert drawn == {(1, "A dog."), (4, "Barking.")}
    assert choose_caption("A dog.") == (0, "A dog.")
    with pytest.raises(ValueError, match="captions must be texts of which one has a word"):
        choose_caption(["", None])


def test_captions_from_class_names():
    for name, noun in (
        ("dog", "a dog"), ("crying_baby", "a crying baby"), ("air_conditioner", "an air conditioner"), ("rain", "rain"),
        ("sea_waves", "sea waves"), ("sneezing", "sneezing"), ("mouse_click", "a mouse click"), ("glass", "glass"),
        ("Dog", "a dog"), ("CarHorn", "a car horn"), ("Church bell", "a church bell"), ("French_horn", "a French horn"),
        ("Male speech, man speaking", "male speech"), ("Rain on surface", "rain on surface"), ("an_owl", "an owl"),
        ("children_playing", "children playing"), ("street_music", "street music"), ("unicorn", "a unicorn"),
        ("bus", "a bus"), ("string", "a string"), ("TV", "a TV"), ("right", "right"),
        (["dog", "rain"], "a dog and rain"),
    ):  # fmt: skip
        assert caption_from_label(name, ENGLISH) == f"The sound of {noun}."
    nouns = [caption_from_label(name, ENGLISH) for name in ("dog", "rooster")]
    for tree in (["while", 0, 1], ["then", 0, 1]):
        written = {write_caption(tree, nouns, templates=ENGLISH, generator=seeded(s)) for s in range(40)}
        assert not [text for text in written if re.search(r" while | as a |(?<!time) as the ", text)]
        assert all(text.startswith("The sound of a ") and " the sound of a " in text for text in written), written
    assert "The sound of a dog at the same time as the sound of a rooster." in {
        write_caption(["while", 0, 1], nouns, templates=ENGLISH, generator=seeded(s)) for s in range(40)
    }
    assert caption_from_label("{a}", PLAIN) == "{a}"
    with pytest.raises(ValueError, match="name must be the name of a class"):
        caption_from_label("__", ENGLISH)


WRONG_SCENES = [
    (["and", 0, 1], CAPTIONS, "tree must be numbers"),
    (["then", 0], CAPTIONS, "tree must be numbers"),
    (["then", 0, 0], CAPTIONS, "a leaf of tree must be one of 5 sources, each once"),
    (["then", 0, 5], CAPTIONS, "a leaf of tree must be one of 5"),
    (["then", 0, 1], ["A dog.", " "], r"captions\[1\] must be a text with a word.*named="),
    (["then", 0, 1], ["A dog.", None], r"captions\[1\]"),
]


def test_wrong_scenes_are_named():
    for tree, captions, match in WRONG_SCENES:
        with pytest.raises(ValueError, match=match):
            write_caption(tree, captions, templates=ENGLISH)
        with pytest.raises(TypeError, match="leaf of tree must be an integer"):
            write_caption(["then", "0", 1], captions, templates=ENGLISH)
        with pytest.raises(ValueError, match="named must be 5 entries"):
            write_caption(["then", 0, 1], CAPTIONS, templates=ENGLISH, named=[True])


def test_wordings_are_without_case_punctuation_and_empty_texts():
    assert distinct_captions(["A dog barks!", "a DOG, barks", "", "...", "犬が"]) == {"a dog barks", "犬 が"}


GERMAN = {
    "then": ["{a}, danach {b}", "zuerst {a}, dann {b}"],
    "after": ["{b} nach {a}"],
    "together": ["{a}, während {b}"],
    "label": ["Geräusch: {name}"],
    "lowercase": True,
    "lowerable": ["Ein", "Der", "Die", "Das"],
}


def test_another_language_from_a_file(tmp_path):
    file = tmp_path / "de.json"
    file.write_text(json.dumps(GERMAN, ensure_ascii=False), encoding="utf-8-sig")
    german = CaptionQuery(file).read()
    assert CaptionQuery().read() is ENGLISH
    captions = ["Ein Hund bellt.", "Regen fällt.", "Die Äste knacken."]
    assert {write_caption(["then", 2, 0], captions, templates=german, generator=seeded(s)) for s in range(40)} == {
        "Die Äste knacken, danach ein Hund bellt.",
        "Zuerst die Äste knacken, dann ein Hund bellt.",
        "Ein Hund bellt nach die Äste knacken.",
    }
    assert write_caption(["while", 0, 1], captions, templates=german) == "Ein Hund bellt, während Regen fällt."
    for seed, tree in enumerate(trees([0, 1, 2])):
        text = write_caption(tree, captions, templates=german, generator=seeded(seed))
        assert "zuerst" not in text.lower()  # words around a pair cannot be nested
        assert parse_caption(text, captions, german).relations == expected(tree)


def test_a_language_without_spaces(tmp_path):
    japanese = Templates(
        then=("{a}、その後{b}",), together=("{a}と同時に{b}",), separators=("", "、", "；", "――")
    )  # fmt: skip
    captions = ["犬が吠える。", "雨が降る。", "鐘が鳴る。"]
    assert write_caption(["then", 0, 1], captions, templates=japanese) == "犬が吠える、その後雨が降る。"
    for tree in trees([0, 1, 2]):
        assert parse_caption(
            write_caption(tree, captions, templates=japanese), captions, japanese
        ).relations == expected(tree)
    assert write_caption(["then", 0, 1], captions, templates=japanese, max_words=11) is None


WRONG_CHANGES = [
    ({"thne": ["{a} dann {b}"]}, "de.json: a key must be one of .*did you mean 'then'"),
    ({"then": ["{a} danach"]}, "a phrase of 'then' must be text with {a} and {b}, once each"),
    ({"then": ["{a} {a} dann {b}"]}, "once each"),
    ({"then": ["{a} dann {c} {b}"]}, "once each"),
    ({"then": ["{a}, {b}"]}, "a word that tells the relation"),
    ({"then": ["{a}dann {b}"]}, "a space is missing"),
    ({"then": ["{b} dann {a}"]}, "a phrase of 'after'"),
    ({"after": ["{a} nach {b}"]}, "a phrase of 'then'"),
    ({"then": []}, "then must be a list of at least one text"),
    ({"after": []}, "after must be a list of at least one text"),
    ({"label": ["Geräusch"]}, "a phrase of 'label' must be text with {name}"),
    ({"together": "{a} und {b}"}, "together must be a list"),
    ({"together": ["{a} danach {b}"]}, "phrases must be words that tell one relation"),
    ({"then": ["zuerst {a} dann {b}"], "after": ["nun {b} nach {a}"]}, "all stand between"),
    ({"lowercase": "ja"}, "lowercase must be true or false"),
    ({"separators": ["", ",", ","]}, "separators must be"),
    ({"cues": {"sometimes": ["mal"]}}, "a key of cues must be one of"),
    ({"cues": {"then": "dann"}}, "then must be a list"),
]


def test_wrong_template_files_are_named(tmp_path):
    for change, match in WRONG_CHANGES:
        file = tmp_path / "de.json"
        file.write_text(json.dumps(GERMAN | change))
        with pytest.raises((ValueError, TypeError), match=match) as caught:
            Templates.read(file)
        assert str(file) in str(caught.value)


NO_TEMPLATES = [
    (b"", "must be JSON"),
    (b'{"then": ["{a} dann {b}"]}', "an object with 'together'"),
    (b"[]", "a JSON object"),
    (b'{"then": ["{a} f\xfcr {b}"]}', "text in UTF-8, got byte 0xfc"),
]


def test_files_that_are_no_templates_are_named(tmp_path):
    for content, match in NO_TEMPLATES:
        file = tmp_path / "de.json"
        file.write_bytes(content)
        with pytest.raises((ValueError, TypeError), match=match):
            Templates.read(file)
