"""Rows of Lhotse's manifests (cuts and recordings) as rows of a table, as far as they name one file and a piece of it.

Żelasko et al., "Lhotse: a speech data representation library", arXiv 2110.12561.
"""

from collections.abc import Iterable
from typing import Any

from .. import check

__all__ = ["is_lhotse", "lhotse_row"]


def is_lhotse(row: dict[str, Any]) -> bool:
    """Say whether a row of a JSONL file is a cut, a recording or a supervision of Lhotse's.

    >>> is_lhotse({"id": "a", "recording": {}}), is_lhotse({"path": "a.wav"})
    (True, False)
    """
    if row.get("type") in ("MonoCut", "MultiCut", "MixedCut", "PaddingCut"):
        return True
    return "id" in row and any(isinstance(row.get(key), kind) for key, kind in _KEYS.items())


_KEYS = {"recording": dict, "sources": list, "recording_id": str}


def lhotse_row(row: dict[str, Any], where: str) -> dict[str, Any]:
    """Return path, offset, duration, and what the supervisions say: text, speaker and custom fields.

    Parameters
    ----------
    row : dict
        A line of ``cuts.jsonl`` or ``recordings.jsonl``.
    where : str
        Where it stands, for messages.

    Raises
    ------
    ValueError
        It names several files or none, or a sound that is changed when it is loaded.
    """
    recording = row if isinstance(row.get("sources"), list) else row.get("recording")
    if not isinstance(recording, dict):
        kind = row.get("type") or ("a supervision" if "recording_id" in row else "no recording")
        slip = "give the cuts (lhotse cut simple), or the recordings"
        check.fail(where, "a cut or a recording of Lhotse's that names one file", kind, slip)
    sources = [one for one in recording.get("sources") or () if isinstance(one, dict)]
    if len(sources) != 1 or sources[0].get("type") != "file" or not isinstance(sources[0].get("source"), str):
        got = ", ".join(str(one.get("type")) for one in sources) or "none"
        check.fail(where, "a cut or a recording of Lhotse's that names one file", f"sources of type {got}")
    if changed := recording.get("transforms") or row.get("transforms"):
        slip = "write the sounds first: cuts.save_audios"
        check.fail(where, "a recording without transforms", f"{len(changed)} of them", slip)
    found: dict[str, Any] = {"path": sources[0]["source"]}
    if row is not recording:
        found |= {"offset": row.get("start"), "duration": row.get("duration")}
    supervisions = [one for one in row.get("supervisions") or () if isinstance(one, dict)]
    speakers = _unique(one.get("speaker") for one in supervisions)
    found["captions"] = _unique(one.get("text") for one in supervisions)
    if len(speakers) == 1:
        found["group"] = speakers[0]
    for holder in (row, *supervisions):
        custom = holder.get("custom")
        for name, value in custom.items() if isinstance(custom, dict) else ():
            if isinstance(value, (str, int, float)):
                found.setdefault(name, value)
    return found


def _unique(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(value for value in values if isinstance(value, str) and value))
