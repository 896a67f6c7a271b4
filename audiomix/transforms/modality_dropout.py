r"""Modality dropout: now and then a model gets only the sound or only the picture, never neither.

.. math:: P(\text{both}) = 1 - p, \qquad P(\text{picture only}) = p s, \qquad P(\text{sound only}) = p (1 - s)

Source: Shi et al., "Learning Audio-Visual Speech Representation by Masked Multimodal Cluster Prediction" (AV-HuBERT),
ICLR 2022.
Label: kept.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from .. import check, draw
from ..arguments import Recorded, copy_type
from ..draw import Generator
from ..plan import Plan
from ..schedule import Schedule

__all__ = ["DropoutPlan", "Dropped", "ModalityDropout", "drop_streams"]


@dataclass(frozen=True, eq=False, kw_only=True)
class DropoutPlan(Plan):
    """Which stream of which clip is dropped; labels are kept (weight 1).

    Parameters
    ----------
    partner, weight, why, roll, roll_within
        See `audiomix.Plan`.
    dropped : Tensor, shape (B, 2), bool
        Sound, picture; never both.
    """

    dropped: Tensor

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_rows("dropped", 2, dtype=torch.bool)
        if bool(self.dropped.all(1).any()):
            check.fail("dropped", "at most one stream of a clip", "both")

    @classmethod
    def of(cls, dropped: Tensor) -> "DropoutPlan":
        """Return the plan that drops these."""
        size = len(dropped)
        return cls(torch.arange(size), torch.ones(size, dtype=torch.float64), dropped=dropped)


class Dropped(NamedTuple):
    """What is left: both streams, which of them (B, 2: sound, picture) a clip still has, and the plan."""

    sound: Tensor | None
    picture: Tensor | None
    present: Tensor
    plan: DropoutPlan


def drop_streams(
    sound: Tensor | None,
    picture: Tensor | None,
    plan: DropoutPlan,
    *,
    sound_fill: Tensor | float = 0.0,
    picture_fill: Tensor | float = 0.0,
) -> tuple[Tensor | None, Tensor | None]:
    """Replace in each clip the stream that the plan drops.

    Parameters
    ----------
    sound, picture : Tensor, shape (B, ...), or None
        Streams of the same clips, of any length; None for one that nobody has. Left unchanged.
    plan : DropoutPlan
        Which stream each clip loses, as `ModalityDropout` drew it.
    sound_fill, picture_fill : float or Tensor broadcastable to one clip
        What stands in the place; a learned vector (D,) gets its gradient.

    Examples
    --------
    >>> plan = DropoutPlan.of(torch.tensor([[True, False], [False, False]]))
    >>> drop_streams(torch.ones(2, 3), torch.ones(2, 4), plan)[0]
    tensor([[0., 0., 0.],
            [1., 1., 1.]])
    """
    return _replace(sound, plan.dropped[:, 0], sound_fill), _replace(picture, plan.dropped[:, 1], picture_fill)


def _replace(stream: Tensor | None, dropped: Tensor, fill: Tensor | float) -> Tensor | None:
    if stream is None:
        return None
    # where, not a product with 0: a NaN in a stream that is dropped goes with it
    where = dropped.to(stream.device).view(-1, *[1] * (stream.ndim - 1))
    return torch.where(where, torch.as_tensor(fill).to(stream), stream)


class ModalityDropout(Recorded, nn.Module):
    """Drop the sound or the picture of a clip in training, never both.

    Parameters
    ----------
    p : float or schedule
        Share of the clips (or batches) that lose a stream. AV-HuBERT's large and noise configurations: 0.5.
    sound : float
        Share of the drops that hit the sound. AV-HuBERT: 0.5, so that 0.5 of the batches have both, 0.25 the picture
        only and 0.25 the sound only.
    per : str
        ``sample``: each clip is drawn for itself. ``batch``: all clips of a batch alike, as AV-HuBERT does.
    sound_fill, picture_fill : float or Tensor broadcastable to one clip
        What stands in the place of what is dropped, 0 by default. A `torch.nn.Parameter` (D,) is learned.

    Notes
    -----
    A clip that lacks a stream already, by None or by `present`, keeps the other one. Lengths do not matter: a dropped
    stream is replaced behind its valid end too. In eval nothing is dropped. Source: Shi et al., AV-HuBERT (ICLR 2022);
    the numbers are those of its public code (``modality_dropout``, ``audio_dropout``), which acts on features before
    fusion.

    See Also
    --------
    audiomix.AdaptiveTimeMask : hides pieces of both streams.

    Examples
    --------
    >>> drop = ModalityDropout(0.5, sound=0.5, per="batch")
    >>> sound, picture = torch.randn(4, 50, 104), torch.randn(4, 50, 512)
    >>> left = drop(sound, picture, generator=torch.Generator().manual_seed(1))
    >>> again = drop(sound, picture, plan=left.plan)
    >>> bool((again.sound == left.sound).all())
    True
    """

    sound_fill: Tensor | float
    picture_fill: Tensor | float

    def __init__(
        self,
        p: float | str | Schedule = 0.5,
        *,
        sound: float = 0.5,
        per: Literal["sample", "batch"] = "sample",
        sound_fill: Tensor | float = 0.0,
        picture_fill: Tensor | float = 0.0,
    ) -> None:
        super().__init__()
        self.p = Schedule.of(p, "p").within("p", 0, 1)
        self.sound = check.fraction("sound", sound)
        self.per = check.choice("per", per, ("sample", "batch"))
        for name, fill in (("sound_fill", sound_fill), ("picture_fill", picture_fill)):
            if isinstance(fill, Tensor) and not isinstance(fill, nn.Parameter):
                self.register_buffer(name, fill)
            else:
                setattr(self, name, fill if isinstance(fill, Tensor) else check.number(name, fill))

    def draw(
        self, size: int, *, present: Tensor | None = None, generator: Generator = None, progress: float = 0.0
    ) -> DropoutPlan:
        """Draw a plan for `size` clips.

        Parameters
        ----------
        size : int
            Clips, B.
        present, generator, progress
            As for the call: a clip that lacks a stream keeps the other one.
        """
        count = 1 if self.per == "batch" else size
        drops = draw.bernoulli(self.p(progress), count, generator=generator)
        hits_sound = draw.bernoulli(self.sound, count, generator=generator)
        dropped = torch.stack([drops & hits_sound, drops & ~hits_sound], 1).expand(size, 2)
        if present is not None:
            dropped = dropped & present.all(1, keepdim=True)
        return DropoutPlan.of(dropped.clone())

    def forward(
        self,
        sound: Tensor | None,
        picture: Tensor | None,
        *,
        present: Tensor | None = None,
        generator: Generator = None,
        progress: float = 0.0,
        plan: DropoutPlan | None = None,
    ) -> Dropped:
        """Drop streams by a plan that is drawn here or given.

        Parameters
        ----------
        sound, picture : Tensor, shape (B, ...), or None
            Streams of the same clips; not both None.
        present : Tensor, shape (B, 2), bool, optional
            Which clip has a sound and which a picture; all by default.
        generator : torch.Generator, optional
            On the CPU; None means torch's global one.
        progress : float
            Fraction of the training, for schedules.
        plan : DropoutPlan, optional
            Replay this plan. It must not take the last stream of a clip.

        Raises
        ------
        TypeError, ValueError
            A wrong argument, before any work.
        """
        present = _present(sound, picture, present)
        generator = draw.check_generator(generator)
        check.number("progress", progress, 0, 1, slip="a fraction of the training, not a step or an epoch")
        if plan is not None:
            _check_plan(plan, present)
        if not self.training:
            plan = DropoutPlan.of(torch.zeros(len(present), 2, dtype=torch.bool))
            return Dropped(sound, picture, present, plan)
        if plan is None:
            plan = self.draw(len(present), present=present, generator=generator, progress=progress)
        left = drop_streams(sound, picture, plan, sound_fill=self.sound_fill, picture_fill=self.picture_fill)
        return Dropped(*left, present & ~plan.dropped, plan)

    if TYPE_CHECKING:

        @copy_type(forward)
        def __call__(self) -> Any:
            """See `forward`."""


def _present(sound: Tensor | None, picture: Tensor | None, present: Tensor | None) -> Tensor:
    """Return what each clip has, (B, 2) on the CPU, after all checks."""
    streams = {"sound": sound, "picture": picture}
    sizes = {name: len(check.batch(name, s)) for name, s in streams.items() if s is not None}
    for name, stream in streams.items():
        if stream is not None:
            check.floating(name, stream)
    if not sizes:
        check.fail("sound or picture", "a tensor", None)
    size = next(iter(sizes.values()))
    if any(each != size for each in sizes.values()):
        check.fail("picture", f"of {size} clips, as sound is", sizes["picture"])
    has = torch.tensor([sound is not None, picture is not None]).expand(size, 2)
    if present is None:
        return has.clone()
    given = torch.as_tensor(present).cpu()
    if given.dtype != torch.bool or tuple(given.shape) != (size, 2):
        check.fail("present", f"bool of shape ({size}, 2): sound, picture", f"{given.dtype}, {tuple(given.shape)}")
    return given & has


def _check_plan(plan: DropoutPlan, present: Tensor) -> None:
    check.one_of_types("plan", plan, DropoutPlan, "a DropoutPlan (Dropped.plan; Plan.from_json reads a string)")
    if len(plan) != len(present):
        check.fail("plan", f"drawn for {len(present)} clips", f"one for {len(plan)}")
    alone = plan.dropped.any(1) & ~present.all(1)
    if bool(alone.any()):
        at = int(alone.nonzero()[0])
        check.fail("plan", "one that leaves each clip a stream", f"one that drops the last of clip {at}")
