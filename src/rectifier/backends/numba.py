"""Functions inside a user's ``@njit``: code of the same trace, on numbers inline, on arrays as a kernel.

Numba calls `register` when it first compiles anything, by its entry point ``numba_extensions``. Only types are known
when it asks what a call is. So the dtype of a result is that of the public call wherever types decide that one, too.
Where the value of a parameter would decide whether integers stay integers, a literal and a default have one, and a
variable counts by its type, as an array does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.core.imputils import lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate, infer_getattr, make_overload_template
from numba.extending import intrinsic, overload
from numba.np.numpy_support import as_dtype

from ..catalogue import ALL, CATALOGUE, GATES, REDUCTIONS, ROWWISE
from ..functions import arguments, dtypes
from ..functions.define import complete
from ..functions.specification import Operation, Specification, read

# In Numba, what is compiled for a caller takes over its fastmath, which would drop NaN.
_strict = njit(error_model="numpy", fastmath=False)
_METHODS = "derivative", "backward"


def register() -> None:
    """Register with Numba what each function of the catalogue computes, and refuse those of rows."""
    for catalogue in (CATALOGUE, GATES):
        for name in catalogue:
            function = catalogue.draft(name)
            overload(function, strict=False, prefer_literal=True)(_typed(function, "value"))
    for name in (*ROWWISE, *REDUCTIONS):
        overload(ALL.draft(name), strict=False)(_refusal(name))


@infer_getattr
class _Methods(AttributeTemplate):  # type: ignore[misc]
    """Methods of the functions: what ``relu.derivative`` is to Numba."""

    key = types.Function

    def generic_resolve(self, function: Any, name: str) -> Any:
        own = function.typing_key
        if name not in _METHODS or not _is_ours(own):
            return None
        return _method(own, name)


@lower_getattr_generic(types.Function)  # type: ignore[untyped-decorator]
def _no_value(context: Any, builder: Any, kind: Any, value: Any, name: str) -> Any:
    return context.get_dummy_value()


def _is_ours(function: Any) -> bool:
    name = getattr(function, "__name__", "")
    return name in ALL and ALL.draft(name) is function and name not in ROWWISE and name not in REDUCTIONS


@cache
def _method(function: Any, name: str) -> Any:
    method = getattr(complete(function), name)
    return types.Function(make_overload_template(method, _typed(function, name), {}, False, "never", True))


def _refusal(name: str) -> Any:
    def typed(*arguments: Any, **keywords: Any) -> Any:
        raise TypingError(f"{name} cannot be called inside @njit, where functions of numbers can: call it outside")

    return typed


def _typed(function: Any, operation: str) -> Any:
    """Make the function that Numba asks, of types, for what computes a call."""
    code, defaults = function.formula.__code__, function.formula.__defaults__ or ()
    names = code.co_varnames[: code.co_argcount]
    arrays, parameters = names[: len(names) - len(defaults)], names[len(names) - len(defaults) :]
    given = "".join(f", {name}={value!r}" for name, value in zip(parameters, defaults, strict=True))
    head = "".join(f"{name}, " for name in (("dy", *arrays) if operation == "backward" else arrays))
    extra = "out=None, y=None, mask=None" if operation == "backward" and len(arrays) == 1 else "out=None"
    if operation == "backward" and len(arrays) == 1:
        head = "dy, x=None, "
    called = dict.fromkeys(name.partition("=")[0].strip() for name in f"{head}{extra}".split(","))
    values = ", ".join(f"{name!r}: {name}" for name in (*called, *parameters))
    namespace: dict[str, Any] = {"_implementation": _implementation, "_function": function}
    exec(
        f"def typed({head}{extra}{given}):\n"
        f"    return _implementation(_function, {operation!r}, {f'{head}{extra}{given}'!r}, {{{values}}})",
        namespace,
    )
    return namespace["typed"]


def _implementation(function: Any, name: str, signature: str, given: dict[str, Any]) -> Any:
    spec = complete(function).spec
    operation = spec.operations[name]
    call = spec.named(operation)
    for unwanted, advice in (
        ("out", f"assign the result, as in y[:] = {spec.name}(x)"), ("y", "pass x"), ("mask", "pass x")
    ):  # fmt: skip
        value = given.pop(unwanted, None)
        if not (value is None or _known(value) == (True, None)):
            raise TypingError(f"{call} takes no {unwanted} inside @njit: {advice}")
    inputs = {other: given.pop(other) for other in operation.inputs}
    for other, value in inputs.items():
        if _known(value) == (True, None):
            raise TypingError(f"{call} inside @njit needs {other}")
    array = any(isinstance(value, types.Array) and value.ndim for value in inputs.values())
    dtype = _dtype_of_result(spec, [_dtype(spec, k, _element_type(v)) for k, v in inputs.items()], given)
    scope: dict[str, Any] = {"np": np, "R": dtype.type}
    numbers = "".join(f"R({other}), " for other in given)
    if not array:
        scope["element"] = _element(spec, operation, dtype.name)
        taken = "".join(
            f"R({other}[()]), " if isinstance(value, types.Array) else f"R({other}), "
            for other, value in inputs.items()
        )
        text = f"    return element(({taken}{numbers}))"
    else:
        for other, value in inputs.items():
            if not isinstance(value, types.Array) or value.ndim != next(iter(inputs.values())).ndim:
                raise TypingError(f"{call} inside @njit: {other} is {value}; it takes an array like the others")
        scope["kernel"] = _kernel(spec, operation, dtype.name)
        first, *others = inputs
        lines = [f"    _{k} = np.ascontiguousarray({k}){_cast(v, dtype)}" for k, v in inputs.items()]
        for other in others:
            message = f"{call}: {other} has another shape than {first}; inside @njit they are alike"
            lines += [f"    if {other}.shape != {first}.shape:", f"        raise ValueError({message!r})"]
        lines += [f"    _r{k} = np.empty({first}.shape, R)" for k in range(len(operation.outputs))]
        results = ", ".join(f"_r{k}" for k in range(len(operation.outputs)))
        sources = "".join(f"_{other}, " for other in inputs)
        lines += [f"    kernel(({sources}), ({numbers}), ({results},))", f"    return {results}"]
        text = "\n".join(lines)
    exec(f"def implementation({signature}):\n{text}", scope)
    return scope["implementation"]


def _element_type(value: Any) -> Any:
    return value.dtype if isinstance(value, types.Array) else value


def _cast(value: Any, dtype: np.dtype[Any]) -> str:
    return "" if as_dtype(value.dtype) == dtype else ".astype(R)"


def _target(context: Any) -> Any:
    from ..engine.compiler.target import Target

    codegen = context.codegen()
    return Target(codegen._tm.triple, codegen._get_host_cpu_name(), codegen._get_host_cpu_features())


def _formulas(spec: Specification, operation: Operation) -> list[Callable[..., Any]]:
    return [getattr(spec, part) for part in operation.parts]


@cache
def _element(spec: Specification, operation: Operation, dtype: str) -> Any:
    """Make the function of numbers."""
    from ..engine.compiler.kernels import require_instructions
    from ..engine.compiler.storage import Storage
    from ..formulas.llvm import Trace

    result = types.Tuple([getattr(types, dtype)] * len(operation.outputs))
    working = np.dtype(spec.compiled(dtype)).name
    storage = Storage(dtype, working)

    @intrinsic  # type: ignore[untyped-decorator]
    def compute(typingctx: Any, numbers: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            require_instructions(_formulas(spec, operation), dtype, _target(context))
            trace = Trace(builder, 0, working, spec.narrow(dtype), dtype, lambda number: storage.constant(number, 0))
            stored = cgutils.unpack_tuple(builder, values[0])
            nodes = [trace.input(storage.widen(builder, number), stored=number) for number in stored]
            results = read(spec, operation, trace.primitives())(*nodes)
            results = results if isinstance(results, tuple) else (results,)
            return context.make_tuple(builder, result, [storage.narrow(builder, node) for node in results])

        return result(numbers), codegen

    if len(operation.outputs) > 1:
        return _strict(lambda numbers: compute(numbers))
    return _strict(lambda numbers: compute(numbers)[0])


@cache
def _kernel(spec: Specification, operation: Operation, dtype: str) -> Any:
    """Make the function of contiguous arrays: sources, parameters, targets."""
    from ..engine.compiler.kernels import emit_kernel, require_instructions

    name = f"rectifier.{spec.full_name}.{operation.name}.{dtype}"

    @intrinsic  # type: ignore[untyped-decorator]
    def compute(typingctx: Any, sources: Any, numbers: Any, targets: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            module, target = builder.module, _target(context)
            require_instructions(_formulas(spec, operation), dtype, target)
            function = module.globals.get(name)
            if function is None:
                function = emit_kernel(module, name, spec, operation, dtype, target, spec.parameters)
                function.linkage = "internal"
            pointers, bytes_ = [], ir.IntType(8).as_pointer()
            for kinds, value in ((sources, values[0]), (targets, values[2])):
                parts = cgutils.unpack_tuple(builder, value)
                arrays = [
                    context.make_array(kind)(context, builder, part) for kind, part in zip(kinds, parts, strict=True)
                ]
                pointers.append([builder.bitcast(array.data, bytes_) for array in arrays])
                size = arrays[0].nitems
            given = []
            for number in cgutils.unpack_tuple(builder, values[1]):
                place = cgutils.alloca_once_value(builder, number)
                given.append(builder.bitcast(place, bytes_))
            operands = [*pointers[0], *given, *pointers[1]]
            table = cgutils.alloca_once(builder, ir.ArrayType(bytes_, len(operands)))
            for k, pointer in enumerate(operands):
                builder.store(pointer, cgutils.gep_inbounds(builder, table, 0, k))
            word = ir.IntType(64)
            builder.call(function, [builder.bitcast(table, bytes_.as_pointer()), size, word(0)])
            return context.get_dummy_value()

        return types.void(sources, numbers, targets), codegen

    return _strict(lambda sources, numbers, targets: compute(sources, numbers, targets))


def _known(value: Any) -> tuple[bool, Any]:
    """Return whether a value is known when its type is, and the value."""
    if isinstance(value, types.Omitted):
        return True, value.value
    if isinstance(value, types.Literal):
        return True, value.literal_value
    if isinstance(value, types.NoneType):
        return True, None
    return not isinstance(value, types.Type), value


def _dtype_of_result(spec: Specification, inputs: list[np.dtype[Any]], parameters: dict[str, Any]) -> np.dtype[Any]:
    """Promote as the public call does; it decides by the types of parameters that are arrays, as is done here."""
    stand_ins = []
    for name, value in parameters.items():
        known, number = _known(value)
        if isinstance(value, types.Array):
            raise TypingError(f"{spec.name} inside @njit: {name} is {value}; it takes a number there")
        if known and not arguments.is_python_number(number):
            raise TypingError(f"{spec.name} inside @njit: {name} is {number!r}; it takes a number")
        stand_ins.append(number if known else np.empty((0,), _dtype(spec, name, value)))
    result = arguments.holding(dtypes.promoted(tuple(inputs), spec.selects), tuple(stand_ins))
    if result == np.float16:
        raise TypingError(
            f"{spec.name} of {inputs[0]} is float16 with these parameters, which Numba does not compute in: "
            "pass x.astype(np.float32)"
        )
    return result


def _dtype(spec: Specification, name: str, kind: Any) -> np.dtype[Any]:
    """Check the type of a number, and give its dtype."""
    kind = types.unliteral(kind)
    what = f"{spec.name} inside @njit: {name}"
    if kind in _NARROW:
        raise TypingError(f"{what} is {kind}, which Numba does not compute in: pass {name}.astype(np.float32)")
    try:
        dtype: np.dtype[Any] = as_dtype(kind)
        dtypes.require_real(dtype, name, f"{spec.name} inside @njit")
    except TypeError as error:
        raise TypingError(str(error)) from None
    except Exception:  # of what has no dtype, Numba raises more than one
        raise TypingError(f"{what} is a {kind}; it takes a number or an array of them") from None
    return dtype


_NARROW = [kind for kind in (types.float16, getattr(types, "bfloat16", None)) if kind is not None]
