"""Functions of whole rows: their kernels, and how the engine drives them.

A kernel makes three passes over a row: its peak, a sum, the results. To the engine a job is that of an elementwise
function without arrays, over as many elements as there are; who is given elements i to j computes the rows that begin
there. So the order of a sum depends on neither chunks nor threads.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from ..formulas import arrays as array_primitives
from ..formulas import bind, with_all_called
from ..formulas.rows import exp_of_difference, sum_by_halves
from ..functions.specification import Rowwise
from .calls import takes_nothing
from .compilation import Compilation
from .compiler.optimise import Optimised
from .fingerprint import KERNELS, code_of
from .runtime import layout

LOOP = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)
BEYOND = 1 << 46  # where nothing lies: an address for an output that is none
# The longest row whose exponentials wait for their sum, in 8 MiB a thread; a longer one's are computed twice, half as
# slow again (200,000 float32, one thread: 0.42 and 0.64 ns a number).
LONGEST = 1 << 20
NANOSECONDS = 0.7  # of an element, about


def interpret(block: Rowwise, backward: bool, arrays: tuple[Any, ...]) -> None:
    """Do what the kernel would do, with NumPy."""
    *inputs, output = arrays
    words = array_primitives.primitives(np.float64)
    with np.errstate(all="ignore"):
        first, *rest = (array.astype(np.float64) for array in inputs)
        if backward:
            s = sum_by_halves(np, bind(block.weight, words)(first, *rest))
            result = bind(block.backward, words)(first, *rest, s)
        else:
            peak = first.max(axis=-1, keepdims=True)
            e = bind(exp_of_difference, words)(first, peak)
            rest = sum_by_halves(np, np.where(first - peak == 0, 0, e))
            rest += (first - peak == 0).sum(axis=-1, keepdims=True) - 1.0
            result = bind(block.value, words)(first, peak, e, rest)
        output[...] = result.astype(output.dtype)


class RowLoop(Compilation):
    """A operation of a row-wise function in one dtype: value, or backward from y."""

    def __init__(self, block: Rowwise, backward: bool, dtype: np.dtype[Any]) -> None:
        super().__init__(f"{block.name}.{'backward' if backward else 'value'}", dtype)
        self.block, self.backward = block, backward
        self.empty_like: Any = np.empty_like  # the pool's, once compiled, from so many bytes up
        self.pooled_from = 0
        self.waits = not backward and block.uses_exponentials
        self.plan = (ctypes.c_int64 * layout.PLAN_WORDS)(
            0, 0, 0, 3, 1, 2, -1, layout.TILE, 0, (2 + backward) * dtype.itemsize, 1, 8, 1
        )

    def build(self, before_compiling: Callable[[], None]) -> Any:
        """Compile or load, and give the loop."""
        from . import memory, process, store

        self.empty_like, self.pooled_from = memory.empty_like, memory.DEFAULT_MINIMUM
        dtype, block = self.dtype.name, self.block
        parts = (block.weight, block.backward) if self.backward else (block.value,)

        def compile_() -> Optimised:
            before_compiling()
            from .compiler import rowkernels

            return rowkernels.compile_kernel(block, self.backward, dtype)

        content = b"\0".join(
            [
                *[code_of(formula) for part in parts for formula in with_all_called(part)],
                repr((self.backward, dtype)).encode(),
            ]
        )
        self.plan[layout.ENGINE] = ctypes.addressof(process.words())
        self.plan[layout.COST] = process.cost(NANOSECONDS)
        name = f"{block.name}.{self.backward}.{dtype}"
        self.plan[layout.KERNEL] = store.machine_code(name, KERNELS, content, compile_)["kernel"]
        return LOOP(process.code()["loop"])

    def whole(self, arrays: tuple[np.ndarray[Any, Any], ...]) -> np.ndarray[Any, Any]:
        """Make the result of arrays that `run` takes as they are; the loop is compiled."""
        first = arrays[0]
        result = np.empty_like(first) if first.nbytes < self.pooled_from else self.empty_like(first)
        self.run((*arrays, result))
        return result

    def run(self, arrays: tuple[np.ndarray[Any, Any], ...]) -> None:
        """Compute arrays of rows: contiguous, of one shape, dtype and byte order; the last is the output."""
        if not self.prepare():
            interpret(self.block, self.backward, arrays)
            return
        length = arrays[0].shape[-1]
        # The job, and what NumPy would hand to a loop: operands, how many elements, steps; one block, as each costs a
        # small call as much as its row.
        words = (ctypes.c_int64 * 13)(length, *[array.__array_interface__["data"][0] for array in arrays])
        if self.waits and layout.BLOCK < length <= LONGEST:
            from . import memory, process

            # Who computes rows takes one of as many places as there are threads, or rows; another, if it is taken.
            places = min(process.threads()[0], arrays[0].size // length)
            waiting = memory.empty_like(arrays[0], np.float64, (places * length + 7,))  # sums read on to whole vectors
            taken = np.zeros(places, np.int64)
            words[3:6] = [taken.ctypes.data, places, waiting.ctypes.data]
        job = ctypes.addressof(words)
        words[6:] = [0, job, BEYOND, arrays[0].size, 1, 0, 1]
        self.compiled(job + 6 * 8, job + 9 * 8, job + 10 * 8, ctypes.addressof(self.plan))
        words[6:] = [0, job, BEYOND, arrays[0].size, 1, 0, 1]
        self.compiled(job + 6 * 8, job + 9 * 8, job + 10 * 8, ctypes.addressof(self.plan))


class RowMethod:
    """Shim."""

    def __init__(self, block: Rowwise, backward: bool, publish: Any) -> None:
        self.block, self.backward = block, backward
        self.loops: dict[Any, Any] = {}
        self.compiled: Any = takes_nothing

    def prepare(self, dtype: Any) -> bool:
        loop = self.loops.get(dtype) or self.loops.setdefault(dtype, RowLoop(self.block, self.backward, dtype))
        return bool(loop.prepare())

    def compute(self, *arrays: Any) -> None:
        self.prepare(arrays[0].dtype)
        self.loops[arrays[0].dtype].run(arrays)
