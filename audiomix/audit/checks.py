"""Hold what was recovered from a mix against what is claimed of it."""

import math
from typing import Any

import torch

from ..audio import level
from ..audio.blend import area_share
from .captions import check_caption
from .claims import Claim, Claims
from .limits import Limits, Verdict
from .recover import SILENT, TOO_SOFT, Estimate, Recovery
from .rows import AuditRow

__all__ = ["CHECKS", "check_claim", "check_mix"]

# Every check: its unit, and what its number is.
CHECKS = {
    "residual": ("dB", "energy that no source explains, against that of the mix"),
    "found": ("", "1 for a source that is not in the mix"),
    "gain": ("dB", "error of a source's gain"),
    "snr": ("dB", "error of the SNR in the stated measure"),
    "offset": ("samples", "error of where a source lies"),
    "onset": ("samples", "error of the onset or offset of a source's active part"),
    "parts": ("dB", "energy that the sum of the claimed parts leaves, against that of the mix"),
    "label": ("", "error of the first source's share of the label"),
    "caption": ("", "1 for a caption that is not true of the sound"),
}
# Bound of the error of a level, in dB, where all of a source lies in fades.
_FADED_DB = 0.5
# Residual of a mix whose plan is not read: a soft piece of a source may be elsewhere than its loudest one.
_UNREAD_DB = -20.0
# A deviation counts as uncertain within so many standard deviations.
_SIGMAS = 3.0


def check_mix(row: AuditRow, got: Recovery, claims: Claims, limits: Limits) -> Verdict:
    """Return all checks of a mix.

    Parameters
    ----------
    row : AuditRow
        The mix and its sources.
    got : Recovery
        What was recovered from the sound.
    claims : Claims
        What the manifest and the caption say.
    limits : Limits
        How far the two may differ.
    """
    verdict = Verdict(notes=list(claims.notes))
    lossy = row.lossy
    limit = limits.of("residual", lossy)
    lost = [i for i, one in enumerate(got.found) if one.why]
    if claims.warped and (lost or got.residual_db > limit):
        how = "its parts alone are judged" if claims.exact and not row.lossy else "not judged"
        verdict.notes.append(f"{claims.warped}, which a sum of the sources as they are cannot equal: {how}")
        return verdict
    rest = max(got.residual_db, -200.0)
    if got.confirmed:
        why = claims.warped or "its sound alone leaves open how it was mixed"
        verdict.notes.append(f"{why}; it is the sum that the manifest claims")
        limit = math.inf
    limit = max(limit, _UNREAD_DB) if claims.unread else limit
    if claims.unread and lost:
        verdict.notes.append(f"{rest:.1f} dB of the mix is in none of the sources that were found: not judged")
    else:
        verdict.add("residual", rest, limit, f"{rest:.1f} dB of the mix is in none of its sources (limit {limit:g} dB)")
    _check_estimate(verdict, row, got, claims)
    if got.alike:
        verdict.notes.append("sources that sound alike: only the sum of their gains is known, levels are not judged")
    for one, claim, source in zip(got.found, claims.sources, row.sources):
        if not one.why:
            _check_source(verdict, source.name, one, claim, got, limits, lossy=lossy)
    if not got.alike and not lost:
        _check_snr(verdict, row, got, claims, limits)
        _check_label(verdict, row, got, claims, limits)
    if row.caption:
        check_caption(verdict, row, got, claims, limits)
    return verdict


def check_claim(verdict: Verdict, row: AuditRow, rest_db: float, claims: Claims, limits: Limits, *, true: bool) -> None:
    """Note whether the parts that the plan claims sum to a mix.

    Of compressed mixes, of sources that are stretched by an engine whose versions differ, and of pieces whose place
    hangs on the length of other sounds that is not judged.

    Parameters
    ----------
    verdict : Verdict
        What is added to.
    row : AuditRow
        The mix and its sources.
    rest_db : float
        What their sum leaves of the mix.
    claims : Claims
        What the manifest says.
    limits : Limits
        How far a mix may differ from its claim.
    true : bool
        They do, up to the rounding of a file.
    """
    if claims.exact and not row.lossy:
        wrong_gain = 20 * math.log10(max(1e-10, 10 ** (limits.level_db / 20) - 1))  # leaves so much of its source
        rest, limit = max(rest_db, -200.0), max(limits.residual_db, wrong_gain)
        limit = math.inf if true else limit
        verdict.add("parts", rest, limit, f"the claimed parts leave {rest:.1f} dB of the mix (limit {limit:g} dB)")


def _check_estimate(verdict: Verdict, row: AuditRow, got: Recovery, claims: Claims) -> None:
    for source, one, claim in zip(row.sources, got.found, claims.sources):
        if one.why == SILENT:
            verdict.notes.append(f"{source.name} is silent itself: nothing of it can be judged")
        elif got.alike and one.why:
            verdict.notes.append(f"{source.name}: {one.why}")
        elif one.why and claims.unread:
            verdict.notes.append(f"{source.name}: {one.why}, and its plan is not read: not judged")
        elif one.why == TOO_SOFT or (one.why and claim.gain_db == -math.inf):
            verdict.notes.append(f"{source.name} is softer than can be found, as is claimed: not judged")
        else:
            verdict.add("found", float(bool(one.why)), 0.5, f"{source.name}: {one.why}")


def _check_source(
    verdict: Verdict, name: str, one: Estimate, claim: Claim, got: Recovery, limits: Limits, *, lossy: bool
) -> None:
    known = not got.confirmed or _SIGMAS * (one.gain_std_db or 0.0) < limits.level_db
    if one.gain_db is not None and one.gain_std_db is not None and one.offset is not None and known:
        if claim.gain_db is not None and not got.alike:
            error = abs(one.gain_db - claim.gain_db)
            sentence = f"{name}: gain {one.gain_db:.2f} dB, {claim.gain_db:.2f} dB is claimed"
            verdict.add("gain", error, limits.of("gain", lossy) + _SIGMAS * one.gain_std_db, sentence)
        if one.inverted:
            verdict.notes.append(f"{name}: its polarity is turned")
        if claim.offset is not None:
            where = one.offset + one.fraction
            error = claim.distance_to(where, one.period)
            sentence = f"{name}: lies at sample {where:g}, {claim.offset:g} is claimed"
            verdict.add("offset", error, limits.offset_samples, sentence)
    for word, is_at, claimed in (("starts", one.onset_s, claim.onset_s), ("ends", one.offset_s, claim.offset_s)):
        if is_at is not None and claimed is not None:
            sentence = f"{name}: its active part {word} at {is_at:.3f} s, {claimed:.3f} s is claimed"
            verdict.add("onset", abs(is_at - claimed) * got.rate, limits.onset_samples, sentence)


def _check_snr(verdict: Verdict, row: AuditRow, got: Recovery, claims: Claims, limits: Limits) -> None:
    lossy = row.lossy
    for i, claim in enumerate(claims.sources):
        if claim.snr_db is None or not math.isfinite(claim.snr_db):
            continue
        own, theirs = (_level_db(got, k, claims) for k in (0, i))
        if own is None or theirs is None:
            verdict.notes.append(f"no SNR: {row.sources[i].name} or the first source has no level")
            continue
        both = [(got.found[k], got.tracks[k]) for k in (0, i)]
        unsure = sum(_SIGMAS * (one.gain_std_db or 0.0) + _fade_tolerance(one, track, claims) for one, track in both)
        sentence = (
            f"SNR over {row.sources[i].name} {own - theirs:.2f} dB ({claims.measure}), {claim.snr_db:.2f} dB is claimed"
        )
        verdict.add("snr", abs(own - theirs - claim.snr_db), limits.of("snr", lossy) + unsure, sentence)


def _fade_tolerance(one: Estimate, track: torch.Tensor, claims: Claims) -> float:
    """Return how uncertain the level of a faded source is, in dB: fades are known as straight lines only.

    The active level jumps where a frame in a fade is just active or just not: by as much as it does within 1 dB.
    """
    if one.steady is None or one.steady == 1:
        return 0.0
    jump = 0.0
    if claims.measure == "active" and one.active_db is not None:
        masks = (level.active(track[None], threshold_db=depth) for depth in (29.0, 31.0))
        jump = max(abs(float(level.db(level.rms(track[None], mask))) - one.active_db) for mask in masks)
    return _FADED_DB * (1 - one.steady) + jump


def _level_db(got: Recovery, i: int, claims: Claims) -> float | None:
    """Return the level of what a source adds to the mix, in the stated measure."""
    one, track = got.found[i], got.tracks[i]
    if claims.measure == "active":
        return one.active_db
    if claims.same_span or claims.measure == "lufs":
        start = max(0, got.found[0].offset or 0)
        track = track[:, start : start + got.found[0].covers]
        kind = "rms" if claims.measure == "rms" else claims.measure
        amplitude = float(level.level(track[None], kind, rate=got.rate))
        return 20 * math.log10(amplitude) if amplitude > 0 else None
    spans = claims.sources[i].spans
    length = sum(stop - start for start, stop in spans) if spans else one.covers
    return None if one.clip_db is None else one.clip_db + 10 * math.log10(max(1, one.covers) / max(1, length))


def _check_label(verdict: Verdict, row: AuditRow, got: Recovery, claims: Claims, limits: Limits) -> None:
    names = [source.entry.get("label") for source in row.sources]
    if claims.label is None or len(names) != 2 or names[0] == names[1] or not all(isinstance(n, str) for n in names):
        return
    share, lossy = _share(row, got, claims), row.lossy
    if share is None:
        return
    claimed = float(claims.label.get(str(names[0]), 0.0))
    low, high = share if isinstance(share, tuple) else (share, share)
    sentence = f"label: {low:.3f} to {high:.3f} of {names[0]} is heard, {claimed:.3f} is claimed"
    verdict.add("label", max(0.0, low - claimed, claimed - high), limits.of("label", lossy), sentence)


def _share(row: AuditRow, got: Recovery, claims: Claims) -> float | tuple[float, float] | None:
    """Return the first source's share of the label as the plan defines it, or bounds; None where none is known."""
    a, b = got.found
    if claims.share_of == "energy":
        return _energy_share(got, claims)
    if claims.share_of == "kept":
        return 1.0
    if claims.share_of == "area":
        return _share_bounds(a, b)
    gains = [10 ** (one.gain_db / 20) for one in (a, b) if one.gain_db is not None]
    if claims.share_of in ("amplitude", "power"):
        power = 2 if claims.share_of == "power" else 1
        ratio = gains[0] ** power / (gains[0] ** power + gains[1] ** power)
    elif claims.share_of == "a_weighted":
        levels = [_measure_level(track, one, got.rate) for track, one in zip(got.tracks, got.found)]
        ratio = levels[0] / max(1e-30, sum(levels))
    else:
        return None
    return _over_area(ratio, row, a, b)


def _measure_level(track: torch.Tensor, one: Estimate, rate: int) -> float:
    """Return the A-weighted level, as an amplitude, of what lies between a source's first and last sample."""
    start = max(0, one.offset or 0)
    return float(level.from_db(level.a_weighted_level(track[None, :, start : start + one.covers], rate)))


def _share_bounds(a: Estimate, b: Estimate) -> tuple[float, float]:
    """Return bounds of the share that is kept of a cut: where both are silent nobody can say who it was."""
    most = min(a.covers - a.sounds, b.sounds + b.unsure)
    least = max(b.sounds, a.covers - a.sounds - a.unsure)
    return tuple(sorted((1 - most / max(1, a.covers), 1 - least / max(1, a.covers))))  # type: ignore[return-value]


def _energy_share(got: Recovery, claims: Claims) -> float | None:
    own, theirs = (_level_db(got, k, claims) for k in (0, 1))
    return None if own is None or theirs is None else 1 / (1 + 10 ** ((theirs - own) / 10))


def _over_area(ratio: float, row: AuditRow, a: Estimate, b: Estimate) -> float | None:
    """Return the share over the valid area: behind a shorter partner the original goes on alone."""
    both = min(a.covers, b.covers)
    if both < a.covers or a.covers < b.covers:
        length: Any = row.settings.get("length")
        if length is None:
            return None  # whether silence counts as part of the shorter is not known
        if length == "longest":
            return ratio
    own, common = torch.tensor([float(a.covers)]), torch.tensor([float(both)])
    return float(area_share(torch.tensor([ratio]).double(), own.double(), common.double()))
