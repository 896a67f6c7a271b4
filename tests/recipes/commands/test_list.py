"""``list`` shows what each command takes, and what it shows is taken."""

import dataclasses
import json

import pytest

from audiomix import mixers
from recipes import algorithms
from recipes.benchmark.rows import parse_row
from recipes.cli import main
from recipes.commands._listing import list_sections
from recipes.training.config import PRESETS, preset

SECTIONS = {section.key: section for section in list_sections()}


def entries(key):
    return {entry.name: entry for entry in SECTIONS[key].entries}


def test_every_method_has_its_options_with_their_defaults():
    assert list(entries("methods")) == algorithms.available()
    facts = entries("methods")["fixmatch"].facts()["options"]
    assert facts["threshold"] == {"type": "float", "default": 0.8}
    for name, entry in entries("methods").items():
        assert [o.name for o in entry.options] == list(algorithms.options(algorithms.get(name)))


def test_the_listed_mixers_are_those_that_a_recipe_takes():
    for name in mixers.available():
        if name in entries("mixers"):
            assert parse_row(f"supervised+{name}", "small").mixer == name
        else:
            with pytest.raises(ValueError, match="mixer must be"):
                parse_row(f"supervised+{name}", "small")
    assert "num_classes" not in [o.name for o in entries("mixers")["mixup"].options]


def test_values_of_presets_are_the_presets_and_leave_out_only_what_is_alike():
    for name, entry in entries("presets").items():
        assert dataclasses.replace(PRESETS["small"], **entry.values) == preset(name)


def test_fields_that_methods_change_at_a_preset_are_marked(capsys):
    """AdaMatch, FixMatch and others have SGD at the preset original, whose own optimiser is Adam."""
    assert main(["list"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    original, strong = (text.split(f" {name} labelled=")[1].split(" labelled=")[0] for name in ("original", "strong"))
    assert "optimiser=adam* lr=0.001*" in original
    assert "*" not in strong.split(" demo")[0]
    assert main(["list", "original"]) == 0
    assert "lr: 0.001; another one with some methods" in capsys.readouterr().out


def test_every_line_fits_and_json_has_the_same_names(capsys):
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 110
    assert main(["list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    for key, section in SECTIONS.items():
        assert list(found[key]) == [entry.name for entry in section.entries]
        assert section.title in text


def test_one_name_is_shown_with_types_and_help(capsys):
    assert main(["list", "fixmatch", "folder"]) == 0
    text = capsys.readouterr().out
    assert "threshold: float [default: 0.8]" in text
    assert "layout: str" in text
    assert "mixup" not in text


def test_a_wrong_name_is_refused_with_a_near_miss(capsys):
    assert main(["list", "fixmach"]) == 2
    assert "did you mean 'fixmatch'?" in capsys.readouterr().err
