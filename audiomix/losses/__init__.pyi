"""Losses that belong to mixing."""

from . import (
    anyloss as anyloss,
    comp_sum as comp_sum,
    correctness as correctness,
    decoupled as decoupled,
    fine_grained as fine_grained,
    hard as hard,
    info_nce as info_nce,
    limited_confidence as limited_confidence,
    m2_mix as m2_mix,
    m3col as m3col,
    metrix as metrix,
    mi_mix as mi_mix,
    mix_consistency as mix_consistency,
    mix_contrast as mix_contrast,
    mix_kd as mix_kd,
    mixed_ae as mixed_ae,
    mixed_target as mixed_target,
    mixoe as mixoe,
    mochi as mochi,
    rank as rank,
    sft_mix as sft_mix,
    streams as streams,
    supremix as supremix,
    transcripts as transcripts,
)
from ._module import Loss as Loss
