"""User settings: values, environment variables, and where each current value comes from."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from . import options, process, store


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
        options.THREADS.set(number)

    @property
    def spin_microseconds(self) -> float:
        """How long a helper thread waits at most before it sleeps."""
        return process.spin_microseconds()[0]

    @spin_microseconds.setter
    def spin_microseconds(self, microseconds: float) -> None:
        options.SPIN_MICROSECONDS.set(microseconds)

    @property
    def pool_bytes(self) -> int:
        """How much memory is held for outputs."""
        return options.POOL_BYTES.in_force()[0]

    @pool_bytes.setter
    def pool_bytes(self, number: int) -> None:
        options.POOL_BYTES.set(number)

    @property
    def stream_bytes(self) -> int | None:
        """From how many bytes on a result is written past the caches."""
        return process.stream_bytes()[0]

    @stream_bytes.setter
    def stream_bytes(self, number: int | None) -> None:
        options.STREAM_BYTES.set(number)

    @property
    def store(self) -> str | None:
        """The directory in which machine code is kept."""
        return store.location()[0]

    @store.setter
    def store(self, directory: str | os.PathLike[str] | None) -> None:
        options.STORE.set(directory)

    def reasons(self) -> dict[str, Setting]:
        """Return each setting's value, and why it has it."""
        return {
            "threads": Setting(*process.threads()),
            "spin_microseconds": Setting(*process.spin_microseconds()),
            "pool_bytes": Setting(*options.POOL_BYTES.in_force()),
            "stream_bytes": Setting(*process.stream_bytes()),
            "store": Setting(*store.location()),
        }

    def __repr__(self) -> str:
        parts = ", ".join(f"{name}={setting.value!r}" for name, setting in self.reasons().items())
        return f"<Settings: {parts}>"


settings = Settings()
