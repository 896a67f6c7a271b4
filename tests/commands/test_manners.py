"""What every command has: an example, ``--json``, ``--quiet``; completion; quiet and plain output; exit codes."""

import ast
import inspect
import subprocess
from pathlib import Path

import pytest
from cyclopts import App
from sounds import ROOT

from audiomix import cli, terminal
from audiomix.commands import _options
from recipes import cli as recipes_cli

PROGRAMS = {"audiomix": cli, "recipes": recipes_cli}
COMMANDS = [(package, name) for package, program in PROGRAMS.items() for name in program.COMMANDS]


@pytest.mark.parametrize("package", PROGRAMS)
def test_every_command_has_an_example_that_names_it(package):
    program = PROGRAMS[package]
    assert {*program.EXAMPLES} == {*program.COMMANDS}
    for name, text in program.EXAMPLES.items():
        assert f" {name} " in f"{text} ".replace("\n", " "), name


@pytest.mark.parametrize(("package", "name"), COMMANDS)
def test_every_command_has_json_and_quiet(package, name):
    app = App()
    _options.add_commands(app, f"{package}.commands", {name: ""}, [name])
    function = app[name].default_command
    parameters = inspect.signature(function).parameters
    assert {"json", "quiet"} <= parameters.keys()
    assert all(parameters[option].default is False for option in ("json", "quiet"))


def test_quiet_leaves_results_warnings_and_errors(capsys):
    def work(n: int = 1) -> terminal.Summary:
        """Work."""
        print("a result")
        terminal.say("a remark")
        terminal.say("a warning", style="yellow")
        with terminal.Progress() as progress:
            for _ in progress.track(range(3), 3, description="counting"):
                pass
        return terminal.Summary(terminal.Exit.SOME, {"n": n})

    run = _options._with_common_options(work)
    assert run() == 1
    loud = capsys.readouterr()
    assert run(quiet=True) == 1
    quiet = capsys.readouterr()
    assert (loud.out, quiet.out) == ("a result\n", "a result\n")
    assert loud.err.splitlines() == ["a remark", "a warning", "counting: 3 of 3"]
    assert quiet.err.splitlines() == ["a warning"]
    assert run(json=True, quiet=True) == 1
    assert capsys.readouterr().out == '{"exit_code": 1, "n": 1}\n'
    terminal.say("again")  # only that call was quiet
    assert capsys.readouterr().err == "again\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_commands_and_options(shell, capsys):
    assert cli.main(["--show-completion", shell]) == 0
    script = capsys.readouterr().out
    for word in (*cli.COMMANDS, "mixer", "picture-size", "max-errors", "quiet"):
        assert word in script
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True).stderr == ""


def test_completion_of_another_shell_is_refused(capsys):
    assert cli.main(["--show-completion", "tcl"]) == 2
    assert "tcl" in capsys.readouterr().err


def test_no_command_returns_or_exits_with_a_number_of_its_own():
    """Exit codes come from the one table, `audiomix.terminal.Exit`."""
    for path in [*(ROOT / "audiomix" / "commands").glob("*.py"), *(ROOT / "recipes" / "commands").glob("*.py")]:
        for node in ast.walk(ast.parse(Path(path).read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("sys.exit", "exit", "os._exit", "SystemExit"), f"{path}:{node.lineno}"
                if called == "Summary":
                    assert "Exit" in ast.unparse(node.args[0]) or isinstance(node.args[0], ast.Name), path
