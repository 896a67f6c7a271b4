"""What a gain in decibels is on each scale that a spectrogram may have."""

import math

from ..audio.features import LOG_SCALES

__all__ = ["FACTORS", "LOGS", "decibel"]

# One decibel added to logarithms of power; the natural logarithm of the factor that it is on what is no logarithm.
LOGS = {name: scale / LOG_SCALES["db"] for name, scale in LOG_SCALES.items()}
FACTORS = {"amplitude": math.log(10) / 20, "power": math.log(10) / 10}


def decibel(scale: str, std: float = 1.0) -> float:
    """Return what one decibel adds to a log spectrogram.

    Parameters
    ----------
    scale : str
        ``db`` (10 log10 of power), ``log10`` or ``ln`` (of power).
    std : float
        What normalised logarithms were divided by.

    Examples
    --------
    >>> decibel("db"), decibel("db", std=2.0), round(decibel("ln"), 3)
    (1.0, 0.5, 0.23)
    """
    return LOGS[scale] / std
