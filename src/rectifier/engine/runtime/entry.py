"""The functions that NumPy and Python call: the inner loop of a ufunc, and a function that takes arrays whole.

`loop` serves NumPy: one axis, pieces as NumPy cuts them. `call` serves the public functions: a builtin function of
Python (``METH_FASTCALL``) that takes the inputs, parameters and outputs of a operation, ndarrays of any layout and
of one dtype, with None for an output to be made. It reads shape and strides out of the arrays' own structures, which
`abi` describes and has compared, so that nothing but this one call is paid for in Python. Whatever it does not take it
answers with NotImplemented, before anything is written.
"""

from __future__ import annotations

from ..capi import ALIGNED, C_CONTIGUOUS, F_CONTIGUOUS, WRITEABLE, ArrayObject, FloatObject
from ..compiler.instructions import (
    address,
    call0,
    call1,
    call3,
    copy_memory,
    enter_default_floating_point,
    leave_default_floating_point,
    put_bfloat,
    put_double,
    put_float,
    put_half,
    stack,
)
from .arrays import has_shape, make, refuse
from .driver import prepare
from .layout import DOUBLE, HALF, MAX_DIMENSIONS, MAX_OPERANDS, SINGLE, Casts, Engine, Job, LoopDescriptor, Method
from .streaming import choose, learn
from .structure import Words
from .threads import expected, run


def _lies_apart(job: Job, k: int, o: int, plan: LoopDescriptor, axes: int) -> int:
    """Return whether output o may be written while operand k is read: the same elements, or no common byte."""
    high_k, high_o = job.widths[k], job.widths[o]
    low_k, low_o, same = 0, 0, job.pointers[k] == job.pointers[o] and high_k == high_o
    for d in range(axes):
        a, b = job.strides[k, d], job.strides[o, d]
        reach = job.extents[d] - 1
        same &= a == b or reach == 0
        low_k += min(a * reach, 0)
        high_k += max(a * reach, 0)
        low_o += min(b * reach, 0)
        high_o += max(b * reach, 0)
    at_k, at_o = job.pointers[k], job.pointers[o]
    if same or at_k + high_k <= at_o + low_o or at_o + high_o <= at_k + low_k:
        return 1
    return _lies_between(job, k, o, axes)


def _lies_between(job: Job, k: int, o: int, axes: int) -> int:
    """Return whether two operands take different parts of each period, as columns of one array do.

    A period is the stride of an axis of output o: strides that are multiples of it change no place in a period.
    """
    for axis in range(axes):
        period = abs(job.strides[o, axis])
        if period == 0 or job.extents[axis] == 1:
            continue
        low, span_k, span_o = 0, job.widths[k], job.widths[o]
        for d in range(axes):
            reach = job.extents[d] - 1
            a, b = job.strides[k, d] * reach, job.strides[o, d] * reach
            if abs(job.strides[k, d]) % period != 0:
                span_k += abs(a)
                low += min(a, 0)
            if abs(job.strides[o, d]) % period != 0:
                span_o += abs(b)
                low -= min(b, 0)
        apart = job.pointers[k] - job.pointers[o] + low
        place = period - 1 - (-apart - 1) % period if apart < 0 else apart % period
        if place >= span_o and place + span_k <= period:
            return 1
    return 0


def loop(arrays: Words, dims: Words, steps: Words, plan: LoopDescriptor) -> None:
    """Run the inner loop of a ufunc: one dimension, `steps` bytes from element to element."""
    n, count, first, last = dims[0], plan.count, plan.first, plan.last
    kernel, engine = plan.kernel, plan.engine
    contiguous, one_number_each, arrays_of_them = True, True, True
    for k in range(count):
        lies = steps[k] == plan.size[k]
        if first <= k < last:
            one_number_each &= steps[k] == 0
            arrays_of_them &= lies
        else:
            contiguous &= lies
    saved = enter_default_floating_point()
    if n > 1 and arrays[0] + steps[0] == arrays[last]:
        # reduce and accumulate: each result is an operand of the next
        here = stack(MAX_OPERANDS)
        for i in range(n):
            for k in range(count):
                here[k] = arrays[k] + i * steps[k]
            call3(kernel, here, 1, 1)
    elif n == 1:
        call3(kernel, arrays, 1, 1)
    elif n > 1:
        small = expected(plan, engine, n) < engine.parallel_from
        if small and contiguous and (one_number_each or arrays_of_them):
            call3(kernel, arrays, n, one_number_each)
        else:
            job = stack(Job)
            job.plan = plan
            job.dimensions = 1
            job.extents[0] = n
            for k in range(count):
                job.pointers[k] = arrays[k]
                job.widths[k] = plan.size[k]
                job.casts[k] = 0
                job.strides[k, 0] = steps[k]
            prepare(job)
            apart = 1
            for o in range(last, count):
                for k in range(last):
                    apart &= _lies_apart(job, k, o, plan, 1)
            if apart:
                choose(job, plan, engine)
                run(job, engine)
                learn(job)
            else:  # NumPy lets an output follow behind an input in one array: right, if it is done in order
                call3(engine.walk, job, 0, n)
    leave_default_floating_point(saved)


def plan_of(method: Method, descriptor: int) -> LoopDescriptor:
    """Find the plan that serves a dtype; 0 if none does."""
    for row in range(method.rows):
        if method.table[row, 0] == descriptor:
            return LoopDescriptor(method.table[row, 1])
    return LoopDescriptor(0)


def _cast_of(casts: Casts, descriptor: int) -> int:
    """Find the cast from a dtype: its row, or -1 if there is none."""
    for row in range(casts.number):
        if casts.rows[row, 0] == descriptor:
            return row
    return -1


def _strides(job: Job, k: int, array: ArrayObject, axes: int) -> None:
    """Write where operand k lies, repeated along the axes that it lacks."""
    own, shape, strides = array.axes, array.shape, array.strides
    job.pointers[k] = array.data
    for d in range(axes):
        o = d - axes + own
        repeated = o < 0
        if not repeated:
            repeated = shape[o] == 1
        job.strides[k, d] = 0 if repeated else strides[o]


def _order(job: Job, count: int, mask: int, given: int, axes: int, order: Words) -> int:
    """Write the axes in the order in which NumPy's iterator walks them, the fastest first; say whether that is C order.

    Of two axes, the one of smaller strides comes first, if that is so for all operands that vary along both;
    where they disagree, C order.
    """
    for d in range(axes):
        order[d] = axes - 1 - d
    for a in range(1, axes):
        axis, at = order[a], a
        b = a - 1
        while b >= 0:
            inner, decided, swap = order[b], 0, 0
            for k in range(count):
                if k == mask or given >> k & 1 == 0:
                    continue
                outer_step = abs(job.strides[k, axis])
                inner_step = abs(job.strides[k, inner])
                if job.extents[axis] == 1 or job.extents[inner] == 1:
                    outer_step = 0
                if outer_step != 0 and inner_step != 0:
                    swap = 0 if inner_step <= outer_step else 1 if decided == 0 else swap
                    decided = 1
            if decided and swap == 0:
                break
            if decided:
                at = b
            b -= 1
        for c in range(a, at, -1):
            order[c] = order[c - 1]
        order[at] = axis
    plain = 1
    for d in range(axes):
        plain &= order[d] == axes - 1 - d
    return plain


def put(target: int, source: FloatObject, kind: int) -> None:
    """Write a Python float as a parameter of the kernel's: rounded once, to nearest; -0.0 as 0."""
    number = stack(1)
    number[0] = 0 if source.number << 1 == 0 else source.number
    if kind == SINGLE:
        put_float(target, number)
    elif kind == DOUBLE:
        put_double(target, number)
    elif kind == HALF:
        put_half(target, number)
    else:
        put_bfloat(target, number)


def _make_outputs(
    job: Job, plan: LoopDescriptor, engine: Engine, arguments: Words, made: Words, descriptor: int, axes: int,
    given: int, total: int, layout: int,
) -> int:  # fmt: skip
    """Make the outputs that were not given, in the layout of the other operands; give 0 if there is no memory."""
    count, last, mask, extents = plan.count, plan.last, plan.mask, Words(address(job.extents))
    order, strides, bits, steps = stack(MAX_DIMENSIONS), stack(MAX_DIMENSIONS), stack(1), Words(0)
    step = plan.size[last]
    if layout and _order(job, count, mask, given, axes, order) == 0:
        steps = strides
        for d in range(axes):
            steps[order[d]] = step
            step *= max(extents[order[d]], 1)
    for o in range(last, count):
        a = ArrayObject(arguments[o])
        if a != engine.none:
            call1(engine.incref, a)
        elif o == mask:
            bits[0] = (total + 7) // 8
            a = make(engine, engine.uint8, 1, bits, Words(0), bits[0])
            if a:  # what a mask keeps does not change
                job.pointers[o] = a.data
                a.flags &= ~WRITEABLE
        else:
            a = make(engine, descriptor, axes, extents, steps, total * plan.size[o])
            if a:
                _strides(job, o, a, axes)
        if a == 0:
            for p in range(last, o):
                call1(engine.decref, made[p])
            return 0
        made[o] = a
    return 1


def _compute(job: Job, plan: LoopDescriptor, engine: Engine, simple: int) -> None:
    """Compute a job; in a `simple` one all arrays are single runs, and the parameters single numbers."""
    total = job.total
    small = expected(plan, engine, total) < engine.parallel_from
    size = total * plan.size[plan.last]
    near = size < engine.stream_from and size < engine.learn_from
    if simple and small and near:
        call3(plan.kernel, address(job.pointers), total, 1)
        return
    if simple:
        job.dimensions = 1
        job.extents[0] = total
        first, last = plan.first, plan.last
        for k in range(plan.count):
            job.strides[k, 0] = 0 if first <= k < last else plan.size[k]
    prepare(job)
    choose(job, plan, engine)
    if small:
        run(job, engine)
        learn(job)
    else:
        state = call0(engine.save_thread)
        run(job, engine)
        learn(job)
        call1(engine.restore_thread, state)


def _answer(engine: Engine, made: Words, last: int, count: int) -> int:
    """Return the output, or a tuple of two, or 0 if there is no memory for that."""
    if count - last == 1:
        return made[last]
    both = call1(engine.new_tuple, 2)
    for o in range(last, count):
        if both == 0:
            call1(engine.decref, made[o])
        else:
            call3(engine.set_tuple_item, both, o - last, made[o])
    return both


def _call(method: Method, arguments: Words, number: int) -> int:
    engine, first, last = method.engine, method.first, method.last
    count, mask = method.count, method.mask
    array_type, none = engine.array_type, engine.none
    x, casts = ArrayObject(arguments[0]), method.casts
    if number != count or x.type != array_type:
        return refuse(engine)
    descriptor = method.table[0, 0] if casts else x.descriptor
    plan = plan_of(method, descriptor)
    if plan == 0:
        return refuse(engine)

    job, numbers = stack(Job), stack(MAX_OPERANDS)
    job.plan = plan
    axes, alike, flags = x.axes, 1, x.flags
    for k in range(count):
        a = ArrayObject(arguments[k])
        job.widths[k] = plan.size[k]
        job.casts[k] = 0
        if k >= last and a == none:
            continue
        if a.type == array_type:
            if a.descriptor != (engine.uint8 if k == mask else descriptor):
                if casts == 0 or k >= first or k == mask:
                    return refuse(engine)
                alike = 0
                row = _cast_of(casts, a.descriptor)
                if row < 0:
                    return refuse(engine)
                job.casts[k] = casts.rows[row, 1]
                job.widths[k] = casts.rows[row, 2]
            if k != mask:
                if k < last and a.axes > axes:
                    axes = a.axes
                if k < first or k >= last:
                    flags &= a.flags
        elif first <= k < last and a.type == engine.float_type and plan.float_kind:
            put(numbers + 8 * k, FloatObject(a), plan.float_kind)
        else:
            return refuse(engine)
    if axes == 0:
        return refuse(engine)

    extents = Words(address(job.extents))
    for d in range(axes):
        extents[d] = 1
    for k in range(last):
        a = ArrayObject(arguments[k])
        if k == mask or a.type != array_type:
            continue
        own, shape = a.axes, a.shape
        for d in range(own):
            extent, o = shape[d], d + axes - own
            if extents[o] == 1:
                extents[o] = extent
            elif extent != 1 and extent != extents[o]:
                return refuse(engine)
    total, given = 1, 0
    for d in range(axes):
        total *= extents[d]
    for k in range(last):
        a = ArrayObject(arguments[k])
        if a.type == array_type and k != mask:
            if k >= first:
                alike &= a.axes == 0
            elif not has_shape(a, axes, extents):
                alike = 0
    orders = C_CONTIGUOUS | F_CONTIGUOUS if mask < 0 else C_CONTIGUOUS  # the bits of a mask are in C order
    simple = alike and flags & ALIGNED != 0 and flags & orders != 0

    # Before anything is written: what was given for outputs must be just what would be made, and lie apart.
    for k in range(last):
        a = ArrayObject(arguments[k])
        if k == mask:
            bits = (total + 7) // 8
            job.pointers[k] = a.data
            if a.axes != 1 or a.shape[0] != bits or a.flags & C_CONTIGUOUS == 0:
                return refuse(engine)
        elif a.type == array_type and (k < first or a.axes > 0):
            given |= 1 << k
            _strides(job, k, a, axes)
        else:
            if a.type == array_type:  # a parameter of one element, which may be misaligned, or -0.0
                width = plan.size[k]
                numbers[k] = 0
                copy_memory(numbers + 8 * k, a.data, width)
                if plan.float_kind and numbers[k] == 1 << (8 * width - 1):
                    numbers[k] = 0
            job.pointers[k] = numbers + 8 * k
            for d in range(axes):
                job.strides[k, d] = 0
    for o in range(last, count):
        a = ArrayObject(arguments[o])
        if a == none:
            continue
        if a.flags & WRITEABLE == 0:
            return refuse(engine)
        if o == mask:
            job.pointers[o] = a.data
            if a.axes != 1 or a.shape[0] != (total + 7) // 8 or a.flags & C_CONTIGUOUS == 0:
                return refuse(engine)
            continue
        if not has_shape(a, axes, extents):
            return refuse(engine)
        given |= 1 << o
        _strides(job, o, a, axes)
        for k in range(o):
            known = k != mask and (k < last or arguments[k] != none)
            twice = k >= last and job.pointers[k] == job.pointers[o]
            if known and (twice or not _lies_apart(job, k, o, plan, axes)):
                return refuse(engine)

    made = stack(MAX_OPERANDS)
    layout = flags & C_CONTIGUOUS == 0 or alike == 0
    if _make_outputs(job, plan, engine, arguments, made, descriptor, axes, given, total, layout) == 0:
        return 0
    if total > 0:
        job.dimensions = axes
        job.total = total
        _compute(job, plan, engine, simple)
    return _answer(engine, made, last, count)


def call(owner: ArrayObject, arguments: Words, number: int) -> int:
    """Answer a call of the builtin function: one output or two; NotImplemented; or 0 with an exception set."""
    saved = enter_default_floating_point()
    answer = _call(Method(owner.data), arguments, number)
    leave_default_floating_point(saved)
    return answer
