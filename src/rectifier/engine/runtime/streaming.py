"""Whether a result goes past the caches: never for small ones, always for large ones, learned from the calls between.

What the caches hold of a result depends on who else uses them. A cloud machine of two processors may report a
third-level cache of 480 MiB, which it shares with strangers; what was true in a quiet moment is not in a busy one, and
it depends as well on whether the caller's arrays are in the caches before, which no measurement knows beforehand. So
each loop keeps, for each class of sizes, the way that was faster. Now and then it tries the other for a few calls, and
less and less often while the answer stays the same. No bit of a result depends on the way.
"""

from __future__ import annotations

from ..compiler.instructions import *
from .layout import *

SMALLEST = 1 << 18  # bytes: results of the first class are smaller than twice this
FIRST = 8  # calls by the way that is expected to be faster, before the other is tried
CALLS = 4  # each way in a trial; the first finds the caches as the other way left them, and does not count
SELDOM, MOST_SELDOM = 16, 1024  # calls between trials
LOST = 256  # calls during a trial's last one that show that it will not end: it was another process's, before a fork
BETTER, WORSE = 19, 20  # the other way is taken from then on if it takes less than 0.95 of the time


def _class(size: int) -> int:
    k = 0
    while k < CLASSES - 1 and size >> (k + 1) >= SMALLEST:
        k += 1
    return k


def _goes_past(job: int, plan: int, engine: int, size: int) -> int:
    """Say which way a result of `size` bytes goes now, and note in the job what the time of this call teaches."""
    expected = size >= load(engine, STREAM_FROM)
    if size < load(engine, LEARN_FROM) or size >= load(engine, LEARN_TO):
        return expected
    way = plan + 8 * (WAYS + WAY_WORDS * _class(size))
    if load(way, USES) == 0:
        store(way, WAY, expected)
        store(way, USES, SELDOM)
        store(way, LEFT, FIRST)
    left = load(way, LEFT)
    store(way, LEFT, SELDOM if -left >= LOST else left - 1)
    if left > 0 or -left >= 2 * CALLS:  # the latter while another thread is in the last call of a trial
        return load(way, WAY)
    store(job, TRIAL, way)
    store(job, STEP, -left)
    return load(way, WAY) if -left < CALLS else 1 - load(way, WAY)


def choose(job: int, plan: int, engine: int) -> None:
    """Let a prepared job's result go past the caches or through them.

    What replaces its input goes through them, which hold it anyway.
    """
    last, mask, count = load(plan, LAST), load(plan, MASK), load(plan, COUNT)
    target, size = load(job, POINTERS + last), load(job, TOTAL) * load(plan, SIZE + last)
    store(job, TRIAL, 0)
    if (size < load(engine, STREAM_FROM) and size < load(engine, LEARN_FROM)) or mask >= last:
        return
    for k in range(count):
        if k != mask and load(job, MODES + k) != WHOLE:  # as a parameter is that is one number
            return
        if load(plan, FIRST) <= k < last:
            continue
        if k < last and load(job, POINTERS + k) == target:
            return
        if k >= last and (load(job, POINTERS + k) - target) & (LINE - 1):  # the edges of its lines are elsewhere
            return
    if _goes_past(job, plan, engine, size):
        store(job, STREAM, 1)
        store(job, ROWS, 0)
        store(job, UNIFORM, load(job, CONSTANT))
    store(job, BEGAN, ticks())


def learn(job: int) -> None:
    """Take note of the time of a job that is done, if it was part of a trial."""
    way, step = load(job, TRIAL), load(job, STEP)
    if way == 0:
        return
    took = ((ticks() - load(job, BEGAN)) << FRACTION) // load(job, TOTAL)
    best = KEPT if step < CALLS else OTHER
    if step % CALLS == 1:
        store(way, best, took)
    elif step % CALLS > 1:
        store(way, best, min(load(way, best), took))
    if step == 2 * CALLS - 1:
        uses = min(2 * load(way, USES), MOST_SELDOM)
        if WORSE * load(way, OTHER) < BETTER * load(way, KEPT):
            store(way, WAY, 1 - load(way, WAY))
            uses = SELDOM
        store(way, USES, uses)
        store(way, LEFT, uses)
