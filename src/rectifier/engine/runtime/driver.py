"""The driver: brings data of any layout to a kernel.

A job is an elementwise call over up to 64 axes. `prepare` makes it simple (fewer, longer axes, in the order of memory);
`walk` computes any part of it, a range of elements counted in the order of the axes. So a call, a ufunc's
inner loop and each of several threads do the same thing, over a larger or smaller part.

The kernel takes contiguous data. Where a run along the last axis is long and lies so, the kernel gets it as it lies;
all else goes through tiles of 2 KiB on the stack: the gathering of strided or misaligned elements. Of a mask it gets
the bits as they lie.
"""

from __future__ import annotations

from ..compiler.instructions import (
    call3,
    copy_memory,
    divide,
    fence,
    stack,
    ticks,
)
from .copying import copy
from .layout import (
    FETCH,
    FRACTION,
    HELD,
    LINE,
    MAX_DIMENSIONS,
    MAX_OPERANDS,
    PAIRED,
    PAST,
    SECOND,
    TILE,
    TILED,
    WHOLE,
    Job,
    LoopDescriptor,
)
from .structure import Words

TILES = (MAX_OPERANDS + 1) * TILE // 8  # the last for elements on their way through a cast
ENOUGH, MOST_RUNS = 100, 1 << 16  # ticks, for an error of 1 %: 25 ns on x86-64, up to 4 us on AArch64
TOGETHER = 4  # rows that are added to totals in registers; eight, of whole pages, push each other out of the cache
LONG_SPREAD = 128  # elements: shorter rows with such an input are collected, too
SPREAD = 4096  # bytes of an input that is one element for a row
LONG = 32  # elements: shorter runs are collected in a tile; 100 rows of 48 take 0.95 us as they lie, 1.2 in tiles


def _locate(job: Job, i: int, here: Words) -> None:
    """Write the coordinates of element `i`."""
    for d in range(job.dimensions - 1, 0, -1):
        extent = job.extents[d]
        quotient = divide(i, extent)
        here[d] = i - quotient * extent
        i = quotient
    here[0] = i


def _transfer(job: Job, k: int, i: int, n: int, tile: int, outward: int) -> None:
    """Copy elements i to i + n of operand k, and of the next if they are a pair, into their tiles, or out of them."""
    size = job.widths[k]
    last = job.dimensions - 1
    extent, step = job.extents[last], job.strides[k, last]
    here = stack(MAX_DIMENSIONS)
    _locate(job, i, here)
    at = job.pointers[k]
    for d in range(last + 1):
        at += here[d] * job.strides[k, d]
    run = min(extent - here[last], n)
    while True:
        copy(job, k, at, tile, run, outward)
        n -= run
        if n == 0:
            return
        tile += run * size
        at += (run - extent) * step  # back to the beginning of the row, and on to the next
        d = last - 1
        while True:
            c = here[d] + 1
            at += job.strides[k, d]
            if c < job.extents[d]:
                here[d] = c
                break
            at -= c * job.strides[k, d]
            here[d] = 0
            d -= 1
        run = min(extent, n)


def _tiles(job: Job, start: int, stop: int) -> None:
    plan = job.plan
    count, last, mask, length = plan.count, plan.last, plan.mask, plan.length
    kernel, uniform = plan.kernel, job.uniform
    space, pieces = stack(TILES), stack(MAX_OPERANDS)
    i = start
    while i < stop:
        n = min(length, stop - i)
        for k in range(count):
            at, tile = job.pointers[k], space + k * TILE
            if k == mask:
                pieces[k] = at + (i >> 3)
            elif job.modes[k] == WHOLE:
                size = 0 if plan.first <= k < last and uniform else plan.size[k]
                pieces[k] = at + i * size
            else:
                pieces[k] = tile
                cast = job.casts[k]
                if cast:
                    _transfer(job, k, i, n, space + MAX_OPERANDS * TILE, 0)
                    call3(cast, tile, space + MAX_OPERANDS * TILE, n)
                elif k < last and job.modes[k] != SECOND:
                    _transfer(job, k, i, n, tile, 0)
        call3(kernel, pieces, n, uniform)
        for k in range(last, count):
            at, tile = job.pointers[k], space + k * TILE
            if k != mask and (job.modes[k] == TILED or job.modes[k] == PAIRED):
                _transfer(job, k, i, n, tile, 1)
        i += n


def _piece(left: int, edge: int, line: int) -> int:
    """Return how many elements come next: those before the first line, whole lines, the rest."""
    if edge > 0:
        return min(left, edge)
    n = min(left, TILE - 64)
    return divide(n, line) * line if n >= line else n


def _past_with_mask(job: Job, start: int, stop: int) -> None:
    """Compute what goes past the caches, from a mask; all other operands lie whole.

    A piece begins anywhere in a byte of the mask's bits, which are shifted to begin one, a piece ahead. Stores are done
    in order, and those past the caches, which take long, would keep back what the kernel waits for.
    """
    plan = job.plan
    count, last, mask = plan.count, plan.last, plan.mask
    kernel, uniform, size = plan.kernel, job.uniform, plan.size[plan.last]
    past = PAST + (plan.engine.ahead << FETCH)
    pieces, bits, ahead = stack(MAX_OPERANDS), stack(TILE // 64), stack(TILE // 64)
    line = divide(LINE, size)
    edge = divide(-(job.pointers[last] + start * size) & (LINE - 1), size)
    i, n = start, _piece(stop - start, edge, line)
    _shift_from(job, i, n, bits)
    while i < stop:
        following = _piece(stop - i - n, edge - n, line)
        _shift_from(job, i + n, following, ahead)
        for k in range(count):
            width = 0 if plan.first <= k < last and uniform else plan.size[k]
            pieces[k] = bits if k == mask else job.pointers[k] + i * width
        call3(kernel, pieces, n, uniform + (past if edge <= 0 and n >= line else 0))
        i, edge, n = i + n, edge - n, following
        bits, ahead = ahead, bits
    fence()


def _shift_from(job: Job, i: int, n: int, target: Words) -> None:
    """Copy the bits of elements i to i + n so that they begin a word; what follows them there has no meaning."""
    words, shift = stack(TILE // 64 + 1), i & 7
    mask = job.pointers[job.plan.mask]
    copy_memory(words, mask + (i >> 3), ((i + n + 7) >> 3) - (i >> 3))
    for w in range((n + 63) // 64):
        target[w] = (words[w] >> shift) & ((1 << 63 - shift) * 2 - 1) | words[w + 1] << 1 << 63 - shift


def _run(job: Job, run: Words, n: int) -> None:
    """Compute n elements, all operands of which lie as a kernel takes them.

    Where results go past the caches, whole lines do; what lies before the first and behind the last goes through them.
    """
    plan, uniform = job.plan, job.uniform
    if job.stream == 0:
        _compute(job, run, n, uniform)
        return
    last, size, pieces = plan.last, plan.size[plan.last], stack(MAX_OPERANDS)
    line = divide(LINE, size)
    edge = min(divide(-run[last] & (LINE - 1), size), n)
    whole = divide(n - edge, line) * line
    if edge > 0:
        _compute(job, run, edge, uniform)
    if whole > 0:
        _skip(job, run, edge, pieces)
        _compute(job, pieces, whole, uniform + PAST + job.held + (plan.engine.ahead << FETCH))
    if n > edge + whole:
        _skip(job, run, edge + whole, pieces)
        _compute(job, pieces, n - edge - whole, uniform)


def _compute(job: Job, run: Words, n: int, how: int) -> None:
    """Call the kernel. An input that is one element for all is spread out for it, and the others are cut as long."""
    plan, spread, space, pieces = job.plan, job.spread, stack(SPREAD // 8), stack(MAX_OPERANDS)
    if spread < 0:
        call3(plan.kernel, run, n, how)
        return
    size = plan.size[spread]
    length, done = min(n, divide(SPREAD, size)), 1
    copy_memory(space, run[spread], size)
    while done < length:
        more = min(done, length - done)
        copy_memory(space + done * size, space, more * size)
        done += more
    for k in range(plan.count):
        pieces[k] = run[k]
    pieces[spread] = space
    i = 0
    while i < n:
        some = min(n - i, length)
        call3(plan.kernel, pieces, some, how)
        _skip(job, pieces, some, pieces)
        i += some


def _skip(job: Job, run: Words, n: int, pieces: Words) -> None:
    """Write where the elements after the first n of a run lie."""
    plan, uniform = job.plan, job.uniform
    first, last = plan.first, plan.last
    for k in range(plan.count):
        stays = k == job.spread or (first <= k < last and uniform)
        pieces[k] = run[k] + (0 if stays else n * plan.size[k])


def _rows(job: Job, start: int, stop: int) -> None:
    count = job.plan.count
    here, row, steps, part = stack(MAX_DIMENSIONS), stack(MAX_OPERANDS), stack(MAX_OPERANDS), stack(MAX_OPERANDS)
    last = job.dimensions - 1
    extent = job.extents[last]
    _locate(job, start, here)
    for k in range(count):
        at = job.pointers[k]
        for d in range(last):
            at += here[d] * job.strides[k, d]
        row[k] = at
        part[k] = at + here[last] * job.strides[k, last]
        steps[k] = job.strides[k, last - 1] if last > 0 else 0
    run = min(extent - here[last], stop - start)
    _run(job, part, run)
    i, left = start + run, job.extents[last - 1] - here[last - 1] if last > 0 else 0
    while i < stop:
        left -= 1
        for k in range(count):
            row[k] = row[k] + steps[k]
        if left == 0:
            left = _turn(job, row, here, last - 1, count)
        run = min(extent, stop - i)
        _run(job, row, run)
        i += run
    if job.stream:
        fence()


def _blocks(job: Job, start: int, stop: int) -> None:
    """Compute the blocks of rows that begin among these elements, some rows at a time (`sums`).

    Where results go past the caches, whole lines do, which begin at the same column in each row.
    """
    plan = job.plan
    block, columns, size = job.block, job.extents[0], plan.size[plan.last]
    line, edge, whole = divide(LINE, size), 0, columns
    if job.stream:
        edge = min(divide(-job.pointers[plan.last] & (LINE - 1), size), columns)
        whole = divide(columns - edge, line) * line
    n = divide(start + block - 1, block)
    while n * block < stop:
        row, behind = divide(n * block, columns), divide(min((n + 1) * block, job.total), columns)
        while row < behind:
            rows = min(behind - row, TOGETHER)
            _add_rows(job, n, row, rows, 0, edge, 0)
            _add_rows(job, n, row, rows, edge, whole, job.stream)
            _add_rows(job, n, row, rows, edge + whole, columns - edge - whole, 0)
            row += rows
        n += 1
    if job.stream:
        fence()


def _add_rows(job: Job, block: int, row: int, rows: int, column: int, columns: int, stream: int) -> None:
    plan, pieces = job.plan, stack(2 * MAX_OPERANDS + 1)
    count, first, last = plan.count, plan.first, plan.last
    if columns == 0:
        return
    for k in range(count):
        step, size = job.strides[k, 0], 0 if first <= k < last else plan.size[k]
        pieces[k] = job.pointers[k] + block * job.strides[k, 1] + row * step + column * size
        pieces[count + k] = step
    pieces[2 * count] = rows
    call3(plan.kernel, pieces, columns, 1 + (PAST if stream else 0) + (plan.engine.ahead << FETCH))


def _turn(job: Job, row: Words, here: Words, d: int, count: int) -> int:
    """Go from behind the end of axis d to its beginning, one step on along those before; give its length."""
    length = job.extents[d]
    while True:
        for k in range(count):
            back = job.extents[d] * job.strides[k, d]
            row[k] = row[k] - back + job.strides[k, d - 1]
        d -= 1
        here[d] = here[d] + 1
        if d == 0 or here[d] < job.extents[d]:
            return length
        here[d] = 0


def _multiply(job: Job, n: int) -> None:
    """Multiply 4 n numbers: what a processor does beside another just if no other has to wait for it.

    Two hyperthreads of one core share its multiplier, which four chains that do not wait for each other keep busy.
    """
    a, b, c, d = 1, 3, 5, 7
    for _ in range(n):
        a = (a ^ (a >> 29)) * 0x5851F42D4C957F2D
        b = (b ^ (b >> 29)) * 0x5851F42D4C957F2D
        c = (c ^ (c >> 29)) * 0x5851F42D4C957F2D
        d = (d ^ (d >> 29)) * 0x5851F42D4C957F2D
    job.step = a ^ b ^ c ^ d  # else LLVM leaves all this out


def walk(job: Job, start: int, stop: int) -> None:
    """Compute elements `start` to `stop` of a job; if it has a mask, `start` is a multiple of 64."""
    plan = job.plan
    if plan == 0:
        _multiply(job, stop - start)
    elif job.block:
        _blocks(job, start, stop)
    elif job.rows:
        _rows(job, start, stop)
    elif job.stream:
        _past_with_mask(job, start, stop)
    else:
        _tiles(job, start, stop)


def _swap_axes(job: Job, a: int, b: int, count: int) -> None:
    extent = job.extents[a]
    job.extents[a] = job.extents[b]
    job.extents[b] = extent
    for k in range(count):
        stride = job.strides[k, a]
        job.strides[k, a] = job.strides[k, b]
        job.strides[k, b] = stride


def _in_order_of_memory(job: Job, a: int, count: int) -> int:
    """Return whether axis a takes longer strides than the next: by the outputs, then by the inputs."""
    for k in range(count - 1, -1, -1):
        outer, inner = abs(job.strides[k, a]), abs(job.strides[k, a + 1])
        if outer != inner and outer != 0 and inner != 0:
            return outer > inner
    return True


def _simplify(job: Job, plan: LoopDescriptor) -> None:
    """Leave out axes of one element, sort the others, walk them upwards, and join those that are one in memory."""
    count, mask = plan.count, plan.mask
    dimensions = 0
    for d in range(job.dimensions):
        if job.extents[d] != 1:
            _swap_axes(job, dimensions, d, count)
            dimensions += 1
    if mask < 0:  # the bits of a mask are in C order, and so are then the elements
        for a in range(1, dimensions):
            b = a
            while b > 0 and not _in_order_of_memory(job, b - 1, count):
                _swap_axes(job, b - 1, b, count)
                b -= 1
        for d in range(dimensions):
            if job.strides[count - 1, d] < 0:
                for k in range(count):
                    stride = job.strides[k, d]
                    job.pointers[k] = job.pointers[k] + (job.extents[d] - 1) * stride
                    job.strides[k, d] = -stride
    joined = 0
    for d in range(1, dimensions):
        extent, join = job.extents[d], True
        for k in range(count):
            join &= k == mask or job.strides[k, joined] == job.strides[k, d] * extent
        if join:
            job.extents[joined] = job.extents[joined] * extent
            for k in range(count):
                job.strides[k, joined] = job.strides[k, d]
        else:
            joined += 1
            _swap_axes(job, joined, d, count)
    job.dimensions = joined + 1
    if dimensions == 0:
        job.extents[0] = 1


def prepare(job: Job) -> None:
    """Simplify a job that says what is where, and choose the way of each operand.

    Its plan, dimensions, pointers, extents and strides are set.
    """
    plan = job.plan
    count, first, last, mask = plan.count, plan.first, plan.last, plan.mask
    if job.dimensions > 1:
        _simplify(job, plan)
    dimensions = job.dimensions
    inner = dimensions - 1
    total = 1
    for d in range(dimensions):
        total *= job.extents[d]
    job.total = total
    spread = -1
    constant, constant_in_row, along_row, lies, held = True, True, True, mask < 0, first > 1 and inner > 0
    for k in range(count):
        size = plan.size[k]
        if k == mask:
            continue
        step = job.strides[k, inner]
        aligned = job.pointers[k] & (size - 1) == 0 and job.casts[k] == 0
        whole, zero, zero_outside = step == size, step == 0, True
        for d in range(inner):
            stride = job.strides[k, d]
            aligned &= stride & (size - 1) == 0
            whole &= stride == job.strides[k, d + 1] * job.extents[d + 1]
            zero &= stride == 0
            zero_outside &= stride == 0
        if first <= k < last:
            constant &= zero & aligned
            constant_in_row &= (step == 0) & aligned
            along_row &= (step == size) & aligned
        else:
            one = (k < first) & (step == 0) & aligned & (spread < 0)
            spread = k if one else spread
            lies &= one | ((step == size) & aligned)
            held &= zero_outside | (k != first - 1)
        job.modes[k] = WHOLE if whole and aligned else TILED
    least = LONG if spread < 0 else LONG_SPREAD
    rows = lies and (constant_in_row or along_row) and (inner == 0 or job.extents[inner] >= least)
    job.rows = rows
    job.stream = 0
    job.block = 0
    job.spread = spread if rows else -1
    job.held = HELD if held or (rows and spread == first - 1) else 0
    job.constant = constant
    job.uniform = constant_in_row if rows else constant
    if constant:
        for k in range(first, last):
            job.modes[k] = WHOLE
    if not rows:
        for k in range(count - 1):
            apart = k != mask and k + 1 != mask and k + 1 != last
            if apart and job.modes[k] == TILED and _are_interleaved(job, k):
                job.modes[k] = PAIRED
                job.modes[k + 1] = SECOND


def _are_interleaved(job: Job, k: int) -> int:
    """Return whether the elements of operand k and of the next alternate along the last axis, and fill it."""
    size, inner = job.widths[k], job.dimensions - 1
    alike = job.modes[k + 1] == TILED and job.widths[k + 1] == size and size > 1
    alike &= job.casts[k] == 0 and job.casts[k + 1] == 0
    alike &= job.strides[k, inner] == 2 * size and abs(job.pointers[k + 1] - job.pointers[k]) == size
    for d in range(inner + 1):
        alike &= job.strides[k, d] == job.strides[k + 1, d]
    return alike


def measure(plan: LoopDescriptor) -> int:
    """Measure what an element takes that lies in the first-level cache, as COST has it: the least of several times.

    Each of them is long enough for the clock to tell, or else as many runs as a clock is waited for.
    """
    space, pieces = stack(TILES), stack(MAX_OPERANDS)
    for w in range(TILES):
        space[w] = 0
    for k in range(plan.count):
        pieces[k] = space + k * TILE
    length, runs, least = plan.length, 8, 0
    while True:
        least = 1 << 40
        for _ in range(8):
            began = ticks()
            for _ in range(runs):
                call3(plan.kernel, pieces, length, 1)
            least = min(least, ticks() - began)
        if least >= ENOUGH or runs >= MOST_RUNS:
            return max(1, divide(least << FRACTION, runs * length))
        runs *= 2
