"""Operations on single clips that keep the label, one a file. The folder is a registry; see `audiomix.registry`."""

from typing import TYPE_CHECKING

from ..registry import Registry
from ..transform import Transform

__all__ = ["OF_STREAMS", "available", "get", "label_of", "name_of", "read", "source_of", "title_of"]

# These two act on streams of sound and picture and return other things than a mixer does.
OF_STREAMS = ("modality_dropout", "time_mask")
# Operations are parts of a transform.
_REGISTRY: Registry[type[Transform]] = Registry(
    "transform", __name__, "audiomix.transforms", base=Transform, skip=(*OF_STREAMS, "operations")
)
available, get, read = _REGISTRY.available, _REGISTRY.get, _REGISTRY.read
name_of, title_of = _REGISTRY.name_of, _REGISTRY.title_of
source_of, label_of = _REGISTRY.source_of, _REGISTRY.label_of
if not TYPE_CHECKING:  # a type checker knows the files, and so which names are misspelt
    __getattr__ = _REGISTRY.module
