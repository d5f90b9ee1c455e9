"""What a user may set, in code or by environment variables, and what is in force, with the reason."""

from __future__ import annotations

import operator
import os
from typing import Any, NamedTuple

import numpy as np

from ..functions.dtypes import floating, require_real
from ..functions.specification import Specification
from ..memory import set_bound
from . import memory, process, store, ufuncs


class Setting(NamedTuple):
    """One setting, as it is in force."""

    value: Any
    reason: str


class Settings:
    """How calls on the CPU are made; ``rectifier.settings`` is the only one.

    Each may be set at any time; an environment variable sets it from the start.

    Attributes
    ----------
    threads : int
        How many threads a large call may use, the calling one among them; 1 means that none is ever started.
        ``RECTIFIER_THREADS``; by default as many as this process has processors, by affinity and CPU quota.
    spin_microseconds : float
        How long a helper thread waits at most for the next call before it sleeps; shorter if calls come more seldom.
        ``RECTIFIER_SPIN_MICROSECONDS``; by default as long as waking it takes, by measurement, and at most 100.
    pool_bytes : int
        How much memory of outputs that are gone is held for the next ones; 0 switches the pool off.
        ``RECTIFIER_POOL_BYTES``, such as ``256MiB``; by default an eighth of the memory, at most 1 GiB.
    stream_bytes : int or None
        From how many bytes on a result is written past the caches; None has each function learn that from its calls.
        ``RECTIFIER_STREAM_BYTES``, such as ``32MiB``; by default None. No bit of a result depends on it.
    store : str or None
        The directory in which machine code is kept; None for none.
        ``RECTIFIER_STORE``, of which an empty one means none; by default ``rectifier`` in the user's cache directory.

    Examples
    --------
    >>> from rectifier import settings
    >>> before = settings.threads
    >>> settings.threads = 1
    >>> settings.threads
    1
    >>> settings.threads = before
    """

    __slots__ = ()

    @property
    def threads(self) -> int:
        """How many threads a large call may use."""
        return process.threads()[0]

    @threads.setter
    def threads(self, number: int) -> None:
        process.set_threads(_whole("threads", number))

    @property
    def spin_microseconds(self) -> float:
        """How long a helper thread waits at most before it sleeps."""
        return process.spin_microseconds()[0]

    @spin_microseconds.setter
    def spin_microseconds(self, microseconds: float) -> None:
        if isinstance(microseconds, str | bool):
            raise TypeError(f"spin_microseconds is {microseconds!r}; it takes a number")
        process.set_spin_microseconds(float(microseconds))

    @property
    def pool_bytes(self) -> int:
        """How much memory is held for outputs."""
        return memory.bound()

    @pool_bytes.setter
    def pool_bytes(self, number: int) -> None:
        set_bound(_whole("pool_bytes", number))

    @property
    def stream_bytes(self) -> int | None:
        """From how many bytes on a result is written past the caches."""
        return process.stream_bytes()[0]

    @stream_bytes.setter
    def stream_bytes(self, number: int | None) -> None:
        process.set_stream_bytes(None if number is None else _whole("stream_bytes", number))

    @property
    def store(self) -> str | None:
        """The directory in which machine code is kept."""
        return store.location()[0]

    @store.setter
    def store(self, directory: str | os.PathLike[str] | None) -> None:
        store.set_directory(directory)
        process.expect_anew()

    def reasons(self) -> dict[str, Setting]:
        """Give each setting's value, and why it has it."""
        return {
            "threads": Setting(*process.threads()),
            "spin_microseconds": Setting(*process.spin_microseconds()),
            "pool_bytes": Setting(memory.bound(), memory.reason()),
            "stream_bytes": Setting(*process.stream_bytes()),
            "store": Setting(*store.location()),
        }

    def __repr__(self) -> str:
        parts = ", ".join(f"{name}={setting.value!r}" for name, setting in self.reasons().items())
        return f"<Settings: {parts}>"


def _whole(name: str, number: Any) -> int:
    if isinstance(number, bool) or not hasattr(number, "__index__"):
        raise TypeError(f"{name} is {number!r}; it takes a whole number")
    return operator.index(number)


settings = Settings()


def warmup(*functions: Any, dtypes: Any = ("float32",)) -> int:
    """Load or compile all that calls of these functions need, so that none of them has to.

    With a store of machine code that has it, this takes a few milliseconds, else 0.1 to 0.2 s for each function,
    operation and dtype.

    Parameters
    ----------
    *functions : activation functions
        By default all: elementwise, of two arrays, and along an axis.
    dtypes : dtype-like or iterable of dtype-like
        Of the arrays.

    Returns
    -------
    int
        How many operations are ready, over all functions and dtypes.

    Raises
    ------
    TypeError
        If a function is none of this package's, or a dtype is none that it takes.

    Examples
    --------
    >>> from rectifier import relu, warmup
    >>> warmup(relu, dtypes=["float32", "float64"])
    12
    """
    from ..catalogue import ALL

    ready = 0
    names = (dtypes,) if isinstance(dtypes, str | type | np.dtype) else tuple(dtypes)
    for function in functions or ALL.values():
        spec = getattr(function, "block", None)
        if not isinstance(spec, Specification):
            raise TypeError(f"warmup: {function!r} is no activation function")
        for name in names:
            dtype = np.dtype(name)
            require_real(dtype, "an array", "warmup")
            ufuncs.register_bfloat16()
            dtype = dtype if dtype.name in spec.dtypes else floating(dtype)
            ready += sum(method.prepare(dtype) for method in function.methods.values())
    return ready
