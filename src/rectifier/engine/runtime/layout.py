"""The words that compiled code and Python share: 64-bit, at addresses, named by their numbers.

Plan, one a loop (a operation of a function in a dtype). NumPy hands its address to the loop as `data`.
Engine, one a process: addresses and settings, which a forked child keeps.
Control, one a process: who is doing what; a forked child finds zeros there (`threads`).
Job, on the stack of a call: what is to be computed (`driver`).
Method, one a public call: which plan serves which dtype (`entry`).
"""

from __future__ import annotations

TILE = 2048  # bytes an operand; 512 float32. Five operands of a tile fit a 32 KiB L1 cache twice over.
LINE = 64  # bytes of a cache line
BLOCK = 2048  # exponentials that wait on the stack of a kernel of rows
MAX_OPERANDS = 8
MAX_DIMENSIONS = 64  # NumPy's
MAX_THREADS = 256

# Plan
ENGINE = 0  # address of the engine's words
KERNEL = 1  # address of the kernel
COST = 2  # of an element in the first-level cache, as measured: in ticks, times 2 ** FRACTION
COUNT = 3  # of operands: inputs, parameters, outputs, in this order
FIRST, LAST = 4, 5  # the parameters are FIRST <= k < LAST, the outputs LAST <= k < COUNT
MASK = 6  # which operand is a mask, -1 if none is
LENGTH = 7  # elements in a tile: whole mask words
FLOAT = 8  # what a Python float becomes as a parameter: one of the next four, or 0, and then none is taken
HALF, BFLOAT, SINGLE, DOUBLE = 1, 2, 4, 8
BYTES = 9  # of an element of all arrays together
SIZE = 10  # SIZE + k: bytes of an element of operand k
WAYS = SIZE + MAX_OPERANDS  # what was learned of results of each class of sizes (`streaming`), in so many words each:
LEFT, WAY, USES, KEPT, OTHER, WAY_WORDS = range(6)
CLASSES = 16  # each of twice the size of the one before
LONGEST_WAITING = WAYS + CLASSES * WAY_WORDS  # of rows: the longest whose exponentials wait for their sum, or 0
PLAN_WORDS = LONGEST_WAITING + 1

# What an element or a byte takes is far below a tick: of x86-64's clock some 0.25 ns, of AArch64's 1 to 40.
FRACTION = 16

# Engine
(
    CONTROL, WALK, HELPER, THREADS, SPIN_SET, SPIN, START_FROM, WAKE_FROM, PARALLEL_FROM, MEASURED, NEAR_CACHE,
    BYTE_COST, STREAM_FROM, LEARN_FROM, LEARN_TO, AHEAD, REACHED, GAIN, TRIES,
    POOL, POOL_ALLOCATE, POOL_FREE, HANDLER, CHECK_EVERY, ARRAY_TYPE, FLOAT_TYPE, NONE,
    NOT_IMPLEMENTED, UINT8, INCREF, DECREF, NEW_TUPLE, SET_TUPLE_ITEM, NEW_ARRAY, SAVE_THREAD, RESTORE_THREAD,
    THREAD_CREATE, THREAD_DETACH, SIGNAL_MASK, SYSTEM_CALL, GET_PROCESSOR, ENGINE_WORDS,
) = range(42)  # fmt: skip

# Control: each of the words that threads fight over has a cache line of its own
DOOR, SLEEPERS, LOCK, ACTIVE, NUMBERED, STARTED, LIMIT = 0, 8, 16, 24, 32, 33, 34
JOB, HEAT, LAST_END, REFUSED, CHECKED, ALLOWED, HELPERS, SPREAD_FROM, SPREAD_SUM, TRIED = range(40, 50)
NEXT = 64  # NEXT + 8 t: the first element that nobody has taken of those set aside for thread t
TASKS = NEXT + 8 * MAX_THREADS  # TASKS + h: the system's number of helper h
CONTROL_WORDS = TASKS + MAX_THREADS

# Job
PLAN, DIMENSIONS, TOTAL, CHUNK, PARTS, CONSTANT, UNIFORM, ROWS, STREAM, TRIAL, STEP, BEGAN = range(12)
POINTERS = 12
MODES = POINTERS + MAX_OPERANDS
WIDTHS = MODES + MAX_OPERANDS  # WIDTHS + k: bytes of an element of operand k where it lies
CASTS = WIDTHS + MAX_OPERANDS  # CASTS + k: address of what makes elements for the kernel of those, 0 if they are such
EXTENTS = CASTS + MAX_OPERANDS
STRIDES = EXTENTS + MAX_DIMENSIONS  # STRIDES + MAX_DIMENSIONS k + d: bytes along axis d of operand k
JOB_WORDS = STRIDES + MAX_OPERANDS * MAX_DIMENSIONS

# Where rows lie, for their kernel: how long one is, each array, then a word for each place where exponentials may wait,
# the number of those, and the first
ROW_WORDS = 8

# How a kernel is called: with one number for each parameter; so that what it makes goes past the caches, and then
# with how many lines ahead its inputs are fetched, in the bits from FETCH on
ALIKE, PAST, FETCH = 1, 2, 2

# How an operand reaches the kernel: as it lies, or through a tile
WHOLE, TILED = 0, 1

# Method
METHOD_ENGINE, METHOD_ROWS, METHOD_COUNT, METHOD_FIRST, METHOD_LAST, METHOD_MASK, METHOD_CASTS, METHOD_TABLE = range(8)
METHOD_WORDS = METHOD_TABLE + 2 * 16  # a pair for each dtype: the address of NumPy's descriptor, the plan's

# Casts to one dtype: their number, then three words each
CAST_DESCRIPTOR, CAST_FUNCTION, CAST_WIDTH, CAST_NEXT = range(1, 5)
MAX_CASTS = 64
CASTS_WORDS = 1 + (CAST_NEXT - CAST_DESCRIPTOR) * MAX_CASTS
