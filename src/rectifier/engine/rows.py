"""Functions of whole rows, as Python calls them; `runtime.rows` drives their kernels.

A kernel makes three passes over a row: its peak, a sum, the results.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..formulas import arrays as array_primitives
from ..formulas import bind, with_all_called
from ..formulas.rows import PARTS, Arrays, exp_of_difference, exponential, exponential_of_equal, sum_by_halves
from ..functions.specification import Rowwise
from .calls import Call, not_compiled
from .compilation import Compilation
from .compiler.target import Target
from .runtime import layout
from .store import Code, load

# The longest row whose exponentials wait for their sum, in 8 MiB a thread; a longer one's are computed twice, half as
# slow again (200,000 float32, one thread: 0.42 and 0.64 ns a number).
LONGEST = 1 << 20
NANOSECONDS = 0.7  # of an element, about


def interpret(spec: Rowwise, backward: bool, arrays: tuple[Any, ...]) -> None:
    """Compute what the kernel would, with NumPy."""
    *inputs, output = arrays
    words = array_primitives.primitives(np.float64)
    with np.errstate(all="ignore"):
        first, *rest = (array.astype(np.float64) for array in inputs)
        if spec.reduces:
            result = _reduced(spec, words, first, *rest)
        elif backward:
            weights = bind(spec.weight, words)(first, *rest)
            sums = [sum_by_halves(np, w) for w in (weights if isinstance(weights, tuple) else (weights,))]
            result = bind(spec.backward, words)(first, *rest, *sums)
        elif spec.each != "exponential":
            result = _selected(spec, words, -first if spec.negated else first)
        else:
            first = -first if spec.negated else first
            peak = first.max(axis=-1, keepdims=True)
            e = bind(exp_of_difference, words)(first, peak)
            rest = sum_by_halves(np, np.where(first - peak == 0, 0, e))
            rest += (first - peak == 0).sum(axis=-1, keepdims=True) - 1.0
            result = bind(spec.value, words)(first, peak, e, bind(spec.of_sum, words)(rest))
        output[...] = result.astype(output.dtype)


def _reduced(spec: Rowwise, words: dict[str, Any], first: Any, x: Any = None) -> Any:
    """Compute one number for each row of x, or with dy, which has as many, the gradient."""
    dy, x = (None, first) if x is None else (first[..., None], x)
    x = -x if spec.negated else x
    peak = x.max(axis=-1, keepdims=True)
    e = bind(exponential_of_equal if dy is None else exponential, words)(x, peak)
    rest = sum_by_halves(np, np.where(e == 1, 0, e)) + ((e == 1).sum(axis=-1, keepdims=True) - 1.0)
    if dy is None:
        return bind(spec.value, words)(peak, bind(spec.of_sum, words)(rest))[..., 0]
    return bind(spec.backward, words)(dy, e, bind(spec.weight, words)(rest))


def _selected(spec: Rowwise, words: dict[str, Any], x: Any) -> Any:
    """Compute the value of a function that selects."""
    peak = x.max(axis=-1, keepdims=True)
    arrays = Arrays(np, lambda x, axis: -np.sort(-x, axis), np.cumsum)
    e = PARTS[spec.each](arrays, words, x, peak)
    return bind(spec.value, words)(x, peak, np.where(peak == peak, e, np.nan))


class RowLoop(Compilation):
    """One operation of a row-wise function in one dtype."""

    def __init__(self, spec: Rowwise, backward: bool, dtype: np.dtype[Any]) -> None:
        super().__init__(f"{spec.name}.{'backward' if backward else 'value'}", dtype)
        self.spec, self.backward = spec, backward
        waits = 0 if backward or not spec.uses_exponentials else LONGEST
        # To the driver: the number of an element, and the address that goes with all; the output has the third size.
        self.plan = layout.LoopDescriptor.new(
            count=2, first=1, last=2, mask=-1, length=layout.TILE, element_bytes=(2 + backward) * dtype.itemsize,
            size=(1, 8, dtype.itemsize), longest_waiting=waits,
        )  # fmt: skip

    def build(self) -> Any:
        """Compile or load, and return the address of the plan."""
        from . import process

        self.plan.engine = process.words()
        self.plan.cost = process.cost(NANOSECONDS)
        self.plan.kernel = load(self.code())["kernel"]
        return self.plan

    def code(self) -> Code:
        """Return what machine code the kernel is."""
        from .fingerprint import KERNELS, code_of

        dtype, spec = self.dtype.name, self.spec
        parts = (spec.weight, spec.backward) if self.backward else (spec.value, spec.of_sum)

        def build(target: Target | None = None) -> Any:
            from .compiler import reductions, rowkernels, selections

            selects = spec.sums > 1 if self.backward else spec.each != "exponential"
            module = reductions if spec.reduces else selections if selects else rowkernels
            return module.compile_kernel(spec, self.backward, dtype, target)

        own = repr((self.backward, dtype, spec.flags)).encode()
        content = b"\0".join([*[code_of(formula) for part in parts for formula in with_all_called(part)], own])
        name = f"{spec.full_name}.{self.backward}.{dtype}"
        return Code(name, KERNELS, content, build, own if spec.is_ours else None)


class RowMethod:
    """One operation of a row-wise function, as Python calls it.

    Parameters
    ----------
    backward : bool
        Whether this is the gradient, of dy and y; else it is the value, of x.
    publish : callable
        Called with `compiled`, when that is made.

    Attributes
    ----------
    compiled : callable
        Takes the inputs and the output, or None for one to be made: arrays of one shape and dtype, contiguous and
        aligned, whose rows lie along the last axis. It returns NotImplemented for all else, before anything is
        written. Before it is made, a function that takes nothing.
    """

    def __init__(self, spec: Rowwise, backward: bool, publish: Callable[[Any], None]) -> None:
        self.spec, self.backward, self.publish = spec, backward, publish
        self.loops: dict[str, RowLoop] = {}
        self.compiled: Any = not_compiled

    def prepare(self, dtype: np.dtype[Any]) -> bool:
        """Compile the loop of `dtype`, unless that was done or cannot be; say whether it is compiled."""
        loop = self.loops.get(dtype.name)
        if loop is None:
            loop = self.loops.setdefault(dtype.name, self.loop(dtype))
        return loop.prepare(self._install)

    def loop(self, dtype: np.dtype[Any]) -> RowLoop:
        """Make the loop of a dtype."""
        return RowLoop(self.spec, self.backward, dtype)

    def call(self, name: str) -> Call:
        """Make the compiled call, without a dtype."""
        inputs = 1 + self.backward
        entry = "call_reduction" if self.spec.reduces else "call_rows"
        return Call(name, inputs + 1, inputs, inputs, -1, entry=entry)

    def _install(self, loop: RowLoop) -> None:
        """Add the dtype of a loop to those that `compiled` takes."""
        if self.compiled is not_compiled:
            self._call = self.call(loop.what)
        self._call.add(loop.dtype, loop.compiled)
        if self.compiled is not_compiled:
            self.compiled = self._call.function
            self.publish(self.compiled)

    def compute(self, *arrays: Any) -> None:
        """Compute arrays that `compiled` takes, the last of which is the output, by whichever engine there is."""
        self.prepare(arrays[0].dtype)
        if self.compiled(*arrays) is NotImplemented:
            interpret(self.spec, self.backward, arrays)
