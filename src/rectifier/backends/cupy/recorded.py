"""Launches recorded for the next calls that differ only in where their arrays lie in memory.

A call is first checked and computed by `calls`. If one launch on its very arrays was all, that launch is recorded by
all that decided it: function, operation, numbers, and of arrays their dtype, shape, strides and device.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import zip_longest
from typing import Any, NamedTuple

import cupy
import numpy as np

from ...functions.call import Call
from ...functions.mask import Mask
from .launch import Launch, again

MOST = 1024  # launches, of 1.1 to 1.4 KB each


class Recorded(NamedTuple):
    """How a call was computed, for others like it.

    Attributes
    ----------
    launch : Launch
        Without its arguments.
    numbers : tuple of (int, scalar)
        Parameters as the kernel takes them, with their places among its arguments.
    makers : tuple of callable or None
        Of each result, what makes its array; None if that is given as `out`.
    sizes : tuple of scalar
        The last arguments of the kernel.
    device : int
        On which the arrays lie, and which was the current one.
    """

    launch: Launch
    numbers: tuple[tuple[int, Any], ...]
    makers: tuple[Callable[[], Any] | None, ...]
    sizes: tuple[Any, ...]
    device: int

    def compute(self, call: Call) -> tuple[Any, ...]:
        """Compute a call, and return the arrays of its results."""
        operands = [*call.arrays.values()]
        for k, number in self.numbers:
            operands[k] = number
        pairs = zip_longest(self.makers, _outs(call))
        outs = tuple([out if make is None else make() for make, out in pairs])
        again(self.launch, (*operands, *outs, *self.sizes))
        return outs


launches: dict[tuple[Any, ...] | None, Recorded] = {}


def key_of(call: Call) -> tuple[Any, ...] | None:
    """Return all that decides the launch of a call; None where an argument is of a kind that is not recorded."""
    if type(call.axis) is not int:  # 0.0, which is refused, equals 0
        return None
    key = [call.function, call.operation.name, call.axis]
    for value in (*call.operands.values(), *call.parameters.values(), *_outs(call)):
        kind, array = type(value), value
        if kind is Mask:
            kind, array = type(value._bits), value._bits
        if kind is cupy.ndarray:
            key += value.shape, array.dtype, array.strides, array.data.device_id  # the shape of a mask, not of its bits
        elif kind is float or kind is int or value is None:
            key.append(value)
        else:
            return None  # among them bool, which is refused
    return tuple(key)


def _outs(call: Call) -> tuple[Any, ...]:
    return call.out if type(call.out) is tuple else (call.out,)


def record(key: tuple[Any, ...], call: Call, outs: tuple[Any, ...], launch: Launch) -> None:
    """Record the launch of a call, unless it had other arrays than that: a copy, or a result that was copied then."""
    operands, arguments = [*call.arrays.values()], launch.arguments
    first, last = len(operands), len(operands) + len(outs)
    numbers = tuple((k, own) for k, own in enumerate(arguments[:first]) if own is not operands[k])
    written = zip(outs, arguments[first:last], strict=True)
    if any(isinstance(number, cupy.ndarray) for _, number in numbers) or any(out is not own for out, own in written):
        return
    makers: list[Any] = []
    for name, out in zip(call.operation.outputs, outs, strict=True):
        flags = out.flags
        if any(out is own for own in _outs(call)):
            makers.append(None)
        elif name == "mask":
            makers.append(partial(empty_bits, outs[0].size))
        elif flags.c_contiguous or flags.f_contiguous:
            makers.append(partial(cupy.empty, out.shape, out.dtype, "C" if flags.c_contiguous else "F"))
        else:
            return  # `empty_like` could make it, of the array that it lies like, in three times as long
    if len(launches) >= MOST:
        launches.clear()
    launches[key] = Recorded(
        launch._replace(arguments=()), numbers, tuple(makers), arguments[last:], outs[0].data.device_id
    )


def empty_bits(size: int) -> Any:
    """Make room for the bits of a mask, in words of 4 bytes, which the kernel writes whole."""
    length = (size + 7) // 8
    whole = cupy.empty(length + -length % 4, np.uint8)
    return whole[:length] if length % 4 else whole
