"""What a forked child finds: hooks where the system forks, and memory that is zero there."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable

_WIPE_ON_FORK = 18  # Linux 4.14; the mmap module does not name it


def at_fork(**hooks: Callable[[], object]) -> None:
    """Register hooks as `os.register_at_fork` does; where no process forks, as on Windows, none is ever called."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(**hooks)


def wipe_on_fork(address: int, length: int) -> None:
    """Have a forked child find zeros in whole pages: by the kernel, or, where that cannot do it, by a hook.

    The kernel does it at each fork, `os.fork` or not.
    """
    if sys.platform == "linux":
        madvise = ctypes.CDLL(None).madvise
        madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
        if madvise(address, length, _WIPE_ON_FORK) == 0:
            return
    at_fork(after_in_child=lambda: ctypes.memset(address, 0, length))
