"""The plan of conversations: `SpeakerPlan`, who speaks when."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .. import check
from ..plan import Plan
from ..plan_sources import PlacedPlan
from ..targets.activity import frame_activity
from ..targets.rttm import Turn
from ._conversation import Conversation, tabulate

__all__ = ["SpeakerPlan"]


@dataclass(frozen=True, eq=False, kw_only=True)
class SpeakerPlan(PlacedPlan):
    """Who speaks when in each conversation. Sources are utterances, each a turn; S is the largest number of them.

    Parameters
    ----------
    partner, weight, why, roll, roll_within
        See `audiomix.Plan`.
    partners, gain_db, at, piece, active, length, seconds
        See `audiomix.plan_sources.PlacedPlan`. Every utterance is heard whole; a turn is its `active` part.
    shares : Tensor, shape (B, S), float64
        Each utterance's share of the time that is spoken.
    speaker : Tensor, shape (B, S), int64
        Who speaks, as an index into `names`; -1 where there is no utterance.
    names : tuple of (tuple of str)
        The speakers of each conversation, in the order in which they first speak.
    most : int
        Most speakers that a conversation may have.
    rooms : tuple of Plan, optional
        The room of each utterance: one plan for the originals, and one for each column of `partners`.

    Examples
    --------
    >>> from audiomix import SpeakerMix
    >>> plan = SpeakerMix(speakers=2, rate=8000)(torch.randn(2, 1, 8000), ids=["ann", "bob"]).plans[0]
    >>> sorted(plan.names[0]), [turn.speaker in ("ann", "bob") for turn in plan.turns(0)]
    (['ann', 'bob'], [True, True])
    """

    speaker: Tensor
    names: tuple[tuple[str, ...], ...]
    most: int = 1
    rooms: tuple[Plan, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_rows("speaker", self.partners.shape[1] + 1, dtype=torch.int64)
        if len(self.names) != len(self):
            check.fail("names", f"of {len(self)} items, as partner is", len(self.names))

    @classmethod
    def identity(cls, size: int) -> "SpeakerPlan":
        """Return the plan in which each of `size` clips is one turn of one speaker."""
        alone = [Conversation.alone((0, 1), 1) for _ in range(size)]
        return cls(**tabulate(alone, (1, 1), in_batch=True), seconds=torch.ones(size, dtype=torch.float64))

    @property
    def mixed(self) -> Tensor:
        """Whether more than the original is in each mix; (B,), bool."""
        return (self.gain_db[:, 1:] > -math.inf).any(1)

    @property
    def _keeps_length(self) -> bool:
        return not self.changes_any

    def turns(self, index: int, file: str = "mix") -> list[Turn]:
        """Return who speaks when in one conversation, in the order of onsets; times to the microsecond, as in RTTM.

        Parameters
        ----------
        index : int
            Which mix of the batch.
        file : str
            Name of the recording.
        """
        seconds, found = float(self.seconds[index]), []
        for k in self.source_numbers(index):
            onset, offset = (round(edge * seconds, 6) for edge in self.active[index, k].tolist())
            if offset > onset:  # nobody speaks in a silent clip
                name = self.names[index][int(self.speaker[index, k])]
                found.append(Turn(name, onset, round(offset - onset, 6), file))
        return sorted(found, key=lambda turn: turn.onset)

    def activity(self, seconds: float = 0.01, *, frames: int | None = None) -> Tensor:
        """Return who speaks in each frame: 1 or 0, (B, `most`, N), float32; see `audiomix.targets.activity`.

        Speakers stand in the order of `names`.

        Parameters
        ----------
        seconds : float
            Length of a frame.
        frames : int, optional
            How many; by default those that the longest mix has.
        """
        if frames is None:
            longest = float((self.length * self.seconds).max()) if len(self) else 0.0
            frames = math.ceil(round(longest / check.number("seconds", seconds, 1e-6), 6))
        found = torch.zeros(len(self), self.most, frames)
        for i, names in enumerate(self.names):
            speaking = frame_activity([self.turns(i)], seconds=seconds, frames=frames, speakers=names)
            found[i, : len(names)] = speaking[0]
        return found

    def describe(self, index: int) -> dict[str, Any]:
        """Return who speaks when, in seconds."""
        turns = [
            {"speaker": turn.speaker, "onset": turn.onset, "offset": round(turn.offset, 6)}
            for turn in self.turns(index)
        ]
        return {"why": None} | super().describe(index) | {"turns": turns}
