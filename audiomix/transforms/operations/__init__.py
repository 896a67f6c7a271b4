"""Operations that `RandAugment` draws from, one a file. The folder is a registry; see `audiomix.registry`."""

from typing import TYPE_CHECKING

from ...registry import Registry
from .._operation import Group, Operation

__all__ = ["Group", "Operation", "available", "get", "make", "name_of", "read", "title_of"]

_REGISTRY: Registry[type[Operation]] = Registry("operation", __name__, __name__, base=Operation)
available, get, read = _REGISTRY.available, _REGISTRY.get, _REGISTRY.read
name_of, title_of = _REGISTRY.name_of, _REGISTRY.title_of
if not TYPE_CHECKING:  # a type checker knows the files, and so which names are misspelt
    __getattr__ = _REGISTRY.module


def make(text: str) -> Operation:
    """Return an operation.

    Parameters
    ----------
    text : str
        A name or a path, with options behind it or without: ``gain:db=6``.

    Examples
    --------
    >>> make("gain:db=6")
    Gain(db=6.0)
    """
    chosen = read(text)
    return chosen.member(**chosen.options)
