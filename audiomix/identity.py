"""What a run or a cache depends on: one digest of it, and in what two of them differ."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["differences", "digest"]

# Characters of a value that a difference shows.
_SHOWN = 80


def digest(parts: Iterable[Any], size: int = 16) -> str:
    """Return one hash of many plain values: equal for equal values in the same order.

    The parts are hashed one after another, so that a data set of any size takes no memory.

    Parameters
    ----------
    parts : iterable
        Values that JSON can hold: None, bool, int, float, str, and lists and dicts of them.
    size : int
        Bytes of the hash (BLAKE2b), 1 to 64.

    Returns
    -------
    str
        The hash as ``2 * size`` hexadecimal digits.

    Raises
    ------
    TypeError
        JSON cannot hold a value.

    Examples
    --------
    >>> digest([{"rate": 16000}, ["a.wav", 81920]], size=4)
    '412d9ee9'
    """
    found = hashlib.blake2b(digest_size=size)
    for part in parts:
        found.update(json.dumps(part).encode())
    return found.hexdigest()


def differences(
    before: Mapping[str, Any], now: Mapping[str, Any], *, ignore: Iterable[str] = (), hints: Mapping[str, str] = {}
) -> list[str]:
    """Return in what settings differ from those of an earlier run, a sentence each.

    A run may be resumed where the list is empty. Settings are compared as JSON holds them, so that a tuple and the list
    that was read back are equal, and so are a name that is missing and one that is None. Settings within settings are
    compared one by one.

    Parameters
    ----------
    before : mapping
        Settings that were written by the earlier run.
    now : mapping
        Settings of this run.
    ignore : iterable of str
        Names, of the outermost settings, that may differ.
    hints : mapping of str to str
        What to say after a difference, by the last part of its name.

    Examples
    --------
    >>> differences({"seed": 0, "mixer": {"name": "mixup", "alpha": 0.4}}, {"seed": 1, "mixer": {"name": "mixup"}})
    ['mixer.alpha None instead of 0.4', 'seed 1 instead of 0']
    """
    ignored = set(ignore)
    old, new = (json.loads(json.dumps({k: v for k, v in one.items() if k not in ignored})) for one in (before, now))
    return _differences(old, new, "", hints)


def _differences(before: dict[str, Any], now: dict[str, Any], prefix: str, hints: Mapping[str, str]) -> list[str]:
    found: list[str] = []
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{prefix}{key}.", hints)
        elif old != new:
            found.append(f"{prefix}{key} {_short(new)} instead of {_short(old)}{hints.get(key, '')}")
    return found


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
