r"""CoMatch: pseudo-labels smoothed by similar clips, and strong views that are similar where pseudo-labels are.

.. math:: L = \frac{1}{B} \sum_i H(y_i, f(x_i)) + \lambda \, \frac{1}{U} \sum_j [\max q_j \ge \tau] \, H(q_j, f(u'_j))
          + \lambda_s \, \frac{1}{U} \sum_j H(\hat W^q_j, \hat W^z_j)

.. math:: q_j = \alpha \, p_j + (1 - \alpha) \sum_m a_{jm} \, p_m, \qquad
          a_{jm} = \frac{\exp(z_j \cdot z_m / t)}{\sum_n \exp(z_j \cdot z_n / t)}

.. math:: W^q_{jk} = \begin{cases} 1 & j = k \\ q_j \cdot q_k & j \ne k, \; q_j \cdot q_k \ge T \\ 0 & \text{else}
          \end{cases} \qquad W^z_{jk} = \exp(z'_j \cdot z''_k / t)

x labelled clips; u_j is the weak view of an unlabelled clip, u'_j and u''_j are two strong views, and z their
embeddings. p_j is the prediction on the weak view, aligned to the run's prior; m are clips of the last batches
in a memory: weak views with their p_m, before smoothing, and labelled clips with their labels. W-hat are the graphs W
with rows that sum to 1. Li, Xiong and Hoi, "CoMatch: Semi-supervised Learning with Contrastive Graph Regularization",
ICCV 2021, equations 1 to 12. The similarity of the pseudo-labels is taken of all clips, accepted or not.

Off the diagonal the paper has W^z of the first strong views alone; this is the authors' code. A batch is taken into the
memory after it was smoothed. The memory is used as soon as it holds a clip, in the code once it is full.

In a run of several processes the memory is of all processes, and each graph of one process's slice.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from audiomix import check
from audiomix.mixer import Mixer

from ._embeddings import EmbeddingAlgorithm, Known, Match, similarities
from ._thresholds import PAPERS

__all__ = ["ClipMemory", "CoMatch", "pseudo_label_graph"]

_SMALL: dict[str, Any] = {"threshold": 0.8, "memory_size": 256, "momentum": 0.95}


class CoMatch(EmbeddingAlgorithm):
    """CoMatch with soft pseudo-labels; the method mixes nothing.

    Parameters
    ----------
    num_classes : int
        K, the number of classes.
    mixer : Mixer, optional
        None: the method mixes nothing.
    threshold : float
        tau, the largest value of q from which a pseudo-label is accepted: 0.95 in the paper.
    weight : str or float
        lambda, the factor of the pseudo-labels' term: a number, or a schedule such as "linear:0:1:0.4".
    weight_similarity : str or float
        lambda_s, the factor of the graphs' term: a number or a schedule. 1 in the paper's CIFAR-10 runs.
    smoothing : float
        alpha, the share of the prediction in the pseudo-label: 0.9 in the paper, 1 leaves the memory out.
    temperature : float
        t, which divides the similarities: 0.2 in the paper.
    graph_threshold : float
        T, the similarity of pseudo-labels from which two clips are neighbours: 0.8 in the paper.
    dimensions : int
        Size of an embedding: 64 in the paper.
    memory_size : int
        Clips in the memory, labelled and unlabelled: 2560 in the paper, five batches.
    distribution_alignment : bool
        Align the predictions to the run's prior; in the paper to equally frequent classes.
    momentum : float
        Momentum of the running class distribution of the alignment: about 1 / (1 - momentum) batches are remembered.

    References
    ----------
    Li, Xiong and Hoi, "CoMatch: Semi-supervised Learning with Contrastive Graph Regularization", ICCV 2021.

    Deviations
    ----------
    - Predictions are aligned with a running mean, in the authors' code with the mean of the last 32 batches. They are
      aligned to the frequencies of the labels (`--prior`), in the paper to equal ones.
    - The weak views pass the network by themselves, without gradient.
    - Off the diagonal the graph of embeddings compares the two strong views, as in the authors' code; the paper
      compares the first strong views alone. The memory is used as soon as it holds a clip, in the code once it is full.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "original": {},
        "study": _SMALL,
        "small": _SMALL,
        "strong": _SMALL,
        "demo": _SMALL,
    }
    configs: ClassVar[dict[str, dict[str, Any]]] = {"original": PAPERS}
    strong_views = 2

    def __init__(
        self,
        num_classes: int,
        mixer: Mixer | None = None,
        *,
        threshold: float = 0.95,
        weight: str | float = 1.0,
        weight_similarity: str | float = 1.0,
        smoothing: float = 0.9,
        temperature: float = 0.2,
        graph_threshold: float = 0.8,
        dimensions: int = 64,
        memory_size: int = 2560,
        distribution_alignment: bool = True,
        momentum: float = 0.97,
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
        self.graph_threshold = check.fraction("graph_threshold", graph_threshold)
        self.memory_size = check.integer("memory_size", memory_size, 1)

    def setup(self, model: nn.Module, make_network: Callable[[str], nn.Module], unlabelled: int) -> None:
        """Make the projection and the memory; see `Algorithm.setup`."""
        super().setup(model, make_network, unlabelled)
        self.memory = ClipMemory(self.memory_size, self.dimensions, self.num_classes)

    def match(self, known: Known) -> Match:
        """Smooth the predictions with the memory, then take the batch in; see `EmbeddingAlgorithm.match`."""
        q, (z, labels) = known.p, self.memory.clips()
        if len(z):
            near = (similarities(known.z, z) / self.temperature).softmax(-1)  # (U, M)
            q = self.smooth(q, near @ labels)
        for z, labels in ((known.z, known.p), (known.z_labelled, self.one_hot(known.target))):
            self.memory.add(self.gather(z), self.gather(labels))
        graph = pseudo_label_graph(q, self.graph_threshold)
        return Match(q, graph, None, {"neighbours": (graph > 0).double().sum(-1).mean() - 1})


def pseudo_label_graph(q: Tensor, threshold: float) -> Tensor:
    """Return W-hat^q (U, U) of pseudo-labels `q` (U, K): rows that sum to 1.

    >>> pseudo_label_graph(torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), 0.8)
    tensor([[0.5263, 0.4737, 0.0000],
            [0.4737, 0.5263, 0.0000],
            [0.0000, 0.0000, 1.0000]])
    """
    graph = similarities(q, q).fill_diagonal_(1)
    graph = torch.where(graph >= threshold, graph, 0)
    return graph / graph.sum(-1, keepdim=True)


class ClipMemory(nn.Module):
    """Embeddings and class probabilities of the last clips.

    Parameters
    ----------
    size : int
        Number of clips that are kept.
    dimensions : int
        E, the size of an embedding.
    num_classes : int
        K, the number of classes.
    """

    embeddings: Tensor
    labels: Tensor
    added: Tensor

    def __init__(self, size: int, dimensions: int, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("embeddings", torch.zeros(size, dimensions))
        self.register_buffer("labels", torch.zeros(size, num_classes))
        self.register_buffer("added", torch.zeros((), dtype=torch.int64))  # clips so far

    @torch.no_grad()
    def add(self, z: Tensor, labels: Tensor) -> None:
        """Write embeddings (B, E) and class probabilities (B, K) over those that were added first."""
        size, added = len(self.labels), int(self.added)
        place = torch.arange(added, added + len(z), device=z.device)[-size:] % size
        self.embeddings[place] = z[-size:].to(self.embeddings)
        self.labels[place] = labels[-size:].to(self.labels)
        self.added += len(z)

    def clips(self) -> tuple[Tensor, Tensor]:
        """Return embeddings (M, E) and class probabilities (M, K) of the clips in the memory."""
        count = min(int(self.added), len(self.labels))
        return self.embeddings[:count], self.labels[:count]
