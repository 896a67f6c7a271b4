r"""Where each source lies in a mix: the peak of a correlation whitened by the mix, strongest source first.

.. math:: R(d) = \mathcal{F}^{-1}\left\{\sum_c Y_c \overline{S_c} / P\right\}(d)

Y is what is left of the mix, S the source, P the smoothed power spectrum of Y: a matched filter in coloured noise. What
has been found is subtracted, then every source is looked for again with all others taken away.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from .gains import window_gains

__all__ = ["LSB", "Aligned", "align", "place_at", "place_source"]

# Step of 16 bit samples: the rounding of a file bounds what can be known from it.
LSB = 2.0**-15
_WELCH = 2048
# Windows in which sources are subtracted while they are looked for, in seconds: long enough that a source that is not
# known yet is left alone, short enough to follow spans.
_COARSE_S = 0.1
_ROUNDS = 3
# Taps on either side, and steps a sample, of the correlation between samples.
_TAPS, _STEPS = 32, 64


class Aligned(NamedTuple):
    """Where the sources lie, in samples of the mix (the first may be negative), and what is left between samples."""

    offsets: list[int]
    tracks: Tensor
    fractions: list[float]


def align(
    mix: Tensor,
    sources: Sequence[Tensor],
    rate: int,
    *,
    between: bool = False,
    polish: bool = False,
) -> Aligned:
    """Find the offset of every source in the mix.

    Parameters
    ----------
    mix : Tensor, shape (C, T)
        Samples of the mix.
    sources : sequence of Tensor, shape (C, L), each of its own length
        Samples of each source, with the channels of the mix.
    rate : int
        In Hz.
    between : bool
        Look between the samples too: for mixes whose rate was converted after mixing. The limit is one delay a source,
        found to about 1/64 sample: drift of a clock, or a rate that is a little off, is not followed.
    polish : bool
        Try the neighbouring samples too.

    Returns
    -------
    Aligned
        Offsets, the sources placed there as tracks (S, C, T), and fractions of a sample (0 without `between`). Sample n
        of a source lies at n + offset + fraction in the mix.
    """
    search = _Search(mix, sources, round(_COARSE_S * rate))
    search.greedy()
    search.refine()
    if polish:
        search.polish()
    if not between:
        return Aligned(search.offsets, search.tracks, [0.0] * len(sources))
    fractions = []
    for i in range(len(sources)):
        fraction = search.fraction(i) if i in search.known else 0.0  # silence lies nowhere
        fractions.append(fraction)
        search.tracks[i] = place_source(delay_source(sources[i], fraction), search.offsets[i], mix.shape[-1])
    return Aligned(search.offsets, search.tracks, fractions)


def place_at(mix: Tensor, sources: Sequence[Tensor], places: Sequence[int]) -> Aligned:
    """Put the sources at given places, without a search.

    Parameters
    ----------
    mix : Tensor, shape (C, T)
        Samples of the mix.
    sources : sequence of Tensor, shape (C, L), each of its own length
        Samples of each source, with the channels of the mix.
    places : sequence of int
        Where the first sample of each lies in the mix; may be negative.
    """
    tracks = mix.new_zeros(len(sources), *mix.shape)
    for track, source, place in zip(tracks, sources, places):
        _put(track, source, place)
    return Aligned(list(places), tracks, [0.0] * len(sources))


def place_source(source: Tensor, offset: int, size: int) -> Tensor:
    """Return (C, size) with the source at `offset`, cut at both ends of the mix; silence elsewhere."""
    track = source.new_zeros(len(source), size)
    _put(track, source, offset)
    return track


def _put(track: Tensor, source: Tensor, offset: int) -> None:
    """Write a source (C, L) into a track (C, T) at `offset`, cut at both ends."""
    start, end = max(0, offset), min(track.shape[-1], offset + source.shape[-1])
    if start < end:
        track[:, start:end] = source[:, start - offset : end - offset]


def delay_source(source: Tensor, fraction: float) -> Tensor:
    """Return a source that comes `fraction` of a sample later (by its spectrum, with silence around it)."""
    pad = 2 * _TAPS
    size = _fast(source.shape[-1] + 2 * pad)
    spectrum = torch.fft.rfft(torch.nn.functional.pad(source, (pad, size - source.shape[-1] - pad)).double())
    turn = torch.exp(-2j * torch.pi * fraction / size * torch.arange(spectrum.shape[-1], dtype=torch.float64))
    return torch.fft.irfft(spectrum * turn, n=size)[:, pad : pad + source.shape[-1]].to(source.dtype)


class _Search:
    """The state of a search: offsets, placed tracks, and spectra that are used again."""

    def __init__(self, mix: Tensor, sources: Sequence[Tensor], window: int) -> None:
        self.mix, self.sources, self.window = mix, sources, window
        self.size = _fast(mix.shape[-1] + max((s.shape[-1] for s in sources), default=1))
        spectra = [torch.fft.rfft(s, n=self.size) for s in sources]
        self.spectra, self.powers = [s.conj() for s in spectra], [_power(s).sum(0) for s in spectra]
        self.offsets = [0] * len(sources)
        self.tracks = mix.new_zeros(len(sources), *mix.shape)
        self.known: list[int] = []

    def greedy(self) -> None:
        """Place the source that explains most of what is left, take all that is known away, and go on."""
        todo = [i for i, s in enumerate(self.sources) if bool(s.any())]
        while todo:
            spectrum, weight = self._subtract_known(None)
            best = max((self._peak(i, spectrum, weight) for i in todo), key=lambda found: found[0])
            self._place(best[1], best[2])
            self.known.append(best[1])
            todo.remove(best[1])

    def refine(self) -> None:
        """Look for each source again with all others taken away, until nothing moves."""
        for _ in range(_ROUNDS):
            before = list(self.offsets)
            for i in self.known:
                _, _, offset = self._peak(i, *self._subtract_known(i))
                self._place(i, offset)
            if self.offsets == before or len(self.known) < 2:
                return

    def polish(self) -> None:
        """Move each source by a sample or two where that leaves less: of a short low sound the peak is flat."""
        for i in self.known:
            at = self.offsets[i]
            left = {step: self._energy(i, at + step) for step in (0, -1, 1, -2, 2)}
            self._place(i, at + min(left, key=lambda step: left[step]))

    def _energy(self, i: int, offset: int) -> float:
        """Return the energy that is left with source i at an offset."""
        self._place(i, offset)
        return float(window_gains(self.mix, self.tracks[self.known], self.window).rest.sum())

    def fraction(self, i: int) -> float:
        """Return how much later than its offset a source lies, within 0.75 of a sample."""
        spectrum, weight = self._subtract_known(i)
        near = torch.arange(-_TAPS, _TAPS + 1)
        found = self._correlation(i, spectrum, weight)[(near + self.offsets[i]) % self.size].double()
        at = torch.arange(-3 * _STEPS // 4, 3 * _STEPS // 4 + 1, dtype=torch.float64) / _STEPS
        distance = at[:, None] - near
        taper = torch.cos(torch.pi * distance / (2 * _TAPS + 4)).square()
        dense = (torch.sinc(distance) * taper) @ found
        return float(at[int(dense.abs().argmax())])

    def _subtract_known(self, but: int | None) -> tuple[Tensor, Tensor]:
        """Return spectrum and whitening of the mix without what is known, except for source `but`."""
        rest = self.mix
        if self.known:
            tracks = self.tracks[self.known]
            gains = window_gains(rest, tracks, self.window).gains
            if but is not None:
                gains[:, self.known.index(but)] = 0
            steps = gains.T.to(rest.dtype).repeat_interleave(self.window, 1)[:, : rest.shape[-1]]  # (S, T)
            rest = rest - (tracks * steps[:, None]).sum(0)
        rest = _limit_level(rest, self.window)
        return torch.fft.rfft(rest, n=self.size), _whitening_filter(rest, self.size)

    def _correlation(self, i: int, spectrum: Tensor, weight: Tensor) -> Tensor:
        return torch.fft.irfft((spectrum * self.spectra[i]).sum(0) * weight, n=self.size)

    def _peak(self, i: int, spectrum: Tensor, weight: Tensor) -> tuple[float, int, int]:
        """Return how much of the (white) energy source i explains at its best offset, i, and that offset."""
        found = self._correlation(i, spectrum, weight)
        size, own = self.mix.shape[-1], self.sources[i].shape[-1]
        found[size : self.size - own + 1] = 0  # it would not touch the mix there
        at = int(found.abs().argmax())
        energy = float(self.powers[i] @ weight) * 2 / self.size
        return float(found[at]) ** 2 / max(energy, 1e-30), i, at if at < size else at - self.size

    def _place(self, i: int, offset: int) -> None:
        self.offsets[i] = offset
        self.tracks[i] = place_source(self.sources[i], offset, self.mix.shape[-1])


def _power(spectrum: Tensor) -> Tensor:
    """Return the squared magnitude of complex numbers (...), without the root that `abs` takes."""
    squares = torch.view_as_real(spectrum).square()
    return squares[..., 0] + squares[..., 1]


def _limit_level(x: Tensor, window: int) -> Tensor:
    """Return a sound (C, T) whose loud windows are brought down, so that a bang does not drown what lies elsewhere."""
    count = -(-x.shape[-1] // window)
    power = torch.nn.functional.pad(x, (0, count * window - x.shape[-1])).square().mean(0).view(count, window).mean(1)
    gain = (power + LSB**2).rsqrt().repeat_interleave(window)[: x.shape[-1]]
    return x * gain * LSB


def _whitening_filter(x: Tensor, size: int) -> Tensor:
    """Return 1 / P at the frequencies of a transform of `size`: Welch's estimate, interpolated."""
    window = min(_WELCH, x.shape[-1])
    frames = x.unfold(-1, window, max(1, window // 2)) * torch.hann_window(window, periodic=False)
    power = _power(torch.fft.rfft(frames, n=_WELCH)).mean((0, 1))
    floor = window * LSB**2 / 1e3  # of levelled sound, 30 dB down: what lies deeper in it is rounding
    power = torch.nn.functional.interpolate((power + floor)[None, None], size // 2 + 1, mode="linear")[0, 0]
    return power.reciprocal()


@lru_cache(maxsize=64)
def _fast(size: int) -> int:
    """Return an even length from `size` on that is transformed fast."""
    from scipy.fft import next_fast_len

    return 2 * int(next_fast_len((size + 1) // 2, real=True))
