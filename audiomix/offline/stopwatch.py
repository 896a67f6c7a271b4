"""Which share of a run's time each stage of it takes."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Stopwatch"]


class Stopwatch:
    """Adds up the seconds of stages; time within an inner stage is not the outer one's.

    Parameters
    ----------
    running : bool
        False measures nothing and costs next to nothing.

    Attributes
    ----------
    seconds : Counter of str to float
        By stage.

    Examples
    --------
    >>> watch = Stopwatch()
    >>> with watch.stage("mix"), watch.stage("read"):
    ...     pass
    >>> sorted(watch.seconds)
    ['mix', 'read']
    """

    def __init__(self, *, running: bool = True) -> None:
        self.running = running
        self.seconds: Counter[str] = Counter()
        self._stages: list[str] = []
        self._since = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the seconds of the block to a stage."""
        if not self.running:
            yield
            return
        self._turn()
        self._stages.append(name)
        try:
            yield
        finally:
            self._turn()
            self._stages.pop()

    def take(self) -> dict[str, float]:
        """Return what was counted since the last call, and count anew."""
        found, self.seconds = dict(self.seconds), Counter()
        return found

    def describe(self) -> str:
        """Return the shares in words, the largest first."""
        total = self.seconds.total() or 1.0
        shares = ", ".join(f"{name} {seconds / total:.1%}" for name, seconds in self.seconds.most_common())
        return f"of {total:.1f} s in all processes: {shares}"

    def _turn(self) -> None:
        now = time.perf_counter()
        if self._stages:
            self.seconds[self._stages[-1]] += now - self._since  # type: ignore[assignment]
        self._since = now
