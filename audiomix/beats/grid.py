"""`BeatGrid`: where the beats of a piece are, where its bars begin, and who found them."""

import json
import math
from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import check, display
from ..audio.io import atomic_file
from .annotation import CLOSEST, LEAST, jams_dict, read_annotation, usual_bar
from .key import parse

__all__ = ["BeatGrid"]

_WHOLE = 0.95  # of a beat: as much of the last one has to be there, for trackers err by some
# Longer than any beat (6 bpm), so such a "time" is a sample's number.
_LONGEST = 10.0


_State = tuple["array[float]", "array[int] | None", int | None, float | None, str, float, str | None, tuple[str, ...]]


@dataclass(frozen=True)
class BeatGrid:
    """Beat times of a piece and what is known about them.

    Parameters
    ----------
    times : sequence of float
        Beat times in seconds, ascending, none negative. None or one is allowed: such a piece has no tempo.
    positions : sequence of int, optional
        Position of each beat in its bar, 1 for a downbeat. None: the bar phase is unknown.
    metre : int, optional
        Beats in the usual bar; some bars may have more or fewer. Where it is not given it is read from `positions`
        (`audiomix.beats.annotation.usual_bar`).
    confidence : float, optional
        How likely the beats are right, in [0, 1]: 1 for those that a person gives, and what
        `audiomix.beats.confidence.estimate_confidence` says of a tracker's. None: it was not estimated.
    tracker : str
        Who made the grid: a tracker's name, or ``given``.
    step : float
        Time resolution of the tracker in seconds: each time is off by up to half of it. 0 for annotations. `smooth`
        takes it back out.
    key : str, optional
        Key of the piece where it is known, e.g. ``A minor``; see `audiomix.beats.key`.
    notes : tuple of str
        What was put right when an annotation was read: beats that were merged or dropped.

    Raises
    ------
    TypeError, ValueError
        Times that are unsorted, repeated, negative, not finite, or look like samples; positions that do not fit.

    Examples
    --------
    >>> grid = BeatGrid([0.0, 0.5, 1.0, 1.5, 2.0], [1, 2, 3, 4, 1])
    >>> round(grid.bpm, 6), grid.metre, grid.downbeats.tolist()
    (120.0, 4, [0, 4])
    """

    times: Sequence[float]
    positions: Sequence[int] | None = None
    metre: int | None = None
    confidence: float | None = 1.0
    tracker: str = "given"
    step: float = 0.0
    key: str | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        times = _times(self.times)
        object.__setattr__(self, "times", times)
        if self.positions is not None:
            positions = tuple(check.integer("positions", p, 1) for p in self.positions)
            if len(positions) != len(times):
                check.fail("positions", f"{len(times)}, one for each beat", len(positions))
            object.__setattr__(self, "positions", positions if times else None)
        if self.metre is not None:
            check.integer("metre", self.metre, 1)
        elif self.positions:
            object.__setattr__(self, "metre", usual_bar(self.positions))
        if self.confidence is not None:
            object.__setattr__(self, "confidence", check.fraction("confidence", self.confidence))
        check.number("step", self.step, 0, 1)
        if self.key is not None:
            object.__setattr__(self, "key", parse(self.key))
        object.__setattr__(self, "notes", tuple(self.notes))

    def __len__(self) -> int:
        return len(self.times)

    @property
    def array(self) -> np.ndarray:
        """Beat times as an array, float64, seconds."""
        return np.asarray(self.times, dtype=np.float64)

    @property
    def bpm(self) -> float | None:
        """Tempo in beats a minute: of the mean of all intervals within a quarter of their median; None without two."""
        if len(self.times) < 2:
            return None
        intervals = np.diff(self.array)
        middle = float(np.median(intervals))
        usual = intervals[np.abs(intervals - middle) <= 0.25 * middle]
        return 60.0 / float(usual.mean() if len(usual) else middle)

    @property
    def phase_known(self) -> bool:
        """Whether it is known which beats are downbeats."""
        return self.positions is not None

    @property
    def downbeats(self) -> np.ndarray:
        """Which beats are downbeats, as indices; empty where the bar phase is unknown."""
        return np.flatnonzero(np.asarray(self.positions or (), dtype=np.int64) == 1)

    def is_sure(self, least: float) -> bool:
        """Whether the confidence is at least `least`, in [0, 1]; where it was not estimated, nobody doubts it."""
        return self.confidence is None or self.confidence >= least

    def __getstate__(self) -> _State:
        """Return all that it holds, compactly: 9 bytes a beat."""
        positions = None
        if self.positions is not None:
            positions = array("B" if max(self.positions, default=0) < 256 else "q", self.positions)
        times = array("d", self.times)
        return times, positions, self.metre, self.confidence, self.tracker, self.step, self.key, self.notes

    def __setstate__(self, state: _State) -> None:
        """Restore what `__getstate__` returned; it was checked when the grid was made."""
        times, positions, *rest = state
        values = [tuple(times), None if positions is None else tuple(positions), *rest]
        for field, value in zip(fields(self), values):
            object.__setattr__(self, field.name, value)

    def smooth(self) -> "BeatGrid":
        """Return the grid without its tracker's time steps.

        A step of 10 ms is 2 % of a beat at 120 bpm: warped along it, a sound's rate would jitter as much. The result is
        the smoothest sequence (least sum of squared third differences, so that a steady change of tempo costs nothing)
        whose root mean square distance from the times is that of rounding to `step`: step / sqrt(12). Whittaker's
        smoother with the strength set by the discrepancy principle. Nothing changes where `step` is 0.
        """
        order = min(3, len(self.times) - 2)
        if self.step == 0 or order < 1:
            return self
        smoothed = np.maximum(_whittaker(self.array, self.step / math.sqrt(12), order), 0.0)
        if (np.diff(smoothed) < LEAST).any():
            return replace(self, step=0.0)
        return replace(self, times=tuple(smoothed.tolist()), step=0.0)

    def check_within(self, seconds: float, name: str = "beats") -> "BeatGrid":
        """Return the grid, if no beat lies more than 0.1 s behind the end of a sound of this many seconds.

        Beats up to 0.1 s behind the end (a tracker's rounding) are left out.

        Parameters
        ----------
        seconds : float
            How long the sound is.
        name : str
            What the grid is called in the message.

        Raises
        ------
        ValueError
            A beat lies behind the end.
        """
        if self.times and self.times[-1] > seconds + 0.1:
            slip = "did you pass samples?" if self.times[-1] > 20 * max(seconds, 1.0) else "of another sound?"
            check.fail(name, f"in seconds within the {seconds:.2f} s of the sound", f"{self.times[-1]:g}", slip)
        return self.between(0.0, seconds)

    def between(self, start: float, stop: float) -> "BeatGrid":
        """Return the beats of a part of the piece, counted from its start.

        Parameters
        ----------
        start, stop : float
            Seconds, both included.
        """
        kept = [i for i, t in enumerate(self.times) if start <= t <= stop]
        positions = None if self.positions is None else tuple(self.positions[i] for i in kept)
        return replace(self, times=tuple(self.times[i] - start for i in kept), positions=positions)

    def close(self, seconds: float) -> "BeatGrid":
        """Return the grid with the beat that follows its last one, if the sound lasts until there.

        A loop of 8 beats is two bars long: its last beat lasts until its end, where the first one follows. The last
        interval is repeated; where up to a twentieth of it is missing, the end of the sound is taken.

        Parameters
        ----------
        seconds : float
            How long the sound is.

        Examples
        --------
        >>> loop = BeatGrid([0.0, 0.5, 1.0, 1.5], [1, 2, 3, 4])
        >>> loop.close(2.0).times, loop.close(2.0).positions
        ((0.0, 0.5, 1.0, 1.5, 2.0), (1, 2, 3, 4, 1))
        >>> loop.close(1.8) == loop
        True
        """
        if len(self.times) < 2:
            return self
        beat = self.times[-1] - self.times[-2]
        if self.times[-1] + _WHOLE * beat > seconds:
            return self
        position = None
        if self.positions is not None:
            position = (*self.positions, 1 if self.positions[-1] >= (self.metre or 1) else self.positions[-1] + 1)
        return replace(self, times=(*self.times, min(self.times[-1] + beat, seconds)), positions=position)

    @classmethod
    def of(cls, value: Any, name: str = "beats") -> "BeatGrid":
        """Return a value as a grid.

        Parameters
        ----------
        value : BeatGrid, or sequence, array or tensor of float
            A grid, which comes back as it is, or beat times in seconds.
        name : str
            What it is called in a message.

        Raises
        ------
        TypeError, ValueError
            Neither a grid nor beat times.
        """
        if isinstance(value, BeatGrid):
            return value
        if value is None or isinstance(value, (str, bytes, int, float)):
            got = repr(value)
            check.fail(name, "a BeatGrid or a list of beat times in seconds", got, "BeatGrid.read(path)?", TypeError)
        return cls(value)

    @classmethod
    def read(cls, path: str | Path) -> "BeatGrid":
        """Read an annotation: a ``.beats`` text, a table of labels, or a JAMS file.

        See `audiomix.beats.annotation.read_annotation` for what is read, and for what is put right and told in the
        notes. A file in which some beats have a position and some have none leaves the bar phase unknown.

        Parameters
        ----------
        path : path
            The file, in UTF-8; ``.jams`` for JAMS.

        Raises
        ------
        ValueError
            A line that is not a time, positions that do not step, or times that make no grid; the message names file
            and line.
        """
        found = read_annotation(path)
        try:
            return cls(found.times, found.positions, tracker="file", key=found.key, notes=found.notes)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def write(self, path: str | Path, *, seconds: float | None = None) -> Path:
        """Write an annotation, whole or not at all: a ``.beats`` text, times to the microsecond, or a JAMS file.

        Parameters
        ----------
        path : path
            Where to; comes back. ``.jams`` for JAMS.
        seconds : float, optional
            Length of the sound, for JAMS; by default that of its last beat.
        """
        path = Path(path)
        if path.suffix.lower() == ".jams":
            length = (self.times[-1] if self.times else 0.0) if seconds is None else seconds
            content = json.dumps(jams_dict(self.times, self.positions, length, self.tracker), indent=1)
        else:
            positions: Sequence[Any] = self.positions or [None] * len(self.times)
            lines = [f"{t:.6f}\n" if p is None else f"{t:.6f}\t{p}\n" for t, p in zip(self.times, positions)]
            content = "".join([*([f"# key: {self.key}\n"] if self.key else []), *lines])
        with atomic_file(path) as file:
            file.write(content.encode())
        return path

    def _repr_html_(self) -> str:
        return display.html(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the grid as plain values, for JSON; `from_dict` gives it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "BeatGrid":
        """Return the grid that `to_dict` described.

        Parameters
        ----------
        values : dict
            From `to_dict`, or read from JSON.

        Raises
        ------
        TypeError, ValueError
            Values that make no grid.
        """
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            check.fail("values", "those of BeatGrid.to_dict", sorted(unknown))
        return cls(**values)


def _times(times: Any) -> tuple[float, ...]:
    values = times.tolist() if hasattr(times, "tolist") else list(times)
    if isinstance(times, tuple) and any(hasattr(value, "__len__") and not isinstance(value, str) for value in values):
        check.fail("times", "one-dimensional, in seconds", "several sequences", "beats and downbeats? positions= tells")
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        check.fail("times", "one-dimensional, in seconds", f"shape {array.shape}", "times[:, 0]?")
    if not np.isfinite(array).all():
        check.fail("times", "finite", "NaN or infinity")
    if len(array) and array.min() < 0:
        check.fail("times", "0 or later, in seconds", f"{array.min():g}")
    steps = np.diff(array)
    if (steps <= 0).any():
        at = int(np.flatnonzero(steps <= 0)[0])
        check.fail("times", "ascending", f"{array[at]:g} before {array[at + 1]:g}", "sorted, each beat once?")
    if len(steps) and np.median(steps) > _LONGEST:
        check.fail("times", "in seconds", f"{np.median(steps):g} from beat to beat", "did you pass samples?")
    if (steps < LEAST).any():
        at = int(np.flatnonzero(steps < LEAST)[0])
        got = f"{array[at]:g} and {array[at + 1]:g}"
        check.fail("times", f"at least {CLOSEST:g} s apart", got, "beats, not onsets; did you pass minutes?")
    return tuple(array.tolist())


def _whittaker(times: np.ndarray, distance: float, order: int) -> np.ndarray:
    """Minimise |z - t|^2 + strength |D z|^2 with the strength at which rms(z - t) is `distance`."""
    from scipy.linalg import solveh_banded

    differences = np.array([(-1) ** k * math.comb(order, k) for k in range(order + 1)], dtype=np.float64)
    size = len(times)
    penalty = np.zeros((order + 1, size))  # upper bands of D'D
    for row in range(size - order):
        for i in range(order + 1):
            for j in range(i, order + 1):
                penalty[order - (j - i), row + j] += differences[i] * differences[j]
    anchor = np.zeros_like(penalty)
    anchor[-1] = 1.0
    best = times
    low, high = -3.0, 6.0  # log10 of the strength; the residual grows with it
    for _ in range(24):
        middle = (low + high) / 2
        smoothed = solveh_banded(anchor + 10**middle * penalty, times)
        if math.sqrt(float(np.mean((smoothed - times) ** 2))) <= distance:
            low, best = middle, smoothed
        else:
            high = middle
    return best
