"""Columns: how arrays of one dimension and tables are computed, whatever library they are of.

A missing number counts nothing: it is missing in the result, adds nothing to the sum of a row, and has no gradient.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ...functions import addition, arguments, dtypes, gradients
from ...functions.call import Call, require_one_shape
from ...functions.specification import OfSum


class Column(ABC):
    """The numbers of one column, and which of them are missing.

    Attributes
    ----------
    dtype : numpy.dtype
        Of the numbers.
    keeps_missing : bool
        Whether its library can say that a number is missing.
    """

    dtype: np.dtype[Any]
    keeps_missing: bool

    @abstractmethod
    def numbers(self) -> Any:
        """Return the numbers as a NumPy array, 0 where they are missing."""

    @abstractmethod
    def missing(self) -> Any:
        """Return where numbers are missing, or None if all are there."""

    @abstractmethod
    def like(self, numbers: Any, missing: Any) -> Any:
        """Make a column of the library, of the kind of this one."""

    def stored(self, columns: Sequence[Column]) -> Column | None:
        """Return what is stored of this column, if `columns` store just the same elements; None if all are."""
        return None


class Container(ABC):
    """An array or a table, taken apart.

    It has one part, all of its numbers, or one for each column. A table is one part where its columns are NumPy's and
    of one dtype, so that one call computes them.

    Attributes
    ----------
    shape : tuple of int
    whole : bool
        Whether it is of one dimension, or a table that is one part.
    """

    shape: tuple[int, ...]
    whole: bool = True

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @abstractmethod
    def part(self, place: int | None) -> Column:
        """Return a column of a table by its place, or for None the whole."""

    @abstractmethod
    def wrap(self, parts: list[Any], others: list[Container]) -> Any:
        """Make an array or a table, with the labels of this one, of what `Column.like` made; it met `others`."""


def compute(call: Call, given: dict[str, Any]) -> Any:
    """Compute a call on containers, which meet already, and on numbers and arrays of NumPy."""
    given = _prepared(call.name, given)
    if call.is_rowwise:
        return _along_rows(call, given)
    first, shape = _shape(call.name, given)
    of_parts = _gradients if call.gradients else _results
    return of_parts(call, given, first, _places(given, first), shape)


def _prepared(function: str, given: dict[str, Any]) -> dict[str, Any]:
    for name, value in given.items():
        if isinstance(value, np.ma.MaskedArray):
            raise TypeError(
                f"{function}: {name} is a masked array, and the call has arrays that say otherwise what is missing; "
                f"make one of those of it, or pass {name}.filled(number)"
            )
    return {
        name: value if isinstance(value, Container) else arguments.operand(function, name, value)
        for name, value in given.items()
    }


def _containers(given: dict[str, Any]) -> dict[str, Container]:
    return {name: value for name, value in given.items() if isinstance(value, Container)}


def _shape(function: str, given: dict[str, Any]) -> tuple[Container, tuple[int, ...]]:
    """Return the container whose labels the result gets, and its shape, to which all must broadcast."""
    shape = arguments.broadcast(function, given)
    containers = _containers(given)
    names = [name for name, container in containers.items() if container.shape == shape]
    if not names:
        shapes = ", ".join(f"{name} {np.shape(value)}" for name, value in given.items())
        raise ValueError(f"{function}: the result would have shape {shape}, for which there are no labels: {shapes}")
    for name, container in containers.items():
        if container.ndim != len(shape):
            raise TypeError(
                f"{function}: {names[0]} is a table and {name} has one dimension, which may be a row or a column; "
                "pass a table, or an array of NumPy, whose shape tells"
            )
    return containers[names[0]], shape


def _places(given: dict[str, Any], first: Container) -> list[int | None]:
    """List the parts that are computed one by one."""
    if all(container.whole for container in _containers(given).values()):
        return [None]
    return [*range(first.shape[1])]


def _columns(given: dict[str, Any], place: int | None) -> dict[str, Column]:
    return {name: container.part(place) for name, container in _containers(given).items()}


def _cut(value: Any, shape: tuple[int, ...], place: int | None) -> Any:
    """Return what a part meets of a number or of an array."""
    return value if place is None or not np.ndim(value) else np.broadcast_to(value, shape)[:, place]


def _like(columns: Iterable[Column]) -> Column:
    """Return the column of whose kind the result is: the first that keeps what is missing."""
    columns = [*columns]
    return next((column for column in columns if column.keeps_missing), columns[0])


def _missing(columns: Iterable[Column]) -> Any:
    """Return where one of these misses a number; None if all are there."""
    found = [mask for column in columns if (mask := column.missing()) is not None]
    return functools.reduce(np.logical_or, found) if found else None


def _results(
    call: Call, given: dict[str, Any], first: Container, places: list[int | None], shape: tuple[int, ...]
) -> Any:
    several = len(call.operation.outputs) > 1
    made: list[list[Any]] = [[] for _ in call.operation.outputs]
    for place in places:
        columns = _columns(given, place)
        numbers = {name: _cut(value, shape, place) for name, value in given.items() if name not in columns}
        if not any(np.ndim(number) for number in numbers.values()):
            columns = _stored(columns)
        like, missing = _like(columns.values()), _missing(columns.values())
        numbers.update({name: column.numbers() for name, column in columns.items()})
        results = call.on(numbers)
        for outputs, result in zip(made, results if several else (results,), strict=True):
            outputs.append(like.like(result, missing))
    wrapped = tuple(first.wrap(parts, [*_containers(given).values()]) for parts in made)
    return wrapped if several else wrapped[0]


def _stored(columns: dict[str, Column]) -> dict[str, Column]:
    """Return what sparse columns store, if they store the same places, so that nothing need be made of the others."""
    stored = {name: column.stored([*columns.values()]) for name, column in columns.items()}
    found = {name: column for name, column in stored.items() if column is not None}
    return found if len(found) == len(columns) else columns


def _gradients(
    call: Call, given: dict[str, Any], first: Container, places: list[int | None], shape: tuple[int, ...]
) -> tuple[Any, ...]:
    """Compute several gradients, to which nothing that is missing adds."""
    rows = shape if places == [None] else shape[:1]
    parts: list[tuple[Column, Any, tuple[Any, ...]]] = []
    for place in places:
        columns = _columns(given, place)
        numbers = {
            name: columns[name].numbers() if name in columns else _cut(value, shape, place)
            for name, value in given.items()
        }
        dtype = arguments.resolve(call.spec.selects, [numbers[name] for name in call.operands])
        if isinstance(call.spec, OfSum) and addition.comes_first(call, dtype, numbers):
            raise TypeError(
                f"{call.name}: x + {call.spec.gate} would have another dtype than {dtype}, that of the gradient; "
                "convert dy and both to one"
            )
        missing = _missing(columns.values())
        spread = {name: np.broadcast_to(dtypes.cast(np.asarray(n), dtype), rows) for name, n in numbers.items()}
        found = call.on(spread)
        if missing is not None:
            missing = np.broadcast_to(missing, rows)
            found = tuple(np.where(missing, dtype.type(0), gradient) for gradient in found)
        parts.append((_like(columns.values()), missing, found))
    return tuple(
        _gradient(operand, shape, [(like, missing, found[output]) for like, missing, found in parts])
        for output, operand in enumerate(given[name] for name in call.gradients)
    )


def _gradient(operand: Any, shape: tuple[int, ...], parts: list[tuple[Column, Any, Any]]) -> Any:
    """Return the gradient of one operand, summed to its shape."""
    if isinstance(operand, Container) and operand.shape == shape:
        return operand.wrap([like.like(gradient, missing) for like, missing, gradient in parts], [])
    found = [gradient for _, _, gradient in parts]
    whole = found[0] if found[0].ndim == len(shape) else np.stack(found, axis=1)
    total = gradients.sum_to(whole, np.shape(operand), gradients.add)
    return operand.wrap([operand.part(None).like(total, None)], []) if isinstance(operand, Container) else total[()]


def _along_rows(call: Call, given: dict[str, Any]) -> Any:
    """Compute a row-wise function of containers with the same labels, and of arrays of NumPy."""
    require_one_shape(call.name, given)
    shape, axis = np.shape([*given.values()][-1]), call.axis
    first = [*_containers(given).values()][-1]
    places = _places(given, first)
    likes = [_like(reversed(_columns(given, place).values())) for place in places]
    masks = [_missing(_columns(given, place).values()) for place in places]
    alone = places != [None] and axis in (0, -len(shape))
    if alone or places == [None]:
        results = []
        for place, missing in zip(places, masks, strict=True):
            columns = _columns(given, place)
            arrays = {k: columns[k].numbers() if k in columns else _cut(v, shape, place) for k, v in given.items()}
            results.append(_rows(call._replace(axis=0 if alone else axis), arrays, missing))
    elif places:  # along the rows of a table, whose columns promote
        arrays = {}
        for k, value in given.items():
            columns_of = [_columns(given, place).get(k) for place in places]
            arrays[k] = np.stack([c.numbers() for c in columns_of if c], axis=1) if columns_of[0] else value
        missing = np.stack([np.zeros(shape[:1], bool) if mask is None else mask for mask in masks], axis=1)
        results = [*np.moveaxis(_rows(call, arrays, missing), 1, 0)]
    else:
        results = []
    return first.wrap([like.like(r, m) for like, r, m in zip(likes, results, masks, strict=True)], [])


def _rows(call: Call, arrays: dict[str, Any], missing: Any) -> Any:
    """Compute rows of NumPy arrays; what is missing counts nothing."""
    if missing is not None and missing.any():
        fill = {"x": -np.inf, "dy": 0.0, "y": 0.0}  # a gradient is linear in dy, so that y may be anything there
        dtype = dtypes.floating(*arrays.values())
        arrays = {
            name: np.where(missing, dtype.type(fill[name]), dtypes.cast(array, dtype)) for name, array in arrays.items()
        }
    return call.on(arrays)
