"""xarray: data arrays, variables and datasets, whatever arrays they hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from ...functions import arguments, dtypes
from ...functions.call import Call
from .. import registry


def _prepared(function: str, given: dict[str, Any]) -> dict[str, Any]:
    """Check the arrays of a call by their names; another library's are judged by the call on what xarray holds."""
    made = {}
    for name, value in given.items():
        if isinstance(value, xr.Dataset):
            for label, variable in value.data_vars.items():
                if isinstance(variable.dtype, np.dtype):
                    dtypes.require_real(variable.dtype, f"{name}[{label!r}]", function)
        elif not _is_own(value) and not registry.is_other(value):
            value = arguments.operand(function, name, value)
        made[name] = value
    return made


def _is_own(value: Any) -> bool:
    return any(ancestor.__module__.partition(".")[0] == "xarray" for ancestor in type(value).__mro__)


def _raw(array: Any) -> Any:
    """Return an extension array of pandas, which xarray wraps in a class of its own."""
    return getattr(array, "array", array) if _is_own(array) else array


def compute(call: Call) -> Any:
    """Compute a call as xarray's ufuncs do: by dimensions, joined by coordinates, lazily on Dask."""
    function, given = call.name, _prepared(call.name, call.given)
    if call.is_rowwise:
        return _rows(call, given)
    if call.gradients:
        return _gradients(call, given)
    _require_labels(function, given)

    def compute(*arrays: Any) -> Any:
        return call.on(dict(zip(given, map(_raw, arrays), strict=True)))

    try:
        return _applied(compute, given, call)
    except ValueError as error:  # of labels that do not meet
        if str(error).startswith(f"{function}: "):
            raise
        raise ValueError(f"{function}: {' and '.join(given)} do not meet: {error}") from error


def _applied(compute: Callable[..., Any], given: dict[str, Any], call: Call) -> Any:
    options = xr.get_options()
    return xr.apply_ufunc(
        compute,
        *given.values(),
        input_core_dims=((),) * len(given),
        output_core_dims=((),) * len(call.operation.outputs),
        join=options["arithmetic_join"],
        dataset_join=options["arithmetic_join"],
        dataset_fill_value=np.nan,
        dask="allowed",
        keep_attrs=True if options["keep_attrs"] == "default" else options["keep_attrs"],
    )


def _require_labels(function: str, given: dict[str, Any]) -> None:
    """Refuse a bare array with more dimensions than the labels name; apply_ufunc would compute, and then fail."""
    own = {name: value for name, value in given.items() if _is_own(value)}
    if any(not isinstance(value, (xr.DataArray, xr.Variable)) for value in own.values()):
        return
    dims = {dim for value in own.values() for dim in value.dims}
    for name, value in given.items():
        if name not in own and (number := len(arguments.shape_of(value))) > len(dims):
            raise ValueError(
                f"{function}: {name} has {number} dimensions without names, and {' and '.join(own)} only "
                f"{len(dims)} with; make a DataArray of {name}"
            )


def _require_arrays(function: str, given: dict[str, Any]) -> None:
    for name, value in given.items():
        if _is_own(value) and not isinstance(value, (xr.DataArray, xr.Variable)):
            advice = f": use {name}.map({function})" if isinstance(value, xr.Dataset) and len(given) == 1 else ""
            raise TypeError(
                f"{function}: {name} is a {arguments.full_name(type(value))}; "
                f"of xarray it takes data arrays and variables{advice}"
            )


def _same_coordinates(function: str, given: dict[str, Any]) -> None:
    """Refuse data arrays of which a join would drop elements: those would be lacking in a sum."""
    arrays = {name: value for name, value in given.items() if isinstance(value, xr.DataArray)}
    try:
        xr.align(*arrays.values(), join="exact", copy=False)
    except ValueError as error:
        met = " and ".join(arrays)
        raise ValueError(f"{function}: {met} do not meet: {error}; align them first, by xarray.align") from error


def _gradients(call: Call, given: dict[str, Any]) -> tuple[Any, ...]:
    """Compute both gradients, each summed over the dimensions that its array lacks."""
    _require_arrays(call.name, given)
    _same_coordinates(call.name, given)
    own = {name: value for name, value in given.items() if _is_own(value)}
    dims = [*dict.fromkeys(dim for value in own.values() for dim in value.dims)]
    numbers = {name: _spread(own[name], dims) if name in own else value for name, value in given.items()}
    gradients = call.on(numbers)
    return tuple(
        _gathered(own[name], dims, gradient) if name in own else gradient
        for name, gradient in zip(call.gradients, gradients, strict=True)
    )


def _spread(array: Any, dims: list[Any]) -> Any:
    """Return the data with an axis for each dimension, of one element where the array has none."""
    ordered = array.transpose(*[dim for dim in dims if dim in array.dims])
    return _raw(ordered.data)[tuple(slice(None) if dim in array.dims else None for dim in dims)]


def _gathered(array: Any, dims: list[Any], data: Any) -> Any:
    """Undo `_spread`, with the labels of the array."""
    data = data[tuple(slice(None) if dim in array.dims else 0 for dim in dims)]
    variable = xr.Variable([dim for dim in dims if dim in array.dims], data).transpose(*array.dims)
    return array.copy(data=variable.data)


def _rows(call: Call, given: dict[str, Any]) -> Any:
    """Compute along rows of arrays that have the same coordinates."""
    name = call.name
    _require_arrays(name, given)
    if "dy" not in given:
        (x,) = given.values()
        return x.copy(data=call.on({"x": _raw(x.data)}))
    _same_coordinates(name, given)
    dy, y = given["dy"], given["y"]
    if _is_own(dy) and _is_own(y):
        if set(dy.dims) != set(y.dims):
            raise ValueError(f"{name}: dy has dimensions {dy.dims}, y {y.dims}")
        dy = dy.transpose(*y.dims)
    data = {k: _raw(array.data) if _is_own(array) else array for k, array in (("dy", dy), ("y", y))}
    like = y if _is_own(y) else dy
    return like.copy(data=call.on(data))
