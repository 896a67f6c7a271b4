r"""Caption-paired mixtures: sounds placed in time at drawn SNRs, and a caption that is true of what is heard.

.. math:: x'(t) = \sum_k g_k\, f_k(t)\, x_k(t - t_k), \qquad L(g_k x_k) = L(x_0) - \mathrm{SNR}_k

The levels and the wording of the three papers are not taken over: they are wrong in places.

Source: ours, after Wu et al., "Improving Audio Captioning Models with Fine-grained Audio Features, Text Embedding
Supervision, and LLM Mix-up Augmentation", ICASSP 2024; Ghosal et al., "Text-to-Audio Generation using
Instruction-Tuned LLM and Latent Diffusion Model" (Tango), 2023; Ghosh et al., "CompA: Addressing the Gap in
Compositional Reasoning in Audio-Language Models", ICLR 2024.
Label: mixed by the shares of the energy; the caption names what is heard.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from .. import check, draw
from ..audio.blend import sum_sounds
from ..captions.audible import MIN_BANDS, MIN_SHARE
from ..captions.compose import choose_caption, write_caption
from ..captions.negatives import write_negatives
from ..captions.plan import CaptionedScene, ScenePlan
from ..captions.scene import Scene, SceneMaker, SoundEvent, active_span
from ..captions.templates import CaptionQuery
from ..captions.text import count, distinct_captions, tokens
from ..clips import Clips
from ..draw import Generator
from ..mixer import WAVE, Example, Mixer, Needs, Pairing, Rule as LabelRule
from ..partners import choose_partners, without_partner
from ..parts import place
from ..plan import NOT_DRAWN, ORIGINAL, Plan
from ..schedule import Schedule

__all__ = ["CaptionMix"]

# Partners that are tried until a scene can be made.
_PARTNERS = 3
_MOST_SOURCES = 5


@dataclass(frozen=True)
class _Captions:
    """The captions of one side of a mix: the texts of each clip, and what they say but for case and punctuation."""

    texts: list[list[str]]
    wordings: list[frozenset[str]]

    @classmethod
    def of(cls, name: str, given: Sequence[Any]) -> "_Captions":
        """Return the captions of a call, by the name of its argument; what is None counts as an empty text."""
        texts = []
        for i, own in enumerate(given):
            listed = [own] if isinstance(own, str) or own is None else own
            if not isinstance(listed, Sequence) or not all(text is None or isinstance(text, str) for text in listed):
                check.fail(f"{name}[{i}]", "a text, or a list of texts", repr(own)[:60], error=TypeError)
            texts.append([text or "" for text in listed])
        return cls(texts, [distinct_captions(own) for own in texts])


def _differ(a: frozenset[str], b: frozenset[str]) -> bool:
    """Return whether two clips have captions, and none in common."""
    return bool(a) and bool(b) and a.isdisjoint(b)


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
    min_bands : int
        A source is named if it dominates so many of 64 mel bands...
    min_share : float
        ...in such a share of its active frames.
    max_words : int, optional
        Words of the longest caption.
    templates : path, optional
        A JSON file with the phrases of another language; see `audiomix.captions.templates.Templates`.
    negatives : bool
        Write hard negatives too: captions of other orders, relations and sounds, for the last of which
        ``distractor_captions=`` are given: for each clip captions of other clips of the data set.
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

    See Also
    --------
    audiomix.mix_captions : captions for the mixes of any other mixer.

    Examples
    --------
    >>> wave = torch.randn(2, 1, 32000)
    >>> mixer = CaptionMix(placement="sequence", rate=16000)
    >>> mixed = mixer(wave, captions=["A dog barks.", "Rain falls."], generator=torch.Generator().manual_seed(0))
    >>> mixed.x.shape[-1] > 60000, [tree[:7] for tree in mixed.plans[0].tree]
    (True, ['["then"', '["then"'])
    """

    plan_type = ScenePlan
    takes_self = False

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
        self.snr_db = _check_range("snr_db", snr_db, -200, 200)
        low, high = _check_range("sources", sources, 2, _MOST_SOURCES)
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
        self.negatives = negatives
        self.words = check.choice("words", words, ["template", "none"])
        self._phrases = CaptionQuery(templates).read()
        slip = "CaptionMix(rate=16000): fades are in seconds"
        self.rate = check.rate("rate", check.fail("rate", "given", None, slip, TypeError) if rate is None else rate)

    @property
    def needs(self) -> Needs:
        """Waveforms, whole partners, and captions unless `words` is ``none``."""
        written = self.words != "none"
        query = CaptionQuery(self.templates, self.max_words, self.negatives)
        return Needs(
            domain=frozenset({WAVE}),
            notes={"captions": query} if written else {},
            partner="whole",
            sources=self.sources,
            length="kept" if self.keep == "original" else "free",
            caption="written" if written else "original",
        )

    @classmethod
    def examples(cls) -> list[Example]:
        """Return every placement, level and length, with captions and without, of two to four sources."""
        make = partial(cls, rate=4000)
        short, long = (1, 2000), (1, 8000)
        return [
            Example(make((-3, 3), min_share=0.1), _example_captions, long),
            Example(make((0, 0), placement="together", keep="original"), _example_lists, short),
            Example(make((0, 0), placement="sequence", crossfade=0.03, negatives=True), _example_captions, long),
            Example(make(placement="offset", max_words=9, max_seconds=0.7, min_share=0.0), _example_lists, short),
            Example(make((0, 0), placement="tree", sources=(3, 4), min_share=0.0), _example_captions, long),
            Example(make(level="between_class", sources=(2, 3), keep="original", min_share=0.0), _example_lists, short),
            Example(make(placement="together", keep="original", words="none", level="rms"), shape=short),
            # The length of a scene depends on what was drawn.
            Example(make(placement="tree", sources=(2, 4), words="none"), shape=short, compiles=False),
        ]

    def check_input(self, own: Clips, source: Clips) -> None:
        """Raise where captions are asked for and not given, or do not belong to the clips."""
        super().check_input(own, source)
        if self.words == "none":
            return
        for name, side in [("captions", own), ("other_captions", source)][: 1 if source is own else 2]:
            given = side.notes.captions
            if given is None:
                slip = "a text or a list of texts for each clip; words='none' mixes without"
                check.fail(name, f"given: CaptionMix(...)(x, {name}=texts)", None, slip, TypeError)
            if isinstance(given, str) or not isinstance(given, Sequence) or len(given) != len(side):
                got = f"{len(given)} items" if hasattr(given, "__len__") else type(given).__name__
                check.fail(name, f"a list of {len(side)} texts, or lists of texts, one for each clip", got)

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw partners, placements and SNRs; measure levels and what can be heard; write the captions."""
        partner, mixed = self.pair(own, source, progress=progress, generator=generator)
        captions = self._captions(own, source)
        if captions is not None:
            allowed = torch.tensor([[_differ(a, b) for b in captions[1].wordings] for a in captions[0].wordings])
            partner, found = choose_partners(own, source, self.pairing, allowed=allowed, generator=generator)
            without_partner(mixed & ~found)
            mixed = mixed & found
        rows = []
        for i in range(len(own)):
            row: CaptionedScene | str = NOT_DRAWN
            if bool(mixed[i]):
                row = self._draw_scene(own, source, i, int(partner[i]), captions, generator)
            if isinstance(row, str):
                row = self._alone(own, i, captions and captions[0], row, self._limit(own, i), generator)
            rows.append(row)
        return self._plan(own, source, rows, keep_length=self.keep == "original")

    def identity(self, own: Clips) -> Plan:
        """Return the plan in which every clip is alone, whole, and has the first of its captions that has a word."""
        captions = None
        if own.notes.captions is not None:
            self.check_input(own, own)
            captions = self._captions(own, own)
        texts = captions and captions[0]
        rows = [self._alone(own, i, texts, NOT_DRAWN, None, None, first=True) for i in range(len(own))]
        return self._plan(own, own, rows, keep_length=True)

    def render_into(self, own: Clips, source: Clips, plan: Plan, out: Tensor | None = None) -> Tensor:
        """Apply a plan; a scene that is a plain sum takes the way of all sums."""
        assert isinstance(plan, ScenePlan)
        if plan.plain:
            return sum_sounds(own, source, plan, out)
        return super().render_into(own, source, plan, out)

    def render(self, own: Clips, source: Clips, plan: Plan) -> Tensor:
        """Add the sources of every scene, placed, faded and scaled."""
        assert isinstance(plan, ScenePlan)
        size = plan.size(own.size)
        mixes = []
        for i in range(len(own)):
            clips = ((part, own.x[i] if part.source == ORIGINAL else source.x[part.source]) for part in plan.parts(i))
            mixes.append(sum(place(part, clip, own.size, size) for part, clip in clips))
        return torch.stack(mixes)  # type: ignore[arg-type]

    def _captions(self, own: Clips, source: Clips) -> tuple[_Captions, _Captions] | None:
        """Return the captions of both sides, or None where there are to be no words."""
        if self.words == "none":
            return None
        mine = _Captions.of("captions", own.notes.captions or ())
        return mine, mine if source is own else _Captions.of("other_captions", source.notes.captions or ())

    def _draw_scene(
        self,
        own: Clips,
        source: Clips,
        i: int,
        first: int,
        captions: tuple[_Captions, _Captions] | None,
        generator: Generator,
    ) -> CaptionedScene | str:
        """Draw the scene of one clip, with other partners where the first ones give none; else return why."""
        maker = SceneMaker(
            self.rate, self.snr_db, self.placement, self.level, self.crossfade, self.min_bands, self.min_share,
            with_words=captions is not None,
        )  # fmt: skip
        reason = NOT_DRAWN
        for attempt in range(_PARTNERS):
            partners = self._draw_partners(own, source, i, first if attempt == 0 else None, captions, generator)
            if not partners:
                return reason
            clips = [_channels(own.clip(i)), *(_channels(source.clip(j)) for j in partners)]
            scene = maker.make(clips, self._limit(own, i), generator)
            if isinstance(scene, str):
                reason = scene
                continue
            if captions is None:
                return CaptionedScene(partners, scene, [], [], "")
            texts = [captions[0].texts[i], *(captions[1].texts[j] for j in partners)]
            row = self._write(partners, scene, texts, own.notes.distractor_captions, i, generator)
            if row is not None:
                return row
            most = "" if self.max_words is None else f" in at most {self.max_words} words"
            reason = f"nothing that can be said of it{most}"
        return reason

    def _draw_partners(
        self,
        own: Clips,
        source: Clips,
        i: int,
        first: int | None,
        captions: tuple[_Captions, _Captions] | None,
        generator: Generator,
    ) -> list[int]:
        """Draw the partners of one clip: different clips whose captions all differ."""
        low, high = self.sources
        wanted = low - 1 + int(draw.integers(torch.tensor([high - low + 1]), generator=generator))
        if own.notes.sources is not None:
            wanted = int(own.notes.sources[i]) - 1
        order = draw.permutation(len(source), generator=generator).tolist()
        if (allowed := own.notes.allowed) is not None:
            order = [j for j in order if bool(allowed[i, j])]
        if (weights := own.notes.pairing_weights) is not None:
            order = [j for j in order if weights[j] > 0]
        if first is not None:
            order = [first, *(j for j in order if j != first)]
        elif self.pairing != "any":
            return []  # only the first one was drawn among the allowed classes
        chosen: list[int] = []
        taken = [] if captions is None else [captions[0].wordings[i]]
        for j in order:
            if source is own and (j == i or (own.eligible is not None and not bool(own.eligible[j]))):
                continue
            if captions is not None:
                theirs = captions[1].wordings[j]
                if not all(_differ(theirs, one) for one in taken):
                    continue
                taken.append(theirs)
            chosen.append(j)
            if len(chosen) == wanted:
                break
        return chosen

    def _limit(self, own: Clips, i: int) -> int | None:
        """Return how many samples a mix may have."""
        most = None if self.max_seconds is None else max(1, round(self.max_seconds * self.rate))
        if self.keep == "original":
            size = int(own.valid[i])
            return size if most is None else min(size, most)
        return most

    def _write(
        self,
        partners: list[int],
        scene: Scene,
        texts: list[list[str]],
        distractors: Sequence[Sequence[str]] | None,
        i: int,
        generator: Generator,
    ) -> CaptionedScene | None:
        """Draw one caption of each source, and write that of the mix; None where it would be too long."""
        chosen, picked = zip(*(choose_caption(one, generator) for one in texts))
        named = [event.named for event in scene.events]
        caption = write_caption(
            scene.tree, picked, templates=self._phrases, max_words=self.max_words, generator=generator, named=named
        )
        if caption is None:
            return None
        negatives: tuple[tuple[str, str], ...] = ()
        if self.negatives:
            negatives = write_negatives(
                scene.tree, picked, caption=caption, named=named, templates=self._phrases, max_words=self.max_words,
                distractors=() if distractors is None else distractors[i],
            )  # fmt: skip
        return CaptionedScene(partners, scene, list(picked), list(chosen), caption, negatives=negatives)

    def _alone(
        self,
        own: Clips,
        i: int,
        captions: _Captions | None,
        why: str,
        limit: int | None,
        generator: Generator,
        *,
        first: bool = False,
    ) -> CaptionedScene:
        """Return the row of a clip that stays alone, with one of its captions: the `first`, or one that is drawn."""
        clip = _channels(own.clip(i))[..., :limit]
        size, span = clip.shape[-1], active_span(clip, self.rate)
        text, index = "", -1
        if captions is not None and span is not None:  # of silence there is nothing to say
            most = self.max_words or math.inf
            usable = [text if count(text) <= most and tokens(text) else "" for text in captions.texts[i]]
            if first:
                index, text = next(((k, text.strip()) for k, text in enumerate(usable) if text), (-1, ""))
            elif any(usable):
                index, text = choose_caption(usable, generator)
        event = SoundEvent(0, 0, size, 0, 0, share=1.0, active=span or (0.0, 0.0))
        return CaptionedScene([], Scene(0, (event,), size), [text], [index], text, why)

    def _plan(self, own: Clips, source: Clips, rows: list[CaptionedScene], *, keep_length: bool) -> ScenePlan:
        measure = self.level if self.level in ("active", "rms") else None
        return ScenePlan.of(
            rows, (own.size, source.size), self.rate, most=self.sources[1], in_batch=source is own,
            keep_length=keep_length, measure=measure, negatives=self.negatives,
        )  # fmt: skip


def _channels(clip: Tensor) -> Tensor:
    """Return a clip (T,) or (C, T) with its axis of channels."""
    return clip if clip.ndim == 2 else clip[None]


def _check_range(name: str, pair: Any, low: float, high: float) -> tuple[float, float]:
    if isinstance(pair, (str, bytes)) or not hasattr(pair, "__len__") or len(pair) != 2:
        check.fail(name, "(lowest, highest)", repr(pair), error=TypeError)
    first, last = (check.number(name, value, low, high) for value in pair)
    if first > last:
        check.fail(name, "(lowest, highest)", f"({first:g}, {last:g})", "the other way round?")
    return first, last


_EXAMPLE_CAPTIONS = ("A dog barks", "Rain falls on a roof", "A child laughs", "An engine idles", "Birds sing")


def _example_captions(clips: int) -> dict[str, Any]:
    """Return a caption for each of so many clips, all different, and captions of clips that are not among them."""
    captions = [f"{_EXAMPLE_CAPTIONS[i % 5]} {i}." for i in range(clips)]
    return {"captions": captions, "distractor_captions": [["A bell rings.", "Wind."]] * clips}


def _example_lists(clips: int) -> dict[str, Any]:
    """Return several captions for each of so many clips, one of them empty."""
    return {"captions": [[text, "", f"Take {text}"] for text in _example_captions(clips)["captions"]]}
