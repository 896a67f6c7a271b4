"""What each command takes by name, in sections by command: methods, mixers, data sets, networks, presets."""

import inspect
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from audiomix import check, datasets, mixers, transforms
from audiomix.options import Option, describe_type, options_of

from .. import algorithms, models
from ..continual.methods import METHODS
from ..data import protocol
from ..data.download import ARCHIVES
from ..training import mixing
from ..training.config import PRESETS, list_open
from ..training.mixing._criteria import LOSSES, loss_options

__all__ = ["Entry", "Section", "describe_names", "list_sections", "print_sections"]

_WIDTH = 110  # characters of a line
_SHORT = 90  # characters of a title, less what a name has more than 16
_OF_THE_DATA = ("num_classes", "log", "mean", "std")  # options of a mixer that a recipe gives it


@dataclass(frozen=True)
class Entry:
    """What is chosen by one name."""

    name: str  # as it is written
    title: str  # what it is, in a line
    options: list[Option] = field(default_factory=list)  # with type, default and help
    values: dict[str, Any] = field(default_factory=dict)  # of a preset: fields and their values
    open_fields: tuple[str, ...] = ()  # of a preset: fields that are chosen from the data
    of_methods: tuple[str, ...] = ()  # of a preset: fields for which some methods have a value of their own

    def facts(self) -> dict[str, Any]:
        """Return the entry as plain values."""
        options = {o.name: {"type": describe_type(o.kind), "default": _shown(o)} for o in self.options}
        return {"title": self.title, "options": options} | ({"values": self.values} if self.values else {})


@dataclass(frozen=True)
class Section:
    """What one argument of some commands takes."""

    title: str  # the commands and the argument
    key: str  # name of the section in JSON
    entries: list[Entry]
    note: str = ""  # what else may be given


def list_sections() -> list[Section]:
    """Return all sections, in the order in which they are printed.

    >>> [section.key for section in list_sections()][:3]
    ['methods', 'data_sets', 'mixers']
    """
    own = "One's own: mine.py:Name or package.module:Name"
    return [
        Section(
            "run METHOD, bench --methods",
            "methods",
            [_method(name) for name in algorithms.available()],
            f"{own}. In a row of bench: fixmatch:threshold=0.9,steps=200+mixup:alpha=0.3. Options of one with their "
            "help: audiomix-recipes list NAME, or run NAME --help",
        ),
        Section(
            "run and bench DATASET [ROOT]",
            "data_sets",
            [_data_set(name) for name in protocol.available()],
            "One's own: mine.py:my_data_set. Options stand behind the name: speech_commands:words=up+down",
        ),
        Section(
            "run and bench --mixer",
            "mixers",
            [_mixer(name) for name in mixers.available() if _is_accepted(name)],
            f"{own}. All others mix waveforms; recipes mix what the network sees",
        ),
        Section(
            "run supervised --mixing, transforms",
            "transforms",
            [_transform(name) for name in algorithms.spectral_transforms()],
            "They change single clips. --mixing is another name of --mixer. A row of bench: supervised+spec_augment",
        ),
        Section(
            "run supervised --mixing, learned",
            "learned_mixing",
            [_learned(name) for name in mixing.available()],
            f"{own}. Each trains besides the network what decides how it mixes",
        ),
        Section(
            "run supervised --loss",
            "losses",
            [Entry(name, _first_sentence(kind.function), loss_options(name)) for name, kind in LOSSES.items()],
            "In a row of bench: supervised:loss=comp_sum:tau=1.3+mixup, several options in brackets: "
            "supervised:loss=decoupled(eta=0.2,weighting=none)+mixup",
        ),
        Section("run and bench --model", "networks", [_network(name) for name in models.available()], own),
        Section(
            "run and bench --preset",
            "presets",
            _presets(),
            "The fields in which presets differ; ? is chosen from the data, * is another one with some methods. All, "
            "with a method's own: run METHOD --preset NAME --help",
        ),
        Section(
            "continual --method",
            "continual_methods",
            [Entry(name, title) for name, title in METHODS.items()],
            "Their papers and equations: recipes/continual/methods.py",
        ),
        Section(
            "download NAME",
            "archives",
            [Entry(name, archive.licence) for name, archive in ARCHIVES.items()],
        ),
    ]


def _method(name: str) -> Entry:
    kind = algorithms.get(name)
    return Entry(name, _first_sentence(inspect.getmodule(kind)), [*algorithms.options(kind).values()])


def _data_set(name: str) -> Entry:
    module = getattr(datasets, name, None)
    index = getattr(module, "index", None) or datasets.get(name)
    options = options_of(index, skip=("root", "notes")) if module else []
    return Entry(name, _first_sentence(module or index), options)


def _mixer(name: str) -> Entry:
    kind = mixers.get(name)
    return Entry(name, mixers.title_of(kind), options_of(kind, skip=_OF_THE_DATA))


def _transform(name: str) -> Entry:
    kind = transforms.get(name)
    return Entry(name, transforms.title_of(kind), options_of(kind, skip=algorithms.OF_TRANSFORMS))


def _learned(name: str) -> Entry:
    kind = mixing.get(name)
    return Entry(name, mixing.title_of(kind), options_of(kind))


def _is_accepted(name: str) -> bool:
    """Return whether a recipe can mix with a mixer."""
    kind = mixers.get(name)
    return "spectrogram" in mixers.domains(kind) and not any(example.mixer.needs.notes for example in kind.examples())


def _network(name: str) -> Entry:
    kind = models.get(name)
    return Entry(name, _first_sentence(inspect.getmodule(kind)), options_of(kind, skip=("num_classes",)))


def _presets() -> list[Entry]:
    """Return the presets, with the values of fields in which they differ."""
    values = {name: config.to_dict() for name, config in PRESETS.items()}
    fields = next(iter(values.values()))
    differ = [key for key in fields if any(found[key] != fields[key] for found in values.values())]
    return [
        Entry(
            name, "", [], {key: found[key] for key in differ}, tuple(list_open(PRESETS[name])), _fields_of_methods(name)
        )
        for name, found in values.items()
    ]


def _fields_of_methods(name: str) -> tuple[str, ...]:
    """Return the fields of a preset for which some methods have a value of their own."""
    own = [algorithms.get(method).configs.get(name, {}) for method in algorithms.available()]
    return tuple(sorted({key for values in own for key in values}))


def _first_sentence(documented: Any) -> str:
    """Return the first line of a docstring."""
    return (inspect.getdoc(documented) or "").partition("\n")[0] if documented is not None else ""


def _shown(option: Option) -> Any:
    """Return the default of an option as plain value; ``required`` where there is none."""
    if option.is_required:
        return "required"
    plain = (str, int, float, bool, list, tuple, type(None))
    return option.default if isinstance(option.default, plain) else str(option.default)


def _preset_text(entry: Entry, key: str) -> str:
    """Return the value of a preset's field, with a mark where methods have others."""
    shown = "?" if key in entry.open_fields else _text(entry.values[key])
    return shown + "*" * (key in entry.of_methods)


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value)) or "none"
    return str(value).lower() if value is None or isinstance(value, bool) else str(value) or "''"


def print_sections(sections: Sequence[Section], write: Callable[[str], object] = print) -> None:
    """Print sections: a name and its title a line, and below it the options with their defaults.

    Parameters
    ----------
    sections : sequence of Section
        What is printed.
    write : callable
        Prints a line.
    """
    for i, section in enumerate(sections):
        write(("\n" if i else "") + section.title)
        for entry in section.entries:
            room = _SHORT - max(0, len(entry.name) - 16)
            write(f"  {entry.name:16}  {textwrap.shorten(entry.title, room, placeholder=' ...')}".rstrip())
            pairs = [f"{o.name}={_text(_shown(o))}" for o in entry.options]
            pairs += [f"{key}={_preset_text(entry, key)}" for key in entry.values]
            for line in _wrap(pairs):
                write(line)
        if section.note:
            for line in textwrap.wrap(section.note, _WIDTH - 2):
                write("  " + line)


def _wrap(words: Sequence[str]) -> Iterator[str]:
    """Yield lines of words, none of which is broken."""
    line = " " * 19
    for word in words:
        if len(line) + 1 + len(word) > _WIDTH and line.strip():
            yield line
            line = " " * 19
        line += " " + word
    if line.strip():
        yield line


def describe_names(names: Sequence[str], write: Callable[[str], object] = print) -> dict[str, Any]:
    """Print all that is known of some names, with type, default and help of each option; return it.

    Parameters
    ----------
    names : sequence of str
        Methods, data sets, mixers, networks or presets.
    write : callable
        Prints a line.

    Raises
    ------
    ValueError
        No such name; a near miss is named.
    """
    sections = list_sections()
    known = [entry.name for section in sections for entry in section.entries]
    found: dict[str, Any] = {}
    for name in names:
        check.choice("name", name, dict.fromkeys(known))
        for section in sections:
            for entry in (e for e in section.entries if e.name == name):
                write(f"{name} ({section.title}): {entry.title}")
                for option in entry.options:
                    write(f"  {option.name}: {describe_type(option.kind)} [default: {_text(_shown(option))}]")
                    for line in textwrap.wrap(option.help, _WIDTH - 6):
                        write("      " + line)
                for key, value in entry.values.items():
                    shown = "chosen from the data" if key in entry.open_fields else _text(value)
                    of_methods = f"; another one with some methods: run METHOD --preset {name} --help"
                    write(f"  {key}: {shown}{of_methods * (key in entry.of_methods)}")
                found.setdefault(section.key, {})[name] = entry.facts()
    return found
