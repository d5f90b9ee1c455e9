"""The driver: brings data of any layout to a kernel.

A job is an elementwise call over up to 64 axes. `prepare` makes it simple (fewer, longer axes, in the order of memory);
`walk` computes any part of it, a range of elements counted in the order of the axes. So a call, a ufunc's
inner loop and each of several threads do the same thing, over a larger or smaller part.

The kernel takes contiguous data. Where a run along the last axis is long and lies so, the kernel gets it as it lies;
all else goes through tiles of 2 KiB on the stack: the gathering of strided or misaligned elements, and masks (a byte
an element inside a kernel, a bit outside).
"""

from __future__ import annotations

from ..compiler.instructions import *
from .layout import *

TILES = (MAX_OPERANDS + 1) * TILE // 8  # the last for elements on their way through a cast
ENOUGH, MOST_RUNS = 100, 1 << 16  # ticks, for an error of 1 %: 25 ns on x86-64, up to 4 us on AArch64
LONG = 32  # elements: shorter runs are collected in a tile; 100 rows of 48 take 0.95 us as they lie, 1.2 in tiles


def _copy_run(target: int, target_step: int, source: int, source_step: int, n: int, size: int) -> None:
    if target_step == size and source_step == size:
        copy_memory(target, source, n * size)
    elif size == 4:
        for i in range(n):
            copy32(target + i * target_step, source + i * source_step)
    elif size == 8:
        for i in range(n):
            copy64(target + i * target_step, source + i * source_step)
    elif size == 2:
        for i in range(n):
            copy16(target + i * target_step, source + i * source_step)
    else:
        for i in range(n):
            copy8(target + i * target_step, source + i * source_step)


def _locate(job: int, i: int, here: int) -> None:
    """Write the coordinates of element `i`."""
    for d in range(load(job, DIMENSIONS) - 1, 0, -1):
        extent = load(job, EXTENTS + d)
        quotient = divide(i, extent)
        store(here, d, i - quotient * extent)
        i = quotient
    store(here, 0, i)


def _transfer(job: int, k: int, i: int, n: int, tile: int, outward: int) -> None:
    """Copy elements i to i + n of operand k into its tile, or out of it."""
    size, strides = load(job, WIDTHS + k), STRIDES + MAX_DIMENSIONS * k
    last = load(job, DIMENSIONS) - 1
    extent, step = load(job, EXTENTS + last), load(job, strides + last)
    here = stack(MAX_DIMENSIONS)
    _locate(job, i, here)
    at = load(job, POINTERS + k)
    for d in range(last + 1):
        at += load(here, d) * load(job, strides + d)
    run = min(extent - load(here, last), n)
    while True:
        if outward:
            _copy_run(at, step, tile, size, run, size)
        else:
            _copy_run(tile, size, at, step, run, size)
        n -= run
        if n == 0:
            return
        tile += run * size
        at += (run - extent) * step  # back to the beginning of the row, and on to the next
        d = last - 1
        while True:
            c = load(here, d) + 1
            at += load(job, strides + d)
            if c < load(job, EXTENTS + d):
                store(here, d, c)
                break
            at -= c * load(job, strides + d)
            store(here, d, 0)
            d -= 1
        run = min(extent, n)


def _pack(mask: int, tile: int, n: int) -> None:
    word = stack(1)
    store(word, 0, 0)
    for i in range(n, (n + 63) // 64 * 64):
        copy8(tile + i, word)  # the bits after the last are 0, so that equal masks have equal bytes
    whole = n // 64
    for i in range(whole):
        pack64(mask + 8 * i, tile + 64 * i)
    if n % 64:
        pack64(word, tile + 64 * whole)
        _copy_run(mask + 8 * whole, 1, word, 1, (n % 64 + 7) // 8, 1)


def _unpack(tile: int, mask: int, n: int) -> None:
    whole = n // 64
    for i in range(whole):
        unpack64(tile + 64 * i, mask + 8 * i)
    if n % 64:
        word = stack(1)
        _copy_run(word, 1, mask + 8 * whole, 1, (n % 64 + 7) // 8, 1)
        unpack64(tile + 64 * whole, word)


def _tiles(job: int, start: int, stop: int) -> None:
    plan = load(job, PLAN)
    count, last, mask, length = load(plan, COUNT), load(plan, LAST), load(plan, MASK), load(plan, LENGTH)
    kernel, uniform = load(plan, KERNEL), load(job, UNIFORM)
    space, pieces = stack(TILES), stack(MAX_OPERANDS)
    i = start
    while i < stop:
        n = min(length, stop - i)
        for k in range(count):
            at, tile = load(job, POINTERS + k), space + k * TILE
            if k == mask:
                store(pieces, k, tile)
                if k < last:
                    _unpack(tile, at + (i >> 3), n)
            elif load(job, MODES + k) == WHOLE:
                size = 0 if load(plan, FIRST) <= k < last and uniform else load(plan, SIZE + k)
                store(pieces, k, at + i * size)
            else:
                store(pieces, k, tile)
                cast = load(job, CASTS + k)
                if cast:
                    _transfer(job, k, i, n, space + MAX_OPERANDS * TILE, 0)
                    call3(cast, tile, space + MAX_OPERANDS * TILE, n)
                elif k < last:
                    _transfer(job, k, i, n, tile, 0)
        call3(kernel, pieces, n, uniform)
        for k in range(last, count):
            at, tile = load(job, POINTERS + k), space + k * TILE
            if k == mask:
                _pack(at + (i >> 3), tile, n)
            elif load(job, MODES + k) == TILED:
                _transfer(job, k, i, n, tile, 1)
        i += n


def _piece(left: int, edge: int, line: int, length: int) -> int:
    """Say how many elements come next: those before the first line, whole lines, the rest."""
    if edge > 0:
        return min(left, edge)
    n = min(left, length)
    return divide(n, line) * line if n >= line else n


def _past(job: int, start: int, stop: int) -> None:
    """Compute what goes past the caches; all operands lie whole, but for a mask that is read.

    Its bits are unpacked one piece ahead. Stores are done in order, and those past the caches, which take long, would
    keep back what the kernel waits for: 25 million elements took 7.9 ms so, 3.9 ahead.
    """
    plan = load(job, PLAN)
    count, last, mask = load(plan, COUNT), load(plan, LAST), load(plan, MASK)
    kernel, uniform, size = load(plan, KERNEL), load(job, UNIFORM), load(plan, SIZE + load(plan, LAST))
    past = PAST + (load(load(plan, ENGINE), AHEAD) << FETCH)
    pieces, bits, ahead = stack(MAX_OPERANDS), stack(TILE // 8), stack(TILE // 8)
    line, length = divide(LINE, size), stop - start if mask < 0 else TILE - 64
    edge = divide(-(load(job, POINTERS + last) + start * size) & (LINE - 1), size)
    i, n = start, _piece(stop - start, edge, line, length)
    if mask >= 0:
        _unpack_from(job, i, n, bits)
    while i < stop:
        following = _piece(stop - i - n, edge - n, line, length)
        if mask >= 0:
            _unpack_from(job, i + n, following, ahead)
        for k in range(count):
            width = 0 if load(plan, FIRST) <= k < last and uniform else load(plan, SIZE + k)
            store(pieces, k, bits + (i & 63) if k == mask else load(job, POINTERS + k) + i * width)
        call3(kernel, pieces, n, uniform + (past if edge <= 0 and n >= line else 0))
        i, edge, n = i + n, edge - n, following
        bits, ahead = ahead, bits
    fence()


def _unpack_from(job: int, i: int, n: int, tile: int) -> None:
    """Unpack the bits of elements i to i + n, and those before i in its word."""
    before = i & 63
    _unpack(tile, load(job, POINTERS + load(load(job, PLAN), MASK)) + ((i - before) >> 3), n + before)


def _rows(job: int, start: int, stop: int) -> None:
    plan = load(job, PLAN)
    count, kernel, uniform = load(plan, COUNT), load(plan, KERNEL), load(job, UNIFORM)
    here, row, steps, part = stack(MAX_DIMENSIONS), stack(MAX_OPERANDS), stack(MAX_OPERANDS), stack(MAX_OPERANDS)
    last = load(job, DIMENSIONS) - 1
    extent = load(job, EXTENTS + last)
    _locate(job, start, here)
    for k in range(count):
        strides = STRIDES + MAX_DIMENSIONS * k
        at = load(job, POINTERS + k)
        for d in range(last):
            at += load(here, d) * load(job, strides + d)
        store(row, k, at)
        store(part, k, at + load(here, last) * load(job, strides + last))
        store(steps, k, load(job, strides + last - 1) if last > 0 else 0)
    run = min(extent - load(here, last), stop - start)
    call3(kernel, part, run, uniform)
    i, left = start + run, load(job, EXTENTS + last - 1) - load(here, last - 1) if last > 0 else 0
    while i < stop:
        left -= 1
        for k in range(count):
            store(row, k, load(row, k) + load(steps, k))
        if left == 0:
            left = _turn(job, row, here, last - 1, count)
        run = min(extent, stop - i)
        call3(kernel, row, run, uniform)
        i += run


def _turn(job: int, row: int, here: int, d: int, count: int) -> int:
    """Go from behind the end of axis d to its beginning, one step on along those before; give its length."""
    length = load(job, EXTENTS + d)
    while True:
        for k in range(count):
            strides = STRIDES + MAX_DIMENSIONS * k
            back = load(job, EXTENTS + d) * load(job, strides + d)
            store(row, k, load(row, k) - back + load(job, strides + d - 1))
        d -= 1
        store(here, d, load(here, d) + 1)
        if d == 0 or load(here, d) < load(job, EXTENTS + d):
            return length
        store(here, d, 0)


def _multiply(job: int, n: int) -> None:
    """Multiply 4 n numbers: what a processor does beside another just if no other has to wait for it.

    Two hyperthreads of one core share its multiplier, which four chains that do not wait for each other keep busy.
    """
    a, b, c, d = 1, 3, 5, 7
    for _ in range(n):
        a = (a ^ (a >> 29)) * 0x5851F42D4C957F2D
        b = (b ^ (b >> 29)) * 0x5851F42D4C957F2D
        c = (c ^ (c >> 29)) * 0x5851F42D4C957F2D
        d = (d ^ (d >> 29)) * 0x5851F42D4C957F2D
    store(job, STEP, a ^ b ^ c ^ d)  # else LLVM leaves all this out


def walk(job: int, start: int, stop: int) -> None:
    """Compute elements `start` to `stop` of a job; if it has a mask, `start` is a multiple of 64."""
    plan = load(job, PLAN)
    if plan == 0:
        _multiply(job, stop - start)
    elif load(job, STREAM):
        _past(job, start, stop)
    elif load(job, ROWS):
        _rows(job, start, stop)
    else:
        _tiles(job, start, stop)


def _swap_axes(job: int, a: int, b: int, count: int) -> None:
    extent = load(job, EXTENTS + a)
    store(job, EXTENTS + a, load(job, EXTENTS + b))
    store(job, EXTENTS + b, extent)
    for k in range(count):
        strides = STRIDES + MAX_DIMENSIONS * k
        stride = load(job, strides + a)
        store(job, strides + a, load(job, strides + b))
        store(job, strides + b, stride)


def _in_order_of_memory(job: int, a: int, count: int) -> int:
    """Say whether axis a takes longer strides than the next: by the outputs, then by the inputs."""
    for k in range(count - 1, -1, -1):
        strides = STRIDES + MAX_DIMENSIONS * k
        outer, inner = abs(load(job, strides + a)), abs(load(job, strides + a + 1))
        if outer != inner and outer != 0 and inner != 0:
            return outer > inner
    return True


def _simplify(job: int, plan: int) -> None:
    """Leave out axes of one element, sort the others, walk them upwards, and join those that are one in memory."""
    count, mask = load(plan, COUNT), load(plan, MASK)
    dimensions = 0
    for d in range(load(job, DIMENSIONS)):
        if load(job, EXTENTS + d) != 1:
            _swap_axes(job, dimensions, d, count)
            dimensions += 1
    if mask < 0:  # the bits of a mask are in C order, and so are then the elements
        for a in range(1, dimensions):
            b = a
            while b > 0 and not _in_order_of_memory(job, b - 1, count):
                _swap_axes(job, b - 1, b, count)
                b -= 1
        for d in range(dimensions):
            if load(job, STRIDES + MAX_DIMENSIONS * (count - 1) + d) < 0:
                for k in range(count):
                    strides = STRIDES + MAX_DIMENSIONS * k
                    stride = load(job, strides + d)
                    store(job, POINTERS + k, load(job, POINTERS + k) + (load(job, EXTENTS + d) - 1) * stride)
                    store(job, strides + d, -stride)
    joined = 0
    for d in range(1, dimensions):
        extent, join = load(job, EXTENTS + d), True
        for k in range(count):
            strides = STRIDES + MAX_DIMENSIONS * k
            join &= k == mask or load(job, strides + joined) == load(job, strides + d) * extent
        if join:
            store(job, EXTENTS + joined, load(job, EXTENTS + joined) * extent)
            for k in range(count):
                strides = STRIDES + MAX_DIMENSIONS * k
                store(job, strides + joined, load(job, strides + d))
        else:
            joined += 1
            _swap_axes(job, joined, d, count)
    store(job, DIMENSIONS, joined + 1)
    if dimensions == 0:
        store(job, EXTENTS, 1)


def prepare(job: int) -> None:
    """Simplify a job that says what is where, and choose the way of each operand.

    PLAN, DIMENSIONS, POINTERS, EXTENTS and STRIDES are set.
    """
    plan = load(job, PLAN)
    count, first, last, mask = load(plan, COUNT), load(plan, FIRST), load(plan, LAST), load(plan, MASK)
    if load(job, DIMENSIONS) > 1:
        _simplify(job, plan)
    dimensions = load(job, DIMENSIONS)
    inner = dimensions - 1
    total = 1
    for d in range(dimensions):
        total *= load(job, EXTENTS + d)
    store(job, TOTAL, total)
    constant, constant_in_row, along_row, lies = True, True, True, mask < 0
    for k in range(count):
        strides, size = STRIDES + MAX_DIMENSIONS * k, load(plan, SIZE + k)
        if k == mask:
            continue
        step = load(job, strides + inner)
        aligned = load(job, POINTERS + k) & (size - 1) == 0 and load(job, CASTS + k) == 0
        whole, zero = step == size, step == 0
        for d in range(inner):
            stride = load(job, strides + d)
            aligned &= stride & (size - 1) == 0
            whole &= stride == load(job, strides + d + 1) * load(job, EXTENTS + d + 1)
            zero &= stride == 0
        if first <= k < last:
            constant &= zero & aligned
            constant_in_row &= (step == 0) & aligned
            along_row &= (step == size) & aligned
        else:
            lies &= (step == size) & aligned
        store(job, MODES + k, WHOLE if whole and aligned else TILED)
    rows = lies and (constant_in_row or along_row) and (inner == 0 or load(job, EXTENTS + inner) >= LONG)
    store(job, ROWS, rows)
    store(job, STREAM, 0)
    store(job, CONSTANT, constant)
    store(job, UNIFORM, constant_in_row if rows else constant)
    if constant:
        for k in range(first, last):
            store(job, MODES + k, WHOLE)


def measure(plan: int) -> int:
    """Measure what an element takes that lies in the first-level cache, as COST has it: the least of several times.

    Each of them is long enough for the clock to tell, or else as many runs as a clock is waited for.
    """
    space, pieces = stack(TILES), stack(MAX_OPERANDS)
    for w in range(TILES):
        store(space, w, 0)
    for k in range(load(plan, COUNT)):
        store(pieces, k, space + k * TILE)
    length, runs, least = load(plan, LENGTH), 8, 0
    while True:
        least = 1 << 40
        for _ in range(8):
            began = ticks()
            for _ in range(runs):
                call3(load(plan, KERNEL), pieces, length, 1)
            least = min(least, ticks() - began)
        if least >= ENOUGH or runs >= MOST_RUNS:
            return max(1, divide(least << FRACTION, runs * length))
        runs *= 2
