"""What dtype comes out, and which dtypes do not come in."""

from __future__ import annotations

import itertools
import warnings

import ml_dtypes
import numpy as np
import pytest

from conftest import BACKENDS, FLOATS, INTEGERS, assert_same, numbers, run_python
from rectifier import elementwise, leaky_relu, relu, sigmoid
from rectifier.formulas import T, where
from rectifier.functions import dtypes
from rectifier.testing import dtype_of

REFUSED = {
    "bool": np.array([True]),
    "complex64": np.ones(1, np.complex64),
    "complex128": np.ones(1, np.complex128),
    "longdouble": np.ones(1, np.longdouble),
    "datetime64": np.array(["2020-01-01"], "M8[D]"),
    "timedelta64": np.ones(1, "m8[s]"),
    "object": np.array([1.0], object),
    "str": np.array(["1"]),
    "bytes": np.array([b"1"]),
    "StringDType": np.array(["1"], np.dtypes.StringDType()),
    "structured": np.zeros(1, [("a", "f4")]),
    "float8": np.ones(1, np.float32).astype(ml_dtypes.float8_e8m0fnu),
    "int4": np.ones(1, ml_dtypes.int4),
}


def test_the_table_holds_the_contract():
    assert set(dtypes.FLOATS) == set(FLOATS)
    assert set(dtypes.INTEGERS) == set(INTEGERS)
    for name, working in dtypes.WORKING.items():
        expected = "float32" if name in ("float16", "bfloat16") else name
        assert np.dtype(working).name == expected


def test_the_table_gives_the_loop_that_a_ufunc_finds():
    kinds = [dtype_of(name) for name in dtypes.WORKING]
    relu(np.ones(1, kinds[-1]))  # which registers bfloat16
    sigmoid(np.ones(1, kinds[-1]))
    for function in (relu, sigmoid):
        for pair in itertools.product(kinds, repeat=2):
            found = function.backward.ufunc.resolve_dtypes((*pair, None))[0]
            assert dtypes.promoted(pair, function.spec.selects) == found


def test_floats_are_kept_in_all_directions(activation, dtype):
    x = numbers(100, dtype)
    y, mask = activation.with_mask(x)
    results = [
        activation(x), activation.derivative(x), activation.backward(x, x), activation.backward(x, y=y),
        activation.backward(x, mask=mask), *activation.value_and_derivative(x), y,
        activation.ufunc(x, *[np.array(default, dtype) for default in activation.spec.parameters.values()]),
    ]  # fmt: skip
    assert [result.dtype for result in results] == [dtype] * len(results)


def test_ufunc_itself_knows_bfloat16():
    x = np.array([-1.0, 2.0], ml_dtypes.bfloat16)
    for package in BACKENDS.values():
        assert_same(package.relu.ufunc(x), np.array([0.0, 2.0], ml_dtypes.bfloat16))


@pytest.mark.parametrize("name", INTEGERS)
def test_integers_are_kept_by_relu(name):
    x = np.concatenate([numbers(300, np.dtype(name)), np.array([0, 1, 2], name)])
    dy = x[::-1].copy()
    on = x > 0
    for package in BACKENDS.values():
        relu = package.relu
        y, mask = relu.with_mask(x)
        for value in (relu(x), relu.value_and_derivative(x)[0], y, relu(x.astype(x.dtype.newbyteorder()))):
            assert_same(value, np.where(on, x, np.zeros_like(x)))
        for derivative in (relu.derivative(x), relu.value_and_derivative(x)[1]):
            assert_same(derivative, on.astype(x.dtype))
        for dx in (relu.backward(dy, x), relu.backward(dy, mask=mask), relu.backward(dy, y=y)):
            assert_same(dx, np.where(on, dy, np.zeros_like(dy)))


@pytest.mark.parametrize("name", INTEGERS)
def test_integers_become_floats_as_in_exp_where_a_function_multiplies(name):
    x = np.array([0, 1, 2, 3], name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = np.exp(x).dtype
    for package in BACKENDS.values():
        leaky_relu = package.leaky_relu
        y, mask = leaky_relu.with_mask(x)
        for result in (
            leaky_relu(x),
            leaky_relu.derivative(x),
            leaky_relu.backward(x, x),
            y,
            leaky_relu.backward(x, mask=mask),
        ):
            assert result.dtype == expected
        assert_same(leaky_relu(x), leaky_relu(x.astype(expected)))
        assert_same(leaky_relu(x, negative_slope=1), x.astype(expected))


@pytest.mark.parametrize("a", [*FLOATS, *INTEGERS])
@pytest.mark.parametrize("b", [*FLOATS, *INTEGERS])
def test_dy_and_x_are_promoted_by_numpy_before_the_loop(a, b):
    a, b = dtype_of(a), dtype_of(b)
    dy, x = np.array([3, 4, 5]).astype(a), np.array([0, 1, 2]).astype(b)
    expected = np.array([0, 4, 5]).astype(np.add(dy, x).dtype)
    for package in BACKENDS.values():
        assert_same(package.relu.backward(dy, x), expected)


def test_python_numbers_adapt_to_the_array(dtype):
    x = numbers(10, dtype)
    for package in BACKENDS.values():
        for dy in (2, 2.0):
            assert_same(package.relu.backward(dy, x), package.relu.backward(np.full_like(x, 2), x))
        assert package.leaky_relu(x, negative_slope=1).dtype == dtype
        assert package.leaky_relu(x, negative_slope=0.5).dtype == dtype


@pytest.mark.parametrize(
    "slope", [np.float64(0.1), np.float32(0.1), np.float16(0.1), np.array(0.1), np.array([0.1]), 1, np.int8(1)]
)
def test_parameters_are_rounded_to_the_dtype_of_x(dtype, slope):
    x = numbers(100, dtype)
    rounded = np.asarray(slope).reshape(-1)[:1].astype(dtype)
    for package in BACKENDS.values():
        expected = package.leaky_relu(x, negative_slope=rounded)
        assert_same(package.leaky_relu(x, negative_slope=slope), expected)
        y, mask = package.leaky_relu.with_mask(x, negative_slope=slope)
        assert_same(y, expected)
        dx = package.leaky_relu.backward(x, x, negative_slope=slope)
        assert_same(package.leaky_relu.backward(x, mask=mask, negative_slope=slope), np.where(np.isnan(x), x, dx))


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_dtypes_say_what_to_do(activation, kind):
    x = REFUSED[kind]
    good = np.ones(1, "f4")
    name = activation.spec.name
    mask = activation.with_mask(good)[1]
    with pytest.raises(TypeError, match=rf"{name}: x has dtype .*: (use|apply|take|divide|parse|pass)"):
        activation(x)
    with pytest.raises(TypeError, match=rf"{name}.derivative: x has dtype"):
        activation.derivative(x)
    with pytest.raises(TypeError, match=rf"{name}.backward: dy has dtype"):
        activation.backward(x, good)
    with pytest.raises(TypeError, match=rf"{name}.backward: x has dtype"):
        activation.backward(good, x)
    with pytest.raises(TypeError, match=rf"{name}.backward: y has dtype"):
        activation.backward(good, y=x)
    with pytest.raises(TypeError, match=rf"{name}.backward: dy has dtype"):
        activation.backward(x, mask=mask)
    with pytest.raises(TypeError, match=rf"{name}.with_mask: x has dtype"):
        activation.with_mask(x)
    with pytest.raises(TypeError, match=rf"{name}.value_and_derivative: x has dtype"):
        activation.value_and_derivative(x)
    with pytest.raises(TypeError, match=r"x has dtype"):
        activation.vjp(x)
    for parameter in activation.spec.parameters:
        with pytest.raises(TypeError, match=rf"{name}: {parameter} has dtype"):
            activation(good, **{parameter: x})


@pytest.mark.parametrize(
    "x", [np.array([True, False]), np.zeros(0, bool), np.array(True), np.bool_(True), True, [True]]
)
def test_ufuncs_refuse_bool_too(x):
    other = np.ones(np.shape(x), "f4")
    for package in BACKENDS.values():
        calls = [
            (package.relu.ufunc, x), (package.sigmoid.ufunc, x), (package.relu.value_and_derivative.ufunc, x),
            (package.relu.backward.ufunc, x, x), (package.relu.backward.ufunc, other, x),
            (package.relu.backward.ufunc, x, 2.0), (package.leaky_relu.ufunc, x, 0.5), (package.prelu.ufunc, other, x),
            (package.hard_tanh.ufunc, x, -1, 1), (package.hard_tanh.ufunc, other, x, 1.0),
            (package.leaky_relu.ufunc, x, other.astype(ml_dtypes.bfloat16)),
        ]  # fmt: skip
        for ufunc, *operands in calls:
            for _ in range(2):  # NumPy remembers which loop it found
                with pytest.raises(TypeError, match=rf"implementation for {ufunc.__name__} with the given dtype"):
                    ufunc(*operands)
        with pytest.raises(TypeError):
            package.relu.backward.ufunc.reduce(np.array([True, False]))
        # Where NumPy asks for no cast to be allowed: at once, and nothing was written.
        numbers, flags = np.array([-1.0, 2.0]), np.array([True, False])
        for ufunc in (package.leaky_relu.ufunc, package.relu.backward.ufunc):
            with pytest.raises(SystemError):
                ufunc.at(numbers, [0], True)
            with pytest.raises(SystemError):
                ufunc.at(flags, [0], 0.5)
        with pytest.raises(SystemError):
            package.relu.ufunc(flags, casting="unsafe")
        with pytest.raises(SystemError):
            package.relu.ufunc(flags, out=numbers, casting="unsafe")
        assert numbers.tolist() == [-1, 2]
        assert flags.tolist() == [True, False]
        assert_same(package.relu.ufunc(np.array([True, False]), dtype="f4"), np.array([1, 0], "f4"))
        assert_same(package.relu.ufunc(np.array([-1, 2])), np.array([0, 2]))


@pytest.mark.parametrize("kind", ["bool", "complex128", "object"])
def test_refused_scalars_and_empty_arrays(activation, kind):
    for x in (REFUSED[kind][0], REFUSED[kind][:0], REFUSED[kind].tolist()):
        if kind == "object" and not isinstance(x, np.ndarray):
            continue
        with pytest.raises(TypeError, match="x has dtype"):
            activation(x)


def test_promoted_and_swapped_results_are_native(activation):
    x = np.arange(4).astype(">i4")
    assert activation(x).dtype.isnative
    assert activation.derivative(x).dtype.isnative
    assert activation.with_mask(x)[0].dtype.isnative


BFLOAT16_COMES_LATER = """
import pickle, numpy as np, rectifier
from rectifier import relu, leaky_relu
before, ufunc = relu(np.ones(3, "f4")), relu.ufunc
import ml_dtypes
x = np.array([-1, 2], ml_dtypes.bfloat16)
for activation in (relu, leaky_relu):
    y, mask = activation.with_mask(x)
    results = [activation(x), activation(x), activation.derivative(x), activation.backward(x, x),
               *activation.value_and_derivative(x), y, activation.backward(x, mask=mask), activation(x)]
    print({result.dtype.name for result in results})
print(relu.ufunc(x).dtype, relu.ufunc is ufunc, pickle.loads(pickle.dumps(ufunc)) is ufunc)
"""


@pytest.mark.parametrize("engine", ["llvm", "numpy"])
def test_a_bare_ufunc_keeps_bfloat16_that_comes_after_its_first_use(engine):
    code = """
import numpy as np
from rectifier import gelu, glu, leaky_relu, relu
ufuncs = relu.ufunc, gelu.ufunc, relu.backward.ufunc, leaky_relu.ufunc, glu.ufunc
for ufunc in ufuncs:
    assert ufunc(*[np.ones(2, "f4")] * ufunc.nin).dtype == "f4"
import ml_dtypes
x = np.array([-1, 2], ml_dtypes.bfloat16)
print({str(ufunc(*[x] * ufunc.nin).dtype) for ufunc in ufuncs})
print(relu.ufunc(x).tolist(), relu(x).dtype, gelu(x).dtype, relu.value_and_derivative.ufunc(x)[1].dtype)
"""
    run = run_python(code, RECTIFIER_ENGINE=engine)
    assert run.stdout.splitlines() == ["{'bfloat16'}", "[0.0, 2.0] bfloat16 bfloat16 bfloat16"], run.stderr


def test_bfloat16_is_kept_when_ml_dtypes_comes_after_the_first_call():
    run = run_python(BFLOAT16_COMES_LATER)
    assert run.stdout.splitlines() == ["{'bfloat16'}", "{'bfloat16'}", "bfloat16 True True"], run.stderr


@pytest.mark.parametrize("value", [2**70, -(2**70), None, "a", 1j, True, {}, [None]])
def test_what_is_no_number_is_refused_with_a_word_of_advice(activation, value):
    with pytest.raises(TypeError, match=r"x has dtype .*[:;] (use|apply|parse|pass)"):
        activation(value)
    for name in activation.spec.parameters:
        for call in (
            activation, activation.derivative, activation.with_mask, activation.value_and_derivative, activation.vjp,
            lambda x, **slopes: activation.backward(x, x, **slopes),
            lambda x, **slopes: activation.backward(x, y=x, **slopes),
        ):  # fmt: skip
            with pytest.raises(TypeError, match=rf"{name} has dtype .*[:;] (use|apply|parse|pass)"):
                call(np.ones(3), **{name: value})


def test_no_parameter_or_gradient_makes_a_call_warn(dtype):
    x = numbers(100, dtype)
    for package in BACKENDS.values():
        for slope in (1e300, -1e300, 1e-300, np.inf, np.nan, -0.0, np.float64(1e300), np.full(100, 1e300)):
            with np.errstate(all="raise"):
                for _ in range(2):
                    package.leaky_relu(x, negative_slope=slope)
                    _, mask = package.leaky_relu.with_mask(x, negative_slope=slope)
                    package.leaky_relu.backward(x, mask=mask, negative_slope=slope)
                    package.leaky_relu.backward(1e300, x, negative_slope=slope)


def test_a_slope_of_minus_0_is_a_slope_of_0_whatever_came_before():
    x = np.array([-1.0, -np.inf])
    for slope in (-0.0, 0.0, 0, np.float64(-0.0), -0.0):
        assert_same(leaky_relu(x, negative_slope=slope), np.zeros(2))
        assert_same(leaky_relu.derivative(x, negative_slope=slope), np.zeros(2))


@pytest.mark.parametrize("dtype_name", ["float16", "bfloat16", "float32"])
def test_a_slope_is_rounded_once(dtype_name):
    """Next to the middle between two numbers: rounded to float32 on the way, it would be the middle, and go to even."""
    dtype = dtype_of(dtype_name)
    even = np.array([0.5, 1.0, 3.0, 1e-5], dtype)
    above = (even.view(f"u{dtype.itemsize}") + 1).view(dtype)
    middle = (even.astype(np.float64) + above.astype(np.float64)) / 2
    slopes = [np.nextafter(middle, np.inf), np.nextafter(middle, -np.inf), middle]
    expected = [above, even, np.where(even.view(f"u{dtype.itemsize}") % 2 == 0, even, above)]
    for values, rounded in zip(slopes, expected, strict=True):
        for value, number in zip(values.tolist(), rounded, strict=True):
            assert leaky_relu(-np.ones(3, dtype), negative_slope=value)[0] == -number
            assert leaky_relu.derivative(-np.ones(3, dtype), negative_slope=value)[0] == number


@elementwise(exact=lambda m, x: m.where(x > 0, x, 0), special=(), kinks=((0.0, 0.0),), ulp=0)
def tenth(x):
    """Select as relu does."""
    return where(x <= T(0), T(0), x)


@tenth.derivative
def tenth_derivative(x):
    return where(x <= T(0), T(0), where(x == x, T(0.1), x))


def test_a_constant_that_is_selected_is_rounded_where_bfloat16_does_not_hold_it():
    x = np.arange(-40, 40).astype(ml_dtypes.bfloat16)
    dy = np.full(80, 3, ml_dtypes.bfloat16)
    rounded = np.where(x > 0, ml_dtypes.bfloat16(0.1), 0).astype(ml_dtypes.bfloat16)
    assert_same(tenth.derivative(x), rounded)
    product = (np.float32(0.1) * np.float32(3)).astype(ml_dtypes.bfloat16)
    assert_same(tenth.backward(dy, x), np.where(x > 0, product, 0).astype(ml_dtypes.bfloat16))
