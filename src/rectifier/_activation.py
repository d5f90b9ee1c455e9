"""What a block becomes: the public calls of an activation function.

A public name is a plain function with attributes: a class with ``__call__`` costs 110 ns a call more. Each
first tries the ufunc with ``casting="no"``, which takes exactly the dtypes of its loops; whatever that
refuses (an integer array where a float is due, a list, bool, an `out` of another shape) goes through
`_call`, which prepares it or says what is wrong with it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import partial
from types import FunctionType
from typing import Any, Protocol, overload

import numpy as np

from . import _docs, _dtypes
from ._block import (
    BACKWARD,
    BACKWARD_FROM_MASK,
    DERIVATIVE,
    VALUE,
    VALUE_AND_DERIVATIVE,
    WITH_MASK,
    Block,
    Direction,
)
from ._mask import Mask
from .cpu.ufuncs import make_ufunc, register_bfloat16
from .words import T, rebind
from .words import numpy as numpy_words
from .words.text import FormulaError, describe

INF = float("inf")
NAN = float("nan")
BLOCK = 1 << 16  # elements that a mask loop takes at a time from an array that is not contiguous; whole bytes of bits


class Call(Protocol):
    """A call on one array."""

    ufunc: np.ufunc

    def __call__(self, x: Any, out: Any = None, **parameters: Any) -> Any:
        """Apply the function."""


class Derivative(Call, Protocol):
    """The derivative; as a decorator, what gives a block its derivative."""

    @overload
    def __call__(self, x: FunctionType, /) -> FunctionType: ...
    @overload
    def __call__(self, x: Any, out: Any = None, **parameters: Any) -> Any: ...


class Backward(Protocol):
    """The backward call."""

    ufunc: np.ufunc

    def __call__(
        self, dy: Any, x: Any = None, out: Any = None, *, y: Any = None, mask: Mask | None = None, **parameters: Any
    ) -> Any:
        """Multiply `dy` by the derivative."""


class Activation(Protocol):
    """An activation function: what `elementwise` makes of a block."""

    __name__: str
    block: Block
    ufunc: np.ufunc
    derivative: Derivative
    backward: Backward
    value_and_derivative: Call

    def __call__(self, x: Any, out: Any = None, **parameters: Any) -> Any:
        """Apply the function."""

    @property
    def with_mask(self) -> Callable[..., tuple[Any, Mask]]:
        """Compute the value, and a mask for `backward`."""

    @property
    def vjp(self) -> Callable[..., tuple[Any, Callable[..., Any]]]:
        """Compute the value, and the function that takes dy to dx."""


def elementwise(
    *,
    exact: Callable[..., Any],
    special: Iterable[tuple[float, float]],
    kinks: Iterable[tuple[float, float]] = (),
    ulp: float,
    backward_from: tuple[str, ...] = ("x",),
    y_determines: Callable[..., Any] | None = None,
    mask_values: Callable[..., Any] = lambda *parameters: (T(0), T(1)),
    selects: bool = False,
) -> Callable[[Callable[..., Any]], Activation]:
    """Make an activation function of a formula: the decorator of a block.

    Parameters
    ----------
    exact : callable
        The textbook form, on mpmath numbers; it shares no code with the formula.
    special : pairs of float
        What the function is at special values, at default parameters.
    kinks : pairs of float
        Where the derivative does not exist, and which value it takes there, at default parameters.
    ulp : float
        Largest error in units in the last place. 0 means selections, and at most one correctly rounded
        operation on parameters in the array's dtype.
    backward_from : tuple of str
        What `backward` can work from: "x"; "y", if the derivative's formula gives the same at y as at x;
        "mask", if the derivative takes two values.
    y_determines : formula, optional
        The condition on the parameters under which "y" holds.
    mask_values : formula, optional
        The derivative where the mask's bit is 0, and where it is 1; by default 0 and 1.
    selects : bool
        Whether the value is always x, a parameter or a constant that every dtype holds. Then integers
        keep their dtype; otherwise they become floats as in ``np.exp``.

    Returns
    -------
    decorator
        It takes the formula, whose parameters after `x` have their defaults, and returns the public
        function; that one's ``derivative`` then takes the derivative's formula and completes it.

    Raises
    ------
    FormulaError
        If the formula is not straight-line code over the words.

    Examples
    --------
    >>> import numpy as np
    >>> from rectifier import elementwise
    >>> from rectifier.words import T, where
    >>> @elementwise(exact=lambda x: min(x, 1), special=((float("-inf"), float("-inf")),), kinks=((1.0, 0.0),), ulp=0)
    ... def at_most_one(x):
    ...     '''Return x, and 1 where x is larger.'''
    ...     return where(x >= T(1), T(1), x)
    >>> @at_most_one.derivative
    ... def at_most_one_derivative(x):
    ...     return where(x >= T(1), T(0), where(x == x, T(1), x))
    >>> at_most_one.backward(np.array([5.0, 5.0]), np.array([0.0, 2.0]))
    array([5., 0.])
    """

    def decorate(formula: Any) -> Activation:
        parameters = _parameters(formula)
        describe(formula)
        module = "rectifier" if formula.__module__.startswith(f"{__package__}.") else formula.__module__
        namespace: dict[str, Any] = {"ufunc": _incomplete, "call": partial(_incomplete, formula.__name__)}
        activation: Any = _define(formula.__name__, _ONE_ARRAY, parameters, module, namespace)

        def take_derivative(derivative: Any) -> Any:
            if not isinstance(derivative, FunctionType):
                _incomplete(formula.__name__)
            describe(derivative)
            block = Block(
                name=formula.__name__, full_name=formula.__name__ if module == "rectifier" else f"{module}.{formula.__name__}",
                module=module, value=formula, derivative=derivative, parameters=parameters,
                exact=exact, special=tuple(special), kinks=tuple(kinks), ulp=ulp, backward_from=backward_from,
                y_determines=y_determines, mask_values=mask_values if "mask" in backward_from else None,
                selects=selects,
            )  # fmt: skip
            _complete(activation, block, namespace)
            return derivative

        activation.derivative = take_derivative
        return activation

    return decorate


def _parameters(formula: FunctionType) -> dict[str, float]:
    x, *parameters = inspect.signature(formula).parameters.values()
    if x.name != "x":
        raise FormulaError(f"{formula.__name__}: the first argument of a formula is called x, not {x.name}")
    for parameter in parameters:
        if type(parameter.default) not in (int, float):
            raise FormulaError(f"{formula.__name__}: parameter {parameter.name} needs a number as its default")
    return {parameter.name: float(parameter.default) for parameter in parameters}


def _incomplete(name: str, *arguments: Any, **keywords: Any) -> Any:
    raise TypeError(f"{name} has no derivative yet: give it one with @{name}.derivative")


# Plain functions with the block's parameters as real keywords cannot be had but from text. `out` is the
# second argument, as in NumPy's ufuncs: keyword-only, it would cost 40 ns a call.
_ONE_ARRAY = """
def call_one(x, out=None{keywords}):
    try:
        if out is None:
            return ufunc(x{values}, casting="no")
        if x.shape == out.shape:
            return ufunc(x{values}, out, casting="no")
    except (TypeError, ValueError, AttributeError):
        pass
    return call((x,), out, ({values},))
"""
_TWO_RESULTS = """
def call_two(x, out=None{keywords}):
    try:
        if out is None:
            return ufunc(x{values}, casting="no")
    except (TypeError, ValueError, AttributeError):
        pass
    return call((x,), out, ({values},))
"""
_BACKWARD = """
def call_backward(dy, x=None, out=None, *, y=None, mask=None{parameters}):
    try:
        if y is None and mask is None:
            if out is None:
                return ufunc(dy, x{values}, casting="no")
            if dy.shape == x.shape == out.shape:
                return ufunc(dy, x{values}, out, casting="no")
    except (TypeError, ValueError, AttributeError):
        pass
    return call(dy, x, out, y, mask, ({values},))
"""
_MASKED = """
def call_masked(x, out=None{keywords}):
    return call(x, out, ({values},))
"""


def _define(
    name: str, source: str, parameters: dict[str, float], module: str, namespace: dict[str, Any], doc: str = ""
) -> Any:
    with_defaults = "".join(f", {parameter}={default!r}" for parameter, default in parameters.items())
    text = source.replace("({values},)", "({tuple})").format(
        keywords=f", *{with_defaults}" if parameters else "",
        parameters=with_defaults,
        values="".join(f", {parameter}" for parameter in parameters),
        tuple="".join(f"{parameter}, " for parameter in parameters),
    )
    exec(compile(text, f"<{name}, from {__name__}>", "exec"), namespace)
    function = namespace.pop(text.split("(")[0].split()[-1])
    function.__name__, function.__qualname__ = name.rpartition(".")[2], name
    function.__module__, function.__doc__ = module, doc
    return function


def _complete(activation: Any, block: Block, namespace: dict[str, Any]) -> None:
    """Give a block's function its ufunc, and the calls that need the derivative."""
    dtypes = _dtypes.FLOATS if not block.selects else tuple(_dtypes.WORKING)

    def ufunc_of(direction: Direction, name: str) -> np.ufunc:
        return make_ufunc(block, direction, name, _docs.ufunc(block, direction), dtypes)

    def define(method: str, source: str, call: Any, **names: Any) -> Any:
        function = _define(
            f"{block.name}.{method}", source, block.parameters, block.module, {"call": call, **names},
            _docs.method(block, method),
        )  # fmt: skip
        setattr(activation, method, function)
        return function

    def define_ufunc(direction: Direction, source: str, bind: Callable[[np.ufunc], Any]) -> np.ufunc:
        ufunc = ufunc_of(direction, f"{block.name}.{direction.name}.ufunc")
        define(direction.name, source, bind(ufunc), ufunc=ufunc).ufunc = ufunc
        return ufunc

    value = ufunc_of(VALUE, f"{block.name}.ufunc")
    namespace.update(ufunc=value, call=partial(_call, block, VALUE, value))
    activation.block, activation.ufunc, activation.__doc__ = block, value, _docs.function(block)
    define_ufunc(DERIVATIVE, _ONE_ARRAY, lambda ufunc: partial(_call, block, DERIVATIVE, ufunc))
    define_ufunc(
        VALUE_AND_DERIVATIVE, _TWO_RESULTS, lambda ufunc: partial(_call_value_and_derivative, activation, ufunc)
    )
    mask_to_dx = y_and_mask = None
    if block.mask_values is not None:
        y_and_mask = ufunc_of(WITH_MASK, f"{block.name}.with_mask")
        mask_to_dx = ufunc_of(BACKWARD_FROM_MASK, f"{block.name}.backward_from_mask")
    define_ufunc(BACKWARD, _BACKWARD, lambda ufunc: partial(_call_backward, block, ufunc, mask_to_dx, value))
    define("with_mask", _MASKED, partial(_call_with_mask, block, y_and_mask, value))
    define("vjp", _MASKED, partial(_call_vjp, activation))


def _call(
    block: Block, direction: Direction, ufunc: np.ufunc, arrays: tuple[Any, ...], out: Any, values: tuple[Any, ...],
    names: tuple[str, ...] | None = None,
) -> Any:  # fmt: skip
    """Call a ufunc with anything that a user may pass, or say what is wrong with it before a byte is written."""
    function = block.name if direction is VALUE else f"{block.name}.{direction.name}"
    names = names or direction.inputs
    register_bfloat16()
    operands = [_operand(function, name, array) for name, array in zip(names, arrays, strict=True)]
    foreign = next((operand for operand in (*operands, out) if _is_foreign(operand)), None)
    if foreign is not None:
        values = tuple(_operand(function, name, value) for name, value in zip(block.parameters, values, strict=True))
        try:
            return ufunc(*operands, *values, **({} if out is None else {"out": out}))
        except TypeError as error:
            raise TypeError(
                f"{function}: {type(foreign).__module__}.{type(foreign).__qualname__} does not take it ({error}); "
                "convert to NumPy first"
            ) from error
    dtype = _resolve(function, ufunc, names, operands, len(values))
    values = _parameter_values(function, block, values, dtype)
    shape = _broadcast(function, (*names, *block.parameters), (*operands, *values))
    if out is not None:
        _require_out(function, direction.outputs, out, shape, dtype)
    return ufunc(*operands, *values, out=out)


def _call_value_and_derivative(
    activation: Any, ufunc: np.ufunc, arrays: tuple[Any, ...], out: Any, values: tuple[Any, ...]
) -> Any:
    block = activation.block
    if _is_foreign(arrays[0]):  # Dask and xarray take no ufunc with two outputs
        parameters = dict(zip(block.parameters, values, strict=True))
        y, d = (None, None) if out is None else out
        return activation(arrays[0], y, **parameters), activation.derivative(arrays[0], d, **parameters)
    return _call(block, VALUE_AND_DERIVATIVE, ufunc, arrays, out, values)


def _call_backward(
    block: Block, ufunc: np.ufunc, from_mask: Any, value: np.ufunc,
    dy: Any, x: Any, out: Any, y: Any, mask: Any, values: tuple[Any, ...],
) -> Any:  # fmt: skip
    if mask is not None and x is None and y is None and from_mask is not None:
        dx = _backward_from_mask_at_once(block, from_mask, dy, out, mask, values)
        if dx is not None:
            return dx
    function = f"{block.name}.backward"
    if (x is None) + (y is None) + (mask is None) != 2:
        given = [name for name, operand in (("x", x), ("y", y), ("mask", mask)) if operand is not None]
        raise TypeError(
            f"{function} takes dy and one of {', '.join(block.backward_from)}; it got {' and '.join(given) or 'none'}"
        )
    if x is not None:
        return _call(block, BACKWARD, ufunc, (dy, x), out, values)
    if ("y" if mask is None else "mask") not in block.backward_from:
        raise TypeError(f"{function}: that does not determine the derivative; pass {' or '.join(block.backward_from)}")
    if y is not None:
        _require_y_to_determine(function, block, values)
        try:
            if out is None:
                return ufunc(dy, y, *values, casting="no")
        except TypeError:
            pass
        return _call(block, BACKWARD, ufunc, (dy, y), out, values, names=("dy", "y"))
    if not isinstance(mask, Mask):
        raise TypeError(f"{function}: mask is a {type(mask).__name__}; it takes what {block.name}.with_mask returned")
    parameters = dict(zip(block.parameters, values, strict=True))
    if not mask.agrees(block.full_name, parameters):
        raise ValueError(
            f"{function}: this call is {_signature(block.full_name, parameters)}, "
            f"the mask was made by {_signature(mask.function, mask.parameters)}"
        )
    dy = _native(function, "dy", dy)
    dtype = _resolve(function, value, ("dy",), [dy], len(values))
    try:
        source = np.broadcast_to(dy, mask.shape, subok=True)
    except ValueError:
        raise ValueError(f"{function}: dy has shape {dy.shape}, the mask {mask.shape}") from None
    dx = _masked_out(function, "dx", out, source, dtype)
    _sweep(from_mask, source, _parameter_arrays(function, block, values, dtype, dx), mask.bits, dx, making=False)
    return dx[()] if dx.ndim == 0 and out is None else dx


def _backward_from_mask_at_once(
    block: Block, from_mask: np.ufunc, dy: Any, out: Any, mask: Any, values: tuple[Any, ...]
) -> Any:
    """Do the common case, in which nothing needs preparing; None where something does."""
    if out is not None or type(mask) is not Mask or type(dy) is not np.ndarray:
        return None
    if dy.shape != mask.shape or not dy.flags.c_contiguous or mask.function != block.full_name:
        return None
    try:
        if values:
            if not mask.agrees(block.full_name, dict(zip(block.parameters, values, strict=True))):
                return None
            return from_mask(dy.reshape(-1), mask.bits, *_one_number_each(values, dy), casting="no").reshape(dy.shape)
        return from_mask(dy.reshape(-1), mask.bits, casting="no").reshape(dy.shape)
    except TypeError:
        return None


def _require_y_to_determine(function: str, block: Block, values: tuple[Any, ...]) -> None:
    if block.y_determines is None or np.all(rebind(block.y_determines, numpy_words.words(np.float64))(*values)):
        return
    settings = ", ".join(f"{name}={value}" for name, value in zip(block.parameters, values, strict=True))
    others = " or ".join(f"{name}=" for name in block.backward_from if name != "y")
    raise ValueError(
        f"{function}: y determines the derivative only where {describe(block.y_determines)}, "
        f"and this call has {settings}; pass {others}"
    )


def _call_with_mask(
    block: Block, ufunc: np.ufunc | None, value: np.ufunc, x: Any, out: Any, values: tuple[Any, ...]
) -> tuple[Any, Mask]:
    if ufunc is None:
        raise TypeError(f"{block.name} has no mask: its derivative takes more than two values; keep x instead")
    if out is None and type(x) is np.ndarray and x.flags.c_contiguous:
        bits = np.empty((x.size + 7) // 8, np.uint8)
        try:
            numbers = _one_number_each(values, x) if values else ()
            y, _ = ufunc(x.reshape(-1), *numbers, None, bits, casting="no")
            return y.reshape(x.shape), Mask(bits, x.shape, block.full_name, _recorded(block, values) if values else {})
        except TypeError:
            pass
    function = f"{block.name}.with_mask"
    x = _native(function, "x", x)
    dtype = _resolve(function, value, ("x",), [x], len(values))
    shape = _broadcast(function, ("x", *block.parameters), (x, *values))
    source = np.broadcast_to(x, shape, subok=True)
    y = _masked_out(function, "y", out, source, dtype)
    bits = np.empty((y.size + 7) // 8, np.uint8)
    _sweep(ufunc, source, _parameter_arrays(function, block, values, dtype, y), bits, y, making=True)
    return y[()] if y.ndim == 0 and out is None else y, Mask(bits, shape, block.full_name, _recorded(block, values))


def _call_vjp(activation: Any, x: Any, out: Any, values: tuple[Any, ...]) -> tuple[Any, Any]:
    block: Block = activation.block
    parameters = dict(zip(block.parameters, values, strict=True))
    if block.mask_values is not None and not _is_foreign(x):
        y, mask = activation.with_mask(x, out, **parameters)
        return y, partial(activation.backward, mask=mask, **parameters)
    if isinstance(out, np.ndarray) and np.may_share_memory(out, x):
        raise ValueError(f"{block.name}.vjp: out would overwrite x, which the backward call needs")
    return activation(x, out, **parameters), partial(activation.backward, x=x, **parameters)


def _sweep(ufunc: np.ufunc, source: Any, parameters: list[Any], bits: Any, target: Any, *, making: bool) -> None:
    """Run a mask loop over arrays of any layout in C index order, with no temporary of their size."""
    source, target = np.asarray(source), np.asarray(target)
    in_place = _is_same_view(source, target)
    if not in_place and np.may_share_memory(source, target):
        source = source.copy()
    here, there = _elements(source), _elements(target)
    numbers = [number if number.size == 1 else _elements(number) for number in parameters]
    # NumPy copies what a generalised ufunc reads and writes at once: in place, let it be a block.
    direct = isinstance(here, np.ndarray) and isinstance(there, np.ndarray) and not in_place
    step = target.size if direct else BLOCK
    for start in range(0, target.size, step or 1):
        stop = min(start + step, target.size)
        x = here[start:stop].astype(target.dtype, copy=False)
        y = there[start:stop]
        values = [number if number.size == 1 else number[start:stop] for number in numbers]
        flags = bits[start // 8 : (stop + 7) // 8]
        ufunc(x, *values, out=(y, flags)) if making else ufunc(x, flags, *values, out=y)
        if not isinstance(there, np.ndarray):
            there[start:stop] = y  # the slice of a flat iterator is a copy


def _one_number_each(values: tuple[Any, ...], like: Any) -> list[Any]:
    """Give parameters that are Python numbers as arrays of one; the mask loops take no scalars.

    Raises
    ------
    TypeError
        If one of them is anything else.
    """
    if not all(type(value) in (int, float) for value in values):
        raise TypeError
    return [np.array([value], like.dtype) for value in values]


def _recorded(block: Block, values: tuple[Any, ...]) -> dict[str, Any]:
    """Give the parameters of a call as a mask keeps them, so that nobody changes them later."""
    return {
        name: value if type(value) in (int, float) else np.array(value)
        for name, value in zip(block.parameters, values, strict=True)
    }


def _elements(array: Any) -> Any:
    """See an array as one dimension in C order; its slices are views where they can be, else copies."""
    return array.reshape(-1) if array.flags.c_contiguous else array.flat


def _is_same_view(a: Any, b: Any) -> bool:
    interface, other = a.__array_interface__, b.__array_interface__
    return bool(interface["data"] == other["data"] and a.strides == b.strides and a.dtype == b.dtype)


def _is_foreign(array: Any) -> bool:
    """Say whether an array has its own way with ufuncs, as those of pandas, xarray and Dask do."""
    override = getattr(type(array), "__array_ufunc__", None)
    return override is not None and override is not np.ndarray.__array_ufunc__ and not isinstance(array, np.generic)


def _operand(function: str, name: str, value: Any) -> Any:
    """Make an array of an array-like, leave a Python number to adapt to the arrays, refuse a dtype without a row."""
    if type(value) in (int, float):
        return value
    if _is_foreign(value):
        dtypes = getattr(value, "dtypes", None)
        for dtype in dtypes.values if hasattr(dtypes, "values") and not callable(dtypes.values) else [value.dtype]:
            _dtypes.require_real(dtype, name, function)
        return value
    try:
        array = np.asanyarray(value)
    except ValueError as error:
        raise ValueError(f"{function}: {name} is no array: {error}") from None
    _dtypes.require_real(array.dtype, name, function)
    return array


def _native(function: str, name: str, value: Any) -> Any:
    """Make an array, and refuse one whose library has its own way with ufuncs: a mask has no labels or chunks."""
    if _is_foreign(value):
        raise TypeError(f"{function}: {name} is a {type(value).__name__}; masks are for NumPy arrays: convert it first")
    register_bfloat16()
    return np.asanyarray(_operand(function, name, value))


def _resolve(function: str, ufunc: np.ufunc, names: tuple[str, ...], operands: list[Any], parameters: int) -> Any:
    """Give the dtype in which NumPy would call `ufunc` on these operands; Python numbers adapt to the arrays."""
    weak = any(isinstance(operand, np.ndarray) for operand in operands)
    kinds: list[Any] = [
        type(operand) if weak and type(operand) in (int, float) else np.asanyarray(operand).dtype for operand in operands
    ]
    try:
        return ufunc.resolve_dtypes((*kinds, *[float] * parameters, *[None] * ufunc.nout))[0]
    except TypeError:
        came = " and ".join(f"{name} is {getattr(kind, 'name', kind)}" for name, kind in zip(names, kinds, strict=True))
        raise TypeError(f"{function}: {came}: no dtype holds both; convert one with astype") from None


def _parameter_values(function: str, block: Block, values: tuple[Any, ...], dtype: Any) -> tuple[Any, ...]:
    """Check parameters, and round arrays of them to the dtype of the call."""
    numbers = []
    for name, value in zip(block.parameters, values, strict=True):
        number = _operand(function, name, value)
        if isinstance(number, np.ndarray):
            try:
                number = number.astype(dtype, casting="same_kind", copy=False)
            except TypeError:
                raise TypeError(f"{function}: {name} is {number.dtype}, which does not fit {dtype} arrays") from None
        numbers.append(number)
    return tuple(numbers)


def _parameter_arrays(function: str, block: Block, values: tuple[Any, ...], dtype: Any, like: Any) -> list[Any]:
    """Give each parameter as one number or as many as `like` has elements."""
    arrays = [np.asarray(value).astype(dtype, copy=False) for value in _parameter_values(function, block, values, dtype)]
    arrays = [a.copy() if np.may_share_memory(a, like) else a for a in arrays]
    return [a.reshape(1) if a.size == 1 else np.broadcast_to(a, like.shape) for a in arrays]


def _broadcast(function: str, names: tuple[str, ...], operands: tuple[Any, ...]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*map(np.shape, operands))
    except ValueError:
        shapes = ", ".join(f"{name} {np.shape(operand)}" for name, operand in zip(names, operands, strict=True))
        raise ValueError(f"{function}: shapes do not broadcast: {shapes}") from None


def _require_out(function: str, outputs: tuple[str, ...], out: Any, shape: tuple[int, ...], dtype: Any) -> None:
    """Refuse an `out` that is not exactly what the call would have made."""
    if len(outputs) == 1:
        arrays = out if isinstance(out, tuple) else (out,)
    elif isinstance(out, tuple):
        arrays = out
    else:
        raise TypeError(f"{function}: out is a {type(out).__name__}; it takes a tuple of arrays for ({', '.join(outputs)})")
    if len(arrays) != len(outputs):
        raise ValueError(f"{function}: out has {len(arrays)} arrays; it takes {len(outputs)}, for ({', '.join(outputs)})")
    for array in arrays:
        if array is None and len(outputs) > 1:
            continue
        if not isinstance(array, np.ndarray):
            raise TypeError(
                f"{function}: out is a {type(array).__name__}; it takes an array of shape {shape} and dtype {dtype} "
                "(a parameter is passed by keyword)"
            )
        if array.dtype != dtype:
            raise TypeError(f"{function}: out has dtype {array.dtype}; the result has {dtype}")
        if array.shape != shape:
            raise ValueError(f"{function}: out has shape {array.shape}; the result has {shape}")
        if not array.flags.writeable:
            raise ValueError(f"{function}: out is read-only")
    given = [array for array in arrays if array is not None]
    if len(given) == 2 and np.shares_memory(*given, max_work=1000):
        raise ValueError(f"{function}: the two arrays of out share memory")


def _masked_out(function: str, output: str, out: Any, like: Any, dtype: Any) -> Any:
    """Check `out`, or make the array that the ufunc would have made."""
    if out is None:
        return np.empty_like(like, dtype=dtype)
    _require_out(function, (output,), out, like.shape, dtype)
    return out[0] if isinstance(out, tuple) else out


def _signature(function: str, parameters: dict[str, Any]) -> str:
    return f"{function}({', '.join(f'{name}={value!r}' for name, value in parameters.items())})"
