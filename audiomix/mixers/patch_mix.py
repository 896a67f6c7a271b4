r"""PatchMix: a fixed share of the patches of each clip, drawn at random, is its partner's.

.. math:: x' = M x + (1 - M) x_p, \qquad n = \mathrm{round}(r N) \text{ of } N \text{ patches are 0}, \qquad
          w = \mathrm{mean}(M)

The share of the paper could not be found: r = 0.3, patches over time alone and the share by area where the end of a
clip cuts a patch are ours.

Source: ours, after Lee et al., "Hardwiring ViT Patch Selectivity into CNNs using Patch Mixing", arXiv:2306.17848,
2023.
Label: mixed by the share of the valid area that is kept.
"""

from typing import Literal

import numpy as np
import torch

from .. import check
from ..clips import Clips
from ..draw import Generator
from ..mixer import Example, Pairing, Rule
from ..plan import Plan
from ..schedule import Schedule
from ._kind import KindMixer
from ._mask_plan import MaskMixer, cell_areas, check_patch, draw_cells, fade_of, patch_grid, plan_mask

__all__ = ["PatchMix"]


class PatchMix(KindMixer, MaskMixer):
    """Replace a fixed share of the patches of each clip by its partner's: in time, or in time and frequency.

    Parameters
    ----------
    kind : str
        ``time``: patches of time over all frequencies. ``time_freq``: patches of spectrograms.
    patch : int or (int, int), optional
        For ``time`` samples or frames of a patch, by default a twentieth of the clip; for ``time_freq`` bins and
        frames, by default (16, 16) as of the usual spectrogram transformers.
    partner_share : float or schedule
        Share of the patches that are the partner's; their number is rounded.
    fade : float
        Cross-fade at the edges of patches, in seconds, for waveforms. Needs `rate`. At most a patch.
    rate : int, optional
        Sampling rate in Hz, for `fade`.
    num_classes, p, pairing, rule, time_axis
        See `audiomix.Mixer`.

    Notes
    -----
    The weight is the share of the valid area that is kept: ``1 - n / N`` where patches fill the clip; a patch that the
    end of a clip cuts counts by its area. With `lengths` patches are drawn among those that both clips have some of.
    The first patch begins with the clip, as those of a model do that cuts patches side by side. The paper smooths
    labels by 0.1 after it: ``CrossEntropyLoss(label_smoothing=0.1)``.

    See Also
    --------
    audiomix.MaskMix : a drawn share, of cells of several patches.

    Examples
    --------
    >>> spec, label = torch.zeros(4, 1, 64, 96) + torch.arange(4).view(4, 1, 1, 1), torch.arange(4)
    >>> mixed = PatchMix("time_freq", partner_share=0.25, num_classes=4)(spec, label)
    >>> mixed.plans[0].weight
    tensor([0.7500, 0.7500, 0.7500, 0.7500], dtype=torch.float64)
    """

    def __init__(
        self,
        kind: Literal["time", "time_freq"] = "time",
        *,
        patch: int | tuple[int, int] | None = None,
        partner_share: float | str | Schedule = 0.3,
        fade: float = 0.0,
        rate: int | None = None,
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        pairing: Pairing = "any",
        rule: Rule = "linear",
        time_axis: int | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, p=p, pairing=pairing, rule=rule, time_axis=time_axis)
        self.kind = check.choice("kind", kind, ["time", "time_freq"])
        patch = (16, 16) if patch is None and kind == "time_freq" else patch
        self.patch = None if patch is None else check_patch("patch", patch, kind)
        self.partner_share = Schedule.of(partner_share, "partner_share").within("partner_share", 0, 1)
        self.fade, self.rate = fade_of(fade, rate, waves=kind == "time")

    @classmethod
    def examples(cls) -> list[Example]:
        """Return both kinds, on waveforms with and without fades and on spectrograms."""
        waves = [cls(), cls(patch=80, fade=0.01, rate=1000)]
        specs = [cls(), cls("time_freq", patch=(4, 16)), cls("time_freq", patch=(5, 7), partner_share=0.6)]
        return [*map(Example, waves), *(Example(spec, shape=(1, 12, 100)) for spec in specs)]

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw partners, and which patches are the partner's; the weight is the share really kept."""
        partner, mixed = self.pair(own, source, progress=progress, generator=generator)
        patch = -(-own.size // _PATCHES) if self.patch is None else self.patch
        rows, columns, height, width = patch_grid(own, patch)
        fade = min(self.fade * self.rate / own.size, width) if self.rate else 0.0
        areas = cell_areas(own, source, partner, columns, width, fade)
        usable = np.broadcast_to((areas > 0)[:, None], (len(own), rows, columns))
        count = np.rint(self.partner_share(progress) * usable.sum((1, 2)))
        theirs = draw_cells(usable, count, generator=generator)
        mask = torch.from_numpy(1 - theirs.astype(np.uint8))
        return plan_mask(own, source, partner, mask, width=width, height=height, fade=fade, mixed=mixed)


# Patches of time of a clip where their size is not given.
_PATCHES = 20
