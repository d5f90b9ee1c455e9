"""Ours and a rival side by side, in a process for each pair: ``python -m rectifier.bench.runner`` is that process.

In a round each of ours, the rival and a copy is timed once, in an order that rotates, each after a pause (in
which threads that spin go to sleep) and a warm-up that is discarded. A ratio is taken within its round, so
both of its times saw the same load of the machine; rounds go on until the median ratio is known well or the
time is up.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import timeit
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from importlib import import_module, metadata
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from ..catalogue import CATALOGUE
from ..machine import describe
from .rivals import OUR_FIRST, RIVALS, Call, Case, Rival, ours

SCHEMA = "rectifier-bench/1"
DTYPES = ("float16", "bfloat16", "float32", "float64")
THREADS = 1  # what a call of this library uses
SQUARES = ((10, 10), (30, 30), (100, 100), (300, 300), (1000, 1000), (3000, 3000))  # the recipe's
DECADES = ((1, 1), (1, 10), (10, 100), (100, 1000), (1000, 10_000), (10_000, 10_000))  # with the squares, 1 to 1e8
QUICK = ((30, 30), (300, 300), (1000, 1000))
FORMS = {
    "value": ("default", "out", "in_place", "slice"),
    "derivative": ("default", "out"),
    "backward": ("default", "out"),
    "backward_from_mask": ("default", "out"),
}
IDLE = ((100, 100), (1000, 1000))
QUICK_SECONDS = 95.0
SECONDS_PER_POINT = 0.4
# Seven: the fewest whose range holds the median with more than 95 % (Conover 1999, Practical Nonparametric
# Statistics, section 3.2: order statistics of a binomial count), with one to spare.
FEWEST_ROUNDS, MOST_ROUNDS = 7, 40
NARROW, WIDE = 0.01, 0.1  # half of an interval, relative: known well, and not known well enough
_LIBRARY_THREADS = dict.fromkeys(
    (
        "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "NUMEXPR_MAX_THREADS",
        "NPROC",  # JAX
    ),
    str(THREADS),
)  # fmt: skip


class Point(NamedTuple):
    """What is measured: a direction of a function, called in a form, on a batch.

    Attributes
    ----------
    function, direction, form : str
        As in `rivals.Case`.
    state : str
        hot, or idle: one call after 10 ms without work.
    dtype : str
        Of the batch.
    rows, columns : int
        Its shape; a slice is ``x[:, :-1]`` of a batch with one column more.
    """

    function: str
    direction: str
    form: str
    state: str
    dtype: str
    rows: int
    columns: int

    @property
    def elements(self) -> int:
        """How many the call computes."""
        return self.rows * self.columns


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
    ours_nanoseconds, rival_nanoseconds, copy_nanoseconds : tuple of float
        Time of a call in each round; the copy is `numpy.copyto` between arrays of the same shape.
    """

    rival: str
    point: Point
    rival_call: str
    rival_dtype: str
    ours_nanoseconds: tuple[float, ...]
    rival_nanoseconds: tuple[float, ...]
    copy_nanoseconds: tuple[float, ...]

    @cached_property
    def ratios(self) -> list[float]:
        """The rival's time divided by ours, round by round."""
        return [b / a for a, b in zip(self.ours_nanoseconds, self.rival_nanoseconds, strict=True)]

    @cached_property
    def times_faster(self) -> float:
        """The median of `ratios`; below 1 ours is slower."""
        return statistics.median(self.ratios)

    @cached_property
    def interval(self) -> tuple[float, float]:
        """Where the median of the ratios lies, with 95 % confidence."""
        return interval_of_median(self.ratios)

    @property
    def conclusive(self) -> bool:
        """Whether the interval is narrow enough to say anything."""
        return half_width(self.ratios) <= WIDE

    @property
    def verdict(self) -> str:
        """Say who is faster, if that is known: ours, rival or undecided."""
        low, high = self.interval
        return "ours" if low > 1 else "rival" if high < 1 else "undecided"

    @cached_property
    def fraction_of_copy(self) -> float:
        """The time of copying as many bytes as ours moves, divided by ours."""
        moved = {"backward": 3.0, "backward_from_mask": 2 + 1 / (8 * _itemsize(self.point.dtype))}
        arrays = moved.get(self.point.direction, 2.0)
        rounds = zip(self.copy_nanoseconds, self.ours_nanoseconds, strict=True)
        return statistics.median(arrays / 2 * copy / own for copy, own in rounds)


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
    machine : dict
        `rectifier.machine.describe`, and the governor of the processor's frequency.
    rivals : dict
        Versions of the packages that were measured, by the rival's name.
    skipped : tuple of str
        A line for each rival or point that was not measured, with the reason.
    first_use : dict
        For each name, what a program that computes one result takes.
    measurements : tuple of Measurement
        The rest.
    """

    started: str
    seconds: float
    quick: bool
    machine: dict[str, Any]
    rivals: dict[str, str]
    skipped: tuple[str, ...]
    first_use: dict[str, dict[str, float]]
    measurements: tuple[Measurement, ...]

    def points(self) -> list[Point]:
        """Give what was measured, in the order of the tables."""
        found = {measurement.point for measurement in self.measurements}
        directions, forms = list(FORMS), list(FORMS["value"])
        return sorted(
            found,
            key=lambda p: (
                p.function, directions.index(p.direction), forms.index(p.form), p.state, p.elements, p.columns,
            ),
        )  # fmt: skip

    def at(self, point: Point) -> list[Measurement]:
        """Give the measurements at a point, the fastest rival first."""
        return sorted((m for m in self.measurements if m.point == point), key=lambda m: m.times_faster)


def interval_of_median(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Give two order statistics that hold the median with at least this confidence, if there are enough values.

    Parameters
    ----------
    values : sequence of float
        Independent, of any distribution.
    confidence : float
        Below 1.

    Returns
    -------
    tuple of float
    """
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


def alternate(
    timers: Mapping[str, timeit.Timer],
    number: Mapping[str, int],
    warm_up: Mapping[str, int] | None = None,
    pause_seconds: float = 0.0,
) -> Iterator[dict[str, float]]:
    """Time each once a round, in an order that rotates, without end.

    Parameters
    ----------
    timers : mapping of str to Timer
        Whom to time.
    number : mapping of str to int
        Calls that are timed.
    warm_up : mapping of str to int, optional
        Calls before that, whose time is discarded.
    pause_seconds : float
        Before each.

    Yields
    ------
    dict of str to float
        Seconds a call.
    """
    names = list(timers)
    while True:
        sample = {}
        for name in names:
            if pause_seconds:
                time.sleep(pause_seconds)
            if warm_up:
                timers[name].timeit(warm_up[name])
            sample[name] = timers[name].timeit(number[name]) / number[name]
        yield sample
        names.append(names.pop(0))


def calls_for(timer: timeit.Timer, seconds: float) -> int:
    """Say how many calls last so long."""
    return max(1, round(seconds / min(timer.repeat(3, 1))))


@lru_cache(maxsize=1)
def _batch(rows: int, columns: int, dtype: str) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal((rows, columns), np.float32).astype(_dtype(dtype)) for _ in range(2))
    return x, dy


def _dtype(name: str) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.dtype(import_module("ml_dtypes").bfloat16 if name == "bfloat16" else name)
    return dtype


def _itemsize(name: str) -> int:
    return {"float64": 8, "float32": 4}.get(name, 2)


def _case(point: Point) -> Case | None:
    """Make the data of a point; None where repeated calls in place would not do the same work each time."""
    function: Any = CATALOGUE[point.function]
    x, dy = _batch(point.rows, point.columns + (point.form == "slice"), point.dtype)
    if point.form == "slice":
        x, dy = x[:, :-1], dy[:, :-1]
    out = None
    if point.form == "in_place":
        x = out = np.abs(x)  # a leaky one of negative numbers ends in subnormals
        if not np.array_equal(function(x), x):
            return None
    elif point.form == "out":
        out = np.empty_like(x)
    slope = x.dtype.type(function.block.parameters.get("negative_slope", 0))
    return Case(point.function, point.direction, point.form, dy, x, function(x), out, slope)


def _timer(call: Call) -> timeit.Timer:
    statement, names = call.statement()
    return timeit.Timer(statement, globals=names)


class NotMeasuredError(Exception):
    """A point has nothing to measure, or nothing comparable."""


def measure(rival: Rival, point: Point, seconds: float, seconds_per_block: float) -> Measurement:
    """Measure one point against one rival.

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

    Returns
    -------
    Measurement

    Raises
    ------
    NotMeasuredError
        If the rival does not offer it (with no message), or computes something else.
    """
    case = _case(point)
    if case is None:
        raise NotMeasuredError
    own = ours(case)
    expected = own.result()
    exact = CATALOGUE[point.function].block.selects
    timers, texts, dtypes = {}, {}, {}
    for call in rival.calls(case):
        result = call.result()
        tolerance = 0 if exact else 8 * np.finfo(np.float32).eps if _itemsize(point.dtype) > 2 else 2**-6
        a, b = (np.asarray(array).astype(np.float64) for array in (result, expected))
        if a.shape != b.shape or not np.allclose(a, b, rtol=tolerance, atol=0):
            raise NotMeasuredError(f"the results of {call.text} differ from ours")
        timer = _timer(call)
        once = max(1, calls_for(timer, seconds_per_block / 4))
        key = min(timer.repeat(3, once)) / once
        timers[key], texts[key], dtypes[key] = timer, call.text, result.dtype.name
    if not timers:
        raise NotMeasuredError
    best = min(timers)
    target = np.empty(case.x.shape, case.x.dtype)
    competitors = {
        "ours": _timer(own),
        "rival": timers[best],
        "copy": timeit.Timer("copy(y, x)", globals={"copy": np.copyto, "y": target, "x": case.x}),
    }
    if point.state == "idle":
        number = dict.fromkeys(competitors, 1)
        samples = alternate(competitors, number, None, 0.01)
    else:
        number = {name: calls_for(timer, seconds_per_block) for name, timer in competitors.items()}
        # A call of 20 ms needs none: it leaves nothing of what was in the caches.
        warm_up = {
            name: 0 if competitors[name].timeit(1) > 0.02 else math.ceil(calls / 4) for name, calls in number.items()
        }
        samples = alternate(competitors, number, warm_up, 1e-3)
    rounds: list[dict[str, float]] = []
    end = perf_counter() + seconds
    for sample in samples:
        rounds.append(sample)
        ratios = [sample["rival"] / sample["ours"] for sample in rounds]
        if len(rounds) >= FEWEST_ROUNDS and (perf_counter() > end or half_width(ratios) < NARROW):
            break
        if len(rounds) == MOST_ROUNDS:
            break
    times = ([_nanoseconds(sample[name]) for sample in rounds] for name in ("ours", "rival", "copy"))
    return Measurement(rival.name, point, texts[best], dtypes[best], *map(tuple, times))


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
        Three squares, instead of the recipe's squares and all powers of ten to 1e8.

    Returns
    -------
    list of Point
    """
    shapes = QUICK if quick else sorted(SQUARES + DECADES, key=math.prod)
    memory_bytes = describe().memory_bytes or math.inf
    points = []
    for rows, columns in shapes:
        # Twelve arrays at once: ours, the rival's own, what its operators keep.
        if 12 * rows * columns * _itemsize(dtype) > memory_bytes / 2:
            continue
        for function in functions:
            for direction, forms in FORMS.items():
                if direction == "backward_from_mask" and "mask" not in CATALOGUE[function].block.backward_from:
                    continue
                for form in forms:
                    if form == "slice" and columns < 2:
                        continue
                    # The last size takes minutes.
                    if rows * columns > 2e7 and (form != "default" or direction not in ("value", "backward")):
                        continue
                    points.append(Point(function, direction, form, "hot", dtype, rows, columns))
            if (rows, columns) in (IDLE[1:] if quick else IDLE):
                points.append(Point(function, "value", "default", "idle", dtype, rows, columns))
    return points


def run(
    points: Sequence[Point],
    rivals: Sequence[Rival] = RIVALS,
    quick: bool = False,
    seconds_per_point: float = SECONDS_PER_POINT,
    first_uses: int = 3,
    start: Callable[[str, int], Callable[[], object]] = lambda stage, steps: lambda: None,
) -> Run:
    """Measure ours against each rival, one process for each pair.

    Parameters
    ----------
    points : sequence of Point
        What to measure.
    rivals : sequence of Rival
        Against whom.
    quick : bool
        Share out `QUICK_SECONDS` instead of giving each point its time.
    seconds_per_point : float
        How long to go on with a point whose ratio is not known well yet.
    first_uses : int
        How often to start each process for a first result after one from disk; 0, or quick: never.
    start : callable
        Called with the name of a stage and its number of steps; what it returns is called after each.

    Returns
    -------
    Run
    """
    begun = perf_counter()
    started = datetime.now(UTC).isoformat(timespec="seconds")
    machine = json.loads(json.dumps({**asdict(describe()), "governor": _governor()}))  # lists, as `load` gives them
    skipped = [f"{rival.title}: {reason}" for rival in rivals if (reason := rival.missing())]
    skipped += [f"{rival.title}: not in the quick run" for rival in rivals if quick and not rival.quick]
    present = [rival for rival in rivals if not rival.missing() and (rival.quick or not quick)]
    versions: dict[str, str] = {}
    measurements: list[Measurement] = []
    first_use = _first_uses(present, first_uses, start) if first_uses and not quick else {}
    for index, rival in enumerate(present):
        advance = start(rival.title, len(points))
        left = QUICK_SECONDS - (perf_counter() - begun)
        task = {
            "rival": rival.name,
            "points": list(points),
            "seconds_per_point": seconds_per_point,
            "seconds_per_block": 5e-4 if quick else 2e-3,
            "deadline": time.time() + max(0.0, left / (len(present) - index)) if quick else None,
        }
        for message in _converse(task):
            if "measurement" in message:
                measurements.append(_measurement(message["measurement"]))
            elif "version" in message:
                versions[rival.name] = message["version"]
            elif message.get("skipped"):
                skipped.append(f"{rival.title}: {message['skipped']}")
            if "version" not in message:
                advance()
    return Run(
        started,
        round(perf_counter() - begun, 1),
        quick,
        machine,
        versions,
        tuple(skipped),
        first_use,
        tuple(measurements),
    )


def _governor() -> str | None:
    try:
        return Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text().strip()
    except OSError:
        return None


def _converse(task: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Start the process of a pair, and give what it says until it ends."""
    environment = {**os.environ, **_LIBRARY_THREADS, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1"}
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "rectifier.bench.runner"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        watch = threading.Timer(600 + 20 * len(task["points"]) * task["seconds_per_point"], process.kill)
        watch.start()
        try:
            process.stdin.write(json.dumps(task))
            process.stdin.close()
            yield from map(json.loads, process.stdout)
        finally:
            watch.cancel()
            if process.poll() is None and sys.exc_info()[0] is not None:
                process.kill()
        if process.wait():
            errors.seek(0)
            lines = errors.read().strip().splitlines() or [""]
            yield {"skipped": f"its process ended with status {process.returncode}: {lines[-1]}"}


def _pair(task: dict[str, Any], say: Callable[[dict[str, Any]], None]) -> None:
    """Measure the points of one rival: what the process of a pair does."""
    (rival,) = (rival for rival in RIVALS if rival.name == task["rival"])
    package = import_module(rival.package)
    say({"version": f"{rival.package} {getattr(package, '__version__', None) or metadata.version(rival.package)}"})
    points = [Point(*point) for point in task["points"]]
    for index, point in enumerate(points):
        seconds = task["seconds_per_point"]
        if task["deadline"] is not None:
            left = task["deadline"] - time.time()
            if left < 0:
                say({"skipped": f"no time left for {len(points) - index} of {len(points)} points"})
                return
            seconds = left / (len(points) - index)
        try:
            measurement = measure(rival, point, seconds, task["seconds_per_block"])
        except NotMeasuredError as why:
            say({"skipped": str(why) and f"{describe_point(point)}: {why}"})
        except Exception as error:  # a rival may lack a dtype, and says so in a way of its own
            first_line, *_ = str(error).splitlines() or [""]
            say({"skipped": f"{describe_point(point)}: {type(error).__name__}: {first_line}"})
        else:
            say({"measurement": asdict(measurement)})


def describe_point(point: Point) -> str:
    """Write a point out in a line."""
    form = {"default": "", "out": " out=", "in_place": " in place"}.get(point.form, f" {point.form}")
    call = f"{point.function} {point.direction.replace('_', ' ')}{form}{' idle' if point.state == 'idle' else ''}"
    return f"{call}, {point.dtype}, {point.rows} x {point.columns}"


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
peak = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)
print(json.dumps([imported - before, now - float(sys.argv[1]), peak]))
"""


def _first_uses(
    rivals: Sequence[Rival], runs: int, start: Callable[[str, int], Callable[[], object]]
) -> dict[str, dict[str, float]]:
    programs = {"rectifier": ("rectifier", OUR_FIRST)}
    programs.update((rival.name, (rival.package, rival.first)) for rival in rivals if rival.first)
    advance = start("first use", len(programs))
    found = {}
    for name, (package, program) in programs.items():
        found[name] = _first_use(package, program, runs)
        advance()
    return {name: figures for name, figures in found.items() if figures}


def _first_use(package: str, program: str, runs: int) -> dict[str, float]:
    """Time a program that computes one result, from the start of its process; empty where it fails."""
    imports, _, expression = program.rpartition("; ")
    code = _FIRST.format(imports=imports, expression=expression)
    files = _files(package)
    cold, *warm = (_time_program(code, files if k == 0 else []) for k in range(1 + runs))
    if cold is None or None in warm:
        return {}
    import_seconds, first_result_seconds, peak = (statistics.median(column) for column in zip(*warm, strict=True))
    return {
        "import_seconds": import_seconds,
        "first_result_seconds": first_result_seconds,
        "first_result_from_disk_seconds": cold[1],
        "peak_memory_bytes": peak,
        "installed_bytes": sum(path.stat().st_size for path in files),
    }


def _files(package: str) -> list[Path]:
    spec = importlib.util.find_spec(package)
    directories = spec.submodule_search_locations or [] if spec else []
    return [path for directory in directories for path in Path(directory).rglob("*") if path.is_file()]


def _time_program(code: str, evict: Sequence[Path]) -> list[float] | None:
    for path in evict:  # its own files leave the page cache; nobody else's do
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    command = [sys.executable, "-c", code, str(time.time())]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
    if done.returncode:
        return None
    figures: list[float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def save(result: Run, path: Path) -> None:
    """Write a run as JSON, a measurement a line."""
    fields = asdict(result)
    lines = ",\n".join(json.dumps(measurement) for measurement in fields.pop("measurements"))
    head = json.dumps({"schema": SCHEMA, **fields}, indent=1)
    write(path, f'{head[:-2]},\n "measurements": [\n{lines}\n]}}\n'.encode())


def write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    beside = path.with_name(f".{path.name}.part")
    try:
        beside.write_bytes(data)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def load(path: Path) -> Run:
    """Read what `save` wrote.

    Raises
    ------
    ValueError
        If it is something else.
    OSError
        If it cannot be read.
    """
    try:
        fields = json.loads(path.read_text())
        if fields.pop("schema") != SCHEMA:
            raise ValueError
        measurements = tuple(map(_measurement, fields.pop("measurements")))
        return Run(**{**fields, "skipped": tuple(fields["skipped"])}, measurements=measurements)
    except (ValueError, LookupError, TypeError, AttributeError):
        raise ValueError(f"{path}: not a file that rectifier bench wrote, or another version of it") from None


def _measurement(fields: dict[str, Any]) -> Measurement:
    times = {name: tuple(map(float, value)) for name, value in fields.items() if name.endswith("_nanoseconds")}
    if len(set(map(len, times.values()))) != 1 or not all(min(values) > 0 for values in times.values()):
        raise ValueError("rounds are missing")
    return Measurement(**{**fields, "point": Point(*fields["point"]), **times})


def _main() -> None:
    task = json.load(sys.stdin)
    said = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # a rival may print
    _pair(task, lambda message: print(json.dumps(message), file=said, flush=True))


if __name__ == "__main__":
    _main()
