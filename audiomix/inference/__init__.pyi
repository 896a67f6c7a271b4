"""What is done at test time: statistics that follow the stream, averages over views, warps undone, networks as one."""

from . import smoothing as smoothing, undo as undo, unmix_tns as unmix_tns, views as views
from .smoothing import smooth_adaptively as smooth_adaptively
from .undo import (
    Frames as Frames,
    average_frames as average_frames,
    undo_flip as undo_flip,
    undo_plan as undo_plan,
    undo_roll as undo_roll,
    undo_shift as undo_shift,
    undo_stretch as undo_stretch,
)
from .unmix_tns import UnMixTNS as UnMixTNS, replace_batch_norm as replace_batch_norm
from .views import predict_with_views as predict_with_views
