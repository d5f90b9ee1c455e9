"""The words that the compiled pool and Python share, and what a block of its memory looks like."""

from __future__ import annotations

SLOTS = 64  # blocks held at most; looking through them all takes 25 ns
HEADER = 64  # bytes before the data: so these begin a cache line, as do the vectors that are written past the caches
HUGE_PAGE = 1 << 21  # one fault instead of 512: fresh, 2 MiB of them were written in 91 us, 1 MiB of small pages in 384
SLACK = 1 << 16  # a block serves a request smaller by a quarter and this,
LARGEST_SLACK = 15 << 16  # but never by more: an output takes no MiB more than its bytes
LARGEST = 1 << 62  # beyond it, sums of lengths could wrap

# Settings
(
    POOL, BOUND, MINIMUM, PAGE, PROTECTION, FLAGS, HUGE_FROM, HUGE_ADVICE, LIVE_BYTES, LIVE_BLOCKS,
    MALLOC, CALLOC, FREE, MEMCPY, MEMSET, MMAP, MUNMAP, MADVISE, SCHED_YIELD,
    SETTINGS_WORDS,
) = range(20)  # fmt: skip

# Pool
LOCK, HELD_BYTES, HELD_BLOCKS, HITS, MISSES, PEAK_BYTES, CLOCK = range(7)
BASES = 8  # of the blocks held, in no order
LENGTHS = BASES + SLOTS
STAMPS = LENGTHS + SLOTS  # what the clock said when the block came
POOL_WORDS = STAMPS + SLOTS

COUNTERS = ("held_bytes", "held_blocks", "live_bytes", "live_blocks", "hits", "misses", "peak_bytes")

# Header of a block, the words before its data
MAGIC, KIND, BASE, LENGTH, USED = range(5)  # USED: bytes that were asked for
ALIVE = 0x5245435449464945
PLAIN, MAPPED = 0, 1
