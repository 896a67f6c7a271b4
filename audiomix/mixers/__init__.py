"""One mixer a file. The folder is a registry: a mixer's name is its file's stem; see `audiomix.registry`."""

import inspect
from typing import TYPE_CHECKING, Any

from ..mixer import Mixer
from ..needs import WAVE
from ..registry import Registry

__all__ = ["available", "domains", "for_files", "get", "label_of", "make", "name_of", "read", "source_of", "title_of"]

_REGISTRY: Registry[type[Mixer]] = Registry("mixer", __name__, "audiomix.mixers", base=Mixer)
available, get, read = _REGISTRY.available, _REGISTRY.get, _REGISTRY.read
name_of, title_of = _REGISTRY.name_of, _REGISTRY.title_of
source_of, label_of = _REGISTRY.source_of, _REGISTRY.label_of
if not TYPE_CHECKING:  # a type checker knows the files, and so which names are misspelt
    __getattr__ = _REGISTRY.module


def domains(mixer: type[Mixer]) -> frozenset[str]:
    """Return what a class of mixers works on in any of its modes: ``wave``, ``spectrogram``, ``embedding``, ``stream``.

    >>> sorted(domains(get("between_class")))
    ['wave']
    """
    return frozenset().union(*(example.mixer.needs.domain for example in mixer.examples()))


def for_files() -> list[str]:
    """Return the names of the mixers that mix files as they are by default: waveforms, and they want no functions.

    >>> "mixup" in for_files(), "stream" in for_files(), "latent_beat" in for_files()
    (True, False, False)
    """
    found = []
    for name in available():
        kind = get(name)
        wanted = [p.name for p in inspect.signature(kind).parameters.values() if p.default is p.empty]
        takes_files = set(wanted) <= {"rate", "options"} and WAVE in domains(kind)
        if takes_files and WAVE in make(name, rate=16000).needs.domain:
            found.append(name)
    return found


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
    option = inspect.signature(chosen.member).parameters.get("rate")
    takes_rate = option is not None and (rate is not None or option.default is option.empty)
    return chosen.member(**({"rate": rate} if takes_rate else {}) | chosen.options | options)
