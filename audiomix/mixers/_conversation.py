"""Who is in a conversation (`Cast`), and when each utterance is heard (`Conversation`): before they are a plan."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ..plan import NOT_DRAWN

__all__ = ["NOBODY", "Cast", "Conversation", "tabulate"]

# Why a clip is alone, until the plan has a text for it.
NOBODY = "nobody"
# Where an utterance lies in its clip: the first sample that is speech, and the one behind the last. None: silence.
Span = tuple[int, int] | None


@dataclass
class Cast:
    """The speakers of one conversation, and which of their utterances they say.

    Parameters
    ----------
    name : hashable
        Who speaks in the original.
    speakers : int
        How many there are to be.
    turns : sequence of int
        How many utterances each is to have.
    most : int
        Most utterances in all.
    """

    name: Hashable
    speakers: int
    turns: Sequence[int]
    most: int
    names: list[Hashable] = field(default_factory=list)
    rows: list[list[int | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.names, self.rows = [self.name], [[None]]  # None is the original

    def fill(self, rows: Sequence[int], names: Sequence[Hashable], spans: Sequence[Span]) -> None:
        """Take utterances, in the order of `rows`: first one of each speaker, then their further ones.

        Parameters
        ----------
        rows : sequence of int
            Of the partners' batch; below 0 where there are no more.
        names : sequence of hashable
            Who speaks in each row of that batch.
        spans : sequence
            Where; silent rows are not taken.
        """
        usable = [row for row in rows if row >= 0 and spans[row] is not None]
        rest = []
        for row in usable:
            if names[row] not in self.names and len(self.names) < self.speakers and self.count < self.most:
                self.names.append(names[row])
                self.rows.append([row])
            else:
                rest.append(row)
        for row in rest:
            if names[row] in self.names and self.count < self.most:
                k = self.names.index(names[row])
                if len(self.rows[k]) < self.turns[k]:
                    self.rows[k].append(row)

    @property
    def count(self) -> int:
        """How many utterances there are."""
        return sum(map(len, self.rows))

    def missing(self, speakers: int, turns: int) -> str:
        """Return what is missing of the least that was asked for; an empty text where nothing is.

        Parameters
        ----------
        speakers, turns : int
            Fewest speakers, and fewest utterances of each.
        """
        if len(self.names) < speakers:
            return f"{len(self.names)} of {speakers} speakers: there is no further one"
        short = [len(rows) for rows in self.rows if len(rows) < turns]
        return f"{min(short)} of {turns} utterances of a speaker: there is no further one" if short else ""


@dataclass
class Conversation:
    """When each utterance of a mix is heard, in samples; the original's comes first.

    Parameters
    ----------
    why : str
        Why it is not as it was asked for.
    rows : list of (int or None)
        Of the partners' batch; None is the original.
    speaker : list of int
        Who speaks.
    at, valid : list of int
        Where the clip begins in the mix, and how long it is.
    active : list of (int, int)
        Where in the mix somebody speaks.
    gain_db : list of float
        Of each clip.
    tail : list of int
        How far reverberation goes on behind each clip.
    names : list of str
        The speakers.
    """

    why: str = ""
    rows: list[int | None] = field(default_factory=list)
    speaker: list[int] = field(default_factory=list)
    at: list[int] = field(default_factory=list)
    valid: list[int] = field(default_factory=list)
    active: list[tuple[int, int]] = field(default_factory=list)
    gain_db: list[float] = field(default_factory=list)
    tail: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    @classmethod
    def alone(cls, span: Span, valid: int, why: str = NOT_DRAWN, name: Hashable | None = None) -> "Conversation":
        """Return that of a clip which is alone.

        Parameters
        ----------
        span : (int, int), optional
            Where somebody speaks.
        valid : int
            Its samples.
        why : str
            Why it is.
        name : hashable, optional
            Who speaks.
        """
        found = cls(why)
        found.add(None, 0, 0, valid, span or (0, 0), 0.0)
        return found.finish([name])

    def add(self, row: int | None, speaker: int, at: int, valid: int, active: tuple[int, int], gain_db: float) -> None:
        """Add an utterance; arguments as the fields."""
        where = 0 if row is None else len(self.rows)
        for name, value in (
            ("rows", row), ("speaker", speaker), ("at", at), ("valid", valid), ("active", active),
            ("gain_db", gain_db), ("tail", 0),
        ):  # fmt: skip
            getattr(self, name).insert(where, value)

    def finish(self, names: Sequence[Hashable | None]) -> "Conversation":
        """Begin with the first sample that is heard, and number the speakers in the order in which they first speak.

        Parameters
        ----------
        names : sequence of hashable
            The speakers; None for one without a name.
        """
        first = min(self.at)
        self.at = [at - first for at in self.at]
        self.active = [(start - first, stop - first) for start, stop in self.active]
        order = list(dict.fromkeys(k for _, k in sorted(zip(self.active, self.speaker))))
        self.speaker = [order.index(k) for k in self.speaker]
        self.names = [f"speaker{i}" if names[k] is None else str(names[k]) for i, k in enumerate(order)]
        return self

    @property
    def length(self) -> int:
        """Samples of the mix."""
        return max(at + valid + tail for at, valid, tail in zip(self.at, self.valid, self.tail))

    @property
    def shares(self) -> list[float]:
        """Each utterance's share of the time that is spoken; where nobody speaks the original has all."""
        spoken = [stop - start for start, stop in self.active]
        total = sum(spoken)
        return [one / total for one in spoken] if total else [1.0] + [0.0] * (len(spoken) - 1)


def tabulate(mixes: Sequence[Conversation], sizes: tuple[int, int], *, in_batch: bool) -> dict[str, Any]:
    """Return conversations as the fields of a plan: samples become fractions of the clips.

    Parameters
    ----------
    mixes : sequence of Conversation
        One a clip.
    sizes : (int, int)
        Samples of the axes of originals and partners.
    in_batch : bool
        Whether partners come from the batch itself: a clip that is alone is then its own partner.
    """
    most, own = max(2, *(len(mix.rows) for mix in mixes)), sizes[0]

    def pad(values: list[Any], nothing: Any) -> list[Any]:
        """Return a row as long as all others."""
        return values + [nothing] * (most - len(values))

    def column(values: list[Any], kind: torch.dtype = torch.float64) -> torch.Tensor:
        """Return what is known of each mix as a tensor."""
        return torch.tensor(values, dtype=kind)

    partners = column([pad(list(mix.rows), -1)[1:] for mix in mixes], torch.int64)
    first = torch.arange(len(mixes)) if in_batch else torch.zeros(len(mixes), dtype=torch.int64)
    shares = column([pad(mix.shares, 0.0) for mix in mixes])
    axes = [own] + [sizes[1]] * (most - 1)
    return {
        "partner": torch.where(partners[:, 0] < 0, first, partners[:, 0]),
        "weight": shares[:, 0].clone(),
        "partners": partners,
        "shares": shares,
        "gain_db": column([pad(mix.gain_db, -math.inf) for mix in mixes]),
        "at": column([[at / own for at in pad(mix.at, 0)] for mix in mixes]),
        "piece": column([[(0.0, end / axis) for end, axis in zip(pad(mix.valid, 0), axes)] for mix in mixes]),
        "active": column([[(a / own, b / own) for a, b in pad(mix.active, (0, 0))] for mix in mixes]),
        "length": column([mix.length / own for mix in mixes]),
        "speaker": column([pad(mix.speaker, -1) for mix in mixes], torch.int64),
        "names": tuple(tuple(mix.names) for mix in mixes),
        "why": tuple(mix.why for mix in mixes) if any(mix.why for mix in mixes) else (),
    }
