"""Threads that help with large calls: parked in compiled code, woken by a word, never told anything twice.

One caller at a time has the helpers: who finds LOCK taken does its own work. The owner sets aside a range of
elements for each thread, writes the address of its job, and opens the DOOR, a 32-bit word:

    bit 31      the owner sleeps until the last helper has left
    bit 30      open
    bits 12-29  number of the job, modulo 2^18
    bits 0-11   helpers inside

A helper goes in by one compare-and-swap that adds 1 to an open door and fails at any other: so none is ever inside
but between the opening and the moment when the owner, having closed the door, has seen it empty. Only then does the
job, which stands on the owner's stack, end. The number of the job only keeps a helper from going in twice; it may wrap.

How many may be inside is looked up before: as many as the job has ranges for them, and as the threads allowed leave
beside the active callers. Inside, each takes a chunk after the other by an atomic addition, first of its own range
(whose data its caches may still hold), then of the others'. So a helper that comes late, or not at all, costs nothing
but its help.

A helper that waits spins for a while, then sleeps in a futex on the door. It first counts itself among the SLEEPERS
and then looks at the door once more; the owner first opens and then looks for SLEEPERS: one of them sees the other.

Everything that changes is in the control block, which a forked child finds zeroed (`MADV_WIPEONFORK`): no helper, no
lock, no job, whatever the parent was doing.
"""

from __future__ import annotations

from ..compiler.instructions import (
    Number,
    add32,
    address,
    and32,
    atomic_add,
    atomic_load,
    atomic_load32,
    atomic_store,
    call0,
    call1,
    call3,
    call4,
    call6,
    compare_and_swap,
    compare_and_swap32,
    count_bits,
    enter_default_floating_point,
    exchange32,
    or32,
    pause,
    stack,
    ticks,
)
from .layout import FRACTION, Control, Engine, Job, LoopDescriptor

ASLEEP, OPEN, NUMBER, INSIDE = 1 << 31, 1 << 30, 1 << 12, (1 << 12) - 1
NUMBERS, ALL = OPEN - NUMBER, (1 << 32) - 1
GRAIN = 1024  # elements: ranges and chunks begin at whole pages of 4-byte elements, and at whole words of a mask
SMALLEST_CHUNK, LARGEST_CHUNK = 4096, 65536
MOST_EXPECTED = 1 << 34  # elements: what more of them take is no question, and its product fits 64 bits
HOT = 4  # small jobs in quick succession, before sleeping helpers are woken for them
# Of what all threads do together, 1024 being what one does: two cores do 2,000 (Zen 3), two hyperthreads of one core
# 1,000 to 1,400. So much of each thread shows that they are cores, or that the moment was busy, which time will tell.
CORES, TRIES_MOST = 768, 6
EXERCISE = 16384  # rounds a thread, some 40 us

# Linux: numbers of system calls, and of what they are asked
FUTEX, GET_TASK = Number(x86_64=202, aarch64=98), Number(x86_64=186, aarch64=178)
GET_AFFINITY, SET_AFFINITY = Number(x86_64=204, aarch64=123), Number(x86_64=203, aarch64=122)
WAIT, WAKE = 128, 129  # on memory of this process alone
SIG_SETMASK = 2
AFFINITY_WORDS = 128  # 8,192 processors


def _futex(engine: Engine, word: int, operation: int, value: int) -> None:
    call6(engine.system_call, FUTEX, word, operation, value, 0, 0)


def _range(total: int, parts: int) -> int:
    return ((total + parts - 1) // parts + GRAIN - 1) // GRAIN * GRAIN


def _take(job: Job, engine: Engine, me: int) -> None:
    """Compute chunks of the job until none is left, beginning with the range of number `me`."""
    control, parts, chunk, total = engine.control, job.parts, job.chunk, job.total
    walk, length = engine.walk, _range(total, parts)
    first = me % parts
    for k in range(parts):
        t = first + k if first + k < parts else first + k - parts
        end = min(total, (t + 1) * length)
        while True:
            if me > 0 and atomic_load32(address(control.door)) & INSIDE > _room(engine, control):
                return  # another caller has come, and needs this one's processor
            i = atomic_add(address(control.next[t, 0]), chunk)
            if i >= end:
                break
            call3(walk, job, i, min(i + chunk, end))


def _room(engine: Engine, control: Control) -> int:
    """Return how many helpers may be inside, beside the callers that are active."""
    return min(atomic_load(address(control.limit)), engine.threads - atomic_load(address(control.active)))


def helper(engine: Engine) -> None:
    """Run a helper: wait, help, wait."""
    enter_default_floating_point()
    control = engine.control
    door, sleepers = address(control.door), address(control.sleepers)
    me = atomic_add(address(control.numbered), 1) + 1
    control.tasks[me] = call1(engine.system_call, GET_TASK)
    atomic_add(address(control.started), 1)  # from here on, others may use its number
    seen, began, patience = -1, ticks(), engine.spin
    while True:
        now = atomic_load32(door)
        if now & OPEN != 0 and now & NUMBERS != seen and now & INSIDE < _room(engine, control):
            if compare_and_swap32(door, now, now + 1):
                # To spin pays if the next job comes before a sleeper would have been woken.
                waited, longest = ticks() - began, engine.spin
                patience = min(longest, 2 * patience + longest // 16) if waited < longest else patience // 2
                seen = now & NUMBERS
                _take(control.job, engine, me)
                left = add32(door, -1)
                if left & ASLEEP and left & INSIDE == 1:
                    _futex(engine, door, WAKE, ALL >> 1)
                began = ticks()
        elif ticks() - began > min(patience, engine.spin):
            atomic_add(sleepers, 1)
            now = atomic_load32(door)
            if now & OPEN == 0 or now & NUMBERS == seen or now & INSIDE >= _room(engine, control):
                _futex(engine, door, WAIT, now)
            atomic_add(sleepers, -1)
        else:
            pause()


def _spread(engine: Engine, control: Control, helpers: int) -> int:
    """Count the processors on which the caller may run, and keep the helpers on those of them where it is not.

    So helpers follow a change of the caller's affinity. And a scheduler that likes to wake a thread where the one
    runs that wakes it, as that of a virtual machine may to save processors, would make helping useless: 25 million
    elements took as long with a helper as without.
    """
    mask = stack(AFFINITY_WORDS)
    words = max(call4(engine.system_call, GET_AFFINITY, 0, 8 * AFFINITY_WORDS, mask), 0) >> 3
    processor, total, content = call0(engine.get_processor) & ALL, 0, atomic_load(address(control.started))
    for w in range(words):
        total += count_bits(mask[w])
        content = content * 31 + mask[w]
    if total > 1 and processor < 64 * words:
        w = processor >> 6
        mask[w] &= ~(1 << (processor & 63))
        if content != control.spread_sum or processor != control.spread_from:
            for h in range(1, helpers + 1):
                task = atomic_load(address(control.tasks[h]))
                if task > 0:  # 0, of a helper that has not come yet, would be the caller itself
                    call4(engine.system_call, SET_AFFINITY, task, 8 * words, mask)
            control.spread_sum = content
            control.spread_from = processor
    return max(total, 1)


def _open(job: Job, engine: Engine, control: Control, parts: int, wake: int) -> None:
    length = _range(job.total, parts)
    for t in range(parts):
        atomic_store(address(control.next[t, 0]), t * length)
    chunk = min(max(length // 8, SMALLEST_CHUNK), LARGEST_CHUNK) // GRAIN * GRAIN
    job.chunk = chunk
    job.parts = parts
    control.job = job
    atomic_store(address(control.limit), parts - 1)
    door = address(control.door)
    exchange32(door, (atomic_load32(door) + NUMBER) & NUMBERS | OPEN)
    if wake and atomic_load(address(control.sleepers)) > 0:
        _futex(engine, door, WAKE, parts - 1)


def _close(engine: Engine, control: Control) -> None:
    door = address(control.door)
    now = and32(door, ALL - OPEN)
    began = ticks()
    while now & INSIDE:
        pause()
        now = atomic_load32(door)
        if now & INSIDE and ticks() - began > engine.spin:
            now = or32(door, ASLEEP) | ASLEEP
            if now & INSIDE:
                _futex(engine, door, WAIT, now)
            now = and32(door, ALL - ASLEEP)


def _reach(job: Job, engine: Engine, control: Control, wake: int) -> int:
    """Return the time from opening the door to a helper's first act; the job has nothing to do."""
    word = address(control.next[1, 0])
    began = ticks()
    _open(job, engine, control, 2, wake)
    while atomic_load(word) == 0 and ticks() - began < engine.check_every:
        pause()
    took = ticks() - began
    _close(engine, control)
    return took


def _compare(engine: Engine, control: Control, helpers: int) -> None:
    """Compare what all threads do with what one does, by what waits for nothing but a core, and set what follows.

    Two threads of one core are told from two cores by this alone. It looks the same if another process has the second
    core just now: so it is tried again, later and later, and the most that was seen counts.
    """
    job = stack(Job)
    total, alone, together = EXERCISE * (helpers + 1), 1 << 62, 1 << 62
    job.total = total
    job.plan = LoopDescriptor(0)
    for _ in range(3):
        began = ticks()
        call3(engine.walk, job, 0, EXERCISE)
        alone = min(alone, (ticks() - began) * (helpers + 1))
    for _ in range(4):
        began = ticks()
        _open(job, engine, control, helpers + 1, True)
        _take(job, engine, 0)
        _close(engine, control)
        together = min(together, ticks() - began)
    engine.gain = max(engine.gain, (alone << 10) // max(together, 1))
    engine.tries += 1
    control.tried = ticks()
    engine.parallel_from = worth_sharing(engine, helpers)


def worth_sharing(engine: Engine, helpers: int) -> int:
    """Return how long a job must take alone for sharing to pay: longer, if threads are no cores, but never for ever.

    Eight times what it takes to reach a helper if they are: from twice that time on it pays, but a little, and a helper
    that loses its processor within a chunk is waited for. Else what sharing costs stays, and what it saves is less.
    What was set before is the least, below which there are hardly two chunks. The most is what starts helpers: a moment
    in which they were hard to reach is not the rule.
    """
    least, most, gain = engine.parallel_from, engine.start_from, engine.gain
    worth = max(least, 8 * engine.reached)
    if engine.tries >= TRIES_MOST and gain < CORES * (helpers + 1):
        worth = max(worth, 8 * engine.reached * helpers * gain // (max(gain - 1024, 1) * (helpers + 1)))
    return max(least, min(worth, most))


def _measure(engine: Engine, control: Control) -> None:
    """Measure what it takes to reach a helper that spins, and one that sleeps, and set from when on it pays.

    A sleeping one is woken for twice what that takes. A helper spins as long as it takes to wake it: so waiting costs
    at most twice what it would have cost to know when the next job comes.
    """
    job = stack(Job)
    job.total = 0
    job.plan = LoopDescriptor(0)
    limit, spin = engine.check_every, engine.spin
    engine.spin = limit
    reached = _reach(job, engine, control, True)
    if reached < limit:  # else it has no processor just now, and it is tried again at another call
        for _ in range(32):
            reached = min(reached, _reach(job, engine, control, True))
        engine.spin = 0
        woken = limit
        for _ in range(4):
            began = ticks()
            while atomic_load(address(control.sleepers)) == 0 and ticks() - began < limit:
                pause()
            began = ticks()
            while ticks() - began < limit // 10:  # on its way into the system, which takes longest to come back from
                pause()
            woken = min(woken, _reach(job, engine, control, True))
        if woken < limit:
            engine.reached = reached
            engine.parallel_from = worth_sharing(engine, 1)
            engine.wake_from = min(engine.wake_from, 2 * woken)
            spin = min(spin, woken)
            engine.measured = woken
    engine.spin = spin if engine.spin_set < 0 else engine.spin_set


def _start(engine: Engine, control: Control, wanted: int) -> int:
    """Start helpers, with every signal blocked: handlers are for the threads that Python knows."""
    mask, before, thread = stack(16), stack(16), stack(1)
    for w in range(16):
        mask[w] = -1
    call3(engine.signal_mask, SIG_SETMASK, mask, before)
    helpers = control.helpers
    while helpers < wanted:
        if call4(engine.thread_create, thread, 0, engine.helper, engine) & ALL:
            control.refused = ticks()
            break
        call1(engine.thread_detach, thread[0])
        helpers += 1
    call3(engine.signal_mask, SIG_SETMASK, before, 0)
    began = ticks()
    while atomic_load(address(control.started)) < helpers and ticks() - began < engine.check_every:
        pause()
    control.helpers = helpers
    _spread(engine, control, helpers)
    return helpers


def _parts(engine: Engine, control: Control, estimate: int) -> int:
    """Return among how many threads a job is shared that takes `estimate` ticks on one."""
    now, wanted = ticks(), engine.threads - 1
    heat = control.heat + 1 if now - control.last_end < engine.spin else 0
    control.heat = heat
    helpers = control.helpers
    if control.allowed == 0 or now - control.checked > engine.check_every:
        control.allowed = _spread(engine, control, helpers)
        control.checked = now
    if control.allowed < 2:
        return 1
    wanted, many = min(wanted, control.allowed - 1), estimate >= engine.start_from or heat >= 4 * HOT
    if helpers < wanted and many and now - control.refused > 1000 * engine.check_every:
        helpers = _start(engine, control, wanted)
    if many and helpers > 0 and atomic_load(address(control.started)) >= helpers:
        tries, gain, waited = engine.tries, engine.gain, now - control.tried
        if engine.measured == 0:
            _measure(engine, control)
        elif gain < CORES * (helpers + 1) and tries < TRIES_MOST and waited > engine.check_every << (2 * tries):
            _compare(engine, control, helpers)
    if atomic_load(address(control.sleepers)) >= helpers and estimate < engine.wake_from and heat < HOT:
        return 1
    return min(helpers, wanted) + 1


def expected(plan: LoopDescriptor, engine: Engine, n: int) -> int:
    """Return how many ticks n elements may take on one thread."""
    n = min(n, MOST_EXPECTED)
    moved, cost = n * plan.element_bytes, n * plan.cost
    if moved > engine.near_cache:
        cost += moved * engine.byte_cost
    return cost >> FRACTION


def run(job: Job, engine: Engine) -> None:
    """Compute a whole job, alone or with the helpers."""
    total, threads = job.total, engine.threads
    estimate = expected(job.plan, engine, total)
    if threads < 2 or estimate < engine.parallel_from:
        call3(engine.walk, job, 0, total)
        return
    control = engine.control
    parts = 1
    if atomic_add(address(control.active), 1) + 1 < threads and compare_and_swap(address(control.lock), 0, 1):
        parts = _parts(engine, control, estimate)
        if parts > 1:
            wake = estimate >= engine.wake_from or control.heat >= HOT
            _open(job, engine, control, parts, wake)
            _take(job, engine, 0)
            _close(engine, control)
        else:
            call3(engine.walk, job, 0, total)
        control.last_end = ticks()
        atomic_store(address(control.lock), 0)
    else:
        call3(engine.walk, job, 0, total)
    atomic_add(address(control.active), -1)


def clock() -> int:
    """Return the time in ticks."""
    return ticks()
