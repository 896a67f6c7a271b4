"""`audiomix verify`: whether the files of an output are what its tables say.

Checksums, durations, levels, labels and stems are checked, of the output alone. Whether a mix is what its plan says is
asked of its sources: `audiomix replay` makes one again, and `audiomix audit` recovers gains and places from the sound.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ...audio import io, level
from ...audio.io import AudioError, Clip
from ...audio.remote.urls import is_url, join, local_path
from ...datasets.remote import mirror_url
from ...datasets.walk import list_files
from ...plan import Plan
from ...terminal import Progress
from ..cache import Fingerprint, is_changed
from ..parallel import in_order, run_tasks
from ..stems import FULL
from .output import Output, read_output

__all__ = ["LEVEL_DB", "LOSSY_LEVEL_DB", "Fault", "Verified", "verify_output"]

# Largest difference of a level from that in the row, in dB: rows have two decimals. A codec that keeps no samples adds
# its noise to quiet sounds; peaks it moves by more, so they are not compared there.
LEVEL_DB, LOSSY_LEVEL_DB = 0.011, 3.0
# Largest sum of roundings of the shares of a label.
_SHARE = 1e-6
# Levels below this are not compared, in dB: a row says the least that 16 bits hold.
_SILENT = -90.0
_CHUNK, _AHEAD = 8, 512


@dataclass(frozen=True)
class Fault:
    """What is wrong with one mix: `file`, what was looked at (`what`), and a sentence (`reason`)."""

    file: str
    what: str
    reason: str


@dataclass(frozen=True)
class Verified:
    """What `verify_output` found: how many mixes there are, how long they sound, and what is wrong."""

    files: int
    seconds: float
    faults: tuple[Fault, ...] = ()
    wrong: int = field(default=0)


def verify_output(out: str | Path, *, workers: int = 1, progress: bool = True) -> Verified:
    """Hold the files of an output against its tables and its journal.

    Of each mix: its files are there and have the checksums of the journal; duration, rate, channels, RMS and peak level
    are those of its row; the shares of its label are in [0, 1], sum to 1 where its sources have one class each, and are
    those of its plan where labels are mixed linearly; its stems sum to it, sample by sample (0 of 32768 steps apart).
    Sounds that no row lists are faults too.

    Parameters
    ----------
    out : path
        Folder that `audiomix augment` or `audiomix render` wrote; it may be a URL.
    workers : int
        Processes.
    progress : bool
        Show progress.

    Raises
    ------
    ValueError
        `out` is no output of `audiomix augment`; a URL that cannot be read.
    """
    out = local_path(out)
    if not (isinstance(out, str) and is_url(out)):
        return _verify(read_output(out), str(out), workers, progress)
    with mirror_url(out, "out") as mirror:
        return _verify(read_output(mirror.path), mirror.url, workers, progress)


def _verify(output: Output, sounds: str, workers: int, progress: bool) -> Verified:
    """Check an output whose files are below `sounds`, a folder or a URL."""
    faults: list[Fault] = []
    count, seconds, listed = 0, 0.0, set[str]()
    tasks = ((row, output.states.get(row["file_name"], {}).get("files")) for row in output.rows())
    results = run_tasks(
        partial(_Checker, sounds, output.settings), (), tasks, workers=workers, chunk=_CHUNK, ahead=_AHEAD,
        name=lambda task: task[0]["file_name"],
    )  # fmt: skip
    with closing(in_order(results)) as ordered, Progress(shown=progress) as bar:
        for result in bar.track(ordered, output.count, description="verify", unit="mixes"):
            row = result.task[0]
            count, seconds = count + 1, seconds + float(row["seconds"] or 0.0)
            listed.update([row["file_name"], *row["stems"]])
            faults += result.get()
    faults += _find_others(output, listed)
    return Verified(count, seconds, tuple(faults), len({fault.file for fault in faults}))


class _Checker:
    """Checks one mix after another."""

    def __init__(self, out: str, settings: Mapping[str, Any]) -> None:
        self.out, self.lossy = out, settings.get("format") == "ogg"

    def __call__(self, task: tuple[dict[str, Any], dict[str, Fingerprint] | None]) -> list[Fault]:
        """Return what is wrong with a mix."""
        row, files = task
        name = row["file_name"]
        faults = [Fault(name, "label", reason) for reason in _check_label(row)]
        faults += [Fault(name, "checksum", reason) for reason in self._check_files(row, files)]
        try:
            mix = io.read(self._place(name))
            stems = [io.read(self._place(stem)) for stem in row["stems"]]
        except AudioError as error:
            return [*faults, Fault(name, "file", str(error))]
        faults += [Fault(name, "duration", reason) for reason in _check_form(row, mix)]
        faults += [Fault(name, "level", reason) for reason in self._check_levels(row, mix)]
        return [*faults, *(Fault(name, "stems", reason) for reason in _check_stems(mix, stems))]

    def _place(self, name: str) -> str:
        return join(self.out, name) if is_url(self.out) else os.path.join(self.out, name)

    def _check_files(self, row: Mapping[str, Any], files: dict[str, Fingerprint] | None) -> Iterator[str]:
        if not files:
            yield "the journal has no checksum of it"
            return
        for name in (row["file_name"], *row["stems"]):
            before = files.get(name)
            if before is None:
                yield f"the journal has no checksum of {name}"
            elif not is_changed(self._place(name), None):  # where there is a file it is another than none
                yield f"{name} is not there"
            # a time that nobody wrote is never the file's: its contents are hashed
            elif is_changed(self._place(name), [before[0], -1, before[2]]):
                yield f"{name} has another checksum or size than when it was written"

    def _check_levels(self, row: Mapping[str, Any], mix: Clip) -> Iterator[str]:
        sound, bound = mix.samples[None], LOSSY_LEVEL_DB if self.lossy else LEVEL_DB
        measured_levels = [("rms_db", level.rms(sound)), *([] if self.lossy else [("peak_db", level.peak(sound))])]
        for key, value in measured_levels:
            measured, stated = float(level.db(value)), row.get(key)
            stated = -math.inf if stated is None else float(stated)
            if max(measured, stated) > _SILENT and not abs(measured - stated) <= bound:
                yield f"{key} is {measured:.2f}, and {stated:.2f} in its row"


def _check_form(row: Mapping[str, Any], mix: Clip) -> Iterator[str]:
    size = round(row["seconds"] * row["rate"])
    if mix.rate != row["rate"]:
        yield f"its rate is {mix.rate} Hz, and {row['rate']} in its row"
    if len(mix.samples) != row["channels"]:
        yield f"it has {len(mix.samples)} channels, and {row['channels']} in its row"
    if mix.samples.shape[-1] != size:
        yield f"it has {mix.samples.shape[-1]} samples, and {size} by its row ({row['seconds']:g} s)"


def _check_stems(mix: Clip, stems: list[Clip]) -> Iterator[str]:
    """Yield what is wrong with stems: they are whole numbers of 16 bits, and their sum is the mix, without rounding."""
    if not stems:
        return
    if len({(tuple(one.samples.shape), one.rate) for one in (mix, *stems)}) > 1:
        yield "mix and stems differ in length, channels or rate"
        return
    total = torch.stack([stem.samples.double() for stem in stems]).sum(0)
    apart = (total - mix.samples.double()).abs().max() * FULL
    if apart > 0:
        yield f"its stems sum to something else: up to {float(apart):.0f} of {FULL} steps apart"


def _check_label(row: Mapping[str, Any]) -> Iterator[str]:
    label = row["label"]
    if label is None:
        return
    outside = {name: share for name, share in label.items() if not 0 <= share <= 1 + _SHARE}
    if outside:
        yield f"shares outside of [0, 1]: {outside}"
    sources = [source.get("label") for source in row["sources"]]
    if not all(isinstance(one, str) and not one.startswith("{") for one in sources):
        return
    if strange := sorted(set(label) - set(sources)):
        yield f"the class {strange[0]!r} is in none of its sources"
    expected = _expected_label(row, sources)
    for name in sorted({*label, *expected}) if expected else ():
        share, right = label.get(name, 0.0), expected.get(name, 0.0)
        if not abs(share - right) <= _SHARE:
            yield f"{name} has a share of {share:.6f}, and {right:.6f} by its plan"


def _expected_label(row: Mapping[str, Any], sources: list[str]) -> dict[str, float]:
    """Return the label by the plan; empty where it cannot be told: another rule than linear, a kept label."""
    options = json.loads(row["options"])
    if options.get("rule") != "linear":
        return {}
    try:
        plan = Plan.from_json(row["plan"])
    except ValueError:  # of a mixer that is not here
        return {}
    partners, shares = plan.label_shares()
    place = {number: k + 1 for k, number in enumerate(plan.sources(0))}
    found: dict[str, float] = {sources[0]: float(shares[0, 0])}
    for number, share in zip(partners[0].tolist(), shares[0, 1:].tolist()):
        if share and number in place and place[number] < len(sources):
            name = sources[place[number]]
            found[name] = found.get(name, 0.0) + share
    if abs(sum(found.values()) - 1) > _SHARE:
        return {}
    return found


def _find_others(output: Output, listed: set[str]) -> Iterator[Fault]:
    for name in list_files(output.path):
        if name.replace(os.sep, "/") not in listed:
            yield Fault(name, "table", "no row lists it")
