"""True NumPy ufuncs around the kernels, made by NumPy's own constructors.

A ufunc exists from import on; machine code comes with the first call of each of its loops. Until then
the loop is `_first_call`, a Python callback, which compiles the kernel and writes the address of the
compiled loop where NumPy reads it at each call. Where nothing can be compiled it stays, and interprets.

This module holds every use of what NumPy and Numba do not document: the numbers of three entries in
NumPy's table of C functions, and that a ufunc reads its table of loops at each call (NumPy 2.0 to 2.5).
"""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy._core import _multiarray_umath  # type: ignore[attr-defined]

from .. import _dtypes
from .._block import Block, Direction
from . import plan
from .interpreter import LOOP, interpret

ENGINES = ("numba", "numpy")


def _api(entry: int, result: Any, *arguments: Any) -> Any:
    """Take a function from NumPy's table; `__ufunc_api.h` numbers the entries, which is part of its ABI."""
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = ctypes.cast(pointer(_multiarray_umath._UFUNC_API, None), ctypes.POINTER(ctypes.c_void_p))
    return ctypes.PYFUNCTYPE(result, *arguments)(table[entry])


_TABLES = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p, *[ctypes.c_int] * 4, ctypes.c_char_p, ctypes.c_char_p)
_from_func_and_data = _api(1, ctypes.py_object, *_TABLES, ctypes.c_int)
_register_loop_for_type = _api(
    2, ctypes.c_int, ctypes.py_object, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p
)
_from_func_and_data_and_signature = _api(31, ctypes.py_object, *_TABLES, ctypes.c_int, ctypes.c_char_p)


def requested_engine() -> str:
    """Read which engine the environment asks for.

    Raises
    ------
    ValueError
        If ``RECTIFIER_ENGINE`` names none.
    """
    engine = os.environ.get("RECTIFIER_ENGINE") or "numba"
    if engine not in ENGINES:
        raise ValueError(f"RECTIFIER_ENGINE is {engine!r}; it takes {' or '.join(ENGINES)}")
    return engine


class _Engine:
    """Which engine makes the loops, and why."""

    name = requested_engine()
    reason = f"RECTIFIER_ENGINE={name}" if os.environ.get("RECTIFIER_ENGINE") else "default"


def engine() -> tuple[str, str]:
    """Say which engine makes the loops, and why."""
    return _Engine.name, _Engine.reason


class _Loop:
    """One loop of one ufunc: a direction of a block in one dtype."""

    def __init__(self, block: Block, direction: Direction, dtype: np.dtype[Any]) -> None:
        self.block, self.direction, self.dtype = block, direction, dtype
        names = (*direction.inputs, *block.parameters, *direction.outputs)
        if len(names) > plan.MAX_OPERANDS:
            raise TypeError(f"{block.name}: {direction.name} has {len(names)} operands, more than {plan.MAX_OPERANDS}")
        first, last = len(direction.inputs), len(direction.inputs) + len(block.parameters)
        dtypes = [np.dtype(np.uint8) if name == "mask" else dtype for name in names]
        self.types = [dtype.num for dtype in dtypes]
        mask = names.index("mask") if "mask" in names else -1
        sizes = [dtype.itemsize for dtype in dtypes]
        words = [0, len(names), first, last, mask, *sizes]
        self.plan = (ctypes.c_int64 * len(words))(*words)
        self.address = ctypes.addressof(self.plan)
        self.install: Callable[[int], None]
        self.compiled: Any = None  # False where this loop cannot be compiled
        _loops[self.address] = self

    def compile(self) -> None:
        """Compile the kernel, and put the compiled loop in the place of `_first_call`."""
        from . import driver, kernels

        loop = driver.elementwise_loop() if self.plan[plan.MASK] < 0 else driver.mask_loop()
        self.kernel = kernels.compile_kernel(self.block, self.direction, self.dtype.name)
        self.plan[plan.KERNEL] = self.kernel.address
        self.compiled = ctypes.cast(loop.address, LOOP)
        self.install(loop.address)

    def give_up(self, error: BaseException) -> None:
        """Go on with the NumPy reading, and say so: right, but slower."""
        self.compiled = False
        if isinstance(error, NotImplementedError):
            return
        what = f"{self.block.name}.{self.direction.name} in {self.dtype}"
        if isinstance(error, ImportError):
            _Engine.name, _Engine.reason, what = "numpy", f"Numba cannot be imported: {error}", "every function"
        warnings.warn(
            f"rectifier computes {what} with NumPy, slower than compiled ({type(error).__name__}: {error}); "
            "RECTIFIER_ENGINE=numpy asks for that without this warning",
            RuntimeWarning,
            stacklevel=2,
        )

    def run(self, arrays: Any, dims: Any, steps: Any) -> None:
        """Do the work of a call, compiled if that can be."""
        failure = None
        if _Engine.name == "numba" and self.compiled is None:
            try:
                self.compile()
            except Exception as error:
                failure = error
        if self.compiled:
            self.compiled(arrays, dims, steps, self.address)
        else:
            interpret(self.block, self.direction, self.dtype, arrays, dims, steps)
        if failure is not None:
            self.give_up(failure)


_loops: dict[int, _Loop] = {}


@LOOP  # type: ignore[untyped-decorator]
def _first_call(arrays: Any, dims: Any, steps: Any, data: int) -> None:
    """Be the loop until there is compiled code.

    No exception can leave a C callback, and an interrupt in the middle of a compilation leaves Numba unusable. Python
    raises interrupts in the main thread, so there the work is done in another.
    """
    work = functools.partial(_loops[data].run, arrays, dims, steps)
    if threading.current_thread() is threading.main_thread():
        _do_uninterrupted(work)
    else:
        work()


def _do_uninterrupted(work: Callable[[], None]) -> None:
    """Do `work` once, in another thread; an interrupt meanwhile is raised once NumPy has returned."""
    claim, done, interrupted = threading.Lock(), threading.Event(), False

    def run() -> None:
        if claim.acquire(blocking=False):
            try:
                work()
            finally:
                done.set()

    while not done.is_set():
        try:
            threading.Thread(target=run).start()
            done.wait()
        except KeyboardInterrupt:
            interrupted = True
        except RuntimeError:  # no thread to be had
            run()
    if interrupted:
        # A signal, not a call of interrupt_main: that would not wake a thread that sleeps.
        threading.Timer(0.05, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)).start()


_first_call_address: int = ctypes.cast(_first_call, ctypes.c_void_p).value or 0


def publish_ufunc(
    block: Block, direction: Direction, name: str, dtypes: tuple[str, ...], publish: Callable[[np.ufunc], None]
) -> None:
    """Make the ufunc of one direction, with a loop for each of `dtypes`, and hand it to `publish`.

    It is handed over a second time if bfloat16 comes later: a ufunc remembers how it resolved a dtype
    before it had a loop for it, and would go on making float32 of bfloat16.

    Parameters
    ----------
    name : str
        The dotted name under which the ufunc can be imported: pickle and Dask find it by that.
    """
    inputs, outputs = len(direction.inputs) + len(block.parameters), len(direction.outputs)
    loops = [_Loop(block, direction, np.dtype(char)) for char in _chars(dtypes, inputs)]
    table = (ctypes.c_void_p * len(loops))(*[_first_call_address] * len(loops))
    for row, loop in enumerate(loops):
        loop.install = functools.partial(table.__setitem__, row)
    plans = (ctypes.c_void_p * len(loops))(*[loop.address for loop in loops])
    types = ctypes.create_string_buffer(bytes(number for loop in loops for number in loop.types))
    doc = f"The ufunc behind ``{block.name}``: {direction.name.replace('_', ' ')}."
    arguments: tuple[Any, ...] = (
        ctypes.addressof(table), ctypes.addressof(plans), types, len(loops), inputs, outputs, -1,
        name.encode(), doc.encode(), 0,
    )  # fmt: skip
    constructor = _from_func_and_data
    if "mask" in (*direction.inputs, *direction.outputs):
        constructor, arguments = _from_func_and_data_and_signature, (*arguments, _signature(block, direction))
    _immortal.append((table, plans, arguments))
    _awaiting_bfloat16.append((functools.partial(constructor, *arguments), block, direction, publish))
    if _dtypes.bfloat16() is None:
        publish(constructor(*arguments))
    register_bfloat16()


def _signature(block: Block, direction: Direction) -> bytes:
    """Give each operand one core dimension: n elements, m bytes of bits, or 1 or n of a parameter."""
    dimensions = [
        ["(m)" if name == "mask" else "(n)" for name in side] for side in (direction.inputs, direction.outputs)
    ]
    dimensions[0] += [f"(p{k})" for k in range(len(block.parameters))]
    return "->".join(map(",".join, dimensions)).encode()


# NumPy keeps pointers into these, and a ufunc may outlive this module at exit.
_immortal: list[Any] = []
for _kept in (_immortal, _loops, _first_call):
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(_kept))

_awaiting_bfloat16: list[tuple[Callable[[], np.ufunc], Block, Direction, Callable[[np.ufunc], None]]] = []
_lock = threading.Lock()


def register_bfloat16() -> None:
    """Give every ufunc its bfloat16 loop, once ml_dtypes has brought the dtype to NumPy."""
    dtype = _dtypes.bfloat16()
    with _lock:
        while dtype is not None and _awaiting_bfloat16:
            make, block, direction, publish = _awaiting_bfloat16.pop()
            ufunc, loop = make(), _Loop(block, direction, dtype)
            loop.install = functools.partial(_register, ufunc, loop)
            loop.install(_first_call_address)
            publish(ufunc)


def _register(ufunc: np.ufunc, loop: _Loop, address: int) -> None:
    """Register a loop of a dtype that is not NumPy's own; doing it again replaces the address."""
    types = (ctypes.c_int * len(loop.types))(*loop.types)
    if _register_loop_for_type(ufunc, loop.dtype.num, address, types, loop.address) < 0:
        raise TypeError(f"NumPy refused a {loop.dtype} loop for {ufunc.__name__}")


def _chars(dtypes: tuple[str, ...], operands: int) -> str:
    """List the C types behind `dtypes`; two of them can be one dtype, as long and long long are on Linux.

    The order decides which loop takes operands of two dtypes: the first that holds both. With one operand it decides
    nothing, and float32 stands first, because NumPy searches from the front at each call: 15 ns of 350.
    """
    order = "fdebBhHiIlLqQ" if operands == 1 and "int8" in dtypes else "bBhHiIlLqQefd"
    return "".join(char for char in order if np.dtype(char).name in dtypes)
