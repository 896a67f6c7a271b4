"""The progress of a run over files: how many are done, hours of audio, time left, what failed; and its report."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import check
from ..audio import io
from ..audio.io import AudioError
from ..datasets.item import Item
from ..terminal import Progress
from .cache import enough_memory
from .journal import RunStopped
from .partners.roles import is_original

if TYPE_CHECKING:
    from .write import Outcome

__all__ = ["ErrorLimit", "Report", "bad_partners", "bar", "describe_failures"]

_NAMED = 3  # files that a message names


@dataclass(frozen=True)
class Report:
    """What a run did.

    Parameters
    ----------
    path : Path or str
        The folder that was written; a URL where it is one.
    files : int
        Mixed files in it (0 for a dry run).
    seconds : float
        How long they sound.
    errors : tuple of dict
        Files that could not be read or mixed: ``file``, ``copies``, ``reason``; also in ``errors.jsonl``.
    text : str
        What a dry run prints.
    unlisted : tuple of str
        Audio files in an audiofolder that no row of its metadata lists: they are left out.
    captions_failed : bool
        A language model was asked for captions, and not one of its answers could be taken.
    remarks : tuple of str
        Who found the beats; which mixes could not be aligned, and why.
    """

    path: Path | str
    files: int = 0
    seconds: float = 0.0
    errors: tuple[dict[str, Any], ...] = ()
    text: str = ""
    unlisted: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    captions_failed: bool = False

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of, in sentences."""
        left = self.unlisted
        if not left:
            return self.remarks
        note = f"{len(left)} audio files that no row of the metadata lists are left out, e.g. {left[0]!r}"
        return (*self.remarks, note)

    @property
    def exit_code(self) -> int:
        """0, or 1 where files failed, or all captions of a language model did."""
        return 1 if self.errors or self.captions_failed else 0


@contextmanager
def bar(total: int, done: int, seconds: float, shown: bool, doing: str = "mixing") -> Iterator[Callable[[float], None]]:
    """Show progress on stderr; yields a function to call after each file, with its seconds of sound.

    Parameters
    ----------
    total : int
        Files of the run.
    done : int
        Files that an earlier start of the run has done.
    seconds : float
        Duration of the sound in these, in seconds.
    shown : bool
        False shows nothing.
    doing : str
        What is done.

    Examples
    --------
    >>> with bar(2, 0, 0.0, shown=False) as advance:
    ...     for seconds in (1.5, 2.0):
    ...         advance(seconds)
    """
    with Progress(shown=shown) as progress:
        task = progress.add_task(doing, total=total, completed=done, unit="files")

        def advance(more: float) -> None:
            nonlocal seconds
            seconds += more
            progress.advance(task, note=f"files, {seconds / 3600:.2f} h of audio")

        yield advance


class ErrorLimit:
    """Stops a run in which too many files fail.

    Parameters
    ----------
    most : int or None
        Files that may fail; None for any number.
    strict : bool
        The same as a `most` of 0.
    then : str
        What the message says of how to go on.

    Raises
    ------
    TypeError, ValueError
        `most` is no whole number from 0 on, or given together with `strict`.

    Examples
    --------
    >>> limit = ErrorLimit(1)
    >>> limit.add("a.wav", "empty file")
    >>> limit.add("b.wav", "truncated")
    Traceback (most recent call last):
    audiomix.offline.journal.RunStopped: 2 files could not be done, where max_errors is 1: a.wav (empty file); ...
    """

    def __init__(
        self,
        most: int | None = None,
        *,
        strict: bool = False,
        then: str = "What is done is kept; the same command goes on",
    ) -> None:
        if most is not None:
            check.integer("max_errors", most, 0)
            if strict and most:
                check.fail("max_errors", "left out or 0 with --strict", most, "--strict stops at the first error")
        self.most, self.then = 0 if strict else most, then
        self.errors: dict[str, str] = {}

    def add(self, file: str, reason: str) -> None:
        """Count a file that failed; one that is named again counts once.

        Parameters
        ----------
        file : str
            Its name.
        reason : str
            Why.

        Raises
        ------
        RunStopped
            That was one too many.
        """
        if self.most is None:
            return
        self.errors.setdefault(file, reason)
        if len(self.errors) <= self.most:
            return
        named = "; ".join(f"{name} ({why})" for name, why in [*self.errors.items()][:_NAMED])
        more = f"; and {len(self.errors) - _NAMED} more" if len(self.errors) > _NAMED else ""
        count = f"{len(self.errors)} file{'s' * (len(self.errors) > 1)} could not be done"
        raise RunStopped(f"{count}, where max_errors is {self.most}: {named}{more}. {self.then}")


def bad_partners(
    items: Sequence[Item], float_scale: float | None, failed: set[str], listed: set[str]
) -> list[dict[str, Any]]:
    """Return an entry for each file that no mix is made of and that could not be read as a partner.

    Parameters
    ----------
    items : sequence of Item
        All of the run.
    float_scale : float, optional
        As in `audiomix.audio.io.read`.
    failed, listed : set of str
        Ids of the files that could not be read, and of those that have an entry.
    """
    found: list[dict[str, Any]] = []
    for item in items if failed else ():
        if item.id in failed and item.id not in listed and not is_original(item):
            try:
                with enough_memory(item.path, " to read it"):
                    io.read(
                        item.path, start=item.start or 0.0, seconds=item.seconds, float_scale=float_scale
                    )
            except AudioError as error:
                reason = str(error).replace(f"{item.path}: ", "")
                found.append({"file": item.id, "copies": [], "reason": reason + item.where})
    return found


def describe_failures(
    failed: "list[Outcome]", item_of: Callable[[int], Item], copies: int
) -> list[dict[str, Any]]:
    """Return one entry for each file and reason, in the order of the source.

    Parameters
    ----------
    failed : list of Outcome
        Those with a reason.
    item_of : callable
        Returns the original of a task, given by its number.
    copies : int
        Mixes of each item.
    """
    found: dict[tuple[str, str], list[int]] = {}
    for outcome in sorted(failed):
        item = item_of(outcome.number)
        found.setdefault((item.id, outcome.reason + item.where), []).append(outcome.number % copies)
    return [{"file": name, "copies": done, "reason": reason} for (name, reason), done in found.items()]
