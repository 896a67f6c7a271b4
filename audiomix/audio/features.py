r"""Log-mel spectrograms, and the way between a log spectrogram and the power it stands for.

.. math:: X = s \ln \max(M |\mathrm{STFT}(x)|^2, \epsilon), \qquad s = 10 / \ln 10 \text{ for decibels}
"""

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .. import check
from ..arguments import Recorded, copy_type

__all__ = ["LOG_SCALES", "LogMel", "from_log", "to_log"]

# A log spectrogram is the natural logarithm of power times this.
LOG_SCALES = {"ln": 1.0, "log10": 1 / math.log(10), "db": 10 / math.log(10)}
_CHUNK = 64  # clips transformed at once: bounds the memory of the complex spectrogram


def to_log(power: Tensor, log: str = "db", *, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Return ``(log power - mean) / std``; `log` is ``db`` (10 log10), ``log10`` or ``ln``.

    Parameters
    ----------
    power : Tensor
        Powers, above 0.
    log : str
        ``db`` (10 log10), ``log10`` or ``ln``.
    mean, std : float
        Normalisation of the logarithm.

    Examples
    --------
    >>> to_log(torch.tensor([1.0, 100.0]))
    tensor([ 0., 20.])
    """
    return (power.log() * LOG_SCALES[check.choice("log", log, LOG_SCALES)] - mean) / std


def from_log(spec: Tensor, log: str = "db", *, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Return the power that a log spectrogram stands for: the inverse of `to_log`.

    Parameters
    ----------
    spec : Tensor
        A log spectrogram, as `to_log` makes it.
    log : str
        ``db`` (10 log10), ``log10`` or ``ln``.
    mean, std : float
        Normalisation to undo.

    Examples
    --------
    >>> from_log(torch.tensor([0.0, 20.0])).round()
    tensor([  1., 100.])
    """
    return ((spec * std + mean) / LOG_SCALES[check.choice("log", log, LOG_SCALES)]).exp()


class LogMel(Recorded, nn.Module):
    """Waveforms (..., T), floating point or int16, to log-mel spectrograms (..., F, N).

    The Hann window is as long as the transform, or shorter and padded with zeros; HTK mel scale from 0 Hz to half the
    rate, filters not normalised (torchaudio's defaults).

    Parameters
    ----------
    rate : int
        In Hz.
    n_fft, hop, n_mels : int
        Fourier transform and step in samples; bands.
    log : str
        ``db``, ``log10`` or ``ln``.
    floor_db : float
        Lowest level in dB, where digital silence lies.
    window : int, optional
        Window in samples, at most `n_fft`, which it is by default.

    Examples
    --------
    >>> LogMel(16000, n_mels=40)(torch.zeros(2, 1, 16000)).shape
    torch.Size([2, 1, 40, 63])
    """

    def __init__(
        self,
        rate: int,
        *,
        n_fft: int = 1024,
        hop: int = 256,
        n_mels: int = 64,
        log: str = "db",
        floor_db: float = -100.0,
        window: int | None = None,
    ) -> None:
        super().__init__()
        from ..torchaudio import transforms

        check.rate("rate", rate)
        sizes = (("n_fft", n_fft), ("hop", hop), ("n_mels", n_mels))
        n_fft, hop, n_mels = (check.integer(name, value, 1) for name, value in sizes)
        if window is not None and check.integer("window", window, 1) > n_fft:
            check.fail("window", f"at most n_fft {n_fft}", window)
        self.mel = transforms.MelSpectrogram(
            rate, n_fft=n_fft, win_length=window, hop_length=hop, n_mels=n_mels, power=2.0
        )
        self.log = check.choice("log", log, LOG_SCALES)
        self.floor = 10 ** (check.number("floor_db", floor_db, -200, 0) / 10)

    def forward(self, wave: Tensor) -> Tensor:
        """Return (..., F, N)."""
        check.tensor("wave", wave)
        if not wave.is_floating_point() and wave.dtype != torch.int16:
            check.fail("wave", "floating point or int16", wave.dtype, error=TypeError)
        flat = wave.reshape(-1, wave.shape[-1])
        spec = torch.cat([self._spec(chunk) for chunk in flat.split(_CHUNK)])
        return spec.view(*wave.shape[:-1], *spec.shape[1:])

    if TYPE_CHECKING:

        @copy_type(forward)
        def __call__(self) -> Any:
            """See `forward`."""

    def _spec(self, wave: Tensor) -> Tensor:
        wave = wave if wave.is_floating_point() else wave.float() / 32768
        return to_log(self.mel(wave).clamp(min=self.floor), self.log)
