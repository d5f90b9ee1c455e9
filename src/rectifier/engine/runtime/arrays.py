"""Arrays as compiled code sees them, whose structure `capi` describes: what is asked of one, and how one is made."""

from __future__ import annotations

from ..capi import OWNDATA, WRITEABLE, ArrayObject
from ..compiler.instructions import call1, call2, call3, call8
from .layout import Engine
from .structure import Words


def refuse(engine: Engine) -> int:
    """Answer NotImplemented."""
    answer = engine.not_implemented
    call1(engine.incref, answer)
    return answer


def has_shape(array: ArrayObject, axes: int, extents: Words) -> int:
    """Check the shape of an array."""
    if array.axes != axes:
        return False
    shape, same = array.shape, 1
    for d in range(axes):
        same &= shape[d] == extents[d]
    return same


def make(engine: Engine, descriptor: int, axes: int, extents: Words, strides: Words, size: int) -> ArrayObject:
    """Make an output, with these strides if there are any, else in C order; a large one on memory of the pool."""
    pool, data, flags = engine.pool, 0, 0
    if pool != 0 and size >= pool.minimum and pool.bound != 0:
        data, flags = call2(engine.pool_allocate, pool, size), WRITEABLE
    call1(engine.incref, descriptor)
    array = ArrayObject(
        call8(engine.new_array, engine.array_type, descriptor, axes, extents, strides, data, flags if data else 0, 0)
    )
    if data and array == 0:
        call3(engine.pool_free, pool, data, size)
    elif data:
        # The array owns its data, and NumPy gives it back to the handler: what PyDataMem_SetHandler would bring about,
        # for 190 ns more.
        call1(engine.incref, engine.handler)
        array.memory_handler = engine.handler
        array.flags |= OWNDATA
    return array
