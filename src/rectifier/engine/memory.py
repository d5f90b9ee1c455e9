"""The pool of outputs, as Python sees it: the words it shares with compiled code, and the handler that NumPy calls.

NumPy asks an allocation handler (NEP 49) for the memory of an array, and gives the memory back when the last view of it
has died. The functions of ours are compiled (`runtime.pool`) and work on two pages:

Settings, a page that a forked child keeps: the bound, addresses of the C library's functions, what is in use.
Pool, a page that a forked child finds zeroed: the lock, and the blocks that are held for reuse.

Nothing here is ever freed or taken apart: arrays die after modules do, in the finalisation of the interpreter.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from . import capi, forks, options, store
from .compiler.optimise import Optimised
from .compiler.target import EmissionError, Target
from .fingerprint import RUNTIME, code_of
from .runtime.pool_layout import HUGE_PAGE, LARGEST, Counters, Settings

# From here on the C library maps and unmaps, or trims its heap whenever several outputs die together: of six that were
# made, written and dropped in turn, each of 256 KiB cost 100 us instead of 3, each of 1 MiB 500 instead of 11.
DEFAULT_MINIMUM = 1 << 17


class _Pool(NamedTuple):
    """The pool, made at its first use; it stays to the end of the process."""

    settings: Settings
    handler: object
    trim: Callable[[int, int], int]
    snapshot: Callable[[int, Any], None]


class _State:
    pool: _Pool | None = None
    refused = False


_making = forks.Lock()


def handler() -> object | None:
    """Return the allocation handler, as the capsule that ``PyDataMem_SetHandler`` takes; it is the same at each call.

    Returns
    -------
    capsule or None
        None where the pool cannot be made, for want of the system's functions or of a compiler, or because NumPy has a
        layout that `abi` does not know: outputs then come from NumPy.

    Raises
    ------
    ValueError
        If ``RECTIFIER_POOL_BYTES`` is no number of bytes.
    """
    pool = _State.pool or _made()
    return pool.handler if pool else None


def functions() -> dict[str, int]:
    """Return the addresses of the pool's functions, by name."""
    return _code()


def settings() -> Settings:
    """Return the settings, at address 0 without a pool. Their bound is 0 while the pool is switched off."""
    pool = _State.pool or _made()
    return pool.settings if pool else Settings(0)


def _write_bound() -> None:
    """Apply another bound, and return what is above it to the system."""
    with _making:
        if _State.pool:
            nbytes, _ = options.POOL_BYTES.in_force()
            _State.pool.settings.bound = nbytes  # first: what is freed from now on keeps to it
            trim(nbytes)


options.POOL_BYTES.acts.append(_write_bound)


def trim(nbytes: int) -> int:
    """Return held blocks to the system, the oldest first, until at most `nbytes` are held; count the bytes."""
    pool = _State.pool
    return pool.trim(pool.settings, nbytes) if pool else 0


def snapshot() -> dict[str, int]:
    """Read the counters at one instant."""
    pool, counters = _State.pool, Counters.new()
    if pool:
        pool.snapshot(pool.settings, counters)
    return {name: getattr(counters, name) for name in Counters.fields}


def _made() -> _Pool | None:
    """Make the pool, once a process."""
    with _making:
        if _State.pool is None and not _State.refused:
            limit, _ = options.POOL_BYTES.in_force()  # may raise, before anything is made
            functions = _c_functions()
            code = None
            if functions is not None and not capi.different():
                with suppress(EmissionError, ImportError):  # the engine, which needs as much, says so
                    code = _code()
            if functions is None or code is None:
                _State.refused = True
            else:
                _State.pool = _assemble(functions, code, limit)
                # Held pages would be shared with the child, and copied when either writes to them: that costs more than
                # fresh ones. So a fork finds an empty pool.
                forks.at_fork(before=_empty)
        return _State.pool


def _empty() -> None:
    trim(0)


def _c_functions() -> dict[str, int] | None:
    """Find what the compiled code calls; None where the system lacks some of it."""
    names = ("malloc", "calloc", "free", "memcpy", "memset", "mmap", "munmap", "madvise", "sched_yield")
    if os.name != "posix" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    library = ctypes.CDLL(None)
    try:
        return {name: ctypes.cast(library[name], ctypes.c_void_p).value or 0 for name in names}
    except AttributeError:
        return None


def _assemble(functions: Mapping[str, int], code: Mapping[str, int], limit: int) -> _Pool:
    page = mmap.PAGESIZE
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    # The system's own function, since a `mmap.mmap` dies with the interpreter and unmaps its memory.
    kind = ctypes.CFUNCTYPE(
        ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_ssize_t, use_errno=True
    )
    pages = kind(functions["mmap"])(None, 2 * page, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
    if pages in (None, ctypes.c_void_p(-1).value):
        raise MemoryError("rectifier: no memory for the pool's own two pages")
    forks.wipe_on_fork(pages + page, page)
    advice = getattr(mmap, "MADV_HUGEPAGE", -1)
    own = Settings(pages)
    own.write(
        pool=pages + page, bound=limit, minimum=DEFAULT_MINIMUM, page=page,
        protection=mmap.PROT_READ | mmap.PROT_WRITE, flags=flags,
        huge_from=LARGEST if advice == -1 else HUGE_PAGE, huge_advice=advice, **functions,
    )  # fmt: skip
    structure = capi.Handler.from_address(pages + page // 2)
    structure.name, structure.version = b"rectifier", 1
    structure.allocator = capi.Allocator(pages, code["malloc"], code["calloc"], code["realloc"], code["free"])
    name = pages + page // 4
    ctypes.memmove(name, capi.HANDLER_NAME, len(capi.HANDLER_NAME) + 1)
    capsule = capi.capsule(ctypes.addressof(structure), name)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(capsule))
    integer = ctypes.c_int64
    return _Pool(
        own,
        capsule,
        ctypes.CFUNCTYPE(integer, integer, integer)(code["trim"]),
        ctypes.CFUNCTYPE(None, integer, ctypes.c_void_p)(code["snapshot"]),
    )


@cache
def _code() -> dict[str, int]:
    """Get the compiled functions, by name."""
    return store.load(pool_code())


def pool_code() -> store.Code:
    """Return what machine code the pool's functions are."""
    return store.Code("pool", RUNTIME, code_of(build), build, b"")


def build(target: Target | None = None) -> Optimised:
    """Compile the pool's functions."""
    from .compiler import subset
    from .runtime import pool

    functions: list[Any] = [pool.malloc, pool.calloc, pool.realloc, pool.free, pool.trim, pool.snapshot]
    return subset.optimised(functions, target)


def empty_like(x: np.ndarray[Any, Any], dtype: Any = None, shape: Any = None) -> np.ndarray[Any, Any]:
    """Make an array as `numpy.empty_like` does, from the pool."""
    ours = handler()
    if ours is None:
        return np.empty_like(x, dtype, shape=shape)
    before = capi.set_handler(ours)
    try:
        return np.empty_like(x, dtype, shape=shape)
    finally:
        capi.set_handler(before)
