"""The table of options: the environment variable of each, what it takes, and what holds by default.

What was set in code holds, else what the environment says, else the default.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from . import limits
from .compiler.levels import LEVELS
from .runtime.layout import MAX_THREADS
from .runtime.pool_layout import LARGEST

T = TypeVar("T")

LONGEST_SPIN, MOST_SPIN = 100.0, 1e6  # microseconds: by default, and at all
UNTIL_MEASURED = "default, until a helper has been woken"
LARGEST_POOL = 1 << 30  # two results of 1e8 float32; more helps only who alternates between larger ones
SHARE_OF_POOL = 8  # leaves the rest to arrays that are in use; who has little memory gets a small pool
IN_CODE = "set in code"


class Option(Generic[T]):
    """One option.

    Parameters
    ----------
    name : str
        As of an attribute of ``rectifier.settings``; the variable is ``RECTIFIER_`` and this in capitals.
    takes : str
        What it takes, for errors.
    read : callable
        Makes a value of the variable's text; raises ValueError where that is none.
    check : callable
        Makes a value of what is set in code; raises TypeError where that is none.
    accepts : callable
        Tells whether a value is in range.
    default : callable
        Returns a value, and why that.
    """

    def __init__(
        self,
        name: str,
        takes: str,
        read: Callable[[str], T],
        check: Callable[[str, Any], T],
        accepts: Callable[[T], bool],
        default: Callable[[], tuple[T, str]],
    ) -> None:
        self.name, self.variable, self.takes = name, f"RECTIFIER_{name.upper()}", takes
        self.read, self.check, self.accepts, self.default = read, check, accepts, default
        self.known: tuple[T, str] | None = None
        self.acts: list[Callable[[], object]] = []  # called when another value is set in code

    def in_force(self) -> tuple[T, str]:
        """Return the value, and why it holds: the environment counts as it is when it is first asked.

        Raises
        ------
        ValueError
            If the variable has a text that is no value.
        """
        if self.known is None:
            self.known = self.requested() or self.default()
        return self.known

    def requested(self) -> tuple[T, str] | None:
        """Return what the environment asks for."""
        text = os.environ.get(self.variable, "")
        if not text.strip():
            return None
        try:
            value = self.read(text)
            if self.accepts(value):
                return value, self.variable
        except ValueError:
            pass
        raise ValueError(f"{self.variable} is {text!r}; it takes {self.takes}")

    def set(self, value: Any) -> None:
        """Set the value in code.

        Raises
        ------
        TypeError, ValueError
            If it is none that the option takes.
        """
        checked = self.check(self.name, value)
        if not self.accepts(checked):
            raise ValueError(f"{self.name} is {value}; it takes {self.takes}")
        self.known = checked, IN_CODE
        for act in self.acts:
            act()


class _Directory(Option[str | None]):
    """A directory, or none. The environment counts as it is at each look."""

    def in_force(self) -> tuple[str | None, str]:
        return self.known or self.requested() or self.default()

    def requested(self) -> tuple[str | None, str] | None:
        text = os.environ.get(self.variable)
        if text is None:
            return None
        if text.lower() in ("", "off"):
            return None, f"switched off by {self.variable}"
        try:
            return self.read(text), self.variable
        except OSError as error:  # the working directory is gone
            return None, f"{self.variable}: {error.strerror or error}"


def _number_of(name: str, value: Any) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} is {value!r}; it takes a whole number")
    return operator.index(value)


def _float(name: str, value: Any) -> float:
    if isinstance(value, str | bool):
        raise TypeError(f"{name} is {value!r}; it takes a number")
    return float(value)


def _bytes(text: str) -> int:
    return limits.bytes_of("", text)


def _processors() -> tuple[int, str]:
    allowed = limits.processors()
    return min(allowed.allowed, MAX_THREADS), allowed.reason


def _pool() -> tuple[int, str]:
    size = min([LARGEST_POOL, *(limit // SHARE_OF_POOL for limit in limits.memory())])
    return size, "the largest default" if size == LARGEST_POOL else "an eighth of the memory"


def _path(text: str) -> str:
    return os.path.abspath(os.path.expanduser(text))


def _cache_directory() -> tuple[str | None, str]:
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(cache):
        return os.path.join(cache, "rectifier"), "XDG_CACHE_HOME"
    home = os.path.expanduser("~")
    if not os.path.isabs(home):
        return None, "there is no home directory"
    return os.path.join(home, ".cache", "rectifier"), "default"


ENGINES = ("llvm", "numpy")
NATIVE = "native"
BYTES = "a number of bytes such as 268435456, 256MiB or 0"

ENGINE = Option(
    "engine",
    " or ".join(ENGINES),
    str,
    lambda _, value: str(value),
    ENGINES.__contains__,
    lambda: (ENGINES[0], "default"),
)
CPU = Option(
    "cpu",
    f"{NATIVE}, or a level: {', '.join(level for levels in LEVELS.values() for level in levels)}",
    str,
    lambda _, value: str(value),
    lambda level: level == NATIVE or any(level in levels for levels in LEVELS.values()),
    lambda: (NATIVE, "default"),
)
THREADS = Option(
    "threads",
    f"a whole number from 1 to {MAX_THREADS}",
    int,
    _number_of,
    range(1, MAX_THREADS + 1).__contains__,
    _processors,
)
SPIN_MICROSECONDS = Option(
    "spin_microseconds",
    "a number from 0 to a million",
    float,
    _float,
    lambda us: 0 <= us <= MOST_SPIN,
    lambda: (LONGEST_SPIN, UNTIL_MEASURED),
)
POOL_BYTES = Option(
    "pool_bytes",
    BYTES,
    lambda text: min(_bytes(text), LARGEST),
    lambda name, value: min(_number_of(name, value), LARGEST),
    lambda size: size >= 0,
    _pool,
)
STREAM_BYTES: Option[int | None] = Option(
    "stream_bytes",
    BYTES,
    _bytes,
    lambda name, value: None if value is None else _number_of(name, value),
    lambda size: size is None or size >= 0,
    lambda: (None, "default"),
)
STORE = _Directory(
    "store",
    "a path, or None",
    _path,
    lambda _, path: _path(os.fsdecode(path)) if path else None,
    lambda path: True,
    _cache_directory,
)
