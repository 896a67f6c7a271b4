"""What each format that is written can hold."""

from typing import NamedTuple

__all__ = ["FORMATS", "unfit"]


class _Limits(NamedTuple):
    channels: int
    rate: int


# What libsndfile and its codecs take; Vorbis crashes beyond its own.
_LIMITS = {"flac": _Limits(8, 655_350), "wav": _Limits(1024, 2**31 - 1), "ogg": _Limits(255, 200_000)}
FORMATS = tuple(_LIMITS)
# FLAC keeps higher rates as tens of Hz.
_EXACT = 65_535


def unfit(format: str, *, channels: int | None = None, rate: int | None = None) -> tuple[str, str, int, str] | None:
    """Return why a format cannot hold so many channels or such a rate, or None where it can.

    Parameters
    ----------
    format : str
        flac, wav or ogg.
    channels, rate : int, optional
        None is not looked at.

    Returns
    -------
    tuple of (str, str, int, str), optional
        What is wrong (channels or rate), what was expected, what came, and what helps.

    Examples
    --------
    >>> unfit("flac", channels=9)
    ('channels', 'at most 8 for flac', 9, 'format wav holds 1024')
    """
    most = _LIMITS[format]
    if channels is not None and channels > most.channels:
        wav = _LIMITS["wav"].channels
        return "channels", f"at most {most.channels} for {format}", channels, "" if format == "wav" else _holds(wav)
    if rate is not None and rate > most.rate:
        return "rate", f"at most {most.rate} Hz for {format}", rate, "format wav, or another rate"
    if rate is not None and format == "flac" and rate > _EXACT and rate % 10:
        return "rate", f"a multiple of 10 Hz above {_EXACT} for flac", rate, "format wav, or another rate"
    return None


def _holds(channels: int) -> str:
    return f"format wav holds {channels}"
