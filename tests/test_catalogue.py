"""Every system has a file, a test and a paper, a mixer its label rule; the command says which lacks one."""

import ast
import subprocess
import sys

import catalogue
import pytest
from sounds import ROOT

from audiomix import mixers
from audiomix.catalogue import Entry, Kind, kinds
from audiomix.options import docstring_line

ROWS = catalogue.rows()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.kind}: {row.name}")
def test_every_member_has_all(row):
    assert not row.lacks, f"{row.file} lacks {', '.join(row.lacks)}"
    assert (ROOT / row.file).is_file()


def test_every_file_of_the_registries_has_a_row():
    files = {row.file for row in ROWS}
    folders = ["mixers", "transforms", "pairing", "beats/trackers", "losses", "measures", "inference", "network"]
    paths = [path for folder in folders for path in (ROOT / "audiomix" / folder).glob("[a-z]*.py")]
    learned = [path for path in (ROOT / "recipes" / "training" / "mixing").glob("[a-z]*.py") if path.stem != "base"]
    assert len(learned) >= 5
    for path in (*paths, *learned):
        assert path.relative_to(ROOT).as_posix() in files


def test_systems_that_are_no_registry_have_rows():
    found = {(row.kind, row.name) for row in ROWS}
    assert {
        ("losses", "decoupled"), ("measures", "neural_collapse"), ("inference", "UnMixTNS"), ("policies", "OneOf"),
        ("network", "manifold_mixup"), ("targets", "transmix"), ("learned_mixing", "adamixup"),
        ("continual", "dualmix"), ("continual", "wa"),
    } <= found  # fmt: skip
    wa = next(row for row in ROWS if row.name == "wa")
    title = "Maintaining Discrimination and Fairness in Class Incremental Learning"
    assert wa.source == f'Zhao et al., "{title}", CVPR 2020'


def test_the_command_prints_all_and_ends_with_0():
    done = subprocess.run(
        [sys.executable, "tests/catalogue.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for row in ROWS:
        assert str(row) in done.stdout


class Bare:
    """no sentence"""


Bare.__module__ = "audiomix.mixers.cutmix"


@pytest.mark.parametrize(
    ("change", "lacking"),
    [
        ({}, set()),
        ({"title": "no sentence"}, {"a sentence"}),
        ({"source": ""}, {"a paper"}),
        ({"source": "Zhang et al., mixup"}, {"a paper"}),  # without a year
        ({"label": ""}, {"a label rule"}),
        ({"domains": ()}, {"a domain"}),
        ({"member": Bare}, {"a test"}),
    ],
)
def test_what_is_missing_is_named_and_ends_with_1(change, lacking, capsys, monkeypatch):
    monkeypatch.setattr(catalogue.inspect, "getfile", lambda _: str(ROOT / "audiomix" / "mixers" / "cutmix.py"))
    good = {"title": "Cuts.", "source": "ours.", "label": "kept.", "domains": ("wave",), "member": mixers.get("cutmix")}
    kind = Kind("mixers", "Mixers", "--mixer", (), registry="audiomix.mixers")
    row = catalogue._row(kind, Entry("cutmix", **{**good, **change}))
    assert set(row.lacks) == lacking
    assert catalogue.main([row]) == bool(lacking)
    assert all(word in capsys.readouterr().err for word in lacking)


def test_tests_are_found_by_what_they_use_themselves_or_through_their_file(tmp_path):
    path = tmp_path / "test_one.py"
    path.write_text(
        "from audiomix import CutMix, MixUp\n"
        "MADE = CutMix()\n"
        "def helper():\n    return MADE\n"
        "def test_a():\n    helper()\n"
        "def test_b():\n    assert MixUp\n"
        "def test_c():\n    pair(4, 'weighted:size=2')\n"
    )
    assert catalogue.find_tests([path], "CutMix") == ["test_one.py::test_a"]
    assert catalogue.find_tests([path], "MixUp") == ["test_one.py::test_b"]
    assert catalogue.find_tests([path], "weighted", by_text=True) == ["test_one.py::test_c"]
    assert catalogue.find_tests([path], "weighted") == []


def test_a_source_may_go_on_over_lines_and_ends_at_the_label():
    doc = "Mixes.\n\nMore.\n\nSource: A, \"T\",\nICLR 2018.\nLabel: kept\nas it is.\n\nRest."
    assert docstring_line(doc, "Source") == 'A, "T", ICLR 2018.'
    assert docstring_line(doc, "Label") == "kept as it is."
    assert docstring_line("Says Source: nothing.", "Source") == ""


def test_no_two_kinds_of_plans_have_one_name():
    """A manifest names the kind of its plan: which of two it is would depend on what was imported last."""
    found = {}
    for path in (ROOT / "audiomix").rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and node.name.endswith("Plan"):
                found.setdefault(node.name, []).append(path.name)
    assert len(found) > 20
    assert {name: files for name, files in found.items() if len(files) > 1} == {}


def test_what_lies_in_no_registry_is_listed_by_its_source_line():
    found = {kind.key: {entry.name for entry in kind.entries} for kind in kinds()}
    assert {"manifold_mixup", "MixLayer", "HiddenPatchMix"} <= found["network"]
    assert {"transmix", "mixpro", "mix_captions"} <= found["targets"]
    assert {"StreamLoss", "mix_contrast", "mix_consistency", "fine_grained_loss"} <= found["losses"]
    assert {"OneOf", "mix_repeat"} <= found["policies"]
    assert {"linear:a:b[:end]", "tanh_rise:a:b:s"} <= found["schedules"]


def test_names_are_listed_once_in_each_kind():
    for kind in kinds():
        names = [entry.name for entry in kind.entries]
        assert len(names) == len(set(names))
        assert all(entry.title for entry in kind.entries)
