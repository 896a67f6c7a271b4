r"""Mixup: every clip becomes a sum of itself and a partner, and so does its label.

.. math:: x'_i = a(w_i) x_i + b(w_i) x_{p(i)}, \quad y'_i = w_i y_i + (1 - w_i) y_{p(i)}, \quad
          w_i \sim \mathrm{Beta}(\alpha, \alpha)

The first paper has a = w, b = 1 - w. Of several sources the shares are from a Dirichlet distribution, as in the second.

Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018; van Merrienboer et al., "Perch 2.0: The
Bittern Lesson for Bioacoustics", arXiv:2508.04665, 2025 (several sources).
Label: mixed by the drawn weight, whatever the gains.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from .. import check, draw
from ..audio.blend import GAIN_LAWS, blend, find_source, sum_sounds
from ..audio.blend_power import blend_power
from ..audio.features import LOG_SCALES
from ..audio.several import several_gains, sum_sources
from ..clips import Clips, overlap
from ..draw import Generator
from ..mixer import EMBEDDING, SPECTROGRAM, WAVE, Example, Mixer, Needs, Pairing, Rule, plan_sum
from ..plan import GainPlan, Plan, with_rest
from ..plan_sources import SourcesPlan
from ..schedule import Schedule
from ..targets.label_share import LabelShare
from ._sources import (
    check_self,
    choose_several,
    mix_decibels,
    mix_powers,
    number_of_sources,
    schedule_or_pair,
    source_range,
)

__all__ = ["MixUp", "mixup", "mixup_power"]


def mixup(x: Tensor, plan: Plan, *, other: Tensor | None = None, out: Tensor | None = None) -> Tensor:
    """Blend each clip with its partner by the gains of the plan.

    Parameters
    ----------
    x : Tensor, shape (B, ...)
        Waveforms, spectrograms or embeddings. Left unchanged.
    plan : Plan
        Partners, and weights or gains, for B clips.
    other : Tensor, shape (M, ...), optional
        Where partners come from.
    out : Tensor, optional
        See `audiomix.audio.blend.blend`.

    Returns
    -------
    Tensor, shape (B, ...)
        ``a * x + b * x[partner]``; a = weight and b = 1 - weight unless the plan carries gains of its own. Of several
        sources the sum of all.

    See Also
    --------
    audiomix.MixUp : the mixer, which draws the plan too.
    audiomix.mixup_power : the same on logarithms, as if waveforms were mixed.

    Examples
    --------
    >>> x = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    >>> mixup(x, Plan(torch.tensor([1, 0]), torch.tensor([0.75, 0.5], dtype=torch.float64)))
    tensor([[0.7500, 0.7500],
            [0.5000, 0.5000]])
    """
    source = find_source(check.floating("x", x), plan, other)
    if isinstance(plan, SourcesPlan):
        own = Clips(x)
        return sum_sources(own, own if other is None else Clips(source), plan, out)
    a, b = plan.gains()
    return blend(x, plan.partner, a, b, other=source, out=out)


def mixup_power(
    x: Tensor,
    plan: Plan,
    *,
    other: Tensor | None = None,
    log: str = "db",
    mean: float = 0.0,
    std: float = 1.0,
    out: Tensor | None = None,
) -> Tensor:
    r"""Blend log spectrograms as the powers they stand for: what mixing the waveforms does when phases are ignored.

    .. math:: x' = \log(a^2 e^x + b^2 e^{x_p})

    The square is essential: gains act on amplitudes, spectrograms hold powers.

    Parameters
    ----------
    x : Tensor, shape (B, ..., F, N)
        Log power spectrograms, normalised as ``(log power - mean) / std``.
    plan : Plan
        Partners, and weights or gains, for B clips.
    other : Tensor, shape (M, ..., F, N), optional
        Where partners come from.
    log : str
        ``db`` (10 log10), ``log10`` or ``ln``.
    mean, std : float
        The normalisation to undo and redo.
    out : Tensor, optional
        See `audiomix.audio.blend.blend`.

    See Also
    --------
    audiomix.mixup : the sum as it is.

    Examples
    --------
    >>> x = torch.zeros(2, 3, 4)  # 0 dB everywhere
    >>> mixup_power(x, Plan(torch.tensor([1, 0]), torch.tensor([0.5, 1.0], dtype=torch.float64)))[:, 0, 0]
    tensor([-3.0103,  0.0000])
    """
    source = find_source(check.floating("x", x), plan, other)
    unit = LOG_SCALES[check.choice("log", log, LOG_SCALES)] / std  # a mean changes nothing
    if isinstance(plan, SourcesPlan):
        mixed = mix_powers(Clips(x), Clips(source), plan, unit=unit)
        return mixed if out is None else out.copy_(mixed)
    a, b = plan.gains()
    return blend_power(x, plan.partner, a, b, unit=unit, other=source, out=out)


class MixUp(Mixer):
    """Mixup on waveforms, log spectrograms and embeddings.

    Parameters
    ----------
    alpha : float, schedule or (float, float)
        Concentration of Beta(alpha, alpha): near 0 most clips stay almost pure, at 1 every weight is equally likely,
        0 mixes nothing. 0.4 is usual for audio. Of two numbers the first is the original's: ``(2, 1)`` leaves it two
        thirds on average.
    weight : float, schedule or (float, float), optional
        The original's share in place of a draw from Beta: a constant, or drawn uniformly between two numbers.
    sources : int or (int, int)
        How many clips are in a mix, the original included: fewest and most, each number equally likely. Where there
        are not enough partners the mix has as many as there are, and the plan says why.
    concentration : float or schedule
        Of the symmetric Dirichlet distribution that the shares of more than two sources are from: large for equal
        parts. With `weight` it is that of the partners' shares of the rest.
    gain_law : str
        Amplitudes at label shares w_k (of two sources w, 1 - w): ``amplitude`` (w_k), the usual mixup, 3 dB quieter at
        w = 0.5 for uncorrelated sounds; ``unit_power`` (w_k / sqrt(sum w^2)); ``sqrt`` (sqrt w_k). The label share is
        w_k in all three.
    label_weight : str, float or schedule
        The original's share of the label, where it is not that of the sound (``same``): a number, ``beta:a=1,b=1``,
        ``remix:k=3,tau=0.5`` or ``mamix:f=-0.25``; see `audiomix.targets.label_share`. The last two read class ids.
        Behind a shorter partner the label is the original's, so that its share of the whole clip is larger.
    class_counts : sequence of int, optional
        Clips of each class of the training set, for ``remix`` and ``mamix``.
    no_call : int or str, optional
        Which clips have no class: ``zero``, those whose labels are all zero, or a class id. Mixed with clips that have
        one they get no share of the label; of such clips alone the label is theirs.
    domain : str
        ``wave``: samples or embeddings. ``as_is``: log spectrograms mixed as they are (what papers do). ``power``:
        log spectrograms mixed as powers.
    log : str
        Scale of the log spectrogram for ``power``: ``db`` (10 log10 of power), ``log10`` or ``ln``.
    mean, std : float
        Normalisation of the log spectrogram for ``power``.
    per : str
        ``clip``: one weight a clip; ``batch``: one for all.
    keep_larger : bool
        Give the larger share to the original: w = max(w, 1 - w); of several sources the largest.
    num_classes, p, pairing, rule, time_axis
        See `audiomix.Mixer`.

    Notes
    -----
    With `lengths` the mix is as long as the original: a longer partner is cut, behind a shorter one the original goes
    on (at its gain, in ``power`` not below -120 dB; unmixed in ``as_is``). The weight is the original's share of what
    is valid.

    No clip is twice in a mix, and every partner is chosen by `pairing`. The plan of more than two sources is an
    `audiomix.SourcesPlan`.

    See Also
    --------
    audiomix.BetweenClass : gains that follow the loudness of both.
    audiomix.SNRMix : a partner or noise at an SNR.
    audiomix.mixup : the function behind it.

    Examples
    --------
    >>> wave, label = torch.randn(8, 1, 16000), torch.arange(8)
    >>> mixed = MixUp(alpha=0.4, num_classes=10)(wave, label, generator=torch.Generator().manual_seed(0))
    >>> mixed.x.shape, mixed.target.shape, mixed.target.sum(1)
    (torch.Size([8, 1, 16000]), torch.Size([8, 10]), tensor([1., 1., 1., 1., 1., 1., 1., 1.]))
    >>> several = MixUp(sources=(2, 4), gain_law="unit_power", rule="union", num_classes=10)
    >>> plan = several(wave, label, generator=torch.Generator().manual_seed(0)).plans[0]
    >>> plan.partners.shape, [len(plan.sources(i)) for i in range(8)]
    (torch.Size([8, 3]), [2, 1, 2, 1, 1, 3, 2, 1])
    """

    def __init__(
        self,
        alpha: float | tuple[float, float] | str | Schedule = 0.4,
        *,
        weight: float | tuple[float, float] | str | Schedule | None = None,
        sources: int | tuple[int, int] = 2,
        concentration: float | str | Schedule = 1.0,
        gain_law: Literal["amplitude", "unit_power", "sqrt"] = "amplitude",
        label_weight: float | str | Schedule = "same",
        class_counts: Sequence[float] | None = None,
        no_call: int | str | None = None,
        domain: Literal["wave", "as_is", "power"] = "wave",
        log: Literal["db", "log10", "ln"] = "db",
        mean: float = 0.0,
        std: float = 1.0,
        per: Literal["clip", "batch"] = "clip",
        keep_larger: bool = False,
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        pairing: Pairing = "any",
        rule: Rule = "linear",
        time_axis: int | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, p=p, pairing=pairing, rule=rule, time_axis=time_axis)
        self.sources = check_self(source_range(sources), pairing)
        self.alpha = schedule_or_pair("alpha", alpha)
        self.weight = None if weight is None else schedule_or_pair("weight", weight, 1, ordered=True)
        self.concentration = Schedule.of(concentration, "concentration").within("concentration", 1e-6)
        for name, given, default, of_two in (("alpha", alpha, 0.4, True), ("concentration", concentration, 1.0, False)):
            if given != default and (self.sources == (2, 2)) != of_two:
                slip = "of just two sources it is alpha=, else it is concentration="
                check.fail(name, f"left out with sources={sources}", given, slip)
        if weight is not None and alpha != 0.4:
            check.fail("weight", "left out where alpha is given", weight, "a constant, or a draw from Beta?")
        self._label_share = LabelShare.read(
            label_weight, class_counts, no_call, num_classes=self.num_classes, sources=self.sources[1]
        )
        self.label_weight = self._label_share.schedule or label_weight
        self.class_counts, self.no_call = self._label_share.class_counts, no_call
        self.gain_law = check.choice("gain_law", gain_law, GAIN_LAWS)
        self.domain = check.choice("domain", domain, ["wave", "as_is", "power"])
        self.log = check.choice("log", log, LOG_SCALES)
        self.mean = check.number("mean", mean)
        self.std = check.number("std", std, 1e-12, slip="the spread of the log spectrogram, above 0")
        if domain == "as_is" and gain_law != "amplitude":
            slip = "gains act on amplitudes, not on decibels: domain='power'?"
            check.fail("gain_law", "'amplitude' for domain='as_is'", repr(gain_law), slip)
        if domain != "power" and (log, mean, std) != ("db", 0.0, 1.0):
            check.fail("log, mean and std", "left out unless domain='power'", f"{log!r}, {mean:g}, {std:g}")
        self.per = check.choice("per", per, ["clip", "batch"])
        self.keep_larger = keep_larger

    @property
    def plan_type(self) -> type[Plan]:  # type: ignore[override]
        """The class of its plans: of several sources another one."""
        return GainPlan if self.sources == (2, 2) else SourcesPlan

    @property
    def needs(self) -> Needs:
        """Anything that may be added sample by sample, or log spectrograms, by `domain`."""
        domain = {WAVE, EMBEDDING, SPECTROGRAM} if self.domain == "wave" else {SPECTROGRAM}
        sources = (max(2, self.sources[0]), self.sources[1])
        return Needs(domain=frozenset(domain), sources=sources, summed=self.domain != "power")

    @classmethod
    def examples(cls) -> list[Example]:
        """Return every gain law on waveforms and every domain of spectrograms, of two sources and of more."""
        waves = [cls(), cls(gain_law="unit_power"), cls(gain_law="sqrt", per="batch", keep_larger=True)]
        waves += [cls(sources=(2, 4), gain_law="unit_power"), cls(sources=3, weight=(0.3, 0.7), per="batch")]
        waves += [cls(alpha=(2, 1), label_weight="beta:a=2,b=1"), cls(sources=(1, 3), label_weight=0.5, rule="union")]
        spectrograms = [cls(domain="as_is"), cls(domain="power"), cls(domain="power", log="ln", mean=-4.0, std=4.5)]
        bins = (1, 12, 100)
        several = [Example(cls(sources=(2, 3), domain="as_is"), shape=bins)]
        several += [Example(cls(sources=3, domain="power", concentration=5), shape=bins)]
        return [*map(Example, waves), *(Example(mixer, shape=bins) for mixer in spectrograms), *several]

    def at_normalisation(self, mean: float, std: float) -> "MixUp":
        """Return this mixer for log spectrograms normalised as ``(dB - mean) / std``: ``power`` has to undo that."""
        return self.replace(mean=mean, std=std) if self.domain == "power" else self

    def check_input(self, own: Clips, source: Clips) -> None:
        """Raise where labels that are read are missing, or of no one class."""
        super().check_input(own, source)
        self._label_share.check_labels(own, source)

    def check_plan(self, plan: Plan) -> None:
        """Raise where a plan is of no sum: one of any number of sources is replayed."""
        if type(plan) not in (Plan, GainPlan, SourcesPlan):
            super().check_plan(plan)

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw partners and weights; the weight is recomputed over the valid area where there are lengths."""
        if self.sources != (2, 2):
            return self._draw_several(own, source, progress, generator)
        partner, mixed = self.pair(own, source, progress=progress, generator=generator)
        ratio = self._draw_weight(len(own), progress, generator)
        if self.keep_larger:
            ratio = torch.maximum(ratio, 1 - ratio)
        ratio = torch.where(mixed, ratio, 1.0) if False in mixed.tolist() else ratio
        a, b = GAIN_LAWS[self.gain_law](ratio)
        share_of = "power" if self.gain_law == "sqrt" else "amplitude"
        behind = self.domain == "as_is"
        if self._label_share.is_the_sounds:
            return plan_sum(own, source, partner, ratio, a, b, share_of=share_of, unmixed_behind=behind)
        rows = partner[:, None]
        shares = self._label_share.shares(
            with_rest(ratio), rows, own, source,
            same=self.per == "batch", progress=progress, generator=generator,
        )  # fmt: skip
        plan = plan_sum(own, source, partner, shares[:, 0], a, b, share_of=None, unmixed_behind=behind)
        weights = self._label_share.drop(with_rest(plan.weight), rows, own, source)
        return replace(plan, weight=weights[:, 0])

    def _draw_weight(self, size: int, progress: float | None, generator: Generator) -> Tensor:
        """Draw the original's shares, (size,)."""
        drawn = 1 if self.per == "batch" else size
        if isinstance(self.weight, Schedule):
            return torch.full((size,), self.weight(progress), dtype=torch.float64)
        if self.weight is not None:
            shares = draw.uniform(*self.weight, drawn, generator=generator)
        else:
            own, partner = self.alpha if isinstance(self.alpha, tuple) else (self.alpha(progress), None)
            shares = draw.beta(own, drawn, partner=partner, generator=generator)
        return shares.repeat(size) if drawn < size else shares

    def _draw_several(self, own: Clips, source: Clips, progress: float | None, generator: Generator) -> SourcesPlan:
        """Draw partners that differ, how many, and all shares."""
        size, batch = len(own), self.per == "batch"
        partners = choose_several(own, source, self.pairing, self.sources[1] - 1, generator)
        mixed = self.choose(own, progress=progress, generator=generator)
        there, why = number_of_sources(own, partners, self.sources, mixed, same=batch, generator=generator)
        reach = self._reach(own, source, partners)
        if reach is not None:  # nobody has a share of what is not there
            there[:, 1:] &= reach > 0
        partners = torch.where(there[:, 1:], partners, -1)
        which = there if self.weight is None else there[:, 1:]
        ratios = draw.dirichlet(self.concentration(progress), which, same=batch, generator=generator)
        if self.weight is not None:
            weight = torch.where(which.any(1), self._draw_weight(size, progress, generator), 1.0)[:, None]
            ratios = torch.cat([weight, (1 - weight) * ratios], 1)
        if self.keep_larger:
            largest = ratios.argmax(1, keepdim=True)
            first = ratios[:, :1].clone()
            ratios[:, :1] = ratios.gather(1, largest)
            ratios.scatter_(1, largest, torch.where(largest == 0, ratios[:, :1], first))
        labels = self._label_share.shares(
            ratios, partners, own, source, same=batch, progress=progress, generator=generator
        )
        share_of = None if labels is not ratios else "power" if self.gain_law == "sqrt" else "amplitude"
        more: dict[str, Any] = {"own": source is own, "why": why, "share_of": share_of}
        gains = several_gains(self.gain_law, ratios)
        if reach is None:
            return SourcesPlan.of(partners, labels, gains, **more)
        behind = self.domain == "as_is"
        plan = SourcesPlan.over(partners, labels, gains, own.valid, reach, own.size, unmixed_behind=behind, **more)
        if self.no_call is None:
            return plan
        shares = self._label_share.drop(plan.shares, partners, own, source)
        return replace(plan, shares=shares, weight=shares[:, 0].clone())

    @staticmethod
    def _reach(own: Clips, source: Clips, partners: Tensor) -> Tensor | None:
        """Return how many samples each of the partners (B, S) has beside the original; None where all have all."""
        if own.lengths is None and source is own:
            return None
        return torch.stack([overlap(own, source, rows)[1] for rows in partners.clamp(min=0).unbind(1)], 1)

    def render_into(self, own: Clips, source: Clips, plan: Plan, out: Tensor | None = None) -> Tensor:
        """Apply a plan; see `mixup` and `mixup_power`."""
        if isinstance(plan, SourcesPlan):
            return self._render_several(own, source, plan, out)
        if self.domain != "power":
            return sum_sounds(own, source, plan, out, unmixed_behind=self.domain == "as_is")
        a, b = plan.gains()
        whole = own.lengths is None and source.lengths is None and source.size == own.size
        valid, both = (None, None) if whole else overlap(own, source, plan.partner)
        unit = LOG_SCALES[self.log] / self.std
        return blend_power(own.x, plan.partner, a, b, unit=unit, other=source.x, valid=valid, both=both, out=out)

    def _render_several(self, own: Clips, source: Clips, plan: SourcesPlan, out: Tensor | None) -> Tensor:
        """Apply a plan of several sources."""
        whole = own.lengths is None and source.lengths is None and source.size == own.size
        if self.domain == "wave" or (self.domain == "as_is" and whole):
            return sum_sources(own, source, plan, out)
        if self.domain == "power":
            mixed = mix_powers(own, source, plan, unit=LOG_SCALES[self.log] / self.std)
        else:
            mixed = mix_decibels(own, source, plan)
        return mixed if out is None else out.copy_(mixed)
