r"""The rows of a benchmark: a method, with options that distinguish it from other rows of the same method.

``METHOD[:key=value,...][+MIXER[:key=value,...]]``: the keys are options of the method, else fields of `Config`. So a
method may have several rows: ``supervised supervised:steps=1200 fixmatch:threshold=0.9 mixmatch+mixup:alpha=0.3``.

A sweep is several rows in one text: ``fixmatch:threshold=0.8|0.9|0.95`` is a row for each value, and several options
with ``|`` are a row for each combination. A ``|`` that belongs to a value is written ``\|``.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

from audiomix import check
from audiomix.options import read_values

from .. import algorithms
from ..semi_supervised.run_spec import configure
from ..training.config import Config

__all__ = ["RowSpec", "expand_sweeps", "parse_row", "parse_rows", "slug"]

# At the first + before a name or a path begins the mixer: not at the one in 1e+3.
_MIXER = r"\+(?=[A-Za-z_./~])"
# A comma between options; one inside brackets is part of a value.
_BETWEEN = re.compile(rf"(,(?![^(\[]*[)\]])|{_MIXER})")
_BAR = re.compile(r"(?<!\\)\|")

# Fields of `Config` that change how a run is computed, not what: results are still the preset's.
_MACHINE = ("device", "threads", "compile", "every")
# Fields of `Config` that say which clips and labels there are: rows with others could not be compared.
_OF_ALL_ROWS = {
    "labelled": "--labelled 10% 3",
    "imbalance": "--imbalance 10",
    "imbalance_unlabelled": "--imbalance-unlabelled 1",
    "label_noise": "--label-noise 20%",
}


@dataclass(frozen=True)
class RowSpec:
    """What all runs of a row have in common."""

    text: str  # as the user wrote it
    title: str  # as tables show it
    method: str  # name of the method
    config: Config  # the configuration, but for `labelled`
    options: dict[str, Any]  # options of the method
    mixer: str | None  # the mixer, with its options; None for no mixing
    changed: bool = False  # whether it differs from the preset in more than the mixer

    @property
    def folder(self) -> str:
        """Name of the folder that its runs are in."""
        return slug(self.text)


def slug(text: str) -> str:
    """Return a row or a number of labels as a folder name that is valid on any system.

    >>> slug("fixmatch:threshold=0.9+mixup:alpha=0.3")
    'fixmatch_threshold=0.9+mixup_alpha=0.3'
    """
    return re.sub(r"[^\w.=,+%-]", "_", text)


def parse_rows(
    texts: Sequence[str],
    preset: str,
    *,
    mixer: str | None = None,
    overrides: dict[str, Any] | None = None,
    of_data: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[RowSpec]:
    """Return the rows that the user asks for, without repetitions; without any, one for each method.

    Parameters
    ----------
    texts : sequence of str
        The rows; sweeps are several, see `expand_sweeps`.
    preset, mixer, overrides, of_data
        See `parse_row`; for all rows.

    Raises
    ------
    ValueError
        See `parse_row`; or two rows whose folders would be the same.
    """
    # the baseline comes first
    every = sorted(algorithms.available(), key=lambda name: algorithms.get(name).needs_unlabelled)
    texts = list(dict.fromkeys(row for text in texts for row in expand_sweeps(text))) or every
    rows: dict[str, RowSpec] = {}
    for text in texts:
        row = parse_row(text, preset, mixer=mixer, overrides=overrides, of_data=of_data)
        if (other := rows.setdefault(row.folder.lower(), row)) is not row:
            check.fail("methods", "rows with names of their own", f"{other.text!r} and {text!r}", "the same folder")
    return list(rows.values())


def expand_sweeps(text: str) -> list[str]:
    """Return the rows of a text: one, or one for each combination of the values between ``|``.

    Parameters
    ----------
    text : str
        As in the first lines of this file.

    Raises
    ------
    ValueError
        A ``|`` without a value beside it, or one that stands in no value.

    Examples
    --------
    >>> expand_sweeps("fixmatch:threshold=0.8|0.9")
    ['fixmatch:threshold=0.8', 'fixmatch:threshold=0.9']
    >>> len(expand_sweeps("fixmatch:threshold=0.8|0.9,steps=100|200+mixup:alpha=0.3|0.7"))
    8
    """
    choices: list[list[str]] = []
    for part in _BETWEEN.split(text):
        head, equals, value = part.partition("=")
        if _BAR.search(head):
            slip = "a row for each method? they are separated by spaces"
            check.fail("methods", "rows with | between the values of an option", repr(text), slip)
        values = [one.replace(r"\|", "|") for one in _BAR.split(value)] if equals else [value]
        if len(values) > 1 and not all(one.strip() for one in values):
            check.fail("methods", "a value on each side of |", repr(text))
        choices.append([head + equals + one for one in values])
    return ["".join(parts) for parts in itertools.product(*choices)]


def parse_row(
    text: str,
    preset: str,
    *,
    mixer: str | None = None,
    overrides: dict[str, Any] | None = None,
    of_data: Mapping[str, Mapping[str, Any]] | None = None,
) -> RowSpec:
    """Return the row of a text.

    Parameters
    ----------
    text : str
        The row, as in the first lines of this file.
    preset : str
        Its preset.
    mixer : str, optional
        Its mixer, if it names none.
    overrides : dict, optional
        Fields of `Config` that the user gave for all rows; the row's own take precedence.
    of_data : dict, optional
        Settings of the data set; see `recipes.training.dataset_settings.settings_for`.

    Raises
    ------
    ValueError
        No such method, no such option (a near miss is named), a value that it cannot have, no such mixer, or a mixer
        for a method that uses none.

    Examples
    --------
    >>> row = parse_row("fixmatch:threshold=0.9,steps=50", "small")
    >>> row.title, row.options, row.config.steps
    ('fixmatch (threshold=0.9, steps=50)', {'threshold': 0.9}, 50)
    """
    front, *mixers = re.split(_MIXER, text, maxsplit=1)
    name, rest = algorithms.split(front.strip())
    kind = algorithms.get(name.strip())
    options, own = _parse_options(name.strip(), rest)
    if any(own.get(key) is not None for key in ("steps", "epochs")):  # the row's own length, as steps or as epochs
        overrides = {k: v for k, v in (overrides or {}).items() if k not in ("steps", "epochs")}
    changes = {**(overrides or {}), **own}
    config, chosen = configure(preset, kind, options, of_data=of_data, **changes)
    wanted = algorithms.mixer_for(mixers[0] if mixers else mixer, kind, preset)
    kind.check_mixer(wanted)
    if wanted is not None:
        algorithms.make_mixer(wanted, kind)
    title = kind(2, **chosen).title
    title = name.strip() if title == kind.__name__.lower() else title
    shown = ", ".join(pair.strip() for pair in rest.split(",") if pair.strip())
    mixed = f" + {wanted}" if wanted else " without mixing" if algorithms.mixer_for(None, kind, preset) else ""
    title += (f" ({shown})" if shown else "") + mixed
    changed = bool(options) or any(key not in _MACHINE for key in changes)
    return RowSpec(text, title, name.strip(), config, chosen, wanted, changed)


def _parse_options(method: str, rest: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of the method and the fields of `Config` in ``key=value,...``."""
    of_method = {name: option.kind for name, option in algorithms.options(algorithms.get(method)).items()}
    of_config = {name: kind for name, kind in get_type_hints(Config).items() if name not in (*of_method, *_OF_ALL_ROWS)}
    for name, example in _OF_ALL_ROWS.items():
        if re.search(rf"(^|,)\s*{name}\s*(=|,|$)", rest):
            check.fail(f"the option of the row {method}", "another", name, f"all rows have it: {example}")
    values = read_values(rest, of_method | of_config, f"the row {method}")
    options = {key: value for key, value in values.items() if key in of_method}
    return options, {key: value for key, value in values.items() if key in of_config}
