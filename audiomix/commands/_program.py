"""One way for both command lines to run a command: messages, exit codes, signals and closed pipes."""

import errno
import json
import os
import select
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..interrupts import Interrupts
from ..terminal import Exit, console, describe_exit_codes, say
from ._options import add_commands, whole_numbers

__all__ = ["Program", "run_program"]

# What a person can change: anything else that the operating system refuses (a full disk) stops a command.
_REFUSALS = (FileNotFoundError, FileExistsError, PermissionError, NotADirectoryError, IsADirectoryError)
_REFUSED = {errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.EBUSY}


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
    resumed : dict of str to str
        How to go on after Ctrl-C, by command; the others begin anew.
    examples : str
        Command lines, for ``--help``; lines of a Markdown list.
    """

    name: str
    help: str
    version: str
    package: str
    commands: Mapping[str, str]
    resumed: Mapping[str, str]
    examples: str

    def stopped(self, words: Sequence[str]) -> str:
        """Return what is said where a command line is interrupted.

        Parameters
        ----------
        words : sequence of str
            The command line.
        """
        command = next((word for word in words if word in self.commands), "")
        anew = "the same command begins anew"
        way = anew if "--no-cache" in words else self.resumed.get(command, anew)
        if "--resume" in words:
            way = way.replace(" with --resume", "")
        return f"{self.name}: stopped; {way}"


def run_program(program: Program, argv: Sequence[str] | None) -> int:
    """Run a command line; return its exit code, one of `audiomix.terminal.Exit`.

    Parameters
    ----------
    program : Program
        Its name and its commands.
    argv : sequence of str or None
        The words behind the name; None for those of this process, which ends with this call.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    with Interrupts(program.stopped(words), last=argv is None) as interrupts:
        try:
            try:
                _print_any_name()
                code = _call(program, words, interrupts)
                _flush()
            except (Exception, KeyboardInterrupt) as error:
                code = _end(program, words, interrupts, error)
                _flush()
        except OSError as error:  # stdout or stderr takes no more
            code = Exit.PIPE_CLOSED if isinstance(error, BrokenPipeError) else Exit.STOPPED
            _drop_output()
    return int(code)


def _call(program: Program, words: list[str], interrupts: Interrupts) -> int:
    from cyclopts import App, Parameter

    app = App(
        name=program.name,
        help=program.help,
        version=program.version,
        config=whole_numbers,
        console=console(),
        default_parameter=Parameter(json_list=False, json_dict=False),  # a path may begin with [ or {
        help_epilogue=f"Exit codes:\n\n{describe_exit_codes()}\n\nExamples:\n\n{program.examples}",
    )
    add_commands(app, program.package, program.commands, words)
    command, bound, *_ = app.parse_args(words, exit_on_error=False, print_error=False)
    interrupts.begin()
    code = int(command(*bound.args, **bound.kwargs) or 0)
    if interrupts.received:  # other people's code caught it
        raise KeyboardInterrupt
    return code


def _end(program: Program, words: Sequence[str], interrupts: Interrupts, error: BaseException) -> int:
    """Say why a command ended early; return its exit code."""
    if interrupts.received or isinstance(error, KeyboardInterrupt):
        say(program.stopped(words))
        return 128 + interrupts.received if interrupts.received else Exit.INTERRUPTED
    if isinstance(error, BrokenPipeError) and _is_closed():
        raise error
    code, message = _reason(error)
    if code is None:
        traceback.print_exception(error)
        code, message = Exit.STOPPED, f"{message}: a fault of {program.name} itself; please report the lines above"
    if (near := _usage(error)) is not None:
        message += f"\n{program.name} {near}--help shows what there is"
    say(f"{program.name}: {message}", style="red")
    if "--json" in words:
        print(json.dumps({"exit_code": int(code), "error": message}))
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


def _usage(error: BaseException) -> str | None:
    """Return the command whose help answers a wrong command line, with a space behind it; None for other errors."""
    from cyclopts import CycloptsError

    if not isinstance(error, CycloptsError):
        return None
    return "".join(f"{word} " for word in error.command_chain or ())


def _print_any_name() -> None:
    """Let stdout take file names that are no Unicode, or that its encoding lacks; stderr takes them already."""
    reconfigure: Any = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def _is_closed() -> bool:
    """Return whether nobody reads stdout or stderr any more; a broken pipe may also be one of a download."""
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    for number in (1, 2):
        poll.register(number, 0)
    return any(event & (select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0))


def _drop_output() -> None:
    """Let what is still in the buffers go nowhere: Python would complain of it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
