"""What a run is asked for, checked before any work; and what each format that is written can hold."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

from .. import check
from ..clips import Clips
from ..mixer import Mixer
from .fit import LENGTHS

if TYPE_CHECKING:
    from .providers.rooms import Rooms

__all__ = ["FORMATS", "Settings", "settings_of", "unfit"]


class _Limits(NamedTuple):
    channels: int
    rate: int


# What libsndfile and its codecs take; Vorbis crashes beyond its own.
_LIMITS = {"flac": _Limits(8, 655_350), "wav": _Limits(1024, 2**31 - 1), "ogg": _Limits(255, 200_000)}
FORMATS = tuple(_LIMITS)
# FLAC keeps higher rates as tens of Hz.
_EXACT = 65_535


@dataclass(frozen=True)
class Settings:
    """What all files of a run have in common; see `audiomix.offline.run.augment`.

    Parameters
    ----------
    mixer : Mixer
        How two sounds are mixed.
    classes : tuple of str
        Names of the classes, in the order of the label's places.
    seed : int
        What all draws depend on, with the names of the files.
    format : str
        flac, wav or ogg.
    rate : int, optional
        Sampling rate of the results in Hz; None keeps each original's.
    channels : int, optional
        Channels of the results; None keeps each original's.
    length : str or float
        original, shortest, longest, or seconds.
    crop : str
        random or start: which part of a longer sound is taken.
    stems : bool
        Write the parts of each mix too.
    float_scale : float, optional
        What full scale is in files that hold whole numbers as floats; see `audiomix.audio.io.read`.
    rooms : Rooms, optional
        Impulse responses that sounds are convolved with before they are mixed.
    profile : bool
        Measure how long each stage takes.
    """

    mixer: Mixer
    classes: tuple[str, ...] = ()
    seed: int = 0
    format: str = "flac"
    rate: int | None = None
    channels: int | None = None
    length: str | float = "original"
    crop: str = "random"
    stems: bool = False
    float_scale: float | None = None
    rooms: "Rooms | None" = None
    profile: bool = False


def settings_of(
    mixer: Mixer,
    *,
    seed: int = 0,
    format: str = "flac",
    rate: int | None = None,
    channels: str | int = "original",
    length: str | float = "original",
    crop: str = "random",
    stems: bool = False,
    float_scale: float | None = None,
    classes: Sequence[str] = (),
) -> Settings:
    """Return what `augment` was asked for as `Settings`, checked.

    Parameters
    ----------
    mixer : Mixer
        In training mode, for waveforms.
    seed, format, rate, length, crop, stems, float_scale
        As in `Settings`; `length` may be a number as a command line has it, a string.
    channels : str or int
        ``original``, or a number; also as a string.
    classes : sequence of str
        Names of the classes, in the order of the label's places.

    Raises
    ------
    TypeError, ValueError
        A wrong argument, or arguments that can never work together.

    Examples
    --------
    >>> from audiomix import MixUp
    >>> settings = settings_of(MixUp(), channels="2", length="1.5")
    >>> settings.channels, settings.length
    (2, 1.5)
    """
    _check_mixer(mixer)
    needs = mixer.needs
    if needs.partner == "whole" and length in ("shortest", "longest"):
        slip = "what of a partner is heard, and for how long, is this mixer's choice"
        check.fail("length", f"original or seconds for {type(mixer).__name__}", repr(length), slip)
    if needs.partner == "whole" and needs.length == "free" and length != "original":
        slip = "max_seconds=" if needs.caption == "written" else "keep='original'?"
        check.fail("length", f"original for a {type(mixer).__name__} that chooses its length", repr(length), slip)
    format = check.choice("format", format, FORMATS)
    if stems and format == "ogg":
        check.fail("format", "flac or wav with stems", "'ogg'", "Vorbis keeps no samples, so nothing sums exactly")
    if isinstance(channels, str) and channels.isdecimal():  # from a command line
        channels = int(channels)
    settings = Settings(
        mixer,
        classes=tuple(classes),
        seed=check.integer("seed", seed),
        format=format,
        rate=None if rate is None else check.rate("rate", rate),
        channels=None if channels == "original" else check.integer("channels", channels, 1, slip="or 'original'"),
        length=_length(length),
        crop=check.choice("crop", crop, ["random", "start"]),
        stems=stems,
        float_scale=None if float_scale is None else check.number("float_scale", float_scale, 2),
    )
    wrong = unfit(format, channels=settings.channels, rate=settings.rate)
    if wrong:
        check.fail(*wrong)
    return settings


def unfit(format: str, *, channels: int | None = None, rate: int | None = None) -> tuple[str, str, int, str] | None:
    """Return why a format cannot hold so many channels or such a rate, or None where it can.

    Parameters
    ----------
    format : str
        flac, wav or ogg.
    channels, rate : int, optional
        None is not looked at; the rate is in Hz.

    Returns
    -------
    tuple of (str, str, int, str), optional
        Arguments of `audiomix.check.fail`: what is wrong (channels or rate), what was expected, what came, and what
        helps.

    Examples
    --------
    >>> unfit("flac", channels=9)
    ('channels', 'at most 8 for flac', 9, 'format wav holds 1024')
    """
    most = _LIMITS[format]
    if channels is not None and channels > most.channels:
        slip = "" if format == "wav" else f"format wav holds {_LIMITS['wav'].channels}"
        return "channels", f"at most {most.channels} for {format}", channels, slip
    if rate is not None and rate > most.rate:
        return "rate", f"at most {most.rate} Hz for {format}", rate, "format wav, or another rate"
    if rate is not None and format == "flac" and rate > _EXACT and rate % 10:
        return "rate", f"a multiple of 10 Hz above {_EXACT} for flac", rate, "format wav, or another rate"
    return None


def _check_mixer(mixer: Mixer) -> None:
    """Refuse a mixer that mixes nothing, or that does not work on waveforms, which is what files hold."""
    check.one_of_types("mixer", mixer, Mixer, "a Mixer (audiomix.mixers.get(name)(...) makes one)")
    if not mixer.training:
        check.fail("mixer", "in training mode", "one in eval mode, which mixes nothing", "mixer.train()")
    if "wave" not in mixer.needs.domain:
        slip = "files hold waveforms: choose another domain= or kind="
        check.fail("mixer", "one that mixes waveforms", f"{mixer!r} for {', '.join(sorted(mixer.needs.domain))}", slip)
    for name, schedule in mixer.schedules(Clips(torch.zeros(1, 1, 1))).items():
        if not schedule.is_constant:
            slip = "a schedule follows a training, and files are mixed without one"
            check.fail(f"{name} (--{name.replace('_', '-')})", "constant", repr(str(schedule)), slip)


def _length(value: str | float) -> str | float:
    if value in LENGTHS:
        return str(value)
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return check.choice("length", value, [*LENGTHS, "a number of seconds"])
    if not (math.isfinite(seconds) and 0.001 <= seconds <= 86400):
        check.fail("length", f"one of {', '.join(LENGTHS)}, or 0.001 to 86400 seconds", f"{seconds:g}")
    return seconds
