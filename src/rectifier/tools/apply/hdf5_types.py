"""Types of HDF5 as dtypes, and the other way round."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

from ...functions import dtypes
from .layout import FileError, unsupported

_FORMATS = {  # sign, exponent, its bits, mantissa, its bits; bias: of the types that are computed with
    (15, 10, 5, 0, 10, 15): "float16",
    (31, 23, 8, 0, 23, 127): "float32",
    (63, 52, 11, 0, 52, 1023): "float64",
    (15, 7, 8, 0, 7, 127): "bfloat16",
}
_SMALL = {(7, 3, 4, 0, 3): "float8_e4m3", (7, 2, 5, 0, 2): "float8_e5m2"}


def dtype_of(datatype: Any) -> tuple[np.dtype[Any], Any]:
    """Return the dtype of a type of HDF5 by what its bits say, and the type to read bits as where h5py has no dtype.

    Raises
    ------
    FileError
        If no dtype of a function holds it; with its right name.
    """
    kind, size = datatype.get_class(), datatype.get_size()
    if kind == h5py.h5t.INTEGER:
        sign = "i" if datatype.get_sign() == h5py.h5t.SGN_2 else "u"
        order = ">" if datatype.get_order() == h5py.h5t.ORDER_BE and size in (2, 4, 8) else "<"
        held = next((width for width in (1, 2, 4, 8) if width >= size), None)
        if held is None:
            raise unsupported(f"an integer of {size} bytes")
        return np.dtype(f"{order}{sign}{held}"), None
    if kind == h5py.h5t.FLOAT:
        return _float(datatype)
    names = {
        h5py.h5t.ENUM: "an enumeration", h5py.h5t.BITFIELD: "a field of bits", h5py.h5t.OPAQUE: "opaque bytes",
        h5py.h5t.COMPOUND: "a record", h5py.h5t.STRING: "a string", h5py.h5t.REFERENCE: "a reference",
        h5py.h5t.ARRAY: "an array", h5py.h5t.VLEN: "a list of any length",
    }  # fmt: skip
    what = names.get(kind, "unknown")
    if kind == getattr(h5py.h5t, "COMPLEX", None):
        what = "complex"
    try:
        known = np.dtype(datatype.dtype)
        if kind == h5py.h5t.ENUM or known.kind not in "OV":
            what = f"{known}" if known.kind in "bcM" else f"{what} ({known})"
    except (TypeError, ValueError, AttributeError):
        pass
    raise unsupported(what)


def _float(datatype: Any) -> tuple[np.dtype[Any], Any]:
    size, fields, bias = datatype.get_size(), datatype.get_fields(), datatype.get_ebias()
    name = _FORMATS.get((*fields, bias))
    implied = datatype.get_norm() == h5py.h5t.NORM_IMPLIED
    whole = datatype.get_precision() == 8 * size and datatype.get_order() in (h5py.h5t.ORDER_LE, h5py.h5t.ORDER_BE)
    if not (name and implied and whole):
        name = _SMALL.get(fields) if size == 1 else None
        sign, exponent, mantissa = 1, fields[2], fields[4]
        raise unsupported(
            name
            or f"a float of {size} bytes with {sign} + {exponent} + {mantissa} bits for sign, exponent and mantissa"
        )
    if name == "bfloat16":
        try:
            bfloat16 = dtypes.named(name)
        except ImportError:
            raise FileError("its dtype is bfloat16, which NumPy lacks: pip install ml_dtypes") from None
        return bfloat16, datatype_of(bfloat16)
    dtype = np.dtype(name)
    return dtype.newbyteorder(">" if datatype.get_order() == h5py.h5t.ORDER_BE else "<"), None


def is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """Whether a dtype is ml_dtypes' bfloat16."""
    return dtype.name == "bfloat16"


def datatype_of(dtype: np.dtype[Any]) -> Any:
    """Return the type of HDF5 of a dtype."""
    if not is_bfloat16(dtype):
        return h5py.h5t.py_create(dtype, logical=True)
    datatype = h5py.h5t.IEEE_F32LE.copy()
    datatype.set_fields(15, 7, 8, 0, 7)  # before the size, which must not cut off fields
    datatype.set_size(2)
    datatype.set_ebias(127)
    return datatype


def is_reference(datatype: Any) -> bool:
    """Check whether values of a type refer to other objects, which an output does not have."""
    kind = datatype.get_class()
    if kind in (h5py.h5t.VLEN, h5py.h5t.ARRAY):
        return is_reference(datatype.get_super())
    if kind == h5py.h5t.COMPOUND:
        return any(is_reference(datatype.get_member_type(k)) for k in range(datatype.get_nmembers()))
    return bool(kind == h5py.h5t.REFERENCE)


def is_variable(datatype: Any) -> bool:
    """Check whether values of a type have a variable length, and lie elsewhere in the file."""
    if datatype.get_class() == h5py.h5t.STRING:
        return bool(datatype.is_variable_str())
    if datatype.get_class() == h5py.h5t.COMPOUND:
        return any(is_variable(datatype.get_member_type(k)) for k in range(datatype.get_nmembers()))
    if datatype.get_class() == h5py.h5t.ARRAY:
        return is_variable(datatype.get_super())
    return bool(datatype.get_class() == h5py.h5t.VLEN)
