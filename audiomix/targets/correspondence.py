r"""Whether sound and picture of a mix belong together, and what can be said of it.

.. math:: c = 1 - d\,|s - p|

s and p are the original's shares of sound and picture while its partner is there, d the share of the time that it is.
"""

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

from .. import check
from ..captions.compose import join_captions
from ..plan import Plan

__all__ = ["correspondence", "mix_captions"]


def correspondence(plan: Plan, size: int | None = None) -> Tensor:
    r"""Return how far sound and picture of each mix come from the same clips.

    .. math:: c = \operatorname{mean}_t \sum_k \min(s_k(t), p_k(t)) = 1 - d\,|s - p|

    s_k and p_k are the shares of clip k in the sound and in the picture: 1 where both streams hold the same clips in
    the same proportions at any time, 0 where one holds the original and the other the partner throughout, and what the
    two shares have in common between.

    Parameters
    ----------
    plan : Plan
        One that mixes all streams alike gives 1; that of `audiomix.AVMix` may not.
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
    >>> from audiomix import AVMix
    >>> plan = AVMix(mode="swap", p=0.5)(torch.randn(4, 1, 100), generator=torch.Generator().manual_seed(3)).plans[0]
    >>> correspondence(plan)
    tensor([0., 0., 1., 0.])
    """
    check.one_of_types("plan", plan, Plan, "a Plan")
    if size is not None and size != len(plan):
        check.fail("size", f"{len(plan)}, as the plan's clips", size)
    return plan.agreement.to(torch.get_default_dtype())


def mix_captions(
    captions: Sequence[str | None],
    plan: Plan,
    *,
    other: Sequence[str | None] | None = None,
    stream: str = "sound",
    least: float = 0.1,
) -> list[str | None]:
    """Write a caption of each mix: of the clips that are heard, or seen, in it.

    Clips are joined by "and"; two of them by "followed by" where a temporal cut reaches to an end of the clip, so that
    one follows the other.

    Source: ours.
    Label: the caption names the clips that have a share of at least `least`.

    Parameters
    ----------
    captions : sequence of str or None, B of them
        One for each clip; None where there is none.
    plan : Plan
        The one that mixed the clips.
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

    See Also
    --------
    audiomix.CaptionMix : places sounds in time and writes captions that are true of it.

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
    partners, shares = plan.label_shares()
    several = (shares[:, 2:] > 0).any(1).tolist()
    share = plan.stream_weight(stream)
    found: list[str | None] = []
    for i, j in enumerate(plan.partner.tolist()):
        if several[i]:
            _check_rows(int(partners[i].max()), source)
            texts = [captions[i], *(source[row] for row in partners[i].tolist())]
            heard = [text for text, part in zip(texts, shares[i].tolist()) if part and part >= least]
            found.append(reduce(join_captions, heard, None))
            continue
        if share[i] > 1 - least:
            found.append(captions[i])
            continue
        _check_rows(j, source)
        found.append(_caption(captions[i], source[j], float(share[i]), plan.order(i), least))
    return found


def _check_rows(last: int, source: Sequence[str | None]) -> None:
    if last >= len(source):
        check.fail("other", f"texts of at least {last + 1} partners", len(source), "was it drawn with other=?")


def _caption(own: str | None, partner: str | None, share: float, order: str, least: float) -> str | None:
    if share < least:
        return partner
    if not order:
        return join_captions(own, partner)
    return join_captions(*((own, partner) if order == "own" else (partner, own)), "followed by")
