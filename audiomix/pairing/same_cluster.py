"""A partner of the same cluster: intra-cluster mixup, and label sharing among near clips.

Clusters are those of k-means, or of any other way, on features of the clips (`clusters`). A clip that is alone in its
cluster has no partner; where the authors' code finds none it searches without end, or leaves zeros.

Source: Mai and Lin, "Intra-Cluster Mixup: An Effective Data Augmentation Technique for Complementary-Label Learning",
TMLR 2026.
"""

from torch import Tensor

from ..draw import Generator
from ._notes import group_numbers
from ._pool import Pool, reads

__all__ = ["pair"]


@reads("clusters")
def pair(pool: Pool, generator: Generator) -> tuple[Tensor, Tensor]:
    """Draw partners of the same cluster; see `audiomix.pairing.pair`.

    In the batch itself each clip of a cluster is used once. Clips of no cluster (None, or -1 as DBSCAN calls noise)
    have no partner and are none.

    Examples
    --------
    >>> import torch
    >>> from audiomix import MixUp
    >>> mixer = MixUp(pairing="same_cluster")
    >>> plan = mixer(torch.randn(5, 1, 100), clusters=[7, 7, 2, 2, 3]).plans[0]
    >>> plan.partner.tolist(), plan.why[4]
    ([1, 0, 3, 2, 4], 'without a partner (pairing, allowed, pairing_weights)')
    """
    slip = "of which cluster is each clip? KMeans(10).fit_predict(embeddings)"
    own, theirs = group_numbers(pool, "clusters", "same_cluster", slip)
    return pool.within_groups(own, theirs, generator)
