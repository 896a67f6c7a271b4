"""Defaults held against supervised training on data sets that nobody tuned on: the rule, and what may be asked."""

import inspect
from types import SimpleNamespace

import pytest

from recipes.benchmark import held_out
from recipes.benchmark.held_out import SEEDS, SETS, broken_by, compare, dataset_of, make_page
from recipes.benchmark.intervals import Interval
from recipes.cli import main
from recipes.commands import verify as command


def record(equal=True):
    rows = {
        "supervised": {"text": "supervised", "method": "supervised"},
        "equal": {"text": "supervised:steps=900+mixup", "method": "supervised"},
        "fixmatch": {"text": "fixmatch", "method": "fixmatch"},
    }
    content = {"rows": rows if equal else {k: v for k, v in rows.items() if k != "equal"}}
    return SimpleNamespace(content=content | ({"equal": {"text": "supervised:steps=900+mixup"}} if equal else {}))


def line(text, method, gain, verdict):
    found = None if gain is None else SimpleNamespace(used=Interval(gain, gain - 1, gain + 1, 0.01))
    return SimpleNamespace(
        text=text, title=text, method=method, head="none", label="3", gain={"raw": found},
        verdict=lambda network: verdict,
    )  # fmt: skip


@pytest.fixture
def tables(monkeypatch):
    """Have tables whose fixmatch is worse than one row and better than another."""
    asked = []

    def build(_, baseline):
        asked.append(baseline)
        gain, verdict = (-4.0, "worse") if baseline == "supervised" else (2.5, "no gain shown")
        rows = [line("supervised", "supervised", None, "baseline"), line("fixmatch", "fixmatch", gain, verdict)]
        return SimpleNamespace(lines=rows, headline="raw")

    monkeypatch.setattr(held_out, "build_table", build)
    return asked


def test_a_method_is_compared_with_the_row_of_as_many_steps_and_with_that_of_equal_compute(tables):
    (found,) = compare("digits", record())
    assert tables == ["supervised", "supervised:steps=900+mixup"]
    assert (found.data, found.method) == ("digits", "fixmatch")
    assert found.differences == {"equal steps": (-4, -5, -3), "equal compute": (2.5, 1.5, 3.5)}
    assert found.verdicts == {"equal steps": "worse", "equal compute": "no gain shown"}
    assert broken_by([found]) == ["fixmatch on digits: -4.00 (-5.00 to -3.00)"]
    text = make_page([found], ["audiomix-recipes bench manifest digits"]).markdown()
    assert "Broken by fixmatch on digits" in text
    assert "audiomix-recipes bench manifest digits" in text


def test_the_rule_is_of_equal_steps_and_needs_no_other_row(tables, monkeypatch):
    (found,) = compare("digits", record(equal=False))
    assert tables == ["supervised"]
    assert found.verdicts["equal compute"] == ""
    build, other = held_out.build_table, {"supervised": "supervised:steps=900+mixup"}
    monkeypatch.setattr(held_out, "build_table", lambda r, baseline: build(r, other.get(baseline, "supervised")))
    (found,) = compare("digits", record())
    assert found.verdicts["equal compute"] == "worse"
    assert not broken_by([found])
    assert "It holds." in make_page([found], []).markdown()


def test_no_setting_of_a_method_can_be_given():
    allowed = {one.name for one in SETS} | {"methods", "jobs", "threads", "device", "out", "store", "resume"}
    assert set(inspect.signature(command.verify).parameters) == allowed
    assert SEEDS == (100, 101, 102)


def test_a_folder_of_ones_own_may_be_a_manifest(tmp_path):
    own, digits = SETS[3], SETS[1]
    assert dataset_of(own, tmp_path) == "folder"
    (tmp_path / "metadata.jsonl").write_text("")
    assert dataset_of(own, tmp_path) == "manifest"
    assert dataset_of(own, tmp_path / "metadata.jsonl") == "manifest"
    assert dataset_of(digits, tmp_path) == "manifest"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the data sets must be one at least, got none"),
        (["--folder", "x", "--methods", "fixmatch:threshold=0.9"], "methods must be one of"),
        (["--folder", "x", "--steps", "3"], "--steps"),
    ],
)
def test_what_cannot_be_verified_is_refused(words, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["verify", *words]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_methods_are_trained_on_every_set_and_errors_are_in_the_log_alone(tone_folder, tmp_path, monkeypatch, capsys):
    short = {"steps": 2, "every": 2, "batch_labelled": 4, "batch_unlabelled": 4}
    own = command.bench
    monkeypatch.setattr(command, "bench", lambda *a, config, **k: own(*a, fold=("1", "2"), config=config | short, **k))
    words = ["verify", "--folder", str(tone_folder), "--methods", "fixmatch", "--out", str(tmp_path / "out")]
    code = main([*words, "--threads", "1", "--device", "cpu"])
    assert code in (0, 1)
    printed = capsys.readouterr()
    assert "error" not in printed.out + printed.err
    assert "error" in (tmp_path / "out" / "folder" / "log.txt").read_text()
    page = (tmp_path / "out" / "verify.md").read_text()
    assert "| folder | fixmatch" in page
    assert "--labelled 10% --seed 100 101 102 --threads 1 --device cpu" in page
    assert main(words) == 2  # without --resume
