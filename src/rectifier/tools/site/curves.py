"""Values and derivatives over a range, computed by the library: what plots and the interactive page show."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...functions.specification import Elementwise, Gated

Numbers = NDArray[np.float64]
RANGE = 5.0


class Curve(NamedTuple):
    """A function along one of its arguments.

    Attributes
    ----------
    argument, condition : str
        Over what, and what else holds.
    x, y, d : array
        Points, values and derivatives; NaN where a derivative does not exist.
    """

    argument: str
    condition: str
    x: Numbers
    y: Numbers
    d: Numbers


def along(function: Any) -> tuple[str, str]:
    """Return the argument over which a function is drawn, and the one that is a number then, or nothing."""
    spec = function.spec
    if isinstance(spec, Gated):
        return ("x", spec.gate) if spec.gate == "slope" else (spec.gate, "x")
    return "x", ""


def _held(argument: str) -> float:
    return 0.25 if argument == "slope" else 1.0


def curve(function: Any, points: int = 401, held: float | None = None, **parameters: Any) -> Curve:
    """Compute value and derivative over ±5.

    Parameters
    ----------
    function : function of the catalogue
        Elementwise, gated, or of rows; of a row, the first of two numbers is moved and the other is 0.
    points : int
        400 divides by all that parameters make kinks of.
    held : float
        The argument of a gated function that is not drawn over; 1 if none, and a quarter of slopes.
    **parameters
        Of the function.

    Returns
    -------
    Curve
    """
    spec, x = function.spec, np.linspace(-RANGE, RANGE, points)
    at_kinks, parameters = not parameters, spec.required | parameters if isinstance(spec, Elementwise) else parameters
    argument, other = along(function)
    if isinstance(spec, Elementwise):
        y, d = function(x, **parameters), function.derivative(x, **parameters)
        if at_kinks:
            d = _without_kinks(x, d, spec.kinks)
        return Curve("x", "", x, y, d)
    if isinstance(spec, Gated):
        held = _held(other) if held is None else held
        operands = (x, held) if argument == "x" else (np.full_like(x, held), x)
        y = function(*operands, **parameters)
        both = function.backward(np.ones_like(x), operands[0], np.broadcast_to(operands[1], x.shape), **parameters)
        return Curve(argument, f"{other} = {held:g}", x, y, both[argument != "x"])
    rows = np.stack([x, np.zeros_like(x)], axis=-1)
    result, pullback = function.vjp(rows, **parameters)
    dy = np.zeros_like(result)
    dy[..., 0] = 1
    whole = result.shape != rows.shape  # one number a row
    dx = pullback(np.ones_like(result) if whole else dy)
    y = result if whole else result[..., 0]
    return Curve("x", "the row (x, 0)" if whole else "first of the row (x, 0)", x, y, dx[..., 0])


def _without_kinks(x: Numbers, d: Numbers, kinks: tuple[tuple[float, float], ...]) -> Numbers:
    gaps = np.array(d)
    gaps[np.isin(x, [at for at, _ in kinks])] = np.nan
    return gaps


def defaults(function: Any) -> Mapping[str, float]:
    """Return the parameters that are numbers, with their defaults."""
    given: Mapping[str, Any] = getattr(function.spec, "parameters", {})
    return {name: float(value) for name, value in given.items() if isinstance(value, int | float)}


def drawn(function: Any) -> dict[str, Any] | None:
    """Compute what the interactive page shows of a function; None for one that is not of numbers alone.

    Up to two parameters move on a grid of all their values, more each alone. The default is a value of each.
    """
    try:
        first = curve(function, points=_POINTS)
        parameters = defaults(function)
        other = along(function)[1]
        moved = {other: _held(other), **parameters} if other else dict(parameters)
        together = len(moved) <= 2
        axes = [_values(default, _COUNTS.get(len(moved), _ALONE)) for default in moved.values()]
        places = product(*axes) if together else _alone(axes, list(moved.values()))
        numbers = [_numbers(function, dict(zip(moved, place, strict=True)), other) for place in places]
    except (TypeError, ValueError, AttributeError):
        return None
    return {
        "argument": first.argument + (f" ({first.condition})" if first.condition and not other else ""),
        "range": RANGE,
        "points": _POINTS,
        "grid": together,
        "parameters": [
            {"name": name, "values": axis, "start": axis.index(default)}
            for (name, default), axis in zip(moved.items(), axes, strict=True)
        ],
        "numbers": base64.b64encode(np.concatenate(numbers).astype("<f4").tobytes()).decode(),
    }


_POINTS = 201
_COUNTS, _ALONE = {1: 41, 2: 13}, 41  # values of a parameter, by how many move together


def _values(default: float, count: int) -> list[float]:
    """Return values of a parameter from 0 to four times its default, which is one of them; from -2 to 2 of 0."""
    steps = count - 1
    if default == 0:
        return [4.0 * k / steps - 2 for k in range(count)]
    return [default if 4 * k == steps else 4 * default * k / steps for k in range(count)]


def _alone(axes: list[list[float]], defaults: list[float]) -> Iterator[tuple[float, ...]]:
    for k, axis in enumerate(axes):
        for value in axis:
            yield (*defaults[:k], value, *defaults[k + 1 :])


def _numbers(function: Any, moved: dict[str, float], other: str) -> Numbers:
    held = moved.pop(other) if other else None
    with np.errstate(all="ignore"):
        found = curve(function, _POINTS, held, **moved)
    return np.concatenate([found.y, found.d])
