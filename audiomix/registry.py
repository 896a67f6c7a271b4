"""The options of a mixer, a method or a network, read from its constructor: no list of them exists anywhere else."""

import inspect
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from .schedule import Schedule

__all__ = ["Option", "described", "options_of", "with_options"]


@dataclass(frozen=True)
class Option:
    """One argument of a constructor: its name, type, default and the sentence its docstring has for it."""

    name: str
    kind: Any
    default: Any
    help: str

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is inspect.Parameter.empty


def options_of(cls: type, skip: Iterable[str] = ()) -> list[Option]:
    """Return the options of `cls`, in the order of its signature.

    Examples
    --------
    >>> from audiomix import MixUp
    >>> [o.name for o in options_of(MixUp)][:3]
    ['alpha', 'gain_law', 'domain']
    """
    hints = typing.get_type_hints(vars(cls).get("__init__", cls.__init__))  # type: ignore[misc]
    help_of = _parameter_help(cls)
    found = list(inspect.signature(cls).parameters.values())
    return [
        Option(p.name, _plain(hints.get(p.name, str)), p.default, help_of.get(p.name, ""))
        for p in found
        if p.name not in skip and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    ]


def with_options(function: Any, cls: type, group: str, skip: Iterable[str] = (), documented: Any = None) -> Any:
    """Return `function` with the options of `cls` in its signature; they arrive in its argument ``options``, a dict.

    cyclopts reads the signature, so ``--help`` lists the options and wrong ones are refused by name. What `function`
    does and what its own arguments mean is taken from the docstring of `documented`, where its own says nothing.
    """
    from cyclopts import Parameter

    own = inspect.signature(function)
    said, elsewhere = _texts(function), _texts(documented)
    kept = [p for n, p in own.parameters.items() if n != "options"]
    taken = {p.name for p in kept}
    extra = [o for o in options_of(cls, skip) if o.name not in taken]

    def run(*args: Any, **kwargs: Any) -> Any:
        options = {o.name: kwargs.pop(o.name) for o in extra if o.name in kwargs}
        return function(*args, **kwargs, options=options)

    more = [
        inspect.Parameter(
            o.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=o.default,
            annotation=Annotated[
                o.kind, Parameter(help=o.help, group=group, negative="" if o.kind is not bool else None)
            ],
        )
        for o in extra
    ]
    run.__signature__ = own.replace(parameters=[*kept, *more])  # type: ignore[attr-defined]
    run.__doc__, run.__name__ = _summary(function.__doc__ or documented.__doc__), function.__name__
    hints = typing.get_type_hints(function, include_extras=True)
    run.__annotations__ = {p.name: p.annotation for p in more}
    for p in kept:
        text, hint = said.get(p.name) or elsewhere.get(p.name), hints[p.name]
        helped = any(isinstance(m, Parameter) and m.help for m in getattr(hint, "__metadata__", ()))
        run.__annotations__[p.name] = Annotated[hint, Parameter(help=text)] if text and not helped else hint
    return run


def _summary(doc: str) -> str:
    """Return what stands in front of the sections of a numpydoc docstring, without its markup."""
    return inspect.cleandoc(doc).split("\nParameters\n---")[0].replace("`", "").strip()


def described(kind: Any) -> str:
    """Return a type as a person reads it.

    >>> described(float | str)
    'float | str'
    """
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return " | ".join(str(v) for v in parts)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(described(part) for part in parts)
    if origin is tuple:
        return " ".join(described(part) for part in parts)
    return "none" if kind is type(None) else kind.__name__


def _plain(kind: Any) -> Any:
    """Leave Schedule out of a union: on a command line it is written as a string."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        left = [a for a in typing.get_args(kind) if a is not Schedule]
        return typing.Union[tuple(left)]  # noqa: UP007 (built at run time)
    return kind


def _parameter_help(cls: type) -> dict[str, str]:
    """Read the Parameters sections of a class and its bases; the nearest sentence wins."""
    texts: dict[str, str] = {}
    for base in cls.__mro__:
        for name, text in _texts(base).items():
            if not text.startswith("See "):
                texts.setdefault(name, text)
    return texts


def _texts(documented: Any) -> dict[str, str]:
    """Return what a docstring says of each parameter, on one line and without its markup."""
    from docstring_parser import parse

    texts = {}
    for entry in parse(getattr(documented, "__doc__", None) or "").params:
        text = " ".join((entry.description or "").replace("`", "").split())
        texts.update(dict.fromkeys((name.strip() for name in entry.arg_name.split(",")), text))
    return texts
