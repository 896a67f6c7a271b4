r"""Beat-synchronous mixup in a latent space: aligned in time, encoded each, mixed there, decoded.

.. math:: x' = D\bigl(s\, E(x) + (1 - s)\, E(g\, x_p(m(t)))\bigr)

s is the original's share at each latent frame: w where both sound, 1 elsewhere. MusicLDM's BLM (Chen et al. 2023) is
the case without a warp.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from . import check
from .audio.blend import check_out, fitted
from .beats import plan as overlay
from .beats.plan import BeatPlan
from .beats.render import tracks
from .mixers.beat import BeatMix
from .plan import Plan

__all__ = ["LatentBeatMix"]


class LatentBeatMix(BeatMix):
    """Mix music on the beat in the latent space of an autoencoder.

    Parameters
    ----------
    encode : callable
        Waveforms (B, C, T) to latents (B, ..., N, ...), with one axis of time.
    decode : callable
        Latents to waveforms (B, C, T').
    stride : int
        T is padded with zeros to a multiple of it before `encode`; T' may differ from the padded T by less than it.
    time_axis : int
        Which axis of the latents is time.
    **options
        As for `audiomix.BeatMix`, but for `gain_law` and ``mode="crossfade"``: weights act on latents here.

    Notes
    -----
    Original and partner are levelled before they are encoded. Latents may have any dtype; what comes out has that of
    the input, its length and its device. The weight is the mean of s over what comes out. A clip that is not mixed
    comes back as it is, not coded. Run `encode` and `decode` under ``torch.no_grad()`` yourself where no gradient is
    wanted.

    Examples
    --------
    >>> def encode(x):  # 64 samples to a frame
    ...     return x.unfold(-1, 64, 64).mean(-1)
    >>> def decode(z):
    ...     return z.repeat_interleave(64, -1)
    >>> music = torch.randn(2, 1, 160000)
    >>> grids = [[60 / bpm * i for i in range(19)] for bpm in (120, 116)]
    >>> LatentBeatMix(encode, decode, stride=64, rate=16000)(music, beats=grids).x.shape
    torch.Size([2, 1, 160000])
    """

    def __init__(
        self,
        encode: Callable[[Tensor], Tensor],
        decode: Callable[[Tensor], Tensor],
        *,
        stride: int = 1,
        time_axis: int = -1,
        **options: Any,
    ) -> None:
        for name in ("gain_law", "mode"):
            if name in options:
                slip = "the weights act on latents, so there are no gains and no curves"
                check.fail(name, "left out for LatentBeatMix", repr(options[name]), slip, TypeError)
        super().__init__(gain_law="amplitude", **options)
        for name, function in (("encode", encode), ("decode", decode)):
            if not callable(function):
                check.fail(name, "a function or module", type(function).__name__, error=TypeError)
        self.encode, self.decode = encode, decode
        self.stride = check.integer("stride", stride, 1)
        self.time_axis = check.integer("time_axis", time_axis)

    @classmethod
    def example(cls) -> "LatentBeatMix":
        """Return an instance without loss."""
        return cls(lambda x: x, lambda z: z, rate=16000, policy="plain", level="recorded")

    def mix(
        self,
        x: Tensor,
        plan: Plan,
        *,
        other: Tensor | None = None,
        lengths: Tensor | None = None,
        other_lengths: Tensor | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """Warp the partners, encode, mix the latents and decode."""
        assert isinstance(plan, BeatPlan)
        if out is not None:
            check_out(out, x, x if other is None else other)
        mixed = self._decoded(self.latents(x, plan, other=other, lengths=lengths, other_lengths=other_lengths), x)
        ends = self.mixed_lengths(lengths, plan, x.shape[-1])
        if ends is not None:
            mixed = mixed * (torch.arange(x.shape[-1]) < ends[:, None]).to(x.device).view(len(x), 1, -1)
        alone = (plan.weight == 1).to(x.device).view(-1, *[1] * (x.ndim - 1))
        mixed = torch.where(alone, x, mixed.to(x))
        return mixed if out is None else out.copy_(mixed)

    def _weight(self, places: dict[str, Any], ratio: Tensor, ends: Tensor) -> Tensor:
        return overlay.mean_share(places, ratio, ends)  # outside of the overlap the original is left alone

    def latents(
        self,
        x: Tensor,
        plan: BeatPlan,
        *,
        other: Tensor | None = None,
        lengths: Tensor | None = None,
        other_lengths: Tensor | None = None,
    ) -> Tensor:
        """Return the mixed latents, for a model that is trained on them."""
        size = x.shape[-1]
        given = {"other": other, "lengths": lengths, "other_lengths": other_lengths}
        own, partners = tracks(x, plan, self.rate, self.stretch, **given)
        ratio = plan.weight if plan.ratio is None else plan.ratio
        factor = torch.where(ratio < 1, plan.gains()[1] / (1 - ratio).clamp(min=1e-12), 0.0)  # of levels alone
        partners = partners * factor.to(partners).view(-1, *[1] * (x.ndim - 1))
        padded = -(-size // self.stride) * self.stride
        a, b = (self._encoded(fitted(plan.cut(sound, size), padded)) for sound in (own, partners))
        frames = a.shape[self.time_axis]
        place = plan.kept[:, :1] + (torch.arange(frames, dtype=torch.float64) + 0.5) * (padded / frames / size)
        shape = [len(x)] + [1] * (a.ndim - 1)
        shape[self.time_axis] = frames
        share = plan.share_at(place).to(a).view(shape)
        return share * a + (1 - share) * b

    def _encoded(self, sound: Tensor) -> Tensor:
        z = self.encode(sound)
        if not isinstance(z, Tensor) or z.ndim < 2 or len(z) != len(sound):
            got = tuple(z.shape) if isinstance(z, Tensor) else type(z).__name__
            check.fail("encode", f"a function that gives latents of {len(sound)} clips", got)
        return z

    def _decoded(self, z: Tensor, x: Tensor) -> Tensor:
        sound = self.decode(z)
        if not isinstance(sound, Tensor) or sound.shape[:-1] != x.shape[:-1]:
            got = tuple(sound.shape) if isinstance(sound, Tensor) else type(sound).__name__
            check.fail("decode", f"a function that gives waveforms {tuple(x.shape[:-1])} + (T,)", got)
        padded = -(-x.shape[-1] // self.stride) * self.stride
        if abs(sound.shape[-1] - padded) >= max(self.stride, 2):
            slip = f"stride={self.stride}: is it the encoder's?"
            expected = f"a function that gives back {padded} samples, up to one stride"
            check.fail("decode", expected, f"{sound.shape[-1]} samples", slip)
        return fitted(sound, x.shape[-1])
