"""``manifest.json`` as NVIDIA NeMo reads it: one JSON object a line, with audio_filepath, duration, text and label.

`label` is one class: NeMo's classifiers have no shares. Everything else that a row says stands beside it under its own
name; NeMo passes over names that it does not know. Paths are relative to the manifest.
"""

import json
from collections.abc import Mapping

from ..replay.output import Output
from .export import Export, link_audio

__all__ = ["find_losses", "write"]


def find_losses(output: Output) -> Mapping[str, str]:
    """Return what the form cannot hold, and what is written instead.

    Parameters
    ----------
    output : Output
        What is to be written.
    """
    soft = sum(len(row["label"] or {}) > 1 for row in output.rows())
    if not soft:
        return {}
    instead = "label is the class with the largest share, and label_shares, which NeMo does not read, has the shares"
    return {f"the shares of the labels of {soft} of {output.count} mixes": instead}


def write(job: Export) -> list[str]:
    """Write the form; return notes.

    Parameters
    ----------
    job : Export
        What is written, and where.
    """
    with open(job.folder / "manifest.json", "w", encoding="utf-8") as file:
        for row in job.rows():
            link_audio(job, row)
            label = row["label"] or {}
            rest = {key: value for key, value in row.items() if key not in ("file_name", "label", "seconds", "caption")}
            line = {
                "audio_filepath": row["file_name"],
                "duration": row["seconds"],
                "text": row["caption"] or "",
                "label": max(label, key=lambda name: label[name]) if label else None,
                "label_shares": json.dumps(label, ensure_ascii=False) if label else None,
                **rest,
            }
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return []
