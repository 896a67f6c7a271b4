"""Rooms of a run: an original, and its partners where asked for, are reverberant before they are mixed.

What the mixer measures is then the level of reverberant sound: an SNR is that of reverberant speech.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from ... import check, draw
from ...audio.io import AudioError
from ...datasets.item import Item
from ...mixer import Mixer
from ...schedule import Schedule
from ...transforms.room import Room, RoomPlan
from ..fit import Pair

__all__ = ["Rooms", "find_altered", "place_rooms", "read_known_room", "read_known_rooms", "read_rooms"]

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
    altered : mapping of str to str
        Of rooms that are read again: what is wrong with some of them, by name. A mix that needs one is refused.
    """

    room: Room
    partners: bool = False
    altered: Mapping[str, str] = field(default_factory=dict)
    _made: dict[int, Mixer] = field(default_factory=dict)

    def apply(
        self, pair: Pair, items: Sequence[Item], *, seed: int, copy: int, known: Sequence[str | None] | None = None
    ) -> Pair:
        """Return the sounds of a mix in their rooms, and the names of these.

        Parameters
        ----------
        pair : Pair
            As the mixer would get it.
        items : sequence of Item
            The original and its partners, in the order of the pair.
        seed, copy : int
            What the draws depend on, with the id of the original and the group of each sound.
        known : sequence of (str or None), optional
            The names of the rooms of all sounds, of a mix that is made again: nothing is drawn.

        Raises
        ------
        AudioError
            A room that is known is not among the responses, or is another one now.
        ValueError
            The responses have other channels than the sounds.
        """
        rooms: list[str | None] = ["" if name is None else name for name in known] if known else [None] * len(items)
        first = items[0]
        ids = [(seed, "room", first.id, copy, item.group or item.id) for item in items]
        x, name = self._apply(pair.x, pair.lengths, pair.rate, ids[0], rooms[0])
        names: list[str | None] = [name, *([None] * (len(items) - 1))]
        if not self.partners:
            return replace(pair, x=x, rooms=tuple(names))
        other = torch.empty_like(pair.other)
        for k in range(len(other)):
            row = slice(k, k + 1)
            end = None if pair.other_lengths is None else pair.other_lengths[row]
            other[row], names[1 + k] = self._apply(pair.other[row], end, pair.rate, ids[1 + k], rooms[1 + k])
        return replace(pair, x=x, other=other, rooms=tuple(names))

    def describe(self) -> dict[str, Any]:
        """Return what the sounds depend on, as plain values: the responses by the digest of their samples."""
        room = self.room
        weights = None if room.weights is None else torch.as_tensor(room.weights).tolist()
        options = {"normalise": room.normalise, "early_only": room.early_only, "channel": room.channel}
        return {"digest": room.digest, **options, "weights": weights, "p": str(Schedule.of(room.p)),
                "partners": self.partners}  # fmt: skip

    @cached_property
    def hashes(self) -> dict[str, str]:
        """The hash of what each response decodes to, by name."""
        return _hashes(self.room)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.hashes)}

    def _apply(
        self, x: Tensor, lengths: Tensor | None, rate: int, ids: tuple[Any, ...], known: str | None
    ) -> tuple[Tensor, str | None]:
        """Return a sound (1, C, T) in its room, as long as before, and the room's name; None where it is in none.

        `known` is the name of the room, empty for none; None draws one.
        """
        if rate not in self._made:
            self._made[rate] = self.room.at_rate(rate)
        given = None if known is None else self._plan(known)
        mixed = self._made[rate](x, lengths=lengths, generator=draw.generator_for(*ids), plan=given)
        plan = mixed.plans[0]
        assert isinstance(plan, RoomPlan)
        return mixed.x, _short(plan.names[0], self.room) or None

    def _plan(self, name: str) -> RoomPlan:
        """Return the plan that puts a sound into the room of this name; into none where it is empty."""
        if name in self.altered:
            raise AudioError(self.altered[name])
        if name and name not in self._places:
            raise AudioError(f"missing impulse response: {name}")
        place = self._places[name] if name else -1
        return RoomPlan.of(1, room=torch.tensor([place]), names=(name,), digest=self.room.digest)


def _short(name: str, room: Room) -> str:
    """Return what a response is called in a manifest: that of a single file is not its whole path."""
    return name if len(room.names) > 1 else os.path.basename(name)


def _hashes(room: Room) -> dict[str, str]:
    return {_short(name, room): found for name, found in zip(room.names, room.hashes)}


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


def read_known_rooms(described: Mapping[str, Any], given: str | Path | Room, hashes: Mapping[str, str]) -> Rooms:
    """Return the rooms of a run whose mixes are made again, for all mixers but those that place rooms themselves.

    Parameters
    ----------
    described : mapping
        What `Rooms.describe` said of them.
    given : path or Room
        The impulse responses, as they were given to the run.
    hashes : mapping of str to str
        Of what each of them decoded to, by name; those that are missing or other ones now are refused mix by mix. Empty
        where that is not known: then all must be what they were.

    Raises
    ------
    ValueError
        There is no response that can be used; they are others than those of the run, and it is not known which.
    """
    options = {name: described[name] for name in ("normalise", "early_only", "channel")}
    if isinstance(given, Room):
        room = given.replace(**options, tail=False)
    else:
        room = Room(given, rate=_ANY_RATE, **options)
    if room.digest == described["digest"]:
        return Rooms(room, described["partners"])
    if not hashes:
        _fail_other(described["digest"], room)
    return Rooms(room, described["partners"], find_altered(room, hashes))


def read_known_room(
    described: Mapping[str, Any], given: str | Path | Room, hashes: Mapping[str, str] | None = None
) -> Room:
    """Return the room of a mixer that places rooms itself, as `Room.options` described it.

    Parameters
    ----------
    described : mapping
        Its options; the responses are a digest there.
    given : path or Room
        The impulse responses, as they were given to the run.
    hashes : mapping of str to str, optional
        Of what each of them decoded to, by name, so that a message can say which are others now.

    Raises
    ------
    ValueError
        There is no response that can be used, or they are others than those of the run: its plans count them.
    """
    options = {name: value for name, value in described.items() if name != "responses"}
    if isinstance(given, Room):
        room = given.replace(**options)
    else:
        room = Room(given, **options)
    if room.digest != described["responses"]:
        _fail_other(described["responses"], room, find_altered(room, hashes or {}).values())
    return room


def find_altered(room: Room, hashes: Mapping[str, str]) -> dict[str, str]:
    """Return what is wrong with the responses of a room, a sentence each, by name.

    Parameters
    ----------
    room : Room
        As it was read.
    hashes : mapping of str to str
        Of what each response decoded to before, by name.
    """
    here = _hashes(room)
    wrong = {name: f"missing impulse response: {name}" for name in hashes if name not in here}
    for name, found in here.items():
        if found != hashes.get(name, found):
            wrong[name] = f"altered impulse response: {name} decodes to other samples than when the mix was made"
    return wrong


def _fail_other(digest: str, room: Room, reasons: Iterable[str] = ()) -> NoReturn:
    slip = "; ".join(islice(reasons, 3)) or "the files that --room of augment was given, all of them and no others?"
    check.fail("room", f"the impulse responses of the run (digest {digest})", f"others (digest {room.digest})", slip)
