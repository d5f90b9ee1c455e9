"""Ours and a rival side by side, in processes for each pair.

``python -m rectifier.tools.bench.runner`` is such a process.

In a round each of ours, the rival and a copy is timed once, in an order that rotates, each after a pause (in
which threads that spin go to sleep) and a warm-up that is discarded. A ratio is taken within its round, so
both of its times saw the same load of the machine; rounds go on until the median ratio is known well or the
time is up. All pairs are measured in several passes, each pair in a new process in each: where a process finds
its memory decides more than any noise within it.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import timeit
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cache, cached_property, lru_cache
from importlib import import_module, metadata
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ...catalogue import CATALOGUE
from .rivals import OUR_FIRST, RIVALS, Call, Case, Rival, ours

SCHEMA = "rectifier-bench/2"
DTYPES = ("float16", "bfloat16", "float32", "float64")
SQUARES = tuple((n, n) for n in (10, 30, 100, 300, 1000, 3000, 5000, 10_000))  # the recipe's, and two more
OTHERS = ((1, 1), (1, 10), (10, 100), (100, 1000), (1000, 10_000))  # with the squares, powers of ten to 1e8
SLICED, DEFAULT = (2000, 1000), (1000, 10_000)  # measured in this form alone
QUICK = ((30, 30), (300, 300), (1000, 1000))
FAMILY = (
    (10, 10),
    (100, 100),
    (1000, 1000),
    (5000, 5000),
)  # where the rest of the family is measured, by default calls
WHOLE = ("relu", "leaky_relu")  # measured in every form
FORMS = {
    "value": ("default", "fresh", "unpooled", "out", "in_place", "slice"),
    "derivative": ("default", "out", "in_place"),
    "backward": ("default", "fresh", "unpooled", "out", "in_place"),
    "backward_from_mask": ("default", "out", "in_place"),
}
FORM_TITLES = {"default": "", "unpooled": "no pool", "out": "out=", "in_place": "in place"}
# Below them, these are as good as default calls; above, the system needs seconds to make as much memory ready.
ELEMENTS = {"fresh": (10_000, 25_000_000), "unpooled": (1_000_000, 25_000_000)}
IDLE = ((100, 100), (1000, 1000))
PASSES = 3
QUICK_SECONDS = 95.0
SECONDS_PER_POINT = 0.07  # in each pass
DECISIVE, LARGE = 2.0, 3_000_000  # where ours is so much faster on so many elements, one pass is enough
FEWEST_ROUNDS, MOST_ROUNDS = 3, 12
# The fewest whose range holds the median with more than 95 % (Conover 1999, Practical Nonparametric Statistics,
# section 3.2: order statistics of a binomial count), with one to spare.
ENOUGH_ROUNDS = 7
NARROW, WIDE = 0.01, 0.1  # half of an interval, relative: known well, and not known well enough
# Two processes that run the same code differ, because memory and code lie elsewhere (Mytkowicz et al., "Producing
# wrong data without doing anything obviously wrong!", ASPLOS 2009). The standard deviation of the logarithm of a
# ratio between them, and how many processes' worth of evidence that is beside those that were measured.
PROCESS_DEVIATION, PRIOR_DEGREES = 0.05, 4
ARRAYS = 20  # that lie in memory at once: ours, the rival's own, what its operators keep, fresh results
HELD_BYTES = 1 << 28  # by each of a pair, for fresh results; four of them in any case
_THREAD_VARIABLES = (
    "RECTIFIER_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS",
    "NUMEXPR_MAX_THREADS", "NPROC",  # the last is JAX's
)  # fmt: skip


class Point(NamedTuple):
    """What is measured: a operation of a function, called in a form, on a batch.

    Attributes
    ----------
    function, operation, form : str
        As in `rivals.Case`. A default call makes its result; fresh results are kept, so that none lies where one
        before it lay; unpooled is a default call with our pool switched off.
    state : str
        hot, or idle: one call after 10 ms without work.
    dtype : str
        Of the batch.
    rows, columns : int
        Its shape; a slice is ``x[:, :-1]`` of a batch with one column more.
    device : str
        Where the batch lies: cpu or gpu.
    """

    function: str
    operation: str
    form: str
    state: str
    dtype: str
    rows: int
    columns: int
    device: str = "cpu"

    @property
    def elements(self) -> int:
        """How many the call computes."""
        return self.rows * self.columns


Rounds = tuple[tuple[float, ...], ...]
Kept = TypeVar("Kept")


@dataclass(frozen=True)
class Measurement:
    """One point against one rival.

    Attributes
    ----------
    rival : str
        Its name.
    point : Point
        What was measured.
    rival_call, rival_dtype : str
        The quickest of the rival's ways, and the dtype of its result.
    ours_nanoseconds, rival_nanoseconds, copy_nanoseconds : tuple of tuple of float
        For each process, time of a call in each round; of a copy of x only where the caches cannot hold it.
    """

    rival: str
    point: Point
    rival_call: str
    rival_dtype: str
    ours_nanoseconds: Rounds
    rival_nanoseconds: Rounds
    copy_nanoseconds: Rounds

    @cached_property
    def ratios(self) -> list[list[float]]:
        """For each process, the rival's time divided by ours, round by round."""
        return [_divide(*times) for times in zip(self.rival_nanoseconds, self.ours_nanoseconds, strict=True)]

    @cached_property
    def estimate(self) -> tuple[float, float, float]:
        """The logarithm of `times_faster`, its standard error, and the degrees of freedom of that."""
        logs = [math.log(statistics.median(ratios)) for ratios in self.ratios]
        within = statistics.median(half_width(ratios) for ratios in self.ratios) / 1.96
        found = statistics.variance(logs) if len(logs) > 1 else 0.0
        variance, degrees = shrink(found, len(logs), PROCESS_DEVIATION**2 + within**2)
        return statistics.mean(logs), math.sqrt(variance / len(logs)), degrees

    @property
    def times_faster(self) -> float:
        """The median ratio of a process, and the geometric mean of those; below 1 ours is slower."""
        return math.exp(self.estimate[0])

    @cached_property
    def half_width(self) -> float:
        """Half of the interval that holds the logarithm of the ratio with 95 % confidence."""
        _, error, degrees = self.estimate
        return error * t_bound(degrees)

    @property
    def interval(self) -> tuple[float, float]:
        """Where the ratio lies, with 95 % confidence."""
        return math.exp(self.estimate[0] - self.half_width), math.exp(self.estimate[0] + self.half_width)

    @property
    def conclusive(self) -> bool:
        """Whether the interval is narrow: ±10 %, or half of the way from 1 to the ratio."""
        return self.half_width <= max(WIDE, abs(self.estimate[0]) / 2)

    @property
    def verdict(self) -> str:
        """Say who is faster, if that is known: ours, rival or undecided."""
        low, high = self.interval
        return "undecided" if not self.conclusive or low <= 1 <= high else "ours" if low > 1 else "rival"

    @cached_property
    def fraction_of_copy(self) -> float | None:
        """The time of copying as many bytes as ours moves, divided by ours; None where that is no limit."""
        if self.point.form == "in_place" or not self.copy_nanoseconds:
            return None
        moved = {"backward": 3.0, "backward_from_mask": 2 + 1 / (8 * _itemsize(self.point.dtype))}
        arrays = moved.get(self.point.operation, 2.0)
        processes = zip(self.copy_nanoseconds, self.ours_nanoseconds, strict=True)
        return arrays / 2 * statistics.median(ratio for times in processes for ratio in _divide(*times))


def _divide(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


def shrink(variance: float, count: int, expected: float) -> tuple[float, float]:
    """Draw the variance of few values towards the expected one; give it, and its degrees of freedom.

    After G. K. Smyth, "Linear models and empirical Bayes methods", Stat. Appl. Genet. Mol. Biol. 3 (2004).
    """
    degrees = PRIOR_DEGREES + count - 1
    return (PRIOR_DEGREES * expected + (count - 1) * variance) / degrees, degrees


def t_bound(degrees: float, confidence: float = 0.95) -> float:
    """Say how far from 0 a t variable stays with this confidence, to 5 % (D. L. Wallace, Ann. Math. Stat. 30, 1959)."""
    z = statistics.NormalDist().inv_cdf((1 + confidence) / 2) * (8 * degrees + 3) / (8 * degrees + 1)
    return math.sqrt(degrees * math.expm1(z * z / degrees))


def t_tail(t: float, degrees: float) -> float:
    """Say how probable a t variable is that far from 0 or farther, by the same approximation."""
    z = math.sqrt(degrees * math.log1p(t * t / degrees)) * (8 * degrees + 1) / (8 * degrees + 3)
    return math.erfc(z / math.sqrt(2))


@dataclass(frozen=True)
class Run:
    """Everything that a run found.

    Attributes
    ----------
    started : str
        Date and time, UTC.
    seconds : float
        How long it took.
    quick : bool
        Whether it was the short one.
    threads : int
        How many ours and each rival were given.
    commit : str or None
        Of the repository of this library, where it runs from one.
    copy : str
        What copied: a function that stores past the caches, or `numpy.copyto`.
    machine : dict
        `rectifier.tools.machine.describe`, and the governor of the processor's frequency.
    rivals : dict
        Versions of the packages that were measured, by the rival's name.
    skipped : tuple of str
        A line for each rival or point that was not measured, with the reason.
    first_use : dict
        For each name, what a program that computes one result takes; None for what this system does not say.
    measurements : tuple of Measurement
        The rest.
    """

    started: str
    seconds: float
    quick: bool
    threads: int
    commit: str | None
    copy: str
    machine: dict[str, Any]
    rivals: dict[str, str]
    skipped: tuple[str, ...]
    first_use: dict[str, dict[str, float | None]]
    measurements: tuple[Measurement, ...]

    @cached_property
    def by_point(self) -> dict[Point, list[Measurement]]:
        """The measurements of each point, the fastest rival first; the points in the order of the tables."""
        found: dict[Point, list[Measurement]] = {}
        for measurement in sorted(self.measurements, key=lambda m: m.times_faster):
            found.setdefault(measurement.point, []).append(measurement)
        operations, forms = list(FORMS), list(FORMS["value"])

        def order(point: Point) -> tuple[Any, ...]:
            place = operations.index(point.operation), forms.index(point.form)
            return point.device, point.function, *place, point.state, point.elements, point.columns

        return {point: found[point] for point in sorted(found, key=order)}

    def verdict(self, point: Point) -> str:
        """Say ours if it is faster than every rival, rival if one is faster, else undecided."""
        verdicts = {measurement.verdict for measurement in self.by_point[point]}
        return "rival" if "rival" in verdicts else "undecided" if "undecided" in verdicts else "ours"


def interval_of_median(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Give two order statistics that hold the median with at least this confidence, if there are enough values."""
    ordered, n = sorted(values), len(values)
    below, tail = 0, 0.5**n
    while below + 1 < n - below - 1 and 1 - 2 * (tail + math.comb(n, below + 1) * 0.5**n) >= confidence:
        below += 1
        tail += math.comb(n, below) * 0.5**n
    return ordered[below], ordered[n - 1 - below]


def half_width(ratios: Sequence[float]) -> float:
    """Give half of the interval of the median, relative."""
    low, high = interval_of_median(ratios)
    return math.log(high / low) / 2


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


@lru_cache(maxsize=1)
def _batch(rows: int, columns: int, dtype: str) -> tuple[Any, Any]:
    rng, arrays = np.random.default_rng(0), []
    for _ in range(2):
        array = np.empty((rows, columns), _dtype(dtype))
        flat, block = array.reshape(-1), rng.standard_normal(min(rows * columns, 1 << 20), np.float32)
        for k in range(0, flat.size, block.size):
            flat[k : k + block.size] = block[: flat.size - k]
        arrays.append(array)
    return arrays[0], arrays[1]


def _dtype(name: str) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.dtype(import_module("ml_dtypes").bfloat16 if name == "bfloat16" else name)
    return dtype


def _itemsize(name: str) -> int:
    return {"float64": 8, "float32": 4}.get(name, 2)


def _case(point: Point) -> Case | None:
    """Make the data of a point; None where repeated calls in place would not do the same work each time."""
    function: Any = CATALOGUE[point.function]
    x, dy = _batch(point.rows, point.columns + (point.form == "slice"), point.dtype)
    if point.device == "gpu":
        x, dy = map(import_module("cupy").asarray, (x, dy))
    if point.form == "slice":
        x, dy = x[:, :-1], dy[:, :-1]
    slope = x.dtype.type(function.block.parameters.get("negative_slope", 0))
    if point.form != "in_place":
        out = np.empty_like(x) if point.form == "out" else None
        return Case(point.function, point.operation, point.form, dy, x, out, slope)
    x, dy = np.abs(x) if point.operation == "value" else x.copy(), dy.copy()
    case = Case(point.function, point.operation, point.form, dy, x, dy if "backward" in point.operation else x, slope)
    own = ours(case)
    once = own.result().copy()
    return case if np.array_equal(own.result(), once) else None


def _held_results(point: Point) -> int:
    return max(4, HELD_BYTES // (point.elements * _itemsize(point.dtype)))


class OnDevice:
    """A moment in the work of the GPU; the time between two is in seconds, as of a clock of `timeit`."""

    def __init__(self) -> None:
        self._event = import_module("cupy").cuda.Event()
        self._event.record()

    def __sub__(self, earlier: OnDevice) -> float:
        self._event.synchronize()
        return float(import_module("cupy").cuda.get_elapsed_time(earlier._event, self._event)) / 1e3


def _timer(call: Call, point: Point) -> timeit.Timer:
    statement, names = call.statement()
    if point.form != "fresh":
        clock: Any = OnDevice if point.device == "gpu" else perf_counter
        return timeit.Timer(statement, timer=clock, globals=names)
    held: list[Any] = []
    most = _held_results(point)

    def prepare() -> None:
        if not held or len(held) > most // 2:
            held.clear()
            _give_back()

    return timeit.Timer(f"keep({statement})", "prepare()", globals={**names, "keep": held.append, "prepare": prepare})


def _give_back() -> None:
    """Give free memory back to the system: what our pool holds, and the C library, where they have such a thing."""
    with suppress(ImportError):
        import_module("rectifier.memory").clear()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim:
        trim(0)


class NotMeasuredError(Exception):
    """A point has nothing to measure, or nothing comparable."""


def _ways(
    rival: Rival, case: Case, tolerance: float, report: Callable[[str], object], near_zero: float = 0
) -> dict[str, tuple[Call, str]]:
    """Give each way in which a rival does the work right, with the dtype of its result; report the others."""
    expected = None
    right: dict[str, tuple[Call, str]] = {}
    calls = rival.calls(case)
    while True:
        text = ""
        try:
            call = next(calls, None)
            if call is None:
                return right
            text = f"{call.text}: "
            result = call.result()
            expected = ours(case).result() if expected is None else expected
            if _equal(result, expected, tolerance, near_zero):
                right[call.text] = call, result.dtype.name
            else:
                report(f"the results of {call.text} differ from ours")
        except Exception as error:  # a rival may lack a dtype, and says so in a way of its own
            report(text + _one_line(error))


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _equal(result: Any, expected: Any, tolerance: float, near_zero: float = 0) -> bool:
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
    rival: Rival,
    point: Point,
    seconds: float,
    seconds_per_block: float,
    copy_from_bytes: float = math.inf,
    copy: Callable[[Any, Any], object] = np.copyto,
    report: Callable[[str], object] = lambda reason: None,
) -> Measurement:
    """Measure one point against one rival, in this process.

    Parameters
    ----------
    rival : Rival
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
        Called with the reason why a way of the rival is left out.

    Returns
    -------
    Measurement

    Raises
    ------
    NotMeasuredError
        If the rival does not offer it (with no message), or no way of it can be measured.
    """
    case = _case(point)
    if case is None:
        raise NotMeasuredError
    if (
        point.form == "fresh"
    ):  # a virtual machine's host may have to give the memory first: not at the cost of who comes first
        np.ones(2 * _held_results(point) * point.elements * _itemsize(point.dtype), np.uint8)
    block = CATALOGUE[point.function].block
    tolerance = 0 if block.selects else 2**-6 if _itemsize(point.dtype) == 2 else 2**-18 if block.wide else 2**-20
    reasons: list[str] = []
    # Where a smooth function is near 0, most rivals are right in the absolute sense alone.
    ways = _ways(rival, case, tolerance, reasons.append, tolerance if block.wide else 0)
    if not ways:
        raise NotMeasuredError("; ".join(reasons))
    for reason in reasons:
        report(reason)
    timers = {text: _timer(call, point) for text, (call, _) in ways.items()}
    best = next(iter(timers))
    if len(timers) > 1:
        rounds = _collect(timers, point, seconds / 4, seconds_per_block / 2, 1, ENOUGH_ROUNDS)
        best = min(timers, key=lambda text: statistics.median(sample[text] for sample in rounds))
    competitors = {"ours": _timer(ours(case), point), "rival": timers[best]}
    timers.clear()
    if 2 * point.elements * _itemsize(point.dtype) >= copy_from_bytes:
        x = (case.x if case.x.flags.c_contiguous else case.x.base).reshape(-1)[: point.elements]
        x = x.view(f"f{x.itemsize}")  # bfloat16 is two bytes as well
        competitors["copy"] = _timer(Call("copy", copy, (np.empty_like(x), x)), point._replace(form="default"))

    def known(rounds: list[dict[str, float]]) -> bool:
        ratios = [sample["rival"] / sample["ours"] for sample in rounds]
        return len(rounds) >= ENOUGH_ROUNDS and half_width(ratios) < NARROW

    rounds = _collect(competitors, point, seconds, seconds_per_block, FEWEST_ROUNDS, MOST_ROUNDS, known)
    ours_times, rival_times, copy_times = (
        (tuple(_nanoseconds(sample[name]) for sample in rounds),) if name in competitors else ()
        for name in ("ours", "rival", "copy")
    )
    return Measurement(rival.name, point, best, ways[best][1], ours_times, rival_times, copy_times)


def merge(measurements: Sequence[Measurement]) -> Measurement:
    """Make one measurement of those that several processes made of the same."""
    first = measurements[0]
    ways = " or ".join(dict.fromkeys(m.rival_call for m in measurements))
    ours_times, rival_times, copy_times = (
        tuple(rounds for m in measurements for rounds in getattr(m, f"{name}_nanoseconds"))
        for name in ("ours", "rival", "copy")
    )
    return Measurement(first.rival, first.point, ways, first.rival_dtype, ours_times, rival_times, copy_times)


def _nanoseconds(seconds: float) -> float:
    """Keep four digits, the clock has no more; and no dot where it says nothing, for the file's sake."""
    rounded = float(f"{1e9 * seconds:.4g}")
    return int(rounded) if rounded >= 1000 else rounded


def plan(functions: Sequence[str], dtype: str = "float32", quick: bool = False) -> list[Point]:
    """List the points of a run.

    Parameters
    ----------
    functions : sequence of str
        Names of the catalogue.
    dtype : str
        Of the batches.
    quick : bool
        Three squares and no fresh results, instead of all powers of ten to 1e8, and more squares.

    Returns
    -------
    list of Point
    """
    points = []
    for rows, columns in QUICK if quick else sorted({*SQUARES, *OTHERS, SLICED}, key=math.prod):
        for function in functions:
            for operation, forms in FORMS.items():
                if operation == "backward_from_mask" and "mask" not in CATALOGUE[function].block.backward_from:
                    continue
                for form in forms if function in WHOLE else ("default",):
                    if function not in WHOLE and (rows, columns) not in (QUICK if quick else FAMILY):
                        continue
                    fewest, most = ELEMENTS.get(form, (2 if form == "slice" else 0, math.inf))
                    if not fewest <= rows * columns <= most or (quick and form in ELEMENTS):
                        continue
                    if form == {SLICED: "slice", DEFAULT: "default"}.get((rows, columns), form):
                        points.append(Point(function, operation, form, "hot", dtype, rows, columns))
            if function in WHOLE and (rows, columns) in (IDLE[1:] if quick else IDLE):
                points.append(Point(function, "value", "default", "idle", dtype, rows, columns))
    return points


def run(
    points: Sequence[Point],
    rivals: Sequence[Rival] = RIVALS,
    quick: bool = False,
    threads: int | None = None,
    seconds_per_point: float = SECONDS_PER_POINT,
    passes: int = PASSES,
    first_uses: int = 3,
    copy_from_bytes: float | None = None,
    start: Callable[[str, int], Callable[[], object]] = lambda stage, steps: lambda: None,
    keep: Callable[[Run], object] = lambda unfinished: None,
) -> Run:
    """Measure ours against each rival, in a process for each pair in each pass.

    Parameters
    ----------
    points : sequence of Point
        What to measure.
    rivals : sequence of Rival
        Against whom.
    quick : bool
        Share out `QUICK_SECONDS` instead of giving each point its time.
    threads : int, optional
        Of ours and of each rival; as many as this process may use if None.
    seconds_per_point : float
        How long to go on, in each pass, with a point whose ratio is not known well yet.
    passes : int
        How many processes measure each pair.
    first_uses : int
        How often to start each process for a first result, from memory and from disk; 0, or quick: never.
    copy_from_bytes : float, optional
        From which size on a copy is timed beside; what the caches cannot hold if None.
    start : callable
        Called with the name of a stage and its number of steps; what it returns is called after each.
    keep : callable
        Called after each process with what was found so far.

    Returns
    -------
    Run
    """
    begun, machine, commit = perf_counter(), describe_machine(), _commit()
    threads = threads or machine["threads"]["allowed"]
    if copy_from_bytes is None:
        copy_from_bytes = max(machine["cache_bytes"].values(), default=0)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    skipped = [f"{rival.title}: {reason}" for rival in rivals if (reason := rival.missing())]
    present = [rival for rival in rivals if not rival.missing()]
    if quick:
        skipped += [f"{rival.title}: not in the quick run" for rival in present if not rival.quick]
        skipped.append("the quick run has no first use, no fresh results and none without the pool, and few sizes")
        present, first_uses = [rival for rival in present if rival.quick], 0
    fitting = []
    for point in points:
        needed, usable = ARRAYS * point.elements * _itemsize(point.dtype), (machine["memory_bytes"] or math.inf) / 2
        if needed <= usable:
            fitting.append(point)
        else:
            line = f"{point.rows} x {point.columns}: takes {needed / 1e9:.3g} GB, of {usable / 1e9:.3g} to be used"
            skipped += [line] * (line not in skipped)
    first_use = _first_uses(present, first_uses, threads, skipped.append, start) if first_uses else {}

    versions: dict[str, str] = {}
    copies: set[str] = set()
    found: dict[tuple[str, Point], list[Measurement]] = {}
    reasons: dict[tuple[str, str], dict[Point, None]] = {}

    def result() -> Run:
        lines = [
            f"{title}: {reason}" + (f" ({len(at)} points, such as {describe_point(next(iter(at)))})" if at else "")
            for (title, reason), at in reasons.items()
        ]
        return Run(
            started,
            round(perf_counter() - begun, 1),
            quick,
            threads,
            commit,
            ", ".join(sorted(copies)),
            machine,
            {rival.name: versions[rival.name] for rival in rivals if rival.name in versions},
            (*skipped, *lines),
            first_use,
            tuple(map(merge, found.values())),
        )

    shuffle = random.Random(0)
    parts = [[p for p in fitting if (p.form != "unpooled") is pooled] for pooled in (True, False)]
    jobs = [
        (number, rival, part)
        for number in range(passes)
        for rival in shuffle.sample(present, len(present))
        for part in parts
        if part
    ]
    steps = sum(len(_points_of(rival, fitting)) for rival in present)
    stages = {n: start(f"pass {n + 1} of {passes}", steps) for n in range(passes) if jobs}
    overheads: list[float] = []
    for index, (number, rival, part) in enumerate(jobs):
        part = [
            p
            for p in _points_of(rival, part)
            if p.elements < LARGE or all(m.times_faster < DECISIVE for m in found.get((rival.name, p), ()))
        ]
        if not part:
            continue
        left = (QUICK_SECONDS - (perf_counter() - begun)) / (len(jobs) - index)
        budget, job_begun = max(0.5, left - statistics.mean(overheads or [1.0])), perf_counter()
        task = {
            "rival": rival.name,
            "points": part[:: -1 if number % 2 else 1],  # so that not always the same lack time
            "seconds_per_point": seconds_per_point,
            "seconds_per_block": 5e-4 if quick else 2e-3,
            "copy_from_bytes": copy_from_bytes,
            "seconds": budget if quick else None,
        }
        for message in _converse(task, environment(threads, part[0].form != "unpooled")):
            if "version" in message:
                overheads.append(perf_counter() - job_begun)
                versions[rival.name] = message["version"]
                copies.add(message["copy"])
                continue
            if "measurement" in message:
                measurement = _measurement(message["measurement"])
                found.setdefault((rival.name, measurement.point), []).append(measurement)
            if "skipped" in message:
                at = reasons.setdefault((rival.title, message["skipped"]), {})
                at.update({Point(*point): None for point in message["points"]})
            for _ in range(message.get("done", 0)):
                stages[number]()
        keep(result())
    return result()


def _points_of(rival: Rival, points: Sequence[Point]) -> list[Point]:
    """Give the points at which a rival is measured: on a GPU, those that are not about the memory of the host."""
    if not rival.gpu:
        return list(points)
    return [point._replace(device="gpu") for point in points if point.form not in ("fresh", "unpooled")]


def environment(threads: int, pooled: bool = True) -> dict[str, str]:
    """Give the environment of a process that measures: so many threads for ours and for each rival."""
    settings = dict.fromkeys(_THREAD_VARIABLES, str(threads))
    settings.update({} if pooled else {"RECTIFIER_POOL_BYTES": "0"})
    return {**os.environ, **settings, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1"}


@cache
def describe_machine() -> dict[str, Any]:
    """Describe this machine, by a process of its own: this one must not hold the files of a compiler open."""
    program = (
        "import json, dataclasses, rectifier.tools.machine as m; print(json.dumps(dataclasses.asdict(m.describe())))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], stdout=subprocess.PIPE, encoding="utf-8", check=True)
    machine = {**json.loads(done.stdout), "governor": None}
    machine.get("settings", {}).pop("store", None)  # a directory of whoever ran it
    with suppress(OSError):
        governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
        machine["governor"] = governor.read_text(encoding="utf-8").strip()
    return machine


def _commit() -> str | None:
    """Name the commit of this file's repository, with a + if something differs from it; None if it is in none."""
    directory, name = os.path.split(__file__)
    done = None
    with suppress(OSError, subprocess.CalledProcessError):
        for arguments in (("ls-files", "--error-unmatch", name), ("describe", "--always", "--dirty=+")):
            command = ["git", "-C", directory, *arguments]
            done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout.strip()
        return done
    return None


def _converse(task: dict[str, Any], environment: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Start the process of a pair, and give what it says until it ends."""
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors,
        subprocess.Popen(
            [sys.executable, "-P", "-m", "rectifier.tools.bench.runner"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
            errors="replace",
            env=environment,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        limit = 300 + 20 * len(task["points"]) * max(task["seconds_per_point"], 0.1)
        begun, watch = perf_counter(), threading.Timer(limit, process.kill)
        watch.start()
        try:
            process.stdin.write(json.dumps(task))
            process.stdin.close()
            yield from map(json.loads, process.stdout)
        except BrokenPipeError:
            pass  # it died at once, and what it left says why
        finally:
            watch.cancel()
            if process.poll() is None and sys.exc_info()[0] is not None:
                process.kill()
        if process.wait():
            errors.seek(0)
            lines = errors.read().strip().splitlines() or [""]
            reason = f"its process ended with status {process.returncode}: {lines[-1]}"
            if perf_counter() - begun > limit:
                reason = f"its process was stopped after {limit:.0f} s"
            yield {"skipped": reason, "points": []}


def _pair(task: dict[str, Any], say: Callable[[dict[str, Any]], None]) -> None:
    """Measure the points of one rival: what the process of a pair does."""
    (rival,) = (rival for rival in RIVALS if rival.name == task["rival"])
    name, *_ = rival.packages
    version = getattr(import_module(name), "__version__", None) or metadata.version(name)
    copy_name, copy, copy_from_bytes = _limit_copy(rival.gpu, task["copy_from_bytes"])
    points = [Point(*point) for point in task["points"]]
    for point in {(p.function, p.operation): p for p in points}.values():  # compile, before the time counts
        case = _case(point._replace(form="default", rows=1, columns=1))
        assert case is not None
        ours(case).result()
    say({"version": f"{name} {version}", "copy": copy_name})
    begun = perf_counter()
    for index, point in enumerate(points):
        seconds = task["seconds_per_point"]
        if task["seconds"] is not None:
            left = task["seconds"] - (perf_counter() - begun)
            if left < 0:
                say({"skipped": "no time left in a pass", "points": points[index:], "done": len(points) - index})
                return
            seconds = left / (len(points) - index)

        def report(reason: str, point: Point = point) -> None:
            say({"skipped": reason, "points": [point]})

        try:
            measurement = measure(rival, point, seconds, task["seconds_per_block"], copy_from_bytes, copy, report)
            say({"measurement": _plain(measurement)})
        except NotMeasuredError as why:
            if str(why):
                report(str(why))
        except Exception as error:  # ours, or the memory
            report(_one_line(error))
        say({"done": 1})


def _limit_copy(gpu: bool, beyond_caches: float) -> tuple[str, Callable[[Any, Any], object], float]:
    """Give what bounds the speed of large arrays, and from how many bytes on.

    That is a copy on the GPU, or by our threads past the caches, if there is one.
    """
    if gpu:
        cupy = import_module("cupy")
        return "cupy.copyto", cupy.copyto, cupy.cuda.Device().attributes["L2CacheSize"]
    try:
        copy: Callable[[Any, Any], object] = import_module("rectifier.tools.bench.stream_copy").stream_copy
    except (ImportError, AttributeError):
        return "numpy.copyto", np.copyto, beyond_caches
    return "rectifier.tools.bench.stream_copy", copy, beyond_caches


def name_call(point: Point, with_function: bool = True) -> str:
    """Write a point out without its size."""
    words = [point.function] * with_function + [point.operation.replace("_from_", " ")]
    words += [FORM_TITLES.get(point.form, point.form), "idle" if point.state == "idle" else ""]
    words += ["on the GPU" if point.device == "gpu" else ""]
    return " ".join(word for word in words if word)


def describe_point(point: Point) -> str:
    """Write a point out in a line."""
    return f"{name_call(point)}, {point.dtype}, {point.rows} x {point.columns}"


_FIRST = """
import json, sys, time
from pathlib import Path
before = time.perf_counter()
{imports}
imported = time.perf_counter()
{expression}
now = time.time()
# ru_maxrss would be the parent's, who forked.
status = Path("/proc/self/status")
lines = status.read_text().splitlines() if status.exists() else []
peak = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)
print(json.dumps([imported - before, now - float(sys.argv[1]), peak]))
"""


def _first_uses(
    rivals: Sequence[Rival],
    runs: int,
    threads: int,
    skip: Callable[[str], object],
    start: Callable[[str, int], Callable[[], object]],
) -> dict[str, dict[str, float | None]]:
    programs = [(f"rectifier, {store} store", "rectifier", OUR_FIRST, store) for store in ("empty", "filled")]
    programs += [(rival.name, rival.packages[0], rival.first, "filled") for rival in rivals if rival.first]
    advance = start("first use", len(programs))
    found = {}
    for name, package, program, store in programs:
        try:
            with tempfile.TemporaryDirectory() as directory:
                found[name] = _first_use(package, program, store, Path(directory), runs, environment(threads))
        except (subprocess.SubprocessError, OSError, LookupError, ValueError) as error:
            skip(f"{name}: first use: {' '.join(str(error).split())}")
        advance()
    return found


def _first_use(
    package: str, program: tuple[str, str], store: str, directory: Path, runs: int, environment: dict[str, str]
) -> dict[str, float | None]:
    """Time a program that computes one result, from the start of its process, with a store of machine code."""
    code = _FIRST.format(imports=program[0], expression=program[1])
    files = installed_files(package)
    count = 0

    def once(evicting: bool) -> list[Any]:
        nonlocal count
        count += 1
        kept = directory / (f"store-{count}" if store == "empty" else "store")
        kept.mkdir(mode=0o700, exist_ok=True)
        if evicting:
            _evict([*files, *(path for path in kept.rglob("*") if path.is_file())])
        command = [sys.executable, "-P", "-c", code, str(time.time())]
        done = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=120,
            env={**environment, "RECTIFIER_STORE": str(kept)},
        )
        if done.returncode:
            raise ValueError((done.stderr.splitlines() or [f"ended with status {done.returncode}"])[-1])
        figures: list[Any] = json.loads(done.stdout.splitlines()[-1])
        return figures

    once(False)
    imports, results, peaks = zip(*(once(False) for _ in range(runs)), strict=True)
    from_disk = [once(True)[1] for _ in range(runs)] if hasattr(os, "posix_fadvise") else []
    return {
        "import_seconds": statistics.median(imports),
        "first_result_seconds": statistics.median(results),
        "first_result_from_disk_seconds": statistics.median(from_disk) if from_disk else None,
        "peak_memory_bytes": None if None in peaks else statistics.median(peaks),
        "installed_bytes": sum(path.stat().st_size for path in files),
    }


def _evict(files: Sequence[Path]) -> None:
    """Put files out of the page cache, except what another process has mapped."""
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())  # what is still to be written stays
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def installed_files(package: str) -> list[Path]:
    """List the files of a package, and of everything that it requires."""
    # Matplotlib, which draws the pictures, requires it.
    from packaging.requirements import Requirement

    spec = importlib.util.find_spec(package)
    found = {path for folder in (spec and spec.submodule_search_locations) or () for path in Path(folder).rglob("*")}
    names, seen = metadata.packages_distributions().get(package, [package]), set[str]()
    while names:
        name = names.pop()
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        if distribution.metadata["Name"] in seen:
            continue
        seen.add(distribution.metadata["Name"])
        found.update(Path(str(distribution.locate_file(file))) for file in distribution.files or ())
        for line in distribution.requires or ():
            requirement = Requirement(line)
            if not requirement.marker or requirement.marker.evaluate({"extra": ""}):
                names.append(requirement.name)
    return sorted({path.resolve() for path in found if path.is_file()})


def save(result: Run, path: Path) -> None:
    """Write a run as JSON, a measurement a line."""
    head = _plain(result)
    lines = ",\n".join(json.dumps(_plain(measurement)) for measurement in head.pop("measurements"))
    text = json.dumps({"schema": SCHEMA, **head}, indent=1)
    write(path, f'{text[:-2]},\n "measurements": [\n{lines}\n]}}\n'.encode())


def _plain(record: Run | Measurement) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(record)}


def write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    beside = path.with_name(f".{path.name}.part")
    try:
        beside.write_bytes(data)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read(path: Path, schema: Any, command: str, make: Callable[[dict[str, Any]], Kept]) -> Kept:
    """Read JSON that a command wrote, and make of it what was kept.

    Raises
    ------
    ValueError
        If it is something else.
    OSError
        If it cannot be read.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found.pop("schema") != schema:
            raise ValueError
        return make(found)
    except (ValueError, LookupError, TypeError, AttributeError):
        raise ValueError(f"{path}: not a file that rectifier {command} wrote, or another version of it") from None


def load(path: Path) -> Run:
    """Read what `save` wrote, as `read` does."""
    return read(path, SCHEMA, "bench", _run_of)


def _run_of(found: dict[str, Any]) -> Run:
    measurements = tuple(map(_measurement, found.pop("measurements")))
    if unknown := {m.rival for m in measurements} - {rival.name for rival in RIVALS}:
        raise ValueError(f"no rival {', '.join(sorted(unknown))}")
    return Run(**{**found, "skipped": tuple(found["skipped"])}, measurements=measurements)


def _measurement(found: dict[str, Any]) -> Measurement:
    times = {name: tuple(map(tuple, value)) for name, value in found.items() if name.endswith("_nanoseconds")}
    measurement = Measurement(**{**found, "point": Point(*found["point"]), **times})
    shapes = {tuple(map(len, value)) for name, value in times.items() if value or not name.startswith("copy")}
    if len(shapes) != 1 or not all(values and min(values) > 0 for value in times.values() for values in value):
        raise ValueError("rounds are missing")
    if measurement.point.operation not in FORMS or measurement.point.form not in FORMS["value"]:
        raise ValueError("no such point")
    return measurement


def _main() -> None:
    task = json.load(sys.stdin)
    said = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # a rival may print
    _pair(task, lambda message: print(json.dumps(message), file=said, flush=True))


if __name__ == "__main__":
    _main()
