"""What a run is asked for, checked before any work."""

import math
from collections.abc import Sequence
from typing import Any

from .. import check
from ..mixer import Mixer
from .fit import LENGTHS
from .formats import FORMATS, unfit
from .render import Settings

__all__ = ["settings_of"]


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
    classes: Sequence[str] = (),
) -> Settings:
    """Check what `augment` was asked for; `classes` are the names of the label's places.

    Raises
    ------
    TypeError, ValueError
        A wrong argument, or arguments that can never work together.
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
    whole = channels == "original"
    settings = Settings(
        mixer,
        classes=tuple(classes),
        seed=check.integer("seed", seed),
        format=format,
        rate=None if rate is None else check.rate("rate", rate),
        channels=None if whole else check.integer("channels", _number(channels), 1, slip="or 'original'"),
        length=_length(length),
        crop=check.choice("crop", crop, ["random", "start"]),
        stems=stems,
    )
    wrong = unfit(format, channels=settings.channels, rate=settings.rate)
    if wrong:
        check.fail(*wrong)
    return settings


def _check_mixer(mixer: Mixer) -> None:
    """Refuse a mixer that mixes nothing, or that does not work on waveforms, which is what files hold."""
    check.one_of_types("mixer", mixer, Mixer, "a Mixer (audiomix.mixers.get(name)(...) makes one)")
    if not mixer.training:
        check.fail("mixer", "in training mode", "one in eval mode, which mixes nothing", "mixer.train()")
    if "wave" not in mixer.needs.domain:
        slip = "files hold waveforms: choose another domain= or kind="
        check.fail("mixer", "one that mixes waveforms", f"{mixer!r} for {', '.join(sorted(mixer.needs.domain))}", slip)


def _number(value: Any) -> Any:
    """Return what a command line wrote as a number as one; everything else as it came."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


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
