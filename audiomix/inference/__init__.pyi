"""What is done at test time: statistics that follow the stream, averages over views, two networks as one."""

from . import smoothing as smoothing, unmix_tns as unmix_tns, views as views
from .smoothing import smooth_adaptively as smooth_adaptively
from .unmix_tns import UnMixTNS as UnMixTNS, replace_batch_norm as replace_batch_norm
from .views import predict_with_views as predict_with_views
