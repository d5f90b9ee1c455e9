"""A formula is straight-line code over the words, and anything else is refused where it is written."""

from __future__ import annotations

import ast
import math
import types

import mpmath
import numpy as np
import pytest

from conftest import assert_same, numbers
from rectifier import elementwise, relu, testing
from rectifier.catalogue import CATALOGUE
from rectifier.formulas import T, where
from rectifier.formulas.text import FormulaError, describe


def branch(x):
    return x if x > T(0) else T(0)


def boolean(x):
    return where(x > T(0) and x < T(1), x, T(0))


def chained(x):
    return where(T(0) < x < T(1), x, T(0))


def loop(x):
    total = x
    for part in x:
        total = total + part
    return total


def bare(x):
    return where(x > T(0), x, x * 2)


def bare_comparison(x):
    return where(x > 0, x, T(0))


def bare_result(x):
    return 0.0


def unknown(x):
    return sinh(x)  # noqa: F821


def builtin(x):
    return round(x)


def variable_literal(x):
    return T(x)


REFUSED = {
    branch: "no `if`",
    boolean: "no `if`, `and`",
    chained: "chained comparison",
    loop: "no loops",
    bare: r"bare 2: write T\(2\)",
    bare_comparison: r"bare 0: write T\(0\)",
    bare_result: r"bare 0.0: write T\(0.0\)",
    unknown: "'sinh' is not defined; the primitives of a formula are T, largest, stored",
    builtin: "'round' is not defined",
    variable_literal: "T takes a literal number",
}


@pytest.mark.parametrize("formula", REFUSED, ids=lambda formula: formula.__name__)
def test_what_is_no_formula_is_refused(formula):
    with pytest.raises(
        FormulaError, match=rf"{formula.__name__} in .*test_formulas.py, line \d+: .*{REFUSED[formula]}"
    ):
        elementwise(exact=lambda m, x: x, special=(), ulp=0)(formula)
    good = elementwise(exact=lambda m, x: x, special=(), ulp=0)(identity)
    with pytest.raises(FormulaError, match=REFUSED[formula]):
        good.derivative(formula)


def identity(x):
    """Return x."""
    return where(x == x, x, x)


def test_a_formula_closes_over_nothing():
    secret = 3

    def closed(x):
        return x * T(secret)

    with pytest.raises(FormulaError, match="closes over secret"):
        elementwise(exact=lambda m, x: x, special=(), ulp=0)(closed)


def test_parameters_need_numbers_as_defaults():
    def no_default(x, slope):
        return x * slope

    def first_is_y(y):
        return y

    with pytest.raises(FormulaError, match="no_default: parameters need numbers as defaults: slope"):
        elementwise(exact=lambda m, x: x, special=(), ulp=0)(no_default)
    with pytest.raises(FormulaError, match="is called x, not y"):
        elementwise(exact=lambda m, x: x, special=(), ulp=0)(first_is_y)


def test_a_function_without_derivative_says_so():
    incomplete = elementwise(exact=lambda m, x: x, special=(), ulp=0)(identity)
    with pytest.raises(TypeError, match=r"identity has no derivative yet: give it one with @identity.derivative"):
        incomplete(np.ones(3))
    with pytest.raises(TypeError, match=r"identity has no derivative yet"):
        incomplete.derivative(np.ones(3))


def test_a_formula_is_not_called_as_written():
    from rectifier.catalogue.piecewise import relu_derivative

    with pytest.raises(TypeError, match="call the function that its block defines"):
        relu_derivative(np.ones(3))


def test_text_reads_like_the_formula():
    def all_of_it(x, a=1.0, b=2.0):
        y = (x + a) * b - x / (a - b) - (x - (a - T(-3)))
        return where(y != x, -(x + y), -x * y)

    text = describe(all_of_it)
    assert "T(" not in text
    values = {"x": 0.3, "a": 1.5, "b": -2.5}
    tree = eval(compile(ast.parse(text, mode="eval"), "", "eval"), {"where": lambda c, x, y: x if c else y, **values})
    y = (0.3 + 1.5) * -2.5 - 0.3 / (1.5 + 2.5) - (0.3 - (1.5 + 3))
    assert tree == -(0.3 + y)
    assert describe(relu.spec.value) == "where(x <= 0, 0, x)"


# A function of the tests' own: no mask, no backward from y, one multiplication.
@elementwise(
    exact=lambda m, x: m.where(x > 0, x * x, 0),
    special=((math.nan, math.nan), (math.inf, math.inf), (-math.inf, 0.0), (-0.0, 0.0)),
    ulp=0,
)
def half_square(x):
    """Square the positive part."""
    return where(x <= T(0), T(0), x * x)


@half_square.derivative
def half_square_derivative(x):
    return where(x <= T(0), T(0), x + x)


def test_a_function_of_one_s_own_gets_everything():
    testing.check(half_square, ("float16", "bfloat16", "float32", "float64"))
    x, dy = numbers(1000, np.dtype("f4")), numbers(1000, np.dtype("f4"), 1)
    _, pullback = half_square.vjp(x)
    assert_same(pullback(dy), half_square.backward(dy, x))
    assert half_square.__module__ == __name__
    assert half_square(np.arange(-2, 3)).dtype == np.float64
    assert "Square the positive part" in half_square.__doc__


def test_what_a_block_does_not_allow_is_refused_with_the_reason():
    x = np.ones(3)
    with pytest.raises(TypeError, match="mask does not determine the derivative of half_square; pass x="):
        half_square.with_mask(x)
    with pytest.raises(TypeError, match="y does not determine the derivative of half_square; pass x="):
        half_square.backward(x, y=x)
    with pytest.raises(TypeError, match="mask does not determine the derivative of half_square; pass x="):
        half_square.backward(x, mask=relu.with_mask(x)[1])


def test_vjp_that_keeps_x_does_not_let_it_be_overwritten():
    x = np.ones(3)
    with pytest.raises(ValueError, match="out would overwrite x"):
        half_square.vjp(x, out=x)
    with pytest.raises(ValueError, match="out would overwrite x"):
        half_square.vjp(x, out=(x,))
    assert x.tolist() == [1, 1, 1]


WRONG_BLOCKS = {
    "value": {"value": lambda x: where(x <= T(1), T(0), x)},
    "value at NaN": {"value": lambda x: where(x > T(0), x, T(0))},
    "value at -0.0": {"value": lambda x: where(x < T(0), T(0), x)},
    "derivative": {"derivative": lambda x: where(x <= T(0), T(0), where(x == x, T(2), x))},
    "derivative at the kink": {"derivative": lambda x: where(x < T(0), T(0), where(x == x, T(1), x))},
    "derivative at NaN": {"derivative": lambda x: where(x <= T(0), T(0), T(1))},
    "special": {"special": ((-math.inf, -0.0),)},
}


@pytest.mark.parametrize("wrong", WRONG_BLOCKS)
def test_check_finds_a_wrong_block(wrong):
    fields = {"value": relu.spec.value, "derivative": relu.spec.derivative, "special": relu.spec.special}
    fields |= WRONG_BLOCKS[wrong]
    for part in ("value", "derivative"):  # a function of one's own
        formula = fields[part]
        fields[part] = types.FunctionType(formula.__code__, formula.__globals__, "wrong", formula.__defaults__)
        fields[part].__module__ = __name__
    like_relu = {name: getattr(relu.spec, name) for name in ("exact", "kinks", "ulp", "backward_from", "selects")}
    mine = elementwise(special=fields["special"], **like_relu)(fields["value"])
    mine.derivative(fields["derivative"])
    with pytest.raises(AssertionError, match=r"."):
        testing.check(mine)


@pytest.mark.parametrize("name", CATALOGUE)
def test_check_passes_the_catalogue(name):
    testing.check(CATALOGUE[name])


def test_nearest_rounds_once_to_even():
    assert testing.nearest(mpmath.mpf(1) + mpmath.mpf(2) ** -24, np.dtype("f4")) == 1
    assert testing.nearest(mpmath.mpf(1) + 3 * mpmath.mpf(2) ** -24, np.dtype("f4")) == np.float32(1 + 2**-22)
    for name, tiny in (("f2", -24), ("f4", -149), ("f8", -1074)):
        dtype = np.dtype(name)
        assert testing.nearest(mpmath.mpf(2) ** tiny, dtype) == np.finfo(dtype).smallest_subnormal
        assert testing.nearest(mpmath.mpf(2) ** (tiny - 1), dtype) == 0
        assert np.signbit(testing.nearest(-(mpmath.mpf(2) ** (tiny - 1)), dtype))
        assert testing.nearest(3 * mpmath.mpf(2) ** (tiny - 1), dtype) == np.array(2.0 ** (tiny + 1), dtype)
        largest = mpmath.mpf(float(np.finfo(dtype).max))
        half = largest * np.finfo(dtype).eps / 4
        assert testing.nearest(largest + half * mpmath.mpf("0.99"), dtype) == np.finfo(dtype).max
        assert testing.nearest(-(largest + 2 * half), dtype) == -np.inf


def test_nearest_is_what_numpy_does_to_float64():
    x = np.random.default_rng(0).standard_normal(3000) * 10.0 ** np.random.default_rng(1).integers(-60, 60, 3000)
    for name in ("f2", "f4"):
        with np.errstate(over="ignore", under="ignore"):
            expected = x.astype(name)
        assert_same(np.array([testing.nearest(mpmath.mpf(v), np.dtype(name)) for v in x.tolist()]), expected)


def test_ulp_distance_counts_units_of_the_exact_value():
    f4 = np.dtype("f4")
    assert testing.ulp_distance(np.float32(1), mpmath.mpf(1), f4) == 0
    assert testing.ulp_distance(np.nextafter(np.float32(1), 2, dtype="f4"), mpmath.mpf(1), f4) == 1
    assert testing.ulp_distance(np.float32(0), mpmath.mpf(2) ** -149, f4) == 1
    assert testing.ulp_distance(np.float32(np.nan), mpmath.mpf(1), f4) == math.inf
    assert testing.ulp_distance(np.float32(np.inf), mpmath.mpf(10) ** 39, f4) == 0
    assert testing.ulp_distance(np.float32(np.inf), mpmath.mpf(10) ** 38, f4) == math.inf
    assert testing.ulp_distance(np.float32(1), mpmath.mpf(1) + mpmath.mpf(2) ** -24, f4) == 0.5
