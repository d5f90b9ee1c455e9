"""Exceptions of functions that compiled code calls: none can leave those, so they are kept and raised later."""

from __future__ import annotations

import _thread
import ctypes

_kept: dict[int, BaseException] = {}  # by thread
_raising: set[int] = set()


def keep(error: BaseException) -> None:
    """Store an exception for `raising`. In a call of a bare ufunc, which is not within that, raise it soon after."""
    import threading

    thread = threading.get_ident()
    _kept.setdefault(thread, error)
    if thread not in _raising:
        threading.Timer(0.05, _raise_in, (thread,)).start()


def _raise_in(thread: int) -> None:
    import signal
    import threading

    error = _kept.pop(thread, None)
    if isinstance(error, KeyboardInterrupt) and thread == threading.main_thread().ident:
        if hasattr(signal, "pthread_kill"):
            signal.pthread_kill(thread, signal.SIGINT)  # wakes it, should it sleep
        else:  # Windows
            _thread.interrupt_main()
    elif error is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(type(error)))


class raising:  # noqa: N801
    """Raise, when the block of a ``with`` statement ends, what a callback of this thread could not."""

    def __enter__(self) -> None:
        thread = _thread.get_ident()
        self.within = thread in _raising  # the block of another
        _raising.add(thread)

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        thread = _thread.get_ident()
        if not self.within:
            _raising.discard(thread)
        kept = _kept.pop(thread, None)
        if kept is not None and kind is None:
            raise kept
