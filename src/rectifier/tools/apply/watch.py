"""A job in a thread of its own: meanwhile the main thread hears signals and looks at the memory.

A library may be in one call for a minute, with a chunk of a gigabyte, and Python's signal handlers run between calls,
in the main thread. A job that does not end by itself is left: the process becomes another program, which ends all its
threads at once and removes what they were making.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

T = TypeVar("T")

TICK = 0.02  # seconds between looks at the memory; zlib fills some 20 MB in that time
GRACE = 0.3  # seconds in which a job may end by itself
LIBRARIES = 1 << 28  # what HDF5, Zarr and a file's own lists may take before there is a plan, however small the memory
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_REMOVE = """
import os, shutil, signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
path, status, line = sys.argv[1:]
if os.path.isdir(path) and not os.path.islink(path):
    shutil.rmtree(path, ignore_errors=True)
elif os.path.lexists(path):
    os.unlink(path)
print(line, file=sys.stderr)
sys.exit(int(status))
"""


class StoppedError(Exception):
    """A signal came; nothing was left."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Watch:
    """The state that a job shares with the thread that watches it.

    Attributes
    ----------
    signals : list of int
        Those that came.
    unfinished : Path or None
        What is removed if the job is left now.
    whole : bool
        Whether the output has its name.
    planned : bool
        Whether the memory is shared out, so that what is more has no reason.
    held : Lock
        Held by the job while it is not to be left, since a file that it changes, or a name, would be left broken; and
        by the one who leaves it, so that it does not begin with such a thing meanwhile.
    """

    def __init__(self) -> None:
        self.signals: list[int] = []
        self.unfinished: Path | None = None
        self.whole = False
        self.planned = False
        self.held = threading.Lock()

    def look(self) -> None:
        """Raise StoppedError if a signal came."""
        if self.signals and not self.whole:
            raise StoppedError(self.signals[0])


def watched(work: Callable[[Watch], T], memory: int, command: str, left: Callable[[Watch], str]) -> T:
    """Do a job while signals are heard, and end it if it takes more memory than it should.

    Parameters
    ----------
    work : callable
        The job; it looks at its `Watch` now and then.
    memory : int
        Bytes that may be resident. An eighth more, or 64 MiB, is let pass: libraries allocate by the way.
    command : str
        What the line of an end begins with.
    left : callable
        Says in words what is left if the job ends now.

    Raises
    ------
    StoppedError
        If a signal came, and the job ended by itself.
    """
    watch = Watch()
    if threading.current_thread() is not threading.main_thread():
        return work(watch)
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work(watch))
        except BaseException as error:
            errors.append(error)

    known = os.path.exists("/proc/self/statm")
    most = memory + max(memory >> 3, 64 << 20)
    opening = max(most, resident() + LIBRARIES)
    until, said = 0.0, False
    thread = threading.Thread(target=run, name=command, daemon=True)
    with _noted(watch.signals):
        thread.start()
        while thread.is_alive():
            thread.join(TICK)
            if watch.signals:
                name = signal.Signals(watch.signals[0]).name
                until = until or monotonic() + GRACE
                if monotonic() < until:
                    continue
                _leave(watch, len(watch.signals) > 1, 128 + watch.signals[0], f"{command}: stopped by {name}", left)
                if not said and watch.unfinished is None:
                    print(
                        f"{command}: {name} came; it ends with this piece, and at once with another signal",
                        file=sys.stderr,
                    )
                    said = True
            elif known and (taken := resident()) > (most if watch.planned else opening):
                what = f"it takes more than --memory, {memory >> 20}MiB: a chunk may be larger than its file says"
                _leave(watch, taken > 2 * opening, 2, f"{command}: {what}", left)
    if errors:
        raise errors[0]
    return results[0]


def resident() -> int:
    """Return the bytes that this process has in memory."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # by getrusage(2) KiB in Linux, bytes in macOS
        return most if sys.platform == "darwin" else most * 1024


@contextmanager
def _noted(noted: list[int]) -> Iterator[None]:
    """Note the signals that end a process, those that are not ignored."""
    before: dict[int, Any] = {}
    for number in map(int, SIGNALS):
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, lambda n, _: noted.append(n))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(watch: Watch, urged: bool, status: int, line: str, left: Callable[[Watch], str]) -> None:
    """End the process and all its threads, remove what they were making, and say so; return if the job is held.

    A job in place is left all the same when it is urged, and one that gives a name never: that takes no time.
    """
    broken = not watch.held.acquire(blocking=False)
    if broken and (not urged or watch.unfinished is not None):
        return
    line = f"{line}; {left(watch)}{', and may be unreadable' if broken else ''}"
    with suppress(OSError, ValueError, AttributeError):
        if sys.stderr.isatty():
            os.write(sys.stderr.fileno(), b"\r\x1b[2K\x1b[?25h")  # a progress bar, which hides the cursor
    path = str(watch.unfinished or "")
    with suppress(OSError, ValueError, TypeError):  # an environment that is too long, no path of Python
        os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", _REMOVE, path, str(status), line])
    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            os.unlink(path)
    with suppress(OSError):
        os.write(2, f"{line}\n".encode(errors="surrogateescape"))
    os._exit(status)
