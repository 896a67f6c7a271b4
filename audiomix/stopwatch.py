"""Which share of a run's time each stage of it takes."""

import time
from collections.abc import Iterator, Mapping
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
    seconds : dict of str to float
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
        self.seconds: dict[str, float] = {}
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
        found, self.seconds = self.seconds, {}
        return found

    def add(self, seconds: Mapping[str, float]) -> None:
        """Add seconds by stage that were counted elsewhere."""
        for name, more in seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + more

    def describe(self) -> str:
        """Return the shares in words, the largest first."""
        total = sum(self.seconds.values()) or 1.0
        ordered = sorted(self.seconds.items(), key=lambda one: -one[1])
        shares = ", ".join(f"{name} {seconds / total:.1%}" for name, seconds in ordered)
        return f"of {total:.1f} s in all processes: {shares}"

    def _turn(self) -> None:
        now = time.perf_counter()
        if self._stages:
            self.add({self._stages[-1]: now - self._since})
        self._since = now
