"""Who speaks in each frame: targets of diarisation and of voice activity detection, from turns.

A frame belongs to the speakers who speak at its centre, as frame labels do everywhere in the package. The turns are
those of a plan (`audiomix.mixers.speaker_mix.SpeakerPlan.turns`) or of an RTTM file (`audiomix.targets.rttm`): both
give the same frames.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .. import check
from .rttm import Turn

__all__ = ["frame_activity"]


def frame_activity(
    recordings: Sequence[Sequence[Turn]],
    *,
    seconds: float = 0.01,
    frames: int | None = None,
    speakers: int | Sequence[str] | None = None,
) -> Tensor:
    """Return who speaks in each frame of some recordings: 1 or 0.

    Source: ours.

    Parameters
    ----------
    recordings : sequence of sequences of Turn
        The turns of each recording.
    seconds : float
        Length of a frame.
    frames : int, optional
        How many, N; by default as many as the last turn needs.
    speakers : int or sequence of str, optional
        How many there are to be, S: those of each recording in the order in which they first speak, zeros behind them.
        Or their names, the same for all recordings. By default as many as the recording with the most has.

    Returns
    -------
    Tensor, shape (B, S, N), float32

    Raises
    ------
    ValueError
        A recording has more speakers than S, or one who is not named.

    See Also
    --------
    audiomix.read_rttm : turns from a file.

    Examples
    --------
    >>> turns = [Turn("ann", 0.0, 0.3), Turn("bob", 0.2, 0.2)]
    >>> frame_activity([turns], seconds=0.1)[0]
    tensor([[1., 1., 1., 0.],
            [0., 0., 1., 1.]])
    """
    seconds = check.number("seconds", seconds, 1e-6, slip="the length of a frame")
    names = [_names(turns) if not isinstance(speakers, Sequence) else list(speakers) for turns in recordings]
    most = max((len(one) for one in names), default=0)
    count = most if speakers is None or isinstance(speakers, Sequence) else check.integer("speakers", speakers, 1)
    if most > count:
        check.fail("speakers", f"at least {most}, as many as speak in a recording", count)
    if frames is None:
        last = max((turn.offset for turns in recordings for turn in turns), default=0.0)
        frames = math.ceil(round(last / seconds, 6))  # the last bit of a time is no frame
    centre = (torch.arange(check.integer("frames", frames, 0), dtype=torch.float64) + 0.5) * seconds
    activity = torch.zeros(len(recordings), count, frames)
    for row, turns, known in zip(activity, recordings, names):
        for turn in turns:
            if turn.speaker not in known:
                check.fail("speakers", f"all of those who speak, {turn.speaker!r} too", known)
            row[known.index(turn.speaker)][(centre >= turn.onset) & (centre < turn.offset)] = 1
    return activity


def _names(turns: Sequence[Turn]) -> list[str]:
    """Return the speakers in the order in which they first speak."""
    return list(dict.fromkeys(turn.speaker for turn in sorted(turns, key=lambda turn: turn.onset)))
