"""Operations on single clips that keep the label."""

from . import modality_dropout as modality_dropout, time_mask as time_mask
