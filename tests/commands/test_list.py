"""``audiomix list``: everything by kind, and of a name all options."""

import json

import pytest

from audiomix import cli, mixers, pairing, transforms
from audiomix.beats import trackers
from audiomix.options import options_of


def listed(capsys, *words):
    """Return what ``list`` prints, on one line without folds."""
    assert cli.main(["list", *words]) == 0
    return " ".join(capsys.readouterr().out.split())


def test_the_table_shows_every_name_by_kind_with_its_paper_label_rule_and_domain(capsys):
    text = listed(capsys)
    headings = ["Mixers", "Transforms", "Pairing rules", "Policies", "Schedules", "Label rules", "Targets", "Trackers"]
    assert sorted(headings, key=text.index) == headings
    names = (*mixers.available(), *transforms.available(), *pairing.available(), *trackers.available())
    for name in (*names, "modality_dropout", "OneOf", "stop_after:0.75[:a]", "dominant", "StreamLoss"):
        assert f"{name} " in text
    row = text[text.index(" cutmix ") : text.index(" fmix " if "fmix" in mixers.available() else " latent_beat ")]
    for part in ("spectrogram, wave", "is replaced by its partner's.", "share of the valid area", "ICCV 2019"):
        assert part in row
    assert "Regularization Strategy" not in row  # titles of papers are shown of a name alone


@pytest.mark.parametrize("kind", [mixers, transforms, trackers, pairing], ids=lambda kind: kind.__name__)
def test_a_name_shows_all_its_options(kind, capsys):
    for name in kind.available():
        text = listed(capsys, name)
        member = kind.get(name)
        skip = ("pool", "generator") if kind is pairing else ()
        for option in options_of(member, skip):
            word = option.name if kind is not mixers else "--" + option.name.replace("_", "-")
            assert f" {word} " in text
            assert option.help.split(".")[0][:12] in text


def test_a_name_shows_the_title_of_its_paper_and_where_it_is_in_code(capsys):
    text = listed(capsys, "cutmix")
    assert '"CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features", ICCV 2019.' in text
    assert "audiomix.mixers.cutmix.CutMix" in text
    assert listed(capsys, "CutMix") == text


def test_a_name_of_several_kinds_shows_all(capsys):
    text = listed(capsys, "file")
    assert "Trackers" in text
    text = listed(capsys, "linear", "cutmix")
    assert "Label rules" in text
    assert "--fade" in text


def test_ones_own_mixer_is_shown_by_its_path(capsys, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from audiomix import Example, MixUp\n"
        "class Soft(MixUp):\n"
        '    """Mix softly.\n\n    Source: ours, 2026.\n    Label: mixed.\n\n'
        '    Parameters\n    ----------\n    softness : float\n        How soft.\n    """\n'
        "    def __init__(self, softness: float = 0.5) -> None:\n        super().__init__()\n"
        "    @classmethod\n    def examples(cls):\n        return [Example(cls())]\n"
    )
    text = listed(capsys, f"{path}:Soft")
    for part in ("Mix softly.", "source: ours, 2026.", "label: mixed.", "--softness", "How soft."):
        assert part in text


def test_a_kind_is_shown_alone(capsys):
    text = listed(capsys, "pairing_rules", "losses")
    assert "Pairing rules" in text
    assert "same_cluster" in text
    assert "Mixers (" not in text
    assert cli.main(["list", "losses", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)) == ["exit_code", "losses"]


def test_a_misspelt_name_is_named(capsys):
    assert cli.main(["list", "cutmx"]) == 2
    assert capsys.readouterr().err == (
        "audiomix: name must be one that audiomix list shows, got 'cutmx': did you mean 'cutmix'?\n"
    )
    assert cli.main(["list", "nothing like it"]) == 2
    assert "or a kind: mixers, transforms" in capsys.readouterr().err


def test_json_holds_what_the_table_shows(capsys):
    assert cli.main(["list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["mixers"]) == set(mixers.available())
    assert found["mixers"]["mixup"]["domains"] == ["embedding", "spectrogram", "wave"]
    assert found["mixers"]["mixup"]["label"] == "mixed by the drawn weight, whatever the gains."
    assert cli.main(["list", "mixup", "--json"]) == 0
    options = json.loads(capsys.readouterr().out)["mixers"]["mixup"]["options"]
    assert [o["default"] for o in options if o["name"] == "gain_law"] == ["amplitude"]
