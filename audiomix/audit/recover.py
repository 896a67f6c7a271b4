"""Recover from a mix and its sources alone who sounds, where, how loud, and what no source explains."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from .. import check
from ..audio import level
from ..captions.audible import MIN_BANDS, audible_share
from ..captions.scene import active_span
from .envelope import envelopes
from .gains import Plateau, Windows, plateau, window_gains
from .locate import LSB, Aligned, align, place_at, place_source

__all__ = ["SEQUENCE", "SILENT", "TOGETHER", "TOO_SOFT", "Estimate", "Pairing", "Recovery", "measure_active", "recover",
           "relate"]  # fmt: skip

# Of the shorter active part, what two sounds that come one after the other may share at most, and two that sound
# together must share at least; between them the relation is ambiguous.
SEQUENCE, TOGETHER = 0.1, 0.5
# Window in which gains are fitted, in seconds.
_WINDOW_S = 0.02
# A source is found where windows with this share of the certainty agree on its gain within 2 %. Of a wrong source, or
# a wrong place, they hardly ever do (a few per cent).
_AGREE = 0.25
# And so many of them, 80 ms, or all that there are: two or three agree by chance.
_FEWEST = 4
# From here on the sources look so alike that only the sum of their gains is known.
_ALIKE = 1e6
# Window of `audiomix.audio.level.active`, in samples.
_ACTIVE = 512
SILENT, TOO_SOFT = "silent itself", "softer than a step of its file"
_SAME = "the same sound as source"
# Residual in dB from which it is worth looking between the samples, and what that must gain to be kept.
_BETWEEN_DB, _BETTER_DB = -40.0, 3.0
# Sources at given places are there where they leave less than this of the mix (a source that lies one sample elsewhere
# leaves more of all that is higher than 1e-3 / (2 pi) of the rate, 7 Hz at 44.1 kHz), and each has its one gain in most
# of its windows.
_THERE_DB, _MOSTLY = -60.0, 0.5
# A repeated copy has the gain of the first within this factor: 5 %.
_COPY = 0.05


@dataclass
class Estimate:
    """What is recovered of one source in a mix. Times are in seconds of the mix; None where nothing is known.

    Parameters
    ----------
    why : str
        Why it was not found: silent itself, or nothing of it in the mix; else empty.
    gain_db, gain_std_db : float
        Its gain and the standard deviation of that.
    inverted : bool
        Its polarity is turned.
    offset : int
        Where its first sample lies, in samples of the mix; negative where it starts before the mix.
    fraction : float
        What is left of the offset between samples.
    repeated : bool
        It starts anew where it ends.
    period : int
        Samples after which it does.
    covers, sounds, unsure : int
        Samples of the mix between its first and last sample there; those in which it is known to have more than half
        its gain; those in which nothing can be known, because it is silent itself or drowned.
    onset_s, offset_s : float
        From the first to the last active frame (`audiomix.audio.level.active`) of what it adds to the mix.
    windows : int
        Windows that agree on its gain.
    steady : float
        Share of the windows in which it has the one gain, of those in which it sounds.
    audible : float
        See `audiomix.captions.audible.audible_share`.
    clip_db, active_db : float
        Level of what it adds, over its samples in the mix and over its active part; dB of full scale.
    """

    why: str = ""
    gain_db: float | None = None
    gain_std_db: float | None = None
    inverted: bool = False
    offset: int | None = None
    fraction: float = 0.0
    repeated: bool = False
    period: int = 0
    covers: int = 0
    sounds: int = 0
    unsure: int = 0
    onset_s: float | None = None
    offset_s: float | None = None
    windows: int = 0
    steady: float | None = None
    audible: float = 0.0
    clip_db: float | None = None
    active_db: float | None = None


@dataclass
class Pairing:
    """Two sources: `first` and `second` by number, what share of the shorter active part overlaps, and what that is.

    `relation` is ``before``, ``after`` (the first number comes after the second), ``together`` or ``ambiguous``;
    `possible` are those that it may be too, for the edges of active parts are known to one window of 512 samples each.
    """

    first: int
    second: int
    overlap: float
    relation: str
    possible: tuple[str, ...] = ()


@dataclass
class Recovery:
    """What is known of a mix.

    Parameters
    ----------
    residual_db : float
        Energy of what no source explains over that of the mix, above the rounding to 16 bits; windows in which a source
        is being faded or cut are left out. -inf where nothing is left.
    condition : float
        Of the sources at their places; see `alike`.
    alike : bool
        Sources that cannot be told apart: only the sum of their gains is known.
    tracks : Tensor, shape (S, C, T)
        What each source adds to the mix.
    confirmed : bool
        Nothing was recovered: the mix is the sum that its manifest claims.
    """

    found: list[Estimate]
    pairs: list[Pairing]
    residual_db: float
    condition: float
    alike: bool
    seconds: float
    rate: int
    tracks: Tensor = field(repr=False)
    confirmed: bool = False

    def plain(self) -> dict[str, Any]:
        """Return all numbers as plain values."""
        own = {k: v for k, v in vars(self).items() if k not in ("found", "pairs", "tracks")}
        return own | {"sources": [vars(f) for f in self.found], "pairs": [vars(p) for p in self.pairs]}


def recover(
    mix: Tensor,
    sources: Sequence[Tensor],
    rate: int,
    *,
    min_bands: int = MIN_BANDS,
    places: Sequence[int] | None = None,
) -> Recovery:
    """Recover gains, offsets, levels, relations and audibility.

    Parameters
    ----------
    mix : Tensor, shape (C, T), floating point
        Samples of the mix.
    sources : sequence of Tensor, shape (C, L)
        At the rate and with the channels of the mix.
    rate : int
        In Hz.
    min_bands : int
        See `audiomix.captions.audible.audible_share`.
    places : sequence of int, optional
        Where each source may lie, in samples of the mix, negative where it starts before the mix: what is tried first.

    Returns
    -------
    Recovery

    Raises
    ------
    TypeError, ValueError
        No source; a source with other channels than the mix; another number of places than of sources.

    Notes
    -----
    Sources are looked for in all of the mix, by correlation, unless those at `places` leave less than -60 dB of it (the
    rounding to 16 bits not counted), each with one gain in most of its windows: then that is where they lie. Gains are
    fitted to the sound in either case.

    A source may be cropped, shifted by whole samples, faded, cut to spans, repeated, inverted. Where that leaves more
    than -40 dB of the mix, one constant delay between samples is tried too. Warped or filtered sources are not linear
    in this sense and stay in the residual.
    """
    _check(mix, sources)
    rate = check.rate("rate", rate)
    if places is not None and len(places) != len(sources):
        check.fail("places", f"{len(sources)}, one for each source", len(places))
    window = max(8, round(_WINDOW_S * rate))
    best = None if places is None else _fit_sources(mix, sources, rate, window, place_at(mix, sources, places))
    if best is None or not _is_confirmed(best):
        best = _fit_sources(mix, sources, rate, window, align(mix, sources, rate))
        for way in ("polish", "between"):
            if best.residual_db > _BETWEEN_DB:
                other = _fit_sources(mix, sources, rate, window, align(mix, sources, rate, **{way: True}))
                best = other if other.residual_db < best.residual_db - _BETTER_DB else best
    heard = audible_share(best.tracks, rate, min_bands=min_bands).tolist()
    for one, track, share in zip(best.found, best.tracks, heard):
        one.audible = share
        if not one.why:
            measure_active(one, track, rate)
    best.pairs = relate(best.found, rate)
    return best


def _check(mix: Tensor, sources: Sequence[Tensor]) -> None:
    check.floating("mix", check.batch("mix", mix))
    if not sources:
        check.fail("sources", "at least one", 0)
    for i, source in enumerate(sources):
        check.batch(f"sources[{i}]", source)
        if len(source) != len(mix):
            check.fail(f"sources[{i}]", f"of {len(mix)} channels, as the mix has", len(source))


def _is_confirmed(got: Recovery) -> bool:
    """Return whether the sound itself shows that all sources lie where they were put, and no others could."""
    there = all(one.why == SILENT or (not one.why and (one.steady or 0.0) >= _MOSTLY) for one in got.found)
    return there and not got.alike and got.residual_db <= _THERE_DB


def _fit_sources(mix: Tensor, sources: Sequence[Tensor], rate: int, window: int, aligned: Aligned) -> Recovery:
    tracks, offsets = aligned.tracks, list(aligned.offsets)
    windows = window_gains(mix, tracks, window)
    repeated = [_may_repeat(windows, offsets[i], source.shape[-1], mix.shape, window)
                and _repeat(mix, sources, tracks, offsets, i, window) for i, source in enumerate(sources)]  # fmt: skip
    if any(repeated):
        windows = window_gains(mix, tracks, window)
    levels = [plateau(windows.gains[:, i], windows.std[:, i]) for i in range(len(sources))]
    live = (windows.std < torch.inf).sum(0).tolist()
    there = [p.gain != 0 and p.agree >= _AGREE and p.number >= min(_FEWEST, n) for p, n in zip(levels, live)]
    if not all(there):  # what is not there explains nothing
        tracks = tracks * torch.tensor(there).to(tracks)[:, None, None]
        windows = window_gains(mix, tracks, window)
        levels = [plateau(windows.gains[:, i], windows.std[:, i]) if t else p
                  for i, (t, p) in enumerate(zip(there, levels))]  # fmt: skip
        there = [t and p.gain != 0 for t, p in zip(there, levels)]
    shapes, steady, known = envelopes(mix, tracks, windows, levels, window)
    condition = _condition(windows.gram.sum(0))
    found = []
    for i, source in enumerate(sources):
        if not there[i]:
            found.append(_explain_absence(sources, i))
            continue
        one = _estimate(levels[i], offsets[i], aligned.fractions[i])
        sounds = shapes[i] != 0
        end = mix.shape[-1] if repeated[i] else min(mix.shape[-1], offsets[i] + source.shape[-1])
        one.repeated, one.covers = repeated[i], max(0, end - max(0, offsets[i]))
        one.period = source.shape[-1] if repeated[i] else 0
        inside = slice(max(0, offsets[i]), end)
        sure = known[:, i].repeat_interleave(window)[: mix.shape[-1]][inside]
        full = shapes[i][inside].abs() > abs(levels[i].gain) / 2
        one.sounds, one.unsure = int((full & sure).sum()), int((~sure).sum())
        one.steady = _share(steady[:, i], sounds, window)
        found.append(one)
    residual = _residual(windows, steady, window * len(mix), there)
    whole = tracks * shapes[:, None].to(tracks)
    seconds = mix.shape[-1] / rate
    alike = condition > _ALIKE or any(one.why.startswith(_SAME) for one in found)
    return Recovery(found, [], residual, condition, alike, seconds, rate, whole)


def _may_repeat(windows: Windows, offset: int, own: int, shape: Sequence[int], window: int) -> bool:
    """Return whether anything is left of the mix (C, T) where a source of `own` samples at `offset` does not lie."""
    first, last = max(0, -(-offset // window)), max(0, min(shape[-1], offset + own) // window)
    if offset + own >= shape[-1]:
        last = len(windows.rest)
    outside = torch.ones(len(windows.rest), dtype=torch.bool)
    outside[first:last] = False  # windows in which it lies as a whole
    return float(windows.rest[outside].sum()) > 2 * int(outside.sum()) * window * shape[0] * LSB**2 / 12


def _repeat(mix: Tensor, sources: Sequence[Tensor], tracks: Tensor, offsets: list[int], i: int, window: int) -> bool:
    """Extend a source that is repeated where it ends, in `tracks` and `offsets`; say whether it is."""
    size, own = mix.shape[-1], sources[i].shape[-1]
    whole = offsets[i] <= 0 and offsets[i] + own >= size
    if whole or not bool(sources[i].any()):
        return False
    first = offsets[i] - -(-offsets[i] // own) * own  # the copy that covers the start of the mix
    every = sum(place_source(sources[i], at, size) for at in range(first, size, own))
    assert isinstance(every, Tensor)
    windows = window_gains(mix, torch.cat([tracks, (every - tracks[i])[None]]), window)
    single, copies = (plateau(windows.gains[:, k], windows.std[:, k]) for k in (i, -1))
    if copies.agree < 2 * _AGREE or abs(copies.gain - single.gain) > _COPY * abs(single.gain):
        return False
    tracks[i], offsets[i] = every, first
    return True


def _explain_absence(sources: Sequence[Tensor], i: int) -> Estimate:
    if not bool(sources[i].any()):
        return Estimate(SILENT)
    same = [j for j, other in enumerate(sources) if j != i and torch.equal(other, sources[i])]
    if same:
        return Estimate(f"{_SAME} {same[0] + 1}")
    return Estimate("not found in the mix")


def _estimate(level_: Plateau, offset: int, fraction: float) -> Estimate:
    relative = level_.std / abs(level_.gain)
    gain_db, std_db = _db(abs(level_.gain)), 8.686 * relative
    return Estimate("", gain_db, std_db, level_.gain < 0, offset, fraction, windows=level_.number)


def _share(steady: Tensor, sounds: Tensor, window: int) -> float:
    """Return the share of the windows in which a source sounds that have its one gain."""
    pad = torch.nn.functional.pad(sounds, (0, -len(sounds) % window)).view(-1, window).any(1)
    return float((steady & pad).sum() / pad.sum().clamp(min=1))


def _condition(gram: Tensor) -> float:
    """Return the condition number of the sources' correlation matrix, of their products (S, S); 1 for one source."""
    there = gram.diagonal() > 0
    gram = gram[there][:, there]
    if len(gram) < 2:
        return 1.0
    norm = gram.diagonal().sqrt()
    values = torch.linalg.eigvalsh(gram / norm[:, None] / norm)
    return float(values[-1] / values[0].clamp(min=1e-12))


def _residual(windows: Windows, steady: Tensor, size: int, there: list[bool]) -> float:
    """Return what is left over, in dB of the mix, in windows where the gains hold still (in all, if they never do)."""
    still = steady[:, there].all(1) if any(there) else torch.ones(len(windows.rest), dtype=torch.bool)
    still = still if float(windows.energy[still].sum()) > 0.1 * float(windows.energy.sum()) else ~(still & ~still)
    # two roundings: of the mix, or of its two stems
    rest = float(windows.rest[still].sum()) - 2 * int(still.sum()) * size * LSB**2 / 12
    energy = float(windows.energy[still].sum())
    return _db((max(rest, 0.0) / energy) ** 0.5) if energy > 0 and rest > 0 else float("-inf")


def measure_active(one: Estimate, track: Tensor, rate: int) -> None:
    """Fill in onset, offset and levels of what a source adds to the mix, (C, T); nothing where that is silence."""
    if not bool(track.any()):
        return
    span = active_span(track, rate)
    one.clip_db = _db(float(track.double().square().sum() / (len(track) * max(1, one.covers))) ** 0.5)
    if span is not None:
        one.onset_s, one.offset_s = span
        one.active_db = _db(float(level.rms(track[None], level.active(track[None]))))


def relate(found: list[Estimate], rate: int) -> list[Pairing]:
    """Return how the active parts of each two sources lie to each other."""
    pairs = []
    for (i, a), (j, b) in combinations(enumerate(found), 2):
        if a.onset_s is None or b.onset_s is None or a.offset_s is None or b.offset_s is None:
            continue
        shared = max(0.0, min(a.offset_s, b.offset_s) - max(a.onset_s, b.onset_s))
        shorter = min(a.offset_s - a.onset_s, b.offset_s - b.onset_s)
        overlap, slack = shared / shorter, 2 * _ACTIVE / rate / shorter
        order = "before" if a.onset_s < b.onset_s else "after"
        relation = "together" if overlap >= TOGETHER else "ambiguous"
        if overlap <= SEQUENCE:
            relation = order
        also = [order] * (overlap <= SEQUENCE + slack) + ["together"] * (overlap >= TOGETHER - slack)
        pairs.append(Pairing(i, j, overlap, relation, tuple(dict.fromkeys([relation, *also]))))
    return pairs


def _db(value: float) -> float:
    return float(level.db(torch.tensor(value, dtype=torch.float64)))
