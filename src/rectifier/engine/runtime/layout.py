"""The structures that compiled code and Python share, and the numbers that belong to them."""

from __future__ import annotations

from .pool_layout import Settings
from .structure import Array, Structure, Structures, structures, words

TILE = 2048  # bytes an operand; 512 float32. Five operands of a tile fit a 32 KiB L1 cache twice over.
LINE = 64  # bytes of a cache line
BLOCK = 2048  # exponentials that wait on the stack of a kernel of rows
MAX_OPERANDS = 10
MAX_DIMENSIONS = 64  # NumPy's
MAX_THREADS = 256
MAX_CASTS = 64
MAX_DTYPES = 16
CLASSES = 16  # of sizes of results, each of twice the size of the one before

# What an element or a byte takes is far below a tick: of x86-64's clock some 0.25 ns, of AArch64's 1 to 40.
FRACTION = 16

# How a kernel is called: with one number for each parameter; so that what it makes goes past the caches, and then
# with how many lines ahead its inputs are fetched, in the bits from FETCH on; HELD says that the last of them need not
# be, since it is one row for all
ALIKE, PAST, HELD, FETCH = 1, 2, 4, 3

# How an operand reaches the kernel: as it lies; through a tile; through two tiles, the first or the second of two
# operands whose elements lie interleaved
WHOLE, TILED, PAIRED, SECOND = 0, 1, 2, 3

# What a Python float becomes as a parameter; 0 if none is taken
HALF, BFLOAT, SINGLE, DOUBLE = 1, 2, 4, 8


class Way(Structure):
    """The times that a loop has learned of results of one class of sizes (`streaming`)."""

    left: int
    way: int
    uses: int
    times: Array = words(2)  # of an element: in the way that it is, in the other


class LoopDescriptor(Structure):
    """One for each operation of a function in a dtype. NumPy hands its address to the loop as `data`."""

    engine: Engine
    kernel: int  # its address
    cost: int  # of an element in the first-level cache, as measured: in ticks, times 2 ** FRACTION
    count: int  # of operands: inputs, parameters, outputs, in this order
    first: int  # the parameters are first <= k < last,
    last: int  # the outputs last <= k < count
    mask: int  # which operand is a mask, -1 if none is
    length: int  # elements in a tile: whole mask words
    float_kind: int  # what a Python float becomes as a parameter
    element_bytes: int  # of an element of all arrays together
    size: Array = words(MAX_OPERANDS)  # bytes of an element of each operand
    ways: Structures[Way] = structures(Way, CLASSES)
    longest_waiting: int  # of rows: the longest whose exponentials wait for their sum, or 0


class Engine(Structure):
    """One for each process: addresses and settings, which a forked child keeps."""

    control: Control
    walk: int
    helper: int
    threads: int
    spin_set: int
    spin: int
    start_from: int
    wake_from: int
    parallel_from: int
    measured: int
    near_cache: int
    byte_cost: int
    stream_from: int
    learn_from: int
    learn_to: int
    ahead: int
    reached: int
    gain: int
    tries: int
    pool: Settings
    pool_allocate: int
    pool_free: int
    handler: int
    check_every: int
    array_type: int
    float_type: int
    none: int
    not_implemented: int
    uint8: int
    incref: int
    decref: int
    new_tuple: int
    set_tuple_item: int
    new_array: int
    save_thread: int
    restore_thread: int
    thread_create: int
    thread_detach: int
    signal_mask: int
    system_call: int
    get_processor: int


class Control(Structure):
    """One for each process: who is doing what; a forked child finds zeros there (`threads`).

    Each of the words that threads fight over has a cache line of its own.
    """

    door: int
    sleepers: int = words(at=8)
    lock: int = words(at=16)
    active: int = words(at=24)
    numbered: int = words(at=32)
    started: int
    limit: int
    job: Job = words(at=40)
    heat: int
    last_end: int
    refused: int
    checked: int
    allowed: int
    helpers: int
    spread_from: int
    spread_sum: int
    tried: int
    next: Array = words(MAX_THREADS, 8, at=64)  # the first element that nobody has taken of those for a thread
    tasks: Array = words(MAX_THREADS)  # the system's number of each helper


class Job(Structure):
    """On the stack of a call: what is to be computed (`driver`)."""

    plan: LoopDescriptor
    dimensions: int
    total: int
    chunk: int
    parts: int
    constant: int
    uniform: int
    rows: int
    stream: int
    spread: int  # which input of rows is one element for a row, or -1
    held: int  # HELD, if the last input is one row for all
    block: int  # elements that one thread computes in their order; 0 where there is no order
    trial: Way
    step: int
    began: int
    pointers: Array = words(MAX_OPERANDS)
    modes: Array = words(MAX_OPERANDS)
    widths: Array = words(MAX_OPERANDS)  # bytes of an element of each operand where it lies
    casts: Array = words(MAX_OPERANDS)  # address of what makes elements for the kernel of those, 0 if they are such
    extents: Array = words(MAX_DIMENSIONS)
    strides: Array = words(MAX_OPERANDS, MAX_DIMENSIONS)  # bytes along each axis of each operand


class Rows(Structure):
    """On the stack of a call of rows, for their kernel: where they lie, and where exponentials may wait."""

    length: int  # of one
    # Inputs and the output, and behind them: a word for each place or 0, how many places there are, the first.
    arrays: Array = words(7)
    options: RowOptions


class RowOptions(Structure):
    """Options of a call of rows: which numbers of a row count, and what more its sum has.

    Where something lies for each row, it has a stride for each of some axes, in whose C order the rows are.
    """

    scale: int  # the bits of a float64
    rows: int  # of a matrix, where each row is known to begin later than the one before it; else 0
    flags: int  # the address of those of the first row, or 0: a byte for each number, 0 where that does not count
    step: int  # from a flag to the next; 0 if a row has one for all its numbers
    sink: int  # the address of one more float64 of the first row's sum
    extra: int  # an address, or 0: of a float64 for each row, to which the kernel writes
    dimensions: int
    extents: Array = words(MAX_DIMENSIONS)
    flag_strides: Array = words(MAX_DIMENSIONS)
    sink_strides: Array = words(MAX_DIMENSIONS)


class LossOptions(Structure):
    """Addresses that a call of losses has beside x and the gradient; some are 0."""

    classes: int  # of an integer for each row, or 0
    targets: int  # of an array of the shape and dtype of x, where there are no classes
    upstream: int  # of a float64 for each row, by which its gradient is multiplied, or 0
    losses: int  # of a float64 for each row, to which the kernel writes, or 0


class Casts(Structure):
    """The casts to one dtype."""

    number: int
    rows: Array = words(MAX_CASTS, 3)  # of each: address of NumPy's descriptor, of the function, bytes of an element


class Method(Structure):
    """One for each public call: which loop descriptor serves which dtype (`entry`)."""

    engine: Engine
    rows: int
    count: int
    first: int
    last: int
    mask: int
    casts: Casts
    table: Array = words(MAX_DTYPES, 2)  # a pair for each dtype: the address of NumPy's descriptor, the loop's
