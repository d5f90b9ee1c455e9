"""Truth, and whether an activation function tells it: for the functions here and for those of your own.

Truth comes from the block's `exact`, evaluated by mpmath; nothing here uses a formula or a kernel. It needs mpmath, and
ml_dtypes for bfloat16.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..functions.missing import named

with named("rectifier.testing", "mpmath", "verify"):
    import mpmath

from ..formulas import bind
from ..formulas import mpmath as exact_primitives
from ..functions import dtypes
from ..functions.protocols import Activation
from ..functions.specification import Specification

dtype_of = dtypes.named
FLOATS = dtypes.FLOATS
DIGITS = 60


def special_values(dtype: Any) -> np.ndarray[Any, Any]:
    """List the values of a floating dtype at which functions go wrong.

    Returns
    -------
    array
        Zeros, infinities and NaN of both signs, the edges of the subnormal and normal numbers, 1 and its
        neighbours, small integers.

    Examples
    --------
    >>> special_values("float32")[:4]
    array([ 0.,  1., inf, nan], dtype=float32)
    """
    dtype = dtype_of(dtype) if isinstance(dtype, str) else np.dtype(dtype)
    row = dtypes.FORMATS[dtype.name]
    bits, smallest = row.significand, row.smallest
    integer = np.dtype(f"u{dtype.itemsize}")
    largest = 2.0 ** (2 - bits - smallest)  # the largest power of two
    positive = np.array([0, 1, math.inf, math.nan, 0.5, 2, 3, 6, 1.5 * largest, largest]).astype(dtype)
    one = np.array(1).astype(dtype).view(integer)
    edge = 1 << (bits - 1)  # bit pattern of the smallest normal number
    near = np.array([1, 2, 3, edge - 1, edge, edge + 1, one - 1, one + 1], integer).view(dtype)
    values = np.concatenate([positive, near])
    return np.concatenate([values, -values])


def nearest(exact: Any, dtype: Any) -> Any:
    """Round an mpmath number to a floating dtype, to nearest, ties to even.

    Examples
    --------
    >>> nearest(mpmath.mpf(2) ** -150, np.dtype("float32"))
    np.float32(0.0)
    """
    row = dtypes.FORMATS[dtype.name]
    bits, smallest = row.significand, row.smallest
    if not mpmath.isfinite(exact) or exact == 0:
        return np.array(float(exact)).astype(dtype)[()]
    with mpmath.workdps(DIGITS):
        _, exponent = mpmath.frexp(exact)
        quantum = max(exponent - bits, smallest)
        rounded = mpmath.ldexp(mpmath.nint(mpmath.ldexp(abs(exact), -quantum)), quantum)
        overflows = rounded >= mpmath.ldexp(1, 3 - smallest - bits)
    value = math.inf if overflows else float(rounded)
    return np.array(math.copysign(value, exact)).astype(dtype)[()]


def ulp_distance(actual: Any, exact: Any, dtype: Any) -> float:
    """Return the distance of a result from an mpmath number, in units in the last place of that number.

    Returns
    -------
    float
        0 where both are NaN, infinite where one is, or where an infinity is not what rounding gives.
    """
    value = float(actual)
    if math.isnan(value) or mpmath.isnan(exact):
        return 0.0 if math.isnan(value) and mpmath.isnan(exact) else math.inf
    if math.isinf(value) or not mpmath.isfinite(exact):
        return 0.0 if value == float(nearest(exact, dtype)) else math.inf
    row = dtypes.FORMATS[dtype.name]
    bits, smallest = row.significand, row.smallest
    exponent = mpmath.frexp(exact)[1] if exact else -(10**9)
    return float(abs(mpmath.mpf(value) - exact) / mpmath.ldexp(1, max(exponent - bits, smallest)))


def largest(dtype: np.dtype[Any]) -> float:
    """Return the largest number of a dtype."""
    row = dtypes.FORMATS[dtype.name]
    bits, smallest = row.significand, row.smallest
    return (2.0 - 2.0 ** (1 - bits)) * 2.0 ** (2 - bits - smallest)


def limit_of(slope: Any, dtype: np.dtype[Any]) -> Any:
    """Return the derivative at infinity, from that at the largest number: a power of x goes to 0 or infinity."""
    size, power = abs(slope), largest(dtype) ** 0.25
    return slope * math.inf if size > power else 0 * slope if size < 1 / power else slope


def settings_of(spec: Specification, dtype: Any, parameters: dict[str, Any]) -> list[Any]:
    """List the parameters of a call as `exact` takes them: rounded, save a default that the block does not round."""
    numbers = []
    for name, default in spec.parameters.items():
        number, own = (np.array(value).astype(dtype) for value in (parameters.get(name, default), default))
        numbers.append(default if name in spec.unrounded and number == own else number)
    return numbers


def exact(spec: Specification, x: Any, parameters: Iterable[Any]) -> tuple[Any, Any]:
    """Evaluate the textbook form and its derivative at one finite number, with mpmath."""
    with mpmath.workdps(DIGITS):
        numbers = [mpmath.mpf(float(p)) for p in parameters]
        result = exact_primitives.Dual.of(
            spec.exact(exact_primitives.MPMATH, exact_primitives.Dual(mpmath.mpf(float(x)), 1), *numbers)
        )
        return +mpmath.mpf(result.number), +mpmath.mpf(result.slope)


def exact_arrays(spec: Specification, x: Any, parameters: Iterable[Any]) -> tuple[Any, Any]:
    """Evaluate the textbook form and its derivative on arrays, with long doubles; good for results of up to 24 bits."""
    with np.errstate(all="ignore"):
        long = x.astype(np.longdouble)
        numbers = [np.longdouble(float(p)) for p in parameters]
        dual = exact_primitives.Dual(long, np.ones_like(long))
        result = exact_primitives.Dual.of(spec.exact(exact_primitives.arrays(), dual, *numbers))
        value, slope = (np.broadcast_to(part, x.shape) for part in (result.number, result.slope))
        return value.astype(np.longdouble), slope.astype(np.longdouble)


def ulps(actual: Any, exact: Any, dtype: Any) -> Any:
    """Return the distances of results from long doubles, in units in the last place of those; see `ulp_distance`."""
    row = dtypes.FORMATS[dtype.name]
    bits, smallest = row.significand, row.smallest
    overflow = np.ldexp(np.longdouble(2 - 2.0**-bits), 2 - bits - smallest)  # rounds to infinity from here on
    with np.errstate(all="ignore"):
        actual = actual.astype(np.longdouble)
        exponent = np.where(exact == 0, -(10**6), np.frexp(exact)[1])
        ulp = np.ldexp(np.longdouble(1), np.maximum(exponent - bits, smallest))
        distance = np.abs(actual - exact) / ulp
        large = (np.abs(exact) >= overflow) | np.isinf(actual)
        right = np.isinf(actual) & (np.abs(exact) >= overflow) & (np.sign(actual) == np.sign(exact))
        distance = np.where(large, np.where(right, 0, np.inf), distance)
        nan = np.isnan(actual) | np.isnan(exact)
        return np.where(nan, np.where(np.isnan(actual) & np.isnan(exact), 0, np.inf), distance).astype(np.float64)


def bound(spec: Specification, dtype: Any, *, derivative: bool = False) -> float:
    """Return the largest error, in units in the last place, that a block allows."""
    if spec.ulp.float32 == 0 or dtype.itemsize == 2:
        # Rounded twice, from float32: a unit of that is 2^-13 of float16's, and more next to the zero of a derivative.
        rounded_before = spec.ulp.float32 / 256 if not spec.wide else 2.0**-8 if spec.single else 1e-4
        return 0.5 + rounded_before if spec.ulp.float32 else 0.0
    bound: float = spec.ulp[2 * derivative + (dtype == np.float64)]
    return bound


def _same(actual: Any, expected: Any) -> bool:
    """Compare bit for bit, all NaN being one."""
    actual, expected = float(actual), float(expected)
    if math.isnan(expected):
        return math.isnan(actual)
    return actual == expected and math.copysign(1, actual) == math.copysign(1, expected)


def check_points(activation: Activation, x: np.ndarray[Any, Any], **parameters: Any) -> int:
    """Check value and derivative at every element of `x` against the truth.

    A result that is exactly 0 is +0.0, save where the block's special values say otherwise.

    Returns
    -------
    int
        How many results were compared.

    Raises
    ------
    AssertionError
        With the first result that is off by more than the block's bound.
    """
    spec, dtype = activation.spec, x.dtype
    settings = settings_of(spec, dtype, parameters)
    x = x.ravel()
    given = spec.required | parameters
    values, derivatives = activation(x, **given), activation.derivative(x, **given)
    known = ~np.isnan(x)
    for what, results in ((spec.name, values), (f"{spec.name}'", derivatives)):
        assert np.isnan(results[~known]).all(), f"{what}(nan) is a number"
    special = [] if parameters else [(v, y) for v, y in spec.special if not math.isnan(v)]
    kinks = [] if parameters else list(spec.kinks)
    checked_d = known & ~np.isin(x, np.array([v for v, _ in spec.kinks]).astype(dtype))
    checked_y = known & ~np.isinf(x)
    for what, results, pairs in ((spec.name, values, special), (f"{spec.name}'", derivatives, kinks)):
        for v, y in pairs:
            at, expected = np.array(v).astype(dtype), np.array(y).astype(dtype)
            here = (x == at) & (np.signbit(x) == np.signbit(at) if what == spec.name else True)
            for result in results[here].tolist():
                assert _same(result, expected), f"{what}({v}) is {result}, its block says {expected}"
            if what == spec.name:
                checked_y &= ~here
    at = np.clip(
        x[known], *(np.array(sign * largest(dtype)).astype(dtype) for sign in (-1, 1))
    )  # at infinity, its limit
    if dtype == np.float64:
        truth = [exact(spec, v, settings) for v in at.tolist()]
        exact_y, exact_d = (np.array([pair[k] for pair in truth], object) for k in (0, 1))
    else:
        exact_y, exact_d = exact_arrays(spec, at, settings)
    infinite = np.isinf(x[known])
    exact_d[infinite] = [limit_of(slope, dtype) for slope in exact_d[infinite]]
    beside = None if spec.wide else lambda v: exact(spec, v, settings)[1]
    _check(spec, spec.name, x[known], values[known], exact_y, checked_y[known], derivative=False)
    _check(spec, f"{spec.name}'", x[known], derivatives[known], exact_d, checked_d[known], beside, derivative=True)
    return int(checked_y.sum() + checked_d.sum())


def _check(
    spec: Specification,
    what: str,
    x: Any,
    actual: Any,
    exact: Any,
    checked: Any,
    exact_at: Any = None,
    *,
    derivative: bool,
) -> None:
    """Check results against long doubles, or mpmath numbers where those are not precise enough."""
    x, actual, exact, dtype = x[checked], actual[checked], exact[checked], x.dtype
    assert x.size, "nothing was compared"
    if dtype == np.float64:
        errors = np.array([ulp_distance(y, truth, dtype) for y, truth in zip(actual.tolist(), exact, strict=True)])
    else:
        errors = ulps(actual, exact, dtype)
    limit = bound(spec, dtype, derivative=derivative)
    wrong = errors > (limit or 0.5)
    if exact_at and wrong.any():  # the sum in a kink's place is rounded, as in 1/6 * 3 + 0.5
        sides = [[exact_at(v) for v in np.nextafter(x[wrong], side).tolist()] for side in (-np.inf, np.inf)]
        near = [
            [ulp_distance(y, d, dtype) <= limit for y, d in zip(actual[wrong].tolist(), side, strict=True)]
            for side in sides
        ]
        wrong[wrong] = ~np.any(near, axis=0)
    if dtype.itemsize > 2:
        for zero in spec.zeros if derivative else spec.crossings:
            near = np.abs(x - zero) < 1
            wrong[near] &= np.abs(actual[near] - exact[near].astype(np.float64)) > 2.0**-51
    if not limit:  # a tie goes to the even neighbour, and a 0 that is not from x has no sign
        odd = actual.view(np.dtype(f"u{dtype.itemsize}")) % 2 == 1
        wrong |= (errors == 0.5) & odd
        wrong |= (actual == 0) & np.signbit(actual) & (exact == 0) & (x != 0)
    if wrong.any():
        k = int(np.flatnonzero(wrong)[0])
        raise AssertionError(
            f"{what}({x[k]!r}) in {dtype} is {actual[k]!r}, off by {errors[k]:.4g} ulp of {float(exact[k])!r}, "
            f"more than {limit or 0.5:g}: {int(wrong.sum())} of {wrong.size} are wrong"
        )


def check(activation: Activation, dtypes: Iterable[str] = ("float32", "float64")) -> None:
    """Check that an activation function is what its block says.

    Checked are special values and kinks, value and derivative on a grid against mpmath, the algebra of
    the formulas apart from rounding, that NaN propagates, that backward selects, and that a mask gives
    the same as x.

    Parameters
    ----------
    activation : activation function
        One of this package, or your own, made with `elementwise`.
    dtypes : names of floating dtypes
        In which to check.

    Raises
    ------
    AssertionError
        With the first claim that does not hold, and where.

    Examples
    --------
    >>> from rectifier import relu
    >>> check(relu)
    """
    spec = activation.spec
    check_algebra(activation)
    for name in dtypes:
        dtype = dtype_of(name)
        grid = np.concatenate([np.linspace(-8, 8, 257), np.geomspace(1e-6, 1e4, 64), -np.geomspace(1e-6, 1e4, 64)])
        edges = [
            np.nextafter(kink, side) for kink, _ in spec.kinks if math.isfinite(kink) for side in (-np.inf, np.inf)
        ]
        check_points(
            activation, np.concatenate([special_values(dtype), grid.astype(dtype), np.array(edges).astype(dtype)])
        )
        check_backward(activation, special_values(dtype))


def check_algebra(activation: Activation) -> None:
    """Check the formulas against `exact` on mpmath numbers, where nothing is rounded."""
    spec = activation.spec
    primitives = exact_primitives.primitives()
    value, derivative = bind(spec.value, primitives), bind(spec.derivative, primitives)
    with mpmath.workdps(DIGITS):
        # A constant of a formula is a float64.
        tolerance = mpmath.mpf(10) ** -50 if spec.ulp.float32 == 0 else mpmath.mpf(10) ** -13
        parameters = [mpmath.mpf(default) for default in spec.parameters.values()]
        for k in range(-40, 41):
            x = mpmath.mpf(float(mpmath.mpf(k) / 7 + mpmath.mpf(1) / 1000))
            y, d = exact(spec, x, parameters)
            assert abs(value(x, *parameters) - y) <= tolerance, f"the formula of {spec.name} is wrong at {x}"
            assert abs(derivative(x, *parameters) - d) <= tolerance, f"the derivative of {spec.name} is wrong at {x}"


def check_backward(activation: Activation, x: np.ndarray[Any, Any], **parameters: Any) -> None:
    """Check that backward selects where the derivative is 0, multiplies elsewhere, and that a mask agrees."""
    spec = activation.spec
    dy = special_values(x.dtype)
    dy, x = (a.ravel() for a in np.meshgrid(dy, x))
    given = spec.required | parameters
    dx = activation.backward(dy, x, **given)
    if spec.wide and x.dtype != np.float64:  # from a derivative that nobody sees
        _check_wide_backward(activation, dy, x, dx, parameters)
        return
    working = spec.working(x.dtype.name)
    # Between the derivative and the product nothing is rounded to 16 bits.
    numbers = settings_of(spec, x.dtype, parameters)
    widened = {name: np.array(value).astype(working) for name, value in zip(spec.parameters, numbers, strict=True)}
    d = activation.derivative(x.astype(working), **widened)
    with np.errstate(all="ignore"):
        product = (dy.astype(working) * d).astype(x.dtype)
    expected = np.where(d == 0, np.zeros(1, x.dtype), product)
    _assert_same(dx, expected, f"{spec.name}.backward", dy, x)
    if "mask" in spec.backward_from:
        y, mask = activation.with_mask(x, **given)
        _assert_same(y, activation(x, **given), f"{spec.name}.with_mask", x)
        expected = np.where(np.isnan(x), dy, dx)  # one bit: at NaN, dy passes
        from_mask = activation.backward(dy, mask=mask, **given)
        _assert_same(from_mask, expected, f"{spec.name}.backward from the mask", dy, x)


def _check_wide_backward(activation: Activation, dy: Any, x: Any, dx: Any, parameters: dict[str, Any]) -> None:
    spec, dtype = activation.spec, x.dtype
    settings = settings_of(spec, dtype, parameters)
    with np.errstate(all="ignore"):
        at = np.clip(x.astype(np.float64), -largest(dtype), largest(dtype)).astype(dtype)
        _, d = exact_arrays(spec, at, settings)
        for kink, slope in spec.kinks if not parameters else ():
            d = np.where(x == kink, slope, d)
        expected = np.where(d == 0, 0, dy.astype(np.longdouble) * d)
    known = (
        np.isfinite(dy.astype(np.float64))
        & np.isfinite(x.astype(np.float64))
        & ~np.isin(x, [kink for kink, _ in spec.kinks])
        & (np.abs(d) <= largest(np.dtype(spec.compiled(dtype.name))))  # what is multiplied is a number of this type
    )
    errors = ulps(dx, expected, dtype)
    with np.errstate(all="ignore"):
        if spec.single:  # a derivative that is subnormal in float32 has fewer digits than the product
            errors[np.abs(dx - expected) <= np.abs(dy) * 2.0**-149] = 0
        for zero in spec.zeros:
            errors[(np.abs(x - zero) < 1) & (np.abs(dx - expected) <= np.abs(dy) * 2.0**-51)] = 0
    errors = errors[known]
    limit = bound(spec, dtype, derivative=True)
    # A unit of the derivative may be two of the product.
    limit = limit if dtype.itemsize == 2 else 2 * limit + (0.5 if spec.single else -0.5)
    worst = int(errors.argmax())
    assert errors[worst] <= limit, (
        f"{spec.name}.backward({dy[known][worst]}, {x[known][worst]}) in {dtype} is {dx[known][worst]}, "
        f"off by {errors[worst]} ulp of {expected[known][worst]}"
    )
    assert np.isnan(dx[np.isnan(x)]).all(), f"{spec.name}.backward is a number where x is NaN"


def different(actual: Any, expected: Any) -> Any:
    """Return where arrays of one dtype differ in a bit, all NaN being one."""
    unsigned = np.dtype(f"u{actual.dtype.itemsize}")
    with np.errstate(invalid="ignore"):  # ml_dtypes looks at a signalling NaN as a float32
        nan = np.isnan(actual) & np.isnan(expected)
    return (actual.view(unsigned) != expected.view(unsigned)) & ~nan


def _assert_same(actual: Any, expected: Any, what: str, *at: Any) -> None:
    """Assert that arrays agree bit for bit, all NaN being one."""
    differ = different(actual, expected)
    if differ.any():
        i = int(np.flatnonzero(differ)[0])
        raise AssertionError(f"{what} at {', '.join(str(a[i]) for a in at)} is {actual[i]}, expected {expected[i]}")
