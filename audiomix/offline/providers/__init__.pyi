"""What mixers need to know of each file, one file a kind of note: beats, captions."""

from . import (
    beats as beats,
    captions as captions,
    features as features,
    known as known,
    llm as llm,
    rewrite as rewrite,
    tracking as tracking,
)
