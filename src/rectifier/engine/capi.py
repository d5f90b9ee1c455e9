"""The binary interface of NumPy and of Python, as far as this package relies on it.

Compiled code reads shape, strides and dtype out of an array's own structure, makes arrays by a C function that has a
number and no name, and hands NumPy the pool's functions in a structure of its kind. All these numbers stand here. They
belong to a version of the interface, and extension modules have them built in; here they are compared with what the
process really has: the version when this module is imported, the layout of objects before anything relies on it
(`require`).
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
from numpy._core import _multiarray_umath, multiarray  # type: ignore[attr-defined]

from .runtime.layout import MAX_DIMENSIONS
from .runtime.structure import Structure, Words, words

# Python: an object's head is what comes before what its type adds; the pointer to the type ends it. A float adds its
# number.
HEAD = object.__basicsize__


class FloatObject(Structure):
    """PyFloatObject."""

    type: int = words(at=HEAD // 8 - 1)
    number: int


class ArrayObject(Structure):
    """PyArrayObject, up to what compiled code needs (numpy/ndarraytypes.h)."""

    type: int = words(at=HEAD // 8 - 1)
    data: int
    axes: int = words(bits=32)
    shape: Words
    strides: Words
    base: int
    descriptor: int
    flags: int = words(bits=32)
    weak_references: int
    buffer: int
    memory_handler: int


C_CONTIGUOUS, F_CONTIGUOUS, OWNDATA, ALIGNED, WRITEABLE = 0x1, 0x2, 0x4, 0x100, 0x400

# Entries of NumPy's two tables of C functions (numpy/__multiarray_api.h, numpy/__ufunc_api.h)
VERSION = 0x02000000  # NPY_VERSION, which decides what the entries are
GET_VERSION, ARRAY_TYPE, NEW_FROM_DESCRIPTOR, SET_HANDLER, GET_HANDLER = 0, 2, 94, 304, 305
UFUNC_TYPE, FROM_FUNC_AND_DATA, REGISTER_LOOP_FOR_TYPE, REPLACE_LOOP_BY_SIGNATURE = 0, 1, 2, 30
ADD_LOOP_FROM_SPEC, ADD_PROMOTER = 43, 44

HANDLER_NAME = b"mem_handler"  # of a capsule with a PyDataMem_Handler
PROMOTER_NAME = b"numpy._ufunc_promoter"
UNSAFE_CASTING, REQUIRES_PYAPI, STRIDED_LOOP = 4, 1, 5  # NPY_UNSAFE_CASTING and two NPY_METH_ (numpy/dtype_api.h)
METH_FASTCALL = 0x80


class Allocator(ctypes.Structure):
    """PyDataMemAllocator of ``numpy/ndarraytypes.h``."""

    _fields_ = (
        ("ctx", ctypes.c_void_p),
        ("malloc", ctypes.c_void_p),
        ("calloc", ctypes.c_void_p),
        ("realloc", ctypes.c_void_p),
        ("free", ctypes.c_void_p),
    )


class Handler(ctypes.Structure):
    """PyDataMem_Handler of ``numpy/ndarraytypes.h``, in its version 1."""

    _fields_ = (("name", ctypes.c_char * 127), ("version", ctypes.c_uint8), ("allocator", Allocator))


class Slot(ctypes.Structure):
    """PyType_Slot."""

    _fields_ = (("slot", ctypes.c_int), ("function", ctypes.c_void_p))


class MethodSpecification(ctypes.Structure):
    """PyArrayMethod_Spec of ``numpy/dtype_api.h``."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("inputs", ctypes.c_int),
        ("outputs", ctypes.c_int),
        ("casting", ctypes.c_int),
        ("flags", ctypes.c_int),
        ("dtypes", ctypes.c_void_p),
        ("slots", ctypes.c_void_p),
    )


class FunctionDefinition(ctypes.Structure):
    """PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


class LayoutError(Exception):
    """NumPy or Python lays out something in another way than this module says."""


_Address, _Object, _Int = ctypes.c_void_p, ctypes.py_object, ctypes.c_int
_get_pointer = ctypes.PYFUNCTYPE(_Address, _Object, ctypes.c_char_p)(("PyCapsule_GetPointer", ctypes.pythonapi))
_new_capsule = ctypes.PYFUNCTYPE(_Object, _Address, _Address, _Address)(("PyCapsule_New", ctypes.pythonapi))
_new_function = ctypes.PYFUNCTYPE(_Object, _Address, _Object, _Object)(("PyCFunction_NewEx", ctypes.pythonapi))


def _table(capsule: Any) -> Any:
    return ctypes.cast(_get_pointer(capsule, None), ctypes.POINTER(ctypes.c_void_p))


_array_table, _ufunc_table = _table(_multiarray_umath._ARRAY_API), _table(_multiarray_umath._UFUNC_API)

# A ufunc is made when this package is imported, so what another version has at these numbers must not be called at all.
if (
    _array_table[ARRAY_TYPE] != id(np.ndarray)
    or _ufunc_table[UFUNC_TYPE] != id(np.ufunc)
    or ctypes.PYFUNCTYPE(ctypes.c_uint)(_array_table[GET_VERSION])() != VERSION
):
    raise ImportError(
        f"rectifier knows version {VERSION:#x} of NumPy's binary interface, and NumPy {np.__version__} has another"
    )


def _ufunc_function(entry: int, result: Any, *arguments: Any) -> Any:
    return ctypes.PYFUNCTYPE(result, *arguments)(_ufunc_table[entry])


# Each holds Python's lock while it runs, and raises what it sets.
from_func_and_data = _ufunc_function(
    FROM_FUNC_AND_DATA, _Object, _Address, _Address, ctypes.c_char_p, *[_Int] * 4, *[ctypes.c_char_p] * 2, _Int
)
register_loop_for_type = _ufunc_function(REGISTER_LOOP_FOR_TYPE, _Int, _Object, _Int, *[_Address] * 3)
replace_loop_by_signature = _ufunc_function(REPLACE_LOOP_BY_SIGNATURE, _Int, _Object, *[_Address] * 3)
add_loop_from_spec = _ufunc_function(ADD_LOOP_FROM_SPEC, _Int, _Object, _Address)
add_promoter = _ufunc_function(ADD_PROMOTER, _Int, *[_Object] * 3)


def new_from_descriptor() -> int:
    """Return the address of PyArray_NewFromDescr."""
    address: int = _array_table[NEW_FROM_DESCRIPTOR]
    return address


def _new_array(dtype: np.dtype[Any], shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """Make an array as compiled code does."""
    kind = ctypes.PYFUNCTYPE(_Object, _Object, _Object, _Int, *[_Address] * 3, _Int, _Address)
    extents, steps = ((ctypes.c_int64 * len(numbers))(*numbers) for numbers in (shape, strides))
    ctypes.pythonapi.Py_IncRef(_Object(dtype))  # the constructor takes it over
    return kind(new_from_descriptor())(np.ndarray, dtype, len(shape), extents, steps, None, 0, None)


@cache
def _handler_function(entry: int, *arguments: Any) -> Any:
    return ctypes.PYFUNCTYPE(_Object, *arguments)(_array_table[entry])


def set_handler(capsule: object) -> object:
    """Set the handler that NumPy uses in this thread; return the one before."""
    return _handler_function(SET_HANDLER, _Object)(capsule)


def get_handler() -> object:
    """Return the handler from which NumPy's arrays come in this thread."""
    return _handler_function(GET_HANDLER)()


def capsule(address: int, name: int) -> object:
    """Make a capsule of an address, with the name at another; both must stay."""
    made: object = _new_capsule(address, name, None)
    return made


def builtin_function(name: str, address: int, owner: object) -> tuple[Any, object]:
    """Make a builtin function of compiled code, which is given `owner`; also give what must live as long."""
    definition = FunctionDefinition(name.encode(), address, METH_FASTCALL, None)
    return _new_function(ctypes.addressof(definition), owner, None), definition


def require() -> None:
    """Compare the layout of objects with what this module says of it, once a process.

    Raises
    ------
    LayoutError
        If something lies elsewhere, or is more than compiled code has room for.
    """
    if other := different():
        python = ".".join(map(str, sys.version_info[:3]))
        raise LayoutError(
            f"NumPy {np.__version__} on Python {python} has {other} in a way that rectifier does not know"
        )


@cache
def different() -> str:
    """Return the name of the first thing that is not as this module says; empty if there is none."""
    with _Reader() as read:
        try:
            return next(_differences(read), "")
        except Exception as error:  # NumPy lacks what this compares with
            return f"arrays ({type(error).__name__}: {error})"


class _Reader:
    """Reads memory that may not be there: the system says so, where a look at it would end the process."""

    def __enter__(self) -> Callable[[int, int], tuple[int, ...]]:
        self.source, self.sink = os.pipe()
        kind = ctypes.CFUNCTYPE(ctypes.c_ssize_t, _Int, _Address, ctypes.c_size_t)
        self.write = kind(("write", ctypes.CDLL(None)))
        return self.words

    def __exit__(self, *error: object) -> None:
        os.close(self.source)
        os.close(self.sink)

    def words(self, address: int, number: int) -> tuple[int, ...]:
        """Read 64-bit words; none unless all are there."""
        if self.write(self.sink, address, 8 * number) != 8 * number:
            return ()
        return struct.unpack(f"{number}q", os.read(self.source, 8 * number))


def _differences(words: Callable[[int, int], tuple[int, ...]]) -> Iterator[str]:
    """Return the name of what is not as it should be; nothing is relied on before it was compared."""

    def field(kind: type[Structure], thing: object, name: str) -> int:
        place = kind.fields[name]
        (number,) = words(id(thing) + 8 * place.word, 1)
        return number & 0xFFFFFFFF if place.bits == 32 else number

    x = np.zeros((2, 3, 5), np.int16)
    fixed = x[:, ::-2]
    fixed.flags.writeable = False
    misaligned = np.frombuffer(bytearray(7), np.int16, offset=1)
    if np.ndarray.__basicsize__ < 8 * ArrayObject.WORDS:
        yield "the fields of an array"
    for thing, kind in ((x, ArrayObject), (1.5, FloatObject)):
        if field(kind, thing, "type") != id(type(thing)):
            yield "the type of an object"
    if field(FloatObject, 1.5, "number") != struct.unpack("q", struct.pack("d", 1.5))[0]:
        yield "the number of a float"
    flags: dict[Any, int] = {
        "C_CONTIGUOUS": C_CONTIGUOUS, "F_CONTIGUOUS": F_CONTIGUOUS, "OWNDATA": OWNDATA, "ALIGNED": ALIGNED,
        "WRITEABLE": WRITEABLE,
    }  # fmt: skip
    for array in (x, x.T, fixed, misaligned):
        if field(ArrayObject, array, "data") != array.__array_interface__["data"][0]:
            yield "the data of an array"
        if field(ArrayObject, array, "axes") != array.ndim:
            yield "the number of dimensions of an array"
        if words(field(ArrayObject, array, "shape"), array.ndim) != array.shape:
            yield "the shape of an array"
        if words(field(ArrayObject, array, "strides"), array.ndim) != array.strides:
            yield "the strides of an array"
        if field(ArrayObject, array, "descriptor") != id(array.dtype):
            yield "the dtype of an array"
        set_bits = field(ArrayObject, array, "flags")
        if any(set_bits & bit != bit * array.flags[name] for name, bit in flags.items()):
            yield "the flags of an array"
    handler = get_handler()
    if field(ArrayObject, x, "memory_handler") != id(handler):
        yield "the allocation handler of an array"
    found = Handler.from_address(_get_pointer(handler, HANDLER_NAME))
    name, version = multiarray.get_handler_name(x), multiarray.get_handler_version(x)
    functions = [getattr(found.allocator, kind) for kind in ("malloc", "calloc", "realloc", "free")]
    if (found.name, found.version) != (str(name).encode(), version) or version != 1 or not all(functions):
        yield "allocation handlers"
    shape, strides = (2, 3), (2, 4)
    made = _new_array(np.dtype(np.int16), shape, strides)
    owns = made.flags.owndata and made.base is None and made.flags.writeable
    if (type(made), made.dtype, made.shape, made.strides, owns) != (np.ndarray, x.dtype, shape, strides, True):
        yield "the constructor of arrays"
    try:
        np.empty((1,) * (MAX_DIMENSIONS + 1))
        yield "more dimensions"
    except ValueError:
        pass
