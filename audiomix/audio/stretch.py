"""Time-stretch and pitch-shift behind one function: `warp` moves what sounds at some times to other times.

python-stretch (Signalsmith) does the work where it is installed and librosa's phase vocoder where it is not; `engine`
says which. Both know one factor for a whole sound, so a map whose rate changes is rendered in pieces. Two renderings
agree in level but not in phase where they meet: plain cross-fades dip by 10 to 15 dB on tones. So each piece is turned
by one all-pass filter into the phases of the piece before it (`_align_phases`).
"""

import math
from collections.abc import Iterator, Sequence
from importlib import metadata, util
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import check
from ..numba_cache import compile_alone
from .io import fit_length

__all__ = ["engine", "warp"]

# Seconds by which a knot may move so that the map has fewer pieces.
_TOLERANCE = 0.001
# A piece whose speed is this near to 1 is a copy; one of so many seconds has its own piece.
_OWN_SPEED, _COPIED = 1e-6, 1.0
# Seconds of a cross-fade, and of the stretch of sound around a joint by which two renderings are aligned.
_FADE = 0.04
_LOOK = 0.1
# Joints lie this many seconds before their knots: attacks, which sit on beats, come from one rendering.
_LEAD = 0.02
# Seconds rendered and thrown away: the first and last 20 ms of a call are 1 to 4 dB weak (8 to 192 kHz alike).
_MARGIN = 0.04
# Standard deviation in seconds of the lags an alignment may use: long up to 1 kHz, where the partials of a voice are to
# be told apart, and short from 4 kHz, where the ear takes the time of an attack from.
_LAGS = (0.004, 0.0007)
_SPLIT = (1000.0, 4000.0)
# The filter ends this many seconds before and behind its centre.
_REACH = 0.04
# Pull of an alignment towards no change at all, as a share of full correlation: it decides where nothing correlates.
_PULL = 0.1
# And the share of the loudest frequency's power that counts as nothing, -60 dB: below it phases are rounding errors.
_FLOOR = 1e-6
# Seconds by which a copied piece, which has no filter, may be moved to fit the piece before it.
_SHIFT = 0.002
# Seconds by which knots may lie outside of the sound; trackers round (as `BeatGrid.check_within`).
_OUTSIDE = 0.1
_RATES = (0.25, 4.0)
# Taps of the interpolation to each side, steps between two samples in its table, results computed at once.
_TAPS, _PHASES, _BLOCK = 24, 4096, 1 << 15


def engine() -> str:
    """Return the name and version of what stretches here: ``python-stretch 0.3.1``, or librosa where it is missing."""
    name = "python-stretch" if _native() else "librosa"
    return f"{name} {metadata.version(name)}"


def _native() -> bool:
    return util.find_spec("python_stretch") is not None


def warp(
    samples: Tensor,
    rate: int,
    source: Sequence[float] | np.ndarray | Tensor,
    target: Sequence[float] | np.ndarray | Tensor,
    *,
    method: Literal["stretch", "varispeed"] = "stretch",
    semitones: float = 0.0,
    size: int | None = None,
) -> Tensor:
    """Move a sound in time so that what sounds at ``source[k]`` sounds at ``target[k]``; linear between the knots.

    ``y(t) = x(s(t))`` in time, for t from ``target[0]`` to ``target[-1]``; with the pitch kept (``stretch``) or moving
    with the speed ``ds/dt`` (``varispeed``).

    ``stretch`` renders the fewest linear pieces that move no knot by more than 1 ms (a steady grid is one piece) and
    cross-fades them over 40 ms. A piece is first put through an all-pass filter, one for all channels, that gives it
    the phases of the piece before it. On real loops (``tests/bench/warp.py``) attacks at knots lie 0.1 to 0.3 ms off in
    the median and up to 1 ms at the 95th percentile, those between knots 0.5 ms and 2 ms. A piece at its own speed
    without transposition is a copy of the source, moved by at most 2 ms to fit its joint. The result is the same every
    time.

    ``varispeed`` interpolates with a windowed sinc, low-passed for the fastest piece: on maps within 10 % a tone up to
    0.35 of the rate is exact to -60 dB (-50 dB at 0.4 within 2 %), and what would be aliased lies 75 dB down.

    Parameters
    ----------
    samples : Tensor, shape (C, T), floating point
        Computed in float32; not changed, and no gradient flows through.
    rate : int
        Sampling rate, Hz.
    source, target : sequence of float, shape (K,)
        Knots in seconds, at least two, both strictly ascending. Source times may lie up to 0.1 s outside the sound;
        silence is there.
    method : {"stretch", "varispeed"}
        Whether the pitch is kept or moves with the speed; see above.
    semitones : float
        Transposition in [-24, 24], with ``stretch`` only.
    size : int, optional
        Samples of the result, within two of the default ``round((target[-1] - target[0]) * rate)``.

    Returns
    -------
    Tensor, shape (C, size), dtype and device of `samples`

    Raises
    ------
    TypeError, ValueError
        Knots that are too few, unequal in number, unsorted, not finite, or outside the sound; a speed outside
        [0.25, 4] between two knots; semitones with ``varispeed``.

    Examples
    --------
    >>> tone = torch.sin(2 * torch.pi * 440 * torch.arange(16000) / 16000)[None]
    >>> warp(tone, 16000, [0.0, 1.0], [0.0, 1.25]).shape
    torch.Size([1, 20000])
    """
    rate = check.rate("rate", rate)
    if check.floating("samples", samples).ndim != 2 or 0 in samples.shape:
        check.fail("samples", "one sound of shape (C, T)", f"shape {tuple(samples.shape)}")
    at, to = _knots(source, target, samples.shape[-1] / rate)
    semitones = check.number("semitones", semitones, -24, 24)
    natural = max(1, round(to[-1] * rate))
    count = natural if size is None else check.integer("size", size, 1)
    if abs(count - natural) > 2:
        check.fail("size", f"within 2 samples of {natural}, which the target times span", count)
    wave = samples.detach().to("cpu", torch.float32)
    if check.choice("method", method, ["stretch", "varispeed"]) == "varispeed":
        if semitones:
            check.fail("semitones", "0 with method='varispeed'", f"{semitones:g}", "its pitch moves with the speed")
        out = _interpolate(wave, rate, at, to, count)
    else:
        out = _stretch_pieces(wave, rate, list(_pieces(at, to)), semitones, count)
    return out.to(samples)


def _knots(source: Any, target: Any, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Return both rows of knots as checked float64 arrays, the target's counted from its first."""
    at, to = (_check_ascending(name, times) for name, times in (("source", source), ("target", target)))
    if len(at) != len(to):
        check.fail("target", f"{len(at)} times, one for each of source", len(to))
    if at[0] < -_OUTSIDE or at[-1] > seconds + _OUTSIDE:
        far = at[-1] if at[-1] > seconds + _OUTSIDE else at[0]
        slip = "did you pass samples?" if far > 20 * max(seconds, 1.0) else ""
        check.fail("source", f"in seconds within the {seconds:.2f} s of samples", f"{far:g}", slip)
    speed = np.diff(at) / np.diff(to)
    off = np.flatnonzero((speed < _RATES[0]) | (speed > _RATES[1]))
    if len(off):
        k, slip = off[0], "" if to[-1] <= 1000 * seconds else "did you pass samples?"
        got = f"{speed[k]:.3g} between knots {k} and {k + 1} ({at[k]:g} to {at[k + 1]:g} s)"
        check.fail("speed (source / target)", f"within [{_RATES[0]:g}, {_RATES[1]:g}]", got, slip)
    return at, to - to[0]


def _check_ascending(name: str, times: Any) -> np.ndarray:
    values = np.asarray(times, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2:
        check.fail(name, "at least two times in seconds, shape (K,)", f"shape {values.shape}")
    check.finite(name, torch.from_numpy(values))
    steps = np.diff(values)
    if (steps <= 0).any():
        k = int(np.argmin(steps > 0))
        check.fail(name, "strictly ascending", f"{values[k]:g} before {values[k + 1]:g} at {k}")
    return values


class _Piece(NamedTuple):
    """A linear piece of a map: `source` sounds at `target`, `factor` times as fast; all in seconds of the result."""

    source: float
    target: float
    factor: float
    start: float  # where its part of the result begins: the joint with the piece before it
    fade: float  # length of the cross-fade there

    def copies(self, semitones: float) -> bool:
        return abs(self.factor - 1) <= _OWN_SPEED and semitones == 0


def _pieces(source: np.ndarray, target: np.ndarray) -> Iterator[_Piece]:
    corners = _joints(source, target)
    source, target = source[corners], target[corners]
    spans = np.diff(target)
    factors = np.diff(source) / spans
    yield _Piece(source[0], target[0], factors[0], target[0], 0.0)
    for k in range(1, len(spans)):
        # before its knot a piece is off by the change of speed: by no more than the tolerance at the joint
        change = abs(factors[k] / factors[k - 1] - 1)
        lead = min(_LEAD, _TOLERANCE / max(change, 1e-9), spans[k - 1] / 4)
        fade = min(_FADE, spans[k - 1] / 2, spans[k] / 2)
        yield _Piece(source[k], target[k], factors[k], target[k] - lead, fade)


def _joints(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the knots between the pieces of a map: `_corners`, and the ends of what is long at its own speed.

    That is copied. A chord that went on behind it would keep within the tolerance, and stretch all of it by a little:
    what lies before a cross-fade.
    """
    own = np.abs(np.diff(source) / np.diff(target) - 1) <= _OWN_SPEED
    edges = np.r_[0, np.flatnonzero(np.diff(own.astype(np.int8))) + 1, len(own)]
    long = [(a, b) for a, b in pairwise(edges.tolist()) if own[a] and target[b] - target[a] >= _COPIED]
    cuts = sorted({0, len(own), *(edge for run in long for edge in run)})
    found = [a + _corners(source[a : b + 1], target[a : b + 1]) for a, b in pairwise(cuts)]
    return np.unique(np.concatenate(found))


def _corners(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the fewest knots, first and last among them, whose chords pass every knot within the tolerance in time."""
    last = len(source) - 1
    pieces = np.r_[0, np.full(last, last + 1)]
    previous = np.zeros(last + 1, dtype=int)
    for i in range(last):
        along, up = source[i + 1 :] - source[i], target[i + 1 :] - target[i]
        # a chord from i must pass all knots on its way: its slope lies in a cone that narrows from knot to knot
        low = np.maximum.accumulate(np.r_[-np.inf, (up - _TOLERANCE) / along])[:-1]
        high = np.minimum.accumulate(np.r_[np.inf, (up + _TOLERANCE) / along])[:-1]
        slope = up / along
        better = i + 1 + np.flatnonzero((low <= slope) & (slope <= high) & (pieces[i] + 1 < pieces[i + 1 :]))
        pieces[better], previous[better] = pieces[i] + 1, i
    path = [last]
    while path[-1]:
        path.append(int(previous[path[-1]]))
    return np.asarray(path[::-1])


def _stretch_pieces(wave: Tensor, rate: int, pieces: list[_Piece], semitones: float, size: int) -> Tensor:
    look = round(_LOOK / 2 * rate)
    starts = [round(piece.start * rate) for piece in pieces]
    if len(pieces) == 1 and not pieces[0].copies(semitones):  # what a copy would cut out is a view of the caller's
        return _render_piece(wave, rate, pieces[0], 0, size, semitones)
    out = wave.new_zeros(len(wave), size)
    for k, piece in enumerate(pieces):
        first = max(0, starts[k] - look) if k else 0
        last = size if k + 1 == len(pieces) else min(size, starts[k + 1] + look)
        sound = _render_piece(wave, rate, piece, first, last, semitones)
        if k:
            near = slice(first, min(starts[k] + look, last))  # `out` holds the piece before up to there
            before, after = out[:, near], sound[:, : near.stop - first]
            if piece.copies(semitones):
                piece = piece._replace(target=piece.target + _lag(before, after, rate) / rate)
                sound = _render_piece(wave, rate, piece, first, last, semitones)
            else:
                sound = _align_phases(before, after, sound, rate)
            first = _join(out, sound, first, starts[k], round(piece.fade / 2 * rate))
            sound = sound[:, sound.shape[-1] - (last - first) :]
        out[:, first:last] = sound
    return out


def _render_piece(wave: Tensor, rate: int, piece: _Piece, first: int, last: int, semitones: float) -> Tensor:
    """Return samples `first` to `last` of the result as this piece has them."""
    if piece.copies(semitones):
        start = round((piece.source - piece.target) * rate)
        return _cut(wave, start + first, start + last)
    spare = _MARGIN * max(1.0, 1 / piece.factor)
    ends = (first / rate - spare, last / rate + spare)
    a, b = (round((piece.source + (t - piece.target) * piece.factor) * rate) for t in ends)
    a, b = max(a, 0), min(b, wave.shape[-1])
    if a >= b:
        return wave.new_zeros(len(wave), last - first)
    sound = _run(wave[:, a:b].numpy(), rate, piece.factor, semitones)
    start = round((piece.target + (a / rate - piece.source) / piece.factor) * rate)
    return _cut(torch.from_numpy(sound), first - start, last - start)


def _cut(x: Tensor, start: int, stop: int) -> Tensor:
    """Return ``x[:, start:stop]`` with zeros where x has ended or not begun."""
    inside = x[:, max(0, start) : max(0, stop)]
    if start < 0:
        inside = torch.nn.functional.pad(inside, (min(-start, stop - start), 0))
    return fit_length(inside, stop - start)


def _run(data: np.ndarray, rate: int, factor: float, semitones: float) -> np.ndarray:
    """Stretch (C, n) samples, all at one factor; round(n / factor) come back."""
    data = np.ascontiguousarray(data, dtype=np.float32)
    if not _native():
        import librosa

        window = 2 ** round(math.log2(0.046 * rate))  # librosa's 2048 at 44.1 kHz
        with compile_alone("stretch"):
            data = librosa.effects.time_stretch(data, rate=factor, n_fft=window)
            if semitones:
                data = librosa.effects.pitch_shift(data, sr=rate, n_steps=semitones, n_fft=window)
        return np.ascontiguousarray(data, dtype=np.float32)
    from python_stretch import Signalsmith

    stretch = Signalsmith.Stretch(0)  # seeded: without, factors below a half differ from call to call
    stretch.preset(len(data), rate)
    stretch.setTimeFactor(factor)
    stretch.setTransposeSemitones(semitones)
    return np.asarray(stretch.process(data))


def _join(out: Tensor, sound: Tensor, first: int, joint: int, half: int) -> int:
    """Cross-fade `out` into `sound`, which begins at `first`, around `joint`; return where the fade ends."""
    lo, hi = max(first, joint - half), min(joint + half, first + sound.shape[-1])
    before, after = out[:, lo:hi], sound[:, lo - first : hi - first]
    rise = (torch.arange(hi - lo) + 0.5) / max(hi - lo, 1)
    norm = (before.square().sum() * after.square().sum()).sqrt().clamp(min=1e-20)
    r = float(((before * after).sum() / norm).clamp(0, 1))
    # constant power for this correlation: linear at r = 1, sin/cos-like at r = 0
    law = (rise.square() + (1 - rise).square() + 2 * r * rise * (1 - rise)).rsqrt()
    out[:, lo:hi] = before * ((1 - rise) * law) + after * (rise * law)
    return hi


def _spectra(before: Tensor, after: Tensor) -> tuple[Tensor, Tensor, int]:
    """Return cross spectrum and geometric mean of the powers of two renderings, (F,), and the transform's length."""
    size = _fast(2 * before.shape[-1])
    window = torch.hann_window(before.shape[-1], periodic=False)
    x, y = (torch.fft.rfft(part * window, size) for part in (before, after))
    power = (x.abs().square().sum(0) * y.abs().square().sum(0)).sqrt()
    return (x * y.conj()).sum(0), power, size


def _lag(before: Tensor, after: Tensor, rate: int) -> int:
    """Return by how many samples `after` should come later to be most like `before`, within +-2 ms."""
    cross, _, size = _spectra(before, after)
    reach = round(_SHIFT * rate)
    likeness = torch.fft.irfft(cross, size).roll(reach)[: 2 * reach + 1]
    return int(likeness.argmax()) - reach if bool(likeness.any()) else 0


def _align_phases(before: Tensor, after: Tensor, sound: Tensor, rate: int) -> Tensor:
    """Return `sound` with its phases turned so that `after`, a part of it, goes on where `before` is.

    The filter is the cross spectrum of both with its magnitude set to 1, smoothed first: as wide as the lags allow,
    since what is smooth in frequency is short in time and keeps attacks.
    """
    cross, power, size = _spectra(before, after)
    wanted = cross + _PULL * power + _FLOOR * power.max()
    frequency = torch.arange(len(wanted)) * (rate / size)
    high = (frequency.clamp(*_SPLIT) / _SPLIT[0]).log2() / math.log2(_SPLIT[1] / _SPLIT[0])
    lags = torch.fft.ifft(wanted, size)  # zeros for the negative frequencies: an analytic correlation
    distance = torch.minimum(torch.arange(size), size - torch.arange(size)) / rate
    near = torch.exp(-0.5 * (distance / torch.tensor(_LAGS)[:, None]).square())
    wide, narrow = torch.fft.fft(lags * near)[:, : len(wanted)]  # multiplied in lag is smoothed in frequency
    response = wide * (1 - high) + narrow * high
    gain = torch.where(response == 0, 1.0, response / response.abs().clamp(min=1e-30))
    reach = round(_REACH * rate)
    return _convolve(sound, torch.fft.irfft(gain, size).roll(reach)[: 2 * reach + 1])


def _convolve(sound: Tensor, taps: Tensor) -> Tensor:
    """Return `sound` (C, n) convolved with an odd number of taps about their centre: overlap-save."""
    extra, block = len(taps) - 1, _fast(4 * len(taps))
    step = block - extra
    rows = -(-sound.shape[-1] // step)
    padded = torch.nn.functional.pad(sound, (extra // 2, rows * step + extra // 2 - sound.shape[-1]))
    spectra = torch.fft.rfft(padded.unfold(-1, block, step)) * torch.fft.rfft(taps, block)
    return torch.fft.irfft(spectra, block)[..., extra:].flatten(1)[:, : sound.shape[-1]]


def _fast(size: int) -> int:
    """Return the next length of the form 4..8 times a power of two: quick to transform, and even."""
    step = max(2, 2 ** (size.bit_length() - 3))
    return -(-size // step) * step


def _interpolate(wave: Tensor, rate: int, source: np.ndarray, target: np.ndarray, size: int) -> Tensor:
    """Read `wave` along the map with a Kaiser-windowed sinc, low-passed for the fastest piece."""
    fastest = max(1.0, float((np.diff(source) / np.diff(target)).max()))
    half = math.ceil(_TAPS * fastest)
    table = _kernel(half, fastest)
    position = np.interp(np.arange(size) / rate, target, source) * rate
    steps = torch.from_numpy(np.rint(position * _PHASES).astype(np.int64))
    edge = half + round(_OUTSIDE * rate) + 2
    windows = torch.nn.functional.pad(wave, (edge, edge)).unfold(-1, 2 * half, 1)  # (C, n, taps), a view
    out = wave.new_empty(len(wave), size)
    for start in range(0, size, _BLOCK):
        whole, phase = steps[start : start + _BLOCK] // _PHASES, steps[start : start + _BLOCK] % _PHASES
        weights = table[phase]
        first = whole + (edge + 1 - half)
        for channel, row in enumerate(windows):
            out[channel, start : start + _BLOCK] = (row[first] * weights).sum(-1)
    return out


def _kernel(half: int, fastest: float) -> Tensor:
    """Return interpolation weights, float32 of shape (phases, 2 half)."""
    # cut-off half a transition below the Nyquist frequency of what is read, so that the stop band begins there
    beta, cutoff = 7.0, (0.5 - 0.05) / fastest
    distance = np.arange(1 - half, half + 1) - np.arange(_PHASES)[:, None] / _PHASES
    window = np.i0(beta * np.sqrt(np.clip(1 - (distance / half) ** 2, 0, None))) / np.i0(beta)
    weights = np.sinc(2 * cutoff * distance) * window
    return torch.as_tensor(weights / weights.sum(1, keepdims=True), dtype=torch.float32)
