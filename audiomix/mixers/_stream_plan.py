r"""What is drawn for two streams of one utterance, and how it is applied.

.. math:: m_t = s_t v_t + (1 - s_t) a_t
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .. import check
from ..audio.blend import check_out
from ..clips import behind
from ..graphs import by_row
from ..plan import ORIGINAL, Part, Plan
from ..streams import spans as stream_spans

__all__ = ["StreamPlan", "blend_streams", "check_finite", "mix_streams", "valid_mask"]

_HALF = (torch.float16, torch.bfloat16)
_SMALL = 4 << 20


@dataclass(frozen=True, eq=False)
class StreamPlan(Plan):
    """A plan that says where the sound is in: spans are fractions of the clip, so that it fits frames of any rate.

    Parameters
    ----------
    partner, weight, why, roll, roll_within
        See `audiomix.Plan`.
    spans : Tensor, shape (B, S, 2), float64
        Start and stop of each piece that holds sound, as fractions of the (padded) clip; equal where there is none.
    ratio : Tensor, shape (B,), float64
        The picture's share within the spans: 0 where frames are replaced. Outside it is 1.
    """

    spans: Tensor
    ratio: Tensor

    _still: ClassVar = {"spans": [[0.0, 0.0]], "ratio": 1.0}

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_rows("spans", None, 2)
        self._check_rows("ratio")

    def parts(self, index: int) -> list[Part]:
        """Return the picture's parts around and in the spans, and the sound's in the spans."""
        ratio, found, at = float(self.ratio[index]), list[Part](), 0.0
        spans = [(a, b) for a, b in sorted(self.spans[index].tolist()) if a < b] if ratio < 1 else []
        for start, stop in spans:
            found += [Part(ORIGINAL, start=at, piece=(at, start))] if start > at else []
            found += [Part(ORIGINAL, ratio, start=start, piece=(start, stop))] if ratio else []
            at = stop
        found += [Part(ORIGINAL, start=at, piece=(at, 1.0))] if at < 1 else []
        sound = [Part(index, 1 - ratio, start=start, piece=(start, stop)) for start, stop in spans]
        return [*(found or [Part(ORIGINAL, 0.0)]), *sound]

    def sources(self, index: int) -> list[int]:
        """Return the row itself where the sound is in: row i of the sound belongs to row i of the picture."""
        return [index] if float(self.weight[index]) < 1 else []

    def share(self, size: int) -> Tensor:
        """The picture's share at each of `size` frames of any stream of the clip; (B, size), float64."""
        return torch.where(stream_spans.inside(self.spans, size), self.ratio[:, None], 1.0)


def mix_streams(picture: Tensor, plan: Plan, sound: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Mix each frame of the picture with the frame of the sound at the same index.

    Parameters
    ----------
    picture : Tensor, shape (B, N, D)
        Left unchanged.
    plan : Plan
        A `StreamPlan`; any other mixes all frames by its weight.
    sound : Tensor, shape (B, M, D)
        Aligned with the picture already. Frames from N on are left out; from M on the picture is alone.
    out : Tensor, shape of picture, optional
        Written and returned; see `audiomix.audio.blend.blend`.

    Returns
    -------
    Tensor, shape (B, N, D)
        Frames of share 1 have the picture's values and frames of share 0 the sound's, whatever the other holds; in an
        utterance that has both, a zero may lose its sign.

    Examples
    --------
    >>> plan = Plan(torch.tensor([0]), torch.tensor([0.75], dtype=torch.float64))
    >>> mix_streams(torch.ones(1, 3, 2), plan, torch.zeros(1, 2, 2))[..., 0]
    tensor([[0.7500, 0.7500, 1.0000]])
    """
    return blend_streams(picture, plan, sound, out)[0]


def blend_streams(x: Tensor, plan: Plan, sound: Tensor, out: Tensor | None) -> tuple[Tensor, bool]:
    """Return the mix, and whether all of both that is at the same time is finite (on a CPU; elsewhere not looked at).

    No partner is gathered here, as `audiomix.audio.blend.blend` would: row i meets row i.
    """
    if out is not None:
        check_out(out, x, sound)
    frames = min(x.shape[1], sound.shape[1])
    share = plan.share(x.shape[1])[:, :frames].expand(len(x), frames)
    if by_row(x, sound):
        mixed = torch.empty_like(x) if out is None else out
        return mixed, _write(mixed, x, sound, share)
    part, clean = _expression(x[:, :frames], sound[:, :frames], share[..., None])
    mixed = part if frames == x.shape[1] else torch.cat([part, x[:, frames:]], 1)
    return (mixed if out is None else out.copy_(mixed)), clean


def _write(mixed: Tensor, x: Tensor, sound: Tensor, share: Tensor) -> bool:
    """Write the mix at shares (B, frames); return whether it is finite. A lerp reads each stream once."""
    frames = share.shape[1]
    part, own, theirs = mixed[:, :frames], x[:, :frames], sound[:, :frames]
    ones, zeros = share == 1, share == 0
    pure = ones.all(1) | zeros.all(1)
    clean = True
    if bool(pure.all()):
        clean = _clean(own) and _clean(theirs)
    else:
        wide = torch.promote_types(x.dtype, torch.float32)
        factor = share[:, :1] if bool((share == share[:, :1]).all()) else share  # fewer, longer inner loops
        direct = part if wide == x.dtype else None
        found = torch.lerp(theirs.to(wide), own.to(wide), factor.to(wide)[..., None], out=direct)
        clean = _clean(found)  # also of what has no share: 0 times NaN is NaN
        if direct is None:
            part.copy_(found)
        if not clean:
            part[ones], part[zeros] = own[ones], theirs[zeros]
    for i in pure.nonzero()[:, 0].tolist():  # bits: a lerp makes 0 of -0
        part[i] = own[i] if bool(ones[i, 0]) else theirs[i]
    mixed[:, frames:] = x[:, frames:]
    return clean


def _expression(a: Tensor, b: Tensor, share: Tensor) -> tuple[Tensor, bool]:
    """Mix frames where a gradient is followed, a graph traced, or the device is no CPU."""
    pure = (share == 0) | (share == 1)  # on the CPU: nobody waits for the device
    traced = torch.compiler.is_compiling()
    place = share.to(a.device)
    if not traced and bool(pure.all()):
        return torch.where(place == 1, a, b), _clean(a) and _clean(b)
    wide = torch.promote_types(a.dtype, torch.float32)
    part = torch.lerp(b.to(wide), a.to(wide), place.to(wide))
    clean, part = _clean(part), part.to(a.dtype)
    if traced or bool(pure.any()):  # a lerp of weight 0 or 1 still takes over what is not finite
        part = torch.where(place == 1, a, torch.where(place == 0, b, part))
    return part, clean


def _clean(x: Tensor) -> bool:
    """Whether all values are finite: a sum of squares is not if one of them is not (or above 1e19: then in doubt)."""
    if torch.compiler.is_compiling() or x.device.type != "cpu":
        return True
    flat = x.detach().reshape(-1)
    flat = flat.float() if flat.dtype in _HALF else flat
    return bool(torch.isfinite(torch.dot(flat, flat)))


def check_finite(name: str, x: Tensor, lengths: Tensor | None) -> None:
    """Raise where a valid frame is not finite."""
    bad = ~torch.isfinite(x).all(-1)
    if lengths is not None:
        bad = bad & valid_mask(x, lengths)[..., 0]
    if bool(bad.any()):
        row, frame = (int(i) for i in bad.nonzero()[0])
        stream = {"x": "the picture", "other": "the sound"}[name]
        slip = "a missing face or track, or the log of silence? drop the frames or clamp before the log"
        what = "NaN" if bool(torch.isnan(x[row, frame]).any()) else "infinite values"
        got = f"{what} in {stream}, row {row}, frame {frame} ({int(bad.sum())} such frames)"
        check.fail(name, "finite within lengths", got, slip)


def valid_mask(x: Tensor, lengths: Tensor) -> Tensor:
    """Return where frames are valid; bool, (B, N, 1), on the device of `x`."""
    return ~behind(x.transpose(1, 2), lengths).transpose(1, 2)
