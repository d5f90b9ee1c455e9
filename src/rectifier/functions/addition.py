"""The sum of two arrays, to which a function is applied: its dtype, and the function of it in two steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import arguments, dtypes
from .call import Call


def comes_first(call: Call, dtype: np.dtype[Any], likes: dict[str, Any]) -> bool:
    """Return whether x + b has another dtype than the call, so that it is rounded to that before the function.

    Integers are added as integers, also where the function makes floats of them; and a gradient may be wider than x.

    Parameters
    ----------
    call : Call
    dtype : numpy.dtype
        Of the call.
    likes : dict
        Numbers, and what has the dtype of an operand in NumPy, by the names of the operands.
    """
    return own_dtype(call, likes) != dtype


def own_dtype(call: Call, likes: dict[str, Any]) -> np.dtype[Any]:
    """Return the dtype of x + b in NumPy."""
    return arguments.resolve(True, [likes[name] for name in _names(call)])


def _names(call: Call) -> tuple[str, str]:
    spec: Any = call.spec
    return "x", spec.gate


def require_held(call: Call, operands: dict[str, Any], dtype: np.dtype[Any]) -> None:
    """Refuse a Python integer that integers of a dtype do not hold; cast, it would be another number."""
    if dtype.kind not in "iu":
        return
    info = np.iinfo(dtype)
    for name in _names(call):
        if type(value := operands[name]) is int and not info.min <= value <= info.max:
            raise ValueError(f"{call.name}: {name} is {value}, which {dtype} does not hold; pass an array of another")


def added(call: Call, operands: dict[str, Any]) -> Any:
    """Add arrays and numbers of NumPy's."""
    dtype = own_dtype(call, operands)
    require_held(call, operands, dtype)
    x, b = (dtypes.cast(np.asanyarray(operands[name]), dtype) for name in _names(call))
    with np.errstate(all="ignore"):
        return np.add(x, b)


def applied(call: Call, total: Any, **out: Any) -> Any:
    """Apply the function, or its method, to a sum; of a gradient the result is dx, of the shape of all arrays."""
    function = call.function.of
    if "dy" in call.operands:
        return function.backward(call.operands["dy"], total, **out, **call.parameters)
    method = getattr(function, call.method) if call.method else function
    return method(total, **out, **call.parameters)
