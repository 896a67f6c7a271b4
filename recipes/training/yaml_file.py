"""YAML files of a recipe's arguments. A value is text until the type of its argument says what it means.

YAML itself would read ``no`` and ``off`` as false, ``1e-3`` as text, ``010`` as eight and ``12:30`` as a number. Here a
value is read as the same word on the command line is: ``lr: 1e-3`` is a number, and a class may be called ``no``.
"""

import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any

import yaml

from audiomix import check
from audiomix.options import read_value

from .run_folder import write_text

__all__ = ["read_argument", "read_yaml", "write_yaml", "yaml_text"]

_EMPTY = ("", "~", "null", "Null", "NULL")  # plain words that mean no value
_SWITCHES = {"on": "true", "off": "false"}  # YAML's words for true and false that a command line does not know
_UNIONS = (typing.Union, UnionType)


class _TextLoader(yaml.SafeLoader):
    """Reads every scalar as text, an empty one as None, and refuses a key that stands twice.

    It makes texts, lists and mappings alone: no tag of the file names a Python class.
    """

    yaml_implicit_resolvers: typing.ClassVar[dict] = {}  # type: ignore[misc]


def _read_scalar(loader: _TextLoader, node: yaml.ScalarNode) -> str | None:
    return None if node.style is None and node.value in _EMPTY else node.value


def _read_mapping(loader: _TextLoader, node: yaml.MappingNode) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise yaml.constructor.ConstructorError(None, None, "a key must be a word", key_node.start_mark)
        if key in found:
            raise yaml.constructor.ConstructorError(None, None, f"{key} stands there twice", key_node.start_mark)
        found[key] = loader.construct_object(value_node, deep=True)
    return found


_TextLoader.add_constructor("tag:yaml.org,2002:str", _read_scalar)
_TextLoader.add_constructor("tag:yaml.org,2002:map", _read_mapping)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return what a YAML file holds: texts, None, lists and mappings, by key.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    ValueError
        There is no such file, or it is no YAML, no mapping, or has a key twice; the line is named.
    """
    if not path.is_file():
        check.fail("config", "a YAML file", str(path), "that is a folder" if path.is_dir() else "there is no such file")
    try:
        found = yaml.load(path.read_text(encoding="utf-8"), _TextLoader)
    except UnicodeDecodeError as error:
        check.fail("config", "a YAML file in UTF-8", str(path), str(error))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        check.fail("config", "YAML: KEY: VALUE", f"{path}{line}", str(getattr(error, "problem", None) or error))
    if not isinstance(found, dict):
        check.fail("config", "YAML: lines of KEY: VALUE", f"{path} with {'nothing' if not found else 'something else'}")
    return found


def read_argument(value: Any, kind: Any, name: str) -> Any:
    """Return what a value of a YAML file means as an argument of a type.

    Parameters
    ----------
    value : str, None or list
        As `read_yaml` has it.
    kind : type hint
        The argument's type. One value stands for a list of one where several are taken.
    name : str
        Of the argument, for messages.

    Raises
    ------
    ValueError
        The value cannot be of that type.

    Examples
    --------
    >>> read_argument("1e-3", float, "lr"), read_argument("off", bool, "freeze"), read_argument("no", str, "fold")
    (0.001, False, 'no')
    >>> read_argument(["0", "2"], tuple[int, ...], "seed"), read_argument("3", tuple[str, ...], "fold")
    ((0, 2), ('3',))
    """
    if typing.get_origin(kind) is typing.Annotated:
        return read_argument(value, typing.get_args(kind)[0], name)
    parts = typing.get_args(kind) if typing.get_origin(kind) in _UNIONS else (kind,)
    if value is None:
        return None if NoneType in parts or kind is Any else check.fail(name, "a value", "none")
    if isinstance(value, Mapping):
        check.fail(name, "a value", f"a mapping with {', '.join(value) or 'nothing'}")
    several = [part for part in parts if typing.get_origin(part) in (tuple, list, Sequence)]
    if isinstance(value, list):
        if not several and kind is not Any:
            check.fail(name, "one value", f"a list of {len(value)}")
        kinds = [part for part in typing.get_args(several[0]) if part is not ...] if several else [Any]
        kinds = kinds * len(value) if len(kinds) == 1 else kinds
        if len(kinds) != len(value):
            check.fail(name, f"{len(kinds)} values", f"{len(value)}")
        return tuple(read_argument(one, part, name) for one, part in zip(value, kinds))
    if len(several) == len(parts) == 1 and typing.get_args(several[0])[-1] is ...:
        return (read_argument(value, typing.get_args(several[0])[0], name),)
    text = _SWITCHES.get(value.lower(), value) if bool in parts else value
    return read_value(text, kind, name)


def write_yaml(path: Path, content: Mapping[str, Any], head: str) -> None:
    """Write arguments as YAML; the name appears only when the file is whole.

    Parameters
    ----------
    path : Path
        The file.
    content : mapping of str to object
        Plain values, paths, tuples and mappings, by key.
    head : str
        Lines of comment that stand above.
    """
    write_text(path, "".join(f"# {line}\n" for line in head.splitlines()) + yaml_text(content))


def yaml_text(content: Mapping[str, Any]) -> str:
    """Return arguments as YAML that `read_yaml` and `read_argument` read to the same values.

    >>> print(yaml_text({"fold": ("no", "1"), "lr": 1e-05, "root": None}), end="")
    fold: ['no', '1']
    lr: 1.0e-05
    root: null
    """
    return yaml.dump(_plain(content), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class _Dumper(yaml.SafeDumper):
    """Writes lists on one line."""


_Dumper.add_representer(
    list, lambda dumper, values: dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=True)
)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value
