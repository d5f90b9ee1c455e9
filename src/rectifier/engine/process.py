"""The engine of a process: compiled code, and what it needs to know, in one block of words.

Made at the first call, from the store of machine code where that has it, and then without Numba.
"""

from __future__ import annotations

import _thread
import ctypes
import mmap
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from time import perf_counter_ns
from typing import Any

import numpy as np

from ..formulas import with_all_called
from ..functions.specification import Operation, Specification
from . import calibration, capi, limits, memory, store
from .compiler.optimise import Optimised
from .compiler.target import Target, obstacle
from .fingerprint import code_of
from .fork import at_fork, wipe_on_fork
from .runtime import layout

LONGEST_SPIN, MOST_SPIN = 100.0, 1e6  # microseconds: by default, and at all
NEVER = 1 << 62  # bytes that no result has
UNTIL_MEASURED = "default, until a helper has been woken"
THREADS_TAKES = f"a whole number from 1 to {layout.MAX_THREADS}"
SPIN_TAKES = "a number from 0 to a million"
_immortal: list[Any] = []
ctypes.pythonapi.Py_IncRef(ctypes.py_object(_immortal))  # helpers run on while the interpreter ends


def build(target: Target | None = None) -> Optimised:
    """Compile the functions that every kernel shares."""
    from .compiler import subset
    from .runtime import driver, entry, threads

    functions: list[Callable[..., Any]] = [
        driver.walk,
        driver.measure,
        threads.helper,
        threads.clock,
        entry.loop,
        entry.call,
    ]
    return subset.optimised(functions, target)


@cache
def code() -> dict[str, int]:
    """Give the addresses of the compiled functions that every kernel shares."""
    return store.machine_code("engine", bytes([capi.HEAD]), build)


def kernel(block: Specification, operation: Operation, dtype: str, before_compiling: Callable[[], None]) -> int:
    """Give the address of the kernel of a operation in a dtype."""
    formulas = [operation.formula, *(getattr(block, part) for part in operation.parts)]
    content = b"\0".join(
        [
            *[code_of(formula) for part in formulas for formula in with_all_called(part)],
            repr((*block.operands(operation), block.selects, dtype)).encode(),
            block.working(dtype).__name__.encode(),
        ]
    )

    def build() -> Optimised:
        before_compiling()
        from .compiler import kernels

        return kernels.compile_kernel(block, operation, dtype)

    return store.machine_code(f"{block.full_name}.{operation.name}.{dtype}", content, build)["kernel"]


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _ticks_per_microsecond(clock: int) -> float:
    """Compare the processor's clock with the system's, for a fifth of a millisecond."""
    ticks = ctypes.CFUNCTYPE(ctypes.c_int64)(clock)
    began, first = perf_counter_ns(), ticks()
    while perf_counter_ns() - began < 200_000:
        pass
    return float(1e3 * (ticks() - first) / (perf_counter_ns() - began))


def _microseconds_a_byte() -> float:
    """Time what lies beyond the first-level cache: a copy of 128 KiB, the least of several."""
    x = np.zeros(1 << 17, np.uint8)
    y, least = np.zeros_like(x), 1e9
    for _ in range(8):
        began = perf_counter_ns()
        np.copyto(y, x)
        least = min(least, perf_counter_ns() - began)
    return least / 1e3 / (x.nbytes + y.nbytes)


def _control() -> int:
    """Make the block in which threads meet: a forked child must find zeros there."""
    size = -(-8 * layout.CONTROL_WORDS // mmap.PAGESIZE) * mmap.PAGESIZE
    block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    words = (ctypes.c_char * size).from_buffer(block)
    _immortal.append(words)
    address = ctypes.addressof(words)
    wipe_on_fork(address, size)
    return address


class _State:
    words: Any = None
    threads: tuple[int, str] | None = None
    spin_microseconds: tuple[float, str] | None = None
    stream_bytes: tuple[int | None, str] | None = None  # None until the environment was asked
    ticks_per_microsecond = 1.0
    alone = 0  # how many calls are within `one_thread`


def _requested(variable: str, kind: Any, what: str, least: float, most: float) -> Any:
    text = os.environ.get(variable, "").strip()
    if not text:
        return None
    try:
        number = kind(text)
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise ValueError(f"{variable} is {text!r}; it takes {what}")
    return number, variable


def threads() -> tuple[int, str]:
    """Say how many threads a large call may use, and why.

    Raises
    ------
    ValueError
        If ``RECTIFIER_THREADS`` is no such number.
    """
    if _State.threads is None:
        requested = _requested("RECTIFIER_THREADS", int, THREADS_TAKES, 1, layout.MAX_THREADS)
        allowed = limits.processors()
        _State.threads = requested or (min(allowed.allowed, layout.MAX_THREADS), allowed.reason)
    number, reason = _State.threads
    if sys.platform != "linux":
        return 1, "no helper threads on this system"
    return number, reason


def set_threads(number: int) -> None:
    """Set how many threads a large call may use."""
    if not 1 <= number <= layout.MAX_THREADS:
        raise ValueError(f"threads is {number}; it takes {THREADS_TAKES}")
    _State.threads = number, "set in code"
    _write_threads()


def _threads_now() -> int:
    return 1 if _State.alone else threads()[0]


def _write_threads() -> None:
    if _State.words is not None:
        _State.words[layout.THREADS] = _threads_now()
        _set_streaming(_State.words)


@contextmanager
def one_thread() -> Iterator[None]:
    """Have large calls use one thread while the block runs, in all threads of the process."""
    with _counting:
        _State.alone += 1
    try:
        with _counting:
            _write_threads()
        yield
    finally:
        with _counting:
            _State.alone -= 1
            _write_threads()


def spin_microseconds() -> tuple[float, str]:
    """Say how long a helper waits at most before it sleeps, and why."""
    if _State.spin_microseconds is None:
        requested = _requested("RECTIFIER_SPIN_MICROSECONDS", float, SPIN_TAKES, 0, MOST_SPIN)
        _State.spin_microseconds = requested or (LONGEST_SPIN, UNTIL_MEASURED)
    microseconds, reason = _State.spin_microseconds
    measured = _State.words[layout.MEASURED] / _State.ticks_per_microsecond if _State.words is not None else 0
    if reason == UNTIL_MEASURED and 0 < measured < microseconds:
        return measured, "what waking a helper takes"
    return microseconds, reason


def _set_spin(engine: Any) -> None:
    """Write the setting: SPIN_SET for the measurement to keep to, SPIN for the helpers."""
    microseconds, reason = spin_microseconds()
    ticks = int(microseconds * _State.ticks_per_microsecond)
    engine[layout.SPIN_SET] = -1 if reason in (UNTIL_MEASURED, "what waking a helper takes") else ticks
    engine[layout.SPIN] = ticks


def set_spin_microseconds(microseconds: float) -> None:
    """Set how long a helper waits at most before it sleeps."""
    if not 0 <= microseconds <= MOST_SPIN:
        raise ValueError(f"spin_microseconds is {microseconds}; it takes {SPIN_TAKES}")
    _State.spin_microseconds = microseconds, "set in code"
    if _State.words is not None:
        _set_spin(_State.words)


def streaming() -> calibration.Streaming:
    """Return from how many bytes on results go past the caches, and why.

    Raises
    ------
    ValueError
        If ``RECTIFIER_STREAM_BYTES`` is no number of bytes.
    """
    if _State.stream_bytes is None:
        text = os.environ.get("RECTIFIER_STREAM_BYTES", "").strip()
        number = limits.bytes_of("RECTIFIER_STREAM_BYTES", text) if text else None
        _State.stream_bytes = number, "RECTIFIER_STREAM_BYTES" if text else "default"
    number, reason = _State.stream_bytes
    if number is None:
        return calibration.streaming(_threads_now())
    return calibration.Streaming(number, NEVER, NEVER, False, reason)


def stream_bytes() -> tuple[int | None, str]:
    """Return from how many bytes on results go past the caches if that is fixed, and why it is or is not."""
    learns = streaming().learns
    number, reason = _State.stream_bytes or (None, "default")
    return number, f"{reason}: learned from the calls" if learns else reason


def set_stream_bytes(number: int | None) -> None:
    """Set from how many bytes on results go past the caches; None has that learned."""
    if number is not None and number < 0:
        raise ValueError(f"stream_bytes is {number}; it takes a number of bytes, or None")
    _State.stream_bytes = number, "set in code"
    if _State.words is not None:
        _set_streaming(_State.words)


def expect_anew() -> None:
    """Begin with what the store, or a measurement, now says of this machine."""
    calibration.forget()
    if _State.words is not None:
        _set_streaming(_State.words)


def _set_streaming(engine: Any) -> None:
    chosen = streaming()
    engine[layout.STREAM_FROM] = min(chosen.from_bytes, NEVER)
    engine[layout.LEARN_FROM], engine[layout.LEARN_TO] = chosen.least, chosen.most


_making, _counting = _thread.RLock(), _thread.allocate_lock()


def _renew_lock() -> None:
    """Forget, in a forked child, what other threads of its parent were in the middle of."""
    global _making, _counting
    _making, _counting = _thread.RLock(), _thread.allocate_lock()
    _State.alone = 0
    _write_threads()
    if _State.words is not None:
        _set_spin(_State.words)


at_fork(after_in_child=_renew_lock)


def is_made() -> bool:
    """Check whether the engine's own code is there."""
    return _State.words is not None


def words() -> Any:
    """Give the engine's words, an array whose address stands in every plan."""
    if _State.words is None:
        with _making:
            if _State.words is None:
                _State.words = _make()
    return _State.words


def _make() -> Any:
    if obstacle():
        raise NotImplementedError(obstacle())
    capi.require()
    compiled = code()
    engine = (ctypes.c_int64 * layout.ENGINE_WORDS)()
    _immortal.append(engine)
    python = ctypes.pythonapi
    objects = {
        layout.ARRAY_TYPE: np.ndarray, layout.FLOAT_TYPE: float, layout.NONE: None,
        layout.NOT_IMPLEMENTED: NotImplemented, layout.UINT8: np.dtype(np.uint8),
    }  # fmt: skip
    functions = {
        layout.INCREF: python.Py_IncRef, layout.DECREF: python.Py_DecRef,
        layout.NEW_TUPLE: python.PyTuple_New, layout.SET_TUPLE_ITEM: python.PyTuple_SetItem,
        layout.SAVE_THREAD: python.PyEval_SaveThread, layout.RESTORE_THREAD: python.PyEval_RestoreThread,
    }  # fmt: skip
    _immortal.extend(objects.values())
    for word, thing in objects.items():
        engine[word] = id(thing)
    for word, function in functions.items():
        engine[word] = _address(function)
    engine[layout.NEW_ARRAY] = capi.new_from_descriptor()
    engine[layout.WALK], engine[layout.HELPER] = compiled["walk"], compiled["helper"]
    engine[layout.CONTROL] = _control()
    rate = _State.ticks_per_microsecond = _ticks_per_microsecond(compiled["clock"])
    for word, microseconds in (
        (layout.CHECK_EVERY, 1000), (layout.START_FROM, 200), (layout.WAKE_FROM, 200), (layout.PARALLEL_FROM, 1.5),
    ):  # fmt: skip
        engine[word] = int(rate * microseconds)
    _set_spin(engine)
    sizes = limits.caches()
    engine[layout.NEAR_CACHE] = sizes.get("L1d", 32 << 10)
    engine[layout.BYTE_COST] = cost(1e3 * _microseconds_a_byte())
    tuned = calibration.tuning()
    engine[layout.AHEAD] = calibration.FETCH if tuned is None else tuned["fetch"]
    if tuned is not None and tuned["threads"] == _threads_now():  # else this process compares when helpers start
        engine[layout.GAIN], engine[layout.TRIES] = tuned["gain"], 1 << 30
    _set_streaming(engine)
    handler = memory.handler()
    if handler is not None:
        pool = memory.functions()
        engine[layout.POOL], engine[layout.HANDLER] = memory.settings(), id(handler)
        engine[layout.POOL_ALLOCATE], engine[layout.POOL_FREE] = pool["malloc"], pool["free"]
    engine[layout.THREADS] = _threads_now()
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        for word, name in (
            (layout.THREAD_CREATE, "pthread_create"), (layout.THREAD_DETACH, "pthread_detach"),
            (layout.SIGNAL_MASK, "pthread_sigmask"), (layout.SYSTEM_CALL, "syscall"),
            (layout.GET_PROCESSOR, "sched_getcpu"),
        ):  # fmt: skip
            engine[word] = _address(getattr(libc, name))
    return engine


def ticks_per_microsecond() -> float:
    """Return the rate of the clock in which the engine's words count time."""
    return _State.ticks_per_microsecond


def measure(loop: int) -> int:
    """Give what the plan at an address shall have as COST."""
    ticks: int = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(code()["measure"])(loop)
    return ticks


def cost(nanoseconds: float) -> int:
    """Write a time as COST and BYTE_COST have it; the clock's rate has been measured."""
    return max(1, round(nanoseconds * 1e-3 * _State.ticks_per_microsecond * (1 << layout.FRACTION)))


class Casts:
    """The casts to one dtype, which must be native."""

    def __init__(self, target: np.dtype[Any]) -> None:
        self.target = target
        self.known: dict[str, np.dtype[Any] | None] = {}
        self.words = np.zeros(layout.CASTS_WORDS, np.int64)
        _immortal.append(self.words)

    def lacks(self, dtype: np.dtype[Any]) -> bool:
        """Say whether nobody has tried yet to make a cast from `dtype`."""
        return dtype != self.target and _key_of(dtype) not in self.known

    def add(self, dtype: np.dtype[Any]) -> None:
        """Make a cast from `dtype`, unless that was tried."""
        if self.lacks(dtype):
            try:
                self.known[_key_of(dtype)] = self._add(dtype)
            except (RuntimeError, OSError):  # a processor without the instructions
                self.known[_key_of(dtype)] = None

    def view(self, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
        """Give x with the dtype object that compiled code knows, if there is a cast for it, else None."""
        dtype = self.target if x.dtype == self.target else self.known[_key_of(x.dtype)]
        return None if dtype is None else x.view(dtype)

    def _add(self, dtype: np.dtype[Any]) -> np.dtype[Any] | None:
        from .compiler import casts

        swapped = not dtype.isnative
        number = int(self.words[0])
        if dtype.itemsize > self.target.itemsize or not casts.exists(dtype.name, self.target.name):
            return None
        if number == layout.MAX_CASTS:
            return None
        content = f"{dtype.name} {swapped} {self.target.name}".encode()
        code = store.machine_code("cast", content, lambda: casts.build(dtype.name, swapped, self.target.name))
        _immortal.append(dtype)
        row = 1 + (layout.CAST_NEXT - layout.CAST_DESCRIPTOR) * number
        self.words[row : row + 3] = id(dtype), code["cast"], dtype.itemsize
        self.words[0] = number + 1
        return dtype


def _key_of(dtype: np.dtype[Any]) -> str:
    return dtype.name + dtype.byteorder


_casts: dict[np.dtype[Any], Casts] = {}


def casts_to(target: np.dtype[Any]) -> Casts:
    """Give the casts to a dtype, the same to every thread: a compiled call keeps their address."""
    return _casts.get(target) or _casts.setdefault(target, Casts(target))


class Call:
    """The compiled call of a operation: a builtin function, over the dtypes whose loops are there.

    Attributes
    ----------
    function : builtin function
        Takes inputs, parameters and outputs (None for those to be made), and gives NotImplemented for what it does
        not take.
    """

    def __init__(self, name: str, count: int, first: int, last: int, mask: int, casts: Casts | None = None) -> None:
        self.words = np.zeros(layout.METHOD_WORDS, np.int64)
        address = casts.words.ctypes.data if casts else 0
        self.words[: layout.METHOD_TABLE] = (ctypes.addressof(words()), 0, count, first, last, mask, address)
        self.function, definition = capi.builtin_function(name, code()["call"], self.words)
        _immortal.append((definition, self.words, self.function))

    def add(self, dtype: np.dtype[Any], loop: int) -> None:
        """Take arrays of `dtype`, by the plan at an address."""
        row = self.words[layout.METHOD_ROWS]
        _immortal.append(dtype)
        self.words[layout.METHOD_TABLE + 2 * row :][:2] = id(dtype), loop
        self.words[layout.METHOD_ROWS] = row + 1


@cache
def _copy() -> Call:
    copy = Call("stream_copy", 2, 1, 1, -1)
    for dtype in map(np.dtype, "efd"):
        # No kernel, and a cost that lets helpers take part from where a kernel of few instructions does: as one that
        # moves 64 bytes a nanosecond.
        words_ = (ctypes.c_int64 * layout.PLAN_WORDS)(
            ctypes.addressof(words()),
            0,
            cost(dtype.itemsize / 64),
            2,
            1,
            1,
            -1,
            layout.TILE // dtype.itemsize,
            0,
            2 * dtype.itemsize,
            *[dtype.itemsize] * 2,
        )
        _immortal.append(words_)
        copy.add(dtype, ctypes.addressof(words_))
    return copy


def stream_copy(y: Any, x: Any) -> None:
    """Copy x to y past the caches, by the threads of a call: the limit of what a call can do on large arrays.

    Parameters
    ----------
    y, x : arrays of float16, float32 or float64
        Of one shape and dtype, contiguous, apart.
    """
    if not (x.flags.c_contiguous and y.flags.c_contiguous) or _copy().function(x, y) is NotImplemented:
        raise ValueError("stream_copy takes two contiguous arrays of one shape and dtype, apart in memory")
