"""A definition that is wrong is refused where it is written, not by a later call."""

import ml_dtypes
import numpy as np
import pytest

from rectifier import elementwise, gated, rowwise
from rectifier.engine import interpreter
from rectifier.formulas import T, exp, exp_parts, normal_tail, sqrt, where
from rectifier.formulas.text import FormulaError

LIKE_X = {"exact": lambda m, x, *parameters: x, "special": (), "ulp": 0}


def scaled(x, a=1.0, b=2.0):
    return x * a + b


def product(x, gate, a=1.0):
    return x * gate * a


def shares(x, peak, e, rest):
    return e / (T(1) + rest)


def keyword_only(x, *, a=1.0):
    return x


def any_number(x, *numbers):
    return x


def any_keyword(x, **numbers):
    return x


def nothing():
    return T(1)


def condition(x):
    return x > T(0)


def two(x):
    return x, x


def yields(x):
    yield x


async def waits(x):
    return x


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        (np.sin, "elementwise takes a formula, which is a function"),
        (5, "elementwise takes a formula"),
        (keyword_only, "keyword_only: the arguments of a formula are positional"),
        (any_keyword, "any_keyword: the arguments of a formula are positional"),
        (any_number, r"any_number: .* takes no \*arguments"),
        (nothing, "nothing: the first argument of a formula is called x, and it has none"),
        (condition, "condition: the formula returns a condition; it has to return a number"),
        (two, "two: the formula returns a number, a number; it has to return a number"),
        (yields, "yields: .*no yield"),
        (waits, "waits: .*not async"),
    ],
    ids=lambda case: getattr(case, "__name__", str(case)),
)
def test_what_is_no_formula_of_one_array_is_refused(formula, text):
    with pytest.raises(FormulaError, match=text):
        elementwise(**LIKE_X)(formula)


def calls_itself(x):
    return calls_itself(x)


def hides_a_branch(x):
    try:
        return x if x > T(0) else T(0)
    except:  # noqa: E722
        return x


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        (lambda x: x ** T(2), r"no operator \*\*"),
        (lambda x: T(2) ** x, r"no operator \*\*"),
        (lambda x: x // T(2), "no operator //"),
        (lambda x: x % T(2), "no operator %"),
        (lambda x: +x, r"no operator \+x"),
        (lambda x: x << 2, "no operator <<"),
        (lambda x: 2 >> x, "no operator >>"),
        (lambda x: where(~(x > T(0)), x, T(0)), "no operator ~"),
        (lambda x: where((x > T(0)) ^ (x < T(1)), x, T(0)), r"no operator \^"),
        (lambda x: x[0], r"no operator \[\]"),
        (lambda x: x.real, "a number has no attribute 'real'"),
        (lambda x: where(x > T(0), x), "where takes a condition and 2 operands"),
        (lambda x: x * T(10**400), "T of an integer of 401 digits"),
        (lambda x: [x], "a list stands where a formula needs a number"),
        (calls_itself, "a formula does not call itself"),
        (hides_a_branch, "a formula has no `try`"),
    ],
)
def test_what_a_formula_has_no_word_for_is_refused_with_its_place(formula, text):
    with pytest.raises(FormulaError, match=rf"test_definitions\.py, line \d+: .*{text}"):
        elementwise(**LIKE_X)(formula)


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        (lambda x: where(x >= T(300), T(300), x), "holds 0 to 127, not 300"),
        (lambda x: where(x <= T(-1), T(0), x), "holds 0 to 127, not -1"),
        (lambda x: where(x >= T(1.5), T(1), x), "holds 0 to 127, not 1.5"),
        (lambda x: where(x >= T(1e400), T(1), x), "holds 0 to 127, not inf"),
        (lambda x: x / T(2), "integers have no div"),
        (lambda x: x * T(2), "integers have no mul"),
        (lambda x: sqrt(x), "integers have no sqrt"),
        (lambda x: abs(x), "integers have no abs"),
        (lambda x: exp(x), "integers have no exp"),
    ],
)
def test_what_integers_have_not_is_refused_of_a_selection(formula, text):
    with pytest.raises(FormulaError, match=text):
        elementwise(selects=True, **LIKE_X)(formula)
    right = elementwise(selects=True, **LIKE_X)(lambda x: where(x <= T(0), T(0), x))
    with pytest.raises(FormulaError, match=rf"derivative: .*{text}"):
        right.derivative(formula)
    mask = LIKE_X | {"mask": lambda x: (x <= T(300), T(0), T(1))}
    with pytest.raises(FormulaError, match=r"mask: .*holds 0 to 127, not 300"):
        elementwise(selects=True, **mask)(lambda x: where(x <= T(0), T(0), x))


def test_a_definition_does_not_warn_of_its_example():
    root = elementwise(**LIKE_X)(lambda x: sqrt(x))
    root.derivative(lambda x: T(0.5) / sqrt(x))
    assert root(np.float32([4, -1])).tolist()[0] == 2


def test_a_literal_beyond_a_dtype_is_infinity_there():
    far = elementwise(**LIKE_X)(lambda x: where(x > T(1e290), T(1), x * T(1e290)))
    far.derivative(lambda x: T(0))
    assert far(np.float32([3, -1, 0.5])).tolist() == [np.inf, -np.inf, np.inf]
    assert far(np.float64([1e291, 2])).tolist() == [1, 2e290]


def test_the_parts_of_a_primitive_are_results_by_themselves(dtype):
    def scale(x):
        _y, _rest, scale = exp_parts(-abs(x), T(0))
        return scale

    def significand(x):
        y, _rest, _scale = exp_parts(-abs(x), T(0))
        return y

    def addend(x):
        _y, rest, _scale = exp_parts(-abs(x), T(0))
        return rest

    def tail(x):
        _e, tail = normal_tail(abs(x))
        return tail

    x = np.linspace(-4, 4, 77).astype(dtype)
    formulas = significand, addend, scale, tail
    y, r, s, t = (elementwise(wide=True, **LIKE_X)(formula) for formula in formulas)
    for function, formula in zip((y, r, s, t), formulas, strict=True):
        function.derivative(formula)
    eps = ml_dtypes.finfo(dtype).eps.astype(float)
    result = (y(x).astype(float) + r(x).astype(float)) * s(x).astype(float)
    np.testing.assert_allclose(result, np.exp(-np.abs(x).astype(float)), rtol=4 * eps)
    assert float(np.max(np.abs(t(x)))) < 1e-15


def test_sums_of_small_integers_that_are_compared_do_not_wrap():
    doubled = elementwise(selects=True, **LIKE_X)(lambda x: where(x + x > T(100), T(1), x))
    doubled.derivative(lambda x: where(x + x > T(100), T(0), T(1)))
    x = np.array([100, 127, -128, 3], "int8")
    assert doubled(x).tolist() == [1, 1, -128, 3]
    assert interpreted(doubled, x).tolist() == [1, 1, -128, 3]


def interpreted(function, x):
    """Compute as where nothing can be compiled."""
    y = np.empty_like(x)
    interpreter._compute(function.spec, function.spec.operations["value"], x.dtype, [x], [y])
    return y


@pytest.mark.parametrize(
    ("derivative", "text"),
    [
        (lambda x: T(1), r"the formula is called with \(x, a, b\), and takes \(x\)"),
        (lambda x, a, b, c=1.0: a, r"takes \(x, a, b, c\)"),
        (lambda x, b, a: a, "and b is elsewhere"),
        (lambda x, a, b: (a, b), "returns a number, a number"),
        (lambda x, a, b: x > a, "returns a condition"),
    ],
    ids=["fewer", "more", "swapped", "two results", "a condition"],
)
def test_a_derivative_takes_what_its_function_takes(derivative, text):
    with pytest.raises(FormulaError, match=rf"^scaled\.derivative: .*{text}"):
        elementwise(**LIKE_X)(scaled).derivative(derivative)


def test_the_names_of_a_derivative_are_its_own():
    function = elementwise(**LIKE_X)(scaled)
    function.derivative(lambda x, slope, offset: slope)
    assert function.derivative(np.ones(2), a=3.0).tolist() == [3, 3]
    function = elementwise(**LIKE_X)(scaled)
    function.derivative(lambda x, *parameters: T(2))
    assert function.derivative(np.ones(2)).tolist() == [2, 2]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"mask": lambda x, a, b: x}, "scaled, mask: the formula returns a number; it has to return a condition, "),
        ({"mask": lambda x: (x <= T(0), T(0), T(1))}, r"scaled, mask: .*takes \(x\)"),
        ({"y_determines": lambda a: a > T(0)}, r"scaled, y_determines: .*called with \(a, b\)"),
        ({"y_determines": lambda a, b: a}, "scaled, y_determines: the formula returns a number"),
        ({"backward_from": ("x", "z")}, r"backward_from takes a tuple of x, y, mask; it got \('x', 'z'\)"),
        ({"backward_from": "x"}, "backward_from takes a tuple"),
        ({"unrounded": ("c",)}, r"unrounded takes a tuple of a, b; it got \('c',\)"),
        ({"special": (1, 2)}, "special takes pairs of numbers"),
        ({"kinks": ((0.0, 1.0, 2.0),)}, "kinks takes pairs of numbers"),
        ({"ulp": (1, 2)}, "ulp takes a number or 4 of them"),
        ({"ulp": "1"}, "ulp takes a number or 4 of them"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_a_field_of_a_block_is_checked(fields, text):
    with pytest.raises(FormulaError, match=text):
        elementwise(**LIKE_X | fields)(scaled)


def test_a_gated_formula_takes_two_arrays():
    decorate = gated(exact=lambda m, x, gate, a: x, ulp=0)
    for formula in (condition, nothing, lambda x, a=1.0: x):
        with pytest.raises(FormulaError, match="takes two arrays, x and its gate"):
            decorate(formula)
    with pytest.raises(FormulaError, match=r"product\.gradient: .*returns a number; it has to return a number, a num"):
        decorate(product).gradient(lambda x, gate, a: gate)
    with pytest.raises(FormulaError, match=r"product\.gradient: .*and gate is elsewhere"):
        decorate(product).gradient(lambda gate, x, a: (gate, x))
    with pytest.raises(TypeError, match="product has no gradient yet"):
        decorate(product).gradient(np.ones(2))


def test_a_formula_of_rows_takes_four_numbers():
    decorate = rowwise(exact=lambda m, x: x, ulp=(1, 1))
    with pytest.raises(FormulaError, match=r"condition: the formula is called with \(x, peak, e, rest\)"):
        decorate(condition)
    with pytest.raises(FormulaError, match="ulp takes a number or 2 of them"):
        rowwise(exact=lambda m, x: x, ulp=(1, 1, 1))
    function = decorate(shares)
    with pytest.raises(TypeError, match=r"shares has no weight yet: give it one with @shares\.weight"):
        function.backward(lambda dy, y, total: dy)
    with pytest.raises(TypeError, match="shares has no weight yet"):
        function.weight(np.ones(2))
    with pytest.raises(FormulaError, match=r"shares\.weight: the formula is called with \(dy, y\)"):
        function.weight(lambda dy: dy)
    function.weight(lambda dy, y: dy * y)
    with pytest.raises(FormulaError, match=r"shares\.backward: .*dy, y, the sum"):
        function.backward(lambda dy, y: dy)


def test_a_complete_function_stays_as_it_is():
    from rectifier import softmax, swiglu

    x = np.array([1.0, 2.0])
    before = swiglu.backward(x, x, x)
    with pytest.raises(TypeError, match="swiglu is complete, and its gradient stays"):
        swiglu.gradient(lambda x, gate: (gate, x))
    with pytest.raises(TypeError, match="softmax is complete, and its weight stays"):
        softmax.weight(lambda dy, y: dy)
    for result, expected in zip(swiglu.backward(x, x, x), before, strict=True):
        assert result.tolist() == expected.tolist()


def test_the_formulas_of_the_catalogue_are_right():
    from rectifier.catalogue import ALL
    from rectifier.functions.blocks import CONDITION, NUMBER, require_formula
    from rectifier.functions.specification import Elementwise, Gated

    for name in ALL:
        spec = ALL[name].spec
        arrays = ("x", spec.gate) if isinstance(spec, Gated) else ("x",)
        if isinstance(spec, (Elementwise, Gated)):
            both = (NUMBER,) * len(arrays)
            require_formula(name, spec.value, (*arrays, *spec.parameters))
            require_formula(name, spec.derivative, (*arrays, *spec.parameters), both)
            if isinstance(spec, Elementwise):
                require_formula(name, spec.mask, (*arrays, *spec.parameters), (CONDITION, NUMBER, NUMBER))
        elif spec.reduces:
            require_formula(name, spec.value, ("peak", "rest"))
            require_formula(name, spec.weight, ("rest",))
            require_formula(name, spec.backward, ("dy", "e", "weight"))
        else:
            require_formula(name, spec.value, ("x", "peak", "e", "rest")[: 4 if spec.each == "exponential" else 3])
            require_formula(name, spec.weight, ("dy", "y"), (NUMBER,) * spec.sums)
            require_formula(name, spec.backward, ("dy", "y", "total", "other")[: 2 + spec.sums])


def test_a_right_definition_of_each_kind_computes():
    function = gated(exact=lambda m, x, gate, a: x * gate * a, ulp=1)(product)
    function.gradient(lambda x, gate, a: (gate * a, x * a))
    dx, d_gate = function.backward(np.ones(2), np.array([1.0, 2.0]), np.array([3.0, 4.0]), a=2.0)
    assert (dx.tolist(), d_gate.tolist()) == ([6, 8], [2, 4])
    smooth = elementwise(exact=lambda m, x: m.exp(x), special=(), ulp=1)(lambda x: where(x != x, x, exp(x)))
    smooth.derivative(lambda x: exp(x))
    assert smooth.derivative(np.zeros(2)).tolist() == [1, 1]


def test_a_function_of_rows_may_select():
    for each in ("excess", "first"):
        lowest = rowwise(exact=lambda m, x: x, ulp=(1, 2), each=each, negated=True)(lambda x, peak, e: x + e)
        two = each == "excess"
        lowest.weight((lambda dy, y: (dy, y)) if two else (lambda dy, y: y))
        lowest.backward((lambda dy, y, s, t: s * t) if two else (lambda dy, y, s: dy * s))
        x = np.array([[3.0, 1.0, 1.25], [0.0, 5.0, 0.0]])
        e = [[0, 0.625, 0.375], [0.5, 0, 0.5]] if two else [[0, 1, 0], [1, 0, 0]]
        assert lowest(x).tolist() == (e - x).tolist()
        sums = x.sum(axis=1, keepdims=True)
        assert lowest.backward(x, y=x).tolist() == (sums * sums * np.ones(3) if two else x * sums).tolist()
    with pytest.raises(FormulaError, match="rowwise: each is one of 'exponential', 'excess', 'first'; it got 'all'"):
        rowwise(exact=lambda m, x: x, ulp=(1, 2), each="all")(lambda x, peak, e: e)
    with pytest.raises(FormulaError, match=r"called with \(x, peak, e\), and takes \(x, peak, e, rest\)"):
        rowwise(exact=lambda m, x: x, ulp=(1, 2), each="first")(lambda x, peak, e, rest: e)
    of_excess = rowwise(exact=lambda m, x: x, ulp=(1, 2), each="excess")(lambda x, peak, e: e)
    with pytest.raises(FormulaError, match="returns a number; it has to return a number, a number"):
        of_excess.weight(lambda dy, y: dy)


def test_a_constant_derivative_is_compiled(recwarn):
    function = elementwise(exact=lambda m, x: x, special=(), ulp=1)(lambda x: x)
    function.derivative(lambda x: T(1))
    for dtype in ("float16", "float32", "float64"):
        assert function.backward(np.full(9, 3, dtype), np.ones(9, dtype)).tolist() == [3] * 9
        assert function.derivative(np.ones(9, dtype)).tolist() == [1] * 9
    assert not recwarn.list
