"""What is chosen by name: a file of the package's own folder, an entry point, or a path to a class or function.

===============================  ===============================================================================
name                             what it chooses
===============================  ===============================================================================
``mixup``                        the file ``mixup.py`` of the folder, e.g. of ``audiomix/mixers``
``roll``                         an entry point of an installed package, e.g. of the group ``audiomix.mixers``
``mine.py:RollMix``              what a file of one's own defines
``package.module:RollMix``       what an installed module defines
===============================  ===============================================================================

Options may stand behind a name: ``mixup:alpha=0.3,p=0.5`` or ``mine.py:RollMix:shift=0.1``.

A package adds a mixer for everybody who installs it by an entry point, in its ``pyproject.toml``::

    [project.entry-points."audiomix.mixers"]
    roll = "package.module:RollMix"
"""

import hashlib
import importlib
import importlib.util
import inspect
import itertools
import pkgutil
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, entry_points
from importlib.util import spec_from_file_location
from pathlib import Path
from textwrap import shorten
from types import ModuleType
from typing import Any, Generic, TypeVar
from urllib.parse import unquote

from . import check
from .options import Option, docstring_line, options_of, read_options

__all__ = [
    "Choice", "Registry", "explain_errors", "file_digest", "file_of", "import_entry_points", "is_path", "load",
]  # fmt: skip

T = TypeVar("T", bound=Callable[..., Any])

# file.py:Name or package.module:Name, and options behind it
_PATH = re.compile(r"((?:.+?\.py|[A-Za-z_][\w.]*):[A-Za-z_]\w*)(?::(.*))?", re.DOTALL)
_FILE = "file:"  # what the name of a module begins with that comes from a file of one's own
_LONGEST = 300  # characters of another package's message


@dataclass(frozen=True)
class Choice(Generic[T]):
    """What a text chooses.

    Parameters
    ----------
    name : str
        The text without its options.
    member : class or function
        What has this name.
    options : dict of str to object
        The options, as the signature of `member` wants them.
    """

    name: str
    member: T
    options: dict[str, Any]


class Registry(Generic[T]):
    """All things of one kind that have a name.

    Parameters
    ----------
    kind : str
        What messages call one, e.g. ``mixer``.
    package : str
        Dotted name of the folder. Each file is one member, named by its stem; files that begin with ``_`` are none.
        Only the chosen file is imported.
    group : str
        Group of the entry points.
    base : type
        A file's member is its one public class derived from this; so must be what a path or an entry point names.
    function : str, optional
        Instead of a class, a file offers the function of this name.
    method : str, optional
        A path or an entry point may also name a class that has this method, without being derived from `base`.
    callables : bool
        A path or an entry point may name any callable, as it may where `function` is given.
    positional : int
        How many first arguments are no options, because whoever makes one passes them.
    skip : iterable of str
        Files that are no members.

    Examples
    --------
    >>> from audiomix import Mixer
    >>> registry = Registry("mixer", "audiomix.mixers", "audiomix.mixers", base=Mixer)
    >>> registry.get("mixup").__name__
    'MixUp'
    >>> registry.read("mixup:alpha=0.3").options
    {'alpha': 0.3}
    >>> "mixup" in registry.available(), registry.name_of(registry.get("mixup"))
    (True, 'mixup')
    """

    def __init__(
        self,
        kind: str,
        package: str,
        group: str,
        *,
        base: type = object,
        function: str | None = None,
        method: str | None = None,
        callables: bool = False,
        positional: int = 0,
        skip: Iterable[str] = (),
    ) -> None:
        self.kind, self.package, self.group = kind, package, group
        self.base, self.function, self.callables = base, function, callables or function is not None
        self.method, self.positional, self.skip = method, positional, tuple(skip)

    def files(self) -> list[str]:
        """Return the names of the members in the folder, sorted."""
        folder = importlib.import_module(self.package).__path__
        return sorted(m.name for m in pkgutil.iter_modules(folder) if m.name[0] != "_" and m.name not in self.skip)

    def module(self, name: str) -> ModuleType:
        """Return a file of the folder as a module: the ``__getattr__`` of its package, so that dotted names work.

        Parameters
        ----------
        name : str
            The file's stem; that of a tool of the folder too.

        Raises
        ------
        AttributeError
            There is no such file.
        """
        path = f"{self.package}.{name}"
        if name.startswith("_") or importlib.util.find_spec(path) is None:
            raise AttributeError(f"module {self.package!r} has no attribute {name!r}", name=name)
        return importlib.import_module(path)

    def available(self) -> list[str]:
        """Return the names of all members, those of entry points too, sorted."""
        return sorted({*self.files(), *_entry_points(self.group)})

    def get(self, name: str) -> T:
        """Return the class or function that a name chooses.

        Parameters
        ----------
        name : str
            One of `available`, ``file.py:Name`` or ``package.module:Name``; without options.

        Raises
        ------
        ValueError
            There is none of this name (a near miss is named), two packages have it, it is of another kind, or its
            code fails: with what was raised, and the line.
        ImportError
            A file of the folder does not hold exactly one member.
        """
        if is_path(name):
            return self._check(load(name, self.kind), name)
        if name.endswith(".py"):
            check.fail(self.kind, "path/to/file.py:NAME", repr(name), f"what of the file? {name}:NAME")
        check.choice(self.kind, name, self.available())
        points = _entry_points(self.group).get(name, [])
        homes = [f"the entry point {p.value}" for p in points]
        if name in self.files():
            homes = [f"{self.package}.{name}", *homes]
        if len(homes) > 1:
            slip = f"uninstall one, or choose by path: {points[-1].value}"
            check.fail(f"{self.kind} {name}", "the name of one thing", " and ".join(homes), slip)
        if not points:
            return self._of_file(name)
        with explain_errors(self.kind, "an entry point that can be imported", repr(name), points[0].value):
            member = points[0].load()
        return self._check(member, name)

    def split(self, text: str) -> tuple[str, str]:
        """Return the name that a text begins with, and the options behind it.

        Parameters
        ----------
        text : str
            ``NAME`` or ``NAME:key=value,...``.
        """
        head, _, rest = text.partition(":")
        found = None if head in self.available() else _PATH.fullmatch(text)
        return (found[1], found[2] or "") if found else (head, rest)

    def read(self, text: str, skip: Iterable[str] = ()) -> Choice[T]:
        """Return what a name with options chooses.

        Parameters
        ----------
        text : str
            ``NAME`` or ``NAME:key=value,...``; see `audiomix.options.read_options`.
        skip : iterable of str
            Arguments of the class or function that are no options here.

        Raises
        ------
        ValueError
            See `get`; or an unknown option, or a value that it cannot have.
        """
        name, rest = self.split(text)
        member = self.get(name)
        return Choice(name, member, self.read_options(rest, name, member, skip))

    def read_options(
        self, pairs: str | Iterable[str], name: str, member: T, skip: Iterable[str] = ()
    ) -> dict[str, Any]:
        """Return the options that a text gives to a member; see `audiomix.options.read_options`.

        Parameters
        ----------
        pairs : str or iterable of str
            ``key=value,...``, or the pairs one by one.
        name : str
            Of the member, for messages.
        member : class or function
            Whose options they are.
        skip : iterable of str
            Arguments of the class or function that are no options here.
        """
        return read_options(pairs, member, f"{self.kind} {name}", (*self._first_arguments(member), *skip))

    def options_of(self, member: T, skip: Iterable[str] = ()) -> list[Option]:
        """Return the options of a member; see `audiomix.options.options_of`.

        Parameters
        ----------
        member : class or function
            What `get` returned.
        skip : iterable of str
            Arguments that are no options here.
        """
        return options_of(member, (*self._first_arguments(member), *skip))

    def _first_arguments(self, member: T) -> list[str]:
        return list(inspect.signature(member).parameters)[: self.positional]

    def name_of(self, member: Any) -> str:
        """Return the name of a class or function: a file's stem, an entry point's, or where it is defined.

        Parameters
        ----------
        member : class or function
            Of this registry or not.
        """
        module, name = member.__module__, member.__qualname__
        if module.rpartition(".")[0] == self.package:
            return module.rpartition(".")[2]
        if module.startswith(_FILE):
            return f"{_place(module).name}:{name}"
        points = {p.value: p.name for found in _entry_points(self.group).values() for p in found}
        return points.get(f"{module}:{name}", f"{module}.{name}")

    def title_of(self, member: Any) -> str:
        """Return the first line of the docstring of a member's file in the folder, or of the member's own.

        Parameters
        ----------
        member : class or function
            What `get` returned.
        """
        return self._doc(member).partition("\n")[0]

    def source_of(self, member: Any) -> str:
        """Return what stands behind ``Source:`` in the docstring of a member's file, or in the member's own.

        Parameters
        ----------
        member : class or function
            What `get` returned.

        Examples
        --------
        >>> from audiomix import mixers
        >>> mixers.source_of(mixers.get("cutmix"))
        'Yun et al., "CutMix: ...", ICCV 2019.'
        """
        return docstring_line(self._doc(member), "Source")

    def label_of(self, member: Any) -> str:
        """Return what stands behind ``Label:`` in that docstring: what becomes of the label.

        Parameters
        ----------
        member : class or function
            What `get` returned.
        """
        return docstring_line(self._doc(member), "Label")

    def _doc(self, member: Any) -> str:
        """Return the docstring of a member's file in the folder, or the member's own, without indentation."""
        ours = member.__module__.rpartition(".")[0] == self.package
        return inspect.cleandoc((sys.modules[member.__module__].__doc__ if ours else member.__doc__) or "")

    def _of_file(self, name: str) -> T:
        module = importlib.import_module(f"{self.package}.{name}")
        if self.function is not None:
            return getattr(module, self.function)
        public = [value for key, value in vars(module).items() if key[0] != "_"]
        found = [c for c in public if _is_class(c, self.base) and c.__module__ == module.__name__]
        if len(found) != 1:
            place = f"{self.package.replace('.', '/')}/{name}.py"
            names = [c.__name__ for c in found]
            check.fail(place, f"a file with one {self.base.__name__}", names, error=ImportError)
        return found[0]

    def _check(self, member: Any, name: str) -> T:
        """Return what a path or an entry point names, if it is of this kind."""
        has_method = isinstance(member, type) and self.method is not None and hasattr(member, self.method)
        if not (self.callables or has_method or _is_class(member, self.base)):
            got = f"{name}, {'another class' if isinstance(member, type) else 'no class'}"
            check.fail(self.kind, f"a class derived from {self.base.__name__}", got)
        return member


def _is_class(value: Any, base: type) -> bool:
    return isinstance(value, type) and issubclass(value, base)


@cache
def _entry_points(group: str) -> dict[str, list[EntryPoint]]:
    """Return the entry points of a group by name; a name that several packages chose has several."""
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=group):
        found.setdefault(point.name, []).append(point)
    return found


def import_entry_points(group: str) -> list[str]:
    """Import what the installed packages add to a group; return why those that cannot be imported cannot.

    Parameters
    ----------
    group : str
        E.g. ``audiomix.mixers``.
    """
    failed = []
    for point in itertools.chain.from_iterable(_entry_points(group).values()):
        try:
            with explain_errors(group, "an entry point that can be imported", repr(point.name), point.value):
                point.load()
        except ValueError as error:
            failed.append(str(error))
    return failed


def is_path(name: str) -> bool:
    """Return whether a name is a path.

    Parameters
    ----------
    name : str
        ``file.py:Name`` and ``package.module:Name`` are; with options behind it nothing is.

    Examples
    --------
    >>> is_path("mine.py:RollMix"), is_path("package.module:RollMix"), is_path("mixup")
    (True, True, False)
    """
    found = _PATH.fullmatch(name)
    return found is not None and found[2] is None


def load(name: str, kind: str) -> Any:
    """Return what ``file.py:Name`` or ``package.module:Name`` means.

    A file is imported once, and again if it was changed. Worker processes find it too.

    Parameters
    ----------
    name : str
        The path.
    kind : str
        What messages call it, e.g. ``mixer``.

    Raises
    ------
    ValueError
        There is no such file, module or name (a near miss is named), its code fails (with what was raised, and the
        line), or it is refused: see `refuse_paths`.
    """
    if source := _refused.get():
        expected = "one of this package or of an installed one, by its name"
        check.fail(kind, expected, repr(name), f"{source} names it, whoever made that; if you trust its code: --trust")
    place, _, attribute = name.rpartition(":")
    path = file_of(name)
    form = "package.module:callable of a module" if path is None else "path/to/file.py:callable of a file"
    if path is not None and not path.is_file():
        check.fail(kind, "path/to/file.py:callable", repr(name), f"there is no file {path}")
    with explain_errors(kind, f"{form} that can be imported", repr(name), name):
        module = importlib.import_module(place) if path is None else _import_file(path)
    check.choice(f"what {place} offers", attribute, [n for n, v in vars(module).items() if callable(v)])
    return getattr(module, attribute)


_refused: ContextVar[str] = ContextVar("refused", default="")


@contextmanager
def refuse_paths(source: str) -> Iterator[None]:
    """Run no code in the block that is chosen by a path: for names that were read from a file of somebody else.

    Parameters
    ----------
    source : str
        That file, for messages.

    Examples
    --------
    >>> with refuse_paths("runs/theirs/config.json"):
    ...     load("evil.py:Net", "model")
    Traceback (most recent call last):
    ValueError: model must be one of this package or ..., got 'evil.py:Net': runs/theirs/config.json names it, ...
    """
    token = _refused.set(source)
    try:
        yield
    finally:
        _refused.reset(token)


def file_of(name: str) -> Path | None:
    """Return the file that a name contains, or None.

    Parameters
    ----------
    name : str
        ``file.py:Name``, with options behind it or without, or another name.

    Examples
    --------
    >>> file_of("folder/mine.py:RollMix:shift=0.1").name, file_of("mixup")
    ('mine.py', None)
    """
    found = _PATH.fullmatch(name)
    place = found[1].rpartition(":")[0] if found else ""
    return Path(place).expanduser() if place.endswith(".py") else None


def file_digest(member: Any) -> str:
    """Return the hash of the file of one's own that a class or function comes from; "" for all others.

    Parameters
    ----------
    member : class or function
        E.g. what `Registry.get` returned.
    """
    module = member.__module__
    return hashlib.blake2b(_place(module).read_bytes(), digest_size=8).hexdigest() if module.startswith(_FILE) else ""


class _Files:
    """Finds modules named ``file:PATH``, for Python's import: so what they define is pickled by reference.

    A worker process imports this module with the rest of the package, before it unpickles anything of such a file.
    """

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return spec_from_file_location(name, _place(name)) if name.startswith(_FILE) else None


sys.meta_path.append(_Files)  # type: ignore[arg-type]  # it has all that Python calls
_stamps: dict[str, tuple[int, int]] = {}


def _import_file(path: Path) -> ModuleType:
    # a dot in the name would be read as that of a package
    name = _FILE + str(path.absolute()).replace("%", "%25").replace(".", "%2E")
    state = path.stat()
    stamp = (state.st_mtime_ns, state.st_size)
    if _stamps.setdefault(name, stamp) != stamp:
        sys.modules.pop(name, None)
    _stamps[name] = stamp
    return importlib.import_module(name)


def _place(module: str) -> Path:
    return Path(unquote(module.removeprefix(_FILE)))


@contextmanager
def explain_errors(name: str, expected: str, got: Any, place: str) -> Iterator[None]:
    """Turn whatever other people's code raises into one sentence: its kind, its text, and the line of their file.

    Parameters
    ----------
    name, expected, got
        See `audiomix.check.fail`.
    place : str
        ``file.py:Name`` or ``package.module:Name``: the line that is named is one of this file or package.

    Raises
    ------
    ValueError
        Anything was raised but a request to stop (KeyboardInterrupt, SystemExit).
    """
    try:
        yield
    except Exception as error:  # of whatever kind: other people's code
        try:
            check.fail(name, expected, got, _explanation(error, place))
        except ValueError as explained:
            raise explained from error


def _explanation(error: Exception, place: str) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if frames and frames[-1].filename == check.__file__:
        return str(error)  # names the argument and what came: where it was checked tells nothing more
    line: tuple[str, int | None] | None = None
    text = str(error)
    if isinstance(error, SyntaxError) and error.filename:
        text, line = error.msg, (error.filename, error.lineno)
    else:
        own = [frame for frame in frames if _is_of(frame.filename, place)]
        line = (own[-1].filename, own[-1].lineno) if own else None
    text = shorten(text, _LONGEST, placeholder=" ...")
    kind = type(error).__name__
    return (f"{kind}: {text}" if text else kind) + (f" ({line[0]}, line {line[1]})" if line else "")


def _is_of(filename: str, place: str) -> bool:
    """Return whether a file is the one of ``file.py:Name``, or one of the package of ``package.module:Name``."""
    if (own := file_of(place)) is not None:
        return Path(filename).resolve() == own.resolve()
    module, colon, _ = place.rpartition(":")
    top, path = module.partition(".")[0], Path(filename)
    return bool(colon) and (top in path.parts or path.stem == top)
