"""The compiled call of a row-wise function: a builtin function over whole arrays, whose rows lie along the last axis.

To the driver, a job of rows is an elementwise one of two operands that are not there: the number of an element, and one
number for all of them, the address of a block of words that says where the arrays are. Whoever is given elements i to
j computes the rows that begin there, so the order of a sum depends on neither chunks nor threads.
"""

from __future__ import annotations

from ..capi import ALIGNED, C_CONTIGUOUS, WRITEABLE, ArrayObject
from ..compiler.instructions import (
    address,
    call0,
    call1,
    call2,
    call3,
    divide,
    enter_default_floating_point,
    leave_default_floating_point,
    stack,
)
from .arrays import has_shape, make, refuse
from .entry import plan_of
from .layout import BLOCK, MAX_THREADS, Engine, Job, LoopDescriptor, Method, RowOptions, Rows
from .structure import Words
from .threads import expected, run

LIES = C_CONTIGUOUS | ALIGNED


def compute(plan: LoopDescriptor, engine: Engine, rows: Rows, total: int) -> None:
    """Compute rows of so many elements in all, by as many threads as they are worth."""
    job = stack(Job)
    job.pointers[0] = 0
    job.pointers[1] = rows
    if expected(plan, engine, total) < engine.parallel_from:
        call3(plan.kernel, address(job.pointers), total, 1)
        return
    job.plan = plan
    job.dimensions = 1
    job.extents[0] = total
    job.total = total
    job.strides[0, 0] = 1
    job.strides[1, 0] = 0
    job.stream = 0
    job.block = 0
    job.spread = -1
    job.rows = 1
    job.uniform = 1
    state = call0(engine.save_thread)
    run(job, engine)
    call1(engine.restore_thread, state)


def _compute_long(plan: LoopDescriptor, engine: Engine, rows: Rows, places: int, total: int, length: int) -> None:
    """Compute rows whose exponentials wait for the sum in one of as many places as there are threads, or rows.

    A thread takes a place for its rows, and another if that one is taken. Without memory for them the exponentials are
    computed twice.
    """
    pool, taken, waiting = engine.pool, stack(MAX_THREADS), 0
    number = min(engine.threads, divide(total, length))
    size = 8 * (number * length + 7)  # a sum reads on to whole vectors
    if pool != 0:
        waiting = call2(engine.pool_allocate, pool, size)
    if waiting != 0:
        for k in range(number):
            taken[k] = 0
        rows.arrays[places] = taken
        rows.arrays[places + 1] = number
        rows.arrays[places + 2] = waiting
    compute(plan, engine, rows, total)
    if waiting != 0:
        call3(engine.pool_free, pool, waiting, size)


def _call(method: Method, arguments: Words, number: int) -> int:
    engine, last = method.engine, method.last
    array_type, none = engine.array_type, engine.none
    x, out = ArrayObject(arguments[0]), ArrayObject(arguments[last])
    if number != method.count or x.type != array_type:
        return refuse(engine)
    descriptor, axes, shape = x.descriptor, x.axes, x.shape
    plan = plan_of(method, descriptor)
    if plan == 0 or axes == 0:
        return refuse(engine)
    total = 1
    for d in range(axes):
        total *= shape[d]
    if total == 0:
        return refuse(engine)
    rows, size, length = stack(Rows), total * plan.size[plan.last], shape[axes - 1]
    rows.length = length
    for k in range(last + 1):
        a = ArrayObject(arguments[k])
        if k < last or a != none:
            if a.type != array_type:
                return refuse(engine)
            if a.descriptor != descriptor or a.flags & LIES != LIES or not has_shape(a, axes, shape):
                return refuse(engine)
            rows.arrays[k] = a.data
    if out == none:
        out = make(engine, descriptor, axes, shape, Words(0), size)
        if out == 0:
            return 0
        rows.arrays[last] = out.data
    else:
        if last and out.flags & WRITEABLE == 0:  # else it is the input, and nothing is written
            return refuse(engine)
        target = rows.arrays[last]
        for k in range(last):
            source = rows.arrays[k]
            if source != target and source < target + size and target < source + size:
                return refuse(engine)
        call1(engine.incref, out)
    rows.arrays[last + 1] = 0
    if number > last + 1:
        rows.options = RowOptions(ArrayObject(arguments[last + 1]).data)
    longest = plan.longest_waiting
    if BLOCK < length <= longest:
        _compute_long(plan, engine, rows, last + 1, total, length)
    else:
        compute(plan, engine, rows, total)
    return out


def call_rows(owner: ArrayObject, arguments: Words, number: int) -> int:
    """Answer a call of the builtin function: the output; NotImplemented; or 0 with an exception set."""
    saved = enter_default_floating_point()
    answer = _call(Method(owner.data), arguments, number)
    leave_default_floating_point(saved)
    return answer
