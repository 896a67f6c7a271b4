r"""SaliencyMix: the most salient piece of each clip's partner is put into the clip.

.. math:: x' = M x + (1 - M) x_p, \qquad M = 0 \text{ around } \arg\max_{t,f} s_p(t, f)

It is CutMix whose box is centred on the peak of the partner's saliency; the label is shared by area. Which saliency a
sound has, and labels by saliency, are our definition; see `audiomix.audio.saliency`. The box is moved into the clip
where it would reach over an edge, so that the mean share is what was drawn; the paper's is cut off there, and keeps
more.

Source: Uddin et al., "SaliencyMix: A Saliency Guided Data Augmentation Strategy for Better Regularization", ICLR 2021.
Label: mixed by the share of the area that is kept, or of the saliency.
"""

from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from .. import check, draw
from ..audio.saliency import NOT_SALIENT, Saliency, cell_overlap, measure_saliency, read_saliency
from ..clips import Clips, overlap
from ..draw import Generator
from ..mixer import Example, Pairing, Rule
from ..plan import Plan
from ..schedule import Schedule
from .cutmix import CutMix, SpanPlan

__all__ = ["SaliencyMix", "SaliencyPlan"]


@dataclass(frozen=True, eq=False)
class SaliencyPlan(SpanPlan):
    """A plan that cuts the most salient piece out of each partner.

    Parameters
    ----------
    partner, weight, why, roll, roll_within, span, band, fade, kind, widths, source_span
        See `audiomix.SpanPlan`.
    label : str
        What the weight is a share of: the ``area`` or the ``saliency`` that is kept.

    Examples
    --------
    >>> plan = SaliencyMix()(torch.randn(2, 1, 2000)).plans[0]
    >>> plan.label, plan.span.shape
    ('area', torch.Size([2, 2]))
    """

    label: str = "area"

    @property
    def share_of(self) -> str | None:  # type: ignore[override]
        """``area``, or None for a label by saliency: that cannot be told from the mix."""
        return "area" if self.label == "area" else None


class SaliencyMix(CutMix):
    """SaliencyMix in time (waveforms and spectrograms), in frequency or in a box (spectrograms).

    Parameters
    ----------
    kind : str
        ``time``: a span of time, over all frequencies; ``freq``: a band, over all time; ``box``: both.
    saliency : str or callable
        ``energy``, ``spectral_flux``, a path ``mine.py:function``, or a function from a batch to a map (B, n) or
        (B, f, n) of numbers of at least 0; see `audiomix.audio.saliency`.
    label : str
        What the label is shared by: the ``area`` kept, as in the paper, or the ``saliency`` kept: the original's of
        what is left of it, against the partner's of its piece, each as a share of its clip's.
    alpha, fade, rate, keep_larger
        See `audiomix.CutMix`.
    offset : str
        Where the piece is put: at the ``same`` place, as in the paper, or at a ``free`` one, drawn uniformly. Pieces
        are moved in time, never in frequency.
    num_classes, p, pairing, rule, time_axis
        See `audiomix.Mixer`.

    Notes
    -----
    The weight of a label by area is the share of the valid area that is kept, after rounding. Frame labels are cut
    where the sound is, whatever `label` says. A partner that is silent, or alike everywhere, has no peak: the clip is
    left as it is, and the plan says why. A silent original counts as alike everywhere in a label by saliency.

    The place is part of the plan: `x` is measured without a gradient, and on another device the call waits for **one**
    copy of the maps. The cost is that of CutMix and of the saliency: a pass over the batch for ``energy``, a Fourier
    transform for ``spectral_flux`` of waveforms.

    See Also
    --------
    audiomix.AttentiveMix : single cells in place of one piece.
    audiomix.PuzzleMix : cells of both clips are weighed.
    audiomix.SMMix : what a network attends to.

    Examples
    --------
    >>> wave = torch.zeros(2, 1, 1000)
    >>> wave[:, :, 700:710] = 1.0  # both clips have their event there
    >>> mixed = SaliencyMix()(wave, generator=torch.Generator().manual_seed(1))
    >>> start, stop = (mixed.plans[0].span * 1000).round().long().unbind(1)
    >>> bool(((start <= 705) & (stop > 705)).all())
    True
    """

    plan_type = SaliencyPlan

    def __init__(
        self,
        kind: Literal["time", "freq", "box"] = "time",
        *,
        saliency: Saliency = "energy",
        label: Literal["area", "saliency"] = "area",
        alpha: float | str | Schedule = 1.0,
        offset: Literal["same", "free"] = "same",
        fade: float = 0.0,
        rate: int | None = None,
        keep_larger: bool = False,
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        pairing: Pairing = "any",
        rule: Rule = "linear",
        time_axis: int | None = None,
    ) -> None:
        super().__init__(
            kind, alpha=alpha, offset=offset, fade=fade, rate=rate, keep_larger=keep_larger, num_classes=num_classes,
            p=p, pairing=pairing, rule=rule, time_axis=time_axis,
        )  # fmt: skip
        read_saliency("saliency", saliency)
        self.saliency = saliency
        self.label = check.choice("label", label, ["area", "saliency"])

    @classmethod
    def examples(cls) -> list[Example]:
        """Return every kind of cut, saliency and label, on waveforms and on spectrograms."""
        waves = [
            cls(), cls(saliency="spectral_flux"), cls(offset="free"), cls(fade=0.05, rate=1000), cls(label="saliency"),
        ]  # fmt: skip
        bins = [
            cls(), cls("freq"), cls("box", saliency="spectral_flux"),
            cls("box", offset="free", label="saliency"),
        ]  # fmt: skip
        return [*map(Example, waves), *(Example(mixer, shape=(1, 12, 100)) for mixer in bins)]

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw partners, shares and where pieces are put; find the peaks of the partners' saliency."""
        partner, mixed = self.pair(own, source, progress=progress, generator=generator)
        kept = draw.beta(self.alpha(progress), len(own), generator=generator).numpy()
        places = draw.uniform(0, 1, len(own), generator=generator).numpy()
        free = self.offset == "free"
        bands = torch.tensor([[0.0, 1.0]]).double() if self.kind == "time" else None
        mine, maps = measure_saliency(
            own, source, self.saliency, bands=bands, both=self.label == "saliency", fitted=not free
        )
        theirs = maps[partner].numpy()
        if not free and (own.lengths is not None or source is not own):  # what both clips have
            ends = overlap(own, source, partner)[1].numpy() / own.size
            theirs = theirs * (_centres(theirs.shape[-1]) < ends[:, None])[:, None]
        time, freq, salient = self._peaks(theirs)
        cut = 1 - (np.maximum(kept, 1 - kept) if self.keep_larger else kept)
        cut = np.where(mixed.numpy() & salient, cut, 0.0)
        time = time * (source.size if free else own.size)
        rows = [places if free else time]
        rows += [] if self.kind == "time" else [freq * own.x.shape[-2]]
        rows += [time] if free else []
        plan = self._place(own, source, partner, cut, np.stack(rows))
        silent = (~salient).tolist()
        found: dict[str, Any] = {f.name: getattr(plan, f.name) for f in fields(plan)} | {"label": self.label}
        if self.label == "saliency":
            found["weight"] = _kept_saliency(plan, mine, maps[partner], own)
        if any(silent):
            found["why"] = tuple(NOT_SALIENT if one else "" for one in silent)
        return SaliencyPlan(**found)

    def _peaks(self, maps: Any) -> tuple[Any, Any, Any]:
        """Return where maps (B, f, n) peak in time and in frequency, as fractions, and whether they do; (B,) each."""
        if self.kind == "freq":
            maps = maps.sum(2, keepdims=True)
        flat = maps.reshape(len(maps), -1)
        row, column = np.unravel_index(flat.argmax(1), maps.shape[1:])
        return _centres(maps.shape[2])[column], _centres(maps.shape[1])[row], flat.max(1) > 0

    def _start(self, axis: str, room: Any, width: Any, place: Any) -> Any:
        """Return where pieces begin: centred on a peak, in samples or bins, and moved into the clip; or anywhere."""
        if axis == "free":
            return super()._start(axis, room, width, place)
        return np.clip(np.floor(place - width / 2 + 0.5), 0, room - width)


def _centres(cells: int) -> Any:
    return (np.arange(cells) + 0.5) / cells


def _kept_saliency(plan: SpanPlan, own_maps: Tensor, maps: Tensor, own: Clips) -> Tensor:
    """Return the original's share of the saliency in each mix, (B,), of maps (B, f, n) of originals and partners.

    Each clip's saliency is counted as a share of all that it has. Where there is none in what is heard, the label is
    shared by area.
    """
    ends = own.valid.double() / own.size
    uniform = cell_overlap(torch.stack([torch.zeros_like(ends), ends], 1), own_maps.shape[2]).unsqueeze(1)
    own_maps = torch.where(own_maps.amax((1, 2), keepdim=True) > 0, own_maps, uniform.to(own_maps.dtype))
    bands = torch.tensor([[0.0, 1.0]]).double() if plan.kind == "time" else plan.band
    kept = 1 - _within(own_maps, plan.span, bands)
    added = _within(maps, plan.span if plan.source_span is None else plan.source_span, bands)
    share = (kept / torch.where(kept + added > 0, kept + added, 1.0)).clamp(0, 1)
    return torch.where((plan.weight < 1) & (added > 0) & (share < 1), share, plan.weight)


def _within(maps: Tensor, spans: Tensor, bands: Tensor) -> Tensor:
    """Return the share of maps (B, f, n) that lies within spans of time and bands of frequency, (B, 2) each; (B,)."""
    time, freq = cell_overlap(spans, maps.shape[2]), cell_overlap(bands, maps.shape[1]).to(maps.dtype)
    freq = freq.expand(len(maps), -1)
    both = torch.stack([torch.ones_like(freq), freq], 1) @ maps  # over all and over the band, (B, 2, n): one pass
    total, found = (both.double() * torch.stack([torch.ones_like(time), time], 1)).sum(2).unbind(1)
    return found / torch.where(total > 0, total, 1.0)
