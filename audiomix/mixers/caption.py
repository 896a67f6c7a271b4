r"""Caption-paired mixtures: sounds placed in time at drawn SNRs, and a caption that is true of what is heard.

.. math:: x'(t) = \sum_k g_k\, f_k(t)\, x_k(t - t_k), \qquad L(g_k x_k) = L(x_0) - \mathrm{SNR}_k

After Wu et al. 2023 (arXiv 2309.17352), Tango and CompA, without their level and wording errors.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from .. import check, draw, pairing
from ..audio.blend import check_out, silenced, sum_sounds
from ..captions import captions
from ..captions.audible import MIN_BANDS, MIN_SHARE
from ..captions.describe import Told, all_differ, described, differ, texts_of
from ..captions.plan import Row, ScenePlan, frame_index, plan_of, scene_tracks
from ..captions.scene_draw import Heard, Made, SceneMaker, active_span
from ..captions.text import count, tokens
from ..draw import Generator
from ..mixer import LEFT_OUT, Batch, Mixer, Pairing
from ..mixer import Rule as LabelRule
from ..plan import Plan
from ..schedule import Schedule
from ..targets import labels

__all__ = ["CaptionMix"]

# Partners that are tried until a scene can be made.
_PARTNERS = 3
_MOST_SOURCES = 5


class CaptionMix(Mixer):
    """Mix captioned clips, and write a caption of the mix.

    Parameters
    ----------
    snr_db : (float, float)
        Lowest and highest SNR in dB of the original over each partner; drawn uniformly.
    placement : str
        ``together``: from their starts on. ``offset``: at random places, so that they overlap by half at least.
        ``sequence``: one after the other with a cross-fade. ``tree``: both, for three sources and more. ``random``: one
        of these for each clip.
    sources : (int, int)
        Fewest and most clips in a mix, the original included: 2 to 5.
    level : str
        The measure of the SNR: ``active`` rms over each sound's active part in the mix, ``rms`` over all that is heard
        of it, or ``between_class``: A-weighted levels whose ratio is drawn as in between-class learning, r / (1 - r)
        with r from U(0, 1) (`snr_db` is not used; the label stays the share of the energy).
    crossfade : float
        Longest cross-fade of a sequence in seconds; it never takes more than a tenth of the shorter sound.
    keep : str
        ``scene``: the mix is as long as what sounds. ``original``: cut to the length of the original.
    max_seconds : float, optional
        Longest mix; what sounds later is cut, before it is put into words.
    min_bands, min_share
        A source is named if it dominates so many of 64 mel bands in such a share of its active frames.
    max_words : int, optional
        Longest caption.
    templates : path, optional
        A JSON file with the phrases of another language; see `audiomix.captions.captions.Templates`.
    negatives : bool
        Write hard negatives too: captions of other orders, relations and sounds.
    words : str
        ``template``: write captions. ``none``: scenes without words, for separation and detection.
    rate : int
        Sampling rate in Hz.
    num_classes, p, pairing, rule
        See `audiomix.Mixer`. The weight is the original's share of the energy.

    Raises
    ------
    TypeError, ValueError
        No ``captions=``, or not one entry for each clip.

    Notes
    -----
    Pass ``captions=`` (and ``other_captions=`` with `other`): for each clip a text or a list of texts, of which one is
    drawn. The relation that the words state is that of the sounds: "followed by" where their active parts overlap by at
    most a tenth of the shorter, "while" where by half at least. Of each source at least half of its active part, and 50
    ms, must be heard. Else another placement, then another partner is drawn. A source that cannot be heard beside the
    others has its placement and SNR drawn again a few times; if it still cannot, it is not named. A clip for which no
    partner is found stays alone, and the plan says why. ``plan.caption`` has the words, empty where nothing can be
    said.

    Examples
    --------
    >>> wave = torch.randn(2, 1, 32000)
    >>> mixer = CaptionMix(placement="sequence", rate=16000)
    >>> mixed = mixer(wave, captions=["A dog barks.", "Rain falls."], generator=torch.Generator().manual_seed(0))
    >>> mixed.x.shape[-1] > 60000, [tree[:7] for tree in mixed.plans[0].tree]
    (True, ['["then"', '["then"'])
    """

    plan_type = ScenePlan
    waveforms_only = True

    def __init__(
        self,
        snr_db: tuple[float, float] = (-5.0, 5.0),
        *,
        placement: Literal["random", "together", "offset", "sequence", "tree"] = "random",
        sources: tuple[int, int] = (2, 2),
        level: Literal["active", "rms", "between_class"] = "active",
        crossfade: float = 0.1,
        keep: Literal["scene", "original"] = "scene",
        max_seconds: float | None = None,
        min_bands: int = MIN_BANDS,
        min_share: float = MIN_SHARE,
        max_words: int | None = None,
        templates: Path | None = None,
        negatives: bool = False,
        words: Literal["template", "none"] = "template",
        rate: int | None = None,
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        pairing: Pairing = "any",
        rule: LabelRule = "linear",
    ) -> None:
        super().__init__(num_classes=num_classes, p=p, pairing=pairing, rule=rule)
        self.snr_db = _ordered("snr_db", snr_db, -200, 200)
        low, high = _ordered("sources", sources, 2, _MOST_SOURCES)
        self.sources = (check.integer("sources", int(low)), check.integer("sources", int(high)))
        self.placement = check.choice("placement", placement, ["random", "together", "offset", "sequence", "tree"])
        self.level = check.choice("level", level, ["active", "rms", "between_class"])
        self.crossfade = check.number("crossfade", crossfade, 0, 60)
        self.keep = check.choice("keep", keep, ["scene", "original"])
        self.max_seconds = None if max_seconds is None else check.number("max_seconds", max_seconds, 0.01)
        self.min_bands = check.integer("min_bands", min_bands, 1)
        self.min_share = check.fraction("min_share", min_share)
        self.max_words = None if max_words is None else check.integer("max_words", max_words, 1)
        self.templates = templates
        self._templates = captions.Templates.english() if templates is None else captions.Templates.read(templates)
        self.negatives = negatives
        self.words = check.choice("words", words, ["template", "none"])
        slip = "CaptionMix(rate=16000): fades are in seconds"
        self.rate = check.rate("rate", check.fail("rate", "given", None, slip, TypeError) if rate is None else rate)

    @property
    def _maker(self) -> SceneMaker:
        return SceneMaker(
            self.rate, self.snr_db, self.placement, self.level, self.crossfade, self.min_bands, self.min_share,
            worded=self.words != "none",
        )  # fmt: skip

    @classmethod
    def example(cls) -> "CaptionMix":
        """Return an instance that the laws of the test suite run on."""
        return cls(placement="together", keep="original", words="none", level="rms", rate=16000)

    @property
    def changes_length(self) -> bool:
        """Whether mixes may be longer than the originals."""
        return self.keep != "original"

    @property
    def needs_captions(self) -> bool:
        """Whether it wants ``captions=``: a text or a list of texts for each clip."""
        return self.words != "none"

    @property
    def whole_partner(self) -> bool:
        """True: what of a partner is heard is drawn."""
        return True

    @property
    def partners_wanted(self) -> int:
        """How many partners a clip may have."""
        return self.sources[1] - 1

    def heard(self, plan: Plan, index: int) -> list[int]:
        """Return the partners that are in one mix, as indices of where they come from."""
        assert isinstance(plan, ScenePlan)
        return [int(plan.partners[index, k - 1]) for k in plan.sources(index) if k > 0]

    def settled(self, plan: Plan) -> bool:
        """Whether a scene was made of every clip; else other partners may do."""
        return not isinstance(plan, ScenePlan) or all(why in ("", LEFT_OUT) for why in plan.why)

    def check_input(self, batch: Batch) -> None:
        """Raise where captions are asked for and not given, or do not belong to the clips."""
        super().check_input(batch)
        if self.words == "none":
            return
        wanted = {"captions": len(batch)}
        if batch.other is not None:
            wanted["other_captions"] = len(batch.other)
        for name, size in wanted.items():
            given = batch.context.get(name)
            if given is None:
                slip = "a text or a list of texts for each clip; words='none' mixes without"
                check.fail(name, f"given: CaptionMix(...)(x, {name}=texts)", None, slip, TypeError)
            if isinstance(given, str) or not isinstance(given, Sequence) or len(given) != size:
                got = f"{len(given)} items" if hasattr(given, "__len__") else type(given).__name__
                check.fail(name, f"a list of {size} texts, or lists of texts, one for each clip", got)

    def draw(self, batch: Batch, *, generator: Generator = None) -> Plan:
        """Draw partners, placements and SNRs; measure levels and what can be heard; write the captions."""
        partner, mixed = self.pair(batch, generator=generator)
        told = texts_of(batch.context, batch.other is not None) if self.words != "none" else None
        if told is not None:
            allowed = torch.tensor([[differ(a, b) for b in told[1]] for a in told[0]])
            partner, found = self._allowed(batch, allowed, generator)
            mixed = mixed & found
        rows = []
        for i in range(len(batch)):
            row: Row | str = self._row(batch, i, int(partner[i]), told, generator) if bool(mixed[i]) else LEFT_OUT
            rows.append(self._alone(batch, i, row, told, generator) if isinstance(row, str) else row)
        spans = batch.x.shape[-1], batch.source.shape[-1]
        return plan_of(
            rows, spans, self.rate, most=self.sources[1], in_batch=batch.other is None, cut=self.keep == "original"
        )

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
        """Add the tracks of every scene at the plan's gains."""
        assert isinstance(plan, ScenePlan)
        if plan.plain:
            return sum_sounds(x, plan, other=other, lengths=lengths, other_lengths=other_lengths, out=out)
        if out is not None:
            check_out(out, x, x if other is None else other)
        sounds = [sum(self.stems(x, plan, i, other=other)) for i in range(len(x))]
        mixed = torch.stack(sounds)  # type: ignore[arg-type]
        if self.keep == "original":
            mixed = silenced(mixed[..., : x.shape[-1]], lengths)
        return mixed if out is None else out.copy_(mixed)

    def stems(self, x: Tensor, plan: Plan, index: int, *, other: Tensor | None = None) -> list[Tensor]:
        """Return what each source adds to one mix, at its gain: (C, N) for each source that is in it."""
        assert isinstance(plan, ScenePlan)
        gains = torch.pow(10.0, plan.gain_db[index] / 20).tolist()
        tracks = scene_tracks(x, plan, index, other=other)
        return [track * gain for track, gain in zip(tracks, gains) if track is not None]

    def mix_target(self, target: Tensor, plan: Plan, *, other: Tensor | None = None) -> Tensor:
        """Mix labels by the sources' shares of the energy; frame labels (B, K, N) are placed as the sounds are."""
        if not isinstance(plan, ScenePlan) or bool((plan.weight == 1).all()):
            return super().mix_target(target, plan, other=other)
        source = target if other is None else other
        if target.ndim == 3:
            return self._frames(target, source, plan)
        own, theirs = (labels.to_float("target", t, self.num_classes) for t in (target, source))
        mixed, total = own, plan.shares[:, 0].clone()
        for k in range(1, plan.shares.shape[1]):  # one after the other: so far the sum has `total` of the energy
            share = plan.shares[:, k]
            total = total + share
            part = torch.where(share > 0, 1 - share / total.clamp(min=1e-300), 1.0)
            step = Plan(plan.partners[:, k - 1].clamp(min=0), part)
            mixed = labels.mix_labels(mixed, step, rule=self.rule, num_classes=self.num_classes, other=theirs)
        return mixed

    def mixed_lengths(self, lengths: Tensor | None, plan: Plan, size: int) -> Tensor | None:
        """Return the valid lengths of the mix."""
        if not isinstance(plan, ScenePlan) or not self.changes_length:
            return lengths
        return (plan.length * size).round().long()

    def manifest(self, plan: Plan, index: int, context: dict[str, Any]) -> dict[str, Any]:
        """Return what a manifest says of a scene: its words, its tree, and when each source sounds."""
        if not isinstance(plan, ScenePlan):
            return {}
        return described(plan, index, context, self._templates if self.negatives else None, self.max_words)

    def _allowed(self, batch: Batch, allowed: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        return pairing.pair(
            len(batch), self.pairing, target=batch.target, eligible=batch.eligible, allowed=allowed,
            other_size=None if batch.other is None else len(batch.other), other_target=batch.other_target,
            generator=generator,
        )  # fmt: skip

    def _row(self, batch: Batch, i: int, first: int, told: Told | None, generator: Generator) -> Row | str:
        """Make the scene of one clip, with other partners where the first ones give none."""
        reason = LEFT_OUT
        for attempt in range(_PARTNERS):
            partners = self._partners(batch, i, first if attempt == 0 else None, told, generator)
            if not partners:
                return reason
            clips = [_clip(batch.x, batch.lengths, i)]
            clips += [_clip(batch.source, batch.source_lengths, j) for j in partners]
            made = self._maker.make(clips, self._limit(batch, i), generator)
            if isinstance(made, Made):
                written = self._written(i, partners, made, told, generator)
                if written is not None:
                    return Row(partners, made, *written)
                most = "" if self.max_words is None else f" in at most {self.max_words} words"
                made = f"nothing that can be said of it{most}"
            reason = made
        return reason

    def _partners(self, batch: Batch, i: int, first: int | None, told: Told | None, generator: Generator) -> list[int]:
        """Draw the partners of one clip: different clips whose captions all differ."""
        low, high = self.sources
        wanted = low - 1 + int(draw.integers(torch.tensor([high - low + 1]), generator=generator))
        if "sources" in batch.context:
            wanted = int(batch.context["sources"][i]) - 1
        order = draw.permutation(len(batch.source), generator=generator).tolist()
        if first is not None:
            order = [first, *(j for j in order if j != first)]
        chosen: list[int] = []
        for j in order:
            own = batch.other is None and j == i
            shut = batch.eligible is not None and batch.other is None and not bool(batch.eligible[j])
            if own or shut or (told is not None and not all_differ(told[0][i], [told[1][k] for k in (*chosen, j)])):
                continue
            if first is None and self.pairing != "any":
                continue  # only the first one was drawn among the allowed classes
            chosen.append(j)
            if len(chosen) == wanted:
                break
        return chosen

    def _limit(self, batch: Batch, i: int) -> int | None:
        """Return how many samples a mix may have."""
        own = batch.x.shape[-1] if batch.lengths is None else int(batch.lengths[i])
        most = None if self.max_seconds is None else max(1, round(self.max_seconds * self.rate))
        if self.keep == "original":
            return own if most is None else min(own, most)
        return most

    def _written(
        self, i: int, partners: list[int], made: Made, told: Told | None, generator: Generator
    ) -> tuple[list[str], list[int], str] | None:
        """Draw one caption of each source, and write that of the mix; None where it would be too long."""
        if told is None:
            return [], [], ""
        picked = [captions.choose(told[0][i], generator), *(captions.choose(told[1][j], generator) for j in partners)]
        texts = [text for _, text in picked]
        named = [one.named for one in made.sources]
        words = captions.write(
            made.tree, texts, templates=self._templates, max_words=self.max_words, generator=generator, named=named
        )
        return None if words is None else (texts, [index for index, _ in picked], words)

    def _alone(self, batch: Batch, i: int, why: str, told: Told | None, generator: Generator) -> Row:
        """Return the row of a clip that stays alone."""
        clip = _clip(batch.x, batch.lengths, i)[..., : self._limit(batch, i)]
        size, span = clip.shape[-1], active_span(clip, self.rate)
        text, index = "", -1
        if told is not None and span is not None:  # of silence there is nothing to say
            most = self.max_words or math.inf
            given = [said if count(said) <= most else "" for said in told[0][i]]
            if any(tokens(said) for said in given):
                index, text = captions.choose(given, generator)
        heard = Heard(0, 0, size, 0, 0, share=1.0, active=span or (0.0, 0.0))
        return Row([], Made(0, (heard,), size), [text], [index], text, why)

    def _frames(self, target: Tensor, source: Tensor, plan: ScenePlan) -> Tensor:
        """Place frame labels as the sounds are: in each frame the largest of what sounds."""
        frames = target.shape[-1]
        size = plan.size(frames) if self.changes_length else frames
        mixed = target.new_zeros(*target.shape[:-1], size)
        for k in range(plan.shares.shape[1]):
            stream = target if k == 0 else source[plan.partners[:, k - 1].clamp(min=0).to(source.device)]
            index = frame_index(plan, k, frames, (stream.shape[-1], size))[:, None].to(target.device)
            taken = stream.gather(-1, index.clamp(min=0).expand(-1, stream.shape[1], -1))
            mixed = torch.maximum(mixed, taken * (index >= 0))
        return mixed


def _clip(x: Tensor, lengths: Tensor | None, i: int) -> Tensor:
    clip = x[i] if lengths is None else x[i][..., : int(lengths[i])]
    return clip if clip.ndim == 2 else clip[None]


def _ordered(name: str, pair: Any, low: float, high: float) -> tuple[float, float]:
    if isinstance(pair, (str, bytes)) or not hasattr(pair, "__len__") or len(pair) != 2:
        check.fail(name, "(lowest, highest)", repr(pair), error=TypeError)
    first, last = (check.number(name, value, low, high) for value in pair)
    if first > last:
        check.fail(name, "(lowest, highest)", f"({first:g}, {last:g})", "the other way round?")
    return first, last
