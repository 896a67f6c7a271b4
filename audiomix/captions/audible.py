r"""Which sources of a mix can be heard, judged in mel bands: the broadband level alone misleads.

.. math:: s_i = \frac{1}{|A_i|} \left|\left\{n \in A_i : \left|\left\{b : M_i(b, n) > \sum_{j \ne i} M_j(b, n),\;
          M_i(b, n) > \epsilon\right\}\right| \ge k\right\}\right|

M are mel powers, A the frames in which a source is active. At -15 dB most sources of ESC-10 still dominate some bands
of their partner, and some hardly any.

Mel filters are defined on a transform of F samples, in which no filter is empty, and applied to a shorter one. By the
Wiener-Khinchin theorem a mel power is a sum over the autocorrelation r of a frame, which has W samples and so 2 W - 1
lags. A transform of P >= 2 W - 1 samples knows them all:

.. math:: M_b = \sum_{k=0}^{F-1} H_b(k) |X_F(k)|^2 = F \sum_{|\tau| < W} h_b(\tau) r(\tau)
          = \frac{F}{P} \sum_{k=0}^{P-1} \tilde H_b(k) |X_P(k)|^2

where h is the inverse transform of the filter H, and :math:`\tilde H` the transform of its 2 W - 1 middle lags.
"""

from functools import lru_cache

import torch
from torch import Tensor

from .. import check
from ..audio import level

__all__ = ["MIN_BANDS", "MIN_SHARE", "are_audible", "audible_share"]

# A source counts as heard where it dominates this many bands in this share of its active frames.
MIN_BANDS = 3
MIN_SHARE = 0.2
_BANDS = 64
_WINDOW_S, _HOP_S = 0.025, 0.01
# Power under the loudest band of the whole sum at which nothing is heard any more: where the loudest moment is played
# at 80 dB, this is the 20 dB of a quiet room.
_FLOOR_DB = -60.0
# Frames transformed at once: their spectra stay in the cache of a core.
_BLOCK = 100
# Largest error of a sum in single precision that a bound must allow for.
_SLACK = 1.001
# Parts in which frames are looked at until a question is decided, each spread over the whole mix, and the fewest
# frames of a part.
_PARTS, _FEWEST = (0, 4, 2, 6, 1, 5, 3, 7), 16
# Window of `audiomix.audio.level.active` in samples.
_ACTIVE = 512


@torch.no_grad()
def audible_share(tracks: Tensor, rate: int, *, min_bands: int = MIN_BANDS) -> Tensor:
    """Return the share of each source's active frames in which it dominates at least `min_bands` of 64 mel bands.

    A source dominates a band of a frame where its mel power is larger than the sum of the others' there and lies above
    the floor, 60 dB under the loudest band of all frames of their sum. So a source that sounds alone dominates, and
    one that is too soft beside the rest of the mix does not, even where it is alone. Frames are 25 ms long (Hann), one
    every 10 ms; power is the mean over the channels; phases are ignored. Active is what `audiomix.audio.level.active`
    says of the track.

    Parameters
    ----------
    tracks : Tensor, shape (S, C, T), floating point
        What each source adds to the mix: placed, faded and scaled, zero where it does not sound.
    rate : int
        In Hz.
    min_bands : int
        1 to 64.

    Returns
    -------
    Tensor, shape (S,), float64, on the CPU
        In [0, 1]; 0 for a silent source. Two sources that are the same sound at the same level mask each other: 0.

    Raises
    ------
    TypeError, ValueError
        Tracks of another shape or type, a wrong rate, bands outside of 1 to 64.

    Examples
    --------
    >>> time = torch.arange(16000) / 16000
    >>> high, low = torch.sin(2764 * time), torch.sin(18850 * time)
    >>> audible_share(torch.stack([high, 0.1 * low, 1e-4 * low])[:, None], 16000, min_bands=1)
    tensor([1., 1., 0.], dtype=torch.float64)
    """
    frames = _read_frames(tracks, rate, min_bands)
    heard, floor = frames.finish()
    return frames.share((heard > floor) & frames.on).cpu()


@torch.no_grad()
def are_audible(tracks: Tensor, rate: int, *, min_bands: int = MIN_BANDS, min_share: float = MIN_SHARE) -> Tensor:
    """Return whether each source is heard: ``audible_share(tracks, rate, min_bands=min_bands) >= min_share``.

    Frames are looked at in parts that are spread over the whole mix, and no more of them than decide the question for
    all sources. Of most mixes that is a quarter.

    Parameters
    ----------
    tracks, rate, min_bands
        See `audible_share`.
    min_share : float
        0 to 1.

    Returns
    -------
    Tensor, shape (S,), bool, on the CPU

    Raises
    ------
    TypeError, ValueError
        As `audible_share`; a share outside of 0 to 1.

    Examples
    --------
    >>> time = torch.arange(16000) / 16000
    >>> high, low = torch.sin(2764 * time), torch.sin(18850 * time)
    >>> are_audible(torch.stack([high, 0.1 * low, 1e-4 * low])[:, None], 16000, min_bands=1)
    tensor([ True,  True, False])
    """
    min_share = check.fraction("min_share", min_share)
    frames = _read_frames(tracks, rate, min_bands)
    for numbers in [None, *_spread(frames.relevant)]:
        if numbers is not None:
            frames.look_at(numbers)
        # what has not been looked at may be heard, or not; the floor is known between two bounds
        low, high = frames.floor_bounds()
        sure = frames.share((frames.heard > high) & frames.on) >= min_share
        possible = frames.share((~frames.seen | (frames.heard > low)) & frames.on) >= min_share
        if torch.equal(sure, possible):
            return sure.cpu()
    heard, floor = frames.finish()
    return (frames.share((heard > floor) & frames.on) >= min_share).cpu()


def _read_frames(tracks: Tensor, rate: int, min_bands: int) -> "_Frames":
    """Check the arguments, and return the frames of the tracks."""
    check.floating("tracks", check.batch("tracks", tracks, ndim=3))
    if tracks.ndim != 3:
        check.fail("tracks", "of shape (S, C, T)", f"shape {tuple(tracks.shape)}")
    rate = check.rate("rate", rate)
    if check.integer("min_bands", min_bands, 1) > _BANDS:
        check.fail("min_bands", f"an integer from 1 to {_BANDS}", min_bands)
    return _Frames(tracks, rate, min_bands)


class _Frames:
    """What is known of the frames of tracks (S, C, T); frame n is centred on sample n * hop.

    Parameters
    ----------
    tracks : Tensor, shape (S, C, T)
        What each source adds to the mix.
    rate : int
        In Hz.
    min_bands : int
        Bands that a source must dominate.

    Attributes
    ----------
    on : Tensor, shape (S, N), bool
        Frames in which each source is active: with an active sample within half a hop of their centre.
    relevant : Tensor, shape (M,), int64
        Frames in which any source is active.
    most : Tensor, shape (S, N)
        No band of a frame has more power.
    seen : Tensor, shape (N,), bool
        Frames that have been looked at.
    heard : Tensor, shape (S, N)
        A source dominates `min_bands` bands of a frame wherever the floor lies below this. 0 of frames not looked at.
    """

    def __init__(self, tracks: Tensor, rate: int, min_bands: int) -> None:
        window, hop = _sizes(rate)
        self.rate, self.min_bands, self.number = rate, min_bands, tracks.shape[-1] // hop + 1
        padded = torch.nn.functional.pad(tracks, (window // 2, window - window // 2))
        self.frames = padded.unfold(-1, window, hop)  # (S, C, N, W)
        self.on = _active_frames(tracks, rate, self.number)
        self.relevant = self.on.any(0).nonzero().flatten()
        self.most = _largest_power(tracks, rate, self.number)
        self.seen = torch.zeros_like(self.on[0])
        self.heard = torch.zeros_like(self.most)
        self.top = 0.0  # largest power of a band of the sum, in the frames that have been looked at

    def look_at(self, numbers: Tensor) -> None:
        """Measure so many frames (M,)."""
        if not len(numbers):
            return
        power = self._mel_power(numbers)
        total = power.sum(0)
        self.top = max(self.top, float(total.amax()))
        dominated = torch.where(power > total - power, power, 0)
        self.heard[:, numbers] = dominated.topk(self.min_bands).values[..., -1]
        self.seen[numbers] = True

    def finish(self) -> tuple[Tensor, float]:
        """Look at all frames that matter; return `heard`, and the floor."""
        self.look_at(self.relevant[~self.seen[self.relevant]])
        # where no source is active, one of the bands may still be the loudest
        self.look_at((~self.seen & (self.most.sum(0) > self.top)).nonzero().flatten())
        return self.heard, _floor(self.top)

    def floor_bounds(self) -> tuple[float, float]:
        """Return two powers between which the floor lies."""
        unseen = self.most.sum(0)[~self.seen]
        return _floor(self.top), _floor(max(self.top, float(unseen.amax()) if len(unseen) else 0.0))

    def share(self, frames: Tensor) -> Tensor:
        """Return what share of each source's active frames these (S, N) are; float64."""
        return frames.sum(-1).double() / self.on.sum(-1).clamp(min=1)

    def _mel_power(self, numbers: Tensor) -> Tensor:
        """Mel powers (S, M, 64) of frames (M,), mean over the channels, float32."""
        window, _ = _sizes(self.rate)
        size, device = _transform(window), self.frames.device
        filters, shape = _filters(self.rate).to(device), torch.hann_window(window, device=device)
        power = torch.zeros(len(self.frames), len(numbers), _BANDS, device=device)
        for track, frames, most in zip(power, self.frames, self.most):
            sounds = (most[numbers] > 0).nonzero().flatten()  # of silence there is nothing to measure
            for at in sounds.split(_BLOCK) if len(sounds) else ():
                spectrum = torch.fft.rfft(frames[:, numbers[at]].float() * shape, n=size)
                squares = torch.view_as_real(spectrum).square_()  # abs would take a root of what is squared
                squares = squares[..., 0] + squares[..., 1]
                track[at] = (squares[0] if len(squares) == 1 else squares.mean(0)) @ filters
        return power


def _spread(numbers: Tensor) -> list[Tensor]:
    """Return frames (M,) in parts, each spread over all of them."""
    parts = _PARTS if len(numbers) >= _FEWEST * len(_PARTS) else (0,)
    return [part for first in parts if len(part := numbers[first :: len(parts)])]


def _floor(top: float) -> float:
    """Return the power at which nothing is heard any more."""
    return max(top * 10 ** (_FLOOR_DB / 10), 1e-30)


def _sizes(rate: int) -> tuple[int, int]:
    """Return window and hop in samples."""
    return round(_WINDOW_S * rate), round(_HOP_S * rate)


def _grid(window: int) -> int:
    """Return on which transform filters are defined: twice the next power of two.

    No filter is empty then, of 64 bands of which the lowest are about 20 Hz apart.
    """
    return 2 << (window - 1).bit_length()


def _transform(window: int) -> int:
    """Return a size from 2 W - 1 on that is transformed fast: a multiple of 16 without prime factors above 5."""
    from scipy.fft import next_fast_len

    return min(_grid(window), 16 * int(next_fast_len(-(-(2 * window - 1) // 16), real=True)))


@lru_cache(maxsize=8)
def _filters(rate: int) -> Tensor:
    """Mel filters (P / 2 + 1, 64) for a transform of P samples, HTK scale from 0 Hz to half the rate."""
    from ..torchaudio import functional

    window, _ = _sizes(rate)
    grid, size = _grid(window), _transform(window)
    filters = functional.melscale_fbanks(grid // 2 + 1, 0.0, rate / 2, _BANDS, rate)
    if size < grid:
        halves = filters.double()
        halves[1:-1] /= 2  # of frequencies that stand for their negative ones too
        lags = torch.fft.irfft(halves.T, n=grid)
        short = lags.new_zeros(_BANDS, size)
        short[:, :window], short[:, 1 - window :] = lags[:, :window], lags[:, 1 - window :]
        filters = torch.fft.rfft(short).real.T * grid / size
        filters[1 : (size + 1) // 2] *= 2
    return filters.float().contiguous()


def _active_frames(tracks: Tensor, rate: int, number: int) -> Tensor:
    """Return a bool mask (S, N): frames with an active sample within half a hop of their centre."""
    _, hop = _sizes(rate)
    size = tracks.shape[-1]
    windows = level.active(tracks, window=_ACTIVE)[:, ::_ACTIVE].long()  # each is active as a whole, or not at all
    before = torch.nn.functional.pad(windows.cumsum(-1), (1, 0))
    first = torch.arange(number, device=tracks.device) * hop - hop // 2
    last = (first + hop - 1).clamp(max=size - 1) // _ACTIVE
    return (before[:, last + 1] > before[:, first.clamp(0, size - 1) // _ACTIVE]) & (first < size)


def _largest_power(tracks: Tensor, rate: int, number: int) -> Tensor:
    """Return a bound (S, N) of the power of every band of a frame, from the energy of the samples in it.

    The squares of a spectrum of F samples sum to F times the energy (Parseval), over both signs of frequency; windows
    and filters are at most 1.
    """
    window, hop = _sizes(rate)
    size = tracks.shape[-1]
    # linalg.vector_norm reads the tracks once and makes no temporary
    blocks = tracks[..., : size // hop * hop].unflatten(-1, (size // hop, hop))
    dtype = torch.promote_types(tracks.dtype, torch.float32)
    norm = torch.linalg.vector_norm(blocks, dim=-1, dtype=dtype)
    rest = torch.linalg.vector_norm(tracks[..., size // hop * hop :], dim=-1, dtype=dtype)
    energy = torch.cat([norm, rest[..., None]], -1).square().mean(1).float()  # (S, N)
    before, after = -(-(window // 2) // hop), (window - window // 2 - 1) // hop
    energy = torch.nn.functional.pad(energy, (before, after))
    return energy.unfold(-1, before + after + 1, 1).sum(-1) * (_SLACK * _grid(window) / 2)
