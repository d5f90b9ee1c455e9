"""Softmax and its logarithm: along any axis of anything, right, and with a gradient without the Jacobian."""

from __future__ import annotations

import math
import pickle
from fractions import Fraction

import mpmath
import numpy as np
import pytest

from conftest import BACKENDS, FLOATS, assert_same
from rectifier import log_softmax, settings, softmax, testing
from rectifier.catalogue import ROWWISE
from rectifier.tools.verify import multi_input

CASES = [
    pytest.param(getattr(package, name), id=f"{name}-{backend}")
    for name in ROWWISE
    for backend, package in BACKENDS.items()
]
assert len(CASES) >= 10
each = pytest.mark.parametrize("function", CASES)
# Of the others a row's sum is one of exponentials; these select.
SELECT = ("hardmax", "sparsemax")
SUMS = [case for case in CASES if case.values[0].__name__ not in SELECT]
each_sum = pytest.mark.parametrize("function", SUMS)


def truth(function, row):
    with mpmath.workdps(multi_input.DIGITS):
        return function.spec.exact(multi_input.FUNCTIONS, multi_input.numbers(np.array(row))).tolist()


ROWS = {
    "one": [3.0],
    "two": [0.0, -30.0],
    "one stands out": [20.0, 1.0, -5.0, 0.0],
    "equal": [7.0] * 33,
    "huge": [1e4, 1e4 - 1, -1e4],
    "many": list(np.random.default_rng(0).standard_normal(1000) * 4),
    "longer than what waits on the stack": list(np.random.default_rng(1).standard_normal(5000) * 3),
}


@each
@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("dtype_name", FLOATS)
def test_rows_are_right(function, row, dtype_name):
    dtype = testing.dtype_of(dtype_name)
    x = np.array(ROWS[row]).astype(dtype)
    bound = {"float32": function.spec.ulp[0], "float64": function.spec.ulp[1]}.get(dtype_name, 0.5001)
    for actual, exact in zip(function(x).tolist(), truth(function, x.tolist()), strict=True):
        error = testing.ulp_distance(actual, exact, dtype)
        least = abs(actual - exact) < 2.0**-100 if function.spec.each == "excess" else abs(exact) < 2.0**-1000
        assert error <= bound or least, (actual, float(exact), error)


@each
@pytest.mark.parametrize("dtype_name", ["float16", "float32", "float64"])
def test_any_axis_and_layout_gives_the_same_bits(function, dtype_name):
    x = (np.random.default_rng(0).standard_normal((5, 6, 7)) * 3).astype(dtype_name)
    dy = x[::-1].copy()
    for axis in (-3, -2, -1, 0, 1, 2):
        moved, moved_dy = (np.ascontiguousarray(np.moveaxis(a, axis, -1)) for a in (x, dy))
        expected = np.moveaxis(function(moved), -1, axis)
        gradient = np.moveaxis(function.backward(moved_dy, moved), -1, axis)
        for array, array_dy in ((x, dy), (np.asfortranarray(x), dy), (np.repeat(x, 2, axis=0)[::2], dy)):
            assert_same(function(array, axis=axis), expected)
            assert_same(function.backward(array_dy, array, axis=axis), gradient)
            assert_same(function.backward(array_dy, y=function(array, axis=axis), axis=axis), gradient)
            out = np.empty_like(array)
            assert function(array, out, axis=axis) is out
            assert_same(out, expected)
    single = np.stack([[function(row) for row in plane] for plane in x])
    assert_same(function(x), single)


@each
@pytest.mark.parametrize("axis", [None, (0, 1), (1, 0), (-1, 0), (2, -3, 1), (), (1,)])
def test_the_elements_of_several_axes_make_one_row(function, axis):
    x, dy = (np.random.default_rng(0).standard_normal((2, 3, 4, 5)) * 3).astype("f4")
    axes = (0, 1, 2) if axis is None else tuple(sorted(k % 3 for k in axis))
    expected, gradient = np.empty_like(x), np.empty_like(x)
    for place in np.ndindex(*(1 if k in axes else side for k, side in enumerate(x.shape))):
        index = tuple(slice(None) if k in axes else slice(n, n + 1) for k, n in enumerate(place))
        row, row_dy = x[index].ravel(), dy[index].ravel()
        expected[index] = function(row).reshape(x[index].shape)
        gradient[index] = function.backward(row_dy, row).reshape(x[index].shape)
    for array in (x, np.asfortranarray(x), x[::-1].copy()[::-1]):
        assert_same(function(array, axis=axis), expected)
        assert_same(function.backward(dy, array, axis=axis), gradient)
        assert_same(function.backward(dy, y=expected, axis=axis), gradient)
        y, pullback = function.vjp(array, axis=axis)
        assert_same(y, expected)
        assert_same(pullback(dy), gradient)
    for out in (
        np.empty_like(x),
        np.empty((5, 4, 3), "f4").T,
        np.empty((3, 8, 5), "f4")[:, ::2],
        x.copy(),
        x.T.copy().T,
    ):
        given = out if np.array_equal(out, x) else x
        assert function(given, out, axis=axis) is out
        assert_same(out, expected)


@each
@pytest.mark.parametrize("axis", [-1, 0, None, ()])
def test_what_has_no_dimension_is_a_row_of_one(function, axis):
    one = 0.0 if function.__name__ == "log_softmax" else 1.0
    for x, dtype in ((3.0, "f8"), (np.float32(-7), "f4"), (np.array(3, "f2"), "f2"), (np.int8(3), "f2")):
        y, pullback = function.vjp(x, axis=axis)
        assert_same(y, np.dtype(dtype).type(one))
        assert isinstance(y, np.generic)  # as a ufunc gives
        dx = pullback(np.dtype(dtype).type(2))
        assert (type(dx), dx.dtype) == (type(y), dtype)
        assert abs(float(dx)) < 1e-8  # 0 but for the rounding of an exponential
        out = np.full((), 5, dtype)
        assert function(x, out, axis=axis) is out
        assert out == one
    for x in (math.nan, math.inf, -math.inf):
        assert_same(function(x, axis=axis), np.float64(1 if function.__name__ == "hardmax" and x == x else math.nan))


@each
def test_one_element_a_row_along_no_axis(function):
    x = np.array([[1.0, math.nan], [-math.inf, math.inf]])
    one = 0.0 if function.__name__ == "log_softmax" else 1.0
    of_infinity = one if function.__name__ == "hardmax" else math.nan
    assert_same(function(x, axis=()), np.array([[one, math.nan], [of_infinity, of_infinity]]))
    for shape in ((0, 3), (3, 0)):
        for axis in (None, (0, 1), (0,), ()):
            assert function(np.empty(shape), axis=axis).shape == shape


@each
def test_in_place_and_overlapping_out(function):
    x = np.random.default_rng(0).standard_normal((40, 50)).astype("f4")
    expected = function(x)
    y = x.copy()
    assert function(y, y) is y
    assert_same(y, expected)
    memory = np.empty(40 * 50 + 7, "f4")
    memory[: 40 * 50] = x.ravel()
    inside, behind = memory[: 40 * 50].reshape(40, 50), memory[7:].reshape(40, 50)
    function(inside, behind)
    assert_same(behind, expected)
    turned = x.T.copy().T
    assert_same(function(turned, turned), expected)


@each
@pytest.mark.parametrize("shape", [(64, 64, 10), (64, 3, 3000), (64, 2000, 33), (6, 2, 70_000)])
def test_neither_threads_nor_chunks_matter(function, shape):
    x = np.random.default_rng(0).standard_normal(shape).astype("f4")
    before, results = settings.threads, []
    try:
        for threads in (1, 2):
            settings.threads = threads
            results.append((function(x), function.backward(x, y=function(x))))
    finally:
        settings.threads = before
    assert_same(results[1][0], results[0][0])
    assert_same(results[1][1], results[0][1])
    assert_same(function(x[5, 1]), results[0][0][5, 1])


@each
def test_gradients_are_those_of_the_function(function):
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 3, 9))
    gradient = function.backward(dy, x)
    h = 1e-6
    for k in range(9):
        step = np.zeros(9)
        step[k] = h
        expected = (dy * (function(x + step) - function(x - step))).sum(axis=-1) / (2 * h)
        np.testing.assert_allclose(gradient[:, k], expected, atol=1e-8)
    y, pullback = function.vjp(x)
    assert_same(y, function(x))
    assert_same(pullback(dy), gradient)


@each
def test_rows_without_a_limit_are_nan(function):
    nothing = function.spec.nothing
    rows = np.array([[math.nan, 1, 2], [-math.nan, 0, 0], [-nothing, 1, 2], [nothing] * 3])
    y = function(rows)
    assert np.isnan(y[:2]).all()
    if function.__name__ == "hardmax":
        assert y[2:].tolist() == [[1, 0, 0]] * 2
    else:
        assert np.isnan(y).all()
    y = function(np.array([nothing, 0.0]))
    assert_same(y, np.array([-math.inf, 0.0] if function.__name__ == "log_softmax" else [0.0, 1.0]))


@each
def test_integers_lists_and_empty_arrays(function):
    assert function([[1, 2], [3, 4]]).dtype == np.float64
    assert function(np.ones((2, 2), "i1")).dtype == np.float16
    assert function(np.empty((0, 3))).shape == (0, 3)
    assert function(np.empty((3, 0))).shape == (3, 0)


@each
def test_what_is_wrong_is_refused(function):
    x, out = np.ones((2, 3)), np.zeros((3, 2))
    with pytest.raises(ValueError, match="axis 2 is out of bounds"):
        function(x, axis=2)
    with pytest.raises(ValueError, match="axis -3 is out of bounds"):
        function(x, axis=(0, -3))
    with pytest.raises(ValueError, match=r"axis \(0, -2\) names an axis twice"):
        function(x, axis=(0, -2))
    for axis in (1, -2, (0,)):
        with pytest.raises(ValueError, match="out of bounds for an array of 0 dimensions"):
            function(1.0, axis=axis)
    for axis in (1.5, (0, 1.5), [0, 1], "0"):
        with pytest.raises(TypeError):
            function(x, axis=axis)
    with pytest.raises(ValueError, match="out has shape"):
        function(x, out)
    with pytest.raises(TypeError, match="complex"):
        function(x + 1j)
    with pytest.raises(TypeError, match="one of x, y"):
        function.backward(x)
    with pytest.raises(ValueError, match="dy has shape"):
        function.backward(x, out)
    with pytest.raises(ValueError, match="out would overwrite x"):
        function.vjp(x, (x,))
    with pytest.raises(ValueError, match="out would overwrite"):
        function.vjp(x, x)
    assert not out.any()


def test_functions_pickle():
    for name in ROWWISE:
        assert pickle.loads(pickle.dumps(ROWWISE[name])) is ROWWISE[name]


def long_rows(length):
    """Give rows of few distinct numbers, each many times, so that mpmath can sum them."""
    rng = np.random.default_rng(length)
    normal = rng.standard_normal(500)[rng.integers(0, 500, length)]
    falling = np.repeat(np.linspace(0, -30, 1000), -(-length // 1000))[:length]
    one_stands_out = np.concatenate([[25.0], normal[1:]])
    alone = np.concatenate([[0.0], np.full(length - 1, -35.9)])  # its logarithm is the sum of all the others
    others_are_alike = [np.concatenate([[0.0], np.full(length - 1, -c)]) for c in (0.1, 0.7, 1.3, 2.9)]
    return [normal, 4 * normal, np.full(length, 7.3), falling, falling[::-1], one_stands_out, alone, *others_are_alike]


def assert_long_row_is_right(function, call, row):
    row = -row if function.spec.negated else row
    distinct, where, counts = np.unique(row, return_index=True, return_counts=True)
    with mpmath.workdps(60):
        numbers = [mpmath.mpf(-x if function.spec.negated else x) for x in distinct.tolist()]
        exponentials = [mpmath.exp(x) for x in numbers]
        whole = mpmath.fsum(e * int(count) for e, count in zip(exponentials, counts, strict=True))
        logarithm = function.__name__ == "log_softmax"
        exact = [x - mpmath.log(whole) if logarithm else e / whole for x, e in zip(numbers, exponentials, strict=True)]
        y = call(row)
        for actual, true in zip(y[where].tolist(), exact, strict=True):
            error = testing.ulp_distance(actual, true, np.dtype(np.float64))
            assert error <= function.spec.ulp[1], (actual, float(true), error)
    if len(distinct) == 1 and not logarithm:
        assert testing.ulp_distance(y[0], mpmath.mpf(1) / len(row), np.dtype(np.float64)) <= 4


@each_sum
@pytest.mark.parametrize("length", [63, 100, 257, 1024, 300_000, pytest.param(3_000_000, marks=pytest.mark.slow)])
def test_the_bound_holds_in_rows_of_any_length(function, length):
    for row in long_rows(length):
        assert_long_row_is_right(function, function, row)


@pytest.mark.parametrize("name", [name for name in ROWWISE if name not in SELECT])
def test_the_bound_holds_where_another_library_would_sum(name):
    from rectifier.backends.array_api.formula import row_value
    from rectifier.backends.array_api.library import Library
    from rectifier.formulas.rows import sum_by_halves

    class Careless(Library):
        """NumPy, with a sum of one number after the other, as XLA's is."""

        def __init__(self):
            super().__init__(np, np.ndarray)

        def astype(self, array, dtype):
            return array.astype(dtype)

        def number(self, value, dtype, like):
            return np.array(value, dtype)

    careless = Careless()
    careless.xp = type("xp", (), {**{word: staticmethod(getattr(np, word)) for word in (
        "where", "abs", "copysign", "sqrt", "exp", "expm1", "log1p", "max")},
        "sum": staticmethod(lambda x, axis, keepdims: np.cumsum(x, axis=axis)[..., -1:])})  # fmt: skip
    function = ROWWISE[name]
    for length in (1000, 300_001):
        e = np.exp(np.linspace(0, -30, length))
        assert abs(sum_by_halves(careless.xp, e, 0)[0] - math.fsum(e)) < np.spacing(math.fsum(e))
        e[length // 3] = math.inf
        with np.errstate(invalid="ignore"):
            assert sum_by_halves(careless.xp, e, 0)[0] == math.inf
    for length in (9, 257, 300_000):
        for row in long_rows(length)[:4]:
            assert_long_row_is_right(function, lambda x: row_value(careless, function.spec, "float64", 0, x), row)


def of_gradient(function, dy, y):
    """Compute the gradient exactly, and the unit of its bound."""
    logarithm = function.__name__ == "log_softmax"
    terms = [Fraction(a) if logarithm else Fraction(a) * Fraction(b) for a, b in zip(dy, y, strict=True)]
    whole = sum(terms)
    with mpmath.workdps(60):
        total = mpmath.mpf(whole.numerator) / whole.denominator
        numbers = [(mpmath.mpf(a), mpmath.mpf(b)) for a, b in zip(dy[:50], y[:50], strict=True)]
        exact = [a - mpmath.exp(b) * total if logarithm else b * (a - total) for a, b in numbers]
        exact = [-x for x in exact] if function.spec.negated else exact
        unit = np.spacing(max(float(sum(map(abs, terms))), *(abs(float(x)) for x in exact)))
        return exact, unit


@each_sum
@pytest.mark.parametrize("length", [31, 255, 1000, 20_000])
def test_the_bound_of_gradients_holds_in_rows_of_any_length(function, length):
    rng = np.random.default_rng(length)
    stands_out = np.full(length, -40.0)
    stands_out[0] = 0.0  # its gradient is off by as much as the sum is
    for dy in (rng.standard_normal(length), np.full(length, 0.1), np.full(length, 2.9), np.arange(length) ** 3.0 / 7):
        for y in (
            function(rng.standard_normal(length)),
            stands_out if function.__name__ == "log_softmax" else np.full(length, 0.3),
        ):
            exact, unit = of_gradient(function, dy.tolist(), y.tolist())
            with mpmath.workdps(60):
                for actual, true in zip(function.backward(dy, y=y).tolist(), exact, strict=False):
                    assert abs(actual - true) <= function.spec.ulp[1] * unit, (actual, float(true), unit)


@each_sum
def test_infinite_sums_of_gradients_are_what_they_were(function):
    dy, y = np.zeros(700), np.full(700, 0.5)
    dy[3], dy[600] = math.inf, 1.0
    dx = function.backward(dy, y=y)
    assert dx[0] == dx[600] == function.spec.nothing
    assert np.isnan(dx[3])


@pytest.mark.parametrize("length", [8, 33, 62, 63, 64])
def test_the_bound_holds_in_short_rows_that_one_element_rules(length):
    """The sum of the others is lost in a sum that begins with 1: its rounding is that of 1."""
    rng = np.random.default_rng(length)
    x, rest = rng.normal(size=(6000, length)) * rng.choice([1, 3, 8], size=(6000, 1)), rng.uniform(0.4, 0.9, 6000)
    x[:, 5] = -np.inf
    x[:, 5] = np.log(np.exp(x).sum(axis=1) / rest)
    x = x[x.argmax(axis=1) == 5]
    e = np.exp(x.astype(np.longdouble) - x[:, 5:6])  # of 64 bits, which tell a thousandth of a unit
    e[:, 5] = 0
    rest = e.sum(axis=1, keepdims=True)
    pairs = [(log_softmax(x)[:, 5], -np.log1p(rest[:, 0]))]
    e[:, 5] = 1
    pairs.append((softmax(x), e / (1 + rest)))
    for y, exact in pairs:
        assert np.max(np.abs(y - exact) / np.spacing(np.abs(exact).astype(float))) <= 4


@pytest.mark.parametrize("dtype_name", FLOATS)
@pytest.mark.parametrize("length", [3, 64, 100, 2500])
def test_softmin_is_softmax_of_the_negated(dtype_name, length):
    x, dy = (np.random.default_rng(0).standard_normal((2, 5, length)) * 3).astype(testing.dtype_of(dtype_name))
    for package in BACKENDS.values():
        y, dx = package.softmax(-x), package.softmax.backward(dy, -x)
        assert_same(package.softmin(x), y)
        np.testing.assert_array_equal(package.softmin.backward(dy, y=y), -dx)  # but for the sign of a zero


def projected(row):
    """Compute sparsemax exactly: subtract the threshold over which a sum of 1 lies."""
    numbers, whole, threshold = [Fraction(x) for x in row], Fraction(0), Fraction(0)
    for count, x in enumerate(sorted(numbers, reverse=True), 1):
        whole += x
        if 1 + count * x > whole:
            threshold = (whole - 1) / count
    return [max(x - threshold, Fraction(0)) for x in numbers]


def rows_to_project(dtype):
    rng = np.random.default_rng(0)
    for length in (1, 2, 3, 8, 9, 33, 64, 65, 700):
        for scale in (1e-4, 0.01, 0.3, 1.0, 30.0):
            row = rng.standard_normal(length) * scale
            yield row.astype(dtype)
            yield (np.cumsum(np.abs(row)) / length).astype(dtype)  # ever more steps to the threshold
        yield (1e6 + np.round(rng.standard_normal(length), 1)).astype(dtype)
    yield np.array([0.0, -1.0, -(2.0**-60), 2.0**-70]).astype(dtype)  # differences that float64 does not hold
    yield np.array([0.0, -1.0 + 2.0**-20, -1.0, -1.0 - 2.0**-20]).astype(dtype)


@pytest.mark.parametrize("sparsemax", [package.sparsemax for package in BACKENDS.values()], ids=BACKENDS)
@pytest.mark.parametrize("dtype_name", ["float32", "float64"])
def test_sparsemax_is_the_projection_and_has_its_support(sparsemax, dtype_name):
    dtype, count = np.dtype(dtype_name), 0
    bound = sparsemax.spec.ulp[dtype_name == "float64"]
    for row in rows_to_project(dtype):
        y = sparsemax(row)
        for actual, true in zip(y.tolist(), projected(row.tolist()), strict=True):
            with mpmath.workdps(60):
                exact = mpmath.mpf(true.numerator) / true.denominator
                near = abs(actual - exact) < 2.0**-100
                assert near or testing.ulp_distance(actual, exact, dtype) <= bound, (row, actual, float(exact))
            assert near or (actual > 0) == (true > 0)
            count += true > 0
        assert abs(math.fsum(y.tolist()) - 1) < np.finfo(dtype).eps * len(row)
    assert count > 1000


@pytest.mark.parametrize("sparsemax", [package.sparsemax for package in BACKENDS.values()], ids=BACKENDS)
def test_gradients_of_sparsemax_are_those_of_its_support_less_their_mean(sparsemax):
    rng = np.random.default_rng(0)
    for length in (3, 64, 65, 1000):
        y, dy = sparsemax(rng.standard_normal(length)), rng.standard_normal(length)
        dx, on = sparsemax.backward(dy, y=y), y > 0
        mean = sum(map(Fraction, dy[on].tolist())) / int(on.sum())
        unit = np.spacing(max(np.abs(dy[on]).sum(), 1))
        assert not dx[~on].any()
        for actual, given in zip(dx[on].tolist(), dy[on].tolist(), strict=True):
            assert abs(Fraction(actual) - (Fraction(given) - mean)) <= 2 * unit
    dy[~on] = math.inf
    assert not sparsemax.backward(dy, y=y)[~on].any()  # selected


@pytest.mark.parametrize("dtype_name", FLOATS)
@pytest.mark.parametrize("length", [1, 5, 64, 70, 3000])
def test_hardmax_takes_the_first_of_equals(dtype_name, length):
    dtype = testing.dtype_of(dtype_name)
    x = np.random.default_rng(length).integers(-4, 4, (12, length)).astype(dtype)
    x[0] = 0
    x[0, ::2] = -0.0
    x[1] = -math.inf
    x[2, -1:] = math.inf
    places = x.astype("f8").argmax(axis=-1)  # the first, by its documentation
    expected = (np.arange(length) == places[:, None]).astype(dtype)
    for package in BACKENDS.values():
        assert_same(package.hardmax(x), expected)
        own = x.copy()
        assert_same(package.hardmax(own, own), expected)
        assert not package.hardmax.backward(x, x).any()
        known = np.full((1, length), 3).astype(dtype)
        known[0, length // 2] = math.nan
        assert np.isnan(package.hardmax(known)).all()
        assert np.isnan(package.hardmax.backward(x[:1], known)).all()
