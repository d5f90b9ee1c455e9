"""Attributes of arrays: what they say of the numbers, and how they travel from one format to another."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .layout import ArrayFile, FileError

# CF conventions 1.11, sections 2.5.1 and 8.1, and the NetCDF User's Guide, appendix A.
PACKING = ("scale_factor", "add_offset", "_Unsigned")
MISSING = ("_FillValue", "missing_value")
# CF conventions 1.11, appendix A: those whose values are names of other variables.
NAMING = (
    "ancillary_variables", "bounds", "cell_measures", "climatology", "coordinates", "formula_terms", "geometry",
    "grid_mapping",
)  # fmt: skip
RANGES = ("valid_min", "valid_max", "valid_range", "actual_range")


def settle(
    x: ArrayFile, others: Sequence[ArrayFile], apply: Callable[[Any], Any] | None, raw: bool
) -> tuple[frozenset[str], list[str]]:
    """Check that the stored numbers are the values, and name the attributes that are not true of the result.

    Parameters
    ----------
    x : ArrayFile
    others : sequence of ArrayFile
        The other inputs.
    apply : callable or None
        The function, if each of its results depends on one number of x alone.
    raw : bool
        Take the stored numbers, whatever the attributes say.

    Returns
    -------
    frozenset of str
        Names of attributes of x to leave out of the result.
    list of str
        What to tell the user of them.

    Raises
    ------
    FileError
        If the stored numbers are packed values, or some stand for missing values that the function would change.
    """
    for array in () if raw else (x, *others):
        found = array.attributes
        packing = [name for name in PACKING if not _is_trivial(name, found.get(name))]
        if packing:
            raise FileError(
                f"{array.path}: its values are packed by its attributes {', '.join(packing)}; apply takes the stored "
                "numbers: unpack it first, as xarray does, or say --raw"
            )
        for name, value in _missing(array):
            if array is not x or apply is None or not _is_kept(apply, value):
                raise FileError(
                    f"{array.path}: by its attribute {name}, {value!s} stands for missing values, and the result "
                    "would have other numbers there: mask them by NaN first, as xarray does, or say --raw"
                )
    left = [name for name in RANGES if name in x.attributes]
    if raw:
        left += [name for name in PACKING if name in x.attributes]
        left += dict.fromkeys(name for name, _ in _missing(x))
    notes = [f"left out its attributes {', '.join(left)}, which are not true of the result"] if left else []
    return frozenset(left), notes


def note_others(x: ArrayFile, notes: list[str]) -> None:
    """Note which attributes name other arrays, but for the coordinates of axes, since these alone come along."""
    named = [
        name
        for name in NAMING
        if isinstance(value := _text(x.attributes.get(name)), str) and not set(value.split()) <= set(x.dimensions)
    ]
    if named:
        notes.append(f"left out the arrays that its attributes {', '.join(named)} name")


def _is_trivial(name: str, value: Any) -> bool:
    if value is None:
        return True
    if name == "_Unsigned":
        return str(_text(value)).lower() != "true"
    try:
        return bool(np.all(np.asarray(value, np.float64) == (name == "scale_factor")))
    except (TypeError, ValueError):
        return False


def _missing(array: ArrayFile) -> Iterable[tuple[str, Any]]:
    """Return the numbers that stand for missing values, but for NaN, of which every function makes NaN."""
    for name in MISSING:
        if name in array.attributes:
            try:
                values = np.ravel(np.asarray(array.attributes[name]))
                values = values if values.dtype.kind in "iu" else values.astype(np.float64)
                stored = values.astype(array.dtype)
            except (TypeError, ValueError, OverflowError):
                continue  # a text, which no number equals
            for value, number in zip(values, stored, strict=True):
                if number.astype(np.float64) == np.float64(value) or not (_is_whole(array.dtype) or value != value):
                    yield name, number


def _is_kept(apply: Callable[[Any], Any], value: Any) -> bool:
    """Check whether a number is its own result, and no neighbour of the number has that result."""
    wide = np.asarray(value).astype(np.float64)
    beside = value.dtype.type(0)
    if not _is_whole(value.dtype):
        bits = np.array([value]).view(f"i{value.dtype.itemsize}")
        around = [(bits + step).view(value.dtype)[0] for step in (-1, 1)] if wide else [beside - 1, beside + 1]
    else:
        limits = np.iinfo(value.dtype)
        around = [value.dtype.type(min(max(int(value) + step, limits.min), limits.max)) for step in (-1, 1)]
    with np.errstate(all="ignore"):
        y = np.asarray(apply(np.array([value, *around], value.dtype))).astype(np.float64)
    others = [result for result, number in zip(y[1:], around, strict=True) if number != value]
    return bool(y[0] == wide and all(result != wide for result in others))


def _is_whole(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "iu"


def cast(name: str, value: Any, dtype: np.dtype[Any]) -> Any:
    """Cast an attribute to the dtype that it must share with its array (NetCDF User's Guide, appendix A)."""
    if name == "_FillValue":
        return np.asarray(value).astype(dtype)
    return value


def _text(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def to_json(value: Any) -> Any:
    """Return a value of an HDF5 attribute as JSON.

    Raises
    ------
    ValueError
        If JSON has nothing of the kind: complex numbers, records, references, NaN and infinities.
    """
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        raise ValueError(f"JSON has no {value}")
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind not in "biufSUO":
            raise ValueError(f"JSON has no {value.dtype}")
        return to_json(value.tolist())
    if isinstance(value, list):
        return [to_json(item) for item in value]
    if type(value).__name__ == "Empty":
        return "" if np.dtype(value.dtype).kind in "SO" else None
    raise ValueError(f"JSON has no {type(value).__name__}")


def from_json(value: Any) -> Any:
    """Return a value of JSON as one for an attribute of HDF5.

    Raises
    ------
    ValueError
        If HDF5 has nothing of the kind: null, objects, lists of different things.
    """
    if isinstance(value, str | bool | float):
        return value
    if isinstance(value, int) and -(1 << 63) <= value < 1 << 64:
        return value
    if isinstance(value, list):
        array = np.array(value, object if value and all(isinstance(item, str) for item in value) else None)
        if array.dtype.kind in "biuf" or (array.dtype == object and value and isinstance(value[0], str)):
            kinds = {type(item) for item in np.array(value, object).ravel()}
            if len(kinds) < 2 or kinds == {int, float}:
                return array
    raise ValueError("HDF5 has nothing of the kind")


def encode_fill(value: Any, dtype: np.dtype[Any]) -> Any:
    """Write `_FillValue` as xarray does in Zarr 3: floats by the base64 of their float64, since JSON has no NaN."""
    value = np.ravel(np.asarray(value))[0]
    if dtype.kind in "iu":
        return int(value)
    return base64.standard_b64encode(struct.pack("<d", float(value))).decode()


def decode_fill(value: Any, dtype: np.dtype[Any]) -> Any:
    """Read `_FillValue` as xarray does in Zarr 3."""
    if isinstance(value, str) and np.dtype(dtype).kind != "U":
        try:
            (value,) = struct.unpack("<d", base64.standard_b64decode(value))
        except (ValueError, struct.error):
            return value
    return np.asarray(value).astype(dtype)[()]


def translate(
    attributes: Mapping[str, Any], leave: Iterable[str], turn: Callable[[Any], Any], notes: list[str]
) -> dict[str, Any]:
    """Turn attributes into those of another format; note the names of those that it does not have."""
    left = set(leave)
    found, without = {}, []
    for name, value in attributes.items():
        if name not in left:
            try:
                found[name] = turn(value)
            except (TypeError, ValueError):
                without.append(name)
    if without:
        notes.append(f"left out its attributes {', '.join(without)}, which the output's format cannot hold")
    return found
