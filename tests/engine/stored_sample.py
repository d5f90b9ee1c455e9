"""What the tests of the store keep, in this process and in others: two small functions."""

from __future__ import annotations

import ctypes
from functools import cache

from rectifier.engine import store
from rectifier.engine.compiler import optimise
from rectifier.engine.fingerprint import KERNELS

CONTENT = b"the sample"


def functions():
    """Give sample functions: `free`, whose name is also another's, and `count` share a helper that is not inlined."""
    import numba
    from numba import types

    @numba.njit(error_model="numpy", nogil=True, no_cpython_wrapper=True)
    def fibonacci(n):
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    def count(n):
        return 10 * fibonacci(n)

    def free(x, n):
        return x / fibonacci(n)

    return {
        "count": (types.int64(types.int64), count),
        "free": (types.float64(types.float64, types.int64), free),
    }


@cache
def sample() -> optimise.Optimised:
    return optimise.optimise(functions())


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
    assert ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double, integer)(addresses["free"])(1.0, 3) == 0.5


def compiles(content: bytes = CONTENT) -> int:
    """Ask the store for the sample, check what it gives, and say how often that was compiled."""
    build = Build()
    assert_right(store.machine_code("sample", KERNELS, content, build))
    return build.calls
