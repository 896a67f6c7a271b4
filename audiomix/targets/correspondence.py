r"""The plan of an audio-visual mix, whether its sound and its picture belong together, and what can be said of them.

.. math:: c = 1 - d\,|s - p|

s and p are the original's shares of sound and picture while its partner is there, d the share of the time that it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import check
from ..captions.captions import joined
from ..plan import GainPlan, Plan

__all__ = ["LABELS", "MODES", "AVPlan", "correspondence", "mix_captions"]

MODES = ("linear", "time", "box", "swap")
LABELS = ("both", "sound", "picture")


@dataclass(frozen=True, eq=False, kw_only=True)
class AVPlan(GainPlan):
    """A plan that mixes the sound and the picture of clips.

    Parameters
    ----------
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
    >>> plan.share(3), correspondence(plan)
    (tensor([[0.5000, 0.5000, 0.5000]], dtype=torch.float64), tensor([1.]))
    """

    extent: Tensor
    valid: Tensor
    sound: Tensor
    picture: Tensor
    box: Tensor | None = None
    seconds: float | None = None
    mode: str = "linear"
    label: str = "both"

    def __post_init__(self) -> None:
        super().__post_init__()
        check.choice("mode", self.mode, MODES)
        check.choice("label", self.label, LABELS)
        one_each = [("extent", (2,)), ("valid", ()), ("sound", ()), ("picture", ()), ("box", (4,))]
        for name, shape in one_each:
            value = getattr(self, name)
            if value is None and name == "box" and self.mode != "box":
                continue
            value = check.tensor(name, value)
            if tuple(value.shape) != (len(self), *shape) or value.dtype != torch.float64:
                expected = f"float64 of shape {(len(self), *shape)}"
                check.fail(name, expected, f"{value.dtype} of shape {tuple(value.shape)}")
            if value.numel() and not (value.min() >= 0 and value.max() <= 1):
                check.fail(name, "in [0, 1]", f"{value.min().item():g}..{value.max().item():g}")
        if self.seconds is not None:
            check.number("seconds", self.seconds, 0)

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


def label_share(label: str, sound: Tensor, picture: Tensor) -> Tensor:
    """Return the share of the label from those of sound and picture."""
    return {"sound": sound, "picture": picture}.get(label, (sound + picture) / 2)


def correspondence(plan: Plan, size: int | None = None) -> Tensor:
    r"""Return how far sound and picture of each mix come from the same clips.

    .. math:: c = \operatorname{mean}_t \sum_k \min(s_k(t), p_k(t)) = 1 - d\,|s - p|

    s_k and p_k are the shares of clip k in the sound and in the picture: 1 where both streams hold the same clips in
    the same proportions at any time, 0 where one holds the original and the other the partner throughout, and what the
    two shares have in common between.

    Parameters
    ----------
    plan : Plan
        Any plan but an `AVPlan` mixes all streams alike: 1.
    size : int, optional
        The number of clips, to be checked.

    Returns
    -------
    Tensor, shape (B,), of the default dtype
        Targets of a correspondence loss (Arandjelovic and Zisserman, "Look, Listen and Learn", ICCV 2017).

    Raises
    ------
    ValueError
        The plan is for another number of clips.

    Examples
    --------
    >>> from audiomix.mixers.av import AVMix
    >>> plan = AVMix(mode="swap", p=0.5)(torch.randn(4, 1, 100), generator=torch.Generator().manual_seed(3)).plans[0]
    >>> correspondence(plan)
    tensor([0., 0., 1., 0.])
    """
    check.one_of_types("plan", plan, Plan, "a Plan")
    if size is not None and size != len(plan):
        check.fail("size", f"{len(plan)}, as the plan's clips", size)
    if not isinstance(plan, AVPlan):
        return torch.ones(len(plan))
    return (1 - plan.present * (plan.sound - plan.picture).abs()).to(torch.get_default_dtype())


def mix_captions(
    captions: Sequence[str | None],
    plan: Plan,
    *,
    other: Sequence[str | None] | None = None,
    stream: str = "sound",
    least: float = 0.1,
) -> list[str | None]:
    """Write a caption of each mix: of the clips that are heard, or seen, in it.

    Two clips are joined by "and"; by "followed by" where a temporal cut reaches to an end of the clip, so that one
    follows the other.

    Parameters
    ----------
    captions : sequence of str or None, B of them
    plan : Plan
    other : sequence of str or None, optional
        Those of the second batch, where partners come from one.
    stream : str
        ``sound`` or ``picture``: they differ where they are mixed differently, as in ``swap``.
    least : float
        A clip of which the stream has less than this share is not named.

    Returns
    -------
    list of str or None, B of them

    Raises
    ------
    ValueError, TypeError
        Not one entry for each clip, an unknown stream.

    Examples
    --------
    >>> plan = Plan(torch.tensor([1, 0]), torch.tensor([0.6, 1.0]).double())
    >>> mix_captions(["A dog barks.", "Rain falls."], plan)
    ['A dog barks and rain falls.', 'Rain falls.']
    """
    check.choice("stream", stream, ["sound", "picture"])
    check.number("least", least, 0, 0.5)
    source = captions if other is None else other
    for name, given in (("captions", captions), ("other", source)):
        if isinstance(given, str) or (name == "captions" and len(given) != len(plan)):
            got = repr(given) if isinstance(given, str) else f"{len(given)} texts"
            check.fail(name, f"a list of {len(plan)} texts, one for each clip", got)
    share, order = plan.weight, [""] * len(plan)
    if isinstance(plan, AVPlan):
        inside = plan.sound if stream == "sound" else plan.picture
        share = 1 - plan.present * (1 - inside)
        order = [_order(plan, i) for i in range(len(plan))]
    said: list[str | None] = []
    for i, j in enumerate(plan.partner.tolist()):
        if share[i] > 1 - least:
            said.append(captions[i])
            continue
        if j >= len(source):
            check.fail("other", f"texts of at least {j + 1} partners", len(source), "was it drawn with other=?")
        said.append(_said(captions[i], source[j], float(share[i]), order[i], least))
    return said


def _order(plan: AVPlan, i: int) -> str:
    """Return who comes first in a temporal cut: nobody where the partner stands in the middle."""
    start, stop, end = float(plan.extent[i, 0]), float(plan.extent[i, 1]), float(plan.valid[i])
    if plan.mode != "time" or (start > 0 and stop < end):
        return ""
    return "own" if start > 0 else "partner"


def _said(own: str | None, partner: str | None, share: float, order: str, least: float) -> str | None:
    if share < least:
        return partner
    if not order:
        return joined(own, partner)
    return joined(*((own, partner) if order == "own" else (partner, own)), "followed by")
