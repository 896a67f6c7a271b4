"""Who speaks when, as a file: RTTM (Rich Transcription Time Marked), written and read.

A line for each turn, ten fields with a space between: ``SPEAKER file channel onset duration <NA> <NA> speaker <NA>
<NA>``, times in seconds. The format is NIST's ("The 2009 (RT-09) Rich Transcription Meeting Recognition Evaluation
Plan", appendix A), in the form that dscore, pyannote and Kaldi read; what is written here they all take.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from .. import check

__all__ = ["Turn", "format_rttm", "parse_rttm", "read_rttm", "write_rttm"]

# Fields of a line; evaluations up to 2009 had no signal lookahead time.
_FIELDS = (9, 10)
_NONE = "<NA>"
# All other types that the plan defines: they are no speech, or say something of what has lines of its own.
_OTHER_TYPES = (
    "NOSCORE", "NO_RT_METADATA", "SEGMENT", "LEXEME", "NON-LEX", "NON-SPEECH", "FILLER", "EDIT", "IP", "SU", "CB",
    "A/P", "SPKR-INFO",
)  # fmt: skip


class Turn(NamedTuple):
    """Somebody speaks, from an onset on, for some time.

    Parameters
    ----------
    speaker : str
        Their name.
    onset : float
        In seconds from the beginning of the recording.
    duration : float
        In seconds.
    file : str
        Name of the recording, without its suffix.
    channel : int
        From 1 on.

    Examples
    --------
    >>> Turn("ann", 0.5, 1.25).offset
    1.75
    """

    speaker: str
    onset: float
    duration: float
    file: str = "mix"
    channel: int = 1

    @property
    def offset(self) -> float:
        """When they stop, in seconds."""
        return self.onset + self.duration


def format_rttm(turns: Iterable[Turn]) -> str:
    """Return turns as the text of an RTTM file, times to the microsecond.

    Parameters
    ----------
    turns : iterable of Turn
        In the order in which they are to stand.

    Raises
    ------
    ValueError
        A name is empty or has a space in it, which ends a field; a time is no number of at least 0.

    Examples
    --------
    >>> print(format_rttm([Turn("ann", 0.5, 1.25, "call1")]), end="")
    SPEAKER call1 1 0.500000 1.250000 <NA> <NA> ann <NA> <NA>
    """
    lines = []
    for turn in turns:
        for name in ("file", "speaker"):
            value = getattr(turn, name)
            if not value or value == _NONE or value.split() != [value] or value.startswith(";;"):
                slip = f"{value.replace(' ', '_')!r}?" if value.strip() else "a name"
                check.fail(name, "a name without spaces", repr(value), slip)
        onset, duration = (check.number(name, getattr(turn, name), 0, 1e9) for name in ("onset", "duration"))
        fields = ("SPEAKER", turn.file, turn.channel, f"{onset:.6f}", f"{duration:.6f}")
        lines.append(" ".join(map(str, (*fields, _NONE, _NONE, turn.speaker, _NONE, _NONE))) + "\n")
    return "".join(lines)


def parse_rttm(text: str, name: str = "rttm") -> list[Turn]:
    """Return the turns of an RTTM file's text, in its order; lines of other types and comments (``;;``) are passed.

    Parameters
    ----------
    text : str
        What `format_rttm` returns, or any other RTTM of 9 or 10 fields. A channel of ``<NA>`` is the first one.
    name : str
        Of the file, for messages.

    Raises
    ------
    ValueError
        A line is no RTTM, or does not say who speaks: it is named with what is wrong.

    Examples
    --------
    >>> parse_rttm("SPEAKER call1 1 0.5 1.25 <NA> <NA> ann <NA> <NA>")
    [Turn(speaker='ann', onset=0.5, duration=1.25, file='call1', channel=1)]
    """
    turns = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        fields, place = line.split(), f"{name}, line {number}"
        if not fields or fields[0].startswith(";") or fields[0] in _OTHER_TYPES:
            continue
        if fields[0] != "SPEAKER" or len(fields) not in _FIELDS:
            slip = "times in whole samples? this is another format" if fields[0] == "END" else ""
            slip = "a name with a space in it?" if fields[0] == "SPEAKER" and len(fields) > max(_FIELDS) else slip
            check.fail(place, "SPEAKER and 8 or 9 further fields", repr(line[:80]), slip)
        _, file, channel, onset, duration, _, _, speaker = fields[:8]
        if _NONE in (file, speaker):
            check.fail(place, "a line that names the recording and who speaks", repr(line[:80]))
        try:
            turn = Turn(speaker, float(onset), float(duration), file, 1 if channel == _NONE else int(channel))
        except ValueError as error:
            check.fail(place, "a channel and two times in seconds", repr(line[:80]), str(error))
        for what in ("onset", "duration"):
            check.number(f"{place}: {what}", getattr(turn, what), 0, 1e9)
        turns.append(turn)
    return turns


def write_rttm(path: str | Path, turns: Iterable[Turn]) -> None:
    """Write turns to an RTTM file; see `format_rttm`.

    Parameters
    ----------
    path : str or Path
        The file. It may hold many recordings.
    turns : iterable of Turn
        In the order in which they are to stand.

    See Also
    --------
    audiomix.read_rttm : the other way.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_rttm(Path(folder) / "call1.rttm", [Turn("ann", 0.5, 1.25, "call1")])
    ...     print((Path(folder) / "call1.rttm").read_text(), end="")
    SPEAKER call1 1 0.500000 1.250000 <NA> <NA> ann <NA> <NA>
    """
    Path(path).write_text(format_rttm(turns), encoding="utf-8")


def read_rttm(path: str | Path) -> list[Turn]:
    """Return the turns of an RTTM file, in its order; see `parse_rttm`.

    Parameters
    ----------
    path : str or Path
        The file, in UTF-8.

    Raises
    ------
    ValueError
        It is not text in UTF-8, or a line is no RTTM: the line is named with what is wrong.

    See Also
    --------
    audiomix.write_rttm : the other way.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_rttm(Path(folder) / "call1.rttm", [Turn("ann", 0.5, 1.25, "call1")])
    ...     read_rttm(Path(folder) / "call1.rttm")
    [Turn(speaker='ann', onset=0.5, duration=1.25, file='call1', channel=1)]
    """
    data = Path(path).read_bytes()
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        got = f"byte 0x{data[error.start]:02x} in {data[max(0, error.start - 10) : error.start + 10]!r}"
        slip = "UTF-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "Latin-1"
        number = data[: error.start].count(b"\n") + 1
        check.fail(f"{path}, line {number}", "text in UTF-8", got, f"{slip}? save it as UTF-8")
    return parse_rttm(text, str(path))
