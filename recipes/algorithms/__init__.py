"""One method a file. The folder is the registry: a method's name is its file's stem.

The keyword-only arguments of its constructor are its options, on the command line too.
"""

import importlib
import inspect
import pkgutil
from typing import Any

from audiomix import check, mixers
from audiomix.mixer import Mixer

from .base import Algorithm

__all__ = ["available", "get", "make_mixer", "mixer_for", "options"]

_SHARED = ("base",)
# Options of a mixer that follow from the data and the front end.
_OURS = ("num_classes", "log", "mean", "std")


def available() -> list[str]:
    """Return the names of all methods, sorted.

    >>> {"mixmatch", "supervised"} <= set(available())
    True
    """
    names = (m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    return sorted(n for n in names if n not in _SHARED)


def get(name: str) -> type[Algorithm]:
    """Return the method's class in the file `name`.

    Raises
    ------
    ValueError
        There is no such file; a near miss is named.
    """
    check.choice("method", name, available())
    module = importlib.import_module(f"{__name__}.{name}")
    classes = [getattr(module, n) for n in module.__all__]
    (found,) = [c for c in classes if isinstance(c, type) and issubclass(c, Algorithm)]
    return found


def options(kind: type[Algorithm]) -> dict[str, inspect.Parameter]:
    """Return the options of a method: the keyword-only arguments of its constructor."""
    parameters = inspect.signature(kind).parameters
    return {name: p for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}


def mixer_for(text: str | None, kind: type[Algorithm], preset: str = "") -> str | None:
    """Return the mixer of a run that asks for `text`: the method's own where nothing is said, None for ``none``.

    >>> mixer_for(None, get("mixmatch")), mixer_for("none", get("mixmatch")), mixer_for(None, get("supervised"))
    ('mixup', None, None)
    """
    if text is None:
        own = kind.default_mixers
        text = own.get(preset, own.get("", "none"))
    return None if text == "none" else text


def make_mixer(text: str, kind: type[Algorithm]) -> Mixer:
    """Return the mixer that `text` names, e.g. ``mixup`` or ``mixup:alpha=0.75,keep_larger=true``.

    What is not given comes from the method's `mixing`, else from the mixer itself.

    Raises
    ------
    ValueError
        No such mixer, one for waveforms (recipes mix what the network sees), or it has no such option.
    """
    name, _, rest = text.partition(":")
    mixer = mixers.get(name)
    known = [option for option in inspect.signature(mixer).parameters if option not in _OURS]
    if mixer.waveforms_only:
        slip = "recipes mix what the network sees; this one is for waveforms"
        check.fail("mixer", "one for spectrograms", name, slip)
    given: dict[str, Any] = {k: v for k, v in kind.mixing.items() if k in known}
    for pair in filter(None, rest.split(",")):
        key, equals, value = pair.partition("=")
        check.choice(f"the option of mixer {name}", key, known)
        given[key] = _value(value) if equals else True
    if (pairing := given.get("pairing", "any")) in ("same_class", "different_class"):
        check.fail("pairing", "one that needs no classes", pairing, "most clips that a method mixes have none")
    return mixer(**given)


def _value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return float(text) if not text.lstrip("+-").isdigit() else int(text)
    except ValueError:
        return text
