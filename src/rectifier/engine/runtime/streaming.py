"""Whether a result goes past the caches: never for small ones, always for large ones, learned from the calls between.

What the caches hold of a result depends on who else uses them. A cloud machine of two processors may report a
third-level cache of 480 MiB, which it shares with strangers; what was true in a quiet moment is not in a busy one, and
it depends as well on whether the caller's arrays are in the caches before, which no measurement knows beforehand. So
each loop keeps, for each class of sizes, the way that was faster. Now and then it tries the other for a few calls, and
less and less often while the answer stays the same. No bit of a result depends on the way.
"""

from __future__ import annotations

from ..compiler.instructions import ticks
from .layout import CLASSES, FRACTION, LINE, WHOLE, Engine, Job, LoopDescriptor, Way

SMALLEST = 1 << 18  # bytes: results of the first class are smaller than twice this
FIRST = 8  # calls by the way that is expected to be faster, before the other is tried
CALLS = 4  # each way in a trial; the first finds the caches as the other way left them, and does not count
SELDOM, MOST_SELDOM = 16, 1024  # calls between trials
LOST = 256  # calls during a trial's last one that show that it will not end: it was another process's, before a fork
LEAST_ROW = 1024  # bytes: of shorter rows of a larger array, the pieces beside the lines cost as much as they save
BETTER, WORSE = 19, 20  # the other way is taken from then on if it takes less than 0.95 of the time


def _class(size: int) -> int:
    k = 0
    while k < CLASSES - 1 and size >> (k + 1) >= SMALLEST:
        k += 1
    return k


def goes_past(job: Job, plan: LoopDescriptor, engine: Engine, size: int) -> int:
    """Choose which way a result of `size` bytes goes now, and note in the job what the time of this call teaches."""
    expected = size >= engine.stream_from
    if size < engine.learn_from or size >= engine.learn_to:
        return expected
    way = plan.ways[_class(size)]
    if way.uses == 0:
        way.way = expected
        way.uses = SELDOM
        way.left = FIRST
    left = way.left
    way.left = SELDOM if -left >= LOST else left - 1
    if left > 0 or -left >= 2 * CALLS:  # the latter while another thread is in the last call of a trial
        return way.way
    job.trial = way
    job.step = -left
    return way.way if -left < CALLS else 1 - way.way


def _may_go_past(job: Job, plan: LoopDescriptor) -> int:
    """Return whether whole lines of a result can be written past the caches, all of them at once, and it may pay.

    What replaces its input goes through the caches, which hold it anyway.
    """
    first, last, mask = plan.first, plan.last, plan.mask
    target, inner, rows = job.pointers[last], job.dimensions - 1, job.rows
    if mask >= last or (rows and inner > 0 and job.extents[inner] * plan.size[last] < LEAST_ROW):
        return 0
    for k in range(plan.count):
        if k != mask and rows == 0 and job.modes[k] != WHOLE:  # as a parameter is that is one number
            return 0
        if first <= k < last:
            continue
        if k < last and job.pointers[k] == target:
            return 0
        if k > last:  # whether the edges of its lines are elsewhere
            apart = job.pointers[k] - target
            for d in range(inner):
                apart |= job.strides[k, d] - job.strides[last, d]
            if apart & (LINE - 1):
                return 0
    return 1


def choose(job: Job, plan: LoopDescriptor, engine: Engine) -> None:
    """Choose whether a prepared job's result goes past the caches or through them."""
    size = job.total * plan.size[plan.last]
    job.trial = Way(0)
    if (size < engine.stream_from and size < engine.learn_from) or not _may_go_past(job, plan):
        return
    job.stream = goes_past(job, plan, engine, size)
    if job.stream and job.rows == 0:
        job.uniform = job.constant
    job.began = ticks()


def learn(job: Job) -> None:
    """Take note of the time of a job that is done, if it was part of a trial."""
    way, step = job.trial, job.step
    if way == 0:
        return
    took = ((ticks() - job.began) << FRACTION) // job.total
    which = 0 if step < CALLS else 1
    if step % CALLS == 1:
        way.times[which] = took
    elif step % CALLS > 1:
        way.times[which] = min(way.times[which], took)
    if step == 2 * CALLS - 1:
        uses = min(2 * way.uses, MOST_SELDOM)
        if WORSE * way.times[1] < BETTER * way.times[0]:
            way.way = 1 - way.way
            uses = SELDOM
        way.uses = uses
        way.left = uses
