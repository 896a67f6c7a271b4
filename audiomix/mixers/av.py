r"""Audio-visual mixing: the sound, the picture and the label of two clips are mixed by one plan.

.. math:: x' = a(s) x + b(s) x_p, \quad v' = p\, v + (1 - p)\, v_p, \quad y' = w y + (1 - w) y_p

Mixup of both streams with one weight from Beta(10, 10) is CAV-MAE's (Gong et al., ICLR 2023); cuts in time and in the
picture are CutMix's (Yun et al., ICCV 2019), placed unclipped.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from .. import check, draw
from ..audio.blend import GAIN_LAWS, check_out, fitted, overlap, sum_sounds
from ..draw import Generator
from ..mixer import Batch, Mixer, Pairing, Rule
from ..plan import Plan
from ..schedule import Schedule
from ..targets.correspondence import LABELS, MODES, AVPlan, correspondence, label_share

__all__ = ["AVMix", "AVPlan"]


class AVMix(Mixer):
    """Mix two different audio-visual clips: here their sounds, by `audiomix.targets.pictures.mix_pictures` the rest.

    Parameters
    ----------
    alpha : float or schedule
        The original's share is drawn from Beta(alpha, alpha): 10 keeps it near one half, as CAV-MAE does; 1 is uniform,
        CutMix's choice for cuts; 0 mixes nothing. Not used by ``swap``.
    mode : str
        ``linear``: sound and picture are interpolated by one share. ``time``: the same seconds of both come from the
        partner. ``box``: a rectangle of the picture comes from the partner, and the sound is mixed by its area.
        ``swap``: the partner's sound under the original's picture.
    sound : str
        ``mix``: as the mode says. ``keep``: the original's sound; only the picture is mixed (by ``swap``: exchanged).
    gains : str
        Amplitudes of the two sounds at share w, for ``linear`` and ``box``: ``amplitude`` (w, 1 - w), ``unit_power`` or
        ``sqrt``; as the gain_law of MixUp.
    label : str
        Whose share the label's is: ``both``, the mean of the sound's and the picture's; ``sound``; or ``picture``.
        They differ only by ``swap`` and where the sound is kept: ``both`` then gives a swapped clip one half.
    per : str
        ``clip``: one share a clip; ``batch``: one for all.
    pixels : (int, int), optional
        Height and width of the pictures: a box then lies on whole pixels, and the label counts them. Without, its edges
        are rounded when it is cut, each by half a pixel at most.
    rate : int, optional
        Sampling rate of the sound in Hz. With it the plan says seconds, so that pictures that last longer or shorter
        than the sound are cut in the same seconds.
    num_classes, p, pairing, rule
        See `audiomix.Mixer`.

    Notes
    -----
    The mix is as long as the original. A longer partner is cut; behind a shorter one the picture is the original's
    alone, the sound is the original at its gain (by ``swap``: silence), and both count as the original's: the weight is
    the mean over the original's valid time. A partner without a valid sample is not mixed in.

    Pictures are not looked at here, so a clip may have none.

    Examples
    --------
    >>> from audiomix.targets.pictures import mix_pictures
    >>> wave, label, frames = torch.randn(4, 1, 16000), torch.arange(4), torch.rand(4, 25, 3, 8, 12)
    >>> mixed = AVMix(num_classes=4)(wave, label, generator=torch.Generator().manual_seed(0))
    >>> pictures = mix_pictures(frames, mixed.plans[0])
    >>> mixed.x.shape, pictures.shape, bool(torch.allclose(mixed.target.diag().double(), mixed.plans[0].weight))
    (torch.Size([4, 1, 16000]), torch.Size([4, 25, 3, 8, 12]), True)
    """

    plan_type = AVPlan

    def __init__(
        self,
        alpha: float | str | Schedule = 10.0,
        *,
        mode: Literal["linear", "time", "box", "swap"] = "linear",
        sound: Literal["mix", "keep"] = "mix",
        gains: Literal["amplitude", "unit_power", "sqrt"] = "amplitude",
        label: Literal["both", "sound", "picture"] = "both",
        per: Literal["clip", "batch"] = "clip",
        pixels: tuple[int, int] | None = None,
        rate: int | None = None,
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        pairing: Pairing = "any",
        rule: Rule = "linear",
    ) -> None:
        super().__init__(num_classes=num_classes, p=p, pairing=pairing, rule=rule)
        self.alpha = Schedule.of(alpha, "alpha").within("alpha", 0)
        self.mode = check.choice("mode", mode, MODES)
        self.sound = check.choice("sound", sound, ["mix", "keep"])
        self.gains = check.choice("gains", gains, GAIN_LAWS)
        if gains != "amplitude" and (mode in ("time", "swap") or sound == "keep"):
            check.fail("gains", "left out where only one of the sounds is heard at a time", repr(gains))
        self.label = check.choice("label", label, LABELS)
        self.per = check.choice("per", per, ["clip", "batch"])
        self.pixels = None if pixels is None else _size(pixels)
        if pixels is not None and mode != "box":
            check.fail("pixels", "left out unless mode='box'", repr(pixels), "edges of frames are times, not pixels")
        self.rate = None if rate is None else check.rate("rate", rate)

    def draw(self, batch: Batch, *, generator: Generator = None) -> Plan:
        """Draw partners, shares and places."""
        partner, mixed = self.pair(batch, generator=generator)
        own, both = overlap(batch.x, partner, batch.lengths, batch.other, batch.other_lengths)
        kept = self._kept_share(batch, mixed, generator)
        start, length, box = torch.zeros_like(both), both, None
        if self.mode == "time":
            length = torch.minimum(((1 - kept) * own).round().long(), both)
            start = draw.integers(both - length + 1, generator=generator)
            kept = torch.zeros_like(kept)
        elif self.mode == "box":
            box = self._box(1 - kept, generator)
            kept = 1 - (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
        length = torch.where(kept < 1, length, 0)
        start = torch.where(length > 0, start, 0)
        kept = torch.where(length > 0, kept, 1.0)
        sound, picture = kept, kept
        if self.sound == "keep":
            sound = torch.ones_like(kept)
        elif self.mode == "swap":
            picture = torch.ones_like(kept)
        a, b = GAIN_LAWS[self.gains](sound)
        if self.mode == "time":  # each sounds at its own level, one at a time
            a, b = torch.ones_like(kept), (sound < 1).double()
        size = batch.x.shape[-1]
        present = torch.where(own > 0, length.double() / own.clamp(min=1), 0.0)
        weight = (label_share(self.label, sound, picture) * present + (1 - present)).clamp(0, 1)
        extent = torch.stack([start, start + length], 1).double() / size
        return AVPlan.of(
            partner, weight, a, b, extent=extent, valid=own.double() / size, sound=sound, picture=picture, box=box,
            seconds=size / self.rate if self.rate else None, mode=self.mode, label=self.label,
        )  # fmt: skip

    def mix(
        self,
        x: Tensor,
        plan: Plan,
        *,
        other: Tensor | None = None,
        lengths: Tensor | None = None,
        other_lengths: Tensor | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """Apply a plan to the sounds."""
        if not isinstance(plan, AVPlan) or plan.mode != "time":
            return sum_sounds(x, plan, other=other, lengths=lengths, other_lengths=other_lengths, out=out)
        source = x if other is None else fitted(other, x.shape[-1])
        if out is not None:
            check_out(out, x, source)
        edges = torch.where(plan.sound[:, None] < 1, (plan.extent * x.shape[-1]).round(), 0.0)
        time = torch.arange(x.shape[-1])[None, :]
        inside = ((time >= edges[:, :1]) & (time < edges[:, 1:])).to(x.device)
        inside = inside.view(len(x), *[1] * (x.ndim - 2), x.shape[-1])
        mixed = torch.where(inside, source[plan.partner.to(x.device)], x)
        return mixed if out is None else out.copy_(mixed)

    def check_plan(self, plan: Plan) -> None:
        """Refuse plans of another mode."""
        super().check_plan(plan)
        if isinstance(plan, AVPlan) and plan.mode != self.mode:
            check.fail("plan", f"of mode {self.mode!r}, as the mixer is", repr(plan.mode))

    def manifest(self, plan: Plan, index: int, context: dict[str, Any]) -> dict[str, Any]:
        """Return the mode, the original's shares of sound and picture over the clip, and how far they correspond."""
        if not isinstance(plan, AVPlan):
            return {}
        present = float(plan.present[index])
        return {
            "mode": plan.mode,
            "sound_share": 1 - present * (1 - float(plan.sound[index])),
            "picture_share": 1 - present * (1 - float(plan.picture[index])),
            "correspondence": float(correspondence(plan)[index]),
        }

    def _kept_share(self, batch: Batch, mixed: Tensor, generator: Generator) -> Tensor:
        """Draw the original's share (B,) of what is mixed; 1 where nothing is."""
        if self.mode == "swap":
            return 1 - mixed.double()
        size = 1 if self.per == "batch" else len(batch)
        kept = draw.beta(self.alpha(batch.progress), size, generator=generator).expand(len(batch))
        return torch.where(mixed, kept, 1.0)

    def _box(self, area: Tensor, generator: Generator) -> Tensor:
        """Draw rectangles (B, 4) of the picture's shape that have this area and lie within it."""
        side = area.sqrt()
        edges = []
        for pixels in self.pixels or (None, None):
            if pixels is None:
                first = draw.uniform(0, 1, len(area), generator=generator) * (1 - side)
                edges.append((first, first + side))
            else:
                whole = (side * pixels).round().long()
                low = draw.integers(pixels - whole + 1, generator=generator)
                edges.append((low.double() / pixels, (low + whole).double() / pixels))
        (top, bottom), (left, right) = edges
        return torch.stack([top, left, bottom, right], 1).clamp(0, 1)


def _size(pixels: tuple[int, int]) -> tuple[int, int]:
    if isinstance(pixels, (str, bytes)) or not hasattr(pixels, "__len__") or len(pixels) != 2:
        check.fail("pixels", "(height, width)", repr(pixels), error=TypeError)
    return check.integer("pixels", pixels[0], 1), check.integer("pixels", pixels[1], 1)
