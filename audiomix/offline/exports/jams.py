"""JAMS (Humphrey et al., "JAMS: a JSON annotated music specification", ISMIR 2014): ``NAME.jams`` beside each sound.

Annotations: ``tag_open`` (the classes, with their shares as confidence), ``segment_open`` (when each source sounds),
``beat`` (positions in the bar as values), ``tempo``. The row of the manifest is the file's sandbox.
"""

import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from ... import __version__
from .events import beats_of, events_of
from .export import Export, link_audio

__all__ = ["jams_of", "write"]


def write(job: Export) -> list[str]:
    """Write the form; return notes.

    Parameters
    ----------
    job : Export
        What is written, and where.
    """
    for row in job.rows():
        link_audio(job, row)
        text = json.dumps(jams_of(row), ensure_ascii=False, indent=1)
        (job.folder / PurePosixPath(row["file_name"]).with_suffix(".jams")).write_text(text, "utf-8")
    return []


def jams_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the annotations of a mix as JAMS has them.

    Parameters
    ----------
    row : mapping
        Of the manifest.
    """
    seconds = float(row["seconds"])
    tags = [_observation(0.0, seconds, name, share) for name, share in (row["label"] or {}).items()]
    events = [_observation(one.start, one.duration, one.text) for one in events_of(row)]
    beats = [_observation(time, 0.0, position) for time, position in beats_of(row)]
    tempo = [_observation(0.0, seconds, float(row["bpm"]), 1.0)] if beats and row.get("bpm") else []
    named = {"tag_open": tags, "segment_open": events, "beat": beats, "tempo": tempo}
    return {
        "annotations": [_annotation(name, data, seconds) for name, data in named.items() if data],
        "file_metadata": {
            "title": PurePosixPath(row["file_name"]).stem, "artist": "", "release": "", "duration": seconds,
            "identifiers": {}, "jams_version": "0.3.5",
        },
        "sandbox": dict(row),
    }  # fmt: skip


def _observation(time: float, duration: float, value: Any, confidence: float | None = None) -> dict[str, Any]:
    return {"time": time, "duration": duration, "value": value, "confidence": confidence}


def _annotation(namespace: str, data: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    about = {
        "curator": {"name": "", "email": ""}, "annotator": {}, "version": __version__, "corpus": "",
        "annotation_tools": "audiomix", "annotation_rules": "", "validation": "", "data_source": "program",
    }  # fmt: skip
    return {
        "annotation_metadata": about, "namespace": namespace, "data": data, "sandbox": {}, "time": 0,
        "duration": seconds,
    }  # fmt: skip
