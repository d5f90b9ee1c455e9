"""How fast it is: against others by the benchmark, a copy of memory, and what a call costs the host."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from time import perf_counter
from typing import Any

import numpy as np

from ...backends.cupy.launch import launch
from ...backends.cupy.source import BLOCK
from ..bench import runner
from ..bench.baselines import BASELINES
from ..bench.case import Call, ours
from ..bench.points import Point, itemsize
from ..bench.results import Run
from ..bench.timing import case_of, one_line, times
from ..progress import Start
from .budget import Budget

FUNCTIONS = ("relu", "gelu", "silu", "softmax")
SHAPES = ((100, 100), (1000, 1000), (5000, 5000))  # what a launch costs; what caches hold; what only memory holds
POINTS = [
    Point(function, operation, "default", "hot", dtype, *shape)
    for dtype in ("float32", "float16")
    for shape in SHAPES
    for function in FUNCTIONS
    for operation in ("value", "backward")
]
TINY = [
    Point(function, operation, form, "hot", "float32", 10, 10, "gpu")
    for function, operation, form in (
        ("relu", "value", "default"), ("relu", "value", "out"), ("relu", "backward", "default"),
        ("gelu", "value", "default"), ("softmax", "value", "default"),
    )
]  # fmt: skip
# Some hundred launches: a device's queue takes a thousand before it keeps the host waiting.
SECONDS_PER_BLOCK = 1e-3
COPIED = Point("relu", "value", "default", "hot", "float32", 8192, 8192, "gpu")  # 256 MiB, five times an H200's cache
COPY = """
struct alignas(16) Vector { unsigned at[4]; };
extern "C" __global__ void copy(Vector *y, const Vector *x, const long long n) {
    const long long threads = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += threads)
        y[i] = x[i];
}
"""


@dataclass(frozen=True)
class Cost:
    """The time that a call of a tiny array takes the host, from the call to its return; the device works on.

    Attributes
    ----------
    work, call : str
        What is computed; by whom and how.
    nanoseconds : float
        Median over rounds.
    """

    work: str
    call: str
    nanoseconds: float


@dataclass(frozen=True)
class Host:
    """The measurements in this process.

    Attributes
    ----------
    copy_bytes_per_second : dict
        What a copy on the device reads and writes, by the name of what copies.
    costs : tuple of Cost
        Of calls.
    """

    copy_bytes_per_second: dict[str, float]
    costs: tuple[Cost, ...]


def bench(budget: Budget, note: Callable[[str], object], start: Start) -> Run:
    """Run the benchmark on the device."""
    there = [baseline for baseline in BASELINES if baseline.gpu]
    return runner.run(POINTS, there, quick=True, seconds=budget.left, passes=2, start=start)


def host(budget: Budget, note: Callable[[str], object], start: Start) -> Host:
    """Measure copies on the device, and what calls cost."""
    advance = start("copy and calls", 1 + len(TINY))
    copies = copy_rates(budget.share(1 / (1 + len(TINY))).left)
    advance()
    costs: list[Cost] = []
    for left, point in zip(range(len(TINY), 0, -1), TINY, strict=True):
        if not budget.left:
            note(f"calls: no time left for {point.function} {point.operation} {point.form}")
            continue
        costs += costs_of(point, budget.share(1 / left).left, note)
        advance()
    return Host(copies, tuple(costs))


def costs_of(point: Point, seconds: float, note: Callable[[str], object]) -> list[Cost]:
    """Measure ours, and all others that have it, at a point."""
    case: Any = case_of(point)
    work = f"{point.function} {point.operation}" + (" out=" if point.form == "out" else "")
    calls = {f"rectifier: {ours(case).text}": ours(case)}
    for baseline in BASELINES:
        if baseline.gpu and not baseline.missing():
            try:
                for call in baseline.calls(case):
                    call.result()
                    calls[f"{baseline.title}: {call.text}"] = call
            except Exception as error:  # a PyTorch without CUDA, a kernel that does not compile
                note(f"calls: {baseline.title}: {work}: {one_line(error)}")
    found = times(calls, point, seconds, SECONDS_PER_BLOCK, perf_counter)
    return [Cost(work, name, statistics.median(rounds)) for name, rounds in found.items()]


def copy_rates(seconds: float) -> dict[str, float]:
    """Return the bytes per second that a copy on the device reads and writes: the driver's, and a kernel's."""
    cupy = import_module("cupy")
    x = cupy.zeros(COPIED.elements, COPIED.dtype)
    y, nbytes = cupy.empty_like(x, COPIED.dtype), COPIED.elements * itemsize(COPIED.dtype)
    vectors = nbytes // 16
    kernel = partial(launch, cupy.RawKernel(COPY, "copy"), BLOCK, vectors)

    def by_kernel(to: Any, array: Any) -> Any:
        kernel((to, array, np.int64(vectors)))
        return to

    def by_driver(to: Any, array: Any) -> Any:
        cupy.copyto(to, array)
        return to

    calls = {"cupy.copyto": Call("copy", by_driver, (y, x)), "a kernel": Call("copy", by_kernel, (y, x))}
    found = times(calls, COPIED, seconds, SECONDS_PER_BLOCK)
    return {name: 2 * nbytes / (statistics.median(rounds) / 1e9) for name, rounds in found.items()}
