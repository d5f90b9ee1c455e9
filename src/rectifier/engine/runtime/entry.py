"""What NumPy and Python call: the inner loop of a ufunc, and a function that takes arrays whole.

`loop` serves NumPy: one axis, pieces as NumPy cuts them. `call` serves the public functions: a builtin function of
Python (``METH_FASTCALL``) that takes the inputs, parameters and outputs of a operation, ndarrays of any layout and
of one dtype, with None for an output to be made. It reads shape and strides out of the arrays' own structures, which
`abi` describes and has compared, so that nothing but this one call is paid for in Python. Whatever it does not take it
answers with NotImplemented, before anything is written.
"""

from __future__ import annotations

from ..capi import (
    ALIGNED,
    C_CONTIGUOUS,
    DATA,
    DESCRIPTOR,
    F_CONTIGUOUS,
    FLAGS,
    HEAD,
    SHAPE,
    STEPS,
    WRITEABLE,
)
from ..compiler.instructions import *
from .arrays import axes_of, field, flags_of, has_shape, make, refuse, type_of
from .driver import prepare
from .layout import *
from .streaming import choose, learn
from .threads import expected, run


def _lies_apart(job: int, k: int, o: int, plan: int, axes: int) -> int:
    """Say whether output o may be written while operand k is read: the same elements, or no common byte."""
    high_k, high_o = load(job, WIDTHS + k), load(job, WIDTHS + o)
    low_k, low_o, same = 0, 0, load(job, POINTERS + k) == load(job, POINTERS + o) and high_k == high_o
    for d in range(axes):
        a, b = load(job, STRIDES + MAX_DIMENSIONS * k + d), load(job, STRIDES + MAX_DIMENSIONS * o + d)
        reach = load(job, EXTENTS + d) - 1
        same &= a == b or reach == 0
        low_k += min(a * reach, 0)
        high_k += max(a * reach, 0)
        low_o += min(b * reach, 0)
        high_o += max(b * reach, 0)
    at_k, at_o = load(job, POINTERS + k), load(job, POINTERS + o)
    return same or at_k + high_k <= at_o + low_o or at_o + high_o <= at_k + low_k


def loop(arrays: int, dims: int, steps: int, plan: int) -> None:
    """Be the inner loop of a ufunc: one dimension, `steps` bytes from element to element."""
    n, count, first, last = load(dims, 0), load(plan, COUNT), load(plan, FIRST), load(plan, LAST)
    kernel, engine = load(plan, KERNEL), load(plan, ENGINE)
    contiguous, one_number_each, arrays_of_them = True, True, True
    for k in range(count):
        lies = load(steps, k) == load(plan, SIZE + k)
        if first <= k < last:
            one_number_each &= load(steps, k) == 0
            arrays_of_them &= lies
        else:
            contiguous &= lies
    saved = enter_default_floating_point()
    if n > 1 and load(arrays, 0) + load(steps, 0) == load(arrays, last):
        # reduce and accumulate: each result is an operand of the next
        here = stack(MAX_OPERANDS)
        for i in range(n):
            for k in range(count):
                store(here, k, load(arrays, k) + i * load(steps, k))
            call3(kernel, here, 1, 1)
    elif n == 1:
        call3(kernel, arrays, 1, 1)
    elif n > 1:
        small = expected(plan, engine, n) < load(engine, PARALLEL_FROM)
        if small and contiguous and (one_number_each or arrays_of_them):
            call3(kernel, arrays, n, one_number_each)
        else:
            job = stack(JOB_WORDS)
            store(job, PLAN, plan)
            store(job, DIMENSIONS, 1)
            store(job, EXTENTS, n)
            for k in range(count):
                store(job, POINTERS + k, load(arrays, k))
                store(job, WIDTHS + k, load(plan, SIZE + k))
                store(job, CASTS + k, 0)
                store(job, STRIDES + MAX_DIMENSIONS * k, load(steps, k))
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
                call3(load(engine, WALK), job, 0, n)
    leave_default_floating_point(saved)


def plan_of(method: int, descriptor: int) -> int:
    """Find the plan that serves a dtype; 0 if none does."""
    for row in range(load(method, METHOD_ROWS)):
        if load(method, METHOD_TABLE + 2 * row) == descriptor:
            return load(method, METHOD_TABLE + 2 * row + 1)
    return 0


def _strides(job: int, k: int, array: int, axes: int) -> None:
    """Write where operand k lies, repeated along the axes that it lacks."""
    own = axes_of(array)
    shape, steps, strides = field(array, SHAPE), field(array, STEPS), STRIDES + MAX_DIMENSIONS * k
    store(job, POINTERS + k, field(array, DATA))
    for d in range(axes):
        o = d - axes + own
        repeated = o < 0
        if not repeated:
            repeated = load(shape, o) == 1
        store(job, strides + d, 0 if repeated else load(steps, o))


def _order(job: int, count: int, mask: int, given: int, axes: int, order: int) -> int:
    """Write the axes in the order in which NumPy's iterator walks them, the fastest first; say whether that is C order.

    Of two axes, the one of smaller strides comes first, if that is so for all operands that vary along both;
    where they disagree, C order.
    """
    for d in range(axes):
        store(order, d, axes - 1 - d)
    for a in range(1, axes):
        axis, at = load(order, a), a
        b = a - 1
        while b >= 0:
            inner, decided, swap = load(order, b), 0, 0
            for k in range(count):
                if k == mask or given >> k & 1 == 0:
                    continue
                outer_step = abs(load(job, STRIDES + MAX_DIMENSIONS * k + axis))
                inner_step = abs(load(job, STRIDES + MAX_DIMENSIONS * k + inner))
                if load(job, EXTENTS + axis) == 1 or load(job, EXTENTS + inner) == 1:
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
            store(order, c, load(order, c - 1))
        store(order, at, axis)
    plain = 1
    for d in range(axes):
        plain &= load(order, d) == axes - 1 - d
    return plain


def _put(address: int, source: int, kind: int) -> None:
    """Write a Python float as a parameter of the kernel's: rounded once, to nearest; -0.0 as 0."""
    number = stack(1)
    store(number, 0, 0 if load(source, 0) << 1 == 0 else load(source, 0))
    source = number
    if kind == SINGLE:
        put_float(address, source)
    elif kind == DOUBLE:
        put_double(address, source)
    elif kind == HALF:
        put_half(address, source)
    else:
        put_bfloat(address, source)


def _make_outputs(
    job: int, plan: int, engine: int, arguments: int, made: int, descriptor: int, axes: int, given: int, total: int,
    layout: int,
) -> int:  # fmt: skip
    """Make the outputs that were not given, in the layout of the other operands; give 0 if there is no memory."""
    count, last, mask, extents = load(plan, COUNT), load(plan, LAST), load(plan, MASK), job + 8 * EXTENTS
    order, strides, bits, steps, step = (
        stack(MAX_DIMENSIONS),
        stack(MAX_DIMENSIONS),
        stack(1),
        0,
        load(plan, SIZE + last),
    )
    if layout and _order(job, count, mask, given, axes, order) == 0:
        steps = strides
        for d in range(axes):
            store(steps, load(order, d), step)
            step *= max(load(extents, load(order, d)), 1)
    for o in range(last, count):
        a = load(arguments, o)
        if a != load(engine, NONE):
            call1(load(engine, INCREF), a)
        elif o == mask:
            store(bits, 0, (total + 7) // 8)
            a = make(engine, load(engine, UINT8), 1, bits, 0, load(bits, 0))
            if a:  # what a mask keeps does not change
                store(job, POINTERS + o, field(a, DATA))
                store(a + HEAD, FLAGS, load(a + HEAD, FLAGS) & ~WRITEABLE)
        else:
            a = make(engine, descriptor, axes, extents, steps, total * load(plan, SIZE + o))
            if a:
                _strides(job, o, a, axes)
        if a == 0:
            for p in range(last, o):
                call1(load(engine, DECREF), load(made, p))
            return 0
        store(made, o, a)
    return 1


def _compute(job: int, plan: int, engine: int, simple: int) -> None:
    """Compute a job; in a `simple` one all arrays are single runs, and the parameters single numbers."""
    total = load(job, TOTAL)
    small = expected(plan, engine, total) < load(engine, PARALLEL_FROM)
    size = total * load(plan, SIZE + load(plan, LAST))
    near = size < load(engine, STREAM_FROM) and size < load(engine, LEARN_FROM)
    if simple and small and near and load(plan, MASK) < 0:
        call3(load(plan, KERNEL), job + 8 * POINTERS, total, 1)
        return
    if simple:
        store(job, DIMENSIONS, 1)
        store(job, EXTENTS, total)
        for k in range(load(plan, COUNT)):
            step = 0 if load(plan, FIRST) <= k < load(plan, LAST) else load(plan, SIZE + k)
            store(job, STRIDES + MAX_DIMENSIONS * k, step)
    prepare(job)
    choose(job, plan, engine)
    if small:
        run(job, engine)
        learn(job)
    else:
        state = call0(load(engine, SAVE_THREAD))
        run(job, engine)
        learn(job)
        call1(load(engine, RESTORE_THREAD), state)


def _answer(engine: int, made: int, last: int, count: int) -> int:
    """Give the output, or a tuple of two, or 0 if there is no memory for that."""
    if count - last == 1:
        return load(made, last)
    both = call1(load(engine, NEW_TUPLE), 2)
    for o in range(last, count):
        if both == 0:
            call1(load(engine, DECREF), load(made, o))
        else:
            call3(load(engine, SET_TUPLE_ITEM), both, o - last, load(made, o))
    return both


def _call(method: int, arguments: int, number: int) -> int:
    engine, first, last = load(method, METHOD_ENGINE), load(method, METHOD_FIRST), load(method, METHOD_LAST)
    count, mask = load(method, METHOD_COUNT), load(method, METHOD_MASK)
    array_type, none = load(engine, ARRAY_TYPE), load(engine, NONE)
    x = load(arguments, 0)
    casts = load(method, METHOD_CASTS)
    if number != count or type_of(x) != array_type:
        return refuse(engine)
    descriptor = load(method, METHOD_TABLE) if casts else field(x, DESCRIPTOR)
    plan = plan_of(method, descriptor)
    if plan == 0:
        return refuse(engine)

    job, numbers = stack(JOB_WORDS), stack(MAX_OPERANDS)
    store(job, PLAN, plan)
    axes, alike, flags = axes_of(x), 1, flags_of(x)
    for k in range(count):
        a = load(arguments, k)
        store(job, WIDTHS + k, load(plan, SIZE + k))
        store(job, CASTS + k, 0)
        if k >= last and a == none:
            continue
        if type_of(a) == array_type:
            if field(a, DESCRIPTOR) != (load(engine, UINT8) if k == mask else descriptor):
                if casts == 0 or k >= first or k == mask:
                    return refuse(engine)
                alike = 0
                for c in range(load(casts, 0)):
                    cast = casts + 8 * (CAST_NEXT - CAST_DESCRIPTOR) * c
                    if load(cast, CAST_DESCRIPTOR) == field(a, DESCRIPTOR):
                        store(job, WIDTHS + k, load(cast, CAST_WIDTH))
                        store(job, CASTS + k, load(cast, CAST_FUNCTION))
                if load(job, CASTS + k) == 0:
                    return refuse(engine)
            if k != mask:
                if k < last and axes_of(a) > axes:
                    axes = axes_of(a)
                if k < first or k >= last:
                    flags &= flags_of(a)
        elif first <= k < last and type_of(a) == load(engine, FLOAT_TYPE) and load(plan, FLOAT):
            _put(numbers + 8 * k, a + HEAD, load(plan, FLOAT))
        else:
            return refuse(engine)
    if axes == 0:
        return refuse(engine)

    extents = job + 8 * EXTENTS
    for d in range(axes):
        store(extents, d, 1)
    for k in range(last):
        a = load(arguments, k)
        if k == mask or type_of(a) != array_type:
            continue
        own, shape = axes_of(a), field(a, SHAPE)
        for d in range(own):
            extent, o = load(shape, d), d + axes - own
            if load(extents, o) == 1:
                store(extents, o, extent)
            elif extent != 1 and extent != load(extents, o):
                return refuse(engine)
    total, given = 1, 0
    for d in range(axes):
        total *= load(extents, d)
    for k in range(last):
        a = load(arguments, k)
        if type_of(a) == array_type and k != mask:
            if k >= first:
                alike &= axes_of(a) == 0
            elif not has_shape(a, axes, extents):
                alike = 0
    orders = C_CONTIGUOUS | F_CONTIGUOUS if mask < 0 else C_CONTIGUOUS  # the bits of a mask are in C order
    simple = alike and flags & ALIGNED != 0 and flags & orders != 0

    # Before anything is written: what was given for outputs must be just what would be made, and lie apart.
    for k in range(last):
        a = load(arguments, k)
        if k == mask:
            bits = (total + 7) // 8
            store(job, POINTERS + k, field(a, DATA))
            if axes_of(a) != 1 or load(field(a, SHAPE), 0) != bits or flags_of(a) & C_CONTIGUOUS == 0:
                return refuse(engine)
        elif type_of(a) == array_type and (k < first or axes_of(a) > 0):
            given |= 1 << k
            _strides(job, k, a, axes)
        else:
            if type_of(a) == array_type:  # a parameter of one element, which may be misaligned, or -0.0
                width = load(plan, SIZE + k)
                store(numbers, k, 0)
                copy_memory(numbers + 8 * k, field(a, DATA), width)
                if load(plan, FLOAT) and load(numbers, k) == 1 << (8 * width - 1):
                    store(numbers, k, 0)
            store(job, POINTERS + k, numbers + 8 * k)
            for d in range(axes):
                store(job, STRIDES + MAX_DIMENSIONS * k + d, 0)
    for o in range(last, count):
        a = load(arguments, o)
        if a == none:
            continue
        if flags_of(a) & WRITEABLE == 0:
            return refuse(engine)
        if o == mask:
            store(job, POINTERS + o, field(a, DATA))
            if axes_of(a) != 1 or load(field(a, SHAPE), 0) != (total + 7) // 8 or flags_of(a) & C_CONTIGUOUS == 0:
                return refuse(engine)
            continue
        if not has_shape(a, axes, extents):
            return refuse(engine)
        given |= 1 << o
        _strides(job, o, a, axes)
        for k in range(o):
            known = k != mask and (k < last or load(arguments, k) != none)
            twice = k >= last and load(job, POINTERS + k) == load(job, POINTERS + o)
            if known and (twice or not _lies_apart(job, k, o, plan, axes)):
                return refuse(engine)

    made = stack(MAX_OPERANDS)
    layout = flags & C_CONTIGUOUS == 0 or alike == 0
    if _make_outputs(job, plan, engine, arguments, made, descriptor, axes, given, total, layout) == 0:
        return 0
    if total > 0:
        store(job, DIMENSIONS, axes)
        store(job, TOTAL, total)
        _compute(job, plan, engine, simple)
    return _answer(engine, made, last, count)


def call(method: int, arguments: int, number: int) -> int:
    """Be the builtin function: give the output, or a tuple of two; NotImplemented; or 0 with an exception set."""
    saved = enter_default_floating_point()
    answer = _call(field(method, DATA), arguments, number)
    leave_default_floating_point(saved)
    return answer
