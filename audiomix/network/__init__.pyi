"""What needs a network: mixing of hidden states, by hooks or as a layer; patches moved by a gradient; aligned rows."""

from . import (
    hidden as hidden,
    hint_aug as hint_aug,
    layer as layer,
    patch_mix as patch_mix,
    weight_align as weight_align,
)
from .hidden import HiddenMix as HiddenMix, manifold_mixup as manifold_mixup
from .hint_aug import (
    HintAug as HintAug,
    class_confusion as class_confusion,
    find_overfitting as find_overfitting,
    infuse_patches as infuse_patches,
)
from .layer import MixLayer as MixLayer
from .patch_mix import HiddenPatchMix as HiddenPatchMix
from .weight_align import align_weights as align_weights
