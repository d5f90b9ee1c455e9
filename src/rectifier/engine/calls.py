"""The compiled call of an operation, a builtin function, and what stands for it until there is one."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from . import capi
from .runtime import layout

_immortal: list[Any] = []  # compiled code has their addresses
ctypes.pythonapi.Py_IncRef(ctypes.py_object(_immortal))


def takes_nothing(*operands: Any) -> Any:
    """Return NotImplemented, as a compiled call does of what it does not take."""
    return NotImplemented


class Call:
    """The compiled call of an operation: a builtin function, over the dtypes whose loops are there.

    Attributes
    ----------
    function : builtin function
        Takes inputs, parameters and outputs (None for those to be made), and gives NotImplemented for what it does
        not take.
    """

    def __init__(
        self, name: str, count: int, first: int, last: int, mask: int, casts: Any = None, entry: str = "call"
    ) -> None:
        from . import process

        self.words = np.zeros(layout.METHOD_WORDS, np.int64)
        self.words[: layout.METHOD_TABLE] = (
            ctypes.addressof(process.words()),
            0,
            count,
            first,
            last,
            mask,
            casts.ctypes.data if casts is not None else 0,
        )
        self.function, definition = capi.builtin_function(name, process.code()[entry], self.words)
        _immortal.append((definition, self.words, self.function))

    def add(self, dtype: np.dtype[Any], loop: int) -> None:
        """Take arrays of `dtype`, by the plan at an address."""
        row = self.words[layout.METHOD_ROWS]
        _immortal.append(dtype)
        self.words[layout.METHOD_TABLE + 2 * row :][:2] = id(dtype), loop
        self.words[layout.METHOD_ROWS] = row + 1
