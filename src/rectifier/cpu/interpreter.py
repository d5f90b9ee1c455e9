"""The loops of a ufunc in Python, by the NumPy reading: the engine where nothing can be compiled."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from .. import _dtypes
from .._block import Block, Direction
from ..words import numpy as numpy_words
from ..words import read

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


def interpret(block: Block, direction: Direction, dtype: np.dtype[Any], arrays: Any, dims: Any, steps: Any) -> None:
    """Do what the compiled loop would do with the same arguments."""
    formula = read(block, direction, numpy_words.words(_dtypes.WORKING[dtype.name]))
    names = (*direction.inputs, *block.parameters, *direction.outputs)
    count, first, last = len(names), len(direction.inputs), len(direction.inputs) + len(block.parameters)
    has_mask = "mask" in names
    outer, n = (dims[0], dims[1]) if has_mask else (1, dims[0])
    for i in range(outer):
        operands = []
        for k, name in enumerate(names):
            if name == "mask":
                operands.append(_view(arrays[k] + i * steps[k], (n + 7) // 8, 1, np.dtype(np.uint8)))
            elif has_mask:
                one_number = first <= k < last and dims[1 + k] == 1
                step = 0 if one_number else steps[count + k]
                operands.append(_view(arrays[k] + i * steps[k], n, step, dtype))
            else:
                operands.append(_view(arrays[k], n, steps[k], dtype))
        # In reduce and accumulate each result is an operand of the next.
        fold = not has_mask and n > 1 and arrays[0] + steps[0] == arrays[last]
        step = 1 if fold else CHUNK
        with np.errstate(all="ignore"):
            for start in range(0, n, step):
                _interpret_chunk(formula, names, operands, last, dtype, slice(start, min(start + step, n)))
    np.add(1.0, 1.0)  # NumPy clears the floating-point flags before a loop, and would warn of those left after ours


def _interpret_chunk(
    formula: Any, names: tuple[str, ...], operands: list[Any], last: int, dtype: np.dtype[Any], chunk: slice
) -> None:
    working = _dtypes.WORKING[dtype.name]
    in_mask = slice(chunk.start // 8, (chunk.stop + 7) // 8)
    numbers = []
    for name, operand in zip(names[:last], operands[:last], strict=True):
        if name == "mask":
            flags = np.unpackbits(operand[in_mask], count=chunk.stop - chunk.start, bitorder="little")
            numbers.append(flags.astype(bool))
        else:
            numbers.append(operand[chunk].astype(working))
    results = formula(*numbers)
    results = results if isinstance(results, tuple) else (results,)
    for name, operand, result in zip(names[last:], operands[last:], results, strict=True):
        if name == "mask":
            operand[in_mask] = np.packbits(np.broadcast_to(result, chunk.stop - chunk.start), bitorder="little")
        else:
            operand[chunk] = result


LOOP = ctypes.CFUNCTYPE(
    None,
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.POINTER(ctypes.c_ssize_t),
    ctypes.POINTER(ctypes.c_ssize_t),
    ctypes.c_void_p,
)
