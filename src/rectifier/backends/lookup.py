"""NumPy's arrays of eight bits: floats of ml_dtypes, and quantised integers. Every result stands in a table."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from ..engine.lookup import LOOK_UP, LOOK_UP_PAIR, LookUp
from ..functions import arguments, dtypes, subclasses
from ..functions.call import Call, Prepared, shape_with
from ..functions.mask import Mask
from ..functions.specification import DERIVATIVE, VALUE, VALUE_AND_DERIVATIVE, Elementwise

_INTEGERS = ("int8", "uint8")
_NUMBERS = frozenset({float, int, np.float32, np.float64, np.int64, np.int32, np.int8, np.uint8})
_MOST = 1024  # calls that are kept; a table of pairs has 64 KiB, and as many are kept as `tables` keeps
_kept: dict[tuple[Any, ...], tuple[Any, Any]] = {}


def repeated(spec: Any, operation: Any, operands: dict[str, Any], out: Any, parameters: dict[str, Any]) -> Any:
    """Compute a call whose like was computed before, on other arrays: NotImplemented if it was not.

    Everything was checked then but the arrays, and those the compiled call checks: this takes a tenth of the time.
    """
    x, *_ = arrays = tuple(operands.values())
    if type(x) is not np.ndarray or x.dtype.itemsize > 1 or not x.ndim:  # the table has an axis, which would stay
        return NotImplemented
    for value in parameters.values():
        if type(value) not in _NUMBERS:
            return NotImplemented
    found = _kept.get((spec, operation.name, x.dtype, *parameters.values()))
    return NotImplemented if found is None else found[0].function(*arrays, found[1], out)


def _keep(call: Call, dtype: np.dtype[Any], look: LookUp, table: Any) -> None:
    """Keep what a call without a mask was computed by, for `repeated`."""
    numbers = tuple(call.parameters.values())
    if all(type(value) in _NUMBERS for value in numbers):
        look.know(dtype)
        if len(_kept) >= _MOST:
            _kept.clear()
        _kept[(call.spec, call.operation.name, dtype, *numbers)] = look, table[:1].view(dtype)


def serves(call: Call) -> bool:
    """Return whether a call is one of an elementwise function on floats of eight bits or fewer."""
    return isinstance(call.spec, Elementwise) and any(
        dtypes.is_tabulated(getattr(value, "dtype", None)) for value in call.operands.values()
    )


def widened(call: Call) -> Call | None:
    """Return a call on arrays of several dtypes as one on those that they promote to; None if they are alike.

    Raises
    ------
    TypeError
        If they have no dtype in common that functions take.
    """
    arrays = {key: value for key, value in call.operands.items() if hasattr(value, "dtype")}
    kinds = {value.dtype for value in arrays.values()}
    if len(kinds) == 1:
        return None
    try:
        common = np.result_type(*kinds)
        dtypes.require_real(common, "the arrays", call.name)
    except TypeError:
        found = ", ".join(f"{key} is {value.dtype}" for key, value in arrays.items())
        raise TypeError(
            f"{call.name}: {found}, and no dtype holds both; cast one of them, as by .astype(np.float32)"
        ) from None
    wide = {key: np.asanyarray(value).astype(common) for key, value in arrays.items()}
    return call._replace(operands=call.operands | wide)


def prepared(call: Call) -> Prepared:
    """Check the arguments of a call on floats of eight bits, all of one dtype; its parameters are numbers."""
    name = call.name
    masks = [value for value in call.operands.values() if isinstance(value, Mask)]
    given = {key: value for key, value in call.operands.items() if not isinstance(value, Mask)}
    dtype = next(value.dtype for value in given.values() if hasattr(value, "dtype"))
    arrays = {key: _operand(name, key, value, dtype) for key, value in given.items()}
    numbers = {key: _number(name, key, value, dtype) for key, value in call.parameters.items()}
    shape = shape_with(name, masks, arrays, arguments.broadcast(name, arrays))
    return Prepared(dtype, {**call.operands, **arrays}, numbers, shape)


def compute(call: Call) -> Any:
    """Compute a call on floats of eight bits, all of one dtype."""
    from ..functions import tables

    name, spec, operation, out = call.name, call.spec, call.operation, call.out
    assert isinstance(spec, Elementwise)
    dtype, operands, parameters, shape, _ = prepared(call)
    numbers, mask = tuple(parameters.values()), call.operands.get("mask")
    arrays = {key: value for key, value in operands.items() if value is not mask}
    outputs = tuple(one for one in operation.outputs if one != "mask")
    if out is not None:
        arguments.require_out(name, outputs, out, shape, dtype)
    own = out if isinstance(out, tuple) else (out,) * len(outputs)
    every = [*arrays.values()]
    if "dy" in arrays:
        table = tables.of_pairs(spec, operation, dtype, numbers)
        bits = None if mask is None else np.unpackbits(mask._bits, count=math.prod(shape), bitorder="little")
        pair = (arrays["dy"], every[1] if bits is None else bits.reshape(shape))
        dx = _look_up(LOOK_UP_PAIR, table, pair, shape, dtype, own[0], every)
        if mask is None:
            _keep(call, dtype, LOOK_UP_PAIR, table)
        return dx
    (x,) = every
    parts = (VALUE, DERIVATIVE) if operation.name == VALUE_AND_DERIVATIVE.name else (operation,)
    if operation.makes_mask:
        flags = _look_up(LOOK_UP, tables.of_one(spec, operation, dtype, numbers), (x,), shape, np.dtype(np.uint8))
        made = Mask.made(np.packbits(flags, bitorder="little"), shape, spec.full_name, call.parameters)
        parts = (VALUE,)
    if len(parts) > 1 and own[0] is not None and np.may_share_memory(own[0], x):
        x = x.copy()  # which the derivative is of, too
    results = tuple(
        _look_up(LOOK_UP, tables.of_one(spec, part, dtype, numbers), (x,), shape, dtype, given_out, every)
        for part, given_out in zip(parts, own, strict=True)
    )
    if operation.makes_mask:
        return results[0], made
    if len(parts) == 1:
        _keep(call, dtype, LOOK_UP, tables.of_one(spec, operation, dtype, numbers))
    return results if len(results) > 1 else results[0]


def _operand(name: str, key: str, value: Any, dtype: np.dtype[Any]) -> Any:
    if not isinstance(value, np.ndarray | np.generic) and hasattr(value, "dtype"):  # Dask's
        if value.dtype != dtype:
            raise TypeError(f"{name}: {key} is {value.dtype}, another array {dtype}; cast one of them by .astype")
        return value
    array = np.asanyarray(value)
    if subclasses.is_masked(array):
        raise TypeError(
            f"{name}: {key} is a masked array of {dtype}, and a table hides nothing; use {key}.astype(np.float32)"
        )
    return array if array.dtype == dtype else dtypes.cast(np.asarray(arguments.operand(name, key, value)), dtype)


def _number(name: str, key: str, value: Any, dtype: Any) -> float:
    """Return a parameter as a number, which a table is made of."""
    number = arguments.operand(name, key, value)
    if np.ndim(number):
        raise TypeError(
            f"{name}: {key} is an array of shape {np.shape(number)}; with {dtype} arrays it is one number, of which a "
            "table is made"
        )
    return float(number) + 0.0  # -0.0 is 0


def _bytes(array: Any) -> Any:
    whole = np.asarray(array)
    return (whole if whole.ndim else whole.reshape(1)).view(np.uint8)


def _look_up(
    look: Any, table: Any, inputs: tuple[Any, ...], shape: tuple[int, ...], dtype: Any, out: Any = None, every: Any = ()
) -> Any:
    y = look(table, *map(_bytes, inputs), out=None if out is None else _bytes(out))
    return subclasses.answered(y.view(dtype).reshape(shape), out, every, None)


def table_of_quantized(call: Call, dtype: np.dtype[Any]) -> Any:
    """Check the arguments of a call on quantised integers of a dtype, but for `out`, and return its table."""
    from ..functions import tables

    name, spec = call.name, call.spec
    assert isinstance(spec, Elementwise)
    if dtype.name not in _INTEGERS:
        raise TypeError(f"{name}: q has dtype {dtype}; it takes arrays of int8 and uint8, as from q.astype(np.int8)")
    scales = dict(call.parameters)
    how = tables.Quantization(
        _scale(name, "scale", scales.pop("scale")), _point(name, "zero_point", scales.pop("zero_point"), dtype),
        _scale(name, "out_scale", scales.pop("out_scale")),
        _point(name, "out_zero_point", scales.pop("out_zero_point"), dtype),
    )  # fmt: skip
    return tables.of_integers(
        spec, dtype, how, tuple(_number(name, key, value, dtype) for key, value in scales.items())
    )


def quantized(call: Call) -> Any:
    """Compute a function of quantised integers."""
    name, q = call.name, call.operands["q"]
    if not isinstance(q, np.ndarray | np.generic):
        kind = arguments.full_name(type(q))
        raise TypeError(f"{name}: q is a {kind}; it takes arrays of int8 and uint8, as from numpy.asarray(q, np.int8)")
    if subclasses.is_masked(q):
        raise TypeError(f"{name}: q is a masked array, and a table hides nothing; pass q.filled(number)")
    table = table_of_quantized(call, q.dtype)
    if call.out is not None:
        arguments.require_out(name, call.operation.outputs, call.out, q.shape, q.dtype)
    own = call.out[0] if isinstance(call.out, tuple) else call.out
    y = _look_up(LOOK_UP, table, (q,), q.shape, q.dtype, own, (q,))
    _keep(call, q.dtype, LOOK_UP, table)
    return y


def _scale(name: str, key: str, value: Any) -> float:
    """Return a scale as a number: of float64, which 255 steps of it do not leave."""
    number = value if type(value) is float else _scalar(name, key, value, float)
    if not 0 < number < math.inf or math.isinf(255 * number):
        raise ValueError(f"{name}: {key} is {value!r}; it takes a positive number whose 255-fold is finite")
    return number


def _point(name: str, key: str, value: Any, dtype: np.dtype[Any]) -> int:
    """Return a zero point, an integer of the dtype, also if it comes as a float."""
    number = value if type(value) is int else _scalar(name, key, value, _integer)
    limits = np.iinfo(dtype)
    if not limits.min <= number <= limits.max:
        raise ValueError(f"{name}: {key} is {value!r}; it takes an integer of {dtype}, {limits.min} to {limits.max}")
    return number


def _integer(value: Any) -> int:
    return int(value) if isinstance(value, float) and value.is_integer() else operator.index(value)


def _scalar(name: str, key: str, value: Any, of: Any) -> Any:
    what = "one real number" if of is float else "one integer"
    if isinstance(value, str | bool | np.bool_) or np.ndim(value):
        raise TypeError(f"{name}: {key} is {value!r}; it takes {what}")
    try:
        return of(value.item() if isinstance(value, np.ndarray | np.generic) else value)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: {key} is {value!r}; it takes {what}") from None
