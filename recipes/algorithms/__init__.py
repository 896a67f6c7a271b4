"""One method a file. The folder is a registry: a method's name is its file's stem; see `audiomix.registry`.

The arguments of its constructor behind `num_classes` and `mixer` are its options, on the command line too.
"""

from typing import Any

from audiomix import check, mixers
from audiomix.mixer import Mixer
from audiomix.options import Option, options_of

from .base import REGISTRY, Algorithm

__all__ = ["available", "get", "make_mixer", "mixer_for", "options", "split"]

# Options of a mixer that follow from the data and the front end.
_OURS = ("num_classes", "log", "mean", "std")

available, get, split = REGISTRY.available, REGISTRY.get, REGISTRY.split


def options(kind: type[Algorithm]) -> dict[str, Option]:
    """Return the options of a method by name.

    Parameters
    ----------
    kind : subclass of Algorithm
        The method.

    Examples
    --------
    >>> options(get("fixmatch"))["threshold"].default
    0.8
    """
    return {option.name: option for option in REGISTRY.options_of(kind)}


def mixer_for(text: str | None, kind: type[Algorithm], preset: str = "") -> str | None:
    """Return the text of a run's mixer, or None for a run that does not mix.

    Parameters
    ----------
    text : str or None
        What the user asks for; ``none`` for no mixing. None: what the method has by default.
    kind : subclass of Algorithm
        The method.
    preset : str
        The run's preset: a method's default may depend on it.

    Examples
    --------
    >>> mixer_for(None, get("mixmatch")), mixer_for("none", get("mixmatch")), mixer_for(None, get("supervised"))
    ('mixup', None, None)
    """
    if text is None:
        own = kind.default_mixers
        text = own.get(preset, own.get("", "none"))
    return None if text == "none" else text


def make_mixer(text: str, kind: type[Algorithm]) -> Mixer:
    """Return a mixer for a method. What is not given comes from the method's `mixing`, else from the mixer itself.

    Parameters
    ----------
    text : str
        E.g. ``mixup``, ``mixup:alpha=0.75,keep_larger=true`` or ``mine.py:RollMix``.
    kind : subclass of Algorithm
        The method.

    Raises
    ------
    ValueError
        No such mixer, one for waveforms (recipes mix what the network sees), or it has no such option.
    """
    chosen = mixers.read(text, skip=_OURS)
    if "spectrogram" not in mixers.domains(chosen.member):
        slip = "recipes mix what the network sees; this one is for waveforms"
        check.fail("mixer", "one for spectrograms", chosen.name, slip)
    known = {option.name for option in options_of(chosen.member, skip=_OURS)}
    given: dict[str, Any] = {k: v for k, v in kind.mixing.items() if k in known} | chosen.options
    pairing = given.get("pairing", "any")
    if pairing.partition(":")[0] in ("same_class", "different_class", "weighted", "label_kernel"):
        check.fail("pairing", "one that needs no classes", pairing, "most clips that a method mixes have none")
    return chosen.member(**given)
