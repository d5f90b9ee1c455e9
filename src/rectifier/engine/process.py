"""The engine of a process: compiled code, and one block of words with all that it reads.

Made at the first call, from the store of machine code where that has it.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import numpy as np

from . import calibration, capi, clock, forks, limits, memory, options, store
from .compiler.optimise import Optimised
from .compiler.target import Target, obstacle
from .fingerprint import RUNTIME, code_of
from .runtime import layout

NEVER = 1 << 62  # bytes that no result has
_immortal: list[Any] = []
ctypes.pythonapi.Py_IncRef(ctypes.py_object(_immortal))  # helpers run on while the interpreter ends


def build(entry: str = "call", target: Target | None = None) -> Optimised:
    """Compile the functions that kernels share; those of rows and of sums are objects of their own."""
    from .compiler import subset
    from .runtime import driver, reductions, rows, sums, threads
    from .runtime import entry as entries

    functions: dict[str, list[Callable[..., Any]]] = {
        "call": [driver.walk, driver.measure, threads.helper, threads.clock, entries.loop, entries.call],
        "call_rows": [rows.call_rows],
        "call_reduction": [reductions.call_reduction],
        "call_sums": [sums.call_sums],
    }
    return subset.optimised(functions[entry], target)


def code_of_entry(entry: str) -> store.Code:
    """Return what machine code the functions are that kernels share, for the layout of this Python's objects."""
    own = bytes([capi.HEAD])
    return store.Code(entry, RUNTIME, own + code_of(build), partial(build, entry), own)


@cache
def code(entry: str = "call") -> dict[str, int]:
    """Return the addresses of the compiled functions that kernels share, by what Python calls."""
    return store.load(code_of_entry(entry))


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _control() -> layout.Control:
    """Make the block in which threads meet: a forked child must find zeros there."""
    size = -(-8 * layout.Control.WORDS // mmap.PAGESIZE) * mmap.PAGESIZE
    block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    words = (ctypes.c_char * size).from_buffer(block)
    _immortal.append(words)
    address = ctypes.addressof(words)
    forks.wipe_on_fork(address, size)
    return layout.Control(address)


class _State:
    words: layout.Engine | None = None
    ticks_per_microsecond = 1.0
    alone = 0  # how many calls are within `one_thread`


_making = forks.Lock()


def threads() -> tuple[int, str]:
    """Return how many threads a large call may use, and why."""
    if sys.platform != "linux":
        return 1, "no helper threads on this system"
    return options.THREADS.in_force()


def _threads_now() -> int:
    return 1 if _State.alone else threads()[0]


def _write_threads() -> None:
    if _State.words is not None:
        _State.words.threads = _threads_now()
        _write_streaming(_State.words)


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit large calls to one thread while the block runs, in all threads of the process."""
    with _making:
        _State.alone += 1
    try:
        with _making:
            _write_threads()
        yield
    finally:
        with _making:
            _State.alone = max(_State.alone - 1, 0)  # a forked child begins with 0
            _write_threads()


def spin_microseconds() -> tuple[float, str]:
    """Return how long a helper waits at most before it sleeps, and why."""
    microseconds, reason = options.SPIN_MICROSECONDS.in_force()
    measured = _State.words.measured / _State.ticks_per_microsecond if _State.words is not None else 0
    if reason == options.UNTIL_MEASURED and 0 < measured < microseconds:
        return measured, "what waking a helper takes"
    return microseconds, reason


def _write_spin(engine: Any) -> None:
    """Write the setting: SPIN_SET for the measurement to keep to, SPIN for the helpers."""
    measures = options.SPIN_MICROSECONDS.in_force()[1] == options.UNTIL_MEASURED
    ticks = int(spin_microseconds()[0] * _State.ticks_per_microsecond)
    engine.spin_set = -1 if measures else ticks
    engine.spin = ticks


def streaming() -> calibration.Streaming:
    """Return from how many bytes on results go past the caches, and why."""
    number, reason = options.STREAM_BYTES.in_force()
    if number is None:
        return calibration.streaming(_threads_now())
    return calibration.Streaming(number, NEVER, NEVER, False, reason)


def stream_bytes() -> tuple[int | None, str]:
    """Return from how many bytes on results go past the caches if that is fixed, and why it is or is not."""
    number, reason = options.STREAM_BYTES.in_force()
    return number, f"{reason}: learned from the calls" if streaming().learns else reason


def _write_streaming(engine: Any) -> None:
    chosen = streaming()
    engine.stream_from = min(chosen.from_bytes, NEVER)
    engine.learn_from, engine.learn_to = chosen.least, chosen.most


def _where_made(write: Callable[[Any], None]) -> Callable[[], None]:
    """Make a function that writes to the engine's words, if there are any."""
    return lambda: None if _State.words is None else write(_State.words)


def expect_anew() -> None:
    """Begin with what the store, or a measurement, now says of this machine."""
    calibration.forget()
    _where_made(_write_streaming)()


options.THREADS.acts.append(_write_threads)
options.SPIN_MICROSECONDS.acts.append(_where_made(_write_spin))
options.STREAM_BYTES.acts.append(_where_made(_write_streaming))
options.STORE.acts.append(expect_anew)


def _forget_threads() -> None:
    """Forget, in a forked child, what other threads of its parent were in the middle of."""
    _State.alone = 0
    _write_threads()
    _where_made(_write_spin)()


forks.at_fork(after_in_child=_forget_threads)


def is_made() -> bool:
    """Return whether the engine's own code is there."""
    return _State.words is not None


def words() -> layout.Engine:
    """Return the engine's words, an array whose address stands in every loop descriptor."""
    if _State.words is None:
        with _making:
            if _State.words is None:
                _State.words = _make()
    return _State.words


def _make() -> layout.Engine:
    if obstacle():
        raise NotImplementedError(obstacle())
    capi.require()
    compiled = code()
    engine = layout.Engine.new()
    _immortal.append(engine)
    python = ctypes.pythonapi
    objects = {
        "array_type": np.ndarray, "float_type": float, "none": None,
        "not_implemented": NotImplemented, "uint8": np.dtype(np.uint8),
    }  # fmt: skip
    functions = {
        "incref": python.Py_IncRef, "decref": python.Py_DecRef,
        "new_tuple": python.PyTuple_New, "set_tuple_item": python.PyTuple_SetItem,
        "save_thread": python.PyEval_SaveThread, "restore_thread": python.PyEval_RestoreThread,
    }  # fmt: skip
    _immortal.extend(objects.values())
    for name, thing in objects.items():
        engine.write(**{name: id(thing)})
    for name, function in functions.items():
        engine.write(**{name: _address(function)})
    engine.new_array = capi.new_from_descriptor()
    engine.walk, engine.helper = compiled["walk"], compiled["helper"]
    engine.control = _control()
    rate = _State.ticks_per_microsecond = clock.ticks_per_microsecond(compiled["clock"])
    for name, microseconds in (
        ("check_every", 1000), ("start_from", 200), ("wake_from", 200), ("parallel_from", 1.5),
    ):  # fmt: skip
        engine.write(**{name: int(rate * microseconds)})
    _write_spin(engine)
    sizes = limits.caches()
    engine.near_cache = sizes.get("L1d", 32 << 10)
    engine.byte_cost = cost(1e3 * clock.microseconds_per_byte())
    tuned = calibration.tuning()
    engine.ahead = calibration.FETCH if tuned is None else tuned["fetch"]
    if tuned is not None and tuned["threads"] == _threads_now():  # else this process compares when helpers start
        engine.gain, engine.tries = tuned["gain"], 1 << 30
    _write_streaming(engine)
    handler = memory.handler()
    if handler is not None:
        pool = memory.functions()
        engine.pool, engine.handler = memory.settings(), id(handler)
        engine.pool_allocate, engine.pool_free = pool["malloc"], pool["free"]
    engine.threads = _threads_now()
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        for field, name in (
            ("thread_create", "pthread_create"), ("thread_detach", "pthread_detach"),
            ("signal_mask", "pthread_sigmask"), ("system_call", "syscall"),
            ("get_processor", "sched_getcpu"),
        ):  # fmt: skip
            engine.write(**{field: _address(getattr(libc, name))})
    return engine


def ticks_per_microsecond() -> float:
    """Return the rate of the clock in which the engine's words count time."""
    return _State.ticks_per_microsecond


def measure(loop: int) -> int:
    """Return the COST of the loop descriptor at an address."""
    ticks: int = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(code()["measure"])(loop)
    return ticks


def cost(nanoseconds: float) -> int:
    """Write a time as COST and BYTE_COST have it; the clock's rate has been measured."""
    return max(1, round(nanoseconds * 1e-3 * _State.ticks_per_microsecond * (1 << layout.FRACTION)))
