"""Embeddings of captions (or of anything else) under a plan: mixed on the line or on the sphere."""

import torch
from torch import Tensor

from .. import check
from ..plan import Plan

__all__ = ["HOW", "mix_embeddings"]

HOW = ("linear", "sphere")


def mix_embeddings(embedding: Tensor, plan: Plan, *, other: Tensor | None = None, how: str = "linear") -> Tensor:
    """Mix embeddings as the plan says; w is the plan's weight, the original's share.

    ``linear`` is w e + (1 - w) e', and of more sources the sum by their shares. ``sphere`` turns the direction u of e
    towards the direction u' of e' along the great circle, by the share 1 - w of the angle between them, and gives it
    the norm w |e| + (1 - w) |e'|: embeddings that are compared by their cosine keep their length.

    Source: ours; the sphere is that of Shoemake, "Animating Rotation with Quaternion Curves", SIGGRAPH 1985.
    Label: that of the plan's weight.

    Parameters
    ----------
    embedding : Tensor, shape (B, D), floating point
        One vector a clip, such as that of its caption.
    plan : Plan
        What a mixer drew for the clips.
    other : Tensor, shape (M, D), optional
        Embeddings of the second batch, where partners come from one.
    how : str
        ``linear`` or ``sphere``.

    Returns
    -------
    Tensor, shape (B, D)
        Of the same dtype and device; at weight 1 the original's bits, at weight 0 the partner's. Gradients flow to
        both.

    Raises
    ------
    ValueError, TypeError
        Shapes that do not fit, whole numbers, an unknown `how`, ``sphere`` for more than two sources.

    Notes
    -----
    Opposite directions have no great circle of their own: they turn through the axis that is the least part of u, the
    first of several. In one dimension there is none, and the mix is linear. A zero vector has no direction and takes
    the other's. Halves are mixed in single precision.

    Examples
    --------
    >>> plan = Plan(torch.tensor([1, 0]), torch.tensor([0.5, 1.0], dtype=torch.float64))
    >>> mix_embeddings(torch.tensor([[1.0, 0.0], [0.0, 3.0]]), plan, how="sphere")
    tensor([[1.4142, 1.4142],
            [0.0000, 3.0000]])
    """
    check.choice("how", how, HOW)
    check.batch("embedding", check.floating("embedding", embedding), len(plan), ndim=2)
    source = embedding if other is None else check.floating("other_embedding", other)
    if embedding.ndim != 2 or source.shape[1:] != embedding.shape[1:]:
        name, got = ("embedding", embedding) if embedding.ndim != 2 else ("other_embedding", source)
        check.fail(name, f"of shape ({'B' if got is embedding else 'M'}, {embedding.shape[1]})", tuple(got.shape))
    if source.dtype != embedding.dtype:
        check.fail("other_embedding", str(embedding.dtype), source.dtype, f"other.to({embedding.dtype})?", TypeError)
    partners, shares = plan.label_shares()
    if how == "sphere" and bool((shares[:, 2:] > 0).any()):
        check.fail("how", "'linear' for more than two sources", repr(how), "a great circle joins two directions")
    exact = torch.promote_types(embedding.dtype, torch.float32)
    vectors = [embedding, *(source[rows] for rows in partners.clamp(min=0).to(source.device).unbind(1))]
    parts = [share[:, None].to(exact).to(embedding.device) for share in shares.unbind(1)]
    if how == "sphere":
        mixed = _on_sphere(vectors[0].to(exact), vectors[1].to(exact), parts[0])
    else:
        mixed = parts[0] * vectors[0].to(exact)
        for share, vector in zip(parts[1:], vectors[1:]):
            mixed = mixed + torch.where(share > 0, share * vector.to(exact), 0.0)
    mixed = mixed.to(embedding.dtype)
    for share, vector in zip(parts, vectors):
        mixed = torch.where(share == 1, vector, mixed)
    return mixed


def _on_sphere(a: Tensor, b: Tensor, w: Tensor) -> Tensor:
    norm_a, u = _split_norm(a)
    norm_b, v = _split_norm(b)
    u, v = torch.where(norm_a > 0, u, v), torch.where(norm_b > 0, v, u)
    cosine = (u * v).sum(-1, keepdim=True)
    # what of v stands across u; where nothing does and v is opposite, the least axis takes its place
    across, sine = _across(v, u)
    opposite = (sine == 0) & (cosine < 0)
    axis = torch.nn.functional.one_hot(u.abs().argmin(-1), u.shape[-1]).to(u.dtype)
    across = torch.where(opposite, _across(axis, u)[0], across)
    along = (sine == 0) & (cosine <= 0)  # atan2 has no gradient at (0, 0), which two zero vectors are
    angle = torch.atan2(sine, torch.where(along, 1.0, cosine))
    angle = torch.where(along, torch.where(opposite, torch.pi, 0.0), angle)
    turn = (1 - w) * angle
    turned = u * turn.cos() + across * turn.sin()
    norm = w * norm_a + (1 - w) * norm_b
    return w * a + (1 - w) * b if u.shape[-1] == 1 else norm * turned


def _across(v: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """Return the direction of the part of unit vectors v that stands across unit vectors u, and its length."""
    part = v - (v * u).sum(-1, keepdim=True) * u
    part = part - (part * u).sum(-1, keepdim=True) * u  # once more: the first difference is rounded
    length, direction = _split_norm(part)
    # below the rounding of a difference of unit vectors, a direction is noise
    enough = length > 8 * torch.finfo(u.dtype).eps
    return torch.where(enough, direction, 0.0), torch.where(enough, length, 0.0)


def _split_norm(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return norms (B, 1) and directions; zeros where a vector is zero. No square over- or underflows."""
    scale = x.detach().abs().amax(-1, keepdim=True)
    safe = torch.where(scale > 0, scale, 1.0)
    unit = x / safe
    square = unit.square().sum(-1, keepdim=True)
    length = torch.where(scale > 0, square, 1.0).sqrt()
    return torch.where(scale > 0, length * safe, 0.0), unit / length
