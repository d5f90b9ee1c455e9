"""The options of a row-wise function: which numbers of a row count, a scale, and one more term of its sum."""

from __future__ import annotations

import contextlib
import math
from typing import Any, NamedTuple

import numpy as np

from . import arguments, dtypes, subclasses


class RowOptions(NamedTuple):
    """What a row-wise function takes beside x, out and axis; as a user gave it, or checked.

    Attributes
    ----------
    where : array of bool or None
        Which numbers count; broadcasts with x.
    scale : float
        By which x is multiplied.
    causal : bool
        Whether row i of the last two axes ends with the number that lies above its last one by as many rows as are
        below it.
    sink : array, number or None
        One more exponent of each row's sum; broadcasts with the shape of x without the axes of a row.
    """

    where: Any = None
    scale: Any = 1.0
    causal: Any = False
    sink: Any = None

    @property
    def are_default(self) -> bool:
        """Whether the call is the one without options."""
        plain = self.where is None and self.sink is None and self.causal is False
        return plain and type(self.scale) in (int, float) and self.scale == 1

    @property
    def arrays(self) -> dict[str, Any]:
        """Those that are arrays, by their names."""
        given = {"where": self.where, "sink": self.sink}
        return {name: value for name, value in given.items() if value is not None}


NO_OPTIONS = RowOptions()


def checked(
    function: str, options: RowOptions, shape: tuple[Any, ...], axes: tuple[int, ...], dtype: np.dtype[Any]
) -> RowOptions:
    """Check all but the numbers of arrays; return the scale as it is computed with, a float, and `causal` as a bool.

    Parameters
    ----------
    function : str
        The name of the call, for errors.
    options : RowOptions
    shape : tuple of int
        Of x; a side that Dask does not know is NaN.
    axes : tuple of int
        Of a row.
    dtype : numpy.dtype
        Of the result.

    Raises
    ------
    TypeError, ValueError
        If an option is none that the call takes.
    """
    where, scale, causal, sink = options
    if not isinstance(causal, bool | np.bool_):
        raise TypeError(f"{function}: causal is {causal!r}; it takes True or False")
    if causal and (len(shape) < 2 or axes != (len(shape) - 1,)):
        raise ValueError(
            f"{function}: causal is over the last two axes, of which the last is a row, and this call has x of shape "
            f"{shape} and rows along {axes}; move the axes there, or pass where"
        )
    require_where(function, where, shape)
    if sink is not None:
        rows = outer_shape(shape, axes)
        _require_broadcast(function, "sink", arguments.shape_of(sink), rows, "x without the axes of a row")
    return RowOptions(where, scale_of(function, scale, dtype), bool(causal), sink)


def require_where(function: str, where: Any, shape: tuple[Any, ...]) -> None:
    """Refuse a `where` that is no array of bool, or does not broadcast to the shape of x."""
    if where is None:
        return
    require_shown(function, "where", where)
    kind = getattr(where, "dtype", None)
    if str(kind).rpartition(".")[2] != "bool":
        what = f"has dtype {kind}" if kind is not None else f"is a {arguments.full_name(type(where))}"
        raise TypeError(f"{function}: where {what}; it takes an array of bool, True where a number of x counts")
    _require_broadcast(function, "where", arguments.shape_of(where), shape, "x")


def require_shown(function: str, name: str, value: Any) -> None:
    """Refuse a masked array, of which nobody knows whether what it hides counts."""
    if subclasses.is_masked(value):
        filled = {"where": "False", "sink": "-np.inf"}[name]
        raise TypeError(f"{function}: {name} is a masked array; pass {name}.filled({filled})")


def scale_of(function: str, scale: Any, dtype: np.dtype[Any]) -> float:
    """Round a scale to float64 for float64, else to float32: of those a product with x is exact in float64."""
    if not isinstance(scale, int | float | np.integer | np.floating) or isinstance(scale, bool):
        raise TypeError(
            f"{function}: scale is a {arguments.full_name(type(scale))}; it takes one positive number, "
            "and arrays are multiplied before the call"
        )
    with np.errstate(all="ignore"), contextlib.suppress(OverflowError):
        number = math.inf  # of an integer that no float64 holds
        number = float(scale) if dtype == np.float64 else float(np.float32(scale))
    if not 0 < number < math.inf:
        held = "" if number == scale or number != number else f", in {'float64' if dtype == np.float64 else 'float32'}"
        raise ValueError(f"{function}: scale is {scale}{held}; it takes a positive finite number")
    return number


def _require_broadcast(function: str, name: str, shape: tuple[Any, ...], whole: tuple[Any, ...], what: str) -> None:
    if not arguments.broadcasts_to(shape, whole):
        raise ValueError(f"{function}: {name} has shape {shape}, which does not broadcast to {whole}, that of {what}")


def outer_shape(shape: tuple[Any, ...], axes: tuple[int, ...]) -> tuple[Any, ...]:
    """Return the shape of an array without the axes of a row."""
    return tuple(side for k, side in enumerate(shape) if k not in axes)


def sink_of(function: str, sink: Any, dtype: np.dtype[Any]) -> Any:
    """Round sinks to the dtype of the result, and return them as float64."""
    operand = np.asarray(arguments.operand(function, "sink", sink))
    return dtypes.cast(dtypes.cast(operand, dtype), np.dtype(np.float64))
