"""The calls on arrays of JAX, PyTorch, and any library that follows the Python array API standard.

Concrete (not traced) CPU arrays are passed to the CPU engine, without a copy where their library and NumPy can share
memory. Any other array goes through the formula in the operations of its own library, and stays on its device. Smooth
functions are computed in float64, as on the CPU, and rounded once.
"""

from __future__ import annotations

import math
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from ...functions import addition, arguments, dtypes, targets
from ...functions.call import Call, prepare
from ...functions.reduction import of_nothing
from ...functions.rows import as_rows, from_rows
from ...functions.specification import BACKWARD, DERIVATIVE, VALUE, Gated, Loss, OfSum, Operation
from .. import registry
from . import losses, row_options
from .formula import (
    compute_formula,
    derivative_at,
    reduced_gradient,
    reduced_tangent,
    reduced_value,
    row_gradient,
    row_tangent,
    row_value,
)
from .library import Library, RowRule, Rule

RANK = 0
capabilities = frozenset({"rows", "reductions", "gradients", "options", "packed", "losses"})
_MODULES = {"jax": "jax", "jaxlib": "jax", "torch": "torch"}


def compute(call: Call) -> Any:
    """Compute a call, by the CPU engine where it can see the numbers, else by the formula."""
    library = _library(call.arrays)
    if isinstance(call.spec, Loss):
        return library.entry(_losses)(library, call)
    way = _reduced if call.reduces else _rows if call.is_rowwise else _elementwise
    return library.entry(way)(library, call)


def join(parts: tuple[Any, Any], axis: int, interleaved: bool) -> Any:
    """Pack two arrays into one, behind one another or interleaved."""
    xp, shape = _library({"": parts[0]}).xp, parts[0].shape
    if not interleaved:
        return xp.concat(parts, axis=axis)
    return xp.reshape(xp.stack(parts, axis=axis + 1), (*shape[:axis], 2 * shape[axis], *shape[axis + 1 :]))


def snapshot(value: Any) -> Any:
    """Return a copy of a parameter."""
    return _library({"": value}).xp.asarray(value, copy=True)


def may_share_memory(a: Any, b: Any) -> bool:
    """Return False: no result is written to such an array."""
    return False


def _library(given: dict[str, Any]) -> Library:
    array = next(value for value in given.values() if registry.is_other(value))
    kind = type(array)
    if kind not in _libraries:
        _libraries[kind] = _library_of(kind) or Library(array.__array_namespace__(), kind)
    return _libraries[kind]


_libraries: dict[type, Library] = {}


def _library_of(kind: type) -> Any:
    """Return what is known of the library of a type: its own module here, or None to ask an array for its namespace."""
    name = _MODULES.get(registry.library_of(kind) or "")
    return import_module(f".{name}", __package__).LIBRARY if name else None


def _elementwise(library: Library, call: Call) -> Any:
    spec, operation = call.spec, call.operation
    as_operand, dtype_of = partial(_operand, library), partial(_stand_in, library)
    prepared = prepare(call, as_operand, dtype_of=dtype_of)
    dtype, operands, parameters, shape, _ = prepared
    for name, value in parameters.items():
        if not library.is_own(value):
            arguments.fitting(call.name, name, value, dtype)
    given = operands | parameters
    kind = library.result(dtype.name)
    likes = {name: dtype_of(call.name, name, value) for name, value in operands.items()}
    of_sum = isinstance(spec, OfSum)
    if _is_plain(library, given) and not (of_sum and addition.comes_first(call, dtype, likes)):
        return _on_cpu(library, call, given, kind)
    if of_sum:
        return _in_two_steps(library, call, operands)
    if operation.name == VALUE.name:
        return _differentiable(library, call, kind, operands, parameters, shape)
    if len(operation.outputs) > 1 and not call.gradients:
        return tuple(_elementwise(library, call._replace(operation=one)) for one in (VALUE, DERIVATIVE))
    results = compute_formula(library, spec, operation, kind, tuple(given.values()), shape)
    if call.gradients:
        shapes = (np.shape(operands[name]) for name in call.gradients)
        results = tuple(library.summed(gradient, own) for gradient, own in zip(results, shapes, strict=True))
    return results


def _in_two_steps(library: Library, call: Call, operands: dict[str, Any]) -> Any:
    """Let the library add, and differentiate its sum; then apply the function."""
    spec: Any = call.spec
    result = addition.applied(call, operands["x"] + operands[spec.gate])
    if not call.gradients:
        return result
    return tuple(library.summed(result, np.shape(operands[name])) for name in call.gradients)


def _is_plain(library: Library, given: dict[str, Any]) -> bool:
    return all(library.is_plain(array) for array in given.values() if library.is_own(array))


def _operand(library: Library, function: str, name: str, value: Any) -> Any:
    if library.is_own(value) or arguments.is_python_number(value):
        library.require_dense(function, name, value)
        return value
    arguments.refuse_masked(function, name, value)
    if library.takes_numpy and isinstance(value, np.ndarray):
        return library.xp.asarray(value)
    other = registry.is_other(value)
    if not other and (array := arguments.operand(function, name, value)).ndim == 0:
        return array[()]
    library_name = library.xp.__name__.partition(".")[0]
    dense = arguments.to_numpy(name, value) if other else None
    how = dense or f"{library_name}'s asarray"
    raise TypeError(
        f"{function}: {name} is a {arguments.full_name(type(value))}, and the call has arrays of {library_name}; "
        f"it takes those and numbers: make one of it by {how}, or take all to NumPy"
    )


def _stand_in(library: Library, function: str, name: str, value: Any) -> Any:
    """Return an empty array of NumPy with the dtype of another library's, from which the result's dtype follows."""
    if not hasattr(value, "dtype") or isinstance(value, np.generic):
        return value
    text = str(value.dtype).rpartition(".")[2]
    try:
        dtype = dtypes.named(text)
        dtypes.require_real(dtype, name, function)
    except ImportError:
        raise TypeError(f"{function}: {name} is bfloat16, which needs ml_dtypes: pip install ml_dtypes") from None
    except TypeError:
        raise TypeError(
            f"{function}: {name} has dtype {value.dtype}; it takes integers and float16 to float64: "
            f"{library.advice(text, name)}"
        ) from None
    return np.empty((0,), dtype)


def _on_cpu(library: Library, call: Call, given: dict[str, Any], kind: str) -> Any:
    """Compute by the CPU engine, on the memory of the arrays."""
    if call.options:
        of_numpy = {name: library.to_numpy(a) for name, a in call.options.arrays.items() if library.is_own(a)}
        call = call._replace(options=call.options._replace(**of_numpy))
    numbers = {name: library.to_numpy(array) if library.is_own(array) else array for name, array in given.items()}
    if kind == "float32":  # also of int8, where a library lacks the float16 that NumPy makes of it
        small = {name: array for name, array in numbers.items() if getattr(array, "dtype", None) in (np.int8, np.uint8)}
        numbers |= {name: array.astype(np.float32) for name, array in small.items() if name != "target"}  # but classes
    results = call.on(numbers)
    if isinstance(results, tuple):
        return tuple(library.from_numpy(np.asarray(result)) for result in results)
    return library.from_numpy(np.asarray(results))


def _differentiable(
    library: Library,
    call: Call,
    dtype: str,
    operands: dict[str, Any],
    parameters: dict[str, Any],
    shape: tuple[int, ...],
) -> Any:
    """Compute a value such that its library differentiates it by our rule."""
    spec, given, names = call.spec, (*operands.values(), *parameters.values()), (*operands, *parameters)
    places = [place for place, array in enumerate(given) if library.is_own(array)]
    backward_of = spec.operations["backward"]
    gated = isinstance(spec, Gated)

    def filled(arrays: tuple[Any, ...]) -> tuple[Any, ...]:
        every = list(given)
        for place, array in zip(places, arrays, strict=True):
            every[place] = array
        return tuple(every)

    def computed(operation: Operation, every: tuple[Any, ...]) -> Any:
        named = dict(zip((*operation.inputs, *parameters), every, strict=True))
        if _is_plain(library, named):
            return _on_cpu(library, call._replace(operation=operation), named, dtype)
        return compute_formula(library, spec, operation, dtype, every, shape)

    def value(*arrays: Any) -> Any:
        return computed(call.operation, filled(arrays))

    def derivative(order: tuple[int, ...], *arrays: Any) -> Any:
        return derivative_at(library, spec, dtype, tuple(places[place] for place in order), filled(arrays), shape)

    def times(t: Any, order: tuple[int, ...], *arrays: Any) -> Any:
        every = filled(arrays)
        if len(order) == 1 and not gated and _is_plain(library, dict(enumerate((t, *every)))):  # type: ignore[arg-type]
            return computed(BACKWARD, (t, *every))
        d = derivative(order, *arrays)
        wide = library.astype(t, np.dtype(spec.working(dtype)).name)
        return library.astype(library.xp.where(d == 0, 0 * d, wide * d), dtype)

    def backward(dy: Any, *arrays: Any) -> tuple[Any, ...]:
        every = (dy, *filled(arrays))
        if gated:  # the engine sums to the shapes that it sees
            every = tuple(library.xp.broadcast_to(a, shape) if library.is_own(a) else a for a in every)
        found = computed(backward_of, every)
        found = found if isinstance(found, tuple) else (found,)
        own = [found[place] for place in places if place < len(operands)]
        return tuple(library.summed(g, np.shape(a)) for g, a in zip(own, arrays, strict=False))

    without = tuple(names[place] for place in places if place >= len(operands))
    rule = Rule(spec.name, derivative, times, backward, without)
    return library.differentiable(value, rule, *(given[place] for place in places))


def _rows(library: Library, call: Call) -> Any:
    """Compute along rows."""
    as_operand, dtype_of = partial(_operand, library), partial(_stand_in, library)
    dtype, operands, _, shape, axes = prepare(call, as_operand, dtype_of=dtype_of)
    spec: Any = call.spec
    kind = library.result(dtype.name)
    arrays_of_options = call.options.arrays if call.options else {}
    if _is_plain(library, operands | arrays_of_options):
        return _on_cpu(library, call._replace(axis=axes), operands, kind)
    like = next(array for array in operands.values() if library.is_own(array))
    arrays = [a if library.is_own(a) else library.number(float(a), kind, like) for a in operands.values()]
    options = call.options and row_options.checked(library, call, shape, axes, dtype, like)
    if len(axes) != 1:
        how = library.xp.permute_dims, library.xp.reshape
        rows = {name: as_rows(array, axes, *how) for name, array in zip(operands, arrays, strict=True)}
        if options and options.where is not None:
            where = as_rows(library.xp.broadcast_to(options.where, shape), axes, *how)
            options = options._replace(where=where)
        results = _rows(library, call._replace(operands=rows, axis=-1, options=options))
        if isinstance(results, tuple):
            return from_rows(results[0], axes, shape, *how), results[1]
        return from_rows(results, axes, shape, *how)
    (place,) = axes
    if options:
        return row_options.compute(library, call, kind, place, tuple(arrays), options)
    if "dy" in operands:
        return row_gradient(library, spec, kind, place, *arrays)
    forward, backward = (partial(way, library, spec, kind, place) for way in (row_tangent, row_gradient))
    rule = RowRule(forward, backward)
    return library.differentiable_rows(partial(row_value, library, spec, kind, place), rule, *arrays)


def _losses(library: Library, call: Call) -> Any:
    """Compute losses."""
    as_operand, dtype_of = partial(_operand, library), partial(_stand_in, library)
    checked = targets.check(call, as_operand, dtype_of)
    kind = library.result(checked.dtype.name)
    if call.out is not None:
        raise TypeError(f"{call.name}: out is for arrays of NumPy, and this call has others: assign the result instead")
    if _is_plain(library, checked.operands):
        return _on_cpu(library, call._replace(axis=checked.axis), checked.operands, kind)
    target = checked.operands["target"]
    if not library.is_own(target) or library.is_plain(target):  # else nobody sees its numbers now
        numbers = library.to_numpy(target) if library.is_own(target) else np.asarray(target)
        classes = arguments.shape_of(checked.operands["x"])[checked.axis] if checked.has_classes else None
        targets.require_numbers(call.name, numbers, classes, checked.dtype)
    return losses.compute(library, call, checked, kind)


def _reduced(library: Library, call: Call) -> Any:
    """Compute one number a row, or its gradient."""
    as_operand, dtype_of = partial(_operand, library), partial(_stand_in, library)
    dtype, operands, _, shape, axes = prepare(call, as_operand, dtype_of=dtype_of)
    spec: Any = call.spec
    options: Any = call.options
    kind, xp = library.result(dtype.name), library.xp
    given = operands | options.arrays
    if _is_plain(library, given):
        return _on_cpu(library, call._replace(axis=axes), operands, kind)
    like = next(array for array in given.values() if library.is_own(array))
    own = {name: a if library.is_own(a) else library.number(float(a), kind, like) for name, a in operands.items()}
    x, where = own["x"], options.where
    whole, how = tuple(x.shape), (xp.permute_dims, xp.reshape)
    if where is not None:
        where = row_options.operand(library, call.name, "where", where, like)
        x = library.astype(x, kind)
        x = xp.where(where, x, library.number(spec.nothing, kind, x))
    rows = as_rows(x, axes, *how) if axes != (len(whole) - 1,) else x
    if not math.prod(whole):
        x = library.astype(x, kind)
        if "dy" in own or not axes:
            return x
        return xp.reshape(xp.sum(x, axis=axes, keepdims=True) + of_nothing(spec), shape)
    if "dy" in own:
        dy = xp.reshape(own["dy"], (*rows.shape[:-1], 1))
        dx = from_rows(reduced_gradient(library, spec, kind, len(rows.shape) - 1, dy, rows), axes, whole, *how)
        return dx if where is None else xp.where(where, dx, library.number(0.0, kind, dx))
    forward, backward = (partial(way, library, spec, kind, -1) for way in (reduced_tangent, reduced_gradient))
    rule = RowRule(forward, backward, of_x=True)
    y = library.differentiable_rows(partial(reduced_value, library, spec, kind, -1), rule, rows)
    return xp.reshape(y, shape)
