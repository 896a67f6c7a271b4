r"""SimMatch: weak and strong view agree on classes and on which labelled clips are similar, and each guides the other.

.. math:: L = \frac{1}{B} \sum_i H(y_i, f(x_i)) + \lambda \, \frac{1}{U} \sum_j [\max \hat p_j \ge \tau] \,
          H(\hat p_j, f(u'_j)) + \lambda_s \, \frac{1}{U} \sum_j H(\hat q_j, q'_j)

.. math:: q_{jn} = \frac{\exp(z_j \cdot z_n / t)}{\sum_m \exp(z_j \cdot z_m / t)}, \qquad
          \hat q_{jn} \propto q_{jn} \, p_{j, y_n}, \qquad
          \hat p_{jk} = \alpha \, p_{jk} + (1 - \alpha) \sum_{n: y_n = k} q_{jn}

x labelled clips, u_j and u'_j the weak and the strong view of an unlabelled one. p_j is the prediction on the weak
view, aligned to the run's prior; z_j and z'_j are the embeddings of both views, q_j and q'_j their similarity
to the labelled clips n in a memory bank. q-hat takes the classes in ("unfolding"), p-hat the similarities
("aggregation"). Zheng et al., "SimMatch: Semi-supervised Learning with Similarity Matching", CVPR 2022, equations 3 to
11. The similarity term is over all clips, accepted or not.

.. math:: z_n \leftarrow \frac{m_z z_n + (1 - m_z) z(x_n)}{\lVert m_z z_n + (1 - m_z) z(x_n) \rVert}

The bank has one row for each labelled clip, which moves when the clip is in a batch, as in the authors' CIFAR runs with
m_z = 0.7. (Their ImageNet runs write the embeddings of a teacher.) A row is normalised by its own length. The first
embedding of a clip is its row; a clip that has not been in a batch yet is left out. So the bank can be used from the
first step on, where the authors' code leaves both uses of it out in the first epoch. The labelled clips of a batch are
taken in before the bank is used, there after.

What differs from the paper at the preset ``original`` stands with the class.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiomix import check
from audiomix.mixer import Mixer

from ._embeddings import EmbeddingAlgorithm, Known, Match, similarities
from ._pseudo_labels import last_places
from ._thresholds import PAPERS

__all__ = ["LabelledBank", "SimMatch"]

_SMALL: dict[str, Any] = {"threshold": 0.8, "momentum": 0.95}


class SimMatch(EmbeddingAlgorithm):
    """SimMatch with a bank of all labelled clips; the method mixes nothing.

    Parameters
    ----------
    num_classes : int
        K, the number of classes.
    mixer : Mixer, optional
        None: the method mixes nothing.
    threshold : float
        tau, the largest value of p-hat from which a pseudo-label is accepted: 0.95 in the paper.
    weight : str or float
        lambda, the factor of the pseudo-labels' term: a number, or a schedule such as "linear:0:1:0.4".
    weight_similarity : str or float
        lambda_s, the factor of the similarity term: a number or a schedule. 1 in the paper's CIFAR runs.
    smoothing : float
        alpha, the share of the prediction in the pseudo-label; 0.9 in the paper, 1 leaves the similarities out.
    temperature : float
        t, which divides the similarities: 0.1 in the paper.
    dimensions : int
        Size of an embedding: 128 in the paper.
    bank_momentum : float
        m_z, the share of a bank's row that is kept when its clip comes up.
    distribution_alignment : bool
        Align the predictions to the run's prior; in the paper to equally frequent classes.
    momentum : float
        Momentum of the running class distribution of the alignment: about 1 / (1 - momentum) batches are remembered.

    References
    ----------
    Zheng et al., "SimMatch: Semi-supervised Learning with Similarity Matching", CVPR 2022.

    Deviations
    ----------
    - Predictions are aligned with a running mean; the authors' code has the mean of the last 256 batches, and aligns on
      ImageNet alone. They are aligned to the frequencies of the labels (`--prior`), in the paper to equal ones.
    - The weak views pass the network by themselves, without gradient.
    - The bank is used from the first step on; the authors' code leaves both uses of it out in the first epoch. The
      labelled clips of a batch are taken in before the bank is used, there after.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "original": {},
        "study": _SMALL,
        "small": _SMALL,
        "strong": _SMALL,
        "demo": _SMALL,
    }
    configs: ClassVar[dict[str, dict[str, Any]]] = {"original": PAPERS}

    def __init__(
        self,
        num_classes: int,
        mixer: Mixer | None = None,
        *,
        threshold: float = 0.95,
        weight: str | float = 1.0,
        weight_similarity: str | float = 1.0,
        smoothing: float = 0.9,
        temperature: float = 0.1,
        dimensions: int = 128,
        bank_momentum: float = 0.7,
        distribution_alignment: bool = True,
        momentum: float = 0.996,
    ) -> None:
        super().__init__(
            num_classes,
            mixer,
            threshold=threshold,
            weight=weight,
            weight_similarity=weight_similarity,
            smoothing=smoothing,
            temperature=temperature,
            dimensions=dimensions,
            distribution_alignment=distribution_alignment,
            momentum=momentum,
        )
        self.bank_momentum = check.fraction("bank_momentum", bank_momentum)

    def setup(self, model: nn.Module, make_network: Callable[[str], nn.Module], unlabelled: int) -> None:
        """Make the projection and the bank; see `Algorithm.setup`."""
        super().setup(model, make_network, unlabelled)
        self.bank = LabelledBank(self.labelled_clips, self.dimensions, self.bank_momentum)

    def match(self, known: Known) -> Match:
        """Move the bank, then let classes and similarities guide each other; see `EmbeddingAlgorithm.match`."""
        self.bank.update(*(self.gather(part) for part in (known.z_labelled, known.target, known.index)))
        z, classes = self.bank.clips()
        near = similarities(known.z, z) / self.temperature  # (U, N)
        # in logarithms: where the likely classes have no similar clip, all products may be 0 in float32
        of_class = known.p[:, classes].clamp_min(torch.finfo(torch.float32).tiny).log()
        unfolded = (near + of_class).softmax(-1)
        aggregated = near.softmax(-1) @ self.one_hot(classes)  # (U, K)
        return Match(self.smooth(known.p, aggregated), unfolded, z, {})


class LabelledBank(nn.Module):
    """An embedding and the class of each labelled clip.

    Parameters
    ----------
    clips : int
        Number of labelled clips.
    dimensions : int
        E, the size of an embedding.
    momentum : float
        The share of a row that is kept when its clip comes up.
    """

    embeddings: Tensor
    classes: Tensor

    def __init__(self, clips: int, dimensions: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("embeddings", torch.zeros(clips, dimensions))
        self.register_buffer("classes", torch.full((clips,), -1))  # -1: has not come up

    @torch.no_grad()
    def update(self, z: Tensor, target: Tensor, index: Tensor) -> None:
        """Move the rows at `index` (L,) towards embeddings `z` (L, E), and write their classes `target` (L,).

        Where a clip comes up twice, the last embedding counts.
        """
        last = last_places(index, len(self.classes))
        seen = (last >= 0).nonzero().squeeze(1)
        new, first = z[last[seen]].to(self.embeddings), self.classes[seen] < 0
        moved = F.normalize(torch.lerp(new, self.embeddings[seen], self.momentum), dim=-1)
        self.embeddings[seen] = torch.where(first[:, None], new, moved)
        self.classes[seen] = target[last[seen]]

    def clips(self) -> tuple[Tensor, Tensor]:
        """Return embeddings (N, E) and classes (N,) of the N clips that have come up."""
        seen = self.classes >= 0
        return self.embeddings[seen], self.classes[seen]
