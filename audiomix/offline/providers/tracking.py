"""Beats of many files: in this process, or in several. What comes out is the same, in the order of the paths."""

from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from ... import check
from ...audio import io
from ...audio.io import AudioError
from ...beats import BeatGrid
from ...beats.key import estimate
from ..cache import enough_memory
from ..parallel import TaskResult, WorkerDied, check_pickles, in_order, run_tasks
from ..progress import bar

__all__ = ["Tracked", "Tracks", "track_files"]

# Files that may be done while one before them is not: a song may take as long as this many others.
_AHEAD = 256


class Tracks(Protocol):
    """What finds the beats of a file, e.g. `audiomix.beats.track.Tracking`; for several workers it must pickle."""

    def file(self, path: str) -> BeatGrid:
        """Return the beats of the sound in a file."""
        ...


class Tracked(NamedTuple):
    """What became of a file: its beats and its duration in seconds, or the reason there are none."""

    path: str
    grid: BeatGrid | None = None
    seconds: float = 0.0
    reason: str = ""


def track_files(
    paths: Sequence[str], tracking: Tracks, *, workers: int = 1, progress: bool = True, keys: bool = False
) -> Generator[Tracked, None, None]:
    """Find the beats of many files.

    Parameters
    ----------
    paths : sequence of str
        The files.
    tracking : object with ``file(path) -> BeatGrid``
        Who finds them.
    workers : int
        Processes; 1 works in this one. Results do not depend on it.
    progress : bool
        Show a progress bar on stderr.
    keys : bool
        Estimate the key too (`audiomix.beats.key.estimate`), where a grid has none.

    Yields
    ------
    Tracked
        One for each path, in their order. A file that fails, for whatever reason, has the reason and stops nothing.

    Raises
    ------
    TypeError, ValueError
        A wrong argument; at the call, not at the first result.
    RunStopped
        The workers do not start.

    Examples
    --------
    >>> class Steady:
    ...     def file(self, path):
    ...         return BeatGrid([0.0, 0.5, 1.0])
    >>> [(t.path, t.grid.bpm) for t in track_files(["a.wav"], Steady(), progress=False)]
    [('a.wav', 120.0)]
    """
    if isinstance(paths, (str, bytes)):
        check.fail("paths", "a sequence of paths", repr(paths), "did you mean [path]?", TypeError)
    if not callable(getattr(tracking, "file", None)):
        expected, slip = "an object with file(path) -> BeatGrid", "did you mean Tracking(...)?"
        check.fail("tracking", expected, repr(tracking), slip, TypeError)
    paths = [str(path) for path in paths]
    if min(check.integer("workers", workers, 1), len(paths)) > 1:
        check_pickles("tracking", tracking)
    results = run_tasks(_Tracker, (tracking, keys), paths, workers=workers, on_death="report", ahead=_AHEAD)
    return _collect(results, len(paths), progress)


def _collect(results: Generator[TaskResult, None, None], total: int, progress: bool) -> Generator[Tracked, None, None]:
    """Yield what became of the files in the order of the paths; the bar goes on with whichever file is done."""
    with closing(results), bar(total, 0, 0.0, progress, "finding beats") as advance:

        def advance_bar() -> Generator[TaskResult, None, None]:
            for result in results:
                advance(result.value.seconds if result.value else 0.0)
                yield result

        for result in in_order(advance_bar()):
            error = result.error
            if error is None:
                yield result.value
            elif isinstance(error, WorkerDied):
                yield Tracked(result.task, reason=f"the worker ended while it was at this file ({error.how})")
            else:  # grids that do not pickle
                yield Tracked(result.task, reason=f"{type(error).__name__}: {error}")


@dataclass(frozen=True)
class _Tracker:
    """Tracks one file after another; whatever is raised is about that file."""

    tracking: Tracks
    keys: bool

    def __call__(self, path: str) -> Tracked:
        try:
            with enough_memory(path, " to find its beats"):
                grid = self.tracking.file(path)
                if self.keys and grid.key is None:
                    clip = io.read(path)
                    grid = replace(grid, key=estimate(clip.samples, clip.rate)[0])
                seconds = 0.0
                with suppress(AudioError):  # the duration is for the progress bar only
                    seconds = io.info(path).seconds
                return Tracked(path, grid, seconds)
        except (AudioError, ValueError, FileNotFoundError) as error:  # the file, or its annotation
            return Tracked(path, reason=str(error).replace(f"{path}: ", ""))
        except Exception as error:  # a tracker is other people's code, and one file in it must not end a run
            return Tracked(path, reason=f"{type(error).__name__}: {error}")
