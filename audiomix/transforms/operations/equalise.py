"""Equalise: one band of frequencies is raised or lowered."""

from torch import Tensor

from ... import check
from .._biquads import apply_biquads
from .._operation import Group, Operation

__all__ = ["Equalise"]

# Centres of the bands as fractions of half the rate: 125 Hz to 5.7 kHz for 16 kHz, half an octave apart.
_CENTRES = [2 ** (-6 + step / 2) for step in range(12)]


class Equalise(Operation):
    """Raise or lower a band of frequencies that is drawn for each clip, by torchaudio's biquad.

    Parameters
    ----------
    db : float
        Gain at the centre of the band at magnitude 1, and at -1 with the other sign.
    quality : float
        Centre frequency divided by the band's width.
    """

    symmetric = True
    numbers = 1

    def __init__(self, db: float = 12.0, quality: float = 1.0) -> None:
        self.db = check.number("db", db, 0, 40)
        self.quality = check.number("quality", quality, 0.3, 10)

    def apply(self, group: Group) -> Tensor:
        """Filter each clip in its band."""
        rows = zip(group.level.tolist(), group.numbers[:, 0].tolist())
        last = len(_CENTRES) - 1
        settings = [(_CENTRES[min(int(u * (last + 1)), last)], level * self.db, self.quality) for level, u in rows]
        return apply_biquads(group.x, "equalizer_biquad", settings)
