"""What functions are where something ends: of integers, of parameters, of 1/6; and that nothing there warns."""

from __future__ import annotations

import itertools
import math
import warnings
from fractions import Fraction

import ml_dtypes
import mpmath
import numpy as np
import pytest

import rectifier.crysx
from conftest import BACKENDS, FLOATS, INTEGERS, assert_same, others
from rectifier.catalogue import CATALOGUE, GATES
from rectifier.testing import dtype_of, exact, settings_of, special_values

INF, NAN = math.inf, math.nan


# Integers, against Python's ------------------------------------------------------------------------------------------

SELECTING = {
    "relu": (lambda x: max(x, 0), lambda x: x > 0),
    "relu6": (lambda x: min(max(x, 0), 6), lambda x: 0 < x < 6),
    "thresholded_relu": (lambda x, t: x if x > t else 0, lambda x, t: x > t),
    "threshold": (lambda x, t, v: x if x > t else v, lambda x, t, v: x > t),
    "hard_tanh": (lambda x, a, b: a if x <= a else min(x, b), lambda x, a, b: a < x < b),
    "hard_shrink": (lambda x, t: x if abs(x) > t else 0, lambda x, t: abs(x) > t),
}


def test_every_function_that_keeps_integers_is_tested():
    assert set(SELECTING) == {name for name, activation in CATALOGUE.items() if activation.spec.selects}


@pytest.mark.parametrize("dtype_name", INTEGERS)
@pytest.mark.parametrize("name", SELECTING)
def test_integers_are_what_python_computes(name, dtype_name):
    """In each call and both engines, at the edges of the dtype and at random, with parameters there."""
    value, is_on = SELECTING[name]
    info, rng = np.iinfo(dtype_name), np.random.default_rng(21)
    edges = [n for n in (info.min, info.min + 1, -6, -1, 0, 1, 6, info.max - 1, info.max) if info.min <= n <= info.max]
    x = np.array([*edges, *rng.integers(info.min, info.max, 9, dtype_name, endpoint=True)], dtype_name)
    dy = rng.permutation(x)
    for package in BACKENDS.values():
        activation = getattr(package, name)
        for numbers in itertools.product(edges, repeat=len(activation.spec.parameters)):
            parameters = dict(zip(activation.spec.parameters, numbers, strict=True))
            y = np.array([value(n, *numbers) for n in x.tolist()], dtype_name)
            on = np.array([is_on(n, *numbers) for n in x.tolist()])
            assert_same(activation(x, **parameters), y)
            assert_same(activation.derivative(x, **parameters), on.astype(dtype_name))
            assert_same(activation.backward(dy, x, **parameters), np.where(on, dy, 0).astype(dtype_name))
            z, mask = activation.with_mask(x, **parameters)
            assert_same(z, y)
            assert_same(mask.to_array(), on)
        rows = [dict.fromkeys(activation.spec.parameters, rng.permutation(x))] if activation.spec.parameters else []
        for parameters in rows:
            columns = zip(x.tolist(), *(p.tolist() for p in parameters.values()), strict=True)
            assert_same(activation(x, **parameters), np.array([value(*numbers) for numbers in columns], dtype_name))


# Parameters at their ends --------------------------------------------------------------------------------------------

# Function, parameter and its value: what value and derivative are at X. A product of 0 and infinity is NaN, None is
# where nothing is said. -0.0 is as 0.0.
X = (-INF, -2.0, 0.0, 2.0, INF)
STATED = {
    ("thresholded_relu", "threshold", INF): ((0, 0, 0, 0, 0), (0, 0, 0, 0, 0)),
    ("thresholded_relu", "threshold", -INF): ((0, -2, 0, 2, INF), (0, 1, 1, 1, 1)),
    ("thresholded_relu", "threshold", 0.0): ((0, 0, 0, 2, INF), (0, 0, 0, 1, 1)),
    ("threshold", "threshold", INF): ((-0.5,) * 5, (0,) * 5),
    ("threshold", "threshold", -INF): ((-0.5, -2, 0, 2, INF), (0, 1, 1, 1, 1)),
    ("threshold", "threshold", 0.0): ((-0.5, -0.5, -0.5, 2, INF), (0, 0, 0, 1, 1)),
    ("threshold", "value", INF): ((INF, INF, INF, 2, INF), (0, 0, 0, 1, 1)),
    ("threshold", "value", -INF): ((-INF, -INF, -INF, 2, INF), (0, 0, 0, 1, 1)),
    ("threshold", "value", 0.0): ((0, 0, 0, 2, INF), (0, 0, 0, 1, 1)),
    ("hard_tanh", "min_value", INF): ((INF, INF, INF, INF, INF), (0, 0, 0, 0, 0)),
    ("hard_tanh", "min_value", -INF): ((-INF, -2, 0, 1, 1), (0, 1, 1, 0, 0)),
    ("hard_tanh", "min_value", 0.0): ((0, 0, 0, 1, 1), (0, 0, 0, 0, 0)),
    ("hard_tanh", "max_value", INF): ((-1, -1, 0, 2, INF), (0, 0, 1, 1, 0)),
    ("hard_tanh", "max_value", -INF): ((-1, -1, -INF, -INF, -INF), (0, 0, 0, 0, 0)),
    ("hard_tanh", "max_value", 0.0): ((-1, -1, 0, 0, 0), (0, 0, 0, 0, 0)),
    ("hard_sigmoid", "slope", INF): ((0, 0, NAN, 1, 1), (0, 0, NAN, 0, 0)),
    ("hard_sigmoid", "slope", -INF): ((1, 1, NAN, 0, 0), (0, 0, NAN, 0, 0)),
    ("hard_sigmoid", "slope", 0.0): ((0.5, 0.5, 0.5, 0.5, 0.5), (0, 0, 0, 0, 0)),
    ("hard_sigmoid", "offset", INF): ((NAN, 1, 1, 1, 1), (None, 0, 0, 0, 0)),
    ("hard_sigmoid", "offset", -INF): ((0, 0, 0, 0, NAN), (0, 0, 0, 0, None)),
    ("hard_sigmoid", "offset", 0.0): ((0, 0, 0, 1 / 3, 1), (0, 0, 0, 1 / 6, 0)),
    ("hard_shrink", "threshold", INF): ((0, 0, 0, 0, 0), (0, 0, 0, 0, 0)),
    ("hard_shrink", "threshold", -INF): ((-INF, -2, 0, 2, INF), (1, 1, 1, 1, 1)),
    ("hard_shrink", "threshold", 0.0): ((-INF, -2, 0, 2, INF), (1, 1, 0, 1, 1)),
    ("soft_shrink", "threshold", INF): ((0, 0, 0, 0, 0), (0, 0, 0, 0, 0)),
    ("soft_shrink", "threshold", -INF): ((-INF, -INF, -INF, INF, INF), (1, 1, 1, 1, 1)),
    ("soft_shrink", "threshold", 0.0): ((-INF, -2, 0, 2, INF), (1, 1, 0, 1, 1)),
    ("shrink", "threshold", INF): ((0, 0, 0, 0, 0), (0, 0, 0, 0, 0)),
    ("shrink", "threshold", -INF): ((-INF, -2, 0, 2, INF), (1, 1, 1, 1, 1)),
    ("shrink", "threshold", 0.0): ((-INF, -2, 0, 2, INF), (1, 1, 0, 1, 1)),
    ("shrink", "bias", INF): ((NAN, INF, 0, -INF, NAN), (1, 1, 0, 1, 1)),
    ("shrink", "bias", -INF): ((-INF, -INF, 0, INF, INF), (1, 1, 0, 1, 1)),
    ("shrink", "bias", 0.0): ((-INF, -2, 0, 2, INF), (1, 1, 0, 1, 1)),
    ("leaky_relu", "negative_slope", INF): ((-INF, -INF, NAN, 2, INF), (INF, INF, INF, 1, 1)),
    ("leaky_relu", "negative_slope", -INF): ((INF, INF, NAN, 2, INF), (-INF, -INF, -INF, 1, 1)),
    ("leaky_relu", "negative_slope", 0.0): ((0, 0, 0, 2, INF), (0, 0, 0, 1, 1)),
    ("elu", "alpha", INF): ((-INF, -INF, 0, 2, INF), (None, INF, INF, 1, 1)),
    ("elu", "alpha", -INF): ((INF, INF, 0, 2, INF), (None, -INF, -INF, 1, 1)),
    ("elu", "alpha", 0.0): ((0, 0, 0, 2, INF), (0, 0, 0, 1, 1)),
    ("celu", "alpha", INF): ((-INF, -2, 0, 2, INF), (0, 1, 1, 1, 1)),
    ("celu", "alpha", -INF): ((-INF, -2, 0, 2, INF), (None, 1, 1, 1, 1)),
    ("celu", "alpha", 0.0): ((0, 0, 0, 2, INF), (0, 0, 1, 1, 1)),
    ("softplus", "beta", INF): ((0, 0, 0, 2, INF), (0, 0, 0.5, 1, 1)),
    ("softplus", "beta", -INF): ((-INF, -2, 0, 0, 0), (1, 1, 0.5, 0, 0)),
    ("softplus", "beta", 0.0): ((NAN, INF, INF, INF, NAN), (NAN, 0.5, 0.5, 0.5, NAN)),
    ("silu", "beta", INF): ((0, 0, 0, 2, INF), (0, 0, 0.5, 1, 1)),
    ("silu", "beta", -INF): ((-INF, -2, 0, 0, 0), (1, 1, 0.5, 0, 0)),
    ("silu", "beta", 0.0): ((NAN, -1, 0, 1, NAN), (NAN, 0.5, 0.5, 0.5, NAN)),
    ("xielu", "alpha_p", INF): ((INF, None, None, INF, INF), (None, None, None, INF, INF)),
    ("xielu", "alpha_p", -INF): ((INF, None, None, -INF, -INF), (None, None, None, -INF, -INF)),
    ("xielu", "alpha_p", 0.0): ((INF, None, None, 1, INF), (None, None, None, 0.5, 0.5)),
    ("xielu", "alpha_n", INF): ((INF, INF, -INF, None, INF), (-INF, -INF, -INF, None, INF)),
    ("xielu", "alpha_n", -INF): ((-INF, -INF, INF, None, INF), (INF, INF, INF, None, INF)),
    ("xielu", "alpha_n", 0.0): ((-INF, -1, 0, None, INF), (0.5, 0.5, 0.5, None, INF)),
    ("xielu", "beta", INF): ((-INF, -INF, None, INF, INF), (INF, INF, INF, INF, INF)),
    ("xielu", "beta", -INF): ((INF, INF, None, -INF, None), (-INF, -INF, -INF, -INF, None)),
    ("xielu", "beta", 0.0): ((INF, None, None, None, INF), (None, None, None, None, INF)),
    ("xielu", "eps", INF): ((INF, None, 0, None, INF), (None, None, 0.5, None, INF)),
    ("xielu", "eps", -INF): ((INF, None, None, None, INF), (None, None, None, None, INF)),
    ("xielu", "eps", 0.0): ((INF, None, 0, None, INF), (None, None, 0.5, None, INF)),
    ("snake", "alpha", INF): (X, (1, 1, 1, 1, 1)),
    ("snake", "alpha", -INF): (X, (1, 1, 1, 1, 1)),
    ("snake", "alpha", 0.0): (X, (1, 1, 1, 1, 1)),
    ("squareplus", "b", INF): ((NAN, INF, INF, INF, INF), (0, 0.5, 0.5, 0.5, 1)),
    ("squareplus", "b", 0.0): ((0, 0, 0, 2, INF), (0, 0, 0, 1, 1)),
}
PARAMETERS = [(name, parameter) for name, f in CATALOGUE.items() for parameter in f.spec.parameters]


def test_the_ends_of_every_parameter_are_stated():
    ends = {(name, p, end) for name, p in PARAMETERS for end in (INF, -INF, 0.0)}
    assert set(STATED) == ends - {("squareplus", "b", -INF)}  # a root of what is negative


@pytest.mark.parametrize(("name", "parameter", "end"), STATED)
def test_a_parameter_at_its_end_gives_the_limit(name, parameter, end, dtype):
    x = np.array(X).astype(dtype)
    for package, what in itertools.product(BACKENDS.values(), ("value", "derivative")):
        activation = getattr(package, name)
        call = activation if what == "value" else activation.derivative
        stated = STATED[name, parameter, end][what == "derivative"]
        for setting in (end, np.full(x.shape, end, dtype), *([-0.0] if end == 0 else [])):
            for result, number in zip(call(x, **{parameter: setting}).tolist(), stated, strict=True):
                if number is not None:
                    expected = np.array(number).astype(dtype).item()
                    assert result == expected or (math.isnan(result) and math.isnan(expected)), (what, setting, result)


@pytest.mark.parametrize(("name", "parameter"), PARAMETERS)
def test_a_parameter_that_is_nan_gives_nan_where_it_takes_part(name, parameter, dtype):
    """On the right of 0 a slope for the left takes none, nor does a bound that x is beyond another's."""
    bounded = {"min_value": [-2, 0, 0.5], "max_value": [-0.5, 0, 0.5, 2]}
    x = {**bounded, "b": [-2, 0, 2], "bias": [-2, 2], "alpha_p": [0.5, 2]}.get(parameter, [-2, -0.25])
    x = np.array(x + [2, INF] * (parameter in ("threshold", "slope", "offset", "beta"))).astype(dtype)
    for package in BACKENDS.values():
        activation = getattr(package, name)
        for result in activation.value_and_derivative(x, **{parameter: NAN}):
            assert np.isnan(result).all(), result


@pytest.mark.parametrize(("name", "parameter"), PARAMETERS)
@pytest.mark.parametrize("number", [2.0**-90, 2.0**90])
def test_a_parameter_of_any_size_keeps_to_the_textbook(name, parameter, number):
    x = np.array([-1e4, -3.0, -1.0, -0.75, -(2.0**-20), 2.0**-20, 0.75, 3.0, 1e4], "f4")
    for package in BACKENDS.values():
        activation = getattr(package, name)
        block = activation.spec
        settings = settings_of(block, x.dtype, {parameter: number})
        y, d = activation.value_and_derivative(x, **{parameter: number})
        for at, result, slope in zip(x.tolist(), y.tolist(), d.tolist(), strict=True):
            truth, truth_slope = (float(n) for n in exact(block, at, settings))
            assert result == pytest.approx(truth, rel=1e-6, abs=1e-38), at
            assert slope == pytest.approx(truth_slope, rel=1e-6, abs=1e-38), at


@pytest.mark.parametrize(("name", "parameter"), [("snake", "alpha"), ("xielu", "alpha_p")])
@pytest.mark.parametrize("number", [5e-324, -1e-310, 1e-300, -1e300, 1.7e308])
def test_a_parameter_of_any_size_makes_no_nan_of_float64(name, parameter, number):
    """The reciprocal of a subnormal number may be infinite, and twice a large one."""
    x = np.array([-1.7976931348623157e308, -3.0, -1e-300, 5e-324, 1e-300, 2.0**-20, 3.0, 1.7976931348623157e308])
    for package in BACKENDS.values():
        activation = getattr(package, name)
        settings = settings_of(activation.spec, x.dtype, {parameter: number})
        y, d = activation.value_and_derivative(x, **{parameter: number})
        for at, result, slope in zip(x.tolist(), y.tolist(), d.tolist(), strict=True):
            value, truth_slope = exact(activation.spec, at, settings)
            truth = float(value) if abs(value) < mpmath.ldexp(1, 1024) else math.copysign(INF, value)
            assert result == pytest.approx(truth, rel=1e-15, abs=1e-323), at
            if name != "snake" or abs(number * at) < 1:  # interpreted, the sine of a large number has lost digits
                assert slope == pytest.approx(float(truth_slope), rel=1e-15, abs=1e-323), at


def test_snake_of_an_alpha_that_is_nan_is_nan_at_0():
    for package in BACKENDS.values():
        assert np.isnan(package.snake(np.array([0.0, -0.0, 1.0]), alpha=NAN)).all()


# A slope of 1/6 ------------------------------------------------------------------------------------------------------


def rounded_fraction(number: Fraction, bits: int) -> float:
    """Round a fraction that is a normal number of so many bits, ties to even."""
    if not number:
        return 0.0
    unit = Fraction(2) ** (math.frexp(float(number))[1] - bits)
    return float(round(number / unit) * unit)


@pytest.mark.parametrize(("dtype_name", "bits"), [("float16", 11), ("bfloat16", 8)])
def test_hard_sigmoid_of_all_16_bit_numbers_is_relu6_of_x_plus_3_over_6(dtype_name, bits):
    x = np.arange(1 << 16, dtype=np.uint16).view(dtype_of(dtype_name))
    with np.errstate(invalid="ignore"):  # ml_dtypes warns of a signalling NaN
        x = x[np.isfinite(x.astype(np.float32))]
    exactly = [min(max((Fraction(n) + 3) / 6, Fraction(0)), Fraction(1)) for n in x.astype(np.float64).tolist()]
    y = np.array([rounded_fraction(n, bits) for n in exactly]).astype(x.dtype)
    sixth = rounded_fraction(Fraction(1, 6), bits)
    d = np.where((x > -3) & (x < 3), sixth, 0).astype(x.dtype)
    for package in BACKENDS.values():
        for parameters in ({}, {"slope": np.float64(1 / 6)}, {"slope": np.full(x.shape, 1 / 6)}):
            assert_same(package.hard_sigmoid(x, **parameters), y)
            assert_same(package.hard_sigmoid.derivative(x, **parameters), d)


@pytest.mark.parametrize(("dtype_name", "bits"), [("float32", 24), ("float64", 53)])
def test_hard_sigmoid_keeps_all_digits_next_to_its_corners(dtype_name, bits):
    rng, unsigned = np.random.default_rng(6), np.dtype(f"u{np.dtype(dtype_name).itemsize}")
    three = np.array(3, dtype_name).view(unsigned)
    near = (three + np.arange(-2000, 2000).astype(unsigned)).view(dtype_name)
    wide = np.concatenate([rng.uniform(-3, 3, 4000), 3 - np.exp(rng.uniform(-30, 1, 2000))]).astype(dtype_name)
    x = np.concatenate([near, -near, wide, -wide])
    for package in BACKENDS.values():
        y, d = package.hard_sigmoid.value_and_derivative(x)
        for n, result in zip(x.tolist(), y.tolist(), strict=True):
            truth = min(max((Fraction(n) + 3) / 6, Fraction(0)), Fraction(1))
            unit = Fraction(2) ** (math.frexp(float(truth))[1] - bits) if truth else Fraction(1)
            assert abs(Fraction(result) - truth) <= Fraction(67, 100) * unit, n
            assert result or not truth
        assert np.array_equal(y == 0, x <= -3)
        assert np.array_equal(d, np.where(np.abs(x) < 3, np.array(1 / 6, dtype_name), 0))


def test_a_slope_that_is_only_near_a_sixth_is_itself():
    for dtype_name in ("float32", "float64"):
        for slope in (float(np.float16(1 / 6)), float(ml_dtypes.bfloat16(1 / 6)), 0.2):
            expected = np.array(slope, dtype_name) * 2 + np.array(0.5, dtype_name)
            for package in BACKENDS.values():
                assert package.hard_sigmoid(np.array([2.0], dtype_name), slope=slope)[0] == pytest.approx(expected)
                assert package.hard_sigmoid.derivative(np.array([2.0], dtype_name), slope=slope)[0] == np.array(
                    slope, dtype_name
                )


# Nothing warns -------------------------------------------------------------------------------------------------------


def with_signalling_nan(dtype: np.dtype) -> np.ndarray:
    """List special values, the edges of integers; NumPy's casts raise a flag for a signalling NaN."""
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return np.array([info.min, info.min + 1, 0, 1, info.max - 1, info.max], dtype)
    unsigned = np.dtype(f"u{dtype.itemsize}")
    infinity = np.array(INF).astype(dtype).view(unsigned)
    return np.concatenate([special_values(dtype), np.array([infinity + 1]).astype(unsigned).view(dtype)])


def quietly(call, *arguments, **parameters):
    """Call with warnings and floating-point errors raised, and flags of what came before left set."""
    with np.errstate(all="ignore"):
        np.float64(1e308) * np.float64(10) - np.float64(INF)
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        return call(*arguments, **parameters)


def odd_parameters(activation, x: np.ndarray) -> list[dict]:
    numbers = (INF, NAN, 1e300, 2.0**63, np.float16(2), np.array(np.float16(INF)), np.full(x.shape, np.float16(3)))
    return [{}, *({p: n} for p in activation.spec.parameters for n in numbers)]


@pytest.mark.parametrize("dtype_name", [*FLOATS, "int8", "int64", "uint64"])
def test_no_call_warns_of_any_numbers_or_parameters(dtype_name):
    x = with_signalling_nan(dtype_of(dtype_name))
    for backend, package in BACKENDS.items():
        for name in CATALOGUE if backend == "numpy" else ("leaky_relu", "hard_tanh"):
            activation = getattr(package, name)
            for parameters in odd_parameters(activation, x):
                quietly(activation, x, **parameters)
                quietly(activation.value_and_derivative, x, **parameters)
                quietly(quietly(activation.vjp, x, **parameters)[1], x)
                quietly(activation.backward, np.float16(INF), x, **parameters)
            quietly(activation, x[::-2])
            quietly(activation, x[0])


@pytest.mark.parametrize("b", [*FLOATS, "int64"])
@pytest.mark.parametrize("a", [*FLOATS, "int64"])
def test_no_operand_of_another_dtype_makes_a_call_warn(a, b):
    dy, x = (with_signalling_nan(dtype_of(name)) for name in (a, b))
    n = min(len(dy), len(x))
    for package in BACKENDS.values():
        quietly(package.relu.backward, dy[-n:], x[-n:])
        quietly(package.reglu, dy[-n:], x[-n:])


@pytest.mark.parametrize("name", GATES)
def test_no_sum_of_gradients_warns(name, dtype):
    x = with_signalling_nan(dtype)
    rows = np.stack([x, -x[::-1]])
    for package in BACKENDS.values() if name == "reglu" else [BACKENDS["numpy"]]:
        for gate in (x, x[:1], np.float16(2)):
            quietly(getattr(package, name).backward, rows, rows, gate)


def test_no_row_warns(dtype):
    x = with_signalling_nan(dtype)
    rows = [x, x[:, None], np.stack([x, x[::-1]]), np.asfortranarray(np.stack([x, x[::-1]]))]
    for package, array in itertools.product(BACKENDS.values(), rows):
        for function in (package.softmax, package.log_softmax):
            quietly(function, array)
            quietly(function.backward, array, y=array)
    for function in (rectifier.crysx.Tanh_offset, rectifier.crysx.Tanh_offset_grad):
        quietly(function, rows[2])


def test_other_settings_of_every_parameter_are_tested():
    assert {p for _, p in PARAMETERS} == {p for f in CATALOGUE.values() for setting in others(f) for p in setting}
