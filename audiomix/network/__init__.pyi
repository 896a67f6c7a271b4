"""What lives inside a network: mixing of hidden states, by hooks or as a layer."""

from . import hidden as hidden, layer as layer, patch_mix as patch_mix, weight_align as weight_align
from .hidden import HiddenMix as HiddenMix, manifold_mixup as manifold_mixup
from .layer import MixLayer as MixLayer
from .patch_mix import HiddenPatchMix as HiddenPatchMix
from .weight_align import align_weights as align_weights
