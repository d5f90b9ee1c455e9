"""The compiled call that computes a gradient and adds it up along the first of two axes.

The rows are taken in blocks, each of which has totals of its own: the kernel adds to them row after row. Whoever is
given elements i to j computes the blocks that begin there, so the order of a sum depends on neither chunks nor threads.
"""

from __future__ import annotations

from ..capi import ALIGNED, WRITEABLE, ArrayObject, FloatObject
from ..compiler.instructions import (
    call0,
    call1,
    enter_default_floating_point,
    leave_default_floating_point,
    stack,
    ticks,
)
from .arrays import refuse
from .entry import plan_of, put
from .layout import LINE, MAX_OPERANDS, Job, Method, Way
from .streaming import goes_past, learn
from .structure import Words
from .threads import expected, run

BIAS, TOTAL = 2, 3  # which operand is b, and which the totals are, which are the last result, too


def _call(method: Method, arguments: Words, number: int) -> int:
    """Take dy, x, b, the totals, numbers for the parameters, and dx: of two axes, but b, which has one."""
    engine, first, last, count = method.engine, method.first, method.last, method.count
    dy, totals = ArrayObject(arguments[0]), ArrayObject(arguments[TOTAL])
    array_type = engine.array_type
    if number != count - 1 or dy.type != array_type or totals.type != array_type:
        return refuse(engine)
    descriptor = dy.descriptor
    plan = plan_of(method, descriptor)
    if plan == 0 or dy.axes != 2 or totals.axes != 2:
        return refuse(engine)
    rows, columns, blocks = dy.shape[0], dy.shape[1], totals.shape[0]
    block = (rows + blocks - 1) // max(blocks, 1)
    job, numbers = stack(Job), stack(MAX_OPERANDS)
    for k in range(number):
        a = ArrayObject(arguments[k])
        if first <= k < last:
            if a.type != engine.float_type:
                return refuse(engine)
            put(numbers + 8 * k, FloatObject(a), plan.float_kind)
            job.pointers[k] = numbers + 8 * k
            job.strides[k, 0] = 0
            job.strides[k, 1] = 0
            continue
        size, axes = plan.size[k], a.axes
        if a.type != array_type or a.flags & ALIGNED == 0 or axes != (1 if k == BIAS else 2):
            return refuse(engine)
        if a.strides[axes - 1] != size or a.shape[axes - 1] != columns:
            return refuse(engine)
        if k != TOTAL and (a.descriptor != descriptor or (k != BIAS and a.shape[0] != rows)):
            return refuse(engine)
        if k >= last and a.flags & WRITEABLE == 0:
            return refuse(engine)
        step = a.strides[0] if axes == 2 else 0
        job.pointers[k] = a.data
        job.strides[k, 0] = 0 if k == TOTAL else step
        job.strides[k, 1] = step if k == TOTAL else 0
    job.pointers[count - 1] = job.pointers[TOTAL]
    job.strides[count - 1, 0] = 0
    job.strides[count - 1, 1] = job.strides[TOTAL, 1]
    job.plan = plan
    job.dimensions = 1
    job.extents[0] = columns
    total = rows * columns
    job.total = total
    job.block = block * columns
    job.rows = 0
    job.stream = 0
    job.trial = Way(0)
    size, lines = total * plan.size[last], job.strides[last, 0] & (LINE - 1) == 0
    if lines and size >= min(engine.stream_from, engine.learn_from) and job.pointers[last] != job.pointers[0]:
        job.stream = goes_past(job, plan, engine, size)
        job.began = ticks()
    if total > 0:
        if expected(plan, engine, total) < engine.parallel_from:
            run(job, engine)
            learn(job)
        else:
            state = call0(engine.save_thread)
            run(job, engine)
            learn(job)
            call1(engine.restore_thread, state)
    answer = arguments[last]
    call1(engine.incref, answer)
    return answer


def call_sums(owner: ArrayObject, arguments: Words, number: int) -> int:
    """Answer a call of the builtin function: dx, or NotImplemented."""
    saved = enter_default_floating_point()
    answer = _call(Method(owner.data), arguments, number)
    leave_default_floating_point(saved)
    return answer
