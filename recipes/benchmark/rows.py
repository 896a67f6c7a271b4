"""A row of a benchmark: one method, with the options that make it a row of its own.

``METHOD[:key=value,...][+MIXER[:key=value,...]]``: the keys are options of the method, else fields of `Config`. So a
method may have several rows: ``supervised supervised:steps=1200 fixmatch:threshold=0.9 mixmatch+mixup:alpha=0.3``.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

from audiomix import check
from audiomix.options import read_values

from .. import algorithms
from ..training.config import Config, resolved

__all__ = ["Row", "read_row", "read_rows", "slug"]

# Fields of `Config` that say how a run is done, not what: results are the preset's still.
_MACHINE = ("device", "threads", "compile", "every")


@dataclass(frozen=True)
class Row:
    """What all runs of a row have in common.

    Parameters
    ----------
    text : str
        As the user wrote it.
    title : str
        As tables show it.
    method : str
        Its name.
    config : Config
        But for `labelled`.
    options : dict
        The method's.
    mixer : str or None
        Name and options of what mixes the batches.
    changed : bool
        Whether it differs from the preset in more than the mixer.
    """

    text: str
    title: str
    method: str
    config: Config
    options: dict[str, Any]
    mixer: str | None
    changed: bool = False

    @property
    def folder(self) -> str:
        """Name of the folder that its runs are in."""
        return slug(self.text)


def slug(text: str) -> str:
    """Return a text as a name of a folder on any system.

    Parameters
    ----------
    text : str
        Any.

    Examples
    --------
    >>> slug("fixmatch:threshold=0.9+mixup:alpha=0.3")
    'fixmatch_threshold=0.9+mixup_alpha=0.3'
    """
    return re.sub(r"[^\w.=,+%-]", "_", text)


def read_rows(
    texts: Sequence[str],
    preset: str,
    *,
    mixer: str | None = None,
    overrides: dict[str, Any] | None = None,
    of_data: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Row]:
    """Return the rows that the user asks for, without repetitions.

    Parameters
    ----------
    texts : sequence of str
        The rows; none means one for each method.
    preset, mixer, overrides, of_data
        See `read_row`.

    Raises
    ------
    ValueError
        See `read_row`; or two rows whose folders would be the same.
    """
    # what the others are compared with comes first
    every = sorted(algorithms.available(), key=lambda name: algorithms.get(name).needs_unlabelled)
    texts = list(dict.fromkeys(texts)) or every
    rows: dict[str, Row] = {}
    for text in texts:
        row = read_row(text, preset, mixer=mixer, overrides=overrides, of_data=of_data)
        if (other := rows.setdefault(row.folder.lower(), row)) is not row:
            check.fail("methods", "rows with names of their own", f"{other.text!r} and {text!r}", "the same folder")
    return list(rows.values())


def read_row(
    text: str,
    preset: str,
    *,
    mixer: str | None = None,
    overrides: dict[str, Any] | None = None,
    of_data: Mapping[str, Mapping[str, Any]] | None = None,
) -> Row:
    """Return the row that `text` means.

    Parameters
    ----------
    text : str
        ``METHOD[:key=value,...][+MIXER[:key=value,...]]``.
    preset : str
        A name of `recipes.training.config.PRESETS`.
    mixer : str, optional
        Of rows that name none.
    overrides : dict, optional
        Fields of `Config` that the user gave for all rows; the row's own come before them.
    of_data : dict, optional
        What the data set wants; see `recipes.training.config.resolved`.

    Raises
    ------
    ValueError
        No such method, no such option (a near miss is named), a value that it cannot have, or no such mixer.

    Examples
    --------
    >>> row = read_row("fixmatch:threshold=0.9,steps=50", "small")
    >>> row.title, row.options, row.config.steps
    ('fixmatch (threshold=0.9, steps=50)', {'threshold': 0.9}, 50)
    """
    front, mixing = _parts(text)
    name, rest = algorithms.split(front.strip())
    kind = algorithms.get(name.strip())
    options, own = _values(name.strip(), rest)
    if any(own.get(key) is not None for key in ("steps", "epochs")):  # the row's own length, however others are told
        overrides = {k: v for k, v in (overrides or {}).items() if k not in ("steps", "epochs")}
    changes = {**(overrides or {}), **own}
    config, chosen = resolved(preset, kind, options, of_data=of_data, **changes)
    wanted = algorithms.mixer_for(mixing or mixer, kind, preset)
    if wanted is not None:
        algorithms.make_mixer(wanted, kind)
    made = kind(2, **chosen).title
    title = name.strip() if made == kind.__name__.lower() else made
    said = ", ".join(pair.strip() for pair in rest.split(",") if pair.strip())
    mixed = f" + {wanted}" if wanted else " without mixing" if algorithms.mixer_for(None, kind, preset) else ""
    title += (f" ({said})" if said else "") + mixed
    changed = bool(options) or any(key not in _MACHINE for key in changes)
    return Row(text, title, name.strip(), config, chosen, wanted, changed)


def _parts(text: str) -> tuple[str, str]:
    """Split at the first + before a name or a path: the one in 1e+3 is none."""
    found = re.split(r"\+(?=[A-Za-z_./~])", text, maxsplit=1)
    return found[0], found[1] if len(found) > 1 else ""


def _values(method: str, rest: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of the method and the fields of `Config` in ``key=value,...``."""
    of_method = {name: option.kind for name, option in algorithms.options(algorithms.get(method)).items()}
    of_config = {name: kind for name, kind in get_type_hints(Config).items() if name not in (*of_method, "labelled")}
    if re.search(r"(^|,)\s*labelled\s*(=|,|$)", rest):
        check.fail(f"the option of the row {method}", "another", "labelled", "all rows have it: --labelled 10% 3")
    values = read_values(rest, of_method | of_config, f"the row {method}")
    options = {key: value for key, value in values.items() if key in of_method}
    return options, {key: value for key, value in values.items() if key in of_config}
