"""The calls on arrays with labels and nulls: of pandas, Polars, PyArrow and xarray.

An array is taken apart, its numbers go through the ordinary call, and the results get the labels, names and nulls of
what came in. Arrays meet by their labels as in the library's own ufuncs. A library is imported when an array of it
comes.
"""

from __future__ import annotations

import functools
from importlib import import_module
from typing import Any, Protocol, cast

from ...functions import arguments
from ...functions.mask import Mask
from ...functions.rowwise import RowFunction
from ...functions.specification import Block, Operation
from .. import registry

MASKS = False
RANK = 2

_LIBRARIES = ("pandas", "polars", "pyarrow", "xarray")


class Library(Protocol):
    """What the module of a library has. `given` holds the arrays and numbers of a call by their names."""

    def call(self, function: str, block: Block, operation: Operation, given: dict[str, Any]) -> Any:
        """Compute an elementwise operation; of a gated block both gradients, summed to the shapes of their arrays."""

    def rowwise(self, name: str, function: RowFunction, backward: bool, given: dict[str, Any], axis: Any) -> Any:
        """Compute the value of x, or the gradient of dy and y, along an axis."""


@functools.cache
def _library_of(kind: Any) -> str | None:
    for ancestor in kind.__mro__:
        root: str = ancestor.__module__.partition(".")[0]
        if root in _LIBRARIES:
            return root
    return None


def _library(function: str, given: dict[str, Any]) -> Library:
    """Return the module of the library of a call, which has arrays of one; another library's carry labels it lacks."""
    kinds: dict[str, Any] = {name: type(value) for name, value in given.items()}
    found = {name: library for name, kind in kinds.items() if (library := _library_of(kind))}
    (first, library), *others = found.items()
    for name, other in others:
        if other != library:
            raise TypeError(
                f"{function}: {first} is a {arguments.full_name(type(given[first]))} and {name} a "
                f"{arguments.full_name(type(given[name]))}, which have no labels in common; convert one of them"
            )
    for name, value in given.items():
        if name not in found and library != "xarray" and registry.backend(value) is not None:
            raise TypeError(
                f"{function}: {first} is a {arguments.full_name(type(given[first]))} and {name} a "
                f"{arguments.full_name(type(value))}; convert one of them to NumPy"
            )
    return _module(library)


@functools.cache
def _module(library: str) -> Library:
    return cast(Library, import_module(f".{library}", __name__))


def call(
    block: Block,
    operation: Operation,
    arrays: tuple[Any, ...],
    out: Any,
    values: tuple[Any, ...],
    names: tuple[str, ...],
) -> Any:
    """Compute a operation without a mask."""
    function = block.named(operation)
    given = dict(zip((*names, *block.parameters), (*arrays, *values), strict=True))
    arguments.refuse_out(function, out, given.values())
    return _library(function, given).call(function, block, operation, given)


def rowwise(function: RowFunction, backward: bool, arrays: tuple[Any, ...], out: Any, axis: Any) -> Any:
    """Compute the value of x, or the gradient of dy and y, along an axis."""
    name = f"{function.__name__}.backward" if backward else function.__name__
    arguments.refuse_out(name, out, arrays)
    given = dict(zip(("dy", "y") if backward else ("x",), arrays, strict=True))
    return _library(name, given).rowwise(name, function, backward, given, axis)


def with_mask(block: Block, x: Any, out: Any, values: tuple[Any, ...]) -> tuple[Any, Mask]:
    """Refuse: a mask has no labels."""
    raise arguments.no_masks(f"{block.name}.with_mask", dict(zip(("x", *block.parameters), (x, *values), strict=True)))


def backward_from_mask(block: Block, dy: Any, out: Any, mask: Mask, values: tuple[Any, ...]) -> Any:
    """Refuse, as `with_mask` does."""
    raise arguments.no_masks(f"{block.name}.backward", dict(zip(("dy", *block.parameters), (dy, *values), strict=True)))


def kept(value: Any) -> Any:
    """Return a parameter as it is now; what has no `copy` does not change."""
    return value.copy() if hasattr(value, "copy") else value


def may_share_memory(a: Any, b: Any) -> bool:
    """Tell that no result is written to an array with labels."""
    return False
