"""The structures that the compiled pool and Python share, and the numbers that belong to them."""

from __future__ import annotations

from .structure import Array, Structure, words

SLOTS = 64  # blocks held at most; looking through them all takes 25 ns
HEADER = 64  # bytes before the data: so these begin a cache line, as do the vectors that are written past the caches
HUGE_PAGE = 1 << 21  # one fault instead of 512: fresh, 2 MiB of them were written in 91 us, 1 MiB of small pages in 384
SLACK = 1 << 16  # a block serves a request smaller by a quarter and this,
LARGEST_SLACK = 15 << 16  # but never by more: an output takes no MiB more than its bytes
LARGEST = 1 << 62  # beyond it, sums of lengths could wrap

ALIVE = 0x5245435449464945
PLAIN, MAPPED = 0, 1


class Settings(Structure):
    """The page that a forked child keeps."""

    pool: Pool
    bound: int
    minimum: int
    page: int
    protection: int
    flags: int
    huge_from: int
    huge_advice: int
    live_bytes: int
    live_blocks: int
    malloc: int
    calloc: int
    free: int
    memcpy: int
    memset: int
    mmap: int
    munmap: int
    madvise: int
    sched_yield: int


class Pool(Structure):
    """The page that a forked child finds zeroed: the lock, and the blocks that are held, in no order."""

    lock: int
    held_bytes: int
    held_blocks: int
    hits: int
    misses: int
    peak_bytes: int
    clock: int
    bases: Array = words(SLOTS, at=8)
    lengths: Array = words(SLOTS)
    stamps: Array = words(SLOTS)  # what the clock said when the block came


class Header(Structure):
    """The words of a block before its data."""

    magic: int
    kind: int
    base: int  # where its memory begins
    length: int
    used: int  # bytes that were asked for


class Counters(Structure):
    """The state of the pool at one instant."""

    held_bytes: int
    held_blocks: int
    live_bytes: int
    live_blocks: int
    hits: int
    misses: int
    peak_bytes: int
