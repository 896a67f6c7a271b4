"""Targets: ``(thing, plan) -> thing``. Labels, frame labels, captions and embeddings follow the plan of the sound."""

from . import (
    activity as activity,
    attention as attention,
    correspondence as correspondence,
    embeddings as embeddings,
    frames as frames,
    label_share as label_share,
    labels as labels,
    pictures as pictures,
    rttm as rttm,
)
