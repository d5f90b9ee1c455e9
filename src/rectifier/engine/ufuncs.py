"""True NumPy ufuncs around the kernels, made by NumPy's own constructor.

It exists from import on and has a loop for every dtype, but its loops start as `_first_call`, a Python callback that
compiles the kernel and has NumPy put the compiled loop in its own place; where nothing can be compiled, the callback
stays and interprets. A operation with a mask has no ufunc, since a mask has no element of its own.

Beside it, `compiled` takes whole arrays of the dtypes whose kernels are there, and no Python runs inside a call of it.
"""

from __future__ import annotations

import _thread
import atexit
import ctypes
import os
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar

import numpy as np

from ..functions import dtypes
from ..functions.specification import Operation, Specification
from . import capi
from .compiler.target import EmissionError, obstacle
from .fork import at_fork
from .interpreter import LOOP, interpret
from .runtime import layout

ENGINES = ("numba", "numpy")

# The order decides which loop takes operands of two dtypes: the first that holds both. Two C types can be one dtype, as
# long and long long are on Linux.
_C_TYPES = [(np.dtype(char).name, np.dtype(char)) for char in "bBhHiIlLqQefd"]


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
    if name == "numba" and obstacle():
        name, reason = "numpy", obstacle()


def engine() -> tuple[str, str]:
    """Say which engine makes the loops, and why."""
    return _Engine.name, _Engine.reason


class Compilation:
    """What is compiled when it is first called: a operation of a function in one dtype."""

    def __init__(self, what: str, dtype: np.dtype[Any]) -> None:
        self.what, self.dtype = what, dtype
        self.compiled: Any = None  # False where this cannot be compiled

    def build(self, before_compiling: Callable[[], None]) -> Any:
        """Compile or load, and give the loop."""
        raise NotImplementedError

    def wants_compiling(self) -> bool:
        """Say whether nobody has tried yet."""
        return self.compiled is None and _Engine.name == "numba"

    def prepare(self) -> bool:
        """Compile, unless that was done or cannot be; say whether it is compiled."""
        if self.wants_compiling():
            with _compiling:
                if self.wants_compiling():
                    self.compile()
        return bool(self.compiled)

    def compile(self) -> None:
        """Compile in a thread that no interrupt strikes: in the middle of it, Numba would be left unusable.

        Whatever a signal handler raises meanwhile is raised when the kernel is compiled.
        """
        outcome: list[BaseException] = []

        def work() -> None:
            try:
                self.compiled = self.build(_Fork.register_late)
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
        """Go on with the NumPy reading, and say so: right, but slower."""
        self.compiled = False
        if isinstance(error, NotImplementedError):
            return
        what = f"{self.what} in {self.dtype}"
        if isinstance(error, ImportError):
            _Engine.name, _Engine.reason, what = "numpy", f"Numba cannot be imported: {error}", "every function"
        if (
            isinstance(error, EmissionError | capi.LayoutError) and not _engine_is_made()
        ):  # no other loop would fare better
            _Engine.name, _Engine.reason, what = "numpy", str(error), "every function"
        warnings.warn(
            f"rectifier computes {what} with NumPy, slower than compiled ({type(error).__name__}: {error}); "
            "RECTIFIER_ENGINE=numpy asks for that without this warning",
            RuntimeWarning,
            stacklevel=6,
        )


def _engine_is_made() -> bool:
    from . import process

    return process.is_made()


class _Loop(Compilation):
    """One operation of a block in one dtype, as a ufunc has it."""

    def __init__(self, block: Specification, operation: Operation, dtype: np.dtype[Any]) -> None:
        super().__init__(f"{block.name}.{operation.name}", dtype)
        self.block, self.operation = block, operation
        inputs, uniform, outputs = block.operands(operation)
        names = (*inputs, *uniform, *outputs)
        if len(names) > layout.MAX_OPERANDS:
            raise TypeError(
                f"{block.name}: {operation.name} has {len(names)} operands, more than {layout.MAX_OPERANDS}"
            )
        first, last = len(inputs), len(inputs) + len(uniform)
        mask = names.index("mask") if "mask" in names else -1
        sizes = [1 if name == "mask" else dtype.itemsize for name in names]
        tile = layout.TILE // max(sizes) // 64 * 64  # whole words of a mask
        floats = {"float16": layout.HALF, "bfloat16": layout.BFLOAT, "float32": layout.SINGLE, "float64": layout.DOUBLE}
        moved = sum(size for k, size in enumerate(sizes) if k != mask and not first <= k < last)
        self.plan = (ctypes.c_int64 * layout.PLAN_WORDS)(
            0, 0, 0, len(names), first, last, mask, tile, floats.get(dtype.name, 0), moved, *sizes
        )
        self.address = ctypes.addressof(self.plan)
        _loops[self.address] = self

    def types(self, number: int) -> list[int]:
        """Give NumPy's number of each operand's dtype, where `number` is that of this loop's."""
        return [number] * self.plan[layout.COUNT]

    def build(self, before_compiling: Callable[[], None]) -> Any:
        """Compile or load, and give the loop."""
        from . import process

        self.plan[layout.ENGINE] = ctypes.addressof(process.words())
        self.plan[layout.KERNEL] = process.kernel(self.block, self.operation, self.dtype.name, before_compiling)
        self.plan[layout.COST] = process.measure(self.address)
        return ctypes.cast(process.code()["loop"], LOOP)


_loops: dict[int, _Loop] = {}

_compiling = _thread.RLock()  # not from threading, which takes 1.3 ms to import and is needed at the first call


def one_at_a_time() -> _thread.RLock:
    """Give the lock under which functions are made and compiled; a fork waits for it."""
    return _compiling


class _Fork:
    """What becomes of a compilation when another thread forks.

    The fork waits, since Numba's own lock would never be released in the child.

    It does not wait for ever: other modules' locks may be held over the fork by then, as that of logging is, and the
    compilation may need those. Then the child is left without Numba.
    """

    held: ClassVar[list[bool]] = []
    late = False

    @classmethod
    def before(cls) -> None:
        cls.held.append(_compiling.acquire(timeout=10))

    @classmethod
    def in_parent(cls) -> None:
        if cls.held.pop():
            _compiling.release()

    @classmethod
    def in_child(cls) -> None:
        global _compiling
        if cls.held.pop():
            _compiling.release()
        else:
            _compiling = _thread.RLock()
            _Engine.name, _Engine.reason = "numpy", "forked while another thread compiled"

    @classmethod
    def register(cls) -> None:
        at_fork(before=cls.before, after_in_parent=cls.in_parent, after_in_child=cls.in_child)

    @classmethod
    def register_late(cls) -> None:
        """Let forks wait here before they take the locks of what Numba imports: what registers last is called first."""
        if not cls.late:
            import logging  # noqa: F401

            import numba  # noqa: F401

            cls.late = True
            cls.register()


_Fork.register()
# LLVM must not be taken apart, as it is at exit, under a daemon thread that compiles; none begins after this.
atexit.register(lambda: _compiling.acquire(timeout=10))


@LOOP  # type: ignore[untyped-decorator]
def _first_call(arrays: Any, dims: Any, steps: Any, data: int) -> None:
    """Be a loop until there is compiled code; no exception can leave it, so it is kept for `raising`."""
    loop = _loops[data]
    try:
        _owners[data].prepare(loop.dtype)
    except BaseException as error:
        _keep(error)
    try:
        if loop.compiled:
            loop.compiled(arrays, dims, steps, data)
        else:
            interpret(loop.block, loop.operation, loop.dtype, arrays, dims, steps)
    except BaseException as error:
        _keep(error)


_first_call_address: int = ctypes.cast(_first_call, ctypes.c_void_p).value or 0

_kept: dict[int, BaseException] = {}  # by thread
_raising: set[int] = set()


def _keep(error: BaseException) -> None:
    """Keep an exception for `raising`; in a call of a bare ufunc, which is not within that, raise it soon after."""
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


def takes_nothing(*operands: Any) -> Any:
    """Be `compiled` before anything is."""
    return NotImplemented


class Method:
    """One operation of a block, as NumPy and Python call it.

    Parameters
    ----------
    name : str
        The dotted name under which `ufunc` can be imported: pickle and Dask find it by that.
    dtypes : tuple of str
        Of the loops.
    publish : callable
        Called with `compiled`, when that is made.

    Attributes
    ----------
    ufunc : numpy.ufunc or None
        With a loop for every dtype; None for a operation with a mask.
    compiled : callable
        `process.Call`'s, over whole arrays; before there is one, a function that takes nothing.
    """

    def __init__(
        self,
        block: Specification,
        operation: Operation,
        name: str,
        dtypes: tuple[str, ...],
        publish: Callable[[Any], None],
    ) -> None:
        self.block, self.operation, self.name, self.publish = block, operation, name, publish
        self.loops: dict[str, _Loop] = {}
        self.numbers: dict[str, list[int]] = {}  # NumPy's, of the C types that are one dtype
        self.compiled: Any = takes_nothing
        self.casting: dict[str, Any] = {}
        kinds = [(name, dtype) for name, dtype in _C_TYPES if name in dtypes]
        for name, dtype in kinds:
            self._add(name, dtype)
            self.numbers.setdefault(name, []).append(dtype.num)
        self.ufunc: Any = None
        if not (operation.makes_mask or operation.reads_mask):
            self.ufunc = self._make_ufunc(kinds)
        _methods.setdefault(block.full_name, []).append(self)
        _awaiting_bfloat16.append(self)
        register_bfloat16()

    def _add(self, name: str, dtype: np.dtype[Any]) -> None:
        if name not in self.loops:
            loop = self.loops[name] = _Loop(self.block, self.operation, dtype)
            _owners[loop.address] = self

    def _make_ufunc(self, kinds: list[tuple[str, np.dtype[Any]]]) -> np.ufunc:
        loops = [self.loops[name] for name, _ in kinds]
        table = (ctypes.c_void_p * len(loops))(*[_first_call_address] * len(loops))
        plans = (ctypes.c_void_p * len(loops))(*[loop.address for loop in loops])
        numbers = [number for (_, dtype), loop in zip(kinds, loops, strict=True) for number in loop.types(dtype.num)]
        types = ctypes.create_string_buffer(bytes(numbers))
        before, uniform, after = self.block.operands(self.operation)
        inputs, outputs = len(before) + len(uniform), len(after)
        doc = f"The ufunc behind ``{self.block.name}``: {self.operation.name.replace('_', ' ')}."
        arguments: tuple[Any, ...] = (
            ctypes.addressof(table), ctypes.addressof(plans), types, len(loops), inputs, outputs, -1,
            self.name.encode(), doc.encode(), 0,
        )  # fmt: skip
        _immortal.append((table, plans, arguments))
        ufunc: np.ufunc = capi.from_func_and_data(*arguments)
        _refuse_bool(ufunc)
        capi.add_promoter(ufunc, (*[np.dtype] * ufunc.nin, *[None] * ufunc.nout), _promoter_of_any())
        if hasattr(ufunc, "__dict__"):  # from NumPy 2.4 on; before, pickle searches all modules for the name
            ufunc.__module__ = self.block.module
        return ufunc

    def prepare(self, dtype: np.dtype[Any]) -> bool:
        """Compile the loop of `dtype`, unless that was done or cannot be; say whether it is compiled."""
        loop = self.loops.get(dtype.name)
        if loop is None or not loop.wants_compiling():
            return bool(loop and loop.compiled)
        with _compiling:
            if loop.wants_compiling():
                try:
                    loop.compile()
                finally:
                    if loop.compiled:
                        self._install(loop)
        return bool(loop.compiled)

    def _install(self, loop: _Loop) -> None:
        """Put the compiled loop in the place of `_first_call`, and let `compiled` take its dtype."""
        from . import process

        if self.compiled is takes_nothing:
            count, first, last, mask = loop.plan[layout.COUNT : layout.MASK + 1]
            self._call = process.Call(self.operation.name, count, first, last, mask)
        for _, dtype in [kind for kind in _C_TYPES if kind[0] == loop.dtype.name] or [("", loop.dtype)]:
            self._call.add(dtype, loop.address)
        if self.compiled is takes_nothing:
            self.compiled = self._call.function
            self.publish(self.compiled)
        if self.ufunc is None:
            return
        address = ctypes.cast(loop.compiled, ctypes.c_void_p).value or 0
        for number in self.numbers.get(loop.dtype.name, []):
            _replace(self.ufunc, loop, number, address)
        if loop.dtype.name not in self.numbers:
            _register(self.ufunc, loop, address)

    def call_with_casts(self, dtype: np.dtype[Any], arrays: list[Any], others: tuple[Any, ...]) -> Any:
        """Call `compiled` on arrays of other dtypes and of the other byte order, which are cast to `dtype` in tiles."""
        loop = self.loops[dtype.name]
        if not loop.compiled or any(type(array) is not np.ndarray for array in arrays):
            return NotImplemented
        from . import process

        casts = process.casts_to(dtype)
        if dtype.name not in self.casting or any(casts.lacks(array.dtype) for array in arrays):
            with _compiling:
                for array in arrays:
                    casts.add(array.dtype)
                if dtype.name not in self.casting:
                    count, first, last, mask = loop.plan[layout.COUNT : layout.MASK + 1]
                    call = process.Call(self.operation.name, count, first, last, mask, casts)
                    call.add(dtype, loop.address)
                    self.casting[dtype.name] = call
        views = [casts.view(array) for array in arrays]
        if any(view is None for view in views):
            return NotImplemented
        return self.casting[dtype.name].function(*views, *others)

    def add_bfloat16(self, dtype: np.dtype[Any]) -> None:
        """Add the loop of a dtype that is not NumPy's own."""
        self._add("bfloat16", dtype)
        if self.ufunc is not None:
            _register(self.ufunc, self.loops["bfloat16"], _first_call_address)


_BOOL, _OBJECT = type(np.dtype(bool)), type(np.dtype(object))

# The loop for bool, where NumPy asks for no cast to be allowed, as in ``at`` and with ``casting="unsafe"``. Python code
# could not raise out of a loop, and results were there before the error was. This function is given a loop's context,
# whose first word is the ufunc, for the address of a string: since that is none, it raises SystemError and returns -1.
_bool_loop = ctypes.cast(ctypes.pythonapi.PyUnicode_Resize, ctypes.c_void_p).value


@cache
def _promoter_to_bool(inputs: int, outputs: int) -> Any:
    """Make the function that NumPy asks which loop takes a bool beside other dtypes: that for bool."""
    dtypes = [*[_BOOL] * inputs, *[_OBJECT] * outputs]

    @ctypes.PYFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 4)  # type: ignore[untyped-decorator]
    def promote(ufunc: int, given: int, signature: int, chosen: int) -> int:
        for k, dtype in enumerate(dtypes):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(dtype))
            ctypes.cast(chosen, ctypes.POINTER(ctypes.c_void_p))[k] = id(dtype)
        return 0

    return _promoter(promote)


def _promoter(promote: Any) -> Any:
    """Make the object that NumPy takes a promoter in."""
    name = ctypes.create_string_buffer(capi.PROMOTER_NAME)
    _immortal.append((promote, name))
    return capi.capsule(ctypes.cast(promote, ctypes.c_void_p).value or 0, ctypes.addressof(name))


@cache
def _promoter_of_any() -> Any:
    """Make the function that NumPy asks where a ufunc has no loop of just these dtypes: whether there is one now.

    It never chooses, so NumPy searches as if nobody had been asked. But NumPy remembers what it finds: a ufunc that met
    bfloat16 before it had the loop made float32 of it for good.
    """

    @ctypes.PYFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 4)  # type: ignore[untyped-decorator]
    def promote(ufunc: int, given: int, signature: int, chosen: int) -> int:
        try:
            register_bfloat16()
        except BaseException as error:
            _keep(error)
        return -1

    return _promoter(promote)


def _refuse_bool(ufunc: np.ufunc) -> None:
    """Let NumPy refuse bool, which it would else cast to int8: by a loop that only an unsafe cast may lead to.

    The loop is said to give objects, as NumPy calls that of bool on one number, and in a reduction, without a look at
    casting. An operand of another dtype beside a bool does not help.
    """
    dtypes = (ctypes.c_void_p * ufunc.nargs)(*[id(_BOOL)] * ufunc.nin, *[id(_OBJECT)] * ufunc.nout)
    slots = (capi.Slot * 2)(capi.Slot(capi.STRIDED_LOOP, _bool_loop), capi.Slot(0, None))
    specification = capi.MethodSpecification(
        b"bool", ufunc.nin, ufunc.nout, capi.UNSAFE_CASTING, capi.REQUIRES_PYAPI, ctypes.addressof(dtypes),
        ctypes.addressof(slots),
    )  # fmt: skip
    capi.add_loop_from_spec(ufunc, ctypes.addressof(specification))
    for k in range(ufunc.nin if ufunc.nin > 1 else 0):
        kinds = [_BOOL if k == other else np.dtype for other in range(ufunc.nin)]
        capi.add_promoter(ufunc, (*kinds, *[None] * ufunc.nout), _promoter_to_bool(ufunc.nin, ufunc.nout))


# NumPy 2.6 keeps the address of a loop where only its own functions write it; until then it looked into the table that
# the ufunc was made with. It asks that neither function below be called while the ufunc runs, since a loop and its data
# are two words. Ours may be called then, by `_first_call` from within the ufunc and while other threads are in it: the
# data, the address of the plan, stay what they were. One aligned word changes, between the addresses of two functions
# that compute the same from the same plan and are never freed, so it does not matter which one another thread reads.


def _replace(ufunc: np.ufunc, loop: _Loop, number: int, address: int) -> None:
    """Put another function in the place of a loop of one of NumPy's own dtypes."""
    types = loop.types(number)
    if capi.replace_loop_by_signature(ufunc, address, (ctypes.c_int * len(types))(*types), None):
        raise TypeError(f"NumPy does not know the {loop.dtype} loop of {ufunc.__name__}")


def _register(ufunc: np.ufunc, loop: _Loop, address: int) -> None:
    """Register a loop of a dtype that is not NumPy's own; doing it again replaces the address."""
    number = loop.dtype.num
    types = loop.types(number)
    if capi.register_loop_for_type(ufunc, number, address, (ctypes.c_int * len(types))(*types), loop.address):
        raise TypeError(f"NumPy refused a {loop.dtype} loop for {ufunc.__name__}")


# NumPy keeps pointers into these, and a ufunc may outlive this module at exit.
_owners: dict[int, Method] = {}
_immortal: list[Any] = []
for _thing in (_immortal, _loops, _owners, _first_call):
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(_thing))

_awaiting_bfloat16: list[Method] = []
_methods: dict[str, list[Method]] = {}


def methods(block: Specification) -> list[Method]:
    """List the operations of a block."""
    register_bfloat16()
    return [method for method in _methods[block.full_name] if method.block is block]


def register_bfloat16() -> None:
    """Give every ufunc its bfloat16 loop, once ml_dtypes has brought the dtype to NumPy."""
    dtype = dtypes.bfloat16() if _awaiting_bfloat16 else None
    if dtype is not None:
        with _compiling:
            while _awaiting_bfloat16:
                _awaiting_bfloat16[-1].add_bfloat16(dtype)
                _awaiting_bfloat16.pop()
