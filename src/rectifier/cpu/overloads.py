"""What the functions are inside a user's ``@njit``: the same formulas, inlined there.

Numba calls `register` when it first compiles anything, by its entry point ``numba_extensions``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload, register_jitable

from .._activation import complete
from .._block import VALUE
from ..catalogue import CATALOGUE
from ..words import cpu, read

_NARROW = {types.float16: np.float16, types.float32: np.float32}


def register() -> None:
    """Tell Numba what each elementwise function of the catalogue is, of a number or an array."""
    for name in CATALOGUE:
        _register(CATALOGUE.draft(name))


def _register(function: Any) -> None:
    names = function.formula.__code__.co_varnames[1 : function.formula.__code__.co_argcount]
    defaults = "".join(
        f", {name}={value!r}" for name, value in zip(names, function.formula.__defaults__ or (), strict=True)
    )
    values = "".join(f", {name}" for name in names)
    namespace: dict[str, Any] = {"_implementation": _implementation, "function": function}
    exec(
        f"def typed(x, out=None{defaults}):\n    return _implementation(function, x, out, {defaults!r}, {values!r})",
        namespace,
    )
    overload(function, strict=False)(namespace["typed"])


def _implementation(function: Any, x: Any, out: Any, defaults: str, values: str) -> Any:
    array = isinstance(x, types.Array)
    number = x.dtype if array else x
    if not isinstance(number, types.Float | types.Integer) or not (
        out is None or isinstance(out, types.NoneType | types.Omitted)
    ):
        return None
    block = complete(function).block
    if isinstance(number, types.Integer):
        number = types.float64
    narrow = number in _NARROW
    working = np.float64 if block.wide or number is types.float64 else np.float32
    scalar = register_jitable(
        read(block, VALUE, cpu.words(working, narrow=narrow, dtype=number.name), njit(error_model="numpy"))
    )
    scope = {"scalar": scalar, "W": working, "R": _NARROW.get(number, np.float64), "np": np}
    parameters = "".join(f", W({name.strip()})" for name in values.split(",") if name.strip())
    body = f"R(scalar(W(x){parameters}))"
    if array:
        text = (
            f"def implementation(x, out=None{defaults}):\n"
            f"    y = np.empty(x.shape, R)\n"
            f"    for index in np.ndindex(x.shape):\n"
            f"        y[index] = {body.replace('W(x)', 'W(x[index])')}\n"
            f"    return y"
        )
    else:
        text = f"def implementation(x, out=None{defaults}):\n    return {body}"
    exec(text, scope)
    return scope["implementation"]
