"""What there is to choose from, by kind: name, one sentence, source, label rule and domain, read from each file.

Nothing is listed here by hand. A mixer, transform, pairing rule or tracker is a file of its registry, whose docstring
has two lines for it, ``Source: authors, "title", venue year.`` and ``Label: what becomes of the label.`` What lies in
no registry (policies, network, targets, losses) has these lines in its own docstring. Schedules and rules of labels are
rows of the tables in their modules' docstrings.
"""

import difflib
import importlib
import importlib.util
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

from . import check, mixers, pairing, schedule, transforms
from .beats import trackers
from .mixer import Example, Mixer
from .needs import STREAM
from .options import Option, docstring_line, options_of
from .registry import Registry, is_path
from .targets import label_share, labels
from .transforms import operations

__all__ = ["Entry", "Kind", "find", "kinds"]


@dataclass(frozen=True)
class Entry:
    """One thing that can be chosen.

    Parameters
    ----------
    name : str
        As it is written on a command line, or in code.
    title : str
        What it is, in one sentence.
    source : str
        The paper, or that it is ours.
    label : str
        What becomes of the label; an empty text where it decides nothing about labels.
    domains : tuple of str
        What it works on, sorted.
    member : class or function, optional
        What the name stands for.
    """

    name: str
    title: str
    source: str = ""
    label: str = ""
    domains: tuple[str, ...] = ()
    member: Callable[..., Any] | None = None

    @property
    def code_name(self) -> str:
        """The name of the class or function; that of a file of functions is the file's."""
        return self.member.__name__ if isinstance(self.member, type) else self.name

    def facts(self) -> dict[str, Any]:
        """Return the entry as plain values."""
        found = {"title": self.title, "source": self.source, "label": self.label, "domains": list(self.domains)}
        return {name: value for name, value in found.items() if value}


@dataclass(frozen=True)
class Kind:
    """Things of one kind.

    Parameters
    ----------
    key : str
        Its name in JSON.
    title : str
        Its heading.
    use : str
        Where one is chosen.
    entries : tuple of Entry
        Sorted by name.
    positional : int
        How many first arguments of a member are no options.
    registry : str
        Dotted name of the folder that is a registry; empty where there is none.
    """

    key: str
    title: str
    use: str
    entries: tuple[Entry, ...]
    positional: int = 0
    registry: str = ""

    def options_of(self, entry: Entry) -> list[Option]:
        """Return the options of one of its entries."""
        if entry.member is None:
            return []
        first = list(inspect.signature(entry.member).parameters)[: self.positional]
        return options_of(entry.member, first)


def kinds() -> list[Kind]:
    """Return all kinds that have entries.

    Raises
    ------
    ValueError
        What an installed package adds cannot be imported.

    Examples
    --------
    >>> [kind.key for kind in kinds()][:3]
    ['mixers', 'transforms', 'operations']
    """
    files = f"--pairing; for files {', '.join(pairing.FILE_PAIRINGS)}, in training all"
    found = [
        Kind("mixers", "Mixers", "--mixer", _mixers(), registry=mixers.__name__),
        Kind("transforms", "Transforms", "of single clips", _transforms(), registry=transforms.__name__),
        Kind("operations", "Operations", "of rand_augment and trivial_augment", _operations()),
        Kind("pairing_rules", "Pairing rules", files, _rules(), 2, pairing.__name__),
        Kind("policies", "Policies", "which mixer, and when", _with_source("policy", "policies", "repeat")),
        Kind("schedules", "Schedules", "in place of a number", _rows_of(schedule.__doc__)),
        Kind("label_rules", "Label rules", "rule=", _rows_of(labels.__doc__)),
        Kind("label_weights", "Shares of labels", "label_weight=", _rows_of(label_share.__doc__)),
        Kind("targets", "Targets", "audiomix.targets", _with_source("targets")),
        Kind("losses", "Losses", "audiomix.losses", _with_source("losses")),
        Kind("measures", "Measures", "audiomix.measures", _with_source("measures")),
        Kind("inference", "At test time", "audiomix.inference", _with_source("inference")),
        Kind("samplers", "Samplers", "of a DataLoader over several data sets", _with_source("corpora")),
        Kind("network", "Inside a network", "hooks and layers", _with_source("network")),
        Kind("curricula", "Curricula", "of two streams", _with_source("streams")),
        Kind("trackers", "Trackers", "of beats, --tracker", _trackers(), registry=trackers.__name__),
    ]
    return [kind for kind in found if kind.entries]


def find(name: str) -> list[tuple[Kind, Entry]]:
    """Return what has a name, of every kind.

    Parameters
    ----------
    name : str
        One that `kinds` lists, the name of the class, or the path of a mixer of one's own, ``mine.py:RollMix``.

    Raises
    ------
    ValueError
        There is none; a near miss is named.

    Examples
    --------
    >>> [(kind.key, entry.name) for kind, entry in find("MixUp")]
    [('mixers', 'mixup')]
    """
    everything = [(kind, entry) for kind in kinds() for entry in kind.entries]
    if is_path(name):
        return [(everything[0][0], _mixer(name))]
    found = [(kind, entry) for kind, entry in everything if name in (entry.name, entry.code_name)]
    if not found:
        names = dict.fromkeys(word for kind, entry in everything for word in (entry.name, entry.code_name, kind.key))
        near = difflib.get_close_matches(name, names, n=1)
        slip = f"did you mean {near[0]!r}?" if near else f"or a kind: {', '.join(kind.key for kind in kinds())}"
        check.fail("name", "one that audiomix list shows", repr(name), slip)
    return found


def _mixers() -> tuple[Entry, ...]:
    return tuple(map(_mixer, mixers.available()))


def _mixer(name: str) -> Entry:
    kind = mixers.get(name)
    return Entry(
        name, mixers.title_of(kind), mixers.source_of(kind), mixers.label_of(kind), _domains(kind.examples()), kind
    )


def _transforms() -> tuple[Entry, ...]:
    """Return the transforms, those too that act on two streams and so are no members of their registry."""
    own = [(name, transforms.get(name)) for name in transforms.available()]
    streams: Registry[type[nn.Module]] = Registry("transform", transforms.__name__, "", base=nn.Module)
    found = [
        Entry(
            name, transforms.title_of(kind), transforms.source_of(kind), transforms.label_of(kind),
            _domains(kind.examples()), kind,
        )
        for name, kind in own
    ]  # fmt: skip
    found += [
        Entry(name, streams.title_of(kind), streams.source_of(kind), streams.label_of(kind), (STREAM,), kind)
        for name, kind in ((name, streams.get(name)) for name in transforms.OF_STREAMS)
    ]
    return tuple(sorted(found, key=lambda entry: entry.name))


def _operations() -> tuple[Entry, ...]:
    found = [(name, operations.get(name)) for name in operations.available()]
    return tuple(Entry(n, operations.title_of(k), domains=tuple(sorted(k.domains)), member=k) for n, k in found)


def _domains(examples: Iterable[Example]) -> tuple[str, ...]:
    return tuple(sorted(frozenset().union(*(example.mixer.needs.domain for example in examples))))


def _rules() -> tuple[Entry, ...]:
    found = [(name, pairing.get(name)) for name in pairing.available()]
    return tuple(Entry(name, pairing.title_of(rule), pairing.source_of(rule), member=rule) for name, rule in found)


def _trackers() -> tuple[Entry, ...]:
    found = [(name, trackers.get(name)) for name in trackers.available()]
    return tuple(Entry(name, trackers.title_of(kind), trackers.source_of(kind), member=kind) for name, kind in found)


def _with_source(*places: str) -> tuple[Entry, ...]:
    """Return the public classes and functions with a ``Source:`` line, of modules or folders of the package."""
    package = __name__.rpartition(".")[0]
    found = {}
    for place in places:
        if importlib.util.find_spec(f"{package}.{place}") is None:
            continue
        top = importlib.import_module(f"{package}.{place}")
        inner = pkgutil.walk_packages(getattr(top, "__path__", []), f"{package}.{place}.")
        for module in (top, *(importlib.import_module(m.name) for m in inner)):
            for name in getattr(module, "__all__", ()):
                member = getattr(module, name)
                if callable(member) and member.__module__ == module.__name__:
                    found[name] = member
    documented = ((name, member, inspect.cleandoc(member.__doc__ or "")) for name, member in sorted(found.items()))
    return tuple(
        Entry(
            name, doc.partition("\n")[0], docstring_line(doc, "Source"), docstring_line(doc, "Label"),
            _domains(member.examples()) if isinstance(member, type) and issubclass(member, Mixer) else (), member,
        )
        for name, member, doc in documented
        if docstring_line(doc, "Source")
    )  # fmt: skip


def _rows_of(doc: str | None) -> tuple[Entry, ...]:
    """Return the rows of the table in a docstring: two columns, what stands in the second one may go on."""
    lines = inspect.cleandoc(doc or "").split("\n")
    edges = [number for number, line in enumerate(lines) if re.fullmatch(r"=+ +=+", line)]
    start = lines[edges[0]].index(" ")
    found: list[tuple[str, list[str]]] = []
    for line in lines[edges[1] + 1 : edges[2]]:
        if name := line[:start].strip():
            found.append((name, []))
        found[-1][1].append(line[start:].strip())
    return tuple(Entry(name.replace("``", ""), " ".join(text)) for name, text in found)
