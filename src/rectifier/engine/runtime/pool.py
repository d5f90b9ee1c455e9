"""The allocation handler, for translation to machine code; `memory` has its words and says what a block looks like.

Large memory comes from `mmap`, begins on a huge page, and is held when it is freed: what fresh memory costs is mostly
the faults that bring its pages, and with the C library's memory nearly each call pays for those. A block is in one
place at a time: with its array, or in the table of held blocks, where only the owner of the lock puts it in or takes it
out. What takes long, above all `munmap`, is done outside the lock, to blocks that are in neither place.

The lock is a word to spin on. It is held for some 50 ns, never over a call. A forked child finds its page zeroed, so
unlocked and empty; the blocks of arrays describe themselves.
"""

from __future__ import annotations

# isort: off
from .pool_layout import (
    ALIVE,
    BASE,
    BASES,
    BOUND,
    CALLOC,
    CLOCK,
    FLAGS,
    FREE,
    HEADER,
    HELD_BLOCKS,
    HELD_BYTES,
    HITS,
    HUGE_ADVICE,
    HUGE_FROM,
    HUGE_PAGE,
    KIND,
    LARGEST,
    LARGEST_SLACK,
    LENGTH,
    LENGTHS,
    LIVE_BLOCKS,
    LIVE_BYTES,
    LOCK,
    MADVISE,
    MAGIC,
    MALLOC,
    MAPPED,
    MEMCPY,
    MEMSET,
    MINIMUM,
    MISSES,
    MMAP,
    MUNMAP,
    PAGE,
    PEAK_BYTES,
    PLAIN,
    POOL,
    PROTECTION,
    SCHED_YIELD,
    SLACK,
    SLOTS,
    STAMPS,
    USED,
)  # fmt: skip

# isort: on
from ..compiler.instructions import (
    atomic_store,
    call0,
    call1,
    call2,
    call3,
    call6,
    compare_and_swap,
    load,
    pause,
    store,
)

SPINS = 128  # about as long as the lock is ever held; then its owner lacks a processor, which yielding may give it


def _acquire(settings: int) -> None:
    lock = load(settings, POOL) + 8 * LOCK
    spins = 0
    while compare_and_swap(lock, 0, 1) == 0:
        spins += 1
        if spins < SPINS:
            pause()
        else:
            call0(load(settings, SCHED_YIELD))


def _release(settings: int) -> None:
    atomic_store(load(settings, POOL) + 8 * LOCK, 0)


def _count(settings: int, length: int, blocks: int) -> None:
    """Note memory that goes out to an array, or with negative numbers comes back; needs the lock."""
    pool = load(settings, POOL)
    live = load(settings, LIVE_BYTES) + length
    store(settings, LIVE_BYTES, live)
    store(settings, LIVE_BLOCKS, load(settings, LIVE_BLOCKS) + blocks)
    store(pool, PEAK_BYTES, max(load(pool, PEAK_BYTES), live + load(pool, HELD_BYTES)))


def _count_alone(settings: int, length: int, blocks: int) -> None:
    _acquire(settings)
    _count(settings, length, blocks)
    _release(settings)


def _take_out(pool: int, k: int) -> int:
    """Remove block k of those held; needs the lock."""
    last = load(pool, HELD_BLOCKS) - 1
    store(pool, HELD_BLOCKS, last)
    store(pool, HELD_BYTES, load(pool, HELD_BYTES) - load(pool, LENGTHS + k))
    base = load(pool, BASES + k)
    store(pool, BASES + k, load(pool, BASES + last))
    store(pool, LENGTHS + k, load(pool, LENGTHS + last))
    store(pool, STAMPS + k, load(pool, STAMPS + last))
    return base


def _oldest(pool: int) -> int:
    oldest = 0
    for k in range(1, load(pool, HELD_BLOCKS)):
        if load(pool, STAMPS + k) < load(pool, STAMPS + oldest):
            oldest = k
    return oldest


def _unmap(settings: int, base: int, length: int) -> None:
    call2(load(settings, MUNMAP), base, length)


def _trim(settings: int, limit: int) -> int:
    pool = load(settings, POOL)
    given = 0
    while True:
        _acquire(settings)
        if load(pool, HELD_BYTES) <= limit:
            _release(settings)
            return given
        k = _oldest(pool)
        length = load(pool, LENGTHS + k)
        base = _take_out(pool, k)
        _release(settings)
        _unmap(settings, base, length)
        given += length


def _reuse(settings: int, length: int) -> int:
    """Take the held block that fits best, of equal ones the one freed last, which caches may hold; 0 if none fits."""
    pool = load(settings, POOL)
    best_length, best_stamp, best = length + min((length >> 2) + SLACK, LARGEST_SLACK) + 1, 0, -1
    _acquire(settings)
    for k in range(load(pool, HELD_BLOCKS)):
        candidate, stamp = load(pool, LENGTHS + k), load(pool, STAMPS + k)
        if candidate >= length and (candidate < best_length or (candidate == best_length and stamp > best_stamp)):
            best_length, best_stamp, best = candidate, stamp, k
    base = 0
    if best < 0:
        store(pool, MISSES, load(pool, MISSES) + 1)
    else:
        base = _take_out(pool, best)
        store(pool, HITS, load(pool, HITS) + 1)
        _count(settings, best_length, 1)
    _release(settings)
    return base


def _keep(settings: int, base: int, length: int) -> None:
    """Hold a block that an array has left, making room by giving the oldest back; or give it back itself."""
    pool = load(settings, POOL)
    _acquire(settings)
    _count(settings, -length, -1)
    while True:
        bound, held, blocks = load(settings, BOUND), load(pool, HELD_BYTES), load(pool, HELD_BLOCKS)
        if length > bound:
            _release(settings)
            _unmap(settings, base, length)
            return
        if held + length <= bound and blocks < SLOTS:
            store(pool, BASES + blocks, base)
            store(pool, LENGTHS + blocks, length)
            store(pool, STAMPS + blocks, load(pool, CLOCK))
            store(pool, CLOCK, load(pool, CLOCK) + 1)
            store(pool, HELD_BLOCKS, blocks + 1)
            store(pool, HELD_BYTES, held + length)
            _release(settings)
            return
        k = _oldest(pool)
        evicted = load(pool, LENGTHS + k)
        victim = _take_out(pool, k)
        _release(settings)
        _unmap(settings, victim, evicted)
        _acquire(settings)


def _anonymous(settings: int, length: int) -> int:
    base = call6(load(settings, MMAP), 0, length, load(settings, PROTECTION), load(settings, FLAGS), -1, 0)
    return 0 if base == -1 else base


def _map(settings: int, length: int) -> int:
    """Get fresh memory, whose whole huge pages become such when they are first written; 0 if there is none."""
    if length < load(settings, HUGE_FROM):
        return _anonymous(settings, length)
    start = _anonymous(settings, length + HUGE_PAGE)
    if start == 0:
        return _anonymous(settings, length)
    base = (start + HUGE_PAGE - 1) & -HUGE_PAGE
    if base > start:
        _unmap(settings, start, base - start)
    _unmap(settings, base + length, start + HUGE_PAGE - base)
    call3(load(settings, MADVISE), base, length, load(settings, HUGE_ADVICE))
    return base


def _describe(header: int, kind: int, base: int, length: int, size: int) -> int:
    store(header, MAGIC, ALIVE)
    store(header, KIND, kind)
    store(header, BASE, base)
    store(header, LENGTH, length)
    store(header, USED, size)
    return header + HEADER


def _plain(settings: int, size: int, zeroed: bool) -> int:
    """Allocate as the C library does, when all else fails after emptying the pool."""
    length = size + 2 * HEADER
    base = 0
    for attempt in range(2):
        base = call2(load(settings, CALLOC), length, 1) if zeroed else call1(load(settings, MALLOC), length)
        if base != 0 or attempt == 1 or _trim(settings, 0) == 0:
            break
    if base == 0:
        return 0
    _count_alone(settings, length, 1)
    return _describe((base + HEADER - 1) & -HEADER, PLAIN, base, length, size)


def _allocate(settings: int, size: int, zeroed: bool) -> int:
    if size < 0 or size > LARGEST:
        return 0
    if size < load(settings, MINIMUM) or load(settings, BOUND) == 0:
        return _plain(settings, size, zeroed)
    page = load(settings, PAGE)
    length = (size + HEADER + page - 1) & -page
    base = _reuse(settings, length)
    if base != 0:
        if zeroed:
            call3(load(settings, MEMSET), base + HEADER, 0, size)
        return _describe(base, MAPPED, base, load(base, LENGTH), size)
    base = _map(settings, length)
    if base == 0 and _trim(settings, 0) > 0:
        base = _map(settings, length)
    if base == 0:
        return _plain(settings, size, zeroed)
    _count_alone(settings, length, 1)
    return _describe(base, MAPPED, base, length, size)


def _free(settings: int, pointer: int) -> None:
    header = pointer - HEADER
    if load(header, MAGIC) != ALIVE:
        return  # not ours, or freed before: a leak does less harm than a page in two hands
    store(header, MAGIC, 0)
    base, length = load(header, BASE), load(header, LENGTH)
    if load(header, KIND) == MAPPED:
        _keep(settings, base, length)
    else:
        _count_alone(settings, -length, -1)
        call1(load(settings, FREE), base)


def malloc(settings: int, size: int) -> int:
    """Allocate."""
    return _allocate(settings, size, False)


def calloc(settings: int, count: int, size: int) -> int:
    """Allocate zeros."""
    if count < 0 or size < 0 or (count > 0 and size > LARGEST // count):
        return 0
    return _allocate(settings, count * size, True)


def realloc(settings: int, pointer: int, size: int) -> int:
    """Make a block longer or shorter, in place where that wastes no more than a reused block would."""
    if pointer == 0:
        return _allocate(settings, size, False)
    if size < 0 or size > LARGEST:
        return 0
    header = pointer - HEADER
    if load(header, MAGIC) != ALIVE:
        return 0
    if load(header, KIND) == MAPPED and size >= load(settings, MINIMUM):
        page, length = load(settings, PAGE), load(header, LENGTH)
        needed = (size + HEADER + page - 1) & -page
        if needed <= length:
            if length > needed + min((needed >> 2) + SLACK, LARGEST_SLACK):
                store(header, LENGTH, needed)
                _unmap(settings, header + needed, length - needed)
                _count_alone(settings, needed - length, 0)
            store(header, USED, size)
            return pointer
    to = _allocate(settings, size, False)
    if to != 0:
        call3(load(settings, MEMCPY), to, pointer, min(size, load(header, USED)))
        _free(settings, pointer)
    return to


def free(settings: int, pointer: int, size: int) -> None:
    """Take a block back; its header knows the size, and NumPy is not trusted to."""
    if pointer != 0:
        _free(settings, pointer)


def trim(settings: int, limit: int) -> int:
    """Give blocks back to the system until at most `limit` bytes are held."""
    return _trim(settings, limit)


def snapshot(settings: int, target: int) -> None:
    """Copy the counters of one instant, in the order of `COUNTERS`."""
    pool = load(settings, POOL)
    _acquire(settings)
    store(target, 0, load(pool, HELD_BYTES))
    store(target, 1, load(pool, HELD_BLOCKS))
    store(target, 2, load(settings, LIVE_BYTES))
    store(target, 3, load(settings, LIVE_BLOCKS))
    store(target, 4, load(pool, HITS))
    store(target, 5, load(pool, MISSES))
    store(target, 6, load(pool, PEAK_BYTES))
    _release(settings)
