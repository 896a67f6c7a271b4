"""What one source adds to one mix: `Part`. Plans are told in parts; `audiomix.parts` makes them sounds."""

import math
from dataclasses import dataclass

from torch import Tensor

from .cells import Cells

__all__ = ["ORIGINAL", "Part"]

# `Part.source` of the original itself.
ORIGINAL = -1


@dataclass(frozen=True, eq=False)
class Part:
    """What one source adds to one mix. The parts of a mix, placed and summed, are the mix (`audiomix.parts.place`).

    Places in the mix are fractions of the original's (padded) time axis. Places in the source are fractions of the
    source's own (padded) time axis, or of the original's where it is `fitted` to that.

    Parameters
    ----------
    source : int
        `ORIGINAL` (-1), or the row of the batch that partners come from.
    gain : float
        Amplitude; below 0 where the sound is inverted.
    start : float
        Where in the mix the part begins.
    stop : float
        Where in the mix it ends at the latest.
    piece : (float, float)
        What of the source is heard.
    fitted : bool
        The source is first cut or padded at its end to the original's time axis.
    loop : bool
        The source is read from ``piece[0]`` on, a fraction of its **valid** part, again and again up to `stop`.
    roll : float
        Before all else the source is rolled in a circle: read from this fraction of its **valid** part on, its
        beginning following its end.
    fade_in, fade_out : float
        Length of a fade at the part's beginning and at its end, as a fraction of the original's axis. Where there are
        both, each is at most half of the part.
    fade : str
        Shape of the fades: ``sine`` (equal power) or ``cosine`` (raised cosine, sums to one).
    crossfade : (float, float), optional
        From where to where an equal-power curve runs over the mix: the original falls, a partner rises.
    band : (float, float)
        Which frequencies of a spectrogram are heard, as fractions of the frequency axis.
    cells : Cells, optional
        Gains over the mix, in time and frequency, that a mask has there: whatever is placed is multiplied by them.
    warp : Tensor, shape (K, 2), float64, optional
        Knots (place in the mix, place in the source) of a piecewise linear map of time; `start` and `piece` are then
        those of its ends.
    stretch : str
        How the warp is done: ``pitch`` (the pitch stays), ``varispeed`` (it moves along) or ``none`` (only shifted). Of
        two knots also ``resample`` (waves, at any speed; the pitch moves along) or ``interpolate`` (spectrograms); see
        `audiomix.resize.resize`.
    semitones : int
        How the pitch is shifted beside the warp.
    seconds : (float, float)
        Lengths of the axes of the original and of the source in seconds; needed with `crossfade` and with `warp`, but
        for the last two.
    stem : int, optional
        Which stem of sources (S, C, T) is heard, in its place among the stems; all of them where it is None.
    reverse_channels : bool
        The channels are in the other order: left is right.

    Examples
    --------
    >>> late = Part(1, 0.5, start=0.25)
    >>> late.source, late.gain, late.start, late.piece
    (1, 0.5, 0.25, (0.0, 1.0))
    """

    source: int
    gain: float = 1.0
    start: float = 0.0
    stop: float = math.inf
    piece: tuple[float, float] = (0.0, 1.0)
    fitted: bool = False
    loop: bool = False
    roll: float = 0.0
    fade_in: float = 0.0
    fade_out: float = 0.0
    fade: str = "sine"
    crossfade: tuple[float, float] | None = None
    band: tuple[float, float] = (0.0, 1.0)
    cells: Cells | None = None
    warp: Tensor | None = None
    stretch: str = "none"
    semitones: int = 0
    seconds: tuple[float, float] = (0.0, 0.0)
    stem: int | None = None
    reverse_channels: bool = False

    @property
    def gain_db(self) -> float:
        """The gain in dB, whatever its sign; ``-inf`` for silence."""
        return 20 * math.log10(abs(self.gain)) if self.gain else -math.inf
