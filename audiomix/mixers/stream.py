r"""Stream mixing: the frames of a picture stream are interpolated with, or replaced by, those of its own sound.

.. math:: m_t = s_t v_t + (1 - s_t) a_t

v_t are features of the picture, a_t of the sound of the same utterance at the same time, s_t is the picture's share.
Frames of the two are aligned by time (`audiomix.streams.align`). The first paper's code was never published: where they
mix and by which curriculum is not known, so what is done here is this package's definition. `replace` is what the
second does to speech and text.

Source: ours, after Cheng et al., "MixSpeech: Cross-Modality Self-Learning with Audio-Visual Stream Mixup for Visual
Speech Translation and Recognition", ICCV 2023; Fang et al., "STEMM: Self-learning with Speech-text Manifold Mixup for
Speech Translation", ACL 2022 (`replace`).
Label: kept.
"""

from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import check, draw
from ..clips import Clips, check_clips, take_notes
from ..draw import Generator
from ..mixer import STREAM, Example, Mixer, Needs
from ..plan import Plan
from ..schedule import Schedule
from ..streams import align as aligning, spans as stream_spans
from ._stream_plan import StreamPlan, blend_streams, check_finite, mix_streams, valid_mask

__all__ = ["StreamMix", "StreamPlan", "mix_streams"]


class StreamMix(Mixer):
    """Mix a picture stream with the sound of the same utterances: pure picture at weight 1 and in ``eval()``.

    Called as ``StreamMix(...)(picture, target, other=sound, lengths=..., other_lengths=..., ratio=..., ids=...,
    other_ids=...)`` with picture (B, N, D) and sound (B, M, D'): row i of both is one utterance, so the target stays.

    Parameters
    ----------
    ratio : float or schedule
        The picture's share of the mix over the training: a schedule needs `progress` in each call. A `ratio` in the
        call, one number or one per utterance, stands above it: what an uncertainty of the model asks for.
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

    See Also
    --------
    audiomix.AVMix : two different films.

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

    @property
    def needs(self) -> Needs:
        """Streams of features along time; the target stays."""
        plain = self.rate == self.other_rate and self.normalise is None
        return Needs(domain=frozenset({STREAM}), target=False, summed=plain)

    @property
    def input_axis(self) -> int:
        """Frames are on the axis before the last: streams are (B, N, D)."""
        return -2

    @classmethod
    def examples(cls) -> list[Example]:
        """Return every mode, alignment and normalisation; the sound is the second batch."""
        modes = [cls(0.3), cls(0.3, mode="replace"), cls(0.4, mode="replace", exact=False)]
        modes += [cls(0.5, mode="span", span=0.2), cls(0.5, spread=0.3, per="batch")]
        scaled = [cls(0.5, normalise="layer"), cls(0.5, normalise="rms")]
        found = [Example(mixer, shape=(40, 12), partners="second") for mixer in modes]
        return found + [Example(m, shape=(40, 12), partners="second", normalises=True, exact=False) for m in scaled]

    def take_clips(
        self, x: Tensor, target: Tensor | None, *, notes: dict[str, Any], **sides: Any
    ) -> tuple[Clips, Clips]:
        """Return the pictures and the sounds, checked; without classes the target is the caller's own affair."""
        if check.floating("x", x).ndim != 3 or x.shape[1] == 1:
            aligning.not_frames("x", x)
        own_notes, sound_notes = take_notes(notes)
        other, other_lengths = _check_sound(x, *(sides[n] for n in ("other", "other_target", "other_lengths")))
        classes = None if self.num_classes is None else target
        given = check_clips(x.transpose(1, 2), classes, lengths=sides["lengths"], eligible=sides["eligible"])[0]
        own = Clips(x, given.lengths, classes, own_notes, given.eligible, time_axis=-2)
        return own, own if other is None else Clips(other, other_lengths, None, sound_notes, time_axis=-2)

    def clean_view(self, picture: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the pure picture as it looks at test time: normalised as in training, in any mode of the module.

        A training step that compares mixed and pure views needs both; ``eval()`` would switch mixing off for good.

        Parameters
        ----------
        picture : Tensor, shape (B, N, D)
            Features of B utterances, N frames each.
        lengths : Tensor, shape (B,), optional
            Valid frames.
        """
        return self._normalise(picture, lengths)

    def draw(
        self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None
    ) -> StreamPlan:
        """Draw shares and places; the weight is the picture's share of the valid frames."""
        size, frames = own.x.shape[:2]
        mixed = self.choose(own, progress=progress, generator=generator)
        both = self._count_frames_with_sound(own, source)
        ratio = torch.where(mixed & (both > 0), self._draw_ratios(own, progress, generator), 1.0)
        if self.mode == "linear":
            count = torch.where(ratio < 1, both, 0)
            spans = torch.stack([torch.zeros(size, dtype=torch.float64), count.double() / frames], 1)[:, None]
            weight = stream_spans.compute_picture_share(ratio, count, own.valid)
            return StreamPlan(torch.arange(size), weight, spans=spans, ratio=ratio)
        if self.mode == "span":
            piece = max(1, round(self.span * self.rate))
            taken = stream_spans.pieces((1 - ratio) * own.valid, both, frames, piece, generator=generator)
        else:
            taken = stream_spans.single(1 - ratio, own.valid, both, frames, exact=self.exact, generator=generator)
        zero = torch.zeros(size, dtype=torch.float64)
        weight = stream_spans.compute_picture_share(zero, taken.sum(1), own.valid)
        return StreamPlan(torch.arange(size), weight, spans=stream_spans.spans_of(taken), ratio=zero)

    def render_into(self, own: Clips, source: Clips, plan: Plan, out: Tensor | None = None) -> Tensor:
        """Align the sound and apply a plan to streams (B, N, D); see `mix_streams`."""
        if source is own:
            check.fail("other", "the sound stream (B, M, D)", None, "no sound stream: mixer(picture, other=sound)")
        x, lengths = own.x, own.lengths
        sound = self._normalise(self.align_sound(source.x, own.size, source.lengths), None)
        if self.normalise == "rms":
            factor = self._match_rms(x, sound, lengths, self._count_frames_with_sound(own, source))
            sound = (sound * factor).to(x.dtype)  # a factor may lie outside of half precision
        mixed, finite = blend_streams(self._normalise(x, lengths), plan, sound, out)
        if not finite:
            check_finite("x", x, lengths)
            check_finite("other", source.x, source.lengths)
        return mixed

    def unmixed(self, own: Clips, source: Clips) -> Tensor:
        """Return the pure picture, normalised as in training; never the caller's own tensor.

        In training the sound is looked at too: whether an error is raised must not hang on what is drawn.
        """
        if self.training and source is not own and own.x.device.type == "cpu":
            check_finite("x", own.x, own.lengths)
            check_finite("other", source.x, source.lengths)
        view = self.clean_view(own.x, own.lengths)
        return view.clone() if view is own.x else view

    def mix_target(self, target: Tensor, plan: Plan, *, other: Tensor | None = None) -> Tensor:
        """Return the target: picture and sound are of one utterance."""
        return self.keep_target(target)

    def keep_target(self, target: Any) -> Any:
        """Return the target; without classes it may be anything."""
        return target if self.num_classes is None else super().keep_target(target)

    def schedules(self, own: Clips) -> dict[str, Schedule]:
        """Return the schedules that are read: not the ratio's where the call has one."""
        found = super().schedules(own)
        return {name: s for name, s in found.items() if name != "ratio" or own.notes.ratio is None}

    def align_sound(self, sound: Tensor, frames: int, lengths: Tensor | None = None) -> Tensor:
        """Return the sound (B, M, D') at the picture's rate: (B, about `frames`, D); nothing where rates are equal."""
        if self.rate == self.other_rate:
            return sound
        if self.align == "stack":
            return aligning.stack_rows(sound, self.by, lengths)
        return aligning.resample_rows(sound, self.other_rate, self.rate, lengths, frames)

    def check_input(self, own: Clips, source: Clips) -> None:
        """Refuse streams that are not of the same utterances, or do not fit in time or in features."""
        if source is own:
            check.fail("other", "the sound stream (B, M, D)", None, "no sound stream: mixer(picture, other=sound)")
        _check_ids(own.notes.ids, source.notes.ids, len(own))
        self._check_ratio(own)
        missing = [n for n, c in (("lengths", own), ("other_lengths", source)) if c.lengths is None]
        hint = f"padded? pass {missing[0]}=" if len(missing) == 1 else ""
        aligning.check_durations(own.valid, source.valid, self.rate, self.other_rate, self.tolerance, hint)
        has, wanted = source.x.shape[2] * self.by, own.x.shape[2]
        if has != wanted:
            got = f"{has}" + (f" ({self.by} frames of {source.x.shape[2]} stacked)" if self.by > 1 else "")
            slip = f"x has {wanted} features, other {got}: project one with nn.Linear({has}, {wanted})"
            check.fail("other", f"of {wanted} features a frame, as x is", got, slip)

    def take_rows(
        self, own: Clips, source: Clips, plan: Plan, index: Tensor | slice
    ) -> tuple[Clips, Clips, Plan]:
        """Return pictures, sounds and plan of some of the utterances: row i of both is one."""
        own, _, plan = super().take_rows(own, source, plan, index)
        return own, source.rows(index), replace(plan, partner=torch.arange(len(plan)))

    def check_plan(self, plan: Plan) -> None:
        """Refuse plans in which utterances meet others."""
        super().check_plan(plan)
        if bool((plan.partner != torch.arange(len(plan))).any()):
            check.fail("plan.partner", "0, 1, 2, ...: row i of other belongs to row i of x", plan.partner.tolist())

    def _check_ratio(self, own: Clips) -> Tensor | None:
        """Return the ratios (B,) that the call gives, checked; None where it gives none."""
        given = own.notes.ratio
        if given is None:
            return None
        if not hasattr(given, "__len__") or isinstance(given, str):  # a string is no number: check.fraction says so
            return torch.full((len(own),), check.fraction("ratio", given), dtype=torch.float64)
        values = torch.as_tensor(given).detach().to("cpu", torch.float64)
        if values.ndim > 0 and tuple(values.shape) != (len(own),):
            check.fail("ratio", f"one number, or {len(own)}", f"shape {tuple(values.shape)}")
        if not bool(((values >= 0) & (values <= 1)).all()):
            check.fail("ratio", "in [0, 1]", f"{values.min().item():g}..{values.max().item():g}")
        return values.expand(len(own))

    def _draw_ratios(self, own: Clips, progress: float | None, generator: Generator) -> Tensor:
        """Return the ratio of each utterance: that of the call, or the schedule's, with its spread."""
        ratio = self._check_ratio(own)
        if ratio is None:
            ratio = torch.full((len(own),), self.ratio(progress), dtype=torch.float64)
        if self.spread == 0:
            return ratio
        size = 1 if self.per == "batch" else len(own)
        step = draw.uniform(-1, 1, size, generator=generator).expand(len(own))
        return ratio + step * torch.minimum(ratio, 1 - ratio).clamp(max=self.spread)

    def _count_frames_with_sound(self, own: Clips, source: Clips) -> Tensor:
        """Return how many valid frames of each picture have sound; int64, (B,)."""
        return torch.minimum(own.valid, aligning.frames_within(source.valid, self.other_rate, self.rate))

    def _normalise(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """Return the frames normalised where that is asked for; padding as it is."""
        if self.normalise != "layer":
            return x
        normal = F.layer_norm(x, x.shape[-1:])
        return normal if lengths is None else torch.where(valid_mask(x, lengths), normal, x)

    @torch.no_grad()
    def _match_rms(self, x: Tensor, sound: Tensor, lengths: Tensor | None, both: Tensor) -> Tensor:
        """Return the picture's RMS over that of the aligned sound, (B, 1, 1), at least float32; 1 for silence."""
        own, theirs = _rms(x, lengths), _rms(sound, both)
        return torch.where(theirs > 0, own / torch.where(theirs > 0, theirs, 1.0), 1.0)[:, None, None]


def _check_sound(
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


def _rms(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Return the RMS of each utterance over its valid frames; (B,), at least float32."""
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    if lengths is None:
        return x.to(wide).square().mean((1, 2)).sqrt()
    power = torch.where(valid_mask(x, lengths), x.to(wide), 0.0).square().sum((1, 2))
    return (power / (lengths.clamp(min=1) * x.shape[2]).to(power)).sqrt()
