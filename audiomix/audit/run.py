"""Audit a mixed data set: recover from its sound how it was mixed, and hold that against what is said of it."""

import json
import math
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from .. import check
from ..audio import io
from ..audio.io import AudioError
from ..captions.audible import MIN_BANDS, MIN_SHARE
from ..offline.cache import Sources, enough_memory
from ..offline.parallel import in_order, run_tasks
from ..offline.progress import bar
from .checks import CHECKS, check_mix
from .claims import Claim, Claims, claims_of
from .limits import Limits
from .locate import LSB, placed
from .recover import Found, Recovered, recover
from .rows import AuditRow, read_rows

__all__ = ["AuditItem", "AuditReport", "audit"]


@dataclass
class AuditItem:
    """What is known of one mix.

    Parameters
    ----------
    file : str
    reason : str
        Why it could not be judged: a file that is missing or cannot be read; else empty.
    numbers : dict
        Of each check, its numbers (one a source, where it is about sources).
    failures : list of (str, str)
        Check, and what is wrong in a sentence.
    notes : list of str
        What is worth knowing and no failure.
    recovered : dict
        All that was recovered; see `audiomix.audit.recover.Recovered`.
    badness : float
        What the worst are sorted by.
    """

    file: str
    reason: str = ""
    numbers: dict[str, list[float]] = field(default_factory=dict)
    failures: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    recovered: dict[str, Any] = field(default_factory=dict)
    badness: float = 0.0

    @property
    def seconds(self) -> float:
        """How long it sounds; 0 where it was not read."""
        return float(self.recovered.get("seconds", 0.0))

    def to_json(self) -> str:
        """Return one line of strict JSON: infinite numbers are null."""
        shown = {k: v for k, v in vars(self).items() if k != "badness"}
        return json.dumps(_strict(shown), ensure_ascii=False, allow_nan=False)


@dataclass(frozen=True)
class AuditReport:
    """What an audit found: its items in the order of the table, and the limits."""

    items: tuple[AuditItem, ...]
    limits: Limits

    @property
    def wrong(self) -> tuple[AuditItem, ...]:
        """Items that fail a check, and files that could not be judged; the worst first."""
        found = [item for item in self.items if item.failures or item.reason]
        return tuple(sorted(found, key=lambda item: (-item.badness, item.file)))

    @property
    def exit_code(self) -> int:
        """0, or 1 where something is wrong."""
        return 1 if self.wrong else 0

    def numbers(self, name: str) -> list[float]:
        """Return all numbers of a check."""
        check.choice("name", name, CHECKS)
        return [number for item in self.items for number in item.numbers.get(name, [])]

    def failed(self, name: str) -> int:
        """Return how many items fail a check."""
        return sum(any(one == name for one, _ in item.failures) for item in self.items)


def audit(
    out: str | Path,
    sources: str | Path | None = None,
    *,
    level_db: float = Limits.level_db,
    offset_samples: float = Limits.offset_samples,
    onset_samples: float = Limits.onset_samples,
    residual_db: float = Limits.residual_db,
    lossy_residual_db: float = Limits.lossy_residual_db,
    lossy_level_db: float = Limits.lossy_level_db,
    label_share: float = Limits.label,
    min_bands: int = MIN_BANDS,
    min_share: float = MIN_SHARE,
    measure: Literal["rms", "active", "lufs"] = "rms",
    templates: str | Path | None = None,
    workers: int = 1,
    progress: bool = True,
) -> AuditReport:
    """Recover gains, offsets, levels, order and audibility from mixes and their sources, and check what is claimed.

    The plan is not used to recover anything: every source is found by correlation, its gain by least squares, and only
    then held against the manifest and the caption. The one exception is a source that is not found, or elsewhere than
    claimed: it is tried where the manifest says that it lies, that counts if it explains more, and a note says so.

    Parameters
    ----------
    out
        A folder that audiomix augment wrote; or a CSV, TSV or JSONL table with the columns mix and sources (a list, or
        separated by ;), and if known caption, captions, snr_db, gain_db, offset_s.
    sources
        Folder that the sources are relative to. By default what the run's journal says, then the folder of the table.
    level_db
        Largest error of a gain or an SNR in dB. 16 bit mixes are recovered to better than 0.001 dB.
    offset_samples
        Largest error of where a source lies, in samples.
    onset_samples
        Largest error of the onset or offset of an active part, in samples: two windows of 512 in which it is measured.
    residual_db
        How much of a mix may be in none of its sources, in dB: -40 dB is 1 % of the amplitude.
    lossy_residual_db
        The same for compressed mixes, whose codec adds noise.
    lossy_level_db
        Largest error of a gain in a compressed mix; of an SNR, twice that.
    label_share
        Largest error of the share of the label.
    min_bands
        A source is heard where it dominates so many of 64 mel bands,
    min_share
        in such a share of its active frames.
    measure
        Of the SNR in a table that is not ours: rms over each clip, active, or lufs.
    templates
        Words that tell relations in another language; see `audiomix.captions.templates.Templates`. By default those
        that the manifest names, else English.
    workers
        Processes. Results do not depend on it.
    progress
        Show a progress bar.

    Returns
    -------
    AuditReport
        One item a mix. A file that is missing or broken is listed with its reason, and the others are done.

    Raises
    ------
    TypeError, ValueError
        A wrong argument; nothing to audit; not one of the sources is found.
    RunStopped
        A worker was killed.
    """
    limits = Limits(
        check.number("level_db", level_db, 0),
        check.number("offset_samples", offset_samples, 0),
        check.number("onset_samples", onset_samples, 0),
        check.number("residual_db", residual_db, -200, 0, slip="in dB of the mix, below 0"),
        check.number("lossy_residual_db", lossy_residual_db, -200, 0, slip="in dB of the mix, below 0"),
        check.number("lossy_level_db", lossy_level_db, 0),
        check.fraction("label_share", label_share),
        check.integer("min_bands", min_bands, 1),
        check.fraction("min_share", min_share),
        None if templates is None else str(templates),
    )
    check.choice("measure", measure, ["rms", "active", "lufs"])
    check.integer("workers", workers, 1)
    rows = read_rows(out, sources)
    items = []
    # a few at a time: mixes that follow one another share sources
    work = _item, limits, measure
    results = in_order(run_tasks(partial, work, rows, workers=workers, chunk=4, ahead=64, name=lambda row: row.name))
    with closing(results), bar(len(rows), 0, 0.0, progress, "auditing") as advance:
        for result in results:
            items.append(result.get())
            advance(items[-1].seconds)
    return AuditReport(tuple(items), limits)


def _item(limits: Limits, measure: str, row: AuditRow) -> AuditItem:
    """Audit one mix; what cannot be read is said."""
    item = AuditItem(row.name)
    try:
        with enough_memory(row.path, " to audit it"):
            mix, sounds = _read(row)
            claims = claims_of(row, mix.rate, mix.samples.shape[-1], [sound.shape[-1] for sound in sounds], measure)
            got = recover(mix.samples, sounds, mix.rate, min_bands=limits.min_bands)
            got = _second_look(mix, sounds, got, claims, row, limits)
            _forgive(mix, sounds, got, claims)
            verdict = check_mix(row, got, claims, limits)
    except (AudioError, ValueError) as error:
        item.reason, item.badness = str(error), math.inf
        return item
    item.recovered = got.plain()
    for source, one in zip(row.sources, item.recovered["sources"]):
        one["file"] = source.name
    item.numbers, item.failures, item.notes = verdict.numbers, verdict.failures, verdict.notes
    item.badness = verdict.badness
    return item


def _read(row: AuditRow) -> tuple[io.Clip, list[Tensor]]:
    """Read a mix, and its sources as the mix has them: its rate, its channels."""
    if not row.sources:
        raise AudioError(f"{row.path}: no sources are named for it")
    for source in row.sources:
        if source.path is None:
            raise AudioError(f"{source.name}: no such file at {', '.join(source.looked) or 'any place'}")
    mix = io.read(row.path)
    reader = _reader(mix.rate)
    return mix, [_channels(reader.read(str(source.path)).samples, len(mix.samples)) for source in row.sources]


# Windows (20 ms) in which a source must be louder than one step of 16 bits to be found for sure: the four that are
# asked for, and two that its edges may take.
_FEWEST = 6
# A source in fewer windows is taken for found where its gain is the claimed one within this, in dB.
_CONFIRMED_DB = 1.0
# The place that is claimed must explain so much more than the one that was found, in dB of the residual.
_BETTER_DB = 3.0
_READERS: dict[int, Sources] = {}


def _reader(rate: int) -> Sources:
    """Return this process's cache of sources at one rate: mixes of a run share them."""
    if rate not in _READERS:
        _READERS.clear()  # one rate at a time bounds the memory
        _READERS[rate] = Sources(rate)
    return _READERS[rate]


def _channels(samples: Tensor, channels: int) -> Tensor:
    """Fit channels as `audiomix augment` does: mono is repeated, everything else goes through the mean."""
    if len(samples) not in (1, channels):
        samples = io.fit_channels(samples, 1)
    return io.fit_channels(samples, channels)


def _second_look(
    mix: io.Clip, sounds: list[Tensor], got: Recovered, claims: Claims, row: AuditRow, limits: Limits
) -> Recovered:
    """Look for sources that were not found, or elsewhere, where the manifest says that they lie."""
    doubtful = [
        i for i, one in enumerate(got.found) if bool(sounds[i].any()) and _doubtful(one, claims.sources[i], limits)
    ]
    hints = {i: round(at) for i in doubtful if (at := claims.sources[i].offset) is not None}
    if not hints or claims.warped:
        return got
    again = recover(mix.samples, sounds, mix.rate, min_bands=limits.min_bands, hints=hints)
    better = [i for i in hints if _confirmed(again.found[i], claims.sources[i])]
    lost = any(one.why and not got.found[i].why for i, one in enumerate(again.found))
    explains = again.residual_db < got.residual_db - _BETTER_DB or all(got.found[i].why for i in hints)
    if not better or lost or not explains:
        return got
    names = ", ".join(row.sources[i].name for i in better)
    claims.notes.append(f"{names}: found only by looking where the manifest says it lies")
    return again


def _doubtful(one: Found, claim: Claim, limits: Limits) -> bool:
    """Whether a source was not found, or elsewhere than claimed."""
    if one.why or one.offset is None or claim.offset is None:
        return bool(one.why)
    return claim.misplaced(one.offset + one.fraction, one.period) > limits.offset_samples


def _confirmed(one: Found, claim: Claim) -> bool:
    """Whether a source is where it was claimed: in windows enough, or with the gain that is claimed."""
    if one.why or one.gain_db is None:
        return False
    return one.windows >= _FEWEST or (claim.gain_db is not None and abs(one.gain_db - claim.gain_db) < _CONFIRMED_DB)


def _forgive(mix: io.Clip, sounds: list[Tensor], got: Recovered, claims: Claims) -> None:
    """Note which sources that were not found could not be: what is claimed of them drowns in the rounding."""
    for sound, one, claim in zip(sounds, got.found, claims.sources):
        if not one.why or claim.gain_db is None or claim.offset is None:
            continue
        track = placed(sound, round(claim.offset), mix.samples.shape[-1]).double() * 10 ** (claim.gain_db / 20)
        spans = claim.spans if claim.spans is not None else [(0, track.shape[-1])]
        power = torch.cat([track[:, start:stop].square().sum(0) for start, stop in spans])
        size = max(1, round(0.02 * mix.rate))
        energy = torch.nn.functional.pad(power, (0, -len(power) % size)).view(-1, size).sum(1)
        own = float(mix.samples.double().square().sum())
        one.claimed_db = 10 * math.log10(max(float(power.sum()), 1e-30) / own) if own else -400.0
        one.too_soft = int((energy > size * LSB**2).sum()) < _FEWEST


def _strict(value: Any) -> Any:
    """Return plain values that strict JSON can hold."""
    if isinstance(value, dict):
        return {str(k): _strict(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
