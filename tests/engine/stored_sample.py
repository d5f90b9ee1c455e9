"""What the tests of the store keep, in this process and in others: two small functions."""

from __future__ import annotations

import ctypes
from functools import cache

from rectifier.engine import store
from rectifier.engine.compiler import optimise, subset
from rectifier.engine.fingerprint import KERNELS

CONTENT = b"the sample"


def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


def count(n):
    return 10 * fibonacci(n)


def free(n):  # a name that is also another's
    return fibonacci(n) - 1


@cache
def sample() -> optimise.Optimised:
    """Compile two functions, which share one that is not inlined."""
    return subset.optimised([count, free])


class Build:
    """Counts how often something was compiled."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> optimise.Optimised:
        self.calls += 1
        return optimise.Optimised(sample().module.clone(), sample().names)


def assert_right(addresses: dict[str, int]) -> None:
    assert set(addresses) == {"count", "free"}
    integer = ctypes.c_int64
    assert ctypes.CFUNCTYPE(integer, integer)(addresses["count"])(10) == 550
    assert ctypes.CFUNCTYPE(integer, integer)(addresses["free"])(10) == 54


def compiles(content: bytes = CONTENT) -> int:
    """Ask the store for the sample, check what it gives, and say how often that was compiled."""
    build = Build()
    assert_right(store.machine_code("sample", KERNELS, content, build))
    return build.calls
