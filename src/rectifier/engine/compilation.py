"""Compilation at the first call: one at a time, in a thread, with NumPy to go on with where it fails."""

from __future__ import annotations

import atexit
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from . import capi, choice, forks
from .compiler.target import EmissionError

# llvmlite's own lock would never be released in a forked child. A child that did not wait is left with NumPy.
_compiling = forks.Lock(10, lambda: choice.fall_back("forked while another thread compiled"))
# LLVM must not be taken apart, as it is at exit, under a daemon thread that compiles; none begins after this.
atexit.register(lambda: _compiling.acquire(timeout=10))


def one_at_a_time() -> forks.Lock:
    """Return the lock under which functions are made and compiled; a fork waits for it."""
    return _compiling


class Compilation:
    """An operation of a function in one dtype, compiled when it is first called."""

    def __init__(self, what: str, dtype: np.dtype[Any]) -> None:
        self.what, self.dtype = what, dtype
        self.compiled: Any = None  # False where this cannot be compiled

    def build(self) -> Any:
        """Compile or load, and return the loop."""
        raise NotImplementedError

    def wants_compiling(self) -> bool:
        """Return whether nobody has tried yet."""
        return self.compiled is None and choice.compiles()

    def prepare(self, install: Callable[[Any], None]) -> bool:
        """Compile and install, unless that was done or cannot be; return whether it is compiled."""
        if self.wants_compiling():
            with _compiling:
                if self.wants_compiling():
                    try:
                        self._compile()
                    finally:
                        if self.compiled:
                            install(self)
        return bool(self.compiled)

    def _compile(self) -> None:
        """Compile in a thread that no interrupt strikes: in the middle of it, llvmlite's lock could stay locked.

        Whatever a signal handler raises meanwhile is raised when the kernel is compiled.
        """
        outcome: list[BaseException] = []

        def work() -> None:
            try:
                self.compiled = self.build()
            except BaseException as error:
                outcome.append(error)

        import threading

        raised: BaseException | None = None
        try:
            thread = threading.Thread(target=work)
            thread.start()
        except RuntimeError:  # no thread to be had
            work()
        else:
            while thread.is_alive():
                try:
                    thread.join()
                except BaseException as error:
                    raised = error
        if outcome:
            self._give_up(outcome[0])
        if raised is not None:
            raise raised

    def _give_up(self, error: BaseException) -> None:
        """Go on with NumPy, and warn: its results are right, but slower."""
        self.compiled = False
        if isinstance(error, NotImplementedError):
            return
        from . import process

        reason = ""
        if isinstance(error, ImportError):
            reason = f"llvmlite cannot be imported: {error}"
        elif isinstance(error, EmissionError | capi.LayoutError) and not process.is_made():
            reason = str(error)  # no other loop would fare better
        if reason:
            choice.fall_back(reason)
        what = "every function" if reason else f"{self.what} in {self.dtype}"
        warnings.warn(
            f"rectifier computes {what} with NumPy, slower than compiled ({type(error).__name__}: {error}); "
            "RECTIFIER_ENGINE=numpy asks for that without this warning",
            RuntimeWarning,
            stacklevel=7,
        )
