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
from .claims import Claims, loop_length
from .limits import Limits
from .locate import LSB, place_source
from .recover import SILENT, TOO_SOFT, Estimate, Recovery, measure_active, relate
from .rows import AuditRow

__all__ = ["explains", "recover_claims", "render_claims"]

# What is left of a right mix is its rounding, once for each file: this many times as much is still rounding.
_ROUNDINGS = 1.5
# A wrong gain of 0.1 dB, the limit of a level, leaves so much of its source.
_LEFT_DB = -39.0
# The gain of a source in a mix that is right is known where it comes out as claimed within this share.
_SURE = 0.01
# Codec noise is no white noise: gains are so many times less certain than those in white noise.
_COLOUR = 4.0
# It is less than half of the mix, in dB of which this is,
_CODEC_DB = -3.0
# unless the mix is softer than so many steps of 16 bits.
_CODEC_STEPS = 5.0
# The claimed gains explain as much as the best ones within this, in dB.
_AS_WELL_DB = 1.0


def render_claims(row: AuditRow, claims: Claims, sounds: Sequence[Tensor], size: int, rate: int) -> Tensor | None:
    """Return what each source adds to a mix as is claimed, (S, C, T); None where too little is claimed.

    Parameters
    ----------
    row : AuditRow
        The mix and its sources.
    claims : Claims
        What the manifest says of them.
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
        return torch.stack([place_source(x, round(one.offset or 0.0), size) * 10 ** ((one.gain_db or 0.0) / 20)
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
    for j, piece, sound in zip(order[1:], pieces[1:], sounds[1:]):
        lengths[j] = loop_length(sound.shape[-1], sound.shape[-1] - piece.shape[-1], axis)
        source[j, :, : piece.shape[-1]] = piece
    found = stems(plan, 0, own, source, valid=lengths)
    silence = own.new_zeros(len(own), size)
    tracks = torch.stack([fit_length(found[j], size) if j in found else silence for j in order])
    valid = pieces[0].shape[-1]
    if valid < axis and row.settings.get("length") != "longest":  # what was padded stays silent
        lengths_out = plan.mixed_lengths(torch.tensor([valid]), axis)
        tracks[..., size if lengths_out is None else int(lengths_out[0]) :] = 0
    return tracks * 10 ** (claims.limiter_db / 20)


def explains(mix: Tensor, tracks: Tensor, roundings: int, *, lossy: bool) -> tuple[bool, float]:
    """Return whether what is claimed of the sources sums to a mix, and what it leaves of it in dB.

    Parameters
    ----------
    mix : Tensor, shape (C, T)
        Samples of the mix.
    tracks : Tensor, shape (S, C, T)
        What each of S sources is claimed to add to it; see `render_claims`.
    roundings : int
        How often samples were rounded: once, or once a stem.
    lossy : bool
        The mix was compressed: of its sources only gains can be known.
    """
    mix, columns = mix.double().flatten(), tracks.double().flatten(1)
    left = mix - columns.sum(0)
    energy, rest = float(mix @ mix), float(left @ left)
    rest_db = 10 * math.log10(max(rest, 1e-20) / max(energy, 1e-20))
    if rest <= _ROUNDINGS * roundings * mix.numel() * LSB**2 / 12:
        return True, rest_db
    if float(left.abs().amax()) <= (0.5 * roundings + 0.05) * LSB:
        return True, rest_db
    energies = columns.square().sum(1)
    columns, energies = columns[energies > 0], energies[energies > 0]
    if not lossy or not len(columns):
        return len(columns) > 0 and rest <= float(energies.amin()) * 10 ** (_LEFT_DB / 10), rest_db
    return _explains_lossy(mix, columns, energies), rest_db


def _explains_lossy(mix: Tensor, columns: Tensor, energies: Tensor) -> bool:
    """Return whether each source that is louder than the codec's noise has its gain, and the noise is less than half.

    A codec leaves out what is masked, and all that is as soft as its steps: of these nothing is known.
    """
    nothing = (_CODEC_STEPS * LSB) ** 2 * mix.numel()
    if max(float(mix.square().sum()), float(columns.sum(0).square().sum())) < nothing:
        return True
    gains, std = _gains(mix, columns)
    left = float((mix - gains @ columns).square().sum())
    slack = 10 ** (Limits().lossy_level_db / 20) - 1 + 3 * _COLOUR * std
    right = ((gains - 1).abs() <= slack) | (energies <= 2 * left)
    rest = float((mix - columns.sum(0)).square().sum())
    as_well = rest <= left * 10 ** (_AS_WELL_DB / 10)  # no other gains explain more: sources that sound alike
    return (as_well or bool(right.all())) and left <= float(mix.square().sum()) * 10 ** (_CODEC_DB / 10)


def _gains(mix: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Return gains (S,) with which columns (S, N) come closest to a mix (N,), and their deviations in white noise."""
    gram = columns @ columns.T
    inverse = torch.linalg.inv(gram + 1e-12 * gram.diagonal().amax().clamp(min=1e-12) * torch.eye(len(gram)).double())
    gains = inverse @ (columns @ mix)
    left = (mix - gains @ columns).square().sum().clamp(min=mix.numel() * LSB**2 / 12)
    return gains, (left / mix.numel() * inverse.diagonal().clamp(min=0)).sqrt()


def recover_claims(
    tracks: Tensor, rest_db: float, mix: Clip, sounds: Sequence[Tensor], claims: Claims, *, min_bands: int
) -> Recovery:
    """Return what is known of a mix that is the sum that its manifest claims.

    Parameters
    ----------
    tracks : Tensor, shape (S, C, T)
        See `render_claims`.
    rest_db : float
        See `explains`.
    mix : Clip
        Samples and rate of the mix.
    sounds : sequence of Tensor, shape (C, L)
        The sources at the rate and with the channels of the mix.
    claims : Claims
        What the manifest says of its sources.
    min_bands : int
        See `audiomix.captions.audible.audible_share`.
    """
    rate, size = mix.rate, mix.samples.shape[-1]
    heard, found = audible_share(tracks, rate, min_bands=min_bands).tolist(), []
    gains, std = _gains(mix.samples.double().flatten(), tracks.double().flatten(1))
    for i, (track, claim, sound, share) in enumerate(zip(tracks, claims.sources, sounds, heard)):
        start = round(claim.offset or 0.0)
        end = size if claim.period else min(size, start + sound.shape[-1])
        one = Estimate(
            gain_db=claim.gain_db, gain_std_db=math.inf, offset=start, period=claim.period, steady=1.0, audible=share
        )
        one.covers = max(0, end - max(0, start))
        if claim.gain_db is not None and abs(float(gains[i]) - 1) < _SURE:  # else it is not known, and the sum is right
            one.gain_db, one.gain_std_db = claim.gain_db + 20 * math.log10(gains[i]), 8.686 * float(std[i])
        one.sounds = one.covers if claim.spans is None else sum(b - a for a, b in claim.spans)
        if not bool(sound.any()):
            one.why = SILENT
        elif float(track.abs().amax()) < LSB / 2:
            one.why = TOO_SOFT
        measure_active(one, track, rate)
        found.append(one)
    return Recovery(found, relate(found, rate), rest_db, 1.0, False, size / rate, rate, tracks, confirmed=True)
