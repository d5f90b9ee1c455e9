"""The compiled call of a row-wise function that reduces, over whole arrays as `rows` has them.

One array has a number for each row: the value's result, or dy. The other two are x and dx.
"""

from __future__ import annotations

from ..capi import WRITEABLE, ArrayObject
from ..compiler.instructions import call1, divide, enter_default_floating_point, leave_default_floating_point, stack
from .arrays import has_shape, make, refuse
from .entry import plan_of
from .layout import Method, Rows
from .rows import LIES, compute
from .structure import Words


def _call(method: Method, arguments: Words, number: int) -> int:
    engine, last = method.engine, method.last
    array_type, none = engine.array_type, engine.none
    whole, reduced = last - 1, 2 - last  # the places of x, and of what has a number for each row
    x, out = ArrayObject(arguments[whole]), ArrayObject(arguments[last])
    if number != last + 1 or x.type != array_type:
        return refuse(engine)
    descriptor, axes, shape = x.descriptor, x.axes, x.shape
    plan = plan_of(method, descriptor)
    if plan == 0 or axes < 2:
        return refuse(engine)
    total = 1
    for d in range(axes):
        total *= shape[d]
    if total == 0:
        return refuse(engine)
    rows, length, width, own = stack(Rows), shape[axes - 1], plan.size[plan.last], axes
    rows.length = length
    for k in range(number):
        a = ArrayObject(arguments[k])
        if k < last or a != none:
            if a.type != array_type or a.descriptor != descriptor or a.flags & LIES != LIES:
                return refuse(engine)
            if not has_shape(a, axes - 1 if k == reduced else axes, shape):
                return refuse(engine)
            rows.arrays[k] = a.data
    size = total * width
    if reduced == last:
        own, size = axes - 1, divide(total, length) * width
    if out == none:
        out = make(engine, descriptor, own, shape, Words(0), size)
        if out == 0:
            return 0
        rows.arrays[last] = out.data
    else:
        if out.flags & WRITEABLE == 0:
            return refuse(engine)
        target = rows.arrays[last]
        for k in range(last):
            source, read = rows.arrays[k], divide(total, length) * width if k == reduced else total * width
            is_out = source == target and k != reduced and last != reduced
            if not is_out and source < target + size and target < source + read:
                return refuse(engine)
        call1(engine.incref, out)
    compute(plan, engine, rows, total)
    return out


def call_reduction(owner: ArrayObject, arguments: Words, number: int) -> int:
    """Answer a call of the builtin function: the output; NotImplemented; or 0 with an exception set."""
    saved = enter_default_floating_point()
    answer = _call(Method(owner.data), arguments, number)
    leave_default_floating_point(saved)
    return answer
