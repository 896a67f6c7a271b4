"""Sound itself: files, levels, spectrograms, stretching, the kernel that adds sounds; only `blend` knows of plans."""

from . import (
    blend as blend,
    blend_power as blend_power,
    clip as clip,
    decode as decode,
    features as features,
    headers as headers,
    io as io,
    level as level,
    loudness as loudness,
    pieces as pieces,
    remote as remote,
    reverb as reverb,
    saliency as saliency,
    several as several,
    stretch as stretch,
    video as video,
)
