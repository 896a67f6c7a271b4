"""How both command lines end: exit codes, ``--json``, closed pipes, and text that is printed as it is."""

import ast
import errno
import json
import os
import subprocess
import sys
import types

import pytest
import torch
from made import write
from sounds import ROOT

import recipes.cli
from audiomix import __version__, cli, terminal
from audiomix.audio.io import AudioError
from audiomix.commands._program import Program, run_program
from audiomix.interrupts import Interrupts
from audiomix.offline.journal import RunStopped, stop_on_oserror
from audiomix.terminal import Exit, Progress, Summary, describe_exit_codes, run_script

CLIS = {"audiomix": cli, "audiomix-recipes": recipes.cli}
EVERY = [(name, command) for name, module in CLIS.items() for command in module.COMMANDS]
# names that are markup, JSON, emoji or control codes to somebody
ODD = ["[bold]x[/bold]", "[x]", "[/]", "{y}", ":smile:", "a\x1b[31mb", "ü"]


@pytest.fixture
def run(monkeypatch):
    """Return a function that runs a command line whose one command is a function of the test's own."""

    def call(function, words=("try",)):
        monkeypatch.setitem(sys.modules, "own_commands.try", types.SimpleNamespace(**{"try": function}))
        monkeypatch.setitem(sys.modules, "own_commands", types.ModuleType("own_commands"))
        with Interrupts("own: stopped") as interrupts:
            return run_program(Program("own", "", "0", "own_commands", {"try": ""}, {}), words, interrupts)

    return call


def stopped(number, *, begun):
    try:
        with stop_on_oserror("out", begun=begun):
            raise OSError(number, os.strerror(number), "out")
    except RunStopped as error:
        return error


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ValueError("gain must be 1"), 2, "own: gain must be 1"),
        (TypeError("gain"), 2, "own: gain"),
        (AudioError("a.wav: empty file"), 2, "own: a.wav: empty file"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "x"), 2, "own: x: no such file or directory"),
        (PermissionError(errno.EACCES, "Permission denied", "[x]"), 2, "own: [x]: permission denied"),
        (FileExistsError("out holds results"), 2, "own: out holds results"),
        (OSError(errno.EROFS, "Read-only file system"), 2, "own: read-only file system"),
        (ModuleNotFoundError("pip install av"), 2, "own: pip install av"),
        (OSError(errno.ENOSPC, "No space left on device", "o.wav"), 3, "own: o.wav: no space left on device"),
        (RunStopped("a worker ended"), 3, "own: a worker ended"),
        (stopped(errno.EACCES, begun=False), 2, "own: out: permission denied. Nothing was done"),
        (stopped(errno.EACCES, begun=True), 3, "own: out: permission denied. What is done is kept"),
        (stopped(errno.ENOSPC, begun=False), 3, "own: out: no space left on device. Nothing was done"),
        (ChildProcessError("a process was ended"), 3, "own: a process was ended"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 3, "own: broken pipe"),  # of a download: stdout is open
        (FloatingPointError("the loss is NaN"), 3, "own: the loss is NaN"),
        (MemoryError("2 GB"), 3, "own: too little memory (2 GB)"),
        (torch.OutOfMemoryError("CUDA"), 3, "own: too little memory (CUDA)"),
        (KeyboardInterrupt(), 130, "own: stopped"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_an_error_has_a_code_and_a_sentence(error, code, message, run, capfd):
    def fail(*, json: bool = False) -> int:
        raise error

    assert run(fail) == code
    said = capfd.readouterr()
    assert said.err.startswith(message)
    assert "Traceback" not in said.err
    assert said.out == ""
    assert run(fail, ["try", "--json"]) == code
    told = json.loads(capfd.readouterr().out)
    assert told["exit_code"] == code
    assert told["error"].startswith(message.removeprefix("own: "))


def test_what_nobody_expects_has_its_traceback(run, capfd):
    def fail() -> int:
        raise RuntimeError("[odd]")

    assert run(fail) == 3
    said = capfd.readouterr().err
    assert "Traceback" in said
    assert "own: RuntimeError: [odd]: a fault of own itself" in said


def test_a_summary_is_one_strict_json_object_and_stdout_has_nothing_else(run, capfd):
    def work() -> Summary:
        print("a table")
        return Summary(Exit.SOME, {"error": float("nan"), "out": ROOT, "list": [(1, "[x]")]})

    assert run(work) == 1
    assert capfd.readouterr().out == "a table\n"
    assert run(work, ["try", "--json"]) == 1
    said = capfd.readouterr()
    assert json.loads(said.out) == {"exit_code": 1, "error": None, "out": str(ROOT), "list": [[1, "[x]"]]}
    assert "a table" in said.err


def test_mix_prints_one_json_object_however_it_ends(tmp_path, capfd):
    write(tmp_path / "a.wav")
    for partner, code in (("a.wav", 0), ("none.wav", 2)):
        words = ["mix", str(tmp_path / "a.wav"), str(tmp_path / partner), "-o", str(tmp_path / "o.flac"), "--json"]
        assert cli.main(words) == code
        assert json.loads(capfd.readouterr().out)["exit_code"] == code


def test_the_table_of_exit_codes_is_in_help_and_in_the_guide(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    rows = [row.removeprefix("- ") for row in describe_exit_codes().splitlines()]
    assert [int(row.partition(":")[0]) for row in rows] == [0, 1, 2, 3, 130]
    for words in (["--help"], ["list", "--help"]):
        for module in CLIS.values():
            assert module.main(words) == 0
            page = capsys.readouterr().out
            assert all(row in page for row in rows), page
    page = (ROOT / "assets" / "docs" / "scripts.md").read_text()
    for row in rows:
        code, _, text = row.partition(": ")
        assert f"| {code} | {text} |" in page


@pytest.mark.parametrize(("name", "command"), EVERY)
def test_a_wrong_option_of_any_command_is_refused_and_a_near_one_named(name, command, capsys):
    main = CLIS[name].main
    words = [command, *(["supervised"] if command == "run" else [])]
    assert main([*words, "--no-such-option"]) == 2
    said = capsys.readouterr()
    assert f"{name} {command} --help" in said.err
    assert "--no-such-option" in said.err
    assert said.out == ""
    assert main(["x" + command]) == 2
    assert "Unknown command" in capsys.readouterr().err


def test_a_near_command_is_named(capsys):
    for words, near in ((["agument"], "augment"), (["beets"], "beats"), (["--help", "lst"], "list")):
        assert cli.main(words) == 2
        assert f'Did you mean "{near}"?' in capsys.readouterr().err


@pytest.mark.parametrize("module", ["audiomix", "recipes"])
def test_modules_run_as_programs(module):
    words = [sys.executable, "-m", module, "--version"]
    assert subprocess.check_output(words, cwd=ROOT, text=True).strip() == __version__


def test_text_is_printed_by_one_mechanism_that_knows_no_markup():
    """No console, progress bar or markup of rich's own anywhere but in terminal.py."""
    wrong = {"Console", "escape", "from_markup", "TextColumn", "Progress", "track"}
    for path in sorted([*(ROOT / "audiomix").rglob("*.py"), *(ROOT / "recipes").rglob("*.py")]):
        if path.name == "terminal.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "rich":
                assert not {alias.name for alias in node.names} & wrong, f"{path}:{node.lineno}"
            assert not (isinstance(node, ast.keyword) and node.arg == "markup"), f"{path}:{node.value.lineno}"


@pytest.mark.parametrize("name", ODD)
def test_messages_show_names_as_they_are(name, capsys, monkeypatch):
    shown = name.replace("\x1b", "\\x1b")
    terminal.say(f"{name}: no such file")
    monkeypatch.setattr(terminal, "_is_terminal", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    terminal.say(f"{name}: no such file", style="red")
    terminal.say("long " * 60 + name)
    assert capsys.readouterr().err.splitlines() == [f"{shown}: no such file"] * 2 + ["long " * 60 + shown]
    assert cli.main(["beats", name]) == 2
    assert shown in capsys.readouterr().err


def test_names_come_through_every_command_as_they_are(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for number, label in enumerate(label for label in ODD if "/" not in label):
        for take in range(2):
            write(tmp_path / "in" / label / f"{label[:3]}{take}[b].wav", seed=10 * number + take)
    (tmp_path / "in" / "[x]" / "[red]bad.wav").write_bytes(b"no sound")
    assert cli.main(["augment", "in", "[out]", "--stems"]) == 1
    said = capsys.readouterr()
    assert "in [out]" in said.out
    assert "not done: [x]/[red]bad.wav: " in said.err
    assert cli.main(["audit", "[out]", "--sources", "in", "--level-db", "0", "--worst", "100"]) in (0, 1)
    capsys.readouterr()
    assert cli.main(["beats", "in/[x]", "in/{y}", "--tracker", "beat_track", "--no-cache"]) == 1
    said = capsys.readouterr()
    assert "in/[x]/[x]0[b].wav" in said.out
    assert "in/{y}/{y}0[b].wav" in said.out
    assert "not done: in/[x]/[red]bad.wav: " in said.err
    assert cli.main(["mix", "in/[x]/[x]0[b].wav", "in/{y}/{y}0[b].wav", "-o", "[m].wav", "--labels", "[a]", "{b"]) == 0
    assert set(json.loads(capsys.readouterr().out)["label"]) <= {"[a]", "{b"}


def test_progress_is_lines_now_and_then_where_there_is_no_terminal(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    with Progress() as progress:
        for _ in progress.track(range(1000), 1000, description="[b]mixing", unit="files"):
            now[0] += 1.0
    lines = capsys.readouterr().err.split("\n")[:-1]
    assert lines[0] == "[b]mixing: 10 of 1000 files, 16 min left"
    assert lines[-1] == "[b]mixing: 1000 of 1000 files"
    assert 20 < len(lines) < 60
    assert not any(set(line) & {"\r", "\x1b"} for line in lines)
    with Progress(shown=False) as progress:
        assert list(progress.track(range(3), 3, description="quiet")) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_strict_and_max_errors_stop_a_run_and_the_same_command_goes_on(tmp_path, capsys):
    for i in range(6):
        write(tmp_path / "in" / "ab"[i % 2] / f"{i}.wav", seed=i)
    for i in range(2):
        (tmp_path / "in" / "a" / f"bad{i}.wav").write_bytes(b"no sound")
    words = ["augment", str(tmp_path / "in"), str(tmp_path / "out"), "--json"]
    for more, count in ((["--strict"], 1), (["--max-errors", "0"], 1), (["--max-errors", "1"], 2)):
        assert cli.main([*words, *more]) == 3
        said = capsys.readouterr()
        assert f"{count} file{'s' * (count > 1)} could not be done" in json.loads(said.out)["error"]
        assert "bad" in said.err
        assert not (tmp_path / "out" / "metadata.jsonl").exists()
    assert cli.main([*words, "--max-errors", "2"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["files"], {one["file"] for one in told["errors"]}) == (6, {"a/bad0.wav", "a/bad1.wav"})
    for wrong in (["--max-errors", "-1"], ["--strict", "--max-errors", "2"]):
        assert cli.main([*words, *wrong]) == 2
    capsys.readouterr()
    sounds = ["beats", str(tmp_path / "in"), "--tracker", "beat_track", "--no-cache"]
    assert [cli.main([*sounds, *more]) for more in ([], ["--strict"], ["--max-errors", "1"])] == [1, 3, 3]


@pytest.mark.parametrize("end", [lambda: None, lambda: 1, lambda: sys.exit(0)], ids=["returns", "fails", "exits"])
@pytest.mark.parametrize("lines", [1, 10_000])
def test_a_script_whose_output_nobody_reads_ends_quietly(end, lines, monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        monkeypatch.setattr(sys, "stderr", closed)
        assert run_script(lambda: print("a line of the list\n" * lines) or end()) == 141


def test_a_script_ends_with_the_code_of_its_function():
    assert [run_script(lambda: None), run_script(lambda: 1)] == [0, 1]
    with pytest.raises(SystemExit):
        run_script(lambda: sys.exit(2))
