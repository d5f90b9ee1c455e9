"""Arrays whose type overrides ``__array_ufunc__``: their library gets our ufunc, and knows what to do with it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine.callbacks import raising
from ..functions import addition, arguments
from ..functions.call import Call, prepare
from ..functions.specification import DERIVATIVE, VALUE, OfSum

RANK = -1
capabilities: frozenset[str] = frozenset()


def compute(call: Call) -> Any:
    """Call the ufunc; value and derivative at once are two, since xarray takes none with two results."""
    if isinstance(call.spec, OfSum):
        return addition.applied(call, call.operands["x"] + call.operands[call.spec.gate])
    if len(call.operation.outputs) > 1:
        return tuple(compute(call._replace(operation=operation)) for operation in (VALUE, DERIVATIVE))
    foreign = next(value for value in call.given.values() if arguments.is_foreign(value))
    kind = arguments.full_name(type(foreign))
    dtype, operands, parameters, *_ = prepare(call, arguments.operand, broadcast=_unknown_shape)
    numbers = [arguments.fitting(call.name, name, value, dtype) for name, value in parameters.items()]
    try:
        with raising(), np.errstate(all="ignore"):
            return call.function.methods[call.operation.name].ufunc(*operands.values(), *numbers)
    except (TypeError, ValueError) as error:  # of kinds that libraries make of them, too
        plain = TypeError if isinstance(error, TypeError) else ValueError
        raise plain(f"{call.name}: {kind} refuses it ({error}); convert to NumPy first") from error


def _unknown_shape(function: str, operands: dict[str, Any]) -> tuple[int, ...]:
    """Leave it to the library whether shapes fit."""
    return ()


def snapshot(value: Any) -> Any:
    """Return a parameter as it is: only its library could copy it."""
    return value


def may_share_memory(a: Any, b: Any) -> bool:
    """Return False: no result is written to such an array."""
    return False
