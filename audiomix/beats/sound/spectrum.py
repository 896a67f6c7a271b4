"""The magnitudes of a sound's spectrum, block by block: what of them is wanted is kept, the rest never held."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["summarise_spectrum"]


def summarise_spectrum(
    sound: Tensor, size: int, hop: int, summarise: Callable[[Tensor], Tensor], *, block: int
) -> Tensor:
    """Return what a function makes of the magnitudes of all frames, (K, N); frame n is centred on sample n * hop.

    The transform is torch's: the first ``librosa.stft`` of a fresh installation compiles for 10 s and more.

    Parameters
    ----------
    sound : Tensor, shape (T,)
        Samples.
    size, hop : int
        Samples of a window (Hann's), and from one to the next.
    summarise : callable
        From magnitudes (size / 2 + 1, n) of n frames to (K, n).
    block : int
        Frames that are transformed at once: bounds the memory.

    Examples
    --------
    >>> summarise_spectrum(torch.randn(1000), 256, 100, lambda magnitudes: magnitudes[:3], block=4).shape
    torch.Size([3, 11])
    """
    window, frames = torch.hann_window(size), 1 + len(sound) // hop
    pieces = []
    for first in range(0, frames, block):
        start, stop = first * hop - size // 2, (min(first + block, frames) - 1) * hop + size - size // 2
        # the last values go on at both ends: an offset that falls to 0 there would be a sound
        missing = max(0, -start), max(0, stop - len(sound))
        piece = torch.nn.functional.pad(sound[None, max(0, start) : stop], missing, mode="replicate")[0]
        pieces.append(summarise(torch.stft(piece, size, hop, window=window, center=False, return_complex=True).abs()))
    return torch.cat(pieces, 1)
