"""The compiled call of a row-wise function: a builtin function over whole arrays, whose rows lie along the last axis.

To the driver, a job of rows is an elementwise one of two operands that are not there: the number of an element, and one
number for all of them, the address of a block of words that says where the arrays are. Whoever is given elements i to
j computes the rows that begin there, so the order of a sum depends on neither chunks nor threads.
"""

from __future__ import annotations

from ..capi import ALIGNED, C_CONTIGUOUS, DATA, DESCRIPTOR, SHAPE, WRITEABLE
from ..compiler.instructions import *
from .arrays import axes_of, field, flags_of, has_shape, make, refuse, type_of
from .entry import plan_of
from .layout import *
from .threads import expected, run

LIES = C_CONTIGUOUS | ALIGNED


def _compute(plan: int, engine: int, rows: int, total: int) -> None:
    job = stack(JOB_WORDS)
    store(job, POINTERS, 0)
    store(job, POINTERS + 1, rows)
    if expected(plan, engine, total) < load(engine, PARALLEL_FROM):
        call3(load(plan, KERNEL), job + 8 * POINTERS, total, 1)
        return
    store(job, PLAN, plan)
    store(job, DIMENSIONS, 1)
    store(job, EXTENTS, total)
    store(job, TOTAL, total)
    store(job, STRIDES, 1)
    store(job, STRIDES + MAX_DIMENSIONS, 0)
    store(job, STREAM, 0)
    store(job, ROWS, 1)
    store(job, UNIFORM, 1)
    state = call0(load(engine, SAVE_THREAD))
    run(job, engine)
    call1(load(engine, RESTORE_THREAD), state)


def _compute_long(plan: int, engine: int, rows: int, places: int, total: int, length: int) -> None:
    """Compute rows whose exponentials wait for the sum in one of as many places as there are threads, or rows.

    A thread takes a place for its rows, and another if that one is taken. Without memory for them the exponentials are
    computed twice.
    """
    pool, taken, waiting = load(engine, POOL), stack(MAX_THREADS), 0
    number = min(load(engine, THREADS), divide(total, length))
    size = 8 * (number * length + 7)  # a sum reads on to whole vectors
    if pool != 0:
        waiting = call2(load(engine, POOL_ALLOCATE), pool, size)
    if waiting != 0:
        for k in range(number):
            store(taken, k, 0)
        store(rows, places, taken)
        store(rows, places + 1, number)
        store(rows, places + 2, waiting)
    _compute(plan, engine, rows, total)
    if waiting != 0:
        call3(load(engine, POOL_FREE), pool, waiting, size)


def _call(method: int, arguments: int, number: int) -> int:
    engine, last = load(method, METHOD_ENGINE), load(method, METHOD_LAST)
    array_type, none = load(engine, ARRAY_TYPE), load(engine, NONE)
    x, out = load(arguments, 0), load(arguments, last)
    if number != last + 1 or type_of(x) != array_type:
        return refuse(engine)
    descriptor, axes, shape = field(x, DESCRIPTOR), axes_of(x), field(x, SHAPE)
    plan = plan_of(method, descriptor)
    if plan == 0 or axes == 0:
        return refuse(engine)
    total = 1
    for d in range(axes):
        total *= load(shape, d)
    if total == 0:
        return refuse(engine)
    rows, size, length = stack(ROW_WORDS), total * load(plan, SIZE + load(plan, LAST)), load(shape, axes - 1)
    store(rows, 0, length)
    for k in range(number):
        a = load(arguments, k)
        if k < last or a != none:
            if type_of(a) != array_type:
                return refuse(engine)
            if field(a, DESCRIPTOR) != descriptor or flags_of(a) & LIES != LIES or not has_shape(a, axes, shape):
                return refuse(engine)
            store(rows, 1 + k, field(a, DATA))
    if out == none:
        out = make(engine, descriptor, axes, shape, 0, size)
        if out == 0:
            return 0
        store(rows, 1 + last, field(out, DATA))
    else:
        if flags_of(out) & WRITEABLE == 0:
            return refuse(engine)
        target = load(rows, 1 + last)
        for k in range(last):
            source = load(rows, 1 + k)
            if source != target and source < target + size and target < source + size:
                return refuse(engine)
        call1(load(engine, INCREF), out)
    store(rows, 2 + last, 0)
    if BLOCK < length <= load(plan, LONGEST_WAITING):
        _compute_long(plan, engine, rows, 2 + last, total, length)
    else:
        _compute(plan, engine, rows, total)
    return out


def call_rows(method: int, arguments: int, number: int) -> int:
    """Be the builtin function: give the output; NotImplemented; or 0 with an exception set."""
    saved = enter_default_floating_point()
    answer = _call(field(method, DATA), arguments, number)
    leave_default_floating_point(saved)
    return answer
