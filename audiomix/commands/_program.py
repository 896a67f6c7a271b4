"""One way for both command lines to run a command: messages, exit codes, signals and closed pipes."""

import errno
import json
import select
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ..interrupts import Interrupts
from ..terminal import Exit, console, describe_exit_codes, drop_output, flush, say
from ._options import add_commands, whole_numbers

if TYPE_CHECKING:
    from cyclopts import App

__all__ = ["Program", "run_program"]

# What a person can change: anything else that the operating system refuses (a full disk) stops a command.
_REFUSALS = (FileNotFoundError, FileExistsError, PermissionError, NotADirectoryError, IsADirectoryError)
_REFUSED = {
    errno.ENOENT, errno.EEXIST, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EROFS, errno.ENAMETOOLONG,
    errno.ELOOP, errno.EINVAL, errno.EBUSY,
}  # fmt: skip


@dataclass(frozen=True)
class Program:
    """A command line.

    Parameters
    ----------
    name : str
        As the user types it.
    help : str
        What it is for.
    version : str
        Of the package.
    package : str
        Dotted name of the folder of its commands.
    commands : dict of str to str
        What each command does, for ``--help``.
    examples : dict of str to str
        Command lines of each command, for ``--help``: lines of a Markdown list.
    """

    name: str
    help: str
    version: str
    package: str
    commands: Mapping[str, str]
    examples: Mapping[str, str]


def run_program(program: Program, words: Sequence[str], interrupts: Interrupts) -> int:
    """Run a command line; return its exit code, one of `audiomix.terminal.Exit`.

    Parameters
    ----------
    program : Program
        Its name and its commands.
    words : sequence of str
        The words behind the name.
    interrupts : Interrupts
        Within whose block this is called.
    """
    try:
        try:
            _print_any_name()
            code = _call(program, list(words), interrupts)
            flush()
        except (Exception, KeyboardInterrupt) as error:
            code = _end(program, words, interrupts, error)
            flush()
    except OSError as error:  # stdout or stderr takes no more
        code = Exit.PIPE_CLOSED if isinstance(error, BrokenPipeError) else Exit.STOPPED
        drop_output()
    return int(code)


def _call(program: Program, words: list[str], interrupts: Interrupts) -> int:
    if words == ["--version"]:  # the command line's library takes ten times as long to import as Python
        print(program.version)
        return Exit.DONE
    app = _make_app(program, words)
    _add_completion(app, program)
    command, bound, *_ = app.parse_args(words, exit_on_error=False, print_error=False)
    interrupts.begin()
    code = int(command(*bound.args, **bound.kwargs) or 0)
    if interrupts.received:  # other people's code caught it
        raise KeyboardInterrupt
    return code


def _make_app(program: Program, words: list[str]) -> "App":
    """Return the command line with those commands imported that are among the words."""
    from cyclopts import App, Parameter

    named = [word for word in words if word in program.examples][:1] or program.examples
    examples = "\n".join(program.examples[command] for command in named)
    app = App(
        name=program.name,
        help=program.help,
        version=program.version,
        config=whole_numbers,
        console=console(),
        default_parameter=Parameter(json_list=False, json_dict=False),  # a path may begin with [ or {
        help_epilogue=f"Exit codes:\n\n{describe_exit_codes()}\n\nExamples:\n\n{examples}",
    )
    add_commands(app, program.package, program.commands, words)
    return app


def _add_completion(app: "App", program: Program) -> None:
    """Add the two commands for shell completion; only they import every command."""

    def show_completion(shell: Literal["bash", "zsh", "fish"]) -> int:
        """Print what completes this command line in a shell: source <(NAME --show-completion bash)."""
        made = _make_app(program, [*program.commands])
        print(made.generate_completion(prog_name=program.name, shell=shell))
        return Exit.DONE

    def install_completion(shell: Literal["bash", "zsh", "fish"] | None = None) -> int:
        """Write the same for this shell, or another, and a line into the file that it reads at its start."""
        print(_make_app(program, [*program.commands]).install_completion(shell=shell))
        return Exit.DONE

    app.command(show_completion, name="--show-completion")
    app.command(install_completion, name="--install-completion")


def _end(program: Program, words: Sequence[str], interrupts: Interrupts, error: BaseException) -> int:
    """Say why a command ended early; return its exit code."""
    if isinstance(error, BrokenPipeError) and _is_closed():
        raise error
    if interrupts.received or isinstance(error, KeyboardInterrupt):
        code: int = 128 + interrupts.received if interrupts.received else Exit.INTERRUPTED
        message = interrupts.message
    else:
        known, message = _reason(error)
        if known is None:
            traceback.print_exception(error)
            message += f": a fault of {program.name} itself; please report the lines above"
        code = Exit.STOPPED if known is None else known
        message = f"{program.name}: {message}{_usage(error, program.name)}"
    say(message, style="red")
    if "--json" in words:
        print(json.dumps({"exit_code": int(code), "error": message.removeprefix(f"{program.name}: ")}))
    return code


def _reason(error: BaseException) -> tuple[Exit | None, str]:
    """Return exit code and message of an error; no code for one that nobody expects."""
    from cyclopts import CycloptsError

    from ..audio.io import AudioError  # torch comes with it

    message = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename is not None else ""
        message = f"{place}{error.strerror[:1].lower()}{error.strerror[1:]}"
    if isinstance(error, (CycloptsError, ValueError, TypeError, AudioError, *_REFUSALS)):
        return Exit.REFUSED, message
    if isinstance(error, OSError):
        return (Exit.REFUSED if error.errno in _REFUSED else Exit.STOPPED), message
    if isinstance(error, ModuleNotFoundError) and error.name is None:  # ours: it says what to install
        return Exit.REFUSED, message
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return Exit.STOPPED, f"too little memory ({message})"
    if isinstance(error, FloatingPointError):
        return Exit.STOPPED, message
    return None, f"{type(error).__name__}: {message}"


def _usage(error: BaseException, name: str) -> str:
    """Return whose help answers a wrong command line, on a line of its own; nothing for other errors."""
    from cyclopts import CycloptsError

    if not isinstance(error, CycloptsError):
        return ""
    return f"\n{' '.join([name, *(error.command_chain or ())])} --help shows what there is"


def _print_any_name() -> None:
    """Let stdout take file names that are no Unicode, or that its encoding lacks; stderr takes them already."""
    reconfigure: Any = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


def _is_closed() -> bool:
    """Return whether nobody reads stdout or stderr any more; a broken pipe may also be one of a download."""
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    for number in (1, 2):
        poll.register(number, 0)
    return any(event & (select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0))
