"""The options of a class or function, from its signature and docstring: no list of them is kept anywhere else.

`options_of` lists them, and `read_options` reads ``key=value,...`` against their types.
"""

import ast
import difflib
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any

from . import check
from .schedule import Schedule

__all__ = [
    "Option",
    "describe_type",
    "docstring_line",
    "literal_converter",
    "options_of",
    "parameter_texts",
    "read_literal",
    "read_options",
    "read_value",
    "read_values",
]

_TRUE, _FALSE = ("true", "yes", "y", "t", "1"), ("false", "no", "n", "f", "0")
_UNIONS = (typing.Union, types.UnionType)
# A comma between options; one inside brackets is part of a value, as in stem=(3, 5)
_COMMA = re.compile(r",(?![^(\[]*[)\]])")
_EXPECTED = {bool: "true or false", int: "a whole number", float: "a number"}


@dataclass(frozen=True)
class Option:
    """One argument of a class or function.

    Parameters
    ----------
    name : str
        As in the signature.
    kind : type
        Its type hint, without `Schedule`, which is written as text; ``Any`` where there is no hint.
    default : object
        ``inspect.Parameter.empty`` where there is none.
    help : str
        The sentence of the docstring, on one line.
    """

    name: str
    kind: Any
    default: Any
    help: str

    @property
    def is_required(self) -> bool:
        """Whether there is no default."""
        return self.default is inspect.Parameter.empty


def options_of(target: Callable[..., Any], skip: Iterable[str] = ()) -> list[Option]:
    """Return the options of a class or function, in the order of its signature.

    Parameters
    ----------
    target : class or function
        A class has the arguments of its constructor.
    skip : iterable of str
        Arguments that are not options.

    Examples
    --------
    >>> from audiomix import MixUp
    >>> [o.name for o in options_of(MixUp)][:3]
    ['alpha', 'weight', 'sources']
    """
    hints, help_of = _hints(target), _parameter_help(target)
    return [
        Option(p.name, _kind(p, hints), p.default, help_of.get(p.name, ""))
        for p in inspect.signature(target).parameters.values()
        if p.name not in skip and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    ]


def read_options(
    text: str | Iterable[str], target: Callable[..., Any], what: str, skip: Iterable[str] = ()
) -> dict[str, Any]:
    """Return the options that a text gives to a class or function, each as its type hint wants it.

    Parameters
    ----------
    text : str or iterable of str
        ``key=value,...``, or the pairs one by one. A key without a value is true.
    target : class or function
        With ``**kwargs`` it takes any key.
    what : str
        What it is called in messages, e.g. ``mixer mixup``.
    skip : iterable of str
        Arguments that are not options.

    Raises
    ------
    ValueError
        An unknown key (a near miss is named) or a value of another type.

    Examples
    --------
    >>> from audiomix import SNRMix
    >>> read_options("snr_db=-5..5,label=keep,p=0.5", SNRMix, "mixer snr_mix")
    {'snr_db': (-5.0, 5.0), 'label': 'keep', 'p': 0.5}
    """
    parameters = inspect.signature(target).parameters.values()
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    return read_values(text, {o.name: o.kind for o in options_of(target, skip)}, what, takes_any)


def read_values(
    text: str | Iterable[str], kinds: Mapping[str, Any], what: str, takes_any: bool = False
) -> dict[str, Any]:
    """Return the values in ``key=value,...``, each of the type that stands for its key.

    Parameters
    ----------
    text : str or iterable of str
        The pairs, separated by commas or one by one; ``-`` in a key is read as ``_``.
    kinds : mapping of str to type
        The keys that there are, with their type hints.
    what : str
        What it is called in messages.
    takes_any : bool
        Take other keys too, with values as Python would read them.

    Raises
    ------
    ValueError
        An unknown key (a near miss is named) or a value of another type.

    Examples
    --------
    >>> read_values("size=3,fast", {"size": int, "fast": bool}, "the toy")
    {'size': 3, 'fast': True}
    """
    values: dict[str, Any] = {}
    for pair in _COMMA.split(text) if isinstance(text, str) else text:
        word, equals, value = (part.strip() for part in pair.partition("="))
        key = word.replace("-", "_")
        if not word and not equals:
            continue
        if not kinds and not takes_any:
            check.fail(f"the options of {what}", "none", pair.strip())
        if not equals and not _is_flag(kinds.get(key, Any if takes_any else None)):
            expected = f"key=value, with the key {', '.join(kinds)}"
            check.fail(f"the options of {what}", expected, word, _slip(word, kinds, list(values.items())))
        if takes_any and not key.isidentifier():
            check.fail(f"the options of {what}", "key=value", repr(pair))
        if not takes_any:
            check.choice(f"the option of {what}", key, kinds)
        values[key] = read_value(value if equals else "true", kinds.get(key, Any), f"the option {key} of {what}")
    return values


def _is_flag(kind: Any) -> bool:
    return kind in (bool, Any) or bool in typing.get_args(kind)


def _slip(word: str, kinds: Mapping[str, Any], before: Sequence[tuple[str, Any]]) -> str:
    """Return what a word without ``=`` was likely meant to be."""
    for key, kind in kinds.items():
        if word in typing.get_args(kind):
            return f"{key}={word}?"
    if near := difflib.get_close_matches(word.replace("-", "_"), kinds, n=1):
        return f"did you mean {near[0]!r}?"
    if before and kinds.get(before[-1][0]) is str:
        return f"several values are joined by +, as in {before[-1][0]}={before[-1][1]}+{word}"
    return ""


def read_value(text: str, kind: Any, name: str) -> Any:
    """Return what a text means as a value of a type.

    Parameters
    ----------
    text : str
        ``true``, ``yes`` or ``1`` and their opposites for a bool; ``none`` where the type allows it; several values
        as ``-5..5``, ``-5 5`` or ``(-5, 5)``.
    kind : type hint
        ``Any`` and types that no text stands for: the text is read as Python would, see `read_literal`.
    name : str
        Of the argument, for messages.

    Raises
    ------
    ValueError
        The text is no such value.

    Examples
    --------
    >>> read_value("2.0", int, "size"), read_value("none", float | None, "limit")
    (2, None)
    >>> read_value("3 5", tuple[int, int], "kernel")
    (3, 5)
    """
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return read_value(text, parts[0], name)
    if origin in _UNIONS:
        return _read_union(text, parts, name)
    if origin is typing.Literal:
        words = {str(value): value for value in parts}
        return words[check.choice(name, text, words)]
    if kind is str:
        return text
    if kind is Path:
        return Path(text)
    if origin in (tuple, list, Sequence, Iterable) or kind in (tuple, list):
        return _read_several(text, kind, name)
    if kind in _EXPECTED:
        try:
            return _READERS[kind](text)
        except (KeyError, ValueError, InvalidOperation):
            check.fail(name, _EXPECTED[kind], repr(text))
    return read_literal(text)


def _read_union(text: str, parts: Sequence[Any], name: str) -> Any:
    words = [word for part in parts for word in typing.get_args(part)]
    if types.NoneType in parts and text.lower() == "none" and "none" not in words:
        return None
    kinds = [part for part in parts if part is not types.NoneType]
    if len(kinds) == 1:
        return read_value(text, kinds[0], name)
    for kind in kinds:
        try:
            return read_value(text, kind, name)
        except ValueError:
            continue
    return check.fail(name, " or ".join(_EXPECTED.get(kind, describe_type(kind)) for kind in kinds), repr(text))


def _read_several(text: str, kind: Any, name: str) -> Any:
    made = list if list in (kind, typing.get_origin(kind)) else tuple
    kinds = [part for part in typing.get_args(kind) if part is not ...] or [Any]
    separator = r"\s+" if kinds[0] is str else r"\.\.|[\s,]+"  # a word may hold dots and commas
    words = [word for word in re.split(separator, text.strip("()[] ")) if word]
    if typing.get_origin(kind) is tuple and ... not in typing.get_args(kind):
        if len(words) != len(kinds):
            check.fail(name, f"{len(kinds)} values with .. or a space between them", repr(text))
    else:
        kinds = kinds[:1] * len(words)
    return made(read_value(word, part, name) for word, part in zip(words, kinds))


def _whole(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        value = Decimal(text)
    if not value.is_finite() or value != value.to_integral_value():
        raise ValueError(text)
    return int(value)


_READERS: dict[type, Callable[[str], Any]] = {
    bool: lambda text: {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}[text.lower()],
    int: _whole,
    float: float,
}


def read_literal(text: str) -> Any:
    """Return what a text would be in Python, or the text itself.

    Parameters
    ----------
    text : str
        A literal; true, false and none in small letters too.

    Examples
    --------
    >>> read_literal("(3, 3)"), read_literal("true"), read_literal("wide")
    ((3, 3), True, 'wide')
    """
    try:
        return ast.literal_eval(text.title() if text.lower() in ("true", "false", "none") else text)
    except (ValueError, SyntaxError):
        return text


def docstring_line(doc: str, name: str) -> str:
    r"""Return what a docstring says behind ``NAME:``, on one line; an empty text where it does not.

    The line begins with the name, which is ``Source`` or ``Label``. It goes on until the other one or an empty line.

    Parameters
    ----------
    doc : str
        Without indentation.
    name : str
        What stands in front of the colon.

    Examples
    --------
    >>> text = "Adds.\n\nSource: Zhang et al., 'mixup',\nICLR 2018.\nLabel: mixed by the weight."
    >>> docstring_line(text, "Source"), docstring_line(text, "Label")
    ("Zhang et al., 'mixup', ICLR 2018.", 'mixed by the weight.')
    """
    found = re.search(rf"^{name}:((?:.|\n(?!\n|Source:|Label:))*)", doc, re.MULTILINE)
    return " ".join(found[1].split()) if found else ""


def literal_converter(kind: Any) -> Callable[[Any, Sequence[Any]], Any] | None:
    """Return the converter that cyclopts needs for an option, or None.

    Parameters
    ----------
    kind : type
        The option's; of ``Any``, an option without a type hint, the text is read as Python would.
    """
    return (lambda _, tokens: read_literal(tokens[0].value)) if kind is Any else None


def describe_type(kind: Any) -> str:
    """Return a type as a person reads it.

    Parameters
    ----------
    kind : type hint
        As `Option.kind` has it.

    Examples
    --------
    >>> describe_type(float | str)
    'float | str'
    """
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return " | ".join(str(v) for v in parts)
    if origin in _UNIONS:
        return " | ".join(describe_type(part) for part in parts)
    if origin is not None:
        return " ".join("..." if part is ... else describe_type(part) for part in parts)
    if kind is Any:
        return "value"
    return "none" if kind is types.NoneType else getattr(kind, "__name__", str(kind))


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    function = target.__init__ if isinstance(target, type) else target  # type: ignore[misc]
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError):  # names that are imported for type checkers alone; a callable object
        return {}


def _kind(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> Any:
    if parameter.name not in hints:
        return bool if isinstance(parameter.default, bool) else Any
    return _plain(hints[parameter.name])


def _plain(kind: Any) -> Any:
    """Return a type without what no text on a command line stands for; of several, those of most words come first."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in _UNIONS:
        plain = [_plain(part) for part in parts if part is not Schedule]
        pairs = [part for part in plain if typing.get_origin(part) is tuple]  # else the first word alone is taken
        return typing.Union[tuple(pairs + [part for part in plain if part not in pairs])]  # noqa: UP007 (at run time)
    return tuple[tuple(_plain(part) for part in parts)] if origin is tuple else kind  # type: ignore[misc]


def _parameter_help(target: Any) -> dict[str, str]:
    """Read the Parameters sections of a class and its bases; the nearest sentence wins."""
    texts: dict[str, str] = {}
    for base in target.__mro__ if isinstance(target, type) else [target]:
        for name, text in parameter_texts(base).items():
            if not text.startswith("See "):
                texts.setdefault(name, text)
    return texts


def parameter_texts(documented: Any) -> dict[str, str]:
    """Return what a docstring says of each parameter, on one line and without its markup.

    Parameters
    ----------
    documented : object
        Whose docstring it is.
    """
    from docstring_parser import parse

    texts = {}
    for entry in parse(getattr(documented, "__doc__", None) or "").params:
        text = " ".join((entry.description or "").replace("`", "").split())
        texts.update(dict.fromkeys((name.strip() for name in entry.arg_name.split(",")), text))
    return texts
