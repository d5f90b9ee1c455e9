"""The compiled call of an operation, a builtin function, and what stands for it until there is one."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from . import capi
from .runtime import layout

_immortal: list[Any] = []  # compiled code has their addresses
ctypes.pythonapi.Py_IncRef(ctypes.py_object(_immortal))


def not_compiled(*operands: Any) -> Any:
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
        self, name: str, count: int, first: int, last: int, mask: int, casts: int = 0, entry: str = "call"
    ) -> None:
        from . import process

        owner = np.zeros(layout.Method.WORDS, np.int64)  # compiled code is given this array
        self.method = layout.Method(owner.ctypes.data)
        self.method.write(engine=process.words(), count=count, first=first, last=last, mask=mask, casts=casts)
        self.function, definition = capi.builtin_function(name, process.code(entry)[entry], owner)
        _immortal.append((definition, owner, self.function))

    def add(self, dtype: np.dtype[Any], loop: int) -> None:
        """Take arrays of `dtype`, by the plan at an address."""
        row = self.method.rows
        _immortal.append(dtype)
        self.method.table[row, 0], self.method.table[row, 1] = id(dtype), loop
        self.method.rows = row + 1
