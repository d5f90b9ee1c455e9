"""True NumPy ufuncs around the kernels, made by NumPy's own constructor.

It exists from import on and has a loop for every dtype, but its loops start as `_first_call`, a Python callback that
compiles the kernel and has NumPy put the compiled loop in its own place; where nothing can be compiled, the callback
stays and interprets. An operation with a mask has no ufunc, since a mask has no element of its own.

Beside it, `compiled` takes whole arrays of the dtypes whose kernels are there, and no Python runs inside a call of it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from ..functions import dtypes
from ..functions.specification import Operation, Specification
from . import capi
from .callbacks import keep
from .calls import Call, not_compiled
from .compilation import one_at_a_time
from .interpreter import LOOP, interpret
from .loops import Loop

# The order decides which loop takes operands of two dtypes: the first that holds both. Two C types can be one dtype, as
# long and long long are on Linux.
_C_TYPES = [(np.dtype(char).name, np.dtype(char)) for char in "bBhHiIlLqQefd"]


_loops: dict[int, Loop] = {}


@LOOP  # type: ignore[untyped-decorator]
def _first_call(arrays: Any, dims: Any, steps: Any, data: int) -> None:
    """Compute as a placeholder until the compiled loop is installed.

    A C callback cannot propagate an exception, so it is stored and raised by `raising`.
    """
    loop = _loops[data]
    try:
        _owners[data].prepare(loop.dtype)
    except BaseException as error:
        keep(error)
    try:
        if loop.compiled:
            loop.compiled(arrays, dims, steps, data)
        else:
            interpret(loop.spec, loop.operation, loop.dtype, arrays, dims, steps)
    except BaseException as error:
        keep(error)


_first_call_address: int = ctypes.cast(_first_call, ctypes.c_void_p).value or 0


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
        With a loop for every dtype; None for an operation with a mask.
    compiled : callable
        `Call`'s, over whole arrays; before there is one, a function that takes nothing.
    """

    entry = "call"
    kind = Loop

    def __init__(
        self,
        spec: Specification,
        operation: Operation,
        name: str,
        dtypes: tuple[str, ...],
        publish: Callable[[Any], None],
    ) -> None:
        self.spec, self.operation, self.name, self.publish = spec, operation, name, publish
        self.loops: dict[str, Loop] = {}
        self.numbers: dict[str, list[int]] = {}  # NumPy's, of the C types that are one dtype
        self.compiled: Any = not_compiled
        self.casting: dict[str, Any] = {}
        kinds = [(name, dtype) for name, dtype in _C_TYPES if name in dtypes]
        for name, dtype in kinds:
            self._add(name, dtype)
            self.numbers.setdefault(name, []).append(dtype.num)
        self.ufunc: Any = None
        if spec.has_ufuncs and not (operation.makes_mask or operation.reads_mask):
            self.ufunc = self._make_ufunc(kinds)
        _awaiting_bfloat16.append(self)
        register_bfloat16()

    def _add(self, name: str, dtype: np.dtype[Any]) -> None:
        if name not in self.loops:
            loop = self.loops[name] = self.kind(self.spec, self.operation, dtype)
            _loops[loop.plan] = loop
            _owners[loop.plan] = self

    def _make_ufunc(self, kinds: list[tuple[str, np.dtype[Any]]]) -> np.ufunc:
        loops = [self.loops[name] for name, _ in kinds]
        table = (ctypes.c_void_p * len(loops))(*[_first_call_address] * len(loops))
        plans = (ctypes.c_void_p * len(loops))(*[loop.plan for loop in loops])
        numbers = [number for (_, dtype), loop in zip(kinds, loops, strict=True) for number in loop.types(dtype.num)]
        types = ctypes.create_string_buffer(bytes(numbers))
        arrays, uniform, results = self.spec.operands(self.operation)
        inputs, outputs = len(arrays) + len(uniform), len(results)
        doc = f"The ufunc behind ``{self.spec.name}``: {self.operation.name.replace('_', ' ')}."
        arguments: tuple[Any, ...] = (
            ctypes.addressof(table), ctypes.addressof(plans), types, len(loops), inputs, outputs, -1,
            self.name.encode(), doc.encode(), 0,
        )  # fmt: skip
        _immortal.append((table, plans, arguments))
        ufunc: np.ufunc = capi.from_func_and_data(*arguments)
        _refuse_bool(ufunc)
        capi.add_promoter(ufunc, (*[np.dtype] * ufunc.nin, *[None] * ufunc.nout), _promoter_of_any())
        if hasattr(ufunc, "__dict__"):  # from NumPy 2.4 on; before, pickle searches all modules for the name
            ufunc.__module__ = self.spec.module
        return ufunc

    def prepare(self, dtype: np.dtype[Any]) -> bool:
        """Compile the loop of `dtype`, unless that was done or cannot be; say whether it is compiled."""
        loop = self.loops.get(dtype.name)
        return loop is not None and loop.prepare(self._install)

    def _install(self, loop: Loop) -> None:
        """Replace `_first_call` by the compiled loop, and add its dtype to those that `compiled` takes."""
        if self.compiled is not_compiled:
            plan = loop.plan
            self._call = Call(self.operation.name, plan.count, plan.first, plan.last, plan.mask, entry=self.entry)
        for _, dtype in [kind for kind in _C_TYPES if kind[0] == loop.dtype.name] or [("", loop.dtype)]:
            self._call.add(dtype, loop.plan)
        if self.compiled is not_compiled:
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
        from .casting import casts_to

        casts = casts_to(dtype)
        if dtype.name not in self.casting or any(casts.lacks(array.dtype) for array in arrays):
            with one_at_a_time():
                for array in arrays:
                    casts.add(array.dtype)
                if dtype.name not in self.casting:
                    plan = loop.plan
                    call = Call(self.operation.name, plan.count, plan.first, plan.last, plan.mask, casts.table)
                    call.add(dtype, loop.plan)
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
            keep(error)
        return -1

    return _promoter(promote)


def _refuse_bool(ufunc: np.ufunc) -> None:
    """Refuse bool, which NumPy it would else cast to int8: by a loop that only an unsafe cast may lead to.

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


def _replace(ufunc: np.ufunc, loop: Loop, number: int, address: int) -> None:
    """Replace a loop of one of NumPy's own dtypes."""
    types = loop.types(number)
    if capi.replace_loop_by_signature(ufunc, address, (ctypes.c_int * len(types))(*types), None):
        raise TypeError(f"NumPy does not know the {loop.dtype} loop of {ufunc.__name__}")


def _register(ufunc: np.ufunc, loop: Loop, address: int) -> None:
    """Register a loop of a dtype that is not NumPy's own; doing it again replaces the address."""
    number = loop.dtype.num
    types = loop.types(number)
    if capi.register_loop_for_type(ufunc, number, address, (ctypes.c_int * len(types))(*types), loop.plan):
        raise TypeError(f"NumPy refused a {loop.dtype} loop for {ufunc.__name__}")


# NumPy keeps pointers into these, and a ufunc may outlive this module at exit.
_owners: dict[int, Method] = {}
_immortal: list[Any] = []
for _thing in (_immortal, _loops, _owners, _first_call):
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(_thing))

_awaiting_bfloat16: list[Method] = []


def register_bfloat16() -> None:
    """Add a bfloat16 loop to every ufunc, once ml_dtypes has registered the dtype."""
    dtype = dtypes.bfloat16() if _awaiting_bfloat16 else None
    if dtype is not None:
        with one_at_a_time():
            while _awaiting_bfloat16:
                _awaiting_bfloat16[-1].add_bfloat16(dtype)
                _awaiting_bfloat16.pop()
