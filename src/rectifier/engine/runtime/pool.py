"""The allocation handler, for translation to machine code; `memory` has its words and says what a block looks like.

Large memory comes from `mmap`, begins on a huge page, and is held when it is freed: what fresh memory costs is mostly
the faults that bring its pages, and with the C library's memory nearly each call pays for those. A block is in one
place at a time: with its array, or in the table of held blocks, where only the owner of the lock puts it in or takes it
out. What takes long, above all `munmap`, is done outside the lock, to blocks that are in neither place.

The lock is a word to spin on. It is held for some 50 ns, never over a call. A forked child finds its page zeroed, so
unlocked and empty; the blocks of arrays describe themselves.
"""

from __future__ import annotations

from ..compiler.instructions import (
    address,
    atomic_store,
    call0,
    call1,
    call2,
    call3,
    call6,
    compare_and_swap,
    pause,
)
from .pool_layout import (
    ALIVE,
    HEADER,
    HUGE_PAGE,
    LARGEST,
    LARGEST_SLACK,
    MAPPED,
    PLAIN,
    SLACK,
    SLOTS,
    Counters,
    Header,
    Pool,
    Settings,
)

SPINS = 128  # about as long as the lock is ever held; then its owner lacks a processor, which yielding may give it


def _acquire(settings: Settings) -> None:
    lock = address(settings.pool.lock)
    spins = 0
    while compare_and_swap(lock, 0, 1) == 0:
        spins += 1
        if spins < SPINS:
            pause()
        else:
            call0(settings.sched_yield)


def _release(settings: Settings) -> None:
    atomic_store(address(settings.pool.lock), 0)


def _count(settings: Settings, length: int, blocks: int) -> None:
    """Note memory that goes out to an array, or with negative numbers comes back; needs the lock."""
    pool = settings.pool
    live = settings.live_bytes + length
    settings.live_bytes = live
    settings.live_blocks += blocks
    pool.peak_bytes = max(pool.peak_bytes, live + pool.held_bytes)


def _count_alone(settings: Settings, length: int, blocks: int) -> None:
    _acquire(settings)
    _count(settings, length, blocks)
    _release(settings)


def _take_out(pool: Pool, k: int) -> int:
    """Remove block k of those held; needs the lock."""
    last = pool.held_blocks - 1
    pool.held_blocks = last
    pool.held_bytes -= pool.lengths[k]
    base = pool.bases[k]
    pool.bases[k] = pool.bases[last]
    pool.lengths[k] = pool.lengths[last]
    pool.stamps[k] = pool.stamps[last]
    return base


def _oldest(pool: Pool) -> int:
    oldest = 0
    for k in range(1, pool.held_blocks):
        if pool.stamps[k] < pool.stamps[oldest]:
            oldest = k
    return oldest


def _unmap(settings: Settings, base: int, length: int) -> None:
    call2(settings.munmap, base, length)


def _trim(settings: Settings, limit: int) -> int:
    pool = settings.pool
    given = 0
    while True:
        _acquire(settings)
        if pool.held_bytes <= limit:
            _release(settings)
            return given
        k = _oldest(pool)
        length = pool.lengths[k]
        base = _take_out(pool, k)
        _release(settings)
        _unmap(settings, base, length)
        given += length


def _reuse(settings: Settings, length: int) -> int:
    """Take the held block that fits best, of equal ones the one freed last, which caches may hold; 0 if none fits."""
    pool = settings.pool
    best_length, best_stamp, best = length + min((length >> 2) + SLACK, LARGEST_SLACK) + 1, 0, -1
    _acquire(settings)
    for k in range(pool.held_blocks):
        candidate, stamp = pool.lengths[k], pool.stamps[k]
        if candidate >= length and (candidate < best_length or (candidate == best_length and stamp > best_stamp)):
            best_length, best_stamp, best = candidate, stamp, k
    base = 0
    if best < 0:
        pool.misses += 1
    else:
        base = _take_out(pool, best)
        pool.hits += 1
        _count(settings, best_length, 1)
    _release(settings)
    return base


def _keep(settings: Settings, base: int, length: int) -> None:
    """Hold a block that an array has left, making room by giving the oldest back; or give it back itself."""
    pool = settings.pool
    _acquire(settings)
    _count(settings, -length, -1)
    while True:
        bound, held, blocks = settings.bound, pool.held_bytes, pool.held_blocks
        if length > bound:
            _release(settings)
            _unmap(settings, base, length)
            return
        if held + length <= bound and blocks < SLOTS:
            pool.bases[blocks] = base
            pool.lengths[blocks] = length
            pool.stamps[blocks] = pool.clock
            pool.clock += 1
            pool.held_blocks = blocks + 1
            pool.held_bytes = held + length
            _release(settings)
            return
        k = _oldest(pool)
        evicted = pool.lengths[k]
        victim = _take_out(pool, k)
        _release(settings)
        _unmap(settings, victim, evicted)
        _acquire(settings)


def _anonymous(settings: Settings, length: int) -> int:
    base = call6(settings.mmap, 0, length, settings.protection, settings.flags, -1, 0)
    return 0 if base == -1 else base


def _map(settings: Settings, length: int) -> int:
    """Get fresh memory, whose whole huge pages become such when they are first written; 0 if there is none."""
    if length < settings.huge_from:
        return _anonymous(settings, length)
    start = _anonymous(settings, length + HUGE_PAGE)
    if start == 0:
        return _anonymous(settings, length)
    base = (start + HUGE_PAGE - 1) & -HUGE_PAGE
    if base > start:
        _unmap(settings, start, base - start)
    _unmap(settings, base + length, start + HUGE_PAGE - base)
    call3(settings.madvise, base, length, settings.huge_advice)
    return base


def _describe(header: Header, kind: int, base: int, length: int, size: int) -> int:
    header.magic = ALIVE
    header.kind = kind
    header.base = base
    header.length = length
    header.used = size
    return header + HEADER


def _plain(settings: Settings, size: int, zeroed: bool) -> int:
    """Allocate as the C library does, when all else fails after emptying the pool."""
    length = size + 2 * HEADER
    base = 0
    for attempt in range(2):
        base = call2(settings.calloc, length, 1) if zeroed else call1(settings.malloc, length)
        if base != 0 or attempt == 1 or _trim(settings, 0) == 0:
            break
    if base == 0:
        return 0
    _count_alone(settings, length, 1)
    return _describe(Header((base + HEADER - 1) & -HEADER), PLAIN, base, length, size)


def _allocate(settings: Settings, size: int, zeroed: bool) -> int:
    if size < 0 or size > LARGEST:
        return 0
    if size < settings.minimum or settings.bound == 0:
        return _plain(settings, size, zeroed)
    page = settings.page
    length = (size + HEADER + page - 1) & -page
    base = _reuse(settings, length)
    if base != 0:
        if zeroed:
            call3(settings.memset, base + HEADER, 0, size)
        return _describe(Header(base), MAPPED, base, Header(base).length, size)
    base = _map(settings, length)
    if base == 0 and _trim(settings, 0) > 0:
        base = _map(settings, length)
    if base == 0:
        return _plain(settings, size, zeroed)
    _count_alone(settings, length, 1)
    return _describe(Header(base), MAPPED, base, length, size)


def _free(settings: Settings, pointer: int) -> None:
    header = Header(pointer - HEADER)
    if header.magic != ALIVE:
        return  # not ours, or freed before: a leak does less harm than a page in two hands
    header.magic = 0
    base, length = header.base, header.length
    if header.kind == MAPPED:
        _keep(settings, base, length)
    else:
        _count_alone(settings, -length, -1)
        call1(settings.free, base)


def malloc(settings: Settings, size: int) -> int:
    """Allocate."""
    return _allocate(settings, size, False)


def calloc(settings: Settings, count: int, size: int) -> int:
    """Allocate zeros."""
    if count < 0 or size < 0 or (count > 0 and size > LARGEST // count):
        return 0
    return _allocate(settings, count * size, True)


def realloc(settings: Settings, pointer: int, size: int) -> int:
    """Make a block longer or shorter, in place where that wastes no more than a reused block would."""
    if pointer == 0:
        return _allocate(settings, size, False)
    if size < 0 or size > LARGEST:
        return 0
    header = Header(pointer - HEADER)
    if header.magic != ALIVE:
        return 0
    if header.kind == MAPPED and size >= settings.minimum:
        page, length = settings.page, header.length
        needed = (size + HEADER + page - 1) & -page
        if needed <= length:
            if length > needed + min((needed >> 2) + SLACK, LARGEST_SLACK):
                header.length = needed
                _unmap(settings, header + needed, length - needed)
                _count_alone(settings, needed - length, 0)
            header.used = size
            return pointer
    to = _allocate(settings, size, False)
    if to != 0:
        call3(settings.memcpy, to, pointer, min(size, header.used))
        _free(settings, pointer)
    return to


def free(settings: Settings, pointer: int, size: int) -> None:
    """Take a block back; its header knows the size, and NumPy is not trusted to."""
    if pointer != 0:
        _free(settings, pointer)


def trim(settings: Settings, limit: int) -> int:
    """Return blocks to the system until at most `limit` bytes are held."""
    return _trim(settings, limit)


def snapshot(settings: Settings, counters: Counters) -> None:
    """Copy the counters of one instant, of the pool."""
    pool = settings.pool
    _acquire(settings)
    counters.held_bytes = pool.held_bytes
    counters.held_blocks = pool.held_blocks
    counters.live_bytes = settings.live_bytes
    counters.live_blocks = settings.live_blocks
    counters.hits = pool.hits
    counters.misses = pool.misses
    counters.peak_bytes = pool.peak_bytes
    _release(settings)
