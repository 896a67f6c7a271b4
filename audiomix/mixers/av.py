r"""Audio-visual mixing: the sound, the picture and the label of two clips are mixed by one plan.

.. math:: x' = a(s) x + b(s) x_p, \quad v' = p\, v + (1 - p)\, v_p, \quad y' = w y + (1 - w) y_p

Mixup of both streams has one weight from Beta(10, 10), as in the first paper; cuts in time and in the picture are those
of the second, placed unclipped.

Source: Gong et al., "Contrastive Audio-Visual Masked Autoencoder", ICLR 2023 (mixup); Yun et al., "CutMix:
Regularization Strategy to Train Strong Classifiers with Localizable Features", ICCV 2019 (cuts).
Label: mixed by the mean of the shares of sound and picture.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from .. import check, draw
from ..audio.blend import GAIN_LAWS, sum_sounds
from ..clips import Clips, fit_length, overlap
from ..draw import Generator
from ..mixer import WAVE, Example, Mixer, Needs, Pairing, Rule
from ..plan import ORIGINAL, GainPlan, Part, Plan
from ..schedule import Schedule
from .cutmix import cut_pieces

__all__ = ["AVMix", "AVPlan", "label_share"]

MODES = ("linear", "time", "box", "swap")
LABELS = ("both", "sound", "picture")


@dataclass(frozen=True, eq=False, kw_only=True)
class AVPlan(GainPlan):
    """A plan that mixes the sound and the picture of clips.

    Parameters
    ----------
    partner, weight, why, roll, roll_within
        See `audiomix.Plan`.
    gain_db, ratio, covered, unmixed_behind, share_of
        See `audiomix.GainPlan`.
    extent : Tensor, shape (B, 2), float64
        From when to when the partner is in the mix: fractions of the sound's (padded) time axis; equal where it is not.
    valid : Tensor, shape (B,), float64
        How far the original's own sound reaches, as a fraction of that axis.
    sound, picture : Tensor, shape (B,), float64
        The original's share of the sound and of the picture within `extent`; it is 1 outside.
    box : Tensor, shape (B, 4), float64, optional
        Top, left, bottom and right edge of what the partner covers, fractions of the picture's height and width.
    seconds : float, optional
        How long the sound's (padded) time axis is, so that pictures are cut in the same seconds.
    mode : str
        ``linear``, ``time``, ``box`` or ``swap``; see `audiomix.mixers.av.AVMix`.
    label : str
        Whose share the target's is: of ``both`` (their mean), of the ``sound`` or of the ``picture``.

    Notes
    -----
    `weight` is the mean over the original's valid time of the share that `label` asks for. `gain_db` belongs to the
    sound: within a temporal cut the partner sounds at its gain and the original not at all.

    Examples
    --------
    >>> half, all_of_it = torch.tensor([0.5]).double(), torch.tensor([[0.0, 1.0]]).double()
    >>> plan = AVPlan.of(torch.tensor([0]), half, half, half, extent=all_of_it, valid=torch.ones(1).double(),
    ...                  sound=half, picture=half)
    >>> plan.share(3), plan.agreement
    (tensor([[0.5000, 0.5000, 0.5000]], dtype=torch.float64), tensor([1.], dtype=torch.float64))
    """

    extent: Tensor
    valid: Tensor
    sound: Tensor
    picture: Tensor
    box: Tensor | None = None
    seconds: float | None = None
    mode: str = "linear"
    label: str = "both"

    _still: ClassVar = {**GainPlan._still, "extent": [0.0, 0.0], "valid": 1.0, "sound": 1.0, "picture": 1.0}

    def __post_init__(self) -> None:
        super().__post_init__()
        check.choice("mode", self.mode, MODES)
        check.choice("label", self.label, LABELS)
        self._check_rows("extent", 2, share=True)
        for name in ("valid", "sound", "picture"):
            self._check_rows(name, share=True)
        if self.box is not None or self.mode == "box":
            self._check_rows("box", 4, share=True)
        if self.seconds is not None:
            check.number("seconds", self.seconds, 0)

    @property
    def mixed(self) -> Tensor:
        """Whether the partner is in the sound or in the picture of each clip; (B,), bool."""
        return (self.extent[:, 1] > self.extent[:, 0]) & ((self.sound < 1) | (self.picture < 1))

    def parts(self, index: int) -> list[Part]:
        """Return the parts that sum to the sound of one mix."""
        a, b = (float(gain[index]) for gain in self.gains())
        start, stop = self.extent[index].tolist()
        partner = int(self.partner[index])
        if self.mode != "time":
            return [Part(ORIGINAL, a), *([Part(partner, b, stop=stop)] if b else [])]
        if not b:
            return [Part(ORIGINAL)]
        around = [Part(ORIGINAL, piece=(0.0, start)), Part(ORIGINAL, start=stop, piece=(stop, 1.0))]
        return [*around, Part(partner, start=start, piece=(start, stop), fitted=True)]

    def sources(self, index: int) -> list[int]:
        """Return the partner's row where it is in the sound, in the picture or in the label."""
        return [int(self.partner[index])] if bool(self.mixed[index]) else []

    def describe(self, index: int) -> dict[str, Any]:
        """Return the mode, the original's shares of sound and picture over the clip, and how far they correspond."""
        return {
            "mode": self.mode,
            "sound_share": float(self.stream_weight("sound")[index]),
            "picture_share": float(self.stream_weight("picture")[index]),
            "correspondence": float(self.agreement[index].to(torch.get_default_dtype())),
        }

    @property
    def present(self) -> Tensor:
        """For which share of the original's valid time the partner is in the mix; (B,), float64."""
        length = self.extent[:, 1] - self.extent[:, 0]
        return torch.where(length > 0, length / self.valid.clamp(min=1e-300), 0.0).clamp(max=1)

    def inside(self, at: Tensor) -> Tensor:
        """Whether the partner is in the mix at the fractions `at` (B, N) of the time axis; (B, N), bool."""
        return (at >= self.extent[:, :1]) & (at < self.extent[:, 1:])

    def share(self, size: int) -> Tensor:
        """The original's share of the label at each of `size` frames; (B, size), float64."""
        centre = (torch.arange(size, dtype=torch.float64) + 0.5) / size
        ratio = label_share(self.label, self.sound, self.picture)
        return torch.where(self.inside(centre.expand(len(self), size)), ratio[:, None], 1.0)

    def stream_weight(self, stream: str) -> Tensor:
        """Return the original's share of the ``sound`` or of the ``picture`` over the whole clip; (B,), float64."""
        return 1 - self.present * (1 - (self.sound if stream == "sound" else self.picture))

    @property
    def agreement(self) -> Tensor:
        """How far sound and picture come from the same clips: ``1 - present |sound - picture|``; (B,), float64."""
        return 1 - self.present * (self.sound - self.picture).abs()

    def order(self, index: int) -> str:
        """Return who comes first in a temporal cut: nobody where the partner stands in the middle."""
        start, stop, end = float(self.extent[index, 0]), float(self.extent[index, 1]), float(self.valid[index])
        if self.mode != "time" or (start > 0 and stop < end):
            return ""
        return "own" if start > 0 else "partner"

    def picture_share(self, at: Tensor, *, timed_ends: bool = False) -> Tensor:
        """Return the original's share of pictures at places `at` of the time axis, within the box; (B, N), float64."""
        valid = self.valid[:, None]
        padding = (at >= valid) & (valid < 1) & (not timed_ends)
        at = torch.minimum(at, valid * (1 - 1e-9))  # behind the end of the sound, as at its end
        picture = torch.zeros_like(self.picture) if self.mode == "box" else self.picture
        mixed = self.inside(at) & ~padding & (self.picture < 1)[:, None]
        return torch.where(mixed, picture[:, None], 1.0)

    def picture_box(self, index: int) -> Tensor | None:
        """Return top, left, bottom and right edge (fractions) of what the partner covers; None for all of it."""
        return None if self.box is None else self.box[index]

    @property
    def axis_seconds(self) -> float | None:
        """How long the sound's (padded) time axis is; None where the mixer knew no rate."""
        return self.seconds


def label_share(label: str, sound: Tensor, picture: Tensor) -> Tensor:
    """Return the original's share of the label from those of sound and picture, each (B,); see `AVMix`."""
    return {"sound": sound, "picture": picture}.get(label, (sound + picture) / 2)


class AVMix(Mixer):
    """Mix films: a call mixes the sounds and the target, `audiomix.mix_pictures` the pictures by the same plan.

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

    See Also
    --------
    audiomix.StreamMix : picture and sound of the same utterance.

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
    takes_self = False

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

    @property
    def needs(self) -> Needs:
        """Waveforms; the plan mixes pictures too."""
        return Needs(domain=frozenset({WAVE}), pictures=True)

    @classmethod
    def examples(cls) -> list[Example]:
        """Return every mode, with the sound mixed and kept, and every rule for the label."""
        made = [cls(), cls(1.0, gains="unit_power", per="batch"), cls(1.0, mode="time"), cls(1.0, mode="box")]
        made += [cls(mode="box", pixels=(36, 48)), cls(mode="swap"), cls(mode="swap", sound="keep", label="picture")]
        return [Example(mixer) for mixer in made]

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw partners, shares and places."""
        partner, mixed = self.pair(own, source, progress=progress, generator=generator)
        have, both = overlap(own, source, partner)
        kept = self._draw_kept(len(own), mixed, progress, generator)
        start, length, box = torch.zeros_like(both), both, None
        if self.mode == "time":
            length = torch.minimum(((1 - kept) * have).round().long(), both)
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
        size = own.size
        present = torch.where(have > 0, length.double() / have.clamp(min=1), 0.0)
        weight = (label_share(self.label, sound, picture) * present + (1 - present)).clamp(0, 1)
        extent = torch.stack([start, start + length], 1).double() / size
        return AVPlan.of(
            partner, weight, a, b, extent=extent, valid=have.double() / size, sound=sound, picture=picture, box=box,
            seconds=size / self.rate if self.rate else None, mode=self.mode, label=self.label,
        )  # fmt: skip

    def render_into(self, own: Clips, source: Clips, plan: Plan, out: Tensor | None = None) -> Tensor:
        """Apply a plan to the sounds."""
        assert isinstance(plan, AVPlan)
        if plan.mode != "time":
            return sum_sounds(own, source, plan, out)
        span = torch.where(plan.sound[:, None] < 1, plan.extent, 0.0)
        return cut_pieces(own.x, plan.partner, span, fit_length(source.x, own.size), out=out)

    def identity(self, own: Clips) -> AVPlan:
        """Return the plan of this mixer's mode that mixes nothing."""
        whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]], dtype=torch.float64).repeat(len(own), 1)
        box = whole if self.mode == "box" else None
        return replace(AVPlan.identity(len(own)), mode=self.mode, label=self.label, box=box)

    def at_picture_size(self, size: tuple[int, int]) -> "AVMix":
        """Return this mixer for pictures of (height, width) pixels: a box then lies on whole pixels."""
        return self.replace(pixels=size) if self.mode == "box" and self.pixels is None else self

    def check_plan(self, plan: Plan) -> None:
        """Refuse plans of another mode."""
        super().check_plan(plan)
        if isinstance(plan, AVPlan) and plan.mode != self.mode:
            check.fail("plan", f"of mode {self.mode!r}, as the mixer is", repr(plan.mode))

    def _draw_kept(self, clips: int, mixed: Tensor, progress: float | None, generator: Generator) -> Tensor:
        """Draw the original's share (B,) of what is mixed; 1 where nothing is."""
        if self.mode == "swap":
            return 1 - mixed.double()
        size = 1 if self.per == "batch" else clips
        kept = draw.beta(self.alpha(progress), size, generator=generator).expand(clips)
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
