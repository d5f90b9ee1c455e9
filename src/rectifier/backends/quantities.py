"""The calls on quantities, numbers with a unit: of astropy, pint and unyt.

A function for which f(a x) = a f(x) for every positive a keeps the unit of x, and is the same in every unit. Any other
takes dimensionless numbers. A derivative has no unit, and a gradient has that of dy.
"""

from __future__ import annotations

import copy
import itertools
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from ..formulas import arrays as array_primitives
from ..formulas import bind
from ..functions import addition, arguments
from ..functions.call import Call
from ..functions.specification import Gated, OfSum, Specification
from . import registry

RANK = 1
capabilities = frozenset({"rows", "gradients"})


class Units(ABC):
    """A library of units.

    Attributes
    ----------
    kind : type
        Of quantities.
    one : unit
        That of dimensionless numbers.
    plain : str
        How to make plain numbers of a dimensionless quantity of any name.
    """

    kind: type
    one: Any
    plain: str

    @abstractmethod
    def __init__(self, quantity: Any) -> None: ...

    @abstractmethod
    def split(self, quantity: Any) -> tuple[Any, Any]:
        """Return the numbers and the unit."""

    @abstractmethod
    def make(self, numbers: Any, unit: Any) -> Any:
        """Make a quantity."""

    @abstractmethod
    def to(self, quantity: Any, unit: Any) -> Any:
        """Return the numbers in another unit; None if there is no way."""

    @abstractmethod
    def is_linear(self, unit: Any) -> bool:
        """Check whether 0 of a unit is nothing, as it is not of degrees Celsius or decibels."""


class _Astropy(Units):
    plain = "{0}.to_value('')"

    def __init__(self, quantity: Any) -> None:
        import astropy.units

        self.units = astropy.units
        self.kind = astropy.units.Quantity
        self.one = astropy.units.dimensionless_unscaled

    def split(self, quantity: Any) -> tuple[Any, Any]:
        return quantity.value, quantity.unit

    def make(self, numbers: Any, unit: Any) -> Any:
        numbers = np.asanyarray(numbers)  # a masked array of astropy's stays one
        return self.units.Quantity(numbers, unit, dtype=numbers.dtype, copy=False, subok=True)

    def to(self, quantity: Any, unit: Any) -> Any:
        try:
            return quantity.to_value(unit)
        except self.units.UnitsError:
            return None

    def is_linear(self, unit: Any) -> bool:
        if isinstance(unit, self.units.function.FunctionUnitBase):
            return False
        return unit.physical_type != "temperature" or bool(unit.is_equivalent(self.units.K))


class _Pint(Units):
    plain = "{0}.to('').magnitude"

    def __init__(self, quantity: Any) -> None:
        import pint

        self.kind, self.error, self.registry = pint.Quantity, pint.errors.PintError, quantity._REGISTRY
        self.one = self.registry.dimensionless

    def split(self, quantity: Any) -> tuple[Any, Any]:
        return quantity.magnitude, quantity.units

    def make(self, numbers: Any, unit: Any) -> Any:
        return self.registry.Quantity(numbers, unit)

    def to(self, quantity: Any, unit: Any) -> Any:
        try:
            return quantity.m_as(unit)
        except self.error:
            return None

    def is_linear(self, unit: Any) -> bool:
        return bool(self.registry.Quantity(0.0, unit).to_root_units().magnitude == 0)


class _Unyt(Units):
    plain = "{0}.to_value('dimensionless')"

    def __init__(self, quantity: Any) -> None:
        import unyt

        self.kind, self.unyt, self.one = unyt.unyt_array, unyt, unyt.dimensionless

    def split(self, quantity: Any) -> tuple[Any, Any]:
        return quantity.d, quantity.units  # `value` would be a copy

    def make(self, numbers: Any, unit: Any) -> Any:
        kind = self.unyt.unyt_array if np.ndim(numbers) else self.unyt.unyt_quantity
        return kind(numbers, unit)

    def to(self, quantity: Any, unit: Any) -> Any:
        if quantity.dtype.kind in "iu":  # of int32 unyt makes float32
            quantity = quantity.astype(np.float64)
        try:
            return quantity.to_value(unit)
        except self.unyt.exceptions.UnitConversionError:
            return None

    def is_linear(self, unit: Any) -> bool:
        return bool(unit.base_offset == 0)


_LIBRARIES: dict[str, type[Units]] = {"astropy": _Astropy, "pint": _Pint, "unyt": _Unyt}


def _library_of(value: Any) -> str | None:
    if not registry.is_other(value):
        return None
    roots = (ancestor.__module__.partition(".")[0] for ancestor in type(value).__mro__)
    return next((root for root in roots if root in _LIBRARIES), None)


class _Given:
    """The arrays and numbers of a call, and their units."""

    def __init__(self, function: str, given: dict[str, Any]) -> None:
        self.function, self.given = function, given
        libraries = {name: found for name, value in given.items() if (found := _library_of(value))}
        first = next(iter(libraries))
        self.units = _LIBRARIES[libraries[first]](given[first])
        for name, library in libraries.items():
            kind = arguments.full_name(type(given[name]))
            if library != libraries[first]:
                raise TypeError(
                    f"{function}: {first} has a unit of {libraries[first]} and {name} is a {kind}; convert one"
                )
            if not isinstance(given[name], self.units.kind):
                raise TypeError(f"{function}: {name} is a {kind}; it takes quantities and numbers")
        self.numbers: dict[str, Any] = {}
        self.unit: dict[str, Any] = {}
        for name, value in given.items():
            numbers, unit = self.units.split(value) if name in libraries else (value, None)
            if unit is not None and not registry.is_other(numbers):  # some units make numbers of a bool
                arguments.operand(function, name, numbers)
            self.numbers[name], self.unit[name] = numbers, unit

    def is_quantity(self, name: str) -> bool:
        return self.unit[name] is not None

    def to(self, name: str, unit: Any) -> Any:
        """Return the numbers in another unit; None if there is no way."""
        if self.unit[name] == unit:  # unyt converts also then, int32 to float32
            return self.numbers[name]
        return self.units.to(self.given[name], unit)

    def has_dimension(self, name: str) -> bool:
        """Check whether a unit does not come down to a number."""
        return self.is_quantity(name) and self.to(name, self.units.one) is None

    def make_plain(self, name: str, why: str) -> None:
        """Replace a dimensionless quantity by its numbers, percents by hundredths."""
        if not self.is_quantity(name):
            return
        numbers = self.to(name, self.units.one)
        if numbers is None:
            plain = self.units.plain.format(f"({name} / scale)")
            raise TypeError(f"{self.function}: {name} has unit {self.unit[name]}, and {why}: use {plain}")
        self.require_linear(name)
        self.numbers[name], self.unit[name] = numbers, None

    def require_linear(self, name: str) -> None:
        if self.is_quantity(name) and not self.units.is_linear(self.unit[name]):
            raise TypeError(
                f"{self.function}: {name} has unit {self.unit[name]}, in which 0 does not mean none, so the result "
                f"would depend on the unit: convert {name} first, as degrees to kelvin or decibels to a ratio"
            )

    def make(self, numbers: Any, unit: Any) -> Any:
        return self.units.make(numbers, self.units.one if unit is None else unit)

    def product(self, a: str, b: str) -> Any:
        """Return the unit of a product."""
        factors = [unit for unit in (self.unit[a], self.unit[b]) if unit is not None]
        return factors[0] * factors[1] if len(factors) == 2 else factors[0] if factors else None


def compute(call: Call) -> Any:
    """Compute a call on the numbers, and give the results their units."""
    spec, given = call.spec, _Given(call.name, call.given)
    if isinstance(spec, OfSum):
        if call.gradients:
            raise TypeError(f"{call.name} takes no quantities; use {spec.of.name}.backward(dy, x + {spec.gate})")
        return addition.applied(call, call.operands["x"] + call.operands[spec.gate])  # which knows the units
    *others, source = (name for name in call.operands if not (isinstance(spec, Gated) and name == spec.gate))
    if call.is_rowwise:
        given.make_plain(source, f"{spec.name} takes dimensionless numbers")
    else:
        if isinstance(spec, Gated):
            given.make_plain(spec.gate, f"{spec.name} takes a dimensionless {spec.gate}")
        _settle(spec, given, source, [*call.parameters])
    if "dy" in others:
        given.require_linear("dy")
    results = call.on(given.numbers)
    unit_of: dict[str, Any] = {"y": given.unit[source], "d": None, "dx": given.unit.get("dy")}
    if call.gradients:
        return given.make(results[0], unit_of["dx"]), given.make(results[1], given.product("dy", source))
    outputs = call.operation.outputs
    if len(outputs) == 1:
        return given.make(results, unit_of[outputs[0]])
    return tuple(given.make(r, unit_of[output]) for r, output in zip(results, outputs, strict=True))


def _settle(spec: Specification, given: _Given, x: str, parameters: list[str]) -> None:
    """Bring x and the parameters to one unit where the function is the same in all, else to dimensionless numbers."""
    scaled = [name for name in parameters if given.has_dimension(name)]
    others = [name for name in parameters if name not in scaled]
    for name in others:
        given.make_plain(name, f"{spec.name} takes a dimensionless {name}")
    keeps = is_homogeneous(spec, tuple(scaled))
    if not keeps and others and is_homogeneous(spec, tuple(parameters)):
        for name in [x, *scaled]:
            given.make_plain(name, f"{' and '.join(others)} none; give all of them one, or take dimensionless numbers")
    if not scaled and not (given.is_quantity(x) and keeps):
        given.make_plain(x, f"{spec.name} takes dimensionless numbers")
        return
    for name in scaled:
        if not keeps:
            given.make_plain(name, f"{spec.name} takes a dimensionless {name}")
        numbers = given.to(name, given.unit[x]) if given.is_quantity(x) else None
        if numbers is None:
            given.make_plain(name, f"{x} has {given.unit[x] or 'none'}")
        given.numbers[name] = numbers
    given.require_linear(x)


def is_homogeneous(spec: Specification, scaled: tuple[str, ...]) -> bool:
    """Check whether f(a x) = a f(x) for every positive a, where these parameters take the factor too.

    It is tried, at powers of two: they multiply without rounding, so both sides are the same bits. The numbers lie on
    either side of whatever scale a formula may hold.
    """
    key = spec.full_name, spec.value, scaled
    if key not in _homogeneous:
        _homogeneous[key] = _try(spec, scaled)
    return _homogeneous[key]


_homogeneous: dict[Any, bool] = {}


def _try(spec: Specification, scaled: tuple[str, ...]) -> bool:
    function = bind(spec.value, array_primitives.primitives(np.float64))
    magnitudes = np.ldexp([1.0, 1.3, 1.7], np.arange(-60, 61, 2)[:, None]).ravel()
    x = np.concatenate([-magnitudes, [0.0], magnitudes])
    defaults = {name: _around(v) for name, v in spec.parameters.items()}
    if isinstance(spec, Gated):
        defaults = {spec.gate: (0.3, -1.1, 1.0, 2.5)} | defaults
    with np.errstate(all="ignore"):
        for numbers in itertools.product(*defaults.values()):
            parameters = dict(zip(defaults, numbers, strict=True))
            for factor in (0.125, 32.0):
                larger = {name: v * factor if name in scaled else v for name, v in parameters.items()}
                y = function(x, *parameters.values())
                if not np.array_equal(function(x * factor, *larger.values()), factor * y, equal_nan=True):
                    return False
    return True


def _around(default: float) -> tuple[float, ...]:
    return (default, 0.5 * default, 2.0 * default + 0.25)


def snapshot(value: Any) -> Any:
    """Return a parameter as it is now, whatever its owner does to it later."""
    return copy.deepcopy(value)


def may_share_memory(a: Any, b: Any) -> bool:
    """Return False: no result is written to a quantity."""
    return False
