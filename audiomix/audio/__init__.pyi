"""Sound itself: files, levels, spectrograms, stretching, the kernel that adds sounds; only `blend` knows of plans."""

from . import (
    blend as blend,
    clip as clip,
    features as features,
    io as io,
    level as level,
    stretch as stretch,
    video as video,
)
