"""A careful measurement of this machine: from where results go past the caches, how far ahead inputs are fetched.

What is found is kept in the store, and where the processes that come after begin. They go on learning from there, since
the neighbours on a shared machine change (`engine.runtime.streaming`).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import relu
from ..engine import calibration, limits, process
from ..engine.settings import settings
from .progress import Start, silent

FETCHES = (4, 8, 16, 32, 64)  # lines
ROUNDS = 15
CLEARLY = 1.05  # what another distance must be better by, not to be taken for one that is so by chance
LARGEST, SHARE = 1 << 28, 16  # bytes of a result, of which there are three; and the part of the memory that one may be


@dataclass(frozen=True)
class Point:
    """The times of one call in both ways of writing its result.

    Attributes
    ----------
    threads, nbytes : int
        Of the call, and of its result.
    operation : str
        "value" or "backward".
    through, past : float
        Median seconds through the caches and past them.
    ratio : float
        Median over the rounds of the first divided by the second: above 1, past them is faster.
    """

    threads: int
    nbytes: int
    operation: str
    through: float
    past: float
    ratio: float


@dataclass(frozen=True)
class Tuning:
    """The results of a tuning.

    Attributes
    ----------
    points : tuple of Point
    stream_from : dict
        From the number of threads to the bytes of a result from which it goes past the caches.
    fetch_lines : int
        How far ahead inputs are fetched, in lines of 64 bytes.
    fetch_seconds : dict
        From each distance that was tried to its median time.
    gain : float or None
        What all threads do together, in units of what one does; None with one thread.
    not_kept : str
        Why the store did not take it; empty if it did.
    seconds : float
        That all this took.
    """

    points: tuple[Point, ...]
    stream_from: dict[int, int]
    fetch_lines: int
    fetch_seconds: dict[int, float]
    gain: float | None
    not_kept: str
    seconds: float


def tune(start: Start = silent) -> Tuning:
    """Measure this machine, keep what was found, and have this process go by it.

    Parameters
    ----------
    start : Start
        Starts each stage.

    Returns
    -------
    Tuning

    Raises
    ------
    RuntimeError
        If nothing is compiled here, or another setting rules: there is nothing to choose then.
    """
    began = time.perf_counter()
    settings.reasons()  # raises what is wrong with an environment variable, where a call would do without the engine
    relu(np.zeros(1, np.float32))
    if not process.is_made():
        raise RuntimeError("tune: the compiled engine is not in use (rectifier info says why): nothing can be chosen")
    if not process.streaming().learns:
        raise RuntimeError(f"tune: stream_bytes is fixed ({process.streaming().reason}): unset it first")
    words, threads = process.words(), settings.threads
    counts = sorted({1, threads})
    least, most = calibration.streaming(1).least, 2 * calibration.streaming(threads).most
    most = min(most, LARGEST, min(limits.memory(), default=LARGEST) // SHARE)
    sizes = _octaves(least, most)
    advance = start("measuring", len(counts) * len(sizes) + 1)
    points = []
    with _as_told(words):
        for count in counts:
            words.threads = count
            for size in sizes:
                points += _compare(words, count, size)
                advance()
        fetch_seconds = _distances(words, sizes[-1])
    least = min(fetch_seconds, key=fetch_seconds.__getitem__)
    default = calibration.FETCH
    fetch = least if fetch_seconds[default] > CLEARLY * fetch_seconds[least] else default
    found = {count: _crossing([point for point in points if point.threads == count]) for count in counts}
    kept = calibration.keep(
        {
            "when": time.strftime("%Y-%m-%d"),
            "threads": threads,
            "stream_from": {str(count): size for count, size in found.items()},
            "fetch": fetch,
            "gain": words.gain,
        }
    )
    process.expect_anew()
    words.ahead = fetch
    advance()
    gain = words.gain / 1024 if threads > 1 else None
    why = "" if kept else settings.reasons()["store"].reason
    return Tuning(tuple(points), found, fetch, fetch_seconds, gain, why, time.perf_counter() - began)


def _octaves(least: int, most: int) -> list[int]:
    sizes = [least]
    while 2 * sizes[-1] <= most:
        sizes.append(2 * sizes[-1])
    return sizes


@contextmanager
def _as_told(words: Any) -> Iterator[None]:
    """Disable learning from calls, and restore the settings at the end."""
    before = words.read("threads", "ahead", "stream_from", "learn_from", "learn_to")
    words.learn_from = words.learn_to = process.NEVER
    try:
        yield
    finally:
        words.write(**before)


def _arrays(nbytes: int) -> tuple[Any, Any, Any]:
    x, dy, out = (np.zeros(nbytes // 4, np.float32) for _ in range(3))
    x[::2], dy[:] = 1, 2
    return x, dy, out


def _compare(words: Any, threads: int, nbytes: int) -> list[Point]:
    x, dy, out = _arrays(nbytes)
    calls: dict[str, Callable[[], Any]] = {
        "value": lambda: relu(x, out=out),
        "backward": lambda: relu.backward(dy, x, out=out),
    }
    points = []
    for name, call in calls.items():
        times: dict[int, list[float]] = {process.NEVER: [], 1: []}
        for _ in range(ROUNDS):
            for limit, kept in times.items():
                words.stream_from = limit
                call()  # finds the caches as the other way left them
                kept.append(min(_time(call) for _ in range(2)))
        through, past = times.values()
        ratio = statistics.median(a / b for a, b in zip(through, past, strict=True))
        points.append(Point(threads, nbytes, name, statistics.median(through), statistics.median(past), ratio))
    return points


def _time(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _distances(words: Any, nbytes: int) -> dict[int, float]:
    x, dy, out = _arrays(nbytes)
    words.stream_from = 1
    relu.backward(dy, x, out=out)
    times: dict[int, list[float]] = {lines: [] for lines in FETCHES}
    for _ in range(ROUNDS):
        for lines, kept in times.items():
            words.ahead = lines
            kept.append(_time(lambda: relu.backward(dy, x, out=out)))
    return {lines: statistics.median(kept) for lines, kept in times.items()}


def _crossing(points: list[Point]) -> int:
    """Return the size from which on the operations together were faster past the caches, at it and at all above.

    Twice the largest if that was not.
    """
    sizes = sorted({point.nbytes for point in points})
    crossing = 2 * sizes[-1]
    for size in reversed(sizes):
        if statistics.geometric_mean(point.ratio for point in points if point.nbytes == size) < 1:
            break
        crossing = size
    return crossing
