"""Attributes and dimension scales in HDF5 files."""

from __future__ import annotations

import math
from typing import Any

import h5py
import numpy as np

from .hdf5_types import is_reference, is_variable

ABSENT_VARIABLE = "This is a netCDF dimension but not a netCDF variable."  # "NetCDF-4 format specification", NAME
# What the dimension scales API and netCDF write of axes: made anew in the output, since they refer to other objects.
OF_AXES = frozenset({"CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST", "DIMENSION_LABELS"})
OF_NETCDF = frozenset({"_Netcdf4Dimid", "_Netcdf4Coordinates", "_nc3_strict", "_NCProperties"})
COMPACT_ATTRIBUTE = 60_000  # above 64 KiB with its header an attribute is refused in files of HDF5 1.6


def read_attributes(item: Any, notes: list[str]) -> dict[str, Any]:
    """Read the attributes that a user gave."""
    found = {}
    for name in item.attrs:
        if name not in OF_AXES:
            try:
                found[name] = item.attrs[name]
            except (TypeError, ValueError, OSError, RuntimeError):
                notes.append(f"left out its attribute {name}, of a type that h5py does not read")
    return found


def own(found: dict[str, Any]) -> dict[str, Any]:
    """Return attributes without those of netCDF itself, in which one number is an array of one."""
    if not OF_NETCDF & found.keys():
        return found
    return {
        name: value[0] if isinstance(value, np.ndarray) and value.shape == (1,) else value
        for name, value in found.items()
        if name not in OF_NETCDF
    }


def copy(source: Any, target: Any, leave: frozenset[str] | set[str], notes: list[str]) -> None:
    """Copy attributes with their types, but for references, which would refer to other objects."""
    references, unread = [], []
    for name in source.attrs:
        if name in leave:
            continue
        old = source.attrs.get_id(name)
        datatype, space = old.get_type(), old.get_space()
        if is_reference(datatype):
            references.append(name)
            continue
        try:
            bits = not is_variable(datatype)  # through a type of NumPy a text would lose its last character
            value = None
            if space.get_simple_extent_type() != h5py.h5s.NULL and math.prod(old.shape):
                value = np.empty(old.shape, f"V{datatype.get_size()}" if bits else old.dtype)
                old.read(value, datatype if bits else None)
            new = h5py.h5a.create(target.id, name.encode(), datatype.copy(), space)
            if value is not None:
                new.write(value, datatype if bits else None)
        except (TypeError, ValueError, OSError, RuntimeError):
            unread.append(name)
            if name in target.attrs:
                del target.attrs[name]
    where = source.name.strip("/") or "the file"
    if references:
        notes.append(f"left out attributes {', '.join(references)} of {where}, which refer to other objects")
    if unread:
        notes.append(f"left out attributes {', '.join(unread)} of {where}, of types that h5py does not copy")


def is_scale(dataset: Any) -> bool:
    """Whether a dataset is a dimension scale."""
    return bool(h5py.h5ds.is_scale(dataset.id))


def scales_of(dataset: Any, notes: list[str]) -> list[list[Any]]:
    """Return the dimension scales of each axis."""
    axes = range(len(dataset.shape))
    if "DIMENSION_LIST" not in dataset.attrs:
        return [[] for _ in axes]
    try:
        return [list(dataset.dims[axis].values()) for axis in axes]
    except (KeyError, OSError, RuntimeError, ValueError):
        notes.append("left out its dimension scales, which are not there")
        return [[] for _ in axes]


def label_of(dataset: Any, axis: int) -> str | None:
    """Return the label of an axis, if it has one."""
    return (dataset.dims[axis].label or None) if "DIMENSION_LABELS" in dataset.attrs else None
