"""Rooms of a run: an original, and its partners where asked for, are reverberant before they are mixed.

What the mixer measures is then the level of reverberant sound: an SNR is that of reverberant speech.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ... import check, draw
from ...datasets.item import Item
from ...mixer import Mixer
from ...schedule import Schedule
from ...transforms.room import Room, RoomPlan
from ..fit import Pair

__all__ = ["Rooms", "place_rooms", "read_rooms"]

# Rate at which responses are read to be checked, in Hz; they are read again at that of each file.
_ANY_RATE = 16000


@dataclass(frozen=True, eq=False)
class Rooms:
    """Impulse responses, and which sounds of a mix are convolved with one.

    Parameters
    ----------
    room : Room
        Draws a response for each sound; its options hold, such as `p` and `normalise`.
    partners : bool
        Bring the partners into rooms too. Each sound has a response of its own; sounds of one group, such as the
        utterances of one speaker, share theirs.
    """

    room: Room
    partners: bool = False
    _made: dict[int, Mixer] = field(default_factory=dict)

    def apply(self, pair: Pair, items: Sequence[Item], *, seed: int, copy: int) -> Pair:
        """Return the sounds of a mix in their rooms, and the names of these.

        Parameters
        ----------
        pair : Pair
            As the mixer would get it.
        items : sequence of Item
            The original and its partners, in the order of the pair.
        seed, copy : int
            What the draws depend on, with the id of the original and the group of each sound.

        Raises
        ------
        ValueError
            The responses have other channels than the sounds.
        """
        first = items[0]
        ids = [(seed, "room", first.id, copy, item.group or item.id) for item in items]
        x, name = self._apply(pair.x, pair.lengths, pair.rate, ids[0])
        names: list[str | None] = [name, *([None] * (len(items) - 1))]
        if not self.partners:
            return replace(pair, x=x, rooms=tuple(names))
        other = torch.empty_like(pair.other)
        for k in range(len(other)):
            row = slice(k, k + 1)
            end = None if pair.other_lengths is None else pair.other_lengths[row]
            other[row], names[1 + k] = self._apply(pair.other[row], end, pair.rate, ids[1 + k])
        return replace(pair, x=x, other=other, rooms=tuple(names))

    def describe(self) -> dict[str, Any]:
        """Return what the sounds depend on, as plain values: the responses by the digest of their samples."""
        room = self.room
        weights = None if room.weights is None else torch.as_tensor(room.weights).tolist()
        options = {"normalise": room.normalise, "early_only": room.early_only, "channel": room.channel}
        return {"digest": room.digest, **options, "weights": weights, "p": str(Schedule.of(room.p)),
                "partners": self.partners}  # fmt: skip

    def _apply(self, x: Tensor, lengths: Tensor | None, rate: int, ids: tuple[Any, ...]) -> tuple[Tensor, str | None]:
        """Return a sound (1, C, T) in its room, as long as before, and the room's name; None where it is in none."""
        if rate not in self._made:
            self._made[rate] = self.room.at_rate(rate)
        mixed = self._made[rate](x, lengths=lengths, generator=draw.generator_for(*ids))
        plan = mixed.plans[0]
        assert isinstance(plan, RoomPlan)
        name = plan.names[0]  # that of a single file is its whole path
        return mixed.x, (name if len(self.room.names) > 1 else os.path.basename(name)) or None


def read_rooms(given: str | Path | Room, *, partners: bool, channel: int | None, share: float) -> Rooms:
    """Return the rooms of a run, their responses read and checked.

    Parameters
    ----------
    given : path or Room
        A folder, a manifest or one file of impulse responses; or a `Room`, whose own options hold.
    partners : bool
        See `Rooms`.
    channel : int, optional
        Take this channel of responses that have several.
    share : float
        How many of the sounds are brought into a room, from 0 to 1.

    Raises
    ------
    ValueError
        There is no response that can be used; options beside a `Room`, which has its own; one with tails.
    """
    if not isinstance(given, Room):
        share = check.number("room_share", share, 0, 1)
        return Rooms(Room(given, rate=_ANY_RATE, channel=channel, p=share), partners)
    for name, value, usual in (("room_channel", channel, None), ("room_share", share, 1.0)):
        if value != usual:
            check.fail(name, "left out beside a Room", value, "Room(..., channel=, p=) has it")
    return Rooms(given, partners)


def place_rooms(mixer: Mixer, rooms: Rooms | None, *, stems: bool) -> dict[str, Any]:
    """Return the mixer and the rooms of a run's `Settings`.

    A mixer with an option `room` gets the rooms: it places them itself, such as one for each speaker. For all others
    sounds are brought into rooms before they are mixed.

    Parameters
    ----------
    mixer : Mixer
        Of the run.
    rooms : Rooms, optional
        Of the run.
    stems : bool
        Whether stems are written.

    Raises
    ------
    ValueError
        The mixer has rooms of its own; stems that would not sum to the mix; rooms with tails for mixers whose clips
        keep their length.
    """
    if rooms is None:
        return {}
    options = mixer.options()
    if "room" not in options:
        if rooms.room.tail is not False:
            check.fail("room", "one that keeps the length of clips", f"tail={rooms.room.tail}", "tail=False")
        return {"rooms": rooms}
    if options["room"] is not None:
        check.fail("room", "left out beside a mixer with rooms", repr(mixer), "one of the two")
    if stems:
        slip = "a conversation in rooms is no sum of its utterances as they are"
        check.fail("stems", f"left out for a {type(mixer).__name__} with rooms", True, slip)
    return {"mixer": mixer.replace(room=rooms.room.at_rate(options.get("rate") or _ANY_RATE))}
