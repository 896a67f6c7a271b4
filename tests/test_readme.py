"""The README's blocks run, in its order, and say what is there."""

import json
import shlex
import shutil

import pytest
from readme import TEXT, blocks, write_files
from sounds import ROOT


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
    for name in ("checkpoints", "loops", "sounds"):
        (assets / name).symlink_to(ROOT / "assets" / name)
    copy_some_words(ROOT / "assets" / "words", assets / "words")
    write_files(path)
    return path


@pytest.mark.parametrize("line", [line for b in blocks("console") for line in b.splitlines() if line.startswith("$ ")])
def test_commands_run(line, folder, monkeypatch, capfd):
    """Those on bundled data; the benchmark commands on ESC-10 take minutes and are run for the table they made."""
    monkeypatch.chdir(folder)
    words = shlex.split(line[2:].partition(" #")[0])
    if words[0] == "audiomix":
        from audiomix.cli import main
    else:
        assert words[0] == "audiomix-recipes"
        from recipes.cli import main
    if any(word in line for word in ("esc10", "ESC", "path/to")):
        pytest.skip("minutes of training: see assets/results")
    assert main(words[1:]) == 0, capfd.readouterr()


def test_there_are_two_set_up_commands():
    commands = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(commands) == 2
    assert "audiomix-recipes demo" in commands[0]
    assert commands[1].rpartition(" && ")[2].startswith(".venv/bin/python -m pytest")


def test_changes_name_the_version():
    import audiomix

    assert f"### {audiomix.__version__}" in TEXT
