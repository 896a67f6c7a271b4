r"""GeodesicMix: embeddings are mixed along the shortest arc of the sphere, so that a mix is as far out as its sources.

.. math:: x' = \frac{\sin(w \theta)}{\sin\theta} x + \frac{\sin((1 - w) \theta)}{\sin\theta} x_p, \qquad
          \theta = \arccos(x \cdot x_p), \qquad y' = w y + (1 - w) y_p, \quad w \sim \mathrm{Beta}(0.5, 0.5)

for x and x_p of length 1. The paper's formula is 0 / 0 for parallel and for opposite vectors. Here the arc is
:math:`\cos\phi\, u + \sin\phi\, e` with :math:`\phi = (1 - w) \theta` and e the part of the partner that is orthogonal
to the original, at length 1: the same arc, and finite everywhere.

Source: Oh et al., "Geodesic Multi-Modal Mixup for Robust Fine-Tuning", NeurIPS 2023.
Label: mixed by the drawn weight.
"""

from typing import Literal

import torch
from torch import Tensor

from .. import check, draw
from ..audio.blend import check_out, find_source
from ..clips import Clips, silence_padding
from ..draw import Generator
from ..mixer import EMBEDDING, Example, Mixer, Needs, Pairing, Rule
from ..plan import Plan
from ..schedule import Schedule

__all__ = ["GeodesicMix", "geodesic", "geodesic_mix"]

Norm = Literal["kept", "unit"]


def geodesic(a: Tensor, b: Tensor, weight: Tensor, *, norm: Norm = "unit") -> Tensor:
    """Return points on the shortest arcs between vectors: at angle ``(1 - weight) * theta`` from `a`.

    Of opposite vectors, which no arc is the shortest of, one over the axis on which `a` is smallest is taken. A vector
    of zeros has no direction: the other's is taken, and zeros of two. Gradients are finite everywhere.

    Parameters
    ----------
    a, b : Tensor, shape (..., D), floating point
        Embeddings; computed in float32 at least.
    weight : Tensor, broadcastable to (..., 1)
        Of `a`: 1 gives `a`, 0 gives `b`.
    norm : str
        ``unit``: of length 1. ``kept``: of length ``weight * |a| + (1 - weight) * |b|``.

    Returns
    -------
    Tensor, shape (..., D), in the dtype of `a`

    Examples
    --------
    >>> a, b = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    >>> geodesic(a, b, torch.tensor([[0.5], [0.5]])).abs().round(decimals=4)
    tensor([[0.7071, 0.7071],
            [0.0000, 1.0000]])
    """
    check.choice("norm", norm, ("kept", "unit"))
    wide = torch.promote_types(check.floating("a", a).dtype, torch.float32)
    weight = weight.to(a.device, wide)
    (u, long), (v, far) = _unit(a.to(wide)), _unit(b.to(wide))
    along = (u * v).sum(-1, keepdim=True)
    across = v - along * u
    across = across - (across * u).sum(-1, keepdim=True) * u  # what rounding left
    # below it the direction of the difference is rounding: there the arc is a point, or any half circle
    apart = across.square().sum(-1, keepdim=True)
    clear = apart > torch.finfo(wide).eps
    length = torch.where(clear, apart, 1.0).sqrt()
    aside = torch.where(clear, across / length, _orthogonal(u))
    angle = (1 - weight) * torch.atan2(torch.where(clear, length, 0.0), along)
    mixed, _ = _unit(angle.cos() * u + angle.sin() * aside)
    if norm == "kept":
        mixed = mixed * (weight * long + (1 - weight) * far)
    return mixed.to(a.dtype)


def _unit(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return vectors at length 1 and their lengths; zeros stay zeros, with finite gradients."""
    scale = x.detach().abs().amax(-1, keepdim=True)
    scale = torch.where(scale > 0, scale, 1.0)  # squares of very small numbers are 0, of very large ones infinite
    square = (x / scale).square().sum(-1, keepdim=True)
    there = square > 0
    length = torch.where(there, square, 1.0).sqrt()
    return x / scale / length, torch.where(there, length * scale, 0.0)


def _orthogonal(u: Tensor) -> Tensor:
    """Return for each vector one of length 1 at a right angle: over the axis on which it is smallest."""
    u = u.detach()
    axis = torch.nn.functional.one_hot(u.abs().argmin(-1), u.shape[-1]).to(u)
    aside = axis - (axis * u).sum(-1, keepdim=True) * u
    return aside / aside.square().sum(-1, keepdim=True).clamp(min=torch.finfo(u.dtype).tiny).sqrt()


def geodesic_mix(
    x: Tensor,
    plan: Plan,
    *,
    other: Tensor | None = None,
    lengths: Tensor | None = None,
    norm: Norm = "kept",
    out: Tensor | None = None,
) -> Tensor:
    """Mix each embedding with its partner's along the arc between them; one of weight 1 stays as it is.

    Parameters
    ----------
    x : Tensor, shape (B, D), floating point
        Embeddings. Left unchanged.
    plan : Plan
        Partners and weights.
    other : Tensor, shape (M, D), optional
        Where partners come from.
    lengths : Tensor, shape (B,), optional
        Valid numbers of each original: those of its partner behind them are taken as 0.
    norm : str
        See `geodesic`.
    out : Tensor, optional
        See `audiomix.audio.blend.blend`.

    Examples
    --------
    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> geodesic_mix(x, Plan(torch.tensor([1, 0]), torch.tensor([0.5, 1.0], dtype=torch.float64)))
    tensor([[0.7071, 0.7071],
            [0.0000, 1.0000]])
    """
    source = find_source(check.floating("x", x), plan, other)
    if out is not None:
        check_out(out, x, source)
    weight = plan.weight.to(x.device, torch.promote_types(x.dtype, torch.float32), non_blocking=True)
    weight = weight.view(-1, *[1] * (x.ndim - 1))
    partners = silence_padding(source[plan.partner.to(x.device, non_blocking=True)], lengths)
    mixed = geodesic(x, partners, weight, norm=norm)
    mixed = torch.where(weight < 1, mixed, x)
    return mixed if out is None else out.copy_(mixed)


class GeodesicMix(Mixer):
    """Mixup of embeddings along the shortest arc of the sphere.

    Parameters
    ----------
    alpha : float or schedule
        Concentration of Beta(alpha, alpha), from which the original's share is drawn; 0 mixes nothing.
    norm : str
        ``kept``: a mix is as long as the linear mix of its sources' lengths; of embeddings of length 1 that is 1.
        ``unit``: it has length 1 whatever they have. What is not mixed stays as it is.
    per : str
        ``clip``: one share a clip; ``batch``: one for all, as in the paper.
    num_classes, p, pairing, rule
        See `audiomix.Mixer`.

    Notes
    -----
    The angle to the original is ``(1 - weight)`` of that between the two. The function `geodesic` mixes what belongs
    together, such as the embeddings of a sound and of its caption; clips of the batch as hard negatives for those are
    ``other=``. With `lengths` only the valid numbers of each original count.

    See Also
    --------
    audiomix.MixUp : along the straight line.

    Examples
    --------
    >>> embedding = torch.nn.functional.normalize(torch.randn(4, 512), dim=1)
    >>> mixed = GeodesicMix(num_classes=4)(embedding, torch.arange(4))
    >>> bool(torch.allclose(mixed.x.norm(dim=1), torch.ones(4))), mixed.target.sum(1).tolist()
    (True, [1.0, 1.0, 1.0, 1.0])
    """

    # A part of an embedding is no place in time
    takes_self = False

    def __init__(
        self,
        alpha: float | str | Schedule = 0.5,
        *,
        norm: Norm = "kept",
        per: Literal["clip", "batch"] = "clip",
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        pairing: Pairing = "any",
        rule: Rule = "linear",
    ) -> None:
        super().__init__(num_classes=num_classes, p=p, pairing=pairing, rule=rule)
        self.alpha = Schedule.of(alpha, "alpha").within("alpha", 0)
        self.norm: Norm = check.choice("norm", norm, ("kept", "unit"))  # type: ignore[assignment]
        self.per = check.choice("per", per, ["clip", "batch"])

    @property
    def needs(self) -> Needs:
        """Embeddings (B, D)."""
        return Needs(domain=frozenset({EMBEDDING}), summed=False)

    @classmethod
    def examples(cls) -> list[Example]:
        """Return both norms and both ways to draw."""
        return [Example(mixer, shape=(300,)) for mixer in (cls(), cls(norm="unit"), cls(2.0, per="batch"))]

    def check_input(self, own: Clips, source: Clips) -> None:
        """Refuse what is no embedding."""
        super().check_input(own, source)
        if own.x.ndim != 2:
            slip = "pool the frames first, or mix with MixUp"
            check.fail("x", "embeddings (B, D)", f"shape {tuple(own.x.shape)}", slip)

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw partners and weights."""
        partner, mixed = self.pair(own, source, progress=progress, generator=generator)
        size = len(own)
        weight = draw.beta(self.alpha(progress), 1 if self.per == "batch" else size, generator=generator).expand(size)
        return Plan(partner, torch.where(mixed, weight, 1.0))

    def render(self, own: Clips, source: Clips, plan: Plan) -> Tensor:
        """Apply a plan; see `geodesic_mix`."""
        return geodesic_mix(own.x, plan, other=source.x, lengths=own.lengths, norm=self.norm)
