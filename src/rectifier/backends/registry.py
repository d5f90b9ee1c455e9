"""Which backend serves an array, by the library that its type comes from, and what a backend is.

To serve another library, write a module that is a `Backend` and give it a row here.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol, cast

import numpy as np

from ..functions import arguments
from ..functions.call import Call
from ..functions.specification import QUANTIZED, Loss, OfSum
from . import numpy, ufunc

# The module that defines a type, or a package around it -> the module that serves arrays of that type.
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
STANDARD = ".array_api"  # any other type that implements the array API standard and does not override ufuncs

# What a backend may be able to do beside a function's value and derivatives.
CAPABILITIES = {
    "out": "results are written to arrays that the caller passes",
    "mask": "`with_mask`, and `backward` from a mask; `add`, as in `rectifier.functions.gradients`, sums a gradient",
    "rows": "functions of whole rows",
    "reductions": "functions of whole rows that give one number each",
    "gradients": "`backward` of a function of two arrays",
    "tables": "`quantized`, and floats of eight bits and fewer",
    "options": "`where`, `scale`, `causal` and `sink` of functions of whole rows",
    "packed": "`packed`, of a function of two arrays that are halves of one",
    "losses": "`softmax_cross_entropy`",
}
_USUAL = frozenset(CAPABILITIES) - {"tables"}


class Backend(Protocol):
    """The interface of a module of this table. Nothing is written before all arguments have been checked."""

    capabilities: frozenset[str]  # of `CAPABILITIES`; what is not here is refused before `compute` is asked
    RANK: int  # of two backends the higher one serves a call, since its arrays may hold the other's

    def compute(self, call: Call) -> Any:
        """Compute a call, whose operands and parameters are not yet checked.

        Each gradient of several is summed to the shape of its array.
        """

    def empty_like(self, array: Any, dtype: Any) -> Any:
        """Make an array of a shape, with anything in it; for a backend that has "out" and "packed"."""

    def join(self, parts: tuple[Any, Any], axis: int, interleaved: bool) -> Any:
        """Pack two arrays of one shape into one, behind one another or interleaved; for one without "out"."""

    def snapshot(self, value: Any) -> Any:
        """Return a parameter as it is now, whatever its owner does to it later."""

    def may_share_memory(self, a: Any, b: Any) -> bool:
        """Return whether writing to `a` may change `b`."""


def compute(call: Call) -> Any:
    """Compute a call by the backend of its arrays."""
    backend = serving(*call.arrays.values())
    if call.operation is QUANTIZED or not backend.capabilities >= _USUAL:
        _require(call, backend.capabilities)
    if not call.operation.makes_mask:
        return backend.compute(call)
    kept = snapshot(call.parameters)  # before `out`, which may be one of them, is written
    y, mask = backend.compute(call)
    mask._parameters = kept
    return y, mask


def serving(*arrays: Any) -> Backend:
    """Return the backend that serves these: the first one of the highest rank."""
    found: Backend | None = None
    for array in arrays:
        kind = type(array)
        if kind not in _known:
            _known[kind] = _backend_of(kind)
        backend = _known[kind]
        if found is None or backend.RANK > found.RANK:
            found = backend
    return found or _NUMPY


# A dict, since ``torch.compile``, which follows calls up to the module that serves tensors, warns of functools' caches.
_known: dict[type, Backend] = {}


def is_other(array: Any) -> bool:
    """Return whether an array is served by another backend than NumPy's."""
    return serving(array) is not _NUMPY


def library_of(kind: type) -> str | None:
    """Return the library of the table that a type or one of its ancestors comes from."""
    for ancestor in kind.__mro__:
        for library in SERVED_BY:
            if f"{ancestor.__module__}.".startswith(f"{library}."):
                return library
    return None


def _backend_of(kind: type) -> Backend:
    library = library_of(kind)
    if library is not None:
        return _backend(SERVED_BY[library])
    override = getattr(kind, "__array_ufunc__", None)
    if issubclass(kind, np.generic) or override is np.ndarray.__array_ufunc__:
        return _NUMPY
    if override is not None:
        return _UFUNC
    standard = hasattr(kind, "__array_namespace__") and not hasattr(kind, "__array_ufunc__")
    return _backend(STANDARD) if standard else _NUMPY


_NUMPY, _UFUNC = cast(Backend, numpy), cast(Backend, ufunc)  # the last for any type that overrides `__array_ufunc__`


def _backend(module: str) -> Backend:
    return cast(Backend, import_module(module, __package__))


def _require(call: Call, capabilities: frozenset[str]) -> None:
    """Refuse what the backend of a call cannot do."""
    operation, function = call.operation, call.name
    name, array = next(((n, a) for n, a in call.arrays.items() if is_other(a)), ("", None))
    kind = arguments.full_name(type(array))
    if operation is QUANTIZED and "tables" not in capabilities:
        raise TypeError(f"{function} takes arrays of NumPy and Dask, and {name} is a {kind}; convert to NumPy first")
    if call.out is not None and "out" not in capabilities:
        raise TypeError(
            f"{function}: out is for arrays of NumPy and CuPy, and this call has a {kind}: assign the result instead"
        )
    if (operation.makes_mask or operation.reads_mask) and "mask" not in capabilities:
        gate = call.spec.gate if isinstance(call.spec, OfSum) else None
        instead = f"backward(dy, x, {gate})" if gate else "vjp, which keeps x, or backward(dy, x)"
        raise TypeError(
            f"{function}: {name} is a {kind}, and masks are for arrays of NumPy, CuPy and Dask; use {instead}"
        )
    if isinstance(call.spec, Loss) and "losses" not in capabilities:
        dense = arguments.to_numpy(name, array)
        raise TypeError(
            f"{function} takes arrays of NumPy, Dask, JAX and PyTorch, and {name} is a {kind}"
            + (f"; convert it by {dense}" if dense else "; convert it to one of those")
        )
    if call.options is not None and not call.reduces and "options" not in capabilities:
        raise TypeError(
            f"{function}: where, scale, causal and sink are not for a {kind}, which {name} is; multiply x by the scale "
            "and put -inf where its numbers do not count, or convert to NumPy first"
        )
    wanted = {"rows", *(["reductions"] if call.reduces else [])} if call.is_rowwise else set()
    if not wanted <= capabilities or (call.gradients and "gradients" not in capabilities):
        dense = arguments.to_numpy(name, array)
        raise TypeError(
            f"{function} takes NumPy arrays, and {name} is a {kind}; convert to NumPy first"
            + (f", by {dense}" if dense else "")
        )


def snapshot(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of a call as a mask or a pullback keeps them: copies, which nobody changes later."""
    return {
        name: value if type(value) in (int, float) else serving(value).snapshot(value)
        for name, value in parameters.items()
    }


def may_share_memory(out: Any, *arrays: Any) -> bool:
    """Return whether writing to `out` may change one of these, which may be anything that a user passes."""
    outs = out if isinstance(out, tuple) else (out,)
    return any(serving(own).may_share_memory(own, array) for own in outs for array in arrays)
