r"""Which sources of a mix can be heard, judged in mel bands: the broadband level alone misleads.

.. math:: s_i = \frac{1}{|A_i|} \left|\left\{n \in A_i : \left|\left\{b : M_i(b, n) > \sum_{j \ne i} M_j(b, n),\;
          M_i(b, n) > \epsilon\right\}\right| \ge k\right\}\right|

M are mel powers, A the frames in which a source is active. At -15 dB most sources of ESC-10 still dominate some bands
of their partner, and some hardly any.
"""

from functools import lru_cache

import torch
from torch import Tensor

from .. import check
from ..audio import level

__all__ = ["MIN_BANDS", "MIN_SHARE", "audible_share"]

# A source counts as heard where it dominates this many bands in this share of its active frames.
MIN_BANDS = 3
MIN_SHARE = 0.2
_BANDS = 64
_WINDOW_S, _HOP_S = 0.025, 0.01
# Power under the loudest band of the whole sum at which nothing is heard any more: where the loudest moment is played
# at 80 dB, this is the 20 dB of a quiet room.
_FLOOR_DB = -60.0
# Frames transformed at once: bounds the memory of the spectra, whatever the length.
_BLOCK = 2000


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
    check.floating("tracks", check.batch("tracks", tracks, ndim=3))
    if tracks.ndim != 3:
        check.fail("tracks", "of shape (S, C, T)", f"shape {tuple(tracks.shape)}")
    rate = check.rate("rate", rate)
    if check.integer("min_bands", min_bands, 1) > _BANDS:
        check.fail("min_bands", f"an integer from 1 to {_BANDS}", min_bands)
    power = torch.stack([_mel_power(track, rate) for track in tracks])  # (S, N, 64)
    total = power.sum(0)
    floor = max(float(total.amax()) * 10 ** (_FLOOR_DB / 10), 1e-30)
    heard = (power > total - power) & (power > floor)
    enough = heard.sum(-1) >= min_bands  # (S, N)
    on = _active_frames(tracks, rate, power.shape[1]).to(power.device)
    return ((enough & on).sum(-1).double() / on.sum(-1).clamp(min=1)).cpu()


def _sizes(rate: int) -> tuple[int, int]:
    """Return window and hop in samples."""
    return round(_WINDOW_S * rate), round(_HOP_S * rate)


def _mel_power(track: Tensor, rate: int) -> Tensor:
    """Mel power of one track (C, T), mean over its channels: (N, 64), float32; frame n is centred on sample n * hop."""
    window, hop = _sizes(rate)
    filters, shape = _filters(rate), torch.hann_window(window)
    frames = torch.nn.functional.pad(track, (window // 2, window - window // 2)).unfold(-1, window, hop)  # (C, N, W)
    size, filters, shape = _transform(window), filters.to(track.device), shape.to(track.device)
    blocks = []
    for block in frames.split(_BLOCK, 1):
        spectrum = torch.fft.rfft(block.float() * shape, n=size)
        blocks.append(spectrum.abs().square().mean(0) @ filters)
    return torch.cat(blocks)


def _transform(window: int) -> int:
    """Twice the next power of two: no filter is empty then, 64 bands of which the lowest are about 20 Hz apart."""
    return 2 << (window - 1).bit_length()


@lru_cache(maxsize=8)
def _filters(rate: int) -> Tensor:
    """Mel filters (F, 64), HTK scale from 0 Hz to half the rate."""
    from ..torchaudio import functional

    bins = _transform(_sizes(rate)[0]) // 2 + 1
    return functional.melscale_fbanks(bins, 0.0, rate / 2, _BANDS, rate)


def _active_frames(tracks: Tensor, rate: int, number: int) -> Tensor:
    """Return a bool mask (S, N): frames with an active sample within half a hop of their centre."""
    _, hop = _sizes(rate)
    mask = level.active(tracks).float()
    mask = torch.nn.functional.pad(mask, (hop // 2, max(0, number * hop - mask.shape[-1])))
    return torch.nn.functional.max_pool1d(mask[:, None], hop)[:, 0, :number] > 0
