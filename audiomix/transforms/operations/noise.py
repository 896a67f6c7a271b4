"""Noise: white noise is added to a waveform, and to the decibels of a spectrogram."""

from torch import Tensor

from ... import check
from .._operation import BOTH, Group, Operation

__all__ = ["Noise"]


class Noise(Operation):
    """Add white noise at a signal-to-noise ratio of ``snr_db - 20 log10(magnitude)``: 25 dB at 0.1, 5 dB at 1.

    Parameters
    ----------
    snr_db : float
        Signal-to-noise ratio of a waveform at magnitude 1; its level is that over the valid samples.
    spread_db : float
        Standard deviation at magnitude 1 of what is added to a log spectrogram.
    """

    domains = BOTH
    numbers = 2

    def __init__(self, snr_db: float = 5.0, spread_db: float = 3.0) -> None:
        self.snr_db = check.number("snr_db", snr_db)
        self.spread_db = check.number("spread_db", spread_db, 0)

    def apply(self, group: Group) -> Tensor:
        """Add the noise; silence stays silent."""
        noise = group.noise()
        if group.is_wave:
            return group.x + noise * (group.rms() * group.column(group.level * 10 ** (-self.snr_db / 20)))
        return group.x + noise * group.column(group.level * (self.spread_db * group.decibel))
