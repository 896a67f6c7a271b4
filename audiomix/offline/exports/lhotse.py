"""Lhotse's manifests (Żelasko et al., arXiv 2110.12561): recordings, supervisions, cuts of the mixes, and mixed cuts.

``cuts.jsonl`` has a cut for each mix, over its file; ``mixed_cuts.jsonl`` has the same mixes as sums of their sources:
tracks of pieces of them, with offset and volume, which Lhotse mixes when it loads them. Where a plan is more than that
(fades, warps, masks, loops, filters), or a source is resampled, the mixed cut is the cut of the file; its custom field
``mixed_of`` says why. A track's volume is its gain with that of the limiter, so that no SNR need be measured again;
``snr_db`` of the plan stands in the custom fields.
"""

import json
import math
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import IO, Any

from ...audio import io
from ...audio.io import AudioError, Info
from ...plan import ORIGINAL, Part, Plan
from ..fit import Pair
from ..replay.compare import find_roots
from ..replay.output import item_of, settings_from
from ..replay.replayer import Replayer, replay_task, sources_of
from .events import name_of, read_plan
from .export import Export, link_audio

__all__ = ["write"]

# Fields of a part that a track cannot follow, with what they are where nothing is done.
_PLAIN: Mapping[str, Any] = {
    "loop": False, "roll": 0.0, "fade_in": 0.0, "fade_out": 0.0, "crossfade": None, "band": (0.0, 1.0), "cells": None,
    "warp": None, "stem": None, "reverse_channels": False, "semitones": 0,
}  # fmt: skip
_WORDS = {
    "loop": "a loop", "roll": "a roll in a circle", "fade_in": "a fade", "fade_out": "a fade",
    "crossfade": "a cross-fade", "band": "a band of frequencies", "cells": "a mask", "warp": "a warp of time",
    "stem": "one stem", "reverse_channels": "exchanged channels", "semitones": "a shift of pitch",
}  # fmt: skip


class NoTracks(Exception):
    """A mix that tracks cannot reproduce; the message says why."""


def write(job: Export) -> list[str]:
    """Write the form; return notes.

    Parameters
    ----------
    job : Export
        What is written, and where.
    """
    tracks = _Tracks(job)
    reasons: Counter[str] = Counter()
    names = ("recordings", "supervisions", "cuts", "mixed_cuts")
    files = {name: open(job.folder / f"{name}.jsonl", "w", encoding="utf-8") for name in names}  # noqa: SIM115
    try:
        for row in job.rows():
            link_audio(job, row)
            cut = _file_cut(job, row)
            _line(files["recordings"], cut["recording"])
            for supervision in cut["supervisions"]:
                _line(files["supervisions"], {**supervision, "recording_id": cut["recording"]["id"]})
            _line(files["cuts"], cut)
            try:
                mixed = tracks.mixed_cut(row, cut)
            except (NoTracks, AudioError, ValueError) as error:
                reasons[str(error).partition(":")[0]] += 1
                mixed = {**cut, "custom": {**cut["custom"], "mixed_of": f"the file: {error}"}}
            _line(files["mixed_cuts"], mixed)
    finally:
        for file in files.values():
            file.close()
    if not reasons:
        return []
    most = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3))
    total = f"{reasons.total()} of {job.output.count}"
    return [f"{total} mixed cuts are recordings of the output, as tracks cannot reproduce them: {most}"]


def _line(file: IO[str], value: Mapping[str, Any]) -> None:
    file.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")


def _file_cut(job: Export, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cut of a mix over its own file."""
    name = str(PurePosixPath(row["file_name"]).with_suffix(""))
    size = round(row["seconds"] * row["rate"])
    head = Info(row["rate"], row["channels"], size)
    recording = _recording(name, str(job.final / row["file_name"]), head)
    label = row["label"]
    custom = {
        "label": None if label is None else json.dumps(label, ensure_ascii=False),
        **{key: row.get(key) for key in ("split", "fold", "group", "licence", "snr_db", "mixer", "plan")},
    }
    custom = {key: value for key, value in custom.items() if value is not None}
    supervision = _supervision(name, name, 0.0, row["seconds"], row["channels"], row["caption"])
    return {**_cut(name, recording, 0.0, row["seconds"], [supervision]), "custom": custom}


def _recording(name: str, path: str, head: Info) -> dict[str, Any]:
    channels = list(range(head.channels))
    return {
        "id": name, "sources": [{"type": "file", "channels": channels, "source": path}],
        "sampling_rate": head.rate, "num_samples": head.frames, "duration": head.frames / head.rate,
        "channel_ids": channels,
    }  # fmt: skip


def _supervision(
    name: str, recording: str, start: float, seconds: float, channels: int, text: str | None, **custom: Any
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": name, "recording_id": recording, "start": start, "duration": seconds, "channel": _channel(channels),
    }  # fmt: skip
    found |= {"text": text} if text else {}
    custom = {key: value for key, value in custom.items() if value is not None}
    return found | ({"custom": custom} if custom else {})


def _channel(channels: int) -> int | list[int]:
    return 0 if channels == 1 else list(range(channels))


def _cut(
    name: str, recording: dict[str, Any], start: float, seconds: float, supervisions: list[dict[str, Any]]
) -> dict[str, Any]:
    channels = len(recording["channel_ids"])
    return {
        "id": name, "start": start, "duration": seconds, "channel": _channel(channels), "supervisions": supervisions,
        "recording": recording, "type": "MonoCut" if channels == 1 else "MultiCut",
    }  # fmt: skip


class _Tracks:
    """Makes mixed cuts of the sources of mixes."""

    def __init__(self, job: Export) -> None:
        self.job = job
        self.replayer: Replayer | None = None
        self.reason = ""
        try:
            self.replayer = Replayer(settings_from(job.output.settings, job.own))
        except ValueError as error:  # rooms, a mixer that is not here: the files can be written all the same
            self.reason = str(error)
        self._heads: dict[str, Info] = {}

    def mixed_cut(self, row: dict[str, Any], cut: dict[str, Any]) -> dict[str, Any]:
        """Return a mix as a sum of tracks.

        Raises
        ------
        NoTracks
            It is more than that.
        AudioError, ValueError
            A source is not there.
        """
        if self.replayer is None:
            raise NoTracks(self.reason)
        plan = read_plan(row)
        if plan is None or row.get("summed") is False:
            raise NoTracks("the mix is not the sum of its sources")
        if plan.window(0) != (0.0, 1.0) or self.replayer.settings.mixer.needs.length == "free":
            raise NoTracks("the mix has another length than its original")
        parts = [part for part in plan.parts(0) if part.gain]
        for part in parts:
            _check_plain(part)
        entries = [row["sources"][0], *sources_of(row)[1]]
        places = find_roots(entries, self.job.sources)
        pair = self.replayer.inputs(replay_task(0, row, places))[1]
        gain = 10 ** (float(row["limiter_gain_db"]) / 20)
        fitted = self.replayer.settings.mixer.needs.partner == "fitted"
        tracks = [self._track(k, part, row, entries, places, plan, pair, gain, fitted) for k, part in enumerate(parts)]
        tracks.sort(key=lambda track: track["offset"])
        size = round(row["seconds"] * row["rate"])
        ends = [track["offset"] + track["cut"]["duration"] for track in tracks]
        if max(ends) * row["rate"] < size - 0.5 or tracks[0]["offset"]:
            silence = {
                "id": f"{cut['id']}-silence", "duration": row["seconds"], "sampling_rate": row["rate"],
                "feat_value": -23.025850929940457, "num_samples": size,
            }  # fmt: skip
            tracks.insert(0, {"cut": silence, "type": "PaddingCut", "offset": 0.0})
        return {"id": cut["id"], "tracks": tracks, "type": "MixedCut"}

    def _track(
        self,
        number: int,
        part: Part,
        row: Mapping[str, Any],
        entries: list[dict[str, Any]],
        places: Mapping[str, str],
        plan: Plan,
        pair: Pair,
        gain: float,
        fitted: bool,
    ) -> dict[str, Any]:
        """Return what a part adds, as a track."""
        source = part.source + 1  # the original is -1
        entry = entries[source]
        path = os.path.abspath(item_of(entry, places.get(entry["id"])).path)
        head = self._head(path)
        if head.rate != pair.rate:
            raise NoTracks("a source is resampled")
        if head.channels != row["channels"]:
            raise NoTracks("channels are mixed down or repeated")
        own = pair.x.shape[-1]
        valid = own if pair.lengths is None else int(pair.lengths[0])
        axis = own
        if part.source != ORIGINAL:
            axis = own if part.fitted or fitted else pair.other.shape[-1]
            valid = pair.other.shape[-1] if pair.other_lengths is None else int(pair.other_lengths[part.source])
        first, last = (round(edge * axis) for edge in part.piece)
        start = round(part.start * own)
        kept = plan.mixed_lengths(pair.lengths, own)  # behind it a mix is silent
        end = own if kept is None else int(kept[0])
        stop = end if math.isinf(part.stop) else min(round(part.stop * own), end)
        size = min(last, valid) - first
        size = min(size, stop - start)
        begin = round(pair.offsets[source] * pair.rate) + round((item_of(entry).start or 0.0) * pair.rate) + first
        size = min(size, head.frames - begin)
        if size <= 0:
            raise NoTracks("a track without samples")
        recording = _recording(entry["id"], path, head)
        recording["transforms"] = [{"name": "Volume", "kwargs": {"factor": part.gain * gain}}]
        name = f"{row['file_name']}-{number}"
        seconds = size / pair.rate
        label = entry.get("label")
        supervision = _supervision(
            name, entry["id"], 0.0, seconds, head.channels, None, label=label, source=name_of_source(row, source, plan)
        )
        cut = _cut(name, recording, begin / pair.rate, seconds, [supervision])
        return {"cut": cut, "type": cut["type"], "offset": start / pair.rate}

    def _head(self, path: str) -> Info:
        if path not in self._heads:
            if len(self._heads) > 4096:
                self._heads.clear()
            self._heads[path] = io.info(path)
        return self._heads[path]


def name_of_source(row: Mapping[str, Any], source: int, plan: Plan) -> str:
    """Return what a source of the partners' batch is called.

    Parameters
    ----------
    row : mapping
        Of the manifest.
    source : int
        0 the original, then the rows of the partners' batch.
    plan : Plan
        Of the mix.
    """
    return name_of(row, [ORIGINAL, *plan.sources(0)].index(source - 1))


def _check_plain(part: Part) -> None:
    """Raise where a part is more than a piece of its source at a place and a gain."""
    for name, still in _PLAIN.items():
        value = getattr(part, name)
        if (value is not None) if still is None else value != still:
            raise NoTracks(f"it has {_WORDS[name]}")
