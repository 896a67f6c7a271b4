"""Rows of a manifest as cells of one type a column, for tables that want that."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["cells_of", "find_types", "schema_of"]

_TEXTS, _NUMBERS, _JSON = "texts", "numbers", "json"
# Columns whose values have other keys in each row.
_ALWAYS_JSON = ("label", "sources", "plan", "events", "tree")


def find_types(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the type of each column: bool, int, float, str, ``texts`` and ``numbers`` (lists), or ``json``.

    Parameters
    ----------
    rows : iterable of mapping
        Of the manifest. A column that is None throughout is a text.

    Examples
    --------
    >>> find_types([{"rate": 8000, "caption": None, "label": {"a": 1.0}}, {"rate": 16000.5, "captions": ["Rain."]}])
    {'rate': 'float', 'caption': 'str', 'label': 'json', 'captions': 'texts'}
    """
    found: dict[str, str] = {}
    for row in rows:
        for name, value in row.items():
            if value is None or value == []:
                found.setdefault(name, "")
                continue
            kind, before = _kind(value), found.get(name) or ""
            if before in ("", kind):
                found[name] = kind
            else:
                found[name] = "float" if {before, kind} == {"int", "float"} else _JSON
    types = {name: _JSON if name in _ALWAYS_JSON else kind or "str" for name, kind in found.items()}
    return types | {name: _TEXTS for name in ("captions", "stems", "notes") if types.get(name) == "str"}


def cells_of(row: Mapping[str, Any], types: Mapping[str, str]) -> dict[str, Any]:
    """Return the cells of a row, None where it has none; what has no type of its own is JSON.

    Parameters
    ----------
    row : mapping
        Of the manifest.
    types : mapping
        What `find_types` returned.
    """
    return {name: _cell(row.get(name), kind) for name, kind in types.items()}


def schema_of(pyarrow: Any, types: Mapping[str, str]) -> Any:
    """Return the columns as a schema of Arrow.

    Parameters
    ----------
    pyarrow : module
        It is imported by the caller.
    types : mapping
        What `find_types` returned.
    """
    arrow = {
        "bool": pyarrow.bool_(), "int": pyarrow.int64(), "float": pyarrow.float64(), "str": pyarrow.string(),
        _JSON: pyarrow.string(), _TEXTS: pyarrow.list_(pyarrow.string()), _NUMBERS: pyarrow.list_(pyarrow.float64()),
    }  # fmt: skip
    return pyarrow.schema([(name, arrow[kind]) for name, kind in types.items()])


def _kind(value: Any) -> str:
    if isinstance(value, list):
        if all(isinstance(one, str) for one in value):
            return _TEXTS
        return _NUMBERS if all(type(one) in (int, float) for one in value) else _JSON
    return type(value).__name__ if isinstance(value, (bool, int, float, str)) else _JSON


def _cell(value: Any, kind: str) -> Any:
    if value is None:
        return None
    if kind == _JSON:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return float(value) if kind == "float" else value
