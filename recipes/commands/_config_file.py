"""``--config FILE``: the arguments of a command as one YAML file, read and written.

A key is the name of an argument of the command, as in Python: ``fold``, ``max_errors``. Options of the method stand
below ``options``, fields of `Config` below ``config``. What the command line gives replaces what the file gives.
Relative paths are relative to the folder that the command runs in, as on the command line; written files have absolute
ones for the data.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from audiomix import check
from audiomix.options import Option

from ..console import say
from ..training.config import Config
from ..training.yaml_file import read_argument, read_yaml, write_yaml, yaml_text

__all__ = ["ConfigFile", "given_values", "read_config_file", "write_arguments"]

_NESTED = ("options", "config")
# What says where or how a command runs, not what it computes: read from a file, never written to one.
_ELSEWHERE = ("out", "store", "resume", "track", "log", "strict", "max_errors", "jobs", "quiet", "on_row", "command")
_NO_KEYS = ("command", "quiet", "on_row")  # arguments that are no options
_HEAD = """The same command again: audiomix-recipes {command} --config {path} --out ANOTHER_FOLDER
Relative paths, as in mine.py:MyMethod, are relative to the folder that the command runs in."""


@dataclass(frozen=True)
class ConfigFile:
    """What a file gives: arguments of a command by name, without those below ``options`` and ``config``."""

    path: Path | None = None  # the file; None without one
    arguments: dict[str, Any] = field(default_factory=dict)  # of the command, by name
    config: dict[str, Any] = field(default_factory=dict)  # fields of `Config`
    options: dict[str, Any] = field(default_factory=dict)  # options of the method, as text

    def read_options(self, known: Mapping[str, Option], method: str) -> dict[str, Any]:
        """Return the options of the method, each of its type.

        Parameters
        ----------
        known : mapping of str to Option
            The options that there are.
        method : str
            The method, for messages.

        Raises
        ------
        ValueError
            An option that the method does not have (a near miss is named), or a value it cannot have.
        """
        found = {}
        for name, value in self.options.items():
            if not known:
                check.fail(f"options of {method} in {self.path}", "none", name)
            option = known[check.choice(f"the key below options in {self.path}", name, known)]
            found[name] = read_argument(value, option.kind, f"{name} in {self.path}")
        return found

    def merge(self, own: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
        """Return all arguments of a command: those of the file, replaced by those of the command line, which is told.

        Parameters
        ----------
        own : mapping of str to object
            What the command line gives.
        options : mapping of str to object
            Options of the method in the file, of their types.
        """
        if self.path is None:
            return dict(own)
        merged = self._replace(self.arguments, {k: v for k, v in own.items() if k not in _NESTED})
        for name, values in {"options": dict(options), "config": self.config}.items():
            given = given_values(own.get(name))
            if any(given.get(key) is not None for key in ("steps", "epochs")):  # one length replaces the other
                values = {k: v for k, v in values.items() if k not in ("steps", "epochs") or k in given}
            if values or given:
                merged[name] = self._replace(values, given)
        return merged

    def _replace(self, values: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        for name in values.keys() & given.keys():
            say(f"{name} {_shown(given[name])} of the command line replaces {_shown(values[name])} of {self.path}")
        return {**values, **given}


def given_values(values: Any) -> dict[str, Any]:
    """Return options or fields that are given, by name.

    Parameters
    ----------
    values : mapping, dataclass or None
        A mapping has what is given. A field None of a dataclass, as the command line makes it, is not given.
    """
    if isinstance(values, Mapping):
        return dict(values)
    return {} if values is None else {k: v for k, v in asdict(values).items() if v is not None}


def read_config_file(argv: list[str], name: str, function: Callable[..., Any]) -> ConfigFile:
    """Return what the file of ``--config`` on a command line gives; nothing without one.

    Parameters
    ----------
    argv : list of str
        The command line.
    name : str
        The command.
    function : callable
        What it calls, whose arguments are the keys.

    Raises
    ------
    ValueError
        No such file, not YAML, of another command, an unknown key (a near miss is named, or where it belongs), or a
        value of another type.
    """
    path = _file_in(argv)
    if path is None:
        return ConfigFile()
    found = read_yaml(path)
    if found.pop("command", name) != name:
        check.fail(f"command in {path}", name, "another", "a file of run is for run, one of bench for bench")
    kinds, parameters = get_type_hints(function), inspect.signature(function).parameters
    keys = [key for key in parameters if key not in _NO_KEYS]
    fields = get_type_hints(Config)
    nested: dict[str, dict[str, Any]] = {}
    for key in [key for key in _NESTED if key in keys]:
        values = found.pop(key, None)
        if not isinstance(values, (dict, type(None))):
            check.fail(f"{key} in {path}", "lines of KEY: VALUE below it", repr(values))
        nested[key] = values or {}
    arguments = {}
    for key, value in found.items():
        if key in fields and key not in keys:
            check.fail(f"the key {key} in {path}", "below config:", "at the left margin", f"config: {{{key}: {value}}}")
        check.choice(f"the key in {path}", key, keys)
        argument = read_argument(value, kinds[key], f"{key} in {path}")
        arguments[key] = argument.expanduser() if isinstance(argument, Path) else argument  # as a shell does
    config = {}
    for key, value in nested.get("config", {}).items():
        check.choice(f"the key below config in {path}", key, [k for k in fields if k not in keys])
        config[key] = read_argument(value, fields[key], f"{key} in {path}")
    return ConfigFile(path, arguments, config, nested.get("options", {}))


def _file_in(argv: list[str]) -> Path | None:
    found = []
    for i, word in enumerate(argv):
        name, equals, value = word.partition("=")
        if name == "--config" and (equals or i + 1 < len(argv)):
            found.append(value if equals else argv[i + 1])
    if len(found) > 1:
        check.fail("config", "one file", " and ".join(found), "join them in one")
    return Path(found[0]).expanduser() if found else None


def write_arguments(folder: Path, command: str, arguments: Mapping[str, Any]) -> Path:
    """Write the arguments of a command as COMMAND.yaml, for ``--config``; return the file.

    A folder that already has the file of another command of the same name keeps it: the next is COMMAND-2.yaml.

    Parameters
    ----------
    folder : Path
        Folder of the results.
    command : str
        The command.
    arguments : mapping of str to object
        What it was called with, by name.
    """
    content: dict[str, Any] = {"command": command}
    for name, value in arguments.items():
        if name in _NESTED and given_values(value):
            content[name] = given_values(value)
        elif name not in (*_NESTED, *_ELSEWHERE) and value is not None:
            content[name] = value.expanduser().absolute() if isinstance(value, Path) else value
    folder.mkdir(parents=True, exist_ok=True)
    text, number = yaml_text(content), 1
    path = folder / f"{command}.yaml"
    while path.is_file() and not path.read_text(encoding="utf-8").endswith("\n" + text):
        number += 1
        path = folder / f"{command}-{number}.yaml"
    write_yaml(path, content, _HEAD.format(command=command, path=path))
    return path


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
