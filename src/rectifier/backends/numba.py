"""What the functions are inside a user's ``@njit``: the same formulas, inlined there.

Numba calls `register` when it first compiles anything, by its entry point ``numba_extensions``. Only types are known
when it asks what a call is. So the dtype of a result is that of the public call wherever types decide that one, too.
Where the value of a parameter would decide whether integers stay integers, a literal and a default have one, and a
variable counts by its type, as an array does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.core.errors import TypingError
from numba.extending import overload, register_jitable
from numba.np.numpy_support import as_dtype

from ..catalogue import CATALOGUE, GATES, ROWWISE
from ..formulas import numba as numba_formulas
from ..functions import arguments, dtypes
from ..functions.define import complete
from ..functions.specification import VALUE, Specification, read


def register() -> None:
    """Register with Numba what each elementwise function of the catalogue computes, and refuse the others."""
    for name in CATALOGUE:
        _register(CATALOGUE.draft(name))
    for catalogue in (GATES, ROWWISE):
        for name in catalogue:
            overload(catalogue.draft(name), strict=False)(_refusal(name))


def _register(function: Any) -> None:
    names = function.formula.__code__.co_varnames[1 : function.formula.__code__.co_argcount]
    defaults = "".join(
        f", {name}={value!r}" for name, value in zip(names, function.formula.__defaults__ or (), strict=True)
    )
    values = "".join(f"{name!r}: {name}, " for name in names)
    namespace: dict[str, Any] = {"_implementation": _implementation, "function": function}
    exec(
        f"def typed(x, out=None{defaults}):\n    return _implementation(function, x, out, {defaults!r}, {{{values}}})",
        namespace,
    )
    overload(function, strict=False, prefer_literal=True)(namespace["typed"])


def _refusal(name: str) -> Any:
    def typed(*arguments: Any, **keywords: Any) -> Any:
        raise TypingError(f"{name} cannot be called inside @njit, where functions of one array can: call it outside")

    return typed


def _implementation(function: Any, x: Any, out: Any, defaults: str, parameters: dict[str, Any]) -> Any:
    spec, array = complete(function).spec, isinstance(x, types.Array)
    if not (out is None or _known(out) == (True, None)):
        raise TypingError(f"{spec.name} takes no out inside @njit: assign the result, as in y[:] = {spec.name}(x)")
    dtype = _dtype_of_result(spec, _dtype(spec, "x", x.dtype if array else x), parameters)
    working = spec.working(dtype.name)
    scalar = register_jitable(
        read(
            spec,
            VALUE,
            numba_formulas.primitives(working, narrow=dtype != np.float64, dtype=dtype.name),
            njit(error_model="numpy"),
        )
    )
    scope = {"scalar": scalar, "W": working, "R": dtype.type, "np": np}
    values = "".join(f", W(R({name}))" for name in parameters)
    element = f"R(scalar(W({{}}){values}))"
    if array and x.ndim:
        text = (
            f"def implementation(x, out=None{defaults}):\n"
            f"    y = np.empty(x.shape, R)\n"
            f"    for index in np.ndindex(x.shape):\n"
            f"        y[index] = {element.format('x[index]')}\n"
            f"    return y"
        )
    else:
        number = element.format("x[()]" if array else "x")
        text = f"def implementation(x, out=None{defaults}):\n    return {number}"
    exec(text, scope)
    return scope["implementation"]


def _known(value: Any) -> tuple[bool, Any]:
    """Return whether a value is known when its type is, and the value."""
    if isinstance(value, types.Omitted):
        return True, value.value
    if isinstance(value, types.Literal):
        return True, value.literal_value
    if isinstance(value, types.NoneType):
        return True, None
    return not isinstance(value, types.Type), value


def _dtype_of_result(spec: Specification, dtype: np.dtype[Any], parameters: dict[str, Any]) -> np.dtype[Any]:
    """Promote as the public call does; it decides by the types of parameters that are arrays, as is done here."""
    stand_ins = []
    for name, value in parameters.items():
        known, number = _known(value)
        if known and not arguments.is_python_number(number):
            raise TypingError(f"{spec.name} inside @njit: {name} is {number!r}; it takes a number")
        stand_ins.append(number if known else np.empty((0,), _dtype(spec, name, value)))
    result = arguments.holding(dtypes.promoted((dtype,), spec.selects), tuple(stand_ins))
    if result == np.float16:
        raise TypingError(
            f"{spec.name} of {dtype} is float16 with these parameters, which Numba does not compute in: "
            "pass x.astype(np.float32)"
        )
    return result


def _dtype(spec: Specification, name: str, kind: Any) -> np.dtype[Any]:
    """Check the type of a number, and give its dtype."""
    kind = types.unliteral(kind)
    what = f"{spec.name} inside @njit: {name}"
    if kind in _NARROW:
        raise TypingError(f"{what} is {kind}, which Numba does not compute in: pass {name}.astype(np.float32)")
    try:
        dtype: np.dtype[Any] = as_dtype(kind)
        dtypes.require_real(dtype, name, f"{spec.name} inside @njit")
    except TypeError as error:
        raise TypingError(str(error)) from None
    except Exception:  # of what has no dtype, Numba raises more than one
        raise TypingError(f"{what} is a {kind}; it takes a number or an array of them") from None
    return dtype


_NARROW = [kind for kind in (types.float16, getattr(types, "bfloat16", None)) if kind is not None]
