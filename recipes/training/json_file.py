"""JSON files that a run or a store left: read back, or named when they are damaged."""

import json
from pathlib import Path
from typing import Any, NoReturn

from audiomix import check

__all__ = ["TRAIN_AGAIN", "damaged", "read_json"]

TRAIN_AGAIN = "remove the run's folder, or train again with another --out"


def read_json(path: Path, *keys: str, way: str = TRAIN_AGAIN) -> dict[str, Any]:
    """Return the object that a JSON file holds.

    Parameters
    ----------
    path : Path
    *keys : str
        What must be in it.
    way : str
        What to do about a damaged file, told at the end of the message.

    Raises
    ------
    ValueError
        The file holds no JSON, something else than an object, or one without a key.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "config.json")
    ...     _ = path.write_text('{"settings": {"seed": 0}}')
    ...     read_json(path, "settings")["settings"]
    {'seed': 0}
    """
    wanted = f"JSON with {', '.join(keys)}" if keys else "a JSON object"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        damaged(path, wanted, f"something else ({error})", way)
    if not isinstance(found, dict):
        damaged(path, wanted, "another", way)
    if missing := [key for key in keys if key not in found]:
        damaged(path, wanted, f"one without {', '.join(missing)}", way)
    return found


def damaged(path: Path, wanted: str, got: str, way: str = TRAIN_AGAIN) -> NoReturn:
    """Raise ValueError: name the file, say that it is damaged, and what to do about it.

    >>> damaged(Path("x.npy"), "8 clips", "7", "remove it")
    Traceback (most recent call last):
    ValueError: x.npy must be 8 clips, got 7: it is damaged, or was edited by hand: remove it
    """
    check.fail(str(path), wanted, got, f"it is damaged, or was edited by hand: {way}")
