"""Low-pass: high frequencies are weakened."""

from torch import Tensor

from ... import check
from .._biquads import apply_biquads
from .._operation import Group, Operation

__all__ = ["LowPass"]


class LowPass(Operation):
    """Weaken high frequencies, by torchaudio's biquad (12 dB an octave); from half the rate down with the magnitude.

    Parameters
    ----------
    octaves : float
        How far below half the rate the cutoff is at magnitude 1: by default at 500 Hz for 16 kHz.
    """

    def __init__(self, octaves: float = 4.0) -> None:
        self.octaves = check.number("octaves", octaves, 0, 6)

    def apply(self, group: Group) -> Tensor:
        """Filter each clip at its cutoff."""
        settings = [(2.0 ** (-self.octaves * level),) for level in group.level.tolist()]
        return apply_biquads(group.x, "lowpass_biquad", settings)
