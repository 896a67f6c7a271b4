"""What lives inside a network: mixing of hidden states, by hooks or as a layer."""

from . import hidden as hidden, layer as layer
from .hidden import HiddenMix as HiddenMix, manifold_mixup as manifold_mixup
from .layer import MixLayer as MixLayer
