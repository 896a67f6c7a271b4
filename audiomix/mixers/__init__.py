"""One mixer a file. The folder is a registry: a mixer's name is its file's stem; see `audiomix.registry`."""

import inspect
from collections.abc import Iterable
from typing import Any

from ..mixer import Mixer
from ..registry import Choice, Registry

__all__ = ["available", "domains", "for_files", "get", "make", "name_of", "read", "title_of"]

_REGISTRY: Registry[type[Mixer]] = Registry("mixer", __name__, "audiomix.mixers", base=Mixer)


def available() -> list[str]:
    """Return the names of all mixers, those of installed packages too, sorted.

    >>> "mixup" in available()
    True
    """
    return _REGISTRY.available()


def get(name: str) -> type[Mixer]:
    """Return the class of a mixer.

    Parameters
    ----------
    name : str
        One of `available`, or a path: ``mine.py:RollMix`` or ``package.module:RollMix``.

    Raises
    ------
    ValueError
        There is none of this name; a near miss is named.

    Examples
    --------
    >>> get("mixup").__name__
    'MixUp'
    """
    return _REGISTRY.get(name)


def domains(mixer: type[Mixer]) -> frozenset[str]:
    """Return what a class of mixers works on in any of its modes: ``wave``, ``spectrogram``, ``embedding``, ``stream``.

    >>> sorted(domains(get("between_class")))
    ['wave']
    """
    return frozenset().union(*(example.mixer.needs.domain for example in mixer.examples()))


def for_files() -> list[str]:
    """Return the names of the mixers that files can be mixed by: they work on waveforms and want no functions.

    >>> "mixup" in for_files(), "stream" in for_files(), "latent_beat" in for_files()
    (True, False, False)
    """
    found = []
    for name in available():
        kind = get(name)
        wanted = [p.name for p in inspect.signature(kind).parameters.values() if p.default is p.empty]
        if set(wanted) <= {"rate", "options"} and "wave" in domains(kind):
            found.append(name)
    return found


def read(text: str, skip: Iterable[str] = ()) -> Choice[type[Mixer]]:
    """Return name, class and options of a mixer; see `audiomix.registry.Registry.read`.

    Parameters
    ----------
    text : str
        ``NAME`` or ``NAME:key=value,...``.
    skip : iterable of str
        Arguments of the constructor that are no options here.

    Examples
    --------
    >>> read("mixup:alpha=0.3,keep_larger=yes").options
    {'alpha': 0.3, 'keep_larger': True}
    """
    return _REGISTRY.read(text, skip)


def make(text: str, *, rate: int | None = None, **options: Any) -> Mixer:
    """Return a mixer.

    Parameters
    ----------
    text : str
        A name or path as `get` takes it, with options behind it or without: ``mixup:alpha=0.3``.
    rate : int, optional
        Sampling rate in Hz; left out for mixers that take none.
    **options
        Arguments of the constructor; they come before those in the text.

    Examples
    --------
    >>> make("between_class", rate=16000).rate
    16000
    >>> make("mixup:alpha=0.3").alpha(0)
    0.3
    """
    chosen = read(text)
    takes_rate = "rate" in inspect.signature(chosen.member).parameters
    return chosen.member(**({"rate": rate} if takes_rate else {}) | chosen.options | options)


def name_of(mixer: type[Mixer]) -> str:
    """Return the name of a mixer's class: as `get` takes it, or its module and name where it is of no registry.

    Parameters
    ----------
    mixer : subclass of Mixer
        The class.

    Examples
    --------
    >>> name_of(get("mixup"))
    'mixup'
    """
    return _REGISTRY.name_of(mixer)


def title_of(mixer: type[Mixer]) -> str:
    """Return what a mixer does, in one line.

    Parameters
    ----------
    mixer : subclass of Mixer
        The class.

    Examples
    --------
    >>> title_of(get("cutmix")).split(":")[0]
    'CutMix'
    """
    return _REGISTRY.title_of(mixer)
