"""What a mixer works on and asks for: `Needs`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from . import check

__all__ = ["EMBEDDING", "SPECTROGRAM", "STEMS", "STREAM", "WAVE", "Needs"]

WAVE, SPECTROGRAM, EMBEDDING, STREAM, STEMS = "wave", "spectrogram", "embedding", "stream", "stems"


@dataclass(frozen=True)
class Needs:
    """What a mixer works on and asks for: data that it computes from its options.

    Parameters
    ----------
    domain : frozenset of str
        What `x` may be: ``wave``, ``spectrogram``, ``embedding``, ``stream`` (features along time, (B, N, D)),
        ``stems`` (the sounds that sum to a mix, (B, S, C, T)).
    notes : mapping
        Which notes of the clips it uses, by name (``beats``, ``captions``: a field of `audiomix.clips.Notes`), and what
        is asked of whoever finds them: `audiomix.beats.match.BeatQuery`, `audiomix.captions.templates.CaptionQuery`.
    partner : str
        ``fitted``: partners are cut or padded to the original's length. ``whole``: the mixer chooses what of a partner
        is heard.
    sources : (int, int)
        Least and largest number of sounds in a mix, the original included.
    length : str
        ``kept``: a mix is as long as its original. ``free``: it may be shorter or longer.
    target : bool
        Whether labels are mixed, so that partners of a second batch need theirs.
    pictures : bool
        Whether the plan also says how pictures are mixed, so that films may be given.
    summed : bool
        Whether a mix is the sum of the plan's parts: samples, frames or decibels are added.
    axes : bool
        Whether it cuts, moves or masks along time or frequency, so that it must be right which axis is which.
    caption : str
        What a manifest says of a mix: the ``original``'s caption, those of both ``joined``, or one that the plan has
        ``written``.

    Examples
    --------
    >>> from audiomix import BeatMix, CutMix
    >>> sorted(CutMix().needs.domain), list(BeatMix(rate=16000).needs.notes)
    (['spectrogram', 'wave'], ['beats'])
    """

    domain: frozenset[str] = frozenset({WAVE, SPECTROGRAM, EMBEDDING})
    notes: Mapping[str, Any] = field(default_factory=dict)
    partner: Literal["fitted", "whole"] = "fitted"
    sources: tuple[int, int] = (2, 2)
    length: Literal["kept", "free"] = "kept"
    target: bool = True
    pictures: bool = False
    summed: bool = True
    axes: bool = False
    caption: Literal["original", "joined", "written"] = "original"

    def __or__(self, other: "Needs") -> "Needs":
        """Return what two mixers need of which either may be chosen.

        Raises
        ------
        ValueError
            There is nothing that both work on, or they ask differently for the same notes.
        """
        if not self.domain & other.domain:
            expected = "mixers that work on the same kind of input"
            check.fail("mixers", expected, f"one of {sorted(self.domain)} and one of {sorted(other.domain)}")
        for name in self.notes.keys() & other.notes.keys():
            if self.notes[name] != other.notes[name]:
                check.fail("mixers", f"mixers that ask alike for {name}", f"{self.notes[name]} and {other.notes[name]}")
        return Needs(
            domain=self.domain & other.domain,
            notes={**self.notes, **other.notes},
            partner="whole" if "whole" in (self.partner, other.partner) else "fitted",
            sources=(min(self.sources[0], other.sources[0]), max(self.sources[1], other.sources[1])),
            length="free" if "free" in (self.length, other.length) else "kept",
            target=self.target or other.target,
            pictures=self.pictures and other.pictures,
            summed=self.summed and other.summed,
            axes=self.axes or other.axes,
            caption=next((c for c in ("written", "joined") if c in (self.caption, other.caption)), "original"),  # type: ignore[arg-type]
        )
