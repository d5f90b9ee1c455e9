"""Every input there is, or some millions that were chosen with malice, against the truth.

The truth is the block's `exact`, which shares nothing with our formulas. In float64, mpmath evaluates it. For results
of up to 24 bits it is evaluated in float64 first (the sieve), and where that finds an error worse than the worst so
far, again in long doubles: what is reported is theirs. In each run the sieve itself is compared with mpmath. It needs
mpmath, SciPy, and ml_dtypes for bfloat16.
"""

from __future__ import annotations

import ast
import hashlib
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from importlib.metadata import version
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import Any

import mpmath
import numpy as np

from ... import testing
from ...engine import fingerprint, limits
from ...formulas.mpmath import Dual, Mathematics
from ...formulas.text import describe
from ...functions.protocols import Activation
from ...functions.specification import Rowwise, Specification
from . import several
from .peers import CHUNK, LIBRARIES, peer, peers_of_rows

DTYPES = testing.FLOATS
OPERATIONS = ("value", "derivative", "backward")
OURS = "rectifier"
POINTS = {"float32": 1 << 22, "float64": 20_000}  # the others have 65,536 values, and all are taken
# What `backward` is given: the first, where all float32 are checked; not the last in float64, as it would multiply
# what a derivative has lost that is too small for float64.
GRADIENTS = (-0.7, 1.0, 3000.0)
SCHEMA = 1  # of verify.json; also to be raised when a kept result would be found differently

_TASK = {"float32": 1 << 22, "float64": 1 << 10}  # inputs of one task, some 0.1 s or a second of work
# Long doubles judge what the sieve finds worse than the worst so far by more than this, or above the bound, and all
# that is near a zero of the derivative, where the sieve's own rounding is not small.
MARGIN, _NEAR_ZERO = 1e-5, 2.0**-10
SAMPLES = 400
# Long doubles have 64 bits, and the exact result of one operation on two float32 may need more.
_EXACT_TO = 1e-9


@dataclass
class Tally:
    """What was found in one operation, of ours or of another library.

    Attributes
    ----------
    points : int
        Inputs that were checked.
    worst_ulp : float
        Largest error, in units in the last place of the exact result; infinite where NaN, an infinity or a number was
        to come out and did not.
    at, result, exact : str
        The input where it is, what came out, and what should have.
    correctly_rounded, within_1_ulp : int
        Results with an error of at most 0.5, and at most 1.
    out_of_order : int
        Pairs of neighbouring inputs between which the truth rises and the results fall, or the other way round.
    out_of_order_at : str
        The lower input of one such pair.
    """

    points: int = 0
    worst_ulp: float = -1.0
    at: str = ""
    result: str = ""
    exact: str = ""
    correctly_rounded: int = 0
    within_1_ulp: int = 0
    out_of_order: int = 0
    out_of_order_at: str = ""

    def count(self, x: Any, result: Any, truth: Any, errors: Any) -> None:
        """Take in the errors of so many results."""
        self.points += errors.size
        self.correctly_rounded += int(np.count_nonzero(errors <= 0.5 + _EXACT_TO))
        self.within_1_ulp += int(np.count_nonzero(errors <= 1 + _EXACT_TO))
        k = int(errors.argmax())
        if errors[k] > self.worst_ulp:
            self.worst_ulp, self.at, self.result = float(errors[k]), str(x[k]), str(result[k])
            self.exact = mpmath.nstr(truth[k], 20) if truth.dtype == object else repr(float(truth[k]))

    def add(self, other: Tally) -> None:
        """Take in what another process found."""
        worst = max(self, other, key=lambda tally: tally.worst_ulp)
        self.worst_ulp, self.at, self.result, self.exact = worst.worst_ulp, worst.at, worst.result, worst.exact
        self.out_of_order_at = self.out_of_order_at or other.out_of_order_at
        for name in ("points", "correctly_rounded", "within_1_ulp", "out_of_order"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(frozen=True)
class Row:
    """The result in one operation, of ours or of another library.

    Attributes
    ----------
    operation, source : str
        One of `OPERATIONS`; "rectifier", "PyTorch", "JAX" or "SciPy".
    bound : float or None
        What the block promises; None for others.
    ordered : bool
        Whether neighbours were compared: where every input was taken.
    tally : Tally
        What was found.
    """

    operation: str
    source: str
    bound: float | None
    ordered: bool
    tally: Tally

    @property
    def holds(self) -> bool:
        """Whether no error is above the bound."""
        return self.bound is None or self.tally.worst_ulp <= self.bound + _EXACT_TO


@dataclass(frozen=True)
class Stage:
    """A function in a dtype.

    Attributes
    ----------
    function, dtype : str
        Which.
    exhaustive : bool
        Whether all values of the dtype were taken.
    digest : str
        Of what decides the results.
    seconds : float
        How long it took.
    truth_ulp : float
        Largest distance of the sieve from mpmath on samples, in units of `dtype`; 0 where mpmath is all there is.
    versions : dict
        Of the other libraries.
    rows : tuple of Row
        One a operation and library.
    """

    function: str
    dtype: str
    exhaustive: bool
    digest: str
    seconds: float
    truth_ulp: float
    versions: dict[str, str]
    rows: tuple[Row, ...]

    @property
    def holds(self) -> bool:
        """Whether all bounds hold, and the truth was good enough to say so."""
        return self.truth_ulp <= MARGIN and all(row.holds for row in self.rows)

    @property
    def key(self) -> tuple[Any, ...]:
        """Tell whether it would be found again."""
        return self.function, self.dtype, self.exhaustive, self.digest, tuple(self.versions.items())

    def row(self, operation: str, source: str = OURS) -> Row | None:
        """Give a row, if there is one."""
        return next((row for row in self.rows if (row.operation, row.source) == (operation, source)), None)


def verify(
    activations: Iterable[Activation],
    dtypes: Sequence[str] = DTYPES,
    *,
    exhaustive: bool = False,
    points: dict[str, int] = POINTS,
    processes: int | None = None,
    kept: Iterable[Stage] = (),
    start: Callable[[str, int], Callable[[int], object]] = lambda stage, points: lambda done: None,
    keep: Callable[[list[Stage]], object] = lambda stages: None,
) -> list[Stage]:
    """Check functions against the truth, and other libraries beside them.

    Parameters
    ----------
    activations : functions
        Of this package, or your own. Those of two arrays and of rows are checked on chosen pairs and rows.
    dtypes : names of floating dtypes
        In which to check. All values of a 16-bit dtype are taken.
    exhaustive : bool
        Whether to take all 2^32 float32; the other libraries are then still checked on the chosen ones.
    points : dict
        How many float32 and float64 to choose.
    processes : int, optional
        Among which to share the work; all processors that may be used if none. 1 is this process itself. Others are
        spawned: a script that calls this needs ``if __name__ == "__main__"``.
    kept : Stages
        Of an earlier run: what would be found again is taken from there.
    start : callable
        Called with the name and the inputs of each stage; what it returns, with the number of inputs that were done.
    keep : callable
        Called with all stages after each.

    Returns
    -------
    list of Stage
        For each function, one a dtype.

    Examples
    --------
    >>> from rectifier import relu
    >>> [stage] = verify([relu], ["bfloat16"], processes=1)
    >>> stage.holds, stage.row("value").tally.worst_ulp
    (True, 0.0)
    """
    processes = processes or limits.processors().allowed
    known = {stage.key: stage for stage in kept}
    # All digests before any work: whoever edits a file meanwhile does not change what is running.
    plan = [(activation, _blank(activation, dtype, exhaustive)) for activation in activations for dtype in dtypes]
    pool = _pool(processes) if processes > 1 else None
    try:
        for activation, stage in plan:
            if stage.key not in known:
                begin = partial(start, f"{stage.function} {stage.dtype}")
                if is_of_several(activation):
                    known[stage.key] = several.check(stage, activation, begin)
                else:
                    tasks = _tasks(activation, stage.dtype, stage.exhaustive, points)
                    known[stage.key] = _fill(stage, activation, tasks, pool, begin(sum(len(t.ranks) for t in tasks)))
                keep([known[stage.key] for _, stage in plan if stage.key in known])
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)
    return [known[stage.key] for _, stage in plan]


def is_of_several(activation: Any) -> bool:
    """Say whether a function takes pairs or rows of numbers."""
    return isinstance(activation.block, Rowwise) or hasattr(activation, "gradient")


def _blank(activation: Any, dtype: str, exhaustive: bool) -> Stage:
    if is_of_several(activation):
        rows = isinstance(activation.block, Rowwise)
        versions = {source: version(LIBRARIES[source]) for source in peers_of_rows(activation.__name__, dtype) if rows}
        return Stage(activation.__name__, dtype, False, digest(activation.block), 0.0, 0.0, versions, ())
    block, name = activation.block, activation.block.full_name
    versions = {source: version(library) for source, library in LIBRARIES.items() if peer(source, name, dtype)}
    exhaustive = dtype in ("float16", "bfloat16") or (dtype == "float32" and exhaustive)
    return Stage(name, dtype, exhaustive, digest(block), 0.0, 0.0, versions, ())


def digest(block: Specification) -> str:
    """Name what decides the results: the block, and the code that reads it."""
    code, fields = block.exact.__code__, tuple[Any, ...]()
    parts = [code.co_code.hex(), repr(code.co_consts)]
    if isinstance(block, Rowwise):
        parts += [describe(formula) for formula in (block.value, block.weight, block.backward)]
    else:
        parts += [describe(block.value), describe(block.derivative)]
        fields = (block.parameters, block.special, block.kinks, block.zeros, block.ulp, block.wide)
    parts += [*map(repr, fields), *map(_code, fingerprint.files())]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _code(path: Path) -> str:
    """Give the code of a file without comments, layout and docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            del node.body[0]
    return ast.dump(tree)


@dataclass(frozen=True)
class _Task:
    """Some inputs of a stage: those of these ranks among all values of the dtype, or among the chosen ones."""

    activation: Any
    dtype: str
    ranks: range
    among: int | None  # how many are chosen; None is all
    sources: tuple[str, ...]


def _tasks(activation: Any, dtype: str, exhaustive: bool, points: dict[str, int]) -> list[_Task]:
    name = activation.block.full_name
    peers = tuple(source for source in LIBRARIES if peer(source, name, dtype))

    def cut(total: int, among: int | None, sources: tuple[str, ...]) -> list[_Task]:
        size = _TASK.get(dtype, total)
        starts = range(0, total, size) if sources else ()
        return [_Task(activation, dtype, range(i, min(i + size, total)), among, sources) for i in starts]

    if dtype == "float32" and exhaustive:
        among = points["float32"]
        return cut(1 << 32, None, (OURS,)) + cut(chosen(activation, dtype, among).size, among, peers)
    if exhaustive:
        return cut(1 << 16, None, (OURS, *peers))
    return cut(chosen(activation, dtype, points[dtype]).size, points[dtype], (OURS, *peers))


def _pool(processes: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(processes, get_context("spawn"), _begin)


def _begin() -> None:
    """Make a process one of many: one thread, and an end when its parent ends, however that came about."""
    from ...engine.settings import settings

    settings.threads = 1
    os.environ |= {"OMP_NUM_THREADS": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}

    def follow(parent: int) -> None:
        connection.wait([parent])
        os._exit(1)

    if parent := parent_process():
        threading.Thread(target=follow, args=(parent.sentinel,), daemon=True).start()


def _fill(
    stage: Stage,
    activation: Activation,
    tasks: list[_Task],
    pool: ProcessPoolExecutor | None,
    advance: Callable[[int], object],
) -> Stage:
    """Do the tasks of a stage, here or in a pool."""
    begin, found = time.perf_counter(), dict[tuple[str, str], Tally]()
    truth_ulp = truth_error(activation, stage.dtype) if stage.dtype != "float64" else 0.0
    for task, tallies in _done(tasks, pool):
        for key, tally in tallies.items():
            found.setdefault(key, Tally()).add(tally)
        advance(len(task.ranks))
    block, dtype = activation.block, testing.dtype_of(stage.dtype)
    order = [(operation, source) for operation in OPERATIONS for source in (OURS, *LIBRARIES)]
    rows = tuple(
        Row(
            operation,
            source,
            bound(block, dtype, operation) if source == OURS else None,
            source == OURS and stage.exhaustive and operation != "backward",
            found[operation, source],
        )
        for operation, source in order
        if (operation, source) in found
    )
    return replace(stage, seconds=time.perf_counter() - begin, truth_ulp=truth_ulp, rows=rows)


def _done(tasks: list[_Task], pool: ProcessPoolExecutor | None) -> Iterator[tuple[_Task, dict[tuple[str, str], Tally]]]:
    """Give the tasks with what they found, as they are done."""
    if pool is None:
        yield from ((task, _do(task)) for task in tasks)
    else:
        running = {pool.submit(_do, task): task for task in tasks}
        yield from ((running[future], future.result()) for future in as_completed(running))


def bound(block: Specification, dtype: np.dtype[Any], operation: str) -> float:
    """Give the largest error that a block allows in a operation: half a unit where one operation is rounded."""
    limit = testing.bound(block, dtype, derivative=operation != "value") or 0.5
    if operation != "backward" or limit <= 0.5 or dtype.itemsize == 2:
        return limit
    # A unit of the derivative may be two of the product. Where all is wide, that alone is rounded.
    return 2 * limit - 0.5 if block.wide and dtype != np.float64 else 2 * limit + 0.5


def ranked(dtype: np.dtype[Any], ranks: Any) -> np.ndarray[Any, Any]:
    """Give the values of a dtype by their rank: NaN with a sign first, then -inf and so on upwards to inf and NaN.

    Examples
    --------
    >>> ranked(np.dtype(np.float16), np.arange(0x7FFF, 0x8002)).tolist()
    [-0.0, 0.0, 5.960464477539063e-08]
    """
    bits = np.asarray(ranks).astype(f"u{dtype.itemsize}")
    sign = bits.dtype.type(1 << (8 * dtype.itemsize - 1))
    values: np.ndarray[Any, Any] = np.where(bits & sign, bits ^ sign, ~bits).view(dtype)
    return values


def rank(x: Any) -> np.ndarray[Any, Any]:
    """Give the rank of values: the inverse of `ranked`."""
    bits = x.view(f"u{x.itemsize}")
    sign = bits.dtype.type(1 << (8 * x.itemsize - 1))
    ranks: np.ndarray[Any, Any] = np.where(bits & sign, ~bits, bits ^ sign)
    return ranks


@lru_cache(maxsize=2)
def chosen(activation: Any, dtype_name: str, points: int) -> np.ndarray[Any, Any]:
    """Choose inputs where a function may go wrong, in ascending order.

    Half of them are random bits. The others are where functions bend, small numbers, and all neighbours of special
    points: 0, kinks, zeros of the derivative, and where a result becomes 0, 1, infinite, subnormal or x.
    """
    block, dtype, random = activation.block, testing.dtype_of(dtype_name), np.random.default_rng(0)
    top = 1 << (8 * dtype.itemsize)
    bits = random.integers(0, top, points // 2, np.dtype(f"u{dtype.itemsize}"))
    bend = random.uniform(-20, 20, points // 8)
    small = random.standard_normal(points // 8) * 2.0 ** -random.uniform(0, 40, points // 8)
    spots = [0.0, -1.0, 1.0, *(x for x, _ in block.kinks), *block.zeros, *(x for x, _ in block.special)]
    with np.errstate(all="ignore"):
        centres = np.unique([*rank(np.array(spots).astype(dtype)).tolist(), *_edges(activation, dtype)])
        reach = max(1, points // 8 // len(centres))
        runs = [np.arange(max(0, c - reach), min(top, c + reach), dtype=bits.dtype) for c in map(int, centres)]
        parts = [bits.view(dtype), bend.astype(dtype), small.astype(dtype), ranked(dtype, np.concatenate(runs))]
        # Of -0.0 and 0.0 one is gone as the other's double.
        return np.append(
            np.unique(np.concatenate([*parts, testing.special_values(dtype)])), np.array([-0.0, 0.0], dtype)
        )


def _edges(activation: Activation, dtype: np.dtype[Any]) -> list[int]:
    """Find the ranks between which a result becomes 0, 1, infinite, subnormal or x."""
    tiny = 2.0 ** (sum(testing._FORMATS[dtype.name]) - 1)

    def kind(ranks: Any) -> Any:
        x, kinds = ranked(dtype, ranks), 0
        for result in (activation(x), activation.derivative(x)):
            for condition in (result == 0, result == 1, np.isinf(result), abs(result) < tiny, result == x):
                kinds = 2 * kinds + condition
        return kinds

    integer = np.dtype(f"u{dtype.itemsize}")
    step = 1 << (8 * dtype.itemsize - 11)
    grid = np.arange(1 << 11, dtype=integer) * integer.type(step)
    kinds = kind(grid)
    low = grid[:-1][kinds[:-1] != kinds[1:]]
    high, below = low + integer.type(step), kind(low)
    while (high - low > 1).any():
        middle = low + (high - low) // integer.type(2)
        same = kind(middle) == below
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    edges: list[int] = low.tolist()
    return edges


class _Float64:
    """NumPy's functions of float64, and SciPy's erfc."""

    exp, expm1, log1p, tanh, cosh, sqrt, pi = np.exp, np.expm1, np.log1p, np.tanh, np.cosh, np.sqrt, math.pi

    @staticmethod
    def erfc(x: Any) -> Any:
        from scipy.special import erfc

        return erfc(x)


class _Sieve(Mathematics):
    def _bounded(self, number: Any) -> Any:
        return np.clip(number, -self._largest, self._largest)


# Of exp(-500) no result can be made out, and exp(500) times a slope of 1e77, as gelu_tanh has it, is a number.
SIEVE = _Sieve(_Float64, np.where, 500.0)


def _parameters(block: Specification, dtype: np.dtype[Any]) -> list[Any]:
    return testing.settings_of(block, dtype, {})


def _finite(x: Any) -> Any:
    """Put the largest numbers in the place of infinities, for the limit there."""
    largest = testing._largest(x.dtype)
    return np.clip(x, *np.array([-largest, largest]).astype(x.dtype))


def sieve(block: Specification, x: Any) -> tuple[Any, Any]:
    """Evaluate the textbook form and its derivative in float64."""
    numbers = [float(p) for p in _parameters(block, x.dtype)]
    result = Dual.of(block.exact(SIEVE, Dual(_finite(x).astype(np.float64), 1.0), *numbers))
    value, slope = (np.array(np.broadcast_to(part, x.shape), np.float64) for part in (result.number, result.slope))
    return value, slope


def _long_doubles(block: Specification, x: Any) -> tuple[Any, Any]:
    return testing.exact_arrays(block, _finite(x), _parameters(block, x.dtype))


def _by_mpmath(block: Specification, x: Any) -> tuple[Any, Any]:
    pairs = [testing.exact(block, v, _parameters(block, x.dtype)) for v in np.nan_to_num(_finite(x)).tolist()]
    value, slope = (np.array([pair[k] for pair in pairs] + [None], object)[:-1] for k in (0, 1))
    return value, slope


_Exact = Callable[[Specification, Any], tuple[Any, Any]]


def truth(block: Specification, x: Any, exact: _Exact) -> dict[str, Any]:
    """Give value and derivative, with what the block says of special values and kinks, and NaN of NaN."""
    value, slope = exact(block, x)
    for results, pairs in ((value, block.special), (slope, block.kinks)):
        for at, expected in pairs:
            results[x == np.array(at).astype(x.dtype)] = results.dtype.type(float(np.array(expected).astype(x.dtype)))
        results[np.isnan(x)] = results.dtype.type(math.nan)
    if not block.wide:  # what `backward` multiplies by is a number of the working type
        working = np.dtype(block.working(x.dtype.name))
        beyond = (np.abs(slope) > testing._largest(working)).astype(bool)
        slope[beyond] = np.sign(slope[beyond]) * math.inf
    return {"value": value, "derivative": slope}


def truth_error(activation: Any, dtype_name: str, samples: int = SAMPLES) -> float:
    """Give the largest distance of the sieve from mpmath, where it decides alone, in units of a dtype's last place."""
    block, dtype = activation.block, testing.dtype_of(dtype_name)
    x = chosen(activation, dtype_name, 1 << 14)
    with np.errstate(all="ignore"):
        x = x[np.isfinite(x) & ~_near_a_zero(block, x)]
        x = np.random.default_rng(1).choice(x, samples)
        distances = [
            _distance(y, t, dtype)
            for ours, theirs in zip(sieve(block, x), _by_mpmath(block, x), strict=True)
            for y, t in zip(ours.tolist(), theirs, strict=True)
        ]
    return max(distances)


def _distance(y: float, t: Any, dtype: np.dtype[Any]) -> float:
    """Give the distance in units in the last place; 0 where both round to infinity, or the sieve says nothing."""
    if not math.isfinite(y) or (math.isinf(float(testing.nearest(t, dtype))) and abs(y) >= testing._largest(dtype)):
        return 0.0
    return testing.ulp_distance(y, t, dtype)


def _near_a_zero(block: Specification, x: Any) -> Any:
    near = np.zeros(x.shape, bool)
    for zero in block.zeros:
        if not (x[0] > zero + _NEAR_ZERO or x[-1] < zero - _NEAR_ZERO):  # they are in order
            near |= (x > zero - _NEAR_ZERO) & (x < zero + _NEAR_ZERO)
    return near


def _do(task: _Task) -> dict[tuple[str, str], Tally]:
    """Check the inputs of a task."""
    dtype, found = testing.dtype_of(task.dtype), dict[tuple[str, str], Tally]()
    check = _by_arbitrary_precision if task.dtype == "float64" else _by_sieve
    last = task.ranks.stop if task.among else min(task.ranks.stop + 1, 1 << (8 * dtype.itemsize))
    for begin in range(task.ranks.start, task.ranks.stop, CHUNK):
        end = min(begin + CHUNK, task.ranks.stop)
        with np.errstate(all="ignore"):  # the first of the next chunk comes along, as a neighbour
            if task.among:
                x = chosen(task.activation, task.dtype, task.among)[begin:end]
            else:
                x = ranked(dtype, np.arange(begin, min(end + 1, last)))
            check(task, x, end - begin, found)
    return found


def _results(task: _Task, x: Any) -> Iterable[tuple[str, str, float, Any]]:
    """Compute all operations, ours and others': which, whose, the gradient and the results."""
    activation = task.activation
    few = 2 if task.dtype == "float64" else 1 if task.dtype == "float32" and task.among is None else None
    if OURS in task.sources:
        yield "value", OURS, 1.0, activation(x)
        yield "derivative", OURS, 1.0, activation.derivative(x)
        for dy in GRADIENTS[:few]:
            rounded = np.array(dy).astype(x.dtype)
            yield "backward", OURS, float(rounded), activation.backward(np.full_like(x, rounded), x)
    for source in task.sources:
        for operation, call in peer(source, activation.block.full_name, task.dtype).items() if source != OURS else ():
            yield operation, source, 1.0, call(x)


def _by_sieve(task: _Task, x: Any, counted: int, found: dict[tuple[str, str], Tally]) -> None:
    block, dtype = task.activation.block, x.dtype
    exact = truth(block, x, sieve)
    near = _near_a_zero(block, x)
    for operation, source, dy, result in _results(task, x):
        tally = found.setdefault((operation, source), Tally())
        wide = result.astype(np.float64)
        right = exact["derivative"] * dy if operation == "backward" else exact[operation]
        errors = quick_errors(wide, right, dtype)
        doubted = np.flatnonzero((errors > _threshold(tally, bound(block, dtype, operation))) | near)
        if doubted.size:  # where a result is constant so is its error, and the first of many will do
            first = np.append(True, np.diff(right[doubted]) != 0) | np.append(True, np.diff(wide[doubted]) != 0)
            firsts = doubted[first]
            sure = truth(block, x[firsts], _long_doubles)["value" if operation == "value" else "derivative"]
            found_errors = testing.ulps(result[firsts], sure * dy, dtype)
            if operation != "value" and source == OURS and not block.wide:
                _beside_a_kink(block, x[firsts], result[firsts], dy, found_errors, _long_doubles, testing.ulps)
            errors[doubted] = found_errors[np.cumsum(first) - 1]
        errors[_conventional(block, x, operation, source)] = 0
        tally.count(x[:counted], result[:counted], right[:counted], errors[:counted])
        if source == OURS and operation != "backward" and task.among is None:
            pairs = _out_of_order(block, operation, x, wide, exact)
            tally.out_of_order += pairs.size
            if pairs.size:
                tally.out_of_order_at = str(x[pairs[0]])


def _threshold(tally: Tally, limit: float) -> float:
    """Give the error that would change what is reported."""
    worse = tally.worst_ulp + MARGIN
    return worse if tally.worst_ulp > limit else min(worse, limit)


def quick_errors(result: Any, truth: Any, dtype: np.dtype[Any]) -> Any:
    """Give the distances of results from float64 truth, as `testing.ulps` does, in a tenth of the time.

    Examples
    --------
    >>> quick_errors(np.array([1 + 2**-23, 0.0]), np.array([1, 2.0**-150]), np.dtype(np.float32)).tolist()
    [1.0, 0.5]
    """
    bits, smallest = testing._FORMATS[dtype.name]
    exponent = truth.view(np.uint64) & np.uint64(0x7FF << 52)
    np.maximum(exponent, np.uint64((smallest + bits - 1 + 1023) << 52), out=exponent)
    np.subtract(np.uint64((2 * 1023 + bits - 1) << 52), exponent, out=exponent)
    errors = np.subtract(result, truth)
    np.abs(errors, out=errors)
    errors *= exponent.view(np.float64)  # 1 / ulp
    odd = ~np.isfinite(errors)
    if odd.any():
        errors[odd] = testing.ulps(result[odd], truth[odd].astype(np.longdouble), dtype)
    return errors


def _conventional(block: Specification, x: Any, operation: str, source: str) -> Any:
    """Tell where a result is a convention: of others at kinks, infinities and NaN, of ours in `backward` there."""
    if source == OURS and operation != "backward":
        return np.zeros(x.shape, bool)
    beyond = np.isinf(x) if source == OURS else ~np.isfinite(x)
    return beyond | np.isin(x, np.array([at for at, _ in block.kinks]).astype(x.dtype))


def _beside_a_kink(
    block: Specification, x: Any, result: Any, dy: float, errors: Any, exact: _Exact, distances: Any
) -> None:
    """Excuse a derivative that a neighbour should have: the place of a kink is rounded, as in x / 6 + 1 / 2 >= 1."""
    wrong = np.flatnonzero(errors > bound(block, x.dtype, "backward"))
    ranks, one = rank(x[wrong]), np.array(1, f"u{x.itemsize}")
    for neighbours in (ranks - one, ranks + one) if wrong.size else ():
        slope = truth(block, ranked(x.dtype, neighbours), exact)["derivative"]
        errors[wrong] = np.minimum(errors[wrong], distances(result[wrong], slope * dy, x.dtype))


def _out_of_order(block: Specification, operation: str, x: Any, result: Any, exact: dict[str, Any]) -> Any:
    """Find neighbours whose results are in the wrong order, first by float64 truth and then by long doubles."""
    pairs = np.flatnonzero(_against(operation, result, exact))
    if pairs.size:
        x, result = (np.stack([a[pairs], a[pairs + 1]]) for a in (x, result))
        pairs = pairs[_against(operation, result, truth(block, x, _long_doubles))[0]]
    return pairs


def _against(operation: str, result: Any, exact: dict[str, Any]) -> Any:
    """Tell between which neighbours along the first axis the results go against the truth."""
    slope = exact["derivative"]
    if operation == "value":  # between neighbours the truth may rise by less than its own rounding
        up, down = slope > 0, slope < 0
        up, down = up[1:] & up[:-1], down[1:] & down[:-1]
    else:
        up, down = slope[1:] > slope[:-1], slope[1:] < slope[:-1]
    return ((result[1:] < result[:-1]) & up) | ((result[1:] > result[:-1]) & down)


def _by_arbitrary_precision(task: _Task, x: Any, counted: int, found: dict[tuple[str, str], Tally]) -> None:
    block, dtype = task.activation.block, x.dtype
    exact = truth(block, x, _by_mpmath)
    near = np.any([np.abs(x - zero) < 1 for zero in block.zeros], axis=0) & np.isfinite(x)
    for operation, source, dy, result in _results(task, x):
        limit = bound(block, dtype, operation)
        with mpmath.workdps(testing._DIGITS):
            right = exact["derivative"] * dy if operation == "backward" else exact[operation]
        errors = _mpmath_ulps(result, right, dtype)
        if operation != "value":  # near its zeros a derivative is promised to 2^-52, not to its last place
            absolute = np.abs(result - right.astype(np.float64)) / (abs(dy) * 2.0**-52) * limit
            errors = np.where(near, np.minimum(errors, absolute), errors)
            if source == OURS and not block.wide:
                _beside_a_kink(block, x, result, dy, errors, _by_mpmath, _mpmath_ulps)
        errors[_conventional(block, x, operation, source)] = 0
        found.setdefault((operation, source), Tally()).count(x, result, right, errors)


def _mpmath_ulps(result: Any, exact: Any, dtype: np.dtype[Any]) -> Any:
    with mpmath.workdps(testing._DIGITS):
        return np.array([testing.ulp_distance(y, t, dtype) for y, t in zip(result.tolist(), exact, strict=True)])
