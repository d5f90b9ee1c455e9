"""Time ours and a baseline side by side, in this process.

In a round each of ours, the baseline and a copy is timed once, in an order that rotates, each after a pause (in
which threads that spin go to sleep) and a warm-up that is discarded. A ratio is taken within its round, so
both of its times saw the same load of the machine; rounds go on until the median ratio is known well or the
time is up.
"""

from __future__ import annotations

import ctypes
import math
import os
import statistics
import time
import timeit
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from time import perf_counter
from typing import Any

import numpy as np

from ...catalogue import ALL, ROWWISE
from .batches import batch
from .case import Baseline, Call, Case, Step, ours, ways
from .estimates import NARROW, half_width
from .points import Point, itemsize
from .results import Measurement

FEWEST_ROUNDS, MOST_ROUNDS = 3, 12
# The fewest whose range holds the median with more than 95 % (Conover 1999, Practical Nonparametric Statistics,
# section 3.2: order statistics of a binomial count), with one to spare.
ENOUGH_ROUNDS = 7
HELD_BYTES = 1 << 28  # by each of a pair, for fresh results; four of them in any case


def _rest() -> None:
    """Wait until no thread of this process spins: PyTorch's do for 5 ms after a call."""
    end = perf_counter() + 0.02
    busy = 1.0
    while busy > 2e-4 and perf_counter() < end:
        before = time.process_time()
        time.sleep(1e-3)
        busy = time.process_time() - before


def _collect(
    timers: Mapping[str, timeit.Timer],
    point: Point,
    seconds: float,
    seconds_per_block: float,
    fewest: int,
    most: int,
    known: Callable[[list[dict[str, float]]], bool] = lambda rounds: False,
) -> list[dict[str, float]]:
    """Time rounds in the state of a point, until the time is up or enough is known."""
    number, warm_up, sample = dict.fromkeys(timers, 1), dict.fromkeys(timers, 0), dict.fromkeys(timers, 0.0)
    if point.state == "hot":
        for name, timer in timers.items():
            once = timer.timeit(1)
            if once < 0.02:  # a longer call leaves nothing of what was in the caches, so it needs no warm-up
                number[name] = max(1, round(seconds_per_block / min(timer.repeat(3, 1))))
                if point.form == "fresh":
                    number[name] = min(number[name], _held_results(point) // 4)
                warm_up[name] = math.ceil(number[name] / 4)
    rounds: list[dict[str, float]] = []
    names, end = list(timers), perf_counter() + seconds
    while True:
        for name in names:
            _rest() if point.state == "hot" else time.sleep(0.01)
            if warm_up[name]:
                timers[name].timeit(warm_up[name])
            sample[name] = timers[name].timeit(number[name]) / number[name]
        names.append(names.pop(0))  # nobody is always first
        rounds.append(dict(sample))
        enough = perf_counter() > end or known(rounds) or len(rounds) >= most
        if enough and len(rounds) >= fewest:
            return rounds


def case_of(point: Point) -> Case | None:
    """Make the data of a point; None where repeated calls in place would not do the same work each time."""
    function: Any = ALL[point.function]
    x, dy = batch(point.rows, point.columns + (point.form == "slice"), point.dtype, point.distribution)
    if point.device == "gpu":
        x, dy = map(import_module("cupy").asarray, (x, dy))
    if point.form == "slice":
        x, dy = x[:, :-1], dy[:, :-1]
    slope = x.dtype.type(function.spec.parameters.get("negative_slope", 0))
    if point.form != "in_place":
        out = np.empty_like(x) if point.form == "out" else None
        return Case(point.function, point.operation, point.form, dy, x, out, slope)
    if point.operation == "value" and point.distribution == "negative":
        return None  # of abs(x) it would be another distribution, and of x another after the first call
    x, dy = np.abs(x) if point.operation == "value" else x.copy(), dy.copy()
    case = Case(point.function, point.operation, point.form, dy, x, dy if "backward" in point.operation else x, slope)
    own = ours(case)
    once = own.result().copy()
    return case if np.array_equal(own.result(), once) else None


def _held_results(point: Point) -> int:
    return max(4, HELD_BYTES // (point.elements * itemsize(point.dtype)))


class OnDevice:
    """A moment in the work of the GPU; the time between two is in seconds, as of a clock of `timeit`."""

    def __init__(self) -> None:
        self._event = import_module("cupy").cuda.Event()
        self._event.record()

    def __sub__(self, earlier: OnDevice) -> float:
        self._event.synchronize()
        return float(import_module("cupy").cuda.get_elapsed_time(earlier._event, self._event)) / 1e3


def times(
    calls: Mapping[str, Call | Step], point: Point, seconds: float, seconds_per_block: float, clock: Any = None
) -> dict[str, tuple[float, ...]]:
    """Time calls side by side; return nanoseconds of a call in each round.

    Parameters
    ----------
    calls : mapping
        By their names.
    point : Point
        In whose state, and on whose device, they are timed.
    seconds, seconds_per_block : float
        As of `measure`.
    clock : callable, optional
        Of `timeit`; the host's, for what a call on a GPU takes before it returns.
    """
    for call in calls.values():
        call.result()  # compiled, before the time counts
    timers = {name: _timer(call, point, clock) for name, call in calls.items()}
    rounds = _collect(timers, point, seconds, seconds_per_block, FEWEST_ROUNDS, MOST_ROUNDS)
    return {name: tuple(_nanoseconds(sample[name]) for sample in rounds) for name in calls}


def _timer(call: Call | Step, point: Point, clock: Any = None) -> timeit.Timer:
    statement, names = call.statement()
    if point.form != "fresh":
        clock = clock or (OnDevice if point.device == "gpu" else perf_counter)
        return timeit.Timer(statement, timer=clock, globals=names)
    held: list[Any] = []
    most = _held_results(point)

    def prepare() -> None:
        if not held or len(held) > most // 2:
            held.clear()
            _give_back()

    return timeit.Timer(f"keep({statement})", "prepare()", globals={**names, "keep": held.append, "prepare": prepare})


def _give_back() -> None:
    """Return free memory to the system: that of our pool, and that of the C library where it can."""
    with suppress(ImportError):
        import_module("rectifier.memory").clear()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim:
        trim(0)


class NotMeasuredError(Exception):
    """A point has nothing to measure, or nothing comparable."""


def _ways(
    baseline: Baseline, case: Case, tolerance: float, report: Callable[[str], object]
) -> dict[str, tuple[Call | Step, str]]:
    """Return the calls of a baseline with the right result, and the result's dtype; report the others."""
    expected = None
    right: dict[str, tuple[Call | Step, str]] = {}
    calls = ways(baseline.calls, case)
    while True:
        text = ""
        try:
            call = next(calls, None)
            if call is None:
                return right
            text = f"{call.text}: "
            result = call.result()
            expected = ours(case).result() if expected is None else expected
            if _equal(result, expected, tolerance, _near_zero(case, expected, tolerance)):
                right[call.text] = call, result.dtype.name
            else:
                report(f"the results of {call.text} differ from ours")
        except Exception as error:  # a baseline may lack a dtype, and says so in a way of its own
            report(text + one_line(error))


def one_line(error: Exception) -> str:
    """Return an error as one line."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _near_zero(case: Case, expected: Any, tolerance: float) -> float:
    """Return how far a number may be off in any case: near 0, most baselines of smooth functions are no better."""
    largest = float(abs(expected).max())
    if case.function in ROWWISE:
        return tolerance * largest  # the softmax of a long row is small throughout
    if not ALL[case.function].spec.wide:
        return 0.0
    # The derivative is right in the absolute sense, and dy times that.
    return tolerance * max(1.0, largest, 0.0 if case.operation == "value" else float(abs(case.dy).max()))


def _equal(result: Any, expected: Any, tolerance: float, near_zero: float) -> bool:
    if result.shape != expected.shape:
        return False
    step = max(1, (1 << 20) // max(1, expected.shape[1]))
    for k in range(0, len(expected), step):  # in parts, for the memory's sake
        a, b = (np.asarray(array[k : k + step]) for array in (result, expected))
        if not np.array_equal(a, b):
            a, b = a.astype(np.float64), b.astype(np.float64)
            if not tolerance or not np.allclose(a, b, rtol=tolerance, atol=near_zero):
                return False
    return True


def measure(
    baseline: Baseline,
    point: Point,
    seconds: float,
    seconds_per_block: float,
    copy_from_bytes: float = math.inf,
    copy: Callable[[Any, Any], object] = np.copyto,
    report: Callable[[str], object] = lambda reason: None,
) -> Measurement:
    """Measure one point against one baseline, in this process.

    Parameters
    ----------
    baseline : Baseline
        Installed.
    point : Point
        What to measure.
    seconds : float
        When to stop, if the median ratio is not known well before.
    seconds_per_block : float
        How long the timed calls of one last in a round.
    copy_from_bytes : float
        From which size of x and a result on a copy is timed as well.
    copy : callable
        Copies its second argument into the first, flat arrays both.
    report : callable
        Called with the reason why a way of the baseline is left out.

    Returns
    -------
    Measurement

    Raises
    ------
    NotMeasuredError
        If the baseline does not offer it (with no message), or no way of it can be measured.
    """
    case = case_of(point)
    if case is None:
        raise NotMeasuredError
    if point.form == "fresh":
        # The host of a virtual machine may have to map this memory first, which the first to be timed would pay for.
        np.ones(2 * _held_results(point) * point.elements * itemsize(point.dtype), np.uint8)
    tolerance = 0 if ALL[point.function].spec.selects else 2**-6 if itemsize(point.dtype) == 2 else 2**-18
    reasons: list[str] = []
    right = _ways(baseline, case, tolerance, reasons.append)
    if not right:
        raise NotMeasuredError("; ".join(reasons))
    for reason in reasons:
        report(reason)
    timers = {text: _timer(call, point) for text, (call, _) in right.items()}
    best = next(iter(timers))
    if len(timers) > 1:
        rounds = _collect(timers, point, seconds / 4, seconds_per_block / 2, 1, ENOUGH_ROUNDS)
        best = min(timers, key=lambda text: statistics.median(sample[text] for sample in rounds))
    competitors = {"ours": _timer(ours(case), point), "baseline": timers[best]}
    timers.clear()
    if 2 * point.elements * itemsize(point.dtype) >= copy_from_bytes:
        x = (case.x if case.x.flags.c_contiguous else case.x.base).reshape(-1)[: point.elements]
        x = x.view(f"f{x.itemsize}")  # bfloat16 is two bytes as well
        competitors["copy"] = _timer(Call("copy", copy, (np.empty_like(x), x)), point._replace(form="default"))

    def known(rounds: list[dict[str, float]]) -> bool:
        ratios = [sample["baseline"] / sample["ours"] for sample in rounds]
        return len(rounds) >= ENOUGH_ROUNDS and half_width(ratios) < NARROW

    rounds = _collect(competitors, point, seconds, seconds_per_block, FEWEST_ROUNDS, MOST_ROUNDS, known)
    ours_times, baseline_times, copy_times = (
        (tuple(_nanoseconds(sample[name]) for sample in rounds),) if name in competitors else ()
        for name in ("ours", "baseline", "copy")
    )
    return Measurement(baseline.name, point, best, right[best][1], ours_times, baseline_times, copy_times)


def _nanoseconds(seconds: float) -> float:
    """Return nanoseconds with the four digits that the clock has; as an integer from 1,000 on, for a shorter file."""
    rounded = float(f"{1e9 * seconds:.4g}")
    return int(rounded) if rounded >= 1000 else rounded
