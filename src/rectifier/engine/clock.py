"""The rates of this machine that are measured when the engine is made: of its clock, and of a copy."""

from __future__ import annotations

import ctypes
from time import perf_counter_ns

import numpy as np


def ticks_per_microsecond(clock: int) -> float:
    """Compare the processor's clock with the system's, for a fifth of a millisecond."""
    ticks = ctypes.CFUNCTYPE(ctypes.c_int64)(clock)
    began, first = perf_counter_ns(), ticks()
    while perf_counter_ns() - began < 200_000:
        pass
    return float(1e3 * (ticks() - first) / (perf_counter_ns() - began))


def microseconds_per_byte() -> float:
    """Time what lies beyond the first-level cache: a copy of 128 KiB, the least of several."""
    x = np.zeros(1 << 17, np.uint8)
    y, least = np.zeros_like(x), 1e9
    for _ in range(8):
        began = perf_counter_ns()
        np.copyto(y, x)
        least = min(least, perf_counter_ns() - began)
    return least / 1e3 / (x.nbytes + y.nbytes)
