"""Whether a mix is the sum that its manifest claims: where the sound alone leaves open who is who, this decides.

Two sources that sound alike, a tone, a piece of some steps of 16 bits: many mixtures of the sources are the same sound
then, and recovery may find another one than the one that was made. A mix that equals the claimed one up to its rounding
is no wrong one.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..audio.io import Clip
from ..captions.audible import audible_share
from ..clips import fit_length
from ..parts import stems
from ..plan import ORIGINAL
from .claims import Claims
from .limits import Limits
from .locate import LSB, placed
from .recover import SILENT, TOO_SOFT, Found, Recovered, measure_active, relate
from .rows import AuditRow

__all__ = ["claimed_tracks", "confirmed", "explains"]

# What is left of a right mix is its rounding, once for each file: this many times as much is still rounding.
_ROUNDINGS = 1.5
# A wrong gain of 0.1 dB, the limit of a level, leaves so much of its source.
_LEFT_DB = -39.0
# Codec noise is no white noise: gains are so many times less certain than those in white noise.
_COLOUR = 4.0
# And it is less than half of the mix.
_CODEC_DB = -3.0


def claimed_tracks(row: AuditRow, claims: Claims, sounds: Sequence[Tensor], size: int, rate: int) -> Tensor | None:
    """Return what each source adds to a mix as is claimed, (S, C, T); None where too little is claimed.

    Parameters
    ----------
    row : AuditRow
    claims : Claims
    sounds : sequence of Tensor, shape (C, L)
        The sources at the rate and with the channels of the mix.
    size : int
        Samples of the mix.
    rate : int
        In Hz.
    """
    plan = claims.plan
    if plan is None:
        known = all(one.gain_db is not None and one.offset is not None for one in claims.sources)
        return torch.stack([placed(x, round(one.offset or 0.0), size) * 10 ** ((one.gain_db or 0.0) / 20)
                            for x, one in zip(sounds, claims.sources)]) if known else None  # fmt: skip
    order = [ORIGINAL, *plan.sources(0)]
    if len(order) != len(sounds):
        return None
    pieces = [x[:, round(float(s.entry.get("offset_s") or 0.0) * rate) :] for x, s in zip(sounds, row.sources)]
    first, last = plan.window(0)
    axis = size if plan.axis_seconds is None else round(plan.axis_seconds * rate)
    if plan.axis_seconds is None and (first, last) != (0.0, 1.0):  # cut from a longer axis: that of the original
        axis = pieces[0].shape[-1]
    own = fit_length(pieces[0], axis)
    lengths = torch.ones(max(order) + 1, dtype=torch.int64)
    source = own.new_zeros(len(lengths), len(own), max((x.shape[-1] for x in pieces[1:]), default=1))
    for j, piece in zip(order[1:], pieces[1:]):
        lengths[j] = piece.shape[-1]
        source[j, :, : piece.shape[-1]] = piece
    found = stems(plan, 0, own, source, valid=lengths)
    silence = own.new_zeros(len(own), size)
    tracks = torch.stack([fit_length(found[j], size) if j in found else silence for j in order])
    return tracks * 10 ** (claims.limiter_db / 20)


def explains(mix: Tensor, tracks: Tensor, roundings: int, *, lossy: bool) -> float | None:
    """Return what is left of a mix in dB where what is claimed of the sources sums to it, else None.

    Parameters
    ----------
    mix : Tensor, shape (C, T)
    tracks : Tensor, shape (S, C, T)
    roundings : int
        How often samples were rounded: once, or once a stem.
    lossy : bool
        The mix was compressed: each source that can be told from the others has its gain up to the limit, and noise is
        less than half of the mix.
    """
    mix, columns = mix.double().flatten(), tracks.double().flatten(1)
    energy, energies = float(mix.square().sum()), columns.square().sum(1)
    columns, energies = columns[energies > 0], energies[energies > 0]
    rest = float((mix - columns.sum(0)).square().sum())
    rest_db = 10 * math.log10(max(rest, 1e-20) / max(energy, 1e-20))
    if rest <= _ROUNDINGS * roundings * mix.numel() * LSB**2 / 12:
        return rest_db
    if not len(columns):
        return None
    if not lossy:
        return rest_db if rest <= float(energies.amin()) * 10 ** (_LEFT_DB / 10) else None
    gram = columns @ columns.T
    inverse = torch.linalg.inv(gram + 1e-12 * gram.diagonal().amax() * torch.eye(len(gram), dtype=torch.float64))
    gains = inverse @ (columns @ mix)
    left = (mix - gains @ columns).square().sum()
    std = _COLOUR * (left / mix.numel() * inverse.diagonal().clamp(min=0)).sqrt()
    slack = 10 ** (Limits().lossy_level_db / 20) - 1 + 3 * std
    right = bool(((gains - 1).abs() <= slack).all()) and float(left) <= energy * 10 ** (_CODEC_DB / 10)
    return rest_db if right else None


def confirmed(
    row: AuditRow, mix: Clip, sounds: Sequence[Tensor], claims: Claims, *, min_bands: int
) -> Recovered | None:
    """Return what is known of a mix that is the sum that its manifest claims; None where it is not.

    Parameters
    ----------
    row : AuditRow
    mix : Clip
    sounds : sequence of Tensor, shape (C, L)
        The sources at the rate and with the channels of the mix.
    claims : Claims
    min_bands : int
        See `audiomix.captions.audible.audible_share`.
    """
    rate, size = mix.rate, mix.samples.shape[-1]
    tracks = claimed_tracks(row, claims, sounds, size, rate)
    stems = row.row.get("stems")
    rest_db = None if tracks is None else explains(mix.samples, tracks, len(stems or [0]), lossy=row.lossy)
    if tracks is None or rest_db is None:
        return None
    heard, found = audible_share(tracks, rate, min_bands=min_bands).tolist(), []
    for track, claim, sound, share in zip(tracks, claims.sources, sounds, heard):
        start = round(claim.offset or 0.0)
        end = size if claim.period else min(size, start + sound.shape[-1])
        one = Found(gain_db=claim.gain_db, gain_std_db=0.0, offset=start, period=claim.period, steady=1.0, audible=share)
        one.covers = max(0, end - max(0, start))
        one.sounds = one.covers if claim.spans is None else sum(b - a for a, b in claim.spans)
        if not bool(sound.any()):
            one.why = SILENT
        elif float(track.abs().amax()) < LSB / 2:
            one.why = TOO_SOFT
        measure_active(one, track, rate)
        found.append(one)
    return Recovered(found, relate(found, rate), rest_db, 1.0, False, size / rate, rate, tracks, confirmed=True)
