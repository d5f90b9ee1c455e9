"""The decorators of the catalogue's blocks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import partial
from types import FunctionType
from typing import Any, Literal, cast

from ..backends.cupy import source_of
from ..engine.compilation import one_at_a_time
from ..formulas import T
from ..formulas.text import describe
from . import blocks, docstrings, signatures
from .kinds import KINDS
from .protocols import Activation, Gated, RowFunction
from .specification import (
    PACKAGE,
    Bounds,
    Elementwise,
    OfSum,
    Rowwise,
    Specification,
)
from .specification import Gated as GatedSpecification

INF = float("inf")
NAN = float("nan")


def elementwise(
    *,
    exact: Callable[..., Any],
    special: Iterable[tuple[float, float]],
    kinks: Iterable[tuple[float, float]] = (),
    zeros: Iterable[float] = (),
    crossings: Iterable[float] = (),
    ulp: float | tuple[float, float, float, float],
    backward_from: tuple[str, ...] = ("x",),
    y_determines: Callable[..., Any] | None = None,
    mask: Callable[..., Any] = lambda x, *parameters: (x <= T(0), T(0), T(1)),
    selects: bool = False,
    wide: bool = False,
    single: bool = False,
    full: bool = False,
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
    crossings : floats
        Near which, save 0, the value does, at default parameters.
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
    single : bool
        Whether kernels compute in float32 all the same, for float32 and 16 bits: where formulas carry what rounding
        takes wherever that would be seen. Array libraries, whose exponentials are less exact, compute as `wide` says.
    full : bool
        Whether kernels that compute in float64 take its primitives in all their precision for other dtypes too, and not
        those of 2^-28: where value or derivative have zeros, and parameters say where.
    unrounded : tuple of str
        Parameters whose default means a number that no dtype holds, such as 1/6. The formula takes ``stored(1 / 6)``,
        what the default has become in the dtype of x, for that number; `exact` gets the default as it is written.

    Returns
    -------
    decorator
        It takes the formula, whose parameters after `x` have their defaults, or `Required` numbers, and returns the
        public function; that one's ``derivative`` then takes the derivative's formula and completes it.

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
    own = "elementwise"
    fields = {
        "exact": exact, "special": blocks.pairs(own, "special", special), "kinks": blocks.pairs(own, "kinks", kinks),
        "zeros": tuple(zeros), "crossings": tuple(crossings),
        "ulp": Bounds(*blocks.units(own, ulp, 4)), "y_determines": y_determines, "mask": mask,
        "backward_from": blocks.subset(own, "backward_from", backward_from, ("x", "y", "mask")), "selects": selects,
        "wide": wide, "unrounded": unrounded,
        "single": single, "full": full,
    }  # fmt: skip

    def decorate(formula: Any) -> Activation:
        blocks.require_function("elementwise", formula)
        parameters = blocks.parameters_of(formula, ("x",))
        blocks.subset(formula.__name__, "unrounded", unrounded, parameters)
        arguments = ("x", *parameters)
        function: Any = _draft(formula, Elementwise, parameters)
        if not _is_ours(formula):
            blocks.require_formula(f"{formula.__name__}, mask", mask, arguments, _MASK)
            if y_determines is not None:
                what = f"{formula.__name__}, y_determines"
                blocks.require_formula(what, y_determines, parameters, (blocks.CONDITION,))
            if selects:
                blocks.require_selection(formula.__name__, formula, len(arguments))
                blocks.require_selection(f"{formula.__name__}, mask", mask, len(arguments))

        def take_derivative(derivative: Any) -> Any:
            _require_part(function, "derivative", derivative, arguments)
            if selects and not _is_ours(formula):
                blocks.require_selection(f"{formula.__name__}.derivative", derivative, len(arguments))
            _finish(function, Elementwise(derivative=derivative, parameters=parameters, **_named(formula), **fields))
            return derivative

        function.derivative = take_derivative
        return cast(Activation, function)

    return decorate


def gated(
    *,
    exact: Callable[..., Any],
    ulp: float | tuple[float, float, float, float],
    wide: bool = False,
    full: bool = False,
) -> Callable[[Callable[..., Any]], Gated]:
    """Make a function of two arrays, x and what gates it, of a formula: the decorator of a gated block.

    Parameters
    ----------
    exact : callable
        The textbook form, ``exact(m, x, gate, *parameters)``, as for `elementwise`.
    ulp : float or four floats
        Largest error in units in the last place: in float32 and float64, of the value, then of both derivatives. Where
        `wide`, x is multiplied by a rounded function of the gate, and in float64 the value may be off by another
        ``abs(x) * 2**-1074``.
    wide : bool
        Whether all is computed in float64, and rounded once to the dtype of x.
    full : bool
        Whether kernels take their whole arithmetic of 53 bits for float32 and 16 bits, too: where a derivative changes
        its sign at places that depend on parameters, less is seen near them.

    Returns
    -------
    decorator
        It takes the formula, whose parameters after x and the gate have their defaults, and returns the public
        function; that one's ``gradient`` then takes the formula of the two
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
    bounds = Bounds(*blocks.units("gated", ulp, 4))

    def decorate(formula: Any) -> Gated:
        blocks.require_function("gated", formula)
        gate = blocks.gate_of(formula)
        parameters = blocks.parameters_of(formula, ("x", gate))
        function: Any = _draft(formula, GatedSpecification, parameters, gate)

        def take_gradient(gradient: Any) -> Any:
            _require_part(function, "gradient", gradient, ("x", gate, *parameters), (blocks.NUMBER, blocks.NUMBER))
            fields = {"exact": exact, "ulp": bounds, "wide": wide, "full": full, "derivative": gradient}
            _finish(function, GatedSpecification(gate=gate, parameters=parameters, **_named(formula), **fields))
            return gradient

        function.gradient = take_gradient
        return cast(Gated, function)

    return decorate


def _itself(rest):  # type: ignore[no-untyped-def]
    return rest


def rowwise(
    *,
    exact: Callable[..., Any],
    ulp: tuple[float, float],
    of_sum: Callable[..., Any] = _itself,
    single: bool = False,
    negated: bool = False,
    each: Literal["exponential", "excess", "first"] = "exponential",
    has_options: bool = False,
    reduces: bool = False,
) -> Callable[[Callable[..., Any]], RowFunction]:
    """Make a row-wise function of a formula: the decorator of a row-wise block.

    Parameters
    ----------
    exact : callable
        The textbook form, ``exact(m, x)``, of an array of rows along its last axis, with ``m.exp`` and ``m.log``.
    ulp : two floats
        Largest error in units in the last place, in float32 and in float64, of rows of any length; of a gradient, in
        units of the larger of the sum of its terms' magnitudes and the largest gradient of the row.
    of_sum : formula, optional
        What is computed once a row, of the sum of e = exp(x - peak) along it, less 1: where one x stands out, what is
        left would be lost in the sum. By default that number itself.
    single : bool
        Whether a GPU computes rows of float32 and of 16 bits in pairs of float32, `rectifier.formulas.pairs`, and not
        in float64.
    negated : bool
        Whether the function is one of -x. Then the formula gets -x for x, and the largest of those; `exact` and
        `backward`, which are of x itself, have the sign.
    each : str
        What e is: "exponential", exp(x - peak); "excess", by how much x exceeds the threshold of its row over which
        a sum of 1 lies, or 0; "first", 1 for the first of the largest x, 0 for all others. Of the last two nothing is
        summed, and the formula takes x, the largest x and e alone. Of an excess, `weight` gives two numbers, and
        `backward` takes both their sums.
    has_options : bool
        Whether the calls take ``where``, ``scale``, ``causal`` and ``sink``. Then the formula uses x and the peak for
        their difference alone. What does not count is as the formula has it at x = -inf.
    reduces : bool
        Whether there is one number a row. Then the formula takes the largest x and what `of_sum` gives; `weight` is of
        the sum that `of_sum` takes; and `backward` of dy, e and what `weight` gives.

    Returns
    -------
    decorator
        It takes the formula, of x, of the largest x in its row, of e, and of what `of_sum` gives. The public function
        that it returns
        takes two more formulas, by its decorators ``weight``, of what `backward` sums along a row, of dy and y, and
        ``backward``, of the gradient, of dy, y and that sum.
    """
    bounds = blocks.units("rowwise", ulp, 2)

    def decorate(formula: Any) -> RowFunction:
        blocks.require_function("rowwise", formula)
        blocks.require_choice("rowwise", "each", each, ("exponential", "excess", "first"))
        rows = _ROWS["reduction" if reduces else each]
        function: Any = _draft(formula, Rowwise, {}, rows=rows, has_options=has_options)
        arguments = ("the sum",) if reduces else ("dy", "y")
        sums = ("the sum", "the other sum")[: 2 if each == "excess" else 1]
        found: dict[str, Any] = {
            "of_sum": of_sum, "single": single, "negated": negated, "each": each, "has_options": has_options,
            "reduces": reduces,
        }  # fmt: skip
        if has_options and (negated or reduces or each != "exponential"):
            raise TypeError(
                f"{formula.__name__} is of -x, or of no exponentials, and has options: there are no kernels"
            )
        if not _is_ours(formula):
            blocks.require_formula(f"{formula.__name__}, of_sum", of_sum, ("the sum",))

        def take_weight(weight: Any) -> Any:
            _require_part(function, "weight", weight, arguments, (blocks.NUMBER,) * len(sums))
            found["weight"] = weight
            return weight

        def take_backward(backward: Any) -> Any:
            _require_part(function, "backward", backward, ("dy", "e" if reduces else "y", *sums))
            if "weight" not in found:
                _incomplete(formula.__name__, "weight")
            _finish(
                function, Rowwise(exact=exact, ulp=bounds, parameters={}, backward=backward, **_named(formula), **found)
            )
            return backward

        function.weight, function.backward = take_weight, take_backward
        return cast(RowFunction, function)

    return decorate


def _is_ours(formula: FunctionType) -> bool:
    return formula.__module__.startswith(f"{PACKAGE}.catalogue.")


def _named(formula: FunctionType) -> dict[str, Any]:
    """Return the fields of a specification that say what a function is called; one of the catalogue has no module."""
    name, module = formula.__name__, PACKAGE if _is_ours(formula) else formula.__module__
    full_name = name if module == PACKAGE else f"{module}.{name}"
    return {"name": name, "full_name": full_name, "module": module, "value": formula}


def _incomplete(name: str, lacks: str, *arguments: Any, **keywords: Any) -> Any:
    raise TypeError(f"{name} has no {lacks} yet: give it one with @{name}.{lacks}")


def _require_part(
    function: Any, name: str, formula: Any, arguments: tuple[str, ...], results: tuple[str, ...] = (blocks.NUMBER,)
) -> None:
    """Refuse what the decorator `name` does not take, as an array to compute on or another formula."""
    if not isinstance(formula, FunctionType):
        _incomplete(function.__name__, name)
    if function in _pending or hasattr(function, "spec"):  # masks, graphs and kernels are made of what it has
        raise TypeError(f"{function.__name__} is complete, and its {name} stays: define the function anew")
    if not _is_ours(formula):
        blocks.require_formula(f"{function.__name__}.{name}", formula, arguments, results)


_MASK = (blocks.CONDITION, blocks.NUMBER, blocks.NUMBER)


# What formulas of rows take.
_ROWS = {
    "exponential": ("x", "peak", "e", "rest"), "excess": ("x", "peak", "e"), "first": ("x", "peak", "e"),
    "reduction": ("peak", "rest"),
}  # fmt: skip


def _rows_of(spec: Rowwise) -> tuple[str, ...]:
    return _ROWS["reduction" if spec.reduces else spec.each]


def _draft(
    formula: Any,
    of: type[Specification],
    parameters: dict[str, float],
    gate: str = "",
    rows: tuple[str, ...] = (),
    has_options: bool = False,
) -> Any:
    """Make a function of a kind, which has no calls yet."""
    named, kind = _named(formula), KINDS[of]
    if not _is_ours(formula):
        arrays = rows or (("x", gate) if gate else ("x",))
        blocks.require_formula(named["name"], formula, (*arrays, *parameters))
    namespace: dict[str, Any] = {"_call_": partial(_incomplete, named["name"], kind.completed_by)}
    template = signatures.with_options(kind.template) if has_options else kind.template
    if rows == _ROWS["reduction"]:
        template = signatures.REDUCTION
    function = signatures.make(template, named["name"], named["module"], namespace, parameters=parameters, gate=gate)
    function.formula = formula
    return function


_pending: dict[Any, Specification] = {}


def _finish(function: Any, spec: Specification) -> None:
    """Complete a user's function. One of the catalogue waits until it is asked for: that takes a millisecond."""
    _pending[function] = spec
    if spec.module != PACKAGE:
        complete(function)


def specification_of(function: Any) -> Specification:
    """Return the specification of a function of the catalogue, made or not."""
    found: Specification = _pending.get(function) or function.spec
    return found


def complete(function: Any) -> Any:
    """Finish building a function of the catalogue; idempotent. A user's own are finished at their definition."""
    if function in _pending:
        with one_at_a_time():
            if function in _pending:
                _complete(function, _pending[function])
                del _pending[function]
    return function


def of(spec: Specification) -> Any:
    """Return the function of a specification: by its name, or made once where it came from another process."""
    if isinstance(spec, OfSum):
        return of(spec.of).of_sum
    found = getattr(sys.modules.get(spec.module), spec.name, None)
    if getattr(found, "spec", None) is spec:
        return found
    from ..engine.fingerprint import content_of

    key = spec.full_name, content_of(spec)
    if key not in _made:
        rows = _rows_of(spec) if isinstance(spec, Rowwise) else ()
        gate, has_options = getattr(spec, "gate", ""), getattr(spec, "has_options", False)
        function = _draft(spec.value, type(spec), spec.parameters, gate, rows, has_options)
        _complete(function, spec)
        _made.setdefault(key, function)
    return _made[key]


_made: dict[tuple[str, bytes], Any] = {}


def _complete(function: Any, spec: Specification) -> None:
    """Complete a function: its specification, loops, methods and documentation."""
    for formula in spec.stated():
        describe(formula)
    function.spec, function.methods = spec, {}
    function.__doc__, function.cuda_source = docstrings.of(spec), source_of(spec)
    KINDS[type(spec)].complete(function, spec)
