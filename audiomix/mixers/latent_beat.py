r"""Beat-synchronous mixup in a latent space: aligned in time, encoded each, mixed there, decoded.

.. math:: x' = D\bigl(s\, E(x) + (1 - s)\, E(g\, x_p(m(t)))\bigr)

s is the original's share at each latent frame: w where both sound, 1 elsewhere. The paper's BLM is the case
without a warp.

Source: ours, after Chen et al., "MusicLDM: Enhancing Novelty in Text-to-Music Generation Using Beat-Synchronous Mixup
Strategies", ICASSP 2024.
Label: mixed by the share of what is heard.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from .. import check
from ..beats.plan import BeatPlan
from ..beats.render import render_tracks
from ..clips import Clips, fit_length, silence_padding
from ..mixer import Example, Needs
from ..plan import Plan
from .beat import BeatMix

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

    See Also
    --------
    audiomix.BeatMix : the sounds themselves are mixed.

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

    _unmixed_outside = True

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
        self.time_axis: int = check.integer("time_axis", time_axis)  # of latents; sounds have theirs at the end

    @property
    def needs(self) -> Needs:
        """As for `audiomix.BeatMix`; a codec that loses something gives no sum of sounds."""
        return replace(super().needs, summed=False)

    @classmethod
    def examples(cls) -> list[Example]:
        """Return an instance whose codec changes nothing, and one with frames of 8 samples as channels."""
        options = dict[str, Any](rate=4000, min_bars=0.5, level="recorded")
        same = cls(_same, _same, **options, policy="plain")
        framed = cls(_to_frames, _from_frames, stride=_FRAME, **options, keep="overlap")
        return [replace(BeatMix.examples()[0], mixer=mixer) for mixer in (same, framed)]

    def render_into(self, own: Clips, source: Clips, plan: Plan, out: Tensor | None = None) -> Tensor:
        """Warp the partners, encode, mix the latents and decode."""
        plan, x = self._check_plan(plan), own.x
        mixed = self._decode(self._mix_latents(own, source, plan), x)
        mixed = silence_padding(mixed, plan.mixed_lengths(own.lengths, own.size))
        alone = (plan.weight == 1).to(x.device).view(-1, *[1] * (x.ndim - 1))
        mixed = torch.where(alone, x, mixed.to(x))
        return mixed if out is None else out.copy_(mixed)

    def latents(
        self,
        x: Tensor,
        plan: BeatPlan,
        *,
        other: Tensor | None = None,
        lengths: Tensor | None = None,
        other_lengths: Tensor | None = None,
    ) -> Tensor:
        """Return the mixed latents, for a model that is trained on them.

        Parameters
        ----------
        x : Tensor, shape (B, C, T)
            The originals.
        plan : BeatPlan
            That was drawn for them.
        other : Tensor, shape (M, C, T'), optional
            Where partners come from; `x` by default.
        lengths, other_lengths : Tensor, shape (B,) and (M,), int64, optional
            Valid samples.

        Returns
        -------
        Tensor, shape of what `encode` returns
        """
        own = Clips(x, lengths)
        return self._mix_latents(own, own if other is None else Clips(other, other_lengths), self._check_plan(plan))

    def _mix_latents(self, own: Clips, source: Clips, plan: BeatPlan) -> Tensor:
        size, shape = own.size, [len(own)] + [1] * (own.x.ndim - 1)
        originals, partners = render_tracks(own, source, plan)
        ratio = plan.weight if plan.ratio is None else plan.ratio
        factor = torch.where(ratio < 1, plan.gains()[1] / (1 - ratio).clamp(min=1e-12), 0.0)  # of levels alone
        partners = partners * factor.to(partners).view(shape)
        padded = -(-size // self.stride) * self.stride
        sounds = (fit_length(plan.cut(sound, size), padded).to(own.x.dtype) for sound in (originals, partners))
        a, b = map(self._encode, sounds)
        frames = a.shape[self.time_axis]
        place = plan.kept[:, :1] + (torch.arange(frames, dtype=torch.float64) + 0.5) * (padded / frames / size)
        shape = [len(own)] + [1] * (a.ndim - 1)
        shape[self.time_axis] = frames
        share = plan.share_at(place).to(a).view(shape)
        return share * a + (1 - share) * b

    def _encode(self, sound: Tensor) -> Tensor:
        z = self.encode(sound)
        if not isinstance(z, Tensor) or z.ndim < 2 or len(z) != len(sound):
            got = tuple(z.shape) if isinstance(z, Tensor) else type(z).__name__
            check.fail("encode", f"a function that gives latents of {len(sound)} clips", got)
        return z

    def _decode(self, z: Tensor, x: Tensor) -> Tensor:
        sound = self.decode(z)
        if not isinstance(sound, Tensor) or sound.shape[:-1] != x.shape[:-1]:
            got = tuple(sound.shape) if isinstance(sound, Tensor) else type(sound).__name__
            check.fail("decode", f"a function that gives waveforms {tuple(x.shape[:-1])} + (T,)", got)
        padded = -(-x.shape[-1] // self.stride) * self.stride
        if abs(sound.shape[-1] - padded) >= max(self.stride, 2):
            slip = f"stride={self.stride}: is it the encoder's?"
            expected = f"a function that gives back {padded} samples, up to one stride"
            check.fail("decode", expected, f"{sound.shape[-1]} samples", slip)
        return fit_length(sound, x.shape[-1])


# Samples in a latent frame of the strided example.
_FRAME = 8


def _same(sound: Tensor) -> Tensor:
    return sound


def _to_frames(sound: Tensor) -> Tensor:
    """Return (B, C * 8, N) latents: the samples of each frame as channels."""
    return sound.unfold(-1, _FRAME, _FRAME).transpose(2, 3).flatten(1, 2)


def _from_frames(latents: Tensor) -> Tensor:
    return latents.unflatten(1, (-1, _FRAME)).transpose(2, 3).flatten(2)
