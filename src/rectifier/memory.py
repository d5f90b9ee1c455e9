"""The memory of large outputs: how much is held for reuse, its bound, and its release.

A fresh page of memory costs more than the arithmetic on it, so the memory of a large output is not returned to the
system when the array dies, but held for the next output of about that size. An array that is alive is never touched:
it owns its memory, and may be viewed, pickled, resized and passed to threads and forked processes as any other.

What is held never exceeds a bound: an eighth of the memory that the process may use, at most 1 GiB, or what the
environment variable ``RECTIFIER_POOL_BYTES`` says ("0", "268435456", "256MiB").

Examples
--------
>>> from rectifier import memory
>>> memory.set_bound(256 * 2**20)
>>> memory.statistics().held_bytes <= memory.bound()
True
>>> released = memory.clear()
>>> memory.statistics().held_bytes
0
"""

from __future__ import annotations

from typing import NamedTuple, SupportsIndex

from .engine import memory as _pool
from .engine.options import POOL_BYTES

__all__ = ["Statistics", "bound", "clear", "set_bound", "statistics"]


class Statistics(NamedTuple):
    """The state of the pool at one instant.

    Attributes
    ----------
    held_bytes, held_blocks : int
        Memory held for reuse; the bytes never exceed the bound.
    live_bytes, live_blocks : int
        Memory of arrays that are alive and came from the pool.
    hits, misses : int
        How many outputs reused memory, and how many found none that fits. A forked child begins with zero.
    peak_bytes : int
        The most that live and held memory came to together.
    """

    held_bytes: int
    held_blocks: int
    live_bytes: int
    live_blocks: int
    hits: int
    misses: int
    peak_bytes: int


def statistics() -> Statistics:
    """Return the state of the pool.

    Returns
    -------
    Statistics
        All zero before the first large output.
    """
    return Statistics(**_pool.snapshot())


def bound() -> int:
    """Return how many bytes the pool may hold.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If ``RECTIFIER_POOL_BYTES`` is no number of bytes.
    """
    return POOL_BYTES.in_force()[0]


def set_bound(nbytes: SupportsIndex) -> None:
    """Set how many bytes the pool may hold; what is above it goes back to the system at once.

    Parameters
    ----------
    nbytes : int
        0 switches the pool off: large outputs then come from NumPy's own allocator.

    Raises
    ------
    TypeError
        If `nbytes` is no integer.
    ValueError
        If it is negative.
    """
    POOL_BYTES.set(nbytes)


def clear() -> int:
    """Release all held memory to the system; arrays that are alive keep theirs.

    Returns
    -------
    int
        How many bytes that were.
    """
    return _pool.trim(0)
