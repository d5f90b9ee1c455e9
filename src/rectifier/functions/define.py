"""What a block becomes: the public calls of an activation function.

A public name is a plain function with attributes: a class with ``__call__`` costs 110 ns a call more. Each
first tries `compiled`, a builtin function that takes ndarrays of the dtypes that are compiled (`cpu.entry`). Whatever
that does not take (a loop not compiled yet, integers where floats are due, a list, bool, an `out` of another shape)
goes to `_calls`, which prepares it or says what is wrong with it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import cache, partial
from types import CodeType, FunctionType
from typing import Any, Protocol, cast, overload

import numpy as np

from ..backends import numpy
from ..backends.cupy import source_of
from ..engine.calls import takes_nothing
from ..engine.compilation import one_at_a_time
from ..engine.fingerprint import content_of
from ..engine.ufuncs import Method
from ..formulas import T
from ..formulas.text import FormulaError, describe
from . import docstrings, dtypes
from .mask import Mask
from .specification import (
    BACKWARD,
    BACKWARD_FROM_MASK,
    BACKWARD_TO_BOTH,
    DERIVATIVE,
    PACKAGE,
    VALUE,
    VALUE_AND_DERIVATIVE,
    WITH_MASK,
    Block,
    Bounds,
    Operation,
)

INF = float("inf")
NAN = float("nan")


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


class Gated(Protocol):
    """A function of two arrays: what `gated` makes of a block."""

    __name__: str
    block: Block
    ufunc: np.ufunc
    cuda_source: Callable[..., str]
    gradient: Callable[[Callable[..., Any]], Any]

    def __call__(self, x: Any, gate: Any, out: Any = None) -> Any:
        """Apply the function."""

    @property
    def backward(self) -> Callable[..., tuple[Any, Any]]:
        """Multiply a gradient by both derivatives, in one pass."""

    @property
    def vjp(self) -> Callable[..., tuple[Any, Callable[..., Any]]]:
        """Compute the value, and the function that takes dy to both gradients."""


class Activation(Protocol):
    """An activation function: what `elementwise` makes of a block."""

    __name__: str
    block: Block
    ufunc: np.ufunc
    derivative: Derivative
    backward: Backward
    value_and_derivative: Call
    cuda_source: Callable[..., str]

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
    zeros: Iterable[float] = (),
    ulp: float | tuple[float, float, float, float],
    backward_from: tuple[str, ...] = ("x",),
    y_determines: Callable[..., Any] | None = None,
    mask: Callable[..., Any] = lambda x, *parameters: (x <= T(0), T(0), T(1)),
    selects: bool = False,
    wide: bool = False,
    unrounded: tuple[str, ...] = (),
) -> Callable[[Callable[..., Any]], Activation]:
    """Make an activation function of a formula: the decorator of a block.

    Parameters
    ----------
    exact : callable
        The textbook form, ``exact(m, x, *parameters)``; it shares no code with the formula. `m` is the mathematics it
        may use (`rectifier.formulas.mpmath`): ``m.where, m.abs, m.sqrt, m.exp, m.expm1, m.log1p, m.tanh,
        m.erfc, m.pi``.
    special : pairs of float
        What the function is at special values, at default parameters.
    kinks : pairs of float
        Where the derivative does not exist, and which value it takes there, at default parameters.
    zeros : floats
        Near which the derivative changes its sign, at default parameters.
    ulp : float or four floats
        Largest error in units in the last place: in float32 and float64, of the value, then of the derivative. 0 means
        selections, and at most one correctly rounded operation on parameters in the array's dtype.
    backward_from : tuple of str
        What `backward` can work from: "x"; "y", if the derivative's formula gives the same at y as at x;
        "mask", if the derivative takes two values.
    y_determines : formula, optional
        The condition on the parameters under which "y" holds.
    mask : formula, optional
        Three results: the condition under which the mask's bit is 0, which is false of NaN; the derivative where it
        is 0; the derivative where it is 1. By default ``x <= T(0), T(0), T(1)``.
    selects : bool
        Whether the value is always x, a parameter or a constant that every dtype holds. Then integers
        keep their dtype; otherwise they become floats as in ``np.exp``.
    wide : bool
        Whether all is computed in float64, and rounded once to the dtype of x.
    unrounded : tuple of str
        Parameters whose default means a number that no dtype holds, such as 1/6. The formula takes ``stored(1 / 6)``,
        what the default has become in the dtype of x, for that number; `exact` gets the default as it is written.

    Returns
    -------
    decorator
        It takes the formula, whose parameters after `x` have their defaults, and returns the public
        function; that one's ``derivative`` then takes the derivative's formula and completes it.

    Raises
    ------
    FormulaError
        If the formula is not straight-line code over the primitives.

    Examples
    --------
    >>> import numpy as np
    >>> from rectifier import elementwise
    >>> from rectifier.formulas import T, where
    >>> @elementwise(
    ...     exact=lambda m, x: m.where(x < 1, x, 1),
    ...     special=((float("-inf"), float("-inf")),),
    ...     kinks=((1.0, 0.0),),
    ...     ulp=0,
    ... )
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
        of_catalogue = formula.__module__.startswith(f"{PACKAGE}.catalogue.")
        module = PACKAGE if of_catalogue else formula.__module__
        if not of_catalogue:
            describe(formula)
        namespace: dict[str, Any] = {"call": partial(_incomplete, formula.__name__)}
        activation: Any = _define(formula.__name__, _ONE_ARRAY, parameters, module, namespace)

        def take_derivative(derivative: Any) -> Any:
            if not isinstance(derivative, FunctionType):
                _incomplete(formula.__name__)
            block = Block(
                name=formula.__name__,
                full_name=formula.__name__ if of_catalogue else f"{module}.{formula.__name__}",
                module=module,
                parameters=parameters,
                value=formula,
                derivative=derivative,
                mask=mask,
                y_determines=y_determines,
                exact=exact,
                special=tuple(special),
                kinks=tuple(kinks),
                zeros=tuple(zeros),
                ulp=Bounds(*ulp) if isinstance(ulp, tuple) else Bounds(ulp, ulp, ulp, ulp),
                backward_from=backward_from,
                selects=selects,
                wide=wide,
                unrounded=unrounded,
            )
            _pending[activation] = partial(_complete, activation, block, namespace)
            if not of_catalogue:  # making it takes a millisecond; there, that waits until somebody asks for it
                complete(activation)
            return derivative

        activation.formula, activation.derivative = formula, take_derivative
        return cast(Activation, activation)

    return decorate


def gated(
    *, exact: Callable[..., Any], ulp: float | tuple[float, float, float, float], wide: bool = False
) -> Callable[[Callable[..., Any]], Gated]:
    """Make a function of two arrays, x and what gates it, of a formula: the decorator of a gated block.

    Parameters
    ----------
    exact : callable
        The textbook form, ``exact(m, x, gate)``, as for `elementwise`.
    ulp : float or four floats
        Largest error in units in the last place: in float32 and float64, of the value, then of both derivatives. Where
        `wide`, x is multiplied by a rounded function of the gate, and in float64 the value may be off by another
        ``abs(x) * 2**-1074``.
    wide : bool
        Whether all is computed in float64, and rounded once to the dtype of x.

    Returns
    -------
    decorator
        It takes the formula and returns the public function; that one's ``gradient`` then takes the formula of the two
        derivatives, by x and by the gate, and completes it.

    Examples
    --------
    >>> from rectifier import gated
    >>> from rectifier.formulas import T, where
    >>> @gated(exact=lambda m, x, gate: m.where(gate > 0, x, 0), ulp=0)
    ... def pass_where_positive(x, gate):
    ...     '''Return x where the gate is positive, 0 elsewhere.'''
    ...     return where(gate <= T(0), T(0), x)
    >>> @pass_where_positive.gradient
    ... def pass_where_positive_gradient(x, gate):
    ...     return where(gate <= T(0), T(0), T(1)), T(0)
    >>> import numpy as np
    >>> pass_where_positive(np.array([1.0, 2.0]), np.array([-1.0, 1.0]))
    array([0., 2.])
    """

    def decorate(formula: Any) -> Gated:
        _, gate = formula.__code__.co_varnames[: formula.__code__.co_argcount]
        of_catalogue = formula.__module__.startswith(f"{PACKAGE}.catalogue.")
        module = PACKAGE if of_catalogue else formula.__module__
        namespace: dict[str, Any] = {"call": partial(_incomplete, formula.__name__)}
        activation: Any = _define(formula.__name__, _GATED.replace("gate", gate), {}, module, namespace)

        def take_gradient(gradient: Any) -> Any:
            block = Block(
                name=formula.__name__,
                full_name=formula.__name__ if of_catalogue else f"{module}.{formula.__name__}",
                module=module,
                parameters={gate: 1.0},
                value=formula,
                derivative=gradient,
                mask=gradient,
                y_determines=None,
                exact=exact,
                special=(),
                kinks=(),
                zeros=(),
                ulp=Bounds(*ulp) if isinstance(ulp, tuple) else Bounds(ulp, ulp, ulp, ulp),
                backward_from=("x",),
                selects=False,
                wide=wide,
            )
            _pending[activation] = partial(_complete_gated, activation, block, namespace)
            if not of_catalogue:
                complete(activation)
            return gradient

        activation.formula, activation.gradient = formula, take_gradient
        return cast(Gated, activation)

    return decorate


def _parameters(formula: FunctionType) -> dict[str, float]:
    x, *names = formula.__code__.co_varnames[: formula.__code__.co_argcount]
    defaults = formula.__defaults__ or ()
    if x != "x":
        raise FormulaError(f"{formula.__name__}: the first argument of a formula is called x, not {x}")
    if len(defaults) != len(names) or any(type(default) not in (int, float) for default in defaults):
        raise FormulaError(f"{formula.__name__}: parameters need numbers as defaults: {', '.join(names)}")
    if taken := {
        "dy",
        "y",
        "out",
        "mask",
        "compiled",
        "call",
        "refused",
        "from_mask",
        "maker",
        "dx",
        "both",
        "new",
        "partial",
        "backward",
    }.intersection(names):
        raise FormulaError(f"{formula.__name__}: the calls have an argument {taken.pop()} of their own")
    return {name: float(default) for name, default in zip(names, defaults, strict=True)}


def _incomplete(name: str, *arguments: Any, **keywords: Any) -> Any:
    raise TypeError(f"{name} has no derivative yet: give it one with @{name}.derivative")


# Plain functions with the block's parameters as real keywords cannot be had but from text. `out` is the
# second argument, as in NumPy's ufuncs: keyword-only, it would cost 40 ns a call.
_ONE_ARRAY = """
def call_array(x, out=None{keywords}):
    y = compiled(x, {values}out)
    if y is not refused:
        return y
    return call((x,), out, ({values}))
"""
_TWO_OUTPUTS = """
def call_array(x, out=None{keywords}):
    both = compiled(x, {values}*(out if type(out) is tuple else (out, out)))
    if both is not refused:
        return both
    return call((x,), out, ({values}))
"""
_BACKWARD = """
def call_array(dy, x=None, out=None, *, y=None, mask=None{more_keywords}):
    if y is None:
        if mask is None:
            dx = compiled(dy, x, {values}out)
            if dx is not refused:
                return dx
        elif x is None and type(mask) is Mask and mask._function == maker and type(dy) is ndarray{same}:
            if dy.shape == mask._shape:
                dx = from_mask(dy, mask._bits, {values}out)
                if dx is not refused:
                    return dx
    return call(dy, x, out, y, mask, ({values}))
"""
_GATED = """
def call_array(x, gate, out=None):
    y = compiled(x, gate, out)
    if y is not refused:
        return y
    return call((x,), gate, out)
"""
_GATED_BACKWARD = """
def call_array(dy, x, gate, out=None):
    if type(x) is ndarray and type(gate) is ndarray and type(dy) is ndarray and x.shape == gate.shape == dy.shape:
        both = compiled(dy, x, gate, *(out if type(out) is tuple else (out, out)))
        if both is not refused:
            return both
    return call((dy, x), gate, out)
"""
_GATED_PREPARED = """
def call_array(x, gate, out=None):
    return call(x, gate, out)
"""
_WITH_MASK = """
def call_array(x, out=None{keywords}):
    if {numbers}:
        both = compiled(x, {values}out, None)
        if both is not refused:
            mask = new(Mask)
            y, mask._bits = both
            mask._shape, mask._function, mask._parameters = x.shape, maker, {{{named}}}
            return y, mask
    return call(x, out, ({values}))
"""
_VJP_BY_MASK = """
def call_array(x, out=None{keywords}):
    if {numbers}:
        both = compiled(x, {values}out, None)
        if both is not refused:
            mask = new(Mask)
            y, mask._bits = both
            mask._shape, mask._function, mask._parameters = x.shape, maker, {{{named}}}
            return y, partial(backward, mask=mask{same_keywords})
    return call(x, out, ({values}))
"""
_VJP_BY_X = """
def call_array(x, out=None{keywords}):
    if out is None{and_numbers}:
        y = compiled(x, {values}None)
        if y is not refused:
            return y, partial(backward, x=x{same_keywords})
    return call(x, out, ({values}))
"""


@cache  # compiling a template takes 0.1 ms, and functions with the same parameters share theirs
def _compiled(template: str) -> CodeType:
    return compile(template, f"<a template of {__name__}>", "exec")


def _define(
    name: str, source: str, parameters: dict[str, float], module: str, namespace: dict[str, Any], doc: str = ""
) -> Any:
    keywords = "".join(f", {parameter}=None" for parameter in parameters)
    text = source.format(
        keywords=f", *{keywords}" if parameters else "",
        more_keywords=keywords,
        values="".join(f"{parameter}, " for parameter in parameters),
        same="".join(f" and mask._parameters[{parameter!r}] is {parameter}" for parameter in parameters),
        same_keywords="".join(f", {parameter}={parameter}" for parameter in parameters),
        named=", ".join(f"{parameter!r}: {parameter}" for parameter in parameters),
        numbers=" and ".join(f"type({parameter}) is float" for parameter in parameters) or "True",
        and_numbers="".join(f" and type({parameter}) is float" for parameter in parameters),
    )
    namespace.update(
        compiled=takes_nothing, from_mask=takes_nothing, refused=NotImplemented, Mask=Mask, ndarray=np.ndarray,
        new=object.__new__, partial=partial,
    )  # fmt: skip
    exec(_compiled(text), namespace)
    function: Any = namespace.pop("call_array")
    function.__name__, function.__qualname__ = name.rpartition(".")[2], name
    function.__module__, function.__doc__ = module, doc
    function.__kwdefaults__ = {**(function.__kwdefaults__ or {}), **parameters}
    return function


def of(block: Block) -> Activation | Gated:
    """Give the function that a block defines: by its name, or made of it once where it came from another process."""
    found = getattr(sys.modules.get(block.module), block.name, None)
    if getattr(found, "block", None) is block:
        return cast(Activation, found)
    key = block.full_name, content_of(block)
    return cast(Activation, _made.get(key) or _made.setdefault(key, _make(block)))


def method_of(block: Block, operation: Operation) -> Any:
    """Return the public call of a operation."""
    activation = of(block)
    return activation if operation.name == VALUE.name else getattr(activation, operation.name)


_made: dict[tuple[str, bytes], Any] = {}


def _make(block: Block) -> Any:
    namespace: dict[str, Any] = {}
    source, parameters = _ONE_ARRAY, block.parameters
    if block.gated:
        (gate,) = block.parameters
        source, parameters = _GATED.replace("gate", gate), {}
    activation = _define(block.name, source, parameters, block.module, namespace)
    activation.formula = block.value
    (_complete_gated if block.gated else _complete)(activation, block, namespace)
    return activation


_pending: dict[Any, Callable[[], None]] = {}


def complete(activation: Any) -> Activation:
    """Give a function of the catalogue what a user's own has at once, unless it has it."""
    if activation in _pending:
        with one_at_a_time():
            if activation in _pending:
                _pending[activation]()
                del _pending[activation]
    return cast(Activation, activation)


def _complete_gated(activation: Any, block: Block, namespace: dict[str, Any]) -> None:
    """Give a function of two arrays its ufunc, and the calls that need both derivatives."""
    describe(block.value)
    (gate,) = block.parameters
    to_both = BACKWARD_TO_BOTH._replace(outputs=("dx", f"d{gate}"))
    words: dict[str, Any] = {}
    methods = {
        operation.name: Method(block, operation, name, dtypes.FLOATS, partial(scope.__setitem__, "compiled"))
        for operation, name, scope in (
            (VALUE, f"{block.name}.ufunc", namespace),
            (to_both, f"{block.name}.backward.ufunc", words),
        )
    }
    namespace["call"] = partial(numpy.gated, block, VALUE, methods)
    activation.block, activation.ufunc = block, methods["value"].ufunc
    activation.cuda_source = source_of(block)
    activation.__doc__ = docstrings.gated(block, "")
    for name, source, call in (
        ("backward", _GATED_BACKWARD, partial(numpy.gated_backward, block, to_both, methods)),
        ("vjp", _GATED_PREPARED, partial(numpy.gated_vjp, activation)),
    ):
        scope = words if name == "backward" else {}
        scope["call"] = call
        full_name, source = f"{block.name}.{name}", source.replace("gate", gate)
        setattr(activation, name, _define(full_name, source, {}, block.module, scope, docstrings.gated(block, name)))
    activation.backward.ufunc = methods["backward"].ufunc


def _complete(activation: Any, block: Block, namespace: dict[str, Any]) -> None:
    """Give a block's function its ufunc, and the calls that need the derivative."""
    for part in (block.value, block.derivative, block.mask, block.y_determines):
        if part is not None:
            describe(part)
    names = tuple(dtypes.WORKING) if block.selects else dtypes.FLOATS
    methods: numpy.Methods = {}

    def define(operation: Operation | None, method: str, source: str, call: Any) -> dict[str, Any]:
        words = {"call": call}
        doc = docstrings.method(block, method)
        function = _define(f"{block.name}.{method}", source, block.parameters, block.module, words, doc)
        setattr(activation, method, function)
        if operation is not None:
            add(operation, f"{block.name}.{method}.ufunc", words)
            function.ufunc = methods[operation.name].ufunc
        return words

    def add(operation: Operation, name: str, *scopes: dict[str, Any], word: str = "compiled") -> None:
        def publish(compiled: Any) -> None:
            for scope in scopes:
                scope[word] = compiled

        methods[operation.name] = Method(block, operation, name, names, publish)

    masks = "mask" in block.backward_from
    namespace["call"] = partial(numpy.call, block, VALUE, methods)
    vjp = define(None, "vjp", _VJP_BY_MASK if masks else _VJP_BY_X, partial(numpy.vjp, block, activation))
    add(VALUE, f"{block.name}.ufunc", namespace, *([] if masks else [vjp]))
    activation.block, activation.ufunc, activation.__doc__ = block, methods["value"].ufunc, docstrings.function(block)
    activation.cuda_source = source_of(block)
    define(DERIVATIVE, "derivative", _ONE_ARRAY, partial(numpy.call, block, DERIVATIVE, methods))
    words = define(BACKWARD, "backward", _BACKWARD, partial(numpy.backward, block, methods))
    words["maker"] = block.full_name
    call_both = partial(numpy.value_and_derivative, block, methods)
    define(VALUE_AND_DERIVATIVE, "value_and_derivative", _TWO_OUTPUTS, call_both)
    with_mask = define(None, "with_mask", _WITH_MASK, partial(numpy.with_mask, block, methods))
    vjp["maker"] = with_mask["maker"] = block.full_name
    vjp["backward"] = activation.backward
    if masks:
        add(WITH_MASK, f"{block.name}.with_mask", with_mask, vjp)
        add(BACKWARD_FROM_MASK, f"{block.name}.backward_from_mask", words, word="from_mask")
