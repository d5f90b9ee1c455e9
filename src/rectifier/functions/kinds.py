"""How a public function of each kind is put together of its specification: its template, and its methods."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from typing import Any, NamedTuple

from ..engine.rowoptions import OptionMethod
from ..engine.rows import RowMethod
from ..engine.ufuncs import Method
from . import docstrings, methods, packed, signatures, sums
from .specification import (
    BACKWARD,
    DERIVATIVE,
    QUANTIZED,
    VALUE,
    VALUE_AND_DERIVATIVE,
    Elementwise,
    Gated,
    Operation,
    Rowwise,
    Specification,
)


def _loop(function: Any, operation: Operation, name: str, *scopes: dict[str, Any], word: str = "_compiled_") -> Any:
    """Add the compiled call of an operation; when it is made it is written into the globals of public ones."""
    spec = function.spec

    def publish(compiled: Any) -> None:
        for scope in scopes:
            scope[word] = compiled

    if isinstance(spec, Rowwise):
        made: Any = RowMethod(spec, operation.name == "backward", publish)
    else:
        made = Method(spec, operation, name, spec.dtypes, publish)
    function.methods[operation.name] = made
    return made


def _method(
    function: Any, name: str, template: str, call: Any, operation: Operation | None = None, *scopes: dict[str, Any]
) -> dict[str, Any]:
    """Add a method to a function; return the method's globals, where its compiled call is written, as in `scopes`."""
    spec, scope = function.spec, {"_call_": call, "_backward_": getattr(function, "backward", None)}
    method = signatures.make(
        template, f"{spec.name}.{name}", spec.module, scope, parameters=spec.parameters, gate=getattr(spec, "gate", ""),
        maker=spec.full_name, doc=docstrings.method(spec, name),
    )  # fmt: skip
    *owners, own = name.split(".")
    setattr(reduce(getattr, owners, function), own, method)
    if operation is not None:
        loop = _loop(function, operation, f"{spec.name}.{name}.ufunc", scope, *scopes)
        if not isinstance(spec, Rowwise):
            method.ufunc = loop.ufunc
    return scope


def _complete_elementwise(function: Any, spec: Elementwise) -> None:
    own, masks = function.__globals__, "with_mask" in spec.operations
    own["_call_"] = partial(methods.call, function, VALUE)
    backward = _method(function, "backward", signatures.BACKWARD, partial(methods.backward, function), BACKWARD)
    for operation, template in (
        (DERIVATIVE, signatures.ONE_ARRAY), (VALUE_AND_DERIVATIVE, signatures.TWO_RESULTS),
    ):  # fmt: skip
        _method(function, operation.name, template, partial(methods.call, function, operation), operation)
    if not signatures.QUANTITIES & spec.parameters.keys():
        _method(function, "quantized", signatures.QUANTIZED, partial(methods.call, function, QUANTIZED))
    with_mask = _method(function, "with_mask", signatures.WITH_MASK, partial(methods.with_mask, function))
    by_what = signatures.VJP_BY_MASK if masks else signatures.VJP_BY_X
    vjp = _method(function, "vjp", by_what, partial(methods.vjp, function))
    function.ufunc = _loop(function, VALUE, f"{spec.name}.ufunc", own, *([] if masks else [vjp])).ufunc
    if masks:
        made, read = spec.operations["with_mask"], spec.operations["backward_from_mask"]
        _loop(function, made, f"{spec.name}.with_mask", with_mask, vjp)
        _loop(function, read, f"{spec.name}.backward_from_mask", backward, word="_from_mask_")
    if not signatures.OF_SUMS & spec.parameters.keys():
        function.of_sum = sums.make(function, spec)


def _complete_gated(function: Any, spec: Gated) -> None:
    value, backward = spec.operations["value"], spec.operations["backward"]
    function.__globals__["_call_"] = partial(methods.call, function, value)
    scopes: list[dict[str, Any]] = []
    if not signatures.OF_PACKED & spec.parameters.keys():
        for name, template, call in (
            ("packed", signatures.PACKED, packed.value),
            ("packed.backward", signatures.PACKED_BACKWARD, packed.backward),
        ):
            scope = _method(function, name, template, partial(call, function))
            scopes.append(scope)
            scope |= {"_halves_": packed.found.get, "_room_": packed.room}
    own = function.__globals__, *scopes[:1]
    function.ufunc = _loop(function, value, f"{spec.name}.ufunc", *own).ufunc
    call = partial(methods.call, function, backward)
    _method(function, "backward", signatures.GATED_BACKWARD, call, backward, *scopes[1:])
    _method(function, "vjp", signatures.GATED_PREPARED, partial(methods.gated_vjp, function))


def _complete_rowwise(function: Any, spec: Rowwise) -> None:
    value, backward = spec.operations["value"], spec.operations["backward"]
    calls: tuple[Any, ...] = (methods.rows, methods.rows_backward, methods.rows_vjp)
    templates = (signatures.ROWS_BACKWARD, signatures.ROWS_PREPARED)
    if spec.reduces:
        calls = (methods.reduction, methods.reduction_backward, methods.reduction_vjp)
        templates = (signatures.REDUCTION_BACKWARD, signatures.REDUCTION_PREPARED)
    of_value, of_backward, of_vjp = (partial(one, function) for one in calls)
    function.__globals__["_call_"] = of_value
    _loop(function, value, spec.name, function.__globals__)
    of_options = signatures.with_options if spec.has_options else str
    _method(function, "backward", of_options(templates[0]), of_backward, backward)
    _method(function, "vjp", of_options(templates[1]), of_vjp)
    if spec.has_options:
        function.methods |= {
            f"{operation.name}_with_options": OptionMethod(spec, operation is backward)
            for operation in (value, backward)
        }


class Kind(NamedTuple):
    """Parts of the functions of a kind of specification: a text, a last decorator, and their methods."""

    template: str
    completed_by: str
    complete: Callable[[Any, Any], None]


KINDS: dict[type[Specification], Kind] = {
    Elementwise: Kind(signatures.ONE_ARRAY, "derivative", _complete_elementwise),
    Gated: Kind(signatures.GATED, "gradient", _complete_gated),
    Rowwise: Kind(signatures.ROWS, "backward", _complete_rowwise),
}
