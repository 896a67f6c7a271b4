"""What belongs to sounds besides their samples, one file a kind: beats, captions, rooms, turns."""

from . import (
    beats as beats,
    captions as captions,
    features as features,
    known as known,
    llm as llm,
    rewrite as rewrite,
    rooms as rooms,
    tracking as tracking,
    turns as turns,
)
