"""A copy past the caches, by the threads of a call: the limit of what a call can do on large arrays."""

from __future__ import annotations

import ctypes
from functools import cache
from types import FunctionType
from typing import Any

import numpy as np

from ...engine import process, store
from ...engine.calls import Call
from ...engine.compiler.optimise import Optimised
from ...engine.fingerprint import RUNTIME, code_of
from ...engine.runtime import layout
from ...engine.runtime.structure import Words

_immortal: list[Any] = []  # compiled code has their addresses
ctypes.pythonapi.Py_IncRef(ctypes.py_object(_immortal))


def _kernel(operands: Words, n: int, how: int) -> None:  # of x and y; what is not a whole line goes through the caches
    source, target = operands[0], operands[1]
    head = min(-target & (LINE - 1), n * SIZE)  # type: ignore[name-defined]  # noqa: F821  (`_build` binds)
    lines = divide(n * SIZE - head, LINE)  # type: ignore[name-defined]  # noqa: F821
    rest = head + LINE * lines  # type: ignore[name-defined]  # noqa: F821
    copy_memory(target, source, head)  # type: ignore[name-defined]  # noqa: F821
    for i in range(lines):
        stream_line(target + head + LINE * i, source + head + LINE * i)  # type: ignore[name-defined]  # noqa: F821
    copy_memory(target + rest, source + rest, n * SIZE - rest)  # type: ignore[name-defined]  # noqa: F821
    fence()  # type: ignore[name-defined]  # noqa: F821


def _build(size: int) -> Optimised:
    from ...engine.compiler import instructions, subset

    names = {**vars(instructions), "Words": Words, "LINE": layout.LINE, "SIZE": size}
    return subset.optimised([FunctionType(_kernel.__code__, names, "kernel")])


@cache
def _call() -> Call:
    copy = Call("stream_copy", 2, 1, 1, -1)
    for dtype in map(np.dtype, "efd"):
        content = code_of(_kernel) + bytes([dtype.itemsize])
        kernel = store.machine_code("stream_copy", RUNTIME, content, lambda size=dtype.itemsize: _build(size))  # type: ignore[misc]
        # A cost that lets helpers take part from where a kernel of few instructions does: as one that moves 64 bytes
        # per nanosecond.
        descriptor = layout.LoopDescriptor.new(
            engine=process.words(), kernel=kernel["kernel"], cost=process.cost(dtype.itemsize / 64), count=2, first=1,
            last=1, mask=-1, length=layout.TILE // dtype.itemsize, element_bytes=2 * dtype.itemsize,
            size=(dtype.itemsize, dtype.itemsize),
        )  # fmt: skip
        _immortal.append(descriptor)
        copy.add(dtype, descriptor)
    return copy


def stream_copy(y: Any, x: Any) -> None:
    """Copy x to y past the caches.

    Parameters
    ----------
    y, x : arrays of float16, float32 or float64
        Of one shape and dtype, contiguous, apart.
    """
    if not (x.flags.c_contiguous and y.flags.c_contiguous) or _call().function(x, y) is NotImplemented:
        raise ValueError("stream_copy takes two contiguous arrays of one shape and dtype, apart in memory")
