"""Losses of Dask arrays: a task for each block of rows, whose classes lie in one chunk."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ...engine import process
from ...functions import dtypes, targets
from ...functions.call import Call
from ...functions.specification import LOSSES, LOSSES_BACKWARD
from .chunks import in_one_chunk, is_lazy, one_module
from .tasks import of_depth


class LossTask:
    """A task: call a loss or its backward on the chunks of the named arrays; some of them have no classes."""

    def __init__(self, function: Any, method: str, names: tuple[str, ...], axis: int, of_rows: tuple[str, ...]) -> None:
        self.function, self.method, self.names, self.axis, self.of_rows = function, method, names, axis, of_rows

    def __call__(self, *chunks: Any) -> Any:
        """Compute one block of the result."""
        given = {name: of_depth(chunk, 0) for name, chunk in zip(self.names, chunks, strict=True)}
        for name in self.of_rows:  # cut as x is, of one element along the classes
            given[name] = np.squeeze(given[name], self.axis)
        call = getattr(self.function, self.method) if self.method else self.function
        with process.one_thread():  # the scheduler has tasks for the other processors
            return call(**given, axis=self.axis)

    def __dask_tokenize__(self) -> Any:
        return self.function.spec.full_name, self.method, self.names, self.axis, self.of_rows


def compute(call: Call, as_operand: Callable[[str, str, Any], Any]) -> Any:
    """Add a layer to the graph that makes the same call on the chunks; targets are looked up there."""
    if call.out is not None:
        raise TypeError(
            f"{call.name}: out is for arrays of NumPy, and this call has Dask arrays: assign the result instead"
        )
    outputs = call.operation.outputs
    if len(outputs) > 1:
        ones = {"dloss": 1, **call.operands}
        gradient = call._replace(operation=LOSSES_BACKWARD, operands=ones)
        return compute(call._replace(operation=LOSSES), as_operand), compute(gradient, as_operand)
    da = one_module(call.name, call.arrays)
    checked = targets.check(call, as_operand)
    axis, dimensions = checked.axis, len(checked.shape) + 1
    arrays = dict(checked.operands)
    if isinstance(arrays.get("dloss"), int | float):  # it adapts to the dtype of x
        arrays["dloss"] = dtypes.cast(np.asarray(arrays["dloss"]), checked.dtype)
    arrays = {
        name: array if is_lazy(array) else da.from_array(np.asarray(array), chunks=-1) for name, array in arrays.items()
    }
    x = arrays["x"] = in_one_chunk(call.name, "x", arrays["x"], (axis,))
    of_rows = ("target",) * checked.has_classes + ("dloss",) * ("dloss" in arrays)
    for name, array in arrays.items():
        if name in of_rows:
            taken = [k for k in range(dimensions) if k != axis][dimensions - 1 - array.ndim :]
            kept = array[tuple(slice(None) if k in taken else None for k in range(dimensions))]
            sides = zip(kept.shape, x.chunks, strict=True)
            arrays[name] = kept.rechunk(tuple((1,) if side == 1 else sizes for side, sizes in sides))
        elif name != "x":
            arrays[name] = array.rechunk(x.chunks)
    task = LossTask(call.function, call.method, tuple(arrays), axis, of_rows)
    made = partial(da.map_blocks, task, *arrays.values(), dtype=checked.dtype)
    if "loss" in outputs:
        return made(drop_axis=axis, meta=np.empty((0,) * (dimensions - 1), checked.dtype))
    return made(chunks=x.chunks, meta=np.empty((0,) * dimensions, checked.dtype))
