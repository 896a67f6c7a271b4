"""The README's blocks run, in its order, print what it says, and it names what is there; the guides' commands run."""

import doctest
import json
import re
import shlex
import shutil

import pytest
from readme import PAGES, TEXT, blocks, commands, write_files
from sounds import ROOT

from audiomix import mixers


def test_python_blocks_run_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    assert names["mixed"].x.shape[0] == 8


def copy_some_words(words, target):
    """Copy every fourth voice: the commands do the same with fewer files, in a quarter of the time."""
    rows = [json.loads(line) for line in (words / "metadata.jsonl").read_text().splitlines()]
    voices = list(dict.fromkeys(row["group"] for row in rows))[::4]
    rows = [row for row in rows if row["group"] in voices]
    for row in rows:
        (target / row["file_name"]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(words / row["file_name"], target / row["file_name"])
    (target / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One for all commands: later ones read what earlier ones wrote."""
    path = tmp_path_factory.mktemp("readme")
    assets = path / "assets"
    assets.mkdir()
    for name in ("checkpoints", "loops", "results", "sounds"):
        (assets / name).symlink_to(ROOT / "assets" / name)
    copy_some_words(ROOT / "assets" / "words", assets / "words")
    write_files(path)
    return path


@pytest.mark.parametrize(("line", "output"), commands())
def test_commands_run_and_print_what_stands_below_them(line, output, folder, monkeypatch, capfd):
    """Those on bundled data; the benchmark commands on ESC-10 take minutes and are run for the table they made."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "100")
    words = shlex.split(line.partition(" #")[0])
    if words[0] == "audiomix":
        from audiomix.cli import main
    else:
        assert words[0] == "audiomix-recipes"
        from recipes.cli import main
    if any(word in line for word in ("esc10", "ESC", "path/to")):
        pytest.skip("minutes of training: see assets/results")
    assert main(words[1:]) == 0, capfd.readouterr()
    printed = "".join(capfd.readouterr())
    shown = "...".join(["", *output.splitlines(), ""]) or "..."
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert doctest.OutputChecker().check_output(shown, printed, options), printed


def test_the_readme_is_short_and_its_links_lead_somewhere():
    assert TEXT.count("\n") <= 200
    for link in re.findall(r"\]\(([^)]+)\)", TEXT):
        assert (ROOT / link).exists(), link


def test_there_are_two_set_up_commands():
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(lines) == 2
    assert "audiomix-recipes demo" in lines[0]
    assert lines[1].rpartition(" && ")[2].startswith(".venv/bin/python -m pytest")


def test_the_readme_leads_to_every_guide_and_its_table_has_every_mixer_once():
    for name in PAGES.keys() - {"README.md"}:
        assert f"](assets/docs/{name})" in TEXT, name
    table = re.findall(r"^\| `(\w+)` \|", TEXT, flags=re.M)
    assert sorted(table) == sorted(mixers.get(name).__name__ for name in mixers.available())
    of_guide = re.findall(r"^\| `(\w+)` \|", PAGES["mixers.md"], flags=re.M)
    assert sorted(of_guide) == sorted([*table, "OneOf"])
    assert f"and {len(table) - 2} other mixers" in TEXT


def test_changes_name_the_version():
    import audiomix

    assert f"## {audiomix.__version__}" in PAGES["changes.md"]
