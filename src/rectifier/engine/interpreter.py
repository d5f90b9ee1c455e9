"""The loops of a ufunc in Python, by the NumPy interpretation: the engine where nothing can be compiled."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from ..formulas import arrays as array_primitives
from ..formulas.tracing import KINDS
from ..functions import dtypes
from ..functions.specification import Operation, Specification, read

CHUNK = 8192  # elements; temporaries of the formula stay in the L2 cache, and do not grow with the array


class _Memory:
    """Memory that NumPy may see as an array; whoever calls a loop owns it and keeps it while the loop runs."""

    def __init__(self, address: int, n: int, step: int, dtype: np.dtype[Any]) -> None:
        self.__array_interface__ = {
            "version": 3,
            "data": (address, False),
            "shape": (n,),
            "strides": (step,),
            "typestr": dtype.str,
        }


def _view(address: int, n: int, step: int, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    return np.asarray(_Memory(address, n, step, dtype)).view(dtype)


def interpret(
    spec: Specification, operation: Operation, dtype: np.dtype[Any], arrays: Any, dims: Any, steps: Any
) -> None:
    """Compute what the compiled inner loop would, from the same arguments."""
    arrays_, uniform, outputs = spec.operands(operation)
    names = (*arrays_, *uniform, *outputs)
    n, last = dims[0], len(arrays_) + len(uniform)
    operands = [_view(arrays[k], n, steps[k], dtype) for k in range(len(names))]
    # In reduce and accumulate each result is an operand of the next.
    step = 1 if n > 1 and arrays[0] + steps[0] == arrays[last] else CHUNK
    with np.errstate(all="ignore"):
        for start in range(0, n, step):
            chunk = slice(start, start + step)
            _compute(spec, operation, dtype, [x[chunk] for x in operands[:last]], [y[chunk] for y in operands[last:]])
    np.add(1.0, 1.0)  # NumPy clears the floating-point flags before a loop, and would warn of those left after ours


def sweep(spec: Specification, operation: Operation, dtype: np.dtype[Any], operands: list[Any]) -> None:
    """Compute what the compiled call of an operation with a mask would, from the same arrays.

    In C order, with no temporary of their size.
    """
    arrays, uniform, outputs = spec.operands(operation)
    names = (*arrays, *uniform, *outputs)
    last = len(arrays) + len(uniform)
    shape, size = operands[0].shape, operands[0].size
    runs = []
    for k, (name, operand) in enumerate(zip(names, operands, strict=True)):
        spread = operand if name == "mask" or k >= last else np.broadcast_to(operand, shape)
        runs.append(_elements(spread))
    with np.errstate(all="ignore"):
        for start in range(0, size, CHUNK):
            stop = min(start + CHUNK, size)
            chunk, bits = slice(start, stop), slice(start // 8, (stop + 7) // 8)
            inputs: list[Any] = []
            for name, run in zip(names[:last], runs[:last], strict=True):
                if name == "mask":
                    inputs.append(np.unpackbits(run[bits], count=stop - start, bitorder="little").astype(bool))
                else:
                    inputs.append(run[chunk])
            results = [np.empty(stop - start, bool if name == "mask" else dtype) for name in names[last:]]
            _compute(spec, operation, dtype, inputs, results)
            for name, run, result in zip(names[last:], runs[last:], results, strict=True):
                if name == "mask":
                    run[bits] = np.packbits(result, bitorder="little")
                else:
                    run[chunk] = result


def _elements(array: Any) -> Any:
    """View an array as one dimension in C order; its slices are views where they can be, else copies."""
    return array.reshape(-1) if array.flags.c_contiguous else array.squeeze().flat  # .flat has 32 dimensions at most


def _compute(
    spec: Specification, operation: Operation, dtype: np.dtype[Any], inputs: list[Any], outputs: list[Any]
) -> None:
    working = np.dtype(KINDS[np.dtype(spec.working(dtype.name)).name]).type  # holds sums of small integers
    formula = read(spec, operation, array_primitives.primitives(working, dtype=dtype.name))
    results = formula(*[x if x.dtype == bool else x.astype(working) for x in inputs])
    results = results if isinstance(results, tuple) else (results,)
    for output, result in zip(outputs, results, strict=True):
        output[...] = result if output.dtype == bool else dtypes.cast(result, dtype)


LOOP = ctypes.CFUNCTYPE(
    None,
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.POINTER(ctypes.c_ssize_t),
    ctypes.POINTER(ctypes.c_ssize_t),
    ctypes.c_void_p,
)
