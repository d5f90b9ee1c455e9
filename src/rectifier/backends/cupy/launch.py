"""Kernels of CuPy: which one computes a call, made once, and launched once on the current stream.

Arrays are CuPy's, already of the right dtype, shape and device; parameters are numbers of that dtype (NumPy's, rounded)
or arrays. Nothing here copies from or to the host, or waits for the device. What computes says how, for the next call.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ...functions.specification import BACKWARD_FROM_MASK, Operation, Rowwise, Specification
from . import source

OPTIONS = ("-fmad=false",)
# Blocks for each multiprocessor: some waves of the 4 to 8 blocks that one holds at a time. None was measured.
BLOCKS = 32

_kernels: dict[tuple[Any, ...], tuple[Any, Any]] = {}  # with the specification, so that no other one gets its id
_one_at_a_time = threading.Lock()


def _made(spec: Specification, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
    """Make a kernel the first time; CuPy then compiles it once a device."""
    key = (id(spec), *key)
    if key not in _kernels:
        import cupy

        if cupy.cuda.runtime.is_hip:
            raise NotImplementedError("the kernels are written for CUDA, and this CuPy is for ROCm: use NumPy arrays")
        with _one_at_a_time:
            if key not in _kernels:
                _kernels[key] = make(), spec
    return _kernels[key][0]


@cache
def _attribute(name: str, device: int) -> int:
    import cupy

    return int(cupy.cuda.Device(device).attributes[name])


class Launch(NamedTuple):
    """A launch on the current stream. CuPy's ElementwiseKernel has no grid here: it finds its own."""

    kernel: Any
    grid: tuple[int, ...] | None
    block: tuple[int, ...] | None
    arguments: tuple[Any, ...]
    shared: int = 0  # bytes of shared memory of a block, beside the kernel's own


def again(made: Launch, arguments: tuple[Any, ...]) -> None:
    """Make a launch with other arguments, which lie as those did."""
    kernel, grid, block, _, shared = made
    if grid is None:
        kernel(*arguments)
    elif shared:
        kernel(grid, block, arguments, shared_mem=shared)
    else:
        kernel(grid, block, arguments)


def _launched(*fields: Any) -> Launch:
    made = Launch(*fields)
    again(made, made.arguments)
    return made


def launch(kernel: Any, threads: int, wanted: int, arguments: tuple[Any, ...], shared: int = 0) -> Launch:
    """Launch a kernel of so many threads a block, and of `wanted` threads in all if the device has use for them."""
    import cupy

    most = BLOCKS * _attribute("MultiProcessorCount", cupy.cuda.runtime.getDevice())
    return _launched(kernel, (max(1, min(most, -(-wanted // threads))),), (threads,), arguments, shared)


def _is_number(value: Any) -> bool:
    return type(value) is np.ndarray or isinstance(value, np.generic)


def _stored(value: Any) -> Any:
    """View what a kernel takes by value or as an array as it is stored: floats of 16 bits as integers."""
    if value.dtype.name in ("float16", "bfloat16"):
        value = value.view(np.uint16)
    return value[()] if _is_number(value) else value


def run(
    spec: Specification,
    operation: Operation,
    dtype: Any,
    arrays: tuple[Any, ...],
    numbers: tuple[Any, ...],
    outs: tuple[Any, ...],
) -> Launch | None:
    """Compute a operation without a mask; the shape of the outputs is that to which all the others broadcast."""
    name, out = np.dtype(dtype).name, outs[0]
    if not out.size:
        return None
    spread = tuple(not _is_number(number) for number in numbers)
    among = [*arrays, *(number for number, k in zip(numbers, spread, strict=True) if k), *outs]
    if all(array.shape == out.shape for array in among) and (
        all(array.flags.c_contiguous for array in among) or all(array.flags.f_contiguous for array in among)
    ):
        return _run_contiguous(spec, operation, name, spread, (*arrays, *numbers, *outs), out.size)
    steps = steps_of_rows(among, out.shape, 16 // np.dtype(dtype).itemsize)
    if steps is not None:
        rows = out.shape[-1], *steps
        return _run_contiguous(spec, operation, name, spread, (*arrays, *numbers, *outs), out.size, *rows)
    kernel = _made(spec, (operation.name, name), lambda: _elementwise(spec, operation, name))
    return _launched(kernel, None, None, tuple(map(_stored, (*arrays, *numbers, *outs))))


def steps_of_rows(arrays: list[Any], shape: tuple[int, ...], at_once: int) -> list[int] | None:
    """Return how many elements are from row to row of each array, broadcast to a shape; None if rows have gaps.

    None also if they are not one after the other, or not of whole vectors. Halves of an array, slices of columns and
    one number a channel are such rows.
    """
    if len(shape) < 2 or shape[-1] % at_once:
        return None
    steps = []
    for array in arrays:
        broadcast = [0] * (len(shape) - array.ndim)
        strides = broadcast + [0 if n == 1 else s for n, s in zip(array.shape, array.strides, strict=True)]
        # Axes of one element are none; of the others each goes on where the one behind it ends.
        lying = [(n, s) for n, s in zip(shape[:-1], strides[:-1], strict=True) if n > 1]
        apart = any(s != n_behind * behind for (_, s), (n_behind, behind) in itertools.pairwise(lying))
        if strides[-1] != array.itemsize or apart:
            return None
        steps.append(lying[-1][1] // array.itemsize if lying else 0)
    return steps


def _run_contiguous(
    spec: Specification,
    operation: Operation,
    dtype: str,
    spread: tuple[bool, ...],
    operands: tuple[Any, ...],
    size: int,
    *rows: int,
) -> Launch:
    """Launch the kernel for arrays without gaps, or, with their columns and steps, that for rows without gaps."""
    import cupy

    def make() -> Any:
        parts = source.contiguous(spec, operation, dtype, spread, bool(rows))
        return cupy.RawKernel(source.program(*parts), parts[-1].name, OPTIONS)

    kernel = _made(spec, (operation.name, dtype, spread, bool(rows)), make)
    at_once = 4 if operation.makes_mask else 16 // np.dtype(dtype).itemsize  # elements of a thread
    arguments = (*(_stored(o) if _is_number(o) else o for o in operands), *map(np.int64, (size, *rows)))
    return launch(kernel, source.BLOCK, -(-size // at_once), arguments)


def _elementwise(spec: Specification, operation: Operation, dtype: str) -> Any:
    import cupy

    preamble, statement, inputs, outputs = source.elementwise(spec, operation, dtype)
    name = f"rectifier_{spec.name.replace('.', '_')}_{operation.name}_{dtype}"
    return cupy.ElementwiseKernel(inputs, outputs, statement, name, preamble=preamble, options=OPTIONS)


def run_with_mask(
    spec: Specification, dtype: Any, arrays: tuple[Any, ...], numbers: tuple[Any, ...], y: Any, bits: Any
) -> Launch | None:
    """Compute the value and the mask, of arrays in C order; `bits` has room for whole words of 4 bytes."""
    if not y.size:
        return None
    numbers, operation = _spread(numbers, y.shape), spec.operations["with_mask"]
    spread = tuple(not _is_number(number) for number in numbers)
    return _run_contiguous(spec, operation, np.dtype(dtype).name, spread, (*arrays, *numbers, y, bits), y.size)


def run_from_mask(
    spec: Specification, dtype: Any, dy: Any, bits: Any, numbers: tuple[Any, ...], dx: Any
) -> Launch | None:
    """Compute backward from a mask, of arrays in C order."""
    if not dy.size:
        return None
    numbers = _spread(numbers, dy.shape)
    spread = tuple(not _is_number(number) for number in numbers)
    return _run_contiguous(spec, BACKWARD_FROM_MASK, np.dtype(dtype).name, spread, (dy, bits, *numbers, dx), dy.size)


def _spread(numbers: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[Any, ...]:
    """Copy parameters that are arrays to the shape of the others, which a kernel with a mask needs."""
    if all(map(_is_number, numbers)):
        return numbers
    import cupy

    return tuple(n if _is_number(n) else cupy.ascontiguousarray(cupy.broadcast_to(n, shape)) for n in numbers)


def run_rows(spec: Rowwise, backward: bool, dtype: Any, arrays: tuple[Any, ...], result: Any) -> Launch | None:
    """Compute rows along the last axis, of arrays in C order; of a function that reduces, the last array is x."""
    import cupy

    x = arrays[-1] if spec.reduces else result
    if not x.size:
        return None
    name, length, size = np.dtype(dtype).name, x.shape[-1], x.dtype.itemsize
    device = cupy.cuda.runtime.getDevice()
    room = _attribute("MaxSharedMemoryPerBlockOptin", device) - source.SHARED
    kept = 1 if spec.reduces else len(arrays)  # of dy there is one number
    way = source.row_kernel(spec, name, length, kept, room)
    shared = kept * way.shared_bytes(length * size)

    def make() -> Any:
        part = source.rows(spec, backward, name, way)  # all of them take seconds to compile
        kernel = cupy.RawKernel(source.program(part), f"{part.name}_{way.name}", OPTIONS)
        if shared:
            kernel.max_dynamic_shared_size_bytes = room  # of the current device
        return kernel

    kernel = _made(spec, (backward, name, way, device if shared else None), make)
    count = x.size // length
    arguments = (*arrays, result, np.int64(count), np.int64(length))
    return launch(kernel, way.block, count * way.threads, arguments, shared)
