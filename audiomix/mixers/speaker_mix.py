r"""SpeakerMix: conversations that overlap, made of utterances of single speakers, with who speaks when.

.. math:: y[t] = \sum_u g_{s(u)}\, (h_{s(u)} * x_u)[t - t_u]

Each utterance u of a speaker s(u) is placed once, at t_u: behind the turn before it by a drawn pause, or over it by a
drawn overlap, and never over the speaker's own last turn. Pauses and overlaps follow the transitions of FastMSS
(popcornell/FastMSS), or histograms of real conversations as in the paper. That every utterance is used once, that
turns are the active parts of utterances, and that labels are shared by speaking time is our own.

Source: ours, after Landini et al., "From Simulated Mixtures to Simulated Conversations as Training Data for End-to-End
Neural Diarization", Interspeech 2022.
Label: mixed by speaking time; frame activity tells who speaks when.
"""

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from .. import check, draw
from ..audio import level
from ..audio.pieces import measure_blocks
from ..clips import Clips, fit_length
from ..draw import Generator
from ..mixer import WAVE, Example, Mixer, Needs, Pairing, Rule
from ..partners import without_partner
from ..plan import NOT_DRAWN, Plan
from ..schedule import Schedule
from ._conversation import NOBODY, Cast, Conversation, Span, tabulate
from ._sources import choose_several
from ._speaker_plan import SpeakerPlan
from ._turns import NUMBERS, TurnHistograms, TurnLaw, place_turns

__all__ = ["SpeakerMix", "SpeakerPlan", "TurnHistograms"]

# Frames in which it is measured whether somebody speaks, in seconds.
_FRAME_S = 0.01
# Rows that are looked through for further utterances of a speaker.
_MOST_ROWS = 256


class SpeakerMix(Mixer):
    """Mix utterances of single speakers (B, C, T) into conversations whose turns overlap.

    Parameters
    ----------
    speakers : int or (int, int)
        Fewest and most speakers of a conversation, that of the original included.
    turns : int or (int, int)
        Fewest and most utterances of each speaker. Speakers have several only where ``ids=`` says who they are. Files
        are mixed from 12 utterances at most.
    law : str or TurnHistograms
        Of pauses and overlaps. ``fastmss``: a speaker goes on, another one begins, interrupts, or speaks beside the
        turn, with the chances and lengths that FastMSS found in telephone calls. ``markov``: with chances that depend
        on the transition before. Or histograms of lengths: ``TurnHistograms.of(read_rttm(path))`` measures them, also
        of what a `SpeakerMix` made.
    boost : float
        How many times as often turns overlap; not with histograms.
    at_once : int, optional
        Most speakers that speak at once.
    gain_db : (float, float)
        Lowest and highest gain in dB of each speaker; drawn uniformly.
    turn : str
        What of an utterance is a turn: its ``active`` part, from the first to the last frame of 10 ms within 30 dB of
        its loudest, or the ``whole`` of it. It is heard whole in both cases.
    room : Room, optional
        Each speaker of a conversation gets a response of this `audiomix.Room`, whose options hold. The mix is then no
        sum of the utterances as they are.
    rate : int
        Sampling rate in Hz.
    num_classes, p, pairing, rule
        See `audiomix.Mixer`. `pairing` holds for all further utterances, those of the same speaker too. The weight is
        the original's share of the time that is spoken.

    Raises
    ------
    ValueError
        Several turns without ``ids=``; ``ids=`` without ``other_ids=`` where there is a second batch.

    Notes
    -----
    Pass ``ids=`` (and ``other_ids=``), who speaks in each clip; without it everybody is somebody else. A mix is as long
    as its conversation: `Mixed.lengths` has its samples. ``plan.turns(i)`` says who speaks when, ``plan.activity()``
    is the target of diarisation (B, S, N), and `audiomix.targets.rttm.write_rttm` writes turns to a file. Silent clips
    take no part. Where a speaker has too few utterances, or the batch too few speakers, those that there are are
    taken, and the plan says so. A transition that is then impossible is left out; the others are drawn in proportion.
    For noise put a `audiomix.SpeechNoise` or a `audiomix.SNRMix` behind it in a `audiomix.Pipeline`. Frame labels
    (B, K, N) are placed as their utterances are.

    See Also
    --------
    audiomix.SpeechNoise : babble under one voice, whose label stays.

    Examples
    --------
    >>> speech = torch.randn(6, 1, 16000)
    >>> mixer = SpeakerMix(speakers=2, turns=2, rate=16000)
    >>> mixed = mixer(speech, ids=["a", "a", "b", "b", "c", "c"], generator=torch.Generator().manual_seed(0))
    >>> plan = mixed.plans[0]
    >>> len(plan.turns(0)), len(plan.names[0]), plan.activity().shape[:2]
    (4, 2, torch.Size([6, 2]))
    """

    plan_type = SpeakerPlan
    takes_self = False

    def __init__(
        self,
        speakers: int | tuple[int, int] = (2, 3),
        turns: int | tuple[int, int] = 1,
        *,
        law: Literal["fastmss", "markov"] | TurnHistograms = "fastmss",
        boost: float = 1.0,
        at_once: int | None = None,
        gain_db: tuple[float, float] = (0.0, 0.0),
        turn: Literal["active", "whole"] = "active",
        room: Mixer | None = None,
        rate: int = 16000,
        num_classes: int | None = None,
        p: float | str | Schedule = 1.0,
        pairing: Pairing = "any",
        rule: Rule = "linear",
    ) -> None:
        super().__init__(num_classes=num_classes, p=p, pairing=pairing, rule=rule)
        self.speakers, self.turns = _counts("speakers", speakers), _counts("turns", turns)
        if self.speakers[1] * self.turns[1] < 2:
            check.fail("speakers", "2 at most or more, or turns of 2 and more", speakers, "p=0 mixes nothing")
        if not isinstance(law, TurnHistograms):
            check.choice("law", law, ["fastmss", "markov"])
        elif boost != 1:
            check.fail("boost", "left out with histograms", f"{boost:g}", "their counts say how often turns overlap")
        self.law, self.boost = law, check.number("boost", boost, 0, 1000)
        histograms = law if isinstance(law, TurnHistograms) else None
        self._law = TurnLaw(histograms, markov=law == "markov", boost=self.boost)
        self.at_once = None if at_once is None else check.integer("at_once", at_once, 1)
        self.gain_db = _decibels(gain_db)
        self.turn = check.choice("turn", turn, ["active", "whole"])
        self.rate = check.rate("rate", rate)
        self.room = None if room is None else _check_room(room, self.rate)

    @property
    def needs(self) -> Needs:
        """Waveforms, whole partners, and who speaks in each clip."""
        low, high = (a * b for a, b in zip(self.speakers, self.turns))
        summed = self.room is None
        return Needs(
            domain=frozenset({WAVE}), notes={"ids": None}, partner="whole", sources=(max(2, low), high),
            length="free", summed=summed,
        )  # fmt: skip

    @classmethod
    def examples(cls) -> list[Example]:
        """Return every law, several utterances a speaker, and gains.

        Rooms stand above the mixers in the layout: ``tests/mixers/test_speaker_mix.py`` runs the laws on them.
        """
        calls = TurnHistograms(([0.05, 0.2], [2, 1]), ([0.1], [1]), ([0.05, 0.3], [1, 1]))
        mixers = [
            cls(2, 2, law="markov", boost=3, at_once=2, gain_db=(-6, 6), rate=1000),
            cls((1, 3), (1, 3), law=calls, turn="whole", rate=1000),
        ]
        # the length of a conversation depends on what was drawn
        plain = Example(cls((2, 3), 1, rate=1000), writes_out=False, compiles=False)
        return [plain, *(Example(mixer, _example_ids, writes_out=False, compiles=False) for mixer in mixers)]

    def at_rate(self, rate: int) -> "Mixer":
        """Return this mixer, and its rooms, for sounds of `rate` Hz."""
        if rate == self.rate:
            return self
        return self.replace(rate=rate, **({} if self.room is None else {"room": self.room.at_rate(rate)}))

    def check_input(self, own: Clips, source: Clips) -> None:
        """Refuse names that are missing or do not belong to the clips, and clips that do not fit the rooms."""
        super().check_input(own, source)
        mine, theirs = _names(own, "ids"), _names(source, "other_ids")
        if (mine is None) != (theirs is None):
            lacking = "other_ids" if theirs is None else "ids"
            check.fail(lacking, "given, as those of the other batch are", None, "who speaks in each clip")
        if mine is None and self.turns[0] > 1:
            slip = "who speaks in each clip: without it nobody has two of them"
            check.fail("ids", f"given with turns of {self.turns[0]} and more", None, slip)
        if self.room is not None:
            self.room.check_input(own, own)

    def check_plan(self, plan: Plan) -> None:
        """Refuse plans with rooms where there are none, and with other rooms."""
        super().check_plan(plan)
        if not isinstance(plan, SpeakerPlan) or not plan.changes_any:
            return
        if (plan.rooms is None) != (self.room is None):
            got = "one without" if plan.rooms is None else "one with rooms"
            check.fail("plan", f"drawn with room={self.room}", got, "make both mixers with the same room=")
        for rooms in plan.rooms or ():
            assert self.room is not None
            self.room.check_plan(rooms)

    def draw(self, own: Clips, source: Clips, *, progress: float | None = None, generator: Generator = None) -> Plan:
        """Draw who takes part, in which order, with which pauses, gains and rooms; measure where speech is active."""
        size, most = len(own), self.speakers[1] * self.turns[1]
        drawn = self.choose(own, progress=progress, generator=generator)
        spans = self._spans(own)
        theirs = spans if source is own else self._spans(source)
        several = most if own.notes.ids is None else _MOST_ROWS
        rows = choose_several(own, source, self.pairing, min(several, len(source)), generator).tolist()
        counts = self._draw_counts(size, generator)
        numbers = draw.uniform(0, 1, size * most * NUMBERS, generator=generator).view(size, most, NUMBERS).tolist()
        shape = size, self.speakers[1]
        levels = draw.uniform(*self.gain_db, size * shape[1], generator=generator).view(shape).tolist()
        names, mixes = self._name(own, source), []
        for i, mixing in enumerate(drawn.tolist()):
            valid, name = int(own.valid[i]), None if own.notes.ids is None else names[0][i]
            if not mixing or spans[i] is None:
                mixes.append(Conversation.alone(spans[i], valid, "silent original" if mixing else NOT_DRAWN, name))
                continue
            limit = most if own.notes.sources is None else min(most, int(own.notes.sources[i]))
            cast = Cast(names[0][i], *counts[i], limit)
            cast.fill(rows[i], names[1], theirs)
            if cast.count == 1:
                asked = limit > 1 and (counts[i][0] > 1 or counts[i][1][0] > 1)
                mixes.append(Conversation.alone(spans[i], valid, NOBODY if asked else NOT_DRAWN, name))
            else:
                ends = [[valid if row is None else int(source.valid[row]) for row in some] for some in cast.rows]
                where = [[spans[i] if row is None else theirs[row] for row in some] for some in cast.rows]
                mixes.append(self._converse(cast, where, ends, numbers[i], levels[i], named=name is not None))
                mixes[-1].why = "" if limit < most else cast.missing(self.speakers[0], self.turns[0])
        without_partner(torch.tensor([mix.why == NOBODY for mix in mixes]))
        for mix in mixes:
            mix.why = NOT_DRAWN if mix.why == NOBODY else mix.why
        rooms = self._draw_rooms(own, source, mixes, progress, generator)
        return self._plan(own, source, mixes, rooms)

    def _converse(
        self, cast: Cast, spans: Any, ends: list[list[int]], numbers: Any, levels: list[float], *, named: bool
    ) -> Conversation:
        """Return when each utterance of those who take part is heard."""
        lengths = [[stop - start for start, stop in some] for some in spans]
        mix = Conversation()
        for turn in place_turns(lengths, self.rate, self._law, numbers, at_once=self.at_once):
            k, u = turn.speaker, turn.utterance
            at, place = turn.start - spans[k][u][0], (turn.start, turn.stop)
            mix.add(cast.rows[k][u], k, at, ends[k][u], place, levels[k])
        return mix.finish(cast.names if named else [None] * len(cast.names))

    def _spans(self, clips: Clips) -> list[Span]:
        """Return where somebody speaks in each clip, in samples; None for a silent one."""
        window = max(1, round(_FRAME_S * self.rate)) if self.turn == "active" else None
        edges = measure_blocks(clips, lambda rows: clips.x[rows].detach(), lambda x, ends: _edges(x, ends, window))
        return [None if stop <= start else (start, stop) for start, stop in edges.tolist()]

    def _draw_counts(self, size: int, generator: Generator) -> list[tuple[int, list[int]]]:
        """Draw how many speakers each conversation has, and how many turns each of them."""
        low, high = self.speakers
        speakers = low + draw.integers(torch.full((size,), high - low + 1), generator=generator)
        low, most = self.turns
        turns = low + draw.integers(torch.full((size, high), most - low + 1), generator=generator)
        return list(zip(speakers.tolist(), turns.tolist()))

    def _name(self, own: Clips, source: Clips) -> tuple[list[Hashable], list[Hashable]]:
        """Return who speaks in each clip of both sides; without ``ids=`` everybody is somebody else."""
        mine, theirs = _names(own, "ids"), _names(source, "other_ids")
        mine = [("own", i) for i in range(len(own))] if mine is None else mine
        if source is own:
            return mine, mine
        return mine, [("other", j) for j in range(len(source))] if theirs is None else theirs

    def _plan(
        self, own: Clips, source: Clips, mixes: Sequence[Conversation], rooms: tuple[Plan, ...] | None = None
    ) -> SpeakerPlan:
        seconds = torch.full((len(own),), own.size / self.rate, dtype=torch.float64)
        fields = tabulate(mixes, (own.size, source.size), in_batch=source is own)
        return SpeakerPlan(**fields, seconds=seconds, most=self.speakers[1], rooms=rooms)

    def _draw_rooms(
        self, own: Clips, source: Clips, mixes: Sequence[Conversation], progress: float | None, generator: Generator
    ) -> tuple[Plan, ...] | None:
        """Draw a room for each speaker; return those of the utterances, and let their mixes be as long as they sound.

        A plan for the originals, and one for each column of partners.
        """
        if self.room is None:
            return None
        size, count = len(own), self.speakers[1]
        axis = _axis(own, source)
        clips = Clips(torch.empty(size * count, 1, axis, device="meta"))  # rooms are drawn whatever is in them
        (drawn, _), plans = self.room.draw_plan(clips, clips, progress=progress, generator=generator), []
        for k in range(max(2, *(len(mix.rows) for mix in mixes))):
            who = torch.tensor([mix.speaker[k] if k < len(mix.rows) else 0 for mix in mixes])
            plan = drawn.rows(torch.arange(size) * count + who)
            plans.append(replace(plan, partner=torch.arange(size)))
            valid = torch.tensor([mix.valid[k] if k < len(mix.rows) else 0 for mix in mixes])
            ends = plans[-1].mixed_lengths(valid, axis)
            assert ends is not None
            for mix, tail in zip(mixes, (ends - valid).tolist()):
                if 1 < len(mix.rows) > k:
                    mix.tail[k] = tail
        return tuple(plans)

    def identity(self, own: Clips) -> Plan:
        """Return the plan in which every clip is one turn of its speaker."""
        names = _names(own, "ids") or [None] * len(own)
        rows = zip(self._spans(own), own.valid.tolist(), names)
        return self._plan(own, own, [Conversation.alone(span, valid, name=name) for span, valid, name in rows])

    def render_into(self, own: Clips, source: Clips, plan: Plan, out: Tensor | None = None) -> Tensor:
        """Prepare the clips and `render`; `out` has to be as long as the longest conversation."""
        assert isinstance(plan, SpeakerPlan)
        size = plan.size(own.size)
        if out is not None and size != own.size:
            check.fail("out", f"{size} samples long, as the longest mix is", own.size, "leave it out")
        return super().render_into(own, source, plan, out)

    def render(self, own: Clips, source: Clips, plan: Plan) -> Tensor:
        """Add the utterances of every conversation, each in its place and in its room."""
        assert isinstance(plan, SpeakerPlan)
        size = own.size
        mixed = own.x.new_zeros(*own.x.shape[:-1], plan.size(size))
        gains, starts = torch.pow(10.0, plan.gain_db / 20).tolist(), (plan.at * size).round().long().tolist()
        for k in range(plan.partners.shape[1] + 1):
            rows = (plan.gain_db[:, k] > -torch.inf).nonzero().flatten()
            if not len(rows):
                continue
            sounds, ends = self._utterances(own, source, plan, k, rows)
            for i, sound, end in zip(rows.tolist(), sounds, ends.tolist()):
                start = starts[i][k]
                mixed[i, ..., start : start + end].add_(sound[..., :end], alpha=gains[i][k])
        return mixed

    def _utterances(
        self, own: Clips, source: Clips, plan: SpeakerPlan, column: int, rows: Tensor
    ) -> tuple[Sequence[Tensor], Tensor]:
        """Return the utterances of one column that are heard, and how many samples of each."""
        side, which = (own, rows) if column == 0 else (source, plan.partners[rows, column - 1])
        ends = (plan.piece[rows, column, 1] * side.size).round().long()
        if self.room is None or plan.rooms is None:
            return [side.x[j] for j in which.tolist()], ends
        sounds, mixed = [side.x[j] for j in which.tolist()], plan.mixed[rows]
        wet = mixed.nonzero().flatten()
        if not len(wet):
            return sounds, ends
        axis, rooms = _axis(own, source), plan.rooms[column].rows(rows[wet])
        clips = Clips(fit_length(torch.stack([sounds[n] for n in wet.tolist()]), axis), ends[wet])
        reverberant = self.room.render(clips, clips, rooms) if rooms.changes_any else clips.x
        for n, sound in zip(wet.tolist(), reverberant):
            sounds[n] = sound
        longer = rooms.mixed_lengths(ends[wet], axis)
        return sounds, ends if longer is None else ends.index_put((wet,), longer)


def _axis(own: Clips, source: Clips) -> int:
    """Return the samples of the axis on which utterances are in their rooms."""
    return max(own.size, source.size)


def _edges(x: Tensor, ends: Tensor | None, window: int | None) -> Tensor:
    """Return the first active sample of each clip and the one behind the last, 0 and 0 where there is none; (B, 2).

    Without a window the whole of what is not silent is active.
    """
    if window is None:
        audible = level.rms(x, level.valid(ends, x.shape[-1])) > level.from_db(level.SILENCE_DB)
        stop = torch.full((len(x),), x.shape[-1]) if ends is None else ends
        return torch.stack([torch.zeros_like(stop), torch.where(audible, stop, 0)], 1)
    on = level.active(x, ends, window=window)
    start, behind = (side.to(torch.uint8).argmax(-1) for side in (on, on.flip(-1)))
    stop = torch.where(on.any(-1), x.shape[-1] - behind, 0)
    return torch.stack([start, stop], 1).cpu()


def _names(clips: Clips, name: str) -> list[Hashable] | None:
    """Return who speaks in each clip, or None where nobody says so."""
    ids = clips.notes.ids
    if ids is None:
        return None
    names = ids.tolist() if isinstance(ids, Tensor) else list(ids)
    if len(names) != len(clips):
        check.fail(name, f"of {len(clips)} items, as the batch is", len(names))
    return names


def _counts(name: str, value: Any) -> tuple[int, int]:
    """Return the fewest and the most of something."""
    pair = (value, value) if isinstance(value, int) else value
    if isinstance(pair, str) or not hasattr(pair, "__len__") or len(pair) != 2:
        check.fail(name, "a whole number, or (fewest, most)", repr(value), error=TypeError)
    low, high = (check.integer(name, edge, 1) for edge in pair)
    if low > high:
        check.fail(name, "(fewest, most)", f"({low}, {high})", "the other way round?")
    return low, high


def _decibels(value: Any) -> tuple[float, float]:
    """Return the lowest and the highest gain."""
    if isinstance(value, str) or not hasattr(value, "__len__") or len(value) != 2:
        check.fail("gain_db", "(lowest, highest) in dB", repr(value), error=TypeError)
    low, high = (check.number("gain_db", edge, -200, 200) for edge in value)
    if low > high:
        check.fail("gain_db", "(lowest, highest)", f"({low:g}, {high:g})", "the other way round?")
    return low, high


def _check_room(room: Any, rate: int) -> Mixer:
    """Return a transform that each speaker goes through, or raise."""
    fits = isinstance(room, Mixer) and WAVE in room.needs.domain and room.needs.sources == (1, 1)
    if not fits:
        slip = "responses? Room(responses, rate=...)"
        check.fail("room", "a Room, or another transform of waveforms", type(room).__name__, slip, TypeError)
    theirs = getattr(room, "rate", None)
    if theirs not in (None, rate):
        check.fail("room", f"at {rate} Hz, as the mixer is", f"{theirs} Hz", f"Room(..., rate={rate})")
    return room


def _example_ids(clips: int) -> dict[str, Any]:
    """Return who speaks in so many clips: each speaker has two or three."""
    return {"ids": [f"speaker {i % max(2, clips // 2)}" for i in range(clips)]}
