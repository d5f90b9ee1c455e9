"""Forked children: hooks, locks that a child finds free, and memory that it finds zeroed."""

from __future__ import annotations

import _thread
import ctypes
import os
import sys
from collections.abc import Callable

_WIPE_ON_FORK = 18  # Linux 4.14; the mmap module does not name it


def at_fork(**hooks: Callable[[], object]) -> None:
    """Register hooks as `os.register_at_fork` does; where no process forks, as on Windows, none is ever called."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(**hooks)


def wipe_on_fork(address: int, length: int) -> None:
    """Zero whole pages in a forked child: by the kernel, or, where that cannot do it, by a hook.

    The kernel does it at each fork, `os.fork` or not.
    """
    if sys.platform == "linux":
        madvise = ctypes.CDLL(None).madvise
        madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
        if madvise(address, length, _WIPE_ON_FORK) == 0:
            return
    at_fork(after_in_child=lambda: ctypes.memset(address, 0, length))


class Lock:
    """A reentrant lock that no forked child finds held by a thread which the child lacks.

    A fork waits for it. What is held for longer than `patience` is a new lock in the child, and `abandon` is called
    there: another thread of the parent was in the middle of something.

    Parameters
    ----------
    patience : float
        Seconds. Other modules' locks may be held over the fork, as that of logging is, and the holder may need those.
    abandon : callable
    """

    # Not from threading, which takes 1.3 ms to import and is needed at the first call.

    def __init__(self, patience: float = 0.0, abandon: Callable[[], object] = lambda: None) -> None:
        self.patience, self.abandon = patience, abandon
        self._lock = _thread.RLock()
        self._held: list[bool] = []
        self.register()

    def register(self) -> None:
        """Make forks wait here; registered once more, before they take the locks of what has registered since."""
        at_fork(before=self._before, after_in_parent=self._in_parent, after_in_child=self._in_child)

    def acquire(self, timeout: float = -1) -> bool:
        """Wait for the lock; return whether it is held."""
        return self._lock.acquire(timeout=timeout)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def _before(self) -> None:
        self._held.append(self._lock.acquire(timeout=self.patience))

    def _in_parent(self) -> None:
        if self._held.pop():
            self._lock.release()

    def _in_child(self) -> None:
        if self._held.pop():
            self._lock.release()
        else:
            self._lock = _thread.RLock()
            self.abandon()
