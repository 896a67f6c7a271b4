"""One method a file. The folder is a registry: a method's name is its file's stem; see `audiomix.registry`.

The arguments of its constructor behind `num_classes` and `mixer` are its options, on the command line too.
"""

from typing import Any, get_args

from audiomix import check, mixers, transforms
from audiomix.mixer import Mixer
from audiomix.needs import SPECTROGRAM
from audiomix.options import Option, options_of
from audiomix.registry import Choice, is_path, load

from ..training import mixing
from ..training.mixing import LearnedMixing
from .base import REGISTRY, Algorithm

__all__ = ["OF_TRANSFORMS", "available", "get", "make_mixer", "mixer_for", "options", "spectral_transforms", "split"]

# Options of a mixer that follow from the data and the front end.
_OURS = ("num_classes", "log", "mean", "std")
# Those of a transform
OF_TRANSFORMS = ("num_classes", "rate", "domain", "scale", "std", "time_axis")

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


def make_mixer(text: str, kind: type[Algorithm]) -> Mixer | LearnedMixing:
    """Return a mixer for a method. What is not given comes from the method's `mixing`, else from the mixer itself.

    Parameters
    ----------
    text : str
        E.g. ``mixup``, ``mixup:alpha=0.75,keep_larger=true`` or ``mine.py:RollMix``. For a method that declares
        `takes_mixing` also a transform of spectrograms (``spec_augment``) or a learned mixing (``adamixup``).
    kind : subclass of Algorithm
        The method.

    Raises
    ------
    ValueError
        No such mixer, one for waveforms (recipes mix what the network sees), one that reads more than the sound, or it
        has no such option.
    """
    chosen = _read_mixing(text) if kind.takes_mixing else mixers.read(text, skip=_OURS)
    if issubclass(chosen.member, LearnedMixing):
        return chosen.member(**chosen.options)
    domains = mixers.domains(chosen.member)
    if SPECTROGRAM not in domains:
        slip = "recipes mix what the network sees; this one is for waveforms"
        check.fail("mixer", "one for spectrograms", chosen.name, slip)
    known = {option.name: option for option in options_of(chosen.member)}
    given: dict[str, Any] = {k: v for k, v in kind.mixing.items() if k in known} | chosen.options
    if "domain" in known and SPECTROGRAM in get_args(known["domain"].kind):
        given.setdefault("domain", SPECTROGRAM)
    pairing = given.get("pairing", "any")
    if pairing.partition(":")[0] in ("same_class", "different_class", "weighted", "label_kernel"):
        check.fail("pairing", "one that needs no classes", pairing, "most clips that a method mixes have none")
    made = chosen.member(**given)
    if made.needs.notes:
        slip = "what it reads besides the sound is not there"
        check.fail("mixer", f"one that reads the sound alone, not {', '.join(made.needs.notes)}", chosen.name, slip)
    return made


def spectral_transforms() -> list[str]:
    """Return the names of the transforms that change spectrograms and take no further data.

    >>> "spec_augment" in spectral_transforms(), "room" in spectral_transforms()
    (True, False)
    """
    found = []
    for name in transforms.available():
        kind = transforms.get(name)
        wanted = [option.name for option in options_of(kind) if option.is_required]
        if not wanted and SPECTROGRAM in mixers.domains(kind):
            found.append(name)
    return found


def _read_mixing(text: str) -> Choice[Any]:
    """Return what a text names: a learned mixing, a transform of spectrograms, or a mixer."""
    name, _ = mixing.split(text)
    if is_path(name):
        member = load(name, "mixer")
        is_learned = isinstance(member, type) and issubclass(member, LearnedMixing)
        return mixing.read(text) if is_learned else mixers.read(text, skip=_OURS)
    found = spectral_transforms()
    check.choice("mixer", name, [*mixers.available(), *found, *mixing.available()])
    if name in mixing.available():
        return mixing.read(text)
    return transforms.read(text, skip=OF_TRANSFORMS) if name in found else mixers.read(text, skip=_OURS)
