"""How turns of a conversation follow each other: pauses and overlaps, from histograms or from a law of transitions."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import check
from ..targets.rttm import Turn

__all__ = ["NUMBERS", "Placed", "TurnHistograms", "TurnLaw", "place_turns"]

# Uniform numbers that a turn takes: its kind, who speaks, a pause or an overlap, how long.
NUMBERS = 4
# Kinds of transitions: the same speaker goes on behind a pause; another one begins behind a pause; another one
# interrupts; another one speaks beside the turn.
_HOLD, _SWITCH, _INTERRUPT, _BACKCHANNEL = range(4)
_KINDS = ("hold", "switch", "interruption", "backchannel")
# FastMSS (popcornell/FastMSS, 3f15ef3, hmm_turn_taking.py), fitted to CALLHOME: how often each kind comes, whatever was
# before, or behind a transition of each kind.
_ALONE = (0.15, 0.21, 0.44, 0.20)
_BEHIND = ((0.26, 0.23, 0.27, 0.24), (0.11, 0.38, 0.31, 0.20), (0.09, 0.29, 0.33, 0.29), (0.31, 0.29, 0.31, 0.09))
# Means of exponential laws: pauses in seconds, overlaps as shares of the turn before.
_MEANS = (0.57, 0.40, 0.44, 0.67)
_LEAST, _MOST = 0.03, 0.97
# Pauses and overlaps of 7 s and more are left out of what is measured (Landini et al.).
_LONGEST_S = 7.0


@dataclass(frozen=True)
class TurnHistograms:
    """How long pauses and overlaps are, as histograms: ``(seconds, counts)`` each.

    Parameters
    ----------
    same_pause : (sequence of float, sequence of float)
        Lengths of pauses before the same speaker goes on, and how often each comes.
    other_pause : (sequence of float, sequence of float)
        Of pauses before another speaker begins.
    overlap : (sequence of float, sequence of float)
        Of overlaps with another speaker. An overlap comes in place of a pause as often as its counts say.

    Examples
    --------
    >>> calls = TurnHistograms(([0.2, 0.5], [3, 1]), ([0.3], [6]), ([0.1, 1.0], [2, 2]))
    >>> calls.overlap_share
    0.4
    >>> ann, bob = Turn("ann", 0.0, 2.0), Turn("bob", 1.75, 2.0)
    >>> TurnHistograms.of([ann, bob, Turn("bob", 4.25, 1.0), Turn("ann", 6.0, 1.0)]).same_pause
    ((0.5,), (1.0,))
    """

    same_pause: tuple[Sequence[float], Sequence[float]]
    other_pause: tuple[Sequence[float], Sequence[float]]
    overlap: tuple[Sequence[float], Sequence[float]] = field(default=((), ()))

    def __post_init__(self) -> None:
        for name in ("same_pause", "other_pause", "overlap"):
            object.__setattr__(self, name, _histogram(name, getattr(self, name)))
        if not self.other_pause[0] and not self.overlap[0]:
            check.fail("other_pause", "of a length at least, where overlap has none", "none")
        if not self.same_pause[0]:
            check.fail("same_pause", "of a length at least", "none", "([0.5], [1]): always half a second")

    @classmethod
    def of(
        cls,
        turns: Iterable[Turn],
        *,
        same_pause: tuple[Sequence[float], Sequence[float]] | None = None,
        other_pause: tuple[Sequence[float], Sequence[float]] | None = None,
        step: float = 0.01,
        longest: float = _LONGEST_S,
    ) -> "TurnHistograms":
        """Return the histograms of real conversations, as `audiomix.targets.rttm.read_rttm` reads them.

        Each turn is compared with the one before it, in the order of onsets, and with the latest end before it. Each
        channel of a file counts for itself.

        Parameters
        ----------
        turns : iterable of Turn
            Of any number of recordings.
        same_pause, other_pause : (sequence of float, sequence of float), optional
            Lengths in seconds and counts of a kind of pause, in place of what the recordings have. Where they have none
            of a kind (nobody speaks twice in a row, or one speaks alone), the other kind is taken for it; where all
            turns overlap, a speaker goes on at once.
        step : float
            Lengths are rounded to so many seconds.
        longest : float
            Longer ones do not count, in seconds.

        Raises
        ------
        ValueError
            There are no two turns in a recording of which one could be told how they follow each other.
        """
        turns = list(turns)
        step, longest = check.number("step", step, 1e-6), check.number("longest", longest, 0)
        found = _count_gaps(turns, step, longest)
        given = {"same_pause": same_pause, "other_pause": other_pause}
        found |= {name: _histogram(name, value) for name, value in given.items() if value is not None}
        same, other, overlap = (found[name] for name in ("same_pause", "other_pause", "overlap"))
        if not same[0] and not other[0] and not overlap[0]:
            got = f"{len(turns)} turns, no two of which follow each other within {longest:g} s"
            check.fail("turns", "several in a recording", got, "give same_pause=([0.5], [1]): always half a second")
        at_once = ([0.0], [1])
        same = next(lengths for lengths in (same, other, at_once) if lengths[0])
        return cls(same, other if other[0] or overlap[0] else same, overlap)

    @property
    def overlap_share(self) -> float:
        """How often another speaker overlaps, of all times that another one begins."""
        overlaps, pauses = sum(self.overlap[1]), sum(self.other_pause[1])
        return overlaps / (overlaps + pauses)


@dataclass(frozen=True)
class TurnLaw:
    """How turns follow each other: by FastMSS's transitions, or by histograms.

    Parameters
    ----------
    histograms : TurnHistograms, optional
        Without them transitions are drawn.
    markov : bool
        How likely each kind of transition is depends on the one before.
    boost : float
        Interruptions and backchannels are so many times as likely; all are divided by their new sum.
    """

    histograms: TurnHistograms | None = None
    markov: bool = False
    boost: float = 1.0

    def weights(self, before: int | None) -> list[float]:
        """Return how likely each kind of transition is behind one of a kind; they sum to 1."""
        plain = _BEHIND[before] if self.markov and before is not None else _ALONE
        boosted = [p * (self.boost if kind >= _INTERRUPT else 1) for kind, p in enumerate(plain)]
        return [p / sum(boosted) for p in boosted]


@dataclass(frozen=True)
class Placed:
    """A turn in its place.

    Parameters
    ----------
    speaker, utterance : int
        Which utterance of which speaker.
    start, stop : int
        In samples.
    kind : str
        Of the transition to it; empty for the first turn.
    gap : float
        The pause in seconds that was drawn before it, below 0 for an overlap. Where it could not be, `start`
        says what came of it.
    """

    speaker: int
    utterance: int
    start: int
    stop: int
    kind: str = ""
    gap: float = 0.0


def place_turns(
    lengths: Sequence[Sequence[int]],
    rate: int,
    law: TurnLaw,
    numbers: Sequence[Sequence[float]],
    *,
    at_once: int | None = None,
) -> list[Placed]:
    """Return who speaks when: every utterance once, in the order of their onsets.

    Parameters
    ----------
    lengths : sequence of sequences of int
        Samples of the utterances of each speaker.
    rate : int
        In Hz.
    law : TurnLaw
        Of pauses and overlaps.
    numbers : sequence of sequences of float
        `NUMBERS` uniform numbers in [0, 1) for each turn.
    at_once : int, optional
        Most speakers that speak at once: a turn that would be one too many begins later.

    Notes
    -----
    Nobody overlaps themselves, and no turn begins before the one in front of it: an overlap is no longer than that.
    """
    left = [list(range(len(own))) for own in lengths]
    placed: list[Placed] = []
    kind: int | None = None
    free, latest = [0] * len(lengths), 0  # where each speaker's last turn ends, and the last of all
    for u in numbers[: sum(map(len, left))]:
        last = placed[-1] if placed else None
        if law.histograms is None:
            kind, speaker, gap = _draw_transition(left, law, last, kind, u, rate)
        else:
            kind, speaker, gap = _draw_from_histograms(left, law.histograms, last, u)
        utterance = left[speaker].pop(0)
        start, length = 0, lengths[speaker][utterance]
        if last is not None:
            # Landini et al. count from the latest end, FastMSS from that of the turn before
            end = last.stop if law.histograms is None else latest
            start = max(math.floor(end + gap * rate + 0.5), free[speaker], last.start)
            start = start if at_once is None else _make_room(placed, speaker, start, length, at_once)
        name = "" if kind is None else _KINDS[kind]
        placed.append(Placed(speaker, utterance, start, start + length, name, gap))
        free[speaker], latest = start + length, max(latest, start + length)
    return placed


def _draw_transition(
    left: list[list[int]], law: TurnLaw, last: Placed | None, before: int | None, u: Sequence[float], rate: int
) -> tuple[int | None, int, float]:
    """Draw a kind of transition among those that are possible, who speaks, and how long the pause is."""
    others = [k for k, own in enumerate(left) if own and (last is None or k != last.speaker)]
    if last is None:
        return None, _choose(others, [1.0] * len(others), u[1]), 0.0
    weights = law.weights(before)
    if not left[last.speaker]:
        weights[_HOLD] = 0.0
    if not others:
        weights[_SWITCH:] = [0.0] * 3
    kinds = list(range(len(_KINDS)))
    if not sum(weights):  # one that is possible, and that the law never has
        weights = [float(bool(left[last.speaker]))] + [float(bool(others))] * 3
    kind = _choose(kinds, weights, u[0])
    drawn = -_MEANS[kind] * math.log1p(-u[2])
    if kind in (_HOLD, _SWITCH):
        gap = drawn
    else:
        gap = -min(max(drawn, _LEAST), _MOST) * (last.stop - last.start) / rate
    speaker = last.speaker if kind == _HOLD else _choose(others, [1.0] * len(others), u[1])
    return kind, speaker, gap


def _draw_from_histograms(
    left: list[list[int]], histograms: TurnHistograms, last: Placed | None, u: Sequence[float]
) -> tuple[int | None, int, float]:
    """Draw who speaks, as in a shuffle of all turns, and how long the pause or the overlap is."""
    speaker = _choose(range(len(left)), [len(own) for own in left], u[1])
    if last is None:
        return None, speaker, 0.0
    if speaker == last.speaker:
        return _HOLD, speaker, _choose(*histograms.same_pause, u[2])
    if u[0] < histograms.overlap_share:
        return _INTERRUPT, speaker, -_choose(*histograms.overlap, u[2])
    return _SWITCH, speaker, _choose(*histograms.other_pause, u[2])


def _make_room(placed: Sequence[Placed], speaker: int, start: int, length: int, at_once: int) -> int:
    """Return the earliest sample from `start` on where no more than so many speakers speak at once."""
    ends = sorted(one.stop for one in placed if one.stop > start and one.speaker != speaker)
    for begin in (start, *ends):
        beside = [one for one in placed if one.start < begin + length and one.stop > begin]
        # the number that speak changes where somebody begins
        moments = [begin, *(one.start for one in beside if one.start > begin)]
        most = max(len({one.speaker for one in beside if one.start <= t < one.stop} - {speaker}) for t in moments)
        if most < at_once:
            return begin
    return max((one.stop for one in placed), default=start)


def _choose(values: Sequence[Any], weights: Sequence[float], u: float) -> Any:
    """Return one of the values, each as likely as its weight, by a number in [0, 1)."""
    rest = u * sum(weights)
    for value, weight in zip(values, weights):
        rest -= weight
        if rest < 0:
            return value
    return next(value for value, weight in zip(reversed(values), reversed(weights)) if weight > 0)


def _count_gaps(
    turns: Sequence[Turn], step: float, longest: float
) -> dict[str, tuple[Sequence[float], Sequence[float]]]:
    """Return how often pauses and overlaps of each length come in recordings, in steps of so many seconds."""
    found: dict[str, dict[int, int]] = {"same_pause": {}, "other_pause": {}, "overlap": {}}
    before: dict[tuple[str, int], tuple[str, float]] = {}
    for turn in sorted(turns, key=lambda one: (one.file, one.channel, one.onset)):
        place = turn.file, turn.channel
        if place not in before:
            before[place] = turn.speaker, turn.offset
            continue
        speaker, end = before[place]
        gap, same = turn.onset - end, speaker == turn.speaker
        if abs(gap) < longest and not (same and gap < 0):
            name = "same_pause" if same else "overlap" if gap < 0 else "other_pause"
            length = round(abs(gap) / step)
            found[name][length] = found[name].get(length, 0) + 1
        before[place] = turn.speaker, max(end, turn.offset)
    rows = {name: sorted(counts.items()) for name, counts in found.items()}
    return {
        name: ([round(length * step, 6) for length, _ in row], [count for _, count in row])
        for name, row in rows.items()
    }  # fmt: skip


def _histogram(name: str, value: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return lengths and counts as tuples of numbers, those that never come left out."""
    if isinstance(value, str) or not hasattr(value, "__len__") or len(value) != 2:
        check.fail(name, "(seconds, counts)", repr(value), error=TypeError)
    lengths, counts = (list(side) for side in value)
    if len(lengths) != len(counts):
        got = f"{len(lengths)} and {len(counts)}"
        check.fail(name, "as many lengths in seconds as counts", got, "edges of bins? their middles")
    pairs = [(check.number(name, s, 0, slip="in seconds"), check.number(name, n, 0)) for s, n in zip(lengths, counts)]
    kept = [pair for pair in pairs if pair[1] > 0]
    return tuple(s for s, _ in kept), tuple(n for _, n in kept)
