"""The one table of dtypes: what comes in, what it is computed in, what is refused and why."""

from __future__ import annotations

import math
import sys
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np


class Format(NamedTuple):
    """A dtype: how its elements lie in memory, and what they are computed in.

    Attributes
    ----------
    name : str
    bits : int
    exponent : int
        How many of the bits are the exponent; 0 for integers.
    working : type
        What formulas are computed in. Results are rounded once, back to the dtype that came in.
    cpp : str
        The type of an element in CUDA C++. Floats of 16 bits are seen as integers, which every CuPy has.
    code : int
        What a Python float becomes as a parameter of compiled code, by its number there. Integers take none.
    """

    name: str
    bits: int
    exponent: int
    working: type[np.generic]
    cpp: str
    code: int = 0

    @property
    def significand(self) -> int:
        """How many bits the significand of a float has, with the first, which is not stored."""
        return self.bits - self.exponent

    @property
    def smallest(self) -> int:
        """The exponent of the smallest subnormal number."""
        return 3 - (1 << (self.exponent - 1)) - self.significand


# The order is the order in which a ufunc looks for the first loop that holds its inputs safely.
FORMATS = {
    row.name: row
    for row in (
        Format("int8", 8, 0, np.int8, "signed char"),
        Format("uint8", 8, 0, np.uint8, "unsigned char"),
        Format("int16", 16, 0, np.int16, "short"),
        Format("uint16", 16, 0, np.uint16, "unsigned short"),
        Format("int32", 32, 0, np.int32, "int"),
        Format("uint32", 32, 0, np.uint32, "unsigned int"),
        Format("int64", 64, 0, np.int64, "long long"),
        Format("uint64", 64, 0, np.uint64, "unsigned long long"),
        Format("float16", 16, 5, np.float32, "unsigned short", 1),
        Format("float32", 32, 8, np.float32, "float", 4),
        Format("float64", 64, 11, np.float64, "double", 8),
        Format("bfloat16", 16, 8, np.float32, "unsigned short", 2),
    )
}
WORKING = {name: row.working for name, row in FORMATS.items()}
INTEGERS = tuple(name for name, row in FORMATS.items() if not row.exponent)
FLOATS = tuple(name for name, row in FORMATS.items() if row.exponent)

_ADVICE = {
    "b": "use {0}.astype(np.uint8)",
    "c": "apply it to {0}.real and {0}.imag, or to abs({0})",
    "f": "use {0}.astype(np.float64)",
    "M": "take a difference and divide by a unit first, as in ({0} - {0}.min()) / np.timedelta64(1, 's')",
    "m": "divide by a unit first, as in {0} / np.timedelta64(1, 's')",
    "O": "pass numbers, as in np.asarray({0}, dtype=np.float64)",
    "S": "parse it first, as in np.asarray({0}, dtype=np.float64)",
    "U": "parse it first, as in np.asarray({0}, dtype=np.float64)",
    "T": "parse it first, as in np.asarray({0}, dtype=np.float64)",
}


def named(name: str) -> np.dtype[Any]:
    """Return the dtype of a name in the table; bfloat16 is that of ml_dtypes, which is imported for it."""
    if name == "bfloat16":
        import ml_dtypes

        name = ml_dtypes.bfloat16
    return np.dtype(name)


def rounded(value: float, name: str) -> float:
    """Round a number to a dtype of a name, which need not be there: bfloat16 is ml_dtypes'. It may not overflow."""
    exponent = math.frexp(value)[1]
    unit = max(exponent - FORMATS[name].significand, FORMATS[name].smallest) if name in FLOATS else exponent - 53
    return math.ldexp(round(math.ldexp(value, -unit)), unit)


def advice(dtype: Any, argument: str) -> str:
    """Return what to do with an array of a dtype that has no row in the table."""
    name = getattr(dtype, "name", str(dtype))
    if getattr(dtype, "names", None):
        return f"apply it to each field, as to {argument}[{dtype.names[0]!r}]"
    if "complex" in name:
        return _ADVICE["c"].format(argument)
    if name.rstrip("0123456789") in ("int", "uint"):  # of ml_dtypes, 2 or 4 bits
        return f"use {argument}.astype(np.{name.rstrip('0123456789')}8)"
    if getattr(dtype, "itemsize", 0) == 1 and "float" in name:  # of ml_dtypes, 4 to 8 bits
        return f"use {argument}.astype(np.float32)"
    return _ADVICE.get(
        getattr(dtype, "kind", ""), f"view it as numbers first, as by {argument}.view(np.float32)"
    ).format(argument)


def bfloat16() -> np.dtype[Any] | None:
    """ml_dtypes' bfloat16, if anyone has imported it: nobody else can have made such an array."""
    ml_dtypes = sys.modules.get("ml_dtypes")
    return np.dtype(ml_dtypes.bfloat16) if ml_dtypes else None


@lru_cache(maxsize=1024)
def promoted(dtypes: tuple[Any, ...], selects: bool) -> np.dtype[Any]:
    """Return the dtype of a call: the first row that holds all of these safely, as NumPy looks for the loop of a ufunc.

    That asks a dtype of another library first. A function that does not select has no rows of integers.
    """
    rows = [np.dtype(name) for name in (WORKING if selects else FLOATS) if name != "bfloat16"]
    other = bfloat16()
    rows = [other, *rows] if other in dtypes and other is not None else rows
    return next(row for row in rows if all(np.can_cast(dtype, row, "safe") for dtype in dtypes))


def floating(*operands: Any) -> np.dtype[Any]:
    """Return the dtype to which arrays promote, integers as in ``np.exp``; numbers count where there are no arrays."""
    dtype = np.result_type(*([array.dtype for array in operands if hasattr(array, "dtype")] or operands))
    if dtype.kind in "iu":
        dtype = np.dtype(np.exp.resolve_dtypes((dtype, None))[1].type)
    return np.dtype(dtype.type) if dtype.name != "bfloat16" else dtype


@lru_cache(maxsize=64)  # the name of a dtype takes microseconds
def _has_row(dtype: np.dtype[Any]) -> bool:
    return dtype.name in WORKING


@lru_cache(maxsize=64)
def is_tabulated(dtype: Any) -> bool:
    """Return whether functions of a dtype are tables: of the floats of eight bits and fewer, which are ml_dtypes'.

    float8_e8m0fnu is left out: it has powers of two alone, neither 0 nor a sign.
    """
    if not isinstance(dtype, np.dtype) or dtype.itemsize > 1:
        return False
    return dtype.name.startswith("float") and not dtype.name.startswith("float8_e8m0")


def require_real(dtype: Any, argument: str, function: str) -> None:
    """Refuse a dtype that has no row in the table.

    Raises
    ------
    TypeError
        Naming `function`, its `argument`, the dtype, and what to do.
    """
    if not (_has_row(dtype) if isinstance(dtype, np.dtype) else getattr(dtype, "kind", "O") in "iuf"):
        raise TypeError(
            f"{function}: {argument} has dtype {dtype}; it takes integers and float16 to float64: "
            f"{advice(dtype, argument)}"
        )


def cast(array: Any, dtype: Any) -> Any:
    """Round to `dtype` as a call does, once and without a warning."""
    with np.errstate(all="ignore"):
        if array.dtype == np.float64 and (dtype.name == "bfloat16" or is_tabulated(dtype)):
            array = _to_odd(array)  # ml_dtypes rounds to float32 first
        return array.astype(dtype, copy=False)


def summing(dtype: np.dtype[Any]) -> Any:
    """Return the dtype that gradients of a dtype are summed in: integers in their own, where they wrap around."""
    return dtype if dtype.kind in "iu" else np.float64


def canonical(array: Any, dtype: Any) -> Any:
    """Return an ndarray of `dtype` with that very object as its dtype, by which compiled code knows it.

    An array that was pickled, as on its way between processes, has an equal dtype of its own.
    """
    if type(array) is np.ndarray and array.dtype is not dtype and array.dtype == dtype:
        return array.view(dtype)
    return array


def _to_odd(array: Any) -> Any:
    """Round float64 to float32, inexact results to the odd neighbour.

    A second rounding takes that for the exact number.

    S. Boldo and G. Melquiond, "Emulation of FMA and correctly rounded sums", IEEE Trans. Computers 57 (2008).
    """
    single = array.astype(np.float32)
    away = np.nextafter(single, np.where(single < array, np.float32(np.inf), np.float32(-np.inf)))
    keep = (single == array) | np.isnan(array) | (single.view(np.uint32) % 2 == 1)
    return np.where(keep, single, away)
