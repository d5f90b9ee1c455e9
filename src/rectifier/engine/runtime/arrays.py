"""Arrays as compiled code sees them: the fields of their structures, which `capi` describes, and how one is made."""

from __future__ import annotations

from ..capi import AXES, FLAGS, HEAD, MEMORY_HANDLER, OWNDATA, SHAPE, WRITEABLE
from ..compiler.instructions import *
from .layout import *
from .pool_layout import BOUND, MINIMUM


def field(array: int, k: int) -> int:
    """Read a field of an array: a word."""
    return load(array + HEAD, k)


def type_of(thing: int) -> int:
    """Read the type of any object."""
    return load(thing + HEAD - 8, 0)


def axes_of(array: int) -> int:
    """Read the number of an array's dimensions."""
    return load32(array + HEAD + 8 * AXES)


def flags_of(array: int) -> int:
    """Read the flags of an array."""
    return load32(array + HEAD + 8 * FLAGS)


def refuse(engine: int) -> int:
    """Answer NotImplemented."""
    answer = load(engine, NOT_IMPLEMENTED)
    call1(load(engine, INCREF), answer)
    return answer


def has_shape(array: int, axes: int, extents: int) -> int:
    """Check the shape of an array."""
    if axes_of(array) != axes:
        return False
    shape, same = field(array, SHAPE), 1
    for d in range(axes):
        same &= load(shape, d) == load(extents, d)
    return same


def make(engine: int, descriptor: int, axes: int, extents: int, steps: int, size: int) -> int:
    """Make an output, with these strides if `steps` is not 0, else in C order; a large one on memory of the pool."""
    pool, data, flags = load(engine, POOL), 0, 0
    if pool != 0 and size >= load(pool, MINIMUM) and load(pool, BOUND) != 0:
        data, flags = call2(load(engine, POOL_ALLOCATE), pool, size), WRITEABLE
    call1(load(engine, INCREF), descriptor)
    array_type = load(engine, ARRAY_TYPE)
    array = call8(load(engine, NEW_ARRAY), array_type, descriptor, axes, extents, steps, data, flags if data else 0, 0)
    if data and array == 0:
        call3(load(engine, POOL_FREE), pool, data, size)
    elif data:
        # The array owns its data, and NumPy gives it back to the handler: what PyDataMem_SetHandler would bring about,
        # for 190 ns more.
        call1(load(engine, INCREF), load(engine, HANDLER))
        store(array + HEAD, MEMORY_HANDLER, load(engine, HANDLER))
        store(array + HEAD, FLAGS, load(array + HEAD, FLAGS) | OWNDATA)
    return array
