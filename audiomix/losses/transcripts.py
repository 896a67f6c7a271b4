r"""Two transcripts of one mix: a recogniser of speech is trained with both, by their shares.

.. math:: L = \frac{1}{B} \sum_i \left[ w_i \, \ell(z_i, y_i) + (1 - w_i) \, \ell(z_i, y_{p(i)}) \right]

for losses that no soft label can be given to, such as CTC, a transducer's or that of a decoder which is shown the words
before. In the paper 15 % of the utterances are mixed: ``MixUp(1.0, p=0.15)`` on the spectrograms, with `lengths`.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from .. import check
from ..plan import Plan
from ._inputs import wide

__all__ = ["transcript_loss"]


def transcript_loss(loss: Callable[[Tensor], Tensor], plan: Plan) -> Tensor:
    """Return the loss of mixes with the transcripts of all their clips, by their shares; mean over the batch.

    Source: Meng et al., "MixSpeech: Data Augmentation for Low-resource Automatic Speech Recognition", ICASSP 2021.

    Parameters
    ----------
    loss : callable
        Is given which transcript (B,), int64, each mix is to be compared with: numbers of the originals first, then of
        the partners of each mix. Returns the loss of each mix, (B,), without a mean over the batch. Where partners come
        from a second batch the numbers are of its transcripts from the second call on.
    plan : Plan
        What the mixes were made by.

    Returns
    -------
    Tensor, scalar
        In float32 at least. A transcript without a share counts nowhere, even where its loss is infinite. For the
        gradient `loss` itself must bear that: of CTC with ``zero_infinity=True``.

    Raises
    ------
    ValueError
        `loss` returns something else than a loss for each mix.

    Examples
    --------
    >>> from torch.nn import functional as F
    >>> log_p = torch.randn(20, 2, 5).log_softmax(2)  # frames, mixes, tokens
    >>> words, sizes = torch.tensor([[1, 2, 3], [4, 1, 0]]), torch.tensor([3, 2])
    >>> def ctc(rows):
    ...     return F.ctc_loss(log_p, words[rows], torch.tensor([20, 20]), sizes[rows], reduction="none")
    >>> plan = Plan(torch.tensor([1, 0]), torch.tensor([0.75, 1.0], dtype=torch.float64))
    >>> own, other = ctc(torch.tensor([0, 1])), ctc(torch.tensor([1, 0]))
    >>> bool(torch.isclose(transcript_loss(ctc, plan), (0.75 * own[0] + 0.25 * other[0] + own[1]) / 2))
    True
    """
    partners, shares = plan.label_shares()
    rows = [torch.arange(len(plan)), *partners.clamp(min=0).unbind(1)]
    total = None
    for some, share in zip(rows, shares.unbind(1)):
        if total is not None and not bool((share > 0).any()):
            continue
        each = loss(some)
        if not isinstance(each, Tensor) or each.shape != (len(plan),):
            got = tuple(each.shape) if isinstance(each, Tensor) else type(each).__name__
            check.fail("loss", f"to return a loss for each mix, of shape ({len(plan)},)", got, 'reduction="none"?')
        share = share.to(each.device, wide(each))
        part = torch.where(share > 0, share * each, 0.0).sum()
        total = part if total is None else total + part
    assert total is not None
    return total / len(plan)
