"""Values on the device: beside the CPU bit for bit, and beside the truth where the bits are the device's own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from ... import testing
from ...catalogue import ALL, CATALOGUE, GATES, ROWWISE
from ...engine.choice import engine
from ..bench.timing import one_line
from ..progress import Start, silent
from ..verify import Stage, multi_input
from ..verify.inputs import chosen, ranked
from ..verify.verification import POINTS, digest
from .budget import Budget

DTYPES = ("float16", "bfloat16", "float32", "float64")  # what takes the least time first


@dataclass(frozen=True)
class Bits:
    """One operation of a function, on the device and on the CPU.

    Attributes
    ----------
    function, dtype, operation : str
        Names; value or derivative.
    points, different : int
        How many inputs were taken, and for how many the results differ in a bit; a NaN is a NaN.
    worst_ulp : float or None
        The largest distance in units in the last place of the CPU's result; None where one of the two is a NaN or an
        infinity and the other is not.
    at, device, cpu : str
        The input where it is, and both results; empty where no bit differs.
    """

    function: str
    dtype: str
    operation: str
    points: int
    different: int
    worst_ulp: float | None = 0.0
    at: str = ""
    device: str = ""
    cpu: str = ""


@dataclass(frozen=True)
class Values:
    """All that was compared.

    Attributes
    ----------
    bits : tuple of Bits
        Of functions of one array, whose bits are to be the CPU's.
    stages : tuple of Stage
        Of functions of two arrays and of rows, as `rectifier verify` checks them.
    failed : tuple of str
        A line for each function in a dtype that ended by an error.
    """

    bits: tuple[Bits, ...]
    stages: tuple[Stage, ...]
    failed: tuple[str, ...] = ()


class Carried:
    """A function whose arrays are carried to the device and back, for what checks functions of NumPy's arrays."""

    def __init__(self, function: Any) -> None:
        self.spec, self.__name__, self._function = function.spec, function.__name__, function

    def __call__(self, *arrays: Any) -> Any:
        """Compute the value on the device."""
        return _carried(self._function, arrays, {})

    def derivative(self, x: Any) -> Any:
        """Compute the derivative on the device."""
        return _carried(self._function.derivative, (x,), {})

    def backward(self, *arrays: Any, **named: Any) -> Any:
        """Compute backward on the device."""
        return _carried(self._function.backward, arrays, named)


def _carried(call: Callable[..., Any], arrays: tuple[Any, ...], named: dict[str, Any]) -> Any:
    there = import_module("cupy").asarray
    result = call(*map(there, arrays), **{name: there(array) for name, array in named.items()})
    return tuple(part.get() for part in result) if isinstance(result, tuple) else result.get()


def inputs(function: Any, dtype: str) -> Any:
    """Return all values of 16 bits, or millions of others: spread, and next to where a function may go wrong."""
    if dtype in ("float16", "bfloat16"):
        return ranked(testing.dtype_of(dtype), np.arange(1 << 16))
    return chosen(function, dtype, POINTS["float32"] if dtype == "float32" else 1 << 20)


def compare(function: Any, dtype: str, x: Any) -> list[Bits]:
    """Compare value and derivative on the device with the CPU's."""
    there = Carried(function)
    return [
        _bits(function.__name__, dtype, "value", x, there(x), function(x)),
        _bits(function.__name__, dtype, "derivative", x, there.derivative(x), function.derivative(x)),
    ]


def _bits(function: str, dtype: str, operation: str, x: Any, device: Any, cpu: Any) -> Bits:
    where = np.flatnonzero(testing.checks.different(device, cpu))
    if not where.size:
        return Bits(function, dtype, operation, x.size, 0)
    errors = testing.ulps(device[where], cpu[where].astype(np.longdouble), cpu.dtype)
    worst, k = float(errors.max()), where[errors.argmax()]
    return Bits(
        function,
        dtype,
        operation,
        x.size,
        where.size,
        worst if math.isfinite(worst) else None,
        *(str(array[k]) for array in (x, device, cpu)),
    )


def bounded(function: Any, dtype: str) -> Stage:
    """Check a function of two arrays or of rows against the truth, and beside no other library."""
    blank = Stage(function.__name__, dtype, False, digest(function.spec, dtype), 0.0, 0.0, {}, ())
    return multi_input.check(blank, Carried(function), lambda numbers: silent("", numbers))


def run(budget: Budget, note: Callable[[str], object], start: Start) -> Values:
    """Check one function after another, until the time is up."""
    bits: list[Bits] = []
    stages: list[Stage] = []
    failed: list[str] = []
    name, why = engine()
    if name != "llvm":
        note(f"values: nothing is compiled on this host ({why}), which gives smooth functions other bits")
    # Rows last: the truth about a dtype of them takes some ten seconds of the host, all else less than one.
    jobs = [(name, dtype) for names in (CATALOGUE, GATES, ROWWISE) for dtype in DTYPES for name in names]
    planned = len(jobs)
    advance = start("values", planned)
    while jobs and budget.left:
        name, dtype = jobs.pop(0)
        try:
            with np.errstate(all="ignore"):
                if name in CATALOGUE:
                    bits += compare(ALL[name], dtype, inputs(ALL[name], dtype))
                else:
                    stages.append(bounded(ALL[name], dtype))
        except Exception as error:  # a kernel that does not compile keeps nobody from trying the others
            failed.append(f"{name} {dtype}: {one_line(error)}")
        advance()
    if jobs:
        note(f"values: no time left for {len(jobs)} of {planned} checks, from {' '.join(jobs[0])} on")
    return Values(tuple(bits), tuple(stages), tuple(failed))
