"""Which module serves an array that is not NumPy's, by the library that its type comes from.

To serve another library, write a module that is a `Backend` and give it a row here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

if TYPE_CHECKING:
    from ..functions.mask import Mask
    from ..functions.rowwise import Axis, RowFunction
    from ..functions.specification import Block, Operation

# The module that defines a type, or a package around it -> what serves arrays of that type.
SERVED_BY: dict[str, str] = {
    "astropy.units": ".quantities",
    "cupy": ".cupy.calls",
    "dask.array": ".dask",
    "dask_array": ".dask",
    "jax": ".array_api",
    "jaxlib": ".array_api",
    "pandas": ".labelled",
    "pint": ".quantities",
    "polars": ".labelled",
    "pyarrow": ".labelled",
    "torch": ".array_api",
    "unyt": ".quantities",
    "xarray": ".labelled",
}
STANDARD = ".array_api"  # what serves any other type with a namespace of the standard and no way with ufuncs of its own


class Backend(Protocol):
    """What a module of this table has. Nothing is written before all arguments have been checked."""

    MASKS: bool  # whether it has masks; else `vjp` keeps x
    RANK: int  # of two modules the higher one serves a call, since its arrays may hold the other's

    def call(
        self,
        block: Block,
        operation: Operation,
        arrays: tuple[Any, ...],
        out: Any,
        values: tuple[Any, ...],
        names: tuple[str, ...],
    ) -> Any:
        """Compute a operation without a mask; `names` are those of the arrays in errors.

        Of a gated block `values` is the gate, and each gradient is summed to the shape of its array.
        """

    def rowwise(self, function: RowFunction, backward: bool, arrays: tuple[Any, ...], out: Any, axis: Axis) -> Any:
        """Compute the value of x, or the gradient of dy and y."""

    def with_mask(self, block: Block, x: Any, out: Any, values: tuple[Any, ...]) -> tuple[Any, Mask]:
        """Compute the value and the mask, which records the parameters as `kept` gives them."""

    def backward_from_mask(self, block: Block, dy: Any, out: Any, mask: Mask, values: tuple[Any, ...]) -> Any:
        """Compute backward from a mask, which agrees with the block and the values."""

    def kept(self, value: Any) -> Any:
        """Give a parameter as it is now, whatever its owner does to it later."""

    def may_share_memory(self, a: Any, b: Any) -> bool:
        """Say whether writing to `a` may change `b`."""


def backend(*arrays: Any) -> Backend | None:
    """Return the module that serves these, the first one of the highest rank; None if NumPy or a ufunc does."""
    serving: Backend | None = None
    for array in arrays:
        kind = type(array)
        if kind not in _known:
            _known[kind] = _serving(kind)
        found = _known[kind]
        if found is not None and (serving is None or found.RANK > serving.RANK):
            serving = found
    return serving


# A dict, since ``torch.compile``, which follows calls up to the module that serves tensors, warns of functools' caches.
_known: dict[type, Backend | None] = {}


def library_of(kind: type) -> str | None:
    """Return the library of the table that a type or one of its ancestors comes from."""
    for ancestor in kind.__mro__:
        for library in SERVED_BY:
            if f"{ancestor.__module__}.".startswith(f"{library}."):
                return library
    return None


def _serving(kind: type) -> Backend | None:
    library = library_of(kind)
    if library is not None:
        return cast(Backend, import_module(SERVED_BY[library], __package__))
    standard = hasattr(kind, "__array_namespace__") and not hasattr(kind, "__array_ufunc__")
    if standard and not issubclass(kind, np.generic):
        return cast(Backend, import_module(STANDARD, __package__))
    return None
