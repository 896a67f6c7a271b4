"""High-pass: low frequencies are weakened."""

from torch import Tensor

from ... import check
from .._biquads import apply_biquads
from .._operation import Group, Operation

__all__ = ["HighPass"]


class HighPass(Operation):
    """Weaken low frequencies, by torchaudio's biquad (12 dB an octave); from 0 Hz up with the magnitude.

    Parameters
    ----------
    share : float
        The cutoff at magnitude 1, as a fraction of half the rate: by default at 1 kHz for 16 kHz.
    """

    def __init__(self, share: float = 0.125) -> None:
        self.share = check.fraction("share", share)

    def apply(self, group: Group) -> Tensor:
        """Filter each clip at its cutoff."""
        settings = [(self.share * level,) for level in group.level.tolist()]
        return apply_biquads(group.x, "highpass_biquad", settings)
