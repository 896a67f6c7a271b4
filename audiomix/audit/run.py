"""Audit a mixed data set: recover from its sound how it was mixed, and hold that against what is said of it."""

import json
import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from .. import check, mixers
from ..audio import io
from ..audio.io import AudioError
from ..captions.audible import MIN_BANDS, MIN_SHARE
from ..mixer import Mixer
from ..offline.cache import MARGIN_S, Sources, enough_memory
from ..offline.parallel import in_order, run_tasks
from ..offline.progress import bar
from .checks import CHECKS, check_claim, check_mix
from .claims import claims_of
from .confirm import explains, recover_claims, render_claims
from .limits import Limits
from .recover import recover
from .rows import AuditRow, read_rows

__all__ = ["AuditItem", "AuditReport", "audit", "read_sounds"]

MixerName = str | type[Mixer]


@dataclass
class AuditItem:
    """What is known of one mix.

    Parameters
    ----------
    file : str
        Name of the mix, as the table has it.
    reason : str
        Why it could not be judged: a file that is missing or cannot be read; else empty.
    numbers : dict
        Of each check, its numbers (one a source, where it is about sources).
    failures : list of (str, str)
        Check, and what is wrong in a sentence.
    notes : list of str
        What is worth knowing and no failure.
    recovered : dict
        All that was recovered; see `audiomix.audit.recover.Recovery`.
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

    def count_failures(self, name: str) -> int:
        """Return how many items fail a check."""
        return sum(any(one == name for one, _ in item.failures) for item in self.items)


def audit(
    out: str | Path,
    sources: str | Path | Sequence[str | Path] | None = None,
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
    mixer: MixerName | Sequence[MixerName] | None = None,
    workers: int = 1,
    progress: bool = True,
) -> AuditReport:
    """Recover gains, offsets, levels, order and audibility from mixes and their sources, and check what is claimed.

    Gains are fitted to the sound by least squares. The plan only says where to look for a source first: where all
    sources at their claimed places leave less than -60 dB of a mix, they lie there; else each is found by correlation
    with all of the mix, as if nothing was claimed. Only then is what was found compared with the manifest and the
    caption. A mix that would be wrong so is compared with the sum of its sources that the manifest claims. Where it is
    that sum up to its rounding, the sound alone could not tell (tones, equal clips, a piece of a few steps of 16 bits):
    it is judged by the claimed parts instead, and a note says so.

    Parameters
    ----------
    out
        A folder that audiomix augment wrote; or a CSV, TSV or JSONL table with the columns mix and sources (a list, or
        separated by ;), and if known caption, captions, snr_db, gain_db, offset_s.
    sources
        Folder, or folders, that the sources are relative to. By default the one that the manifest names for each
        source, then the folder of the table.
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
    mixer
        Mixers of your own that made the mixes, as ``mine.py:RollMix`` or as classes: their plans are read by their
        code. That of installed packages is found by itself. A path that a manifest names is never imported.
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
    named = [mixer] if isinstance(mixer, (str, type)) else mixer or []
    kinds = tuple(mixers.read(one).member if isinstance(one, str) else one for one in named)
    rows = read_rows(out, sources)
    items = []
    # a few at a time: mixes that follow one another share sources
    work = _item, limits, measure, kinds  # a worker that unpickles the classes imports their files
    results = in_order(run_tasks(partial, work, rows, workers=workers, chunk=4, ahead=64, name=lambda row: row.name))
    with closing(results), bar(len(rows), 0, 0.0, progress, "auditing") as advance:
        for result in results:
            items.append(result.get())
            advance(items[-1].seconds)
    return AuditReport(tuple(items), limits)


def _item(limits: Limits, measure: str, kinds: tuple[type[Mixer], ...], row: AuditRow) -> AuditItem:
    """Audit one mix; what cannot be read is said."""
    item = AuditItem(row.name)
    try:
        with enough_memory(row.path, " to audit it"):
            row, mix, sounds = read_sounds(row)
            claims = claims_of(row, mix.rate, mix.samples.shape[-1], [sound.shape[-1] for sound in sounds], measure)
            got = recover(mix.samples, sounds, mix.rate, min_bands=limits.min_bands, places=claims.places)
            verdict = check_mix(row, got, claims, limits)
            tracks = render_claims(row, claims, sounds, mix.samples.shape[-1], mix.rate)
            if tracks is not None:
                roundings = len(row.row.get("stems") or [0])
                true, rest_db = explains(mix.samples, tracks, roundings, lossy=row.lossy)
                if true and (verdict.failures or claims.warped):  # the sound alone leaves it open
                    got = recover_claims(tracks, rest_db, mix, sounds, claims, min_bands=limits.min_bands)
                    verdict = check_mix(row, got, claims, limits)
                check_claim(verdict, row, rest_db, claims, limits, true=true)
    except (AudioError, ValueError) as error:
        item.reason, item.badness = str(error), math.inf
        return item
    item.recovered = got.plain()
    for source, one in zip(row.sources, item.recovered["sources"]):
        one["file"] = source.name
    item.numbers, item.failures, item.notes = verdict.numbers, verdict.failures, verdict.notes
    item.badness = verdict.badness
    return item


def read_sounds(row: AuditRow) -> tuple[AuditRow, io.Clip, list[Tensor]]:
    """Read a mix, and its sources as the mix has them: its rate, its channels.

    Of a source of which only a piece was read, such as a noise of an hour, that piece is the source from here on.

    Parameters
    ----------
    row : AuditRow
        What is said of the mix.

    Returns
    -------
    row : AuditRow
        The same, with pieces as its sources.
    mix : Clip
        The mix.
    sounds : list of Tensor, shape (C, L)
        Its sources.

    Raises
    ------
    AudioError
        A file is missing or cannot be read; no sources are named.
    """
    if not row.sources:
        raise AudioError(f"{row.path}: no sources are named for it")
    for source in row.sources:
        if source.path is None:
            raise AudioError(f"{source.name}: no such file at {', '.join(source.looked) or 'any place'}")
    mix = io.read(row.path)
    scale = row.sources[0].entry.get("float_scale")
    reader = _reader(mix.rate, scale)
    sources, sounds = [], []
    for source in row.sources:
        start, read_s = (source.entry.get(name) for name in ("offset_s", "read_s"))
        if isinstance(start, float) and isinstance(read_s, float):
            seconds = read_s + MARGIN_S
            clip = io.read(str(source.path), rate=mix.rate, start=start, seconds=seconds, float_scale=scale)
            samples = io.fit_length(clip.samples, round(read_s * mix.rate))
            source = replace(source, entry={**source.entry, "offset_s": 0.0})
        else:
            place = source.entry.get("start_s") or 0.0, source.entry.get("seconds")
            samples = reader.read(str(source.path), *place).samples
        sources.append(source)
        sounds.append(_channels(samples, len(mix.samples)))
    return replace(row, sources=tuple(sources)), mix, sounds


_READERS: dict[tuple[int, float | None], Sources] = {}


def _reader(rate: int, float_scale: float | None) -> Sources:
    """Return this process's cache of sources at one rate: mixes of a run share them."""
    if (rate, float_scale) not in _READERS:
        _READERS.clear()  # one rate at a time bounds the memory
        _READERS[rate, float_scale] = Sources(rate, float_scale=float_scale)
    return _READERS[rate, float_scale]


def _channels(samples: Tensor, channels: int) -> Tensor:
    """Fit channels as `audiomix augment` does: mono is repeated, everything else goes through the mean."""
    if len(samples) not in (1, channels):
        samples = io.fit_channels(samples, 1)
    return io.fit_channels(samples, channels)


def _strict(value: Any) -> Any:
    """Return plain values that strict JSON can hold."""
    if isinstance(value, dict):
        return {str(k): _strict(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
