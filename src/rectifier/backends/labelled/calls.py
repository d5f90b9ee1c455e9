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
from ...functions.call import Call
from .. import registry

RANK = 2
capabilities = frozenset({"rows", "gradients"})

_LIBRARIES = ("pandas", "polars", "pyarrow", "xarray")


class Library(Protocol):
    """The interface of the module of a library."""

    def compute(self, call: Call) -> Any:
        """Compute a call; each gradient of several is summed to the shape of its array."""


def compute(call: Call) -> Any:
    """Compute a call by the module of its arrays' library."""
    return _library(call.name, call.given).compute(call)


def snapshot(value: Any) -> Any:
    """Return a parameter as it is now; what has no `copy` does not change."""
    return value.copy() if hasattr(value, "copy") else value


def may_share_memory(a: Any, b: Any) -> bool:
    """Return False: no result is written to an array with labels."""
    return False


@functools.cache
def _library_of(kind: Any) -> str | None:
    library = registry.library_of(kind)
    return library if library in _LIBRARIES else None


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
        if name not in found and library != "xarray" and registry.is_other(value):
            raise TypeError(
                f"{function}: {first} is a {arguments.full_name(type(given[first]))} and {name} a "
                f"{arguments.full_name(type(value))}; convert one of them to NumPy"
            )
    return _module(library)


@functools.cache
def _module(library: str) -> Library:
    return cast(Library, import_module(f".{library}", __package__))
