"""The time that is left, and the shares of it that the parts have."""

from __future__ import annotations

import time
from collections.abc import Callable


class Budget:
    """So many seconds from now on.

    Parameters
    ----------
    seconds : float
    clock : callable
        Returns the time in seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = clock() + seconds

    @property
    def left(self) -> float:
        """Seconds that are left; 0 where it is over."""
        return max(0.0, self._end - self._clock())

    def share(self, fraction: float) -> Budget:
        """Return a fraction of what is left as a budget of its own."""
        return Budget(fraction * self.left, self._clock)
