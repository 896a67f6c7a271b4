r"""Stream mixing: the frames of a picture stream are interpolated with, or replaced by, those of its own sound.

.. math:: m_t = s_t v_t + (1 - s_t) a_t

v_t are features of the picture, a_t of the sound of the same utterance at the same time, s_t is the picture's share.
Frames of the two are aligned by time (`audiomix.streams.align`). After Cheng et al., "MixSpeech: Cross-Modality
Self-Learning with Audio-Visual Stream Mixup for Visual Speech Translation and Recognition", ICCV 2023, whose code was
never published: where they mix and by which curriculum is not known, so what is done here is this package's
definition. `replace` is what STEMM (Fang et al., ACL 2022) does to speech and text.
"""

from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import check, draw
from ..draw import Generator
from ..mixer import Batch, Mixer, checked_batch, identity_plan
from ..plan import Mixed, Plan
from ..schedule import Schedule
from . import align as aligning
from . import spans as place
from .plan import StreamPlan, blended, mix_streams, refuse, valid_mask

__all__ = ["StreamMix", "StreamPlan", "mix_streams"]


class StreamMix(Mixer):
    """Mix a picture stream with the sound of the same utterances: pure picture at weight 1 and in ``eval()``.

    Called as ``StreamMix(...)(picture, target, other=sound, lengths=..., other_lengths=..., ratio=..., ids=...,
    other_ids=...)`` with picture (B, N, D) and sound (B, M, D'): row i of both is one utterance, so the target stays.

    Parameters
    ----------
    ratio : float or schedule
        The picture's share of the mix over the training: a schedule needs `progress` in each call, and stays at its
        start without. A `ratio` in the call, one number or one per utterance, stands above it: what an uncertainty of
        the model asks for.
    mode : str
        ``linear``: all frames are interpolated. ``replace``: single frames are the sound's. ``span``: pieces of
        `span` seconds are the sound's, the last one shorter so that the share is met; pieces may touch.
    exact : bool
        For ``replace``: the number of frames is the share's, rounded. Without, each frame is drawn for itself
        (STEMM).
    span : float
        Length of a piece in seconds, for ``span``.
    spread : float
        Half the width of a uniform draw about the ratio. It narrows towards 0 and 1, so that the mean is the ratio
        everywhere and a ratio of 1 is the pure picture.
    per : str
        ``sample``: a draw for each utterance; ``batch``: one for all. Frames are drawn for each in any case.
    rate, other_rate : float
        Frames a second of picture and sound; `other_rate` is `rate` by default.
    align : str
        ``interpolate``: the sound at the times of the picture's frames. ``stack``: whole multiples of frames side by
        side, as AV-HuBERT does (4 of 26 features at 100/s are 104 at 25/s). Nothing where the rates are equal.
    tolerance : float
        Share of the longer duration by which the two may differ; two frames at `rate` are always forgiven. A longer
        sound is cut; frames whose centres lie behind the end of a shorter one stay picture, and count as such.
    normalise : str, optional
        A ratio means nothing between streams of different scale: a sound ten times as loud has 91 % of an even mix.
        ``layer``: each frame of both has mean 0 and variance 1 over its features (layer norm without parameters);
        what comes back is the normalised picture then, in ``eval()`` too, so that training at weight 1 and test
        agree. ``rms``: the sound is scaled to the picture's RMS over the valid frames of the utterance (no gradient
        goes through the factor); the picture stays as it is.
    num_classes, p
        See `audiomix.Mixer`; an utterance that is not among `p` stays pure picture.

    Raises
    ------
    ValueError, TypeError
        No sound, other utterances, one frame only, durations or features that do not fit, NaN or infinite values.

    Notes
    -----
    The weight is the picture's share of the valid frames, as mixed. Padding behind `lengths` stays as it is in `x`.
    Values that are not finite are looked for while mixing, where both streams are read anyway (so after the draw), and
    on the CPU only: elsewhere the host would have to wait. Any such frame that has a counterpart in time is refused,
    whatever its share.

    Examples
    --------
    >>> mixer = StreamMix("linear:0:1", rate=25, other_rate=100)
    >>> picture, sound = torch.ones(2, 50, 8), torch.zeros(2, 200, 8)
    >>> mixed = mixer(picture, other=sound, progress=0.75)
    >>> mixed.x[:, 0, 0], mixed.plans[0].weight
    (tensor([0.7500, 0.7500]), tensor([0.7500, 0.7500], dtype=torch.float64))
    """

    plan_type: ClassVar[type[Plan]] = StreamPlan

    def __init__(
        self,
        ratio: float | str | Schedule = "linear:0:1",
        *,
        mode: Literal["linear", "replace", "span"] = "linear",
        exact: bool = True,
        span: float = 0.4,
        spread: float = 0.0,
        per: Literal["sample", "batch"] = "sample",
        rate: float = 25.0,
        other_rate: float | None = None,
        align: Literal["interpolate", "stack"] = "interpolate",
        tolerance: float = 0.02,
        normalise: Literal["layer", "rms"] | None = None,
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
    ) -> None:
        super().__init__(num_classes=num_classes, p=p)
        self.ratio = Schedule.of(ratio, "ratio").within("ratio", 0, 1)
        self.mode = check.choice("mode", mode, ["linear", "replace", "span"])
        self.exact = check.one_of_types("exact", exact, bool, "True or False")
        self.span = check.number("span", span, 1e-3, slip="seconds of sound in one piece")
        self.spread = check.number("spread", spread, 0, 0.5)
        self.per = check.choice("per", per, ["sample", "batch"])
        self.rate = aligning.frame_rate("rate", rate)
        self.other_rate = self.rate if other_rate is None else aligning.frame_rate("other_rate", other_rate)
        self.align = check.choice("align", align, ["interpolate", "stack"])
        self.by = aligning.whole_ratio(self.rate, self.other_rate) if align == "stack" else 1
        self.tolerance = check.fraction("tolerance", tolerance)
        self.normalise = None if normalise is None else check.choice("normalise", normalise, ["layer", "rms"])

    def forward(
        self,
        x: Tensor,
        target: Tensor | None = None,
        *,
        lengths: Tensor | None = None,
        other: Tensor | None = None,
        other_target: Tensor | None = None,
        other_lengths: Tensor | None = None,
        eligible: Tensor | None = None,
        generator: Generator = None,
        progress: float = 0.0,
        plan: Plan | None = None,
        out: Tensor | None = None,
        **context: Any,
    ) -> Mixed:
        """Draw a plan (or take the one given) and mix; as `audiomix.Mixer`, with time on the middle axis."""
        if check.floating("x", x).ndim != 3 or x.shape[1] == 1:
            aligning.not_frames("x", x)
        classes = None if self.num_classes is None else target  # without classes the target is the caller's own affair
        batch = checked_batch(x.transpose(1, 2), classes, lengths, None, None, None, eligible, progress, context)
        other, other_lengths = _checked_sound(x, other, other_target, other_lengths)
        batch = replace(batch, x=x, other=other, other_lengths=other_lengths)
        generator = draw.checked(generator)
        self._check(batch, plan, out)
        if not self.training:
            plan = identity_plan(len(x))
        elif plan is None:
            plan = self.draw(batch, generator=generator)
        if type(plan) is Plan and bool((plan.weight == 1).all()):  # the identity: what eval() returns
            own = self._normal(x, batch.lengths)
            mixed = out.copy_(own) if out is not None else own.clone() if own is x else own
        else:
            mixed = self.mix(x, plan, other=other, lengths=batch.lengths, other_lengths=other_lengths, out=out)
        return Mixed(mixed, target if classes is None else self._kept(classes), (plan,), batch.lengths)

    def draw(self, batch: Batch, *, generator: Generator = None) -> StreamPlan:
        """Draw shares and places; the weight is the picture's share of the valid frames."""
        size, frames = batch.x.shape[:2]
        mixed = draw.bernoulli(self.p(batch.progress), size, generator=generator)
        if batch.eligible is not None:
            mixed = mixed & batch.eligible
        assert batch.other is not None
        own = _valid(batch.x, batch.lengths)
        both = self._both(batch.x, batch.other, batch.lengths, batch.other_lengths)
        ratio = torch.where(mixed & (both > 0), self._ratios(batch, generator), 1.0)
        if self.mode == "linear":
            count = torch.where(ratio < 1, both, 0)
            spans = torch.stack([torch.zeros(size, dtype=torch.float64), count.double() / frames], 1)[:, None]
            return StreamPlan(torch.arange(size), place.kept_share(ratio, count, own), spans=spans, ratio=ratio)
        if self.mode == "span":
            piece = max(1, round(self.span * self.rate))
            taken = place.pieces((1 - ratio) * own, both, frames, piece, generator=generator)
        else:
            taken = place.single(1 - ratio, own, both, frames, exact=self.exact, generator=generator)
        zero = torch.zeros(size, dtype=torch.float64)
        weight = place.kept_share(zero, taken.sum(1), own)
        return StreamPlan(torch.arange(size), weight, spans=place.spans_of(taken), ratio=zero)

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
        """Align the sound and apply a plan to streams (B, N, D); see `mix_streams`."""
        if other is None:
            check.fail("other", "the sound stream (B, M, D)", None, "no sound stream: mixer(picture, other=sound)")
        sound = self._normal(self.aligned(other, x.shape[1], other_lengths), None)
        if self.normalise == "rms":
            factor = self._factor(x, sound, lengths, self._both(x, other, lengths, other_lengths))
            sound = (sound * factor).to(x.dtype)  # a factor may lie outside of half precision
        mixed, clean = blended(self._normal(x, lengths), plan, sound, out)
        if not clean:
            refuse("x", x, lengths)
            refuse("other", other, other_lengths)
        return mixed

    def mix_target(self, target: Tensor, plan: Plan, *, other: Tensor | None = None) -> Tensor:
        """Return the target: picture and sound are of one utterance."""
        return target if self.num_classes is None else self._kept(target)

    def aligned(self, sound: Tensor, frames: int, lengths: Tensor | None = None) -> Tensor:
        """Return the sound (B, M, D') at the picture's rate: (B, about `frames`, D); nothing where rates are equal."""
        if self.rate == self.other_rate:
            return sound
        if self.align == "stack":
            return aligning.stacked(sound, self.by, lengths)
        return aligning.resampled(sound, self.other_rate, self.rate, lengths, frames)

    def check_input(self, batch: Batch) -> None:
        """Refuse streams that are not of the same utterances, or do not fit in time or in features."""
        if batch.other is None:
            check.fail("other", "the sound stream (B, M, D)", None, "no sound stream: mixer(picture, other=sound)")
        _check_ids(batch.context.get("ids"), batch.context.get("other_ids"), len(batch))
        self._given(batch)
        own, theirs = _valid(batch.x, batch.lengths), _valid(batch.other, batch.other_lengths)
        missing = [n for n in ("lengths", "other_lengths") if getattr(batch, n) is None]
        hint = f"padded? pass {missing[0]}=" if len(missing) == 1 else ""
        aligning.check_durations(own, theirs, self.rate, self.other_rate, self.tolerance, hint)
        has, wanted = batch.other.shape[2] * self.by, batch.x.shape[2]
        if has != wanted:
            got = f"{has}" + (f" ({self.by} frames of {batch.other.shape[2]} stacked)" if self.by > 1 else "")
            slip = f"x has {wanted} features, other {got}: project one with nn.Linear({has}, {wanted})"
            check.fail("other", f"of {wanted} features a frame, as x is", got, slip)

    def check_plan(self, plan: Plan) -> None:
        """Refuse plans in which utterances meet others."""
        super().check_plan(plan)
        if type(plan) is Plan and bool((plan.weight < 1).any()):
            check.fail("plan", "a StreamPlan", "a Plan", "replay it with the mixer that made it")
        if bool((plan.partner != torch.arange(len(plan))).any()):
            check.fail("plan.partner", "0, 1, 2, ...: row i of other belongs to row i of x", plan.partner.tolist())

    @property
    def needs_other_target(self) -> bool:
        """No: the target is the utterance's, whichever stream says it."""
        return False

    def _given(self, batch: Batch) -> Tensor:
        """Return the ratio of each utterance before any spread: that of the call, or the schedule's."""
        given = batch.context.get("ratio")
        if given is None:
            return torch.full((len(batch),), self.ratio(batch.progress), dtype=torch.float64)
        if not hasattr(given, "__len__") or isinstance(given, str):  # a string is no number: said by check.fraction
            return torch.full((len(batch),), check.fraction("ratio", given), dtype=torch.float64)
        values = torch.as_tensor(given).detach().to("cpu", torch.float64)
        if values.ndim > 0 and tuple(values.shape) != (len(batch),):
            check.fail("ratio", f"one number, or {len(batch)}", f"shape {tuple(values.shape)}")
        if not bool(((values >= 0) & (values <= 1)).all()):
            check.fail("ratio", "in [0, 1]", f"{values.min().item():g}..{values.max().item():g}")
        return values.expand(len(batch))

    def _ratios(self, batch: Batch, generator: Generator) -> Tensor:
        ratio = self._given(batch)
        if self.spread == 0:
            return ratio
        size = 1 if self.per == "batch" else len(batch)
        step = draw.uniform(-1, 1, size, generator=generator).expand(len(batch))
        return ratio + step * torch.minimum(ratio, 1 - ratio).clamp(max=self.spread)

    def _normal(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """Return the frames normalised where that is asked for; padding as it is."""
        if self.normalise != "layer":
            return x
        normal = F.layer_norm(x, x.shape[-1:])
        return normal if lengths is None else torch.where(valid_mask(x, lengths), normal, x)

    def _both(self, x: Tensor, other: Tensor, lengths: Tensor | None, other_lengths: Tensor | None) -> Tensor:
        """Return how many valid frames of each picture have sound; int64, (B,)."""
        own, theirs = _valid(x, lengths), _valid(other, other_lengths)
        return torch.minimum(own, aligning.frames_within(theirs, self.other_rate, self.rate))

    @torch.no_grad()
    def _factor(self, x: Tensor, sound: Tensor, lengths: Tensor | None, both: Tensor) -> Tensor:
        """Return the picture's RMS over that of the aligned sound, (B, 1, 1), at least float32; 1 for silence."""
        own, theirs = _rms(x, lengths), _rms(sound, both)
        return torch.where(theirs > 0, own / torch.where(theirs > 0, theirs, 1.0), 1.0)[:, None, None]


def _checked_sound(
    x: Tensor, other: Tensor | None, target: Tensor | None, lengths: Tensor | None
) -> tuple[Tensor | None, Tensor | None]:
    if target is not None:
        slip = "picture and sound are of one utterance, whose target is `target`"
        check.fail("other_target", "left out", "a tensor", slip)
    if other is None:
        if lengths is not None:
            check.fail("other", "given with other_lengths", None)
        return None, None
    if check.floating("other", other).ndim != 3 or other.shape[1] == 1:
        aligning.not_frames("other", other)
    check.batch("other", other)
    if len(other) != len(x):
        check.fail("other", f"of the {len(x)} utterances of x", f"{len(other)}", "row i of other belongs to row i of x")
    if other.dtype != x.dtype or other.device != x.device:
        check.fail("other", f"{x.dtype} on {x.device}, as x is", f"{other.dtype} on {other.device}")
    return other, None if lengths is None else check.lengths("other_lengths", lengths, other.transpose(1, 2))


def _check_ids(ids: Any, other_ids: Any, size: int) -> None:
    if (ids is None) != (other_ids is None):
        check.fail("ids and other_ids", "both given, or neither", "one of them")
    if ids is None:
        return
    ours, theirs = (v.tolist() if isinstance(v, Tensor) else list(v) for v in (ids, other_ids))
    for name, given in (("ids", ours), ("other_ids", theirs)):
        if len(given) != size:
            check.fail(name, f"of {size} utterances, as x is", len(given))
    for row, (a, b) in enumerate(zip(ours, theirs)):
        if a != b:
            expected = "the utterances of ids, row by row"
            check.fail("other_ids", expected, f"{b!r} beside {a!r} in row {row}", "shuffled?")


def _valid(x: Tensor, lengths: Tensor | None) -> Tensor:
    return torch.full((len(x),), x.shape[1]) if lengths is None else lengths


def _rms(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Return the RMS of each utterance over its valid frames; (B,), at least float32."""
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    if lengths is None:
        return x.to(wide).square().mean((1, 2)).sqrt()
    power = torch.where(valid_mask(x, lengths), x.to(wide), 0.0).square().sum((1, 2))
    return (power / (lengths.clamp(min=1) * x.shape[2]).to(power)).sqrt()
