"""The casts of a compiled call: from other dtypes, and from the other byte order, to the dtype of its loop."""

from __future__ import annotations

import ctypes
from functools import partial
from typing import Any

import numpy as np

from . import store
from .fingerprint import KERNELS
from .runtime import layout

_immortal: list[Any] = []  # compiled code has their addresses
ctypes.pythonapi.Py_IncRef(ctypes.py_object(_immortal))


class Casts:
    """The casts to one dtype, which must be native."""

    def __init__(self, target: np.dtype[Any]) -> None:
        self.target = target
        self.known: dict[str, np.dtype[Any] | None] = {}
        self.table = layout.Casts.new()
        _immortal.append(self.table)

    def lacks(self, dtype: np.dtype[Any]) -> bool:
        """Return whether nobody has tried yet to make a cast from `dtype`."""
        return dtype != self.target and _key_of(dtype) not in self.known

    def add(self, dtype: np.dtype[Any]) -> None:
        """Make a cast from `dtype`, unless that was tried."""
        if self.lacks(dtype):
            try:
                self.known[_key_of(dtype)] = self._add(dtype)
            except (RuntimeError, OSError):  # a processor without the instructions
                self.known[_key_of(dtype)] = None

    def view(self, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
        """Return x with the dtype object that compiled code knows, if there is a cast for it, else None."""
        dtype = self.target if x.dtype == self.target else self.known[_key_of(x.dtype)]
        return None if dtype is None else x.view(dtype)

    def _add(self, dtype: np.dtype[Any]) -> np.dtype[Any] | None:
        from .compiler import casts

        swapped = not dtype.isnative
        number = self.table.number
        if dtype.itemsize > self.target.itemsize or not casts.exists(dtype.name, self.target.name):
            return None
        if number == layout.MAX_CASTS:
            return None
        code = store.load(code_of_cast(dtype.name, swapped, self.target.name))
        _immortal.append(dtype)
        for k, word in enumerate((id(dtype), code["cast"], dtype.itemsize)):
            self.table.rows[number, k] = word
        self.table.number = number + 1
        return dtype


def code_of_cast(source: str, swapped: bool, target: str) -> store.Code:
    """Return what machine code a cast is."""
    from .compiler import casts

    content = f"{source} {swapped} {target}".encode()
    return store.Code("cast", KERNELS, content, partial(casts.build, source, swapped, target), content)


def _key_of(dtype: np.dtype[Any]) -> str:
    return dtype.name + dtype.byteorder


_casts: dict[np.dtype[Any], Casts] = {}


def casts_to(target: np.dtype[Any]) -> Casts:
    """Return the casts to a dtype, the same to every thread: a compiled call keeps their address."""
    return _casts.get(target) or _casts.setdefault(target, Casts(target))
